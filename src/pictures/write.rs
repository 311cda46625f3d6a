//! Pictures and other files that are written: under a temporary name until they are whole, so that what stands under a
//! file's own name always is.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};

use super::read::is_standard;
use super::video::{VideoWriter, is_video, is_video_output};
use crate::part::{self, failed};
use crate::{Error, Result};

/// Quality of a JPEG that is written, 1 to 100.
const JPEG_QUALITY: u8 = 90;

/// Writes a file as a whole or not at all; `-` is the standard output.
///
/// # Errors
/// One line with the file's name: of cause input where no file can have that name, of cause device where the disk fails.
pub fn write_whole(file: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        if is_standard(file) {
            let mut output = io::stdout().lock();
            output.write_all(bytes)?;
            return output.flush();
        }
        part::write_whole(file, bytes)
    };
    write().map_err(|error| failed(if is_standard(file) { Path::new("standard output") } else { file }, &error))
}

/// Writes a picture: JPEG (quality 90) or PNG by the file's suffix; to the standard output, `-`, as PNG.
///
/// # Errors
/// As [`write_whole`], and where the suffix is no picture's that is written.
pub fn save_picture(file: &Path, picture: &RgbImage) -> Result<()> {
    let mut bytes = Vec::new();
    match Written::of(file)? {
        Written::Png => picture
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .map_err(|error| Error::internal(format!("{}: {error}", file.display())))?,
        Written::Jpeg => {
            let wrong = |what: String| Error::file(file, format!("{what}; .png has no such limit"));
            let side =
                |side: u32| u16::try_from(side).map_err(|_| wrong(format!("{side} pixels are too many for a JPEG")));
            let (width, height) = (side(picture.width())?, side(picture.height())?);
            let encoder = jpeg_encoder::Encoder::new(&mut bytes, JPEG_QUALITY);
            let encoded = encoder.encode(picture.as_raw(), width, height, jpeg_encoder::ColorType::Rgb);
            encoded.map_err(|error| wrong(error.to_string()))?;
        }
    }
    write_whole(file, &bytes)
}

/// Kinds of pictures that are written.
enum Written {
    Png,
    Jpeg,
}

impl Written {
    fn of(file: &Path) -> Result<Self> {
        if is_standard(file) {
            return Ok(Self::Png);
        }
        let suffix = file.extension().map(|suffix| suffix.to_string_lossy().to_lowercase());
        match suffix.as_deref() {
            Some("png") => Ok(Self::Png),
            Some("jpg" | "jpeg") => Ok(Self::Jpeg),
            _ => Err(Error::file(
                file,
                "accepted are names that end in .png, .jpg, .jpeg or, for a video, .mp4 and the like",
            )),
        }
    }
}

/// Where pictures go.
pub enum PictureWriter {
    /// One picture to this file; several one after another to the standard output.
    One(PathBuf),
    /// Any number of them, numbered before the suffix.
    Numbered(PathBuf, usize),
    /// A video.
    Video(VideoWriter),
}

impl PictureWriter {
    /// A video where the suffix is a video's, else PNG or JPEG files: a single one of exactly this name, or numbered ones.
    /// `-` is the standard output: PNG, one picture after another.
    pub fn create(file: &Path, single: bool, pictures_per_s: f64) -> Result<Self> {
        if is_video(file) || is_video_output(file) {
            return VideoWriter::create(file, pictures_per_s).map(Self::Video);
        }
        Written::of(file)?;
        let one = single || is_standard(file);
        Ok(if one { Self::One(file.to_owned()) } else { Self::Numbered(file.to_owned(), 0) })
    }

    /// Adds a picture.
    pub fn put(&mut self, picture: &RgbImage) -> Result<()> {
        match self {
            Self::One(file) => save_picture(file, picture),
            Self::Numbered(file, number) => {
                *number += 1;
                save_picture(&numbered(file, *number - 1), picture)
            }
            Self::Video(video) => video.push(picture),
        }
    }

    /// Ends a video; nothing is left to do for files.
    pub fn finish(self) -> Result<()> {
        if let Self::Video(video) = self { video.finish() } else { Ok(()) }
    }
}

fn numbered(file: &Path, number: usize) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    file.with_file_name(format!("{}-{number:04}.{}", part(file.file_stem()), part(file.extension())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::part::is_special;

    #[test]
    fn a_file_is_whole_or_not_there_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_whole(&folder.path().join("no/a.bin"), b"x").unwrap_err();
        assert_eq!(error.exit_status(), 2, "{error}");
        assert_eq!(write_whole(folder.path(), b"x").unwrap_err().exit_status(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_the_disks_fault_and_a_device_is_written_in_place() {
        let error = write_whole(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(error.exit_status(), 1, "{error}");
        write_whole(Path::new("/dev/null"), b"x").unwrap();
        assert!(is_special(Path::new("/dev/null")));
    }

    #[test]
    fn a_picture_comes_back_from_png_as_it_is_and_from_jpeg_nearly() {
        let folder = tempfile::tempdir().unwrap();
        let picture = RgbImage::from_fn(40, 30, |x, y| image::Rgb([4 * x as u8, 5 * y as u8, 128]));
        for (name, most) in [("a.png", 0), ("a.JPG", 8)] {
            let file = folder.path().join(name);
            save_picture(&file, &picture).unwrap();
            let (back, _) = crate::pictures::read_picture(&file, crate::pictures::Reading::default()).unwrap();
            let off = picture.as_raw().iter().zip(back.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(back.dimensions() == picture.dimensions() && off <= Some(most), "{name}: {off:?}");
        }
        assert!(save_picture(&folder.path().join("a.xyz"), &picture).is_err());
    }
}
