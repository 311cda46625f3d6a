//! What changes with the frames: steps of a gain control, lost samples, and a phase and gain of each frame's own.

use std::collections::VecDeque;

use num_complex::{Complex32, Complex64};
use rand::RngExt;

use super::{Impairment, amplitude, generator, length, normal, single};

/// Frames that may be announced before they begin.
const AHEAD: usize = 64;
/// Largest gain of a frame of its own, in decibels: what is drawn beyond would only overflow.
const MOST_DB: f64 = 80.0;

/// Things that take over at samples to come.
#[derive(Debug, Clone)]
struct Schedule<T> {
    coming: VecDeque<(u64, T)>,
    sample: u64,
}

impl<T> Schedule<T> {
    fn new() -> Self {
        Self { coming: VecDeque::with_capacity(AHEAD), sample: 0 }
    }

    fn add(&mut self, at: u64, what: T) {
        if self.coming.len() < AHEAD {
            self.coming.push_back((at, what));
        }
    }

    /// Calls `over` with the ranges of the next `count` samples between changes, and `change` at each.
    fn pass<S>(
        &mut self,
        count: usize,
        state: &mut S,
        change: impl Fn(&mut S, T),
        over: impl Fn(&mut S, std::ops::Range<usize>),
    ) {
        let mut from = 0;
        while let Some((at, _)) = self.coming.front() {
            let place = at.saturating_sub(self.sample).min(usize::MAX as u64) as usize;
            if place >= count {
                break;
            }
            let place = place.max(from);
            if place > from {
                over(state, from..place);
                from = place;
            }
            if let Some((_, what)) = self.coming.pop_front() {
                change(state, what);
            }
        }
        if from < count {
            over(state, from..count);
        }
        self.sample += count as u64;
    }
}

/// A gain control that steps up and down.
#[derive(Debug, Clone)]
pub struct GainStep {
    factor: f32,
    every_frames: u64,
    at_sample: u64,
    is_up: bool,
    schedule: Schedule<()>,
}

impl GainStep {
    /// By so many decibels, up or down by turns, `at_sample` samples into every `every_frames`th frame.
    pub fn new(db: f64, every_frames: u64, at_sample: u64) -> Self {
        let factor = amplitude(db) as f32;
        Self { factor, every_frames: every_frames.max(1), at_sample, is_up: false, schedule: Schedule::new() }
    }

    /// Other steps: the size from the next sample on, the rest from the next frame on.
    pub fn set(&mut self, db: f64, every_frames: u64, at_sample: u64) {
        (self.factor, self.every_frames, self.at_sample) = (amplitude(db) as f32, every_frames.max(1), at_sample);
    }
}

impl Impairment for GainStep {
    fn begin_frame(&mut self, number: u64, at: u64) {
        if number.is_multiple_of(self.every_frames) {
            self.schedule.add(at + self.at_sample, ());
        }
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let (count, factor) = (length(rows), self.factor);
        let mut state = (self.is_up, rows);
        let over = |(is_up, rows): &mut (bool, &mut [&mut [Complex32]]), range: std::ops::Range<usize>| {
            if *is_up {
                rows.iter_mut().flat_map(|row| row[range.clone()].iter_mut()).for_each(|sample| *sample *= factor);
            }
        };
        self.schedule.pass(count, &mut state, |(is_up, _), ()| *is_up = !*is_up, over);
        self.is_up = state.0;
    }
}

/// Samples that a front end has lost, and its driver has filled with zeros.
#[derive(Debug, Clone)]
pub struct Gap {
    samples: u64,
    every_frames: u64,
    frame_samples: u64,
    seed: u64,
    is_lost: bool,
    schedule: Schedule<bool>,
}

impl Gap {
    /// `samples` of them, somewhere in every `every_frames`th frame of `frame_samples` samples but the first.
    pub fn new(samples: u64, every_frames: u64, frame_samples: u64, seed: u64) -> Self {
        let schedule = Schedule::new();
        Self { samples, every_frames: every_frames.max(1), frame_samples, seed, is_lost: false, schedule }
    }

    /// Other gaps from the next frame on.
    pub fn set(&mut self, samples: u64, every_frames: u64) {
        (self.samples, self.every_frames) = (samples, every_frames.max(1));
    }
}

impl Impairment for Gap {
    fn begin_frame(&mut self, number: u64, at: u64) {
        // Both ends of a gap or none of them: there is room for gaps that outlast many frames.
        let fits = self.schedule.coming.len() + 2 <= AHEAD;
        if fits && number > 0 && number.is_multiple_of(self.every_frames) && self.samples > 0 {
            let begin = at + generator(self.seed, number).random_range(0..self.frame_samples.max(1));
            self.schedule.add(begin, true);
            self.schedule.add(begin + self.samples, false);
        }
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let count = length(rows);
        let mut state = (self.is_lost, rows);
        let over = |(is_lost, rows): &mut (bool, &mut [&mut [Complex32]]), range: std::ops::Range<usize>| {
            if *is_lost {
                rows.iter_mut().for_each(|row| row[range.clone()].fill(Complex32::default()));
            }
        };
        self.schedule.pass(count, &mut state, |(is_lost, _), lost| *is_lost = lost, over);
        self.is_lost = state.0;
    }
}

/// Each frame has a phase and a gain of its own, as where oscillators are started anew.
#[derive(Debug, Clone)]
pub struct Jitter {
    phase_deg: f64,
    gain_db: f64,
    seed: u64,
    factor: Complex32,
    schedule: Schedule<Complex32>,
}

impl Jitter {
    /// Standard deviations of phase and gain.
    pub fn new(phase_deg: f64, gain_db: f64, seed: u64) -> Self {
        Self { phase_deg, gain_db, seed, factor: Complex32::ONE, schedule: Schedule::new() }
    }

    /// Others from the next frame on.
    pub fn set(&mut self, phase_deg: f64, gain_db: f64) {
        (self.phase_deg, self.gain_db) = (phase_deg, gain_db);
    }
}

impl Impairment for Jitter {
    fn begin_frame(&mut self, number: u64, at: u64) {
        let mut random = generator(self.seed, number);
        let (phase, gain) = (
            normal(&mut random) * self.phase_deg.to_radians(),
            (normal(&mut random) * self.gain_db).clamp(-MOST_DB, MOST_DB),
        );
        self.schedule.add(at, single(Complex64::from_polar(amplitude(gain), phase)));
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let count = length(rows);
        let mut state = (self.factor, rows);
        let over = |(factor, rows): &mut (Complex32, &mut [&mut [Complex32]]), range: std::ops::Range<usize>| {
            rows.iter_mut().flat_map(|row| row[range.clone()].iter_mut()).for_each(|sample| *sample *= *factor);
        };
        self.schedule.pass(count, &mut state, |(factor, _), new| *factor = new, over);
        self.factor = state.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::whole;
    use super::*;

    fn ones(count: usize) -> [Vec<Complex32>; 2] {
        [vec![Complex32::ONE; count], vec![Complex32::ONE; count]]
    }

    #[test]
    fn a_gain_steps_where_it_was_told_to_in_frames_that_begin_at_700_and_every_1000() {
        let [row, other] = whole(|| Box::new(GainStep::new(6.0, 2, 300)), ones(12_000));
        assert_eq!(row, other);
        let factor = amplitude(6.0) as f32;
        for (n, sample) in row.iter().enumerate() {
            let steps = if n < 1000 { 0 } else { ((n - 1000) / 2000 + 1).min(6) };
            assert_eq!(sample.re, if steps % 2 == 1 { factor } else { 1.0 }, "{n}");
        }
    }

    #[test]
    fn gaps_are_as_long_as_they_should_be_and_lie_in_their_frames() {
        let [row, other] = whole(|| Box::new(Gap::new(50, 3, 900, 4)), ones(12_000));
        assert_eq!(row, other);
        let lost: Vec<usize> = (0..12_000).filter(|n| row[*n].norm() == 0.0).collect();
        assert_eq!(lost.len(), 150);
        for (gap, frame) in lost.chunks_exact(50).zip([3, 6, 9]) {
            assert_eq!(gap[49] - gap[0], 49);
            assert!((700 + 1000 * frame..1600 + 1000 * frame).contains(&gap[0]), "{}", gap[0]);
        }
    }

    #[test]
    fn each_frame_has_a_factor_of_its_own_with_the_deviations_asked_for() {
        let [row, other] = whole(|| Box::new(Jitter::new(2.0, 0.5, 4)), ones(12_000));
        assert_eq!(row, other);
        for frame in 0..11 {
            let start = 700 + 1000 * frame;
            assert!(row[start..start + 1000].iter().all(|x| *x == row[start]) && row[start] != row[start + 1000]);
        }
        let (mut phase, mut gain) = (0.0, 0.0);
        for seed in 0..2000 {
            let mut jitter = Jitter::new(2.0, 0.5, seed);
            jitter.begin_frame(1, 0);
            let mut one = [Complex32::ONE];
            jitter.apply_one(&mut one);
            phase += f64::from(one[0].arg().to_degrees()).powi(2) / 2000.0;
            gain += (20.0 * f64::from(one[0].norm()).log10()).powi(2) / 2000.0;
        }
        // A variance of 2000 draws scatters by 3 %.
        assert!((phase.sqrt() / 2.0 - 1.0).abs() < 0.08 && (gain.sqrt() / 0.5 - 1.0).abs() < 0.08, "{phase} {gain}");
    }
}
