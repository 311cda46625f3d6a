//! `issc decode FILE -o IMAGE`: a coded file to pictures, whatever happened to it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::semantic::{Decoder, file};
use crate::{Error, Result};

/// Options of `issc decode`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The coded file.
    file: PathBuf,
    /// The picture (PNG or JPEG by its suffix); the pictures of a sequence are numbered before the suffix.
    #[arg(short, long)]
    output: PathBuf,
    /// Folder of a model bank of your own (weights.safetensors and card.toml).
    #[arg(long)]
    bank: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc decode`.
pub fn run(arguments: Arguments) -> Result<()> {
    let bytes = std::fs::read(&arguments.file).map_err(|e| Error::file(&arguments.file, e))?;
    let mut decoder = Decoder::new(super::encode::bank(arguments.bank.as_deref())?);
    let (mut pictures, mut failure) = (vec![], None);
    let (mut pixels, mut time_s, mut slices, mut lost) = (0.0, 0.0, 0, 0);
    for (protected, body) in file::records(&bytes) {
        let begin = Instant::now();
        match decoder.decode(protected, body, &[]) {
            Ok(decoded) => {
                pixels += f64::from(decoded.image.width()) * f64::from(decoded.image.height());
                slices += decoded.report.slices;
                lost += decoded.report.lost_slices;
                pictures.push(decoded.image);
            }
            Err(error) => failure = Some(error),
        }
        time_s += begin.elapsed().as_secs_f64();
    }
    if pictures.is_empty() {
        let none = || Error::input("no picture header can be read: not a file of `issc encode`, or damaged");
        return Err(Error::file(&arguments.file, failure.unwrap_or_else(none)));
    }
    for (number, picture) in pictures.iter().enumerate() {
        let path = if pictures.len() == 1 { arguments.output.clone() } else { numbered(&arguments.output, number) };
        picture.save(&path).map_err(|e| Error::file(&path, e))?;
    }
    let bits = 8 * bytes.len();
    let bits_per_pixel = bits as f64 / pixels;
    if arguments.json {
        let report = json!({"bits": bits, "bits_per_pixel": bits_per_pixel, "lost_segments": lost, "time_s": time_s});
        println!("{report}");
    } else {
        println!("pictures       {}", pictures.len());
        println!("bits           {bits}");
        println!("bits per pixel {bits_per_pixel:.4}");
        println!("lost segments  {lost} of {slices}");
        println!("time           {:.1} ms", 1e3 * time_s);
    }
    Ok(())
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let suffix = path.extension().map(|s| format!(".{}", s.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number:04}{suffix}"))
}
