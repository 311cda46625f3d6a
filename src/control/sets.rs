//! Changes before the start: `--set PATH=VALUE` reaches every key of a flowgraph and of its scene.

use toml::{Table, Value};

use super::keys::SCENE_PREFIX;
use crate::keys::{Key, pattern};
use crate::{Error, Result, config, runtime, scene};

/// One change. The path is that of a flowgraph's key, or of a scene's with or without `scene.` before it; the entry of a
/// list is named by its id, name or kind, or by its place: `receiver.roof.noise_dbm`, `clutter.0.position_m`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    file: File,
    path: String,
    value: Value,
}

/// Which file has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Scene,
    Flowgraph,
}

impl Setting {
    /// A change of one key; an unknown one is refused with the nearest of all.
    pub fn new(path: &str, value: impl Into<Value>) -> Result<Self> {
        let path = path.trim().replace('[', ".").replace(']', "");
        let (file, path) = match path.strip_prefix(SCENE_PREFIX) {
            Some(rest) if known(scene::keys::KEYS, rest) => (File::Scene, rest.to_owned()),
            None if known(runtime::KEYS, &path) || is_of_stage(&path) => (File::Flowgraph, path),
            None if known(scene::keys::KEYS, &path) => (File::Scene, path),
            _ => return Err(Error::input(unknown(&path))),
        };
        Ok(Self { file, path, value: value.into() })
    }

    /// The change that `PATH=VALUE` states; a value that is no TOML is text.
    pub fn parse(text: &str) -> Result<Self> {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            Error::input(format!("--set {text}: accepted: PATH=VALUE, e.g. scene.constraints.power_dbm=-30"))
        })?;
        let parsed =
            toml::from_str::<Table>(&format!("value = {value}")).ok().and_then(|mut table| table.remove("value"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
        Self::new(path, value).map_err(|error| error.within(format!("--set {text}")))
    }

    /// All of them.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// Makes those changes of a scene that there are.
    pub fn apply_to_scene(settings: &[Self], scene: &mut Table) -> Result<()> {
        Self::apply(settings, File::Scene, scene)
    }

    /// Makes those changes of a flowgraph that there are.
    pub fn apply_to_flowgraph(settings: &[Self], graph: &mut Table) -> Result<()> {
        Self::apply(settings, File::Flowgraph, graph)
    }

    /// Refuses changes of a flowgraph, for what has none.
    pub fn refuse_flowgraph(settings: &[Self]) -> Result<()> {
        match settings.iter().find(|setting| setting.file == File::Flowgraph) {
            Some(setting) => Err(Error::input(format!(
                "--set {}: a key of flowgraphs; accepted here: those of the scene",
                setting.path
            ))),
            None => Ok(()),
        }
    }

    fn apply(settings: &[Self], file: File, table: &mut Table) -> Result<()> {
        for setting in settings.iter().filter(|setting| setting.file == file) {
            let parts: Vec<&str> = setting.path.split('.').collect();
            set(table, &parts, setting.value.clone())
                .map_err(|what| Error::input(format!("--set {}: {what}", setting.path)))?;
        }
        Ok(())
    }
}

/// Whether the table has the key that `path` names, or keys in the section or list that it names.
fn known(keys: &[Key], path: &str) -> bool {
    let pattern = pattern(keys, path);
    let within = |key: &Key| {
        let rest = key.path.strip_prefix(&pattern);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    };
    keys.iter().any(within)
}

/// Whether a path names a key of a stage, `chain.NAME.stages.KIND.KEY`: the stage's kind knows it.
fn is_of_stage(path: &str) -> bool {
    let parts: Vec<_> = path.split('.').collect();
    parts.len() >= 5 && parts[0] == "chain" && parts[2] == "stages"
}

fn unknown(path: &str) -> String {
    let bare = path.strip_prefix(SCENE_PREFIX).unwrap_or(path);
    let scene = scene::keys::KEYS.iter().map(|key| (SCENE_PREFIX, key.command_path()));
    let all: Vec<_> = scene.chain(runtime::KEYS.iter().map(|key| ("", key.command_path()))).collect();
    let near = config::nearest(bare, all.iter().map(|(_, path)| path.as_str())).unwrap_or_default();
    let prefix = all.iter().find(|(_, path)| path == near).map_or("", |(prefix, _)| prefix);
    format!("unknown key `{path}`; the nearest known key is `{prefix}{near}` (see `issc keys`)")
}

/// Changes the key at the end of the path.
fn set(table: &mut Table, path: &[&str], value: Value) -> Result<(), String> {
    let [first, rest @ ..] = path else { return Ok(()) };
    if rest.is_empty() {
        // A whole number is a good value where a fraction stood.
        let value = match (table.get(*first), value) {
            (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
            (_, value) => value,
        };
        table.insert((*first).to_owned(), value);
        return Ok(());
    }
    match table.entry(*first).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => set(inner, rest, value),
        Value::Array(entries) => set(entry(entries, first, rest[0])?, &rest[1..], value),
        _ => Err(format!("`{first}` is no table; accepted: keys of the file")),
    }
}

/// The entry of a list with this id, name or kind, or at this place.
fn entry<'a>(entries: &'a mut [Value], list: &str, wanted: &str) -> Result<&'a mut Table, String> {
    let name = |entry: &Value| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let default = || match text("kind").as_deref() {
            _ if list == "target" => Some(scene::TARGET_ID.to_owned()),
            Some("communication") => Some(scene::COMMUNICATION_RECEIVER_ID.to_owned()),
            Some("sensing") => Some(scene::SENSING_RECEIVER_ID.to_owned()),
            other => other.map(str::to_owned),
        };
        text("id").or_else(|| text("name")).or_else(default)
    };
    let names: Vec<_> = entries.iter().map(|entry| name(entry).unwrap_or_default()).collect();
    let place = names.iter().position(|name| name == wanted).or_else(|| wanted.parse().ok());
    let count = entries.len();
    place.and_then(|place| entries.get_mut(place)).and_then(Value::as_table_mut).ok_or_else(|| {
        match names.iter().all(String::is_empty) {
            true => format!("the list `{list}` has no entry `{wanted}`; accepted: 0 to {}", count.saturating_sub(1)),
            false => format!("the list `{list}` has no entry `{wanted}`; accepted: {}", names.join(", ")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: &str = "[constraints]\npower_dbm = 0.0\n[[clutter]]\nposition_m = [1.0, 2.0]\n[[target]]\nid = \"car\"\n\
                         reflection_coefficient = 0.6\n[[target]]\nreflection_coefficient = 0.1\n[[receiver]]\n\
                         kind = \"sensing\"\nnoise_dbm = -50.0";

    fn scene_after(texts: &[&str]) -> Result<Table> {
        let mut table = toml::from_str(SCENE).unwrap();
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        Setting::apply_to_scene(&Setting::parse_all(&texts)?, &mut table)?;
        Ok(table)
    }

    #[test]
    fn a_scenes_key_is_reached_with_and_without_its_prefix_and_a_lists_entry_by_id_or_place() {
        for (text, list, index, key, value) in [
            ("scene.target.car.reflection_coefficient=2", "target", 0, "reflection_coefficient", Value::Float(2.0)),
            ("target.target.reflection_coefficient=2", "target", 1, "reflection_coefficient", Value::Float(2.0)),
            ("target[1].believed=false", "target", 1, "believed", Value::Boolean(false)),
            ("receiver.sensing-receiver.noise_dbm=-60.5", "receiver", 0, "noise_dbm", Value::Float(-60.5)),
            ("scene.clutter.0.reflection_coefficient=1e-6", "clutter", 0, "reflection_coefficient", Value::Float(1e-6)),
        ] {
            assert_eq!(scene_after(&[text]).unwrap()[list][index][key], value, "{text}");
        }
        assert_eq!(scene_after(&["scene.clutter=[]"]).unwrap()["clutter"], Value::Array(Vec::new()));
        for text in ["scene.constraints.power_dbm=-30", "constraints.power_dbm = -30"] {
            assert_eq!(scene_after(&[text]).unwrap()["constraints"]["power_dbm"], Value::Float(-30.0));
        }
    }

    #[test]
    fn a_flowgraphs_key_and_that_of_a_stage_are_reached_by_name() {
        let mut graph: Table = toml::from_str(
            "scene = \"paper\"\n[[chain]]\nname = \"air\"\nstages = [{ kind = \"echo-locator\" }, { kind = \"discard\" }]",
        )
        .unwrap();
        let settings = ["scene=outdoor", "frames=12", "chain.air.stages.echo-locator.moving=true", "chain.air.rows=2"]
            .map(|text| Setting::parse(text).unwrap());
        Setting::apply_to_flowgraph(&settings, &mut graph).unwrap();
        assert_eq!((&graph["scene"], &graph["frames"]), (&Value::from("outdoor"), &Value::Integer(12)));
        assert_eq!(graph["chain"][0]["stages"][0]["moving"], Value::Boolean(true));
        assert_eq!(graph["chain"][0]["rows"], Value::Integer(2));
        assert!(Setting::refuse_flowgraph(&settings).unwrap_err().to_string().contains("accepted here"));
    }

    #[test]
    fn mistakes_name_the_nearest_key_of_all_tables_or_the_entries_there_are() {
        for (text, said) in [
            (
                "scene.constraints.powr_dbm=1",
                "unknown key `scene.constraints.powr_dbm`; the nearest known key is `scene.constraints.power_dbm`",
            ),
            ("frame=1", "the nearest known key is `frames`"),
            ("receiver.roof.noise=1", "the nearest known key is `scene.receiver.ID.noise_dbm`"),
            ("target.bus.believed=true", "the list `target` has no entry `bus`; accepted: car, target"),
            ("clutter.7.position_m=[1,2]", "the list `clutter` has no entry `7`; accepted: 0 to 0"),
            ("power", "accepted: PATH=VALUE"),
        ] {
            let error = scene_after(&[text]).unwrap_err();
            assert!(error.to_string().contains(said) && error.exit_status() == 2, "{error}");
        }
    }
}
