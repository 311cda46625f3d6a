//! The house's floors: a layer uses only what stands below it (and its own), and folders never use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer; a module may use those of lower layers and the ones named beside it.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("error", 0, &[]),
    ("config", 0, &["error"]),
    ("keys", 0, &[]),
    ("scene", 0, &["error", "config", "keys"]),
    ("array", 0, &["scene"]),
    ("optimize", 0, &["array", "scene", "error"]),
    ("dsp", 1, &[]),
    ("coding", 1, &["dsp"]),
    ("channel", 1, &["dsp"]),
    ("modem", 1, &["coding", "dsp", "channel"]),
    ("semantic", 1, &["dsp"]),
    ("sensing", 1, &["channel", "dsp", "modem"]),
    ("stream", 2, &[]),
    ("exchange", 3, &[]),
    ("recording", 3, &[]),
    ("pictures", 3, &[]),
    ("part", 0, &[]),
    ("say", 0, &[]),
    ("blocks", 3, &["exchange", "recording"]),
    ("frontend", 4, &[]),
    ("runtime", 4, &[]),
    ("control", 5, &[]),
    ("plot", 5, &[]),
    ("system", 6, &[]),
    ("lab", 6, &[]),
    ("cli", 7, &[]),
];

/// Uses that are forbidden although they go downwards: what is true of the simulated world and what a plan believes of it
/// must be able to differ.
const FORBIDDEN: &[(&str, &str)] = &[("channel", "optimize"), ("optimize", "channel")];

/// Lines that the command line may have: arguments, a call and what is printed.
const CLI_LINES: usize = 2000;

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every source file as (module, path inside `src`, text); `lib` and `main` are modules of their own.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let described = files.into_iter().map(|file| {
        let relative = file.strip_prefix(&root).unwrap().to_path_buf();
        let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
        (module, relative, fs::read_to_string(&file).unwrap())
    });
    described.collect()
}

/// Names after `crate::`, also inside `use crate::{a, b::c}`.
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

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Which folder uses which others, tests and comments that link included.
fn uses() -> Graph {
    let mut graph = Graph::new();
    for (module, _, text) in sources() {
        let known = used(&text).into_iter().filter(|name| LAYERS.iter().any(|(known, ..)| known == name));
        let others = known.filter(|name| *name != module);
        graph.entry(module.clone()).or_default().extend(others);
    }
    graph
}

/// A way from a module back to itself, where there is one. What uses nothing that is left cannot be part of a circle, so it
/// is taken away until nothing changes; whatever stays leads to one.
fn circle(mut graph: Graph) -> Option<Vec<String>> {
    loop {
        let left: BTreeSet<_> = graph.keys().cloned().collect();
        graph.values_mut().for_each(|others| others.retain(|other| left.contains(other)));
        graph.retain(|_, others| !others.is_empty());
        if graph.len() == left.len() {
            break;
        }
    }
    let mut way = vec![graph.keys().next()?.clone()];
    loop {
        let next = graph[&way[way.len() - 1]].first()?.clone();
        let seen = way.iter().position(|module| *module == next);
        way.push(next);
        if let Some(begin) = seen {
            return Some(way.split_off(begin));
        }
    }
}

#[test]
fn no_module_uses_a_higher_layer_or_an_unnamed_neighbour() {
    let mut edges = 0;
    for (module, relative, text) in sources() {
        let Some((_, layer, friends)) = LAYERS.iter().find(|(name, ..)| *name == module) else {
            assert!(["lib", "main"].contains(&module.as_str()), "{module} stands on no floor: name its layer here");
            continue;
        };
        for name in used(&text) {
            let Some((_, other, _)) = LAYERS.iter().find(|(known, ..)| *known == name) else { continue };
            edges += 1;
            assert!(
                !FORBIDDEN.contains(&(module.as_str(), name.as_str())),
                "{}: `{module}` uses `{name}`",
                relative.display()
            );
            let allowed = name == module || other < layer || friends.contains(&name.as_str());
            assert!(allowed, "{}: layer {layer} `{module}` uses layer {other} `{name}`", relative.display());
        }
    }
    assert!(edges > 50, "only {edges} uses found: the test reads the wrong files");
}

#[test]
fn folders_never_use_each_other_in_a_circle() {
    let graph = uses();
    assert!(graph["system"].contains("blocks") && graph["coding"].contains("dsp"), "uses are not found: {graph:?}");
    assert_eq!(circle(graph.clone()), None, "folders in a circle");
    // And one would be found, also behind a module that is part of none.
    let mut bent = graph;
    bent.get_mut("dsp").unwrap().insert("sensing".into());
    let found = circle(bent).unwrap();
    assert!(found.len() > 2 && found[0] == found[found.len() - 1], "{found:?}");
}

#[test]
fn only_the_command_line_knows_of_command_lines_and_it_stays_thin() {
    let mut lines = 0;
    for (module, relative, text) in sources() {
        if module == "cli" {
            lines += text.lines().count();
        } else {
            assert!(!text.contains("clap"), "{} names clap", relative.display());
        }
    }
    assert!((1..CLI_LINES).contains(&lines), "src/cli has {lines} lines; accepted: fewer than {CLI_LINES}");
}

#[test]
fn the_conic_solver_and_the_radio_library_are_named_in_one_file_each() {
    let sources = sources();
    for library in ["clarabel::", "soapysdr::"] {
        let naming = sources.iter().filter(|(.., text)| text.contains(library));
        assert!(naming.count() <= 1, "{library} is named in more than one file");
    }
}
