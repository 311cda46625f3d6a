//! The direct path TR → CRE: y_c = h_cᴴ x, delayed by its length, turned by the receiver's carrier offset (eq. 3).

use nalgebra::DVector;
use num_complex::{Complex32, Complex64};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::line::DelayLine;
use super::noise::mix;
use super::{Noise, RECEIVE_LAG};
use crate::dsp::{DelayTaps, rotate, scale_add};

/// Longest unknown start of the receiver's stream, in samples.
const MAX_START: usize = 4096;

/// What the direct path is made of.
#[derive(Debug, Clone)]
pub struct DirectPathSettings {
    /// h_c: N_T entries.
    pub channel: DVector<Complex64>,
    /// Length of the path, in seconds.
    pub delay_s: f64,
    /// Samples per second.
    pub sample_rate_hz: f64,
    /// Difference of the two carriers.
    pub carrier_offset_hz: f64,
    /// Noise variance per complex sample.
    pub noise_variance: f64,
    /// Seed of phase, start and noise.
    pub seed: u64,
}

/// The direct path, with state between chunks.
#[derive(Debug, Clone)]
pub struct DirectPath {
    weights: Vec<Complex32>,
    line: DelayLine,
    taps: DelayTaps,
    phase_rad: f64,
    step_rad: f64,
    noise: Noise,
}

impl DirectPath {
    /// A path for chunks of up to `chunk` samples.
    pub fn new(settings: &DirectPathSettings, chunk: usize) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(mix(settings.seed, 0xd1));
        let start = random.random_range(0.0..MAX_START as f64);
        let delay = RECEIVE_LAG as f64 + start + settings.delay_s * settings.sample_rate_hz;
        Self {
            weights: settings.channel.iter().map(|h| Complex32::new(h.re as f32, -h.im as f32)).collect(),
            line: DelayLine::new(delay.ceil() as usize + 1, chunk),
            taps: DelayTaps::new(delay),
            phase_rad: random.random_range(0.0..std::f64::consts::TAU),
            step_rad: std::f64::consts::TAU * settings.carrier_offset_hz / settings.sample_rate_hz,
            noise: Noise::new(settings.seed, 0xd2, settings.noise_variance),
        }
    }

    /// Samples that must be flushed through until all that was sent has arrived.
    pub const fn flush_samples() -> usize {
        RECEIVE_LAG + MAX_START + 1024
    }

    /// Receives chunk `chunk`: as many samples as `antennas` hold each; no antenna = silence.
    pub fn receive<'a>(
        &mut self,
        chunk: u64,
        antennas: impl Iterator<Item = &'a [Complex32]>,
        output: &mut [Complex32],
    ) {
        let weights = &self.weights;
        self.line.push(output.len(), |sum| combine(weights, antennas, sum));
        self.line.read(&self.taps, 0, output);
        self.phase_rad = rotate(output, self.phase_rad, self.step_rad) % std::f64::consts::TAU;
        self.noise.add(chunk, output);
    }
}

/// `sum[n] = Σ_a weights[a]·antenna_a[n]`.
pub(super) fn combine<'a>(
    weights: &[Complex32],
    antennas: impl Iterator<Item = &'a [Complex32]>,
    sum: &mut [Complex32],
) {
    sum.fill(Complex32::default());
    for (weight, antenna) in weights.iter().zip(antennas) {
        scale_add(*weight, antenna, sum);
    }
}
