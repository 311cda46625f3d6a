//! Two hundred faults in each dialect of drivers, in real time at 2 MS/s: the transmitter goes on, nothing is sent at
//! another time than its own, and what is counted is what happened. A hundred restarts of reception, whose delays stay what
//! they were. A minute beside another program that takes a core. And receivers that are stopped for ten seconds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use issc::blocks::{Context, Kind};
use issc::modem::frame::{HeaderLength, Layout};
use issc::stream::{Block, Flow, Frame, Shape, Stage, erase};
use issc::system::{RadioSettings, Setting, System, SystemSpec};
use num_complex::Complex32;
use rustfft::FftPlanner;
use serde_json::{Value, json};

use super::Proof;
use super::processes::{SLOW, System as Processes, frames, in_real_time, report};

const RATE_HZ: f64 = 2e6;
/// Samples of a frame whose header is short.
const FRAME: i64 = 2 * Layout::plain(HeaderLength::Short).symbols() as i64;
const LEAD: i64 = 40_000;
const PACKET: i64 = 4096;

/// What may happen once, and how often each does.
const EACH: usize = 20;
const UHD: [&str; 10] = [
    "underflow",
    "late",
    "sequence",
    "tx_error",
    "overflow",
    "gap",
    "corruption",
    "late_command",
    "timeout",
    "garbage",
];
const BLADERF: [&str; 10] =
    ["underflow", "late", "slow", "tx_error", "overflow", "gap", "corruption", "late_command", "timeout", "garbage"];

/// Seconds from one fault to the next, and before the first.
const APART_S: f64 = 0.3;
const FIRST_S: f64 = 1.0;

/// A profile and a flowgraph of a transmitter and of samples that are taken and thrown away.
fn lay_out(folder: &Path, dialect: &str, rx: usize) {
    let channels = format!("{:?}", (0..rx).collect::<Vec<_>>());
    let replace = |text: &str, pairs: &[(&str, &str)]| {
        pairs.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    };
    let profile = replace(
        include_str!("../../hardware/profiles/virtual.toml"),
        &[
            ("tx_fifo=32768", &format!("tx_fifo=65536,pace=wall,slow_ms=5,dialect={dialect}")),
            ("lead_ms = 0.02", "lead_ms = 20.0"),
            ("watchdog_ms = 5000.0", "watchdog_ms = 300.0"),
            ("start_delay_ms = 0.1", "start_delay_ms = 20.0"),
            ("rx=5,air=world", &format!("rx={rx},air=sum")),
            ("[0, 1, 2, 3, 4]", &channels),
        ],
    );
    std::fs::write(folder.join("profile.toml"), profile).unwrap();
    let graph = include_str!("../../flowgraphs/virtual.toml");
    let receivers = graph.find("[[chain]]\nname = \"communication-receiver\"").unwrap();
    let radio = format!("radio = \"{}\"", folder.join("profile.toml").display());
    let discard = "[[chain]]\nname = \"nobody\"\nfrom = \"radio-receiver\"\nstages = [{ kind = \"discard\" }]\n";
    let graph = replace(graph, &[(&graph[receivers..], discard)]).replace("radio = \"virtual\"", &radio);
    std::fs::write(folder.join("flowgraph.toml"), graph).unwrap();
}

/// One dialect's run: what the device and the report say.
fn suffer(dialect: &str) -> Value {
    let (kinds, rx) = if dialect == "bladerf" { (BLADERF, 1) } else { (UHD, 4) };
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), dialect, rx);
    // One kind after the other, round and round.
    let faults: Vec<_> = (0..EACH * kinds.len())
        .map(|n| format!("{}@{}", kinds[n % kinds.len()], ((FIRST_S + APART_S * n as f64) * RATE_HZ) as i64))
        .collect();
    let seconds = FIRST_S + APART_S * faults.len() as f64 + 2.0;
    let journal = folder.path().join("journal");
    let output = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(["run", folder.path().join("flowgraph.toml").to_str().unwrap(), "--transmit", "--json"])
        .args(["--bands", "hardware/virtual-bands.toml", "--seconds", &seconds.to_string()])
        .args(["--device", &format!("journal={},inject={}", journal.display(), faults.join("+"))])
        .args(["--set", "scene.waveform.bandwidth_hz=1e6"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = stderr.lines().find(|line| line.contains(" bursts, ")).unwrap_or_else(|| panic!("{stderr}"));
    let counted: BTreeMap<String, u64> = line
        .rsplit(": ")
        .next()
        .unwrap()
        .split(", ")
        .map(|item| {
            let (count, name) = item.split_once(' ').unwrap();
            (name.to_owned(), count.parse().unwrap())
        })
        .collect();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let journal = std::fs::read_to_string(journal).unwrap();
    let numbers = |prefix: &str| -> Vec<Vec<i64>> {
        let lines = journal.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect()
    };
    let air = numbers("tx-air ");
    json!({
        "status": output.status.code(),
        "counted": counted,
        "frames_sent": report["frames_sent"],
        "frames_radiated": report["frames_radiated"],
        "silence": air.windows(2).map(|pair| pair[1][0] - pair[0][1]).max(),
        "displaced": numbers("tx-displaced ").iter().map(|line| line[0]).max().unwrap_or_default(),
    })
}

/// Restarts of reception, and samples between two of them at 0.4 MS/s.
const RESTARTS: usize = 100;
const BETWEEN: usize = 80_000;

/// What was received: stream time of each stretch and its samples on the first channel.
static HEARD: Mutex<Vec<(u64, Vec<Complex32>)>> = Mutex::new(Vec::new());

struct Keep;

impl Block for Keep {
    type In = Complex32;
    type Out = ();

    fn shape(&mut self, _: Shape) -> Result<Shape, String> {
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<Complex32>, _: &mut Frame<()>) -> Flow {
        let mut heard = HEARD.lock().unwrap();
        let time = input.head.sample_time;
        if heard.last().is_none_or(|(from, samples)| from + samples.len() as u64 != time) {
            heard.push((time, Vec::new()));
        }
        heard.last_mut().unwrap().1.extend_from_slice(input.row(0));
        Flow::Consumed
    }
}

fn keep(_: &mut Context, _: toml::Table) -> issc::Result<Box<dyn Stage>> {
    Ok(erase(Keep))
}

/// Samples of a preamble.
const WORD: usize = 512;

/// By how many samples `found` lags `known`, which it resembles: the slope of the phase between their spectra.
fn lag(found: &[Complex32], known: &[Complex32]) -> f64 {
    let fft = FftPlanner::new().plan_fft_forward(WORD);
    let [mut a, mut b] = [found, known].map(<[Complex32]>::to_vec);
    fft.process(&mut a);
    fft.process(&mut b);
    // Inside the pulse's band.
    let bins = || (-100i64..=100).map(|k| (k as f64, k.rem_euclid(WORD as i64) as usize));
    let cross: Vec<_> = bins().map(|(k, bin)| (k, a[bin] * b[bin].conj())).collect();
    let common: Complex32 = cross.iter().map(|(_, z)| z).sum();
    let (mut top, mut bottom) = (0.0, 0.0);
    for (k, z) in &cross {
        let weight = f64::from(z.norm());
        top += weight * k * f64::from((z * common.conj()).arg());
        bottom += weight * k * k;
    }
    -top / bottom * WORD as f64 / std::f64::consts::TAU
}

/// A hundred overflows of a driver that starts again by itself between two samples: the delays of what is received then.
fn restart() -> Value {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), "rfnoc", 4);
    let path = folder.path().join("flowgraph.toml");
    let graph = std::fs::read_to_string(&path).unwrap().replace("kind = \"discard\"", "kind = \"keep\"");
    // Beams that stay make preambles that stay.
    std::fs::write(&path, graph.replacen("frames = 240", "hold_beams = true", 1)).unwrap();
    let profile = folder.path().join("profile.toml");
    let text = std::fs::read_to_string(&profile).unwrap().replace("air=sum", "air=id");
    std::fs::write(&profile, text).unwrap();
    let faults: Vec<_> = (1..=RESTARTS).map(|n| format!("overflow@{}", 100_000 + n * BETWEEN)).collect();
    let seconds = (100_000 + (RESTARTS + 2) * BETWEEN) as f64 / 4e5;
    let radios = RadioSettings {
        transmit: true,
        bands: Some("hardware/virtual-bands.toml".into()),
        device: Some(format!("inject={}", faults.join("+"))),
        ..RadioSettings::default()
    };
    let spec = SystemSpec::from_flowgraph(&path).unwrap().radios(radios).seconds(seconds).kind(Kind::new("keep", keep));
    // Nearly all power goes into pictures: the sensing stream differs from frame to frame, and would be noise to a comparison.
    let settings = [
        "scene.waveform.bandwidth_hz=2e5",
        "scene.channel.timing_error_std_s=5e-5",
        "scene.constraints.hcrb_max_m2=1e12",
    ];
    let spec = settings.iter().fold(spec, |spec, text| spec.with(Setting::parse(text).unwrap()));
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    let heard = std::mem::take(&mut *HEARD.lock().unwrap());
    let first = heard
        .iter()
        .find_map(|(from, samples)| Some(from + samples.iter().position(|sample| sample.norm_sqr() > 0.0)? as u64));
    let first = first.expect("something is heard");
    let word = |at: u64| {
        heard.iter().find_map(|(from, samples)| {
            let start = usize::try_from(at.checked_sub(*from)?).ok()?;
            samples.get(start..start + WORD)
        })
    };
    let samples = |frame: u64| 2 * Layout::of(frame, 4, HeaderLength::Short).symbols() as u64;
    // Of the first frames some may have come too late for the device: which one is heard first is told by where preambles are.
    let beginning_with = |number: u64| {
        let mut starts = vec![first];
        for frame in number..report.figures.frames_sent {
            starts.push(starts[starts.len() - 1] + samples(frame));
        }
        starts
    };
    let alike = |starts: &[u64]| {
        let words: Vec<_> = starts.iter().skip(1).take(130).filter_map(|start| word(*start)).collect();
        let dot =
            |a: &[Complex32], b: &[Complex32]| a.iter().zip(b).map(|(a, b)| a * b.conj()).sum::<Complex32>().norm();
        words.iter().map(|word| dot(word, words[0]) / dot(words[0], words[0])).sum::<f32>()
    };
    let starts = (0..64).map(beginning_with).max_by(|a, b| alike(a).total_cmp(&alike(b))).expect("one of them");
    // The ramp is over by the second frame.
    let known = word(starts[1]).expect("a preamble").to_vec();
    let (mut after, mut all) = (Vec::new(), Vec::new());
    for pair in heard.windows(2) {
        let begin = pair[1].0;
        let Some(start) = starts.iter().find(|start| **start >= begin) else { continue };
        after.extend(word(*start).map(|found| lag(found, &known)));
    }
    all.extend(starts[1..].iter().filter_map(|start| word(*start)).map(|found| lag(found, &known)));
    let mean = |lags: &[f64]| lags.iter().sum::<f64>() / lags.len().max(1) as f64;
    let largest = |lags: &[f64]| lags.iter().map(|lag| lag.abs()).fold(0.0, f64::max);
    json!({
        "restarts": after.len(),
        "mean": mean(&after),
        "largest": largest(&after),
        "largest_of_all": largest(&all),
        "frames": all.len(),
    })
}

/// A flowgraph with all receivers behind the virtual radio, which keeps to the clock on the wall.
pub fn lay_out_in_real_time(folder: &Path) -> PathBuf {
    let profile = include_str!("../../hardware/profiles/virtual.toml")
        .replace("tx_fifo=32768", "tx_fifo=65536,pace=wall")
        .replace("lead_ms = 0.02", "lead_ms = 20.0")
        .replace("watchdog_ms = 5000.0", "watchdog_ms = 300.0")
        .replace("start_delay_ms = 0.1", "start_delay_ms = 50.0");
    std::fs::write(folder.join("profile.toml"), profile).unwrap();
    let radio = format!("radio = \"{}\"", folder.join("profile.toml").display());
    let graph = include_str!("../../flowgraphs/virtual.toml").replace("radio = \"virtual\"", &radio);
    // Behind a radio chains that are late drop frames.
    let graph: Vec<_> = graph.lines().filter(|line| !line.starts_with("link = \"wait\"")).collect();
    let path = folder.join("flowgraph.toml");
    std::fs::write(&path, graph.join("\n")).unwrap();
    path
}

/// A minute at 2 MS/s, all receivers and the simulated world in one process, while another program takes a core.
fn loaded() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = lay_out_in_real_time(folder.path());
    let events = folder.path().join("events.jsonl");
    // At the usual priority, whatever this proof runs at: the load of FIFO priority would never let go.
    let usual = |program: &str| {
        let mut command = Command::new("chrt");
        command.args(["--other", "0", program]);
        command
    };
    let mut load = usual("yes").stdout(Stdio::null()).spawn().expect("chrt, of util-linux, and yes");
    let doctor = Command::new(env!("CARGO_BIN_EXE_issc")).args(["doctor", "--json"]).output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let named = findings.iter().find(|finding| finding["check"] == "other load").cloned().unwrap_or_default();
    let mut child = usual(env!("CARGO_BIN_EXE_issc"))
        .args(["run", path.to_str().unwrap(), "--transmit", "--bands", "hardware/virtual-bands.toml", "--json"])
        .args(["--seconds", "60", "--events", events.to_str().unwrap()])
        .args(["--set", "scene.waveform.bandwidth_hz=1e6", "--set", "scene.channel.timing_error_std_s=1e-5"])
        .stdout(std::fs::File::create(folder.path().join("report")).unwrap())
        .stderr(std::fs::File::create(folder.path().join("said")).unwrap())
        .spawn()
        .unwrap();
    // How far what was received lies behind what was sent, in seconds of signal, now and then.
    let mut behind_s: Vec<f64> = Vec::new();
    let (mut read, mut sent_s, mut received_s) = (0, 0.0f64, 0.0f64);
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() && since.elapsed() < Duration::from_secs(180) {
        std::thread::sleep(Duration::from_millis(100));
        let Ok(text) = std::fs::read_to_string(&events) else { continue };
        for line in text[read..].lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let signal_s = event["signal_s"].as_f64().unwrap_or(0.0);
            match event["event"].as_str() {
                Some("sent") => sent_s = sent_s.max(signal_s),
                Some("received") => received_s = received_s.max(signal_s),
                _ => {}
            }
        }
        read = text.rfind('\n').map_or(0, |end| end + 1);
        if received_s > 0.0 {
            behind_s.push(sent_s - received_s);
        }
    }
    let status = child.wait().unwrap();
    load.kill().unwrap();
    load.wait().unwrap();
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("report")).unwrap()).unwrap_or_default();
    behind_s.sort_by(f64::total_cmp);
    json!({
        "status": status.code(),
        "doctor": named["found"],
        "doctor_ok": named["ok"],
        "wrong_blocks": report["undetected_blocks"],
        "latency_ms": report["latency_ms"],
        "block_error_rate": report["block_error_rate"],
        "frames_sent": report["frames_sent"],
        "frames_radiated": report["frames_radiated"],
        "frames_decoded": report["frames_decoded"],
        "dropped": report["dropped"],
        "behind_s": behind_s.last(),
        "behind_median_s": behind_s.get(behind_s.len() / 2),
    })
}

/// Three processes in real time, of which one receiver is stopped for ten seconds.
fn stopped(role: &str, event: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let graphs =
        ["transmitter", "communication-receiver", "sensing-receiver"].map(|role| in_real_time(folder.path(), role));
    let system = Processes::new();
    let [sends, hears, senses] = ["sent.jsonl", "received.jsonl", "sensed.jsonl"].map(path);
    let text = |path: &Path| path.display().to_string();
    let transmitter =
        system.start_on(&graphs[0], "", &[&["--seconds", "24", "--events", &text(&sends)], &SLOW[..]].concat());
    let communication = system.start_on(&graphs[1], "", &[&["--events", &text(&hears)], &SLOW[..]].concat());
    let sensing = system.start_on(&graphs[2], "", &[&["--events", &text(&senses)], &SLOW[..]].concat());
    let (own, process) = match role {
        "communication-receiver" => (&hears, &communication),
        _ => (&senses, &sensing),
    };
    let since = Instant::now();
    while frames(own, event).len() < 100 {
        assert!(since.elapsed() < Duration::from_secs(60), "{role} hears nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
    process.signal("-STOP");
    std::thread::sleep(Duration::from_secs(1));
    let before = *frames(own, event).iter().max().unwrap();
    std::thread::sleep(Duration::from_secs(9));
    // What is sent is a tenth of a second, 13 frames, before its time.
    let on_air = frames(&sends, "sent").iter().max().unwrap() - 13;
    process.signal("-CONT");
    let sent = report(&transmitter.output());
    report(&communication.output());
    report(&sensing.output());
    let heard = frames(own, event);
    json!({
        "frames_sent": sent["frames_sent"],
        "frames_radiated": sent["frames_radiated"],
        "before": before,
        "on_air": on_air,
        "again": heard.iter().filter(|frame| **frame > before + 500).min(),
        "after": heard.iter().filter(|frame| **frame > on_air + 50).count(),
    })
}

/// What a stop of either receiver must leave as it was.
fn prove_stops(proof: &mut Proof) {
    for (role, event) in [("communication-receiver", "received"), ("sensing-receiver", "detections")] {
        let found = proof.part(&format!("{role} stopped"), || stopped(role, event));
        let [sent, radiated, before, on_air, after] =
            ["frames_sent", "frames_radiated", "before", "on_air", "after"].map(|key| found[key].as_u64().unwrap_or(0));
        proof.claim(
            &format!("{role} stopped for 10 s: the transmitter goes on"),
            format!("frame {before} before, {on_air} on the air after it; {radiated} of {sent} radiated"),
            on_air > before + 900 && sent > 2500 && 10 * radiated >= 9 * sent,
        );
        let again = found["again"].as_u64();
        proof.claim(
            &format!("{role} stopped for 10 s: it hears again within 50 frames, and nine of ten frames from then on"),
            format!("frame {}; {after} of {} frames from then on", found["again"], sent.saturating_sub(on_air + 51)),
            again.is_some_and(|frame| frame <= on_air + 50) && 10 * after + 81 >= 9 * sent.saturating_sub(on_air + 51),
        );
    }
}

/// What a hundred restarts and a loaded core must leave as they were.
fn prove_the_rest(proof: &mut Proof) {
    let found = proof.part("restarts", restart);
    let number = |found: &Value, key: &str| found[key].as_f64().unwrap_or(f64::NAN);
    proof.claim(
        &format!("{RESTARTS} restarts of reception after an overflow: a delay bias of 0.05 samples at most"),
        format!(
            "{} restarts: {:.4} samples in the mean, {:.4} at most; {:.4} at most over all {} frames received",
            found["restarts"],
            number(&found, "mean"),
            number(&found, "largest"),
            number(&found, "largest_of_all"),
            found["frames"]
        ),
        number(&found, "restarts") >= RESTARTS as f64 && number(&found, "largest") <= 0.05,
    );
    let found = proof.part("loaded", loaded);
    proof.claim(
        "60 s at 2 MS/s beside a program that takes a core: the run ends in order, no wrong block",
        format!("exit status {}, {} wrong blocks", found["status"], found["wrong_blocks"]),
        found["status"] == 0 && found["wrong_blocks"] == 0,
    );
    let dropped = &found["dropped"];
    let [sent, radiated, decoded] =
        ["frames_sent", "frames_radiated", "frames_decoded"].map(|key| found[key].as_u64().unwrap_or(0));
    let counted: u64 = ["overload", "late", "gap"].iter().filter_map(|cause| dropped[*cause].as_u64()).sum();
    proof.claim(
        "what is not decoded is counted as dropped by its cause",
        format!("{decoded} of {sent} frames decoded, {radiated} radiated; dropped: {dropped}"),
        decoded > 0 && (sent - decoded <= 20 || counted > 0),
    );
    proof.claim(
        "latency bounded: never more than 2 s of signal behind what is sent",
        format!(
            "{:.3} s in the median, {:.3} s at most",
            number(&found, "behind_median_s"),
            number(&found, "behind_s")
        ),
        number(&found, "behind_s") <= 2.0,
    );
    proof.claim(
        "`issc doctor` names the load",
        found["doctor"].as_str().unwrap_or_default().to_owned(),
        found["doctor_ok"] == false && found["doctor"].as_str().is_some_and(|found| found.contains("cores taken")),
    );
}

pub fn prove(mut proof: Proof) {
    for dialect in ["rfnoc", "b2xx", "bladerf"] {
        let found = proof.part(dialect, || suffer(dialect));
        let number = |key: &str| found[key].as_i64().unwrap_or(-1);
        let (sent, radiated) = (number("frames_sent"), number("frames_radiated"));
        proof.claim(
            &format!("{dialect}: a run of 200 faults ends in order"),
            format!("exit status {}", found["status"]),
            found["status"] == 0,
        );
        proof.claim(
            &format!(
                "{dialect}: never silent for longer than lead, one frame and a packet, {} samples",
                LEAD + FRAME + PACKET
            ),
            format!("{} samples", number("silence")),
            (0..=LEAD + FRAME + PACKET).contains(&number("silence")),
        );
        proof.claim(
            &format!("{dialect}: 80 % of the frames radiated"),
            format!("{radiated} of {sent}"),
            sent > 0 && 10 * radiated >= 8 * sent,
        );
        // Where the device ran dry, the frames of the lead cannot go either.
        let dry = LEAD / FRAME + 3;
        let most = if dialect == "bladerf" { 2 * dry + 3 } else { 4 * 3 } * EACH as i64;
        proof.claim(
            &format!("{dialect}: the frames lost are those that faults touched and two more each, {most} at most"),
            format!("{}", sent - radiated),
            sent - radiated <= most,
        );
        proof.claim(
            &format!("{dialect}: nothing sent at another time than its own beyond one packet"),
            format!("{} samples of a burst", number("displaced")),
            number("displaced") <= PACKET,
        );
        let each = EACH as u64;
        let expected = match dialect {
            "bladerf" => vec![
                ("underflows", each),
                ("late", each),
                ("stream errors", 2 * each),
                ("lost packets", each),
                ("overflows", each),
                ("gaps", each),
                ("wrong times", each),
                ("restarts", 2 * each),
            ],
            _ => vec![
                ("underflows", each),
                ("late", each),
                ("stream errors", 2 * each),
                ("lost packets", 2 * each),
                ("overflows", each),
                ("gaps", each),
                ("wrong times", each),
                ("restarts", 3 * each),
            ],
        };
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(name, count)| found["counted"][*name] != *count)
            .map(|(name, count)| format!("{name} {} for {count}", found["counted"][*name]))
            .collect();
        proof.claim(
            &format!("{dialect}: what is counted is what was injected, each kind {EACH} times"),
            if wrong.is_empty() { "all".into() } else { wrong.join(", ") },
            wrong.is_empty(),
        );
    }
    prove_the_rest(&mut proof);
    prove_stops(&mut proof);
    proof.end();
}
