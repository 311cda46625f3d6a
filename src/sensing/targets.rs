//! More than one target: successive cancellation with every target re-estimated against what the others leave (RELAX).
//!
//! A target is a delay T, an arrival direction φ and the response g of the two streams, free here:
//! y_r(t) = a_r(φ) Σ_u g_u s_u(t − T). For given (T, φ) the best g explains E = xᴴ Q⁻¹ x/(N_R ν) of the energy, in units
//! of the noise, where x_u = Σ_r a_r* C_ru(T) and ν is a bin's noise; on noise alone E is a sum of unit exponentials, one
//! per stream in use. Echoes are subtracted in time, delayed exactly and turned as they turn, so data sidelobes and window
//! edges go with them. Where elements have errors every row has a response of its own.
//!
//! What a target's echo is made of is known from the frame's header to the end of the sensing window only: before and
//! after it the transmitter sends what other clocks and frames rule. So each target is fitted to the samples in which all
//! others' echoes are known. Transforms need whole windows, which begin and end alike: the other samples are filled up with
//! what the fit expects there (the method of expectation and maximisation), and count for nothing in error bars.

use num_complex::{Complex32, Complex64};

use super::align::{Correlator, energy_threshold};
use super::likelihood::wavenumber;
use super::spectrum::{Correlations, Gram, Spectrum};
use super::{EchoFrame, Planar, STREAMS, SensingConfig};
use crate::dsp::SPAN_SYMBOLS;
use crate::dsp::{DelayTaps, FILTER_TAPS, correlate, mean_power, rotate, scale_add};
use crate::modem::frame::{HeaderLength, Layout, PREAMBLE, SWITCH, UNIQUE_WORD};

/// Most targets of one frame.
pub const MAX_TARGETS: usize = 8;
/// Rounds of re-estimation after each new target.
const ROUNDS: usize = 8;
/// A round that moves no target by more of its log-likelihood, in nats, is the last: by 0.03 deviations.
const SETTLED_NATS: f64 = 5e-4;
/// Grid points per independent beam of the receive array.
const GRID: usize = 8;
/// What subtraction may leave of a target, as a part of its energy: at delays within [`NEAR_SYMBOLS`] of its own ...
const LEFT_NEAR: f64 = 1e-4;
/// ... and at all others.
const LEFT_FAR: f64 = 1e-6;
const NEAR_SYMBOLS: f64 = 3.0;
/// Least part of the window that must be left for a target.
const LEAST_PART: f64 = 0.25;
/// Probability that a target's misfit to one direction and one pair of beams is larger than is accepted.
const MISFIT_PROBABILITY: f64 = 1e-6;
/// Misfit that is accepted as a part of the energy beside what element errors make.
const MISFIT_PART: f64 = 1e-4;

/// One target's echo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetEcho {
    /// T in samples.
    pub delay_samples: f64,
    /// sin φ.
    pub arrival_sine: f64,
    /// g: the response of the two streams at element 0.
    pub response: [Complex64; STREAMS],
    /// E: its energy over the noise's.
    pub energy: f64,
}

impl TargetEcho {
    /// A place to start from.
    pub(super) fn at(delay_samples: f64, arrival_sine: f64) -> Self {
        Self { delay_samples, arrival_sine, response: [Complex64::ZERO; STREAMS], energy: 0.0 }
    }
}

/// Finds targets one by one, without allocating once it is built.
pub struct TargetSearch {
    config: SensingConfig,
    window: usize,
    wavenumber: f64,
    correlator: Correlator,
    spectrum: Spectrum,
    correlations: Correlations,
    targets: Vec<TargetEcho>,
    /// s_u delayed and turned as each target's echo: `[target][stream][sample]`.
    delayed: Vec<Complex32>,
    /// What each target's rows show of the streams: `[target][row][stream]`.
    responses: Vec<[Complex32; STREAMS]>,
    /// What no target explains yet, `[row][sample]`.
    residual: Vec<Complex32>,
    /// The part of it that is searched, or one target's windows.
    masked: Vec<Complex32>,
    scratch: Vec<Complex32>,
    misfit_limit: f64,
    /// What a row has left per sample in the streams' band, echoes that are not found yet included: noise to those that are
    /// looked for.
    noise: f64,
    /// The part of a target's energy that the removal of stationary echoes may have left elsewhere.
    left_part: f64,
    /// Samples before the frame's window in which both streams are all that is sent.
    before: usize,
}

/// A target's window in the residual.
#[derive(Clone, Copy)]
struct Cut {
    length: usize,
    lag: isize,
    fraction: f64,
}

/// What one target is located from, others being subtracted.
pub(super) struct View<'a> {
    /// The echo's rows, a window each.
    pub echo: Planar<'a>,
    /// Samples of the window that were received and not expected.
    pub length: usize,
    /// The whole delay from which the echo's rows go on, and what is left of T.
    pub lag: isize,
    pub fraction: f64,
}

/// Symbols of the preamble that are surely of the frame's own timing and phase, as its header is.
const END_OF_PREAMBLE: usize = PREAMBLE - SWITCH;

/// Samples before a frame's window in which both streams are all that is sent: its header, and without a sounding between
/// them the end of its preamble.
fn known_before(window_start: usize, samples_per_symbol: usize) -> usize {
    let plain = Layout::plain(HeaderLength::Long).sensing_window() + SPAN_SYMBOLS;
    let preamble = if window_start <= plain * samples_per_symbol { END_OF_PREAMBLE } else { 0 };
    (preamble + HeaderLength::Short.symbols() + UNIQUE_WORD / 2) * samples_per_symbol
}

impl TargetSearch {
    /// For windows of `window` samples.
    pub fn new(config: &SensingConfig, window: usize) -> Self {
        let rows = config.receive_antennas;
        let correlator = Correlator::of(window, config);
        let count = correlator.echo_samples();
        let zeros = |count: usize| vec![Complex32::default(); count];
        Self {
            window,
            wavenumber: wavenumber(config.spacing_wavelengths),
            spectrum: Spectrum::new(window, rows, config.samples_per_symbol, config.roll_off),
            correlations: std::array::from_fn(|_| vec![[Complex64::ZERO; STREAMS]; rows]),
            targets: Vec::with_capacity(MAX_TARGETS),
            delayed: zeros(MAX_TARGETS * STREAMS * count),
            responses: vec![[Complex32::default(); STREAMS]; MAX_TARGETS * rows],
            residual: zeros(rows * count),
            masked: zeros(rows * count),
            scratch: zeros(count + FILTER_TAPS),
            misfit_limit: energy_threshold(STREAMS * rows, MISFIT_PROBABILITY),
            noise: 0.0,
            left_part: 0.0,
            before: 0,
            correlator,
            config: config.clone(),
        }
    }

    /// Up to `most` targets of a frame, [`MAX_TARGETS`] at most, the strongest first. A target counts if noise alone would
    /// show one as strong somewhere in the search with the configured false-alarm probability.
    pub fn find(&mut self, frame: &EchoFrame<'_>, most: usize) -> &[TargetEcho] {
        self.left_part = 0.0;
        self.begin(frame);
        self.go_on(frame, most);
        self.targets.sort_unstable_by(|a, b| b.energy.total_cmp(&a.energy));
        &self.targets
    }

    /// The same where the first target's place is known already, and the removal of stationary echoes may have left
    /// `left_part` of each target's energy elsewhere; the targets are in the order in which they were found.
    pub(super) fn find_beside(&mut self, frame: &EchoFrame<'_>, first: TargetEcho, left_part: f64) -> &[TargetEcho] {
        self.left_part = left_part;
        self.begin(frame);
        if self.take(frame, first) {
            self.go_on(frame, MAX_TARGETS);
        }
        &self.targets
    }

    /// The targets found last.
    pub(super) fn targets(&self) -> &[TargetEcho] {
        &self.targets
    }

    /// Forgets the targets of the last frame.
    fn begin(&mut self, frame: &EchoFrame<'_>) {
        self.targets.clear();
        self.before = known_before(frame.window_start, self.config.samples_per_symbol);
        let count = self.correlator.echo_samples();
        for (row, residual) in self.residual.chunks_exact_mut(count).enumerate() {
            residual.copy_from_slice(&frame.echo_row(row)[..count]);
        }
        // Echoes included, until the first search says better.
        self.noise = mean_power(&self.residual).max(f64::MIN_POSITIVE);
    }

    fn go_on(&mut self, frame: &EchoFrame<'_>, most: usize) {
        while self.targets.len() < most.min(MAX_TARGETS) {
            let Some(coarse) = self.strongest(frame) else { break };
            if !self.take(frame, coarse) {
                break;
            }
            self.relax(frame);
        }
    }

    /// Adds a target near a place, and subtracts its echo; says whether enough of its window is left for that.
    fn take(&mut self, frame: &EchoFrame<'_>, near: TargetEcho) -> bool {
        let index = self.targets.len();
        self.targets.push(near);
        let rows = self.config.receive_antennas;
        self.responses[index * rows..][..rows].fill([Complex32::default(); STREAMS]);
        self.refine(frame, index);
        if self.targets[index].arrival_sine.is_nan() {
            self.targets.pop();
            return false;
        }
        self.fit(frame, index);
        self.add(index, -1.0);
        true
    }

    /// Samples of the rows in which the echoes of all targets but `except` are known.
    fn known(&self, except: Option<usize>) -> [usize; 2] {
        let count = self.correlator.echo_samples() as f64;
        let before = self.before as f64;
        let others = self.targets.iter().enumerate().filter(|(index, _)| Some(*index) != except);
        let [mut from, mut to] = [0.0, count];
        for (_, target) in others {
            let begin = target.delay_samples - self.config.lag_range()[0] as f64;
            from = (begin - before).ceil().max(from);
            to = (begin + self.window as f64).floor().min(to);
        }
        [from as usize, to.max(from) as usize]
    }

    /// The delay with most energy above its limit, if there is one.
    fn strongest(&mut self, frame: &EchoFrame<'_>) -> Option<TargetEcho> {
        let count = self.correlator.echo_samples();
        let [from, to] = self.known(None);
        for (masked, residual) in self.masked.chunks_exact_mut(count).zip(self.residual.chunks_exact(count)) {
            masked.fill(Complex32::default());
            masked[from..to].copy_from_slice(&residual[from..to]);
        }
        let masked = EchoFrame { echo: Planar::new(&self.masked, count), echo_start: 0, ..*frame };
        self.correlator.hear(to - from);
        self.correlator.measure(&masked);
        let noise = self.correlator.received_power().max(f64::MIN_POSITIVE);
        self.targets.iter_mut().for_each(|target| target.energy *= self.noise / noise);
        self.noise = noise;
        let near = NEAR_SYMBOLS * self.config.samples_per_symbol as f64;
        let left = |lag: isize| {
            let of = |target: &TargetEcho| {
                let part = if (lag as f64 - target.delay_samples).abs() <= near { LEFT_NEAR } else { LEFT_FAR };
                part.max(self.left_part) * target.energy
            };
            self.targets.iter().map(of).sum::<f64>()
        };
        let peak = self.correlator.above(1.0 + self.left_part, left)?;
        Some(TargetEcho { energy: peak.energy, ..TargetEcho::at(peak.lag as f64 + peak.fraction, f64::NAN) })
    }

    /// Re-estimates every target against what all others leave, until none moves.
    fn relax(&mut self, frame: &EchoFrame<'_>) {
        for _ in 0..ROUNDS {
            let mut moved = 0f64;
            for index in 0..self.targets.len() {
                self.add(index, 1.0);
                moved = moved.max(self.refine(frame, index));
                self.fit(frame, index);
                self.add(index, -1.0);
            }
            if moved < SETTLED_NATS {
                break;
            }
        }
    }

    /// Cuts the window of target `index` out of the residual, which its own echo must be in, and fills up what is not known;
    /// `None` where hardly anything is.
    fn cut(&mut self, index: usize) -> Option<Cut> {
        let [first, last] = self.config.lag_range();
        let delay = self.targets[index].delay_samples;
        let lag = (delay.round() as isize).clamp(first, last);
        let offset = (lag - first) as usize;
        let [from, to] = self.known(Some(index)).map(|sample| sample.clamp(offset, offset + self.window) - offset);
        if ((to - from) as f64) < LEAST_PART * self.window as f64 {
            return None;
        }
        let (count, rows) = (self.correlator.echo_samples(), self.config.receive_antennas);
        let delayed = &self.delayed[index * STREAMS * count..][..STREAMS * count];
        let responses = &self.responses[index * rows..][..rows];
        let residual = self.residual.chunks_exact(count).zip(responses);
        for (window, (residual, response)) in self.masked.chunks_exact_mut(self.window).zip(residual) {
            window[from..to].copy_from_slice(&residual[offset + from..offset + to]);
            for unknown in [0..from, to..self.window] {
                window[unknown.clone()].fill(Complex32::default());
                for (g, stream) in response.iter().zip(delayed.chunks_exact(count)) {
                    scale_add(*g, &stream[offset..][unknown.clone()], &mut window[unknown.clone()]);
                }
            }
        }
        Some(Cut { length: to - from, lag, fraction: delay - lag as f64 })
    }

    /// Shows what target `index` is located from, its own echo being put back for the time of `look`.
    pub(super) fn reveal<T>(&mut self, index: usize, look: impl FnOnce(View<'_>) -> T) -> Option<T> {
        self.add(index, 1.0);
        let seen = self.cut(index).map(|Cut { length, lag, fraction }| {
            look(View { echo: Planar::new(&self.masked, self.window), length, lag, fraction })
        });
        self.add(index, -1.0);
        seen
    }

    /// Whether what the rows show of a target fits one direction and one pair of beams: `misfit` is the energy that they
    /// leave of all that is there at its delay, `energy`.
    pub(super) fn fits(&self, energy: f64, misfit: f64) -> bool {
        let deviations = [self.config.element_phase_std_rad, self.config.element_gain_std];
        // Of both arrays, four deviations squared and more.
        let elements: f64 = deviations.iter().map(|deviation| 2.0 * 20.0 * deviation * deviation).sum();
        misfit <= self.misfit_limit + (MISFIT_PART + elements) * energy
    }

    /// Moves a target to the maximum of E near it, on the residual; returns by how many nats that was away.
    fn refine(&mut self, frame: &EchoFrame<'_>, index: usize) -> f64 {
        let TargetEcho { delay_samples, arrival_sine, .. } = self.targets[index];
        let Some(Cut { length, lag, fraction: mut delay }) = self.cut(index) else { return 0.0 };
        let gram = self.spectrum.load_streams(frame.streams());
        self.spectrum.load_echo(self.masked.chunks_exact(self.window));
        let rows = self.config.receive_antennas as f64;
        let noise = rows * self.noise_variance(length);
        let mut sine = arrival_sine;
        if sine.is_nan() {
            self.spectrum.correlate(delay, &mut self.correlations);
            sine = self.best_sine(&gram);
        }
        let mut jet = EnergyJet::NOTHING;
        for _ in 0..12 {
            self.spectrum.correlate(delay, &mut self.correlations);
            jet = EnergyJet::at(&self.correlations, &gram, self.wavenumber, sine);
            let [by_delay, by_sine] = jet.step();
            let (by_delay, by_sine) = (by_delay.clamp(-0.5, 0.5), by_sine.clamp(-0.1, 0.1));
            delay = (delay + by_delay).clamp(-2.0, 2.0);
            sine = (sine + by_sine).clamp(-1.0, 1.0);
            if jet.nats([by_delay, by_sine]) < 1e-6 * noise {
                break;
            }
        }
        let delay_now = lag as f64 + delay;
        let moved = [delay_now - delay_samples, if arrival_sine.is_nan() { 2.0 } else { sine - arrival_sine }];
        self.targets[index] = TargetEcho {
            delay_samples: delay_now,
            arrival_sine: sine,
            response: gram.response(jet.x).map(|g| g / rows),
            energy: gram.explained(jet.x) / noise,
        };
        jet.nats(moved) / noise
    }

    /// Noise variance of a bin of a window of which `length` samples count.
    fn noise_variance(&self, length: usize) -> f64 {
        let window = self.window as f64;
        self.noise * window * (window / length as f64)
    }

    /// The direction of the grid from which most energy comes.
    fn best_sine(&self, gram: &Gram) -> f64 {
        let cells = GRID * self.config.receive_antennas;
        let energy = |sine: f64| gram.explained(EnergyJet::sums(&self.correlations[0], self.wavenumber, sine));
        (0..cells)
            .map(|cell| -1.0 + (2 * cell + 1) as f64 / cells as f64)
            .max_by(|a, b| energy(*a).total_cmp(&energy(*b)))
            .unwrap_or(0.0)
    }

    /// Makes a target's echo from the residual, which it is still in: the streams delayed and turned, and what each row
    /// shows of them.
    fn fit(&mut self, frame: &EchoFrame<'_>, index: usize) {
        let (count, rows) = (self.correlator.echo_samples(), self.config.receive_antennas);
        let target = self.targets[index];
        self.delay(frame, index, target.delay_samples);
        let begin = (target.delay_samples - self.config.lag_range()[0] as f64).round().max(0.0) as usize;
        let [from, to] = self.known(Some(index)).map(|sample| sample.clamp(begin, begin + self.window).min(count));
        self.respond(index, [from, to]);
        // How fast the echo turns beyond what the streams do, about the window's middle.
        let middle = 0.5 * (from + to) as f64;
        let (mut seen, mut energy) = (0.0, 0.0);
        let delayed = &self.delayed[index * STREAMS * count..][..STREAMS * count];
        for row in 0..rows {
            let [g_c, g_0] = self.responses[index * rows + row];
            for sample in from..to {
                let echo = g_c * delayed[sample] + g_0 * delayed[count + sample];
                let time = sample as f64 - middle;
                seen += time * f64::from((self.residual[row * count + sample] * echo.conj()).im);
                energy += time * time * f64::from(echo.norm_sqr());
            }
        }
        if energy > 0.0 {
            let rate = seen / energy;
            for stream in self.delayed[index * STREAMS * count..][..STREAMS * count].chunks_exact_mut(count) {
                rotate(stream, -rate * middle, rate);
            }
            self.respond(index, [from, to]);
        }
    }

    /// Writes both streams as they come with this delay.
    fn delay(&mut self, frame: &EchoFrame<'_>, index: usize, delay_samples: f64) {
        let count = self.correlator.echo_samples();
        let taps = DelayTaps::new(delay_samples);
        let from = frame.window_start as i64 + self.config.lag_range()[0] as i64 - taps.reach_back();
        let delayed = &mut self.delayed[index * STREAMS * count..][..STREAMS * count];
        for (stream, delayed) in delayed.chunks_exact_mut(count).enumerate() {
            let row = frame.reference.row(stream);
            for (to, index) in self.scratch.iter_mut().zip(from..) {
                *to = usize::try_from(index).ok().and_then(|index| row.get(index)).copied().unwrap_or_default();
            }
            taps.apply(&self.scratch[..count + FILTER_TAPS - 1], delayed);
        }
    }

    /// The least-squares responses of all rows to a target's delayed streams, by these samples.
    fn respond(&mut self, index: usize, [from, to]: [usize; 2]) {
        let (count, rows) = (self.correlator.echo_samples(), self.config.receive_antennas);
        let delayed = &self.delayed[index * STREAMS * count..][..STREAMS * count];
        let streams = [&delayed[from..to], &delayed[count + from..count + to]];
        let gram = Gram::of_samples(streams[0], streams[1]);
        let responses = &mut self.responses[index * rows..][..rows];
        let single = |g: Complex64| Complex32::new(g.re as f32, g.im as f32);
        let seen = |row: usize| streams.map(|stream| correlate(&self.residual[row * count..][from..to], stream));
        if self.config.element_phase_std_rad > 0.0 || self.config.element_gain_std > 0.0 {
            for (row, response) in responses.iter_mut().enumerate() {
                *response = gram.response(seen(row)).map(single);
            }
            return;
        }
        let phase = |row: usize| Complex64::cis(self.wavenumber * row as f64 * self.targets[index].arrival_sine);
        let mut sum = [Complex64::ZERO; STREAMS];
        for row in 0..rows {
            let seen = seen(row);
            sum.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += phase(row).conj() * seen);
        }
        let response = gram.response(sum).map(|g| g / rows as f64);
        for (row, to) in responses.iter_mut().enumerate() {
            *to = response.map(|g| single(g * phase(row)));
        }
    }

    /// Adds `sign` times a target's echo to the residual.
    fn add(&mut self, index: usize, sign: f32) {
        let (count, rows) = (self.correlator.echo_samples(), self.config.receive_antennas);
        let delayed = &self.delayed[index * STREAMS * count..][..STREAMS * count];
        let responses = &self.responses[index * rows..][..rows];
        for (residual, response) in self.residual.chunks_exact_mut(count).zip(responses) {
            for (g, stream) in response.iter().zip(delayed.chunks_exact(count)) {
                scale_add(*g * sign, stream, residual);
            }
        }
    }
}

/// x and the derivatives of xᴴQ⁻¹x by (T, v).
struct EnergyJet {
    x: [Complex64; STREAMS],
    gradient: [f64; 2],
    hessian: [[f64; 2]; 2],
}

impl EnergyJet {
    const NOTHING: Self = Self { x: [Complex64::ZERO; STREAMS], gradient: [0.0; 2], hessian: [[0.0; 2]; 2] };

    /// x alone.
    fn sums(correlations: &[[Complex64; STREAMS]], wavenumber: f64, sine: f64) -> [Complex64; STREAMS] {
        let mut x = [Complex64::ZERO; STREAMS];
        for (row, values) in correlations.iter().enumerate() {
            let phase = Complex64::cis(-wavenumber * row as f64 * sine);
            x.iter_mut().zip(values).for_each(|(x, value)| *x += value * phase);
        }
        x
    }

    fn at(correlations: &Correlations, gram: &Gram, wavenumber: f64, sine: f64) -> Self {
        // x, its derivatives by T and v, and the second ones (TT, Tv, vv).
        let mut jets = [[Complex64::ZERO; STREAMS]; 6];
        let [zeroth, first, second] = correlations;
        for (row, ((c, c1), c2)) in zeroth.iter().zip(first).zip(second).enumerate() {
            let slope = Complex64::new(0.0, -wavenumber * row as f64);
            let phase = Complex64::cis(-wavenumber * row as f64 * sine);
            for stream in 0..STREAMS {
                let [c, c1, c2] = [c, c1, c2].map(|values| values[stream] * phase);
                for (jet, term) in jets.iter_mut().zip([c, c1, c * slope, c2, c1 * slope, c * slope * slope]) {
                    jet[stream] += term;
                }
            }
        }
        // Q⁻¹-products: ⟨a, b⟩ = Re aᴴ Q⁻¹ b.
        let inverse = jets.map(|jet| gram.response(jet));
        let product =
            |a: usize, b: usize| -> f64 { (0..STREAMS).map(|s| (jets[a][s].conj() * inverse[b][s]).re).sum() };
        Self {
            x: jets[0],
            gradient: [2.0 * product(1, 0), 2.0 * product(2, 0)],
            hessian: [
                [2.0 * (product(3, 0) + product(1, 1)), 2.0 * (product(4, 0) + product(1, 2))],
                [2.0 * (product(4, 0) + product(1, 2)), 2.0 * (product(5, 0) + product(2, 2))],
            ],
        }
    }

    /// Newton's step where E is concave, else a step uphill in each variable by itself.
    fn step(&self) -> [f64; 2] {
        let [[a, b], [_, d]] = self.hessian;
        let [g, h] = self.gradient;
        let determinant = a * d - b * b;
        if a < 0.0 && determinant > 0.0 {
            [-(d * g - b * h) / determinant, -(a * h - b * g) / determinant]
        } else {
            [g / a.abs().max(f64::MIN_POSITIVE), h / d.abs().max(f64::MIN_POSITIVE)]
        }
    }

    /// About how much a step changes, each variable by itself.
    fn nats(&self, [by_delay, by_sine]: [f64; 2]) -> f64 {
        let [[a, _], [_, d]] = self.hessian;
        0.5 * (a.abs() * by_delay * by_delay + d.abs() * by_sine * by_sine)
    }
}
