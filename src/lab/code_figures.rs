//! Drawings of the channel code's calibration: block error rates over the SNR, and the gap to the finite-length limit.

use crate::coding::calibration::{LEVELS, block_error_rate, measured};
use crate::coding::{BLOCK_SYMBOLS, normal_approximation, normal_approximation_snr_db};
use crate::plot::{Chart, Corner, Series, Stroke};

/// Sizes whose curves are drawn: R_c of 0.25, 0.5, 1, 2, 3, 4 and 6.
const DRAWN: [usize; 7] = [64, 128, 256, 512, 768, 1024, 1536];
/// Least block error rate drawn.
const LEAST: f64 = 1e-5;

/// Block error rate over the SNR at several rates, beside the normal approximation.
pub fn block_errors() -> Chart {
    let mut series = Vec::new();
    for (colour, (bits, snr_db)) in measured().filter(|(bits, _)| DRAWN.contains(bits)).enumerate() {
        let rate = bits as f64 / BLOCK_SYMBOLS as f64;
        let over = |law: &dyn Fn(f64) -> f64| {
            let points = (-100..=300).map(|k| f64::from(k) * 0.1).map(|snr_db| (snr_db, law(snr_db)));
            points.filter(|(_, errors)| (LEAST..=0.9).contains(errors)).collect()
        };
        let limit = |snr_db: f64| normal_approximation(10f64.powf(snr_db / 10.0), rate, BLOCK_SYMBOLS);
        let drawn = |name: String, points, stroke| Series { name, points, stroke, colour };
        series.extend([
            drawn(format!("{rate} bit per symbol"), over(&|snr_db| block_error_rate(snr_db, bits)), Stroke::Solid),
            drawn(String::new(), snr_db.into_iter().zip(LEVELS).collect(), Stroke::Marks),
            drawn(String::new(), over(&limit), Stroke::Dashed),
        ]);
    }
    Chart {
        title: "Block errors of the planned codes (dashed: normal approximation)".into(),
        x_label: "signal-to-noise ratio of a symbol, dB".into(),
        y_label: "block error rate, 256 symbols a block".into(),
        x_log: false,
        y_log: true,
        legend: Corner::LowerLeft,
        series,
    }
}

/// How many decibels the codes need beyond the normal approximation, over the rate.
pub fn gap() -> Chart {
    let at = |level: usize| {
        let gap = |(bits, snr_db): (usize, [f64; 3])| {
            let rate = bits as f64 / BLOCK_SYMBOLS as f64;
            (rate, snr_db[level] - normal_approximation_snr_db(LEVELS[level], rate, BLOCK_SYMBOLS))
        };
        measured().map(gap).collect::<Vec<_>>()
    };
    let drawn = |(colour, level): (usize, usize)| Series {
        name: format!("at a block error rate of {:e}", LEVELS[level]),
        points: at(level),
        stroke: Stroke::Solid,
        colour,
    };
    Chart {
        title: "Distance of the planned codes to the normal approximation".into(),
        x_label: "channel rate, bit per symbol".into(),
        y_label: "distance, dB".into(),
        x_log: false,
        y_log: false,
        legend: Corner::UpperLeft,
        series: [0, 1, 2].into_iter().enumerate().map(drawn).collect(),
    }
}
