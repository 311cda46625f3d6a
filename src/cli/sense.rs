//! `issc sense --scene S [--weights W] [--trials T]`: how well the echo locates the target, beside the bound.

use std::path::PathBuf;
use std::time::Instant;

use nalgebra::{Matrix2, Vector2};
use serde_json::{Value, json};

use super::inputs;
use crate::array::Beams;
use crate::optimize::{BoundModel, Problem};
use crate::scene::Scene;
use crate::sensing::{Estimator, SensingConfig, Trials};
use crate::{Error, Result};

/// Options of `issc sense`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Scene file (TOML).
    #[arg(long, default_value = "scenes/paper.toml")]
    scene: PathBuf,
    /// Weights file (JSON); without it the optimal beams fly, or those of the smallest bound where Π cannot be met.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Frames, each with fresh symbols, timing error, phase and noise.
    #[arg(long, default_value_t = 1000)]
    trials: u64,
    /// Let the receiver estimate the Doppler shift within a frame, as it must where targets move.
    #[arg(long)]
    moving: bool,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// An error is an outlier from this many roots of the bound on.
const OUTLIER: f64 = 10.0;

/// What the trials add up to.
#[derive(Debug, Default)]
struct Sums {
    located: u64,
    no_position: u64,
    outliers: u64,
    error: Vector2<f64>,
    squared_error: f64,
    normalised_error: f64,
    times_s: Vec<f64>,
}

/// Runs `issc sense`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = inputs::scene(&arguments.scene)?;
    let beams = match &arguments.weights {
        Some(path) => inputs::weights(path, &scene)?,
        None => Problem::from_scene(&scene).solve().beams,
    };
    let config = SensingConfig { moving: arguments.moving, ..SensingConfig::from_scene(&scene) };
    let window = Trials::window_samples(&config);
    let window_symbols = window / config.samples_per_symbol;
    let bound = BoundModel::new(&scene, scene.geometry.target, window_symbols).of_beams(&beams).trace_m2().ok();
    let sums = trials(&scene, config, &beams, &arguments, bound)?;
    let report = report(&sums, bound.map(f64::sqrt), window_symbols, arguments.trials);
    if arguments.json {
        println!("{report}");
    } else {
        print_table(&report);
    }
    Ok(())
}

fn trials(
    scene: &Scene,
    config: SensingConfig,
    beams: &Beams,
    arguments: &Arguments,
    bound: Option<f64>,
) -> Result<Sums> {
    let mut source = Trials::new(scene, &config, beams, arguments.seed)?;
    let window = Trials::window_samples(&config);
    let mut estimator = Estimator::new(config, window)?;
    let mut sums = Sums::default();
    for number in 0..arguments.trials {
        let truth = source.make(number, &estimator);
        let begin = Instant::now();
        let estimate = source.estimate(&mut estimator);
        sums.times_s.push(begin.elapsed().as_secs_f64());
        let Some(fix) = estimate.fix else {
            sums.no_position += 1;
            continue;
        };
        let error = Vector2::from(fix.position_m) - Vector2::from(truth.position_m);
        let covariance = Matrix2::from_fn(|i, j| fix.covariance_m2[i][j]);
        let information = covariance.try_inverse().ok_or_else(|| {
            Error::failure(format!("trial {number}: the estimate's covariance {:?} m² is singular", fix.covariance_m2))
        })?;
        sums.located += 1;
        sums.outliers += u64::from(bound.is_some_and(|bound| error.norm_squared() > OUTLIER * OUTLIER * bound));
        sums.error += error;
        sums.squared_error += error.norm_squared();
        sums.normalised_error += (error.transpose() * information * error)[0];
    }
    Ok(sums)
}

fn report(sums: &Sums, hcrb_rmse_m: Option<f64>, window_symbols: usize, trials: u64) -> Value {
    let mean = |sum: f64| (sums.located > 0).then(|| sum / sums.located as f64);
    let mut times_s = sums.times_s.clone();
    times_s.sort_unstable_by(f64::total_cmp);
    json!({
        "hcrb_rmse_m": hcrb_rmse_m,
        "window_symbols": window_symbols,
        "rmse_m": mean(sums.squared_error).map(f64::sqrt),
        "outliers": sums.outliers,
        "no_position": sums.no_position,
        "bias_m": mean(sums.error[0]).zip(mean(sums.error[1])).map(|(x, y)| [x, y]),
        "nees": mean(sums.normalised_error),
        "trials": trials,
        "median_time_per_frame_s": times_s.get(times_s.len() / 2),
    })
}

fn print_table(report: &Value) {
    let rows = [
        ("bound, root of Tr HCRB", "hcrb_rmse_m", " m"),
        ("symbols in the window", "window_symbols", ""),
        ("RMSE", "rmse_m", " m"),
        ("bias (x, y)", "bias_m", " m"),
        ("normalised squared error", "nees", " (2 where the covariance is true)"),
        ("outliers, above 10 bounds", "outliers", ""),
        ("frames without a position", "no_position", ""),
        ("frames", "trials", ""),
        ("median time per frame", "median_time_per_frame_s", " s"),
    ];
    for (label, key, unit) in rows {
        match &report[key] {
            Value::Null => println!("{label:28}-"),
            value => println!("{label:28}{value}{unit}"),
        }
    }
}
