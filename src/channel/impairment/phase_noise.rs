//! Phase noise of the oscillators that all rows of a receiver share.

use num_complex::{Complex32, Complex64};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{BLOCK, Impairment, generator, length, normal, single};

/// How the phase goes on from sample to sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseShape {
    /// A random walk: an oscillator that runs free.
    Wiener,
    /// Held by a loop: flat up to a corner of 0.01 cycles per symbol, and falling from there on.
    Pll,
}

/// Corner of a loop in cycles per symbol.
const CORNER: f64 = 0.01;

/// A phase that wanders.
#[derive(Debug, Clone)]
pub struct PhaseNoise {
    random: Xoshiro256PlusPlus,
    phase_rad: f64,
    /// What of the phase stays from sample to sample, and what is added.
    keep: f64,
    step_rad: f64,
    rotors: Vec<Complex32>,
}

impl PhaseNoise {
    /// Of `rms_deg` about its mean within a frame of `frame_samples` samples (a loop's: at any time).
    pub fn new(shape: PhaseShape, rms_deg: f64, frame_samples: usize, samples_per_symbol: usize, seed: u64) -> Self {
        let mut noise = Self {
            random: generator(seed, 0x9e),
            phase_rad: 0.0,
            keep: 1.0,
            step_rad: 0.0,
            rotors: vec![Complex32::default(); BLOCK],
        };
        noise.set(shape, rms_deg, frame_samples, samples_per_symbol);
        if shape == PhaseShape::Pll {
            noise.phase_rad = rms_deg.to_radians() * normal(&mut noise.random);
        }
        noise
    }

    /// Another level from the next sample on.
    pub fn set(&mut self, shape: PhaseShape, rms_deg: f64, frame_samples: usize, samples_per_symbol: usize) {
        let rms_rad = rms_deg.to_radians();
        (self.keep, self.step_rad) = match shape {
            // The variance of a walk of n steps about its own mean is n/6 of a step's.
            PhaseShape::Wiener => (1.0, rms_rad * (6.0 / frame_samples as f64).sqrt()),
            PhaseShape::Pll => {
                let keep = (-std::f64::consts::TAU * CORNER / samples_per_symbol as f64).exp();
                (keep, rms_rad * (1.0 - keep * keep).sqrt())
            }
        };
    }
}

impl Impairment for PhaseNoise {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let count = length(rows);
        for from in (0..count).step_by(BLOCK) {
            let end = (from + BLOCK).min(count);
            for rotor in &mut self.rotors[..end - from] {
                self.phase_rad = self.keep * self.phase_rad + self.step_rad * normal(&mut self.random);
                *rotor = single(Complex64::cis(self.phase_rad));
            }
            for row in rows.iter_mut() {
                row[from..end].iter_mut().zip(&self.rotors).for_each(|(sample, rotor)| *sample *= rotor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::whole;
    use super::*;

    /// RMS of the phase about its mean in frames of so many samples, in degrees.
    fn within_frames(row: &[Complex32], frame: usize) -> f64 {
        let spreads = row.chunks_exact(frame).map(|frame| {
            let mut phase = 0.0f64;
            let phases: Vec<f64> = std::iter::once(0.0)
                .chain(frame.windows(2).map(|pair| {
                    phase += f64::from((pair[1] * pair[0].conj()).arg());
                    phase
                }))
                .collect();
            let mean = phases.iter().sum::<f64>() / phases.len() as f64;
            phases.iter().map(|phase| (phase - mean).powi(2)).sum::<f64>() / phases.len() as f64
        });
        let spreads: Vec<f64> = spreads.collect();
        (spreads.iter().sum::<f64>() / spreads.len() as f64).sqrt().to_degrees()
    }

    #[test]
    fn a_walk_has_the_spread_within_a_frame_that_was_asked_for() {
        let ones = vec![Complex32::ONE; 1_500_000];
        let make = || Box::new(PhaseNoise::new(PhaseShape::Wiener, 6.0, 3392, 2, 5)) as Box<dyn Impairment>;
        let [row, other] = whole(make, [ones.clone(), ones]);
        assert_eq!(row, other);
        // 442 spreads, each of which scatters by about its own size: a tenth of the mean is two deviations of the root.
        let found = within_frames(&row, 3392);
        assert!((found / 6.0 - 1.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn a_loop_holds_the_phase_about_zero() {
        let mut row = vec![Complex32::ONE; 1_000_000];
        PhaseNoise::new(PhaseShape::Pll, 3.0, 3392, 2, 5).apply_one(&mut row);
        let rms = (row.iter().map(|x| f64::from(x.arg()).powi(2)).sum::<f64>() / row.len() as f64).sqrt().to_degrees();
        // About 31 000 independent values.
        assert!((rms / 3.0 - 1.0).abs() < 0.03, "{rms}");
        // Half of the variance lies below the corner: the correlation after 1/(2π·0.01) symbols is 1/e.
        let lag = 32;
        let likeness: f64 = row.iter().zip(&row[lag..]).map(|(a, b)| f64::from(a.arg() * b.arg())).sum::<f64>()
            / (row.len() - lag) as f64;
        let expected = (-std::f64::consts::TAU * 0.01 * 16.0).exp();
        assert!((likeness / 3f64.to_radians().powi(2) - expected).abs() < 0.05, "{likeness}");
    }
}
