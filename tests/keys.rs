//! Every number of every key, at its ends and just beyond, made from the table of keys: it is refused in one line that
//! names the key, or it works in everything that reads the key, within bounded memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use issc::array::Beams;
use issc::control::keys::LIVE;
use issc::control::{Command, Setting, parse_at};
use issc::keys::{Key, Range};
use issc::optimize::{BoundModel, Problem};
use issc::runtime::Flowgraph;
use issc::scene::{KINDS, PAPER_TOML, Place, Scene};
use issc::sensing::{CoherentEstimator, CoherentFrames, SensingConfig, Trials};
use issc::system::{System as RunningSystem, SystemSpec};
use issc::{Cause, Error, Result};
use toml::{Table, Value};

/// Bytes in use, now and at most.
struct Metered;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let live = LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are atomics.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Metered = Metered;

/// The most that any of the commands may take.
const MOST_BYTES: usize = 1 << 30;

/// The first frames show that a run starts, decodes and locates.
const FRAMES: u64 = 2;

/// The ends of a range.
fn ends(range: Range) -> Vec<Value> {
    match range {
        Range::Number(least, most) => vec![Value::Float(least), Value::Float(most)],
        Range::Whole(least, most) => [least, most].map(|number| Value::Integer(number as i64)).into(),
        Range::Point(least, most) => {
            [[least, least], [least, most], [most, least], [most, most], [least / 1e4, most / 1e4]]
                .map(|point| Value::Array(point.map(Value::Float).into()))
                .into()
        }
        Range::Word(words) => words.iter().map(|word| Value::from(*word)).collect(),
        Range::Truth => [true, false].map(Value::Boolean).into(),
        Range::Text(_) => Vec::new(),
    }
}

/// What lies just beyond a range, and what is no number.
fn beyond(range: Range) -> Vec<Value> {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308];
    match range {
        Range::Number(least, most) => {
            [least.next_down(), most.next_up()].into_iter().chain(odd).map(Value::Float).collect()
        }
        Range::Whole(least, most) => {
            let whole = [least as i64 - 1, most as i64 + 1, i64::MIN, i64::MAX].map(Value::Integer);
            whole.into_iter().chain(odd.map(Value::Float)).chain([Value::Float(least as f64 + 0.5)]).collect()
        }
        Range::Point(least, most) => {
            let numbers = [least.next_down(), most.next_up()].into_iter().chain(odd);
            let point = |pair: [f64; 2]| Value::Array(pair.map(Value::Float).into());
            numbers.flat_map(|number| [point([number, 1.0]), point([1.0, number])]).collect()
        }
        Range::Word(_) | Range::Truth => vec![Value::from("other"), Value::Integer(7)],
        Range::Text(_) => Vec::new(),
    }
}

/// What was found wrong: the test names all of it at its end.
static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn fault(what: String) {
    FAULTS.lock().unwrap().push(what);
}

/// A refusal is one line that names the key, and a fault of the input (or cannot be met).
fn check_refusal(path: &str, value: &str, error: &Error) {
    let text = error.to_string();
    let name = path.rsplit('.').next().unwrap();
    let right = matches!(error.cause(), Cause::Input | Cause::Infeasible);
    // Rows that a stage cannot take are named by the stage and what it is given.
    let named = text.contains(name) || path.starts_with("chain[]") && text.contains("is given");
    if !(named && !text.contains('\n') && right) {
        fault(format!("{path} = {value} is refused with: {text}"));
    }
}

/// Holds what must be refused against how it was.
fn check_refused<T>(path: &str, value: &str, result: Result<T>) {
    match result {
        Ok(_) => fault(format!("{path} = {value} lies beyond and is accepted")),
        Err(error) => check_refusal(path, value, &error),
    }
}

/// The paper's scene in the form that has this key, and how a command names the key.
fn base(key: &Key) -> (Table, String) {
    let mut scene: Table = toml::from_str(PAPER_TOML).unwrap();
    let lists = "position_m = [60.0, 10.0]\nreflection_coefficient = 1.0";
    scene.insert("clutter".into(), Value::Array(vec![Value::Table(toml::from_str(lists).unwrap())]));
    if key.path.starts_with("target[]") {
        remove(&mut scene, &["geometry.target", "channel.reflection_coefficient"]);
        let list: Table = toml::from_str("target = [{ id = \"car\", position_m = [100, 50], reflection_coefficient = 0.6 }, { position_m = [60.0, -20.0], reflection_coefficient = 0.5 }]").unwrap();
        scene.extend(list);
    }
    if key.path.starts_with("receiver[]") {
        remove(
            &mut scene,
            &[
                "geometry.communication_receiver",
                "geometry.sensing_receiver",
                "channel.sensing_noise_dbm",
                "channel.communication_noise_dbm",
                "array.receive_antennas",
            ],
        );
        let list: Table = toml::from_str("receiver = [{ id = \"car\", kind = \"sensing\", position_m = [0, 50], antennas = 4, noise_dbm = -50.0 }, { kind = \"communication\", position_m = [20.0, 30.0], noise_dbm = -50.0 }]").unwrap();
        scene.extend(list);
    }
    if let Some(name) = key.path.strip_prefix("impairment[].") {
        scene.insert("impairment".into(), Value::Array(vec![Value::Table(impairment(name))]));
    }
    (scene, key.path.replace("clutter[]", "clutter.0").replace("list[]", "list.0").replace("[]", ".car"))
}

/// An impairment of a kind that has this key, at the sensing receiver or one row of it, with whatever else it needs.
fn impairment(key: &str) -> Table {
    let kind = KINDS
        .iter()
        .find(|kind| kind.number(key).is_some() || kind.words.iter().any(|word| key.starts_with(word)))
        .unwrap_or(&KINDS[0]);
    let at = if kind.place == Place::Row { "sensing-receiver.1" } else { "sensing-receiver" };
    let mut entry: Table = toml::from_str(&format!("id = \"car\"\nat = \"{at}\"\nkind = \"{}\"", kind.name)).unwrap();
    for (number, _) in kind.numbers.iter().filter(|(_, default)| default.is_none()) {
        entry.insert((*number).into(), Value::Integer(8));
    }
    if kind.name == "paths" {
        let more = match key.starts_with("list") {
            true => "list = [{ delay_symbols = 1.0, gain_db = -6.0, phase_deg = 90.0 }]",
            false => "profile = \"tdl-a\"",
        };
        entry.extend(toml::from_str::<Table>(more).unwrap());
    }
    entry
}

fn remove(scene: &mut Table, keys: &[&str]) {
    for key in keys {
        let (table, key) = key.split_once('.').unwrap();
        scene[table].as_table_mut().unwrap().remove(key);
    }
}

/// The scene with one key changed.
fn changed(mut scene: Table, path: &str, value: &Value) -> Result<Scene> {
    Setting::apply_to_scene(&[Setting::new(&format!("scene.{path}"), value.clone())?], &mut scene)?;
    Scene::from_toml(&scene.to_string(), "s.toml")
}

/// What `issc hcrb` and `issc optimize` do: finite, or none where it cannot be told.
fn mathematics(scene: &Scene) -> Beams {
    let problem = Problem::from_scene(scene);
    let solution = problem.solve();
    let beams = solution.beams;
    assert!(beams.w_c.iter().chain(beams.w_0.iter()).all(|weight| weight.is_finite()), "beams");
    assert!(problem.sinr(&beams).is_finite() && !solution.smallest_hcrb_trace_m2.is_nan(), "figures");
    let model = BoundModel::new(scene, scene.geometry.target, scene.waveform.frame_symbols);
    if let Ok(covariance) = model.of_beams(&beams).position_covariance() {
        assert!(covariance.iter().all(|entry| entry.is_finite()), "{covariance}");
    }
    beams
}

/// What `issc sense` does, for two trials.
fn sense(scene: &Scene, beams: &Beams) -> Result<()> {
    let config = SensingConfig::from_scene(scene);
    let mut source = Trials::new(scene, &config, beams, 1)?;
    let window = Trials::window_samples(&config);
    let mut estimator = CoherentEstimator::new(config, window, CoherentFrames::of_scene(scene, 1)?)?;
    for number in 0..2 {
        source.make_frame(number, 0, &estimator);
        let estimate = estimator.take_in(&source.frame(0.0)).expect("one frame makes an estimate");
        if let Some(fix) = estimate.fix {
            assert!(fix.position_m.iter().all(|coordinate| coordinate.is_finite()), "{fix:?}");
            assert!(fix.covariance_m2.iter().flatten().all(|entry| entry.is_finite()), "{fix:?}");
        }
    }
    Ok(())
}

/// What `issc run` does, for the first frames.
fn run(flowgraph: &str, at: Vec<String>) -> Result<()> {
    let mut spec = SystemSpec::from_flowgraph(flowgraph)?.frames(FRAMES);
    for text in at {
        let (frame, command) = parse_at(&text)?;
        spec = spec.at(frame, command);
    }
    let report = RunningSystem::build(spec)?.start()?.join()?;
    assert_eq!(report.figures.frames_sent, FRAMES);
    Ok(())
}

/// A folder with the loopback as a flowgraph of its own.
struct Bench {
    folder: tempfile::TempDir,
    graph: Table,
}

impl Bench {
    fn new() -> Self {
        let text = include_str!("../flowgraphs/loopback.toml");
        Self { folder: tempfile::tempdir().unwrap(), graph: toml::from_str(text).unwrap() }
    }

    /// Runs the loopback in this scene.
    fn run(&self, scene: &Scene) -> Result<()> {
        let file = self.folder.path().join("scene.toml");
        std::fs::write(&file, toml::to_string(scene).unwrap()).unwrap();
        let mut graph = self.graph.clone();
        graph.insert("scene".into(), Value::from(file.to_str().unwrap()));
        self.run_graph(&graph)
    }

    fn run_graph(&self, graph: &Table) -> Result<()> {
        let file = self.folder.path().join("graph.toml");
        std::fs::write(&file, graph.to_string()).unwrap();
        run(file.to_str().unwrap(), Vec::new())
    }
}

/// Runs `work`, which must stay within [`MOST_BYTES`].
fn within_memory(name: &str, work: impl FnOnce()) {
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    PEAK_BYTES.store(before, Ordering::Relaxed);
    work();
    let taken = PEAK_BYTES.load(Ordering::Relaxed).saturating_sub(before);
    if taken >= MOST_BYTES {
        fault(format!("{name} takes {} MB", taken >> 20));
    }
}

// One test: the meter counts the whole process.
#[test]
fn every_number_of_every_key_is_refused_by_name_or_works_in_all_commands() {
    let bench = Bench::new();
    let mut worked = 0;
    for key in issc::scene::keys::KEYS {
        let (scene, path) = base(key);
        for value in beyond(key.range) {
            check_refused(&path, &value.to_string(), changed(scene.clone(), &path, &value));
        }
        for value in ends(key.range) {
            let name = format!("{path} = {value}");
            within_memory(&name, || match changed(scene.clone(), &path, &value) {
                Err(error) => check_refusal(&path, &value.to_string(), &error),
                Ok(scene) => {
                    worked += 1;
                    let beams = mathematics(&scene);
                    let refused = |result: Result<()>| {
                        result.unwrap_or_else(|error| check_refusal(&path, &value.to_string(), &error));
                    };
                    refused(sense(&scene, &beams));
                    refused(bench.run(&scene));
                }
            });
        }
    }
    assert!(worked > 70, "{worked}");
    flowgraph_keys(&bench);
    stage_keys(&bench);
    live_keys();
    let faults = FAULTS.lock().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn flowgraph_keys(bench: &Bench) {
    let with = |key: &Key, value: &Value| -> Result<Table> {
        let path = key.path.replace("chain[].stages[]", "chain.air.stages.0").replace("chain[]", "chain.air");
        let mut graph = bench.graph.clone();
        if key.path.starts_with("link.") {
            let link = "listen = \"127.0.0.1:0\"";
            graph.insert("link".into(), Value::Table(toml::from_str(link).unwrap()));
        }
        Setting::apply_to_flowgraph(&[Setting::new(&path, value.clone())?], &mut graph)?;
        Flowgraph::from_toml(&graph.to_string(), "g.toml").map(|_| graph)
    };
    for key in issc::runtime::KEYS {
        for value in beyond(key.range) {
            check_refused(key.path, &value.to_string(), with(key, &value));
        }
        for value in ends(key.range) {
            // A link waits for others.
            let runs = !key.path.starts_with("link.");
            within_memory(&format!("{} = {value}", key.path), || match with(key, &value) {
                Ok(graph) if runs => {
                    let result = bench.run_graph(&graph);
                    result.unwrap_or_else(|error| check_refusal(key.path, &value.to_string(), &error));
                }
                Ok(_) => {}
                Err(error) => check_refusal(key.path, &value.to_string(), &error),
            });
        }
    }
}

/// Numbers of stages' keys, whose ranges are words: each is refused by name, or the run's first frames are right.
fn stage_keys(bench: &Bench) {
    let odd = [f64::NAN, f64::INFINITY, -1e308, -1.0, -0.0, 5e-324, 1e-9, 0.5, 1e9, 1e308].map(Value::Float);
    let whole = [i64::MIN, -1, 0, 1, 2, 16, 17, 59, 60, 256, 257, 1 << 40, i64::MAX].map(Value::Integer);
    let mut tried = 0;
    for text in [
        include_str!("../flowgraphs/loopback.toml"),
        include_str!("../flowgraphs/coherent.toml"),
        include_str!("../flowgraphs/clutter.toml"),
    ] {
        let shipped: Table = toml::from_str(text).unwrap();
        let registry = issc::blocks::Registry::shipped();
        for (kind, key) in registry.kinds().iter().flat_map(|kind| kind.keys.iter().map(move |key| (kind.name, key))) {
            if !["integer", "number"].contains(&key.value) {
                continue;
            }
            for value in odd.iter().chain(&whole) {
                let path = format!("chain.NAME.stages.{kind}.{}", key.name);
                let mut graph = shipped.clone();
                if !set_in_stage(&mut graph, kind, key.name, value) {
                    break;
                }
                tried += 1;
                within_memory(&format!("{path} = {value}"), || {
                    let result = bench.run_graph(&graph);
                    result.unwrap_or_else(|error| check_refusal(&path, &value.to_string(), &error));
                });
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

/// Gives a key to the first stage of a kind; false where there is no such stage.
fn set_in_stage(graph: &mut Table, kind: &str, key: &str, value: &Value) -> bool {
    let chains = graph["chain"].as_array_mut().unwrap().iter_mut();
    let stages = chains.flat_map(|chain| chain["stages"].as_array_mut().unwrap());
    for stage in stages {
        if stage.as_str() == Some(kind) {
            *stage = Value::Table(Table::from_iter([("kind".to_owned(), Value::from(kind))]));
        }
        if let Some(table) = stage.as_table_mut()
            && table.get("kind").and_then(Value::as_str) == Some(kind)
        {
            table.insert(key.into(), value.clone());
            return true;
        }
    }
    false
}

fn live_keys() {
    for key in LIVE {
        let path = key.path.replace("ID", "target");
        // A command's value is text.
        let text = |value: &Value| format!("{path}={value}");
        for value in beyond(key.range) {
            check_refused(key.path.trim_end_matches(".ID"), &value.to_string(), text(&value).parse::<Command>());
        }
        for value in ends(key.range) {
            text(&value).parse::<Command>().unwrap();
            let result = run("loopback", vec![format!("1:{}", text(&value))]);
            result.unwrap_or_else(|error| check_refusal(key.path.trim_end_matches(".ID"), &value.to_string(), &error));
        }
    }
}
