//! The paper's own algorithm for the beams (Section IV): fractional programming for the SINR (34), a penalty that ties
//! the Fisher information to the beams (P4.7), the projection (P4.8), successive convex approximation for the beams
//! (P4.9), a decreasing κ.
//!
//! Power and noise are one here, beams live in the reduced basis, and Γ holds the four moments that the information is
//! linear in, each in units of its isotropic value: Ω eliminated, (P4.8) is the projection onto {Γ : Tr HCRB ≤ Π}, one
//! smooth convex set, and (P4.9) a convex quadratic in a ball. Neither needs a conic solver.

use nalgebra::{DMatrix, DVector, Matrix4, Vector4};
use num_complex::Complex64;

use super::barrier::THRESHOLD_TOLERANCE;
use super::beams::Problem;
use super::linear::solve;
use super::scaled::MomentExpansion;
use super::several::Several;
use super::together::Pairing;
use crate::array::Beams;

/// Steps in which the threshold has to be met after the alternation; a few are enough.
const RESTORING_STEPS: usize = 200;

/// Both reduced beams as reals: Re w_c, Im w_c, Re w_0, Im w_0.
type Stack = DVector<f64>;
/// Moments, four for each target.
type Moments = Vec<Vector4<f64>>;

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
    /// The pair of beams that the alternation ended with, moved where the penalty left the threshold missed.
    pub beams: Beams,
    /// Their SINR, linear.
    pub sinr: f64,
    /// Trace of their bound, in m².
    pub hcrb_trace_m2: f64,
    /// Alternations in all.
    pub iterations: usize,
    /// How far the pair was moved to meet the threshold: the length of the move where √P_T is 1.
    pub restored: f64,
}

/// Runs the alternation on a problem that can be met. The paper has one target; of several each has moments and a
/// projection of its own.
///
/// A penalty never meets its constraint quite, so the pair is moved by the least change that meets the threshold; nothing
/// else is done to it. In particular it is not split anew into the best pair of its covariance, which would hide what the
/// alternation leaves on the table.
pub fn alternate(problem: &Problem, settings: &Alternation) -> Alternated {
    let pairing = Pairing::new(problem);
    let several = pairing.several();
    let state = State::new(several, problem.hcrb_max_m2() / several.unit);
    let (reached, iterations) = state.run(settings);
    let moved = state.least_change(&reached).unwrap_or_else(|| state.towards_the_smallest(&reached, &pairing));
    let (w_c, w_0) = unpack(&moved);
    let beams = pairing.lift(&w_c, &w_0);
    Alternated {
        sinr: problem.sinr(&beams),
        hcrb_trace_m2: problem.hcrb_trace_m2(&beams).unwrap_or(f64::INFINITY),
        beams,
        iterations,
        restored: (moved - reached).norm(),
    }
}

/// What stays the same over the rounds.
struct State<'a> {
    several: &'a Several,
    limit: f64,
    /// h_c in the basis, with the largest SINR scaled to one.
    channel: DVector<Complex64>,
    /// σ_n² on the same scale.
    noise: f64,
    /// Z_j in units of the isotropic moments, and these, for each target.
    matrices: Vec<[DMatrix<Complex64>; 4]>,
    scales: Moments,
}

impl<'a> State<'a> {
    fn new(several: &'a Several, limit: f64) -> Self {
        let channel = several.channel().into_owned();
        let matrices: Vec<_> = (0..several.targets()).map(|k| several.moment_matrices(k)).collect();
        let scale = |matrices: &[DMatrix<Complex64>; 4]| {
            let isotropic = |m: usize| matrices[m].trace().re / channel.len() as f64;
            let (along, across) = (isotropic(0).max(f64::MIN_POSITIVE), isotropic(1).max(f64::MIN_POSITIVE));
            Vector4::new(along, across, (along * across).sqrt(), (along * across).sqrt())
        };
        let scales: Moments = matrices.iter().map(scale).collect();
        let scaled = |(matrices, scale): (&[DMatrix<Complex64>; 4], &Vector4<f64>)| {
            std::array::from_fn(|m| &matrices[m] / Complex64::from(scale[m]))
        };
        Self {
            matrices: matrices.iter().zip(&scales).map(scaled).collect(),
            noise: several.best.recip(),
            several,
            scales,
            channel,
            limit,
        }
    }

    /// The least change of the beams, to first order, after which every bound is below the limit and the power within
    /// its budget; `None` where a bound does not exist at these beams or the steps do not get there.
    fn least_change(&self, beams: &Stack) -> Option<Stack> {
        let mut beams = beams.clone();
        for _ in 0..RESTORING_STEPS {
            let (target, value, gradient) = self.worst(&beams)?;
            if value <= self.limit * (1.0 + 0.5 * THRESHOLD_TOLERANCE) {
                return Some(beams);
            }
            // 1/bound is nearly linear in the moments: Newton's step for 1/bound = 1/limit.
            let (w_c, w_0) = unpack(&beams);
            let matrices = &self.matrices[target];
            let rise = (0..4).fold(Stack::zeros(beams.len()), |sum, m| {
                let slope = pack(&(&matrices[m] * &w_c), &(&matrices[m] * &w_0));
                sum - slope * (2.0 * gradient[m] / (value * value))
            });
            let missing = self.limit.recip() - value.recip();
            let norm = beams.norm();
            // Where the power is all used up the beams can only turn.
            let full = norm > 1.0 - 1e-9;
            let way = if full { &rise - &beams * (rise.dot(&beams) / (norm * norm)) } else { rise };
            beams += &way * (missing / way.norm_squared());
            let norm = beams.norm();
            if !norm.is_finite() {
                return None;
            }
            if norm > 1.0 {
                beams /= norm;
            }
        }
        None
    }

    /// The target whose bound is the largest: its place, the bound and its derivative in the scaled moments.
    fn worst(&self, beams: &Stack) -> Option<(usize, f64, Vector4<f64>)> {
        let mut worst: Option<(usize, f64, Vector4<f64>)> = None;
        for (target, moments) in self.moments(beams).iter().enumerate() {
            let (value, gradient, _) = self.bound(target, moments)?;
            if worst.is_none_or(|(_, largest, _)| value > largest) {
                worst = Some((target, value, gradient));
            }
        }
        worst
    }

    /// The beams on the straight way to those of the smallest bound, no further than the threshold asks for.
    fn towards_the_smallest(&self, beams: &Stack, pairing: &Pairing<'_>) -> Stack {
        let (w_c, w_0) = unpack(beams);
        let end = pairing.smallest_near(&DMatrix::from_columns(&[w_c, w_0]));
        let end = pack(&end.column(0).into_owned(), &end.column(1).into_owned());
        let mixed = |share: f64| beams * (1.0 - share) + &end * share;
        let limit = self.limit * (1.0 + 0.5 * THRESHOLD_TOLERANCE);
        let meets = |share: f64| self.worst(&mixed(share)).is_some_and(|(_, value, _)| value <= limit);
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if meets(middle) { high = middle } else { low = middle }
        }
        mixed(high)
    }

    /// The alternation; the beams it ends with and how often it alternated.
    fn run(&self, settings: &Alternation) -> (Stack, usize) {
        let mut beams = self.start();
        let mut kappa = settings.first;
        let mut iterations = 0;
        let mut damping = 1.0;
        for _ in 0..settings.rounds {
            for _ in 0..settings.inner {
                iterations += 1;
                let reached = self.moments(&beams);
                let gamma = (0..reached.len()).map(|k| self.project(k, &reached[k])).collect();
                let moved = self.step(&beams, &gamma, kappa, &mut damping);
                let change = (&moved - &beams).norm();
                beams = moved;
                if change < 1e-4 {
                    break;
                }
            }
            kappa *= settings.step;
        }
        (beams, iterations)
    }

    /// Half of the power towards the receiver, half towards what is left of the targets' directions.
    fn start(&self) -> Stack {
        let size = self.channel.len();
        let mut sum = DMatrix::identity(size, size) * Complex64::from(1.0 / size as f64);
        for matrices in self.matrices.iter().rev() {
            sum = &matrices[0] + &matrices[1] + sum;
        }
        let eigen = sum.symmetric_eigen();
        let sensing = eigen.eigenvectors.column(eigen.eigenvalues.imax()).into_owned();
        pack(&(&self.channel * Complex64::from(0.5f64.sqrt())), &(sensing * Complex64::from(0.5f64.sqrt())))
    }

    fn moments(&self, beams: &Stack) -> Moments {
        let (w_c, w_0) = unpack(beams);
        let of = |matrix: &DMatrix<Complex64>| (w_c.dotc(&(matrix * &w_c)) + w_0.dotc(&(matrix * &w_0))).re;
        self.matrices.iter().map(|matrices| Vector4::from_fn(|m, _| of(&matrices[m]))).collect()
    }

    /// A target's bound and its derivatives in the scaled moments.
    fn bound(&self, target: usize, gamma: &Vector4<f64>) -> Option<MomentExpansion> {
        let scale = &self.scales[target];
        let (value, gradient, hessian) = self.several.bound_of_moments(target, &gamma.component_mul(scale))?;
        let square = Matrix4::from_diagonal(scale);
        Some((value, gradient.component_mul(scale), square * hessian * square))
    }

    /// (P4.8): the nearest Γ with Tr HCRB ≤ Π. Γ(λ) = argmin ½‖Γ − Γ̂‖² + λ f by Newton, λ by bisection of its logarithm.
    fn project(&self, target: usize, reached: &Vector4<f64>) -> Vector4<f64> {
        if self.bound(target, reached).is_some_and(|(value, ..)| value <= self.limit) {
            return *reached;
        }
        // A point inside the domain: isotropic information, enough of it.
        let even = 1.0 / self.channel.len() as f64;
        let isotropic = |matrix: &DMatrix<Complex64>| matrix.diagonal().iter().map(|entry| entry.re * even).sum();
        let mut gamma = Vector4::from_fn(|m, _| isotropic(&self.matrices[target][m]));
        while self.bound(target, &gamma).is_none_or(|(value, ..)| value > self.limit) && gamma.amax() < 1e12 {
            gamma *= 2.0;
        }
        let (mut low, mut high) = (1e-12 / self.limit, 1e6 / self.limit);
        for _ in 0..60 {
            let lambda = (low * high).sqrt();
            gamma = self.nearest(target, gamma, reached, lambda);
            match self.bound(target, &gamma) {
                Some((value, ..)) if value <= self.limit => high = lambda,
                _ => low = lambda,
            }
            if high / low < 1.0 + 1e-7 {
                break;
            }
        }
        self.nearest(target, gamma, reached, high)
    }

    fn nearest(&self, target: usize, start: Vector4<f64>, reached: &Vector4<f64>, lambda: f64) -> Vector4<f64> {
        let mut gamma = start;
        let Some(mut here) = self.bound(target, &gamma) else { return gamma };
        for _ in 0..40 {
            let cost = 0.5 * (gamma - reached).norm_squared() + lambda * here.0;
            let gradient = gamma - reached + here.1 * lambda;
            let hessian = Matrix4::identity() + here.2 * lambda;
            let Some(direction) = solve(&hessian, &-gradient) else { return gamma };
            let decrement = -gradient.dot(&direction);
            if decrement < 1e-16 {
                return gamma;
            }
            let mut length = 1.0;
            loop {
                let next = gamma + direction * length;
                match self.bound(target, &next) {
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

    /// −S(y, w) + F/(2κ) with the optimal y: what every step lowers.
    fn cost(&self, beams: &Stack, gamma: &Moments, kappa: f64) -> f64 {
        let (w_c, w_0) = unpack(beams);
        let sinr = self.channel.dotc(&w_c).norm_sqr() / (self.channel.dotc(&w_0).norm_sqr() + self.noise);
        let apart: f64 = self.moments(beams).iter().zip(gamma).map(|(own, gamma)| (own - gamma).norm_squared()).sum();
        -sinr * self.noise + apart / (2.0 * kappa)
    }

    /// (P4.9): moments linearised at the present beams, the curvature left out made up for by `damping`, which grows
    /// until the true cost falls (so the approximation is an upper bound where it matters).
    fn step(&self, beams: &Stack, gamma: &Moments, kappa: f64, damping: &mut f64) -> Stack {
        let (w_c, w_0) = unpack(beams);
        let interference = self.channel.dotc(&w_0).norm_sqr() + self.noise;
        let y = w_c.dotc(&self.channel) / interference;
        // −2 Re(y hᴴ w_c) + |y|² |hᴴ w_0|², on the scale of one.
        let pull = &self.channel * y.conj() * Complex64::from(self.noise);
        let none = DVector::zeros(self.channel.len());
        let mut right = pack(&pull, &none);
        let quiet = y.norm_sqr() * self.noise;
        let (re, im) = (pack(&none, &self.channel), pack(&none, &(&self.channel * Complex64::i())));
        let size = beams.len();
        let mut quadratic = DMatrix::from_fn(size, size, |i, k| (re[i] * re[k] + im[i] * im[k]) * quiet);
        let reached = self.moments(beams);
        for (target, matrices) in self.matrices.iter().enumerate() {
            for m in 0..4 {
                // The moment is nearly slope·u − moment(u_i) with slope = 2 Z u_i.
                let slope = pack(&(&matrices[m] * &w_c), &(&matrices[m] * &w_0)) * 2.0;
                for column in 0..size {
                    for row in 0..size {
                        quadratic[(row, column)] += slope[row] * slope[column] / (2.0 * kappa);
                    }
                }
                right += slope * ((gamma[target][m] + reached[target][m]) / (2.0 * kappa));
            }
        }
        let before = self.cost(beams, gamma, kappa);
        for _ in 0..60 {
            let next = in_ball(&shifted(&quadratic, *damping), &(&right + beams * *damping));
            if self.cost(&next, gamma, kappa) <= before {
                *damping = (*damping * 0.3).max(1e-9);
                return next;
            }
            *damping *= 3.0;
        }
        beams.clone()
    }
}

/// The matrix with `shift` added to its diagonal.
fn shifted(matrix: &DMatrix<f64>, shift: f64) -> DMatrix<f64> {
    let mut sum = matrix.clone();
    (0..sum.nrows()).for_each(|n| sum[(n, n)] += shift);
    sum
}

/// Minimises uᵀAu/1 − 2 bᵀu over ‖u‖ ≤ 1.
fn in_ball(quadratic: &DMatrix<f64>, right: &Stack) -> Stack {
    if let Some(inside) = solve(quadratic, right)
        && inside.norm() <= 1.0
    {
        return inside;
    }
    // ‖u(shift)‖⁻¹ is nearly linear and concave in the shift: Newton from the left never overshoots.
    let mut shift = 0.0;
    let mut u = Stack::zeros(right.len());
    for _ in 0..30 {
        let matrix = shifted(quadratic, shift);
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

fn pack(w_c: &DVector<Complex64>, w_0: &DVector<Complex64>) -> Stack {
    let size = w_c.len();
    Stack::from_fn(4 * size, |n, _| match n / size {
        0 => w_c[n].re,
        1 => w_c[n - size].im,
        2 => w_0[n - 2 * size].re,
        _ => w_0[n - 3 * size].im,
    })
}

fn unpack(stack: &Stack) -> (DVector<Complex64>, DVector<Complex64>) {
    let size = stack.len() / 4;
    let part = |from: usize| DVector::from_fn(size, |n, _| Complex64::new(stack[from + n], stack[from + size + n]));
    (part(0), part(2 * size))
}
