//! One kernel for every layer of the codec: a row of output pixels, each a sum over a few *runs* of contiguous inputs.
//!
//! Maps are pixel by pixel with the channels innermost, inside a border of zeros. A convolution of stride s reads, per
//! output pixel, one run of `width · channels` floats in each of its kernel rows; a transposed convolution of stride 2
//! is four such convolutions, one per output phase; a 1×1 layer has a single run. In every output the sum goes over
//! the runs and inside each from left to right, one fused multiply-add a step, on every machine alike: hence bit-exact.

use crate::dsp::lanes::{LANES, Lanes, Simd, Width};

/// A map of `channels` floats a pixel with `border` zero pixels around it.
#[derive(Debug, Default)]
pub struct Map {
    /// Rows, without border.
    pub height: usize,
    /// Columns, without border.
    pub width: usize,
    /// Floats per pixel.
    pub channels: usize,
    border: usize,
    /// All pixels, border included.
    pub data: Vec<f32>,
}

impl Map {
    /// Takes this shape; the border becomes zero, and so does a pixel behind all. Allocates only where the map was never as large.
    pub fn shape(&mut self, height: usize, width: usize, channels: usize, border: usize) {
        if (self.height, self.width, self.channels, self.border) != (height, width, channels, border) {
            self.data.clear();
            let tail = border.min(1) * channels;
            self.data.resize((height + 2 * border) * (width + 2 * border) * channels + tail, 0.0);
            (self.height, self.width, self.channels, self.border) = (height, width, channels, border);
        }
    }

    /// Floats from a pixel to the one below.
    pub fn row_stride(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Where row `y`'s first pixel stands in `data`.
    pub fn start(&self, y: usize) -> usize {
        (y + self.border) * self.row_stride() + self.border * self.channels
    }

    /// Row `y` without border.
    pub fn row(&self, y: usize) -> &[f32] {
        &self.data[self.start(y)..][..self.width * self.channels]
    }

    /// The first `pixels` of row `y`, which may be above or below the map, with its border and one more at most; `None` beyond
    /// the border.
    pub fn padded_row(&self, y: isize, pixels: usize) -> Option<&[f32]> {
        let line =
            usize::try_from(y + self.border as isize).ok().filter(|line| *line < self.height + 2 * self.border)?;
        Some(&self.data[line * self.row_stride()..][..pixels * self.channels])
    }

    /// Row `y` without border.
    pub fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let start = self.start(y);
        &mut self.data[start..][..self.width * self.channels]
    }
}

/// What happens to a sum on its way out.
#[derive(Debug, Clone, Copy)]
pub enum Finish<'a> {
    /// Stored.
    Store,
    /// Stored through the leaky rectifier of slope 1/8.
    Leaky,
    /// Stored, times one factor per output.
    Scaled(&'a [f32]),
    /// The output's old value is multiplied by it (inverse GDN).
    Multiply,
    /// The output's old value is divided by it (GDN).
    Divide,
}

/// Slope of the leaky rectifier for negative inputs: exact in binary.
const SLOPE: f32 = 0.125;

/// A layer, its weights packed in blocks of 32 (or 16) outputs.
#[derive(Debug)]
pub struct Convolution {
    /// First input of each run, as (rows, floats) from the pixel's own origin.
    runs: Vec<(isize, isize)>,
    run_length: usize,
    outputs: usize,
    /// `[block][run][input][lane]`.
    weights: Vec<Vector>,
    bias: Vec<f32>,
}

/// Weights of neighbouring outputs, on a cache line of their own: a load that straddles two takes twice as long.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
#[expect(dead_code, reason = "read through pointers")]
struct Vector([f32; LANES]);

/// Where a row of pixels is read and written.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Origin of the first pixel in the input.
    pub input_start: usize,
    /// Floats between input rows.
    pub input_stride: usize,
    /// Floats between the origins of neighbouring pixels.
    pub input_step: usize,
    /// First float of the first output pixel.
    pub output_start: usize,
    /// Floats between output pixels.
    pub output_step: usize,
    /// Pixels.
    pub count: usize,
}

/// Rows that follow each other, all with the same weights.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// The first of them.
    pub first: Row,
    /// How many.
    pub count: usize,
    /// Floats from the first pixel of a row to that of the next one, in the input.
    pub input_step: usize,
    /// Floats from the first pixel of a row to that of the next one, in the output.
    pub output_step: usize,
}

impl Rows {
    fn row(&self, index: usize) -> Row {
        Row {
            input_start: self.first.input_start + index * self.input_step,
            output_start: self.first.output_start + index * self.output_step,
            ..self.first
        }
    }
}

impl Convolution {
    /// `weight(run, input, output)` gives the weights; outputs are rounded up to whole vectors with zeros.
    pub fn new(
        runs: Vec<(isize, isize)>,
        run_length: usize,
        bias: &[f32],
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let outputs = bias.len().next_multiple_of(LANES);
        let mut weights = Vec::with_capacity(runs.len() * run_length * outputs / LANES);
        for (first, lanes) in blocks(outputs) {
            for run in 0..runs.len() {
                for input in 0..run_length {
                    let of = |o: usize| if o < bias.len() { weight(run, input, o) } else { 0.0 };
                    let vectors = (first..first + lanes).step_by(LANES);
                    weights.extend(vectors.map(|v| Vector(std::array::from_fn(|lane| of(v + lane)))));
                }
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(outputs, 0.0);
        Self { runs, run_length, outputs, weights, bias: padded }
    }

    /// A layer that looks at its own pixel only; `weight(input, output)`.
    pub fn pointwise(inputs: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        Self::new(vec![(0, 0)], inputs, bias, |_, i, o| weight(i, o))
    }

    /// Outputs per pixel, whole vectors.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Multiply-adds per pixel.
    pub fn work(&self) -> usize {
        self.runs.len() * self.run_length * self.outputs
    }

    /// Computes one row. Panics where `row` reaches outside `input` or `output`.
    pub fn row(&self, simd: Simd, input: &[f32], output: &mut [f32], row: Row, finish: Finish) {
        self.rows(simd, input, output, Rows { first: row, count: 1, input_step: 0, output_step: 0 }, finish);
    }

    /// Computes several rows, reading each block of weights once. Panics where `rows` reach outside `input` or `output`.
    pub fn rows(&self, simd: Simd, input: &[f32], output: &mut [f32], rows: Rows, finish: Finish) {
        if rows.count == 0 || rows.first.count == 0 {
            return;
        }
        self.check(input.len(), output.len(), &rows, finish);
        match simd.width() {
            // SAFETY: `check` has bounded every access.
            Width::Scalar => unsafe { self.run::<[f32; LANES]>(input, output, &rows, finish) },
            // SAFETY: as above; a `Simd` of this width exists only where the machine has the feature.
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { self.run_avx2(input, output, &rows, finish) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => unsafe { self.run_avx512(input, output, &rows, finish) },
        }
    }

    /// Bounds of all rows, so that the kernel itself need not look: what the first and the last one keep, all others do.
    fn check(&self, input: usize, output: usize, rows: &Rows, finish: Finish) {
        for row in [rows.row(0), rows.row(rows.count - 1)] {
            let last = (row.count - 1) * row.input_step;
            for &(dy, dx) in &self.runs {
                let first = row.input_start as isize + dy * row.input_stride as isize + dx;
                assert!(first >= 0 && first as usize + last + self.run_length <= input, "a row reads outside its map");
            }
            let end = row.output_start + (row.count - 1) * row.output_step + self.outputs;
            assert!(end <= output, "a row writes outside its map");
        }
        if let Finish::Scaled(factors) = finish {
            assert!(factors.len() >= self.outputs, "one factor per output");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_avx2(&self, input: &[f32], output: &mut [f32], rows: &Rows, finish: Finish) {
        // SAFETY: bounds were checked by the caller, the feature is enabled here.
        unsafe { self.run::<crate::dsp::lanes::Avx2>(input, output, rows, finish) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn run_avx512(&self, input: &[f32], output: &mut [f32], rows: &Rows, finish: Finish) {
        // SAFETY: bounds were checked by the caller, the feature is enabled here.
        unsafe { self.run::<crate::dsp::lanes::Avx512>(input, output, rows, finish) }
    }

    /// # Safety
    /// `check` passed for the same arguments, and the machine has the feature of `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self, input: &[f32], output: &mut [f32], rows: &Rows, finish: Finish) {
        let mut packed = 0;
        for (first, lanes) in blocks(self.outputs) {
            for index in 0..rows.count {
                // SAFETY: `check` covers every row.
                unsafe { self.block::<V>(input, output, &rows.row(index), finish, (packed, lanes, first)) }
            }
            packed += self.runs.len() * self.run_length * lanes;
        }
    }

    /// One block of outputs over one row, in tiles that fill the registers: 16 sums and more, so that the latency of an
    /// addition is hidden, and as few loads for each as there is room for.
    ///
    /// # Safety
    /// As for `run`; `block` is one of this layer's.
    #[inline(always)]
    unsafe fn block<V: Lanes>(
        &self,
        input: &[f32],
        output: &mut [f32],
        row: &Row,
        finish: Finish,
        (packed, lanes, first): (usize, usize, usize),
    ) {
        let mut begin = 0;
        macro_rules! tiles {
            ($pixels:literal, $vectors:literal, $block:expr, $pixel:ident) => {
                while row.count - $pixel >= $pixels {
                    // SAFETY: `pixel + P <= count` and the vectors lie inside the block, so `check` covers all accesses.
                    unsafe { self.tile::<V, $pixels, $vectors>(input, output, row, finish, $block, $pixel) };
                    $pixel += $pixels;
                }
            };
        }
        if V::WIDE && lanes == 2 * LANES {
            tiles!(8, 2, (packed, lanes, first), begin);
            tiles!(4, 2, (packed, lanes, first), begin);
        }
        for lane in (0..lanes).step_by(LANES) {
            let block = (packed + lane, lanes, first + lane);
            let mut pixel = begin;
            if V::WIDE {
                tiles!(16, 1, block, pixel);
                tiles!(8, 1, block, pixel);
            } else {
                tiles!(6, 1, block, pixel);
            }
            tiles!(4, 1, block, pixel);
            tiles!(2, 1, block, pixel);
            tiles!(1, 1, block, pixel);
        }
    }

    /// `P` pixels × `N` vectors in registers. `block` = (first weight, floats between weights, first output).
    ///
    /// # Safety
    /// As for `run`, with pixels `pixel..pixel + P` inside the row and `16 N` outputs inside the block.
    #[inline(always)]
    unsafe fn tile<V: Lanes, const P: usize, const N: usize>(
        &self,
        input: &[f32],
        output: &mut [f32],
        row: &Row,
        finish: Finish,
        block: (usize, usize, usize),
        pixel: usize,
    ) {
        let (packed, lanes, first) = block;
        // SAFETY: the caller's promise bounds every pointer below.
        unsafe {
            let bias = self.bias.as_ptr().add(first);
            let mut sums = [[V::splat(0.0); N]; P];
            for sum in &mut sums {
                for (n, s) in sum.iter_mut().enumerate() {
                    *s = V::load(bias.add(LANES * n));
                }
            }
            let mut weights = self.weights.as_ptr().cast::<f32>().add(packed);
            let origin = (row.input_start + pixel * row.input_step) as isize;
            for &(dy, dx) in &self.runs {
                let x = input.as_ptr().offset(origin + dy * row.input_stride as isize + dx);
                let pixels: [*const f32; P] = std::array::from_fn(|p| x.add(p * row.input_step));
                for i in 0..self.run_length {
                    let w: [V; N] = std::array::from_fn(|n| V::load(weights.add(LANES * n)));
                    for p in 0..P {
                        let value = V::splat(*pixels[p].add(i));
                        for n in 0..N {
                            sums[p][n] = sums[p][n].fused(value, w[n]);
                        }
                    }
                    weights = weights.add(lanes);
                }
            }
            for (p, sum) in sums.iter().enumerate() {
                let out = output.as_mut_ptr().add(row.output_start + (pixel + p) * row.output_step + first);
                for (n, &s) in sum.iter().enumerate() {
                    let to = out.add(LANES * n);
                    match finish {
                        Finish::Store => s,
                        Finish::Leaky => s.or_larger(s.times(V::splat(SLOPE))),
                        Finish::Scaled(factors) => s.times(V::load(factors.as_ptr().add(first + LANES * n))),
                        Finish::Multiply => V::load(to).times(s),
                        Finish::Divide => V::load(to).over(s),
                    }
                    .store(to);
                }
            }
        }
    }
}

/// Blocks of outputs: (first, lanes), 32 lanes while they last, then 16.
fn blocks(outputs: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..outputs).step_by(2 * LANES).map(move |first| (first, (outputs - first).min(2 * LANES)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn naive(
        c: &Convolution,
        weight: &dyn Fn(usize, usize, usize) -> f32,
        input: &[f32],
        row: &Row,
        p: usize,
        o: usize,
    ) -> f64 {
        let mut sum = f64::from(c.bias[o]);
        for (r, &(dy, dx)) in c.runs.iter().enumerate() {
            let at = row.input_start as isize + (p * row.input_step) as isize + dy * row.input_stride as isize + dx;
            for i in 0..c.run_length {
                sum += f64::from(input[at as usize + i]) * f64::from(weight(r, i, o));
            }
        }
        sum
    }

    #[test]
    fn every_width_of_simd_gives_the_same_bits_and_the_sum_is_the_definition() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        for (count, outputs, channels) in [(1, 16, 5), (7, 48, 3), (13, 96, 8), (16, 32, 24), (29, 12, 4)] {
            let table: Vec<f32> = (0..3 * 2 * channels * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
            let weight = |r: usize, i: usize, o: usize| table[(r * 2 * channels + i) * outputs + o];
            let bias: Vec<f32> = (0..outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
            let layer = Convolution::new(vec![(-1, 0), (0, -1), (1, 0)], 2 * channels, &bias, weight);
            let stride = (count + 2) * channels;
            let input: Vec<f32> = (0..3 * stride).map(|_| rng.random_range(-1.0..1.0)).collect();
            let wide = layer.outputs();
            let row = Row {
                input_start: stride + channels,
                input_stride: stride,
                input_step: channels,
                output_start: 0,
                output_step: wide,
                count,
            };
            let factors: Vec<f32> = (0..wide).map(|o| 0.5 + o as f32).collect();
            for finish in [Finish::Store, Finish::Leaky, Finish::Scaled(&factors), Finish::Multiply, Finish::Divide] {
                let results: Vec<Vec<f32>> = Simd::all()
                    .into_iter()
                    .map(|simd| {
                        let mut out = vec![2.0; count * wide];
                        layer.row(simd, &input, &mut out, row, finish);
                        out
                    })
                    .collect();
                for other in &results[1..] {
                    assert!(results[0].iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits()));
                }
                if matches!(finish, Finish::Store) {
                    for p in 0..count {
                        for o in 0..outputs {
                            let expected = naive(&layer, &weight, &input, &row, p, o);
                            assert!((f64::from(results[0][p * wide + o]) - expected).abs() < 1e-4);
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "reads outside")]
    fn a_row_that_would_leave_its_map_is_refused() {
        let layer = Convolution::pointwise(4, &[0.0; 16], |_, _| 1.0);
        let row = Row { input_start: 0, input_stride: 0, input_step: 4, output_start: 0, output_step: 16, count: 3 };
        layer.row(Simd::SCALAR, &[0.0; 11], &mut [0.0; 48], row, Finish::Store);
    }
}
