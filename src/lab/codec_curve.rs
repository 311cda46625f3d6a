//! The source models measured over bit error rates, and eq. (7) fitted to them.
//!
//! The bits that flip are those of the body: the protected part goes over the air with the strongest code, and without
//! it there is no picture to measure. Rates are real ones, with all headers.

use std::sync::Arc;

use image::RgbImage;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use crate::semantic::bitstream::HEADER_BYTES;
use crate::semantic::{Bank, Calibration, Card, Decoder, Encoder, ModelInfo, curve, metrics};
use crate::{Error, Result};

/// log10 of the bit error rates.
const LOG10_RATES: [f64; 13] = [-6.5, -6.0, -5.5, -5.0, -4.5, -4.0, -3.5, -3.25, -3.0, -2.75, -2.5, -2.0, -1.5];

/// Means over the pictures at one bit error rate.
#[derive(Default, Clone, Copy)]
struct Mean {
    mse: f64,
    psnr_db: f64,
    ms_ssim: f64,
}

/// A source model as measured.
pub struct Measured {
    /// The model, with what was measured without errors and the curve that was fitted.
    pub info: ModelInfo,
    /// Mean squared error at each of the bit error rates, on the 0…255 scale.
    mse: Vec<f64>,
    /// MS-SSIM at each of the bit error rates.
    ms_ssim: Vec<f64>,
    /// Whether every picture was large enough for MS-SSIM.
    scored: bool,
}

impl Measured {
    /// MS-SSIM at 10 to the power of `log10_rate`; NaN at a rate that is not measured.
    pub fn ms_ssim_at(&self, log10_rate: f64) -> f64 {
        LOG10_RATES.iter().position(|&known| known == log10_rate).map_or(f64::NAN, |index| self.ms_ssim[index])
    }
}

/// How a model is measured.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Draws of bit errors per picture and bit error rate.
    pub draws: u64,
    /// Their seed.
    pub seed: u64,
    /// Passes of the encoder, as for [`Encoder::set_effort`].
    pub effort: usize,
}

/// Measures one model of the bank.
///
/// # Errors
/// Where a picture cannot be encoded, or where no curve can be fitted.
pub fn measure(bank: &Arc<Bank>, mut info: ModelInfo, pictures: &[RgbImage], settings: &Settings) -> Result<Measured> {
    let Settings { draws, seed, effort } = *settings;
    let mut encoder = Encoder::new(bank.clone());
    encoder.set_effort(effort);
    let mut decoder = Decoder::new(bank.clone());
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut clean = Mean::default();
    let mut noisy = vec![Mean::default(); LOG10_RATES.len()];
    let (mut bits_per_pixel, mut protected) = (0.0, 0.0);
    let mut scored = true;
    let count = pictures.len() as f64;
    let draws = draws.max(1);
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

/// The card of a bank whose models were measured on pictures that this describes.
pub fn card(bank: &Bank, results: &[Measured], calibrated_on: String) -> Card {
    let models = results.iter().map(|result| result.info.clone()).collect();
    Card { digest: format!("{:016x}", bank.digest()), calibrated_on, models }
}

/// All that was measured, as `issc codec-curve --json` prints it.
pub fn report(results: &[Measured], pictures: usize) -> Value {
    let models: Vec<Value> = results
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
    json!({"pictures": pictures, "bit_error_rates": rates, "models": models})
}
