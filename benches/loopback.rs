//! Samples per antenna that a second of processor time is enough for, in each chain of the loopback and in each of its
//! stages, and the real-time factor at the scene's bandwidth: `cargo bench --bench loopback`. Processor time of a chain's own
//! thread does not depend on what runs beside it. Baseline: the scene's own sample rate, and the whole loopback in the same run.

use std::time::Duration;

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
            let speed = |time: Duration| sent / time.as_secs_f64();
            note(&busy.chain, speed(busy.processor));
            // A stage's own time is by the clock on the wall: its share of the chain's processor time is what it cost.
            let by_the_clock: Duration = busy.stages.iter().map(|(_, time)| *time).sum();
            for (kind, time) in &busy.stages {
                let share = time.as_secs_f64() / by_the_clock.as_secs_f64();
                note(&format!("  {}: {kind}", busy.chain), speed(busy.processor.mul_f64(share)));
            }
        }
        note("whole loopback, by the clock", whole);
    }
    for (name, mut list) in speeds {
        list.sort_by(f64::total_cmp);
        let median = list[list.len() / 2];
        println!("{name:<44} {:>9.3} MS/s   {:>8.5} x real time", median / 1e6, median / rate);
    }
}
