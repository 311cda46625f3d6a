//! An optimizer of one's own, a callable in Python, in the place of the shipped one's beams.

use std::sync::{Arc, Mutex, PoisonError};

use issc::Result;
use issc::array::Beams;
use issc::control::{Command, Observation, Optimizer, Planned, Planner};
use num_complex::Complex64;
use numpy::PyArray1;
use pyo3::prelude::*;

use crate::arrays::{Weights, beams, vector};
use crate::beams::Plan;
use crate::error::wrong;
use crate::scene::Scene;

/// What an optimizer is asked: beams from frame `frame` on.
#[pyclass(module = "issc", frozen)]
pub struct Request {
    /// The frame from which the plan holds.
    #[pyo3(get)]
    frame: u64,
    /// Number of the plan.
    #[pyo3(get)]
    epoch: u64,
    /// Where each believed target is expected then, (x, y) m.
    #[pyo3(get)]
    targets_m: Vec<[f64; 2]>,
    /// Covariance of each of these places [2][2], m²; None where no track says so.
    #[pyo3(get)]
    covariances_m2: Vec<Option<[[f64; 2]; 2]>>,
    channel: Vec<Complex64>,
    scene: issc::scene::Scene,
}

#[pymethods]
impl Request {
    /// h_c as it was sounded last [N_T], complex128, up to a phase.
    #[getter]
    fn channel<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Complex64>> {
        vector(py, self.channel.clone())
    }

    /// The budget P_T, W.
    #[getter]
    fn power_w(&self) -> f64 {
        issc::scene::dbm_to_w(self.scene.constraints.power_dbm)
    }

    /// The threshold Π on the trace of the position bound, m².
    #[getter]
    fn hcrb_max_m2(&self) -> f64 {
        self.scene.constraints.hcrb_max_m2
    }

    /// σ_n² at the communication receiver as it is believed, W.
    #[getter]
    fn noise_power_w(&self) -> f64 {
        issc::scene::dbm_to_w(self.scene.channel.communication_noise_dbm)
    }

    /// The scene as commands have left it, its targets where they are expected.
    #[getter]
    fn scene(&self) -> PyResult<Scene> {
        Scene::of("scene", self.scene.clone())
    }

    fn __repr__(&self) -> String {
        format!("<Request: plan {} from frame {} on>", self.epoch, self.frame)
    }
}

impl Request {
    fn of(planner: &Planner, epoch: u64, frame: u64) -> Self {
        let mut scene = planner.scene().clone();
        let (mut targets_m, mut covariances_m2) = (Vec::new(), Vec::new());
        for (index, place, covariance) in planner.targets() {
            targets_m.push(place);
            covariances_m2.push(covariance.map(|c| [[c[(0, 0)], c[(0, 1)]], [c[(1, 0)], c[(1, 1)]]]));
            if index == 0 {
                scene.geometry.target = place;
            }
            if let Some(target) = scene.target_list.get_mut(index) {
                target.position_m = place;
            }
        }
        let channel = planner.channel(frame).iter().copied().collect();
        Self { frame, epoch, targets_m, covariances_m2, channel, scene }
    }
}

/// Where an exception of a callable waits for the run's owner.
pub type Raised = Arc<Mutex<Option<PyErr>>>;

/// Keeps the first exception.
pub fn keep(raised: &Raised, error: PyErr) {
    raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

/// The shipped planner with beams by a callable.
pub struct Callable {
    /// Takes everything in that is observed, and chooses source model and rate.
    pub planner: Planner,
    /// Called with a [`Request`].
    pub function: Arc<Py<PyAny>>,
    /// Where its exceptions go.
    pub raised: Raised,
}

impl Callable {
    /// Beams of the callable; `None` where it leaves them to the shipped optimizer.
    fn ask(&self, epoch: u64, frame: u64) -> PyResult<Option<Beams>> {
        let request = Request::of(&self.planner, epoch, frame);
        let antennas = request.scene.array.transmit_antennas;
        Python::attach(|py| {
            let answer = self.function.bind(py).call1((Bound::new(py, request)?,))?;
            if answer.is_none() {
                return Ok(None);
            }
            let parts = match answer.cast::<Plan>() {
                Ok(plan) => (plan.getattr("w_c")?, plan.getattr("w_0")?),
                Err(_) => answer
                    .extract()
                    .map_err(|_| wrong(format!("optimizer: found {answer}; accepted: (w_c, w_0), a Plan or None")))?,
            };
            let (w_c, w_0): (Bound<'_, PyAny>, Bound<'_, PyAny>) = parts;
            beams(&w_c.extract::<Weights<'_>>()?, &w_0.extract::<Weights<'_>>()?, antennas).map(Some)
        })
    }
}

impl Optimizer for Callable {
    fn observe(&mut self, observation: Observation<'_>) -> Result<()> {
        self.planner.observe(observation)
    }

    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        let beams = self.ask(epoch, from_frame).map_err(|error| {
            let text = format!("optimizer: {error}");
            keep(&self.raised, error);
            issc::Error::input(text)
        })?;
        self.planner.observe(Observation::Command(&Command::Weights(beams)))?;
        self.planner.plan(epoch, from_frame)
    }

    fn has_weights(&self) -> bool {
        self.planner.has_weights()
    }

    fn wants_plan(&self, newest: &issc::stream::Plan) -> bool {
        self.planner.wants_plan(newest)
    }

    fn copy(&self) -> Box<dyn Optimizer> {
        let (function, raised) = (Arc::clone(&self.function), Arc::clone(&self.raised));
        Box::new(Self { planner: self.planner.clone(), function, raised })
    }
}
