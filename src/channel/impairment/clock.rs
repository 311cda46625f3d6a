//! A receiver whose sampling clock runs at another rate than the transmitter's.

use num_complex::Complex32;

use super::{BLOCK, Impairment, length};
use crate::dsp::{DelayTaps, FILTER_LATENCY, FILTER_TAPS};

/// Fractions of a sample that filters are kept for; between them the taps are interpolated, good to −118 dB.
const FRACTIONS: usize = 1024;

/// The clock is off. A stream of as many samples as come in cannot drift for ever: after `reserve` samples of drift the
/// stream jumps back to where it began, which costs the frames there (2048 samples at 40 ppm: 51 million samples later).
pub struct ClockOffset {
    ppm: f64,
    taps: Vec<[f32; FILTER_TAPS]>,
    /// For each row: what came last, and the newest samples.
    rows: Vec<Vec<Complex32>>,
    /// Samples by which the stream is late at the start, so that a slow clock has something to read ahead.
    reserve: usize,
    /// Samples kept before the newest ones.
    history: usize,
    /// Samples by which the next output lies behind the next input.
    delay: f64,
}

impl ClockOffset {
    /// Slow by so many parts per million: fewer samples are taken in the same time. Negative is fast.
    pub fn new(ppm: f64, reserve: usize, rows: usize) -> Self {
        let taps = (0..=FRACTIONS).map(|k| {
            // The last one is the first of the next sample, which the same window reaches.
            let fraction = k as f64 / FRACTIONS as f64;
            if k == FRACTIONS { shifted(DelayTaps::new(0.0).taps()) } else { *DelayTaps::new(fraction).taps() }
        });
        let history = 2 * reserve + FILTER_TAPS + FILTER_LATENCY;
        Self {
            reserve,
            history,
            ppm,
            taps: taps.collect(),
            rows: vec![vec![Complex32::default(); history + BLOCK]; rows],
            delay: (reserve + FILTER_LATENCY) as f64,
        }
    }

    /// Another rate from the next sample on.
    pub fn set(&mut self, ppm: f64) {
        self.ppm = ppm;
    }
}

/// The filter of a delay that is longer by one sample, in the window of the shorter one.
fn shifted(taps: &[f32; FILTER_TAPS]) -> [f32; FILTER_TAPS] {
    std::array::from_fn(|k| if k + 1 < FILTER_TAPS { taps[k + 1] } else { 0.0 })
}

impl Impairment for ClockOffset {
    fn lag(&self) -> usize {
        self.reserve + FILTER_LATENCY
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let count = length(rows);
        let (step, history, begin) = (self.ppm * 1e-6, self.history, (self.reserve + FILTER_LATENCY) as f64);
        let most = begin + self.reserve as f64;
        for from in (0..count).step_by(BLOCK) {
            let end = (from + BLOCK).min(count);
            let mut after = self.delay;
            for (row, held) in rows.iter_mut().zip(&mut self.rows) {
                let row = &mut row[from..end];
                held[history..][..row.len()].copy_from_slice(row);
                let mut delay = self.delay;
                for (n, sample) in row.iter_mut().enumerate() {
                    *sample = read(&held[n..], &self.taps, history, delay);
                    delay -= step;
                    if delay < FILTER_LATENCY as f64 || delay > most {
                        delay = begin;
                    }
                }
                after = delay;
                held.copy_within(end - from..end - from + history, 0);
            }
            self.delay = after;
        }
    }
}

/// The stream `delay` samples before its sample `newest`.
fn read(held: &[Complex32], taps: &[[f32; FILTER_TAPS]], newest: usize, delay: f64) -> Complex32 {
    let whole = delay.floor();
    let place = (delay - whole) * FRACTIONS as f64;
    let (index, between) = (place as usize, place.fract() as f32);
    let begin = newest - (whole as usize + FILTER_LATENCY);
    let (low, high) = (&taps[index], &taps[index + 1]);
    let mut sum = Complex32::default();
    for ((sample, low), high) in held[begin..begin + FILTER_TAPS].iter().zip(low).zip(high) {
        sum += sample * (low + between * (high - low));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tone, whole};
    use super::*;

    #[test]
    fn a_clock_of_40_ppm_moves_a_pulse_by_the_samples_that_it_has_missed() {
        for ppm in [40.0, -40.0] {
            // Gaussian pulses far apart, whose centres are found by their energy.
            let mut sent = vec![Complex32::default(); 900_000];
            let centres = [100_000, 400_000, 800_000];
            for centre in centres {
                for (n, sample) in sent.iter_mut().enumerate().skip(centre - 40).take(81) {
                    let x = (n as f32 - centre as f32) / 6.0;
                    *sample = Complex32::new((-0.5 * x * x).exp(), 0.0);
                }
            }
            let make = || Box::new(ClockOffset::new(ppm, 2048, 2)) as Box<dyn Impairment>;
            let lag = make().lag();
            let [row, other] = whole(make, [sent.clone(), sent]);
            assert_eq!(row, other);
            for centre in centres {
                // Sample n of a slow clock is taken at n(1 + e).
                let expected = (centre + lag) as f64 / (1.0 + ppm * 1e-6);
                let around = expected as usize - 80..expected as usize + 80;
                let energy: f64 = row[around.clone()].iter().map(|x| f64::from(x.norm_sqr())).sum();
                let moment: f64 = around.map(|n| n as f64 * f64::from(row[n].norm_sqr())).sum();
                assert!((moment / energy - expected).abs() < 2e-3, "{ppm}: {} {expected}", moment / energy);
            }
        }
    }

    #[test]
    fn tones_in_band_keep_their_level_and_turn_by_the_clocks_rate() {
        let mut row = tone(300_000, 0.3);
        ClockOffset::new(20.0, 2048, 1).apply_one(&mut row);
        for (n, sample) in row.iter().enumerate().skip(4200).step_by(997) {
            let delay = (2048 + FILTER_LATENCY) as f64 - n as f64 * 20e-6;
            let exact = num_complex::Complex64::cis(std::f64::consts::TAU * 0.3 * (n as f64 - delay));
            assert!((super::super::single(exact) - sample).norm() < 2e-4, "{n}");
        }
    }

    #[test]
    fn what_has_drifted_too_far_jumps_back_and_goes_on() {
        for ppm in [1000.0, -1000.0] {
            let mut row = vec![Complex32::ONE; 5_000_000];
            ClockOffset::new(ppm, 2048, 1).apply_one(&mut row);
            assert!(row[5000..].iter().all(|x| (x - Complex32::ONE).norm() < 1e-3));
        }
    }
}
