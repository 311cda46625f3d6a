//! The communication receiver up to bits: frames found and equalised, headers and blocks decoded. A block that fails is
//! a flag of its frame, never a stop.

use std::ops::Range;
use std::sync::Arc;

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::snapshots::{Heard, Snapshot, Symbols};
use super::{Context, digest_of_bits, settings};
use crate::Result;
use crate::coding::{BLOCK_SYMBOLS, BlockScratch, CodeShelf, DecodeOutcome, MAX_INFORMATION_BITS};
use crate::modem::Attempt;
use crate::modem::frame::{BLOCK, BLOCKS};
use crate::modem::receiver::{FrameReceiver, FrameStatus, ReceiverConfig, SensingStream};
use crate::stream::{Block, CodedFrame, Event, Flow, Frame, MAX_SOUNDED_ANTENNAS, Shape, Stage, Telemetry, erase};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The scene's receiver that this is.
    #[serde(default)]
    receiver: Option<String>,
    #[serde(default)]
    sensing_stream: Treatment,
}

/// What becomes of the sensing stream.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Treatment {
    /// It counts as noise.
    #[default]
    Noise,
    /// The receiver knows it and takes it out of the payload.
    Cancel,
    /// The receiver does not know it and demaps both streams.
    Demap,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let keys: Keys = settings(keys)?;
    let receivers = context.scene.communication_receivers();
    context.join_receiver(keys.receiver.as_deref(), &receivers)?;
    let waveform = &context.scene.waveform;
    let config = ReceiverConfig {
        symbol_rate_hz: waveform.bandwidth_hz,
        samples_per_symbol: waveform.samples_per_symbol,
        roll_off: waveform.roll_off,
        transmit_antennas: context.scene.array.transmit_antennas,
    };
    let receiver = FrameReceiver::new(config, context.longest_samples())?;
    let (heard, symbols) = context.sinks.snapshots.of_communication(context.chain.receiver);
    heard.prepare(|heard| heard.reserve(1));
    symbols.prepare(Symbols::reserve);
    Ok(erase(FrameReceiverBlock {
        receiver: receiver.with_sensing(match keys.sensing_stream {
            Treatment::Noise => SensingStream::AsNoise,
            Treatment::Cancel => SensingStream::Cancelled(context.sensing_sequence()),
            Treatment::Demap => SensingStream::Demapped,
        }),
        codes: CodeShelf::default(),
        scratch: BlockScratch::with_rescue(),
        soft: vec![0; BLOCKS * 8 * BLOCK_SYMBOLS],
        words: vec![0; BLOCKS * MAX_INFORMATION_BITS],
        coded: vec![0; 8 * BLOCK_SYMBOLS],
        sent: vec![Complex32::ZERO; BLOCK_SYMBOLS],
        measured: Measured::default(),
        telemetry: context.receivers_telemetry(),
        heard,
        symbols,
        pushed: None,
        heard_ns: 0,
    }))
}

struct FrameReceiverBlock {
    receiver: FrameReceiver,
    codes: CodeShelf,
    scratch: BlockScratch,
    soft: Vec<i8>,
    words: Vec<u8>,
    /// Room for a block sent again.
    coded: Vec<u8>,
    sent: Vec<Complex32>,
    measured: Measured,
    telemetry: Telemetry,
    heard: Arc<Snapshot<Heard>>,
    symbols: Arc<Snapshot<Symbols>>,
    /// Time of the input that is in the receiver already.
    pushed: Option<u64>,
    /// When its last sample came from the antenna.
    heard_ns: u64,
}

/// What blocks that arrived say of the payload's noise. The known words alone say too little: of constant modulus, they pass
/// where a converter clips a constellation's corners.
#[derive(Default)]
struct Measured {
    /// Noise of the payload in that of the known words, the mean of the frames before.
    excess: f64,
    frames: f64,
    /// The same in the frame at hand.
    latest: Option<f64>,
}

impl Measured {
    /// Frames that the mean reaches back.
    const MEMORY: f64 = 64.0;

    /// The mean with the frame at hand in it.
    fn excess(&mut self) -> f64 {
        if let Some(latest) = self.latest.take() {
            self.frames = (self.frames + 1.0).min(Self::MEMORY);
            self.excess += (latest - self.excess) / self.frames;
        }
        if self.frames > 0.0 { self.excess } else { 1.0 }
    }

    /// Takes in the symbols of a block, as they came and as they were sent, and the noise that the known words gave.
    fn observe(&mut self, received: &[Complex32], sent: &[Complex32], noise_variance: f64) {
        let energy: f64 = sent.iter().map(|symbol| f64::from(symbol.norm_sqr())).sum();
        let gain = crate::dsp::correlate(received, sent) / energy;
        let total: f64 = received.iter().map(|symbol| f64::from(symbol.norm_sqr())).sum();
        // One complex number was fitted.
        let noise = (total - gain.norm_sqr() * energy) / (received.len() as f64 - 1.0);
        let relative = noise / gain.norm_sqr() / noise_variance;
        if relative.is_finite() && relative > 0.0 {
            self.latest = Some(relative);
        }
    }
}

impl Block for FrameReceiverBlock {
    type In = Complex32;
    type Out = CodedFrame;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != 1 {
            return Err(format!("takes one antenna, is given {inlet}"));
        }
        Ok(Shape::CODED)
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<CodedFrame>) -> Flow {
        let time = input.head.sample_time;
        if self.pushed != Some(time) {
            self.receiver.push(time, input.row(0));
            (self.pushed, self.heard_ns) = (Some(time), input.head.heard_ns);
            self.heard.offer(input.head.sequence, |held| held.fill(input));
        }
        match self.receiver.next_frame(false) {
            Some(status) => {
                self.decode(&status, output);
                Flow::Again
            }
            None => {
                let sample_time = time + input.head.valid as u64;
                self.telemetry.report(Event::ReceiverProgress { sample_time });
                Flow::Consumed
            }
        }
    }

    fn flush(&mut self, output: &mut Frame<CodedFrame>) -> Flow {
        match self.receiver.next_frame(true) {
            Some(status) => {
                self.decode(&status, output);
                Flow::Forward
            }
            None => Flow::Finished,
        }
    }
}

impl FrameReceiverBlock {
    fn decode(&mut self, status: &FrameStatus, output: &mut Frame<CodedFrame>) {
        let header = status.header;
        output.head.sequence = status.number;
        (output.head.valid, output.head.heard_ns) = (1, self.heard_ns);
        let frame = output.coded_mut();
        (frame.header, frame.passed) = (header, [false; BLOCKS]);
        let (protected, used) = (usize::from(header.protected_blocks), frame.data_blocks().end);
        let mut digests = [0; BLOCKS];
        for blocks in [0..protected, protected..used] {
            self.decode_blocks(blocks, status, frame, &mut digests);
        }
        self.decode_again(used, status, frame, &mut digests);
        let sinr = status.sinr / self.measured.excess();
        self.telemetry.report(Event::FrameReceived {
            frame: status.number,
            blocks: used as u8,
            decoded: frame.passed,
            digests,
            sinr: sinr as f32,
            noise_w: status.noise_w as f32,
        });
        let lost = frame.passed[..used].iter().filter(|passed| !**passed).count() as u8;
        self.telemetry.report(Event::LinkSeen {
            frame: status.number,
            sinr: sinr as f32,
            noise_w: status.noise_w as f32,
            blocks: used as u8,
            lost,
        });
        self.symbols.offer(status.number, |held| {
            for (index, symbols) in held.symbols.chunks_exact_mut(BLOCK).enumerate() {
                symbols.copy_from_slice(self.receiver.block(index));
            }
            held.constellations = std::array::from_fn(|index| {
                let format = header.block_format(index).filter(|_| index < used);
                format.and_then(|format| self.codes.ready(format)).map(|code| *code.constellation())
            });
            (held.protected, held.sinr) = (usize::from(header.protected_blocks), sinr);
        });
        if status.sounded {
            let mut gains = [Complex32::default(); MAX_SOUNDED_ANTENNAS];
            let sounded = self.receiver.sounding();
            let antennas = sounded.len().min(MAX_SOUNDED_ANTENNAS);
            gains[..antennas].copy_from_slice(&sounded[..antennas]);
            self.telemetry.report(Event::Sounded { frame: status.number, antennas, gains });
        }
    }

    /// Decodes blocks that failed once more, with feedback from those that did not, where that helps.
    fn decode_again(&mut self, used: usize, status: &FrameStatus, frame: &mut CodedFrame, digests: &mut [u64; BLOCKS]) {
        if frame.passed[..used].iter().all(|passed| *passed) {
            return;
        }
        let mut words = self.words.chunks_exact_mut(MAX_INFORMATION_BITS);
        let codes = &self.codes;
        let mut attempts: [_; BLOCKS] = std::array::from_fn(|index| {
            let word = words.next()?;
            let format = status.header.block_format(index).filter(|_| index < used)?;
            let code = codes.ready(format)?;
            let word = &mut word[..code.information_bits()];
            let payload = code.payload_bits();
            word[..payload].copy_from_slice(&frame.blocks[index][..payload]);
            Some(Attempt { code, word, decoded: frame.passed[index] })
        });
        self.receiver.decode_again(status, &mut attempts, &mut self.scratch);
        for (index, attempt) in attempts.iter().enumerate() {
            if let Some(attempt) = attempt.as_ref().filter(|attempt| attempt.decoded && !frame.passed[index]) {
                let payload = &attempt.word[..attempt.code.payload_bits()];
                frame.blocks[index][..payload.len()].copy_from_slice(payload);
                (frame.passed[index], digests[index]) = (true, digest_of_bits(payload));
            }
        }
    }

    /// Decodes blocks of one code, all together.
    fn decode_blocks(
        &mut self,
        blocks: Range<usize>,
        status: &FrameStatus,
        frame: &mut CodedFrame,
        digests: &mut [u64; BLOCKS],
    ) {
        let format = status.header.block_format(blocks.start).filter(|_| !blocks.is_empty());
        let Some(code) = format.and_then(|format| self.codes.get(format)) else { return };
        let soft = &mut self.soft[..blocks.len() * code.coded_bits()];
        for (index, soft) in blocks.clone().zip(soft.chunks_exact_mut(code.coded_bits())) {
            self.receiver.demap(status, index, code.constellation(), soft);
        }
        let words = &mut self.words[..blocks.len() * code.information_bits()];
        let mut outcomes = [DecodeOutcome::default(); BLOCKS];
        code.decode_words(soft, words, &mut outcomes[..blocks.len()], &mut self.scratch);
        let mut last = None;
        for ((index, word), outcome) in blocks.zip(words.chunks_exact(code.information_bits())).zip(outcomes) {
            let payload = &word[..code.payload_bits()];
            frame.blocks[index][..payload.len()].copy_from_slice(payload);
            (frame.passed[index], digests[index]) = (outcome.decoded, digest_of_bits(payload));
            if outcome.decoded && self.receiver.erased_symbols(index) == 0 {
                last = Some((index, word));
            }
        }
        if let (Some((index, word)), None) = (last, status.sensing_share) {
            let coded = &mut self.coded[..code.coded_bits()];
            code.modulate(&word[..code.payload_bits()], coded, &mut self.sent, &mut self.scratch);
            self.measured.observe(self.receiver.block(index), &self.sent, f64::from(status.noise_variance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_that_only_the_payload_has_is_measured() {
        let mut noise = vec![Complex32::ZERO; 256];
        let mut measured = Measured::default();
        assert_eq!(measured.excess(), 1.0);
        let sent: Vec<_> = (0..256).map(|n| Complex32::from_polar(1.0, (n * n) as f32)).collect();
        for frame in 0..64 {
            noise.fill(Complex32::ZERO);
            crate::channel::Noise::new(1, 0, 0.06).add(frame, &mut noise);
            // A constellation that is compressed by a tenth has as much less signal.
            let received: Vec<_> = sent.iter().zip(&noise).map(|(sent, noise)| sent * 0.9 + noise).collect();
            measured.observe(&received, &sent, 0.03);
            measured.excess();
        }
        let expected = 0.06 / 0.03 / 0.81;
        // 16 000 symbols: 0.8 %, five deviations.
        assert!((measured.excess() / expected - 1.0).abs() < 0.04, "{} of {expected}", measured.excess());
    }
}
