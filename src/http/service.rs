//! What is shown and steered: a run that somebody else started and waits for, or one that is started, stopped and changed
//! from here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::hub::Hub;
use crate::control::keys;
use crate::runtime::StopSwitch;
use crate::system::{Command, Report, Run, Setting, System, SystemSpec, Watch};
use crate::{Cause, Error, Result};

/// Whose run it is.
pub enum Mode {
    /// Somebody else's, who waits for its end.
    Guest,
    /// One that is made from this and started from here.
    Host(Box<SystemSpec>),
}

/// Why a request was not carried out.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: String,
    pub cause: Cause,
}

impl Refusal {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), cause: Cause::Input }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.cause, refusal.error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.cause() {
            Cause::Input | Cause::Damaged => StatusCode::BAD_REQUEST,
            Cause::Infeasible | Cause::Device | Cause::Peer => StatusCode::CONFLICT,
            Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error: error.to_string(), cause: error.cause() }
    }
}

/// A run under way, or the last one.
struct Held {
    watch: Watch,
    /// Where it is ours.
    run: Option<Run>,
    carrier: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Changes of keys for the next start, in the order in which they came.
    changes: Vec<(String, Value)>,
    /// The last run's report, or why there is none.
    last: Option<Result<Arc<Report>>>,
}

/// What the routes answer for.
pub struct Service {
    hub: Arc<Hub>,
    mode: Mode,
    state: Mutex<State>,
    /// Held while a run is being started.
    starting: Mutex<()>,
}

impl Service {
    /// Nothing runs yet.
    pub fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Self { hub: Arc::default(), mode, state: Mutex::default(), starting: Mutex::default() })
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a run that somebody else waits for.
    pub fn show(&self, run: &Run) -> Result<()> {
        self.hold(&mut self.state(), run.watch(), None)
    }

    fn hold(&self, state: &mut State, watch: Watch, run: Option<Run>) -> Result<()> {
        let carrier = Some(self.hub.carry(watch.clone())?);
        state.held = Some(Held { watch, run, carrier });
        Ok(())
    }

    /// The run under way, or the last one.
    pub fn watch(&self) -> Result<Watch, Refusal> {
        let held = self.state().held.as_ref().map(|held| held.watch.clone());
        held.ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "no run has been started; accepted: POST /api/v1/run/start")
        })
    }

    /// Takes over what is left of a run that has ended; whether one is still under way.
    fn harvest(&self, state: &mut State) -> bool {
        let Some(held) = &mut state.held else { return false };
        match &held.run {
            Some(run) if !run.is_finished() => return true,
            None => return !held.watch.has_ended(),
            Some(_) => {}
        }
        if let Some(run) = held.run.take() {
            state.last = Some(run.finish().and_then(|ended| {
                ended.radios.finish().and(ended.failure.map_or(Ok(()), Err)).map(|()| Arc::new(ended.report))
            }));
            if let Some(Err(error)) = &state.last {
                remark!("issc: {error}");
            }
        }
        false
    }

    /// The report of the last run that ended here.
    pub fn report(&self) -> Result<Arc<Report>, Refusal> {
        let mut state = self.state();
        self.harvest(&mut state);
        match &state.last {
            Some(last) => last.clone().map_err(Refusal::from),
            None => Err(Refusal::new(StatusCode::NOT_FOUND, "no run has ended here; accepted: after one has")),
        }
    }

    /// Starts a run with the keys as they are changed; lines that are to be said about it.
    pub fn start(&self) -> Result<Vec<String>, Refusal> {
        let Mode::Host(spec) = &self.mode else {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "this process runs one system to its end; accepted: with `issc serve`",
            ));
        };
        // The state is not held meanwhile: a system may wait for others before it begins.
        let busy = |what: &str| Refusal::new(StatusCode::CONFLICT, what);
        let Ok(_starting) = self.starting.try_lock() else {
            return Err(busy("a run is being started; accepted: after it has ended"));
        };
        let changes = {
            let mut state = self.state();
            if self.harvest(&mut state) {
                return Err(busy("a run is under way; accepted: after POST /api/v1/run/stop and its end"));
            }
            state.changes.clone()
        };
        let system = System::build(changed(spec, &changes)?.stopped_by(StopSwitch::default()))?;
        let notes = system.notes().to_vec();
        let run = system.start()?;
        let mut state = self.state();
        // The thread that carried the last run has nothing left to carry.
        if let Some(carrier) = state.held.as_mut().and_then(|held| held.carrier.take()) {
            let _ = carrier.join();
        }
        self.hold(&mut state, run.watch(), Some(run))?;
        Ok(notes)
    }

    /// Ends the run in order.
    pub fn stop(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        if !self.harvest(&mut state) {
            return Err(Refusal::new(StatusCode::CONFLICT, "no run is under way; accepted: while one is"));
        }
        if let Some(held) = &state.held {
            held.watch.stop();
        }
        Ok(())
    }

    /// Ends the run and waits for its end.
    pub fn end(&self) {
        let run = self.state().held.as_mut().and_then(|held| held.run.take());
        if let Some(run) = run {
            run.stop();
            // What went wrong was said while it ran, or is said by its radios.
            if let Ok(ended) = run.finish()
                && let Err(error) = ended.radios.finish().and(ended.failure.map_or(Ok(()), Err))
            {
                remark!("issc: {error}");
            }
        }
    }

    /// Whether runs are started from here.
    pub fn is_host(&self) -> bool {
        matches!(self.mode, Mode::Host(_))
    }

    /// Whether a run is under way.
    pub fn is_running(&self) -> bool {
        let mut state = self.state();
        self.harvest(&mut state)
    }

    /// Changes of keys for the next start.
    pub fn changes(&self) -> Map<String, Value> {
        self.state().changes.iter().cloned().collect()
    }

    /// Changes keys of the scene or the flowgraph for the next start, all or none.
    pub fn change(&self, changes: Vec<(String, Value)>) -> Result<(), Refusal> {
        // One that no file has is unknown here as well.
        for (path, value) in &changes {
            Setting::parse(&format!("{path}={}", text(value)))?;
        }
        let Mode::Host(spec) = &self.mode else {
            let path = changes.first().map(|(path, _)| path.clone()).unwrap_or_default();
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                format!("{path} is read at the start; accepted: with `issc serve`, or one of {}", keys::live_names()),
            ));
        };
        let mut all = self.state().changes.clone();
        for (path, value) in changes {
            all.retain(|(known, _)| *known != path);
            all.push((path, value));
        }
        // Everything is checked that a start would check, without opening anything.
        System::build(changed(spec, &all)?.check_only())?;
        self.state().changes = all;
        Ok(())
    }
}

/// A key that may be changed from afar: those that name files or other machines are the owner's.
fn is_open(path: &str) -> bool {
    path.starts_with(keys::SCENE_PREFIX)
        || ["frames", "follow_frames", "hold_beams", "serves", "link_frames"].contains(&path)
}

fn changed(spec: &SystemSpec, changes: &[(String, Value)]) -> Result<SystemSpec> {
    let mut spec = spec.clone();
    for (path, value) in changes {
        if !is_open(path) {
            return Err(Error::input(format!(
                "{path} cannot be changed over HTTP; accepted: scene.…, frames, follow_frames, hold_beams, serves, link_frames"
            )));
        }
        spec = spec.with(Setting::parse(&format!("{path}={}", text(value)))?);
    }
    Ok(spec)
}

/// A JSON value as a command or a setting has it.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A live command that came from afar: it carries its weights with it.
pub fn command(line: &str) -> Result<Command> {
    let names_file = line.split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with('@'));
    if names_file {
        return Err(Error::input(
            "weights: found the name of a file; accepted over HTTP: its contents, {\"w_c\": […], \"w_0\": […]}, or auto",
        ));
    }
    line.parse()
}

/// Every key with what it is now, where that is known.
pub fn key_rows(watch: Option<&Watch>, changes: &Map<String, Value>) -> Vec<Value> {
    let decisions = watch.map(Watch::decisions).unwrap_or_default();
    let row = |row: keys::Row| {
        let value = match decisions.values.get(&row.path) {
            Some((_, text)) if row.live => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            _ => watch.map_or(Value::Null, |watch| at_start(watch, &row.path)),
        };
        let next = changes.get(&row.path).cloned().unwrap_or(Value::Null);
        let mut row = serde_json::to_value(row).unwrap_or_default();
        row["value"] = value;
        row["next"] = next;
        row
    };
    keys::table().into_iter().map(row).collect()
}

/// What a key was at the start of a run; null where the file does not say.
fn at_start(watch: &Watch, path: &str) -> Value {
    let scene = watch.scene();
    match path {
        "power_dbm" => json!(scene.constraints.power_dbm),
        "hcrb_max_m2" => json!(scene.constraints.hcrb_max_m2),
        "bandwidth_ratio_max" => json!(scene.constraints.bandwidth_ratio_max),
        "target" | "world.target" => json!(scene.geometry.target),
        "world.reflection" => json!(scene.channel.reflection_coefficient),
        "weights" => json!("auto"),
        _ => {
            let Some(inside) = path.strip_prefix(keys::SCENE_PREFIX) else { return Value::Null };
            let mut parts = inside.split('.');
            let first = parts.next().and_then(|part| watch.about().scene.get(part));
            let found = parts.fold(first, |value, part| value.and_then(|value| value.get(part)));
            found.map_or(Value::Null, |value| serde_json::to_value(value).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_from_afar_names_no_file_here() {
        for line in ["weights=@/etc/passwd", "weights = @w.json"] {
            let error = command(line).unwrap_err();
            assert!(error.to_string().contains("accepted over HTTP"), "{error}");
        }
        assert_eq!(command("power_dbm=-3").unwrap(), Command::Power(-3.0));
    }

    #[test]
    fn keys_that_name_files_or_machines_are_the_owners() {
        let spec = SystemSpec::shipped("loopback").unwrap();
        for (path, good) in [
            ("scene.constraints.power_dbm", true),
            ("frames", true),
            ("scene", false),
            ("http", false),
            ("link.connect", false),
            ("chain.transmitter.stages.picture-source.kind", false),
        ] {
            assert_eq!(changed(&spec, &[(path.into(), json!(3))]).is_ok(), good, "{path}");
        }
    }
}
