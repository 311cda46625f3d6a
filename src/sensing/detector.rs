//! All targets of a frame: the strongest as [`Estimator`](super::Estimator) finds it, and where another echo may be there,
//! every target against what the others leave, each with an error bar of its own.
//!
//! A frame with one target must not cost much more than its one estimate. So others are looked for in every
//! [`LOOK_EVERY`]-th frame, in those whose energy hints at another echo, and for a while after one was found.

use super::targets::{TargetEcho, TargetSearch};
use super::{CoherentEstimator, EchoFrame, Estimate, Status};

/// Frames from one look for other echoes to the next, where nothing hints at one.
const LOOK_EVERY: u64 = 64;
/// Frames in which others are looked for after the last one that had some.
const KEEP_LOOKING: u64 = 16;

/// Echoes less than so many samples apart that no direction fits are rows that do not fit.
const ONE_DELAY: f64 = 0.5;

/// Finds the targets of each frame. Frames that are added up in phase show the strongest only.
pub struct Detector {
    estimator: CoherentEstimator,
    search: TargetSearch,
    found: Vec<Estimate>,
    /// Frames so far, and since several targets were found.
    frames: u64,
    alone: u64,
    /// [`LOOK_EVERY`].
    look_every: u64,
}

impl Detector {
    /// For windows of `window` samples, which the estimator is for too.
    pub fn new(estimator: CoherentEstimator, window: usize) -> Self {
        Self {
            search: TargetSearch::new(estimator.config(), window),
            estimator,
            found: Vec::with_capacity(super::MAX_TARGETS),
            frames: 0,
            alone: KEEP_LOOKING,
            look_every: LOOK_EVERY,
        }
    }

    /// The estimator of the strongest target.
    pub fn estimator(&self) -> &CoherentEstimator {
        &self.estimator
    }

    /// The same, to be told what is expected, or interrupted.
    pub fn estimator_mut(&mut self) -> &mut CoherentEstimator {
        &mut self.estimator
    }

    /// Takes in the next frame as [`CoherentEstimator::take_in`] does. What is found, the strongest first: one entry at
    /// least, which has no position where there is none at all. `left_part` is what the removal of stationary echoes may have
    /// left ([`StationaryEchoes::left_part`](super::StationaryEchoes::left_part)), 0 without.
    pub fn take_in(&mut self, frame: &EchoFrame<'_>, left_part: f64) -> Option<&[Estimate]> {
        self.found.clear();
        let Some(estimator) = self.estimator.single_mut() else {
            self.found.extend(self.estimator.take_in(frame));
            return (!self.found.is_empty()).then_some(&self.found);
        };
        let (first, peak) = estimator.estimate_first(frame);
        let due = self.frames.is_multiple_of(self.look_every) || self.alone < KEEP_LOOKING;
        self.frames += 1;
        self.alone = self.alone.saturating_add(1);
        // Where a row is to blame, two echoes of one delay would explain what it shows as well.
        if let (Some(peak), Some(reached)) = (peak, estimator.reached())
            && first.rows == 0
            && (due || estimator.may_hold_another(&peak))
        {
            self.look(frame, &first, TargetEcho::at(reached.delay, reached.sine), left_part);
        }
        if self.found.is_empty() {
            self.found.push(first);
        }
        Some(&self.found)
    }

    /// Looks for targets beside the first; where there are some, locates all of them.
    fn look(&mut self, frame: &EchoFrame<'_>, first: &Estimate, at: TargetEcho, left_part: f64) {
        let Some(estimator) = self.estimator.single_mut() else { return };
        let count = self.search.find_beside(frame, at, left_part).len();
        if count < 2 {
            return;
        }
        let delays = || self.search.targets().iter().map(|target| target.delay_samples);
        let apart = delays().fold(f64::NEG_INFINITY, f64::max) - delays().fold(f64::INFINITY, f64::min);
        if first.status == Status::PoorFit && apart < ONE_DELAY {
            return;
        }
        self.alone = 0;
        estimator.stop_learning();
        let is_untouched = left_part == 0.0;
        let mut strongest = *first;
        for index in 0..count {
            let Some((fix, reached)) =
                self.search.reveal(index, |view| estimator.locate_in(frame, &view, is_untouched))
            else {
                continue;
            };
            let Some(reached) = reached else { continue };
            let estimate = |status, fix| {
                let coarse_delay_samples = reached.delay.round() as isize;
                Estimate { status, fix, coarse_delay_samples, detection_energy: reached.energy, ..Estimate::LEARNING }
                    .seen(estimator.seen())
            };
            match fix {
                // The same stage compresses all echoes.
                Err(Status::Clipped) => {
                    self.found.clear();
                    self.found.push(estimate(Status::Clipped, None));
                    return;
                }
                Ok(fix) if self.search.fits(reached.energy, reached.misfit) => {
                    self.found.push(estimate(Status::Located, Some(fix)));
                }
                // Something is there that one target does not explain, and that no row is to blame for.
                fix if index == 0 && first.rows == 0 => {
                    strongest = estimate(fix.err().unwrap_or(Status::Ambiguous), None)
                }
                _ => {}
            }
        }
        if self.found.is_empty() {
            self.found.push(strongest);
        }
        self.found.sort_unstable_by(|a, b| b.detection_energy.total_cmp(&a.detection_energy));
    }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
