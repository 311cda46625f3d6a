//! Bits to symbols: channel code and modulation of header and blocks, the sensing stream, and the frame around them.

use std::sync::Arc;

use num_complex::Complex32;
use toml::Table;

use super::{Context, no_settings};
use crate::Result;
use crate::coding::{BlockScratch, HeaderCode, HeaderScratch};
use crate::modem::constellation::Modulation;
use crate::modem::frame::{BLOCK, BLOCKS, Content, HEADER, Layout, SENSING_SYMBOLS, assemble};
use crate::modem::header::HEADER_BITS;
use crate::modem::words::{SensingSequence, Words};
use crate::stream::{Block, CodedFrame, Flow, Frame, PlanReader, Shape, Stage, erase};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    let header_code = HeaderCode::new(HEADER_BITS, 2 * HEADER)?;
    Ok(erase(FrameBuilder {
        plans: PlanReader::new(Arc::clone(&context.plans)),
        antennas: context.scene.array.transmit_antennas,
        longest: context.longest_frame(),
        sequence: context.sensing_sequence(),
        words: Words::new(context.scene.array.transmit_antennas),
        header_scratch: HeaderScratch::new(&header_code),
        header_code,
        block_scratch: BlockScratch::default(),
        coded: vec![0; 2 * HEADER + 8 * BLOCK],
        header: vec![Complex32::default(); HEADER],
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
    header_code: HeaderCode,
    header_scratch: HeaderScratch,
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
        let mut bits = [0; HEADER_BITS];
        frame.header.pack(&mut bits);
        self.header_code.encode(&bits, &mut self.coded, &mut self.header_scratch);
        Modulation::Qpsk.map(&self.coded[..2 * HEADER], &mut self.header);
        for (index, symbols) in self.payload.chunks_exact_mut(BLOCK).enumerate() {
            let code = if frame.is_protected(index) { &plan.protected } else { &plan.payload };
            let coded = &mut self.coded[..code.coded_bits()];
            code.modulate(&frame.blocks[index][..code.payload_bits()], coded, symbols, &mut self.block_scratch);
        }
        let number = input.head.sequence;
        self.sequence.write(number, &mut self.sensing);
        let layout = Layout::of(number, self.antennas);
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
