//! The source models measured over bit error rates, with eq. (7) fitted to them, and over lost blocks.
//!
//! The bits that flip are those of the body: the protected part goes over the air with the strongest code, and without
//! it there is no picture to measure. Rates are real ones, with all headers. Lost blocks take bits of the body in a row, as
//! the link loses them; the error grows in proportion to the share of slices that they take along.

use std::sync::Arc;

use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use crate::optimize::LossLaw;
use crate::semantic::bitstream::HEADER_BYTES;
use crate::semantic::{Bank, Calibration, CalibrationPicture, Card, Decoder, Encoder, ModelInfo, curve, metrics};
use crate::{Error, Result};

/// log10 of the bit error rates.
const LOG10_RATES: [f64; 13] = [-6.5, -6.0, -5.5, -5.0, -4.5, -4.0, -3.5, -3.25, -3.0, -2.75, -2.5, -2.0, -1.5];

/// Shares of slices lost.
const LOSSES: [f64; 6] = [0.01, 0.03, 0.1, 0.2, 0.4, 0.8];

/// Blocks of a body: those of a 256×256 picture at a bandwidth ratio of 1/16, and at one of 1/2.
const BLOCKS_OF_A_BODY: [usize; 2] = [45, 380];

/// Draws of lost blocks for each draw of bit errors: few blocks say less than many bits.
const DRAWS_OF_LOSSES: u64 = 2;

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
    /// Mean squared error at each of the shares of slices lost.
    mse_with_losses: Vec<f64>,
    /// Bits per pixel, those of the protected part beyond the picture header, and error-free distortion of each picture.
    pictures: Vec<[f64; 3]>,
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
    let mut lossy = [0.0; LOSSES.len()];
    let mut rows = Vec::new();
    let (mut bits_per_pixel, mut protected, mut slice_bits) = (0.0, 0.0, 0.0);
    let mut scored = true;
    let count = pictures.len() as f64;
    let draws = draws.max(1);
    let draws_of_losses = (draws * DRAWS_OF_LOSSES) as f64 * BLOCKS_OF_A_BODY.len() as f64;
    let mut body = vec![];
    for (number, picture) in pictures.iter().enumerate() {
        let coded = encoder.encode(picture, info.index, number as u16)?;
        let pixels = f64::from(picture.width()) * f64::from(picture.height());
        let own = [coded.bits() as f64, 8.0 * (coded.protected.len() - HEADER_BYTES) as f64].map(|bits| bits / pixels);
        bits_per_pixel += own[0] / count;
        protected += own[1] / count;
        let body_bits = 8 * coded.body.len();
        let own_slice_bits = body_bits as f64 / coded.header.slices as f64;
        slice_bits += own_slice_bits / count;
        let slices = LossLaw { slice_bits: own_slice_bits, rise: 0.0 };
        let mut add = |mean: &mut Mean, body: &[u8], weight: f64| -> Result<f64> {
            let decoded = decoder.decode(&coded.protected, body, &[])?;
            let mse = metrics::mse(picture, &decoded.image);
            let ms_ssim = metrics::ms_ssim(picture, &decoded.image);
            scored &= ms_ssim.is_some();
            mean.mse += weight * mse;
            mean.psnr_db += weight * metrics::psnr_db(mse).unwrap_or(100.0);
            mean.ms_ssim += weight * ms_ssim.unwrap_or(0.0);
            Ok(mse)
        };
        let mse = add(&mut clean, &coded.body, 1.0 / count)?;
        rows.push([own[0], own[1], mse]);
        for (mean, log10_rate) in noisy.iter_mut().zip(LOG10_RATES) {
            for _ in 0..draws {
                body.clone_from(&coded.body);
                curve::flip_bits(&mut body, 10f64.powf(log10_rate), &mut rng);
                add(mean, &body, 1.0 / (count * draws as f64))?;
            }
        }
        for (mse, share) in lossy.iter_mut().zip(LOSSES) {
            for blocks in BLOCKS_OF_A_BODY {
                let block = body_bits.div_ceil(blocks);
                let rate = slices.block_error_rate(share, block as f64);
                for _ in 0..draws * DRAWS_OF_LOSSES {
                    let lost: Vec<_> = (0..body_bits)
                        .step_by(block)
                        .filter(|_| rng.random_bool(rate))
                        .map(|from| from..(from + block).min(body_bits))
                        .collect();
                    let decoded = decoder.decode(&coded.protected, &coded.body, &lost)?;
                    *mse += metrics::mse(picture, &decoded.image) / (count * draws_of_losses);
                }
            }
        }
    }
    let points: Vec<(f64, f64)> = LOG10_RATES.iter().zip(&noisy).map(|(&x, m)| (x, m.mse.max(1e-9).log10())).collect();
    let too_few = || Error::infeasible("too few points for a fit");
    // Least squares of the relative error: what is lost of a rare slice counts as much as what is lost of many.
    let (mut cross, mut energy) = (0.0, 0.0);
    for (mse, share) in lossy.iter().zip(LOSSES) {
        cross += share * (mse / clean.mse - 1.0) / (mse * mse);
        energy += share * share / (mse * mse);
    }
    let curve = curve::fit(&points).ok_or_else(too_few)?;
    info.calibration = Calibration {
        bits_per_pixel,
        protected_bits_per_pixel: protected,
        mse: clean.mse,
        psnr_db: clean.psnr_db,
        ms_ssim: clean.ms_ssim,
        slice_bits,
        loss_rise: cross / energy,
        curve,
    };
    let mse_with_losses = lossy.to_vec();
    let mse = noisy.iter().map(|m| m.mse).collect();
    let ms_ssim = noisy.iter().map(|m| m.ms_ssim).collect();
    Ok(Measured { info, mse, ms_ssim, mse_with_losses, pictures: rows, scored })
}

/// The card of a bank whose models were measured on pictures that this describes.
pub fn card(bank: &Bank, results: &[Measured], calibrated_on: String) -> Card {
    let models = results.iter().map(|result| result.info.clone()).collect();
    let count = results.iter().map(|result| result.pictures.len()).min().unwrap_or(0);
    let pictures = (0..count)
        .map(|picture| {
            let [bits_per_pixel, protected_bits_per_pixel, mse] =
                [0, 1, 2].map(|what| results.iter().map(|result| result.pictures[picture][what]).collect());
            CalibrationPicture { bits_per_pixel, protected_bits_per_pixel, mse }
        })
        .collect();
    Card { digest: format!("{:016x}", bank.digest()), calibrated_on, models, pictures }
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
                "mse_with_losses": r.mse_with_losses,
                "slice_bits": c.slice_bits,
                "loss_rise": c.loss_rise,
            })
        })
        .collect();
    let rates: Vec<f64> = LOG10_RATES.iter().map(|r| 10f64.powf(*r)).collect();
    json!({"pictures": pictures, "bit_error_rates": rates, "slices_lost": LOSSES, "models": models})
}
