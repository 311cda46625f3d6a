//! The house's floors: a layer uses only what stands below it (and its own).

use std::fs;
use std::path::Path;

/// Modules by layer; a module may use those of lower layers and the ones named beside it.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("error", 0, &[]),
    ("config", 0, &["error"]),
    ("keys", 0, &[]),
    ("scene", 0, &["error", "config", "keys"]),
    ("array", 0, &["scene"]),
    ("optimize", 0, &["array", "scene", "error"]),
    ("dsp", 1, &[]),
    ("modem", 1, &["coding", "dsp", "channel"]),
    ("coding", 1, &["modem", "dsp"]),
    ("semantic", 1, &["dsp"]),
    ("sensing", 1, &["channel", "dsp", "modem"]),
    ("channel", 1, &["dsp"]),
    ("stream", 2, &[]),
    ("exchange", 3, &[]),
    ("recording", 3, &[]),
    ("blocks", 3, &["frontend", "exchange", "recording"]),
    ("frontend", 3, &["blocks", "exchange"]),
    ("runtime", 4, &[]),
    ("control", 5, &[]),
    ("plot", 5, &[]),
    ("system", 6, &[]),
    ("cli", 7, &[]),
];

/// Uses that are forbidden although they go downwards: what is true of the simulated world and what a plan believes of it
/// must be able to differ.
const FORBIDDEN: &[(&str, &str)] = &[("channel", "optimize")];

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Names after `crate::`, also inside `use crate::{a, b::c}` on one line.
fn used(text: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(list[..list.find('}').unwrap_or(0)].split(',').map(|item| word(item.trim()))),
            None => names.push(word(rest)),
        }
    }
    names
}

#[test]
fn no_module_uses_a_higher_layer_or_an_unnamed_neighbour() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut edges = 0;
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.strip_suffix(".rs").unwrap_or(&first);
        let Some((_, layer, friends)) = LAYERS.iter().find(|(name, ..)| *name == module) else {
            assert!(["lib", "main"].contains(&module), "{module} stands on no floor: name its layer here");
            continue;
        };
        for name in used(&fs::read_to_string(&file).unwrap()) {
            let Some((_, other, _)) = LAYERS.iter().find(|(known, ..)| *known == name) else { continue };
            edges += 1;
            assert!(!FORBIDDEN.contains(&(module, &name)), "{}: `{module}` uses `{name}`", relative.display());
            let allowed = name == module || other < layer || friends.contains(&name.as_str());
            assert!(allowed, "{}: layer {layer} `{module}` uses layer {other} `{name}`", relative.display());
        }
    }
    assert!(edges > 50, "only {edges} uses found: the test reads the wrong files");
}

#[test]
fn the_conic_solver_and_the_radio_library_are_named_in_one_file_each() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for library in ["clarabel::", "soapysdr::"] {
        let naming = files.iter().filter(|file| fs::read_to_string(file).unwrap().contains(library));
        assert!(naming.count() <= 1, "{library} is named in more than one file");
    }
}
