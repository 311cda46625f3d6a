//! `issc rate-distortion --images DIR`: the source models beside JPEG on the same pictures, and beside published points of
//! the hyperprior codec of Ballé et al. 2018.

use std::path::PathBuf;

use super::inputs;
use crate::Result;
use crate::lab::rate_distortion::{Comparison, MEASURES, Rate, compare};

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
    let comparison = compare(&arguments.codec.bank()?, &arguments.codec.pictures()?)?;
    if let Some(folder) = &arguments.out {
        inputs::make_folder(folder)?;
        for (name, chart) in comparison.charts() {
            chart.write(folder, name)?;
        }
    }
    if arguments.json {
        say!("{}", comparison.report());
    } else {
        print_table(&comparison);
    }
    Ok(())
}

fn print_table(comparison: &Comparison) {
    say!("{} pictures   bit/px    PSNR  MS-SSIM   JPEG at this rate: PSNR  MS-SSIM", comparison.pictures);
    for Rate { name, point: [rate, psnr_db, ms_ssim], .. } in &comparison.ours {
        let [jpeg_psnr_db, jpeg_ms_ssim] = comparison.jpeg_at(*rate);
        let beside = |figure: Option<f64>, digits| figure.map_or("–".into(), |figure| format!("{figure:.digits$}"));
        say!(
            "{name:12} {rate:7.4} {psnr_db:7.2} {ms_ssim:8.4} {:>25} {:>8}",
            beside(jpeg_psnr_db, 2),
            beside(jpeg_ms_ssim, 4)
        );
    }
    for (name, measure) in MEASURES {
        let [here, there, between] = comparison.differences(measure).map(|d| 100.0 * d.unwrap_or(f64::NAN));
        say!(
            "mean rate at equal {name}: {here:+.1} % against JPEG; hyperprior 2018 on Kodak {there:+.1} %, so {between:+.1} % against it"
        );
    }
}
