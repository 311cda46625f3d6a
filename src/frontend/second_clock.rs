//! A second virtual radio in the same simulated world, with a clock of its own: it hears one row of the world through
//! sample times and an oscillator that are off by the same parts per million. The device whose channels are the world's
//! must have a reader: its time moves the world.

use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::Complex32;

use super::feed::Feed;
use super::scale_row;
use super::shared_air::MOMENT;
use crate::dsp::{DelayTaps, FILTER_TAPS, rotate};

/// Samples for which one interpolating filter serves: the clock drifts by less than 0.001 of a sample in them.
const STRETCH: usize = 64;

/// The air of the second device.
pub(super) struct SecondClock {
    feed: Arc<Feed>,
    /// The world's samples per sample of this clock.
    ratio: f64,
    /// This clock's next sample, and the world's first that was heard; none yet.
    tick: Option<i64>,
    first: Option<i64>,
    /// Where the next output stands, in the world's samples from the first one heard.
    position: f64,
    /// The world's newest samples without a gap, and the position of the first.
    history: Vec<Complex32>,
    begin: i64,
    phase_rad: f64,
    step_rad: f64,
    /// Factor from √W to full scale.
    scale: f32,
}

impl SecondClock {
    /// For a clock that is `ppm` parts per million fast, and with it an oscillator at `carrier_hz`.
    pub(super) fn new(feed: Arc<Feed>, ppm: f64, carrier_hz: f64, rate_hz: f64, scale: f32) -> Self {
        let ratio = 1.0 / (1.0 + ppm * 1e-6);
        Self {
            feed,
            ratio,
            tick: None,
            first: None,
            position: 0.0,
            history: vec![Complex32::default(); FILTER_TAPS],
            begin: -(FILTER_TAPS as i64),
            phase_rad: 0.0,
            step_rad: -TAU * ppm * 1e-6 * carrier_hz / rate_hz * ratio,
            scale,
        }
    }

    /// Takes samples below the world's `end` into the history. What was lost on the way leaves a gap, which is silence.
    fn hear(&mut self, end: i64) {
        let missing = |all: &Self| usize::try_from(end - all.begin - all.history.len() as i64).unwrap_or(0);
        let before = self.history.len();
        let tick = self.feed.take(missing(self), std::slice::from_mut(&mut self.history));
        if self.history.len() > before {
            let first = self.first.unwrap_or(tick);
            let heard = tick - first;
            if heard != self.begin + before as i64 {
                self.history.drain(..before);
                self.begin = heard;
                self.feed.take(missing(self), std::slice::from_mut(&mut self.history));
            }
        }
        // Silence after the end.
        let silent = missing(self);
        self.history.extend(std::iter::repeat_n(Complex32::default(), silent));
    }

    fn stretch(&mut self, output: &mut [Complex32]) {
        // The middle of the stretch is exact.
        let start = self.position + (self.ratio - 1.0) * (output.len() as f64 - 1.0) / 2.0;
        let taps = DelayTaps::new(start.floor() - start);
        let first = start.floor() as i64 - taps.reach_back();
        let end = first + (output.len() + FILTER_TAPS - 1) as i64;
        self.hear(end);
        match usize::try_from(first - self.begin) {
            Ok(from) => taps.apply(&self.history[from..(end - self.begin) as usize], output),
            Err(_) => output.fill(Complex32::default()),
        }
        self.phase_rad = rotate(output, self.phase_rad, self.step_rad) % TAU;
        self.position += self.ratio * output.len() as f64;
        self.forget();
    }

    /// Drops what the next stretch does not reach back to.
    fn forget(&mut self) {
        let done = (self.position.floor() as i64 - FILTER_TAPS as i64 - self.begin).clamp(0, self.history.len() as i64);
        self.history.drain(..done as usize);
        self.begin += done;
    }
}

impl virtual_radio::Air for SecondClock {
    fn propagate(&mut self, tick: i64, _sent: &[&[Complex32]], received: &mut [&mut [Complex32]]) -> bool {
        let Some(row) = received.first_mut() else { return true };
        // What the device passed over.
        let passed = self.tick.map_or(0, |next| tick - next).max(0);
        let position = self.position + self.ratio * passed as f64;
        let end = (position + self.ratio * row.len() as f64).ceil() as i64 + FILTER_TAPS as i64;
        if self.first.is_none() && self.feed.wait_for_some(MOMENT) {
            self.first = Some(self.feed.front());
        }
        if !self.first.is_some_and(|first| self.feed.wait_until(first + end, MOMENT)) {
            return false;
        }
        self.position = position;
        self.tick = Some(tick + row.len() as i64);
        self.forget();
        for output in row.chunks_mut(STRETCH) {
            self.stretch(output);
        }
        scale_row(row, self.scale.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtual_radio::Air;

    #[test]
    fn a_tone_is_heard_at_the_second_clock_s_times_and_carrier() {
        let (ppm, carrier_hz, rate_hz) = (2.5, 3.5e9, 200e6);
        let feed = Arc::new(Feed::new(0..1, true));
        // 0.11 cycles per sample; long enough for the clocks to part by half a sample.
        let tone = |position: f64| Complex32::from_polar(1.0, (TAU * ((0.11 * position) % 1.0)) as f32);
        let mut second = SecondClock::new(Arc::clone(&feed), ppm, carrier_hz, rate_hz, 1.0);
        let length = 200_000;
        let mut heard = vec![Complex32::default(); length];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for start in (0..length + 4096).step_by(1024) {
                    let samples: Vec<_> = (start..start + 1024).map(|n| tone(n as f64)).collect();
                    feed.push(start as i64, std::iter::once(&samples[..]));
                }
                feed.close();
            });
            for block in heard.chunks_mut(1000) {
                while !second.propagate(0, &[], &mut [&mut *block]) {}
            }
        });
        for (n, sample) in heard.iter().enumerate().skip(FILTER_TAPS) {
            let seconds = n as f64 / rate_hz / (1.0 + ppm * 1e-6);
            let offset = Complex32::from_polar(1.0, -(TAU * ((ppm * 1e-6 * carrier_hz * seconds) % 1.0)) as f32);
            let expected = tone(seconds * rate_hz) * offset;
            assert!((sample - expected).norm() < 2e-3, "{n}: {sample} {expected}");
        }
    }
}
