//! One payload block: N_c bits (a CRC among them) become L symbols of one modulation.

use super::ldpc::{BATCH, BaseGraph, Decoder, Encoder, LdpcCode};
use super::{Crc, crc};
use crate::modem::constellation::Modulation;
use crate::{Error, Result};

/// L, the symbols of a block.
pub const BLOCK_SYMBOLS: usize = 256;

/// Largest code rate N_c/E: above, the code has next to no parity bits for the two punctured columns.
const MAX_CODE_RATE_PERCENT: usize = 93;

/// Largest N_c that any modulation carries in a block: 0.93 of 256-QAM's 2 048 bits.
pub const MAX_INFORMATION_BITS: usize = BLOCK_SYMBOLS * 8 * MAX_CODE_RATE_PERCENT / 100;

/// Smallest N_c.
const MIN_INFORMATION_BITS: usize = 20;

/// Iterations after which a block is given up.
const MAX_ITERATIONS: u8 = 20;

/// What decoding a block came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeOutcome {
    /// Syndrome and CRC agree.
    pub decoded: bool,
    /// Iterations spent.
    pub iterations: u8,
}

/// The code of a payload block.
#[derive(Debug, Clone)]
pub struct BlockCode {
    code: LdpcCode,
    modulation: Modulation,
    crc: Crc,
}

/// Room for encoding and decoding any block.
#[derive(Debug, Clone)]
pub struct BlockScratch {
    encoder: Encoder,
    decoder: Decoder,
    word: Vec<u8>,
}

impl Default for BlockScratch {
    fn default() -> Self {
        Self { encoder: Encoder::default(), decoder: Decoder::default(), word: vec![0; MAX_INFORMATION_BITS + 24] }
    }
}

/// The modulation and base graph that serve N_c bits in `symbols` symbols best.
///
/// Switch points: where the alphabets' curves of the normal approximation cross (1.45, 3.1 and 5.1 bits a symbol).
pub fn plan(information_bits: usize, symbols: usize, crc: Crc) -> Result<BlockCode> {
    let rate = information_bits as f64 / symbols as f64;
    let modulation = match rate {
        rate if rate <= 1.45 => Modulation::Qpsk,
        rate if rate <= 3.1 => Modulation::Qam16,
        rate if rate <= 5.1 => Modulation::Qam64,
        _ => Modulation::Qam256,
    };
    BlockCode::new(information_bits, symbols, modulation, crc)
}

impl BlockCode {
    /// The code of `information_bits` bits, `crc` counted inside, in `symbols` symbols.
    pub fn new(information_bits: usize, symbols: usize, modulation: Modulation, crc: Crc) -> Result<Self> {
        let graph = base_graph(information_bits, modulation, symbols);
        Self::with_base_graph(information_bits, symbols, modulation, crc, graph)
    }

    /// The same on a base graph of the caller's.
    pub fn with_base_graph(
        information_bits: usize,
        symbols: usize,
        modulation: Modulation,
        crc: Crc,
        graph: BaseGraph,
    ) -> Result<Self> {
        let coded_bits = symbols * modulation.bits_per_symbol();
        let most = (coded_bits * MAX_CODE_RATE_PERCENT / 100).min(MAX_INFORMATION_BITS);
        let least = MIN_INFORMATION_BITS.max(crc.bits() + 1);
        if !(least..=most).contains(&information_bits) {
            return Err(Error::input(format!(
                "{information_bits} information bits in a block of {symbols} symbols of {modulation}; accepted: {least} to {most}"
            )));
        }
        Ok(Self {
            code: LdpcCode::new(graph, information_bits, coded_bits, modulation.bits_per_symbol())?,
            modulation,
            crc,
        })
    }

    /// N_c.
    pub fn information_bits(&self) -> usize {
        self.code.information_bits()
    }

    /// Bits that a user may fill: N_c less the CRC.
    pub fn payload_bits(&self) -> usize {
        self.information_bits() - self.crc.bits()
    }

    /// Bits on the air.
    pub fn coded_bits(&self) -> usize {
        self.code.coded_bits()
    }

    /// The modulation.
    pub fn modulation(&self) -> Modulation {
        self.modulation
    }

    /// The CRC inside.
    pub fn crc(&self) -> crc::Crc {
        self.crc
    }

    /// R_c in bits per symbol.
    pub fn rate(&self) -> f64 {
        (self.information_bits() * self.modulation.bits_per_symbol()) as f64 / self.coded_bits() as f64
    }

    /// Encodes [`Self::payload_bits`] bits into [`Self::coded_bits`] bits.
    pub fn encode(&self, payload: &[u8], coded: &mut [u8], scratch: &mut BlockScratch) {
        let word = &mut scratch.word[..self.information_bits()];
        word[..payload.len()].copy_from_slice(payload);
        self.crc.append(word);
        self.code.encode(word, coded, &mut scratch.encoder);
    }

    /// Decodes [`Self::coded_bits`] soft bits into [`Self::payload_bits`] bits, the best guess where it fails.
    pub fn decode(&self, llr: &[i8], payload: &mut [u8], scratch: &mut BlockScratch) -> DecodeOutcome {
        let mut outcome = [DecodeOutcome::default()];
        let mut words = std::mem::take(&mut scratch.word);
        self.decode_words(llr, &mut words, &mut outcome, scratch);
        payload.copy_from_slice(&words[..self.payload_bits()]);
        scratch.word = words;
        outcome[0]
    }

    /// Decodes as many blocks as there are outcomes, at most [`BATCH`], into their N_c bits each, CRC included. Faster than
    /// one by one where N_c is small.
    pub fn decode_words(
        &self,
        llr: &[i8],
        words: &mut [u8],
        outcomes: &mut [DecodeOutcome],
        scratch: &mut BlockScratch,
    ) {
        let mut found = [(false, 0); BATCH];
        let found = &mut found[..outcomes.len()];
        self.code.decode_batch(llr, words, MAX_ITERATIONS, found, &mut scratch.decoder);
        let words = words.chunks_exact(self.information_bits());
        for ((outcome, (holds, iterations)), word) in outcomes.iter_mut().zip(found).zip(words) {
            *outcome = DecodeOutcome { decoded: *holds && self.crc.check(word), iterations: *iterations };
        }
    }
}

/// Base graph two is lighter and as good up to a code rate of 2/3. Words above 960 bits (Z ≥ 104) leave it earlier: with so
/// few rows it has an error floor there (64-QAM, 1 023 bits at 15.4 dB: 60 errors in 348 220 blocks, graph one 3 in
/// 500 000; 960 bits at 14.54 dB on graph two: 2 in 500 000).
fn base_graph(information_bits: usize, modulation: Modulation, symbols: usize) -> BaseGraph {
    let coded_bits = symbols * modulation.bits_per_symbol();
    let floor = information_bits > 960 && 100 * information_bits > 58 * coded_bits;
    if 3 * information_bits < 2 * coded_bits && !floor { BaseGraph::Two } else { BaseGraph::One }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_size_comes_back_without_noise_in_every_modulation_that_fits() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(2);
        let mut scratch = BlockScratch::default();
        let (mut coded, mut llr, mut back) = (vec![0; 2048], vec![0; 2048], vec![0; 2048]);
        for information_bits in 32..=MAX_INFORMATION_BITS {
            for modulation in Modulation::ALL {
                let Ok(code) = BlockCode::new(information_bits, 256, modulation, Crc::Crc11) else { continue };
                let payload: Vec<u8> = (0..code.payload_bits()).map(|_| random.random_range(0..2)).collect();
                let count = code.coded_bits();
                code.encode(&payload, &mut coded[..count], &mut scratch);
                for (llr, bit) in llr.iter_mut().zip(&coded[..count]) {
                    *llr = if *bit == 0 { 20 } else { -20 };
                }
                let outcome = code.decode(&llr[..count], &mut back[..payload.len()], &mut scratch);
                assert!(outcome.decoded && back[..payload.len()] == payload, "{information_bits} {modulation}");
            }
        }
    }
}
