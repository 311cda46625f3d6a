//! Files that stand under a temporary name, `.issc-PROCESS-NUMBER.part`, until they are whole, so that what stands under a
//! file's own name always is, also where the process is killed or the disk is full.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

/// A file that is not whole yet, in the folder where it will stand. It is removed where it never becomes whole.
pub(crate) struct Part {
    /// Where it will stand.
    file: PathBuf,
    /// Where it stands until then, with the same suffix: other programs choose a file's kind by it.
    path: PathBuf,
    kept: bool,
}

impl Part {
    /// A part of this file, which a link may lead to.
    pub(crate) fn of(file: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let suffix = file.extension().map_or(String::new(), |suffix| format!(".{}", suffix.to_string_lossy()));
        let path = file.with_file_name(format!(".issc-{}-{number}.part{suffix}", std::process::id()));
        Self { file, path, kept: false }
    }

    /// Where to write it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its own name.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.file)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been made.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether there is something else than a file of this name: a device, a pipe.
pub(crate) fn is_special(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| !metadata.is_file())
}

/// What became of writing this file: the disk's doing (exit status 1), or the name's that was given (2).
pub(crate) fn failed(file: &Path, error: &io::Error) -> Error {
    let name = file.display();
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => Error::input(format!("{name}: {error}")),
        _ => Error::device(format!("{name}: {error}; nothing of it is kept")),
    }
}

/// Writes a file that is there whole or, where that fails, as it was before; a device or a pipe gets the bytes as they are.
///
/// # Errors
/// Where the folder or the disk does not take it; nothing of it is left then.
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_special(file) {
        // Not `fs::write`, which would want to make it.
        return fs::OpenOptions::new().write(true).open(file)?.write_all(bytes);
    }
    let part = Part::of(file);
    fs::write(&part.path, bytes)?;
    part.keep()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_through_a_link_and_stays_as_it_was_where_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.txt"), folder.path().join("link.txt"));
        write_whole(&file, b"first").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&link, b"second").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // A folder of that name cannot be replaced by a file; nothing is left beside it.
        fs::create_dir(folder.path().join("b.txt")).unwrap();
        write_whole(&folder.path().join("b.txt"), b"third").unwrap_err();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.txt", "b.txt", "link.txt"]);
    }
}
