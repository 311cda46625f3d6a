//! A thread that ends a burst which nobody continues, and what it goes by.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Radio;

/// After which time the device's clock is read again.
const CLOCK_AGE: Duration = Duration::from_millis(250);

/// What the watchdog sees of a transmitter without its lock.
pub(super) struct Vitals {
    born: Instant,
    /// Milliseconds from `born` to the last progress.
    progress: AtomicU64,
    pub(super) in_burst: AtomicBool,
    /// Asks a write under way to give up.
    pub(super) abort: AtomicBool,
}

impl Vitals {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            progress: AtomicU64::new(0),
            in_burst: AtomicBool::new(false),
            abort: AtomicBool::new(false),
        }
    }

    /// There was progress.
    pub(super) fn beat(&self) {
        self.progress.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long an open burst has made no progress.
    fn stalled(&self) -> Option<Duration> {
        let now = self.born.elapsed().as_millis() as u64;
        let quiet = now.saturating_sub(self.progress.load(Ordering::Relaxed));
        self.in_burst.load(Ordering::Relaxed).then(|| Duration::from_millis(quiet))
    }
}

/// Looks after a radio for as long as it sends.
pub(super) fn watch(radio: &Weak<Radio>, vitals: &Vitals, limit: Duration) {
    let mut looked = Instant::now();
    loop {
        std::thread::sleep((limit / 8).min(Duration::from_millis(50)));
        let Some(radio) = radio.upgrade() else { return };
        if looked.elapsed() > CLOCK_AGE {
            looked = Instant::now();
            radio.clock.refresh();
        }
        if radio.ended().is_some() {
            return;
        }
        if vitals.stalled().is_some_and(|quiet| quiet > limit) {
            // A write under way hears of it.
            if !radio.park_transmitter() {
                vitals.abort.store(true, Ordering::Relaxed);
            }
        }
    }
}
