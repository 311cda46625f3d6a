//! `cargo bench --bench coding`: the LDPC decoder on one core, beside ldpc-toolbox in the same run.
//!
//! `hopeless` decodes noise, so that all eight iterations run: the table's `item/s` are edge-lanes (edges of the lifted
//! graph times iterations) per second. `at_waterfall` decodes blocks at 1e-3, with early stop: `item/s` are information bits.

use divan::Bencher;
use divan::counter::ItemsCount;
use issc::coding::ldpc::{BATCH, BaseGraph, BeliefPropagation, Decoder, Kernel, LdpcCode, QuasiCyclic};
use issc::coding::{BlockCode, BlockScratch, Crc, DecodeOutcome};
use issc::modem::constellation::{Modulation, SOFT_SCALE};
use ldpc_toolbox::decoder::factory::{DecoderFactory, DecoderImplementation};
use ldpc_toolbox::sparse::SparseMatrix;
use num_complex::Complex32;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

const ITERATIONS: u8 = 8;
const SYMBOLS: usize = 256;

/// Base graph, N_c, modulation and SNR at a block error rate of about 1e-3.
const CODES: [(BaseGraph, usize, Modulation, f32); 6] = [
    (BaseGraph::Two, 128, Modulation::Qpsk, -0.84),
    (BaseGraph::Two, 256, Modulation::Qpsk, 2.48),
    (BaseGraph::Two, 512, Modulation::Qam16, 7.35),
    (BaseGraph::One, 768, Modulation::Qam16, 11.18),
    (BaseGraph::One, 1024, Modulation::Qam64, 14.57),
    (BaseGraph::One, 1536, Modulation::Qam256, 20.98),
];

fn main() {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processor.lines().find(|line| line.starts_with("model name")).unwrap_or("unknown processor");
    println!("{name}; kernels: {:?}", Kernel::available());
    divan::main();
}

struct Case {
    code: LdpcCode,
    /// Soft bits of [`BATCH`] blocks.
    soft: Vec<i8>,
}

impl Case {
    fn new(code: usize, snr_db: Option<f32>) -> Self {
        let (graph, bits, modulation, waterfall_db) = CODES[code];
        let coded = SYMBOLS * modulation.bits_per_symbol();
        let code = LdpcCode::new(graph, bits, coded, modulation.bits_per_symbol()).unwrap();
        let noise_variance = 10f32.powf(-snr_db.unwrap_or(waterfall_db) / 10.0);
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(3);
        let (mut symbols, mut word) = (vec![Complex32::default(); SYMBOLS], vec![0; coded]);
        let mut soft = vec![0; BATCH * coded];
        for soft in soft.chunks_exact_mut(coded) {
            code.encode(&vec![1; bits], &mut word, &mut Default::default());
            modulation.map(&word, &mut symbols);
            for symbol in &mut symbols {
                let noise: [f32; 2] = std::array::from_fn(|_| StandardNormal.sample(&mut random));
                *symbol += Complex32::new(noise[0], noise[1]) * (noise_variance / 2.0).sqrt();
            }
            modulation.demap(&symbols, noise_variance, soft);
        }
        Self { code, soft }
    }

    /// Times the decoding of one block (of [`BATCH`] decoded together).
    fn bench(&self, bencher: Bencher, kernel: Kernel, items_per_block: impl Fn(u64) -> u64) {
        let mut decoder = Decoder::with_kernel(kernel).expect("it is available");
        let mut information = vec![0; BATCH * self.code.information_bits()];
        let mut outcomes = [(false, 0); BATCH];
        self.code.decode_batch(&self.soft, &mut information, ITERATIONS, &mut outcomes, &mut decoder);
        let iterations = outcomes.iter().map(|(_, iterations)| u64::from(*iterations)).sum();
        bencher.counter(ItemsCount::new(items_per_block(iterations))).bench_local(|| {
            self.code.decode_batch(&self.soft, &mut information, ITERATIONS, &mut outcomes, &mut decoder)
        });
    }
}

/// A code by its place in [`CODES`], and a kernel.
#[derive(Debug, Clone, Copy)]
struct Setup(usize, Kernel);

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (graph, bits, modulation, _) = CODES[self.0];
        let z = graph.lifting_for(bits).unwrap_or_default();
        write!(f, "({}, {bits}) Z {z} {:?}", SYMBOLS * modulation.bits_per_symbol(), self.1)
    }
}

fn setups() -> Vec<Setup> {
    let kernels = Kernel::available();
    (0..CODES.len())
        .flat_map(|code| kernels.iter().map(move |kernel| Setup(code, *kernel)).collect::<Vec<_>>())
        .collect()
}

/// Four blocks of noise, eight iterations each.
#[divan::bench(args = setups())]
fn four_hopeless(bencher: Bencher, Setup(code, kernel): Setup) {
    let case = Case::new(code, Some(-20.0));
    let edges = (case.code.edges() * case.code.lifting()) as u64;
    case.bench(bencher, kernel, |iterations| edges * iterations);
}

/// Four blocks at the waterfall, early stop.
#[divan::bench(args = setups())]
fn four_at_waterfall(bencher: Bencher, Setup(code, kernel): Setup) {
    let case = Case::new(code, None);
    let bits = (BATCH * case.code.information_bits()) as u64;
    case.bench(bencher, kernel, |_| bits);
}

/// What shaping adds: four blocks of N_c bits without noise, which one iteration decodes; `item/s` are information bits.
#[divan::bench(args = [(512, Modulation::Qam16), (1024, Modulation::Qam64)], consts = [false, true])]
fn four_without_noise<const SHAPED: bool>(bencher: Bencher, (bits, modulation): (usize, Modulation)) {
    let make = if SHAPED { BlockCode::shaped } else { BlockCode::new };
    let code = make(bits, SYMBOLS, modulation, Crc::None).unwrap();
    let mut scratch = BlockScratch::default();
    let mut coded = vec![0; code.coded_bits()];
    code.encode(&vec![1; bits], &mut coded, &mut scratch);
    let soft: Vec<i8> = coded.iter().map(|bit| if *bit == 0 { 30 } else { -30 }).collect::<Vec<_>>().repeat(BATCH);
    let (mut words, mut outcomes) = (vec![0; BATCH * bits], [DecodeOutcome::default(); BATCH]);
    bencher
        .counter(ItemsCount::new(BATCH * bits))
        .bench_local(|| code.decode_words(&soft, &mut words, &mut outcomes, &mut scratch));
}

/// Belief propagation, the rescue of a block that was given up: one block of noise, eight iterations.
#[divan::bench(args = 0..CODES.len())]
fn one_hopeless_rescue(bencher: Bencher, code: usize) {
    let case = Case::new(code, Some(-20.0));
    let mut information = vec![0; case.code.information_bits()];
    let mut scratch = BeliefPropagation::default();
    let edges = (case.code.edges() * case.code.lifting()) as u64;
    bencher
        .counter(ItemsCount::new(edges * u64::from(ITERATIONS)))
        .bench_local(|| case.code.propagate(&case.soft, &mut information, ITERATIONS, &mut scratch));
}

/// ldpc-toolbox's layered min-star on bytes: one block of noise, eight iterations, the same pruned matrix.
#[divan::bench(args = [1, 2])]
fn one_hopeless_ldpc_toolbox(bencher: Bencher, code: usize) {
    let graph = CODES[code].0;
    let reference = Case::new(code, Some(-20.0));
    let z = reference.code.lifting();
    let structure = QuasiCyclic::new(graph, z);
    let rows = reference.code.rows();
    let columns = graph.columns_k() + rows;
    let mut matrix = SparseMatrix::new(rows * z, columns * z);
    for (row, check) in (0..rows).flat_map(|row| (0..z).map(move |check| (row, check))) {
        for (column, shift) in structure.row(row) {
            matrix.insert(row * z + check, column * z + (check + shift) % z);
        }
    }
    let mut decoder = DecoderImplementation::HLAminstari8.build_decoder(matrix);
    let mut llrs: Vec<f64> = vec![0.0; columns * z];
    let sent = llrs[2 * z..].iter_mut().zip(&reference.soft);
    sent.for_each(|(llr, soft)| *llr = f64::from(*soft) / f64::from(SOFT_SCALE));
    let edges = (reference.code.edges() * z) as u64;
    bencher
        .counter(ItemsCount::new(edges * u64::from(ITERATIONS)))
        .bench_local(|| decoder.decode(&llrs, usize::from(ITERATIONS)));
}
