//! The sounding's echo: every transmit antenna alone, one after the other, so that the departure direction is as plain as it is at
//! any array.
//!
//! In a frame the beams' ratio is the same in N_T − 1 directions. A sounding has no such rivals: antenna n shows
//! z_n = β E Σ_r |a_r|² e^{−jknu} and noise, E being the word's energy. What of Σ|z_n|² a direction leaves, R(u), is noise; a
//! direction is less likely by (R(u) − min R)/ν nats. ν is the noise of a z_n, or what the best direction leaves if
//! that is more (other echoes, antennas that are off).

use num_complex::{Complex32, Complex64};

use super::likelihood::Parameters;
use super::{EchoFrame, SensingConfig};
use crate::dsp::{DelayTaps, FILTER_TAPS, PulseShaper, correlate, mean_power, tail_samples};
use crate::modem::frame::{HeaderLength, Layout, PREAMBLE, SOUNDING_GUARD};
use crate::modem::words::Words;

/// The part of the sounding's energy that even good antennas leave: their couplings, the waveform's own errors.
const LEFT_PART: f64 = 1e-4;
/// Directions that are looked at for each antenna.
const GRID: usize = 16;

/// Reads the echoes of soundings.
pub(super) struct SoundingEcho {
    antennas: usize,
    samples_per_symbol: usize,
    spacing_wavelengths: f64,
    /// Deviations of the elements, squared.
    declared: f64,
    /// One antenna's word as shaped, with silence on either side for the delay's filter.
    padded: Vec<Complex32>,
    word: Vec<Complex32>,
    /// z_n.
    seen: Vec<Complex64>,
}

/// What one sounding says of the departure direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sounded {
    /// sin θ of the best direction.
    pub sine: f64,
    /// Σ|z_n|², what the best direction leaves of it, and ν.
    total: f64,
    least: f64,
    noise: f64,
}

impl SoundingEcho {
    pub fn new(config: &SensingConfig) -> Self {
        let (antennas, sps) = (config.transmit_antennas, config.samples_per_symbol);
        let (_, slot) = Layout::with_sounding(antennas, HeaderLength::Short).sounding_slot(0, antennas);
        let symbols = slot - 2 * SOUNDING_GUARD;
        let words = Words::new(antennas);
        let mut shaped = vec![Complex32::default(); symbols * sps + tail_samples(sps)];
        PulseShaper::new(symbols, sps, config.roll_off).shape(&words.sounding[..symbols], &mut shaped);
        let mut padded = vec![Complex32::default(); shaped.len() + 3 * FILTER_TAPS];
        padded[FILTER_TAPS..][..shaped.len()].copy_from_slice(&shaped);
        Self {
            antennas,
            samples_per_symbol: sps,
            spacing_wavelengths: config.spacing_wavelengths,
            declared: config.element_phase_std_rad.powi(2) + config.element_gain_std.powi(2),
            word: vec![Complex32::default(); shaped.len() + FILTER_TAPS],
            padded,
            seen: vec![Complex64::ZERO; antennas],
        }
    }

    /// Samples from a window's first back to that of the first antenna's slot; `None` where the frame has no sounding.
    fn before(&self, window_start: usize) -> Option<usize> {
        let sps = self.samples_per_symbol;
        let start = window_start.checked_sub(tail_samples(sps) / 2)?;
        let of = |length| Layout::with_sounding(self.antennas, length);
        let layout = HeaderLength::ALL.map(of).into_iter().find(|layout| layout.sensing_window() * sps == start)?;
        Some((layout.sensing_window() - PREAMBLE) * sps)
    }

    /// Reads a sounding that comes `delay` samples late, from the arrival direction `point[1]` with the noise of a sample as that
    /// direction's beam shows it, and that turns by `rate` radians a sample. `None` where the frame has none, or its rows do not
    /// reach back to it.
    pub fn read(
        &mut self,
        frame: &EchoFrame<'_>,
        config: &SensingConfig,
        point: &Parameters,
        delay: f64,
        [noise, rate]: [f64; 2],
    ) -> Option<Sounded> {
        let before = self.before(frame.window_start)?;
        // `apply` writes output n from input n + tap: with a silence of FILTER_TAPS before the word, output sample n is the
        // word's sample n + FILTER_TAPS − reach_back.
        let whole = delay.floor();
        let taps = DelayTaps::new(delay - whole);
        let reach = taps.reach_back() as usize;
        let length = self.word.len();
        taps.apply(&self.padded[FILTER_TAPS - reach..][..length + FILTER_TAPS - 1], &mut self.word);
        let energy = mean_power(&self.word) * length as f64;
        let sps = self.samples_per_symbol;
        let slot = Layout::with_sounding(self.antennas, HeaderLength::Short).sounding / self.antennas * sps;
        let first = frame.echo_start as isize + whole as isize - config.lag_range()[0] - before as isize
            + (SOUNDING_GUARD * sps) as isize
            - (tail_samples(sps) / 2) as isize;
        let step = Complex64::cis(-std::f64::consts::TAU * self.spacing_wavelengths * point[1]);
        self.seen.fill(Complex64::ZERO);
        let mut steering = Complex64::ONE;
        for row in 0..config.receive_antennas {
            let samples = frame.echo.row(row);
            for (antenna, seen) in self.seen.iter_mut().enumerate() {
                let begin = usize::try_from(first + (antenna * slot) as isize).ok()?;
                *seen += steering * correlate(samples.get(begin..begin + length)?, &self.word);
            }
            steering *= step;
        }
        for (antenna, seen) in self.seen.iter_mut().enumerate() {
            *seen *= Complex64::cis(-rate * (antenna * slot) as f64);
        }
        Some(self.fit(noise * energy * config.receive_antennas as f64))
    }

    /// The best direction for the z_n, whose noise is `noise`.
    fn fit(&mut self, noise: f64) -> Sounded {
        let total: f64 = self.seen.iter().map(Complex64::norm_sqr).sum();
        let cells = GRID * self.antennas * (2.0 * self.spacing_wavelengths).ceil().max(1.0) as usize;
        let sine = |cell: f64| (-1.0 + 2.0 * cell / cells as f64).clamp(-1.0, 1.0);
        let best = (0..=cells).max_by(|a, b| self.along(sine(*a as f64)).total_cmp(&self.along(sine(*b as f64))));
        let best = best.unwrap_or(0) as f64;
        let (mut low, mut high) = (sine(best - 1.0), sine(best + 1.0));
        const GOLDEN: f64 = 0.618_033_988_749_895;
        for _ in 0..30 {
            let (a, b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
            if self.along(a) > self.along(b) { high = b } else { low = a }
        }
        let sine = 0.5 * (low + high);
        let least = (total - self.along(sine)).max(0.0);
        let free = (self.antennas.saturating_sub(1)).max(1) as f64;
        let model = (LEFT_PART + 4.0 * self.declared) * total / self.antennas as f64;
        Sounded { sine, total, least, noise: noise.max(least / free).max(model) }
    }

    /// Σ|z_n|² less R(u).
    fn along(&self, sine: f64) -> f64 {
        let step = Complex64::cis(std::f64::consts::TAU * self.spacing_wavelengths * sine);
        let mut phase = Complex64::ONE;
        let mut sum = Complex64::ZERO;
        for seen in &self.seen {
            sum += phase * seen;
            phase *= step;
        }
        sum.norm_sqr() / self.antennas as f64
    }

    /// By how many nats a direction is less likely than the best, for the sounding read last.
    pub fn missed(&self, sounded: &Sounded, sine: f64) -> f64 {
        ((sounded.total - self.along(sine) - sounded.least) / sounded.noise).max(0.0)
    }
}
