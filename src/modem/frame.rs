//! The frame: `[2 × 128 preamble | (sounding) | 256 header | 32 unique word | (256 payload | 32 unique word) × 4]`.
//!
//! Both streams have this layout, with words of their own. All positions count symbols from the frame's start.

use num_complex::Complex32;

use super::words::Words;
use crate::scene::Scene;

/// Symbols of one preamble word; it is sent twice.
pub const PREAMBLE_WORD: usize = 128;
/// Symbols of the preamble.
pub const PREAMBLE: usize = 2 * PREAMBLE_WORD;
/// Symbols of the header.
pub const HEADER: usize = 256;
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

/// Where things stand in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Symbols of the sounding, 0 without one.
    pub sounding: usize,
}

impl Layout {
    /// The layout of frame `number` for a transmitter of `antennas` antennas.
    pub fn of(number: u64, antennas: usize) -> Self {
        if number.is_multiple_of(SOUNDING_PERIOD) { Self::with_sounding(antennas) } else { Self { sounding: 0 } }
    }

    /// The layout of a frame that sounds `antennas` antennas.
    pub fn with_sounding(antennas: usize) -> Self {
        Self { sounding: 256.max(SOUNDING_SLOT * antennas) }
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
        self.header() + HEADER + index * (UNIQUE_WORD + BLOCK)
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

/// When frames begin.
#[derive(Debug, Clone, Copy)]
pub struct FrameClock {
    plain_samples: u64,
    sounding_samples: u64,
    sample_period_s: f64,
    interval_s: Option<f64>,
}

impl FrameClock {
    /// The clock of a scene's waveform.
    pub fn new(scene: &Scene) -> Self {
        let samples_per_symbol = scene.waveform.samples_per_symbol;
        let samples = |layout: Layout| (layout.symbols() * samples_per_symbol) as u64;
        let plain_samples = samples(Layout { sounding: 0 });
        Self {
            plain_samples,
            sounding_samples: samples(Layout::with_sounding(scene.array.transmit_antennas)) - plain_samples,
            sample_period_s: scene.symbol_period_s() / samples_per_symbol as f64,
            interval_s: scene.waveform.frame_interval_s,
        }
    }

    /// Samples sent before frame `number`.
    pub fn start_sample(&self, number: u64) -> u64 {
        number * self.plain_samples + number.div_ceil(SOUNDING_PERIOD) * self.sounding_samples
    }

    /// Seconds from the first frame's start to that of frame `number`.
    pub fn start_s(&self, number: u64) -> f64 {
        match self.interval_s {
            Some(interval_s) => number as f64 * interval_s,
            None => self.start_sample(number) as f64 * self.sample_period_s,
        }
    }

    /// The middle of the starts of the first and the last of some frames, in seconds from the first frame's start.
    pub fn middle_s(&self, [first, last]: [u64; 2]) -> f64 {
        0.5 * (self.start_s(first) + self.start_s(last))
    }

    /// Whether every frame ends before the next begins; the error names what is accepted.
    pub fn check(&self) -> Result<(), String> {
        let least = (self.plain_samples + self.sounding_samples) as f64 * self.sample_period_s;
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
    /// The header's symbols on the semantic stream.
    pub header: &'a [Complex32],
    /// The payload's symbols, block after block.
    pub payload: &'a [Complex32],
    /// The sensing stream's symbols for header and payload, in the order of sending.
    pub sensing: &'a [Complex32],
}

/// Symbols of the sensing stream in a frame: header and payload positions.
pub const SENSING_SYMBOLS: usize = HEADER + BLOCKS * BLOCK;

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
        let (header, payload) = content.sensing.split_at(HEADER);
        (&words.sensing, header, payload)
    }];
    for (stream, (known, header, payload)) in [s_c, s_0].into_iter().zip(sources) {
        stream[..PREAMBLE_WORD].copy_from_slice(&known.preamble);
        stream[PREAMBLE_WORD..PREAMBLE].copy_from_slice(&known.preamble);
        stream[PREAMBLE..layout.header()].fill(Complex32::default());
        stream[layout.header()..][..HEADER].copy_from_slice(header);
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
        let plain = Layout::of(1, 4);
        let sounded = Layout::of(64, 4);
        assert_eq!((plain.symbols(), sounded.symbols()), (1696, 1952));
        assert_eq!((plain.sensing_window(), SENSING_WINDOW), (528, 1152));
        assert_eq!(plain.sensing_window() + SENSING_WINDOW + UNIQUE_WORD / 2, plain.symbols());
        assert_eq!(Layout::of(0, 16).symbols(), 1696 + 1024);
    }

    #[test]
    fn the_sensing_window_is_circular_by_its_unique_words() {
        let words = Words::new(4);
        let layout = Layout { sounding: 0 };
        let some: Vec<_> = (0..SENSING_SYMBOLS).map(|n| Complex32::new(n as f32, 1.0)).collect();
        let mut rows = vec![vec![Complex32::default(); layout.symbols()]; 3];
        let [s_c, s_0, sounding] = &mut rows[..] else { unreachable!() };
        let content = Content { header: &some[..HEADER], payload: &some[HEADER..], sensing: &some };
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
