//! `[[impairment]]`: what a real channel and real front ends do to the signal of the simulated world. Like clutter it is
//! the simulation's: no receiver and no plan reads it.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Scene, SceneReceiver};
use crate::config;

/// Most impairments of a scene.
pub const MAX_IMPAIRMENTS: usize = 16;

/// The place that means the transmitter's antennas.
pub const AT_TRANSMITTER: &str = "transmitter";

/// One kind of impairment, with the keys that it has beside `id`, `at` and `kind`.
#[derive(Debug)]
pub struct ImpairmentKind {
    /// Its name in scene files.
    pub name: &'static str,
    /// Its numbers; one without a default must be stated.
    pub numbers: &'static [(&'static str, Option<f64>)],
    /// Its words, which have defaults or may be absent.
    pub words: &'static [&'static str],
    /// Whether its numbers can be changed while a run goes on.
    pub live: bool,
    /// What it works on.
    pub place: Place,
}

/// Where an impairment may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The transmitter, a receiver or one of its rows.
    Any,
    /// The transmitter or a receiver, all rows of it.
    Whole,
    /// One row of a receiver.
    Row,
}

const fn kind(
    name: &'static str,
    numbers: &'static [(&'static str, Option<f64>)],
    words: &'static [&'static str],
    place: Place,
) -> ImpairmentKind {
    ImpairmentKind { name, numbers, words, live: true, place }
}

/// All kinds.
pub const KINDS: &[ImpairmentKind] = &[
    kind(
        "carrier-offset",
        &[("ppm", Some(0.0)), ("cycles_per_symbol", Some(0.0)), ("drift_hz_per_s", Some(0.0))],
        &[],
        Place::Any,
    ),
    kind("clock-offset", &[("ppm", None)], &[], Place::Whole),
    kind("phase-noise", &[("rms_deg", None)], &["shape"], Place::Any),
    ImpairmentKind {
        live: false,
        ..kind(
            "paths",
            &[("spread_symbols", Some(1.0)), ("doppler_cycles_per_symbol", Some(0.0))],
            &["profile", "list"],
            Place::Whole,
        )
    },
    kind("iq", &[("image_db", None)], &[], Place::Any),
    kind("dc", &[("dbc", None)], &[], Place::Any),
    kind("adc", &[("bits", None), ("full_scale_db", Some(12.0))], &[], Place::Any),
    kind("clip", &[("over_rms_db", None)], &[], Place::Any),
    kind("gain-step", &[("db", None), ("every_frames", Some(1.0)), ("at_symbol", Some(0.0))], &[], Place::Any),
    kind("tone", &[("db", None), ("cycles_per_sample", None)], &[], Place::Any),
    kind("bursts", &[("db", None), ("length", None), ("period", None)], &[], Place::Any),
    kind("gap", &[("samples", None), ("every_frames", None)], &[], Place::Any),
    kind("level", &[("db", None)], &[], Place::Any),
    kind(
        "row",
        &[("gain_db", Some(0.0)), ("phase_deg", Some(0.0)), ("delay_samples", Some(0.0))],
        &["fault"],
        Place::Row,
    ),
    kind("coupling", &[("db", None)], &[], Place::Whole),
    kind("pa", &[("rapp_p", Some(2.0)), ("backoff_db", None)], &[], Place::Any),
    kind("jitter", &[("phase_deg", Some(0.0)), ("gain_db", Some(0.0))], &[], Place::Any),
];

/// Names of the kinds, in their order.
pub(super) const KIND_NAMES: [&str; KINDS.len()] = {
    let mut names = [""; KINDS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = KINDS[index].name;
        index += 1;
    }
    names
};

impl ImpairmentKind {
    /// Place of one of its numbers in [`Self::numbers`].
    pub fn number(&self, key: &str) -> Option<usize> {
        self.numbers.iter().position(|(name, _)| *name == key)
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let numbers = self.numbers.iter().map(|(name, _)| *name);
        ["id", "at", "kind"].into_iter().chain(numbers).chain(self.words.iter().copied())
    }
}

/// One path beside the first, an entry of `list`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenePath {
    /// Symbols behind the first path.
    pub delay_symbols: f64,
    /// Its power over the first path's, in dB.
    pub gain_db: f64,
    /// Its phase against the first path's, in degrees.
    #[serde(default)]
    pub phase_deg: f64,
}

/// One impairment, an entry of `[[impairment]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct SceneImpairment {
    /// Its name in commands.
    pub id: String,
    /// Where it is: the transmitter, a receiver's id, or that with a row's number behind a dot.
    pub at: String,
    /// What it is.
    pub kind: &'static ImpairmentKind,
    /// Its numbers, in the order of the kind's.
    pub numbers: Vec<f64>,
    /// Paths beside the first.
    pub list: Vec<ScenePath>,
    /// As the file has it.
    file: Table,
}

impl PartialEq for SceneImpairment {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl From<SceneImpairment> for Table {
    fn from(impairment: SceneImpairment) -> Self {
        impairment.file
    }
}

impl TryFrom<Table> for SceneImpairment {
    type Error = String;

    fn try_from(file: Table) -> Result<Self, String> {
        let text = |key: &str| match file.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(format!("`{key}` = {other}; accepted: a text")),
        };
        let names = || KIND_NAMES.map(|name| format!("\"{name}\"")).join(", ");
        let name = text("kind")?.ok_or_else(|| format!("an impairment needs `kind`; accepted: {}", names()))?;
        let kind = KINDS
            .iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| format!("kind = \"{name}\" is no impairment; accepted: {}", names()))?;
        let at = text("at")?.ok_or_else(|| {
            format!("an impairment needs `at`; accepted: \"{AT_TRANSMITTER}\", a receiver's id, or ID.ROW")
        })?;
        if let Some(unknown) = file.keys().find(|key| !kind.keys().any(|known| known == key.as_str())) {
            let near = config::nearest(unknown, kind.keys()).unwrap_or_default();
            return Err(format!("unknown key `{unknown}` of an impairment of kind `{name}`; the nearest is `{near}`"));
        }
        let number = |(key, default): &(&'static str, Option<f64>)| match (file.get(*key), default) {
            (Some(Value::Float(number)), _) => Ok(*number),
            (Some(Value::Integer(number)), _) => Ok(*number as f64),
            (Some(other), _) => Err(format!("`{key}` = {other}; accepted: a number")),
            (None, Some(default)) => Ok(*default),
            (None, None) => Err(format!("an impairment of kind `{name}` needs `{key}`")),
        };
        let numbers = kind.numbers.iter().map(number).collect::<Result<_, _>>()?;
        let list = match file.get("list") {
            Some(list) => Vec::<ScenePath>::deserialize(list.clone())
                .map_err(|error| format!("`list`: {}", error.message().trim_end()))?,
            None => Vec::new(),
        };
        for word in kind.words.iter().filter(|word| **word != "list") {
            text(word)?;
        }
        if kind.name == "paths" && file.contains_key("profile") == file.contains_key("list") {
            return Err("an impairment of kind `paths` needs `list` or `profile`; accepted: one of the two".into());
        }
        let id = text("id")?.unwrap_or(name).to_owned();
        Ok(Self { id, at: at.to_owned(), kind, numbers, list, file: file.clone() })
    }
}

impl SceneImpairment {
    /// The number of this key; 0 where the kind has no such key.
    pub fn number(&self, key: &str) -> f64 {
        self.kind.number(key).map_or(0.0, |place| self.numbers[place])
    }

    /// The word of this key.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.file.get(key)?.as_str()
    }

    /// Where it is: the receiver's id and the row's number, or none for the transmitter.
    pub fn receiver(&self) -> Option<(&str, Option<usize>)> {
        if self.at == AT_TRANSMITTER {
            return None;
        }
        match self.at.split_once('.') {
            Some((id, row)) => Some((id, row.parse().ok().or(Some(usize::MAX)))),
            None => Some((&self.at, None)),
        }
    }

    /// The row that a fault exchanges this one with.
    pub fn swapped_with(&self) -> Option<usize> {
        self.word("fault")?.strip_prefix("swapped-with-")?.parse().ok()
    }
}

impl Scene {
    /// The impairments of a scene that knows one receiver of each kind, under their default ids: those of others are left
    /// out.
    pub(super) fn impairments_of(&self, receivers: [(&str, &str); 2]) -> Vec<SceneImpairment> {
        let renamed = |impairment: &SceneImpairment| {
            let Some((id, _)) = impairment.receiver() else { return Some(impairment.clone()) };
            let (_, default) = receivers.iter().find(|(own, _)| *own == id)?;
            let mut renamed = impairment.clone();
            renamed.at = impairment.at.replacen(id, default, 1);
            renamed.file.insert("at".into(), Value::String(renamed.at.clone()));
            Some(renamed)
        };
        self.impairments.iter().filter_map(renamed).collect()
    }

    /// Place of the impairment with this id.
    pub fn impairment_index(&self, id: &str) -> Result<usize, String> {
        self.impairments.iter().position(|impairment| impairment.id == id).ok_or_else(|| {
            let known: Vec<_> = self.impairments.iter().map(|impairment| impairment.id.as_str()).collect();
            match known.is_empty() {
                true => format!("the scene has no impairment `{id}`; accepted: scenes with [[impairment]]"),
                false => format!("the scene has no impairment `{id}`; accepted: {}", known.join(", ")),
            }
        })
    }

    /// Place of an impairment and of its number that a live command means; an error where it cannot be changed to this.
    pub fn impairment_number(&self, id: &str, key: &str, value: f64) -> Result<(usize, usize), String> {
        let index = self.impairment_index(id)?;
        let kind = self.impairments[index].kind;
        let path = format!("world.impairment.{id}.{key}");
        if !kind.live {
            return Err(format!("{path}: an impairment of kind `{}` is set at the start; accepted: --set", kind.name));
        }
        let place = kind.number(key).ok_or_else(|| {
            let known: Vec<_> = kind.numbers.iter().map(|(name, _)| *name).collect();
            format!("{path}: an impairment of kind `{}` has no such number; accepted: {}", kind.name, known.join(", "))
        })?;
        let pattern = format!("impairment[].{key}");
        match crate::keys::find(super::keys::KEYS, &pattern) {
            Some(row) if !row.range.contains(value) => {
                Err(format!("{path}: found `{value}`; accepted: {} {}", row.range, row.unit).trim_end().to_owned())
            }
            _ => Ok((index, place)),
        }
    }

    /// Checks every impairment against the receivers that there are.
    pub(super) fn check_impairments(&self) -> Result<(), String> {
        if self.impairments.len() > MAX_IMPAIRMENTS {
            return Err(format!(
                "[[impairment]] has {} entries; accepted: up to {MAX_IMPAIRMENTS}",
                self.impairments.len()
            ));
        }
        super::check::check_ids("impairment", self.impairments.iter().map(|impairment| impairment.id.as_str()))?;
        let receivers = self.receivers();
        for (index, impairment) in self.impairments.iter().enumerate() {
            check_place(index, impairment, &receivers)?;
        }
        for (index, impairment) in self.impairments.iter().enumerate() {
            let same = |other: &SceneImpairment| other.at == impairment.at && other.kind.name == impairment.kind.name;
            if impairment.kind.name == "clock-offset" && self.impairments[..index].iter().any(same) {
                return Err(format!(
                    "impairment[{index}].at = \"{}\" has a second clock-offset; accepted: one at each place",
                    impairment.at
                ));
            }
        }
        Ok(())
    }
}

fn check_place(index: usize, impairment: &SceneImpairment, receivers: &[SceneReceiver]) -> Result<(), String> {
    let (kind, at) = (impairment.kind, &impairment.at);
    let wrong = |accepted: String| Err(format!("impairment[{index}].at = \"{at}\"; accepted: {accepted}"));
    let Some((id, row)) = impairment.receiver() else {
        return match kind.place {
            Place::Row => wrong(format!("a row of a receiver, ID.ROW, with kind = \"{}\"", kind.name)),
            _ => Ok(()),
        };
    };
    let Some(receiver) = receivers.iter().find(|receiver| receiver.id == id) else {
        let known: Vec<_> = receivers.iter().map(|receiver| format!("\"{}\"", receiver.id)).collect();
        return wrong(format!("\"{AT_TRANSMITTER}\", {}, or ID.ROW", known.join(", ")));
    };
    match (row, kind.place) {
        (Some(_), Place::Whole) => return wrong(format!("a whole receiver with kind = \"{}\"", kind.name)),
        (None, Place::Row) => {
            return wrong(format!("a row of a receiver, {id}.ROW, with kind = \"{}\"", kind.name));
        }
        (Some(row), _) if row >= receiver.antennas => {
            return wrong(format!("rows 0 to {} of `{id}`", receiver.antennas - 1));
        }
        _ => {}
    }
    let fault = impairment.word("fault");
    let is_good = match fault {
        None | Some("dead" | "conjugated") => true,
        Some(_) => impairment.swapped_with().is_some_and(|other| other < receiver.antennas),
    };
    if is_good {
        return Ok(());
    }
    Err(format!(
        "impairment[{index}].fault = \"{}\"; accepted: \"dead\", \"conjugated\", \"swapped-with-N\" with N from 0 to {}",
        fault.unwrap_or_default(),
        receiver.antennas - 1
    ))
}

#[cfg(test)]
mod tests {
    use super::super::PAPER_TOML;
    use super::*;

    fn with(entry: &str) -> Result<Scene, String> {
        Scene::from_toml(&format!("{PAPER_TOML}\n[[impairment]]\n{entry}\n"), "s.toml")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_impairment_is_read_with_its_defaults_and_written_as_it_was() {
        let scene = with("id = \"rx\"\nat = \"communication-receiver\"\nkind = \"adc\"\nbits = 8").unwrap();
        let adc = &scene.impairments[0];
        assert_eq!((adc.number("bits"), adc.number("full_scale_db")), (8.0, 12.0));
        assert_eq!(Scene::from_toml(&toml::to_string(&scene).unwrap(), "again").unwrap(), scene);
        assert_eq!(scene.impairment_number("rx", "bits", 6.0), Ok((0, 0)));
        let paths = with(
            "at = \"sensing-receiver\"\nkind = \"paths\"\nlist = [{ delay_symbols = 1, gain_db = -10, phase_deg = 90 }]",
        );
        assert_eq!(paths.unwrap().impairments[0].list[0].gain_db, -10.0);
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_accepted() {
        for (entry, said) in [
            ("at = \"transmitter\"", "an impairment needs `kind`; accepted: \"carrier-offset\""),
            ("at = \"transmitter\"\nkind = \"qi\"", "kind = \"qi\" is no impairment; accepted: \"carrier-offset\""),
            ("kind = \"iq\"\nimage_db = -20", "an impairment needs `at`"),
            ("at = \"transmitter\"\nkind = \"iq\"", "an impairment of kind `iq` needs `image_db`"),
            ("at = \"transmitter\"\nkind = \"iq\"\nimage_db = -20\nbits = 3", "unknown key `bits`"),
            ("at = \"transmitter\"\nkind = \"iq\"\nimage_db = 100", "impairment[0].image_db = 100 is out of range"),
            (
                "at = \"roof\"\nkind = \"iq\"\nimage_db = -20",
                "impairment[0].at = \"roof\"; accepted: \"transmitter\", \"communication-receiver\"",
            ),
            (
                "at = \"sensing-receiver.4\"\nkind = \"iq\"\nimage_db = -20",
                "accepted: rows 0 to 3 of `sensing-receiver`",
            ),
            ("at = \"sensing-receiver\"\nkind = \"row\"", "accepted: a row of a receiver, sensing-receiver.ROW"),
            ("at = \"sensing-receiver.1\"\nkind = \"coupling\"\ndb = -20", "accepted: a whole receiver"),
            (
                "at = \"sensing-receiver.1\"\nkind = \"row\"\nfault = \"swapped-with-4\"",
                "fault = \"swapped-with-4\"; accepted:",
            ),
            ("at = \"transmitter\"\nkind = \"paths\"", "`paths` needs `list` or `profile`"),
            (
                "at = \"transmitter\"\nkind = \"paths\"\nprofile = \"tdl-z\"",
                "impairment[0].profile = \"tdl-z\" is out of range",
            ),
            ("at = \"transmitter\"\nkind = \"adc\"\nbits = 2.5", "impairment[0].bits = 2.5 is out of range"),
        ] {
            let error = with(entry).unwrap_err();
            assert!(error.starts_with("s.toml") && error.contains(said) && !error.trim_end().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_live_change_is_held_against_the_kind_and_the_range() {
        let scene = with("at = \"transmitter\"\nkind = \"iq\"\nimage_db = -20").unwrap();
        for (id, key, value, said) in [
            ("qi", "image_db", -30.0, "the scene has no impairment `qi`; accepted: iq"),
            ("iq", "db", -30.0, "has no such number; accepted: image_db"),
            ("iq", "image_db", 200.0, "world.impairment.iq.image_db: found `200`; accepted: -200 to 20 dB"),
        ] {
            let error = scene.impairment_number(id, key, value).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn every_number_and_word_of_every_kind_is_a_key_of_the_table() {
        for kind in KINDS {
            for key in kind.keys().filter(|key| *key != "list") {
                let path = format!("impairment[].{key}");
                assert!(crate::keys::find(super::super::keys::KEYS, &path).is_some(), "{path}");
            }
        }
    }
}
