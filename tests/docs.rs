//! The documentation says what the program does: links lead somewhere, commands and files exist, generated pages are the
//! program's own output.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options that only a program with radios has.
const RADIO_OPTIONS: [&str; 9] = [
    "--transmit",
    "--bands",
    "--device",
    "--calibrate",
    "--calibration",
    "--link",
    "--cabled",
    "--supervise",
    "--then",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page for people, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "hardware/README.md",
        "models/README.md",
        "training/README.md",
    ]
    .map(|name| root().join(name))
    .into();
    files.extend(fs::read_dir(root().join("docs/src")).unwrap().flatten().map(|entry| entry.path()));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        (file, text)
    };
    files.into_iter().map(read).collect()
}

/// The lines outside of blocks of code, or those inside of blocks of one language.
fn lines<'a>(text: &'a str, language: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let mut inside: Option<&str> = None;
    text.lines().filter(move |line| {
        if let Some(opened) = line.trim_start().strip_prefix("```") {
            inside = if inside.is_some() { None } else { Some(opened) };
            return false;
        }
        inside == language
    })
}

/// What stands between backticks in a line.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> Vec<String> {
    let slug = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    lines(text, None).filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut checked = 0;
    for (file, text) in pages() {
        for line in lines(&text, None) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.contains("://") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let to = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
                assert!(to.exists(), "{}: {target} leads nowhere", file.display());
                if !anchor.is_empty() {
                    let found = anchors(&fs::read_to_string(&to).unwrap());
                    assert!(found.iter().any(|known| known == anchor), "{}: no heading {target}", file.display());
                }
                checked += 1;
            }
        }
    }
    assert!(checked >= 30, "{checked}");
}

#[test]
fn the_book_has_every_page() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    for entry in fs::read_dir(root().join("docs/src")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_page = name.ends_with(".md") && name != "SUMMARY.md";
        assert!(!is_page || summary.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
    }
}

fn issc(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "issc {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_pages_of_keys_and_kinds_are_what_the_program_prints() {
    for (command, page) in [("keys", "docs/src/keys.md"), ("blocks", "docs/src/kinds.md")] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let same = issc(&[command, "--markdown"]) == text;
        assert!(same, "{page} is not what the program prints: `issc {command} --markdown > {page}`");
    }
}

/// Commands of this program in a line of shell: the words after `issc` or `cargo run … --`.
fn commands(line: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for part in line.split([';', '|', '&', '#', '>', '`']).flat_map(|part| part.split("$(")) {
        let words: Vec<&str> = part.split_whitespace().collect();
        let first = match words.iter().position(|word| *word == "issc") {
            Some(at) => at + 1,
            None if words.starts_with(&["cargo", "run"]) => match words.iter().position(|word| *word == "--") {
                Some(at) => at + 1,
                None => continue,
            },
            None => continue,
        };
        if first < words.len() {
            found.push(words[first..].to_vec());
        }
    }
    found
}

#[test]
fn every_command_has_its_subcommand_its_options_and_its_files() {
    let overview = issc(&["--help"]);
    let mut helps = BTreeMap::new();
    let mut checked = 0;
    for (file, text) in pages() {
        let spans = lines(&text, None).flat_map(code_spans).filter(|span| span.starts_with("issc "));
        for line in lines(&text, Some("sh")).chain(spans) {
            for words in commands(line) {
                let context = format!("{}: {line}", file.display());
                let subcommand = words[0].trim_end_matches([',', '.']);
                if subcommand.starts_with('-') || subcommand == "help" || !subcommand.is_ascii() {
                    continue;
                }
                let known = overview.lines().any(|line| line.split_whitespace().next() == Some(subcommand));
                assert!(known, "{context}: no subcommand {subcommand}");
                let help = helps.entry(subcommand.to_owned()).or_insert_with(|| issc(&[subcommand, "--help"]));
                for word in &words[1..] {
                    let option = word.split('=').next().unwrap();
                    let is_radio = !cfg!(feature = "soapy") && RADIO_OPTIONS.contains(&option);
                    if option.starts_with('-') && option.len() > 1 && !is_radio {
                        let mut options = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
                        assert!(options.any(|known| known == option), "{context}: no option {option}");
                    }
                    if word.ends_with(".toml") && word.contains('/') {
                        let beside = file.parent().unwrap().join(word);
                        assert!(root().join(word).exists() || beside.exists(), "{context}: no file {word}");
                    }
                }
                checked += 1;
            }
        }
    }
    assert!(checked >= 60, "{checked}");
}

#[test]
fn files_and_functions_that_pages_name_exist() {
    let mut functions = 0;
    for (file, text) in pages() {
        for line in lines(&text, None) {
            let is_source = |span: &&str| {
                let folder = span.split('/').next().unwrap();
                span.contains('/')
                    && ["src", "tests", "flowgraphs", "scenes", "examples", "benches", "hardware", "docs", "recordings"]
                        .contains(&folder)
                    && !span.contains([' ', '*', '<', 'N'])
            };
            for span in code_spans(line).filter(is_source) {
                assert!(root().join(span).exists(), "{}: no file {span}", file.display());
            }
            // A row of the map from equations to code: `file`: `function`, `function`.
            let cell = line.rsplit("| `").next().and_then(|cell| cell.split_once("`: "));
            let Some((path, names)) = cell.filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs")) else {
                continue;
            };
            let source = fs::read_to_string(root().join(path)).unwrap();
            for name in code_spans(names) {
                let defined = ["(", "<"].iter().any(|next| source.contains(&format!("fn {name}{next}")));
                assert!(defined, "{}: {path} has no function {name}", file.display());
                functions += 1;
            }
        }
    }
    assert!(functions >= 20, "{functions}");
}

#[test]
fn the_readme_is_short_and_begins_with_two_commands() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() <= 120, "{} lines", text.lines().count());
    let shell: Vec<_> = lines(&text, Some("sh")).take(2).map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(shell, ["cargo run --release", "./test"]);
}
