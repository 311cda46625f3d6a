//! `--set PATH=VALUE`: keys of a flowgraph and its scene, changed before the start.

use crate::{Error, Result};

/// `PATH=VALUE` as a key and a TOML value; what is no TOML is a string.
pub fn parse_set(text: &str) -> Result<(String, toml::Value)> {
    let (path, value) = text.split_once('=').ok_or_else(|| {
        Error::input(format!("--set {text}: accepted: PATH=VALUE, e.g. scene.constraints.power_dbm=-30"))
    })?;
    let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    Ok((path.to_owned(), value))
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
