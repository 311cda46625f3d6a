//! Coarse alignment: at which whole delay does the echo begin?
//!
//! For each lag d the statistic is E(d) = Σ_r c_rᴴ Q⁻¹ c_r / (sps·σ_s²), c_ru = Σ_n y_r[n + d] s_u[n]*, Q the Gram matrix
//! of the streams: the energy that the two streams explain together, whatever their spatial response. On noise alone it
//! is a sum of N_R·(streams in use) unit exponentials, so its threshold follows from the false-alarm probability.
//! Correlation is linear (zero-padded FFTs), not circular.

use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use super::spectrum::Gram;
use super::{Planar, STREAMS};

/// A stream with less than this part of the transmit power is not correlated: it would add noise only.
const NEGLIGIBLE_POWER: f64 = 1e-9;

/// The delay search.
pub(super) struct Alignment {
    window: usize,
    first_lag: isize,
    lags: usize,
    rows: usize,
    noise_variance: f64,
    length: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex32>,
    streams: Vec<Complex32>,
    echo: Vec<Complex32>,
    product: Vec<Complex32>,
    energy: Vec<f32>,
    /// Thresholds for one and for two streams in use.
    thresholds: [f64; STREAMS],
}

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    /// The best whole lag.
    pub lag: isize,
    /// Where a parabola through its neighbours puts the maximum, −0.5 … 0.5.
    pub fraction: f64,
    /// E at the best lag.
    pub energy: f64,
    /// What noise alone exceeds with the false-alarm probability.
    pub threshold: f64,
}

impl Alignment {
    /// `noise_variance` is that of a complex sample, sps·σ_s².
    pub fn new(
        window: usize,
        [first_lag, last_lag]: [isize; 2],
        rows: usize,
        noise_variance: f64,
        false_alarm: f64,
    ) -> Self {
        let lags = (last_lag - first_lag + 1) as usize;
        let length = smooth_length(window + lags - 1);
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(length), planner.plan_fft_inverse(length));
        let scratch = forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len());
        Self {
            window,
            first_lag,
            lags,
            rows,
            noise_variance,
            length,
            forward,
            inverse,
            scratch: vec![Complex32::default(); scratch],
            streams: vec![Complex32::default(); STREAMS * length],
            echo: vec![Complex32::default(); rows * length],
            product: vec![Complex32::default(); length],
            energy: vec![0.0; lags],
            thresholds: [1, 2].map(|streams| energy_threshold(rows * streams, false_alarm / lags as f64)),
        }
    }

    /// Samples of one echo row that [`Self::search`] reads.
    pub fn echo_samples(&self) -> usize {
        self.window + self.lags - 1
    }

    /// The first lag searched.
    pub fn first_lag(&self) -> isize {
        self.first_lag
    }

    /// Searches the rows, whose sample `start` is the reference's first sample at the first lag. `powers` are those of
    /// the two beams.
    pub fn search(
        &mut self,
        echo: Planar<'_>,
        start: usize,
        reference: Planar<'_>,
        window_start: usize,
        powers: [f64; STREAMS],
    ) -> Peak {
        let count = self.echo_samples();
        for (row, space) in self.echo.chunks_exact_mut(self.length).enumerate() {
            space[..count].copy_from_slice(&echo.row(row)[start..][..count]);
            space[count..].fill(Complex32::default());
        }
        self.forward.process_with_scratch(&mut self.echo, &mut self.scratch);
        for (stream, space) in self.streams.chunks_exact_mut(self.length).enumerate() {
            space[..self.window].copy_from_slice(&reference.row(stream)[window_start..][..self.window]);
            space[self.window..].fill(Complex32::default());
        }
        let used = powers.map(|power| power > NEGLIGIBLE_POWER * (powers[0] + powers[1]));
        self.whiten(used);
        self.forward.process_with_scratch(&mut self.streams, &mut self.scratch);
        self.energy.fill(0.0);
        for row in 0..self.rows {
            for stream in (0..STREAMS).filter(|stream| used[*stream]) {
                self.add_energy(row, stream);
            }
        }
        self.peak(used)
    }

    /// Makes the streams in use orthonormal over the window, so that Q⁻¹ is no longer needed.
    fn whiten(&mut self, used: [bool; STREAMS]) {
        let (first, second) = self.streams.split_at_mut(self.length);
        let (first, second) = (&mut first[..self.window], &mut second[..self.window]);
        let gram = Gram::of_samples(first, second);
        if used[0] && used[1] && gram.semantic > 0.0 {
            let project = gram.cross.conj() / gram.semantic;
            let project = Complex32::new(project.re as f32, project.im as f32);
            for (b, a) in second.iter_mut().zip(first.iter()) {
                *b -= project * a;
            }
        }
        for row in [first, second] {
            let power: f64 = row.iter().map(|sample| f64::from(sample.norm_sqr())).sum();
            let scale = if power > 0.0 { power.sqrt().recip() as f32 } else { 0.0 };
            row.iter_mut().for_each(|sample| *sample *= scale);
        }
    }

    fn add_energy(&mut self, row: usize, stream: usize) {
        let echo = &self.echo[row * self.length..][..self.length];
        let stream = &self.streams[stream * self.length..][..self.length];
        for ((product, echo), stream) in self.product.iter_mut().zip(echo).zip(stream) {
            *product = echo * stream.conj();
        }
        self.inverse.process_with_scratch(&mut self.product, &mut self.scratch);
        for (energy, value) in self.energy.iter_mut().zip(&self.product) {
            *energy += value.norm_sqr();
        }
    }

    fn peak(&self, used: [bool; STREAMS]) -> Peak {
        let scale = (self.length as f64).powi(-2) / self.noise_variance;
        let (index, best) = self
            .energy
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map_or((0, 0.0), |(index, energy)| (index, f64::from(*energy)));
        let fraction = match (index.checked_sub(1).map(|before| self.energy[before]), self.energy.get(index + 1)) {
            (Some(before), Some(after)) => {
                let (before, after) = (f64::from(before), f64::from(*after));
                let curvature = before - 2.0 * best + after;
                if curvature < 0.0 { (0.5 * (before - after) / curvature).clamp(-0.5, 0.5) } else { 0.0 }
            }
            _ => 0.0,
        };
        let streams = used.iter().filter(|used| **used).count();
        Peak {
            lag: self.first_lag + index as isize,
            fraction,
            energy: best * scale,
            threshold: self.thresholds[streams.max(1) - 1],
        }
    }
}

/// The smallest length 2^a·3^b that is not below `least`: what FFTs like.
fn smooth_length(least: usize) -> usize {
    (0..8)
        .map(|power| 3usize.pow(power))
        .map(|three| three * least.div_ceil(three).next_power_of_two())
        .min()
        .unwrap_or(1)
}

/// What a sum of `terms` unit exponentials exceeds with `probability`: e^{−x} Σ_{i<terms} x^i/i! = probability.
fn energy_threshold(terms: usize, probability: f64) -> f64 {
    let tail = |x: f64| {
        let mut term = (-x).exp();
        let mut sum = term;
        for i in 1..terms {
            term *= x / i as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 700.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if tail(middle) > probability { low = middle } else { high = middle }
    }
    high
}

impl Gram {
    /// The Gram matrix of two rows of samples.
    fn of_samples(first: &[Complex32], second: &[Complex32]) -> Self {
        let mut gram = Self { semantic: 0.0, sensing: 0.0, cross: Complex64::ZERO };
        for (a, b) in first.iter().zip(second) {
            gram.semantic += f64::from(a.norm_sqr());
            gram.sensing += f64::from(b.norm_sqr());
            let cross = a * b.conj();
            gram.cross += Complex64::new(cross.re.into(), cross.im.into());
        }
        gram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_smooth_and_tight() {
        assert_eq!(smooth_length(2304), 2304);
        assert_eq!(smooth_length(2900), 2916);
        assert_eq!(smooth_length(1), 1);
    }

    #[test]
    fn thresholds_are_those_of_the_exponential_and_the_erlang_law() {
        assert!((energy_threshold(1, 1e-3) - 1e3f64.ln()).abs() < 1e-9);
        // e^{−x}(1 + x) at x = 5.
        assert!((energy_threshold(2, 6.0 * (-5f64).exp()) - 5.0).abs() < 1e-9);
    }
}
