//! SigMF recordings to samples: a pair of files, a collection of pairs with the same times, or an archive of either.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use num_complex::Complex32;

use super::layout::{Layout, MOST_CHANNELS, Piece};
use super::shelf::{Shelf, Stretch};
use super::{Digest, Metadata, meta};
use crate::stream::Frame;
use crate::{Error, Result};

/// Bytes read at once.
const BUFFER: usize = 1 << 18;

/// Most pairs of a collection.
const MOST_STREAMS: usize = 1024;

/// Samples of a row that were no finite numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct NotFinite {
    count: u64,
    /// Time of the first one.
    first: u64,
}

/// One data file of a recording.
struct Stream {
    data: BufReader<File>,
    label: String,
    meta: Metadata,
    layout: Layout,
    bytes: Vec<u8>,
}

/// A recording that is played.
pub struct SampleReader {
    streams: Vec<Stream>,
    channels: usize,
    /// Most samples read at once.
    most: usize,
    /// Samples per channel read so far.
    read: u64,
    /// The piece that the next sample belongs to, once one has begun.
    piece: Option<usize>,
    not_finite: Vec<NotFinite>,
}

impl SampleReader {
    /// Opens a recording, for frames of up to `most` samples: a `.sigmf-meta` file with its data beside it, a
    /// `.sigmf-collection`, whose channels follow one another, or an archive `.sigmf` of one of these. Where a `.sigmf-meta`
    /// file is not there, a collection or an archive of the same name is taken.
    ///
    /// # Errors
    /// Names the file, the field, what was found and what is accepted.
    pub fn open(path: &Path, most: usize) -> Result<Self> {
        let other = |extension: &str| Some(path.with_extension(extension)).filter(|other| other.exists());
        let found = match path.exists() {
            true => None,
            false => other("sigmf-collection").or_else(|| other("sigmf")),
        };
        let path = found.as_deref().unwrap_or(path);
        let extension = path.extension().and_then(std::ffi::OsStr::to_str);
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let streams = match extension {
            Some("sigmf") => archive(path, most)?,
            Some("sigmf-collection") => collection(&Shelf::of_file(path), name, most)?,
            _ => vec![Stream::open(&Shelf::of_file(path), name, most)?],
        };
        let channels: usize = streams.iter().map(|stream| stream.layout.channels).sum();
        if channels as u64 > MOST_CHANNELS {
            return Err(Error::file(path, format!("{channels} channels together; accepted: up to {MOST_CHANNELS}")));
        }
        same_times(path, &streams)?;
        Ok(Self { streams, channels, most, read: 0, piece: None, not_finite: vec![NotFinite::default(); channels] })
    }

    /// Channels, all data files' together.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples per second, where the metadata say so.
    pub fn sample_rate_hz(&self) -> Option<f64> {
        self.streams.iter().find_map(|stream| stream.meta.global.sample_rate_hz)
    }

    /// Fills a frame with the next samples, those of one capture; false at the end. Samples that are no finite numbers
    /// are zeros, as if nothing had been received, and are counted ([`SampleReader::blemishes`]).
    ///
    /// # Errors
    /// Where the data cannot be read, and where two data files of a collection do not go on together.
    pub fn read(&mut self, frame: &mut Frame<Complex32>) -> std::io::Result<bool> {
        let samples = self.streams[0].layout.samples;
        if self.read == samples {
            return Ok(false);
        }
        self.enter_piece()?;
        let pieces = &self.streams[0].layout.pieces;
        let place = self.piece.unwrap_or_default();
        let Piece { start, time, .. } = pieces[place];
        let end = pieces.get(place + 1).map_or(samples, |next| next.start);
        let count = (end - self.read).min(self.most as u64) as usize;
        let time = time + (self.read - start);
        let mut first = 0;
        for stream in &mut self.streams {
            stream.fill(frame, first, count)?;
            first += stream.layout.channels;
        }
        for (row, not_finite) in frame.rows_mut().zip(&mut self.not_finite) {
            for (place, sample) in row[..count].iter_mut().enumerate().filter(|(_, sample)| !sample.is_finite()) {
                if not_finite.count == 0 {
                    not_finite.first = time + place as u64;
                }
                not_finite.count += 1;
                *sample = Complex32::default();
            }
        }
        frame.head.sample_time = time;
        frame.head.valid = count;
        self.read += count as u64;
        frame.head.last = self.read == samples;
        Ok(true)
    }

    /// Passes over what is no sample before the piece that begins here, if one does.
    fn enter_piece(&mut self) -> std::io::Result<()> {
        let next = self.piece.map_or(0, |piece| piece + 1);
        if self.streams[0].layout.pieces.get(next).is_some_and(|piece| piece.start == self.read) {
            for stream in &mut self.streams {
                let bytes = stream.layout.pieces[next].header_bytes;
                stream.data.seek_relative(i64::try_from(bytes).map_err(std::io::Error::other)?)?;
            }
            self.piece = Some(next);
        }
        Ok(())
    }

    /// What was wrong with the samples read so far, in one line; nothing where all was well.
    pub fn blemishes(&self) -> Option<String> {
        let mut rows = Vec::new();
        for (row, NotFinite { count, first }) in self.not_finite.iter().enumerate().filter(|(_, row)| row.count > 0) {
            rows.push(format!("row {row}: {count}, the first at sample {first}"));
        }
        let label = &self.streams[0].label;
        (!rows.is_empty()).then(|| format!("{label}: samples that are no finite numbers ({})", rows.join("; ")))
    }
}

impl Stream {
    /// Opens the pair of a metadata file on a shelf.
    fn open(shelf: &Shelf, name: &str, most: usize) -> Result<Self> {
        let plain = name.rsplit('/').next().unwrap_or(name);
        let meta_file = shelf.beside(name, plain)?;
        let wrong = |what: String| Error::file(&meta_file.label, what);
        let meta = Metadata::read_from(meta_file.read()?).map_err(wrong)?;
        if let Some(rate) = meta.global.sample_rate_hz.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(wrong(format!("core:sample_rate {rate}; accepted: a finite number above 0")));
        }
        let stem = plain.strip_suffix(".sigmf-meta").unwrap_or(plain);
        let usual = format!("{stem}.sigmf-data");
        let data = shelf.beside(name, meta.global.dataset.as_deref().unwrap_or(&usual))?;
        let layout = Layout::new(&meta, data.length).map_err(|what| {
            let of_data = what.contains("bytes of samples;");
            Error::file(if of_data { &data.label } else { &meta_file.label }, what)
        })?;
        if let Some(digest) = &meta.global.digest {
            check(&data, digest)?;
        }
        let bytes = vec![0; layout.channels * layout.form.bytes() * most];
        let file = BufReader::with_capacity(BUFFER, data.open()?);
        Ok(Self { data: file, label: data.label.display().to_string(), meta, layout, bytes })
    }

    /// Reads samples into the rows from `first` on.
    fn fill(&mut self, frame: &mut Frame<Complex32>, first: usize, count: usize) -> std::io::Result<()> {
        let (form, channels) = (self.layout.form, self.layout.channels);
        let stride = channels * form.bytes();
        let bytes = &mut self.bytes[..stride * count];
        self.data.read_exact(bytes)?;
        for (channel, row) in frame.rows_mut().skip(first).take(channels).enumerate() {
            form.read_row(&bytes[channel * form.bytes()..], stride, self.meta.global.unit, &mut row[..count]);
        }
        Ok(())
    }
}

/// The pairs that a collection names, in its order.
fn collection(shelf: &Shelf, name: &str, most: usize) -> Result<Vec<Stream>> {
    let plain = name.rsplit('/').next().unwrap_or(name);
    let file = shelf.beside(name, plain)?;
    let wrong = |what: String| Error::file(&file.label, what);
    let value = meta::json(file.read()?, "a .sigmf-collection file").map_err(wrong)?;
    let names = meta::streams(&value).map_err(wrong)?;
    if names.is_empty() || names.len() > MOST_STREAMS {
        return Err(wrong(format!("core:streams has {}; accepted: 1 to {MOST_STREAMS}", names.len())));
    }
    let folder = name.strip_suffix(plain).unwrap_or_default();
    names.iter().map(|stream| Stream::open(shelf, &format!("{folder}{stream}.sigmf-meta"), most)).collect()
}

/// The recording of an archive: its collection's, or the only one.
fn archive(path: &Path, most: usize) -> Result<Vec<Stream>> {
    let shelf = Shelf::of_archive(path)?;
    match (&shelf.ending(".sigmf-collection")[..], &shelf.ending(".sigmf-meta")[..]) {
        ([name], _) => collection(&shelf, name, most),
        ([], [name]) => Ok(vec![Stream::open(&shelf, name, most)?]),
        (collections, recordings) => Err(Error::file(
            path,
            format!(
                "{} recordings and {} collections in it; accepted: one recording or one collection",
                recordings.len(),
                collections.len()
            ),
        )),
    }
}

/// Refuses data files that do not hold the same times.
fn same_times(path: &Path, streams: &[Stream]) -> Result<()> {
    let times = |stream: &Stream| {
        let pieces: Vec<_> = stream.layout.pieces.iter().map(|piece| (piece.start, piece.time)).collect();
        (stream.layout.samples, pieces, stream.meta.global.sample_rate_hz.map(f64::to_bits))
    };
    let first = times(&streams[0]);
    match streams.iter().find(|stream| times(stream) != first) {
        None => Ok(()),
        Some(other) => Err(Error::file(
            path,
            format!(
                "{} and {} differ in core:sample_rate, in samples or in captures; accepted: channels of the same time",
                streams[0].label, other.label
            ),
        )),
    }
}

fn check(data: &Stretch, expected: &str) -> Result<()> {
    let mut source = data.read()?;
    let (mut digest, mut bytes) = (Digest::new(), vec![0; BUFFER]);
    loop {
        let mut filled = 0;
        while filled < bytes.len() {
            match source.read(&mut bytes[filled..]).map_err(|error| Error::file(&data.label, error))? {
                0 => break,
                count => filled += count,
            }
        }
        digest.add(&bytes[..filled]);
        if filled < bytes.len() {
            break;
        }
    }
    let found = format!("{:016x}", digest.0);
    if found == expected {
        Ok(())
    } else {
        let what = format!("damaged: digest {found} instead of {expected} (issc:digest)");
        Err(Error::damaged(what).within(data.label.display()))
    }
}
