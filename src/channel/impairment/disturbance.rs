//! What others add: a tone, and bursts of noise.

use num_complex::{Complex32, Complex64};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Impairment, Level, amplitude, directions, generator, normal, single};

/// A tone beside the signal.
#[derive(Debug, Clone)]
pub struct Tone {
    directions: Vec<Complex32>,
    levels: Vec<Level>,
    relative: f64,
    cycles_per_sample: f64,
    /// Phase in cycles at the next sample.
    phase: f64,
}

impl Tone {
    /// Of so many decibels over the power of each row (`level`), at a frequency in cycles per sample.
    pub fn new(db: f64, cycles_per_sample: f64, level: &Level, rows: usize, seed: u64) -> Self {
        Self {
            directions: directions(seed, 0x70, rows),
            levels: vec![level.clone(); rows],
            relative: amplitude(db),
            cycles_per_sample,
            phase: 0.0,
        }
    }

    /// Another level and frequency from the next sample on.
    pub fn set(&mut self, db: f64, cycles_per_sample: f64) {
        (self.relative, self.cycles_per_sample) = (amplitude(db), cycles_per_sample);
    }
}

impl Impairment for Tone {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let mut after = self.phase;
        for ((row, direction), level) in rows.iter_mut().zip(&self.directions).zip(&mut self.levels) {
            let mut phase = self.phase;
            level.each(row, |power, piece| {
                let size = (self.relative * power.sqrt()) as f32;
                for sample in piece {
                    *sample += direction * single(Complex64::cis(std::f64::consts::TAU * phase)) * size;
                    phase = (phase + self.cycles_per_sample).fract();
                }
            });
            after = phase;
        }
        self.phase = after;
    }
}

/// Noise in bursts that come at a fixed rate; each row has noise of its own.
#[derive(Debug, Clone)]
pub struct Bursts {
    levels: Vec<Level>,
    randoms: Vec<Xoshiro256PlusPlus>,
    deviation: f64,
    length: u64,
    period: u64,
    sample: u64,
}

impl Bursts {
    /// Bursts of `length` samples, one in every `period`, of so many decibels over the power of each row (`level`). When
    /// the first one comes is drawn.
    pub fn new(db: f64, [length, period]: [u64; 2], level: &Level, rows: usize, seed: u64) -> Self {
        Self {
            levels: vec![level.clone(); rows],
            randoms: (0..rows as u64).map(|row| generator(seed, 0xb000 + row)).collect(),
            deviation: amplitude(db) * std::f64::consts::FRAC_1_SQRT_2,
            length,
            period: period.max(1),
            sample: generator(seed, 0xb5).random_range(0..period.max(1)),
        }
    }

    /// Other bursts from the next sample on.
    pub fn set(&mut self, db: f64, [length, period]: [u64; 2]) {
        self.deviation = amplitude(db) * std::f64::consts::FRAC_1_SQRT_2;
        (self.length, self.period) = (length, period.max(1));
    }
}

impl Impairment for Bursts {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let mut after = self.sample;
        for ((row, random), level) in rows.iter_mut().zip(&mut self.randoms).zip(&mut self.levels) {
            let mut sample = self.sample;
            level.each(row, |power, piece| {
                let deviation = self.deviation * power.sqrt();
                for value in piece {
                    if sample % self.period < self.length {
                        let (re, im) = (normal(random) * deviation, normal(random) * deviation);
                        *value += Complex32::new(re as f32, im as f32);
                    }
                    sample += 1;
                }
            });
            after = sample;
        }
        self.sample = after;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{white, whole};
    use super::*;
    use crate::dsp::mean_power;

    #[test]
    fn a_tone_has_its_level_and_its_frequency() {
        let (make, clean) = (
            || Box::new(Tone::new(-6.0, 0.05, &Level::given(4.0), 2, 8)) as Box<dyn Impairment>,
            [white(50_000, 1), white(50_000, 2)],
        );
        let rows = whole(make, clean.clone());
        for (row, clean) in rows.iter().zip(&clean) {
            let added: Vec<_> = row.iter().zip(clean).map(|(y, x)| y - x).collect();
            assert!((10.0 * (mean_power(&added) / 4.0).log10() + 6.0).abs() < 1e-3);
            for (n, pair) in added.windows(2).enumerate().step_by(501) {
                let step = f64::from((pair[1] * pair[0].conj()).arg()) / std::f64::consts::TAU;
                assert!((step - 0.05).abs() < 1e-5, "{n}: {step}");
            }
        }
    }

    #[test]
    fn bursts_have_their_power_their_length_and_their_period() {
        let make = || Box::new(Bursts::new(30.0, [10, 3000], &Level::given(2.0), 2, 8)) as Box<dyn Impairment>;
        let silence = vec![Complex32::default(); 300_000];
        let rows = whole(make, [silence.clone(), silence]);
        let hit: Vec<usize> = (0..300_000).filter(|n| rows[0][*n].norm() > 0.0).collect();
        assert_eq!(hit.len(), 1000);
        assert!(hit.chunks_exact(10).all(|burst| burst[9] == burst[0] + 9 || burst[0] < 10));
        assert!(hit.windows(11).step_by(10).all(|pair| pair[10] - pair[0] == 3000));
        // A thousand exponential variables: five deviations of their mean.
        let power = mean_power(&rows[0]) * 300.0;
        assert!((power / 2000.0 - 1.0).abs() < 5.0 / 1000f64.sqrt(), "{power}");
        assert!(rows[0] != rows[1]);
    }
}
