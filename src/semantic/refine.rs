//! Symbols chosen against the very picture that the receiver will draw, for encoders that have time ([`Effort`]).
//!
//! What is minimised is what the network was trained for: bits + λ·(squared error, 0…255)/3, the bits as the coding
//! tables count them. Around the present symbols q the error is a parabola in each latent, of slope g (by the adjoint of
//! the decoder's networks) and curvature h, so a pass chooses symbols anew as the encoder always does, but towards the
//! bottom of the parabola, q − g/2h, and at h bits a square. A pass that does not lower the sum is taken back.
//!
//! [`Effort`]: super::encoder::Encoder::set_effort

use image::RgbImage;

use super::convolution::{Convolution, Finish, Map};
use super::halved::{Halving, Tiles};
use super::layers::{BLOCK, OVERLAP, STRIDE, Strided, pointwise, signed_root};
use super::transform::{FINE_SHARE, FINE_UNIT, Synthesis};
use super::weights::Weights;
use crate::Result;
use crate::dsp::lanes::{LANES, Simd};

/// The decoder's networks from pictures back to latents.
#[derive(Debug)]
pub struct Adjoint {
    block: Strided,
    last: Strided,
    doublings: [Halving; 3],
    /// Γ transposed.
    gdns: [Convolution; 3],
    ones: Vec<f32>,
}

/// Everything that a pass keeps.
#[derive(Debug, Default)]
pub struct RefineSpace {
    /// Latents in their own unit.
    latents: Map,
    rooted: Map,
    /// Before and after the inverse GDN, and the factor between.
    before: [Map; 3],
    after: [Map; 3],
    norms: [Map; 3],
    picture: Vec<f32>,
    scratch: Vec<f32>,
    tiles: Tiles,
    /// Gradient over the picture, 0…1.
    error: Map,
    shaped: [Map; 3],
    back: [Map; 3],
    back_latents: Map,
    back_rooted: Map,
    probed: Vec<f32>,
    /// Half the second derivative of the error in each latent channel, in steps: means over the positions.
    pub curvatures: Vec<f32>,
}

/// What is drawn, and how.
#[derive(Clone, Copy)]
pub struct Drawing<'a> {
    /// Lanes.
    pub simd: Simd,
    /// The receiver's networks.
    pub synthesis: &'a Synthesis,
    /// Model.
    pub rate: usize,
    /// What should come out.
    pub target: &'a RgbImage,
}

/// Distance, in steps, over which curvatures are measured.
const PROBE: f32 = 0.5;
/// Bounds of a curvature in bits: where a small picture gives it badly.
const CURVATURES: [f32; 2] = [3.0, 100.0];

impl Adjoint {
    /// Packs the networks.
    pub fn load(weights: &Weights) -> Result<Self> {
        let c = &weights.configuration;
        let (w0, w1, w2) = (c.widths[0], c.widths[1], c.widths[2]);
        let name = |i: usize| format!("fine_synthesis.convs.{i}");
        let halving = |i, inputs, outputs| Halving::adjoint(weights, &name(i), inputs, outputs);
        let gdn = |i: usize, channels: usize| -> Result<Convolution> {
            let gamma = weights.floats(&format!("fine_synthesis.gdns.{i}.gamma"), &[channels, channels])?;
            let zeros = vec![0.0; channels];
            Ok(Convolution::pointwise(channels, &zeros, |i, o| gamma[i * channels + o] * gamma[i * channels + o]))
        };
        Ok(Self {
            block: Strided::adjoint(weights, "block_synthesis", (c.latents, 3), BLOCK, STRIDE, OVERLAP)?,
            last: Strided::adjoint(weights, &name(3), (w2, 3), 5, 2, 2)?,
            doublings: [halving(0, w0, c.latents)?, halving(1, w1, w0)?, halving(2, w2, w1)?],
            ones: vec![1.0; c.latents.max(w0).max(w1)],
            gdns: [gdn(0, w0)?, gdn(1, w1)?, gdn(2, w2)?],
        })
    }
}

impl RefineSpace {
    /// Draws symbols plus means as the receiver does, but without rounding to whole samples; gives the squared error
    /// inside the picture, 0…255.
    pub fn draw(
        &mut self,
        drawing: Drawing,
        (rows, columns): (usize, usize),
        residuals: impl Fn(usize) -> f32,
        mean: &[f32],
    ) -> f64 {
        let Drawing { simd, synthesis, rate, target } = drawing;
        let (step, unit, bias) = (synthesis.step.of(rate), synthesis.unit.of(rate), synthesis.bias.of(rate));
        let channels = step.len();
        self.latents.shape(rows, columns, channels, 0);
        self.rooted.shape(rows, columns, channels, 1);
        for y in 0..rows {
            let first = y * columns * channels;
            let latents = self.latents.row_mut(y);
            let rooted = self.rooted.row_mut(y);
            for (at, (latent, rooted)) in latents.iter_mut().zip(rooted).enumerate() {
                let c = at % channels;
                *latent = (residuals(first + at) + mean[first + at]) * step[c];
                *rooted = signed_root(*latent * FINE_UNIT) * unit[c] + bias[c];
            }
        }
        for i in 0..3 {
            let (scale, shape) = (2 << i, synthesis.shape[i].of(rate));
            for map in [&mut self.before[i], &mut self.after[i], &mut self.norms[i]] {
                map.shape(scale * rows, scale * columns, shape.len(), 1);
            }
            self.scratch.resize(self.scratch.len().max(scale * columns * shape.len()), 0.0);
            let (done, rest) = self.after.split_at_mut(i);
            let input = done.last().unwrap_or(&self.rooted);
            let before = &mut self.before[i];
            synthesis.double(simd, i, rate, (input, before), &mut self.tiles);
            synthesis.gdns[i].norms(simd, before, &mut self.norms[i], &mut self.scratch);
            for ((to, &x), &norm) in rest[0].data.iter_mut().zip(&before.data).zip(&self.norms[i].data) {
                *to = x * norm;
            }
        }
        let stride = 3 * (STRIDE * columns + 2 * OVERLAP);
        self.picture.resize(STRIDE * rows * stride, 0.0);
        let scratch = synthesis.block.scratch(columns).max(STRIDE / 2 * columns * LANES);
        self.scratch.resize(self.scratch.len().max(scratch), 0.0);
        synthesis.block.draw(simd, &self.latents, &mut self.picture, stride, &mut self.scratch);
        synthesis.last.add(simd, &self.after[2], &mut self.picture, stride, &mut self.scratch);
        self.error.shape(STRIDE * rows, STRIDE * columns, 3, OVERLAP);
        let width = 3 * target.width() as usize;
        let mut sum = 0.0;
        for (y, samples) in target.as_raw().chunks_exact(width).enumerate() {
            let drawn = &self.picture[y * stride + 3 * OVERLAP..][..width];
            let mut line = 0.0;
            for ((to, &f), &t) in self.error.row_mut(y).iter_mut().zip(drawn).zip(samples) {
                *to = f.clamp(0.0, 1.0) - f32::from(t) / 255.0;
                line += *to * *to;
            }
            sum += f64::from(line);
        }
        65025.0 * sum
    }

    /// The derivative, in each latent's steps, of `worth` times what [`Self::draw`] gave last.
    pub fn slopes(&mut self, drawing: Drawing, adjoint: &Adjoint, worth: f64, slopes: &mut Vec<f32>) {
        let Drawing { simd, synthesis, rate, .. } = drawing;
        let factor = (2.0 * 65025.0 * worth) as f32;
        let (rows, columns, channels) = (self.latents.height, self.latents.width, self.latents.channels);
        self.back_latents.shape(rows, columns, channels, 0);
        self.back_rooted.shape(rows, columns, channels, 0);
        for i in 0..3 {
            let (height, width, inner) = (self.before[i].height, self.before[i].width, self.before[i].channels);
            self.back[i].shape(height, width, inner, 0);
            self.shaped[i].shape(height, width, inner, 2);
        }
        adjoint.last.apply(simd, &self.error, &mut self.back[2], Finish::Store);
        for i in (0..3).rev() {
            let shape = synthesis.shape[i].of(rate);
            let share = if i == 2 { FINE_SHARE } else { 1.0 };
            for y in 0..self.before[i].height {
                let (gradient, before) = (self.back[i].row(y), self.before[i].row(y));
                let products = &mut self.scratch[..gradient.len()];
                for ((to, &g), &x) in products.iter_mut().zip(gradient).zip(before) {
                    *to = g * x;
                }
                let row = pointwise(&self.shaped[i], y);
                adjoint.gdns[i].row(simd, products, &mut self.shaped[i].data, row, Finish::Scaled(shape));
                let norms = self.norms[i].row(y);
                let line = self.shaped[i].row_mut(y).chunks_exact_mut(shape.len());
                let rest = gradient.chunks_exact(shape.len()).zip(before.chunks_exact(shape.len()));
                for ((to, (gradient, before)), norms) in line.zip(rest).zip(norms.chunks_exact(shape.len())) {
                    for c in 0..shape.len() {
                        let turned = if before[c] < 0.0 { -to[c] } else { to[c] };
                        to[c] = share * (gradient[c] * norms[c] * shape[c] + turned);
                    }
                }
            }
            let (lower, _) = self.back.split_at_mut(i);
            let to = lower.last_mut().unwrap_or(&mut self.back_rooted);
            adjoint.doublings[i].apply(simd, &self.shaped[i], to, &adjoint.ones, &mut self.tiles);
        }
        adjoint.block.apply(simd, &self.error, &mut self.back_latents, Finish::Store);
        let (step, unit) = (synthesis.step.of(rate), synthesis.unit.of(rate));
        slopes.clear();
        let all = self.back_latents.data.iter().zip(&self.back_rooted.data).zip(&self.latents.data);
        slopes.extend(all.enumerate().map(|(at, ((&block, &fine), &latent))| {
            let c = at % channels;
            let root = 0.5 * FINE_UNIT * unit[c] / ((latent * FINE_UNIT).abs() + 0.25).sqrt();
            factor * step[c] * (block + fine * root)
        }));
    }

    /// Measures [`Self::curvatures`] at the residuals whose slopes are given: all latents move at once, each up or down by
    /// chance, so what they do to each other's slopes is lost in the mean over the positions.
    pub fn curvatures(
        &mut self,
        drawing: Drawing,
        adjoint: &Adjoint,
        worth: f64,
        residuals: impl Fn(usize) -> f32,
        mean: &[f32],
        slopes: &[f32],
    ) {
        let (grid, channels) = ((self.latents.height, self.latents.width), self.latents.channels);
        let up = |at: usize| (at as u32).wrapping_mul(0x9e37_79b9) >> 16 & 1 == 0;
        let moved = |at: usize| if up(at) { PROBE } else { -PROBE };
        self.draw(drawing, grid, |at| residuals(at) + moved(at), mean);
        let mut probed = std::mem::take(&mut self.probed);
        self.slopes(drawing, adjoint, worth, &mut probed);
        self.curvatures.clear();
        self.curvatures.resize(channels, 0.0);
        let share = 1.0 / (2.0 * (grid.0 * grid.1) as f32);
        for (at, (after, before)) in probed.iter().zip(slopes).enumerate() {
            self.curvatures[at % channels] += (after - before) / moved(at) * share;
        }
        self.curvatures.iter_mut().for_each(|c| *c = c.clamp(CURVATURES[0], CURVATURES[1]));
        self.probed = probed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::Bank;
    use image::Rgb;

    #[test]
    fn slopes_are_the_differences_of_the_error() {
        let bank = Bank::shipped();
        let target = RgbImage::from_fn(45, 30, |x, y| Rgb([(3 * x + y) as u8, (x * y) as u8, (90 + 2 * y) as u8]));
        let (grid, channels) = ((2, 3), bank.latent_channels);
        let count = grid.0 * grid.1 * channels;
        let symbols: Vec<f32> = (0..count).map(|at| ((at * 7919) % 5) as f32 - 2.0).map(|q| q * 0.3).collect();
        let mean = vec![0.2; count];
        let mut space = RefineSpace::default();
        for simd in Simd::all() {
            let drawing = Drawing { simd, synthesis: &bank.synthesis, rate: 2, target: &target };
            let mut slopes = vec![];
            space.draw(drawing, grid, |at| symbols[at], &mean);
            space.slopes(drawing, &bank.adjoint, 1.0, &mut slopes);
            let largest = slopes.iter().fold(0.0f32, |largest, slope| largest.max(slope.abs()));
            for probe in (0..count).step_by(97) {
                let mut beside =
                    |by: f32| space.draw(drawing, grid, |at| symbols[at] + if at == probe { by } else { 0.0 }, &mean);
                let slope = (beside(0.05) - beside(-0.05)) / 0.1;
                // the error is curved, and single precision ends at a millionth of it
                assert!((slope as f32 - slopes[probe]).abs() < 0.02 * largest, "{probe}: {slope}, {}", slopes[probe]);
            }
        }
    }
}
