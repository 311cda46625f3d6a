//! Coarse alignment: at which whole delay does the echo begin?
//!
//! For each lag d the statistic is E(d) = Σ_r c_rᴴ Q⁻¹ c_r / V_r, c_ru = Σ_n y_r[n + d] s_u[n]*, Q the Gram matrix of the
//! streams: the energy that the two streams explain together, whatever their spatial response. V_r is what row r really
//! receives per sample in the streams' band, echoes included: they are to the other lags what noise is. On noise alone, of
//! whatever level, E is a sum of N_R·(streams in use) unit exponentials, so its threshold follows from the false-alarm
//! probability.
//! Correlation is linear (zero-padded FFTs), not circular. One antenna at the symbol rate is tried first; where its peak
//! does not stand out by far, the whole window of all antennas decides.

use num_complex::{Complex32, Complex64};

use super::spectrum::{Gram, Spectrum};
use super::symbol_rate::SymbolRate;
use super::{EchoFrame, STREAMS, SensingConfig};
use crate::dsp::{PlanarDft, dispatched};

/// A bin of frequency 0 with more than this times the mean bin's energy is a receiver's constant: of the streams and noise it is
/// an exponential number.
const CONSTANT: f64 = 14.0;

/// The delay search: the quick one, where the window is long enough for it, and that over the whole window.
pub(super) struct Alignment {
    quick: Option<SymbolRate>,
    whole: Correlator,
    /// Whether the last search was that over the whole window.
    looked_at_all: bool,
}

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    /// The best whole lag.
    pub lag: isize,
    /// Where a parabola through the logarithms of it and its neighbours puts the maximum, −0.5 … 0.5.
    pub fraction: f64,
    /// E at the best lag.
    pub energy: f64,
    /// What noise alone exceeds with the false-alarm probability.
    pub threshold: f64,
}

impl Alignment {
    /// A search of all delays for windows of `window` samples.
    pub fn new(config: &SensingConfig, window: usize) -> Self {
        let (sps, lags, false_alarm) = (config.samples_per_symbol, config.lag_range(), config.false_alarm_probability);
        Self {
            quick: SymbolRate::new(window, sps, lags, false_alarm),
            whole: Correlator::of(window, config),
            looked_at_all: false,
        }
    }

    /// Samples of one echo row that [`Self::search`] reads.
    pub fn echo_samples(&self) -> usize {
        self.whole.echo_samples()
    }

    /// The first lag searched.
    pub fn first_lag(&self) -> isize {
        self.whole.first_lag
    }

    /// Searches the delay of a frame's echo; `spectrum` has the window's streams.
    pub fn search(&mut self, frame: &EchoFrame<'_>, spectrum: &Spectrum) -> Peak {
        let quick = self.quick.as_mut().and_then(|quick| quick.search(frame, spectrum));
        self.looked_at_all = quick.is_none();
        quick.unwrap_or_else(|| self.whole.search(frame))
    }

    /// What a row received per sample in the streams' band, in the middle of the rows; `None` where the last search did not
    /// look at all rows.
    pub fn received_power(&mut self) -> Option<f64> {
        self.looked_at_all.then(|| self.whole.received_power())
    }

    /// Whether the last search saw another echo, further than `near` samples from its peak. The quick search sees the best
    /// one only.
    pub fn saw_another(&self, peak: &Peak, near: isize) -> bool {
        self.looked_at_all && self.whole.has_another(peak, near)
    }
}

/// The correlation of one section with both streams, at all lags.
pub(super) struct Correlator {
    section: usize,
    first_lag: isize,
    lags: usize,
    /// Samples of a row that are not known to be zero.
    heard: usize,
    /// Half the streams' band, in bins.
    edge: usize,
    /// V_r, and room for them in order.
    powers: Vec<f64>,
    ordered: Vec<f64>,
    dft: PlanarDft,
    /// Spectra of the whitened streams: `[stream][part][bin]`.
    streams: Vec<f32>,
    /// What is to be transformed, of one row or of both streams.
    samples: Vec<Complex32>,
    rows: usize,
    energy: Vec<f32>,
    used: [bool; STREAMS],
    /// Thresholds for one and for two streams in use.
    thresholds: [f64; STREAMS],
}

impl Correlator {
    /// For a receiver's delays and rows.
    pub fn of(section: usize, config: &SensingConfig) -> Self {
        let half_band = config.half_band();
        Self::new(section, config.lag_range(), config.receive_antennas, half_band, config.false_alarm_probability)
    }

    /// `half_band` is half the streams' band in cycles per sample.
    pub fn new(
        section: usize,
        [first_lag, last_lag]: [isize; 2],
        rows: usize,
        half_band: f64,
        false_alarm: f64,
    ) -> Self {
        let lags = (last_lag - first_lag + 1) as usize;
        let length = PlanarDft::fast_length(section + lags - 1);
        let edge = half_band * length as f64;
        Self {
            section,
            first_lag,
            lags,
            heard: section + lags - 1,
            edge: (edge as usize).min((length - 1) / 2),
            powers: vec![0.0; rows],
            ordered: vec![0.0; rows],
            dft: PlanarDft::new(length),
            streams: vec![0.0; STREAMS * 2 * length],
            samples: vec![Complex32::default(); STREAMS * length],
            rows,
            energy: vec![0.0; lags],
            used: [false; STREAMS],
            thresholds: energy_thresholds(rows, false_alarm / lags as f64),
        }
    }

    /// Says how many samples of a row are not known to be zero; all are until it is said.
    pub fn hear(&mut self, samples: usize) {
        self.heard = samples.max(1);
    }

    /// V_r of the last search, in the middle of the rows.
    pub fn received_power(&mut self) -> f64 {
        self.ordered.copy_from_slice(&self.powers);
        self.ordered.sort_unstable_by(f64::total_cmp);
        self.ordered[(self.rows - 1) / 2]
    }

    pub fn echo_samples(&self) -> usize {
        self.section + self.lags - 1
    }

    /// The peak over all lags.
    pub fn search(&mut self, frame: &EchoFrame<'_>) -> Peak {
        let used = self.measure(frame);
        self.peak(used)
    }

    /// Works out E at all lags; says which streams are in use.
    pub fn measure(&mut self, frame: &EchoFrame<'_>) -> [bool; STREAMS] {
        let mut energy = std::mem::take(&mut self.energy);
        energy.fill(0.0);
        let used = self.profiles(frame, |_, _, weight, profile| add_part_powers(profile, weight, &mut energy));
        self.energy = energy;
        self.used = used;
        used
    }

    /// The lag whose energy, as measured last, is furthest above the threshold, for noise that is stronger by the factor
    /// `noise`, and what `left` says is left there of other echoes.
    pub fn above(&self, noise: f64, left: impl Fn(isize) -> f64) -> Option<Peak> {
        let peak = self.peak(self.used);
        let scale = self.energy_scale();
        let above = |index: usize| f64::from(self.energy[index]) * scale - left(self.first_lag + index as isize);
        let best = (0..self.lags).max_by(|a, b| above(*a).total_cmp(&above(*b)))?;
        (above(best) > noise * peak.threshold).then(|| self.peak_at(best, peak.threshold))
    }

    /// Whether a lag further than `near` from the peak found last has more energy than the threshold.
    fn has_another(&self, peak: &Peak, near: isize) -> bool {
        let limit = (peak.threshold / self.energy_scale()) as f32;
        (self.first_lag..).zip(&self.energy).any(|(lag, energy)| *energy > limit && (lag - peak.lag).abs() > near)
    }

    fn energy_scale(&self) -> f64 {
        (self.dft.length() as f64).powi(-2)
    }

    /// Hands over 1/V_r and the correlation of each row with each whitened stream in use at all lags, real and imaginary parts,
    /// [`PlanarDft::length`] times too large; says which streams are in use.
    fn profiles(
        &mut self,
        frame: &EchoFrame<'_>,
        mut take: impl FnMut(usize, usize, f32, [&[f32]; 2]),
    ) -> [bool; STREAMS] {
        let used = frame.used();
        self.load_streams(frame, used);
        let (length, heard) = (self.dft.length(), self.echo_samples());
        for row in 0..self.rows {
            let samples = &mut self.samples[..length];
            samples[..heard].copy_from_slice(&frame.echo_row(row)[..heard]);
            samples[heard..].fill(Complex32::default());
            let echo = self.dft.forward(samples);
            let band = echo.iter().map(|part| power(&part[..=self.edge]) + power(&part[length - self.edge..]));
            let mut energy = band.sum::<f64>();
            let bins = (2 * self.edge + 1) as f64;
            let constant = f64::from(echo[0][0]).powi(2) + f64::from(echo[1][0]).powi(2);
            let is_constant = constant * bins > CONSTANT * energy;
            if is_constant {
                energy -= constant;
            }
            let received = energy / (bins * self.heard as f64);
            self.powers[row] = received;
            let weight = if received > 0.0 { (1.0 / received) as f32 } else { 0.0 };
            let streams = self.streams.chunks_exact(2 * length);
            for (product, stream) in self.samples.chunks_exact_mut(length).zip(streams) {
                conjugate_product(echo, stream.split_at(length).into(), product);
                if is_constant {
                    product[0] = Complex32::default();
                }
            }
            for (stream, product) in self.samples.chunks_exact(length).enumerate().filter(|(stream, _)| used[*stream]) {
                // The parts have changed places on the way in and out.
                let [im, re] = self.dft.forward(product);
                take(row, stream, weight, [&re[..self.lags], &im[..self.lags]]);
            }
        }
        used
    }

    /// Transforms the whitened streams of the section.
    fn load_streams(&mut self, frame: &EchoFrame<'_>, used: [bool; STREAMS]) {
        let length = self.dft.length();
        for (stream, space) in frame.streams().zip(self.samples.chunks_exact_mut(length)) {
            space[..self.section].copy_from_slice(&stream[..self.section]);
            space[self.section..].fill(Complex32::default());
        }
        self.whiten(used);
        for (samples, parts) in self.samples.chunks_exact(length).zip(self.streams.chunks_exact_mut(2 * length)) {
            for (part, to) in self.dft.forward(samples).into_iter().zip(parts.chunks_exact_mut(length)) {
                to.copy_from_slice(part);
            }
        }
    }

    /// Delays searched.
    pub fn lags(&self) -> usize {
        self.lags
    }

    /// Writes the correlations `[row][stream][lag]` with whitened streams, on a scale on which noise has unit variance;
    /// says which streams are in use, the others' rows being zero.
    pub fn write_profiles(&mut self, frame: &EchoFrame<'_>, profiles: &mut [Complex32]) -> [bool; STREAMS] {
        let scale = (1.0 / self.dft.length() as f64) as f32;
        let lags = self.lags;
        let used = self.profiles(frame, |row, stream, weight, [re, im]| {
            let scale = scale * weight.sqrt();
            let out = &mut profiles[(row * STREAMS + stream) * lags..][..lags];
            out.iter_mut().zip(re.iter().zip(im)).for_each(|(out, (re, im))| *out = Complex32::new(*re, *im) * scale);
        });
        for (index, profile) in profiles.chunks_exact_mut(lags).enumerate() {
            if !used[index % STREAMS] {
                profile.fill(Complex32::default());
            }
        }
        used
    }

    /// Makes the streams in use orthonormal over the section, so that Q⁻¹ is no longer needed, and the others zero.
    fn whiten(&mut self, used: [bool; STREAMS]) {
        let (first, second) = self.samples.split_at_mut(self.dft.length());
        let (first, second) = (&mut first[..self.section], &mut second[..self.section]);
        let Whitening { share, weights } = Gram::of_samples(first, second).whitening(used);
        let share = Complex32::new(share.re as f32, share.im as f32);
        second.iter_mut().zip(first.iter()).for_each(|(b, a)| *b -= share * a);
        for (row, weight) in [(first, weights[0]), (second, weights[1])] {
            let scale = weight.sqrt() as f32;
            row.iter_mut().for_each(|sample| *sample *= scale);
        }
    }

    fn peak(&self, used: [bool; STREAMS]) -> Peak {
        let mut best = 0.0;
        largest(&self.energy, &mut best);
        let index = self.energy.iter().position(|energy| *energy == best).unwrap_or(0);
        self.peak_at(index, self.thresholds[streams_in_use(used) - 1])
    }

    fn peak_at(&self, index: usize, threshold: f64) -> Peak {
        let best = f64::from(self.energy[index]);
        let beside =
            |index: Option<usize>| index.and_then(|index| self.energy.get(index)).map(|energy| (*energy).into());
        let fraction = vertex(beside(index.checked_sub(1)), best, beside(Some(index + 1)));
        Peak { lag: self.first_lag + index as isize, fraction, energy: best * self.energy_scale(), threshold }
    }
}

/// What makes the second stream orthogonal to the first, and weights both by their power.
pub(super) struct Whitening {
    /// Σ s_0 s_c* / Σ |s_c|².
    pub share: Complex64,
    /// One over the power that is left of each stream, 0 for one that is not used.
    pub weights: [f64; STREAMS],
}

impl Gram {
    pub fn whitening(&self, used: [bool; STREAMS]) -> Whitening {
        let both = used[0] && used[1] && self.semantic > 0.0;
        let share = if both { self.cross.conj() / self.semantic } else { Complex64::ZERO };
        let left = [self.semantic, self.sensing - share.norm_sqr() * self.semantic];
        let weight = |stream: usize| if used[stream] && left[stream] > 0.0 { left[stream].recip() } else { 0.0 };
        Whitening { share, weights: [weight(0), weight(1)] }
    }
}

impl Whitening {
    /// cᴴ Q⁻¹ c of an antenna's correlations with both streams.
    pub fn energy(&self, [first, second]: [Complex64; STREAMS]) -> f64 {
        self.weights[0] * first.norm_sqr() + self.weights[1] * (second - self.share.conj() * first).norm_sqr()
    }
}

/// Where a parabola through the logarithms of a maximum and its neighbours has its vertex, −0.5 … 0.5; 0 at an end.
pub(super) fn vertex(before: Option<f64>, best: f64, after: Option<f64>) -> f64 {
    let (Some(before), Some(after)) = (before, after) else { return 0.0 };
    let [before, best, after] = [before, best, after].map(f64::ln);
    let curvature = before - 2.0 * best + after;
    if curvature < 0.0 { (0.5 * (before - after) / curvature).clamp(-0.5, 0.5) } else { 0.0 }
}

/// How many streams count, one at least.
pub(super) fn streams_in_use(used: [bool; STREAMS]) -> usize {
    used.iter().filter(|used| **used).count().max(1)
}

/// What the energy of `rows` antennas exceeds with `probability` on noise alone, for one and for two streams in use.
pub(super) fn energy_thresholds(rows: usize, probability: f64) -> [f64; STREAMS] {
    [1, 2].map(|streams| energy_threshold(rows * streams, probability))
}

/// What a sum of `terms` unit exponentials exceeds with `probability`: e^{−x} Σ_{i<terms} x^i/i! = probability.
pub(super) fn energy_threshold(terms: usize, probability: f64) -> f64 {
    let tail = |x: f64| {
        let mut term = (-x).exp();
        let mut sum = term;
        for i in 1..terms {
            term *= x / i as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 700.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if tail(middle) > probability { low = middle } else { high = middle }
    }
    high
}

dispatched! {
    /// `product = echo·stream*` with real and imaginary part in each other's place, so that a forward transform of it is the
    /// inverse one, its parts changed over too.
    pub fn conjugate_product(echo: [&[f32]; 2], stream: [&[f32]; 2], product: &mut [Complex32]) = product_body
}

#[inline(always)]
fn product_body(echo: [&[f32]; 2], stream: [&[f32]; 2], product: &mut [Complex32]) {
    let parts = echo[0].iter().zip(echo[1]).zip(stream[0].iter().zip(stream[1]));
    for (product, ((re, im), (stream_re, stream_im))) in product.iter_mut().zip(parts) {
        *product = Complex32::new(im * stream_re - re * stream_im, re * stream_re + im * stream_im);
    }
}

dispatched! {
    /// `energy[n] += |values[n]|²`.
    pub fn add_powers(values: &[Complex32], energy: &mut [f32]) = powers_body
}

#[inline(always)]
fn powers_body(values: &[Complex32], energy: &mut [f32]) {
    for (energy, value) in energy.iter_mut().zip(values) {
        *energy += value.re * value.re + value.im * value.im;
    }
}

dispatched! {
    /// `energy[n] += weight·(re[n]² + im[n]²)`.
    fn add_part_powers(parts: [&[f32]; 2], weight: f32, energy: &mut [f32]) = part_powers_body
}

#[inline(always)]
fn part_powers_body([re, im]: [&[f32]; 2], weight: f32, energy: &mut [f32]) {
    for (energy, (re, im)) in energy.iter_mut().zip(re.iter().zip(im)) {
        *energy += weight * (re * re + im * im);
    }
}

/// Σ value².
pub(super) fn power(values: &[f32]) -> f64 {
    let mut sum = [0f32];
    add_squares(values, &mut sum);
    sum[0].into()
}

dispatched! {
    /// Adds Σ value².
    pub fn add_squares(values: &[f32], sum: &mut [f32; 1]) = squares_body
}

#[inline(always)]
fn squares_body(values: &[f32], sum: &mut [f32; 1]) {
    const WIDE: usize = 64;
    let mut lanes = [0f32; WIDE];
    let (groups, rest) = values.as_chunks::<WIDE>();
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane += value * value;
        }
    }
    sum[0] += lanes.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
}

dispatched! {
    /// The largest of `values` and 0.
    pub fn largest(values: &[f32], best: &mut f32) = largest_body
}

#[inline(always)]
fn largest_body(values: &[f32], best: &mut f32) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (groups, rest) = values.as_chunks::<16>();
    let mut lanes = [0f32; 16];
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane = larger(*lane, *value);
        }
    }
    *best = lanes.iter().chain(rest).copied().fold(0.0, larger);
}

impl Gram {
    /// The Gram matrix of two rows of samples.
    pub(super) fn of_samples(first: &[Complex32], second: &[Complex32]) -> Self {
        let mut sums = [0f32; 4];
        sample_gram(first, second, &mut sums);
        let [semantic, sensing, re, im] = sums.map(f64::from);
        Self { semantic, sensing, cross: Complex64::new(re, im) }
    }
}

dispatched! {
    /// Powers of both rows and real and imaginary part of Σ first·second*.
    pub fn sample_gram(first: &[Complex32], second: &[Complex32], sums: &mut [f32; 4]) = sample_gram_body
}

#[inline(always)]
fn sample_gram_body(first: &[Complex32], second: &[Complex32], sums: &mut [f32; 4]) {
    const LANES: usize = 16;
    let mut lanes = [[0f32; LANES]; 4];
    for (first, second) in first.chunks(LANES).zip(second.chunks(LANES)) {
        for (lane, (a, b)) in first.iter().zip(second).enumerate() {
            lanes[0][lane] += a.re * a.re + a.im * a.im;
            lanes[1][lane] += b.re * b.re + b.im * b.im;
            lanes[2][lane] += a.re * b.re + a.im * b.im;
            lanes[3][lane] += a.im * b.re - a.re * b.im;
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum = lanes.iter().sum();
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn the_largest_is_found_wherever_it_stands() {
        for length in [1, 15, 16, 50] {
            for at in 0..length {
                let mut values = vec![-1.0; length];
                values[at] = 2.5;
                let mut best = 0.0;
                largest(&values, &mut best);
                assert_eq!(best, 2.5, "{at} of {length}");
            }
        }
    }

    #[test]
    fn the_dispatched_kernels_equal_their_bodies_bit_for_bit() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut floats = || -> Vec<f32> { (0..67).map(|_| random.random::<f32>() - 0.5).collect() };
        let (a, b, c, d) = (floats(), floats(), floats(), floats());
        let (mut fast, mut slow) = (vec![Complex32::default(); 67], vec![Complex32::default(); 67]);
        conjugate_product([&a, &b], [&c, &d], &mut fast);
        product_body([&a, &b], [&c, &d], &mut slow);
        assert_eq!(fast, slow);
        let (mut fast, mut slow) = (c.clone(), c);
        add_part_powers([&a, &b], 0.3, &mut fast);
        part_powers_body([&a, &b], 0.3, &mut slow);
        assert_eq!(fast, slow);
        let mut sums = [[0f32]; 2];
        add_squares(&a, &mut sums[0]);
        squares_body(&a, &mut sums[1]);
        assert_eq!(sums[0], sums[1]);
    }

    #[test]
    fn thresholds_are_those_of_the_exponential_and_the_erlang_law() {
        assert!((energy_threshold(1, 1e-3) - 1e3f64.ln()).abs() < 1e-9);
        // e^{−x}(1 + x) at x = 5.
        assert!((energy_threshold(2, 6.0 * (-5f64).exp()) - 5.0).abs() < 1e-9);
    }
}
