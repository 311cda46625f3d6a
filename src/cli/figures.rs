//! `issc figures --out DIR`: the paper's figures, the trade-off with its certificate, the beams' patterns, the channel code.

use std::path::PathBuf;

use super::inputs;
use crate::Result;
use crate::control::load_pictures;
use crate::lab::figures;
use crate::pictures::Reading;

/// Options of `issc figures`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder for PNG, SVG and CSV files; made where it does not exist.
    #[arg(long)]
    out: PathBuf,
    /// Scene file (TOML) that the figures start from.
    #[arg(long, default_value = "scenes/paper.toml")]
    scene: PathBuf,
    /// Pictures that Fig. 3 sends: files or folders; the shipped ones by default.
    #[arg(long = "picture", value_name = "PATH")]
    pictures: Vec<PathBuf>,
}

/// Runs `issc figures`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = inputs::scene(&arguments.scene)?;
    inputs::make_folder(&arguments.out)?;
    let read = load_pictures(&arguments.pictures, Reading::default())?;
    inputs::say(&read.notes);
    for (name, chart) in figures::charts(&scene, &read.pictures)? {
        chart.write(&arguments.out, name)?;
        say!("{}", arguments.out.join(name).with_extension("png").display());
    }
    Ok(())
}
