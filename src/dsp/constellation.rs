//! The constellations of TS 38.211 section 5.1, unit mean power, and max-log soft demapping; the same with amplitudes that
//! are not equally frequent.
//!
//! Bits of a symbol alternate between the in-phase and the quadrature axis, the most significant first: the sign, then the
//! label of the amplitude.

use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::dsp::dispatched;

/// Soft bits are log-likelihood ratios times this, rounded and clipped to ±[`SOFT_LIMIT`].
pub const SOFT_SCALE: f32 = 4.0;

/// Largest magnitude of a soft bit: less than what the decoder's checks answer at most (39), or a bit of a single check could
/// never be put right.
pub const SOFT_LIMIT: f32 = 36.0;

/// A square constellation with Gray labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Modulation {
    /// Quadrature phase-shift keying.
    #[serde(rename = "qpsk")]
    Qpsk,
    /// 16-point quadrature amplitude modulation.
    #[serde(rename = "16qam")]
    Qam16,
    /// 64-point quadrature amplitude modulation.
    #[serde(rename = "64qam")]
    Qam64,
    /// 256-point quadrature amplitude modulation.
    #[serde(rename = "256qam")]
    Qam256,
}

impl Modulation {
    /// All of them, in rising order.
    pub const ALL: [Self; 4] = [Self::Qpsk, Self::Qam16, Self::Qam64, Self::Qam256];

    /// Q_m.
    pub const fn bits_per_symbol(self) -> usize {
        2 * (self.index() + 1)
    }

    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        ["qpsk", "16qam", "64qam", "256qam"][self as usize]
    }

    /// Amplitudes of an axis.
    pub const fn amplitudes(self) -> usize {
        1 << self.index()
    }

    /// Label of an axis's amplitude, counted from the smallest: its bits after the sign, most significant first.
    pub fn amplitude_label(self, amplitude: usize) -> usize {
        let level = (2 * amplitude + 1) as f32;
        LEVELS[self.index()].iter().position(|known| *known == level).unwrap_or(0)
    }

    /// Maps bits to symbols; `bits` holds [`Self::bits_per_symbol`] per symbol.
    pub fn map(self, bits: &[u8], symbols: &mut [Complex32]) {
        Constellation::from(self).map(bits, symbols);
    }

    /// Log-likelihood ratios (max-log) of unit-gain symbols with complex noise of this variance.
    pub fn demap_f32(self, symbols: &[Complex32], noise_variance: f32, llr: &mut [f32]) {
        Constellation::from(self).each(symbols, noise_variance, |index, value| llr[index] = value);
    }

    /// Soft bits; see [`Constellation::demap`].
    pub fn demap(self, symbols: &[Complex32], noise_variance: f32, soft: &mut [i8]) {
        Constellation::from(self).demap(symbols, noise_variance, soft);
    }
}

/// Most amplitudes of an axis.
pub const MAX_AMPLITUDES: usize = 8;

/// The points of a modulation as they are sent: how far apart, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constellation {
    modulation: Modulation,
    /// Half the distance of neighbouring points at unit mean power.
    half_distance: f32,
    /// ln of how much less often a level of an axis comes than the most frequent one, by label.
    rarity: [f32; 16],
}

/// All points equally often.
impl From<Modulation> for Constellation {
    fn from(modulation: Modulation) -> Self {
        let half_distance = [0.5f32, 0.1, 1.0 / 42.0, 1.0 / 170.0][modulation.index()].sqrt();
        Self { modulation, half_distance, rarity: [0.0; 16] }
    }
}

impl Constellation {
    /// Amplitudes of an axis as often as `counts` says, from the smallest.
    pub fn shaped(modulation: Modulation, counts: &[u32; MAX_AMPLITUDES]) -> Self {
        let numbered = counts.iter().zip(0u32..).take(modulation.amplitudes());
        let energy: f64 = numbered.map(|(count, n)| f64::from(*count) * f64::from(2 * n + 1).powi(2)).sum();
        let total: u32 = counts.iter().sum();
        let most = counts.iter().max().copied().unwrap_or(1);
        let rarity = std::array::from_fn(|label| {
            let amplitude = LEVELS[modulation.index()][label].abs() as usize / 2;
            // One that never comes counts as if it came half a time.
            (f64::from(most) / f64::from(counts[amplitude]).max(0.5)).ln() as f32
        });
        Self { modulation, half_distance: (0.5 * f64::from(total) / energy).sqrt() as f32, rarity }
    }

    /// The modulation that these points belong to.
    pub fn modulation(&self) -> Modulation {
        self.modulation
    }

    /// Whether some points come more often than others.
    pub fn is_shaped(&self) -> bool {
        self.rarity != [0.0; 16]
    }

    /// Maps bits to symbols; `bits` holds [`Modulation::bits_per_symbol`] per symbol.
    pub fn map(&self, bits: &[u8], symbols: &mut [Complex32]) {
        let levels = LEVELS[self.modulation.index()].map(|level| self.half_distance * level);
        match self.modulation {
            Modulation::Qpsk => map_by::<2>(&levels, bits, symbols),
            Modulation::Qam16 => map_by::<4>(&levels, bits, symbols),
            Modulation::Qam64 => map_by::<6>(&levels, bits, symbols),
            Modulation::Qam256 => map_by::<8>(&levels, bits, symbols),
        }
    }

    /// Means of the symbols whose bits have these log-likelihood ratios, and the mean power of what is unknown of one.
    pub fn expect(&self, ratio: impl Fn(usize) -> f32, symbols: &mut [Complex32]) -> f32 {
        let per_axis = self.modulation.bits_per_symbol() / 2;
        let levels = &LEVELS[self.modulation.index()][..1 << per_axis];
        let axis = |first: usize| {
            let mut likely = [0.0f32; 16];
            likely[0] = 1.0;
            // From label to label with one bit more, which the axes have by turns.
            for bit in 0..per_axis {
                let one = 1.0 / (1.0 + ratio(first + 2 * bit).exp());
                for label in (0..1 << bit).rev() {
                    likely[2 * label + 1] = likely[label] * one;
                    likely[2 * label] = likely[label] * (1.0 - one);
                }
            }
            let known = levels.iter().zip(&likely);
            known.fold([0.0, 0.0], |[mean, square], (level, p)| [mean + p * level, square + p * level * level])
        };
        let mut unknown = 0.0;
        for (n, symbol) in symbols.iter_mut().enumerate() {
            let [re, im] = [axis(2 * per_axis * n), axis(2 * per_axis * n + 1)];
            unknown += re[1] - re[0] * re[0] + im[1] - im[0] * im[0];
            *symbol = Complex32::new(re[0], im[0]) * self.half_distance;
        }
        unknown * self.half_distance * self.half_distance / symbols.len().max(1) as f32
    }

    /// Soft bits: log-likelihood ratios (max-log) of unit-gain symbols with complex noise of this variance, times
    /// [`SOFT_SCALE`], as bytes.
    pub fn demap(&self, symbols: &[Complex32], noise_variance: f32, soft: &mut [i8]) {
        let per_axis = self.modulation.bits_per_symbol() / 2;
        let scale = self.scale(noise_variance);
        let penalties = self.rarity.map(|rarity| rarity / scale);
        demap_axes(symbols, per_axis, [1.0 / self.half_distance, scale], &penalties, soft);
    }

    /// Square of half the distance of neighbouring points, in the noise's variance.
    fn scale(&self, noise_variance: f32) -> f32 {
        self.half_distance * self.half_distance / noise_variance.max(f32::MIN_POSITIVE)
    }

    /// As [`Self::demap`], of symbols to which `share` times unknown QPSK symbols of unit power were added: of these, too,
    /// the nearest counts.
    pub fn demap_jointly(&self, symbols: &[Complex32], noise_variance: f32, share: Complex32, soft: &mut [i8]) {
        self.each_jointly(symbols, noise_variance, share, |index, value| soft[index] = soft_bit(value));
    }

    /// Calls `put(bit, log-likelihood ratio)` for [`Self::demap_jointly`].
    pub(crate) fn each_jointly(
        &self,
        symbols: &[Complex32],
        noise_variance: f32,
        share: Complex32,
        put: impl FnMut(usize, f32),
    ) {
        let turned = share * std::f32::consts::FRAC_1_SQRT_2;
        let added =
            [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)].map(|(re, im)| turned * Complex32::new(re, im));
        self.each_beside(symbols, noise_variance, added, put);
    }

    fn each(&self, symbols: &[Complex32], noise_variance: f32, put: impl FnMut(usize, f32)) {
        self.each_beside(symbols, noise_variance, [Complex32::ZERO], put);
    }

    /// Calls `put(bit, log-likelihood ratio)`: the smallest squared distance to the sum of one of `added` and a point with
    /// bit 1 less that with bit 0, in units of the noise variance, each with its point's rarity added.
    fn each_beside<const ADDED: usize>(
        &self,
        symbols: &[Complex32],
        noise_variance: f32,
        added: [Complex32; ADDED],
        mut put: impl FnMut(usize, f32),
    ) {
        let per_axis = self.modulation.bits_per_symbol() / 2;
        let inverse = 1.0 / self.half_distance;
        let scale = self.scale(noise_variance);
        let penalties = self.rarity.map(|rarity| rarity / scale);
        let mut values = [[0.0; LANES]; ADDED];
        let mut ratios = [[0.0; LANES]; 4];
        // Both axes have the same levels, so that real and imaginary parts go through one kernel as they lie.
        for (block, symbols) in symbols.chunks(LANES / 2).enumerate() {
            for (values, added) in values.iter_mut().zip(&added) {
                for (pair, symbol) in values.chunks_exact_mut(2).zip(symbols) {
                    let left = symbol - added;
                    pair.copy_from_slice(&[left.re * inverse, left.im * inverse]);
                }
            }
            distance_differences(&values, per_axis, &penalties, &mut ratios);
            let first = block * LANES * per_axis;
            for (index, ratios) in ratios[..per_axis].iter().enumerate() {
                for (n, pair) in ratios.chunks_exact(2).take(symbols.len()).enumerate() {
                    let bit = first + n * 2 * per_axis + 2 * index;
                    put(bit, scale * pair[0]);
                    put(bit + 1, scale * pair[1]);
                }
            }
        }
    }
}

/// Bits to symbols of so many bits each, whose axes have these levels.
fn map_by<const WIDTH: usize>(levels: &[f32; 16], bits: &[u8], symbols: &mut [Complex32]) {
    for (symbol, bits) in symbols.iter_mut().zip(bits.as_chunks::<WIDTH>().0) {
        let (mut re, mut im) = (0, 0);
        for pair in bits.chunks_exact(2) {
            (re, im) = (re << 1 | usize::from(pair[0]), im << 1 | usize::from(pair[1]));
        }
        *symbol = Complex32::new(levels[re & 15], levels[im & 15]);
    }
}

/// Rounded to the nearest, ties away from zero, and clipped; what is no number says nothing. By sums and choices alone: neither
/// `f32::round` nor a cast that saturates need be compiled for several lanes.
#[inline(always)]
fn soft_bit(ratio: f32) -> i8 {
    /// Numbers of this size are whole, and end in their distance from it.
    const WHOLE: f32 = 12_582_912.0;
    let soft = SOFT_SCALE * ratio;
    let soft = if soft.is_nan() { 0.0 } else { soft };
    let soft = if soft > SOFT_LIMIT { SOFT_LIMIT } else { soft };
    let soft = if soft < -SOFT_LIMIT { -SOFT_LIMIT } else { soft };
    // Ties go to even numbers first.
    let even = soft + WHOLE - WHOLE;
    let rest = soft - even;
    let up = if (rest == 0.5) & (soft > 0.0) { 1.0 } else { 0.0 };
    let down = if (rest == -0.5) & (soft < 0.0) { 1.0 } else { 0.0 };
    (even + up - down + WHOLE).to_bits() as i8
}

dispatched! {
    /// [`Constellation::demap`], given the inverse of half the distance of points and its square in the noise's variance.
    fn demap_axes(
        symbols: &[Complex32],
        per_axis: usize,
        scales: [f32; 2],
        penalties: &[f32; 16],
        soft: &mut [i8],
    ) = demap_axes_body
}

#[inline(always)]
fn demap_axes_body(symbols: &[Complex32], per_axis: usize, scales: [f32; 2], penalties: &[f32; 16], soft: &mut [i8]) {
    match per_axis {
        1 => demap_by::<1>(symbols, scales, penalties, soft),
        2 => demap_by::<2>(symbols, scales, penalties, soft),
        3 => demap_by::<3>(symbols, scales, penalties, soft),
        _ => demap_by::<4>(symbols, scales, penalties, soft),
    }
}

#[inline(always)]
fn demap_by<const BITS: usize>(
    symbols: &[Complex32],
    [inverse, scale]: [f32; 2],
    penalties: &[f32; 16],
    soft: &mut [i8],
) {
    let (mut values, mut ratios) = ([[0.0; LANES]], [[0.0; LANES]; 4]);
    for (symbols, soft) in symbols.chunks(LANES / 2).zip(soft.chunks_mut(LANES * BITS)) {
        // Both axes have the same levels, so that real and imaginary parts go through one kernel as they lie.
        for (pair, symbol) in values[0].chunks_exact_mut(2).zip(symbols) {
            pair.copy_from_slice(&[symbol.re * inverse, symbol.im * inverse]);
        }
        differences::<BITS>(&values, penalties, &mut ratios);
        let mut bits = [[0i8; LANES]; BITS];
        for (bits, ratios) in bits.iter_mut().zip(&ratios) {
            for (bit, ratio) in bits.iter_mut().zip(ratios) {
                *bit = soft_bit(scale * ratio);
            }
        }
        for (n, soft) in soft.chunks_exact_mut(2 * BITS).enumerate() {
            for (pair, bits) in soft.chunks_exact_mut(2).zip(&bits) {
                pair.copy_from_slice(&bits[2 * n..][..2]);
            }
        }
    }
}

/// Axis values that the demapper takes at once: eight symbols.
const LANES: usize = 16;

/// Amplitudes of one axis, in half distances, by alphabet and label (the axis's bits, most significant first):
/// (1−2b₀)(2^m − (1−2b₁)(2^(m−1) − …)) of TS 38.211.
const LEVELS: [[f32; 16]; 4] = [levels(1), levels(2), levels(3), levels(4)];

const fn levels(per_axis: u32) -> [f32; 16] {
    let mut levels = [0.0; 16];
    let mut label = 0;
    while label < 1 << per_axis {
        // Written from the inside out: the least significant bit is innermost.
        let (mut value, mut bit) = (0.0, 0);
        while bit < per_axis {
            let size = (1u32 << bit) as f32 - value;
            value = if label >> bit & 1 == 0 { size } else { -size };
            bit += 1;
        }
        levels[label] = value;
        label += 1;
    }
    levels
}

dispatched! {
    /// For every bit of an axis, its smallest squared distance to a level with bit 1 less that to one with bit 0, each with
    /// its label's penalty. Of several rows of values, the one counts whose distances on both axes are the smallest.
    fn distance_differences(
        values: &[[f32; LANES]],
        per_axis: usize,
        penalties: &[f32; 16],
        ratios: &mut [[f32; LANES]; 4],
    ) = distance_differences_body
}

#[inline(always)]
fn distance_differences_body(
    values: &[[f32; LANES]],
    per_axis: usize,
    penalties: &[f32; 16],
    ratios: &mut [[f32; LANES]; 4],
) {
    match per_axis {
        1 => differences::<1>(values, penalties, ratios),
        2 => differences::<2>(values, penalties, ratios),
        3 => differences::<3>(values, penalties, ratios),
        _ => differences::<4>(values, penalties, ratios),
    }
}

#[inline(always)]
fn differences<const BITS: usize>(values: &[[f32; LANES]], penalties: &[f32; 16], ratios: &mut [[f32; LANES]; 4]) {
    let mut nearest = nearest_levels::<BITS>(&values[0], penalties);
    if values.len() > 1 {
        add_other_axis(&mut nearest);
        for values in &values[1..] {
            let mut others = nearest_levels::<BITS>(values, penalties);
            add_other_axis(&mut others);
            for (best, distance) in
                nearest.as_flattened_mut().as_flattened_mut().iter_mut().zip(others.as_flattened().as_flattened())
            {
                *best = if *distance < *best { *distance } else { *best };
            }
        }
    }
    for (ratios, [zero, one]) in ratios.iter_mut().zip(&nearest) {
        for ((ratio, zero), one) in ratios.iter_mut().zip(zero).zip(one) {
            *ratio = one - zero;
        }
    }
}

/// The smallest squared distances to a level with bit 0 and with bit 1, of each bit.
#[inline(always)]
fn nearest_levels<const BITS: usize>(values: &[f32; LANES], penalties: &[f32; 16]) -> [[[f32; LANES]; 2]; BITS] {
    let mut nearest = [[[f32::INFINITY; LANES]; 2]; BITS];
    for (label, (level, penalty)) in LEVELS[BITS - 1][..1 << BITS].iter().zip(penalties).enumerate() {
        // `map` of an array need not be compiled for the wider machine.
        let mut distances = [0.0; LANES];
        for (distance, value) in distances.iter_mut().zip(values) {
            *distance = (value - level) * (value - level) + penalty;
        }
        for (index, pair) in nearest.iter_mut().enumerate() {
            for (best, distance) in pair[label >> (BITS - 1 - index) & 1].iter_mut().zip(distances) {
                *best = if distance < *best { distance } else { *best };
            }
        }
    }
    nearest
}

/// Adds to each axis's distances the smallest of the symbol's other axis, its neighbour.
#[inline(always)]
fn add_other_axis<const BITS: usize>(nearest: &mut [[[f32; LANES]; 2]; BITS]) {
    let mut smallest = [0.0; LANES];
    for lane in 0..LANES {
        let [zero, one] = [nearest[0][0][lane], nearest[0][1][lane]];
        smallest[lane ^ 1] = if one < zero { one } else { zero };
    }
    for distances in nearest.as_flattened_mut() {
        for (distance, other) in distances.iter_mut().zip(&smallest) {
            *distance += other;
        }
    }
}

impl std::fmt::Display for Modulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Constellation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.is_shaped() { "shaped " } else { "" }, self.modulation)
    }
}

impl std::str::FromStr for Modulation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|modulation| modulation.name() == text)
            .ok_or_else(|| format!("found `{text}`; accepted: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// All bits and all points of a constellation.
    fn points(constellation: &Constellation) -> Vec<(Vec<u8>, Complex32)> {
        let width = constellation.modulation().bits_per_symbol();
        let bits_of = |label: usize| (0..width).map(|bit| (label >> bit & 1) as u8).collect::<Vec<_>>();
        let mut point = [Complex32::ZERO];
        (0..1 << width)
            .map(|label| {
                constellation.map(&bits_of(label), &mut point);
                (bits_of(label), point[0])
            })
            .collect()
    }

    #[test]
    fn what_bits_let_expect_of_a_symbol_is_the_mean_over_all_points() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
        let shaped = Constellation::shaped(Modulation::Qam64, &[90, 70, 40, 12, 0, 0, 0, 0]);
        for constellation in Modulation::ALL.map(Constellation::from).into_iter().chain([shaped]) {
            let width = constellation.modulation().bits_per_symbol();
            let ratios: Vec<f32> = (0..5 * width).map(|_| 12.0 * random.random::<f32>() - 6.0).collect();
            let mut means = [Complex32::ZERO; 5];
            let unknown = constellation.expect(|bit| ratios[bit], &mut means);
            let mut expected = 0.0;
            for (mean, ratios) in means.iter().zip(ratios.chunks_exact(width)) {
                let likely = |bits: &[u8]| {
                    let each = bits.iter().zip(ratios);
                    let each =
                        each.map(|(bit, ratio)| 1.0 / (1.0 + if *bit == 0 { (-ratio).exp() } else { ratio.exp() }));
                    each.product::<f32>()
                };
                let points = points(&constellation);
                let sum: Complex32 = points.iter().map(|(bits, point)| point * likely(bits)).sum();
                let square: f32 = points.iter().map(|(bits, point)| point.norm_sqr() * likely(bits)).sum();
                assert!((mean - sum).norm() < 1e-5, "{constellation}: {mean} instead of {sum}");
                expected += (square - sum.norm_sqr()) / 5.0;
            }
            assert!((unknown - expected).abs() < 1e-5, "{constellation}: {unknown} instead of {expected}");
            // Bits that are certain leave nothing unknown, and no number that is none.
            assert!(constellation.expect(|bit| if bit % 3 == 0 { 1e4 } else { -1e4 }, &mut means) < 1e-6);
        }
    }

    #[test]
    fn joint_ratios_are_those_of_the_nearest_sums_of_two_points() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(4);
        let mut complex = || Complex32::new(random.random::<f32>() - 0.5, random.random::<f32>() - 0.5) * 3.0;
        let shaped = Constellation::shaped(Modulation::Qam64, &[90, 70, 40, 12, 0, 0, 0, 0]);
        let plain = Modulation::ALL.map(Constellation::from);
        for constellation in plain.into_iter().chain([shaped]) {
            let width = constellation.modulation().bits_per_symbol();
            let points = points(&constellation);
            for share in [Complex32::ZERO, Complex32::new(0.4, 0.1), Complex32::new(-0.3, 0.9)] {
                let symbols: Vec<_> = (0..11).map(|_| complex()).collect();
                let mut ratios = vec![0.0; width * symbols.len()];
                constellation.each_jointly(&symbols, 0.2, share, |index, ratio| ratios[index] = ratio);
                for (symbol, ratios) in symbols.iter().zip(ratios.chunks_exact(width)) {
                    for (bit, ratio) in ratios.iter().enumerate() {
                        let mut nearest = [f32::INFINITY; 2];
                        for (bits, point) in &points {
                            let rarity: f32 = (0..2)
                                .map(|axis| {
                                    let label = bits[axis..].iter().step_by(2).fold(0, |label, bit| label << 1 | *bit);
                                    constellation.rarity[usize::from(label)]
                                })
                                .sum();
                            for turn in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
                                let other = share * Complex32::new(turn.0, turn.1) * 0.5f32.sqrt();
                                let cost = (symbol - point - other).norm_sqr() / 0.2 + rarity;
                                let best = &mut nearest[usize::from(bits[bit])];
                                *best = best.min(cost);
                            }
                        }
                        let expected = nearest[1] - nearest[0];
                        assert!((ratio - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{constellation} {share}");
                    }
                }
                if share == Complex32::ZERO {
                    let mut alone = vec![0.0; ratios.len()];
                    constellation.each(&symbols, 0.2, |index, ratio| alone[index] = ratio);
                    let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3 * (1.0 + a.abs());
                    assert!(alone.iter().zip(&ratios).all(same), "{constellation}");
                }
            }
        }
    }

    #[test]
    fn the_dispatched_kernel_equals_its_body_bit_for_bit() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(4);
        let values: [[f32; LANES]; 4] = std::array::from_fn(|_| std::array::from_fn(|_| 9.0 * random.random::<f32>()));
        let penalties = std::array::from_fn(|_| random.random::<f32>());
        for per_axis in 1..=4 {
            for rows in [1, 4] {
                let (mut fast, mut slow) = ([[0.0; LANES]; 4], [[0.0; LANES]; 4]);
                distance_differences(&values[..rows], per_axis, &penalties, &mut fast);
                distance_differences_body(&values[..rows], per_axis, &penalties, &mut slow);
                assert_eq!(fast, slow, "{per_axis} bits, {rows} rows");
            }
        }
    }

    #[test]
    fn soft_bytes_are_the_rounded_ratios_of_every_symbol_and_the_same_bits_from_the_baseline() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(6);
        let shaped = Constellation::shaped(Modulation::Qam64, &[90, 70, 40, 12, 0, 0, 0, 0]);
        for constellation in Modulation::ALL.map(Constellation::from).into_iter().chain([shaped]) {
            let width = constellation.modulation().bits_per_symbol();
            for count in [8, 11, 256] {
                let mut value = || 3.0 * (random.random::<f32>() - 0.5);
                let symbols: Vec<_> = (0..count).map(|_| Complex32::new(value(), value())).collect();
                let (mut fast, mut slow) = (vec![0; width * count], vec![0; width * count]);
                constellation.demap(&symbols, 0.3, &mut fast);
                let scale = constellation.scale(0.3);
                let penalties = constellation.rarity.map(|rarity| rarity / scale);
                let scales = [1.0 / constellation.half_distance, scale];
                demap_axes_body(&symbols, width / 2, scales, &penalties, &mut slow);
                assert_eq!(fast, slow);
                constellation.each(&symbols, 0.3, |bit, ratio| slow[bit] = soft_bit(ratio));
                assert_eq!(fast, slow);
            }
        }
    }

    #[test]
    fn soft_bits_round_as_the_library_does() {
        let library = |ratio: f32| (SOFT_SCALE * ratio).round().clamp(-SOFT_LIMIT, SOFT_LIMIT) as i8;
        let near = (-80..80).flat_map(|eighths| {
            let ratio = eighths as f32 / 8.0;
            [ratio, ratio.next_up(), ratio.next_down()]
        });
        for ratio in near.chain([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30]) {
            assert_eq!(soft_bit(ratio), library(ratio), "{ratio}");
        }
    }

    #[test]
    fn a_soft_bit_has_as_many_units_a_nat_as_the_frames_say() {
        assert_eq!((soft_bit(1.0), soft_bit(-2.5)), (4, -10));
        assert!(include_str!("../stream/frame.rs").contains("= 4 units per nat, positive = bit 0"));
    }
}
