//! The distortion law of eq. (7): bit flips on a picture's body, and the fit of the four parameters to what they do.

use nalgebra::{Matrix4, Vector4};
use rand::{Rng, RngExt};

use super::bank::DistortionCurve;

/// Flips each bit independently with probability `rate` (a binary symmetric channel).
pub fn flip_bits(bytes: &mut [u8], rate: f64, rng: &mut impl Rng) {
    if rate <= 0.0 {
        return;
    }
    let bits = 8 * bytes.len();
    let mut at = 0usize;
    loop {
        // distance to the next flip: geometric
        let skip = (rng.random::<f64>().max(f64::MIN_POSITIVE).ln() / (-rate).ln_1p()).floor();
        if skip >= (bits - at.min(bits)) as f64 {
            return;
        }
        at += skip as usize;
        bytes[at / 8] ^= 0x80 >> (at % 8);
        at += 1;
    }
}

/// Least-squares fit of eq. (7) to points (log10 ρ_b, log10 D_o); None with fewer than five points.
///
/// Levenberg–Marquardt from several slopes and inflections; the best end wins.
pub fn fit(points: &[(f64, f64)]) -> Option<DistortionCurve> {
    if points.len() < 5 {
        return None;
    }
    let (low, high) = points.iter().fold((f64::MAX, f64::MIN), |(l, h), p| (l.min(p.1), h.max(p.1)));
    let mut best: Option<(f64, Vector4<f64>)> = None;
    for slope in [1.5, 3.0] {
        for point in points {
            let start = Vector4::new(low, (high - low).max(1e-6), slope, point.0);
            let end = descend(points, start);
            if best.is_none_or(|(cost, _)| end.0 < cost) {
                best = Some(end);
            }
        }
    }
    let (cost, p) = best?;
    let mean = points.iter().map(|p| p.1).sum::<f64>() / points.len() as f64;
    let spread: f64 = points.iter().map(|p| (p.1 - mean).powi(2)).sum();
    let r_squared = if spread > 0.0 { 1.0 - cost / spread } else { 0.0 };
    Some(DistortionCurve { d_s: p[0], d_c: p[1], e_1: p[2], e_2: p[3], r_squared })
}

fn model(p: &Vector4<f64>, x: f64) -> f64 {
    DistortionCurve { d_s: p[0], d_c: p[1], e_1: p[2], e_2: p[3], r_squared: 0.0 }.log10_mse(x)
}

fn cost(points: &[(f64, f64)], p: &Vector4<f64>) -> f64 {
    points.iter().map(|&(x, y)| (y - model(p, x)).powi(2)).sum()
}

fn descend(points: &[(f64, f64)], mut p: Vector4<f64>) -> (f64, Vector4<f64>) {
    let mut now = cost(points, &p);
    let mut damping = 1e-2;
    for _ in 0..300 {
        let mut normal = Matrix4::zeros();
        let mut slope = Vector4::zeros();
        for &(x, y) in points {
            let share = 1.0 / (1.0 + (-p[2] * (x - p[3])).exp());
            let bend = p[1] * share * (1.0 - share);
            let gradient = Vector4::new(1.0, share, bend * (x - p[3]), -bend * p[2]);
            normal += gradient * gradient.transpose();
            slope += gradient * (y - model(&p, x));
        }
        let damped = normal + Matrix4::from_diagonal(&normal.diagonal().map(|d| damping * d.max(1e-9)));
        let Some(step) = damped.lu().solve(&slope) else { break };
        let next = p + step;
        let then = cost(points, &next);
        if then < now {
            let gained = now - then;
            (p, now) = (next, then);
            damping = (damping * 0.3).max(1e-12);
            if gained < 1e-14 * (1.0 + now) {
                break;
            }
        } else {
            damping *= 4.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    (now, p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn the_fit_finds_the_curve_that_made_the_points() {
        let truth = DistortionCurve { d_s: 1.7, d_c: 1.4, e_1: 2.3, e_2: -3.4, r_squared: 1.0 };
        let points: Vec<(f64, f64)> =
            (0..13).map(|i| -6.5 + 0.5 * f64::from(i)).map(|x| (x, truth.log10_mse(x))).collect();
        let found = fit(&points).unwrap();
        assert!((found.d_s - truth.d_s).abs() < 1e-6 && (found.d_c - truth.d_c).abs() < 1e-6);
        assert!((found.e_1 - truth.e_1).abs() < 1e-5 && (found.e_2 - truth.e_2).abs() < 1e-5);
        assert!(found.r_squared > 1.0 - 1e-9);
        assert!(fit(&points[..4]).is_none());
    }

    #[test]
    fn flips_come_at_their_rate_and_anywhere() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        for rate in [1e-3, 0.02, 0.5] {
            let mut bytes = vec![0u8; 40_000];
            flip_bits(&mut bytes, rate, &mut rng);
            let flips: u32 = bytes.iter().map(|b| b.count_ones()).sum();
            let expected = rate * 320_000.0;
            assert!((f64::from(flips) - expected).abs() < 5.0 * (expected * (1.0 - rate)).sqrt(), "{flips} flips");
            let first_half: u32 = bytes[..20_000].iter().map(|b| b.count_ones()).sum();
            assert!((f64::from(first_half) - expected / 2.0).abs() < 5.0 * (expected / 2.0).sqrt());
        }
        let mut bytes = vec![5u8; 10];
        flip_bits(&mut bytes, 0.0, &mut rng);
        assert_eq!(bytes, [5; 10]);
    }
}
