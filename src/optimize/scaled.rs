//! One target's bound as a function of its four moments, in numbers near one.

use nalgebra::{Matrix2, Matrix4, Matrix5, Vector4};

use super::bound::BoundModel;
use super::linear::invert;

/// Value, gradient and Hessian in the moments.
pub(super) type MomentExpansion = (f64, Vector4<f64>, Matrix4<f64>);

/// The trace of the bound, equilibrated at a typical covariance, in units of `unit`.
pub(super) struct ScaledBound {
    /// Information per unit of each moment, and the prior, equilibrated.
    information: [Matrix5<f64>; 4],
    prior: Matrix5<f64>,
    /// How much x and y weigh in the equilibrated inverse.
    position: [f64; 2],
    /// m² per unit of the value.
    pub unit: f64,
}

impl ScaledBound {
    /// `typical` are moments that the information is equilibrated at.
    pub fn new(bound: &BoundModel, typical: &Vector4<f64>) -> Self {
        let (parts, prior) = (bound.linear_parts(), bound.prior_part());
        let sum = parts.iter().zip(typical.iter()).fold(prior, |sum, (part, moment)| sum + part * *moment);
        let scale = sum.diagonal().map(|entry| entry.max(f64::MIN_POSITIVE).sqrt().recip());
        let equilibrate = |part: &Matrix5<f64>| Matrix5::from_fn(|i, k| scale[i] * part[(i, k)] * scale[k]);
        let unit = scale[0].max(scale[1]);
        Self {
            information: parts.map(|part| equilibrate(&part)),
            prior: equilibrate(&prior),
            position: [scale[0] / unit, scale[1] / unit],
            unit: unit * unit,
        }
    }

    /// Value, gradient and Hessian at these moments; `None` where the position is not identified.
    pub fn of_moments(&self, moments: &Vector4<f64>) -> Option<MomentExpansion> {
        let mut sum = self.prior;
        for (part, moment) in self.information.iter().zip(moments.iter()) {
            sum += part * *moment;
        }
        let inverse = invert(&sum, 1e-13).ok()?;
        let columns = inverse.fixed_view::<5, 2>(0, 0) * Matrix2::from_diagonal(&self.position.into());
        let value = columns[(0, 0)] * self.position[0] + columns[(1, 1)] * self.position[1];
        let images = self.information.map(|part| part * columns);
        let gradient = Vector4::from_fn(|m, _| -columns.dot(&images[m]));
        let moved = images.map(|image| inverse * image);
        let hessian = Matrix4::from_fn(|m, k| 2.0 * images[m].dot(&moved[k]));
        Some((value, gradient, hessian))
    }
}
