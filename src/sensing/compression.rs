//! Whether an echo was compressed: by a limiter, or by an amplifier near its saturation, at either end.
//!
//! What is compressed lets less through of a weak stream beside a strong one, so the beams' ratio that it leaves is another
//! direction's, however little noise there is. To first order it adds α m|m|² to the echo m. The streams take up a part of
//! that, and are wrong by it; the rest is in what they leave, and shows α.

use num_complex::{Complex32, Complex64};

use super::spectrum::folded;
use crate::dsp::lanes::LANES;
use crate::dsp::{PlanarDft, dispatched};

/// Σ|m|², Σ|m|⁴, Σ|m|⁶, Re and Im Σ e m*, Re and Im Σ e m*|m|², Σ|e|².
const SUMS: usize = 8;

/// Room for an echo and what the streams leave of it, in time.
pub(super) struct Compression {
    dft: PlanarDft,
    bins: Vec<Complex32>,
    /// `[part][sample]`.
    echo: Vec<f32>,
}

impl Compression {
    /// For windows of so many samples. As many points as symbols hold nearly all that is in the streams' band.
    pub fn new(window: usize, samples_per_symbol: usize) -> Self {
        let points = PlanarDft::fast_length(window / samples_per_symbol).min(window);
        Self {
            dft: PlanarDft::new(points),
            bins: vec![Complex32::default(); points],
            echo: vec![0.0; 2 * points.next_multiple_of(LANES)],
        }
    }

    /// What says of α in an echo and what the streams leave of it, both given by their bins from −`reach` to `reach`,
    /// `[part][bin]`.
    pub fn read(&mut self, echo: &[f32], left: &[f32], reach: usize) -> Compressed {
        // The sixth power of an echo in volts has no place in a float.
        let energy: f32 = echo.iter().map(|part| part * part).sum();
        let scale = energy.sqrt().recip();
        if !scale.is_finite() {
            return Compressed::default();
        }
        let Self { dft, bins, echo: in_time } = self;
        let room = in_time.len() / 2;
        fold(echo, scale, reach, bins);
        for (part, to) in dft.forward(bins).into_iter().zip(in_time.chunks_exact_mut(room)) {
            to[..part.len()].copy_from_slice(part);
        }
        fold(left, scale, reach, bins);
        let mut sums = [0f32; SUMS];
        third_powers(in_time, dft.forward(bins), &mut sums);
        let [second, fourth, sixth, first_re, first_im, third_re, third_im, rest] = sums.map(f64::from);
        // Without what is along the echo itself: that is a gain.
        let gain = fourth / second;
        let along = Complex64::new(third_re - gain * first_re, third_im - gain * first_im);
        let power = sixth - gain * fourth;
        Compressed { along, power, variance: power * rest / (2 * reach) as f64 }
    }
}

/// What one echo, or several, show of α.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Compressed {
    /// Σ e c* with c = m|m|² − κ m, κ being such that c has nothing of m; the mean of that is α Σ|c|².
    along: Complex64,
    /// Σ|c|².
    power: f64,
    /// The mean square of the first by noise, at most.
    variance: f64,
}

impl Compressed {
    /// Adds another echo's to a part of what is known.
    pub fn take_in(&mut self, other: &Self, keep: f64) {
        self.along = self.along * keep + other.along;
        self.power = self.power * keep + other.power;
        self.variance = self.variance * keep * keep + other.variance;
    }

    /// How far α stands out: with noise alone an exponential number, of mean 1 at most.
    pub fn stands_out(&self) -> f64 {
        if self.variance > 0.0 { self.along.norm_sqr() / self.variance } else { 0.0 }
    }

    /// How far α, as several echoes show it, would make that of one echo stand out in the mean.
    pub fn expected_of(&self, one: &Self) -> f64 {
        if self.power > 0.0 { self.along.norm_sqr() * (one.power / self.power).powi(2) / one.variance } else { 0.0 }
    }
}

/// The complex conjugates of bins −`reach` … `reach` times a scale, where a transform of fewer points has them: its forward
/// transform is then the conjugate of the inverse one.
fn fold(parts: &[f32], scale: f32, reach: usize, bins: &mut [Complex32]) {
    let (re, im) = parts.split_at(parts.len() / 2);
    let points = bins.len();
    bins.fill(Complex32::default());
    for (from, to) in folded(reach, points) {
        for ((bin, re), im) in bins[to..].iter_mut().zip(&re[from.clone()]).zip(&im[from]) {
            *bin += Complex32::new(scale * re, -scale * im);
        }
    }
}

dispatched! {
    /// Adds the sums of an echo, with room behind its samples that is zero, and of what is left of it.
    fn third_powers(echo: &[f32], left: [&[f32]; 2], sums: &mut [f32; SUMS]) = third_powers_body
}

#[inline(always)]
fn third_powers_body(echo: &[f32], left: [&[f32]; 2], sums: &mut [f32; SUMS]) {
    let (echo_re, echo_im) = echo.split_at(echo.len() / 2);
    let mut lanes = [[0f32; LANES]; SUMS];
    let mut take = |m_re: &[f32; LANES], m_im: &[f32; LANES], e_re: &[f32; LANES], e_im: &[f32; LANES]| {
        for lane in 0..LANES {
            let power = m_re[lane] * m_re[lane] + m_im[lane] * m_im[lane];
            let re = e_re[lane] * m_re[lane] + e_im[lane] * m_im[lane];
            let im = e_im[lane] * m_re[lane] - e_re[lane] * m_im[lane];
            lanes[0][lane] += power;
            lanes[1][lane] += power * power;
            lanes[2][lane] += power * power * power;
            lanes[3][lane] += re;
            lanes[4][lane] += im;
            lanes[5][lane] += re * power;
            lanes[6][lane] += im * power;
            lanes[7][lane] += e_re[lane] * e_re[lane] + e_im[lane] * e_im[lane];
        }
    };
    let ((m_re, _), (m_im, _)) = (echo_re.as_chunks::<LANES>(), echo_im.as_chunks::<LANES>());
    let ((e_re, rest_re), (e_im, rest_im)) = (left[0].as_chunks::<LANES>(), left[1].as_chunks::<LANES>());
    for (((m_re, m_im), e_re), e_im) in m_re.iter().zip(m_im).zip(e_re).zip(e_im) {
        take(m_re, m_im, e_re, e_im);
    }
    if !rest_re.is_empty() {
        let filled = |rest: &[f32]| std::array::from_fn(|lane| rest.get(lane).copied().unwrap_or(0.0));
        take(&m_re[e_re.len()], &m_im[e_re.len()], &filled(rest_re), &filled(rest_im));
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum += lanes.iter().sum::<f32>();
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use num_complex::Complex32;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    const WINDOW: usize = 2304;
    const REACH: usize = 700;

    /// Normal numbers in the bins of a row, of this power each, padded.
    fn white(random: &mut impl Rng, power: f64) -> Vec<f32> {
        let padded = (2 * REACH + 1).next_multiple_of(LANES);
        let mut parts = vec![0f32; 2 * padded];
        for part in parts.chunks_exact_mut(padded) {
            for value in &mut part[..=2 * REACH] {
                let normal: f64 = StandardNormal.sample(random);
                *value = ((0.5 * power).sqrt() * normal) as f32;
            }
        }
        parts
    }

    /// The bins of m|m|² for the mean power 1 of m in time, by a grid that aliases nothing, without what is along m.
    fn third_power(parts: &[f32]) -> Vec<f32> {
        let padded = parts.len() / 2;
        let points = 4 * WINDOW;
        let mut planner = rustfft::FftPlanner::<f64>::new();
        let mut bins = vec![Complex64::ZERO; points];
        for bin in 0..=2 * REACH {
            let value = Complex64::new(parts[bin].into(), parts[padded + bin].into());
            bins[(points + bin - REACH) % points] = value;
        }
        planner.plan_fft_inverse(points).process(&mut bins);
        let power = bins.iter().map(|m| m.norm_sqr()).sum::<f64>() / points as f64;
        bins.iter_mut().for_each(|m| *m *= m.norm_sqr() / power);
        planner.plan_fft_forward(points).process(&mut bins);
        let mut result = vec![0f32; parts.len()];
        for bin in 0..=2 * REACH {
            let value = bins[(points + bin - REACH) % points] / points as f64;
            (result[bin], result[padded + bin]) = (value.re as f32, value.im as f32);
        }
        // Real, as m|m|² has the phase of m.
        let along: f32 = result.iter().zip(parts).map(|(a, b)| a * b).sum();
        let energy: f32 = parts.iter().map(|part| part * part).sum();
        result.iter_mut().zip(parts).for_each(|(value, part)| *value -= along / energy * part);
        result
    }

    #[test]
    fn noise_gives_an_exponential_number_and_a_compressed_echo_one_that_grows_with_its_square() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut compression = Compression::new(WINDOW, 2);
        let (mut sum, mut above, count) = (0.0, 0, 2000);
        let mut many = Compressed::default();
        for _ in 0..count {
            let (echo, left) = (white(&mut random, 1.0), white(&mut random, 1e-4));
            let found = compression.read(&echo, &left, REACH);
            many.take_in(&found, 1.0);
            sum += found.stands_out();
            above += usize::from(found.stands_out() > 3.0);
        }
        let mean = sum / f64::from(count);
        // Five deviations of a mean of exponentials, and of a count; not more than these, as the bound says.
        assert!((0.5..1.0 + 5.0 / f64::from(count).sqrt()).contains(&mean), "{mean}");
        let expected = f64::from(count) * (-3f64).exp();
        assert!((above as f64) < expected + 5.0 * expected.sqrt(), "{above} of {expected}");
        assert!(many.stands_out() < 12.0, "{}", many.stands_out());
        // −60 and −54 dB of third power under noise at −40 dB.
        let echo = white(&mut random, 1.0);
        let cube = third_power(&echo);
        let of = |part: f32, compression: &mut Compression, random: &mut Xoshiro256PlusPlus| {
            let mut left = white(random, 1e-4);
            left.iter_mut().zip(&cube).for_each(|(left, cube)| *left += part * cube);
            compression.read(&echo, &left, REACH)
        };
        let mut means = [0.0; 2];
        let mut together = [Compressed::default(); 2];
        for _ in 0..100 {
            for ((part, mean), together) in [0.001, 0.002].into_iter().zip(&mut means).zip(&mut together) {
                let found = of(part, &mut compression, &mut random);
                *mean += found.stands_out() / 100.0;
                together.take_in(&found, 0.9);
            }
        }
        assert!(means[1] > 12.0, "{means:?}");
        assert!(((means[1] - mean) / (means[0] - mean) - 4.0).abs() < 1.0, "{means:?}");
        let one = of(0.002, &mut compression, &mut random);
        let told = together[1].expected_of(&one);
        assert!((told / (means[1] - mean) - 1.0).abs() < 0.3, "{told} of {means:?}");
        assert!(together[0].stands_out() > 12.0);
    }

    #[test]
    fn folded_bins_are_the_spectrum_of_fewer_samples_of_the_same_signal() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
        let parts = white(&mut random, 1.0);
        let padded = parts.len() / 2;
        for points in [256, 576, 1152, 1536, 2304] {
            let mut bins = vec![Complex32::default(); points];
            fold(&parts, 1.0, REACH, &mut bins);
            let at = random.random_range(0..points);
            let turn = |bin: i64, sign: f64| Complex64::cis(sign * TAU * (bin * at as i64) as f64 / points as f64);
            let folded: Complex64 = (0..points)
                .map(|bin| Complex64::new(bins[bin].re.into(), bins[bin].im.into()) * turn(bin as i64, -1.0))
                .sum();
            let exact: Complex64 = (0..=2 * REACH)
                .map(|bin| {
                    let value = Complex64::new(parts[bin].into(), parts[padded + bin].into());
                    value * turn(bin as i64 - REACH as i64, 1.0)
                })
                .sum();
            assert!((folded.conj() - exact).norm() < 1e-3, "{points}: {folded} {exact}");
        }
    }

    #[test]
    fn the_dispatched_kernel_equals_the_baseline_but_for_rounding() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut row = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
        for count in [32, 45] {
            let room = 48;
            let (mut echo, left) = (row(2 * room), [row(count), row(count)]);
            echo.chunks_exact_mut(room).for_each(|part| part[count..].fill(0.0));
            let left = [&left[0][..], &left[1][..]];
            let (mut fast, mut slow) = ([0f32; SUMS], [0f32; SUMS]);
            third_powers(&echo, left, &mut fast);
            third_powers_body(&echo, left, &mut slow);
            assert!(fast.iter().zip(&slow).all(|(fast, slow)| (fast - slow).abs() < 1e-4), "{fast:?} {slow:?}");
            let m = |n: usize| Complex32::new(echo[n], echo[room + n]);
            let sixth: f32 = (0..count).map(|n| m(n).norm_sqr().powi(3)).sum();
            assert!((slow[2] / sixth - 1.0).abs() < 1e-5);
        }
    }
}
