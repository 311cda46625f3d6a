//! Samples to a SigMF pair.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use num_complex::Complex32;

use super::meta::utc_now;
use super::{Annotation, Capture, Digest, Metadata};
use crate::stream::Frame;
use crate::{Error, Result};

/// Bytes between writes to the file.
const BUFFER: usize = 1 << 20;

/// A recording under way; its metadata are written at the end.
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

impl SampleWriter {
    /// Begins `name.sigmf-data` in a folder, for frames of so many channels and samples.
    pub fn create(folder: &Path, name: &str, shape: [usize; 2], rate_hz: f64, carrier_hz: f64) -> Result<Self> {
        let path = folder.join(format!("{name}.sigmf-data"));
        let data = File::create(&path).map_err(|error| Error::file(&path, error))?;
        let [channels, samples] = shape;
        Ok(Self {
            path,
            data: BufWriter::with_capacity(BUFFER, data),
            meta: Metadata::new(channels, rate_hz),
            carrier_hz,
            digest: Digest::new(),
            written: 0,
            next: None,
            interleaved: vec![Complex32::default(); channels * samples],
        })
    }

    /// Adds a frame.
    pub fn write(&mut self, frame: &Frame<Complex32>) -> std::io::Result<()> {
        let (time, count, channels) = (frame.head.sample_time, frame.head.valid, frame.channels());
        if self.next != Some(time) {
            self.begin_capture(time);
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

    fn begin_capture(&mut self, time: u64) {
        if let Some(expected) = self.next {
            let label = Some(format!("{} samples are missing before this one", time.saturating_sub(expected)));
            self.meta.annotations.push(Annotation { sample_start: self.written, sample_count: Some(1), label });
        }
        self.meta.captures.push(Capture {
            sample_start: self.written,
            global_index: Some(time),
            frequency_hz: Some(self.carrier_hz),
            datetime: Some(utc_now()),
        });
    }

    /// Writes what is left, and the metadata.
    pub fn finish(mut self) -> Result<()> {
        let failed = |path: &Path, error: std::io::Error| Error::device(format!("{}: {error}", path.display()));
        self.data.flush().map_err(|error| failed(&self.path, error))?;
        self.meta.global.samples = Some(self.written);
        self.meta.global.digest = Some(format!("{:016x}", self.digest.0));
        let path = self.path.with_extension("sigmf-meta");
        let text = serde_json::to_string_pretty(&self.meta).expect("metadata are valid JSON");
        std::fs::write(&path, text + "\n").map_err(|error| failed(&path, error))
    }
}
