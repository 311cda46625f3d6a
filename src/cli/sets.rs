//! `--set PATH=VALUE`: keys of a flowgraph and its scene, changed before the start.

use crate::{Error, Result};

/// Keys of the scene that `--set` changes.
pub type SceneSets = Vec<(String, toml::Value)>;

/// Applies `--set` to the flowgraph; what begins with `scene.` is returned for the scene.
pub fn apply_sets(sets: &[String], graph: &mut toml::Table) -> Result<SceneSets> {
    let mut scene = Vec::new();
    for set in sets {
        let (path, text) = set.split_once('=').ok_or_else(|| {
            Error::input(format!("--set {set}: accepted: PATH=VALUE, e.g. scene.constraints.power_dbm=-30"))
        })?;
        let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(text.to_owned()));
        match path.strip_prefix("scene.") {
            Some(path) => scene.push((path.to_owned(), value)),
            None => set_key(graph, path, value)?,
        }
    }
    Ok(scene)
}

/// Changes one key of a table, by its path.
pub fn set_key(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<()> {
    match path.split_once('.') {
        None => {
            // A whole number is a good value where a fraction stood.
            let value = match (table.get(path), value) {
                (Some(toml::Value::Float(_)), toml::Value::Integer(whole)) => toml::Value::Float(whole as f64),
                (_, value) => value,
            };
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => {
            let entry = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match entry {
                toml::Value::Table(inner) => set_key(inner, rest, value),
                _ => Err(Error::input(format!("--set {path}: `{first}` is no table; accepted: keys of the file"))),
            }
        }
    }
}
