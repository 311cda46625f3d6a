//! A system as a program uses it: events, status, commands, faults.

use std::process::Command;
use std::time::{Duration, Instant};

use issc::Result;
use issc::blocks::{Context, Kind};
use issc::control::{Observation, Optimizer, Planned, Planner};
use issc::stream::{Block, Flow, Frame, Shape, Stage, erase};
use issc::system::{Event, State, System, SystemSpec};
use num_complex::Complex32;
use serde_json::Value;

fn loopback(frames: u64) -> SystemSpec {
    SystemSpec::shipped("loopback").unwrap().frames(frames)
}

#[test]
fn events_tell_every_frame_in_order_and_the_report_adds_them_up() {
    let run = System::build(loopback(200)).unwrap().start().unwrap();
    let events: Vec<_> = run.subscribe().collect();
    let report = run.join().unwrap();
    let (mut sent, mut received, mut located, mut epochs, mut pictures) = (vec![], vec![], vec![], vec![], 0);
    for event in events {
        match event {
            Event::Sent { frame, power_dbm, signal_s, .. } => {
                assert!(power_dbm < 1e-6 && signal_s >= 0.0);
                sent.push(frame);
            }
            Event::Received { frame, node, blocks_lost, sinr_db, .. } => {
                assert!(&*node == "communication-receiver" && blocks_lost == 0 && sinr_db.unwrap() > 5.0);
                received.push(frame);
            }
            Event::Detections { frame, node, detections, refused, .. } => {
                assert!(&*node == "sensing-receiver" && detections.len() == 1 && refused.is_none());
                let [x, y] = detections[0].position_m;
                assert!((x - 100.0).hypot(y - 50.0) < 0.1 && detections[0].covariance_m2[0][0] > 0.0);
                located.push(frame);
            }
            Event::Plan(plan) => epochs.push(plan.epoch),
            Event::Picture { .. } => pictures += 1,
            _ => {}
        }
    }
    let all: Vec<u64> = (0..200).collect();
    // The subscription may begin after the first frames.
    assert!(sent.len() > 100 && sent == all[all.len() - sent.len()..], "{sent:?}");
    assert!(received.len() > 100 && received == all[all.len() - received.len()..]);
    assert!(located.len() > 100 && located == all[all.len() - located.len()..]);
    assert!(!epochs.is_empty() && epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
    assert!(pictures > 0 && report.figures.images_total >= pictures);
    assert_eq!((report.figures.frames_sent, report.figures.frames_decoded), (200, 200));
}

#[test]
fn a_status_looks_back_a_hundred_frames_and_a_command_takes_effect_at_its_frame() {
    let run = System::build(loopback(1_000_000)).unwrap().start().unwrap();
    let events = run.subscribe();
    let answer = run.command("power_dbm=-4".parse().unwrap()).unwrap();
    assert!(answer.accepted && answer.feasible == Some(true), "{answer:?}");
    let from = answer.frame.unwrap();
    let mut powers = events.filter_map(|event| match event {
        Event::Sent { frame, power_dbm, .. } => Some((frame, power_dbm)),
        _ => None,
    });
    let (frame, power_dbm) = powers.find(|(frame, _)| *frame >= from).unwrap();
    assert!(frame == from && (power_dbm + 4.0).abs() < 0.01, "{frame} {power_dbm}");
    let refused = run.command("power_dbm=-90".parse().unwrap()).unwrap();
    assert!(!refused.accepted && refused.reason.unwrap().contains("hcrb_max_m2"));
    let since = Instant::now();
    while run.status().frame.is_none_or(|frame| frame < from + 300) {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = run.status();
    assert_eq!((status.state, status.figures.frames_sent), (State::Running, 100));
    assert!((status.figures.power_dbm.plan.unwrap() + 4.0).abs() < 0.01 && status.memory_bytes.unwrap() > 1 << 20);
    assert!(status.figures.target.frames <= 100 && status.figures.target.rmse_m.unwrap() < 0.1);
    run.stop();
    let report = run.join().unwrap();
    assert!(report.figures.frames_sent > 300 && report.figures.frames_sent < 1_000_000);
}

#[test]
fn a_run_that_is_dropped_stops() {
    let since = Instant::now();
    drop(System::build(loopback(100_000_000)).unwrap().start().unwrap());
    assert!(since.elapsed() < Duration::from_secs(60));
}

/// Panics in its tenth frame.
struct Panicking(u64);

impl Block for Panicking {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        self.0 += 1;
        assert!(self.0 < 10, "a test's own panic");
        output.copy_rows(input, 0);
        Flow::Forward
    }
}

fn panicking(_: &mut Context, _: toml::Table) -> Result<Box<dyn Stage>> {
    Ok(erase(Panicking(0)))
}

/// Panics at its second plan.
struct PanickingOptimizer(Planner);

impl Optimizer for PanickingOptimizer {
    fn observe(&mut self, observation: Observation<'_>) -> Result<()> {
        self.0.observe(observation)
    }

    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        assert!(epoch == 0, "a test's own panic");
        self.0.plan(epoch, from_frame)
    }

    fn copy(&self) -> Box<dyn Optimizer> {
        Box::new(Self(self.0.clone()))
    }
}

#[test]
fn a_panic_in_any_thread_ends_the_run_with_a_report_of_what_came_before() {
    let graph = include_str!("../flowgraphs/loopback.toml")
        .replace("{ kind = \"superposer\" },", "{ kind = \"superposer\" }, { kind = \"panicking\" },");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.toml");
    std::fs::write(&path, graph).unwrap();
    let block = SystemSpec::from_flowgraph(&path).unwrap().kind(Kind::new("panicking", panicking));
    let optimizer = loopback(1_000_000).optimizer(|planner| Box::new(PanickingOptimizer(planner)));
    for (spec, thread) in [(block.frames(1_000_000), "transmitter"), (optimizer, "optimizer")] {
        let ended = System::build(spec).unwrap().start().unwrap().finish().unwrap();
        let failure = ended.failure.expect("the run failed");
        assert!(failure.to_string().contains(thread) && failure.to_string().contains("panicked"), "{failure}");
        assert_eq!(failure.cause(), issc::Cause::Internal);
        assert!(ended.report.figures.frames_sent > 0);
    }
}

/// Asks for twice the power it may have.
struct Greedy(Planner);

impl Optimizer for Greedy {
    fn observe(&mut self, observation: Observation<'_>) -> Result<()> {
        self.0.observe(observation)
    }

    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        let mut planned = self.0.plan(epoch, from_frame)?;
        if epoch > 0 {
            planned.plan.beams.w_c *= num_complex::Complex64::from(2f64.sqrt());
        }
        Ok(planned)
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn copy(&self) -> Box<dyn Optimizer> {
        Box::new(Self(self.0.clone()))
    }
}

#[test]
fn an_optimizers_plan_above_the_budget_is_never_flown() {
    let spec = loopback(160).optimizer(|planner| Box::new(Greedy(planner)));
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    assert!(report.figures.power_dbm.plan.unwrap() < 1e-6 && report.plan.epoch == 0);
    assert!(report.retunes.iter().all(|retune| !retune.feasible), "{:?}", report.retunes);
}

fn issc(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().unwrap()
}

#[test]
fn events_are_written_while_a_run_goes_on_and_have_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = issc(&["run", "--frames", "100", "--events", file.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines: Vec<Value> =
        std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["event"] == kind).count() as u64;
    assert_eq!((of("sent"), of("received"), of("detections")), (100, 100, 100));
    assert_eq!(of("picture"), report["images_total"].as_u64().unwrap());
    assert!(of("plan") >= 1);
    for key in ["frame", "signal_s", "epoch", "node", "detections", "refused", "rows"] {
        let line = lines.iter().find(|line| line["event"] == "detections").unwrap();
        assert!(line.get(key).is_some(), "{key}");
    }
    let both = issc(&["run", "--frames", "1", "--events", "-", "--json"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn several_targets_and_receivers_are_reported_by_name_and_the_threshold_holds_for_each() {
    let output = issc(&["run", "several", "--at", "600:world.target.kiosk=[48,66]", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}"));
    for (target, id) in report["targets"].as_array().unwrap().iter().zip(["mast", "van", "kiosk"]) {
        assert_eq!(target["id"], id);
        let (rmse, bound) = (number(&target["rmse_m"]), number(&target["hcrb_rmse_m"]));
        assert!(rmse <= 1.25 * bound, "{id}: {rmse} m, bound {bound} m");
        assert!(number(&target["frames"]) > 1150.0, "{target}");
        assert!(number(&target["track"]["frames"]) > 1100.0, "{}", target["track"]);
    }
    let kiosk = &report["targets"][2]["estimate_m"];
    assert!((number(&kiosk[0]) - 48.0).hypot(number(&kiosk[1]) - 66.0) < 0.2, "{kiosk}");
    for (receiver, id) in report["receivers"].as_array().unwrap().iter().zip(["near", "far", "array"]) {
        assert_eq!(receiver["id"], id);
        if id != "array" {
            let images = receiver["images"].as_array().unwrap();
            assert!(images.len() > 20 && images.iter().all(|image| image["blocks_lost"] == 0), "{id}");
            assert!(number(&receiver["sinr_db"]["measured"]) > 4.0, "{id}");
        }
    }
    // The last plan's beams keep the threshold for every target where it was believed to be then.
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.json");
    let plan = &report["plan"];
    std::fs::write(&weights, serde_json::json!({ "w_c": plan["w_c"], "w_0": plan["w_0"] }).to_string()).unwrap();
    let place = |id: usize| report["targets"][id]["track"]["estimate_m"].to_string();
    let set = |id: &str, at: usize| format!("target.{id}.position_m={}", place(at));
    let (van, kiosk) = (set("van", 1), set("kiosk", 2));
    let scene = ["hcrb", "--scene", "several", "--weights", weights.to_str().unwrap(), "--json"];
    let output = issc(&[&scene[..], &["--set", &van, "--set", &kiosk]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bounds: Value = serde_json::from_slice(&output.stdout).unwrap();
    for target in bounds["targets"].as_array().unwrap() {
        // The tracks' own errors move the bound by a little since the plan was made.
        assert!(number(&target["trace_m2"]) <= 4e-4 * 1.02, "{target}");
    }
}
