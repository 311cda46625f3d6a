//! Pictures to send: read at the start, encoded on a thread of their own the first time a model is asked for.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use image::RgbImage;

use crate::blocks::{Feed, PictureFeed};
use crate::coding::{BlockCode, PlannedCodes};
use crate::modem::frame::BLOCKS;
use crate::modem::header::{MOST_BODY_BITS, MOST_PROTECTED_BITS};
use crate::optimize::{RateChoice, SourceModel, lowest_rate};
use crate::pictures::{self, Reading};
use crate::semantic::{Bank, Decoder, Encoder, Picture};
use crate::stream::{Plan, Wake};
use crate::{Error, Result};

/// The shipped pictures.
const SAMPLES: [(&str, &[u8]); 2] =
    [("girl", include_bytes!("../../pictures/girl.png")), ("macaws", include_bytes!("../../pictures/macaws.png"))];

/// Most pixels of all pictures of a run, which stay in memory.
const PIXELS_IN_A_RUN: u64 = 1 << 28;

/// Pictures to send.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    /// The pictures, in their order.
    pub pictures: Vec<RgbImage>,
    /// Where each is from.
    pub names: Vec<String>,
    /// Lines on what was skipped, or is not whole.
    pub notes: Vec<String>,
    /// Whether a video is among them.
    pub has_video: bool,
    /// The pictures' pace in pictures per second, where they are those of one video that says so.
    pub pictures_per_s: Option<f64>,
}

/// Reads the pictures of a run: files, folders and videos; the shipped ones where none are named.
pub fn load_pictures(paths: &[PathBuf], reading: Reading) -> Result<Pictures> {
    if paths.is_empty() {
        return shipped();
    }
    let mut read = Pictures {
        has_video: paths.iter().any(|path| pictures::is_video(path)),
        pictures_per_s: match paths {
            [one] if pictures::is_video(one) => pictures::pictures_per_s(one),
            _ => None,
        },
        ..Pictures::default()
    };
    let mut pixels = 0;
    read.notes = pictures::each_picture(paths, reading, |path, picture| {
        pixels += u64::from(picture.width()) * u64::from(picture.height());
        if pixels > PIXELS_IN_A_RUN {
            let what = format!(
                "the pictures have more than {PIXELS_IN_A_RUN} pixels; accepted in a run: fewer, or a shorter video"
            );
            return Err(Error::file(path, what));
        }
        read.pictures.push(picture);
        read.names.push(path.display().to_string());
        Ok(())
    })?;
    Ok(read)
}

fn shipped() -> Result<Pictures> {
    let mut read = Pictures::default();
    for (name, bytes) in SAMPLES {
        let picture = image::load_from_memory(bytes);
        let picture = picture.map_err(|error| Error::internal(format!("picture {name}: {error}")))?;
        read.pictures.push(picture.to_rgb8());
        read.names.push(name.into());
    }
    Ok(read)
}

/// A picture that headers can place, or the line that says why not.
fn fits(picture: Picture) -> Result<Picture> {
    let [protected, body] = [&picture.protected, &picture.body].map(|part| 8 * part.len());
    if protected > MOST_PROTECTED_BITS || body > MOST_BODY_BITS {
        return Err(Error::input(format!(
            "the picture has {protected} and {body} bits; accepted: up to {MOST_PROTECTED_BITS} and {MOST_BODY_BITS}"
        )));
    }
    Ok(picture)
}

#[derive(Default)]
struct State {
    /// By source and model.
    coded: HashMap<(usize, usize), Arc<Picture>>,
    /// Sources that are being made ready, and the plan's epoch for which.
    asked: HashSet<(usize, u64)>,
    /// Why a picture cannot be sent, which ends the run.
    failure: Option<Error>,
    /// Blocks that pictures took beyond what they may, less what others left since.
    debt: usize,
    /// Codes of the pictures' bodies, by N_c.
    codes: PlannedCodes,
    /// Sources that asked for a picture that was not coded yet.
    waiting: Vec<Wake>,
}

/// Fewest blocks of a picture that has a rate of its own: receivers learn of another one over four frames or eight, so that
/// rates must not change with every frame.
const LEAST_BLOCKS: usize = 8 * BLOCKS;

/// What the sample path and the encoder's thread share.
struct Shelf {
    bank: Arc<Bank>,
    pictures: Vec<RgbImage>,
    names: Vec<String>,
    state: Mutex<State>,
}

/// Pictures' shares that others may have taken.
const MOST_DEBT: usize = 4;

/// The pictures of a run, coded on demand and kept.
pub struct PictureLibrary {
    shelf: Arc<Shelf>,
    total: u64,
    /// Sources to be made ready for a plan.
    orders: Sender<(usize, Plan)>,
}

impl PictureLibrary {
    /// Sends pictures over and over, `total` in all. One that cannot be encoded ends the run: [`failure`](Self::failure)
    /// names it.
    pub fn new(bank: Arc<Bank>, pictures: Pictures, total: u64) -> Result<Self> {
        let Pictures { pictures, names, .. } = pictures;
        let (orders, taken) = unbounded::<(usize, Plan)>();
        let shelf = Arc::new(Shelf { bank, pictures, names, state: Mutex::default() });
        let here = Arc::clone(&shelf);
        thread::Builder::new()
            .name("picture-encoder".into())
            .spawn(move || {
                let mut encoder = Encoder::new(Arc::clone(&here.bank));
                taken.iter().for_each(|(source, plan)| here.prepare(source, &plan, &mut encoder));
            })
            .map_err(|error| Error::device(format!("no thread for the picture encoder: {error}")))?;
        Ok(Self { shelf, total, orders })
    }

    /// Why a picture could not be encoded.
    pub fn failure(&self) -> Option<Error> {
        self.shelf.locked().failure.clone()
    }

    /// The original of a source.
    pub fn original(&self, source: usize) -> &RgbImage {
        &self.shelf.pictures[source]
    }

    /// Samples of a source: three per pixel.
    pub fn source_samples(&self, source: usize) -> f64 {
        self.shelf.source_samples(source)
    }

    /// What a receiver that loses nothing shows.
    pub fn error_free(&self, source: usize, model: usize) -> Option<RgbImage> {
        let Shelf { bank, pictures, .. } = &*self.shelf;
        let known = self.shelf.locked().coded.get(&(source, model)).cloned();
        // In a replay nobody has asked for it before.
        let encode = || Encoder::new(Arc::clone(bank)).encode(&pictures[source], model, source as u16).ok();
        let coded = known.or_else(|| encode().map(Arc::new))?;
        let decoded = Decoder::new(Arc::clone(bank)).decode(&coded.protected, &coded.body, &[]);
        decoded.ok().map(|decoded| decoded.image)
    }
}

/// What a picture is sent with.
enum Rate {
    /// This model, and blocks of this N_c.
    Own(usize, usize),
    /// Model and rate of the plan.
    Planned,
    /// Nobody knows before the picture is coded in this model.
    Unknown(usize),
}

impl Shelf {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source_samples(&self, source: usize) -> f64 {
        let (width, height) = self.pictures[source].dimensions();
        3.0 * f64::from(width) * f64::from(height)
    }

    /// Codes a picture in all models that its rate under a plan depends on.
    fn prepare(&self, source: usize, plan: &Plan, encoder: &mut Encoder) {
        loop {
            let model = match self.ready(&mut self.locked(), source, plan) {
                Err(Some(model)) => model,
                _ => break,
            };
            let coded = encoder.encode(&self.pictures[source], model, source as u16).and_then(fits);
            let mut state = self.locked();
            match coded {
                Ok(picture) => drop(state.coded.insert((source, model), Arc::new(picture))),
                Err(error) => {
                    let name = self.names.get(source).cloned().unwrap_or_default();
                    state.failure.get_or_insert_with(|| error.within(name));
                    break;
                }
            }
        }
        let mut state = self.locked();
        state.asked.remove(&(source, plan.epoch));
        state.waiting.drain(..).for_each(|source| source.wake());
    }

    /// A picture as it is to be sent under a plan; otherwise the model in which it has to be coded first, or nothing after a
    /// failure.
    fn ready(
        &self,
        state: &mut State,
        source: usize,
        plan: &Plan,
    ) -> Result<(Arc<Picture>, Arc<BlockCode>), Option<usize>> {
        let (model, bits) = match self.rate(state, source, plan) {
            Rate::Own(model, bits) => (model, Some(bits)),
            Rate::Planned => (plan.model, None),
            Rate::Unknown(model) => return Err(Some(model)),
        };
        let picture = Arc::clone(state.coded.get(&(source, model)).ok_or(Some(model))?);
        match bits.map(|bits| state.codes.get(bits)) {
            None => Ok((picture, Arc::clone(&plan.payload))),
            Some(Ok(code)) => Ok((picture, code)),
            Some(Err(error)) => {
                state.failure = Some(error);
                Err(None)
            }
        }
    }

    /// The model and the rate that a picture's own bits leave best within what a plan lets it take. The search begins with the
    /// plan's model and goes up as long as that is better, or down until blocks arrive as often as they must: what comes out
    /// does not depend on what happens to be coded.
    fn rate(&self, state: &State, source: usize, plan: &Plan) -> Rate {
        let Some(budget) = plan.budget else { return Rate::Planned };
        let mut limits = budget.limits(self.source_samples(source));
        if limits.blocks < LEAST_BLOCKS {
            return Rate::Planned;
        }
        // What others took too much is saved, so that (16) holds in the mean; half of what a picture may take it does take.
        limits.blocks -= state.debt.min(limits.blocks / 2);
        let pixels = self.source_samples(source) as usize / 3;
        let models = self.bank.planned(&self.bank.models()[plan.model].tuned_for);
        let choice = |at: usize| -> Result<Option<RateChoice>, usize> {
            let picture = state.coded.get(&(source, models[at].index)).ok_or(models[at].index)?;
            let own = SourceModel {
                body_bits: 8.0 * picture.body.len() as f64,
                protected_bits: 8.0 * picture.protected.len() as f64,
                ..models[at].source_model(pixels)
            };
            Ok(lowest_rate(std::slice::from_ref(&own), &limits, plan.predicted_sinr, &budget.law))
        };
        let find = || -> Result<Option<RateChoice>, usize> {
            let Some(mut at) = models.iter().position(|model| model.index == plan.model) else { return Ok(None) };
            let mut best = choice(at)?;
            let is_feasible = |choice: &Option<RateChoice>| choice.is_some_and(|choice| choice.feasible);
            while !is_feasible(&best) && at > 0 {
                at -= 1;
                best = choice(at)?.or(best);
            }
            while is_feasible(&best) && at + 1 < models.len() {
                at += 1;
                let next = choice(at)?.filter(|next| next.feasible);
                match (next, best) {
                    (Some(next), Some(found)) if next.predicted_mse < found.predicted_mse => best = Some(next),
                    _ => break,
                }
            }
            Ok(best)
        };
        match find() {
            Ok(Some(found)) if found.feasible => Rate::Own(found.model, found.payload_bits),
            // Too much for its blocks in any model: it takes more of them rather than lose them, and others take fewer.
            Ok(Some(found)) => Rate::Own(found.model, plan.payload.information_bits()),
            Ok(None) => Rate::Planned,
            Err(model) => Rate::Unknown(model),
        }
    }
}

impl PictureFeed for PictureLibrary {
    fn picture(&self, number: u64, plan: &Plan) -> Feed {
        if number >= self.total {
            return Feed::End;
        }
        let count = self.shelf.pictures.len();
        let source = (number % count as u64) as usize;
        let mut state = self.shelf.locked();
        if state.failure.is_some() {
            return Feed::End;
        }
        let ready = self.shelf.ready(&mut state, source, plan);
        if matches!(ready, Err(Some(_))) {
            let asking = thread::current();
            if state.waiting.iter().all(|source| source.0.id() != asking.id()) {
                state.waiting.push(Wake(asking));
            }
            self.order(&mut state, source, plan);
        }
        // The next one is made ready while this one is sent.
        let next = (source + 1) % count;
        if let Err(Some(_)) = self.shelf.ready(&mut state, next, plan) {
            self.order(&mut state, next, plan);
        }
        match ready {
            Ok((picture, payload)) => {
                let blocks = |bytes: &[u8], code: &BlockCode| (8 * bytes.len()).div_ceil(code.payload_bits());
                let taken = blocks(&picture.protected, &plan.protected) + blocks(&picture.body, &payload);
                if let Some(budget) = plan.budget {
                    let allowed = budget.limits(self.shelf.source_samples(source)).blocks;
                    // Where nothing fits there is no end to it.
                    state.debt = (state.debt + taken).saturating_sub(allowed).min(MOST_DEBT * allowed);
                }
                Feed::Ready { picture, source, payload }
            }
            Err(Some(_)) => Feed::NotYet,
            Err(None) => Feed::End,
        }
    }
}

impl PictureLibrary {
    /// Has a picture made ready.
    fn order(&self, state: &mut State, source: usize, plan: &Plan) {
        if state.asked.insert((source, plan.epoch)) {
            // The encoder ends with the library, never before it.
            let _ = self.orders.send((source, plan.clone()));
        }
    }
}
