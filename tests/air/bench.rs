//! The communication receiver's loss under an impairment, in dB at a block error rate of 1e-2: the whole receiver (search,
//! header and all) on frames that were impaired by `impair.rs`.
#![allow(dead_code)]

use issc::coding::{BLOCK_CRC, BLOCK_SYMBOLS, BlockScratch, calibration, plan};
use issc::modem::receiver::FrameReceiver;
use num_complex::Complex32;

use super::impair;
use super::{Link, Transmitter, beams, read};

/// N_c of 1.73 and of 4.76 bits a symbol.
pub const BITS: [usize; 2] = [443, 1219];

pub type Impair<'a> = &'a dyn Fn(Vec<Complex32>) -> Vec<Complex32>;

/// Frames of one code, and the SNR at which one of its blocks in a hundred is lost.
pub struct Bench {
    pub transmitter: Transmitter,
    pub clean: Vec<Complex32>,
    pub frames: std::ops::Range<u64>,
    pub threshold_db: f64,
}

/// What came of one run.
pub struct Outcome {
    /// Share of the blocks sent that did not arrive.
    pub lost: f64,
    /// Blocks that passed their check and are wrong.
    pub wrong: usize,
    pub headers: usize,
    pub sinr_db: f64,
}

pub fn db(x: f64) -> f64 {
    10.0 * x.log10()
}

impl Bench {
    pub fn new(bits: usize, frames: u64) -> Self {
        let code = plan(bits, BLOCK_SYMBOLS, BLOCK_CRC).unwrap();
        let mut transmitter = Transmitter::with_code(beams(1.0, 0.0, 0.0), code, 1);
        let frames = 61..61 + frames;
        let clean = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed: 1 }
            .samples(&mut transmitter, frames.clone());
        let rate = |snr_db: f64| calibration::block_error_rate(snr_db, bits);
        let (mut low, mut high) = (-10.0, 40.0);
        while high - low > 1e-4 {
            let middle = 0.5 * (low + high);
            if rate(middle) > 1e-2 { low = middle } else { high = middle }
        }
        Self { transmitter, clean, frames, threshold_db: high }
    }

    /// Sends all frames; `air` comes before the noise, `hardware` after it.
    pub fn run(&mut self, snr_db: f64, seed: u64, air: Impair, hardware: Impair) -> Outcome {
        let mut samples = air(self.clean.clone());
        impair::add_noise(&mut samples, 10f64.powf(-snr_db / 10.0), seed);
        let samples = hardware(samples);
        let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed };
        let mut receiver = link.receiver(3392);
        let mut scratch = BlockScratch::with_rescue();
        let (mut right, mut wrong, mut headers, mut sinr) = (0, 0, 0, 0.0);
        let mut take = |receiver: &mut FrameReceiver, transmitter: &Transmitter, last| {
            while let Some(status) = receiver.next_frame(last) {
                if !self.frames.contains(&status.number) {
                    continue;
                }
                let received = read(transmitter, receiver, status, &mut scratch);
                right += received.blocks_right;
                wrong += received.blocks_wrong;
                headers += 1;
                sinr += status.sinr;
            }
        };
        for (index, part) in samples.chunks(3392).enumerate() {
            receiver.push((index * 3392) as u64, part);
            take(&mut receiver, &self.transmitter, false);
        }
        take(&mut receiver, &self.transmitter, true);
        let sent = 4 * (self.frames.end - self.frames.start) as usize;
        let lost = 1.0 - right as f64 / sent as f64;
        Outcome { lost, wrong, headers, sinr_db: db(sinr / headers.max(1) as f64) }
    }

    /// The loss in dB at a block error rate of 1e-2: the crossing between steps of the signal-to-noise ratio.
    pub fn loss_db(&mut self, seed: u64, air: Impair, hardware: Impair) -> (f64, Outcome) {
        let mut above: Option<(f64, f64)> = None;
        let mut loss = 0.3;
        let floor = 0.25 / (4 * (self.frames.end - self.frames.start)) as f64;
        let level = |lost: f64| lost.max(floor).log10();
        loop {
            let outcome = self.run(self.threshold_db + loss, seed, air, hardware);
            let here = (loss, level(outcome.lost));
            let crosses = |a: (f64, f64), b: (f64, f64)| a.0 + (-2.0 - a.1) / (b.1 - a.1) * (b.0 - a.0);
            match above {
                Some(before) if (before.1 > -2.0) != (here.1 > -2.0) => return (crosses(before, here), outcome),
                _ if here.1 > -2.0 && loss > 8.0 => return (f64::INFINITY, outcome),
                _ if here.1 <= -2.0 && loss < -1.0 => return (f64::NEG_INFINITY, outcome),
                _ => {}
            }
            above = Some(here);
            let step = if here.1 > -0.5 {
                1.0
            } else if here.1 > -1.0 {
                0.5
            } else {
                0.25
            };
            loss += if here.1 > -2.0 { step } else { -0.25 };
        }
    }
}

pub fn same(samples: Vec<Complex32>) -> Vec<Complex32> {
    samples
}

pub fn changed(change: impl Fn(&mut [Complex32])) -> impl Fn(Vec<Complex32>) -> Vec<Complex32> {
    move |mut samples| {
        change(&mut samples);
        samples
    }
}
