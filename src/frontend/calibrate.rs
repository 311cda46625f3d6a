//! Calibration: how each channel's gain, phase and delay differ from the first one's, found with a known signal that each
//! transmitting channel sends in turn.
//!
//! The signal is a sum of tones inside the pulse's flat band, c_k = e^{jπk²/K}, k = −K/2 … K/2, periodic in [`PERIOD`]
//! samples, so its estimate needs no timing: whatever delay is common to all channels cancels in the ratios
//! q_k = Σ c_k⁽ʲ⁾ c_k⁽⁰⁾* / Σ |c_k⁽⁰⁾|², and q_k ≈ g e^{−j2πkδ/PERIOD}. Through cables all paths are one but for the
//! channels. With a reference reflector at a known place what is heard without it is taken away first, where that was
//! measured; delays that are not its own are cut off ([`gate`]); and the two steering vectors are divided out.

use std::f64::consts::{PI, TAU};
use std::ops::Range;
use std::time::Duration;

use num_complex::{Complex32, Complex64};
use rustfft::FftPlanner;

use super::calibration::{Mode, Offset};
use super::device::{RECEIVE_CHUNK, ReceiveStream, Trouble};
use super::transmitter::Transmitter;
use crate::array::{direction_rad, distance_m, steering_vector};
use crate::scene::{SPEED_OF_LIGHT_M_S, Scene, decibel};
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
pub(super) type Responses = Vec<Vec<Vec<Complex64>>>;

/// Samples on either side of where the reflector's echo is expected in which it may be, and which are kept of it.
const EXPECTED: i64 = 24;
const KEPT: i64 = 6;

/// Least power of the reflector's echo over what else is heard of an array, so much of it that phases hold.
const CLEAR_DB: f64 = 26.0;

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

/// The receiving channels that are the array's: all, or those behind the communication receivers'.
///
/// # Errors
/// Where there are neither as many as the array has nor as all receivers have together.
pub(super) fn array_rows(scene: &Scene, receivers: usize) -> Result<Range<usize>> {
    let (array, all) = (scene.array.receive_antennas, scene.receiving_antennas());
    if scene.sensing_receivers().len() != 1 || ![array, all].contains(&receivers) {
        return Err(Error::input(format!(
            "--calibrate reference: {receivers} RX channels; accepted with this scene: the array's {array}, or all {all}, those of \
             the communication receivers first"
        )));
    }
    Ok(receivers - array..receivers)
}

/// What a path is expected to do, `[row of the array][tx]`, but for a factor that all share.
fn steering(scene: &Scene, [transmitters, rows]: [usize; 2]) -> Vec<Vec<Complex64>> {
    let (array, geometry) = (&scene.array, &scene.geometry);
    let steer = |count, from, to| steering_vector(count, array.spacing_wavelengths, direction_rad(from, to));
    let departure = steer(transmitters, geometry.transmitter, geometry.target);
    let arrival = steer(rows, geometry.sensing_receiver, geometry.target);
    arrival.iter().map(|row| departure.iter().map(|z| row * z.conj()).collect()).collect()
}

/// Samples by which the reflector's echo and the direct path lag what is sent.
fn delays(scene: &Scene) -> [f64; 2] {
    let geometry = &scene.geometry;
    let (from, by, to) = (geometry.transmitter, geometry.target, geometry.sensing_receiver);
    let samples = |metres: f64| metres / SPEED_OF_LIGHT_M_S * scene.sample_rate_hz();
    [samples(distance_m(from, by) + distance_m(by, to)), samples(distance_m(from, to))]
}

/// Keeps of the array's responses what comes at the reflector's delay, and cuts off the rest: the direct path above all.
///
/// `latency` is that of the device in samples. Without a background the direct path must lie outside of what is kept.
///
/// # Errors
/// Where the echo is not where it should be, or does not stand out.
pub(super) fn gate(
    scene: &Scene,
    responses: &mut Responses,
    rows: Range<usize>,
    latency: i64,
    has_background: bool,
) -> Result<()> {
    let [echo, direct] = delays(scene);
    if !has_background && echo - direct < 2.0 * KEPT as f64 {
        return Err(Error::input(format!(
            "--calibrate reference: the reflector's echo comes {:.1} samples after the direct path; accepted: {} or more, or \
             --placing COMMAND, which measures without it first",
            echo - direct,
            2 * KEPT
        )));
    }
    let mut planner = FftPlanner::new();
    let (forward, inverse) = (planner.plan_fft_forward(PERIOD), planner.plan_fft_inverse(PERIOD));
    // A window over the tones (Hann), so that the direct path's sidelobes stay where it is.
    let window = |k: i64| 0.5 + 0.5 * (PI * k as f64 / (TONES + 1) as f64).cos();
    let bin = |k: i64| k.rem_euclid(PERIOD as i64) as usize;
    let by_delay = |tones: &[Complex64]| {
        let mut spectrum = vec![Complex64::default(); PERIOD];
        (-TONES..=TONES).zip(tones).for_each(|(k, tone)| spectrum[bin(k)] = tone * window(k));
        inverse.process(&mut spectrum);
        spectrum
    };
    let mut power = vec![0.0; PERIOD];
    for tones in responses[rows.clone()].iter().flatten() {
        power.iter_mut().zip(by_delay(tones)).for_each(|(sum, tap)| *sum += tap.norm_sqr());
    }
    let expected = echo.round() as i64 + latency;
    let place = (expected - EXPECTED..=expected + EXPECTED)
        .max_by(|a, b| power[bin(*a)].total_cmp(&power[bin(*b)]))
        .unwrap_or(expected);
    let around = |center: i64| (center - KEPT..=center + KEPT).map(|at| power[bin(at)]).sum::<f64>();
    let strongest = (0..PERIOD as i64).max_by(|a, b| power[bin(*a)].total_cmp(&power[bin(*b)])).unwrap_or(0);
    let is_edge = (place - expected).abs() == EXPECTED;
    // What else comes at other delays may be as strong as it likes: it is cut off. What is everywhere is noise.
    let noise = median(&power) * (2 * KEPT + 1) as f64;
    if is_edge || decibel(around(place) / noise.max(f64::MIN_POSITIVE)) < CLEAR_DB {
        return Err(Error::device(format!(
            "--calibrate reference: no echo of the reflector {expected} samples after what is sent (geometry.target, \
             rx.latency_samples): {:.1} dB over the noise; accepted: {CLEAR_DB} dB; the strongest comes after {strongest} samples",
            decibel(around(place) / noise.max(f64::MIN_POSITIVE))
        )));
    }
    for tones in responses[rows].iter_mut().flatten() {
        let mut taps = by_delay(tones);
        for (at, tap) in (0..PERIOD as i64).zip(&mut taps) {
            let off = (at - place + PERIOD as i64 / 2).rem_euclid(PERIOD as i64) - PERIOD as i64 / 2;
            if off.abs() > KEPT {
                *tap = Complex64::default();
            }
        }
        forward.process(&mut taps);
        (-TONES..=TONES).zip(tones).for_each(|(k, tone)| *tone = taps[bin(k)]);
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Gain, phase and delay of ratios q_k = numerator/denominator, each tone weighted by its power.
fn fit(channel: usize, numerator: &[Complex64], denominator: &[f64]) -> Offset {
    let ratio: Vec<Complex64> = numerator.iter().zip(denominator).map(|(n, d)| n / d.max(f64::MIN_POSITIVE)).collect();
    let tone = |index: usize| index as f64 - TONES as f64;
    // The slope between neighbours, then least squares on what is left of the phase.
    let turn: Complex64 =
        ratio.windows(2).zip(denominator).map(|(pair, weight)| pair[1] * pair[0].conj() * *weight).sum();
    let mut slope = turn.arg();
    let straight = |slope: f64| ratio.iter().enumerate().map(move |(n, q)| q * Complex64::cis(-slope * tone(n)));
    let total: f64 = denominator.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let weighted = |slope: f64| straight(slope).zip(denominator).map(|(q, weight)| q * (weight / total));
    let mean: Complex64 = weighted(slope).sum();
    let weights: f64 = denominator.iter().enumerate().map(|(n, weight)| weight * tone(n) * tone(n)).sum();
    let phases = straight(slope).zip(denominator).enumerate();
    slope += phases.map(|(n, (q, weight))| weight * tone(n) * (q * mean.conj()).arg()).sum::<f64>() / weights;
    let gain: Complex64 = weighted(slope).sum();
    let scatter: f64 =
        straight(slope).zip(denominator).map(|(q, weight)| weight / total * (q - gain).norm_sqr()).sum::<f64>();
    // As many tones of equal weight as these are worth.
    let tones = total * total / denominator.iter().map(|weight| weight * weight).sum::<f64>().max(f64::MIN_POSITIVE);
    let error_rad = (scatter / 2.0 / tones).sqrt() / gain.norm();
    Offset {
        channel,
        gain_db: decibel(gain.norm_sqr()),
        phase_deg: gain.arg().to_degrees(),
        delay_samples: -slope * PERIOD as f64 / TAU,
        error_deg: error_rad.to_degrees(),
    }
}

/// The offsets of both sides from the responses; `[tx, rx]`. `rows` are those that count: the array's, or all.
pub(super) fn offsets(
    mode: Mode,
    scene: &Scene,
    mut responses: Responses,
    channels: [&[usize]; 2],
    rows: Range<usize>,
) -> [Vec<Offset>; 2] {
    let counts = channels.map(<[usize]>::len);
    if mode == Mode::Reference {
        let expected = steering(scene, [counts[0], rows.len()]);
        for (row, expected) in responses[rows.clone()].iter_mut().zip(&expected) {
            for (tones, expected) in row.iter_mut().zip(expected) {
                tones.iter_mut().for_each(|tone| *tone /= expected);
            }
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
            let (numerator, denominator) =
                ratio(&|k| responses[rows.clone()].iter().map(|row| [row[tx][k], row[0][k]]).collect());
            fit(channels[0][tx], &numerator, &denominator)
        })
        .collect();
    // An antenna outside the array has a path of its own: nothing is known of it, and nothing is corrected.
    let first = rows.start;
    let rx = (0..counts[1])
        .map(|rx| {
            if !rows.contains(&rx) {
                let channel = channels[1][rx];
                return Offset { channel, gain_db: 0.0, phase_deg: 0.0, delay_samples: 0.0, error_deg: 0.0 };
            }
            let (numerator, denominator) =
                ratio(&|k| responses[rx].iter().zip(&responses[first]).map(|(of, to)| [of[k], to[k]]).collect());
            fit(channels[1][rx], &numerator, &denominator)
        })
        .collect();
    [tx, rx]
}

/// Takes what was heard without the reflector away from what is heard with it.
pub(super) fn subtract(responses: &mut Responses, background: &Responses) {
    let tones = responses.iter_mut().flatten().flatten();
    tones.zip(background.iter().flatten().flatten()).for_each(|(tone, still)| *tone -= still);
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
