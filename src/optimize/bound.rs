//! Fisher information of the echo and the hybrid Cramér–Rao bound on the position (eqs. 8–13).
//!
//! The parameters are (θ, φ, T) and, where β_0 is unknown, (Re β_0, Im β_0); T = τ + Δτ. Inside, delays are metres (cT),
//! because in seconds the entries span twenty decades.

use nalgebra::{DMatrix, DVector, Matrix2};
use num_complex::Complex64;

use crate::array::{Beams, direction_rad, distance_m, steering_vector};
use crate::scene::{Frequencies, Point, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, dbm_to_w};

/// Names of the parameters in their order.
const PARAMETERS: [&str; 5] = ["theta", "phi", "T", "Re beta", "Im beta"];

/// What the bound depends on, beside the transmit covariance.
#[derive(Debug, Clone)]
pub struct BoundModel {
    /// Derivatives of H_0 e^{−jkR} are A_i + k B_i with the wavenumber k = w/c: (A_i, B_i) per parameter.
    derivatives: Vec<(DMatrix<Complex64>, DMatrix<Complex64>)>,
    symbols: f64,
    /// Σ k and Σ k² over the frequencies, in 1/m and 1/m².
    sums: [f64; 2],
    noise_power_w: f64,
    /// Rows: ∂θ/∂(x, y), ∂φ/∂(x, y), ∂R/∂(x, y) with the path R in metres.
    jacobian: [[f64; 2]; 3],
    /// 1/(c σ_Δ)².
    prior: f64,
}

/// A parameter that the echo says nothing about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Fisher information is singular: {0} cannot be identified with these weights")]
pub struct Unidentifiable(pub &'static str);

/// The Fisher information of one transmit covariance.
#[derive(Debug, Clone)]
pub struct FisherInformation {
    /// Data only, in (θ, φ, R[, Re β, Im β]).
    data: DMatrix<f64>,
    /// Data and prior, in (x, y, R[, Re β, Im β]).
    position: DMatrix<f64>,
}

impl BoundModel {
    /// The model of a scene for a target believed at `target` and a window of `symbols` symbols.
    pub fn new(scene: &Scene, target: Point, symbols: usize) -> Self {
        let geometry = &scene.geometry;
        let (theta, phi) =
            (direction_rad(geometry.transmitter, target), direction_rad(geometry.sensing_receiver, target));
        let spacing = scene.array.spacing_wavelengths;
        let departure = steering_vector(scene.array.transmit_antennas, spacing, theta);
        let arrival = steering_vector(scene.array.receive_antennas, spacing, phi);
        let slope = |vector: &DVector<Complex64>, angle: f64| {
            let step = std::f64::consts::TAU * spacing * angle.cos();
            DVector::from_fn(vector.len(), |n, _| Complex64::new(0.0, step * n as f64) * vector[n])
        };
        let (departure_slope, arrival_slope) = (slope(&departure, theta), slope(&arrival, phi));
        let j = Complex64::i();
        let beta = Complex64::from(scene.channel.reflection_coefficient);
        let unit = &arrival * departure.adjoint();
        let none = DMatrix::zeros(unit.nrows(), unit.ncols());
        let mut derivatives = vec![
            (&arrival * departure_slope.adjoint() * beta, none.clone()),
            (&arrival_slope * departure.adjoint() * beta, none.clone()),
            (none.clone(), &unit * (-j * beta)),
        ];
        if scene.model.reflectivity == Reflectivity::Unknown {
            derivatives.push((unit.clone(), none.clone()));
            derivatives.push((&unit * j, none));
        }
        let step = std::f64::consts::TAU / (symbols as f64 * scene.symbol_period_s() * SPEED_OF_LIGHT_M_S);
        let index = |k: usize| match scene.model.frequencies {
            Frequencies::Centered if 2 * k >= symbols => k as f64 - symbols as f64,
            _ => k as f64,
        };
        let sums = (0..symbols).fold([0.0, 0.0], |[first, second], k| {
            let wavenumber = step * index(k);
            [first + wavenumber, second + wavenumber * wavenumber]
        });
        let (out, back) = (distance_m(geometry.transmitter, target), distance_m(geometry.sensing_receiver, target));
        Self {
            derivatives,
            symbols: symbols as f64,
            sums,
            noise_power_w: dbm_to_w(scene.channel.sensing_noise_dbm),
            jacobian: [
                [-theta.sin() / out, theta.cos() / out],
                [-phi.sin() / back, phi.cos() / back],
                [theta.cos() + phi.cos(), theta.sin() + phi.sin()],
            ],
            prior: (SPEED_OF_LIGHT_M_S * scene.channel.timing_error_std_s).powi(-2),
        }
    }

    /// Number of parameters: 3, or 5 where β_0 is unknown.
    pub fn parameters(&self) -> usize {
        self.derivatives.len()
    }

    /// The Fisher information of a transmit covariance: linear in it, but for the prior.
    pub fn information(&self, covariance: &DMatrix<Complex64>) -> FisherInformation {
        let data = self.data(covariance);
        FisherInformation { position: self.in_position(&data, self.prior), data }
    }

    /// The same for a pair of beams.
    pub fn of_beams(&self, beams: &Beams) -> FisherInformation {
        self.information(&(&beams.w_c * beams.w_c.adjoint() + &beams.w_0 * beams.w_0.adjoint()))
    }

    /// J_ij = (2/σ²) Re Tr(ζ_ij Σ).
    fn data(&self, covariance: &DMatrix<Complex64>) -> DMatrix<f64> {
        let count = self.parameters();
        let [first, second] = self.sums;
        let moved: Vec<_> = self.derivatives.iter().map(|(a, b)| (a * covariance, b * covariance)).collect();
        let product = |left: &DMatrix<Complex64>, right: &DMatrix<Complex64>| -> f64 {
            left.iter().zip(right.iter()).map(|(l, r)| (l.conj() * r).re).sum()
        };
        DMatrix::from_fn(count, count, |i, k| {
            let ((a_i, b_i), (a_k, b_k)) = (&self.derivatives[i], &moved[k]);
            let sum = self.symbols * product(a_i, a_k)
                + first * (product(a_i, b_k) + product(b_i, a_k))
                + second * product(b_i, b_k);
            2.0 / self.noise_power_w * sum
        })
    }

    /// From (θ, φ, R, …) with the prior on R − R(x, y) to (x, y, R, …).
    fn in_position(&self, data: &DMatrix<f64>, prior: f64) -> DMatrix<f64> {
        let count = self.parameters();
        let mut change = DMatrix::identity(count, count);
        for row in 0..2 {
            for column in 0..2 {
                change[(row, column)] = self.jacobian[row][column];
            }
        }
        let mut information = change.transpose() * data * &change;
        let direction = DVector::from_fn(count, |index, _| match index {
            0 | 1 => -self.jacobian[2][index],
            2 => 1.0,
            _ => 0.0,
        });
        information += &direction * direction.transpose() * prior;
        information
    }

    /// The linear part of the information in position coordinates.
    pub(super) fn linear_part(&self, covariance: &DMatrix<Complex64>) -> DMatrix<f64> {
        self.in_position(&self.data(covariance), 0.0)
    }

    /// The constant part: the prior in position coordinates.
    pub(super) fn prior_part(&self) -> DMatrix<f64> {
        self.in_position(&DMatrix::zeros(self.parameters(), self.parameters()), self.prior)
    }

    /// The matrix of θ, φ, T[, Re β, Im β] in rad and s, data and prior, as `issc hcrb` prints it.
    pub fn in_angles(&self, information: &FisherInformation) -> Option<DMatrix<f64>> {
        let jacobian = Matrix2::new(self.jacobian[0][0], self.jacobian[0][1], self.jacobian[1][0], self.jacobian[1][1]);
        let inverse = jacobian.try_inverse()?;
        let count = self.parameters();
        let slope = nalgebra::RowVector2::new(self.jacobian[2][0], self.jacobian[2][1]) * inverse;
        let direction = DVector::from_fn(count, |index, _| match index {
            0 | 1 => -slope[index],
            2 => 1.0,
            _ => 0.0,
        });
        let mut matrix = &information.data + &direction * direction.transpose() * self.prior;
        for index in 0..count {
            matrix[(2, index)] *= SPEED_OF_LIGHT_M_S;
            matrix[(index, 2)] *= SPEED_OF_LIGHT_M_S;
        }
        Some(matrix)
    }
}

impl FisherInformation {
    /// Covariance bound of the position in m² (eq. 13).
    pub fn position_covariance(&self) -> Result<Matrix2<f64>, Unidentifiable> {
        let inverse = invert(&self.position).map_err(|index| Unidentifiable(PARAMETERS[index]))?;
        Ok(inverse.fixed_view::<2, 2>(0, 0).into_owned())
    }

    /// Trace of the bound in m².
    pub fn trace_m2(&self) -> Result<f64, Unidentifiable> {
        self.position_covariance().map(|covariance| covariance.trace())
    }
}

/// Smallest share of a parameter's information that must be its own.
const SINGULAR: f64 = 1e-11;

/// Inverse of a symmetric positive definite matrix after equilibration; the index of a dependent parameter otherwise.
pub(super) fn invert(matrix: &DMatrix<f64>) -> Result<DMatrix<f64>, usize> {
    let count = matrix.nrows();
    if let Some(index) = (0..count).find(|index| matrix[(*index, *index)].is_nan() || matrix[(*index, *index)] <= 0.0) {
        return Err(index);
    }
    let scale = DVector::from_fn(count, |index, _| matrix[(index, index)].sqrt().recip());
    let scaled = DMatrix::from_fn(count, count, |i, k| scale[i] * matrix[(i, k)] * scale[k]);
    // Cholesky by hand, to know which pivot fails.
    let mut lower = DMatrix::<f64>::zeros(count, count);
    for i in 0..count {
        for k in 0..=i {
            let sum: f64 = (0..k).map(|m| lower[(i, m)] * lower[(k, m)]).sum();
            let rest = scaled[(i, k)] - sum;
            if i == k {
                if rest.is_nan() || rest < SINGULAR {
                    return Err(i);
                }
                lower[(i, i)] = rest.sqrt();
            } else {
                lower[(i, k)] = rest / lower[(k, k)];
            }
        }
    }
    let half = lower.solve_lower_triangular(&DMatrix::identity(count, count)).ok_or(0usize)?;
    let inverse = half.transpose() * half;
    Ok(DMatrix::from_fn(count, count, |i, k| scale[i] * inverse[(i, k)] * scale[k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(reflectivity: Reflectivity, frequencies: Frequencies) -> Scene {
        let mut scene = Scene::paper();
        scene.model = crate::scene::Model { reflectivity, frequencies };
        scene
    }

    #[test]
    fn the_reference_values_come_out_to_five_digits() {
        for (reflectivity, frequencies, expected) in [
            (Reflectivity::Known, Frequencies::OneSided, 1.95848e-5),
            (Reflectivity::Known, Frequencies::Centered, 9.41092e-6),
            (Reflectivity::Unknown, Frequencies::OneSided, 3.52153e-5),
            (Reflectivity::Unknown, Frequencies::Centered, 3.52153e-5),
        ] {
            let scene = scene(reflectivity, frequencies);
            let model = BoundModel::new(&scene, scene.geometry.target, 1024);
            let covariance = DMatrix::identity(4, 4) * Complex64::from(1e-3 / 4.0);
            let trace = model.information(&covariance).trace_m2().unwrap();
            assert!((trace / expected - 1.0).abs() < 5e-6, "{reflectivity:?} {frequencies:?}: {trace:e}");
        }
    }

    /// Expectation of the echo for white orthogonal sequences: column `m` of Σ^{1/2} at every frequency.
    fn expectation(scene: &Scene, root: &DMatrix<Complex64>, parameters: &[f64]) -> Vec<Complex64> {
        let symbols = 64;
        let beta = match parameters.get(3..5) {
            Some(beta) => Complex64::new(beta[0], beta[1]),
            None => Complex64::from(scene.channel.reflection_coefficient),
        };
        let spacing = scene.array.spacing_wavelengths;
        let departure = steering_vector(scene.array.transmit_antennas, spacing, parameters[0]);
        let arrival = steering_vector(scene.array.receive_antennas, spacing, parameters[1]);
        let channel = &arrival * departure.adjoint() * beta * root;
        (0..symbols)
            .flat_map(|k| {
                let index = if 2 * k >= symbols { k as f64 - symbols as f64 } else { k as f64 };
                let wavenumber =
                    std::f64::consts::TAU * index / (symbols as f64 * scene.symbol_period_s() * SPEED_OF_LIGHT_M_S);
                let turned = &channel * Complex64::cis(-wavenumber * parameters[2]);
                turned.iter().copied().collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn the_information_is_that_of_central_differences() {
        for reflectivity in [Reflectivity::Known, Reflectivity::Unknown] {
            let scene = scene(reflectivity, Frequencies::Centered);
            let root = DMatrix::from_fn(4, 4, |i, k| {
                Complex64::new(0.01 + 0.003 * i as f64 - 0.002 * k as f64, 0.004 * (i as f64 - 1.5) * k as f64)
            });
            let target = scene.geometry.target;
            let model = BoundModel::new(&scene, target, 64);
            let information = model.information(&(&root * root.adjoint()));
            let (theta, phi) = (
                direction_rad(scene.geometry.transmitter, target),
                direction_rad(scene.geometry.sensing_receiver, target),
            );
            let mut point = vec![theta, phi, 211.8];
            let mut steps = vec![1e-5, 1e-5, 1e-4];
            if reflectivity == Reflectivity::Unknown {
                point.extend([0.6, 0.0]);
                steps.extend([1e-5, 1e-5]);
            }
            let difference = |index: usize| -> Vec<Complex64> {
                let at = |factor: f64| {
                    let mut moved = point.clone();
                    moved[index] += factor * steps[index];
                    expectation(&scene, &root, &moved)
                };
                // Fourth-order central differences.
                let (p1, m1, p2, m2) = (at(1.0), at(-1.0), at(2.0), at(-2.0));
                (0..p1.len()).map(|n| (8.0 * (p1[n] - m1[n]) - (p2[n] - m2[n])) / (12.0 * steps[index])).collect()
            };
            let differences: Vec<_> = (0..point.len()).map(difference).collect();
            let noise = dbm_to_w(scene.channel.sensing_noise_dbm);
            for i in 0..point.len() {
                for k in 0..point.len() {
                    let product: Complex64 =
                        differences[i].iter().zip(&differences[k]).map(|(a, b)| a.conj() * b).sum();
                    let expected = 2.0 / noise * product.re;
                    let scale = (information.data[(i, i)] * information.data[(k, k)]).sqrt();
                    assert!((information.data[(i, k)] - expected).abs() < 1e-6 * scale, "{reflectivity:?} {i} {k}");
                }
            }
        }
    }

    #[test]
    fn one_beam_leaves_only_the_delay_prior_and_one_receive_antenna_leaves_nothing() {
        let mut scene = scene(Reflectivity::Unknown, Frequencies::Centered);
        let beams = Beams { w_c: DVector::from_element(4, Complex64::from(0.01)), w_0: DVector::zeros(4) };
        let trace = |scene: &Scene| BoundModel::new(scene, scene.geometry.target, 1024).of_beams(&beams).trace_m2();
        // θ then follows from φ and a path known to 30 m: metres, not millimetres.
        assert!(trace(&scene).unwrap() > 10.0);
        scene.array.receive_antennas = 1;
        assert!(trace(&scene).is_err());
    }
}
