//! What a scene may say: the ranges of its keys, and what several keys must be together. Every refusal names the key,
//! what was found and what is accepted, and is the same in every command.

use super::nodes::MAX_CLUTTER;
use super::{
    MAX_RECEIVERS, MAX_TARGETS, Point, ReceiverKind, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, SceneReceiver, keys,
};
use crate::keys as tables;

/// Longest path transmitter → target → sensing receiver that is simulated, in metres.
pub const MAX_PATH_M: f64 = 6000.0;

/// Symbols of delay behind the direct path that a sensing receiver searches.
pub const SEARCH_SYMBOLS: f64 = 256.0;

/// Nearest that two things may stand, in metres: nearer, the path loss would be a gain.
const LEAST_DISTANCE_M: f64 = 0.1;

/// Directions from broadside that a linear array can tell, in degrees: along its own line it sees no change.
const MAX_ANGLE_DEG: f64 = 89.0;

impl Scene {
    /// Checks ranges, lists and geometry; the error names the key, what was found and what is accepted.
    pub fn check(&self) -> Result<(), String> {
        self.check_spacing()?;
        let file = toml::Value::try_from(self).map_err(|error| error.to_string())?;
        tables::check(keys::KEYS, &file)?;
        // A single key that is not a number would be written as one that is missing.
        Self::try_from(super::SceneFile::from(self.clone()))?;
        let array = &self.array;
        for (key, value) in
            [("array.phase_error_deg", array.phase_error_deg), ("array.gain_error_db", array.gain_error_db)]
        {
            if value > 0.0 && self.model.reflectivity == Reflectivity::Known {
                return Err(format!(
                    "{key} = {value}, and model.reflectivity is \"known\", which asks for arrays without errors; accepted: 0"
                ));
            }
        }
        let waveform = &self.waveform;
        let least_hz = 0.5 * waveform.bandwidth_hz * (1.0 + waveform.roll_off);
        if waveform.carrier_hz < least_hz {
            return Err(format!(
                "waveform.carrier_hz = {:e} is below half of the band that waveform.bandwidth_hz = {:e} takes; accepted: \
                 {least_hz:e} or more",
                waveform.carrier_hz, waveform.bandwidth_hz
            ));
        }
        self.check_receivers()?;
        self.check_targets()?;
        self.check_stationary()?;
        self.check_impairments()
    }

    /// Refuses arrays that confuse directions with one another.
    fn check_spacing(&self) -> Result<(), String> {
        let spacing = self.array.spacing_wavelengths;
        if spacing.is_finite() && spacing > 0.5 {
            let half_deg = (0.5 / spacing).asin().to_degrees();
            return Err(format!(
                "array.spacing_wavelengths = {spacing} makes ambiguous directions: only within a field of view of \
                 ±{half_deg:.1}° no two would look alike; accepted: 0.05 to 0.5, where none do"
            ));
        }
        Ok(())
    }

    /// Key of a target's place in error lines: the single one, or that of the list's entry.
    pub fn target_key(&self, index: usize) -> String {
        match self.target_list.is_empty() {
            true => "geometry.target".into(),
            false => format!("target[{index}].position_m"),
        }
    }

    /// Key of a receiver's place in error lines; `index` counts as in [`Self::receivers`].
    fn receiver_key(&self, index: usize, receiver: &SceneReceiver) -> String {
        match (self.receiver_list.is_empty(), receiver.kind) {
            (true, ReceiverKind::Communication) => "geometry.communication_receiver".into(),
            (true, ReceiverKind::Sensing) => "geometry.sensing_receiver".into(),
            (false, _) => format!("receiver[{index}].position_m"),
        }
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
        for (index, target) in targets.iter().enumerate() {
            self.check_target_at(&self.target_key(index), target.position_m)?;
        }
        Ok(())
    }

    /// Whether a target, named `key` in the error, can stand here: in front of all arrays, where its echo is simulated and
    /// searched for. Commands that move a target ask the same as the file's reader.
    pub fn check_target_at(&self, key: &str, point: Point) -> Result<(), String> {
        if !point.iter().all(|coordinate| coordinate.is_finite()) {
            return Err(format!("{key} = {} is out of range; accepted: two finite numbers", text(point)));
        }
        let at = text(point);
        apart(key, point, self.geometry.transmitter, "the transmitter")?;
        let sensing = self.sensing_receivers();
        for receiver in &sensing {
            apart(key, point, receiver.position_m, "the sensing receiver")?;
        }
        for receiver in &sensing {
            self.check_reflector(key, point, receiver.position_m)?;
            let direct_m = distance_m(self.geometry.transmitter, receiver.position_m);
            let farthest_m = direct_m + SEARCH_SYMBOLS * SPEED_OF_LIGHT_M_S * self.symbol_period_s();
            let path_m = self.path_m(point, receiver.position_m);
            if path_m > farthest_m {
                return Err(format!(
                    "{key} = {at} makes a path of {path_m:.1} m to the sensing receiver, whose search ends \
                     {SEARCH_SYMBOLS} symbols of waveform.bandwidth_hz = {:e} behind the direct one; accepted: \
                     {direct_m:.1} to {farthest_m:.1} m",
                    self.waveform.bandwidth_hz
                ));
            }
        }
        Ok(())
    }

    /// Whether a point that reflects can stand in the world of one sensing receiver.
    fn check_reflector(&self, key: &str, point: Point, receiver: Point) -> Result<(), String> {
        let (transmitter, at) = (self.geometry.transmitter, text(point));
        if !(point[0] > transmitter[0] && point[0] > receiver[0]) {
            return Err(format!(
                "{key} = {at} is behind an array; accepted: x above {} (transmitter) and {} (sensing receiver), \
                 because a linear array cannot tell front from back",
                transmitter[0], receiver[0]
            ));
        }
        for array in [transmitter, receiver] {
            let angle_deg = (point[1] - array[1]).atan2(point[0] - array[0]).to_degrees();
            if angle_deg.abs() > MAX_ANGLE_DEG {
                return Err(format!(
                    "{key} = {at} is {angle_deg:.4}° off the broadside of the array at {}, along whose line \
                     directions cannot be told; accepted: up to {MAX_ANGLE_DEG}°",
                    text(array)
                ));
            }
        }
        let path_m = self.path_m(point, receiver);
        if path_m > MAX_PATH_M {
            return Err(format!(
                "{key} = {at} makes a path of {path_m:.0} m from transmitter to sensing receiver; accepted: up to \
                 {MAX_PATH_M} m"
            ));
        }
        Ok(())
    }

    /// Length of the path transmitter → point → receiver.
    fn path_m(&self, point: Point, receiver: Point) -> f64 {
        distance_m(self.geometry.transmitter, point) + distance_m(point, receiver)
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
            let key = self.receiver_key(index, receiver);
            match receiver.kind {
                ReceiverKind::Communication if receiver.antennas != 1 => {
                    return Err(format!(
                        "receiver[{index}].antennas = {} is out of range; accepted with kind = \"communication\": 1",
                        receiver.antennas
                    ));
                }
                ReceiverKind::Communication => {
                    apart(&key, receiver.position_m, self.geometry.transmitter, "the transmitter")?;
                }
                ReceiverKind::Sensing => {
                    let direct_m = distance_m(self.geometry.transmitter, receiver.position_m);
                    if direct_m > MAX_PATH_M {
                        return Err(format!(
                            "{key} = {} is {direct_m:.0} m from the transmitter; accepted: up to {MAX_PATH_M} m",
                            text(receiver.position_m)
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks clutter and leakage.
    fn check_stationary(&self) -> Result<(), String> {
        if self.clutter.len() > MAX_CLUTTER {
            return Err(format!("[[clutter]] has {} entries; accepted: up to {MAX_CLUTTER}", self.clutter.len()));
        }
        let sensing = self.sensing_receivers();
        for (index, clutter) in self.clutter.iter().enumerate() {
            let key = format!("clutter[{index}].position_m");
            for receiver in &sensing {
                self.check_reflector(&key, clutter.position_m, receiver.position_m)?;
            }
        }
        if self.channel.leakage_db.is_some()
            && sensing.iter().any(|receiver| receiver.position_m == self.geometry.transmitter)
        {
            return Err(
                "channel.leakage_db needs a straight way; accepted: a sensing receiver away from the transmitter"
                    .into(),
            );
        }
        Ok(())
    }
}

fn distance_m(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// A point as error lines show it.
fn text([x, y]: Point) -> String {
    format!("[{x}, {y}]")
}

fn apart(key: &str, point: Point, other: Point, name: &str) -> Result<(), String> {
    let at = text(point);
    if point == other {
        return Err(format!("{key} = {at} is where {name} stands; accepted: another point"));
    }
    let distance_m = distance_m(point, other);
    if distance_m < LEAST_DISTANCE_M {
        return Err(format!("{key} = {at} is {distance_m:.1e} m from {name}; accepted: {LEAST_DISTANCE_M} m or more"));
    }
    Ok(())
}

/// Ids are what commands and reports name, so each is a plain word of its own.
pub(super) fn check_ids<'a>(list: &str, ids: impl Iterator<Item = &'a str> + Clone) -> Result<(), String> {
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
