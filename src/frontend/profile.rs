//! Device profiles: what a radio is, how it is started, and which habits of its driver must be lived with.
//!
//! Every key has its unit in its name; unknown keys are refused with the nearest known.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::contract::{Contract, DriverProfile};
use crate::{Error, Result, config};

/// Profiles that are compiled in.
const SHIPPED: &[(&str, &str)] = &[
    ("virtual", include_str!("../../hardware/profiles/virtual.toml")),
    ("virtual-receiver", include_str!("../../hardware/profiles/virtual-receiver.toml")),
    ("virtual-transmitter", include_str!("../../hardware/profiles/virtual-transmitter.toml")),
    ("virtual-communication", include_str!("../../hardware/profiles/virtual-communication.toml")),
    ("virtual-sensing", include_str!("../../hardware/profiles/virtual-sensing.toml")),
    ("n310", include_str!("../../hardware/profiles/n310.toml")),
    ("x410", include_str!("../../hardware/profiles/x410.toml")),
    ("x310-pair", include_str!("../../hardware/profiles/x310-pair.toml")),
    ("b210", include_str!("../../hardware/profiles/b210.toml")),
    ("b210-receiver", include_str!("../../hardware/profiles/b210-receiver.toml")),
    ("bladerf2-micro", include_str!("../../hardware/profiles/bladerf2-micro.toml")),
    ("bladerf2-receiver", include_str!("../../hardware/profiles/bladerf2-receiver.toml")),
];

/// Names of the shipped profiles.
pub fn profile_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// One radio.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// How far anybody has tried it.
    pub status: Tried,
    /// How it is opened and clocked.
    pub device: DeviceProfile,
    /// Its transmitting side.
    pub tx: TxProfile,
    /// Its receiving side.
    pub rx: RxProfile,
    /// How its clocks and oscillators behave.
    pub sync: SyncProfile,
    /// What its driver does where things go wrong, where that is not what is known of the driver.
    #[serde(default)]
    pub driver: DriverProfile,
}

/// How far anybody has tried a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tried {
    /// Written from manuals and drivers' sources.
    Untested,
    /// `issc probe` ran on it.
    Probed,
    /// Pictures and positions went through it.
    Measured,
}

/// How a device is opened and clocked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// SoapySDR's arguments.
    pub args: String,
    /// Where the 10 MHz come from.
    #[serde(default = "internal")]
    pub clock_source: String,
    /// Where the seconds come from.
    #[serde(default = "internal")]
    pub time_source: String,
    /// Whether sources are set by a call after opening; otherwise they stand in `args`.
    #[serde(default = "yes")]
    pub sources_by_call: bool,
    /// How its time is set.
    #[serde(default)]
    pub time_set: TimeSet,
    /// The clock that every rate must divide, if there is one.
    #[serde(default)]
    pub master_clock_hz: Option<f64>,
    /// Most samples per second and channel.
    pub max_rate_hz: f64,
}

fn internal() -> String {
    "internal".into()
}
fn yes() -> bool {
    true
}

/// How a device's time is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSet {
    /// To zero, at once.
    #[default]
    Now,
    /// To zero, at the second edge from now.
    UnknownPps,
    /// To the second of UTC, at the edge of a pulse that all devices of a system have.
    UtcPps,
    /// Not at all.
    None,
}

/// Samples on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Format {
    /// Two 16-bit integers.
    #[default]
    #[serde(rename = "CS16")]
    Cs16,
    /// Two floats.
    #[serde(rename = "CF32")]
    Cf32,
}

/// A radio's transmitting side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxProfile {
    /// Channels, one per antenna of the array.
    pub channels: Vec<usize>,
    /// Front-end mapping.
    #[serde(default)]
    pub mapping: Option<String>,
    /// Port.
    #[serde(default)]
    pub antenna: Option<String>,
    /// Analog filter.
    #[serde(default)]
    pub bandwidth_hz: Option<f64>,
    /// Gain while it transmits.
    pub gain_db: f64,
    /// Nominal power of a constant full-scale sample at that gain, at the port.
    pub full_scale_dbm: f64,
    /// What was measured at the ports: without it nothing is radiated.
    #[serde(default)]
    pub measured: Vec<MeasuredPower>,
    /// Most mean power that the ports may give in all; the band's limit holds too.
    pub max_dbm: f64,
    /// Samples on the wire.
    #[serde(default)]
    pub format: Format,
    /// Full scale of CS16.
    #[serde(default = "sixteen_bits")]
    pub full_scale: f32,
    /// Arguments of the stream.
    #[serde(default)]
    pub stream_args: String,
    /// Time from now to the start of a burst.
    #[serde(default = "twenty")]
    pub lead_ms: f64,
    /// Most time before a sample's own at which it is written: what a driver swallows without sending is lost.
    #[serde(default = "fifty")]
    pub ahead_ms: f64,
    /// Time that must be left before a sample's own for it to be written.
    #[serde(default = "tenth")]
    pub deadline_ms: f64,
    /// Time without a frame after which the transmitter has failed.
    #[serde(default = "five")]
    pub silence_max_s: f64,
    /// Offset of the oscillator from the carrier, so that its leakage lies beside the signal.
    #[serde(default)]
    pub lo_offset_hz: f64,
    /// Time without progress inside a burst after which the transmitter is shut down.
    #[serde(default = "five_hundred")]
    pub watchdog_ms: f64,
    /// Samples over which a burst's edges are shaped.
    #[serde(default = "sixty_four")]
    pub ramp_samples: usize,
}

fn half() -> f64 {
    0.5
}
fn sixteen_bits() -> f32 {
    32768.0
}
fn fifty() -> f64 {
    50.0
}
fn tenth() -> f64 {
    0.1
}
fn five() -> f64 {
    5.0
}
fn twenty() -> f64 {
    20.0
}
fn five_hundred() -> f64 {
    500.0
}
fn two_hundred() -> f64 {
    200.0
}
fn sixty_four() -> usize {
    64
}

/// What somebody measured at a port with a constant full-scale sample.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredPower {
    /// When: YYYY-MM-DD.
    pub date: String,
    /// Gain.
    pub gain_db: f64,
    /// Carrier.
    pub frequency_hz: f64,
    /// Power of a constant full-scale sample.
    pub full_scale_dbm: f64,
}

/// A radio's receiving side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RxProfile {
    /// Channels; a flowgraph may take fewer.
    pub channels: Vec<usize>,
    /// Front-end mapping.
    #[serde(default)]
    pub mapping: Option<String>,
    /// Port.
    #[serde(default)]
    pub antenna: Option<String>,
    /// Analog filter.
    #[serde(default)]
    pub bandwidth_hz: Option<f64>,
    /// Gain.
    pub gain_db: f64,
    /// Nominal power of a constant full-scale sample at that gain, at the port.
    pub full_scale_dbm: f64,
    /// Samples on the wire.
    #[serde(default)]
    pub format: Format,
    /// Full scale of CS16.
    #[serde(default = "sixteen_bits")]
    pub full_scale: f32,
    /// Arguments of the stream.
    #[serde(default)]
    pub stream_args: String,
    /// Time from now to a timed start.
    #[serde(default = "two_hundred")]
    pub start_delay_ms: f64,
    /// Offset of the oscillator from the carrier, so that its constant lies beside the signal.
    #[serde(default)]
    pub lo_offset_hz: f64,
    /// Whether the device takes its constant away by itself.
    #[serde(default = "yes")]
    pub removes_dc: bool,
    /// Which part of its own conjugate (re, im) each channel adds to its samples, as measured: the host takes it out again.
    #[serde(default)]
    pub image: Vec<[f32; 2]>,
    /// Time without a sample after which reception is started again.
    #[serde(default = "half")]
    pub stall_s: f64,
    /// Samples by which this side's count lags the transmitting side's, with no path between.
    #[serde(default)]
    pub latency_samples: i64,
}

/// How a radio's clocks and oscillators behave.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncProfile {
    /// Whether the device has a time at all.
    #[serde(default = "yes")]
    pub hardware_time: bool,
    /// Whether received samples carry it.
    #[serde(default = "yes")]
    pub rx_time: bool,
    /// What a tuning does to the channels' phases.
    #[serde(default)]
    pub phase_after_retune: PhaseAfterRetune,
    /// How long the oscillators take after a tuning, where no sensor says.
    #[serde(default)]
    pub settle_ms: f64,
    /// Whether all that the array hears stands still, echoes included: then they show how its channels drift.
    #[serde(default)]
    pub still_echo: bool,
    /// Sensors that must read true before anything is sent: of the device, then of each channel.
    #[serde(default)]
    pub lock_sensors: Vec<String>,
}

/// What a tuning does to the channels' phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseAfterRetune {
    /// They are the same each time.
    Fixed,
    /// They are new each time: needs calibration in every session.
    #[default]
    Random,
}

impl TxProfile {
    /// Time from now to the start of a burst, in samples.
    pub(super) fn lead_samples(&self, rate_hz: f64) -> i64 {
        (self.lead_ms * 1e-3 * rate_hz) as i64
    }
}

impl RxProfile {
    /// Time from now to a timed start, in samples.
    pub(super) fn start_delay_samples(&self, rate_hz: f64) -> i64 {
        (self.start_delay_ms * 1e-3 * rate_hz) as i64
    }
}

impl SyncProfile {
    /// Waits for the oscillators after a tuning.
    pub(super) fn settle(&self) {
        std::thread::sleep(Duration::from_secs_f64(self.settle_ms.max(0.0) * 1e-3));
    }
}

impl Profile {
    /// A profile by path or shipped name.
    pub fn find(name: &str) -> Result<Self> {
        Self::from_toml(&Self::text(name)?, name)
    }

    /// Its text.
    pub fn text(name: &str) -> Result<String> {
        let path = Path::new(name);
        if path.is_file() {
            return std::fs::read_to_string(path).map_err(|error| Error::file(path, error));
        }
        SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()).ok_or_else(|| {
            let near = config::nearest(name, profile_names()).unwrap_or_default();
            Error::input(format!("{name}: no such profile; a path, or the nearest shipped one: {near}"))
        })
    }

    /// Parses and checks a profile; `name` stands in error lines.
    pub fn from_toml(text: &str, name: &str) -> Result<Self> {
        let profile: Self = config::from_toml(text, name)?;
        let wrong = |what: &str| Err(Error::input(format!("{name}: {what}")));
        let different = |channels: &[usize]| (1..channels.len()).all(|n| !channels[..n].contains(&channels[n]));
        for (key, channels) in [("tx.channels", &profile.tx.channels), ("rx.channels", &profile.rx.channels)] {
            if channels.len() > MAX_CHANNELS || !different(channels) {
                return wrong(&format!("{key} = {channels:?}; accepted: up to {MAX_CHANNELS} different channels"));
            }
        }
        let (tx, rx) = (&profile.tx, &profile.rx);
        for (key, value) in [
            ("device.max_rate_hz", profile.device.max_rate_hz),
            ("tx.lead_ms", tx.lead_ms),
            ("tx.watchdog_ms", tx.watchdog_ms),
            ("tx.deadline_ms", tx.deadline_ms),
            ("tx.ahead_ms", tx.ahead_ms),
            ("tx.silence_max_s", tx.silence_max_s),
            ("rx.stall_s", rx.stall_s),
            ("tx.full_scale", f64::from(tx.full_scale)),
            ("rx.full_scale", f64::from(rx.full_scale)),
            ("rx.start_delay_ms", rx.start_delay_ms),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return wrong(&format!("{key} = {value}; accepted: a number above 0"));
            }
        }
        let image = &rx.image;
        if !image.is_empty()
            && (image.len() != rx.channels.len()
                || image.iter().flatten().any(|part| part.is_nan() || part.abs() >= 0.5))
        {
            return wrong(&format!(
                "rx.image = {image:?}; accepted: none, or a pair below 0.5 for each of rx.channels"
            ));
        }
        Ok(profile)
    }

    /// What its driver, opened with these arguments, does where things go wrong.
    pub fn contract(&self, args: &str) -> Contract {
        Contract::new(args, &self.driver)
    }

    /// Whether its time is that of other devices too.
    pub fn has_shared_time(&self) -> bool {
        // A device's own zero at some edge is not another's: they differ by whole seconds. The virtual radio's is its world's.
        let is_agreed = self.device.time_set == TimeSet::UtcPps || self.driver_name() == "virtual";
        self.device.time_source != "internal" && is_agreed
    }

    /// SoapySDR's driver, as the arguments name it.
    pub fn driver_name(&self) -> &str {
        let named = |item: &'_ str| item.trim().strip_prefix("driver=").map(str::len);
        let item = self.device.args.split(',').find(|item| named(item).is_some()).unwrap_or_default();
        item.trim().strip_prefix("driver=").unwrap_or_default()
    }

    /// Whether what a full-scale sample means was measured at the profile's gain and near this carrier, and found no
    /// stronger than the profile says.
    pub fn check_measured(&self, carrier_hz: f64) -> Result<(), String> {
        let tx = &self.tx;
        let near = |measured: &&MeasuredPower| {
            (measured.gain_db - tx.gain_db).abs() <= 0.5 && (measured.frequency_hz / carrier_hz - 1.0).abs() <= 0.05
        };
        let is_date = |text: &str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        match tx.measured.iter().find(near) {
            None => Err(format!(
                "tx.full_scale_dbm of {} at {} dB and {:.0} MHz is a guess; accepted for radiating: an entry \
                 [[tx.measured]] (date, gain_db, frequency_hz, full_scale_dbm) of that gain and carrier",
                self.name,
                tx.gain_db,
                carrier_hz / 1e6
            )),
            Some(measured) if !is_date(&measured.date) => {
                Err(format!("tx.measured.date = \"{}\"; accepted: YYYY-MM-DD", measured.date))
            }
            Some(measured) if measured.full_scale_dbm > tx.full_scale_dbm + 0.5 => Err(format!(
                "tx.full_scale_dbm = {} of {}, measured on {}: {}; accepted: what was measured",
                tx.full_scale_dbm, self.name, measured.date, measured.full_scale_dbm
            )),
            Some(_) => Ok(()),
        }
    }

    /// The clock that rates are made from, where it was opened with these arguments: its source and its rate.
    pub(super) fn clock(&self, args: &str) -> String {
        let value = |key: &str| args.split(',').rev().find_map(|item| item.trim().strip_prefix(key)?.strip_prefix('='));
        let asked = ["master_clock_rate", "master_clock"].into_iter().find_map(value);
        let rate_hz = asked.and_then(|rate| rate.parse::<f64>().ok()).or(self.device.master_clock_hz);
        let source = value("clock_source").unwrap_or(&self.device.clock_source);
        format!("{source}, {}", rate_hz.map_or("the device's own".into(), |rate_hz| format!("{} MHz", rate_hz / 1e6)))
    }

    /// Whether the device can run at this rate, and what it can if not.
    pub fn check_rate(&self, rate_hz: f64) -> Result<(), String> {
        let device = &self.device;
        if rate_hz > device.max_rate_hz {
            return Err(format!(
                "{rate_hz:.6e} samples/s; accepted by {}: up to {:.6e} (scene.waveform.bandwidth_hz)",
                self.name, device.max_rate_hz
            ));
        }
        match device.master_clock_hz {
            Some(clock) if ((clock / rate_hz).round() * rate_hz / clock - 1.0).abs() > 1e-9 => Err(format!(
                "{rate_hz:.6e} samples/s do not divide the master clock of {}; accepted: {clock:.6e}/n",
                self.name
            )),
            _ => Ok(()),
        }
    }
}

/// Most channels of a side.
pub(super) const MAX_CHANNELS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_read_and_names_its_driver() {
        for name in profile_names() {
            let profile = Profile::find(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.driver_name().is_empty() && [0, 2, 4].contains(&profile.tx.channels.len()), "{name}");
            assert!(profile.driver_name() == "virtual" || profile.status == Tried::Untested);
        }
    }

    #[test]
    fn an_unknown_key_or_name_is_refused_with_the_nearest() {
        let text = SHIPPED[0].1.replace("lock_sensors", "lock_sensor");
        let error = Profile::from_toml(&text, "p.toml").unwrap_err().to_string();
        assert!(error.contains("`lock_sensor`") && error.contains("`lock_sensors`"), "{error}");
        let error = Profile::find("n301").unwrap_err();
        assert!(error.to_string().ends_with("n310") && error.exit_status() == 2);
    }

    #[test]
    fn a_rate_must_divide_the_master_clock() {
        let profile = Profile::find("b210").unwrap();
        assert!(profile.check_rate(15.36e6).is_ok());
        assert!(profile.check_rate(13e6).unwrap_err().contains("master clock"));
        assert!(profile.check_rate(200e6).unwrap_err().contains("bandwidth_hz"));
    }
}
