//! The barrier method over pairs of beams S = B Bᴴ for several targets.
//!
//! One target's best covariance has rank two and is a pair already. Several targets may ask for a third direction, which
//! two beams do not have: then the best pair near the covariance is sought, and the covariance's certificate says what is
//! lost. This problem is not convex: Newton's matrix is shifted until it is positive definite.

use nalgebra::{DMatrix, Vector4};
use num_complex::Complex64;

use super::linear::solve_in_place;
use super::path::{Here, Shape};
use super::several::{Blocks, Column, Several, weighted};

/// Pairs of beams as the two columns of B.
pub(super) struct Pairs;

impl Shape for Pairs {
    fn constraints(&self, _: &Several) -> f64 {
        0.0
    }

    fn barrier(&self, _: &DMatrix<Complex64>) -> f64 {
        0.0
    }

    fn newton(&self, several: &Several, here: &Here) -> Option<(DMatrix<Complex64>, f64)> {
        let size = several.size();
        let count = 4 * size;
        let slope = image(several, here, &here.expansion.gradient);
        let mut matrix = curvature(several, here);
        let mut column = vec![0.0; count];
        for part in &here.expansion.factor {
            unfold(&column_image(several, here, part), &mut column);
            for row in 0..count {
                let value = column[row];
                if value != 0.0 {
                    for (entry, other) in matrix[row * count..=row * count + row].iter_mut().zip(&column) {
                        *entry += value * other;
                    }
                }
            }
        }
        let mut right = vec![0.0; count];
        unfold(&slope, &mut right);
        right.iter_mut().for_each(|entry| *entry = -*entry);
        let largest = (0..count).map(|n| matrix[n * (count + 1)].abs()).fold(0.0, f64::max);
        // Turns of the two columns into one another change nothing and have no curvature: the least shift holds them.
        let shifts = std::iter::once(1e-13).chain((0..12).map(|n| 1e-9 * 10f64.powi(n)));
        for shift in shifts {
            let (mut shifted, mut direction) = (matrix.clone(), right.clone());
            (0..count).for_each(|n| shifted[n * (count + 1)] += shift * largest);
            if solve_in_place(&mut shifted, &mut direction).is_some() {
                let decrement = direction.iter().zip(&right).map(|(a, b)| a * b).sum();
                return Some((fold(&direction, size), decrement));
            }
        }
        None
    }

    fn moved(&self, here: &Here, direction: &DMatrix<Complex64>, length: f64) -> Option<DMatrix<Complex64>> {
        Some(&here.factor + direction * Complex64::from(length))
    }
}

/// 2 Σ_m number_m Z_m B: the slope in B of the functionals so weighted.
fn image(several: &Several, here: &Here, numbers: &[Vector4<f64>]) -> DMatrix<Complex64> {
    let mut product = weighted(&several.vectors, numbers) * here.images.adjoint();
    product += &here.factor * Complex64::from(numbers[numbers.len() - 1][1]);
    product * Complex64::from(2.0)
}

/// The same of one column of the Hessian's factor.
fn column_image(several: &Several, here: &Here, column: &Column) -> DMatrix<Complex64> {
    let (vectors, images) = (&several.vectors, &here.images);
    let mut product = DMatrix::zeros(several.size(), 2);
    for (block, entries) in column.blocks() {
        for beam in 0..2 {
            let mut out = product.column_mut(beam);
            if *block == several.targets() {
                let last = vectors.ncols() - 1;
                out.axpy(images[(beam, last)].conj() * 2.0 * entries[0], &vectors.column(last), Complex64::from(1.0));
                out.axpy(Complex64::from(2.0 * entries[1]), &here.factor.column(beam), Complex64::from(1.0));
                continue;
            }
            let (a, s) = (images[(beam, 2 * block)].conj(), images[(beam, 2 * block + 1)].conj());
            let cross = Complex64::new(entries[2], entries[3]);
            let (along, across) = (a * (2.0 * entries[0]) + cross * s, cross.conj() * a + s * (2.0 * entries[1]));
            out.axpy(along, &vectors.column(2 * block), Complex64::from(1.0));
            out.axpy(across, &vectors.column(2 * block + 1), Complex64::from(1.0));
        }
    }
    product
}

/// 2 Σ_m slope_m Z_m for each beam, as a real matrix; row by row, the lower triangle counts.
fn curvature(several: &Several, here: &Here) -> Vec<f64> {
    let numbers: &Blocks = &here.expansion.gradient;
    let mut sum = several.combination(numbers);
    let size = several.size();
    for n in 0..size {
        sum[(n, n)] += numbers[numbers.len() - 1][1];
    }
    let count = 4 * size;
    let mut matrix = vec![0.0; count * count];
    for beam in 0..2 {
        let first = 2 * size * beam;
        for i in 0..size {
            for k in 0..size {
                let entry = sum[(i, k)] * 2.0;
                matrix[(first + i) * count + first + k] = entry.re;
                matrix[(first + size + i) * count + first + size + k] = entry.re;
                matrix[(first + size + i) * count + first + k] = entry.im;
            }
        }
    }
    matrix
}

/// Real and imaginary parts, beam by beam.
fn unfold(beams: &DMatrix<Complex64>, reals: &mut [f64]) {
    let size = beams.nrows();
    for beam in 0..2 {
        for n in 0..size {
            reals[2 * size * beam + n] = beams[(n, beam)].re;
            reals[2 * size * beam + size + n] = beams[(n, beam)].im;
        }
    }
}

fn fold(reals: &[f64], size: usize) -> DMatrix<Complex64> {
    DMatrix::from_fn(size, 2, |n, beam| Complex64::new(reals[2 * size * beam + n], reals[2 * size * beam + size + n]))
}

/// The strongest two directions of S = F Fᴴ, with its power.
pub(super) fn strongest(factor: &DMatrix<Complex64>) -> DMatrix<Complex64> {
    let eigen = (factor * factor.adjoint()).symmetric_eigen();
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order.resize(2, order[0]);
    let kept: f64 = order.iter().map(|n| eigen.eigenvalues[*n].max(0.0)).sum();
    let scale = (eigen.eigenvalues.sum() / kept.max(f64::MIN_POSITIVE)).sqrt();
    DMatrix::from_fn(factor.nrows(), 2, |row, beam| {
        let n = order[beam];
        eigen.eigenvectors[(row, n)] * (eigen.eigenvalues[n].max(0.0).sqrt() * scale)
    })
}
