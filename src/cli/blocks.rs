//! `issc blocks`: the kinds that a flowgraph may use, and what each takes, gives and is told by its keys.

use crate::Result;
use crate::blocks::Registry;
use crate::cli::inputs;

/// Lists the kinds of stages that flowgraph files may use, or says all about one.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The kind to describe, with its keys.
    name: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Print the documentation's page of all kinds.
    #[arg(long, conflicts_with_all = ["json", "name"])]
    markdown: bool,
}

/// Runs `issc blocks`.
pub fn run(arguments: Arguments) -> Result<()> {
    let registry = Registry::shipped();
    if arguments.markdown {
        say!("{}", registry.markdown().trim_end());
        return Ok(());
    }
    let chosen = arguments.name.as_deref().map(|name| registry.find(name)).transpose()?;
    match (chosen, arguments.json) {
        (Some(kind), true) => inputs::print_json(&kind.description())?,
        (Some(kind), false) => say!("{kind}"),
        (None, true) => inputs::print_json(&serde_json::json!({ "blocks": registry.descriptions() }))?,
        (None, false) => registry.kinds().iter().for_each(|kind| say!("{:<22} {}", kind.name, kind.summary)),
    }
    Ok(())
}
