//! The paper's own algorithm for the beams (Section IV): fractional programming for the SINR (34), a penalty that ties
//! the Fisher information to the beams (P4.7), the projection (P4.8), successive convex approximation for the beams
//! (P4.9), a decreasing κ.
//!
//! Power and noise are one here, beams live in the reduced basis, and Γ holds the four moments that the information is
//! linear in, each in units of its isotropic value: Ω eliminated, (P4.8) is the projection onto {Γ : Tr HCRB ≤ Π}, one
//! smooth convex set, and (P4.9) a convex quadratic in a ball. Neither needs a conic solver.

use nalgebra::{SMatrix, SVector, Vector3, Vector4};
use num_complex::Complex64;

use super::barrier::{Point as Coordinates, Reduced, identity, matrix, outer, support};
use super::beams::Problem;
use super::linear::solve;
use crate::array::Beams;

/// Both reduced beams as reals: Re w_c, Im w_c, Re w_0, Im w_0.
type Stack = SVector<f64, 12>;
type Square = SMatrix<f64, 12, 12>;

/// Settings of the alternation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternation {
    /// Values of κ.
    pub rounds: usize,
    /// ι, by which κ falls from round to round.
    pub step: f64,
    /// κ of the first round, for an objective and moments of about one.
    pub first: f64,
    /// Alternations at one κ at most.
    pub inner: usize,
}

impl Default for Alternation {
    fn default() -> Self {
        Self { rounds: 60, step: 0.75, first: 1.0, inner: 40 }
    }
}

/// What the alternation came to.
#[derive(Debug, Clone)]
pub struct Alternated {
    /// The beams, feasible where the problem is.
    pub beams: Beams,
    /// Their SINR, linear.
    pub sinr: f64,
    /// Trace of their bound, in m².
    pub hcrb_trace_m2: f64,
    /// Alternations in all.
    pub iterations: usize,
    /// How far the beams had to move towards those of the smallest bound to meet the threshold: 0 … 1.
    pub restored: f64,
}

/// Runs the alternation on a problem that can be met.
pub fn alternate(problem: &Problem, settings: &Alternation) -> Alternated {
    let reduced = problem.reduced();
    let state = State::new(&reduced, problem.hcrb_max_m2() / reduced.unit);
    let mut beams = state.start();
    let mut kappa = settings.first;
    let mut iterations = 0;
    let mut damping = 1.0;
    for _ in 0..settings.rounds {
        for _ in 0..settings.inner {
            iterations += 1;
            let gamma = state.project(&state.moments(&beams));
            let moved = state.step(&beams, &gamma, kappa, &mut damping);
            let change = (moved - beams).norm();
            beams = moved;
            if change < 1e-4 {
                break;
            }
        }
        kappa *= settings.step;
    }
    let (beams, restored) = restore(problem, &reduced, &state.covariance(&beams));
    Alternated {
        sinr: problem.sinr(&beams),
        hcrb_trace_m2: problem.hcrb_trace_m2(&beams).unwrap_or(f64::INFINITY),
        beams,
        iterations,
        restored,
    }
}

/// Moves a covariance towards that of the smallest bound, no further than the threshold asks for.
fn restore(problem: &Problem, reduced: &Reduced, reached: &Coordinates) -> (Beams, f64) {
    let limit = problem.hcrb_max_m2() / reduced.unit;
    let mut steps = 0;
    let first = super::barrier::Level { point: identity() * 0.25, weight: 10.0 / reduced.value(&(identity() * 0.25)) };
    let smallest = reduced.minimise_bound(first, None, 1e-6, &mut steps, |_, _| true).point;
    let mixed = |share: f64| problem.split(reduced, &(reached * (1.0 - share) + smallest * share), limit);
    let meets =
        |beams: &Beams| problem.hcrb_trace_m2(beams).is_ok_and(|trace| trace <= problem.hcrb_max_m2() * (1.0 + 1e-6));
    let as_it_is = mixed(0.0);
    if meets(&as_it_is) {
        return (as_it_is, 0.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if meets(&mixed(middle)) { high = middle } else { low = middle }
    }
    (mixed(high), high)
}

/// What stays the same over the rounds.
struct State<'a> {
    reduced: &'a Reduced,
    limit: f64,
    /// h_c in the basis, with the largest SINR scaled to one.
    channel: Vector3<Complex64>,
    /// σ_n² on the same scale.
    noise: f64,
    /// Z_j in units of the isotropic moments.
    matrices: [nalgebra::Matrix3<Complex64>; 4],
    scale: Vector4<f64>,
}

impl<'a> State<'a> {
    fn new(reduced: &'a Reduced, limit: f64) -> Self {
        let most = support(&reduced.gain).max(f64::MIN_POSITIVE);
        let matrices = reduced.moment_matrices();
        let isotropic = |m: usize| matrices[m].trace().re / 3.0;
        let (along, across) = (isotropic(0).max(f64::MIN_POSITIVE), isotropic(1).max(f64::MIN_POSITIVE));
        let scale = Vector4::new(along, across, (along * across).sqrt(), (along * across).sqrt());
        Self {
            // h_c is the first vector of the basis.
            channel: Vector3::new(Complex64::from(1.0), Complex64::from(0.0), Complex64::from(0.0)),
            noise: most.recip(),
            matrices: std::array::from_fn(|m| matrices[m] / Complex64::from(scale[m])),
            scale,
            reduced,
            limit,
        }
    }

    /// Half of the power towards the receiver, half towards what is left of the target's directions.
    fn start(&self) -> Stack {
        let isotropic = matrix(&(identity() / 3.0));
        let eigen = (self.matrices[0] + self.matrices[1] + isotropic).symmetric_eigen();
        let sensing = eigen.eigenvectors.column(eigen.eigenvalues.imax()).into_owned();
        pack(&(self.channel * Complex64::from(0.5f64.sqrt())), &(sensing * Complex64::from(0.5f64.sqrt())))
    }

    fn moments(&self, beams: &Stack) -> Vector4<f64> {
        let (w_c, w_0) = unpack(beams);
        Vector4::from_fn(|m, _| (w_c.dotc(&(self.matrices[m] * w_c)) + w_0.dotc(&(self.matrices[m] * w_0))).re)
    }

    fn covariance(&self, beams: &Stack) -> Coordinates {
        let (w_c, w_0) = unpack(beams);
        outer(&w_c) + outer(&w_0)
    }

    /// f and its derivatives in the scaled moments.
    fn bound(&self, gamma: &Vector4<f64>) -> Option<(f64, Vector4<f64>, nalgebra::Matrix4<f64>)> {
        let (value, gradient, hessian) = self.reduced.bound_of_moments(&gamma.component_mul(&self.scale))?;
        let scale = nalgebra::Matrix4::from_diagonal(&self.scale);
        Some((value, gradient.component_mul(&self.scale), scale * hessian * scale))
    }

    /// (P4.8): the nearest Γ with Tr HCRB ≤ Π. Γ(λ) = argmin ½‖Γ − Γ̂‖² + λ f by Newton, λ by bisection of its logarithm.
    fn project(&self, reached: &Vector4<f64>) -> Vector4<f64> {
        if self.bound(reached).is_some_and(|(value, ..)| value <= self.limit) {
            return *reached;
        }
        // A point inside the domain: isotropic information, enough of it.
        let mut gamma = self.moments_of(&(identity() / 3.0));
        while self.bound(&gamma).is_none_or(|(value, ..)| value > self.limit) && gamma.amax() < 1e12 {
            gamma *= 2.0;
        }
        let (mut low, mut high) = (1e-12 / self.limit, 1e6 / self.limit);
        for _ in 0..60 {
            let lambda = (low * high).sqrt();
            gamma = self.nearest(gamma, reached, lambda);
            match self.bound(&gamma) {
                Some((value, ..)) if value <= self.limit => high = lambda,
                _ => low = lambda,
            }
            if high / low < 1.0 + 1e-7 {
                break;
            }
        }
        self.nearest(gamma, reached, high)
    }

    fn nearest(&self, start: Vector4<f64>, reached: &Vector4<f64>, lambda: f64) -> Vector4<f64> {
        let mut gamma = start;
        let Some(mut here) = self.bound(&gamma) else { return gamma };
        for _ in 0..40 {
            let cost = 0.5 * (gamma - reached).norm_squared() + lambda * here.0;
            let gradient = gamma - reached + here.1 * lambda;
            let hessian = nalgebra::Matrix4::identity() + here.2 * lambda;
            let Some(direction) = solve(&hessian, &-gradient) else { return gamma };
            let decrement = -gradient.dot(&direction);
            if decrement < 1e-16 {
                return gamma;
            }
            let mut length = 1.0;
            loop {
                let next = gamma + direction * length;
                match self.bound(&next) {
                    Some(there)
                        if 0.5 * (next - reached).norm_squared() + lambda * there.0
                            <= cost - 0.1 * length * decrement =>
                    {
                        (gamma, here) = (next, there);
                        break;
                    }
                    _ if length < 1e-8 => return gamma,
                    _ => length *= 0.5,
                }
            }
        }
        gamma
    }

    fn moments_of(&self, point: &Coordinates) -> Vector4<f64> {
        let s = matrix(point);
        Vector4::from_fn(|m, _| (self.matrices[m] * s).trace().re)
    }

    /// −S(y, w) + F/(2κ) with the optimal y: what every step lowers.
    fn cost(&self, beams: &Stack, gamma: &Vector4<f64>, kappa: f64) -> f64 {
        let (w_c, w_0) = unpack(beams);
        let sinr = self.channel.dotc(&w_c).norm_sqr() / (self.channel.dotc(&w_0).norm_sqr() + self.noise);
        -sinr * self.noise + (self.moments(beams) - gamma).norm_squared() / (2.0 * kappa)
    }

    /// (P4.9): moments linearised at the present beams, the curvature left out made up for by `damping`, which grows
    /// until the true cost falls (so the approximation is an upper bound where it matters).
    fn step(&self, beams: &Stack, gamma: &Vector4<f64>, kappa: f64, damping: &mut f64) -> Stack {
        let (w_c, w_0) = unpack(beams);
        let interference = self.channel.dotc(&w_0).norm_sqr() + self.noise;
        let y = w_c.dotc(&self.channel) / interference;
        // −2 Re(y hᴴ w_c) + |y|² |hᴴ w_0|², on the scale of one.
        let pull = self.channel * y.conj() * Complex64::from(self.noise);
        let linear = pack(&pull, &Vector3::zeros());
        let quiet = y.norm_sqr() * self.noise;
        let (re, im) =
            (pack(&Vector3::zeros(), &self.channel), pack(&Vector3::zeros(), &(self.channel * Complex64::i())));
        let mut quadratic: Square = (re * re.transpose() + im * im.transpose()) * quiet;
        let mut right = linear;
        let moments = self.moments(beams);
        for m in 0..4 {
            // The moment is nearly slope·u − moment(u_i) with slope = 2 Z u_i.
            let slope = pack(&(self.matrices[m] * w_c), &(self.matrices[m] * w_0)) * 2.0;
            quadratic += slope * slope.transpose() / (2.0 * kappa);
            right += slope * ((gamma[m] + moments[m]) / (2.0 * kappa));
        }
        let before = self.cost(beams, gamma, kappa);
        for _ in 0..60 {
            let next = in_ball(&(quadratic + Square::identity() * *damping), &(right + beams * *damping));
            if self.cost(&next, gamma, kappa) <= before {
                *damping = (*damping * 0.3).max(1e-9);
                return next;
            }
            *damping *= 3.0;
        }
        *beams
    }
}

/// Minimises uᵀAu/1 − 2 bᵀu over ‖u‖ ≤ 1.
fn in_ball(quadratic: &Square, right: &Stack) -> Stack {
    let at = |shift: f64| solve(&(quadratic + Square::identity() * shift), right);
    if let Some(inside) = at(0.0)
        && inside.norm() <= 1.0
    {
        return inside;
    }
    // ‖u(shift)‖⁻¹ is nearly linear and concave in the shift: Newton from the left never overshoots.
    let mut shift = 0.0;
    let mut u = Stack::zeros();
    for _ in 0..30 {
        let matrix = quadratic + Square::identity() * shift;
        let Some(solution) = solve(&matrix, right) else { return u };
        u = solution;
        let norm = u.norm();
        if (norm - 1.0).abs() < 1e-12 {
            break;
        }
        let Some(image) = solve(&matrix, &u) else { return u };
        shift = (shift + (norm - 1.0) * norm * norm / u.dot(&image)).max(0.0);
    }
    let norm = u.norm();
    if norm > 1.0 { u / norm } else { u }
}

fn pack(w_c: &Vector3<Complex64>, w_0: &Vector3<Complex64>) -> Stack {
    Stack::from_fn(|n, _| match n / 3 {
        0 => w_c[n].re,
        1 => w_c[n - 3].im,
        2 => w_0[n - 6].re,
        _ => w_0[n - 9].im,
    })
}

fn unpack(stack: &Stack) -> (Vector3<Complex64>, Vector3<Complex64>) {
    let part = |from: usize| Vector3::from_fn(|n, _| Complex64::new(stack[from + n], stack[from + 3 + n]));
    (part(0), part(6))
}
