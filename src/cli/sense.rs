//! `issc sense --scene S [--weights W] [--trials T] [--frames K]`: how well the echo locates the target, beside the bound.

use std::path::PathBuf;

use indicatif::ProgressBar;

use super::inputs;
use crate::lab::sense::{self, Sampling};
use crate::lab::sense_drawings;
use crate::lab::shard::Shard;
use crate::optimize::Problem;
use crate::{Error, Result};

/// Options of `issc sense`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    scene: inputs::SceneArguments,
    /// Weights file (JSON); without it the optimal beams, or those of the smallest bound where Π cannot be met.
    #[arg(long)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Runs one of N shares of the trials, in chunks of 1024, and prints what `issc merge` adds up.
    #[arg(long, value_name = "I/N", conflicts_with = "out")]
    shard: Option<Shard>,
    /// Folder for drawings (PNG, SVG, CSV) of the errors beside the bound, and of the error over the power by as many
    /// trials at each, and of several frames of a moving target over delay and Doppler shift; made where it does not exist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, clap::Args)]
struct SamplingArguments {
    /// Trials, each with fresh symbols, timing error, phase and noise.
    #[arg(long, default_value_t = 1000)]
    trials: u64,
    /// Consecutive frames that are added up in phase in each trial: they share timing error and phase, as the scene
    /// must say (timing_error_hold = "run", reflection_phase = "random-per-run").
    #[arg(long, default_value_t = 1)]
    frames: usize,
    /// Let each frame have a sounding, as every 64th of a run has: it tells directions apart that the beams confuse.
    #[arg(long)]
    sounded: bool,
    /// Let the receiver estimate the Doppler shift, as it must where targets move.
    #[arg(long)]
    moving: bool,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl From<SamplingArguments> for Sampling {
    fn from(SamplingArguments { trials, frames, sounded, moving, seed }: SamplingArguments) -> Self {
        Self { trials, frames, moving, sounded, seed }
    }
}

/// Runs `issc sense`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = arguments.scene.read()?;
    let sampling: Sampling = arguments.sampling.into();
    sense::check(&scene, sampling).map_err(Error::input)?;
    let beams = match &arguments.weights {
        Some(path) => inputs::weights(path, &scene)?,
        None => Problem::from_scene(&scene).solve().beams,
    };
    if let Some(shard) = arguments.shard {
        return inputs::print_json(&sense::part(&scene, &beams, sampling, shard)?);
    }
    let study = sense::study(&scene, &beams, sampling)?;
    if let Some(folder) = &arguments.out {
        inputs::make_folder(folder)?;
        sense_drawings::errors(folder, &study)?;
        let progress = ProgressBar::new(sense_drawings::POWERS_DBM.len() as u64);
        sense_drawings::over_power(folder, &scene, sampling, || progress.inc(1))?;
        progress.finish_and_clear();
        if sampling.frames > 1 && sampling.moving {
            sense_drawings::delay_doppler(folder, &scene, &beams, sampling)?;
        }
    }
    let report = sense::report(&study, sampling);
    match arguments.json {
        true => say!("{report}"),
        false => sense::table(&report).iter().for_each(|line| say!("{line}")),
    }
    Ok(())
}
