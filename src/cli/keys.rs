//! `issc keys`: every key of scene files, flowgraph files and live commands.

use super::inputs;
use crate::Result;
use crate::control::keys::{Row, table};

/// Lists every key that `--set` (scenes and flowgraphs) and `issc set` and `--at` (live) take.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Show only keys whose path has this in it.
    filter: Option<String>,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs `issc keys`.
pub fn run(arguments: Arguments) -> Result<()> {
    let filter = arguments.filter.unwrap_or_default();
    let rows: Vec<_> = table().into_iter().filter(|row| row.path.contains(&filter)).collect();
    if arguments.json {
        return inputs::print_json(&rows);
    }
    for row in rows {
        print(&row);
    }
    Ok(())
}

fn print(row: &Row) {
    let range = match &row.range {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(ends) => ends.iter().map(ToString::to_string).collect::<Vec<_>>().join(" … "),
        other => other.to_string(),
    };
    let default = if row.default.is_null() { String::new() } else { format!(", default {}", row.default) };
    let live = if row.live { ", live" } else { "" };
    say!("{:<44} {range} {}{default}{live}\n    {}", row.path, row.unit, row.doc);
}
