//! Decoding with feedback over several paths: what the decoder believes of a frame's symbols is taken off what was received,
//! and blocks that failed are equalised and decoded again.
//!
//! A linear equaliser has to choose between noise and what paths bring of other symbols. Where those are known, in blocks
//! that were decoded, or nearly so, in those that almost were, nothing is left to choose, and every symbol gathers what all
//! paths bring of it (turbo equalisation: Douillard and others 1995; Tüchler, Koetter and Singer 2002). Its price is a decoder
//! that runs again, so only blocks that failed are tried, and only over several paths.

use num_complex::Complex32;

use super::equaliser::{Channel, Equaliser, WINDOW};
use super::frame::{BLOCK, BLOCKS, Layout, PAYLOAD, UNIQUE_WORD, UNIQUE_WORDS};
use super::tracking::{self, POINTS, Point};
use super::words::Words;
use crate::coding::{BlockCode, BlockScratch};
use crate::dsp::rotate;

/// Times that a block is equalised again.
const ROUNDS: usize = 6;

/// Symbols of a window before and behind its block.
const BESIDE: usize = (WINDOW - BLOCK) / 2;

/// A block that is to be decoded: its code, room for its word of N_c bits, and whether that is right.
pub struct Attempt<'a> {
    /// The block's code.
    pub code: &'a BlockCode,
    /// Its word, CRC included; the best guess where it was not decoded.
    pub word: &'a mut [u8],
    /// Whether the word is right.
    pub decoded: bool,
}

/// A frame before it was equalised, and what was done to it behind the equaliser.
#[derive(Debug, Clone)]
pub(super) struct Overheard {
    /// The channel, where there were several paths.
    channel: Option<Channel>,
    layout: Layout,
    /// The symbols' values, and those half a symbol later.
    received: [Vec<Complex32>; 2],
    /// Phase line, as its offset and slope, and the points of phase and level that were taken out.
    line: [f64; 2],
    points: Option<[[Point; POINTS]; 2]>,
}

impl Overheard {
    /// For frames of up to `longest` symbols.
    pub(super) fn new(longest: usize) -> Self {
        let room = vec![Complex32::ZERO; longest];
        Self {
            channel: None,
            layout: Layout::plain(super::frame::HeaderLength::Short),
            received: [room.clone(), room],
            line: [0.0; 2],
            points: None,
        }
    }

    /// Forgets the frame.
    pub(super) fn clear(&mut self) {
        self.channel = None;
    }

    /// Whether there is a frame, so one that came over several paths.
    pub(super) fn is_there(&self) -> bool {
        self.channel.is_some()
    }

    /// Power of the sensing stream in that of the semantic one.
    pub(super) fn interference(&self) -> f32 {
        self.channel.map_or(0.0, |channel| channel.share.norm_sqr())
    }

    /// Keeps a frame that is about to be equalised.
    pub(super) fn take(&mut self, channel: Channel, layout: Layout, received: [&[Complex32]; 2]) {
        (self.channel, self.layout, self.line, self.points) = (Some(channel), layout, [0.0; 2], None);
        self.fill(received);
    }

    fn fill(&mut self, received: [&[Complex32]; 2]) {
        let there = self.layout.header()..self.layout.symbols();
        let used = if self.channel.is_some_and(|channel| channel.twice) { 2 } else { 1 };
        for (kept, received) in self.received.iter_mut().zip(received).take(used) {
            kept[there.clone()].copy_from_slice(&received[there.clone()]);
        }
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        (self.channel, self.layout, self.line, self.points) = (other.channel, other.layout, other.line, other.points);
        if self.is_there() {
            self.fill([&other.received[0], &other.received[1]]);
        }
    }

    /// Notes the line that was taken out behind the equaliser.
    pub(super) fn turn(&mut self, offset: f64, slope: f64) {
        self.line = [offset, slope];
    }

    /// Notes phases and levels that were taken out behind it.
    pub(super) fn take_out(&mut self, phases: &[Point; POINTS], levels: &[Point; POINTS]) {
        self.points = Some([*phases, *levels]);
    }
}

/// What is known of a frame beside what was received of it.
pub(super) struct Known<'a> {
    pub words: &'a Words,
    /// Symbols of the header.
    pub header: &'a [Complex32],
    /// s_0 of payload and header, where the receiver knows it.
    pub sensing: Option<&'a [Complex32]>,
}

/// Room for a frame's beliefs.
pub(super) struct Feedback {
    /// Both streams as believed, from the frame's first symbol on.
    believed: Vec<Complex32>,
    /// Power that is unknown of a symbol of each block of the semantic stream.
    unknown: [f32; BLOCKS],
    received: [Vec<Complex32>; 2],
    window: [Vec<Complex32>; 3],
    coded: Vec<u8>,
    block: Vec<Complex32>,
    soft: Vec<i8>,
}

impl Feedback {
    pub(super) fn new(longest: usize) -> Self {
        let frame = || vec![Complex32::ZERO; longest];
        let window = || vec![Complex32::ZERO; WINDOW];
        Self {
            believed: frame(),
            unknown: [1.0; BLOCKS],
            received: [frame(), frame()],
            window: [window(), window(), window()],
            coded: vec![0; 8 * BLOCK],
            block: vec![Complex32::ZERO; BLOCK],
            soft: vec![0; BLOCKS * 8 * BLOCK],
        }
    }

    /// Soft bits of block `index` as the first decoding had them, to be filled.
    pub(super) fn soft(&mut self, index: usize, count: usize) -> &mut [i8] {
        &mut self.soft[index * 8 * BLOCK..][..count]
    }

    /// Tries the blocks that failed again. `demap` makes soft bits of a block's symbols, given the variance of their errors.
    pub(super) fn decode(
        &mut self,
        overheard: &Overheard,
        known: &Known,
        equaliser: &mut Equaliser,
        blocks: &mut [Option<Attempt>; BLOCKS],
        scratch: &mut BlockScratch,
        demap: impl Fn(usize, &BlockCode, &[Complex32], f32, &mut [i8]),
    ) {
        let Some(channel) = overheard.channel else { return };
        let layout = overheard.layout;
        self.begin(overheard, channel, known);
        for (index, attempt) in blocks.iter_mut().enumerate() {
            if let Some(attempt) = attempt.as_mut().filter(|attempt| attempt.decoded) {
                self.believe_word(index, layout, channel, known, attempt, scratch);
            }
        }
        let interference = if known.sensing.is_some() { 0.0 } else { channel.share.norm_sqr() };
        for round in 0..=ROUNDS {
            for (index, attempt) in blocks.iter_mut().enumerate() {
                let Some(attempt) = attempt.as_mut().filter(|attempt| !attempt.decoded) else { continue };
                let soft = &self.soft[index * 8 * BLOCK..][..attempt.code.coded_bits()];
                let (decoded, unknown) = attempt.code.decode_softly(soft, attempt.word, &mut self.block, scratch);
                attempt.decoded = decoded;
                if decoded {
                    self.believe_word(index, layout, channel, known, attempt, scratch);
                } else {
                    self.believe(index, layout, channel, known, unknown);
                }
            }
            let all = blocks.iter().flatten().all(|attempt| attempt.decoded);
            if all || round == ROUNDS {
                return;
            }
            for (index, attempt) in blocks.iter().enumerate() {
                let Some(attempt) = attempt.as_ref().filter(|attempt| !attempt.decoded) else { continue };
                let variance = self.equalise(index, layout, channel, known, equaliser, interference);
                let soft = &mut self.soft[index * 8 * BLOCK..][..attempt.code.coded_bits()];
                demap(index, attempt.code, &self.block, variance, soft);
            }
        }
    }

    /// What was received, turned as it was behind the equaliser, and the known words and header as they were sent.
    fn begin(&mut self, overheard: &Overheard, channel: Channel, known: &Known) {
        let layout = overheard.layout;
        let count = layout.symbols();
        for (to, from) in self.received.iter_mut().zip(&overheard.received) {
            to[..count].copy_from_slice(&from[..count]);
            rotate(&mut to[..count], -overheard.line[0], -overheard.line[1]);
            if let Some([phases, levels]) = &overheard.points {
                tracking::take_out(&mut to[..count], phases, levels);
            }
        }
        self.believed.fill(Complex32::ZERO);
        self.unknown = [1.0; BLOCKS];
        let share = channel.share;
        let words = known.words.semantic.unique_word.iter().zip(&known.words.sensing.unique_word);
        for index in 0..UNIQUE_WORDS {
            let believed = &mut self.believed[layout.unique_word(index)..][..UNIQUE_WORD];
            believed.iter_mut().zip(words.clone()).for_each(|(believed, (s_c, s_0))| *believed = s_c + share * s_0);
        }
        let header = &mut self.believed[layout.header()..][..known.header.len()];
        header.copy_from_slice(known.header);
        if let Some(sensing) = known.sensing {
            header.iter_mut().zip(&sensing[PAYLOAD..]).for_each(|(header, s_0)| *header += share * s_0);
        }
    }

    /// Believes in the word that was decoded.
    fn believe_word(
        &mut self,
        index: usize,
        layout: Layout,
        channel: Channel,
        known: &Known,
        attempt: &Attempt,
        scratch: &mut BlockScratch,
    ) {
        let coded = &mut self.coded[..attempt.code.coded_bits()];
        let payload = &attempt.word[..attempt.code.payload_bits()];
        attempt.code.modulate(payload, coded, &mut self.block, scratch);
        self.believe(index, layout, channel, known, 0.0);
    }

    /// Believes in the symbols in `block`, of which so much power is unknown.
    fn believe(&mut self, index: usize, layout: Layout, channel: Channel, known: &Known, unknown: f32) {
        let believed = &mut self.believed[layout.block(index)..][..BLOCK];
        believed.copy_from_slice(&self.block);
        if let Some(sensing) = known.sensing {
            let sensing = &sensing[index * BLOCK..][..BLOCK];
            believed.iter_mut().zip(sensing).for_each(|(believed, s_0)| *believed += channel.share * s_0);
        }
        self.unknown[index] = unknown;
    }

    /// Symbols of a block's semantic stream, into `block`, and the variance of their errors.
    fn equalise(
        &mut self,
        index: usize,
        layout: Layout,
        channel: Channel,
        known: &Known,
        equaliser: &mut Equaliser,
        interference: f32,
    ) -> f32 {
        let first = layout.block(index);
        let [now, later, believed] = &mut self.window;
        // What was sent outside of header and payload is another matter: nothing was received there.
        let there = layout.header().max(first - BESIDE)..layout.symbols().min(first + BLOCK + BESIDE);
        let at = there.start + BESIDE - first;
        for (window, frame) in
            [now, later, believed].into_iter().zip([&self.received[0], &self.received[1], &self.believed])
        {
            window.fill(Complex32::ZERO);
            window[at..][..there.len()].copy_from_slice(&frame[there.clone()]);
        }
        let [now, later, believed] = &self.window;
        let unknown = self.unknown[index] + interference;
        let variance = equaliser.equalise_again(&channel, [now, later], believed, unknown, &mut self.block);
        if let Some(sensing) = known.sensing {
            let sensing = &sensing[index * BLOCK..][..BLOCK];
            self.block.iter_mut().zip(sensing).for_each(|(symbol, s_0)| *symbol -= channel.share * s_0);
        }
        variance
    }
}
