//! The frame modem: bits of payload blocks ↔ samples, with headers, known words and soundings as on the air.

use std::sync::{Mutex, PoisonError};

use issc::array::Beams;
use issc::coding::{BLOCK_CRC, BLOCK_SYMBOLS, BlockCode, BlockFormat, BlockScratch, planned_format};
use issc::dsp::{PulseShaper, Superposer, tail_samples};
use issc::modem::constellation::Modulation;
use issc::modem::frame::{BLOCK, BLOCKS, Content, HeaderLength, Layout, PAYLOAD, SENSING_SYMBOLS, assemble};
use issc::modem::header::{FrameHeader, VERSION};
use issc::modem::receiver::{FrameReceiver, ReceiverConfig};
use issc::modem::word::{HeaderWord, WordCode};
use issc::modem::words::{SensingSequence, Words};
use num_complex::{Complex32, Complex64};
use numpy::{AllowTypeChange, PyArray1, PyArray2, PyArrayLike1, PyArrayLike3};
use pyo3::prelude::*;

use crate::arrays::{Weights, beams, matrix, vector};
use crate::error::{OrRaise, wrong};
use crate::scene::Scene;

/// Samples that a receiver takes at a time.
const CHUNK: usize = 3392;

/// Silence behind the last sample: the receiver waits for a whole frame more.
const SILENCE: usize = 16_384;

/// Frames on the air: bits of payload blocks ↔ samples.
///
/// A frame has 4 blocks of 256 symbols, of `information_bits` bits each, 16 of them the CRC. Modulation and shaping are
/// those planned for so many bits unless they are named. header: short or long. seed: of the sensing stream.
///
/// >>> modem = FrameModem(Scene.load("paper"), 443)
/// >>> samples = modem.modulate(bits, plan.w_c, plan.w_0)     # bits [frames, 4, modem.payload_bits]
/// >>> frames = modem.demodulate(received)                    # received [samples]
#[pyclass(module = "issc", frozen)]
pub struct FrameModem {
    code: BlockCode,
    header_length: HeaderLength,
    antennas: usize,
    samples_per_symbol: usize,
    roll_off: f64,
    symbol_rate_hz: f64,
    seed: u64,
    scratch: Mutex<BlockScratch>,
}

/// One frame as the receiver read it.
#[pyclass(module = "issc", frozen, get_all)]
pub struct ReceivedFrame {
    /// Its number.
    number: u64,
    /// Payload bits [4, payload_bits], uint8, the best guess where a block was not decoded.
    bits: Py<PyArray2<u8>>,
    /// Whether each block was decoded [4], bool.
    decoded: Py<PyArray1<bool>>,
    /// Equalised unit-gain symbols [4, 256], complex64.
    symbols: Py<PyArray2<Complex32>>,
    /// Measured SINR of the payload, dB.
    sinr_db: f64,
    /// Carrier offset, Hz.
    carrier_offset_hz: f64,
    /// The sample at or before which its first pulse begins.
    start_sample: u64,
    /// Conjugated entries of h_c times the sounding's amplitude [N_T], complex64; None in a frame without a sounding.
    sounding: Option<Py<PyArray1<Complex32>>>,
}

#[pymethods]
impl FrameModem {
    #[new]
    #[pyo3(signature = (scene, information_bits, *, modulation = None, shaped = None, header = "short", seed = 1))]
    fn new(
        scene: &Scene,
        information_bits: usize,
        modulation: Option<&str>,
        shaped: Option<bool>,
        header: &str,
        seed: u64,
    ) -> PyResult<Self> {
        let scene = scene.inner();
        let planned = planned_format(information_bits);
        let format = BlockFormat {
            information_bits,
            modulation: match modulation {
                Some(name) => name.parse().map_err(|error| wrong(format!("modulation: {error}")))?,
                None => planned.modulation,
            },
            shaped: shaped.unwrap_or(planned.shaped),
        };
        let header_length = match header {
            "short" => HeaderLength::Short,
            "long" => HeaderLength::Long,
            other => return Err(wrong(format!("header: found {other}; accepted: short, long"))),
        };
        scene.check_air().map_err(wrong)?;
        Ok(Self {
            code: format.code(BLOCK_SYMBOLS, BLOCK_CRC).or_raise()?,
            header_length,
            antennas: scene.array.transmit_antennas,
            samples_per_symbol: scene.waveform.samples_per_symbol,
            roll_off: scene.waveform.roll_off,
            symbol_rate_hz: scene.waveform.bandwidth_hz,
            seed,
            scratch: Mutex::default(),
        })
    }

    /// Bits of a block that a user may fill.
    #[getter]
    fn payload_bits(&self) -> usize {
        self.code.payload_bits()
    }

    /// Samples of frame `number`: every 64th frame sounds the antennas and is longer.
    #[pyo3(signature = (number = 1))]
    fn frame_samples(&self, number: u64) -> usize {
        self.layout(number).symbols() * self.samples_per_symbol
    }

    /// Samples [N_T, n], complex64, √W, of frames of bits [frames, 4, payload_bits], 0 or 1, sent by the beams w_c and
    /// w_0 [N_T], √W. `first` is the number of the first frame. The last frame's pulses end behind it, n has room for them.
    #[pyo3(signature = (bits, w_c, w_0, *, first = 0))]
    fn modulate<'py>(
        &self,
        py: Python<'py>,
        bits: PyArrayLike3<'py, u8, AllowTypeChange>,
        w_c: Weights<'py>,
        w_0: Weights<'py>,
        first: u64,
    ) -> PyResult<Bound<'py, PyArray2<Complex32>>> {
        let beams = beams(&w_c, &w_0, self.antennas)?;
        let bits = bits.as_array();
        let payload = self.payload_bits();
        let (frames, blocks, found) = bits.dim();
        if blocks != BLOCKS || found != payload {
            return Err(wrong(format!(
                "bits: found shape {frames}×{blocks}×{found}; accepted: frames × 4 × {payload}"
            )));
        }
        if first > 1 << 40 {
            return Err(wrong(format!("first: found {first}; accepted: up to {}", 1u64 << 40)));
        }
        let bits: Vec<u8> = bits.iter().copied().collect();
        if bits.iter().any(|bit| *bit > 1) {
            return Err(wrong("bits: found a number that is no bit; accepted: 0 and 1"));
        }
        let samples = py.detach(|| self.send(&bits, &beams, first)).or_raise()?;
        let count = samples.len() / self.antennas;
        matrix(py, samples, [self.antennas, count])
    }

    /// The frames in samples [n], complex64, of one receiving antenna, as far as their headers can be read. Codes are this
    /// modem's. `chunk` samples are taken at a time.
    fn demodulate(
        &self,
        py: Python<'_>,
        samples: PyArrayLike1<'_, Complex32, AllowTypeChange>,
    ) -> PyResult<Vec<ReceivedFrame>> {
        let samples: Vec<Complex32> = samples.as_array().iter().copied().collect();
        let frames = py.detach(|| self.receive(samples)).or_raise()?;
        frames
            .into_iter()
            .map(|frame| {
                Ok(ReceivedFrame {
                    number: frame.number,
                    bits: matrix(py, frame.bits, [BLOCKS, self.payload_bits()])?.unbind(),
                    decoded: vector(py, frame.decoded).unbind(),
                    symbols: matrix(py, frame.symbols, [BLOCKS, BLOCK])?.unbind(),
                    sinr_db: 10.0 * frame.sinr.log10(),
                    carrier_offset_hz: frame.carrier_offset_hz,
                    start_sample: frame.start_sample,
                    sounding: frame.sounding.map(|gains| vector(py, gains).unbind()),
                })
            })
            .collect()
    }
}

/// A frame before it is Python's.
struct Read {
    number: u64,
    bits: Vec<u8>,
    decoded: Vec<bool>,
    symbols: Vec<Complex32>,
    sinr: f64,
    carrier_offset_hz: f64,
    start_sample: u64,
    sounding: Option<Vec<Complex32>>,
}

impl FrameModem {
    fn layout(&self, number: u64) -> Layout {
        Layout::of(number, self.antennas, self.header_length)
    }

    fn header(&self, number: u64) -> FrameHeader {
        let modulation = Modulation::ALL.iter().position(|known| *known == self.code.modulation()).unwrap_or(0) as u8;
        let bits = self.code.information_bits() as u16;
        FrameHeader {
            version: VERSION,
            number,
            payload_bits: bits,
            payload_modulation: modulation,
            payload_shaped: self.code.is_shaped(),
            protected_bits: bits,
            protected_modulation: modulation,
            protected_shaped: self.code.is_shaped(),
            used_blocks: BLOCKS as u8,
            ..FrameHeader::default()
        }
    }

    /// Samples of all antennas, one after the other.
    fn send(&self, bits: &[u8], beams: &Beams, first: u64) -> issc::Result<Vec<Complex32>> {
        let (sps, tail) = (self.samples_per_symbol, tail_samples(self.samples_per_symbol));
        let longest = Layout::longest(self.antennas).symbols();
        let mut word_code = WordCode::new()?;
        let words = Words::new(self.antennas);
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shaper = PulseShaper::new(longest, sps, self.roll_off);
        let mut superposer = Superposer::new(self.antennas, tail);
        let sequence = SensingSequence { seed: self.seed as u16, ..SensingSequence::default() };
        let mut symbols = [0; 3].map(|_| vec![Complex32::default(); longest]);
        let mut shaped = [0; 3].map(|_| vec![Complex32::default(); longest * sps + tail]);
        let mut rows = vec![Vec::new(); self.antennas];
        let amplitude = beams.power_w().sqrt() as f32;
        for (number, frame) in (first..).zip(bits.chunks_exact(BLOCKS * self.code.payload_bits())) {
            let layout = self.layout(number);
            let mut coded = vec![0; 2 * layout.header_symbols()];
            word_code.encode(&HeaderWord::of(&self.header(number)), layout.header_length, &mut coded);
            let mut header = vec![Complex32::default(); layout.header_symbols()];
            Modulation::Qpsk.map(&coded, &mut header);
            let mut payload = vec![Complex32::default(); PAYLOAD];
            let mut coded = vec![0; self.code.coded_bits()];
            for (bits, symbols) in frame.chunks_exact(self.code.payload_bits()).zip(payload.chunks_exact_mut(BLOCK)) {
                self.code.modulate(bits, &mut coded, symbols, &mut scratch);
            }
            let mut sensing = vec![Complex32::default(); SENSING_SYMBOLS];
            sequence.write(number, &mut sensing);
            let content = Content { header: &header, payload: &payload, sensing: &sensing };
            let [s_c, s_0, sound] = &mut symbols;
            assemble(layout, self.antennas, &words, content, [s_c, s_0, sound]);
            let length = layout.symbols() * sps + tail;
            for (symbols, samples) in symbols.iter().zip(&mut shaped) {
                shaper.shape(&symbols[..layout.symbols()], &mut samples[..length]);
            }
            let [s_c, s_0, sounding] = &shaped;
            for (antenna, row) in rows.iter_mut().enumerate() {
                let narrow = |z: Complex64| Complex32::new(z.re as f32, z.im as f32);
                let weights = [narrow(beams.w_c[antenna]), narrow(beams.w_0[antenna])];
                let sound = |samples: &mut [Complex32]| {
                    if layout.sounding > 0 {
                        let (start, slot) = layout.sounding_slot(antenna, self.antennas);
                        let from = start * sps + tail / 2;
                        let range = from..from + slot * sps;
                        let words = samples[range.clone()].iter_mut().zip(&sounding[range]);
                        words.for_each(|(sample, word)| *sample += amplitude * word);
                    }
                };
                let from = row.len();
                row.resize(from + layout.symbols() * sps, Complex32::default());
                superposer.antenna(antenna, &s_c[..length], &s_0[..length], weights, sound, &mut row[from..]);
            }
        }
        for (antenna, row) in rows.iter_mut().enumerate() {
            let from = row.len();
            row.resize(from + tail, Complex32::default());
            superposer.flush(antenna, &mut row[from..]);
        }
        Ok(rows.concat())
    }

    fn receive(&self, mut samples: Vec<Complex32>) -> issc::Result<Vec<Read>> {
        let config = ReceiverConfig {
            symbol_rate_hz: self.symbol_rate_hz,
            samples_per_symbol: self.samples_per_symbol,
            roll_off: self.roll_off,
            transmit_antennas: self.antennas,
        };
        samples.resize(samples.len() + SILENCE, Complex32::default());
        let mut receiver = FrameReceiver::new(config, CHUNK)?;
        let mut scratch = BlockScratch::with_rescue();
        let mut words = vec![0; BLOCKS * self.code.information_bits()];
        let mut frames = Vec::new();
        let mut take = |receiver: &mut FrameReceiver, last: bool| {
            while let Some(status) = receiver.next_frame(last) {
                let mut read = Read {
                    number: status.number,
                    bits: vec![0; BLOCKS * self.code.payload_bits()],
                    decoded: Vec::with_capacity(BLOCKS),
                    symbols: Vec::with_capacity(PAYLOAD),
                    sinr: status.sinr,
                    carrier_offset_hz: status.carrier_offset_hz,
                    start_sample: status.start_sample,
                    sounding: status.sounded.then(|| receiver.sounding().to_vec()),
                };
                let decoded = receiver.decode(&status, &self.code, &mut words, &mut scratch);
                read.decoded.extend(decoded);
                let payload = self.code.payload_bits();
                let words = words.chunks_exact(self.code.information_bits());
                for (bits, word) in read.bits.chunks_exact_mut(payload).zip(words) {
                    bits.copy_from_slice(&word[..payload]);
                }
                (0..BLOCKS).for_each(|block| read.symbols.extend_from_slice(receiver.block(block)));
                frames.push(read);
            }
        };
        for (index, chunk) in samples.chunks(CHUNK).enumerate() {
            receiver.push((index * CHUNK) as u64, chunk);
            take(&mut receiver, false);
        }
        take(&mut receiver, true);
        Ok(frames)
    }
}
