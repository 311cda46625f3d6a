//! What a calibration found, and what it holds for: a dated file bound to device, session, carrier and rate.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use num_complex::{Complex32, Complex64};
use serde::{Deserialize, Serialize};

use crate::part::{failed, write_whole};
use crate::scene::Scene;
use crate::{Error, Result, config};

/// Longest relative delay that is left uncorrected, in samples.
const DELAY_MAX: f64 = 0.05;
/// Most that a channel's gain may differ: beyond it a channel is taken for broken, and is not driven harder.
const GAIN_MAX_DB: f64 = 6.0;
/// Worst standard error of a phase that is accepted.
pub(super) const ERROR_MAX_DEG: f64 = 0.5;
/// How long a calibration counts.
const VALID_S: u64 = 600;

/// What is between the channels while they are calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Combiner, attenuator and splitter: equal paths from every TX to every RX channel.
    Cable,
    /// A reflector at the scene's `geometry.target`; RX channel 0 is no part of the array.
    Reference,
}

/// One channel against its side's reference channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    /// The channel.
    pub channel: usize,
    /// Relative gain.
    pub gain_db: f64,
    /// Relative phase.
    pub phase_deg: f64,
    /// Relative delay.
    pub delay_samples: f64,
    /// Standard error of the phase.
    pub error_deg: f64,
}

/// A calibration, bound to what it holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// When it was made, in seconds since 1970.
    pub created_unix_s: u64,
    /// How long it counts.
    pub valid_s: u64,
    /// Driver, hardware and serial.
    pub device: String,
    /// The opening of the device that it was made in: random phases do not outlive it.
    pub session: String,
    /// Carrier.
    pub carrier_hz: f64,
    /// Samples per second.
    pub rate_hz: f64,
    /// The clock that the rate was made from: another one starts dividers and filters anew.
    pub clock: String,
    /// What was between the channels.
    pub mode: Mode,
    /// Transmitting channels.
    pub tx: Vec<Offset>,
    /// Receiving channels.
    pub rx: Vec<Offset>,
}

/// What a calibration must fit to be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Driver, hardware and serial.
    pub device: String,
    /// The opening of the device; `None` where phases outlive it.
    pub session: Option<String>,
    /// Carrier.
    pub carrier_hz: f64,
    /// Samples per second.
    pub rate_hz: f64,
    /// The clock that the rate is made from.
    pub clock: String,
}

/// Seconds since 1970.
pub(super) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Calibration {
    /// One made just now.
    pub(super) fn now(
        mode: Mode,
        device: String,
        session: String,
        clock: String,
        scene: &Scene,
        tx: Vec<Offset>,
        rx: Vec<Offset>,
    ) -> Self {
        let waveform = &scene.waveform;
        Self {
            created_unix_s: now_unix_s(),
            valid_s: VALID_S,
            device,
            session,
            carrier_hz: waveform.carrier_hz,
            rate_hz: scene.sample_rate_hz(),
            clock,
            mode,
            tx,
            rx,
        }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        config::from_toml(&text, &path.display().to_string())
    }

    /// Writes a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Error::internal(error.to_string()))?;
        write_whole(path, text.as_bytes()).map_err(|error| failed(path, &error))
    }

    /// Whether it holds for this device, now; else what is wrong.
    pub fn check(&self, binding: &Binding, unix_s: u64) -> Result<(), String> {
        let age_s = unix_s.saturating_sub(self.created_unix_s);
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        if age_s > self.valid_s {
            Err(format!("it is {age_s} s old; accepted: up to {} s", self.valid_s))
        } else if self.device != binding.device {
            Err(format!("it is for {}, the device is {}", self.device, binding.device))
        } else if !near(self.carrier_hz, binding.carrier_hz) || !near(self.rate_hz, binding.rate_hz) {
            Err(format!("it is for {} Hz at {} samples/s", self.carrier_hz, self.rate_hz))
        } else if self.clock != binding.clock {
            Err(format!("it is for the clock {}, the device has {}", self.clock, binding.clock))
        } else if binding.session.as_ref().is_some_and(|session| *session != self.session) {
            Err("the device's phases are new with every opening, and this one is another".into())
        } else {
            self.accept()
        }
    }

    /// Phases of both sides, in one line.
    pub fn line(&self) -> String {
        let phases = |offsets: &[Offset]| {
            offsets.iter().map(|offset| format!("{:.2}°", offset.phase_deg)).collect::<Vec<_>>().join(" ")
        };
        format!("calibrated, TX {}, RX {}", phases(&self.tx), phases(&self.rx))
    }

    /// What each of these channels is to be multiplied by; 1 where nothing is known.
    pub(super) fn corrections(offsets: &[Offset], channels: &[usize]) -> Vec<Complex32> {
        let inverse = |offset: &Offset| {
            let z = Complex64::from_polar(10f64.powf(-offset.gain_db / 20.0), -offset.phase_deg.to_radians());
            Complex32::new(z.re as f32, z.im as f32)
        };
        let of = |channel: &usize| offsets.iter().find(|offset| offset.channel == *channel);
        channels.iter().map(|channel| of(channel).map_or(1.0.into(), inverse)).collect()
    }

    /// Whether it is good enough to be used.
    pub(super) fn accept(&self) -> Result<(), String> {
        for (side, offsets) in [("TX", &self.tx), ("RX", &self.rx)] {
            for offset in offsets {
                if offset.delay_samples.abs() > DELAY_MAX {
                    return Err(format!(
                        "{side} channel {} is {:.3} samples off; accepted: {DELAY_MAX}",
                        offset.channel, offset.delay_samples
                    ));
                }
                if offset.gain_db.is_nan() || offset.gain_db.abs() > GAIN_MAX_DB {
                    return Err(format!(
                        "{side} channel {} is {:.1} dB off; accepted: {GAIN_MAX_DB} dB",
                        offset.channel, offset.gain_db
                    ));
                }
                if offset.error_deg.is_nan() || offset.error_deg > ERROR_MAX_DEG {
                    return Err(format!(
                        "the phase of {side} channel {} is uncertain by {:.2}°; accepted: {ERROR_MAX_DEG}°",
                        offset.channel, offset.error_deg
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A random name for one opening of a device.
pub(super) fn new_session() -> String {
    use std::hash::{BuildHasher, Hasher};
    let word = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{word:016x}")
}

/// What a run's radio is calibrated by.
#[derive(Debug, Clone, Default)]
pub enum Calibrated {
    /// Nothing.
    #[default]
    No,
    /// The calibration of a file.
    File(Arc<Calibration>),
    /// At the start of the run.
    AtStart(Mode),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> (Calibration, Binding) {
        let scene = Scene::from_toml(crate::scene::PAPER_TOML, "paper").unwrap();
        let one = vec![Offset { channel: 0, gain_db: 0.5, phase_deg: 30.0, delay_samples: 0.0, error_deg: 0.1 }];
        let made = Calibration::now(
            Mode::Cable,
            "a radio".into(),
            "one".into(),
            "internal, 122.88 MHz".into(),
            &scene,
            one.clone(),
            one,
        );
        let binding = Binding {
            device: "a radio".into(),
            session: Some("one".into()),
            carrier_hz: made.carrier_hz,
            rate_hz: made.rate_hz,
            clock: made.clock.clone(),
        };
        (made, binding)
    }

    #[test]
    fn a_calibration_holds_for_its_device_session_carrier_and_time_only() {
        let (made, binding) = calibration();
        let now = made.created_unix_s;
        assert_eq!(made.check(&binding, now + VALID_S), Ok(()));
        assert!(made.check(&binding, now + VALID_S + 1).unwrap_err().contains("old"));
        let other = |change: &dyn Fn(&mut Binding)| {
            let mut binding = binding.clone();
            change(&mut binding);
            made.check(&binding, now)
        };
        assert!(other(&|binding| binding.device = "another".into()).is_err());
        assert!(other(&|binding| binding.carrier_hz += 1e6).is_err());
        assert!(other(&|binding| binding.rate_hz *= 2.0).is_err());
        assert!(other(&|binding| binding.clock = "internal, 125 MHz".into()).unwrap_err().contains("125 MHz"));
        assert!(other(&|binding| binding.session = Some("two".into())).is_err());
        assert!(other(&|binding| binding.session = None).is_ok());
    }

    #[test]
    fn a_file_comes_back_as_it_was_and_refuses_unknown_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration.toml");
        let (made, _) = calibration();
        made.write(&path).unwrap();
        assert_eq!(Calibration::read(&path).unwrap(), made);
        let text = std::fs::read_to_string(&path).unwrap().replace("carrier_hz", "carier_hz");
        std::fs::write(&path, text).unwrap();
        assert!(Calibration::read(&path).unwrap_err().to_string().contains("carrier_hz"));
    }

    #[test]
    fn uncertain_phases_and_long_delays_are_not_accepted() {
        let (mut made, _) = calibration();
        assert!(made.accept().is_ok());
        made.tx[0].error_deg = 0.6;
        assert!(made.accept().unwrap_err().contains("0.60°"));
        made.tx[0].error_deg = f64::NAN;
        assert!(made.accept().is_err());
        (made.tx[0].error_deg, made.rx[0].delay_samples) = (0.1, -0.3);
        assert!(made.accept().unwrap_err().contains("RX channel 0"));
    }

    #[test]
    fn f24_a_channel_that_is_far_too_weak_is_not_driven_harder() {
        let (mut made, binding) = calibration();
        made.tx[0].gain_db = -20.0;
        assert!(made.accept().unwrap_err().contains("TX channel 0 is -20.0 dB off"));
        assert!(made.check(&binding, made.created_unix_s).is_err(), "nor by a file");
    }
}
