//! `issc optimize --scene S`: beams, source model and channel rate for a scene, with the certificate of the beams.

use std::time::Instant;

use serde_json::{Value, json};

use super::inputs::{self, decibel};
use crate::array::Beams;
use crate::coding::BlockErrorLaw;
use crate::optimize::{Alternation, Effort, Problem, RateLimits, alternate, select_rate, zero_forcing};
use crate::scene::Scene;
use crate::semantic::Bank;
use crate::{Error, Result};

/// Pixels of the picture that the rates are chosen for.
const PIXELS: usize = 256 * 256;

/// How the beams are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// The global optimum, with its certificate.
    Global,
    /// The paper's alternating algorithm.
    Alternating,
    /// The paper's benchmark: zero-forcing beams, water-filled power.
    ZfWf,
}

/// What the beams are best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Objective {
    /// The largest SINR under the threshold on the bound.
    Sinr,
    /// The smallest bound with at least `--sinr-min-db`.
    Hcrb,
}

/// Options of `issc optimize`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    scene: inputs::SceneArguments,
    /// How the beams are found.
    #[arg(long, value_enum, default_value = "global")]
    method: Method,
    /// What the beams are best at.
    #[arg(long, value_enum, default_value = "sinr")]
    objective: Objective,
    /// SINR asked for with `--objective hcrb`, in dB.
    #[arg(long, allow_negative_numbers = true)]
    sinr_min_db: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Beams and what is known of them.
struct Found {
    beams: Beams,
    feasible: bool,
    smallest_hcrb_trace_m2: f64,
    upper_bound_sinr: f64,
    iterations: usize,
    solve_time_s: f64,
}

/// Runs `issc optimize`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = arguments.scene.read()?;
    let found = find(&arguments, &scene)?;
    let report = report(&scene, arguments.method, &found);
    if arguments.json {
        println!("{report}");
    } else {
        print_table(&report);
    }
    Ok(())
}

fn find(arguments: &Arguments, scene: &Scene) -> Result<Found> {
    let least_sinr = match (arguments.objective, arguments.sinr_min_db) {
        (Objective::Sinr, None) => None,
        (Objective::Hcrb, Some(db)) if db.is_finite() && arguments.method == Method::Global => {
            Some(10f64.powf(db / 10.0))
        }
        (Objective::Hcrb, Some(db)) if db.is_finite() => {
            return Err(Error::input("--method: found another than global; accepted with --objective hcrb: global"));
        }
        (Objective::Hcrb, found) => {
            let found = found.map_or("none".into(), |level| level.to_string());
            return Err(Error::input(format!(
                "--sinr-min-db: found {found}; accepted with --objective hcrb: a level in dB"
            )));
        }
        (Objective::Sinr, Some(_)) => {
            return Err(Error::input(
                "--sinr-min-db: found with --objective sinr; accepted with --objective hcrb only",
            ));
        }
    };
    let begin = Instant::now();
    let problem = Problem::from_scene(scene);
    let solution = match least_sinr {
        Some(least) => problem.solve_exchanged(least, Effort::default()),
        None => problem.solve(),
    };
    let mut found = Found {
        beams: solution.beams,
        feasible: solution.feasible,
        smallest_hcrb_trace_m2: solution.smallest_hcrb_trace_m2,
        upper_bound_sinr: solution.upper_bound_sinr,
        iterations: solution.iterations,
        solve_time_s: begin.elapsed().as_secs_f64(),
    };
    let begin = Instant::now();
    match arguments.method {
        Method::Global => return Ok(found),
        Method::ZfWf => (found.beams, found.iterations) = (zero_forcing(scene, &Problem::from_scene(scene)), 0),
        // Where the threshold cannot be met there is nothing to alternate about: the beams of the smallest bound stay.
        Method::Alternating if found.feasible => {
            let result = alternate(&Problem::from_scene(scene), &Alternation::default());
            (found.beams, found.iterations) = (result.beams, result.iterations);
        }
        Method::Alternating => {}
    }
    found.solve_time_s = begin.elapsed().as_secs_f64();
    Ok(found)
}

fn report(scene: &Scene, method: Method, found: &Found) -> Value {
    let problem = Problem::from_scene(scene);
    let sinr = problem.sinr(&found.beams);
    let bank = Bank::shipped();
    let models: Vec<_> = bank.planned().iter().map(|model| model.source_model(PIXELS)).collect();
    let choice =
        select_rate(&models, &RateLimits::from_scene(scene, 3 * PIXELS), sinr, &BlockErrorLaw::from_scene(scene));
    let finite = |value: f64| value.is_finite().then_some(value);
    let pairs =
        |beam: &nalgebra::DVector<num_complex::Complex64>| beam.iter().map(|z| [z.re, z.im]).collect::<Vec<_>>();
    json!({
        "method": match method { Method::Global => "global", Method::Alternating => "alternating", Method::ZfWf => "zf-wf" },
        "feasible": found.feasible,
        "rate_feasible": choice.is_some(),
        "sinr_db": decibel(sinr),
        "hcrb_trace_m2": problem.hcrb_trace_m2(&found.beams).ok(),
        "targets": targets(scene, &problem, &found.beams),
        "power_w": found.beams.power_w(),
        "smallest_hcrb_trace_m2": finite(found.smallest_hcrb_trace_m2),
        "upper_bound_sinr_db": decibel(found.upper_bound_sinr),
        "w_c": pairs(&found.beams.w_c),
        "w_0": pairs(&found.beams.w_0),
        "iterations": found.iterations,
        "solve_time_s": found.solve_time_s,
        "model": choice.map(|choice| bank.models()[choice.model].name.clone()),
        "source_rate_bits_per_sample": choice.map(|choice| models[choice.model].bits() / (3 * PIXELS) as f64),
        "channel_rate_bits_per_use": choice.map(|choice| choice.payload_bits as f64 / scene.waveform.block_symbols as f64),
        "block_error_rate": choice.map(|choice| choice.block_error_rate),
        "bit_error_rate": choice.map(|choice| choice.bit_error_rate),
        "predicted_mse": choice.map(|choice| choice.predicted_mse),
    })
}

/// Every believed target's bound.
fn targets(scene: &Scene, problem: &Problem, beams: &Beams) -> Vec<Value> {
    let believed = scene.targets().into_iter().filter(|target| target.believed);
    believed
        .zip(problem.bounds())
        .map(|(target, bound)| json!({ "id": target.id, "hcrb_trace_m2": bound.of_beams(beams).trace_m2().ok() }))
        .collect()
}

fn print_table(report: &Value) {
    for (key, value) in report.as_object().into_iter().flatten() {
        let text = match value {
            Value::Array(targets) if key == "targets" => {
                let target = |target: &Value| {
                    let trace = target["hcrb_trace_m2"].as_f64().map_or("-".into(), |trace| format!("{trace:.6e}"));
                    format!("{} {trace}", target["id"].as_str().unwrap_or_default())
                };
                targets.iter().map(target).collect::<Vec<_>>().join("  ")
            }
            Value::Array(beam) => {
                let entry = |pair: &Value| {
                    format!("{:.5}{:+.5}j", pair[0].as_f64().unwrap_or(0.0), pair[1].as_f64().unwrap_or(0.0))
                };
                beam.iter().map(entry).collect::<Vec<_>>().join("  ")
            }
            Value::Null => "-".into(),
            Value::Number(number) if number.is_f64() => format!("{:.6e}", number.as_f64().unwrap_or(0.0)),
            other => other.to_string().replace('"', ""),
        };
        println!("{key:<28} {text}");
    }
}
