//! `issc encode IMAGE… --model G -o FILE`: pictures, folders and videos to a coded file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::inputs;
use crate::pictures::{Reading, each_picture, write_whole};
use crate::semantic::{Bank, Encoder, file};
use crate::{Error, Result};

/// Options of `issc encode`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Pictures (JPEG, PNG, WebP, BMP, TIFF, the first frame of a GIF; - is the standard input), folders of them, videos (by
    /// `ffmpeg`); several become a sequence in one file. They are shown upright, transparent ones over white.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Source model: index or name.
    #[arg(long)]
    model: String,
    /// The coded file; - is the standard output, and the report then goes to the standard error.
    #[arg(short, long)]
    output: PathBuf,
    /// Take pictures that are cut short as far as they go, and say so.
    #[arg(long)]
    lenient: bool,
    /// Passes in search of symbols of fewer bits, for models tuned for MSE; 0 is real time, 16 find most of them.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    effort: u16,
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
    encoder.set_effort(arguments.effort.into());
    let mut bytes = vec![];
    let (mut pixels, mut time_s, mut number) = (0.0, 0.0, 0u16);
    let reading = Reading { lenient: arguments.lenient };
    let notes = each_picture(&arguments.images, reading, |path, picture| {
        let begin = Instant::now();
        let coded = encoder.encode(&picture, model.index, number).map_err(|e| Error::file(path, e))?;
        time_s += begin.elapsed().as_secs_f64();
        pixels += f64::from(picture.width()) * f64::from(picture.height());
        file::write(&mut bytes, &coded);
        number = number.wrapping_add(1);
        Ok(())
    })?;
    inputs::say(&notes);
    write_whole(&arguments.output, &bytes)?;
    let bits = 8 * bytes.len();
    let bits_per_pixel = bits as f64 / pixels;
    let report = if arguments.json {
        json!({"bits": bits, "bits_per_pixel": bits_per_pixel, "lost_segments": 0, "time_s": time_s}).to_string()
    } else {
        format!(
            "model          {} ({})\nbits           {bits}\nbits per pixel {bits_per_pixel:.4}\ntime           {:.1} ms",
            model.index,
            model.name,
            1e3 * time_s
        )
    };
    inputs::print_beside(&arguments.output, &report);
    Ok(())
}
