//! Impairments of a scene in a whole run, in trials, and live.

use std::process::Command;

use issc::scene::PAPER_TOML;
use issc::system::{Event, Report, System, SystemSpec};

/// Bursts without an end are white noise.
const NOISE: &str = "kind = \"bursts\"\ndb = -7.0\nlength = 1000\nperiod = 1000";

fn scene(folder: &tempfile::TempDir, at: &str, entry: &str) -> String {
    let path = folder.path().join("impaired.toml");
    std::fs::write(&path, format!("{PAPER_TOML}\n[[impairment]]\nid = \"one\"\nat = \"{at}\"\n{entry}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A run of the loopback, and the SINR of each frame that was received.
fn run(scene: &str, at: Option<(u64, &str)>) -> (Vec<(u64, f64)>, Report) {
    let mut spec = SystemSpec::shipped("loopback").unwrap().frames(200).set("scene", scene).unwrap();
    if let Some((frame, command)) = at {
        spec = spec.at(frame, command.parse().unwrap());
    }
    let run = System::build(spec).unwrap().start().unwrap();
    let mut sinrs = Vec::new();
    for event in run.subscribe() {
        if let Event::Received { frame, sinr_db: Some(sinr_db), .. } = event {
            sinrs.push((frame, sinr_db));
        }
    }
    (sinrs, run.join().unwrap())
}

#[test]
fn noise_of_the_front_end_sets_the_sinr_of_a_run_from_the_frame_on_that_a_command_names() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = scene(&folder, "communication-receiver", &NOISE.replace("-7.0", "-200.0"));
    let (sinrs, report) = run(&quiet, Some((100, "world.impairment.one.db=-7")));
    let mean = |frames: std::ops::Range<u64>| {
        let own: Vec<f64> = sinrs.iter().filter(|(frame, _)| frames.contains(frame)).map(|(_, sinr)| *sinr).collect();
        assert!(own.len() > 30, "{frames:?}: {} frames", own.len());
        own.iter().sum::<f64>() / own.len() as f64
    };
    let (before, after) = (mean(0..95), mean(105..200));
    // A row has the signal and, in each sample, twice the noise of a symbol; what the bursts add to a sample is twice what
    // they add to a symbol.
    let noise = 10f64.powf(-before / 10.0);
    let expected = -10.0 * (noise + 0.5 * 10f64.powf(-0.7) * (1.0 + 2.0 * noise)).log10();
    // The receiver's own estimate of a frame scatters by some tenths of a decibel, its mean by less.
    assert!((after - expected).abs() < 0.5 && before > after + 1.0, "{before} {after}, expected {expected}");
    assert_eq!(report.figures.frames_sent, 200);
}

#[test]
fn the_same_seed_gives_the_same_run_with_impairments_at_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    for (at, entry) in [
        ("transmitter", "kind = \"phase-noise\"\nrms_deg = 2.0"),
        ("communication-receiver", "kind = \"paths\"\nprofile = \"tdl-c\"\nspread_symbols = 0.02"),
    ] {
        let file = scene(&folder, at, entry);
        let (first, second) = (run(&file, None).1, run(&file, None).1);
        assert_eq!(first.figures.sinr_db.measured, second.figures.sinr_db.measured, "{at}");
        assert_eq!(first.figures.block_error_rate, second.figures.block_error_rate, "{at}");
    }
}

#[test]
fn trials_see_the_impairments_of_the_sensing_receiver_and_of_the_transmitter() {
    let folder = tempfile::tempdir().unwrap();
    let trials = |scene: &str| -> serde_json::Value {
        let arguments = ["sense", "--trials", "40", "--json", "--scene", scene];
        let output = Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let spread =
        |report: &serde_json::Value| report["rmse_m"].as_f64().unwrap() / report["hcrb_rmse_m"].as_f64().unwrap();
    let clean = trials("paper");
    assert!(spread(&clean) < 1.5, "{clean}");
    // A tenth of a symbol's power is far above the receiver's own noise, which is 40 dB below the echo and more.
    let noisy = trials(&scene(&folder, "sensing-receiver", NOISE));
    let lost = noisy["no_position"].as_u64().unwrap();
    assert!(lost > 20 || spread(&noisy) > 5.0, "{noisy}");
    // A level changes nothing by itself at either end, and the filters that impairments need delay nothing.
    for at in ["transmitter", "sensing-receiver"] {
        let same = trials(&scene(&folder, at, "kind = \"level\"\ndb = 0.0"));
        assert!((spread(&same) / spread(&clean) - 1.0).abs() < 0.5, "{at}: {same}");
    }
    let delayed = trials(&scene(
        &folder,
        "sensing-receiver",
        "kind = \"paths\"\nlist = [{ delay_symbols = 1.0, gain_db = -200.0 }]",
    ));
    assert!((spread(&delayed) / spread(&clean) - 1.0).abs() < 0.5, "{delayed}");
    assert!(delayed["nees"].as_f64().unwrap() < 4.0, "{delayed}");
}

#[test]
fn what_a_live_command_cannot_mean_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = scene(&folder, "transmitter", "kind = \"iq\"\nimage_db = -30.0");
    for (command, said) in [
        ("world.impairment.two.image_db=-20", "the scene has no impairment `two`; accepted: one"),
        ("world.impairment.one.db=-20", "accepted: image_db"),
        ("world.impairment.one.image_db=300", "accepted: -200 to 20 dB"),
    ] {
        let arguments = ["run", "loopback", "--frames", "4", "--set", &format!("scene={file}"), "--at"];
        let output =
            Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).arg(format!("1:{command}")).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && line.lines().count() == 1 && line.contains(said), "{line}");
    }
}
