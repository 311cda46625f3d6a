//! A channel of many paths: a list of them beside the first, or draws of a profile, at rest or fading.

use num_complex::{Complex32, Complex64};
use rand::RngExt;

use super::{BLOCK, Impairment, amplitude, generator, length, normal, single};
use crate::channel::line::DelayLine;
use crate::dsp::{DelayTaps, FILTER_LATENCY, scale_add};

/// Samples between two evaluations of fading gains; between them a gain goes straight.
const FADE: usize = 16;
/// Waves that make up a path's fading.
const WAVES: usize = 16;

/// One path beside the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Samples behind the first path, 0 or more.
    pub delay_samples: f64,
    /// Its power over the first path's.
    pub gain_db: f64,
    /// Its phase against the first path's.
    pub phase_deg: f64,
}

/// How the power of many paths falls over their delay, the mean power of all being 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// 3GPP TR 38.901, table 7.7.2-1.
    TdlA,
    /// 3GPP TR 38.901, table 7.7.2-3.
    TdlC,
    /// One path without a constant part.
    Rayleigh,
}

/// Normalised delay and power in decibels of each path of TDL-A.
const TDL_A: &[(f64, f64)] = &[
    (0.0, -13.4),
    (0.3819, 0.0),
    (0.4025, -2.2),
    (0.5868, -4.0),
    (0.4610, -6.0),
    (0.5375, -8.2),
    (0.6708, -9.9),
    (0.5750, -10.5),
    (0.7618, -7.5),
    (1.5375, -15.9),
    (1.8978, -6.6),
    (2.2242, -16.7),
    (2.1718, -12.4),
    (2.4942, -15.2),
    (2.5119, -10.8),
    (3.0582, -11.3),
    (4.0810, -12.7),
    (4.4579, -16.2),
    (4.5695, -18.3),
    (4.7966, -18.9),
    (5.0066, -16.6),
    (5.3043, -19.9),
    (9.6586, -29.7),
];

/// Of TDL-C.
#[expect(clippy::approx_constant, reason = "a delay of the table, not 2/π")]
const TDL_C: &[(f64, f64)] = &[
    (0.0, -4.4),
    (0.2099, -1.2),
    (0.2219, -3.5),
    (0.2329, -5.2),
    (0.2176, -2.5),
    (0.6366, 0.0),
    (0.6448, -2.2),
    (0.6560, -3.9),
    (0.6584, -7.4),
    (0.7935, -7.1),
    (0.8213, -10.7),
    (0.9336, -11.1),
    (1.2285, -5.1),
    (1.3083, -6.8),
    (2.1704, -8.7),
    (2.7105, -13.2),
    (4.2589, -13.9),
    (4.6003, -13.9),
    (5.4902, -15.8),
    (5.6077, -17.1),
    (6.3065, -16.0),
    (6.6374, -15.7),
    (7.0427, -21.6),
    (8.6523, -22.8),
];

impl Profile {
    fn paths(self) -> &'static [(f64, f64)] {
        match self {
            Self::TdlA => TDL_A,
            Self::TdlC => TDL_C,
            Self::Rayleigh => &[(0.0, 0.0)],
        }
    }

    /// Longest delay in units of the delay spread.
    pub fn longest(self) -> f64 {
        self.paths().iter().fold(0.0, |longest, (delay, _)| longest.max(*delay))
    }
}

/// A gain that stays, or the sum of waves from all around a receiver that moves (Jakes).
#[derive(Debug, Clone)]
struct Fading {
    steady: Complex64,
    /// Each wave now, and its turn within [`FADE`] samples.
    waves: Vec<(Complex64, Complex64)>,
    amplitude: f64,
}

impl Fading {
    fn next(&mut self) -> Complex32 {
        let mut sum = self.steady;
        for (wave, turn) in &mut self.waves {
            sum += *wave * self.amplitude;
            *wave *= *turn;
        }
        single(sum)
    }
}

/// One path under way.
#[derive(Debug, Clone)]
struct Tap {
    delay_samples: f64,
    taps: DelayTaps,
    fading: Fading,
    /// The gain every [`FADE`] samples of the block, from the last one before it on.
    gains: [Complex32; BLOCK / FADE + 2],
    known: usize,
}

/// All paths of a link; every row of a receiver hears the same ones.
pub struct Multipath {
    paths: Vec<Tap>,
    lines: Vec<DelayLine>,
    heard: Vec<Complex32>,
    /// Samples into the stretch of [`FADE`] at the next sample.
    within: usize,
}

impl Multipath {
    /// The first path and those of a list. The mean power of all together is that of the first alone.
    pub fn listed(list: &[Arrival], rows: usize) -> Self {
        let total: f64 = 1.0 + list.iter().map(|path| 10f64.powf(path.gain_db / 10.0)).sum::<f64>();
        let first = (0.0, Complex64::from(total.powf(-0.5)));
        let others = list.iter().map(|path| {
            let gain = Complex64::from_polar(amplitude(path.gain_db) / total.sqrt(), path.phase_deg.to_radians());
            (path.delay_samples, gain)
        });
        let paths = std::iter::once(first)
            .chain(others)
            .map(|(delay, steady)| tap(delay, Fading { steady, waves: Vec::new(), amplitude: 0.0 }));
        Self::of(paths.collect(), rows)
    }

    /// Paths drawn of a profile, which fade with a Doppler shift of up to `doppler` cycles per sample; at rest where that
    /// is 0. The mean power over all draws is 1.
    pub fn drawn(profile: Profile, spread_samples: f64, doppler: f64, rows: usize, seed: u64) -> Self {
        let mut random = generator(seed, 0xfa);
        let total: f64 = profile.paths().iter().map(|(_, db)| 10f64.powf(db / 10.0)).sum();
        let turn = std::f64::consts::TAU;
        let paths = profile.paths().iter().map(|(delay, db)| {
            let size = amplitude(*db) / total.sqrt();
            let fading = if doppler == 0.0 {
                let (re, im) = (normal(&mut random), normal(&mut random));
                let steady = Complex64::new(re, im) * (size * std::f64::consts::FRAC_1_SQRT_2);
                Fading { steady, waves: Vec::new(), amplitude: 0.0 }
            } else {
                let waves = (0..WAVES).map(|_| {
                    let (angle, phase) = (random.random_range(0.0..turn), random.random_range(0.0..turn));
                    (Complex64::cis(phase), Complex64::cis(turn * doppler * angle.cos() * FADE as f64))
                });
                let waves = waves.collect();
                Fading { steady: Complex64::ZERO, waves, amplitude: size / (WAVES as f64).sqrt() }
            };
            tap(delay * spread_samples, fading)
        });
        Self::of(paths.collect(), rows)
    }

    fn of(paths: Vec<Tap>, rows: usize) -> Self {
        let longest = paths.iter().fold(0.0f64, |longest, path| longest.max(path.delay_samples));
        let line = DelayLine::new(longest.ceil() as usize + FILTER_LATENCY + 1, BLOCK);
        Self { paths, lines: vec![line; rows], heard: vec![Complex32::default(); BLOCK], within: 0 }
    }

    /// Delay in samples and gain of each path, as the next sample meets them.
    pub fn taps(&self) -> impl Iterator<Item = (f64, Complex64)> + '_ {
        self.paths.iter().map(|path| {
            let waves = path.fading.waves.iter().map(|(wave, _)| wave * path.fading.amplitude).sum::<Complex64>();
            (path.delay_samples, path.fading.steady + waves)
        })
    }
}

fn tap(delay_samples: f64, fading: Fading) -> Tap {
    Tap {
        delay_samples,
        taps: DelayTaps::new(delay_samples + FILTER_LATENCY as f64),
        fading,
        gains: [Complex32::default(); BLOCK / FADE + 2],
        known: 0,
    }
}

impl Tap {
    /// Brings the gains up to those that `count` samples from `within` on need.
    fn look_ahead(&mut self, within: usize, count: usize) {
        let needed = (within + count).div_ceil(FADE) + 1;
        while self.known < needed {
            self.gains[self.known] = self.fading.next();
            self.known += 1;
        }
    }

    /// `sum += gain·heard`.
    fn add(&self, within: usize, heard: &[Complex32], sum: &mut [Complex32]) {
        if self.fading.waves.is_empty() {
            return scale_add(single(self.fading.steady), heard, sum);
        }
        for (n, (sum, heard)) in sum.iter_mut().zip(heard).enumerate() {
            let (index, part) = ((within + n) / FADE, ((within + n) % FADE) as f32 / FADE as f32);
            let (low, high) = (self.gains[index], self.gains[index + 1]);
            *sum += (low + (high - low) * part) * heard;
        }
    }

    /// Forgets the gains of whole stretches that have passed.
    fn pass(&mut self, stretches: usize) {
        self.gains.copy_within(stretches..self.known, 0);
        self.known -= stretches;
    }
}

impl Impairment for Multipath {
    fn lag(&self) -> usize {
        FILTER_LATENCY
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        let count = length(rows);
        for from in (0..count).step_by(BLOCK - FADE) {
            let end = (from + BLOCK - FADE).min(count);
            let within = self.within;
            self.paths.iter_mut().for_each(|path| path.look_ahead(within, end - from));
            for (row, line) in rows.iter_mut().zip(&mut self.lines) {
                let row = &mut row[from..end];
                line.push(row.len(), |newest| newest.copy_from_slice(row));
                row.fill(Complex32::default());
                for path in &self.paths {
                    let heard = &mut self.heard[..row.len()];
                    line.read(&path.taps, 0, heard);
                    path.add(within, heard, row);
                }
            }
            let passed = within + end - from;
            self.paths.iter_mut().for_each(|path| path.pass(passed / FADE));
            self.within = passed % FADE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tone, whole};
    use super::*;
    use crate::dsp::mean_power;

    #[test]
    fn a_second_path_adds_the_delayed_signal_and_the_mean_power_stays() {
        let list = [Arrival { delay_samples: 2.5, gain_db: -6.0, phase_deg: 90.0 }];
        let make = || Box::new(Multipath::listed(&list, 2)) as Box<dyn Impairment>;
        let gain = amplitude(-6.0);
        for frequency in [0.0, 0.1, -0.27] {
            let [row, other] = whole(make, [tone(9000, frequency), tone(9000, frequency)]);
            assert_eq!(row, other);
            let turn = std::f64::consts::TAU * frequency;
            let response =
                (Complex64::ONE + Complex64::cis(-turn * 2.5) * Complex64::new(0.0, gain)) / (1.0 + gain * gain).sqrt();
            for n in (100..9000).step_by(97) {
                let exact = response * Complex64::cis(turn * (n as f64 - FILTER_LATENCY as f64));
                assert!((single(exact) - row[n]).norm() < 2e-4, "{frequency} {n}");
            }
        }
    }

    #[test]
    fn draws_of_a_profile_have_unit_mean_power_and_the_spread_asked_for() {
        for profile in [Profile::TdlA, Profile::TdlC] {
            let (mut power, mut first, mut second) = (0.0, 0.0, 0.0);
            for seed in 0..2000 {
                for (delay, gain) in Multipath::drawn(profile, 3.0, 0.0, 1, seed).taps() {
                    power += gain.norm_sqr();
                    first += gain.norm_sqr() * delay;
                    second += gain.norm_sqr() * delay * delay;
                }
            }
            let spread = (second / power - (first / power).powi(2)).sqrt();
            // Each draw's power scatters by about 0.4 of it.
            assert!((power / 2000.0 - 1.0).abs() < 0.05, "{profile:?}: {power}");
            assert!((spread / 3.0 - 1.0).abs() < 0.05, "{profile:?}: {spread}");
        }
    }

    #[test]
    fn fading_is_that_of_a_receiver_amid_scatterers() {
        // E[g*(0) g(τ)] = J_0(2πfτ), over many draws.
        let (doppler, lag) = (1e-4, 3000);
        let (mut power, mut likeness) = (0.0, 0.0);
        for seed in 0..300 {
            let mut row = vec![Complex32::ONE; 4096];
            Multipath::drawn(Profile::Rayleigh, 0.0, doppler, 1, seed).apply_one(&mut row);
            power += mean_power(&row[100..]) / 300.0;
            likeness += f64::from((row[100 + lag] * row[100].conj()).re) / 300.0;
        }
        assert!((power - 1.0).abs() < 0.2, "{power}");
        // J_0(1.885) = 0.2897; a product scatters by about 1/√300 = 0.06.
        assert!((likeness - 0.2897).abs() < 0.2, "{likeness}");
    }

    #[test]
    fn fading_gains_between_their_evaluations_are_those_of_the_waves() {
        let make = || Box::new(Multipath::drawn(Profile::TdlA, 2.0, 1e-4, 2, 3)) as Box<dyn Impairment>;
        let ones = vec![Complex32::ONE; 20_000];
        let [row, other] = whole(make, [ones.clone(), ones]);
        assert_eq!(row, other);
        let model = Multipath::drawn(Profile::TdlA, 2.0, 1e-4, 1, 3);
        for n in (200..20_000).step_by(333) {
            let exact: Complex64 = model
                .paths
                .iter()
                .flat_map(|path| path.fading.waves.iter().map(|(wave, turn)| (path.fading.amplitude, wave, turn)))
                .map(|(size, wave, turn)| wave * Complex64::cis(turn.arg() * n as f64 / FADE as f64) * size)
                .sum();
            assert!((single(exact) - row[n]).norm() < 1e-4, "{n}");
        }
    }
}
