//! The direct path TR → CRE: y_c = h_cᴴ x, delayed by its length, turned by the receiver's carrier offset (eq. 3).

use nalgebra::DVector;
use num_complex::{Complex32, Complex64};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::line::DelayLine;
use super::noise::mix;
use super::{Noise, RECEIVE_LAG};
use crate::dsp::{DelayTaps, FILTER_TAPS, rotate, scale_add};

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

/// Least room for a path's length in what is flushed, in samples.
const LEAST_PATH: usize = 1024;

/// The direct path, with state between chunks.
#[derive(Debug, Clone)]
pub struct DirectPath {
    weights: Vec<Complex32>,
    line: DelayLine,
    taps: DelayTaps,
    phase_rad: f64,
    step_rad: f64,
    noise: Noise,
    /// Its length in samples, at least [`LEAST_PATH`].
    path_samples: usize,
    delay_samples: f64,
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
            path_samples: path_samples(settings.delay_s * settings.sample_rate_hz),
            delay_samples: delay,
        }
    }

    /// Samples that must be flushed through until all that was sent has arrived.
    pub fn flush_samples(&self) -> usize {
        flush_samples(self.path_samples)
    }

    /// Receives chunk `chunk`: as many samples as `antennas` hold each; no antenna = silence.
    pub fn receive<'a>(
        &mut self,
        chunk: u64,
        antennas: impl Iterator<Item = &'a [Complex32]>,
        output: &mut [Complex32],
    ) {
        self.hear(antennas, output);
        self.add_noise(chunk, output);
    }

    /// What comes to the receiver, without its noise.
    pub(super) fn hear<'a>(&mut self, antennas: impl Iterator<Item = &'a [Complex32]>, output: &mut [Complex32]) {
        let weights = &self.weights;
        self.line.push(output.len(), |sum| combine(weights, antennas, sum));
        self.line.read(&self.taps, 0, output);
        self.phase_rad = rotate(output, self.phase_rad, self.step_rad) % std::f64::consts::TAU;
    }

    /// The receiver's noise of chunk `chunk`.
    pub(super) fn add_noise(&self, chunk: u64, output: &mut [Complex32]) {
        self.noise.add(chunk, output);
    }

    /// Samples from where a signal is sent to where it is received, the receiver's unknown start included.
    pub(super) fn delay_samples(&self) -> f64 {
        self.delay_samples
    }
}

/// Whole samples that a path of this delay takes up, with the reach of the filter that delays it.
pub(super) fn path_samples(delay_samples: f64) -> usize {
    (delay_samples.ceil() as usize + FILTER_TAPS).max(LEAST_PATH)
}

/// Samples to flush where the longest path takes up so many: the stream may begin anywhere within [`MAX_START`].
pub(super) const fn flush_samples(path_samples: usize) -> usize {
    RECEIVE_LAG + MAX_START + path_samples
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_sent_to_a_receiver_beyond_one_and_a_half_kilometres_arrives_before_the_flush_ends() {
        for (delay_s, least) in [(1e-7, 0.0), (30e-6, 5900.0)] {
            for seed in 0..20 {
                let settings = DirectPathSettings {
                    channel: DVector::from_element(1, Complex64::ONE),
                    delay_s,
                    sample_rate_hz: 200e6,
                    carrier_offset_hz: 0.0,
                    noise_variance: 0.0,
                    seed,
                };
                let mut path = DirectPath::new(&settings, 1000);
                let mut row = vec![Complex32::default(); 1000];
                let sent = vec![Complex32::ONE; 1000];
                path.receive(0, std::iter::once(&sent[..]), &mut row);
                let mut energy: f64 = row.iter().map(|sample| f64::from(sample.norm_sqr())).sum();
                let mut left = path.flush_samples();
                assert!(left as f64 > least, "{left}");
                while left > 0 {
                    let count = left.min(1000);
                    path.receive(1, std::iter::empty(), &mut row[..count]);
                    energy += row[..count].iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>();
                    left -= count;
                }
                // The filter's ends take a fraction of a sample's energy.
                assert!((energy - 1000.0).abs() < 1.0, "{delay_s} {seed}: {energy}");
            }
        }
    }
}
