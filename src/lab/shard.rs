//! Monte Carlo on many machines: a measurement is cut into units that do not depend on one another, a shard works on its
//! share of them, and what all shards left is added up unit by unit, in the units' order. One run does the same on all
//! units, so that shards and one run give the same bits.
//!
//! A unit has a seed of its own: a chunk of trials or of blocks, a picture under one model, a row of a table.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{codec_curve, link, robustness, sense};
use crate::{Error, Result};

/// One shard of several: `I/N`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// Shard `index` of `of`, counted from 1.
    ///
    /// # Errors
    /// Where there is no such shard.
    pub fn new(index: u64, of: u64) -> Result<Self> {
        match (1..=of).contains(&index) && of <= 1_000_000 {
            true => Ok(Self { index, of }),
            false => Err(Error::input(format!("--shard {index}/{of}; accepted: I/N with 1 ≤ I ≤ N ≤ 1000000"))),
        }
    }

    /// The units of this shard among so many; shares differ by one unit at most.
    pub fn range(self, units: u64) -> Range<u64> {
        let bound = |index: u64| (u128::from(units) * u128::from(index) / u128::from(self.of)) as u64;
        bound(self.index - 1)..bound(self.index)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let (index, of) =
            numbers.ok_or_else(|| Error::input(format!("--shard {text}; accepted: I/N with 1 ≤ I ≤ N ≤ 1000000")))?;
        Self::new(index, of)
    }
}

/// The seed of unit `number`; the first unit has the seed itself.
pub(super) fn seed_of(seed: u64, number: u64) -> u64 {
    seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a shard leaves: everything that the result depends on, and the sums of its units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The command that made it.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// What was measured, and how.
    pub about: Value,
    /// Which of how many.
    pub shard: Shard,
    /// Units of the whole measurement.
    pub units: u64,
    /// First unit of this shard; the others follow.
    pub first: u64,
    /// Sums, a unit each.
    pub sums: Vec<Value>,
}

impl Part {
    /// The part of a shard whose units came to `sums`.
    pub(super) fn new(
        command: &str,
        about: &impl Serialize,
        (shard, units): (Shard, u64),
        sums: &[impl Serialize],
    ) -> Result<Self> {
        let value = |what: serde_json::Result<Value>| what.map_err(|error| Error::internal(error.to_string()));
        Ok(Self {
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            about: value(serde_json::to_value(about))?,
            shard,
            units,
            first: shard.range(units).start,
            sums: sums.iter().map(|sums| value(serde_json::to_value(sums))).collect::<Result<_>>()?,
        })
    }

    /// The part that a text holds; `name` stands in error lines.
    ///
    /// # Errors
    /// Where it holds none.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let wrong =
            |what: String| Error::damaged(format!("{name}: {what}; accepted: what a command with --shard printed"));
        let part: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let range =
            Shard::new(part.shard.index, part.shard.of).map_err(|error| wrong(error.to_string()))?.range(part.units);
        match part.first == range.start && part.sums.len() as u64 == range.end - range.start {
            true => Ok(part),
            false => Err(wrong(format!("{} units from unit {} on of {}", part.sums.len(), part.first, part.units))),
        }
    }

    /// The part in a file.
    ///
    /// # Errors
    /// Where it cannot be read, or holds none.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| Error::file(file, error))?;
        Self::parse(&text, &file.display().to_string())
    }
}

/// What all shards together found.
#[derive(Debug)]
pub struct Merged {
    /// What the command prints with `--json`.
    pub report: Value,
    /// The same for people, a line each.
    pub lines: Vec<String>,
}

/// Adds up the parts of one measurement, which stand under names for error lines.
///
/// # Errors
/// Where a part is of another measurement, or comes twice, or one is missing.
pub fn merge(parts: Vec<(String, Part)>) -> Result<Merged> {
    let Some((name, first)) = parts.first().cloned() else {
        return Err(Error::input("no part; accepted: one or more, of all shards"));
    };
    let mut units = BTreeMap::new();
    for (other, part) in parts {
        if let Some(what) = difference(&first, &part) {
            return Err(Error::input(format!("{other}: of another measurement than {name}: {what}")));
        }
        for (unit, sums) in (part.first..).zip(part.sums) {
            if units.insert(unit, sums).is_some() {
                let Shard { index, of } = part.shard;
                return Err(Error::input(format!(
                    "{other}: shard {index}/{of} has units that another part has as well"
                )));
            }
        }
    }
    if let Some(missing) = (0..first.units).find(|unit| !units.contains_key(unit)) {
        let of = first.shard.of;
        let shard = (1..=of).find(|index| Shard { index: *index, of }.range(first.units).contains(&missing));
        return Err(Error::input(format!(
            "shard {}/{of} is missing; accepted: the parts of all shards",
            shard.unwrap_or(1)
        )));
    }
    let (about, sums) = (first.about, units.into_values().collect());
    match first.command.as_str() {
        "sense" => sense::merged(read(about)?, read_all(sums)?),
        "link" => link::merged(&read(about)?, &read_all(sums)?),
        "robustness" => Ok(robustness::merged(read_all(sums)?)),
        "codec-curve" => codec_curve::merged(&read(about)?, &read_all(sums)?),
        other => {
            Err(Error::damaged(format!("{name}: a part of `{other}`; accepted: sense, link, robustness, codec-curve")))
        }
    }
}

/// What two parts do not have in common.
fn difference(one: &Part, other: &Part) -> Option<String> {
    let named = |key: &str, one: &Value, other: &Value| {
        let short = |value: &Value| value.to_string().chars().take(60).collect::<String>();
        (one != other).then(|| format!("{key} {} instead of {}", short(other), short(one)))
    };
    let empty = serde_json::Map::new();
    let keys = one.about.as_object().unwrap_or(&empty).keys();
    named("command", &one.command.as_str().into(), &other.command.as_str().into())
        .or_else(|| named("version", &one.version.as_str().into(), &other.version.as_str().into()))
        .or_else(|| named("units", &one.units.into(), &other.units.into()))
        .or_else(|| {
            keys.into_iter().find_map(|key| named(key, &one.about[key], other.about.get(key).unwrap_or(&Value::Null)))
        })
        .or_else(|| named("settings", &one.about, &other.about))
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::damaged(format!("a part is not whole: {error}")))
}

fn read_all<T: DeserializeOwned>(values: Vec<Value>) -> Result<Vec<T>> {
    values.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::link::Settings;

    #[test]
    fn shares_cover_all_units_once_and_differ_by_one_at_most() {
        for (units, of) in [(0, 3), (1, 4), (7, 3), (98, 8), (u64::MAX, 7)] {
            let ranges: Vec<_> = (1..=of).map(|index| Shard::new(index, of).unwrap().range(units)).collect();
            assert!(ranges[0].start == 0 && ranges[ranges.len() - 1].end == units);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            let lengths = || ranges.iter().map(|range| range.end - range.start);
            assert!(lengths().max().unwrap() - lengths().min().unwrap() <= 1);
        }
        for text in ["0/3", "4/3", "1", "1/0", "a/b", "1/2/3", "-1/2"] {
            let error = text.parse::<Shard>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("--shard {text}; accepted: I/N")), "{error}");
        }
    }

    #[test]
    fn parts_of_another_measurement_double_ones_and_missing_ones_are_named() {
        let part = |index, seed| {
            let settings = Settings { blocks: 9000, seed, ..Settings::default() };
            (format!("{index}.json"), link::part(&settings, Shard::new(index, 3).unwrap()).unwrap())
        };
        let whole = link::measure(&Settings { blocks: 9000, ..Settings::default() }).unwrap();
        let merged = merge(vec![part(3, 1), part(1, 1), part(2, 1)]).unwrap();
        for key in ["block_error_rate", "bit_error_rate", "undetected"] {
            assert_eq!(merged.report[key], whole.report[key], "{key}");
        }
        assert!(merged.report["block_error_rate"].as_f64().unwrap() > 0.0);
        for (parts, said) in [
            (
                vec![part(1, 1), part(2, 2), part(3, 1)],
                "2.json: of another measurement than 1.json: seed 2 instead of 1",
            ),
            (vec![part(1, 1), part(1, 1)], "1.json: shard 1/3 has units that another part has as well"),
            (vec![part(1, 1), part(3, 1)], "shard 2/3 is missing"),
            (vec![], "no part"),
        ] {
            let error = merge(parts).unwrap_err();
            assert!(error.to_string().starts_with(said) && error.exit_status() == 2, "{error}");
        }
        let mut text = serde_json::to_value(part(1, 1).1).unwrap();
        text["sums"] = Value::Array(Vec::new());
        assert!(
            Part::parse(&text.to_string(), "p")
                .unwrap_err()
                .to_string()
                .contains("accepted: what a command with --shard")
        );
        assert!(Part::parse("{", "p").unwrap_err().to_string().starts_with("p: "));
    }
}
