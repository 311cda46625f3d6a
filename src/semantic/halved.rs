//! 5×5 layers of stride 2 in half the multiplications, by Winograd's minimal filtering.
//!
//! In each direction such a layer is two filters, of three taps and of two, that work on every second sample or give every
//! second one. Two neighbouring outputs of a filter of three taps need four products in place of six, F(2, 3), and of one of
//! two taps three in place of four, F(2, 2): seven in place of ten, and in both directions 49 in place of 100. Products are
//! between sums of inputs, worked out once for all channels' outputs, and sums of taps, worked out when the weights are read;
//! each is a 1×1 layer over all tiles at once. As every sum goes in a fixed order, all machines give the same bits.

use std::ops::Range;

use super::convolution::{Convolution, Finish, Map, Row};
use super::weights::Weights;
use crate::Result;
use crate::dsp::dispatched;
use crate::dsp::lanes::Simd;

/// Tiles at a time: so many that reading the weights costs little, so few that their sums stay near the processor.
const TILES: usize = 64;
const TAPS: usize = 5;
/// Products in one direction.
const PRODUCTS: usize = 7;
/// Sums of inputs in one direction of a [`Doubling`]: two products share one.
const SHARED: usize = 6;

/// Products by sums of taps: `[product][tap]`.
type Sums = [[f32; TAPS]; PRODUCTS];
/// A sum of two samples of a tile: (first, second, the second's sign or 0).
type Sum = (usize, usize, f32);

/// Workspace of a layer, to be used again.
#[derive(Debug, Default)]
pub struct Tiles {
    /// A sum of input rows.
    line: Vec<f32>,
    /// Of one sum down, or one group of them: `[tile][sum down][sum across][channel]`.
    inputs: Vec<f32>,
    /// `[tile][product][output]`.
    products: Vec<f32>,
    /// Of one tile: `[row][product across][output]`, and `[row][column][output]`.
    sums: Vec<f32>,
    pixels: Vec<f32>,
    /// A row beyond the border.
    zeros: Vec<f32>,
}

impl Tiles {
    /// Grows to what so many tiles need, given the floats of an input row, of a tile's sums and products, and of a pixel.
    fn make_room(&mut self, count: usize, [line, inputs, products, outputs]: [usize; 4]) {
        let grown = |room: &mut Vec<f32>, length: usize| room.resize(room.len().max(length), 0.0);
        grown(&mut self.zeros, line);
        grown(&mut self.line, line);
        grown(&mut self.inputs, count * inputs);
        grown(&mut self.products, count * products);
        grown(&mut self.sums, 4 * PRODUCTS * outputs);
        grown(&mut self.pixels, 16 * outputs);
    }

    /// Works out the sums across of one sum down, for all tiles of a part. Those of a tile go to floats `to` of the
    /// `of_inputs` that it has.
    fn spread<const N: usize>(
        &mut self,
        input: &Map,
        cut: &Cut<N>,
        (first, count): (usize, usize),
        &(upper, lower, sign): &Sum,
        (to, of_inputs): (Range<usize>, usize),
        spread: impl Fn([&[f32]; N], &mut [f32]),
    ) {
        let channels = input.channels;
        let length = cut.pixels() * channels;
        for (row, tiles) in self.inputs[..count * of_inputs].chunks_exact_mut(cut.across * of_inputs).enumerate() {
            let top = (cut.step * (first + row)) as isize - cut.before;
            let [upper, lower] = [upper, lower]
                .map(|row| input.padded_row(top + row as isize, cut.pixels()).unwrap_or(&self.zeros[..length]));
            add(upper, lower, sign, &mut self.line[..length]);
            for (tile, sums) in tiles.chunks_exact_mut(of_inputs).enumerate() {
                let from = &self.line[cut.step * tile * channels..];
                spread(std::array::from_fn(|k| &from[k * channels..][..channels]), &mut sums[to.clone()]);
            }
        }
    }

    /// Writes the outputs of all tiles of a part, of `side`² pixels each and of `of_products` products; `gather` makes the pixels,
    /// with room for sums. What is beyond the map is left out.
    fn write<const N: usize>(
        &mut self,
        cut: &Cut<N>,
        (first, count): (usize, usize),
        (side, of_products): (usize, usize),
        output: &mut Map,
        gather: impl Fn(&[f32], &mut [f32], &mut [f32]),
    ) {
        let channels = output.channels;
        for (tile, products) in self.products[..count * of_products].chunks_exact(of_products).enumerate() {
            gather(products, &mut self.sums, &mut self.pixels);
            let (y, x) = (side * (first + tile / cut.across), side * (tile % cut.across));
            let columns = side.min(output.width - x) * channels;
            for (line, from) in (y..output.height).zip(self.pixels.chunks_exact(side * channels).take(side)) {
                output.row_mut(line)[x * channels..][..columns].copy_from_slice(&from[..columns]);
            }
        }
    }
}

/// How a layer's map is cut into tiles, each of which looks at `N` pixels in either direction.
struct Cut<const N: usize> {
    /// Tiles in each direction.
    down: usize,
    across: usize,
    /// Rows of tiles at a time.
    rows: usize,
    /// Pixels from a tile to the next one, and those that the first one looks at before the map.
    step: usize,
    before: isize,
}

impl<const N: usize> Cut<N> {
    fn of([down, across]: [usize; 2], step: usize, before: isize) -> Self {
        Self { down, across, rows: TILES.div_ceil(across.max(1)), step, before }
    }

    /// Pixels that a row of tiles looks at.
    fn pixels(&self) -> usize {
        self.step * self.across + N - self.step
    }

    /// Tiles of the largest part.
    fn largest(&self) -> usize {
        self.rows.min(self.down) * self.across
    }

    /// First row of tiles and tiles of each part.
    fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<N> {
        let Self { down, across, rows, .. } = *self;
        (0..down).step_by(rows).map(move |first| (first, rows.min(down - first) * across))
    }
}

/// The weight of a product: what its sums of taps make of the kernel `tap` gives.
fn weight(sums: [&[f32; TAPS]; 2], tap: impl Fn(usize, usize) -> f32) -> f32 {
    let mut sum = 0.0;
    for (y, down) in sums[0].iter().enumerate().filter(|(_, share)| **share != 0.0) {
        for (x, across) in sums[1].iter().enumerate().filter(|(_, share)| **share != 0.0) {
            sum += f64::from(down * across) * f64::from(tap(y, x));
        }
    }
    sum as f32
}

/// A 5×5 transposed convolution of stride 2 (padding 2, output padding 1). A tile is 2×2 inputs and 4×4 outputs.
#[derive(Debug)]
pub struct Doubling {
    /// `[down][across]`.
    products: Vec<Convolution>,
    inputs: usize,
    bias: Vec<f32>,
}

impl Doubling {
    /// Outputs of one phase are Σ x[i + {−1, 0, 1}] k[{4, 2, 0}], of the other Σ x[i + {0, 1}] k[{3, 1}].
    const SUMS: Sums = [
        [0.0, 0.0, 0.0, 0.0, 1.0],
        [0.5, 0.0, 0.5, 0.0, 0.5],
        [0.5, 0.0, -0.5, 0.0, 0.5],
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, -1.0, 0.0],
        [0.0, 1.0, 0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0],
    ];
    const INPUTS: [Sum; SHARED] = [(0, 2, -1.0), (1, 2, 1.0), (2, 1, -1.0), (1, 3, -1.0), (2, 2, 0.0), (2, 3, -1.0)];
    /// Which sum of inputs each product takes.
    const OF_PRODUCT: [usize; PRODUCTS] = [0, 1, 2, 3, 2, 4, 5];

    /// From PyTorch's `ConvTranspose2d` layout (in, out, 5, 5).
    pub fn load(weights: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let w = weights.floats(&format!("{name}.weight"), &[inputs, outputs, TAPS, TAPS])?;
        Ok(Self::pack(&w, inputs, weights.floats(&format!("{name}.bias"), &[outputs])?))
    }

    fn pack(w: &[f32], inputs: usize, mut bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        let pairs = Self::SUMS.iter().flat_map(|down| Self::SUMS.iter().map(move |across| [down, across]));
        let products: Vec<_> = pairs
            .map(|sums| {
                Convolution::pointwise(inputs, &vec![0.0; outputs], |i, o| {
                    weight(sums, |y, x| w[((i * outputs + o) * TAPS + y) * TAPS + x])
                })
            })
            .collect();
        bias.resize(products[0].outputs(), 0.0);
        Self { products, inputs, bias }
    }

    /// Computes the whole output map, twice the input's size, times one factor per output. The input has a border of 1.
    pub fn apply(&self, simd: Simd, input: &Map, output: &mut Map, factors: &[f32], tiles: &mut Tiles) {
        let (channels, outputs) = (self.inputs, self.bias.len());
        let cut = Cut::of([input.height, input.width].map(|side| side.div_ceil(2)), 2, 1);
        let (of_inputs, of_products) = (SHARED * channels, PRODUCTS * PRODUCTS * outputs);
        tiles.make_room(cut.largest(), [cut.pixels() * channels, of_inputs, of_products, outputs]);
        for part in cut.parts() {
            for (sum, of) in Self::INPUTS.iter().enumerate() {
                tiles.spread(input, &cut, part, of, (0..of_inputs, of_inputs), spread_doubling);
                for (index, product) in self.products.iter().enumerate() {
                    let [down, across] = [index / PRODUCTS, index % PRODUCTS].map(|product| Self::OF_PRODUCT[product]);
                    if down == sum {
                        let row = Row {
                            input_start: across * channels,
                            input_stride: 0,
                            input_step: of_inputs,
                            output_start: index * outputs,
                            output_step: of_products,
                            count: part.1,
                        };
                        product.row(simd, &tiles.inputs, &mut tiles.products, row, Finish::Store);
                    }
                }
            }
            tiles.write(&cut, part, (4, of_products), output, |products, sums, pixels| {
                gather_doubling(products, [&self.bias, factors], sums, pixels);
            });
        }
    }
}

/// A 5×5 convolution of stride 2 and padding 2. A tile is 4×4 inputs and 2×2 outputs.
#[derive(Debug)]
pub struct Halving {
    /// `[down][across]`, of [`Self::GROUPS`].
    products: Vec<Convolution>,
    inputs: usize,
    bias: Vec<f32>,
}

impl Halving {
    /// Outputs are Σ x[2 i + {−2, 0, 2}] k[{0, 2, 4}] + Σ x[2 i + {−1, 1}] k[{1, 3}].
    const SUMS: Sums = [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0],
        [0.5, 0.0, 0.5, 0.0, 0.5],
        [0.0, 1.0, 0.0, 1.0, 0.0],
        [0.5, 0.0, -0.5, 0.0, 0.5],
        [0.0, 0.0, 0.0, 0.0, 1.0],
        [0.0, 0.0, 0.0, 1.0, 0.0],
    ];
    const INPUTS: [Sum; PRODUCTS] =
        [(0, 4, -1.0), (1, 3, -1.0), (2, 4, 1.0), (3, 3, 0.0), (4, 2, -1.0), (2, 6, -1.0), (3, 5, -1.0)];
    /// First and number of the products that go into the same outputs with the same signs, so that they are one.
    const GROUPS: [(usize, usize); 4] = [(0, 2), (2, 2), (4, 1), (5, 2)];

    /// From PyTorch's `Conv2d` layout (out, in, 5, 5).
    pub fn load(weights: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let w = weights.floats(&format!("{name}.weight"), &[outputs, inputs, TAPS, TAPS])?;
        Ok(Self::pack(&w, inputs, weights.floats(&format!("{name}.bias"), &[outputs])?))
    }

    /// What a transposed convolution of this name, without its bias, carries gradients back by; its inputs are the outputs
    /// here, and its layout (in, out, 5, 5) is that of the convolution which undoes its strides.
    pub fn adjoint(weights: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let w = weights.floats(&format!("{name}.weight"), &[outputs, inputs, TAPS, TAPS])?;
        Ok(Self::pack(&w, inputs, vec![0.0; outputs]))
    }

    fn pack(w: &[f32], inputs: usize, mut bias: Vec<f32>) -> Self {
        let pairs = Self::GROUPS.iter().flat_map(|down| Self::GROUPS.iter().map(move |across| [down, across]));
        let products: Vec<_> = pairs
            .map(|[&(top, down), &(left, across)]| {
                let runs = (0..down as isize).map(|run| (run, 0)).collect();
                Convolution::new(runs, across * inputs, &vec![0.0; bias.len()], |run, i, o| {
                    let sums = [&Self::SUMS[top + run], &Self::SUMS[left + i / inputs]];
                    weight(sums, |y, x| w[((o * inputs + i % inputs) * TAPS + y) * TAPS + x])
                })
            })
            .collect();
        bias.resize(products[0].outputs(), 0.0);
        Self { products, inputs, bias }
    }

    /// Computes the whole output map, half the input's size, times one factor per output. The input has a border of 2.
    pub fn apply(&self, simd: Simd, input: &Map, output: &mut Map, factors: &[f32], tiles: &mut Tiles) {
        let (channels, outputs) = (self.inputs, self.bias.len());
        let cut = Cut::of([output.height, output.width].map(|side| side.div_ceil(2)), 4, 2);
        let (of_line, of_products) = (PRODUCTS * channels, 16 * outputs);
        tiles.make_room(cut.largest(), [cut.pixels() * channels, 2 * of_line, of_products, outputs]);
        for part in cut.parts() {
            for (down, &(top, lines)) in Self::GROUPS.iter().enumerate() {
                let of_inputs = lines * of_line;
                for (at, of) in Self::INPUTS[top..][..lines].iter().enumerate() {
                    let to = at * of_line..(at + 1) * of_line;
                    tiles.spread(input, &cut, part, of, (to, of_inputs), spread_halving);
                }
                for (across, &(left, _)) in Self::GROUPS.iter().enumerate() {
                    let index = down * Self::GROUPS.len() + across;
                    let row = Row {
                        input_start: left * channels,
                        input_stride: of_line,
                        input_step: of_inputs,
                        output_start: index * outputs,
                        output_step: of_products,
                        count: part.1,
                    };
                    self.products[index].row(simd, &tiles.inputs, &mut tiles.products, row, Finish::Store);
                }
            }
            tiles.write(&cut, part, (2, of_products), output, |products, sums, pixels| {
                gather_halving(products, [&self.bias, factors], sums, pixels);
            });
        }
    }
}

dispatched! {
    /// `to = first + sign · second`, exactly rounded: the sign is 1, −1 or 0.
    fn add(first: &[f32], second: &[f32], sign: f32, to: &mut [f32]) = add_body
}

#[inline(always)]
fn add_body(first: &[f32], second: &[f32], sign: f32, to: &mut [f32]) {
    for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
        *to = first + sign * second;
    }
}

dispatched! {
    /// The sums of four samples that a [`Doubling`]'s products take, in one direction: each row of `to` is one sum.
    fn spread_doubling(samples: [&[f32]; 4], to: &mut [f32]) = spread_doubling_body
}

#[inline(always)]
fn spread_doubling_body(samples: [&[f32]; 4], to: &mut [f32]) {
    let length = to.len() / SHARED;
    let [d0, d1, d2, d3] = samples.map(|sample| &sample[..length]);
    let [t0, t1, t2, t3, t4, t5] = rows(to, length);
    for i in 0..length {
        t0[i] = d0[i] - d2[i];
        t1[i] = d1[i] + d2[i];
        t2[i] = d2[i] - d1[i];
        t3[i] = d1[i] - d3[i];
        t4[i] = d2[i];
        t5[i] = d2[i] - d3[i];
    }
}

dispatched! {
    /// The sums of seven samples that a [`Halving`]'s products take, in one direction: each row of `to` is one sum.
    fn spread_halving(samples: [&[f32]; PRODUCTS], to: &mut [f32]) = spread_halving_body
}

#[inline(always)]
fn spread_halving_body(samples: [&[f32]; PRODUCTS], to: &mut [f32]) {
    let length = to.len() / PRODUCTS;
    let [d0, d1, d2, d3, d4, d5, d6] = samples.map(|sample| &sample[..length]);
    let [t0, t1, t2, t3, t4, t5, t6] = rows(to, length);
    for i in 0..length {
        t0[i] = d0[i] - d4[i];
        t1[i] = d1[i] - d3[i];
        t2[i] = d2[i] + d4[i];
        t3[i] = d3[i];
        t4[i] = d4[i] - d2[i];
        t5[i] = d2[i] - d6[i];
        t6[i] = d3[i] - d5[i];
    }
}

dispatched! {
    /// A [`Doubling`]'s 4×4 outputs from a tile's products, plus bias, times factors.
    fn gather_doubling(products: &[f32], ends: [&[f32]; 2], sums: &mut [f32], pixels: &mut [f32]) = gather_doubling_body
}

#[inline(always)]
fn gather_doubling_body(products: &[f32], [bias, factors]: [&[f32]; 2], sums: &mut [f32], pixels: &mut [f32]) {
    let outputs = bias.len();
    let line = PRODUCTS * outputs;
    outputs_of_doubling(products, line, sums, |sum, _| sum);
    let factors = &factors[..outputs];
    for (sums, pixels) in sums[..4 * line].chunks_exact(line).zip(pixels.chunks_exact_mut(4 * outputs)) {
        outputs_of_doubling(sums, outputs, pixels, |sum, i| (sum + bias[i]) * factors[i]);
    }
}

/// Four outputs of each of seven products in one direction, in their order.
#[inline(always)]
fn outputs_of_doubling(products: &[f32], length: usize, to: &mut [f32], finish: impl Fn(f32, usize) -> f32) {
    let [m0, m1, m2, m3, m4, m5, m6] = std::array::from_fn(|k| &products[k * length..][..length]);
    let [y0, y1, y2, y3] = rows(&mut to[..4 * length], length);
    for i in 0..length {
        y0[i] = finish(m0[i] + m1[i] + m2[i], i);
        y1[i] = finish(m4[i] + m5[i], i);
        y2[i] = finish(m1[i] - m2[i] - m3[i], i);
        y3[i] = finish(m5[i] - m6[i], i);
    }
}

dispatched! {
    /// A [`Halving`]'s 2×2 outputs from a tile's products, plus bias, times factors.
    fn gather_halving(products: &[f32], ends: [&[f32]; 2], sums: &mut [f32], pixels: &mut [f32]) = gather_halving_body
}

#[inline(always)]
fn gather_halving_body(products: &[f32], [bias, factors]: [&[f32]; 2], sums: &mut [f32], pixels: &mut [f32]) {
    let outputs = bias.len();
    outputs_of_halving(products, 4 * outputs, sums, |sum, _| sum);
    let factors = &factors[..outputs];
    for (sums, pixels) in sums[..8 * outputs].chunks_exact(4 * outputs).zip(pixels.chunks_exact_mut(2 * outputs)) {
        outputs_of_halving(sums, outputs, pixels, |sum, i| (sum + bias[i]) * factors[i]);
    }
}

/// Two outputs of each of four groups of products in one direction.
#[inline(always)]
fn outputs_of_halving(products: &[f32], length: usize, to: &mut [f32], finish: impl Fn(f32, usize) -> f32) {
    let [c0, c1, c2, c3] = std::array::from_fn(|k| &products[k * length..][..length]);
    let [y0, y1] = rows(&mut to[..2 * length], length);
    for i in 0..length {
        y0[i] = finish(c0[i] + c1[i] + c2[i], i);
        y1[i] = finish(c1[i] - c2[i] - c3[i], i);
    }
}

/// `to` as `N` rows.
#[inline(always)]
fn rows<const N: usize>(to: &mut [f32], length: usize) -> [&mut [f32]; N] {
    let mut rows = to.chunks_exact_mut(length);
    std::array::from_fn(|_| rows.next().expect("as many rows"))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Weights, biases and a map of a layer.
    fn layer([inputs, outputs]: [usize; 2], [height, width]: [usize; 2], border: usize) -> (Vec<f32>, Vec<f32>, Map) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64((height * width) as u64);
        let mut floats = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
        let mut map = Map::default();
        map.shape(height, width, inputs, border);
        (0..height).for_each(|y| map.row_mut(y).copy_from_slice(&floats(width * inputs)));
        (floats(25 * inputs * outputs), floats(outputs), map)
    }

    /// A map of zeros.
    fn empty(height: usize, width: usize, channels: usize) -> Map {
        let mut map = Map::default();
        map.shape(height, width, channels, 1);
        map
    }

    /// All lanes give the same bits, and what `definition` gives for (row, column, output), times the factors.
    fn compare(map: &Map, fast: impl Fn(Simd, &mut Map, &[f32]), definition: impl Fn(usize, usize, usize) -> f64) {
        let factors: Vec<f32> = (0..map.channels).map(|o| 0.5 + 0.1 * o as f32).collect();
        let results = Simd::all().into_iter().map(|simd| {
            let mut found = empty(map.height, map.width, map.channels);
            fast(simd, &mut found, &factors);
            found
        });
        let results: Vec<Map> = results.collect();
        assert!(results.iter().all(|found| found.data == results[0].data));
        for y in 0..map.height {
            for x in 0..map.width {
                for (o, factor) in factors.iter().enumerate() {
                    let found = f64::from(results[0].row(y)[x * map.channels + o]);
                    let expected = definition(y, x, o) * f64::from(*factor);
                    assert!((found - expected).abs() < 2e-4, "row {y}, column {x}, output {o}: {found}, {expected}");
                }
            }
        }
    }

    const SIZES: [([usize; 2], [usize; 2]); 5] =
        [([3, 16], [1, 1]), ([16, 48], [2, 5]), ([8, 16], [7, 4]), ([5, 32], [9, 35]), ([2, 16], [3, 150])];

    #[test]
    fn doubling_is_its_definition_at_all_sizes() {
        for ([inputs, outputs], size) in SIZES {
            let (w, bias, map) = layer([inputs, outputs], size, 1);
            let layer = Doubling::pack(&w, inputs, bias.clone());
            let sum = |y: usize, x: usize, o: usize| {
                let mut sum = f64::from(bias[o]);
                for (row, ky) in (0..size[0]).flat_map(|row| (0..TAPS).map(move |k| (row, k))) {
                    for (column, kx) in (0..size[1]).flat_map(|column| (0..TAPS).map(move |k| (column, k))) {
                        if (2 * row + ky, 2 * column + kx) == (y + 2, x + 2) {
                            let terms = (0..inputs).map(|i| {
                                let weight = w[((i * outputs + o) * TAPS + ky) * TAPS + kx];
                                f64::from(map.row(row)[column * inputs + i]) * f64::from(weight)
                            });
                            sum += terms.sum::<f64>();
                        }
                    }
                }
                sum
            };
            let shape = empty(2 * size[0], 2 * size[1], outputs);
            compare(&shape, |simd, to, factors| layer.apply(simd, &map, to, factors, &mut Tiles::default()), sum);
        }
    }

    #[test]
    fn halving_is_its_definition_at_all_sizes() {
        for ([inputs, outputs], [height, width]) in SIZES {
            let (w, bias, map) = layer([inputs, outputs], [2 * height, 2 * width], 2);
            let layer = Halving::pack(&w, inputs, bias.clone());
            let sum = |y: usize, x: usize, o: usize| {
                let mut sum = f64::from(bias[o]);
                for (ky, kx) in (0..TAPS).flat_map(|ky| (0..TAPS).map(move |kx| (ky, kx))) {
                    let (row, column) = ((2 * y + ky).wrapping_sub(2), (2 * x + kx).wrapping_sub(2));
                    if row < map.height && column < map.width {
                        let terms = (0..inputs).map(|i| {
                            let weight = w[((o * inputs + i) * TAPS + ky) * TAPS + kx];
                            f64::from(map.row(row)[column * inputs + i]) * f64::from(weight)
                        });
                        sum += terms.sum::<f64>();
                    }
                }
                sum
            };
            let shape = empty(height, width, outputs);
            compare(&shape, |simd, to, factors| layer.apply(simd, &map, to, factors, &mut Tiles::default()), sum);
        }
    }

    #[test]
    fn the_workspace_of_one_layer_serves_another() {
        let mut tiles = Tiles::default();
        let results = [[9, 35], [1, 1], [9, 35]].map(|size| {
            let (w, bias, map) = layer([5, 32], size, 1);
            let mut found = empty(2 * size[0], 2 * size[1], 32);
            Doubling::pack(&w, 5, bias).apply(Simd::best(), &map, &mut found, &[1.0; 32], &mut tiles);
            found.data
        });
        assert_eq!(results[0], results[2]);
    }

    #[test]
    fn the_dispatched_kernels_equal_their_bodies_bit_for_bit() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut floats = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
        let (from, ends) = (floats(49 * 19), floats(2 * 19));
        let samples: [&[f32]; PRODUCTS] = std::array::from_fn(|k| &from[19 * k..][..19]);
        let four = std::array::from_fn(|k| samples[k]);
        let ends = [&ends[..19], &ends[19..]];
        type Run<'a> = &'a dyn Fn(&mut [f32], &mut [f32], bool);
        let both = |run: Run<'_>| {
            let results = [true, false].map(|dispatched| {
                let (mut sums, mut to) = (vec![0.0; 28 * 19], vec![0.0; 16 * 19]);
                run(&mut sums, &mut to, dispatched);
                (sums, to)
            });
            assert_eq!(results[0], results[1]);
        };
        both(&|_, to, fast| (if fast { spread_doubling } else { spread_doubling_body })(four, &mut to[..SHARED * 19]));
        both(&|_, to, fast| {
            (if fast { spread_halving } else { spread_halving_body })(samples, &mut to[..PRODUCTS * 19])
        });
        both(&|sums, to, fast| (if fast { gather_doubling } else { gather_doubling_body })(&from, ends, sums, to));
        both(&|sums, to, fast| {
            (if fast { gather_halving } else { gather_halving_body })(&from, ends, sums, &mut to[..4 * 19])
        });
    }
}
