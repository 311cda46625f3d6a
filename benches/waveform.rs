//! Samples per second of the waveform's three chains on one core: transmitter (shape and superpose), communication
//! receiver (samples to equalised symbols, header read) and simulated world (direct path, echo on four antennas, noise).
//!
//! An item is one sample of one antenna's stream: divide by two for symbols. Kernels stand beside the plain loop that they
//! replace, in the same run.

#[path = "../tests/air/mod.rs"]
mod air;

use air::{ANTENNAS, Link, ROLL_OFF, SPS, Transmitter, beams};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use issc::channel::{Noise, World};
use issc::dsp::{MatchedFilter, PulseShaper, SPAN_SYMBOLS, Superposer, root_raised_cosine, tail_samples};
use issc::modem::frame::{Layout, PREAMBLE};
use issc::scene::Scene;
use num_complex::Complex32;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Samples of a frame without sounding.
const FRAME: usize = 3056;

fn main() {
    let machine = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = machine.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    println!("machine {name}");
    divan::main();
}

fn link() -> Link {
    Link { symbol_rate_hz: 100e6, carrier_offset_hz: 9e3, noise_variance: 0.125, seed: 1 }
}

fn row(length: usize) -> Vec<Complex32> {
    (0..length).map(|n| Complex32::from_polar(1.0, 0.37 * (n * n % 1009) as f32)).collect()
}

/// Both streams and the sounding row shaped, then four antennas.
#[divan::bench]
fn transmitter(bencher: Bencher) {
    let mut transmitter = Transmitter::new(beams(1.0, 0.3, 0.2), 200, 1);
    let layout = transmitter.assemble(1);
    let mut antennas = vec![Vec::new(); ANTENNAS];
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| transmitter.transmit(layout, black_box(&mut antennas)));
}

#[divan::bench]
fn shape_one_row(bencher: Bencher) {
    let (symbols, mut samples) = (row(1696), row(FRAME + tail_samples(SPS)));
    let mut shaper = PulseShaper::new(1696, SPS, ROLL_OFF);
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| shaper.shape(black_box(&symbols), black_box(&mut samples)));
}

/// The convolution written out, at the baseline instruction set.
#[divan::bench]
fn shape_one_row_plain_loop(bencher: Bencher) {
    let (symbols, mut samples) = (row(1696), row(FRAME + tail_samples(SPS)));
    let taps: Vec<f32> = (-32..=32).map(|n| root_raised_cosine(f64::from(n) / 2.0, ROLL_OFF) as f32).collect();
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        samples.fill(Complex32::ZERO);
        for (n, symbol) in black_box(&symbols).iter().enumerate() {
            for (sample, tap) in samples[2 * n..].iter_mut().zip(&taps) {
                *sample += symbol * tap;
            }
        }
        black_box(&mut samples);
    });
}

/// One antenna: two streams with their weights and the tail.
#[divan::bench]
fn superpose_one_antenna(bencher: Bencher) {
    let tail = tail_samples(SPS);
    let (s_c, s_0, mut out) = (row(FRAME + tail), row(FRAME + tail), row(FRAME));
    let mut superposer = Superposer::new(1, tail);
    let weights = [Complex32::new(0.3, 0.1), Complex32::new(-0.2, 0.4)];
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        superposer.antenna(0, black_box(&s_c), black_box(&s_0), weights, |_| {}, black_box(&mut out));
    });
}

#[divan::bench]
fn superpose_one_antenna_plain_loop(bencher: Bencher) {
    let (s_c, s_0, mut out) = (row(FRAME), row(FRAME), row(FRAME));
    let [w_c, w_0] = [Complex32::new(0.3, 0.1), Complex32::new(-0.2, 0.4)];
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        for ((out, s_c), s_0) in out.iter_mut().zip(black_box(&s_c)).zip(black_box(&s_0)) {
            *out = w_c * s_c + w_0 * s_0;
        }
        black_box(&mut out);
    });
}

/// All symbols of a frame at a timing between samples.
#[divan::bench]
fn matched_filter(bencher: Bencher) {
    let (samples, mut symbols) = (row(FRAME + 2 * SPS * SPAN_SYMBOLS + 2), row(1696));
    let mut filter = MatchedFilter::new(1696, SPS, ROLL_OFF);
    bencher
        .counter(ItemsCount::new(FRAME))
        .bench_local(|| filter.filter(black_box(&samples), 0.3, black_box(&mut symbols)));
}

/// Locked: timing, carrier, channel, header, equalised payload. The payload's decoding is the coding benchmark's.
#[divan::bench]
fn communication_receiver_locked(bencher: Bencher) {
    let link = link();
    let mut transmitter = Transmitter::new(beams(1.0, 0.0, 0.2), 200, 1);
    let samples = link.samples(&mut transmitter, 1..41);
    let mut receiver = link.receiver(FRAME);
    let (mut time, mut from) = (0, 0);
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        if from + FRAME > samples.len() - 3 * FRAME {
            // Back by whole frames, so that the receiver keeps its lock.
            from -= 32 * FRAME;
        }
        receiver.push(time, &samples[from..from + FRAME]);
        (time, from) = (time + FRAME as u64, from + FRAME);
        while let Some(status) = receiver.next_frame(false) {
            black_box(status);
        }
    });
}

/// Nothing but noise: the receiver searches all the time.
#[divan::bench]
fn communication_receiver_searching(bencher: Bencher) {
    let mut receiver = link().receiver(FRAME);
    let mut samples = vec![Complex32::ZERO; FRAME];
    Noise::new(1, 1, 1.0).add(0, &mut samples);
    let mut time = 0;
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        receiver.push(time, &samples);
        time += FRAME as u64;
        while receiver.next_frame(false).is_some() {}
    });
}

/// One sample = one instant of all five receiving rows.
#[divan::bench]
fn world(bencher: Bencher) {
    let mut transmitter = Transmitter::new(beams(1.0, 0.3, 0.2), 200, 1);
    let layout: Layout = transmitter.assemble(1);
    let mut antennas = vec![Vec::new(); ANTENNAS];
    transmitter.transmit(layout, &mut antennas);
    let mut world = World::new(&Scene::paper(), 1, FRAME, PREAMBLE).unwrap();
    let mut rows = vec![vec![Complex32::ZERO; FRAME]; 5];
    let mut number = 0;
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        let time = number * FRAME as u64;
        world.begin_frame(number, time, 0.0);
        world.receive(time, antennas.iter().map(|row| &row[..]), FRAME, rows.iter_mut().map(|row| &mut row[..]));
        number += 1;
        black_box(&mut rows);
    });
}

/// Complex Gaussian samples added to one row.
#[divan::bench]
fn noise(bencher: Bencher) {
    let (noise, mut samples) = (Noise::new(1, 1, 1.0), row(FRAME));
    let mut chunk = 0;
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        noise.add(chunk, black_box(&mut samples));
        chunk += 1;
    });
}

/// The same by the ziggurat of `rand_distr`.
#[divan::bench]
fn noise_by_ziggurat(bencher: Bencher) {
    let (mut random, mut samples) = (Xoshiro256PlusPlus::seed_from_u64(1), row(FRAME));
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        for sample in black_box(&mut samples).iter_mut() {
            let (re, im): (f32, f32) = (StandardNormal.sample(&mut random), StandardNormal.sample(&mut random));
            *sample += Complex32::new(re, im);
        }
    });
}
