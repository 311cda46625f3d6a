//! Delay–angle and delay–Doppler maps of the echo, as plain arrays.
//!
//! A profile is the correlation of one row with one whitened stream over all lags, scaled so that noise has unit
//! variance: p_ru(d). The delay–angle map is Σ_u |Σ_r a_r(φ)* p_ru(d)|²/(N_R U) with U streams in use, the delay–Doppler
//! map Σ_ru |Σ_k p_ru(d, k) e^{−j2πf t_k}|²/(K N_R U) over K coherent frames at times t_k. On noise alone every cell has
//! mean 1 and is a sum of U (or N_R·U) unit exponentials divided by their number.

use std::f64::consts::TAU;

use num_complex::{Complex32, Complex64};

use super::align::{Correlator, streams_in_use};
use super::{EchoFrame, STREAMS, SensingConfig};

/// Power over two axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Path TR → target → SRE plus timing error, in metres, of each row.
    pub path_m: Vec<f64>,
    /// sin φ, or the Doppler shift in Hz, of each column.
    pub columns: Vec<f64>,
    /// `[row][column]`, in units of what is received in the mean: noise, and the echoes that are not at the cell.
    pub power: Vec<f32>,
    /// Unit exponentials that a cell averages.
    pub looks: usize,
}

impl Map {
    /// The power of one cell.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.power[row * self.columns.len() + column]
    }

    /// Row and column of the largest power.
    pub fn peak(&self) -> (usize, usize) {
        let best = (0..self.power.len()).max_by(|a, b| self.power[*a].total_cmp(&self.power[*b])).unwrap_or(0);
        (best / self.columns.len(), best % self.columns.len())
    }
}

/// The profiles of one frame, or of several that hold phase and timing error.
pub struct Profiles {
    config: SensingConfig,
    correlator: Correlator,
    first_lag: isize,
    used: usize,
    /// `[frame][row][stream][lag]`.
    values: Vec<Complex32>,
    times_s: Vec<f64>,
}

impl Profiles {
    /// Empty, for windows of `window` samples.
    pub fn new(config: &SensingConfig, window: usize) -> Self {
        let lags = config.lag_range();
        Self {
            correlator: Correlator::of(window, config),
            first_lag: lags[0],
            used: STREAMS,
            values: Vec::new(),
            times_s: Vec::new(),
            config: config.clone(),
        }
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.values.clear();
        self.times_s.clear();
    }

    /// Takes in a frame, whose echo rows go on for [`Self::echo_samples`].
    pub fn push(&mut self, frame: &EchoFrame<'_>) {
        let begin = self.values.len();
        self.values.resize(begin + self.frame_size(), Complex32::default());
        let used = self.correlator.write_profiles(frame, &mut self.values[begin..]);
        self.used = streams_in_use(used);
        self.times_s.push(frame.time_s);
    }

    /// Frames taken in.
    pub fn frames(&self) -> usize {
        self.times_s.len()
    }

    /// Samples of each echo row that a frame needs.
    pub fn echo_samples(&self) -> usize {
        self.correlator.echo_samples()
    }

    fn frame_size(&self) -> usize {
        self.config.receive_antennas * STREAMS * self.correlator.lags()
    }

    fn path_m(&self) -> Vec<f64> {
        let step = self.config.sample_path_m();
        (0..self.correlator.lags()).map(|lag| (self.first_lag + lag as isize) as f64 * step).collect()
    }

    /// The delay–angle map at these arrival sines, averaged over all frames (which need not be coherent).
    pub fn delay_angle(&self, sines: &[f64]) -> Map {
        let (rows, lags) = (self.config.receive_antennas, self.correlator.lags());
        let wavenumber = TAU * self.config.spacing_wavelengths;
        let mut power = vec![0f32; lags * sines.len()];
        let scale = 1.0 / (rows * self.used * self.frames().max(1)) as f32;
        for frame in self.values.chunks_exact(self.frame_size()) {
            for (column, sine) in sines.iter().enumerate() {
                let steering: Vec<_> =
                    (0..rows).map(|row| single(Complex64::cis(-wavenumber * row as f64 * sine))).collect();
                for stream in 0..STREAMS {
                    for lag in 0..lags {
                        let at = |row: usize| frame[(row * STREAMS + stream) * lags + lag];
                        let sum: Complex32 = steering.iter().enumerate().map(|(row, phase)| phase * at(row)).sum();
                        power[lag * sines.len() + column] += scale * sum.norm_sqr();
                    }
                }
            }
        }
        Map { path_m: self.path_m(), columns: sines.to_vec(), power, looks: self.used * self.frames().max(1) }
    }

    /// The delay–Doppler map at these shifts (Hz), summed over antennas and streams. The frames must hold the phase.
    pub fn delay_doppler(&self, shifts_hz: &[f64]) -> Map {
        let lags = self.correlator.lags();
        let scale = 1.0 / (self.config.receive_antennas * self.used * self.frames().max(1)) as f32;
        let mut power = vec![0f32; lags * shifts_hz.len()];
        let mut sums = vec![Complex32::default(); self.frame_size()];
        for (column, shift) in shifts_hz.iter().enumerate() {
            sums.fill(Complex32::default());
            for (frame, time) in self.values.chunks_exact(self.frame_size()).zip(&self.times_s) {
                let turn = single(Complex64::cis(-TAU * shift * time));
                sums.iter_mut().zip(frame).for_each(|(sum, value)| *sum += turn * value);
            }
            for profile in sums.chunks_exact(lags) {
                for (lag, value) in profile.iter().enumerate() {
                    power[lag * shifts_hz.len() + column] += scale * value.norm_sqr();
                }
            }
        }
        let looks = self.config.receive_antennas * self.used;
        Map { path_m: self.path_m(), columns: shifts_hz.to_vec(), power, looks }
    }
}

fn single(value: Complex64) -> Complex32 {
    Complex32::new(value.re as f32, value.im as f32)
}

/// Sines of N_R beams of the receive array that noise reaches independently, −1 … 1.
pub fn independent_beams(config: &SensingConfig) -> Vec<f64> {
    let count = config.receive_antennas;
    let step = 1.0 / (config.spacing_wavelengths * count as f64);
    (0..count).map(|index| -1.0 + (index as f64 + 0.5) * step).filter(|sine| *sine < 1.0).collect()
}
