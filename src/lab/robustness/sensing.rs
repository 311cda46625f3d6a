//! A row of the sensing receiver: independent trials in a scene, as `issc sense` makes them.

use std::collections::BTreeMap;

use nalgebra::{Matrix2, Vector2};

use super::cases::Case;
use super::{Row, Study};
use crate::Result;
use crate::lab::sense::{Sampling, trials, try_out};
use crate::optimize::{BoundModel, Problem};
use crate::sensing::Trials;

/// A position is wrong from so many deviations on.
const DEVIATIONS: f64 = 6.0;

/// Measures one row.
pub fn measure(case: &Case, (name, toml): (&'static str, &str), study: &Study) -> Result<Row> {
    let scene = case.in_scene(toml, "sensing-receiver")?;
    let beams = Problem::from_scene(&scene).solve().beams;
    let sampling = Sampling { trials: study.frames, frames: 1, moving: false, sounded: false, seed: study.seed };
    let (mut source, mut estimator) = trials(&scene, &beams, sampling)?;
    let window_symbols = Trials::window_samples(estimator.config()) / estimator.config().samples_per_symbol;
    let bound = BoundModel::new(&scene, scene.geometry.target, window_symbols).of_beams(&beams).position_covariance();
    let (mut found, mut wrong, mut squared_m2, mut nees) = (0u64, 0u64, 0.0, 0.0);
    let (mut honest, mut refused) = (0u64, 0u64);
    let mut reasons = BTreeMap::new();
    for number in 0..sampling.trials {
        let (truth, estimate, _) = try_out(&mut source, number, &mut estimator, |_| {});
        let Some(fix) = estimate.fix else {
            refused += 1;
            *reasons.entry(estimate.status.refusal().unwrap_or("none").into()).or_default() += 1;
            continue;
        };
        found += 1;
        let error = Vector2::from(fix.position_m) - Vector2::from(truth.position_m);
        squared_m2 += error.norm_squared();
        let covariance = Matrix2::from_fn(|i, j| fix.covariance_m2[i][j]);
        match covariance.cholesky() {
            Some(root) => {
                let normalised = error.dot(&root.solve(&error));
                wrong += u64::from(normalised > DEVIATIONS * DEVIATIONS);
                nees += normalised;
                honest += 1;
            }
            // Not a covariance at all.
            None => wrong += 1,
        }
    }
    let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
    let bound_m2 = bound.ok().map(|bound: Matrix2<f64>| bound.trace());
    Ok(Row {
        name: case.name.to_owned(),
        receiver: "sensing".into(),
        scene: Some(name.into()),
        level: case.level.to_owned(),
        positions: mean(found as f64, sampling.trials),
        rmse_over_bound: mean(squared_m2, found).zip(bound_m2).map(|(mse, bound)| (mse / bound).sqrt()),
        nees: mean(nees, honest),
        wrong: Some(wrong),
        refused: Some(refused),
        reasons,
        ..Row::default()
    })
}
