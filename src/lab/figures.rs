//! The paper's figures, the trade-off with its certificate, the beams' patterns, the channel code.

use image::RgbImage;

use super::{code_figures, similarity};
use crate::Result;
use crate::array::direction_rad;
use crate::coding::BlockErrorLaw;
use crate::modem::frame::{HeaderLength, Layout, SOUNDING_GUARD};
use crate::optimize::{
    BelievedTarget, Effort, Problem, RateLimits, SourceModel, channel_vector, nats_by_beams, nats_by_sounding,
    select_rate, zero_forcing,
};
use crate::plot::patterns::beam_patterns;
use crate::plot::{Chart, Corner, Series, Stroke};
use crate::scene::{Frequencies, Model, Reflectivity, Scene, decibel};
use crate::semantic::Bank;

/// Pixels of the pictures that rates are meant for.
const PIXELS: usize = 256 * 256;
/// What stands for no timing error: 3 µm of path.
const NO_TIMING_ERROR_S: f64 = 1e-14;

/// What is drawn of log-likelihood ratios.
const LEAST_NATS: f64 = 0.1;
const MOST_NATS: f64 = 1e8;

/// All of them by file name, starting from a scene; Fig. 3 sends these pictures.
///
/// # Errors
/// Where a picture cannot be encoded.
pub fn charts(scene: &Scene, pictures: &[RgbImage]) -> Result<[(&'static str, Chart); 9]> {
    let bank = Bank::shipped();
    let models: Vec<_> = bank.planned("mse").iter().map(|model| model.source_model(PIXELS)).collect();
    let [over_power, over_ratio] = similarity::charts(scene, &bank, pictures)?;
    Ok([
        ("fig2-distortion", distortion(&models)),
        over_power,
        over_ratio,
        ("fig4-hcrb", bound_over_power(scene, &models)),
        ("trade-off", trade_off(scene)),
        ("ambiguity", ambiguity(scene)),
        ("beam-patterns", patterns(scene)),
        ("block-errors", code_figures::block_errors()),
        ("code-gap", code_figures::gap()),
    ])
}

/// What the bound assumes in the paper and on a radio; all else is the scene's.
fn modes(scene: &Scene) -> [(&'static str, Model); 2] {
    let mode = |reflectivity, frequencies| Model { reflectivity, frequencies, ..scene.model.clone() };
    [
        ("known, one-sided", mode(Reflectivity::Known, Frequencies::OneSided)),
        ("unknown, centered", mode(Reflectivity::Unknown, Frequencies::Centered)),
    ]
}

/// Fig. 2: distortion over the bit error rate, from eq. (7) as fitted to the shipped models.
fn distortion(models: &[SourceModel]) -> Chart {
    let bank = Bank::shipped();
    let series = bank.planned("mse").iter().zip(models).enumerate();
    Chart {
        title: "Distortion over the bit error rate (Fig. 2)".into(),
        x_label: "bit error rate of the body".into(),
        y_label: "mean squared error on the 0…255 scale".into(),
        x_log: true,
        y_log: true,
        legend: Corner::UpperLeft,
        series: series
            .map(|(colour, (info, model))| Series {
                name: format!("{:.3} bit per sample", info.calibration.bits_per_pixel / 3.0),
                points: (0..=120).map(|k| 10f64.powf(-6.0 + f64::from(k) * 0.05)).map(|r| (r, model.mse(r))).collect(),
                stroke: Stroke::Solid,
                colour,
            })
            .collect(),
    }
}

/// Fig. 4: the smallest bound with the SINR that the lowest model needs, beside the benchmark's bound.
fn bound_over_power(scene: &Scene, models: &[SourceModel]) -> Chart {
    let mut series = Vec::new();
    let needed = needed_sinr(scene, models);
    for (index, (mode, model)) in modes(scene).into_iter().enumerate() {
        for (error, stroke) in [("timing error", Stroke::Solid), ("no timing error", Stroke::Dashed)] {
            let at = |power_dbm: f64| {
                let mut scene = Scene { model: model.clone(), ..scene.clone() };
                scene.constraints.power_dbm = power_dbm;
                if stroke == Stroke::Dashed {
                    scene.channel.timing_error_std_s = NO_TIMING_ERROR_S;
                }
                scene
            };
            let ours = |power_dbm: f64| {
                let solution = Problem::from_scene(&at(power_dbm)).solve_exchanged(needed, Effort::default());
                if solution.feasible { solution.hcrb_trace_m2 } else { f64::NAN }
            };
            let rival = |power_dbm: f64| {
                let scene = at(power_dbm);
                let problem = Problem::from_scene(&scene);
                let beams = zero_forcing(&scene, &problem);
                // Where no model's rate fits the SINR there is no such scheme.
                let has_rate = problem.sinr(&beams) >= needed;
                if has_rate { problem.hcrb_trace_m2(&beams).unwrap_or(f64::NAN) } else { f64::NAN }
            };
            for (kind, name, bound) in
                [(0, "ours", &ours as &dyn Fn(f64) -> f64), (1, "WF–ZF", &rival as &dyn Fn(f64) -> f64)]
            {
                series.push(Series {
                    name: format!("{name}, {mode}, {error}"),
                    points: steps(-10.0, 20.0, 0.5).map(|power_dbm| (power_dbm, bound(power_dbm))).collect(),
                    stroke,
                    colour: 2 * index + kind,
                });
            }
        }
    }
    Chart {
        title: format!("Position bound over the power, SINR ≥ {:.1} dB (Fig. 4)", decibel(needed)),
        x_label: "power budget, dBm".into(),
        y_label: "bound on the position error squared, m²".into(),
        x_log: false,
        y_log: true,
        legend: Corner::UpperRight,
        series,
    }
}

/// The SINR from which the lowest model's rate fits, by bisection.
fn needed_sinr(scene: &Scene, models: &[SourceModel]) -> f64 {
    let limits = RateLimits::from_scene(scene, 3 * PIXELS);
    let code = BlockErrorLaw::from_scene(scene);
    let (mut low, mut high) = (1e-3, 1e6);
    while high / low > 1.0 + 1e-9 {
        let middle = f64::sqrt(low * high);
        if select_rate(&models[..1], &limits, middle, &code).is_some() { high = middle } else { low = middle }
    }
    high
}

/// SINR over the threshold: what the beams reach, and what the dual proves that none can exceed.
fn trade_off(scene: &Scene) -> Chart {
    let mut series = Vec::new();
    for (colour, (mode, model)) in modes(scene).into_iter().enumerate() {
        let mut scene = Scene { model, ..scene.clone() };
        let smallest = Problem::from_scene(&scene).solve().smallest_hcrb_trace_m2;
        let (mut reached, mut proven) = (Vec::new(), Vec::new());
        for k in 0..=60 {
            let threshold = smallest * (1.0 + 1e-4 * 10f64.powf(f64::from(k) * 0.08));
            scene.constraints.hcrb_max_m2 = threshold;
            let solution = Problem::from_scene(&scene).solve();
            reached.push((threshold, decibel(solution.sinr)));
            if k % 4 == 0 {
                proven.push((threshold, decibel(solution.upper_bound_sinr)));
            }
        }
        series.push(Series { name: format!("reached, {mode}"), points: reached, stroke: Stroke::Solid, colour });
        series.push(Series { name: format!("proven limit, {mode}"), points: proven, stroke: Stroke::Marks, colour });
    }
    Chart {
        title: format!("Communication against sensing at {} dBm", scene.constraints.power_dbm),
        x_label: "threshold on the bound, m²".into(),
        y_label: "SINR, dB".into(),
        x_log: true,
        y_log: false,
        legend: Corner::LowerRight,
        series,
    }
}

/// Directions that one frame does not tell from the target's: by how many nats each is less likely, by the beams of the optimum
/// and by a sounding, for three numbers of transmit antennas.
fn ambiguity(scene: &Scene) -> Chart {
    let angles: Vec<f64> = steps(-90.0, 90.0, 0.05).collect();
    let sines: Vec<f64> = angles.iter().map(|angle| angle.to_radians().sin()).collect();
    let mut series = Vec::new();
    for (colour, antennas) in [4, 8, 16].into_iter().enumerate() {
        let mut scene = scene.clone();
        scene.array.transmit_antennas = antennas;
        let problem = Problem::from_scene(&scene);
        let solution = problem.solve();
        // Twice the smallest bound, where the scene's cannot be met.
        let most_m2 = problem.hcrb_max_m2().max(2.0 * solution.smallest_hcrb_trace_m2);
        let beams = problem.with_hcrb_max_m2(most_m2).solve().beams;
        let target = BelievedTarget::of_scene(&scene)[0];
        let (_, slot) = Layout::with_sounding(antennas, HeaderLength::Short).sounding_slot(0, antennas);
        for (name, stroke, nats) in [
            ("a frame", Stroke::Solid, nats_by_beams(&scene, &target, &beams, &sines)),
            ("a sounding", Stroke::Dashed, nats_by_sounding(&scene, &target, slot - 2 * SOUNDING_GUARD, &sines)),
        ] {
            let points = angles.iter().zip(nats).map(|(angle, nats)| (*angle, nats.clamp(LEAST_NATS, MOST_NATS)));
            series.push(Series {
                name: format!("{name}, {antennas} antennas"),
                points: points.collect(),
                stroke,
                colour,
            });
        }
    }
    Chart {
        title: "What tells a departure direction from the target's".into(),
        x_label: "departure direction, °".into(),
        y_label: "log-likelihood ratio, nats".into(),
        x_log: false,
        y_log: true,
        legend: Corner::LowerRight,
        series,
    }
}

/// Power radiated over the angle by both beams of the optimum, and where receiver and target stand.
fn patterns(scene: &Scene) -> Chart {
    let geometry = &scene.geometry;
    let beams = Problem::new(scene, channel_vector(scene), geometry.target).solve().beams;
    let directions = [("receiver", geometry.communication_receiver), ("target", geometry.target)]
        .map(|(name, point)| (name, direction_rad(geometry.transmitter, point), Stroke::Dashed));
    beam_patterns("Beam patterns of the optimum".into(), &scene.array, &beams, &directions)
}

fn steps(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=((to - from) / step).round() as usize).map(move |k| from + step * k as f64)
}
