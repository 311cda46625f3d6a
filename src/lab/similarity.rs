//! Fig. 3: picture quality over power and bandwidth ratio, from real runs: real bits, codes, symbols and noise at the SINR
//! that the beams reach. The path is flat, so that one complex Gaussian channel at this SINR stands for it.
//!
//! Rivals: JPEG with the same beams and channel code, at the highest quality that fits; it is lost from its first bad
//! block on, so its blocks are as much safer as a picture has blocks. And analog symbols by a network (after Bourtsoulatze
//! et al. 2019) with zero-forcing beams.

use std::sync::Arc;

use image::RgbImage;
use num_complex::Complex32;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Result;
use crate::coding::{self, BLOCK_CRC, BLOCK_SYMBOLS, BlockErrorLaw, BlockScratch, MAX_INFORMATION_BITS};
use crate::optimize::{BlockErrorModel, Problem, RateLimits, SourceModel, select_rate, zero_forcing};
use crate::plot::{Chart, Corner, Series, Stroke};
use crate::scene::{Scene, decibel};
use crate::semantic::{Analog, Bank, Decoder, Encoder, Picture, jpeg, metrics};

/// Draws of the noise per picture and point.
const DRAWS: usize = 2;
const RATIOS: [f64; 2] = [0.0625, 0.125];
const POWERS_DBM: [f64; 16] =
    [-10.0, -8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0];

/// How pictures are sent.
#[derive(Debug, Clone, Copy)]
enum Scheme {
    Semantic,
    Jpeg,
    Analog,
}

const SCHEMES: [(&str, Scheme, Stroke); 3] = [
    ("this codec", Scheme::Semantic, Stroke::Solid),
    ("JPEG, same code", Scheme::Jpeg, Stroke::Dashed),
    ("analog network, zero forcing", Scheme::Analog, Stroke::Marks),
];

/// The charts over power and over bandwidth ratio, for pictures of one size.
pub fn charts(scene: &Scene, bank: &Arc<Bank>, pictures: &[RgbImage]) -> Result<[(&'static str, Chart); 2]> {
    let mut sender = Sender::new(bank, pictures)?;
    let (mut over_power, mut over_ratio) = (vec![], vec![]);
    for (index, (name, scheme, stroke)) in SCHEMES.into_iter().enumerate() {
        for (colour, ratio) in RATIOS.into_iter().enumerate() {
            let points = POWERS_DBM.map(|power_dbm| Ok((power_dbm, sender.quality(scheme, scene, power_dbm, ratio)?)));
            let points = points.into_iter().collect::<Result<_>>()?;
            over_power.push(Series { name: format!("{name}, {ratio} uses a sample"), points, stroke, colour });
        }
        let power_dbm = scene.constraints.power_dbm;
        let points =
            (2..=8).map(|k| f64::from(k) / 64.0).map(|r| Ok((r, sender.quality(scheme, scene, power_dbm, r)?)));
        let points = points.collect::<Result<_>>()?;
        over_ratio.push(Series { name: name.into(), points, stroke, colour: index });
    }
    let chart = |title: String, x_label: &str, series| Chart {
        title,
        x_label: x_label.into(),
        y_label: "MS-SSIM".into(),
        x_log: false,
        y_log: false,
        legend: Corner::LowerRight,
        series,
    };
    let power_dbm = scene.constraints.power_dbm;
    Ok([
        ("fig3-ms-ssim", chart("Picture quality over the power (Fig. 3)".into(), "power budget, dBm", over_power)),
        (
            "fig3-ms-ssim-abr",
            chart(
                format!("Picture quality over the bandwidth ratio at {power_dbm} dBm (Fig. 3)"),
                "channel uses per source sample",
                over_ratio,
            ),
        ),
    ])
}

/// Sends pictures over the simulated channel.
struct Sender<'a> {
    pictures: &'a [RgbImage],
    /// Per picture, what each model makes of it.
    coded: Vec<(Vec<SourceModel>, Vec<Arc<Picture>>)>,
    decoder: Decoder,
    analog: Analog,
    scratch: BlockScratch,
    random: Xoshiro256PlusPlus,
}

impl<'a> Sender<'a> {
    fn new(bank: &Arc<Bank>, pictures: &'a [RgbImage]) -> Result<Self> {
        let mut encoder = Encoder::new(Arc::clone(bank));
        let mut code = |picture| {
            let coded = bank.planned("mse").iter().map(|model| {
                let coded = encoder.encode(picture, model.index, 0)?;
                let own = SourceModel {
                    body_bits: 8.0 * coded.body.len() as f64,
                    protected_bits: 8.0 * coded.protected.len() as f64,
                    ..model.source_model(pixels(picture))
                };
                Ok((own, Arc::new(coded)))
            });
            coded.collect::<Result<_>>()
        };
        Ok(Self {
            pictures,
            coded: pictures.iter().map(&mut code).collect::<Result<_>>()?,
            decoder: Decoder::new(Arc::clone(bank)),
            analog: Analog::default(),
            scratch: BlockScratch::with_rescue(),
            random: Xoshiro256PlusPlus::seed_from_u64(1),
        })
    }

    /// Mean MS-SSIM of the pictures as received, zero for one that cannot be shown; NaN where the scene's threshold on the
    /// position bound cannot be met or no rate fits.
    fn quality(&mut self, scheme: Scheme, scene: &Scene, power_dbm: f64, ratio: f64) -> Result<f64> {
        let mut scene = scene.clone();
        scene.constraints.power_dbm = power_dbm;
        scene.constraints.bandwidth_ratio_max = ratio;
        let problem = Problem::from_scene(&scene);
        let sinr = match scheme {
            Scheme::Analog => problem.sinr(&zero_forcing(&scene, &problem)),
            _ => match problem.solve() {
                solution if solution.feasible => solution.sinr,
                _ => return Ok(f64::NAN),
            },
        };
        let law = BlockErrorLaw::from_scene(&scene);
        let mut total = 0.0;
        for (index, picture) in self.pictures.iter().enumerate() {
            let limits = RateLimits::from_scene(&scene, 3 * pixels(picture));
            for _ in 0..DRAWS {
                let shown = match scheme {
                    Scheme::Semantic => self.semantic(&limits, &law, sinr, index)?,
                    Scheme::Jpeg => self.jpeg(&limits, &law, sinr, picture)?,
                    Scheme::Analog => self.analog(ratio, sinr, picture),
                };
                let Some(shown) = shown else { return Ok(f64::NAN) };
                total += shown.and_then(|shown| metrics::ms_ssim(picture, &shown)).unwrap_or(0.0);
            }
        }
        Ok(total / (DRAWS * self.pictures.len()) as f64)
    }

    /// By the planner's rule for this picture's own bits. None where no rate fits, Some(None) where nothing can be shown.
    fn semantic(
        &mut self,
        limits: &RateLimits,
        law: &BlockErrorLaw,
        sinr: f64,
        index: usize,
    ) -> Result<Option<Option<RgbImage>>> {
        let (models, coded) = &self.coded[index];
        let Some(choice) = select_rate(models, limits, sinr, law) else { return Ok(None) };
        let coded = Arc::clone(&coded[choice.model]);
        let (protected, bad) = self.send(choice.protected_bits, &coded.protected, sinr)?;
        if !bad.is_empty() {
            return Ok(Some(None));
        }
        let (body, bad) = self.send(choice.payload_bits, &coded.body, sinr)?;
        let block = choice.payload_bits - BLOCK_CRC.bits();
        let lost: Vec<_> = bad.into_iter().map(|index| index * block..(index + 1) * block).collect();
        Ok(Some(self.decoder.decode(&protected, &body, &lost).ok().map(|decoded| decoded.image)))
    }

    /// The best JPEG file that fits the channel uses at the largest rate that is safe.
    fn jpeg(
        &mut self,
        limits: &RateLimits,
        law: &BlockErrorLaw,
        sinr: f64,
        picture: &RgbImage,
    ) -> Result<Option<Option<RgbImage>>> {
        let tolerated = limits.block_error_rate_max / limits.blocks as f64;
        let safe = |bits: &usize| law.block_error_rate(sinr, *bits) <= tolerated;
        let Some(bits) = (32..=MAX_INFORMATION_BITS).rev().find(safe) else { return Ok(None) };
        let payload = bits - BLOCK_CRC.bits();
        let room = limits.blocks * payload;
        let (mut low, mut high) = (0, 101);
        let mut best = None;
        while high - low > 1 {
            let quality = (low + high) / 2;
            let file = jpeg::encode(picture, quality)?;
            if 8 * file.len() <= room {
                (low, best) = (quality, Some(file));
            } else {
                high = quality;
            }
        }
        let Some(file) = best else { return Ok(None) };
        let (mut received, bad) = self.send(bits, &file, sinr)?;
        if let Some(first) = bad.first() {
            received.truncate(first * payload / 8);
        }
        let same_size = |shown: &RgbImage| shown.dimensions() == picture.dimensions();
        Ok(Some(jpeg::decode(&received).filter(same_size)))
    }

    /// None where there is no model for this bandwidth ratio.
    fn analog(&mut self, wanted: f64, sinr: f64, picture: &RgbImage) -> Option<Option<RgbImage>> {
        let ratio = Analog::bandwidth_ratios().iter().position(|ratio| (ratio - wanted).abs() < 1e-9)?;
        let random = &mut self.random;
        let air = |symbols: &mut [Complex32]| coding::add_noise(symbols, (1.0 / sinr) as f32, random);
        Some(Some(self.analog.send(picture, ratio, decibel(sinr), air)))
    }

    /// Bytes in blocks of this N_c through the channel: as decoded, and the numbers of the blocks that failed.
    fn send(&mut self, information_bits: usize, bytes: &[u8], sinr: f64) -> Result<(Vec<u8>, Vec<usize>)> {
        let code = coding::plan(information_bits, BLOCK_SYMBOLS, BLOCK_CRC)?;
        let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)).collect();
        let noise_variance = (1.0 / sinr) as f32;
        let mut payload = vec![0; code.payload_bits()];
        let mut coded = vec![0; code.coded_bits()];
        let mut soft = vec![0; code.coded_bits()];
        let mut symbols = vec![Complex32::default(); BLOCK_SYMBOLS];
        let (mut received, mut bad) = (vec![], vec![]);
        for (index, block) in bits.chunks(code.payload_bits()).enumerate() {
            payload[..block.len()].copy_from_slice(block);
            payload[block.len()..].fill(0);
            code.modulate(&payload, &mut coded, &mut symbols, &mut self.scratch);
            coding::add_noise(&mut symbols, noise_variance, &mut self.random);
            code.constellation().demap(&symbols, noise_variance, &mut soft);
            if !code.decode(&soft, &mut payload, &mut self.scratch).decoded {
                bad.push(index);
            }
            received.extend(&payload[..block.len()]);
        }
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
        Ok((received.chunks(8).map(byte).collect(), bad))
    }
}

fn pixels(picture: &RgbImage) -> usize {
    (picture.width() * picture.height()) as usize
}
