//! The ends of an exchange inside the sample path: what the blocks of a run are given.

use std::path::PathBuf;
use std::sync::Arc;

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

/// All ends of a run.
#[derive(Default)]
pub struct Ends {
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
}
