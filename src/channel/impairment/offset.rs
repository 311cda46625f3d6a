//! A direct-conversion front end: the image of the signal, and its direct current.

use num_complex::Complex32;

use super::{Impairment, Level, amplitude, directions};

/// The two branches differ in gain and phase: y = x + g·x*, |g|² being the image's level.
#[derive(Debug, Clone)]
pub struct IqImage {
    directions: Vec<Complex32>,
    level: f32,
}

impl IqImage {
    /// An image of so many decibels, its phase each row's own.
    pub fn new(image_db: f64, rows: usize, seed: u64) -> Self {
        Self { directions: directions(seed, 0x1a, rows), level: amplitude(image_db) as f32 }
    }

    /// Another level from the next sample on.
    pub fn set(&mut self, image_db: f64) {
        self.level = amplitude(image_db) as f32;
    }
}

impl Impairment for IqImage {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        for (row, direction) in rows.iter_mut().zip(&self.directions) {
            let gain = direction * self.level;
            row.iter_mut().for_each(|sample| *sample += gain * sample.conj());
        }
    }
}

/// A constant beside the signal: what of the local oscillator leaks into the mixer.
#[derive(Debug, Clone)]
pub struct DirectCurrent {
    directions: Vec<Complex32>,
    levels: Vec<Level>,
    relative: f64,
}

impl DirectCurrent {
    /// Of so many decibels over the power of each row (`level`).
    pub fn new(dbc: f64, level: &Level, rows: usize, seed: u64) -> Self {
        Self { directions: directions(seed, 0xdc, rows), levels: vec![level.clone(); rows], relative: amplitude(dbc) }
    }

    /// Another level from the next sample on.
    pub fn set(&mut self, dbc: f64) {
        self.relative = amplitude(dbc);
    }
}

impl Impairment for DirectCurrent {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        for ((row, direction), level) in rows.iter_mut().zip(&self.directions).zip(&mut self.levels) {
            level.each(row, |power, piece| {
                let constant = direction * (self.relative * power.sqrt()) as f32;
                piece.iter_mut().for_each(|sample| *sample += constant);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tone, white, whole};
    use super::*;

    /// Power of a row at a frequency that its length holds a whole number of.
    fn at(row: &[Complex32], cycles_per_sample: f64) -> f64 {
        let sum = crate::dsp::correlate(row, &tone(row.len(), cycles_per_sample));
        (sum / row.len() as f64).norm_sqr()
    }

    #[test]
    fn the_image_stands_mirrored_at_its_level_and_the_signal_stays() {
        let make = || Box::new(IqImage::new(-20.0, 2, 3)) as Box<dyn Impairment>;
        let rows = whole(make, [tone(10_000, 0.11), tone(10_000, 0.11)]);
        for row in &rows {
            assert!((at(row, 0.11) - 1.0).abs() < 1e-4);
            assert!((10.0 * at(row, -0.11).log10() + 20.0).abs() < 1e-2);
        }
        assert!((rows[0][0] - rows[1][0]).norm() > 1e-3, "rows have images of their own");
    }

    #[test]
    fn direct_current_stands_at_its_level_over_the_row_whatever_that_is() {
        let loud: Vec<_> = white(200_000, 4).iter().map(|x| x * 30.0).collect();
        let make = || Box::new(DirectCurrent::new(-10.0, &Level::followed(), 2, 3)) as Box<dyn Impairment>;
        let clean = [white(200_000, 4), loud];
        let rows = whole(make, clean.clone());
        for (row, (clean, scale)) in rows.iter().zip(clean.iter().zip([1.0f64, 900.0])) {
            let added: Vec<_> = row.iter().zip(clean).map(|(y, x)| y - x).collect();
            assert!(added[..256].iter().all(|x| x.norm() == 0.0));
            let level_db = 10.0 * (at(&added[20_000..], 0.0) / scale).log10();
            assert!((level_db + 10.0).abs() < 0.25, "{level_db}");
        }
    }
}
