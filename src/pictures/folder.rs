//! The pictures of a folder: what can be read of it, and a line on what cannot.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::kind::{Kind, MAGIC_BYTES};
use super::read::{Reading, read_picture};
use super::video::is_video;
use super::{KINDS, What};
use crate::{Error, Result};

/// How many of the files that were skipped are named.
const NAMED: usize = 3;

/// What was skipped of a folder.
#[derive(Default)]
struct Skipped {
    number: usize,
    named: Vec<String>,
}

impl Skipped {
    fn add(&mut self, file: &Path, why: &str) {
        self.number += 1;
        if self.named.len() < NAMED {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // What would have been accepted stands elsewhere.
            let why = why.split("; accepted").next().unwrap_or(why);
            self.named.push(format!("{name} ({why})"));
        }
    }

    fn list(&self) -> String {
        let more = self.number - self.named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.named.join(", ") + &more
    }
}

/// Hands over the pictures of a folder by name, at most `limit` of them spread over it, and gives lines on what was skipped
/// or is not whole. Hidden files are no concern of anybody's.
///
/// # Errors
/// Where nothing of the folder can be read, or `take` fails.
pub fn read_folder(
    folder: &Path,
    limit: Option<usize>,
    reading: Reading,
    mut take: impl FnMut(&Path, RgbImage) -> Result<()>,
) -> Result<Vec<String>> {
    let mut skipped = Skipped::default();
    let files = files(folder, &mut skipped)?;
    let candidates = files.len();
    let chosen = limit.unwrap_or(candidates).clamp(candidates.min(1), candidates);
    let (mut notes, mut taken) = (Vec::new(), 0);
    for file in (0..chosen).map(|number| &files[number * candidates / chosen]) {
        match read_picture(file, reading) {
            Ok((picture, note)) => {
                notes.extend(note);
                take(file, picture)?;
                taken += 1;
            }
            Err(error) => {
                let said = error.to_string();
                let place = format!("{}: ", file.display());
                skipped.add(file, said.strip_prefix(&place).unwrap_or(&said));
            }
        }
    }
    if taken == 0 {
        let found = match skipped.number {
            0 => "nothing is in this folder".to_owned(),
            number => format!("none of {number} can be read: {}", skipped.list()),
        };
        return Err(Error::file(folder, format!("{found}; accepted: a folder with {KINDS} files")));
    }
    if skipped.number > 0 {
        let all = taken + skipped.number;
        notes.push(format!("{}: {} of {all} skipped: {}", folder.display(), skipped.number, skipped.list()));
    }
    Ok(notes)
}

/// Files that begin as a picture does, by name.
fn files(folder: &Path, skipped: &mut Skipped) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let hidden = |file: &Path| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|file| !hidden(file)).collect();
    all.sort();
    all.retain(|file| kind(file).map_err(|why| skipped.add(file, &why)).is_ok());
    Ok(all)
}

fn kind(file: &Path) -> What<Kind> {
    let words = |error: std::io::Error| error.to_string();
    let metadata = std::fs::metadata(file).map_err(words)?;
    if metadata.is_dir() {
        return Err("a folder".into());
    }
    if !metadata.is_file() {
        return Err("not a file".into());
    }
    if is_video(file) {
        return Err("a video".into());
    }
    let mut beginning = Vec::new();
    let open = File::open(file).map_err(words)?;
    open.take(MAGIC_BYTES as u64).read_to_end(&mut beginning).map_err(words)?;
    Kind::of(&beginning)
}
