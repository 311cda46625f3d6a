//! What a receiver's process knows of a transmitter that is not in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// In the count of a source that has ended.
const ENDED: u64 = 1 << 63;

/// How far a source of samples has come; it has ended when this is dropped.
#[derive(Debug)]
pub struct Received(Arc<AtomicU64>);

impl Received {
    /// Samples have been received up to this one.
    pub fn up_to(&self, sample_time: u64) {
        self.0.fetch_max(sample_time.min(ENDED - 1), Ordering::SeqCst);
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.0.fetch_or(ENDED, Ordering::SeqCst);
    }
}

/// A transmitter elsewhere, or one of the past in a recording. Times are in samples of its stream.
#[derive(Debug)]
pub struct FarTransmitter {
    origin_ns: OnceLock<i64>,
    /// Seconds by which its device's time is ahead of UTC, where it was set by a pulse.
    seconds_ahead: OnceLock<i64>,
    end: AtomicU64,
    referenced: AtomicU64,
    /// How far each source of samples has come.
    received: Mutex<Vec<Arc<AtomicU64>>>,
    failure: Mutex<Option<String>>,
}

impl Default for FarTransmitter {
    fn default() -> Self {
        Self {
            origin_ns: OnceLock::new(),
            seconds_ahead: OnceLock::new(),
            end: AtomicU64::new(u64::MAX),
            referenced: AtomicU64::new(u64::MAX),
            received: Mutex::default(),
            failure: Mutex::default(),
        }
    }
}

impl FarTransmitter {
    /// It begins: sample 0 of its stream is at this time of the shared clock, which is so many seconds ahead of UTC.
    pub fn begin(&self, origin_ns: i64, seconds_ahead: Option<i64>) {
        if let Some(seconds) = seconds_ahead {
            let _ = self.seconds_ahead.set(seconds);
        }
        // A transmitter that is found again has not begun anew.
        let _ = self.origin_ns.set(origin_ns);
    }

    /// Seconds by which its device's time is ahead of UTC, where it said so.
    pub fn seconds_ahead(&self) -> Option<i64> {
        self.seconds_ahead.get().copied()
    }

    /// When it began, once it has.
    pub fn origin_ns(&self) -> Option<i64> {
        self.origin_ns.get().copied()
    }

    /// Its stream ends before this sample.
    pub fn finish(&self, end: u64) {
        self.end.store(end, Ordering::SeqCst);
    }

    /// Where its stream ends, once that is known.
    pub fn end(&self) -> Option<u64> {
        Some(self.end.load(Ordering::SeqCst)).filter(|end| *end != u64::MAX)
    }

    /// Samples below this one have their reference here.
    pub fn refer_to(&self, sample_time: u64) {
        self.referenced.store(sample_time, Ordering::SeqCst);
    }

    /// Whether the samples below this one have theirs; always, where nobody makes any.
    pub fn refers_to(&self, sample_time: u64) -> bool {
        self.referenced.load(Ordering::SeqCst) >= sample_time
    }

    /// A source of samples that says how far it comes; each of them holds the reference back.
    pub fn source(&self) -> Received {
        let count = Arc::<AtomicU64>::default();
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&count));
        Received(count)
    }

    /// Up to which samples all sources that have not ended have come; the last one, where all have.
    pub fn received(&self) -> u64 {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = received.iter().map(|count| count.load(Ordering::SeqCst));
        let least = counts.clone().filter(|count| count & ENDED == 0).min();
        least.unwrap_or_else(|| counts.max().unwrap_or(0) & !ENDED)
    }

    /// Nothing more will come from it.
    pub fn fail(&self, what: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    /// Why nothing more will come from it.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_source_that_has_not_ended_holds_the_reference_back() {
        let far = FarTransmitter::default();
        assert_eq!(far.received(), 0);
        let [fast, slow] = [far.source(), far.source()];
        fast.up_to(900);
        assert_eq!(far.received(), 0);
        slow.up_to(400);
        slow.up_to(300);
        assert_eq!(far.received(), 400);
        drop(slow);
        assert_eq!(far.received(), 900);
        fast.up_to(950);
        drop(fast);
        assert_eq!(far.received(), 950);
    }
}
