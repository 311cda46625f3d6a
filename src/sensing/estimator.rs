//! One frame's estimate: coarse alignment, the window's spectrum, starts from all sides, Newton on the concentrated
//! likelihood, and the posterior's maximum under the timing prior. Nothing is allocated after construction.

use std::f64::consts::TAU;

use nalgebra::{Matrix2, Matrix3, Vector2, Vector3};
use num_complex::{Complex32, Complex64};

mod mend;

use self::mend::CommonTurning;
use super::align::{Alignment, Peak, energy_threshold};
use super::clock::{ClockFollower, ClockReading};
use super::compression::Compressed;
use super::estimate::{Estimate, Fix, Rivals, Seen, Status};
use super::fit::{Fit, RowSet, inner};
use super::likelihood::{Likelihood, Parameters, Value, beam_jets, illumination, set_beams, wavenumber};
use super::position::{Geometry, Maximum, Posterior};
use super::search::{CANDIDATES, Candidate, Search, climb};
use super::sounding::{Sounded, SoundingEcho};
use super::spectra::{Spectra, no_correlations};
use super::spectrum::{Correlations, Gram};
use super::targets::View;
use super::track::{MAX_TRACKS, Measurement, PathRate};
use super::{EchoFrame, Planar, Reflection, STREAMS, SensingConfig};
use crate::array::{Beams, distance_m};
use crate::dsp::rotate;
use crate::scene::Point;
use crate::{Error, Result};

/// Below this the ratio of the two beams does not depend on direction: rounding.
const NO_LEVERAGE: f64 = 1e-7;
/// Correlations are taken again until T moves by less than this, in samples.
const SETTLED: f64 = 2e-2;
/// Most that a sounding counts against a candidate, and what it may have against the best one at most.
const MOST_SOUNDED_NATS: f64 = 200.0;
const CONTRADICTED_NATS: f64 = 40.0;
/// Weight beside the best place below which another is not told of.
const NEGLIGIBLE_RIVAL: f64 = 1e-6;
/// Least log-probability that an expectation gives: a target may always be elsewhere.
const SURPRISE_NATS: f64 = -50.0;
/// A point whose direction is this part of a beam from a position's is not the one that belongs to it.
const OTHER_ROOT: f64 = 0.02;
/// Rounds of estimating how the echo turns: the second one sees what the first left.
const TURNS: usize = 2;
/// Turns in the window by which an echo is turned back where none is found as it is.
const OFFSET_TURNS: f64 = 0.2;
/// Square of the deviations by which an echo may miss the beams' responses.
const MISSED: f64 = 36.0;
/// Deviations of the timing error that a clock which holds stays within.
const CLOCK_DEVIATIONS: f64 = 5.0;
/// Likeness to the direct path's response, and distance from its direction in beams, of leakage.
const DIRECT_LIKENESS: f64 = 0.95;
const DIRECT_BEAMS: f64 = 0.02;
/// Deviations that this may be more.
const DIRECT_DEVIATIONS: f64 = 5.0;
/// Least part of an echo's energy that counts as noise: rounding.
const ROUNDING: f64 = 1e-12;
/// The same while the delay is not settled.
const UNSETTLED: f64 = 1e-6;
/// An echo in a symbol's neighbourhood is taken for the same one by the quick look for another: so many symbols.
const NEAR_SYMBOLS: usize = 3;
/// The window's energy must be this many deviations above the noise's to hint at another echo, ...
const NOISE_DEVIATIONS: f64 = 6.0;
/// ... and above this part of the one that was found, of which the window's edges leave some.
const EDGES_PART: f64 = 2e-3;
/// Of the last eight echoes, this many that miss the fit say that the next one to meet it does so by chance: of thousands that a
/// limiter bends, some come to lie where another direction's would.
const MISFITS: u32 = 3;
/// Candidates this many nats behind the best likelihood cannot win by the prior.
const BEHIND_NATS: f64 = 60.0;
/// While it is not known how the echo turns, they may be this part of the likelihood behind as well.
const BEHIND_PART: f64 = 1e-4;

/// How the echo turns within the window.
#[derive(Debug, Clone, Copy, Default)]
struct Turning {
    /// Radians a sample.
    rate: f64,
    variance: f64,
}

/// The estimator, with all its scratch.
pub struct Estimator {
    config: SensingConfig,
    window: usize,
    wavenumber: f64,
    geometry: Geometry,
    alignment: Alignment,
    spectra: Spectra,
    search: Search,
    correlations: Correlations,
    slope_correlations: Correlations,
    beams: [Vec<Complex64>; STREAMS],
    leverage: f64,
    /// What noise of its own beam exceeds with the false-alarm probability, somewhere in the search.
    beam_threshold: f64,
    expectations: Vec<Expectation>,
    /// How well the echo fits.
    fit: Fit,
    /// Noise variance of a bin, as the echo shows it.
    noise_variance: f64,
    /// As [`Likelihood::arrival_part`] and [`Likelihood::displaced`].
    arrival_part: f64,
    displaced: [f64; 2],
    seen: Seen,
    /// The echo turned back, `[row][sample]`, and by how many radians a sample.
    turned: Vec<Complex32>,
    turned_by: f64,
    /// The part of each row's complex conjugate that is in it.
    images: Vec<Complex64>,
    /// Room for all that is heard of a frame, and by how many radians a sample it is turned back in there.
    whole: Vec<Complex32>,
    offset: f64,
    /// What the last fine stage came to, with a position or without.
    reached: Option<Reached>,
    clock: ClockFollower,
    /// By how many samples echoes are taken to be earlier than their rows show, after the clock; and whole samples by which
    /// these rows were taken late.
    early: f64,
    late_samples: isize,
    sounding: SoundingEcho,
    /// What the frame's sounding says, where it has one.
    sounded: Option<Sounded>,
    /// What the last fine stage says of the clock.
    reading: Option<ClockReading>,
    /// Which of the last eight echoes missed the fit, a bit each.
    misfits: u8,
    /// What the echoes show of a compression that they have in common.
    compressed: Compressed,
    /// How the echoes turned so far.
    common_turning: CommonTurning,
    /// Whether clock, misfits and rows' errors are learned from frame to frame: where one echo alone is there.
    learns: bool,
}

/// Where a target is expected, with the covariance.
pub type Expectation = (Point, Matrix2<f64>);

/// Where the fine stage saw an echo.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// T in samples, and sin φ.
    pub delay: f64,
    pub sine: f64,
    /// Σ_r c_rᴴQ⁻¹c_r over the noise: all the energy that the streams explain in any way, row by row.
    pub energy: f64,
    /// What of it is left by one direction and one pair of beams.
    pub misfit: f64,
}

/// ℓ on the present correlations, borrowing those fields alone that it is made of.
macro_rules! likelihood {
    ($estimator:ident, $gram:expr) => {
        Likelihood {
            correlations: &$estimator.correlations,
            gram: $gram,
            beams: &$estimator.beams,
            wavenumber: $estimator.wavenumber,
            noise_variance: $estimator.noise_variance,
            arrival_part: $estimator.arrival_part,
            displaced: $estimator.displaced,
            reflection: $estimator.config.reflection,
        }
    };
}

/// What the fine stage works with besides the correlations.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub gram: Gram,
    pub lag: isize,
    pub fraction: f64,
    /// Samples of it that were received and not expected.
    pub length: usize,
}

impl Estimator {
    /// An estimator for windows of `window` samples.
    pub fn new(config: SensingConfig, window: usize) -> Result<Self> {
        Self::over_frames(config, window, 1)
    }

    /// The fine stage for `frames` frames together.
    pub(super) fn over_frames(config: SensingConfig, window: usize, frames: usize) -> Result<Self> {
        let [first, last] = config.lag_range();
        if last < first || window < 8 * config.samples_per_symbol {
            return Err(Error::input(format!(
                "sensing: a search over delays {first} to {last} in a window of {window} samples is empty"
            )));
        }
        let (transmit, rows) = (config.transmit_antennas, config.receive_antennas);
        let spectra = Spectra::new(&config, window, frames);
        Ok(Self {
            window,
            fit: Fit::new(&config, wavenumber(config.spacing_wavelengths), &spectra),
            wavenumber: wavenumber(config.spacing_wavelengths),
            geometry: Geometry::new(&config),
            alignment: Alignment::new(&config, window),
            spectra,
            search: Search::new(transmit, rows, config.spacing_wavelengths),
            correlations: no_correlations(rows),
            slope_correlations: no_correlations(rows),
            beams: std::array::from_fn(|_| vec![Complex64::ZERO; transmit]),
            leverage: 0.0,
            beam_threshold: energy_threshold(
                STREAMS,
                config.false_alarm_probability / ((last - first + 1) as f64 * rows as f64),
            ),
            expectations: Vec::with_capacity(MAX_TRACKS),
            noise_variance: 0.0,
            arrival_part: 1.0,
            displaced: [0.0; 2],
            seen: Seen::default(),
            turned: vec![Complex32::default(); rows * window],
            turned_by: 0.0,
            images: vec![Complex64::ZERO; rows],
            whole: vec![Complex32::default(); rows * (window + (last - first) as usize)],
            offset: 0.0,
            reached: None,
            clock: ClockFollower::new(&config),
            early: 0.0,
            late_samples: 0,
            sounding: SoundingEcho::new(&config),
            sounded: None,
            reading: None,
            misfits: 0,
            compressed: Compressed::default(),
            common_turning: CommonTurning::default(),
            learns: true,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &SensingConfig {
        &self.config
    }

    /// Tells where the next targets are expected (a track's prediction), with the covariance. It decides between
    /// positions that explain an echo equally well, and changes none of them.
    /// Where there are several, the one nearest to an echo by delay and arrival direction speaks for it.
    pub fn expect(&mut self, expectations: impl IntoIterator<Item = Expectation>) {
        self.expectations.clear();
        self.expectations.extend(expectations.into_iter().take(MAX_TRACKS));
    }

    /// Samples of each echo row that an estimate reads, the first being sample `window_start + lag_range()[0]` of the
    /// frame by the receiver's clock.
    pub fn echo_samples(&self) -> usize {
        self.alignment.echo_samples()
    }

    /// Estimates from one frame, whose echo rows go on for [`Self::echo_samples`].
    pub fn estimate(&mut self, frame: &EchoFrame<'_>) -> Estimate {
        self.estimate_first(frame).0
    }

    /// The same, and where the echo was found. `None` where none was.
    ///
    /// A carrier offset of 1 ppm can be a fifth of a turn in the window: where nothing stands out of the noise, the echo is
    /// looked for turned back as those before it have turned, and back and forth by so much.
    pub(super) fn estimate_first(&mut self, frame: &EchoFrame<'_>) -> (Estimate, Option<Peak>) {
        self.use_beams(frame.beams);
        self.follow_clock(frame);
        let gram = self.spectra.load_streams(0, frame.streams(), self.config.moving);
        let peak = self.alignment.search(frame, self.spectra.first());
        self.offset = 0.0;
        let common = self.common_turning.that_matters(self.window);
        let plain = self.estimate_at(frame, gram, peak);
        let is_weak = plain.0.status == Status::BelowThreshold;
        if !is_weak || (peak.energy >= peak.threshold && common.is_none()) {
            return plain;
        }
        let mut whole = std::mem::take(&mut self.whole);
        let count = self.alignment.echo_samples();
        let mut found = None;
        let guess = OFFSET_TURNS * TAU / self.window as f64;
        for rate in [common, Some(guess), Some(-guess)].into_iter().flatten() {
            for (row, to) in whole.chunks_exact_mut(count).enumerate() {
                to.copy_from_slice(&frame.echo_row(row)[..count]);
                rotate(to, 0.0, -rate);
            }
            let turned = EchoFrame { echo: Planar::new(&whole, count), echo_start: 0, ..*frame };
            let peak = self.alignment.search(&turned, self.spectra.first());
            if peak.energy >= peak.threshold {
                self.offset = rate;
                found = Some(self.estimate_at(&turned, gram, peak));
                break;
            }
        }
        self.whole = whole;
        found.unwrap_or(plain)
    }

    /// The fine stage at a peak, where that stands out of the noise.
    fn estimate_at(&mut self, frame: &EchoFrame<'_>, gram: Gram, peak: Peak) -> (Estimate, Option<Peak>) {
        let nothing = |status| Estimate::without_fix(status, &peak, 1);
        if let Some(status) = self.refusal(&peak) {
            let received = self.alignment.received_power().unwrap_or(0.0);
            let noise_power_w = received / self.config.samples_per_symbol as f64;
            return (nothing(status).seen(Seen { noise_power_w, ..Seen::default() }), None);
        }
        let first = (peak.lag - self.alignment.first_lag()) as usize;
        let rows = self.config.receive_antennas;
        let echo = move |row: usize| &frame.echo_row(row)[first..];
        self.spectra.load_echo(0, (0..rows).map(echo));
        let window = Window { gram, lag: peak.lag, fraction: peak.fraction, length: self.window };
        let mut result = self.locate_mended(window, frame, (0..rows).map(echo));
        if self.is_compressed(self.learns) {
            result = Err(self.clipped());
        }
        // What rows are off by is the same in all frames.
        if self.learns
            && matches!(result, Ok(_) | Err(Status::Ambiguous))
            && let Some(fault) = self.fit.remember()
        {
            (self.seen.rows, result) = (fault.rows.0, Err(fault.status));
        }
        result = if self.learns { self.trust(result) } else { result };
        if let (true, Some(reading), Ok(_) | Err(Status::Incoherent)) =
            (self.learns && self.config.follow_clock, self.reading, &result)
        {
            self.clock.take_in(&reading);
        }
        let estimate = match result {
            Ok(fix) => Estimate { fix: Some(fix), ..nothing(Status::Located) },
            Err(status) => nothing(status),
        };
        (estimate.seen(self.seen), Some(peak))
    }

    /// Notes down whether an echo fits, and refuses one that does among many that do not.
    fn trust(&mut self, result: Result<Fix, Status>) -> Result<Fix, Status> {
        match result {
            Ok(fix) => {
                let chance = self.misfits.count_ones() >= MISFITS;
                self.misfits <<= 1;
                if chance { Err(Status::PoorFit) } else { Ok(fix) }
            }
            Err(status) => {
                if status.refusal() == Status::PoorFit.refusal() {
                    self.misfits = self.misfits << 1 | 1;
                }
                Err(status)
            }
        }
    }

    /// Brings what is known of the clock to a frame.
    fn follow_clock(&mut self, frame: &EchoFrame<'_>) {
        if !self.learns {
            (self.late_samples, self.early) = (frame.late_samples, -(frame.late_samples as f64));
            return;
        }
        self.clock.advance(frame.time_s);
        let [offset, variance] = self.clock.offset();
        self.late_samples = frame.late_samples;
        self.early = offset - frame.late_samples as f64;
        self.geometry.widen_clock(&self.config, variance);
    }

    /// Learns nothing of clock and rows any more, and forgets what was learned: of several echoes, or of what the removal of
    /// others leaves, each says something else.
    pub(crate) fn stop_learning(&mut self) {
        if std::mem::take(&mut self.learns) {
            self.clock = ClockFollower::new(&self.config);
            self.geometry.widen_clock(&self.config, 0.0);
            self.misfits = 0;
            self.compressed = Compressed::default();
            self.common_turning = CommonTurning::default();
        }
    }

    /// By how many samples later a frame's rows should be taken than the scene's clock says: as [`EchoFrame::late_samples`].
    pub fn late_samples(&self) -> isize {
        self.clock.offset()[0].round() as isize
    }

    /// What a point of ℓ says of the clock, `reference` being where its correlations were taken.
    fn read_clock(&self, likelihood: &Likelihood<'_>, point: &Parameters, reference: f64) -> ClockReading {
        let delay = reference + point[2] + self.late_samples as f64;
        let information = -likelihood.informed(&likelihood.evaluate(point).hessian);
        let by_directions = information.try_inverse().and_then(|covariance| {
            let spread = covariance.fixed_view::<2, 2>(0, 0).into_owned()
                + Matrix2::from_diagonal(&Vector2::from(self.displacements(likelihood, point)));
            self.geometry.path_by_directions([point[0], point[1]], &spread)
        });
        ClockReading { delay, by_directions }
    }

    /// Variances of sin θ and sin φ by errors of the arrays' elements.
    fn displacements(&self, likelihood: &Likelihood<'_>, point: &Parameters) -> [f64; 2] {
        if !self.config.declares_errors() {
            return likelihood.displaced;
        }
        let [phase, gain] = [self.config.element_phase_std_rad, self.config.element_gain_std];
        let declared = likelihood.displacement_variances(point, phase, gain);
        [0, 1].map(|index| declared[index] + likelihood.displaced[index])
    }

    /// Whether the frame estimated last may hold another echo than that of `peak`: one that the delay search saw, or so
    /// strong that the window's energy is more than noise and the one echo make.
    pub(super) fn may_hold_another(&self, peak: &Peak) -> bool {
        let near = NEAR_SYMBOLS * self.config.samples_per_symbol;
        if self.alignment.saw_another(peak, near as isize) {
            return true;
        }
        let Some(reached) = self.reached else { return false };
        let Some(noise) = self.spectra.outside_noise() else { return false };
        let outside = self.spectra.first().outside_bins() as f64;
        let inside = self.spectra.bins() as f64;
        let rows = self.config.receive_antennas as f64;
        let left = self.fit.left() * inside * rows;
        let scatter = NOISE_DEVIATIONS * (inside / rows * (1.0 + inside / outside)).sqrt();
        left > noise * (inside + scatter) + EDGES_PART * reached.energy * self.noise_variance
    }

    /// Locates one of several targets from its view. Where its echo shows that a stage is compressed, that is what keeps the
    /// position from being known ([`Status::Clipped`]), and those of all others; `is_untouched` says that nothing was removed
    /// from the rows before, which leaves echoes that are alike in all frames.
    pub(super) fn locate_in(
        &mut self,
        frame: &EchoFrame<'_>,
        view: &View<'_>,
        is_untouched: bool,
    ) -> (Result<Fix, Status>, Option<Reached>) {
        let gram = self.spectra.load_streams(0, frame.streams(), self.config.moving);
        let rows = self.config.receive_antennas;
        self.spectra.load_echo(0, (0..rows).map(|row| view.echo.row(row)));
        let window = Window { gram, lag: view.lag, fraction: view.fraction, length: view.length };
        let mut fix = self.locate_mended(window, frame, (0..rows).map(|row| view.echo.row(row)));
        if is_untouched && self.is_compressed(true) {
            fix = Err(self.clipped());
        }
        (fix, self.reached)
    }

    /// Names all rows, as a compressed stage is none's own.
    fn clipped(&mut self) -> Status {
        self.seen.rows = RowSet::first(self.config.receive_antennas).0;
        Status::Clipped
    }

    /// What the fit of the echo estimated last showed beside a position.
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// Where the fine stage saw the echo of the frame estimated last.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.reached
    }

    /// Why no position can follow from this peak under the present beams, if there is a reason.
    pub(super) fn refusal(&self, peak: &Peak) -> Option<Status> {
        if peak.energy < peak.threshold {
            return Some(Status::BelowThreshold);
        }
        (self.config.reflection == Reflection::Unknown && self.leverage < NO_LEVERAGE).then_some(Status::Unidentifiable)
    }

    /// Whether the estimator already works with these beams.
    pub(super) fn uses(&self, beams: &Beams) -> bool {
        self.beams.iter().zip([&beams.w_c, &beams.w_0]).all(|(row, beam)| row.iter().eq(beam.iter()))
    }

    /// The spectra that [`Self::locate`] works on.
    pub(super) fn spectra(&mut self) -> &mut Spectra {
        &mut self.spectra
    }

    /// Takes new beams into the tables; the same ones cost nothing.
    pub(super) fn use_beams(&mut self, beams: &Beams) {
        if !self.uses(beams) {
            set_beams(&mut self.beams, &beams.w_c, &beams.w_0);
            self.leverage = self.search.tabulate(&self.beams, self.wavenumber);
        }
    }

    /// The fine stage, on loaded spectra; `frame` may have a sounding.
    pub(super) fn locate(&mut self, mut window: Window, frame: Option<&EchoFrame<'_>>) -> Result<Fix, Status> {
        self.reached = None;
        self.reading = None;
        self.sounded = None;
        self.seen = Seen::default();
        (self.arrival_part, self.displaced) = (1.0, [0.0; 2]);
        self.spectra.correlate(window.fraction, &mut self.correlations);
        self.noise_variance = self.unsettled_noise(&window);
        let mut points = [Vector3::zeros(); CANDIDATES];
        let likelihood = likelihood!(self, window.gram);
        let mut count = self.search.starts(&likelihood, self.config.errors_part(), &mut points);
        let behind_part = if self.config.moving { BEHIND_PART } else { 0.0 } + self.config.errors_part();
        count = self.settle(&mut window, &mut points, count, behind_part)?;
        let mut turning = None;
        if self.config.moving {
            let mut so_far = Turning { rate: self.spectra.rate(), variance: 0.0 };
            for _ in 0..TURNS {
                let more = self.turning(&window, &points[0]);
                so_far = Turning { rate: so_far.rate + more.rate, ..more };
                window.gram = self.spectra.turn(so_far.rate);
                self.spectra.correlate(window.fraction, &mut self.correlations);
                count = self.settle(&mut window, &mut points, count, self.config.errors_part())?;
            }
            turning = Some(so_far);
        }
        let reference = window.lag as f64 + window.fraction;
        let unsettled = self.noise_variance;
        let fault = self.judge(&window, &points[0]);
        let likelihood = likelihood!(self, window.gram);
        self.reached = Some(reach(&likelihood, reference, &points[0]));
        if let Some(status) = fault {
            return Err(status);
        }
        if self.is_noise_of_its_beam(&likelihood, &points[0]) {
            return Err(Status::BelowThreshold);
        }
        if let Some(frame) = frame
            && self.config.reflection == Reflection::Unknown
        {
            let rate = self.turned_by + self.offset + self.spectra.rate();
            let of_sample = self.noise_variance / self.window as f64;
            self.sounded =
                self.sounding.read(frame, &self.config, &points[0], reference + points[0][2], [of_sample, rate]);
            if let Some(sounded) = self.sounded {
                count = with_start(&likelihood, &mut points, count, sounded.sine);
            }
        }
        // From here on delays are those of a clock that is as declared.
        let reference = reference - self.early;
        if self.is_direct(&likelihood, &points[0], reference) {
            return Err(Status::Leakage);
        }
        let mut rivals = Rivals::default();
        let decided = self.decide(&likelihood, reference, &points[..count], &mut rivals);
        self.seen.rivals = rivals;
        let (best, point) = decided?;
        let point = self.own_point(&likelihood, &best, point);
        let reading = Some(self.read_clock(&likelihood, &point, reference + self.early));
        let best = self.geometry.weigh(&likelihood, reference, best, &point).ok_or(Status::OutOfView)?;
        if !is_covariance(&best.covariance) || self.geometry.is_curved(&likelihood, reference, &best) {
            return Err(Status::Ambiguous);
        }
        self.reading = reading;
        let late = reference + best.delta - self.geometry.arrival(best.position)[1];
        if late.abs() > CLOCK_DEVIATIONS * self.config.timing_error_std().max(1.0) {
            return Err(Status::Incoherent);
        }
        let value = likelihood.evaluate(&point);
        if self.misses_the_beams(&likelihood, &point, &value) {
            return Err(Status::PoorFit);
        }
        let turning = turning.map(|turning| {
            // It was found before the noise was.
            let variance = turning.variance * self.noise_variance / unsettled;
            Turning { rate: turning.rate + self.turned_by + self.offset, variance }
        });
        Ok(self.fix(&best, &likelihood.informed(&value.hessian), &point, reference, turning))
    }

    /// Whether what comes from an echo's direction is no more than noise from there would show. The delay search takes the noise
    /// of rows to be independent; one strong wave from one direction that is none of the streams (the next frame's, of a
    /// target that appears) is the same in all of them, and shows by chance so many times more energy as there are rows.
    fn is_noise_of_its_beam(&self, likelihood: &Likelihood<'_>, point: &Parameters) -> bool {
        self.config.receive_antennas > 1 && likelihood.free_fit(point) < self.beam_threshold
    }

    /// Whether no direction has the beams in the ratio in which the echo shows them: by far more than noise and declared errors
    /// of the transmit elements let one see.
    fn misses_the_beams(&self, likelihood: &Likelihood<'_>, point: &Parameters, value: &Value) -> bool {
        if self.config.reflection != Reflection::Unknown {
            return false;
        }
        let missed = 2.0 * (likelihood.free_fit(point) - value.log_likelihood);
        let deviations = [self.config.element_phase_std_rad, self.config.element_gain_std];
        missed > MISSED * (1.0 + likelihood.misfit_spread(point, value, deviations))
    }

    /// Whether an echo is the direct path from the transmitter: by its delay, its direction and what it shows of the beams.
    fn is_direct(&self, likelihood: &Likelihood<'_>, point: &Parameters, reference: f64) -> bool {
        let (from, to) = (self.config.transmitter, self.config.receiver);
        let direct_m = distance_m(from, to);
        let delay = direct_m / self.config.sample_path_m();
        let late = reference + point[2] - delay;
        if direct_m <= 0.0 || late.abs() > 5.0 * self.config.timing_error_std() + 2.0 {
            return false;
        }
        let sine = (from[1] - to[1]) / direct_m;
        let beams = self.config.spacing_wavelengths * self.config.receive_antennas as f64;
        let turns = (point[1] - sine) * self.config.spacing_wavelengths;
        let apart = (turns - turns.round()).abs() * self.config.receive_antennas as f64;
        let declared = self.config.element_phase_std_rad.hypot(self.config.element_gain_std) / self.wavenumber;
        let deviation = (-likelihood.informed(&likelihood.evaluate(point).hessian)[(1, 1)]).powf(-0.5);
        let unsure = DIRECT_DEVIATIONS * beams * (deviation.max(0.0) + declared);
        if apart > DIRECT_BEAMS + unsure {
            return false;
        }
        let response = beam_jets(&self.beams, self.wavenumber, -sine).map(|jet| jet[0]);
        let (seen, energy) = self.fit.common_response(&likelihood.gram);
        let alike = inner(&likelihood.gram, response, seen).norm_sqr();
        alike > DIRECT_LIKENESS * inner(&likelihood.gram, response, response).re * energy
    }

    /// The maximum of ℓ that belongs to a position: mostly the point that it was reached from, but two starts may lead to one
    /// position.
    fn own_point(&self, likelihood: &Likelihood<'_>, best: &Maximum, point: Parameters) -> Parameters {
        let [departure, arrival] = self.geometry.sines(best.position);
        let apart = (departure - point[0]).abs() * self.config.transmit_antennas as f64;
        if apart < OTHER_ROOT {
            return point;
        }
        climb(likelihood, Vector3::new(departure, arrival, best.delta)).point
    }

    /// The noise of a bin by what the streams leave of the rows' energies, good enough to compare candidates.
    fn unsettled_noise(&self, window: &Window) -> f64 {
        let rows = self.config.receive_antennas;
        let energy: f64 = (0..rows).map(|row| self.spectra.row_energy(row)[0]).sum();
        let explained: f64 = self.correlations[0].iter().map(|c| window.gram.explained(*c)).sum();
        let left = (energy - explained).max(UNSETTLED * energy).max(f64::MIN_POSITIVE);
        left / (rows * self.spectra.bins()) as f64 * self.unknown_part(window)
    }

    /// What is expected in place of samples that are not known adds no noise and no information.
    fn unknown_part(&self, window: &Window) -> f64 {
        (self.window as f64 / window.length as f64).powi(2)
    }

    /// Measures the noise beside the echo at a point, and looks whether the rows fit; why they do not, if so.
    fn judge(&mut self, window: &Window, point: &Parameters) -> Option<Status> {
        let Self { fit, spectra, correlations, .. } = self;
        fit.take_apart(spectra, correlations, &window.gram, point, window.fraction, self.window);
        let fault = fit.judge(spectra, &window.gram, window.fraction + point[2]);
        let [sum, difference] = fit.beam_noise;
        let rows = self.config.receive_antennas;
        let energy: f64 = (0..rows).map(|row| self.spectra.row_energy(row)[0]).sum();
        let floor = (ROUNDING * energy / (rows * self.spectra.bins()) as f64).max(f64::MIN_POSITIVE);
        let [sum, difference] = [sum.max(floor), difference.max(floor)];
        self.noise_variance = sum * self.unknown_part(window);
        self.arrival_part = if rows > 1 { sum / difference } else { 1.0 };
        self.displaced = [0.0, self.fit.displaced];
        let per_sample = self.fit.noise() / window.length as f64;
        self.seen = Seen {
            rows: fault.map_or(0, |fault| fault.rows.0),
            constant_rows: self.fit.constant.0,
            clock_offset_s: self.clock.found() * self.config.sample_period_s(),
            rivals: Rivals::default(),
            noise_power_w: per_sample / self.config.samples_per_symbol as f64,
        };
        fault.map(|fault| fault.status)
    }

    /// Refines all candidates until the best one's delay rests; drops those that are behind by this part of ℓ and more.
    fn settle(
        &mut self,
        window: &mut Window,
        points: &mut [Parameters; CANDIDATES],
        mut count: usize,
        behind_part: f64,
    ) -> Result<usize, Status> {
        for _ in 0..6 {
            let likelihood = likelihood!(self, window.gram);
            count = follow(&likelihood, points, count, behind_part);
            let moved = points[0][2];
            if count == 0 {
                return Err(Status::Ambiguous);
            }
            if moved.abs() < SETTLED {
                break;
            }
            window.fraction += moved;
            points[..count].iter_mut().for_each(|point| point[2] -= moved);
            self.spectra.correlate(window.fraction, &mut self.correlations);
        }
        Ok(count)
    }

    /// How fast the echo turns beyond what the streams do already: the least-squares fit of β b + jν β b' with
    /// b' = t·b(t) to what the array receives from `point`, ν real.
    fn turning(&mut self, window: &Window, point: &Parameters) -> Turning {
        self.spectra.correlate_slopes(window.fraction, &mut self.slope_correlations);
        let (slope_gram, cross) = self.spectra.slope_grams();
        let still = likelihood!(self, window.gram);
        let sloped = Likelihood { correlations: &self.slope_correlations, ..likelihood!(self, window.gram) };
        let jets = beam_jets(&self.beams, self.wavenumber, point[0]);
        let response = jets.map(|jet| jet[0]);
        let rows = still.rows();
        let reflection = still.evaluate(point).reflection;
        let [received, ..] = sloped.arrival_jets(point[1], point[2]);
        let seen: Complex64 = (0..STREAMS).map(|u| response[u].conj() * received[u][0]).sum();
        let overlap: Complex64 = (0..STREAMS)
            .flat_map(|u| (0..STREAMS).map(move |v| (u, v)))
            .map(|(u, v)| response[u] * response[v].conj() * cross[u][v])
            .sum();
        let energy = rows * reflection.norm_sqr() * illumination(&slope_gram, &jets)[0];
        let rest = seen - reflection * overlap * rows;
        Turning {
            rate: ((Complex64::I * reflection).conj() * rest).re / energy,
            variance: still.noise_variance / (2.0 * energy),
        }
    }

    fn fix(
        &self,
        best: &Maximum,
        information: &Matrix3<f64>,
        point: &Parameters,
        reference: f64,
        turning: Option<Turning>,
    ) -> Fix {
        let direction = |from: Point| (best.position[1] - from[1]).atan2(best.position[0] - from[0]);
        let covariance = best.covariance;
        // From samples to metres of path.
        let unit = [1.0, 1.0, self.config.sample_path_m()];
        Fix {
            position_m: best.position,
            covariance_m2: [[covariance[(0, 0)], covariance[(0, 1)]], [covariance[(1, 0)], covariance[(1, 1)]]],
            displacement_m2: best.displacement_m2,
            measurement: Measurement {
                values: [point[0], point[1], (reference + point[2]) * unit[2]],
                information: std::array::from_fn(|i| {
                    std::array::from_fn(|j| -information[(i, j)] / (unit[i] * unit[j]))
                }),
                displacement_variances: best.displacement_variances,
                path_rate: turning.map(|turning| {
                    let per_radian = self.config.wavelength_m / (TAU * self.config.sample_period_s());
                    PathRate {
                        value_m_s: -turning.rate * per_radian,
                        variance_m2_s2: turning.variance * per_radian * per_radian,
                    }
                }),
            },
            delay_s: (reference + self.early + self.late_samples as f64 + best.delta) * self.config.sample_period_s(),
            departure_rad: direction(self.config.transmitter),
            arrival_rad: direction(self.config.receiver),
            reflection: best.value.reflection,
            // ℓ is |β_0|² over this variance.
            reflection_variance: match self.config.reflection {
                Reflection::Unknown => best.value.reflection.norm_sqr() / best.value.log_likelihood.max(1.0),
                Reflection::Known(_) => 0.0,
            },
            noise_power_w: self.seen.noise_power_w,
            sounded: self.sounded.is_some(),
        }
    }

    /// The best posterior among the candidates and the point it was reached from, if it leads clearly.
    fn decide(
        &self,
        likelihood: &Likelihood<'_>,
        reference: f64,
        points: &[Parameters],
        rivals: &mut Rivals,
    ) -> Result<(Maximum, Parameters), Status> {
        // The highest start first: what is far below where that leads is given up soon.
        let mut starts = [None; CANDIDATES];
        for (start, point) in starts.iter_mut().zip(points) {
            *start = self.geometry.start(likelihood, reference, *point.as_ref()).map(|start| (start, *point));
        }
        let height = |start: &Option<(Posterior, _)>| start.map_or(f64::NEG_INFINITY, |(start, _)| start.log);
        starts.sort_unstable_by(|a, b| height(b).total_cmp(&height(a)));
        let expectation = self.expectation(reference, &points[0]);
        let mut maxima = [None; CANDIDATES];
        let mut leading = f64::NEG_INFINITY;
        for (maximum, (start, point)) in maxima.iter_mut().zip(starts.iter().flatten()) {
            let floor =
                if self.config.declares_errors() { f64::NEG_INFINITY } else { leading - self.config.ambiguity_nats };
            *maximum = self.geometry.climb(likelihood, reference, start, floor).map(|reached| {
                let score =
                    reached.log_posterior + self.forgiven(likelihood, &reached) + expected(expectation, &reached)
                        - self.missed_by_sounding(&reached).min(MOST_SOUNDED_NATS);
                (score, reached, *point)
            });
            leading = maximum.map_or(leading, |(score, ..)| leading.max(score));
        }
        let (score, best, point) =
            maxima.iter().flatten().max_by(|a, b| a.0.total_cmp(&b.0)).copied().ok_or(Status::OutOfView)?;
        if self.missed_by_sounding(&best) > CONTRADICTED_NATS {
            return Err(Status::Ambiguous);
        }
        let others = || maxima.iter().flatten().filter(|(_, other, _)| is_elsewhere(&best, other));
        for (other, place, _) in others() {
            keep_rival(rivals, place.position, (other - score).exp());
        }
        let rival = others().any(|(other, ..)| *other > score - self.config.ambiguity_nats);
        let sum = 1.0 + rivals.iter().flatten().map(|(_, share)| share).sum::<f64>();
        rivals.iter_mut().flatten().for_each(|(_, share)| *share /= sum);
        if rival { Err(Status::Ambiguous) } else { Ok((best, point)) }
    }

    /// By how many nats the frame's sounding is against a candidate.
    fn missed_by_sounding(&self, reached: &Maximum) -> f64 {
        let [departure, _] = self.geometry.sines(reached.position);
        self.sounded.map_or(0.0, |sounded| self.sounding.missed(&sounded, departure))
    }

    /// What a candidate's log-posterior is too low by where elements may be off: of M nats by which its direction misses what is
    /// seen of the beams, errors make a part. With noise alone 2 M is the square of a unit normal number; with errors its
    /// variance is 1 + s, so that M/(1 + s) + ln(1 + s)/2 counts in its place.
    fn forgiven(&self, likelihood: &Likelihood<'_>, reached: &Maximum) -> f64 {
        if !self.config.declares_errors() || self.config.reflection != Reflection::Unknown {
            return 0.0;
        }
        let [departure, arrival] = self.geometry.sines(reached.position);
        let at = Vector3::new(departure, arrival, reached.delta);
        let missed = (likelihood.free_fit(&at) - reached.value.log_likelihood).max(0.0);
        let deviations = [self.config.element_phase_std_rad, self.config.element_gain_std];
        let spread = likelihood.misfit_spread(&at, &reached.value, deviations);
        missed - missed / (1.0 + spread) - 0.5 * (1.0 + spread).ln()
    }

    /// The expectation nearest to an echo: in deviations of the clock, or samples, and in beams.
    fn expectation(&self, reference: f64, point: &Parameters) -> Option<Expectation> {
        let deviation = self.config.timing_error_std().hypot(1.0);
        let apart = |(position, _): &Expectation| {
            let [arrival_sine, delay] = self.geometry.arrival(*position);
            let beams = (arrival_sine - point[1]) * self.config.receive_antennas as f64;
            ((reference + point[2] - delay) / deviation).hypot(beams)
        };
        self.expectations.iter().min_by(|a, b| apart(a).total_cmp(&apart(b))).copied()
    }
}

/// Adds the maximum near a departure direction to the candidates, where it is none of them yet; returns how many there are.
fn with_start(likelihood: &Likelihood<'_>, points: &mut [Parameters; CANDIDATES], count: usize, sine: f64) -> usize {
    let added = climb(likelihood, Vector3::new(sine, points[0][1], points[0][2])).point;
    let beam = OTHER_ROOT / likelihood.beams[0].len() as f64;
    let is_there =
        points[..count].iter().any(|point| (point[0] - added[0]).abs() < beam && (point[1] - added[1]).abs() < beam);
    if is_there || count == CANDIDATES {
        return count;
    }
    points[count] = added;
    count + 1
}

/// Whether a matrix is a covariance: finite, symmetric and positive definite beyond rounding.
fn is_covariance(matrix: &Matrix2<f64>) -> bool {
    let [a, b, c, d] = [matrix[(0, 0)], matrix[(0, 1)], matrix[(1, 0)], matrix[(1, 1)]];
    let scale = (a * d).sqrt();
    a > 0.0 && d > 0.0 && scale.is_finite() && (b - c).abs() < 1e-6 * scale && a * d - b * c > 1e-12 * a * d
}

/// What an expectation adds to a candidate's log-posterior, not below [`SURPRISE_NATS`].
fn expected(expectation: Option<Expectation>, reached: &Maximum) -> f64 {
    expectation.map_or(0.0, |(position, covariance)| {
        let apart = Vector2::from(reached.position) - Vector2::from(position);
        let information = (covariance + reached.covariance).try_inverse().unwrap_or_default();
        (-0.5 * (apart.transpose() * information * apart)[0]).max(SURPRISE_NATS)
    })
}

/// What the echo at a point comes to, by the correlations taken next to it.
fn reach(likelihood: &Likelihood<'_>, reference: f64, point: &Parameters) -> Reached {
    let energy: f64 = likelihood.correlations[0].iter().map(|c| likelihood.gram.explained(*c)).sum();
    let here = Vector3::new(point[0], point[1], 0.0);
    let energy = energy / likelihood.noise_variance;
    Reached {
        delay: reference + point[2],
        sine: point[1],
        energy,
        misfit: energy - likelihood.evaluate(&here).log_likelihood,
    }
}

/// Keeps a rival and its weight, if it is one of the most probable ones and no negligible one.
fn keep_rival(rivals: &mut Rivals, position: Point, weight: f64) {
    if weight.is_nan() || weight < NEGLIGIBLE_RIVAL {
        return;
    }
    let mut entering = (position, weight);
    for rival in rivals {
        match rival {
            Some(kept) if kept.1 >= entering.1 => {}
            Some(kept) => std::mem::swap(kept, &mut entering),
            None => {
                *rival = Some(entering);
                return;
            }
        }
    }
}

/// Whether two maxima are different positions and not the same one reached twice: further apart than one deviation.
fn is_elsewhere(best: &Maximum, other: &Maximum) -> bool {
    let apart = Vector2::from(other.position) - Vector2::from(best.position);
    best.covariance.try_inverse().is_none_or(|information| (apart.transpose() * information * apart)[0] > 1.0)
}

/// Refines all candidates, drops those that cannot win, and puts the best first; returns how many are left.
fn follow(likelihood: &Likelihood<'_>, points: &mut [Parameters; CANDIDATES], count: usize, behind_part: f64) -> usize {
    let mut climbed: [Option<Candidate>; CANDIDATES] = [None; CANDIDATES];
    for (result, point) in climbed.iter_mut().zip(&points[..count]) {
        *result = Some(climb(likelihood, *point));
    }
    climbed.sort_unstable_by(|a, b| {
        let value = |c: &Option<Candidate>| c.map_or(f64::NEG_INFINITY, |c| c.log_likelihood);
        value(b).total_cmp(&value(a))
    });
    let best = climbed[0].map_or(0.0, |c| c.log_likelihood);
    let worst = best - BEHIND_NATS - behind_part * best.abs();
    let mut left = 0;
    for candidate in climbed.iter().flatten().filter(|c| c.log_likelihood > worst) {
        points[left] = candidate.point;
        left += 1;
    }
    left
}
