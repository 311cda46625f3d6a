//! What a scene may say: every refusal names the key, what was found and what is accepted.

use super::{Clutter, MAX_RECEIVERS, MAX_TARGETS, Point, ReceiverKind, Reflectivity, Scene};

/// Largest limits of an element's errors that error bars are true for, which are of first order.
const MAX_PHASE_ERROR_DEG: f64 = 10.0;
const MAX_GAIN_ERROR_DB: f64 = 1.0;

impl Scene {
    /// Checks ranges; the error names the key, what was found and what is accepted.
    pub fn check(&self) -> Result<(), String> {
        let geometry = &self.geometry;
        finite("geometry.transmitter", geometry.transmitter[0])?;
        finite("geometry.transmitter", geometry.transmitter[1])?;
        self.check_targets()?;
        self.check_receivers()?;
        count("array.transmit_antennas", self.array.transmit_antennas, 1..=256)?;
        positive("array.spacing_wavelengths", self.array.spacing_wavelengths)?;
        for (key, value, most) in [
            ("array.phase_error_deg", self.array.phase_error_deg, MAX_PHASE_ERROR_DEG),
            ("array.gain_error_db", self.array.gain_error_db, MAX_GAIN_ERROR_DB),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(format!("{key} = {value} is out of range; accepted: 0 to {most}"));
            }
            if value > 0.0 && self.model.reflectivity == Reflectivity::Known {
                return Err(format!(
                    "{key} = {value}, and model.reflectivity is \"known\", which asks for arrays without errors; accepted: 0"
                ));
            }
        }
        let channel = &self.channel;
        finite("channel.path_loss_exponent", channel.path_loss_exponent)?;
        positive("channel.timing_error_std_s", channel.timing_error_std_s)?;
        if !(-5.0..=5.0).contains(&channel.carrier_offset_ppm) {
            return Err(format!(
                "channel.carrier_offset_ppm = {} is out of range; accepted: -5 to 5",
                channel.carrier_offset_ppm
            ));
        }
        self.check_stationary()?;
        let waveform = &self.waveform;
        positive("waveform.bandwidth_hz", waveform.bandwidth_hz)?;
        positive("waveform.carrier_hz", waveform.carrier_hz)?;
        count("waveform.frame_symbols", waveform.frame_symbols, 1..=1 << 20)?;
        count("waveform.block_symbols", waveform.block_symbols, 1..=1 << 20)?;
        count("waveform.samples_per_symbol", waveform.samples_per_symbol, 1..=8)?;
        if let Some(interval) = waveform.frame_interval_s {
            positive("waveform.frame_interval_s", interval)?;
        }
        if !(waveform.roll_off > 0.0 && waveform.roll_off <= 1.0) {
            return Err(format!(
                "waveform.roll_off = {} is out of range; accepted: above 0, up to 1",
                waveform.roll_off
            ));
        }
        let constraints = &self.constraints;
        finite("constraints.power_dbm", constraints.power_dbm)?;
        positive("constraints.hcrb_max_m2", constraints.hcrb_max_m2)?;
        positive("constraints.bandwidth_ratio_max", constraints.bandwidth_ratio_max)?;
        if let Some(margin) = constraints.snr_margin_db {
            finite("constraints.snr_margin_db", margin)?;
        }
        if let Some(rate) = constraints.block_error_rate_max
            && !(rate > 0.0 && rate < 1.0)
        {
            return Err(format!(
                "constraints.block_error_rate_max = {rate} is out of range; accepted: above 0, below 1"
            ));
        }
        Ok(())
    }

    /// Checks every target; a list's are named by their place in it.
    fn check_targets(&self) -> Result<(), String> {
        let targets = self.targets();
        check_ids("target", targets.iter().map(|target| target.id.as_str()))?;
        if targets.len() > MAX_TARGETS {
            return Err(format!("[[target]] has {} entries; accepted: 1 to {MAX_TARGETS}", targets.len()));
        }
        if !targets.iter().any(|target| target.believed) {
            return Err("target: believed = false in all of them; accepted: one or more with believed = true".into());
        }
        let sensing = self.sensing_receivers();
        for (index, target) in targets.iter().enumerate() {
            let key = |single: &str, listed: &str| match self.target_list.is_empty() {
                true => single.to_owned(),
                false => format!("target[{index}].{listed}"),
            };
            let place = key("geometry.target", "position_m");
            finite_point(&place, target.position_m)?;
            finite_point(&key("target.velocity_m_s", "velocity_m_s"), target.velocity_m_s)?;
            finite(&key("target.turn_rate_rad_s", "turn_rate_rad_s"), target.turn_rate_rad_s)?;
            let reflection = key("channel.reflection_coefficient", "reflection_coefficient");
            positive(&reflection, target.reflection_coefficient)?;
            apart_from_transmitter(&place, target.position_m, self.geometry.transmitter)?;
            if sensing.iter().any(|receiver| receiver.position_m == target.position_m) {
                return Err(format!("{place} is where the sensing receiver stands; accepted: another point"));
            }
        }
        Ok(())
    }

    /// Checks every receiver.
    fn check_receivers(&self) -> Result<(), String> {
        let receivers = self.receivers();
        check_ids("receiver", receivers.iter().map(|receiver| receiver.id.as_str()))?;
        for kind in [ReceiverKind::Communication, ReceiverKind::Sensing] {
            let found = receivers.iter().filter(|receiver| receiver.kind == kind).count();
            if found > MAX_RECEIVERS {
                return Err(format!("[[receiver]] has {found} of one kind; accepted: 1 to {MAX_RECEIVERS}"));
            }
        }
        for (index, receiver) in receivers.iter().enumerate() {
            let communicates = receiver.kind == ReceiverKind::Communication;
            let key = |single: [&str; 2], listed: &str| match self.receiver_list.is_empty() {
                true => single[usize::from(!communicates)].to_owned(),
                false => format!("receiver[{index}].{listed}"),
            };
            let place = key(["geometry.communication_receiver", "geometry.sensing_receiver"], "position_m");
            finite_point(&place, receiver.position_m)?;
            let noise = key(["channel.communication_noise_dbm", "channel.sensing_noise_dbm"], "noise_dbm");
            finite(&noise, receiver.noise_dbm)?;
            let most = if communicates { 1 } else { 256 };
            count(&key(["", "array.receive_antennas"], "antennas"), receiver.antennas, 1..=most)?;
            if communicates {
                apart_from_transmitter(&place, receiver.position_m, self.geometry.transmitter)?;
            }
        }
        Ok(())
    }

    /// Checks clutter and leakage.
    fn check_stationary(&self) -> Result<(), String> {
        for (index, clutter) in self.clutter.iter().enumerate() {
            let Clutter { position_m: position, reflection_coefficient } = clutter;
            if !position.iter().all(|coordinate| coordinate.is_finite()) {
                return Err(format!("clutter[{index}].position_m = {position:?}; accepted: two finite numbers"));
            }
            if !(reflection_coefficient.is_finite() && *reflection_coefficient > 0.0) {
                return Err(format!(
                    "clutter[{index}].reflection_coefficient = {reflection_coefficient} is out of range; accepted: a \
                     finite number above 0"
                ));
            }
        }
        let sensing = self.sensing_receivers();
        match self.channel.leakage_db {
            Some(db) if !db.is_finite() => Err(format!("channel.leakage_db = {db} is not a finite number")),
            Some(_) if sensing.iter().any(|receiver| receiver.position_m == self.geometry.transmitter) => Err(
                "channel.leakage_db needs a straight way; accepted: geometry.sensing_receiver away from the transmitter"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

fn positive(key: &str, value: f64) -> Result<(), String> {
    (value.is_finite() && value > 0.0)
        .then_some(())
        .ok_or_else(|| format!("{key} = {value} is out of range; accepted: a finite number above 0"))
}

fn finite(key: &str, value: f64) -> Result<(), String> {
    value.is_finite().then_some(()).ok_or_else(|| format!("{key} = {value} is not a finite number"))
}

fn finite_point(key: &str, point: Point) -> Result<(), String> {
    point.iter().try_for_each(|coordinate| finite(key, *coordinate))
}

fn count(key: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    let (least, most) = (*range.start(), *range.end());
    let accepted = if least == most { least.to_string() } else { format!("{least} to {most}") };
    range.contains(&value).then_some(()).ok_or_else(|| format!("{key} = {value} is out of range; accepted: {accepted}"))
}

fn apart_from_transmitter(key: &str, point: Point, transmitter: Point) -> Result<(), String> {
    if point == transmitter {
        return Err(format!("{key} = {point:?} is where the transmitter stands; accepted: another point"));
    }
    Ok(())
}

/// Ids are what commands and reports name, so each is a plain word of its own.
fn check_ids<'a>(list: &str, ids: impl Iterator<Item = &'a str> + Clone) -> Result<(), String> {
    for (index, id) in ids.clone().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if id.is_empty() || !id.chars().all(plain) {
            return Err(format!("{list}[{index}].id = {id:?}; accepted: one or more of A-Z, a-z, 0-9, _ and -"));
        }
        if ids.clone().take(index).any(|earlier| earlier == id) {
            return Err(format!("{list}[{index}].id = {id:?} is that of another one; accepted: ids that differ"));
        }
    }
    Ok(())
}
