//! What becomes of pictures that came through: saved, and compared with what was sent. This has a thread of its own,
//! so that neither the air nor the events wait for it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use image::{RgbImage, imageops};

use super::report::{ImageReport, Quality, SentPicture};
use super::watch::Shelf;
use crate::control::PictureLibrary;
use crate::pictures::{PictureWriter, save_picture};
use crate::runtime::StopSwitch;
use crate::stream::digest;
use crate::{Error, Result};

/// Pictures that may wait to be compared.
const WAITING: usize = 16;

/// Error-free decodes that are kept for comparison.
const KEPT: usize = 64;

/// A picture to be shown: the original, what arrived, and its line of the report.
pub struct Shown {
    /// As sent.
    pub sent: RgbImage,
    /// As received.
    pub received: RgbImage,
    /// Its line.
    pub line: ImageReport,
}

impl Shown {
    /// Sent and received side by side.
    pub fn beside(&self) -> RgbImage {
        let (width, height) = self.sent.dimensions();
        let gap = width / 32 + 1;
        let mut both = RgbImage::from_pixel(2 * width + gap, height, image::Rgb([255; 3]));
        imageops::replace(&mut both, &self.sent, 0, 0);
        imageops::replace(&mut both, &self.received, i64::from(width + gap), 0);
        both
    }

    /// Writes it as sent, as received and as both side by side into a folder that is there.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let save = |picture: &RgbImage, name: &str| save_picture(&folder.join(name), picture);
        save(&self.beside(), "sent-and-received.png")?;
        save(&self.sent, "sent.png")?;
        save(&self.received, "received.png")
    }
}

/// What came of a picture.
pub(super) enum Came {
    /// Here: what it looks like, where it could be decoded at all.
    Here(Option<RgbImage>),
    /// In another process: the digest of its samples.
    Elsewhere(Option<u64>),
}

/// A picture to be compared with what was sent.
pub(super) struct Job {
    /// Place among the communication receivers.
    pub receiver: u8,
    /// Its number in the run.
    pub number: u64,
    /// As it was sent; nothing where nobody here knows.
    pub sent: Option<SentPicture>,
    /// Blocks of it that arrived.
    pub blocks: u64,
    /// What came.
    pub came: Came,
}

/// Pictures on their way to the report.
pub(super) struct Gallery {
    jobs: Option<Sender<Job>>,
    lines: Receiver<(u8, ImageReport)>,
    thread: thread::JoinHandle<Result<Option<Shown>>>,
}

impl Gallery {
    /// A gallery that saves pictures with `writer`. A panic in its thread ends the run.
    pub fn open(
        library: Arc<PictureLibrary>,
        writer: Option<PictureWriter>,
        shelf: Arc<Shelf>,
        stop: &StopSwitch,
    ) -> Result<Self> {
        let (jobs, taken) = bounded(WAITING);
        let (lines_out, lines) = unbounded();
        let mut keeper = Keeper {
            library,
            writer,
            shelf,
            written: Ok(()),
            error_free: VecDeque::new(),
            lines: lines_out,
            shown: None,
        };
        let work = move || {
            taken.into_iter().for_each(|job| keeper.take(job));
            keeper.finish()
        };
        let thread = stop.spawn("gallery", work)?;
        Ok(Self { jobs: Some(jobs), lines, thread })
    }

    /// Whether another picture finds room without waiting.
    pub fn has_room(&self) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| !jobs.is_full())
    }

    /// Takes in a picture.
    pub fn put(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Its thread ends before the gallery only by a panic, which ends the run.
            let _ = jobs.send(job);
        }
    }

    /// Lines that are ready.
    pub fn lines(&self) -> impl Iterator<Item = (u8, ImageReport)> {
        self.lines.try_iter()
    }

    /// No more pictures come: the lines that are left, and the newest picture shown. An error where a file could not be
    /// written.
    pub fn close(mut self) -> (Vec<(u8, ImageReport)>, Result<Option<Shown>>) {
        drop(self.jobs.take());
        let lines = self.lines.iter().collect();
        let shown = self.thread.join().unwrap_or_else(|_| Err(Error::internal("the gallery thread panicked")));
        (lines, shown)
    }
}

/// What a receiver that loses nothing shows of a source in a model.
struct ErrorFree {
    of: (usize, usize),
    image: RgbImage,
    quality: Quality,
}

/// The thread's own.
struct Keeper {
    library: Arc<PictureLibrary>,
    writer: Option<PictureWriter>,
    shelf: Arc<Shelf>,
    written: Result<()>,
    error_free: VecDeque<Arc<ErrorFree>>,
    lines: Sender<(u8, ImageReport)>,
    shown: Option<Shown>,
}

impl Keeper {
    fn take(&mut self, job: Job) {
        if let (Came::Here(Some(image)), Some(writer), Ok(())) = (&job.came, &mut self.writer, &self.written) {
            self.written = writer.put(image);
        }
        if let Came::Here(Some(image)) = &job.came {
            self.shelf.put(job.receiver, job.number, job.sent.map(|sent| sent.source), image);
        }
        let Some(sent) = job.sent else { return };
        let mut line = ImageReport::missing(job.number, &sent);
        line.blocks_lost = sent.blocks.saturating_sub(job.blocks);
        let reference = self.error_free(sent.source, sent.model);
        let best = reference.as_ref().map(|reference| reference.quality);
        let original = self.library.original(sent.source);
        match job.came {
            Came::Here(image) => {
                if let Some(image) = image.filter(|image| image.dimensions() == original.dimensions()) {
                    let equal = reference.as_ref().filter(|reference| reference.image == image);
                    let quality = equal.map_or_else(|| Quality::of(original, &image), |reference| reference.quality);
                    line.rate(quality, equal.is_some(), best);
                    self.shown = Some(Shown { sent: original.clone(), received: image, line: line.clone() });
                }
            }
            // One that differs from the error-free decode counts as not shown: only its digest is known here.
            Came::Elsewhere(found) => {
                let equal = reference.filter(|reference| found == Some(digest(reference.image.as_raw())));
                if let Some(reference) = equal {
                    line.rate(reference.quality, true, best);
                }
            }
        }
        // Where nobody asks any more the run has ended.
        let _ = self.lines.send((job.receiver, line));
    }

    fn error_free(&mut self, source: usize, model: usize) -> Option<Arc<ErrorFree>> {
        let of = (source, model);
        if let Some(known) = self.error_free.iter().find(|known| known.of == of) {
            return Some(Arc::clone(known));
        }
        let image = self.library.error_free(source, model)?;
        let quality = Quality::of(self.library.original(source), &image);
        if self.error_free.len() == KEPT {
            self.error_free.pop_front();
        }
        self.error_free.push_back(Arc::new(ErrorFree { of, image, quality }));
        self.error_free.back().cloned()
    }

    fn finish(self) -> Result<Option<Shown>> {
        self.written?;
        self.writer.map_or(Ok(()), PictureWriter::finish)?;
        Ok(self.shown)
    }
}
