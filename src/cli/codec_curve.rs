//! `issc codec-curve --images DIR`: the source models measured over bit error rates, and eq. (7) fitted to them.
//!
//! The bits that flip are those of the body: the protected part goes over the air with the strongest code, and without
//! it there is no picture to measure. Rates are real ones, with all headers.

use std::path::PathBuf;

use image::RgbImage;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;

use super::inputs;
use crate::semantic::bitstream::HEADER_BYTES;
use crate::semantic::{Bank, Calibration, Card, Decoder, Encoder, ModelInfo, curve, metrics};
use crate::{Error, Result};

/// log10 of the bit error rates.
const LOG10_RATES: [f64; 13] = [-6.5, -6.0, -5.5, -5.0, -4.5, -4.0, -3.5, -3.25, -3.0, -2.75, -2.5, -2.0, -1.5];

/// Options of `issc codec-curve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    codec: inputs::CodecArguments,
    /// Draws of the errors per picture and bit error rate.
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// Write the measured card here.
    #[arg(long)]
    card: Option<PathBuf>,
    /// Only these models (indices or names).
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Seed of the bit errors.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Means over the pictures at one bit error rate.
#[derive(Default, Clone, Copy)]
struct Mean {
    mse: f64,
    psnr_db: f64,
    ms_ssim: f64,
}

struct Measured {
    info: ModelInfo,
    mse: Vec<f64>,
    ms_ssim: Vec<f64>,
    scored: bool,
}

/// Runs `issc codec-curve`.
pub fn run(arguments: Arguments) -> Result<()> {
    let (bank, pictures) = (arguments.codec.bank()?, arguments.codec.pictures()?);
    let mut chosen: Vec<ModelInfo> = bank.models().to_vec();
    if !arguments.models.is_empty() {
        chosen = arguments.models.iter().map(|name| bank.find(name).cloned()).collect::<Result<_>>()?;
    }
    let mut results = vec![];
    for info in chosen {
        eprintln!("{} on {} pictures", info.name, pictures.len());
        results.push(measure(&bank, info, &pictures, &arguments)?);
    }
    if let Some(path) = &arguments.card {
        let card = Card {
            digest: format!("{:016x}", bank.digest()),
            calibrated_on: format!("{} pictures of {}", pictures.len(), folder_name(&arguments.codec.images)),
            models: results.iter().map(|r| r.info.clone()).collect(),
        };
        let text = toml::to_string(&card).map_err(|e| Error::internal(format!("card: {e}")))?;
        std::fs::write(path, text).map_err(|e| Error::file(path, e))?;
    }
    if arguments.json {
        print_json(&results, pictures.len());
    } else {
        print_table(&results);
    }
    Ok(())
}

fn folder_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn measure(
    bank: &std::sync::Arc<Bank>,
    mut info: ModelInfo,
    pictures: &[RgbImage],
    arguments: &Arguments,
) -> Result<Measured> {
    let mut encoder = Encoder::new(bank.clone());
    let mut decoder = Decoder::new(bank.clone());
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(arguments.seed);
    let mut clean = Mean::default();
    let mut noisy = vec![Mean::default(); LOG10_RATES.len()];
    let (mut bits_per_pixel, mut protected) = (0.0, 0.0);
    let mut scored = true;
    let count = pictures.len() as f64;
    let draws = arguments.draws.max(1);
    let mut body = vec![];
    for (number, picture) in pictures.iter().enumerate() {
        let coded = encoder.encode(picture, info.index, number as u16)?;
        let pixels = f64::from(picture.width()) * f64::from(picture.height());
        bits_per_pixel += coded.bits() as f64 / pixels / count;
        protected += 8.0 * (coded.protected.len() - HEADER_BYTES) as f64 / pixels / count;
        let mut add = |mean: &mut Mean, body: &[u8], weight: f64| -> Result<()> {
            let decoded = decoder.decode(&coded.protected, body, &[])?;
            let mse = metrics::mse(picture, &decoded.image);
            let ms_ssim = metrics::ms_ssim(picture, &decoded.image);
            scored &= ms_ssim.is_some();
            mean.mse += weight * mse;
            mean.psnr_db += weight * metrics::psnr_db(mse).unwrap_or(100.0);
            mean.ms_ssim += weight * ms_ssim.unwrap_or(0.0);
            Ok(())
        };
        add(&mut clean, &coded.body, 1.0 / count)?;
        for (mean, log10_rate) in noisy.iter_mut().zip(LOG10_RATES) {
            for _ in 0..draws {
                body.clone_from(&coded.body);
                curve::flip_bits(&mut body, 10f64.powf(log10_rate), &mut rng);
                add(mean, &body, 1.0 / (count * draws as f64))?;
            }
        }
    }
    let points: Vec<(f64, f64)> = LOG10_RATES.iter().zip(&noisy).map(|(&x, m)| (x, m.mse.max(1e-9).log10())).collect();
    let curve = curve::fit(&points).ok_or_else(|| Error::infeasible("too few points for a fit"))?;
    info.calibration = Calibration {
        bits_per_pixel,
        protected_bits_per_pixel: protected,
        mse: clean.mse,
        psnr_db: clean.psnr_db,
        ms_ssim: clean.ms_ssim,
        curve,
    };
    let mse = noisy.iter().map(|m| m.mse).collect();
    let ms_ssim = noisy.iter().map(|m| m.ms_ssim).collect();
    Ok(Measured { info, mse, ms_ssim, scored })
}

fn print_json(results: &[Measured], pictures: usize) {
    let models: Vec<serde_json::Value> = results
        .iter()
        .map(|r| {
            let c = &r.info.calibration;
            json!({
                "index": r.info.index,
                "name": r.info.name,
                "tuned_for": r.info.tuned_for,
                "bits_per_pixel": c.bits_per_pixel,
                "protected_bits_per_pixel": c.protected_bits_per_pixel,
                "psnr_db": c.psnr_db,
                "ms_ssim": r.scored.then_some(c.ms_ssim),
                "mse_without_errors": c.mse,
                "mse": r.mse,
                "ms_ssim_with_errors": r.scored.then_some(&r.ms_ssim),
                "d_s": c.curve.d_s,
                "d_c": c.curve.d_c,
                "e_1": c.curve.e_1,
                "e_2": c.curve.e_2,
                "r_squared": c.curve.r_squared,
            })
        })
        .collect();
    let rates: Vec<f64> = LOG10_RATES.iter().map(|r| 10f64.powf(*r)).collect();
    println!("{}", json!({"pictures": pictures, "bit_error_rates": rates, "models": models}));
}

fn print_table(results: &[Measured]) {
    println!(
        "model          bit/px    PSNR  MS-SSIM     D_s     D_c     E_1     E_2      R²   MS-SSIM at 1e-5    1e-4    1e-3"
    );
    for r in results {
        let c = &r.info.calibration;
        let at = |log10: f64| LOG10_RATES.iter().position(|&x| x == log10).map_or(f64::NAN, |i| r.ms_ssim[i]);
        println!(
            "{:2} {:10} {:7.4} {:7.2} {:8.4} {:7.3} {:7.3} {:7.2} {:7.2} {:7.4}   {:15.4} {:7.4} {:7.4}",
            r.info.index,
            r.info.name,
            c.bits_per_pixel,
            c.psnr_db,
            c.ms_ssim,
            c.curve.d_s,
            c.curve.d_c,
            c.curve.e_1,
            c.curve.e_2,
            c.curve.r_squared,
            at(-5.0),
            at(-4.0),
            at(-3.0)
        );
    }
}
