//! `issc codec-curve --images DIR`: the source models measured over bit error rates, and eq. (7) fitted to them.

use std::path::PathBuf;

use super::inputs;
use crate::lab::codec_curve::{self, Bench, Settings};
use crate::lab::shard::Shard;
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
    /// Measures one of N shares of the models' pictures and prints what `issc merge` adds up.
    #[arg(long, value_name = "I/N", conflicts_with = "card")]
    shard: Option<Shard>,
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
    let bench = Bench::new(&bank, &chosen, &pictures, settings)?;
    if let Some(shard) = arguments.shard {
        return inputs::print_json(&bench.part(shard)?);
    }
    let results = bench.measure(|info| remark!("{} on {} pictures", info.name, pictures.len()))?;
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
        codec_curve::table(&results).iter().for_each(|line| say!("{line}"));
    }
    Ok(())
}
