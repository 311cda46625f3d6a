//! Stationary echoes and the transmitter's leakage: learned from frames, and subtracted.
//!
//! What does not move is, for given beams, a fixed response of each row to each stream: g_ru[d] over the delays of the
//! search. It is learned by a block adaptive filter in the frequency domain: per frame the error
//! e_r[m] = y_r[m] − Σ_u Σ_d g_ru[d] s_u[m − d], its correlation with the streams, and a step that is divided by their
//! power spectrum. The convolution is linear, so there are no window edges, and data sidelobes of strong echoes go with
//! them. The step is large at first and then falls as 1/frames, so that the noise it lets in vanishes.
//!
//! A frame is cleaned by what the frames before it taught, and learned from afterwards: its own noise and target are
//! not fitted away.
//!
//! Timing must hold over the frames, and phase but for what all rows share: a frame's phase and gain against what was learned
//! are found and taken out. A target that moves turns through all phases and is averaged out where the frames cover many
//! turns: at v m/s they should span many times λ/(2v), and the turn from one to the next should not be a whole one.
//!
//! What beams show of the background is W g, W being the two beams and g the responses of the single antennas. What was learned
//! under beams is the least change of g that explains it, g += W⁺(G − W g), and new beams begin with what g says of
//! them: where they are near those before, only the difference has to be learned.

use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use super::{EchoFrame, Planar, STREAMS, SensingConfig};
use crate::array::Beams;
use crate::dsp::{correlate, dispatched, mean_power, scale_add, smooth_length};

/// Step of the first frames.
const FIRST_STEP: f32 = 0.5;
/// Frames with the first step; then it falls as 1/frames.
const FIRST_FRAMES: usize = 24;
/// Part of the spectrum's peak below which a bin is hardly learned: outside the band there is nothing to learn from.
const FLOOR: f32 = 0.02;
/// After new beams learning goes on as if there had been so many frames, ...
const TURNED_FRAMES: usize = 48;
/// ... and so many of them are not used.
const TURNING_FRAMES: usize = 8;
/// A frame's phase and gain are taken out once so many frames were learned from, where they are within this of one ...
const COMMON_FRAMES: usize = 24;
const MOST_COMMON: f64 = 0.3;
/// ... and off it by so many deviations.
const COMMON_DEVIATIONS: f64 = 5.0;
/// Part of both beams' power below which one of them shows nothing.
const NO_BEAM: f64 = 1e-9;
/// What is left after removal must not look like what was removed: at most this part of its power, ...
const LEFT_PART: f64 = 1e-3;
/// ... or no more than noise and a target show by chance, which is 1 in the mean and exponentially distributed.
const LEFT_BY_CHANCE: f64 = 20.0;

/// The learned response to what does not move.
pub struct StationaryEchoes {
    lags: usize,
    count: usize,
    length: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex32>,
    /// Spectra of the responses, `[row][stream][bin]`.
    responses: Vec<Complex32>,
    /// Spectra of the streams around the window.
    streams: Vec<Complex32>,
    /// Mean of |S_u|² over the frames learned, averaged over the streams.
    power: Vec<f32>,
    work: Vec<Complex32>,
    step: Vec<Complex32>,
    /// Samples from the window's first on for which the streams were given.
    known: usize,
    /// Spectra of the single antennas' responses, `[row][antenna][bin]`.
    antennas: Vec<Complex32>,
    beams: [Vec<Complex64>; STREAMS],
    /// A frame's factor beside what was learned.
    common: Complex32,
    /// Frames learned from since the beams changed, or the first ones were used.
    since_turned: usize,
    has_turned: bool,
    frames: usize,
    /// Whether what was left of the last frame did not look like what was removed.
    unlike: bool,
}

impl StationaryEchoes {
    /// Frames after which the response is good to use: the noise in it costs about 0.2 dB then, and less later.
    pub const READY_FRAMES: usize = 60;

    /// Nothing learned yet, for windows of `window` samples.
    pub fn new(config: &SensingConfig, window: usize) -> Self {
        let [first_lag, last_lag] = config.lag_range();
        let lags = (last_lag - first_lag + 1) as usize;
        let count = window + lags - 1;
        let length = smooth_length(count + lags - 1);
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(length), planner.plan_fft_inverse(length));
        let scratch = forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len());
        Self {
            lags,
            count,
            length,
            forward,
            inverse,
            scratch: vec![Complex32::default(); scratch],
            responses: vec![Complex32::default(); config.receive_antennas * STREAMS * length],
            streams: vec![Complex32::default(); STREAMS * length],
            power: vec![0.0; length],
            work: vec![Complex32::default(); length],
            step: vec![Complex32::default(); length],
            known: 0,
            antennas: vec![Complex32::default(); config.receive_antennas * config.transmit_antennas * length],
            beams: std::array::from_fn(|_| vec![Complex64::ZERO; config.transmit_antennas]),
            common: Complex32::ONE,
            since_turned: 0,
            has_turned: false,
            frames: 0,
            unlike: false,
        }
    }

    /// Goes over to other beams: what was learned is kept as the antennas', and says what these beams will show. The first beams
    /// are those that are learned under from then on.
    pub fn turn_to(&mut self, beams: &Beams) {
        let new = [&beams.w_c, &beams.w_0];
        if self.frames > 0 {
            self.keep();
        }
        self.beams.iter_mut().zip(new).for_each(|(own, beam)| own.copy_from_slice(beam.as_slice()));
        if self.frames > 0 {
            self.recall();
            self.frames = self.frames.min(TURNED_FRAMES);
        }
        self.since_turned = 0;
        self.has_turned |= self.frames > 0;
    }

    /// g += W⁺(G − W g).
    fn keep(&mut self) {
        let inner = |a: usize, b: usize| -> Complex64 {
            self.beams[a].iter().zip(&self.beams[b]).map(|(x, y)| x * y.conj()).sum()
        };
        let power = inner(0, 0).re + inner(1, 1).re;
        let least = NO_BEAM * power;
        let (c, o, cross) = (inner(0, 0).re + least, inner(1, 1).re + least, inner(0, 1));
        let determinant = c * o - cross.norm_sqr();
        if determinant <= NO_BEAM * c * o {
            return;
        }
        let antennas = self.beams[0].len();
        let (length, rows) = (self.length, self.responses.len() / (STREAMS * self.length));
        let single = |z: Complex64| Complex32::new(z.re as f32, z.im as f32);
        for row in 0..rows {
            let own = &mut self.antennas[row * antennas * length..][..antennas * length];
            let learned = &self.responses[row * STREAMS * length..][..STREAMS * length];
            for bin in 0..length {
                // G − W g, and (W Wᴴ)⁻¹ of that.
                let rest: [Complex64; STREAMS] = std::array::from_fn(|stream| {
                    let told: Complex64 = self.beams[stream]
                        .iter()
                        .enumerate()
                        .map(|(antenna, weight)| {
                            let g = own[antenna * length + bin];
                            weight * Complex64::new(g.re.into(), g.im.into())
                        })
                        .sum();
                    let now = learned[stream * length + bin];
                    Complex64::new(now.re.into(), now.im.into()) - told
                });
                let shares = [
                    (rest[0] * o - rest[1] * cross) / determinant,
                    (rest[1] * c - rest[0] * cross.conj()) / determinant,
                ];
                for antenna in 0..antennas {
                    let more = self.beams[0][antenna].conj() * shares[0] + self.beams[1][antenna].conj() * shares[1];
                    own[antenna * length + bin] += single(more);
                }
            }
        }
    }

    /// G = W g.
    fn recall(&mut self) {
        let antennas = self.beams[0].len();
        let length = self.length;
        self.responses.fill(Complex32::default());
        for (row, responses) in self.responses.chunks_exact_mut(STREAMS * length).enumerate() {
            for (beam, response) in self.beams.iter().zip(responses.chunks_exact_mut(length)) {
                for (antenna, weight) in beam.iter().enumerate() {
                    let own = &self.antennas[(row * antennas + antenna) * length..][..length];
                    scale_add(Complex32::new(weight.re as f32, weight.im as f32), own, response);
                }
            }
        }
    }

    /// Frames learned from.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The part of other echoes that removal may add at delays where they were before, and of the noise everywhere: what
    /// moves is learned too before it is forgotten, by as much as a step.
    pub fn left_part(&self) -> f64 {
        self.step_size().into()
    }

    /// The step of the last frame learned.
    fn step_size(&self) -> f32 {
        FIRST_STEP * (FIRST_FRAMES as f32 / self.frames as f32).min(1.0)
    }

    /// Delays that are learned.
    pub fn lags(&self) -> usize {
        self.lags
    }

    /// Samples of a row that are cleaned: those that an estimate reads.
    pub fn echo_samples(&self) -> usize {
        self.count
    }

    /// Whether the frame cleaned last may be used: enough was learned before, and what is left does not look like what
    /// was removed, as it would where phase or timing do not hold.
    pub fn is_settled(&self) -> bool {
        let learned = self.frames >= if self.has_turned { TURNED_FRAMES } else { Self::READY_FRAMES };
        learned && self.unlike && (!self.has_turned || self.since_turned >= TURNING_FRAMES)
    }

    /// Writes one frame's echo without what was learned to `left`, [`Self::echo_samples`] a row. The frame's reference
    /// should go on with the next frame's samples as far as there are some.
    pub fn remove(&mut self, frame: &EchoFrame<'_>, left: &mut [Complex32]) {
        self.load(frame.reference, frame.window_start);
        self.common = self.find_common(frame);
        let common = self.common;
        let (mut likeness, mut removed, mut rest) = (Complex64::default(), 0.0, 0.0);
        for (row, left) in left.chunks_exact_mut(self.count).enumerate() {
            self.predict(row);
            let predicted = &self.work[self.lags - 1..][..self.count];
            let received = &frame.echo_row(row)[..self.count];
            for ((left, sample), predicted) in left.iter_mut().zip(received).zip(predicted) {
                *left = sample - common * predicted;
            }
            likeness += correlate(left, predicted);
            removed += mean_power(predicted) * self.count as f64;
            rest += mean_power(left);
        }
        let rows = self.responses.len() / (STREAMS * self.length);
        let by_chance = LEFT_BY_CHANCE * removed * rest / rows as f64;
        self.unlike = likeness.norm_sqr() <= by_chance.max(LEFT_PART * removed * removed);
    }

    /// By what a frame's background differs from what was learned, in all rows alike: a phase and a gain of its own.
    fn find_common(&mut self, frame: &EchoFrame<'_>) -> Complex32 {
        if self.frames < COMMON_FRAMES {
            return Complex32::ONE;
        }
        let (mut along, mut removed, mut heard) = (Complex64::ZERO, 0.0, 0.0);
        let rows = self.responses.len() / (STREAMS * self.length);
        for row in 0..rows {
            self.predict(row);
            let predicted = &self.work[self.lags - 1..][..self.count];
            let received = &frame.echo_row(row)[..self.count];
            along += correlate(received, predicted);
            removed += mean_power(predicted) * self.count as f64;
            heard += mean_power(received) * self.count as f64;
        }
        if removed <= 0.0 {
            return Complex32::ONE;
        }
        let common = along / removed;
        let rest = (heard - common.norm_sqr() * removed).max(0.0);
        let deviation = (rest / (rows * self.count) as f64 / removed).sqrt();
        let off = (common - 1.0).norm();
        if off > MOST_COMMON || off < COMMON_DEVIATIONS * deviation {
            return Complex32::ONE;
        }
        Complex32::new(common.re as f32, common.im as f32)
    }

    /// Learns from what [`Self::remove`] left of the last frame. Samples for which no stream was given are left out.
    pub fn learn(&mut self, left: &[Complex32]) {
        self.frames += 1;
        self.since_turned += 1;
        // What all rows share of a frame is not the background's.
        let turned = self.common.conj() / self.common.norm_sqr();
        let share = 1.0 / self.frames as f32;
        for (bin, power) in self.power.iter_mut().enumerate() {
            let now: f32 = (0..STREAMS).map(|stream| self.streams[stream * self.length + bin].norm_sqr()).sum();
            *power += share * (now / STREAMS as f32 - *power);
        }
        let floor = FLOOR * self.power.iter().copied().fold(0.0, f32::max);
        let size = self.step_size();
        for (row, left) in left.chunks_exact(self.count).enumerate() {
            // Where the prediction stands; zero elsewhere.
            self.work.fill(Complex32::default());
            self.work[self.lags - 1..][..self.known].copy_from_slice(&left[..self.known]);
            self.forward.process_with_scratch(&mut self.work, &mut self.scratch);
            for stream in 0..STREAMS {
                conjugate_product(&self.work, &self.streams[stream * self.length..][..self.length], &mut self.step);
                for (step, power) in self.step.iter_mut().zip(&self.power) {
                    *step *= turned * (size / (power + floor));
                }
                self.confine();
                let response = &mut self.responses[(row * STREAMS + stream) * self.length..][..self.length];
                response.iter_mut().zip(&self.step).for_each(|(response, step)| *response += step);
            }
        }
    }

    /// Transforms the streams from `lags − 1` samples before the window on.
    fn load(&mut self, reference: Planar<'_>, window_start: usize) {
        self.known = reference.length.saturating_sub(window_start).min(self.count);
        let begin = window_start as isize - (self.lags as isize - 1);
        let used = self.count + self.lags - 1;
        for (stream, space) in self.streams.chunks_exact_mut(self.length).enumerate() {
            let row = reference.row(stream);
            for (index, value) in space.iter_mut().enumerate() {
                let sample = usize::try_from(begin + index as isize).ok().filter(|_| index < used);
                *value = sample.and_then(|sample| row.get(sample)).copied().unwrap_or_default();
            }
        }
        self.forward.process_with_scratch(&mut self.streams, &mut self.scratch);
    }

    /// Writes the predicted echo of a row to `work`, sample m at `lags − 1 + m`.
    fn predict(&mut self, row: usize) {
        let responses = &self.responses[row * STREAMS * self.length..][..STREAMS * self.length];
        let (first, second) = responses.split_at(self.length);
        let (s_c, s_0) = self.streams.split_at(self.length);
        let scale = 1.0 / self.length as f32;
        for (bin, value) in self.work.iter_mut().enumerate() {
            *value = (first[bin] * s_c[bin] + second[bin] * s_0[bin]) * scale;
        }
        self.inverse.process_with_scratch(&mut self.work, &mut self.scratch);
    }

    /// Cuts `step` to the delays of the search.
    fn confine(&mut self) {
        self.inverse.process_with_scratch(&mut self.step, &mut self.scratch);
        let scale = 1.0 / self.length as f32;
        self.step[..self.lags].iter_mut().for_each(|value| *value *= scale);
        self.step[self.lags..].fill(Complex32::default());
        self.forward.process_with_scratch(&mut self.step, &mut self.scratch);
    }
}

dispatched! {
    /// `product[n] = echo[n]·stream[n]*`.
    fn conjugate_product(echo: &[Complex32], stream: &[Complex32], product: &mut [Complex32]) = product_body
}

#[inline(always)]
fn product_body(echo: &[Complex32], stream: &[Complex32], product: &mut [Complex32]) {
    for ((product, a), b) in product.iter_mut().zip(echo).zip(stream) {
        *product = Complex32::new(a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im);
    }
}
