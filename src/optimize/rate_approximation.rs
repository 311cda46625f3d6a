//! The paper's coding-rate step (P4.3, P4.4): successive convex approximation of R_c at given beams.
//!
//! U_1 (30) puts log10 Q(ψ) under its tangent and keeps −log10(R_c L), which is convex; U_2 (31, with D̂_c) linearises
//! (24) in ν. At the optimum of each approximation all constraints bind, so R_c has a closed form, ρ̂_b = U_1(R_c) and ν
//! follows from U_2 = 0. The exact choice ([`super::select_rate`]) is what it is held against.

use super::SourceModel;

/// The paper's rate for one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ApproximatedRate {
    /// R_c in bits per channel use.
    pub channel_rate: f64,
    /// ρ_b of eq. (4).
    pub bit_error_rate: f64,
    /// 10^(D̂_s + e^ν).
    pub predicted_mse: f64,
    /// Approximations solved.
    pub iterations: usize,
}

/// Solves (P4.3) for R_c in [`least_rate`, C(γ)]; `None` where that is empty.
pub fn approximate_rate(
    model: &SourceModel,
    sinr: f64,
    least_rate: f64,
    block_symbols: usize,
) -> Option<ApproximatedRate> {
    let length = block_symbols as f64;
    let capacity = (1.0 + sinr).log2();
    if least_rate.is_nan() || least_rate <= 0.0 || least_rate >= capacity {
        return None;
    }
    let slope = std::f64::consts::LN_2 * (length / (1.0 - (1.0 + sinr).powi(-2))).sqrt();
    let [d_s, d_c, e_1, e_2] = model.curve;
    let mut rate = 0.5 * (least_rate + capacity);
    let mut log_errors = log10_bit_error_rate(rate, slope * (capacity - rate), length);
    let mut nu = (d_c / (1.0 + (-e_1 * (log_errors - e_2)).exp())).ln();
    let mut iterations = 0;
    while iterations < 200 {
        iterations += 1;
        let argument = slope * (capacity - rate);
        // U_1's minimum over R_c: −1/R_c + â·slope = 0, with â = φ/Q at the present point.
        let hazard = hazard(argument);
        let next = (hazard * slope).recip().clamp(least_rate, capacity);
        // (30) at the new rate: the tangent in ψ, the exact −log10(R_c L).
        let moved = slope * (capacity - next) - argument;
        let tangent = log10_tail(argument) - (next * length).log10() - hazard * moved * std::f64::consts::LOG10_E;
        // U_2 = 0 for ν: the tangents of −e^{ν−β_1} and −e^ν at the present ν and ρ̂_b, plus D̂_c.
        let damped = (nu - e_1 * (log_errors - e_2)).exp();
        let present = nu.exp();
        let numerator = d_c - damped - present + damped * e_1 * (tangent - log_errors);
        nu += numerator / (damped + present);
        let change = (next - rate).abs().max((tangent - log_errors).abs() * 1e-3);
        (rate, log_errors) = (next, tangent);
        if change < 1e-12 && numerator.abs() < 1e-12 {
            break;
        }
    }
    let log_errors = log10_bit_error_rate(rate, slope * (capacity - rate), length);
    Some(ApproximatedRate {
        channel_rate: rate,
        bit_error_rate: 10f64.powf(log_errors),
        predicted_mse: 10f64.powf(d_s + nu.exp()),
        iterations,
    })
}

/// log10 of eq. (4): Q(ψ)/(R_c L).
fn log10_bit_error_rate(rate: f64, argument: f64, length: f64) -> f64 {
    log10_tail(argument) - (rate * length).log10()
}

/// log10 Q(x), by its continued fraction where Q itself would vanish.
fn log10_tail(x: f64) -> f64 {
    if x < 20.0 {
        return (0.5 * libm::erfc(x / std::f64::consts::SQRT_2)).log10();
    }
    let density = -0.5 * x * x * std::f64::consts::LOG10_E - 0.5 * std::f64::consts::TAU.log10();
    density - hazard(x).log10()
}

/// φ(x)/Q(x).
fn hazard(x: f64) -> f64 {
    if x < 20.0 {
        let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        return density / (0.5 * libm::erfc(x / std::f64::consts::SQRT_2));
    }
    // Laplace's continued fraction x + 1/(x + 2/(x + 3/…)).
    (1..=12).rev().fold(x, |tail, k| x + f64::from(k) / tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_and_its_hazard_are_smooth_across_the_change_of_formula() {
        let (below, above) = (19.999_999, 20.000_001);
        assert!((log10_tail(below) - log10_tail(above)).abs() < 1e-4);
        assert!((hazard(below) / hazard(above) - 1.0).abs() < 1e-6);
        assert!((log10_tail(0.0) - 0.5f64.log10()).abs() < 1e-15);
    }

    #[test]
    fn the_approximation_ends_at_the_exact_scalar_optimum() {
        let model = SourceModel { body_bits: 1.0, protected_bits: 0.0, curve: [2.0, 1.2, 2.3, -3.1] };
        for (sinr_db, least_rate) in [(9.0, 1.5), (3.0, 1.5), (1.0, 1.1), (15.0, 0.02), (-3.0, 0.3)] {
            let sinr = 10f64.powf(sinr_db / 10.0);
            let found = approximate_rate(&model, sinr, least_rate, 256).unwrap();
            let capacity = (1.0 + sinr).log2();
            let slope = std::f64::consts::LN_2 * (256.0 / (1.0 - (1.0 + sinr).powi(-2))).sqrt();
            let mse = |rate: f64| {
                let errors = log10_bit_error_rate(rate, slope * (capacity - rate), 256.0);
                10f64.powf(2.0 + 1.2 / (1.0 + (-2.3 * (errors + 3.1)).exp()))
            };
            let grid = (0..=20_000).map(|k| least_rate + (capacity - least_rate) * f64::from(k) / 20_000.0);
            let best = grid.map(mse).fold(f64::INFINITY, f64::min);
            assert!((found.predicted_mse / best - 1.0).abs() < 1e-9, "{sinr_db} {least_rate}: {found:?} {best}");
            assert!((mse(found.channel_rate) / found.predicted_mse - 1.0).abs() < 1e-9);
        }
        assert_eq!(approximate_rate(&model, 1.0, 1.2, 256), None);
    }
}
