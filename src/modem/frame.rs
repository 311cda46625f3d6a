//! The frame: `[2 × 128 preamble | (sounding) | 88 or 272 header | 32 unique word | (256 payload | 32 unique word) × 4]`.
//!
//! Both streams have this layout, with words of their own. All positions count symbols from the frame's start. The plan says
//! how long the header is.

use std::sync::Arc;

use arc_swap::ArcSwap;
use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use super::words::Words;
use crate::coding::{HEADER_SYMBOLS, headers_are_short};
use crate::scene::Scene;

/// Symbols of one preamble word; it is sent twice.
pub const PREAMBLE_WORD: usize = 128;
/// Symbols of the preamble.
pub const PREAMBLE: usize = 2 * PREAMBLE_WORD;
/// Symbols into a frame at which a simulated echo takes on the timing error and the phase of the frame: from there on the
/// frame is one, with the end of its preamble.
pub const SWITCH: usize = 88;
/// Symbols of the longest header.
pub const LONGEST_HEADER: usize = HeaderLength::Long.symbols();
/// Symbols of a unique word.
pub const UNIQUE_WORD: usize = 32;
/// Symbols of a payload block, L.
pub const BLOCK: usize = 256;
/// Payload blocks of a frame.
pub const BLOCKS: usize = 4;
/// Unique words of a frame.
pub const UNIQUE_WORDS: usize = BLOCKS + 1;
/// A sounding follows the preamble of every frame whose number is a multiple of this.
pub const SOUNDING_PERIOD: u64 = 64;
/// Symbols of the sensing window, N: from the middle of the first unique word to the middle of the last.
pub const SENSING_WINDOW: usize = BLOCKS * (BLOCK + UNIQUE_WORD);
/// Zero symbols on either side of an antenna's sounding word, so that the pulses of two antennas never overlap.
pub const SOUNDING_GUARD: usize = crate::dsp::SPAN_SYMBOLS;
/// Shortest slot of one antenna in the sounding.
const SOUNDING_SLOT: usize = 64;

/// How long a header is: its word is the same, sent with more or less redundancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderLength {
    /// 88 symbols, 5.8 % of a frame, for a SINR above 2 dB.
    #[default]
    Short,
    /// 272 symbols, 15.9 % of a frame, down to -5 dB.
    Long,
}

impl HeaderLength {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Short, Self::Long];

    /// Symbols of the header.
    pub const fn symbols(self) -> usize {
        match self {
            Self::Short => HEADER_SYMBOLS[0],
            Self::Long => HEADER_SYMBOLS[1],
        }
    }

    /// The length that headers should have at a SINR.
    pub fn at(sinr_db: f64) -> Self {
        if headers_are_short(sinr_db) { Self::Short } else { Self::Long }
    }

    /// Share of the header in a frame without a sounding.
    pub fn airtime(self) -> f64 {
        self.symbols() as f64 / Layout::plain(self).symbols() as f64
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Short => Self::Long,
            Self::Long => Self::Short,
        }
    }
}

/// Where things stand in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Symbols of the sounding, 0 without one.
    pub sounding: usize,
    /// How long the header is.
    pub header_length: HeaderLength,
}

impl Layout {
    /// The layout of frame `number` for a transmitter of `antennas` antennas.
    pub fn of(number: u64, antennas: usize, header_length: HeaderLength) -> Self {
        match number.is_multiple_of(SOUNDING_PERIOD) {
            true => Self::with_sounding(antennas, header_length),
            false => Self::plain(header_length),
        }
    }

    /// The layout of a frame without a sounding.
    pub const fn plain(header_length: HeaderLength) -> Self {
        Self { sounding: 0, header_length }
    }

    /// The layout of a frame that sounds `antennas` antennas.
    pub fn with_sounding(antennas: usize, header_length: HeaderLength) -> Self {
        Self { sounding: 256.max(SOUNDING_SLOT * antennas), header_length }
    }

    /// The longest layout for a transmitter of `antennas` antennas.
    pub fn longest(antennas: usize) -> Self {
        Self::with_sounding(antennas, HeaderLength::Long)
    }

    /// Symbols of the header.
    pub const fn header_symbols(self) -> usize {
        self.header_length.symbols()
    }

    /// Symbols of the whole frame.
    pub const fn symbols(self) -> usize {
        self.unique_word(BLOCKS) + UNIQUE_WORD
    }

    /// First header symbol.
    pub const fn header(self) -> usize {
        PREAMBLE + self.sounding
    }

    /// First symbol of unique word `index`, 0 to 4.
    pub const fn unique_word(self, index: usize) -> usize {
        self.header() + self.header_symbols() + index * (UNIQUE_WORD + BLOCK)
    }

    /// First symbol of payload block `index`, 0 to 3.
    pub const fn block(self, index: usize) -> usize {
        self.unique_word(index) + UNIQUE_WORD
    }

    /// First symbol of the sensing window: the middle of the first unique word.
    pub const fn sensing_window(self) -> usize {
        self.unique_word(0) + UNIQUE_WORD / 2
    }

    /// First symbol of antenna `antenna`'s sounding slot, and the slot's symbols.
    pub fn sounding_slot(self, antenna: usize, antennas: usize) -> (usize, usize) {
        let slot = self.sounding / antennas;
        (PREAMBLE + antenna * slot, slot)
    }
}

/// The lengths that headers have had, by the frames from which on they had them. Written by whoever publishes plans, read by
/// everybody who counts samples.
#[derive(Debug)]
pub struct HeaderHistory(ArcSwap<Vec<Turn>>);

/// From this frame on headers have this length.
#[derive(Debug, Clone, Copy)]
struct Turn {
    from_frame: u64,
    length: HeaderLength,
    /// Symbols of the headers of all frames before.
    symbols_before: u64,
}

impl Turn {
    fn symbols_before(self, frame: u64) -> u64 {
        self.symbols_before + (frame - self.from_frame) * self.length.symbols() as u64
    }
}

impl HeaderHistory {
    /// Headers of one length, so far.
    pub fn new(length: HeaderLength) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(vec![Turn { from_frame: 0, length, symbols_before: 0 }])))
    }

    /// From `frame` on headers have this length; frames come in order.
    pub fn turn(&self, frame: u64, length: HeaderLength) {
        let mut turns = self.0.load().to_vec();
        let last = turns[turns.len() - 1];
        if last.length == length || frame < last.from_frame {
            return;
        }
        if frame == last.from_frame {
            turns.pop();
        }
        if turns.last().is_none_or(|before| before.length != length) {
            turns.push(Turn { from_frame: frame, length, symbols_before: last.symbols_before(frame) });
        }
        self.0.store(Arc::new(turns));
    }

    /// The length of frame `frame`'s header.
    pub fn of(&self, frame: u64) -> HeaderLength {
        Self::turn_of(&self.0.load(), frame).length
    }

    fn turn_of(turns: &[Turn], frame: u64) -> Turn {
        turns[turns.partition_point(|turn| turn.from_frame <= frame).saturating_sub(1)]
    }

    /// Symbols of the headers of all frames before `frame`.
    fn symbols_before(&self, frame: u64) -> u64 {
        Self::turn_of(&self.0.load(), frame).symbols_before(frame)
    }
}

/// When frames begin.
#[derive(Debug, Clone)]
pub struct FrameClock {
    /// Samples of a frame without its header, and of a sounding.
    plain_samples: u64,
    sounding_samples: u64,
    samples_per_symbol: u64,
    sample_period_s: f64,
    interval_s: Option<f64>,
    headers: Arc<HeaderHistory>,
}

impl FrameClock {
    /// The clock of a scene's waveform, where headers have these lengths.
    pub fn new(scene: &Scene, headers: &Arc<HeaderHistory>) -> Self {
        let samples_per_symbol = scene.waveform.samples_per_symbol;
        let samples = |symbols: usize| (symbols * samples_per_symbol) as u64;
        let plain = Layout::plain(HeaderLength::Short);
        let sounding = Layout::with_sounding(scene.array.transmit_antennas, HeaderLength::Short).sounding;
        Self {
            plain_samples: samples(plain.symbols() - plain.header_symbols()),
            sounding_samples: samples(sounding),
            samples_per_symbol: samples_per_symbol as u64,
            sample_period_s: scene.symbol_period_s() / samples_per_symbol as f64,
            interval_s: scene.waveform.frame_interval_s,
            headers: Arc::clone(headers),
        }
    }

    /// The same for a scene alone, where all headers are short.
    pub fn of_scene(scene: &Scene) -> Self {
        Self::new(scene, &HeaderHistory::new(HeaderLength::Short))
    }

    /// The length of frame `number`'s header.
    pub fn header_length(&self, number: u64) -> HeaderLength {
        self.headers.of(number)
    }

    /// Samples sent before frame `number`.
    pub fn start_sample(&self, number: u64) -> u64 {
        number * self.plain_samples
            + number.div_ceil(SOUNDING_PERIOD) * self.sounding_samples
            + self.headers.symbols_before(number) * self.samples_per_symbol
    }

    /// Seconds from the first frame's start to that of frame `number`.
    pub fn start_s(&self, number: u64) -> f64 {
        match self.interval_s {
            Some(interval_s) => number as f64 * interval_s,
            None => self.start_sample(number) as f64 * self.sample_period_s,
        }
    }

    /// Seconds from the start of frame 1 to that of frame 2: a frame without a sounding under the first plan.
    pub fn frame_s(&self) -> f64 {
        self.start_s(2) - self.start_s(1)
    }

    /// The middle of the starts of the first and the last of some frames, in seconds from the first frame's start.
    pub fn middle_s(&self, [first, last]: [u64; 2]) -> f64 {
        0.5 * (self.start_s(first) + self.start_s(last))
    }

    /// Whether every frame ends before the next begins, however long its header; the error names what is accepted.
    pub fn check(&self) -> Result<(), String> {
        let header = LONGEST_HEADER as u64 * self.samples_per_symbol;
        let least = (self.plain_samples + header + self.sounding_samples) as f64 * self.sample_period_s;
        match self.interval_s {
            Some(interval_s) if interval_s < least => Err(format!(
                "waveform.frame_interval_s = {interval_s:e} is shorter than a frame; accepted: {least:.4e} or more"
            )),
            _ => Ok(()),
        }
    }
}

/// Everything of one frame that is not known beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The header's symbols on the semantic stream, as many as the layout says.
    pub header: &'a [Complex32],
    /// The payload's symbols, block after block.
    pub payload: &'a [Complex32],
    /// The sensing stream's symbols: those beside the payload, then those beside the header, as many as there are.
    pub sensing: &'a [Complex32],
}

/// Symbols of the payload.
pub const PAYLOAD: usize = BLOCKS * BLOCK;

/// Symbols of the sensing stream in a frame at most: beside the payload and beside the header.
pub const SENSING_SYMBOLS: usize = PAYLOAD + LONGEST_HEADER;

/// Writes both streams of a frame, and the sounding words at unit amplitude into `sounding`: zero everywhere else.
/// All rows hold `layout.symbols()` symbols.
pub fn assemble(
    layout: Layout,
    antennas: usize,
    words: &Words,
    content: Content<'_>,
    [s_c, s_0, sounding]: [&mut [Complex32]; 3],
) {
    let sources = [(&words.semantic, content.header, content.payload), {
        let (payload, header) = content.sensing.split_at(PAYLOAD);
        (&words.sensing, header, payload)
    }];
    for (stream, (known, header, payload)) in [s_c, s_0].into_iter().zip(sources) {
        stream[..PREAMBLE_WORD].copy_from_slice(&known.preamble);
        stream[PREAMBLE_WORD..PREAMBLE].copy_from_slice(&known.preamble);
        stream[PREAMBLE..layout.header()].fill(Complex32::default());
        stream[layout.header()..][..layout.header_symbols()].copy_from_slice(&header[..layout.header_symbols()]);
        for index in 0..UNIQUE_WORDS {
            stream[layout.unique_word(index)..][..UNIQUE_WORD].copy_from_slice(&known.unique_word);
        }
        for (index, block) in payload.chunks_exact(BLOCK).enumerate() {
            stream[layout.block(index)..][..BLOCK].copy_from_slice(block);
        }
    }
    sounding[..layout.symbols()].fill(Complex32::default());
    if layout.sounding > 0 {
        for antenna in 0..antennas {
            let (start, slot) = layout.sounding_slot(antenna, antennas);
            let word = &words.sounding[..slot - 2 * SOUNDING_GUARD];
            sounding[start + SOUNDING_GUARD..][..word.len()].copy_from_slice(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_contract() {
        use HeaderLength::{Long, Short};
        let plain = Layout::of(1, 4, Short);
        assert_eq!((plain.symbols(), Layout::of(64, 4, Short).symbols()), (1528, 1784));
        assert_eq!((Layout::of(1, 4, Long).symbols(), Layout::of(0, 16, Long).symbols()), (1712, 2736));
        assert_eq!((plain.sensing_window(), SENSING_WINDOW), (360, 1152));
        assert_eq!(plain.sensing_window() + SENSING_WINDOW + UNIQUE_WORD / 2, plain.symbols());
        assert!(Short.airtime() <= 0.06 && Long.airtime() <= 0.16);
    }

    #[test]
    fn frames_begin_where_the_frames_before_them_end_whatever_their_headers() {
        let mut scene = Scene::paper();
        scene.array.transmit_antennas = 4;
        let headers = HeaderHistory::new(HeaderLength::Short);
        let clock = FrameClock::new(&scene, &headers);
        for (frame, length) in [(0, HeaderLength::Long), (32, HeaderLength::Short), (32, HeaderLength::Long)] {
            headers.turn(frame, length);
        }
        headers.turn(70, HeaderLength::Short);
        headers.turn(65, HeaderLength::Long);
        let mut start = 0;
        for frame in 0..200 {
            assert_eq!(clock.start_sample(frame), start, "frame {frame}");
            let length = if frame < 70 { HeaderLength::Long } else { HeaderLength::Short };
            assert_eq!(headers.of(frame), length);
            start += 2 * Layout::of(frame, 4, length).symbols() as u64;
        }
    }

    #[test]
    fn the_sensing_window_is_circular_by_its_unique_words() {
        let words = Words::new(4);
        for layout in HeaderLength::ALL.map(Layout::plain) {
            let some: Vec<_> = (0..SENSING_SYMBOLS).map(|n| Complex32::new(n as f32, 1.0)).collect();
            let mut rows = vec![vec![Complex32::default(); layout.symbols()]; 3];
            let [s_c, s_0, sounding] = &mut rows[..] else { unreachable!() };
            let content = Content { header: &some[PAYLOAD..], payload: &some[..PAYLOAD], sensing: &some };
            assemble(layout, 4, &words, content, [s_c, s_0, sounding]);
            let (start, half) = (layout.sensing_window(), UNIQUE_WORD / 2);
            for row in &rows[..2] {
                for n in 0..half {
                    assert_eq!(row[start - half + n], row[start + SENSING_WINDOW - half + n]);
                    assert_eq!(row[start + n], row[start + SENSING_WINDOW + n]);
                }
            }
        }
    }
}
