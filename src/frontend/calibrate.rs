//! Calibration: how each channel's gain, phase and delay differ from the first one's, found with a known signal that each
//! transmitting channel sends in turn.
//!
//! The signal is a sum of tones inside the pulse's flat band, c_k = e^{jπk²/K}, k = −K/2 … K/2, periodic in [`PERIOD`]
//! samples, so its estimate needs no timing: whatever delay is common to all channels cancels in the ratios
//! q_k = Σ c_k⁽ʲ⁾ c_k⁽⁰⁾* / Σ |c_k⁽⁰⁾|², and q_k ≈ g e^{−j2πkδ/PERIOD}. Through cables all paths are one but for the
//! channels; with a reference reflector at a known place the two steering vectors are divided out first.

use std::f64::consts::{PI, TAU};
use std::time::Duration;

use num_complex::{Complex32, Complex64};
use rustfft::FftPlanner;

use super::calibration::{Mode, Offset};
use super::device::{RECEIVE_CHUNK, ReceiveStream, Trouble};
use super::transmitter::Transmitter;
use crate::array::{direction_rad, steering_vector};
use crate::scene::{Scene, decibel};
use crate::stream::{Frame, Head};
use crate::{Error, Result};

/// Samples of one period of the signal.
const PERIOD: usize = 1024;
/// Tones on either side of the carrier: inside 0.3 of the sample rate.
const TONES: i64 = 190;
/// Periods that each channel sends; those before `FIRST` may still be filling the paths.
const PERIODS: usize = 16;
const FIRST: usize = 7;

/// One period of the signal, of unit mean power.
fn period() -> Vec<Complex32> {
    let amplitude = 1.0 / ((2 * TONES + 1) as f64).sqrt();
    (0..PERIOD)
        .map(|n| {
            let sum: Complex64 = (-TONES..=TONES)
                .map(|k| Complex64::cis(tone_phase(k) + TAU * (k * n as i64) as f64 / PERIOD as f64))
                .sum();
            Complex32::new((amplitude * sum.re) as f32, (amplitude * sum.im) as f32)
        })
        .collect()
}

fn tone_phase(k: i64) -> f64 {
    PI * (k * k) as f64 / (2 * TONES + 1) as f64
}

/// The tones' responses, `[rx][tx][tone]`.
type Responses = Vec<Vec<Vec<Complex64>>>;

/// When the signal is sent and heard, in samples of the device's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Its first sample.
    pub(super) begin: i64,
    /// The receivers' next sample.
    pub(super) heard_from: i64,
    /// Whether received samples carry their time; else they are counted.
    pub(super) rx_time: bool,
}

/// Sends the signal from each transmitting channel in turn and listens on all receiving ones; the responses, and the next
/// sample after all.
pub(super) fn sound(
    transmitter: &mut Transmitter,
    receiver: &mut ReceiveStream,
    counts: [usize; 2],
    schedule: Schedule,
    power_w: f64,
) -> Result<(Responses, i64)> {
    let [transmitters, receivers] = counts;
    let begin = schedule.begin;
    let slot = PERIODS * PERIOD;
    let wave = period();
    let amplitude = power_w.sqrt() as f32;
    let mut heard = vec![Vec::with_capacity(transmitters * slot); receivers];
    let mut time = schedule.heard_from;
    let mut frame = Frame::new(transmitters, PERIOD);
    for step in 0..transmitters * PERIODS {
        for tx in 0..transmitters {
            let row = frame.row_mut(tx);
            if tx == step / PERIODS {
                row.iter_mut().zip(&wave).for_each(|(to, sample)| *to = sample * amplitude);
            } else {
                row.fill(Complex32::default());
            }
        }
        frame.head = Head { valid: PERIOD, ..Head::default() };
        transmitter.send(begin + (step * PERIOD) as i64, &frame);
        // In step with the sending: a lockstep device takes no more than it gives.
        listen(receiver, &mut heard, &mut time, schedule, begin + ((step + 1) * PERIOD) as i64 - 4 * PERIOD as i64)?;
    }
    transmitter.pause();
    listen(receiver, &mut heard, &mut time, schedule, begin + (transmitters * slot) as i64)?;
    let fft = FftPlanner::new().plan_fft_forward(PERIOD);
    let mut spectrum = vec![Complex64::default(); PERIOD];
    let mut responses = vec![vec![Vec::new(); transmitters]; receivers];
    for (rx, row) in heard.iter().enumerate() {
        for tx in 0..transmitters {
            spectrum.fill(Complex64::default());
            for n in FIRST * PERIOD..slot {
                let sample = row[tx * slot + n];
                spectrum[n % PERIOD] += Complex64::new(f64::from(sample.re), f64::from(sample.im));
            }
            fft.process(&mut spectrum);
            let response = |k: i64| spectrum[k.rem_euclid(PERIOD as i64) as usize] * Complex64::cis(-tone_phase(k));
            responses[rx][tx] = (-TONES..=TONES).map(response).collect();
        }
    }
    Ok((responses, time))
}

/// Reads up to device time `until` and keeps what is from `begin` on.
fn listen(
    receiver: &mut ReceiveStream,
    heard: &mut [Vec<Complex32>],
    time: &mut i64,
    schedule: Schedule,
    until: i64,
) -> Result<()> {
    let mut rows = vec![vec![Complex32::default(); RECEIVE_CHUNK]; heard.len()];
    let mut misses = 0;
    while *time < until {
        match receiver.read(rows.iter_mut().map(|row| &mut row[..]), Duration::from_millis(100)) {
            Ok((count, at)) => {
                let at = if schedule.rx_time { at } else { *time };
                if at != *time {
                    return Err(Error::device("calibration: samples are missing"));
                }
                let skip = (schedule.begin - at).clamp(0, count as i64) as usize;
                heard.iter_mut().zip(&rows).for_each(|(heard, row)| heard.extend_from_slice(&row[skip..count]));
                *time += count as i64;
            }
            Err(Trouble::Timeout) if misses < 50 => misses += 1,
            Err(trouble) => return Err(Error::device(format!("calibration: nothing received: {trouble:?}"))),
        }
    }
    Ok(())
}

/// What each path is expected to do, `[rx][tx]`, but for a factor of each receiver.
fn expected(mode: Mode, scene: &Scene, counts: [usize; 2]) -> Vec<Vec<Complex64>> {
    let [transmitters, receivers] = counts;
    let one = Complex64::from(1.0);
    let Mode::Reference = mode else { return vec![vec![one; transmitters]; receivers] };
    let (array, geometry) = (&scene.array, &scene.geometry);
    let steer = |count, from, to| steering_vector(count, array.spacing_wavelengths, direction_rad(from, to));
    let departure = steer(transmitters, geometry.transmitter, geometry.target);
    let direct = steer(transmitters, geometry.transmitter, geometry.communication_receiver);
    let arrival = steer(receivers.saturating_sub(1), geometry.sensing_receiver, geometry.target);
    (0..receivers)
        .map(|rx| match rx {
            0 => direct.iter().map(|z| z.conj()).collect(),
            _ => departure.iter().map(|z| arrival[rx - 1] * z.conj()).collect(),
        })
        .collect()
}

/// Gain, phase and delay of ratios q_k = numerator/denominator.
fn fit(channel: usize, numerator: &[Complex64], denominator: &[f64]) -> Offset {
    let ratio: Vec<Complex64> = numerator.iter().zip(denominator).map(|(n, d)| n / d.max(f64::MIN_POSITIVE)).collect();
    let tone = |index: usize| index as f64 - TONES as f64;
    // The slope between neighbours, then least squares on what is left of the phase.
    let turn: Complex64 = ratio.windows(2).map(|pair| pair[1] * pair[0].conj()).sum();
    let mut slope = turn.arg();
    let straight = |slope: f64| ratio.iter().enumerate().map(move |(n, q)| q * Complex64::cis(-slope * tone(n)));
    let mean: Complex64 = straight(slope).sum::<Complex64>() / ratio.len() as f64;
    let weights: f64 = (0..ratio.len()).map(|n| tone(n) * tone(n)).sum();
    slope += straight(slope).enumerate().map(|(n, q)| tone(n) * (q * mean.conj()).arg()).sum::<f64>() / weights;
    let gain: Complex64 = straight(slope).sum::<Complex64>() / ratio.len() as f64;
    let scatter: f64 = straight(slope).map(|q| (q - gain).norm_sqr()).sum::<f64>() / ratio.len() as f64;
    let error_rad = (scatter / 2.0 / ratio.len() as f64).sqrt() / gain.norm();
    Offset {
        channel,
        gain_db: decibel(gain.norm_sqr()),
        phase_deg: gain.arg().to_degrees(),
        delay_samples: -slope * PERIOD as f64 / TAU,
        error_deg: error_rad.to_degrees(),
    }
}

/// The offsets of both sides from the responses; `[tx, rx]`.
pub(super) fn offsets(
    mode: Mode,
    scene: &Scene,
    mut responses: Responses,
    channels: [&[usize]; 2],
) -> [Vec<Offset>; 2] {
    let counts = channels.map(<[usize]>::len);
    let expected = expected(mode, scene, counts);
    for (row, expected) in responses.iter_mut().zip(&expected) {
        for (tones, expected) in row.iter_mut().zip(expected) {
            tones.iter_mut().for_each(|tone| *tone /= expected);
        }
    }
    let tones = 2 * TONES as usize + 1;
    let ratio = |pairs: &dyn Fn(usize) -> Vec<[Complex64; 2]>| {
        let sums = (0..tones).map(|k| {
            let pairs = pairs(k);
            let numerator: Complex64 = pairs.iter().map(|[of, to]| of * to.conj()).sum();
            (numerator, pairs.iter().map(|[_, to]| to.norm_sqr()).sum::<f64>())
        });
        sums.unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let tx = (0..counts[0])
        .map(|tx| {
            let (numerator, denominator) = ratio(&|k| responses.iter().map(|row| [row[tx][k], row[0][k]]).collect());
            fit(channels[0][tx], &numerator, &denominator)
        })
        .collect();
    // The antenna outside the array has a path of its own.
    let first = usize::from(mode == Mode::Reference);
    let rx = (0..counts[1])
        .map(|rx| {
            let of = if rx < first { &responses[first] } else { &responses[rx] };
            let (numerator, denominator) =
                ratio(&|k| of.iter().zip(&responses[first]).map(|(of, to)| [of[k], to[k]]).collect());
            fit(channels[1][rx], &numerator, &denominator)
        })
        .collect();
    [tx, rx]
}

/// Delay of a response, modulo a period.
pub(super) fn delay_samples(tones: &[Complex64]) -> f64 {
    let turn: Complex64 = tones.windows(2).map(|pair| pair[1] * pair[0].conj()).sum();
    (-turn.arg() * PERIOD as f64 / TAU).rem_euclid(PERIOD as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gain_phase_and_delay_of_a_ratio_are_found() {
        let (gain_db, phase_deg, delay): (f64, f64, f64) = (-1.5, 170.0, 3.25);
        let ratio: Vec<_> = (-TONES..=TONES)
            .map(|k| {
                let phase = phase_deg.to_radians() - TAU * k as f64 * delay / PERIOD as f64;
                Complex64::from_polar(10f64.powf(gain_db / 20.0), phase)
            })
            .collect();
        let offset = fit(3, &ratio, &vec![1.0; ratio.len()]);
        let errors = [offset.gain_db - gain_db, offset.phase_deg - phase_deg, offset.delay_samples - delay];
        assert!(errors.iter().all(|error| error.abs() < 1e-9) && offset.error_deg < 1e-6, "{offset:?}");
    }

    #[test]
    fn the_signal_has_unit_power_and_low_peaks() {
        let wave = period();
        let peak = wave.iter().map(Complex32::norm_sqr).fold(0.0, f32::max);
        assert!((crate::dsp::mean_power(&wave) - 1.0).abs() < 1e-5 && peak < 6.0, "{peak}");
    }
}
