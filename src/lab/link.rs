//! What was counted of a coded link.

use serde_json::{Value, json};

use crate::coding::{BLOCK_SYMBOLS, BlockCode, LinkCounts, normal_approximation};

/// What `issc link --json` prints.
pub fn report(code: &BlockCode, counts: &LinkCounts) -> Value {
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
pub fn table(code: &BlockCode, counts: &LinkCounts, snr_db: f64, joint: usize) -> Vec<String> {
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
