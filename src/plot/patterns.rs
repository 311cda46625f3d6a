//! The power that both beams radiate over the angle.

use nalgebra::DVector;
use num_complex::Complex64;

use super::{Chart, Corner, Series, Stroke};
use crate::array::{Beams, steering_vector};
use crate::scene::{Array, w_to_dbm};

/// Decibels below the strongest direction at which the drawing ends.
const DEPTH_DB: f64 = 45.0;

/// |α(θ)ᴴw_c|² and |α(θ)ᴴw_0|² over −90° … 90°, with named directions (rad): a line, or a mark on w_c's pattern.
pub fn beam_patterns(title: String, array: &Array, beams: &Beams, directions: &[(&str, f64, Stroke)]) -> Chart {
    let level = |beam: &DVector<Complex64>, angle_rad: f64| {
        let alpha = steering_vector(array.transmit_antennas, array.spacing_wavelengths, angle_rad);
        w_to_dbm(alpha.dotc(beam).norm_sqr())
    };
    let angles = || (-360..=360).map(|step| f64::from(step) / 4.0);
    let pattern = |beam| angles().map(|degrees| (degrees, level(beam, degrees.to_radians()))).collect::<Vec<_>>();
    let patterns = [pattern(&beams.w_c), pattern(&beams.w_0)];
    let top = patterns.iter().flatten().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max).ceil();
    let floor = top - DEPTH_DB;
    let mut series: Vec<Series> = ["w_c, pictures", "w_0, sensing"]
        .into_iter()
        .zip(patterns)
        .enumerate()
        .map(|(colour, (name, points))| Series {
            name: name.into(),
            points: points.into_iter().map(|(degrees, level)| (degrees, level.max(floor))).collect(),
            stroke: Stroke::Solid,
            colour,
        })
        .collect();
    for (index, (name, angle_rad, stroke)) in directions.iter().enumerate() {
        let degrees = angle_rad.to_degrees();
        let points = match stroke {
            Stroke::Marks | Stroke::Dots => vec![(degrees, level(&beams.w_c, *angle_rad).max(floor))],
            Stroke::Solid | Stroke::Dashed => vec![(degrees, floor), (degrees, top)],
        };
        series.push(Series {
            name: format!("{name}, {degrees:.1}°"),
            points,
            stroke: *stroke,
            colour: [2, 3, 6][index % 3],
        });
    }
    Chart {
        title,
        x_label: "departure angle from +x, °".into(),
        y_label: "radiated towards the angle, dBm".into(),
        x_log: false,
        y_log: false,
        legend: Corner::LowerLeft,
        series,
    }
}
