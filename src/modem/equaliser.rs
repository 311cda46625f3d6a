//! Several paths: their taps from the preamble, and the linear equaliser of least mean square error that they call for.
//!
//! Taps stand a symbol apart at the matched filter's output, about the strongest path. The two preamble words make a signal
//! of period 128 whose transform has the same modulus in every bin, so that a circular correlation is the least-squares fit
//! of all 128 taps at once. Those inside a window are the channel, those outside show the noise. What is known of the taps'
//! mean powers from the frames before weighs each tap by how much of it is signal; where nothing but the strongest is left,
//! nothing is equalised.

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

pub(super) struct Equaliser {
    word_forward: Arc<dyn Fft<f32>>,
    word_inverse: Arc<dyn Fft<f32>>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// Conjugate transform of the word, over what makes taps of it.
    word: Vec<Complex32>,
    /// The sensing stream's word.
    sensing: Vec<Complex32>,
    scratch: Vec<Complex32>,
    folded: Vec<Complex32>,
    /// Taps of the frame at hand, weighed.
    taps: [Complex32; TAPS],
    /// Noise in one tap's power, and in one symbol.
    tap_noise: f64,
    noise: f64,
    /// Mean powers of the taps, noise taken out, and frames that they were seen in.
    powers: [f64; TAPS],
    frames: f64,
    /// The same with the frame at hand.
    latest: [f64; TAPS],
    weights: Vec<Complex32>,
    block: Vec<Complex32>,
    equalised: Vec<Complex32>,
}

impl Equaliser {
    /// For frames of up to `longest` symbols whose preamble word is `word` on the semantic stream and `sensing` on the other.
    pub(super) fn new(word: &[Complex32], sensing: &[Complex32], longest: usize) -> Self {
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
            sensing: sensing.to_vec(),
            scratch: vec![Complex32::ZERO; lengths.into_iter().max().unwrap_or(0)],
            folded: vec![Complex32::ZERO; PREAMBLE_WORD],
            taps: [Complex32::ZERO; TAPS],
            tap_noise: 0.0,
            noise: 0.0,
            powers: [0.0; TAPS],
            frames: 0.0,
            latest: [0.0; TAPS],
            weights: vec![Complex32::ZERO; POINTS],
            block: vec![Complex32::ZERO; POINTS],
            equalised: vec![Complex32::ZERO; longest + ADVANCE],
        }
    }

    /// Forgets the channel.
    pub(super) fn reset(&mut self) {
        (self.powers, self.frames) = ([0.0; TAPS], 0.0);
    }

    /// Keeps what the frame at hand showed.
    pub(super) fn keep(&mut self) {
        (self.powers, self.frames) = (self.latest, (self.frames + 1.0).min(MEMORY));
    }

    /// Taps of the frame that begins with `preamble`, the sensing stream coming through with gain `b`; whether there are
    /// several.
    pub(super) fn fit(&mut self, preamble: &[Complex32], b: Complex32) -> bool {
        // Every tap's symbols are known from LATER on, and until EARLIER before the end: two periods less that.
        let (from, until) = (LATER, PREAMBLE - EARLIER);
        let (head, tail) = (until - PREAMBLE_WORD, from);
        for (n, folded) in self.folded.iter_mut().enumerate() {
            let (first, second) = (preamble[n], preamble[n + PREAMBLE_WORD]);
            let mean = match (n >= tail, n < head) {
                (true, true) => (first + second) * 0.5,
                (true, false) => first,
                _ => second,
            };
            *folded = mean - b * self.sensing[n];
        }
        self.word_forward.process_with_scratch(&mut self.folded, &mut self.scratch);
        self.folded.iter_mut().zip(&self.word).for_each(|(bin, word)| *bin *= word);
        self.word_inverse.process_with_scratch(&mut self.folded, &mut self.scratch);
        let outside = &self.folded[LATER + 1..PREAMBLE_WORD - EARLIER];
        let energy: f64 = outside.iter().map(|tap| f64::from(tap.norm_sqr())).sum();
        self.tap_noise = energy / outside.len() as f64;
        // Symbols in both periods have half the noise.
        let twice = head.saturating_sub(tail) as f64;
        let mean_noise = (PREAMBLE_WORD as f64 - 0.5 * twice) / PREAMBLE_WORD as f64;
        self.noise = self.tap_noise * PREAMBLE_WORD as f64 / mean_noise;
        let frames = (self.frames + 1.0).min(MEMORY);
        // A mean of so many frames leaves so much of one frame's scatter, which is the noise itself.
        let clear = if frames < 2.0 { 5.0 } else { 3.5 / frames.sqrt() };
        let (mut further, mut strongest) = (0.0, 0.0f64);
        for n in 0..TAPS {
            let tap = self.folded[(n + PREAMBLE_WORD - EARLIER) % PREAMBLE_WORD];
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
        let worth = if frames < 4.0 { WORTH_AT_FIRST } else { WORTH };
        further > worth * self.noise && further > LEAST * strongest
    }

    /// Writes what the fitted taps, and the sensing stream with gain `b`, do not explain of a preamble, from symbol [`LATER`]
    /// on; `words` are those of both streams.
    pub(super) fn leave(&self, preamble: &[Complex32], words: [&[Complex32]; 2], b: Complex32, left: &mut [Complex32]) {
        left.copy_from_slice(&preamble[LATER..LATER + left.len()]);
        for (k, tap) in self.taps.iter().enumerate().filter(|(_, tap)| **tap != Complex32::ZERO) {
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
        self.taps.iter().enumerate().map(|(n, tap)| (n as isize - EARLIER as isize, *tap))
    }

    /// Equalises all symbols: the smallest mean square error under the fitted taps, noise and `interference` a symbol.
    /// What lies outside of `symbols` counts as zero.
    pub(super) fn equalise(&mut self, symbols: &mut [Complex32], interference: f64) {
        self.weights.fill(Complex32::ZERO);
        for (n, tap) in self.taps.iter().enumerate() {
            self.weights[(n + POINTS - EARLIER) % POINTS] = *tap;
        }
        self.forward.process_with_scratch(&mut self.weights, &mut self.scratch);
        // What is not known of the taps adds to the noise.
        let unsure: f64 = self.taps.iter().filter(|tap| **tap != Complex32::ZERO).count() as f64 * self.tap_noise;
        let noise = (self.noise + interference + unsure).max(f64::MIN_POSITIVE) as f32;
        for weight in &mut self.weights {
            *weight = weight.conj() / ((weight.norm_sqr() + noise) * POINTS as f32);
        }
        let count = symbols.len();
        for from in (0..count).step_by(ADVANCE) {
            let (begin, end) = (from.saturating_sub(OVERLAP), (from + ADVANCE + OVERLAP).min(count));
            self.block.fill(Complex32::ZERO);
            self.block[begin + OVERLAP - from..][..end - begin].copy_from_slice(&symbols[begin..end]);
            self.forward.process_with_scratch(&mut self.block, &mut self.scratch);
            self.block.iter_mut().zip(&self.weights).for_each(|(bin, weight)| *bin *= weight);
            self.inverse.process_with_scratch(&mut self.block, &mut self.scratch);
            self.equalised[from..from + ADVANCE].copy_from_slice(&self.block[OVERLAP..OVERLAP + ADVANCE]);
        }
        symbols.copy_from_slice(&self.equalised[..count]);
    }

    /// Noise of a symbol by the taps outside of the window.
    pub(super) fn noise(&self) -> f64 {
        self.noise
    }
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
        let mut one = Equaliser::new(word, sensing, 1696);
        for seed in 0..200 {
            alone += usize::from(one.fit(&received(&words, &two[..1], noise, seed).1, Complex32::ZERO));
            one.keep();
        }
        assert!(alone <= 8, "{alone} of 200 frames over one path were equalised");
        let mut equaliser = Equaliser::new(word, sensing, 1696);
        let (mut error, mut count) = (0.0, 0.0);
        for seed in 0..20 {
            let (sent, mut symbols) = received(&words, &two, noise, seed);
            assert!(equaliser.fit(&symbols, Complex32::ZERO));
            equaliser.keep();
            equaliser.equalise(&mut symbols, 0.0);
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
