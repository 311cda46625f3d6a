//! `issc rate-distortion --images DIR`: the source models beside JPEG on the same pictures, and beside published points of
//! the hyperprior codec of Ballé et al. 2018.

use std::path::PathBuf;

use super::inputs;
use crate::Result;
use crate::lab::rate_distortion::compare;

/// Options of `issc rate-distortion`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    codec: inputs::CodecArguments,
    /// Folder for the drawings (PNG, SVG) and their data (CSV); made where it does not exist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc rate-distortion`.
pub fn run(arguments: Arguments) -> Result<()> {
    let comparison = compare(&arguments.codec.bank()?, &arguments.codec.pictures()?, arguments.codec.effort.into())?;
    if let Some(folder) = &arguments.out {
        inputs::make_folder(folder)?;
        for (name, chart) in comparison.charts() {
            chart.write(folder, name)?;
        }
    }
    if arguments.json {
        say!("{}", comparison.report());
    } else {
        say!("{}", comparison.table());
    }
    Ok(())
}
