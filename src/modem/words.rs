//! The symbols that every receiver knows: preambles, unique words, sounding words, and the sensing stream's sequence.

use std::f64::consts::PI;
use std::sync::Arc;

use num_complex::Complex32;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::frame::{HeaderLength, Layout, PAYLOAD, PREAMBLE_WORD, UNIQUE_WORD};

/// Zadoff–Chu roots of the semantic stream: preamble and unique word.
const SEMANTIC_ROOTS: (usize, usize) = (29, 7);
/// Zadoff–Chu roots of the sensing stream: preamble and unique word.
const SENSING_ROOTS: (usize, usize) = (53, 19);
/// Zadoff–Chu root of the sounding word.
const SOUNDING_ROOT: usize = 1;

/// One stream's words.
#[derive(Debug, Clone)]
pub struct StreamWords {
    /// One preamble word.
    pub preamble: Vec<Complex32>,
    /// The unique word.
    pub unique_word: Vec<Complex32>,
}

/// All words of an air interface.
#[derive(Debug, Clone)]
pub struct Words {
    /// The words of s_c.
    pub semantic: StreamWords,
    /// The words of s_0.
    pub sensing: StreamWords,
    /// Sent by each antenna alone, cut to its slot.
    pub sounding: Vec<Complex32>,
}

impl Words {
    /// The words for a transmitter of `antennas` antennas.
    pub fn new(antennas: usize) -> Self {
        let stream = |(preamble, unique_word)| StreamWords {
            preamble: zadoff_chu(PREAMBLE_WORD, preamble),
            unique_word: zadoff_chu(UNIQUE_WORD, unique_word),
        };
        Self {
            semantic: stream(SEMANTIC_ROOTS),
            sensing: stream(SENSING_ROOTS),
            sounding: zadoff_chu(
                Layout::with_sounding(antennas, HeaderLength::Short).sounding / antennas,
                SOUNDING_ROOT,
            ),
        }
    }
}

/// Zadoff–Chu sequence of even `length` and odd `root`: unit modulus, zero circular autocorrelation.
pub fn zadoff_chu(length: usize, root: usize) -> Vec<Complex32> {
    (0..length)
        .map(|n| {
            let turns = (root * n * n) % (2 * length);
            let angle = -PI * turns as f64 / length as f64;
            Complex32::new(angle.cos() as f32, angle.sin() as f32)
        })
        .collect()
}

/// What the sensing stream's symbols follow from, agreed on beforehand. Who knows it knows s_0.
#[derive(Debug, Clone, Default)]
pub struct SensingSequence {
    /// Seed of the pseudo-random sequence.
    pub seed: u16,
    /// Bits that the stream carries beside the payload in place of it, repeated.
    pub probing_bits: Option<Arc<[u8]>>,
}

impl SensingSequence {
    /// Writes the symbols of frame `number`, those beside the payload first: QPSK of unit power.
    pub fn write(&self, number: u64, symbols: &mut [Complex32]) {
        const AMPLITUDE: f32 = std::f32::consts::FRAC_1_SQRT_2;
        let point = |first: bool, second: bool| {
            Complex32::new(if first { -AMPLITUDE } else { AMPLITUDE }, if second { -AMPLITUDE } else { AMPLITUDE })
        };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(u64::from(self.seed) << 40 ^ number);
        for symbol in symbols.iter_mut() {
            let bits: u8 = random.random();
            *symbol = point(bits & 1 == 1, bits & 2 == 2);
        }
        let Some(bits) = self.probing_bits.as_deref().filter(|bits| !bits.is_empty()) else { return };
        let per_frame = 2 * PAYLOAD as u64;
        let mut position = (number.wrapping_mul(per_frame) % bits.len() as u64) as usize;
        let mut next = || {
            let bit = bits[position] == 1;
            position = if position + 1 == bits.len() { 0 } else { position + 1 };
            bit
        };
        let count = symbols.len().min(PAYLOAD);
        symbols[..count].iter_mut().for_each(|symbol| *symbol = point(next(), next()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_unit_modulus_and_no_circular_sidelobes() {
        for (length, root) in [(128, 29), (128, 53), (32, 7), (32, 19), (32, 1)] {
            let word = zadoff_chu(length, root);
            for shift in 1..length {
                let correlation: Complex32 = (0..length).map(|n| word[n].conj() * word[(n + shift) % length]).sum();
                assert!(correlation.norm() < 1e-3, "{length}, {root}, {shift}");
            }
            assert!(word.iter().all(|symbol| (symbol.norm() - 1.0).abs() < 1e-6));
        }
    }

    #[test]
    fn the_words_of_the_two_streams_are_nearly_orthogonal() {
        let words = Words::new(4);
        for (a, b) in [
            (&words.semantic.preamble, &words.sensing.preamble),
            (&words.semantic.unique_word, &words.sensing.unique_word),
        ] {
            let correlation: Complex32 = a.iter().zip(b).map(|(a, b)| a.conj() * b).sum();
            assert!(correlation.norm() / a.len() as f32 <= 0.36, "{}", correlation.norm());
        }
    }

    #[test]
    fn probing_bits_run_on_from_frame_to_frame() {
        let bits: Vec<u8> = (0..7001).map(|n| u8::from(n % 3 == 0)).collect();
        let mut first = vec![Complex32::default(); PAYLOAD];
        let mut second = first.clone();
        let sequence = SensingSequence { seed: 0, probing_bits: Some(bits.clone().into()) };
        sequence.write(0, &mut first);
        sequence.write(1, &mut second);
        let sign = |bit: u8| if bit == 1 { -1.0f32 } else { 1.0 };
        assert_eq!(first[0].re.signum(), sign(bits[0]));
        assert_eq!(second[0].re.signum(), sign(bits[2 * first.len()]));
    }
}
