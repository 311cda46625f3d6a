//! Factorisations of small symmetric matrices on the stack, after equilibration, that name the pivot that fails.

use nalgebra::allocator::Allocator;
use nalgebra::{DefaultAllocator, Dim, OMatrix, OVector, SMatrix, U1};

/// A lower factor and the scale of its rows.
pub type Factor<D> = (OMatrix<f64, D, D>, OVector<f64, D>);

/// Lower factor of D M D with D = diag(M)^{−1/2}, and D; the index of a row that depends on those before it otherwise.
pub fn cholesky<D: Dim>(matrix: &OMatrix<f64, D, D>, threshold: f64) -> Result<Factor<D>, usize>
where
    DefaultAllocator: Allocator<D> + Allocator<D, D>,
{
    let (rows, _) = matrix.shape_generic();
    let count = rows.value();
    let mut scale = OVector::<f64, D>::zeros_generic(rows, U1);
    for index in 0..count {
        let entry = matrix[(index, index)];
        if entry.is_nan() || entry <= 0.0 {
            return Err(index);
        }
        scale[index] = entry.sqrt().recip();
    }
    let mut lower = OMatrix::<f64, D, D>::zeros_generic(rows, rows);
    for k in 0..count {
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
        for i in k + 1..count {
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
pub fn solve<D: Dim>(matrix: &OMatrix<f64, D, D>, right: &OVector<f64, D>) -> Option<OVector<f64, D>>
where
    DefaultAllocator: Allocator<D> + Allocator<D, D>,
{
    let (lower, scale) = cholesky(matrix, 0.0).ok()?;
    let count = right.nrows();
    let mut x = right.component_mul(&scale);
    for i in 0..count {
        let mut sum = x[i];
        for m in 0..i {
            sum -= lower[(i, m)] * x[m];
        }
        x[i] = sum / lower[(i, i)];
    }
    for i in (0..count).rev() {
        let mut sum = x[i];
        for m in i + 1..count {
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

/// The scalar product, in four sums side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((fours_a, rest_a), (fours_b, rest_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in fours_a.iter().zip(fours_b) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Solves M x = b in place for a symmetric positive definite M of `right.len()` rows whose lower triangle is given row by
/// row; `None` where a pivot is not positive.
pub fn solve_in_place(matrix: &mut [f64], right: &mut [f64]) -> Option<()> {
    let size = right.len();
    for i in 0..size {
        let (above, row) = matrix.split_at_mut(i * size);
        for k in 0..i {
            let other = &above[k * size..k * size + k + 1];
            row[k] = (row[k] - dot(&row[..k], &other[..k])) / other[k];
        }
        let rest = row[i] - dot(&row[..i], &row[..i]);
        if rest.is_nan() || rest <= 0.0 {
            return None;
        }
        row[i] = rest.sqrt();
        right[i] = (right[i] - dot(&row[..i], &right[..i])) / row[i];
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
    use nalgebra::SVector;

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
