//! How often a header is lost: the law that a planner counts with, and when headers are short.
//!
//! Measured on words whose number and page are known beforehand, as a receiver in lock knows them; `cargo test --release --lib
//! coding::header_law -- --ignored --nocapture` prints the tables anew.

/// Symbols of a short and of a long header.
pub const HEADER_SYMBOLS: [usize; 2] = [88, 272];

/// SINR in dB from which on headers are short: one in ten thousand is then lost where nothing of the word is known, and
/// 1.5 dB less loses as many where the receiver is in lock.
pub const SHORT_FROM_DB: f64 = 2.0;

/// SNR in dB, and log₁₀ of the share of words lost in lock: short, then long.
const LOST: [[(f64, f64); 2]; 2] = [[(-0.7, -1.9), (0.5, -3.6)], [(-6.2, -2.1), (-5.0, -3.6)]];

/// Whether headers are short at this SINR.
pub fn is_short(sinr_db: f64) -> bool {
    sinr_db >= SHORT_FROM_DB
}

/// Share of the headers that is lost in lock at this SINR, with headers as long as they then are.
pub fn header_loss(sinr_db: f64) -> f64 {
    let [(low, at_low), (high, at_high)] = LOST[usize::from(!is_short(sinr_db))];
    let exponent = at_low + (sinr_db - low) * (at_high - at_low) / (high - low);
    10f64.powf(exponent.clamp(-9.0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::super::{Crc, HeaderCode, HeaderScratch, add_noise};
    use super::*;
    use crate::dsp::constellation::Modulation;
    use num_complex::Complex32;
    use rand::{RngExt, SeedableRng};

    /// Share of words lost, of `words`, where the first `known` of 50 bits are known.
    fn lost(symbols: usize, snr_db: f64, known: usize, words: usize) -> f64 {
        let code = HeaderCode::with_crc(50, 2 * symbols, Crc::Crc16, 0x5a5a).unwrap();
        let mut scratch = HeaderScratch::new(&code);
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(12);
        let (mut coded, mut back) = (vec![0; 2 * symbols], vec![0; 50]);
        let (mut air, mut soft) = (vec![Complex32::default(); symbols], vec![0.0; 2 * symbols]);
        let variance = 10f32.powf(-snr_db as f32 / 10.0);
        let mut failed = 0;
        for _ in 0..words {
            let information: Vec<u8> = (0..50).map(|_| random.random_range(0..2)).collect();
            code.encode(&information, &mut coded, &mut scratch);
            Modulation::Qpsk.map(&coded, &mut air);
            add_noise(&mut air, variance, &mut random);
            Modulation::Qpsk.demap_f32(&air, variance, &mut soft);
            let known: Vec<_> = information[..known].iter().copied().map(Some).collect();
            let read = code.decode_knowing(&soft, &known, &mut back, &mut scratch);
            failed += usize::from(!read || back != information);
        }
        failed as f64 / words as f64
    }

    #[test]
    fn words_are_lost_as_often_as_the_law_says() {
        for (symbols, snr_db, known, most) in
            [(88, -0.4, 30, 5e-3), (272, -6.2, 30, 1.2e-2), (88, 2.0, 0, 1e-3), (272, -5.0, 0, 1.2e-2)]
        {
            let found = lost(symbols, snr_db, known, 4000);
            assert!(found <= most, "{symbols} symbols at {snr_db} dB, {known} bits known: {found}");
        }
        assert!(
            header_loss(-5.0) < 3e-4 && header_loss(1.9) < 1e-8 && header_loss(2.0) < 1e-5 && header_loss(-9.0) > 0.3
        );
    }

    #[test]
    #[ignore = "prints the tables"]
    fn print_the_tables() {
        for (symbols, from) in [(88, -14), (272, -76)] {
            for snr_db in (0..8).map(|step| f64::from(from + 3 * step) / 10.0) {
                let [free, known] = [0, 30].map(|known| lost(symbols, snr_db, known, 40_000));
                println!("{symbols} symbols, {snr_db:.1} dB: {free:.2e} with nothing known, {known:.2e} in lock");
            }
        }
    }
}
