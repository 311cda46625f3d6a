//! One way from the transmitter's array to the sensing receiver's: y_r(t) = β e^{jψ} α_r(φ) α(θ)ᴴ x(t − T). Its delay,
//! directions and phase may change from frame to frame; each change takes over at a sample of its own.

use std::collections::VecDeque;
use std::ops::Range;

use num_complex::{Complex32, Complex64};

use super::direct::combine;
use super::line::DelayLine;
use super::{MAX_ANTENNAS, RECEIVE_LAG};
use crate::array::{ElementErrors, direction_rad, distance_m};
use crate::dsp::{DelayTaps, FILTER_LATENCY, rotate, scale, scale_add};
use crate::scene::Point;

/// Frames whose echoes may overlap in one chunk.
const PENDING: usize = 16;

/// A way that the signal takes whatever the target does: by a reflector at rest, or straight from array to array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StationaryPath {
    /// θ, direction in which it leaves the transmitter.
    pub departure_rad: f64,
    /// φ, direction from which it comes to the sensing receiver.
    pub arrival_rad: f64,
    /// Its length in metres.
    pub length_m: f64,
    /// |β|: amplitude from an antenna to an antenna.
    pub coefficient: f64,
}

impl StationaryPath {
    /// The way by a reflector at `at`.
    pub fn by(transmitter: Point, at: Point, receiver: Point, coefficient: f64) -> Self {
        Self {
            departure_rad: direction_rad(transmitter, at),
            arrival_rad: direction_rad(receiver, at),
            length_m: distance_m(transmitter, at) + distance_m(at, receiver),
            coefficient,
        }
    }

    /// The straight way.
    pub fn straight(transmitter: Point, receiver: Point, coefficient: f64) -> Self {
        Self {
            departure_rad: direction_rad(transmitter, receiver),
            arrival_rad: direction_rad(receiver, transmitter),
            length_m: distance_m(transmitter, receiver),
            coefficient,
        }
    }
}

/// What holds from one sample on.
pub(super) struct Course {
    /// That sample, of the transmitter's clock.
    pub begin: i64,
    /// T in samples, without [`RECEIVE_LAG`].
    pub delay_samples: f64,
    pub departure_rad: f64,
    pub arrival_rad: f64,
    /// β, real.
    pub coefficient: f64,
    /// ψ at `begin`, and how it goes on from sample to sample.
    pub phase_rad: f64,
    pub step_rad: f64,
}

/// A course under way.
#[derive(Debug, Clone)]
struct Segment {
    begin: i64,
    /// Its part of the newest chunk.
    range: Range<usize>,
    taps: DelayTaps,
    /// β α(φ), without the phase ψ.
    arrival: [Complex32; MAX_ANTENNAS],
    phase_rad: f64,
    step_rad: f64,
}

/// The way, with state between chunks.
pub(super) struct Path {
    spacing_wavelengths: f64,
    errors: ElementErrors,
    /// α(θ)* with the elements' errors, of the course that was set last.
    departure: Vec<Complex32>,
    /// α(θ)ᴴ x.
    line: DelayLine,
    segments: VecDeque<Segment>,
    combined: Vec<Complex32>,
}

/// Element `index` of a steering vector.
fn element(index: usize, spacing: f64, angle_rad: f64) -> Complex64 {
    Complex64::cis(std::f64::consts::TAU * spacing * index as f64 * angle_rad.sin())
}

fn single(exact: Complex64) -> Complex32 {
    Complex32::new(exact.re as f32, exact.im as f32)
}

impl Path {
    /// For delays up to `longest` samples, [`RECEIVE_LAG`] included, and chunks up to `chunk` samples.
    pub fn new(errors: &ElementErrors, spacing_wavelengths: f64, longest: usize, chunk: usize) -> Self {
        Self {
            spacing_wavelengths,
            errors: errors.clone(),
            departure: vec![Complex32::default(); errors.transmit.len()],
            line: DelayLine::new(longest, chunk),
            segments: VecDeque::with_capacity(PENDING + 1),
            combined: vec![Complex32::default(); chunk],
        }
    }

    /// Sets a course. Its departure holds for all that is sent from now on, everything else from its first sample on.
    pub fn set(&mut self, course: &Course) {
        let spacing = self.spacing_wavelengths;
        for (antenna, (entry, error)) in self.departure.iter_mut().zip(&self.errors.transmit).enumerate() {
            *entry = single(element(antenna, spacing, course.departure_rad).conj() * error);
        }
        let coefficient = course.coefficient as f32;
        let mut arrival = [Complex32::default(); MAX_ANTENNAS];
        for (row, (entry, error)) in arrival.iter_mut().zip(&self.errors.receive).enumerate() {
            *entry = coefficient * single(element(row, spacing, course.arrival_rad) * error);
        }
        if self.segments.len() == PENDING {
            self.segments.pop_front();
        }
        self.segments.push_back(Segment {
            begin: course.begin,
            range: 0..0,
            taps: DelayTaps::new((RECEIVE_LAG as f64 + course.delay_samples).max(2.0 * FILTER_LATENCY as f64)),
            arrival,
            phase_rad: course.phase_rad,
            step_rad: course.step_rad,
        });
    }

    /// Takes in `length` samples, the first sent at `time`. No antenna = silence.
    pub fn take_in<'a>(&mut self, time: u64, antennas: impl Iterator<Item = &'a [Complex32]>, length: usize) {
        let first = time as i64 - RECEIVE_LAG as i64;
        while self.segments.get(1).is_some_and(|next| next.begin <= first) {
            self.segments.pop_front();
        }
        let departure = &self.departure;
        self.line.push(length, |sum| combine(departure, antennas, sum));
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
    }

    /// Writes what antenna `index` receives of the samples taken in last.
    pub fn write(&self, index: usize, row: &mut [Complex32]) {
        for segment in &self.segments {
            scale(segment.arrival[index], &self.combined[segment.range.clone()], &mut row[segment.range.clone()]);
        }
    }

    /// Adds it.
    pub fn add(&self, index: usize, row: &mut [Complex32]) {
        for segment in &self.segments {
            scale_add(segment.arrival[index], &self.combined[segment.range.clone()], &mut row[segment.range.clone()]);
        }
    }
}
