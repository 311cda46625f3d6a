//! Echoes that are not as the streams alone would make them, mended: turned back, and freed of their own images.

use num_complex::{Complex32, Complex64};

use super::{Estimator, Window};
use crate::dsp::lanes::LANES;
use crate::dsp::{DelayTaps, FILTER_TAPS, correlate, dispatched, rotate};
use crate::sensing::fit::RowSet;
use crate::sensing::spectrum::Gram;
use crate::sensing::{EchoFrame, Fix, STREAMS, Status};

/// An echo that turns by more than so many deviations within the window is turned back, ...
const TURNING_DEVIATIONS: f64 = 5.0;
/// ... as is one for which a stream that turns to first order only would be off by more than this, in radians at the ends.
const FIRST_ORDER_RAD: f64 = 0.05;
/// How often an echo is mended.
const MENDED: usize = 4;
/// Noise in the streams' band that is so many times that beyond it is not noise alone.
const NOISY: f64 = 1.3;
/// A row may be clipped if more samples than this are next to the largest, and as many of them as this part of those below.
const PILED_UP: usize = 8;
const PILED_PART: f64 = 0.25;
/// Next to the largest, and below, as parts of it.
const NEXT_TO: f32 = 0.98;
const BELOW: f32 = 0.85;
/// It is, if what a third power of the echo explains of the rest exceeds what it does of noise: an exponential number.
const COMPRESSED: f64 = 25.0;
/// Weaker echoes, as a part of a row's power, suffer from that as noise does.
const STRONG_PART: f64 = 0.05;

impl Estimator {
    /// How fast the echo of one frame turns beyond what the fine stage has taken into account, if that is more than noise or
    /// more than first order is good for.
    pub(super) fn excess_turning(&self) -> Option<f64> {
        self.reached?;
        let [more, deviation] = self.fit.turning;
        let known = self.spectra.rate();
        let rate = known + more;
        let within = 0.5 * self.window as f64;
        let stands_out = more.abs() > TURNING_DEVIATIONS * deviation;
        let beyond = known.abs() * within > FIRST_ORDER_RAD;
        ((stands_out || beyond) && rate.is_finite() && rate.abs() * within < std::f64::consts::TAU)
            .then_some(self.turned_by + rate)
    }

    /// The fine stage on the echo of one frame, which is loaded, and again on what is left of it without the turning and the
    /// images that it shows.
    pub(super) fn locate_mended<'a>(
        &mut self,
        window: Window,
        frame: &EchoFrame<'_>,
        echo: impl Iterator<Item = &'a [Complex32]> + Clone,
    ) -> Result<Fix, Status> {
        self.turned_by = 0.0;
        let mut result = self.locate(window, Some(frame));
        if self.excess_turning().is_none() && !self.is_noisy() {
            return result;
        }
        self.images.fill(Complex64::ZERO);
        for _ in 0..MENDED {
            let rate = self.excess_turning();
            let mirrored = self.is_noisy() && self.finds_images(window.lag);
            if rate.is_none() && !mirrored {
                break;
            }
            self.mend(rate.unwrap_or(self.turned_by), echo.clone());
            let gram = self.spectra.load_streams(0, frame.streams(), self.config.moving);
            result = self.locate(Window { gram, ..window }, Some(frame));
        }
        self.turned_by = 0.0;
        result
    }

    /// Whether there is clearly more noise in the streams' band than beyond it.
    pub(super) fn is_noisy(&self) -> bool {
        let rows = self.config.receive_antennas as f64;
        self.reached.is_some()
            && self.spectra.outside_noise().is_some_and(|noise| self.fit.left() * rows > NOISY * noise)
    }

    /// Looks for images of the echo where the rows fit otherwise.
    fn finds_images(&mut self, lag: isize) -> bool {
        let Some(reached) = self.reached.filter(|_| self.seen.rows == 0) else { return false };
        self.fit.find_images(&mut self.spectra, reached.delay - lag as f64, &mut self.images)
    }

    /// Loads the echo without the images found and turned back by `rate` radians a sample about the window's middle.
    pub(super) fn mend<'a>(&mut self, rate: f64, echo: impl Iterator<Item = &'a [Complex32]>) {
        let middle = 0.5 * (self.window as f64 - 1.0);
        for ((to, from), image) in self.turned.chunks_exact_mut(self.window).zip(echo).zip(&self.images) {
            let image = Complex32::new(image.re as f32, image.im as f32);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from - image * from.conj());
            rotate(to, rate * middle, -rate);
        }
        self.turned_by = rate;
        self.spectra.load_echo(0, self.turned.chunks_exact(self.window));
    }

    /// Rows that are clipped, where one echo is a good part of them. A limiter lets less through of a weak stream beside a
    /// strong one, so the beams' ratio that it leaves is another direction's, however little noise there is. What shows it is
    /// the third power of the echo in what the streams leave.
    pub(super) fn clipped_rows<'a>(
        &mut self,
        frame: &EchoFrame<'_>,
        lag: isize,
        echo: impl Fn(usize) -> &'a [Complex32],
    ) -> RowSet {
        let Some(reached) = self.reached else { return RowSet::default() };
        let window = self.window;
        let mut clipped = RowSet::default();
        let mut gram = None;
        for row in (0..self.config.receive_antennas).filter(|row| is_piled_up(&echo(*row)[..window])) {
            let gram = *gram.get_or_insert_with(|| self.delay_streams(frame, reached.delay - lag as f64));
            if self.is_compressed(&gram, &echo(row)[..window]) {
                clipped = clipped.with(row);
            }
        }
        clipped
    }

    /// Writes both streams as a window that begins `delay` samples before they come; returns their inner products.
    fn delay_streams(&mut self, frame: &EchoFrame<'_>, delay: f64) -> Gram {
        let taps = DelayTaps::new(delay);
        let window = self.window;
        let from = frame.window_start as i64 - taps.reach_back();
        let (delayed, scratch) = self.delayed.split_at_mut(STREAMS * window);
        for (stream, delayed) in delayed.chunks_exact_mut(window).enumerate() {
            let row = frame.reference.row(stream);
            for (to, index) in scratch.iter_mut().zip(from..) {
                *to = usize::try_from(index).ok().and_then(|index| row.get(index)).copied().unwrap_or_default();
            }
            taps.apply(&scratch[..window + FILTER_TAPS - 1], delayed);
        }
        Gram::of_samples(&delayed[..window], &delayed[window..])
    }

    /// Whether the third power of what the streams make of a row is in what they leave of it.
    fn is_compressed(&mut self, gram: &Gram, row: &[Complex32]) -> bool {
        let window = self.window;
        let (streams, cube) = self.delayed.split_at_mut(STREAMS * window);
        let [first, second] = [&streams[..window], &streams[window..]];
        let cube = &mut cube[..window];
        let explain = |signal: &[Complex32]| gram.response([correlate(signal, first), correlate(signal, second)]);
        let single = |g: Complex64| Complex32::new(g.re as f32, g.im as f32);
        let [g_c, g_0] = explain(row).map(single);
        for ((cube, a), b) in cube.iter_mut().zip(first).zip(second) {
            let echo = g_c * a + g_0 * b;
            *cube = echo * echo.norm_sqr();
        }
        let [q_c, q_0] = explain(cube).map(single);
        let (mut along, mut power, mut rest, mut heard) = (Complex64::ZERO, 0.0, 0.0, 0.0);
        for (((sample, cube), a), b) in row.iter().zip(&*cube).zip(first).zip(second) {
            let left = sample - g_c * a - g_0 * b;
            let cube = cube - q_c * a - q_0 * b;
            let product = left * cube.conj();
            along += Complex64::new(product.re.into(), product.im.into());
            power += f64::from(cube.norm_sqr());
            rest += f64::from(left.norm_sqr());
            heard += f64::from(sample.norm_sqr());
        }
        // Streams have half the band, and so have the independent samples of noise that is in it.
        let independent = self.spectra.bins() as f64;
        heard - rest > STRONG_PART * heard && along.norm_sqr() * independent > COMPRESSED * power * rest
    }
}

/// Whether many samples of a row are as large as the largest, by magnitude or by a part: it may be clipped.
fn is_piled_up(row: &[Complex32]) -> bool {
    let mut largest = [0.0; SIZES];
    largest_sizes(row, &mut largest);
    let mut counts = [[0; SIZES]; 2];
    let limits = [NEXT_TO, BELOW].map(|part| largest.map(|largest| part * part * largest));
    count_above(row, &limits, &mut counts);
    let [next, below] = counts;
    (0..SIZES).any(|size| {
        let (next, below) = (next[size], below[size]);
        next > PILED_UP as u32 && f64::from(next) > PILED_PART * f64::from(below - next)
    })
}

/// Squares of a sample's magnitude, of its real and of its imaginary part.
const SIZES: usize = 3;

/// Of eight samples, the squares of their parts as these lie, and of each one's magnitude in the places of both.
#[inline(always)]
fn sizes(samples: &[f32; LANES]) -> [[f32; LANES]; 2] {
    let [mut parts, mut both] = [[0f32; LANES]; 2];
    for lane in 0..LANES {
        parts[lane] = samples[lane] * samples[lane];
    }
    for lane in 0..LANES {
        both[lane] = parts[lane] + parts[lane ^ 1];
    }
    [parts, both]
}

/// The last samples of a row, behind which zeros stand.
#[inline(always)]
fn filled_up(rest: &[f32]) -> [f32; LANES] {
    let mut last = [0f32; LANES];
    last[..rest.len()].copy_from_slice(rest);
    last
}

dispatched! {
    /// The largest of each size.
    fn largest_sizes(row: &[Complex32], largest: &mut [f32; SIZES]) = largest_sizes_body
}

#[inline(always)]
fn largest_sizes_body(row: &[Complex32], largest: &mut [f32; SIZES]) {
    let [mut parts, mut both] = [[0f32; LANES]; 2];
    let mut take = |samples: &[f32; LANES]| {
        let [own_parts, own_both] = sizes(samples);
        for lane in 0..LANES {
            parts[lane] = if own_parts[lane] > parts[lane] { own_parts[lane] } else { parts[lane] };
        }
        for lane in 0..LANES {
            both[lane] = if own_both[lane] > both[lane] { own_both[lane] } else { both[lane] };
        }
    };
    let (blocks, rest) = bytemuck::cast_slice(row).as_chunks::<LANES>();
    for block in blocks {
        take(block);
    }
    take(&filled_up(rest));
    let of = |sizes: &[f32]| sizes.iter().step_by(2).copied().fold(0.0, f32::max);
    *largest = [of(&both), of(&parts), of(&parts[1..])];
}

dispatched! {
    /// How many samples are above each of the limits.
    fn count_above(row: &[Complex32], limits: &[[f32; SIZES]; 2], counts: &mut [[u32; SIZES]; 2]) = count_above_body
}

#[inline(always)]
fn count_above_body(row: &[Complex32], limits: &[[f32; SIZES]; 2], counts: &mut [[u32; SIZES]; 2]) {
    for ([of_both, of_re, of_im], counts) in limits.iter().zip(counts) {
        let [mut both, mut re, mut im] = [0; SIZES];
        for sample in row {
            let (own_re, own_im) = (sample.re * sample.re, sample.im * sample.im);
            both += u32::from(own_re + own_im > *of_both);
            re += u32::from(own_re > *of_re);
            im += u32::from(own_im > *of_im);
        }
        *counts = [both, re, im];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_equal_samples_are_piled_up_and_the_dispatched_kernels_equal_the_baseline() {
        let row: Vec<_> = (0..2309u16).map(|n| Complex32::cis(f32::from(n)) * (1.0 + f32::from(n % 97))).collect();
        assert!(!is_piled_up(&row));
        for clipped in [
            |z: &Complex32| z / z.norm().max(40.0) * 40.0,
            |z: &Complex32| Complex32::new(z.re.clamp(-40.0, 40.0), z.im),
            |z: &Complex32| Complex32::new(z.re, z.im.clamp(-40.0, 40.0)),
        ] {
            assert!(is_piled_up(&row.iter().map(clipped).collect::<Vec<_>>()));
        }
        let (mut fast, mut slow) = ([0.0; SIZES], [0.0; SIZES]);
        largest_sizes(&row, &mut fast);
        largest_sizes_body(&row, &mut slow);
        assert_eq!(fast, slow);
        let limits = [NEXT_TO, BELOW].map(|part| fast.map(|largest| part * part * largest));
        let (mut fast, mut slow) = ([[0; SIZES]; 2], [[0; SIZES]; 2]);
        count_above(&row, &limits, &mut fast);
        count_above_body(&row, &limits, &mut slow);
        assert_eq!(fast, slow);
        let above = |limit: f32| row.iter().filter(|sample| sample.norm_sqr() > limit).count();
        assert_eq!(fast.map(|counts| counts[0] as usize), limits.map(|limits| above(limits[0])));
    }
}
