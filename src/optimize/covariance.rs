//! The barrier method over the covariance S ⪰ 0 for several targets.
//!
//! The Hessian is that of −log det S, whose inverse is G → S G S, and one of low rank: with Woodbury's identity a Newton
//! step needs a system of five unknowns a target, however many directions S has. A point is the triangular factor L of
//! S = L Lᴴ, and a step is found as Δ = L⁻¹ dS L⁻ᴴ, so that small eigenvalues keep their digits.

use nalgebra::{DMatrix, Vector4};
use num_complex::Complex64;

use super::linear::solve_in_place;
use super::path::{Here, Shape};
use super::several::{Blocks, Several, weighted};

/// Covariances S = L Lᴴ with L lower triangular.
pub(super) struct Covariances;

/// A point well inside the cone and the power.
pub(super) fn isotropic(size: usize) -> DMatrix<Complex64> {
    DMatrix::identity(size, size) * Complex64::from((0.75 / size as f64).sqrt())
}

impl Shape for Covariances {
    fn constraints(&self, several: &Several) -> f64 {
        several.size() as f64
    }

    /// −log det S.
    fn barrier(&self, lower: &DMatrix<Complex64>) -> f64 {
        -2.0 * (0..lower.nrows()).map(|n| lower[(n, n)].re.ln()).sum::<f64>()
    }

    fn newton(&self, _: &Several, here: &Here) -> Option<(DMatrix<Complex64>, f64)> {
        newton(here)
    }

    fn moved(&self, here: &Here, direction: &DMatrix<Complex64>, length: f64) -> Option<DMatrix<Complex64>> {
        moved(&here.factor, direction, length)
    }
}

/// The factor of L (1 + length · Δ) Lᴴ.
fn moved(lower: &DMatrix<Complex64>, direction: &DMatrix<Complex64>, length: f64) -> Option<DMatrix<Complex64>> {
    let size = lower.nrows();
    let mut inner = direction * Complex64::from(length);
    for n in 0..size {
        inner[(n, n)] += 1.0;
    }
    Some(lower * cholesky(inner)?)
}

/// Lower factor of a Hermitian positive definite matrix.
fn cholesky(mut matrix: DMatrix<Complex64>) -> Option<DMatrix<Complex64>> {
    let size = matrix.nrows();
    for k in 0..size {
        let mut rest = matrix[(k, k)].re;
        for m in 0..k {
            rest -= matrix[(k, m)].norm_sqr();
        }
        if rest.is_nan() || rest <= 0.0 {
            return None;
        }
        let pivot = rest.sqrt();
        matrix[(k, k)] = Complex64::from(pivot);
        for i in k + 1..size {
            let mut sum = matrix[(i, k)];
            for m in 0..k {
                sum -= matrix[(i, m)] * matrix[(k, m)].conj();
            }
            matrix[(i, k)] = sum / pivot;
            matrix[(k, i)] = Complex64::from(0.0);
        }
    }
    Some(matrix)
}

/// Newton's direction Δ and its squared decrement.
fn newton(here: &Here) -> Option<(DMatrix<Complex64>, f64)> {
    let Here { factor: lower, images, functionals, expansion, .. } = here;
    let square = lower.ad_mul(lower);
    let gram = gram(images, &square);
    let count = functionals.len();
    let times = |numbers: &[Vector4<f64>]| -> Blocks {
        (0..count).map(|i| (0..count).fold(Vector4::zeros(), |sum, k| sum + gram[i * count + k] * numbers[k])).collect()
    };
    let pull: Blocks = functionals.iter().zip(times(&expansion.gradient)).map(|(own, taken)| own - taken).collect();
    let columns = expansion.factor.len();
    let mut matrix = vec![0.0; columns * columns];
    for (n, column) in expansion.factor.iter().enumerate() {
        let mut image = vec![Vector4::zeros(); count];
        for (block, entries) in column.blocks() {
            for (i, image) in image.iter_mut().enumerate() {
                *image += gram[i * count + block] * entries;
            }
        }
        for m in n..columns {
            matrix[m * columns + n] = expansion.factor[m].dot(&image);
        }
        matrix[n * columns + n] += 1.0;
    }
    let mut shares: Vec<f64> = expansion.factor.iter().map(|column| column.dot(&pull)).collect();
    solve_in_place(&mut matrix, &mut shares)?;
    let mut numbers: Blocks = vec![Vector4::zeros(); count];
    for (column, share) in expansion.factor.iter().zip(&shares) {
        column.add_to(&mut numbers, *share);
    }
    for (number, slope) in numbers.iter_mut().zip(&expansion.gradient) {
        *number += slope;
    }
    let mut direction = weighted(images, &numbers) * images.adjoint();
    direction += square * Complex64::from(numbers[count - 1][1]);
    direction.neg_mut();
    for n in 0..lower.nrows() {
        direction[(n, n)] += 1.0;
    }
    // Eᵀ of the change of the functionals is `shares`, which has no cancellation in it.
    let low_rank: f64 = shares.iter().map(|share| share * share).sum();
    let decrement = direction.norm_squared() + low_rank;
    Some((direction, decrement))
}

/// Tr(Z_m S Z_n S) for all functionals, in blocks of four by four.
fn gram(images: &DMatrix<Complex64>, square: &DMatrix<Complex64>) -> Vec<nalgebra::Matrix4<f64>> {
    let products = images.ad_mul(images);
    let turned = square * images;
    let targets = images.ncols() / 2;
    let count = targets + 1;
    let last = images.ncols() - 1;
    let mut gram = vec![nalgebra::Matrix4::zeros(); count * count];
    for k in 0..targets {
        for l in 0..=k {
            let p = |row: usize, column: usize| products[(2 * k + row, 2 * l + column)];
            let ([a0, a1], [s0, s1]) = ([p(0, 0), p(1, 0)], [p(0, 1), p(1, 1)]);
            let (cross00, cross01) = (a0 * s0.conj(), a0 * s1.conj());
            let (cross10, cross11) = (a1 * s0.conj(), a1 * s1.conj());
            let (own_a, own_s) = (a0 * a1.conj(), s0 * s1.conj());
            let mean = (cross01 + cross10.conj()) * 0.5;
            let turn = (cross01 - cross10.conj()) * Complex64::new(0.0, 0.5);
            let block = nalgebra::Matrix4::from_columns(&[
                Vector4::new(a0.norm_sqr(), a1.norm_sqr(), own_a.re, own_a.im),
                Vector4::new(s0.norm_sqr(), s1.norm_sqr(), own_s.re, own_s.im),
                Vector4::new(cross00.re, cross11.re, mean.re, mean.im),
                Vector4::new(-cross00.im, -cross11.im, turn.re, turn.im),
            ]);
            gram[l * count + k] = block.transpose();
            gram[k * count + l] = block;
        }
        let (a, s) = (products[(2 * k, last)], products[(2 * k + 1, last)]);
        let with_gain = a * s.conj();
        let with_trace = images.column(2 * k).dotc(&turned.column(2 * k + 1));
        let along = |column: usize| images.column(column).dotc(&turned.column(column)).re;
        let mut block = nalgebra::Matrix4::zeros();
        block.set_column(0, &Vector4::new(a.norm_sqr(), s.norm_sqr(), with_gain.re, with_gain.im));
        block.set_column(1, &Vector4::new(along(2 * k), along(2 * k + 1), with_trace.re, with_trace.im));
        gram[targets * count + k] = block.transpose();
        gram[k * count + targets] = block;
    }
    let mut block = nalgebra::Matrix4::zeros();
    block[(0, 0)] = products[(last, last)].norm_sqr();
    block[(1, 1)] = square.norm_squared();
    block[(0, 1)] = images.column(last).dotc(&turned.column(last)).re;
    block[(1, 0)] = block[(0, 1)];
    gram[count * count - 1] = block;
    gram
}
