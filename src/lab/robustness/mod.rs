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
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

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
    let lock = |mutex: &Mutex<Option<Result<Row>>>| mutex.lock().unwrap_or_else(PoisonError::into_inner).take();
    let bases = communication::Bases::measure(study, jobs)?;
    let rows: Vec<Mutex<Option<Result<Row>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { break };
            let row = match job {
                Job::Communication(case, format) => communication::measure(case, format, &bases, study),
                Job::Sensing(case, scene) => sensing::measure(case, cases::SENSED[*scene], study),
            };
            *rows[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
            done((100 * (finished.fetch_add(1, Ordering::Relaxed) + 1) / jobs.len()) as u64);
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(jobs.len()).max(1);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let rows = rows.iter().map(|row| lock(row).unwrap_or_else(|| Err(Error::internal("a row was not measured"))));
    rows.collect()
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
    let number = |value: Option<f64>, digits| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    let mut lines = Vec::new();
    if rows.iter().any(|row| row.modulation.is_some()) {
        lines.push(format!(
            "{:16} {:44} {:>16} {:>8} {:>8} {:>9} {:>7} {:>6}",
            "communication", "level", "modulation", "loss dB", "floor", "at +3 dB", "SINR dB", "wrong"
        ));
    }
    for row in rows.iter().filter(|row| row.modulation.is_some()) {
        lines.push(format!(
            "{:16} {:44} {:>16} {:>8} {:>8} {:>9} {:>7} {:>6}",
            row.name,
            row.level,
            row.modulation.as_deref().unwrap_or_default(),
            row.loss_db.map_or("never".to_owned(), |loss| format!("{loss:.2}")),
            number(row.floor, 4),
            number(row.lost_3_db, 4),
            number(row.sinr_excess_db, 2),
            row.wrong_blocks.unwrap_or(0)
        ));
    }
    if rows.iter().any(|row| row.scene.is_some()) {
        lines.push(format!(
            "{:16} {:36} {:>8} {:>10} {:>11} {:>10} {:>6} {}",
            "sensing", "level", "scene", "positions", "RMSE/bound", "NEES", "wrong", "refused"
        ));
    }
    for row in rows.iter().filter(|row| row.scene.is_some()) {
        lines.push(format!(
            "{:16} {:36} {:>8} {:>10} {:>11} {:>10} {:>6} {}",
            row.name,
            row.level,
            row.scene.as_deref().unwrap_or_default(),
            number(row.positions, 3),
            number(row.rmse_over_bound, 2),
            row.nees.map_or("–".to_owned(), |nees| format!("{nees:.3e}")),
            row.wrong.unwrap_or(0),
            row.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
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
        let study =
            |only: &str| Study { receiver: Some(ReceiverKind::Sensing), only: Some(only.into()), frames: 60, seed: 1 };
        let rows = measure(&study("none"), |_| {}).unwrap().rows;
        let row = &rows[0];
        assert!(row.positions.unwrap() > 0.9 && row.rmse_over_bound.unwrap() < 1.5, "{row:?}");
        // NEES of 60 trials has a mean of 2 and a deviation of 2/√60.
        assert!((row.nees.unwrap() - 2.0).abs() < 5.0 * 2.0 / 60f64.sqrt(), "{row:?}");
        let image = measure(&study("iq"), |_| {}).unwrap().rows;
        assert!(image.iter().any(|image| image.scene == row.scene && image.positions.is_some()), "{image:?}");
    }
}
