//! Tracks in the plane from measured directions and delays: an extended Kalman filter with nearly constant velocity and
//! the timing error as a state of its own, track birth and death.
//!
//! State: x, y (m), their velocities (m/s), cΔτ (m), and by how much the arrays' element errors displace sin θ and sin φ:
//! constants that are considered in the covariance but never estimated (Schmidt's filter), because one target hardly shows
//! them and a linearised filter would believe that it does. A measurement is (sin θ, sin φ, cT) with the information of the echo alone, no prior:
//! T = τ(x, y) + Δτ. Where each frame has a fresh timing error its state is drawn anew at every
//! step; where frames share one (`timing_error_hold = "run"`) it is constant, and learned as the target moves. White
//! acceleration of density q (m²/s³ per axis) drives the velocities.

use nalgebra::{Matrix2, Matrix3, SMatrix, SVector, Vector3};
use serde::{Deserialize, Serialize};

use super::{Fix, SensingConfig};
use crate::scene::{Point, SPEED_OF_LIGHT_M_S, TimingErrorHold};

/// Entries of the state.
const STATES: usize = 7;
/// The first entry of the two displacements.
const DISPLACED: usize = 5;

type State = SVector<f64, STATES>;
type Covariance = SMatrix<f64, STATES, STATES>;

/// Most tracks at a time: noise and clutter cannot make more.
pub(super) const MAX_TRACKS: usize = 64;

/// Most fixes of one frame that are taken in.
const MAX_FIXES: usize = super::MAX_TARGETS;

/// A timing error of this deviation says nothing of a position any more.
const UNKNOWN_CLOCK_M: f64 = 1e5;

/// Echoes that a track's means reach back, and after how many they say something.
const ECHOES: f64 = 128.0;
const LEAST_ECHOES: f64 = 8.0;

/// Linearisations of one update.
const ITERATIONS: usize = 3;

/// What one echo says without any prior.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// sin θ, sin φ and cT in metres.
    pub values: [f64; 3],
    /// Their information matrix: the negative Hessian of the log-likelihood.
    pub information: [[f64; 3]; 3],
    /// Variances of the displacement of sin θ and sin φ by the arrays' element errors. It is the same from frame to frame
    /// (that of sin θ as far as the beams are), so it is no part of the information.
    pub displacement_variances: [f64; 2],
    /// How fast the path grows, where the Doppler shift was estimated.
    pub path_rate: Option<PathRate>,
}

impl Measurement {
    /// Covariance of the values; `None` where the likelihood was no peak there, as may be deep in the noise.
    fn covariance(&self) -> Option<Matrix3<f64>> {
        Matrix3::from_fn(|i, j| self.information[i][j]).cholesky().map(|root| root.inverse())
    }
}

/// Rate of the path TR → target → SRE.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PathRate {
    /// In m/s; its error is taken as independent of the other values'.
    pub value_m_s: f64,
    /// Variance in (m/s)².
    pub variance_m2_s2: f64,
}

/// How tracks live and die.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackSettings {
    /// q, density of the acceleration noise in m²/s³ per axis.
    pub acceleration_density: f64,
    /// Standard deviation of each velocity component of a new track, in m/s.
    pub speed_std_m_s: f64,
    /// Fixes after which a track is confirmed.
    pub confirm_hits: usize,
    /// A confirmed track ends after this long without a fix, in seconds.
    pub coast_s: f64,
    /// A measurement belongs to a track where its squared distance, χ² with 3 degrees of freedom, is below this.
    pub gate: f64,
    /// Whether frames share the timing error.
    pub timing_error_hold: TimingErrorHold,
}

impl Default for TrackSettings {
    /// A vehicle: 1 m²/s³, 30 m/s, confirmed by the third fix, 2 s of coasting, a gate that a true fix misses once in
    /// 10⁶.
    fn default() -> Self {
        Self {
            acceleration_density: 1.0,
            speed_std_m_s: 30.0,
            confirm_hits: 3,
            coast_s: 2.0,
            gate: 30.7,
            timing_error_hold: TimingErrorHold::Frame,
        }
    }
}

/// What a track's echoes show, in the mean.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TrackEcho {
    /// |β_0|², without what noise adds to it, and the variance of that.
    reflection_power: f64,
    variance: f64,
    /// σ_s² in W.
    noise_power_w: f64,
    /// Echoes that it is the mean of.
    echoes: f64,
}

impl TrackEcho {
    fn take_in(&mut self, fix: &Fix) {
        let power = fix.reflection.norm_sqr() - fix.reflection_variance;
        self.echoes = (self.echoes + 1.0).min(ECHOES);
        let share = 1.0 / self.echoes;
        self.reflection_power += share * (power - self.reflection_power);
        // |β + n|² has the variance 2 |β|² ν + ν².
        let own = (2.0 * fix.reflection.norm_sqr() + fix.reflection_variance) * fix.reflection_variance;
        self.variance = (1.0 - share).powi(2) * self.variance + share * share * own;
        self.noise_power_w += share * (fix.noise_power_w - self.noise_power_w);
    }

    /// |β_0|; nothing where its echoes do not show it yet.
    pub fn reflection_coefficient(&self) -> Option<f64> {
        (self.reflection_power > 0.0 && self.echoes >= LEAST_ECHOES).then(|| self.reflection_power.sqrt())
    }

    /// Deviation of |β_0|, as a part of it.
    pub fn reflection_part(&self) -> f64 {
        0.5 * self.variance.sqrt() / self.reflection_power.max(f64::MIN_POSITIVE)
    }

    /// σ_s² in W.
    pub fn noise_power_w(&self) -> Option<f64> {
        (self.noise_power_w > 0.0 && self.echoes >= LEAST_ECHOES).then_some(self.noise_power_w)
    }
}

/// One target's track.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Counts up from 1 in order of birth.
    pub id: u64,
    /// Fixes so far.
    pub hits: usize,
    /// Whether enough fixes have been seen.
    pub confirmed: bool,
    /// Whether a sounding told its departure direction from those that beams confuse with it.
    #[serde(default)]
    sounded: bool,
    /// What its echoes show in the mean of the last [`ECHOES`] of them.
    #[serde(default)]
    echo: TrackEcho,
    time_s: f64,
    last_hit_s: f64,
    state: State,
    covariance: Covariance,
    acceleration_density: f64,
}

/// Where the arrays stand, and σ_Δ in metres.
#[derive(Debug, Clone, Copy)]
struct Arrays {
    transmitter: Point,
    receiver: Point,
    timing_error_m: f64,
}

/// A measurement against a track.
struct Innovation {
    /// What is measured less what is expected.
    value: Vector3<f64>,
    /// The inverse of its covariance.
    inverse: Matrix3<f64>,
    /// Derivatives by the state.
    slope: SMatrix<f64, 3, STATES>,
    /// The measurement's covariance.
    noise: Matrix3<f64>,
}

impl Track {
    /// Where the target is expected at `time_s`, with its covariance in m².
    pub fn predict(&self, time_s: f64) -> (Point, Matrix2<f64>) {
        let mut ahead = *self;
        ahead.advance(time_s);
        (ahead.position_m(), ahead.position_covariance_m2())
    }

    /// Position at the last step.
    pub fn position_m(&self) -> Point {
        [self.state[0], self.state[1]]
    }

    /// Velocity in m/s at the last step.
    pub fn velocity_m_s(&self) -> Point {
        [self.state[2], self.state[3]]
    }

    /// Covariance of the position at the last step, in m².
    pub fn position_covariance_m2(&self) -> Matrix2<f64> {
        self.covariance.fixed_view::<2, 2>(0, 0).into()
    }

    /// What its echoes show.
    pub fn echo(&self) -> &TrackEcho {
        &self.echo
    }

    /// Seconds since the last fix, at the last step.
    pub fn since_hit_s(&self) -> f64 {
        self.time_s - self.last_hit_s
    }

    /// Δτ in seconds, as learned.
    pub fn timing_error_s(&self) -> f64 {
        self.state[4] / SPEED_OF_LIGHT_M_S
    }

    fn new(id: u64, time_s: f64, fix: &Fix, settings: &TrackSettings, arrays: &Arrays) -> Self {
        let mut covariance = Covariance::zeros();
        for i in 0..2 {
            for j in 0..2 {
                // Wide enough that the first measurement, entered below, decides.
                covariance[(i, j)] = 1e4 * fix.covariance_m2[i][j];
            }
            covariance[(i + 2, i + 2)] = settings.speed_std_m_s.powi(2);
        }
        covariance[(4, 4)] = arrays.timing_error_m.powi(2);
        for (axis, variance) in fix.measurement.displacement_variances.into_iter().enumerate() {
            covariance[(DISPLACED + axis, DISPLACED + axis)] = variance;
        }
        let mut state = State::zeros();
        (state[0], state[1]) = (fix.position_m[0], fix.position_m[1]);
        let acceleration_density = settings.acceleration_density;
        let mut track = Self {
            id,
            hits: 0,
            confirmed: false,
            sounded: fix.sounded,
            echo: TrackEcho::default(),
            time_s,
            last_hit_s: time_s,
            state,
            covariance,
            acceleration_density,
        };
        track.update(&fix.measurement, settings, arrays);
        track.echo.take_in(fix);
        track
    }

    /// Moves the state to `time_s`.
    fn advance(&mut self, time_s: f64) {
        let dt = time_s - self.time_s;
        let mut transition = Covariance::identity();
        transition[(0, 2)] = dt;
        transition[(1, 3)] = dt;
        self.state = transition * self.state;
        self.covariance = transition * self.covariance * transition.transpose();
        let q = self.acceleration_density;
        for axis in 0..2 {
            self.covariance[(axis, axis)] += q * dt.powi(3) / 3.0;
            self.covariance[(axis, axis + 2)] += q * dt.powi(2) / 2.0;
            self.covariance[(axis + 2, axis)] += q * dt.powi(2) / 2.0;
            self.covariance[(axis + 2, axis + 2)] += q * dt;
        }
        self.time_s = time_s;
    }

    /// A new frame has a timing error of its own.
    fn forget_timing_error(&mut self, timing_error_m: f64) {
        self.state[4] = 0.0;
        self.covariance.fill_row(4, 0.0);
        self.covariance.fill_column(4, 0.0);
        self.covariance[(4, 4)] = timing_error_m * timing_error_m;
    }

    /// The measurement linearised at `at`.
    fn innovation(&self, at: &State, measurement: &Measurement, arrays: &Arrays) -> Option<Innovation> {
        let mut expected = Vector3::new(0.0, 0.0, at[4]);
        let mut slope = SMatrix::<f64, 3, STATES>::zeros();
        slope[(2, 4)] = 1.0;
        for (index, array) in [arrays.transmitter, arrays.receiver].into_iter().enumerate() {
            let [x, y] = [at[0] - array[0], at[1] - array[1]];
            let range = x.hypot(y);
            expected[index] = y / range;
            slope[(index, DISPLACED + index)] = 1.0;
            expected[2] += range;
            slope[(index, 0)] = -x * y / range.powi(3);
            slope[(index, 1)] = x * x / range.powi(3);
            slope[(2, 0)] += x / range;
            slope[(2, 1)] += y / range;
        }
        let noise = measurement.covariance()?;
        Some(Innovation {
            value: Vector3::from(measurement.values) - expected - slope * (self.state - at),
            inverse: (slope * self.covariance * slope.transpose() + noise).try_inverse()?,
            slope,
            noise,
        })
    }

    /// Squared distance of a measurement, χ² with 3 degrees of freedom where it belongs to this track.
    fn distance(&self, measurement: &Measurement, arrays: &Arrays) -> f64 {
        self.innovation(&self.state, measurement, arrays)
            .map_or(f64::INFINITY, |Innovation { value, inverse, .. }| (value.transpose() * inverse * value)[0])
    }

    fn update(&mut self, measurement: &Measurement, settings: &TrackSettings, arrays: &Arrays) {
        // Iterated: after a fade the prediction is metres off, and directions bend over that.
        let mut at = self.state;
        for last in (0..ITERATIONS).map(|iteration| iteration + 1 == ITERATIONS) {
            let Some(innovation) = self.innovation(&at, measurement, arrays) else { return };
            let Innovation { value, inverse, slope, noise } = innovation;
            let gain = self.gain(slope.transpose() * inverse);
            at = self.state + gain * value;
            if last {
                self.take(gain, slope, noise);
            }
        }
        self.state = at;
        if let Some(path_rate) = &measurement.path_rate {
            self.update_rate(path_rate, arrays);
        }
        self.hits += 1;
        self.confirmed |= self.hits >= settings.confirm_hits;
        self.last_hit_s = self.time_s;
    }
}

impl Track {
    /// P times a left factor, the rows of what is not estimated left out.
    fn gain<const N: usize>(&self, factor: SMatrix<f64, STATES, N>) -> SMatrix<f64, STATES, N> {
        let mut gain = self.covariance * factor;
        gain.fixed_rows_mut::<2>(DISPLACED).fill(0.0);
        gain
    }

    /// The covariance after an update with any gain (Joseph's form).
    fn take<const N: usize>(
        &mut self,
        gain: SMatrix<f64, STATES, N>,
        slope: SMatrix<f64, N, STATES>,
        noise: SMatrix<f64, N, N>,
    ) {
        let keep = Covariance::identity() - gain * slope;
        let covariance = keep * self.covariance * keep.transpose() + gain * noise * gain.transpose();
        self.covariance = 0.5 * (covariance + covariance.transpose());
    }

    /// Takes in the rate of the path: the velocity along the two unit vectors away from the arrays.
    fn update_rate(&mut self, path_rate: &PathRate, arrays: &Arrays) {
        let mut expected = 0.0;
        let mut slope = SMatrix::<f64, 1, STATES>::zeros();
        for array in [arrays.transmitter, arrays.receiver] {
            let [x, y] = [self.state[0] - array[0], self.state[1] - array[1]];
            let range = x.hypot(y);
            let (along, across) = ([x / range, y / range], [-y / range, x / range]);
            let sideways = across[0] * self.state[2] + across[1] * self.state[3];
            for axis in 0..2 {
                expected += along[axis] * self.state[2 + axis];
                slope[axis] += across[axis] * sideways / range;
                slope[2 + axis] += along[axis];
            }
        }
        let noise = SMatrix::<f64, 1, 1>::new(path_rate.variance_m2_s2);
        let variance = (slope * self.covariance * slope.transpose() + noise)[0];
        let gain = self.gain(slope.transpose() / variance);
        self.state += gain * (path_rate.value_m_s - expected);
        self.take(gain, slope, noise);
    }
}

/// All tracks of one receiver.
#[derive(Debug, Clone)]
pub struct Tracker {
    settings: TrackSettings,
    arrays: Arrays,
    tracks: Vec<Track>,
    born: u64,
    assignment: Assignment,
    /// The track that took in each fix of the last frame.
    given: Vec<Option<u64>>,
    /// Places of the confirmed tracks, the best first.
    order: Vec<usize>,
}

/// Which fix belongs to which track.
#[derive(Debug, Clone)]
struct Assignment {
    /// Squared distances, infinite beyond the gate: `[fix][track]`.
    distances: Vec<f64>,
    tracks: usize,
    /// The track's place of each fix.
    of_fix: Vec<Option<usize>>,
}

impl Assignment {
    fn new() -> Self {
        Self { distances: Vec::with_capacity(MAX_FIXES * MAX_TRACKS), tracks: 0, of_fix: Vec::with_capacity(MAX_FIXES) }
    }

    /// Assigns as many fixes as pass a gate, with the smallest sum of distances: the nearest pair first, then exchanges
    /// between two fixes as long as they help. All fixes of a frame share its timing error, which can bring one target's
    /// delay next to another's; together they still fit best as they belong.
    fn solve(&mut self, fixes: usize, tracks: usize, distance: impl Fn(usize, usize) -> f64) {
        self.tracks = tracks;
        self.distances.clear();
        self.distances.extend((0..fixes * tracks).map(|at| distance(at / tracks, at % tracks)));
        self.of_fix.clear();
        self.of_fix.resize(fixes, None);
        while let Some((fix, track)) = self.nearest_free() {
            self.of_fix[fix] = Some(track);
        }
        while (0..fixes).any(|a| (0..fixes).any(|b| a != b && self.exchange(a, b))) {}
    }

    fn at(&self, fix: usize, track: Option<usize>) -> f64 {
        track.map_or(0.0, |track| self.distances[fix * self.tracks + track])
    }

    fn nearest_free(&self) -> Option<(usize, usize)> {
        let pairs = (0..self.of_fix.len()).flat_map(|fix| (0..self.tracks).map(move |track| (fix, track)));
        pairs
            .filter(|(fix, track)| self.of_fix[*fix].is_none() && !self.of_fix.contains(&Some(*track)))
            .map(|(fix, track)| ((fix, track), self.at(fix, Some(track))))
            .filter(|(_, distance)| distance.is_finite())
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(pair, _)| pair)
    }

    /// Lets two fixes change tracks where that makes the sum smaller; one without a track may take the other's.
    fn exchange(&mut self, a: usize, b: usize) -> bool {
        let (of_a, of_b) = (self.of_fix[a], self.of_fix[b]);
        let better = self.at(a, of_b) + self.at(b, of_a) < self.at(a, of_a) + self.at(b, of_b) - 1e-9;
        // Both must stay as many as they were: a fix without a track is no gain.
        if better && (of_a.is_some() && of_b.is_some()) {
            self.of_fix.swap(a, b);
        }
        better && of_a.is_some() && of_b.is_some()
    }
}

impl Tracker {
    /// A tracker without tracks.
    pub fn new(config: &SensingConfig, settings: TrackSettings) -> Self {
        let arrays = Arrays {
            transmitter: config.transmitter,
            receiver: config.receiver,
            timing_error_m: (config.timing_error_std_s * SPEED_OF_LIGHT_M_S).min(UNKNOWN_CLOCK_M),
        };
        Self {
            settings,
            arrays,
            tracks: Vec::with_capacity(MAX_TRACKS),
            born: 0,
            assignment: Assignment::new(),
            given: Vec::with_capacity(MAX_FIXES),
            order: Vec::with_capacity(MAX_TRACKS),
        }
    }

    /// All tracks, tentative ones too.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The confirmed track with most fixes.
    pub fn best(&self) -> Option<&Track> {
        self.tracks.iter().filter(|track| track.confirmed).max_by_key(|track| track.hits)
    }

    /// Where targets are expected at `time_s`, with the covariances: by confirmed tracks, and by those whose departure direction
    /// was sounded.
    pub fn expectations(&self, time_s: f64) -> impl Iterator<Item = (Point, Matrix2<f64>)> + '_ {
        let told = self.tracks.iter().filter(|track| track.confirmed || track.sounded);
        told.map(move |track| track.predict(time_s))
    }

    /// The confirmed tracks, the one with most fixes ([`Self::best`]) first.
    pub fn confirmed(&mut self) -> impl ExactSizeIterator<Item = &Track> {
        self.order.clear();
        self.order.extend((0..self.tracks.len()).filter(|index| self.tracks[*index].confirmed));
        let tracks = &self.tracks;
        self.order.sort_unstable_by_key(|index| std::cmp::Reverse((tracks[*index].hits, *index)));
        self.order.iter().map(|index| &tracks[*index])
    }

    /// One frame at `time_s` with its fixes; none is a frame without a position, and the first [`MAX_TARGETS`] count. Fixes
    /// update the tracks whose gates they pass, so that the sum of squared distances is least; what is left over are new
    /// tracks; where there is no room, in place of the one with fewest fixes. Tracks without a fix coast, tentative ones for
    /// a quarter as long. A fix whose echo gives no error bar is left out. Returned is the track that took in each fix.
    ///
    /// [`MAX_TARGETS`]: super::MAX_TARGETS
    pub fn step(&mut self, time_s: f64, fixes: &[Fix]) -> &[Option<u64>] {
        for track in &mut self.tracks {
            track.advance(time_s);
            if self.settings.timing_error_hold == TimingErrorHold::Frame {
                track.forget_timing_error(self.arrays.timing_error_m);
            }
        }
        let fixes = &fixes[..fixes.len().min(MAX_FIXES)];
        let (tracks, arrays, gate) = (&self.tracks, &self.arrays, self.settings.gate);
        self.assignment.solve(fixes.len(), tracks.len(), |fix, track| {
            let distance = tracks[track].distance(&fixes[fix].measurement, arrays);
            if distance < gate && tracks[track].last_hit_s < time_s { distance } else { f64::INFINITY }
        });
        self.given.clear();
        for (fix, track) in fixes.iter().zip(&self.assignment.of_fix) {
            self.given.push(track.map(|track| {
                self.tracks[track].update(&fix.measurement, &self.settings, &self.arrays);
                self.tracks[track].sounded |= fix.sounded;
                self.tracks[track].echo.take_in(fix);
                self.tracks[track].id
            }));
        }
        for (fix, given) in fixes.iter().zip(&mut self.given) {
            if given.is_some() || fix.measurement.covariance().is_none() {
                continue;
            }
            if self.tracks.len() == MAX_TRACKS {
                let weakest = (0..MAX_TRACKS).min_by_key(|index| self.tracks[*index].hits).unwrap_or(0);
                self.tracks.swap_remove(weakest);
            }
            self.born += 1;
            self.tracks.push(Track::new(self.born, time_s, fix, &self.settings, &self.arrays));
            *given = Some(self.born);
        }
        let coast_s = self.settings.coast_s;
        self.tracks.retain(|track| time_s - track.last_hit_s <= if track.confirmed { coast_s } else { coast_s / 4.0 });
        &self.given
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector2;
    use num_complex::Complex64;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::array::distance_m;
    use crate::scene::Scene;

    /// Deviations of the sines of a measurement; that of the path is far smaller than cσ_Δ.
    const SINE_STD: f64 = 2e-4;
    const PATH_STD_M: f64 = 0.02;

    struct World {
        config: SensingConfig,
        random: Xoshiro256PlusPlus,
        shared_error_m: Option<f64>,
        /// Of sin θ and sin φ, and the variances that are told of it.
        displacement: [f64; 2],
        displacement_variances: [f64; 2],
    }

    impl World {
        fn new(shared_error_m: Option<f64>) -> Self {
            let config = SensingConfig::from_scene(&Scene::paper());
            let random = Xoshiro256PlusPlus::seed_from_u64(1);
            Self { config, random, shared_error_m, displacement: [0.0; 2], displacement_variances: [0.0; 2] }
        }

        fn normal(&mut self) -> f64 {
            StandardNormal.sample(&mut self.random)
        }

        /// A fix on a target, as the estimator would give it: with directions and a position that are noisy.
        fn fix(&mut self, target: Point) -> Fix {
            let sine = |array: Point, displaced: f64| (target[1] - array[1]) / distance_m(array, target) + displaced;
            let (b, r) = (self.config.transmitter, self.config.receiver);
            let error_m = self.shared_error_m.unwrap_or_else(|| {
                self.config.timing_error_std_s * SPEED_OF_LIGHT_M_S * {
                    let normal: f64 = StandardNormal.sample(&mut self.random);
                    normal
                }
            });
            let path = distance_m(b, target) + distance_m(target, r) + error_m;
            let [du, dv] = self.displacement;
            let (u, v) = (sine(b, du) + SINE_STD * self.normal(), sine(r, dv) + SINE_STD * self.normal());
            let crossing = super::super::position::Geometry::new(&self.config).crossing(u, v).unwrap();
            let at =
                |values: [f64; 2]| super::super::position::Geometry::new(&self.config).crossing(values[0], values[1]);
            let columns = [[1e-6, 0.0], [0.0, 1e-6]].map(|[du, dv]| {
                let moved = at([u + du, v + dv]).unwrap();
                Vector2::new(moved[0] - crossing[0], moved[1] - crossing[1]) / 1e-6
            });
            let covariance =
                (columns[0] * columns[0].transpose() + columns[1] * columns[1].transpose()) * SINE_STD.powi(2);
            let sine_information = SINE_STD.powi(-2);
            Fix {
                position_m: crossing,
                covariance_m2: [[covariance[(0, 0)], covariance[(0, 1)]], [covariance[(1, 0)], covariance[(1, 1)]]],
                displacement_m2: 0.0,
                measurement: Measurement {
                    values: [u, v, path + PATH_STD_M * self.normal()],
                    information: [
                        [sine_information, 0.0, 0.0],
                        [0.0, sine_information, 0.0],
                        [0.0, 0.0, PATH_STD_M.powi(-2)],
                    ],
                    displacement_variances: self.displacement_variances,
                    path_rate: None,
                },
                delay_s: path / SPEED_OF_LIGHT_M_S,
                departure_rad: u.asin(),
                arrival_rad: v.asin(),
                reflection: Complex64::ONE,
                reflection_variance: 0.0,
                noise_power_w: 1e-8,
                sounded: false,
            }
        }
    }

    /// Round a circle of 90 m at 30 m/s: 10 m/s² across.
    fn place(time_s: f64) -> Point {
        let (sine, cosine) = (time_s / 3.0).sin_cos();
        [130.0 + 90.0 * cosine, 20.0 + 90.0 * sine]
    }

    #[test]
    fn a_track_is_better_than_single_fixes_and_its_covariance_is_true() {
        let mut world = World::new(None);
        let mut tracker =
            Tracker::new(&world.config, TrackSettings { acceleration_density: 0.1, ..Default::default() });
        let (mut single, mut tracked, mut nees, mut count) = (0.0, 0.0, 0.0, 0.0);
        for step in 0..2000 {
            // A constant velocity, as the filter assumes, with its own acceleration noise left at rest.
            let time_s = f64::from(step) * 0.01;
            let target = [120.0, -60.0 + 6.0 * time_s];
            let fix = world.fix(target);
            tracker.step(time_s, &[fix]);
            let error = |p: Point| Vector2::new(p[0] - target[0], p[1] - target[1]);
            if step > 200 {
                let track = tracker.best().unwrap();
                let information = track.position_covariance_m2().try_inverse().unwrap();
                let off = error(track.position_m());
                nees += (off.transpose() * information * off)[0];
                single += error(fix.position_m).norm_squared();
                tracked += off.norm_squared();
                count += 1.0;
            }
        }
        assert_eq!(tracker.tracks().len(), 1);
        assert!(tracked < 0.25 * single, "{} and {}", (tracked / count).sqrt(), (single / count).sqrt());
        // The target accelerates less than the filter allows for, so the mean lies below 2, but not far.
        assert!((0.5..2.4).contains(&(nees / count)), "{}", nees / count);
    }

    #[test]
    fn a_fix_without_an_error_bar_changes_no_track() {
        let mut world = World::new(None);
        let mut tracker = Tracker::new(&world.config, TrackSettings::default());
        for step in 0..50 {
            tracker.step(f64::from(step) * 0.01, &[world.fix([100.0, 50.0])]);
        }
        let mut coasting = tracker.clone();
        let mut fix = world.fix([100.0, 50.0]);
        // A saddle of the likelihood, as noise can make one.
        fix.measurement.information[0][0] *= -1.0;
        tracker.step(0.5, &[fix]);
        coasting.step(0.5, &[]);
        assert_eq!(tracker.tracks(), coasting.tracks());
    }

    #[test]
    fn sixty_seconds_at_30_m_s_on_a_circle_with_a_fade_of_one_second_are_one_track() {
        let mut world = World::new(None);
        let settings = TrackSettings { acceleration_density: 100.0, ..Default::default() };
        let mut tracker = Tracker::new(&world.config, settings);
        let (mut single, mut tracked) = (0.0, 0.0);
        for step in 0..6000 {
            let time_s = f64::from(step) * 0.01;
            let target = place(time_s);
            let faded = (30.0..31.0).contains(&time_s);
            let fix = world.fix(target);
            tracker.step(time_s, if faded { &[] } else { std::slice::from_ref(&fix) });
            if step > 10 && !faded {
                let track = tracker.best().expect("the track lives");
                assert_eq!(track.id, 1, "at {time_s} s");
                let squared = |p: Point| (p[0] - target[0]).powi(2) + (p[1] - target[1]).powi(2);
                single += squared(fix.position_m);
                tracked += squared(track.position_m());
            }
        }
        assert!(tracked < single, "{tracked} and {single}");
    }

    #[test]
    fn what_displaces_all_fixes_alike_does_not_average_out_and_the_error_bar_says_so() {
        let runs = 400u32;
        let mut nees = [0.0; 2];
        let mut world = World::new(None);
        for run in 0..2 * runs {
            let told = run as usize % 2;
            let std = 5e-3;
            world.displacement = [std * world.normal(), std * world.normal()];
            world.displacement_variances = [[0.0; 2], [std * std; 2]][told];
            let mut tracker = Tracker::new(&world.config, TrackSettings::default());
            let mut target = [0.0; 2];
            for step in 0..40 {
                let time_s = f64::from(step) * 0.01;
                target = [120.0, -60.0 + 6.0 * time_s];
                let fix = world.fix(target);
                tracker.step(time_s, &[fix]);
            }
            let track = tracker.best().unwrap();
            let off = Vector2::from(track.position_m()) - Vector2::from(target);
            let information = track.position_covariance_m2().try_inverse().unwrap();
            nees[told] += (off.transpose() * information * off)[0] / f64::from(runs);
        }
        // The mean of n χ²₂ scatters by 2/√n: four deviations.
        assert!((nees[1] - 2.0).abs() < 8.0 / f64::from(runs).sqrt() && nees[0] > 100.0, "{nees:?}");
    }

    #[test]
    fn a_shared_timing_error_is_learned_where_fixes_alone_see_only_its_prior() {
        let mut world = World::new(Some(25.0));
        let settings = TrackSettings { timing_error_hold: TimingErrorHold::Run, ..Default::default() };
        let mut tracker = Tracker::new(&world.config, settings);
        for step in 0..500 {
            let time_s = f64::from(step) * 0.01;
            let fix = world.fix([100.0, 20.0 + 5.0 * time_s]);
            tracker.step(time_s, &[fix]);
        }
        let error_m = tracker.best().unwrap().timing_error_s() * SPEED_OF_LIGHT_M_S;
        assert!((error_m - 25.0).abs() < 0.1, "{error_m}");
    }

    #[test]
    fn stray_fixes_make_no_confirmed_track_and_a_lost_target_ends_its_own() {
        let mut world = World::new(None);
        let mut tracker = Tracker::new(&world.config, TrackSettings::default());
        for step in 0..300 {
            let time_s = f64::from(step) * 0.01;
            let mut fixes = vec![];
            if step < 100 {
                fixes.push(world.fix([100.0, 50.0 + 5.0 * time_s]));
            }
            if step % 50 == 7 {
                let stray = [world.random.random_range(20.0..180.0), world.random.random_range(-80.0..180.0)];
                fixes.push(world.fix(stray));
            }
            tracker.step(time_s, &fixes);
            assert!(tracker.tracks().iter().filter(|track| track.confirmed).count() <= 1);
        }
        assert!(tracker.best().is_some_and(|track| track.id == 1), "it coasts for 2 s");
        tracker.step(3.1, &[]);
        assert!(tracker.best().is_none());
    }

    #[test]
    fn two_targets_are_two_tracks() {
        let mut world = World::new(None);
        let mut tracker = Tracker::new(&world.config, TrackSettings::default());
        for step in 0..100 {
            let time_s = f64::from(step) * 0.01;
            let fixes = [world.fix([100.0, 50.0 + 10.0 * time_s]), world.fix([80.0, -20.0 - 10.0 * time_s])];
            tracker.step(time_s, &fixes);
        }
        assert_eq!(tracker.tracks().iter().filter(|track| track.confirmed && track.hits == 100).count(), 2);
        let [first, second] = [0, 1].map(|index| tracker.tracks()[index].velocity_m_s());
        assert!((first[1] - 10.0).abs() < 2.0 && (second[1] + 10.0).abs() < 2.0, "{first:?} {second:?}");
    }
}
