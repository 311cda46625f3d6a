//! Bits to pictures, whatever happened to them on the way.

use std::ops::Range;
use std::sync::Arc;

use image::RgbImage;

use super::bank::Bank;
use super::bitstream::{self, HEADER_BYTES, Header, Segment, SliceMap};
use super::predictor::Prediction;
use super::range_coder::RangeDecoder;
use super::transform::SynthesisSpace;
use crate::dsp::lanes::Simd;
use crate::{Error, Result};

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What the header says.
    pub header: Header,
    /// Slices of the picture.
    pub slices: usize,
    /// Slices that were concealed; all of them where lengths or hyper segment were lost.
    pub lost_slices: usize,
}

/// A decoded picture.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The picture, lost slices concealed.
    pub image: RgbImage,
    /// What became of it.
    pub report: Report,
}

/// Decodes pictures; owns the workspace, which grows to the largest picture seen and is then reused.
#[derive(Debug)]
pub struct Decoder {
    bank: Arc<Bank>,
    simd: Simd,
    prediction: Prediction,
    space: SynthesisSpace,
    mean: Vec<f32>,
    map: SliceMap,
    ranges: Vec<(usize, usize)>,
    /// Per slice; None = lost.
    streams: Vec<Option<RangeDecoder>>,
    /// Per position: it arrived.
    live: Vec<bool>,
}

impl Decoder {
    /// A decoder on the machine's fastest lanes.
    pub fn new(bank: Arc<Bank>) -> Self {
        Self::with_simd(bank, Simd::best())
    }

    /// A decoder on these lanes; the pictures are the same on all.
    pub fn with_simd(bank: Arc<Bank>, simd: Simd) -> Self {
        Self {
            bank,
            simd,
            prediction: Prediction::default(),
            space: SynthesisSpace::default(),
            mean: vec![],
            map: SliceMap::default(),
            ranges: vec![],
            streams: vec![],
            live: vec![],
        }
    }

    /// Decodes a picture of which the body's bits in `lost` (ranges of bit numbers) are known not to have arrived.
    ///
    /// Fails only where no header can be read, or it is of another bank.
    pub fn decode(&mut self, protected: &[u8], body: &[u8], lost: &[Range<usize>]) -> Result<Decoded> {
        let mut image = RgbImage::new(0, 0);
        let report = self.decode_into(protected, body, lost, &mut image)?;
        Ok(Decoded { image, report })
    }

    /// As [`Self::decode`], into a picture that is replaced only where its size differs: no allocation otherwise.
    pub fn decode_into(
        &mut self,
        protected: &[u8],
        body: &[u8],
        lost: &[Range<usize>],
        image: &mut RgbImage,
    ) -> Result<Report> {
        let header = self.header(protected)?;
        if (image.width() as usize, image.height() as usize) != (header.width, header.height) {
            *image = RgbImage::new(header.width as u32, header.height as u32);
        }
        let bank = self.bank.clone();
        let grid = header.grid();
        bank.predictor.begin(&mut self.prediction, grid, bank.hyper_channels);
        let segments = protected.get(HEADER_BYTES..).unwrap_or_default();
        let lengths = segments.get(..header.lengths_bytes).unwrap_or_default();
        let hyper = segments.get(header.lengths_bytes..).unwrap_or_default();
        let hyper_read = self.read_hyper(hyper.get(..header.hyper_bytes).unwrap_or_default(), &header);
        bank.predictor.expand(self.simd, &mut self.prediction);
        bank.mean.fill(self.simd, &bank.predictor, &self.prediction, header.model, &mut self.mean);
        self.map.assign(grid, header.slices);
        let lengths_read = bitstream::read_lengths(lengths, &header, &mut self.ranges);
        let usable = hyper_read && lengths_read;
        let lost_slices = if usable { self.open_slices(body, lost, &header) } else { header.slices };
        self.live.clear();
        self.live.resize(grid.0 * grid.1, false);
        if lost_slices < header.slices {
            self.read_slices(body, &header);
        }
        self.draw(&header, lost_slices, image);
        Ok(Report { header, slices: header.slices, lost_slices })
    }

    /// The symbols of the last picture, `[position][channel]`, zeros where they were lost.
    pub fn symbols(&self) -> &[i32] {
        &self.prediction.symbols
    }

    fn header(&self, protected: &[u8]) -> Result<Header> {
        let header = Header::read(protected)
            .ok_or_else(|| Error::input("the picture header cannot be read: not a coded picture, or damaged"))?;
        if header.bank != self.bank.digest() as u16 || header.model >= self.bank.models().len() {
            return Err(Error::input(format!(
                "the picture was coded with model bank {:04x}, this one is {:04x}",
                header.bank,
                self.bank.digest() as u16
            )));
        }
        Ok(header)
    }

    /// Fills z; zeros and false where the segment is damaged.
    fn read_hyper(&mut self, segment: &[u8], header: &Header) -> bool {
        let content = bitstream::checked(segment, Segment::Hyper(header.picture_number).seed());
        let bytes = content.unwrap_or_default();
        let mut decoder = RangeDecoder::new(bytes, 0, bytes.len());
        let z = &mut self.prediction.z;
        let tables = &self.bank.prior[header.model * z.channels..][..z.channels];
        for y in 0..z.height {
            for pixel in z.row_mut(y).chunks_exact_mut(tables.len()) {
                for (value, table) in pixel.iter_mut().zip(tables) {
                    *value = if content.is_some() { table.decode(&mut decoder, bytes) as f32 } else { 0.0 };
                }
            }
        }
        content.is_some()
    }

    /// Starts a range decoder for each slice that arrived whole; gives the number of those that did not.
    fn open_slices(&mut self, body: &[u8], lost: &[Range<usize>], header: &Header) -> usize {
        self.streams.clear();
        for (slice, &(from, to)) in self.ranges.iter().enumerate() {
            let known_lost = lost.iter().any(|l| l.start < 8 * to && l.end > 8 * from);
            let seed = Segment::Slice(header.picture_number, slice).seed();
            let whole = body.get(from..to).filter(|_| !known_lost).and_then(|bytes| bitstream::checked(bytes, seed));
            self.streams.push(whole.map(|content| RangeDecoder::new(body, from, from + content.len())));
        }
        self.streams.iter().filter(|s| s.is_none()).count()
    }

    fn read_slices(&mut self, body: &[u8], header: &Header) {
        let bank = &self.bank;
        let channels = bank.latent_channels;
        for (group, latents) in bank.predictor.groups().iter().enumerate() {
            let size = latents.len();
            bank.predictor.predict(self.simd, &mut self.prediction, group, header.model);
            for (slice, stream) in self.streams.iter_mut().enumerate() {
                let Some(stream) = stream else { continue };
                for &position in self.map.positions(slice) {
                    let position = position as usize;
                    self.live[position] = true;
                    let at = position * channels + latents.start;
                    let symbols = &mut self.prediction.symbols[at..at + size];
                    let levels = &self.prediction.levels[position * size..][..size];
                    for (symbol, &level) in symbols.iter_mut().zip(levels) {
                        if level > 0 {
                            *symbol = bank.gaussian[usize::from(level)].decode(stream, body);
                        }
                    }
                }
            }
        }
    }

    fn draw(&mut self, header: &Header, lost_slices: usize, image: &mut RgbImage) {
        let (rows, columns) = header.grid();
        let channels = self.bank.latent_channels;
        let (symbols, live) = (&self.prediction.symbols, &self.live);
        let conceal = self.bank.conceal(header.model);
        let none_lives = lost_slices == header.slices;
        self.space.latents.shape(rows, columns, channels, 0);
        for (position, out) in self.space.latents.data.chunks_exact_mut(channels).enumerate() {
            if live[position] || none_lives {
                for (to, &q) in out.iter_mut().zip(&symbols[position * channels..]) {
                    *to = q as f32;
                }
            } else {
                neighbours_mean((rows, columns), position, live, symbols, out);
                for (to, share) in out.iter_mut().zip(conceal) {
                    *to *= share;
                }
            }
        }
        self.bank.synthesis.picture(self.simd, &self.mean, header.model, &mut self.space, image);
    }
}

/// Mean of the living neighbours' symbols, corners at half weight; zeros where none lives.
fn neighbours_mean(grid: (usize, usize), position: usize, live: &[bool], symbols: &[i32], out: &mut [f32]) {
    let (y, x) = (position / grid.1, position % grid.1);
    let channels = out.len();
    let mut total = 0.0;
    out.fill(0.0);
    for ny in y.saturating_sub(1)..(y + 2).min(grid.0) {
        for nx in x.saturating_sub(1)..(x + 2).min(grid.1) {
            let neighbour = ny * grid.1 + nx;
            if neighbour != position && live[neighbour] {
                let weight = if ny == y || nx == x { 1.0 } else { 0.5 };
                total += weight;
                for (sum, &q) in out.iter_mut().zip(&symbols[neighbour * channels..]) {
                    *sum += weight * q as f32;
                }
            }
        }
    }
    if total > 0.0 {
        out.iter_mut().for_each(|sum| *sum /= total);
    }
}
