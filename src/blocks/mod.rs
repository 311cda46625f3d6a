//! The blocks: state and one kernel call each, one file each, one line each in [`TABLE`].

mod discard;
mod echo_locator;
mod frame_builder;
mod frame_receiver;
mod picture_sink;
mod picture_source;
mod pulse_shaper;
mod recorder;
mod recording_source;
mod reference_sender;
mod reference_source;
pub(crate) mod simulated_air;
pub mod snapshots;
mod stationary;
mod superposer;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use image::RgbImage;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::exchange::Ends;
use crate::modem::frame::Layout;
use crate::modem::words::SensingSequence;
use crate::scene::{Point, Scene};
use crate::semantic::{Bank, Picture};
pub(crate) use crate::stream::digest;
use crate::stream::{PlanBoard, Stage, TapReader, Telemetry};
use crate::{Error, Result};
use snapshots::Snapshots;

/// Frames that a tap holds: more than can be under way between transmitter and receiver.
const TAP_FRAMES: usize = 64;

/// The transmitter's clock at its first sample: received rows lag it by this much and more.
pub(crate) const FIRST_SAMPLE: u64 = crate::channel::RECEIVE_LAG as u64;

/// Where a source gets its pictures from. Asking never waits.
pub trait PictureFeed: Send + Sync {
    /// Picture `number` of the run in source model `model`: `Ready`, `NotYet` (the asking thread is woken later), or
    /// `End` where there are no more.
    fn picture(&self, number: u64, model: usize) -> Feed;
}

/// What a feed has.
pub enum Feed {
    /// The coded picture and its place in the source's list.
    Ready(Arc<Picture>, usize),
    /// It is being encoded.
    NotYet,
    /// There is none.
    End,
}

/// A picture that came through the air.
#[derive(Debug)]
pub struct ReceivedPicture {
    /// Its number, as the headers say (16 bits, unwrapped).
    pub number: u64,
    /// What it looks like; `None` where not even its header survived.
    pub image: Option<RgbImage>,
    /// Slices that were lost.
    pub lost_slices: usize,
    /// Slices in all.
    pub slices: usize,
    /// Blocks that arrived.
    pub blocks: u64,
}

/// A change to the simulated world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WorldChange {
    /// Where the target is; it moves on from there.
    Target(Point),
    /// |β_0|.
    Reflection(f64),
}

/// Changes to the simulated world and the frames from which they hold.
pub type WorldChanges = ArcSwap<Vec<(u64, WorldChange)>>;

/// What the blocks of one run share.
pub struct Context {
    /// The scene; receivers take from it what a radio would know.
    pub scene: Arc<Scene>,
    /// Seed of everything random.
    pub seed: u64,
    /// Frames to send, if there is an end.
    pub frames: Option<u64>,
    /// Seconds of signal to send, if there is an end.
    pub seconds: Option<f64>,
    /// Signal time per wall-clock time, if the source is to keep to it.
    pub pace: Option<f64>,
    /// The source models.
    pub bank: Arc<Bank>,
    /// Plans.
    pub plans: Arc<PlanBoard>,
    /// Pictures to send.
    pub pictures: Arc<dyn PictureFeed>,
    /// Probing bits of the sensing stream, if the user gave any.
    pub probing_bits: Option<Arc<[u8]>>,
    /// Pictures received.
    pub received: Sender<ReceivedPicture>,
    /// Events for the report.
    pub telemetry: Telemetry,
    /// Events for the control plane.
    pub feedback: Telemetry,
    /// The simulated target's moves.
    pub world: Arc<WorldChanges>,
    /// Recent frames for drawings.
    pub snapshots: Arc<Snapshots>,
    /// Taps by name, between the stage that writes and the one that reads.
    pub taps: HashMap<String, TapReader>,
    /// Ways to other processes, and to recordings.
    pub ends: Ends,
    /// Radios.
    #[cfg(feature = "soapy")]
    pub radios: crate::frontend::Radios,
}

impl Context {
    /// Symbols of the longest frame.
    pub(crate) fn longest_frame(&self) -> usize {
        Layout::with_sounding(self.scene.array.transmit_antennas).symbols()
    }

    /// Samples of the longest frame.
    pub(crate) fn longest_samples(&self) -> usize {
        self.longest_frame() * self.scene.waveform.samples_per_symbol
    }

    /// What the sensing stream follows from: the sides of a run agree on it beforehand.
    pub(crate) fn sensing_sequence(&self) -> SensingSequence {
        SensingSequence { seed: self.seed as u16, probing_bits: self.probing_bits.clone() }
    }
}

/// One kind of block.
pub struct Kind {
    /// Name in flowgraph files.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Makes one from its keys.
    pub make: fn(&mut Context, Table) -> Result<Box<dyn Stage>>,
}

/// All kinds.
pub const TABLE: &[Kind] = &[
    Kind {
        name: "picture-source",
        summary: "pictures as header and payload bits of frames, under the plan of each frame",
        make: picture_source::make,
    },
    Kind {
        name: "frame-builder",
        summary: "channel code, modulation and frame: bits to the symbols of both streams",
        make: frame_builder::make,
    },
    Kind {
        name: "pulse-shaper",
        summary: "root-raised-cosine pulses; `tap` copies the shaped streams for a sensing receiver",
        make: pulse_shaper::make,
    },
    Kind {
        name: "superposer",
        summary: "both streams on all antennas with the plan's beams (eq. 1), and the sounding",
        make: superposer::make,
    },
    Kind {
        name: "simulated-air",
        summary: "direct path, echo and noise: antennas to the communication receiver and the sensing array",
        make: simulated_air::make,
    },
    Kind {
        name: "frame-receiver",
        summary: "synchronises, equalises, demaps and decodes: samples to bits; `sensing_stream` says what becomes of s_0",
        make: frame_receiver::make,
    },
    Kind { name: "picture-sink", summary: "bits to pictures, lost parts concealed", make: picture_sink::make },
    Kind {
        name: "echo-locator",
        summary: "the target's position from the echo of each frame, with `reference` a tap",
        make: echo_locator::make,
    },
    Kind {
        name: "discard",
        summary: "forgets samples: the end of a chain made for a tap or a recording",
        make: discard::make,
    },
    Kind {
        name: "reference-sender",
        summary: "passes bits on, and copies them to sensing receivers in other processes and to a recording",
        make: reference_sender::make,
    },
    Kind {
        name: "reference-source",
        summary: "the bits of frames sent by another process or in a recording, for the reference",
        make: reference_source::make,
    },
    Kind {
        name: "recorder",
        summary: "passes samples on, and writes them to the recording as SigMF, `name` the pair of files",
        make: recorder::make,
    },
    Kind {
        name: "recording-source",
        summary: "samples of a SigMF recording, with `recording` its metadata file",
        make: recording_source::make,
    },
    Kind {
        name: "soapy-sink",
        summary: "antenna samples to a radio (feature soapy), with `radio` a profile",
        make: radio::sink,
    },
    Kind {
        name: "soapy-source",
        summary: "samples of a radio's receiving channels (feature soapy), with `radio` a profile",
        make: radio::source,
    },
];

#[cfg(feature = "soapy")]
mod radio {
    pub(super) use crate::frontend::{sink::make as sink, source::make as source};
}

/// What everything that needs a radio says where there can be none.
#[cfg(not(feature = "soapy"))]
pub(crate) fn built_without_radios() -> Error {
    Error::input("this program was built without radios; accepted: one built with --features soapy")
}

#[cfg(not(feature = "soapy"))]
mod radio {
    use super::{Context, Result, Stage, Table, built_without_radios};

    pub(super) fn sink(_context: &mut Context, _keys: Table) -> Result<Box<dyn Stage>> {
        Err(built_without_radios())
    }

    pub(super) use sink as source;
}

/// A block's keys as its settings; unknown ones are refused with the nearest known.
pub(crate) fn settings<T: DeserializeOwned>(keys: Table) -> Result<T> {
    let text = toml::to_string(&keys).map_err(|error| Error::input(error.to_string()))?;
    crate::config::from_toml(&text, "keys").map_err(|error| {
        let text = error.to_string();
        // The keys were one line of a flowgraph: a line number here would mislead.
        Error::input(text.split_once(": ").map_or(text.clone(), |(_, what)| what.to_owned()))
    })
}

/// Refuses every key, for a block that has none.
fn no_settings(keys: Table) -> Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {}
    settings(keys).map(|Keys {}| ())
}
