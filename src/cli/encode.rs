//! `issc encode IMAGE… --model G -o FILE`: pictures, folders and videos to a coded file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::control::each_picture;
use crate::semantic::{Bank, Encoder, file};
use crate::{Error, Result};

/// Options of `issc encode`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Pictures (PNG or JPEG), folders of them, videos (by `ffmpeg`); several become a sequence in one file.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Source model: index or name.
    #[arg(long)]
    model: String,
    /// The coded file.
    #[arg(short, long)]
    output: PathBuf,
    /// Folder of a model bank of your own (weights.safetensors and card.toml).
    #[arg(long)]
    bank: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The bank of this folder, or the shipped one.
pub(super) fn bank(folder: Option<&Path>) -> Result<std::sync::Arc<Bank>> {
    folder.map_or_else(|| Ok(Bank::shipped()), Bank::load)
}

/// Runs `issc encode`.
pub fn run(arguments: Arguments) -> Result<()> {
    let bank = bank(arguments.bank.as_deref())?;
    let model = bank.find(&arguments.model)?.clone();
    let mut encoder = Encoder::new(bank);
    let mut bytes = vec![];
    let (mut pixels, mut time_s, mut number) = (0.0, 0.0, 0u16);
    each_picture(&arguments.images, |path, picture| {
        let begin = Instant::now();
        let coded = encoder.encode(&picture, model.index, number).map_err(|e| Error::file(path, e))?;
        time_s += begin.elapsed().as_secs_f64();
        pixels += f64::from(picture.width()) * f64::from(picture.height());
        file::write(&mut bytes, &coded);
        number = number.wrapping_add(1);
        Ok(())
    })?;
    std::fs::write(&arguments.output, &bytes).map_err(|e| Error::file(&arguments.output, e))?;
    let bits = 8 * bytes.len();
    let bits_per_pixel = bits as f64 / pixels;
    if arguments.json {
        let report = json!({"bits": bits, "bits_per_pixel": bits_per_pixel, "lost_segments": 0, "time_s": time_s});
        say!("{report}");
    } else {
        say!("model          {} ({})", model.index, model.name);
        say!("bits           {bits}");
        say!("bits per pixel {bits_per_pixel:.4}");
        say!("time           {:.1} ms", 1e3 * time_s);
    }
    Ok(())
}
