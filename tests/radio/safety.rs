//! Every way out ends in silence, and no correction radiates more than is allowed.

use super::timeline::{assert_silent_gains, bench, run};
use super::*;

#[test]
fn f17_slow_gains_are_raised_before_a_frame_has_to_be_early() {
    let bench = bench("call_ms=5", "20.0");
    let output = run(&bench, "2.5", "label=slow");
    let report = report(&output);
    assert_eq!((count(&output, "late"), count(&output, "underflows")), (0, 0));
    assert!(number(&report["frames_radiated"]) >= 0.6 * number(&report["frames_sent"]), "{report}");
    assert_silent_gains(&bench.journal());
}

#[cfg(unix)]
#[test]
fn f22_an_interrupt_silences_a_calibration_and_a_probe() {
    for command in ["calibrate", "probe"] {
        let bench = bench("call_ms=5", "20.0");
        let profile = bench.path("profile.toml");
        let device = format!("journal={}", bench.path("journal").display());
        let mut all = vec![command, "--profile", profile.to_str().unwrap(), "--transmit", "--bands", BANDS];
        all.extend(["--device", &device]);
        if command == "probe" {
            all.push("--cabled");
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_issc"))
            .args(&all)
            .args(["--scene", "paper"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(Duration::from_secs(30), || bench.journal().contains("tx-gain 3 -9.000000"));
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success());
        assert_eq!(status.code(), Some(130), "{command}: it ended by itself, not raw");
        assert_silent_gains(&bench.journal());
    }
}

/// A word of a virtual radio's registers.
fn register(bench: &Bench, word: usize) -> [u8; 8] {
    std::fs::read(bench.path("registers")).unwrap()[8 * word..][..8].try_into().unwrap()
}

#[cfg(unix)]
#[test]
fn f17_a_killed_program_s_supervisor_silences_the_device() {
    for supervised in [false, true] {
        let bench = bench("", "20.0");
        let graph = bench.path("flowgraph.toml");
        let device = format!("registers={},inject=kill@600000", bench.path("registers").display());
        let mut all = vec!["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--json"];
        all.extend(["--seconds", "60", "--device", &device]);
        all.extend(SLOW);
        if supervised {
            all.push("--supervise");
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_issc"))
            .args(&all)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        // In the middle of a burst, gains up: that is how a killed program leaves a device.
        let radiates =
            || u64::from_le_bytes(register(&bench, 1)) == 1 || f64::from_le_bytes(register(&bench, 5)) > -90.0;
        if supervised {
            let took = wait_for(Duration::from_secs(5), || !radiates());
            assert!(took < Duration::from_secs(2), "{took:?}");
            assert_eq!(u64::from_le_bytes(register(&bench, 0)), 2, "opened again");
        } else {
            std::thread::sleep(Duration::from_millis(500));
            assert!(radiates(), "nobody was there to silence it");
        }
    }
}

#[test]
fn f23_calibration_works_as_the_readme_says() {
    let output = issc(&["calibrate", "--profile", "virtual", "--transmit", "--bands", BANDS, "--json"]);
    report(&output);
    let output = run_virtual(&["--frames", "120", "--calibrate", "cable"]);
    let target = &report(&output)["target"];
    assert_eq!(target["outliers"], 0, "{target}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("calibrated, TX") && !stderr.contains("already active"), "{stderr}");
}

#[test]
fn f02_devices_take_the_second_of_utc_at_one_pulse_and_one_without_it_is_named() {
    let bench = bench("counter_s=17.3", "20.0");
    let text = std::fs::read_to_string(bench.path("profile.toml")).unwrap();
    let text =
        text.replace("max_rate_hz = 1e9", "time_source = \"external\"\ntime_set = \"utc-pps\"\nmax_rate_hz = 1e9");
    std::fs::write(bench.path("profile.toml"), text).unwrap();
    let output = run(&bench, "1", "label=pulse");
    assert!(number(&report(&output)["frames_radiated"]) > 10.0);
    let air =
        bench.journal().lines().find_map(|line| line.strip_prefix("tx-air ")?.split(' ').next()?.parse::<f64>().ok());
    let utc_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((air.unwrap() / 4e5 - utc_s).abs() < 60.0, "the device's time is that of UTC");
    let output = run(&bench, "1", "pps_ms=none");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let said = stderr.lines().filter(|line| line.contains("its time at the last pulse")).count();
    assert!(said == 1 && stderr.contains("is the pulse connected?") && stderr.contains("radio virtual"), "{stderr}");
}

#[test]
fn transmissions_are_logged_before_they_begin_and_end_with_the_time_that_a_band_allows() {
    let bench = bench("", "20.0");
    let bands = bench.path("bands.toml");
    let entry = "[[allow]]\nname = \"short\"\nmin_hz = 0.0\nmax_hz = 1e12\ncabled_max_dbm = 30.0\nmax_seconds = 0.5\n";
    let log = bench.path("state/transmissions.jsonl");
    std::fs::write(&bands, format!("{entry}log = \"{}\"\n", log.display())).unwrap();
    let graph = bench.path("flowgraph.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(["run", graph.to_str().unwrap(), "--transmit", "--bands", bands.to_str().unwrap(), "--seconds", "5"])
        .args(["--device", &format!("journal={}", bench.path("journal").display())])
        .args(SLOW)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("max_seconds are over"));
    assert_silent_gains(&bench.journal());
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["event"], &lines[0]["band"], &lines[0]["gain_db"]),
        (&"began".into(), &"short".into(), &0.0.into())
    );
    assert_eq!((lines.len(), &lines[1]["event"]), (2, &"ended".into()));
    let frames = number(&lines[1]["frames"]);
    // The shortest that so many frames can be, at 0.4 MS/s.
    let samples = |frame| 2 * Layout::of(frame, 4, HeaderLength::Short).symbols();
    let least_s = (0..frames as u64).map(samples).sum::<usize>() as f64 / 4e5;
    assert!(frames > 20.0 && least_s <= 0.5, "{frames} frames of {least_s} s");
}

#[test]
fn f04_channels_are_calibrated_through_cables_and_sense_over_the_air_without_a_new_opening() {
    let bench = with_random_phases();
    let moved = bench.path("antennas-are-on");
    let device = format!("seed=5,combiner=@{},journal={}", moved.display(), bench.path("journal").display());
    let graph = bench.path("flowgraph.toml");
    let run = |more: &[&str]| {
        let mut all =
            vec!["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--json", "--frames", "1200"];
        all.extend(["--device", &device, "--calibrate", "cable"]);
        all.extend_from_slice(more);
        issc(&all)
    };
    let switch = format!("touch {}", moved.display());
    let report = report(&run(&["--then", &switch]));
    let target = &report["target"];
    assert_eq!((&target["outliers"], &target["no_position"]), (&Value::from(0), &Value::from(0)), "{target}");
    assert!(number(&target["rmse_m"]) <= 1.1 * number(&target["hcrb_rmse_m"]), "{target}");
    assert_eq!(bench.journal().lines().filter(|line| *line == "open").count(), 1);
    std::fs::remove_file(&moved).unwrap();
    let output = run(&["--then", "false"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--then false: it failed"));
}

#[test]
fn f25_a_driver_that_loses_the_end_of_a_burst_still_gets_its_gains_down() {
    let bench = bench("quirks=mimo_needs_time+end_lost", "20.0");
    let text = std::fs::read_to_string(bench.path("profile.toml")).unwrap();
    let text = text.replace(",quirks=mimo_needs_time+no_tx_activate_time", "");
    std::fs::write(bench.path("profile.toml"), text).unwrap();
    let since = Instant::now();
    let output = run(&bench, "1", "label=lost");
    assert!(since.elapsed() < Duration::from_secs(15));
    assert_silent_gains(&bench.journal());
    assert!(output.status.code().is_some(), "it ended by itself");
}
