//! What several subcommands have in common: scenes (the shipped ones from any folder), weights, pictures of a folder, and
//! how a result is printed as JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde::Serialize;

use crate::array::Beams;
use crate::control::{pictures_in, read_picture};
use crate::scene::{Scene, w_to_dbm};
use crate::semantic::Bank;
use crate::{Error, Result};

/// The scene in this file, or the shipped one of this name.
pub(super) fn scene(path: &Path) -> Result<Scene> {
    crate::system::read_scene(&path.display().to_string())
}

/// The weights in this file, which must fit the scene's transmit array. More power than the scene's budget is used as
/// given, with a line on stderr.
pub(super) fn weights(path: &Path, scene: &Scene) -> Result<Beams> {
    let beams = crate::control::read_weights(path)?;
    let (found, antennas) = (beams.w_c.len(), scene.array.transmit_antennas);
    if found != antennas {
        return Err(Error::file(
            path,
            format!("{found} weights a beam; accepted: {antennas}, one per transmit antenna"),
        ));
    }
    let power_dbm = w_to_dbm(beams.power_w());
    if power_dbm > scene.constraints.power_dbm + 1e-8 {
        eprintln!("{}: {power_dbm:.2} dBm, above P_T = {} dBm", path.display(), scene.constraints.power_dbm);
    }
    Ok(beams)
}

/// Makes a folder for results where it does not exist.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))
}

/// What a measurement of the source models is made with.
#[derive(Debug, clap::Args)]
pub(super) struct CodecArguments {
    /// Folder of pictures that took no part in training.
    #[arg(long)]
    pub images: PathBuf,
    /// How many of them to use, spread over the folder.
    #[arg(long)]
    limit: Option<usize>,
    /// Folder of a model bank of your own; its card is not read.
    #[arg(long)]
    bank: Option<PathBuf>,
}

impl CodecArguments {
    /// The bank.
    pub fn bank(&self) -> Result<Arc<Bank>> {
        self.bank.as_deref().map_or_else(|| Ok(Bank::shipped()), Bank::uncalibrated)
    }

    /// The pictures.
    pub fn pictures(&self) -> Result<Vec<RgbImage>> {
        let files = pictures_in(&self.images)?;
        let take = self.limit.unwrap_or(files.len()).clamp(1, files.len());
        (0..take).map(|i| read_picture(&files[i * files.len() / take])).collect()
    }
}

/// Bits of bytes, the highest first, one per byte.
pub(super) fn bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1))
}

/// Prints a result as one JSON object.
pub(super) fn print_json(result: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(result).map_err(|error| Error::internal(error.to_string()))?);
    Ok(())
}

/// A ratio in dB; `None` where it has no finite one.
pub(super) fn decibel(ratio: f64) -> Option<f64> {
    let level = crate::scene::decibel(ratio);
    level.is_finite().then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_scene_is_found_from_any_folder_and_a_missing_one_is_named() {
        assert_eq!(scene(Path::new("scenes/paper.toml")).unwrap(), Scene::paper());
        let error = scene(Path::new("nowhere/else.toml")).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().starts_with("nowhere/else.toml: "), "{error}");
    }

    #[test]
    fn weights_that_do_not_fit_the_array_name_the_file_and_the_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            weights(&path, &Scene::paper())
        };
        let four = "[[0.01,0],[0,0.01],[0,0],[0,0]]";
        assert_eq!(read(&format!("{{\"w_c\": {four}, \"w_0\": {four}}}")).unwrap().w_c[1].im, 0.01);
        let error = read(&format!("{{\"w_c\": {four}, \"w_0\": [[1,0]]}}")).unwrap_err().to_string();
        assert!(error.contains("w.json: w_c has 4 weights, w_0 has 1; accepted: one per antenna in both"), "{error}");
        assert!(read("{\"w_c\": [[1,0]], \"w_0\": [[1,0]]}").unwrap_err().to_string().contains("accepted: 4"));
        assert!(read("{\"w_c\": 3}").unwrap_err().to_string().contains("accepted"));
    }
}
