//! What the planner believes of the served receiver's channel: a mean of soundings that reaches back as far as the channel
//! stands still, with what their noise and their age make of it.
//!
//! Two soundings differ by their noise and by how far the channel has gone between them. Differences over a short and over a
//! long time tell the two apart: d = 2 s + q t, with the noise s of a sounding and the drift q, both as squared norms. Where
//! drift shows, a Kalman filter for a walk of that rate says how much the latest sounding counts.

use std::collections::VecDeque;

use nalgebra::DVector;
use num_complex::{Complex32, Complex64};

/// Soundings that the mean reaches back at most.
const SOUNDINGS: f64 = 16.0;
/// Soundings that the surveyed channel of the first plan is worth.
const SURVEY: f64 = 4.0;
/// Soundings between the two whose difference shows the drift.
const FAR: usize = 8;
/// Differences that are averaged.
const DIFFERENCES: f64 = 32.0;
/// Differences that must have been seen before drift is believed.
const LEAST_DIFFERENCES: f64 = 16.0;
/// Deviations by which the long differences must exceed the short ones.
const CLEAR: f64 = 3.5;

/// Running mean of squared differences of soundings, and of the frames between them.
#[derive(Debug, Clone, Copy, Default)]
struct Difference {
    squared: f64,
    frames: f64,
    count: f64,
}

impl Difference {
    fn take(&mut self, squared: f64, frames: f64) {
        self.count = (self.count + 1.0).min(DIFFERENCES);
        self.squared += (squared - self.squared) / self.count;
        self.frames += (frames - self.frames) / self.count;
    }
}

/// The believed channel h_c, from soundings.
#[derive(Debug, Clone)]
pub(super) struct BelievedChannel {
    /// The mean of the soundings and the survey before them; their noise is still in it.
    mean: DVector<Complex64>,
    soundings: f64,
    /// Squared norm of what a sounding was off the mean by, with what the mean before it was off by, and how many told so.
    scatter: f64,
    scattered: f64,
    /// Share of a sounding's noise that is in the mean.
    noise_share: f64,
    /// The latest soundings and their frames, the oldest first.
    recent: VecDeque<(u64, DVector<Complex64>)>,
    near: Difference,
    far: Difference,
    /// Squared norm of what the mean is off by, where drift shows.
    error: f64,
}

impl BelievedChannel {
    /// A channel as surveyed.
    pub fn new(surveyed: DVector<Complex64>) -> Self {
        Self {
            mean: surveyed,
            soundings: SURVEY,
            scatter: 0.0,
            scattered: 0.0,
            noise_share: 0.0,
            recent: VecDeque::with_capacity(FAR + 1),
            near: Difference::default(),
            far: Difference::default(),
            error: 0.0,
        }
    }

    /// Takes in the sounding of a frame: per-antenna gains at transmit amplitude `amplitude`.
    pub fn sound(&mut self, frame: u64, gains: &[Complex32], amplitude: f64) {
        let measured = DVector::from_iterator(
            gains.len(),
            gains.iter().map(|gain| Complex64::new(f64::from(gain.re), -f64::from(gain.im)) / amplitude),
        );
        if measured.len() != self.mean.len() || !measured.norm_squared().is_finite() {
            return;
        }
        let since = self.recent.back().map_or(0.0, |(last, _)| frame.saturating_sub(*last) as f64);
        self.compare(frame, &measured);
        // The carrier's phase is another one in every frame: turn the new one onto the mean.
        let turn = self.mean.dotc(&measured);
        let turned = measured * (turn.conj() / turn.norm().max(f64::MIN_POSITIVE));
        self.soundings = (self.soundings + 1.0).min(SOUNDINGS);
        let share = (1.0 / self.soundings).max(self.drifting_share(since));
        let off = (&turned - &self.mean).norm_squared() / (self.dimensions() * (1.0 + self.noise_share));
        // The first ones are off by what the survey missed as well.
        if self.soundings > SURVEY + 1.0 {
            self.scattered = (self.scattered + 1.0).min(SOUNDINGS);
            self.scatter += (off - self.scatter) / self.scattered;
        }
        self.noise_share = self.noise_share * (1.0 - share).powi(2) + share.powi(2);
        let share = Complex64::from(share);
        self.mean = &self.mean * (Complex64::from(1.0) - share) + turned * share;
    }

    /// Notes how far a sounding is from the one before it and from one long before, whatever their phases.
    fn compare(&mut self, frame: u64, measured: &DVector<Complex64>) {
        let distance = |other: &DVector<Complex64>| {
            (measured.norm_squared() + other.norm_squared() - 2.0 * other.dotc(measured).norm()).max(0.0)
        };
        let between = |earlier: u64| frame.saturating_sub(earlier) as f64;
        if let Some((earlier, other)) = self.recent.back() {
            self.near.take(distance(other), between(*earlier));
        }
        if self.recent.len() == FAR
            && let Some((earlier, other)) = self.recent.pop_front()
        {
            self.far.take(distance(&other), between(earlier));
        }
        self.recent.push_back((frame, measured.clone()));
    }

    /// One of the 2 N real dimensions of a sounding is turned away, and with it its share of the noise.
    fn dimensions(&self) -> f64 {
        let dimensions = 2.0 * self.mean.len() as f64;
        (dimensions - 1.0) / dimensions
    }

    /// Squared norm by which the channel moves in a frame; 0 where nothing shows that it does.
    fn drift(&self) -> f64 {
        let (near, far) = (self.near, self.far);
        let more = far.squared - near.squared;
        // A squared norm of 2 N − 1 Gaussian dimensions scatters by √(2 / (2 N − 1)) of itself.
        let scatter = near.squared * (2.0 / (2.0 * self.mean.len() as f64 - 1.0) * 2.0 / far.count.max(1.0)).sqrt();
        if far.count < LEAST_DIFFERENCES || far.frames <= near.frames || more < CLEAR * scatter {
            return 0.0;
        }
        more / (far.frames - near.frames)
    }

    /// Squared norm of a sounding's noise.
    fn noise(&self) -> f64 {
        let drift = self.drift();
        if drift == 0.0 {
            return self.scatter;
        }
        ((self.near.squared - drift * self.near.frames) / (2.0 * self.dimensions())).max(0.0)
    }

    /// What the latest sounding counts where the channel drifts, so many frames after the one before it.
    fn drifting_share(&mut self, since: f64) -> f64 {
        let drift = self.drift();
        if drift == 0.0 {
            self.error = 0.0;
            return 0.0;
        }
        let noise = self.noise();
        let before = (if self.error == 0.0 { noise } else { self.error }) + drift * since;
        let share = before / (before + noise).max(f64::MIN_POSITIVE);
        self.error = (1.0 - share) * before;
        share
    }

    /// Frames from the last sounding to `frame`; none where there was none.
    pub fn age(&self, frame: u64) -> Option<u64> {
        self.recent.back().map(|(last, _)| frame.saturating_sub(*last))
    }

    /// The channel expected at a frame, without what the soundings' noise adds to its power: a plan's SINR is that of the
    /// beams over the channel itself.
    ///
    /// What the mean keeps of the soundings' noise is one part. The other comes of turning: each sounding is turned so that
    /// its part along the mean, h + n with n of variance s / N, is real and positive, and E|h + n| ≈ |h| + s / (4 N |h|)
    /// (Rice), which raises the power by s / (2 N). Where the channel drifts, its part along the mean shrinks with the
    /// soundings' age.
    pub fn at(&self, frame: u64) -> DVector<Complex64> {
        let power = self.mean.norm_squared();
        let noise = (self.noise_share + 0.5 / self.mean.len() as f64) * self.noise();
        let gone = self.drift() * self.age(frame).unwrap_or(0) as f64;
        let left = if power > 0.0 { ((power - noise - gone) / power).max(0.0) } else { 0.0 };
        &self.mean * Complex64::from(left.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Noise;

    /// Frames between soundings.
    const PERIOD: u64 = 64;

    /// Unit noise and unit steps of a walk, as complex vectors of four.
    fn draws(seed: u64, index: u64) -> [DVector<Complex64>; 2] {
        let mut values = [Complex32::ZERO; 8];
        Noise::new(seed, 3, 1.0).add(index, &mut values);
        let double = |from: usize| {
            DVector::from_iterator(4, values[from..from + 4].iter().map(|x| Complex64::new(x.re.into(), x.im.into())))
        };
        [double(0), double(4)]
    }

    /// A channel of power 4 that walks by `step` (squared norm) from sounding to sounding, keeping its power, heard with
    /// `noise` (squared norm); the belief, and the share of the power that it finds, over the last half.
    fn walked(step: f64, noise: f64, seed: u64, count: u64) -> (BelievedChannel, f64) {
        let mut truth = DVector::from_element(4, Complex64::from(1.0));
        let mut belief = BelievedChannel::new(truth.clone());
        let (mut found, mut of) = (0.0, 0.0);
        for index in 0..count {
            let [walk, error] = draws(seed, index);
            truth = &truth * Complex64::from((1.0 - step / 4.0).sqrt()) + walk * Complex64::from((step / 4.0).sqrt());
            let heard = (&truth + error * Complex64::from((noise / 4.0).sqrt())) * Complex64::cis(index as f64);
            let gains: Vec<_> = heard.iter().map(|h| Complex32::new(h.re as f32, -h.im as f32)).collect();
            belief.sound(PERIOD * index, &gains, 1.0);
            if 2 * index >= count {
                found += belief.mean.dotc(&truth).norm_sqr() / belief.mean.norm_squared();
                of += truth.norm_squared();
            }
        }
        (belief, found / of)
    }

    #[test]
    fn a_channel_at_rest_is_averaged_and_a_moving_one_is_followed() {
        let mut at_rest = 0.0;
        for seed in 0..20 {
            let (belief, found) = walked(0.0, 0.4, seed, 200);
            at_rest += found / 20.0;
            assert!(belief.noise() > 0.2 && belief.noise() < 0.7, "{}", belief.noise());
        }
        // A mean of 16 leaves 0.4 · 3/4 / 31 / 4 of the power beside the channel: 0.24 %.
        assert!(at_rest > 0.994, "{at_rest}");
        let (mut moving, mut drift) = (0.0, 0.0);
        for seed in 0..20 {
            let (belief, found) = walked(0.2, 0.4, seed, 200);
            moving += found / 20.0;
            drift += belief.drift() * PERIOD as f64 / 20.0;
        }
        // The mean of 16 alone would be off by half of what the channel walks in its 15.5 soundings and more: it finds 76 %.
        assert!(moving > 0.93, "{moving}");
        // Phases are free: a unit of the walk's 8 dimensions does not show.
        assert!((drift / (0.2 * 7.0 / 8.0) - 1.0).abs() < 0.35, "{drift}");
    }

    #[test]
    fn what_is_expected_of_a_moving_channel_shrinks_with_the_age_of_the_soundings() {
        let (belief, _) = walked(0.2, 0.1, 5, 200);
        let power = |frame: u64| belief.at(frame).norm_squared();
        let last = 199 * PERIOD;
        assert_eq!(belief.age(last + 10), Some(10));
        assert!(power(last + 4 * PERIOD) < power(last) - 0.3, "{} then {}", power(last), power(last + 4 * PERIOD));
        let (still, _) = walked(0.0, 0.1, 5, 200);
        assert_eq!(still.at(last), still.at(last + 1000));
        // Nothing is negative or not a number, however old they are.
        assert!(belief.at(u64::MAX).iter().all(|h| h.norm() == 0.0));
    }

    #[test]
    fn soundings_that_are_no_numbers_change_nothing() {
        let mut belief = BelievedChannel::new(DVector::from_element(2, Complex64::from(1.0)));
        let before = belief.mean.clone();
        belief.sound(0, &[Complex32::new(f32::NAN, 0.0); 2], 1.0);
        belief.sound(64, &[Complex32::ONE; 2], 0.0);
        belief.sound(128, &[Complex32::ONE; 3], 1.0);
        assert_eq!((belief.mean, belief.recent.len()), (before, 0));
    }
}
