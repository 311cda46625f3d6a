//! Echoes that are not as the streams alone would make them, mended: turned back, and freed of their own images.

use num_complex::{Complex32, Complex64};

use super::{Estimator, Window};
use crate::dsp::rotate;
use crate::sensing::{EchoFrame, Fix, Status};

/// An echo that turns by more than so many deviations within the window is turned back, ...
const TURNING_DEVIATIONS: f64 = 5.0;
/// ... as is one for which a stream that turns to first order only would be off by more than this, in radians at the ends.
const FIRST_ORDER_RAD: f64 = 0.05;
/// What echoes turn by in common counts from so many deviations on.
const COMMON_DEVIATIONS: f64 = 4.0;
/// What echoes turn by within the window, in radians, costs the delay search less than a tenth of a decibel below this.
const MATTERS_RAD: f64 = 0.5;
/// How often an echo is mended.
const MENDED: usize = 4;
/// Noise in the streams' band that is so many times that beyond it is not noise alone.
const NOISY: f64 = 1.3;
/// An echo is compressed if its third power stands so far out of what the streams leave: on noise alone an exponential number.
const COMPRESSED: f64 = 12.0;
/// A compression that stands out of the mean of many echoes, but of one by no more than this, bends a position by a tenth of its
/// deviation, or by one where it differs from antenna to antenna of the transmitter.
const HARMLESS: f64 = 0.25;
/// What is kept of earlier echoes' for the next.
const KEPT: f64 = 0.97;
/// The least part of what is heard from an echo's direction that the echo must be.
const STRONG_PART: f64 = 0.05;

/// How fast echoes turn, as those so far show it: where it is the same for all, the receiver's carrier is off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CommonTurning {
    /// Σ 1/σ² and Σ rate/σ², earlier echoes counting less.
    information: f64,
    sum: f64,
}

impl CommonTurning {
    /// Takes in how fast an echo turns, in radians a sample, with the deviation.
    fn take_in(&mut self, rate: f64, deviation: f64) {
        let information = deviation.powi(-2);
        if rate.is_finite() && information.is_finite() {
            self.information = self.information * KEPT + information;
            self.sum = self.sum * KEPT + rate * information;
        }
    }

    /// The rate, if it stands out and turns so far within `window` samples that the delay search suffers from it.
    pub fn that_matters(&self, window: usize) -> Option<f64> {
        let rate = self.sum / self.information;
        let stands_out = rate.abs() > COMMON_DEVIATIONS * self.information.powf(-0.5);
        (stands_out && rate.abs() * window as f64 > MATTERS_RAD).then_some(rate)
    }
}

impl Estimator {
    /// How fast the echo of one frame turns beyond what the fine stage has taken into account, if that is more than noise or
    /// more than first order is good for.
    pub(super) fn excess_turning(&self) -> Option<f64> {
        self.reached?;
        let [more, deviation] = self.fit.turning;
        let known = self.spectra.rate();
        let rate = known + more;
        let within = 0.5 * self.window as f64;
        let stands_out = more.abs() > TURNING_DEVIATIONS * deviation;
        let beyond = known.abs() * within > FIRST_ORDER_RAD;
        ((stands_out || beyond) && rate.is_finite() && rate.abs() * within < std::f64::consts::TAU)
            .then_some(self.turned_by + rate)
    }

    /// The fine stage on the echo of one frame, which is loaded, and again on what is left of it without the turning and the
    /// images that it shows.
    pub(super) fn locate_mended<'a>(
        &mut self,
        window: Window,
        frame: &EchoFrame<'_>,
        echo: impl Iterator<Item = &'a [Complex32]> + Clone,
    ) -> Result<Fix, Status> {
        self.turned_by = 0.0;
        let mut result = self.locate(window, Some(frame));
        self.images.fill(Complex64::ZERO);
        for _ in 0..MENDED {
            let rate = self.excess_turning();
            let mirrored = self.is_noisy() && self.finds_images(window.lag);
            if rate.is_none() && !mirrored {
                break;
            }
            self.mend(rate.unwrap_or(self.turned_by), echo.clone());
            let gram = self.spectra.load_streams(0, frame.streams(), self.config.moving);
            result = self.locate(Window { gram, ..window }, Some(frame));
        }
        if let (true, Ok(_)) = (self.learns, &result) {
            let [more, deviation] = self.fit.turning;
            self.common_turning.take_in(self.turned_by + self.offset + self.spectra.rate() + more, deviation);
        }
        self.turned_by = 0.0;
        result
    }

    /// Whether there is clearly more noise in the streams' band than beyond it.
    pub(super) fn is_noisy(&self) -> bool {
        let rows = self.config.receive_antennas as f64;
        self.reached.is_some()
            && self.spectra.outside_noise().is_some_and(|noise| self.fit.left() * rows > NOISY * noise)
    }

    /// Looks for images of the echo where the rows fit otherwise.
    fn finds_images(&mut self, lag: isize) -> bool {
        let Some(reached) = self.reached.filter(|_| self.seen.rows == 0) else { return false };
        self.fit.find_images(&mut self.spectra, reached.delay - lag as f64, &mut self.images)
    }

    /// Loads the echo without the images found and turned back by `rate` radians a sample about the window's middle.
    pub(super) fn mend<'a>(&mut self, rate: f64, echo: impl Iterator<Item = &'a [Complex32]>) {
        let middle = 0.5 * (self.window as f64 - 1.0);
        for ((to, from), image) in self.turned.chunks_exact_mut(self.window).zip(echo).zip(&self.images) {
            let image = Complex32::new(image.re as f32, image.im as f32);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from - image * from.conj());
            rotate(to, rate * middle, -rate);
        }
        self.turned_by = rate;
        self.spectra.load_echo(0, self.turned.chunks_exact(self.window));
    }

    /// Whether an echo that is a good part of what the rows hear, none of which is to blame, is compressed, alone or in the mean with those before. Weaker
    /// ones suffer from that as noise does. `alone` says that no other echo is in what the streams leave of it.
    pub(super) fn is_compressed(&mut self, alone: bool) -> bool {
        if self.reached.is_none() || self.seen.rows != 0 || self.fit.echo_part < STRONG_PART {
            return false;
        }
        let own = self.spectra.compressed();
        // What is no noise (a second path) may be alike in all frames without being compression.
        if alone && !self.is_noisy() {
            self.compressed.take_in(&own, KEPT);
        }
        let common = self.compressed.stands_out() > COMPRESSED && self.compressed.expected_of(&own) > HARMLESS;
        common || own.stands_out() > COMPRESSED
    }
}
