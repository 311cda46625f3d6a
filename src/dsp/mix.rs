//! Rotation by a carrier, weighted sums of rows, correlation, and power.

use std::array::from_fn;

use num_complex::{Complex32, Complex64};

use super::dispatched;

/// Samples between two exact evaluations of the carrier: short enough that single precision stays below −110 dB.
const BLOCK: usize = 64;

/// Exact evaluations of which a block's powers are products.
const ROOT: usize = 8;

/// Multiplies `samples` by exp(j(phase + n·step)), n = 0, 1, …, in radians; returns the phase after the last sample.
pub fn rotate(samples: &mut [Complex32], phase_rad: f64, step_rad: f64) -> f64 {
    let mut powers = [Complex32::ONE; BLOCK];
    if step_rad != 0.0 {
        // Products in double precision: what they are off by is far below what single precision keeps.
        let exact = |n: usize| Complex64::cis(step_rad * n as f64);
        let (fine, coarse): ([_; ROOT], [_; ROOT]) = (from_fn(exact), from_fn(|n| exact(ROOT * n)));
        for (powers, coarse) in powers.chunks_exact_mut(ROOT).zip(coarse) {
            powers.iter_mut().zip(fine).for_each(|(power, fine)| *power = single(coarse * fine));
        }
    }
    let mut phase = phase_rad;
    // Exact once in so many blocks as well.
    let turns: [_; ROOT] = from_fn(|n| Complex64::cis(step_rad * (BLOCK * n) as f64));
    for blocks in samples.chunks_mut(ROOT * BLOCK) {
        let start = Complex64::cis(phase);
        for (block, turn_to) in blocks.chunks_mut(BLOCK).zip(turns) {
            turn(single(start * turn_to), &powers, block);
        }
        phase += step_rad * blocks.len() as f64;
    }
    phase
}

fn single(exact: Complex64) -> Complex32 {
    Complex32::new(exact.re as f32, exact.im as f32)
}

dispatched! {
    /// `block[n] *= start·powers[n]`.
    fn turn(start: Complex32, powers: &[Complex32; BLOCK], block: &mut [Complex32]) = turn_body
}

#[inline(always)]
fn turn_body(start: Complex32, powers: &[Complex32; BLOCK], block: &mut [Complex32]) {
    for (sample, power) in block.iter_mut().zip(powers) {
        *sample *= start * power;
    }
}

dispatched! {
    /// `output[n] = weight·input[n]`.
    pub fn scale(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) = scale_body
}

#[inline(always)]
fn scale_body(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) {
    weighted::<false>(weight, input, output);
}

dispatched! {
    /// `output[n] += weight·input[n]`.
    pub fn scale_add(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) = scale_add_body
}

#[inline(always)]
fn scale_add_body(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) {
    weighted::<true>(weight, input, output);
}

/// Real and imaginary parts as they lie: each is weighted, and so is its neighbour.
#[inline(always)]
fn weighted<const ADD: bool>(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) {
    const FLOATS: usize = 16;
    let count = input.len().min(output.len());
    let (blocks, rest) = bytemuck::cast_slice::<_, f32>(&input[..count]).as_chunks::<FLOATS>();
    let (to_blocks, to_rest) = bytemuck::cast_slice_mut::<_, f32>(&mut output[..count]).as_chunks_mut::<FLOATS>();
    for (to, from) in to_blocks.iter_mut().zip(blocks) {
        let mut beside = [0f32; FLOATS];
        for n in 0..FLOATS {
            beside[n] = from[n ^ 1];
        }
        for n in 0..FLOATS {
            let across = if n % 2 == 0 { -weight.im } else { weight.im };
            let value = weight.re * from[n] + across * beside[n];
            to[n] = if ADD { to[n] + value } else { value };
        }
    }
    for (to, from) in to_rest.chunks_exact_mut(2).zip(rest.chunks_exact(2)) {
        let value = weight * Complex32::new(from[0], from[1]);
        let [re, im] = if ADD { [to[0] + value.re, to[1] + value.im] } else { [value.re, value.im] };
        to.copy_from_slice(&[re, im]);
    }
}

/// `Σ received·known*`, summed in double precision.
pub fn correlate(received: &[Complex32], known: &[Complex32]) -> Complex64 {
    let mut sum = Complex64::default();
    add_correlation(received, known, &mut sum);
    sum
}

/// Adds `Σ received·known*` to `sum`.
fn add_correlation(received: &[Complex32], known: &[Complex32], sum: &mut Complex64) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { add_correlation_avx2(received, known, sum) };
    }
    add_correlation_body(received, known, sum);
}

/// Sums that [`add_correlation_body`] makes beside each other.
const SUMS: usize = 8;

fn add_correlation_body(received: &[Complex32], known: &[Complex32], sum: &mut Complex64) {
    let (mut real, mut imaginary) = ([0f64; SUMS], [0f64; SUMS]);
    for (n, (x, y)) in received.iter().zip(known).enumerate() {
        real[n % SUMS] += f64::from(x.re * y.re + x.im * y.im);
        imaginary[n % SUMS] += f64::from(x.im * y.re - x.re * y.im);
    }
    *sum += Complex64::new(real.iter().sum(), imaginary.iter().sum());
}

/// The same operations in the same order, real and imaginary parts as they lie. (Compilers take them apart first, which takes
/// four times as long.)
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_correlation_avx2(received: &[Complex32], known: &[Complex32], sum: &mut Complex64) {
    use std::arch::x86_64::*;
    const HALF: usize = SUMS / 2;
    let count = received.len().min(known.len());
    let (blocks, rest) = received[..count].as_chunks::<SUMS>();
    let (known_blocks, known_rest) = known[..count].as_chunks::<SUMS>();
    let mut sums = [_mm256_setzero_pd(); 4];
    let minus_odd = _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0);
    for (x, y) in blocks.iter().zip(known_blocks) {
        for (half, sums) in sums.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            // SAFETY: four complex numbers, eight floats, from the block's first and from its fifth on.
            let (x, y) = unsafe {
                let load = |block: &[Complex32; SUMS]| _mm256_loadu_ps(block.as_ptr().add(HALF * half).cast());
                (load(x), load(y))
            };
            let (real, imaginary) = (_mm256_moveldup_ps(y), _mm256_xor_ps(_mm256_movehdup_ps(y), minus_odd));
            let beside = _mm256_permute_ps::<0b10_11_00_01>(x);
            let product = _mm256_add_ps(_mm256_mul_ps(x, real), _mm256_mul_ps(beside, imaginary));
            let wide = [_mm256_castps256_ps128(product), _mm256_extractf128_ps::<1>(product)]
                .map(|part| _mm256_cvtps_pd(part));
            sums[0] = _mm256_add_pd(sums[0], wide[0]);
            sums[1] = _mm256_add_pd(sums[1], wide[1]);
        }
    }
    let mut parts = [[0f64; 2]; SUMS];
    for (pairs, sum) in parts.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
        // SAFETY: two pairs are four doubles.
        unsafe { _mm256_storeu_pd(pairs.as_mut_ptr().cast(), sum) };
    }
    for (part, (x, y)) in parts.iter_mut().zip(rest.iter().zip(known_rest)) {
        part[0] += f64::from(x.re * y.re + x.im * y.im);
        part[1] += f64::from(x.im * y.re - x.re * y.im);
    }
    let total = |index: usize| parts.iter().map(|part| part[index]).sum();
    *sum += Complex64::new(total(0), total(1));
}

/// Mean of |x|².
pub fn mean_power(samples: &[Complex32]) -> f64 {
    let mut sum = 0.0;
    add_energy(samples, &mut sum);
    sum / samples.len().max(1) as f64
}

dispatched! {
    /// Adds `Σ |x|²` to `sum`.
    fn add_energy(samples: &[Complex32], sum: &mut f64) = add_energy_body
}

#[inline(always)]
fn add_energy_body(samples: &[Complex32], sum: &mut f64) {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    let (blocks, rest) = samples.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += f64::from(block[lane].norm_sqr());
        }
    }
    for (sum, sample) in sums.iter_mut().zip(rest) {
        *sum += f64::from(sample.norm_sqr());
    }
    *sum += sums.iter().sum::<f64>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_rows_and_correlations_are_right_and_equal_the_baseline_bit_for_bit() {
        let row = |k: f32| (0..77).map(|n| Complex32::from_polar(1.0 + k, n as f32 * k)).collect::<Vec<_>>();
        let (first, second) = (row(0.2), row(0.9));
        let (u, v) = (Complex32::new(0.3, -0.7), Complex32::new(-1.1, 0.2));
        let mut sums = [Complex64::default(); 2];
        add_correlation(&first, &second, &mut sums[0]);
        add_correlation_body(&first, &second, &mut sums[1]);
        assert_eq!(sums[0], sums[1]);
        let direct: Complex32 = first.iter().zip(&second).map(|(x, y)| x * y.conj()).sum();
        assert!((sums[0].re as f32 - direct.re).hypot(sums[0].im as f32 - direct.im) < 1e-4);
        let mut energies = [0.0; 2];
        add_energy(&first, &mut energies[0]);
        add_energy_body(&first, &mut energies[1]);
        assert_eq!(energies[0], energies[1]);
        assert!((mean_power(&first) * 77.0 / energies[0] - 1.0).abs() < 1e-12);
        let (mut fast, mut slow) = (row(0.0), row(0.0));
        scale(u, &first, &mut fast);
        scale_add(v, &second, &mut fast);
        scale_body(u, &first, &mut slow);
        scale_add_body(v, &second, &mut slow);
        assert_eq!(fast, slow);
        for n in 0..77 {
            assert!((slow[n] - (u * first[n] + v * second[n])).norm() < 1e-5);
        }
    }

    #[test]
    fn rotation_follows_the_carrier() {
        let mut samples = vec![Complex32::new(1.0, 0.0); 1000];
        let end = rotate(&mut samples, 0.4, 0.013);
        for (n, sample) in samples.iter().enumerate() {
            let exact = Complex64::cis(0.4 + 0.013 * n as f64);
            assert!((f64::from(sample.re) - exact.re).hypot(f64::from(sample.im) - exact.im) < 1e-6);
        }
        assert!((end - 13.4).abs() < 1e-9);
    }
}
