//! The log-likelihood ℓ(u, v, T) of one echo, concentrated on the noise-free response, with gradient and Hessian.
//!
//! With h_u(θ) = α(θ)ᴴw_u, c = Σ_r a_r(φ)* Σ_u h_u* C_ru(T), q = Σ_uv h_u h_v* Q_uv and ν the noise variance of a bin:
//! ℓ = |c|²/(ν N_R q) where β_0 is unknown (it is c/(N_R q) at the maximum), and ℓ = (2 Re(β_0* c) − |β_0|² N_R q)/ν
//! where it is known. Constants that no parameter changes are left out.

use std::f64::consts::TAU;

use nalgebra::{DVector, Matrix3, Vector3};
use num_complex::Complex64;

use super::spectrum::{Correlations, Gram, ORDERS};
use super::{Reflection, STREAMS};

/// A value with its derivatives by one variable: orders 0, 1, 2.
type Jet = [Complex64; 3];

/// Points (u, v) = (sin θ, sin φ) and the delay's distance from the instant at which the correlations were taken.
pub(super) type Parameters = Vector3<f64>;

/// ℓ with its derivatives by (u, v, T).
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub log_likelihood: f64,
    pub gradient: Vector3<f64>,
    pub hessian: Matrix3<f64>,
    /// The estimate of β_0 that belongs to it, or the known one.
    pub reflection: Complex64,
}

/// Everything ℓ depends on.
pub(super) struct Likelihood<'a> {
    pub correlations: &'a Correlations,
    pub gram: Gram,
    pub beams: &'a [Vec<Complex64>; STREAMS],
    /// 2π d_a/λ.
    pub wavenumber: f64,
    /// ν, as it shows in the sum of all rows.
    pub noise_variance: f64,
    /// What the noise of the rows' differences has less than that of their sum: the information on sin φ is as many times
    /// larger.
    pub arrival_part: f64,
    /// Variances of the displacement of sin θ and of sin φ that errors of the arrays make which the frame itself shows.
    pub displaced: [f64; 2],
    pub reflection: Reflection,
}

/// h_u and its derivatives by u = sin θ.
pub(super) fn beam_jets(beams: &[Vec<Complex64>; STREAMS], wavenumber: f64, u: f64) -> [Jet; STREAMS] {
    let step = Complex64::cis(-wavenumber * u);
    let mut jets = [[Complex64::ZERO; 3]; STREAMS];
    let mut phase = Complex64::ONE;
    for n in 0..beams[0].len() {
        let slope = -wavenumber * n as f64;
        for (jet, beam) in jets.iter_mut().zip(beams) {
            let term = beam[n] * phase;
            jet[0] += term;
            jet[1] += Complex64::new(-slope * term.im, slope * term.re);
            jet[2] -= term * (slope * slope);
        }
        phase *= step;
    }
    jets
}

/// q = Σ h_u h_v* Q_uv and its derivatives by u.
pub(super) fn illumination(gram: &Gram, [h, g]: &[Jet; STREAMS]) -> [f64; 3] {
    let power =
        |a: &Jet| [a[0].norm_sqr(), 2.0 * (a[1] * a[0].conj()).re, 2.0 * ((a[2] * a[0].conj()).re + a[1].norm_sqr())];
    let (p, s) = (power(h), power(g));
    let cross = [
        h[0] * g[0].conj(),
        h[1] * g[0].conj() + h[0] * g[1].conj(),
        h[2] * g[0].conj() + 2.0 * h[1] * g[1].conj() + h[0] * g[2].conj(),
    ];
    std::array::from_fn(|i| gram.semantic * p[i] + gram.sensing * s[i] + 2.0 * (gram.cross * cross[i]).re)
}

/// ℓ as a function of c and q alone, with its first two derivatives by one variable that moves both.
pub(super) fn profile(c: &Jet, q: &[f64; 3], rows: f64, noise_variance: f64, reflection: Reflection) -> [f64; 3] {
    match reflection {
        Reflection::Unknown => {
            let power =
                [c[0].norm_sqr(), 2.0 * (c[0].conj() * c[1]).re, 2.0 * ((c[0].conj() * c[2]).re + c[1].norm_sqr())];
            let scale = 1.0 / (noise_variance * rows * q[0]);
            let (r1, r2) = (q[1] / q[0], q[2] / q[0]);
            [
                scale * power[0],
                scale * (power[1] - power[0] * r1),
                scale * (power[2] - 2.0 * power[1] * r1 + power[0] * (2.0 * r1 * r1 - r2)),
            ]
        }
        Reflection::Known(beta) => {
            std::array::from_fn(|i| (2.0 * (beta.conj() * c[i]).re - beta.norm_sqr() * rows * q[i]) / noise_variance)
        }
    }
}

impl Likelihood<'_> {
    /// x_u(v) = Σ_r a_r* C_ru and its derivatives by T at the delay's distance `delta`, each with its derivatives by
    /// v = sin φ: `[by T][stream][by v]`, third derivatives and higher left at zero. The delay's part of C is the Taylor
    /// polynomial of the correlations taken.
    pub fn arrival_jets(&self, v: f64, delta: f64) -> [[Jet; STREAMS]; ORDERS] {
        let step = Complex64::cis(-self.wavenumber * v);
        let mut jets = [[[Complex64::ZERO; 3]; STREAMS]; ORDERS];
        let mut phase = Complex64::ONE;
        let [values, slopes, bends] = self.correlations;
        for (row, ((values, slopes), bends)) in values.iter().zip(slopes).zip(bends).enumerate() {
            let slope = -self.wavenumber * row as f64;
            let turned = |z: Complex64| Complex64::new(-slope * z.im, slope * z.re);
            for stream in 0..STREAMS {
                let bend = bends[stream] * phase;
                let rise = slopes[stream] * phase;
                let term = values[stream] * phase + (rise + bend * (0.5 * delta)) * delta;
                let rise = rise + bend * delta;
                jets[0][stream][0] += term;
                jets[0][stream][1] += turned(term);
                jets[0][stream][2] -= term * (slope * slope);
                jets[1][stream][0] += rise;
                jets[1][stream][1] += turned(rise);
                jets[2][stream][0] += bend;
            }
            phase *= step;
        }
        jets
    }

    /// Variances of the displacement of sin θ and of sin φ that element errors with these deviations (radians, and parts
    /// of the gain) bring about at a point, to first order; they are the same in every frame under the same beams.
    ///
    /// A factor 1 + e_n of transmit element n adds e_n τ_n to the response h, τ_nu = α_n* w_un, and with ⟨x, y⟩ = xᴴQy
    /// moves the maximum of ℓ over u by Re Σ e_n (⟨h,h⟩⟨h',τ_n⟩ − ⟨h',h⟩⟨h,τ_n⟩)/(⟨h,h⟩⟨h',h'⟩ − |⟨h',h⟩|²). Phases ψ_r of
    /// the receive elements move v by their regression Σ ψ_r (r − r̄)/(k Σ (r − r̄)²), their gains nothing.
    pub fn displacement_variances(&self, point: &Parameters, phase_std_rad: f64, gain_std: f64) -> [f64; 2] {
        let departure = self.departure_spread(point, [phase_std_rad, gain_std]);
        let rows = self.rows();
        let lever = self.wavenumber * self.wavenumber * rows * (rows * rows - 1.0) / 12.0;
        let arrival = if lever > 0.0 { phase_std_rad * phase_std_rad / lever } else { 0.0 };
        [departure, arrival]
    }

    /// Variance of the displacement of sin θ by errors of the transmit elements; with the deviations in the other order, of
    /// what they add across it, which no direction explains.
    fn departure_spread(&self, point: &Parameters, [across, along]: [f64; 2]) -> f64 {
        let gram = &self.gram;
        let inner = |x: [Complex64; STREAMS], y: [Complex64; STREAMS]| {
            let seen = [y[0] * gram.semantic + y[1] * gram.cross.conj(), y[0] * gram.cross + y[1] * gram.sensing];
            x[0].conj() * seen[0] + x[1].conj() * seen[1]
        };
        let jets = beam_jets(self.beams, self.wavenumber, point[0]);
        let (h, slope) = (jets.map(|jet| jet[0]), jets.map(|jet| jet[1]));
        let (power, cross) = (inner(h, h).re, inner(slope, h));
        let leverage = power * inner(slope, slope).re - cross.norm_sqr();
        let step = Complex64::cis(-self.wavenumber * point[0]);
        let mut phase = Complex64::ONE;
        let mut spread = 0.0;
        for (w_c, w_0) in self.beams[0].iter().zip(&self.beams[1]) {
            let term = [w_c * phase, w_0 * phase];
            let moved = (inner(slope, term) * power - cross * inner(h, term)) / leverage;
            spread += (along * moved.re).powi(2) + (across * moved.im).powi(2);
            phase *= step;
        }
        spread
    }

    /// By how much errors of the transmit elements (deviations of phase and gain) widen what a direction misses the beams'
    /// responses by: their variance over that of noise.
    pub fn misfit_spread(&self, point: &Parameters, value: &Value, [phase_std_rad, gain_std]: [f64; 2]) -> f64 {
        let spread = self.departure_spread(point, [gain_std, phase_std_rad]);
        let information = -value.hessian[(0, 0)];
        if spread.is_finite() && information > 0.0 { spread * information } else { 0.0 }
    }

    /// ℓ if the streams' responses were free at a point's arrival direction and delay.
    pub fn free_fit(&self, point: &Parameters) -> f64 {
        let [[c, o], ..] = self.arrival_jets(point[1], point[2]);
        self.gram.explained([c[0], o[0]]) / (self.rows() * self.noise_variance)
    }

    /// A Hessian by (u, v, T) as the noise of rows' sum and differences makes it.
    pub fn informed(&self, hessian: &Matrix3<f64>) -> Matrix3<f64> {
        let scale = Matrix3::from_diagonal(&Vector3::new(1.0, self.arrival_part.sqrt(), 1.0));
        scale * hessian * scale
    }

    /// N_R.
    pub fn rows(&self) -> f64 {
        self.correlations[0].len() as f64
    }

    /// ℓ at a point.
    pub fn evaluate(&self, point: &Parameters) -> Value {
        let beams = beam_jets(self.beams, self.wavenumber, point[0]);
        let q = illumination(&self.gram, &beams);
        let arrivals = self.arrival_jets(point[1], point[2]);
        // ∂^i/∂u ∂^j/∂v ∂^k/∂T of c.
        let c = |i: usize, j: usize, k: usize| {
            beams[0][i].conj() * arrivals[k][0][j] + beams[1][i].conj() * arrivals[k][1][j]
        };
        let first = Vector3::new(c(1, 0, 0), c(0, 1, 0), c(0, 0, 1));
        let second = [
            [c(2, 0, 0), c(1, 1, 0), c(1, 0, 1)],
            [Complex64::ZERO, c(0, 2, 0), c(0, 1, 1)],
            [Complex64::ZERO, Complex64::ZERO, c(0, 0, 2)],
        ];
        self.assemble(c(0, 0, 0), &first, &second, &q)
    }

    /// ℓ and its derivatives from those of c and q (q depends on u alone).
    fn assemble(&self, c: Complex64, first: &Vector3<Complex64>, second: &[[Complex64; 3]; 3], q: &[f64; 3]) -> Value {
        let rows = self.rows();
        let slope = Vector3::new(q[1], 0.0, 0.0);
        let mut gradient = Vector3::zeros();
        let mut hessian = Matrix3::zeros();
        let (log_likelihood, reflection);
        match self.reflection {
            Reflection::Unknown => {
                let scale = 1.0 / (self.noise_variance * rows * q[0]);
                let power = c.norm_sqr();
                let ratio = slope / q[0];
                let d: Vector3<f64> = first.map(|derivative| 2.0 * (c.conj() * derivative).re);
                for i in 0..3 {
                    gradient[i] = scale * (d[i] - power * ratio[i]);
                    for j in i..3 {
                        let bend = 2.0 * ((c.conj() * second[i][j]).re + (first[i].conj() * first[j]).re);
                        let curve = if i == 0 && j == 0 { q[2] / q[0] } else { 0.0 };
                        hessian[(i, j)] = scale
                            * (bend - d[i] * ratio[j] - d[j] * ratio[i] + power * (2.0 * ratio[i] * ratio[j] - curve));
                    }
                }
                log_likelihood = scale * power;
                reflection = c / (rows * q[0]);
            }
            Reflection::Known(beta) => {
                let weight = beta.norm_sqr() * rows;
                for i in 0..3 {
                    gradient[i] = (2.0 * (beta.conj() * first[i]).re - weight * slope[i]) / self.noise_variance;
                    for j in i..3 {
                        let curve = if i == 0 && j == 0 { q[2] } else { 0.0 };
                        hessian[(i, j)] =
                            (2.0 * (beta.conj() * second[i][j]).re - weight * curve) / self.noise_variance;
                    }
                }
                log_likelihood = (2.0 * (beta.conj() * c).re - weight * q[0]) / self.noise_variance;
                reflection = beta;
            }
        }
        for i in 0..3 {
            for j in 0..i {
                hessian[(i, j)] = hessian[(j, i)];
            }
        }
        Value { log_likelihood, gradient, hessian, reflection }
    }
}

/// The beams as two rows, for the sums above.
pub(super) fn set_beams(rows: &mut [Vec<Complex64>; STREAMS], w_c: &DVector<Complex64>, w_0: &DVector<Complex64>) {
    for (row, beam) in rows.iter_mut().zip([w_c, w_0]) {
        row.iter_mut().zip(beam.iter()).for_each(|(to, from)| *to = *from);
    }
}

/// 2π d_a/λ.
pub(super) fn wavenumber(spacing_wavelengths: f64) -> f64 {
    TAU * spacing_wavelengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn gradient_and_hessian_equal_finite_differences() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(6);
        let mut complex = || Complex64::new(random.random::<f64>() - 0.5, random.random::<f64>() - 0.5);
        let correlations: Correlations = std::array::from_fn(|_| (0..4).map(|_| [complex(), complex()]).collect());
        let beams = std::array::from_fn(|_| (0..5).map(|_| complex()).collect());
        let gram = Gram { semantic: 2.0, sensing: 3.0, cross: Complex64::new(0.3, -0.4) };
        for reflection in [Reflection::Unknown, Reflection::Known(Complex64::new(0.5, 0.2))] {
            let likelihood = Likelihood {
                correlations: &correlations,
                gram,
                beams: &beams,
                wavenumber: 3.0,
                noise_variance: 0.7,
                arrival_part: 1.0,
                displaced: [0.0; 2],
                reflection,
            };
            let point = Vector3::new(0.3, -0.4, 0.1);
            let value = likelihood.evaluate(&point);
            for i in 0..3 {
                let mut step = Vector3::zeros();
                step[i] = 1e-5;
                let (high, low) = (likelihood.evaluate(&(point + step)), likelihood.evaluate(&(point - step)));
                let slope = (high.log_likelihood - low.log_likelihood) / 2e-5;
                assert!((slope - value.gradient[i]).abs() < 1e-6 * (1.0 + slope.abs()), "{reflection:?} {i}");
                for j in 0..3 {
                    let bend = (high.gradient[j] - low.gradient[j]) / 2e-5;
                    assert!((bend - value.hessian[(i, j)]).abs() < 1e-5 * (1.0 + bend.abs()), "{reflection:?} {i} {j}");
                }
            }
        }
    }
}
