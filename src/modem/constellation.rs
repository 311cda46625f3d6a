//! The constellations of TS 38.211 section 5.1, unit mean power, and max-log soft demapping.
//!
//! Bits of a symbol alternate between the in-phase and the quadrature axis, the most significant first.

use num_complex::Complex32;
use serde::{Deserialize, Serialize};

/// Soft bits are log-likelihood ratios times this, rounded and clipped to ±[`SOFT_LIMIT`].
pub const SOFT_SCALE: f32 = 3.0;

/// Largest magnitude of a soft bit.
pub const SOFT_LIMIT: f32 = 64.0;

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

    /// Amplitude of one axis, in half distances, for its bits (most significant first).
    fn level(bits: impl DoubleEndedIterator<Item = u8>) -> f32 {
        // TS 38.211: (1−2b₀)(2^m − (1−2b₁)(2^(m−1) − …)), written from the inside out.
        let mut value = 0.0;
        let mut power = 1.0;
        for bit in bits.rev() {
            let sign = 1.0 - 2.0 * f32::from(bit);
            value = sign * (power - value);
            power *= 2.0;
        }
        value
    }

    /// Maps bits to symbols; `bits` holds [`Self::bits_per_symbol`] per symbol.
    pub fn map(self, bits: &[u8], symbols: &mut [Complex32]) {
        let scale = self.half_distance();
        for (symbol, bits) in symbols.iter_mut().zip(bits.chunks_exact(self.bits_per_symbol())) {
            let half = bits.len() / 2;
            let axis = |first: usize| scale * Self::level((0..half).map(|index| bits[2 * index + first]));
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
        for (n, symbol) in symbols.iter().enumerate() {
            for (axis, value) in [symbol.re / unit, symbol.im / unit].into_iter().enumerate() {
                let mut nearest = [[f32::INFINITY; 2]; 4];
                for label in 0..1u8 << per_axis {
                    let bit = |index: usize| label >> (per_axis - 1 - index) & 1;
                    let point = Self::level((0..per_axis).map(bit));
                    let distance = (value - point) * (value - point);
                    for (index, pair) in nearest[..per_axis].iter_mut().enumerate() {
                        let best = &mut pair[usize::from(bit(index))];
                        *best = best.min(distance);
                    }
                }
                for (index, [zero, one]) in nearest[..per_axis].iter().enumerate() {
                    put(n * 2 * per_axis + 2 * index + axis, scale * unit * unit * (one - zero));
                }
            }
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
