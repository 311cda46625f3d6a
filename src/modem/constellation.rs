//! The constellations of TS 38.211 section 5.1, unit mean power, and max-log soft demapping.
//!
//! Bits of a symbol alternate between the in-phase and the quadrature axis, the most significant first.

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

    /// Half the distance of neighbouring points at unit mean power.
    fn half_distance(self) -> f32 {
        [0.5f32, 0.1, 1.0 / 42.0, 1.0 / 170.0][self.index()].sqrt()
    }

    /// Maps bits to symbols; `bits` holds [`Self::bits_per_symbol`] per symbol.
    pub fn map(self, bits: &[u8], symbols: &mut [Complex32]) {
        let scale = self.half_distance();
        for (symbol, bits) in symbols.iter_mut().zip(bits.chunks_exact(self.bits_per_symbol())) {
            let label =
                |first: usize| bits[first..].iter().step_by(2).fold(0, |label, bit| label << 1 | usize::from(*bit));
            let axis = |first: usize| scale * LEVELS[self.index()][label(first)];
            *symbol = Complex32::new(axis(0), axis(1));
        }
    }

    /// Log-likelihood ratios (max-log) of unit-gain symbols with complex noise of this variance.
    pub fn demap_f32(self, symbols: &[Complex32], noise_variance: f32, llr: &mut [f32]) {
        let scale = 1.0 / noise_variance.max(f32::MIN_POSITIVE);
        self.each(symbols, scale, |index, value| llr[index] = value);
    }

    /// Soft bits: the same, times [`SOFT_SCALE`], as bytes.
    pub fn demap(self, symbols: &[Complex32], noise_variance: f32, soft: &mut [i8]) {
        let scale = SOFT_SCALE / noise_variance.max(f32::MIN_POSITIVE);
        self.each(symbols, scale, |index, value| soft[index] = value.round().clamp(-SOFT_LIMIT, SOFT_LIMIT) as i8);
    }

    /// Calls `put(bit, scale·(min over points with bit 1 − min over points with bit 0 of the squared distance))`.
    fn each(self, symbols: &[Complex32], scale: f32, mut put: impl FnMut(usize, f32)) {
        let per_axis = self.bits_per_symbol() / 2;
        let unit = self.half_distance();
        let (inverse, scale) = (1.0 / unit, scale * unit * unit);
        let mut values = [0.0; LANES];
        let mut ratios = [[0.0; LANES]; 4];
        // Both axes have the same levels, so that real and imaginary parts go through one kernel as they lie.
        for (block, symbols) in symbols.chunks(LANES / 2).enumerate() {
            for (pair, symbol) in values.chunks_exact_mut(2).zip(symbols) {
                pair.copy_from_slice(&[symbol.re * inverse, symbol.im * inverse]);
            }
            distance_differences(&values, per_axis, &mut ratios);
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
    /// For every bit of an axis, its smallest squared distance to a level with bit 1 less that to one with bit 0.
    fn distance_differences(values: &[f32; LANES], per_axis: usize, ratios: &mut [[f32; LANES]; 4])
        = distance_differences_body
}

#[inline(always)]
fn distance_differences_body(values: &[f32; LANES], per_axis: usize, ratios: &mut [[f32; LANES]; 4]) {
    match per_axis {
        1 => differences::<1>(values, ratios),
        2 => differences::<2>(values, ratios),
        3 => differences::<3>(values, ratios),
        _ => differences::<4>(values, ratios),
    }
}

#[inline(always)]
fn differences<const BITS: usize>(values: &[f32; LANES], ratios: &mut [[f32; LANES]; 4]) {
    let mut nearest = [[[f32::INFINITY; LANES]; 2]; BITS];
    for (label, level) in LEVELS[BITS - 1][..1 << BITS].iter().enumerate() {
        let distances = values.map(|value| (value - level) * (value - level));
        for (index, pair) in nearest.iter_mut().enumerate() {
            for (best, distance) in pair[label >> (BITS - 1 - index) & 1].iter_mut().zip(distances) {
                *best = if distance < *best { distance } else { *best };
            }
        }
    }
    for (ratios, [zero, one]) in ratios.iter_mut().zip(&nearest) {
        for ((ratio, zero), one) in ratios.iter_mut().zip(zero).zip(one) {
            *ratio = one - zero;
        }
    }
}

impl std::fmt::Display for Modulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
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
