//! How well the echo locates the target, beside the bound: independent trials of fresh frames.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nalgebra::{Matrix2, Vector2};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shard::{Merged, Part, Shard};
use crate::array::Beams;
use crate::optimize::BoundModel;
use crate::scene::Scene;
use crate::sensing::{CoherentEstimator, CoherentFrames, EchoFrame, Estimate, SensingConfig, Trials, Truth};
use crate::{Error, Result};

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

/// Trials whose sums are made by themselves, so that they come out the same wherever they are made.
const CHUNK: u64 = 1024;

/// What trials add up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    no_position: u64,
    /// Those by the reason.
    refused: BTreeMap<String, u64>,
    outliers: u64,
    /// Trials that gave a position.
    positions: u64,
    /// Position errors, in m, and their squares.
    error_m: [f64; 2],
    squared_error_m2: f64,
    normalised_error: f64,
    /// Squared errors of the path's rate where it was estimated: as they are, and over their variance.
    rate_errors: [f64; 2],
    /// The median time of a frame.
    median_time_s: f64,
}

impl Sums {
    /// Root mean square error, outliers included.
    pub fn rmse_m(&self) -> Option<f64> {
        self.mean(self.squared_error_m2).map(f64::sqrt)
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.positions > 0).then(|| sum / self.positions as f64)
    }

    /// All chunks, in their order.
    fn of(chunks: &[Self]) -> Self {
        let mut all = Self::default();
        for chunk in chunks {
            all.no_position += chunk.no_position;
            chunk.refused.iter().for_each(|(reason, count)| *all.refused.entry(reason.clone()).or_default() += count);
            all.outliers += chunk.outliers;
            all.positions += chunk.positions;
            all.error_m.iter_mut().zip(chunk.error_m).for_each(|(sum, error)| *sum += error);
            all.squared_error_m2 += chunk.squared_error_m2;
            all.normalised_error += chunk.normalised_error;
            all.rate_errors.iter_mut().zip(chunk.rate_errors).for_each(|(sum, error)| *sum += error);
        }
        all.median_time_s = median(chunks.iter().map(|chunk| chunk.median_time_s).collect()).unwrap_or_default();
        all
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Trials with these beams beside their bound.
#[derive(Debug)]
pub struct Study {
    /// What the trials add up to.
    pub sums: Sums,
    /// Position errors of every trial that gave a position, in m.
    pub errors: Vec<Vector2<f64>>,
    /// The bound on the position's covariance; none where it cannot be identified.
    pub bound_m2: Option<Matrix2<f64>>,
    window_symbols: usize,
}

/// What a shard's trials are about.
#[derive(Debug, Serialize, Deserialize)]
pub struct About {
    /// The scene as a file has it.
    scene: String,
    beams: Beams,
    sampling: Sampling,
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
    let mut bench = Bench::new(scene, beams, sampling)?;
    let mut errors = Vec::new();
    let chunks = bench.run(Shard::WHOLE, |error| errors.push(error))?;
    Ok(Study { sums: Sums::of(&chunks), errors, bound_m2: bench.bound_m2, window_symbols: bench.window_symbols })
}

/// Runs a shard of the trials.
///
/// # Errors
/// As [`study`].
pub fn part(scene: &Scene, beams: &Beams, sampling: Sampling, shard: Shard) -> Result<Part> {
    let chunks = Bench::new(scene, beams, sampling)?.run(shard, |_| {})?;
    let table = toml::Table::try_from(scene).map_err(|error| Error::internal(error.to_string()))?;
    let about = About { scene: table.to_string(), beams: beams.clone(), sampling };
    Part::new("sense", &about, (shard, sampling.chunks()), &chunks)
}

/// What all chunks come to.
pub(super) fn merged(about: About, chunks: Vec<Sums>) -> Result<Merged> {
    let About { scene, beams, sampling } = about;
    let scene = Scene::from_toml(&scene, "the parts' scene")?;
    check(&scene, sampling).map_err(Error::input)?;
    let Bench { bound_m2, window_symbols, .. } = Bench::new(&scene, &beams, sampling)?;
    let report = report(&Study { sums: Sums::of(&chunks), errors: Vec::new(), bound_m2, window_symbols }, sampling);
    Ok(Merged { lines: table(&report), report })
}

impl Sampling {
    fn chunks(&self) -> u64 {
        self.trials.div_ceil(CHUNK)
    }
}

/// Trials, the receiver that works on them, and their bound.
struct Bench {
    source: Trials,
    estimator: CoherentEstimator,
    sampling: Sampling,
    bound_m2: Option<Matrix2<f64>>,
    window_symbols: usize,
    /// Whether impairments remember the trials before.
    remembers: bool,
}

impl Bench {
    fn new(scene: &Scene, beams: &Beams, sampling: Sampling) -> Result<Self> {
        let (source, estimator) = trials(scene, beams, sampling)?;
        let window_symbols = Trials::window_samples(estimator.config()) / estimator.config().samples_per_symbol;
        let model = BoundModel::new(scene, scene.geometry.target, window_symbols).over_frames(sampling.frames);
        let bound_m2 = model.of_beams(beams).position_covariance().ok();
        let remembers = !scene.impairments.is_empty();
        Ok(Self { source, estimator, sampling, bound_m2, window_symbols, remembers })
    }

    /// Sums of a shard's chunks; `see` is told every position's error. Where impairments remember what was before, and so does
    /// the receiver, the trials before the shard's own are tried out as well, and not counted.
    fn run(&mut self, shard: Shard, mut see: impl FnMut(Vector2<f64>)) -> Result<Vec<Sums>> {
        let chunks = shard.range(self.sampling.chunks());
        if self.remembers && !chunks.is_empty() {
            for number in 0..chunks.start * CHUNK {
                try_out(&mut self.source, number, &mut self.estimator, |_| {});
            }
        }
        chunks.map(|chunk| self.chunk(chunk, &mut see)).collect()
    }

    fn chunk(&mut self, chunk: u64, see: &mut impl FnMut(Vector2<f64>)) -> Result<Sums> {
        let mut sums = Sums::default();
        let mut times_s = Vec::with_capacity(CHUNK as usize);
        for number in chunk * CHUNK..((chunk + 1) * CHUNK).min(self.sampling.trials) {
            let (truth, estimate, took) = try_out(&mut self.source, number, &mut self.estimator, |_| {});
            times_s.push(took.as_secs_f64() / self.sampling.frames as f64);
            let Some(fix) = estimate.fix else {
                sums.no_position += 1;
                if let Some(reason) = estimate.status.refusal() {
                    *sums.refused.entry(reason.to_owned()).or_default() += 1;
                }
                continue;
            };
            let error = Vector2::from(fix.position_m) - Vector2::from(truth.position_m);
            let expected_m2 = self.bound_m2.map(|bound| bound.trace() + fix.displacement_m2);
            sums.outliers += u64::from(expected_m2.is_some_and(|m2| error.norm_squared() > OUTLIER * OUTLIER * m2));
            sums.normalised_error += fix.normalised_error(truth.position_m).ok_or_else(|| {
                Error::internal(format!(
                    "trial {number}: the estimate's covariance {:?} m² is singular",
                    fix.covariance_m2
                ))
            })?;
            sums.positions += 1;
            sums.error_m.iter_mut().zip(error.iter()).for_each(|(sum, error)| *sum += error);
            sums.squared_error_m2 += error.norm_squared();
            see(error);
            if let Some(rate) = fix.measurement.path_rate {
                let squared = (rate.value_m_s - truth.path_rate_m_s).powi(2);
                sums.rate_errors[0] += squared;
                sums.rate_errors[1] += squared / rate.variance_m2_s2;
            }
        }
        sums.median_time_s = median(times_s).unwrap_or_default();
        Ok(sums)
    }
}

/// What a study found, as `issc sense --json` prints it.
pub fn report(study: &Study, sampling: Sampling) -> Value {
    let sums = &study.sums;
    let of_rate = |sum: f64| sums.mean(sum).filter(|_| sampling.moving);
    json!({
        "hcrb_rmse_m": study.bound_m2.map(|bound| bound.trace().sqrt()),
        "window_symbols": study.window_symbols,
        "rmse_m": sums.rmse_m(),
        "outliers": sums.outliers,
        "no_position": sums.no_position,
        "refused": sums.refused,
        "bias_m": sums.mean(sums.error_m[0]).zip(sums.mean(sums.error_m[1])).map(|(x, y)| [x, y]),
        "nees": sums.mean(sums.normalised_error),
        "path_rate_rmse_m_s": of_rate(sums.rate_errors[0]).map(f64::sqrt),
        "path_rate_normalised_error": of_rate(sums.rate_errors[1]),
        "trials": sampling.trials,
        "frames": sampling.frames,
        "sounded": sampling.sounded,
        "median_time_per_frame_s": sums.median_time_s,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shard::merge;
    use crate::optimize::Problem;
    use crate::scene::PAPER_TOML;

    #[test]
    fn shards_give_the_bits_of_one_run_also_where_impairments_remember_what_was_before() {
        // What the limiter does to one echo is too little to be seen for sure, and the receiver remembers what others showed.
        let kinds = ["", "kind = \"phase-noise\"\nrms_deg = 2.0", "kind = \"clip\"\nover_rms_db = 7.0"];
        for kind in kinds {
            let entry = format!("[[impairment]]\nat = \"sensing-receiver\"\n{kind}\n");
            let text = if kind.is_empty() { PAPER_TOML.to_owned() } else { format!("{PAPER_TOML}\n{entry}") };
            let scene = Scene::from_toml(&text, "changed").unwrap();
            let beams = Problem::from_scene(&scene).solve().beams;
            let sampling = Sampling { trials: 2 * CHUNK + 100, frames: 1, moving: false, sounded: false, seed: 3 };
            let mut whole = report(&study(&scene, &beams, sampling).unwrap(), sampling);
            let parts = [2, 1, 3].map(|index| {
                let part = part(&scene, &beams, sampling, Shard::new(index, 3).unwrap()).unwrap();
                let text = serde_json::to_string(&part).unwrap();
                ("part".to_owned(), Part::parse(&text, "part").unwrap())
            });
            let mut together = merge(parts.into()).unwrap().report;
            for report in [&mut whole, &mut together] {
                assert!(report["median_time_per_frame_s"].take().as_f64().unwrap() > 0.0);
                assert!(report["rmse_m"].as_f64().unwrap() > 0.0, "{report}");
            }
            assert_eq!(whole, together);
        }
    }
}
