//! Pictures of files, folders, videos and the standard input, one after another.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::What;
use super::decode::{Decoded, check_header, decode};
use super::folder::read_folder;
use super::kind::{Kind, MAGIC_BYTES};
use super::video::{VideoReader, is_video};
use crate::{Cause, Error, Result};

/// Most bytes of one picture file, which is read whole.
const FILE_BYTES: u64 = 256 << 20;

/// How pictures are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether a file that is cut short is shown as far as it goes. Otherwise it is refused.
    pub lenient: bool,
}

/// Whether a path stands for the standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads one picture: a file, or `-`, the standard input. Beside it a line on what is missing, where that was allowed.
///
/// # Errors
/// One line with the file's name where it is no picture, larger than what can be encoded, damaged or, without
/// [`Reading::lenient`], cut short.
pub fn read_picture(file: &Path, reading: Reading) -> Result<(RgbImage, Option<String>)> {
    let (name, read) = match is_standard(file) {
        true => ("standard input".into(), standard_input()),
        false => (file.display().to_string(), read_file(file)),
    };
    let bytes = read.map_err(|what| Error::input(format!("{name}: {what}")))?;
    picture_of(&name, &bytes, reading)
}

/// The picture in a file's bytes, as [`read_picture`] reads it; `name` stands in error lines.
///
/// # Errors
/// As [`read_picture`].
pub fn picture_of(name: &str, bytes: &[u8], reading: Reading) -> Result<(RgbImage, Option<String>)> {
    // Decoders of many formats have many assertions: one that fails is the file's fault and ends only its reading.
    let decoded = std::panic::catch_unwind(|| decode(bytes, reading.lenient))
        .unwrap_or_else(|_| Err("damaged: its parts contradict each other".into()));
    let Decoded { picture, cut } = decoded.map_err(|what| {
        let cut = what.contains(" cut short: ") && !what.contains("nothing of it") && !reading.lenient;
        let hint = if cut { "; accepted with --lenient: what there is of it" } else { "" };
        let damaged = what.contains(" cut short: ") || what.contains("damaged");
        Error::new(if damaged { Cause::Damaged } else { Cause::Input }, format!("{name}: {what}{hint}"))
    })?;
    Ok((picture, cut.map(|cut| format!("{name}: {cut}"))))
}

/// A file's bytes, where its kind is known and its size can be encoded.
fn read_file(file: &Path) -> What<Vec<u8>> {
    let words = |error: std::io::Error| error.to_string();
    let mut open = File::open(file).map_err(words)?;
    let metadata = open.metadata().map_err(words)?;
    if metadata.is_dir() {
        return Err("a folder; accepted here: a picture".into());
    }
    let mut bytes = Vec::new();
    if metadata.is_file() {
        (&mut open).take(MAGIC_BYTES as u64).read_to_end(&mut bytes).map_err(words)?;
        let kind = Kind::of(&bytes)?;
        open.rewind().map_err(words)?;
        check_header(kind, BufReader::new(&mut open))?;
        open.rewind().map_err(words)?;
        bytes.clear();
    }
    read_all(open, bytes)
}

fn standard_input() -> What<Vec<u8>> {
    read_all(std::io::stdin().lock(), Vec::new())
}

fn read_all(source: impl Read, mut bytes: Vec<u8>) -> What<Vec<u8>> {
    source.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("more than {FILE_BYTES} bytes; accepted: up to that"));
    }
    Ok(bytes)
}

/// Hands over the pictures of files, folders (by name), videos and the standard input (`-`), one after another, and gives
/// lines on what was skipped or is not whole.
///
/// # Errors
/// Where a named file or video cannot be read, a folder has nothing that can be, or `take` fails.
pub fn each_picture(
    paths: &[PathBuf],
    reading: Reading,
    mut take: impl FnMut(&Path, RgbImage) -> Result<()>,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for path in paths {
        if is_video(path) {
            let mut video = VideoReader::open(path)?;
            while let Some(picture) = video.next()? {
                take(path, picture)?;
            }
        } else if path.is_dir() {
            notes.extend(read_folder(path, None, reading, &mut take)?);
        } else {
            let (picture, note) = read_picture(path, reading)?;
            notes.extend(note);
            take(path, picture)?;
        }
    }
    Ok(notes)
}
