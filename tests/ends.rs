//! However a run ends: by a signal, on a full disk, in a folder that takes nothing, without a reader. What stands under a
//! final name then is whole, and a line says what is missing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn issc(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits a while, sends SIGTERM and gives back how the process ended, and after which time; one that goes on is killed.
fn terminate(mut child: Child, after: Duration) -> (Output, Duration) {
    std::thread::sleep(after);
    assert!(child.try_wait().unwrap().is_none(), "it ended before the signal");
    let id = child.id().to_string();
    // Reads all along: a report is larger than a pipe.
    let ended = std::thread::spawn(move || child.wait_with_output().unwrap());
    let signal = |name: &str| assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    signal("-TERM");
    let began = Instant::now();
    while !ended.is_finished() {
        if began.elapsed() > Duration::from_secs(60) {
            signal("-KILL");
            panic!("a minute after SIGTERM it still runs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (ended.join().unwrap(), began.elapsed())
}

#[test]
fn a_signal_ends_a_run_in_order_with_its_report_and_everything_whole() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(place("seen")).unwrap();
    let (seen, events, out, record) = (place("seen/p.png"), place("events.jsonl"), place("out"), place("r"));
    let arguments = ["run", "--json", "--frames", "1000000", "--received", &seen, "--events", &events];
    let child = command(&[&arguments[..], &["--out", &out, "--record", &record]].concat()).spawn().unwrap();
    let (output, took) = terminate(child, Duration::from_secs(3));
    println!("ended {} ms after the signal", took.as_millis());
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = report["frames_decoded"].as_u64().unwrap();
    assert!(frames > 0);
    assert_whole(folder.path());
    let lines = fs::read_to_string(&events).unwrap();
    // A frame counts as decoded with all its blocks; now and then one of thousands loses a block.
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let whole = events.filter(|event| event["event"] == "received" && event["blocks_lost"] == 0);
    assert_eq!(whole.count() as u64, frames);
    let replay = issc(&["run", "--json", "--replay", &record]);
    assert!(replay.status.success() && !said(&replay).contains("not finished"), "{}", said(&replay));
}

#[test]
fn a_signal_ends_a_replay_of_hours_with_gaps_of_centuries() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    let output = issc(&["run", "--json", "--frames", "12", "--record", place.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    // Twelve frames, then silence: a file without blocks on the disk that takes an hour to read through.
    let (data, meta) = (place.join("air.sigmf-data"), place.join("air.sigmf-meta"));
    let samples = fs::metadata(&data).unwrap().len() / 40;
    let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
    if file.set_len(40 * (samples + (1 << 34))).is_err() {
        println!("skipped: no file of 700 GB without blocks here");
        return;
    }
    let mut value: Value = serde_json::from_slice(&fs::read(&meta).unwrap()).unwrap();
    value["global"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("issc:"));
    let captures = value["captures"].as_array_mut().unwrap();
    for number in 0..8u64 {
        captures.push(json!({ "core:sample_start": samples + 4096 * number, "core:global_index": (number + 1) << 59 }));
    }
    fs::write(&meta, value.to_string()).unwrap();
    let child = command(&["run", "--json", "--replay", place.to_str().unwrap()]).spawn().unwrap();
    let (output, took) = terminate(child, Duration::from_secs(2));
    println!("ended {} ms after the signal", took.as_millis());
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["frames_decoded"].as_u64().unwrap() >= 11, "{report}");
}

/// Asserts that every file under a final name is whole.
fn assert_whole(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let text = || fs::read_to_string(&path).unwrap();
        if path.is_dir() {
            assert_whole(&path);
            continue;
        }
        if name.starts_with(".issc-") && name.contains(".part") {
            continue;
        }
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("json" | "sigmf-meta") => drop(serde_json::from_str::<Value>(&text()).expect(&name)),
            Some("toml") => drop(text().parse::<toml::Table>().expect(&name)),
            Some("png") => drop(image::open(&path).expect(&name)),
            Some("svg") => assert!(text().trim_end().ends_with("</svg>"), "{name}"),
            Some("csv") => assert!(text().ends_with('\n'), "{name}"),
            // Logs and samples grow.
            Some("jsonl" | "sigmf-data") => {}
            _ => panic!("{name} is not expected"),
        }
    }
}

/// A small file system, where one may be mounted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: no file system can be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_ends_the_recording_with_1_and_leaves_whole_files_that_replay() {
    // Room for 260 frames: frames' lines wait for the disk up to 100 ms, within which fewer are sent.
    let Some(disk) = SmallDisk::mount("24m") else { return };
    let place = |name: &str| disk.0.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(place("seen")).unwrap();
    let (seen, events, out, record) = (place("seen/p.png"), place("events.jsonl"), place("out"), place("r"));
    let arguments = ["run", "--json", "--frames", "1000000", "--received", &seen, "--events", &events];
    let output = issc(&[&arguments[..], &["--out", &out, "--record", &record]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the recording is not whole"), "{}", said(&output));
    assert!(said(&output).lines().all(|line| line.starts_with("issc: ")), "{}", said(&output));
    // What came before is reported all the same.
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["frames_decoded"].as_u64().unwrap() > 0);
    assert_whole(disk.0.path());
    fs::read_to_string(&events).unwrap().lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
    let replay = issc(&["run", "--json", "--replay", &record]);
    assert!(replay.status.success() && said(&replay).contains("the recording was not finished"), "{}", said(&replay));
    let report: Value = serde_json::from_slice(&replay.stdout).unwrap();
    assert!(report["frames_decoded"].as_u64().unwrap() > 0);
}

#[test]
fn pictures_events_and_drawings_on_a_full_disk_are_missed_in_a_line_each() {
    let Some(disk) = SmallDisk::mount("2m") else { return };
    let place = |name: &str| disk.0.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(place("seen")).unwrap();
    fs::write(place("filler.csv"), [&[b' '; 2_060_000][..], b"\n"].concat()).unwrap();
    for arguments in
        [["--received", &place("seen/p.png")], ["--events", &place("events.jsonl")], ["--out", &place("out")]]
    {
        let output = issc(&[&["run", "--json", "--frames", "400"][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        let lines: Vec<_> = said(&output)
            .lines()
            .filter(|line| line.contains(disk.0.path().to_str().unwrap()))
            .map(str::to_owned)
            .collect();
        assert_eq!(lines.len(), 1, "{arguments:?}: {}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("the report is there");
        assert_eq!(report["frames_decoded"], 400);
        assert_whole(disk.0.path());
    }
    let lines = fs::read_to_string(place("events.jsonl")).unwrap();
    assert!(lines.is_empty() || lines.ends_with('\n'));
    lines.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
}

#[test]
fn a_folder_that_takes_nothing_is_named_in_one_line() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    for path in [&locked, &folder.path().to_owned()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    // Root may write anywhere: as nobody, then.
    let is_root = fs::write(locked.join("x"), "").is_ok();
    let _ = fs::remove_file(locked.join("x"));
    for (option, name) in [("--record", "r"), ("--received", "p.png"), ("--events", "e.jsonl"), ("--out", "out")] {
        let file = locked.join(name);
        let mut command = command(&["run", "--json", "--frames", "24", option, file.to_str().unwrap()]);
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                println!("skipped: {error}");
                return;
            }
        };
        assert_eq!(output.status.code(), Some(2), "{option}: {}", said(&output));
        let lines: Vec<_> = said(&output).lines().map(str::to_owned).collect();
        assert!(lines.len() == 1 && lines[0].contains("locked"), "{option}: {lines:?}");
        assert_eq!(fs::read_dir(&locked).unwrap().count(), 0, "{option}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn reports_and_events_whose_reader_leaves_end_nothing() {
    for arguments in [&["run", "--json", "--frames", "48"][..], &["run", "--frames", "400", "--events", "-"]] {
        // As `| head -1`.
        let mut child = command(arguments).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).expect("a whole line");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && said(&output).is_empty(), "{arguments:?}: {}", said(&output));
    }
    // A named pipe.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("events.jsonl");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo here");
        return;
    }
    let child = command(&["run", "--json", "--frames", "400", "--events", pipe.to_str().unwrap()]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(fs::File::open(&pipe).unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str::<Value>(&line).expect("a whole line");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["frames_decoded"], 400);
}
