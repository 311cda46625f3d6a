//! The one table of keys that users meet: those of scene files and flowgraph files, which `--set` changes before the
//! start, and the live commands of a run.

use serde::Serialize;
use serde_json::{Value, json};

use crate::blocks::Registry;
use crate::keys::{Default, Key, Range};
use crate::{config, runtime, scene};

/// Where the scene's keys stand in the table, and what may be left out in `--set`.
pub const SCENE_PREFIX: &str = "scene.";

/// Where the keys of stages stand in the table.
pub const STAGE_PREFIX: &str = "chain.NAME.stages.";

/// A live command's key, which is also in [`table`].
#[derive(Debug, Clone, Copy)]
pub struct LiveKey {
    /// The key, with `.ID` where it names a target.
    pub path: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it may be.
    pub range: Range,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

/// A live command that changes a number of the scene.
const fn of_scene(path: &'static str, scene_path: &str, doc: &'static str) -> LiveKey {
    let key = scene_key(scene_path);
    LiveKey { path, unit: key.unit, range: key.range, doc }
}

/// The scene's key of this path, at compile time.
const fn scene_key(path: &str) -> &'static Key {
    let mut index = 0;
    while index < scene::keys::KEYS.len() {
        if same(scene::keys::KEYS[index].path.as_bytes(), path.as_bytes()) {
            return &scene::keys::KEYS[index];
        }
        index += 1;
    }
    panic!("a key of the scene")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// A target may fade to nothing while a run goes on.
const REFLECTION: Range = Range::Number(0.0, 1e3);

/// What a run takes while it goes on, by `issc set`, `--at` and the control socket.
pub const LIVE: &[LiveKey] = &[
    of_scene("power_dbm", "constraints.power_dbm", "Largest transmit power."),
    of_scene("hcrb_max_m2", "constraints.hcrb_max_m2", "Threshold on the trace of the position bound."),
    of_scene(
        "bandwidth_ratio_max",
        "constraints.bandwidth_ratio_max",
        "Largest number of payload symbols for a sample of a picture.",
    ),
    of_scene("target", "target[].position_m", "Where the optimizer believes the first target to be."),
    of_scene("target.ID", "target[].position_m", "Where the optimizer believes the target of this id to be."),
    LiveKey {
        path: "weights",
        unit: "√W",
        range: Range::Text("@FILE or auto"),
        doc: "Beams to send with in place of the optimizer's; auto gives the choice back.",
    },
    of_scene("world.target", "target[].position_m", "Where the simulated first target is; it moves on from there."),
    of_scene("world.target.ID", "target[].position_m", "Where the simulated target of this id is."),
    LiveKey {
        path: "world.reflection",
        unit: "",
        range: REFLECTION,
        doc: "Reflection coefficient of the first target.",
    },
    LiveKey {
        path: "world.reflection.ID",
        unit: "",
        range: REFLECTION,
        doc: "Reflection coefficient of the target of this id.",
    },
    LiveKey {
        path: IMPAIRMENT,
        unit: "",
        range: Range::Text("a number within the range of the scene's key `impairment.ID.KEY`"),
        doc: "A number of the impairment of this id, of every kind but paths.",
    },
];

/// One row of the table, as `issc keys --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The key: `scene.…` and a flowgraph's for `--set`, a live command's for `issc set` and `--at`. Words in capitals
    /// stand for the name or place of a list's entry.
    pub path: String,
    /// Unit of its number; empty where there is none.
    pub unit: &'static str,
    /// `[least, most]` of a number, or of each number of a point, both included; a list of words or truth values; what a
    /// text must be.
    pub range: Value,
    /// What holds where nothing is said; null where there is no such thing.
    pub default: Value,
    /// What it means.
    pub doc: &'static str,
    /// Whether a run takes it while it goes on.
    pub live: bool,
}

impl Row {
    fn of(key: &Key, prefix: &str) -> Self {
        Self {
            path: format!("{prefix}{}", key.command_path()),
            unit: key.unit,
            range: range(key.range),
            default: default(key.default),
            doc: key.doc,
            live: false,
        }
    }
}

fn range(range: Range) -> Value {
    match range {
        Range::Number(least, most) | Range::Point(least, most) => json!([least, most]),
        Range::Whole(least, most) => json!([least, most]),
        Range::Word(words) => json!(words),
        Range::Truth => json!([false, true]),
        Range::Text(what) => json!(what),
    }
}

fn default(default: Default) -> Value {
    default.value().map_or(Value::Null, |value| json!(value))
}

/// The whole table: scene, flowgraph, stages, live commands.
pub fn table() -> Vec<Row> {
    let scene = scene::keys::KEYS.iter().map(|key| Row::of(key, SCENE_PREFIX));
    let flowgraph = runtime::KEYS.iter().map(|key| Row::of(key, ""));
    let live = LIVE.iter().map(|key| Row {
        path: key.path.into(),
        unit: key.unit,
        range: range(key.range),
        default: Value::Null,
        doc: key.doc,
        live: true,
    });
    scene.chain(flowgraph).chain(of_stages()).chain(live).collect()
}

/// The keys of every shipped kind of stage.
fn of_stages() -> Vec<Row> {
    let registry = Registry::shipped();
    let rows = registry.kinds().iter().flat_map(|kind| kind.keys.iter().map(|key| (kind.name, key)));
    let row = |(kind, key): (&str, &crate::blocks::Key)| Row {
        path: format!("{STAGE_PREFIX}{kind}.{}", key.name),
        unit: key.unit,
        range: json!(key.range),
        default: key.default.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
        doc: key.doc,
        live: false,
    };
    rows.map(row).collect()
}

/// The live key of every number of the scene's impairments.
const IMPAIRMENT: &str = "world.impairment.ID.KEY";

/// The impairment's id and the key that a path names, where it is one of an impairment's numbers.
pub fn impairment(path: &str) -> Option<(&str, &str)> {
    let (id, key) = path.strip_prefix(IMPAIRMENT.strip_suffix("ID.KEY")?)?.split_once('.')?;
    (!id.is_empty() && !key.is_empty() && !key.contains('.')).then_some((id, key))
}

/// The live key of a command, and the target's id that it names.
pub fn live(path: &str) -> Result<(&'static LiveKey, Option<&str>), String> {
    let named = |key: &&LiveKey| {
        key.path == path && path != IMPAIRMENT
            || with_id(key, path).is_some()
            || key.path == IMPAIRMENT && impairment(path).is_some()
    };
    match LIVE.iter().find(named) {
        Some(key) => Ok((key, with_id(key, path))),
        None => {
            let near = config::nearest(path, LIVE.iter().map(|key| key.path)).unwrap_or_default();
            Err(format!("unknown key `{path}`; the nearest known key is `{near}`"))
        }
    }
}

fn with_id<'a>(key: &LiveKey, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(key.path.strip_suffix("ID")?).filter(|id| !id.is_empty() && !id.contains('.'))
}

/// Keys of live commands, for error lines.
pub fn live_names() -> String {
    LIVE.iter().map(|key| key.path).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_it_is_and_stands_once() {
        let rows = table();
        for (index, row) in rows.iter().enumerate() {
            assert!(row.doc.ends_with('.') && row.doc.len() > 8, "{}", row.path);
            assert!(!rows[..index].iter().any(|other| other.path == row.path), "{} stands twice", row.path);
        }
        let row = |path: &str| rows.iter().find(|row| row.path == path).unwrap();
        assert_eq!(row("scene.array.transmit_antennas").range, json!([1, 256]));
        assert_eq!(row("scene.waveform.carrier_hz").default, json!(3.5e9));
        assert_eq!(row("scene.receiver.ID.noise_dbm").unit, "dBm");
        assert_eq!(row("power_dbm").range, row("scene.constraints.power_dbm").range);
        assert!(row("world.target.ID").live && !row("scene.constraints.power_dbm").live);
    }

    #[test]
    fn a_live_key_names_a_target_or_means_the_first() {
        let found = |path| live(path).map(|(key, id)| (key.path, id));
        assert_eq!(found("world.target"), Ok(("world.target", None)));
        assert_eq!(found("world.target.car"), Ok(("world.target.ID", Some("car"))));
        assert_eq!(found("target.car-2"), Ok(("target.ID", Some("car-2"))));
        assert_eq!(found("world.reflection.7"), Ok(("world.reflection.ID", Some("7"))));
        for (path, near) in
            [("powr_dbm", "power_dbm"), ("world.target.", "world.target"), ("world.targets", "world.target")]
        {
            assert!(found(path).unwrap_err().contains(&format!("nearest known key is `{near}")), "{path}");
        }
    }
}
