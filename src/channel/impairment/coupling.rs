//! Elements that hear their neighbours.

use num_complex::{Complex32, Complex64};

use super::{BLOCK, Impairment, amplitude, length, single};

/// Each row has a part of the rows beside it, turned by half a radian.
pub struct Coupling {
    factor: Complex32,
    before: Vec<Complex32>,
    own: Vec<Complex32>,
}

impl Coupling {
    /// Of so many decibels.
    pub fn new(db: f64) -> Self {
        let nothing = vec![Complex32::default(); BLOCK];
        Self { factor: factor(db), before: nothing.clone(), own: nothing }
    }

    /// Another level from the next sample on.
    pub fn set(&mut self, db: f64) {
        self.factor = factor(db);
    }
}

fn factor(db: f64) -> Complex32 {
    single(Complex64::from_polar(amplitude(db), 0.5))
}

impl Impairment for Coupling {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let count = length(rows);
        for from in (0..count).step_by(BLOCK) {
            let end = (from + BLOCK).min(count);
            self.before.fill(Complex32::default());
            for index in 0..rows.len() {
                let own = &mut self.own[..end - from];
                own.copy_from_slice(&rows[index][from..end]);
                for (n, before) in self.before[..end - from].iter().enumerate() {
                    let after = rows.get(index + 1).map_or(Complex32::default(), |row| row[from + n]);
                    rows[index][from + n] += self.factor * (before + after);
                }
                std::mem::swap(&mut self.before, &mut self.own);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{white, whole};
    use super::*;

    #[test]
    fn every_row_has_its_neighbours_as_they_were() {
        let clean = [white(3000, 1), white(3000, 2), white(3000, 3)];
        let c = single(Complex64::from_polar(amplitude(-20.0), 0.5));
        let [mut a, mut b, mut d] = clean.clone();
        Coupling::new(-20.0).apply(&mut [&mut a, &mut b, &mut d]);
        for n in 0..3000 {
            assert!((a[n] - (clean[0][n] + c * clean[1][n])).norm() < 1e-6);
            assert!((b[n] - (clean[1][n] + c * (clean[0][n] + clean[2][n]))).norm() < 1e-6);
            assert!((d[n] - (clean[2][n] + c * clean[1][n])).norm() < 1e-6);
        }
        whole(|| Box::new(Coupling::new(-20.0)), [white(3000, 1), white(3000, 2)]);
    }
}
