//! Telemetry: events that stages report while they run. Reporting never waits and never allocates; an event that finds
//! no room is counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::scene::Point;
use crate::semantic::weights::{FNV_PRIME, fnv1a, fnv1a_from};
use crate::sensing::{Estimate, Track};

/// Antennas whose channel a sounding event can carry.
pub const MAX_SOUNDED_ANTENNAS: usize = 16;

/// Something a stage saw or did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// User data was put into a frame.
    DataSent {
        /// Frame number.
        frame: u64,
        /// First of its blocks that a picture leaves free.
        first: u8,
        /// Blocks with data.
        blocks: u8,
        /// Digest of each data block's bits.
        digests: [u64; 4],
        /// Bits of all free blocks.
        room_bits: u32,
        /// Datagrams begun.
        datagrams: u32,
        /// Their bytes.
        bytes: u64,
        /// Datagrams that found no room since the last frame.
        refused: u32,
        /// When the last one was begun, by this process's clock.
        #[serde(skip)]
        at_ns: u64,
    },
    /// User data came out of a frame.
    DataReceived {
        /// Frame number as the header says.
        frame: u64,
        /// Datagrams that came whole.
        datagrams: u32,
        /// Their bytes.
        bytes: u64,
        /// Datagrams left out between those.
        lost: u32,
        /// Datagrams dropped, as their checksum was wrong.
        damaged: u32,
        /// Datagrams that nobody took.
        refused: u32,
        /// When they came, by this process's clock; 0 where that is another process's.
        #[serde(skip)]
        at_ns: u64,
    },
    /// A result is there: how long it took since its last sample came from the antennas.
    Took {
        /// Which result.
        result: ResultKind,
        /// In nanoseconds.
        time_ns: u64,
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
        /// Measured noise beside the interference, in W: the variance of a matched-filter output symbol.
        #[serde(default)]
        noise_w: f32,
    },
    /// The same for whoever plans: how the link did in a frame.
    LinkSeen {
        /// Frame number as the header says.
        frame: u64,
        /// Measured SINR, linear.
        sinr: f32,
        /// Measured noise beside the interference, in W.
        noise_w: f32,
        /// Blocks that carry bits.
        blocks: u8,
        /// Those of them that were lost.
        lost: u8,
    },
    /// The transmitter begins this frame.
    TransmitterProgress {
        /// Frame number.
        frame: u64,
    },
    /// Where a simulated target was when a frame was sent: for reports, never for a receiver.
    World {
        /// Frame number.
        frame: u64,
        /// Its place in the scene's list of targets.
        #[serde(default)]
        target: u8,
        /// Position in metres.
        position_m: Point,
        /// |β| of its echo; unknown where an older recording tells.
        #[serde(default)]
        reflection_coefficient: Option<f64>,
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
    /// The sensing receiver worked on a frame's echo, or on those of several together: one event for each target that it
    /// found, the strongest first, and one where it found none.
    Sensed {
        /// Frame number by the reference, of the middle one of several.
        frame: u64,
        /// What was found.
        estimate: Estimate,
        /// The track that took the position in.
        #[serde(default)]
        track: Option<u64>,
        /// Whether another event of this frame follows.
        #[serde(default)]
        more: bool,
    },
    /// The sensing receiver is done with a frame, with an echo or without: one event for each confirmed track, the one
    /// with most fixes first, and one where there is none.
    Tracked {
        /// Frame number by the reference.
        frame: u64,
        /// A confirmed track; none either where the frame waits for others.
        track: Option<Track>,
        /// Whether another event of this frame follows.
        #[serde(default)]
        more: bool,
    },
    /// A radio began to send: its own time at sample 0 of the stream.
    Started {
        /// In nanoseconds of the device's clock.
        origin_ns: i64,
        /// Seconds by which that clock is ahead of UTC at the edges of the seconds' pulse, where it was set by one.
        #[serde(default)]
        seconds_ahead: Option<i64>,
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

/// What a receiver gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultKind {
    /// A frame's positions, or that there are none.
    Position,
    /// A picture.
    Picture,
}

/// Who has to hear of an event, beside whoever reads the run's events as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audience {
    /// The control plane of this process's transmitter, which cannot decide without it.
    pub control: bool,
    /// The report of this process.
    pub report: bool,
    /// A recording: a replay of the receivers does not make it again.
    pub recording: bool,
    /// From a receiver, the process of its transmitter.
    pub transmitter: bool,
    /// From a transmitter, its receivers in other processes.
    pub receivers: bool,
}

impl Event {
    /// The readers that an event is for.
    pub fn audience(&self) -> Audience {
        let nobody = Audience::default();
        let report = Audience { report: true, ..nobody };
        match self {
            Self::FrameSent { .. } | Self::DataSent { .. } => report,
            Self::Radiated { .. } | Self::PictureSent { .. } | Self::World { .. } | Self::Starved { .. } => {
                Audience { recording: true, ..report }
            }
            Self::LeftOut { .. } => Audience { recording: true, receivers: true, ..report },
            Self::FrameReceived { .. }
            | Self::DataReceived { .. }
            | Self::Sensed { .. }
            | Self::Took { .. }
            | Self::Lost { .. } => Audience { transmitter: true, ..report },
            Self::Tracked { .. } => Audience { control: true, transmitter: true, ..report },
            Self::ReceiverProgress { .. } | Self::Sounded { .. } | Self::LinkSeen { .. } => {
                // In a receiver's process the control channel leads to the transmitter.
                Audience { control: true, ..nobody }
            }
            Self::TransmitterProgress { .. } | Self::PeerLost { .. } => Audience { control: true, ..nobody },
            Self::Started { .. } => Audience { receivers: true, ..nobody },
        }
    }
}

/// An event, and which receiver of its kind reports it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Told {
    /// The receiver's place among the scene's receivers of its kind; 0 for everybody else.
    pub receiver: u8,
    /// What happened.
    pub event: Event,
}

/// The sending side, cloned into every stage that reports; an event goes to whoever its audience is.
#[derive(Debug, Clone)]
pub struct Telemetry {
    report: Sender<Told>,
    /// Absent at whoever outlives the chains: the control plane ends once nobody can tell it anything.
    control: Option<Sender<Told>>,
    receiver: u8,
    dropped: Arc<AtomicU64>,
}

/// The receiving sides: what the report and other processes hear of, and what the control plane does.
#[derive(Debug)]
pub struct Listeners {
    /// For the report, recordings and other processes.
    pub report: Receiver<Told>,
    /// For the control plane.
    pub control: Receiver<Told>,
}

impl Telemetry {
    /// Channels with room for `depth` events each.
    pub fn new(depth: usize) -> (Self, Listeners) {
        let ((report, reported), (control, controlled)) = (bounded(depth), bounded(depth));
        let listeners = Listeners { report: reported, control: controlled };
        (Self { report, control: Some(control), receiver: 0, dropped: Arc::default() }, listeners)
    }

    /// The same channels for the receiver at this place among those of its kind.
    pub fn of_receiver(&self, receiver: u8) -> Self {
        Self { receiver, ..self.clone() }
    }

    /// The same channels without the control plane's, for what stays when all chains have ended, as a radio does.
    pub fn without_control(&self) -> Self {
        Self { control: None, ..self.clone() }
    }

    /// Reports an event.
    pub fn report(&self, event: Event) {
        self.pass_on(Told { receiver: self.receiver, event });
    }

    /// Reports an event of another receiver.
    pub fn pass_on(&self, told: Told) {
        let audience = told.event.audience();
        let everybody_else = Audience { control: false, ..audience };
        for (sender, concerned) in
            [(self.control.as_ref(), audience.control), (Some(&self.report), everybody_else != Audience::default())]
        {
            let Some(sender) = sender else { continue };
            // Nobody listens to the control channel where there is no control plane any more: that is no loss.
            if concerned && matches!(sender.try_send(told), Err(TrySendError::Full(_))) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts the events that found no room.
    pub fn losses(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

/// Digest of samples, to compare what was sent with what came.
pub fn digest(bytes: &[u8]) -> u64 {
    fnv1a(bytes)
}

/// The same digest of bits, a byte each that is 0 or 1, eight at a time: FNV-1a's h ← (h ⊕ b)·P adds 1 to an even h and takes 1
/// from an odd one where b = 1, and as P is odd h's parity is that of the bits so far. So h ← h·P⁸ + T(parity, eight bits).
pub fn digest_of_bits(bits: &[u8]) -> u64 {
    const STEP: u64 = FNV_PRIME.wrapping_pow(8);
    const TABLE: [[u64; 256]; 2] = {
        let mut table = [[0; 256]; 2];
        let mut index = 0;
        while index < 512 {
            let (parity, eight) = ((index / 256) as u64, (index % 256) as u64);
            let (mut hash, mut bit) = (parity, 0);
            while bit < 8 {
                hash = (hash ^ eight >> bit & 1).wrapping_mul(FNV_PRIME);
                bit += 1;
            }
            table[index / 256][index % 256] = hash.wrapping_sub(parity.wrapping_mul(STEP));
            index += 1;
        }
        table
    };
    debug_assert!(bits.iter().all(|bit| *bit <= 1));
    let (whole, rest) = bits.as_chunks::<8>();
    let mut hash = fnv1a(&[]);
    let mut parity = hash as usize & 1;
    for eight in whole {
        // The bit of byte i to place i of the highest byte.
        let eight = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        hash = hash.wrapping_mul(STEP).wrapping_add(TABLE[parity & 1][eight as usize]);
        parity ^= eight.count_ones() as usize;
    }
    fnv1a_from(hash, rest)
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
        self.place(frame).store(frame.wrapping_add(1), Ordering::Release);
    }

    /// Whether a frame was added.
    pub fn contains(&self, frame: u64) -> bool {
        self.place(frame).load(Ordering::Acquire) == frame.wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_have_the_digest_of_their_bytes(bits in proptest::collection::vec(0..2u8, 0..300)) {
            prop_assert_eq!(digest_of_bits(&bits), digest(&bits));
        }
    }
}
