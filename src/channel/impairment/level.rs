//! The level of a row, which impairments "over the signal" are relative to, and a gain that changes it.

use num_complex::Complex32;

use super::{Impairment, amplitude};

/// Samples whose power is taken together.
const MEASURED: usize = 256;
/// Blocks that the mean holds.
const BLOCKS: u32 = 64;
/// Blocks in a row that must be far off the mean until it begins anew.
const PATIENCE: u32 = 4;
/// Change of the mean that the level in use follows, as a ratio of powers.
const STEP: f64 = 1.06;

/// The mean power of a row: given, or followed as a slow gain control does. What is followed holds still while the
/// signal does, so that a level derived from it is a constant.
#[derive(Debug, Clone)]
pub struct Level {
    used: f64,
    follows: bool,
    mean: f64,
    blocks: u32,
    off: u32,
    sum: f64,
    taken: usize,
}

impl Level {
    /// A known power.
    pub fn given(power: f64) -> Self {
        Self { follows: false, used: power, ..Self::followed() }
    }

    /// The power of what comes; 0, which means unknown, until 256 samples have come.
    pub fn followed() -> Self {
        Self { used: 0.0, follows: true, mean: 0.0, blocks: 0, off: 0, sum: 0.0, taken: 0 }
    }

    /// The power of what comes, which is about this from the start.
    pub fn expected(power: f64) -> Self {
        Self { used: power, mean: power, blocks: BLOCKS, ..Self::followed() }
    }

    /// Calls `change` with pieces of the row and the power before each.
    pub(super) fn each(&mut self, samples: &mut [Complex32], mut change: impl FnMut(f64, &mut [Complex32])) {
        if !self.follows {
            return change(self.used, samples);
        }
        let mut rest = samples;
        while !rest.is_empty() {
            let count = rest.len().min(MEASURED - self.taken);
            let (piece, after) = rest.split_at_mut(count);
            let power = self.used;
            for sample in piece.iter() {
                self.sum += f64::from(sample.norm_sqr());
            }
            self.taken += count;
            if self.taken == MEASURED {
                self.take(self.sum / MEASURED as f64);
                (self.sum, self.taken) = (0.0, 0);
            }
            change(power, piece);
            rest = after;
        }
    }

    fn take(&mut self, power: f64) {
        if !power.is_finite() {
            return;
        }
        let is_off = self.blocks > 0 && !(0.1 * self.mean..=4.0 * self.mean).contains(&power);
        self.off = if is_off { self.off + 1 } else { 0 };
        // A level that rises is followed at once, one that falls only when it stays away.
        let patience = if power > self.mean { PATIENCE } else { BLOCKS };
        if is_off && self.off < patience {
            return;
        }
        if is_off {
            self.blocks = 0;
        }
        self.blocks = (self.blocks + 1).min(BLOCKS);
        // The first block replaces the mean of before.
        self.mean += (power - self.mean) / f64::from(self.blocks);
        let is_new = self.blocks < BLOCKS && self.blocks.is_power_of_two();
        let moved = self.mean > self.used * STEP || self.mean * STEP < self.used;
        if is_new || (self.blocks == BLOCKS && moved) {
            self.used = self.mean;
        }
    }
}

/// A gain of all rows, or another level than was meant.
#[derive(Debug, Clone)]
pub struct Gain {
    factor: f32,
}

impl Gain {
    /// Of so many decibels.
    pub fn new(db: f64) -> Self {
        Self { factor: amplitude(db) as f32 }
    }
}

impl Impairment for Gain {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        rows.iter_mut().flat_map(|row| row.iter_mut()).for_each(|sample| *sample *= self.factor);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tone, white};
    use super::*;
    use crate::dsp::mean_power;

    #[test]
    fn the_level_is_found_holds_still_and_follows_a_signal_that_begins_and_ends() {
        let used = |level: &mut Level, samples: &mut [Complex32]| {
            let mut used = Vec::new();
            level.each(samples, |power, piece| used.extend(std::iter::repeat_n(power, piece.len())));
            used
        };
        let mut level = Level::followed();
        let mut samples: Vec<_> = white(20_000, 1).iter().map(|x| x * 0.01).collect();
        let quiet = used(&mut level, &mut samples);
        assert!(quiet[..256].iter().all(|power| *power == 0.0));
        assert!((quiet[19_999] / 1e-4 - 1.0).abs() < 0.05, "{}", quiet[19_999]);
        let loud = used(&mut level, &mut white(60_000, 2));
        assert!(loud[4 * 256 + 256 - 20_000 % 256..].iter().all(|power| (power - 1.0).abs() < 0.2));
        let steady = &loud[40_000..];
        assert!(steady.iter().all(|power| *power == steady[0]) && (steady[0] - 1.0).abs() < 0.06, "{}", steady[0]);
        // Silence of less than 64 blocks is not a new level.
        let silent = used(&mut level, &mut vec![Complex32::default(); 10_000]);
        assert!((silent[9_999] - 1.0).abs() < 0.07);
        assert_eq!(used(&mut Level::given(0.5), &mut tone(3, 0.1)), [0.5; 3]);
    }

    #[test]
    fn a_gain_is_one() {
        let mut samples = white(10_000, 3);
        let before = mean_power(&samples);
        Gain::new(-7.0).apply_one(&mut samples);
        assert!((10.0 * (mean_power(&samples) / before).log10() + 7.0).abs() < 1e-4);
    }
}
