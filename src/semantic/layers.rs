//! Layers of the codec as rows of [`Convolution`]s, packed from PyTorch's weight layouts.

use super::convolution::{Convolution, Finish, Map, Row, Rows};
use super::weights::Weights;
use crate::Result;
use crate::dsp::lanes::{LANES, Simd};

/// A k×k convolution of a given stride; output i reads inputs from `stride · i − padding` on.
#[derive(Debug)]
pub struct Strided {
    kernel: Convolution,
    stride: usize,
}

impl Strided {
    /// From PyTorch's `Conv2d` layout (out, in, k, k).
    pub fn load(
        weights: &Weights,
        name: &str,
        ends: (usize, usize),
        k: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let (inputs, outputs) = ends;
        let w = weights.floats(&format!("{name}.weight"), &[outputs, inputs, k, k])?;
        let bias = weights.floats(&format!("{name}.bias"), &[outputs])?;
        Ok(Self { kernel: Self::pack(&w, &bias, inputs, k, padding), stride })
    }

    /// What a transposed convolution of this name, without its bias, carries gradients back by. `ends` are those of the
    /// transposed one; its layout (in, out, k, k) is that of the convolution which undoes its strides.
    pub fn adjoint(
        weights: &Weights,
        name: &str,
        ends: (usize, usize),
        k: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let (outputs, inputs) = ends;
        let w = weights.floats(&format!("{name}.weight"), &[outputs, inputs, k, k])?;
        Ok(Self { kernel: Self::pack(&w, &vec![0.0; outputs], inputs, k, padding), stride })
    }

    fn pack(w: &[f32], bias: &[f32], inputs: usize, k: usize, padding: usize) -> Convolution {
        let runs = (0..k as isize).map(|y| (y - padding as isize, -((padding * inputs) as isize))).collect();
        Convolution::new(runs, k * inputs, bias, |y, i, o| w[((o * inputs + i % inputs) * k + y) * k + i / inputs])
    }

    /// Computes the whole output map, which has its shape already.
    pub fn apply(&self, simd: Simd, input: &Map, output: &mut Map, finish: Finish) {
        let first = Row {
            input_start: input.start(0),
            input_stride: input.row_stride(),
            input_step: self.stride * input.channels,
            output_start: output.start(0),
            output_step: output.channels,
            count: output.width,
        };
        let (input_step, output_step) = (self.stride * input.row_stride(), output.row_stride());
        let rows = Rows { first, count: output.height, input_step, output_step };
        self.kernel.rows(simd, &input.data, &mut output.data, rows, finish);
    }
}

/// A 5×5 transposed convolution of stride 2 (padding 2, output padding 1), as four convolutions, one per phase.
#[derive(Debug)]
pub struct Doubling {
    phases: [Convolution; 4],
}

impl Doubling {
    /// From PyTorch's `ConvTranspose2d` layout (in, out, 5, 5).
    pub fn load(weights: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let w = weights.floats(&format!("{name}.weight"), &[inputs, outputs, 5, 5])?;
        let bias = weights.floats(&format!("{name}.bias"), &[outputs])?;
        let phases = std::array::from_fn(|phase| {
            let (py, px) = (phase / 2, phase % 2);
            let columns = 3 - px;
            let runs = offsets(py).map(|dy| (dy, offsets(px).start * inputs as isize)).collect();
            Convolution::new(runs, columns * inputs, &bias, |r, i, o| {
                let (ky, kx) = (tap(py, r), tap(px, i / inputs));
                w[((i % inputs * outputs + o) * 5 + ky) * 5 + kx]
            })
        });
        Ok(Self { phases })
    }

    /// Computes the whole output map, twice the input's size.
    pub fn apply(&self, simd: Simd, input: &Map, output: &mut Map, finish: Finish) {
        for (phase, kernel) in self.phases.iter().enumerate() {
            let (py, px) = (phase / 2, phase % 2);
            let first = Row {
                input_start: input.start(0),
                input_stride: input.row_stride(),
                input_step: input.channels,
                output_start: output.start(py) + px * output.channels,
                output_step: 2 * output.channels,
                count: input.width,
            };
            let (input_step, output_step) = (input.row_stride(), 2 * output.row_stride());
            let rows = Rows { first, count: input.height, input_step, output_step };
            kernel.rows(simd, &input.data, &mut output.data, rows, finish);
        }
    }
}

/// Input offsets of a phase: output 2 i + phase sums inputs i − 1 ..= i + 1 (phase 0) or i ..= i + 1 (phase 1).
fn offsets(phase: usize) -> std::ops::Range<isize> {
    phase as isize - 1..2
}

/// Kernel index of the r-th offset of a phase: output 2 i + phase = 2 (i + offset) − 2 + k.
fn tap(phase: usize, r: usize) -> usize {
    (phase as isize + 2 - 2 * (offsets(phase).start + r as isize)) as usize
}

/// The decoder's last layer: a transposed convolution to three colours, its four phases side by side in one vector.
#[derive(Debug)]
pub struct LastDoubling {
    kernel: Convolution,
}

impl LastDoubling {
    /// From PyTorch's `ConvTranspose2d` layout (in, 3, 5, 5); everything is multiplied by `factor`.
    pub fn load(weights: &Weights, name: &str, inputs: usize, factor: f32) -> Result<Self> {
        let w = weights.floats(&format!("{name}.weight"), &[inputs, 3, 5, 5])?;
        let bias = weights.floats(&format!("{name}.bias"), &[3])?;
        let all: Vec<f32> = (0..12).map(|lane| bias[lane % 3] * factor).collect();
        let runs = (-1..2).map(|dy| (dy, -(inputs as isize))).collect();
        let kernel = Convolution::new(runs, 3 * inputs, &all, |r, i, lane| {
            let (py, px, colour) = (lane / 6, lane / 3 % 2, lane % 3);
            let (ky, kx) = (py as isize + 4 - 2 * r as isize, px as isize + 4 - 2 * (i / inputs) as isize);
            if ky < 0 || kx < 0 || ky > 4 || kx > 4 {
                return 0.0;
            }
            w[((i % inputs * 3 + colour) * 5 + ky as usize) * 5 + kx as usize] * factor
        });
        Ok(Self { kernel })
    }

    /// Adds to `picture`, laid out as in [`BlockSynthesis::draw`]. `scratch` holds 16 floats per column of the input.
    pub fn add(&self, simd: Simd, input: &Map, picture: &mut [f32], stride: usize, scratch: &mut [f32]) {
        for y in 0..input.height {
            let row = Row {
                input_start: input.start(y),
                input_stride: input.row_stride(),
                input_step: input.channels,
                output_start: 0,
                output_step: LANES,
                count: input.width,
            };
            self.kernel.row(simd, &input.data, scratch, row, Finish::Store);
            let (upper, lower) = picture[2 * y * stride..][..2 * stride].split_at_mut(stride);
            for (x, lanes) in scratch.chunks_exact(LANES).take(input.width).enumerate() {
                for (half, line) in [&mut *upper, &mut *lower].into_iter().enumerate() {
                    for (to, from) in line[3 * OVERLAP + 6 * x..][..6].iter_mut().zip(&lanes[6 * half..]) {
                        *to += from;
                    }
                }
            }
        }
    }
}

/// The linear 24×24 transposed transform of stride 16: a pointwise layer for every four kernel rows, overlap-added.
#[derive(Debug)]
pub struct BlockSynthesis {
    /// Four rows are whole vectors.
    rows: Vec<Convolution>,
    bias: [f32; 3],
}

/// Side and stride of the block transform.
pub const BLOCK: usize = 24;
/// Pixels per latent position and direction.
pub const STRIDE: usize = 16;
/// Pixels that a block reaches over its cell on each side.
pub const OVERLAP: usize = (BLOCK - STRIDE) / 2;
const LINE: usize = 3 * BLOCK;
/// Kernel rows of one layer.
const TOGETHER: usize = 4;

impl BlockSynthesis {
    /// From PyTorch's `ConvTranspose2d` layout (in, 3, 24, 24).
    pub fn load(weights: &Weights, name: &str, inputs: usize) -> Result<Self> {
        let w = weights.floats(&format!("{name}.weight"), &[inputs, 3, BLOCK, BLOCK])?;
        let bias = weights.floats(&format!("{name}.bias"), &[3])?;
        let rows = (0..BLOCK)
            .step_by(TOGETHER)
            .map(|first| {
                Convolution::pointwise(inputs, &[0.0; TOGETHER * LINE], |i, o| {
                    let (ky, kx, colour) = (first + o / LINE, o % LINE / 3, o % 3);
                    w[((i * 3 + colour) * BLOCK + ky) * BLOCK + kx]
                })
            })
            .collect();
        Ok(Self { rows, bias: [bias[0], bias[1], bias[2]] })
    }

    /// Floats of scratch that `draw` needs for `width` positions.
    pub fn scratch(&self, width: usize) -> usize {
        width * self.rows[0].outputs()
    }

    /// Draws the whole picture: 16·height rows of `stride` floats, whose first pixel stands `OVERLAP` pixels in.
    pub fn draw(&self, simd: Simd, input: &Map, picture: &mut [f32], stride: usize, scratch: &mut [f32]) {
        for pixel in picture.chunks_exact_mut(3) {
            pixel.copy_from_slice(&self.bias);
        }
        let height = STRIDE * input.height;
        for (group, layer) in self.rows.iter().enumerate() {
            for y in 0..input.height {
                let row = Row {
                    input_start: input.start(y),
                    input_stride: 0,
                    input_step: input.channels,
                    output_start: 0,
                    output_step: layer.outputs(),
                    count: input.width,
                };
                layer.row(simd, &input.data, scratch, row, Finish::Store);
                for (of_group, ky) in (TOGETHER * group..).take(TOGETHER).enumerate() {
                    let Some(line) = (STRIDE * y + ky).checked_sub(OVERLAP).filter(|&line| line < height) else {
                        continue;
                    };
                    let pixels = &mut picture[line * stride..][..stride];
                    for (x, sums) in scratch.chunks_exact(layer.outputs()).take(input.width).enumerate() {
                        let sums = &sums[of_group * LINE..][..LINE];
                        for (to, from) in pixels[3 * STRIDE * x..][..LINE].iter_mut().zip(sums) {
                            *to += from;
                        }
                    }
                }
            }
        }
    }
}

/// Generalised divisive normalisation x / (β + Γ|x|), or its approximate inverse x · (β + Γ|x|), in place.
#[derive(Debug)]
pub struct Gdn {
    norm: Convolution,
    inverse: bool,
}

impl Gdn {
    /// The file holds the square roots of β and Γ.
    pub fn load(weights: &Weights, name: &str, channels: usize, inverse: bool) -> Result<Self> {
        let gamma = weights.floats(&format!("{name}.gamma"), &[channels, channels])?;
        let beta = weights.floats(&format!("{name}.beta"), &[channels])?;
        let beta: Vec<f32> = beta.iter().map(|b| b * b + 1e-6).collect();
        let norm = Convolution::pointwise(channels, &beta, |i, o| gamma[o * channels + i] * gamma[o * channels + i]);
        Ok(Self { norm, inverse })
    }

    /// β + Γ|x| of a map into one of the same shape; `scratch` holds one row.
    pub fn norms(&self, simd: Simd, map: &Map, norms: &mut Map, scratch: &mut [f32]) {
        for y in 0..map.height {
            let line = map.row(y);
            let magnitudes = &mut scratch[..line.len()];
            for (to, from) in magnitudes.iter_mut().zip(line) {
                *to = from.abs();
            }
            self.norm.row(simd, magnitudes, &mut norms.data, pointwise(map, y), Finish::Store);
        }
    }

    /// `scratch` holds one row.
    pub fn apply(&self, simd: Simd, map: &mut Map, scratch: &mut [f32]) {
        let finish = if self.inverse { Finish::Multiply } else { Finish::Divide };
        for y in 0..map.height {
            let line = map.row(y);
            let magnitudes = &mut scratch[..line.len()];
            for (to, from) in magnitudes.iter_mut().zip(line) {
                *to = from.abs();
            }
            let row = pointwise(map, y);
            self.norm.row(simd, magnitudes, &mut map.data, row, finish);
        }
    }
}

/// From a row that stands alone to row `y` of a map with as many channels.
pub fn pointwise(map: &Map, y: usize) -> Row {
    Row {
        input_start: 0,
        input_stride: 0,
        input_step: map.channels,
        output_start: map.start(y),
        output_step: map.channels,
        count: map.width,
    }
}

/// sign(x)(√(|x| + 1/4) − 1/2): linear near 0, a root far off; exactly rounded steps only.
pub fn signed_root(x: f32) -> f32 {
    ((x.abs() + 0.25).sqrt() - 0.5).copysign(x)
}
