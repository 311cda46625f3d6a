//! `issc decode FILE -o IMAGE`: a coded file to pictures or a video, whatever happened to it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::inputs;
use crate::pictures::{PictureWriter, is_standard};
use crate::semantic::{Decoder, file};
use crate::{Error, Result};

/// Options of `issc decode`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The coded file; - is the standard input.
    file: PathBuf,
    /// The picture (PNG or JPEG by its suffix); the pictures of a sequence are numbered before the suffix. Or a video
    /// (.mp4 and others, by `ffmpeg`). - writes PNG to the standard output, one picture after another, and the report to the
    /// standard error.
    #[arg(short, long)]
    output: PathBuf,
    /// Pictures per second of a video.
    #[arg(long, default_value_t = 25.0)]
    pictures_per_s: f64,
    /// Folder of a model bank of your own (weights.safetensors and card.toml).
    #[arg(long)]
    bank: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc decode`.
pub fn run(arguments: Arguments) -> Result<()> {
    let bytes = read(&arguments.file)?;
    let mut decoder = Decoder::new(super::encode::bank(arguments.bank.as_deref())?);
    let single = file::records(&bytes).nth(1).is_none();
    let (mut writer, mut pictures, mut failure) = (None, 0, None);
    let (mut pixels, mut time_s, mut slices, mut lost) = (0.0, 0.0, 0, 0);
    for (protected, body) in file::records(&bytes) {
        let begin = Instant::now();
        let decoded = decoder.decode(protected, body, &[]);
        time_s += begin.elapsed().as_secs_f64();
        match decoded {
            Ok(decoded) => {
                pixels += f64::from(decoded.image.width()) * f64::from(decoded.image.height());
                slices += decoded.report.slices;
                lost += decoded.report.lost_slices;
                if writer.is_none() {
                    writer = Some(PictureWriter::create(&arguments.output, single, arguments.pictures_per_s)?);
                }
                writer.as_mut().map_or(Ok(()), |writer| writer.put(&decoded.image))?;
                pictures += 1;
            }
            Err(error) => failure = Some(error),
        }
    }
    let Some(writer) = writer else {
        let none = || Error::damaged("no picture header can be read: not a file of `issc encode`, or damaged");
        return Err(failure.unwrap_or_else(none).within(arguments.file.display()));
    };
    writer.finish()?;
    let bits = 8 * bytes.len();
    let bits_per_pixel = bits as f64 / pixels;
    let report = if arguments.json {
        json!({"bits": bits, "bits_per_pixel": bits_per_pixel, "lost_segments": lost, "time_s": time_s}).to_string()
    } else {
        [
            format!("pictures       {pictures}"),
            format!("bits           {bits}"),
            format!("bits per pixel {bits_per_pixel:.4}"),
            format!("lost segments  {lost} of {slices}"),
            format!("time           {:.1} ms", 1e3 * time_s),
        ]
        .join("\n")
    };
    inputs::print_beside(&arguments.output, &report);
    Ok(())
}

/// A coded file's bytes, or those of the standard input.
fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match is_standard(file) {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes),
        false => std::fs::read(file),
    };
    read.map_err(|error| Error::file(file, error))
}
