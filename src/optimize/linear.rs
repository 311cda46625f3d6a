//! Factorisations of small symmetric matrices on the stack, after equilibration, that name the pivot that fails.

use nalgebra::{SMatrix, SVector};

/// Lower factor of D M D with D = diag(M)^{−1/2}, and D; the index of a row that depends on those before it otherwise.
pub fn cholesky<const N: usize>(
    matrix: &SMatrix<f64, N, N>,
    threshold: f64,
) -> Result<(SMatrix<f64, N, N>, SVector<f64, N>), usize> {
    let mut scale = SVector::<f64, N>::zeros();
    for index in 0..N {
        let entry = matrix[(index, index)];
        if entry.is_nan() || entry <= 0.0 {
            return Err(index);
        }
        scale[index] = entry.sqrt().recip();
    }
    let mut lower = SMatrix::<f64, N, N>::zeros();
    for k in 0..N {
        let mut rest = 1.0;
        for m in 0..k {
            rest -= lower[(k, m)] * lower[(k, m)];
        }
        if rest.is_nan() || rest <= threshold {
            return Err(k);
        }
        let pivot = rest.sqrt();
        lower[(k, k)] = pivot;
        let reciprocal = pivot.recip();
        for i in k + 1..N {
            let mut sum = matrix[(i, k)] * scale[i] * scale[k];
            for m in 0..k {
                sum -= lower[(i, m)] * lower[(k, m)];
            }
            lower[(i, k)] = sum * reciprocal;
        }
    }
    Ok((lower, scale))
}

/// Inverse of a symmetric positive definite matrix; the index of a dependent row otherwise.
pub fn invert<const N: usize>(matrix: &SMatrix<f64, N, N>, threshold: f64) -> Result<SMatrix<f64, N, N>, usize> {
    let (lower, scale) = cholesky(matrix, threshold)?;
    let mut half = SMatrix::<f64, N, N>::zeros();
    for k in 0..N {
        half[(k, k)] = lower[(k, k)].recip();
        for i in k + 1..N {
            let mut sum = 0.0;
            for m in k..i {
                sum -= lower[(i, m)] * half[(m, k)];
            }
            half[(i, k)] = sum / lower[(i, i)];
        }
    }
    let mut inverse = SMatrix::<f64, N, N>::zeros();
    for i in 0..N {
        for k in 0..=i {
            let mut sum = 0.0;
            for m in i..N {
                sum += half[(m, i)] * half[(m, k)];
            }
            let value = sum * scale[i] * scale[k];
            (inverse[(i, k)], inverse[(k, i)]) = (value, value);
        }
    }
    Ok(inverse)
}

/// Solution of M x = b for a symmetric positive definite M.
pub fn solve<const N: usize>(matrix: &SMatrix<f64, N, N>, right: &SVector<f64, N>) -> Option<SVector<f64, N>> {
    let (lower, scale) = cholesky(matrix, 0.0).ok()?;
    let mut x = right.component_mul(&scale);
    for i in 0..N {
        let mut sum = x[i];
        for m in 0..i {
            sum -= lower[(i, m)] * x[m];
        }
        x[i] = sum / lower[(i, i)];
    }
    for i in (0..N).rev() {
        let mut sum = x[i];
        for m in i + 1..N {
            sum -= lower[(m, i)] * x[m];
        }
        x[i] = sum / lower[(i, i)];
    }
    Some(x.component_mul(&scale))
}

/// R with R Rᵀ = M for a symmetric positive semidefinite M; dependent columns are zero.
pub fn semidefinite_root<const N: usize>(matrix: &SMatrix<f64, N, N>) -> SMatrix<f64, N, N> {
    let mut lower = SMatrix::<f64, N, N>::zeros();
    for k in 0..N {
        let mut rest = matrix[(k, k)];
        for m in 0..k {
            rest -= lower[(k, m)] * lower[(k, m)];
        }
        if rest.is_nan() || rest <= 1e-14 * matrix[(k, k)] {
            continue;
        }
        let pivot = rest.sqrt();
        lower[(k, k)] = pivot;
        for i in k + 1..N {
            let mut sum = matrix[(i, k)];
            for m in 0..k {
                sum -= lower[(i, m)] * lower[(k, m)];
            }
            lower[(i, k)] = sum / pivot;
        }
    }
    lower
}

/// Solves M x = b in place for a symmetric positive definite M of `right.len()` rows whose lower triangle is given row by
/// row; `None` where a pivot is not positive.
pub fn solve_in_place(matrix: &mut [f64], right: &mut [f64]) -> Option<()> {
    let size = right.len();
    for i in 0..size {
        let (above, row) = matrix.split_at_mut(i * size);
        for k in 0..i {
            let other = &above[k * size..k * size + k + 1];
            let sum: f64 = row[..k].iter().zip(other).map(|(a, b)| a * b).sum();
            row[k] = (row[k] - sum) / other[k];
        }
        let rest = row[i] - row[..i].iter().map(|entry| entry * entry).sum::<f64>();
        if rest.is_nan() || rest <= 0.0 {
            return None;
        }
        row[i] = rest.sqrt();
        let sum: f64 = row[..i].iter().zip(right.iter()).map(|(a, b)| a * b).sum();
        right[i] = (right[i] - sum) / row[i];
    }
    for i in (0..size).rev() {
        right[i] /= matrix[i * size + i];
        let x = right[i];
        for (entry, value) in right[..i].iter_mut().zip(&matrix[i * size..]) {
            *entry -= value * x;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn badly_scaled() -> SMatrix<f64, 4, 4> {
        let root =
            SMatrix::<f64, 4, 4>::from_fn(|i, k| ((i * 5 + k * 3) % 7) as f64 - 2.5 + if i == k { 4.0 } else { 0.0 });
        let scale = SVector::<f64, 4>::new(1e-9, 1.0, 1e6, 3.0);
        let product = root * root.transpose();
        SMatrix::from_fn(|i, k| product[(i, k)] * scale[i] * scale[k])
    }

    #[test]
    fn inverse_and_solution_undo_a_badly_scaled_matrix() {
        let matrix = badly_scaled();
        let inverse = invert(&matrix, 1e-14).unwrap();
        let right = SVector::<f64, 4>::new(1e-9, 2.0, -1e6, 0.5);
        let x = solve(&matrix, &right).unwrap();
        assert!((inverse * right - x).component_div(&x).amax() < 1e-9);
        assert!((matrix * x - right).component_div(&right).amax() < 1e-9);
    }

    #[test]
    fn a_dependent_row_is_named() {
        let mut matrix = badly_scaled();
        for k in 0..4 {
            matrix[(2, k)] = matrix[(1, k)];
        }
        for i in 0..4 {
            matrix[(i, 2)] = matrix[(i, 1)];
        }
        assert_eq!(invert(&matrix, 1e-12), Err(2));
    }
}
