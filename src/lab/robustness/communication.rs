//! A row of the communication receiver: frames of random bits from one antenna, the impairment, white noise behind it, the
//! receiver as it runs, and the SNR at which one block in a hundred is lost, found by bisection.
//!
//! Es/N0 is that of the signal without the impairment: the noise is added behind it, at the signal's own mean power. A step
//! of the gain is the receiver's own, so there the noise comes before it.

use num_complex::Complex32;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cases::{COMMUNICATION, Case};
use super::{Job, Row, Study};
use crate::Result;
use crate::channel::{Impairments, Noise};
use crate::coding::{BLOCK_CRC, BLOCK_SYMBOLS, BlockCode, BlockScratch};
use crate::dsp::{PulseShaper, Superposer, mean_power, tail_samples};
use crate::modem::constellation::Modulation;
use crate::modem::frame::{BLOCK, BLOCKS, Content, HeaderLength, Layout, PAYLOAD, SENSING_SYMBOLS, assemble};
use crate::modem::header::{FrameHeader, VERSION};
use crate::modem::receiver::{FrameReceiver, ReceiverConfig};
use crate::modem::word::{HeaderWord, WordCode};
use crate::modem::words::Words;
use crate::scene::Scene;

/// Modulation and rate of all blocks.
#[derive(Debug)]
pub struct Format {
    /// For people.
    pub name: &'static str,
    modulation: Modulation,
    /// N_c, the CRC among them.
    information_bits: usize,
    /// Where the search begins, in dB.
    expected_db: f64,
}

/// The two that the table has.
pub const FORMATS: [Format; 2] = [
    Format { name: "16-QAM at 1.73", modulation: Modulation::Qam16, information_bits: 443, expected_db: 5.5 },
    Format { name: "256-QAM at 4.76", modulation: Modulation::Qam256, information_bits: 1219, expected_db: 16.5 },
];

/// The block error rate that is looked for.
const TARGET: f64 = 1e-2;
/// Frames at the beginning that are not counted: impairments find the level of the signal, the receiver the signal.
const WARM_UP: usize = 2;
/// Farthest from the unimpaired receiver that is looked, in dB.
const FARTHEST_DB: f64 = 20.0;
/// The bisection ends at this width, in dB.
const WIDTH_DB: f64 = 0.04;
/// SNR of channels that are drawn.
const DRAWN_DB: f64 = 25.0;
/// Frames of each draw.
const DRAWN_FRAMES: u64 = 12;
/// An SNR without noise to speak of, in dB.
const QUIET_DB: f64 = 90.0;
/// One antenna sends.
const ANTENNAS: usize = 1;
/// Silence behind the last frame, in samples: the receiver waits for a whole frame more.
const SILENCE: usize = 16_384;
/// Samples pushed at a time.
const CHUNK: usize = 3392;

/// Frames of random bits.
pub(super) struct Sent {
    code: BlockCode,
    bits: Vec<Vec<u8>>,
    samples: Vec<Complex32>,
    samples_per_symbol: usize,
    roll_off: f64,
    symbol_rate_hz: f64,
    /// First sample of each frame.
    starts: Vec<u64>,
    /// Whether blocks that are given up are tried again, as the frame receiver does; the table is without.
    pub(super) rescue: bool,
}

impl Sent {
    pub(super) fn new(format: &Format, frames: u64, scene: &Scene, seed: u64) -> Result<Self> {
        let (sps, roll_off) = (scene.waveform.samples_per_symbol, scene.waveform.roll_off);
        let code = BlockCode::new(format.information_bits, BLOCK_SYMBOLS, format.modulation, BLOCK_CRC)?;
        let mut word_code = WordCode::new()?;
        let mut scratch = BlockScratch::default();
        let words = Words::new(ANTENNAS);
        let longest = Layout::longest(ANTENNAS).symbols();
        let (most, tail) = (longest * sps + tail_samples(sps), tail_samples(sps));
        let mut shaper = PulseShaper::new(longest, sps, roll_off);
        let mut superposer = Superposer::new(ANTENNAS, tail);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let modulation = Modulation::ALL.iter().position(|known| *known == format.modulation).unwrap_or(0);
        let mut symbols = [0; 3].map(|_| vec![Complex32::default(); longest]);
        let mut shaped = vec![Complex32::default(); most];
        let mut sounding = vec![Complex32::default(); most];
        let silent = vec![Complex32::default(); most];
        let one = [Complex32::ONE, Complex32::default()];
        let (mut bits, mut samples, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..frames {
            let header = FrameHeader {
                version: VERSION,
                number,
                payload_bits: code.information_bits() as u16,
                payload_modulation: modulation as u8,
                protected_bits: code.information_bits() as u16,
                protected_modulation: modulation as u8,
                used_blocks: BLOCKS as u8,
                ..FrameHeader::default()
            };
            let layout = Layout::of(number, ANTENNAS, HeaderLength::at(format.expected_db));
            let mut coded = vec![0; 2 * layout.header_symbols()];
            word_code.encode(&HeaderWord::of(&header), layout.header_length, &mut coded);
            let mut header = vec![Complex32::default(); layout.header_symbols()];
            Modulation::Qpsk.map(&coded, &mut header);
            let mut payload = vec![Complex32::default(); PAYLOAD];
            for symbols in payload.chunks_exact_mut(BLOCK) {
                let block: Vec<u8> = (0..code.payload_bits()).map(|_| u8::from(random.random::<bool>())).collect();
                let mut coded = vec![0; code.coded_bits()];
                code.modulate(&block, &mut coded, symbols, &mut scratch);
                bits.push(block);
            }
            let sensing = vec![Complex32::default(); SENSING_SYMBOLS];
            let content = Content { header: &header, payload: &payload, sensing: &sensing };
            let [s_c, s_0, sound] = &mut symbols;
            assemble(layout, ANTENNAS, &words, content, [s_c, s_0, sound]);
            let length = layout.symbols() * sps + tail;
            shaper.shape(&symbols[0][..layout.symbols()], &mut shaped[..length]);
            shaper.shape(&symbols[2][..layout.symbols()], &mut sounding[..length]);
            starts.push(samples.len() as u64);
            let from = samples.len();
            samples.resize(from + layout.symbols() * sps, Complex32::default());
            let sound = |frame: &mut [Complex32]| {
                if layout.sounding > 0 {
                    frame.iter_mut().zip(&sounding).for_each(|(sample, sound)| *sample += sound);
                }
            };
            superposer.antenna(0, &shaped[..length], &silent[..length], one, sound, &mut samples[from..]);
        }
        let from = samples.len();
        samples.resize(from + tail, Complex32::default());
        superposer.flush(0, &mut samples[from..]);
        Ok(Self {
            code,
            bits,
            samples,
            samples_per_symbol: sps,
            roll_off,
            symbol_rate_hz: scene.waveform.bandwidth_hz,
            starts,
            rescue: false,
        })
    }

    /// The samples behind a scene's impairments, at the power that they had; silence follows.
    pub(super) fn impaired(&self, scene: &Scene, seed: u64) -> Vec<Complex32> {
        let mut samples = self.samples.clone();
        if steps_of(scene).is_some() {
            samples.resize(samples.len() + SILENCE, Complex32::default());
            return samples;
        }
        let power = mean_power(&samples);
        self.impair(scene, &mut samples, seed);
        // What adds or takes power by itself keeps it; a channel is as strong as it was in the mean.
        if scene.impairments.iter().any(|impairment| impairment.kind.name == "paths") {
            let factor = (power / mean_power(&samples)).sqrt() as f32;
            samples.iter_mut().for_each(|sample| *sample *= factor);
        }
        samples.resize(samples.len() + SILENCE, Complex32::default());
        samples
    }

    /// Does to samples that begin where the frames do what a scene's impairments do; filters add their delay.
    fn impair(&self, scene: &Scene, samples: &mut Vec<Complex32>, seed: u64) {
        let mut impairments = Impairments::of_receiver(scene, "communication-receiver", 1, seed);
        samples.resize(samples.len() + impairments.lag(), Complex32::default());
        for (number, pair) in (0..).zip(self.starts.windows(2)) {
            impairments.begin_frame(number, pair[0]);
            impairments.apply(&mut [&mut samples[pair[0] as usize..pair[1] as usize]]);
        }
        let last = self.starts[self.starts.len() - 1];
        impairments.begin_frame(self.starts.len() as u64 - 1, last);
        impairments.apply(&mut [&mut samples[last as usize..]]);
    }

    /// What the receiver makes of samples and white noise, which comes before the gain steps of `steps`, if there are any.
    pub(super) fn receive(
        &self,
        samples: &[Complex32],
        steps: Option<&Scene>,
        snr_db: f64,
        seed: u64,
    ) -> Result<Counts> {
        let variance = mean_power(&self.samples) * self.samples_per_symbol as f64 * 10f64.powf(-snr_db / 10.0);
        let noise = Noise::new(seed, 0x0b, variance);
        let config = ReceiverConfig {
            symbol_rate_hz: self.symbol_rate_hz,
            samples_per_symbol: self.samples_per_symbol,
            roll_off: self.roll_off,
            transmit_antennas: ANTENNAS,
        };
        let mut receiver = FrameReceiver::new(config, CHUNK)?;
        let mut scratch = if self.rescue { BlockScratch::with_rescue() } else { BlockScratch::default() };
        let frames = self.starts.len();
        let mut right = vec![false; frames * BLOCKS];
        let mut counts = Counts { blocks: ((frames - WARM_UP) * BLOCKS) as u64, ..Counts::default() };
        let mut words = vec![0; BLOCKS * self.code.information_bits()];
        let mut noisy = samples.to_vec();
        for (index, chunk) in noisy.chunks_mut(CHUNK).enumerate() {
            noise.add(index as u64, chunk);
        }
        if let Some(scene) = steps {
            self.impair(scene, &mut noisy, seed);
        }
        let mut take = |receiver: &mut FrameReceiver, last: bool, counts: &mut Counts| {
            while let Some(status) = receiver.next_frame(last) {
                let decoded = receiver.decode(&status, &self.code, &mut words, &mut scratch);
                for (block, word) in words.chunks_exact(self.code.information_bits()).enumerate() {
                    if !decoded[block] {
                        continue;
                    }
                    let place = usize::try_from(status.number).ok().map(|number| number * BLOCKS + block);
                    match place.and_then(|place| self.bits.get(place)) {
                        Some(sent) if *sent == word[..self.code.payload_bits()] => right[place.unwrap_or(0)] = true,
                        _ => counts.wrong += 1,
                    }
                }
                counts.sinrs.push(status.sinr);
            }
        };
        for (index, chunk) in noisy.chunks(CHUNK).enumerate() {
            receiver.push((index * CHUNK) as u64, chunk);
            take(&mut receiver, false, &mut counts);
        }
        take(&mut receiver, true, &mut counts);
        counts.lost = right[WARM_UP * BLOCKS..].iter().filter(|right| !**right).count() as u64;
        Ok(counts)
    }
}

/// The scene whose impairments are steps of the receiver's own gain.
pub(super) fn steps_of(scene: &Scene) -> Option<&Scene> {
    let steps = |scene: &&Scene| scene.impairments.iter().any(|impairment| impairment.kind.name == "gain-step");
    Some(scene).filter(steps)
}

/// What came of one run.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) blocks: u64,
    pub(super) lost: u64,
    pub(super) wrong: u64,
    sinrs: Vec<f64>,
}

impl Counts {
    fn rate(&self) -> f64 {
        self.lost as f64 / self.blocks as f64
    }

    /// The median of the reported SINRs, in dB.
    fn sinr_db(&mut self) -> Option<f64> {
        self.sinrs.sort_unstable_by(f64::total_cmp);
        crate::lab::decibel(*self.sinrs.get(self.sinrs.len() / 2)?)
    }
}

/// The receiver without impairments, for each format that is measured.
pub struct Bases(Vec<Option<Base>>);

struct Base {
    sent: Sent,
    needed_db: f64,
    wrong: u64,
}

impl Bases {
    pub(super) fn measure(study: &Study, jobs: &[Job]) -> Result<Self> {
        let wanted = |format: &Format| {
            jobs.iter().any(|job| matches!(job, Job::Communication(_, other) if other.name == format.name))
        };
        let base = |format: &Format| {
            if !wanted(format) {
                return Ok(None);
            }
            let scene = COMMUNICATION[0].scene("communication-receiver")?;
            let sent = Sent::new(format, study.frames.max(WARM_UP as u64 + 2), &scene, study.seed)?;
            let samples = sent.impaired(&scene, study.seed);
            let mut search =
                Search { sent: &sent, samples: &samples, steps: None, seed: study.seed, wrong: 0, known: Vec::new() };
            let needed = search.needed_db(format.expected_db - 0.5, format.expected_db + 0.5, FARTHEST_DB)?;
            let needed_db =
                needed.ok_or_else(|| crate::Error::internal("the receiver without impairments loses blocks"))?;
            let wrong = search.wrong;
            Ok(Some(Base { sent, needed_db, wrong }))
        };
        Ok(Self(FORMATS.iter().map(base).collect::<Result<_>>()?))
    }
}

/// The search for the SNR at which [`TARGET`] is met.
struct Search<'a> {
    sent: &'a Sent,
    samples: &'a [Complex32],
    steps: Option<&'a Scene>,
    seed: u64,
    wrong: u64,
    known: Vec<(f64, f64)>,
}

impl Search<'_> {
    fn rate(&mut self, snr_db: f64) -> Result<f64> {
        if let Some((_, rate)) = self.known.iter().find(|(known, _)| *known == snr_db) {
            return Ok(*rate);
        }
        let counts = self.sent.receive(self.samples, self.steps, snr_db, self.seed)?;
        self.wrong += counts.wrong;
        self.known.push((snr_db, counts.rate()));
        Ok(counts.rate())
    }

    /// Es/N0 for [`TARGET`], begun between two guesses; none where not even `farthest` dB above the first is enough.
    fn needed_db(&mut self, low: f64, high: f64, farthest: f64) -> Result<Option<f64>> {
        let (mut low, mut high, begin) = (low, high, low);
        while self.rate(low)? <= TARGET {
            high = low;
            low -= 1.0;
            if begin - low > farthest {
                return Ok(Some(low));
            }
        }
        while self.rate(high)? > TARGET {
            low = high;
            high += 0.4 + 0.6 * (high - begin);
            if high - begin > farthest {
                return Ok(None);
            }
        }
        while high - low > WIDTH_DB {
            let middle = 0.5 * (low + high);
            if self.rate(middle)? > TARGET { low = middle } else { high = middle }
        }
        // Between two points the logarithm of the rate goes straight; a rate of 0 stands for half a block.
        let least = 0.5 / (self.sent.bits.len() as f64);
        let (above, below) = (self.rate(low)?.max(least).ln(), self.rate(high)?.max(least).ln());
        let part = if above > below { (above - TARGET.ln()) / (above - below) } else { 1.0 };
        Ok(Some(low + (high - low) * part.clamp(0.0, 1.0)))
    }
}

/// Measures one row.
pub fn measure(case: &Case, format: &Format, bases: &Bases, study: &Study) -> Result<Row> {
    let place = FORMATS.iter().position(|known| known.name == format.name).unwrap_or(0);
    let base = bases.0[place].as_ref().ok_or_else(|| crate::Error::internal("this format was not measured"))?;
    let mut row = Row {
        name: case.name.to_owned(),
        receiver: "communication".into(),
        modulation: Some(format.name.into()),
        level: case.level.to_owned(),
        ..Row::default()
    };
    let scene = case.scene("communication-receiver")?;
    if case.draws > 0 {
        let sent = Sent::new(format, DRAWN_FRAMES, &scene, study.seed)?;
        let mut counts = Counts::default();
        for draw in 0..case.draws {
            let own_seed = study.seed.wrapping_mul(1000) + draw;
            let samples = sent.impaired(&scene, own_seed);
            let one = sent.receive(&samples, None, DRAWN_DB, own_seed)?;
            counts.blocks += one.blocks;
            counts.lost += one.lost;
            counts.wrong += one.wrong;
        }
        (row.floor, row.wrong_blocks) = (Some(counts.rate()), Some(counts.wrong));
        return Ok(row);
    }
    let sent = &base.sent;
    let samples = sent.impaired(&scene, study.seed);
    let steps = steps_of(&scene);
    let quiet = sent.receive(&samples, steps, QUIET_DB, study.seed)?;
    let mut search = Search { sent, samples: &samples, steps, seed: study.seed, wrong: quiet.wrong, known: Vec::new() };
    let is_base = case.entry.is_empty();
    if is_base {
        row.loss_db = Some(base.needed_db);
        search.wrong += base.wrong;
    } else if quiet.rate() <= TARGET {
        let needed = search.needed_db(base.needed_db - 0.1, base.needed_db + 0.3, FARTHEST_DB)?;
        row.loss_db = needed.map(|needed| needed - base.needed_db);
    }
    let above = sent.receive(&samples, steps, base.needed_db + 3.0, study.seed)?;
    row.floor = Some(quiet.rate());
    row.lost_3_db = Some(above.rate());
    // Where as many blocks are lost as by the receiver without the impairment at its threshold, the SINR is as good.
    if let Some(loss_db) = row.loss_db {
        let at_db = if is_base { base.needed_db } else { base.needed_db + loss_db };
        let mut there = sent.receive(&samples, steps, at_db, study.seed)?;
        row.sinr_excess_db = there.sinr_db().map(|sinr_db| sinr_db - base.needed_db);
    }
    row.wrong_blocks = Some(search.wrong + above.wrong);
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_from_outside_costs_what_it_adds_to_the_receivers_own() {
        // Bursts without an end are white noise of a tenth of the signal's power in each sample.
        let case = Case {
            name: "bursts",
            level: "",
            entry: "db = -10.0\nlength = 3000\nperiod = 3000",
            row: None,
            draws: 0,
            array: "",
        };
        let study = Study { frames: 40, seed: 1, ..Study::default() };
        let format = &FORMATS[0];
        let jobs = [Job::Communication(&COMMUNICATION[0], format)];
        let bases = Bases::measure(&study, &jobs).unwrap();
        let needed_db = bases.0[0].as_ref().unwrap().needed_db;
        let row = measure(&case, format, &bases, &study).unwrap();
        let own = 2.0 * 10f64.powf(-needed_db / 10.0);
        let expected = 10.0 * (own / (own - 0.1)).log10();
        // 152 blocks, of which one and a half are lost at the threshold: it scatters by a tenth of a decibel or two.
        assert!((row.loss_db.unwrap() - expected).abs() < 0.35, "{row:?}, expected {expected}");
        assert_eq!((row.floor, row.wrong_blocks), (Some(0.0), Some(0)));
        // White noise is what the receiver's estimate of its SINR is made for.
        assert!(row.sinr_excess_db.unwrap().abs() < 0.5, "{row:?}");
        assert_eq!(row.loss_db, measure(&case, format, &bases, &study).unwrap().loss_db);
    }
}
