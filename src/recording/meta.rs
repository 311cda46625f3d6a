//! SigMF's metadata, as far as it is written and understood here (SigMF 1.2: core namespace and one of our own).

use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::datatype::SampleType;
use super::fields::Fields;
use crate::{Error, Result};

/// The version of the standard that is written.
const SIGMF: &str = "1.2.0";

/// Most bytes of a metadata file.
const MOST_BYTES: u64 = 64 << 20;

/// A metadata file. Keys of other namespaces are let be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metadata {
    /// What holds for the whole recording.
    pub global: Global,
    /// Stretches without a gap.
    pub captures: Vec<Capture>,
    /// Notes on stretches.
    pub annotations: Vec<Annotation>,
}

/// What holds for the whole recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Global {
    /// Form of the samples.
    #[serde(rename = "core:datatype")]
    pub datatype: String,
    /// Version of the SigMF standard.
    #[serde(rename = "core:version")]
    pub version: String,
    /// In Hz. SigMF lets it be left out.
    #[serde(rename = "core:sample_rate", skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<f64>,
    /// Interleaved channels.
    #[serde(rename = "core:num_channels")]
    pub channels: u64,
    /// The program.
    #[serde(rename = "core:recorder", skip_serializing_if = "Option::is_none")]
    pub recorder: Option<String>,
    /// The radio, in words.
    #[serde(rename = "core:hw", skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// In words.
    #[serde(rename = "core:description", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Name of the data file where it is not that of the metadata with `.sigmf-data`.
    #[serde(rename = "core:dataset", skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Whether there are no samples at all.
    #[serde(rename = "core:metadata_only", skip_serializing_if = "is_false")]
    pub metadata_only: bool,
    /// Number of the data file's first sample.
    #[serde(rename = "core:offset", skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// Bytes at the data file's end that are no samples.
    #[serde(rename = "core:trailing_bytes", skip_serializing_if = "is_zero")]
    pub trailing_bytes: u64,
    /// Namespaces used.
    #[serde(rename = "core:extensions", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// Samples per channel.
    #[serde(rename = "issc:samples", skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Digest of the data file.
    #[serde(rename = "issc:digest", skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether the recording came to its end; others than this program's always did.
    #[serde(rename = "issc:finished")]
    pub finished: bool,
    /// What a sample of one stands for, in square roots of watts at the antenna; one where it is missing. Integers are of one
    /// at full scale.
    #[serde(rename = "issc:unit_sqrt_w", skip_serializing_if = "is_one")]
    pub unit: f64,
    /// The radio that received, and how it was set.
    #[serde(flatten)]
    pub device: Device,
}

/// The radio that received, and how it was set; null in the file where there was none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Device {
    /// Its arguments or its name.
    #[serde(rename = "issc:device")]
    pub name: Option<String>,
    /// Gain of its receiver in dB.
    #[serde(rename = "issc:gain_db")]
    pub gain_db: Option<f64>,
    /// Power in dBm at the port that a constant full-scale sample of the device stands for.
    #[serde(rename = "issc:full_scale_dbm")]
    pub full_scale_dbm: Option<f64>,
    /// Its calibration file, or in words what was known of its antennas.
    #[serde(rename = "issc:calibration")]
    pub calibration: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    name: String,
    version: String,
    optional: bool,
}

/// A stretch without a gap.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Capture {
    /// Its first sample, counted from `core:offset` on.
    #[serde(rename = "core:sample_start")]
    pub sample_start: u64,
    /// Time of that sample in the stream.
    #[serde(rename = "core:global_index", skip_serializing_if = "Option::is_none")]
    pub global_index: Option<u64>,
    /// Bytes before its samples that are none.
    #[serde(rename = "core:header_bytes", skip_serializing_if = "is_zero")]
    pub header_bytes: u64,
    /// Centre frequency in Hz.
    #[serde(rename = "core:frequency", skip_serializing_if = "Option::is_none")]
    pub frequency_hz: Option<f64>,
    /// When it was received, UTC.
    #[serde(rename = "core:datetime", skip_serializing_if = "Option::is_none")]
    pub datetime: Option<String>,
}

/// A note on a stretch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Annotation {
    /// Its first sample in the file.
    #[serde(rename = "core:sample_start")]
    pub sample_start: u64,
    /// Its samples.
    #[serde(rename = "core:sample_count", skip_serializing_if = "Option::is_none")]
    pub sample_count: Option<u64>,
    /// What it is.
    #[serde(rename = "core:label", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Metadata {
    /// For complex floats of so many channels, of a recording that has just begun.
    pub fn new(channels: usize, sample_rate_hz: f64, device: Device) -> Self {
        let issc = Extension { name: "issc".into(), version: "1.1.0".into(), optional: true };
        Self {
            global: Global {
                datatype: "cf32_le".into(),
                version: SIGMF.into(),
                sample_rate_hz: Some(sample_rate_hz),
                channels: channels as u64,
                recorder: Some(concat!("issc ", env!("CARGO_PKG_VERSION")).into()),
                hardware: device.name.clone(),
                description: Some("received samples in square roots of watts at the antennas".into()),
                dataset: None,
                metadata_only: false,
                offset: 0,
                trailing_bytes: 0,
                extensions: vec![issc],
                samples: None,
                digest: None,
                finished: false,
                unit: 1.0,
                device,
            },
            captures: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// Reads a metadata file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
        Self::read_from(file).map_err(|what| Error::file(path, what))
    }

    /// Reads metadata; an error names the field.
    pub(super) fn read_from(source: impl Read) -> Result<Self, String> {
        Self::of_json(&json(source, "a .sigmf-meta file")?)
    }

    fn of_json(value: &Value) -> Result<Self, String> {
        let captures = Fields::of(Some(value), "")?.objects("captures")?;
        Ok(Self {
            global: Global::of_fields(&Fields::of(value.get("global"), "")?)?,
            captures: captures.iter().map(Capture::of_fields).collect::<Result<_, _>>()?,
            annotations: Vec::new(),
        })
    }

    /// How its samples stand in the file, or what is accepted.
    pub fn sample_type(&self) -> Result<SampleType, String> {
        SampleType::parse(&self.global.datatype)
    }
}

impl Global {
    fn of_fields(fields: &Fields<'_>) -> Result<Self, String> {
        let unit = fields.optional("issc:unit_sqrt_w")?.unwrap_or(1.0);
        if !(f64::is_finite(unit) && unit > 0.0) {
            return Err(format!("issc:unit_sqrt_w {unit}; accepted: a finite number above 0"));
        }
        Ok(Self {
            datatype: fields.needed("core:datatype")?,
            version: fields.optional("core:version")?.unwrap_or_default(),
            sample_rate_hz: fields.optional("core:sample_rate")?,
            channels: fields.optional("core:num_channels")?.unwrap_or(1),
            recorder: fields.optional("core:recorder")?,
            hardware: fields.optional("core:hw")?,
            description: fields.optional("core:description")?,
            dataset: fields.optional("core:dataset")?,
            metadata_only: fields.optional("core:metadata_only")?.unwrap_or(false),
            offset: fields.optional("core:offset")?.unwrap_or(0),
            trailing_bytes: fields.optional("core:trailing_bytes")?.unwrap_or(0),
            extensions: Vec::new(),
            samples: fields.optional("issc:samples")?,
            digest: fields.optional("issc:digest")?,
            finished: fields.optional("issc:finished")?.unwrap_or(true),
            unit,
            device: Device {
                name: fields.optional("issc:device")?,
                gain_db: fields.optional("issc:gain_db")?,
                full_scale_dbm: fields.optional("issc:full_scale_dbm")?,
                calibration: fields.optional("issc:calibration")?,
            },
        })
    }
}

impl Capture {
    fn of_fields(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            sample_start: fields.needed("core:sample_start")?,
            global_index: fields.optional("core:global_index")?,
            header_bytes: fields.optional("core:header_bytes")?.unwrap_or(0),
            frequency_hz: fields.optional("core:frequency")?,
            datetime: fields.optional("core:datetime")?,
        })
    }
}

/// A JSON document that is what is said, within [`MOST_BYTES`].
pub(super) fn json(source: impl Read, what: &str) -> Result<Value, String> {
    let mut text = Vec::new();
    source.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("more than {MOST_BYTES} bytes; accepted: {what}"));
    }
    serde_json::from_slice(&text).map_err(|error| format!("no SigMF metadata ({error}); accepted: {what}"))
}

/// Names of the pairs in a collection.
pub(super) fn streams(value: &Value) -> Result<Vec<String>, String> {
    let fields = Fields::of(value.get("collection"), "collection: ")?;
    fields.objects("core:streams")?.iter().map(|stream| stream.needed("name")).collect()
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
        let device = Device {
            name: Some("driver=virtual".into()),
            gain_db: Some(20.0),
            full_scale_dbm: Some(-20.0),
            calibration: None,
        };
        let mut meta = Metadata::new(5, 200e6, device);
        meta.captures.push(Capture {
            sample_start: 0,
            global_index: Some(u64::MAX),
            frequency_hz: Some(3.5e9),
            datetime: Some(utc_now()),
            ..Capture::default()
        });
        let text = serde_json::to_string(&meta).unwrap();
        let read = Metadata::read_from(text.as_bytes()).unwrap();
        meta.global.extensions.clear();
        assert_eq!(read, meta);
        let foreign = r#"{"global":{"core:datatype":"ci16_le","core:version":"1.0.0","x:y":[1]},"captures":[]}"#;
        let meta = Metadata::read_from(foreign.as_bytes()).unwrap();
        assert_eq!((meta.global.channels, meta.global.sample_rate_hz, meta.global.finished), (1, None, true));
    }

    #[test]
    fn an_error_names_the_field_and_the_capture() {
        let of = |global: &str, captures: &str| {
            let text = format!(r#"{{"global":{{"core:datatype":"cu8",{global}}},"captures":{captures}}}"#);
            Metadata::read_from(text.as_bytes()).unwrap_err()
        };
        assert!(of(r#""core:num_channels":-1"#, "[]").starts_with("core:num_channels: "));
        assert!(of(r#""core:num_channels":1e30"#, "[]").starts_with("core:num_channels: "));
        assert!(of(r#""core:sample_rate":"fast""#, "[]").starts_with("core:sample_rate: "));
        assert!(of(r#""core:hw":"x""#, "[{}]").starts_with("captures[0]: core:sample_start is missing"));
        assert!(of(r#""core:hw":"x""#, "7").starts_with("captures is no list"));
        assert!(Metadata::read_from(&b"[]"[..]).is_err() && Metadata::read_from(&b"{}"[..]).is_err());
    }
}
