//! Where a user has allowed transmission: a file that ships without any permission.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Profile;
use crate::scene::{Scene, decibel};
use crate::{Error, Result, config};

/// A band file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// What is allowed.
    #[serde(default)]
    allow: Vec<Entry>,
}

/// One permission.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// The only driver that it is for.
    driver: Option<String>,
    min_hz: f64,
    max_hz: f64,
    /// Radiated: limit in the beam.
    max_eirp_dbm: Option<f64>,
    /// Gain of one antenna element.
    #[serde(default)]
    antenna_gain_dbi: f64,
    /// Where transmissions are logged.
    log: Option<PathBuf>,
    /// Longest time on the air in one run.
    max_seconds: Option<f64>,
    /// Largest share of the time on the air.
    max_duty: Option<f64>,
    /// Into a cable: limit at the ports in all.
    cabled_max_dbm: Option<f64>,
    #[serde(default)]
    #[allow(dead_code, reason = "for the reader of the file")]
    note: String,
}

/// What a transmitter may do; without one no transmitting stream is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    /// The entry that gives it.
    pub band: String,
    /// The profile of the radio that has it.
    pub radio: String,
    /// Most mean power in dBm, the sum over the ports.
    pub max_dbm: f64,
    /// Longest time on the air in one run.
    pub max_seconds: Option<f64>,
    /// Where transmissions are logged; none for the virtual radio, which radiates nothing, unless the entry says so.
    pub log: Option<PathBuf>,
}

impl Permission {
    /// Whether a power is permitted; `key` is what asks for it.
    ///
    /// # Errors
    /// What was found and what is accepted, in one line.
    pub fn check(&self, key: &str, power_dbm: f64) -> std::result::Result<(), String> {
        let Self { band, radio, max_dbm, .. } = self;
        if power_dbm > *max_dbm {
            return Err(format!("{key} = {power_dbm}; accepted in band `{band}` with {radio}: up to {max_dbm:.2} dBm"));
        }
        Ok(())
    }
}

/// Where a user's own band file is looked for.
fn default_path() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    base.map(|base| base.join("issc/bands.toml"))
}

impl Bands {
    /// The band file that is given, or the user's own.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.map(Path::to_owned).or_else(|| default_path().filter(|path| path.is_file())) else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        config::from_toml(&text, &path.display().to_string())
    }

    /// Whether this device may send this scene, and how strongly.
    pub fn permit(&self, profile: &Profile, scene: &Scene) -> Result<Permission> {
        let waveform = &scene.waveform;
        let half_hz = (1.0 + waveform.roll_off) * waveform.bandwidth_hz / 2.0;
        let (low_hz, high_hz) = (waveform.carrier_hz - half_hz, waveform.carrier_hz + half_hz);
        let fits = |entry: &&Entry| {
            entry.driver.as_deref().is_none_or(|driver| driver == profile.driver_name())
                && entry.min_hz <= low_hz
                && high_hz <= entry.max_hz
        };
        let Some(entry) = self.allow.iter().find(fits) else {
            return Err(Error::input(format!(
                "transmission from {low_hz:.6e} to {high_hz:.6e} Hz by {} is not allowed; accepted: an [[allow]] entry of the \
                 band file (--bands, see hardware/bands.toml) that holds all of it",
                profile.name
            )));
        };
        // All antennas in phase: the beam gains what the array has elements.
        let antennas = profile.tx.channels.len() as f64;
        let radiated = entry.max_eirp_dbm.map(|eirp| eirp - entry.antenna_gain_dbi - decibel(antennas));
        let limit = match (radiated, entry.cabled_max_dbm) {
            (Some(limit), None) | (None, Some(limit)) => limit,
            _ => {
                return Err(Error::input(format!(
                    "band file: entry `{}`; accepted: one of max_eirp_dbm and cabled_max_dbm",
                    entry.name
                )));
            }
        };
        if radiated.is_some() {
            // Into a cable a guess does no harm that attenuators do not prevent.
            profile.check_measured(waveform.carrier_hz).map_err(Error::input)?;
        }
        let max_dbm = limit.min(profile.tx.max_dbm);
        if let Some(duty) = entry.max_duty.filter(|duty| duty.is_nan() || *duty < 1.0) {
            return Err(Error::input(format!(
                "band file: entry `{}`: max_duty = {duty}; accepted: 1, as frames follow each other without a pause",
                entry.name
            )));
        }
        if let Some(seconds) = entry.max_seconds.filter(|seconds| seconds.is_nan() || *seconds <= 0.0) {
            return Err(Error::input(format!(
                "band file: entry `{}`: max_seconds = {seconds}; accepted: a number above 0",
                entry.name
            )));
        }
        let max_seconds = entry.max_seconds;
        let log = match (&entry.log, profile.driver_name()) {
            (Some(path), _) => Some(path.clone()),
            (None, "virtual") => None,
            (None, _) => Some(super::tx_log::usual_path().ok_or_else(|| {
                Error::input(format!(
                    "band file: entry `{}`: no log of transmissions; accepted: log = FILE, or HOME or XDG_STATE_HOME set",
                    entry.name
                ))
            })?),
        };
        let permission =
            Permission { band: entry.name.clone(), radio: profile.name.clone(), max_dbm, max_seconds, log };
        permission.check("constraints.power_dbm", scene.constraints.power_dbm).map_err(Error::input)?;
        Ok(permission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::PAPER_TOML;

    fn permit(bands: &str) -> Result<Permission> {
        permit_with(bands, MEASURED)
    }

    fn permit_with(bands: &str, measured: &str) -> Result<Permission> {
        let bands: Bands = config::from_toml(bands, "bands.toml")?;
        let profile = Profile::from_toml(&format!("{}{measured}", Profile::text("virtual")?), "virtual.toml")?;
        bands.permit(&profile, &Scene::from_toml(PAPER_TOML, "paper")?)
    }

    const MEASURED: &str =
        "\n[[tx.measured]]\ndate = \"2026-01-31\"\ngain_db = 0.0\nfrequency_hz = 3.5e9\nfull_scale_dbm = 10.0\n";

    #[test]
    fn f16_nothing_is_radiated_by_a_profile_whose_full_scale_nobody_measured() {
        let entry = format!("{ENTRY}max_eirp_dbm = 10.0\nantenna_gain_dbi = 3.0");
        assert!(permit_with(&entry, MEASURED).is_ok());
        for (measured, said) in [
            (String::new(), "is a guess"),
            (MEASURED.replace("gain_db = 0.0", "gain_db = 10.0"), "is a guess"),
            (MEASURED.replace("3.5e9", "2.4e9"), "is a guess"),
            (MEASURED.replace("full_scale_dbm = 10.0", "full_scale_dbm = 14.0"), "measured on 2026-01-31"),
            (MEASURED.replace("2026-01-31", "yesterday"), "YYYY-MM-DD"),
        ] {
            let error = permit_with(&entry, &measured).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(permit_with(&format!("{ENTRY}cabled_max_dbm = 5.0"), "").is_ok(), "into a cable it may be a guess");
    }

    const ENTRY: &str = "[[allow]]\nname = \"bench\"\nmin_hz = 3.4e9\nmax_hz = 3.6e9\n";

    #[test]
    fn the_shipped_band_file_allows_nothing() {
        let error = permit(include_str!("../../hardware/bands.toml")).unwrap_err();
        assert!(error.to_string().contains("is not allowed") && error.exit_status() == 2);
    }

    #[test]
    fn the_whole_occupied_band_must_lie_inside_and_the_driver_must_be_the_entry_s() {
        assert!(permit(&format!("{ENTRY}cabled_max_dbm = 5.0")).is_ok());
        // 3.5 GHz ± 62.5 MHz with the pulse's roll-off.
        assert!(permit(&format!("{ENTRY}cabled_max_dbm = 5.0").replace("3.6e9", "3.56e9")).is_err());
        assert!(permit(&format!("{ENTRY}cabled_max_dbm = 5.0\ndriver = \"uhd\"")).is_err());
    }

    #[test]
    fn the_beam_s_gain_counts_and_more_power_than_allowed_is_refused() {
        let permission = permit(&format!("{ENTRY}max_eirp_dbm = 10.0\nantenna_gain_dbi = 3.0")).unwrap();
        assert!((permission.max_dbm - (10.0 - 3.0 - 10.0 * 4f64.log10())).abs() < 1e-9);
        let error = permit(&format!("{ENTRY}max_eirp_dbm = 5.0")).unwrap_err().to_string();
        assert!(error.contains("power_dbm = 0") && error.contains("-1.02"), "{error}");
        assert!(permit(&format!("{ENTRY}max_eirp_dbm = 9.0\ncabled_max_dbm = 9.0")).is_err());
    }
}
