//! The simulated world: what antennas send to what every receiver gets.

use std::sync::{Mutex, PoisonError};

use issc::channel;
use issc::modem::frame::{Layout, SWITCH};
use num_complex::Complex32;
use numpy::PyArray2;
use pyo3::prelude::*;
use serde_json::json;

use crate::arrays::{Rows, flat, matrix, object};
use crate::error::wrong;
use crate::scene::Scene;

/// The simulated world of a scene, with state from frame to frame: paths to the communication receivers, echoes of all
/// targets and of clutter at the sensing receivers, impairments, noise. Everything follows from the seed.
///
/// longest: most samples of a frame; those of the longest frame on the air where absent. Received rows lag what was sent
/// by `lag_samples`, so that a negative timing error stays causal.
#[pyclass(module = "issc", frozen)]
pub struct World {
    state: Mutex<State>,
    antennas: usize,
    communication: usize,
    rows: usize,
    longest: usize,
    sample_rate_hz: f64,
}

struct State {
    world: channel::World,
    frame: u64,
    time: u64,
}

#[pymethods]
impl World {
    #[new]
    #[pyo3(signature = (scene, *, seed = 1, longest = None))]
    fn new(scene: &Scene, seed: u64, longest: Option<usize>) -> PyResult<Self> {
        let scene = scene.inner();
        scene.check_air().and_then(|()| scene.check_reception()).map_err(wrong)?;
        let antennas = scene.array.transmit_antennas;
        let longest = longest.unwrap_or(Layout::longest(antennas).symbols() * scene.waveform.samples_per_symbol);
        if !(1..=1 << 24).contains(&longest) {
            return Err(wrong(format!("longest: found {longest}; accepted: 1 to {}", 1 << 24)));
        }
        let world = channel::World::new(scene, seed, longest, SWITCH).map_err(wrong)?;
        Ok(Self {
            rows: world.rows(),
            state: Mutex::new(State { world, frame: 0, time: channel::RECEIVE_LAG as u64 }),
            antennas,
            communication: scene.communication_receivers().len(),
            longest,
            sample_rate_hz: scene.sample_rate_hz(),
        })
    }

    /// Samples by which received rows lag what was sent.
    #[classattr]
    #[pyo3(name = "lag_samples")]
    const LAG_SAMPLES: usize = channel::RECEIVE_LAG;

    /// Sends one frame of samples [N_T, n], complex64, √W. Returns what was received meanwhile: [K, n] at the K
    /// communication receivers and [R, n] at the rows of the sensing receivers' arrays, one array after the other.
    #[expect(clippy::type_complexity, reason = "two arrays")]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        samples: Rows<'py>,
    ) -> PyResult<(Bound<'py, PyArray2<Complex32>>, Bound<'py, PyArray2<Complex32>>)> {
        let (antennas, count) = samples.as_array().dim();
        if antennas != self.antennas || !(1..=self.longest).contains(&count) {
            return Err(wrong(format!(
                "samples: found shape {antennas}×{count}; accepted: {} rows of 1 to {} samples",
                self.antennas, self.longest
            )));
        }
        let mut copy = Vec::new();
        let sent = flat(&samples, &mut copy);
        if sent.iter().any(|sample| !sample.is_finite()) {
            return Err(wrong("samples: found one that is not finite; accepted: finite numbers"));
        }
        let mut received = vec![Complex32::default(); self.rows * count];
        py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let State { world, frame, time } = &mut *state;
            let start = channel::RECEIVE_LAG as u64;
            world.begin_frame(*frame, *time, (*time - start) as f64 / self.sample_rate_hz);
            world.receive(*time, sent.chunks_exact(count), count, received.chunks_exact_mut(count));
            (*frame, *time) = (*frame + 1, *time + count as u64);
        });
        let sensing = received.split_off(self.communication * count);
        let rows = self.rows - self.communication;
        Ok((matrix(py, received, [self.communication, count])?, matrix(py, sensing, [rows, count])?))
    }

    /// The truth of the frame that was sent last, a dictionary for each target: position_m (m), delay_s and
    /// timing_error_s (s), reflection_coefficient.
    #[getter]
    fn truths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let truth = |truth: channel::EchoTruth| {
            json!({
                "position_m": truth.position_m,
                "delay_s": truth.delay_s,
                "timing_error_s": truth.timing_error_s,
                "reflection_coefficient": truth.reflection_coefficient,
            })
        };
        object(py, &state.world.truths().map(truth).collect::<Vec<_>>())
    }

    /// Puts target `index` at (x, y), m; the next frame shows it.
    fn set_target(&self, index: usize, position_m: [f64; 2]) -> PyResult<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let targets = state.world.truths().count();
        if index >= targets || !position_m.iter().all(|x| x.is_finite()) {
            return Err(wrong(format!(
                "set_target: found {index}, {position_m:?}; accepted: 0 to {}, finite",
                targets - 1
            )));
        }
        let seconds = (state.time - channel::RECEIVE_LAG as u64) as f64 / self.sample_rate_hz;
        state.world.set_target(index, seconds, position_m);
        Ok(())
    }
}
