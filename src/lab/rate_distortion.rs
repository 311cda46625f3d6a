//! The source models beside JPEG on the same pictures, and beside published points of the hyperprior codec of Ballé et
//! al. 2018.
//!
//! Bits are real ones: our files with all headers and checks, JPEG's whole files. The published points are means over the
//! 24 Kodak pictures, which this project does not have; so both sides are compared with JPEG on their own pictures, and
//! the two differences with each other.

use std::sync::Arc;

use image::RgbImage;
use serde_json::{Value, json};

use super::coders;
use super::parallel::in_parallel;
use crate::plot::{Chart, Corner, Series, Stroke};
use crate::semantic::rivalry::{Curve, mean_rate_difference};
use crate::semantic::{Bank, ModelInfo, jpeg, metrics};
use crate::{Error, Result};

const JPEG_QUALITIES: [u8; 14] = [3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90];

/// bmshj2018-hyperprior, mse, qualities 1 to 8: the results that CompressAI publishes (InterDigitalInc/CompressAI,
/// results/image/kodak). Bits per pixel, PSNR in dB, MS-SSIM.
const PUBLISHED: [[f64; 3]; 8] = [
    [0.1313, 27.58, 0.9174],
    [0.2089, 29.20, 0.9421],
    [0.3199, 30.97, 0.9611],
    [0.4784, 32.84, 0.9749],
    [0.6687, 34.53, 0.9836],
    [0.9388, 36.74, 0.9893],
    [1.2592, 38.58, 0.9929],
    [1.6602, 40.56, 0.9955],
];

/// JPEG (4:2:0, optimised tables, by Pillow) on the same 24 Kodak pictures.
const JPEG_ON_KODAK: [[f64; 3]; 5] = [
    [0.256, 26.67, 0.8942],
    [0.449, 29.15, 0.9457],
    [0.683, 31.01, 0.9683],
    [0.869, 32.17, 0.9769],
    [1.344, 34.52, 0.9866],
];

/// Drawings end at this rate.
const DRAWN_RATE_MAX: f64 = 1.5;

/// Means over the pictures: bits per pixel, PSNR in dB and MS-SSIM.
pub type Point = [f64; 3];

/// A source model at its rate.
pub struct Rate {
    /// The model's name.
    pub name: String,
    /// What it is tuned for: `mse` or `ms-ssim`.
    pub tuned_for: String,
    /// What it needs and reaches.
    pub point: Point,
}

/// The source models and JPEG on the same pictures.
pub struct Comparison {
    /// Every source model of the bank.
    pub ours: Vec<Rate>,
    /// JPEG over its qualities.
    pub jpeg: Vec<Point>,
    /// How many pictures.
    pub pictures: usize,
}

/// Codes the pictures with every model of the bank in `effort` passes of the encoder, and as JPEG, on all cores.
///
/// # Errors
/// Where a picture cannot be encoded or is too small for MS-SSIM.
pub fn compare(bank: &Arc<Bank>, pictures: &[RgbImage], effort: usize) -> Result<Comparison> {
    let (models, count) = (bank.models(), pictures.len());
    let units = (models.len() + JPEG_QUALITIES.len()) * count;
    let points = in_parallel(
        units,
        || coders(bank, effort),
        |(encoder, decoder), unit| {
            let (coder, picture) = (unit / count, &pictures[unit % count]);
            match models.get(coder) {
                Some(model) => {
                    let coded = encoder.encode(picture, model.index, 0)?;
                    let decoded = decoder.decode(&coded.protected, &coded.body, &[])?;
                    point(picture, coded.bits(), &decoded.image)
                }
                None => {
                    let bytes = jpeg::encode(picture, JPEG_QUALITIES[coder - models.len()])?;
                    let decoded =
                        jpeg::decode(&bytes).ok_or_else(|| Error::internal("JPEG: its own file is unreadable"))?;
                    point(picture, 8 * bytes.len(), &decoded)
                }
            }
        },
    )?;
    let mut means = points.chunks(count.max(1)).map(|of_pictures| {
        let sums = of_pictures.iter().fold([0.0; 3], |sums, point| [0, 1, 2].map(|of| sums[of] + point[of]));
        sums.map(|sum: f64| sum / count as f64)
    });
    let rate = |(model, point): (&ModelInfo, Point)| Rate {
        name: model.name.clone(),
        tuned_for: model.tuned_for.clone(),
        point,
    };
    let ours = models.iter().zip(means.by_ref()).map(rate).collect();
    Ok(Comparison { ours, jpeg: means.collect(), pictures: count })
}

/// What one picture of so many bits comes to.
fn point(picture: &RgbImage, bits: usize, decoded: &RgbImage) -> Result<Point> {
    let similarity = metrics::ms_ssim(picture, decoded)
        .ok_or_else(|| Error::input("--images: a picture is too small for MS-SSIM; accepted are sides from 161 on"))?;
    let rate = bits as f64 / (f64::from(picture.width()) * f64::from(picture.height()));
    Ok([rate, metrics::psnr_db(metrics::mse(picture, decoded)).unwrap_or(100.0), similarity])
}

/// What of a point counts as quality.
pub type Measure = fn(Point) -> f64;

/// PSNR, and MS-SSIM, the latter in decibels of what is missing, which spreads it evenly.
pub const MEASURES: [(&str, Measure); 2] =
    [("PSNR", |point| point[1]), ("MS-SSIM", |point| -10.0 * (1.0 - point[2]).log10())];

/// Points as (rate, quality).
fn curve(points: &[Point], measure: Measure) -> Vec<(f64, f64)> {
    points.iter().map(|&point| (point[0], measure(point))).collect()
}

/// The points of the models that are tuned for this measure.
fn tuned(ours: &[Rate], tuned_for: &str) -> Vec<Point> {
    ours.iter().filter(|rate| rate.tuned_for == tuned_for).map(|rate| rate.point).collect()
}

impl Comparison {
    /// JPEG's figures at this rate, where it reaches it.
    pub fn jpeg_at(&self, rate: f64) -> [Option<f64>; 2] {
        [1, 2].map(|index| Curve::new(self.jpeg.iter().map(|p| (p[0].ln(), p[index])).collect())?.at(rate.ln()))
    }

    /// Mean differences of rate: ours against JPEG, the published against JPEG on Kodak, ours against the published by both.
    pub fn differences(&self, measure: Measure) -> [Option<f64>; 3] {
        let here = mean_rate_difference(&curve(&self.jpeg, measure), &curve(&tuned(&self.ours, "mse"), measure));
        let there = mean_rate_difference(&curve(&JPEG_ON_KODAK, measure), &curve(&PUBLISHED, measure));
        let between = here.zip(there).map(|(here, there)| (1.0 + here) / (1.0 + there) - 1.0);
        [here, there, between]
    }

    /// As `issc rate-distortion` prints it.
    pub fn table(&self) -> String {
        let mut lines =
            vec![format!("{} pictures   bit/px    PSNR  MS-SSIM   JPEG at this rate: PSNR  MS-SSIM", self.pictures)];
        for Rate { name, point: [rate, psnr_db, ms_ssim], .. } in &self.ours {
            let [jpeg_psnr_db, jpeg_ms_ssim] = self.jpeg_at(*rate);
            let beside =
                |figure: Option<f64>, digits| figure.map_or("–".into(), |figure| format!("{figure:.digits$}"));
            let (psnr, ssim) = (beside(jpeg_psnr_db, 2), beside(jpeg_ms_ssim, 4));
            lines.push(format!("{name:12} {rate:7.4} {psnr_db:7.2} {ms_ssim:8.4} {psnr:>25} {ssim:>8}"));
        }
        for (name, measure) in MEASURES {
            let [here, there, between] = self.differences(measure).map(|d| 100.0 * d.unwrap_or(f64::NAN));
            lines.push(format!(
                "mean rate at equal {name}: {here:+.1} % against JPEG; hyperprior 2018 on Kodak {there:+.1} %, so \
                 {between:+.1} % against it"
            ));
        }
        lines.join("\n")
    }

    /// Both measures over the rate, by file name.
    pub fn charts(&self) -> [(&'static str, Chart); 2] {
        let names = ["rate-distortion-psnr", "rate-distortion-ms-ssim"];
        let labels = ["PSNR, dB", "MS-SSIM, −10 log10(1 − MS-SSIM), dB"];
        std::array::from_fn(|index| {
            let (title, measure) = MEASURES[index];
            let line = |name: &str, points: &[Point], stroke, colour| Series {
                name: name.into(),
                points: curve(points, measure).into_iter().filter(|point| point.0 < DRAWN_RATE_MAX).collect(),
                stroke,
                colour,
            };
            let mut series = vec![
                line("issc, tuned for MSE", &tuned(&self.ours, "mse"), Stroke::Solid, 0),
                line("JPEG", &self.jpeg, Stroke::Solid, 1),
                line("hyperprior 2018, published for Kodak", &PUBLISHED, Stroke::Dashed, 2),
                line("JPEG on Kodak", &JPEG_ON_KODAK, Stroke::Dashed, 1),
            ];
            let structural = tuned(&self.ours, "ms-ssim");
            if !structural.is_empty() {
                series.push(line("issc, tuned for MS-SSIM", &structural, Stroke::Marks, 0));
            }
            let chart = Chart {
                title: format!("{title} over the rate"),
                x_label: "bit per pixel".into(),
                y_label: labels[index].into(),
                x_log: false,
                y_log: false,
                legend: Corner::LowerRight,
                series,
            };
            (names[index], chart)
        })
    }

    /// All that was measured, as `issc rate-distortion --json` prints it.
    pub fn report(&self) -> Value {
        let figures = |point: &Point| json!({"bits_per_pixel": point[0], "psnr_db": point[1], "ms_ssim": point[2]});
        let models: Vec<_> = self
            .ours
            .iter()
            .map(|rate| {
                let [psnr_db, ms_ssim] = self.jpeg_at(rate.point[0]);
                let mut model = figures(&rate.point);
                model["name"] = json!(rate.name);
                model["jpeg_psnr_db"] = json!(psnr_db);
                model["jpeg_ms_ssim"] = json!(ms_ssim);
                model
            })
            .collect();
        let [by_psnr, by_ms_ssim] = MEASURES.map(|(_, measure)| {
            let [here, there, between] = self.differences(measure);
            json!({"against_jpeg": here, "published_against_jpeg_on_kodak": there, "against_published": between})
        });
        json!({
            "pictures": self.pictures,
            "models": models,
            "jpeg": self.jpeg.iter().map(figures).collect::<Vec<_>>(),
            "rate_difference_psnr": by_psnr,
            "rate_difference_ms_ssim": by_ms_ssim,
        })
    }
}
