//! Recordings: what the receivers heard, played to the same receivers.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn issc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts")
}

/// A report without its wall-clock figures.
fn report(arguments: &[&str]) -> Value {
    let output = issc(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for key in ["samples_per_s", "realtime_factor"] {
        assert!(report[key].as_f64().is_some());
        report[key] = Value::Null;
    }
    // A replay goes as fast as it can: how long its results take says nothing.
    report["latency_ms"] = Value::Null;
    report
}

/// Records a run and asserts that its replay gives the same report.
fn assert_replayed(run: &[&str], folder: &Path) -> Value {
    let folder = folder.to_str().unwrap();
    let recorded = report(&[&["run", "--json", "--record", folder], run].concat());
    assert_eq!(report(&["run", "--json", "--replay", folder]), recorded);
    recorded
}

#[test]
fn the_shipped_recording_replays_to_positions_at_the_bound_and_a_picture() {
    // Where what is sent has changed on purpose, it is made again: docs/src/recordings.md has the command.
    let report = report(&["run", "--json", "--replay", "recordings/loopback"]);
    let target = &report["target"];
    assert_eq!((&report["frames_decoded"], &target["frames"]), (&Value::from(10), &Value::from(10)));
    // Ten positions: the sum of 20 squared errors over their variances lies above 3 times its mean in 7 of a million.
    let (error, bound) = (target["rmse_m"].as_f64().unwrap(), target["hcrb_rmse_m"].as_f64().unwrap());
    assert!(error < 3f64.sqrt() * bound, "{error} m at a bound of {bound} m");
    assert_eq!(report["images_whole"], 1);
    let files = std::fs::read_dir("recordings/loopback").unwrap().flatten();
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 2_000_000, "{bytes}");
}

#[test]
fn a_recording_of_the_loopback_replays_to_the_identical_report() {
    let folder = tempfile::tempdir().unwrap();
    let changes = ["--at", "40:power_dbm=-3", "--at", "70:world.target=[104,47]", "--at", "70:target=[104,47]"];
    let run = [&["--frames", "120"][..], &changes].concat();
    let recorded = assert_replayed(&run, &folder.path().join("r"));
    // There is something to compare.
    assert_eq!(recorded["frames_sent"], 120);
    assert_eq!(recorded["target"]["frames"], 120);
    assert!(recorded["retunes"].as_array().unwrap().len() >= 3);
    assert!(recorded["images"].as_array().unwrap().iter().any(|image| image["equals_error_free"] == true));
}

#[cfg(feature = "soapy")]
#[test]
fn recordings_of_radios_replay_to_the_identical_report_gaps_and_all() {
    let folder = tempfile::tempdir().unwrap();
    let permission = ["--transmit", "--bands", "hardware/virtual-bands.toml", "--frames", "80"];
    let gap = ["virtual", "--device", "inject=overflow@150000"];
    let lost = assert_replayed(&[&gap[..], &permission].concat(), &folder.path().join("gap"));
    assert!(lost["overflows"].as_u64().unwrap() > 0 && lost["target"]["frames"].as_u64().unwrap() < 80);
    assert_eq!(lost["radios"][0]["counters"]["overflows"], 1, "what the radio counted is in both");
    let meta = std::fs::read_to_string(folder.path().join("gap/radio-receiver.sigmf-meta")).unwrap();
    let meta: Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(
        (meta["captures"].as_array().unwrap().len(), &meta["global"]["core:num_channels"]),
        (2, &Value::from(5))
    );
    assert!(meta["annotations"][0]["core:label"].as_str().unwrap().contains("missing"));
    assert_replayed(&[&["two-radios"][..], &permission].concat(), &folder.path().join("two"));
}

#[test]
fn damaged_cut_and_foreign_recordings_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    report(&["run", "--json", "--frames", "3", "--record", good.to_str().unwrap()]);
    let refused = |folder: &Path, about: &str| {
        let output = issc(&["run", "--json", "--replay", folder.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{about}: {stderr}");
        assert!(stderr.contains(about) && stderr.trim().lines().count() == 1, "{about}: {stderr}");
    };
    let damaged = |file: &str, damage: &dyn Fn(&mut Vec<u8>), about: &str| {
        let copy = folder.path().join("copy");
        drop(std::fs::remove_dir_all(&copy));
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&good).unwrap().flatten() {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        let mut bytes = std::fs::read(copy.join(file)).unwrap();
        damage(&mut bytes);
        std::fs::write(copy.join(file), bytes).unwrap();
        refused(&copy, about);
    };
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    damaged("air.sigmf-data", &half, "accepted by its metadata");
    damaged("air.sigmf-data", &|bytes| bytes[1000] ^= 1, "damaged: digest");
    damaged("air.sigmf-meta", &half, "no SigMF metadata");
    let replace = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |bytes: &mut Vec<u8>| *bytes = String::from_utf8(bytes.clone()).unwrap().replace(&from, &to).into_bytes()
    };
    damaged(
        "air.sigmf-meta",
        &replace("cf32_le", "ru8"),
        "core:datatype ru8: real samples, where complex ones are needed; accepted: cf32, cf64",
    );
    damaged("air.sigmf-meta", &replace("200000000.0", "1000000.0"), "core:sample_rate 1000000; accepted");
    damaged("frames.jsonl", &half, "frames.jsonl:");
    damaged("frames.jsonl", &replace("\"sequence\":2", "\"sequence\":7"), "message 7 where 2 is due");
    damaged("report.jsonl", &half, "report.jsonl:");
    damaged("outcome.json", &half, "outcome.json: damaged");
    damaged(
        "outcome.json",
        &replace("\"version\": 2", "\"version\": 9"),
        "version 9, whose frames have other headers; accepted: 2",
    );
    std::fs::remove_file(good.join("outcome.json")).unwrap();
    refused(&good, "a folder that --record made");
    refused(folder.path(), "a folder that --record made");
    let again = issc(&["run", "--record", good.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"));
}
