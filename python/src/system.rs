//! Whole systems: specification, run, events, commands.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use issc::control::Setting;
use issc::runtime::StopSwitch;
use issc::system::{self, Command, Subscription, SystemSpec, Topic, Watch};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use toml::Value;

use crate::arrays::{object, value, vector};
use crate::error::{Error, OrRaise, wrong};
use crate::optimizer::{Callable, Raised, keep};
use crate::sensing::EchoFrame;

/// How long one wait is: then Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// A system to be started: a shipped flowgraph's name, or a flowgraph file.
///
/// frames, seconds (of signal), seed, pace (signal time per wall-clock time; as fast as it goes where absent), pictures
/// (files, folders, videos), set (keys of flowgraph and scene), at (frame and command, e.g. (96, "power_dbm=-2")),
/// record (new folder), replay (folder of a recording, in the place of a flowgraph), events (file), control (socket).
/// optimizer: called with a Request for each plan; gives (w_c, w_0) [N_T], √W, a Plan, or None for the shipped beams.
/// on_echo: called with an EchoFrame for every frame that the first sensing receiver has worked on; the run waits for it.
/// watched: lets `Run.views` show what receivers hear.
///
/// >>> with System("loopback", frames=240, set={"scene.constraints.power_dbm": -3}).start() as run:
/// ...     for event in run.events(): ...
/// >>> run.join()["sinr_db"]
#[pyclass(module = "issc", frozen)]
pub struct System {
    spec: SystemSpec,
    optimizer: Option<Arc<Py<PyAny>>>,
    on_echo: Option<Arc<Py<PyAny>>>,
}

#[pymethods]
impl System {
    #[new]
    #[pyo3(signature = (flowgraph = "loopback", *, frames = None, seconds = None, seed = 1, pace = None, pictures = Vec::new(),
        repeat = None, set = None, at = Vec::new(), record = None, replay = None, events = None, control = None,
        optimizer = None, on_echo = None, watched = false))]
    #[expect(clippy::too_many_arguments, reason = "named in Python")]
    fn new(
        flowgraph: &str,
        frames: Option<u64>,
        seconds: Option<f64>,
        seed: u64,
        pace: Option<f64>,
        pictures: Vec<PathBuf>,
        repeat: Option<u64>,
        set: Option<&Bound<'_, PyDict>>,
        at: Vec<(u64, String)>,
        record: Option<PathBuf>,
        replay: Option<PathBuf>,
        events: Option<PathBuf>,
        control: Option<PathBuf>,
        optimizer: Option<Py<PyAny>>,
        on_echo: Option<Py<PyAny>>,
        watched: bool,
    ) -> PyResult<Self> {
        let mut spec = match replay {
            Some(folder) => SystemSpec::from_recording(folder),
            None => SystemSpec::from_flowgraph(flowgraph).or_raise()?,
        };
        for (key, given) in set.into_iter().flatten() {
            let key: String = key.extract()?;
            spec = spec.with(Setting::new(&key, value::<Value>(&key, &given)?).or_raise()?);
        }
        for (frame, text) in at {
            spec = spec.at(frame, text.parse::<Command>().or_raise()?);
        }
        spec = pictures.into_iter().fold(spec.seed(seed), SystemSpec::picture);
        if let Some(seconds) = seconds {
            spec = spec.seconds(seconds);
        }
        if let Some(frames) = frames {
            spec = spec.frames(frames);
        }
        if let Some(pace) = pace {
            spec = spec.pace(pace);
        }
        if let Some(rounds) = repeat {
            spec = spec.repeat(rounds);
        }
        if let Some(folder) = record {
            spec = spec.record(folder);
        }
        if let Some(file) = events {
            spec = spec.events(file);
        }
        if let Some(socket) = control {
            spec = spec.control(socket);
        }
        if watched {
            spec = spec.watched();
        }
        let shared = |callable: Option<Py<PyAny>>| callable.map(Arc::new);
        Ok(Self { spec, optimizer: shared(optimizer), on_echo: shared(on_echo) })
    }

    /// Reads and checks everything without starting it; what is not as it was asked for, a line each.
    fn check(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let spec = self.spec.clone().check_only();
        py.detach(|| system::System::build(spec).map(|system| system.notes().to_vec())).or_raise()
    }

    /// Starts the system on threads of its own.
    fn start(&self, py: Python<'_>) -> PyResult<Run> {
        let (raised, stop) = (Raised::default(), StopSwitch::default());
        let mut spec = self.spec.clone().stopped_by(stop.clone());
        if let Some(function) = &self.optimizer {
            let (function, raised) = (Arc::clone(function), Arc::clone(&raised));
            spec = spec.optimizer(move |planner| {
                let (function, raised) = (Arc::clone(&function), Arc::clone(&raised));
                Box::new(Callable { planner, function, raised })
            });
        }
        if let Some(function) = &self.on_echo {
            let (function, raised, stop) = (Arc::clone(function), Arc::clone(&raised), stop.clone());
            spec = spec.echo_listener(move |number, held| {
                Python::attach(|py| {
                    let call = || function.bind(py).call1((Bound::new(py, EchoFrame::of_run(py, number, held)?)?,));
                    if let Err(error) = call() {
                        keep(&raised, error);
                        stop.pull();
                    }
                });
            });
        }
        let started = py.detach(|| {
            let system = system::System::build(spec)?;
            let notes = system.notes().to_vec();
            let run = system.start()?;
            // The first who asks for events has them from the beginning.
            let first = run.subscribe();
            Ok((run, first, notes))
        });
        let (run, first, notes) = raise_first(&raised, started.or_raise())?;
        let watch = run.watch();
        Ok(Run {
            run: Mutex::new(Some(run)),
            first: Mutex::new(Some(first)),
            watch,
            notes,
            raised,
            report: Mutex::default(),
        })
    }
}

/// A callable's exception in the place of what followed from it.
fn raise_first<T>(raised: &Raised, result: PyResult<T>) -> PyResult<T> {
    match raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(error),
        None => result,
    }
}

/// A system at work. Left as a context manager, it is stopped and waited for.
#[pyclass(module = "issc", frozen, weakref)]
pub struct Run {
    run: Mutex<Option<system::Run>>,
    first: Mutex<Option<Subscription>>,
    watch: Watch,
    /// What is not as it was asked for, or may mislead, a line each.
    #[pyo3(get)]
    notes: Vec<String>,
    raised: Raised,
    report: Mutex<Option<serde_json::Value>>,
}

#[pymethods]
impl Run {
    /// What happens from the start on for the first who asks, from now on for others: an iterator of dictionaries, as
    /// `issc run --events` writes them.
    fn events(&self) -> Events {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Events { subscription: Mutex::new(first.unwrap_or_else(|| self.watch.subscribe())), watch: self.watch.clone() }
    }

    /// Carries a live command out, as `issc set` takes it: a dictionary with accepted, frame, feasible, reason. With
    /// `at_frame` it is noted for a frame to come.
    #[pyo3(signature = (command, at_frame = None))]
    fn command<'py>(&self, py: Python<'py>, command: &str, at_frame: Option<u64>) -> PyResult<Bound<'py, PyAny>> {
        let command: Command = command.parse().or_raise()?;
        let answer = py.detach(|| self.watch.command(command, at_frame)).or_raise()?;
        object(py, &answer)
    }

    /// What the run is doing, at most some fifty milliseconds old: the dictionary that `issc status --json` prints.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &*self.watch.status())
    }

    /// The plan that is sent with, a dictionary.
    fn plan<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.watch.plan())
    }

    /// What a watched run shows of a topic: spectrum, constellation, map or beams. A list of dictionaries, one for each
    /// receiver: node, frame, facts, and each array under its name, float32, with its unit under NAME_unit.
    fn views<'py>(&self, py: Python<'py>, topic: &str) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let known = Topic::ALL.iter().find(|known| known.name() == topic);
        let names = || Topic::ALL.map(Topic::name).join(", ");
        let topic = *known.ok_or_else(|| wrong(format!("topic: found {topic}; accepted: {}", names())))?;
        self.watch.ask(topic);
        let views = self.watch.views(topic);
        let shown = |view: system::View| {
            let shown = PyDict::new(py);
            shown.set_item("node", view.node)?;
            shown.set_item("frame", view.frame)?;
            shown.set_item("facts", object(py, &view.facts)?)?;
            for array in view.arrays {
                let values = vector(py, array.values).call_method1("reshape", (array.shape,))?;
                shown.set_item(array.name, values)?;
                shown.set_item(format!("{}_unit", array.name), array.unit)?;
            }
            Ok(shown)
        };
        views.into_iter().map(shown).collect()
    }

    /// Ends the run in order: nothing new is sent, what is under way is worked off.
    fn stop(&self) {
        self.watch.stop();
    }

    /// Whether the run has ended.
    #[getter]
    fn is_finished(&self) -> bool {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(system::Run::is_finished)
    }

    /// Waits for the end: the dictionary that `issc run --json` prints. Raises what an optimizer or on_echo raised.
    fn join<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        while !self.is_finished() {
            py.detach(|| thread::sleep(LOOK));
            if let Err(interrupt) = py.check_signals() {
                self.watch.stop();
                return Err(interrupt);
            }
        }
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(run) = run {
            let ended = py.detach(|| run.join());
            let report = raise_first(&self.raised, ended.or_raise())?;
            let report = serde_json::to_value(&report).map_err(|error| Error::new_err(error.to_string()))?;
            *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        }
        match &*self.report.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(report) => object(py, report),
            None => raise_first(
                &self.raised,
                Err(Error::new_err("the run did not end well; its exception was raised before")),
            ),
        }
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> bool {
        self.close(py);
        false
    }

    /// Stops the run and waits for its end; nothing is raised.
    fn close(&self, py: Python<'_>) {
        self.watch.stop();
        if let Err(error) = self.join(py) {
            // Whoever calls `join` after this is told again.
            keep(&self.raised, error);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(run) = run {
            // Its threads may need the interpreter's lock to come to their end.
            Python::attach(|py| py.detach(|| drop(run)));
        }
    }
}

/// What happens in a run: an iterator of dictionaries that ends with the run.
#[pyclass(module = "issc", frozen)]
pub struct Events {
    subscription: Mutex<Subscription>,
    watch: Watch,
}

#[pymethods]
impl Events {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            // Whether it has ended is asked first: nothing comes after that.
            let ended = self.watch.has_ended();
            let event = self.subscription.lock().unwrap_or_else(PoisonError::into_inner).try_next();
            match event {
                Some(event) => return object(py, &event).map(Some),
                None if ended => return Ok(None),
                None => py.detach(|| thread::sleep(LOOK)),
            }
            py.check_signals()?;
        }
    }

    /// Events that this reader lost because it was too slow.
    #[getter]
    fn lost(&self) -> u64 {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner).lost()
    }

    /// All that is left as a pandas DataFrame, a row each; `kind` (sent, received, detections, plan, picture) alone.
    #[pyo3(signature = (kind = None))]
    fn to_frame<'py>(slf: &Bound<'py, Self>, kind: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("issc")?.call_method1("data_frame", (slf, kind))
    }
}
