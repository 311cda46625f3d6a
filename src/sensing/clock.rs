//! By how much the receiver's clock is off beyond its declared error: learned from frame to frame, and used once it shows.
//!
//! Echoes come with T = τ + o + Δτ, of which Δτ is declared. A sampling clock that is 10 ppm off carries o by 10 ns in a
//! millisecond, so out of any declared error before long. Two things tell o from τ: directions give a position by
//! themselves, and τ with it, where they are good; and no target moves as fast as such a clock (10 ppm of the speed of light are 3 km/s). Both are
//! in one Kalman filter with the states τ, o and the rate of o.
//!
//! A clock that holds is left alone: o counts only where it stands out of its own uncertainty, so that nothing changes
//! for receivers whose clocks are as declared.

use nalgebra::{Matrix3, Vector3};

use super::SensingConfig;
use crate::scene::SPEED_OF_LIGHT_M_S;

/// Deviation of the rate of clocks: 20 ppm.
const RATE_STD: f64 = 20e-6;
/// Targets walk by this many metres of path in the root of a second.
const WALK_M: f64 = 100.0;
/// Offsets that stand out by so many of their deviations count, ...
const CLEAR: f64 = 3.5;
/// ... if they are this part of the declared deviation.
const MATTERS: f64 = 0.25;
/// Where one timing error is declared for the whole run, offsets beyond so many of its deviations count.
const HELD_CLEAR: f64 = 4.0;
/// Directions count where they say τ to this part of the declared deviation.
const GOOD: f64 = 0.3;
/// A delay that is so many deviations off what is expected is that of another target.
const OTHER: f64 = 6.0;

/// What one frame says of the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockReading {
    /// T in samples.
    pub delay: f64,
    /// τ in samples by the directions alone with its variance, where they say something.
    pub by_directions: Option<[f64; 2]>,
}

/// The clock as it was followed so far. All lengths are samples.
#[derive(Debug, Clone)]
pub(super) struct ClockFollower {
    sample_period_s: f64,
    declared: f64,
    held: bool,
    state: Vector3<f64>,
    covariance: Matrix3<f64>,
    last_s: Option<f64>,
    /// Whether nothing was read yet.
    is_new: bool,
}

impl ClockFollower {
    /// Nothing learned yet.
    pub fn new(config: &SensingConfig) -> Self {
        let held = config.timing_error_held;
        let declared = config.clock().simulated_std_s() / config.sample_period_s();
        let mut covariance = Matrix3::zeros();
        covariance[(1, 1)] = if held { declared * declared } else { 0.0 };
        covariance[(2, 2)] = (RATE_STD / config.sample_period_s()).powi(2);
        Self {
            sample_period_s: config.sample_period_s(),
            declared,
            held,
            state: Vector3::zeros(),
            covariance,
            last_s: None,
            is_new: true,
        }
    }

    /// Goes on to a moment, in seconds; moments before the last one change nothing.
    pub fn advance(&mut self, time_s: f64) {
        let Some(last_s) = self.last_s.replace(time_s) else { return };
        let dt = (time_s - last_s).max(0.0);
        let mut transition = Matrix3::identity();
        transition[(1, 2)] = dt;
        self.state = transition * self.state;
        self.covariance = transition * self.covariance * transition.transpose();
        let walk = WALK_M / (SPEED_OF_LIGHT_M_S * self.sample_period_s);
        self.covariance[(0, 0)] += walk * walk * dt;
    }

    /// By how many samples the clock is late beyond its declared error, and the variance of that; zero where nothing says
    /// that it is.
    pub fn offset(&self) -> [f64; 2] {
        let (offset, variance) = (self.state[1], self.covariance[(1, 1)].max(0.0));
        let shows = if self.held {
            offset.abs() > HELD_CLEAR * self.declared
        } else {
            offset.abs() > CLEAR * variance.sqrt() && offset.abs() > MATTERS * self.declared
        };
        match (shows, self.held) {
            (true, false) => [offset, variance],
            (true, true) => [offset, 0.0],
            _ => [0.0; 2],
        }
    }

    /// The offset in samples as it was found, whether it counts or not.
    pub fn found(&self) -> f64 {
        self.state[1]
    }

    /// Takes in what a frame says, at the moment to which the clock was brought last.
    pub fn take_in(&mut self, reading: &ClockReading) {
        let declared = if self.held { 0.0 } else { self.declared * self.declared };
        // Directions that say little could be off all alike, by an array that is not as it should be: a clock that is late by as
        // much would hide that.
        let by_directions = reading.by_directions.filter(|[_, variance]| *variance < (GOOD * self.declared).powi(2));
        if std::mem::take(&mut self.is_new) && by_directions.is_some() {
            self.covariance[(1, 1)] = self.declared * self.declared;
        }
        // What the fit leaves of a delay is far less than the clock's error.
        let own = declared + 1e-4;
        let off = |state: &Vector3<f64>| reading.delay - state[0] - state[1];
        let spread = self.covariance[(0, 0)] + 2.0 * self.covariance[(0, 1)] + self.covariance[(1, 1)] + own;
        let first = self.covariance[(0, 0)] == 0.0 || off(&self.state).powi(2) > OTHER * OTHER * spread;
        if first {
            // Another target: its delay is anything.
            self.state[0] = reading.delay - self.state[1];
            self.covariance.fill_row(0, 0.0);
            self.covariance.fill_column(0, 0.0);
            self.covariance[(0, 0)] = 1e12;
        }
        self.update(Vector3::new(1.0, 1.0, 0.0), off(&self.state), own);
        if let Some([path, variance]) = by_directions {
            let missed = path - self.state[0];
            let spread = self.covariance[(0, 0)] + variance;
            if missed * missed < OTHER * OTHER * spread {
                self.update(Vector3::new(1.0, 0.0, 0.0), missed, variance);
            }
        }
    }

    fn update(&mut self, slope: Vector3<f64>, innovation: f64, variance: f64) {
        let spread = (slope.transpose() * self.covariance * slope)[0] + variance;
        let gain = self.covariance * slope / spread;
        self.state += gain * innovation;
        let keep = Matrix3::identity() - gain * slope.transpose();
        let covariance = keep * self.covariance * keep.transpose() + gain * gain.transpose() * variance;
        self.covariance = 0.5 * (covariance + covariance.transpose());
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::scene::Scene;

    /// Frames of `interval_s` under a clock that is `ppm` off: the worst error of what is followed over the last half, in
    /// samples, and in how many of its frames an offset counts.
    fn followed(ppm: f64, interval_s: f64, directions: f64, speed_m_s: f64, seed: u64) -> (f64, usize) {
        let config = SensingConfig::from_scene(&Scene::paper());
        let mut follower = ClockFollower::new(&config);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut normal = move || -> f64 { StandardNormal.sample(&mut random) };
        let (mut worst, mut shows) = (0f64, 0);
        let frames = 2000;
        for frame in 0..frames {
            let time_s = f64::from(frame) * interval_s;
            follower.advance(time_s);
            let path = 140.0 + speed_m_s * time_s / config.sample_path_m();
            let offset = ppm * 1e-6 * time_s / config.sample_period_s();
            let [told, _] = follower.offset();
            if 2 * frame > frames {
                worst = worst.max((told - offset).abs());
                shows += usize::from(told != 0.0);
            }
            let delay = path + offset + follower.declared * normal();
            let by_directions = Some([path + directions * normal(), directions * directions]);
            follower.take_in(&ClockReading { delay, by_directions });
        }
        (worst / follower.declared, shows)
    }

    #[test]
    fn an_offset_that_no_declared_error_explains_is_found_from_directions() {
        let config = SensingConfig::from_scene(&Scene::paper());
        let mut follower = ClockFollower::new(&config);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut normal = move || -> f64 { StandardNormal.sample(&mut random) };
        let offset = 1.5 * follower.declared;
        for frame in 0..100 {
            follower.advance(f64::from(frame) * 1e-4);
            let delay = 140.0 + offset + follower.declared * normal();
            follower.take_in(&ClockReading { delay, by_directions: Some([140.0 + normal(), 1.0]) });
        }
        let [told, variance] = follower.offset();
        assert!((told - offset).abs() < 4.0 * variance.sqrt() && variance.sqrt() < 0.3 * offset, "{told} of {offset}");
    }

    #[test]
    fn a_clock_that_is_off_is_followed_whatever_directions_say() {
        for seed in 0..5 {
            for (ppm, directions) in [(10.0, 0.5), (10.0, 1e3), (-10.0, 30.0), (-2.0, 1.0)] {
                let (worst, shows) = followed(ppm, 1e-4, directions, 10.0, seed);
                assert!(worst < 0.8 && shows > 900, "{ppm} ppm, {directions}: {worst}, {shows}");
            }
        }
    }

    #[test]
    fn a_clock_that_holds_is_left_alone_also_where_the_target_moves() {
        for (directions, speed_m_s) in [(0.1, 0.0), (1.0, 30.0), (1e3, 0.0), (30.0, -60.0)] {
            let (mut worst, mut shows) = (0f64, 0);
            for seed in 0..20 {
                let (off, count) = followed(0.0, 1e-4, directions, speed_m_s, seed);
                worst = worst.max(off);
                shows += count;
            }
            assert!(worst < 0.8 && shows < 400, "{directions}, {speed_m_s} m/s: {worst}, {shows} of 20000");
        }
    }
}
