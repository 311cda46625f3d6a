//! Mistakes and mishaps that once went by without a word, through the program as a person meets them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
    command.args(arguments);
    command
}

fn issc(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a run prints with `--json`.
fn report(arguments: &[&str]) -> Value {
    let output = issc(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

const ONE_SIDED: [&str; 4] = ["--set", "scene.model.reflectivity=known", "--set", "scene.model.frequencies=one-sided"];

#[test]
fn a_reader_that_leaves_ends_nothing_and_causes_no_panic() {
    for arguments in [&["keys"][..], &["blocks"], &["run", "--frames", "40"], &["check", "loopback"], &["optimize"]] {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The reader is gone before the first line.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("panic"), "{arguments:?}: {}", stderr(&output));
    }
    // As `issc keys | head -1`, and with nobody to complain to.
    let mut child = command(&["keys"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.stderr.take());
    assert!(!line.is_empty());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_printed_for_another_reason_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let output = command(&["keys"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("issc: standard output: "), "{}", stderr(&output));
}

#[test]
fn a_bound_that_is_not_a_physical_one_is_said_to_be_none_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("w.json");
    let optimized = issc(&[&["optimize", "--json"][..], &ONE_SIDED].concat());
    std::fs::write(&weights, &optimized.stdout).unwrap();
    let hcrb = issc(&[&["hcrb", "--weights", weights.to_str().unwrap()][..], &ONE_SIDED].concat());
    let run = issc(&[&["run", "--frames", "4", "--json"][..], &ONE_SIDED].concat());
    for output in [optimized, hcrb, run] {
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.lines().filter(|line| line.contains("not a physical one")).count(), 1, "{said}");
    }
    // Each alone is no fault, and the scene as shipped has nothing to say.
    for keys in [&ONE_SIDED[..2], &ONE_SIDED[2..], &[]] {
        assert!(!stderr(&issc(&[&["optimize", "--json"][..], keys].concat())).contains("physical"));
    }
}

#[test]
fn what_the_optimizer_prints_is_taken_as_weights_by_every_method() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("w.json");
    for method in ["global", "alternating", "zf-wf"] {
        let printed = issc(&["optimize", "--method", method, "--json"]).stdout;
        std::fs::write(&weights, &printed).unwrap();
        let printed: Value = serde_json::from_slice(&printed).unwrap();
        let bound = report(&["hcrb", "--weights", weights.to_str().unwrap(), "--json"]);
        let [of_optimize, of_hcrb] =
            [&printed["hcrb_trace_m2"], &bound["trace_m2"]].map(|trace| trace.as_f64().unwrap());
        assert!((of_optimize / of_hcrb - 1.0).abs() < 1e-9, "{method}: {of_optimize} {of_hcrb}");
        let at = format!("0:weights=@{}", weights.display());
        let run = report(&["run", "--frames", "4", "--at", &at, "--json"]);
        assert_eq!(run["retunes"][0]["feasible"], true, "{method}");
    }
}

#[test]
fn the_papers_method_reports_its_own_rate_and_its_gap_as_it_is() {
    let [best, paper] = ["global", "alternating"].map(|method| report(&["optimize", "--method", method, "--json"]));
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is a number"));
    assert!(number(&paper["gap_db"]) >= number(&best["gap_db"]) - 1e-3 && number(&best["gap_db"]) < 1e-3);
    let gap = number(&paper["upper_bound_sinr_db"]) - number(&paper["sinr_db"]);
    assert!((gap - number(&paper["gap_db"])).abs() < 1e-9);
    assert_eq!((&paper["feasible"], &paper["rate_feasible"]), (&true.into(), &true.into()));
    // Eq. (4) has no margin for a real code: the rate is that of the least bits that a picture may be sent with, or more.
    let rate = number(&paper["channel_rate_bits_per_use"]);
    assert!(rate < (1.0 + 10f64.powf(number(&paper["sinr_db"]) / 10.0)).log2() && rate > 0.0, "{rate}");
    let errors = number(&paper["block_error_rate"]) / (256.0 * rate);
    assert!((errors / number(&paper["bit_error_rate"]) - 1.0).abs() < 1e-6, "{errors}");
}

#[test]
fn a_command_after_the_last_frame_is_said_to_come_never() {
    let late = |arguments: &[&str]| {
        let output = issc(&[&["run", "--json"][..], arguments].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output).lines().filter(|line| line.contains("never comes")).map(str::to_owned).collect::<Vec<_>>()
    };
    let found = late(&["--frames", "8", "--at", "8:power_dbm=-1", "--at", "9:power_dbm=-2", "--at", "7:power_dbm=-3"]);
    assert_eq!(found, ["issc: --at 8:power_dbm and 1 more: never comes, the run ends after 8 frames"]);
    assert_eq!(late(&["--frames", "8", "--at", "7:power_dbm=-1"]), [""; 0]);
    assert_eq!(late(&["--seconds", "2e-4", "--at", "5000:power_dbm=-1"]).len(), 1);
}

#[test]
fn the_reported_bound_follows_a_change_of_the_simulated_reflection() {
    let bound = |more: &[&str]| {
        let report = report(&[&["run", "--frames", "40", "--json"][..], more].concat());
        report["target"]["hcrb_rmse_m"].as_f64().unwrap()
    };
    let ratio = bound(&["--at", "0:world.reflection=0.3"]) / bound(&[]);
    // Half the amplitude of the echo, twice the deviation: the prior of the timing error has little to say.
    assert!((ratio - 2.0).abs() < 0.02, "{ratio}");
}

#[test]
fn a_target_whose_echo_comes_after_the_search_window_is_refused_at_both_doors() {
    let set = issc(&["run", "--frames", "4", "--set", "scene.geometry.target=[500,50]"]);
    assert_eq!(set.status.code(), Some(2), "{}", stderr(&set));
    assert!(
        stderr(&set).contains("[500, 50] makes a path of") && stderr(&set).contains("accepted"),
        "{}",
        stderr(&set)
    );
    let live = issc(&["run", "--frames", "4", "--at", "0:world.target=[500,50]"]);
    assert!(stderr(&live).contains("world.target = [500, 50] makes a path of"), "{}", stderr(&live));
}

#[cfg(unix)]
#[test]
fn a_file_named_by_mistake_as_the_control_socket_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes.txt");
    std::fs::write(&notes, "kept").unwrap();
    let output = issc(&["run", "--frames", "4", "--control", notes.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("notes.txt: is a file and no socket"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "kept");
}

#[test]
fn a_paced_run_does_without_the_usual_socket_where_another_has_it_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("issc.sock");
    let other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output =
        command(&["run", "--frames", "8", "--pace", "1"]).env("XDG_RUNTIME_DIR", folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    let lines: Vec<_> = said.lines().filter(|line| line.contains("takes no live commands")).collect();
    assert!(lines.len() == 1 && lines[0].contains("another issc is listening here"), "{said}");
    drop(other);
    assert!(socket.exists(), "the other's socket is left alone");
}
