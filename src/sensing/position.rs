//! From directions and delay to a position: where the two lines cross, and the maximum of the posterior near it.
//!
//! The prior is that of the timing error, Δτ = T − τ(o) ~ N(0, σ_Δ²). The maximum is sought in (x, y, T), where it is
//! smooth also for a target so far away that the two lines are almost parallel.

use nalgebra::{Matrix2, Matrix3, RowVector3, Vector2, Vector3};

use super::SensingConfig;
use super::likelihood::{Likelihood, Value};
use super::search::{NEAR_NATS, UNDAMPED};
use crate::array::distance_m;
use crate::scene::Point;

/// A climb is given up where even so many of its decrements would not lift it to the floor.
const HOPELESS: f64 = 5.0;
/// A climb that has not arrived after so many steps is not at a maximum.
const MOST_STEPS: usize = 60;
/// Steps with less damping than this, of a Hessian scaled to a unit diagonal, go as far as the posterior lets them: a climb is
/// given up where the gain of such a step, in each of the steps that are left, would not lift it to the floor.
const HARDLY_DAMPED: f64 = 1e-2;

/// A position whose deviation is a smaller part of the distance to the nearest array has a Gaussian posterior ...
const NARROW: f64 = 0.02;
/// ... and one with a larger one has none.
const WIDE: f64 = 0.25;
/// Positions seen along an array, by the sine, are looked at however narrow they are.
const OBLIQUE: f64 = 0.99;
/// What a Gaussian posterior falls by at two deviations, 2 nats, and what is accepted.
const GAUSSIAN_NATS: std::ops::RangeInclusive<f64> = 1.2..=3.5;
/// Ranges from the receiver at which the posterior is looked at, and how high it may be there.
const RANGES: i32 = 64;
const NEAREST_M: f64 = 0.05;
const RANGE_STEP: f64 = 1.17;
const RIVAL_NATS: f64 = 5.0;
/// Directions say how long a path is to this part of it, or nothing.
const CERTAIN_PATH: f64 = 0.25;
/// Logarithm of the ratio of two noises that makes no difference.
const EVEN_NOISE: f64 = 0.2;

/// Geometry and prior, lengths in metres, delays in samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    transmitter: Point,
    receiver: Point,
    sample_path_m: f64,
    /// σ_Δ in samples.
    timing_error_std: f64,
    /// Deviations of an element's phase (radians) and gain (a part of it); none where the arrays have no errors.
    element_errors: Option<[f64; 2]>,
}

/// The posterior's maximum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maximum {
    pub position: Point,
    /// Distance of T from where the correlations were taken.
    pub delta: f64,
    pub log_posterior: f64,
    /// Covariance of (x, y), from the observed information and the elements' errors.
    pub covariance: Matrix2<f64>,
    /// The same of (x, y, T) by noise alone.
    inverse: Matrix3<f64>,
    /// The trace of what the elements' errors add to it.
    pub displacement_m2: f64,
    /// Variances of sin θ and sin φ by the elements' errors alone.
    pub displacement_variances: [f64; 2],
    pub value: Value,
}

/// The posterior at a point (x, y, T).
#[derive(Debug, Clone, Copy)]
pub(super) struct Posterior {
    point: Vector3<f64>,
    pub log: f64,
    gradient: Vector3<f64>,
    hessian: Matrix3<f64>,
    value: Value,
}

/// Directions and delay of a position, with their derivatives by (x, y).
struct Seen {
    sines: [f64; 2],
    sine_slopes: [[f64; 2]; 2],
    delay: f64,
    delay_slope: [f64; 2],
}

impl Seen {
    /// Derivatives of (u, v, T) with respect to (x, y, T).
    fn jacobian(&self) -> Matrix3<f64> {
        let [u, v] = self.sine_slopes;
        Matrix3::new(u[0], u[1], 0.0, v[0], v[1], 0.0, 0.0, 0.0, 1.0)
    }
}

impl Geometry {
    pub fn new(config: &SensingConfig) -> Self {
        Self {
            transmitter: config.transmitter,
            receiver: config.receiver,
            sample_path_m: config.sample_path_m(),
            timing_error_std: clock_std(config),
            element_errors: Some([config.element_phase_std_rad, config.element_gain_std])
                .filter(|deviations| deviations.iter().any(|deviation| *deviation > 0.0)),
        }
    }

    /// Lets the clock's error have this variance, in samples, beside what is declared.
    pub fn widen_clock(&mut self, config: &SensingConfig, variance: f64) {
        self.timing_error_std = clock_std(config).hypot(variance.sqrt());
    }

    /// The delay in samples of where two directions meet, with its variance if theirs is `spread` (sin θ, sin φ); `None` where
    /// they do not say much.
    pub fn path_by_directions(&self, [u, v]: [f64; 2], spread: &Matrix2<f64>) -> Option<[f64; 2]> {
        let path = |u: f64, v: f64| self.crossing(u, v).map(|point| self.see(point).delay);
        let here = path(u, v)?;
        let step = 1e-6;
        let slope = Vector2::new((path(u + step, v)? - here) / step, (path(u, v + step)? - here) / step);
        let variance = (slope.transpose() * spread * slope)[0];
        (variance >= 0.0 && variance < (CERTAIN_PATH * here).powi(2)).then_some([here, variance])
    }

    /// Whether both arrays look at a position.
    pub fn in_view(&self, position: Point) -> bool {
        position[0] > self.transmitter[0] && position[0] > self.receiver[0]
    }

    /// sin φ and the delay in samples of a position.
    pub fn arrival(&self, position: Point) -> [f64; 2] {
        let seen = self.see(position);
        [seen.sines[1], seen.delay]
    }

    /// sin θ and sin φ of a position.
    pub fn sines(&self, position: Point) -> [f64; 2] {
        self.see(position).sines
    }

    fn see(&self, position: Point) -> Seen {
        let mut seen = Seen { sines: [0.0; 2], sine_slopes: [[0.0; 2]; 2], delay: 0.0, delay_slope: [0.0; 2] };
        for (index, array) in [self.transmitter, self.receiver].into_iter().enumerate() {
            let [x, y] = [position[0] - array[0], position[1] - array[1]];
            let range = (x * x + y * y).sqrt();
            seen.sines[index] = y / range;
            seen.sine_slopes[index] = [-x * y / range.powi(3), x * x / range.powi(3)];
            seen.delay += range / self.sample_path_m;
            seen.delay_slope[0] += x / range / self.sample_path_m;
            seen.delay_slope[1] += y / range / self.sample_path_m;
        }
        seen
    }

    /// Where the lines with these sines cross, if they do so in front of both arrays.
    pub fn crossing(&self, u: f64, v: f64) -> Option<Point> {
        let (out, back) = ([(1.0 - u * u).max(0.0).sqrt(), u], [(1.0 - v * v).max(0.0).sqrt(), v]);
        let base = [self.receiver[0] - self.transmitter[0], self.receiver[1] - self.transmitter[1]];
        let cross = |a: [f64; 2], b: [f64; 2]| a[0] * b[1] - a[1] * b[0];
        let parallel = cross(out, back);
        let (range, other) = (cross(base, back) / parallel, cross(base, out) / parallel);
        (range.is_finite() && range > 0.0 && other > 0.0)
            .then(|| [self.transmitter[0] + range * out[0], self.transmitter[1] + range * out[1]])
            .filter(|point| self.in_view(*point))
    }

    /// The point in direction u of the transmitter whose path has this delay (samples), if there is one in view.
    pub fn along(&self, u: f64, delay: f64) -> Option<Point> {
        let direction = [(1.0 - u * u).max(0.0).sqrt(), u];
        let base = [self.receiver[0] - self.transmitter[0], self.receiver[1] - self.transmitter[1]];
        let path = delay * self.sample_path_m;
        let direct = distance_m(self.transmitter, self.receiver);
        let range = (path * path - direct * direct) / (2.0 * (path - direction[0] * base[0] - direction[1] * base[1]));
        (path > direct && range > 0.0)
            .then(|| [self.transmitter[0] + range * direction[0], self.transmitter[1] + range * direction[1]])
            .filter(|point| self.in_view(*point))
    }

    /// The posterior at a point, with its gradient and Gauss–Newton Hessian by (x, y, T).
    fn posterior(&self, likelihood: &Likelihood<'_>, reference_delay: f64, point: Vector3<f64>) -> Posterior {
        let seen = self.see([point[0], point[1]]);
        let value = likelihood.evaluate(&Vector3::new(seen.sines[0], seen.sines[1], point[2]));
        let jacobian = seen.jacobian();
        let prior = RowVector3::new(-seen.delay_slope[0], -seen.delay_slope[1], 1.0);
        let weight = self.timing_error_std.powi(-2);
        let error = reference_delay + point[2] - seen.delay;
        Posterior {
            point,
            log: value.log_likelihood - 0.5 * weight * error * error,
            gradient: jacobian.transpose() * value.gradient - prior.transpose() * (weight * error),
            hessian: jacobian.transpose() * value.hessian * jacobian - prior.transpose() * prior * weight,
            value,
        }
    }

    /// Where a climb begins: at the better one of two places, where the lines of a point cross, and where the delay puts
    /// the target along the departure direction. `reference_delay` is where the correlations were taken. `None` where no
    /// place is in view.
    pub fn start(
        &self,
        likelihood: &Likelihood<'_>,
        reference_delay: f64,
        [u, v, delta]: [f64; 3],
    ) -> Option<Posterior> {
        [self.crossing(u, v), self.along(u, reference_delay + delta)]
            .into_iter()
            .flatten()
            .map(|place| self.posterior(likelihood, reference_delay, Vector3::new(place[0], place[1], delta)))
            .max_by(|a, b| a.log.total_cmp(&b.log))
    }

    /// Climbs the posterior from a start. `None` where the climb leaves the view, no maximum is reached, or it will stay
    /// far below `floor`.
    pub fn climb(
        &self,
        likelihood: &Likelihood<'_>,
        reference_delay: f64,
        start: &Posterior,
        floor: f64,
    ) -> Option<Maximum> {
        let mut here = *start;
        let mut damping = 0.0f64;
        let mut steps = 0;
        loop {
            let scale = here.hessian.diagonal().map(|h| h.abs().max(1e-30).sqrt().recip());
            let scaled = Matrix3::from_fn(|i, j| -here.hessian[(i, j)] * scale[i] * scale[j]);
            let Some(factor) = (scaled + Matrix3::identity() * damping).cholesky() else {
                damping = (4.0 * damping).max(1e-4);
                if damping > 1e6 {
                    return None;
                }
                continue;
            };
            let step = factor.solve(&here.gradient.component_mul(&scale)).component_mul(&scale);
            let next = here.point + step;
            let decrement = here.gradient.dot(&step);
            // Near a maximum half the decrement is all that is left to climb.
            if steps == MOST_STEPS || here.log + HOPELESS * decrement < floor && damping < UNDAMPED {
                return None;
            }
            if decrement < NEAR_NATS && damping < UNDAMPED {
                (here.point, here.log) = (next, here.log + 0.5 * decrement);
                break;
            }
            let there = self.in_view([next[0], next[1]]).then(|| self.posterior(likelihood, reference_delay, next));
            match there {
                Some(there) if there.log >= here.log - 1e-13 * here.log.abs() => {
                    let pace = there.log - here.log;
                    here = there;
                    steps += 1;
                    if damping < HARDLY_DAMPED && here.log + (MOST_STEPS - steps) as f64 * pace < floor {
                        return None;
                    }
                    damping *= 0.1;
                    if damping < 1e-9 {
                        damping = 0.0;
                    }
                }
                _ => {
                    damping = (10.0 * damping).max(1e-4);
                    if damping > 1e9 {
                        break;
                    }
                }
            }
        }
        let inverse = inverse_information(&-self.information(likelihood, &here))?;
        let mut maximum = Maximum {
            position: [here.point[0], here.point[1]],
            delta: here.point[2],
            log_posterior: here.log,
            covariance: inverse.fixed_view::<2, 2>(0, 0).into(),
            inverse,
            displacement_m2: 0.0,
            displacement_variances: [0.0; 2],
            value: here.value,
        };
        self.displace(&mut maximum, likelihood, &inverse);
        Some(maximum)
    }

    /// A maximum moved to where it is if the arrival direction has the weight that the noise of the rows' differences gives it,
    /// which climbing does not know of: `point` is the likelihood's own maximum. `None` where none is in view.
    pub fn weigh(
        &self,
        likelihood: &Likelihood<'_>,
        reference_delay: f64,
        best: Maximum,
        point: &Vector3<f64>,
    ) -> Option<Maximum> {
        if likelihood.arrival_part.ln().abs() < EVEN_NOISE {
            return Some(best);
        }
        let hessian = likelihood.informed(&likelihood.evaluate(point).hessian);
        let weight = self.timing_error_std.powi(-2);
        let mut at = Vector3::new(best.position[0], best.position[1], best.delta);
        let mut inverse = Matrix3::zeros();
        for _ in 0..MOST_STEPS {
            let seen = self.see([at[0], at[1]]);
            let jacobian = seen.jacobian();
            let missed = Vector3::new(seen.sines[0], seen.sines[1], at[2]) - point;
            let prior = RowVector3::new(-seen.delay_slope[0], -seen.delay_slope[1], 1.0);
            let error = reference_delay + at[2] - seen.delay;
            let gradient = jacobian.transpose() * hessian * missed - prior.transpose() * (weight * error);
            inverse =
                inverse_information(&(prior.transpose() * prior * weight - jacobian.transpose() * hessian * jacobian))?;
            let step = inverse * gradient;
            at += step;
            if !self.in_view([at[0], at[1]]) {
                return None;
            }
            if gradient.dot(&step) < NEAR_NATS {
                break;
            }
        }
        let seen = self.see([at[0], at[1]]);
        let mut moved = Maximum {
            position: [at[0], at[1]],
            delta: at[2],
            covariance: inverse.fixed_view::<2, 2>(0, 0).into(),
            inverse,
            displacement_m2: 0.0,
            value: likelihood.evaluate(&Vector3::new(seen.sines[0], seen.sines[1], at[2])),
            ..best
        };
        self.displace(&mut moved, likelihood, &inverse);
        Some(moved)
    }

    /// Whether an ellipse would be no picture of a position's posterior: where that is wide against the distance to an array,
    /// or seen along one, and falls otherwise than a Gaussian does two deviations away, or rises again elsewhere along the
    /// arrival direction.
    pub fn is_curved(&self, likelihood: &Likelihood<'_>, reference_delay: f64, best: &Maximum) -> bool {
        let [a, b, d] = [best.inverse[(0, 0)], best.inverse[(0, 1)], best.inverse[(1, 1)]];
        let variance = 0.5 * (a + d) + (0.25 * (a - d) * (a - d) + b * b).sqrt();
        let range = distance_m(best.position, self.transmitter).min(distance_m(best.position, self.receiver));
        let seen = self.see(best.position);
        let oblique = seen.sines.iter().any(|sine| sine.abs() > OBLIQUE);
        if variance.sqrt() < NARROW * range && !oblique || likelihood.arrival_part.ln().abs() > EVEN_NOISE {
            return false;
        }
        if variance.sqrt() > WIDE * range {
            return true;
        }
        let at = Vector3::new(best.position[0], best.position[1], best.delta);
        let log = |point: Vector3<f64>| self.posterior(likelihood, reference_delay, point).log;
        let peak = log(at);
        let axis = if b.abs() > 1e-9 * variance {
            Vector2::new(b, variance - a).normalize()
        } else if a >= d {
            Vector2::x()
        } else {
            Vector2::y()
        };
        let step = best.inverse * Vector3::new(axis[0], axis[1], 0.0) * (2.0 / variance.sqrt());
        let falls_otherwise = [at + step, at - step]
            .into_iter()
            .any(|there| !self.in_view([there[0], there[1]]) || !GAUSSIAN_NATS.contains(&(peak - log(there))));
        let sine = seen.sines[1];
        let cosine = (1.0 - sine * sine).max(0.0).sqrt();
        let information = best.covariance.try_inverse().unwrap_or_default();
        falls_otherwise
            || (0..RANGES).any(|index| {
                let range = NEAREST_M * RANGE_STEP.powi(index);
                let there = [self.receiver[0] + range * cosine, self.receiver[1] + range * sine];
                let apart = Vector2::from(there) - Vector2::from(best.position);
                self.in_view(there)
                    && (apart.transpose() * information * apart)[0] > 16.0
                    && log(Vector3::new(there[0], there[1], best.delta)) > peak - RIVAL_NATS
            })
    }

    /// The posterior's Hessian by (x, y, T) as the noise of the rows' sum and differences makes it.
    fn information(&self, likelihood: &Likelihood<'_>, here: &Posterior) -> Matrix3<f64> {
        let jacobian = self.see([here.point[0], here.point[1]]).jacobian();
        let more = likelihood.informed(&here.value.hessian) - here.value.hessian;
        here.hessian + jacobian.transpose() * more * jacobian
    }

    /// Adds to a maximum's covariance what the elements' errors make of it, those that were declared and those that the frame
    /// shows; `inverse` is that of the information.
    fn displace(&self, maximum: &mut Maximum, likelihood: &Likelihood<'_>, inverse: &Matrix3<f64>) {
        if self.element_errors.is_none() && likelihood.displaced == [0.0; 2] {
            return;
        }
        let seen = self.see(maximum.position);
        let at = Vector3::new(seen.sines[0], seen.sines[1], maximum.delta);
        let declared = self.element_errors.map_or([0.0; 2], |[phase_std_rad, gain_std]| {
            likelihood.displacement_variances(&at, phase_std_rad, gain_std)
        });
        maximum.displacement_variances = [0, 1].map(|index| declared[index] + likelihood.displaced[index]);
        // ℓ moved along a direction by ε moves the maximum by −P⁻¹ Jᵀ H e ε, P the posterior's Hessian.
        let moves = inverse * seen.jacobian().transpose() * likelihood.informed(&maximum.value.hessian);
        for (direction, variance) in maximum.displacement_variances.into_iter().enumerate() {
            let by: Vector2<f64> = moves.fixed_view::<2, 1>(0, direction).into();
            maximum.covariance += by * by.transpose() * variance;
            maximum.displacement_m2 += by.norm_squared() * variance;
        }
    }
}

/// A clock that is known exactly is known to a hundred-thousandth of a sample.
fn clock_std(config: &SensingConfig) -> f64 {
    config.timing_error_std().max(1e-5)
}

/// The inverse of an information matrix, equilibrated first; `None` where it is not positive definite.
fn inverse_information(information: &Matrix3<f64>) -> Option<Matrix3<f64>> {
    let scale = information.diagonal().map(|d| d.sqrt().recip());
    if !scale.iter().all(|s| s.is_finite()) {
        return None;
    }
    let scaled = Matrix3::from_fn(|i, j| information[(i, j)] * scale[i] * scale[j]);
    let inverse = scaled.cholesky()?.inverse();
    Some(Matrix3::from_fn(|i, j| inverse[(i, j)] * scale[i] * scale[j]))
}
