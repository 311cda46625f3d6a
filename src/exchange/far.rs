//! What a receiver's process knows of a transmitter that is not in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A transmitter elsewhere, or one of the past in a recording. Times are in samples of its stream.
#[derive(Debug)]
pub struct FarTransmitter {
    origin_ns: OnceLock<i64>,
    /// Seconds by which its device's time is ahead of UTC, where it was set by a pulse.
    seconds_ahead: OnceLock<i64>,
    end: AtomicU64,
    referenced: AtomicU64,
    received: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Default for FarTransmitter {
    fn default() -> Self {
        Self {
            origin_ns: OnceLock::new(),
            seconds_ahead: OnceLock::new(),
            end: AtomicU64::new(u64::MAX),
            referenced: AtomicU64::new(u64::MAX),
            received: AtomicU64::new(0),
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

    /// Samples have been received up to this one.
    pub fn receive(&self, sample_time: u64) {
        self.received.fetch_max(sample_time, Ordering::SeqCst);
    }

    /// Up to which samples have been received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
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
