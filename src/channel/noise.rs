//! Circularly symmetric complex Gaussian noise, the same for a frame however the run is cut.
//!
//! Sixteen xoshiro128++ generators side by side feed the Box–Muller transform, so that a vector of samples costs what
//! one costs. No step is fused or reordered: every machine draws the same bits. A draw of 31 bits ends the radius at
//! 6.6 σ, which 10⁹ samples reach less than once in expectation.

use std::f32::consts::{LN_2, PI};

use num_complex::Complex32;

use crate::dsp::dispatched;

/// Generators side by side.
const LANES: usize = 16;

/// Samples that are worked on together.
const BLOCK: usize = 128;

type Words = [u32; LANES];

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
        add_noise(&mut Generators::new(mix(self.seed, chunk)), self.deviation, samples);
    }
}

dispatched! {
    /// Adds a Gaussian of this deviation per real dimension to every sample.
    fn add_noise(generators: &mut Generators, deviation: f32, samples: &mut [Complex32]) = body
}

#[inline(always)]
fn body(generators: &mut Generators, deviation: f32, samples: &mut [Complex32]) {
    // Whole loops over many samples: what is written sample by sample would be put together number by number.
    let [mut radius_words, mut direction_words] = [[[0u32; LANES]; BLOCK / LANES]; 2];
    let [mut re, mut im] = [[0f32; BLOCK]; 2];
    for block in samples.chunks_mut(BLOCK) {
        for (radius, direction) in radius_words.iter_mut().zip(&mut direction_words).take(block.len().div_ceil(LANES)) {
            (*radius, *direction) = (generators.next(), generators.next());
        }
        let words = radius_words.as_flattened().iter().zip(direction_words.as_flattened());
        for ((radius, direction), (re, im)) in words.zip(re.iter_mut().zip(&mut im)) {
            let (length, (cosine, sine)) = (radius_of(*radius, deviation), direction_of(*direction));
            (*re, *im) = (length * cosine, length * sine);
        }
        for (sample, (re, im)) in block.iter_mut().zip(re.iter().zip(&im)) {
            *sample += Complex32::new(*re, *im);
        }
    }
}

/// Sixteen xoshiro128++ generators (Blackman and Vigna 2019).
struct Generators([Words; 4]);

impl Generators {
    fn new(seed: u64) -> Self {
        let mut counter = 0;
        let mut word = || {
            counter += 1;
            (mix(seed, counter) >> 32) as u32
        };
        Self(std::array::from_fn(|_| std::array::from_fn(|_| word())))
    }

    #[inline(always)]
    fn next(&mut self) -> Words {
        let [a, b, c, d] = &mut self.0;
        let mut drawn = [0; LANES];
        for lane in 0..LANES {
            drawn[lane] = a[lane].wrapping_add(d[lane]).rotate_left(7).wrapping_add(a[lane]);
            let shifted = b[lane] << 9;
            c[lane] ^= a[lane];
            d[lane] ^= b[lane];
            b[lane] ^= c[lane];
            a[lane] ^= d[lane];
            c[lane] ^= shifted;
            d[lane] = d[lane].rotate_left(11);
        }
        drawn
    }
}

/// `scale·√(−2 ln u)` for uniform u in (0, 1], 31 bits of a word.
#[inline(always)]
fn radius_of(word: u32, scale: f32) -> f32 {
    let uniform = (word >> 1) as i32 as f32 + 0.5;
    // uniform = m·2^e with m in [√½, √2); ln m = 2 artanh((m − 1)/(m + 1)).
    let bits = uniform.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let zz = z * z;
    let series = 1.0 + zz * (1.0 / 3.0 + zz * (1.0 / 5.0 + zz * (1.0 / 7.0 + zz * (1.0 / 9.0))));
    let minus_ln = (31.0 - exponent) * LN_2 - 2.0 * z * series;
    scale * (2.0 * minus_ln.max(0.0)).sqrt()
}

/// Cosine and sine of a uniform angle, by the series of half the angle.
#[inline(always)]
fn direction_of(word: u32) -> (f32, f32) {
    let half = word as i32 as f32 * (PI / 2.0 / 2_147_483_648.0);
    let xx = half * half;
    let sine = half
        * (1.0
            + xx * (-1.0 / 6.0
                + xx * (1.0 / 120.0 + xx * (-1.0 / 5040.0 + xx * (1.0 / 362_880.0 - xx * (1.0 / 39_916_800.0))))));
    let cosine = 1.0
        + xx * (-1.0 / 2.0
            + xx * (1.0 / 24.0
                + xx * (-1.0 / 720.0
                    + xx * (1.0 / 40_320.0 + xx * (-1.0 / 3_628_800.0 + xx * (1.0 / 479_001_600.0))))));
    (cosine * cosine - sine * sine, 2.0 * sine * cosine)
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
    fn the_distribution_is_gaussian_into_its_tails() {
        // Shares of |re| above t against erfc(t/√2), 4·10⁶ draws; five deviations of the binomial.
        let tails = [(0.5, 0.617_075), (1.0, 0.317_311), (2.0, 0.045_500), (3.0, 2.699_8e-3), (4.0, 6.334e-5)];
        let mut samples = vec![Complex32::default(); 2_000_000];
        Noise::new(5, 0, 2.0).add(0, &mut samples);
        for (t, expected) in tails {
            let above = samples.iter().flat_map(|x| [x.re, x.im]).filter(|x| x.abs() > t).count() as f64;
            let (mean, deviation) = (4e6 * expected, (4e6 * expected * (1.0f64 - expected)).sqrt());
            assert!((above - mean).abs() < 5.0 * deviation, "above {t}: {above}, expected {mean}");
        }
    }

    #[test]
    fn samples_are_uncorrelated_at_every_short_lag_and_across_rows() {
        let draw = |stream| {
            let mut samples = vec![Complex32::default(); 100_000];
            Noise::new(9, stream, 1.0).add(3, &mut samples);
            samples
        };
        let (row, other) = (draw(0), draw(1));
        // A mean of n products has deviation 1/√n in modulus; six of them over 200 tries.
        let bound = 6.0 / 100_000f32.sqrt();
        for lag in 0..100 {
            let pairs = |to: &[Complex32]| {
                row.iter().zip(&to[lag..]).map(|(a, b)| a.conj() * b).sum::<Complex32>().norm() / 100_000.0
            };
            assert!(lag == 0 || pairs(&row) < bound, "lag {lag}");
            assert!(pairs(&other) < bound, "lag {lag} across rows");
        }
    }

    #[test]
    fn the_transforms_are_exact_to_single_precision() {
        let mut word = 1u32;
        for _ in 0..320_000 {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (radius, (cosine, sine)) = (radius_of(word, 1.0), direction_of(word));
            let uniform = (f64::from(word >> 1) + 0.5) / 2f64.powi(31);
            let exact = (-2.0 * uniform.ln()).sqrt();
            // Near u = 1 the 24 bits of the draw's mantissa limit ln u itself.
            assert!((f64::from(radius) - exact).abs() < 2e-7 * (2.0 + 1.0 / exact.max(3e-4)), "{uniform}");
            let angle = f64::from(word as i32) / 2f64.powi(31) * std::f64::consts::PI;
            assert!((f64::from(cosine) - angle.cos()).abs() < 1e-6, "{angle}");
            assert!((f64::from(sine) - angle.sin()).abs() < 1e-6, "{angle}");
        }
    }

    #[test]
    fn the_dispatched_noise_equals_the_baseline_bit_for_bit() {
        let (mut fast, mut slow) = ([Complex32::default(); 277], [Complex32::default(); 277]);
        add_noise(&mut Generators::new(4), 0.3, &mut fast);
        body(&mut Generators::new(4), 0.3, &mut slow);
        assert_eq!(fast, slow);
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
