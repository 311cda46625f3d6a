//! The window's spectrum, and from it the echo's correlation with both streams at any fractional delay T:
//! C_ru(T) = Σ_k Y_r[k] S_u[k]* e^{jω_k T} with its derivatives, over the bins inside ±(1 + roll-off)/2 of the symbol
//! rate. ω_k in radians per sample; forward DFT not normalised.

use std::f64::consts::TAU;
use std::ops::Range;

use num_complex::{Complex32, Complex64};

use super::STREAMS;
use super::align::add_squares;
use super::compression::{Compressed, Compression};
use crate::dsp::lanes::LANES;
use crate::dsp::{PlanarDft, dispatched};

/// Beams that what is left of an echo is looked at in.
pub(super) const BEAMS: usize = 2;

/// Of so many groups of bins one is looked at for what is left of an echo: that tells noise to 4 %, in half the time.
const LOOK_EVERY: usize = 2;

/// Derivatives of C by T that are kept: 0, 1 and 2.
pub(super) const ORDERS: usize = 3;

/// Correlations and their derivatives by T: `[order][row][stream]`.
pub(super) type Correlations = [Vec<[Complex64; STREAMS]>; ORDERS];

/// Spectra of one window, with scratch.
pub(super) struct Spectrum {
    window: usize,
    /// Bins on either side of zero.
    reach: usize,
    transformer: Transformer,
    /// Real and imaginary parts of the bins in use, ascending in frequency, padded with zeros: `[row][part][bin]`.
    echo: Vec<f32>,
    streams: Vec<f32>,
    /// The streams as loaded, and t·s_u(t) with t in samples from the window's middle.
    still: Vec<f32>,
    slopes: Vec<f32>,
    ramped: Vec<Complex32>,
    /// S_u* e^{jωT}: `[stream][part][bin]`.
    replicas: Vec<f32>,
    /// Of each echo row the energies of the bins in use, of bin 0, which is not, and of [`Self::outside_bins`].
    row_energies: Vec<[f64; 3]>,
    /// What is left of the echo in the first beam, and what was taken out of it: `[part][bin]`.
    left: Vec<f32>,
    fitted: Vec<f32>,
    /// Whether [`Self::compressed`] has filled the bins of the first that [`Self::leave`] passes over and takes to be zero.
    whole_left: bool,
    /// What is taken out of one row: `[part][bin]`.
    own: Vec<f32>,
    /// Of each row the real and imaginary parts of its responses and beam weights, and sums over lanes.
    factors: Vec<[f32; 4 + 2 * BEAMS]>,
    /// Real and imaginary parts of the first beam's response.
    common: [f32; 4],
    compression: Compression,
    row_sums: Vec<[f32; LANES]>,
    padded: usize,
    rows: usize,
}

/// A row's DFT, of which the bins in use are kept. Bin 0 is not one of them: it holds what a receiver's converters add to the
/// echo by themselves.
struct Transformer {
    reach: usize,
    padded: usize,
    dft: PlanarDft,
}

impl Transformer {
    /// Writes real and imaginary parts of the bins −reach … reach of each row, and zero for bin 0.
    fn load<'a>(&mut self, rows: impl Iterator<Item = &'a [Complex32]>, parts: &mut [f32]) {
        self.load_each(rows, parts, |_, _, _| {});
    }

    /// The same; shows each row's number and parts, and the energies of its bin 0 and of the bins beyond.
    fn load_each<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [Complex32]>,
        parts: &mut [f32],
        mut look: impl FnMut(usize, &[f32], [f64; 2]),
    ) {
        let (reach, window) = (self.reach, self.dft.length());
        for (index, (row, parts)) in rows.zip(parts.chunks_exact_mut(2 * self.padded)).enumerate() {
            let bins = self.dft.forward(&row[..window]);
            let (mut constant, mut outside) = (0.0, 0.0);
            for (bins, part) in bins.into_iter().zip(parts.chunks_exact_mut(self.padded)) {
                part[..reach].copy_from_slice(&bins[window - reach..]);
                part[reach..=2 * reach].copy_from_slice(&bins[..=reach]);
                constant += f64::from(part[reach]).powi(2);
                part[reach] = 0.0;
                let beyond = &bins[reach + 1..window - reach];
                outside += squares(beyond);
            }
            look(index, parts, [constant, outside]);
        }
    }
}

impl Spectrum {
    pub fn new(window: usize, rows: usize, samples_per_symbol: usize, roll_off: f64) -> Self {
        let edge = (1.0 + roll_off) / 2.0 / samples_per_symbol as f64;
        let reach = ((edge * window as f64).floor() as usize).min((window - 1) / 2);
        let padded = (2 * reach + 1).next_multiple_of(LANES);
        Self {
            window,
            reach,
            transformer: Transformer { reach, padded, dft: PlanarDft::new(window) },
            echo: vec![0.0; rows * 2 * padded],
            streams: vec![0.0; STREAMS * 2 * padded],
            still: vec![0.0; STREAMS * 2 * padded],
            slopes: vec![0.0; STREAMS * 2 * padded],
            ramped: vec![Complex32::default(); window],
            replicas: vec![0.0; STREAMS * 2 * padded],
            row_energies: vec![[0.0; 3]; rows],
            left: vec![0.0; 2 * padded],
            whole_left: false,
            fitted: vec![0.0; 2 * padded],
            own: vec![0.0; 2 * padded],
            factors: vec![[0.0; 4 + 2 * BEAMS]; rows],
            common: [0.0; 4],
            compression: Compression::new(window, samples_per_symbol),
            row_sums: vec![[0.0; LANES]; rows],
            padded,
            rows,
        }
    }

    /// Transforms the reference's window and returns its Gram matrix Q: (Q_cc, Q_00, Q_c0 = Σ S_c S_0*).
    pub fn load_streams<'a>(&mut self, rows: impl Iterator<Item = &'a [Complex32]>) -> Gram {
        self.transformer.load(rows, &mut self.streams);
        Gram::of(&self.streams, self.padded)
    }

    /// The streams' spectra at `points` samples a window in place of all: `[stream][part][bin]`, from zero frequency up.
    pub fn alias_streams(&self, points: usize, aliased: &mut [f32]) {
        aliased.fill(0.0);
        for (part, bins) in self.streams.chunks_exact(self.padded).zip(aliased.chunks_exact_mut(points)) {
            for (from, to) in folded(self.reach, points) {
                bins[to..].iter_mut().zip(&part[from]).for_each(|(bin, value)| *bin += value);
            }
        }
    }

    /// Prepares [`Self::turn`] for the streams loaded last, from the same rows.
    pub fn load_slopes<'a>(&mut self, rows: impl Iterator<Item = &'a [Complex32]>) {
        let middle = (self.window - 1) as f32 / 2.0;
        for (row, parts) in rows.zip(self.slopes.chunks_exact_mut(2 * self.padded)) {
            for ((to, from), n) in self.ramped.iter_mut().zip(row).zip(0u16..) {
                *to = from * (f32::from(n) - middle);
            }
            self.transformer.load(std::iter::once(&self.ramped[..]), parts);
        }
        self.still.copy_from_slice(&self.streams);
    }

    /// Lets the streams turn by `rate` radians a sample, about the window's middle and to first order, and returns their
    /// Gram matrix.
    pub fn turn(&mut self, rate: f64) -> Gram {
        let (rate, padded) = (rate as f32, self.padded);
        let rows = self.streams.chunks_exact_mut(2 * padded).zip(self.still.chunks_exact(2 * padded));
        for ((stream, still), slope) in rows.zip(self.slopes.chunks_exact(2 * padded)) {
            // S + jν S'.
            let ((re, im), (slope_re, slope_im)) = (stream.split_at_mut(padded), slope.split_at(padded));
            let (still_re, still_im) = still.split_at(padded);
            re.iter_mut().zip(still_re).zip(slope_im).for_each(|((to, still), slope)| *to = still - rate * slope);
            im.iter_mut().zip(still_im).zip(slope_re).for_each(|((to, still), slope)| *to = still + rate * slope);
        }
        Gram::of(&self.streams, padded)
    }

    /// The same as [`Self::correlate`] with t·s_u in place of the streams.
    pub fn correlate_slopes(&mut self, delay: f64, correlations: &mut Correlations) {
        std::mem::swap(&mut self.streams, &mut self.slopes);
        self.correlate(delay, correlations);
        std::mem::swap(&mut self.streams, &mut self.slopes);
    }

    /// Gram matrix of t·s_u, and Σ S_u (t·s_v)* as `[u][v]`.
    pub fn slope_grams(&self) -> (Gram, [[Complex64; STREAMS]; STREAMS]) {
        let product = |u: usize, v: usize| {
            let (a, b) = (&self.streams[u * self.padded..], &self.slopes[v * self.padded..]);
            dot(&a[..self.padded], &b[..self.padded])
        };
        let cross = std::array::from_fn(|u| {
            std::array::from_fn(|v| {
                let (u, v) = (2 * u, 2 * v);
                Complex64::new(product(u, v) + product(u + 1, v + 1), product(u + 1, v) - product(u, v + 1))
            })
        });
        (Gram::of(&self.slopes, self.padded), cross)
    }

    /// Transforms the echo's window.
    pub fn load_echo<'a>(&mut self, rows: impl Iterator<Item = &'a [Complex32]>) {
        let Self { transformer, echo, row_energies, .. } = self;
        transformer.load_each(rows, echo, |row, parts, [constant, outside]| {
            row_energies[row] = [squares(parts), constant, outside];
        });
    }

    /// Of each echo row the energies of the bins in use, of bin 0, which is not, and of [`Self::outside_bins`].
    pub fn row_energies(&self) -> &[[f64; 3]] {
        &self.row_energies
    }

    /// Bins of one row that [`Self::leave`] looks at.
    pub fn looked_at(&self) -> usize {
        let looked = |bin: &usize| *bin != self.reach && (bin / LANES).is_multiple_of(LOOK_EVERY);
        (0..=2 * self.reach).filter(looked).count()
    }

    /// Bins beyond the streams' band: noise alone.
    pub fn outside_bins(&self) -> usize {
        self.window - 2 * self.reach - 1
    }

    /// Bins in use of one row.
    pub fn bins(&self) -> usize {
        2 * self.reach
    }

    /// In every [`LOOK_EVERY`]-th group of bins takes from row r of the echo what the streams explain at a delay, Σ_u g_ru S_u e^{−jωT}, and forms two beams of what is
    /// left, weighting row r with `beams[r]`. Adds the rows' energies to `rows`.
    pub fn leave(
        &mut self,
        delay: f64,
        responses: impl Iterator<Item = [Complex64; STREAMS]>,
        beams: impl Iterator<Item = [Complex64; BEAMS]>,
        rows: &mut [f64],
    ) -> Left {
        self.replicate(delay);
        let mut common = [Complex64::ZERO; STREAMS];
        for ((factors, response), beam) in self.factors.iter_mut().zip(responses).zip(beams) {
            let [c, o, first, second] = [response[0], response[1], beam[0], beam[1]];
            *factors = [c.re, c.im, o.re, o.im, first.re, first.im, second.re, second.im].map(|part| part as f32);
            common.iter_mut().zip(response).for_each(|(sum, g)| *sum += first * g);
        }
        self.common = [common[0].re, common[0].im, common[1].re, common[1].im].map(|part| part as f32);
        let mut sums = [0f32; BEAMS + 1];
        let rows_left = &mut self.row_sums[..];
        rows_left.fill([0.0; LANES]);
        if std::mem::take(&mut self.whole_left) {
            self.left.fill(0.0);
        }
        let out = [&mut self.left[..], &mut self.fitted[..]];
        leave(&self.echo, &self.replicas, &self.factors, &self.common, out, rows_left, &mut sums);
        let mut turns = [0f32];
        turn_sum(&self.left, &self.fitted, &mut turns);
        rows.iter_mut().zip(&self.row_sums).for_each(|(energy, sums)| *energy += f64::from(total(sums)));
        let [first, second, fitted] = sums.map(f64::from);
        Left { beams: [first, second], fitted, turns: turns[0].into() }
    }

    /// What the first beam of [`Self::leave`] shows of an echo that was compressed, in all bins.
    pub fn compressed(&mut self) -> Compressed {
        fit_row(&self.replicas, &self.common, &mut self.own);
        leave_beam(&self.echo, &self.factors, &self.own, &mut self.left);
        self.whole_left = true;
        self.compression.read(&self.own, &self.left, self.reach)
    }

    /// Σ_k e[k] m[−k] and Σ_k |m[k]|², m being what the streams explain of a row at a delay and e what they leave of it: the
    /// complex conjugate of m is in e by their ratio.
    pub fn image_of_row(&mut self, row: usize, delay: f64, response: [Complex64; STREAMS]) -> (Complex64, f64) {
        self.replicate(delay);
        let weights = [response[0].re, response[0].im, response[1].re, response[1].im].map(|part| part as f32);
        fit_row(&self.replicas, &weights, &mut self.own);
        let (re, im) = self.echo[row * 2 * self.padded..][..2 * self.padded].split_at(self.padded);
        let (fit_re, fit_im) = self.own.split_at(self.padded);
        let last = 2 * self.reach;
        let (mut sum, mut energy) = (Complex64::ZERO, 0.0);
        for bin in 0..=last {
            let left = Complex64::new(f64::from(re[bin] - fit_re[bin]), f64::from(im[bin] - fit_im[bin]));
            sum += left * Complex64::new(fit_re[last - bin].into(), fit_im[last - bin].into());
            energy += f64::from(fit_re[bin]).powi(2) + f64::from(fit_im[bin]).powi(2);
        }
        (sum, energy)
    }

    /// Energy that the streams explain of one echo row at a delay, and of its complex conjugate where that is asked for: a slow
    /// look at a row that does not fit.
    pub fn explained_of_row(&mut self, row: usize, delay: f64, gram: &Gram, conjugated: bool) -> f64 {
        self.replicate(delay);
        let (re, im) = self.echo[row * 2 * self.padded..][..2 * self.padded].split_at(self.padded);
        let last = 2 * self.reach;
        let at = |bin: usize| match conjugated {
            false => Complex64::new(re[bin].into(), im[bin].into()),
            true => Complex64::new(re[last - bin].into(), -f64::from(im[last - bin])),
        };
        let mut correlation = [Complex64::ZERO; STREAMS];
        for (sum, replica) in correlation.iter_mut().zip(self.replicas.chunks_exact(2 * self.padded)) {
            let (r_re, r_im) = replica.split_at(self.padded);
            *sum = (0..=last).map(|bin| at(bin) * Complex64::new(r_re[bin].into(), r_im[bin].into())).sum();
        }
        gram.explained(correlation)
    }

    /// C and its derivatives at a delay of `delay` samples.
    pub fn correlate(&mut self, delay: f64, correlations: &mut Correlations) {
        self.replicate(delay);
        let mut sums = [0f32; ORDERS * STREAMS * 2];
        for row in 0..self.rows {
            let echo = &self.echo[row * 2 * self.padded..][..2 * self.padded];
            correlate_row(echo, &self.replicas, self.frequencies(), &mut sums);
            for (order, values) in correlations.iter_mut().enumerate() {
                // The p-th derivative carries (jω)^p; the sums carry ω^p.
                let turn = [Complex64::ONE, Complex64::I, -Complex64::ONE][order];
                for (stream, value) in values[row].iter_mut().enumerate() {
                    let at = (order * STREAMS + stream) * 2;
                    *value = turn * Complex64::new(sums[at].into(), sums[at + 1].into());
                }
            }
        }
    }

    /// ω of the first bin, and the distance of bins.
    fn frequencies(&self) -> [f32; 2] {
        let step = TAU / self.window as f64;
        [(-step * self.reach as f64) as f32, step as f32]
    }

    /// Writes S_u* e^{jωT}.
    fn replicate(&mut self, delay: f64) {
        let step = TAU / self.window as f64;
        // Phases inside one group of lanes are single precision, those from group to group double.
        let turn = Complex64::cis(step * delay);
        let mut phase = Complex64::ONE;
        let mut within = [[0f32; LANES]; 2];
        let [re, im] = &mut within;
        for (re, im) in re.iter_mut().zip(im) {
            (*re, *im) = (phase.re as f32, phase.im as f32);
            phase *= turn;
        }
        let start = Complex64::cis(-step * delay * self.reach as f64);
        replicate(&self.streams, &within, [start, phase], &mut self.replicas);
    }
}

/// Where a transform of `points` has bins −`reach` … `reach`, which may be more: runs of them, counted from −`reach`, with the
/// place of the first of each.
pub(super) fn folded(reach: usize, points: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
    // Bin −reach lies so far below a whole number of turns.
    let lowest = reach.next_multiple_of(points) - reach;
    let mut from = 0;
    std::iter::from_fn(move || {
        let to = (lowest + from) % points;
        let count = (points - to).min(2 * reach + 1 - from);
        from += count;
        (count > 0).then(|| (from - count..from, to))
    })
}

/// What [`Spectrum::leave`] found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    /// Energy left in each beam.
    pub beams: [f64; BEAMS],
    /// Energy taken out of the first beam.
    pub fitted: f64,
    /// Re Σ_k e[k](m[k + 1] − m[k − 1])*, e being what is left of the first beam and m what was taken out: how much it turns
    /// within the window, weighted by the sine of the time from its middle.
    pub turns: f64,
}

impl Left {
    pub fn add(&mut self, other: &Self) {
        self.beams.iter_mut().zip(other.beams).for_each(|(sum, energy)| *sum += energy);
        self.fitted += other.fitted;
        self.turns += other.turns;
    }
}

/// Gram matrix of the two streams over the bins in use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gram {
    /// Q_cc.
    pub semantic: f64,
    /// Q_00.
    pub sensing: f64,
    /// Q_c0 = Σ S_c S_0*.
    pub cross: Complex64,
}

impl Gram {
    /// Of two planar rows, `[stream][part][bin]`, whole groups of lanes.
    pub fn of(streams: &[f32], padded: usize) -> Self {
        let mut sums = [0f32; 4];
        gram(streams, padded, &mut sums);
        let [semantic, sensing, re, im] = sums.map(f64::from);
        Self { semantic, sensing, cross: Complex64::new(re, im) }
    }
}

#[inline(always)]
fn total(sums: &[f32; LANES]) -> f32 {
    let mut width = LANES;
    let mut sums = *sums;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// Σ value².
fn squares(values: &[f32]) -> f64 {
    let mut sum = [0f32];
    add_squares(values, &mut sum);
    sum[0].into()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = [0f32];
    add_products(a, b, &mut sum);
    sum[0].into()
}

dispatched! {
    /// Takes g_c S_c e^{−jωT} + g_0 S_0 e^{−jωT} from each row; `factors` has a row's g_c and g_0 and its weights in two beams.
    /// Writes what is left in the first beam, and the echo with the response `common` beside it; adds the rows' energies to
    /// `rows`, lane by lane, and those of both beams and of that echo to `sums`.
    pub fn leave(
        echo: &[f32],
        replicas: &[f32],
        factors: &[[f32; 4 + 2 * BEAMS]],
        common: &[f32; 4],
        out: [&mut [f32]; 2],
        rows: &mut [[f32; LANES]],
        sums: &mut [f32; BEAMS + 1],
    ) = leave_body
}

#[inline(always)]
fn leave_body(
    echo: &[f32],
    replicas: &[f32],
    factors: &[[f32; 4 + 2 * BEAMS]],
    common: &[f32; 4],
    out: [&mut [f32]; 2],
    rows: &mut [[f32; LANES]],
    sums: &mut [f32; BEAMS + 1],
) {
    let padded = replicas.len() / (2 * STREAMS);
    let part = |row: &[f32], index: usize, first: usize| -> [f32; LANES] {
        row[index * padded + first..][..LANES].try_into().expect("a whole group")
    };
    let [left, fitted] = out;
    let mut lanes = [[0f32; LANES]; BEAMS + 1];
    for first in (0..padded).step_by(LOOK_EVERY * LANES) {
        let [c_re, c_im, o_re, o_im] = [0, 1, 2, 3].map(|index| part(replicas, index, first));
        let mut beams = [[0f32; LANES]; 2 * BEAMS];
        for (row, (factors, energy)) in factors.iter().zip(rows.iter_mut()).enumerate() {
            let (mut re, mut im) = (part(echo, 2 * row, first), part(echo, 2 * row + 1, first));
            for lane in 0..LANES {
                re[lane] -= factors[0] * c_re[lane]
                    + factors[1] * c_im[lane]
                    + factors[2] * o_re[lane]
                    + factors[3] * o_im[lane];
                im[lane] -= factors[1] * c_re[lane] - factors[0] * c_im[lane] + factors[3] * o_re[lane]
                    - factors[2] * o_im[lane];
            }
            for lane in 0..LANES {
                beams[0][lane] += factors[4] * re[lane] - factors[5] * im[lane];
                beams[1][lane] += factors[4] * im[lane] + factors[5] * re[lane];
                beams[2][lane] += factors[6] * re[lane] - factors[7] * im[lane];
                beams[3][lane] += factors[6] * im[lane] + factors[7] * re[lane];
                energy[lane] += re[lane] * re[lane] + im[lane] * im[lane];
            }
        }
        let (mut re, mut im) = ([0f32; LANES], [0f32; LANES]);
        for lane in 0..LANES {
            re[lane] =
                common[0] * c_re[lane] + common[1] * c_im[lane] + common[2] * o_re[lane] + common[3] * o_im[lane];
            im[lane] =
                common[1] * c_re[lane] - common[0] * c_im[lane] + common[3] * o_re[lane] - common[2] * o_im[lane];
            lanes[0][lane] += beams[0][lane] * beams[0][lane] + beams[1][lane] * beams[1][lane];
            lanes[1][lane] += beams[2][lane] * beams[2][lane] + beams[3][lane] * beams[3][lane];
            lanes[2][lane] += re[lane] * re[lane] + im[lane] * im[lane];
        }
        left[first..][..LANES].copy_from_slice(&beams[0]);
        left[padded + first..][..LANES].copy_from_slice(&beams[1]);
        fitted[first..][..LANES].copy_from_slice(&re);
        fitted[padded + first..][..LANES].copy_from_slice(&im);
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum += total(lanes);
    }
}

dispatched! {
    /// Writes what an echo leaves of the first beam, its weights being in the factors of [`leave`], in those groups of bins that
    /// that one does not look at.
    pub fn leave_beam(echo: &[f32], factors: &[[f32; 4 + 2 * BEAMS]], fitted: &[f32], left: &mut [f32]) = leave_beam_body
}

#[inline(always)]
fn leave_beam_body(echo: &[f32], factors: &[[f32; 4 + 2 * BEAMS]], fitted: &[f32], left: &mut [f32]) {
    let padded = left.len() / 2;
    let part = |row: &[f32], index: usize, first: usize| -> [f32; LANES] {
        row[index * padded + first..][..LANES].try_into().expect("a whole group")
    };
    for first in (0..padded).step_by(LANES).filter(|first| !(first / LANES).is_multiple_of(LOOK_EVERY)) {
        let (mut sum_re, mut sum_im) = ([0f32; LANES], [0f32; LANES]);
        for (row, factors) in factors.iter().enumerate() {
            let (re, im) = (part(echo, 2 * row, first), part(echo, 2 * row + 1, first));
            for lane in 0..LANES {
                sum_re[lane] += factors[4] * re[lane] - factors[5] * im[lane];
                sum_im[lane] += factors[4] * im[lane] + factors[5] * re[lane];
            }
        }
        let (re, im) = (part(fitted, 0, first), part(fitted, 1, first));
        for lane in 0..LANES {
            sum_re[lane] -= re[lane];
            sum_im[lane] -= im[lane];
        }
        left[first..][..LANES].copy_from_slice(&sum_re);
        left[padded + first..][..LANES].copy_from_slice(&sum_im);
    }
}

dispatched! {
    /// Writes g_c S_c e^{−jωT} + g_0 S_0 e^{−jωT}.
    pub fn fit_row(replicas: &[f32], response: &[f32; 4], fitted: &mut [f32]) = fit_body
}

#[inline(always)]
fn fit_body(replicas: &[f32], response: &[f32; 4], fitted: &mut [f32]) {
    let padded = fitted.len() / 2;
    let (re, im) = fitted.split_at_mut(padded);
    let part = |index: usize| &replicas[index * padded..][..padded];
    let (c_re, c_im, o_re, o_im) = (part(0), part(1), part(2), part(3));
    for bin in 0..padded {
        re[bin] = response[0] * c_re[bin] + response[1] * c_im[bin] + response[2] * o_re[bin] + response[3] * o_im[bin];
        im[bin] = response[1] * c_re[bin] - response[0] * c_im[bin] + response[3] * o_re[bin] - response[2] * o_im[bin];
    }
}

dispatched! {
    /// Adds Re Σ_k e[k](m[k + 1] − m[k − 1])* of two rows; bins outside count as zero.
    pub fn turn_sum(left: &[f32], fitted: &[f32], sum: &mut [f32; 1]) = turn_sum_body
}

#[inline(always)]
fn turn_sum_body(left: &[f32], fitted: &[f32], sum: &mut [f32; 1]) {
    let padded = left.len() / 2;
    let mut lanes = [0f32; LANES];
    for (left, fitted) in left.chunks_exact(padded).zip(fitted.chunks_exact(padded)) {
        let (middle, before, after) = (&left[1..padded - 1], &fitted[..padded - 2], &fitted[2..]);
        let (groups, rest) = middle.as_chunks::<LANES>();
        let mut first = 0;
        for group in groups {
            let before: &[f32; LANES] = before[first..][..LANES].try_into().expect("a whole group");
            let after: &[f32; LANES] = after[first..][..LANES].try_into().expect("a whole group");
            for lane in 0..LANES {
                lanes[lane] += group[lane] * (after[lane] - before[lane]);
            }
            first += LANES;
        }
        for (lane, value) in rest.iter().enumerate() {
            lanes[lane] += value * (after[first + lane] - before[first + lane]);
        }
        lanes[0] += left[0] * fitted[1] - left[padded - 1] * fitted[padded - 2];
    }
    sum[0] += total(&lanes);
}

dispatched! {
    /// Adds Σ a·b; whole groups of lanes.
    pub fn add_products(a: &[f32], b: &[f32], sum: &mut [f32; 1]) = add_products_body
}

#[inline(always)]
fn add_products_body(a: &[f32], b: &[f32], sum: &mut [f32; 1]) {
    let mut lanes = [0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    sum[0] += total(&lanes);
}

dispatched! {
    /// Powers of both streams and real and imaginary part of Σ S_c S_0*.
    pub fn gram(streams: &[f32], padded: usize, sums: &mut [f32; 4]) = gram_body
}

#[inline(always)]
fn gram_body(streams: &[f32], padded: usize, sums: &mut [f32; 4]) {
    let part = |index: usize| streams[index * padded..][..padded].as_chunks::<LANES>().0;
    let parts = part(0).iter().zip(part(1)).zip(part(2).iter().zip(part(3)));
    let mut lanes = [[0f32; LANES]; 4];
    for ((a_re, a_im), (b_re, b_im)) in parts {
        for lane in 0..LANES {
            lanes[0][lane] += a_re[lane] * a_re[lane] + a_im[lane] * a_im[lane];
            lanes[1][lane] += b_re[lane] * b_re[lane] + b_im[lane] * b_im[lane];
            lanes[2][lane] += a_re[lane] * b_re[lane] + a_im[lane] * b_im[lane];
            lanes[3][lane] += a_im[lane] * b_re[lane] - a_re[lane] * b_im[lane];
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum = total(lanes);
    }
}

dispatched! {
    /// All replicas. `within` are the phases inside a group of lanes, `turns` the first bin's phase and the turn from
    /// group to group.
    pub fn replicate(
        streams: &[f32],
        within: &[[f32; LANES]; 2],
        turns: [Complex64; 2],
        replicas: &mut [f32],
    ) = replicate_body
}

#[inline(always)]
fn replicate_body(streams: &[f32], within: &[[f32; LANES]; 2], turns: [Complex64; 2], replicas: &mut [f32]) {
    let padded = streams.len() / (2 * STREAMS);
    let rows = streams.chunks_exact(2 * padded).zip(replicas.chunks_exact_mut(2 * padded));
    for (stream, replica) in rows {
        let (re, im) = stream.split_at(padded);
        let (out_re, out_im) = replica.split_at_mut(padded);
        let groups = re.as_chunks::<LANES>().0.iter().zip(im.as_chunks::<LANES>().0);
        let outs = out_re.as_chunks_mut::<LANES>().0.iter_mut().zip(out_im.as_chunks_mut::<LANES>().0);
        let mut turn = turns[0];
        for ((re, im), (out_re, out_im)) in groups.zip(outs) {
            let (turn_re, turn_im) = (turn.re as f32, turn.im as f32);
            for lane in 0..LANES {
                let phase_re = turn_re * within[0][lane] - turn_im * within[1][lane];
                let phase_im = turn_re * within[1][lane] + turn_im * within[0][lane];
                out_re[lane] = re[lane] * phase_re + im[lane] * phase_im;
                out_im[lane] = re[lane] * phase_im - im[lane] * phase_re;
            }
            turn *= turns[1];
        }
    }
}

dispatched! {
    /// Sums of echo × replica × ω^p over all bins: `[order][stream][part]`. `frequencies` are ω of the first bin and the
    /// distance of bins.
    pub fn correlate_row(
        echo: &[f32],
        replicas: &[f32],
        frequencies: [f32; 2],
        sums: &mut [f32; ORDERS * STREAMS * 2],
    ) = correlate_body
}

#[inline(always)]
fn correlate_body(echo: &[f32], replicas: &[f32], frequencies: [f32; 2], sums: &mut [f32; ORDERS * STREAMS * 2]) {
    let padded = echo.len() / 2;
    let part = |row: &[f32], index: usize, first: usize| -> [f32; LANES] {
        row[index * padded + first..][..LANES].try_into().expect("a whole group")
    };
    let mut lanes = [[0f32; LANES]; ORDERS * STREAMS * 2];
    for first in (0..padded).step_by(LANES) {
        let (re, im) = (part(echo, 0, first), part(echo, 1, first));
        let begin = frequencies[0] + first as f32 * frequencies[1];
        let mut omega = [0f32; LANES];
        for (lane, omega) in omega.iter_mut().enumerate() {
            *omega = begin + lane as f32 * frequencies[1];
        }
        for stream in 0..STREAMS {
            let (r_re, r_im) = (part(replicas, 2 * stream, first), part(replicas, 2 * stream + 1, first));
            let mut product = [[0f32; LANES]; 2];
            for lane in 0..LANES {
                product[0][lane] = re[lane] * r_re[lane] - im[lane] * r_im[lane];
                product[1][lane] = re[lane] * r_im[lane] + im[lane] * r_re[lane];
            }
            for order in 0..ORDERS {
                for (part, product) in product.iter_mut().enumerate() {
                    let sum = &mut lanes[(order * STREAMS + stream) * 2 + part];
                    for lane in 0..LANES {
                        sum[lane] += product[lane];
                        product[lane] *= omega[lane];
                    }
                }
            }
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum = total(lanes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn correlations_equal_the_sums_written_out() {
        let (window, rows, delay) = (96, 3, 0.37);
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(4);
        let mut noise = |count: usize| -> Vec<Complex32> {
            (0..count).map(|_| Complex32::new(random.random::<f32>() - 0.5, random.random::<f32>() - 0.5)).collect()
        };
        let (streams, echo) = (noise(2 * window), noise(rows * window));
        let mut spectrum = Spectrum::new(window, rows, 2, 0.25);
        let gram = spectrum.load_streams(streams.chunks(window));
        spectrum.load_echo(echo.chunks(window));
        let mut correlations: Correlations = std::array::from_fn(|_| vec![[Complex64::ZERO; 2]; rows]);
        spectrum.correlate(delay, &mut correlations);
        let bin = |row: &[Complex32], k: i32| -> Complex64 {
            let turn = |n: usize| Complex64::cis(-TAU * f64::from(k) * n as f64 / window as f64);
            row.iter().enumerate().map(|(n, x)| Complex64::new(x.re.into(), x.im.into()) * turn(n)).sum()
        };
        let s = |u: usize, k: i32| bin(&streams[u * window..][..window], k);
        let used = || (-30..=30).filter(|k| *k != 0);
        let cross: Complex64 = used().map(|k| s(0, k) * s(1, k).conj()).sum();
        let power: f64 = used().map(|k| s(0, k).norm_sqr()).sum();
        assert!((gram.cross - cross).norm() < 1e-4 * power && (gram.semantic / power - 1.0).abs() < 1e-5);
        for (order, values) in correlations.iter().enumerate() {
            for (row, value) in values.iter().enumerate() {
                for (u, value) in value.iter().enumerate() {
                    let expected: Complex64 = used()
                        .map(|k| {
                            let omega = TAU * f64::from(k) / window as f64;
                            let y = bin(&echo[row * window..][..window], k);
                            y * s(u, k).conj()
                                * Complex64::cis(omega * delay)
                                * (Complex64::I * omega).powu(order as u32)
                        })
                        .sum();
                    let error = (value - expected).norm();
                    assert!(error < 1e-4 * power, "order {order}, row {row}, stream {u}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_an_echo_leaves_does_not_depend_on_whether_the_last_one_was_looked_at_for_compression() {
        let (window, rows, delay) = (2048, 2, 0.37);
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(4);
        let mut noise = |count: usize| -> Vec<Complex32> {
            (0..count).map(|_| Complex32::new(random.random::<f32>() - 0.5, random.random::<f32>() - 0.5)).collect()
        };
        let (streams, echoes) = (noise(2 * window), [noise(rows * window), noise(rows * window)]);
        let mut spectrum = Spectrum::new(window, rows, 2, 0.25);
        spectrum.load_streams(streams.chunks(window));
        let mut leave = |looks: bool| {
            let left = echoes.each_ref().map(|echo| {
                spectrum.load_echo(echo.chunks(window));
                let one = Complex64::ONE;
                let left = spectrum.leave(delay, [[one; 2]; 2].into_iter(), [[one; 2]; 2].into_iter(), &mut [0.0; 2]);
                if looks {
                    spectrum.compressed();
                }
                left
            });
            left.map(|left| (left.turns, left.fitted, left.beams))
        };
        let [without, with] = [leave(false), leave(true)];
        assert!(without == with && without[1].0 != 0.0, "{without:?} {with:?}");
    }

    #[test]
    fn the_dispatched_kernels_equal_their_bodies_bit_for_bit() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
        let padded = 5 * LANES;
        let mut floats = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random::<f32>() - 0.5).collect() };
        let (echo, replicas) = (floats(2 * padded), floats(STREAMS * 2 * padded));
        let (mut fast, mut slow) = ([0f32; ORDERS * STREAMS * 2], [0f32; ORDERS * STREAMS * 2]);
        correlate_row(&echo, &replicas, [-0.3, 0.01], &mut fast);
        correlate_body(&echo, &replicas, [-0.3, 0.01], &mut slow);
        assert_eq!(fast, slow);
        let (mut fast, mut slow) = ([0f32; 4], [0f32; 4]);
        gram(&replicas, padded, &mut fast);
        gram_body(&replicas, padded, &mut slow);
        assert_eq!(fast, slow);
        let within = [[0.6; LANES], [0.8; LANES]];
        let turns = [Complex64::cis(0.3), Complex64::cis(0.1)];
        let (response, weights) = ([0.3, -0.2, 0.7, 0.1], [0.8, 0.6, -0.4, 0.3]);
        let [a, b, c, d] = response;
        let [e, f, g, h] = weights;
        let factors = [[a, b, c, d, e, f, g, h], [c, a, b, d, h, f, e, g]];
        let echoes = floats(4 * padded);
        let run = |fast: bool| {
            let (mut left, mut fitted) = (vec![0.0; 2 * padded], vec![0.0; 2 * padded]);
            let (mut rows, mut sums) = ([[0f32; LANES]; 2], [0f32; BEAMS + 1]);
            let out = [&mut left[..], &mut fitted[..]];
            match fast {
                true => leave(&echoes, &replicas, &factors, &response, out, &mut rows, &mut sums),
                false => leave_body(&echoes, &replicas, &factors, &response, out, &mut rows, &mut sums),
            }
            (left, fitted, rows, sums)
        };
        assert_eq!(run(true), run(false));
        let fast = run(true).0;
        let (mut fitted, mut sums) = ([vec![0.0; 2 * padded], vec![0.0; 2 * padded]], [[0f32]; 2]);
        fit_row(&replicas, &response, &mut fitted[0]);
        fit_body(&replicas, &response, &mut fitted[1]);
        turn_sum(&fast, &fitted[0], &mut sums[0]);
        turn_sum_body(&fast, &fitted[1], &mut sums[1]);
        assert_eq!((&fitted[0], sums[0]), (&fitted[1], sums[1]));
        let (mut fast, mut slow) = (vec![0.0; replicas.len()], vec![0.0; replicas.len()]);
        replicate(&replicas, &within, turns, &mut fast);
        replicate_body(&replicas, &within, turns, &mut slow);
        assert_eq!(fast, slow);
    }
}
