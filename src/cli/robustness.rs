//! `issc robustness [--receiver KIND] [--only NAME] [--out DIR]`: what each impairment costs both receivers.

use std::path::PathBuf;

use indicatif::ProgressBar;

use super::inputs;
use crate::Result;
use crate::lab::robustness::{Study, measure, part};
use crate::lab::shard::Shard;

/// Options of `issc robustness`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// communication or sensing; both where absent.
    #[arg(long)]
    receiver: Option<crate::scene::ReceiverKind>,
    /// Rows of this kind of impairment alone.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Frames (of 4 blocks) at each SNR, and trials of each row of the sensing receiver.
    #[arg(long, default_value_t = 250)]
    frames: u64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds from --seed on, each with so many frames: medians then, with the least and the most.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Measures one of N shares of the rows and prints what `issc merge` adds up.
    #[arg(long, value_name = "I/N", conflicts_with = "out")]
    shard: Option<Shard>,
    /// Folder for a drawing of the losses (PNG, SVG, CSV); made where it does not exist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc robustness`.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { receiver, only, frames, seed, seeds, shard, out, json } = arguments;
    out.as_deref().map(inputs::make_folder).transpose()?;
    let bar = ProgressBar::new(100);
    let (study, done) = (Study { receiver, only, frames, seed, seeds }, |percent| bar.set_position(percent));
    if let Some(shard) = shard {
        let part = part(&study, shard, done)?;
        bar.finish_and_clear();
        return inputs::print_json(&part);
    }
    let table = measure(&study, done)?;
    bar.finish_and_clear();
    out.zip(table.bars()).map(|(folder, bars)| bars.write(&folder, "robustness")).transpose()?;
    match json {
        true => say!("{}", table.report()),
        false => table.lines().iter().for_each(|line| say!("{line}")),
    }
    Ok(())
}
