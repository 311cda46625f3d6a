//! One retune: beams to the certificate and the choice among all models' rates, cold and warm, at 4, 16 and 64 antennas,
//! and for four targets as the planner makes it: with a warm start and nothing but the threshold to meet.

use divan::{Bencher, black_box};
use issc::optimize::{
    BelievedTarget, Effort, PaperModel, Problem, RateLimits, SourceModel, WarmStart, channel_vector, select_rate,
};
use issc::scene::Scene;
use issc::semantic::Bank;

fn main() {
    let machine = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = machine.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    println!("machine {name}");
    divan::main();
}

/// The paper's scene with Π at 1.2 × what is optimal for sensing alone, so that the threshold binds.
fn scene(antennas: usize) -> Scene {
    let mut scene = Scene::paper();
    scene.array.transmit_antennas = antennas;
    let smallest = Problem::from_scene(&scene).solve().smallest_hcrb_trace_m2;
    scene.constraints.hcrb_max_m2 = 1.2 * smallest;
    scene
}

struct Retune {
    scene: Scene,
    models: Vec<SourceModel>,
    limits: RateLimits,
    code: PaperModel,
}

impl Retune {
    fn new(antennas: usize) -> Self {
        let pixels = 256 * 256;
        let models = Bank::shipped().models().iter().map(|model| model.source_model(pixels)).collect();
        Self {
            scene: scene(antennas),
            models,
            limits: RateLimits { blocks: 48, block_symbols: 256, block_error_rate_max: 1e-3 },
            code: PaperModel { block_symbols: 256, margin_db: 2.5 },
        }
    }

    /// Everything a retune does, for a target that moved by `shift_m`.
    fn run(&self, shift_m: f64, warm: Option<&WarmStart>) -> f64 {
        let [x, y] = self.scene.geometry.target;
        let problem = Problem::new(&self.scene, channel_vector(&self.scene), [x, y + shift_m]);
        let solution = problem.solve_with(Effort { warm, ..Effort::default() });
        let choice = select_rate(&self.models, &self.limits, solution.sinr, &self.code);
        solution.sinr + choice.map_or(0.0, |choice| choice.predicted_mse)
    }
}

#[divan::bench(args = [4, 16, 64])]
fn cold(bencher: Bencher, antennas: usize) {
    let retune = Retune::new(antennas);
    bencher.bench_local(|| black_box(retune.run(black_box(0.03), None)));
}

#[divan::bench(args = [4, 16, 64])]
fn warm(bencher: Bencher, antennas: usize) {
    let retune = Retune::new(antennas);
    let last = Problem::from_scene(&retune.scene).solve().warm;
    bencher.bench_local(|| black_box(retune.run(black_box(0.03), Some(&last))));
}

/// Four targets that the threshold holds for, `shift_m` further.
fn four_targets(scene: &Scene, shift_m: f64) -> Problem {
    let places = [[100.0, 50.0], [60.0, -20.0], [120.0, -40.0], [80.0, 90.0]];
    let reflection_coefficient = scene.channel.reflection_coefficient;
    let targets = places.map(|[x, y]| BelievedTarget { position: [x, y + shift_m], reflection_coefficient });
    Problem::for_targets(scene, channel_vector(scene), &targets)
}

#[divan::bench(args = [(4, true), (4, false), (16, true), (16, false)])]
fn four_targets_retune(bencher: Bencher, (antennas, warm): (usize, bool)) {
    let mut retune = Retune::new(antennas);
    let smallest = four_targets(&retune.scene, 0.0).solve().smallest_hcrb_trace_m2;
    retune.scene.constraints.hcrb_max_m2 = 1.2 * smallest;
    let last = four_targets(&retune.scene, 0.0).solve().warm;
    bencher.bench_local(|| {
        let effort = Effort { warm: warm.then_some(&last), threshold_only: true, ..Effort::default() };
        let solution = four_targets(&retune.scene, black_box(0.03)).solve_with(effort);
        black_box(select_rate(&retune.models, &retune.limits, solution.sinr, &retune.code))
    });
}

/// The beams alone, by the conic solver, for comparison with `ours_beams_alone`.
#[cfg(feature = "reference-solver")]
#[divan::bench]
fn clarabel_beams_alone(bencher: Bencher) {
    let problem = Problem::from_scene(&scene(4));
    bencher.bench_local(|| black_box(issc::optimize::reference_sinr(&problem)));
}

#[divan::bench]
fn ours_beams_alone(bencher: Bencher) {
    let problem = Problem::from_scene(&scene(4));
    bencher.bench_local(|| black_box(problem.solve()));
}

/// All that is said of the beams beside finding them.
#[divan::bench]
fn with_report(bencher: Bencher) {
    let scene = scene(4);
    bencher
        .bench_local(|| black_box(issc::lab::beams::report(black_box(&scene), issc::lab::beams::Method::Global, None)));
}
