//! `issc blocks`: the kinds that a flowgraph may use.

use crate::Result;
use crate::blocks::TABLE;

/// Lists the kinds of stages that flowgraph files may use.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc blocks`.
pub fn run(arguments: Arguments) -> Result<()> {
    if arguments.json {
        let kinds: Vec<_> =
            TABLE.iter().map(|kind| serde_json::json!({ "kind": kind.name, "summary": kind.summary })).collect();
        println!("{}", serde_json::json!({ "blocks": kinds }));
    } else {
        for kind in TABLE {
            println!("{:<22} {}", kind.name, kind.summary);
        }
    }
    Ok(())
}
