//! Fisher information of the echo and the hybrid Cramér–Rao bound on the position (eqs. 8–13).
//!
//! The parameters are (θ, φ, T) and, where β_0 is unknown, (Re β_0, Im β_0); T = τ + Δτ. Inside, delays are metres (cT),
//! because in seconds the entries span twenty decades. Every derivative of H_0 e^{−jkR} (k the wavenumber w/c) is a
//! product r tᴴ of a receive and a transmit vector, so Σ enters only through α(θ)ᴴΣα(θ), α'(θ)ᴴΣα'(θ) and
//! α(θ)ᴴΣα'(θ): four real numbers, the *moments*, however many antennas there are.

use nalgebra::{DMatrix, DVector, Matrix2, Matrix5, Vector4};
use num_complex::Complex64;

use super::BelievedTarget;
use super::linear::{cholesky, invert};
use crate::array::{Beams, direction_rad, distance_m, steering_vector};
use crate::scene::{Frequencies, Point, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, dbm_to_w};

/// Names of the parameters in their order.
const PARAMETERS: [&str; 5] = ["theta", "phi", "T", "Re beta", "Im beta"];

/// The order in which identifiability is tested: nuisance first, so that an angle is named before what hides it.
const TEST_ORDER: [usize; 5] = [3, 4, 2, 1, 0];

/// Smallest share of a parameter's information that must be its own.
const SINGULAR: f64 = 1e-12;

/// A clock that is known exactly is known to that.
const KNOWN_CLOCK_S: f64 = 1e-14;

/// The information as a linear function of the moments, in one gauge of the nuisance parameters.
#[derive(Debug, Clone)]
struct Form {
    /// α(θ) and its derivative.
    departure: [DVector<Complex64>; 2],
    /// Information in (θ, φ, R, Re β, Im β) per unit of each moment.
    terms: [Matrix5<f64>; 4],
}

/// What the bound depends on, beside the transmit covariance.
#[derive(Debug, Clone)]
pub struct BoundModel {
    parameters: usize,
    /// As the parameters are defined.
    plain: Form,
    /// Where β_0 is unknown it absorbs the mean wavenumber and the arrays' mean phase: the same bound, well conditioned.
    gauged: Form,
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
    /// Data only, in (θ, φ, R, Re β, Im β) as defined.
    data: Matrix5<f64>,
    /// Data only, in the gauge that conditions it; a unit diagonal stands for parameters that are known.
    gauged: Matrix5<f64>,
    /// Data only, in (x, y, R, Re β, Im β) and that gauge.
    echo: Matrix5<f64>,
    /// The same with the prior.
    position: Matrix5<f64>,
}

impl BoundModel {
    /// The model of a scene for a target believed at `target` and a window of `symbols` symbols.
    pub fn new(scene: &Scene, target: Point, symbols: usize) -> Self {
        let reflection_coefficient = scene.channel.reflection_coefficient;
        Self::of_target(scene, &BelievedTarget { position: target, reflection_coefficient }, symbols)
    }

    /// The same for a target with a reflection coefficient of its own.
    pub fn of_target(scene: &Scene, target: &BelievedTarget, symbols: usize) -> Self {
        let BelievedTarget { position: target, reflection_coefficient: beta } = *target;
        let geometry = &scene.geometry;
        let theta = direction_rad(geometry.transmitter, target);
        let phi = direction_rad(geometry.sensing_receiver, target);
        let spacing = scene.array.spacing_wavelengths;
        let departure = with_slope(scene.array.transmit_antennas, spacing, theta);
        let arrival = with_slope(scene.array.receive_antennas, spacing, phi);
        let unknown = scene.model.reflectivity == Reflectivity::Unknown;
        let sums = wavenumber_sums(scene, symbols);
        let noise_power_w = dbm_to_w(scene.channel.sensing_noise_dbm);
        let plain = Form::new(departure.clone(), &arrival, sums, beta, noise_power_w, unknown);
        let gauged = if unknown {
            let [count, first, second] = sums;
            let centred = [count, 0.0, second - first * first / count];
            Form::new(orthogonal(departure), &orthogonal(arrival), centred, beta, noise_power_w, true)
        } else {
            plain.clone()
        };
        let (out, back) = (distance_m(geometry.transmitter, target), distance_m(geometry.sensing_receiver, target));
        Self {
            parameters: if unknown { 5 } else { 3 },
            plain,
            gauged,
            jacobian: [
                [-theta.sin() / out, theta.cos() / out],
                [-phi.sin() / back, phi.cos() / back],
                [theta.cos() + phi.cos(), theta.sin() + phi.sin()],
            ],
            prior: (SPEED_OF_LIGHT_M_S * scene.channel.timing_error_std_s.max(KNOWN_CLOCK_S)).powi(-2),
        }
    }

    /// The same for `frames` frames that share target, β_0 and timing error: the echo tells as much more, the prior counts
    /// once.
    pub fn over_frames(mut self, frames: usize) -> Self {
        for form in [&mut self.plain, &mut self.gauged] {
            form.terms.iter_mut().for_each(|term| *term *= frames as f64);
        }
        self
    }

    /// Number of parameters: 3, or 5 where β_0 is unknown.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The Fisher information of a transmit covariance: linear in it, but for the prior.
    pub fn information(&self, covariance: &DMatrix<Complex64>) -> FisherInformation {
        self.assemble(|form| {
            let [alpha, slope] = &form.departure;
            let image = covariance * slope;
            let cross = alpha.dotc(&image);
            Vector4::new(alpha.dotc(&(covariance * alpha)).re, slope.dotc(&image).re, cross.re, cross.im)
        })
    }

    /// The same for a pair of beams.
    pub fn of_beams(&self, beams: &Beams) -> FisherInformation {
        self.assemble(|form| {
            let [alpha, slope] = &form.departure;
            let mut moments = Vector4::zeros();
            for beam in [&beams.w_c, &beams.w_0] {
                let (along, across) = (alpha.dotc(beam), slope.dotc(beam));
                let cross = along * across.conj();
                moments += Vector4::new(along.norm_sqr(), across.norm_sqr(), cross.re, cross.im);
            }
            moments
        })
    }

    fn assemble(&self, moments: impl Fn(&Form) -> Vector4<f64>) -> FisherInformation {
        let gauged = self.gauged.data(&moments(&self.gauged));
        let echo = self.in_position(&gauged);
        let position = echo + self.prior_part();
        let mut information =
            FisherInformation { data: self.plain.data(&moments(&self.plain)), gauged, echo, position };
        for index in self.parameters..5 {
            information.gauged[(index, index)] = 1.0;
        }
        information
    }

    /// From (θ, φ, R, …) to (x, y, R, …).
    fn in_position(&self, data: &Matrix5<f64>) -> Matrix5<f64> {
        let mut change = Matrix5::identity();
        for row in 0..2 {
            for column in 0..2 {
                change[(row, column)] = self.jacobian[row][column];
            }
        }
        change.transpose() * data * change
    }

    /// α(θ) and its derivative, in the gauge of [`Self::linear_parts`].
    pub(super) fn departure(&self) -> &[DVector<Complex64>; 2] {
        &self.gauged.departure
    }

    /// Information in (x, y, R, …) per unit of the moments of [`Self::departure`].
    pub(super) fn linear_parts(&self) -> [Matrix5<f64>; 4] {
        self.gauged.terms.map(|term| self.in_position(&term))
    }

    /// The part that does not depend on Σ: the prior of Δτ = T − τ(x, y), and units for parameters that are known.
    pub(super) fn prior_part(&self) -> Matrix5<f64> {
        let direction = nalgebra::Vector5::new(-self.jacobian[2][0], -self.jacobian[2][1], 1.0, 0.0, 0.0);
        let mut prior = direction * direction.transpose() * self.prior;
        for index in self.parameters..5 {
            prior[(index, index)] = 1.0;
        }
        prior
    }

    /// The matrix of θ, φ, T[, Re β, Im β] in rad and s, data and prior, as `issc hcrb` prints it; `None` where target,
    /// transmitter and sensing receiver stand in line, so that no delay follows from the angles.
    pub fn in_angles(&self, information: &FisherInformation) -> Option<DMatrix<f64>> {
        let jacobian = Matrix2::new(self.jacobian[0][0], self.jacobian[0][1], self.jacobian[1][0], self.jacobian[1][1]);
        let slope = nalgebra::RowVector2::new(self.jacobian[2][0], self.jacobian[2][1]) * jacobian.try_inverse()?;
        let direction = nalgebra::Vector5::new(-slope[0], -slope[1], 1.0, 0.0, 0.0);
        let mut matrix = information.data + direction * direction.transpose() * self.prior;
        for index in 0..5 {
            matrix[(2, index)] *= SPEED_OF_LIGHT_M_S;
            matrix[(index, 2)] *= SPEED_OF_LIGHT_M_S;
        }
        Some(DMatrix::from_fn(self.parameters, self.parameters, |i, k| matrix[(i, k)]))
    }
}

impl Form {
    /// `sums` are Σ 1, Σ k and Σ k² over the wavenumbers.
    fn new(
        departure: [DVector<Complex64>; 2],
        arrival: &[DVector<Complex64>; 2],
        sums: [f64; 3],
        beta: f64,
        noise_power_w: f64,
        unknown: bool,
    ) -> Self {
        let (one, j) = (Complex64::from(1.0), Complex64::i());
        // Derivatives as factor · r tᴴ · k^power: (factor, which r, which t, power).
        let derivatives =
            [(one * beta, 0, 1, 0), (one * beta, 1, 0, 0), (-j * beta, 0, 0, 1), (one, 0, 0, 0), (j, 0, 0, 0)];
        let count = if unknown { 5 } else { 3 };
        let mut terms = [Matrix5::zeros(); 4];
        for i in 0..count {
            for k in 0..count {
                let ((f_i, r_i, t_i, p_i), (f_k, r_k, t_k, p_k)) = (derivatives[i], derivatives[k]);
                // Tr(X_iᴴ X_k Σ) = conj(f_i) f_k (r_iᴴ r_k) (t_kᴴ Σ t_i).
                let scale = 2.0 / noise_power_w * sums[p_i + p_k];
                let factor = f_i.conj() * f_k * arrival[r_i].dotc(&arrival[r_k]) * scale;
                match (t_k, t_i) {
                    (0, 0) => terms[0][(i, k)] = factor.re,
                    (1, 1) => terms[1][(i, k)] = factor.re,
                    (0, 1) => (terms[2][(i, k)], terms[3][(i, k)]) = (factor.re, -factor.im),
                    _ => (terms[2][(i, k)], terms[3][(i, k)]) = (factor.re, factor.im),
                }
            }
        }
        Self { departure, terms }
    }

    fn data(&self, moments: &Vector4<f64>) -> Matrix5<f64> {
        self.terms.iter().zip(moments.iter()).fold(Matrix5::zeros(), |sum, (term, moment)| sum + term * *moment)
    }
}

/// α(angle) and its derivative.
fn with_slope(elements: usize, spacing: f64, angle_rad: f64) -> [DVector<Complex64>; 2] {
    let alpha = steering_vector(elements, spacing, angle_rad);
    let step = std::f64::consts::TAU * spacing * angle_rad.cos();
    let slope = DVector::from_fn(elements, |n, _| Complex64::new(0.0, step * n as f64) * alpha[n]);
    [alpha, slope]
}

/// The derivative's component orthogonal to the steering vector.
fn orthogonal([alpha, slope]: [DVector<Complex64>; 2]) -> [DVector<Complex64>; 2] {
    let share = alpha.dotc(&slope) / alpha.norm_squared();
    let rest = slope - &alpha * share;
    [alpha, rest]
}

/// Σ 1, Σ k and Σ k² over the wavenumbers k = w/c of a window's DFT bins.
fn wavenumber_sums(scene: &Scene, symbols: usize) -> [f64; 3] {
    let step = std::f64::consts::TAU / (symbols as f64 * scene.symbol_period_s() * SPEED_OF_LIGHT_M_S);
    let index = |k: usize| match scene.model.frequencies {
        Frequencies::Centered if 2 * k >= symbols => k as f64 - symbols as f64,
        _ => k as f64,
    };
    (0..symbols).fold([0.0; 3], |[count, first, second], k| {
        let wavenumber = step * index(k);
        [count + 1.0, first + wavenumber, second + wavenumber * wavenumber]
    })
}

impl FisherInformation {
    /// Covariance bound of the position in m² (eq. 13). An angle must follow from the echo itself: where only the delay's
    /// prior would tell it, it counts as not identified.
    pub fn position_covariance(&self) -> Result<Matrix2<f64>, Unidentifiable> {
        let ordered = Matrix5::from_fn(|i, k| self.gauged[(TEST_ORDER[i], TEST_ORDER[k])]);
        let name = |index: usize| Unidentifiable(PARAMETERS[index]);
        cholesky(&ordered, SINGULAR).map_err(|index| name(TEST_ORDER[index]))?;
        let inverse = invert(&self.position, SINGULAR).map_err(name)?;
        Ok(inverse.fixed_view::<2, 2>(0, 0).into_owned())
    }

    /// Covariance bound of the position in m² where several receivers hear echoes of the same target and beams, one
    /// information each. Every receiver has a timing error and a reflection coefficient of its own, so that what each one
    /// tells of (x, y), its other parameters eliminated, adds up. As for one receiver, both coordinates must follow from
    /// the echoes themselves: where only the delays' priors would tell them, they are not identified.
    pub fn joint_position_covariance(receivers: &[Self]) -> Result<Matrix2<f64>, Unidentifiable> {
        let sum = |part: fn(&Self) -> &Matrix5<f64>| -> Matrix2<f64> {
            receivers.iter().map(|receiver| of_position(part(receiver))).sum()
        };
        let name = |index: usize| Unidentifiable(["x", "y"][index]);
        invert(&sum(|receiver| &receiver.echo), SINGULAR).map_err(name)?;
        invert(&sum(|receiver| &receiver.position), SINGULAR).map_err(name)
    }

    /// Trace of the bound in m².
    pub fn trace_m2(&self) -> Result<f64, Unidentifiable> {
        self.position_covariance().map(|covariance| covariance.trace())
    }
}

/// What an information in (x, y, R, Re β, Im β) tells of (x, y): the Schur complement. Parameters that nothing is told of
/// are left out, for their rows are zero.
fn of_position(information: &Matrix5<f64>) -> Matrix2<f64> {
    let mut rest = information.fixed_view::<3, 3>(2, 2).into_owned();
    for index in 0..3 {
        if rest[(index, index)] <= 0.0 {
            rest[(index, index)] = 1.0;
        }
    }
    let Ok(inverse) = invert(&rest, SINGULAR) else { return Matrix2::zeros() };
    let cross = information.fixed_view::<2, 3>(0, 2).into_owned();
    information.fixed_view::<2, 2>(0, 0) - cross * inverse * cross.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(reflectivity: Reflectivity, frequencies: Frequencies) -> Scene {
        let mut scene = Scene::paper();
        scene.model = crate::scene::Model { reflectivity, frequencies, ..scene.model };
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
                let wraps = scene.model.frequencies == Frequencies::Centered && 2 * k >= symbols;
                let index = if wraps { k as f64 - symbols as f64 } else { k as f64 };
                let wavenumber =
                    std::f64::consts::TAU * index / (symbols as f64 * scene.symbol_period_s() * SPEED_OF_LIGHT_M_S);
                let turned = &channel * Complex64::cis(-wavenumber * parameters[2]);
                turned.iter().copied().collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn the_information_is_that_of_central_differences() {
        let cases = [
            (Reflectivity::Known, Frequencies::Centered, [4, 4]),
            (Reflectivity::Known, Frequencies::OneSided, [5, 3]),
            (Reflectivity::Unknown, Frequencies::Centered, [3, 5]),
            (Reflectivity::Unknown, Frequencies::OneSided, [4, 4]),
        ];
        for (reflectivity, frequencies, [transmit, receive]) in cases {
            let mut scene = scene(reflectivity, frequencies);
            (scene.array.transmit_antennas, scene.array.receive_antennas) = (transmit, receive);
            let root = DMatrix::from_fn(transmit, transmit, |i, k| {
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
    fn one_beam_or_one_antenna_leaves_an_angle_unidentified_and_it_is_named() {
        let mut scene = scene(Reflectivity::Unknown, Frequencies::Centered);
        let mut beams = Beams { w_c: DVector::from_element(4, Complex64::from(0.01)), w_0: DVector::zeros(4) };
        let trace = |scene: &Scene, beams: &Beams| {
            BoundModel::new(scene, scene.geometry.target, 1024).of_beams(beams).trace_m2()
        };
        assert_eq!(trace(&scene, &beams), Err(Unidentifiable("theta")));
        beams.w_0[1] = Complex64::from(0.003);
        assert!(trace(&scene, &beams).is_ok());
        scene.array.receive_antennas = 1;
        assert_eq!(trace(&scene, &beams), Err(Unidentifiable("phi")));
    }

    #[test]
    fn beams_and_their_covariance_give_the_same_information_and_angles_the_same_bound_as_positions() {
        for reflectivity in [Reflectivity::Known, Reflectivity::Unknown] {
            let scene = scene(reflectivity, Frequencies::OneSided);
            let model = BoundModel::new(&scene, scene.geometry.target, 1024);
            let beam = |a: f64| DVector::from_fn(4, |n, _| Complex64::new(0.01 * (n as f64 * a).cos(), 0.004 * a));
            let beams = Beams { w_c: beam(0.4), w_0: beam(1.3) };
            let covariance = &beams.w_c * beams.w_c.adjoint() + &beams.w_0 * beams.w_0.adjoint();
            let information = model.of_beams(&beams);
            let trace = information.trace_m2().unwrap();
            assert!((model.information(&covariance).trace_m2().unwrap() / trace - 1.0).abs() < 1e-9);
            // The matrix as printed, in seconds and without a gauge, inverted after equilibration.
            let angles = model.in_angles(&information).unwrap();
            let scale = angles.diagonal().map(|x| x.sqrt().recip());
            let scaled = DMatrix::from_fn(angles.nrows(), angles.nrows(), |i, k| scale[i] * angles[(i, k)] * scale[k]);
            let inverse = scaled.try_inverse().unwrap();
            let block = Matrix2::from_fn(|i, k| scale[i] * inverse[(i, k)] * scale[k]);
            let jacobian = Matrix2::from_fn(|i, k| model.jacobian[i][k]).try_inverse().unwrap();
            let covariance = jacobian * block * jacobian.transpose();
            assert!((covariance.trace() / trace - 1.0).abs() < 1e-6, "{reflectivity:?}");
        }
    }

    /// A sensing receiver here, and beams that tell it everything.
    fn seen_from(x: f64, y: f64, reflectivity: Reflectivity) -> FisherInformation {
        let mut scene = scene(reflectivity, Frequencies::Centered);
        scene.geometry.sensing_receiver = [x, y];
        let beam = |a: f64| DVector::from_fn(4, |n, _| Complex64::new(0.01 * (n as f64 * a).cos(), 0.004 * a));
        BoundModel::new(&scene, scene.geometry.target, 1024).of_beams(&Beams { w_c: beam(0.4), w_0: beam(1.3) })
    }

    #[test]
    fn the_joint_bound_is_that_of_one_large_information_with_nuisance_parameters_of_each_receiver() {
        for reflectivity in [Reflectivity::Known, Reflectivity::Unknown] {
            let receivers = [
                seen_from(0.0, 40.0, reflectivity),
                seen_from(10.0, -30.0, reflectivity),
                seen_from(-5.0, 90.0, reflectivity),
            ];
            let mut large = DMatrix::<f64>::zeros(11, 11);
            for (n, receiver) in receivers.iter().enumerate() {
                let place = |index: usize| if index < 2 { index } else { 2 + 3 * n + index - 2 };
                for i in 0..5 {
                    for k in 0..5 {
                        large[(place(i), place(k))] += receiver.position[(i, k)];
                    }
                }
            }
            let scale = large.diagonal().map(|entry| entry.sqrt().recip());
            let inverse = DMatrix::from_fn(11, 11, |i, k| scale[i] * large[(i, k)] * scale[k]).try_inverse().unwrap();
            let joint = FisherInformation::joint_position_covariance(&receivers).unwrap();
            for i in 0..2 {
                for k in 0..2 {
                    let expected = scale[i] * inverse[(i, k)] * scale[k];
                    assert!((joint[(i, k)] - expected).abs() < 1e-7 * joint.trace(), "{reflectivity:?} {i} {k}");
                }
            }
            assert!(receivers.iter().all(|receiver| joint.trace() < receiver.trace_m2().unwrap()));
        }
    }

    #[test]
    fn the_same_receiver_twice_halves_the_covariance_and_once_leaves_it() {
        let one = seen_from(0.0, 40.0, Reflectivity::Unknown);
        let alone = one.position_covariance().unwrap();
        for count in [1, 2] {
            let joint = FisherInformation::joint_position_covariance(&vec![one.clone(); count]).unwrap();
            assert!((joint * count as f64 - alone).amax() < 1e-9 * alone.amax(), "{count}");
        }
        // A receiver that hears nothing adds nothing, and alone knows nothing.
        let mut deaf = one.clone();
        (deaf.gauged, deaf.echo, deaf.position) = (Matrix5::zeros(), Matrix5::zeros(), Matrix5::zeros());
        assert!(FisherInformation::joint_position_covariance(&[deaf.clone()]).is_err());
        let joint = FisherInformation::joint_position_covariance(&[one, deaf]).unwrap();
        assert!((joint - alone).amax() < 1e-9 * alone.amax());
    }
}
