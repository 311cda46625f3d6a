//! What the entropy coder believes: hyper features from z, and per channel group a table index from the symbols before.
//!
//! The only operations on the way to an index are +, ·, fused multiply-add, √ and comparison in a fixed order, all exactly
//! rounded by IEEE-754, so encoder and decoder agree on every machine. Positions do not see each other: a slice decodes
//! alone once z is there.

use std::ops::Range;

use super::convolution::{Convolution, Finish, Map, Row};
use super::layers::{Doubling, signed_root};
use super::weights::Weights;
use crate::Result;
use crate::dsp::lanes::{LANES, Simd};

/// Scales of the Gaussian tables: 64, log-spaced from 0.11 to 256.
pub const LEVELS: usize = 64;
const LOG_SCALE_MIN: f32 = -2.207_275;
const LEVELS_PER_LOG: f32 = 8.126_461;

/// Hyper-synthesis and context network.
#[derive(Debug)]
pub struct Predictor {
    hyper: [Doubling; 2],
    layers: Vec<[Convolution; 3]>,
    /// The latents of each group; a group's tables depend on all groups before it.
    groups: Vec<Range<usize>>,
    /// Hidden units per group and layer.
    hidden: usize,
    /// `[rate][channel]`.
    log_scale_bias: Vec<f32>,
    features: usize,
    latents: usize,
}

/// The predictor's workspace; holds the hyper features and the symbols known so far.
#[derive(Debug, Default)]
pub struct Prediction {
    /// z, to be filled by the caller.
    pub z: Map,
    middle: Map,
    features: Map,
    /// Per position: hyper features, then signed roots of the symbols.
    inputs: Vec<f32>,
    hidden: [Vec<f32>; 2],
    output: Vec<f32>,
    /// Symbols, `[position][channel]`.
    pub symbols: Vec<i32>,
    /// Table indices of the last predicted group, `[position][channel of the group]`.
    pub levels: Vec<u8>,
    rows: usize,
    columns: usize,
}

impl Prediction {
    /// Rows and columns of latent positions.
    pub fn grid(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }
}

impl Predictor {
    /// Packs the networks.
    pub fn load(weights: &Weights) -> Result<Self> {
        let c = &weights.configuration;
        let (features, latents) = (c.features, c.latents);
        let hyper = [
            Doubling::load(weights, "hyper_synthesis.0", c.hyper, c.hyper)?,
            Doubling::load(weights, "hyper_synthesis.2", c.hyper, features)?,
        ];
        let ends = c.groups.iter().scan(0, |end, &size| {
            *end += size;
            Some(*end)
        });
        let groups: Vec<Range<usize>> = ends.zip(&c.groups).map(|(end, size)| end - size..end).collect();
        let hidden = c.hidden;
        let all = hidden * groups.len();
        let ends = [(features + latents, all), (all, all), (all, latents)];
        let mut dense = vec![];
        for (index, (inputs, outputs)) in ends.into_iter().enumerate() {
            let name = format!("context.layers.{index}");
            let w = weights.floats(&format!("{name}.weight"), &[outputs, inputs, 1, 1])?;
            dense.push((w, weights.floats(&format!("{name}.bias"), &[outputs])?, inputs));
        }
        let part = |layer: usize, first: usize, outputs: usize, inputs: usize| {
            let (w, bias, stride) = &dense[layer];
            Convolution::pointwise(inputs, &bias[first..first + outputs], |i, o| w[(first + o) * stride + i])
        };
        let layers = groups
            .iter()
            .enumerate()
            .map(|(g, latents)| {
                let seen = hidden * (g + 1);
                [
                    part(0, hidden * g, hidden, features + latents.start),
                    part(1, hidden * g, hidden, seen),
                    part(2, latents.start, latents.len(), seen),
                ]
            })
            .collect();
        let log_scale_bias = weights.floats("log_scale_bias", &[c.names.len(), latents])?;
        Ok(Self { hyper, layers, groups, hidden, log_scale_bias, features, latents })
    }

    /// The latents of each group, in the order of coding.
    pub fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// Shapes the workspace for a grid of positions and clears the symbols. `z` then has one cell per 4×4 positions.
    pub fn begin(&self, p: &mut Prediction, grid: (usize, usize), hyper_channels: usize) {
        let (rows, columns) = grid;
        let (zh, zw) = (rows.div_ceil(4), columns.div_ceil(4));
        (p.rows, p.columns) = grid;
        p.z.shape(zh, zw, hyper_channels, 1);
        p.middle.shape(2 * zh, 2 * zw, hyper_channels, 1);
        p.features.shape(4 * zh, 4 * zw, self.features, 0);
        let positions = rows * columns;
        let widest = self.groups.iter().map(|g| g.len()).max().unwrap_or(0).next_multiple_of(LANES);
        p.inputs.resize(positions * (self.features + self.latents), 0.0);
        for hidden in &mut p.hidden {
            hidden.resize(positions * self.hidden * self.groups.len(), 0.0);
        }
        p.output.resize(positions * widest, 0.0);
        p.levels.resize(positions * widest, 0);
        p.symbols.clear();
        p.symbols.resize(positions * self.latents, 0);
    }

    /// Hyper features from z.
    pub fn expand(&self, simd: Simd, p: &mut Prediction) {
        self.hyper[0].apply(simd, &p.z, &mut p.middle, Finish::Leaky);
        self.hyper[1].apply(simd, &p.middle, &mut p.features, Finish::Leaky);
        let step = self.features + self.latents;
        for y in 0..p.rows {
            let line = p.features.row(y);
            for x in 0..p.columns {
                let to = &mut p.inputs[(y * p.columns + x) * step..][..self.features];
                to.copy_from_slice(&line[x * self.features..][..self.features]);
            }
        }
    }

    /// The hyper features of all positions: first float and floats per position.
    pub fn features<'a>(&self, p: &'a Prediction) -> (&'a [f32], usize) {
        (&p.inputs, self.features + self.latents)
    }

    /// Fills `levels` for a group from `symbols` of the groups before it.
    pub fn predict(&self, simd: Simd, p: &mut Prediction, group: usize, rate: usize) {
        let positions = p.rows * p.columns;
        let step = self.features + self.latents;
        if group > 0 {
            let known = self.groups[group - 1].clone();
            for position in 0..positions {
                let symbols = &p.symbols[position * self.latents..][known.clone()];
                let to = &mut p.inputs[position * step + self.features..][known.clone()];
                for (to, &q) in to.iter_mut().zip(symbols) {
                    *to = signed_root(q as f32);
                }
            }
        }
        let [first, second, third] = &self.layers[group];
        let (begin, all) = (self.hidden * group, self.hidden * self.groups.len());
        let row = |input_step, output_start, output_step| Row {
            input_start: 0,
            input_stride: 0,
            input_step,
            output_start,
            output_step,
            count: positions,
        };
        let [one, two] = &mut p.hidden;
        first.row(simd, &p.inputs, one, row(step, begin, all), Finish::Leaky);
        second.row(simd, one, two, row(all, begin, all), Finish::Leaky);
        let width = third.outputs();
        third.row(simd, two, &mut p.output, row(all, 0, width), Finish::Store);
        let Range { start, end } = self.groups[group];
        let size = end - start;
        let bias = &self.log_scale_bias[rate * self.latents + start..][..size];
        for (levels, raw) in p.levels.chunks_exact_mut(size).zip(p.output.chunks_exact(width)).take(positions) {
            for ((level, &s), &b) in levels.iter_mut().zip(raw).zip(bias) {
                let index = ((s + b) - LOG_SCALE_MIN) * LEVELS_PER_LOG + 0.5;
                *level = index.clamp(0.0, (LEVELS - 1) as f32) as u8;
            }
        }
    }
}
