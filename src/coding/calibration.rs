//! Block error rates of the planned codes (L = 256), measured by [`super::SimulatedLink`] with the rescue of failed blocks,
//! as the frame receiver decodes. N_c counts the CRC, and a block is wrong if any of these bits is.
//!
//! `calibration.txt` holds, per N_c, the SNR (Es/N0 in dB) at which the block error rate is 1e-1, 1e-2 and 1e-3. The command
//! `cargo test --release --lib coding::calibration -- --ignored --nocapture` prints it anew.

use std::sync::OnceLock;

/// log₁₀ of the rates that a row's SNRs stand for: the measured three, and the waterfall's straight continuation to 1 and
/// to 1e-6, which is the least rate that is predicted.
const EXPONENTS: [f64; 5] = [0.0, -1.0, -2.0, -3.0, -6.0];

/// Block error rates that a row of the table gives the SNR for.
pub const LEVELS: [f64; 3] = [1e-1, 1e-2, 1e-3];

#[derive(Debug, Clone, Copy)]
struct Row {
    information_bits: f64,
    snr_db: [f64; 5],
}

fn table() -> &'static [Row] {
    static TABLE: OnceLock<Vec<Row>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let rows = include_str!("calibration.txt").lines().filter(|line| !line.starts_with('#'));
        let mut highest = [f64::NEG_INFINITY; 5];
        rows.map(|line| {
            let numbers: Vec<f64> =
                line.split_whitespace().map(|word| word.parse().expect("a shipped table")).collect();
            let [bits, tenth, hundredth, thousandth] = numbers[..].try_into().expect("four columns");
            let last = thousandth + 3.0 * (thousandth - hundredth);
            // Statistics aside, more bits never need less: a planner's search relies on it.
            for (highest, snr_db) in
                highest.iter_mut().zip([2.0 * tenth - hundredth, tenth, hundredth, thousandth, last])
            {
                *highest = highest.max(snr_db);
            }
            Row { information_bits: bits, snr_db: highest }
        })
        .collect()
    })
}

/// The table: N_c and the SNR in dB at each of [`LEVELS`].
pub fn measured() -> impl Iterator<Item = (usize, [f64; 3])> {
    table().iter().map(|row| (row.information_bits as usize, [row.snr_db[1], row.snr_db[2], row.snr_db[3]]))
}

/// Block error rate of [`super::plan`]'s code of this many bits (the CRC among them) in 256 symbols.
///
/// Between the table's sizes, the liftings in between make it true to 0.35 dB only. Below its smallest N_c its smallest
/// stands in; above its largest nothing is measured and the result is 1.
pub fn block_error_rate(snr_db: f64, information_bits: usize) -> f64 {
    let (rows, bits) = (table(), information_bits as f64);
    let above = rows.partition_point(|row| row.information_bits < bits);
    let Some(upper) = rows.get(above) else { return 1.0 };
    let lower = rows[above.saturating_sub(1)];
    let share = (bits / lower.information_bits).ln() / (upper.information_bits / lower.information_bits).ln();
    let share = if share.is_finite() { share.max(0.0) } else { 0.0 };
    let at: [f64; 5] = std::array::from_fn(|n| lower.snr_db[n] + share * (upper.snr_db[n] - lower.snr_db[n]));
    let segment = at.partition_point(|at| *at < snr_db);
    let exponent = match segment {
        0 => EXPONENTS[0],
        5 => EXPONENTS[4],
        _ => {
            let share = (snr_db - at[segment - 1]) / (at[segment] - at[segment - 1]);
            EXPONENTS[segment - 1] + share * (EXPONENTS[segment] - EXPONENTS[segment - 1])
        }
    };
    10f64.powf(exponent)
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK_SYMBOLS, Crc, MAX_INFORMATION_BITS, SimulatedLink, plan};
    use super::super::{normal_approximation, normal_approximation_snr_db};
    use super::*;

    #[test]
    fn the_rate_falls_with_the_snr_grows_with_the_bits_and_stays_above_the_limit() {
        for bits in (32..=MAX_INFORMATION_BITS).step_by(9) {
            for tenth_db in -80..300 {
                let snr_db = f64::from(tenth_db) / 10.0;
                let rate = block_error_rate(snr_db, bits);
                assert!(rate >= block_error_rate(snr_db + 0.1, bits) && rate <= block_error_rate(snr_db, bits + 9));
                let limit = normal_approximation(10f64.powf(snr_db / 10.0), bits as f64 / 256.0, BLOCK_SYMBOLS);
                assert!(
                    rate >= limit.min(0.9) || limit < 1e-6,
                    "{bits} bits at {snr_db} dB: {rate:.2e}, limit {limit:.2e}"
                );
            }
        }
    }

    #[test]
    fn fresh_simulations_agree_with_the_table_to_a_third_of_a_decibel() {
        for (bits, snr_db) in [(141, -0.9), (256, 2.0), (500, 6.2), (700, 9.1), (1100, 14.2)] {
            let code = plan(bits, BLOCK_SYMBOLS, Crc::Crc11).unwrap();
            let measured = SimulatedLink::new(&code, snr_db, 99).with_rescue().run(20_000, 200).block_error_rate();
            let most = block_error_rate(snr_db - 0.35, bits);
            let least = block_error_rate(snr_db + 0.35, bits);
            assert!((least..=most).contains(&measured), "{bits} bits: {measured:.2e}, table {least:.2e} to {most:.2e}");
        }
    }

    #[test]
    fn planned_codes_are_within_a_decibel_of_the_limit_up_to_four_bits_a_symbol() {
        // Both sides of each switch of the code, and what lies between. A fifth is left to chance.
        for bits in [64, 128, 192, 256, 288, 307, 308, 330, 333, 358, 450, 583, 584, 768, 1024] {
            let code = plan(bits, BLOCK_SYMBOLS, Crc::None).unwrap();
            let snr_db = normal_approximation_snr_db(1e-3, code.rate(), BLOCK_SYMBOLS) + 1.0;
            let measured = SimulatedLink::new(&code, snr_db, 7).with_rescue().run(40_000, u64::MAX).block_error_rate();
            assert!(measured <= 1.2e-3, "{bits} bits at {snr_db:.2} dB: {measured:.2e}");
        }
    }

    /// Prints `calibration.txt`: the sizes that it lists, measured anew.
    #[test]
    #[ignore = "ten minutes of simulation; makes the table"]
    fn measure_the_table() {
        println!("# N_c, and the SNR in dB at block error rates 1e-1, 1e-2, 1e-3");
        for (bits, _) in measured() {
            let code = plan(bits, BLOCK_SYMBOLS, Crc::None).unwrap();
            let mut snr_db = -10.0;
            while normal_approximation(10f64.powf(snr_db / 10.0), code.rate(), BLOCK_SYMBOLS) > LEVELS[0] {
                snr_db += 0.1;
            }
            let mut points: Vec<(f64, f64)> = Vec::new();
            while points.last().is_none_or(|(_, exponent)| *exponent > -3.0) {
                let mut link = SimulatedLink::new(&code, snr_db, 1).with_rescue();
                points.push((snr_db, link.run(100_000, 100).block_error_rate().max(1e-5).log10()));
                snr_db += 0.3;
            }
            let crossing = |level: f64| {
                let at = points.iter().position(|(_, exponent)| *exponent <= level).expect("the sweep ends below");
                let [(x, from), (y, to)] = [points[at - 1], points[at]];
                x + (y - x) * (level - from) / (to - from)
            };
            let [tenth, hundredth, thousandth] = LEVELS.map(|level| crossing(level.log10()));
            println!("{bits} {tenth:.2} {hundredth:.2} {thousandth:.2}");
        }
    }
}
