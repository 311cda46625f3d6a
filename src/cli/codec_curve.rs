//! `issc codec-curve --images DIR`: the source models measured over bit error rates, and eq. (7) fitted to them.

use std::path::PathBuf;

use super::inputs;
use crate::lab::codec_curve::{self, Measured, Settings};
use crate::part::{failed, write_whole};
use crate::semantic::ModelInfo;
use crate::{Error, Result};

/// Options of `issc codec-curve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    codec: inputs::CodecArguments,
    /// Draws of the errors per picture and bit error rate.
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// Write the measured card here.
    #[arg(long)]
    card: Option<PathBuf>,
    /// Only these models (indices or names).
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Seed of the bit errors.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc codec-curve`.
pub fn run(arguments: Arguments) -> Result<()> {
    let (bank, pictures) = (arguments.codec.bank()?, arguments.codec.pictures()?);
    let mut chosen: Vec<ModelInfo> = bank.models().to_vec();
    if !arguments.models.is_empty() {
        chosen = arguments.models.iter().map(|name| bank.find(name).cloned()).collect::<Result<_>>()?;
    }
    let Arguments { draws, seed, .. } = arguments;
    let settings = Settings { draws, seed, effort: arguments.codec.effort.into() };
    let mut results = vec![];
    for info in chosen {
        remark!("{} on {} pictures", info.name, pictures.len());
        results.push(codec_curve::measure(&bank, info, &pictures, &settings)?);
    }
    if let Some(path) = &arguments.card {
        let folder = arguments.codec.images.file_name().unwrap_or_default();
        let pictures = format!("{} pictures of {}", pictures.len(), folder.to_string_lossy());
        let card = codec_curve::card(&bank, &results, pictures);
        let text = toml::to_string(&card).map_err(|e| Error::internal(format!("card: {e}")))?;
        write_whole(path, text.as_bytes()).map_err(|error| failed(path, &error))?;
    }
    if arguments.json {
        say!("{}", codec_curve::report(&results, pictures.len()));
    } else {
        print_table(&results);
    }
    Ok(())
}

fn print_table(results: &[Measured]) {
    say!(
        "model          bit/px    PSNR  MS-SSIM     D_s     D_c     E_1     E_2      R²   MS-SSIM at 1e-5    1e-4    1e-3"
    );
    for r in results {
        let c = &r.info.calibration;
        say!(
            "{:2} {:10} {:7.4} {:7.2} {:8.4} {:7.3} {:7.3} {:7.2} {:7.2} {:7.4}   {:15.4} {:7.4} {:7.4}",
            r.info.index,
            r.info.name,
            c.bits_per_pixel,
            c.psnr_db,
            c.ms_ssim,
            c.curve.d_s,
            c.curve.d_c,
            c.curve.e_1,
            c.curve.e_2,
            c.curve.r_squared,
            r.ms_ssim_at(-5.0),
            r.ms_ssim_at(-4.0),
            r.ms_ssim_at(-3.0)
        );
    }
}
