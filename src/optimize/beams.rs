//! The global optimum of the beams: one small convex problem in the transmit covariance, with a certificate.
//!
//! Any Σ splits into w_c = Σh_c/√(h_cᴴΣh_c) and W_0 = Σ − w_c w_cᴴ with W_0 h_c = 0, so the SINR is h_cᴴΣh_c/σ_n² and
//! power and bound depend on Σ alone. The optimum lies in span{h_c, α(θ), α'(θ)}: Σ = U S Uᴴ with S at most 3 × 3, nine
//! real unknowns, solved by a logarithmic barrier and Newton steps. Tangents of the convex bound give dual values, so
//! every optimum comes with an upper bound on what any beams could reach.

use nalgebra::{DMatrix, DVector};
use num_complex::Complex64;

use super::bound::{BoundModel, Unidentifiable, invert};
use crate::array::{Beams, direction_rad, distance_m, steering_vector};
use crate::scene::{Point, Scene, dbm_to_w};

/// Relative gap at which the barrier method stops.
const GAP: f64 = 1e-7;
/// Factor by which the barrier is lowered.
const LOWERING: f64 = 12.0;
/// Newton steps at most, over all barrier levels.
const MAX_STEPS: usize = 300;
/// Share of the power budget that is kept back, so that rounding never exceeds it.
const POWER_RESERVE: f64 = 1e-10;

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
    bound: BoundModel,
    channel: DVector<Complex64>,
    /// α(θ) and α'(θ) towards the believed target.
    departure: [DVector<Complex64>; 2],
    noise_power_w: f64,
    power_w: f64,
    hcrb_max_m2: f64,
}

/// Optimal beams, or the best that can be had where the threshold cannot be met.
#[derive(Debug, Clone)]
pub struct Solution {
    /// Both beams in √W; h_cᴴw_c is real and positive, and so is w_0's first non-zero element.
    pub beams: Beams,
    /// SINR of exactly these beams, linear.
    pub sinr: f64,
    /// Trace of the bound with exactly these beams, in m².
    pub hcrb_trace_m2: f64,
    /// Smallest trace that any beams of this power reach, in m².
    pub smallest_hcrb_trace_m2: f64,
    /// No beams that meet the threshold have more, linear; 0 where the threshold cannot be met.
    pub upper_bound_sinr: f64,
    /// Whether the threshold can be met within the power budget.
    pub feasible: bool,
    /// Newton steps.
    pub iterations: usize,
}

impl Problem {
    /// The problem of a scene's constraints for a channel as estimated and a target as believed; the bound is for a
    /// frame of the scene's length.
    pub fn new(scene: &Scene, channel: DVector<Complex64>, target: Point) -> Self {
        let theta = direction_rad(scene.geometry.transmitter, target);
        let spacing = scene.array.spacing_wavelengths;
        let alpha = steering_vector(scene.array.transmit_antennas, spacing, theta);
        let slope = DVector::from_fn(alpha.len(), |n, _| Complex64::new(0.0, n as f64) * alpha[n]);
        Self {
            bound: BoundModel::new(scene, target, scene.waveform.frame_symbols),
            channel,
            departure: [alpha, slope],
            noise_power_w: dbm_to_w(scene.channel.communication_noise_dbm),
            power_w: dbm_to_w(scene.constraints.power_dbm),
            hcrb_max_m2: scene.constraints.hcrb_max_m2,
        }
    }

    /// The problem of a scene as it stands.
    pub fn from_scene(scene: &Scene) -> Self {
        Self::new(scene, channel_vector(scene), scene.geometry.target)
    }

    /// SINR at the communication receiver with these beams, linear.
    pub fn sinr(&self, beams: &Beams) -> f64 {
        let reached = |beam: &DVector<Complex64>| self.channel.dotc(beam).norm_sqr();
        reached(&beams.w_c) / (reached(&beams.w_0) + self.noise_power_w)
    }

    /// Trace of the position bound with these beams, in m².
    pub fn hcrb_trace_m2(&self, beams: &Beams) -> Result<f64, Unidentifiable> {
        self.bound.of_beams(beams).trace_m2()
    }

    /// The threshold Π in m².
    pub fn hcrb_max_m2(&self) -> f64 {
        self.hcrb_max_m2
    }

    /// P_T in watts.
    pub fn power_w(&self) -> f64 {
        self.power_w
    }

    /// Largest SINR under the threshold and the power budget; beams of the smallest bound where it cannot be met.
    pub fn solve(&self) -> Solution {
        let reduced = Reduced::new(self);
        let start = DVector::from_iterator(reduced.size(), reduced.isotropic().iter().map(|x| x * 0.5));
        let mut steps = 0;
        let (smallest, proven) = reduced.minimise_bound(start, &mut steps);
        let smallest_trace = reduced.trace(&smallest).unwrap_or(f64::INFINITY);
        let limit = self.hcrb_max_m2 / reduced.bound_unit;
        if smallest_trace >= limit {
            debug_assert!(proven >= limit * (1.0 - 1e-3) || !proven.is_finite());
            return self.solution(&reduced, &smallest, smallest_trace, 0.0, false, steps);
        }
        let (best, upper) = reduced.maximise_sinr(smallest.clone(), limit, &mut steps);
        let solution = self.solution(&reduced, &best, smallest_trace, upper, true, steps);
        if solution.hcrb_trace_m2 <= self.hcrb_max_m2 * (1.0 + 1e-6) {
            return solution;
        }
        // The rank-one cut of W_0 cost some of the bound: go towards the smallest bound no further than it takes.
        let mixed = |share: f64| {
            let point = &best * (1.0 - share) + &smallest * share;
            let solution = self.solution(&reduced, &point, smallest_trace, upper, true, steps);
            (solution.hcrb_trace_m2 <= self.hcrb_max_m2 * (1.0 + 1e-6)).then_some(solution)
        };
        let (mut low, mut high, mut found) = (0.0, 1.0, mixed(1.0));
        for _ in 0..30 {
            let middle = 0.5 * (low + high);
            match mixed(middle) {
                Some(solution) => (high, found) = (middle, Some(solution)),
                None => low = middle,
            }
        }
        found.unwrap_or(Solution { feasible: false, ..solution })
    }

    fn solution(
        &self,
        reduced: &Reduced<'_>,
        point: &DVector<f64>,
        smallest: f64,
        upper: f64,
        feasible: bool,
        iterations: usize,
    ) -> Solution {
        let beams = self.split(&reduced.covariance(point));
        Solution {
            sinr: self.sinr(&beams),
            hcrb_trace_m2: self.hcrb_trace_m2(&beams).unwrap_or(f64::INFINITY),
            smallest_hcrb_trace_m2: smallest * reduced.bound_unit,
            upper_bound_sinr: upper,
            feasible,
            iterations,
            beams,
        }
    }

    /// w_c = Σh_c/√(h_cᴴΣh_c), and the strongest direction of what is left.
    fn split(&self, covariance: &DMatrix<Complex64>) -> Beams {
        let image = covariance * &self.channel;
        let reached = self.channel.dotc(&image).re;
        let w_c = image / Complex64::from(reached.max(f64::MIN_POSITIVE).sqrt());
        let rest = covariance - &w_c * w_c.adjoint();
        let eigen = rest.symmetric_eigen();
        let strongest = eigen.eigenvalues.imax();
        let value = eigen.eigenvalues[strongest];
        let total = covariance.trace().re;
        let w_0 = if value > 1e-7 * total {
            let vector = eigen.eigenvectors.column(strongest) * Complex64::from(value.sqrt());
            let first = vector.iter().find(|entry| entry.norm() > 1e-9 * value.sqrt()).copied().unwrap_or(1.0.into());
            vector * (first.conj() / first.norm())
        } else {
            DVector::zeros(self.channel.len())
        };
        Beams { w_c, w_0 }
    }
}

/// The problem in the reduced basis, scaled so that power, bound and SINR are about one.
struct Reduced<'a> {
    problem: &'a Problem,
    /// Orthonormal columns that span h_c, α(θ) and α'(θ).
    basis: DMatrix<Complex64>,
    /// A basis of Hermitian matrices, orthonormal under Re Tr(AB).
    hermitian: Vec<DMatrix<Complex64>>,
    /// J_m: the information of each basis matrix at full power, equilibrated.
    information: Vec<DMatrix<f64>>,
    prior: DMatrix<f64>,
    /// Columns of the inverse that are positions, equilibrated back.
    position: DMatrix<f64>,
    /// SINR of each basis matrix at full power.
    gain: DVector<f64>,
    /// Trace of each basis matrix.
    trace: DVector<f64>,
    bound_unit: f64,
}

impl<'a> Reduced<'a> {
    fn new(problem: &'a Problem) -> Self {
        let vectors = [&problem.channel, &problem.departure[0], &problem.departure[1]];
        let basis = orthonormal(&vectors);
        let hermitian = hermitian_basis(basis.ncols());
        let power = problem.power_w * (1.0 - POWER_RESERVE);
        let lifted = |matrix: &DMatrix<Complex64>| &basis * matrix * basis.adjoint() * Complex64::from(power);
        let raw: Vec<_> = hermitian.iter().map(|matrix| problem.bound.linear_part(&lifted(matrix))).collect();
        let raw_prior = problem.bound.prior_part();
        let rank = basis.ncols() as f64;
        let mut typical = raw_prior.clone();
        for (matrix, information) in hermitian.iter().zip(&raw) {
            typical += information * (matrix.trace().re / rank);
        }
        let count = typical.nrows();
        let scale = DVector::from_fn(count, |index, _| typical[(index, index)].max(f64::MIN_POSITIVE).sqrt().recip());
        let equilibrate =
            |matrix: &DMatrix<f64>| DMatrix::from_fn(count, count, |i, k| scale[i] * matrix[(i, k)] * scale[k]);
        let unit = scale[0].max(scale[1]);
        let mut position = DMatrix::zeros(count, 2);
        (position[(0, 0)], position[(1, 1)]) = (scale[0] / unit, scale[1] / unit);
        let reached = basis.adjoint() * &problem.channel;
        let gain = DVector::from_iterator(
            hermitian.len(),
            hermitian.iter().map(|matrix| reached.dotc(&(matrix * &reached)).re * power / problem.noise_power_w),
        );
        let trace = DVector::from_iterator(hermitian.len(), hermitian.iter().map(|matrix| matrix.trace().re));
        Self {
            problem,
            information: raw.iter().map(equilibrate).collect(),
            prior: equilibrate(&raw_prior),
            position,
            gain,
            trace,
            hermitian,
            basis,
            bound_unit: unit * unit,
        }
    }

    fn size(&self) -> usize {
        self.hermitian.len()
    }

    fn isotropic(&self) -> DVector<f64> {
        &self.trace / self.basis.ncols() as f64
    }

    fn matrix(&self, point: &DVector<f64>) -> DMatrix<Complex64> {
        let mut sum = DMatrix::zeros(self.basis.ncols(), self.basis.ncols());
        for (matrix, weight) in self.hermitian.iter().zip(point.iter()) {
            sum += matrix * Complex64::from(*weight);
        }
        sum
    }

    fn covariance(&self, point: &DVector<f64>) -> DMatrix<Complex64> {
        let power = self.problem.power_w * (1.0 - POWER_RESERVE);
        &self.basis * self.matrix(point) * self.basis.adjoint() * Complex64::from(power)
    }

    fn inverse_information(&self, point: &DVector<f64>) -> Option<DMatrix<f64>> {
        let mut sum = self.prior.clone();
        for (information, weight) in self.information.iter().zip(point.iter()) {
            sum += information * *weight;
        }
        invert(&sum).ok()
    }

    /// Trace of the bound, in units.
    fn trace(&self, point: &DVector<f64>) -> Option<f64> {
        let inverse = self.inverse_information(point)?;
        Some((self.position.transpose() * inverse * &self.position).trace())
    }

    /// Value, gradient and Hessian of the trace of the bound.
    fn bound(&self, point: &DVector<f64>) -> Option<(f64, DVector<f64>, DMatrix<f64>)> {
        let inverse = self.inverse_information(point)?;
        let columns = &inverse * &self.position;
        let images: Vec<_> = self.information.iter().map(|information| information * &columns).collect();
        let value = (self.position.transpose() * &columns).trace();
        let size = self.size();
        let gradient = DVector::from_fn(size, |m, _| -columns.dot(&images[m]));
        let moved: Vec<_> = images.iter().map(|image| &inverse * image).collect();
        let hessian = DMatrix::from_fn(size, size, |m, k| 2.0 * images[m].dot(&moved[k]));
        Some((value, gradient, hessian))
    }

    /// Value, gradient and Hessian of −log det S − log(1 − Tr S).
    fn cone(&self, point: &DVector<f64>) -> Option<(f64, DVector<f64>, DMatrix<f64>)> {
        let slack = 1.0 - self.trace.dot(point);
        let cholesky = self.matrix(point).cholesky()?;
        let diagonal = cholesky.l_dirty().diagonal();
        if slack <= 0.0 || diagonal.iter().any(|entry| entry.re <= 0.0 || entry.re.is_nan()) {
            return None;
        }
        let determinant: f64 = diagonal.iter().map(|entry| 2.0 * entry.re.ln()).sum();
        let inverse = cholesky.inverse();
        let moved: Vec<_> = self.hermitian.iter().map(|matrix| &inverse * matrix).collect();
        let size = self.size();
        let gradient = DVector::from_fn(size, |m, _| self.trace[m] / slack - moved[m].trace().re);
        let product = |a: &DMatrix<Complex64>, b: &DMatrix<Complex64>| -> f64 {
            (0..a.nrows()).map(|i| (0..a.ncols()).map(|k| (a[(i, k)] * b[(k, i)]).re).sum::<f64>()).sum()
        };
        let hessian = DMatrix::from_fn(size, size, |m, k| {
            product(&moved[m], &moved[k]) + self.trace[m] * self.trace[k] / (slack * slack)
        });
        Some((-determinant - slack.ln(), gradient, hessian))
    }

    /// Largest value of `weights`·x over all S ⪰ 0 with Tr S ≤ 1.
    fn support(&self, weights: &DVector<f64>) -> f64 {
        self.matrix(weights).symmetric_eigenvalues().max().max(0.0)
    }

    /// The smallest bound, and a proven lower bound on it.
    fn minimise_bound(&self, start: DVector<f64>, steps: &mut usize) -> (DVector<f64>, f64) {
        let parameter = self.basis.ncols() as f64 + 1.0;
        let scale = self.trace(&start).unwrap_or(1.0);
        let mut point = start;
        let mut lowest = f64::NEG_INFINITY;
        let mut weight = parameter / scale;
        while *steps < MAX_STEPS {
            point = self.centre(point, steps, |x| {
                let (value, gradient, hessian) = self.bound(x)?;
                let (cone, cone_gradient, cone_hessian) = self.cone(x)?;
                Some((weight * value + cone, gradient * weight + cone_gradient, hessian * weight + cone_hessian))
            });
            let Some((value, gradient, _)) = self.bound(&point) else { break };
            lowest = lowest.max(value - gradient.dot(&point) - self.support(&-gradient));
            if value - lowest <= GAP * value || parameter / weight < 1e-2 * GAP * value {
                break;
            }
            weight *= LOWERING;
        }
        (point, lowest)
    }

    /// The largest SINR with the bound under `limit`, and a proven upper bound on it; `start` meets the limit.
    fn maximise_sinr(&self, start: DVector<f64>, limit: f64, steps: &mut usize) -> (DVector<f64>, f64) {
        let parameter = self.basis.ncols() as f64 + 2.0;
        let unit = self.support(&self.gain).max(f64::MIN_POSITIVE);
        let mut point = start;
        let mut upper = f64::INFINITY;
        let mut weight = parameter;
        let budget = *steps + MAX_STEPS;
        while *steps < budget {
            point = self.centre(point, steps, |x| {
                let (value, gradient, hessian) = self.bound(x)?;
                let slack = limit - value;
                if slack <= 0.0 {
                    return None;
                }
                let (cone, cone_gradient, cone_hessian) = self.cone(x)?;
                Some((
                    cone - slack.ln() - weight / unit * self.gain.dot(x),
                    cone_gradient + &gradient / slack - &self.gain * (weight / unit),
                    cone_hessian + hessian / slack + &gradient * gradient.transpose() / (slack * slack),
                ))
            });
            let Some((value, gradient, _)) = self.bound(&point) else { break };
            // For any multiplier, the tangent of the convex bound gives an upper bound on the SINR.
            let multiplier = unit / (weight * (limit - value));
            let tangent = multiplier * (limit - value + gradient.dot(&point));
            upper = upper.min(tangent + self.support(&(&self.gain - gradient * multiplier)));
            let reached = self.gain.dot(&point);
            if upper - reached <= GAP * upper || parameter / weight < 1e-2 * GAP {
                break;
            }
            weight *= LOWERING;
        }
        (point, upper)
    }

    /// Newton's method on one barrier function from a point inside.
    fn centre(
        &self,
        mut point: DVector<f64>,
        steps: &mut usize,
        barrier: impl Fn(&DVector<f64>) -> Option<(f64, DVector<f64>, DMatrix<f64>)>,
    ) -> DVector<f64> {
        for _ in 0..50 {
            let Some((value, gradient, hessian)) = barrier(&point) else { return point };
            let Some(cholesky) = hessian.clone().cholesky().or_else(|| {
                let lift = 1e-12 * hessian.diagonal().amax();
                (hessian + DMatrix::identity(gradient.len(), gradient.len()) * lift).cholesky()
            }) else {
                return point;
            };
            let direction = cholesky.solve(&-&gradient);
            let decrement = -gradient.dot(&direction);
            *steps += 1;
            if decrement.is_nan() || decrement < 1e-10 {
                return point;
            }
            let mut length = 1.0;
            loop {
                let next = &point + &direction * length;
                if let Some((reached, ..)) = barrier(&next)
                    && reached <= value - 0.1 * length * decrement
                {
                    point = next;
                    break;
                }
                length *= 0.5;
                if length < 1e-9 {
                    return point;
                }
            }
        }
        point
    }
}

/// Orthonormal columns that span `vectors`, dependent ones left out.
fn orthonormal(vectors: &[&DVector<Complex64>]) -> DMatrix<Complex64> {
    let mut columns: Vec<DVector<Complex64>> = Vec::new();
    for vector in vectors {
        let mut rest = *vector / Complex64::from(vector.norm().max(f64::MIN_POSITIVE));
        for _ in 0..2 {
            for column in &columns {
                let share = column.dotc(&rest);
                rest -= column * share;
            }
        }
        let norm = rest.norm();
        if norm > 1e-6 {
            columns.push(rest / Complex64::from(norm));
        }
    }
    DMatrix::from_columns(&columns)
}

/// Diagonal, real and imaginary units, orthonormal under Re Tr(AB).
fn hermitian_basis(size: usize) -> Vec<DMatrix<Complex64>> {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let mut basis = Vec::with_capacity(size * size);
    for i in 0..size {
        for k in i..size {
            let mut matrix = DMatrix::zeros(size, size);
            if i == k {
                matrix[(i, i)] = Complex64::from(1.0);
                basis.push(matrix);
                continue;
            }
            (matrix[(i, k)], matrix[(k, i)]) = (half.into(), half.into());
            basis.push(matrix.clone());
            (matrix[(i, k)], matrix[(k, i)]) = (Complex64::new(0.0, half), Complex64::new(0.0, -half));
            basis.push(matrix);
        }
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Reflectivity;
    use rand::{RngExt, SeedableRng};

    fn decibel(value: f64) -> f64 {
        10.0 * value.log10()
    }

    fn isotropic_trace(scene: &Scene) -> f64 {
        let model = BoundModel::new(scene, scene.geometry.target, scene.waveform.frame_symbols);
        let antennas = scene.array.transmit_antennas;
        let power = dbm_to_w(scene.constraints.power_dbm);
        let covariance = DMatrix::identity(antennas, antennas) * Complex64::from(power / antennas as f64);
        model.information(&covariance).trace_m2().unwrap()
    }

    #[test]
    fn the_paper_scene_has_its_known_optima() {
        let mut scene = Scene::paper();
        let isotropic = isotropic_trace(&scene);
        for (factor, sinr_db, share) in [(0.5, 5.961, 0.419), (1.0, 8.889, 0.088)] {
            scene.constraints.hcrb_max_m2 = factor * isotropic;
            let solution = Problem::from_scene(&scene).solve();
            assert!(solution.feasible);
            assert!((decibel(solution.sinr) - sinr_db).abs() < 1e-3, "{}", decibel(solution.sinr));
            let found = solution.beams.w_0.norm_squared() / dbm_to_w(scene.constraints.power_dbm);
            assert!((found - share).abs() < 1e-3, "{found}");
        }
    }

    #[test]
    fn the_smallest_bounds_are_the_known_ones_and_an_infeasible_threshold_is_recognised() {
        let mut scene = Scene::paper();
        scene.constraints.hcrb_max_m2 = 1e-9;
        for (reflectivity, expected) in [(Reflectivity::Unknown, 1.74e-5), (Reflectivity::Known, 2.84e-6)] {
            scene.model.reflectivity = reflectivity;
            let solution = Problem::from_scene(&scene).solve();
            assert!(!solution.feasible);
            assert!(
                (solution.smallest_hcrb_trace_m2 / expected - 1.0).abs() < 5e-3,
                "{}",
                solution.smallest_hcrb_trace_m2
            );
            assert!((solution.hcrb_trace_m2 / solution.smallest_hcrb_trace_m2 - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn random_scenes_meet_power_and_threshold_within_a_thousandth_of_a_decibel_of_the_certificate() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(11);
        for trial in 0..120 {
            let mut scene = Scene::paper();
            let mut coordinate = |low: f64, high: f64| random.random_range(low..high);
            scene.geometry.target = [coordinate(20.0, 150.0), coordinate(-80.0, 120.0)];
            scene.geometry.sensing_receiver = [coordinate(-30.0, 10.0), coordinate(20.0, 80.0)];
            scene.geometry.communication_receiver = [coordinate(10.0, 60.0), coordinate(-50.0, 50.0)];
            scene.constraints.power_dbm = coordinate(-20.0, 20.0);
            scene.model.reflectivity = if trial % 2 == 0 { Reflectivity::Unknown } else { Reflectivity::Known };
            scene.constraints.hcrb_max_m2 = coordinate(0.4, 3.0) * isotropic_trace(&scene);
            let problem = Problem::from_scene(&scene);
            let solution = problem.solve();
            assert!(solution.beams.power_w() <= problem.power_w() * (1.0 + 1e-9), "trial {trial}");
            if solution.feasible {
                let excess = solution.hcrb_trace_m2 / scene.constraints.hcrb_max_m2;
                assert!(excess <= 1.0 + 1e-6, "trial {trial}: {excess}");
                let gap = decibel(solution.upper_bound_sinr / solution.sinr);
                assert!((-1e-9..1e-3).contains(&gap), "trial {trial}: {gap} dB");
            } else {
                assert!(solution.smallest_hcrb_trace_m2 >= scene.constraints.hcrb_max_m2, "trial {trial}");
            }
            let leak = problem.channel.dotc(&solution.beams.w_0).norm_sqr();
            assert!(leak < 1e-4 * problem.noise_power_w, "trial {trial}: w_0 is nulled at the receiver");
        }
    }
}
