//! A coded link measured over the complex Gaussian channel: blocks are sent and counted.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shard::{Merged, Part, Shard, seed_of};
use crate::coding::{BLOCK_SYMBOLS, BlockCode, BlockFormat, Crc, LinkCounts, SimulatedLink, normal_approximation};
use crate::modem::constellation::Modulation;
use crate::{Error, Result};

/// Blocks of a chunk, which has random numbers of its own.
const CHUNK: u64 = 4096;

/// What is measured: as `issc link` takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// qpsk, 16qam, 64qam or 256qam.
    pub modulation: String,
    /// R_c in information bits per symbol, the CRC among them.
    pub rate: f64,
    /// Es/N0 per complex symbol in dB.
    pub snr_db: f64,
    /// Blocks sent.
    pub blocks: u64,
    /// Blocks of 256 symbols that are coded as one.
    pub joint: usize,
    /// Whether blocks are tried again on which the decoder gave up.
    pub rescue: bool,
    /// Whether amplitudes are shaped.
    pub shaped: bool,
    /// none, 11, 16 or 24.
    pub crc: String,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            modulation: "16qam".into(),
            rate: 2.0,
            snr_db: 6.5,
            blocks: 1000,
            joint: 1,
            rescue: false,
            shaped: false,
            crc: "none".into(),
            seed: 1,
        }
    }
}

impl Settings {
    /// The code that these settings ask for.
    ///
    /// # Errors
    /// Names the option, what was found and what is accepted.
    pub fn code(&self) -> Result<BlockCode> {
        let Self { rate, snr_db, blocks, joint, .. } = self;
        let modulation: Modulation =
            self.modulation.parse().map_err(|error| Error::input(format!("--modulation: {error}")))?;
        let crc = match self.crc.as_str() {
            "none" => Crc::None,
            "11" => Crc::Crc11,
            "16" => Crc::Crc16,
            "24" => Crc::Crc24A,
            other => return Err(Error::input(format!("--crc: found `{other}`; accepted: none, 11, 16, 24"))),
        };
        if !(rate.is_finite() && *rate > 0.0) {
            return Err(Error::input(format!("--rate: found {rate}; accepted: a number above 0")));
        }
        if !(-100.0..=100.0).contains(snr_db) {
            return Err(Error::input(format!("--snr-db: found {snr_db}; accepted: -100 to 100")));
        }
        if *blocks == 0 {
            return Err(Error::input("--blocks: found 0; accepted: 1 or more"));
        }
        let most = BlockCode::MAX_JOINT_BLOCKS;
        if !(1..=most).contains(joint) {
            return Err(Error::input(format!("--joint: found {joint}; accepted: 1 to {most}")));
        }
        let information_bits = joint * (rate * BLOCK_SYMBOLS as f64).round() as usize;
        BlockFormat { information_bits, modulation, shaped: self.shaped }
            .code(joint * BLOCK_SYMBOLS, crc)
            .map_err(|error| Error::input(format!("--rate {rate}: {error}")))
    }

    fn chunks(&self) -> u64 {
        self.blocks.div_ceil(CHUNK)
    }

    /// Counts one chunk after the other.
    fn count(&self, code: &BlockCode, shard: Shard) -> Vec<Counts> {
        let chunk = |number: u64| {
            let link = SimulatedLink::new(code, self.snr_db, seed_of(self.seed, number));
            let mut link = if self.rescue { link.with_rescue() } else { link };
            Counts::from(link.run((self.blocks - number * CHUNK).min(CHUNK), u64::MAX))
        };
        shard.range(self.chunks()).map(chunk).collect()
    }
}

/// What was counted in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    blocks: u64,
    block_errors: u64,
    bit_errors: u64,
    undetected: u64,
    iterations: u64,
    decoding_time_s: f64,
}

impl From<LinkCounts> for Counts {
    fn from(counts: LinkCounts) -> Self {
        let LinkCounts { blocks, block_errors, bit_errors, undetected, iterations, decoding } = counts;
        Self { blocks, block_errors, bit_errors, undetected, iterations, decoding_time_s: decoding.as_secs_f64() }
    }
}

/// Measures a link.
///
/// # Errors
/// Where the settings are wrong.
pub fn measure(settings: &Settings) -> Result<Merged> {
    let counts = settings.count(&settings.code()?, Shard::WHOLE);
    merged(settings, &counts)
}

/// Measures a shard of it.
///
/// # Errors
/// Where the settings are wrong.
pub fn part(settings: &Settings, shard: Shard) -> Result<Part> {
    let counts = settings.count(&settings.code()?, shard);
    Part::new("link", settings, (shard, settings.chunks()), &counts)
}

/// What all chunks come to.
pub(super) fn merged(settings: &Settings, chunks: &Vec<Counts>) -> Result<Merged> {
    let mut all = LinkCounts::default();
    for chunk in chunks {
        all.blocks += chunk.blocks;
        all.block_errors += chunk.block_errors;
        all.bit_errors += chunk.bit_errors;
        all.undetected += chunk.undetected;
        all.iterations += chunk.iterations;
        all.decoding += Duration::try_from_secs_f64(chunk.decoding_time_s)
            .map_err(|_| Error::damaged(format!("a part is not whole: decoding_time_s {}", chunk.decoding_time_s)))?;
    }
    let code = settings.code()?;
    Ok(Merged { report: report(&code, &all), lines: table(&code, &all, settings.snr_db, settings.joint) })
}

/// What `issc link --json` prints.
fn report(code: &BlockCode, counts: &LinkCounts) -> Value {
    let bits = counts.blocks * code.information_bits() as u64;
    json!({
        "information_bits": code.information_bits(),
        "crc_bits": code.crc().bits(),
        "coded_bits": code.coded_bits(),
        "block_error_rate": counts.block_error_rate(),
        "bit_error_rate": counts.bit_errors as f64 / bits as f64,
        "undetected": counts.undetected,
        "decode_bits_per_s": bits as f64 / counts.decoding.as_secs_f64().max(1e-9),
    })
}

/// Errors and speed of a code at an SNR, a line each; `joint` blocks of 256 symbols are coded as one.
fn table(code: &BlockCode, counts: &LinkCounts, snr_db: f64, joint: usize) -> Vec<String> {
    let bits = counts.blocks * code.information_bits() as u64;
    let decode_bits_per_s = bits as f64 / counts.decoding.as_secs_f64().max(1e-9);
    let limit = normal_approximation(10f64.powf(snr_db / 10.0), code.rate(), joint * BLOCK_SYMBOLS);
    vec![
        format!("information bits    {} ({} of them CRC)", code.information_bits(), code.crc().bits()),
        format!("coded bits          {}", code.coded_bits()),
        format!("block error rate    {:.3e} ({} of {})", counts.block_error_rate(), counts.block_errors, counts.blocks),
        format!("normal approx.      {limit:.3e}"),
        format!("bit error rate      {:.3e}", counts.bit_errors as f64 / bits as f64),
        format!("undetected          {}", counts.undetected),
        format!("iterations, mean    {:.2}", counts.iterations as f64 / counts.blocks as f64),
        format!("decoding            {:.1} Mb/s", decode_bits_per_s / 1e6),
    ]
}
