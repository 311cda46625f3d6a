//! The table as a picture: the loss of each row that has one, both modulations side by side.

use super::Row;
use crate::plot::{Chart, Corner, Series, Stroke};

/// Losses beyond this are drawn here, in dB.
const MOST_DB: f64 = 8.0;

/// Losses of the communication receiver, row by row as in the table; `None` where no row has one.
pub fn chart(rows: &[Row]) -> Option<Chart> {
    let of = |row: &&Row| row.modulation.is_some() && row.name != "none" && !row.level.ends_with("25 dB");
    let mut modulations: Vec<&str> = rows.iter().filter(of).filter_map(|row| row.modulation).collect();
    modulations.dedup();
    let series = modulations.iter().enumerate().map(|(colour, modulation)| {
        let own = rows.iter().filter(of).filter(|row| row.modulation == Some(modulation));
        let points = own
            .enumerate()
            .map(|(index, row)| ((index + 1) as f64, row.loss_db.unwrap_or(f64::INFINITY).clamp(-1.0, MOST_DB)));
        let name = (*modulation).to_owned();
        Series { name, points: points.collect(), stroke: Stroke::Marks, colour }
    });
    let series: Vec<_> = series.collect();
    (!series.is_empty()).then(|| Chart {
        title: "Loss by each impairment, at a block error rate of 0.01".into(),
        x_label: "row of the table (channels that are drawn left out)".into(),
        y_label: format!("loss, dB ({MOST_DB} = that or more, or never)"),
        x_log: false,
        y_log: false,
        legend: Corner::UpperRight,
        series,
    })
}
