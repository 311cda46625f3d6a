//! A SigMF pair to samples.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use num_complex::{Complex, Complex32};

use super::{Digest, Metadata, SampleType};
use crate::stream::Frame;
use crate::{Error, Result};

/// A recording that is played.
pub struct SampleReader {
    data: BufReader<File>,
    meta: Metadata,
    sample_type: SampleType,
    /// Samples per channel in the file, and read so far.
    samples: u64,
    read: u64,
    /// The capture that the next sample belongs to.
    capture: usize,
    shorts: Vec<Complex<i16>>,
    interleaved: Vec<Complex32>,
}

impl SampleReader {
    /// Opens the pair of a metadata file, for frames of up to `most` samples. Fails where the data are not whole.
    pub fn open(path: &Path, most: usize) -> Result<Self> {
        let meta = Metadata::read(path)?;
        let wrong = |what: String| Error::file(path, what);
        let sample_type = meta.sample_type().map_err(wrong)?;
        let channels = meta.global.channels;
        if channels == 0 || meta.captures.first().is_none_or(|capture| capture.sample_start != 0) {
            return Err(wrong("no channel, or no capture of the first sample; accepted: one of each or more".into()));
        }
        let data = path.with_extension("sigmf-data");
        let file = File::open(&data).map_err(|error| Error::file(&data, error))?;
        let bytes = file.metadata().map_err(|error| Error::file(&data, error))?.len();
        let each = (channels * sample_type.bytes()) as u64;
        let samples = bytes / each;
        let due = meta.global.samples.unwrap_or(samples);
        if bytes != due * each {
            return Err(Error::file(&data, format!("{bytes} bytes; accepted by its metadata: {}", due * each)));
        }
        let mut starts = meta.captures.iter().map(|capture| capture.sample_start);
        if !starts.clone().is_sorted() || starts.next_back().is_some_and(|last| last > samples) {
            return Err(wrong("captures that are not in order or not in the file".into()));
        }
        if let Some(digest) = &meta.global.digest {
            check(&data, digest)?;
        }
        Ok(Self {
            data: BufReader::with_capacity(1 << 20, file),
            sample_type,
            samples,
            read: 0,
            capture: 0,
            shorts: vec![Complex::default(); channels * most],
            interleaved: vec![Complex32::default(); channels * most],
            meta,
        })
    }

    /// Its metadata.
    pub fn meta(&self) -> &Metadata {
        &self.meta
    }

    /// Fills a frame with the next samples, those of one capture; false at the end.
    pub fn read(&mut self, frame: &mut Frame<Complex32>) -> std::io::Result<bool> {
        let captures = &self.meta.captures;
        while captures.get(self.capture + 1).is_some_and(|next| next.sample_start <= self.read) {
            self.capture += 1;
        }
        let end = captures.get(self.capture + 1).map_or(self.samples, |next| next.sample_start);
        let channels = frame.channels();
        let count = (end - self.read).min((self.interleaved.len() / channels) as u64) as usize;
        if count == 0 {
            return Ok(false);
        }
        let interleaved = &mut self.interleaved[..channels * count];
        match self.sample_type {
            SampleType::Floats => self.data.read_exact(bytemuck::cast_slice_mut(interleaved))?,
            SampleType::Shorts => {
                let shorts = &mut self.shorts[..channels * count];
                self.data.read_exact(bytemuck::cast_slice_mut(shorts))?;
                let unit = 1.0 / 32768.0;
                interleaved.iter_mut().zip(shorts).for_each(|(to, from)| {
                    *to = Complex32::new(f32::from(from.re) * unit, f32::from(from.im) * unit);
                });
            }
        }
        for (channel, row) in frame.rows_mut().enumerate() {
            let from = interleaved[channel..].iter().step_by(channels);
            row.iter_mut().zip(from).for_each(|(to, sample)| *to = *sample);
        }
        let capture = &captures[self.capture];
        let begin = capture.global_index.unwrap_or(capture.sample_start);
        frame.head.sample_time = begin + self.read - capture.sample_start;
        frame.head.valid = count;
        self.read += count as u64;
        frame.head.last = self.read == self.samples;
        Ok(true)
    }
}

fn check(data: &Path, expected: &str) -> Result<()> {
    let mut file = File::open(data).map_err(|error| Error::file(data, error))?;
    let (mut digest, mut bytes) = (Digest::new(), vec![0; 1 << 20]);
    loop {
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read(&mut bytes[filled..]).map_err(|error| Error::file(data, error))? {
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
        Err(Error::file(data, format!("damaged: digest {found} instead of {expected}")))
    }
}
