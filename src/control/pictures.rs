//! Pictures to send: read at the start, encoded on a thread of their own the first time a model is asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use image::RgbImage;

use crate::blocks::{Feed, PictureFeed};
use crate::semantic::{Bank, Decoder, Encoder, Picture};
use crate::stream::Wake;
use crate::{Error, Result};

/// The shipped pictures.
const SAMPLES: [(&str, &[u8]); 2] =
    [("girl", include_bytes!("../../pictures/girl.png")), ("macaws", include_bytes!("../../pictures/macaws.png"))];

/// Reads pictures: files, folders (their PNG and JPEG files by name); the shipped ones where none are named.
pub fn load_pictures(paths: &[PathBuf]) -> Result<Vec<RgbImage>> {
    if paths.is_empty() {
        return SAMPLES
            .iter()
            .map(|(name, bytes)| {
                let read = image::load_from_memory(bytes);
                read.map(|picture| picture.to_rgb8())
                    .map_err(|error| Error::failure(format!("picture {name}: {error}")))
            })
            .collect();
    }
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(pictures_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    files.iter().map(|file| read_picture(file)).collect()
}

/// The picture files of a folder, by name; one at least.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|file| is_picture(file)).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::file(folder, "no picture in this folder; accepted: .png, .jpg and .jpeg files"));
    }
    Ok(files)
}

fn is_picture(file: &Path) -> bool {
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// Reads one picture file.
pub fn read_picture(file: &Path) -> Result<RgbImage> {
    let bytes = std::fs::read(file).map_err(|error| Error::file(file, error))?;
    let picture = image::load_from_memory(&bytes).map_err(|error| {
        Error::file(file, format!("not a picture that can be read ({error}); accepted: PNG and JPEG"))
    })?;
    Ok(picture.to_rgb8())
}

#[derive(Default)]
struct State {
    coded: HashMap<(usize, usize), Arc<Picture>>,
    asked: HashSet<(usize, usize)>,
    failed: bool,
    waiting: Option<Wake>,
}

/// The pictures of a run, coded on demand and kept.
pub struct PictureLibrary {
    bank: Arc<Bank>,
    pictures: Arc<Vec<RgbImage>>,
    total: u64,
    state: Arc<Mutex<State>>,
    orders: Sender<(usize, usize)>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PictureLibrary {
    /// Sends `pictures` over and over, `total` in all. Fails where one cannot be encoded at all.
    pub fn new(bank: Arc<Bank>, pictures: Vec<RgbImage>, total: u64) -> Result<Self> {
        let pictures = Arc::new(pictures);
        let (orders, taken) = unbounded::<(usize, usize)>();
        let state = Arc::new(Mutex::new(State::default()));
        let mut encoder = Encoder::new(Arc::clone(&bank));
        let (shelf, images) = (Arc::clone(&state), Arc::clone(&pictures));
        thread::Builder::new()
            .name("picture-encoder".into())
            .spawn(move || {
                for (source, model) in taken {
                    let coded = encoder.encode(&images[source], model, source as u16);
                    let mut state = locked(&shelf);
                    match coded {
                        Ok(picture) => drop(state.coded.insert((source, model), Arc::new(picture))),
                        Err(_) => state.failed = true,
                    }
                    if let Some(waiting) = &state.waiting {
                        waiting.wake();
                    }
                }
            })
            .map_err(|error| Error::failure(format!("no thread for the picture encoder: {error}")))?;
        Ok(Self { bank, pictures, total, state, orders })
    }

    /// The original of a source.
    pub fn original(&self, source: usize) -> &RgbImage {
        &self.pictures[source]
    }

    /// What a receiver that loses nothing shows.
    pub fn error_free(&self, source: usize, model: usize) -> Option<RgbImage> {
        let coded = locked(&self.state).coded.get(&(source, model)).cloned()?;
        let decoded = Decoder::new(Arc::clone(&self.bank)).decode(&coded.protected, &coded.body, &[]);
        decoded.ok().map(|decoded| decoded.image)
    }
}

impl PictureFeed for PictureLibrary {
    fn picture(&self, number: u64, model: usize) -> Feed {
        if number >= self.total {
            return Feed::End;
        }
        let source = (number % self.pictures.len() as u64) as usize;
        let mut state = locked(&self.state);
        if state.failed {
            return Feed::End;
        }
        if let Some(picture) = state.coded.get(&(source, model)) {
            return Feed::Ready(Arc::clone(picture), source);
        }
        state.waiting.get_or_insert_with(|| Wake(thread::current()));
        for source in [source, (source + 1) % self.pictures.len()] {
            if state.asked.insert((source, model)) {
                // The encoder ends with the library, never before it.
                let _ = self.orders.send((source, model));
            }
        }
        Feed::NotYet
    }
}
