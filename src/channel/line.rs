//! A delay line: the recent past of one complex stream, read at any fractional delay.

use num_complex::Complex32;

use crate::dsp::{DelayTaps, FILTER_LATENCY, FILTER_TAPS};

/// Holds `history` samples before the newest chunk.
#[derive(Debug, Clone)]
pub(super) struct DelayLine {
    samples: Vec<Complex32>,
    history: usize,
    chunk: usize,
}

impl DelayLine {
    /// For delays up to `longest` samples and chunks up to `chunk` samples.
    pub(super) fn new(longest: usize, chunk: usize) -> Self {
        let history = longest + FILTER_TAPS;
        Self { samples: vec![Complex32::default(); history + chunk], history, chunk: 0 }
    }

    /// Takes in the next `length` samples, written by `fill`.
    pub(super) fn push(&mut self, length: usize, fill: impl FnOnce(&mut [Complex32])) {
        self.samples.copy_within(self.chunk..self.chunk + self.history, 0);
        self.chunk = length;
        fill(&mut self.samples[self.history..][..length]);
    }

    /// The stream delayed, for the samples `from .. from + output.len()` of the newest chunk. The delay is at least
    /// [`FILTER_LATENCY`] samples and at most what the line was made for.
    pub(super) fn read(&self, taps: &DelayTaps, from: usize, output: &mut [Complex32]) {
        let begin = (self.history + from) as i64 - taps.reach_back();
        debug_assert!(begin >= 0 && taps.reach_back() >= 2 * FILTER_LATENCY as i64 - 1);
        taps.apply(&self.samples[begin as usize..][..output.len() + FILTER_TAPS - 1], output);
    }
}
