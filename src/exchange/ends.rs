//! The ends of an exchange inside the sample path: what the blocks of a run are given.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender};

use super::{FarTransmitter, FrameBits};
use crate::stream::{LeftOut, Plan};

/// One frame for the receivers, and its plan where it is the first of it.
pub struct Reference {
    /// A plan that begins with this frame.
    pub plan: Option<Arc<Plan>>,
    /// The frame.
    pub bits: FrameBits,
}

/// A way out for frames.
#[derive(Clone)]
pub struct ReferenceOutlet {
    /// Takes the frames.
    pub sender: Sender<Reference>,
    /// Whether to wait where there is no room (a recording, which must be whole) or to leave the frame out.
    pub waits: bool,
}

/// A way in for frames.
pub struct ReferenceInlet {
    /// Gives the frames.
    pub frames: Receiver<FrameBits>,
    /// Whether they are a recording's: then nobody else says what was sent.
    pub recorded: bool,
}

/// Why what is being written is not whole: shared by all that write it. The first trouble counts.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<OnceLock<String>>);

impl Trouble {
    /// Says it.
    pub fn say(&self, what: impl std::fmt::Display) {
        // What comes after the first trouble follows from it.
        let _ = self.0.set(what.to_string());
    }

    /// What was said first.
    pub fn said(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Seconds from now until a sample of the transmitter's stream has to be at the radio; `None` while that is not known.
pub type Timeline = dyn Fn(u64) -> Option<f64> + Send + Sync;

/// All ends of a run.
#[derive(Default)]
pub struct Ends {
    /// Time left to the samples to be sent, where a radio sends them that waits for nobody: set as the radio is opened.
    pub timeline: Arc<OnceLock<Box<Timeline>>>,
    /// Whether a radio says what was radiated: set as it is opened.
    pub radiates: Arc<AtomicBool>,
    /// Whether directions are not to be trusted any more: the array's channels are not as they were calibrated.
    pub void: Arc<AtomicBool>,
    /// Where frames sent go.
    pub outlets: Vec<ReferenceOutlet>,
    /// Where frames sent elsewhere come from.
    pub inlet: Option<ReferenceInlet>,
    /// The transmitter, where it is not in this process.
    pub far: Option<Arc<FarTransmitter>>,
    /// Frames that were not sent.
    pub left_out: Arc<LeftOut>,
    /// The folder of a recording that is made or played.
    pub recording: Option<PathBuf>,
    /// Where those that write a recording say that they cannot.
    pub trouble: Trouble,
    /// Where a block says that data which it was to keep is not whole: the run goes on, but does not end well.
    pub unwritten: Trouble,
}
