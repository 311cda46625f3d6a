//! Telemetry: events that stages report while they run. Reporting never waits and never allocates; an event that finds
//! no room is counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::scene::Point;
use crate::sensing::{Estimate, Track};

/// Antennas whose channel a sounding event can carry.
pub const MAX_SOUNDED_ANTENNAS: usize = 16;

/// Something a stage saw or did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a track goes along with every frame, and a box for it would be an allocation"
)]
pub enum Event {
    /// The transmitter built a frame.
    FrameSent {
        /// Frame number.
        frame: u64,
        /// Payload blocks that carry bits (at most 4).
        blocks: u8,
        /// Digest of each block's payload bits.
        digests: [u64; 4],
    },
    /// Antenna samples left the transmitter.
    Radiated {
        /// Samples per antenna.
        samples: u64,
        /// Sum over samples and antennas of |x|², in W·samples.
        energy: f64,
    },
    /// The last block of a picture was sent.
    PictureSent {
        /// Counts pictures.
        number: u64,
        /// Position in the source's list.
        source: usize,
        /// Source model.
        model: usize,
        /// Bits of the picture's stream, headers included.
        bits: u64,
        /// Channel blocks used.
        blocks: u64,
    },
    /// The communication receiver read a frame's header.
    FrameReceived {
        /// Frame number as the header says.
        frame: u64,
        /// Blocks that carry bits, as the header says.
        blocks: u8,
        /// Which blocks passed syndrome and CRC.
        decoded: [bool; 4],
        /// Digest of each block's payload bits.
        digests: [u64; 4],
        /// Measured SINR, linear.
        sinr: f32,
    },
    /// The transmitter begins this frame.
    TransmitterProgress {
        /// Frame number.
        frame: u64,
    },
    /// Where a simulated target was when a frame was sent, once for each target: for reports, never for a receiver.
    World {
        /// Frame number.
        frame: u64,
        /// The target's place in the scene's list.
        #[serde(default)]
        target: u8,
        /// Position in metres.
        position_m: Point,
    },
    /// The communication receiver has worked through its stream up to this sample time.
    ReceiverProgress {
        /// In samples of the receiver's stream.
        sample_time: u64,
    },
    /// The per-antenna channel was sounded.
    Sounded {
        /// Frame number as the header says.
        frame: u64,
        /// Antennas.
        antennas: usize,
        /// Conjugated entries of h_c as received (gain per antenna for unit transmit amplitude).
        gains: [Complex32; MAX_SOUNDED_ANTENNAS],
    },
    /// The sensing receiver worked on a frame's echo, or on those of several together: once for each position found, the
    /// strongest first, and once where there is none.
    Sensed {
        /// Frame number by the reference, of the middle one of several.
        frame: u64,
        /// What was found.
        estimate: Estimate,
        /// The track that took it in, tentative ones too.
        #[serde(default)]
        track: Option<u64>,
        /// Whether another one of this frame follows.
        #[serde(default)]
        more: bool,
    },
    /// The sensing receiver is done with a frame, with an echo or without: once for each confirmed track, the one with most
    /// fixes first, and once where there is none.
    Tracked {
        /// Frame number by the reference.
        frame: u64,
        /// The track; none either where the frame waits for others.
        track: Option<Track>,
        /// Whether another one of this frame follows.
        #[serde(default)]
        more: bool,
    },
    /// A radio began to send: its own time at sample 0 of the stream.
    Started {
        /// In nanoseconds of the device's clock.
        origin_ns: i64,
    },
    /// A radio did not send a frame, or not to its end.
    LeftOut {
        /// Frame number.
        frame: u64,
    },
    /// A receiver in another process is gone, or has ended: nobody waits for it any more.
    PeerLost {
        /// Whether it is the sensing receiver.
        sensing: bool,
    },
    /// A radio had nothing to send, or too late.
    Starved {
        /// How many times more.
        events: u64,
    },
    /// A stage counted frames it had to give up (an overflow, a dropped reference).
    Lost {
        /// How many more.
        frames: u64,
    },
}

/// The sending side, cloned into every stage that reports.
#[derive(Debug, Clone)]
pub struct Telemetry {
    sender: Sender<Event>,
    dropped: Arc<AtomicU64>,
}

impl Telemetry {
    /// A channel with room for `depth` events.
    pub fn new(depth: usize) -> (Self, Receiver<Event>) {
        let (sender, receiver) = bounded(depth);
        (Self { sender, dropped: Arc::default() }, receiver)
    }

    /// Reports an event.
    pub fn report(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that found no room so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Digest of samples or of bits, to compare what was sent with what came.
pub fn digest(bytes: &[u8]) -> u64 {
    crate::semantic::weights::fnv1a(bytes)
}

/// Frames left out lately, for whoever would look for their echo. Adding and asking never wait.
#[derive(Debug)]
pub struct LeftOut {
    /// One more than the frame's number, at its number's place.
    frames: [AtomicU64; Self::KEPT],
}

impl Default for LeftOut {
    fn default() -> Self {
        Self { frames: [const { AtomicU64::new(0) }; Self::KEPT] }
    }
}

impl LeftOut {
    /// More than the frames that are ever under way.
    const KEPT: usize = 256;

    fn place(&self, frame: u64) -> &AtomicU64 {
        &self.frames[frame as usize % Self::KEPT]
    }

    /// Adds a frame.
    pub fn insert(&self, frame: u64) {
        self.place(frame).store(frame + 1, Ordering::Release);
    }

    /// Whether a frame was added.
    pub fn contains(&self, frame: u64) -> bool {
        self.place(frame).load(Ordering::Acquire) == frame + 1
    }
}
