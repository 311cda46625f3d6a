//! Discrete Fourier transforms whose result is taken apart into real and imaginary parts, as kernels on lanes want it.
//!
//! N = 256 R with n = 16R j + p and k = k₀ + 16 (k₁ + R k₂): sixteen points over j for sixteen p at a time, a turn by
//! e^{−j2πpk₀/N}, and the square of p and k₀ transposed; then R points, a turn and sixteen points again, each for all k₀ at
//! a time, so that the result comes out in order. Every other length is [`rustfft`]'s, and all where there is no AVX2: plain Rust
//! has no fused products there that are fast. On AVX2 the library's would be faster, but results would depend on the machine.

use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use super::dispatched;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{LANES, Simd, TransformLanes, Width};

/// Points of the outer transforms together.
const SQUARE: usize = LANES * LANES;
/// R of the lengths that are taken.
const FACTORS: [usize; 7] = [2, 3, 4, 6, 8, 9, 12];
/// A length of ours is faster than one of the library's that is so many times shorter.
const WORTH: f64 = 1.35;

/// Forward transforms of one length, not normalised, with their scratch.
pub struct PlanarDft {
    kernel: Kernel,
    result: Aligned,
    length: usize,
}

enum Kernel {
    Own { simd: Simd, tables: Tables, work: Aligned },
    Library { fft: Arc<dyn Fft<f32>>, scratch: Vec<Complex32>, bins: Vec<Complex32> },
}

/// The turns between the three steps.
struct Tables {
    /// R.
    factor: usize,
    /// `[p / 16][k₀][part][p % 16]`
    outer: Aligned,
    /// `[p % 16][k₁][part]`
    inner: Vec<[f32; 2]>,
}

/// Floats that begin where a cache line does.
struct Aligned(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

// SAFETY: sixteen floats fill the line, so there is no padding; any bits are valid.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Line {}

impl Aligned {
    fn zeros(count: usize) -> Self {
        Self(vec![Line([0.0; LANES]); count.div_ceil(LANES)])
    }

    fn floats(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// e^{−j2πk/n}.
fn root(k: usize, n: usize) -> Complex64 {
    Complex64::cis(-TAU * (k % n) as f64 / n as f64)
}

impl Tables {
    /// `None` for a length that is not taken.
    fn new(length: usize) -> Option<Self> {
        let factor = length / SQUARE;
        if !length.is_multiple_of(SQUARE) || !FACTORS.contains(&factor) {
            return None;
        }
        let mut outer = Aligned::zeros(2 * length);
        for (place, turn) in outer.floats_mut().chunks_exact_mut(2 * LANES).enumerate() {
            let (group, k) = (place / LANES, place % LANES);
            for lane in 0..LANES {
                let root = root((group * LANES + lane) * k, length);
                (turn[lane], turn[LANES + lane]) = (root.re as f32, root.im as f32);
            }
        }
        let turns = (0..LANES).flat_map(|p| (0..factor).map(move |k| root(p * k, LANES * factor)));
        Some(Self { factor, outer, inner: turns.map(|root| [root.re as f32, root.im as f32]).collect() })
    }
}

impl PlanarDft {
    /// A transform of `length` points.
    pub fn new(length: usize) -> Self {
        let best = Simd::best();
        Self::with(length, (best != Simd::SCALAR).then_some(best))
    }

    /// On these lanes where the length is one of ours, or else by the library.
    fn with(length: usize, lanes: Option<Simd>) -> Self {
        let kernel = match lanes.zip(Tables::new(length)) {
            Some((simd, tables)) => Kernel::Own { simd, tables, work: Aligned::zeros(2 * length) },
            None => {
                let fft = FftPlanner::new().plan_fft_forward(length);
                let scratch = vec![Complex32::default(); fft.get_immutable_scratch_len()];
                Kernel::Library { fft, scratch, bins: vec![Complex32::default(); length] }
            }
        };
        Self { kernel, result: Aligned::zeros(2 * length.next_multiple_of(LANES)), length }
    }

    /// The length from `least` on that is fastest, where there is AVX-512, for samples followed by zeros.
    pub fn fast_length(least: usize) -> usize {
        let smooth = smooth_length(least);
        let own = FACTORS.map(|factor| factor * SQUARE).into_iter().find(|length| *length >= least);
        own.filter(|own| Simd::best() != Simd::SCALAR && *own as f64 <= WORTH * smooth as f64).unwrap_or(smooth)
    }

    /// Points.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Transforms as many samples; gives the real and the imaginary parts of all bins, from zero frequency up. Panics on
    /// another number of samples.
    pub fn forward(&mut self, samples: &[Complex32]) -> [&[f32]; 2] {
        let length = self.length;
        assert_eq!(samples.len(), length, "samples of a transform");
        let result = self.result.floats_mut();
        let (re, im) = result.split_at_mut(result.len() / 2);
        let (re, im) = (&mut re[..length], &mut im[..length]);
        match &mut self.kernel {
            Kernel::Own { simd, tables, work } => tables.transform(*simd, samples, work, re, im),
            Kernel::Library { fft, scratch, bins } => {
                fft.process_immutable_with_scratch(samples, bins, scratch);
                split(bins, re, im);
            }
        }
        [re, im]
    }
}

/// The smallest length 2^a·3^b that is not below `least`: what the library's transforms like.
pub(crate) fn smooth_length(least: usize) -> usize {
    (0..8)
        .map(|power| 3usize.pow(power))
        .map(|three| three * least.div_ceil(three).next_power_of_two())
        .min()
        .unwrap_or(1)
}

dispatched! {
    /// Takes complex numbers apart.
    pub(crate) fn split(values: &[Complex32], re: &mut [f32], im: &mut [f32]) = split_body
}

#[inline(always)]
fn split_body(values: &[Complex32], re: &mut [f32], im: &mut [f32]) {
    for ((value, re), im) in values.iter().zip(re).zip(im) {
        *re = value.re;
        *im = value.im;
    }
}

impl Tables {
    /// Lengths are those of [`PlanarDft::forward`].
    fn transform(&self, simd: Simd, samples: &[Complex32], work: &mut Aligned, re: &mut [f32], im: &mut [f32]) {
        let work = work.floats_mut();
        match simd.width() {
            // SAFETY: a `Simd` of this width exists only where the machine has the feature.
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => unsafe { self.run_avx512(samples, work, re, im) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { self.run_avx2(samples, work, re, im) },
            _ => self.run::<[f32; LANES]>(samples, work, re, im),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn run_avx2(&self, samples: &[Complex32], work: &mut [f32], re: &mut [f32], im: &mut [f32]) {
        self.run::<Avx2>(samples, work, re, im);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn run_avx512(&self, samples: &[Complex32], work: &mut [f32], re: &mut [f32], im: &mut [f32]) {
        self.run::<Avx512>(samples, work, re, im);
    }

    /// The machine has the feature of `V`.
    #[inline(always)]
    fn run<V: TransformLanes>(&self, samples: &[Complex32], work: &mut [f32], re: &mut [f32], im: &mut [f32]) {
        let (work_re, work_im) = work.split_at_mut(work.len() / 2);
        self.outer_points::<V>(samples, work_re, work_im);
        match self.factor {
            2 => self.inner_points::<V, 2>(work_re, work_im),
            3 => self.inner_points::<V, 3>(work_re, work_im),
            4 => self.inner_points::<V, 4>(work_re, work_im),
            6 => self.inner_points::<V, 6>(work_re, work_im),
            8 => self.inner_points::<V, 8>(work_re, work_im),
            9 => self.inner_points::<V, 9>(work_re, work_im),
            _ => self.inner_points::<V, 12>(work_re, work_im),
        }
        for (k, (work_re, work_im)) in work_re.chunks_exact(SQUARE).zip(work_im.chunks_exact(SQUARE)).enumerate() {
            let mut points = [Parts::<V>::zero(); LANES];
            for (p, point) in points.iter_mut().enumerate() {
                *point = Parts::load(&work_re[LANES * p..], &work_im[LANES * p..]);
            }
            for (j, value) in sixteen(points).into_iter().enumerate() {
                let at = LANES * (k + self.factor * j);
                value.store(&mut re[at..], &mut im[at..]);
            }
        }
    }

    /// Writes `[p / 16][p % 16][k₀]`.
    #[inline(always)]
    fn outer_points<V: TransformLanes>(&self, samples: &[Complex32], work_re: &mut [f32], work_im: &mut [f32]) {
        let span = LANES * self.factor;
        let tables = self.outer.floats().chunks_exact(2 * SQUARE);
        let squares = work_re.chunks_exact_mut(SQUARE).zip(work_im.chunks_exact_mut(SQUARE));
        for (group, (turns, (re, im))) in tables.zip(squares).enumerate() {
            let mut points = [Parts::<V>::zero(); LANES];
            for (j, point) in points.iter_mut().enumerate() {
                *point = Parts::load_complex(&samples[span * j + LANES * group..]);
            }
            let mut values = sixteen(points);
            for (value, turn) in values.iter_mut().zip(turns.chunks_exact(2 * LANES)).skip(1) {
                *value = value.times(Parts::load(turn, &turn[LANES..]));
            }
            for (mut square, work) in [(values.map(|value| value.re), re), (values.map(|value| value.im), im)] {
                V::transpose(&mut square);
                square.iter().zip(work.chunks_exact_mut(LANES)).for_each(|(vector, work)| store(*vector, work));
            }
        }
    }

    /// R points over p / 16, turned, in place.
    #[inline(always)]
    fn inner_points<V: TransformLanes, const R: usize>(&self, work_re: &mut [f32], work_im: &mut [f32]) {
        for (p, turns) in self.inner.as_chunks::<R>().0.iter().enumerate() {
            let at = |k: usize| SQUARE * k + LANES * p;
            let mut points = [Parts::<V>::zero(); R];
            for (k, point) in points.iter_mut().enumerate() {
                *point = Parts::load(&work_re[at(k)..], &work_im[at(k)..]);
            }
            for (k, value) in few(points).into_iter().enumerate() {
                let value = if k == 0 { value } else { value.turned(turns[k]) };
                value.store(&mut work_re[at(k)..], &mut work_im[at(k)..]);
            }
        }
    }
}

#[inline(always)]
fn store<V: TransformLanes>(vector: V, to: &mut [f32]) {
    let to = &mut to[..LANES];
    // SAFETY: sixteen floats.
    unsafe { vector.store(to.as_mut_ptr()) }
}

/// Sixteen complex numbers.
#[derive(Clone, Copy)]
struct Parts<V> {
    re: V,
    im: V,
}

impl<V: TransformLanes> Parts<V> {
    #[inline(always)]
    fn zero() -> Self {
        Self { re: V::splat(0.0), im: V::splat(0.0) }
    }

    #[inline(always)]
    fn load(re: &[f32], im: &[f32]) -> Self {
        let (re, im) = (&re[..LANES], &im[..LANES]);
        // SAFETY: sixteen floats each.
        unsafe { Self { re: V::load(re.as_ptr()), im: V::load(im.as_ptr()) } }
    }

    #[inline(always)]
    fn load_complex(from: &[Complex32]) -> Self {
        let from = &from[..LANES];
        // SAFETY: sixteen complex numbers are 32 floats.
        let [re, im] = unsafe { V::load_complex(from.as_ptr().cast()) };
        Self { re, im }
    }

    #[inline(always)]
    fn store(self, re: &mut [f32], im: &mut [f32]) {
        store(self.re, re);
        store(self.im, im);
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self { re: self.re.plus(other.re), im: self.im.plus(other.im) }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self { re: self.re.minus(other.re), im: self.im.minus(other.im) }
    }

    /// `self` + j·`other`.
    #[inline(always)]
    fn plus_j(self, other: Self) -> Self {
        Self { re: self.re.minus(other.im), im: self.im.plus(other.re) }
    }

    /// `self` − j·`other`.
    #[inline(always)]
    fn minus_j(self, other: Self) -> Self {
        Self { re: self.re.plus(other.im), im: self.im.minus(other.re) }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self {
            re: self.re.times(other.re).fused_minus(self.im, other.im),
            im: self.im.times(other.re).fused(self.re, other.im),
        }
    }

    #[inline(always)]
    fn turned(self, [re, im]: [f32; 2]) -> Self {
        self.times(Self { re: V::splat(re), im: V::splat(im) })
    }
}

#[inline(always)]
fn two<V: TransformLanes>([a, b]: [Parts<V>; 2]) -> [Parts<V>; 2] {
    [a.plus(b), a.minus(b)]
}

#[inline(always)]
fn three<V: TransformLanes>([a, b, c]: [Parts<V>; 3]) -> [Parts<V>; 3] {
    let (sum, difference) = (b.plus(c), b.minus(c));
    let (half, height) = (V::splat(0.5), V::splat(SINE_THIRD));
    let middle = Parts { re: a.re.fused_minus(half, sum.re), im: a.im.fused_minus(half, sum.im) };
    let aside = Parts { re: difference.re.times(height), im: difference.im.times(height) };
    [a.plus(sum), middle.minus_j(aside), middle.plus_j(aside)]
}

#[inline(always)]
fn four<V: TransformLanes>([a, b, c, d]: [Parts<V>; 4]) -> [Parts<V>; 4] {
    let ([p, q], [r, s]) = (two([a, c]), two([b, d]));
    [p.plus(r), q.minus_j(s), p.minus(r), q.plus_j(s)]
}

const SINE_THIRD: f32 = 0.866_025_4;
const ROOT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// cos and sin of π/8.
const EIGHTH: [f32; 2] = [0.923_879_5, 0.382_683_43];

/// e^{−j2πk/16}, k = 0 … 9.
const SIXTEENTHS: [[f32; 2]; 10] = [
    [1.0, 0.0],
    [EIGHTH[0], -EIGHTH[1]],
    [ROOT_HALF, -ROOT_HALF],
    [EIGHTH[1], -EIGHTH[0]],
    [0.0, -1.0],
    [-EIGHTH[1], -EIGHTH[0]],
    [-ROOT_HALF, -ROOT_HALF],
    [-EIGHTH[0], -EIGHTH[1]],
    [-1.0, 0.0],
    [-EIGHTH[0], EIGHTH[1]],
];
/// e^{−j2πk/9}, k = 0 … 4.
const NINTHS: [[f32; 2]; 5] = [
    [1.0, 0.0],
    [0.766_044_44, -0.642_787_6],
    [0.173_648_17, -0.984_807_7],
    [-0.5, -SINE_THIRD],
    [-0.939_692_6, -0.342_020_15],
];
/// e^{−j2πk/12}, k = 0 … 6.
const TWELFTHS: [[f32; 2]; 7] = [
    [1.0, 0.0],
    [SINE_THIRD, -0.5],
    [0.5, -SINE_THIRD],
    [0.0, -1.0],
    [-0.5, -SINE_THIRD],
    [-SINE_THIRD, -0.5],
    [-1.0, 0.0],
];
/// e^{−j2πk/8}, k = 0 … 3.
const EIGHTHS: [[f32; 2]; 4] = [[1.0, 0.0], [ROOT_HALF, -ROOT_HALF], [0.0, -1.0], [-ROOT_HALF, -ROOT_HALF]];
/// e^{−j2πk/6}, k = 0 … 2.
const SIXTHS: [[f32; 2]; 3] = [[1.0, 0.0], [0.5, -SINE_THIRD], [-0.5, -SINE_THIRD]];

/// A·B points by A and by B, `roots` being e^{−j2πk/(A·B)}. A macro since a function that is passed on would be compiled on
/// its own, without the instruction set that its caller has.
macro_rules! of_factors {
    ($points:ident, $a:literal by $first:ident, $b:literal by $second:ident, $roots:ident) => {{
        let (mut turned, mut values) = ($points, $points);
        for c in 0..$b {
            let mut part = [Parts::zero(); $a];
            for j in 0..$a {
                part[j] = $points[c + $b * j];
            }
            for (k, value) in $first(part).into_iter().enumerate() {
                turned[c + $b * k] = if c * k == 0 { value } else { value.turned($roots[c * k]) };
            }
        }
        for k in 0..$a {
            let mut part = [Parts::zero(); $b];
            part.copy_from_slice(&turned[$b * k..][..$b]);
            for (j, value) in $second(part).into_iter().enumerate() {
                values[k + $a * j] = value;
            }
        }
        values
    }};
}

#[inline(always)]
fn sixteen<V: TransformLanes>(points: [Parts<V>; 16]) -> [Parts<V>; 16] {
    of_factors!(points, 4 by four, 4 by four, SIXTEENTHS)
}

/// R points, R being one of those [`Tables::new`] takes.
#[inline(always)]
fn few<V: TransformLanes, const R: usize>(points: [Parts<V>; R]) -> [Parts<V>; R] {
    let mut values = points;
    match R {
        2 => values.copy_from_slice(&two([points[0], points[1]])),
        3 => values.copy_from_slice(&three([points[0], points[1], points[2]])),
        4 => values.copy_from_slice(&four([points[0], points[1], points[2], points[3]])),
        6 => values = of_factors!(points, 2 by two, 3 by three, SIXTHS),
        8 => values = of_factors!(points, 4 by four, 2 by two, EIGHTHS),
        9 => values = of_factors!(points, 3 by three, 3 by three, NINTHS),
        _ => values = of_factors!(points, 4 by four, 3 by three, TWELFTHS),
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn noise(count: usize) -> Vec<Complex32> {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(8);
        (0..count).map(|_| Complex32::new(random.random::<f32>() - 0.5, random.random::<f32>() - 0.5)).collect()
    }

    #[test]
    fn bins_are_the_sums_written_out() {
        for length in [24, 512, 768, 1024, 1152, 1536, 2048, 2304, 3072] {
            let samples = noise(length);
            for lanes in [None, Some(Simd::SCALAR), Some(Simd::best())] {
                let mut dft = PlanarDft::with(length, lanes);
                let [re, im] = dft.forward(&samples);
                assert_eq!((re.len(), im.len()), (length, length));
                // Single precision: some 1e-7 of the root of the energy, √(N/6).
                let tolerance = 1e-6 * (length as f64 / 6.0).sqrt();
                for k in (0..length).step_by(1 + length / 97) {
                    let sum: Complex64 = samples
                        .iter()
                        .enumerate()
                        .map(|(n, x)| Complex64::new(x.re.into(), x.im.into()) * root(k * n, length))
                        .sum();
                    let error = (sum - Complex64::new(re[k].into(), im[k].into())).norm();
                    assert!(error < tolerance, "bin {k} of {length} on {lanes:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn lengths_are_smooth_and_tight() {
        assert_eq!(smooth_length(2304), 2304);
        assert_eq!(smooth_length(2900), 2916);
        assert_eq!(smooth_length(1), 1);
        for least in [1, 500, 700, 1727, 2905, 3073, 9000] {
            let fast = PlanarDft::fast_length(least);
            assert!(fast >= least && fast as f64 <= WORTH * smooth_length(least) as f64, "{least}: {fast}");
        }
    }

    #[test]
    fn wide_lanes_give_the_bits_of_plain_ones() {
        for length in [512, 768, 1024, 1536, 2048, 2304, 3072] {
            let samples = noise(length);
            let mut plain = PlanarDft::with(length, Some(Simd::SCALAR));
            let mut best = PlanarDft::with(length, Some(Simd::best()));
            assert_eq!(best.forward(&samples), plain.forward(&samples), "{length}");
        }
    }
}
