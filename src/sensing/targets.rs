//! More than one target: successive cancellation with every target re-estimated against what the others leave (RELAX).
//!
//! A target is a delay T, an arrival direction φ and the response g of the two streams, free here:
//! y_r(t) = a_r(φ) Σ_u g_u s_u(t − T). For given (T, φ) the best g explains E = xᴴ Q⁻¹ x/(N_R ν) of the energy, in units
//! of the noise, where x_u = Σ_r a_r* C_ru(T) and ν is a bin's noise; on noise alone E is a sum of unit exponentials, one
//! per stream in use. Echoes are subtracted in time, delayed exactly, so data sidelobes and window edges go with them.

use num_complex::{Complex32, Complex64};

use super::align::{Correlator, energy_threshold, streams_in_use};
use super::likelihood::wavenumber;
use super::spectrum::{Correlations, Gram, Spectrum};
use super::{EchoFrame, Planar, STREAMS, SensingConfig};
use crate::dsp::{DelayTaps, FILTER_TAPS};

/// Rounds of re-estimation after each new target.
const ROUNDS: usize = 20;
/// A round that moves no target by more, in samples and in sines, is the last.
const SETTLED: f64 = 1e-3;
/// Grid points per independent beam of the receive array.
const GRID: usize = 8;

/// One target's echo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetEcho {
    /// T in samples.
    pub delay_samples: f64,
    /// sin φ.
    pub arrival_sine: f64,
    /// g: the response of the two streams at element 0.
    pub response: [Complex64; STREAMS],
    /// E: its energy over the noise's.
    pub energy: f64,
}

/// Finds targets one by one. Allocates per call: it is meant for a frame now and then, not for the hot path.
pub struct TargetSearch {
    config: SensingConfig,
    window: usize,
    wavenumber: f64,
    correlator: Correlator,
    spectrum: Spectrum,
    correlations: Correlations,
    profiles: Vec<Complex32>,
    /// What no target explains yet, `[row][sample]`.
    residual: Vec<Complex32>,
}

impl TargetSearch {
    /// For windows of `window` samples.
    pub fn new(config: &SensingConfig, window: usize) -> Self {
        let rows = config.receive_antennas;
        let noise = config.samples_per_symbol as f64 * config.noise_power_w;
        let correlator = Correlator::new(window, config.lag_range(), rows, noise, config.false_alarm_probability);
        Self {
            window,
            wavenumber: wavenumber(config.spacing_wavelengths),
            profiles: vec![Complex32::default(); rows * STREAMS * correlator.lags()],
            residual: vec![Complex32::default(); rows * correlator.echo_samples()],
            spectrum: Spectrum::new(window, rows, config.samples_per_symbol, config.roll_off),
            correlations: std::array::from_fn(|_| vec![[Complex64::ZERO; STREAMS]; rows]),
            correlator,
            config: config.clone(),
        }
    }

    /// Up to `most` targets of a frame, the strongest first. A target counts if noise alone would show one as strong
    /// somewhere in the search with the configured false-alarm probability.
    pub fn find(&mut self, frame: &EchoFrame<'_>, most: usize) -> Vec<TargetEcho> {
        let count = self.correlator.echo_samples();
        for (row, residual) in self.residual.chunks_exact_mut(count).enumerate() {
            residual.copy_from_slice(&frame.echo_row(row)[..count]);
        }
        let mut targets: Vec<TargetEcho> = vec![];
        while targets.len() < most {
            let Some(coarse) = self.strongest(frame) else { break };
            let target = self.refine(frame, &coarse);
            self.add(frame, &target, -1.0);
            targets.push(target);
            self.relax(frame, &mut targets);
        }
        targets.sort_unstable_by(|a, b| b.energy.total_cmp(&a.energy));
        targets
    }

    /// The cell of the delay–angle grid with most energy, if it stands out.
    fn strongest(&mut self, frame: &EchoFrame<'_>) -> Option<TargetEcho> {
        let (rows, lags) = (self.config.receive_antennas, self.correlator.lags());
        let echo = Planar::new(&self.residual, self.correlator.echo_samples());
        let residual = EchoFrame { echo, echo_start: 0, ..*frame };
        let used = self.correlator.write_profiles(&residual, &mut self.profiles);
        let looks = streams_in_use(used);
        let cells = GRID * rows;
        let mut best = (0.0, 0, 0.0);
        let mut energy = vec![0f32; lags];
        for cell in 0..cells {
            let sine = -1.0 + (2 * cell + 1) as f64 / cells as f64;
            energy.fill(0.0);
            for stream in 0..STREAMS {
                let profile = |row: usize| &self.profiles[(row * STREAMS + stream) * lags..][..lags];
                let turns: Vec<_> = (0..rows).map(|row| turn(-self.wavenumber * row as f64 * sine)).collect();
                for (lag, energy) in energy.iter_mut().enumerate() {
                    let sum: Complex32 = turns.iter().enumerate().map(|(row, turn)| turn * profile(row)[lag]).sum();
                    *energy += sum.norm_sqr() / rows as f32;
                }
            }
            for (lag, energy) in energy.iter().enumerate() {
                if *energy > best.0 {
                    best = (*energy, lag, sine);
                }
            }
        }
        let threshold = energy_threshold(looks, self.config.false_alarm_probability / (lags * rows) as f64);
        (f64::from(best.0) > threshold).then(|| TargetEcho {
            delay_samples: (self.config.lag_range()[0] + best.1 as isize) as f64,
            arrival_sine: best.2,
            response: [Complex64::ZERO; STREAMS],
            energy: best.0.into(),
        })
    }

    /// Re-estimates every target against what all others leave, until none moves.
    fn relax(&mut self, frame: &EchoFrame<'_>, targets: &mut [TargetEcho]) {
        if targets.len() < 2 {
            return;
        }
        for _ in 0..ROUNDS {
            let mut moved = 0f64;
            for target in targets.iter_mut() {
                self.add(frame, target, 1.0);
                let better = self.refine(frame, target);
                self.add(frame, &better, -1.0);
                moved = moved
                    .max((better.delay_samples - target.delay_samples).abs())
                    .max((better.arrival_sine - target.arrival_sine).abs());
                *target = better;
            }
            if moved < SETTLED {
                break;
            }
        }
    }

    /// The maximum of E near a target, on the residual.
    fn refine(&mut self, frame: &EchoFrame<'_>, start: &TargetEcho) -> TargetEcho {
        let [first, last] = self.config.lag_range();
        let lag = (start.delay_samples.round() as isize).clamp(first, last);
        let count = self.correlator.echo_samples();
        let offset = (lag - first) as usize;
        let gram = self.spectrum.load_streams(frame.streams());
        self.spectrum.load_echo(self.residual.chunks_exact(count).map(|row| &row[offset..]));
        let noise = self.window as f64 * self.config.samples_per_symbol as f64 * self.config.noise_power_w;
        let mut delay = start.delay_samples - lag as f64;
        let mut sine = start.arrival_sine;
        let mut x = [Complex64::ZERO; STREAMS];
        for _ in 0..12 {
            self.spectrum.correlate(delay, &mut self.correlations);
            let jet = EnergyJet::at(&self.correlations, &gram, self.wavenumber, sine);
            x = jet.x;
            let [by_delay, by_sine] = jet.step();
            let (by_delay, by_sine) = (by_delay.clamp(-0.5, 0.5), by_sine.clamp(-0.1, 0.1));
            delay = (delay + by_delay).clamp(-2.0, 2.0);
            sine = (sine + by_sine).clamp(-1.0, 1.0);
            if by_delay.abs() < 1e-4 && by_sine.abs() < 1e-5 {
                break;
            }
        }
        let rows = self.config.receive_antennas as f64;
        TargetEcho {
            delay_samples: lag as f64 + delay,
            arrival_sine: sine,
            response: gram.response(x).map(|g| g / rows),
            energy: gram.explained(x) / (rows * noise),
        }
    }

    /// Adds `sign` times a target's echo to the residual.
    fn add(&mut self, frame: &EchoFrame<'_>, target: &TargetEcho, sign: f32) {
        let count = self.correlator.echo_samples();
        let taps = DelayTaps::new(target.delay_samples);
        let from = frame.window_start as i64 + self.config.lag_range()[0] as i64 - taps.reach_back();
        let [g_c, g_0] = target.response.map(|g| Complex32::new(g.re as f32, g.im as f32));
        let (s_c, s_0) = (frame.reference.row(0), frame.reference.row(1));
        let sum: Vec<_> = (from..from + (count + FILTER_TAPS) as i64)
            .map(|index| match usize::try_from(index) {
                Ok(index) if index < s_c.len() => g_c * s_c[index] + g_0 * s_0[index],
                _ => Complex32::default(),
            })
            .collect();
        let mut echo = vec![Complex32::default(); count];
        taps.apply(&sum, &mut echo);
        for (row, residual) in self.residual.chunks_exact_mut(count).enumerate() {
            let gain = sign * turn(self.wavenumber * row as f64 * target.arrival_sine);
            residual.iter_mut().zip(&echo).for_each(|(residual, echo)| *residual += gain * echo);
        }
    }
}

fn turn(phase: f64) -> Complex32 {
    Complex32::new(phase.cos() as f32, phase.sin() as f32)
}

/// x and the derivatives of xᴴQ⁻¹x by (T, v).
struct EnergyJet {
    x: [Complex64; STREAMS],
    gradient: [f64; 2],
    hessian: [[f64; 2]; 2],
}

impl EnergyJet {
    fn at(correlations: &Correlations, gram: &Gram, wavenumber: f64, sine: f64) -> Self {
        // x, its derivatives by T and v, and the second ones (TT, Tv, vv).
        let mut jets = [[Complex64::ZERO; STREAMS]; 6];
        let [zeroth, first, second] = correlations;
        for (row, ((c, c1), c2)) in zeroth.iter().zip(first).zip(second).enumerate() {
            let slope = Complex64::new(0.0, -wavenumber * row as f64);
            let phase = Complex64::cis(-wavenumber * row as f64 * sine);
            for stream in 0..STREAMS {
                let [c, c1, c2] = [c, c1, c2].map(|values| values[stream] * phase);
                for (jet, term) in jets.iter_mut().zip([c, c1, c * slope, c2, c1 * slope, c * slope * slope]) {
                    jet[stream] += term;
                }
            }
        }
        // Q⁻¹-products: ⟨a, b⟩ = Re aᴴ Q⁻¹ b.
        let inverse = jets.map(|jet| gram.response(jet));
        let product =
            |a: usize, b: usize| -> f64 { (0..STREAMS).map(|s| (jets[a][s].conj() * inverse[b][s]).re).sum() };
        Self {
            x: jets[0],
            gradient: [2.0 * product(1, 0), 2.0 * product(2, 0)],
            hessian: [
                [2.0 * (product(3, 0) + product(1, 1)), 2.0 * (product(4, 0) + product(1, 2))],
                [2.0 * (product(4, 0) + product(1, 2)), 2.0 * (product(5, 0) + product(2, 2))],
            ],
        }
    }

    /// Newton's step where E is concave, else a step uphill in each variable by itself.
    fn step(&self) -> [f64; 2] {
        let [[a, b], [_, d]] = self.hessian;
        let [g, h] = self.gradient;
        let determinant = a * d - b * b;
        if a < 0.0 && determinant > 0.0 {
            [-(d * g - b * h) / determinant, -(a * h - b * g) / determinant]
        } else {
            [g / a.abs().max(f64::MIN_POSITIVE), h / d.abs().max(f64::MIN_POSITIVE)]
        }
    }
}
