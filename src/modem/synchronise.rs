//! Finding frames in a stream of unknown start, phase and carrier offset.
//!
//! The semantic stream's preamble word is sent twice. Both copies are matched at once by FFT, for three hypotheses of
//! the carrier offset, and the statistic is normalised by the energy that is there, so that its threshold is a
//! false-alarm probability whatever the level.

use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use super::frame::PREAMBLE_WORD;
use crate::dsp::PulseShaper;

/// Length of the search's transform.
pub(super) const SEARCH: usize = 8192;

/// Carrier offsets tried, in cycles per symbol: together they cover ±1/256.
const HYPOTHESES: [f64; 3] = [-1.0 / 384.0, 0.0, 1.0 / 384.0];

/// False alarms per search.
const FALSE_ALARM: f64 = 1e-6;

/// Searches for the preamble.
pub(super) struct Searcher {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// Conjugate transforms of the shaped word, one per hypothesis.
    templates: Vec<Vec<Complex32>>,
    template_energy: f32,
    /// Samples between the two copies.
    repeat: usize,
    threshold: f32,
    spectrum: Vec<Complex32>,
    correlation: Vec<Complex32>,
    energies: Vec<f64>,
    /// Largest statistic over the hypotheses, by lag.
    statistics: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl Searcher {
    pub(super) fn new(word: &[Complex32], samples_per_symbol: usize, roll_off: f64) -> Self {
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(SEARCH), planner.plan_fft_inverse(SEARCH));
        let mut shaped = vec![Complex32::default(); samples_per_symbol * (word.len() + 2 * crate::dsp::SPAN_SYMBOLS)];
        PulseShaper::new(word.len(), samples_per_symbol, roll_off).shape(word, &mut shaped);
        let templates = HYPOTHESES
            .iter()
            .map(|offset| {
                let mut template = vec![Complex32::default(); SEARCH];
                for (n, (to, from)) in template.iter_mut().zip(&shaped).enumerate() {
                    let turn = Complex64::cis(std::f64::consts::TAU * offset * n as f64 / samples_per_symbol as f64);
                    *to = from * Complex32::new(turn.re as f32, turn.im as f32);
                }
                forward.process(&mut template);
                template.iter_mut().for_each(|value| *value = value.conj());
                template
            })
            .collect();
        let repeat = samples_per_symbol * PREAMBLE_WORD;
        let length = forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len());
        Self {
            forward,
            inverse,
            templates,
            template_energy: shaped.iter().map(Complex32::norm_sqr).sum(),
            repeat,
            threshold: noise_threshold(2 * repeat, SEARCH * HYPOTHESES.len()),
            spectrum: vec![Complex32::default(); SEARCH],
            correlation: vec![Complex32::default(); SEARCH],
            energies: vec![0.0; SEARCH + 1],
            statistics: vec![0.0; SEARCH],
            scratch: vec![Complex32::default(); length],
        }
    }

    /// Samples at the end of a search in which a frame's start is not looked for.
    pub(super) fn overlap(&self) -> usize {
        3 * self.repeat
    }

    /// The sample at which the first preamble's first pulse begins, if one is in `samples` (at most [`SEARCH`], shorter ones
    /// count as followed by silence).
    pub(super) fn search(&mut self, samples: &[Complex32]) -> Option<usize> {
        self.spectrum[..samples.len()].copy_from_slice(samples);
        self.spectrum[samples.len()..].fill(Complex32::default());
        let mut total = 0.0;
        for (n, sample) in self.spectrum.iter().enumerate() {
            self.energies[n] = total;
            total += f64::from(sample.norm_sqr());
        }
        self.energies[SEARCH] = total;
        self.forward.process_with_scratch(&mut self.spectrum, &mut self.scratch);
        self.statistics.fill(0.0);
        let window = 2 * self.repeat;
        let centre = crate::dsp::SPAN_SYMBOLS * self.repeat / PREAMBLE_WORD;
        let scale = 1.0 / (SEARCH as f32 * SEARCH as f32);
        for template in &self.templates {
            for ((value, sample), weight) in self.correlation.iter_mut().zip(&self.spectrum).zip(template) {
                *value = sample * weight;
            }
            self.inverse.process_with_scratch(&mut self.correlation, &mut self.scratch);
            for lag in 0..SEARCH - self.overlap() {
                let power = self.correlation[lag].norm_sqr() + self.correlation[lag + self.repeat].norm_sqr();
                let energy = self.energies[lag + centre + window] - self.energies[lag + centre];
                let statistic = power * scale / (self.template_energy * energy as f32).max(f32::MIN_POSITIVE);
                self.statistics[lag] = self.statistics[lag].max(statistic);
            }
        }
        // One copy alone may cross the threshold before both match: the peak follows within the preamble.
        let first = self.statistics.iter().position(|statistic| *statistic > self.threshold)?;
        let near = first..(first + window).min(SEARCH);
        near.max_by(|a, b| self.statistics[*a].total_cmp(&self.statistics[*b]))
    }
}

/// Level of the normalised statistic that noise alone exceeds with probability [`FALSE_ALARM`] in `positions` tries:
/// the sum of two exponential variables over the energy of `window` samples, P(> t) = (1 + wt) e^{−wt}.
fn noise_threshold(window: usize, positions: usize) -> f32 {
    let target = FALSE_ALARM / positions as f64;
    let mut x = 1.0f64;
    for _ in 0..100 {
        x = ((1.0 + x) / target).ln();
    }
    (x / window as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Noise;
    use crate::modem::words::Words;

    #[test]
    fn noise_alone_raises_no_alarm_in_two_hundred_searches() {
        let words = Words::new(4);
        let mut searcher = Searcher::new(&words.semantic.preamble, 2, 0.25);
        let noise = Noise::new(3, 0, 1.0);
        for trial in 0..200 {
            let mut samples = vec![Complex32::default(); SEARCH];
            noise.add(trial, &mut samples);
            assert_eq!(searcher.search(&samples), None);
        }
    }

    #[test]
    fn preambles_are_found_at_minus_5_db_and_the_largest_carrier_offset() {
        let words = Words::new(4);
        let mut searcher = Searcher::new(&words.semantic.preamble, 2, 0.25);
        let mut symbols = words.semantic.preamble.clone();
        symbols.extend_from_slice(&words.semantic.preamble);
        let mut shaped = vec![Complex32::default(); 2 * (256 + 32)];
        PulseShaper::new(256, 2, 0.25).shape(&symbols, &mut shaped);
        let noise = Noise::new(4, 0, 2.0 * 10f64.powf(0.5));
        let mut found = 0;
        for trial in 0..100usize {
            let offset = -0.0039 + 0.0078 * trial as f64 / 99.0;
            let start = 37 * trial;
            let mut samples = vec![Complex32::default(); SEARCH];
            samples[start..][..shaped.len()].copy_from_slice(&shaped);
            crate::dsp::rotate(&mut samples, 1.0, std::f64::consts::PI * offset);
            noise.add(trial as u64, &mut samples);
            found += usize::from(searcher.search(&samples).is_some_and(|at| at.abs_diff(start) <= 1));
        }
        assert!(found >= 99, "{found} of 100");
    }
}
