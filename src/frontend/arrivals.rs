//! What the times of received samples say, and what is to be done about it. Drivers give times that are right, none,
//! garbage, between two samples, or that creep away from the count of samples.

use super::device::{ReceiveStream, Trouble};

/// Part of a sample by which a time may lie beside the grid: what nanoseconds round to, and a little more.
const ON_GRID: f64 = 0.02;

/// Longest step of time that is taken for a gap, in seconds; and back.
const LONGEST_GAP_S: f64 = 3600.0;
const LONGEST_BACK_S: f64 = 1.0;

/// Wrong times, and steps of a few samples from one read to the next without an overflow, after which a driver's times are
/// not used any more.
const MOST_WRONG: u32 = 8;
const MOST_CREEPS: u32 = 4;
const CREEP: i64 = 16;

/// What became of a read's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The samples are those that were expected.
    Next,
    /// Samples are missing before this one.
    Gap(i64),
    /// The driver started again between two samples: what follows is off by a part of one.
    OffGrid,
    /// No such time can be; the samples are taken for the expected ones.
    Wrong,
    /// Times are of no use from now on, and why.
    Distrusted(&'static str),
}

/// How far a driver's times can be trusted.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Wrong times one after another.
    wrong: u32,
    /// Small steps, and right times since the last one.
    creeps: u32,
    right: u32,
    /// By how much times have crept away since reception was started.
    crept: i64,
}

/// Right times one after another after which small steps are forgotten.
const FORGIVEN: u32 = 64;

impl Trust {
    /// Judges the time of samples of which `expected` is the first, if none is missing.
    pub(super) fn judge(&mut self, stream: &ReceiveStream, time_ns: i64, expected: i64, rate_hz: f64) -> Arrival {
        let step = stream.sample_at(time_ns).saturating_sub(expected);
        self.judge_step(step, stream.off_grid(time_ns), rate_hz)
    }

    /// Reception was started again.
    pub(super) fn begin_again(&mut self) {
        self.crept = 0;
    }

    fn judge_step(&mut self, step: i64, off: f64, rate_hz: f64) -> Arrival {
        let step = step.saturating_sub(self.crept);
        if step as f64 > LONGEST_GAP_S * rate_hz || (step as f64) < -LONGEST_BACK_S * rate_hz {
            self.wrong += 1;
            return match self.wrong > MOST_WRONG {
                true => Arrival::Distrusted("its times cannot be"),
                false => Arrival::Wrong,
            };
        }
        // A nanosecond is the finest that a driver says.
        if off.abs() > ON_GRID.max(1.5e-9 * rate_hz) {
            return Arrival::OffGrid;
        }
        match step {
            0 => {
                (self.wrong, self.right) = (0, self.right + 1);
                if self.right >= FORGIVEN {
                    self.creeps = 0;
                }
                Arrival::Next
            }
            step if step.abs() <= CREEP => {
                (self.creeps, self.right) = (self.creeps + 1, 0);
                self.crept += step;
                match self.creeps >= MOST_CREEPS {
                    true => Arrival::Distrusted("its times creep away from its samples"),
                    false => Arrival::Wrong,
                }
            }
            _ => Arrival::Gap(step),
        }
    }
}

/// What is to be done about trouble while receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Read on.
    ReadOn,
    /// Start again.
    Restart,
}

/// What is to be done, where times are trusted or not and where a driver starts again by itself.
pub(super) fn remedy(trouble: Trouble, has_times: bool, restarts_itself: bool) -> Remedy {
    match trouble {
        Trouble::Broken | Trouble::Gone => Remedy::Restart,
        Trouble::Overflow if restarts_itself => Remedy::Restart,
        Trouble::Overflow | Trouble::Corrupt if !has_times => Remedy::Restart,
        _ => Remedy::ReadOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_from_times_that_cannot_be_and_from_times_that_creep() {
        let mut trust = Trust::default();
        assert_eq!(trust.judge_step(0, 0.0, 1e6), Arrival::Next);
        assert_eq!(trust.judge_step(1000, 0.0, 1e6), Arrival::Gap(1000));
        assert_eq!(trust.judge_step(50_000, 0.3, 1e6), Arrival::OffGrid);
        for _ in 0..3 * MOST_WRONG {
            assert_eq!(trust.judge_step(i64::MAX / 4, 0.0, 1e6), Arrival::Wrong, "one among right ones");
            assert_eq!(trust.judge_step(0, 0.0, 1e6), Arrival::Next);
        }
        // Samples are counted on, so times that creep are further and further away.
        for reads in 1..i64::from(MOST_CREEPS) {
            assert_eq!(trust.judge_step(8 * reads, 0.0, 1e6), Arrival::Wrong);
        }
        let crept = trust.judge_step(8 * i64::from(MOST_CREEPS), 0.0, 1e6);
        assert!(matches!(crept, Arrival::Distrusted(why) if why.contains("creep")));
    }

    #[test]
    fn a_driver_that_starts_again_by_itself_is_started_on_the_grid() {
        assert_eq!(remedy(Trouble::Overflow, true, false), Remedy::ReadOn);
        assert_eq!(remedy(Trouble::Overflow, true, true), Remedy::Restart);
        assert_eq!(remedy(Trouble::Overflow, false, false), Remedy::Restart);
        assert_eq!(remedy(Trouble::Corrupt, true, true), Remedy::ReadOn);
        assert_eq!(remedy(Trouble::Broken, true, false), Remedy::Restart);
    }
}
