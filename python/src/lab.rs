//! The measurements of `issc sense`, `link`, `robustness` and `codec-curve`, whole or a shard each, and their merging.

use issc::lab::shard::{Part, Shard, merge as merge_parts};
use issc::lab::{codec_curve as curve, link as coded, robustness as table, sense as sensing};
use issc::optimize::Problem;
use issc::semantic::Bank;
use pyo3::prelude::*;
use serde_json::Value;

use crate::arrays::{Weights, beams, object};
use crate::codec::{Picture, image};
use crate::error::{OrRaise, wrong};
use crate::scene::Scene;

/// (index from 1, of).
type OfShard = Option<(u64, u64)>;

fn shard(given: OfShard) -> PyResult<Option<Shard>> {
    given.map(|(index, of)| Shard::new(index, of)).transpose().or_raise()
}

fn value(part: Part) -> issc::Result<Value> {
    serde_json::to_value(part).map_err(|error| issc::Error::internal(error.to_string()))
}

/// The position estimator against its bound, by Monte Carlo: the dictionary that `issc sense --json` prints.
///
/// w_c, w_0: beams [N_T], √W; those of `optimize` where absent. trials: each with fresh symbols, timing error, phase and
/// noise. frames: added up in phase in each. sounded: a sounding before each trial tells directions apart. shard: (i, n) runs the i-th of n shares, and gives what `merge` adds up.
#[pyfunction]
#[pyo3(signature = (scene, w_c = None, w_0 = None, *, trials = 1000, frames = 1, moving = false, sounded = false, seed = 1, shard = None))]
#[expect(clippy::too_many_arguments, reason = "named in Python")]
pub fn sense<'py>(
    py: Python<'py>,
    scene: &Scene,
    w_c: Option<Weights<'py>>,
    w_0: Option<Weights<'py>>,
    trials: u64,
    frames: usize,
    moving: bool,
    sounded: bool,
    seed: u64,
    shard: OfShard,
) -> PyResult<Bound<'py, PyAny>> {
    let scene = scene.inner();
    let sampling = sensing::Sampling { trials, frames, moving, sounded, seed };
    sensing::check(scene, sampling).map_err(wrong)?;
    let given = match (w_c, w_0) {
        (Some(w_c), Some(w_0)) => Some(beams(&w_c, &w_0, scene.array.transmit_antennas)?),
        (None, None) => None,
        _ => return Err(wrong("w_c, w_0: found one of them; accepted: both or none")),
    };
    let share = self::shard(shard)?;
    let found = py.detach(|| {
        let beams = given.unwrap_or_else(|| Problem::from_scene(scene).solve().beams);
        match share {
            Some(share) => value(sensing::part(scene, &beams, sampling, share)?),
            None => Ok(sensing::report(&sensing::study(scene, &beams, sampling)?, sampling)),
        }
    });
    object(py, &found.or_raise()?)
}

/// A coded link over the complex Gaussian channel: the dictionary that `issc link --json` prints.
///
/// modulation: qpsk, 16qam, 64qam, 256qam. rate: information bits per symbol, the CRC among them. snr_db: Es/N0, dB.
/// blocks: of 256 symbols, or of as many as `joint` blocks have together. shard: (i, n) as for `sense`.
#[pyfunction]
#[pyo3(signature = (modulation, rate, snr_db, blocks, *, joint = 1, rescue = false, shaped = false, crc = "none", seed = 1, shard = None))]
#[expect(clippy::too_many_arguments, reason = "named in Python")]
pub fn link<'py>(
    py: Python<'py>,
    modulation: &str,
    rate: f64,
    snr_db: f64,
    blocks: u64,
    joint: usize,
    rescue: bool,
    shaped: bool,
    crc: &str,
    seed: u64,
    shard: OfShard,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = coded::Settings {
        modulation: modulation.into(),
        rate,
        snr_db,
        blocks,
        joint,
        rescue,
        shaped,
        crc: crc.into(),
        seed,
    };
    let share = self::shard(shard)?;
    let found = py.detach(|| match share {
        Some(share) => value(coded::part(&settings, share)?),
        None => Ok(coded::measure(&settings)?.report),
    });
    object(py, &found.or_raise()?)
}

/// What impairments cost the receivers: the dictionary that `issc robustness --json` prints.
///
/// receiver: communication or sensing; both where absent. only: rows of this kind of impairment alone. frames: at each
/// SNR, and trials of each sensing row. shard: (i, n) as for `sense`; shares are rows.
#[pyfunction]
#[pyo3(signature = (*, receiver = None, only = None, frames = 250, seed = 1, shard = None))]
pub fn robustness<'py>(
    py: Python<'py>,
    receiver: Option<&str>,
    only: Option<String>,
    frames: u64,
    seed: u64,
    shard: OfShard,
) -> PyResult<Bound<'py, PyAny>> {
    let receiver =
        receiver.map(|kind| kind.parse().map_err(|error| wrong(format!("receiver: {error}")))).transpose()?;
    let study = table::Study { receiver, only, frames, seed, seeds: 1 };
    let share = self::shard(shard)?;
    let found = py.detach(|| match share {
        Some(share) => value(table::part(&study, share, |_| {})?),
        None => Ok(table::measure(&study, |_| {})?.report()),
    });
    object(py, &found.or_raise()?)
}

/// The source models over bit error rates with eq. (7) fitted: the dictionary that `issc codec-curve --json` prints.
///
/// pictures: arrays [height, width, 3], uint8. models: indices or names; all where absent. draws: of the errors per
/// picture and rate. shard: (i, n) as for `sense`; shares are pictures under models.
#[pyfunction]
#[pyo3(signature = (pictures, *, models = None, draws = 1, effort = 0, seed = 1, shard = None))]
pub fn codec_curve<'py>(
    py: Python<'py>,
    pictures: Vec<Picture<'py>>,
    models: Option<Vec<Bound<'py, PyAny>>>,
    draws: u64,
    effort: usize,
    seed: u64,
    shard: OfShard,
) -> PyResult<Bound<'py, PyAny>> {
    let bank = Bank::shipped();
    let pictures: Vec<_> = pictures.iter().map(|picture| image("pictures", picture)).collect::<PyResult<_>>()?;
    let chosen = match models {
        None => bank.models().to_vec(),
        Some(names) => {
            names.iter().map(|name| bank.find(&name.str()?.to_string()).cloned().or_raise()).collect::<PyResult<_>>()?
        }
    };
    let share = self::shard(shard)?;
    let settings = curve::Settings { draws, seed, effort };
    let found = py.detach(|| {
        let bench = curve::Bench::new(&bank, &chosen, &pictures, settings)?;
        match share {
            Some(share) => value(bench.part(share)?),
            None => Ok(curve::report(&bench.measure(|_| {})?, pictures.len())),
        }
    });
    object(py, &found.or_raise()?)
}

/// What the shards of one measurement found together, as one run gives it. parts: what `sense`, `link`, `robustness` or
/// `codec_curve` gave for every shard, in any order; `issc merge` does the same with files.
#[pyfunction]
pub fn merge<'py>(py: Python<'py>, parts: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let json = py.import("json")?;
    let mut read = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let (name, text): (_, String) = (format!("parts[{number}]"), json.call_method1("dumps", (part,))?.extract()?);
        read.push((name.clone(), Part::parse(&text, &name).or_raise()?));
    }
    object(py, &py.detach(|| merge_parts(read)).or_raise()?.report)
}
