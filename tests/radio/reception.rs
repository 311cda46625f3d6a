//! Reception: stalls, drivers that start again by themselves, times that are none, converters at their limits.

use super::timeline::{bench, run};
use super::*;

#[test]
fn f09_a_receiver_that_its_driver_starts_again_goes_on_on_the_grid_of_samples() {
    for dialect in ["rfnoc", "b2xx"] {
        let bench = bench(&format!("dialect={dialect}"), "20.0");
        let faults: Vec<_> = (1..=20).map(|n| format!("overflow@{}", n * 120_000)).collect();
        let output = run(&bench, "6.5", &format!("inject={}", faults.join("+")));
        report(&output);
        assert_eq!((count(&output, "overflows"), count(&output, "restarts")), (20, 20), "{dialect}");
        // The driver starts half a sample beside the grid, or less; nothing of that is taken.
        let journal = bench.journal();
        let off: Vec<_> = journal.lines().filter(|line| line.starts_with("rx-off-grid")).collect();
        assert!(off.is_empty(), "{dialect}: {off:?}");
    }
}

#[test]
fn f20_a_receiver_to_which_nothing_comes_any_more_is_started_again() {
    for (fault, seconds) in [("timeout", 0.5), ("late_command", 0.0)] {
        let bench = bench("dialect=rfnoc", "20.0");
        let output = run(&bench, "3.5", &format!("inject={fault}@240000+{fault}@800000"));
        report(&output);
        assert_eq!(count(&output, "restarts"), 2, "{fault} {seconds}");
        assert_eq!(count(&output, "stream errors"), if fault == "timeout" { 0 } else { 2 }, "{fault}");
    }
}

#[test]
fn f25_times_that_cannot_be_or_that_creep_are_said_in_one_line_and_samples_are_counted_instead() {
    let bench = bench("dialect=bladerf", "20.0");
    let output = run(&bench, "2", "label=creeps");
    report(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = stderr.lines().filter(|line| line.contains("samples are counted instead")).collect();
    assert_eq!(said.len(), 1, "{stderr}");
    assert!(said[0].contains("creep"), "{stderr}");
    assert_eq!(count(&output, "gaps"), 0);
    let bench = super::timeline::bench("", "20.0");
    let output = run(&bench, "2", "inject=garbage@240000+garbage@300000");
    report(&output);
    assert_eq!((count(&output, "wrong times"), count(&output, "gaps")), (2, 0));
}

#[test]
fn f15_samples_at_the_converter_s_limits_are_counted_and_gains_are_not_left_to_the_device() {
    let bench = bench("adc_bits=12,noise=1.0,rx_gain=-30/30", "20.0");
    let text = std::fs::read_to_string(bench.path("profile.toml")).unwrap();
    for (gain, clips) in
        [("gain_db = 0.0\nfull_scale_dbm = 20.0", false), ("gain_db = 30.0\nfull_scale_dbm = 20.0", true)]
    {
        let changed = text.replace("gain_db = 0.0\nfull_scale_dbm = 20.0", gain);
        std::fs::write(bench.path("profile.toml"), changed).unwrap();
        let output = run(&bench, "1.5", &format!("label={clips}"));
        report(&output);
        assert_eq!(count(&output, "samples clipped") > 0, clips, "{gain}");
    }
    assert!(bench.journal().contains("rx-gain-mode 3 manual"));
}

#[test]
fn f18_radiated_frames_are_counted_and_a_recording_says_what_it_was_made_with() {
    let bench = bench("", "20.0");
    let output = run(&bench, "2", "inject=late@0+underflow@300000");
    let report = report(&output);
    let [sent, radiated] = ["frames_sent", "frames_radiated"].map(|key| report[key].as_u64().unwrap());
    assert!(radiated < sent && sent - radiated == count(&output, "frames left out"), "{radiated} of {sent}");
    let folder = bench.path("recording");
    let graph = bench.path("flowgraph.toml");
    let arguments =
        ["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--frames", "20", "--device", "serial=77"];
    let output = issc(&[&arguments[..], &["--record", folder.to_str().unwrap()], &SLOW[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let meta = std::fs::read_to_string(folder.join("radio-receiver.sigmf-meta")).unwrap();
    let global = &serde_json::from_str::<Value>(&meta).unwrap()["global"];
    assert_eq!((&global["issc:gain_db"], &global["issc:full_scale_dbm"]), (&0.0.into(), &20.0.into()), "{global}");
    let device = global["issc:device"].as_str().unwrap();
    assert!(device.contains("serial 77") && device.contains("(virtual)"), "{device}");
}
