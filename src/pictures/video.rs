//! Video in and out through a pipe to the program `ffmpeg`, where it is installed: pictures as PPM, one after another.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use image::RgbImage;

use crate::part::{Part, failed, is_special};
use crate::semantic::bitstream::PIXELS_MAX;
use crate::{Error, Result};

const SUFFIXES: [&str; 8] = ["mp4", "mkv", "webm", "mov", "avi", "m4v", "mpg", "y4m"];

/// Whether the file's suffix is a video's.
pub fn is_video(file: &Path) -> bool {
    SUFFIXES.iter().any(|known| has_suffix(file, known))
}

/// Whether the file's suffix is one that a video is only written to: a GIF that is read is a picture, its first frame.
pub fn is_video_output(file: &Path) -> bool {
    has_suffix(file, "gif")
}

fn has_suffix(file: &Path, known: &str) -> bool {
    file.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case(known))
}

/// `ffmpeg` with these arguments.
fn start(file: &Path, arguments: &[&str], stdin: Stdio, stdout: Stdio) -> Result<Child> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "quiet"]).args(arguments);
    command.stdin(stdin).stdout(stdout).stderr(Stdio::null()).spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::file(file, "video needs the program `ffmpeg`, which is not installed; accepted without it: pictures")
        }
        _ => Error::file(file, format!("ffmpeg does not start: {error}")),
    })
}

/// A file's name as an argument that cannot be taken for an option or a protocol.
fn argument(file: &Path) -> Result<String> {
    let name = file.to_str().ok_or_else(|| Error::file(file, "ffmpeg takes only names in UTF-8"))?;
    Ok(format!("file:{name}"))
}

/// Pictures per second of a video, where `ffprobe`, which comes with `ffmpeg`, can say.
pub fn pictures_per_s(file: &Path) -> Option<f64> {
    let name = argument(file).ok()?;
    let asked = ["-v", "quiet", "-select_streams", "v:0", "-show_entries", "stream=avg_frame_rate", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(asked).arg(name).stdin(Stdio::null()).output().ok()?;
    rate(std::str::from_utf8(&output.stdout).ok()?)
}

/// A rate as a fraction, e.g. 30000/1001.
fn rate(text: &str) -> Option<f64> {
    let (above, below) = text.trim().split_once('/')?;
    let rate = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// The pictures of a video.
pub struct VideoReader<'a> {
    file: &'a Path,
    program: Child,
    pipe: BufReader<ChildStdout>,
    pictures: u64,
}

impl<'a> VideoReader<'a> {
    /// Opens a video.
    pub fn open(file: &'a Path) -> Result<Self> {
        std::fs::metadata(file).map_err(|error| Error::file(file, error))?;
        let name = argument(file)?;
        let arguments = ["-i", &name, "-f", "image2pipe", "-c:v", "ppm", "-"];
        let mut program = start(file, &arguments, Stdio::null(), Stdio::piped())?;
        let pipe = BufReader::new(program.stdout.take().expect("stdout is piped"));
        Ok(Self { file, program, pipe, pictures: 0 })
    }

    /// The next picture; none after the last.
    pub fn next(&mut self) -> Result<Option<RgbImage>> {
        if self.pipe.fill_buf().map_err(|error| Error::file(self.file, error))?.is_empty() {
            let status = self.program.wait().map_err(|error| Error::file(self.file, error))?;
            return match (self.pictures, status.success()) {
                (0, _) | (_, false) => Err(Error::file(self.file, "ffmpeg cannot read it as a video to its end")),
                _ => Ok(None),
            };
        }
        self.pictures += 1;
        read_ppm(&mut self.pipe)
            .map(Some)
            .ok_or_else(|| Error::file(self.file, "ffmpeg's pictures are cut or too large"))
    }
}

impl Drop for VideoReader<'_> {
    fn drop(&mut self) {
        // Where reading stopped early the program still waits to write; both calls fail only where it has ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// One picture in binary PPM with 8 bits a sample.
fn read_ppm(pipe: &mut impl BufRead) -> Option<RgbImage> {
    let mut word = || -> Option<String> {
        let mut text = String::new();
        for byte in pipe.by_ref().bytes() {
            let byte = byte.ok()?;
            if byte.is_ascii_whitespace() || text.len() > 8 {
                return Some(text);
            }
            text.push(byte.into());
        }
        None
    };
    let magic = word()?;
    let mut number = || word()?.parse::<u32>().ok();
    let (width, height, largest) = (number()?, number()?, number()?);
    let pixels = u64::from(width) * u64::from(height);
    if magic != "P6" || largest != 255 || !(1..=PIXELS_MAX as u64).contains(&pixels) {
        return None;
    }
    let mut samples = vec![0; 3 * pixels as usize];
    pipe.read_exact(&mut samples).ok()?;
    RgbImage::from_raw(width, height, samples)
}

/// A video being written.
pub struct VideoWriter {
    file: std::path::PathBuf,
    /// Where it stands until it is whole; nothing where it goes to a device or a pipe.
    part: Option<Part>,
    program: Child,
    pipe: Option<ChildStdin>,
}

impl VideoWriter {
    /// Starts a video; codec and container follow from the file's suffix. A file of this name is replaced.
    pub fn create(file: &Path, pictures_per_s: f64) -> Result<Self> {
        let part = (!is_special(file)).then(|| Part::of(file));
        let (name, rate) = (argument(part.as_ref().map_or(file, Part::path))?, pictures_per_s.to_string());
        // Common codecs want even sides and colour at half resolution.
        let even = "pad=ceil(iw/2)*2:ceil(ih/2)*2,format=yuv420p";
        let arguments = ["-y", "-f", "image2pipe", "-c:v", "ppm", "-framerate", &rate, "-i", "-", "-vf", even, &name];
        let mut program = start(file, &arguments, Stdio::piped(), Stdio::null())?;
        let pipe = program.stdin.take();
        Ok(Self { file: file.to_owned(), part, program, pipe })
    }

    /// Adds a picture.
    pub fn push(&mut self, picture: &RgbImage) -> Result<()> {
        let header = format!("P6\n{} {}\n255\n", picture.width(), picture.height());
        let pipe = self.pipe.as_mut().expect("the pipe is open until the end");
        let written = pipe.write_all(header.as_bytes()).and_then(|()| pipe.write_all(picture.as_raw()));
        written.map_err(|_| self.failed())
    }

    /// Ends the video.
    pub fn finish(mut self) -> Result<()> {
        drop(self.pipe.take());
        match self.program.wait() {
            Ok(status) if status.success() => {
                let kept = self.part.take().map_or(Ok(()), Part::keep);
                kept.map_err(|error| failed(&self.file, &error))
            }
            _ => Err(self.failed()),
        }
    }

    fn failed(&self) -> Error {
        Error::file(&self.file, "ffmpeg cannot write this video")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ppm_pictures_come_back_one_after_another_and_nothing_else_passes() {
        let bytes = b"P6\n2 1\n255\nabcdefP6 1 1 255\nxyzP6\n";
        let mut pipe = &bytes[..];
        assert_eq!(read_ppm(&mut pipe).unwrap().as_raw(), b"abcdef");
        assert_eq!(read_ppm(&mut pipe).unwrap().as_raw(), b"xyz");
        assert!(read_ppm(&mut pipe).is_none());
        for bad in [
            "P5\n1 1\n255\nabc",
            "P6\n0 9\n255\n",
            "P6\n99999 99999\n255\n",
            "P6\n1 1\n65535\nabcdef",
            "P6\n1 1\n255\nab",
        ] {
            assert!(read_ppm(&mut bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn videos_are_told_by_their_suffix() {
        assert!(is_video(Path::new("a/b.MP4")) && is_video(Path::new("b.webm")));
        assert!(!is_video(Path::new("mp4")) && !is_video(Path::new("b.png")) && !is_video(Path::new("b.gif")));
        assert!(is_video_output(Path::new("b.GIF")));
    }

    #[test]
    fn a_rate_is_a_fraction_above_nothing() {
        assert_eq!((rate("30/1\n"), rate("0/0"), rate("N/A"), rate("")), (Some(30.0), None, None, None));
        assert!((rate("30000/1001").unwrap() - 29.97).abs() < 1e-3);
    }
}
