//! `issc merge FILE…`: what the shards of one measurement found together.

use std::path::PathBuf;

use super::inputs;
use crate::Result;
use crate::lab::shard::{Part, merge};

/// Options of `issc merge`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What the commands with `--shard` printed, a file each, in any order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc merge`.
pub fn run(arguments: Arguments) -> Result<()> {
    let read = |file: &PathBuf| Ok((file.display().to_string(), Part::read(file)?));
    let parts = arguments.files.iter().map(read).collect::<Result<_>>()?;
    inputs::print_merged(&merge(parts)?, arguments.json)
}
