//! Recordings that other programs made, or that were cut, damaged or never finished: read right, refused in one line, or what
//! is lost is counted and named. Twelve frames of the loopback are recorded, and their files changed.

mod mutations;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use num_complex::Complex32;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus as Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

fn issc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts")
}

/// The recording that all tests change copies of, and the report of its run.
fn good() -> &'static (TempDir, Value) {
    static GOOD: OnceLock<(TempDir, Value)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("good");
        // Room in the SINR for the noise of 8 bits.
        let margin = ["--set", "scene.constraints.snr_margin_db=4"];
        let output =
            issc(&[&["run", "--json", "--frames", "12", "--record", path.to_str().unwrap()][..], &margin].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (folder, serde_json::from_slice(&output.stdout).unwrap())
    })
}

/// A copy of the recording, to be changed.
struct Copy {
    folder: TempDir,
}

/// Name of the recording's pair: row 0 is what the communication receiver heard, the others what the sensing receiver did.
const PAIR: &str = "air";

/// Its channels.
const CHANNELS: u64 = 5;

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(good().0.path().join("good")).unwrap().flatten() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The pairs that are there.
    fn pairs(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(".sigmf-meta").map(str::to_owned)).collect()
    }

    fn meta(&self, pair: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(&format!("{pair}.sigmf-meta"))).unwrap()).unwrap()
    }

    /// Changes metadata, which then are another program's: without a digest.
    fn change(&self, pair: &str, change: impl FnOnce(&mut Value)) {
        let mut meta = self.meta(pair);
        meta["global"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("issc:"));
        change(&mut meta);
        fs::write(self.path(&format!("{pair}.sigmf-meta")), meta.to_string()).unwrap();
    }

    /// All samples of a pair, in the file's order.
    fn samples(&self, pair: &str) -> Vec<Complex32> {
        let bytes = fs::read(self.path(&format!("{pair}.sigmf-data"))).unwrap();
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        bytes.chunks_exact(8).map(|eight| Complex32::new(number(&eight[..4]), number(&eight[4..]))).collect()
    }

    fn write_data(&self, pair: &str, bytes: &[u8]) {
        fs::write(self.path(&format!("{pair}.sigmf-data")), bytes).unwrap();
    }

    fn replay(&self) -> Output {
        issc(&["run", "--json", "--replay", self.folder.path().to_str().unwrap()])
    }

    /// The report of a replay, and what it said.
    fn report(&self) -> (Value, String) {
        let output = self.replay();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    }

    /// Asserts that a replay is refused in one line with these words in it.
    fn refused(&self, words: &[&str]) {
        let output = self.replay();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }

    /// Refuses a change to the metadata of the communication receiver's pair.
    fn refuses(change: impl FnOnce(&mut Value), words: &[&str]) {
        let copy = Self::new();
        copy.change(PAIR, change);
        copy.refused(words);
    }
}

/// A report without what the machine decides.
fn plain(mut report: Value) -> Value {
    for key in ["samples_per_s", "realtime_factor", "latency_ms", "memory_bytes", "cpu_s_per_sample"] {
        report.as_object_mut().unwrap().remove(key);
    }
    report
}

/// Asserts the same frames and the same positions up to `within_m`.
fn assert_same(found: &Value, within_m: f64) {
    let expected = &good().1;
    for key in ["frames_sent", "frames_decoded"] {
        assert_eq!(found[key], expected[key], "{key}");
    }
    assert_eq!(found["target"]["frames"], expected["target"]["frames"]);
    for axis in 0..2 {
        let of = |report: &Value| report["target"]["estimate_m"][axis].as_f64().expect("there is a position");
        let (found, expected) = (of(found), of(expected));
        assert!((found - expected).abs() <= within_m, "axis {axis}: {found} m, recorded {expected} m");
    }
}

/// Writes all pairs as another type, scaled to three quarters of full scale; `number` writes a number between −1 and 1.
fn convert(copy: &Copy, datatype: &str, number: impl Fn(f64) -> Vec<u8>) {
    for pair in copy.pairs() {
        let samples = copy.samples(&pair);
        let largest = samples.iter().flat_map(|z| [z.re.abs(), z.im.abs()]).fold(0.0, f32::max);
        let unit = f64::from(largest) / 0.75;
        let numbers = samples.iter().flat_map(|z| [z.re, z.im]);
        let bytes: Vec<u8> = numbers.flat_map(|x| number(f64::from(x) / unit)).collect();
        copy.write_data(&pair, &bytes);
        copy.change(&pair, |meta| {
            meta["global"]["core:datatype"] = datatype.into();
            meta["global"]["issc:unit_sqrt_w"] = unit.into();
        });
    }
}

#[test]
fn a_recording_replays_to_its_own_report() {
    let copy = Copy::new();
    assert_eq!(copy.pairs(), [PAIR]);
    let (report, said) = copy.report();
    assert_eq!(plain(report), plain(good().1.clone()));
    assert!(!said.contains("finite") && !said.contains("finished"), "{said}");
    assert!(good().1["frames_decoded"].as_u64().unwrap() >= 11 && good().1["target"]["frames"].as_u64().unwrap() >= 3);
}

#[test]
fn big_endian_floats_and_doubles_replay_to_the_same_positions() {
    for (datatype, number) in [
        ("cf32_be", (|x| (x as f32).to_be_bytes().to_vec()) as fn(f64) -> Vec<u8>),
        ("cf64_le", |x| x.to_le_bytes().to_vec()),
    ] {
        let copy = Copy::new();
        convert(&copy, datatype, number);
        // Scaling and back moves floats by a part in ten million: far below the bound of millimetres.
        assert_same(&copy.report().0, 1e-5);
    }
}

#[test]
fn integers_of_32_16_and_8_bits_replay_to_the_same_positions_within_the_quantisation() {
    // Rounding to 8 bits at three quarters of full scale adds noise of -76.9 dBW to each row, as much as the receiver's own,
    // -77.0 dBW. It moved the 120 positions of seeds 1 to 10 by 6.2 mm RMS an axis, 15 mm at most (their bound is 6.7 mm):
    // five deviations are accepted. Each bit more is 6.02 dB less, so that 16 bits moved them by 25 um RMS, 68 um at most.
    // With 32 bits the conversion's own floats are what is left: 1 um RMS, 4 um at most.
    for (datatype, within_m, number) in [
        ("ci32_le", 1e-5, (|x| ((x * 2_147_483_648.0) as i32).to_le_bytes().to_vec()) as fn(f64) -> Vec<u8>),
        ("ci16_le", 1.3e-4, |x| ((x * 32_768.0).round() as i16).to_le_bytes().to_vec()),
        ("cu16_be", 1.3e-4, |x| ((x * 32_768.0).round() as i32 + 32_768).to_be_bytes()[2..].to_vec()),
        ("ci8", 0.031, |x| ((x * 128.0).round() as i8).to_le_bytes().to_vec()),
        ("cu8", 0.031, |x| vec![((x * 128.0).round() + 128.0) as u8]),
    ] {
        let copy = Copy::new();
        convert(&copy, datatype, number);
        assert_same(&copy.report().0, within_m);
    }
}

#[test]
fn real_samples_and_types_without_a_byte_order_are_refused() {
    Copy::refuses(
        |meta| meta["global"]["core:datatype"] = "rf32_le".into(),
        &["core:datatype rf32_le", "real samples"],
    );
    Copy::refuses(|meta| meta["global"]["core:datatype"] = "ci16".into(), &["core:datatype ci16", "no byte order"]);
}

/// Writes each channel of the pair to a pair of its own, named by a collection.
fn split(copy: &Copy) -> Vec<String> {
    let (samples, meta) = (copy.samples(PAIR), copy.meta(PAIR));
    let channels = meta["global"]["core:num_channels"].as_u64().unwrap() as usize;
    assert_eq!(channels as u64, CHANNELS);
    let names: Vec<_> = (0..channels).map(|channel| format!("antenna-{channel}")).collect();
    for (channel, name) in names.iter().enumerate() {
        let row = samples.iter().skip(channel).step_by(channels);
        let bytes: Vec<u8> = row.flat_map(|z| [z.re.to_le_bytes(), z.im.to_le_bytes()].concat()).collect();
        copy.write_data(name, &bytes);
        fs::write(copy.path(&format!("{name}.sigmf-meta")), meta.to_string()).unwrap();
        copy.change(name, |meta| meta["global"]["core:num_channels"] = 1.into());
    }
    let streams: Vec<_> = names.iter().map(|name| json!({ "name": name, "hash": "0" })).collect();
    let collection = json!({ "collection": { "core:version": "1.2.0", "core:streams": streams } });
    fs::write(copy.path(&format!("{}.sigmf-collection", PAIR)), collection.to_string()).unwrap();
    fs::remove_file(copy.path(&format!("{}.sigmf-meta", PAIR))).unwrap();
    fs::remove_file(copy.path(&format!("{}.sigmf-data", PAIR))).unwrap();
    names
}

#[test]
fn one_file_per_channel_replays_to_the_identical_report() {
    let copy = Copy::new();
    let names = split(&copy);
    assert_eq!(plain(copy.report().0), plain(good().1.clone()));
    copy.change(&names[2], |meta| meta["captures"][0]["core:global_index"] = 1_000_000.into());
    copy.refused(&["channels of the same time", &names[2]]);
}

#[test]
fn archives_of_a_recording_and_of_a_collection_replay_to_the_identical_report() {
    for collected in [false, true] {
        let copy = Copy::new();
        let names = if collected { split(&copy) } else { vec![PAIR.to_owned()] };
        let mut archive = tar::Builder::new(fs::File::create(copy.path(&format!("{}.sigmf", PAIR))).unwrap());
        let mut files: Vec<_> =
            names.iter().flat_map(|name| [format!("{name}.sigmf-meta"), format!("{name}.sigmf-data")]).collect();
        files.extend(collected.then(|| format!("{}.sigmf-collection", PAIR)));
        for file in &files {
            archive.append_path_with_name(copy.path(file), format!("folder/{file}")).unwrap();
            fs::remove_file(copy.path(file)).unwrap();
        }
        archive.finish().unwrap();
        drop(archive);
        assert_eq!(plain(copy.report().0), plain(good().1.clone()), "collected: {collected}");
        let path = copy.path(&format!("{}.sigmf", PAIR));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let output = copy.replay();
        assert_eq!(output.status.code(), Some(2), "half an archive");
    }
}

#[test]
fn bytes_before_and_after_the_samples_and_a_data_file_of_another_name_are_kept_to() {
    let copy = Copy::new();
    let data = copy.path("air.sigmf-data");
    let framed = [&[0xff; 40][..], &fs::read(&data).unwrap(), &[0xee; 13]].concat();
    fs::write(copy.path("noted.raw"), framed).unwrap();
    fs::remove_file(data).unwrap();
    copy.change("air", |meta| {
        meta["captures"][0]["core:header_bytes"] = 40.into();
        meta["global"]["core:trailing_bytes"] = 13.into();
        meta["global"]["core:dataset"] = "noted.raw".into();
    });
    assert_eq!(plain(copy.report().0), plain(good().1.clone()));
    copy.change("air", |meta| meta["global"]["core:dataset"] = "../noted.raw".into());
    copy.refused(&["../noted.raw", "in the same folder"]);
}

#[test]
fn what_sigmf_lets_be_left_out_may_be_missing() {
    let copy = Copy::new();
    let first = copy.meta("air")["captures"][0]["core:global_index"].as_u64().unwrap();
    copy.change("air", |meta| {
        let global = meta["global"].as_object_mut().unwrap();
        global.retain(|key, _| ["core:datatype", "core:version", "core:num_channels"].contains(&key.as_str()));
        global.insert("core:offset".into(), first.into());
        meta["captures"] = json!([]);
        meta.as_object_mut().unwrap().remove("annotations");
    });
    assert_eq!(plain(copy.report().0), plain(good().1.clone()));
    copy.change("air", |meta| meta["captures"] = json!([{ "core:sample_start": first }]));
    assert_eq!(plain(copy.report().0), plain(good().1.clone()));
}

#[test]
fn impossible_counts_are_refused_by_their_field_and_nothing_is_allocated_for_them() {
    for channels in [json!(1u64 << 61), json!(1_000_000_000_000u64), json!(0), json!(u64::MAX), json!(-1), json!(1e300)]
    {
        let copy = Copy::new();
        copy.write_data("air", &[]);
        copy.change("air", |meta| meta["global"]["core:num_channels"] = channels.clone());
        copy.refused(&["core:num_channels", "air.sigmf-meta"]);
    }
    Copy::refuses(|meta| meta["captures"][0]["core:header_bytes"] = u64::MAX.into(), &["core:header_bytes"]);
    Copy::refuses(|meta| meta["global"]["core:trailing_bytes"] = u64::MAX.into(), &["core:trailing_bytes"]);
    Copy::refuses(|meta| meta["captures"][0]["core:sample_start"] = u64::MAX.into(), &["core:sample_start"]);
    Copy::refuses(|meta| meta["global"]["core:offset"] = u64::MAX.into(), &["core:offset"]);
    Copy::refuses(|meta| meta["global"]["issc:samples"] = u64::MAX.into(), &["issc:samples"]);
    Copy::refuses(|meta| meta["global"]["core:sample_rate"] = json!(-1.0), &["core:sample_rate -1"]);
}

#[test]
fn captures_out_of_order_or_overlapping_are_refused() {
    let capture = |start: u64, index: u64| json!({ "core:sample_start": start, "core:global_index": index });
    let of = |captures: &[Value], words: &[&str]| {
        Copy::refuses(|meta| meta["captures"] = json!(captures), words);
    };
    of(&[capture(0, 0), capture(9000, 8999)], &["captures[1]", "core:global_index 8999", "time runs backwards"]);
    of(&[capture(0, 0), capture(9000, 9000), capture(8000, 9999)], &["captures[2]", "core:sample_start 8000"]);
    of(&[capture(5, 0)], &["captures[0]", "core:sample_start 5"]);
}

/// Moves all times of a copy by so many samples.
fn shift(copy: &Copy, by: u64) {
    for pair in copy.pairs() {
        copy.change(&pair, |meta| {
            let index = &mut meta["captures"][0]["core:global_index"];
            *index = (index.as_u64().unwrap() + by).into();
        });
    }
    let path = copy.path("frames.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    let moved = lines.lines().map(|line| {
        let mut message: Value = serde_json::from_str(line).unwrap();
        move_times(&mut message, by);
        message.to_string() + "\n"
    });
    fs::write(path, moved.collect::<String>()).unwrap();
}

fn move_times(value: &mut Value, by: u64) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_u64().filter(|_| key == "sample_time") {
                    Some(time) => *value = (time + by).into(),
                    None => move_times(value, by),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| move_times(value, by)),
        _ => {}
    }
}

#[test]
fn times_are_exact_up_to_the_last_ones_that_are_accepted() {
    // 2^53 + 1 is the first whole number that a 64-bit float misses; 2^62 is far beyond; the last lies 2^32 below 2^63.
    for by in [(1 << 53) + 1, 1_700_000_000_000_000_123, 1 << 62, (1 << 63) - (1 << 33)] {
        let copy = Copy::new();
        shift(&copy, by);
        assert_same(&copy.report().0, 1e-6);
    }
}

#[test]
fn a_gap_of_any_length_is_jumped_and_times_beyond_the_last_are_refused() {
    let samples = Copy::new().samples(PAIR).len() as u64 / CHANNELS;
    let second = |index: u64| json!({ "core:sample_start": samples / 2, "core:global_index": index });
    let copy = Copy::new();
    copy.change("air", |meta| meta["captures"].as_array_mut().unwrap().push(second(1 << 62)));
    // What comes after the gap is found again by its preambles; a frame or two are lost to the gap and the search.
    let (report, _) = copy.report();
    assert!(report["frames_decoded"].as_u64().unwrap() >= 9, "{}", report["frames_decoded"]);
    Copy::refuses(
        |meta| meta["captures"].as_array_mut().unwrap().push(second((1 << 63) - 1)),
        &["captures[1]", "core:global_index 9223372036854775807"],
    );
}

#[test]
fn samples_that_are_no_numbers_are_counted_and_named_and_the_rest_is_found() {
    let copy = Copy::new();
    let first = copy.meta("air")["captures"][0]["core:global_index"].as_u64().unwrap();
    let mut bytes = fs::read(copy.path("air.sigmf-data")).unwrap();
    let mut put = |row: u64, sample: u64, value: f32| {
        let at = (8 * (CHANNELS * sample + row)) as usize;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(1, 9000, f32::NAN);
    put(1, 9001, f32::INFINITY);
    put(3, 70, f32::NEG_INFINITY);
    copy.write_data("air", &bytes);
    copy.change("air", |_| {});
    let (report, said) = copy.report();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("no finite numbers")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    let named = format!("row 1: 2, the first at sample {}; row 3: 1, the first at sample {}", first + 9000, first + 70);
    assert!(lines[0].contains(&named) && lines[0].contains("air.sigmf-data"), "{said}");
    // Three samples of thirty thousand are zeros: no frame is lost, and the position of that one may be refused.
    let [found, expected] = [&report, &good().1].map(|report| report["target"]["frames"].as_u64().unwrap());
    assert!(found + 1 >= expected, "{found} of {expected}");
    assert_eq!(report["frames_decoded"], good().1["frames_decoded"]);
    for axis in 0..2 {
        let of = |report: &Value| report["target"]["estimate_m"][axis].as_f64().unwrap();
        assert!((of(&report) - of(&good().1)).abs() <= 1e-2, "axis {axis}");
    }
}

#[test]
fn good_samples_without_a_frame_that_was_sent_are_refused() {
    let copy = Copy::new();
    fs::write(copy.path("frames.jsonl"), "").unwrap();
    copy.refused(&["frames.jsonl", "no frame"]);
}

#[test]
fn a_plan_of_other_antennas_or_of_a_model_that_is_not_there_is_refused() {
    for (file, change) in [
        ("frames.jsonl", (|plan| drop(plan["beams"]["w_c"].as_array_mut().unwrap().pop())) as fn(&mut Value)),
        ("frames.jsonl", |plan| plan["model"] = 77.into()),
        ("outcome.json", |plan| {
            for beam in ["w_c", "w_0"] {
                drop(plan["beams"][beam].as_array_mut().unwrap().pop());
            }
        }),
        ("outcome.json", |plan| plan["model"] = 77.into()),
    ] {
        let copy = Copy::new();
        let text = fs::read_to_string(copy.path(file)).unwrap();
        let changed = match file {
            "outcome.json" => {
                let mut outcome: Value = serde_json::from_str(&text).unwrap();
                change(&mut outcome["plan"]);
                outcome.to_string()
            }
            _ => {
                let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                change(find_plan(&mut lines[0]).expect("the first line is a plan"));
                lines.iter().map(|line| line.to_string() + "\n").collect()
            }
        };
        fs::write(copy.path(file), changed).unwrap();
        copy.refused(&[file, "a plan with", "accepted"]);
    }
}

/// The object with beams in a message.
fn find_plan(value: &mut Value) -> Option<&mut Value> {
    if value.get("beams").is_some() {
        return Some(value);
    }
    value.as_object_mut()?.values_mut().find_map(find_plan)
}

/// What a run leaves whose process is killed: whole files, or files under temporary names.
fn assert_whole(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let text = || fs::read_to_string(entry.path()).unwrap();
        if name.starts_with(".issc-") && name.contains(".part") {
            continue;
        }
        match entry.path().extension().and_then(std::ffi::OsStr::to_str) {
            Some("json" | "sigmf-meta") => drop(serde_json::from_str::<Value>(&text()).expect(&name)),
            Some("toml") => drop(text().parse::<toml::Table>().expect(&name)),
            Some("png") => drop(image::open(entry.path()).expect(&name)),
            // Lines and samples that grow; what reads them takes the whole ones.
            Some("jsonl" | "sigmf-data") => {}
            _ => panic!("{name} is not expected"),
        }
    }
}

#[test]
fn a_recording_whose_process_was_killed_at_any_moment_replays_what_was_recorded_until_then() {
    let mut replayed = 0;
    for milliseconds in [30, 100, 300, 1000, 2000, 3500] {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(place("seen")).unwrap();
        let mut run = Command::new(env!("CARGO_BIN_EXE_issc"))
            .args(["run", "--json", "--frames", "1000000", "--record", &place("r")])
            .args(["--received", &place("seen/picture.png")])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill().unwrap();
        run.wait().unwrap();
        assert_whole(&folder.path().join("seen"));
        if Path::new(&place("r")).exists() {
            assert_whole(&folder.path().join("r"));
        }
        let output = issc(&["run", "--json", "--replay", &place("r")]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {
                let report: Value = serde_json::from_slice(&output.stdout).unwrap();
                let sent = report["frames_sent"].as_u64().unwrap();
                assert!(said.contains(&format!("the recording was not finished: {sent} frames")), "{said}");
                replayed += u64::from(sent > 0 && report["frames_decoded"].as_u64().unwrap() > 0);
            }
            // Before the first frame there is nothing to play.
            Some(2) => assert_eq!(said.trim().lines().count(), 1, "{said}"),
            other => panic!("{other:?} after {milliseconds} ms: {said}"),
        }
    }
    assert!(replayed >= 2, "{replayed} of six had frames in them");
}

#[test]
fn where_the_disk_takes_no_more_the_run_ends_with_1_and_what_is_there_replays() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r").to_str().unwrap().to_owned();
    // Writing beyond the limit of a file's size, 4 MB, fails as on a full disk.
    let script = r#"trap '' XFSZ; ulimit -f 4096; exec "$0" run --json --frames 1000000 --record "$1""#;
    let output = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_issc"), &place]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| line.contains("the recording is not whole")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert_whole(Path::new(&place));
    let replay = issc(&["run", "--json", "--replay", &place]);
    let said = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert!(replay.status.success() && said.contains("the recording was not finished"), "{said}");
    let report: Value = serde_json::from_slice(&replay.stdout).unwrap();
    assert!(report["frames_decoded"].as_u64().unwrap() > 0);
}

#[test]
fn what_is_written_is_valid_to_the_python_package_of_sigmf() {
    let copy = Copy::new();
    let meta = copy.meta(PAIR);
    for key in ["issc:device", "issc:gain_db", "issc:calibration"] {
        assert!(meta["global"].as_object().unwrap().contains_key(key), "{key} is named, null without a radio");
    }
    let path = copy.path("air.sigmf-meta");
    match Command::new("sigmf_validate").arg(&path).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped: sigmf_validate is not installed"),
    }
}

/// Mutates metadata and holds the program to it: right, or refused in one line; never a panic, a hang or memory by a number.
#[test]
fn three_hundred_mutated_metadata_files_are_read_or_refused() {
    let copy = Copy::new();
    let whole = fs::read(copy.path("air.sigmf-meta")).unwrap();
    let path = copy.path("air.sigmf-meta");
    let mut rng = Rng::seed_from_u64(19);
    let mut read = 0;
    for _ in 0..300 {
        let mutated = mutations::metadata(&whole, &mut rng);
        fs::write(&path, &mutated).unwrap();
        match issc::recording::SampleReader::open(&path, 2048) {
            Ok(mut reader) => {
                read += 1;
                let mut frame = issc::stream::Frame::new(reader.channels(), 2048);
                while let Ok(true) = reader.read(&mut frame) {}
            }
            Err(error) => {
                assert_eq!(error.to_string().lines().count(), 1, "{error}");
                assert_eq!(error.exit_status(), 2, "{error}");
            }
        }
    }
    assert!((1..300).contains(&read), "{read} were read");
}

/// Changes the samples of channel `row` from sample `from` of the file on: `change` is given the row's samples.
fn change_row(copy: &Copy, row: usize, from: usize, change: impl FnOnce(&mut [Complex32])) {
    let channels = CHANNELS as usize;
    let mut samples = copy.samples(PAIR);
    let mut own: Vec<_> = samples.iter().skip(row).step_by(channels).copied().collect();
    change(&mut own[from..]);
    samples.iter_mut().skip(row).step_by(channels).zip(own).for_each(|(to, sample)| *to = sample);
    let bytes: Vec<u8> = samples.iter().flat_map(|z| [z.re.to_le_bytes(), z.im.to_le_bytes()].concat()).collect();
    copy.write_data(PAIR, &bytes);
    copy.change(PAIR, |_| {});
}

/// Root mean square of a row.
fn rms(row: &[Complex32]) -> f32 {
    (row.iter().map(|z| z.norm_sqr()).sum::<f32>() / row.len() as f32).sqrt()
}

/// The sensing receiver's figures of a replay.
fn array_of(report: &Value) -> &Value {
    let receivers = report["receivers"].as_array().unwrap();
    receivers.iter().find(|receiver| receiver["kind"] == "sensing").unwrap()
}

#[test]
fn a_row_of_the_array_that_is_not_as_the_others_are_is_named_and_gives_no_wrong_position() {
    type Change = fn(&mut [Complex32]);
    let turned: Change = |row| row.iter_mut().for_each(|z| *z *= Complex32::I);
    let conjugated: Change = |row| row.iter_mut().for_each(|z| *z = z.conj());
    let late: Change = |row| row.rotate_right(1);
    let real: Change = |row| row.iter_mut().for_each(|z| z.im = 0.0);
    let dead: Change = |row| row.fill(Complex32::default());
    let samples = Copy::new().samples(PAIR).len() / CHANNELS as usize;
    for (name, fault, from, change) in [
        ("phase", "phase", 0, turned),
        ("conjugated", "conjugated", 0, conjugated),
        ("late", "late", samples / 2, late),
        ("poor-fit", "no-quadrature", 0, real),
        ("dead", "dead", 0, dead),
    ] {
        // Channel 0 is the communication receiver's.
        for row in [0, 2] {
            let copy = Copy::new();
            change_row(&copy, row + 1, from, change);
            let (report, _) = copy.report();
            let figures = array_of(&report);
            let refused = figures["targets"][0]["refused"][name].as_u64().unwrap_or(0);
            let (least, most_located) = if from == 0 { (11, 1) } else { (5, 7) };
            assert!(refused >= least, "row {row}, {fault}: {figures}");
            let named = json!({ "row": row, "fault": fault, "frames": refused });
            assert!(figures["row_faults"].as_array().unwrap().contains(&named), "row {row}: {figures}");
            let target = &report["target"];
            assert!(target["frames"].as_u64().unwrap() <= most_located, "row {row}, {fault}: {target}");
            // Where it still was right, so is the position: 6.7 mm is the bound.
            let rmse_m = target["rmse_m"].as_f64().unwrap_or(0.0);
            assert!(rmse_m < 0.03, "row {row}, {fault}: {target}");
        }
    }
}

#[test]
fn a_constant_in_a_row_is_named_and_left_out() {
    let copy = Copy::new();
    change_row(&copy, 2, 0, |row| {
        let constant = Complex32::new(0.3, 0.4) * rms(row);
        row.iter_mut().for_each(|z| *z += constant);
    });
    let (report, _) = copy.report();
    let figures = array_of(&report);
    let frames = report["target"]["frames"].as_u64().unwrap();
    assert!(frames >= 11, "{}", report["target"]);
    assert!(report["target"]["rmse_m"].as_f64().unwrap() < 0.03, "{}", report["target"]);
    assert_eq!(figures["row_faults"], json!([{ "row": 1, "fault": "constant", "frames": frames }]));
}
