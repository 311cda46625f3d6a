//! The receiver of the semantic stream: from samples of unknown start, phase and carrier offset to equalised symbols.
//!
//! It knows the air interface (words, layout, pulse), its own sample rate and nothing of the scene. Per frame, in this order:
//! timing and carrier from the preamble; bursts and the mixer's image out of the samples; the matched filter, whose timing
//! moves with the clock; steps of the level out; one phase line through preamble and unique words; tones out; the taps of all
//! paths, and an equaliser where there are several; phase and level followed from word to word. Then a = h_cᴴw_c, b = h_cᴴw_0
//! and the noise follow by least squares on known symbols, so γ = |a|²/(|b|² + σ²). A receiver that knows what s_0 follows from
//! can take b·s_0 out of the payload, which leaves |a|²/σ²; one that does not can demap both streams jointly
//! ([`SensingStream`]). What frames have in common (carrier, clock, powers of the taps, image, how fast phase and level
//! wander) is learned from those whose headers could be read, and forgotten when the stream is lost.

use std::collections::VecDeque;

use num_complex::{Complex32, Complex64};

use super::conditioning::{Blanker, Image, MOST_BURSTS, Residual, Tones, without_image};
use super::constellation::{Constellation, Modulation};
use super::equaliser::{EARLIER, Equaliser, LATER};
use super::feedback::{Attempt, Feedback, Known, Overheard};
use super::frame::{
    BLOCK, BLOCKS, HeaderLength, LONGEST_HEADER, Layout, PAYLOAD, PREAMBLE, PREAMBLE_WORD, SENSING_SYMBOLS,
    SOUNDING_GUARD, SOUNDING_PERIOD, UNIQUE_WORD, UNIQUE_WORDS,
};
use super::header::FrameHeader;
use super::lock::Lock;
use super::synchronise::{Found, SEARCH, Searcher};
use super::tracking::{self, POINTS, Point, Steps, Wander};
use super::word::{HeaderWord, WordCode};
use super::words::{SensingSequence, StreamWords, Words};
use crate::coding::{BlockCode, BlockScratch, DecodeOutcome};
use crate::dsp::{MatchedFilter, SPAN_SYMBOLS, correlate, rotate};

/// Power of the path that was followed, in that of the strongest, down to which it stays the one that counts.
const STAYS: f64 = 0.25;

/// Frames in a row without a readable header after which the receiver searches anew.
const MAX_MISSES: u32 = 3;

/// Share of a preamble's carrier estimate in the running one.
const CARRIER_GAIN: f64 = 0.2;

/// Share of the slope that is left along a frame in the running carrier.
const SLOPE_GAIN: f64 = 0.5;

/// Largest such slope that the running carrier follows, in cycles per symbol: one more cycle between two unique words, taken
/// for none, would look like three times as much.
const MOST_SLOPE: f64 = 1e-3;

/// Most frames of which the running clock is a mean.
const CLOCK_MEMORY: f64 = 16.0;

/// Largest clock offset that is followed.
const MOST_CLOCK: f64 = 200e-6;

/// Most that a frame may begin away from where it is expected and still tell of the clock, in samples.
const MOST_LATE: f64 = 0.6;

/// Longest gap in samples after which frames are still looked for where they were, once the clock is known to about 2 ppm.
const LONGEST_GAP: u64 = 1_000_000;

/// Difference from which on a carrier found by a search is another one than the running, in cycles per symbol.
const OTHER_CARRIER: f64 = 1.0 / 128.0;

/// Samples about the expected start within which a frame found by a search is the expected one.
const EXPECTED: f64 = 8.0;

/// Frames that may wait for the pages of their headers: twice as many as there are pages, so that each may come twice.
const MOST_WAITING: usize = 8;

/// Least part of the correlation that is expected between a header and its word. White noise in the place of a header
/// correlates with any one word as if it had a seventh of the symbols' amplitude.
const LEAST_LIKENESS: f64 = 0.6;

/// Samples kept before a frame's start for the timing search.
const MARGIN: usize = 64;

/// Lags on either side at which the preamble is correlated to refine the timing.
const TIMING_LAGS: usize = 12;

/// Samples between the times that starts of frames are counted from. Below twice as many a 64-bit float tells times apart to
/// a 500 000th of a sample, so that starts are as exact at the end of a long stream as at its beginning.
const ERA: u64 = 1 << 32;

/// All lags of the timing search.
const LAGS: usize = 2 * TIMING_LAGS + 1;

/// What a receiver knows beforehand.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// Symbols per second.
    pub symbol_rate_hz: f64,
    /// Samples per symbol.
    pub samples_per_symbol: usize,
    /// Roll-off of the pulse.
    pub roll_off: f64,
    /// Antennas that the transmitter sounds.
    pub transmit_antennas: usize,
}

/// What becomes of b·s_0.
#[derive(Debug, Clone, Default)]
pub enum SensingStream {
    /// It counts as noise.
    #[default]
    AsNoise,
    /// It is taken out of the payload by a receiver that knows what it follows from; in the header it counts as noise.
    Cancelled(SensingSequence),
    /// Its symbols are unknown QPSK, and header and payload are demapped beside them.
    Demapped,
}

/// What was learned of one frame, beside its symbols.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameStatus {
    /// The header.
    pub header: FrameHeader,
    /// Frame number, unwrapped.
    pub number: u64,
    /// Sample of the stream at or before which the frame's first pulse begins.
    pub start_sample: u64,
    /// What its beginning is later than that sample, in samples from 0 to 1.
    pub start_fraction: f64,
    /// Measured SINR of the payload, linear; the sensing stream counts as noise unless it was taken out.
    pub sinr: f64,
    /// Variance of the noise alone, without interference, on the matched filter's output as received.
    pub noise_w: f64,
    /// Variance of noise, and of the interference that counts as noise, on the unit-gain symbols.
    pub noise_variance: f32,
    /// b/a, where the sensing stream is to be demapped jointly.
    pub sensing_share: Option<Complex32>,
    /// Carrier offset.
    pub carrier_offset_hz: f64,
    /// Whether the frame held a sounding.
    pub sounded: bool,
}

impl FrameStatus {
    /// Soft bits of payload symbols, as [`Constellation::demap`].
    fn demap(&self, constellation: &Constellation, symbols: &[Complex32], soft: &mut [i8]) {
        match self.sensing_share {
            Some(share) => constellation.demap_jointly(symbols, self.noise_variance, share, soft),
            None => constellation.demap(symbols, self.noise_variance, soft),
        }
    }
}

/// What was learned of the stream beside its frames' places, from frame to frame.
#[derive(Debug, Clone, Copy, Default)]
struct Learned {
    /// Frames read since the stream was found.
    frames: f64,
    /// Offset of the transmitter's symbol clock against the receiver's: samples come so much later per sample.
    clock: f64,
    /// How fast phase and logarithmic amplitude wander beyond the phase line.
    phase: Wander,
    level: Wander,
    image: Image,
}

/// A frame whose word was read: what is kept of it until its header is whole, and while it is looked at.
#[derive(Debug, Clone)]
struct Kept {
    word: HeaderWord,
    /// Its number in the receiver's own count.
    local: u64,
    status: FrameStatus,
    layout: Layout,
    /// b/a, where the sensing stream is to be taken out.
    cancelled_share: Option<Complex32>,
    /// Symbols of the payload.
    symbols: Vec<Complex32>,
    /// Symbols of the frame that a burst took, as (first, one after the last).
    erased: Vec<(usize, usize)>,
    sounding: Vec<Complex32>,
    /// What came before the equaliser.
    overheard: Overheard,
}

impl Kept {
    /// Symbols of block `index`.
    fn block(&self, index: usize) -> &[Complex32] {
        &self.symbols[index * BLOCK..][..BLOCK]
    }

    /// Which symbols of block `index` a burst took, as (first, one after the last).
    fn erased_in(&self, index: usize) -> impl Iterator<Item = (usize, usize)> {
        let first = self.layout.block(index);
        let part = move |(from, until): &(usize, usize)| {
            let (from, until) = ((*from).max(first), (*until).min(first + BLOCK));
            (from < until).then(|| (from - first, until - first))
        };
        self.erased.iter().filter_map(part)
    }

    /// Soft bits of block `index` of what a burst took say nothing.
    fn silence(&self, index: usize, modulation: Modulation, soft: &mut [i8]) {
        let bits = modulation.bits_per_symbol();
        self.erased_in(index).for_each(|(from, until)| soft[bits * from..bits * until].fill(0));
    }
}

/// Gains of both streams, and the noise beside them.
#[derive(Debug, Clone, Copy)]
struct Fitted {
    a: Complex64,
    b: Complex64,
    noise: f64,
}

/// What is known once a frame's symbols lie along one phase line.
#[derive(Debug, Clone, Copy)]
struct Straight {
    /// The line's phase at the frame's first symbol and its slope, in rad and rad per symbol.
    offset: f64,
    step: f64,
    /// Whether nothing but the line was taken out of the symbols.
    plain: bool,
    /// Whether the signal comes over several paths.
    several: bool,
    fitted: Fitted,
}

/// What the frame at hand shows of phase and level.
#[derive(Debug, Clone, Copy)]
struct Seen {
    phase: f64,
    level: f64,
}

/// Where the receiver is in the stream.
#[derive(Debug, Clone, Copy)]
enum State {
    Searching,
    Locked {
        /// Start of the next frame, in samples since `FrameReceiver::era`.
        start: f64,
        /// Frames in a row without a header.
        misses: u32,
    },
}

/// The receiver, with state between chunks of samples.
pub struct FrameReceiver {
    config: ReceiverConfig,
    words: Words,
    /// The semantic stream's words less what the sensing stream's share with them: blind to b.
    pilots: StreamWords,
    searcher: Searcher,
    filter: MatchedFilter,
    word_code: WordCode,
    lock: Lock,
    /// Length of the last header that was read.
    header_length: HeaderLength,
    /// Frames that wait for their headers, the oldest first, and room for more.
    waiting: VecDeque<Kept>,
    /// The last frame whose word contradicted what is believed.
    doubted: Option<Kept>,
    room: Vec<Kept>,
    /// The frame last returned.
    current: Kept,
    /// Frames whose headers could not be read, or not in time.
    lost_headers: u64,
    state: State,
    /// Samples from stream sample `origin` on.
    samples: Vec<Complex32>,
    origin: u64,
    /// The sample that starts of frames are counted from: a multiple of [`ERA`], at least one of them before `origin` except
    /// at the stream's beginning.
    era: u64,
    /// Running estimate, in cycles per symbol.
    carrier: Option<f64>,
    work: Vec<Complex32>,
    lags: [[Complex64; 2]; LAGS],
    symbols: Vec<Complex32>,
    /// Symbols of the frame at hand, with those behind it that an equaliser looks at.
    whole: usize,
    /// What the matched filter shows half a symbol after each symbol, where several paths call for it.
    later: Vec<Complex32>,
    header_llrs: Vec<f32>,
    /// Room for a word's coded bits.
    header_bits: Vec<u8>,
    sounding: Vec<Complex32>,
    sensing: SensingStream,
    /// Room for a frame's s_0.
    sensing_symbols: Vec<Complex32>,
    learned: Learned,
    blanker: Blanker,
    steps: Steps,
    tones: Tones,
    equaliser: Equaliser,
    /// The frame at hand before it was equalised.
    overheard: Overheard,
    feedback: Feedback,
    /// Room for the symbols of a header sent again.
    header_symbols: Vec<Complex32>,
    residual: Residual,
    /// Room for the conjugate of a preamble's samples, and its symbols.
    conjugates: Vec<Complex32>,
    conjugate_symbols: Vec<Complex32>,
    /// Symbols of the frame at hand that a burst took, as (first, one after the last).
    erased: Vec<(usize, usize)>,
    layout: Layout,
    /// What was found of it, and b/a where the sensing stream is to be taken out.
    read: (FrameStatus, Option<Complex32>),
    /// First sample of the last search for a stream.
    searched: u64,
    /// Energies of a preamble's and of a unique word's pilots.
    pilot_energies: [f64; 2],
}

impl FrameReceiver {
    /// A receiver for chunks of up to `chunk` samples.
    pub fn new(config: ReceiverConfig, chunk: usize) -> crate::Result<Self> {
        let words = Words::new(config.transmit_antennas);
        let longest = Layout::longest(config.transmit_antennas).symbols();
        let sps = config.samples_per_symbol;
        let window = sps * (longest + LATER + 4 * SPAN_SYMBOLS) + 2 * MARGIN;
        let kept = Kept {
            word: HeaderWord::default(),
            local: 0,
            status: FrameStatus::default(),
            layout: Layout::plain(HeaderLength::Short),
            cancelled_share: None,
            symbols: vec![Complex32::default(); PAYLOAD],
            erased: Vec::with_capacity(MOST_BURSTS),
            sounding: vec![Complex32::default(); config.transmit_antennas],
            overheard: Overheard::new(longest),
        };
        let filter = MatchedFilter::new(longest + LATER, sps, config.roll_off);
        let pilots = StreamWords {
            preamble: without(&words.semantic.preamble, &words.sensing.preamble),
            unique_word: without(&words.semantic.unique_word, &words.sensing.unique_word),
        };
        Ok(Self {
            searcher: Searcher::new(&words.semantic.preamble, sps, config.roll_off),
            equaliser: Equaliser::new(
                &words.semantic.preamble,
                &words.sensing.preamble,
                longest + LATER,
                config.roll_off,
            ),
            later: vec![Complex32::default(); longest + LATER],
            whole: 0,
            learned: Learned::default(),
            blanker: Blanker::new(window),
            steps: Steps::new(longest),
            tones: Tones::new(),
            overheard: Overheard::new(longest),
            feedback: Feedback::new(longest),
            header_symbols: vec![Complex32::ZERO; LONGEST_HEADER],
            residual: Residual {
                first: LATER,
                run: vec![Complex32::default(); PREAMBLE - EARLIER - LATER],
                more: vec![(0, vec![Complex32::default(); UNIQUE_WORD]); UNIQUE_WORDS],
            },
            conjugates: vec![Complex32::default(); filter.samples_for(PREAMBLE) + 1],
            conjugate_symbols: vec![Complex32::default(); PREAMBLE],
            erased: Vec::with_capacity(MOST_BURSTS),
            layout: Layout::plain(HeaderLength::Short),
            read: (FrameStatus::default(), None),
            searched: 0,
            pilot_energies: [&pilots.preamble, &pilots.unique_word].map(|word| correlate(word, word).re),
            pilots,
            filter,
            word_code: WordCode::new()?,
            lock: Lock::default(),
            header_length: HeaderLength::Short,
            waiting: VecDeque::with_capacity(MOST_WAITING + 1),
            doubted: None,
            room: std::iter::repeat_with(|| kept.clone()).take(MOST_WAITING + 2).collect(),
            current: kept.clone(),
            lost_headers: 0,
            words,
            lags: [[Complex64::default(); 2]; LAGS],
            state: State::Searching,
            samples: Vec::with_capacity(chunk + SEARCH + 3 * window),
            origin: 0,
            era: 0,
            carrier: None,
            work: vec![Complex32::default(); window],
            symbols: vec![Complex32::default(); longest + LATER],
            header_llrs: vec![0.0; 2 * LONGEST_HEADER],
            header_bits: vec![0; 2 * LONGEST_HEADER],
            sounding: vec![Complex32::default(); config.transmit_antennas],
            sensing: SensingStream::AsNoise,
            sensing_symbols: vec![Complex32::default(); SENSING_SYMBOLS],
            config,
        })
    }

    /// Says what becomes of b·s_0.
    pub fn with_sensing(self, sensing: SensingStream) -> Self {
        Self { sensing, ..self }
    }

    /// Takes in the next samples; `time` is the stream's sample count at the first. After a gap in time frames are looked for
    /// where they would have gone on; a long one, or one back, ends the lock.
    pub fn push(&mut self, time: u64, samples: &[Complex32]) {
        let expected = self.origin + self.samples.len() as u64;
        if time != expected {
            self.samples.clear();
            self.origin = time;
            let patience = if self.learned.frames >= CLOCK_MEMORY { LONGEST_GAP } else { LONGEST_GAP / 16 };
            match self.state {
                State::Locked { start, .. }
                    if self.lock.next().is_some() && time > expected && time - expected < patience =>
                {
                    self.skip_frames(start);
                }
                _ => self.search(),
            }
        }
        self.samples.extend_from_slice(samples);
    }

    /// Moves on to the first frame that begins after the samples at hand do.
    fn skip_frames(&mut self, mut start: f64) {
        let begin = (self.origin - self.era) as f64 + TIMING_LAGS as f64 + 1.0;
        let first = self.lock.next().unwrap_or(0);
        let mut number = first;
        while start < begin {
            start += self.frame_samples(Layout::of(number, self.config.transmit_antennas, self.header_length));
            number += 1;
        }
        self.lock.skip(number - first);
        self.state = State::Locked { start, misses: 0 };
    }

    /// Gives the stream up.
    fn search(&mut self) {
        self.lost_headers += self.waiting.len() as u64;
        self.room.extend(self.waiting.drain(..));
        self.lock.lose();
        self.state = State::Searching;
    }

    /// Frames so far whose headers could not be read, or not in time, and words that contradicted what was believed.
    pub fn lost_headers(&self) -> [u64; 2] {
        [self.lost_headers, self.lock.contradictions]
    }

    /// Samples from the start of a frame of this layout to the next, by the receiver's clock.
    fn frame_samples(&self, layout: Layout) -> f64 {
        (self.config.samples_per_symbol * layout.symbols()) as f64 * (1.0 + self.learned.clock)
    }

    /// The next frame whose header could be read, if its samples are there. Its symbols are in [`Self::block`] until
    /// the next call. At the stream's end `last` lets a search run on what is left.
    pub fn next_frame(&mut self, last: bool) -> Option<FrameStatus> {
        loop {
            if let Some(status) = self.give(false) {
                return Some(status);
            }
            match self.state {
                State::Searching => {
                    let count = self.samples.len().min(SEARCH);
                    if count < SEARCH && !(last && count > self.searcher.overlap()) {
                        return None;
                    }
                    match self.searcher.search(&self.samples[..count]) {
                        Some(found) => {
                            self.learned = Learned::default();
                            self.equaliser.reset();
                            self.era = (self.origin / ERA).saturating_sub(1) * ERA;
                            self.searched = self.origin;
                            self.follow_up(found);
                        }
                        None => self.forget(count.saturating_sub(self.searcher.overlap())),
                    }
                    if last && count < SEARCH && matches!(self.state, State::Searching) {
                        return None;
                    }
                }
                State::Locked { start, misses } => {
                    let start = self.renew_era(start);
                    let keep =
                        (self.era + start as u64).saturating_sub(self.origin + (self.look_back() + MARGIN) as u64);
                    self.forget((keep as usize).min(self.samples.len()));
                    let expected = self.layouts(self.lock.next())[0];
                    if !self.has_frame(start, expected, if last { 0 } else { LATER })
                        || !self.read_frame(start, misses, last)
                    {
                        return if last { self.give(true) } else { None };
                    }
                }
            }
        }
    }

    /// The oldest frame that waits, if its header is whole, or can be made so at the stream's `end`.
    fn give(&mut self, end: bool) -> Option<FrameStatus> {
        while self.waiting.front().is_some_and(|oldest| self.lock.is_hopeless(&oldest.word)) {
            self.room.extend(self.waiting.pop_front());
            self.lost_headers += 1;
        }
        let oldest = self.waiting.front()?;
        let header = self.lock.header(&oldest.word, oldest.local, end)?;
        let mut kept = self.waiting.pop_front()?;
        (kept.status.header, kept.status.number) = (header, header.number);
        if let (SensingStream::Cancelled(sequence), Some(share)) = (&self.sensing, kept.cancelled_share) {
            sequence.write(header.number, &mut self.sensing_symbols);
            let payload = kept.symbols.iter_mut().zip(&self.sensing_symbols);
            payload.for_each(|(symbol, sensing)| *symbol -= share * sensing);
        }
        let status = kept.status;
        self.room.push(std::mem::replace(&mut self.current, kept));
        Some(status)
    }

    /// Soft bits of block `index` of the frame last returned, as [`Constellation::demap`]; what a burst took says nothing.
    pub fn demap(&self, status: &FrameStatus, index: usize, constellation: &Constellation, soft: &mut [i8]) {
        status.demap(constellation, self.block(index), soft);
        self.current.silence(index, constellation.modulation(), soft);
    }

    /// Symbols of payload block `index` of the frame last returned that a burst took.
    pub fn erased_symbols(&self, index: usize) -> usize {
        self.current.erased_in(index).map(|(from, until)| until - from).sum()
    }

    /// Decodes all blocks of the frame last returned, which have one code, into words of N_c bits, CRC included. Which of them
    /// are right.
    pub fn decode(
        &mut self,
        status: &FrameStatus,
        code: &BlockCode,
        words: &mut [u8],
        scratch: &mut BlockScratch,
    ) -> [bool; BLOCKS] {
        let mut words = words.chunks_exact_mut(code.information_bits());
        let mut blocks: [_; BLOCKS] = std::array::from_fn(|index| {
            let word = words.next()?;
            let current = &self.current;
            let soft = self.feedback.soft(index, code.coded_bits());
            status.demap(code.constellation(), current.block(index), soft);
            current.silence(index, code.modulation(), soft);
            let mut outcome = [DecodeOutcome::default()];
            code.decode_words(soft, word, &mut outcome, scratch);
            Some(Attempt { code, word, decoded: outcome[0].decoded })
        });
        self.decode_again(status, &mut blocks, scratch);
        blocks.map(|attempt| attempt.is_some_and(|attempt| attempt.decoded))
    }

    /// Decodes blocks of the frame last returned that failed again, with feedback from the decoder (`src/modem/feedback.rs`), where
    /// the frame came over several paths. `blocks` holds what the first decoding made of each.
    pub fn decode_again(
        &mut self,
        status: &FrameStatus,
        blocks: &mut [Option<Attempt>; BLOCKS],
        scratch: &mut BlockScratch,
    ) {
        if !self.current.overheard.is_there() || blocks.iter().flatten().all(|attempt| attempt.decoded) {
            return;
        }
        for (index, attempt) in blocks.iter().enumerate() {
            if let Some(attempt) = attempt {
                let soft = self.feedback.soft(index, attempt.code.coded_bits());
                status.demap(attempt.code.constellation(), self.current.block(index), soft);
                self.current.silence(index, attempt.code.modulation(), soft);
            }
        }
        let current = &self.current;
        let count = current.layout.header_symbols();
        let coded = &mut self.header_bits[..2 * count];
        self.word_code.encode(&current.word, current.layout.header_length, coded);
        Modulation::Qpsk.map(coded, &mut self.header_symbols[..count]);
        let sensing = match &self.sensing {
            SensingStream::Cancelled(sequence) => {
                sequence.write(status.number, &mut self.sensing_symbols);
                Some(&self.sensing_symbols[..])
            }
            _ => None,
        };
        let known = Known { words: &self.words, header: &self.header_symbols[..count], sensing };
        let demap = |index: usize, code: &BlockCode, symbols: &[Complex32], variance: f32, soft: &mut [i8]| {
            let interference = match &self.sensing {
                SensingStream::AsNoise => current.overheard.interference(),
                _ => 0.0,
            };
            let status = FrameStatus { noise_variance: variance + interference, ..*status };
            status.demap(code.constellation(), symbols, soft);
            current.silence(index, code.modulation(), soft);
        };
        self.feedback.decode(&current.overheard, &known, &mut self.equaliser, blocks, scratch, demap);
    }

    /// Equalised unit-gain symbols of payload block `index` of the frame last returned.
    pub fn block(&self, index: usize) -> &[Complex32] {
        self.current.block(index)
    }

    /// Per-antenna gains of the frame last returned, if it was sounded: h_cᴴ's entries times the sounding's amplitude.
    pub fn sounding(&self) -> &[Complex32] {
        &self.current.sounding
    }

    fn forget(&mut self, count: usize) {
        self.samples.drain(..count);
        self.origin += count as u64;
    }

    /// Counts from a later sample where a start is far from the one that it is counted from; that start, so counted.
    fn renew_era(&mut self, start: f64) -> f64 {
        if start < (2 * ERA) as f64 {
            return start;
        }
        let renewed = start - ERA as f64;
        self.era += ERA;
        if let State::Locked { start, .. } = &mut self.state {
            *start = renewed;
        }
        renewed
    }

    /// Whether all samples of a frame of this layout at `start` are there, and those of so many symbols behind it.
    fn has_frame(&self, start: f64, layout: Layout, behind: usize) -> bool {
        let symbols = layout.symbols() + behind + 2 * SPAN_SYMBOLS;
        let end = start + (self.config.samples_per_symbol * symbols + MARGIN) as f64;
        end <= (self.origin - self.era + self.samples.len() as u64) as f64
    }

    /// Believes what the search found last.
    fn follow_up(&mut self, Found { at, carrier }: Found) {
        self.carrier = Some(carrier);
        let start = (self.searched - self.era + at as u64) as f64;
        self.state = State::Locked { start, misses: 0 };
    }

    /// Reads the frame at about `start` and moves on to the next. `false` where it may be longer than what is there, and more
    /// is to come.
    fn read_frame(&mut self, start: f64, misses: u32, last: bool) -> bool {
        let refined = self.refine(start);
        let next = self.lock.next();
        let [expected, others @ ..] = self.layouts(next);
        // While nothing was missed only the header's length may have changed.
        let others = if next.is_some() && misses == 0 { &others[..1] } else { &others[..] };
        for layout in std::iter::once(expected).chain(others.iter().copied()) {
            // Where the frame is not as expected, what follows it is looked at as well: the next one may begin there.
            let needed = if layout == expected { expected } else { Layout::longest(self.config.transmit_antennas) };
            if !last && !self.has_frame(refined, needed, LATER) {
                return false;
            }
            if !self.has_frame(refined, layout, 0) {
                continue;
            }
            let Some(word) = self.demodulate(refined, layout) else { continue };
            let Some(local) = self.lock.take(&word, misses) else {
                self.doubt_frame(word, refined, layout);
                break;
            };
            if self.lock.has_followed_a_rival() {
                self.believe_doubted(local - 1);
            }
            self.keep_frame(word, local, refined, layout);
            self.learn_clock(refined - start, layout);
            self.header_length = layout.header_length;
            self.state = State::Locked { start: refined + self.frame_samples(layout), misses: 0 };
            return true;
        }
        if next.is_none()
            && let Some(found) = self.searcher.next_candidate()
        {
            self.follow_up(found);
            return true;
        }
        if misses + 1 >= MAX_MISSES || next.is_none() {
            self.forget(
                ((self.era + start as u64).saturating_sub(self.origin) as usize + 2 * MARGIN).min(self.samples.len()),
            );
            self.search();
            return true;
        }
        self.lost_headers += 1;
        self.lock.skip(1);
        let guess = self.frame_samples(expected);
        // Where samples are missing, and nobody said so, the next frame begins elsewhere.
        let moved = self.search_from(start);
        let start = match moved {
            Some((at, carrier)) if (at - start).abs() > EXPECTED && (at - start - guess).abs() > EXPECTED => {
                // A search tells carriers only 1/256 apart: the running one is better unless it is another one's.
                if self.carrier.is_none_or(|running| (running - carrier).abs() > OTHER_CARRIER) {
                    (self.carrier, self.learned.frames) = (Some(carrier), 0.0);
                }
                at
            }
            _ => start + guess,
        };
        self.state = State::Locked { start, misses: misses + 1 };
        true
    }

    /// All layouts that a frame may have, the likeliest first, then that with a header of the other length.
    fn layouts(&self, next: Option<u64>) -> [Layout; 4] {
        let antennas = self.config.transmit_antennas;
        let like = |length| Layout::of(next.unwrap_or(1), antennas, length);
        let unlike = |length| match like(length).sounding {
            0 => Layout::with_sounding(antennas, length),
            _ => Layout::plain(length),
        };
        let (length, other) = (self.header_length, self.header_length.other());
        [like(length), like(other), unlike(length), unlike(other)]
    }

    /// Keeps the frame at hand until its header is whole; where too many wait the oldest goes.
    fn keep_frame(&mut self, word: HeaderWord, local: u64, start: f64, layout: Layout) {
        if self.waiting.len() == MOST_WAITING {
            self.room.extend(self.waiting.pop_front());
            self.lost_headers += 1;
        }
        let Some(mut kept) = self.room.pop() else { return };
        self.copy_frame(&mut kept, word, start, layout);
        kept.local = local;
        self.waiting.push_back(kept);
    }

    /// Sets a frame aside whose word contradicts what is believed: the next one may agree with it.
    fn doubt_frame(&mut self, word: HeaderWord, start: f64, layout: Layout) {
        let mut doubted = self.doubted.take().or_else(|| self.room.pop());
        if let Some(kept) = &mut doubted {
            self.copy_frame(kept, word, start, layout);
        }
        self.doubted = doubted;
    }

    /// Counts the frame that was set aside among those that wait, as it was right.
    fn believe_doubted(&mut self, local: u64) {
        let Some(mut kept) = self.doubted.take() else { return };
        if self.waiting.len() == MOST_WAITING {
            self.room.push(kept);
            return;
        }
        kept.local = local;
        self.lost_headers = self.lost_headers.saturating_sub(1);
        self.waiting.push_back(kept);
    }

    /// Copies the frame at hand.
    fn copy_frame(&self, kept: &mut Kept, word: HeaderWord, start: f64, layout: Layout) {
        (kept.word, kept.layout) = (word, layout);
        let base = start.floor();
        (kept.status, kept.cancelled_share) = self.read;
        kept.status.start_sample = self.era + base as u64;
        kept.status.start_fraction = start - base;
        for (index, symbols) in kept.symbols.chunks_exact_mut(BLOCK).enumerate() {
            symbols.copy_from_slice(&self.symbols[layout.block(index)..][..BLOCK]);
        }
        kept.erased.clone_from(&self.erased);
        kept.sounding.copy_from_slice(&self.sounding);
        kept.overheard.copy_from(&self.overheard);
    }

    /// Samples before the expected start of a frame from which on it is looked for where samples are missing: a frame that
    /// begins earlier by part of its preamble would be taken to begin with the rest of it.
    fn look_back(&self) -> usize {
        self.config.samples_per_symbol * PREAMBLE + MARGIN
    }

    /// The next frame's start and carrier by a search of the samples at hand from `start` on.
    fn search_from(&mut self, start: f64) -> Option<(f64, f64)> {
        let from = ((self.era + start as u64).saturating_sub(self.origin) as usize).saturating_sub(self.look_back());
        let there = self.samples.get(from..)?;
        let found = self.searcher.search(&there[..there.len().min(SEARCH)])?;
        Some(((self.origin - self.era + (from + found.at) as u64) as f64, found.carrier))
    }

    /// Learns of the clock from how much later than expected a frame began.
    fn learn_clock(&mut self, late: f64, layout: Layout) {
        let learned = &mut self.learned;
        // The first frame's place was only known to a sample.
        if learned.frames > 0.0 && late.abs() < MOST_LATE {
            let samples = (self.config.samples_per_symbol * layout.symbols()) as f64;
            let gain = 1.0 / learned.frames.min(CLOCK_MEMORY);
            learned.clock = (learned.clock + gain * late / samples).clamp(-MOST_CLOCK, MOST_CLOCK);
        }
        learned.frames += 1.0;
    }

    /// Timing and carrier from the preamble: the correlation with both copies, interpolated between samples.
    fn refine(&mut self, start: f64) -> f64 {
        let base = start.floor();
        self.correlate_lags((self.era + base as u64).saturating_sub(self.origin) as usize);
        let sums = &self.lags;
        let power = |x: f64| {
            let [first, second] = interpolate(sums, x);
            first.norm_sqr() + second.norm_sqr()
        };
        let at_lag = |lag: usize| sums[lag][0].norm_sqr() + sums[lag][1].norm_sqr();
        let largest =
            |lags: std::ops::Range<usize>| lags.max_by(|a, b| at_lag(*a).total_cmp(&at_lag(*b))).unwrap_or(TIMING_LAGS);
        let mut peak = largest(TIMING_LAGS / 2..LAGS - TIMING_LAGS / 2);
        // Of paths about as strong the one stays that was followed: what is known of the taps is counted from it.
        let followed = largest(TIMING_LAGS - 1..TIMING_LAGS + 2);
        if self.learned.frames > 0.0 && at_lag(followed) > STAYS * at_lag(peak) {
            peak = followed;
        }
        let peak = peak as f64;
        let best = maximise(power, peak);
        let [first_copy, second_copy] = interpolate(sums, best);
        let residual = (first_copy.conj() * second_copy).arg() / (std::f64::consts::TAU * PREAMBLE_WORD as f64);
        if residual.is_finite() {
            let gain = CARRIER_GAIN.max(1.0 / (1.0 + self.learned.frames));
            self.carrier = Some(self.carrier.unwrap_or(0.0) + gain * residual);
        }
        base + best - TIMING_LAGS as f64
    }

    /// Correlates both preamble copies at the lags around sample `first` of the buffer. One pass of the matched filter
    /// per phase of a symbol serves all lags; samples before the buffer count as silence.
    fn correlate_lags(&mut self, first: usize) {
        let sps = self.config.samples_per_symbol;
        let symbols = PREAMBLE + LAGS.div_ceil(sps);
        let needed = self.filter.samples_for(symbols) + sps;
        let missing = TIMING_LAGS.saturating_sub(first);
        let there = &self.samples[(first + missing - TIMING_LAGS).min(self.samples.len())..];
        let there = &there[..there.len().min(needed - missing)];
        let work = &mut self.work[..needed];
        work.fill(Complex32::default());
        work[missing..][..there.len()].copy_from_slice(there);
        self.blanker.blank(work);
        rotate(work, 0.0, -std::f64::consts::TAU * self.carrier.unwrap_or(0.0) / sps as f64);
        for phase in 0..sps {
            let filtered = &mut self.symbols[..symbols];
            self.filter.filter(&work[phase..], 0.0, filtered);
            for lag in (phase..LAGS).step_by(sps) {
                for (copy, sum) in self.lags[lag].iter_mut().enumerate() {
                    let from = lag / sps + copy * PREAMBLE_WORD;
                    *sum = correlate(&filtered[from..][..PREAMBLE_WORD], &self.pilots.preamble);
                }
            }
        }
    }

    /// Demodulates the frame at `start`; its word, if it can be read with this layout.
    fn demodulate(&mut self, start: f64, layout: Layout) -> Option<HeaderWord> {
        let count = layout.symbols();
        self.layout = layout;
        let near = self.lock.next().unwrap_or(0);
        let Straight { offset, mut step, plain, several, mut fitted } = self.straight_symbols(start, layout, near)?;
        self.sound(layout);
        self.overheard.clear();
        if several {
            let later = plain && self.see_later(start, [offset, step]);
            let channel = self.equaliser.channel(later);
            self.overheard.take(channel, layout, [&self.symbols, &self.later]);
            self.equaliser.equalise(&channel, &mut self.symbols[..self.whole], &self.later[..self.whole]);
            let (offset, slope) = self.straighten(layout);
            self.overheard.turn(offset, slope);
            step += slope;
            fitted = self.estimate(layout, true);
        }
        let (seen, changed) = self.follow(layout, fitted.noise);
        let Fitted { a, b, noise } = if changed { self.estimate(layout, several) } else { fitted };
        let carrier = self.carrier.unwrap_or(0.0);
        let wanted = a.norm_sqr();
        if wanted <= 0.0 || !wanted.is_finite() {
            return None;
        }
        let gain = a.inv();
        let gain = Complex32::new(gain.re as f32, gain.im as f32);
        let mut impairment = b.norm_sqr() + noise;
        for symbol in &mut self.symbols[layout.header()..count] {
            *symbol *= gain;
        }
        let share = Complex32::new(b.re as f32, b.im as f32) * gain;
        let demapped = matches!(self.sensing, SensingStream::Demapped);
        let header_variance = if demapped { noise } else { impairment } / wanted;
        let word = self.read_word(layout, header_variance as f32, demapped.then_some(share))?;
        let cancelled = matches!(self.sensing, SensingStream::Cancelled(_));
        if cancelled {
            impairment = noise;
        }
        self.keep(seen, step / std::f64::consts::TAU);
        let variance = if demapped { noise } else { impairment } / wanted;
        let status = FrameStatus {
            sinr: wanted / impairment,
            // The equaliser changes the symbols' level, and gathers what paths leave.
            noise_w: if several { self.equaliser.noise() } else { noise },
            noise_variance: variance as f32,
            sensing_share: demapped.then_some(share),
            carrier_offset_hz: (carrier + step / std::f64::consts::TAU) * self.config.symbol_rate_hz,
            sounded: layout.sounding > 0,
            ..FrameStatus::default()
        };
        self.read = (status, cancelled.then_some(share));
        Some(word)
    }

    /// Reads the word of the frame at hand. It has to look like what was received, and its number to fit the layout.
    fn read_word(&mut self, layout: Layout, variance: f32, share: Option<Complex32>) -> Option<HeaderWord> {
        let count = layout.header_symbols();
        let symbols = &self.symbols[layout.header()..][..count];
        let llrs = &mut self.header_llrs[..2 * count];
        match share {
            Some(share) => {
                let put = |index: usize, value| llrs[index] = value;
                Constellation::from(Modulation::Qpsk).each_jointly(symbols, variance, share, put);
            }
            None => Modulation::Qpsk.demap_f32(symbols, variance, llrs),
        }
        for (from, until) in &self.erased {
            let [from, until] = [from, until].map(|n| (*n).clamp(layout.header(), layout.header() + count));
            llrs[2 * (from - layout.header())..2 * (until - layout.header())].fill(0.0);
        }
        let word = self.word_code.decode(llrs, layout.header_length, self.lock.foreknown())?;
        let coded = &mut self.header_bits[..2 * count];
        self.word_code.encode(&word, layout.header_length, coded);
        let alike = likeness(llrs, coded);
        let expected = (1.0 / (1.0 + f64::from(variance))).sqrt();
        let fits = (u64::from(word.number).is_multiple_of(SOUNDING_PERIOD)) == (layout.sounding > 0);
        (fits && alike >= LEAST_LIKENESS * expected).then_some(word)
    }

    /// Keeps what a frame that could be read showed of the stream.
    fn keep(&mut self, seen: Seen, slope: f64) {
        self.learned.phase = self.learned.phase.with(seen.phase);
        self.learned.level = self.learned.level.with(seen.level);
        self.learned.image.keep();
        self.equaliser.keep();
        if slope.abs() < MOST_SLOPE {
            self.carrier = self.carrier.map(|carrier| carrier + SLOPE_GAIN * slope);
        }
    }

    /// The frame's symbols without what hardware added, along one phase line.
    fn straight_symbols(&mut self, start: f64, layout: Layout, near: u64) -> Option<Straight> {
        let count = layout.symbols();
        let mut again = false;
        loop {
            self.filtered(start, layout)?;
            let sounding = PREAMBLE..layout.header();
            let stepped = self.steps.level(&mut self.symbols[..count], sounding) > 0;
            let mut plain = self.erased.is_empty();
            self.mend(layout);
            // What a blanked burst leaves looks like two steps.
            if stepped && plain {
                let words = self.word_sums(layout);
                self.steps.refine(&mut self.symbols[..count], &words);
                self.filter_levelled(start);
            }
            let (mut offset, mut step) = self.straighten(layout);
            let (mut several, mut fitted) = self.leave_residual(layout);
            if self.tones.find(&mut self.residual) > 0 {
                plain = false;
                self.tones.take_out(&mut self.symbols[..self.whole]);
                let (more, slope) = self.straighten(layout);
                (offset, step) = (offset + more, step + slope);
                (several, fitted) = self.leave_residual(layout);
            }
            if again || !self.learned.image.is_due(near) || !self.look_for_image(start, offset, step) {
                return Some(Straight { offset, step, plain, several, fitted });
            }
            self.learned.image.keep();
            again = true;
        }
    }

    /// Matched filter's output for the frame at `start`, turned back by the running carrier.
    fn filtered(&mut self, start: f64, layout: Layout) -> Option<()> {
        let sps = self.config.samples_per_symbol;
        let (count, base) = (layout.symbols(), start.floor());
        let first = (self.era + base as u64).checked_sub(self.origin)? as usize;
        let drift = self.learned.clock * sps as f64;
        // What comes behind the frame, if it is there, holds what the paths bring late of its last symbols.
        let needed = |symbols: usize| {
            self.filter.samples_for(symbols) + 1 + sps.div_ceil(2) + (drift * symbols as f64).abs().ceil() as usize
        };
        self.whole = count + LATER;
        if first + needed(self.whole) > self.samples.len() {
            self.whole = count;
        }
        let needed = needed(self.whole);
        let work = &mut self.work[..needed];
        work.copy_from_slice(self.samples.get(first..first + needed)?);
        self.blanker.blank(work);
        self.erased.clear();
        for (from, until) in self.blanker.bursts() {
            // Symbols whose pulses have their centres there.
            let symbol = |sample: usize| (sample / sps).saturating_sub(SPAN_SYMBOLS).min(count);
            self.erased.push((symbol(*from), symbol(until + sps)));
        }
        if let Some(share) = self.learned.image.share() {
            without_image(work, share);
        }
        let carrier = self.carrier.unwrap_or(0.0);
        rotate(work, 0.0, -std::f64::consts::TAU * carrier / sps as f64);
        self.filter.filter_drifting(work, start - base, drift, &mut self.symbols[..self.whole]);
        Some(())
    }

    /// The same once more where the gain steps: a pulse across a step is whole only where the samples are levelled.
    fn filter_levelled(&mut self, start: f64) {
        let sps = self.config.samples_per_symbol;
        let fraction = start - start.floor();
        let mut before = 1.0;
        for (symbol, factor) in self.steps.parts() {
            let sample = sps * (symbol + SPAN_SYMBOLS) + fraction.round() as usize - sps / 2;
            self.work[sample..].iter_mut().for_each(|sample| *sample *= factor / before);
            before = factor;
        }
        let drift = self.learned.clock * sps as f64;
        self.filter.filter_drifting(&self.work, fraction, drift, &mut self.symbols[..self.whole]);
    }

    /// Values half a symbol after each symbol of the frame that [`Self::filtered`] saw, turned back along the same line, and
    /// the paths' taps there. `false` where samples are too far apart for that.
    fn see_later(&mut self, start: f64, line: [f64; 2]) -> bool {
        let sps = self.config.samples_per_symbol;
        if sps < 2 {
            return false;
        }
        let drift = self.learned.clock * sps as f64;
        let at = start - start.floor() + 0.5 * sps as f64;
        let later = &mut self.later[..self.whole];
        self.filter.filter_drifting(&self.work[at as usize..], at.fract(), drift, later);
        rotate(later, -line[0], -line[1]);
        self.equaliser.fit_later(&self.later[..PREAMBLE]);
        true
    }

    /// Fills what a burst took of known words with what the rest of the word says.
    fn mend(&mut self, layout: Layout) {
        if self.erased.is_empty() {
            return;
        }
        let semantic = &self.words.semantic;
        let parts = [(0, &semantic.preamble), (PREAMBLE_WORD, &semantic.preamble)]
            .into_iter()
            .chain((0..UNIQUE_WORDS).map(|index| (layout.unique_word(index), &semantic.unique_word)));
        for (first, word) in parts {
            let is_erased = |n: usize| self.erased.iter().any(|(from, until)| (*from..*until).contains(&(first + n)));
            let (mut sum, mut left) = (Complex32::ZERO, 0);
            for (n, symbol) in word.iter().enumerate().filter(|(n, _)| !is_erased(*n)) {
                sum += self.symbols[first + n] * symbol.conj();
                left += 1;
            }
            if left == word.len() || left == 0 {
                continue;
            }
            let gain = sum / left as f32;
            for (n, symbol) in word.iter().enumerate().filter(|(n, _)| is_erased(*n)) {
                self.symbols[first + n] = gain * symbol;
            }
        }
    }

    /// What fitted taps, a and b do not explain of the known words.
    /// Whether there are several paths, and the least squares.
    fn leave_residual(&mut self, layout: Layout) -> (bool, Fitted) {
        let fitted = self.estimate(layout, false);
        let [a, b] = [fitted.a, fitted.b].map(|x| Complex32::new(x.re as f32, x.im as f32));
        let several = self.equaliser.fit(&self.symbols[..PREAMBLE], [a, b]);
        let Words { semantic, sensing, .. } = &self.words;
        self.equaliser.leave(
            &self.symbols[..PREAMBLE],
            [&semantic.preamble, &sensing.preamble],
            &mut self.residual.run,
        );
        for (index, (first, left)) in self.residual.more.iter_mut().enumerate() {
            *first = layout.unique_word(index);
            let symbols = &self.symbols[*first..][..UNIQUE_WORD];
            let words = semantic.unique_word.iter().zip(&sensing.unique_word);
            for ((left, symbol), (s_c, s_0)) in left.iter_mut().zip(symbols).zip(words) {
                *left = symbol - a * s_c - b * s_0;
            }
        }
        (several, fitted)
    }

    /// Compares what is left of the preamble with the conjugate of what was received, filtered like it and turned along the
    /// same line. `true` where the frame is to be read again.
    fn look_for_image(&mut self, start: f64, offset: f64, step: f64) -> bool {
        let sps = self.config.samples_per_symbol;
        let base = start.floor();
        let first = (self.era + base as u64).saturating_sub(self.origin) as usize;
        let Some(samples) = self.samples.get(first..first + self.conjugates.len()) else { return false };
        self.conjugates.iter_mut().zip(samples).for_each(|(to, from)| *to = from.conj());
        rotate(&mut self.conjugates, 0.0, -std::f64::consts::TAU * self.carrier.unwrap_or(0.0) / sps as f64);
        self.filter.filter(&self.conjugates, start - base, &mut self.conjugate_symbols);
        rotate(&mut self.conjugate_symbols, -offset, -step);
        let conjugates = &self.conjugate_symbols[LATER..][..self.residual.run.len()];
        self.learned.image.observe(&self.residual.run, conjugates, self.equaliser.noise())
    }

    /// Follows phase and level from word to word, where they wander; what the frame shows of that, and whether that
    /// changed the symbols.
    fn follow(&mut self, layout: Layout, noise: f64) -> (Seen, bool) {
        let sums = self.word_sums(layout);
        let whole: Complex64 = sums.iter().map(|(_, _, sum)| sum).sum();
        let length: f64 = sums.iter().map(|(_, length, _)| length).sum();
        let power = (whole / length).norm_sqr().max(f64::MIN_POSITIVE);
        let reference = whole.norm() / length;
        let turn = whole.conj() / whole.norm().max(f64::MIN_POSITIVE);
        let point = |n: usize, value: fn(Complex64) -> f64| {
            let (place, length, sum) = sums[n];
            let relative = sum * turn / (length * reference).max(f64::MIN_POSITIVE);
            Point { place, value: value(relative), variance: noise / (2.0 * power * length) }
        };
        let mut phases: [Point; POINTS] = std::array::from_fn(|n| point(n, Complex64::arg));
        let mut levels: [Point; POINTS] = std::array::from_fn(|n| point(n, |relative| relative.norm().max(1e-3).ln()));
        let seen = Seen { phase: Wander::seen(&phases), level: Wander::seen(&levels) };
        let turned = self.learned.phase.with(seen.phase).smooth(&mut phases);
        let levelled = self.learned.level.with(seen.level).smooth(&mut levels);
        if turned || levelled {
            if !turned {
                phases.iter_mut().for_each(|point| point.value = 0.0);
            }
            if !levelled {
                levels.iter_mut().for_each(|point| point.value = 0.0);
            }
            tracking::take_out(&mut self.symbols[..layout.symbols()], &phases, &levels);
            self.overheard.take_out(&phases, &levels);
        }
        (seen, turned || levelled)
    }

    /// Per known word: the place of its middle, its length and its correlation, blind to b.
    fn word_sums(&self, layout: Layout) -> [(f64, f64, Complex64); POINTS] {
        let [preamble_energy, unique_energy] = self.pilot_energies;
        std::array::from_fn(|n| {
            let (from, pilot, energy) = match n {
                0 | 1 => (n * PREAMBLE_WORD, &self.pilots.preamble, preamble_energy),
                _ => (layout.unique_word(n - 2), &self.pilots.unique_word, unique_energy),
            };
            let sum = correlate(&self.symbols[from..][..pilot.len()], pilot);
            (from as f64 + centre(pilot.len()), energy, sum)
        })
    }

    /// Fits one phase line through preamble and unique words and takes it out; returns its phase at the frame's first symbol and
    /// its slope, in rad and rad per symbol.
    fn straighten(&mut self, layout: Layout) -> (f64, f64) {
        let points = self.word_sums(layout).map(|(place, _, sum)| (place, sum));
        let (offset, slope) = phase_line(&points);
        rotate(&mut self.symbols[..self.whole], -offset, -slope);
        (offset, slope)
    }

    /// Least squares on all known symbols, or on the unique words alone: a, b and σ² without bias in |a|² and |b|².
    fn estimate(&self, layout: Layout, unique_words_only: bool) -> Fitted {
        let (mut ca, mut cb, mut cross, mut energy, mut count) =
            (Complex64::default(), Complex64::default(), Complex64::default(), 0.0, 0.0);
        let semantic = &self.words.semantic;
        let sensing = &self.words.sensing;
        let parts =
            [(0, &semantic.preamble, &sensing.preamble), (PREAMBLE_WORD, &semantic.preamble, &sensing.preamble)]
                .into_iter()
                .filter(|_| !unique_words_only)
                .chain(
                    (0..UNIQUE_WORDS)
                        .map(|index| (layout.unique_word(index), &semantic.unique_word, &sensing.unique_word)),
                );
        for (from, word_c, word_0) in parts {
            let part = &self.symbols[from..][..word_c.len()];
            ca += correlate(part, word_c);
            cb += correlate(part, word_0);
            cross += correlate(word_0, word_c);
            energy += part.iter().map(|symbol| f64::from(symbol.norm_sqr())).sum::<f64>();
            count += word_c.len() as f64;
        }
        // Normal equations of unit-modulus words: [n, x; x*, n]·[a; b] = [ca; cb].
        let determinant = count * count - cross.norm_sqr();
        let a = (ca * count - cross * cb) / determinant;
        let b = (cb * count - cross.conj() * ca) / determinant;
        let explained = (a.conj() * ca + b.conj() * cb).re;
        let noise = ((energy - explained) / (count - 2.0)).max(f64::MIN_POSITIVE);
        let variance = noise * count / determinant;
        let shrink = |z: Complex64| z * (1.0 - variance / z.norm_sqr().max(f64::MIN_POSITIVE)).max(0.0).sqrt();
        Fitted { a: shrink(a), b: shrink(b), noise }
    }

    /// Per-antenna gains from the sounding slots.
    fn sound(&mut self, layout: Layout) {
        if layout.sounding == 0 {
            return;
        }
        let antennas = self.config.transmit_antennas;
        for antenna in 0..antennas {
            let (from, slot) = layout.sounding_slot(antenna, antennas);
            let word = &self.words.sounding[..slot - 2 * SOUNDING_GUARD];
            // What all paths bring in the proportion in which the beams' signal comes over them: every further one adds to
            // the gain as far as it does to the link.
            let (mut gain, mut shape) = (Complex64::ZERO, 0.0);
            for (later, tap) in self.equaliser.taps().filter(|(later, _)| later.unsigned_abs() <= SOUNDING_GUARD) {
                if tap == Complex32::ZERO {
                    continue;
                }
                let first = (from + SOUNDING_GUARD).saturating_add_signed(later);
                let tap = Complex64::new(f64::from(tap.re), f64::from(tap.im));
                gain += tap.conj() * correlate(&self.symbols[first..][..word.len()], word) / word.len() as f64;
                shape += tap.norm_sqr();
            }
            let gain = gain / shape.sqrt().max(f64::MIN_POSITIVE);
            self.sounding[antenna] = Complex32::new(gain.re as f32, gain.im as f32);
        }
    }
}

/// Correlation of soft bits with the bits of a word, from -1 to 1.
fn likeness(llrs: &[f32], coded: &[u8]) -> f64 {
    let (mut sum, mut energy) = (0.0, f64::MIN_POSITIVE);
    for (soft, bit) in llrs.iter().zip(coded) {
        let soft = f64::from(*soft);
        sum += if *bit == 0 { soft } else { -soft };
        energy += soft * soft;
    }
    sum / (energy * llrs.len() as f64).sqrt()
}

/// `word` less its projection on `other`, both of unit modulus.
fn without(word: &[Complex32], other: &[Complex32]) -> Vec<Complex32> {
    let shared = correlate(word, other) / other.len() as f64;
    let shared = Complex32::new(shared.re as f32, shared.im as f32);
    word.iter().zip(other).map(|(word, other)| word - shared * other).collect()
}

fn centre(length: usize) -> f64 {
    (length as f64 - 1.0) / 2.0
}

/// The two copies' correlations at a lag between samples: a windowed sinc over the lags at hand.
fn interpolate(sums: &[[Complex64; 2]; LAGS], x: f64) -> [Complex64; 2] {
    use std::f64::consts::PI;
    let half = TIMING_LAGS as f64;
    // From lag to lag the sine of π x changes its sign, and the window's angle by the same step.
    let nearest = x.round();
    let mut sine = (PI * (x - nearest)).sin() * if nearest as i64 % 2 == 0 { 1.0 } else { -1.0 };
    let (mut turned, step) = (Complex64::cis(PI * x / half), Complex64::cis(-PI / half));
    let mut value = [Complex64::default(); 2];
    for (lag, sum) in sums.iter().enumerate() {
        let distance = x - lag as f64;
        if distance.abs() < half {
            let sinc = if distance.abs() < 1e-9 { 1.0 } else { sine / (PI * distance) };
            let weight = sinc * 0.5 * (1.0 + turned.re);
            value[0] += sum[0] * weight;
            value[1] += sum[1] * weight;
        }
        sine = -sine;
        turned *= step;
    }
    value
}

/// Maximum of a smooth function with its peak within a sample of `near`: the vertex of a parabola through three points,
/// then of a narrower one about it.
fn maximise(value: impl Fn(f64) -> f64, near: f64) -> f64 {
    let mut best = near;
    for step in [0.5, 0.1, 0.02] {
        let (before, at, after) = (value(best - step), value(best), value(best + step));
        let curvature = before - 2.0 * at + after;
        if curvature < 0.0 {
            best += step * (0.5 * (before - after) / curvature).clamp(-1.2, 1.2);
        }
    }
    best
}

/// Weighted line through the phases of `points` (position, correlation): offset at position 0 and slope. Phases are
/// unwrapped along a first line that maximises the coherent sum.
fn phase_line(points: &[(f64, Complex64)]) -> (f64, f64) {
    // One pass of unwrapping from point to point, each predicted by the line so far.
    let (mut weight_sum, mut x_sum, mut y_sum, mut xx_sum, mut xy_sum) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let (mut offset, mut slope) = (points[0].1.arg(), 0.0);
    for (index, (x, correlation)) in points.iter().enumerate() {
        let predicted = offset + slope * x;
        let turn = Complex64::cis(-predicted);
        let y = predicted + (correlation * turn).arg();
        let weight = correlation.norm();
        weight_sum += weight;
        x_sum += weight * x;
        y_sum += weight * y;
        xx_sum += weight * x * x;
        xy_sum += weight * x * y;
        let spread = weight_sum * xx_sum - x_sum * x_sum;
        if index > 0 && spread > 0.0 {
            slope = (weight_sum * xy_sum - x_sum * y_sum) / spread;
            offset = (y_sum - slope * x_sum) / weight_sum;
        }
    }
    (offset, slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_line_is_fitted_through_wrapped_phases() {
        let points: Vec<_> = [63.5, 191.5, 527.5, 815.5, 1103.5, 1391.5, 1679.5]
            .iter()
            .map(|x| (*x, Complex64::from_polar(2.0, 3.0 + 0.009 * x)))
            .collect();
        let (offset, slope) = phase_line(&points);
        let turned = (Complex64::cis(offset) - Complex64::cis(3.0)).norm();
        assert!((slope - 0.009).abs() < 1e-9 && turned < 1e-6, "{offset} {slope}");
    }

    #[test]
    fn between_lags_stands_a_sinc_under_a_squared_cosine() {
        for at in [0usize, 7, 12, 24] {
            let mut sums = [[Complex64::ZERO; 2]; LAGS];
            sums[at] = [Complex64::ONE, Complex64::I];
            for x in [7.0, 11.2, 12.0, 12.5, 12.0 + 1e-7, 12.98, 17.0 - 1e-10] {
                let angle = std::f64::consts::PI * (x - at as f64);
                let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
                let inside = (x - at as f64).abs() < TIMING_LAGS as f64;
                let expected = if inside { sinc * (angle / (2.0 * TIMING_LAGS as f64)).cos().powi(2) } else { 0.0 };
                let [first, second] = interpolate(&sums, x);
                assert!((first - expected).norm() < 1e-13 && (second - expected * Complex64::I).norm() < 1e-13);
            }
        }
    }

    #[test]
    fn a_peak_between_samples_is_found() {
        for peak in [-0.49, -0.2, 0.0, 0.37, 0.5] {
            let at = maximise(|x| (0.9 * (x - peak)).cos().powi(2), 0.0);
            assert!((at - peak).abs() < 1e-5, "{at} instead of {peak}");
        }
    }
}
