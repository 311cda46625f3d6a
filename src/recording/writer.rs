//! Samples to a SigMF pair.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use num_complex::Complex32;

use super::meta::utc_now;
use super::{Annotation, Capture, Device, Digest, Metadata};
use crate::stream::Frame;
use crate::{Error, Result};

/// Bytes between writes to the file.
const BUFFER: usize = 1 << 20;

/// Captures up to which the metadata are written again at each gap. A recording with more of them is whole all the same,
/// but where its process is killed only what came before this gap can be played.
const WRITTEN_CAPTURES: usize = 1000;

/// A recording under way.
pub struct SampleWriter {
    path: PathBuf,
    data: BufWriter<File>,
    meta: Metadata,
    carrier_hz: f64,
    digest: Digest,
    written: u64,
    /// Time of the sample that continues the capture.
    next: Option<u64>,
    interleaved: Vec<Complex32>,
}

/// What is recorded, beside the samples.
#[derive(Debug, Clone)]
pub struct Reception {
    /// Samples per second.
    pub rate_hz: f64,
    /// Centre frequency.
    pub carrier_hz: f64,
    /// What received it.
    pub device: Device,
}

impl SampleWriter {
    /// Begins `name.sigmf-data` and `name.sigmf-meta` in a folder, for frames of so many channels and samples.
    ///
    /// # Errors
    /// Where the files cannot be written.
    pub fn create(folder: &Path, name: &str, shape: [usize; 2], reception: Reception) -> Result<Self> {
        let path = folder.join(format!("{name}.sigmf-data"));
        let data = File::create(&path).map_err(|error| failed(&path, &error))?;
        let [channels, samples] = shape;
        let writer = Self {
            path,
            data: BufWriter::with_capacity(BUFFER, data),
            meta: Metadata::new(channels, reception.rate_hz, reception.device),
            carrier_hz: reception.carrier_hz,
            digest: Digest::new(),
            written: 0,
            next: None,
            interleaved: vec![Complex32::default(); channels * samples],
        };
        writer.write_meta().map_err(|error| failed(&writer.path, &error))?;
        Ok(writer)
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// Where the disk is full or gone; what was written before can be played.
    pub fn write(&mut self, frame: &Frame<Complex32>) -> std::io::Result<()> {
        let (time, count, channels) = (frame.head.sample_time, frame.head.valid, frame.channels());
        if count == 0 {
            return Ok(());
        }
        if self.next != Some(time) {
            self.begin_capture(time)?;
        }
        for channel in 0..channels {
            let to = self.interleaved[channel..].iter_mut().step_by(channels);
            to.zip(frame.row(channel)).for_each(|(to, sample)| *to = *sample);
        }
        let bytes = bytemuck::cast_slice(&self.interleaved[..channels * count]);
        self.digest.add(bytes);
        self.written += count as u64;
        self.next = Some(time + count as u64);
        self.data.write_all(bytes)
    }

    fn begin_capture(&mut self, time: u64) -> std::io::Result<()> {
        if let Some(expected) = self.next {
            let label = Some(format!("{} samples are missing before this one", time.saturating_sub(expected)));
            self.meta.annotations.push(Annotation { sample_start: self.written, sample_count: Some(1), label });
        }
        self.meta.captures.push(Capture {
            sample_start: self.written,
            global_index: Some(time),
            frequency_hz: Some(self.carrier_hz),
            datetime: Some(utc_now()),
            ..Capture::default()
        });
        // The metadata know of a capture before the file has a sample of it, and of none whose beginning it does not reach.
        let captures = self.meta.captures.len();
        if captures <= WRITTEN_CAPTURES {
            self.data.flush()?;
            self.meta.global.samples = (captures == WRITTEN_CAPTURES).then_some(self.written);
            self.write_meta()?;
        }
        Ok(())
    }

    /// Writes what is left, and the metadata of a finished recording.
    ///
    /// # Errors
    /// Where the disk is full or gone; what was written before can be played.
    pub fn finish(mut self) -> Result<()> {
        self.data.flush().map_err(|error| failed(&self.path, &error))?;
        self.meta.global.samples = Some(self.written);
        self.meta.global.digest = Some(format!("{:016x}", self.digest.0));
        self.meta.global.finished = true;
        self.write_meta().map_err(|error| failed(&self.path, &error))
    }

    fn write_meta(&self) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(&self.meta).expect("metadata are valid JSON");
        crate::part::write_whole(&self.path.with_extension("sigmf-meta"), (text + "\n").as_bytes())
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::device(format!("{}: {error}", path.display()))
}
