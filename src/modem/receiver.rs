//! The receiver of the semantic stream: from samples of unknown start, phase and carrier offset to equalised symbols.
//!
//! It knows the air interface (words, layout, pulse), its own sample rate and nothing of the scene. Per frame it refines
//! timing and carrier on the preamble, fits one phase line through preamble and unique words, and estimates
//! a = h_cᴴw_c, b = h_cᴴw_0 and the noise by least squares on all known symbols, so γ = |a|²/(|b|² + σ²). One that knows what
//! s_0 follows from can take b·s_0 out of the payload, which leaves |a|²/σ²; one that does not can demap both streams jointly
//! ([`SensingStream`]).

use num_complex::{Complex32, Complex64};

use super::constellation::{Constellation, Modulation};
use super::frame::{
    BLOCK, BLOCKS, HEADER, Layout, PREAMBLE, PREAMBLE_WORD, SENSING_SYMBOLS, SOUNDING_GUARD, UNIQUE_WORD, UNIQUE_WORDS,
};
use super::header::{FrameHeader, HEADER_BITS, unwrap_count};
use super::synchronise::{SEARCH, Searcher};
use super::words::{SensingSequence, StreamWords, Words};
use crate::coding::{HeaderCode, HeaderScratch};
use crate::dsp::{MatchedFilter, SPAN_SYMBOLS, correlate, rotate};

/// Frames in a row without a readable header after which the receiver searches anew.
const MAX_MISSES: u32 = 3;

/// Share of a new carrier estimate in the running one.
const CARRIER_GAIN: f64 = 0.2;

/// Samples kept before a frame's start for the timing search.
const MARGIN: usize = 64;

/// Lags on either side at which the preamble is correlated to refine the timing.
const TIMING_LAGS: usize = 12;

/// Samples between the times that starts of frames are counted from. Below twice as many a 64-bit float tells times apart to
/// a 500 000th of a sample, so that starts are as exact at the end of a long stream as at its beginning.
const ERA: u64 = 1 << 32;

/// All lags of the timing search.
const LAGS: usize = 2 * TIMING_LAGS + 1;

/// What a receiver knows beforehand.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// Symbols per second.
    pub symbol_rate_hz: f64,
    /// Samples per symbol.
    pub samples_per_symbol: usize,
    /// Roll-off of the pulse.
    pub roll_off: f64,
    /// Antennas that the transmitter sounds.
    pub transmit_antennas: usize,
}

/// What becomes of b·s_0.
#[derive(Debug, Clone, Default)]
pub enum SensingStream {
    /// It counts as noise.
    #[default]
    AsNoise,
    /// It is taken out of the payload by a receiver that knows what it follows from; in the header it counts as noise.
    Cancelled(SensingSequence),
    /// Its symbols are unknown QPSK, and header and payload are demapped beside them.
    Demapped,
}

/// What was learned of one frame, beside its symbols.
#[derive(Debug, Clone, Copy)]
pub struct FrameStatus {
    /// The header.
    pub header: FrameHeader,
    /// Frame number, unwrapped.
    pub number: u64,
    /// Sample of the stream at or before which the frame's first pulse begins.
    pub start_sample: u64,
    /// What its beginning is later than that sample, in samples from 0 to 1.
    pub start_fraction: f64,
    /// Measured SINR of the payload, linear; the sensing stream counts as noise unless it was taken out.
    pub sinr: f64,
    /// Variance of noise, and of the interference that counts as noise, on the unit-gain symbols.
    pub noise_variance: f32,
    /// b/a, where the sensing stream is to be demapped jointly.
    pub sensing_share: Option<Complex32>,
    /// Carrier offset.
    pub carrier_offset_hz: f64,
    /// Whether the frame held a sounding.
    pub sounded: bool,
}

impl FrameStatus {
    /// Soft bits of payload symbols, as [`Constellation::demap`].
    pub fn demap(&self, constellation: &Constellation, symbols: &[Complex32], soft: &mut [i8]) {
        match self.sensing_share {
            Some(share) => constellation.demap_jointly(symbols, self.noise_variance, share, soft),
            None => constellation.demap(symbols, self.noise_variance, soft),
        }
    }
}

/// Where the receiver is in the stream.
#[derive(Debug, Clone, Copy)]
enum State {
    Searching,
    Locked {
        /// Start of the next frame, in samples since `FrameReceiver::era`.
        start: f64,
        misses: u32,
        /// Number of the next frame, once a header was read.
        next: Option<u64>,
    },
}

/// The receiver, with state between chunks of samples.
pub struct FrameReceiver {
    config: ReceiverConfig,
    words: Words,
    /// The semantic stream's words less what the sensing stream's share with them: blind to b.
    pilots: StreamWords,
    searcher: Searcher,
    filter: MatchedFilter,
    header_code: HeaderCode,
    header_scratch: HeaderScratch,
    state: State,
    /// Samples from stream sample `origin` on.
    samples: Vec<Complex32>,
    origin: u64,
    /// The sample that starts of frames are counted from: a multiple of [`ERA`], at least one of them before `origin` except
    /// at the stream's beginning.
    era: u64,
    /// Running estimate, in cycles per symbol.
    carrier: Option<f64>,
    work: Vec<Complex32>,
    lags: [[Complex64; 2]; LAGS],
    symbols: Vec<Complex32>,
    header_llrs: Vec<f32>,
    header_bits: Vec<u8>,
    sounding: Vec<Complex32>,
    sensing: SensingStream,
    /// Room for a frame's s_0.
    sensing_symbols: Vec<Complex32>,
}

impl FrameReceiver {
    /// A receiver for chunks of up to `chunk` samples.
    pub fn new(config: ReceiverConfig, chunk: usize) -> crate::Result<Self> {
        let words = Words::new(config.transmit_antennas);
        let longest = Layout::with_sounding(config.transmit_antennas).symbols();
        let sps = config.samples_per_symbol;
        let window = sps * (longest + 4 * SPAN_SYMBOLS) + 2 * MARGIN;
        let header_code = HeaderCode::new(HEADER_BITS, 2 * HEADER)?;
        Ok(Self {
            searcher: Searcher::new(&words.semantic.preamble, sps, config.roll_off),
            filter: MatchedFilter::new(longest, sps, config.roll_off),
            header_scratch: HeaderScratch::new(&header_code),
            header_code,
            pilots: StreamWords {
                preamble: without(&words.semantic.preamble, &words.sensing.preamble),
                unique_word: without(&words.semantic.unique_word, &words.sensing.unique_word),
            },
            words,
            lags: [[Complex64::default(); 2]; LAGS],
            state: State::Searching,
            samples: Vec::with_capacity(chunk + SEARCH + 2 * window),
            origin: 0,
            era: 0,
            carrier: None,
            work: vec![Complex32::default(); window],
            symbols: vec![Complex32::default(); longest],
            header_llrs: vec![0.0; 2 * HEADER],
            header_bits: vec![0; HEADER_BITS],
            sounding: vec![Complex32::default(); config.transmit_antennas],
            sensing: SensingStream::AsNoise,
            sensing_symbols: vec![Complex32::default(); SENSING_SYMBOLS],
            config,
        })
    }

    /// Says what becomes of b·s_0.
    pub fn with_sensing(self, sensing: SensingStream) -> Self {
        Self { sensing, ..self }
    }

    /// Takes in the next samples; `time` is the stream's sample count at the first. A gap in time ends the lock.
    pub fn push(&mut self, time: u64, samples: &[Complex32]) {
        if time != self.origin + self.samples.len() as u64 {
            self.samples.clear();
            self.origin = time;
            self.state = State::Searching;
        }
        self.samples.extend_from_slice(samples);
    }

    /// The next frame whose header could be read, if its samples are there. Its symbols are in [`Self::block`] until
    /// the next call. At the stream's end `last` lets a search run on what is left.
    pub fn next_frame(&mut self, last: bool) -> Option<FrameStatus> {
        loop {
            match self.state {
                State::Searching => {
                    let count = self.samples.len().min(SEARCH);
                    if count < SEARCH && !(last && count > self.searcher.overlap()) {
                        return None;
                    }
                    match self.searcher.search(&self.samples[..count]) {
                        Some(at) => {
                            self.carrier = None;
                            self.era = (self.origin / ERA).saturating_sub(1) * ERA;
                            let start = (self.origin - self.era + at as u64) as f64;
                            self.state = State::Locked { start, misses: 0, next: None };
                        }
                        None => self.forget(count.saturating_sub(self.searcher.overlap())),
                    }
                    if last && count < SEARCH && matches!(self.state, State::Searching) {
                        return None;
                    }
                }
                State::Locked { start, misses, next } => {
                    let start = self.renew_era(start);
                    let keep = (self.era + start as u64).saturating_sub(self.origin + 2 * MARGIN as u64);
                    self.forget((keep as usize).min(self.samples.len()));
                    if !self.has_frame(start) {
                        return None;
                    }
                    if let Some(status) = self.read_frame(start, misses, next) {
                        return Some(status);
                    }
                }
            }
        }
    }

    /// Equalised unit-gain symbols of payload block `index` of the frame last returned.
    pub fn block(&self, index: usize) -> &[Complex32] {
        &self.symbols[index * BLOCK..][..BLOCK]
    }

    /// Per-antenna gains of the frame last returned, if it was sounded: h_cᴴ's entries times the sounding's amplitude.
    pub fn sounding(&self) -> &[Complex32] {
        &self.sounding
    }

    fn forget(&mut self, count: usize) {
        self.samples.drain(..count);
        self.origin += count as u64;
    }

    /// Counts from a later sample where a start is far from the one that it is counted from; that start, so counted.
    fn renew_era(&mut self, start: f64) -> f64 {
        if start < (2 * ERA) as f64 {
            return start;
        }
        let renewed = start - ERA as f64;
        self.era += ERA;
        if let State::Locked { start, .. } = &mut self.state {
            *start = renewed;
        }
        renewed
    }

    /// Whether all samples of the longest frame at `start` are there.
    fn has_frame(&self, start: f64) -> bool {
        let longest = Layout::with_sounding(self.config.transmit_antennas).symbols() + 2 * SPAN_SYMBOLS;
        let end = start + (self.config.samples_per_symbol * longest + MARGIN) as f64;
        end <= (self.origin - self.era + self.samples.len() as u64) as f64
    }

    /// Reads the frame at about `start` and moves on to the next.
    fn read_frame(&mut self, start: f64, misses: u32, next: Option<u64>) -> Option<FrameStatus> {
        let antennas = self.config.transmit_antennas;
        let period = self.config.samples_per_symbol as f64;
        let refined = self.refine(start);
        let sounded_first = next.is_some_and(|number| Layout::of(number, antennas).sounding > 0);
        let layouts = [Layout { sounding: 0 }, Layout::with_sounding(antennas)];
        let order = if sounded_first { [1, 0] } else { [0, 1] };
        for layout in order.map(|index| layouts[index]) {
            if let Some(status) = self.demodulate(refined, layout, next.unwrap_or(0)) {
                self.state = State::Locked {
                    start: refined + period * layout.symbols() as f64,
                    misses: 0,
                    next: Some(status.number + 1),
                };
                return Some(status);
            }
        }
        let guess = layouts[order[0]].symbols() as f64;
        self.state = if misses + 1 >= MAX_MISSES || next.is_none() {
            self.forget(
                ((self.era + start as u64).saturating_sub(self.origin) as usize + 2 * MARGIN).min(self.samples.len()),
            );
            State::Searching
        } else {
            State::Locked { start: start + period * guess, misses: misses + 1, next: next.map(|number| number + 1) }
        };
        None
    }

    /// Timing and carrier from the preamble: the correlation with both copies, interpolated between samples.
    fn refine(&mut self, start: f64) -> f64 {
        let base = start.floor();
        self.correlate_lags((self.era + base as u64).saturating_sub(self.origin) as usize);
        let sums = &self.lags;
        let power = |x: f64| {
            let [first, second] = interpolate(sums, x);
            first.norm_sqr() + second.norm_sqr()
        };
        let inner = TIMING_LAGS / 2..LAGS - TIMING_LAGS / 2;
        let at_lag = |lag: usize| sums[lag][0].norm_sqr() + sums[lag][1].norm_sqr();
        let peak = inner.max_by(|a, b| at_lag(*a).total_cmp(&at_lag(*b))).unwrap_or(TIMING_LAGS) as f64;
        let best = maximise(power, peak);
        let [first_copy, second_copy] = interpolate(sums, best);
        let residual = (first_copy.conj() * second_copy).arg() / (std::f64::consts::TAU * PREAMBLE_WORD as f64);
        if residual.is_finite() {
            self.carrier = Some(self.carrier.map_or(residual, |running| running + CARRIER_GAIN * residual));
        }
        base + best - TIMING_LAGS as f64
    }

    /// Correlates both preamble copies at the lags around sample `first` of the buffer. One pass of the matched filter
    /// per phase of a symbol serves all lags; samples before the buffer count as silence.
    fn correlate_lags(&mut self, first: usize) {
        let sps = self.config.samples_per_symbol;
        let symbols = PREAMBLE + LAGS.div_ceil(sps);
        let needed = self.filter.samples_for(symbols) + sps;
        let missing = TIMING_LAGS.saturating_sub(first);
        let there = &self.samples[(first + missing - TIMING_LAGS).min(self.samples.len())..];
        let there = &there[..there.len().min(needed - missing)];
        let work = &mut self.work[..needed];
        work.fill(Complex32::default());
        work[missing..][..there.len()].copy_from_slice(there);
        rotate(work, 0.0, -std::f64::consts::TAU * self.carrier.unwrap_or(0.0) / sps as f64);
        for phase in 0..sps {
            let filtered = &mut self.symbols[..symbols];
            self.filter.filter(&work[phase..], 0.0, filtered);
            for lag in (phase..LAGS).step_by(sps) {
                for (copy, sum) in self.lags[lag].iter_mut().enumerate() {
                    let from = lag / sps + copy * PREAMBLE_WORD;
                    *sum = correlate(&filtered[from..][..PREAMBLE_WORD], &self.pilots.preamble);
                }
            }
        }
    }

    /// Demodulates the frame at `start` if its header can be read with this layout.
    fn demodulate(&mut self, start: f64, layout: Layout, near: u64) -> Option<FrameStatus> {
        let sps = self.config.samples_per_symbol;
        let count = layout.symbols();
        let base = start.floor();
        let first = (self.era + base as u64).checked_sub(self.origin)? as usize;
        let needed = self.filter.samples_for(count) + 1;
        let work = &mut self.work[..needed];
        work.copy_from_slice(self.samples.get(first..first + needed)?);
        let carrier = self.carrier.unwrap_or(0.0);
        rotate(work, 0.0, -std::f64::consts::TAU * carrier / sps as f64);
        self.filter.filter(work, start - base, &mut self.symbols[..count]);
        let step = self.straighten(layout);
        let (a, b, noise) = self.estimate(layout);
        let wanted = a.norm_sqr();
        if wanted <= 0.0 || !wanted.is_finite() {
            return None;
        }
        let gain = a.inv();
        let gain = Complex32::new(gain.re as f32, gain.im as f32);
        let mut impairment = b.norm_sqr() + noise;
        for symbol in &mut self.symbols[layout.header()..count] {
            *symbol *= gain;
        }
        let header_symbols = &self.symbols[layout.header()..][..HEADER];
        let share = Complex32::new(b.re as f32, b.im as f32) * gain;
        let demapped = matches!(self.sensing, SensingStream::Demapped);
        let llrs = &mut self.header_llrs;
        if demapped {
            let put = |index: usize, value| llrs[index] = value;
            Constellation::from(Modulation::Qpsk).each_jointly(header_symbols, (noise / wanted) as f32, share, put);
        } else {
            Modulation::Qpsk.demap_f32(header_symbols, (impairment / wanted) as f32, llrs);
        }
        let read = self.header_code.decode(&self.header_llrs, &mut self.header_bits, &mut self.header_scratch);
        let header = read.then(|| FrameHeader::unpack(&self.header_bits)).flatten()?;
        self.sound(layout);
        for index in 0..BLOCKS {
            let from = layout.block(index);
            self.symbols.copy_within(from..from + BLOCK, index * BLOCK);
        }
        let number = unwrap_count(u64::from(header.number), 24, near);
        if let SensingStream::Cancelled(sequence) = &self.sensing {
            sequence.write(number, &mut self.sensing_symbols);
            let payload = self.symbols.iter_mut().zip(&self.sensing_symbols[HEADER..]);
            payload.for_each(|(symbol, sensing)| *symbol -= share * sensing);
            impairment = noise;
        }
        let variance = if demapped { noise } else { impairment } / wanted;
        Some(FrameStatus {
            header,
            number,
            start_sample: self.era + base as u64,
            start_fraction: start - base,
            sinr: wanted / impairment,
            noise_variance: variance as f32,
            sensing_share: demapped.then_some(share),
            carrier_offset_hz: (carrier + step / std::f64::consts::TAU) * self.config.symbol_rate_hz,
            sounded: layout.sounding > 0,
        })
    }

    /// Fits one phase line through preamble and unique words and takes it out; returns its slope in rad per symbol.
    fn straighten(&mut self, layout: Layout) -> f64 {
        let mut points = [(0.0, Complex64::default()); 2 + UNIQUE_WORDS];
        for (copy, point) in points[..2].iter_mut().enumerate() {
            let from = copy * PREAMBLE_WORD;
            let part = &self.symbols[from..][..PREAMBLE_WORD];
            *point = (from as f64 + centre(PREAMBLE_WORD), correlate(part, &self.pilots.preamble));
        }
        for (index, point) in points[2..].iter_mut().enumerate() {
            let from = layout.unique_word(index);
            let part = &self.symbols[from..][..UNIQUE_WORD];
            *point = (from as f64 + centre(UNIQUE_WORD), correlate(part, &self.pilots.unique_word));
        }
        let (offset, slope) = phase_line(&points);
        rotate(&mut self.symbols[..layout.symbols()], -offset, -slope);
        slope
    }

    /// Least squares on all known symbols: a, b and σ² without bias in |a|² and |b|².
    fn estimate(&self, layout: Layout) -> (Complex64, Complex64, f64) {
        let (mut ca, mut cb, mut cross, mut energy, mut count) =
            (Complex64::default(), Complex64::default(), Complex64::default(), 0.0, 0.0);
        let semantic = &self.words.semantic;
        let sensing = &self.words.sensing;
        let parts =
            [(0, &semantic.preamble, &sensing.preamble), (PREAMBLE_WORD, &semantic.preamble, &sensing.preamble)]
                .into_iter()
                .chain(
                    (0..UNIQUE_WORDS)
                        .map(|index| (layout.unique_word(index), &semantic.unique_word, &sensing.unique_word)),
                );
        for (from, word_c, word_0) in parts {
            let part = &self.symbols[from..][..word_c.len()];
            ca += correlate(part, word_c);
            cb += correlate(part, word_0);
            cross += correlate(word_0, word_c);
            energy += part.iter().map(|symbol| f64::from(symbol.norm_sqr())).sum::<f64>();
            count += word_c.len() as f64;
        }
        // Normal equations of unit-modulus words: [n, x; x*, n]·[a; b] = [ca; cb].
        let determinant = count * count - cross.norm_sqr();
        let a = (ca * count - cross * cb) / determinant;
        let b = (cb * count - cross.conj() * ca) / determinant;
        let explained = (a.conj() * ca + b.conj() * cb).re;
        let noise = ((energy - explained) / (count - 2.0)).max(f64::MIN_POSITIVE);
        let variance = noise * count / determinant;
        let shrink = |z: Complex64| z * (1.0 - variance / z.norm_sqr().max(f64::MIN_POSITIVE)).max(0.0).sqrt();
        (shrink(a), shrink(b), noise)
    }

    /// Per-antenna gains from the sounding slots.
    fn sound(&mut self, layout: Layout) {
        if layout.sounding == 0 {
            return;
        }
        let antennas = self.config.transmit_antennas;
        for antenna in 0..antennas {
            let (from, slot) = layout.sounding_slot(antenna, antennas);
            let word = &self.words.sounding[..slot - 2 * SOUNDING_GUARD];
            let gain = correlate(&self.symbols[from + SOUNDING_GUARD..][..word.len()], word) / word.len() as f64;
            self.sounding[antenna] = Complex32::new(gain.re as f32, gain.im as f32);
        }
    }
}

/// `word` less its projection on `other`, both of unit modulus.
fn without(word: &[Complex32], other: &[Complex32]) -> Vec<Complex32> {
    let shared = correlate(word, other) / other.len() as f64;
    let shared = Complex32::new(shared.re as f32, shared.im as f32);
    word.iter().zip(other).map(|(word, other)| word - shared * other).collect()
}

fn centre(length: usize) -> f64 {
    (length as f64 - 1.0) / 2.0
}

/// The two copies' correlations at a lag between samples: a windowed sinc over the lags at hand.
fn interpolate(sums: &[[Complex64; 2]; LAGS], x: f64) -> [Complex64; 2] {
    let half = TIMING_LAGS as f64;
    let mut value = [Complex64::default(); 2];
    for (lag, sum) in sums.iter().enumerate() {
        let distance = x - lag as f64;
        if distance.abs() < half {
            let angle = std::f64::consts::PI * distance;
            let sinc = if distance.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
            let weight = sinc * (0.5 * angle / half).cos().powi(2);
            value[0] += sum[0] * weight;
            value[1] += sum[1] * weight;
        }
    }
    value
}

/// Maximum of a smooth function with its peak within a sample of `near`: the vertex of a parabola through three points,
/// then of a narrower one about it.
fn maximise(value: impl Fn(f64) -> f64, near: f64) -> f64 {
    let mut best = near;
    for step in [0.5, 0.1, 0.02] {
        let (before, at, after) = (value(best - step), value(best), value(best + step));
        let curvature = before - 2.0 * at + after;
        if curvature < 0.0 {
            best += step * (0.5 * (before - after) / curvature).clamp(-1.2, 1.2);
        }
    }
    best
}

/// Weighted line through the phases of `points` (position, correlation): offset at position 0 and slope. Phases are
/// unwrapped along a first line that maximises the coherent sum.
fn phase_line(points: &[(f64, Complex64)]) -> (f64, f64) {
    // One pass of unwrapping from point to point, each predicted by the line so far.
    let (mut weight_sum, mut x_sum, mut y_sum, mut xx_sum, mut xy_sum) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let (mut offset, mut slope) = (points[0].1.arg(), 0.0);
    for (index, (x, correlation)) in points.iter().enumerate() {
        let predicted = offset + slope * x;
        let turn = Complex64::cis(-predicted);
        let y = predicted + (correlation * turn).arg();
        let weight = correlation.norm();
        weight_sum += weight;
        x_sum += weight * x;
        y_sum += weight * y;
        xx_sum += weight * x * x;
        xy_sum += weight * x * y;
        let spread = weight_sum * xx_sum - x_sum * x_sum;
        if index > 0 && spread > 0.0 {
            slope = (weight_sum * xy_sum - x_sum * y_sum) / spread;
            offset = (y_sum - slope * x_sum) / weight_sum;
        }
    }
    (offset, slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_line_is_fitted_through_wrapped_phases() {
        let points: Vec<_> = [63.5, 191.5, 527.5, 815.5, 1103.5, 1391.5, 1679.5]
            .iter()
            .map(|x| (*x, Complex64::from_polar(2.0, 3.0 + 0.009 * x)))
            .collect();
        let (offset, slope) = phase_line(&points);
        let turned = (Complex64::cis(offset) - Complex64::cis(3.0)).norm();
        assert!((slope - 0.009).abs() < 1e-9 && turned < 1e-6, "{offset} {slope}");
    }

    #[test]
    fn a_peak_between_samples_is_found() {
        for peak in [-0.49, -0.2, 0.0, 0.37, 0.5] {
            let at = maximise(|x| (0.9 * (x - peak)).cos().powi(2), 0.0);
            assert!((at - peak).abs() < 1e-5, "{at} instead of {peak}");
        }
    }
}
