//! Where the files of a recording stand: a folder, or an archive (`.sigmf`, a tar file) that is read in its place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Most files of an archive that are looked at.
const MOST_FILES: usize = 10_000;

/// A whole file, or a file inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// What it is called in errors.
    pub(super) label: PathBuf,
    /// Its bytes.
    pub(super) length: u64,
    path: PathBuf,
    begin: u64,
}

impl Stretch {
    /// All of a file.
    fn whole(path: &Path) -> Result<Self> {
        let about = std::fs::metadata(path).map_err(|error| Error::file(path, error))?;
        if !about.is_file() {
            return Err(Error::file(path, "no file"));
        }
        Ok(Self { label: path.to_owned(), length: about.len(), path: path.to_owned(), begin: 0 })
    }

    /// The file, at the stretch's first byte.
    pub(super) fn open(&self) -> Result<File> {
        let wrong = |error| Error::file(&self.label, error);
        let mut file = File::open(&self.path).map_err(wrong)?;
        file.seek(SeekFrom::Start(self.begin)).map_err(wrong)?;
        Ok(file)
    }

    /// The stretch's bytes alone.
    pub(super) fn read(&self) -> Result<Take<File>> {
        Ok(self.open()?.take(self.length))
    }
}

/// A folder or an archive.
pub(super) enum Shelf {
    /// A folder.
    Folder(PathBuf),
    /// An archive's files by their names in it.
    Archive(PathBuf, BTreeMap<String, Stretch>),
}

impl Shelf {
    /// The folder that a file stands in.
    pub(super) fn of_file(path: &Path) -> Self {
        Self::Folder(path.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// Lists an archive; nothing is unpacked.
    pub(super) fn of_archive(path: &Path) -> Result<Self> {
        let wrong = |error: std::io::Error| Error::file(path, format!("{error}; accepted: a SigMF archive (tar)"));
        let file = File::open(path).map_err(wrong)?;
        let end = file.metadata().map_err(wrong)?.len();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(file).entries_with_seek().map_err(wrong)?.take(MOST_FILES) {
            let entry = entry.map_err(wrong)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = entry.path().map_err(wrong)?.to_string_lossy().into_owned();
            let (begin, length) = (entry.raw_file_position(), entry.size());
            if begin.checked_add(length).is_none_or(|last| last > end) {
                return Err(Error::file(path, format!("{name} in it is cut off; accepted: a whole archive")));
            }
            let stretch = Stretch { label: path.join(&name), length, path: path.to_owned(), begin };
            files.insert(name, stretch);
        }
        Ok(Self::Archive(path.to_owned(), files))
    }

    /// Names of an archive's files that end so.
    pub(super) fn ending(&self, end: &str) -> Vec<&str> {
        match self {
            Self::Folder(_) => Vec::new(),
            Self::Archive(_, files) => files.keys().map(String::as_str).filter(|name| name.ends_with(end)).collect(),
        }
    }

    /// A file beside `beside`, which is named as on this shelf.
    ///
    /// # Errors
    /// Where there is none, or where the name leads to another folder.
    pub(super) fn beside(&self, beside: &str, name: &str) -> Result<Stretch> {
        let plain = !name.is_empty() && name != ".." && name != "." && !name.contains(['/', '\\', '\0']);
        let folder = beside.rsplit_once('/').map_or("", |(folder, _)| folder);
        match self {
            Self::Folder(path) if plain => Stretch::whole(&path.join(name)),
            Self::Archive(path, files) if plain => {
                let full = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                files.get(&full).cloned().ok_or_else(|| Error::file(path, format!("{full} is not in it")))
            }
            Self::Folder(path) | Self::Archive(path, _) => {
                Err(Error::file(path, format!("the name {name:?}; accepted: one of a file in the same folder")))
            }
        }
    }
}
