//! The picture decoder's networks on this crate's kernels against tract, which runs the same weights as an ONNX graph:
//! the named baseline, and an oracle, because both must draw the same picture before anything is timed.
//!
//! ```text
//! cargo bench --features reference-inference --bench inference
//! ```

use divan::{Bencher, black_box};
use image::RgbImage;
use issc::semantic::convolution::Map;
use issc::semantic::transform::{Synthesis, SynthesisSpace};
use issc::semantic::weights::Weights;
use issc::semantic::{Simd, WEIGHTS_FILE};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_proto::DataType, type_proto,
};
use tract_onnx::prelude::*;

const RATE: usize = 3;
/// Width and height in latent positions of 16×16 pixels.
const SIZES: [(usize, usize); 2] = [(16, 16), (48, 32)];

fn main() {
    let bytes = weights_file();
    let weights = Weights::open(&bytes, WEIGHTS_FILE).expect("the shipped weights");
    for size in SIZES {
        let (own, reference) = (draw(&weights, size), draw_by_tract(&weights, size));
        let differ = own.iter().zip(&reference).map(|(a, b)| (f32::from(*a) - b).abs()).fold(0.0, f32::max);
        println!("{size:?}: own and tract differ by {differ:.3} of 255 at most, rounding to whole numbers included");
        assert!(differ < 0.51, "not the same network");
    }
    println!("lanes: {}; one thread; times are per picture", Simd::best().name());
    divan::main();
}

#[divan::bench(args = SIZES, min_time = 2)]
fn own(bencher: Bencher, size: (usize, usize)) {
    let bytes = weights_file();
    let weights = Weights::open(&bytes, WEIGHTS_FILE).expect("the shipped weights");
    let synthesis = Synthesis::load(&weights).expect("the shipped weights");
    let (residuals, mean) = latents(&weights, size);
    let mut space = SynthesisSpace::default();
    let mut image = RgbImage::new(16 * size.0 as u32, 16 * size.1 as u32);
    bencher.bench_local(|| {
        fill(&mut space.latents, &residuals, size);
        synthesis.picture(Simd::best(), black_box(&mean), RATE, &mut space, &mut image);
    });
}

#[divan::bench(args = SIZES, min_time = 2)]
fn tract(bencher: Bencher, size: (usize, usize)) {
    let bytes = weights_file();
    let weights = Weights::open(&bytes, WEIGHTS_FILE).expect("the shipped weights");
    let network = network(&weights, size);
    let input = tensor(&weights, size);
    bencher.bench_local(|| network.run(tvec!(black_box(input.clone()).into())).expect("a picture"));
}

fn weights_file() -> Vec<u8> {
    let path = format!("{}/models/hyperprior/{WEIGHTS_FILE}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("the shipped weights")
}

/// Sparse whole residuals and no mean: `[position][channel]`.
fn latents(weights: &Weights, (width, height): (usize, usize)) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let count = width * height * weights.configuration.latents;
    let residuals = (0..count).map(|_| if rng.random_bool(0.2) { rng.random_range(-2i8..=2).into() } else { 0.0 });
    (residuals.collect(), vec![0.0; count])
}

fn fill(map: &mut Map, residuals: &[f32], (width, height): (usize, usize)) {
    map.shape(height, width, residuals.len() / (width * height), 0);
    map.data[..residuals.len()].copy_from_slice(residuals);
}

fn draw(weights: &Weights, size: (usize, usize)) -> Vec<u8> {
    let (residuals, mean) = latents(weights, size);
    let mut space = SynthesisSpace::default();
    let mut image = RgbImage::new(16 * size.0 as u32, 16 * size.1 as u32);
    fill(&mut space.latents, &residuals, size);
    Synthesis::load(weights).expect("the shipped weights").picture(Simd::best(), &mean, RATE, &mut space, &mut image);
    image.into_raw()
}

/// The same picture, 0…255 with fractions, in the order of [`draw`].
fn draw_by_tract(weights: &Weights, size: (usize, usize)) -> Vec<f32> {
    let result = network(weights, size).run(tvec!(tensor(weights, size).into())).expect("a picture");
    let view = result[0].to_plain_array_view::<f32>().expect("floats");
    let (height, width) = (16 * size.1, 16 * size.0);
    let pixel = |i: usize| -> f32 { view[[0, i % 3, i / 3 / width, i / 3 % width]] };
    (0..3 * height * width).map(|i| (255.0 * pixel(i)).clamp(0.0, 255.0)).collect()
}

fn tensor(weights: &Weights, (width, height): (usize, usize)) -> Tensor {
    let channels = weights.configuration.latents;
    let (residuals, _) = latents(weights, (width, height));
    let planes: Vec<f32> =
        (0..residuals.len()).map(|i| residuals[i % (width * height) * channels + i / (width * height)]).collect();
    Tensor::from_shape(&[1, channels, height, width], &planes).expect("as many values as places")
}

fn network(weights: &Weights, (width, height): (usize, usize)) -> std::sync::Arc<TypedRunnableModel> {
    let latents = weights.configuration.latents;
    let model = tract_onnx::onnx().model_for_proto_model(&graph(weights)).expect("a sound graph");
    let model = model.with_input_fact(0, f32::fact([1, latents, height, width]).into()).expect("an input");
    model.into_optimized().and_then(|model| model.into_runnable()).expect("a network that runs")
}

/// An ONNX graph under construction.
#[derive(Default)]
struct Graph(GraphProto);

impl Graph {
    fn constant(&mut self, shape: &[usize], values: Vec<f32>) -> String {
        let name = format!("c{}", self.0.initializer.len());
        self.0.initializer.push(TensorProto {
            name: name.clone(),
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type: DataType::Float as i32,
            float_data: values,
            ..Default::default()
        });
        name
    }

    fn node(&mut self, operation: &str, input: &[&str], attributes: &[(&str, &[i64])]) -> String {
        let name = format!("n{}", self.0.node.len());
        let attribute = |(name, ints): &(&str, &[i64])| AttributeProto {
            name: (*name).into(),
            r#type: AttributeType::Ints as i32,
            ints: ints.to_vec(),
            ..Default::default()
        };
        self.0.node.push(NodeProto {
            name: name.clone(),
            op_type: operation.into(),
            input: input.iter().map(|&i| i.into()).collect(),
            output: vec![name.clone()],
            attribute: attributes.iter().map(attribute).collect(),
            ..Default::default()
        });
        name
    }

    /// A number per channel.
    fn channels(&mut self, values: Vec<f32>) -> String {
        self.constant(&[1, values.len(), 1, 1], values)
    }
}

/// The decoder's networks at one rate: residuals in steps to a picture of 0…1.
fn graph(weights: &Weights) -> ModelProto {
    let c = &weights.configuration;
    let rates = c.names.len();
    let floats = |name: &str, shape: &[usize]| weights.floats(name, shape).expect("the shipped weights");
    let row = |name: &str, length: usize| floats(name, &[rates, length])[RATE * length..][..length].to_vec();
    let mut g = Graph::default();
    let step = g.channels(row("log_gain", c.latents).iter().map(|gain| (-gain).exp()).collect());
    let y = g.node("Mul", &["residuals", &step], &[]);

    // sign(v)(√(|v| + 1/4) − 1/2) of v = y × unit of the fine branch, shaped for this rate.
    let (unit, quarter, half) = (g.channels(vec![5.7]), g.channels(vec![0.25]), g.channels(vec![0.5]));
    let v = g.node("Mul", &[&y, &unit], &[]);
    let (sign, magnitude) = (g.node("Sign", &[&v], &[]), g.node("Abs", &[&v], &[]));
    let raised = g.node("Add", &[&magnitude, &quarter], &[]);
    let root = g.node("Sqrt", &[&raised], &[]);
    let less = g.node("Sub", &[&root, &half], &[]);
    let signed = g.node("Mul", &[&sign, &less], &[]);
    let (unit, bias) = (g.channels(row("synthesis_unit", c.latents)), g.channels(row("synthesis_bias", c.latents)));
    let scaled = g.node("Mul", &[&signed, &unit], &[]);
    let mut x = g.node("Add", &[&scaled, &bias], &[]);

    let doubling: [(&str, &[i64]); 4] =
        [("kernel_shape", &[5, 5]), ("strides", &[2, 2]), ("pads", &[2, 2, 2, 2]), ("output_padding", &[1, 1])];
    let mut inputs = c.latents;
    for (i, &outputs) in c.widths.iter().chain(&[3]).enumerate() {
        let name = |part: &str| format!("fine_synthesis.{part}.{i}");
        let shape = [inputs, outputs, 5, 5];
        let w = g.constant(&shape, floats(&format!("{}.weight", name("convs")), &shape));
        let b = g.constant(&[outputs], floats(&format!("{}.bias", name("convs")), &[outputs]));
        x = g.node("ConvTranspose", &[&x, &w, &b], &doubling);
        inputs = outputs;
        if i == c.widths.len() {
            break;
        }
        let shape = g.channels(row(&name("shape"), outputs));
        x = g.node("Mul", &[&x, &shape], &[]);
        let square = |values: Vec<f32>| values.iter().map(|v| v * v).collect::<Vec<_>>();
        let gamma = square(floats(&format!("{}.gamma", name("gdns")), &[outputs, outputs]));
        let beta = square(floats(&format!("{}.beta", name("gdns")), &[outputs])).iter().map(|b| b + 1e-6).collect();
        let (gamma, beta) = (g.constant(&[outputs, outputs, 1, 1], gamma), g.constant(&[outputs], beta));
        let magnitude = g.node("Abs", &[&x], &[]);
        let norm = g.node("Conv", &[&magnitude, &gamma, &beta], &[("kernel_shape", &[1, 1])]);
        x = g.node("Mul", &[&x, &norm], &[]);
    }

    let shape = [c.latents, 3, 24, 24];
    let w = g.constant(&shape, floats("block_synthesis.weight", &shape));
    let b = g.constant(&[3], floats("block_synthesis.bias", &[3]));
    let block: [(&str, &[i64]); 3] = [("kernel_shape", &[24, 24]), ("strides", &[16, 16]), ("pads", &[4, 4, 4, 4])];
    let coarse = g.node("ConvTranspose", &[&y, &w, &b], &block);
    let share = g.channels(vec![0.1]);
    let fine = g.node("Mul", &[&x, &share], &[]);
    let picture = g.node("Add", &[&coarse, &fine], &[]);
    let floats = type_proto::Value::TensorType(type_proto::Tensor { elem_type: DataType::Float as i32, shape: None });
    let kind = TypeProto { value: Some(floats), ..Default::default() };
    let value = |name: &str| ValueInfoProto { name: name.into(), r#type: Some(kind.clone()), ..Default::default() };
    g.0.input.push(value("residuals"));
    g.0.output.push(value(&picture));
    let opset = OperatorSetIdProto { version: 13, ..Default::default() };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(g.0), ..Default::default() }
}
