//! The link simulator: random blocks over the complex Gaussian channel, decoded and counted.
//!
//! The SNR is Es/N0 per complex symbol and known to the demapper, as the receiver knows its measured SINR.

use std::time::{Duration, Instant};

use num_complex::Complex32;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{BATCH, BlockCode, BlockScratch, DecodeOutcome};

/// What a run counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounts {
    /// Blocks sent.
    pub blocks: u64,
    /// Blocks with any of the N_c bits wrong, noticed or not, and blocks that were given up though these are right.
    pub block_errors: u64,
    /// Wrong ones among all N_c bits of all blocks, bad blocks as the decoder left them.
    pub bit_errors: u64,
    /// Blocks that the decoder called right though they were wrong.
    pub undetected: u64,
    /// Iterations spent.
    pub iterations: u64,
    /// Time in the decoder.
    pub decoding: Duration,
}

impl LinkCounts {
    /// Share of wrong blocks.
    pub fn block_error_rate(&self) -> f64 {
        self.block_errors as f64 / self.blocks.max(1) as f64
    }
}

/// A simulated link: one code, one SNR, one stream of random numbers.
#[derive(Debug)]
pub struct SimulatedLink<'a> {
    code: &'a BlockCode,
    noise_variance: f32,
    random: Xoshiro256PlusPlus,
    scratch: BlockScratch,
    words: Vec<u8>,
    coded: Vec<u8>,
    symbols: Vec<Complex32>,
    soft: Vec<i8>,
    decoded: Vec<u8>,
}

impl<'a> SimulatedLink<'a> {
    /// A link at `snr_db`.
    pub fn new(code: &'a BlockCode, snr_db: f64, seed: u64) -> Self {
        let (information, coded) = (code.information_bits(), code.coded_bits());
        Self {
            code,
            noise_variance: 10f64.powf(-snr_db / 10.0) as f32,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            scratch: BlockScratch::default(),
            words: vec![0; BATCH * information],
            coded: vec![0; coded],
            symbols: vec![Complex32::default(); coded / code.modulation().bits_per_symbol()],
            soft: vec![0; BATCH * coded],
            decoded: vec![0; BATCH * information],
        }
    }

    /// The same with a decoder that tries blocks again on which it has given up.
    pub fn with_rescue(self) -> Self {
        Self { scratch: BlockScratch::with_rescue(), ..self }
    }

    /// Sends `blocks` blocks, or stops once `block_errors` of them were wrong.
    pub fn run(&mut self, blocks: u64, block_errors: u64) -> LinkCounts {
        let mut counts = LinkCounts::default();
        while counts.blocks < blocks && counts.block_errors < block_errors {
            self.batch((blocks - counts.blocks).min(BATCH as u64) as usize, &mut counts);
        }
        counts
    }

    fn batch(&mut self, blocks: usize, counts: &mut LinkCounts) {
        let (information, coded) = (self.code.information_bits(), self.code.coded_bits());
        for block in 0..blocks {
            let word = &mut self.words[block * information..][..information];
            let payload = self.code.payload_bits();
            fill_with_bits(&mut word[..payload], &mut self.random);
            self.code.seal(word);
            self.code.modulate(&word[..payload], &mut self.coded, &mut self.symbols, &mut self.scratch);
            add_noise(&mut self.symbols, self.noise_variance, &mut self.random);
            let soft = &mut self.soft[block * coded..][..coded];
            self.code.constellation().demap(&self.symbols, self.noise_variance, soft);
        }
        let begin = Instant::now();
        let mut outcomes = [DecodeOutcome::default(); BATCH];
        let (soft, decoded) = (&self.soft[..blocks * coded], &mut self.decoded[..blocks * information]);
        self.code.decode_words(soft, decoded, &mut outcomes[..blocks], &mut self.scratch);
        counts.decoding += begin.elapsed();
        let words = self.words.chunks_exact(information).zip(self.decoded.chunks_exact(information));
        for (outcome, (sent, decoded)) in outcomes[..blocks].iter().zip(words) {
            let wrong = sent.iter().zip(decoded).filter(|(sent, decoded)| sent != decoded).count() as u64;
            counts.blocks += 1;
            counts.block_errors += u64::from(wrong > 0 || !outcome.decoded);
            counts.bit_errors += wrong;
            counts.undetected += u64::from(wrong > 0 && outcome.decoded);
            counts.iterations += u64::from(outcome.iterations);
        }
    }
}

/// Adds complex Gaussian noise of this variance per symbol.
pub fn add_noise(symbols: &mut [Complex32], noise_variance: f32, random: &mut impl Rng) {
    let deviation = (noise_variance / 2.0).sqrt();
    for symbol in symbols {
        let noise: [f32; 2] = std::array::from_fn(|_| StandardNormal.sample(random));
        *symbol += Complex32::new(noise[0], noise[1]) * deviation;
    }
}

fn fill_with_bits(bits: &mut [u8], random: &mut Xoshiro256PlusPlus) {
    for bits in bits.chunks_mut(64) {
        let word: u64 = random.random();
        bits.iter_mut().enumerate().for_each(|(shift, bit)| *bit = (word >> shift & 1) as u8);
    }
}
