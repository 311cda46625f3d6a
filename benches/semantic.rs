//! Encoding and decoding of one picture on one core, on each kind of lanes this machine has; `scalar` is the baseline.
//!
//! ```text
//! cargo bench --bench semantic
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use divan::{Bencher, black_box};
use image::RgbImage;
use image::imageops::{FilterType, resize};
use issc::semantic::{Bank, Decoder, Encoder, SLICE_BITS, Simd};

fn main() {
    let found: Vec<&str> = Simd::all().into_iter().map(Simd::name).collect();
    println!("lanes on this machine: {}; times are per picture", found.join(", "));
    divan::main();
}

const SIZES: [(u32, u32); 2] = [(256, 256), (768, 512)];

/// The shipped network, and in a checkout the wider one in training.
const BANKS: [&str; 2] = ["models/hyperprior", "training/wide"];

type Case = (&'static str, &'static str, (u32, u32));

fn cases() -> Vec<Case> {
    let lanes = || Simd::all().into_iter().rev().flat_map(|simd| SIZES.map(|size| (simd.name(), size)));
    let here = BANKS.into_iter().filter(|bank| folder(bank).exists());
    here.flat_map(|bank| lanes().map(move |(simd, size)| (bank, simd, size))).collect()
}

fn folder(bank: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(bank)
}

fn load(bank: &str) -> Arc<Bank> {
    Bank::uncalibrated(&folder(bank)).expect("a bank of the repository")
}

fn lanes(name: &str) -> Simd {
    Simd::all().into_iter().find(|s| s.name() == name).expect("a case of this machine")
}

fn picture((width, height): (u32, u32)) -> RgbImage {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pictures/macaws.png");
    let sample = image::open(path).expect("the sample picture").to_rgb8();
    resize(&sample, width, height, FilterType::CatmullRom)
}

/// A model near half a bit per pixel.
fn middle(bank: &Bank) -> usize {
    bank.planned("mse").len() / 2
}

#[divan::bench(args = cases(), min_time = 1, max_time = 5)]
fn encode(bencher: Bencher, (bank, simd, size): Case) {
    let bank = load(bank);
    let model = middle(&bank);
    let mut encoder = Encoder::with_options(bank, lanes(simd), SLICE_BITS);
    let picture = picture(size);
    bencher.bench_local(|| encoder.encode(black_box(&picture), model, 0).expect("a sound picture"));
}

#[divan::bench(args = cases(), min_time = 1, max_time = 5)]
fn decode(bencher: Bencher, (bank, simd, size): Case) {
    let bank = load(bank);
    let model = middle(&bank);
    let coded = Encoder::new(bank.clone()).encode(&picture(size), model, 0).expect("a sound picture");
    let mut decoder = Decoder::with_simd(bank, lanes(simd));
    let mut image = RgbImage::new(0, 0);
    bencher.bench_local(|| {
        decoder.decode_into(black_box(&coded.protected), &coded.body, &[], &mut image).expect("a sound stream")
    });
}
