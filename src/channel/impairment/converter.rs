//! What large samples meet: a limit of the envelope, a converter of some bits, a power amplifier.

use num_complex::Complex32;

use super::{Impairment, Level, amplitude};

/// The envelope is cut.
#[derive(Debug, Clone)]
pub struct Clip {
    levels: Vec<Level>,
    over: f64,
}

impl Clip {
    /// At so many decibels over the power of each row (`level`).
    pub fn new(over_rms_db: f64, level: &Level, rows: usize) -> Self {
        Self { levels: vec![level.clone(); rows], over: amplitude(over_rms_db) }
    }

    /// Another limit from the next sample on.
    pub fn set(&mut self, over_rms_db: f64) {
        self.over = amplitude(over_rms_db);
    }
}

impl Impairment for Clip {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        for (row, level) in rows.iter_mut().zip(&mut self.levels) {
            level.each(row, |power, piece| {
                let limit = (self.over * power.sqrt()) as f32;
                if limit > 0.0 {
                    for sample in piece {
                        let size = sample.norm();
                        if size > limit {
                            *sample *= limit / size;
                        }
                    }
                }
            });
        }
    }
}

/// An analogue-to-digital converter for each real part: it rounds, and it clips at its full scale.
#[derive(Debug, Clone)]
pub struct Adc {
    levels: Vec<Level>,
    bits: u32,
    over: f64,
}

impl Adc {
    /// Of so many bits, its full scale so many decibels over the RMS of each real part (`level` is that of both).
    pub fn new(bits: u32, full_scale_db: f64, level: &Level, rows: usize) -> Self {
        Self { levels: vec![level.clone(); rows], bits, over: amplitude(full_scale_db) }
    }

    /// Another converter from the next sample on.
    pub fn set(&mut self, bits: u32, full_scale_db: f64) {
        (self.bits, self.over) = (bits, amplitude(full_scale_db));
    }
}

impl Impairment for Adc {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let half = 2f64.powi(self.bits as i32 - 1);
        for (row, level) in rows.iter_mut().zip(&mut self.levels) {
            level.each(row, |power, piece| {
                let step = self.over * (0.5 * power).sqrt() / half;
                if step > 0.0 {
                    let round = |x: f32| (((f64::from(x) / step).floor().clamp(-half, half - 1.0) + 0.5) * step) as f32;
                    piece.iter_mut().for_each(|sample| *sample = Complex32::new(round(sample.re), round(sample.im)));
                }
            });
        }
    }
}

/// A power amplifier that saturates (Rapp): y = x/(1 + (|x|/A)^(2p))^(1/(2p)).
#[derive(Debug, Clone)]
pub struct PowerAmplifier {
    levels: Vec<Level>,
    smoothness: f64,
    over: f64,
}

impl PowerAmplifier {
    /// Of smoothness p, its saturation so many decibels over the power of each row (`level`).
    pub fn new(rapp_p: f64, backoff_db: f64, level: &Level, rows: usize) -> Self {
        Self { levels: vec![level.clone(); rows], smoothness: rapp_p, over: amplitude(backoff_db) }
    }

    /// Another amplifier from the next sample on.
    pub fn set(&mut self, rapp_p: f64, backoff_db: f64) {
        (self.smoothness, self.over) = (rapp_p, amplitude(backoff_db));
    }
}

impl Impairment for PowerAmplifier {
    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let p = self.smoothness;
        for (row, level) in rows.iter_mut().zip(&mut self.levels) {
            level.each(row, |power, piece| {
                let saturation = self.over * self.over * power;
                if saturation > 0.0 {
                    for sample in piece {
                        let ratio = f64::from(sample.norm_sqr()) / saturation;
                        // Both forms are the same; each is finite on its side.
                        let gain = if ratio > 1.0 {
                            (1.0 + ratio.powf(-p)).powf(-0.5 / p) / ratio.sqrt()
                        } else {
                            (1.0 + ratio.powf(p)).powf(-0.5 / p)
                        };
                        *sample *= gain as f32;
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{white, whole};
    use super::*;
    use crate::dsp::mean_power;

    #[test]
    fn the_envelope_is_cut_at_its_limit_and_nothing_below_is_touched() {
        let clean = [white(20_000, 1), white(20_000, 2)];
        let make = || Box::new(Clip::new(3.0, &Level::given(1.0), 2)) as Box<dyn Impairment>;
        let rows = whole(make, clean.clone());
        let limit = amplitude(3.0) as f32;
        let mut cut = 0;
        for (y, x) in rows.iter().flatten().zip(clean.iter().flatten()) {
            if x.norm() > limit {
                cut += 1;
                assert!((y.norm() - limit).abs() < 1e-5 && (y.arg() - x.arg()).abs() < 1e-5);
            } else {
                assert_eq!(y, x);
            }
        }
        // The share above is exp(−10^0.3) of a Gaussian: 13.6 %; five deviations of 40 000 draws.
        let expected = (-(10f64.powf(0.3))).exp();
        assert!((f64::from(cut) / 40_000.0 - expected).abs() < 5.0 * (expected / 40_000.0).sqrt());
    }

    #[test]
    fn a_converters_noise_is_a_twelfth_of_its_step_squared() {
        let clean = [white(50_000, 1), white(50_000, 2)];
        for bits in [6, 8, 10] {
            let make = || Box::new(Adc::new(bits, 15.0, &Level::given(1.0), 2)) as Box<dyn Impairment>;
            let rows = whole(make, clean.clone());
            let step = 2.0 * amplitude(15.0) * 0.5f64.sqrt() / 2f64.powi(bits as i32);
            for (row, clean) in rows.iter().zip(&clean) {
                let error: Vec<_> = row.iter().zip(clean).map(|(y, x)| y - x).collect();
                let found = mean_power(&error) / (step * step / 6.0);
                assert!((found - 1.0).abs() < 0.05, "{bits} bits: {found}");
            }
        }
        let mut loud = vec![Complex32::new(100.0, -100.0)];
        Adc::new(8, 0.0, &Level::given(2.0), 1).apply_one(&mut loud);
        assert_eq!(loud[0], Complex32::new(127.5 / 128.0, -127.5 / 128.0));
    }

    #[test]
    fn an_amplifier_is_linear_far_below_saturation_and_reaches_it_above() {
        let make = |db| PowerAmplifier::new(2.0, db, &Level::given(1.0), 1);
        let mut low = vec![Complex32::ONE];
        make(30.0).apply_one(&mut low);
        assert!((low[0].re - 1.0).abs() < 1e-3);
        let mut at = vec![Complex32::ONE];
        make(0.0).apply_one(&mut at);
        // 3 dB/p below where the line and the ceiling meet.
        assert!((f64::from(at[0].re) - 2f64.powf(-0.25)).abs() < 1e-6);
        let mut high = vec![Complex32::ONE];
        make(-40.0).apply_one(&mut high);
        assert!((high[0].re - 0.01).abs() < 1e-6);
    }
}
