//! The beams' problem in its nine real unknowns, and a logarithmic-barrier method for it.
//!
//! Σ = P_T · U S Uᴴ with U an orthonormal basis of span{h_c, α(θ), α'(θ)} and S Hermitian, 3 × 3: coordinates
//! x = (S_00, S_11, S_22, √2 Re and √2 Im of S_01, S_02, S_12), so that Re Tr(AB) is the dot product of coordinates. SINR
//! and power are linear in x, the trace of the bound f(x) is convex. Where the span is smaller than three, U has zero
//! columns: directions that cost power and reach nothing.

use nalgebra::{DVector, Matrix3, SMatrix, SVector, Vector3, Vector4};
use num_complex::Complex64;

use super::bound::BoundModel;
use super::linear::solve;
use super::scaled::{MomentExpansion, ScaledBound};

/// Coordinates of S.
pub(super) type Point = SVector<f64, 9>;
type Hessian = SMatrix<f64, 9, 9>;
/// Value, gradient and Hessian.
type Expansion = (f64, Point, Hessian);

/// Factor by which the barrier is lowered from one level to the next.
pub(super) const LOWERING: f64 = 25.0;
/// Squared Newton decrement at which a level counts as centred.
pub(super) const CENTRED: f64 = 1e-2;
/// The same for the last level.
pub(super) const CENTRED_LAST: f64 = 1e-12;
/// Below this squared decrement Newton's full steps converge quadratically, and values differ by less than they round.
pub(super) const QUADRATIC: f64 = 1e-4;
/// Newton steps within a level at most.
pub(super) const LEVEL_STEPS: usize = 60;
/// Gap (relative) of the level that a warm start begins from.
const WARM_GAP: f64 = 1e-3;

/// How far above the threshold a bound may lie (relative).
pub(super) const THRESHOLD_TOLERANCE: f64 = 1e-6;

/// Entries of the nine basis matrices: (row, column, value), up to two each.
const HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
const fn entry(row: usize, column: usize, re: f64, im: f64) -> (usize, usize, Complex64) {
    (row, column, Complex64::new(re, im))
}
const BASIS: [&[(usize, usize, Complex64)]; 9] = [
    &[entry(0, 0, 1.0, 0.0)],
    &[entry(1, 1, 1.0, 0.0)],
    &[entry(2, 2, 1.0, 0.0)],
    &[entry(0, 1, HALF, 0.0), entry(1, 0, HALF, 0.0)],
    &[entry(0, 1, 0.0, HALF), entry(1, 0, 0.0, -HALF)],
    &[entry(0, 2, HALF, 0.0), entry(2, 0, HALF, 0.0)],
    &[entry(0, 2, 0.0, HALF), entry(2, 0, 0.0, -HALF)],
    &[entry(1, 2, HALF, 0.0), entry(2, 1, HALF, 0.0)],
    &[entry(1, 2, 0.0, HALF), entry(2, 1, 0.0, -HALF)],
];

/// S of its coordinates.
pub(super) fn matrix(x: &Point) -> Matrix3<Complex64> {
    let off = |re: f64, im: f64| Complex64::new(re * HALF, im * HALF);
    let (a, b, c) = (off(x[3], x[4]), off(x[5], x[6]), off(x[7], x[8]));
    let d = |index: usize| Complex64::from(x[index]);
    Matrix3::new(d(0), a, b, a.conj(), d(1), c, b.conj(), c.conj(), d(2))
}

/// Coordinates of Re(v wᴴ)'s Hermitian part: x with x · coordinates(S) = Re(wᴴ S v).
fn functional(w: &Vector3<Complex64>, v: &Vector3<Complex64>) -> Point {
    Point::from_fn(|m, _| BASIS[m].iter().map(|(i, k, value)| (w[*i].conj() * value * v[*k]).re).sum())
}

/// Largest value of `weights`·x over S ⪰ 0 with Tr S ≤ 1.
pub(super) fn support(weights: &Point) -> f64 {
    matrix(weights).symmetric_eigenvalues().max().max(0.0)
}

/// A point on the central path and the level it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    pub point: Point,
    pub weight: f64,
}

/// How far a run came.
pub(super) struct Outcome {
    /// Best point, strictly inside.
    pub point: Point,
    /// What the dual proves of the optimum's value.
    pub proven: f64,
    /// Where a warm start may begin.
    pub warm: Option<Level>,
}

/// What is minimised at one barrier level.
#[derive(Clone, Copy)]
struct Objective {
    /// Weight of f.
    bound: f64,
    /// Linear part.
    linear: Point,
    /// Barrier −log(limit − f).
    limit: Option<f64>,
    /// Barrier −log(gain·x − least).
    least_gain: Option<f64>,
}

/// The scaled problem: power 1, bound in units of `unit`.
pub(super) struct Reduced {
    /// Columns of U.
    pub basis: [DVector<Complex64>; 3],
    /// Moments of Σ as rows.
    moments: SMatrix<f64, 4, 9>,
    /// The trace of the bound in the moments.
    trace: ScaledBound,
    /// SINR per coordinate.
    pub gain: Point,
    /// m² per unit of f.
    pub unit: f64,
}

impl Reduced {
    /// `sinr_scale` = P_T/σ_n².
    pub fn new(bound: &BoundModel, channel: &DVector<Complex64>, power_w: f64, sinr_scale: f64) -> Self {
        let [alpha, slope] = bound.departure();
        let basis = orthonormal([channel, alpha, slope]);
        let inside = |vector: &DVector<Complex64>| Vector3::from_fn(|n, _| basis[n].dotc(vector));
        let (h, a, s) = (inside(channel), inside(alpha), inside(slope));
        let j = Complex64::i();
        let rows = [
            functional(&a, &a),
            functional(&s, &s),
            functional(&a, &s),
            // Im(αᴴΣα') = Re(αᴴΣ(−jα')).
            functional(&a, &(s * -j)),
        ];
        let moments = SMatrix::<f64, 4, 9>::from_fn(|m, n| rows[m][n] * power_w);
        let isotropic = moments * identity() / 3.0;
        let trace = ScaledBound::new(bound, &isotropic);
        Self { moments, gain: functional(&h, &h) * sinr_scale, unit: trace.unit, trace, basis }
    }

    /// Value, gradient and Hessian of f.
    fn bound(&self, x: &Point) -> Option<Expansion> {
        let (value, gradient, hessian) = self.bound_of_moments(&(self.moments * x))?;
        let lift = self.moments.transpose();
        Some((value, lift * gradient, lift * hessian * self.moments))
    }

    /// The same as a function of the moments.
    pub fn bound_of_moments(&self, moments: &Vector4<f64>) -> Option<MomentExpansion> {
        self.trace.of_moments(moments)
    }

    /// f in units, infinite where it has no value.
    pub fn value(&self, x: &Point) -> f64 {
        self.bound(x).map_or(f64::INFINITY, |(value, ..)| value)
    }

    fn expand(&self, objective: &Objective, x: &Point) -> Option<Expansion> {
        let (mut value, mut gradient, mut hessian) = cone(x)?;
        value += objective.linear.dot(x);
        gradient += objective.linear;
        if objective.bound != 0.0 || objective.limit.is_some() {
            let (f, slope, curve) = self.bound(x)?;
            let mut weight = objective.bound;
            value += weight * f;
            if let Some(limit) = objective.limit {
                let slack = limit - f;
                if slack <= 0.0 {
                    return None;
                }
                value -= slack.ln();
                weight += slack.recip();
                hessian += slope * slope.transpose() / (slack * slack);
            }
            gradient += slope * weight;
            hessian += curve * weight;
        }
        if let Some(least) = objective.least_gain {
            let slack = self.gain.dot(x) - least;
            if slack <= 0.0 {
                return None;
            }
            value -= slack.ln();
            gradient -= self.gain / slack;
            hessian += self.gain * self.gain.transpose() / (slack * slack);
        }
        value.is_finite().then_some((value, gradient, hessian))
    }

    /// Newton's method on one level from a point inside; whether the level was centred.
    fn centre(&self, objective: &Objective, x: &mut Point, tolerance: f64, steps: &mut usize) -> bool {
        let Some(mut here) = self.expand(objective, x) else { return false };
        for _ in 0..LEVEL_STEPS {
            let (value, gradient, hessian) = here;
            let direction = match solve(&hessian, &-gradient) {
                Some(direction) => direction,
                None => match solve(&(hessian + Hessian::identity() * (1e-13 * hessian.amax())), &-gradient) {
                    Some(direction) => direction,
                    None => return false,
                },
            };
            let decrement = -gradient.dot(&direction);
            *steps += 1;
            if decrement.is_nan() {
                return false;
            }
            if decrement < tolerance {
                return true;
            }
            let mut length = 1.0;
            here = loop {
                let next = *x + direction * length;
                match self.expand(objective, &next) {
                    Some(there) if decrement < QUADRATIC || there.0 <= value - 0.1 * length * decrement => {
                        *x = next;
                        break there;
                    }
                    _ if length < 1e-7 => return false,
                    _ => length *= 0.5,
                }
            };
        }
        false
    }

    /// The smallest bound, with SINR ≥ `least_gain` where given, from a point inside. `proven` is a lower bound on it.
    /// `visit` sees every level's point and its value, and ends the run by answering false.
    pub fn minimise_bound(
        &self,
        start: Level,
        least_gain: Option<f64>,
        gap: f64,
        steps: &mut usize,
        mut visit: impl FnMut(&Point, f64) -> bool,
    ) -> Outcome {
        let constraints = if least_gain.is_some() { 5.0 } else { 4.0 };
        let Level { mut point, mut weight } = start;
        let mut outcome = Outcome { point, proven: f64::NEG_INFINITY, warm: None };
        loop {
            let objective = Objective { bound: weight, linear: Point::zeros(), limit: None, least_gain };
            let end = constraints / (gap * self.value(&point));
            let last = weight >= end;
            let centred = self.centre(&objective, &mut point, if last { CENTRED_LAST } else { CENTRED }, steps);
            let Some((value, slope, _)) = self.bound(&point) else { return outcome };
            outcome.point = point;
            let go_on = visit(&point, value);
            if constraints / weight >= WARM_GAP * value {
                outcome.warm = Some(Level { point, weight });
            }
            if last || !centred || !go_on {
                let multiplier = least_gain.map_or(0.0, |least| 1.0 / (weight * (self.gain.dot(&point) - least)));
                let tangent = value - slope.dot(&point) + multiplier * least_gain.unwrap_or(0.0);
                outcome.proven = tangent - support(&(self.gain * multiplier - slope));
                return outcome;
            }
            weight = lowered(weight, end);
        }
    }

    /// The largest SINR with f ≤ `limit`, from a point inside. `proven` is an upper bound on it.
    pub fn maximise_gain(
        &self,
        start: Level,
        limit: f64,
        gap: f64,
        steps: &mut usize,
        mut visit: impl FnMut() -> bool,
    ) -> Outcome {
        let constraints = 5.0;
        let best = support(&self.gain).max(f64::MIN_POSITIVE);
        let Level { mut point, mut weight } = start;
        let mut outcome = Outcome { point, proven: best, warm: None };
        loop {
            let objective =
                Objective { bound: 0.0, linear: self.gain * (-weight / best), limit: Some(limit), least_gain: None };
            let end = constraints * best / (gap * self.gain.dot(&point).max(1e-3 * best));
            let last = weight >= end;
            let centred = self.centre(&objective, &mut point, if last { CENTRED_LAST } else { CENTRED }, steps);
            let Some((value, slope, _)) = self.bound(&point) else { return outcome };
            outcome.point = point;
            if constraints / weight >= WARM_GAP {
                outcome.warm = Some(Level { point, weight });
            }
            if last || !centred || !visit() {
                // For any multiplier the tangent of the convex f bounds the SINR from above: here of all beams that meet
                // the threshold within its tolerance.
                let multiplier = best / (weight * (limit - value));
                let tangent = multiplier * (limit * (1.0 + THRESHOLD_TOLERANCE) - value + slope.dot(&point));
                outcome.proven = best.min(tangent + support(&(self.gain - slope * multiplier)));
                return outcome;
            }
            weight = lowered(weight, end);
        }
    }
}

/// The next level's weight, not far beyond what the gap asks for: there rounding would spoil the certificate.
fn lowered(weight: f64, end: f64) -> f64 {
    (weight * LOWERING).min((end * 1.1).max(weight * 1.5))
}

/// Coordinates of the unit matrix.
pub(super) fn identity() -> Point {
    Point::from_fn(|m, _| if m < 3 { 1.0 } else { 0.0 })
}

/// Value, gradient and Hessian of −log det S − log(1 − Tr S).
fn cone(x: &Point) -> Option<Expansion> {
    let slack = 1.0 - x[0] - x[1] - x[2];
    let s = matrix(x);
    // Leading minors decide definiteness; the adjugate gives the inverse.
    let minor = x[0] * x[1] - s[(0, 1)].norm_sqr();
    if slack <= 0.0 || x[0] <= 0.0 || minor <= 0.0 {
        return None;
    }
    // Schur complement of the leading 2 × 2 block: better rounding than the determinant by cofactors.
    let (b, c) = (s[(0, 2)], s[(1, 2)]);
    let (u, v) = ((b * x[1] - s[(0, 1)] * c) / minor, (c * x[0] - s[(1, 0)] * b) / minor);
    let schur = x[2] - (b.conj() * u + c.conj() * v).re;
    if schur <= 0.0 || schur.is_nan() {
        return None;
    }
    let (uu, vv) = (u / schur, v / schur);
    let off = -s[(0, 1)] / minor + uu * v.conj();
    let inverse = Matrix3::new(
        Complex64::from(x[1] / minor + (uu * u.conj()).re),
        off,
        -uu,
        off.conj(),
        Complex64::from(x[0] / minor + (vv * v.conj()).re),
        -vv,
        -uu.conj(),
        -vv.conj(),
        Complex64::from(schur.recip()),
    );
    let trace = identity();
    let mut gradient = trace / slack;
    let mut hessian = trace * trace.transpose() / (slack * slack);
    for m in 0..9 {
        for (a, b, value) in BASIS[m] {
            gradient[m] -= (inverse[(*b, *a)] * value).re;
        }
        for k in m..9 {
            let mut sum = 0.0;
            for (a, b, left) in BASIS[m] {
                for (d, e, right) in BASIS[k] {
                    sum += (inverse[(*e, *a)] * left * inverse[(*b, *d)] * right).re;
                }
            }
            hessian[(m, k)] += sum;
            if k != m {
                hessian[(k, m)] += sum;
            }
        }
    }
    Some((-(minor * schur).ln() - slack.ln(), gradient, hessian))
}

/// Orthonormal columns that span the vectors in their order; zero columns for dependent ones.
fn orthonormal(vectors: [&DVector<Complex64>; 3]) -> [DVector<Complex64>; 3] {
    let mut columns: [DVector<Complex64>; 3] = std::array::from_fn(|_| DVector::zeros(vectors[0].len()));
    for index in 0..3 {
        let norm = vectors[index].norm();
        if norm == 0.0 {
            continue;
        }
        let mut rest = vectors[index] / Complex64::from(norm);
        // Twice is enough (Kahan and Parlett).
        for _ in 0..2 {
            for column in &columns[..index] {
                let share = column.dotc(&rest);
                rest.axpy(-share, column, Complex64::from(1.0));
            }
        }
        let norm = rest.norm();
        if norm > 1e-7 {
            columns[index] = rest / Complex64::from(norm);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::channel_vector;
    use crate::scene::{Scene, dbm_to_w};

    fn inside() -> Point {
        Point::from_column_slice(&[0.3, 0.25, 0.2, 0.1, -0.07, 0.05, 0.02, -0.09, 0.11])
    }

    fn agrees(function: impl Fn(&Point) -> Expansion, x: &Point) {
        let (_, gradient, hessian) = function(x);
        for m in 0..9 {
            let mut step = Point::zeros();
            step[m] = 1e-5;
            let (above, below) = (function(&(x + step)), function(&(x - step)));
            let slope = (above.0 - below.0) / 2e-5;
            assert!((slope - gradient[m]).abs() < 1e-6 * gradient.amax(), "{m}: {slope} {}", gradient[m]);
            let curve = (above.1 - below.1) / 2e-5;
            assert!((curve - hessian.column(m)).amax() < 1e-6 * hessian.amax(), "{m}");
        }
    }

    #[test]
    fn gradients_and_hessians_are_those_of_central_differences() {
        agrees(|x| cone(x).unwrap(), &inside());
        let scene = Scene::paper();
        let bound = BoundModel::new(&scene, scene.geometry.target, 1024);
        let power = dbm_to_w(scene.constraints.power_dbm);
        let reduced = Reduced::new(&bound, &channel_vector(&scene), power, 1.0);
        agrees(|x| reduced.bound(x).unwrap(), &inside());
    }

    #[test]
    fn coordinates_keep_the_inner_product() {
        let (a, b) = (inside(), Point::from_fn(|m, _| (m as f64 * 1.7).sin()));
        assert!(((matrix(&a) * matrix(&b)).trace().re - a.dot(&b)).abs() < 1e-12);
    }
}
