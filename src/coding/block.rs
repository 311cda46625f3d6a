//! One payload block: N_c bits (a CRC among them) become L symbols of one modulation.

use super::ldpc::{BATCH, BaseGraph, BeliefPropagation, Decoder, Encoder, LdpcCode, MAX_LIFTING};
use super::{Crc, crc};
use crate::modem::constellation::Modulation;
use crate::{Error, Result};

/// L, the symbols of a block.
pub const BLOCK_SYMBOLS: usize = 256;

/// Largest N_c as a share of E, in 256ths.
const MAX_CODE_RATE_256THS: usize = 255;

/// Largest N_c that any modulation carries in a block: 2 040 of 256-QAM's 2 048 bits.
pub const MAX_INFORMATION_BITS: usize = BLOCK_SYMBOLS * 8 * MAX_CODE_RATE_256THS / 256;

/// Smallest N_c.
const MIN_INFORMATION_BITS: usize = 20;

/// Iterations after which a block is given up.
const MAX_ITERATIONS: u8 = 20;

/// Iterations of belief propagation after which a block is not saved.
const RESCUE_ITERATIONS: u8 = 60;

/// What decoding a block came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeOutcome {
    /// Syndrome and CRC agree.
    pub decoded: bool,
    /// Iterations spent, those of the rescue among them.
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
    rescue: Option<BeliefPropagation>,
    word: Vec<u8>,
}

impl Default for BlockScratch {
    fn default() -> Self {
        let word = vec![0; BlockCode::MAX_JOINT_BLOCKS * MAX_INFORMATION_BITS];
        Self { encoder: Encoder::default(), decoder: Decoder::default(), rescue: None, word }
    }
}

impl BlockScratch {
    /// The same for a decoder that tries blocks again, on which it has given up, with [`BeliefPropagation`].
    pub fn with_rescue() -> Self {
        Self { rescue: Some(BeliefPropagation::default()), ..Self::default() }
    }
}

/// The modulation and base graph that serve N_c bits in `symbols` symbols best.
///
/// Switch points: where the measured SNRs at block error rates of 1e-2 and 1e-3 cross, to 0.05 dB.
pub fn plan(information_bits: usize, symbols: usize, crc: Crc) -> Result<BlockCode> {
    let rate = information_bits as f64 / symbols as f64;
    let modulation = match rate {
        rate if rate <= 1.45 => Modulation::Qpsk,
        rate if rate <= 3.3 => Modulation::Qam16,
        rate if rate <= 5.3 => Modulation::Qam64,
        _ => Modulation::Qam256,
    };
    BlockCode::new(information_bits, symbols, modulation, crc)
}

impl BlockCode {
    /// Most blocks that may be coded as one.
    pub const MAX_JOINT_BLOCKS: usize = 4;

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
        let longest = Self::MAX_JOINT_BLOCKS * BLOCK_SYMBOLS;
        if symbols > longest {
            return Err(Error::input(format!("{symbols} symbols in a block; accepted: at most {longest}")));
        }
        let coded_bits = symbols * modulation.bits_per_symbol();
        let most = coded_bits * MAX_CODE_RATE_256THS / 256;
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
    /// one by one.
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
        let words = words.chunks_exact_mut(self.information_bits()).zip(llr.chunks_exact(self.coded_bits()));
        for ((outcome, (holds, iterations)), (word, llr)) in outcomes.iter_mut().zip(found).zip(words) {
            if let Some(rescue) = scratch.rescue.as_mut().filter(|_| !*holds) {
                let (saved, more) = self.code.propagate(llr, word, RESCUE_ITERATIONS, rescue);
                (*holds, *iterations) = (saved, *iterations + more);
            }
            *outcome = DecodeOutcome { decoded: *holds && self.crc.check(word), iterations: *iterations };
        }
    }
}

/// Base graph two is lighter and as good up to a code rate of 2/3; above, it gains 0.1 dB but has an error floor (16-QAM, 768
/// bits at 11.4 dB, after the rescue: 25 errors in 400 000 blocks, 13 of them unnoticed). Words above 960 bits (Z ≥ 104) leave it earlier: with so few rows the
/// floor comes there too (64-QAM, 1 023 bits at 15.4 dB: 60 errors in 348 220 blocks, graph one 3 in 500 000; 960 bits at
/// 14.54 dB on graph two: 2 in 500 000).
fn base_graph(information_bits: usize, modulation: Modulation, symbols: usize) -> BaseGraph {
    let coded_bits = symbols * modulation.bits_per_symbol();
    let floor = information_bits > 960 && 100 * information_bits > 58 * coded_bits;
    let fits = information_bits <= BaseGraph::Two.columns_k() * MAX_LIFTING;
    if 3 * information_bits < 2 * coded_bits && !floor && fits { BaseGraph::Two } else { BaseGraph::One }
}

#[cfg(test)]
mod tests {
    use super::super::SimulatedLink;
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// Sends random bits without noise.
    fn comes_back(code: &BlockCode, random: &mut impl rand::Rng, scratch: &mut BlockScratch) -> bool {
        let payload: Vec<u8> = (0..code.payload_bits()).map(|_| random.random_range(0..2)).collect();
        let (mut coded, mut back) = (vec![0; code.coded_bits()], vec![0; payload.len()]);
        code.encode(&payload, &mut coded, scratch);
        let llr: Vec<i8> = coded.iter().map(|bit| if *bit == 0 { 20 } else { -20 }).collect();
        code.decode(&llr, &mut back, scratch).decoded && back == payload
    }

    #[test]
    fn every_size_comes_back_without_noise_in_every_modulation_that_fits() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(2);
        let mut scratch = BlockScratch::default();
        for modulation in Modulation::ALL {
            let most = 256 * modulation.bits_per_symbol() * MAX_CODE_RATE_256THS / 256;
            for information_bits in 32..=most {
                let code = BlockCode::new(information_bits, 256, modulation, Crc::Crc11).unwrap();
                assert!(comes_back(&code, &mut random, &mut scratch), "{information_bits} {modulation}");
            }
            assert!(BlockCode::new(most + 1, 256, modulation, Crc::Crc11).is_err());
        }
    }

    #[test]
    fn four_blocks_coded_as_one_come_back_in_every_modulation() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(3);
        let mut scratch = BlockScratch::with_rescue();
        for modulation in Modulation::ALL {
            let most = 1024 * modulation.bits_per_symbol() * MAX_CODE_RATE_256THS / 256;
            for information_bits in (128..=most).step_by(311).chain([most]) {
                let code = BlockCode::new(information_bits, 1024, modulation, Crc::Crc24A).unwrap();
                assert!(comes_back(&code, &mut random, &mut scratch), "{information_bits} {modulation}");
            }
        }
        assert!(BlockCode::new(1024, 1025, Modulation::Qpsk, Crc::None).is_err());
    }

    #[test]
    fn no_block_is_given_up_far_above_its_waterfall() {
        for (information_bits, modulation, snr_db) in [(200, Modulation::Qpsk, 6.0), (512, Modulation::Qam16, 12.0)] {
            let code = BlockCode::new(information_bits, BLOCK_SYMBOLS, modulation, Crc::Crc11).unwrap();
            let counts = SimulatedLink::new(&code, snr_db, 5).run(10_000, u64::MAX);
            assert_eq!(counts.block_errors, 0, "{information_bits} bits at {snr_db} dB");
        }
    }

    #[test]
    fn the_rescue_saves_most_blocks_that_were_given_up() {
        // Seen: 125 and 56 blocks given up, 28 and 13 lost.
        for (information_bits, modulation, snr_db) in [(256, Modulation::Qpsk, 2.2), (768, Modulation::Qam16, 11.0)] {
            let code = BlockCode::new(information_bits, BLOCK_SYMBOLS, modulation, Crc::Crc11).unwrap();
            let given_up = SimulatedLink::new(&code, snr_db, 4).run(16_000, u64::MAX);
            let lost = SimulatedLink::new(&code, snr_db, 4).with_rescue().run(16_000, u64::MAX);
            let (given_up, lost) = (given_up.block_errors, lost.block_errors);
            assert!(given_up >= 25 && 2 * lost < given_up, "{information_bits} bits: {lost} of {given_up} lost");
        }
    }
}
