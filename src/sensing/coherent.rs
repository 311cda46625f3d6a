//! One estimate from K consecutive frames, whose echoes are added up in phase: where frames share the timing error and
//! β_0's phase, and the beams stay, the information of the echo is K-fold.
//!
//! Each frame is correlated at all delays as it comes, with whitened streams: p_kru(d), of unit noise variance. What is
//! sought first is the maximum over delay and path rate of E(d, ν) = 1/K Σ_ru |Σ_k e^{−jνt_k} p_kru(d)|², on noise alone
//! a sum of N_R·(streams in use) unit exponentials as for one frame. Rates are tried in steps of a quarter of 1/(K·T_f),
//! T_f being the time between frames; the fine stage then works on the frames' summed correlations ([`Spectra`]) and
//! estimates the rate from all samples. Targets at rest (`moving = false`) are added up as they are.
//!
//! Frames that do not add up, because each has a timing error or a phase of its own, are told by what the coherent sum leaves
//! of their energies, wherever each has its own maximum ([`Status::Incoherent`]).
//!
//! Limits, checked at construction: rates that differ by λ/T_f cannot be told apart; the path must not grow by more than
//! half a sample in all frames (one delay is searched for all); directions are those of the middle of the frames.
//!
//! [`Spectra`]: super::spectra::Spectra

use std::f64::consts::TAU;

use num_complex::{Complex32, Complex64};

use super::align::{Correlator, Peak, add_powers, energy_thresholds, largest, streams_in_use, vertex};
use super::estimator::{Expectation, Window};
use super::{EchoFrame, Estimate, Estimator, Reflection, STREAMS, SensingConfig, Status};
use crate::array::Beams;
use crate::dsp::dispatched;
use crate::modem::frame::FrameClock;
use crate::scene::Scene;
use crate::{Error, Result};

/// Steps of the rate's grid in one resolution cell 1/(K·T_f): 0.2 dB are lost between them at most.
const STEPS: f64 = 4.0;
/// Echoes of which more than this part stays behind do not add up; between two steps of the grid it is 0.05.
const LEFT_PART: f64 = 0.2;
/// Most frames of one estimate.
const MAX_FRAMES: usize = 256;

/// Which frames are added up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoherentFrames {
    /// K.
    pub frames: usize,
    /// T_f, seconds from frame to frame.
    pub interval_s: f64,
    /// Fastest growth or shrinking of the path TR → target → SRE that is searched where targets move, in m/s.
    pub path_rate_max_m_s: f64,
}

impl CoherentFrames {
    /// Two legs at 60 m/s.
    pub const PATH_RATE_MAX_M_S: f64 = 120.0;

    /// K frames of a scene, as its waveform sends them. Fails where it lets them share neither timing error nor phase.
    pub fn of_scene(scene: &Scene, frames: usize) -> Result<Self> {
        if frames > 1 && !scene.channel.holds_for_the_run() {
            return Err(Error::input(format!(
                "adding up {frames} frames in phase needs channel.timing_error_hold = \"run\" and \
                 channel.reflection_phase = \"random-per-run\""
            )));
        }
        Ok(Self {
            frames,
            interval_s: FrameClock::of_scene(scene).frame_s(),
            path_rate_max_m_s: Self::PATH_RATE_MAX_M_S,
        })
    }

    /// When frame `index` begins, in seconds from the first.
    pub fn begin_s(&self, index: usize) -> f64 {
        self.interval_s * index as f64
    }

    /// Whether a receiver can add them up; the error names what is accepted.
    fn check(&self, config: &SensingConfig) -> Result<()> {
        let Self { frames, interval_s, path_rate_max_m_s } = *self;
        if !(1..=MAX_FRAMES).contains(&frames) {
            return Err(Error::input(format!(
                "{frames} frames to add up are out of range; accepted: 1 to {MAX_FRAMES}"
            )));
        }
        if frames == 1 || !config.moving {
            return Ok(());
        }
        if let Reflection::Known(_) = config.reflection {
            return Err(Error::input(format!(
                "adding up {frames} frames of moving targets needs model.reflectivity = \"unknown\": a moving \
                 target's phase is not known"
            )));
        }
        // One cell short of half a turn: a rate at one end must not look like one at the other.
        let unambiguous = config.wavelength_m / (2.0 * interval_s) * (1.0 - 1.0 / frames as f64);
        if !(path_rate_max_m_s > 0.0 && path_rate_max_m_s <= unambiguous) {
            return Err(Error::input(format!(
                "path_rate_max_m_s = {path_rate_max_m_s} is out of range; accepted for {frames} frames {interval_s:.3e} s \
                 apart: above 0, up to {unambiguous:.4}"
            )));
        }
        let most =
            (0.5 * config.sample_path_m() / (path_rate_max_m_s * interval_s)).clamp(1.0, MAX_FRAMES as f64) as usize;
        if frames > most {
            return Err(Error::input(format!(
                "adding up {frames} frames lets a path that grows at {path_rate_max_m_s} m/s leave its sample; accepted: \
                 1 to {most}"
            )));
        }
        Ok(())
    }
}

/// The estimator over K frames, with all its scratch; with K = 1 it is [`Estimator`].
pub struct CoherentEstimator {
    settings: CoherentFrames,
    window: usize,
    estimator: Estimator,
    times_s: Vec<f64>,
    /// The search over path rates, where more than one frame is added up.
    search: Option<RateSearch>,
}

impl CoherentEstimator {
    /// An estimator for windows of `window` samples.
    pub fn new(config: SensingConfig, window: usize, settings: CoherentFrames) -> Result<Self> {
        settings.check(&config)?;
        let frames = settings.frames;
        let estimator = Estimator::over_frames(config, window, frames)?;
        let search = (frames > 1).then(|| RateSearch::new(&estimator, window, &settings));
        Ok(Self { settings, window, estimator, times_s: Vec::with_capacity(frames), search })
    }

    /// The settings.
    pub fn config(&self) -> &SensingConfig {
        self.estimator.config()
    }

    pub(super) fn single(&self) -> &Estimator {
        &self.estimator
    }

    /// The estimator of one frame, where no more are added up.
    pub(crate) fn single_mut(&mut self) -> Option<&mut Estimator> {
        self.search.is_none().then_some(&mut self.estimator)
    }

    /// Which frames are added up.
    pub fn frames(&self) -> &CoherentFrames {
        &self.settings
    }

    /// Samples of each echo row that a frame needs, as [`Estimator::echo_samples`].
    pub fn echo_samples(&self) -> usize {
        self.estimator.echo_samples()
    }

    /// As [`Estimator::late_samples`].
    pub fn late_samples(&self) -> isize {
        if self.search.is_none() { self.estimator.late_samples() } else { 0 }
    }

    /// Frames taken in since the last estimate.
    pub fn held(&self) -> usize {
        self.times_s.len()
    }

    /// As [`Estimator::expect`].
    pub fn expect(&mut self, expectations: impl IntoIterator<Item = Expectation>) {
        self.estimator.expect(expectations);
    }

    /// Whether these beams are those of the frames held, if there are any.
    pub fn goes_on_with(&self, beams: &Beams) -> bool {
        self.held() == 0 || self.estimator.uses(beams)
    }

    /// Forgets the frames held, as where one is missing or beams change, and says so.
    pub fn interrupt(&mut self) -> Option<Estimate> {
        let held = self.held();
        self.times_s.clear();
        (held > 0).then(|| Estimate::interrupted(held))
    }

    /// Takes in the next frame. The K-th one gives an estimate, for the middle of the frames. Beams other than those of
    /// the frames held ([`Self::goes_on_with`]) interrupt: the frame is the first of the next K.
    pub fn take_in(&mut self, frame: &EchoFrame<'_>) -> Option<Estimate> {
        let Some(search) = &mut self.search else { return Some(self.estimator.estimate(frame)) };
        if !self.estimator.uses(frame.beams) {
            self.times_s.clear();
            self.estimator.use_beams(frame.beams);
        }
        let index = self.times_s.len();
        search.take_in(index, frame);
        let moving = self.estimator.config().moving;
        self.estimator.spectra().load_streams(index, frame.streams(), moving);
        self.times_s.push(frame.time_s);
        if self.times_s.len() < self.settings.frames {
            return None;
        }
        let estimate = self.estimate();
        self.times_s.clear();
        estimate
    }

    fn estimate(&mut self) -> Option<Estimate> {
        let search = self.search.as_mut()?;
        let Found { peak, rate, rest } = search.peak(&self.times_s);
        let nothing = |status| Some(Estimate::without_fix(status, &peak, self.settings.frames));
        if rest > search.rest_limit(&peak) {
            return nothing(Status::Incoherent);
        }
        if let Some(status) = self.estimator.refusal(&peak) {
            return nothing(status);
        }
        let config = self.estimator.config();
        let (period_s, moving) = (config.sample_period_s(), config.moving);
        let spectra = self.estimator.spectra();
        for index in 0..self.settings.frames {
            spectra.load_echo(index, search.echo(index, peak.lag, self.window));
        }
        let begin_s = self.times_s[0];
        spectra.set_times(self.times_s.iter().map(|time_s| (time_s - begin_s) / period_s));
        let gram = if moving { spectra.turn(rate * period_s) } else { spectra.gram() };
        match self.estimator.locate(Window { gram, lag: peak.lag, fraction: peak.fraction, length: self.window }, None)
        {
            Ok(fix) => nothing(Status::Located).map(|estimate| Estimate { fix: Some(fix), ..estimate }),
            Err(status) => nothing(status),
        }
        .map(|estimate| estimate.seen(self.estimator.seen()))
    }
}

/// What the search found.
struct Found {
    /// The maximum of E.
    peak: Peak,
    /// Its rate in radians a second.
    rate: f64,
    /// Σ_k max_d Σ_ru |p_kru(d)|² − E: the energy that each frame has at its own best delay and that does not add up.
    rest: f64,
}

/// The frames held, and the search for their delay and path rate.
struct RateSearch {
    frames: usize,
    rows: usize,
    first_lag: isize,
    correlator: Correlator,
    /// p_kru(d): `[frame][row][stream][lag]`.
    profiles: Vec<Complex32>,
    /// Samples: `[frame][row][sample]`.
    echoes: Vec<Complex32>,
    echo_samples: usize,
    used: [bool; STREAMS],
    /// ν in radians a second.
    rates: Vec<f64>,
    sums: Vec<Complex32>,
    /// K·E: `[rate][lag]`.
    energies: Vec<f32>,
    /// Thresholds for one and for two streams in use.
    thresholds: [f64; STREAMS],
    /// max_d Σ_ru |p_kru(d)|² of each frame, and what noise alone reaches once in 100 frames.
    frame_peaks: Vec<f64>,
    noise_peaks: [f64; STREAMS],
}

impl RateSearch {
    fn new(estimator: &Estimator, window: usize, settings: &CoherentFrames) -> Self {
        let (config, frames) = (estimator.config(), settings.frames);
        let rows = config.receive_antennas;
        let false_alarm = config.false_alarm_probability;
        let correlator = Correlator::of(window, config);
        let step = TAU / (STEPS * frames as f64 * settings.interval_s);
        let fastest = TAU * settings.path_rate_max_m_s / config.wavelength_m;
        let reach = if config.moving { (fastest / step).ceil() as i32 } else { 0 };
        let rates: Vec<f64> = (-reach..=reach).map(|index| f64::from(index) * step).collect();
        let lags = correlator.lags();
        let tried = (lags * rates.len()) as f64;
        let echo_samples = correlator.echo_samples();
        Self {
            frames,
            rows,
            first_lag: config.lag_range()[0],
            profiles: vec![Complex32::default(); frames * rows * STREAMS * lags],
            echoes: vec![Complex32::default(); frames * rows * echo_samples],
            echo_samples,
            used: [false; STREAMS],
            sums: vec![Complex32::default(); lags],
            energies: vec![0.0; rates.len() * lags],
            thresholds: energy_thresholds(rows, false_alarm / tried),
            frame_peaks: vec![0.0; frames],
            noise_peaks: energy_thresholds(rows, 0.01 / lags as f64),
            rates,
            correlator,
        }
    }

    fn take_in(&mut self, index: usize, frame: &EchoFrame<'_>) {
        let length = self.profiles.len() / self.frames;
        self.used = self.correlator.write_profiles(frame, &mut self.profiles[index * length..][..length]);
        let held = self.echoes.chunks_exact_mut(self.echo_samples).skip(index * self.rows).take(self.rows);
        for (row, held) in held.enumerate() {
            held.copy_from_slice(&frame.echo_row(row)[..self.echo_samples]);
        }
        let energies = &mut self.energies[..self.sums.len()];
        energies.fill(0.0);
        let profiles = self.profiles[index * length..][..length].chunks_exact(energies.len());
        profiles.for_each(|profile| add_powers(profile, energies));
        let mut best = 0.0;
        largest(energies, &mut best);
        self.frame_peaks[index] = best.into();
    }

    /// The rows of frame `index` from a lag on.
    fn echo(&self, index: usize, lag: isize, window: usize) -> impl Iterator<Item = &[Complex32]> {
        let first = (lag - self.first_lag) as usize;
        let rows = self.echoes.chunks_exact(self.echo_samples).skip(index * self.rows).take(self.rows);
        rows.map(move |row| &row[first..][..window])
    }

    /// The most that is left beside this peak of echoes that add up: from each frame what noise alone reaches at its best
    /// delay, and the part of the echo that a rate between two steps of the grid leaves.
    fn rest_limit(&self, peak: &Peak) -> f64 {
        self.frames as f64 * self.noise_peaks[streams_in_use(self.used) - 1] + LEFT_PART * peak.energy
    }

    fn peak(&mut self, times_s: &[f64]) -> Found {
        let (lags, chains) = (self.sums.len(), self.rows * STREAMS);
        for (rate, energies) in self.rates.iter().zip(self.energies.chunks_exact_mut(lags)) {
            energies.fill(0.0);
            for chain in 0..chains {
                self.sums.fill(Complex32::default());
                for (frame, time_s) in times_s.iter().enumerate() {
                    let turn = Complex64::cis(-rate * (time_s - times_s[0]));
                    let profile = &self.profiles[(frame * chains + chain) * lags..][..lags];
                    add_turned(profile, Complex32::new(turn.re as f32, turn.im as f32), &mut self.sums);
                }
                add_powers(&self.sums, energies);
            }
        }
        let best = (0..self.energies.len()).max_by(|a, b| self.energies[*a].total_cmp(&self.energies[*b])).unwrap_or(0);
        let (row, lag) = (best / lags, best % lags);
        let energy = |row: Option<usize>, lag: Option<usize>| -> Option<f64> {
            let (row, lag) = (row.filter(|row| *row < self.rates.len())?, lag.filter(|lag| *lag < lags)?);
            Some(self.energies[row * lags + lag].into())
        };
        let across = |before, after| vertex(before, self.energies[best].into(), after);
        let steps = across(energy(row.checked_sub(1), Some(lag)), energy(Some(row + 1), Some(lag)));
        let step = self.rates.get(1).map_or(0.0, |second| second - self.rates[0]);
        let peak = Peak {
            lag: self.first_lag + lag as isize,
            fraction: across(energy(Some(row), lag.checked_sub(1)), energy(Some(row), Some(lag + 1))),
            energy: f64::from(self.energies[best]) / self.frames as f64,
            threshold: self.thresholds[streams_in_use(self.used) - 1],
        };
        let all: f64 = self.frame_peaks.iter().sum();
        Found { rate: self.rates[row] + steps * step, rest: all - peak.energy, peak }
    }
}

dispatched! {
    /// `sum[n] += values[n]·turn`.
    pub fn add_turned(values: &[Complex32], turn: Complex32, sum: &mut [Complex32]) = add_turned_body
}

#[inline(always)]
fn add_turned_body(values: &[Complex32], turn: Complex32, sum: &mut [Complex32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        sum.re += value.re * turn.re - value.im * turn.im;
        sum.im += value.re * turn.im + value.im * turn.re;
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{Matrix2, Vector2};
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::optimize::{BoundModel, Problem};
    use crate::scene::{Point, ReflectionPhase, Reflectivity, TimingErrorHold};
    use crate::sensing::{Trials, Truth};

    /// The scene `outdoor`, whose frames share timing error and phase, with a target that moves.
    fn outdoor(velocity_m_s: Point) -> Scene {
        let mut scene = Scene::from_toml(include_str!("../../scenes/outdoor.toml"), "outdoor").unwrap();
        scene.channel.timing_error_hold = TimingErrorHold::Run;
        scene.channel.reflection_phase = Some(ReflectionPhase::RandomPerRun);
        scene.target.velocity_m_s = velocity_m_s;
        scene
    }

    fn estimator(scene: &Scene, frames: usize, moving: bool) -> Result<CoherentEstimator> {
        let config = SensingConfig { moving, ..SensingConfig::from_scene(scene) };
        let window = Trials::window_samples(&config);
        CoherentEstimator::new(config, window, CoherentFrames::of_scene(scene, frames)?)
    }

    /// What trials over K frames gave.
    #[derive(Debug, Default)]
    struct Outcome {
        located: usize,
        /// RMSE over the root of the bound of K frames.
        ratio: f64,
        /// Bias over the same.
        bias: f64,
        nees: f64,
        rate_nees: f64,
        rate_rmse_m_s: f64,
    }

    /// Truths and estimates of trials over `frames` frames.
    fn estimates(scene: &Scene, beams: &Beams, frames: usize, moving: bool, trials: u64) -> Vec<(Truth, Estimate)> {
        let mut estimator = estimator(scene, frames, moving).unwrap();
        let mut source = Trials::new(scene, estimator.config(), beams, 7).unwrap();
        let mut trial = |number: u64| {
            let frames = (0..frames).map(|frame| {
                let truth = source.make_frame(number, frame, &estimator);
                source.take_in(frame, &mut estimator).map(|estimate| (truth, estimate))
            });
            frames.last().flatten().unwrap()
        };
        (0..trials).map(&mut trial).collect()
    }

    fn run(scene: &Scene, frames: usize, moving: bool, trials: u64) -> Outcome {
        let beams = Problem::from_scene(scene).solve().beams;
        let model = BoundModel::new(scene, scene.geometry.target, 1152).over_frames(frames);
        let bound = model.of_beams(&beams).trace_m2().unwrap();
        let (mut outcome, mut squares, mut sum) = (Outcome::default(), 0.0, Vector2::zeros());
        for (truth, estimate) in estimates(scene, &beams, frames, moving, trials) {
            let Some(fix) = estimate.fix else { continue };
            let error = Vector2::from(fix.position_m) - Vector2::from(truth.position_m);
            let covariance = Matrix2::from_fn(|i, j| fix.covariance_m2[i][j]);
            outcome.located += 1;
            squares += error.norm_squared();
            sum += error;
            outcome.nees += (error.transpose() * covariance.try_inverse().unwrap() * error)[0];
            if let Some(rate) = fix.measurement.path_rate {
                let squared = (rate.value_m_s - truth.path_rate_m_s).powi(2);
                outcome.rate_nees += squared / rate.variance_m2_s2;
                outcome.rate_rmse_m_s += squared;
            }
        }
        let located = outcome.located as f64;
        outcome.nees /= located;
        outcome.rate_nees /= located;
        outcome.rate_rmse_m_s = (outcome.rate_rmse_m_s / located).sqrt();
        outcome.ratio = (squares / located / bound).sqrt();
        outcome.bias = sum.norm() / located / bound.sqrt();
        outcome
    }

    #[test]
    fn eight_frames_of_a_moving_target_meet_their_bound_and_both_error_bars_are_true() {
        let outcome = run(&outdoor([-20.0, 15.0]), 8, true, 1000);
        // A ratio of 1000 trials scatters by 2.2 % at most, NEES by 0.063, that of the rate by 0.045, bias by 3.2 %.
        assert_eq!(outcome.located, 1000, "{outcome:?}");
        assert!((outcome.ratio - 1.0).abs() < 0.09, "{outcome:?}");
        assert!((outcome.nees - 2.0).abs() < 0.25 && (outcome.rate_nees - 1.0).abs() < 0.18, "{outcome:?}");
        assert!(outcome.bias < 0.12, "{outcome:?}");
        // λ/(2π)·√(6/(K·SNR))/(K·T_f) is 2.8 m/s at an SNR of 18 dB a frame; within one frame nothing is seen of 50 m/s.
        assert!(outcome.rate_rmse_m_s < 3.5, "{outcome:?}");
    }

    #[test]
    fn frames_of_a_target_at_rest_are_added_up_as_they_are() {
        let outcome = run(&outdoor([0.0, 0.0]), 4, false, 1000);
        // The likelihood still bends within the 4 m of this error: 4 % of the bound.
        assert!(outcome.located > 990 && (outcome.ratio - 1.0).abs() < 0.12, "{outcome:?}");
        assert!((outcome.nees - 2.0).abs() < 0.4 && outcome.bias < 0.12, "{outcome:?}");
    }

    #[test]
    fn an_echo_too_weak_for_one_frame_is_found_in_many_and_noise_alone_never() {
        let mut scene = outdoor([-20.0, 15.0]);
        let beams = Problem::from_scene(&scene).solve().beams;
        let located = |scene: &Scene, frames: usize, trials: u64| {
            let estimates = estimates(scene, &beams, frames, true, trials);
            estimates.iter().filter(|(_, estimate)| estimate.status == Status::Located).count()
        };
        // 13.5 dB less.
        scene.channel.reflection_coefficient *= 0.21;
        assert_eq!((located(&scene, 1, 40), located(&scene, 32, 40)), (0, 40));
        scene.channel.reflection_coefficient = 0.0;
        assert_eq!(located(&scene, 8, 100), 0);
    }

    #[test]
    fn frames_that_do_not_belong_together_are_interrupted_and_a_new_start_is_made() {
        let scene = outdoor([0.0, 0.0]);
        let first = Problem::from_scene(&scene).solve().beams;
        let second = Beams { w_c: first.w_0.clone(), w_0: first.w_c.clone() };
        let mut estimator = estimator(&scene, 3, false).unwrap();
        let [mut before, mut after] =
            [&first, &second].map(|beams| Trials::new(&scene, estimator.config(), beams, 1).unwrap());
        let give = |source: &mut Trials, count: usize, estimator: &mut CoherentEstimator| -> Vec<Option<Estimate>> {
            let mut give = |index| {
                source.make_frame(0, index, estimator);
                source.take_in(index, estimator)
            };
            (0..count).map(&mut give).collect()
        };
        assert_eq!(give(&mut before, 2, &mut estimator), [None, None]);
        assert!(estimator.goes_on_with(&first) && !estimator.goes_on_with(&second));
        let interrupted = estimator.interrupt().unwrap();
        assert_eq!((interrupted.status, interrupted.frames, estimator.held()), (Status::Interrupted, 2, 0));
        assert!(estimator.goes_on_with(&second) && estimator.interrupt().is_none());
        let three = give(&mut after, 3, &mut estimator);
        let estimate = three[2].unwrap();
        assert!(three[..2] == [None, None] && estimate.frames == 3 && estimate.fix.is_some(), "{estimate:?}");
        // What is interrupted leaves nothing behind, not even where nobody asked.
        assert_eq!(give(&mut before, 1, &mut estimator), [None]);
        assert_eq!(give(&mut after, 3, &mut estimator), three);
    }

    #[test]
    fn frames_with_timing_errors_and_phases_of_their_own_give_no_position_but_say_that_they_do_not_add_up() {
        let scene = outdoor([-20.0, 15.0]);
        let beams = Problem::from_scene(&scene).solve().beams;
        let mut estimator = estimator(&scene, 8, true).unwrap();
        let mut source = Trials::new(&scene, estimator.config(), &beams, 7).unwrap();
        let mut found = vec![];
        for number in 0..40 {
            let estimates = (0..8).map(|frame| {
                source.make_frame(8 * number + frame as u64, frame, &estimator);
                source.take_in(frame, &mut estimator)
            });
            let estimate = estimates.last().flatten().unwrap();
            found.push(estimate.status);
        }
        let incoherent = found.iter().filter(|status| **status == Status::Incoherent).count();
        assert!(incoherent >= 38 && !found.contains(&Status::Located), "{found:?}");
    }

    #[test]
    fn what_cannot_be_added_up_is_refused_with_what_can() {
        let scene = outdoor([0.0, 0.0]);
        let said = |scene: &Scene, frames: usize, moving: bool| {
            estimator(scene, frames, moving).err().map(|error| {
                assert_eq!(error.exit_status(), 2);
                error.to_string()
            })
        };
        assert_eq!(said(&scene, 16, true), None);
        for frames in [0, 1000] {
            assert!(said(&scene, frames, true).unwrap().contains("accepted: 1 to 256"));
        }
        let mut held_per_frame = scene.clone();
        held_per_frame.channel.timing_error_hold = TimingErrorHold::Frame;
        assert!(said(&held_per_frame, 2, true).unwrap().contains("timing_error_hold"));
        assert_eq!(said(&held_per_frame, 1, true), None);
        let mut slow = scene.clone();
        slow.waveform.frame_interval_s = Some(5e-3);
        assert!(said(&slow, 4, true).unwrap().contains("path_rate_max_m_s = 120"));
        assert_eq!(said(&slow, 4, false), None);
        let mut wide = scene.clone();
        wide.waveform.bandwidth_hz = 1e9;
        wide.waveform.frame_interval_s = Some(1e-4);
        assert!(said(&wide, 64, true).unwrap().contains("accepted: 1 to 6"));
        let mut known = scene;
        known.model.reflectivity = Reflectivity::Known;
        assert!(said(&known, 4, true).unwrap().contains("unknown"));
    }

    #[test]
    fn the_dispatched_kernel_equals_its_body_bit_for_bit() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(8);
        let mut complex = || Complex32::new(random.random::<f32>() - 0.5, random.random::<f32>() - 0.5);
        let (values, mut fast): (Vec<_>, Vec<_>) = (0..103).map(|_| (complex(), complex())).unzip();
        let mut slow = fast.clone();
        add_turned(&values, Complex32::new(0.6, -0.8), &mut fast);
        add_turned_body(&values, Complex32::new(0.6, -0.8), &mut slow);
        assert_eq!(fast, slow);
    }
}
