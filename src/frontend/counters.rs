//! What happens at a radio, counted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lock;

/// Samples in one direction, and the time that the device's driver took for them, waiting for the device included.
#[derive(Debug, Default)]
pub struct Traffic {
    samples: AtomicU64,
    driver_ns: AtomicU64,
}

impl Traffic {
    /// Calls the driver.
    pub(super) fn time<R>(&self, call: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = call();
        self.driver_ns.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    pub(super) fn add(&self, samples: usize) {
        self.samples.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Samples per channel.
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// Time inside the driver.
    pub fn in_driver(&self) -> Duration {
        Duration::from_nanos(self.driver_ns.load(Ordering::Relaxed))
    }
}

/// What happened at a radio. Counts only rise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bursts opened.
    pub bursts: AtomicU64,
    /// Bursts that the device called late.
    pub late: AtomicU64,
    /// Times the device had nothing to send.
    pub underflows: AtomicU64,
    /// Times the device had no room.
    pub overflows: AtomicU64,
    /// Gaps in received time that nobody announced.
    pub gaps: AtomicU64,
    /// Packets that were lost or did not fit the others, on their way to the device or from it.
    pub packets_lost: AtomicU64,
    /// Times that a stream failed at something.
    pub stream_errors: AtomicU64,
    /// Times that reception was started again.
    pub restarts: AtomicU64,
    /// Times of received samples that cannot be.
    pub wrong_times: AtomicU64,
    /// Received samples at the converter's limits.
    pub clipped: AtomicU64,
    /// Times that nothing went on inside a burst.
    pub timeouts: AtomicU64,
    /// Frames that were written whole.
    pub frames_sent: AtomicU64,
    /// Frames that were not sent, or not to their end.
    pub frames_left_out: AtomicU64,
    /// Frames made weaker to keep to the permission.
    pub frames_capped: AtomicU64,
    /// Samples whose peak was limited.
    pub limited: AtomicU64,
    /// What went to the device.
    pub sent: Traffic,
    /// What came from it.
    pub received: Traffic,
    failure: Mutex<Option<&'static str>>,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the first failure; a run ends with it.
    pub(super) fn failed(&self, what: &'static str) {
        lock(&self.failure).get_or_insert(what);
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&'static str> {
        *lock(&self.failure)
    }

    /// The counts by name.
    pub fn table(&self) -> [(&'static str, u64); 15] {
        [
            ("bursts", &self.bursts),
            ("late", &self.late),
            ("underflows", &self.underflows),
            ("overflows", &self.overflows),
            ("gaps", &self.gaps),
            ("lost packets", &self.packets_lost),
            ("stream errors", &self.stream_errors),
            ("restarts", &self.restarts),
            ("wrong times", &self.wrong_times),
            ("samples clipped", &self.clipped),
            ("timeouts", &self.timeouts),
            ("frames written", &self.frames_sent),
            ("frames left out", &self.frames_left_out),
            ("frames capped", &self.frames_capped),
            ("samples limited", &self.limited),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}
