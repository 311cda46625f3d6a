//! `issc check`: loads a flowgraph as `run` would, and runs nothing.

use crate::Result;
use crate::system::{Setting, System, SystemSpec};

/// Loads a flowgraph, checks every stage and shape, and prints them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A flowgraph file, or a shipped one.
    flowgraph: String,
    /// Changes a key first, e.g. scene.constraints.power_dbm=-30.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc check`.
pub fn run(arguments: Arguments) -> Result<()> {
    let mut spec = SystemSpec::from_flowgraph(arguments.flowgraph)?.check_only();
    for text in &arguments.set {
        spec = spec.with(Setting::parse(text)?);
    }
    let system = System::build(spec)?;
    let chains = system.shapes();
    if arguments.json {
        let chains: Vec<_> = chains
            .iter()
            .map(|(chain, stages)| {
                let stages: Vec<_> = stages
                    .iter()
                    .map(|(kind, outlet)| serde_json::json!({ "kind": kind, "outlet": outlet.to_string() }))
                    .collect();
                serde_json::json!({ "chain": chain, "stages": stages })
            })
            .collect();
        say!("{}", serde_json::json!({ "chains": chains }));
    } else {
        for (chain, stages) in chains {
            say!("{chain}");
            for (kind, outlet) in stages {
                say!("  {kind:<22} → {outlet}");
            }
        }
    }
    Ok(())
}
