//! SigMF's metadata, as far as it is written and understood here (SigMF 1.2: core namespace and one of our own).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The version of the standard that is written.
const SIGMF: &str = "1.2.0";

/// A metadata file. Keys of other namespaces are let be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// What holds for the whole recording.
    pub global: Global,
    /// Stretches without a gap.
    pub captures: Vec<Capture>,
    /// Notes on stretches.
    pub annotations: Vec<Annotation>,
}

/// What holds for the whole recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Global {
    /// Form of the samples.
    #[serde(rename = "core:datatype")]
    pub datatype: String,
    /// Version of the SigMF standard.
    #[serde(rename = "core:version")]
    pub version: String,
    /// In Hz.
    #[serde(rename = "core:sample_rate")]
    pub sample_rate_hz: f64,
    /// Interleaved channels.
    #[serde(rename = "core:num_channels", default = "one")]
    pub channels: usize,
    /// The program.
    #[serde(rename = "core:recorder", default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<String>,
    /// In words.
    #[serde(rename = "core:description", default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Namespaces used.
    #[serde(rename = "core:extensions", default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// Samples per channel.
    #[serde(rename = "issc:samples", default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Digest of the data file.
    #[serde(rename = "issc:digest", default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

fn one() -> usize {
    1
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    name: String,
    version: String,
    optional: bool,
}

/// A stretch without a gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// Its first sample in the file.
    #[serde(rename = "core:sample_start")]
    pub sample_start: u64,
    /// Time of that sample in the stream.
    #[serde(rename = "core:global_index", default)]
    pub global_index: Option<u64>,
    /// Centre frequency in Hz.
    #[serde(rename = "core:frequency", default, skip_serializing_if = "Option::is_none")]
    pub frequency_hz: Option<f64>,
    /// When it was received, UTC.
    #[serde(rename = "core:datetime", default, skip_serializing_if = "Option::is_none")]
    pub datetime: Option<String>,
}

/// A note on a stretch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Its first sample in the file.
    #[serde(rename = "core:sample_start")]
    pub sample_start: u64,
    /// Its samples.
    #[serde(rename = "core:sample_count", default, skip_serializing_if = "Option::is_none")]
    pub sample_count: Option<u64>,
    /// What it is.
    #[serde(rename = "core:label", default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Forms of samples that are read. Both little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleType {
    /// 32-bit floats.
    Floats,
    /// 16-bit integers, 32 768 = 1.
    Shorts,
}

impl SampleType {
    /// Bytes of a complex sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Floats => 8,
            Self::Shorts => 4,
        }
    }
}

impl Metadata {
    /// For complex floats of so many channels.
    pub fn new(channels: usize, sample_rate_hz: f64) -> Self {
        let issc = Extension { name: "issc".into(), version: "1.0.0".into(), optional: true };
        Self {
            global: Global {
                datatype: "cf32_le".into(),
                version: SIGMF.into(),
                sample_rate_hz,
                channels,
                recorder: Some(concat!("issc ", env!("CARGO_PKG_VERSION")).into()),
                description: Some("received samples in square roots of watts at the antennas".into()),
                extensions: vec![issc],
                samples: None,
                digest: None,
            },
            captures: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// Reads a metadata file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::file(path, format!("no SigMF metadata ({error}); accepted: a .sigmf-meta file")))
    }

    /// How its samples stand in the file, or what is accepted.
    pub fn sample_type(&self) -> Result<SampleType, String> {
        match self.global.datatype.as_str() {
            "cf32_le" => Ok(SampleType::Floats),
            "ci16_le" => Ok(SampleType::Shorts),
            other => Err(format!("core:datatype {other}; accepted: cf32_le, ci16_le")),
        }
    }
}

/// The present as `YYYY-MM-DDThh:mm:ss.ffffffZ`.
pub(super) fn utc_now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let [year, month, day] = civil(days as i64);
    let (hour, minute, second, micros) = (second / 3600, second / 60 % 60, second % 60, since.subsec_micros());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a day counted from 1970-01-01, by the proleptic Gregorian calendar in years that begin in March.
fn civil(days: i64) -> [i64; 3] {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    [year_of_era + 400 * era + i64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, date) in
            [(0, [1970, 1, 1]), (11_016, [2000, 2, 29]), (19_782, [2024, 2, 29]), (20_820, [2027, 1, 2])]
        {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn metadata_survive_their_file_and_foreign_keys_are_let_be() {
        let mut meta = Metadata::new(5, 200e6);
        meta.captures.push(Capture {
            sample_start: 0,
            global_index: Some(7),
            frequency_hz: Some(3.5e9),
            datetime: Some(utc_now()),
        });
        let text = serde_json::to_string(&meta).unwrap();
        assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), meta);
        let foreign = r#"{"global":{"core:datatype":"ci16_le","core:version":"1.0.0","core:sample_rate":1e6,"x:y":[1]},
            "captures":[{"core:sample_start":0}],"annotations":[]}"#;
        let meta: Metadata = serde_json::from_str(foreign).unwrap();
        assert_eq!((meta.global.channels, meta.sample_type()), (1, Ok(SampleType::Shorts)));
    }
}
