//! The sensing receiver on one core: a whole estimate from a 4 × 2304-sample window, at powers where the short and
//! where the long delay search decides, against the bare transforms of its six rows (what a receiver cannot avoid).
//!
//! `cargo bench --bench sensing`

use divan::{Bencher, black_box};
use issc::optimize::Problem;
use issc::scene::Scene;
use issc::sensing::{Estimator, SensingConfig, Trials};
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

/// An estimate of the paper's scene at −60, −20 and 0 dBm.
#[divan::bench(args = [-60, -20, 0])]
fn estimate(bencher: Bencher, power_dbm: i32) {
    let mut scene = Scene::paper();
    scene.constraints.power_dbm = power_dbm.into();
    let beams = Problem::from_scene(&scene).solve().beams;
    let config = SensingConfig::from_scene(&scene);
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let mut trials = Trials::new(&scene, &config, &beams, 1).unwrap();
    trials.make(0, &estimator);
    bencher.bench_local(|| black_box(trials.estimate(&mut estimator)));
}

/// The baseline: `rows` forward transforms of 2304 samples.
#[divan::bench(args = [4, 6])]
fn transforms(bencher: Bencher, rows: usize) {
    let fft = rustfft::FftPlanner::new().plan_fft_forward(2304);
    let mut samples = vec![Complex32::new(1e-3, 0.0); rows * 2304];
    let mut scratch = vec![Complex32::default(); fft.get_inplace_scratch_len()];
    bencher.bench_local(|| {
        fft.process_with_scratch(&mut samples, &mut scratch);
        // Keeps the numbers from growing without bound.
        samples.iter_mut().for_each(|sample| *sample *= 1.0 / 48.0);
    });
}
