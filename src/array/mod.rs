//! Uniform linear arrays: geometry to steering vectors, and the pair of beams of a plan.
//!
//! Angles are in radians from the +x axis; elements stand along the y axis and look towards +x, so the phase
//! progression is 2π·(d_a/λ)·sin(angle) (the paper's α(·) below eq. 3).

use nalgebra::DVector;
use num_complex::Complex64;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::scene::{Array, Point};

/// Steering vector α(angle) of `elements` elements, `spacing` wavelengths apart; element 0 is the phase reference.
pub fn steering_vector(elements: usize, spacing: f64, angle_rad: f64) -> DVector<Complex64> {
    let step = std::f64::consts::TAU * spacing * angle_rad.sin();
    DVector::from_fn(elements, |n, _| Complex64::cis(step * n as f64))
}

/// Direction from `from` to `to`, by `atan2`.
pub fn direction_rad(from: Point, to: Point) -> f64 {
    (to[1] - from[1]).atan2(to[0] - from[0])
}

/// Rate in m/s at which the path `from` → `at` → `to` grows where `at` moves with this velocity.
pub fn path_rate_m_s(from: Point, at: Point, to: Point, velocity_m_s: Point) -> f64 {
    let along = |end: Point| {
        let range = distance_m(end, at);
        (0..2).map(|axis| velocity_m_s[axis] * (at[axis] - end[axis]) / range).sum::<f64>()
    };
    along(from) + along(to)
}

/// Distance of two points in metres.
pub fn distance_m(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// How the elements of both arrays differ from what is assumed of them: a factor for each.
#[derive(Debug, Clone, PartialEq)]
pub struct ElementErrors {
    /// N_T factors.
    pub transmit: Vec<Complex64>,
    /// N_R factors.
    pub receive: Vec<Complex64>,
}

impl ElementErrors {
    /// None: all factors are 1.
    pub fn none(array: &Array) -> Self {
        let ones = |count| vec![Complex64::ONE; count];
        Self { transmit: ones(array.transmit_antennas), receive: ones(array.receive_antennas) }
    }

    /// Phases and gains in dB drawn uniformly within the array's limits, each element's by itself.
    pub fn draw(array: &Array, random: &mut impl Rng) -> Self {
        let mut within = |limit: f64| if limit > 0.0 { random.random_range(-limit..=limit) } else { 0.0 };
        let mut draw = |count| {
            let factor = |_| {
                let (gain_db, phase_deg) = (within(array.gain_error_db), within(array.phase_error_deg));
                Complex64::from_polar(10f64.powf(gain_db / 20.0), phase_deg.to_radians())
            };
            (0..count).map(factor).collect()
        };
        Self { transmit: draw(array.transmit_antennas), receive: draw(array.receive_antennas) }
    }
}

/// The two beamforming vectors, in √W: x(t) = w_c s_c(t) + w_0 s_0(t) (eq. 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beams {
    /// w_c, the semantic stream's beam.
    #[serde(with = "complex_pairs")]
    pub w_c: DVector<Complex64>,
    /// w_0, the sensing stream's beam.
    #[serde(with = "complex_pairs")]
    pub w_0: DVector<Complex64>,
}

impl Beams {
    /// Tr Σ = ‖w_c‖² + ‖w_0‖² in watts (eq. 2).
    pub fn power_w(&self) -> f64 {
        self.w_c.norm_squared() + self.w_0.norm_squared()
    }
}

/// Complex vectors as `[[re, im], …]`, the form of weights files and reports.
pub mod complex_pairs {
    use nalgebra::DVector;
    use num_complex::Complex64;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes `[[re, im], …]`.
    pub fn serialize<S: Serializer>(vector: &DVector<Complex64>, serializer: S) -> Result<S::Ok, S::Error> {
        vector.iter().map(|z| [z.re, z.im]).collect::<Vec<_>>().serialize(serializer)
    }

    /// Reads `[[re, im], …]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DVector<Complex64>, D::Error> {
        let pairs = Vec::<[f64; 2]>::deserialize(deserializer)?;
        Ok(DVector::from_iterator(pairs.len(), pairs.into_iter().map(|[re, im]| Complex64::new(re, im))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steering_phase_advances_by_pi_sine_at_half_a_wavelength() {
        let alpha = steering_vector(4, 0.5, 0.3);
        for n in 0..4 {
            let expected = Complex64::cis(std::f64::consts::PI * n as f64 * 0.3f64.sin());
            assert!((alpha[n] - expected).norm() < 1e-12);
        }
    }
}
