//! The analog rival: latents sent as channel symbols, without bits (after Bourtsoulatze, Kurka and Gündüz 2019), trained by
//! `training/analog.py` through Gaussian noise.
//!
//! The first n latents of each 16×16 block, scaled to unit mean power over the picture, are the real and imaginary parts
//! of its symbols: n/2 channel uses for 768 source samples. The receiver is told scale and SINR.

use std::sync::{Arc, OnceLock};

use image::RgbImage;
use num_complex::Complex32;

use super::bank::Bank;
use super::transform::{AnalysisSpace, SynthesisSpace};
use crate::dsp::lanes::Simd;

/// Latents of a block that are sent, one choice per bandwidth ratio.
const LATENTS: [usize; 3] = [48, 96, 192];
/// Signal-to-noise ratios that the tables were trained for, in dB.
const RATIOS_DB: [f64; 5] = [0.0, 5.0, 10.0, 15.0, 20.0];
/// Source samples of a block.
const BLOCK_SAMPLES: usize = 3 * 256;

/// Sends pictures as analog symbols; owns the workspace.
#[derive(Debug)]
pub struct Analog {
    bank: Arc<Bank>,
    simd: Simd,
    analysis: AnalysisSpace,
    synthesis: SynthesisSpace,
}

impl Default for Analog {
    fn default() -> Self {
        Self {
            bank: Self::shipped(),
            simd: Simd::best(),
            analysis: AnalysisSpace::default(),
            synthesis: SynthesisSpace::default(),
        }
    }
}

impl Analog {
    fn shipped() -> Arc<Bank> {
        static SHIPPED: OnceLock<Arc<Bank>> = OnceLock::new();
        let load = || {
            let weights = include_bytes!("../../models/analog/weights.safetensors");
            Arc::new(
                Bank::parse(weights, None, "the analog model").expect("the shipped model is sound: a test loads it"),
            )
        };
        SHIPPED.get_or_init(load).clone()
    }

    /// Channel uses per source sample that there is a model for.
    pub fn bandwidth_ratios() -> [f64; LATENTS.len()] {
        LATENTS.map(|latents| latents as f64 / (2 * BLOCK_SAMPLES) as f64)
    }

    /// The picture as received where `air` does to its unit-power symbols what the channel does. The tables are those of
    /// the bandwidth ratio of this index, for the nearest SINR in dB.
    pub fn send(
        &mut self,
        picture: &RgbImage,
        ratio: usize,
        sinr_db: f64,
        air: impl FnOnce(&mut [Complex32]),
    ) -> RgbImage {
        let distance = |index: &usize| (RATIOS_DB[*index] - sinr_db).abs();
        let nearest = (0..RATIOS_DB.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
        let (row, sent) = (ratio * RATIOS_DB.len() + nearest, LATENTS[ratio]);
        let bank = Arc::clone(&self.bank);
        let channels = bank.latent_channels;
        bank.analysis.latents(self.simd, picture, row, &mut self.analysis);
        let latents = &self.analysis.latents;
        let values: Vec<f32> = latents.data.chunks_exact(channels).flat_map(|block| &block[..sent]).copied().collect();
        let power = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len() as f64;
        // two real values of half the power each make a symbol
        let scale = (2.0 * power.max(1e-12)).sqrt() as f32;
        let mut symbols: Vec<Complex32> =
            values.chunks_exact(2).map(|pair| Complex32::new(pair[0], pair[1]) / scale).collect();
        air(&mut symbols);
        self.synthesis.latents.shape(latents.height, latents.width, channels, 0);
        let blocks = self.synthesis.latents.data.chunks_exact_mut(channels);
        let weights = bank.mean.unit(row);
        for (block, symbols) in blocks.zip(symbols.chunks_exact(sent / 2)) {
            block[sent..].fill(0.0);
            let received = symbols.iter().flat_map(|symbol| [symbol.re, symbol.im]);
            for ((value, received), weight) in block.iter_mut().zip(received).zip(weights) {
                *value = received * scale * weight;
            }
        }
        let no_mean = vec![0.0; latents.height * latents.width * channels];
        let mut image = RgbImage::new(picture.width(), picture.height());
        bank.synthesis.picture(self.simd, &no_mean, row, &mut self.synthesis, &mut image);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::metrics;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn symbols_have_unit_power_and_pictures_improve_with_sinr_and_bandwidth_without_a_cliff() {
        let picture = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/pictures/girl.png")).unwrap().to_rgb8();
        let mut analog = Analog::default();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut worst = f64::MAX;
        for (ratio, uses) in Analog::bandwidth_ratios().into_iter().enumerate() {
            let mut last = f64::MAX;
            for sinr_db in [-3.0, 2.0, 7.0, 12.0, 18.0] {
                let deviation = 10f32.powf(-sinr_db as f32 / 20.0) / 2f32.sqrt();
                let received = analog.send(&picture, ratio, sinr_db, |symbols| {
                    assert_eq!(symbols.len() as f64, uses * (3 * 256 * 256) as f64);
                    let power = symbols.iter().map(|symbol| symbol.norm_sqr()).sum::<f32>() / symbols.len() as f32;
                    assert!((power - 1.0).abs() < 1e-3, "{power}");
                    for symbol in symbols {
                        let noise: [f32; 2] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
                        *symbol += Complex32::new(noise[0], noise[1]) * deviation;
                    }
                });
                let mse = metrics::mse(&picture, &received);
                assert!(mse < last && mse > 0.15 * last.min(2000.0), "{mse} after {last}");
                last = mse;
            }
            assert!(last < worst, "{last} after {worst}");
            worst = last;
        }
        assert!(worst < 60.0, "{worst}");
    }
}
