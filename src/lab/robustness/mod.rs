//! What impairments cost each receiver, beside the same receiver without them: the loss of the communication receiver in
//! dB at a block error rate of 10⁻², and error, honesty and silence of the position estimator.

mod cases;
mod communication;
mod drawing;
mod sensing;
pub mod wrong;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::parallel::in_parallel;
use super::shard::{Merged, Part, Shard};
use crate::plot::bars::Bars;
use crate::scene::ReceiverKind;
use crate::{Error, Result};

/// What is measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Study {
    /// One receiver alone.
    pub receiver: Option<ReceiverKind>,
    /// Rows of this name alone.
    pub only: Option<String>,
    /// Frames at each SNR, and trials of each sensing row.
    pub frames: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Seeds from that one on, each with so many frames; 0 counts as 1. Rows are then medians, and counts are sums.
    pub seeds: u64,
}

/// One line of the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The impairment's kind; `none` is the receiver without any.
    pub name: String,
    /// `communication` or `sensing`.
    pub receiver: Cow<'static, str>,
    /// Scene in which targets are located.
    pub scene: Option<Cow<'static, str>>,
    /// Modulation and rate of the blocks.
    pub modulation: Option<Cow<'static, str>>,
    /// How strong it is.
    pub level: String,
    /// Es/N0 that a block error rate of 10⁻² needs, less what the receiver without the impairment needs (of `none`: what
    /// is needed), in dB; none where no SNR is enough.
    pub loss_db: Option<f64>,
    /// Share of blocks lost without noise; of channels that are drawn: at 25 dB, over all draws.
    pub floor: Option<f64>,
    /// Share of blocks lost 3 dB above what the receiver without the impairment needs.
    pub lost_3_db: Option<f64>,
    /// Reported SINR, where one block in a hundred is lost, less the one at which the receiver without the impairment loses
    /// as many, in dB; none where no SNR is enough.
    pub sinr_excess_db: Option<f64>,
    /// Blocks that passed their check and were not what was sent, over all of the row's runs.
    pub wrong_blocks: Option<u64>,
    /// Share of trials with a position.
    pub positions: Option<f64>,
    /// RMSE over the bound's.
    pub rmse_over_bound: Option<f64>,
    /// Mean eᵀC⁻¹e: 2 is honest.
    pub nees: Option<f64>,
    /// Positions beyond 6 deviations by their own covariance.
    pub wrong: Option<u64>,
    /// Trials without a position.
    pub refused: Option<u64>,
    /// The same by their reasons.
    pub reasons: BTreeMap<Cow<'static, str>, u64>,
    /// Of several seeds, the least and the most of each figure that is a median; `null` is what the figure's own is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<Cow<'static, str>, [Option<f64>; 2]>,
}

/// A figure of a row.
type Figure = (&'static str, fn(&mut Row) -> &mut Option<f64>);

/// Figures that are medians where there are several seeds.
const FIGURES: [Figure; 7] = [
    ("loss_db", |row| &mut row.loss_db),
    ("floor", |row| &mut row.floor),
    ("lost_3_db", |row| &mut row.lost_3_db),
    ("sinr_excess_db", |row| &mut row.sinr_excess_db),
    ("positions", |row| &mut row.positions),
    ("rmse_over_bound", |row| &mut row.rmse_over_bound),
    ("nees", |row| &mut row.nees),
];

impl Row {
    /// One row of several seeds': medians, where a figure that is not there counts as larger than all others, and sums.
    fn of(mut rows: Vec<Self>) -> Self {
        let mut one = rows[0].clone();
        if rows.len() == 1 {
            return one;
        }
        for (name, figure) in FIGURES {
            let mut values: Vec<_> = rows.iter_mut().map(|row| *figure(row)).collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            values.sort_by(|a, b| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY)));
            let middle = [values[(values.len() - 1) / 2], values[values.len() / 2]];
            *figure(&mut one) = middle[0].zip(middle[1]).map(|(a, b)| 0.5 * (a + b));
            one.ranges.insert(name.into(), [values[0], values[values.len() - 1]]);
        }
        for row in &rows[1..] {
            let counts = [
                (&mut one.wrong_blocks, row.wrong_blocks),
                (&mut one.wrong, row.wrong),
                (&mut one.refused, row.refused),
            ];
            counts.into_iter().for_each(|(sum, more)| *sum = sum.zip(more).map(|(sum, more)| sum + more));
            row.reasons.iter().for_each(|(reason, count)| *one.reasons.entry(reason.clone()).or_default() += count);
        }
        one
    }

    /// A figure as text, with its range if there is one; `absent` where it is not there.
    fn text(&self, name: &str, value: Option<f64>, absent: &str, number: impl Fn(f64) -> String) -> String {
        let text = |value: Option<f64>| value.map_or(absent.to_owned(), &number);
        match self.ranges.get(name) {
            Some([least, most]) => format!("{} ({} … {})", text(value), text(*least), text(*most)),
            None => text(value),
        }
    }
}

/// All rows.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// In the order of the cases.
    pub rows: Vec<Row>,
}

/// The table, row after row; `done` is called with the part of the rows that is finished, in percent.
///
/// # Errors
/// Where no row has the name that was asked for, or no rate can be told from so few frames.
pub fn measure(study: &Study, done: impl Fn(u64) + Sync) -> Result<Table> {
    Ok(Table { rows: rows(study, &jobs(study)?, done)? })
}

/// A shard of the table's rows.
///
/// # Errors
/// As [`measure`].
pub fn part(study: &Study, shard: Shard, done: impl Fn(u64) + Sync) -> Result<Part> {
    let jobs = jobs(study)?;
    let units = jobs.len() as u64;
    let own = shard.range(units);
    let rows = rows(study, &jobs[own.start as usize..own.end as usize], done)?;
    Part::new("robustness", study, (shard, units), &rows)
}

/// All rows together.
pub(super) fn merged(rows: Vec<Row>) -> Merged {
    let table = Table { rows };
    Merged { report: table.report(), lines: table.lines() }
}

/// The rows that are asked for.
fn jobs(study: &Study) -> Result<Vec<Job>> {
    if !(4..=100_000).contains(&study.frames) {
        return Err(Error::input(format!("--frames {}; accepted: 4 to 100000", study.frames)));
    }
    if study.seeds > 1000 {
        return Err(Error::input(format!("--seeds {}; accepted: 1 to 1000", study.seeds)));
    }
    let wanted = |receiver: ReceiverKind| study.receiver.is_none_or(|only| only == receiver);
    let named = |case: &&cases::Case| study.only.as_ref().is_none_or(|only| case.name == *only);
    let mut jobs: Vec<Job> = Vec::new();
    if wanted(ReceiverKind::Communication) {
        for format in &communication::FORMATS {
            jobs.extend(cases::COMMUNICATION.iter().filter(named).map(|case| Job::Communication(case, format)));
        }
    }
    if wanted(ReceiverKind::Sensing) {
        for scene in 0..cases::SENSED.len() {
            jobs.extend(cases::SENSING.iter().filter(named).map(|case| Job::Sensing(case, scene)));
        }
    }
    if jobs.is_empty() {
        let mut names: Vec<_> = cases::COMMUNICATION.iter().chain(cases::SENSING).map(|case| case.name).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        let only = study.only.as_deref().unwrap_or_default();
        return Err(Error::input(format!("--only {only}: no row has this name; accepted: {}", names.join(", "))));
    }
    Ok(jobs)
}

fn rows(study: &Study, jobs: &[Job], done: impl Fn(u64) + Sync) -> Result<Vec<Row>> {
    let seeded = |more: u64| Study { seed: study.seed.wrapping_add(more), ..study.clone() };
    let studies: Vec<_> = (0..study.seeds.max(1)).map(seeded).collect();
    let bases = in_parallel(studies.len(), || (), |(), index| communication::Bases::measure(&studies[index], jobs))?;
    let finished = AtomicUsize::new(0);
    in_parallel(
        jobs.len(),
        || (),
        |(), index| {
            let of_seed = |(study, bases)| match &jobs[index] {
                Job::Communication(case, format) => communication::measure(case, format, bases, study),
                Job::Sensing(case, scene) => sensing::measure(case, cases::SENSED[*scene], study),
            };
            let row = studies.iter().zip(&bases).map(of_seed).collect::<Result<_>>().map(Row::of);
            done((100 * (finished.fetch_add(1, Ordering::Relaxed) + 1) / jobs.len()) as u64);
            row
        },
    )
}

/// One row to measure.
enum Job {
    Communication(&'static cases::Case, &'static communication::Format),
    Sensing(&'static cases::Case, usize),
}

impl Table {
    /// What `issc robustness --json` prints.
    pub fn report(&self) -> serde_json::Value {
        serde_json::json!(self)
    }

    /// The losses as a picture; `None` where no row has one.
    pub fn bars(&self) -> Option<Bars> {
        drawing::bars(&self.rows)
    }

    /// The table as text.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.rows)
    }
}

fn lines(rows: &[Row]) -> Vec<String> {
    let fixed = |digits: usize| move |value: f64| format!("{value:.digits$}");
    let power = |value: f64| format!("{value:.3e}");
    let mut lines = Vec::new();
    // Ranges take room.
    let wide = if rows.iter().any(|row| !row.ranges.is_empty()) { 20 } else { 0 };
    if rows.iter().any(|row| row.modulation.is_some()) {
        lines.push(format!(
            "{:16} {:44} {:>16} {:>w8$} {:>w8$} {:>w9$} {:>w7$} {:>6}",
            "communication",
            "level",
            "modulation",
            "loss dB",
            "floor",
            "at +3 dB",
            "SINR dB",
            "wrong",
            w7 = 7 + wide,
            w8 = 8 + wide,
            w9 = 9 + wide
        ));
    }
    for row in rows.iter().filter(|row| row.modulation.is_some()) {
        lines.push(format!(
            "{:16} {:44} {:>16} {:>w8$} {:>w8$} {:>w9$} {:>w7$} {:>6}",
            row.name,
            row.level,
            row.modulation.as_deref().unwrap_or_default(),
            row.text("loss_db", row.loss_db, "never", fixed(2)),
            row.text("floor", row.floor, "–", fixed(4)),
            row.text("lost_3_db", row.lost_3_db, "–", fixed(4)),
            row.text("sinr_excess_db", row.sinr_excess_db, "–", fixed(2)),
            row.wrong_blocks.unwrap_or(0),
            w7 = 7 + wide,
            w8 = 8 + wide,
            w9 = 9 + wide
        ));
    }
    if rows.iter().any(|row| row.scene.is_some()) {
        lines.push(format!(
            "{:16} {:36} {:>8} {:>w10$} {:>w11$} {:>w10$} {:>6} {}",
            "sensing",
            "level",
            "scene",
            "positions",
            "RMSE/bound",
            "NEES",
            "wrong",
            "refused",
            w10 = 10 + wide,
            w11 = 11 + wide
        ));
    }
    for row in rows.iter().filter(|row| row.scene.is_some()) {
        lines.push(format!(
            "{:16} {:36} {:>8} {:>w10$} {:>w11$} {:>w10$} {:>6} {}",
            row.name,
            row.level,
            row.scene.as_deref().unwrap_or_default(),
            row.text("positions", row.positions, "–", fixed(3)),
            row.text("rmse_over_bound", row.rmse_over_bound, "–", fixed(2)),
            row.text("nees", row.nees, "–", power),
            row.wrong.unwrap_or(0),
            row.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", "),
            w10 = 10 + wide,
            w11 = 11 + wide
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_scene_and_an_unknown_name_is_refused_with_the_known_ones() {
        for (cases, at) in [(cases::COMMUNICATION, "communication-receiver"), (cases::SENSING, "sensing-receiver")] {
            for case in cases {
                let scene = case.scene(at).unwrap();
                assert!(scene.impairments.is_empty() == case.entry.is_empty(), "{}", case.name);
                assert!(at != "sensing-receiver" || case.in_scene(cases::OUTDOOR_TOML, at).is_ok(), "{}", case.name);
            }
        }
        let study = Study { only: Some("rain".into()), frames: 4, seed: 1, ..Study::default() };
        let error = measure(&study, |_| {}).unwrap_err().to_string();
        assert!(error.starts_with("--only rain: no row has this name; accepted: none, carrier-offset"), "{error}");
    }

    #[test]
    fn a_receiver_without_impairments_is_honest_and_its_image_is_not_better_than_that() {
        let study = |only: &str| Study {
            receiver: Some(ReceiverKind::Sensing),
            only: Some(only.into()),
            frames: 60,
            seed: 1,
            seeds: 1,
        };
        let rows = measure(&study("none"), |_| {}).unwrap().rows;
        let row = &rows[0];
        assert!(row.positions.unwrap() > 0.9 && row.rmse_over_bound.unwrap() < 1.5, "{row:?}");
        // NEES of 60 trials has a mean of 2 and a deviation of 2/√60.
        assert!((row.nees.unwrap() - 2.0).abs() < 5.0 * 2.0 / 60f64.sqrt(), "{row:?}");
        let image = measure(&study("iq"), |_| {}).unwrap().rows;
        assert!(image.iter().any(|image| image.scene == row.scene && image.positions.is_some()), "{image:?}");
    }

    #[test]
    fn of_several_seeds_figures_are_medians_with_their_range_and_counts_are_sums() {
        let study = |seed, seeds| Study { only: Some("none".into()), frames: 12, seed, seeds, ..Study::default() };
        let alone = [3, 4, 5].map(|seed| measure(&study(seed, 1), |_| {}).unwrap().rows);
        let together = measure(&study(3, 3), |_| {}).unwrap();
        for (n, row) in together.rows.iter().enumerate() {
            let mut own = alone.each_ref().map(|rows| rows[n].clone());
            assert!(own.iter().all(|row| row.ranges.is_empty()));
            for (name, figure) in FIGURES {
                let mut values: Vec<_> = own.iter_mut().filter_map(|row| *figure(row)).collect();
                values.sort_by(f64::total_cmp);
                let found = (*figure(&mut row.clone()), row.ranges.get(name).copied());
                let expected = (values.len() == 3).then(|| (Some(values[1]), Some([Some(values[0]), Some(values[2])])));
                assert_eq!(found, expected.unwrap_or_default(), "{name}");
            }
            assert_eq!(row.refused, own.iter().map(|row| row.refused).sum());
        }
        let line = &together.lines()[1];
        assert!(line.contains(" … ") && line.contains("16-QAM"), "{line}");
        // A figure that one seed does not have is larger than any.
        let rows = [Some(1.0), None, Some(3.0)].map(|loss_db| Row { loss_db, ..Row::default() });
        let row = Row::of(rows.to_vec());
        assert_eq!((row.loss_db, row.ranges["loss_db"]), (Some(3.0), [Some(1.0), None]));
        assert_eq!(Row::of(vec![Row::default(), rows[0].clone(), Row::default()]).loss_db, None);
    }
}
