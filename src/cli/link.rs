//! `issc link --modulation M --rate R --snr-db X --blocks N`: the coded link over the complex Gaussian channel.

use super::inputs;
use crate::Result;
use crate::lab::link::{self, Settings};
use crate::lab::shard::Shard;

/// Options of `issc link`.
#[derive(Debug, Clone, clap::Args)]
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
    /// Measures one of N shares of the blocks and prints what `issc merge` adds up.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn settings(&self) -> Settings {
        let Self { modulation, rate, snr_db, blocks, joint, rescue, shaped, crc, seed, .. } = self.clone();
        Settings { modulation, rate, snr_db, blocks, joint, rescue, shaped, crc, seed }
    }
}

/// Runs `issc link`.
pub fn run(arguments: Arguments) -> Result<()> {
    let settings = arguments.settings();
    match arguments.shard {
        Some(shard) => inputs::print_json(&link::part(&settings, shard)?),
        None => inputs::print_merged(&link::measure(&settings)?, arguments.json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::BlockCode;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &str) -> Result<BlockCode> {
        Line::try_parse_from(format!("link {line}").split(' ')).unwrap().arguments.settings().code()
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
