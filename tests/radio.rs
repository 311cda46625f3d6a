//! Radios: everything here goes through libSoapySDR to the virtual radio, by the code that drives any other.
#![cfg(feature = "soapy")]

#[path = "radio/calibration.rs"]
mod calibration;
#[path = "radio/devices.rs"]
mod devices;
#[path = "radio/findings.rs"]
mod findings;
#[path = "radio/reception.rs"]
mod reception;
#[path = "radio/safety.rs"]
mod safety;
#[path = "radio/timeline.rs"]
mod timeline;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use issc::blocks::{Context, Kind};
use issc::channel::RECEIVE_LAG;
use issc::control::parse_at;
use issc::modem::frame::{HeaderLength, Layout};
use issc::stream::{Block, Flow, Frame, Shape, Stage, erase};
use issc::system::{RadioSettings, Setting, System, SystemSpec};
use num_complex::Complex32;
use serde_json::Value;

const VIRTUAL: &str = include_str!("../flowgraphs/virtual.toml");
const PROFILE: &str = include_str!("../hardware/profiles/virtual.toml");
const BANDS: &str = "hardware/virtual-bands.toml";

fn issc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts")
}

fn report(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// `issc run` on the virtual radio, with permission.
fn run_virtual(arguments: &[&str]) -> Output {
    let mut all = vec!["run", "flowgraphs/virtual.toml", "--transmit", "--bands", BANDS, "--json"];
    all.extend_from_slice(arguments);
    issc(&all)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// What the radio's line on standard error says of a count.
fn count(output: &Output, name: &str) -> u64 {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = stderr.lines().find(|line| line.contains(" bursts, ")).unwrap_or_else(|| panic!("{stderr}"));
    let item = line.split([',', ':']).map(str::trim).find_map(|item| item.strip_suffix(name)).expect(name);
    item.trim().parse().unwrap()
}

/// A folder with a profile and a flowgraph of its own, from the shipped ones by replacement.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(profile: &[(&str, &str)], flowgraph: &[(&str, &str)]) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let replace = |text: &str, pairs: &[(&str, &str)]| {
            pairs.iter().fold(text.to_owned(), |text, (from, to)| {
                assert!(text.contains(from), "{from}");
                text.replace(from, to)
            })
        };
        std::fs::write(bench.path("profile.toml"), replace(PROFILE, profile)).unwrap();
        let radio = format!("radio = \"{}\"", bench.path("profile.toml").display());
        let graph = replace(&VIRTUAL.replace("radio = \"virtual\"", &radio), flowgraph);
        std::fs::write(bench.path("flowgraph.toml"), graph).unwrap();
        bench
    }

    /// On the host's clock at 0.4 MS/s, with a watchdog of 300 ms.
    fn in_real_time(flowgraph: &[(&str, &str)]) -> Self {
        let profile = [
            ("tx_fifo=32768", "tx_fifo=16384,pace=wall"),
            ("lead_ms = 0.02", "lead_ms = 20.0"),
            ("watchdog_ms = 5000.0", "watchdog_ms = 300.0"),
            ("start_delay_ms = 0.1", "start_delay_ms = 100.0"),
        ];
        Self::new(&profile, flowgraph)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn journal(&self) -> String {
        std::fs::read_to_string(self.path("journal")).unwrap_or_default()
    }

    /// A system in this process by these options of `issc run`, with the journal kept.
    fn spec(&self, arguments: &[&str]) -> SystemSpec {
        let radios = RadioSettings {
            transmit: true,
            bands: Some(BANDS.into()),
            device: Some(format!("journal={}", self.path("journal").display())),
            ..RadioSettings::default()
        };
        let spec = SystemSpec::from_flowgraph(self.path("flowgraph.toml")).unwrap().radios(radios);
        arguments.chunks_exact(2).fold(spec, |spec, option| match option {
            ["--frames", count] => spec.frames(count.parse().unwrap()),
            ["--seconds", seconds] => spec.seconds(seconds.parse().unwrap()),
            ["--set", text] => spec.with(Setting::parse(text).unwrap()),
            ["--at", text] => {
                let (frame, command) = parse_at(text).unwrap();
                spec.at(frame, command)
            }
            other => panic!("{other:?}"),
        })
    }
}

const SLOW: [&str; 4] = ["--set", "scene.waveform.bandwidth_hz=2e5", "--set", "scene.channel.timing_error_std_s=5e-5"];

/// Asserts that a journal ends as a transmitter must: last sample zero, end acknowledged, all gains at their minimum.
fn assert_silent(journal: &str) {
    let lines: Vec<_> = journal.lines().collect();
    assert!(!journal.contains("tx-cut"), "no burst was cut: {lines:?}");
    let end = lines.iter().rposition(|line| line.starts_with("tx-end")).expect("a burst has ended");
    assert_eq!(lines[end], "tx-end last 0.000000");
    assert!(lines[end..].contains(&"tx-acknowledged"), "{:?}", &lines[end..]);
    for channel in 0..4 {
        let gain = lines.iter().rfind(|line| line.starts_with(&format!("tx-gain {channel} "))).unwrap();
        assert_eq!(*gain, format!("tx-gain {channel} -90.000000"));
    }
}

#[test]
fn the_results_over_the_radio_equal_those_in_process() {
    let radio = report(&run_virtual(&["--frames", "240"]));
    let process = report(&issc(&["run", "flowgraphs/loopback.toml", "--frames", "240", "--json"]));
    for report in [&radio, &process] {
        assert_eq!(report["frames_sent"], 240);
        assert!(number(&report["block_error_rate"]) <= 1e-2, "{}", report["block_error_rate"]);
        let images = report["images"].as_array().unwrap();
        let whole = images.iter().filter(|image| image["equals_error_free"] == true).count();
        assert!(images.len() >= 20 && 5 * whole >= 4 * images.len(), "{whole} of {}", images.len());
        let target = &report["target"];
        assert_eq!((&target["outliers"], &target["no_position"]), (&Value::from(0), &Value::from(0)), "{target}");
        // The root of a mean square over 240 frames of two coordinates scatters by at most 1/√480; four of them.
        let ratio = number(&target["rmse_m"]) / number(&target["hcrb_rmse_m"]);
        assert!((ratio - 1.0).abs() < 4.0 / 480f64.sqrt(), "{ratio}");
    }
    let sinr = |report: &Value| number(&report["sinr_db"]["measured"]);
    assert!((sinr(&radio) - sinr(&process)).abs() < 0.3, "{} dB, {} dB", sinr(&radio), sinr(&process));
    assert_eq!((&radio["overflows"], &radio["underflows"]), (&Value::from(0), &Value::from(0)));
}

#[test]
fn faults_of_the_device_are_counted_and_what_follows_is_received() {
    // Fault, its counter, frames that it may cost.
    for (fault, counter, cost) in [
        ("late@0", "late", 2),
        ("underflow@150000", "underflows", 3),
        ("overflow@150000", "overflows", 3),
        ("gap@150000", "gaps", 3),
        ("short@150000", "", 0),
    ] {
        let output = run_virtual(&["--frames", "96", "--device", &format!("inject={fault}")]);
        let report = report(&output);
        let decoded = report["frames_decoded"].as_u64().unwrap();
        assert!(decoded >= 96 - cost, "{fault}: {decoded} of 96 frames");
        let counted: u64 = ["late", "underflows", "overflows", "gaps"].iter().map(|name| count(&output, name)).sum();
        match counter {
            "" => assert_eq!(counted, 0, "{fault}"),
            counter => assert_eq!(count(&output, counter), 1, "{fault}"),
        }
        let target = &report["target"];
        assert!(
            target["frames"].as_u64().unwrap() + cost >= 96 && number(&target["outliers"]) <= cost as f64,
            "{target}"
        );
        if ["late", "underflows"].contains(&counter) {
            // What was not sent is not looked for.
            let sought = target["frames"].as_u64().unwrap() + target["no_position"].as_u64().unwrap();
            assert_eq!(sought, 96 - count(&output, "frames left out"), "{fault}: {target}");
            assert!(count(&output, "frames left out") > 0);
        }
    }
}

#[test]
fn an_unplugged_device_is_a_clear_end() {
    let since = Instant::now();
    let output = run_virtual(&["--frames", "4000", "--device", "inject=unplug@150000"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("device is gone"));
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[test]
fn without_permission_no_transmitting_stream_is_opened() {
    let bench = Bench::new(&[], &[]);
    let journal = format!("journal={}", bench.path("journal").display());
    let nowhere = bench.path("nowhere.toml");
    std::fs::write(&nowhere, include_str!("../hardware/bands.toml")).unwrap();
    let beside = bench.path("beside.toml");
    let entry = "[[allow]]\nname = \"beside\"\nmin_hz = 5.1e9\nmax_hz = 5.9e9\ncabled_max_dbm = 0.0\n";
    std::fs::write(&beside, entry).unwrap();
    let graph = "flowgraphs/virtual.toml";
    for (arguments, said) in [
        (vec!["run", graph, "--device", &journal, "--bands", BANDS], "--transmit"),
        (vec!["run", graph, "--device", &journal, "--transmit", "--bands", nowhere.to_str().unwrap()], "not allowed"),
        (vec!["run", graph, "--device", &journal, "--transmit", "--bands", beside.to_str().unwrap()], "not allowed"),
        (
            vec![
                "run",
                graph,
                "--device",
                &journal,
                "--transmit",
                "--bands",
                BANDS,
                "--set",
                "scene.constraints.power_dbm=9",
            ],
            "up to 5.00 dBm",
        ),
    ] {
        let output = issc(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said) && stderr.trim().lines().count() == 1, "{arguments:?}: {stderr}");
        assert!(!bench.journal().contains("tx-stream"), "{}", bench.journal());
    }
    // And with permission it is: the journal would have told.
    assert!(run_virtual(&["--frames", "2", "--device", &journal]).status.success());
    assert!(bench.journal().contains("tx-stream"));
}

#[test]
fn a_live_power_above_the_bands_limit_is_refused_with_the_sentence_of_the_start() {
    let output = run_virtual(&["--frames", "80", "--at", "40:power_dbm=8"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = "power_dbm = 8; accepted in band `";
    assert!(stderr.contains(said) && stderr.contains("with virtual: up to 5.00 dBm"), "{stderr}");
    let report = report(&output);
    let retunes = report["retunes"].as_array().unwrap();
    let power = retunes.iter().find(|retune| retune["cause"] == "power_dbm").unwrap();
    assert_eq!((&report["frames_sent"], &power["feasible"]), (&80.into(), &false.into()));
    assert_eq!(count(&output, "frames capped"), 0);
    // What was radiated is what the scene allows.
    assert!(number(&report["power_dbm"]["measured"]) < 0.5, "{}", report["power_dbm"]);
}

fn in_real_time(bench: &Bench) -> Child {
    let journal = format!("journal={}", bench.path("journal").display());
    let child = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(["run", bench.path("flowgraph.toml").to_str().unwrap(), "--transmit", "--bands", BANDS])
        .args(["--seconds", "60", "--json", "--device", &journal])
        .args(SLOW)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let full = "tx-gain 3 0.000000";
    wait_for(Duration::from_secs(20), || bench.journal().contains(full));
    std::thread::sleep(Duration::from_millis(500));
    child
}

fn wait_for(longest: Duration, ready: impl Fn() -> bool) -> Duration {
    let since = Instant::now();
    while !ready() {
        assert!(since.elapsed() < longest, "still not after {longest:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    since.elapsed()
}

#[cfg(unix)]
#[test]
fn an_interrupt_and_a_termination_silence_the_transmitter_within_a_second() {
    for signal in ["-INT", "-TERM"] {
        let bench = Bench::in_real_time(&[]);
        let child = in_real_time(&bench);
        assert!(!bench.journal().contains("tx-end"), "a burst is open: {}", bench.journal());
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let silent = || bench.journal().lines().filter(|line| line.ends_with(" -90.000000")).count() >= 12;
        let took = wait_for(Duration::from_secs(5), silent);
        assert!(took < Duration::from_secs(1), "{signal}: {took:?}");
        let output = child.wait_with_output().unwrap();
        assert!(number(&report(&output)["frames_sent"]) > 0.0);
        assert_silent(&bench.journal());
    }
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_turns_the_gains_down_at_once() {
    let bench = Bench::in_real_time(&[]);
    let mut child = in_real_time(&bench);
    for _ in 0..2 {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    }
    child.wait().unwrap();
    let journal = bench.journal();
    for channel in 0..4 {
        let gain = journal.lines().rfind(|line| line.starts_with(&format!("tx-gain {channel} "))).unwrap();
        assert!(gain.ends_with(" -90.000000"), "{gain}");
    }
}

/// Passes antenna samples on until frame [`TROUBLE`].
struct Troubled {
    trouble: fn(),
}

const TROUBLE: u64 = 30;

impl Block for Troubled {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        if input.head.sequence == TROUBLE {
            (self.trouble)();
        }
        output.copy_rows(input, 0);
        Flow::Forward
    }
}

static STALLED: Mutex<Option<Instant>> = Mutex::new(None);

fn stalls(_: &mut Context, _: toml::Table) -> issc::Result<Box<dyn Stage>> {
    Ok(erase(Troubled {
        trouble: || {
            *STALLED.lock().unwrap() = Some(Instant::now());
            std::thread::sleep(Duration::from_secs(2));
        },
    }))
}

static PANICKED: Mutex<Option<Instant>> = Mutex::new(None);

fn panics(_: &mut Context, _: toml::Table) -> issc::Result<Box<dyn Stage>> {
    Ok(erase(Troubled {
        trouble: || {
            *PANICKED.lock().unwrap() = Some(Instant::now());
            panic!("a test's own panic");
        },
    }))
}

/// Waits until a journal's last burst has ended and been acknowledged, and all gains are at their minimum.
fn wait_for_silence(bench: &Bench) {
    wait_for(Duration::from_secs(5), || {
        let journal = bench.journal();
        let end = journal.rfind("tx-end").map_or("", |end| &journal[end..]);
        end.contains("tx-acknowledged") && (0..4).all(|channel| end.contains(&format!("tx-gain {channel} -90.000000")))
    });
}

const TRANSMIT_CHAIN: &str = "stages = [{ kind = \"soapy-sink\"";

#[test]
fn a_panic_before_or_beside_the_transmitter_silences_it() {
    let before = (TRANSMIT_CHAIN, "stages = [{ kind = \"panics\" }, { kind = \"soapy-sink\"");
    let beside =
        ("stages = [{ kind = \"frame-receiver\" }]", "stages = [{ kind = \"panics\" }, { kind = \"frame-receiver\" }]");
    for place in [before, beside] {
        let bench = Bench::in_real_time(&[place]);
        let mut arguments = vec!["--seconds", "60"];
        arguments.extend(SLOW);
        let system = System::build(bench.spec(&arguments).kind(Kind::new("panics", panics))).unwrap();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| system.start().unwrap().join().map(|_| ()));
            wait_for(Duration::from_secs(20), || PANICKED.lock().unwrap().is_some());
            wait_for_silence(&bench);
            let took = PANICKED.lock().unwrap().take().unwrap().elapsed();
            assert!(took < Duration::from_secs(1), "{took:?}");
            let error = run.join().unwrap().unwrap_err();
            assert!(error.to_string().contains("panicked"), "{error}");
        });
        assert_silent(&bench.journal());
    }
}

#[test]
fn a_stalled_writer_is_silenced_within_a_second_and_sends_again_when_it_goes_on() {
    let bench = Bench::in_real_time(&[(TRANSMIT_CHAIN, "stages = [{ kind = \"stalls\" }, { kind = \"soapy-sink\"")]);
    let mut arguments = vec!["--seconds", "2.5"];
    arguments.extend(SLOW);
    let system = System::build(bench.spec(&arguments).kind(Kind::new("stalls", stalls))).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| system.start().unwrap().join());
        wait_for(Duration::from_secs(20), || STALLED.lock().unwrap().is_some());
        wait_for_silence(&bench);
        let took = STALLED.lock().unwrap().unwrap().elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_silent(&bench.journal());
        let report = run.join().unwrap().unwrap();
        let figures = &report.figures;
        assert!(figures.underflows > 0 && figures.frames_decoded > TROUBLE, "{}", figures.frames_decoded);
    });
    assert_silent(&bench.journal());
}

#[test]
fn a_device_that_takes_nothing_more_ends_the_run_with_the_gains_down() {
    let bench = Bench::in_real_time(&[]);
    let device = format!("journal={},inject=stall@150000", bench.path("journal").display());
    let graph = bench.path("flowgraph.toml");
    let mut arguments = vec!["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--seconds", "60"];
    arguments.extend(["--device", &device]);
    arguments.extend(SLOW);
    let output = issc(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("check the transmitter"));
    let journal = bench.journal();
    for channel in 0..4 {
        let gain = journal.lines().rfind(|line| line.starts_with(&format!("tx-gain {channel} "))).unwrap();
        assert!(gain.ends_with(" -90.000000"), "{gain}");
    }
}

/// What the captures of this process heard: stream time of the first sample, rows.
static CAPTURED: Mutex<(u64, Vec<Vec<Complex32>>)> = Mutex::new((0, Vec::new()));

struct Capture;

impl Block for Capture {
    type In = Complex32;
    type Out = ();

    fn shape(&mut self, _: Shape) -> Result<Shape, String> {
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<Complex32>, _: &mut Frame<()>) -> Flow {
        let mut captured = CAPTURED.lock().unwrap();
        if captured.1.is_empty() {
            *captured = (input.head.sample_time, vec![Vec::new(); input.channels()]);
        }
        assert_eq!(input.head.sample_time, captured.0 + captured.1[0].len() as u64, "no gap");
        captured.1.iter_mut().enumerate().for_each(|(row, samples)| samples.extend_from_slice(input.row(row)));
        Flow::Consumed
    }
}

fn capture(_: &mut Context, _: toml::Table) -> issc::Result<Box<dyn Stage>> {
    Ok(erase(Capture))
}

/// Where each frame of a recorded run begins in the transmitter's samples, and the last one ends: by the layouts alone, with
/// headers as long as the plans say. A beam from one antenna is weak enough for the long ones.
fn frame_starts(recording: &Path, frames: u64) -> Vec<usize> {
    let text = std::fs::read_to_string(recording.join("frames.jsonl")).unwrap();
    let messages = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let plans: Vec<(u64, HeaderLength)> = messages
        .filter_map(|mut line| line["message"].get_mut("plan").map(Value::take))
        .map(|plan| (plan["from_frame"].as_u64().unwrap(), serde_json::from_value(plan["header"].clone()).unwrap()))
        .collect();
    let mut starts = vec![0];
    for frame in 0..frames {
        let (_, header) = plans.iter().rfind(|(from, _)| *from <= frame).unwrap();
        starts.push(starts[frame as usize] + 2 * Layout::of(frame, 4, *header).symbols());
    }
    let lengths = [HeaderLength::Short, HeaderLength::Long].map(|length| plans.iter().any(|(_, of)| *of == length));
    assert_eq!(lengths, [true; 2], "headers of both lengths were sent");
    starts
}

/// Weights that send everything from one antenna.
fn single_antenna(path: &Path, antenna: usize) {
    let beam = |amplitude: f64| (0..4).map(|n| [if n == antenna { amplitude } else { 0.0 }, 0.0]).collect::<Vec<_>>();
    std::fs::write(path, serde_json::json!({ "w_c": beam(0.025), "w_0": beam(0.01) }).to_string()).unwrap();
}

#[test]
fn ten_live_weights_change_the_antennas_at_the_exact_sample_of_their_frame() {
    let (profile, flowgraph) = (
        [
            ("rx=5,air=world", "rx=4,air=id"),
            ("[0, 1, 2, 3, 4]", "[0, 1, 2, 3]"),
            ("latency_samples = 1024", "latency_samples = 0"),
            ("full_scale_dbm = 10.0", "full_scale_dbm = 10.0\nformat = \"CF32\""),
            ("full_scale_dbm = 20.0", "full_scale_dbm = 10.0\nformat = \"CF32\""),
        ],
        [("from = \"radio-receiver\"\nfirst_row = 0\nrows = 1\n", "from = \"radio-receiver\"\n")],
    );
    let mut flowgraph = flowgraph.to_vec();
    let receivers = VIRTUAL.find("stages = [{ kind = \"frame-receiver\" }]").unwrap();
    flowgraph.push((&VIRTUAL[receivers..], "stages = [{ kind = \"capture\" }]\n"));
    let bench = Bench::new(&profile, &flowgraph);
    let weights = [0, 1].map(|antenna| {
        let path = bench.path(&format!("antenna{antenna}.json"));
        single_antenna(&path, antenna);
        path.display().to_string()
    });
    // Frames without a sounding, in which every antenna sends.
    let frames = [5, 12, 20, 27, 35, 42, 50, 57, 70, 77];
    let updates: Vec<_> =
        frames.iter().zip(0..).map(|(frame, n)| format!("{frame}:weights=@{}", weights[n % 2])).collect();
    let mut arguments = vec!["--frames", "90"];
    updates.iter().for_each(|update| arguments.extend(["--at", update]));
    let recording = bench.path("recording");
    let spec = bench.spec(&arguments).kind(Kind::new("capture", capture)).record(&recording);
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    assert_eq!(report.figures.frames_sent, 90);
    let (origin, rows) = std::mem::take(&mut *CAPTURED.lock().unwrap());
    let starts = frame_starts(&recording, 90);
    let start = |frame: u64| RECEIVE_LAG + starts[frame as usize] - origin as usize;
    for (frame, n) in frames.into_iter().zip(0..) {
        let (old, new) = (&rows[(n + 1) % 2], &rows[n % 2]);
        let (before, at, after) = (start(frame - 1), start(frame), start(frame + 1));
        let sends = |samples: &[Complex32]| samples.iter().position(|sample| sample.norm() > 0.0);
        if n > 0 {
            assert_eq!(sends(&new[before + 64..at]), None, "frame {frame}: nothing before its first sample");
        }
        assert_eq!(sends(&new[at..]), Some(0), "frame {frame}: its first sample is the new antenna's");
        assert!(sends(&old[at - 4..at]).is_some(), "frame {frame}: the old antenna sent until then");
        assert_eq!(sends(&old[at + 64..after]), None, "frame {frame}: after its last pulse the old antenna is silent");
    }
}

/// Mean power of each antenna in frames of a recorded antenna stream, preambles and soundings left out.
fn antenna_powers(samples: &[Complex32], origin: usize, starts: &[usize]) -> Vec<[f64; 4]> {
    let ends = starts[1..].iter().map(|end| RECEIVE_LAG + end - origin);
    ends.map(|end| {
        let payload = end - 2048..end - 128;
        std::array::from_fn(|antenna| {
            let row = payload.clone().map(|n| f64::from(samples[4 * n + antenna].norm_sqr()));
            row.sum::<f64>() / payload.len() as f64
        })
    })
    .collect()
}

#[cfg(unix)]
#[test]
fn ten_live_commands_by_the_socket_take_effect_at_the_frame_that_they_name() {
    let profile = [
        ("rx=5,air=world", "rx=4,air=id"),
        ("[0, 1, 2, 3, 4]", "[0, 1, 2, 3]"),
        ("latency_samples = 1024", "latency_samples = 0"),
        ("full_scale_dbm = 20.0", "full_scale_dbm = 10.0\nformat = \"CF32\""),
    ];
    let receivers = VIRTUAL.find("[[chain]]\nname = \"communication-receiver\"").unwrap();
    let discard = "[[chain]]\nname = \"nobody\"\nfrom = \"radio-receiver\"\nstages = [{ kind = \"discard\" }]\n";
    let bench = Bench::new(&profile, &[(&VIRTUAL[receivers..], discard)]);
    let [graph, control, recording] =
        ["flowgraph.toml", "c.sock", "recording"].map(|name| bench.path(name).display().to_string());
    let weights = [0, 1].map(|antenna| {
        let path = bench.path(&format!("antenna{antenna}.json"));
        single_antenna(&path, antenna);
        format!("weights=@{}", path.display())
    });
    let child = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(["run", &graph, "--transmit", "--bands", BANDS, "--json", "--control", &control])
        .args(["--record", &recording, "--pace", "0.0017", "--frames", "2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(Duration::from_secs(20), || std::os::unix::net::UnixStream::connect(&control).is_ok());
    let [first, second] = &weights;
    let commands = ["power_dbm=-1", first, second, first, second, "weights=auto", "power_dbm=0", first, second, first];
    let frames = commands.map(|command| {
        let answer = issc(&["set", "--control", &control, "--json", command]);
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{command}: {said}"));
        assert_eq!(answer["accepted"], true, "{command}: {answer}");
        answer["frame"].as_u64().unwrap()
    });
    std::thread::sleep(Duration::from_millis(500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let sent = report(&child.wait_with_output().unwrap())["frames_sent"].as_u64().unwrap();
    assert!(sent > frames[9] + 1, "{sent} frames, the last command at {}", frames[9]);
    let meta = std::fs::read_to_string(bench.path("recording/radio-receiver.sigmf-meta")).unwrap();
    let meta: Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(meta["captures"].as_array().unwrap().len(), 1, "no gap");
    let bytes = std::fs::read(bench.path("recording/radio-receiver.sigmf-data")).unwrap();
    let floats: Vec<_> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let samples: Vec<_> = floats.chunks_exact(2).map(|pair| Complex32::new(pair[0], pair[1])).collect();
    let origin = meta["captures"][0]["core:global_index"].as_u64().unwrap() as usize;
    let powers = antenna_powers(&samples, origin, &frame_starts(Path::new(&recording), sent));
    let total = |frame: u64| powers[frame as usize].iter().sum::<f64>();
    let alone = |frame: u64, antenna: usize| powers[frame as usize][antenna] > 0.99 * total(frame);
    for (command, frame) in commands.iter().zip(frames) {
        let change = 10.0 * (total(frame) / total(frame - 1)).log10();
        match *command {
            "power_dbm=-1" => assert!((change + 1.0).abs() < 0.3, "{change} dB at frame {frame}"),
            "power_dbm=0" => assert!((change - 1.0).abs() < 0.3, "{change} dB at frame {frame}"),
            "weights=auto" => assert!(alone(frame - 1, 1) && !alone(frame, 1), "frame {frame}"),
            weights => {
                let antenna = usize::from(weights == second.as_str());
                assert!(alone(frame, antenna) && !alone(frame - 1, antenna), "{weights} at frame {frame}");
            }
        }
    }
}

/// `issc calibrate` on a profile, with permission.
fn calibrate(profile: &str, mode: &str, device: &str, more: &[&str]) -> Output {
    let mut all =
        vec!["calibrate", "--profile", profile, "--calibrate", mode, "--transmit", "--bands", BANDS, "--json"];
    all.extend(["--device", device]);
    all.extend_from_slice(more);
    issc(&all)
}

/// Angle between two phases, folded to ±180°.
fn turn_deg(a: f64, b: f64) -> f64 {
    (a - b + 540.0).rem_euclid(360.0) - 180.0
}

#[test]
fn calibration_through_cables_finds_the_gains_phases_and_delays_that_are_there() {
    let tx = [[0.0, 0.0, 0.0], [1.5, 40.0, 0.02], [-2.0, -100.0, -0.0], [0.3, 170.0, 0.03]];
    let rx = [[0.0, 0.0, 0.0], [-1.0, 10.0, 0.01], [0.5, -75.0, 0.0], [2.0, 120.0, 0.04], [0.0, -179.0, 0.0]];
    let text = |errors: &[[f64; 3]]| {
        errors.iter().map(|[gain, phase, delay]| format!("{gain}/{phase}/{delay}")).collect::<Vec<_>>().join("+")
    };
    for (noise, phase_deg, gain_db) in [("0", 0.1, 0.01), ("1e-3", 0.3, 0.05)] {
        let device = format!("air=sum,noise={noise},tx_errors={},rx_errors={}", text(&tx), text(&rx));
        let made = report(&calibrate("virtual", "cable", &device, &[]));
        for (side, truth) in [("tx", &tx[..]), ("rx", &rx[..])] {
            for (offset, [gain, phase, delay]) in made[side].as_array().unwrap().iter().zip(truth) {
                assert!((number(&offset["gain_db"]) - gain).abs() < gain_db, "{side} {offset}");
                assert!(turn_deg(number(&offset["phase_deg"]), *phase).abs() < phase_deg, "{side} {offset}");
                assert!((number(&offset["delay_samples"]) - delay).abs() < 5e-3, "{side} {offset}");
            }
        }
    }
    let output = calibrate("virtual", "cable", "air=sum,tx_errors=0/0/0+0/0/0.4", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("TX channel 1 is 0.400 samples off"));
}

/// The virtual radio with new phases after each tuning.
fn with_random_phases() -> Bench {
    let profile = [
        ("air=world", "air=world,retune=random"),
        ("phase_after_retune = \"fixed\" ", "phase_after_retune = \"random\" "),
    ];
    Bench::new(&profile, &[])
}

#[test]
fn random_phases_are_found_within_half_a_degree_with_a_reflector_at_a_known_place() {
    let bench = with_random_phases();
    let profile = bench.path("profile.toml");
    for seed in ["seed=3", "seed=4"] {
        std::fs::remove_file(bench.path("journal")).ok();
        let device = format!("{seed},journal={}", bench.path("journal").display());
        let made = report(&calibrate(profile.to_str().unwrap(), "reference", &device, &[]));
        let journal = bench.journal();
        let phase = |side: &str, channel: usize| -> f64 {
            let line = journal.lines().rfind(|line| line.starts_with(&format!("phase {side} {channel} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        // RX channel 0 is not of the array: the array's first channel is the reference.
        for (side, first) in [("tx", 0), ("rx", 1)] {
            for offset in &made[side].as_array().unwrap()[first..] {
                let channel = offset["channel"].as_u64().unwrap() as usize;
                let truth = phase(side, channel) - phase(side, first);
                let error = turn_deg(number(&offset["phase_deg"]), truth);
                assert!(error.abs() <= 0.5, "{side} {channel}: {error}°");
            }
        }
    }
}

#[test]
fn sensing_is_refused_with_random_phases_and_is_at_the_bound_once_they_are_calibrated() {
    let bench = with_random_phases();
    let graph = bench.path("flowgraph.toml");
    let run_virtual = |more: &[&str]| {
        let mut all =
            vec!["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--json", "--frames", "1200"];
        all.extend_from_slice(more);
        issc(&all)
    };
    let refused = run_virtual(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("random after each tuning"));
    let report = report(&run_virtual(&["--calibrate", "reference"]));
    assert!(number(&report["block_error_rate"]) <= 1e-2, "{}", report["block_error_rate"]);
    let target = &report["target"];
    assert_eq!((&target["outliers"], &target["no_position"]), (&Value::from(0), &Value::from(0)), "{target}");
    // 1 200 positions scatter by 2 %, 240 would by 4.
    assert!(number(&target["rmse_m"]) <= 1.1 * number(&target["hcrb_rmse_m"]), "{target}");
}

#[test]
fn a_calibration_file_serves_the_device_it_was_made_on_until_it_expires() {
    let bench = Bench::new(&[], &[]);
    let errors = "tx_errors=0/0/0+1/50/0+-1/-60/0+0/150/0,rx_errors=0/0/0+0/0/0+1/80/0+0/-40/0+-1/20/0";
    let file = bench.path("calibration.toml");
    let file = file.to_str().unwrap();
    assert!(calibrate("virtual", "reference", errors, &["--out", file]).status.success());
    let arguments = ["--frames", "120", "--calibration", file, "--device", errors];
    let target = &report(&run_virtual(&arguments))["target"];
    assert_eq!(target["outliers"], 0, "{target}");
    assert!((0.8..=1.2).contains(&(number(&target["rmse_m"]) / number(&target["hcrb_rmse_m"]))), "{target}");
    // Another device, one whose phases are new, and a file that is too old.
    let other = format!("{errors},serial=7");
    let random = with_random_phases();
    let graph = random.path("flowgraph.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let old = bench.path("old.toml");
    let line = text.lines().find(|line| line.starts_with("created_unix_s")).unwrap();
    std::fs::write(&old, text.replace(line, "created_unix_s = 1700000000")).unwrap();
    let run = |graph: &str, file: &str, device: &str| {
        issc(&["run", graph, "--transmit", "--bands", BANDS, "--calibration", file, "--device", device])
    };
    for (output, said) in [
        (run("flowgraphs/virtual.toml", file, &other), "serial 7"),
        (run(graph.to_str().unwrap(), file, errors), "new with every opening"),
        (run("flowgraphs/virtual.toml", old.to_str().unwrap(), errors), "s old"),
    ] {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn a_probe_tries_ten_steps_and_writes_what_it_measured_into_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("measured.toml");
    let probe = |more: &[&str]| {
        let mut all = vec!["probe", "--profile", "virtual", "--json", "--write", written.to_str().unwrap()];
        all.extend_from_slice(more);
        issc(&all)
    };
    let passed = |probed: &Value| -> Vec<Option<bool>> {
        probed["steps"].as_array().unwrap().iter().map(|step| step["passed"].as_bool()).collect()
    };
    let all = ["--transmit", "--bands", BANDS, "--cabled"];
    let probed = report(&probe(&all));
    assert_eq!(passed(&probed).len(), 10);
    assert!(passed(&probed).iter().all(|step| *step == Some(true)), "{probed}");
    // In lockstep nothing is lost at any rate.
    let rates = probed["steps"][7]["found"].as_str().unwrap();
    assert!(rates.contains("800 MS/s: nothing lost"), "{rates}");
    let measured = &probed["measured"];
    assert_eq!(measured["mimo_needs_time"], true);
    assert_eq!((&measured["burst_acknowledged"], &measured["late_reported"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(
        (&measured["phase_after_retune"], &measured["latency_samples"]),
        (&Value::from("fixed"), &Value::from(0))
    );
    assert!(std::fs::read_to_string(&written).unwrap().contains("status = \"probed\""));
    // A device that cannot time its samples, with new phases each time; the written profile is read again.
    let mut odd = all.to_vec();
    odd.extend(["--device", "retune=random,quirks=no_rx_time"]);
    let odd: Value = serde_json::from_slice(&probe(&odd).stdout).unwrap();
    let measured = &odd["measured"];
    assert_eq!((&measured["rx_time"], &measured["phase_after_retune"]), (&Value::from(false), &Value::from("random")));
    assert!(std::fs::read_to_string(&written).unwrap().contains("rx_time = false"));
    let again = issc(&["probe", "--profile", written.to_str().unwrap(), "--json"]);
    let steps = passed(&report(&again));
    assert_eq!([steps[6], steps[8], steps[9]], [None; 3], "nothing is transmitted without --transmit");
}

#[test]
fn pictures_arrive_on_a_second_device_whose_clock_is_2_5_ppm_off() {
    let output =
        issc(&["run", "flowgraphs/two-radios.toml", "--transmit", "--bands", BANDS, "--json", "--frames", "240"]);
    let report = report(&output);
    assert_eq!(report["frames_sent"], 240);
    assert!(number(&report["block_error_rate"]) <= 1e-2, "{}", report["block_error_rate"]);
    let images = report["images"].as_array().unwrap();
    let whole = images.iter().filter(|image| image["equals_error_free"] == true).count();
    assert!(images.len() >= 20 && 5 * whole >= 4 * images.len(), "{whole} of {}", images.len());
    let sinr = &report["sinr_db"];
    assert!((number(&sinr["measured"]) - number(&sinr["predicted"])).abs() <= 0.3, "{sinr}");
    let target = &report["target"];
    assert_eq!((&target["outliers"], &target["no_position"]), (&Value::from(0), &Value::from(0)), "{target}");
}
