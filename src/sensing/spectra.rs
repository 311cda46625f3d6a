//! The spectra of consecutive frames, and the sums of their correlations under one reflection.
//!
//! Frame k, whose window's middle lies t_k samples behind the middle of all, is received with β_0 e^{jνt_k}, and its
//! streams turn by ν within the window as well. With C_k(T) its correlation with the turned streams and Q_k their Gram
//! matrix, the likelihood of all frames is that of one with C(T) = Σ_k e^{−jνt_k} C_k(T + κνt_k) and Q = Σ_k Q_k: where
//! the path grows, ν carries the delay along, κ = −λ/(2πcΔ) with Δ the sample period. The sums with (t_k + t)·s_u in
//! place of s_u are ∂/∂ν. t_k has no mean, so ν and β_0's phase are told apart.

use num_complex::{Complex32, Complex64};

use super::compression::Compressed;
use super::spectrum::{BEAMS, Correlations, Gram, Left, Spectrum};
use super::{STREAMS, SensingConfig};

/// One frame.
struct Frame {
    spectrum: Spectrum,
    /// Inner products of the streams as they turn.
    gram: Gram,
    /// t_k.
    time: f64,
}

/// All frames of one estimate.
pub(super) struct Spectra {
    frames: Vec<Frame>,
    /// ν in radians a sample.
    rate: f64,
    /// κ.
    drift: f64,
    scratch: Correlations,
}

impl Spectra {
    pub fn new(config: &SensingConfig, window: usize, frames: usize) -> Self {
        let (rows, sps) = (config.receive_antennas, config.samples_per_symbol);
        let frame =
            || Frame { spectrum: Spectrum::new(window, rows, sps, config.roll_off), gram: Gram::default(), time: 0.0 };
        Self {
            frames: (0..frames).map(|_| frame()).collect(),
            rate: 0.0,
            drift: -config.wavelength_m / (std::f64::consts::TAU * config.sample_path_m()),
            scratch: no_correlations(rows),
        }
    }

    /// ν in radians a sample.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Loads the streams of frame `index` at rest; with `moving` they can be turned.
    pub fn load_streams<'a>(
        &mut self,
        index: usize,
        rows: impl Iterator<Item = &'a [Complex32]> + Clone,
        moving: bool,
    ) -> Gram {
        let frame = &mut self.frames[index];
        frame.gram = frame.spectrum.load_streams(rows.clone());
        if moving {
            frame.spectrum.load_slopes(rows);
        }
        self.rate = 0.0;
        frame.gram
    }

    /// The first frame's spectrum.
    pub fn first(&self) -> &Spectrum {
        &self.frames[0].spectrum
    }

    /// Loads the echo of frame `index`.
    pub fn load_echo<'a>(&mut self, index: usize, rows: impl Iterator<Item = &'a [Complex32]>) {
        self.frames[index].spectrum.load_echo(rows);
    }

    /// Sets t_k of all frames, in samples; their mean is taken out.
    pub fn set_times(&mut self, times: impl Iterator<Item = f64> + Clone) {
        let mean = times.clone().sum::<f64>() / self.frames.len() as f64;
        self.frames.iter_mut().zip(times).for_each(|(frame, time)| frame.time = time - mean);
    }

    /// Σ Q_k as loaded.
    pub fn gram(&self) -> Gram {
        let mut sum = Gram::default();
        self.frames.iter().for_each(|frame| sum.add(&frame.gram, 1.0));
        sum
    }

    /// Lets all turn by `rate` radians a sample, and returns Σ Q_k.
    pub fn turn(&mut self, rate: f64) -> Gram {
        self.rate = rate;
        self.frames.iter_mut().for_each(|frame| frame.gram = frame.spectrum.turn(rate));
        self.gram()
    }

    /// C and its derivatives at a delay of `delay` samples.
    pub fn correlate(&mut self, delay: f64, correlations: &mut Correlations) {
        if let [frame] = &mut self.frames[..] {
            return frame.spectrum.correlate(delay, correlations);
        }
        clear(correlations);
        for frame in &mut self.frames {
            let phase = self.rate * frame.time;
            frame.spectrum.correlate(delay + self.drift * phase, &mut self.scratch);
            add(correlations, &self.scratch, Complex64::cis(-phase));
        }
    }

    /// What is left of all frames, as [`Spectrum::leave`] says; `rows` becomes the energy left in each row.
    pub fn leave(
        &mut self,
        delay: f64,
        responses: &[[Complex64; STREAMS]],
        beams: &[[Complex64; BEAMS]],
        rows: &mut [f64],
    ) -> Left {
        rows.fill(0.0);
        let mut sum = Left::default();
        for frame in &mut self.frames {
            let phase = self.rate * frame.time;
            let turn = Complex64::cis(phase);
            let responses = responses.iter().map(|response| response.map(|g| g * turn));
            sum.add(&frame.spectrum.leave(delay + self.drift * phase, responses, beams.iter().copied(), rows));
        }
        sum
    }

    /// Of all frames, a row's energies as [`Spectrum::row_energies`] says.
    pub fn row_energy(&self, row: usize) -> [f64; 3] {
        let rows = self.frames.iter().map(|frame| frame.spectrum.row_energies()[row]);
        rows.fold([0.0; 3], |sum, energies| std::array::from_fn(|index| sum[index] + energies[index]))
    }

    /// Bins in use of one row, of all frames.
    pub fn bins(&self) -> usize {
        self.frames.iter().map(|frame| frame.spectrum.bins()).sum()
    }

    /// Bins of one row that [`Self::leave`] looks at, of all frames.
    pub fn looked_at(&self) -> usize {
        self.frames.len() * self.first().looked_at()
    }

    /// What the first frame's echo shows of compression, as [`Spectrum::compressed`] says.
    pub fn compressed(&mut self) -> Compressed {
        self.frames[0].spectrum.compressed()
    }

    /// The image in a row of the first frame, as [`Spectrum::image_of_row`] says.
    pub fn image_of_row(&mut self, row: usize, delay: f64, response: [Complex64; STREAMS]) -> (Complex64, f64) {
        self.frames[0].spectrum.image_of_row(row, delay, response)
    }

    /// Noise of a bin beyond the streams' band over all rows, if there are such bins: of the first frame.
    pub fn outside_noise(&self) -> Option<f64> {
        let spectrum = self.first();
        let bins = spectrum.outside_bins();
        (bins > 0).then(|| spectrum.row_energies().iter().map(|energies| energies[2]).sum::<f64>() / bins as f64)
    }

    /// Energy that the streams explain of a row of the first frame, as [`Spectrum::explained_of_row`] says.
    pub fn explained_of_row(&mut self, row: usize, delay: f64, conjugated: bool) -> f64 {
        let Frame { spectrum, gram, .. } = &mut self.frames[0];
        spectrum.explained_of_row(row, delay, gram, conjugated)
    }

    /// The same with (t_k + t)·s_u in place of the streams.
    pub fn correlate_slopes(&mut self, delay: f64, correlations: &mut Correlations) {
        clear(correlations);
        for frame in &mut self.frames {
            let phase = self.rate * frame.time;
            let (delay, turn) = (delay + self.drift * phase, Complex64::cis(-phase));
            frame.spectrum.correlate_slopes(delay, &mut self.scratch);
            add(correlations, &self.scratch, turn);
            if frame.time != 0.0 {
                frame.spectrum.correlate(delay, &mut self.scratch);
                add(correlations, &self.scratch, turn * frame.time);
            }
        }
    }

    /// Gram matrix of (t_k + t)·s_u, and Σ S_u ((t_k + t)·s_v)* as `[u][v]`.
    pub fn slope_grams(&self) -> (Gram, [[Complex64; STREAMS]; STREAMS]) {
        let (mut slopes, mut cross) = (Gram::default(), [[Complex64::ZERO; STREAMS]; STREAMS]);
        for Frame { spectrum, gram, time } in &self.frames {
            let (within, mixed) = spectrum.slope_grams();
            slopes.add(&within, 1.0);
            slopes.add(gram, time * time);
            slopes.semantic += 2.0 * time * mixed[0][0].re;
            slopes.sensing += 2.0 * time * mixed[1][1].re;
            slopes.cross += (mixed[0][1] + mixed[1][0].conj()) * *time;
            let gram = [[gram.semantic.into(), gram.cross], [gram.cross.conj(), gram.sensing.into()]];
            for (cross, (mixed, gram)) in
                cross.iter_mut().flatten().zip(mixed.iter().flatten().zip(gram.iter().flatten()))
            {
                *cross += mixed + gram * *time;
            }
        }
        (slopes, cross)
    }
}

impl Gram {
    fn add(&mut self, other: &Self, factor: f64) {
        self.semantic += factor * other.semantic;
        self.sensing += factor * other.sensing;
        self.cross += other.cross * factor;
    }
}

/// Room for the correlations of `rows` antennas.
pub(super) fn no_correlations(rows: usize) -> Correlations {
    std::array::from_fn(|_| vec![[Complex64::ZERO; STREAMS]; rows])
}

fn clear(correlations: &mut Correlations) {
    correlations.iter_mut().flatten().flatten().for_each(|value| *value = Complex64::ZERO);
}

fn add(sum: &mut Correlations, other: &Correlations, factor: Complex64) {
    let others = other.iter().flatten().flatten();
    sum.iter_mut().flatten().flatten().zip(others).for_each(|(sum, other)| *sum += other * factor);
}
