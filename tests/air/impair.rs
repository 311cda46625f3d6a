//! What a real channel does to samples, written from the definitions and nowhere near the receiver: for tests alone.
// One of the standard's delays is close to 2/π.
#![allow(dead_code, clippy::approx_constant)]

use std::f64::consts::{PI, TAU};

use num_complex::{Complex32, Complex64};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::SPS;

pub fn random(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

pub fn gaussian(random: &mut Xoshiro256PlusPlus, variance: f64) -> Complex64 {
    let (re, im): (f64, f64) = (StandardNormal.sample(random), StandardNormal.sample(random));
    Complex64::new(re, im) * (variance / 2.0).sqrt()
}

/// Adds white noise of this variance per symbol.
pub fn add_noise(samples: &mut [Complex32], variance: f64, seed: u64) {
    let mut random = random(seed ^ 0x5eed);
    let variance = SPS as f64 * variance;
    for sample in samples {
        let noise = gaussian(&mut random, variance);
        *sample += Complex32::new(noise.re as f32, noise.im as f32);
    }
}

/// Samples on either side that an interpolation takes.
const HALF: i64 = 32;

/// The waveform at each of `times`, in samples, by a Hann-windowed sinc of 32 samples on either side.
pub fn interpolate(samples: &[Complex32], times: impl Iterator<Item = f64>) -> Vec<Complex32> {
    let at = |time: f64| {
        let near = time.floor() as i64;
        let fraction = time - near as f64;
        let mut sum = Complex64::default();
        // sin(π(x − k)) is one sine with alternating sign.
        let sine = (PI * fraction).sin() / PI;
        for k in 1 - HALF..=HALF {
            let Some(sample) = usize::try_from(near + k).ok().and_then(|n| samples.get(n)) else { continue };
            let distance = fraction - k as f64;
            let sinc = match distance.abs() < 1e-9 {
                true => 1.0,
                false => sine * if k % 2 == 0 { 1.0 } else { -1.0 } / distance,
            };
            let weight = sinc * (0.5 * PI * distance / (HALF as f64 + 1.0)).cos().powi(2);
            sum += Complex64::new(f64::from(sample.re), f64::from(sample.im)) * weight;
        }
        Complex32::new(sum.re as f32, sum.im as f32)
    };
    times.map(at).collect()
}

/// A path: delay in symbols, gain, Doppler in cycles per symbol.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    pub delay: f64,
    pub gain: Complex64,
    pub doppler: f64,
}

impl Path {
    pub fn new(delay: f64, gain_db: f64, phase: f64) -> Self {
        Self { delay, gain: Complex64::from_polar(10f64.powf(gain_db / 20.0), phase), doppler: 0.0 }
    }
}

/// What arrives over all paths of a list: every delay is one filter, and paths at rest are one filter together.
pub fn paths(samples: &[Complex32], list: &[Path]) -> Vec<Complex32> {
    let mut sum = vec![Complex64::default(); samples.len()];
    let mut delays: Vec<f64> = list.iter().map(|path| path.delay).collect();
    delays.sort_by(f64::total_cmp);
    delays.dedup();
    let reach = SPS as f64 * delays.last().copied().unwrap_or(0.0);
    let mut at_rest = vec![Complex64::default(); reach.ceil() as usize + 2 * HALF as usize + 1];
    for delay in delays {
        let (still, moving): (Vec<Path>, Vec<Path>) =
            list.iter().filter(|path| path.delay == delay).partition(|path| path.doppler == 0.0);
        let gain: Complex64 = still.iter().map(|path| path.gain).sum();
        let kernel = kernel(SPS as f64 * delay, at_rest.len());
        at_rest.iter_mut().zip(&kernel).for_each(|(all, one)| *all += gain * one);
        if moving.is_empty() {
            continue;
        }
        let turns: Vec<_> = moving.iter().map(|path| Complex64::cis(TAU * path.doppler / SPS as f64)).collect();
        let mut gains: Vec<_> = moving.iter().map(|path| path.gain).collect();
        let kernel: Vec<_> = kernel.into_iter().map(Complex64::from).collect();
        filtered(samples, &kernel, |n, x| {
            sum[n] += gains.iter().sum::<Complex64>() * x;
            gains.iter_mut().zip(&turns).for_each(|(gain, turn)| *gain *= turn);
        });
    }
    if at_rest.iter().any(|tap| *tap != Complex64::default()) {
        filtered(samples, &at_rest, |n, x| sum[n] += x);
    }
    sum.into_iter().map(|x| Complex32::new(x.re as f32, x.im as f32)).collect()
}

/// A delay in samples as a filter whose tap `HALF` is no delay: a Hann-windowed sinc.
fn kernel(delay: f64, taps: usize) -> Vec<f64> {
    let tap = |n: usize| {
        let distance = n as f64 - HALF as f64 - delay;
        let sinc = if distance.abs() < 1e-9 { 1.0 } else { (PI * distance).sin() / (PI * distance) };
        if distance.abs() >= HALF as f64 + 1.0 {
            return 0.0;
        }
        sinc * (0.5 * PI * distance / (HALF as f64 + 1.0)).cos().powi(2)
    };
    (0..taps).map(tap).collect()
}

/// Calls `put` with each place and what a filter whose tap [`HALF`] is no delay makes of the samples there.
fn filtered(samples: &[Complex32], taps: &[Complex64], mut put: impl FnMut(usize, Complex64)) {
    let used = taps.iter().position(|tap| *tap != Complex64::default()).unwrap_or(0);
    let until = taps.iter().rposition(|tap| *tap != Complex64::default()).map_or(0, |last| last + 1);
    for n in 0..samples.len() {
        // Sample m meets tap n + HALF − m.
        let latest = (n + HALF as usize).checked_sub(used);
        let mut sum = Complex64::default();
        if let Some(latest) = latest {
            for (tap, gain) in taps[..until.min(n + HALF as usize + 1)].iter().enumerate().skip(used) {
                let Some(sample) = samples.get(latest + used - tap) else { continue };
                sum += gain * Complex64::new(f64::from(sample.re), f64::from(sample.im));
            }
        }
        put(n, sum);
    }
}

/// Delays in spreads and powers in dB of TR 38.901, tables 7.7.2-1 and 7.7.2-3.
pub const TDL_A: [[f64; 2]; 23] = [
    [0.0, -13.4],
    [0.3819, 0.0],
    [0.4025, -2.2],
    [0.5868, -4.0],
    [0.4610, -6.0],
    [0.5375, -8.2],
    [0.6708, -9.9],
    [0.5750, -10.5],
    [0.7618, -7.5],
    [1.5375, -15.9],
    [1.8978, -6.6],
    [2.2242, -16.7],
    [2.1718, -12.4],
    [2.4942, -15.2],
    [2.5119, -10.8],
    [3.0582, -11.3],
    [4.0810, -12.7],
    [4.4579, -16.2],
    [4.5695, -18.3],
    [4.7966, -18.9],
    [5.0066, -16.6],
    [5.3043, -19.9],
    [9.6586, -29.7],
];
pub const TDL_C: [[f64; 2]; 24] = [
    [0.0, -4.4],
    [0.2099, -1.2],
    [0.2219, -3.5],
    [0.2329, -5.2],
    [0.2176, -2.5],
    [0.6366, 0.0],
    [0.6448, -2.2],
    [0.6560, -3.9],
    [0.6584, -7.4],
    [0.7935, -7.1],
    [0.8213, -10.7],
    [0.9336, -11.1],
    [1.2285, -5.1],
    [1.3083, -6.8],
    [2.1704, -8.7],
    [2.7105, -13.2],
    [4.2589, -13.9],
    [4.6003, -13.9],
    [5.4902, -15.8],
    [5.6077, -17.1],
    [6.3065, -16.0],
    [6.6374, -15.7],
    [7.0427, -21.6],
    [8.6523, -22.8],
];

/// One draw of a tapped delay line of unit mean power.
pub fn tapped(table: &[[f64; 2]], spread: f64, doppler: f64, seed: u64) -> Vec<Path> {
    let mut random = random(seed);
    let power = |db: f64| 10f64.powf(db / 10.0);
    let total: f64 = table.iter().map(|[_, db]| power(*db)).sum();
    let mut list = Vec::new();
    for [delay, db] in table {
        // Eight rays a tap where it moves.
        let rays = if doppler > 0.0 { 8 } else { 1 };
        for _ in 0..rays {
            let angle: f64 = random.random_range(0.0..TAU);
            let gain = gaussian(&mut random, power(*db) / total / f64::from(rays));
            list.push(Path { delay: delay * spread, gain, doppler: doppler * angle.cos() });
        }
    }
    list
}

/// Mean over the band of a function of the SNR at each frequency, where paths and pulse leave so much of `snr`; frequencies a
/// symbol rate apart count together.
fn band_mean(list: &[Path], snr: f64, roll_off: f64, of: impl Fn(f64) -> f64) -> f64 {
    const BINS: usize = 1024;
    let at = |f: f64| list.iter().map(|path| path.gain * Complex64::cis(-TAU * f * path.delay)).sum::<Complex64>();
    let raised = |f: f64| {
        let (f, low, high) = (f.abs(), (1.0 - roll_off) / 2.0, (1.0 + roll_off) / 2.0);
        match f {
            f if f < low => 1.0,
            f if f > high => 0.0,
            f => 0.5 + 0.5 * (PI / roll_off * (f - low)).cos(),
        }
    };
    let mean = (0..BINS).map(|bin| {
        let f = (bin as f64 + 0.5) / BINS as f64 - 0.5;
        let gain: f64 = [f - 1.0, f, f + 1.0].map(|f| raised(f) * at(f).norm_sqr()).iter().sum();
        of(snr * gain)
    });
    mean.sum::<f64>() / BINS as f64
}

/// SINR of the linear minimum-mean-square-error equaliser that knows these paths.
pub fn linear_mmse_sinr(list: &[Path], snr: f64, roll_off: f64) -> f64 {
    1.0 / band_mean(list, snr, roll_off, |snr| 1.0 / (1.0 + snr)) - 1.0
}

/// SNR of a single path that carries as much as these do: log₂(1 + SNR) is the band's mean.
pub fn capacity_snr(list: &[Path], snr: f64, roll_off: f64) -> f64 {
    band_mean(list, snr, roll_off, f64::ln_1p).exp_m1()
}

/// Carrier offset in cycles per symbol, drifting by `drift` cycles per symbol².
pub fn carrier(samples: &mut [Complex32], offset: f64, drift: f64) {
    for (n, sample) in samples.iter_mut().enumerate() {
        let symbols = n as f64 / SPS as f64;
        let turn = Complex64::cis(TAU * ((offset + 0.5 * drift * symbols) * symbols % 1.0));
        *sample *= Complex32::new(turn.re as f32, turn.im as f32);
    }
}

/// The receiver's sampling clock runs `ppm` too fast.
pub fn clock(samples: &[Complex32], ppm: f64) -> Vec<Complex32> {
    interpolate(samples, (0..samples.len()).map(|n| n as f64 / (1.0 + 1e-6 * ppm)))
}

/// A phase that walks: `rms_deg` about its mean within a frame of 1 696 symbols (the variance about the mean of a walk of
/// length T is a sixth of that of its end).
pub fn phase_noise(samples: &mut [Complex32], rms_deg: f64, seed: u64) {
    let mut random = random(seed ^ 0xf00d);
    let step = rms_deg.to_radians() * 6f64.sqrt() / (1528.0 * SPS as f64).sqrt();
    let mut phase = 0.0f64;
    for sample in samples {
        let draw: f64 = StandardNormal.sample(&mut random);
        phase += step * draw;
        *sample *= Complex32::new(phase.cos() as f32, phase.sin() as f32);
    }
}

pub fn image(samples: &mut [Complex32], db: f64, phase: f32) {
    let share = Complex32::from_polar(10f32.powf(db as f32 / 20.0), phase);
    samples.iter_mut().for_each(|sample| *sample += share * sample.conj());
}

pub fn tone(samples: &mut [Complex32], amplitude: f32, cycles_per_sample: f64) {
    for (n, sample) in samples.iter_mut().enumerate() {
        let turn = Complex64::cis(TAU * (cycles_per_sample * n as f64 % 1.0));
        *sample += Complex32::new(turn.re as f32, turn.im as f32) * amplitude;
    }
}

/// Root mean square of the complex samples.
pub fn rms(samples: &[Complex32]) -> f32 {
    (samples.iter().map(|x| f64::from(x.norm_sqr())).sum::<f64>() / samples.len() as f64).sqrt() as f32
}

/// Clips the modulus at so many dB over the root mean square.
pub fn clip(samples: &mut [Complex32], over_rms_db: f64) {
    let limit = rms(samples) * 10f32.powf(over_rms_db as f32 / 20.0);
    for sample in samples {
        let norm = sample.norm();
        if norm > limit {
            *sample *= limit / norm;
        }
    }
}

/// A converter of so many bits whose full scale lies so far over the root mean square of an axis.
pub fn quantise(samples: &mut [Complex32], bits: u32, full_scale_db: f64) {
    let full = rms(samples) / 2f32.sqrt() * 10f32.powf(full_scale_db as f32 / 20.0);
    let step = full / (1u32 << (bits - 1)) as f32;
    let axis = |x: f32| ((x / step).floor() + 0.5).clamp(-(full / step) + 0.5, full / step - 0.5) * step;
    samples.iter_mut().for_each(|sample| *sample = Complex32::new(axis(sample.re), axis(sample.im)));
}

/// Gaussian bursts of `length` samples every `period`, `db` over the mean power.
pub fn bursts(samples: &mut [Complex32], db: f64, length: usize, period: usize, seed: u64) {
    let (mut random, power) = (random(seed ^ 0xb0), f64::from(rms(samples)).powi(2) * 10f64.powf(db / 10.0));
    let mut from = random.random_range(0..period);
    while from + length < samples.len() {
        for sample in &mut samples[from..from + length] {
            let burst = gaussian(&mut random, power);
            *sample += Complex32::new(burst.re as f32, burst.im as f32);
        }
        from += period;
    }
}

/// Gain steps, up and down in turn, at random places about every `period` samples.
pub fn gain_steps(samples: &mut [Complex32], db: f64, period: usize, seed: u64) {
    let mut random = random(seed ^ 0x9a);
    let high = 10f32.powf(db as f32 / 20.0);
    let (mut next, mut up) = (random.random_range(0..period), false);
    for (n, sample) in samples.iter_mut().enumerate() {
        if n == next {
            (next, up) = (next + random.random_range(period / 2..3 * period / 2), !up);
        }
        if up {
            *sample *= high;
        }
    }
}
