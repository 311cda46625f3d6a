//! What hardware and neighbours add to the samples: bursts are blanked, tones (a constant offset is one) and the image that
//! unequal branches of a mixer leave are measured on what the known words do not explain, and taken out.

use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use crate::dsp::{correlate, dispatched};

/// Samples whose powers are averaged where bursts are looked for.
const CELL: usize = 16;
/// Power over the median cell's from which on a sample belongs to a burst: what noise exceeds once in 10⁶ samples, and no
/// shaped constellation reaches.
const BURST: f32 = 14.0;
/// Longest burst that is blanked, in samples. What lasts longer is a change of level.
const LONGEST_BURST: usize = 128;
/// Samples blanked beside a burst.
const GUARD: usize = 1;
/// Bursts of a frame that are kept in mind.
pub(super) const MOST_BURSTS: usize = 32;

/// Finds bursts and silences them.
#[derive(Debug, Clone)]
pub(super) struct Blanker {
    cells: Vec<f32>,
    /// Samples that were silenced, in rising order.
    bursts: [(usize, usize); MOST_BURSTS],
    count: usize,
}

impl Blanker {
    /// For up to `samples` samples.
    pub(super) fn new(samples: usize) -> Self {
        Self { cells: vec![0.0; samples / CELL + 1], bursts: [(0, 0); MOST_BURSTS], count: 0 }
    }

    /// Sets bursts to zero and keeps their places.
    pub(super) fn blank(&mut self, samples: &mut [Complex32]) {
        self.count = 0;
        let (mut sum, mut most) = (0.0, 0.0);
        total_and_most(samples, &mut sum, &mut most);
        if !(sum > 0.0 && sum.is_finite()) || most <= BURST * sum / samples.len() as f32 {
            return;
        }
        let cells = &mut self.cells[..samples.len() / CELL];
        for (cell, samples) in cells.iter_mut().zip(samples.chunks_exact(CELL)) {
            *cell = samples.iter().map(Complex32::norm_sqr).sum::<f32>() / CELL as f32;
        }
        let middle = cells.len() / 2;
        if cells.is_empty() {
            return;
        }
        let (_, median, _) = cells.select_nth_unstable_by(middle, f32::total_cmp);
        let limit = BURST * *median;
        if limit <= 0.0 {
            return;
        }
        let mut n = 0;
        while n < samples.len() && self.count < MOST_BURSTS {
            if samples[n].norm_sqr() <= limit {
                n += 1;
                continue;
            }
            // A burst goes on while less than half a cell passes below the limit.
            let (from, mut last) = (n, n);
            while n < samples.len() && n <= last + CELL / 2 {
                if samples[n].norm_sqr() > limit {
                    last = n;
                }
                n += 1;
            }
            if last - from < LONGEST_BURST {
                let (from, until) = (from.saturating_sub(GUARD), (last + 1 + GUARD).min(samples.len()));
                samples[from..until].fill(Complex32::ZERO);
                self.bursts[self.count] = (from, until);
                self.count += 1;
            }
        }
    }

    /// The samples that were silenced.
    pub(super) fn bursts(&self) -> &[(usize, usize)] {
        &self.bursts[..self.count]
    }
}

dispatched! {
    /// Adds the powers of all samples to `sum`; the largest goes to `most`.
    fn total_and_most(samples: &[Complex32], sum: &mut f32, most: &mut f32) = total_and_most_body
}

#[inline(always)]
fn total_and_most_body(samples: &[Complex32], sum: &mut f32, most: &mut f32) {
    const LANES: usize = 16;
    let (mut sums, mut largest) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (blocks, rest) = samples.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            let power = block[lane].norm_sqr();
            sums[lane] += power;
            largest[lane] = if power > largest[lane] { power } else { largest[lane] };
        }
    }
    for (lane, sample) in rest.iter().enumerate() {
        let power = sample.norm_sqr();
        sums[lane] += power;
        largest[lane] = if power > largest[lane] { power } else { largest[lane] };
    }
    *sum += sums.iter().sum::<f32>();
    *most = largest.iter().copied().fold(*most, f32::max);
}

/// Most tones taken out of a frame.
const MOST_TONES: usize = 4;
/// Points of the transform in which tones are looked for.
const POINTS: usize = 256;
/// Power of a bin over the mean of the others from which on it is a tone: noise gets there once in 5 000 frames.
const CLEAR_TONE: f32 = 14.0;

/// What is left of symbols that are known, beside the words: their places and values.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    /// Symbols without a gap, from this place on.
    pub first: usize,
    /// Values of these.
    pub run: Vec<Complex32>,
    /// Further stretches: place of the first, its values.
    pub more: Vec<(usize, Vec<Complex32>)>,
}

/// Finds tones in what the known words leave.
pub(super) struct Tones {
    forward: Arc<dyn Fft<f32>>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
    /// Frequencies in cycles per symbol, and amplitudes at the frame's first symbol, of the frame at hand.
    found: [(f64, Complex64); MOST_TONES],
    count: usize,
}

impl Tones {
    pub(super) fn new() -> Self {
        let forward = FftPlanner::new().plan_fft_forward(POINTS);
        let scratch = vec![Complex32::ZERO; forward.get_inplace_scratch_len()];
        let found = [(0.0, Complex64::ZERO); MOST_TONES];
        Self { forward, spectrum: vec![Complex32::ZERO; POINTS], scratch, found, count: 0 }
    }

    /// Looks for tones, and takes them out of the residual; how many there are.
    pub(super) fn find(&mut self, residual: &mut Residual) -> usize {
        self.count = 0;
        while self.count < MOST_TONES {
            let length = residual.run.len().min(POINTS);
            self.spectrum[..length].copy_from_slice(&residual.run[..length]);
            self.spectrum[length..].fill(Complex32::ZERO);
            self.forward.process_with_scratch(&mut self.spectrum, &mut self.scratch);
            let powers = |bin: usize| self.spectrum[bin % POINTS].norm_sqr();
            let Some(peak) = (0..POINTS).max_by(|a, b| powers(*a).total_cmp(&powers(*b))) else { break };
            let others = (3..POINTS - 2).map(|n| powers(peak + n)).sum::<f32>() / (POINTS - 5) as f32;
            let clear = powers(peak) > CLEAR_TONE * others;
            if !clear {
                break;
            }
            // On the preamble alone first; then with the words along the frame, which tell frequencies 1/1700 apart.
            let near = peak as f64 / POINTS as f64;
            let near = near + peak_of(|x| residual.at(near + x, false).norm_sqr(), 0.5 / POINTS as f64, 4);
            let frequency = near + peak_of(|x| residual.at(near + x, true).norm_sqr(), 1.2e-4, 6);
            let count = residual.run.len() + residual.more.iter().map(|(_, values)| values.len()).sum::<usize>();
            let amplitude = residual.at(frequency, true) / count as f64;
            let tone = (frequency, amplitude);
            subtract(tone, residual.first, &mut residual.run);
            for (first, values) in &mut residual.more {
                subtract(tone, *first, values);
            }
            self.found[self.count] = tone;
            self.count += 1;
        }
        self.count
    }

    /// Takes the tones that were found out of a frame's symbols.
    pub(super) fn take_out(&self, symbols: &mut [Complex32]) {
        for tone in &self.found[..self.count] {
            subtract(*tone, 0, symbols);
        }
    }
}

impl Residual {
    /// The sum of all values turned back by this frequency: of the run alone, or of all.
    fn at(&self, frequency: f64, all: bool) -> Complex64 {
        let step = Complex64::cis(-TAU * frequency);
        let part = |first: usize, values: &[Complex32]| {
            let mut turn = Complex64::cis(-TAU * (frequency * first as f64));
            let mut sum = Complex64::ZERO;
            for value in values {
                sum += Complex64::new(f64::from(value.re), f64::from(value.im)) * turn;
                turn *= step;
            }
            sum
        };
        let more = self.more.iter().filter(|_| all).map(|(first, values)| part(*first, values));
        part(self.first, &self.run) + more.sum::<Complex64>()
    }
}

fn subtract((frequency, amplitude): (f64, Complex64), first: usize, symbols: &mut [Complex32]) {
    let step = Complex64::cis(TAU * frequency);
    let mut tone = amplitude * Complex64::cis(TAU * (frequency * first as f64));
    for symbol in symbols {
        *symbol -= Complex32::new(tone.re as f32, tone.im as f32);
        tone *= step;
    }
}

/// Where a function is largest within `steps` steps of zero: the best of these, and the parabolas through it and its
/// neighbours.
fn peak_of(value: impl Fn(f64) -> f64, step: f64, steps: i32) -> f64 {
    let best = (-steps..=steps).max_by(|a, b| value(f64::from(*a) * step).total_cmp(&value(f64::from(*b) * step)));
    let mut best = f64::from(best.unwrap_or(0)) * step;
    for step in [step, 0.2 * step] {
        let (before, at, after) = (value(best - step), value(best), value(best + step));
        let curvature = before - 2.0 * at + after;
        if curvature < 0.0 {
            best += step * (0.5 * (before - after) / curvature).clamp(-1.0, 1.0);
        }
    }
    best
}

/// The image: the share of its own conjugate in what is received.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Image {
    mean: Complex64,
    /// Variance of the mean.
    variance: f64,
    frames: f64,
    /// What the frame at hand showed beyond the mean, and its variance.
    latest: Option<(Complex64, f64)>,
}

impl Image {
    /// Frames that are looked at one after the other, before it is one in [`Self::SELDOM`].
    const AT_FIRST: f64 = 16.0;
    const SELDOM: u64 = 8;
    /// Measurements that the mean reaches back.
    const MEMORY: f64 = 64.0;
    /// Squared deviations from which on an image is believed.
    const CLEAR: f64 = 9.0;

    /// Whether frame `number` is to be looked at.
    pub(super) fn is_due(&self, number: u64) -> bool {
        self.frames < Self::AT_FIRST || number.is_multiple_of(Self::SELDOM)
    }

    /// The share to take out, if there is any.
    pub(super) fn share(&self) -> Option<Complex32> {
        let clear = self.mean.norm_sqr() > Self::CLEAR * self.variance;
        clear.then(|| Complex32::new(self.mean.re as f32, self.mean.im as f32))
    }

    /// Takes in what is left of known symbols, the conjugates that the image would consist of, and the residual's noise.
    /// `true` where the frame should be read again with what was learned.
    pub(super) fn observe(&mut self, residual: &[Complex32], conjugates: &[Complex32], noise: f64) -> bool {
        let energy: f64 = conjugates.iter().map(|value| f64::from(value.norm_sqr())).sum();
        if !(energy > 0.0 && energy.is_finite() && noise.is_finite()) {
            return false;
        }
        let (beyond, variance) = (correlate(residual, conjugates) / energy, noise / energy);
        // Not taken out so far, it was seen whole.
        let beyond = if self.share().is_some() { beyond } else { beyond - self.mean };
        self.latest = Some((beyond, variance));
        beyond.norm_sqr() > 1.5 * Self::CLEAR * variance && self.frames < 4.0
    }

    /// Keeps what the frame at hand showed.
    pub(super) fn keep(&mut self) {
        if let Some((beyond, variance)) = self.latest.take() {
            self.frames = (self.frames + 1.0).min(Self::MEMORY);
            self.mean += beyond / self.frames;
            self.variance += (variance / self.frames - self.variance) / self.frames.min(4.0);
        }
    }
}

/// `samples[n] -= share·samples[n]*`.
pub(super) fn without_image(samples: &mut [Complex32], share: Complex32) {
    take_image(share, samples);
}

dispatched! {
    fn take_image(share: Complex32, samples: &mut [Complex32]) = take_image_body
}

#[inline(always)]
fn take_image_body(share: Complex32, samples: &mut [Complex32]) {
    for sample in samples {
        *sample -= share * sample.conj();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Noise;

    fn noise(count: usize, variance: f64, seed: u64) -> Vec<Complex32> {
        let mut samples = vec![Complex32::ZERO; count];
        Noise::new(seed, 3, variance).add(0, &mut samples);
        samples
    }

    #[test]
    fn bursts_are_silenced_and_steps_of_the_level_are_not() {
        let mut blanker = Blanker::new(4000);
        for seed in 0..100 {
            let mut samples = noise(3500, 1.0, seed);
            let before = samples.clone();
            blanker.blank(&mut samples);
            assert!(blanker.bursts().is_empty() && samples == before);
            samples[1900..].iter_mut().for_each(|sample| *sample *= 8.0);
            let stepped = samples.clone();
            blanker.blank(&mut samples);
            let changed = samples.iter().zip(&stepped).filter(|(a, b)| a != b).count();
            assert!(changed < 20, "{changed} samples of a higher level blanked");
            samples.copy_from_slice(&before);
            samples[1700..1710].copy_from_slice(&noise(10, 1000.0, seed));
            blanker.blank(&mut samples);
            let left = samples[1700..1710].iter().map(Complex32::norm_sqr).fold(0.0, f32::max);
            assert!(left < 15.0 && blanker.bursts().len() == 1, "{left} {:?}", blanker.bursts());
        }
    }

    #[test]
    fn the_dispatched_sums_and_images_equal_the_baseline_bit_for_bit() {
        let samples = noise(77, 2.0, 1);
        let (mut fast, mut slow) = ((0.5, 0.0), (0.5, 0.0));
        total_and_most(&samples, &mut fast.0, &mut fast.1);
        total_and_most_body(&samples, &mut slow.0, &mut slow.1);
        assert_eq!(fast, slow);
        let (mut fast, mut slow) = (samples.clone(), samples);
        without_image(&mut fast, Complex32::new(0.1, -0.03));
        take_image_body(Complex32::new(0.1, -0.03), &mut slow);
        assert_eq!(fast, slow);
    }

    #[test]
    fn tones_are_found_and_taken_out_to_the_noise_and_noise_alone_holds_none() {
        let mut tones = Tones::new();
        let mut alarms = 0;
        for seed in 0..400 {
            let frequency = -0.49 + 0.98 * seed as f64 / 400.0;
            let mut symbols = noise(1696, 0.3, seed);
            let clean = symbols.clone();
            let residual = |symbols: &[Complex32]| Residual {
                first: 32,
                run: symbols[32..240].to_vec(),
                more: (0..5).map(|n| (512 + 288 * n, symbols[512 + 288 * n..][..32].to_vec())).collect(),
            };
            alarms += tones.find(&mut residual(&symbols));
            subtract((frequency, Complex64::from_polar(-(0.1f64.sqrt()), 0.4)), 0, &mut symbols);
            assert!(tones.find(&mut residual(&symbols)) >= 1, "{frequency}");
            tones.take_out(&mut symbols);
            let left: f32 = symbols.iter().zip(&clean).map(|(a, b)| (a - b).norm_sqr()).sum::<f32>() / 1696.0;
            assert!(left < 0.015, "{left} of 0.1 left at {frequency}");
        }
        assert!(alarms <= 3, "{alarms} tones in 400 frames of noise");
    }
}
