//! Finding frames in a stream of unknown start, phase and carrier offset.
//!
//! The semantic stream's preamble word is sent twice. Two cheap looks at the samples say where it may be: both copies matched
//! at once by FFT, for three hypotheses of the carrier offset about zero, which finds the weakest frames; and the samples'
//! correlation with themselves one word later, which no carrier offset changes. Around such a place the word is matched at
//! every lag for all carrier offsets up to [`WIDEST`], by a transform of the samples times the word. Place and offset are
//! found together because a Zadoff–Chu word that is shifted in frequency looks like one that is shifted in time. The
//! statistic is normalised by the energy that is there, so that its threshold is a false-alarm probability whatever the
//! level.

use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use super::frame::PREAMBLE_WORD;
use crate::dsp::{PulseShaper, SPAN_SYMBOLS};

/// Length of the search's transform.
pub(super) const SEARCH: usize = 8192;

/// Carrier offsets tried at every lag, in cycles per symbol: together they cover ±1/256.
const HYPOTHESES: [f64; 3] = [-1.0 / 384.0, 0.0, 1.0 / 384.0];

/// Largest carrier offset looked for, in cycles per symbol.
pub(super) const WIDEST: f64 = 0.36;

/// False alarms per search.
const FALSE_ALARM: f64 = 1e-6;

/// What the normalised square of the correlation with one word later must reach, in the mean of noise alone, for a closer
/// look: noise does so once in e⁵ tries.
const WORTH_A_LOOK: f32 = 5.0;

/// Readings of one place that are kept.
const CANDIDATES: usize = 6;

/// How much likelier an offset within the first look's hypotheses counts than others, once that look found something.
const SMALL_OFFSET_BONUS: f32 = 1.1;

/// Symbols on either side of a peak in which all paths of a frame lie.
const PATHS_REACH: usize = 8;

/// Where a frame begins and what its carrier is off by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// Sample at which the first preamble's first pulse begins.
    pub at: usize,
    /// Carrier offset in cycles per symbol, to 1/512.
    pub carrier: f64,
}

/// Searches for the preamble.
pub(super) struct Searcher {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// Conjugate transforms of the shaped word, one per hypothesis.
    templates: Vec<Vec<Complex32>>,
    /// The shaped word's conjugate.
    shaped: Vec<Complex32>,
    template_energy: f32,
    samples_per_symbol: usize,
    /// Samples between the two copies.
    repeat: usize,
    /// Lags at which the samples searched hold both copies.
    lags: usize,
    threshold: f32,
    /// Transform over the samples times the word, its bins up to the widest offset to either side.
    close: Arc<dyn Fft<f32>>,
    bins: usize,
    product: Vec<Complex32>,
    /// Powers of these bins, lag by lag.
    powers: Vec<f32>,
    /// Largest statistic of each bin, and its lag.
    peaks: Vec<(f32, usize)>,
    /// How likely each bin is.
    likelihoods: Vec<f32>,
    /// What was found last, the likeliest first, and how many of them were given out.
    candidates: [Option<Found>; CANDIDATES],
    tried: usize,
    /// What makes a statistic of a power, by lag.
    inverse_energies: Vec<f32>,
    samples: Vec<Complex32>,
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
        let mut shaped = vec![Complex32::default(); samples_per_symbol * (word.len() + 2 * SPAN_SYMBOLS)];
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
        // Bins of 1/256 cycles per symbol: between two of them a word loses 0.9 dB.
        let close = planner.plan_fft_forward(2 * repeat);
        let bins = 2 * (WIDEST * (2 * PREAMBLE_WORD) as f64).ceil() as usize + 1;
        let length = [&forward, &inverse, &close].map(|fft| fft.get_inplace_scratch_len()).into_iter().max();
        Self {
            forward,
            inverse,
            templates,
            template_energy: shaped.iter().map(Complex32::norm_sqr).sum(),
            shaped: shaped.iter().map(Complex32::conj).collect(),
            samples_per_symbol,
            repeat,
            lags: 0,
            threshold: noise_threshold(2 * repeat, SEARCH * HYPOTHESES.len()),
            product: vec![Complex32::default(); 2 * repeat],
            powers: vec![0.0; 3 * repeat * bins],
            peaks: vec![(0.0, 0); bins],
            likelihoods: vec![0.0; bins],
            candidates: [None; CANDIDATES],
            tried: 0,
            inverse_energies: vec![0.0; 2 * repeat],
            close,
            bins,
            samples: vec![Complex32::default(); SEARCH],
            spectrum: vec![Complex32::default(); SEARCH],
            correlation: vec![Complex32::default(); SEARCH],
            energies: vec![0.0; SEARCH + 1],
            statistics: vec![0.0; SEARCH],
            scratch: vec![Complex32::default(); length.unwrap_or(0)],
        }
    }

    /// Samples at the end of a search in which a frame's start is not looked for.
    pub(super) fn overlap(&self) -> usize {
        3 * self.repeat
    }

    /// Where the first frame in `samples` (at most [`SEARCH`], shorter ones count as followed by silence) begins.
    pub(super) fn search(&mut self, samples: &[Complex32]) -> Option<Found> {
        self.samples[..samples.len()].copy_from_slice(samples);
        self.samples[samples.len()..].fill(Complex32::default());
        let mut total = 0.0;
        for (n, sample) in self.samples.iter().enumerate() {
            self.energies[n] = total;
            total += f64::from(sample.norm_sqr());
        }
        self.energies[SEARCH] = total;
        (self.candidates, self.tried) = ([None; CANDIDATES], 0);
        // What is no number is nowhere.
        if !total.is_finite() {
            return None;
        }
        self.lags = samples.len().saturating_sub(self.overlap());
        let near_zero = self.match_both_copies();
        let anywhere = self.repetition();
        let (first, second) = match (near_zero, anywhere) {
            (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
            (a, b) => (a.or(b), None),
        };
        let _ = [first, second].into_iter().flatten().any(|near| self.look_around(near, near_zero.is_some()));
        if let Some(at) = near_zero {
            // The first look's hypotheses stand closer together: what it found may be too weak for the second.
            self.add(Found { at, carrier: 0.0 });
        }
        self.next_candidate()
    }

    /// The next likely reading of what was found last. A word shifted in frequency looks like itself shifted in time, the
    /// more weakly the less of its pulses' band it shares with it; which of the readings holds, the header tells.
    pub(super) fn next_candidate(&mut self) -> Option<Found> {
        let next = self.candidates.get(self.tried).copied().flatten();
        self.tried += 1;
        next
    }

    fn add(&mut self, found: Found) {
        if let Some(free) = self.candidates.iter_mut().find(|candidate| candidate.is_none()) {
            *free = Some(found);
        }
    }

    /// The first lag about which both copies match under one of the hypotheses about a carrier offset of zero.
    fn match_both_copies(&mut self) -> Option<usize> {
        self.spectrum.copy_from_slice(&self.samples);
        self.forward.process_with_scratch(&mut self.spectrum, &mut self.scratch);
        self.statistics.fill(0.0);
        let window = 2 * self.repeat;
        let centre = SPAN_SYMBOLS * self.samples_per_symbol;
        let scale = 1.0 / (SEARCH as f32 * SEARCH as f32);
        for template in &self.templates {
            for ((value, sample), weight) in self.correlation.iter_mut().zip(&self.spectrum).zip(template) {
                *value = sample * weight;
            }
            self.inverse.process_with_scratch(&mut self.correlation, &mut self.scratch);
            for lag in 0..self.lags {
                let power = self.correlation[lag].norm_sqr() + self.correlation[lag + self.repeat].norm_sqr();
                let energy = self.energies[lag + centre + window] - self.energies[lag + centre];
                let statistic = power * scale / (self.template_energy * energy as f32).max(f32::MIN_POSITIVE);
                self.statistics[lag] = self.statistics[lag].max(statistic);
            }
        }
        self.first_peak(self.threshold)
    }

    /// The first lag about which the samples repeat themselves one word later. Tones repeat everywhere: what all lags have
    /// in common is taken out.
    fn repetition(&mut self) -> Option<usize> {
        let (repeat, centre) = (self.repeat, SPAN_SYMBOLS * self.samples_per_symbol);
        let lags = self.lags;
        let product = |n: usize| {
            let (x, y) = (self.samples[n].conj(), self.samples[n + repeat]);
            Complex64::new(f64::from(x.re), f64::from(x.im)) * Complex64::new(f64::from(y.re), f64::from(y.im))
        };
        let mut sum: Complex64 = (centre..centre + repeat).map(product).sum();
        let mut mean = Complex64::default();
        for lag in 0..lags {
            self.correlation[lag] = Complex32::new(sum.re as f32, sum.im as f32);
            mean += sum;
            sum += product(lag + centre + repeat) - product(lag + centre);
        }
        let mean = mean / lags as f64;
        let mean = Complex32::new(mean.re as f32, mean.im as f32);
        for lag in 0..lags {
            let energy = self.energies[lag + centre + 2 * repeat] - self.energies[lag + centre];
            let half = (0.5 * energy as f32).max(f32::MIN_POSITIVE);
            self.statistics[lag] = ((self.correlation[lag] - mean) / half).norm_sqr();
        }
        self.first_peak(WORTH_A_LOOK / repeat as f32)
    }

    /// The largest statistic within a preamble of the first that is no more than 4 dB below the largest of all.
    fn first_peak(&self, threshold: f32) -> Option<usize> {
        let lags = self.lags;
        let largest = self.statistics[..lags].iter().copied().fold(0.0, f32::max);
        let threshold = threshold.max(0.4 * largest);
        // One copy alone may cross the threshold before both match: the peak follows within the preamble.
        let first = self.statistics[..lags].iter().position(|statistic| *statistic > threshold)?;
        let near = first..(first + 2 * self.repeat).min(lags);
        near.max_by(|a, b| self.statistics[*a].total_cmp(&self.statistics[*b]))
    }

    /// Adds the likeliest lags and carrier offsets within a word of `near`; `false` where none is good enough.
    fn look_around(&mut self, near: usize, near_zero: bool) -> bool {
        let (repeat, bins) = (self.repeat, self.bins);
        let from = near.saturating_sub(repeat);
        let until = (near + repeat).min(self.lags);
        let length = self.shaped.len();
        let points = self.product.len();
        for (lag, powers) in (from..until + repeat).zip(self.powers.chunks_exact_mut(bins)) {
            let (product, silence) = self.product.split_at_mut(length);
            for ((to, sample), word) in product.iter_mut().zip(&self.samples[lag..]).zip(&self.shaped) {
                *to = sample * word;
            }
            silence.fill(Complex32::default());
            self.close.process_with_scratch(&mut self.product, &mut self.scratch);
            for (bin, power) in powers.iter_mut().enumerate() {
                *power = self.product[(bin + points - bins / 2) % points].norm_sqr();
            }
        }
        let centre = SPAN_SYMBOLS * self.samples_per_symbol;
        let power = |lag: usize, bin: usize| {
            self.powers[(lag - from) * bins + bin] + self.powers[(lag - from + repeat) * bins + bin]
        };
        self.peaks.fill((0.0, 0));
        for lag in from..until {
            let energy = self.energies[lag + centre + 2 * repeat] - self.energies[lag + centre];
            let scale = 1.0 / (self.template_energy * energy as f32).max(f32::MIN_POSITIVE);
            self.inverse_energies[lag - from] = scale;
            for (bin, peak) in self.peaks.iter_mut().enumerate() {
                let statistic = power(lag, bin) * scale;
                if statistic > peak.0 {
                    *peak = (statistic, lag);
                }
            }
        }
        let largest = self.peaks.iter().map(|peak| peak.0).fold(0.0, f32::max);
        if largest <= self.threshold {
            return false;
        }
        // Of several paths one may be stronger at a wrong offset than another at the right one, but all of them together
        // are not.
        let reach = PATHS_REACH * self.samples_per_symbol;
        for (bin, likelihood) in self.likelihoods.iter_mut().enumerate() {
            let (statistic, lag) = self.peaks[bin];
            let lags = lag.saturating_sub(reach).max(from)..(lag + reach + 1).min(until);
            let all_paths: f32 = lags.map(|lag| power(lag, bin) * self.inverse_energies[lag - from]).sum();
            let small = near_zero && bin.abs_diff(bins / 2) <= 1;
            let bonus = if small { SMALL_OFFSET_BONUS } else { 1.0 };
            *likelihood = if statistic > 0.35 * largest { bonus * all_paths } else { 0.0 };
        }
        for _ in 0..CANDIDATES - 1 {
            let best = (0..bins).max_by(|a, b| self.likelihoods[*a].total_cmp(&self.likelihoods[*b])).unwrap_or(0);
            if self.likelihoods[best] <= 0.0 {
                break;
            }
            let around = best.saturating_sub(1)..(best + 2).min(bins);
            let bin = around.max_by(|a, b| self.peaks[*a].0.total_cmp(&self.peaks[*b].0)).unwrap_or(best);
            let carrier = (bin as f64 - (bins / 2) as f64) / (2 * PREAMBLE_WORD) as f64;
            let found = Found { at: self.peaks[bin].1, carrier };
            self.add(found);
            self.likelihoods[best.saturating_sub(2)..(best + 3).min(bins)].fill(0.0);
        }
        true
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

    /// How many of 100 preambles are found in noise of this variance, their carriers spread over ± `widest` cycles a symbol.
    fn found_of_100(widest: f64, noise_variance: f64) -> usize {
        let words = Words::new(4);
        let mut searcher = Searcher::new(&words.semantic.preamble, 2, 0.25);
        let mut symbols = words.semantic.preamble.clone();
        symbols.extend_from_slice(&words.semantic.preamble);
        let mut shaped = vec![Complex32::default(); 2 * (256 + 32)];
        PulseShaper::new(256, 2, 0.25).shape(&symbols, &mut shaped);
        let noise = Noise::new(4, 0, noise_variance);
        let mut found = 0;
        for trial in 0..100usize {
            let offset = -widest + 2.0 * widest * trial as f64 / 99.0;
            let start = 37 * trial;
            let mut samples = vec![Complex32::default(); SEARCH];
            samples[start..][..shaped.len()].copy_from_slice(&shaped);
            crate::dsp::rotate(&mut samples, 1.0, std::f64::consts::PI * offset);
            noise.add(trial as u64, &mut samples);
            let close = |found: Found| found.at.abs_diff(start) <= 1 && (found.carrier - offset).abs() < 1.0 / 256.0;
            let first = searcher.search(&samples);
            found += usize::from(first.into_iter().chain(std::iter::from_fn(|| searcher.next_candidate())).any(close));
        }
        found
    }

    #[test]
    fn preambles_are_found_at_minus_5_db_with_small_carrier_offsets() {
        let found = found_of_100(0.0039, 2.0 * 10f64.powf(0.5));
        assert!(found >= 99, "{found} of 100");
    }

    #[test]
    fn preambles_are_found_at_0_db_wherever_in_its_range_the_carrier_is() {
        let found = found_of_100(0.35, 2.0);
        assert!(found >= 98, "{found} of 100");
    }
}
