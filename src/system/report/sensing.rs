//! A sensing receiver in the report: positions and tracks of every target beside where the target was.
//!
//! The strongest detections, as many as there are targets, and the tracks are given to the targets that are nearest to
//! them, the nearest pair first. Where nobody knows
//! where the targets are (a real radio), the place where a target was found last stands for it, or the one that the scene
//! believes in.

use super::figures::{ArrayRecord, ArraySums, LocatedRecord, LocatedSums, Span, TrackedRecord, TrackedSums, Windowed};
use super::{Paths, RowFaultReport, TargetFigures, TargetReport, TrackReport};
use crate::array::distance_m;
use crate::modem::frame::SENSING_WINDOW;
use crate::optimize::{BelievedTarget, BoundModel};
use crate::scene::{Point, Scene, w_to_dbm};
use crate::sensing::{Estimate, Fix, Status, Track};
use crate::stream::Plan;

/// A position error above this many times the bound is an outlier.
const OUTLIER: f64 = 10.0;

/// A frame of a sensing receiver as all its events tell.
pub(super) struct SensedFrame<'a> {
    pub plan: &'a Plan,
    /// What each target was, if that is known.
    pub truth: &'a [Option<Truth>],
}

/// A simulated target as it was when a frame was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Truth {
    /// In metres.
    pub position_m: Point,
    /// |β| of its echo; the scene's holds where nobody says.
    pub reflection_coefficient: Option<f64>,
}

/// One target at one sensing receiver.
struct Target {
    id: String,
    /// The scene with this target and this receiver alone.
    scene: Scene,
    located: Windowed<LocatedSums>,
    tracked: Windowed<TrackedSums>,
    /// The last position and where the target was then.
    estimate: Option<(Point, Option<Point>)>,
    last_located: Option<u64>,
    track: Option<Track>,
    tracks: u64,
    /// The newest trace of the bound, and what it was worked out for: plan, target, frames added up.
    bound: Option<((u64, Truth, usize), Option<f64>)>,
}

impl Target {
    fn new(id: String, scene: Scene) -> Self {
        Self {
            id,
            scene,
            located: Windowed::default(),
            tracked: Windowed::default(),
            estimate: None,
            last_located: None,
            track: None,
            tracks: 0,
            bound: None,
        }
    }

    /// Where it is thought to be where nobody knows.
    fn expected(&self) -> Point {
        self.estimate.map_or(self.scene.geometry.target, |(estimate, _)| estimate)
    }

    /// Trace of the bound for a plan's beams, a target as it truly was and so many frames together.
    fn bound(&mut self, plan: &Plan, truth: Truth, frames: usize) -> Option<f64> {
        let of = (plan.epoch, truth, frames);
        match self.bound {
            Some((known, bound)) if known == of => bound,
            _ => {
                let of_scene = self.scene.channel.reflection_coefficient;
                let target = BelievedTarget {
                    position: truth.position_m,
                    reflection_coefficient: truth.reflection_coefficient.unwrap_or(of_scene),
                };
                let model = BoundModel::of_target(&self.scene, &target, SENSING_WINDOW).over_frames(frames);
                let bound = model.of_beams(&plan.beams).trace_m2().ok();
                self.bound = Some((of, bound));
                bound
            }
        }
    }

    fn found(&mut self, frame: u64, fix: &Fix, frames: usize, plan: &Plan, truth: Option<Truth>) {
        let bound_m2 = truth.and_then(|truth| self.bound(plan, truth, frames));
        let truth = truth.map(|truth| truth.position_m);
        let error_m = truth.map(|truth| distance_m(fix.position_m, truth));
        self.estimate = Some((fix.position_m, truth));
        self.last_located = Some(frame);
        self.located.add(LocatedRecord::Found {
            error_m,
            bound_m2,
            normalised_error: truth.and_then(|truth| fix.normalised_error(truth)),
            outlier: matches!((error_m, bound_m2), (Some(error), Some(bound))
                if error > OUTLIER * (bound + fix.displacement_m2).sqrt()),
            reflection: fix.reflection.norm(),
        });
    }

    fn follow(&mut self, frame: u64, track: Track, truth: Option<Point>) {
        let error_m = truth.map(|truth| distance_m(track.position_m(), truth));
        self.tracked.add(TrackedRecord { located: self.last_located == Some(frame), error_m });
        self.tracks += u64::from(self.track.is_none_or(|last| last.id != track.id));
        self.track = Some(track);
    }

    fn figures(&self, span: Span) -> TargetFigures {
        let sums = self.located.over(span);
        let (located, known) = (&sums.located, sums.located.known);
        let of_known = |sum: f64| (known > 0).then(|| sum / known as f64);
        let tracked = self.tracked.over(span);
        TargetFigures {
            id: self.id.clone(),
            target: TargetReport {
                estimate_m: self.estimate.map(|(estimate, _)| estimate),
                truth_m: self.estimate.and_then(|(_, truth)| truth),
                frames: located.count,
                rmse_m: located.root_mean_square(),
                hcrb_rmse_m: of_known(sums.bound_m2).map(f64::sqrt),
                nees: of_known(sums.normalised_error),
                outliers: sums.outliers,
                no_position: sums.missing,
            },
            refused: sums.refused,
            track: TrackReport {
                estimate_m: self.track.map(|track| track.position_m()),
                velocity_m_s: self.track.map(|track| track.velocity_m_s()),
                tracks: self.tracks,
                frames: tracked.tracked.count,
                rmse_m: tracked.tracked.root_mean_square(),
                coasted_frames: tracked.coasted.count,
                coasted_rmse_m: tracked.coasted.root_mean_square(),
            },
        }
    }
}

/// A sensing receiver.
pub(super) struct SensingReceiver {
    targets: Vec<Target>,
    /// Positions found beyond those of the targets that are there.
    pub surplus: Windowed<Surplus>,
    array: Windowed<ArraySums>,
    /// Of the first target.
    pub paths: Paths,
}

/// Positions that no target is left for.
#[derive(Default, Clone)]
pub(super) struct Surplus(pub u64);

impl super::figures::Sums for Surplus {
    type Record = u64;

    fn add(&mut self, record: &u64) {
        self.0 += record;
    }
}

impl SensingReceiver {
    /// A receiver that senses these targets: each by its name and the scene with it and the receiver alone.
    pub fn new(targets: impl Iterator<Item = (String, Scene)>) -> Self {
        Self {
            targets: targets.map(|(id, scene)| Target::new(id, scene)).collect(),
            surplus: Windowed::default(),
            array: Windowed::default(),
            paths: Paths::default(),
        }
    }

    /// Takes in all that was found in a frame, the strongest first: as many as there are targets count, the others are
    /// surplus. If the nearest counted, clutter close to a target would pass for it.
    pub fn sensed(&mut self, frame: u64, estimates: &[Estimate], around: &SensedFrame<'_>) {
        let mut fixes: Vec<(&Fix, usize)> = estimates
            .iter()
            .filter(|estimate| estimate.status == Status::Located)
            .filter_map(|estimate| Some((estimate.fix.as_ref()?, estimate.frames)))
            .collect();
        let found = fixes.len();
        fixes.truncate(self.targets.len());
        let places: Vec<_> = fixes.iter().map(|(fix, _)| fix.position_m).collect();
        let given = self.give(&places, around.truth);
        let reason = estimates.first().and_then(|estimate| estimate.status.refusal());
        for (index, target) in self.targets.iter_mut().enumerate() {
            let truth = around.truth[index];
            match given.iter().position(|to| *to == Some(index)) {
                Some(place) => {
                    let (fix, frames) = fixes[place];
                    target.found(frame, fix, frames, around.plan, truth);
                    if index == 0 {
                        Paths::keep(&mut self.paths.found, Some(fix.position_m));
                    }
                }
                None if fixes.is_empty() => target.located.add(LocatedRecord::Missing(reason)),
                None => target.located.add(LocatedRecord::Missing(Status::BelowThreshold.refusal())),
            }
        }
        if let Some(first) = estimates.first() {
            self.array.add(ArrayRecord {
                noise_w: first.noise_power_w,
                clock_offset_s: first.clock_offset_s,
                rows: (first.rows, first.status.row_fault()),
                constant_rows: first.constant_rows,
            });
        }
        Paths::keep(&mut self.paths.truth, around.truth[0].map(|truth| truth.position_m));
        self.surplus.add((found - fixes.len()) as u64);
    }

    /// Takes in all tracks of a frame.
    pub fn tracked(&mut self, frame: u64, tracks: &[Track], truth: &[Option<Truth>]) {
        let places: Vec<_> = tracks.iter().map(Track::position_m).collect();
        for (track, to) in tracks.iter().zip(self.give(&places, truth)) {
            let Some(index) = to else { continue };
            self.targets[index].follow(frame, *track, truth[index].map(|truth| truth.position_m));
            if index == 0 {
                Paths::keep(&mut self.paths.tracked, Some(track.position_m()));
            }
        }
    }

    /// The target that each place is given to: the nearest pair first, each target once.
    fn give(&self, places: &[Point], truth: &[Option<Truth>]) -> Vec<Option<usize>> {
        let mut given = vec![None; places.len()];
        let mut pairs: Vec<_> = (0..places.len())
            .flat_map(|place| (0..self.targets.len()).map(move |target| (place, target)))
            .map(|(place, target)| {
                let there = truth[target].map_or_else(|| self.targets[target].expected(), |truth| truth.position_m);
                (distance_m(places[place], there), place, target)
            })
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, place, target) in pairs {
            if given[place].is_none() && !given.contains(&Some(target)) {
                given[place] = Some(target);
            }
        }
        given
    }

    /// Every target's figures.
    pub fn figures(&self, span: Span) -> Vec<TargetFigures> {
        self.targets.iter().map(|target| target.figures(span)).collect()
    }

    /// σ_s² as measured, in the mean.
    pub fn noise_dbm(&self, span: Span) -> Option<f64> {
        let sums = self.array.over(span);
        (sums.frames > 0).then(|| w_to_dbm(sums.noise_w / sums.frames as f64))
    }

    /// By how many seconds its clock is late, as found last.
    pub fn delay_offset_s(&self, span: Span) -> Option<f64> {
        let sums = self.array.over(span);
        (sums.frames > 0).then_some(sums.clock_offset_s)
    }

    /// The rows that are not as the others are.
    pub fn row_faults(&self, span: Span) -> Vec<RowFaultReport> {
        let faults = self.array.over(span).faults;
        faults.into_iter().map(|((row, fault), frames)| RowFaultReport { row, fault, frames }).collect()
    }

    /// |β_0| of the first target as found, in the mean.
    pub fn reflection(&self, span: Span) -> Option<f64> {
        let sums = self.targets[0].located.over(span);
        (sums.located.count > 0).then(|| sums.reflection / sums.located.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Beams;
    use crate::coding::{BLOCK_CRC, BLOCK_SYMBOLS, plan};

    #[test]
    fn the_bound_is_that_of_the_echo_as_it_was_simulated() {
        let mut scene = Scene::paper();
        let code = std::sync::Arc::new(plan(100, BLOCK_SYMBOLS, BLOCK_CRC).unwrap());
        let problem = crate::optimize::Problem::from_scene(&scene);
        let Beams { w_c, w_0 } = problem.solve().beams;
        let plan = Plan {
            header: crate::modem::frame::HeaderLength::Short,
            epoch: 0,
            from_frame: 0,
            beams: Beams { w_c, w_0 },
            model: 0,
            budget: None,
            payload: std::sync::Arc::clone(&code),
            protected: code,
            link: crate::stream::LinkBelief::default(),
            predicted_sinr: 1.0,
            predicted_mse: 1.0,
        };
        let mut target = Target::new("target".into(), scene.clone());
        let truth = |reflection_coefficient| Truth { position_m: scene.geometry.target, reflection_coefficient };
        let [told, of_scene, weaker] = [truth(Some(0.6)), truth(None), truth(Some(0.06))];
        let mut bound = |truth| target.bound(&plan, truth, 1).unwrap();
        assert_eq!((scene.channel.reflection_coefficient, bound(told)), (0.6, bound(of_scene)));
        let weak = bound(weaker);
        scene.channel.reflection_coefficient = 0.06;
        let model = BoundModel::new(&scene, scene.geometry.target, SENSING_WINDOW);
        assert_eq!(weak, model.of_beams(&plan.beams).trace_m2().unwrap());
        assert!(weak > 50.0 * bound(told), "{weak}");
    }
}
