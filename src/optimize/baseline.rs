//! The paper's benchmark (WF–ZF): zero-forcing beams, and the power between them by water-filling.

use nalgebra::{DMatrix, DVector};
use num_complex::Complex64;

use super::beams::turned;
use super::{BelievedTarget, Problem};
use crate::array::{Beams, steering_vector};
use crate::scene::Scene;

/// w_c ∝ (I − P_α)h_c reaches nothing of the target, w_0 ∝ (I − P_h)α nothing of the receiver; P_T is water-filled over
/// the two links' gains |h_cᴴŵ_c|²/σ_n² and N_R|β_0|²|αᴴŵ_0|²/σ_s². The threshold on the bound is not enforced.
///
/// The paper has one target. For several that are believed in, α is the dominant direction of Σ_k |β_k|² α_k α_kᴴ, since
/// one beam cannot follow each of them and antennas may be too few to null them all, and the second link's gain is the
/// sum of the targets'.
pub fn zero_forcing(scene: &Scene, problem: &Problem) -> Beams {
    let targets = BelievedTarget::of_scene(scene);
    let steering = |target: &BelievedTarget| {
        let theta = crate::array::direction_rad(scene.geometry.transmitter, target.position);
        steering_vector(scene.array.transmit_antennas, scene.array.spacing_wavelengths, theta)
    };
    let steered: Vec<_> = targets.iter().map(steering).collect();
    let alpha = if let [alpha] = &steered[..] { alpha.clone() } else { dominant(&targets, &steered) };
    let channel = problem.channel();
    let (towards_receiver, towards_target) = (apart(channel, &alpha), apart(&alpha, channel));
    let sensing_noise_w = crate::scene::dbm_to_w(scene.channel.sensing_noise_dbm);
    let echo = |(target, alpha): (&BelievedTarget, &DVector<Complex64>)| {
        let gain = scene.array.receive_antennas as f64 * target.reflection_coefficient.powi(2) / sensing_noise_w;
        gain * alpha.dotc(&towards_target).norm_sqr()
    };
    let gains = [
        channel.dotc(&towards_receiver).norm_sqr() / problem.noise_power_w(),
        targets.iter().zip(&steered).map(echo).sum(),
    ];
    let [power_c, power_0] = water_filling(gains, problem.power_w());
    let reached = channel.dotc(&towards_receiver);
    let phase = if reached.norm() > 0.0 { reached.conj() / reached.norm() } else { Complex64::from(1.0) };
    Beams {
        w_c: towards_receiver * (phase * power_c.sqrt()),
        w_0: turned(towards_target * Complex64::from(power_0.sqrt())),
    }
}

/// The dominant direction of Σ_k |β_k|² α_k α_kᴴ.
fn dominant(targets: &[BelievedTarget], steered: &[DVector<Complex64>]) -> DVector<Complex64> {
    let scaled: Vec<_> = targets
        .iter()
        .zip(steered)
        .map(|(target, alpha)| alpha * Complex64::from(target.reflection_coefficient))
        .collect();
    let scaled = DMatrix::from_columns(&scaled);
    let eigen = (&scaled * scaled.adjoint()).symmetric_eigen();
    eigen.eigenvectors.column(eigen.eigenvalues.imax()).into_owned()
}

/// The unit vector along `vector`'s part orthogonal to `away`; zero where there is none.
fn apart(vector: &DVector<Complex64>, away: &DVector<Complex64>) -> DVector<Complex64> {
    let rest = vector - away * (away.dotc(vector) / away.norm_squared());
    let norm = rest.norm();
    if norm > 1e-9 * vector.norm() { rest / Complex64::from(norm) } else { DVector::zeros(vector.len()) }
}

/// Powers (μ − 1/g)⁺ that add up to `power_w`.
fn water_filling(gains: [f64; 2], power_w: f64) -> [f64; 2] {
    let floor = gains.map(|gain| if gain > 0.0 { gain.recip() } else { f64::INFINITY });
    let level = 0.5 * (power_w + floor[0] + floor[1]);
    match (level > floor[0], level > floor[1]) {
        (true, true) if level.is_finite() => floor.map(|floor| level - floor),
        _ if floor[0] <= floor[1] => [power_w, 0.0],
        _ => [0.0, power_w],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beam_is_nulled_where_the_other_one_works_and_all_power_is_used() {
        let scene = Scene::paper();
        let problem = Problem::from_scene(&scene);
        let beams = zero_forcing(&scene, &problem);
        let theta = crate::array::direction_rad([0.0, 0.0], scene.geometry.target);
        let alpha = steering_vector(4, 0.5, theta);
        assert!(alpha.dotc(&beams.w_c).norm() < 1e-12 * alpha.norm() && beams.w_c.norm() > 0.0);
        assert!(problem.channel().dotc(&beams.w_0).norm() < 1e-12 * problem.channel().norm() && beams.w_0.norm() > 0.0);
        assert!((beams.power_w() / problem.power_w() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn water_stands_level_where_both_gains_are_filled_and_drains_from_a_weak_one() {
        let [a, b] = water_filling([2.0, 1.0], 3.0);
        assert!((a + 0.5 - (b + 1.0)).abs() < 1e-12 && (a + b - 3.0).abs() < 1e-12);
        assert_eq!(water_filling([2.0, 0.1], 3.0), [3.0, 0.0]);
        assert_eq!(water_filling([0.0, 0.1], 3.0), [0.0, 3.0]);
    }
}
