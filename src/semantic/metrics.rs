//! Distortion of pictures: MSE and PSNR on the 0…255 scale over all R, G, B samples, and RGB MS-SSIM (Wang, Simoncelli,
//! Bovik 2003) as the literature computes it: 11×11 Gaussian window of σ = 1.5 without border, five scales, 2×2 mean
//! pooling with zeros around odd sizes, the product of each colour's scales, then the mean of the colours.

use image::RgbImage;

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Mean squared error over all samples. Panics where the sizes differ.
pub fn mse(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions(), "pictures of one size");
    let total: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    total as f64 / a.as_raw().len().max(1) as f64
}

/// 10·log10(255²/mse); None for equal pictures.
pub fn psnr_db(mse: f64) -> Option<f64> {
    (mse > 0.0).then(|| 10.0 * (255.0 * 255.0 / mse).log10())
}

/// RGB MS-SSIM; None where a side is too short for five scales (below 161 pixels). Panics where the sizes differ.
pub fn ms_ssim(a: &RgbImage, b: &RgbImage) -> Option<f64> {
    assert_eq!(a.dimensions(), b.dimensions(), "pictures of one size");
    let shortest = (0..4).fold(a.width().min(a.height()) as usize, |side, _| side.div_ceil(2));
    if shortest < WINDOW {
        return None;
    }
    Some((0..3).map(|colour| plane_ms_ssim(Plane::of(a, colour), Plane::of(b, colour))).sum::<f64>() / 3.0)
}

struct Plane {
    height: usize,
    width: usize,
    samples: Vec<f64>,
}

impl Plane {
    fn of(picture: &RgbImage, colour: usize) -> Self {
        let samples = picture.pixels().map(|p| f64::from(p.0[colour]) / 255.0).collect();
        Self { height: picture.height() as usize, width: picture.width() as usize, samples }
    }

    fn product(&self, other: &Self) -> Self {
        let samples = self.samples.iter().zip(&other.samples).map(|(a, b)| a * b).collect();
        Self { samples, ..*self }
    }

    /// Weighted means under the window, where it fits whole.
    fn blurred(&self) -> Self {
        let window = gaussian();
        let width = self.width + 1 - WINDOW;
        let height = self.height + 1 - WINDOW;
        let rows: Vec<f64> = self
            .samples
            .chunks_exact(self.width)
            .flat_map(|row| row.windows(WINDOW).map(|w| w.iter().zip(&window).map(|(s, g)| s * g).sum()))
            .collect();
        let mut samples = vec![0.0; width * height];
        for (y, line) in samples.chunks_exact_mut(width).enumerate() {
            for (k, g) in window.iter().enumerate() {
                for (to, from) in line.iter_mut().zip(&rows[(y + k) * width..]) {
                    *to += g * from;
                }
            }
        }
        Self { height, width, samples }
    }

    /// Half the size by 2×2 means; an odd side gets a zero in front.
    fn halved(&self) -> Self {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        let (top, left) = (self.height % 2, self.width % 2);
        let mut samples = vec![0.0; height * width];
        for y in 0..self.height {
            for x in 0..self.width {
                samples[(y + top) / 2 * width + (x + left) / 2] += self.samples[y * self.width + x] / 4.0;
            }
        }
        Self { height, width, samples }
    }
}

fn gaussian() -> [f64; WINDOW] {
    let raw: [f64; WINDOW] = std::array::from_fn(|i| (-(i as f64 - 5.0).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let total: f64 = raw.iter().sum();
    raw.map(|g| g / total)
}

fn plane_ms_ssim(mut a: Plane, mut b: Plane) -> f64 {
    let mut result = 1.0;
    for (scale, weight) in WEIGHTS.into_iter().enumerate() {
        if scale > 0 {
            (a, b) = (a.halved(), b.halved());
        }
        let (mean_a, mean_b) = (a.blurred(), b.blurred());
        let (aa, bb, ab) = (a.product(&a).blurred(), b.product(&b).blurred(), a.product(&b).blurred());
        let mut sum = 0.0;
        for i in 0..mean_a.samples.len() {
            let (ma, mb) = (mean_a.samples[i], mean_b.samples[i]);
            let (va, vb, cov) = (aa.samples[i] - ma * ma, bb.samples[i] - mb * mb, ab.samples[i] - ma * mb);
            let structure = (2.0 * cov + C2) / (va + vb + C2);
            let luminance = if scale == 4 { (2.0 * ma * mb + C1) / (ma * ma + mb * mb + C1) } else { 1.0 };
            sum += structure * luminance;
        }
        result *= (sum / mean_a.samples.len() as f64).max(0.0).powf(weight);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// A smooth and busy picture, and a disturbed copy, by the formulas of the golden values' own program.
    fn pair(height: u32, width: u32, strength: i64) -> (RgbImage, RgbImage) {
        let original = RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (u64::from(x), u64::from(y));
            Rgb(std::array::from_fn(|c| {
                let c = c as u64;
                ((x * x / 7 + y * 3 + c * 40 + x * y / (5 + c)) / 3 % 256) as u8
            }))
        });
        let disturbed = RgbImage::from_fn(width, height, |x, y| {
            let pixel = original.get_pixel(x, y).0;
            Rgb(std::array::from_fn(|c| {
                let noise = (i64::from(x) * 31 + i64::from(y) * 17 + c as i64 * 7) * strength % 41 - 20;
                (i64::from(pixel[c]) + (noise * strength).div_euclid(4)).clamp(0, 255) as u8
            }))
        });
        (original, disturbed)
    }

    #[test]
    fn the_figures_are_those_of_an_independent_program() {
        // numpy and scipy.signal.convolve2d in double precision
        for (height, width, strength, mse_expected, psnr_expected, ms_ssim_expected) in [
            (176, 200, 3, 76.76048295454545, 29.2794266234181, 0.9948557693175779),
            (177, 203, 5, 208.05249877079217, 24.94907424705059, 0.9847838931840727),
            (256, 256, 9, 644.6676534016927, 20.037444811044228, 0.977804128197232),
        ] {
            let (a, b) = pair(height, width, strength);
            assert!((mse(&a, &b) - mse_expected).abs() < 1e-9);
            assert!((psnr_db(mse(&a, &b)).unwrap() - psnr_expected).abs() < 1e-9);
            assert!((ms_ssim(&a, &b).unwrap() - ms_ssim_expected).abs() < 1e-9);
        }
    }

    #[test]
    fn equal_pictures_have_no_psnr_and_an_ms_ssim_of_one_and_small_ones_have_no_ms_ssim() {
        let (a, _) = pair(176, 176, 1);
        assert_eq!(psnr_db(mse(&a, &a)), None);
        assert!((ms_ssim(&a, &a).unwrap() - 1.0).abs() < 1e-12);
        let (small, other) = pair(160, 300, 1);
        assert_eq!(ms_ssim(&small, &other), None);
        assert!(ms_ssim(&pair(161, 161, 1).0, &pair(161, 161, 1).1).is_some());
    }
}
