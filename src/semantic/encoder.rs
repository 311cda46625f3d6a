//! Pictures to bits.

use std::sync::Arc;

use image::RgbImage;

use super::bank::Bank;
use super::bitstream::{self, Header, PIXELS_MAX, Segment, SliceMap};
use super::layers::STRIDE;
use super::predictor::{GROUPS, Prediction, group_start};
use super::range_coder::{RangeEncoder, SYMBOL_MAX, Table};
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
        }
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
        let y_bits = self.quantise(model, (height, width));
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

    /// Fills symbols and levels; gives the bits that the tables assign. A symbol at the lowest level is not sent: it is 0.
    fn quantise(&mut self, model: usize, (height, width): (usize, usize)) -> f64 {
        let columns = width.div_ceil(STRIDE);
        let bank = &self.bank;
        let channels = bank.latent_channels;
        self.levels.resize(self.mean.len(), 0);
        let mut bits = 0.0;
        for (group, &size) in GROUPS.iter().enumerate() {
            bank.predictor.predict(self.simd, &mut self.prediction, group, model);
            let first = group_start(group);
            for (position, levels) in
                self.prediction.levels.chunks_exact(size).take(self.mean.len() / channels).enumerate()
            {
                let at = position * channels + first;
                let weight = visible(height, position / columns) * visible(width, position % columns);
                let weight = BITS_PER_SQUARE * weight.max(WEIGHT_MIN);
                self.levels[at..at + size].copy_from_slice(levels);
                for (offset, &level) in levels.iter().enumerate().filter(|(_, level)| **level > 0) {
                    let residual = self.space.latents.data[at + offset] - self.mean[at + offset];
                    let q = cheapest(residual, &bank.gaussian[usize::from(level)], weight);
                    self.prediction.symbols[at + offset] = q;
                    bits += bank.gaussian[usize::from(level)].cost_bits(q);
                }
            }
        }
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
            for (group, &size) in GROUPS.iter().enumerate() {
                for &position in self.map.positions(slice) {
                    let at = position as usize * channels + group_start(group);
                    let symbols = &self.prediction.symbols[at..at + size];
                    for (&q, &level) in symbols.iter().zip(&self.levels[at..at + size]) {
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
