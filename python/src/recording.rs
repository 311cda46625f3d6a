//! Recordings as arrays.

use std::path::{Path, PathBuf};

use issc::recording::{Metadata, SampleReader};
use issc::stream::Frame;
use num_complex::Complex32;
use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;

use crate::arrays::{matrix, object};
use crate::error::{DamagedError, OrRaise, wrong};

/// Samples read at a time.
const CHUNK: usize = 1 << 16;

/// One recording: samples [channels, n] with the times of its stretches.
#[pyclass(module = "issc", frozen, get_all)]
pub struct Recording {
    /// Received samples [channels, n], complex64, √W at the antennas.
    samples: Py<PyArray2<Complex32>>,
    /// Samples per second; None where the metadata do not say.
    sample_rate_hz: Option<f64>,
    /// First column and its time in samples, for each stretch without a gap.
    stretches: Vec<(u64, u64)>,
    /// What was wrong with the samples, in one line; None where all was well.
    blemishes: Option<String>,
    /// The metadata, a dictionary as in the file.
    metadata: Py<PyAny>,
}

#[pymethods]
impl Recording {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Recording {}>", self.samples.bind(py).getattr("shape")?))
    }
}

/// The recordings in a folder that `issc run --record` made, or in any folder of SigMF files, by their names; of a file,
/// that one. Integers become floats of one at full scale, or what their metadata say.
#[pyfunction]
pub fn read_recording<'py>(py: Python<'py>, folder: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let files = match folder.is_dir() {
        true => metadata_files(&folder)?,
        false => vec![folder.clone()],
    };
    if files.is_empty() {
        return Err(wrong(format!(
            "{}: found no .sigmf-meta file; accepted: a folder with one or more",
            folder.display()
        )));
    }
    let all = PyDict::new(py);
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.set_item(name, Bound::new(py, read(py, &file)?)?)?;
    }
    Ok(all)
}

fn metadata_files(folder: &Path) -> PyResult<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| wrong(format!("{}: {error}", folder.display())))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sigmf-meta"));
    files.sort();
    Ok(files)
}

fn read(py: Python<'_>, file: &Path) -> PyResult<Recording> {
    let (rows, rate, stretches, blemishes) = py.detach(|| read_samples(file))?;
    let (channels, count) = (rows.len(), rows.first().map_or(0, Vec::len));
    let text = std::fs::read_to_string(file).ok();
    let metadata: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Recording {
        samples: matrix(py, rows.concat(), [channels, count])?.unbind(),
        sample_rate_hz: rate,
        stretches,
        blemishes,
        metadata: object(py, &metadata)?.unbind(),
    })
}

type Samples = (Vec<Vec<Complex32>>, Option<f64>, Vec<(u64, u64)>, Option<String>);

fn read_samples(file: &Path) -> PyResult<Samples> {
    // Metadata that cannot be understood are named by the reader with the field; this checks them before anything else.
    if file.extension().is_some_and(|extension| extension == "sigmf-meta") {
        Metadata::read(file).or_raise()?;
    }
    let mut reader = SampleReader::open(file, CHUNK).or_raise()?;
    let mut frame = Frame::new(reader.channels(), CHUNK);
    let mut rows = vec![Vec::new(); reader.channels()];
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    let damaged = |error: std::io::Error| DamagedError::new_err(format!("{}: {error}", file.display()));
    while reader.read(&mut frame).map_err(damaged)? {
        let (column, time) = (rows[0].len() as u64, frame.head.sample_time);
        if stretches.last().is_none_or(|(first, since)| time - since != column - first) {
            stretches.push((column, time));
        }
        for (index, row) in rows.iter_mut().enumerate() {
            row.extend_from_slice(frame.row(index));
        }
    }
    Ok((rows, reader.sample_rate_hz(), stretches, reader.blemishes()))
}
