//! The problem of several targets in numbers near one, and what its barriers add.
//!
//! Σ = P_T · U S Uᴴ with U an orthonormal basis of span{h_c, α(θ_k), α'(θ_k)}, or of all antennas where that is no more.
//! All that matters of S are its *functionals*, in blocks of four: the four moments of each target, then gain, trace and
//! two zeros. A functional is Tr(Z S) with Z = A E Aᴴ, A = (α, α') and E one of four Hermitian 2 × 2 matrices.

use nalgebra::{DMatrix, DVector, DVectorView, Vector4};
use num_complex::Complex64;

use super::bound::BoundModel;
use super::linear::semidefinite_root;
use super::scaled::{MomentExpansion, ScaledBound};

/// The functionals of a covariance, or one number for each: a block a target, and (gain, trace, 0, 0).
pub(super) type Blocks = Vec<Vector4<f64>>;

/// What is sought.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// The largest gain with every bound below a limit (in units).
    Gain {
        /// Limit of every bound.
        limit: f64,
    },
    /// The smallest of the largest bound, with a gain above the least one where there is one.
    Bound {
        /// Least gain.
        least_gain: Option<f64>,
    },
}

/// A column of a factor E of the functionals' Hessian E Eᵀ: zero but for one block or two.
pub(super) struct Column {
    blocks: [(usize, Vector4<f64>); 2],
}

impl Column {
    fn one(block: usize, entries: Vector4<f64>) -> Self {
        Self { blocks: [(block, entries), (block, Vector4::zeros())] }
    }

    /// The scalar product with one number a functional.
    pub fn dot(&self, numbers: &[Vector4<f64>]) -> f64 {
        self.blocks.iter().map(|(block, entries)| entries.dot(&numbers[*block])).sum()
    }

    /// Adds `factor` times the column.
    pub fn add_to(&self, numbers: &mut [Vector4<f64>], factor: f64) {
        for (block, entries) in &self.blocks {
            numbers[*block] += entries * factor;
        }
    }

    /// The blocks that are not zero, and their entries.
    pub fn blocks(&self) -> &[(usize, Vector4<f64>)] {
        if self.blocks[0].0 == self.blocks[1].0 { &self.blocks[..1] } else { &self.blocks }
    }
}

/// What objective and barriers, but for that of S ⪰ 0, are at some functionals.
pub(super) struct Expansion {
    pub value: f64,
    pub gradient: Blocks,
    /// E of the Hessian E Eᵀ.
    pub factor: Vec<Column>,
    /// Weight of each target's bound, which is its dual variable times that of the objective.
    pub weights: Vec<f64>,
}

/// The scaled problem: power 1, largest gain 1, bounds in units of `unit`.
pub(super) struct Several {
    /// U, or nothing where it is the identity.
    pub basis: Option<DMatrix<Complex64>>,
    /// Columns α(θ_1), α'(θ_1), α(θ_2), …, h_c in the basis.
    pub vectors: DMatrix<Complex64>,
    bounds: Vec<ScaledBound>,
    /// m² per unit of a bound.
    pub unit: f64,
    /// SINR per unit of gain.
    pub best: f64,
}

impl Several {
    /// `sinr_scale` = P_T/σ_n².
    pub fn new(bounds: &[BoundModel], channel: &DVector<Complex64>, power_w: f64, sinr_scale: f64) -> Self {
        let antennas = channel.len();
        let directions = bounds.iter().flat_map(BoundModel::departure);
        let basis = (2 * bounds.len() + 1 < antennas).then(|| orthonormal(std::iter::once(channel).chain(directions)));
        let inside = |vector: &DVector<Complex64>| basis.as_ref().map_or_else(|| vector.clone(), |u| u.ad_mul(vector));
        let norm = channel.norm();
        let root = Complex64::from(power_w.sqrt());
        let mut columns: Vec<_> = bounds.iter().flat_map(BoundModel::departure).map(|v| inside(v) * root).collect();
        columns.push(inside(channel) * Complex64::from(if norm > 0.0 { norm.recip() } else { 0.0 }));
        let size = columns[0].len() as f64;
        let typical = |k: usize| {
            let (a, s) = (&columns[2 * k], &columns[2 * k + 1]);
            let cross = a.dotc(s);
            Vector4::new(a.norm_squared(), s.norm_squared(), cross.re, cross.im) / size
        };
        let bounds: Vec<_> = bounds.iter().enumerate().map(|(k, bound)| ScaledBound::new(bound, &typical(k))).collect();
        let isotropic = |(k, bound): (usize, &ScaledBound)| {
            bound.of_moments(&typical(k)).map_or(bound.unit, |(value, ..)| value * bound.unit)
        };
        let unit = bounds.iter().enumerate().map(isotropic).fold(f64::MIN_POSITIVE, f64::max);
        Self {
            vectors: DMatrix::from_columns(&columns),
            basis,
            bounds,
            unit,
            best: (norm * norm * sinr_scale).max(f64::MIN_POSITIVE),
        }
    }

    /// h_c in the basis, of length one.
    pub fn channel(&self) -> DVectorView<'_, Complex64> {
        self.vectors.column(self.vectors.ncols() - 1)
    }

    /// A target's bound in its moments, in units.
    pub fn bound_of_moments(&self, target: usize, moments: &Vector4<f64>) -> Option<MomentExpansion> {
        let scale = self.bounds[target].unit / self.unit;
        let (value, gradient, hessian) = self.bounds[target].of_moments(moments)?;
        Some((value * scale, gradient * scale, hessian * scale))
    }

    /// The matrices Z_m of a target: moment m of S is Tr(Z_m S).
    pub fn moment_matrices(&self, target: usize) -> [DMatrix<Complex64>; 4] {
        std::array::from_fn(|m| {
            let mut numbers = vec![Vector4::zeros(); self.targets() + 1];
            numbers[target][m] = 1.0;
            self.combination(&numbers)
        })
    }

    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.bounds.len()
    }

    /// Rows of S.
    pub fn size(&self) -> usize {
        self.vectors.nrows()
    }

    /// The functionals of S = F Fᴴ from `images` = Fᴴ (vectors) and Tr S.
    pub fn functionals(&self, images: &DMatrix<Complex64>, trace: f64) -> Blocks {
        let channel = images.column(images.ncols() - 1).norm_squared();
        let target = |k: usize| {
            let (a, s) = (images.column(2 * k), images.column(2 * k + 1));
            let cross = a.dotc(&s);
            Vector4::new(a.norm_squared(), s.norm_squared(), cross.re, cross.im)
        };
        let last = Vector4::new(channel, trace, 0.0, 0.0);
        (0..self.targets()).map(target).chain(std::iter::once(last)).collect()
    }

    /// The largest of the targets' bounds, in units; infinite where a position is not identified.
    pub fn largest_bound(&self, functionals: &[Vector4<f64>]) -> f64 {
        let values = self.bounds.iter().zip(functionals).map(|(bound, moments)| {
            bound.of_moments(moments).map_or(f64::INFINITY, |(value, ..)| value * (bound.unit / self.unit))
        });
        values.fold(0.0, f64::max)
    }

    /// Every target's bound with gradient and Hessian, in units.
    fn bounds(&self, functionals: &[Vector4<f64>]) -> Option<Vec<MomentExpansion>> {
        (0..self.targets()).map(|k| self.bound_of_moments(k, &functionals[k])).collect()
    }

    /// Objective and barriers at one level; `None` outside.
    pub fn expand(&self, goal: Goal, weight: f64, functionals: &[Vector4<f64>]) -> Option<Expansion> {
        let count = self.targets();
        let bounds = self.bounds(functionals)?;
        let (gain, trace) = (functionals[count][0], functionals[count][1]);
        let slack = 1.0 - trace;
        if slack.is_nan() || slack <= 0.0 {
            return None;
        }
        let mut last = Vector4::new(0.0, slack.recip(), 0.0, 0.0);
        let mut factor = vec![Column::one(count, last)];
        let mut value = -slack.ln();
        let weights: Vec<f64> = match goal {
            Goal::Gain { limit } => {
                value -= weight * gain;
                last[0] = -weight;
                bounds.iter().map(|(bound, ..)| (limit - bound).recip()).collect()
            }
            Goal::Bound { least_gain } => {
                if let Some(least) = least_gain {
                    let above = gain - least;
                    if above.is_nan() || above <= 0.0 {
                        return None;
                    }
                    value -= above.ln();
                    last[0] = -above.recip();
                    factor.push(Column::one(count, Vector4::new(above.recip(), 0.0, 0.0, 0.0)));
                }
                let values: Vec<f64> = bounds.iter().map(|(bound, ..)| *bound).collect();
                let level = soft_largest(&values, weight);
                value += weight * level;
                values.iter().map(|bound| (level - bound).recip()).collect()
            }
        };
        if weights.iter().any(|weight| weight.is_nan() || *weight <= 0.0) {
            return None;
        }
        value += weights.iter().map(|weight| weight.ln()).sum::<f64>();
        let mut gradient = Blocks::with_capacity(count + 1);
        for (k, (_, slope, curve)) in bounds.iter().enumerate() {
            gradient.push(slope * weights[k]);
            let root = semidefinite_root(&(curve * weights[k]));
            factor.extend((0..4).map(|column| Column::one(k, root.column(column).into_owned())));
        }
        gradient.push(last);
        match goal {
            Goal::Gain { .. } => factor.extend((0..count).map(|k| Column::one(k, gradient[k]))),
            Goal::Bound { .. } => {
                // The level follows the bounds: what remains of their barriers is what tells them apart.
                let norm = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
                for k in 0..count {
                    for l in k + 1..count {
                        let (a, b) = (gradient[k] * (weights[l] / norm), gradient[l] * (-weights[k] / norm));
                        factor.push(Column { blocks: [(k, a), (l, b)] });
                    }
                }
            }
        }
        value.is_finite().then_some(Expansion { value, gradient, factor, weights })
    }

    /// Σ_m number_m Z_m's part of the targets and the channel, as a matrix: V K Vᴴ.
    pub fn combination(&self, numbers: &[Vector4<f64>]) -> DMatrix<Complex64> {
        let weighted = weighted(&self.vectors, numbers);
        &weighted * self.vectors.adjoint()
    }

    /// The largest value that gain may have: what the dual proves with these multipliers of the targets' bounds, from the
    /// bounds' tangents at a point.
    pub fn proven_gain(&self, functionals: &[Vector4<f64>], multipliers: &[f64], limit: f64) -> Option<f64> {
        let bounds = self.bounds(functionals)?;
        let mut numbers = Blocks::new();
        let mut tangent = 0.0;
        for (k, (value, slope, _)) in bounds.iter().enumerate() {
            tangent += multipliers[k] * (limit - value + slope.dot(&functionals[k]));
            numbers.push(slope * -multipliers[k]);
        }
        numbers.push(Vector4::new(1.0, 0.0, 0.0, 0.0));
        Some((tangent + largest_eigenvalue(self.combination(&numbers))).min(1.0))
    }

    /// What the dual proves of the smallest largest bound with these multipliers, in units.
    pub fn proven_bound(
        &self,
        functionals: &[Vector4<f64>],
        multipliers: &[f64],
        least_gain: Option<(f64, f64)>,
    ) -> Option<f64> {
        let bounds = self.bounds(functionals)?;
        let total: f64 = multipliers.iter().sum();
        let mut numbers = Blocks::new();
        let mut tangent = 0.0;
        for (k, (value, slope, _)) in bounds.iter().enumerate() {
            let share = multipliers[k] / total;
            tangent += share * (value - slope.dot(&functionals[k]));
            numbers.push(slope * -share);
        }
        let (least, multiplier) = least_gain.unwrap_or_default();
        numbers.push(Vector4::new(multiplier, 0.0, 0.0, 0.0));
        Some(tangent + multiplier * least - largest_eigenvalue(self.combination(&numbers)))
    }
}

/// V K with K block diagonal: Σ_m number_m E_m for each target, and the gain's number.
pub(super) fn weighted(vectors: &DMatrix<Complex64>, numbers: &[Vector4<f64>]) -> DMatrix<Complex64> {
    let mut product = vectors.clone();
    let last = vectors.ncols() - 1;
    for (k, number) in numbers[..numbers.len() - 1].iter().enumerate() {
        let cross = Complex64::new(number[2], number[3]) * 0.5;
        for row in 0..vectors.nrows() {
            let (a, s) = (vectors[(row, 2 * k)], vectors[(row, 2 * k + 1)]);
            product[(row, 2 * k)] = a * number[0] + s * cross.conj();
            product[(row, 2 * k + 1)] = a * cross + s * number[1];
        }
    }
    product.column_mut(last).scale_mut(numbers[numbers.len() - 1][0]);
    product
}

/// The largest eigenvalue, or zero.
fn largest_eigenvalue(matrix: DMatrix<Complex64>) -> f64 {
    matrix.symmetric_eigenvalues().max().max(0.0)
}

/// τ with Σ 1/(τ − value) = weight, above all values.
fn soft_largest(values: &[f64], weight: f64) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // From the left Newton's steps on the convex sum never overshoot.
    let mut above = weight.recip();
    for _ in 0..60 {
        let (sum, slope) = values.iter().fold((0.0, 0.0), |(sum, slope), value| {
            let part = (above + (largest - value)).recip();
            (sum + part, slope + part * part)
        });
        let step = (sum - weight) / slope;
        above += step;
        if step <= 1e-14 * above {
            break;
        }
    }
    largest + above
}

/// Orthonormal columns that span the vectors; as many as are independent.
fn orthonormal<'a>(vectors: impl Iterator<Item = &'a DVector<Complex64>>) -> DMatrix<Complex64> {
    let mut columns: Vec<DVector<Complex64>> = Vec::new();
    for vector in vectors {
        let norm = vector.norm();
        if norm == 0.0 {
            continue;
        }
        let mut rest = vector / Complex64::from(norm);
        // Twice is enough (Kahan and Parlett).
        for _ in 0..2 {
            for column in &columns {
                let share = column.dotc(&rest);
                rest.axpy(-share, column, Complex64::from(1.0));
            }
        }
        let norm = rest.norm();
        if norm > 1e-7 {
            columns.push(rest / Complex64::from(norm));
        }
    }
    DMatrix::from_columns(&columns)
}
