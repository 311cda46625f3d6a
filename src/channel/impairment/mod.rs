//! What a real channel and real front ends do to samples, one impairment a file. Each works in place on the rows of one
//! receiver (or the antennas of the transmitter), keeps its state between chunks and gives the same samples however the
//! stream is cut. What is random follows from a seed. None of them allocates after it was made.
//!
//! Rows of one receiver share its oscillators, its clock and its gain control; converters, their direct current and their
//! images are each row's own.

mod carrier;
mod clock;
mod converter;
mod coupling;
mod disturbance;
mod frames;
mod level;
mod multipath;
mod offset;
mod phase_noise;
mod row;

use num_complex::Complex32;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

pub use carrier::CarrierOffset;
pub use clock::ClockOffset;
pub use converter::{Adc, Clip, PowerAmplifier};
pub use coupling::Coupling;
pub use disturbance::{Bursts, Tone};
pub use frames::{GainStep, Gap, Jitter};
pub use level::{Gain, Level};
pub use multipath::{Arrival, Multipath, Profile};
pub use offset::{DirectCurrent, IqImage};
pub use phase_noise::{PhaseNoise, PhaseShape};
pub use row::{RowError, RowFault, RowSwap};

/// Samples that an impairment with scratch works on at a time.
const BLOCK: usize = 1024;

/// Something that changes samples on their way.
pub trait Impairment: Send {
    /// Samples by which it delays what it is given, beyond what it is meant to do.
    fn lag(&self) -> usize {
        0
    }

    /// Frame `number` begins at sample `at` of the rows, counted from their first; it is announced before that sample.
    fn begin_frame(&mut self, number: u64, at: u64) {
        let _ = (number, at);
    }

    /// Changes the next samples of all rows, which are of one length.
    fn apply(&mut self, rows: &mut [&mut [Complex32]]);

    /// Changes the next samples of a receiver with one row.
    fn apply_one(&mut self, samples: &mut [Complex32])
    where
        Self: Sized,
    {
        self.apply(&mut [samples]);
    }
}

/// Length of rows that are all as long as the first.
fn length(rows: &[&mut [Complex32]]) -> usize {
    rows.first().map_or(0, |row| row.len())
}

/// The random numbers of one purpose.
fn generator(seed: u64, purpose: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(super::noise::mix(seed, purpose))
}

fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    StandardNormal.sample(random)
}

/// Unit phasors of random direction, one for each of so many rows.
fn directions(seed: u64, purpose: u64, rows: usize) -> Vec<Complex32> {
    use rand::RngExt;
    let mut random = generator(seed, purpose);
    (0..rows).map(|_| single(num_complex::Complex64::cis(random.random_range(0.0..std::f64::consts::TAU)))).collect()
}

/// The amplitude of a power ratio in decibels.
fn amplitude(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

fn single(exact: num_complex::Complex64) -> Complex32 {
    Complex32::new(exact.re as f32, exact.im as f32)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// White QPSK-like samples of unit power.
    pub fn white(count: usize, seed: u64) -> Vec<Complex32> {
        let mut random = generator(seed, 1);
        let scale = std::f64::consts::FRAC_1_SQRT_2;
        (0..count)
            .map(|_| Complex32::new((normal(&mut random) * scale) as f32, (normal(&mut random) * scale) as f32))
            .collect()
    }

    /// A tone of unit power.
    pub fn tone(count: usize, cycles_per_sample: f64) -> Vec<Complex32> {
        (0..count)
            .map(|n| single(num_complex::Complex64::cis(std::f64::consts::TAU * cycles_per_sample * n as f64)))
            .collect()
    }

    /// What two rows become in one go and in pieces of changing length; asserts that both are the same bits.
    pub fn whole(make: impl Fn() -> Box<dyn Impairment>, rows: [Vec<Complex32>; 2]) -> [Vec<Complex32>; 2] {
        let count = rows[0].len();
        let frames = |impairment: &mut dyn Impairment| {
            for number in 0..12 {
                impairment.begin_frame(number, 700 + 1000 * number);
            }
        };
        let [mut first, mut second] = rows.clone();
        let mut impairment = make();
        frames(&mut *impairment);
        impairment.apply(&mut [&mut first, &mut second]);
        let [mut one, mut two] = rows;
        let mut impairment = make();
        frames(&mut *impairment);
        let (mut from, mut step) = (0, 1);
        while from < count {
            let end = (from + step).min(count);
            impairment.apply(&mut [&mut one[from..end], &mut two[from..end]]);
            from = end;
            step = (step * 7 + 3) % 2999;
        }
        assert!(first == one && second == two, "chunks change what comes out");
        [first, second]
    }
}
