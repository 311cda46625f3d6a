//! What changes while a frame lasts: level, phase and amplitude, followed from known word to known word.

use num_complex::{Complex32, Complex64};

use super::frame::UNIQUE_WORDS;

/// Known words of a frame at which phase and amplitude are measured: both preamble words and the unique words.
pub(super) const POINTS: usize = 2 + UNIQUE_WORDS;

/// What was measured at the known words: place in symbols, value, variance of its error.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Point {
    pub place: f64,
    pub value: f64,
    pub variance: f64,
}

/// A value that wanders as a random walk, and how fast it was seen to do so.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wander {
    /// Variance per symbol, the mean of what the frames showed.
    rate: f64,
    frames: f64,
}

impl Wander {
    /// Frames that the mean reaches back.
    const MEMORY: f64 = 24.0;
    /// Frames without any wandering that count before the first one.
    const PRIOR: f64 = 1.0;
    /// Least variance that is followed, as a share of the error of one word, from the middle of one word to the next.
    const LEAST: f64 = 0.02;

    /// What one frame shows: the squared steps beyond those that the errors make. A line was taken out beforehand, and two of
    /// six steps with it.
    pub(super) fn seen(points: &[Point; POINTS]) -> f64 {
        let (mut excess, mut symbols) = (0.0, 0.0);
        for pair in points.windows(2) {
            excess += (pair[1].value - pair[0].value).powi(2) - pair[0].variance - pair[1].variance;
            symbols += pair[1].place - pair[0].place;
        }
        1.5 * excess / symbols
    }

    /// The mean with one more frame in it.
    pub(super) fn with(self, seen: f64) -> Self {
        if !seen.is_finite() {
            return self;
        }
        let frames = (self.frames + 1.0).min(Self::MEMORY);
        let rate = self.rate + (seen - self.rate) / (frames + Self::PRIOR);
        Self { rate, frames }
    }

    /// Replaces the measured values by the likeliest course of the walk; `false`, and nothing is changed, where it stands
    /// still as far as can be seen.
    pub(super) fn smooth(self, points: &mut [Point; POINTS]) -> bool {
        let span = (points[POINTS - 1].place - points[2].place) / (UNIQUE_WORDS - 1) as f64;
        if self.rate * span <= Self::LEAST * points[POINTS - 1].variance {
            return false;
        }
        // A Kalman filter forwards, and the smoother of Rauch, Tung and Striebel backwards.
        let mut filtered = *points;
        for n in 1..POINTS {
            let walked = filtered[n - 1].variance + self.rate * (points[n].place - points[n - 1].place);
            let gain = walked / (walked + points[n].variance);
            filtered[n].value = filtered[n - 1].value + gain * (points[n].value - filtered[n - 1].value);
            filtered[n].variance = (1.0 - gain) * walked;
        }
        points[POINTS - 1] = filtered[POINTS - 1];
        for n in (0..POINTS - 1).rev() {
            let walked = filtered[n].variance + self.rate * (points[n + 1].place - points[n].place);
            let gain = filtered[n].variance / walked;
            points[n].value = filtered[n].value + gain * (points[n + 1].value - filtered[n].value);
        }
        true
    }
}

/// Takes a course of phases, in rad, and logarithmic amplitudes out of all symbols: along straight lines between the places
/// of `phases`, which are those of `levels`, and constant beyond the ends.
pub(super) fn take_out(symbols: &mut [Complex32], phases: &[Point; POINTS], levels: &[Point; POINTS]) {
    let factor = |n: usize| Complex32::from_polar((-levels[n].value).exp() as f32, -phases[n].value as f32);
    let mut from = 0;
    for n in 0..=POINTS {
        let until = if n < POINTS { (phases[n].place.ceil() as usize).min(symbols.len()) } else { symbols.len() };
        let (before, after) = (factor(n.saturating_sub(1)), factor(n.min(POINTS - 1)));
        let [begin, end] = [n.saturating_sub(1), n.min(POINTS - 1)].map(|n| phases[n].place as f32);
        let step = if end > begin { (after - before) / (end - begin) } else { Complex32::ZERO };
        for (place, symbol) in (from..until).zip(&mut symbols[from..until]) {
            *symbol *= before + step * (place as f32 - begin);
        }
        from = until;
    }
}

/// Most steps of the gain that are looked for in one frame.
const MOST_STEPS: usize = 3;
/// Symbols whose powers are added up before a step is looked for.
const COARSE: usize = 32;
/// What twice the logarithm of the likelihood must gain by a step: noise of exponential powers alone gains so much once in
/// 10⁷ frames.
const CLEAR_STEP: f64 = 36.0;

/// Steps of the receiver's gain within a frame, found in the symbols' powers.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    /// Powers summed up to each symbol.
    sums: Vec<f64>,
    /// Where the parts of one level begin in the frame at hand, where the last one ends, and how many there are.
    ends: [usize; MOST_STEPS + 2],
    parts: usize,
    /// What each part was multiplied by.
    factors: [f32; MOST_STEPS + 1],
    /// Mean power of the first part.
    power: f64,
}

impl Steps {
    pub(super) fn new(symbols: usize) -> Self {
        Self {
            sums: vec![0.0; symbols + 1],
            ends: [0; MOST_STEPS + 2],
            parts: 1,
            factors: [1.0; MOST_STEPS + 1],
            power: 0.0,
        }
    }

    /// Brings all symbols to the level of the first by what steps are seen; `without` is left out of account (an antenna's
    /// own sounding has a level of its own). The number of steps.
    pub(super) fn level(&mut self, symbols: &mut [Complex32], without: std::ops::Range<usize>) -> usize {
        self.parts = 1;
        let count = symbols.len() - without.len();
        let place = |n: usize| if n < without.start { n } else { n + without.len() };
        let mut sum = 0.0;
        for n in 0..count {
            sum += f64::from(symbols[place(n)].norm_sqr());
            self.sums[n + 1] = sum;
        }
        if !(sum > 0.0 && sum.is_finite()) {
            return 0;
        }
        let mut ends = [count; MOST_STEPS + 2];
        ends[0] = 0;
        let mut found = 0;
        while found < MOST_STEPS {
            let best =
                (0..=found).filter_map(|part| self.step(ends[part], ends[part + 1])).max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((at, _)) = best else { break };
            found += 1;
            ends[found] = at;
            ends[1..=found].sort_unstable();
        }
        let mean =
            |part: usize| (self.sums[ends[part + 1]] - self.sums[ends[part]]) / (ends[part + 1] - ends[part]) as f64;
        for part in 1..=found {
            let factor = (mean(0) / mean(part)).sqrt() as f32;
            let until = if part == found { symbols.len() } else { place(ends[part + 1]) };
            symbols[place(ends[part])..until].iter_mut().for_each(|symbol| *symbol *= factor);
            self.factors[part] = factor;
        }
        (self.parts, self.power) = (found + 1, mean(0));
        self.ends = ends.map(|end| if end == count { symbols.len() } else { place(end) });
        found
    }

    /// Brings the parts that [`Self::level`] found closer to one level by what the known words in them say, each as a place
    /// of its middle, its length and its correlation. Powers of data tell a level to 1/(2 √n) of itself; words are better
    /// where there is little noise.
    pub(super) fn refine(&mut self, symbols: &mut [Complex32], words: &[(f64, f64, Complex64)]) {
        if self.parts < 2 {
            return;
        }
        // What the words of a part have: their amplitude and length; and the part's length.
        let seen = |part: usize| {
            let (from, until) = (self.ends[part], self.ends[part + 1]);
            let inside = |(place, length, _): &&(f64, f64, Complex64)| {
                place - 0.5 * length >= from as f64 && place + 0.5 * length <= until as f64
            };
            let (sum, length) = words
                .iter()
                .filter(inside)
                .fold((0.0, 0.0), |(sum, length), word| (sum + word.2.norm(), length + word.1));
            (sum / length, length, (until - from) as f64)
        };
        let (first, first_length, first_symbols) = seen(0);
        if first.is_nan() || first <= 0.0 {
            return;
        }
        // Of the first part's power, what is not the words' is noise.
        let noise = (self.power / (first * first) - 1.0).clamp(1e-4, 1e4);
        for part in 1..self.parts {
            let (own, length, count) = seen(part);
            if own.is_nan() || own <= 0.0 {
                continue;
            }
            let by_words = 0.5 * noise * (1.0 / first_length + 1.0 / length);
            let by_powers = 0.25 * (1.0 / first_symbols + 1.0 / count);
            let factor = ((first / own).ln() * by_powers / (by_powers + by_words)).exp() as f32;
            symbols[self.ends[part]..self.ends[part + 1]].iter_mut().for_each(|symbol| *symbol *= factor);
            self.factors[part] *= factor;
        }
    }

    /// Parts behind the first: their first symbol and what they are to be multiplied by.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        (1..self.parts).map(|part| (self.ends[part], self.factors[part]))
    }

    /// The likeliest step between two places and twice the logarithm of the likelihood ratio, if it is clear.
    fn step(&self, from: usize, until: usize) -> Option<(usize, f64)> {
        let power = |a: usize, b: usize| (self.sums[b] - self.sums[a]) / (b - a) as f64;
        let whole = (until - from) as f64 * power(from, until).max(f64::MIN_POSITIVE).ln();
        let gain = |at: usize| {
            let [before, after] =
                [(from, at), (at, until)].map(|(a, b)| (b - a) as f64 * power(a, b).max(f64::MIN_POSITIVE).ln());
            2.0 * (whole - before - after)
        };
        let candidates = (from + COARSE..until.saturating_sub(COARSE - 1)).step_by(COARSE);
        let coarse = candidates.map(|at| (at, gain(at))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        if coarse.1 < CLEAR_STEP {
            return None;
        }
        let near = (coarse.0 - COARSE + 4).max(from + 4)..(coarse.0 + COARSE - 4).min(until - 4);
        near.map(|at| (at, gain(at))).max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn points(values: [f64; POINTS], variance: f64) -> [Point; POINTS] {
        let places = [63.5, 191.5, 527.5, 815.5, 1103.5, 1391.5, 1679.5];
        std::array::from_fn(|n| Point { place: places[n], value: values[n], variance })
    }

    #[test]
    fn a_walk_is_recognised_and_followed_and_standing_still_changes_nothing() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut draw = |deviation: f64| -> f64 {
            let x: f64 = StandardNormal.sample(&mut random);
            deviation * x
        };
        let (rate, variance) = (1e-5, 3e-4f64);
        let (mut wander, mut still) = (Wander::default(), Wander::default());
        let (mut before, mut after) = (0.0, 0.0);
        let mut followed = 0;
        for frame in 0..400 {
            let (mut truth, mut at, mut value) = ([0.0; POINTS], 63.5, 0.0);
            for (n, point) in points([0.0; POINTS], 0.0).iter().enumerate() {
                value += draw((rate * (point.place - at)).sqrt());
                (truth[n], at) = (value, point.place);
            }
            let mut measured = points(truth.map(|value| value + draw(variance.sqrt())), variance);
            let noise_only = points([0.0; POINTS].map(|_| draw(variance.sqrt())), variance);
            // No line is taken out here: the factor for it is too much.
            wander = wander.with(Wander::seen(&measured) / 1.5);
            still = still.with(Wander::seen(&noise_only));
            if frame >= 50 {
                let error = |points: &[Point; POINTS]| -> f64 {
                    points.iter().zip(truth).map(|(point, truth)| (point.value - truth).powi(2)).sum()
                };
                before += error(&measured);
                followed += usize::from(wander.smooth(&mut measured));
                after += error(&measured);
            }
        }
        assert_eq!(followed, 350);
        assert!((wander.rate / rate - 1.0).abs() < 0.5, "{}", wander.rate);
        assert!(still.rate * 288.0 < 0.5 * variance, "{}", still.rate);
        assert!(after < 0.93 * before, "{after} of {before}");
    }

    #[test]
    fn steps_of_the_gain_are_found_and_taken_out() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        for (step_db, at) in [(6.0, 300), (-6.0, 900), (20.0, 1200), (-20.0, 1500), (3.0, 800)] {
            let mut symbols: Vec<Complex32> = (0..1952)
                .map(|_| {
                    let (re, im): (f32, f32) = (StandardNormal.sample(&mut random), StandardNormal.sample(&mut random));
                    Complex32::new(re, im)
                })
                .collect();
            symbols[256..512].fill(Complex32::ZERO);
            let before = symbols.clone();
            let mut steps = Steps::new(1952);
            assert_eq!(steps.level(&mut symbols, 256..512), 0);
            assert_eq!(symbols, before);
            let factor = 10f32.powf(step_db / 20.0);
            symbols[at..].iter_mut().for_each(|symbol| *symbol *= factor);
            let found = steps.level(&mut symbols, 256..512);
            assert!(found >= 1, "{step_db} dB at {at}");
            let off = (0..1952).filter(|n| (symbols[*n].norm() / before[*n].norm().max(1e-9) - 1.0).abs() > 0.12);
            let off = off.filter(|n| !(256..512).contains(n)).count();
            assert!(off < if step_db.abs() > 5.0 { 12 } else { 60 }, "{step_db} dB at {at}: {off} symbols off");
        }
    }
}
