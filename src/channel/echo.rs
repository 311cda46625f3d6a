//! The echo TR → target → SRE (eq. 5): y_s(t) = β_0 e^{jψ} α(φ) α(θ)ᴴ x(t − τ − Δτ) with a timing error Δτ and a phase
//! ψ that may be fresh in each frame.
//!
//! The timing error is one of the receiver's clock: it moves the instant at which the continuous waveform is read. It
//! changes while the preamble of a frame's echo passes, so the sensing windows of neighbouring frames are never cut.

use std::collections::VecDeque;
use std::ops::Range;

use num_complex::{Complex32, Complex64};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::direct::combine;
use super::line::DelayLine;
use super::noise::mix;
use super::{Noise, RECEIVE_LAG};
use crate::array::{direction_rad, distance_m, path_rate_m_s};
use crate::dsp::{DelayTaps, FILTER_LATENCY, rotate, scale};
use crate::scene::{Point, SPEED_OF_LIGHT_M_S, Target};

/// Longest path TR → target → SRE that is simulated, in metres.
pub const MAX_PATH_M: f64 = 6000.0;

/// Most antennas of the receiving array.
pub const MAX_ANTENNAS: usize = 64;

/// Frames whose echoes may overlap in one chunk.
const PENDING: usize = 16;

/// What the echo is made of.
#[derive(Debug, Clone)]
pub struct EchoPathSettings {
    /// Where the transmitter stands.
    pub transmitter: Point,
    /// Where the sensing receiver stands.
    pub receiver: Point,
    /// Where the target stands at the start.
    pub target: Point,
    /// How it moves.
    pub motion: Target,
    /// N_T.
    pub transmit_antennas: usize,
    /// N_R.
    pub receive_antennas: usize,
    /// d_a/λ.
    pub spacing_wavelengths: f64,
    /// λ in metres.
    pub wavelength_m: f64,
    /// Samples per second.
    pub sample_rate_hz: f64,
    /// |β_0|.
    pub reflection_coefficient: f64,
    /// Whether ψ is drawn at all, and fresh in each frame.
    pub phase: PhaseDraw,
    /// σ_Δ.
    pub timing_error_std_s: f64,
    /// One Δτ for the run instead of one per frame.
    pub hold_timing_error: bool,
    /// Samples after a frame's start at which its Δτ and ψ take over.
    pub switch_samples: usize,
    /// Noise variance per complex sample and antenna.
    pub noise_variance: f64,
    /// Seed of Δτ, ψ and noise.
    pub seed: u64,
}

/// How ψ is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseDraw {
    /// ψ = 0.
    Zero,
    /// One for the run.
    PerRun,
    /// Fresh in each frame.
    PerFrame,
}

/// The truth of one frame's echo: for reports and tests, never for a receiver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EchoTruth {
    /// Where the target was.
    pub position_m: Point,
    /// τ, without the timing error.
    pub delay_s: f64,
    /// Δτ.
    pub timing_error_s: f64,
}

/// One frame's echo, from the sample at which it takes over.
#[derive(Debug, Clone)]
struct Segment {
    /// In samples of the transmitter's clock.
    begin: i64,
    /// Its part of the newest chunk.
    range: Range<usize>,
    taps: DelayTaps,
    /// β_0 α(φ), without the phase ψ.
    arrival: [Complex32; MAX_ANTENNAS],
    phase_rad: f64,
    step_rad: f64,
}

/// The echo, with state between chunks.
pub struct EchoPath {
    settings: EchoPathSettings,
    /// Where the target's path would have begun.
    origin: Point,
    reflection_coefficient: f64,
    /// α(θ)* of the frame that began last.
    departure: Vec<Complex32>,
    /// α(θ)ᴴ x.
    line: DelayLine,
    segments: VecDeque<Segment>,
    combined: Vec<Complex32>,
    noises: Vec<Noise>,
}

/// Whether a target can be sensed at all: elements look towards +x.
pub fn check_target(target: Point, transmitter: Point, receiver: Point) -> Result<(), String> {
    if target[0] > transmitter[0] && target[0] > receiver[0] {
        Ok(())
    } else {
        Err(format!(
            "target = [{}, {}] is behind an array; accepted: x above {} (transmitter) and {} (sensing receiver), because \
             a linear array cannot tell front from back",
            target[0], target[1], transmitter[0], receiver[0]
        ))
    }
}

/// Whether a target can stand in a simulated world: it can be sensed, and its echo is simulated that far.
pub fn check_simulated_target(target: Point, transmitter: Point, receiver: Point) -> Result<(), String> {
    check_target(target, transmitter, receiver)?;
    let path_m = distance_m(transmitter, target) + distance_m(target, receiver);
    if path_m <= MAX_PATH_M {
        return Ok(());
    }
    Err(format!(
        "target = [{}, {}] makes a path of {path_m:.0} m from transmitter to sensing receiver; accepted: up to {MAX_PATH_M} m",
        target[0], target[1]
    ))
}

/// Element `index` of a steering vector.
fn element(index: usize, spacing: f64, angle_rad: f64) -> Complex32 {
    let exact = Complex64::cis(std::f64::consts::TAU * spacing * index as f64 * angle_rad.sin());
    Complex32::new(exact.re as f32, exact.im as f32)
}

impl EchoPath {
    /// A path for chunks of up to `chunk` samples; at most `MAX_ANTENNAS` antennas receive.
    pub fn new(settings: EchoPathSettings, chunk: usize) -> Result<Self, String> {
        if settings.receive_antennas > MAX_ANTENNAS {
            return Err(format!(
                "array.receive_antennas = {}; accepted in a run: 1 to {MAX_ANTENNAS}",
                settings.receive_antennas
            ));
        }
        check_simulated_target(settings.target, settings.transmitter, settings.receiver)?;
        let longest = RECEIVE_LAG as f64
            + (MAX_PATH_M / SPEED_OF_LIGHT_M_S + 8.0 * settings.timing_error_std_s) * settings.sample_rate_hz;
        let noises = (0..settings.receive_antennas as u64)
            .map(|row| Noise::new(settings.seed, 0xe000 + row, settings.noise_variance))
            .collect();
        Ok(Self {
            origin: settings.target,
            reflection_coefficient: settings.reflection_coefficient,
            departure: vec![Complex32::default(); settings.transmit_antennas],
            line: DelayLine::new(longest.ceil() as usize + 2, chunk),
            segments: VecDeque::with_capacity(PENDING + 1),
            combined: vec![Complex32::default(); chunk],
            noises,
            settings,
        })
    }

    /// Puts the target somewhere else, `seconds` after the start; the next frame's echo shows it.
    pub fn set_target(&mut self, seconds: f64, target: Point) {
        let moved = self.settings.motion.displacement_m(seconds);
        self.origin = [0, 1].map(|axis| target[axis] - moved[axis]);
    }

    /// Sets |β_0|; the next frame's echo shows it. 0 is a target that has faded.
    pub fn set_reflection(&mut self, reflection_coefficient: f64) {
        self.reflection_coefficient = reflection_coefficient;
    }

    /// Frame `number` begins at sample `time`, `seconds` after the start: draws its timing error and phase.
    pub fn begin_frame(&mut self, number: u64, time: u64, seconds: f64) -> EchoTruth {
        let settings = &self.settings;
        let (moved, velocity) = (settings.motion.displacement_m(seconds), settings.motion.velocity_at(seconds));
        let position = [0, 1].map(|axis| self.origin[axis] + moved[axis]);
        let path_m = distance_m(settings.transmitter, position) + distance_m(position, settings.receiver);
        let draw = |per_run: bool, salt: u64| {
            Xoshiro256PlusPlus::seed_from_u64(mix(settings.seed ^ salt, if per_run { 0 } else { number }))
        };
        let normal: f64 = StandardNormal.sample(&mut draw(settings.hold_timing_error, 0x7e));
        let timing_error_s = settings.timing_error_std_s * normal;
        let drawn = match settings.phase {
            PhaseDraw::Zero => 0.0,
            phase => draw(phase == PhaseDraw::PerRun, 0x9a).random_range(0.0..std::f64::consts::TAU),
        };
        let delay_s = path_m / SPEED_OF_LIGHT_M_S;
        // A moving target turns the carrier by 2π per wavelength of path; the phase at rest is part of β_0.
        let still = velocity == [0.0, 0.0];
        let turn = std::f64::consts::TAU / settings.wavelength_m;
        let path_rate_m_s = path_rate_m_s(settings.transmitter, position, settings.receiver, velocity);
        let theta = direction_rad(settings.transmitter, position);
        let phi = direction_rad(settings.receiver, position);
        for (antenna, entry) in self.departure.iter_mut().enumerate() {
            *entry = element(antenna, settings.spacing_wavelengths, theta).conj();
        }
        // A target that has moved out of reach gives no echo.
        let in_reach = path_m <= MAX_PATH_M;
        let beta = if in_reach { self.reflection_coefficient as f32 } else { 0.0 };
        let arrival = std::array::from_fn(|row| beta * element(row, settings.spacing_wavelengths, phi));
        let begin = (time + (delay_s * settings.sample_rate_hz) as u64 + settings.switch_samples as u64) as i64;
        let simulated_s = path_m.min(MAX_PATH_M) / SPEED_OF_LIGHT_M_S + timing_error_s;
        let delay = RECEIVE_LAG as f64 + simulated_s * settings.sample_rate_hz;
        if self.segments.len() == PENDING {
            self.segments.pop_front();
        }
        self.segments.push_back(Segment {
            begin,
            range: 0..0,
            taps: DelayTaps::new(delay.max(2.0 * FILTER_LATENCY as f64)),
            arrival,
            phase_rad: drawn - if still { 0.0 } else { (turn * path_m) % std::f64::consts::TAU },
            step_rad: -turn * path_rate_m_s / settings.sample_rate_hz,
        });
        EchoTruth { position_m: position, delay_s, timing_error_s }
    }

    /// Receives chunk `chunk`, whose first sample was sent at `time`; it belongs to the frame that began last.
    /// No antenna = silence. `rows` are the array's, all of one length; they lag the transmitter by [`RECEIVE_LAG`].
    pub fn receive<'a, 'b>(
        &mut self,
        chunk: u64,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]>,
        length: usize,
        rows: impl Iterator<Item = &'b mut [Complex32]>,
    ) {
        let departure = &self.departure;
        self.line.push(length, |sum| combine(departure, antennas, sum));
        let first = time as i64 - RECEIVE_LAG as i64;
        let end_of =
            |next: Option<&Segment>| next.map_or(length, |next| (next.begin - first).clamp(0, length as i64) as usize);
        let mut from = 0;
        for index in 0..self.segments.len() {
            let end = end_of(self.segments.get(index + 1)).max(from);
            let segment = &mut self.segments[index];
            segment.range = from..end;
            let part = &mut self.combined[from..end];
            self.line.read(&segment.taps, from, part);
            segment.phase_rad = rotate(part, segment.phase_rad, segment.step_rad);
            from = end;
        }
        for ((row, noise), index) in rows.zip(&self.noises).zip(0..) {
            for segment in &self.segments {
                let range = segment.range.clone();
                scale(segment.arrival[index], &self.combined[range.clone()], &mut row[range]);
            }
            noise.add(chunk, &mut row[..length]);
        }
        while self.segments.get(1).is_some_and(|next| next.begin <= first + length as i64) {
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::steering_vector;

    fn settings() -> EchoPathSettings {
        EchoPathSettings {
            transmitter: [0.0, 0.0],
            receiver: [0.0, 50.0],
            target: [100.0, 50.0],
            motion: Target::default(),
            transmit_antennas: 2,
            receive_antennas: 3,
            spacing_wavelengths: 0.5,
            wavelength_m: 0.1,
            sample_rate_hz: 200e6,
            reflection_coefficient: 0.6,
            phase: PhaseDraw::PerFrame,
            timing_error_std_s: 100e-9,
            hold_timing_error: false,
            switch_samples: 512,
            noise_variance: 0.0,
            seed: 7,
        }
    }

    /// A slow tone sent by both antennas, as chunks of 1 000 samples that are frames of their own.
    fn received(settings: &EchoPathSettings, chunks: u64) -> (Vec<EchoTruth>, Vec<Vec<Complex32>>) {
        let mut path = EchoPath::new(settings.clone(), 1000).unwrap();
        let mut rows = vec![Vec::new(); settings.receive_antennas];
        let mut truths = Vec::new();
        for chunk in 0..chunks {
            truths.push(path.begin_frame(chunk, chunk * 1000, chunk as f64 * 1000.0 / settings.sample_rate_hz));
            let sent: Vec<_> = (0..1000).map(|n| tone((chunk * 1000 + n) as f64)).collect();
            let mut output = vec![vec![Complex32::default(); 1000]; rows.len()];
            let antennas = [&sent[..], &sent[..]];
            path.receive(chunk, chunk * 1000, antennas.into_iter(), 1000, output.iter_mut().map(|row| &mut row[..]));
            for (row, new) in rows.iter_mut().zip(output) {
                row.extend(new);
            }
        }
        (truths, rows)
    }

    fn tone(n: f64) -> Complex32 {
        let phase = 0.05 * n;
        Complex32::new(phase.cos() as f32, phase.sin() as f32)
    }

    #[test]
    fn the_echo_has_its_delay_gain_and_angles_in_every_frame() {
        let settings = settings();
        let (truths, rows) = received(&settings, 6);
        let theta = direction_rad(settings.transmitter, settings.target);
        let phi = direction_rad(settings.receiver, settings.target);
        let out = steering_vector(2, 0.5, theta).map(|z| z.conj()).sum();
        for (frame, truth) in truths.iter().enumerate().skip(1) {
            // A sample well inside the part that this frame's clock rules.
            let time = frame * 1000 + (truth.delay_s * 200e6) as usize + 512 + 600;
            let sample = time + RECEIVE_LAG;
            if sample >= rows[0].len() {
                break;
            }
            let delay = (truth.delay_s + truth.timing_error_s) * 200e6;
            let sent = tone(time as f64 - delay);
            let first = rows[0][sample] / sent;
            assert!((f64::from(first.norm()) - 0.6 * Complex64::norm(out)).abs() < 1e-3);
            for row in 1..3 {
                let ratio = rows[row][sample] / rows[0][sample];
                let expected = Complex64::cis(std::f64::consts::PI * row as f64 * phi.sin());
                assert!((f64::from(ratio.re) - expected.re).hypot(f64::from(ratio.im) - expected.im) < 1e-3);
            }
        }
    }

    #[test]
    fn timing_errors_have_their_deviation_and_hold_when_asked() {
        let mut path = EchoPath::new(settings(), 1000).unwrap();
        let errors: Vec<f64> =
            (0..4000).map(|frame| path.begin_frame(frame, frame * 1000, 0.0).timing_error_s).collect();
        let deviation = (errors.iter().map(|error| error * error).sum::<f64>() / 4000.0).sqrt();
        // A sample variance of 4 000 normals scatters by √(2/4000); four deviations.
        assert!((deviation / 100e-9 - 1.0).abs() < 4.0 * (0.5 / 4000f64).sqrt(), "{deviation}");
        let mut path = EchoPath::new(EchoPathSettings { hold_timing_error: true, ..settings() }, 1000).unwrap();
        assert_eq!(path.begin_frame(0, 0, 0.0).timing_error_s, path.begin_frame(9, 9000, 0.0).timing_error_s);
    }

    #[test]
    fn a_target_behind_an_array_is_refused_by_name() {
        let error = check_target([-3.0, 1.0], [0.0, 0.0], [0.0, 50.0]).unwrap_err();
        assert!(error.contains("[-3, 1]") && error.contains("accepted"), "{error}");
    }

    #[test]
    fn a_target_out_of_reach_is_refused_and_one_that_leaves_gives_no_echo() {
        let error = check_simulated_target([9000.0, 1.0], [0.0, 0.0], [0.0, 50.0]).unwrap_err();
        assert!(error.contains("[9000, 1]") && error.contains("accepted: up to 6000 m"), "{error}");
        assert!(EchoPath::new(EchoPathSettings { target: [9000.0, 0.0], ..settings() }, 1000).is_err());
        // 2 900 m of range, 150 m more after each frame of 1 000 samples.
        let leaving = EchoPathSettings {
            target: [2900.0, 25.0],
            motion: Target { velocity_m_s: [3e7, 0.0], ..Target::default() },
            ..settings()
        };
        let (_, rows) = received(&leaving, 12);
        let power = |samples: &[Complex32]| crate::dsp::mean_power(samples);
        assert!(power(&rows[0][6000..7000]) > 0.1 && power(&rows[0][11_000..12_000]) < 1e-9);
    }
}
