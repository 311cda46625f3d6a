//! A run as it is seen from outside: whoever holds a [`Watch`] sees and steers it, however many there are, beside the one
//! who started it and waits for its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;
use image::RgbImage;
use serde::Serialize;

use super::run::Shared;
use super::views::{Topic, View};
use super::{Answer, PlanSummary, Status, Subscription};
use crate::blocks::snapshots::Snapshots;
use crate::control::socket::{self, LiveRequest};
use crate::control::{Command, Decisions, PictureLibrary};
use crate::runtime::StopSwitch;
use crate::scene::{Scene, SceneReceiver, SceneTarget};
use crate::semantic::Bank;
use crate::stream::{PlanBoard, Shape};
use crate::{Error, Result};

/// Pictures that are kept for whoever watches, and their bytes together.
const PICTURES_KEPT: usize = 64;
const PICTURE_BYTES: usize = 32 << 20;

/// What a run was made of, for people.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// The flowgraph's name.
    pub flowgraph: String,
    /// Its text as it was run; empty in a replay.
    pub text: String,
    /// The scene file with the keys that were changed.
    pub scene: toml::Table,
    /// Where the transmitter stands, in metres.
    pub transmitter_m: [f64; 2],
    /// The receivers.
    pub receivers: Vec<SeenReceiver>,
    /// The targets as the scene begins.
    pub targets: Vec<SceneTarget>,
    /// The chains.
    pub chains: Vec<SeenChain>,
}

/// A receiver's place.
#[derive(Debug, Clone, Serialize)]
pub struct SeenReceiver {
    /// Its name.
    pub id: String,
    /// `communication` or `sensing`.
    pub kind: crate::scene::ReceiverKind,
    /// Where it stands, in metres.
    pub position_m: [f64; 2],
    /// Elements of its array.
    pub antennas: usize,
}

impl From<SceneReceiver> for SeenReceiver {
    fn from(receiver: SceneReceiver) -> Self {
        let SceneReceiver { id, kind, position_m, antennas, .. } = receiver;
        Self { id, kind, position_m, antennas }
    }
}

/// A chain's stages.
#[derive(Debug, Clone, Serialize)]
pub struct SeenChain {
    /// Its name.
    pub name: String,
    /// Kind and outlet of each stage, in order.
    pub stages: Vec<SeenStage>,
}

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct SeenStage {
    /// Its kind.
    pub kind: String,
    /// What it gives.
    pub outlet: String,
}

impl About {
    /// What is known once the chains are loaded.
    pub(super) fn new(
        flowgraph: &str,
        text: String,
        scene: (toml::Table, &Scene),
        shapes: &[(String, Vec<(String, Shape)>)],
    ) -> Self {
        let stage = |(kind, shape): &(String, Shape)| SeenStage { kind: kind.clone(), outlet: shape.to_string() };
        let chain = |(name, stages): &(String, Vec<(String, Shape)>)| SeenChain {
            name: name.clone(),
            stages: stages.iter().map(stage).collect(),
        };
        let (table, scene) = scene;
        Self {
            flowgraph: flowgraph.to_owned(),
            text,
            scene: table,
            transmitter_m: scene.geometry.transmitter,
            receivers: scene.receivers().into_iter().map(SeenReceiver::from).collect(),
            targets: scene.targets(),
            chains: shapes.iter().map(chain).collect(),
        }
    }
}

/// What a watched run has beside its status.
pub(super) struct Seen {
    pub about: About,
    pub scene: Arc<Scene>,
    pub bank: Arc<Bank>,
    pub library: Arc<PictureLibrary>,
    pub plans: Arc<PlanBoard>,
    pub snapshots: Arc<Snapshots>,
    pub shelf: Arc<Shelf>,
    pub decisions: Arc<Mutex<Decisions>>,
}

/// A picture as a receiver shows it.
struct OnShelf {
    receiver: u8,
    number: u64,
    /// Its place in the list of what is sent, where that is known.
    source: Option<usize>,
    received: RgbImage,
}

/// The newest pictures received, where somebody may watch.
pub(super) struct Shelf {
    wanted: bool,
    kept: Mutex<VecDeque<OnShelf>>,
}

impl Shelf {
    pub fn new(wanted: bool) -> Self {
        Self { wanted, kept: Mutex::default() }
    }

    /// Keeps a copy of a picture; the oldest makes room.
    pub fn put(&self, receiver: u8, number: u64, source: Option<usize>, received: &RgbImage) {
        if self.wanted {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_front(OnShelf { receiver, number, source, received: received.clone() });
            let mut bytes = 0;
            let fits = |picture: &&OnShelf| {
                bytes += picture.received.as_raw().len();
                bytes <= PICTURE_BYTES
            };
            // The newest stays, however large.
            let count = kept.iter().take_while(fits).count().clamp(1, PICTURES_KEPT);
            kept.truncate(count);
        }
    }
}

/// Which side of the air a picture is seen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As it was sent.
    Sent,
    /// As it came.
    Received,
}

/// A way to see and to steer a run beside its owner.
#[derive(Clone)]
pub struct Watch {
    pub(super) commands: Option<Sender<LiveRequest>>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: StopSwitch,
}

impl Watch {
    /// A reader of the run's events, from now on.
    pub fn subscribe(&self) -> Subscription {
        self.shared.broadcast.subscribe()
    }

    /// What the run is doing, at most some fifty milliseconds old.
    pub fn status(&self) -> Arc<Status> {
        self.shared.status.load_full()
    }

    /// Whether the run has ended.
    pub fn has_ended(&self) -> bool {
        self.status().state == super::State::Ended || self.shared.broadcast.has_ended()
    }

    /// Ends the run in order, as [`Run::stop`](super::Run::stop) does.
    pub fn stop(&self) {
        self.stop.pull();
    }

    /// Carries out a live command, at a frame to come where one is given, and waits for its answer.
    pub fn command(&self, command: Command, at_frame: Option<u64>) -> Result<Answer> {
        match &self.commands {
            Some(requests) => Ok(socket::ask(command, at_frame, requests)),
            None => Err(Error::input("commands change a transmitter; accepted: in the process that has one")),
        }
    }

    /// What the run was made of.
    pub fn about(&self) -> &About {
        &self.shared.seen.about
    }

    /// The scene.
    pub fn scene(&self) -> &Scene {
        &self.shared.seen.scene
    }

    /// The plan that is sent with.
    pub fn plan(&self) -> PlanSummary {
        let seen = &self.shared.seen;
        PlanSummary::new(&seen.plans.in_force(self.status().frame.unwrap_or_default()), &seen.bank)
    }

    /// What was decided lately.
    pub fn decisions(&self) -> Decisions {
        self.shared.seen.decisions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the receivers for what a topic shows of their next frame.
    pub fn ask(&self, topic: Topic) {
        topic.ask(&self.shared.seen.snapshots);
    }

    /// What a topic shows now, one view for each receiver that has something to show.
    pub fn views(&self, topic: Topic) -> Vec<View> {
        let seen = &self.shared.seen;
        let plan = seen.plans.in_force(self.status().frame.unwrap_or_default());
        topic.views(&seen.snapshots, &seen.scene, &plan, &self.status())
    }

    /// The pictures that are kept, the newest first: the receiver's id, the number, and whether what was sent is known here.
    /// It is not where another process sends, and of a picture that the end of a run cut short.
    pub fn pictures(&self) -> Vec<(String, u64, bool)> {
        let kept = self.shared.seen.shelf.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let receivers = self.scene().communication_receivers();
        let id = |place: u8| receivers.get(usize::from(place)).map(|receiver| receiver.id.clone()).unwrap_or_default();
        kept.iter().map(|picture| (id(picture.receiver), picture.number, picture.source.is_some())).collect()
    }

    /// A picture that is kept, at a receiver or at the first that has it.
    ///
    /// # Errors
    /// Where it is not kept, or what was sent is not known here.
    pub fn picture(&self, number: u64, side: Side, node: Option<&str>) -> Result<RgbImage> {
        let receivers = self.scene().communication_receivers();
        let place = match node {
            Some(id) => Some(receivers.iter().position(|receiver| receiver.id == id).ok_or_else(|| {
                let known: Vec<_> = receivers.iter().map(|receiver| receiver.id.as_str()).collect();
                Error::input(format!("receiver = {id}; accepted: {}", known.join(", ")))
            })?),
            None => None,
        };
        let seen = &self.shared.seen;
        let kept = seen.shelf.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |picture: &&OnShelf| {
            picture.number == number && place.is_none_or(|place| place == usize::from(picture.receiver))
        };
        let Some(picture) = kept.iter().find(fits) else {
            let numbers: Vec<_> = kept.iter().map(|picture| picture.number.to_string()).collect();
            let accepted = if numbers.is_empty() { "none yet".into() } else { numbers.join(", ") };
            return Err(Error::input(format!("picture {number} is not kept; accepted: {accepted}")));
        };
        match (side, picture.source) {
            (Side::Received, _) => Ok(picture.received.clone()),
            (Side::Sent, Some(source)) => Ok(seen.library.original(source).clone()),
            (Side::Sent, None) => {
                Err(Error::input(format!("picture {number} was not sent whole from here; accepted: side=received")))
            }
        }
    }
}
