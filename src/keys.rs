//! Tables of keys: what every key of a file or command means, its unit, its range and its default.
//!
//! The tables themselves stand beside what they describe; here is what they are made of, and how a file is held against
//! one. All ranges are closed and finite, so NaN and infinities are in none of them.

use std::fmt;

use toml::Value;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its place in the file, with `[]` after the name of a list: `receiver[].noise_dbm`.
    pub path: &'static str,
    /// Unit of its number, empty where there is none.
    pub unit: &'static str,
    /// What it may be.
    pub range: Range,
    /// What holds where the file does not have it.
    pub default: Default,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

impl Key {
    /// The path as a command names it, with a word in capitals in the place of a list's entry: `receiver.ID.noise_dbm`.
    pub fn command_path(&self) -> String {
        let entry = |list: &str| match list {
            "clutter" | "list" => ".INDEX",
            "chain" => ".NAME",
            "stages" => ".KIND",
            _ => ".ID",
        };
        let parts = self.path.split('.').map(|part| match part.strip_suffix("[]") {
            Some(list) => format!("{list}{}", entry(list)),
            None => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join(".")
    }
}

/// What a key may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// A number from the first to the second, both included.
    Number(f64, f64),
    /// A whole number from the first to the second, both included.
    Whole(u64, u64),
    /// Two numbers, each from the first to the second.
    Point(f64, f64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// true or false.
    Truth,
    /// Text, as described.
    Text(&'static str),
}

/// What holds where a file does not have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The file must have it.
    Required,
    /// Without it there is none of what it describes.
    Absent,
    /// This value, as TOML.
    Toml(&'static str),
}

impl Default {
    /// The default as a value; `None` where there is none.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Toml(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(least, most) => write!(formatter, "{} to {}", short(*least), short(*most)),
            Self::Whole(least, most) if least == most => write!(formatter, "{least}"),
            Self::Whole(least, most) => write!(formatter, "{least} to {most}"),
            Self::Point(least, most) => {
                write!(formatter, "[x, y], two finite numbers from {} to {}", short(*least), short(*most))
            }
            Self::Word(words) => {
                write!(formatter, "{}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
            }
            Self::Truth => formatter.write_str("true or false"),
            Self::Text(what) => formatter.write_str(what),
        }
    }
}

/// A number as a person writes it.
fn short(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) { format!("{number:e}") } else { number.to_string() }
}

impl Range {
    /// Whether a number is within; a point's range is that of each of its numbers.
    pub fn contains(&self, number: f64) -> bool {
        match self {
            Self::Number(least, most) | Self::Point(least, most) => (*least..=*most).contains(&number),
            Self::Whole(least, most) => number.fract() == 0.0 && (*least as f64..=*most as f64).contains(&number),
            Self::Word(_) | Self::Truth | Self::Text(_) => false,
        }
    }

    /// Holds a value against the range; `key` stands in the error.
    pub fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        let good = match (self, value) {
            (Self::Number(..), Value::Float(number)) => self.contains(*number),
            (Self::Number(..), Value::Integer(number)) => self.contains(*number as f64),
            (Self::Whole(least, most), Value::Integer(number)) => {
                u64::try_from(*number).is_ok_and(|number| (*least..=*most).contains(&number))
            }
            (Self::Point(..), Value::Array(numbers)) => {
                let within = |number: &Value| {
                    number.as_float().or(number.as_integer().map(|n| n as f64)).is_some_and(|n| self.contains(n))
                };
                numbers.len() == 2 && numbers.iter().all(within)
            }
            (Self::Word(words), Value::String(word)) => words.contains(&word.as_str()),
            (Self::Truth, Value::Boolean(_)) | (Self::Text(_), _) => true,
            _ => false,
        };
        if good { Ok(()) } else { Err(format!("{key} = {} is out of range; accepted: {self}", found(value))) }
    }
}

/// A value as an error line shows it.
fn found(value: &Value) -> String {
    match value {
        Value::Float(number) if number.is_nan() => "NaN".into(),
        Value::Float(number) => short(*number),
        Value::Array(numbers) => format!("[{}]", numbers.iter().map(found).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The key of this path, where `[]` stands for any entry of a list.
pub fn find<'a>(keys: &'a [Key], pattern: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.path == pattern)
}

/// A path with its entries of lists, `receiver[2].noise_dbm` or `receiver.roof.noise_dbm`, as the table writes it. Where
/// the table has no such key, the path as it came.
pub fn pattern(keys: &[Key], path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let fits = |key: &&Key| {
        let mut parts = parts.iter();
        for want in key.path.split('.') {
            let Some(part) = parts.next() else { return false };
            match want.strip_suffix("[]") {
                Some(list) if part.split('[').next() == Some(list) => {
                    // The entry follows as a part of its own, or in brackets.
                    if !part.ends_with(']') && parts.next().is_none() {
                        return false;
                    }
                }
                None if want == *part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    };
    keys.iter().find(fits).map_or_else(|| path.to_owned(), |key| key.path.to_owned())
}

/// Holds a file, parsed, against its keys: every value that the table knows must be in its range. What the table does
/// not know is left to who reads the file.
pub fn check(keys: &[Key], file: &Value) -> Result<(), String> {
    let mut result = Ok(());
    each_value(file, &mut String::new(), &mut String::new(), &mut |path, pattern, value| {
        if result.is_ok()
            && let Some(key) = find(keys, pattern)
        {
            result = key.range.check(path, value);
        }
    });
    result
}

/// Calls `with` with the path, the pattern and the value of every key of a file.
pub fn each_value(value: &Value, path: &mut String, pattern: &mut String, with: &mut impl FnMut(&str, &str, &Value)) {
    let lengths = (path.len(), pattern.len());
    match value {
        Value::Table(table) => {
            for (name, inner) in table {
                let dot = if path.is_empty() { "" } else { "." };
                for text in [&mut *path, &mut *pattern] {
                    text.push_str(dot);
                    text.push_str(name);
                }
                each_value(inner, path, pattern, with);
                path.truncate(lengths.0);
                pattern.truncate(lengths.1);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_table) => {
            for (index, inner) in entries.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                pattern.push_str("[]");
                each_value(inner, path, pattern, with);
                path.truncate(lengths.0);
                pattern.truncate(lengths.1);
            }
        }
        _ => with(path, pattern, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(path: &'static str, range: Range) -> Key {
        Key { path, unit: "", range, default: Default::Absent, doc: "." }
    }

    const KEYS: [Key; 5] = [
        key("a.level_db", Range::Number(-3.0, 1e7)),
        key("a.count", Range::Whole(1, 4)),
        key("list[].at_m", Range::Point(-5.0, 5.0)),
        key("a.word", Range::Word(&["one", "two"])),
        key("a.on", Range::Truth),
    ];

    fn check(text: &str) -> Result<(), String> {
        super::check(&KEYS, &Value::Table(toml::from_str(text).unwrap()))
    }

    #[test]
    fn both_ends_are_accepted_and_what_lies_beyond_names_key_value_and_range() {
        for good in ["level_db = -3", "level_db = 1e7", "count = 1", "count = 4", "word = \"two\"", "on = false"] {
            check(&format!("[a]\n{good}")).unwrap();
        }
        check("[[list]]\nat_m = [5, -5.0]").unwrap();
        for (bad, said) in [
            ("[a]\nlevel_db = -3.1", "a.level_db = -3.1 is out of range; accepted: -3 to 1e7"),
            ("[a]\nlevel_db = nan", "a.level_db = NaN is out of range; accepted: -3 to 1e7"),
            ("[a]\nlevel_db = inf", "a.level_db = inf is out of range; accepted: -3 to 1e7"),
            ("[a]\ncount = 5", "a.count = 5 is out of range; accepted: 1 to 4"),
            ("[a]\ncount = -1", "a.count = -1 is out of range; accepted: 1 to 4"),
            ("[a]\nword = \"three\"", "a.word = \"three\" is out of range; accepted: \"one\", \"two\""),
            (
                "[[list]]\nat_m = [1, 2]\n[[list]]\nat_m = [1, inf]",
                "list[1].at_m = [1, inf] is out of range; accepted: [x, y], two finite numbers from -5 to 5",
            ),
        ] {
            assert_eq!(check(bad).unwrap_err(), said);
        }
    }

    #[test]
    fn an_entry_of_a_list_is_named_by_its_place_or_its_name() {
        for (path, found) in [
            ("list.roof.at_m", "list[].at_m"),
            ("list.2.at_m", "list[].at_m"),
            ("list[2].at_m", "list[].at_m"),
            ("a.count", "a.count"),
            ("list.at_m", "list.at_m"),
            ("b.count", "b.count"),
        ] {
            assert_eq!(pattern(&KEYS, path), found);
        }
    }
}
