//! Scenes.

use std::sync::Arc;

use issc::control::Setting;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use toml::{Table, Value};

use crate::arrays::{object, value};
use crate::error::{OrRaise, wrong};

/// Where everything stands, what the channel is like, what is sent and what a plan must keep.
///
/// Keys are those of scene files (`Scene.keys()` lists them), with dots between their parts; the entry of a list is
/// named by its id or its place. A change is checked at once, in the scene as a whole.
///
/// >>> scene = Scene.load("paper")
/// >>> scene["constraints.power_dbm"] = -3
/// >>> scene["geometry.target"] = [80, 20]   # m
#[pyclass(module = "issc", weakref)]
pub struct Scene {
    name: String,
    table: Table,
    scene: Arc<issc::scene::Scene>,
}

impl Scene {
    /// The scene itself.
    pub fn inner(&self) -> &issc::scene::Scene {
        &self.scene
    }

    /// The same, for other threads.
    pub fn shared(&self) -> Arc<issc::scene::Scene> {
        self.scene.clone()
    }

    /// A scene that was made elsewhere.
    pub fn of(name: &str, scene: issc::scene::Scene) -> PyResult<Self> {
        let table = Table::try_from(&scene).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { name: name.to_owned(), table, scene: Arc::new(scene) })
    }

    fn of_text(text: &str, name: &str) -> issc::Result<Self> {
        let scene = issc::scene::Scene::from_toml(text, name)?;
        Ok(Self { name: name.to_owned(), table: issc::config::from_toml(text, name)?, scene: Arc::new(scene) })
    }

    fn apply(&mut self, settings: &[Setting]) -> issc::Result<()> {
        Setting::refuse_flowgraph(settings)?;
        let mut table = self.table.clone();
        Setting::apply_to_scene(settings, &mut table)?;
        *self = Self::of_text(&table.to_string(), &self.name)?;
        Ok(())
    }
}

/// The value at the end of a path: tables by their keys, lists by an entry's id, name or place.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Table(table) => table.get(part),
        Value::Array(list) => {
            let named = |entry: &&Value| {
                ["id", "name", "kind"].iter().any(|key| entry.get(*key).and_then(Value::as_str) == Some(part))
            };
            list.iter().find(named).or_else(|| list.get(part.parse::<usize>().ok()?))
        }
        _ => None,
    })
}

#[pymethods]
impl Scene {
    /// The scene in this file, or the shipped one of this name: paper, moving, outdoor, clutter, coherent, several,
    /// hall, hall-2.
    #[staticmethod]
    fn load(path_or_name: &str) -> PyResult<Self> {
        let (text, name) = issc::system::scene(path_or_name, None).or_raise()?;
        Self::of_text(&text, &name).or_raise()
    }

    /// The scene that this text states, as a scene file does; `name` stands in messages.
    #[staticmethod]
    #[pyo3(signature = (text, name = "scene"))]
    fn from_toml(text: &str, name: &str) -> PyResult<Self> {
        Self::of_text(text, name).or_raise()
    }

    /// The scene as the text of a file.
    fn to_toml(&self) -> String {
        self.table.to_string()
    }

    /// Every key of scenes with `unit`, `range`, `default` and `doc`, a dictionary each.
    #[staticmethod]
    fn keys(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let rows: Vec<_> = issc::scene::keys::KEYS
            .iter()
            .map(|key| {
                serde_json::json!({
                    "path": key.command_path(),
                    "unit": key.unit,
                    "range": key.range.to_string(),
                    "doc": key.doc,
                })
            })
            .collect();
        object(py, &rows)
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyAny>> {
        let path = key.strip_prefix("scene.").unwrap_or(key).replace('[', ".").replace(']', "");
        let written = Value::Table(self.table.clone());
        if let Some(found) = find(&written, &path) {
            return object(py, found);
        }
        // Keys that the file leaves out have the values of the scene as it was read.
        let whole = Table::try_from(&*self.scene).map_err(|error| wrong(error.to_string()))?;
        if let Some(found) = find(&Value::Table(whole), &path) {
            return object(py, found);
        }
        // An absent key is known all the same where it could be set.
        Setting::new(&path, 0).map_err(|error| PyKeyError::new_err(error.to_string()))?;
        Ok(py.None().into_bound(py))
    }

    fn __setitem__(&mut self, key: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
        let setting = Setting::new(key, value::<Value>(key, given)?).or_raise()?;
        self.apply(&[setting]).or_raise()
    }

    /// Changes several keys at once; the scene is checked with all of them in place.
    fn update(&mut self, changes: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut settings = Vec::new();
        for (key, given) in changes {
            let key: String = key.extract()?;
            settings.push(Setting::new(&key, value::<Value>(&key, &given)?).or_raise()?);
        }
        self.apply(&settings).or_raise()
    }

    /// A scene of its own that is the same; keys may be changed on the way.
    #[pyo3(signature = (changes = None))]
    fn copy(&self, changes: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut copy = Self { name: self.name.clone(), table: self.table.clone(), scene: self.scene.clone() };
        if let Some(changes) = changes {
            copy.update(changes)?;
        }
        Ok(copy)
    }

    fn __copy__(&self) -> PyResult<Self> {
        self.copy(None)
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<Self> {
        self.copy(None)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String, String))> {
        let class = py.get_type::<Self>();
        Ok((class.getattr("from_toml")?, (self.to_toml(), self.name.clone())))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.scene == other.scene
    }

    fn __repr__(&self) -> String {
        let waveform = &self.scene.waveform;
        format!(
            "<Scene {}: {} antennas, {} targets, {:.4} MHz, {} dBm>",
            self.name,
            self.scene.array.transmit_antennas,
            self.scene.targets().len(),
            waveform.bandwidth_hz / 1e6,
            self.scene.constraints.power_dbm
        )
    }
}
