//! `issc keys`: every key of scene files, flowgraph files and live commands.

use super::inputs;
use crate::Result;
use crate::control::keys::{Row, SCENE_PREFIX, STAGE_PREFIX, table};

/// Lists every key that `--set` (scenes and flowgraphs) and `issc set` and `--at` (live) take.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Show only keys whose path has this in it.
    filter: Option<String>,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
    /// Print the tables of the documentation's page.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs `issc keys`.
pub fn run(arguments: Arguments) -> Result<()> {
    let filter = arguments.filter.unwrap_or_default();
    let rows: Vec<_> = table().into_iter().filter(|row| row.path.contains(&filter)).collect();
    if arguments.json {
        return inputs::print_json(&rows);
    }
    if arguments.markdown {
        say!("{}", markdown(&rows).trim_end());
        return Ok(());
    }
    for row in rows {
        print(&row);
    }
    Ok(())
}

fn print(row: &Row) {
    let default = if row.default.is_null() { String::new() } else { format!(", default {}", row.default) };
    let live = if row.live { ", live" } else { "" };
    say!("{:<44} {} {}{default}{live}\n    {}", row.path, range(row), row.unit, row.doc);
}

/// What a key may be, in one line.
fn range(row: &Row) -> String {
    match &row.range {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(ends) => ends.iter().map(ToString::to_string).collect::<Vec<_>>().join(" … "),
        other => other.to_string(),
    }
}

/// The page `docs/src/keys.md`: one table for each sort of key.
fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(
        "# Keys\n\nThis page is the output of `issc keys --markdown`; a test holds it against the program. Words in capitals \
         stand for the name or the place of a list's entry. A key without a default is required, or what it describes is \
         absent: its sentence says which. Keys of stages stand in [Kinds of stages](kinds.md).\n",
    );
    // The page of the kinds has the keys of stages.
    let in_stage = |row: &Row| row.path.starts_with(STAGE_PREFIX) && !row.path.starts_with("chain.NAME.stages.KIND");
    let of_scene = |row: &Row| row.path.starts_with(SCENE_PREFIX);
    let title = |row: &Row| match row.live {
        true => "Live commands",
        false if of_scene(row) => "Scene files",
        false => "Flowgraph files",
    };
    for sort in ["Scene files", "Flowgraph files", "Live commands"] {
        page += &format!("\n## {sort}\n\n| key | unit | accepted | default | meaning |\n|---|---|---|---|---|\n");
        for row in rows.iter().filter(|row| title(row) == sort && !in_stage(row)) {
            let default = if row.default.is_null() { String::new() } else { format!("`{}`", row.default) };
            let cells = [format!("`{}`", row.path), row.unit.into(), range(row), default, row.doc.into()];
            page += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
    }
    page
}
