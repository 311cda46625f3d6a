//! Root-raised-cosine pulses: shaping to `sps` samples per symbol, and the matched filter at any timing.

use std::f64::consts::PI;

use num_complex::Complex32;

use super::{fir, fir_accumulate, fir_pair};

/// Symbols on either side of its centre that a pulse reaches.
pub const SPAN_SYMBOLS: usize = 16;

/// Samples by which a shaped frame is longer than its symbols.
pub const fn tail_samples(samples_per_symbol: usize) -> usize {
    2 * SPAN_SYMBOLS * samples_per_symbol
}

/// The root-raised-cosine pulse at `time` symbol periods from its centre, for unit energy per symbol period.
pub fn root_raised_cosine(time: f64, roll_off: f64) -> f64 {
    let edge = 4.0 * roll_off * time;
    if time.abs() < 1e-9 {
        1.0 - roll_off + 4.0 * roll_off / PI
    } else if (edge.abs() - 1.0).abs() < 1e-7 {
        let angle = PI / (4.0 * roll_off);
        roll_off / 2f64.sqrt() * ((1.0 + 2.0 / PI) * angle.sin() + (1.0 - 2.0 / PI) * angle.cos())
    } else {
        let numerator = (PI * time * (1.0 - roll_off)).sin() + edge * (PI * time * (1.0 + roll_off)).cos();
        numerator / (PI * time * (1.0 - edge * edge))
    }
}

/// Shapes rows of symbols. Symbol `n` is centred at sample `sps·(n + SPAN_SYMBOLS)`.
#[derive(Debug, Clone)]
pub struct PulseShaper {
    /// One filter per phase, in the order [`fir`] applies them.
    phases: Vec<Vec<f32>>,
    padded: Vec<Complex32>,
    shaped: Vec<Complex32>,
    /// The first symbols of the row before, and what came of them: frames begin alike.
    head: Vec<Complex32>,
    shaped_head: Vec<Complex32>,
}

/// First symbols of a row that are kept: a preamble.
const HEAD: usize = 256;

impl PulseShaper {
    /// A shaper for rows of up to `symbols` symbols.
    pub fn new(symbols: usize, samples_per_symbol: usize, roll_off: f64) -> Self {
        let taps = 2 * SPAN_SYMBOLS + 1;
        let energy: f64 = (0..=2 * SPAN_SYMBOLS * samples_per_symbol)
            .map(|n| root_raised_cosine(n as f64 / samples_per_symbol as f64 - SPAN_SYMBOLS as f64, roll_off).powi(2))
            .sum();
        let scale = (samples_per_symbol as f64 / energy).sqrt();
        let phases = (0..samples_per_symbol)
            .map(|phase| {
                (0..taps)
                    .map(|k| {
                        let time = phase as f64 / samples_per_symbol as f64 + SPAN_SYMBOLS as f64 - k as f64;
                        if time > SPAN_SYMBOLS as f64 {
                            0.0
                        } else {
                            (scale * root_raised_cosine(time, roll_off)) as f32
                        }
                    })
                    .collect()
            })
            .collect();
        Self {
            phases,
            padded: vec![Complex32::default(); symbols + 4 * SPAN_SYMBOLS],
            shaped: vec![Complex32::default(); symbols + 2 * SPAN_SYMBOLS],
            // Symbols of zero have pulses of zero.
            head: vec![Complex32::default(); HEAD],
            shaped_head: vec![Complex32::default(); samples_per_symbol * HEAD],
        }
    }

    /// Shapes `symbols` into `samples`, which holds `sps·(symbols.len() + 2·SPAN_SYMBOLS)` samples: the whole linear
    /// convolution.
    pub fn shape(&mut self, symbols: &[Complex32], samples: &mut [Complex32]) {
        let sps = self.phases.len();
        let span = 2 * SPAN_SYMBOLS;
        self.padded[..span].fill(Complex32::default());
        self.padded[span..][..symbols.len()].copy_from_slice(symbols);
        self.padded[span + symbols.len()..][..span].fill(Complex32::default());
        // A sample follows from symbols up to its own: where these are known, so is the sample.
        let head = symbols.get(..HEAD);
        let begin = if head.is_some_and(|head| head == self.head) { HEAD } else { 0 };
        samples[..sps * begin].copy_from_slice(&self.shaped_head[..sps * begin]);
        let count = symbols.len() + span - begin;
        let padded = &self.padded[begin..][..count + span];
        let later = &mut samples[sps * begin..][..sps * count];
        if let [first, second] = &self.phases[..] {
            fir_pair(padded, [first, second], later);
        } else {
            for (phase, taps) in self.phases.iter().enumerate() {
                let shaped = &mut self.shaped[..count];
                fir(padded, taps, shaped);
                for (sample, value) in later[phase..].iter_mut().step_by(sps).zip(shaped.iter()) {
                    *sample = *value;
                }
            }
        }
        if let Some(head) = head.filter(|_| begin == 0) {
            self.head.copy_from_slice(head);
            self.shaped_head.copy_from_slice(&samples[..sps * HEAD]);
        }
    }
}

/// The matched filter at an arbitrary timing: samples in, symbols out, unit gain.
#[derive(Debug, Clone)]
pub struct MatchedFilter {
    samples_per_symbol: usize,
    /// The taps at [`FRACTIONS`] timings between two samples and at the second of these, each in the order of `taps`.
    table: Vec<f32>,
    taps: Vec<f32>,
    /// The samples of each phase of a symbol.
    polyphase: Vec<Vec<Complex32>>,
}

/// Timings between two samples at which the matched filter's taps are written out. Lines between them miss the pulse by
/// less than −85 dB.
const FRACTIONS: usize = 64;

/// Symbols filtered at one timing where the timing drifts: 100 ppm move it by 1/80 of a symbol meanwhile.
const DRIFT_SEGMENT: usize = 128;

/// Drift of the timing over all symbols, in samples, that one timing in the middle serves.
const UNNOTICED_DRIFT: f64 = 0.004;

impl MatchedFilter {
    /// A filter for up to `symbols` symbols at a time.
    pub fn new(symbols: usize, samples_per_symbol: usize, roll_off: f64) -> Self {
        let per_phase = 2 * SPAN_SYMBOLS + 1;
        let taps = samples_per_symbol * per_phase;
        let mut table = vec![0.0; (FRACTIONS + 1) * taps];
        for (step, taps) in table.chunks_exact_mut(taps).enumerate() {
            let fraction = step as f64 / FRACTIONS as f64;
            for (phase, taps) in taps.chunks_exact_mut(per_phase).enumerate() {
                for (k, tap) in taps.iter_mut().enumerate() {
                    let offset =
                        (samples_per_symbol * k + phase) as f64 - (samples_per_symbol * SPAN_SYMBOLS) as f64 - fraction;
                    let time = offset / samples_per_symbol as f64;
                    if time.abs() <= SPAN_SYMBOLS as f64 {
                        *tap = (root_raised_cosine(time, roll_off) / samples_per_symbol as f64) as f32;
                    }
                }
            }
        }
        Self {
            samples_per_symbol,
            table,
            taps: vec![0.0; taps],
            polyphase: vec![vec![Complex32::default(); symbols + per_phase]; samples_per_symbol],
        }
    }

    /// Samples that [`Self::filter`] needs for `symbols` symbols.
    pub fn samples_for(&self, symbols: usize) -> usize {
        self.samples_per_symbol * (symbols + 2 * SPAN_SYMBOLS)
    }

    /// Filters `symbols.len()` symbols whose pulses are centred at samples
    /// `sps·(n + SPAN_SYMBOLS) + fraction` of `samples`, 0 ≤ `fraction` < 1.
    pub fn filter(&mut self, samples: &[Complex32], fraction: f64, symbols: &mut [Complex32]) {
        let sps = self.samples_per_symbol;
        let per_phase = 2 * SPAN_SYMBOLS + 1;
        let place = fraction.clamp(0.0, 1.0) * FRACTIONS as f64;
        let below = (place as usize).min(FRACTIONS - 1);
        let share = (place - below as f64) as f32;
        let (before, after) = self.table[below * self.taps.len()..].split_at(self.taps.len());
        for ((tap, before), after) in self.taps.iter_mut().zip(before).zip(after) {
            *tap = before + share * (after - before);
        }
        let count = symbols.len() + per_phase - 1;
        if let [first, second] = &mut self.polyphase[..] {
            let pairs = samples.as_chunks::<2>().0;
            for ((first, second), pair) in first[..count].iter_mut().zip(&mut second[..count]).zip(pairs) {
                [*first, *second] = *pair;
            }
            // Of an odd number of samples the last one is the first of a pair.
            if let Some((place, last)) = first[..count].get_mut(pairs.len()).zip(samples.get(2 * pairs.len())) {
                *place = *last;
            }
        } else {
            for (phase, polyphase) in self.polyphase.iter_mut().enumerate() {
                for (value, sample) in polyphase[..count].iter_mut().zip(samples[phase..].iter().step_by(sps)) {
                    *value = *sample;
                }
            }
        }
        let phases = self.polyphase.iter().zip(self.taps.chunks_exact(per_phase));
        for (phase, (polyphase, taps)) in phases.enumerate() {
            let polyphase = &polyphase[..count];
            if phase == 0 { fir(polyphase, taps, symbols) } else { fir_accumulate(polyphase, taps, symbols) }
        }
    }

    /// As [`Self::filter`], where each symbol comes `sps + drift` samples after the one before, the first at `fraction` as
    /// there. `samples` holds as many more as the drift takes.
    pub fn filter_drifting(&mut self, samples: &[Complex32], fraction: f64, drift: f64, symbols: &mut [Complex32]) {
        let count = symbols.len();
        if (drift * count as f64).abs() < UNNOTICED_DRIFT {
            self.filter(samples, fraction, symbols);
            return;
        }
        for (segment, symbols) in symbols.chunks_mut(DRIFT_SEGMENT).enumerate() {
            let first = segment * DRIFT_SEGMENT;
            let middle = first as f64 + 0.5 * symbols.len() as f64;
            let begin = (self.samples_per_symbol * first) as f64 + fraction + drift * middle;
            let whole = begin.floor().max(0.0);
            let needed = self.samples_for(symbols.len());
            let from = (whole as usize).min(samples.len().saturating_sub(needed));
            self.filter(&samples[from..], begin - whole, symbols);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn symbols(count: usize) -> Vec<Complex32> {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        let mut sign = || if random.random() { 0.5f32.sqrt() } else { -(0.5f32.sqrt()) };
        (0..count).map(|_| Complex32::new(sign(), sign())).collect()
    }

    #[test]
    fn shaping_and_matched_filtering_return_the_symbols_within_minus_45_db() {
        for sps in [1, 2, 4] {
            let sent = symbols(400);
            let mut shaper = PulseShaper::new(400, sps, 0.25);
            let mut filter = MatchedFilter::new(400, sps, 0.25);
            let mut samples = vec![Complex32::default(); sps * (400 + 2 * SPAN_SYMBOLS)];
            shaper.shape(&sent, &mut samples);
            let mut received = vec![Complex32::default(); 400];
            if sps == 1 {
                // One sample per symbol aliases the roll-off: only the power scale is claimed.
                let power: f32 = samples.iter().map(Complex32::norm_sqr).sum::<f32>() / 400.0;
                assert!((power - 1.0).abs() < 0.1, "{power}");
                continue;
            }
            filter.filter(&samples, 0.0, &mut received);
            let error: f32 = received.iter().zip(&sent).map(|(a, b)| (a - b).norm_sqr()).sum::<f32>() / 400.0;
            assert!(10.0 * error.log10() < -45.0, "{} dB at {sps}", 10.0 * error.log10());
        }
    }

    #[test]
    fn unit_power_symbols_have_unit_mean_sample_power() {
        for sps in [2, 4] {
            let sent = symbols(4000);
            let mut shaper = PulseShaper::new(4000, sps, 0.25);
            let mut samples = vec![Complex32::default(); sps * (4000 + 2 * SPAN_SYMBOLS)];
            shaper.shape(&sent, &mut samples);
            let power: f32 = samples.iter().map(Complex32::norm_sqr).sum::<f32>() / (4000 * sps) as f32;
            assert!((power - 1.0).abs() < 0.01, "{power}");
        }
    }

    #[test]
    fn shaping_equals_the_sum_of_pulses_written_out() {
        let sent = symbols(9);
        let mut samples = vec![Complex32::default(); 2 * (9 + 2 * SPAN_SYMBOLS)];
        PulseShaper::new(9, 2, 0.25).shape(&sent, &mut samples);
        let energy: f64 = (-32..=32).map(|n| root_raised_cosine(f64::from(n) / 2.0, 0.25).powi(2)).sum();
        let scale = (2.0 / energy).sqrt();
        for (m, sample) in samples.iter().enumerate() {
            let mut expected = Complex32::default();
            for (n, symbol) in sent.iter().enumerate() {
                let time = m as f64 / 2.0 - n as f64 - SPAN_SYMBOLS as f64;
                if time.abs() <= SPAN_SYMBOLS as f64 {
                    expected += symbol * (scale * root_raised_cosine(time, 0.25)) as f32;
                }
            }
            assert!((sample - expected).norm() < 1e-5, "sample {m}");
        }
    }

    #[test]
    fn rows_that_begin_alike_are_shaped_as_if_alone() {
        let mut sent = symbols(600);
        for sps in [1, 2, 3] {
            let mut shaper = PulseShaper::new(600, sps, 0.25);
            for (changed, length) in [(599, 600), (300, 600), (256, 400), (255, 400), (0, 300), (299, 256), (20, 100)] {
                sent[changed] = -sent[changed];
                let mut kept = vec![Complex32::ONE; sps * (length + 2 * SPAN_SYMBOLS)];
                let mut alone = kept.clone();
                shaper.shape(&sent[..length], &mut kept);
                PulseShaper::new(600, sps, 0.25).shape(&sent[..length], &mut alone);
                assert_eq!(kept, alone, "symbol {changed} of {length}");
            }
        }
    }

    #[test]
    fn a_clock_that_runs_fast_is_followed_to_minus_40_db() {
        // The waveform as a receiver with a clock 100 ppm fast samples it, from the pulses written out.
        let (sent, sps, ppm) = (symbols(600), 2, 100e-6);
        let energy: f64 = (-32..=32).map(|n| root_raised_cosine(f64::from(n) / 2.0, 0.25).powi(2)).sum();
        let scale = (2.0 / energy).sqrt();
        let samples: Vec<_> = (0..sps * (600 + 2 * SPAN_SYMBOLS) + 2)
            .map(|m| {
                let at = m as f64 / 2.0 / (1.0 + ppm) - SPAN_SYMBOLS as f64;
                let mut sum = Complex32::default();
                for (n, symbol) in sent.iter().enumerate() {
                    if (at - n as f64).abs() <= SPAN_SYMBOLS as f64 {
                        sum += symbol * (scale * root_raised_cosine(at - n as f64, 0.25)) as f32;
                    }
                }
                sum
            })
            .collect();
        let mut filter = MatchedFilter::new(600, sps, 0.25);
        let mut received = vec![Complex32::default(); 600];
        let mut error = |drift: f64| {
            filter.filter_drifting(&samples, 32.0 * ppm, drift, &mut received);
            let error: f32 = received.iter().zip(&sent).map(|(a, b)| (a - b).norm_sqr()).sum::<f32>() / 600.0;
            10.0 * error.log10()
        };
        let (followed, not) = (error(2.0 * ppm), error(0.0));
        assert!(followed < -40.0 && not > -30.0, "{followed} dB, {not} dB");
    }
}
