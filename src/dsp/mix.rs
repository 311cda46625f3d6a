//! Rotation by a carrier, and power.

use num_complex::{Complex32, Complex64};

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
        let start = Complex32::new(exact.re as f32, exact.im as f32);
        for (sample, power) in block.iter_mut().zip(&powers) {
            *sample *= start * power;
        }
        phase += step_rad * block.len() as f64;
    }
    phase
}

/// Mean of |x|².
pub fn mean_power(samples: &[Complex32]) -> f64 {
    samples.iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>() / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

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
