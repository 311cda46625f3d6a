//! Drawings of a run: constellation, delay–angle map, positions and beam patterns.

use std::collections::VecDeque;
use std::path::Path;

use super::{Paths, Report, Shown};
use crate::Result;
use crate::array::{direction_rad, distance_m};
use crate::blocks::snapshots::{Echo, Snapshots, Symbols};
use crate::modem::constellation::Constellation;
use crate::modem::frame::BLOCK;
use crate::plot::maps::{Axis, heat};
use crate::plot::patterns::beam_patterns;
use crate::plot::{Chart, Corner, Heat, Series, Stroke};
use crate::scene::{Point, SPEED_OF_LIGHT_M_S, Scene, decibel};
use crate::sensing::maps::{Map, Profiles};
use crate::sensing::{EchoFrame, Planar, SensingConfig};

/// Writes what can be shown and drawn of a run into a folder that is there.
///
/// # Errors
/// Where a file cannot be written; those before it are there, and whole.
pub fn write(
    folder: &Path,
    scene: &Scene,
    report: &Report,
    shown: Option<&Shown>,
    snapshots: &Snapshots,
) -> Result<()> {
    shown.map_or(Ok(()), |shown| shown.write(folder))?;
    if let Some((chart, limit)) = snapshots.symbols.iter().find_map(|symbols| symbols.read(constellation)) {
        chart.write_square(folder, "constellation", limit)?;
    }
    if let Some(map) =
        snapshots.echo.iter().find_map(|echo| echo.read(|frame, echo| delay_angle_map(report, frame, echo)).flatten())
    {
        map.write(folder, "delay-angle-map")?;
    }
    if let Some(chart) = positions(&report.paths) {
        chart.write_places(folder, "positions", None)?;
    }
    patterns(scene, report).write(folder, "beam-patterns")
}

/// Draws how the channels of a radio differ, as a calibration found: the length of an arrow is the gain, its angle the phase.
/// All would lie at 1 if they were equal.
#[cfg(feature = "soapy")]
pub fn calibration(folder: &Path, name: &str, found: &crate::frontend::Calibration) -> Result<()> {
    let mut series = Vec::new();
    let circle = (0..=180).map(|step| (std::f64::consts::TAU * f64::from(step) / 180.0).sin_cos());
    series.push(Series {
        name: "equal gain".into(),
        points: circle.map(|(y, x)| (x, y)).collect(),
        stroke: Stroke::Dashed,
        colour: 6,
    });
    let mut limit: f64 = 1.0;
    for (side, offsets, stroke) in [("TX", &found.tx, Stroke::Solid), ("RX", &found.rx, Stroke::Dashed)] {
        for (colour, offset) in offsets.iter().enumerate() {
            let gain = 10f64.powf(offset.gain_db / 20.0);
            let (sin, cos) = offset.phase_deg.to_radians().sin_cos();
            limit = limit.max(gain);
            series.push(Series {
                name: format!(
                    "{side} {}: {:+.2} dB, {:+.1}° ± {:.2}°, {:+.3} samples",
                    offset.channel, offset.gain_db, offset.phase_deg, offset.error_deg, offset.delay_samples
                ),
                points: vec![(0.0, 0.0), (gain * cos, gain * sin)],
                stroke,
                colour,
            });
        }
    }
    let chart = Chart {
        title: format!("Channels against the first of their side, {}", found.device),
        x_label: "in phase".into(),
        y_label: "in quadrature".into(),
        x_log: false,
        y_log: false,
        legend: Corner::UpperLeft,
        series,
    };
    // Room for the legend.
    chart.write_square(folder, name, 2.2 * limit)
}

/// Where the target was found and tracked, over where it was.
fn positions(paths: &Paths) -> Option<Chart> {
    // A target that stands is a point.
    let stands = paths.truth.iter().all(|place| Some(place) == paths.truth.front());
    let (places, stroke) = if stands { (1, Stroke::Marks) } else { (usize::MAX, Stroke::Dashed) };
    let series = |name: &str, path: &VecDeque<Point>, places, stroke, colour| Series {
        name: name.into(),
        points: path.iter().take(places).map(|[x, y]| (*x, *y)).collect(),
        stroke,
        colour,
    };
    let mut all = vec![
        series("found, frame by frame", &paths.found, usize::MAX, Stroke::Dots, 4),
        series("track", &paths.tracked, usize::MAX, Stroke::Solid, 1),
        series("target", &paths.truth, places, stroke, 6),
    ];
    all.retain(|series| !series.points.is_empty());
    (!all.is_empty()).then(|| Chart {
        title: "Positions of the target".into(),
        x_label: "x".into(),
        y_label: "y".into(),
        x_log: false,
        y_log: false,
        legend: Corner::UpperRight,
        series: all,
    })
}

/// The chart of one frame's symbols over the points that were sent, and how far its axes reach.
fn constellation(frame: u64, snapshot: &Symbols) -> (Chart, f64) {
    let mut series = Vec::new();
    let used = || snapshot.constellations.iter().enumerate().filter_map(|(index, sent)| Some((index, (*sent)?)));
    for (colour, protected) in [(0, false), (2, true)] {
        let blocks = used().filter(|(index, _)| (*index < snapshot.protected) == protected);
        let Some((_, constellation)) = blocks.clone().next() else { continue };
        let kind = if protected { "protected blocks" } else { "payload blocks" };
        let symbols = blocks.flat_map(|(index, _)| &snapshot.symbols[index * BLOCK..][..BLOCK]);
        series.push(Series {
            name: format!("{kind}, {constellation}"),
            points: symbols.map(|symbol| (f64::from(symbol.re), f64::from(symbol.im))).collect(),
            stroke: Stroke::Dots,
            colour,
        });
    }
    let mut constellations: Vec<_> = used().map(|(_, constellation)| constellation).collect();
    constellations.dedup();
    series.push(Series {
        name: "points of the constellation".into(),
        points: constellations.iter().flat_map(ideal).collect(),
        stroke: Stroke::Marks,
        colour: 1,
    });
    let farthest =
        series.iter().flat_map(|series| &series.points).fold(1.0, |far: f64, (x, y)| far.max(x.abs()).max(y.abs()));
    let chart = Chart {
        title: format!("Equalised symbols of frame {frame}, SINR {:.1} dB", decibel(snapshot.sinr)),
        x_label: "in phase, unit mean power".into(),
        y_label: "quadrature, unit mean power".into(),
        x_log: false,
        y_log: false,
        legend: Corner::UpperRight,
        series,
    };
    // Noise of a bad channel reaches far; the drawing ends where the constellation is still seen.
    (chart, 1.15 * farthest.min(4.0))
}

/// All points of a constellation.
pub(super) fn ideal(constellation: &Constellation) -> Vec<(f64, f64)> {
    let width = constellation.modulation().bits_per_symbol();
    let bits: Vec<u8> =
        (0..1usize << width).flat_map(|label| (0..width).map(move |bit| (label >> bit & 1) as u8)).collect();
    let mut points = vec![num_complex::Complex32::default(); 1 << width];
    constellation.map(&bits, &mut points);
    points.into_iter().map(|point| (f64::from(point.re), f64::from(point.im))).collect()
}

/// The map of one frame's echo around its strongest cell.
fn delay_angle_map(report: &Report, frame: u64, snapshot: &Echo) -> Option<Heat> {
    let (config, beams) = (snapshot.config.as_ref()?, snapshot.beams.as_ref()?);
    let mut profiles = Profiles::new(config, snapshot.window);
    profiles.push(&EchoFrame {
        echo: Planar::new(&snapshot.echo, snapshot.echo_samples),
        echo_start: 0,
        reference: Planar::new(&snapshot.reference, snapshot.window),
        window_start: 0,
        beams,
        time_s: 0.0,
        late_samples: 0,
    });
    let angles: Vec<f64> = (-90..=90).map(f64::from).collect();
    let sines: Vec<f64> = angles.iter().map(|degrees| degrees.to_radians().sin()).collect();
    let map = profiles.delay_angle(&sines);
    let axis = Axis {
        title: format!("Echo of frame {frame} over delay and arrival angle"),
        label: "arrival angle, °",
        values: angles,
    };
    Some(heat(&map, axis, rings(report, frame, snapshot, config, &map)))
}

/// Where the receiver found the target in this frame, and where it was.
fn rings(
    report: &Report,
    frame: u64,
    snapshot: &Echo,
    config: &SensingConfig,
    map: &Map,
) -> Vec<(String, (f64, f64), i32)> {
    let mut rings = Vec::new();
    let broadside = |point: Point| direction_rad(config.receiver, point).sin().asin().to_degrees();
    let ends = map.path_m[0]..map.path_m[map.path_m.len() - 1];
    let fix = snapshot.estimates.first().and_then(|estimate| estimate.fix);
    if let Some(fix) = fix {
        let path_m = fix.delay_s * SPEED_OF_LIGHT_M_S;
        rings.push(("found: delay and direction".into(), (path_m, broadside(fix.position_m)), 6));
    }
    let moved = report.retunes.iter().any(|retune| retune.cause == "world.target" && retune.frame > frame);
    if let Some(truth) = report.figures.target.truth_m.filter(|_| !moved) {
        let path_m = distance_m(config.transmitter, truth) + distance_m(truth, config.receiver);
        if ends.contains(&path_m) {
            rings.push(("true place, no timing error".into(), (path_m, broadside(truth)), 11));
        }
    }
    rings
}

/// The last plan's beams, and where receiver and target stand.
fn patterns(scene: &Scene, report: &Report) -> Chart {
    let transmitter = scene.geometry.transmitter;
    let mut directions =
        vec![("receiver", direction_rad(transmitter, scene.geometry.communication_receiver), Stroke::Dashed)];
    if let Some(truth) = report.figures.target.truth_m {
        directions.push(("target, true", direction_rad(transmitter, truth), Stroke::Dashed));
    }
    if let Some(found) = report.figures.target.estimate_m {
        directions.push(("target, found", direction_rad(transmitter, found), Stroke::Marks));
    }
    let title = format!("Beam patterns of plan {}", report.plan.epoch);
    beam_patterns(title, &scene.array, &report.plan.beams, &directions)
}
