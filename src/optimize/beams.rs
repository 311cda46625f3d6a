//! The global optimum of the beams: one small convex problem in the transmit covariance, with a certificate.
//!
//! Any Σ splits into w_c = Σh_c/√(h_cᴴΣh_c) and W_0 = Σ − w_c w_cᴴ with W_0 h_c = 0, so the SINR is h_cᴴΣh_c/σ_n² and
//! power and bound depend on Σ alone. Tangents of the convex bound give dual values, so every optimum comes with an upper
//! bound on what any beams could reach, and an infeasible threshold with the smallest bound that can be reached.

use std::time::Instant;

use nalgebra::{DVector, Matrix3};
use num_complex::Complex64;

use super::barrier::{Level, Outcome, Point as Coordinates, Reduced, THRESHOLD_TOLERANCE, identity, matrix};
use super::bound::{BoundModel, Unidentifiable};
use super::together::Warm;
use crate::array::{Beams, direction_rad, distance_m, steering_vector};
use crate::scene::{Point, Scene, SceneTarget, dbm_to_w};

/// Relative gap to which the smallest bound is sought.
const GAP: f64 = 1e-6;
/// Relative gap to which the largest SINR is sought: 9e-5 dB.
const SINR_GAP: f64 = 2e-5;
/// Share of the power budget that is kept back, so that rounding never exceeds it.
pub(super) const POWER_RESERVE: f64 = 1e-10;
/// w_0 is dropped below this share of the power, if the threshold allows.
pub(super) const NEGLIGIBLE: f64 = 1e-4;

/// The channel vector h_c of a scene's geometry (eq. 3).
pub fn channel_vector(scene: &Scene) -> DVector<Complex64> {
    let geometry = &scene.geometry;
    let distance = distance_m(geometry.transmitter, geometry.communication_receiver);
    let gain = distance.powf(-scene.channel.path_loss_exponent).sqrt();
    let angle = direction_rad(geometry.transmitter, geometry.communication_receiver);
    steering_vector(scene.array.transmit_antennas, scene.array.spacing_wavelengths, angle) * Complex64::from(gain)
}

/// What the beams are to be optimal for.
#[derive(Debug, Clone)]
pub struct Problem {
    /// One for each believed target.
    bounds: Vec<BoundModel>,
    channel: DVector<Complex64>,
    noise_power_w: f64,
    power_w: f64,
    hcrb_max_m2: f64,
}

/// A target as it is believed to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BelievedTarget {
    /// Where, in metres.
    pub position: Point,
    /// |β| of its echo.
    pub reflection_coefficient: f64,
}

impl BelievedTarget {
    /// The targets of a scene that are believed in, at least one in a scene that has passed its check.
    pub fn of_scene(scene: &Scene) -> Vec<Self> {
        let believed = |target: &SceneTarget| Self {
            position: target.position_m,
            reflection_coefficient: target.reflection_coefficient,
        };
        scene.targets().iter().filter(|target| target.believed).map(believed).collect()
    }
}

/// Optimal beams, or the best that can be had where the request cannot be met.
#[derive(Debug, Clone)]
pub struct Solution {
    /// Both beams in √W; h_cᴴw_c is real and positive, and so is w_0's first non-zero element.
    pub beams: Beams,
    /// SINR of exactly these beams, linear.
    pub sinr: f64,
    /// Trace of the bound with exactly these beams, in m²; infinite where an angle cannot be identified.
    pub hcrb_trace_m2: f64,
    /// Smallest trace that beams of this power reach (under the SINR asked for, where one was), in m²; where only the
    /// threshold was asked for and is met, some trace below it.
    pub smallest_hcrb_trace_m2: f64,
    /// The dual's proof: no beams of this power reach less, in m².
    pub lower_bound_hcrb_trace_m2: f64,
    /// The dual's proof: no beams that meet the threshold have more, linear; 0 where it cannot be met.
    pub upper_bound_sinr: f64,
    /// Whether the request can be met within the power budget, and these beams meet it.
    pub feasible: bool,
    /// Newton steps.
    pub iterations: usize,
    /// Where the next solution of a problem like this may start.
    pub warm: WarmStart,
}

/// Points of the last solution on its central paths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WarmStart {
    smallest: Option<Level>,
    best: Option<Level>,
    /// The same for several targets.
    pub(super) together: Option<Box<Warm>>,
}

/// How a solution is sought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort<'a> {
    /// Where the last solution ended, if there is one; it changes the time taken, not the result.
    pub warm: Option<&'a WarmStart>,
    /// After this moment the best beams so far are given; their certificate shows what they lack.
    pub deadline: Option<Instant>,
    /// Whether the threshold is all that matters: where it can be met, the smallest bound is not sought.
    pub threshold_only: bool,
}

impl From<Warm> for WarmStart {
    fn from(together: Warm) -> Self {
        Self { smallest: None, best: None, together: Some(Box::new(together)) }
    }
}

impl Effort<'_> {
    pub(super) fn in_time(&self) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

impl Problem {
    /// The problem of a scene's constraints for a channel as estimated and a target as believed; the bound is for a
    /// frame of the scene's length.
    pub fn new(scene: &Scene, channel: DVector<Complex64>, target: Point) -> Self {
        let reflection_coefficient = scene.channel.reflection_coefficient;
        Self::for_targets(scene, channel, &[BelievedTarget { position: target, reflection_coefficient }])
    }

    /// The same for several targets: the threshold holds for each one's bound, which is that of the target alone, the
    /// others absent, with a timing error of its own. The sensing receiver is that of the scene's single keys: the first.
    ///
    /// # Panics
    /// Where there is no target.
    pub fn for_targets(scene: &Scene, channel: DVector<Complex64>, targets: &[BelievedTarget]) -> Self {
        assert!(!targets.is_empty(), "a problem has a target");
        let bound = |target: &BelievedTarget| BoundModel::of_target(scene, target, scene.waveform.frame_symbols);
        Self {
            bounds: targets.iter().map(bound).collect(),
            channel,
            noise_power_w: dbm_to_w(scene.channel.communication_noise_dbm),
            power_w: dbm_to_w(scene.constraints.power_dbm),
            hcrb_max_m2: scene.constraints.hcrb_max_m2,
        }
    }

    /// The problem of a scene as it stands, for all targets that are believed in.
    pub fn from_scene(scene: &Scene) -> Self {
        Self::for_targets(scene, channel_vector(scene), &BelievedTarget::of_scene(scene))
    }

    /// The same problem under another threshold.
    pub fn with_hcrb_max_m2(&self, hcrb_max_m2: f64) -> Self {
        Self { hcrb_max_m2, ..self.clone() }
    }

    /// SINR at the communication receiver with these beams, linear.
    pub fn sinr(&self, beams: &Beams) -> f64 {
        let reached = |beam: &DVector<Complex64>| self.channel.dotc(beam).norm_sqr();
        reached(&beams.w_c) / (reached(&beams.w_0) + self.noise_power_w)
    }

    /// Trace of the position bound with these beams, in m²: the largest of the targets'.
    pub fn hcrb_trace_m2(&self, beams: &Beams) -> Result<f64, Unidentifiable> {
        let first = self.bound().of_beams(beams).trace_m2();
        self.bounds[1..].iter().fold(first, |largest, bound| Ok(largest?.max(bound.of_beams(beams).trace_m2()?)))
    }

    /// The threshold Π in m².
    pub fn hcrb_max_m2(&self) -> f64 {
        self.hcrb_max_m2
    }

    /// P_T in watts.
    pub fn power_w(&self) -> f64 {
        self.power_w
    }

    /// σ_n² in watts.
    pub fn noise_power_w(&self) -> f64 {
        self.noise_power_w
    }

    /// h_c.
    pub fn channel(&self) -> &DVector<Complex64> {
        &self.channel
    }

    /// The model of the first target's bound.
    pub fn bound(&self) -> &BoundModel {
        &self.bounds[0]
    }

    /// The models of all targets' bounds.
    pub fn bounds(&self) -> &[BoundModel] {
        &self.bounds
    }

    pub(super) fn reduced(&self) -> Reduced {
        let power = self.power_w * (1.0 - POWER_RESERVE);
        Reduced::new(self.bound(), &self.channel, power, power / self.noise_power_w)
    }

    /// Largest SINR under the threshold and the power budget; beams of the smallest bound where it cannot be met.
    pub fn solve(&self) -> Solution {
        self.solve_with(Effort::default())
    }

    /// The same from a warm start, or within a deadline.
    pub fn solve_with(&self, effort: Effort<'_>) -> Solution {
        if self.bounds.len() > 1 {
            return self.solve_together(effort);
        }
        let reduced = self.reduced();
        let limit = self.hcrb_max_m2 / reduced.unit;
        let mut steps = 0;
        let warm = effort.warm.cloned().unwrap_or_default();
        let last_best = warm.best.filter(|level| reduced.value(&level.point) < limit * (1.0 - 1e-6));
        // The first level that meets the threshold is where the second run starts.
        let mut inside = None;
        let smallest = match last_best {
            Some(level) if effort.threshold_only => Outcome { point: level.point, proven: 0.0, warm: warm.smallest },
            _ => {
                let start = self.first(&reduced, warm.smallest);
                reduced.minimise_bound(start, None, GAP, &mut steps, |point, value| {
                    if inside.is_none() && value < limit * 0.999 {
                        inside = Some(*point);
                    }
                    effort.in_time() && !(effort.threshold_only && inside.is_some())
                })
            }
        };
        let smallest_trace = reduced.value(&smallest.point);
        let result = |point: &Coordinates, upper: f64, feasible: bool, steps: usize, best: Option<Level>| {
            let beams = self.split(&reduced, point, limit);
            Solution {
                sinr: self.sinr(&beams),
                hcrb_trace_m2: self.hcrb_trace_m2(&beams).unwrap_or(f64::INFINITY),
                smallest_hcrb_trace_m2: smallest_trace * reduced.unit,
                lower_bound_hcrb_trace_m2: smallest.proven.max(0.0) * reduced.unit,
                upper_bound_sinr: upper,
                feasible,
                iterations: steps,
                warm: WarmStart { smallest: smallest.warm, best, together: None },
                beams,
            }
        };
        if smallest_trace > limit {
            return result(&smallest.point, 0.0, false, steps, None);
        }
        // A threshold that only just can be met is met within its tolerance.
        let limit = limit.max(smallest_trace * (1.0 + 0.5 * THRESHOLD_TOLERANCE));
        let start = last_best.unwrap_or(Level { point: inside.unwrap_or(smallest.point), weight: 10.0 });
        let best = reduced.maximise_gain(start, limit, SINR_GAP, &mut steps, || effort.in_time());
        let meets = |solution: &Solution| solution.hcrb_trace_m2 <= self.hcrb_max_m2 * (1.0 + THRESHOLD_TOLERANCE);
        let solution = result(&best.point, best.proven, true, steps, best.warm);
        if meets(&solution) {
            return solution;
        }
        // The rank-one cut of W_0 cost some of the bound: go towards the smallest bound no further than it takes.
        let shares = (0..12).map(|k| 1e-6 * 4f64.powi(k)).chain([1.0]);
        for share in shares {
            let point = best.point * (1.0 - share.min(1.0)) + smallest.point * share.min(1.0);
            let solution = result(&point, best.proven, true, steps, best.warm);
            if meets(&solution) {
                return solution;
            }
        }
        Solution { feasible: false, ..solution }
    }

    /// The exchanged problem: the smallest bound (the largest of the targets') with at least this SINR (linear). `feasible` says whether that SINR can
    /// be reached within the power budget; where it cannot, the beams are those of the largest SINR.
    pub fn solve_exchanged(&self, least_sinr: f64, effort: Effort<'_>) -> Solution {
        if self.bounds.len() > 1 {
            return self.exchange_together(least_sinr, effort);
        }
        let reduced = self.reduced();
        let most = super::barrier::support(&reduced.gain);
        let mut steps = 0;
        let done = |point: &Coordinates, proven: f64, feasible: bool, steps: usize, warm: Option<Level>| {
            let beams = self.split(&reduced, point, f64::INFINITY);
            let hcrb_trace_m2 = self.hcrb_trace_m2(&beams).unwrap_or(f64::INFINITY);
            Solution {
                sinr: self.sinr(&beams),
                hcrb_trace_m2,
                smallest_hcrb_trace_m2: hcrb_trace_m2,
                lower_bound_hcrb_trace_m2: proven.max(0.0) * reduced.unit,
                upper_bound_sinr: most,
                feasible,
                iterations: steps,
                warm: WarmStart { smallest: warm, ..WarmStart::default() },
                beams,
            }
        };
        let towards = maximum_ratio(&reduced);
        if least_sinr > most * (1.0 - 1e-9) {
            let reached = least_sinr <= most * (1.0 + 1e-9);
            return done(&towards, 0.0, reached, steps, None);
        }
        // Between isotropic and maximum ratio there is a point inside.
        let isotropic = identity() / 3.0;
        let (low, high) = (reduced.gain.dot(&isotropic), reduced.gain.dot(&towards));
        let aim = least_sinr + 0.5 * (most - least_sinr);
        let share = ((aim - low) / (high - low)).clamp(0.0, 1.0);
        let cold = (isotropic * (1.0 - share) + towards * share) * (1.0 - 0.25 * (most - least_sinr) / most);
        let usable = |level: &Level| reduced.gain.dot(&level.point) > least_sinr * (1.0 + 1e-9);
        let start = effort.warm.and_then(|warm| warm.smallest).filter(usable);
        let start = start.unwrap_or_else(|| self.first_at(&reduced, cold));
        let outcome = reduced.minimise_bound(start, Some(least_sinr), GAP, &mut steps, |_, _| effort.in_time());
        done(&outcome.point, outcome.proven, true, steps, outcome.warm)
    }

    /// The level a minimisation of the bound starts from.
    fn first(&self, reduced: &Reduced, warm: Option<Level>) -> Level {
        let usable = |level: &Level| reduced.value(&level.point).is_finite();
        warm.filter(usable).unwrap_or_else(|| self.first_at(reduced, identity() * 0.25))
    }

    fn first_at(&self, reduced: &Reduced, point: Coordinates) -> Level {
        Level { point, weight: 10.0 / reduced.value(&point).clamp(f64::MIN_POSITIVE, 1e300) }
    }

    /// w_c = Σh_c/√(h_cᴴΣh_c) and the strongest direction of what is left, with all of Σ's power. w_0 is zero where it is
    /// negligible and the bound without it stays under `limit` (in the reduced problem's units) all the same.
    pub(super) fn split(&self, reduced: &Reduced, point: &Coordinates, limit: f64) -> Beams {
        let s = matrix(point);
        let channel = nalgebra::Vector3::from_fn(|n, _| reduced.basis[n].dotc(&self.channel));
        let total = s.trace().re;
        let image = s * channel;
        let reached = channel.dotc(&image).re;
        let power = self.power_w * (1.0 - POWER_RESERVE);
        let lift = |vector: &nalgebra::Vector3<Complex64>| {
            let mut beam = DVector::zeros(self.channel.len());
            for (column, weight) in reduced.basis.iter().zip(vector.iter()) {
                beam.axpy(*weight * power.sqrt(), column, Complex64::from(1.0));
            }
            beam
        };
        // Where Σ reaches nothing of the channel, the stronger direction carries the pictures.
        let inner = if reached > 1e-12 * total * channel.norm_squared() {
            image / Complex64::from(reached.sqrt())
        } else {
            strongest(&s)
        };
        let rest = s - inner * inner.adjoint();
        let rest_power = rest.trace().re.max(0.0);
        let alone = Beams {
            w_c: lift(&(inner * Complex64::from((total.sqrt() / inner.norm()).max(1.0)))),
            w_0: DVector::zeros(self.channel.len()),
        };
        if rest_power < NEGLIGIBLE * total
            && self.hcrb_trace_m2(&alone).is_ok_and(|trace| trace <= limit * reduced.unit * (1.0 + 1e-7))
        {
            return alone;
        }
        let direction = strongest(&rest);
        let w_0 = lift(&(direction * Complex64::from(rest_power.sqrt() / direction.norm().max(f64::MIN_POSITIVE))));
        let w_c = lift(&inner);
        Beams { w_c, w_0: turned(w_0) }
    }
}

/// Coordinates of the maximum-ratio beam at full power: h_c is the first of the basis.
fn maximum_ratio(reduced: &Reduced) -> Coordinates {
    let mut point = Coordinates::zeros();
    point[0] = if reduced.gain.amax() > 0.0 { 1.0 } else { 0.0 };
    point
}

/// The strongest eigenvector of a Hermitian matrix, with the root of its eigenvalue as length.
fn strongest(matrix: &Matrix3<Complex64>) -> nalgebra::Vector3<Complex64> {
    let eigen = matrix.symmetric_eigen();
    let index = eigen.eigenvalues.imax();
    eigen.eigenvectors.column(index) * Complex64::from(eigen.eigenvalues[index].max(0.0).sqrt())
}

/// Turns a beam so that its first non-zero element is real and positive.
pub(super) fn turned(beam: DVector<Complex64>) -> DVector<Complex64> {
    let largest = beam.camax();
    match beam.iter().copied().find(|entry| entry.norm() > 1e-9 * largest) {
        Some(first) if largest > 0.0 => beam * (first.conj() / first.norm()),
        _ => beam,
    }
}
