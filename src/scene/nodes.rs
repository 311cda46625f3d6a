//! Who is in the scene by name: targets and receivers, as lists or as the single keys, which are the short form of one.
//!
//! The single keys always speak of the first target and of the first receiver of each kind, also where the file has
//! lists. Code that knows one target and one receiver reads those keys; [`Scene::seen_by`] makes a scene in which they
//! speak of others.

use serde::{Deserialize, Serialize};

use super::{Point, Scene, Target, two_numbers};

/// Id of the target in a file without a list.
pub const TARGET_ID: &str = "target";
/// Id of the communication receiver in a file without a list.
pub const COMMUNICATION_RECEIVER_ID: &str = "communication-receiver";
/// Id of the sensing receiver in a file without a list.
pub const SENSING_RECEIVER_ID: &str = "sensing-receiver";

/// What an id may be.
pub(super) const ID: crate::keys::Range = crate::keys::Range::Text("one or more of A-Z, a-z, 0-9, _ and -");

/// Most targets of a scene.
pub const MAX_TARGETS: usize = 8;
/// Most receivers of each kind.
pub const MAX_RECEIVERS: usize = 8;
/// Most stationary reflectors of a scene.
pub const MAX_CLUTTER: usize = 32;

/// One target, an entry of `[[target]]`. Like the clutter it is the simulation's truth: no receiver reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneTarget {
    /// Its name in commands, events and reports.
    #[serde(default = "target_id")]
    pub id: String,
    /// Where it is at the start, (x, y) in metres.
    #[serde(deserialize_with = "two_numbers")]
    pub position_m: Point,
    /// Velocity in m/s, (x, y), at the start.
    #[serde(default, deserialize_with = "two_numbers")]
    pub velocity_m_s: Point,
    /// Rate in rad/s at which the velocity turns, counter-clockwise.
    #[serde(default)]
    pub turn_rate_rad_s: f64,
    /// |β| of its echo.
    pub reflection_coefficient: f64,
    /// Whether the optimizer knows of it from the start and keeps the threshold Π for it.
    #[serde(default = "yes")]
    pub believed: bool,
}

impl SceneTarget {
    /// How it moves.
    pub fn motion(&self) -> Target {
        Target { velocity_m_s: self.velocity_m_s, turn_rate_rad_s: self.turn_rate_rad_s }
    }
}

fn target_id() -> String {
    TARGET_ID.to_owned()
}

fn yes() -> bool {
    true
}

/// What a receiver is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiverKind {
    /// It decodes what is sent; one antenna.
    Communication,
    /// It locates targets in the echo with a uniform linear array.
    Sensing,
}

impl std::str::FromStr for ReceiverKind {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        match text {
            "communication" => Ok(Self::Communication),
            "sensing" => Ok(Self::Sensing),
            other => {
                Err(crate::Error::input(format!("`{other}` is no kind of receiver; accepted: communication, sensing")))
            }
        }
    }
}

impl ReceiverKind {
    /// Id of the receiver of this kind in a file without a list.
    pub const fn default_id(self) -> &'static str {
        match self {
            Self::Communication => COMMUNICATION_RECEIVER_ID,
            Self::Sensing => SENSING_RECEIVER_ID,
        }
    }
}

/// One receiver, an entry of `[[receiver]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReceiverEntry")]
pub struct SceneReceiver {
    /// Its name in events and reports.
    pub id: String,
    /// What it is for.
    pub kind: ReceiverKind,
    /// Where it stands, (x, y) in metres.
    pub position_m: Point,
    /// Elements of its array, 1 for communication.
    pub antennas: usize,
    /// Noise power in dBm: variance of a matched-filter output symbol, per antenna.
    pub noise_dbm: f64,
}

/// A receiver as the file states it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiverEntry {
    id: Option<String>,
    kind: ReceiverKind,
    #[serde(deserialize_with = "two_numbers")]
    position_m: Point,
    antennas: Option<usize>,
    noise_dbm: f64,
}

impl TryFrom<ReceiverEntry> for SceneReceiver {
    type Error = String;

    fn try_from(entry: ReceiverEntry) -> Result<Self, String> {
        let antennas = match (entry.kind, entry.antennas) {
            (ReceiverKind::Communication, None) => 1,
            (ReceiverKind::Sensing, None) => {
                return Err("a sensing receiver needs `antennas`; accepted: the number of its elements".into());
            }
            (_, Some(antennas)) => antennas,
        };
        Ok(Self {
            id: entry.id.unwrap_or_else(|| entry.kind.default_id().to_owned()),
            kind: entry.kind,
            position_m: entry.position_m,
            antennas,
            noise_dbm: entry.noise_dbm,
        })
    }
}

/// Ids of the two receivers beside those that they have in a scene of one of each kind.
fn default_ids<'a>(communication: &'a SceneReceiver, sensing: &'a SceneReceiver) -> [(&'a str, &'static str); 2] {
    [(&communication.id, COMMUNICATION_RECEIVER_ID), (&sensing.id, SENSING_RECEIVER_ID)]
}

impl Scene {
    /// All targets, at least one: those of the list, or the one of the single keys under its default id.
    pub fn targets(&self) -> Vec<SceneTarget> {
        let (id, believed) =
            self.target_list.first().map_or((target_id(), true), |target| (target.id.clone(), target.believed));
        let first = SceneTarget {
            id,
            position_m: self.geometry.target,
            velocity_m_s: self.target.velocity_m_s,
            turn_rate_rad_s: self.target.turn_rate_rad_s,
            reflection_coefficient: self.channel.reflection_coefficient,
            believed,
        };
        std::iter::once(first).chain(self.target_list.iter().skip(1).cloned()).collect()
    }

    /// Place in [`Self::targets`] of the target with this id; without one, of the first.
    pub fn target_index(&self, id: Option<&str>) -> Result<usize, String> {
        let Some(id) = id else { return Ok(0) };
        let targets = self.targets();
        targets.iter().position(|target| target.id == id).ok_or_else(|| {
            let known: Vec<_> = targets.iter().map(|target| target.id.as_str()).collect();
            format!("the scene has no target `{id}`; accepted: {}", known.join(", "))
        })
    }

    /// All receivers, in the order of the file; the communication receiver first where the file has no list.
    pub fn receivers(&self) -> Vec<SceneReceiver> {
        let kinds = [ReceiverKind::Communication, ReceiverKind::Sensing];
        if self.receiver_list.is_empty() {
            return kinds.map(|kind| self.single_receiver(kind, kind.default_id())).into();
        }
        let mut receivers = self.receiver_list.clone();
        for kind in kinds {
            if let Some(first) = receivers.iter_mut().find(|receiver| receiver.kind == kind) {
                *first = self.single_receiver(kind, &first.id);
            }
        }
        receivers
    }

    /// The receiver of this kind that the single keys speak of.
    fn single_receiver(&self, kind: ReceiverKind, id: &str) -> SceneReceiver {
        let (position_m, antennas, noise_dbm) = match kind {
            ReceiverKind::Communication => {
                (self.geometry.communication_receiver, 1, self.channel.communication_noise_dbm)
            }
            ReceiverKind::Sensing => {
                (self.geometry.sensing_receiver, self.array.receive_antennas, self.channel.sensing_noise_dbm)
            }
        };
        SceneReceiver { id: id.to_owned(), kind, position_m, antennas, noise_dbm }
    }

    /// The communication receivers, at least one, in the order of the file.
    pub fn communication_receivers(&self) -> Vec<SceneReceiver> {
        self.receivers_of(ReceiverKind::Communication)
    }

    /// The sensing receivers, at least one, in the order of the file.
    pub fn sensing_receivers(&self) -> Vec<SceneReceiver> {
        self.receivers_of(ReceiverKind::Sensing)
    }

    fn receivers_of(&self, kind: ReceiverKind) -> Vec<SceneReceiver> {
        self.receivers().into_iter().filter(|receiver| receiver.kind == kind).collect()
    }

    /// The scene in the single form, in which the keys of the target and of the receivers speak of these: target
    /// `target` of [`Self::targets`], `communication` of [`Self::communication_receivers`] and `sensing` of
    /// [`Self::sensing_receivers`]. Everything else stays, and ids become the default ones.
    ///
    /// # Panics
    /// Where there is no target or receiver of this index.
    pub fn seen_by(&self, target: usize, communication: usize, sensing: usize) -> Self {
        let target = &self.targets()[target];
        let communication = &self.communication_receivers()[communication];
        let sensing = &self.sensing_receivers()[sensing];
        let mut scene = Self { target_list: Vec::new(), receiver_list: Vec::new(), ..self.clone() };
        scene.impairments = self.impairments_of(default_ids(communication, sensing));
        scene.set_single_target(target);
        scene.set_single_receiver(communication);
        scene.set_single_receiver(sensing);
        scene
    }

    /// Antennas that receive: one of each communication receiver, and those of the sensing receivers' arrays.
    pub fn receiving_antennas(&self) -> usize {
        self.receivers().iter().map(|receiver| receiver.antennas).sum()
    }

    /// The scene as an optimizer sees it that serves receiver `communication` of [`Self::communication_receivers`] and plans
    /// for the first sensing receiver: all targets stay, and the receivers' single keys speak of these two.
    ///
    /// # Panics
    /// Where there is no receiver of this index.
    pub fn serving(&self, communication: usize) -> Self {
        let served = &self.communication_receivers()[communication];
        let sensing = &self.sensing_receivers()[0];
        let mut scene = Self { receiver_list: Vec::new(), ..self.clone() };
        scene.impairments = self.impairments_of(default_ids(served, sensing));
        scene.set_single_receiver(served);
        scene.set_single_receiver(sensing);
        scene
    }

    /// Writes a target into the single keys.
    pub(super) fn set_single_target(&mut self, target: &SceneTarget) {
        self.geometry.target = target.position_m;
        self.target = target.motion();
        self.channel.reflection_coefficient = target.reflection_coefficient;
    }

    /// Writes a receiver into the single keys.
    pub(super) fn set_single_receiver(&mut self, receiver: &SceneReceiver) {
        match receiver.kind {
            ReceiverKind::Communication => {
                self.geometry.communication_receiver = receiver.position_m;
                self.channel.communication_noise_dbm = receiver.noise_dbm;
            }
            ReceiverKind::Sensing => {
                self.geometry.sensing_receiver = receiver.position_m;
                self.channel.sensing_noise_dbm = receiver.noise_dbm;
                self.array.receive_antennas = receiver.antennas;
            }
        }
    }
}
