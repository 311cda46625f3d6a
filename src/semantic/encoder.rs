//! Pictures to bits.

use std::sync::Arc;

use image::RgbImage;

use super::bank::Bank;
use super::bitstream::{self, Header, PIXELS_MAX, Segment, SliceMap};
use super::layers::STRIDE;
use super::predictor::Prediction;
use super::range_coder::{RangeEncoder, SYMBOL_MAX, Table};
use super::refine::{Drawing, RefineSpace};
use super::transform::AnalysisSpace;
use crate::dsp::lanes::Simd;
use crate::{Error, Result};

/// Mean payload of a slice that is not exceeded, in bits; with its CRC a slice has 800 at most, on average.
pub const SLICE_BITS: f64 = 770.0;

/// What a squared error of one step is worth in bits. The step that is optimal at high rates makes it 6/ln 2 = 8.7; at
/// the rates of the bank 18 needs the fewest bits for equal PSNR on the tuning pictures, 1 % fewer than 12.
const BITS_PER_SQUARE: f32 = 18.0;

/// Least weight of an error in a cell of which hardly anything lies inside the picture: its neighbours reach into it.
const WEIGHT_MIN: f32 = 0.03;

/// Curvature that the first pass of refining assumes, over the one measured, and its factor after each pass that fails.
/// (Chosen on a tuning picture at two rates, with half of the symbols a pass: all at once, or a third, ended higher.)
const FIRST_CAUTION: f32 = 1.2;
const MORE_CAUTION: f32 = 1.2;

/// A coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Header, slice lengths, hyper segment: to be sent with the strongest code.
    pub protected: Vec<u8>,
    /// Slices, back to back.
    pub body: Vec<u8>,
    /// What the header says.
    pub header: Header,
    /// Bits that the coding tables assign to the symbols: what an ideal coder would need.
    pub information_bits: u64,
}

impl Picture {
    /// All bits.
    pub fn bits(&self) -> usize {
        8 * (self.protected.len() + self.body.len())
    }
}

/// Encodes pictures; owns the workspace.
#[derive(Debug)]
pub struct Encoder {
    bank: Arc<Bank>,
    simd: Simd,
    slice_bits: f64,
    space: AnalysisSpace,
    prediction: Prediction,
    mean: Vec<f32>,
    /// `[position][channel]`.
    levels: Vec<u8>,
    map: SliceMap,
    effort: usize,
    /// Latents less their means, and what a squared error of one is worth in bits: `[position][channel]`.
    targets: Vec<f32>,
    worth: Vec<f32>,
    refine: RefineSpace,
    slopes: Vec<f32>,
    kept: (Vec<i32>, Vec<u8>),
}

impl Encoder {
    /// An encoder on the machine's fastest lanes, with slices of up to [`SLICE_BITS`] on average.
    pub fn new(bank: Arc<Bank>) -> Self {
        Self::with_options(bank, Simd::best(), SLICE_BITS)
    }

    /// An encoder with these lanes and this greatest mean payload of a slice.
    pub fn with_options(bank: Arc<Bank>, simd: Simd, slice_bits: f64) -> Self {
        Self {
            bank,
            simd,
            slice_bits,
            space: AnalysisSpace::default(),
            prediction: Prediction::default(),
            mean: vec![],
            levels: vec![],
            map: SliceMap::default(),
            effort: 0,
            targets: vec![],
            worth: vec![],
            refine: RefineSpace::default(),
            slopes: vec![],
            kept: Default::default(),
        }
    }

    /// Passes over the symbols of later pictures against the picture that the receiver will draw, for models that are
    /// tuned for MSE; 0, as at first, for real time. A pass takes about three times as long as decoding; no pass raises
    /// λ · error + bits, which is what the networks were trained for.
    pub fn set_effort(&mut self, passes: usize) {
        self.effort = passes;
    }

    /// Encodes one picture. Refuses a picture of no or too many pixels and a model that the bank has not.
    pub fn encode(&mut self, picture: &RgbImage, model: usize, picture_number: u16) -> Result<Picture> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        if width * height == 0 || width * height > PIXELS_MAX || width.max(height) > 1 << 16 {
            return Err(Error::input(format!("a picture of {width}x{height}: accepted are 1 to {PIXELS_MAX} pixels")));
        }
        if model >= self.bank.models().len() {
            return Err(Error::input(format!("model {model}: accepted are 0 to {}", self.bank.models().len() - 1)));
        }
        let bank = self.bank.clone();
        let grid = (height.div_ceil(STRIDE), width.div_ceil(STRIDE));
        bank.analysis.latents(self.simd, picture, model, &mut self.space);
        bank.predictor.begin(&mut self.prediction, grid, bank.hyper_channels);
        bank.analysis.hyper(self.simd, &mut self.space, &mut self.prediction.z);
        let (hyper, z_bits) = self.hyper_segment(model, picture_number);
        bank.predictor.expand(self.simd, &mut self.prediction);
        bank.mean.fill(self.simd, &bank.predictor, &self.prediction, model, &mut self.mean);
        self.aim((height, width));
        let mut y_bits = self.quantise(model);
        if self.effort > 0 {
            y_bits = self.refine(picture, model, y_bits);
        }
        let positions = grid.0 * grid.1;
        let slices = ((y_bits / self.slice_bits).ceil() as usize).clamp(1, positions.min(1 << 16));
        let (body, lengths) = self.body(grid, slices, picture_number);
        let too_long =
            || Error::infeasible(format!("a picture of {width}x{height}: its bits exceed what its header can say"));
        let lengths = bitstream::write_lengths(&lengths, picture_number).ok_or_else(too_long)?;
        let header = Header {
            model,
            bank: bank.digest() as u16,
            picture_number,
            width,
            height,
            slices,
            lengths_bytes: lengths.len(),
            hyper_bytes: hyper.len(),
            body_bytes: body.len(),
        };
        let mut protected = header.write().ok_or_else(too_long)?.to_vec();
        protected.extend(lengths);
        protected.extend(hyper);
        Ok(Picture { protected, body, header, information_bits: (y_bits + z_bits).round() as u64 })
    }

    /// The symbols of the last picture, `[position][channel]`.
    pub fn symbols(&self) -> &[i32] {
        &self.prediction.symbols
    }

    fn hyper_segment(&mut self, model: usize, picture_number: u16) -> (Vec<u8>, f64) {
        let z = &mut self.prediction.z;
        let tables = &self.bank.prior[model * z.channels..][..z.channels];
        let mut bytes = vec![];
        let mut encoder = RangeEncoder::new(&mut bytes);
        let mut bits = 0.0;
        for y in 0..z.height {
            for pixel in z.row_mut(y).chunks_exact_mut(tables.len()) {
                for (value, table) in pixel.iter_mut().zip(tables) {
                    *value = value.clamp(-1000.0, 1000.0);
                    table.encode(&mut encoder, *value as i32);
                    bits += table.cost_bits(*value as i32);
                }
            }
        }
        encoder.finish();
        bitstream::push_crc(&mut bytes, 0, Segment::Hyper(picture_number).seed());
        (bytes, bits)
    }

    /// Towards the latents that the networks give, all worth the same.
    fn aim(&mut self, (height, width): (usize, usize)) {
        let (columns, channels) = (width.div_ceil(STRIDE), self.bank.latent_channels);
        self.targets.clear();
        self.targets.extend(self.space.latents.data.iter().zip(&self.mean).map(|(latent, mean)| latent - mean));
        self.worth.clear();
        for position in 0..self.mean.len() / channels {
            let weight = visible(height, position / columns) * visible(width, position % columns);
            self.worth.extend(std::iter::repeat_n(BITS_PER_SQUARE * weight.max(WEIGHT_MIN), channels));
        }
    }

    /// Fills symbols and levels; gives the bits that the tables assign. A symbol at the lowest level is not sent: it is 0.
    fn quantise(&mut self, model: usize) -> f64 {
        let bank = &self.bank;
        let channels = bank.latent_channels;
        self.levels.resize(self.mean.len(), 0);
        let mut bits = 0.0;
        for (group, latents) in bank.predictor.groups().iter().enumerate() {
            bank.predictor.predict(self.simd, &mut self.prediction, group, model);
            let (first, size) = (latents.start, latents.len());
            for (position, levels) in
                self.prediction.levels.chunks_exact(size).take(self.mean.len() / channels).enumerate()
            {
                let at = position * channels + first;
                self.levels[at..at + size].copy_from_slice(levels);
                for (at, &level) in (at..).zip(levels) {
                    let table = &bank.gaussian[usize::from(level)];
                    let q = if level > 0 { cheapest(self.targets[at], table, self.worth[at]) } else { 0 };
                    self.prediction.symbols[at] = q;
                    bits += if level > 0 { table.cost_bits(q) } else { 0.0 };
                }
            }
        }
        bits
    }

    /// The passes of [`Self::set_effort`]; gives the bits. A pass looks at one half of the symbols, drawn anew each time:
    /// where all move at once towards the same error they overshoot.
    fn refine(&mut self, picture: &RgbImage, model: usize, mut bits: f64) -> f64 {
        let bank = self.bank.clone();
        let tuned_for_mse = bank.models()[model].tuned_for == "mse";
        let Some(weight) = bank.distortion_weights.get(model).filter(|_| tuned_for_mse) else { return bits };
        // bits per squared sample error, 0…255
        let worth = weight / 3.0;
        let channels = bank.latent_channels;
        let decoder = Drawing { simd: self.simd, synthesis: &bank.synthesis, rate: model, target: picture };
        let space = &mut self.refine;
        let symbols = &self.prediction.symbols;
        let error = space.draw(decoder, self.prediction.grid(), |at| symbols[at] as f32, &self.mean);
        let mut cost = bits + worth * error;
        space.slopes(decoder, &bank.adjoint, worth, &mut self.slopes);
        space.curvatures(decoder, &bank.adjoint, worth, |at| symbols[at] as f32, &self.mean, &self.slopes);
        self.kept.0.clone_from(symbols);
        self.kept.1.clone_from(&self.levels);
        let mut caution = FIRST_CAUTION;
        for pass in 0..self.effort {
            for at in 0..self.targets.len() {
                let symbol = self.kept.0[at] as f32;
                let curvature = caution * self.refine.curvatures[at % channels];
                let moves = drawn(pass, at);
                self.targets[at] = if moves { symbol - self.slopes[at] / (2.0 * curvature) } else { symbol };
                self.worth[at] = if moves { curvature } else { f32::MAX };
            }
            let next_bits = self.quantise(model);
            let symbols = &self.prediction.symbols;
            let space = &mut self.refine;
            let error = space.draw(decoder, self.prediction.grid(), |at| symbols[at] as f32, &self.mean);
            let next = next_bits + worth * error;
            if next < cost {
                (bits, cost) = (next_bits, next);
                self.kept.0.clone_from(symbols);
                self.kept.1.clone_from(&self.levels);
                space.slopes(decoder, &bank.adjoint, worth, &mut self.slopes);
            } else {
                caution *= MORE_CAUTION;
            }
        }
        self.prediction.symbols.clone_from(&self.kept.0);
        self.levels.clone_from(&self.kept.1);
        bits
    }

    fn body(&mut self, grid: (usize, usize), slices: usize, picture_number: u16) -> (Vec<u8>, Vec<usize>) {
        self.map.assign(grid, slices);
        let channels = self.bank.latent_channels;
        let mut body = vec![];
        let mut lengths = Vec::with_capacity(slices);
        for slice in 0..slices {
            let begin = body.len();
            let mut encoder = RangeEncoder::new(&mut body);
            for latents in self.bank.predictor.groups() {
                for &position in self.map.positions(slice) {
                    let at = position as usize * channels + latents.start;
                    let symbols = &self.prediction.symbols[at..at + latents.len()];
                    for (&q, &level) in symbols.iter().zip(&self.levels[at..at + latents.len()]) {
                        if level > 0 {
                            self.bank.gaussian[usize::from(level)].encode(&mut encoder, q);
                        }
                    }
                }
            }
            encoder.finish();
            bitstream::push_crc(&mut body, begin, Segment::Slice(picture_number, slice).seed());
            lengths.push(body.len() - begin);
        }
        (body, lengths)
    }
}

/// Whether a pass looks at this symbol: a half of them, which a hash of both draws.
fn drawn(pass: usize, at: usize) -> bool {
    let mixed = (at as u32).wrapping_mul(0x9e37_79b9) ^ (pass as u32).wrapping_mul(0x85eb_ca6b);
    mixed.wrapping_mul(0xc2b2_ae35) >> 31 == 0
}

/// Share of the pixels of a row or column of cells that lie inside a picture of this height or width.
fn visible(pixels: usize, cell: usize) -> f32 {
    (pixels - STRIDE * cell).min(STRIDE) as f32 / STRIDE as f32
}

/// The nearest whole number, the one below it or 0, whichever costs least in distortion plus rate, in bits. (What it
/// does to the tables of later groups is not looked at.)
fn cheapest(residual: f32, table: &Table, bits_per_square: f32) -> i32 {
    let magnitude = residual.abs().min((SYMBOL_MAX - 1) as f32);
    let cost = |q: i32| bits_per_square * (magnitude - q as f32).powi(2) + table.cost_bits(q) as f32;
    let nearest = magnitude.round() as i32;
    let q = [nearest, nearest - 1]
        .into_iter()
        .filter(|&q| q > 0)
        .fold(0, |best, q| if cost(q) <= cost(best) { q } else { best });
    if residual < 0.0 { -q } else { q }
}
