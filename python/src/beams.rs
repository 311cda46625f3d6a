//! Bounds of given beams, and beams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use issc::lab::beams::{Method, Outcome, solve};
use issc::lab::bounds::Bounds;
use num_complex::Complex64;
use numpy::{PyArray1, PyArray2};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use serde_json::Value;

use crate::arrays::{Weights, beam, beams, matrix, object, vector};
use crate::error::{OrRaise, wrong};
use crate::scene::Scene;

/// Fisher information of given beams, data and prior.
///
/// w_c, w_0: beams [N_T], √W, used as they are.
/// Returns [n, n], float64, for the parameters θ, φ (rad), T (s) and, where the scene's reflectivity is unknown,
/// Re β and Im β. It is that of the first target at the first sensing receiver.
#[pyfunction]
pub fn fim<'py>(
    py: Python<'py>,
    scene: &Scene,
    w_c: Weights<'py>,
    w_0: Weights<'py>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    rows(py, &bounds(scene, &w_c, &w_0)?.fim)
}

/// The position bound that given beams reach.
///
/// w_c, w_0: beams [N_T], √W, used as they are. Raises InfeasibleError where the position cannot be identified.
#[pyfunction]
pub fn hcrb<'py>(scene: &Scene, w_c: Weights<'py>, w_0: Weights<'py>) -> PyResult<PositionBound> {
    Ok(PositionBound(bounds(scene, &w_c, &w_0)?))
}

fn bounds(scene: &Scene, w_c: &Weights<'_>, w_0: &Weights<'_>) -> PyResult<Bounds> {
    let beams = beams(w_c, w_0, scene.inner().array.transmit_antennas)?;
    Bounds::of(scene.inner(), &beams).or_raise()
}

fn rows<'py>(py: Python<'py>, rows: &[Vec<f64>]) -> PyResult<Bound<'py, PyArray2<f64>>> {
    matrix(py, rows.concat(), [rows.len(), rows.len()])
}

/// The hybrid Cramér–Rao bound on the position of the first target at the first sensing receiver, and of the others.
#[pyclass(module = "issc", name = "Bound", frozen)]
pub struct PositionBound(Bounds);

#[pymethods]
impl PositionBound {
    /// Trace of the bound, m².
    #[getter]
    fn trace_m2(&self) -> f64 {
        self.0.covariance_m2.trace()
    }

    /// Root of the trace, m.
    #[getter]
    fn rmse_m(&self) -> f64 {
        self.trace_m2().sqrt()
    }

    /// Bound on the covariance of (x, y) [2, 2], m².
    #[getter]
    fn covariance_m2<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let matrix_m2 = &self.0.covariance_m2;
        matrix(py, vec![matrix_m2[(0, 0)], matrix_m2[(0, 1)], matrix_m2[(1, 0)], matrix_m2[(1, 1)]], [2, 2])
    }

    /// Fisher information [n, n] in θ, φ (rad), T (s) and, where it is unknown, Re β and Im β.
    #[getter]
    fn fim<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        rows(py, &self.0.fim)
    }

    /// SINR at the communication receiver, dB; None where it is zero.
    #[getter]
    fn sinr_db(&self) -> Option<f64> {
        self.0.report()["sinr_db"].as_f64()
    }

    /// Every target's bound, each as if the others were absent: what `issc hcrb --json` prints.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.0.report())
    }

    fn __repr__(&self) -> String {
        format!("<Bound {:.4} mm, trace {:.5e} m²>", 1e3 * self.rmse_m(), self.trace_m2())
    }
}

/// Beams with what they reach: everything that `issc optimize --json` prints is an attribute.
///
/// w_c, w_0 [N_T], √W; method; feasible: threshold and power can be met; rate_feasible: a source model's rate fits;
/// sinr_db; upper_bound_sinr_db: no beams have more, dB; gap_db; hcrb_trace_m2, m²; smallest_hcrb_trace_m2, m²;
/// targets; power_w; iterations; solve_time_s; model, source_rate_bits_per_sample, channel_rate_bits_per_use,
/// block_error_rate, bit_error_rate, header_loss, predicted_mse.
#[pyclass(module = "issc", frozen)]
pub struct Plan {
    outcome: Outcome,
    /// Made where it is asked for: of most plans of a batch it is not.
    report: OnceLock<Value>,
}

impl Plan {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, report: OnceLock::new() }
    }

    fn report(&self) -> &Value {
        self.report.get_or_init(|| self.outcome.report())
    }
}

#[pymethods]
impl Plan {
    /// The semantic stream's beam [N_T], complex128, √W.
    #[getter]
    fn w_c<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Complex64>> {
        vector(py, self.outcome.beams().w_c.as_slice().to_vec())
    }

    /// The sensing stream's beam [N_T], complex128, √W.
    #[getter]
    fn w_0<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Complex64>> {
        vector(py, self.outcome.beams().w_0.as_slice().to_vec())
    }

    /// What `issc optimize --json` prints, beams as lists of [re, im].
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, self.report())
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.report().get(name) {
            Some(value) => object(py, value),
            None => Err(PyAttributeError::new_err(format!("Plan has no attribute {name}"))),
        }
    }

    fn __repr__(&self) -> String {
        let report = self.report();
        let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
        format!(
            "<Plan {}: {:.4} dB of {:.4} dB at most, bound {:.4e} m²{}>",
            report["method"].as_str().unwrap_or_default(),
            number("sinr_db"),
            number("upper_bound_sinr_db"),
            number("hcrb_trace_m2"),
            if report["feasible"] == true { "" } else { ", not feasible" }
        )
    }
}

/// What is asked for beside the scene.
#[derive(Clone, Copy)]
struct Asked {
    method: Method,
    least_sinr: Option<f64>,
}

impl Asked {
    fn new(method: &str, objective: &str, sinr_min_db: Option<f64>) -> PyResult<Self> {
        let method = match method {
            "global" => Method::Global,
            "alternating" => Method::Alternating,
            "zf-wf" => Method::ZfWf,
            other => return Err(wrong(format!("method: found {other}; accepted: global, alternating, zf-wf"))),
        };
        let least_sinr = match (objective, sinr_min_db) {
            ("sinr", None) => None,
            ("hcrb", Some(db)) if db.is_finite() && method == Method::Global => Some(10f64.powf(db / 10.0)),
            ("hcrb", Some(db)) if db.is_finite() => {
                return Err(wrong("method: found another than global; accepted with objective=\"hcrb\": global"));
            }
            ("hcrb", found) => {
                return Err(wrong(format!(
                    "sinr_min_db: found {found:?}; accepted with objective=\"hcrb\": a level in dB"
                )));
            }
            ("sinr", Some(_)) => return Err(wrong("sinr_min_db: accepted with objective=\"hcrb\" only")),
            (other, _) => return Err(wrong(format!("objective: found {other}; accepted: sinr, hcrb"))),
        };
        Ok(Self { method, least_sinr })
    }
}

/// Beams, source model and channel rate for a scene.
///
/// method: "global" is the optimum with its certificate, "alternating" the paper's algorithm, "zf-wf" its benchmark.
/// objective: "sinr" is the largest SINR under the scene's threshold, "hcrb" the smallest bound with at least
/// sinr_min_db (dB). channel: h_c [N_T] where it is known better than from the scene. warm: the plan of a scene like
/// this one; it changes the time taken, not the result.
#[pyfunction]
#[pyo3(signature = (scene, method = "global", *, objective = "sinr", sinr_min_db = None, channel = None, warm = None))]
pub fn optimize<'py>(
    py: Python<'py>,
    scene: &Scene,
    method: &str,
    objective: &str,
    sinr_min_db: Option<f64>,
    channel: Option<Weights<'py>>,
    warm: Option<PyRef<'py, Plan>>,
) -> PyResult<Plan> {
    let Asked { method, least_sinr } = Asked::new(method, objective, sinr_min_db)?;
    let scene = scene.inner();
    let channel = channel.map(|channel| beam("channel", &channel, scene.array.transmit_antennas)).transpose()?;
    let warm = warm.map(|plan| plan.outcome.warm().clone());
    let request = issc::lab::beams::Request { method, least_sinr, channel, warm: warm.as_ref() };
    Ok(Plan::new(py.detach(|| solve(scene, &request))))
}

/// The same for many scenes at once, on `threads` threads (all cores where none is named), in their order.
#[pyfunction]
#[pyo3(signature = (scenes, method = "global", *, objective = "sinr", sinr_min_db = None, threads = None))]
pub fn optimize_batch(
    py: Python<'_>,
    scenes: Vec<PyRef<'_, Scene>>,
    method: &str,
    objective: &str,
    sinr_min_db: Option<f64>,
    threads: Option<usize>,
) -> PyResult<Vec<Plan>> {
    let asked = Asked::new(method, objective, sinr_min_db)?;
    let threads = match threads {
        Some(0) => return Err(wrong("threads: found 0; accepted: 1 or more")),
        Some(threads) => threads,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let scenes: Vec<_> = scenes.iter().map(|scene| scene.shared()).collect();
    py.detach(|| batch(&scenes, asked, threads.min(scenes.len()).max(1)))
}

fn batch(scenes: &[Arc<issc::scene::Scene>], asked: Asked, threads: usize) -> PyResult<Vec<Plan>> {
    let next = AtomicUsize::new(0);
    let plans = Mutex::new(Vec::with_capacity(scenes.len()));
    let work = || {
        let request =
            issc::lab::beams::Request { method: asked.method, least_sinr: asked.least_sinr, channel: None, warm: None };
        let mut own = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(scene) = scenes.get(index) else { break };
            own.push((index, solve(scene, &request)));
        }
        plans.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(own);
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut plans = plans.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    plans.sort_unstable_by_key(|(index, _)| *index);
    Ok(plans.into_iter().map(|(_, outcome)| Plan::new(outcome)).collect())
}
