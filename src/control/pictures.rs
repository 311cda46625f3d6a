//! Pictures in files and videos, and those to send: read at the start, encoded on a thread of their own the first time
//! a model is asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use image::RgbImage;

use super::video::{VideoReader, VideoWriter, is_video};
use crate::blocks::{Feed, PictureFeed};
use crate::recording::write_whole;
use crate::semantic::{Bank, Decoder, Encoder, Picture};
use crate::stream::Wake;
use crate::{Error, Result};

/// The shipped pictures.
const SAMPLES: [(&str, &[u8]); 2] =
    [("girl", include_bytes!("../../pictures/girl.png")), ("macaws", include_bytes!("../../pictures/macaws.png"))];

/// Most pixels of all pictures of a run, which stay in memory.
const PIXELS_IN_A_RUN: u64 = 1 << 28;

/// Hands over the pictures of files, folders (their PNG and JPEG files by name) and videos, one after another.
pub fn each_picture(paths: &[PathBuf], mut take: impl FnMut(&Path, RgbImage) -> Result<()>) -> Result<()> {
    for path in paths {
        if is_video(path) {
            let mut video = VideoReader::open(path)?;
            while let Some(picture) = video.next()? {
                take(path, picture)?;
            }
        } else if path.is_dir() {
            for file in pictures_in(path)? {
                take(&file, read_picture(&file)?)?;
            }
        } else {
            take(path, read_picture(path)?)?;
        }
    }
    Ok(())
}

/// Where pictures go.
pub enum PictureWriter {
    /// One picture to this file.
    One(PathBuf),
    /// Any number of them, numbered before the suffix.
    Numbered(PathBuf, usize),
    /// A video.
    Video(VideoWriter),
}

impl PictureWriter {
    /// A video where the suffix is a video's, else PNG or JPEG files: a single one of exactly this name, or numbered ones.
    pub fn create(file: &Path, single: bool, pictures_per_s: f64) -> Result<Self> {
        if is_video(file) {
            return VideoWriter::create(file, pictures_per_s).map(Self::Video);
        }
        if !is_picture(file) {
            return Err(Error::file(
                file,
                "accepted are names that end in .png, .jpg, .jpeg or, for a video, .mp4 and the like",
            ));
        }
        Ok(if single { Self::One(file.to_owned()) } else { Self::Numbered(file.to_owned(), 0) })
    }

    /// Adds a picture.
    pub fn put(&mut self, picture: &RgbImage) -> Result<()> {
        let file = match self {
            Self::One(file) => file.clone(),
            Self::Numbered(file, number) => {
                *number += 1;
                numbered(file, *number - 1)
            }
            Self::Video(video) => return video.push(picture),
        };
        save_picture(picture, &file)
    }

    /// Ends a video; nothing is left to do for files.
    pub fn finish(self) -> Result<()> {
        if let Self::Video(video) = self { video.finish() } else { Ok(()) }
    }
}

/// Writes a picture in the format of its name; where that fails, what was there before stays.
///
/// # Errors
/// Where the name is of no known format, and where the folder or the disk does not take the file.
pub fn save_picture(picture: &RgbImage, file: &Path) -> Result<()> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let format = image::ImageFormat::from_path(file);
    let written = format.and_then(|format| picture.write_to(&mut bytes, format));
    written.map_err(|error| Error::file(file, error))?;
    write_whole(file, bytes.get_ref()).map_err(|error| Error::file(file, error))
}

fn numbered(file: &Path, number: usize) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    file.with_file_name(format!("{}-{number:04}.{}", part(file.file_stem()), part(file.extension())))
}

/// Reads the pictures of a run: files, folders and videos; the shipped ones where none are named.
pub fn load_pictures(paths: &[PathBuf]) -> Result<Vec<RgbImage>> {
    if paths.is_empty() {
        return SAMPLES
            .iter()
            .map(|(name, bytes)| {
                let read = image::load_from_memory(bytes);
                read.map(|picture| picture.to_rgb8())
                    .map_err(|error| Error::internal(format!("picture {name}: {error}")))
            })
            .collect();
    }
    let (mut pictures, mut pixels) = (Vec::new(), 0);
    each_picture(paths, |path, picture| {
        pixels += u64::from(picture.width()) * u64::from(picture.height());
        if pixels > PIXELS_IN_A_RUN {
            let what = format!(
                "the pictures have more than {PIXELS_IN_A_RUN} pixels; accepted in a run: fewer, or a shorter video"
            );
            return Err(Error::file(path, what));
        }
        pictures.push(picture);
        Ok(())
    })?;
    Ok(pictures)
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
    /// Sources that asked for a picture that was not coded yet.
    waiting: Vec<Wake>,
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
                    state.waiting.drain(..).for_each(|source| source.wake());
                }
            })
            .map_err(|error| Error::device(format!("no thread for the picture encoder: {error}")))?;
        Ok(Self { bank, pictures, total, state, orders })
    }

    /// The original of a source.
    pub fn original(&self, source: usize) -> &RgbImage {
        &self.pictures[source]
    }

    /// Samples of a source: three per pixel.
    pub fn source_samples(&self, source: usize) -> f64 {
        let (width, height) = self.pictures[source].dimensions();
        3.0 * f64::from(width) * f64::from(height)
    }

    /// What a receiver that loses nothing shows.
    pub fn error_free(&self, source: usize, model: usize) -> Option<RgbImage> {
        let known = locked(&self.state).coded.get(&(source, model)).cloned();
        // In a replay nobody has asked for it before.
        let encode = || Encoder::new(Arc::clone(&self.bank)).encode(&self.pictures[source], model, source as u16).ok();
        let coded = known.or_else(|| encode().map(Arc::new))?;
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
        let asking = thread::current();
        if state.waiting.iter().all(|source| source.0.id() != asking.id()) {
            state.waiting.push(Wake(asking));
        }
        for source in [source, (source + 1) % self.pictures.len()] {
            if state.asked.insert((source, model)) {
                // The encoder ends with the library, never before it.
                let _ = self.orders.send((source, model));
            }
        }
        Feed::NotYet
    }
}
