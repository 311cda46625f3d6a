//! Circularly symmetric complex Gaussian noise, the same for a frame however the run is cut.

use num_complex::Complex32;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Noise of one receiver row.
#[derive(Debug, Clone)]
pub struct Noise {
    seed: u64,
    deviation: f32,
}

impl Noise {
    /// Noise of `variance` per complex sample; different `stream`s of one `seed` are independent.
    pub fn new(seed: u64, stream: u64, variance: f64) -> Self {
        Self { seed: mix(seed, stream), deviation: (variance / 2.0).sqrt() as f32 }
    }

    /// Adds the noise of chunk `chunk`.
    pub fn add(&self, chunk: u64, samples: &mut [Complex32]) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(mix(self.seed, chunk));
        for sample in samples {
            let re: f32 = StandardNormal.sample(&mut random);
            let im: f32 = StandardNormal.sample(&mut random);
            *sample += Complex32::new(self.deviation * re, self.deviation * im);
        }
    }
}

/// Joins a seed and a counter into a seed for an independent sequence.
pub(super) fn mix(seed: u64, counter: u64) -> u64 {
    let mut value = seed ^ counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_variance_and_is_circular() {
        let noise = Noise::new(1, 0, 0.5);
        let mut samples = vec![Complex32::default(); 200_000];
        noise.add(0, &mut samples);
        let power = crate::dsp::mean_power(&samples);
        // The mean of n exponential variables has a standard deviation of 1/√n: five of them.
        assert!((power / 0.5 - 1.0).abs() < 5.0 / 200_000f64.sqrt(), "{power}");
        let pseudo: Complex32 = samples.iter().map(|x| x * x).sum::<Complex32>() / 200_000.0;
        assert!(pseudo.norm() < 0.5 * 5.0 / 200_000f32.sqrt());
    }

    #[test]
    fn streams_and_chunks_are_different_and_repeatable() {
        let draw = |seed, stream, chunk| {
            let mut samples = [Complex32::default(); 4];
            Noise::new(seed, stream, 1.0).add(chunk, &mut samples);
            samples
        };
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert!(draw(1, 2, 3) != draw(1, 2, 4) && draw(1, 2, 3) != draw(1, 3, 3) && draw(1, 2, 3) != draw(2, 2, 3));
    }
}
