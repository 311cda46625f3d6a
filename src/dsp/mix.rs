//! Rotation by a carrier, weighted sums of rows, correlation, and power.

use num_complex::{Complex32, Complex64};

use super::dispatched;

/// Samples between two exact evaluations of the carrier: short enough that single precision stays below −110 dB.
const BLOCK: usize = 64;

/// Multiplies `samples` by exp(j(phase + n·step)), n = 0, 1, …, in radians; returns the phase after the last sample.
pub fn rotate(samples: &mut [Complex32], phase_rad: f64, step_rad: f64) -> f64 {
    let mut powers = [Complex32::default(); BLOCK];
    for (n, power) in powers.iter_mut().enumerate() {
        let exact = Complex64::cis(step_rad * n as f64);
        *power = Complex32::new(exact.re as f32, exact.im as f32);
    }
    let mut phase = phase_rad;
    for block in samples.chunks_mut(BLOCK) {
        let exact = Complex64::cis(phase);
        turn(Complex32::new(exact.re as f32, exact.im as f32), &powers, block);
        phase += step_rad * block.len() as f64;
    }
    phase
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
    for (to, from) in output.iter_mut().zip(input) {
        *to = weight * from;
    }
}

dispatched! {
    /// `output[n] += weight·input[n]`.
    pub fn scale_add(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) = scale_add_body
}

#[inline(always)]
fn scale_add_body(weight: Complex32, input: &[Complex32], output: &mut [Complex32]) {
    for (to, from) in output.iter_mut().zip(input) {
        *to += weight * from;
    }
}

/// `Σ received·known*`, summed in double precision.
pub fn correlate(received: &[Complex32], known: &[Complex32]) -> Complex64 {
    let mut sum = Complex64::default();
    add_correlation(received, known, &mut sum);
    sum
}

dispatched! {
    /// Adds `Σ received·known*` to `sum`.
    fn add_correlation(received: &[Complex32], known: &[Complex32], sum: &mut Complex64) = add_correlation_body
}

#[inline(always)]
fn add_correlation_body(received: &[Complex32], known: &[Complex32], sum: &mut Complex64) {
    const LANES: usize = 8;
    let (mut real, mut imaginary) = ([0f64; LANES], [0f64; LANES]);
    let mut add = |lane: usize, x: Complex32, y: Complex32| {
        real[lane] += f64::from(x.re * y.re + x.im * y.im);
        imaginary[lane] += f64::from(x.im * y.re - x.re * y.im);
    };
    let count = received.len().min(known.len());
    let (blocks, rest) = received[..count].as_chunks::<LANES>();
    let (known_blocks, known_rest) = known[..count].as_chunks::<LANES>();
    for (block, known) in blocks.iter().zip(known_blocks) {
        for lane in 0..LANES {
            add(lane, block[lane], known[lane]);
        }
    }
    for (lane, (x, y)) in rest.iter().zip(known_rest).enumerate() {
        add(lane, *x, *y);
    }
    *sum += Complex64::new(real.iter().sum(), imaginary.iter().sum());
}

/// Mean of |x|².
pub fn mean_power(samples: &[Complex32]) -> f64 {
    samples.iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>() / samples.len().max(1) as f64
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
