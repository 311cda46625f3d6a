//! TOML in, typed settings out: every mistake is one line that names the file, the key and what is accepted.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Parses `text` (named `name` in errors) into `T`. `T` refuses unknown keys (`deny_unknown_fields`);
/// the error then names the nearest known key.
pub fn from_toml<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(String::new(), |span| format!(":{}", 1 + text[..span.start.min(text.len())].matches('\n').count()));
        let what = explain(error.message());
        match error.span().and_then(|span| key_at(text, span.start)) {
            Some(key) if !what.contains(&format!("`{key}`")) => Error::input(format!("{name}{line}: `{key}`: {what}")),
            _ => Error::input(format!("{name}{line}: {what}")),
        }
    })
}

/// The key whose value stands at byte `at`.
fn key_at(text: &str, at: usize) -> Option<&str> {
    let line_start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let key = text[line_start..at].rsplit([',', '{', '\n']).next()?.split_once('=')?.0.trim();
    (!key.is_empty()).then_some(key)
}

/// Shortens serde's "unknown field `x`, expected one of `a`, `b`" to the nearest known key.
fn explain(message: &str) -> String {
    let message = message.replace('\n', " ");
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") {
        return message;
    }
    let Some(found) = quoted.next() else { return message };
    match nearest(found, quoted) {
        Some(near) => format!("unknown key `{found}`; the nearest known key is `{near}`"),
        None => format!("unknown key `{found}`"),
    }
}

/// The candidate most like `found` (Jaro–Winkler), if there is any.
pub fn nearest<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(found, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        power_dbm: f64,
        bandwidth_hz: Option<f64>,
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one_and_the_line() {
        let error = from_toml::<Sample>("power_dbm = 1.0\nbandwith_hz = 2.0\n", "s.toml").unwrap_err();
        assert_eq!(error.to_string(), "s.toml:2: unknown key `bandwith_hz`; the nearest known key is `bandwidth_hz`");
        assert_eq!(error.exit_status(), 2);
    }

    #[test]
    fn a_wrong_type_is_one_line_that_names_the_key() {
        let error = from_toml::<Sample>("power_dbm = \"much\"\n", "s.toml").unwrap_err().to_string();
        assert!(error.starts_with("s.toml:1: `power_dbm`: ") && !error.contains('\n'), "{error}");
    }
}
