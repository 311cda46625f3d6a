//! What several subcommands have in common: scenes (the shipped ones from any folder), weights, pictures of a folder, and
//! how a result is printed as JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde::Serialize;

use crate::array::Beams;
use crate::control::Setting;
use crate::lab::shard::Merged;
use crate::pictures::{Reading, read_folder};
use crate::scene::{Scene, w_to_dbm};
use crate::semantic::Bank;
use crate::{Error, Result};

/// The scene in this file, or the shipped one of this name.
pub(super) fn scene(path: &Path) -> Result<Scene> {
    crate::system::read_scene(&path.display().to_string())
}

/// The scene that a command works on, and changes of its keys.
#[derive(Debug, clap::Args)]
pub(super) struct SceneArguments {
    /// Scene file (TOML), or a shipped scene.
    #[arg(long, default_value = "scenes/paper.toml")]
    scene: PathBuf,
    /// Changes a key of the scene, e.g. constraints.power_dbm=-30, with or without `scene.` before it; `issc keys` lists
    /// them.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
}

impl SceneArguments {
    /// The scene, read, changed and checked.
    pub fn read(&self) -> Result<Scene> {
        if self.set.is_empty() {
            // The text as it stands gives the better error lines.
            return scene(&self.scene);
        }
        let settings = Setting::parse_all(&self.set)?;
        Setting::refuse_flowgraph(&settings)?;
        let (text, name) = crate::system::scene(&self.scene.display().to_string(), None)?;
        let mut table = crate::config::from_toml(&text, &name)?;
        Setting::apply_to_scene(&settings, &mut table)?;
        Scene::from_toml(&table.to_string(), &name)
    }
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
        remark!("{}: {power_dbm:.2} dBm, above P_T = {} dBm", path.display(), scene.constraints.power_dbm);
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
    /// Passes of the encoder over each picture, as in `issc encode`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub effort: u16,
}

impl CodecArguments {
    /// The bank.
    pub fn bank(&self) -> Result<Arc<Bank>> {
        self.bank.as_deref().map_or_else(|| Ok(Bank::shipped()), Bank::uncalibrated)
    }

    /// The pictures.
    pub fn pictures(&self) -> Result<Vec<RgbImage>> {
        let mut pictures = Vec::new();
        let notes = read_folder(&self.images, self.limit, Reading::default(), |_, picture| {
            pictures.push(picture);
            Ok(())
        })?;
        say(&notes);
        Ok(pictures)
    }
}

/// Says what was skipped, or is not as it was asked for, a line each.
pub(super) fn say(notes: &[String]) {
    for note in notes {
        remark!("issc: {note}");
    }
}

/// Prints a report: to the standard output, unless that carries the result itself.
pub(super) fn print_beside(output: &Path, report: &str) {
    if crate::pictures::is_standard(output) {
        remark!("{report}");
    } else {
        say!("{report}");
    }
}

/// Prints a result as one JSON object.
pub(super) fn print_json(result: &impl Serialize) -> Result<()> {
    say!("{}", serde_json::to_string(result).map_err(|error| Error::internal(error.to_string()))?);
    Ok(())
}

/// Prints what a measurement found: one JSON object, or lines.
pub(super) fn print_merged(found: &Merged, json: bool) -> Result<()> {
    match json {
        true => say!("{}", found.report),
        false => found.lines.iter().for_each(|line| say!("{line}")),
    }
    Ok(())
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
    fn set_changes_the_scene_of_a_command_with_and_without_its_prefix() {
        let read = |set: &[&str]| {
            let set = set.iter().map(|text| (*text).to_owned()).collect();
            SceneArguments { scene: "paper".into(), set }.read()
        };
        let scene = read(&["scene.constraints.power_dbm=-7", "array.transmit_antennas=6"]).unwrap();
        assert_eq!((scene.constraints.power_dbm, scene.array.transmit_antennas), (-7.0, 6));
        for (set, said) in [
            (
                "constraints.power_dbm=1e308",
                "paper: constraints.power_dbm = 1e308 is out of range; accepted: -200 to 100",
            ),
            ("constraints.power=1", "the nearest known key is `scene.constraints.power_dbm`"),
            ("frames=3", "--set frames: a key of flowgraphs; accepted here: those of the scene"),
        ] {
            let error = read(&[set]).unwrap_err();
            assert!(error.to_string().contains(said) && error.exit_status() == 2, "{error}");
        }
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
