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
//! Phase and timing must hold over the frames. A target that moves turns through all phases and is averaged out where
//! the frames cover many turns: at v m/s they should span many times λ/(2v), and the turn from one to the next should
//! not be a whole one. New beams mean learning anew.

use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use super::{EchoFrame, Planar, STREAMS, SensingConfig};
use crate::dsp::{correlate, dispatched, mean_power, smooth_length};

/// Step of the first frames.
const FIRST_STEP: f32 = 0.5;
/// Frames with the first step; then it falls as 1/frames.
const FIRST_FRAMES: usize = 24;
/// Part of the spectrum's peak below which a bin is hardly learned: outside the band there is nothing to learn from.
const FLOOR: f32 = 0.02;
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
            frames: 0,
            unlike: false,
        }
    }

    /// Forgets everything, as new beams demand.
    pub fn forget(&mut self) {
        self.responses.fill(Complex32::default());
        self.power.fill(0.0);
        self.frames = 0;
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
        self.frames >= Self::READY_FRAMES && self.unlike
    }

    /// Writes one frame's echo without what was learned to `left`, [`Self::echo_samples`] a row. The frame's reference
    /// should go on with the next frame's samples as far as there are some.
    pub fn remove(&mut self, frame: &EchoFrame<'_>, left: &mut [Complex32]) {
        self.load(frame.reference, frame.window_start);
        let (mut likeness, mut removed, mut rest) = (Complex64::default(), 0.0, 0.0);
        for (row, left) in left.chunks_exact_mut(self.count).enumerate() {
            self.predict(row);
            let predicted = &self.work[self.lags - 1..][..self.count];
            let received = &frame.echo_row(row)[..self.count];
            for ((left, sample), predicted) in left.iter_mut().zip(received).zip(predicted) {
                *left = sample - predicted;
            }
            likeness += correlate(left, predicted);
            removed += mean_power(predicted) * self.count as f64;
            rest += mean_power(left);
        }
        let rows = self.responses.len() / (STREAMS * self.length);
        let by_chance = LEFT_BY_CHANCE * removed * rest / rows as f64;
        self.unlike = likeness.norm_sqr() <= by_chance.max(LEFT_PART * removed * removed);
    }

    /// Learns from what [`Self::remove`] left of the last frame. Samples for which no stream was given are left out.
    pub fn learn(&mut self, left: &[Complex32]) {
        self.frames += 1;
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
                    *step *= size / (power + floor);
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
