//! Reads a weight file: safetensors with f16 tensors, 16-bit coding tables, and its configuration as metadata.
//!
//! A file is identified by the 64-bit FNV-1a digest of its tensor data, which the exporter also wrote into the header,
//! so a damaged file is told from a sound one before any of it is used.

use half::f16;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::range_coder::Table;
use crate::{Error, Result};

/// The exporter's description of the model.
#[derive(Debug, Clone, Deserialize)]
pub struct Configuration {
    /// Channels of the encoder's fine branch.
    pub width: usize,
    /// Latent channels.
    pub latents: usize,
    /// Hyper-latent channels.
    pub hyper: usize,
    /// Channels of the hyper features.
    pub features: usize,
    /// Channels of the decoder's fine branch.
    pub widths: Vec<usize>,
    /// One name per rate.
    pub names: Vec<String>,
    /// `mse` or `ms-ssim`, per rate.
    pub tuned_for: Vec<String>,
}

/// A parsed weight file.
pub struct Weights<'a> {
    file: SafeTensors<'a>,
    label: &'a str,
    /// What the model looks like.
    pub configuration: Configuration,
    /// Identifies the file.
    pub digest: u64,
}

impl<'a> Weights<'a> {
    /// Checks and opens a file; `label` names it in errors.
    pub fn open(bytes: &'a [u8], label: &'a str) -> Result<Self> {
        let wrong =
            |what: String| Error::input(format!("{label}: {what}; accepted is a weight file of training/export.py"));
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(e.to_string()))?;
        let entries = metadata.metadata().as_ref();
        let entry =
            |key: &str| entries.and_then(|m| m.get(key)).ok_or_else(|| wrong(format!("no `{key}` in its metadata")));
        let stated = u64::from_str_radix(entry("digest")?, 16).map_err(|_| wrong("its digest is no number".into()))?;
        let digest = fnv1a(bytes.get(8 + header..).unwrap_or_default());
        if digest != stated {
            let what = format!("damaged: digest {digest:016x}, its header says {stated:016x}");
            return Err(Error::damaged(format!("{label}: {what}")));
        }
        let configuration: Configuration =
            serde_json::from_str(entry("config")?).map_err(|e| wrong(format!("its configuration: {e}")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { file, label, configuration, digest })
    }

    fn tensor(&self, name: &str, shape: &[usize], dtype: Dtype) -> Result<&[u8]> {
        let found = self.file.tensor(name).map_err(|_| self.wrong(name, "missing"))?;
        let fits =
            found.shape().len() == shape.len() && found.shape().iter().zip(shape).all(|(f, s)| f == s || *s == 0);
        if !fits || found.dtype() != dtype {
            return Err(
                self.wrong(name, &format!("{:?} {:?}, expected {dtype:?} {shape:?}", found.dtype(), found.shape()))
            );
        }
        Ok(self.file.tensor(name).map(|t| t.data()).unwrap_or_default())
    }

    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::input(format!("{}: tensor `{name}`: {what}", self.label))
    }

    /// A tensor of exactly this shape, as f32 (exact).
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let data = self.tensor(name, shape, Dtype::F16)?;
        let values: Vec<f32> = data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
        if values.iter().all(|v| v.is_finite()) { Ok(values) } else { Err(self.wrong(name, "holds NaN or infinity")) }
    }

    /// Coding tables stored as `<name>_counts` and `<name>_ends`.
    pub fn tables(&self, name: &str, count: usize) -> Result<Vec<Table>> {
        let (counts_name, ends_name) = (format!("{name}_counts"), format!("{name}_ends"));
        let counts: Vec<u16> = self
            .tensor(&counts_name, &[0], Dtype::U16)?
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
            .collect();
        let ends = self.tensor(&ends_name, &[count], Dtype::U32)?;
        let mut begin = 0;
        ends.chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
            .map(|end| {
                let table = counts.get(begin..end).and_then(Table::new);
                begin = end;
                table.ok_or_else(|| self.wrong(&counts_name, "not a coding table"))
            })
            .collect()
    }
}

/// 64-bit FNV-1a.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
