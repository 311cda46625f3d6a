//! Drawings of sensing trials: the errors of its trials beside the bound, and the root mean square error over the power.

use std::path::Path;

use nalgebra::{Matrix2, Vector2};

use super::sense::{Sampling, Study, study, trials, try_out};
use crate::Result;
use crate::array::Beams;
use crate::optimize::Problem;
use crate::plot::maps::{Axis, heat};
use crate::plot::{Chart, Corner, Series, Stroke};
use crate::scene::{SPEED_OF_LIGHT_M_S, Scene};
use crate::sensing::Trials;
use crate::sensing::maps::Profiles;

/// Squared radius of the ellipse that holds 95 % of a Gaussian in the plane: −2 ln 0.05.
const RADIUS_95_SQUARED: f64 = 5.991;
/// Thresholds over the power are this many times the smallest bound that can be reached there.
const SLACK: f64 = 2.0;
/// Powers that [`over_power`] visits, in dBm.
pub const POWERS_DBM: [f64; 13] = [-40.0, -35.0, -30.0, -25.0, -20.0, -15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0];

/// The errors of a study, and the ellipses that ought to hold 95 % of them by the bound and by themselves.
pub fn errors(folder: &Path, study: &Study) -> Result<()> {
    let errors = &study.errors;
    let covariance = errors.iter().map(|e| e * e.transpose()).sum::<Matrix2<f64>>() / errors.len().max(1) as f64;
    let mut series = vec![Series {
        name: format!("{} positions found", errors.len()),
        points: errors.iter().map(|e| (e[0], e[1])).collect(),
        stroke: Stroke::Dots,
        colour: 4,
    }];
    if let Some(bound) = study.bound_m2 {
        series.push(ellipse("95 % by the bound", bound, Stroke::Solid, 1));
    }
    series.push(ellipse("95 % by the spread of the positions", covariance, Stroke::Dashed, 6));
    let limit = series[1..].iter().flat_map(|s| &s.points).fold(0.0, |far: f64, (x, y)| far.max(x.abs()).max(y.abs()));
    let chart = Chart {
        title: "Position errors beside the bound".into(),
        x_label: "error in x".into(),
        y_label: "error in y".into(),
        x_log: false,
        y_log: false,
        legend: Corner::UpperRight,
        series,
    };
    chart.write_places(folder, "position-errors", Some(if limit > 0.0 { 1.5 * limit } else { 1.0 }))
}

fn ellipse(name: &str, covariance: Matrix2<f64>, stroke: Stroke, colour: usize) -> Series {
    let axes = covariance.symmetric_eigen();
    let deviations = axes.eigenvalues.map(|variance| (RADIUS_95_SQUARED * variance.max(0.0)).sqrt());
    let point = |step: usize| {
        let (sin, cos) = (std::f64::consts::TAU * step as f64 / 120.0).sin_cos();
        let at = axes.eigenvectors * Vector2::new(deviations[0] * cos, deviations[1] * sin);
        (at[0], at[1])
    };
    Series { name: name.into(), points: (0..=120).map(point).collect(), stroke, colour }
}

/// Rates of the path in a delay–Doppler map.
const RATES: usize = 121;

/// The first trial's echo over delay and the rate of its path, with what the receiver finds in it.
pub fn delay_doppler(folder: &Path, scene: &Scene, beams: &Beams, sampling: Sampling) -> Result<()> {
    let (mut source, mut estimator) = trials(scene, beams, sampling)?;
    let config = estimator.config().clone();
    let frames = *estimator.frames();
    let mut profiles = Profiles::new(&config, Trials::window_samples(&config));
    let mut rings = Vec::new();
    let (truth, estimate, _) = try_out(&mut source, 0, &mut estimator, |frame| profiles.push(frame));
    let mut ring = |name: &str, (delay_s, rate_m_s), colour| {
        rings.push((String::from(name), (delay_s * SPEED_OF_LIGHT_M_S, rate_m_s), colour));
    };
    if let Some(found) = estimate.fix.and_then(|fix| Some((fix.delay_s, fix.measurement.path_rate?.value_m_s))) {
        ring("found", found, 6);
    }
    ring("true", (truth.delay_s, truth.path_rate_m_s), 11);
    let fastest = frames.path_rate_max_m_s;
    let rates: Vec<f64> = (0..RATES).map(|n| fastest * (2.0 * n as f64 / (RATES - 1) as f64 - 1.0)).collect();
    let shifts_hz: Vec<f64> = rates.iter().map(|rate| -rate / config.wavelength_m).collect();
    let axis = Axis {
        title: format!("Echo of {} frames over delay and Doppler shift", frames.frames),
        label: "rate of the path, m/s",
        values: rates,
    };
    heat(&profiles.delay_doppler(&shifts_hz), axis, rings).write(folder, "delay-doppler-map")
}

/// The error over the power, with the beams that are optimal where the threshold is twice the smallest bound; `done` is
/// called after each of [`POWERS_DBM`].
pub fn over_power(folder: &Path, scene: &Scene, sampling: Sampling, mut done: impl FnMut()) -> Result<()> {
    let (mut found, mut bounds) = (Vec::new(), Vec::new());
    for power_dbm in POWERS_DBM {
        let mut scene = scene.clone();
        scene.constraints.power_dbm = power_dbm;
        let problem = Problem::from_scene(&scene);
        let smallest = problem.solve().smallest_hcrb_trace_m2;
        let beams = problem.with_hcrb_max_m2(SLACK * smallest).solve().beams;
        let study = study(&scene, &beams, sampling)?;
        found.extend(study.sums.rmse_m().map(|rmse_m| (power_dbm, rmse_m)));
        bounds.extend(study.bound_m2.map(|bound| (power_dbm, bound.trace().sqrt())));
        done();
    }
    let line = |name: String, points, stroke, colour| Series { name, points, stroke, colour };
    Chart {
        title: "Position error over the power, threshold twice the smallest bound".into(),
        x_label: "power budget, dBm".into(),
        y_label: "root mean square position error, m".into(),
        x_log: false,
        y_log: true,
        legend: Corner::UpperRight,
        series: vec![
            line("bound".into(), bounds, Stroke::Solid, 1),
            line(format!("estimator, {} trials each", sampling.trials), found, Stroke::Marks, 0),
        ],
    }
    .write(folder, "position-error-over-power")
}
