//! Makes plans: beams from the optimizer or the user, then source model and channel rate for the SINR they reach.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nalgebra::{DVector, Matrix2};
use num_complex::{Complex32, Complex64};

use super::Command;
use super::believed_channel::BelievedChannel;
use super::observation::LinkSeen;
use super::outer_loop::OuterLoop;
use crate::array::{Beams, distance_m};
use crate::coding::{BlockErrorLaw, PlannedCodes};
use crate::modem::frame::HeaderLength;
use crate::optimize::{
    BelievedTarget, BlockErrorModel, BoundModel, Effort, Problem, RateChoice, RateLimits, Solution, SourceModel,
    WarmStart, channel_vector, lowest_rate, mean_mse, select_rate,
};
use crate::scene::{Point, Scene, decibel, w_to_dbm};
use crate::semantic::Bank;
use crate::sensing::TrackEcho;
use crate::stream::{LinkBelief, PictureBudget, Plan};
use crate::{Error, Result};

/// Deviations of the believed target within which the threshold is to be met as well.
const SPREAD_DEVIATIONS: f64 = 2.0;
/// How often one plan's threshold is tightened for that.
const TIGHTENINGS: usize = 3;
/// How much further than asked it is tightened, so that the next place mostly needs one solution only.
const SHARE_RESERVE: f64 = 0.99;

/// A place seen is another than the one believed in from this part of its range on, ...
const MOVED_PART: f64 = 5e-3;
/// ... or from this on where the bound there is so many times the threshold, ...
const MOVED_PART_MISSED: f64 = 1e-3;
const MISSED_PART: f64 = 1.005;
/// ... and by so many deviations of what is seen.
const SEEN_DEVIATIONS: f64 = 3.0;
/// A reflection, and noise, are others from so many decibels on. Of weak echoes only the stronger ones are found: their mean is some
/// tenths too high.
const HEARD_DB: f64 = 1.0;
const HEARD_NOISE_DB: f64 = 0.3;

/// Everything that a plan follows from.
#[derive(Clone)]
pub struct Planner {
    scene: Scene,
    models: Arc<[SourceModel]>,
    /// The same for each of the pictures that the models were measured on.
    pictures: Arc<[Vec<SourceModel>]>,
    /// Source samples of a picture, M.
    source_samples: usize,
    /// The served receiver's channel.
    channel: BelievedChannel,
    /// The targets that are believed in.
    beliefs: Vec<Belief>,
    /// Share of Π that the last plan for targets with a spread was made for.
    share: f64,
    weights: Option<Beams>,
    /// Where the last solution lay: the next is near.
    warm: Option<WarmStart>,
    codes: PlannedCodes,
    /// What the receiver says of the link, and what follows from it.
    outer_loop: OuterLoop,
    /// Frames below this one were seen by the receiver.
    seen_until: u64,
    /// The last plan's beams, and whether echoes have shown since then that it was made for other targets or noise.
    beams: Option<Beams>,
    is_stale: bool,
    /// Time that a solution may take; without it every solution is exact and depends on nothing but its inputs.
    pub time_limit: Option<Duration>,
}

/// A target that is believed in, and how well its place is known.
#[derive(Debug, Clone)]
struct Belief {
    /// Its index among the scene's targets.
    index: usize,
    target: BelievedTarget,
    /// Covariance of the place in m², where a track says so.
    spread: Option<Matrix2<f64>>,
}

/// A plan and what was found on the way.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Whether threshold, power and a rate can all be met.
    pub feasible: bool,
    /// What cannot, and by how much.
    pub reason: Option<String>,
    /// The rate.
    pub rate: RateChoice,
    /// Trace of the position bound, in m², for a frame of N symbols: the largest of the believed targets'.
    pub hcrb_trace_m2: Option<f64>,
}

impl Planner {
    /// A planner for a scene and pictures of `pixels` pixels. The threshold is kept for every target of the scene that is
    /// believed in. The bounds are those at the first sensing receiver, also where there are several, and the rate is that
    /// of the communication receiver of the scene's single keys.
    pub fn new(scene: &Scene, bank: &Bank, pixels: usize) -> Self {
        let models = bank.planned(scene.model.metric.name()).iter().map(|model| model.source_model(pixels)).collect();
        Self {
            channel: BelievedChannel::new(channel_vector(scene)),
            beliefs: beliefs(scene),
            share: 1.0,
            weights: None,
            warm: None,
            codes: PlannedCodes::default(),
            seen_until: 0,
            beams: None,
            is_stale: false,
            outer_loop: OuterLoop::new(BlockErrorLaw::from_scene(scene).margin_db()),
            time_limit: None,
            models,
            pictures: bank.calibration_pictures(scene.model.metric.name(), pixels).into(),
            source_samples: 3 * pixels,
            scene: scene.clone(),
        }
    }

    /// The scene as commands and the link have left it; its targets are where it says, not where they are believed.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// h_c as it is believed at a frame.
    pub fn channel(&self, frame: u64) -> DVector<Complex64> {
        self.channel.at(frame)
    }

    /// The targets that are believed in: index among the scene's, place, and the covariance of the place in m² where a
    /// track says so.
    pub fn targets(&self) -> impl Iterator<Item = (usize, Point, Option<Matrix2<f64>>)> + '_ {
        self.beliefs.iter().map(|belief| (belief.index, belief.target.position, belief.spread))
    }

    /// Takes a command in; the world's are none of its business. Fails where the command cannot be meant.
    pub fn apply(&mut self, command: &Command) -> Result<()> {
        match command {
            Command::Power(power_dbm) => self.scene.constraints.power_dbm = *power_dbm,
            Command::HcrbMax(hcrb_max_m2) => self.scene.constraints.hcrb_max_m2 = *hcrb_max_m2,
            Command::BandwidthRatioMax(ratio) => self.scene.constraints.bandwidth_ratio_max = *ratio,
            Command::Target { id, point } => {
                let index = self.scene.target_index(id.as_deref()).map_err(Error::input)?;
                let Some(belief) = self.beliefs.iter_mut().find(|belief| belief.index == index) else {
                    return Err(Error::input(format!(
                        "{}: found a target with believed = false; accepted: {}",
                        command.key(),
                        believed_ids(&self.scene).join(", ")
                    )));
                };
                self.scene.check_target_at(&command.key(), *point).map_err(Error::input)?;
                (belief.target.position, belief.spread) = (*point, None);
            }
            Command::Weights(weights) => {
                let antennas = self.scene.array.transmit_antennas;
                if let Some(beams) = weights
                    && beams.w_c.len() != antennas
                {
                    return Err(Error::input(format!(
                        "weights: found {} weights a beam; accepted: {antennas} (array.transmit_antennas)",
                        beams.w_c.len()
                    )));
                }
                self.weights.clone_from(weights);
            }
            Command::WorldTarget { .. } | Command::WorldReflection { .. } | Command::WorldImpairment { .. } => {}
        }
        self.scene.check().map_err(Error::input)
    }

    /// Takes in where a track expects the scene's target `index`, with the covariance in m². Targets that are not believed
    /// in change nothing.
    pub fn expect(&mut self, index: usize, position: Point, covariance_m2: Matrix2<f64>) {
        if let Some(belief) = self.beliefs.iter_mut().find(|belief| belief.index == index) {
            (belief.target.position, belief.spread) = (position, Some(covariance_m2));
        }
    }

    /// Takes in where a track sees the scene's target `index`: another place than the one believed in takes its place, where it
    /// is clearly another, or the last plan's beams miss the threshold there.
    pub fn see(&mut self, index: usize, position: Point, covariance_m2: Matrix2<f64>) {
        let [from, to] = [self.scene.geometry.transmitter, self.scene.geometry.sensing_receiver];
        let range_m = distance_m(from, position).min(distance_m(to, position));
        let Some(belief) = self.beliefs.iter_mut().find(|belief| belief.index == index) else { return };
        let apart_m = distance_m(position, belief.target.position);
        let spread_m = covariance_m2.trace().max(0.0).sqrt();
        let target = BelievedTarget { position, ..belief.target };
        let missed = self.beams.as_ref().is_some_and(|beams| {
            let model = BoundModel::of_target(&self.scene, &target, self.scene.waveform.frame_symbols);
            let trace_m2 = model.of_beams(beams).trace_m2().unwrap_or(f64::INFINITY);
            trace_m2 > MISSED_PART * self.scene.constraints.hcrb_max_m2
        });
        let least_m = range_m * if missed { MOVED_PART_MISSED } else { MOVED_PART };
        if apart_m > least_m + SEEN_DEVIATIONS * spread_m {
            (belief.target.position, belief.spread) = (position, Some(covariance_m2));
            self.is_stale = true;
        }
    }

    /// Takes in what the echoes of the scene's target `index` show: its reflection and the noise beside it take the place of
    /// what was believed, where they are clearly others.
    pub fn hear(&mut self, index: usize, echo: &TrackEcho) {
        let Some(belief) = self.beliefs.iter_mut().find(|belief| belief.index == index) else { return };
        if let Some(measured) = echo.reflection_coefficient() {
            let off_db = 20.0 * (measured / belief.target.reflection_coefficient).log10();
            let unsure_db = 20.0 / std::f64::consts::LN_10 * SEEN_DEVIATIONS * echo.reflection_part();
            if off_db.abs() > HEARD_DB + unsure_db {
                belief.target.reflection_coefficient = measured;
                self.is_stale = true;
            }
        }
        if let Some(measured_w) = echo.noise_power_w() {
            let believed_dbm = &mut self.scene.channel.sensing_noise_dbm;
            if (w_to_dbm(measured_w) - *believed_dbm).abs() > HEARD_NOISE_DB {
                *believed_dbm = w_to_dbm(measured_w);
                self.is_stale = true;
            }
        }
    }

    /// Takes in the sounding of a frame: per-antenna gains at transmit amplitude `amplitude`.
    pub fn sound(&mut self, frame: u64, gains: &[Complex32], amplitude: f64) {
        self.channel.sound(frame, gains, amplitude);
    }

    /// Takes in what the receiver made of frames that were sent under a plan.
    pub fn see_link(&mut self, plan: &Plan, seen: &LinkSeen) {
        if seen.frames == 0 || !(seen.sinr > 0.0 && seen.noise_w > 0.0) {
            return;
        }
        let believed_dbm = &mut self.scene.channel.communication_noise_dbm;
        *believed_dbm = OuterLoop::noise_dbm(*believed_dbm, w_to_dbm(seen.noise_w));
        let predicted_db = self.predicted_db(&plan.beams, seen.until);
        self.seen_until = seen.until;
        let limits = self.limits();
        let table = self.law().with_margin_db(0.0);
        let expected = table.block_error_rate(seen.sinr, plan.payload.information_bits());
        self.outer_loop.take(seen, predicted_db, limits.block_error_rate_max, expected);
    }

    /// The SINR of these beams by the channel and the noise that are believed, in dB, without an offset.
    fn predicted_db(&self, beams: &Beams, frame: u64) -> f64 {
        let targets: Vec<_> = self.beliefs.iter().map(|belief| belief.target).collect();
        decibel(Problem::for_targets(&self.scene, self.channel.at(frame), &targets).sinr(beams).max(f64::MIN_POSITIVE))
    }

    /// Whether the newest plan is off what is known of the link and of the echoes now.
    pub fn wants_plan(&self, newest: &Plan) -> bool {
        if self.is_stale {
            return true;
        }
        let now_db = self.predicted_db(&newest.beams, self.seen_until) + self.outer_loop.offset_db;
        self.outer_loop.wants_plan(newest.link.snr_margin_db, now_db - decibel(newest.predicted_sinr))
    }

    /// The law of block errors at the margin of now.
    fn law(&self) -> BlockErrorLaw {
        BlockErrorLaw::from_scene(&self.scene).with_margin_db(self.outer_loop.margin_db)
    }

    /// The best plan from `from_frame` on. Infeasible requests give the beams of the smallest bound and the model of
    /// the lowest rate, and say so.
    pub fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        let targets: Vec<_> = self.beliefs.iter().map(|belief| belief.target).collect();
        let problem = Problem::for_targets(&self.scene, self.channel.at(from_frame), &targets);
        let mut reasons = Vec::new();
        let beams = match &self.weights {
            Some(beams) => {
                let excess = beams.power_w() / problem.power_w();
                if excess > 1.0 + 1e-9 {
                    return Err(Error::infeasible(format!(
                        "the weights have {:.3} dBm, {:.3} dB above the budget of {:.3} dBm",
                        w_to_dbm(beams.power_w()),
                        decibel(excess),
                        self.scene.constraints.power_dbm
                    )));
                }
                beams.clone()
            }
            None => {
                let solution = self.solve(&problem);
                if !solution.feasible {
                    reasons.push(format!(
                        "hcrb_max_m2 = {:.4e} cannot be met: the smallest is {:.4e} m² at {:.2} dBm",
                        problem.hcrb_max_m2(),
                        solution.smallest_hcrb_trace_m2,
                        self.scene.constraints.power_dbm
                    ));
                }
                solution.beams
            }
        };
        (self.beams, self.is_stale) = (Some(beams.clone()), false);
        let hcrb_trace_m2 = problem.hcrb_trace_m2(&beams).ok();
        if self.weights.is_some() && hcrb_trace_m2.is_none_or(|trace| trace > problem.hcrb_max_m2() * (1.0 + 1e-6)) {
            reasons.push("the weights miss hcrb_max_m2".into());
        }
        let sinr = problem.sinr(&beams) * 10f64.powf(self.outer_loop.offset_db / 10.0);
        let rate = self.rate(sinr, &mut reasons)?;
        let plan = Plan {
            epoch,
            from_frame,
            beams,
            model: rate.model,
            budget: Some(PictureBudget {
                bandwidth_ratio_max: self.scene.constraints.bandwidth_ratio_max,
                block_error_rate_max: self.limits().block_error_rate_max,
                law: self.law(),
            }),
            header: HeaderLength::at(decibel(sinr) - self.outer_loop.margin_db),
            payload: self.codes.get(rate.payload_bits)?,
            protected: self.codes.get(rate.protected_bits)?,
            link: LinkBelief {
                snr_margin_db: self.outer_loop.margin_db,
                sinr_offset_db: self.outer_loop.offset_db,
                noise_dbm: self.scene.channel.communication_noise_dbm,
            },
            predicted_sinr: sinr,
            predicted_mse: rate.predicted_mse,
        };
        let feasible = reasons.is_empty();
        Ok(Planned { plan, feasible, reason: (!feasible).then(|| reasons.join("; ")), rate, hcrb_trace_m2 })
    }

    /// The optimum, under a threshold so tight that it is met wherever the tracks let the targets be, if it can be.
    fn solve(&mut self, problem: &Problem) -> Solution {
        if self.beliefs.iter().all(|belief| belief.spread.is_none()) {
            return self.solve_at(problem, 1.0);
        }
        // The last share is nearly this one's: mostly one solution is enough.
        let mut share = self.share;
        let mut solution = self.solve_at(problem, share);
        if !solution.feasible && share < 1.0 {
            share = 1.0;
            solution = self.solve_at(problem, share);
        }
        for tightened in 0.. {
            let worst = self.worst_hcrb_trace_m2(&solution.beams) / problem.hcrb_max_m2();
            self.share = (SHARE_RESERVE * share / worst).min(1.0);
            if worst <= 1.0 || !solution.feasible || tightened == TIGHTENINGS {
                break;
            }
            let tighter = self.solve_at(problem, self.share);
            if !tighter.feasible {
                break;
            }
            (share, solution) = (self.share, tighter);
        }
        solution
    }

    /// The optimum for this share of Π.
    fn solve_at(&mut self, problem: &Problem, share: f64) -> Solution {
        let deadline = self.time_limit.map(|limit| Instant::now() + limit);
        let problem = problem.with_hcrb_max_m2(share * problem.hcrb_max_m2());
        let effort = Effort { warm: self.warm.as_ref(), deadline, threshold_only: true };
        let solution = problem.solve_with(effort);
        self.warm = Some(solution.warm.clone());
        solution
    }

    /// Largest trace of the bound at the ends of the believed targets' error ellipses.
    fn worst_hcrb_trace_m2(&self, beams: &Beams) -> f64 {
        self.beliefs.iter().map(|belief| self.worst_of(belief, beams)).fold(0.0, f64::max)
    }

    fn worst_of(&self, belief: &Belief, beams: &Beams) -> f64 {
        let Some(covariance) = belief.spread else { return 0.0 };
        let axes = covariance.symmetric_eigen();
        let ends = (0..4).map(|end| {
            let deviation = SPREAD_DEVIATIONS * axes.eigenvalues[end / 2].max(0.0).sqrt();
            let offset = axes.eigenvectors.column(end / 2) * if end % 2 == 0 { deviation } else { -deviation };
            let [x, y] = belief.target.position;
            let target = BelievedTarget { position: [x + offset[0], y + offset[1]], ..belief.target };
            let model = BoundModel::of_target(&self.scene, &target, self.scene.waveform.frame_symbols);
            model.of_beams(beams).trace_m2().unwrap_or(f64::INFINITY)
        });
        ends.fold(0.0, f64::max)
    }

    fn limits(&self) -> RateLimits {
        RateLimits::from_scene(&self.scene, self.source_samples)
    }

    fn rate(&self, sinr: f64, reasons: &mut Vec<String>) -> Result<RateChoice> {
        let constraints = &self.scene.constraints;
        let limits = self.limits();
        let code = self.law();
        if let Some(mut choice) = select_rate(&self.models, &limits, sinr, &code) {
            // Each picture has a rate of its own: what the mean of many comes to, some are easier and some harder.
            if let Some(mse) = mean_mse(&self.pictures, &limits, sinr, &code) {
                choice.predicted_mse = mse;
            }
            return Ok(choice);
        }
        reasons.push(format!("no source model's rate fits a SINR of {:.2} dB", decibel(sinr)));
        lowest_rate(&self.models, &limits, sinr, &code).ok_or_else(|| {
            Error::infeasible(format!(
                "bandwidth_ratio_max = {} leaves {} blocks a picture, too few for any source model",
                constraints.bandwidth_ratio_max, limits.blocks
            ))
        })
    }

    /// Whether the user's own beams are in force.
    pub fn has_weights(&self) -> bool {
        self.weights.is_some()
    }
}

/// What a scene believes of its targets.
fn beliefs(scene: &Scene) -> Vec<Belief> {
    let indices = scene.targets().into_iter().enumerate().filter(|(_, target)| target.believed).map(|(index, _)| index);
    let belief = |(index, target)| Belief { index, target, spread: None };
    indices.zip(BelievedTarget::of_scene(scene)).map(belief).collect()
}

fn believed_ids(scene: &Scene) -> Vec<String> {
    scene.targets().into_iter().filter(|target| target.believed).map(|target| target.id).collect()
}

#[cfg(test)]
mod tests {
    use nalgebra::DVector;
    use num_complex::Complex64;

    use super::*;

    fn planner() -> Planner {
        Planner::new(&Scene::paper(), &Bank::shipped(), 256 * 256)
    }

    #[test]
    fn the_paper_scene_has_a_feasible_plan_within_the_power_budget() {
        let mut planner = planner();
        let planned = planner.plan(0, 0).unwrap();
        assert!(planned.feasible, "{:?}", planned.reason);
        assert!(planned.plan.beams.power_w() <= 1e-3 * (1.0 + 1e-9));
        assert!(planned.hcrb_trace_m2.unwrap() <= 5e-5 * (1.0 + 1e-6));
    }

    #[test]
    fn the_scene_s_metric_decides_whose_models_carry_the_pictures() {
        use crate::scene::Metric;
        let (bank, mut scene) = (Bank::shipped(), Scene::paper());
        for metric in [Metric::Mse, Metric::MsSsim] {
            scene.model.metric = metric;
            let planned = Planner::new(&scene, &bank, 256 * 256).plan(0, 0).unwrap();
            let model = &bank.models()[planned.plan.model];
            assert!(planned.feasible && model.tuned_for == metric.name(), "{} for {metric:?}", model.name);
        }
    }

    #[test]
    fn what_cannot_be_met_is_named_with_its_limit_and_still_gives_a_plan() {
        let mut planner = planner();
        planner.apply(&Command::Power(-30.0)).unwrap();
        let planned = planner.plan(0, 0).unwrap();
        let reason = planned.reason.unwrap();
        assert!(!planned.feasible && reason.contains("hcrb_max_m2") && reason.contains("no source model"), "{reason}");
        assert!(planned.plan.beams.power_w() <= 1e-6 * (1.0 + 1e-9));
    }

    #[test]
    fn weights_above_the_budget_are_never_planned() {
        let mut planner = planner();
        let beams = Beams { w_c: DVector::from_element(4, 0.02.into()), w_0: DVector::zeros(4) };
        planner.apply(&Command::Weights(Some(beams))).unwrap();
        let error = planner.plan(0, 0).err().unwrap().to_string();
        assert!(error.contains("above the budget"), "{error}");
    }

    #[test]
    fn soundings_turn_the_believed_channel_into_the_measured_one() {
        let mut planner = planner();
        let truth: Vec<Complex32> = (0..4).map(|n| Complex32::from_polar(0.004, 0.7 * n as f32)).collect();
        for turn in 0..400u64 {
            let phase = Complex32::from_polar(0.03, turn as f32);
            let gains: Vec<_> = truth.iter().map(|h| h.conj() * phase).collect();
            planner.sound(64 * turn, &gains, 0.03);
        }
        let channel = planner.channel.at(64 * 400);
        let ratio = channel[1] / channel[0];
        assert!((ratio - Complex64::from_polar(1.0, 0.7)).norm() < 1e-4, "{ratio}");
        assert!((channel[2].norm() - 0.004).abs() < 1e-6);
    }

    #[test]
    fn the_noise_of_soundings_does_not_raise_the_predicted_sinr_above_the_matched_filters() {
        let mut medians = Vec::new();
        // At 2, where the noise of a sounding exceeds the channel, Rice's approximation leaves 0.2 dB.
        for relative_noise in [0.01, 0.3] {
            let mut excesses: Vec<f64> = (0..20)
                .map(|seed| {
                    let mut planner = planner();
                    let truth = channel_vector(&planner.scene);
                    let variance = relative_noise * truth.norm_squared() / 4.0;
                    for sounding in 0..64 {
                        let mut noise = [Complex32::ZERO; 4];
                        // Channel entries of 1e-5 leave single precision enough.
                        crate::channel::Noise::new(seed, 0, 1.0).add(sounding, &mut noise);
                        let turn = Complex64::cis(sounding as f64);
                        let gains: Vec<_> = truth
                            .iter()
                            .zip(noise)
                            .map(|(h, noise)| {
                                let noise = Complex64::new(f64::from(noise.re), f64::from(noise.im)) * variance.sqrt();
                                let gain = (h.conj() + noise) * turn;
                                Complex32::new(gain.re as f32, gain.im as f32)
                            })
                            .collect();
                        planner.sound(64 * sounding, &gains, 1.0);
                    }
                    let beams = planner.plan(0, 0).unwrap().plan;
                    let most = truth.norm_squared() * beams.beams.power_w();
                    let scene = &planner.scene;
                    let noise_w = crate::scene::dbm_to_w(scene.channel.communication_noise_dbm);
                    decibel(beams.predicted_sinr / (most / noise_w))
                })
                .collect();
            excesses.sort_by(f64::total_cmp);
            medians.push(0.5 * (excesses[9] + excesses[10]));
        }
        assert!(medians.iter().all(|median| *median < 0.05), "{medians:?} dB above the matched filter");
    }

    /// The paper's scene with a second target that is believed in and a third that is not.
    fn three_targets() -> Scene {
        let mut scene = Scene::paper();
        let first = scene.targets().remove(0);
        let other = |id: &str, position_m: Point, believed: bool| crate::scene::SceneTarget {
            id: id.into(),
            position_m,
            believed,
            ..first.clone()
        };
        scene.target_list = vec![first.clone(), other("car", [70.0, -10.0], true), other("bird", [60.0, 30.0], false)];
        scene
    }

    fn trace_m2(scene: &Scene, position: Point, beams: &Beams) -> f64 {
        BoundModel::new(scene, position, scene.waveform.frame_symbols).of_beams(beams).trace_m2().unwrap()
    }

    #[test]
    fn the_threshold_is_kept_for_every_believed_target_where_it_was_commanded_to() {
        let scene = three_targets();
        let mut planner = Planner::new(&scene, &Bank::shipped(), 256 * 256);
        let limit = scene.constraints.hcrb_max_m2;
        let planned = planner.plan(0, 0).unwrap();
        assert!(planned.feasible, "{:?}", planned.reason);
        let traces = [[100.0, 50.0], [70.0, -10.0]].map(|at| trace_m2(&scene, at, &planned.plan.beams));
        assert!(traces.iter().all(|trace| *trace <= limit * (1.0 + 1e-6)), "{traces:?}");
        assert!((planned.hcrb_trace_m2.unwrap() / traces[0].max(traces[1]) - 1.0).abs() < 1e-12);
        planner.apply(&"target.car=[90,-20]".parse().unwrap()).unwrap();
        let planned = planner.plan(1, 32).unwrap();
        assert!(planned.feasible && trace_m2(&scene, [90.0, -20.0], &planned.plan.beams) <= limit * (1.0 + 1e-6));
        let refused = planner.apply(&"target.bird=[90,-20]".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(refused, "target.bird: found a target with believed = false; accepted: target, car");
    }

    #[test]
    fn the_threshold_is_kept_wherever_the_tracks_let_any_of_the_targets_be() {
        let scene = three_targets();
        let mut planner = Planner::new(&scene, &Bank::shipped(), 256 * 256);
        let spread = Matrix2::new(0.5, 0.1, 0.1, 0.3);
        planner.expect(0, [98.0, 51.0], spread);
        planner.expect(1, [72.0, -12.0], spread * 2.0);
        // Not believed in: changes nothing.
        planner.expect(2, [60.0, 30.0], spread * 1e4);
        let planned = planner.plan(0, 0).unwrap();
        assert!(planned.feasible, "{:?}", planned.reason);
        let axes = spread.symmetric_eigen();
        for (place, factor) in [([98.0, 51.0], 1.0), ([72.0, -12.0], 2.0f64)] {
            for (axis, sign) in [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)] {
                let deviation = sign * SPREAD_DEVIATIONS * (factor * axes.eigenvalues[axis]).sqrt();
                let offset = axes.eigenvectors.column(axis) * deviation;
                let at = [place[0] + offset[0], place[1] + offset[1]];
                let trace = trace_m2(&scene, at, &planned.plan.beams);
                assert!(trace <= scene.constraints.hcrb_max_m2 * (1.0 + 1e-6), "{at:?}: {trace:e}");
            }
        }
    }
}
