//! Codecs compared at several rates: monotone interpolation between their points, and Bjøntegaard's mean rate difference.

/// A curve through points of rising x: piecewise cubic, monotone where the points are (Fritsch and Carlson 1980).
#[derive(Debug, Clone)]
pub struct Curve {
    points: Vec<(f64, f64)>,
    slopes: Vec<f64>,
}

impl Curve {
    /// Through two points or more, sorted by x; None where they are fewer or share an x.
    pub fn new(mut points: Vec<(f64, f64)>) -> Option<Self> {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if points.len() < 2 || points.windows(2).any(|pair| pair[1].0 <= pair[0].0) {
            return None;
        }
        let steps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let secants: Vec<f64> =
            points.windows(2).zip(&steps).map(|(pair, step)| (pair[1].1 - pair[0].1) / step).collect();
        let inner = (1..secants.len()).map(|k| harmonic(&steps[k - 1..=k], &secants[k - 1..=k]));
        let first = secants[0];
        let last = secants[secants.len() - 1];
        let slopes = std::iter::once(first).chain(inner).chain([last]).collect();
        Some(Self { points, slopes })
    }

    /// Its reach in x.
    pub fn range(&self) -> (f64, f64) {
        (self.points[0].0, self.points[self.points.len() - 1].0)
    }

    /// The curve at x; None beyond its reach.
    pub fn at(&self, x: f64) -> Option<f64> {
        let (low, high) = self.range();
        if !(low..=high).contains(&x) {
            return None;
        }
        let right = self.points.partition_point(|point| point.0 < x).clamp(1, self.points.len() - 1);
        let ((x0, y0), (x1, y1)) = (self.points[right - 1], self.points[right]);
        let (step, t) = (x1 - x0, (x - x0) / (x1 - x0));
        let (m0, m1) = (self.slopes[right - 1] * step, self.slopes[right] * step);
        let (rest, rise) = (1.0 - t, y1 - y0);
        Some(y0 + rise * t * t * (3.0 - 2.0 * t) + t * rest * (m0 * rest - m1 * t))
    }
}

/// Weighted harmonic mean of two secants; zero where they differ in sign.
fn harmonic(steps: &[f64], secants: &[f64]) -> f64 {
    if secants[0] * secants[1] <= 0.0 {
        return 0.0;
    }
    let (a, b) = (2.0 * steps[1] + steps[0], steps[1] + 2.0 * steps[0]);
    (a + b) / (a / secants[0] + b / secants[1])
}

/// Mean relative difference of rate at equal quality, −0.3 = 30 % fewer bits than the anchor, over the qualities that
/// both reach; points are (rate, quality). None where they share none.
pub fn mean_rate_difference(anchor: &[(f64, f64)], test: &[(f64, f64)]) -> Option<f64> {
    const STEPS: u32 = 1000;
    let curve =
        |points: &[(f64, f64)]| Curve::new(points.iter().map(|&(rate, quality)| (quality, rate.ln())).collect());
    let (anchor, test) = (curve(anchor)?, curve(test)?);
    let (low, high) = (anchor.range().0.max(test.range().0), anchor.range().1.min(test.range().1));
    if low >= high {
        return None;
    }
    let middle = |step| low + (high - low) * (f64::from(step) + 0.5) / f64::from(STEPS);
    let total: Option<f64> = (0..STEPS).map(middle).map(|quality| Some(test.at(quality)? - anchor.at(quality)?)).sum();
    Some((total? / f64::from(STEPS)).exp() - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_codec_that_needs_seven_tenths_of_the_bits_is_thirty_percent_below() {
        let anchor = [(0.1, 25.0), (0.2, 27.5), (0.4, 30.2), (0.9, 34.0), (1.5, 36.0)];
        let test = anchor.map(|(rate, quality)| (0.7 * rate, quality));
        assert!((mean_rate_difference(&anchor, &test).unwrap() + 0.3).abs() < 1e-12);
        assert!(mean_rate_difference(&anchor, &anchor).unwrap().abs() < 1e-12);
        assert!(mean_rate_difference(&anchor, &[(0.1, 40.0), (0.2, 41.0)]).is_none());
        assert!(mean_rate_difference(&anchor, &test[..1]).is_none());
    }

    #[test]
    fn only_qualities_that_both_reach_count() {
        // straight lines in ln(rate): differences of 0.2 at quality 30 and 0.4 at 32
        let line = |from: f64, to: f64, slope: f64, offset: f64| {
            [from, to].map(|quality| ((slope * quality + offset).exp(), quality))
        };
        let found = mean_rate_difference(&line(28.0, 32.0, 0.2, 0.0), &line(30.0, 40.0, 0.3, -2.8)).unwrap();
        assert!((found - (0.3f64.exp() - 1.0)).abs() < 1e-6, "{found}");
    }

    proptest! {
        #[test]
        fn the_curve_meets_its_points_and_stays_between_them(rises in prop::collection::vec(0.01f64..3.0, 2..9)) {
            let points: Vec<(f64, f64)> = rises
                .iter()
                .scan((0.0, 0.0), |(x, y), rise| {
                    (*x, *y) = (*x + 1.0 / rise, *y + rise);
                    Some((*x, *y))
                })
                .collect();
            let curve = Curve::new(points.clone()).unwrap();
            for pair in points.windows(2) {
                prop_assert!((curve.at(pair[0].0).unwrap() - pair[0].1).abs() < 1e-9);
                for k in 0..=10 {
                    let x = pair[0].0 + (pair[1].0 - pair[0].0) * f64::from(k) / 10.0;
                    let y = curve.at(x.min(pair[1].0)).unwrap();
                    prop_assert!(y >= pair[0].1 - 1e-9 && y <= pair[1].1 + 1e-9);
                }
            }
            prop_assert!(curve.at(-1.0).is_none());
        }
    }
}
