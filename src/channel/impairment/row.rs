//! Faults of single rows of an array: a gain, phase and delay of its own, a dead or conjugated row, two rows exchanged.

use num_complex::{Complex32, Complex64};

use super::{BLOCK, Impairment, amplitude, single};
use crate::channel::line::DelayLine;
use crate::dsp::{DelayTaps, FILTER_LATENCY};

/// What is wrong with a row beyond gain, phase and delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFault {
    /// It is silent.
    Dead,
    /// Its spectrum is inverted.
    Conjugated,
}

/// One row is not as the others are.
pub struct RowError {
    row: usize,
    factor: Complex32,
    fault: Option<RowFault>,
    taps: DelayTaps,
    /// Of every row: those without a delay of their own must be as late as the filter.
    lines: Vec<DelayLine>,
    on_time: DelayTaps,
}

/// Longest delay of a row, in samples.
pub const MAX_ROW_DELAY: f64 = 64.0;

impl RowError {
    /// Row `row` of `rows` has a gain, a phase, a delay in samples (up to 64.0) and perhaps a fault.
    pub fn new(
        row: usize,
        [gain_db, phase_deg, delay_samples]: [f64; 3],
        fault: Option<RowFault>,
        rows: usize,
    ) -> Self {
        let latency = FILTER_LATENCY as f64;
        let line = DelayLine::new(MAX_ROW_DELAY as usize + FILTER_LATENCY + 1, BLOCK);
        let mut error = Self {
            row,
            factor: Complex32::ONE,
            fault,
            taps: DelayTaps::new(latency),
            lines: vec![line; rows],
            on_time: DelayTaps::new(latency),
        };
        error.set([gain_db, phase_deg, delay_samples], fault);
        error
    }

    /// Other errors from the next sample on.
    pub fn set(&mut self, [gain_db, phase_deg, delay_samples]: [f64; 3], fault: Option<RowFault>) {
        self.factor = single(Complex64::from_polar(amplitude(gain_db), phase_deg.to_radians()));
        self.taps = DelayTaps::new(FILTER_LATENCY as f64 + delay_samples.clamp(0.0, MAX_ROW_DELAY));
        self.fault = fault;
    }

    fn change(&self, samples: &mut [Complex32]) {
        match self.fault {
            Some(RowFault::Dead) => samples.fill(Complex32::default()),
            Some(RowFault::Conjugated) => samples.iter_mut().for_each(|sample| *sample = sample.conj() * self.factor),
            None => samples.iter_mut().for_each(|sample| *sample *= self.factor),
        }
    }
}

impl Impairment for RowError {
    fn lag(&self) -> usize {
        FILTER_LATENCY
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        for (index, row) in rows.iter_mut().enumerate() {
            let taps = if index == self.row { &self.taps } else { &self.on_time };
            for piece in row.chunks_mut(BLOCK) {
                self.lines[index].push(piece.len(), |newest| newest.copy_from_slice(piece));
                self.lines[index].read(taps, 0, piece);
            }
            if index == self.row {
                self.change(row);
            }
        }
    }
}

/// Two rows exchanged: a cable in the wrong place.
#[derive(Debug, Clone)]
pub struct RowSwap(pub usize, pub usize);

impl Impairment for RowSwap {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        if self.0 != self.1 && self.0.max(self.1) < rows.len() {
            let (low, high) = rows.split_at_mut(self.0.max(self.1));
            low[self.0.min(self.1)].swap_with_slice(high[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tone, white, whole};
    use super::*;

    #[test]
    fn a_row_is_turned_and_late_and_the_other_is_only_as_late_as_the_filter() {
        let make = || Box::new(RowError::new(1, [-3.0, 20.0, 0.75], None, 2)) as Box<dyn Impairment>;
        let [first, second] = whole(make, [tone(5000, 0.2), tone(5000, 0.2)]);
        let turn = std::f64::consts::TAU * 0.2;
        for n in (100..5000).step_by(49) {
            let on_time = Complex64::cis(turn * (n as f64 - 12.0));
            let late = Complex64::from_polar(amplitude(-3.0), 20f64.to_radians() - turn * 0.75) * on_time;
            assert!((single(on_time) - first[n]).norm() < 1e-4 && (single(late) - second[n]).norm() < 1e-4, "{n}");
        }
    }

    #[test]
    fn faults_do_what_their_names_say() {
        let make = |fault| move || Box::new(RowError::new(0, [0.0; 3], Some(fault), 2)) as Box<dyn Impairment>;
        let dead = whole(make(RowFault::Dead), [tone(2000, 0.1), tone(2000, 0.1)]);
        assert!(dead[0].iter().all(|x| x.norm() == 0.0) && (dead[1][1000].norm() - 1.0).abs() < 1e-3);
        let turned = whole(make(RowFault::Conjugated), [tone(2000, 0.1), tone(2000, 0.1)]);
        assert!(turned[0].iter().zip(&turned[1]).all(|(x, y)| (x - y.conj()).norm() < 1e-4));
        let (first, second) = (white(3000, 1), white(3000, 2));
        let swapped = whole(|| Box::new(RowSwap(1, 0)), [first.clone(), second.clone()]);
        assert_eq!(swapped, [second, first]);
    }
}
