//! The Python package at length: its notebooks, and a sweep whose worker is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::Proof;

/// The environment with the package of this checkout.
fn interpreter(extras: &str) -> PathBuf {
    let prepare = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/prepare");
    let output = Command::new(prepare).arg(extras).output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// The JSON objects that a script prints, one a line.
fn lines(interpreter: &Path, script: &str, arguments: &[&str]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let output = Command::new(interpreter).arg(script).args(arguments).output().expect("the interpreter starts");
    let text = String::from_utf8(output.stdout).unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

/// Six notebooks, each in less than a minute, each with figures.
pub fn notebooks() {
    let mut proof = Proof::begin("notebooks", 1);
    let found = proof.part("notebooks", || json!(lines(&interpreter("notebooks"), "notebooks.py", &[])));
    let found = found.as_array().unwrap();
    proof.claim("six notebooks", format!("{}", found.len()), found.len() == 6);
    for notebook in found {
        let seconds = notebook["seconds"].as_f64().unwrap();
        let figures = notebook["figures"].as_u64().unwrap();
        proof.claim(
            &format!("{} runs without a window, in less than a minute, and draws", notebook["name"].as_str().unwrap()),
            format!("{seconds:.1} s, {figures} figures{}", notebook["failure"].as_str().unwrap_or_default()),
            notebook["failure"].is_null() && seconds < 60.0 && figures > 0,
        );
    }
    proof.end();
}

/// 64 points by 100 000 blocks on two workers of a cluster, of which one is killed.
pub fn sweep() {
    let mut proof = Proof::begin("sweep", 1);
    let found = proof.part("sweep", || json!(lines(&interpreter("sweep"), "sweep_proof.py", &[])));
    for claim in found.as_array().unwrap() {
        let text = |key: &str| claim[key].as_str().unwrap().to_owned();
        proof.claim(&text("asked"), text("found"), claim["held"] == true);
    }
    proof.claim(
        "every claim was looked at",
        format!("{}", found.as_array().unwrap().len()),
        found.as_array().unwrap().len() == 3,
    );
    proof.end();
}
