//! Maps of an echo as drawings.

use super::Heat;
use crate::scene::decibel;
use crate::sensing::maps::Map;

/// Delays shown on either side of the strongest echo, in samples.
const REACH: usize = 40;
/// Colours begin this many decibels under the strongest echo, or here under the mean noise where that is higher.
const DEPTH_DB: f64 = 50.0;
const UNDER_NOISE_DB: f64 = 5.0;

/// What a map shows: its title, the name of its columns, and their values as drawn.
pub struct Axis {
    /// Above the map.
    pub title: String,
    /// Name of its columns, with their unit.
    pub label: &'static str,
    /// The columns' values, in this unit.
    pub values: Vec<f64>,
}

/// The part of a map around its strongest cell, with these rings.
pub fn heat(map: &Map, axis: Axis, rings: Vec<(String, (f64, f64), i32)>) -> Heat {
    let (peak, _) = map.peak();
    let first = peak.saturating_sub(REACH).min(map.path_m.len().saturating_sub(2 * REACH + 1));
    let last = (first + 2 * REACH + 1).min(map.path_m.len());
    let level = |row: usize, column: usize| decibel(f64::from(map.at(row, column)));
    let values = (0..axis.values.len()).flat_map(|column| (first..last).map(move |row| (row, column)));
    let values: Vec<f64> = values.map(|(row, column)| level(row, column)).collect();
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let top = highest.ceil().max(UNDER_NOISE_DB);
    Heat {
        title: axis.title,
        x_label: "path transmitter – target – receiver, with the clock error, m".into(),
        y_label: axis.label.into(),
        value_label: "power over mean noise, dB".into(),
        x: map.path_m[first..last].to_vec(),
        y: axis.values,
        values,
        range: (top - DEPTH_DB).max(-UNDER_NOISE_DB)..top,
        rings,
    }
}
