//! The paper's coding-rate step (P4.3, P4.4): successive convex approximation of R_c at given beams.
//!
//! U_1 (30) puts log10 Q(ψ) under its tangent and keeps −log10(R_c L), which is convex; U_2 (31, with D̂_c) linearises
//! (24) in ν. At the optimum of each approximation all constraints bind, so R_c has a closed form, ρ̂_b = U_1(R_c) and ν
//! follows from U_2 = 0. What it is held against is the exact minimum of eq. (7) over R_c, found on a grid.
//!
//! Beams and rates need no second round: the beams of (P4.5) are the same for every R_c, and R_c follows from them.

use super::{RateLimits, SourceModel};

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
        if change < 1e-12 && (numerator.abs() < 1e-12 || numerator.is_nan()) {
            break;
        }
    }
    let log_errors = log10_bit_error_rate(rate, slope * (capacity - rate), length);
    Some(ApproximatedRate {
        channel_rate: rate,
        bit_error_rate: 10f64.powf(log_errors),
        // e^ν, written out: where no errors are left its tangents are 0/0.
        predicted_mse: 10f64.powf(d_s + d_c / (1.0 + (-e_1 * (log_errors - e_2)).exp())),
        iterations,
    })
}

/// The paper's choice at given beams: (P4.3) for every model, then the model of the least distortion. The least rate is
/// that of (20), all bits of a picture in all channel uses that it may take. `None` where no model fits below C(γ).
pub fn approximate_choice(models: &[SourceModel], limits: &RateLimits, sinr: f64) -> Option<(usize, ApproximatedRate)> {
    let uses = (limits.blocks * limits.block_symbols) as f64;
    let solved = |model: &SourceModel| {
        Some((model.index, approximate_rate(model, sinr, model.bits() / uses, limits.block_symbols)?))
    };
    let solved = models.iter().filter_map(solved);
    solved.min_by(|(_, a), (_, b)| a.predicted_mse.total_cmp(&b.predicted_mse))
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
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::optimize::LossLaw;

    /// A model of one bit; the paper's algorithm knows bit errors alone.
    fn model(curve: [f64; 4]) -> SourceModel {
        let loss = LossLaw { slice_bits: 700.0, rise: 8.0 };
        let error_free_mse = 10f64.powf(curve[0]);
        SourceModel { index: 0, body_bits: 1.0, protected_bits: 0.0, error_free_mse, curve, loss }
    }

    #[test]
    fn the_tail_and_its_hazard_are_smooth_across_the_change_of_formula() {
        let (below, above) = (19.999_999, 20.000_001);
        assert!((log10_tail(below) - log10_tail(above)).abs() < 1e-4);
        assert!((hazard(below) / hazard(above) - 1.0).abs() < 1e-6);
        assert!((log10_tail(0.0) - 0.5f64.log10()).abs() < 1e-15);
    }

    #[test]
    fn the_approximation_ends_at_the_exact_scalar_optimum() {
        let model = model([2.0, 1.2, 2.3, -3.1]);
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

    /// The rate of the least eq. (4) in [`least`, C(γ)], which is that of the least distortion: a grid, then finer ones.
    fn exact_rate(sinr: f64, least: f64, block_symbols: usize) -> f64 {
        let length = block_symbols as f64;
        let capacity = (1.0 + sinr).log2();
        let slope = std::f64::consts::LN_2 * (length / (1.0 - (1.0 + sinr).powi(-2))).sqrt();
        let errors = |rate: f64| log10_bit_error_rate(rate, slope * (capacity - rate), length);
        let (mut from, mut to, mut best) = (least, capacity, least);
        for _ in 0..8 {
            let step = (to - from) / 1000.0;
            let grid = (0..=1000).map(|k| from + step * f64::from(k));
            best = grid.min_by(|a, b| errors(*a).total_cmp(&errors(*b))).unwrap_or(best);
            (from, to) = ((best - 2.0 * step).max(least), (best + 2.0 * step).min(capacity));
        }
        best
    }

    /// Differences of the paper's rate from the exact one (relative) and of log10 of what it predicts, over random
    /// models, SINRs and least rates.
    fn differences(cases: usize) -> Vec<[f64; 2]> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(43);
        let mut between = |low: f64, high: f64| random.random_range(low..high);
        let mut all = Vec::new();
        for _ in 0..cases {
            let sinr = 10f64.powf(between(-1.0, 2.0));
            let least = (1.0 + sinr).log2() * between(0.01, 0.99);
            let curve = [between(1.0, 3.0), between(0.5, 1.5), between(1.0, 4.0), between(-4.0, -2.0)];
            let model = model(curve);
            let block_symbols = [64, 256, 1024][all.len() % 3];
            let found = approximate_rate(&model, sinr, least, block_symbols).unwrap();
            let exact = exact_rate(sinr, least, block_symbols);
            assert!((least..=(1.0 + sinr).log2()).contains(&found.channel_rate));
            let mse = |rate: f64| {
                let slope = (block_symbols as f64 / (1.0 - (1.0 + sinr).powi(-2))).sqrt() * std::f64::consts::LN_2;
                let errors = log10_bit_error_rate(rate, slope * ((1.0 + sinr).log2() - rate), block_symbols as f64);
                curve[0] + curve[1] / (1.0 + (-curve[2] * (errors - curve[3])).exp())
            };
            all.push([(found.channel_rate / exact - 1.0).abs(), (found.predicted_mse.log10() - mse(exact)).abs()]);
        }
        all
    }

    #[test]
    fn the_papers_rate_is_the_exact_one_within_a_thousandth_over_random_cases() {
        for [rate, mse] in differences(30) {
            assert!(rate < 1e-3 && mse < 1e-6, "{rate:e} {mse:e}");
        }
    }

    #[test]
    #[ignore = "prints the distribution, for the documentation"]
    fn the_distribution_of_the_papers_rate_beside_the_exact_one() {
        let all = differences(3000);
        for (index, name) in ["rate, relative", "log10 of the predicted error"].into_iter().enumerate() {
            let mut sorted: Vec<_> = all.iter().map(|pair| pair[index]).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
            println!(
                "{name}: 50 % {:.1e}, 95 % {:.1e}, 99 % {:.1e}, most {:.1e}",
                at(0.5),
                at(0.95),
                at(0.99),
                at(1.0)
            );
            println!("  above 1e-3: {} of {}", sorted.iter().filter(|found| **found > 1e-3).count(), sorted.len());
        }
    }
}
