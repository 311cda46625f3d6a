//! The delay search of a strong echo: at one sample a symbol and one antenna, then at the whole lags about the best.
//!
//! The echo, begun in the middle of the lags searched, is correlated circularly with the streams' spectra, which the fine
//! stage needs anyway: aliased to the symbol rate they are those of the samples at that rate. What an echo at another lag
//! loses is the part of the window that has gone round. Where the peak stands out by far, the energies at the whole lags
//! near it follow from a section of the window, as long as that takes.

use num_complex::{Complex32, Complex64};

use super::align::{Peak, Whitening, conjugate_product, energy_thresholds, largest, power, streams_in_use, vertex};
use super::spectrum::{Gram, Spectrum};
use super::{EchoFrame, STREAMS};
use crate::dsp::lanes::LANES;
use crate::dsp::{PlanarDft, dispatched, split};

/// The search decides where its peaks are this many times the threshold, which noise does not move.
const BEYOND_DOUBT: f64 = 3.0;
/// Samples from which the energies at whole lags are made, if they need no more to be beyond doubt.
const SECTION: usize = 320;

/// The search, with its scratch.
pub(super) struct SymbolRate {
    dft: PlanarDft,
    samples_per_symbol: usize,
    first_lag: isize,
    lags: usize,
    /// The lag, counted from the first, that is symbol 0 of the circle.
    middle: usize,
    /// What the antenna receives per sample, echoes included.
    received: f64,
    /// For one and for two streams in use.
    thresholds: [f64; STREAMS],
    echo: Vec<Complex32>,
    products: Vec<Complex32>,
    /// The streams' spectra: `[stream][part][bin]`.
    streams: Vec<f32>,
    /// Both parts of the correlation with the first stream.
    first: Vec<f32>,
    energy: Vec<f32>,
    section: Section,
}

/// A section of the window, real and imaginary parts, with room for all of it.
struct Section {
    /// `[stream][part][sample]`
    streams: Vec<f32>,
    /// `[part][sample]`
    echo: Vec<f32>,
    /// One for each lag.
    sums: Vec<[f32; 2 * STREAMS]>,
}

impl SymbolRate {
    /// `None` where the window is too short for a circle of all lags, or no whole number of symbols.
    pub fn new(
        window: usize,
        samples_per_symbol: usize,
        [first_lag, last_lag]: [isize; 2],
        false_alarm: f64,
    ) -> Option<Self> {
        let (symbols, lags) = (window / samples_per_symbol, (last_lag - first_lag + 1) as usize);
        if !window.is_multiple_of(samples_per_symbol) || lags > window || symbols == 0 || !symbols.is_multiple_of(LANES)
        {
            return None;
        }
        // The lags on either side of a symbol's, and one more on each.
        let near = samples_per_symbol / 2 * 2 + 3;
        Some(Self {
            dft: PlanarDft::new(symbols),
            samples_per_symbol,
            first_lag,
            lags,
            middle: (lags - 1) / 2 / samples_per_symbol * samples_per_symbol,
            received: 0.0,
            thresholds: energy_thresholds(1, false_alarm / lags as f64),
            echo: vec![Complex32::default(); symbols],
            products: vec![Complex32::default(); STREAMS * symbols],
            streams: vec![0.0; STREAMS * 2 * symbols],
            first: vec![0.0; 2 * symbols],
            energy: vec![0.0; symbols],
            section: Section {
                streams: vec![0.0; STREAMS * 2 * window],
                echo: vec![0.0; 2 * (window + near - 1)],
                sums: vec![[0.0; 2 * STREAMS]; near],
            },
        })
    }

    /// The peak, where there is no doubt of it; `spectrum` has the window's streams.
    pub fn search(&mut self, frame: &EchoFrame<'_>, spectrum: &Spectrum) -> Option<Peak> {
        let used = frame.used();
        let threshold = self.thresholds[streams_in_use(used) - 1];
        let (symbol, energy) = self.best_symbol(frame, spectrum, used);
        if energy < BEYOND_DOUBT * threshold {
            return None;
        }
        // Energies are twice the limit if noise and the delay between symbols take nothing away.
        let samples = (2.0 * BEYOND_DOUBT * threshold / energy * self.echo.len() as f64) as usize;
        let window = self.echo.len() * self.samples_per_symbol;
        let section = samples.max(SECTION).next_multiple_of(LANES).min(window);
        let peak = self.best_lag(frame, symbol, section, used, threshold);
        (peak.energy > BEYOND_DOUBT * threshold).then_some(peak)
    }

    /// The lag, counted from the first, of the symbol with most energy, and that energy.
    fn best_symbol(&mut self, frame: &EchoFrame<'_>, spectrum: &Spectrum, used: [bool; STREAMS]) -> (usize, f64) {
        let symbols = self.echo.len();
        let row = &frame.echo_row(0)[self.middle..];
        self.echo.iter_mut().zip(row.iter().step_by(self.samples_per_symbol)).for_each(|(to, from)| *to = *from);
        spectrum.alias_streams(symbols, &mut self.streams);
        let gram = Gram::of(&self.streams, symbols);
        let [re, im] = self.dft.forward(&self.echo);
        self.received = (power(re) + power(im)) / (symbols * symbols) as f64;
        if self.received <= 0.0 {
            return (self.middle, 0.0);
        }
        let streams = self.streams.chunks_exact(2 * symbols);
        for (product, stream) in self.products.chunks_exact_mut(symbols).zip(streams) {
            let (stream_re, stream_im) = stream.split_at(symbols);
            conjugate_product([re, im], [stream_re, stream_im], product);
        }
        for (part, first) in self.dft.forward(&self.products[..symbols]).into_iter().zip(self.first.chunks_mut(symbols))
        {
            first.copy_from_slice(part);
        }
        let second = self.dft.forward(&self.products[symbols..]);
        let whitening = gram.whitening(used);
        let scale = 1.0 / (symbols as f64 * self.received);
        let (share, weights) = in_single(&whitening, scale);
        energies(self.first.split_at(symbols).into(), second, share, weights, &mut self.energy);
        // Lags before the middle stand at the circle's end.
        let before = self.middle / self.samples_per_symbol;
        let after = (self.lags - 1 - self.middle) / self.samples_per_symbol;
        let [mut early, mut late] = [0.0; 2];
        largest(&self.energy[symbols - before..], &mut early);
        largest(&self.energy[..=after], &mut late);
        let from = if early > late { symbols - before } else { 0 };
        let best = early.max(late);
        let at = from + self.energy[from..].iter().position(|energy| *energy == best).unwrap_or(0);
        ((self.middle + at * self.samples_per_symbol) % (symbols * self.samples_per_symbol), best.into())
    }

    /// The best whole lag about one that was found at the symbol rate, by the window's first `samples`.
    fn best_lag(
        &mut self,
        frame: &EchoFrame<'_>,
        symbol: usize,
        samples: usize,
        used: [bool; STREAMS],
        threshold: f64,
    ) -> Peak {
        let Section { streams, echo, sums } = &mut self.section;
        let from = symbol.saturating_sub(sums.len() / 2);
        let count = sums.len().min(self.lags - from);
        let streams = &mut streams[..STREAMS * 2 * samples];
        for (stream, parts) in streams.chunks_exact_mut(2 * samples).enumerate() {
            let (re, im) = parts.split_at_mut(samples);
            split(&frame.stream(stream)[..samples], re, im);
        }
        let heard = samples + count - 1;
        let (re, im) = echo[..2 * heard].split_at_mut(heard);
        split(&frame.echo_row(0)[from..][..heard], re, im);
        correlate_lags(streams, [re, im], &mut sums[..count]);
        let whitening = Gram::of(streams, samples).whitening(used);
        let energy = |index: usize| {
            let [re, im, other_re, other_im] = sums[index].map(f64::from);
            let c = [Complex64::new(re, im), Complex64::new(other_re, other_im)];
            whitening.energy(c) / self.received
        };
        let best = (0..count).max_by(|a, b| energy(*a).total_cmp(&energy(*b))).unwrap_or(0);
        let beside = |index: Option<usize>| index.filter(|index| *index < count).map(energy);
        Peak {
            lag: self.first_lag + (from + best) as isize,
            fraction: vertex(beside(best.checked_sub(1)), energy(best), beside(Some(best + 1))),
            energy: energy(best),
            threshold,
        }
    }
}

/// What [`energies`] takes, the weights times `scale`. The second correlation has the first one's times the share's
/// conjugate in it; with real and imaginary part in each other's place, that is the share itself.
fn in_single(whitening: &Whitening, scale: f64) -> ([f32; 2], [f32; 2]) {
    let share = [whitening.share.re, whitening.share.im].map(|part| part as f32);
    (share, whitening.weights.map(|weight| (scale * weight) as f32))
}

dispatched! {
    /// Energies of two correlations, the first stream's share taken out of the second; their parts are changed over.
    fn energies(first: [&[f32]; 2], second: [&[f32]; 2], share: [f32; 2], weights: [f32; 2], energy: &mut [f32]) = energies_body
}

#[inline(always)]
fn energies_body(first: [&[f32]; 2], second: [&[f32]; 2], share: [f32; 2], weights: [f32; 2], energy: &mut [f32]) {
    let parts = first[0].iter().zip(first[1]).zip(second[0].iter().zip(second[1]));
    for (energy, ((re, im), (second_re, second_im))) in energy.iter_mut().zip(parts) {
        let left_re = second_re - (share[0] * re - share[1] * im);
        let left_im = second_im - (share[0] * im + share[1] * re);
        *energy = weights[0] * (re * re + im * im) + weights[1] * (left_re * left_re + left_im * left_im);
    }
}

dispatched! {
    /// Real and imaginary part of Σ echo[n + lag]·stream[n]* of both streams, for as many lags as there are sums; whole groups
    /// of lanes.
    fn correlate_lags(streams: &[f32], echo: [&[f32]; 2], sums: &mut [[f32; 2 * STREAMS]]) = correlate_lags_body
}

#[inline(always)]
fn correlate_lags_body(streams: &[f32], echo: [&[f32]; 2], sums: &mut [[f32; 2 * STREAMS]]) {
    let samples = streams.len() / (2 * STREAMS);
    let part = |row: &[f32], first: usize| -> [f32; LANES] { row[first..][..LANES].try_into().expect("a whole group") };
    for (lag, sums) in sums.iter_mut().enumerate() {
        let mut lanes = [[0f32; LANES]; 2 * STREAMS];
        for first in (0..samples).step_by(LANES) {
            let (re, im) = (part(echo[0], lag + first), part(echo[1], lag + first));
            for stream in 0..STREAMS {
                let stream_re = part(streams, 2 * stream * samples + first);
                let stream_im = part(streams, (2 * stream + 1) * samples + first);
                for lane in 0..LANES {
                    lanes[2 * stream][lane] += re[lane] * stream_re[lane] + im[lane] * stream_im[lane];
                    lanes[2 * stream + 1][lane] += im[lane] * stream_re[lane] - re[lane] * stream_im[lane];
                }
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(&lanes) {
            *sum = lanes.iter().sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DVector;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::super::Planar;
    use super::super::align::Correlator;
    use super::*;
    use crate::array::Beams;
    use crate::dsp::{PulseShaper, tail_samples};

    const LAGS: [isize; 2] = [-20, 700];
    const ROLL_OFF: f64 = 0.25;
    const SYMBOLS: usize = 2000;
    /// Where the window begins at four samples a symbol: all that the longest delay needs is before it.
    const START: usize = 1600;
    /// Samples kept from there on, for the longest window.
    const KEPT: usize = 6100;

    /// Both streams at four samples a symbol, from sample `from` on.
    fn streams(from: usize) -> Vec<Complex32> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut shaper = PulseShaper::new(SYMBOLS, 4, ROLL_OFF);
        let mut rows = vec![];
        for _ in 0..STREAMS {
            let mut axis = || if random.random::<bool>() { 0.7f32 } else { -0.7 };
            let symbols: Vec<_> = (0..SYMBOLS).map(|_| Complex32::new(axis(), axis())).collect();
            let mut samples = vec![Complex32::default(); 4 * SYMBOLS + tail_samples(4)];
            shaper.shape(&symbols, &mut samples);
            rows.extend_from_slice(&samples[from..][..KEPT]);
        }
        rows
    }

    /// Every other sample.
    fn halved(rows: &[Complex32]) -> Vec<Complex32> {
        rows.iter().step_by(2).copied().collect()
    }

    /// What the quick search and that over all samples find in an echo of both streams, `delay` half samples late.
    fn search(window: usize, delay: isize, gains: [f32; STREAMS]) -> (Option<Peak>, Peak) {
        let reference = halved(&streams(START));
        let length = reference.len() / 2;
        let reference = Planar::new(&reference, length);
        let late = halved(&streams((START as isize - delay + 2 * LAGS[0]) as usize));
        let late = Planar::new(&late, length);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
        let mut noise = || Complex32::new(random.random::<f32>() - 0.5, random.random::<f32>() - 0.5);
        let count = window + (LAGS[1] - LAGS[0]) as usize;
        let turned = [Complex32::new(0.6, -0.8), Complex32::new(0.0, 1.0)];
        let heard = late.row(0).iter().zip(late.row(1)).take(count);
        let echo: Vec<_> =
            heard.map(|(a, b)| turned[0] * a * gains[0] + turned[1] * b * gains[1] + noise() * 0.3).collect();
        let powers = [1.0, if gains[1] == 0.0 && gains[0] > 0.0 { 0.0 } else { 0.5 }];
        let [w_c, w_0] = powers.map(|power: f64| DVector::from_element(1, Complex64::from(power.sqrt())));
        let frame = EchoFrame {
            echo: Planar::new(&echo, count),
            echo_start: 0,
            reference,
            window_start: 0,
            beams: &Beams { w_c, w_0 },
            time_s: 0.0,
            late_samples: 0,
        };
        let mut spectrum = Spectrum::new(window, 1, 2, ROLL_OFF);
        spectrum.load_streams((0..STREAMS).map(|stream| reference.row(stream)));
        let mut quick = SymbolRate::new(window, 2, LAGS, 1e-4).unwrap();
        let mut whole = Correlator::new(window, LAGS, 1, (1.0 + ROLL_OFF) / 4.0, 1e-4);
        (quick.search(&frame, &spectrum), whole.search(&frame))
    }

    #[test]
    fn the_delay_is_that_of_the_search_over_all_samples() {
        for window in [1024, 2304] {
            for delay in [-40, -39, -13, 0, 1, 2, 301, 680, 681, 682, 999, 1399, 1400] {
                for gains in [[0.3, 0.2], [0.3, 0.0], [0.05, 0.4]] {
                    let (quick, whole) = search(window, delay, gains);
                    let quick = quick.unwrap_or_else(|| panic!("{window}, {delay}, {gains:?}: no doubt of it"));
                    for peak in [quick, whole] {
                        let off = peak.lag as f64 + peak.fraction - 0.5 * delay as f64;
                        // The parabola is a little off between two lags, and there is none at the ends.
                        let limit = if (LAGS[0] + 1..LAGS[1]).contains(&peak.lag) { 0.1 } else { 0.6 };
                        assert!(off.abs() < limit, "{window}, {delay}, {gains:?}: {peak:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_echo_too_weak_for_a_short_section_is_found_by_a_longer_one() {
        // Whole symbols and the middle of the circle, where the least is lost.
        for delay in [600, 640, 680, 720, 760] {
            let (quick, _) = search(1024, delay, [0.05, 0.035]);
            let quick = quick.unwrap_or_else(|| panic!("{delay}: no doubt of it"));
            assert!((quick.lag as f64 - 0.5 * delay as f64).abs() <= 1.0, "{delay}: {quick:?}");
            // All of the window explains more, but this section would not have been enough.
            let enough = BEYOND_DOUBT * quick.threshold;
            assert!(quick.energy > enough && quick.energy * (SECTION as f64 / 1024.0) < enough, "{delay}: {quick:?}");
        }
    }

    #[test]
    fn of_noise_and_of_an_echo_that_is_hardly_there_it_says_nothing() {
        for gains in [[0.0, 0.0], [0.01, 0.01]] {
            assert_eq!(search(1024, 100, gains).0, None);
        }
    }

    #[test]
    fn a_window_that_is_too_short_or_no_whole_symbols_is_left_to_the_other_search() {
        for (window, samples_per_symbol) in [(704, 2), (1025, 2), (1032, 2), (1024, 3)] {
            assert!(SymbolRate::new(window, samples_per_symbol, LAGS, 1e-4).is_none(), "{window}");
        }
    }

    #[test]
    fn energies_are_those_of_the_whitened_streams() {
        // Streams that have much in common.
        let gram = Gram { semantic: 2.0, sensing: 3.0, cross: Complex64::new(1.0, 1.7) };
        let whitening = gram.whitening([true; STREAMS]);
        let (share, weights) = in_single(&whitening, 1.0);
        for gain in [Complex64::ONE, Complex64::new(-0.3, 0.8)] {
            // An echo of the first stream alone, and one of both.
            for other in [Complex64::ZERO, Complex64::new(0.4, 0.9)] {
                let first = gain * gram.semantic + other * gram.cross.conj();
                let second = gain * gram.cross + other * gram.sensing;
                let [a, b] = [first, second].map(|c| ([c.im as f32], [c.re as f32]));
                let mut energy = [0.0];
                energies([&a.0, &a.1], [&b.0, &b.1], share, weights, &mut energy);
                let cross = 2.0 * (gain * other.conj() * gram.cross).re;
                let explained = gain.norm_sqr() * gram.semantic + other.norm_sqr() * gram.sensing + cross;
                assert!((f64::from(energy[0]) - explained).abs() < 1e-5, "{gain}, {other}: {energy:?}, {explained}");
                assert!((whitening.energy([first, second]) - explained).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_dispatched_kernels_equal_their_bodies_bit_for_bit() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut floats = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random::<f32>() - 0.5).collect() };
        let (a, b, c, d) = (floats(67), floats(67), floats(67), floats(67));
        let (mut fast, mut slow) = (vec![0.0; 67], vec![0.0; 67]);
        energies([&a, &b], [&c, &d], [0.3, -0.2], [1.5, 0.7], &mut fast);
        energies_body([&a, &b], [&c, &d], [0.3, -0.2], [1.5, 0.7], &mut slow);
        assert_eq!(fast, slow);
        let streams = floats(4 * 48);
        let (mut fast, mut slow) = ([[0.0; 2 * STREAMS]; 4], [[0.0; 2 * STREAMS]; 4]);
        correlate_lags(&streams, [&a, &b], &mut fast);
        correlate_lags_body(&streams, [&a, &b], &mut slow);
        assert_eq!(fast, slow);
    }
}
