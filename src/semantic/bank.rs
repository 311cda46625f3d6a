//! A bank of source models: one weight file that serves several rates, and the card of what was measured with it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::bitstream::HEADER_BYTES;
use super::predictor::{LEVELS, Predictor};
use super::range_coder::Table;
use super::refine::Adjoint;
use super::transform::{Analysis, Mean, Synthesis};
use super::weights::Weights;
use crate::optimize::{LossLaw, SourceModel};
use crate::{Error, Result};

/// Name of the weight file in a model's folder.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// Name of the card in a model's folder.
pub const CARD_FILE: &str = "card.toml";

/// Eq. (7): log10 D_o = d_s + d_c / (1 + exp(−e_1 (log10 ρ_b − e_2))), D_o the MSE on the 0…255 scale.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistortionCurve {
    /// D̂_s, the error-free level.
    pub d_s: f64,
    /// D̂_c, the rise to the level where nothing arrives.
    pub d_c: f64,
    /// E_1, the slope at the inflection, per decade.
    pub e_1: f64,
    /// E_2, the inflection in log10 of the bit error rate.
    pub e_2: f64,
    /// Goodness of the fit in log10 D_o.
    pub r_squared: f64,
}

impl DistortionCurve {
    /// The MSE expected where the body's bits flip independently with this probability.
    pub fn mse(&self, bit_error_rate: f64) -> f64 {
        10f64.powf(self.log10_mse(bit_error_rate.log10()))
    }

    /// log10 of the MSE at log10 of a bit error rate (−∞ allowed).
    pub fn log10_mse(&self, log10_bit_error_rate: f64) -> f64 {
        self.d_s + self.d_c / (1.0 + (-self.e_1 * (log10_bit_error_rate - self.e_2)).exp())
    }
}

/// What was measured with a model on the calibration pictures; zeros where the bank has no card yet.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// All bits of a picture, headers included, per pixel: three times R_s per sample.
    pub bits_per_pixel: f64,
    /// Bits of the protected part beyond the picture header, per pixel.
    pub protected_bits_per_pixel: f64,
    /// Error-free distortion, 0…255 scale.
    pub mse: f64,
    /// Mean of the pictures' PSNR.
    pub psnr_db: f64,
    /// Mean of the pictures' RGB MS-SSIM.
    pub ms_ssim: f64,
    /// Mean bits of a slice.
    pub slice_bits: f64,
    /// What the distortion grows by where all slices are lost, in the error-free one; with a share of them lost, in proportion.
    pub loss_rise: f64,
    /// Distortion over bit error rate.
    pub curve: DistortionCurve,
}

/// What one calibration picture took of every model of the bank, and gave.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationPicture {
    /// All bits, headers included, per pixel.
    pub bits_per_pixel: Vec<f64>,
    /// Bits of the protected part beyond the picture header, per pixel.
    pub protected_bits_per_pixel: Vec<f64>,
    /// Error-free distortion, 0…255 scale.
    pub mse: Vec<f64>,
}

/// One model of the bank: a rate with its tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// 0 … G − 1: those tuned for MSE, then others, each in rising mean rate.
    pub index: usize,
    /// What `--model` accepts besides the index.
    pub name: String,
    /// `mse` or `ms-ssim`.
    pub tuned_for: String,
    /// Measured figures.
    #[serde(flatten)]
    pub calibration: Calibration,
}

impl ModelInfo {
    /// Mean bits of a picture of this many pixels, everything included.
    pub fn bits(&self, pixels: usize) -> f64 {
        self.calibration.bits_per_pixel * pixels as f64
    }

    /// Mean bits of its protected part (picture header, lengths, hyper segment).
    pub fn protected_bits(&self, pixels: usize) -> f64 {
        8.0 * HEADER_BYTES as f64 + self.calibration.protected_bits_per_pixel * pixels as f64
    }

    /// What the choice of rates needs to know of the model, for pictures of this many pixels.
    pub fn source_model(&self, pixels: usize) -> SourceModel {
        let Calibration { curve, loss_rise, slice_bits, mse, .. } = self.calibration;
        SourceModel {
            index: self.index,
            body_bits: self.bits(pixels) - self.protected_bits(pixels),
            protected_bits: self.protected_bits(pixels),
            error_free_mse: mse,
            curve: [curve.d_s, curve.d_c, curve.e_1, curve.e_2],
            loss: LossLaw { slice_bits, rise: loss_rise },
        }
    }
}

/// The card beside the weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Digest of the weight file that was measured.
    pub digest: String,
    /// What was measured, on which pictures.
    pub calibrated_on: String,
    /// In the order of the bank.
    pub models: Vec<ModelInfo>,
    /// The pictures, each with a value for every model.
    pub pictures: Vec<CalibrationPicture>,
}

/// Networks, tables and figures of all models. Immutable; share it.
#[derive(Debug)]
pub struct Bank {
    digest: u64,
    models: Vec<ModelInfo>,
    pictures: Vec<CalibrationPicture>,
    pub(super) hyper_channels: usize,
    pub(super) latent_channels: usize,
    pub(super) predictor: Predictor,
    pub(super) analysis: Analysis,
    pub(super) mean: Mean,
    pub(super) synthesis: Synthesis,
    pub(super) gaussian: Vec<Table>,
    pub(super) prior: Vec<Table>,
    pub(super) adjoint: Adjoint,
    /// Per model.
    pub(super) distortion_weights: Vec<f64>,
    conceal: Vec<f32>,
}

impl Bank {
    /// The bank that ships with the program.
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: OnceLock<Arc<Bank>> = OnceLock::new();
        let load = || {
            let weights = include_bytes!("../../models/hyperprior/weights.safetensors");
            let card = include_str!("../../models/hyperprior/card.toml");
            Arc::new(
                Self::parse(weights, Some(card), "the shipped model")
                    .expect("the shipped model is sound: a test loads it"),
            )
        };
        SHIPPED.get_or_init(load).clone()
    }

    /// Loads a model's folder: weights and card.
    pub fn load(folder: &Path) -> Result<Arc<Self>> {
        let card = folder.join(CARD_FILE);
        let text = std::fs::read_to_string(&card).map_err(|e| Error::file(&card, e))?;
        Self::read(folder, Some(&text))
    }

    /// Loads a model's folder without its card, to measure one.
    pub fn uncalibrated(folder: &Path) -> Result<Arc<Self>> {
        Self::read(folder, None)
    }

    fn read(folder: &Path, card: Option<&str>) -> Result<Arc<Self>> {
        let path = folder.join(WEIGHTS_FILE);
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        Ok(Arc::new(Self::parse(&bytes, card, &path.display().to_string())?))
    }

    /// From the bytes of a weight file and the text of its card; `label` names them in errors.
    pub fn parse(weights: &[u8], card: Option<&str>, label: &str) -> Result<Self> {
        let weights = Weights::open(weights, label)?;
        let c = &weights.configuration;
        let count = c.names.len();
        let wrong = |what: String| Error::input(format!("{label}: {what}"));
        let named = |(index, (name, tuned_for)): (usize, (&String, &String))| ModelInfo {
            index,
            name: name.clone(),
            tuned_for: tuned_for.clone(),
            calibration: Calibration::default(),
        };
        let mut models: Vec<ModelInfo> = c.names.iter().zip(&c.tuned_for).enumerate().map(named).collect();
        let mut pictures = Vec::new();
        if let Some(text) = card {
            let card: Card = toml::from_str(text).map_err(|e| wrong(format!("its card: {}", e.message())))?;
            if card.digest != format!("{:016x}", weights.digest) {
                return Err(wrong(format!("its card is of weights {}, found {:016x}", card.digest, weights.digest)));
            }
            let same = |(a, b): (&ModelInfo, &ModelInfo)| (a.index, &a.name) == (b.index, &b.name);
            if card.models.len() != count || !card.models.iter().zip(&models).all(same) {
                return Err(wrong("its card lists other models than the weights hold".into()));
            }
            let whole = |picture: &CalibrationPicture| {
                [&picture.bits_per_pixel, &picture.protected_bits_per_pixel, &picture.mse].map(Vec::len) == [count; 3]
            };
            if !card.pictures.iter().all(whole) {
                return Err(wrong("its card lists pictures of other models than the weights hold".into()));
            }
            (models, pictures) = (card.models, card.pictures);
        }
        Ok(Self {
            digest: weights.digest,
            pictures,
            hyper_channels: c.hyper,
            latent_channels: c.latents,
            predictor: Predictor::load(&weights)?,
            analysis: Analysis::load(&weights)?,
            mean: Mean::load(&weights)?,
            synthesis: Synthesis::load(&weights)?,
            adjoint: Adjoint::load(&weights)?,
            distortion_weights: c.distortion_weights.clone(),
            gaussian: weights.tables("gaussian", LEVELS)?,
            prior: weights.tables("prior", count * c.hyper)?,
            conceal: weights.floats("conceal", &[count, c.latents])?,
            models,
        })
    }

    /// The models tuned for `mse` or `ms-ssim`, among which plans choose: in rising mean rate.
    pub fn planned(&self, tuned_for: &str) -> &[ModelInfo] {
        let first = self.models.iter().position(|model| model.tuned_for == tuned_for).unwrap_or(self.models.len());
        let models = &self.models[first..];
        &models[..models.iter().take_while(|model| model.tuned_for == tuned_for).count()]
    }

    /// The planned models as each of the calibration pictures needs them, for pictures of this many pixels.
    pub fn calibration_pictures(&self, tuned_for: &str, pixels: usize) -> Vec<Vec<SourceModel>> {
        let size = pixels as f64;
        let of_picture = |picture: &CalibrationPicture| {
            let of_model = |model: &ModelInfo| {
                let index = model.index;
                let protected_bits = 8.0 * HEADER_BYTES as f64 + picture.protected_bits_per_pixel[index] * size;
                SourceModel {
                    body_bits: picture.bits_per_pixel[index] * size - protected_bits,
                    protected_bits,
                    error_free_mse: picture.mse[index],
                    ..model.source_model(pixels)
                }
            };
            self.planned(tuned_for).iter().map(of_model).collect()
        };
        self.pictures.iter().map(of_picture).collect()
    }

    /// All models.
    pub fn models(&self) -> &[ModelInfo] {
        &self.models
    }

    /// Identifies the weights; a picture header carries the low 16 bits.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The model of this index or name.
    pub fn find(&self, name: &str) -> Result<&ModelInfo> {
        let by_index = name.parse::<usize>().ok().and_then(|i| self.models.get(i));
        by_index.or_else(|| self.models.iter().find(|m| m.name == name)).ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
            Error::input(format!("model `{name}`: accepted are 0 to {} or {}", self.models.len() - 1, names.join(", ")))
        })
    }

    /// Share of the neighbours' mean that fills a lost symbol, per channel.
    pub(super) fn conceal(&self, model: usize) -> &[f32] {
        &self.conceal[model * self.latent_channels..][..self.latent_channels]
    }
}
