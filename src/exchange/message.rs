//! The messages and their form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::array::Beams;
use crate::coding::{BLOCK_SYMBOLS, BlockFormat, Crc};
use crate::modem::frame::{BLOCKS, FrameClock};
use crate::modem::header::HEADER_BITS;
use crate::scene::Scene;
use crate::stream::{Event, Frame, Plan};

/// Version of these messages.
pub const VERSION: u32 = 1;

/// Rows of a frame's bits: the header, then the payload blocks.
const ROWS: usize = 1 + BLOCKS;

/// Bytes of the longest row.
const ROW_BYTES: usize = 256;

/// One message on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<M = Message> {
    /// Counts the messages of one direction from 0.
    pub sequence: u64,
    /// When it was sent, in microseconds since 1970 by the sender's clock.
    pub sent_us: u64,
    /// What it says.
    pub message: M,
}

/// What processes say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a track goes along with every frame, and a box for it would be an allocation"
)]
pub enum Message {
    /// A receiver's first.
    Hello {
        /// Of the messages.
        version: u32,
        /// What it receives.
        role: Role,
        /// What it takes the waveform to be.
        terms: Terms,
    },
    /// The transmitter's answer: the plans in force and before.
    Welcome {
        /// Another one for each run of a transmitter.
        run: u64,
        /// In the order of their frames; one at least.
        plans: Vec<PlanMessage>,
    },
    /// The transmitter's other answer.
    Refused {
        /// In one line.
        reason: String,
    },
    /// A receiver's devices are open: the transmitter may begin.
    Ready,
    /// A plan that frames after this message fly under.
    Plan(PlanMessage),
    /// The bits of a frame.
    Frame(FrameMessage),
    /// What a stage saw or did.
    Event(Event),
    /// A picture came through.
    Picture(PictureMessage),
    /// Nothing else to say for a while.
    Alive,
    /// Nothing more will come.
    End {
        /// The first sample after the transmitter's stream.
        sample_time: u64,
    },
}

/// What a process receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Pictures.
    CommunicationReceiver,
    /// Echoes.
    SensingReceiver,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CommunicationReceiver => "communication-receiver",
            Self::SensingReceiver => "sensing-receiver",
        })
    }
}

/// What both ends must agree on, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Terms(BTreeMap<String, String>);

impl Terms {
    /// Those of a scene, the seed of its sensing stream and that stream's own bits.
    pub fn new(scene: &Scene, seed: u64, probing_bits: Option<&[u8]>) -> Self {
        let (waveform, array) = (&scene.waveform, &scene.array);
        let probing = probing_bits.map_or(0, crate::stream::digest);
        let terms = [
            ("waveform.bandwidth_hz", waveform.bandwidth_hz.to_string()),
            ("waveform.carrier_hz", waveform.carrier_hz.to_string()),
            ("waveform.roll_off", waveform.roll_off.to_string()),
            ("waveform.samples_per_symbol", waveform.samples_per_symbol.to_string()),
            ("array.transmit_antennas", array.transmit_antennas.to_string()),
            ("--seed", seed.to_string()),
            ("--probing (digest)", format!("{probing:016x}")),
        ];
        Self(terms.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The first of `other`'s that differs from these, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let here = |name: &String| self.0.get(name).map_or("nothing", String::as_str);
        let (name, there) = other.0.iter().find(|(name, value)| here(name) != value.as_str())?;
        Some(format!("{name}: {there}; accepted by the transmitter: {}", here(name)))
    }
}

/// A plan in numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanMessage {
    epoch: u64,
    from_frame: u64,
    beams: Beams,
    model: usize,
    payload: BlockFormat,
    protected: BlockFormat,
    predicted_sinr: f64,
    predicted_mse: f64,
}

impl From<&Plan> for PlanMessage {
    fn from(plan: &Plan) -> Self {
        Self {
            epoch: plan.epoch,
            from_frame: plan.from_frame,
            beams: plan.beams.clone(),
            model: plan.model,
            payload: plan.payload.format(),
            protected: plan.protected.format(),
            predicted_sinr: plan.predicted_sinr,
            predicted_mse: plan.predicted_mse,
        }
    }
}

impl PlanMessage {
    /// The plan, or why there is no such.
    pub fn plan(self) -> Result<Plan, String> {
        let code = |format: BlockFormat| {
            format.code(BLOCK_SYMBOLS, Crc::Crc11).map(Arc::new).map_err(|error| error.to_string())
        };
        Ok(Plan {
            epoch: self.epoch,
            from_frame: self.from_frame,
            beams: self.beams,
            model: self.model,
            payload: code(self.payload)?,
            protected: code(self.protected)?,
            predicted_sinr: self.predicted_sinr,
            predicted_mse: self.predicted_mse,
        })
    }
}

/// The bits of a frame, packed; what travels through the sample path, so without an allocation of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameBits {
    /// Frame number.
    pub number: u64,
    /// Time of its first sample in the transmitter's stream.
    pub sample_time: u64,
    /// Its plan.
    pub epoch: u64,
    lengths: [u16; ROWS],
    rows: [[u8; ROW_BYTES]; ROWS],
}

impl FrameBits {
    /// Those of the bits that a frame builder is given under `plan`.
    pub fn pack(frame: &Frame<u8>, plan: &Plan, protected_blocks: usize) -> Self {
        let head = &frame.head;
        let (number, sample_time, epoch) = (head.sequence, head.sample_time, head.epoch);
        let mut packed = Self { number, sample_time, epoch, lengths: [0; ROWS], rows: [[0; ROW_BYTES]; ROWS] };
        for row in 0..ROWS {
            let bits = match row {
                0 => HEADER_BITS,
                row if row <= protected_blocks => plan.protected.payload_bits(),
                _ => plan.payload.payload_bits(),
            };
            packed.lengths[row] = bits as u16;
            for (position, bit) in frame.row(row)[..bits].iter().enumerate() {
                packed.rows[row][position / 8] |= bit << (7 - position % 8);
            }
        }
        packed
    }

    /// The first sample after the frame.
    pub fn end(&self, clock: &FrameClock) -> u64 {
        self.sample_time + clock.start_sample(self.number + 1) - clock.start_sample(self.number)
    }

    /// Writes bits and head into a frame of the same form; the bits of each row.
    pub fn unpack(&self, frame: &mut Frame<u8>) -> [usize; ROWS] {
        (frame.head.sequence, frame.head.sample_time, frame.head.epoch) = (self.number, self.sample_time, self.epoch);
        for (row, (bytes, bits)) in self.rows.iter().zip(self.lengths).enumerate() {
            for (position, bit) in frame.row_mut(row)[..usize::from(bits)].iter_mut().enumerate() {
                *bit = bytes[position / 8] >> (7 - position % 8) & 1;
            }
        }
        self.lengths.map(usize::from)
    }
}

/// The bits of a frame as text: hexadecimal, a row each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrameMessage {
    number: u64,
    sample_time: u64,
    epoch: u64,
    lengths: [u16; ROWS],
    rows: [String; ROWS],
}

impl From<&FrameBits> for FrameMessage {
    fn from(bits: &FrameBits) -> Self {
        let hexadecimal = |row: usize| {
            let bytes = &bits.rows[row][..usize::from(bits.lengths[row]).div_ceil(8)];
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            number: bits.number,
            sample_time: bits.sample_time,
            epoch: bits.epoch,
            lengths: bits.lengths,
            rows: std::array::from_fn(hexadecimal),
        }
    }
}

impl FrameMessage {
    /// The bits, or what is wrong with them.
    pub fn bits(&self) -> Result<FrameBits, String> {
        let mut rows = [[0; ROW_BYTES]; ROWS];
        for ((bytes, text), bits) in rows.iter_mut().zip(&self.rows).zip(self.lengths) {
            let count = usize::from(bits).div_ceil(8);
            if count > ROW_BYTES || text.len() != 2 * count || !text.is_ascii() {
                return Err(format!("frame {}: {} digits for {bits} bits", self.number, text.len()));
            }
            for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
                *byte = u8::from_str_radix(&text[at..at + 2], 16)
                    .map_err(|_| format!("frame {}: no hexadecimal", self.number))?;
            }
        }
        let Self { number, sample_time, epoch, lengths, .. } = *self;
        Ok(FrameBits { number, sample_time, epoch, lengths, rows })
    }
}

/// A picture received elsewhere: enough to say whether it equals the error-free one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PictureMessage {
    /// Its number in the run.
    pub number: u64,
    /// Blocks that arrived.
    pub blocks: u64,
    /// Digest of the samples shown, where any could be.
    pub digest: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_differ_are_named_with_both_values() {
        let scene = Scene::paper();
        let terms = Terms::new(&scene, 1, None);
        assert_eq!(terms.difference(&terms), None);
        let other = Terms::new(&scene, 2, None);
        assert_eq!(terms.difference(&other).unwrap(), "--seed: 2; accepted by the transmitter: 1");
    }
}
