//! A transmitter and its air from the library's kernels, for tests and benchmarks of the waveform.
#![allow(dead_code)]

pub mod bench;
pub mod impair;

use issc::channel::{DirectPath, DirectPathSettings};
use issc::coding::{BLOCK_CRC, BLOCK_SYMBOLS, BlockCode, BlockScratch};
use issc::dsp::{PulseShaper, Superposer, tail_samples};
use issc::modem::constellation::Modulation;
use issc::modem::frame::{BLOCK, BLOCKS, Content, HeaderLength, Layout, PAYLOAD, SENSING_SYMBOLS, assemble};
use issc::modem::header::{FrameHeader, VERSION};
use issc::modem::receiver::{FrameReceiver, FrameStatus, ReceiverConfig, SensingStream};
use issc::modem::word::{HeaderWord, WordCode};
use issc::modem::words::{SensingSequence, Words};
use nalgebra::DVector;
use num_complex::{Complex32, Complex64};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

pub const ANTENNAS: usize = 4;
pub const SPS: usize = 2;
pub const ROLL_OFF: f64 = 0.25;

/// Frames of random payload bits on four antennas.
pub struct Transmitter {
    pub words: Words,
    pub code: BlockCode,
    /// w_c and w_0 of each antenna.
    pub beams: Vec<[Complex32; 2]>,
    /// How long headers are.
    pub header_length: HeaderLength,
    word_code: WordCode,
    scratch: BlockScratch,
    shaper: PulseShaper,
    superposer: Superposer,
    shaped: Vec<Vec<Complex32>>,
    symbols: Vec<Vec<Complex32>>,
    seed: u64,
}

impl Transmitter {
    pub fn new(beams: Vec<[Complex32; 2]>, information_bits: usize, seed: u64) -> Self {
        let code = BlockCode::new(information_bits, BLOCK_SYMBOLS, Modulation::Qpsk, BLOCK_CRC).unwrap();
        Self::with_code(beams, code, seed)
    }

    /// The same with any code for the payload.
    pub fn with_code(beams: Vec<[Complex32; 2]>, code: BlockCode, seed: u64) -> Self {
        let longest = Layout::longest(ANTENNAS).symbols();
        let samples = longest * SPS + tail_samples(SPS);
        Self {
            words: Words::new(ANTENNAS),
            code,
            beams,
            header_length: HeaderLength::Short,
            word_code: WordCode::new().unwrap(),
            scratch: BlockScratch::default(),
            shaper: PulseShaper::new(longest, SPS, ROLL_OFF),
            superposer: Superposer::new(ANTENNAS, tail_samples(SPS)),
            shaped: vec![vec![Complex32::ZERO; samples]; 3],
            symbols: vec![vec![Complex32::ZERO; longest]; 3],
            seed,
        }
    }

    /// Tr Σ.
    pub fn power(&self) -> f32 {
        self.beams.iter().flatten().map(Complex32::norm_sqr).sum()
    }

    /// What s_0 follows from.
    pub fn sensing_sequence(&self) -> SensingSequence {
        SensingSequence { seed: self.seed as u16, probing_bits: None }
    }

    /// The bits of a block, CRC not included.
    pub fn bits(&self, number: u64, block: usize) -> Vec<u8> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.seed << 32 | number << 2 | block as u64);
        (0..self.code.payload_bits()).map(|_| u8::from(random.random::<bool>())).collect()
    }

    /// Header, payload and sensing symbols of frame `number` in their places: rows s_c, s_0 and sounding.
    pub fn assemble(&mut self, number: u64) -> Layout {
        let header = FrameHeader {
            version: VERSION,
            number,
            payload_bits: self.code.information_bits() as u16,
            used_blocks: BLOCKS as u8,
            ..FrameHeader::default()
        };
        let layout = Layout::of(number, ANTENNAS, self.header_length);
        let mut coded = vec![0; 2 * layout.header_symbols()];
        self.word_code.encode(&HeaderWord::of(&header), self.header_length, &mut coded);
        let mut header = vec![Complex32::ZERO; layout.header_symbols()];
        Modulation::Qpsk.map(&coded, &mut header);
        let mut payload = vec![Complex32::ZERO; PAYLOAD];
        for (block, symbols) in payload.chunks_exact_mut(BLOCK).enumerate() {
            let bits = self.bits(number, block);
            let mut coded = vec![0; self.code.coded_bits()];
            self.code.modulate(&bits, &mut coded, symbols, &mut self.scratch);
        }
        let mut sensing = vec![Complex32::ZERO; SENSING_SYMBOLS];
        self.sensing_sequence().write(number, &mut sensing);
        let content = Content { header: &header, payload: &payload, sensing: &sensing };
        let [s_c, s_0, sounding] = &mut self.symbols[..] else { unreachable!() };
        assemble(layout, ANTENNAS, &self.words, content, [s_c, s_0, sounding]);
        layout
    }

    /// Shapes and superposes the assembled frame into `antennas`, rows of `SPS·layout.symbols()` samples.
    pub fn transmit(&mut self, layout: Layout, antennas: &mut [Vec<Complex32>]) {
        let (count, tail) = (layout.symbols(), tail_samples(SPS));
        let length = SPS * count + tail;
        for (symbols, shaped) in self.symbols.iter().zip(&mut self.shaped) {
            self.shaper.shape(&symbols[..count], &mut shaped[..length]);
        }
        let amplitude = self.power().sqrt();
        for (antenna, row) in antennas.iter_mut().enumerate() {
            let sounding = &self.shaped[2];
            let sound = |samples: &mut [Complex32]| {
                if layout.sounding > 0 {
                    let (start, slot) = layout.sounding_slot(antenna, ANTENNAS);
                    let range = start * SPS + tail / 2..(start + slot) * SPS + tail / 2;
                    for (sample, value) in samples[range.clone()].iter_mut().zip(&sounding[range]) {
                        *sample += amplitude * value;
                    }
                }
            };
            row.resize(SPS * count, Complex32::ZERO);
            let (s_c, s_0) = (&self.shaped[0][..length], &self.shaped[1][..length]);
            self.superposer.antenna(antenna, s_c, s_0, self.beams[antenna], sound, row);
        }
    }
}

/// A link: what the air does to the signal of one transmitter.
#[derive(Clone)]
pub struct Link {
    pub symbol_rate_hz: f64,
    pub carrier_offset_hz: f64,
    /// σ_n² against unit |h_n|.
    pub noise_variance: f64,
    pub seed: u64,
}

/// The unit-modulus channel of a plane wave.
pub fn channel() -> DVector<Complex64> {
    DVector::from_fn(ANTENNAS, |n, _| Complex64::cis(1.1 * n as f64))
}

/// Beams with h^H w_c = a and h^H w_0 = b; the rest of w_0's power, `hidden`, is orthogonal to the channel.
pub fn beams(a: f32, b: f32, hidden: f32) -> Vec<[Complex32; 2]> {
    let h = channel();
    (0..ANTENNAS)
        .map(|n| {
            let entry = Complex32::new(h[n].re as f32, h[n].im as f32);
            let along = entry / ANTENNAS as f32;
            let sign = if n % 2 == 0 { 1.0 } else { -1.0 };
            [along * a, along * b + entry * (sign * hidden / (ANTENNAS as f32).sqrt())]
        })
        .collect()
}

/// What the receiver made of one frame.
pub struct Received {
    pub status: FrameStatus,
    pub blocks_right: usize,
    /// Blocks that pass their check and are not what was sent.
    pub blocks_wrong: usize,
    pub sounding: Vec<Complex32>,
    pub blocks: Vec<Vec<Complex32>>,
}

impl Link {
    pub fn receiver(&self, chunk: usize) -> FrameReceiver {
        let config = ReceiverConfig {
            symbol_rate_hz: self.symbol_rate_hz,
            samples_per_symbol: SPS,
            roll_off: ROLL_OFF,
            transmit_antennas: ANTENNAS,
        };
        FrameReceiver::new(config, chunk).unwrap()
    }

    pub fn path(&self, chunk: usize) -> DirectPath {
        let settings = DirectPathSettings {
            channel: channel(),
            delay_s: 120e-9,
            sample_rate_hz: SPS as f64 * self.symbol_rate_hz,
            carrier_offset_hz: self.carrier_offset_hz,
            noise_variance: SPS as f64 * self.noise_variance,
            seed: self.seed,
        };
        DirectPath::new(&settings, chunk)
    }

    /// Sends frames `numbers` and returns all samples of the receiver.
    pub fn samples(&self, transmitter: &mut Transmitter, numbers: std::ops::Range<u64>) -> Vec<Complex32> {
        let mut path = self.path(SPS * Layout::longest(ANTENNAS).symbols());
        let mut antennas = vec![Vec::new(); ANTENNAS];
        let mut all = Vec::new();
        let mut chunk = 0;
        for number in numbers {
            let layout = transmitter.assemble(number);
            transmitter.transmit(layout, &mut antennas);
            let mut output = vec![Complex32::ZERO; antennas[0].len()];
            path.receive(chunk, antennas.iter().map(|row| &row[..]), &mut output);
            all.extend(output);
            chunk += 1;
        }
        for end in 0..3 {
            // The last pulses' tails, then silence until all has arrived.
            for (antenna, row) in antennas.iter_mut().enumerate() {
                row.clear();
                row.resize(2000, Complex32::ZERO);
                if end == 0 {
                    transmitter.superposer.flush(antenna, row);
                }
            }
            let mut output = vec![Complex32::ZERO; 2000];
            path.receive(chunk, antennas.iter().map(|row| &row[..]), &mut output);
            all.extend(output);
            chunk += 1;
        }
        all
    }

    /// Sends frames `numbers` and gives back what the receiver made of them, pushed frame by frame.
    pub fn run(&self, transmitter: &mut Transmitter, numbers: std::ops::Range<u64>) -> Vec<Received> {
        let samples = self.samples(transmitter, numbers);
        self.receive(transmitter, &[(0, &samples)], 3392)
    }

    /// As [`Self::run`], by a receiver that treats s_0 in this way.
    pub fn run_with(
        &self,
        sensing: SensingStream,
        transmitter: &mut Transmitter,
        numbers: std::ops::Range<u64>,
    ) -> Vec<Received> {
        let samples = self.samples(transmitter, numbers);
        let receiver = self.receiver(3392).with_sensing(sensing);
        Self::collect(receiver, transmitter, &[(0, &samples)], 3392)
    }

    /// Pushes stretches of samples, each with the time of its first, in chunks and collects the frames.
    pub fn receive(&self, transmitter: &Transmitter, parts: &[(u64, &[Complex32])], chunk: usize) -> Vec<Received> {
        Self::collect(self.receiver(chunk), transmitter, parts, chunk)
    }

    fn collect(
        mut receiver: FrameReceiver,
        transmitter: &Transmitter,
        parts: &[(u64, &[Complex32])],
        chunk: usize,
    ) -> Vec<Received> {
        let (mut frames, mut scratch) = (Vec::new(), BlockScratch::default());
        let mut take = |receiver: &mut FrameReceiver, last: bool| {
            while let Some(status) = receiver.next_frame(last) {
                frames.push(read(transmitter, receiver, status, &mut scratch));
            }
        };
        for (time, samples) in parts {
            for (index, part) in samples.chunks(chunk).enumerate() {
                receiver.push(time + (index * chunk) as u64, part);
                take(&mut receiver, false);
            }
        }
        take(&mut receiver, true);
        frames
    }
}

/// Decodes the frame that the receiver returned last and counts the blocks that are right.
pub fn read(
    transmitter: &Transmitter,
    receiver: &mut FrameReceiver,
    status: FrameStatus,
    scratch: &mut BlockScratch,
) -> Received {
    let code = &transmitter.code;
    let mut words = vec![0; BLOCKS * code.information_bits()];
    let decoded = receiver.decode(&status, code, &mut words, scratch);
    let (mut blocks_right, mut blocks_wrong) = (0, 0);
    for (block, word) in words.chunks_exact(code.information_bits()).enumerate().filter(|(block, _)| decoded[*block]) {
        let right = word[..code.payload_bits()] == transmitter.bits(status.number, block);
        blocks_right += usize::from(right);
        blocks_wrong += usize::from(!right);
    }
    Received {
        blocks_right,
        blocks_wrong,
        sounding: receiver.sounding().to_vec(),
        blocks: (0..BLOCKS).map(|block| receiver.block(block).to_vec()).collect(),
        status,
    }
}
