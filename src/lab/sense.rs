//! How well the echo locates the target, beside the bound: independent trials of fresh frames.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nalgebra::{Matrix2, Vector2};
use serde_json::{Value, json};

use crate::array::Beams;
use crate::optimize::BoundModel;
use crate::scene::Scene;
use crate::sensing::{CoherentEstimator, CoherentFrames, EchoFrame, Estimate, SensingConfig, Trials, Truth};
use crate::{Error, Result};

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// Trials, each with fresh symbols, timing error, phase and noise.
    pub trials: u64,
    /// Consecutive frames that are added up in phase in each trial: they share timing error and phase, as the scene
    /// must say (timing_error_hold = "run", reflection_phase = "random-per-run").
    pub frames: usize,
    /// Let the receiver estimate the Doppler shift, as it must where targets move.
    pub moving: bool,
    /// Whether each frame has a sounding.
    pub sounded: bool,
    /// Seed of everything random.
    pub seed: u64,
}

/// An error is an outlier from this many roots of the bound (and of what element errors add to it) on.
const OUTLIER: f64 = 10.0;

/// What the trials add up to.
#[derive(Debug, Default)]
pub struct Sums {
    no_position: u64,
    /// Those by the reason.
    refused: BTreeMap<&'static str, u64>,
    outliers: u64,
    /// Position errors of every trial that gave a position, in m.
    pub errors: Vec<Vector2<f64>>,
    normalised_error: f64,
    /// Squared errors of the path's rate where it was estimated: as they are, and over their variance.
    rate_errors: [f64; 2],
    times_s: Vec<f64>,
}

impl Sums {
    /// Root mean square error, outliers included.
    pub fn rmse_m(&self) -> Option<f64> {
        self.mean(self.errors.iter().map(Vector2::norm_squared).sum()).map(f64::sqrt)
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (!self.errors.is_empty()).then(|| sum / self.errors.len() as f64)
    }
}

/// Trials with these beams beside their bound.
#[derive(Debug)]
pub struct Study {
    /// What the trials add up to.
    pub sums: Sums,
    /// The bound on the position's covariance; none where it cannot be identified.
    pub bound_m2: Option<Matrix2<f64>>,
    window_symbols: usize,
}

/// Refuses what trials cannot show.
pub fn check(scene: &Scene, sampling: Sampling) -> std::result::Result<(), String> {
    if sampling.trials == 0 {
        return Err("--trials = 0 says nothing; accepted: 1 or more".into());
    }
    if sampling.sounded && sampling.frames > 1 {
        return Err(format!("--sounded with --frames = {}; accepted: 1", sampling.frames));
    }
    scene.check_air()?;
    if let Some(clutter) = scene.clutter.first() {
        return Err(format!(
            "clutter[0].position_m = {:?}: `issc sense` tries targets without clutter; accepted: scenes without [[clutter]] \
             (`issc run` simulates it)",
            clutter.position_m
        ));
    }
    if let Some(db) = scene.channel.leakage_db {
        return Err(format!(
            "channel.leakage_db = {db}: `issc sense` tries targets without leakage; accepted: scenes without it (`issc run` \
             simulates it)"
        ));
    }
    Ok(())
}

/// The trials, and the receiver that works on them.
pub fn trials(scene: &Scene, beams: &Beams, sampling: Sampling) -> Result<(Trials, CoherentEstimator)> {
    let config = SensingConfig { moving: sampling.moving, ..SensingConfig::from_scene(scene) };
    let source = match sampling.sounded {
        true => Trials::sounded(scene, &config, beams, sampling.seed)?,
        false => Trials::new(scene, &config, beams, sampling.seed)?,
    };
    let window = Trials::window_samples(&config);
    let frames = CoherentFrames::of_scene(scene, sampling.frames)?;
    Ok((source, CoherentEstimator::new(config, window, frames)?))
}

/// Trial `number`, whose frames `look` sees, and how long the receiver worked on it.
pub fn try_out(
    source: &mut Trials,
    number: u64,
    estimator: &mut CoherentEstimator,
    mut look: impl FnMut(&EchoFrame<'_>),
) -> (Truth, Estimate, Duration) {
    let (mut frame, mut took) = (0, Duration::ZERO);
    loop {
        let truth = source.make_frame(number, frame, estimator);
        let made = source.frame(estimator.frames().begin_s(frame));
        look(&made);
        let begin = Instant::now();
        let estimate = estimator.take_in(&made);
        took += begin.elapsed();
        if let Some(estimate) = estimate {
            return (truth, estimate, took);
        }
        frame += 1;
    }
}

/// Runs trials of fresh frames.
///
/// # Errors
/// Where the scene cannot be sensed, or where frames cannot be added up in it.
pub fn study(scene: &Scene, beams: &Beams, sampling: Sampling) -> Result<Study> {
    let frames = sampling.frames;
    let (mut source, mut estimator) = trials(scene, beams, sampling)?;
    let window_symbols = Trials::window_samples(estimator.config()) / estimator.config().samples_per_symbol;
    let model = BoundModel::new(scene, scene.geometry.target, window_symbols).over_frames(frames);
    let bound_m2 = model.of_beams(beams).position_covariance().ok();
    let mut sums = Sums::default();
    for number in 0..sampling.trials {
        let (truth, estimate, took) = try_out(&mut source, number, &mut estimator, |_| {});
        sums.times_s.push(took.as_secs_f64() / frames as f64);
        let Some(fix) = estimate.fix else {
            sums.no_position += 1;
            if let Some(reason) = estimate.status.refusal() {
                *sums.refused.entry(reason).or_default() += 1;
            }
            continue;
        };
        let error = Vector2::from(fix.position_m) - Vector2::from(truth.position_m);
        let expected_m2 = bound_m2.map(|bound| bound.trace() + fix.displacement_m2);
        sums.outliers += u64::from(expected_m2.is_some_and(|m2| error.norm_squared() > OUTLIER * OUTLIER * m2));
        sums.normalised_error += fix.normalised_error(truth.position_m).ok_or_else(|| {
            Error::internal(format!("trial {number}: the estimate's covariance {:?} m² is singular", fix.covariance_m2))
        })?;
        sums.errors.push(error);
        if let Some(rate) = fix.measurement.path_rate {
            let squared = (rate.value_m_s - truth.path_rate_m_s).powi(2);
            sums.rate_errors[0] += squared;
            sums.rate_errors[1] += squared / rate.variance_m2_s2;
        }
    }
    Ok(Study { sums, bound_m2, window_symbols })
}

/// What a study found, as `issc sense --json` prints it.
pub fn report(study: &Study, sampling: Sampling) -> Value {
    let sums = &study.sums;
    let of_rate = |sum: f64| sums.mean(sum).filter(|_| sampling.moving);
    let mut times_s = sums.times_s.clone();
    times_s.sort_unstable_by(f64::total_cmp);
    let error: Vector2<f64> = sums.errors.iter().sum();
    json!({
        "hcrb_rmse_m": study.bound_m2.map(|bound| bound.trace().sqrt()),
        "window_symbols": study.window_symbols,
        "rmse_m": sums.rmse_m(),
        "outliers": sums.outliers,
        "no_position": sums.no_position,
        "refused": sums.refused,
        "bias_m": sums.mean(error[0]).zip(sums.mean(error[1])).map(|(x, y)| [x, y]),
        "nees": sums.mean(sums.normalised_error),
        "path_rate_rmse_m_s": of_rate(sums.rate_errors[0]).map(f64::sqrt),
        "path_rate_normalised_error": of_rate(sums.rate_errors[1]),
        "trials": sampling.trials,
        "frames": sampling.frames,
        "sounded": sampling.sounded,
        "median_time_per_frame_s": times_s.get(times_s.len() / 2),
    })
}

/// The same for people, a line each.
pub fn table(report: &Value) -> Vec<String> {
    let rows = [
        ("bound, root of Tr HCRB", "hcrb_rmse_m", " m"),
        ("symbols in the window", "window_symbols", ""),
        ("RMSE", "rmse_m", " m"),
        ("bias (x, y)", "bias_m", " m"),
        ("normalised squared error", "nees", " (2 where the covariance is true)"),
        ("outliers, above 10 bounds", "outliers", ""),
        ("path rate, RMSE", "path_rate_rmse_m_s", " m/s"),
        ("its normalised squared error", "path_rate_normalised_error", " (1 where its variance is true)"),
        ("trials without a position", "no_position", ""),
        ("trials", "trials", ""),
        ("frames in a trial", "frames", ""),
        ("median time per frame", "median_time_per_frame_s", " s"),
    ];
    let line = |(label, key, unit): (&str, &str, &str)| match &report[key] {
        Value::Null => format!("{label:30}-"),
        value => format!("{label:30}{value}{unit}"),
    };
    rows.map(line).into()
}
