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
/// Symbols of the window in which a block is equalised again.
pub(super) const WINDOW: usize = POINTS;
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
/// Most of the taps' walk that one frame may show, and from which multiple of what is known it is a sudden change, in a tap's
/// noise.
const MOST_WALK: f64 = 100.0;
const SUDDEN: f64 = 8.0;
/// Passes in which the sensing stream is told from further paths.
const SEPARATIONS: usize = 4;
/// Share of the pulse's power below which the edge of the band that is folded back is left out.
const FAINT: f32 = 0.01;

/// The taps at one of the two times within a symbol.
///
/// Over a channel that stands still the taps of the frames before say more than those of the frame at hand. Their mean is
/// turned and scaled to the frame, and a Kalman filter weighs both: what frames differ by beyond their noise is taken as the
/// channel's walk.
#[derive(Debug, Clone)]
struct Phase {
    /// Taps of the frame at hand, weighed.
    taps: [Complex32; TAPS],
    /// Noise in the power of a tap measured in one frame, and in that of the taps at hand.
    tap_noise: f64,
    left_noise: f64,
    /// Mean of the taps, not weighed, the noise in each one's power relative to a frame's, and the walk between frames
    /// likewise.
    mean: [Complex32; TAPS],
    mean_noise: f64,
    walk: f64,
    /// The same with the frame at hand.
    next: ([Complex32; TAPS], f64, f64),
    /// Mean powers of the taps, noise taken out, and frames that they were seen in.
    powers: [f64; TAPS],
    frames: f64,
    /// The same with the frame at hand.
    latest: [f64; TAPS],
    /// Whether the frame at hand was looked at.
    fitted: bool,
}

impl Phase {
    fn new() -> Self {
        Self {
            taps: [Complex32::ZERO; TAPS],
            tap_noise: 0.0,
            left_noise: 0.0,
            mean: [Complex32::ZERO; TAPS],
            mean_noise: 0.0,
            walk: 0.0,
            next: ([Complex32::ZERO; TAPS], 0.0, 0.0),
            powers: [0.0; TAPS],
            frames: 0.0,
            latest: [0.0; TAPS],
            fitted: false,
        }
    }

    fn reset(&mut self) {
        (self.powers, self.frames) = ([0.0; TAPS], 0.0);
    }

    /// The taps of the frame at hand with what the frames before say of them.
    fn filter(&mut self, measured: &[Complex32; TAPS]) {
        self.left_noise = self.tap_noise;
        self.next = (*measured, 1.0, 0.0);
        let energy: f64 = self.mean.iter().map(|tap| f64::from(tap.norm_sqr())).sum();
        if self.frames == 0.0 || energy <= 0.0 || self.tap_noise <= 0.0 {
            return;
        }
        let turn: Complex32 =
            self.mean.iter().zip(measured).map(|(mean, tap)| mean.conj() * tap).sum::<Complex32>() / energy as f32;
        let expected = self.mean.map(|mean| mean * turn);
        let off: f64 = expected.iter().zip(measured).map(|(a, b)| f64::from((a - b).norm_sqr())).sum();
        // In noise of one tap; one of the dimensions went into the turn.
        let off = off / (self.tap_noise * (TAPS - 1) as f64);
        let shown = (off - 1.0 - self.mean_noise).max(0.0);
        let walk = self.walk + (shown.min(MOST_WALK) - self.walk) / (1.0 + self.frames);
        // A channel that is suddenly another one begins anew.
        let before = self.mean_noise + walk.max(if shown > SUDDEN * (1.0 + walk) { shown } else { 0.0 });
        let gain = before / (before + 1.0);
        let after = |n: usize| expected[n] + (measured[n] - expected[n]) * gain as f32;
        self.next = (std::array::from_fn(after), gain, walk);
        self.left_noise = self.tap_noise * gain;
    }

    fn keep(&mut self) {
        if self.fitted {
            (self.mean, self.mean_noise, self.walk) = self.next;
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
        let measured: [Complex32; TAPS] =
            std::array::from_fn(|n| measured[(n + PREAMBLE_WORD - EARLIER) % PREAMBLE_WORD]);
        self.filter(&measured);
        for (n, tap) in measured.iter().enumerate() {
            let power = f64::from(tap.norm_sqr());
            let latest = self.powers[n] + (power - self.tap_noise - self.powers[n]) / frames;
            self.latest[n] = latest;
            // A tap that stands out of this frame alone counts as well: paths come up.
            let known =
                if latest > clear * self.tap_noise || power > 9.0 * self.tap_noise { latest.max(0.0) } else { 0.0 };
            let own = (power - self.tap_noise).max(0.0);
            let believed = if known > 0.0 { known.max(0.5 * own) } else { 0.0 };
            let share = believed / (believed + self.left_noise).max(f64::MIN_POSITIVE);
            self.taps[n] = self.next.0[n] * share as f32;
            strongest = strongest.max(believed);
            if n != EARLIER {
                further += believed;
            }
        }
        (strongest, further)
    }

    /// Power over all taps.
    fn power(&self) -> f64 {
        self.taps.iter().map(|tap| f64::from(tap.norm_sqr())).sum()
    }

    /// What is not known of the taps, which adds to the noise.
    fn unsure(&self) -> f64 {
        self.taps.iter().filter(|tap| **tap != Complex32::ZERO).count() as f64 * self.left_noise
    }
}

/// What one frame came over: the taps at both times within a symbol, the noise beside them and the sensing stream's gain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    taps: [[Complex32; TAPS]; 2],
    /// Whether the second time is made use of.
    pub(super) twice: bool,
    /// Noise of a symbol, with what is not known of the taps.
    noise: f64,
    /// The sensing stream's gain in the semantic one's.
    pub(super) share: Complex32,
}

impl Default for Channel {
    fn default() -> Self {
        Self { taps: [[Complex32::ZERO; TAPS]; 2], twice: false, noise: 0.0, share: Complex32::ZERO }
    }
}

pub(super) struct Equaliser {
    word_forward: Arc<dyn Fft<f32>>,
    word_inverse: Arc<dyn Fft<f32>>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// Transforms of both streams' words.
    words: [Vec<Complex32>; 2],
    /// The sensing stream's gain in the semantic one's: every path brings both streams.
    share: Complex32,
    scratch: Vec<Complex32>,
    /// A preamble's period, transformed, and its taps.
    folded: Vec<Complex32>,
    measured: Vec<Complex32>,
    /// The taps, transformed, over which the sensing stream is taken to come.
    believed: Vec<Complex32>,
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
    /// The taps of both times, transformed.
    responses: [Vec<Complex32>; 2],
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
        let words = [word, sensing].map(|word| {
            let mut transformed = word[..PREAMBLE_WORD].to_vec();
            word_forward.process(&mut transformed);
            transformed
        });
        Self {
            word_forward,
            word_inverse,
            forward,
            inverse,
            words,
            share: Complex32::ZERO,
            phases: [Phase::new(), Phase::new()],
            turns: (0..POINTS).map(|bin| Complex32::cis(-PI * frequency(bin, POINTS))).collect(),
            pulse: (0..POINTS).map(|bin| pulse(frequency(bin, POINTS), roll_off as f32)).collect(),
            later: vec![Complex32::ZERO; POINTS],
            later_weights: vec![Complex32::ZERO; POINTS],
            scratch: vec![Complex32::ZERO; lengths.into_iter().max().unwrap_or(0)],
            folded: vec![Complex32::ZERO; PREAMBLE_WORD],
            measured: vec![Complex32::ZERO; PREAMBLE_WORD],
            believed: vec![Complex32::ZERO; PREAMBLE_WORD],
            noise: 0.0,
            weights: vec![Complex32::ZERO; POINTS],
            responses: [vec![Complex32::ZERO; POINTS], vec![Complex32::ZERO; POINTS]],
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

    /// Taps of the frame that begins with `preamble`, over whose one path, if there is one, the streams come with gains `a` and
    /// `b`; whether there are several.
    pub(super) fn fit(&mut self, preamble: &[Complex32], [a, b]: [Complex32; 2]) -> bool {
        self.phases[1].fitted = false;
        self.share = if a == Complex32::ZERO { a } else { b / a };
        self.believed.fill(a);
        self.fold(preamble);
        self.measure();
        let (strongest, further) = self.phases[0].weigh(&self.measured);
        // Symbols in both periods have half the noise.
        let twice = (PREAMBLE - EARLIER - PREAMBLE_WORD).saturating_sub(LATER) as f64;
        let mean_noise = (PREAMBLE_WORD as f64 - 0.5 * twice) / PREAMBLE_WORD as f64;
        self.noise = self.phases[0].tap_noise * PREAMBLE_WORD as f64 / mean_noise;
        let worth = if self.phases[0].frames < 3.0 { WORTH_AT_FIRST } else { WORTH };
        let several = further > worth * self.noise && further > LEAST * strongest;
        if several {
            self.separate();
            self.phases[0].weigh(&self.measured);
            self.noise = self.phases[0].tap_noise * PREAMBLE_WORD as f64 / mean_noise;
        }
        several
    }

    /// The same for the values half a symbol later, of which [`Self::equalise`] then makes use.
    pub(super) fn fit_later(&mut self, preamble: &[Complex32]) {
        self.fold(preamble);
        self.believed.fill(Complex32::ZERO);
        self.measure();
        self.believe();
        self.measure();
        self.phases[1].weigh(&self.measured);
    }

    /// One period of a preamble, transformed.
    fn fold(&mut self, preamble: &[Complex32]) {
        // Every tap's symbols are known from LATER on, and until EARLIER before the end: two periods less that.
        let (from, until) = (LATER, PREAMBLE - EARLIER);
        let (head, tail) = (until - PREAMBLE_WORD, from);
        for (n, folded) in self.folded.iter_mut().enumerate() {
            let (first, second) = (preamble[n], preamble[n + PREAMBLE_WORD]);
            *folded = match (n >= tail, n < head) {
                (true, true) => (first + second) * 0.5,
                (true, false) => first,
                _ => second,
            };
        }
        self.word_forward.process_with_scratch(&mut self.folded, &mut self.scratch);
    }

    /// Taps of the period at hand without what the sensing stream brings over the taps that were believed last.
    fn measure(&mut self) {
        for bin in 0..PREAMBLE_WORD {
            let other = self.share * self.believed[bin] * self.words[1][bin];
            // The modulus of every bin is √128, and the inverse transform wants another 1/128.
            let scale = 1.0 / (PREAMBLE_WORD * PREAMBLE_WORD) as f32;
            self.measured[bin] = (self.folded[bin] - other) * self.words[0][bin].conj() * scale;
        }
        self.word_inverse.process_with_scratch(&mut self.measured, &mut self.scratch);
    }

    /// Believes the taps within the window.
    fn believe(&mut self) {
        self.believed.copy_from_slice(&self.measured);
        self.believed[LATER + 1..PREAMBLE_WORD - EARLIER].fill(Complex32::ZERO);
        self.word_forward.process_with_scratch(&mut self.believed, &mut self.scratch);
    }

    /// Finds the sensing stream's share beside several paths: taps outside of the window are none, so what the taps within do
    /// not explain is noise or the other stream.
    fn separate(&mut self) {
        self.share = Complex32::ZERO;
        let mut energy = 0.0;
        for _ in 0..SEPARATIONS {
            self.measure();
            self.believe();
            let mut sum = Complex32::ZERO;
            energy = 0.0;
            for bin in 0..PREAMBLE_WORD {
                let [semantic, sensing] = [0, 1].map(|stream| self.believed[bin] * self.words[stream][bin]);
                sum += sensing.conj() * (self.folded[bin] - semantic - self.share * sensing);
                energy += sensing.norm_sqr();
            }
            self.share += sum / energy.max(f32::MIN_POSITIVE);
        }
        // What noise alone would show of it is taken off.
        self.measure();
        let outside = &self.measured[LATER + 1..PREAMBLE_WORD - EARLIER];
        let tap_noise = outside.iter().map(Complex32::norm_sqr).sum::<f32>() / outside.len() as f32;
        let variance = tap_noise * (PREAMBLE_WORD * PREAMBLE_WORD) as f32 / energy.max(f32::MIN_POSITIVE);
        self.share *= (1.0 - variance / self.share.norm_sqr().max(f32::MIN_POSITIVE)).max(0.0).sqrt();
        self.measure();
    }

    /// Writes what the fitted taps do not explain of a preamble, from symbol [`LATER`] on; `words` are those of both streams.
    pub(super) fn leave(&self, preamble: &[Complex32], words: [&[Complex32]; 2], left: &mut [Complex32]) {
        left.copy_from_slice(&preamble[LATER..LATER + left.len()]);
        for (k, tap) in self.phases[0].taps.iter().enumerate().filter(|(_, tap)| **tap != Complex32::ZERO) {
            let first = LATER + EARLIER + PREAMBLE_WORD - k;
            for (n, left) in left.iter_mut().enumerate() {
                let place = (n + first) % PREAMBLE_WORD;
                *left -= tap * (words[0][place] + self.share * words[1][place]);
            }
        }
    }

    /// Taps and their places after the strongest path's, in symbols.
    pub(super) fn taps(&self) -> impl Iterator<Item = (isize, Complex32)> {
        self.phases[0].taps.iter().enumerate().map(|(n, tap)| (n as isize - EARLIER as isize, *tap))
    }

    /// What the frame at hand came over; `twice` where [`Self::fit_later`] was called for it.
    pub(super) fn channel(&self, twice: bool) -> Channel {
        let [now, later] = &self.phases;
        Channel { taps: [now.taps, later.taps], twice, noise: self.noise + now.unsure(), share: self.share }
    }

    /// Equalises all symbols: the smallest mean square error under the fitted taps, noise and the sensing stream.
    /// What lies outside of `symbols` counts as zero. `later` are the values half a symbol later, where the channel makes use
    /// of them.
    pub(super) fn equalise(&mut self, channel: &Channel, symbols: &mut [Complex32], later: &[Complex32]) {
        let interference = f64::from(channel.share.norm_sqr()) * self.phases[0].power();
        self.weigh(channel, 1.0, interference);
        let Self { forward, inverse, scratch, weights, later_weights, .. } = self;
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
            if channel.twice {
                transform(later, &mut self.later, later_weights);
                self.block.iter_mut().zip(&self.later).for_each(|(bin, later)| *bin += later);
            }
            inverse.process_with_scratch(&mut self.block, scratch);
            self.equalised[from..from + ADVANCE].copy_from_slice(&self.block[OVERLAP..OVERLAP + ADVANCE]);
        }
        symbols.copy_from_slice(&self.equalised[..count]);
    }

    /// Weights of the bins of both times under this channel, where so much of a symbol's power is unknown and so much noise
    /// comes to the channel's; the gain that a symbol has through channel and weights.
    fn weigh(&mut self, channel: &Channel, unknown: f32, interference: f64) -> f32 {
        let Self { forward, scratch, weights, later_weights, responses, .. } = self;
        let used = if channel.twice { 2 } else { 1 };
        for (response, taps) in responses.iter_mut().zip(&channel.taps).take(used) {
            response.fill(Complex32::ZERO);
            for (n, tap) in taps.iter().enumerate() {
                response[(n + POINTS - EARLIER) % POINTS] = *tap;
            }
            forward.process_with_scratch(response, scratch);
        }
        let noise = (channel.noise + interference).max(f64::MIN_POSITIVE) as f32;
        let mut gain = 0.0;
        let [now, later] = &*responses;
        for (n, weight) in weights.iter_mut().enumerate() {
            if !channel.twice {
                let power = now[n].norm_sqr();
                let factor = 1.0 / ((power * unknown + noise) * POINTS as f32);
                *weight = now[n].conj() * factor;
                gain += power * factor;
                continue;
            }
            // Half the sum is what lies inside the band, half the difference what was folded back into it.
            let turned = self.turns[n] * later[n];
            let [inside, folded] = [(now[n] + turned) * 0.5, (now[n] - turned) * 0.5];
            let [own, other] = self.pulse[n];
            // Noise has the pulse's shape: each part is weighed by its own.
            let inside = inside.conj() / own;
            let folded = if other > FAINT { folded.conj() / other } else { Complex32::ZERO };
            let power = inside.norm_sqr() * own + folded.norm_sqr() * other;
            let factor = 1.0 / ((power * unknown + noise) * POINTS as f32);
            *weight = (inside + folded) * (0.5 * factor);
            later_weights[n] = (inside - folded) * (0.5 * factor) * self.turns[n];
            gain += power * factor;
        }
        gain
    }

    /// Equalises the middle of a window of [`WINDOW`] symbols once more, given what is believed of all its symbols, both streams
    /// added, and the power that is unknown of one (Tüchler, Koetter and Singer 2002): what the belief explains is taken off,
    /// and of what is left each symbol gets what is its own. `received` are the symbols' values and those half a symbol later;
    /// where nothing is known of what was sent both are zero. Writes the symbols of unit gain into `middle`; returns the
    /// variance of their errors.
    pub(super) fn equalise_again(
        &mut self,
        channel: &Channel,
        received: [&[Complex32]; 2],
        believed: &[Complex32],
        unknown: f32,
        middle: &mut [Complex32],
    ) -> f32 {
        let gain = self.weigh(channel, unknown, 0.0);
        let Self { forward, inverse, scratch, .. } = self;
        let used = if channel.twice { 2 } else { 1 };
        self.equalised[..WINDOW].copy_from_slice(believed);
        forward.process_with_scratch(&mut self.equalised[..WINDOW], scratch);
        self.block.fill(Complex32::ZERO);
        let weights = [&self.weights, &self.later_weights];
        for ((received, response), weights) in received.iter().zip(&self.responses).zip(weights).take(used) {
            self.later.copy_from_slice(received);
            forward.process_with_scratch(&mut self.later, scratch);
            for n in 0..WINDOW {
                self.block[n] += (self.later[n] - response[n] * self.equalised[n]) * weights[n];
            }
        }
        inverse.process_with_scratch(&mut self.block, scratch);
        let from = (WINDOW - middle.len()) / 2;
        let scale = 1.0 / gain.max(f32::MIN_POSITIVE);
        for ((symbol, left), believed) in middle.iter_mut().zip(&self.block[from..]).zip(&believed[from..]) {
            *symbol = believed + left * scale;
        }
        (scale - unknown).max(f32::MIN_POSITIVE)
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
            alone +=
                usize::from(one.fit(&received(&words, &two[..1], noise, seed).1, [Complex32::ONE, Complex32::ZERO]));
            one.keep();
        }
        assert!(alone <= 8, "{alone} of 200 frames over one path were equalised");
        let mut equaliser = Equaliser::new(word, sensing, 1696, 0.25);
        let (mut error, mut count) = (0.0, 0.0);
        for seed in 0..20 {
            let (sent, mut symbols) = received(&words, &two, noise, seed);
            assert!(equaliser.fit(&symbols, [Complex32::ONE, Complex32::ZERO]));
            equaliser.keep();
            let channel = equaliser.channel(false);
            equaliser.equalise(&channel, &mut symbols, &[]);
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

    #[test]
    fn where_all_else_is_known_a_symbol_gathers_what_both_paths_bring() {
        let words = Words::new(4);
        let (word, sensing) = (&words.semantic.preamble, &words.sensing.preamble);
        let two = [(0, Complex32::ONE), (3, Complex32::from_polar(0.7, 2.0))];
        let noise = 0.05;
        let mut equaliser = Equaliser::new(word, sensing, 1696, 0.25);
        let (mut error, mut told) = (0.0, 0.0);
        for seed in 0..20 {
            let (sent, symbols) = received(&words, &two, noise, seed);
            equaliser.fit(&symbols, [Complex32::ONE, Complex32::ZERO]);
            equaliser.keep();
            let channel = equaliser.channel(false);
            let window = 600..600 + WINDOW;
            let mut middle = vec![Complex32::ZERO; 256];
            let (now, believed) = (&symbols[window.clone()], &sent[window]);
            told += f64::from(equaliser.equalise_again(&channel, [now, &[]], believed, 0.0, &mut middle)) / 20.0;
            let first = (WINDOW - middle.len()) / 2;
            let errors = middle.iter().zip(&believed[first..]).map(|(a, b)| f64::from((a - b).norm_sqr()));
            error += errors.sum::<f64>() / (20.0 * middle.len() as f64);
        }
        // The matched filter of both paths; 5 000 errors scatter by 1.4 %, and two taps of 186 symbols each cost 1 %.
        let bound = noise / 1.49;
        assert!((error / bound - 1.0).abs() < 0.06 && (told / bound - 1.0).abs() < 0.06, "{error} {told} {bound}");
    }
}
