//! `issc bench [FLOWGRAPH]`: what this machine sustains, role by role.

use std::path::PathBuf;

use indicatif::ProgressBar;

use super::inputs;
use crate::Result;
use crate::system::{SystemSpec, bench};

/// Options of `issc bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Flowgraph file (TOML), or a shipped flowgraph, without a radio.
    #[arg(default_value = "flowgraphs/loopback.toml")]
    flowgraph: PathBuf,
    /// Frames of each run.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    frames: u64,
    /// Runs, of which the medians are printed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc bench`.
pub fn run(Arguments { flowgraph, frames, runs, json }: Arguments) -> Result<()> {
    let bar = ProgressBar::new(runs.into());
    let speeds =
        bench(&|| SystemSpec::from_flowgraph(&flowgraph), frames, runs.into(), &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    match json {
        true => inputs::print_json(&speeds)?,
        false => speeds.lines().iter().for_each(|line| say!("{line}")),
    }
    Ok(())
}
