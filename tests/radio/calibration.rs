//! Calibration that survives to the antennas: a reflector beside leakage, arrays as they are, clocks, and channels that move
//! afterwards.

use super::*;
use issc::array::{direction_rad, steering_vector};
use num_complex::Complex64;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last phase that a channel was given, by a journal.
fn phase(journal: &str, side: &str, channel: usize) -> f64 {
    let line = journal.lines().rfind(|line| line.starts_with(&format!("phase {side} {channel} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn f04_a_reflector_beside_leakage_is_told_from_it_by_what_is_heard_without_it() {
    let bench = with_random_phases();
    // Leakage 20 dB above the echo, two samples before it.
    let scene = include_str!("../../scenes/hall.toml")
        .replace("timing_error_std_s = 1e-7\n", "timing_error_std_s = 1e-12\nleakage_db = -6.0\n");
    assert!(scene.contains("leakage_db"));
    let path = bench.path("scene.toml");
    std::fs::write(&path, scene).unwrap();
    let (profile, placed) = (bench.path("profile.toml"), bench.path("placed"));
    let device = format!("seed=9,journal={},reflector=@{}", bench.path("journal").display(), placed.display());
    let calibrate = |more: &[&str]| {
        let more = [&["--scene", path.to_str().unwrap()], more].concat();
        calibrate(profile.to_str().unwrap(), "reference", &device, &more)
    };
    let refused = calibrate(&[]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("accepted: 12 or more, or --placing"), "{}", said(&refused));
    let place = format!("touch {}", placed.display());
    let nothing = calibrate(&["--placing", "true"]);
    assert!(said(&nothing).contains("no echo of the reflector"), "{}", said(&nothing));
    std::fs::remove_file(bench.path("journal")).unwrap();
    let made = report(&calibrate(&["--placing", &place]));
    let journal = bench.journal();
    for (side, first) in [("tx", 0), ("rx", 1)] {
        for offset in &made[side].as_array().unwrap()[first..] {
            let channel = offset["channel"].as_u64().unwrap() as usize;
            let truth = phase(&journal, side, channel) - phase(&journal, side, first);
            let error = turn_deg(number(&offset["phase_deg"]), truth);
            assert!(error.abs() <= 0.5, "{side} {channel}: {error}°");
        }
    }
}

#[test]
fn f04_a_device_whose_channels_are_all_the_array_s_is_calibrated_as_such_and_others_are_refused() {
    let bench = Bench::new(
        &[
            ("rx=5,air=world", "rx=4,air=id"),
            ("[0, 1, 2, 3, 4]", "[0, 1, 2, 3]"),
            ("latency_samples = 1024", "latency_samples = 0"),
        ],
        &[],
    );
    // The paper's scene: the echo comes 223.6 m after what is sent, at 200 MS/s.
    let [from, target, to] = [[0.0, 0.0], [100.0, 50.0], [0.0, 50.0]];
    let departure = steering_vector(4, 0.5, direction_rad(from, target));
    let arrival = steering_vector(4, 0.5, direction_rad(to, target));
    let mut taps = String::new();
    for rx in 0..4 {
        for tx in 0..4 {
            let gain: Complex64 = arrival[rx] * departure[tx].conj() * 0.2;
            taps += &format!("{rx} {tx} 141 {} {}\n", gain.re, gain.im);
            // And the direct path, 33 samples after what is sent, much stronger.
            taps += &format!("{rx} {tx} 33 0.9 0\n");
        }
    }
    let file = bench.path("echo.taps");
    std::fs::write(&file, taps).unwrap();
    let [tx, rx] = [[0.0, 40.0, -100.0, 170.0], [0.0, -75.0, 120.0, 10.0]];
    let text = |phases: &[f64]| phases.iter().map(|phase| format!("0/{phase}/0")).collect::<Vec<_>>().join("+");
    let device = format!("air=file:{},tx_errors={},rx_errors={}", file.display(), text(&tx), text(&rx));
    let profile = bench.path("profile.toml");
    let made = report(&calibrate(profile.to_str().unwrap(), "reference", &device, &[]));
    for (side, truth) in [("tx", tx), ("rx", rx)] {
        for (offset, phase) in made[side].as_array().unwrap().iter().zip(truth) {
            assert!(turn_deg(number(&offset["phase_deg"]), phase).abs() < 0.3, "{side} {offset}");
        }
    }
    let text = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(
        &profile,
        text.replace(
            "[0, 1, 2, 3]\ngain_db = 0.0\nfull_scale_dbm = 20.0",
            "[0, 1, 2]\ngain_db = 0.0\nfull_scale_dbm = 20.0",
        ),
    )
    .unwrap();
    let text = std::fs::read_to_string(&profile).unwrap();
    let text = text.replace(
        "channels = [0, 1, 2, 3]              # the communication",
        "channels = [0, 1, 2]              # the communication",
    );
    std::fs::write(&profile, text).unwrap();
    let refused = calibrate(profile.to_str().unwrap(), "reference", &device, &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(
        said(&refused).contains("3 RX channels; accepted with this scene: the array's 4, or all 5"),
        "{}",
        said(&refused)
    );
}

#[test]
fn a_calibration_holds_for_its_clock_and_is_drawn() {
    let bench = Bench::new(&[], &[]);
    let (file, folder) = (bench.path("calibration.toml"), bench.path("drawn"));
    let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
    let errors = "tx_errors=0/0/0+1/50/0+-1/-60/0+0/150/0,master_clock=400e6";
    let made = calibrate("virtual", "cable", &format!("air=sum,{errors}"), &["--out", file, "--draw", folder]);
    report(&made);
    let table = std::fs::read_to_string(bench.path("drawn/calibration.csv")).unwrap();
    assert!(table.contains("TX 1") && table.contains("RX 4"), "{table}");
    assert!(std::fs::metadata(bench.path("drawn/calibration.png")).unwrap().len() > 1000);
    let other = errors.replace("400e6", "800e6");
    for (device, refused) in [(errors, false), (other.as_str(), true)] {
        let output = run_virtual(&["--frames", "4", "--calibration", file, "--device", device]);
        assert_eq!(output.status.code(), Some(if refused { 2 } else { 0 }), "{}", said(&output));
        let line = "it is for the clock internal, 400 MHz, the device has internal, 800 MHz";
        assert_eq!(said(&output).contains(line), refused, "{}", said(&output));
    }
}

/// The virtual radio beside a target that is known to stand still.
fn beside_what_stands_still() -> Bench {
    let profile = [("phase_after_retune = \"fixed\" ", "still_echo = true\nphase_after_retune = \"fixed\" ")];
    Bench::new(&profile, &[])
}

#[test]
fn f04_a_drift_is_warned_of_and_refused_at_the_stated_error() {
    // Channel 3 drifts by 3 times this, 9° a minute: half a degree in 3.3 s, and one degree in 6.7 s.
    for (stated, [least_s, most_s]) in [(None, [3.3, 9.0]), (Some("1.0"), [6.7, 14.0])] {
        let bench = beside_what_stands_still();
        let graph = bench.path("flowgraph.toml");
        let mut all = vec!["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--json", "--seconds", "16"];
        all.extend(["--calibrate", "cable", "--device", "drift_deg_min=3"]);
        all.extend(SLOW);
        let stated = stated.map(|deg| format!("scene.array.phase_error_deg={deg}"));
        all.extend(stated.iter().flat_map(|stated| ["--set", stated.as_str()]));
        let output = issc(&all);
        let report = report(&output);
        let lines = said(&output);
        let drifts: Vec<_> = lines.lines().filter(|line| line.contains("has drifted by")).collect();
        assert_eq!(drifts.len(), 2, "{lines}");
        let limit = if stated.is_some() { "1°" } else { "0.5°" };
        assert!(drifts[0].contains(&format!("positions are refused from {limit} on")), "{lines}");
        assert!(drifts[1].contains(&format!("accepted: {limit}")) && drifts[1].contains("TX channel 3"), "{lines}");
        // Positions until then, none after; pictures all the time.
        let target = &report["target"];
        let frame_s = 16.0 / number(&report["frames_sent"]);
        let until_s = number(&target["frames"]) * frame_s;
        assert!((least_s..most_s).contains(&until_s), "{until_s} s: {target}");
        assert!(number(&target["no_position"]) > 100.0, "{target}");
        assert!(number(&report["block_error_rate"]) <= 2e-2, "{}", report["block_error_rate"]);
    }
}

#[test]
fn f04_a_jump_by_a_quarter_turn_is_named_within_32_frames() {
    // The frame before which a line says that this channel turned by so much at once.
    let named = |lines: &str, channel: &str, deg: &str| {
        let head = format!("{channel} has turned by {deg}° at once, before frame ");
        let line = lines.lines().find(|line| line.contains(&head)).unwrap_or_else(|| panic!("{lines}"));
        let tail = line.split(&head).nth(1).unwrap();
        tail.split(':').next().unwrap().parse::<f64>().expect("a frame's number")
    };
    // The device's time of the jump, in samples: seconds after the calibration and amid the run.
    const JUMP: i64 = 1_500_000;
    for (fault, channel, deg) in [("jump", "TX channel 1", "90"), ("rx_jump", "RX channel 2", "-90")] {
        let bench = beside_what_stands_still();
        let graph = bench.path("flowgraph.toml");
        let device = format!("journal={},inject={fault}@{JUMP}", bench.path("journal").display());
        let all = ["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--json", "--seconds", "6"];
        let output = issc(&[&all[..], &["--calibrate", "cable", "--device", &device], &SLOW].concat());
        let report = report(&output);
        let lines = said(&output);
        // The run's own stretch on the air is the longest; frames in it are of one length but for a few.
        let journal = bench.journal();
        let stretches = journal.lines().filter_map(|line| line.strip_prefix("tx-air "));
        let ends = stretches.map(|line| line.split(' ').map(|tick| tick.parse::<i64>().unwrap()).collect::<Vec<_>>());
        let run = ends.max_by_key(|ends| ends[1] - ends[0]).expect("a stretch on the air");
        assert!(run[0] < JUMP - 200_000 && JUMP + 200_000 < run[1], "{run:?}");
        let length = (run[1] - run[0]) as f64 / number(&report["frames_radiated"]);
        let jumped = (JUMP - run[0]) as f64 / length;
        let frame = named(&lines, channel, deg);
        assert!((-1.0..=32.0).contains(&(frame - jumped)), "named at {frame}, was at {jumped:.1}");
        // Positions until then, none after; pictures all the time, whatever the array.
        let target = &report["target"];
        assert!((number(&target["frames"]) - jumped).abs() < 40.0, "{jumped}: {target}");
        assert!(number(&target["no_position"]) > 30.0, "{target}");
        assert!(number(&report["block_error_rate"]) <= 2e-2, "{}", report["block_error_rate"]);
    }
}
