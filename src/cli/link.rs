//! `issc link --modulation M --rate R --snr-db X --blocks N`: the coded link over the complex Gaussian channel.

use crate::coding::{BLOCK_SYMBOLS, BlockCode, BlockFormat, Crc, SimulatedLink};
use crate::lab::link::{report, table};
use crate::modem::constellation::Modulation;
use crate::{Error, Result};

/// Options of `issc link`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// qpsk, 16qam, 64qam or 256qam.
    #[arg(long)]
    modulation: String,
    /// R_c in information bits per symbol: N_c = round(256 R), the CRC among them.
    #[arg(long)]
    rate: f64,
    /// Es/N0 per complex symbol, known to the demapper.
    #[arg(long, allow_negative_numbers = true)]
    snr_db: f64,
    /// Blocks of 256 symbols, or of as many as are coded jointly.
    #[arg(long)]
    blocks: u64,
    /// Code so many blocks of 256 symbols as one of N_c = round(256 R) bits for each.
    #[arg(long, default_value_t = 1)]
    joint: usize,
    /// Try blocks again, on which the decoder gave up after 20 iterations, with belief propagation in floating point.
    #[arg(long)]
    rescue: bool,
    /// Send small amplitudes more often than large ones (16qam and larger).
    #[arg(long)]
    shaped: bool,
    /// none, 11, 16 or 24 (24A) bits.
    #[arg(long, default_value = "none")]
    crc: String,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc link`.
pub fn run(arguments: Arguments) -> Result<()> {
    let code = code(&arguments)?;
    let link = SimulatedLink::new(&code, arguments.snr_db, arguments.seed);
    let mut link = if arguments.rescue { link.with_rescue() } else { link };
    let counts = link.run(arguments.blocks, u64::MAX);
    match arguments.json {
        true => say!("{}", report(&code, &counts)),
        false => table(&code, &counts, arguments.snr_db, arguments.joint).iter().for_each(|line| say!("{line}")),
    }
    Ok(())
}

fn code(arguments: &Arguments) -> Result<BlockCode> {
    let Arguments { rate, snr_db, blocks, joint, .. } = arguments;
    let modulation: Modulation =
        arguments.modulation.parse().map_err(|error| Error::input(format!("--modulation: {error}")))?;
    let crc = match arguments.crc.as_str() {
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
    BlockFormat { information_bits, modulation, shaped: arguments.shaped }
        .code(joint * BLOCK_SYMBOLS, crc)
        .map_err(|error| Error::input(format!("--rate {rate}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &str) -> Result<BlockCode> {
        code(&Line::try_parse_from(format!("link {line}").split(' ')).unwrap().arguments)
    }

    #[test]
    fn the_rate_counts_the_crc_and_rounds_to_a_whole_bit() {
        let code = parsed("--modulation 16qam --rate 2.001 --snr-db -3 --blocks 1 --crc 16").unwrap();
        assert_eq!((code.information_bits(), code.crc().bits(), code.coded_bits()), (512, 16, 1024));
        let joint = parsed("--modulation 16qam --rate 2.001 --snr-db -3 --blocks 1 --joint 4").unwrap();
        assert_eq!((joint.information_bits(), joint.coded_bits()), (2048, 4096));
    }

    #[test]
    fn wrong_options_are_named_with_what_is_accepted() {
        for (line, option) in [
            ("--modulation 8psk --rate 1 --snr-db 3 --blocks 1", "--modulation"),
            ("--modulation qpsk --rate nan --snr-db 3 --blocks 1", "--rate"),
            ("--modulation qpsk --rate 2 --snr-db 3 --blocks 1", "--rate"),
            ("--modulation qpsk --rate 1 --snr-db inf --blocks 1", "--snr-db"),
            ("--modulation qpsk --rate 1 --snr-db 3 --blocks 0", "--blocks"),
            ("--modulation qpsk --rate 1 --snr-db 3 --blocks 1 --crc 8", "--crc"),
            ("--modulation qpsk --rate 1 --snr-db 3 --blocks 1 --joint 5", "--joint"),
            ("--modulation qpsk --rate 1 --snr-db 3 --blocks 1 --shaped", "--rate 1: "),
            ("--modulation 16qam --rate 3 --snr-db 3 --blocks 1 --shaped", "--rate 3: "),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.exit_status() == 2 && error.to_string().contains("accepted"), "{error}");
            assert!(error.to_string().starts_with(option), "{error}");
        }
    }
}
