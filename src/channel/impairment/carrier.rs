//! A carrier that is off, and drifts.

use num_complex::{Complex32, Complex64};

use super::{Impairment, length, single};

/// Samples between two exact evaluations of the phase.
const EXACT: u64 = 1024;

/// The receiver's oscillator is off by a frequency that may change steadily.
#[derive(Debug, Clone)]
pub struct CarrierOffset {
    cycles_per_sample: f64,
    /// Change of the frequency from sample to sample.
    drift: f64,
    /// Phase in cycles, frequency and rotor at the next sample.
    phase_cycles: f64,
    frequency: f64,
    rotor: Complex64,
    step: Complex64,
    /// What the step is turned by from sample to sample.
    turn: Complex64,
    sample: u64,
}

impl CarrierOffset {
    /// An offset in cycles per sample, which grows by `drift` cycles per sample with every sample.
    pub fn new(cycles_per_sample: f64, drift: f64) -> Self {
        let mut carrier = Self {
            cycles_per_sample: 0.0,
            drift: 0.0,
            phase_cycles: 0.0,
            frequency: 0.0,
            rotor: Complex64::ONE,
            step: Complex64::ONE,
            turn: Complex64::ONE,
            sample: 0,
        };
        carrier.set(cycles_per_sample, drift);
        carrier
    }

    /// Another offset from the next sample on; the phase goes on from where it is.
    pub fn set(&mut self, cycles_per_sample: f64, drift: f64) {
        self.frequency = (self.frequency + cycles_per_sample - self.cycles_per_sample).fract();
        // Whole cycles from sample to sample are none.
        (self.cycles_per_sample, self.drift) = (cycles_per_sample, drift.fract());
        self.step = Complex64::cis(std::f64::consts::TAU * (self.frequency + 0.5 * self.drift));
        self.turn = Complex64::cis(std::f64::consts::TAU * self.drift);
    }

    fn next(&mut self) -> Complex32 {
        let turn = std::f64::consts::TAU;
        if self.sample.is_multiple_of(EXACT) {
            self.rotor = Complex64::cis(turn * self.phase_cycles);
            self.step = Complex64::cis(turn * (self.frequency + 0.5 * self.drift));
        }
        let now = single(self.rotor);
        self.rotor *= self.step;
        if self.drift != 0.0 {
            self.step *= self.turn;
        }
        self.phase_cycles = (self.phase_cycles + self.frequency + 0.5 * self.drift).fract();
        self.frequency = (self.frequency + self.drift).fract();
        self.sample += 1;
        now
    }
}

impl Impairment for CarrierOffset {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        for n in 0..length(rows) {
            let rotor = self.next();
            rows.iter_mut().for_each(|row| row[n] *= rotor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::whole;
    use super::*;

    #[test]
    fn the_phase_is_the_integral_of_the_frequency() {
        let (f, d) = (0.013, 2e-8);
        let ones = vec![Complex32::ONE; 100_000];
        let [row, other] = whole(|| Box::new(CarrierOffset::new(f, d)), [ones.clone(), ones]);
        assert_eq!(row, other);
        for (n, sample) in row.iter().enumerate().step_by(997) {
            let n = n as f64;
            let exact = Complex64::cis(std::f64::consts::TAU * (f * n + 0.5 * d * n * n));
            assert!((single(exact) - sample).norm() < 1e-6, "{n}");
        }
    }

    #[test]
    fn a_new_offset_takes_over_without_a_jump() {
        let mut carrier = CarrierOffset::new(0.1, 0.0);
        let mut row = vec![Complex32::ONE; 4000];
        carrier.apply_one(&mut row[..1500]);
        carrier.set(-0.05, 0.0);
        carrier.apply_one(&mut row[1500..]);
        for (n, pair) in row.windows(2).enumerate() {
            let step = f64::from((pair[1] * pair[0].conj()).arg()) / std::f64::consts::TAU;
            let expected = if n < 1499 { 0.1 } else { -0.05 };
            assert!(n == 1499 || (step - expected).abs() < 1e-5, "{n}: {step}");
        }
    }
}
