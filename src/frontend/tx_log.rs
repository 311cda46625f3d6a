//! A log of what was transmitted, on disk: a line before the first sample, a line after the last. Whoever transmits may be
//! asked when, where and how strongly.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{Error, Result};

/// A line before the first sample.
#[derive(Debug, Serialize)]
pub(super) struct Began<'a> {
    pub(super) device: String,
    pub(super) profile: &'a str,
    pub(super) carrier_hz: f64,
    pub(super) bandwidth_hz: f64,
    pub(super) gain_db: f64,
    pub(super) channels: &'a [usize],
    pub(super) band: &'a str,
    pub(super) max_dbm: f64,
}

/// A line after the last.
#[derive(Debug, Serialize)]
pub(super) struct Ended<'a> {
    pub(super) profile: &'a str,
    pub(super) bursts: u64,
    pub(super) frames: u64,
    pub(super) failure: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a, T> {
    unix_s: f64,
    event: &'a str,
    process: u32,
    #[serde(flatten)]
    what: T,
}

/// Where the log is unless the band's entry says otherwise: the user's own state.
pub(super) fn usual_path() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    base.map(|base| base.join("issc/transmissions.jsonl"))
}

/// Adds a line, which is on disk before this returns.
pub(super) fn note(path: &Path, event: &str, what: impl Serialize) -> Result<()> {
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let line = Line { unix_s, event, process: std::process::id(), what };
    let text = serde_json::to_string(&line).map_err(|error| Error::internal(error.to_string()))?;
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // One write, so that lines of several processes stay whole.
        file.write_all(format!("{text}\n").as_bytes())?;
        file.sync_data()
    };
    write().map_err(|error| Error::file(path, error))
}
