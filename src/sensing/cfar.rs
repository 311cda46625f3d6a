//! Detection with a constant false-alarm rate: a cell against the mean of its neighbours in delay.
//!
//! A cell is a mean of n unit exponentials (n = [`Map::looks`]), the m training cells around it a mean of n·m, so their
//! ratio is F-distributed with (2n, 2nm) degrees of freedom: P(ratio > t) = Σ_{j<n} C(nm + j − 1, j) x^j/(1 + x)^{nm+j}
//! with x = t/m. That needs independent training cells: after the matched filter noise is uncorrelated from symbol to
//! symbol, so they stand a whole number of symbols apart. The rate is per cell, whatever the noise level.

use super::maps::Map;

/// The detector's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cfar {
    /// Probability that a cell of noise alone is reported.
    pub false_alarm_probability: f64,
    /// Training cells on either side, one symbol apart.
    pub training: usize,
    /// Symbols on either side that are left out around the cell.
    pub guard: usize,
    /// Rows of the map per symbol.
    pub samples_per_symbol: usize,
}

/// One cell that stands out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The cell's row.
    pub row: usize,
    /// The cell's column.
    pub column: usize,
    /// Its power over the mean of its training cells.
    pub ratio: f64,
}

impl Cfar {
    /// What the ratio of a cell exceeds with the false-alarm probability, with `training` cells in all.
    pub fn threshold(&self, looks: usize, training: usize) -> f64 {
        let (n, m) = (looks as f64, training as f64);
        let tail = |t: f64| {
            let x = t / m;
            let mut term = -n * m * (1.0 + x).ln();
            let mut sum = 0.0;
            for j in 0..looks {
                sum += term.exp();
                term += ((n * m + j as f64) / (j + 1) as f64 * x / (1.0 + x)).ln();
            }
            sum
        };
        let (mut low, mut high) = (0.0, 1.0);
        while tail(high) > self.false_alarm_probability {
            high *= 2.0;
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if tail(middle) > self.false_alarm_probability { low = middle } else { high = middle }
        }
        high
    }

    /// All cells above their threshold. At the map's edge one side trains alone; cells with no side are left out.
    pub fn cells(&self, map: &Map) -> Vec<Detection> {
        let (rows, columns) = (map.path_m.len(), map.columns.len());
        let thresholds = [1, 2].map(|sides| self.threshold(map.looks, sides * self.training));
        let reach = (self.guard + self.training) * self.samples_per_symbol;
        let mut found = vec![];
        for row in 0..rows {
            let sides = [row >= reach, row + reach < rows];
            let count = sides.iter().filter(|side| **side).count();
            if count == 0 {
                continue;
            }
            for column in 0..columns {
                let mut sum = 0.0;
                for step in (self.guard + 1..=self.guard + self.training).map(|step| step * self.samples_per_symbol) {
                    sum += if sides[0] { f64::from(map.at(row - step, column)) } else { 0.0 };
                    sum += if sides[1] { f64::from(map.at(row + step, column)) } else { 0.0 };
                }
                let ratio = f64::from(map.at(row, column)) * (count * self.training) as f64 / sum;
                if ratio > thresholds[count - 1] {
                    found.push(Detection { row, column, ratio });
                }
            }
        }
        found
    }

    /// As [`Self::cells`], but only cells that no larger one lies beside: one per target and lobe.
    pub fn peaks(&self, map: &Map) -> Vec<Detection> {
        let (rows, columns) = (map.path_m.len(), map.columns.len());
        self.cells(map)
            .into_iter()
            .filter(|cell| {
                let around = |center: usize, reach: usize, end: usize| {
                    center.saturating_sub(reach)..(center + reach + 1).min(end)
                };
                around(cell.row, self.samples_per_symbol, rows).all(|row| {
                    around(cell.column, 1, columns).all(|column| map.at(row, column) <= map.at(cell.row, cell.column))
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cfar(false_alarm_probability: f64) -> Cfar {
        Cfar { false_alarm_probability, training: 8, guard: 2, samples_per_symbol: 2 }
    }

    #[test]
    fn the_threshold_of_one_look_is_the_textbook_one() {
        // (1 + t/m)^−m = p.
        let (p, m) = (1e-4f64, 16.0);
        assert!((cfar(p).threshold(1, 16) - m * (p.powf(-1.0 / m) - 1.0)).abs() < 1e-6);
    }

    #[test]
    fn exponential_noise_of_any_level_alarms_at_the_set_rate() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(9);
        for (looks, level) in [(1, 1.0), (2, 50.0), (8, 0.01)] {
            let (rows, columns) = (4000, 25);
            let mut cell = || {
                let sum: f64 = (0..looks).map(|_| -(1.0 - random.random::<f64>()).ln()).sum();
                (level * sum / looks as f64) as f32
            };
            let map = Map {
                path_m: vec![0.0; rows],
                columns: vec![0.0; columns],
                power: (0..rows * columns).map(|_| cell()).collect(),
                looks,
            };
            let alarms = cfar(1e-2).cells(&map).len() as f64;
            // 1 000 expected of 100 000 independent cells: five deviations, and a little for shared training cells.
            assert!((alarms - 1000.0).abs() < 200.0, "{alarms} with {looks} looks");
        }
    }
}
