//! The two transforms: pictures to latents ([`Analysis`], sender only) and back ([`Synthesis`]).
//!
//! Samples are 0…1 inside. Neither feeds the entropy coder, so neither would have to be exact; they are all the same.

use image::RgbImage;

use super::convolution::{Convolution, Finish, Map, Row};
use super::halved::{self, Halving, Tiles};
use super::layers::{BLOCK, BlockSynthesis, Doubling, Gdn, LastDoubling, OVERLAP, STRIDE, Strided, signed_root};
use super::predictor::{Prediction, Predictor};
use super::weights::Weights;
use crate::Result;
use crate::dsp::lanes::{LANES, Simd};

/// Unit of the fine branch's latents, as in training.
pub(super) const FINE_UNIT: f32 = 5.7;
/// Weight of the fine branch's picture, as in training.
pub(super) const FINE_SHARE: f32 = 0.1;

/// Rows of a `[rate][n]` table.
#[derive(Debug)]
pub(super) struct PerRate {
    values: Vec<f32>,
    length: usize,
}

impl PerRate {
    fn load(weights: &Weights, name: &str, length: usize) -> Result<Self> {
        Ok(Self { values: weights.floats(name, &[weights.configuration.names.len(), length])?, length })
    }

    pub(super) fn of(&self, rate: usize) -> &[f32] {
        &self.values[rate * self.length..][..self.length]
    }
}

/// The sender's networks.
#[derive(Debug)]
pub struct Analysis {
    first: Strided,
    fine: [Halving; 2],
    gdns: [Gdn; 2],
    shape: [PerRate; 2],
    block: Strided,
    hyper: [Strided; 3],
    gain: PerRate,
    /// The fine branch's latents times this are in the block's unit, channel by channel.
    fine_gain: Vec<f32>,
}

/// The sender's workspace.
#[derive(Debug, Default)]
pub struct AnalysisSpace {
    picture: Map,
    fine: [Map; 2],
    scratch: Vec<f32>,
    tiles: Tiles,
    last: Map,
    /// Latents times their gain.
    pub latents: Map,
    rooted: Map,
    hyper: [Map; 2],
}

impl Analysis {
    /// Packs the networks.
    pub fn load(weights: &Weights) -> Result<Self> {
        let c = &weights.configuration;
        let (width, latents, hyper) = (c.width, c.latents, c.hyper);
        let mut gain = PerRate::load(weights, "log_gain", latents)?;
        gain.values.iter_mut().for_each(|g| *g = g.exp());
        Ok(Self {
            first: Strided::load(weights, "fine_analysis.convs.0", (3, width), 8, 4, 2)?,
            fine: [
                Halving::load(weights, "fine_analysis.convs.1", width, width)?,
                Halving::load(weights, "fine_analysis.convs.2", width, latents)?,
            ],
            gdns: [
                Gdn::load(weights, "fine_analysis.gdns.0", width, false)?,
                Gdn::load(weights, "fine_analysis.gdns.1", width, false)?,
            ],
            shape: [
                PerRate::load(weights, "fine_analysis.shape.0", width)?,
                PerRate::load(weights, "fine_analysis.shape.1", width)?,
            ],
            block: Strided::load(weights, "block_analysis", (3, latents), BLOCK, STRIDE, OVERLAP)?,
            hyper: [
                Strided::load(weights, "hyper_analysis.0", (latents, hyper), 3, 1, 1)?,
                Strided::load(weights, "hyper_analysis.2", (hyper, hyper), 5, 2, 2)?,
                Strided::load(weights, "hyper_analysis.4", (hyper, hyper), 5, 2, 2)?,
            ],
            gain,
            fine_gain: vec![FINE_UNIT.recip(); latents],
        })
    }

    /// Fills `space.latents` with the picture's latents times the rate's gain. The last row and column of an uneven
    /// picture are repeated up to a multiple of 16.
    pub fn latents(&self, simd: Simd, picture: &RgbImage, rate: usize, space: &mut AnalysisSpace) {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let (rows, columns) = (height.div_ceil(STRIDE), width.div_ceil(STRIDE));
        let channels = self.gain.length;
        space.picture.shape(STRIDE * rows, STRIDE * columns, 3, OVERLAP);
        for y in 0..STRIDE * rows {
            let from = &picture.as_raw()[3 * width * y.min(height - 1)..][..3 * width];
            let to = space.picture.row_mut(y);
            for (t, &f) in to.iter_mut().zip(from) {
                *t = f32::from(f) / 255.0 - 0.5;
            }
            for x in 3 * width..to.len() {
                to[x] = to[x - 3];
            }
        }
        let fine_width = self.shape[0].length;
        space.fine[0].shape(4 * rows, 4 * columns, fine_width, 2);
        space.fine[1].shape(2 * rows, 2 * columns, fine_width, 2);
        space.last.shape(rows, columns, channels, 0);
        space.latents.shape(rows, columns, channels, 0);
        space.scratch.resize(4 * columns * fine_width, 0.0);
        let [first, second] = &mut space.fine;
        self.first.apply(simd, &space.picture, first, Finish::Scaled(self.shape[0].of(rate)));
        self.gdns[0].apply(simd, first, &mut space.scratch);
        self.fine[0].apply(simd, first, second, self.shape[1].of(rate), &mut space.tiles);
        self.gdns[1].apply(simd, second, &mut space.scratch);
        self.fine[1].apply(simd, second, &mut space.last, &self.fine_gain, &mut space.tiles);
        self.block.apply(simd, &space.picture, &mut space.latents, Finish::Store);
        let gain = self.gain.of(rate);
        let both = space.latents.data.chunks_exact_mut(channels).zip(space.last.data.chunks_exact(channels));
        for (block, fine) in both {
            for ((b, &f), &g) in block.iter_mut().zip(fine).zip(gain) {
                *b = (*b + f) * g;
            }
        }
    }

    /// Fills `prediction.z` from `space.latents`, rounded to whole numbers.
    pub fn hyper(&self, simd: Simd, space: &mut AnalysisSpace, z: &mut Map) {
        let (rows, columns) = (space.latents.height, space.latents.width);
        let (channels, hyper) = (space.latents.channels, z.channels);
        space.rooted.shape(rows, columns, channels, 1);
        for y in 0..rows {
            for (to, &from) in space.rooted.row_mut(y).iter_mut().zip(space.latents.row(y)) {
                *to = signed_root(from);
            }
        }
        space.hyper[0].shape(rows, columns, hyper, 2);
        space.hyper[1].shape(rows.div_ceil(2), columns.div_ceil(2), hyper, 2);
        let [first, second] = &mut space.hyper;
        self.hyper[0].apply(simd, &space.rooted, first, Finish::Leaky);
        self.hyper[1].apply(simd, first, second, Finish::Leaky);
        self.hyper[2].apply(simd, second, z, Finish::Store);
        for y in 0..z.height {
            z.row_mut(y).iter_mut().for_each(|v| *v = v.round());
        }
    }
}

/// The mean of the latents, which is part of both transforms.
#[derive(Debug)]
pub struct Mean {
    layer: Convolution,
    unit: PerRate,
}

impl Mean {
    /// Packs the layer.
    pub fn load(weights: &Weights) -> Result<Self> {
        let (features, latents) = (weights.configuration.features, weights.configuration.latents);
        let w = weights.floats("mean.weight", &[latents, features, 1, 1])?;
        let bias = weights.floats("mean.bias", &[latents])?;
        let layer = Convolution::pointwise(features, &bias, |i, o| w[o * features + i]);
        Ok(Self { layer, unit: PerRate::load(weights, "mean_unit", latents)? })
    }

    /// Per latent, the unit of its mean at a rate.
    pub(super) fn unit(&self, rate: usize) -> &[f32] {
        self.unit.of(rate)
    }

    /// `[position][channel]` from the hyper features.
    pub fn fill(&self, simd: Simd, predictor: &Predictor, p: &Prediction, rate: usize, mean: &mut Vec<f32>) {
        let (rows, columns) = p.grid();
        let latents = self.unit.length;
        mean.resize(rows * columns * latents, 0.0);
        let (features, step) = predictor.features(p);
        let row = Row {
            input_start: 0,
            input_stride: 0,
            input_step: step,
            output_start: 0,
            output_step: latents,
            count: rows * columns,
        };
        self.layer.row(simd, features, mean, row, Finish::Scaled(self.unit.of(rate)));
    }
}

/// The receiver's networks.
#[derive(Debug)]
pub struct Synthesis {
    pub(super) doublings: [halved::Doubling; 2],
    /// Few outputs: fewer products would not make up for more sums.
    pub(super) third: Doubling,
    pub(super) gdns: [Gdn; 3],
    pub(super) shape: [PerRate; 3],
    pub(super) last: LastDoubling,
    pub(super) block: BlockSynthesis,
    pub(super) step: PerRate,
    pub(super) unit: PerRate,
    pub(super) bias: PerRate,
}

/// The receiver's workspace.
#[derive(Debug, Default)]
pub struct SynthesisSpace {
    /// Latents less their means, in steps: to be shaped and filled by the caller.
    pub latents: Map,
    rooted: Map,
    fine: [Map; 3],
    picture: Vec<f32>,
    scratch: Vec<f32>,
    tiles: Tiles,
}

impl Synthesis {
    /// Packs the networks.
    pub fn load(weights: &Weights) -> Result<Self> {
        let c = &weights.configuration;
        let (w0, w1, w2) = (c.widths[0], c.widths[1], c.widths[2]);
        let mut step = PerRate::load(weights, "log_gain", c.latents)?;
        step.values.iter_mut().for_each(|g| *g = (-*g).exp());
        let name = |part: &str, i: usize| format!("fine_synthesis.{part}.{i}");
        let gdn = |i: usize, width| Gdn::load(weights, &name("gdns", i), width, true);
        let shape = |i: usize, width| PerRate::load(weights, &name("shape", i), width);
        Ok(Self {
            doublings: [
                halved::Doubling::load(weights, &name("convs", 0), c.latents, w0)?,
                halved::Doubling::load(weights, &name("convs", 1), w0, w1)?,
            ],
            third: Doubling::load(weights, &name("convs", 2), w1, w2)?,
            gdns: [gdn(0, w0)?, gdn(1, w1)?, gdn(2, w2)?],
            shape: [shape(0, w0)?, shape(1, w1)?, shape(2, w2)?],
            last: LastDoubling::load(weights, &name("convs", 3), w2, FINE_SHARE)?,
            block: BlockSynthesis::load(weights, "block_synthesis", c.latents)?,
            step,
            unit: PerRate::load(weights, "synthesis_unit", c.latents)?,
            bias: PerRate::load(weights, "synthesis_bias", c.latents)?,
        })
    }

    /// Draws the picture of `space.latents` (residuals, in steps) plus their means into `image`, which has its size.
    pub fn picture(&self, simd: Simd, mean: &[f32], rate: usize, space: &mut SynthesisSpace, image: &mut RgbImage) {
        let (rows, columns, channels) = (space.latents.height, space.latents.width, self.step.length);
        space.rooted.shape(rows, columns, channels, 1);
        let (step, unit, bias) = (self.step.of(rate), self.unit.of(rate), self.bias.of(rate));
        for y in 0..rows {
            let means = mean[y * columns * channels..].chunks_exact(channels);
            let latents = space.latents.row_mut(y).chunks_exact_mut(channels);
            let rooted = space.rooted.row_mut(y).chunks_exact_mut(channels);
            for ((latents, rooted), means) in latents.zip(rooted).zip(means) {
                for c in 0..channels {
                    latents[c] = (latents[c] + means[c]) * step[c];
                    rooted[c] = signed_root(latents[c] * FINE_UNIT) * unit[c] + bias[c];
                }
            }
        }
        self.fine(simd, rate, space);
        let stride = 3 * (STRIDE * columns + 2 * OVERLAP);
        space.picture.resize(STRIDE * rows * stride, 0.0);
        space.scratch.resize(self.block.scratch(columns).max(STRIDE / 2 * columns * LANES), 0.0);
        self.block.draw(simd, &space.latents, &mut space.picture, stride, &mut space.scratch);
        self.last.add(simd, &space.fine[2], &mut space.picture, stride, &mut space.scratch);
        let width = 3 * image.width() as usize;
        for (to, from) in image.chunks_exact_mut(width).zip(space.picture.chunks_exact(stride)) {
            for (t, &f) in to.iter_mut().zip(&from[3 * OVERLAP..]) {
                *t = (f * 255.0 + 0.5) as u8;
            }
        }
    }

    /// Layer `i` of the fine branch, without its GDN, into a map that has its shape.
    pub(super) fn double(&self, simd: Simd, i: usize, rate: usize, (from, to): (&Map, &mut Map), tiles: &mut Tiles) {
        let factors = self.shape[i].of(rate);
        match self.doublings.get(i) {
            Some(layer) => layer.apply(simd, from, to, factors, tiles),
            None => self.third.apply(simd, from, to, Finish::Scaled(factors)),
        }
    }

    fn fine(&self, simd: Simd, rate: usize, space: &mut SynthesisSpace) {
        let (rows, columns) = (space.latents.height, space.latents.width);
        for i in 0..3 {
            let (scale, width) = (2 << i, self.shape[i].length);
            space.fine[i].shape(scale * rows, scale * columns, width, 1);
            space.scratch.resize(space.scratch.len().max(scale * columns * width), 0.0);
            let (done, rest) = space.fine.split_at_mut(i);
            let input = done.last().unwrap_or(&space.rooted);
            self.double(simd, i, rate, (input, &mut rest[0]), &mut space.tiles);
            self.gdns[i].apply(simd, &mut rest[0], &mut space.scratch);
        }
    }
}
