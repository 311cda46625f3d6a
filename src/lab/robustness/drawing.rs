//! The table as a picture: the loss of each row that has one, both modulations beside each other.

use super::Row;
use crate::plot::bars::Bars;

/// Longer bars are cut here, in dB.
const MOST_DB: f64 = 8.0;

/// Losses of the communication receiver, row by row as in the table; `None` where no row has one.
pub fn bars(rows: &[Row]) -> Option<Bars> {
    let mut modulations: Vec<&str> =
        rows.iter().filter(|row| is_drawn(row)).filter_map(|row| row.modulation.as_deref()).collect();
    modulations.dedup();
    let first = modulations.first()?;
    Some(Bars {
        title: "What each impairment costs the communication receiver".into(),
        value_label: "loss at a block error rate of 0.01, dB".into(),
        names: own(rows, first).iter().map(|row| format!("{}: {}", row.name, row.level)).collect(),
        series: modulations
            .iter()
            .map(|name| ((*name).to_owned(), own(rows, name).iter().map(|row| row.loss_db).collect()))
            .collect(),
        beyond: "never",
        most: MOST_DB,
    })
}

/// Whether a row is of the communication receiver and has a loss, or none that is finite. Channels that are drawn are tried
/// at one SNR alone.
fn is_drawn(row: &Row) -> bool {
    row.modulation.is_some() && row.name != "none" && row.lost_3_db.is_some()
}

fn own<'a>(rows: &'a [Row], modulation: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| is_drawn(row) && row.modulation.as_deref() == Some(modulation)).collect()
}
