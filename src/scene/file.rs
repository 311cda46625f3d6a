//! The file's form of a scene: lists or single keys, never both for the same thing.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Array, Channel, Clutter, Constraints, Geometry, Model, Point, ReceiverKind, Scene, SceneImpairment, SceneReceiver,
    SceneTarget, Target, Waveform,
};

/// A scene as a file states it. A single key that a list replaces is absent: see [`is_absent`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SceneFile {
    geometry: Geometry,
    array: Array,
    #[serde(default)]
    target: TargetForm,
    channel: Channel,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clutter: Vec<Clutter>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    impairment: Vec<SceneImpairment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiver: Option<Vec<SceneReceiver>>,
    waveform: Waveform,
    constraints: Constraints,
    model: Model,
}

/// `[target]`, the motion of the one target, or `[[target]]`, a list.
#[derive(Serialize)]
#[serde(untagged)]
enum TargetForm {
    One(Target),
    Many(Vec<SceneTarget>),
}

impl Default for TargetForm {
    fn default() -> Self {
        Self::One(Target::default())
    }
}

// An untagged enum's own deserialiser would answer a mistake with "matches no variant"; this one names the key.
impl<'de> Deserialize<'de> for TargetForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = TargetForm;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("the table [target] or the list [[target]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetForm, A::Error> {
                Target::deserialize(MapAccessDeserializer::new(map)).map(TargetForm::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<TargetForm, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(sequence)).map(TargetForm::Many)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// What stands for a number that a list replaces. No file can state it: [`finite`] refuses NaN.
pub(super) fn absent() -> f64 {
    f64::NAN
}

/// The same for a point.
pub(super) fn absent_point() -> Point {
    [f64::NAN; 2]
}

/// Whether a number was left out.
pub(super) fn is_absent(number: &f64) -> bool {
    number.is_nan()
}

/// Whether a point was left out.
pub(super) fn is_absent_point(point: &Point) -> bool {
    point.iter().all(|number| number.is_nan())
}

/// Whether a number of antennas was left out. No file can state it: [`one_or_more`] refuses 0.
pub(super) fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A finite number.
pub(super) fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number.is_finite() {
        return Ok(number);
    }
    Err(serde::de::Error::custom(format!("{number} is not a finite number")))
}

/// Two finite numbers.
pub(super) fn finite_numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Point, D::Error> {
    let point = super::two_numbers(deserializer)?;
    if point.iter().all(|number| number.is_finite()) {
        return Ok(point);
    }
    Err(serde::de::Error::custom(format!("{point:?} is out of range; accepted: two finite numbers")))
}

/// A whole number above 0.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("0 is out of range; accepted: 1 to 256")),
        count => Ok(count),
    }
}

impl TryFrom<SceneFile> for Scene {
    type Error = String;

    fn try_from(file: SceneFile) -> Result<Self, String> {
        let SceneFile { geometry, array, target, channel, clutter, impairment, receiver, waveform, constraints, model } =
            file;
        let (motion, targets) = match target {
            TargetForm::One(motion) => (motion, None),
            TargetForm::Many(targets) => (Target::default(), Some(targets)),
        };
        let mut scene = Self {
            geometry,
            array,
            target: motion,
            channel,
            clutter,
            impairments: impairment,
            target_list: Vec::new(),
            receiver_list: Vec::new(),
            waveform,
            constraints,
            model,
        };
        match targets {
            Some(targets) => scene.take_targets(targets)?,
            None => scene.need("target", &scene.target_keys())?,
        }
        match receiver {
            Some(receivers) => scene.take_receivers(receivers)?,
            None => scene.need("receiver", &scene.receiver_keys())?,
        }
        Ok(scene)
    }
}

impl From<Scene> for SceneFile {
    fn from(mut scene: Scene) -> Self {
        let (targets, receivers) = (scene.targets(), scene.receivers());
        let target = if scene.target_list.is_empty() {
            TargetForm::One(scene.target)
        } else {
            (scene.geometry.target, scene.channel.reflection_coefficient) = (absent_point(), absent());
            TargetForm::Many(targets)
        };
        let receiver = (!scene.receiver_list.is_empty()).then(|| {
            (scene.geometry.communication_receiver, scene.geometry.sensing_receiver) = (absent_point(), absent_point());
            (scene.channel.communication_noise_dbm, scene.channel.sensing_noise_dbm) = (absent(), absent());
            scene.array.receive_antennas = 0;
            receivers
        });
        let Scene { geometry, array, channel, clutter, impairments, waveform, constraints, model, .. } = scene;
        let impairment = impairments;
        Self { geometry, array, target, channel, clutter, impairment, receiver, waveform, constraints, model }
    }
}

impl Scene {
    /// The single keys that `[[target]]` replaces, and whether the file has them.
    fn target_keys(&self) -> [(&'static str, bool); 2] {
        [
            ("geometry.target", !is_absent_point(&self.geometry.target)),
            ("channel.reflection_coefficient", !is_absent(&self.channel.reflection_coefficient)),
        ]
    }

    /// The single keys that `[[receiver]]` replaces, and whether the file has them.
    fn receiver_keys(&self) -> [(&'static str, bool); 5] {
        [
            ("geometry.communication_receiver", !is_absent_point(&self.geometry.communication_receiver)),
            ("geometry.sensing_receiver", !is_absent_point(&self.geometry.sensing_receiver)),
            ("channel.communication_noise_dbm", !is_absent(&self.channel.communication_noise_dbm)),
            ("channel.sensing_noise_dbm", !is_absent(&self.channel.sensing_noise_dbm)),
            ("array.receive_antennas", !is_zero(&self.array.receive_antennas)),
        ]
    }

    /// Refuses a file without a list that lacks one of the keys the list would replace.
    fn need(&self, list: &str, keys: &[(&'static str, bool)]) -> Result<(), String> {
        match keys.iter().find(|(_, given)| !given) {
            Some((key, _)) => Err(format!("{key} is missing; accepted: this key, or a list [[{list}]]")),
            None => Ok(()),
        }
    }

    /// Refuses a file with a list and one of the keys that it replaces.
    fn replace(list: &str, keys: &[(&'static str, bool)]) -> Result<(), String> {
        match keys.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("{key} and [[{list}]] say the same; accepted: one of the two")),
            None => Ok(()),
        }
    }

    fn take_targets(&mut self, targets: Vec<SceneTarget>) -> Result<(), String> {
        Self::replace("target", &self.target_keys())?;
        let first = targets.first().ok_or("[[target]] is empty; accepted: one target or more")?;
        self.set_single_target(first);
        self.target_list = targets;
        Ok(())
    }

    fn take_receivers(&mut self, receivers: Vec<SceneReceiver>) -> Result<(), String> {
        Self::replace("receiver", &self.receiver_keys())?;
        for (kind, name) in [(ReceiverKind::Communication, "communication"), (ReceiverKind::Sensing, "sensing")] {
            let first = receivers.iter().find(|receiver| receiver.kind == kind).ok_or_else(|| {
                format!("[[receiver]] has none with kind = \"{name}\"; accepted: one of each kind or more")
            })?;
            self.set_single_receiver(first);
        }
        self.receiver_list = receivers;
        Ok(())
    }
}
