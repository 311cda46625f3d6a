//! Bits to symbols: channel code and modulation of header and blocks, the sensing stream, and the frame around them.

use std::sync::Arc;

use num_complex::Complex32;
use toml::Table;

use super::{Context, no_settings};
use crate::Result;
use crate::coding::{BlockScratch, CodeShelf};
use crate::modem::constellation::Modulation;
use crate::modem::frame::{BLOCK, BLOCKS, Content, LONGEST_HEADER, Layout, SENSING_SYMBOLS, assemble};
use crate::modem::word::{HeaderWord, WordCode};
use crate::modem::words::{SensingSequence, Words};
use crate::stream::{Block, CodedFrame, Flow, Frame, PlanReader, Shape, Stage, erase};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    Ok(erase(FrameBuilder {
        plans: PlanReader::new(Arc::clone(&context.plans)),
        antennas: context.scene.array.transmit_antennas,
        longest: context.longest_frame(),
        sequence: context.sensing_sequence(),
        words: Words::new(context.scene.array.transmit_antennas),
        word_code: WordCode::new()?,
        codes: CodeShelf::default(),
        block_scratch: BlockScratch::default(),
        coded: vec![0; (2 * LONGEST_HEADER).max(8 * BLOCK)],
        header: vec![Complex32::default(); LONGEST_HEADER],
        payload: vec![Complex32::default(); BLOCKS * BLOCK],
        sensing: vec![Complex32::default(); SENSING_SYMBOLS],
    }))
}

struct FrameBuilder {
    plans: PlanReader,
    antennas: usize,
    longest: usize,
    sequence: SensingSequence,
    words: Words,
    word_code: WordCode,
    codes: CodeShelf,
    block_scratch: BlockScratch,
    coded: Vec<u8>,
    header: Vec<Complex32>,
    payload: Vec<Complex32>,
    sensing: Vec<Complex32>,
}

impl Block for FrameBuilder {
    type In = CodedFrame;
    type Out = Complex32;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::complex(3, self.longest))
    }

    fn work(&mut self, input: &Frame<CodedFrame>, output: &mut Frame<Complex32>) -> Flow {
        let plan = self.plans.of_epoch(input.head.epoch);
        let frame = input.coded();
        let number = input.head.sequence;
        let layout = Layout::of(number, self.antennas, plan.header);
        let coded = &mut self.coded[..2 * layout.header_symbols()];
        self.word_code.encode(&HeaderWord::of(&frame.header), plan.header, coded);
        Modulation::Qpsk.map(coded, &mut self.header[..layout.header_symbols()]);
        for (index, symbols) in self.payload.chunks_exact_mut(BLOCK).enumerate() {
            let format = frame.header.block_format(index);
            let Some(code) = format.and_then(|format| self.codes.get(format)) else { continue };
            let coded = &mut self.coded[..code.coded_bits()];
            code.modulate(&frame.blocks[index][..code.payload_bits()], coded, symbols, &mut self.block_scratch);
        }
        self.sequence.write(number, &mut self.sensing);
        let content = Content { header: &self.header, payload: &self.payload, sensing: &self.sensing };
        let mut rows = output.rows_mut();
        let (Some(s_c), Some(s_0), Some(sounding)) = (rows.next(), rows.next(), rows.next()) else {
            return Flow::Consumed;
        };
        assemble(layout, self.antennas, &self.words, content, [s_c, s_0, sounding]);
        drop(rows);
        output.head.valid = layout.symbols();
        Flow::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, coded_frames};

    #[test]
    fn blocks_stand_in_their_places_under_their_codes_and_words_around_them() {
        let (mut context, _) = alone();
        let frames = coded_frames(&context, 63..66);
        let plan = context.plans.newest();
        let words = Words::new(context.scene.array.transmit_antennas);
        let mut builder = block::<CodedFrame, Complex32>("frame-builder", "", &mut context, Shape::CODED);
        for frame in &frames {
            let made = builder.feed(frame).remove(0);
            let layout = Layout::of(frame.head.sequence, 4, plan.header);
            assert_eq!((made.head.valid, made.head.sequence), (layout.symbols(), frame.head.sequence));
            assert_eq!(made.row(0)[..128], words.semantic.preamble[..]);
            for index in 0..BLOCKS {
                let code = if index == 0 { &plan.protected } else { &plan.payload };
                let mut symbols = vec![Complex32::default(); BLOCK];
                let mut coded = vec![0; code.coded_bits()];
                code.modulate(frame.coded().payload(index), &mut coded, &mut symbols, &mut BlockScratch::default());
                assert_eq!(made.row(0)[layout.block(index)..][..BLOCK], symbols[..]);
                assert_eq!(made.row(0)[layout.unique_word(index)..][..32], words.semantic.unique_word[..]);
            }
            let sounding = made.row(2).iter().filter(|symbol| symbol.norm() > 0.0).count();
            assert_eq!(sounding > 0, frame.head.sequence == 64, "every 64th frame sounds the antennas");
        }
    }

    #[test]
    fn the_sensing_stream_depends_on_the_seed_and_not_on_the_bits() {
        let made = |seed, flip: u8| {
            let (mut context, _) = alone();
            context.run.seed = seed;
            let mut frame = coded_frames(&context, 1..2).remove(0);
            frame.coded_mut().blocks[2][5] ^= flip;
            block::<CodedFrame, Complex32>("frame-builder", "", &mut context, Shape::CODED).feed(&frame).remove(0)
        };
        let (one, flipped, other) = (made(1, 0), made(1, 1), made(2, 0));
        assert_eq!(one.row(1), flipped.row(1));
        assert_ne!(one.row(0), flipped.row(0));
        assert_ne!(one.row(1), other.row(1));
    }
}
