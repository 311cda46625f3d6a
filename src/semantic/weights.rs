//! Reads a weight file: safetensors with f16 tensors, large ones in 8 bits with an f16 scale for every 32 values, 16-bit coding
//! tables, and its configuration as metadata.
//!
//! A file is identified by the 64-bit FNV-1a digest of its tensor data, which the exporter also wrote into the header,
//! so a damaged file is told from a sound one before any of it is used.

use half::f16;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::range_coder::Table;
use crate::dsp::lanes::LANES;
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
    /// λ of what the training minimised, λ · distortion + bits per pixel, per rate.
    #[serde(default)]
    pub distortion_weights: Vec<f64>,
    /// Latents per group, in the order of coding. (The first files did not say it.)
    #[serde(default = "Configuration::first_groups")]
    pub groups: Vec<usize>,
    /// Units per group in each inner layer of the context network. (The first files did not say it.)
    #[serde(default = "Configuration::first_hidden")]
    pub hidden: usize,
}

/// Values of a tensor in 8 bits that share a scale.
const SCALED_TOGETHER: usize = 32;
/// Most models that a picture header can tell apart.
const MODELS_MAX: usize = 16;
/// Most channels of any layer: bounds the memory that a file can ask for.
const CHANNELS_MAX: usize = 1024;

impl Configuration {
    fn first_groups() -> Vec<usize> {
        vec![8, 8, 16, 16, 16, 32, 32, 64]
    }

    fn first_hidden() -> usize {
        16
    }

    /// Sizes that the kernels and the bitstream can serve; the error names the key.
    fn check(&self) -> std::result::Result<(), String> {
        let count = self.names.len();
        if count == 0 || count > MODELS_MAX || self.tuned_for.len() != count {
            return Err(format!("{count} models; accepted are 1 to {MODELS_MAX}, each with what it is tuned for"));
        }
        if self.widths.len() != 3 {
            return Err(format!("`widths` = {:?}; accepted are three inner widths", self.widths));
        }
        let sizes =
            [("width", self.width), ("latents", self.latents), ("hyper", self.hyper), ("features", self.features)];
        let inner = self.widths.iter().map(|&width| ("widths", width));
        let inner = inner.chain([("hidden", self.hidden)]);
        if let Some((key, size)) =
            sizes.into_iter().chain(inner).find(|(_, size)| *size == 0 || size % LANES != 0 || *size > CHANNELS_MAX)
        {
            return Err(format!("`{key}` = {size}; accepted are multiples of {LANES} up to {CHANNELS_MAX}"));
        }
        let sum = self.groups.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        if self.groups.contains(&0) || sum != self.latents || self.groups.len() * self.hidden > CHANNELS_MAX {
            return Err(format!(
                "`groups` = {:?} of `hidden` = {}; accepted are sizes from 1 on that add up to `latents` = {}, and at most {} groups",
                self.groups,
                self.hidden,
                self.latents,
                CHANNELS_MAX / self.hidden
            ));
        }
        Ok(())
    }
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
        configuration.check().map_err(|what| Error::input(format!("{label}: its configuration: {what}")))?;
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
        let halves = |data: &[u8]| -> Vec<f32> {
            data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        };
        let in_bytes = self.file.tensor(name).is_ok_and(|tensor| tensor.dtype() == Dtype::I8);
        let values = if in_bytes {
            let data = self.tensor(name, shape, Dtype::I8)?;
            let groups = data.len().div_ceil(SCALED_TOGETHER);
            let scales = halves(self.tensor(&format!("{name}.scales"), &[groups], Dtype::F16)?);
            let scaled = |(group, scale): (&[u8], f32)| {
                group.iter().map(move |value| f32::from(value.cast_signed()) * scale).collect::<Vec<_>>()
            };
            data.chunks(SCALED_TOGETHER).zip(scales).flat_map(scaled).collect()
        } else {
            halves(self.tensor(name, shape, Dtype::F16)?)
        };
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

/// What 64-bit FNV-1a multiplies by.
pub const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// 64-bit FNV-1a.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_from(0xcbf2_9ce4_8422_2325, bytes)
}

/// The same, from the digest of the bytes before.
pub fn fnv1a_from(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |h, &b| (h ^ u64::from(b)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    /// A file of tensor `w` in bytes, 5 × 7 of them, with these scales.
    fn file(scales: Option<&[f32]>) -> Vec<u8> {
        let values: Vec<u8> = (0..35).map(|n: i8| (n - 17).cast_unsigned()).collect();
        let scales: Option<Vec<u8>> =
            scales.map(|all| all.iter().flat_map(|scale| f16::from_f32(*scale).to_le_bytes()).collect());
        let mut tensors = vec![("w", TensorView::new(Dtype::I8, vec![5, 7], &values).unwrap())];
        if let Some(scales) = &scales {
            tensors.push(("w.scales", TensorView::new(Dtype::F16, vec![scales.len() / 2], scales).unwrap()));
        }
        let body = safetensors::serialize(tensors.clone(), None).unwrap();
        let header = 8 + u64::from_le_bytes(body[..8].try_into().unwrap()) as usize;
        let config = r#"{"width": 96, "latents": 192, "hyper": 64, "features": 96, "widths": [64, 48, 16],
                         "names": ["mse-1"], "tuned_for": ["mse"]}"#;
        let entries = [("config", config.to_owned()), ("digest", format!("{:016x}", fnv1a(&body[header..])))];
        let entries: HashMap<String, String> = entries.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
        safetensors::serialize(tensors, Some(entries)).unwrap()
    }

    #[test]
    fn bytes_are_times_the_scale_of_their_group_and_missing_scales_are_named() {
        let bytes = file(Some(&[0.5, 2.0]));
        let found = Weights::open(&bytes, "a file").unwrap().floats("w", &[5, 7]).unwrap();
        let expected: Vec<f32> = (0..35u8).map(|n| (f32::from(n) - 17.0) * if n < 32 { 0.5 } else { 2.0 }).collect();
        assert_eq!(found, expected);
        for scales in [None, Some(&[0.5][..]), Some(&[0.5, 2.0, 1.0][..])] {
            let bytes = file(scales);
            let wrong = Weights::open(&bytes, "a file").unwrap().floats("w", &[5, 7]).unwrap_err().to_string();
            assert!(wrong.contains("a file: tensor `w.scales`"), "{wrong}");
        }
        let bytes = file(Some(&[0.5, f32::INFINITY]));
        let wrong = Weights::open(&bytes, "a file").unwrap().floats("w", &[5, 7]).unwrap_err().to_string();
        assert!(wrong.contains("NaN or infinity"), "{wrong}");
    }
}
