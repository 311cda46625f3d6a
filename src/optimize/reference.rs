//! The same problem for a general conic solver (clarabel): the reference that tests and benchmarks hold ours against.
//!
//! Nothing of our method is in it: Σ is the full N_T × N_T matrix, and Tr HCRB ≤ Π is the linear matrix inequality
//! [[J(Σ), F], [Fᵀ, X]] ⪰ 0 with Tr X ≤ Π. Delays are in metres and J is equilibrated, without which no solver succeeds.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use nalgebra::{DMatrix, DVector};
use num_complex::Complex64;

use super::{BoundModel, Problem};

// The BLAS and LAPACK that clarabel's semidefinite cones call.
#[link(name = "openblas")]
unsafe extern "C" {
    fn openblas_set_num_threads(threads: std::ffi::c_int);
}

/// An affine symmetric matrix: constant part and one matrix per variable.
struct Affine {
    constant: DMatrix<f64>,
    parts: Vec<DMatrix<f64>>,
}

/// The largest SINR (linear) as clarabel finds it; `None` where it finds the problem infeasible or gives up.
pub fn reference_sinr(problem: &Problem) -> Option<f64> {
    // SAFETY: the C function takes any positive count; one thread, because the matrices are tiny.
    unsafe { openblas_set_num_threads(1) };
    let basis = hermitian_basis(problem.channel().len());
    let best = problem.power_w() * problem.channel().norm_squared() / problem.noise_power_w();
    let gains: Vec<f64> = basis
        .iter()
        .map(|matrix| {
            let reached = problem.channel().dotc(&(matrix * problem.channel())).re;
            reached / problem.channel().norm_squared()
        })
        .collect();
    let targets = problem.bounds().len();
    let definite = Affine {
        constant: DMatrix::zeros(2 * basis[0].nrows(), 2 * basis[0].nrows()),
        parts: basis.iter().map(embed).collect(),
    };
    let variables = basis.len() + 3 * targets;
    let mut rows = Rows::default();
    // 1 − Tr Σ ≥ 0 and, for each target, Π − Tr X ≥ 0.
    rows.push(1.0, basis.iter().enumerate().map(|(n, matrix)| (n, matrix.trace().re)).collect());
    for first in (0..targets).map(|k| basis.len() + 3 * k) {
        rows.push(1.0, vec![(first, 1.0), (first + 2, 1.0)]);
    }
    let mut cones = vec![
        SupportedConeT::NonnegativeConeT(1 + targets),
        SupportedConeT::PSDTriangleConeT(definite.constant.nrows()),
    ];
    rows.push_matrix(&definite);
    for (k, bound) in problem.bounds().iter().enumerate() {
        let information = information(problem, bound, k, &basis);
        cones.push(SupportedConeT::PSDTriangleConeT(information.constant.nrows()));
        rows.push_matrix(&information);
    }
    let cost: Vec<f64> = gains.iter().map(|gain| -gain).chain(vec![0.0; 3 * targets]).collect();
    let settings = DefaultSettings { verbose: false, ..DefaultSettings::default() };
    let zero = CscMatrix::zeros((variables, variables));
    let mut solver = DefaultSolver::new(&zero, &cost, &rows.matrix(variables), &rows.right, &cones, settings).ok()?;
    solver.solve();
    match solver.solution.status {
        SolverStatus::Solved | SolverStatus::AlmostSolved => Some(-solver.solution.obj_val * best),
        _ => None,
    }
}

/// [[J, F], [Fᵀ, X]] of target `target` with positions in units of √Π, J equilibrated at an isotropic Σ. The three
/// variables of X stand after those of the targets before.
fn information(problem: &Problem, bound: &BoundModel, target: usize, basis: &[DMatrix<Complex64>]) -> Affine {
    let count = bound.parameters();
    let [alpha, slope] = bound.departure();
    let (linear, prior) = (bound.linear_parts(), bound.prior_part());
    let of = |matrix: &DMatrix<Complex64>| {
        let image = matrix * slope;
        let cross = alpha.dotc(&image);
        let moments = [alpha.dotc(&(matrix * alpha)).re, slope.dotc(&image).re, cross.re, cross.im];
        let sum = linear.iter().zip(moments).fold(prior * 0.0, |sum, (part, moment)| sum + part * moment);
        DMatrix::from_fn(count, count, |i, k| sum[(i, k)] * problem.power_w())
    };
    let parts: Vec<DMatrix<f64>> = basis.iter().map(of).collect();
    let prior = DMatrix::from_fn(count, count, |i, k| prior[(i, k)]);
    let antennas = problem.channel().len();
    let mut typical = prior.clone();
    for (matrix, part) in basis.iter().zip(&parts) {
        typical += part * (matrix.trace().re / antennas as f64);
    }
    let scale = DVector::from_fn(count, |n, _| typical[(n, n)].sqrt().recip());
    let lifted = |part: &DMatrix<f64>| {
        DMatrix::from_fn(count + 2, count + 2, |i, k| {
            if i < count && k < count { scale[i] * part[(i, k)] * scale[k] } else { 0.0 }
        })
    };
    let mut constant = lifted(&prior);
    for n in 0..2 {
        let unit = scale[n] / problem.hcrb_max_m2().sqrt();
        (constant[(n, count + n)], constant[(count + n, n)]) = (unit, unit);
    }
    let corner = |i: usize, k: usize| {
        let mut part = DMatrix::zeros(count + 2, count + 2);
        (part[(count + i, count + k)], part[(count + k, count + i)]) = (1.0, 1.0);
        part
    };
    let others = (0..3 * target).map(|_| DMatrix::zeros(0, 0));
    let corners = [corner(0, 0), corner(0, 1), corner(1, 1)];
    Affine { constant, parts: parts.iter().map(lifted).chain(others).chain(corners).collect() }
}

/// Rows b − A x of all cones, column entries collected by variable.
#[derive(Default)]
struct Rows {
    right: Vec<f64>,
    entries: Vec<(usize, usize, f64)>,
}

impl Rows {
    /// The row `constant` − Σ coefficient · x.
    fn push(&mut self, constant: f64, coefficients: Vec<(usize, f64)>) {
        let row = self.right.len();
        self.right.push(constant);
        self.entries.extend(coefficients.into_iter().map(|(variable, value)| (row, variable, value)));
    }

    /// The upper triangle, column by column, entries off the diagonal times √2.
    fn push_matrix(&mut self, affine: &Affine) {
        let size = affine.constant.nrows();
        for column in 0..size {
            for row in 0..=column {
                let weight = if row == column { 1.0 } else { std::f64::consts::SQRT_2 };
                let coefficients = affine
                    .parts
                    .iter()
                    .enumerate()
                    .filter(|(_, part)| part.nrows() == size && part[(row, column)] != 0.0)
                    .map(|(variable, part)| (variable, -weight * part[(row, column)]))
                    .collect();
                self.push(weight * affine.constant[(row, column)], coefficients);
            }
        }
    }

    fn matrix(&self, variables: usize) -> CscMatrix<f64> {
        let column = |pick: fn(&(usize, usize, f64)) -> usize| self.entries.iter().map(pick).collect::<Vec<_>>();
        let values = self.entries.iter().map(|entry| entry.2).collect();
        CscMatrix::new_from_triplets(self.right.len(), variables, column(|e| e.0), column(|e| e.1), values)
    }
}

/// [[Re, −Im], [Im, Re]].
fn embed(matrix: &DMatrix<Complex64>) -> DMatrix<f64> {
    let size = matrix.nrows();
    DMatrix::from_fn(2 * size, 2 * size, |i, k| {
        let entry = matrix[(i % size, k % size)];
        match (i < size, k < size) {
            (true, true) | (false, false) => entry.re,
            (true, false) => -entry.im,
            (false, true) => entry.im,
        }
    })
}

fn hermitian_basis(size: usize) -> Vec<DMatrix<Complex64>> {
    let mut basis = Vec::with_capacity(size * size);
    for i in 0..size {
        for k in i..size {
            let mut matrix = DMatrix::zeros(size, size);
            (matrix[(i, k)], matrix[(k, i)]) = (Complex64::from(1.0), Complex64::from(1.0));
            basis.push(matrix.clone());
            if i != k {
                (matrix[(i, k)], matrix[(k, i)]) = (Complex64::i(), -Complex64::i());
                basis.push(matrix);
            }
        }
    }
    basis
}
