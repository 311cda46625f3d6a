//! Several paths: their taps from the preamble, and the linear equaliser of least mean square error that they call for.
//!
//! Taps stand a symbol apart at the matched filter's output, about the strongest path. The two preamble words make a signal
//! of period 128 whose transform has the same modulus in every bin, so that a circular correlation is the least-squares fit
//! of all 128 taps at once. Those inside a window are the channel, those outside show the noise. What is known of the taps'
//! mean powers from the frames before weighs each tap by how much of it is signal; where nothing but the strongest is left,
//! nothing is equalised.
//!
//! One sample a symbol folds the edges of the band onto each other, and paths that lie between symbols can cancel there what
//! each edge would still show. With the symbols' values half a symbol later as well the two edges are told apart again, and
//! each adds to the symbol what it is worth.

use std::f32::consts::PI;
use std::sync::Arc;

use num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::frame::{PREAMBLE, PREAMBLE_WORD};

/// Taps before the strongest path's.
pub(super) const EARLIER: usize = 16;
/// Taps after it.
pub(super) const LATER: usize = 32;
/// Taps in the window.
const TAPS: usize = EARLIER + 1 + LATER;

/// Length of the equaliser's transform.
const POINTS: usize = 512;
/// Symbols on either side that overlap with the next transform: the equaliser's reach.
const OVERLAP: usize = 96;
/// Symbols that one transform equalises.
const ADVANCE: usize = POINTS - 2 * OVERLAP;

/// Frames over which the taps' powers are averaged.
const MEMORY: f64 = 8.0;
/// Power of all further taps, in noise of a symbol, from which on equalising is worth it.
const WORTH: f64 = 0.02;
/// The same where only few frames were seen.
const WORTH_AT_FIRST: f64 = 0.12;
/// The same in the power of the strongest tap: what timing and filters leave between symbols anyway is below.
const LEAST: f64 = 1e-4;
/// Share of the pulse's power below which the edge of the band that is folded back is left out.
const FAINT: f32 = 0.01;

/// The taps at one of the two times within a symbol.
#[derive(Debug, Clone)]
struct Phase {
    /// The sensing stream's word at this time.
    sensing: Vec<Complex32>,
    /// Taps of the frame at hand, weighed.
    taps: [Complex32; TAPS],
    /// Noise in one tap's power.
    tap_noise: f64,
    /// Mean powers of the taps, noise taken out, and frames that they were seen in.
    powers: [f64; TAPS],
    frames: f64,
    /// The same with the frame at hand.
    latest: [f64; TAPS],
    /// Whether the frame at hand was looked at.
    fitted: bool,
}

impl Phase {
    fn new(sensing: Vec<Complex32>) -> Self {
        Self {
            sensing,
            taps: [Complex32::ZERO; TAPS],
            tap_noise: 0.0,
            powers: [0.0; TAPS],
            frames: 0.0,
            latest: [0.0; TAPS],
            fitted: false,
        }
    }

    fn reset(&mut self) {
        (self.powers, self.frames) = ([0.0; TAPS], 0.0);
    }

    fn keep(&mut self) {
        if self.fitted {
            (self.powers, self.frames) = (self.latest, (self.frames + 1.0).min(MEMORY));
        } else {
            self.reset();
        }
    }

    /// Weighs taps as measured: power of the strongest, and of all others but the one at [`EARLIER`].
    fn weigh(&mut self, measured: &[Complex32]) -> (f64, f64) {
        let outside = &measured[LATER + 1..PREAMBLE_WORD - EARLIER];
        let energy: f64 = outside.iter().map(|tap| f64::from(tap.norm_sqr())).sum();
        self.tap_noise = energy / outside.len() as f64;
        self.fitted = true;
        let frames = (self.frames + 1.0).min(MEMORY);
        // A mean of so many frames leaves so much of one frame's scatter, which is the noise itself.
        let clear = if frames < 2.0 { 5.0 } else { 3.5 / frames.sqrt() };
        let (mut further, mut strongest) = (0.0, 0.0f64);
        for n in 0..TAPS {
            let tap = measured[(n + PREAMBLE_WORD - EARLIER) % PREAMBLE_WORD];
            let power = f64::from(tap.norm_sqr());
            let latest = self.powers[n] + (power - self.tap_noise - self.powers[n]) / frames;
            self.latest[n] = latest;
            // A tap that stands out of this frame alone counts as well: paths come up.
            let known =
                if latest > clear * self.tap_noise || power > 9.0 * self.tap_noise { latest.max(0.0) } else { 0.0 };
            let own = (power - self.tap_noise).max(0.0);
            let believed = if known > 0.0 { known.max(0.5 * own) } else { 0.0 };
            let share = believed / (believed + self.tap_noise).max(f64::MIN_POSITIVE);
            self.taps[n] = tap * share as f32;
            strongest = strongest.max(believed);
            if n != EARLIER {
                further += believed;
            }
        }
        (strongest, further)
    }

    /// What is not known of the taps, which adds to the noise.
    fn unsure(&self) -> f64 {
        self.taps.iter().filter(|tap| **tap != Complex32::ZERO).count() as f64 * self.tap_noise
    }
}

pub(super) struct Equaliser {
    word_forward: Arc<dyn Fft<f32>>,
    word_inverse: Arc<dyn Fft<f32>>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// Conjugate transform of the word, over what makes taps of it.
    word: Vec<Complex32>,
    scratch: Vec<Complex32>,
    folded: Vec<Complex32>,
    /// At the symbols' times, and half a symbol later.
    phases: [Phase; 2],
    /// Noise of a symbol.
    noise: f64,
    /// Per bin, what turns the later values back, and the shares of the pulse's power inside the band and folded back into it.
    turns: Vec<Complex32>,
    pulse: Vec<[f32; 2]>,
    later: Vec<Complex32>,
    later_weights: Vec<Complex32>,
    weights: Vec<Complex32>,
    block: Vec<Complex32>,
    equalised: Vec<Complex32>,
}

impl Equaliser {
    /// For frames of up to `longest` symbols, of pulses with this roll-off, whose preamble word is `word` on the semantic
    /// stream and `sensing` on the other.
    pub(super) fn new(word: &[Complex32], sensing: &[Complex32], longest: usize, roll_off: f64) -> Self {
        let mut planner = FftPlanner::new();
        let word_forward = planner.plan_fft_forward(PREAMBLE_WORD);
        let word_inverse = planner.plan_fft_inverse(PREAMBLE_WORD);
        let (forward, inverse) = (planner.plan_fft_forward(POINTS), planner.plan_fft_inverse(POINTS));
        let lengths = [&word_forward, &word_inverse, &forward, &inverse].map(|fft| fft.get_inplace_scratch_len());
        let mut transformed = word.to_vec();
        word_forward.process(&mut transformed);
        // The modulus of every bin is √128, and the inverse transform wants another 1/128.
        let scale = 1.0 / (PREAMBLE_WORD * PREAMBLE_WORD) as f32;
        transformed.iter_mut().for_each(|bin| *bin = bin.conj() * scale);
        Self {
            word_forward,
            word_inverse,
            forward,
            inverse,
            word: transformed,
            phases: [Phase::new(sensing.to_vec()), Phase::new(half_a_symbol_later(sensing, roll_off))],
            turns: (0..POINTS).map(|bin| Complex32::cis(-PI * frequency(bin, POINTS))).collect(),
            pulse: (0..POINTS).map(|bin| pulse(frequency(bin, POINTS), roll_off as f32)).collect(),
            later: vec![Complex32::ZERO; POINTS],
            later_weights: vec![Complex32::ZERO; POINTS],
            scratch: vec![Complex32::ZERO; lengths.into_iter().max().unwrap_or(0)],
            folded: vec![Complex32::ZERO; PREAMBLE_WORD],
            noise: 0.0,
            weights: vec![Complex32::ZERO; POINTS],
            block: vec![Complex32::ZERO; POINTS],
            equalised: vec![Complex32::ZERO; longest + ADVANCE],
        }
    }

    /// Forgets the channel.
    pub(super) fn reset(&mut self) {
        self.phases.iter_mut().for_each(Phase::reset);
    }

    /// Keeps what the frame at hand showed.
    pub(super) fn keep(&mut self) {
        self.phases.iter_mut().for_each(Phase::keep);
    }

    /// Taps of the frame that begins with `preamble`, the sensing stream coming through with gain `b`; whether there are
    /// several.
    pub(super) fn fit(&mut self, preamble: &[Complex32], b: Complex32) -> bool {
        self.phases[1].fitted = false;
        let (strongest, further) = self.measure(0, preamble, b);
        // Symbols in both periods have half the noise.
        let twice = (PREAMBLE - EARLIER - PREAMBLE_WORD).saturating_sub(LATER) as f64;
        let mean_noise = (PREAMBLE_WORD as f64 - 0.5 * twice) / PREAMBLE_WORD as f64;
        self.noise = self.phases[0].tap_noise * PREAMBLE_WORD as f64 / mean_noise;
        let worth = if self.phases[0].frames < 3.0 { WORTH_AT_FIRST } else { WORTH };
        further > worth * self.noise && further > LEAST * strongest
    }

    /// The same for the values half a symbol later, of which [`Self::equalise`] then makes use.
    pub(super) fn fit_later(&mut self, preamble: &[Complex32], b: Complex32) {
        self.measure(1, preamble, b);
    }

    /// Taps at one of the two times: power of the strongest, and of all others but the one at [`EARLIER`].
    fn measure(&mut self, phase: usize, preamble: &[Complex32], b: Complex32) -> (f64, f64) {
        // Every tap's symbols are known from LATER on, and until EARLIER before the end: two periods less that.
        let (from, until) = (LATER, PREAMBLE - EARLIER);
        let (head, tail) = (until - PREAMBLE_WORD, from);
        let sensing = &self.phases[phase].sensing;
        for (n, folded) in self.folded.iter_mut().enumerate() {
            let (first, second) = (preamble[n], preamble[n + PREAMBLE_WORD]);
            let mean = match (n >= tail, n < head) {
                (true, true) => (first + second) * 0.5,
                (true, false) => first,
                _ => second,
            };
            *folded = mean - b * sensing[n];
        }
        self.word_forward.process_with_scratch(&mut self.folded, &mut self.scratch);
        self.folded.iter_mut().zip(&self.word).for_each(|(bin, word)| *bin *= word);
        self.word_inverse.process_with_scratch(&mut self.folded, &mut self.scratch);
        self.phases[phase].weigh(&self.folded)
    }

    /// Writes what the fitted taps, and the sensing stream with gain `b`, do not explain of a preamble, from symbol [`LATER`]
    /// on; `words` are those of both streams.
    pub(super) fn leave(&self, preamble: &[Complex32], words: [&[Complex32]; 2], b: Complex32, left: &mut [Complex32]) {
        left.copy_from_slice(&preamble[LATER..LATER + left.len()]);
        for (k, tap) in self.phases[0].taps.iter().enumerate().filter(|(_, tap)| **tap != Complex32::ZERO) {
            let first = LATER + EARLIER + PREAMBLE_WORD - k;
            for (n, left) in left.iter_mut().enumerate() {
                *left -= tap * words[0][(n + first) % PREAMBLE_WORD];
            }
        }
        for (n, left) in left.iter_mut().enumerate() {
            *left -= b * words[1][(n + LATER) % PREAMBLE_WORD];
        }
    }

    /// Taps and their places after the strongest path's, in symbols.
    pub(super) fn taps(&self) -> impl Iterator<Item = (isize, Complex32)> {
        self.phases[0].taps.iter().enumerate().map(|(n, tap)| (n as isize - EARLIER as isize, *tap))
    }

    /// Equalises all symbols: the smallest mean square error under the fitted taps, noise and `interference` a symbol.
    /// What lies outside of `symbols` counts as zero. `later` are the values half a symbol later, for which
    /// [`Self::fit_later`] was called, where there are any.
    pub(super) fn equalise(&mut self, symbols: &mut [Complex32], later: Option<&[Complex32]>, interference: f64) {
        let Self { forward, inverse, scratch, weights, later_weights, phases, .. } = self;
        for (weights, phase) in [&mut *weights, later_weights].into_iter().zip(phases.iter()) {
            weights.fill(Complex32::ZERO);
            for (n, tap) in phase.taps.iter().enumerate() {
                weights[(n + POINTS - EARLIER) % POINTS] = *tap;
            }
            forward.process_with_scratch(weights, scratch);
        }
        let noise = (self.noise + interference + phases[0].unsure()).max(f64::MIN_POSITIVE) as f32;
        for (n, weight) in weights.iter_mut().enumerate() {
            if later.is_none() {
                *weight = weight.conj() / ((weight.norm_sqr() + noise) * POINTS as f32);
                continue;
            }
            // Half the sum is what lies inside the band, half the difference what was folded back into it.
            let turned = self.turns[n] * later_weights[n];
            let [inside, folded] = [(*weight + turned) * 0.5, (*weight - turned) * 0.5];
            let [own, other] = self.pulse[n];
            // Noise has the pulse's shape: each part is weighed by its own.
            let inside = inside.conj() / own;
            let folded = if other > FAINT { folded.conj() / other } else { Complex32::ZERO };
            let power = inside.norm_sqr() * own + folded.norm_sqr() * other;
            let factor = 1.0 / ((power + noise) * POINTS as f32);
            *weight = (inside + folded) * (0.5 * factor);
            later_weights[n] = (inside - folded) * (0.5 * factor) * self.turns[n];
        }
        let count = symbols.len();
        for from in (0..count).step_by(ADVANCE) {
            let (begin, end) = (from.saturating_sub(OVERLAP), (from + ADVANCE + OVERLAP).min(count));
            let mut transform = |values: &[Complex32], block: &mut [Complex32], weights: &[Complex32]| {
                block.fill(Complex32::ZERO);
                block[begin + OVERLAP - from..][..end - begin].copy_from_slice(&values[begin..end]);
                forward.process_with_scratch(block, scratch);
                block.iter_mut().zip(weights).for_each(|(bin, weight)| *bin *= weight);
            };
            transform(symbols, &mut self.block, weights);
            if let Some(later) = later {
                transform(later, &mut self.later, later_weights);
                self.block.iter_mut().zip(&self.later).for_each(|(bin, later)| *bin += later);
            }
            inverse.process_with_scratch(&mut self.block, scratch);
            self.equalised[from..from + ADVANCE].copy_from_slice(&self.block[OVERLAP..OVERLAP + ADVANCE]);
        }
        symbols.copy_from_slice(&self.equalised[..count]);
    }

    /// Noise of a symbol by the taps outside of the window.
    pub(super) fn noise(&self) -> f64 {
        self.noise
    }
}

/// Frequency of a bin in cycles per symbol, from -1/2 on.
fn frequency(bin: usize, bins: usize) -> f32 {
    let frequency = bin as f32 / bins as f32;
    if 2 * bin < bins { frequency } else { frequency - 1.0 }
}

/// Power of the raised cosine at a frequency within half a cycle per symbol, and of what is folded onto it.
fn pulse(frequency: f32, roll_off: f32) -> [f32; 2] {
    let over = frequency.abs() - 0.5 * (1.0 - roll_off);
    let own = if over <= 0.0 { 1.0 } else { 0.5 + 0.5 * (PI * over / roll_off).cos() };
    [own, 1.0 - own]
}

/// Values half a symbol after each symbol of a word that repeats itself, shaped by the raised cosine.
fn half_a_symbol_later(word: &[Complex32], roll_off: f64) -> Vec<Complex32> {
    let mut planner = FftPlanner::new();
    let mut values = word.to_vec();
    planner.plan_fft_forward(word.len()).process(&mut values);
    for (bin, value) in values.iter_mut().enumerate() {
        let frequency = frequency(bin, word.len());
        let [own, other] = pulse(frequency, roll_off as f32);
        *value *= Complex32::cis(PI * frequency) * ((own - other) / word.len() as f32);
    }
    planner.plan_fft_inverse(word.len()).process(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Noise;
    use crate::modem::words::Words;
    use num_complex::Complex64;

    /// Random symbols after the preamble, through these taps, with noise of this variance.
    fn received(words: &Words, taps: &[(usize, Complex32)], noise: f64, seed: u64) -> (Vec<Complex32>, Vec<Complex32>) {
        let mut sent = [&words.semantic.preamble[..], &words.semantic.preamble[..]].concat();
        let mut bits = vec![Complex32::ZERO; 1440];
        Noise::new(seed, 7, 1.0).add(0, &mut bits);
        let point = |x: f32| if x > 0.0 { 0.5f32.sqrt() } else { -(0.5f32.sqrt()) };
        sent.extend(bits.iter().map(|x| Complex32::new(point(x.re), point(x.im))));
        let mut symbols = vec![Complex32::ZERO; sent.len()];
        for (delay, gain) in taps {
            for n in *delay..sent.len() {
                symbols[n] += gain * sent[n - delay];
            }
        }
        Noise::new(seed, 8, noise).add(0, &mut symbols);
        (sent, symbols)
    }

    #[test]
    fn one_path_is_left_alone_and_two_are_equalised_to_the_bound() {
        let words = Words::new(4);
        let (word, sensing) = (&words.semantic.preamble, &words.sensing.preamble);
        let two = [(0, Complex32::ONE), (3, Complex32::from_polar(0.7, 2.0))];
        let noise = 0.05;
        let mut alone = 0;
        let mut one = Equaliser::new(word, sensing, 1696, 0.25);
        for seed in 0..200 {
            alone += usize::from(one.fit(&received(&words, &two[..1], noise, seed).1, Complex32::ZERO));
            one.keep();
        }
        assert!(alone <= 8, "{alone} of 200 frames over one path were equalised");
        let mut equaliser = Equaliser::new(word, sensing, 1696, 0.25);
        let (mut error, mut count) = (0.0, 0.0);
        for seed in 0..20 {
            let (sent, mut symbols) = received(&words, &two, noise, seed);
            assert!(equaliser.fit(&symbols, Complex32::ZERO));
            equaliser.keep();
            equaliser.equalise(&mut symbols, None, 0.0);
            let inner = 300..1600;
            let gain: Complex32 =
                inner.clone().map(|n| symbols[n] * sent[n].conj()).sum::<Complex32>() / inner.len() as f32;
            for n in inner {
                error += f64::from((symbols[n] / gain - sent[n]).norm_sqr());
                count += 1.0;
            }
        }
        let bins = 1024;
        let mean: f64 = (0..bins)
            .map(|bin| {
                let turn = Complex64::cis(-std::f64::consts::TAU * 3.0 * f64::from(bin) / f64::from(bins));
                let gain = (1.0 + Complex64::from_polar(0.7, 2.0) * turn).norm_sqr();
                1.0 / (1.0 + gain / noise)
            })
            .sum::<f64>()
            / f64::from(bins);
        let (found, bound) = (10.0 * (count / error).log10(), 10.0 * (1.0 / mean - 1.0).log10());
        // 26 000 symbols scatter by 0.03 dB; two taps of 186 symbols each cost 0.05.
        assert!(found < bound + 0.1 && found > bound - 0.25, "{found} of {bound} dB");
    }
}
