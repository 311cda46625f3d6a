//! Runs and computations give what they gave when the files in `tests/golden/runs` were made: whole numbers, plans and
//! pictures are equal, fractions agree to nine digits, keys may only be added. Wall-clock figures are passed over.
//!
//! A file is made anew only where results change on purpose: `issc ARGUMENTS > tests/golden/runs/NAME.json`, with the
//! arguments below.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/runs")
}

/// The largest relative difference of two equal results. With AVX2 or AVX-512 they are equal; plain lanes transform in another
/// order, which moves a position's seventh digit, and so the third of an error of some millimetres.
fn tolerance() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return 1e-9;
    }
    1e-2
}

/// Whether a key holds a figure of the wall clock.
fn is_wall_clock(key: &str) -> bool {
    key.ends_with("time_s") || key.ends_with("time_per_frame_s") || key.ends_with("_per_s") || key == "realtime_factor"
}

/// Adds what differs to `differences`, each with the path of its key.
fn compare(path: &str, golden: &Value, found: &Value, differences: &mut Vec<String>) {
    match (golden, found) {
        (Value::Object(golden), Value::Object(found)) => {
            for (key, value) in golden.iter().filter(|(key, _)| !is_wall_clock(key)) {
                match found.get(key) {
                    Some(other) => compare(&format!("{path}.{key}"), value, other, differences),
                    None => differences.push(format!("{path}.{key} is missing")),
                }
            }
        }
        (Value::Array(golden), Value::Array(found)) if golden.len() == found.len() => {
            for (index, (value, other)) in golden.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), value, other, differences);
            }
        }
        (Value::Number(golden), Value::Number(found)) if golden.is_f64() && found.is_f64() => {
            let (a, b) = (golden.as_f64().unwrap(), found.as_f64().unwrap());
            if (a - b).abs() > tolerance() * a.abs().max(b.abs()) {
                differences.push(format!("{path}: {a} was {b}"));
            }
        }
        _ if golden == found => {}
        _ => differences.push(format!("{path}: {golden} is now {found}")),
    }
}

fn assert_golden(name: &str, arguments: &[&str]) {
    let text = std::fs::read_to_string(folder().join(name).with_extension("json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut differences = Vec::new();
    compare(name, &golden, &found, &mut differences);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_comparison_finds_a_changed_fraction_a_changed_whole_number_and_a_missing_key() {
    let golden = serde_json::json!({ "a": 1.0, "b": [1, 2], "c": null, "solve_time_s": 3.0 });
    for (found, differs) in [
        (serde_json::json!({ "a": 1.0 + 1e-12, "b": [1, 2], "c": null, "new": 1 }), false),
        (serde_json::json!({ "a": 1.001, "b": [1, 2], "c": null }), true),
        (serde_json::json!({ "a": 1.0, "b": [1, 3], "c": null }), true),
        (serde_json::json!({ "a": 1.0, "b": [1, 2] }), true),
    ] {
        let mut differences = Vec::new();
        compare("", &golden, &found, &mut differences);
        assert_eq!(!differences.is_empty(), differs, "{differences:?}");
    }
}

#[test]
fn the_loopback_reports_what_it_did() {
    assert_golden("loopback", &["run", "loopback", "--frames", "400", "--seed", "1"]);
}

#[test]
fn the_run_that_follows_a_target_reports_what_it_did() {
    assert_golden("follow", &["run", "follow"]);
}

#[test]
fn the_run_under_clutter_reports_what_it_did() {
    assert_golden("clutter", &["run", "clutter"]);
}

#[test]
fn the_run_that_adds_frames_up_reports_what_it_did() {
    assert_golden("coherent", &["run", "coherent"]);
}

#[test]
fn the_optimum_of_the_papers_scene_is_what_it_was() {
    assert_golden("optimize", &["optimize", "--scene", "paper"]);
}

#[test]
fn the_bound_of_given_beams_is_what_it_was() {
    let weights = folder().join("weights.json");
    assert_golden("hcrb", &["hcrb", "--scene", "paper", "--weights", weights.to_str().unwrap()]);
}

#[test]
fn a_thousand_echoes_are_located_as_they_were() {
    assert_golden("sense", &["sense", "--scene", "paper", "--trials", "1000"]);
}

#[test]
fn twenty_thousand_blocks_arrive_as_they_did() {
    assert_golden("link", &["link", "--modulation", "16qam", "--rate", "2", "--snr-db", "6.5", "--blocks", "20000"]);
}
