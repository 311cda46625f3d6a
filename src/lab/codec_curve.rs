//! The source models measured over bit error rates, with eq. (7) fitted to them, and over lost blocks.
//!
//! The bits that flip are those of the body: the protected part goes over the air with the strongest code, and without
//! it there is no picture to measure. Rates are real ones, with all headers. Lost blocks take bits of the body in a row, as
//! the link loses them; the error grows in proportion to the share of slices that they take along.

use std::sync::Arc;

use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::coders;
use super::parallel::in_parallel;
use super::shard::{Merged, Part, Shard, seed_of};
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

/// What one picture under one model came to at one bit error rate: sums over the draws.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quality {
    mse: f64,
    psnr_db: f64,
    ms_ssim: f64,
}

impl Quality {
    fn add(&mut self, other: Self, weight: f64) {
        self.mse += weight * other.mse;
        self.psnr_db += weight * other.psnr_db;
        self.ms_ssim += weight * other.ms_ssim;
    }
}

/// What one picture under one model came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfPicture {
    bits_per_pixel: f64,
    protected_bits_per_pixel: f64,
    /// Without errors.
    clean: Quality,
    /// At each of the bit error rates, the mean over the draws.
    noisy: Vec<Quality>,
    /// Mean bits of a slice.
    slice_bits: f64,
    /// Mean squared error at each of the shares of slices lost.
    mse_with_losses: Vec<f64>,
    /// Whether the picture was large enough for MS-SSIM.
    scored: bool,
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

    /// A model over all pictures, in their order.
    fn of(mut info: ModelInfo, pictures: &[OfPicture]) -> Result<Self> {
        let weight = 1.0 / pictures.len() as f64;
        let mut clean = Quality::default();
        let mut noisy = vec![Quality::default(); LOG10_RATES.len()];
        let mut mse_with_losses = vec![0.0; LOSSES.len()];
        let (mut bits_per_pixel, mut protected, mut slice_bits) = (0.0, 0.0, 0.0);
        for picture in pictures {
            slice_bits += weight * picture.slice_bits;
            mse_with_losses.iter_mut().zip(&picture.mse_with_losses).for_each(|(mean, mse)| *mean += weight * mse);
            bits_per_pixel += weight * picture.bits_per_pixel;
            protected += weight * picture.protected_bits_per_pixel;
            clean.add(picture.clean, weight);
            noisy.iter_mut().zip(&picture.noisy).for_each(|(mean, quality)| mean.add(*quality, weight));
        }
        let points: Vec<(f64, f64)> =
            LOG10_RATES.iter().zip(&noisy).map(|(&x, m)| (x, m.mse.max(1e-9).log10())).collect();
        let curve = curve::fit(&points).ok_or_else(|| Error::infeasible("too few points for a fit"))?;
        // Least squares of the relative error: what is lost of a rare slice counts as much as what is lost of many.
        let (mut cross, mut energy) = (0.0, 0.0);
        for (mse, share) in mse_with_losses.iter().zip(LOSSES) {
            cross += share * (mse / clean.mse - 1.0) / (mse * mse);
            energy += share * share / (mse * mse);
        }
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
        let of_picture =
            |picture: &OfPicture| [picture.bits_per_pixel, picture.protected_bits_per_pixel, picture.clean.mse];
        let rows = pictures.iter().map(of_picture).collect();
        let scored = pictures.iter().all(|picture| picture.scored);
        let mse = noisy.iter().map(|m| m.mse).collect();
        let ms_ssim = noisy.iter().map(|m| m.ms_ssim).collect();
        Ok(Self { info, mse, ms_ssim, mse_with_losses, pictures: rows, scored })
    }
}

/// How a model is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Draws of bit errors per picture and bit error rate.
    pub draws: u64,
    /// Their seed.
    pub seed: u64,
    /// Passes of the encoder, as for [`Encoder::set_effort`].
    pub effort: usize,
}

/// What a shard's units are about: each model's pictures, one model after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct About {
    bank: String,
    models: Vec<ModelInfo>,
    pictures: usize,
    /// Of all pictures' pixels.
    digest: String,
    settings: Settings,
}

/// Models of a bank and the pictures that they are measured on.
pub struct Bench<'a> {
    bank: &'a Arc<Bank>,
    models: &'a [ModelInfo],
    pictures: &'a [RgbImage],
    settings: Settings,
}

impl<'a> Bench<'a> {
    /// A bench that works on so many models times so many pictures.
    ///
    /// # Errors
    /// Where there is no picture or no draw.
    pub fn new(
        bank: &'a Arc<Bank>,
        models: &'a [ModelInfo],
        pictures: &'a [RgbImage],
        settings: Settings,
    ) -> Result<Self> {
        if pictures.is_empty() {
            return Err(Error::input("--images: found no picture; accepted: one or more"));
        }
        Ok(Self { bank, models, pictures, settings: Settings { draws: settings.draws.max(1), ..settings } })
    }

    /// Measures every model on every picture, on all cores; `begin` is told each model before.
    ///
    /// # Errors
    /// Where a picture cannot be encoded, or where no curve can be fitted.
    pub fn measure(&self, begin: impl Fn(&ModelInfo) + Sync) -> Result<Vec<Measured>> {
        let count = self.pictures.len();
        let units = in_parallel(
            self.models.len() * count,
            || coders(self.bank, self.settings.effort),
            |coders, unit| {
                let (info, number) = (&self.models[unit / count], unit % count);
                if number == 0 {
                    begin(info);
                }
                self.unit(coders, info, number)
            },
        )?;
        self.models.iter().zip(units.chunks(count)).map(|(info, of)| Measured::of(info.clone(), of)).collect()
    }

    /// Measures a shard of the models and pictures.
    ///
    /// # Errors
    /// Where a picture cannot be encoded.
    pub fn part(&self, shard: Shard) -> Result<Part> {
        let (models, count) = (self.models, self.pictures.len() as u64);
        let units = models.len() as u64 * count;
        let mut coders = coders(self.bank, self.settings.effort);
        let sums: Vec<_> = shard
            .range(units)
            .map(|unit| self.unit(&mut coders, &models[(unit / count) as usize], (unit % count) as usize))
            .collect::<Result<_>>()?;
        let mut pixels = Vec::new();
        self.pictures
            .iter()
            .for_each(|picture| pixels.extend(crate::semantic::weights::fnv1a(picture.as_raw()).to_le_bytes()));
        let about = About {
            bank: format!("{:016x}", self.bank.digest()),
            models: models.to_vec(),
            pictures: self.pictures.len(),
            digest: format!("{:016x}", crate::semantic::weights::fnv1a(&pixels)),
            settings: self.settings,
        };
        Part::new("codec-curve", &about, (shard, units), &sums)
    }

    /// One picture under one model. Bit errors have a seed of their own for each.
    fn unit(&self, (encoder, decoder): &mut (Encoder, Decoder), info: &ModelInfo, number: usize) -> Result<OfPicture> {
        let picture = &self.pictures[number];
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed_of(self.settings.seed, number as u64));
        let coded = encoder.encode(picture, info.index, number as u16)?;
        let pixels = f64::from(picture.width()) * f64::from(picture.height());
        let mut scored = true;
        let mut decode = |body: &[u8]| -> Result<Quality> {
            let decoded = decoder.decode(&coded.protected, body, &[])?;
            let mse = metrics::mse(picture, &decoded.image);
            let ms_ssim = metrics::ms_ssim(picture, &decoded.image);
            scored &= ms_ssim.is_some();
            let psnr_db = metrics::psnr_db(mse).unwrap_or(100.0);
            Ok(Quality { mse, psnr_db, ms_ssim: ms_ssim.unwrap_or(0.0) })
        };
        let clean = decode(&coded.body)?;
        let mut noisy = vec![Quality::default(); LOG10_RATES.len()];
        let mut body = vec![];
        for (mean, log10_rate) in noisy.iter_mut().zip(LOG10_RATES) {
            for _ in 0..self.settings.draws {
                body.clone_from(&coded.body);
                curve::flip_bits(&mut body, 10f64.powf(log10_rate), &mut rng);
                mean.add(decode(&body)?, 1.0 / self.settings.draws as f64);
            }
        }
        let body_bits = 8 * coded.body.len();
        let slice_bits = body_bits as f64 / coded.header.slices as f64;
        let slices = LossLaw { slice_bits, rise: 0.0 };
        let draws = self.settings.draws * DRAWS_OF_LOSSES;
        let mut mse_with_losses = vec![0.0; LOSSES.len()];
        for (mean, share) in mse_with_losses.iter_mut().zip(LOSSES) {
            for blocks in BLOCKS_OF_A_BODY {
                let block = body_bits.div_ceil(blocks);
                let rate = slices.block_error_rate(share, block as f64);
                for _ in 0..draws {
                    let lost: Vec<_> = (0..body_bits)
                        .step_by(block)
                        .filter(|_| rng.random_bool(rate))
                        .map(|from| from..(from + block).min(body_bits))
                        .collect();
                    let decoded = decoder.decode(&coded.protected, &coded.body, &lost)?;
                    let weight = 1.0 / (draws as f64 * BLOCKS_OF_A_BODY.len() as f64);
                    *mean += weight * metrics::mse(picture, &decoded.image);
                }
            }
        }
        Ok(OfPicture {
            slice_bits,
            mse_with_losses,
            bits_per_pixel: coded.bits() as f64 / pixels,
            protected_bits_per_pixel: 8.0 * (coded.protected.len() - HEADER_BYTES) as f64 / pixels,
            clean,
            noisy,
            scored,
        })
    }
}

/// What all pictures under all models come to.
pub(super) fn merged(about: &About, units: &[OfPicture]) -> Result<Merged> {
    if about.pictures == 0 || units.len() != about.models.len() * about.pictures {
        return Err(Error::damaged(format!("a part is not whole: {} units", units.len())));
    }
    let results: Vec<_> = about
        .models
        .iter()
        .zip(units.chunks(about.pictures))
        .map(|(info, pictures)| Measured::of(info.clone(), pictures))
        .collect::<Result<_>>()?;
    Ok(Merged { report: report(&results, about.pictures), lines: table(&results) })
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

/// The same for people, a line each.
pub fn table(results: &[Measured]) -> Vec<String> {
    let head = "model          bit/px    PSNR  MS-SSIM     D_s     D_c     E_1     E_2      R²   MS-SSIM at 1e-5    1e-4    1e-3";
    let line = |r: &Measured| {
        let c = &r.info.calibration;
        format!(
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
            r.ms_ssim_at(-5.0),
            r.ms_ssim_at(-4.0),
            r.ms_ssim_at(-3.0)
        )
    };
    std::iter::once(head.to_owned()).chain(results.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shard::merge;

    #[test]
    fn shards_give_the_bits_of_one_run() {
        let bank = Bank::shipped();
        let picture = |salt: u32| {
            RgbImage::from_fn(48, 32, |x, y| image::Rgb([(x * 5 + salt) as u8, (y * 7) as u8, (x * y) as u8]))
        };
        let pictures = [picture(0), picture(40), picture(90)];
        let settings = Settings { draws: 2, seed: 5, effort: 0 };
        let models = &bank.models()[..2];
        let bench = Bench::new(&bank, models, &pictures, settings).unwrap();
        let whole = report(&bench.measure(|_| {}).unwrap(), 3);
        let parts = (1..=4).map(|index| {
            let part = bench.part(Shard::new(index, 4).unwrap()).unwrap();
            (index.to_string(), Part::parse(&serde_json::to_string(&part).unwrap(), "part").unwrap())
        });
        let merged = merge(parts.collect()).unwrap();
        assert_eq!(merged.report, whole);
        assert!(whole["models"][1]["mse"][12].as_f64() > whole["models"][1]["mse"][0].as_f64(), "{whole}");
        assert_eq!(merged.lines.len(), 3);
    }
}
