//! Fractional delay by a Kaiser-windowed sinc: exact to −80 dB for |f| ≤ 0.3125 cycles per sample, the band of a
//! root-raised-cosine signal of roll-off 0.25 at two samples per symbol. The images begin at 0.6875, so 24 taps reach
//! −95 dB.

use std::f64::consts::PI;

use num_complex::Complex32;

use super::fir;

/// Taps of the interpolating filter.
pub const FILTER_TAPS: usize = 24;

/// Samples by which the filter reaches ahead of the delayed instant.
pub const FILTER_LATENCY: usize = FILTER_TAPS / 2;

/// Shape parameter of the Kaiser window.
const KAISER_BETA: f64 = 10.0;

/// The filter for one delay.
#[derive(Debug, Clone)]
pub struct DelayTaps {
    whole: i64,
    taps: [f32; FILTER_TAPS],
}

impl DelayTaps {
    /// The filter for a delay of `samples`, of either sign.
    pub fn new(samples: f64) -> Self {
        let whole = samples.floor();
        let fraction = samples - whole;
        let highest = bessel_i0(KAISER_BETA);
        // Tap k weighs input[n − whole − LATENCY + k]; the delayed instant is n − whole − fraction.
        let taps = std::array::from_fn(|k| {
            let distance = k as f64 - FILTER_LATENCY as f64 + fraction;
            (sinc(distance) * kaiser(distance / FILTER_LATENCY as f64, highest)) as f32
        });
        Self { whole: whole as i64, taps }
    }

    /// The filter itself: tap k weighs the input k samples after where [`Self::reach_back`] says that it begins.
    pub fn taps(&self) -> &[f32; FILTER_TAPS] {
        &self.taps
    }

    /// Samples before the first output sample at which the filter's input begins, at most; may be negative.
    pub fn reach_back(&self) -> i64 {
        self.whole + FILTER_LATENCY as i64
    }

    /// `output[n]` = the input's waveform at `n − delay`, where `input[0]` stands [`Self::reach_back`] samples before
    /// `output[0]`; `input` holds `output.len() + FILTER_TAPS − 1` samples.
    pub fn apply(&self, input: &[Complex32], output: &mut [Complex32]) {
        fir(input, &self.taps, output);
    }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The window, given the value of its Bessel function in the middle.
fn kaiser(x: f64, highest: f64) -> f64 {
    if x.abs() > 1.0 { 0.0 } else { bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / highest }
}

/// Modified Bessel function of the first kind, order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..60 {
        term *= quarter / (k * k) as f64;
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_in_band_are_delayed_exactly_to_minus_80_db() {
        for delay in [0.0, 0.25, 0.5, 0.731, 12.999, -3.3] {
            let taps = DelayTaps::new(delay);
            for step in 0..=20 {
                let frequency = -0.3125 + 0.625 * f64::from(step) / 20.0;
                let tone = |n: f64| {
                    let phase = 2.0 * PI * frequency * n;
                    Complex32::new(phase.cos() as f32, phase.sin() as f32)
                };
                let begin = -taps.reach_back();
                let input: Vec<_> = (0..100 + FILTER_TAPS as i64).map(|n| tone((begin + n) as f64)).collect();
                let mut output = vec![Complex32::default(); 100];
                taps.apply(&input, &mut output);
                for (n, value) in output.iter().enumerate() {
                    let error = (value - tone(n as f64 - delay)).norm();
                    assert!(error < 1e-4, "delay {delay}, frequency {frequency}: {error}");
                }
            }
        }
    }
}
