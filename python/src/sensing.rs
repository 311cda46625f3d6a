//! The position estimator, and echoes to try it on.

use std::sync::{Mutex, PoisonError};

use issc::array::Beams;
use issc::sensing::maps::Profiles;
use issc::sensing::{self, Planar, SensingConfig, Trials, Truth};
use num_complex::{Complex32, Complex64};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::arrays::{Rows, Weights, beams, flat, matrix, vector};
use crate::error::{OrRaise, wrong};
use crate::scene::Scene;

/// What a sensing receiver has of one frame: the echo, the streams that made it, and the beams that sent them.
///
/// echo [N_R, n] and reference [2, m] (s_c and s_0 as shaped), complex64, √W; w_c, w_0 [N_T], √W. Sample k of a row of
/// the echo is the frame's sample `first_lag` + k behind the window's begin, by the receiver's clock: an echo that is
/// late by d samples has reference[:, i] at echo[:, i + d − first_lag].
#[pyclass(module = "issc", frozen)]
pub struct EchoFrame {
    /// Number of the frame, or of the trial.
    #[pyo3(get)]
    number: u64,
    /// The echo [N_R, n], complex64, √W.
    #[pyo3(get)]
    echo: Py<PyArray2<Complex32>>,
    /// s_c and s_0 over the sensing window [2, m], complex64, unit mean power.
    #[pyo3(get)]
    reference: Py<PyArray2<Complex32>>,
    /// The frame's sample in the echo's first column, from the window's begin on.
    #[pyo3(get)]
    first_lag: i64,
    /// Where the target was (x, y), m; None where nobody knows.
    #[pyo3(get)]
    truth_m: Option<[f64; 2]>,
    /// T = τ + Δτ of the target, s; None where nobody knows.
    #[pyo3(get)]
    truth_delay_s: Option<f64>,
    /// What the shipped estimator found in a run, the strongest echo first.
    found: Vec<sensing::Estimate>,
    beams: Beams,
}

#[pymethods]
impl EchoFrame {
    #[new]
    #[pyo3(signature = (scene, echo, reference, w_c, w_0, number = 0))]
    fn new<'py>(
        py: Python<'py>,
        scene: &Scene,
        echo: Rows<'py>,
        reference: Rows<'py>,
        w_c: Weights<'py>,
        w_0: Weights<'py>,
        number: u64,
    ) -> PyResult<Self> {
        let config = SensingConfig::from_scene(scene.inner());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let whole = |rows: &Rows<'py>, copy| flat(rows, copy).to_vec();
        let shapes = [&echo, &reference].map(|rows| [rows.shape()[0], rows.shape()[1]]);
        Ok(Self {
            number,
            echo: matrix(py, whole(&echo, &mut first), shapes[0])?.unbind(),
            reference: matrix(py, whole(&reference, &mut second), shapes[1])?.unbind(),
            first_lag: config.lag_range()[0] as i64,
            truth_m: None,
            truth_delay_s: None,
            found: Vec::new(),
            beams: beams(&w_c, &w_0, config.transmit_antennas)?,
        })
    }

    /// The semantic stream's beam [N_T], complex128, √W.
    #[getter]
    fn w_c<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Complex64>> {
        vector(py, self.beams.w_c.iter().copied().collect())
    }

    /// The sensing stream's beam [N_T], complex128, √W.
    #[getter]
    fn w_0<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Complex64>> {
        vector(py, self.beams.w_0.iter().copied().collect())
    }

    /// What the shipped estimator found in this frame of a run, the strongest echo first; empty elsewhere.
    #[getter]
    fn estimates(&self) -> Vec<Estimate> {
        self.found.iter().copied().map(Estimate).collect()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let shape = self.echo.bind(py).shape().to_vec();
        format!("<EchoFrame {}: {} rows of {} samples>", self.number, shape[0], shape[1])
    }
}

impl EchoFrame {
    /// A frame of a run.
    pub fn of_run(py: Python<'_>, number: u64, held: &issc::blocks::snapshots::Echo) -> PyResult<Self> {
        let config = held.config.as_ref().ok_or_else(|| wrong("the run has no sensing receiver"))?;
        let none = || nalgebra::DVector::zeros(config.transmit_antennas);
        Ok(Self {
            number,
            echo: matrix(py, held.echo.clone(), [config.receive_antennas, held.echo_samples])?.unbind(),
            reference: matrix(py, held.reference.clone(), [2, held.window])?.unbind(),
            first_lag: config.lag_range()[0] as i64,
            truth_m: None,
            truth_delay_s: None,
            found: held.estimates.clone(),
            beams: held.beams.clone().unwrap_or_else(|| Beams { w_c: none(), w_0: none() }),
        })
    }
}

/// Where the target is by one frame's echo, or why there is no position.
#[pyclass(module = "issc", frozen)]
pub struct Estimate(sensing::Estimate);

#[pymethods]
impl Estimate {
    /// Position (x, y), m; None where there is none.
    #[getter]
    fn position_m(&self) -> Option<[f64; 2]> {
        self.0.fix.map(|fix| fix.position_m)
    }

    /// Covariance of the position [2][2], m².
    #[getter]
    fn covariance_m2(&self) -> Option<[[f64; 2]; 2]> {
        self.0.fix.map(|fix| fix.covariance_m2)
    }

    /// T = τ + Δτ, the delay as the receiver's clock sees it, s.
    #[getter]
    fn delay_s(&self) -> Option<f64> {
        self.0.fix.map(|fix| fix.delay_s)
    }

    /// θ, direction transmitter → target, rad.
    #[getter]
    fn departure_rad(&self) -> Option<f64> {
        self.0.fix.map(|fix| fix.departure_rad)
    }

    /// φ, direction sensing receiver → target, rad.
    #[getter]
    fn arrival_rad(&self) -> Option<f64> {
        self.0.fix.map(|fix| fix.arrival_rad)
    }

    /// β_0 as estimated, or as known.
    #[getter]
    fn reflection(&self) -> Option<Complex64> {
        self.0.fix.map(|fix| fix.reflection)
    }

    /// Why there is no position: too-weak, ambiguous, dead, …; None where there is one.
    #[getter]
    fn refused(&self) -> Option<&'static str> {
        self.0.status.refusal()
    }

    /// Noise, and whatever else no echo explains, per symbol and antenna, W.
    #[getter]
    fn noise_power_w(&self) -> f64 {
        self.0.noise_power_w
    }

    /// eᵀC⁻¹e of a true position (x, y), m: 2 in the mean where the covariance is true.
    fn normalised_error(&self, truth_m: [f64; 2]) -> Option<f64> {
        self.0.fix.and_then(|fix| fix.normalised_error(truth_m))
    }

    fn __repr__(&self) -> String {
        match self.0.fix {
            Some(fix) => format!("<Estimate ({:.4}, {:.4}) m>", fix.position_m[0], fix.position_m[1]),
            None => format!("<Estimate refused: {}>", self.0.status.refusal().unwrap_or("nothing was looked for")),
        }
    }
}

/// The log-likelihood of an echo over delay and arrival angle, the responses of both beams left free, over that of noise
/// alone.
#[pyclass(module = "issc", frozen, get_all)]
pub struct LikelihoodMap {
    /// Path transmitter → target → receiver plus the clock's error [n], m.
    path_m: Py<PyArray1<f64>>,
    /// sin φ [m].
    sines: Py<PyArray1<f64>>,
    /// [n, m], float32, nats.
    log_likelihood: Py<PyArray2<f32>>,
}

/// The sensing receiver of a scene: one frame's echo to a position with its error bar. It knows everything of the scene
/// but the target.
///
/// moving: the Doppler shift within a frame is estimated, as it must be where targets move.
#[pyclass(module = "issc", frozen)]
pub struct Estimator {
    estimator: Mutex<sensing::Estimator>,
    config: SensingConfig,
    window: usize,
}

#[pymethods]
impl Estimator {
    #[new]
    #[pyo3(signature = (scene, *, moving = false))]
    fn new(scene: &Scene, moving: bool) -> PyResult<Self> {
        scene.inner().check_air().map_err(wrong)?;
        let config = SensingConfig { moving, ..SensingConfig::from_scene(scene.inner()) };
        let window = Trials::window_samples(&config);
        let estimator = Mutex::new(sensing::Estimator::new(config.clone(), window).or_raise()?);
        Ok(Self { estimator, config, window })
    }

    /// Samples of each row of an echo that an estimate reads.
    #[getter]
    fn echo_samples(&self) -> usize {
        self.estimator.lock().unwrap_or_else(PoisonError::into_inner).echo_samples()
    }

    /// Samples of the sensing window.
    #[getter]
    fn window_samples(&self) -> usize {
        self.window
    }

    /// Sample period, s.
    #[getter]
    fn sample_period_s(&self) -> f64 {
        self.config.sample_period_s()
    }

    /// First and last delay that is searched, samples.
    #[getter]
    fn lag_range(&self) -> (isize, isize) {
        let [first, last] = self.config.lag_range();
        (first, last)
    }

    /// The position by one frame's echo.
    fn estimate(&self, py: Python<'_>, frame: &EchoFrame) -> PyResult<Estimate> {
        let samples = self.echo_samples();
        self.with(py, frame, samples, |view| {
            let mut estimator = self.estimator.lock().unwrap_or_else(PoisonError::into_inner);
            Estimate(estimator.estimate(view))
        })
    }

    /// The log-likelihood over the searched delays and these sin φ [m]; 181 from −1 to 1 where none are named.
    #[pyo3(signature = (frame, sines = None))]
    fn likelihood_map(&self, py: Python<'_>, frame: &EchoFrame, sines: Option<Vec<f64>>) -> PyResult<LikelihoodMap> {
        let sines = sines.unwrap_or_else(|| (0..181).map(|n| f64::from(n - 90) / 90.0).collect());
        let mut profiles = Profiles::new(&self.config, self.window);
        let samples = profiles.echo_samples();
        let map = self.with(py, frame, samples, |view| {
            profiles.push(view);
            profiles.delay_angle(&sines)
        })?;
        // A cell is the mean of as many unit exponentials as there are streams; their sum is the likelihood's logarithm.
        let log_likelihood = map.power.iter().map(|power| power * map.looks as f32).collect();
        let shape = [map.path_m.len(), map.columns.len()];
        Ok(LikelihoodMap {
            path_m: vector(py, map.path_m).unbind(),
            sines: vector(py, map.columns).unbind(),
            log_likelihood: matrix(py, log_likelihood, shape)?.unbind(),
        })
    }
}

impl Estimator {
    /// Lets `work` see a frame in place, without the interpreter's lock.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        frame: &EchoFrame,
        samples: usize,
        work: impl FnOnce(&sensing::EchoFrame<'_>) -> R + Send,
    ) -> PyResult<R> {
        let (echo, reference) = (frame.echo.bind(py).readonly(), frame.reference.bind(py).readonly());
        let (echo_shape, reference_shape) = (echo.shape().to_vec(), reference.shape().to_vec());
        let rows = self.config.receive_antennas;
        if echo_shape[0] != rows || echo_shape[1] < samples {
            return Err(wrong(format!(
                "echo: found shape {echo_shape:?}; accepted: {rows} rows of {samples} samples or more"
            )));
        }
        if reference_shape[0] != 2 || reference_shape[1] < self.window {
            let found = format!("reference: found shape {reference_shape:?}");
            return Err(wrong(format!("{found}; accepted: 2 rows of {} samples or more", self.window)));
        }
        if frame.beams.w_c.len() != self.config.transmit_antennas {
            let found = frame.beams.w_c.len();
            return Err(wrong(format!("w_c: found {found} weights; accepted: {}", self.config.transmit_antennas)));
        }
        let in_order = |error: numpy::AsSliceError| wrong(format!("echo, reference: {error}"));
        let (echo, reference) = (echo.as_slice().map_err(in_order)?, reference.as_slice().map_err(in_order)?);
        if echo.iter().chain(reference).any(|sample| !sample.is_finite()) {
            return Err(wrong("echo, reference: found a sample that is not finite; accepted: finite numbers"));
        }
        let view = sensing::EchoFrame {
            late_samples: 0,
            echo: Planar::new(echo, echo_shape[1]),
            echo_start: 0,
            reference: Planar::new(reference, reference_shape[1]),
            window_start: 0,
            beams: &frame.beams,
            time_s: 0.0,
        };
        Ok(py.detach(|| work(&view)))
    }
}

/// Echoes of independent trials in a scene, as `issc sense` makes them: fresh symbols, timing error, phase and noise, all
/// by the seed and the trial's number.
///
/// w_c, w_0: beams [N_T], √W.
#[pyclass(module = "issc", frozen)]
pub struct EchoTrials {
    bench: Mutex<(Trials, sensing::Estimator)>,
    config: SensingConfig,
    beams: Beams,
}

#[pymethods]
impl EchoTrials {
    #[new]
    #[pyo3(signature = (scene, w_c, w_0, *, seed = 1))]
    fn new<'py>(scene: &Scene, w_c: Weights<'py>, w_0: Weights<'py>, seed: u64) -> PyResult<Self> {
        let config = SensingConfig::from_scene(scene.inner());
        let beams = beams(&w_c, &w_0, config.transmit_antennas)?;
        let trials = Trials::new(scene.inner(), &config, &beams, seed).or_raise()?;
        let estimator = sensing::Estimator::new(config.clone(), Trials::window_samples(&config)).or_raise()?;
        Ok(Self { bench: Mutex::new((trials, estimator)), config, beams })
    }

    /// The echo of trial `number`, with its truth.
    fn make(&self, py: Python<'_>, number: u64) -> PyResult<EchoFrame> {
        let window = Trials::window_samples(&self.config);
        let (truth, echo, reference): (Truth, Vec<Complex32>, Vec<Complex32>) = py.detach(|| {
            let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
            let (trials, estimator) = &mut *bench;
            let truth = trials.make(number, estimator);
            let frame = trials.frame(0.0);
            let echo = frame.echo.samples.to_vec();
            let reference = frame.streams().flat_map(|stream| stream[..window].iter().copied()).collect();
            (truth, echo, reference)
        });
        let rows = self.config.receive_antennas;
        let samples = echo.len() / rows;
        Ok(EchoFrame {
            number,
            echo: matrix(py, echo, [rows, samples])?.unbind(),
            reference: matrix(py, reference, [2, window])?.unbind(),
            first_lag: self.config.lag_range()[0] as i64,
            truth_m: Some(truth.position_m),
            truth_delay_s: Some(truth.delay_s),
            found: Vec::new(),
            beams: self.beams.clone(),
        })
    }
}
