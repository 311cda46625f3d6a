//! Samples per second and antenna of each chain of the loopback, and the real-time factor at the scene's bandwidth:
//! `cargo bench --bench loopback`. Baseline: the scene's own sample rate, and the whole loopback in the same run.

use issc::scene::Scene;
use issc::system::{System, SystemSpec};

const FRAMES: u64 = 600;
const RUNS: usize = 5;

fn main() {
    // `cargo test` runs benchmarks as programs too; only `cargo bench` measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let scene = Scene::paper();
    let rate = scene.waveform.bandwidth_hz * scene.waveform.samples_per_symbol as f64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{FRAMES} frames, median of {RUNS} runs, {cores} cores; the paper's scene wants {} MS/s per antenna",
        rate / 1e6
    );
    let mut speeds: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..RUNS {
        let spec = SystemSpec::shipped("loopback").expect("the shipped flowgraph").frames(FRAMES);
        let ended = System::build(spec).and_then(System::start).expect("a system").finish().expect("a run");
        let samples = ended.report.realtime_factor.recip() * ended.report.samples_per_s / rate;
        assert!((samples - 1.0).abs() < 1e-9, "both figures are of one clock");
        let whole = ended.report.samples_per_s;
        let sent = ended.report.figures.frames_sent as f64 * 3056.0;
        let mut note = |name: &str, speed: f64| match speeds.iter_mut().find(|(known, _)| known == name) {
            Some((_, list)) => list.push(speed),
            None => speeds.push((name.to_owned(), vec![speed])),
        };
        for busy in &ended.busy {
            note(&busy.chain, sent / busy.time.as_secs_f64());
        }
        note("whole loopback", whole);
    }
    for (name, mut list) in speeds {
        list.sort_by(f64::total_cmp);
        let median = list[list.len() / 2];
        println!("{name:<24} {:>9.3} MS/s   {:>8.5} x real time", median / 1e6, median / rate);
    }
}
