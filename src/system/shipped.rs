//! Flowgraphs and scenes that are compiled in; a path given by the user wins.

use std::path::{Path, PathBuf};

use crate::scene::PAPER_TOML;
use crate::{Error, Result, config};

const FLOWGRAPHS: [(&str, &str); 18] = [
    ("loopback", include_str!("../../flowgraphs/loopback.toml")),
    ("data", include_str!("../../flowgraphs/data.toml")),
    ("follow", include_str!("../../flowgraphs/follow.toml")),
    ("clutter", include_str!("../../flowgraphs/clutter.toml")),
    ("coherent", include_str!("../../flowgraphs/coherent.toml")),
    ("several", include_str!("../../flowgraphs/several.toml")),
    ("virtual", include_str!("../../flowgraphs/virtual.toml")),
    ("virtual-clutter", include_str!("../../flowgraphs/virtual-clutter.toml")),
    ("two-radios", include_str!("../../flowgraphs/two-radios.toml")),
    ("transmitter", include_str!("../../flowgraphs/transmitter.toml")),
    ("communication-receiver", include_str!("../../flowgraphs/communication-receiver.toml")),
    ("sensing-receiver", include_str!("../../flowgraphs/sensing-receiver.toml")),
    ("transmitter-sensing", include_str!("../../flowgraphs/transmitter-sensing.toml")),
    ("n310", include_str!("../../flowgraphs/n310.toml")),
    ("x410", include_str!("../../flowgraphs/x410.toml")),
    ("x310-pair", include_str!("../../flowgraphs/x310-pair.toml")),
    ("b210-pair", include_str!("../../flowgraphs/b210-pair.toml")),
    ("bladerf-pair", include_str!("../../flowgraphs/bladerf-pair.toml")),
];

const SCENES: [(&str, &str); 9] = [
    ("paper", PAPER_TOML),
    ("moving", include_str!("../../scenes/moving.toml")),
    ("outdoor", include_str!("../../scenes/outdoor.toml")),
    ("clutter", include_str!("../../scenes/clutter.toml")),
    ("coherent", include_str!("../../scenes/coherent.toml")),
    ("several", include_str!("../../scenes/several.toml")),
    ("hall", include_str!("../../scenes/hall.toml")),
    ("hall-clutter", include_str!("../../scenes/hall-clutter.toml")),
    ("hall-2", include_str!("../../scenes/hall-2.toml")),
];

/// A flowgraph by path or shipped name: its text, its name in error lines, and the folder its scene is sought in.
pub fn flowgraph(name: &str) -> Result<(String, String, Option<PathBuf>)> {
    let path = Path::new(name);
    if path.is_file() {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        return Ok((text, name.to_owned(), path.parent().map(Path::to_owned)));
    }
    Ok((shipped_flowgraph(name)?.to_owned(), name.to_owned(), None))
}

/// The text of a shipped flowgraph.
pub fn shipped_flowgraph(name: &str) -> Result<&'static str> {
    compiled_in(name, "flowgraphs/", &FLOWGRAPHS)
}

/// A scene by path (also beside its flowgraph) or shipped name: its text and its name in error lines.
pub fn scene(name: &str, folder: Option<&Path>) -> Result<(String, String)> {
    let candidates = [Some(PathBuf::from(name)), folder.map(|folder| folder.join(name))];
    if let Some(path) = candidates.into_iter().flatten().find(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        return Ok((text, path.display().to_string()));
    }
    compiled_in(name, "scenes/", &SCENES).map(|text| (text.to_owned(), name.to_owned()))
}

/// The scene that `--scene` names.
pub fn read_scene(name: &str) -> Result<crate::scene::Scene> {
    let (text, name) = scene(name, None)?;
    crate::scene::Scene::from_toml(&text, &name)
}

fn compiled_in<'a>(name: &str, folder: &str, known: &[(&str, &'a str)]) -> Result<&'a str> {
    let bare = name.strip_prefix(folder).unwrap_or(name);
    let bare = bare.strip_suffix(".toml").unwrap_or(bare);
    known.iter().find(|(known, _)| *known == bare).map(|(_, text)| *text).ok_or_else(|| {
        if Path::new(name).is_dir() {
            return Error::input(format!("{name}: a folder; accepted: a file, or the name of a shipped one"));
        }
        let near = config::nearest(bare, known.iter().map(|(known, _)| *known)).unwrap_or_default();
        Error::input(format!(
            "{name}: no such file, and no shipped one of this name; the nearest is {folder}{near}.toml"
        ))
    })
}
