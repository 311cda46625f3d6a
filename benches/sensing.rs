//! The sensing receiver on one core: a whole estimate from a window of 4 × 2304 samples, at powers where the short and
//! where the long delay search decides, and of 4 × 1024, against the bare transforms of its six rows (what a receiver
//! cannot avoid).
//!
//! `cargo bench --bench sensing`

use divan::{Bencher, black_box};
use issc::dsp::PlanarDft;
use issc::optimize::Problem;
use issc::scene::Scene;
use issc::sensing::{
    CoherentEstimator, CoherentFrames, Detector, EchoFrame, Estimator, Planar, SensingConfig, StationaryEchoes, Trials,
};
use num_complex::Complex32;

fn main() {
    machine();
    divan::main();
}

/// Prints what the figures were measured on.
fn machine() {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(": ").nth(1));
    println!("processor: {}", field("model name").unwrap_or("unknown"));
}

/// An estimate of the paper's scene at −60, −20 and 0 dBm, from the sensing window of a frame.
#[divan::bench(args = [-60, -20, 0])]
fn estimate(bencher: Bencher, power_dbm: i32) {
    run(bencher, power_dbm.into(), 2304, false);
}

/// All detections of the same frames, of which every 64th is looked through for more than the one target.
#[divan::bench(args = [-60, -20, 0])]
fn detect_one_target(bencher: Bencher, power_dbm: i32) {
    let mut scene = Scene::paper();
    scene.constraints.power_dbm = power_dbm.into();
    let beams = Problem::from_scene(&scene).solve().beams;
    let config = SensingConfig::from_scene(&scene);
    let single = CoherentFrames::of_scene(&scene, 1).unwrap();
    let window = Trials::window_samples(&config);
    let mut detector = Detector::new(CoherentEstimator::new(config.clone(), window, single).unwrap(), window);
    let estimator = Estimator::new(config.clone(), window).unwrap();
    let many: Vec<Trials> = (0..16)
        .map(|number| {
            let mut trials = Trials::new(&scene, &config, &beams, 1).unwrap();
            trials.make(number, &estimator);
            trials
        })
        .collect();
    // 64 frames in one go: one of them is the one that is looked through.
    bencher.counter(divan::counter::ItemsCount::new(64usize)).bench_local(|| {
        for trials in many.iter().cycle().take(64) {
            black_box(detector.take_in(&trials.frame(0.0), 0.0).map(<[_]>::len));
        }
    });
}

/// The same at 0 dBm from the first 1024 samples of the window.
#[divan::bench]
fn estimate_of_1024_samples(bencher: Bencher) {
    run(bencher, 0.0, 1024, false);
}

/// The same at 0 dBm with the Doppler shift.
#[divan::bench]
fn estimate_of_a_moving_target(bencher: Bencher) {
    run(bencher, 0.0, 2304, true);
}

fn run(bencher: Bencher, power_dbm: f64, window: usize, moving: bool) {
    let mut scene = Scene::paper();
    scene.constraints.power_dbm = power_dbm;
    let beams = Problem::from_scene(&scene).solve().beams;
    let config = SensingConfig { moving, ..SensingConfig::from_scene(&scene) };
    let mut estimator = Estimator::new(config.clone(), window).unwrap();
    // Many echoes in turn, so that no branch is learned by heart.
    let many: Vec<Trials> = (0..16)
        .map(|number| {
            let mut trials = Trials::new(&scene, &config, &beams, 1).unwrap();
            trials.make(number, &estimator);
            trials
        })
        .collect();
    let mut next = many.iter().cycle();
    bencher.bench_local(|| black_box(next.next().expect("a cycle").estimate(&mut estimator)));
}

/// Frames of a moving target added up in phase outdoors: the time for all of them, the samples being there.
#[divan::bench(args = [4, 16])]
fn estimate_over_frames(bencher: Bencher, frames: usize) {
    let scene = Scene::from_toml(include_str!("../scenes/coherent.toml"), "coherent").unwrap();
    let beams = Problem::from_scene(&scene).solve().beams;
    let config = SensingConfig { moving: true, ..SensingConfig::from_scene(&scene) };
    let of_scene = CoherentFrames::of_scene(&scene, frames).unwrap();
    let mut estimator = CoherentEstimator::new(config.clone(), Trials::window_samples(&config), of_scene).unwrap();
    let mut sources: Vec<_> = (0..frames).map(|_| Trials::new(&scene, &config, &beams, 1).unwrap()).collect();
    for (index, source) in sources.iter_mut().enumerate() {
        source.make_frame(0, index, &estimator);
    }
    bencher.bench_local(|| {
        for (index, source) in sources.iter().enumerate() {
            black_box(source.take_in(index, &mut estimator));
        }
    });
}

/// Stationary echoes removed from a frame, and learned from it as well.
#[divan::bench(args = [false, true])]
fn remove_stationary(bencher: Bencher, learns: bool) {
    let scene = Scene::paper();
    let config = SensingConfig::from_scene(&scene);
    let beams = Problem::from_scene(&scene).solve().beams;
    let mut stationary = StationaryEchoes::new(&config, Trials::window_samples(&config));
    let estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let mut trials = Trials::new(&scene, &config, &beams, 1).unwrap();
    trials.make(0, &estimator);
    let samples = stationary.echo_samples();
    let echo = vec![Complex32::new(1e-3, 0.0); config.receive_antennas * samples];
    let mut left = echo.clone();
    bencher.bench_local(|| {
        let echo = Planar::new(black_box(&echo), samples);
        stationary.remove(&EchoFrame { echo, ..trials.frame(0.0) }, &mut left);
        if learns {
            stationary.learn(&left);
        }
    });
}

/// Forward transforms of four echo rows, and of two streams as well: what a receiver cannot avoid.
#[divan::bench(args = [(4, 1024), (6, 1024), (4, 2304), (6, 2304)])]
fn transforms(bencher: Bencher, (rows, window): (usize, usize)) {
    let mut dft = PlanarDft::new(window);
    let samples = vec![Complex32::new(1e-3, 0.0); rows * window];
    bencher.bench_local(|| {
        for row in black_box(&samples).chunks_exact(window) {
            black_box(dft.forward(row));
        }
    });
}

/// The baseline: the same by rustfft.
#[divan::bench(args = [(4, 1024), (6, 1024), (4, 2304), (6, 2304)])]
fn transforms_by_rustfft(bencher: Bencher, (rows, window): (usize, usize)) {
    let fft = rustfft::FftPlanner::new().plan_fft_forward(window);
    let samples = vec![Complex32::new(1e-3, 0.0); rows * window];
    let mut bins = vec![Complex32::default(); window];
    let mut scratch = vec![Complex32::default(); fft.get_immutable_scratch_len()];
    bencher.bench_local(|| {
        for row in black_box(&samples).chunks_exact(window) {
            fft.process_immutable_with_scratch(row, &mut bins, &mut scratch);
            black_box(&bins);
        }
    });
}
