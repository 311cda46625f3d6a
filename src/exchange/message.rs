//! The messages and their form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::array::Beams;
use crate::coding::{BLOCK_CRC, BLOCK_SYMBOLS, BlockFormat};
use crate::modem::frame::{BLOCKS, FrameClock, HeaderLength};
use crate::modem::header::{FrameHeader, HEADER_BITS};
use crate::scene::Scene;
use crate::stream::{CodedFrame, Event, Frame, Head, LinkBelief, Plan};

/// Version of these messages.
pub const VERSION: u32 = 1;

/// Rows of a frame as text: the header, then the payload blocks.
const ROWS: usize = 1 + BLOCKS;

/// More frames than any run sends.
pub(super) const MOST_FRAMES: u64 = 1 << 50;

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
    /// The first message of a receiver.
    Hello {
        /// Version of the messages.
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
    /// The plan of the frames after this message.
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
    header: HeaderLength,
    payload: BlockFormat,
    protected: BlockFormat,
    link: LinkBelief,
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
            header: plan.header,
            payload: plan.payload.format(),
            protected: plan.protected.format(),
            link: plan.link,
            predicted_sinr: plan.predicted_sinr,
            predicted_mse: plan.predicted_mse,
        }
    }
}

impl PlanMessage {
    /// The plan, or why there is no such.
    pub fn plan(self) -> Result<Plan, String> {
        if self.from_frame > MOST_FRAMES || self.epoch > MOST_FRAMES {
            return Err(format!(
                "a plan {} from frame {} on; accepted: up to {MOST_FRAMES}",
                self.epoch, self.from_frame
            ));
        }
        let code = |format: BlockFormat| {
            format.code(BLOCK_SYMBOLS, BLOCK_CRC).map(Arc::new).map_err(|error| error.to_string())
        };
        Ok(Plan {
            epoch: self.epoch,
            from_frame: self.from_frame,
            beams: self.beams,
            model: self.model,
            budget: None,
            header: self.header,
            payload: code(self.payload)?,
            protected: code(self.protected)?,
            link: self.link,
            predicted_sinr: self.predicted_sinr,
            predicted_mse: self.predicted_mse,
        })
    }
}

/// A frame that was sent, with its place in the transmitter's stream. Travels through the sample path, so without an
/// allocation of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameBits {
    /// Frame number.
    pub number: u64,
    /// Time of its first sample in the transmitter's stream.
    pub sample_time: u64,
    /// Its plan.
    pub epoch: u64,
    /// Its header and bits.
    pub coded: CodedFrame,
}

impl FrameBits {
    /// What a frame builder is given.
    pub fn of(frame: &Frame<CodedFrame>) -> Self {
        let head = &frame.head;
        Self { number: head.sequence, sample_time: head.sample_time, epoch: head.epoch, coded: *frame.coded() }
    }

    /// The first sample after the frame.
    pub fn end(&self, clock: &FrameClock) -> u64 {
        self.sample_time + clock.start_sample(self.number + 1) - clock.start_sample(self.number)
    }

    /// Writes bits and head into a frame of the stream.
    pub fn write(&self, frame: &mut Frame<CodedFrame>) {
        (frame.head.sequence, frame.head.sample_time, frame.head.epoch) = (self.number, self.sample_time, self.epoch);
        *frame.coded_mut() = self.coded;
    }
}

/// A frame as text: a row each of header and blocks, bits packed most significant first, in hexadecimal.
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
        let mut header = [0; HEADER_BITS];
        bits.coded.header.pack(&mut header);
        let row = |row: usize| if row == 0 { &header[..] } else { bits.coded.payload(row - 1) };
        Self {
            number: bits.number,
            sample_time: bits.sample_time,
            epoch: bits.epoch,
            lengths: std::array::from_fn(|index| row(index).len() as u16),
            rows: std::array::from_fn(|index| hexadecimal(row(index))),
        }
    }
}

/// Bits as hexadecimal digits, the last byte filled up with zeros.
fn hexadecimal(bits: &[u8]) -> String {
    let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (position, bit)| byte | bit << (7 - position));
    bits.chunks(8).map(|bits| format!("{:02x}", byte(bits))).collect()
}

/// Writes the bits of hexadecimal digits; whether the digits are of exactly as many.
fn read_hexadecimal(digits: &str, bits: &mut [u8]) -> bool {
    if digits.len() != 2 * bits.len().div_ceil(8) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return false;
    }
    bits.chunks_mut(8).enumerate().all(|(at, bits)| {
        let byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16);
        bits.iter_mut().enumerate().for_each(|(position, bit)| {
            *bit = byte.as_ref().map_or(0, |byte| byte >> (7 - position) & 1);
        });
        byte.is_ok()
    })
}

impl FrameMessage {
    /// The frame, or what is wrong with it.
    pub fn bits(&self) -> Result<FrameBits, String> {
        let Self { number, sample_time, epoch, .. } = *self;
        let wrong = |row: usize, what: &str| format!("frame {number}: row {row}: {what}");
        if number > MOST_FRAMES || sample_time > Head::MOST_TIME {
            return Err(format!(
                "frame {number} at sample {sample_time}; accepted: up to {MOST_FRAMES} and {}",
                Head::MOST_TIME
            ));
        }
        let mut header = [0; HEADER_BITS];
        if usize::from(self.lengths[0]) != HEADER_BITS || !read_hexadecimal(&self.rows[0], &mut header) {
            return Err(wrong(0, &format!("no header; accepted: {HEADER_BITS} bits in hexadecimal")));
        }
        let header = FrameHeader::unpack(&header).ok_or_else(|| wrong(0, "a header of another version, or damaged"))?;
        let mut coded = CodedFrame { header, ..CodedFrame::default() };
        for block in 0..BLOCKS {
            let (row, bits) = (1 + block, coded.payload_bits(block));
            let fits = usize::from(self.lengths[row]) == bits;
            if !fits || !read_hexadecimal(&self.rows[row], &mut coded.blocks[block][..bits]) {
                return Err(wrong(row, &format!("not {bits} bits in hexadecimal, of which the header speaks")));
            }
        }
        Ok(FrameBits { number, sample_time, epoch, coded })
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

    fn frame() -> FrameBits {
        let header = FrameHeader {
            version: crate::modem::header::VERSION,
            number: 7,
            payload_bits: 36,
            protected_bits: 29,
            protected_blocks: 1,
            used_blocks: 3,
            ..FrameHeader::default()
        };
        let mut coded = CodedFrame { header, ..CodedFrame::default() };
        for block in 0..BLOCKS {
            let bits = coded.payload_bits(block);
            coded.blocks[block][..bits]
                .iter_mut()
                .enumerate()
                .for_each(|(n, bit)| *bit = (n * n + block) as u8 % 3 % 2);
        }
        FrameBits { number: 7, sample_time: 123_456, epoch: 5, coded }
    }

    #[test]
    fn a_frame_survives_its_text_and_the_text_is_that_of_version_2() {
        let text = serde_json::to_string(&FrameMessage::from(&frame())).unwrap();
        assert!(text.contains("\"lengths\":[192,13,20,20,20]"), "{text}");
        // 13 bits fill two bytes, most significant first: 0110110110110, then three zeros.
        assert!(text.contains("\"6db0\""), "{text}");
        let read: FrameMessage = serde_json::from_str(&text).unwrap();
        assert_eq!(read.bits().unwrap(), frame());
    }

    #[test]
    fn a_damaged_frame_is_refused_and_its_row_named() {
        let whole = FrameMessage::from(&frame());
        let damaged = |damage: fn(&mut FrameMessage)| {
            let mut message = whole.clone();
            damage(&mut message);
            message.bits().unwrap_err()
        };
        for (row, damage) in [
            (0, (|message| message.rows[0].replace_range(0..1, "f")) as fn(&mut FrameMessage)),
            (0, |message| message.lengths[0] = 8),
            (1, |message| message.lengths[1] = 2047),
            (2, |message| message.rows[2] = "0g0000".into()),
            (3, |message| message.rows[3].truncate(2)),
            (4, |message| message.rows[4] = "äö".into()),
        ] {
            let error = damaged(damage);
            assert!(error.starts_with(&format!("frame 7: row {row}: ")), "{error}");
        }
    }
}
