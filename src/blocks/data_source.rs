//! User data into the blocks that pictures leave free.

use toml::Table;

use super::datagram_ends::Inlet;
pub(super) use super::datagram_ends::SourceKeys as Keys;
use super::datagrams::Packer;
use super::{Context, digest_of_bits, settings};
use crate::Result;
use crate::modem::frame::BLOCKS;
use crate::stream::{Block, CodedFrame, Event, Flow, Frame, Shape, Stage, Telemetry, erase, now_ns};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let inlet = Inlet::open(settings::<Keys>(keys)?)?;
    let telemetry = context.sinks.telemetry.clone();
    Ok(erase(DataSource { inlet, packer: Packer::new(), sequence: 0, telemetry, began_ns: 0 }))
}

struct DataSource {
    inlet: Inlet,
    packer: Packer,
    /// Data blocks sent so far.
    sequence: u16,
    telemetry: Telemetry,
    /// When the datagram under way was taken from those that wait.
    began_ns: u64,
}

impl Block for DataSource {
    type In = CodedFrame;
    type Out = CodedFrame;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::CODED)
    }

    fn work(&mut self, input: &Frame<CodedFrame>, output: &mut Frame<CodedFrame>) -> Flow {
        output.copy_rows(input, 0);
        let frame = output.coded_mut();
        let first = frame.used_blocks();
        let (mut datagrams, mut bytes, mut room_bits, mut digests) = (0, 0, 0, [0; BLOCKS]);
        frame.header.data_sequence = self.sequence & 0xfff;
        let mut is_there_more = true;
        for (block, digest_of_block) in digests.iter_mut().enumerate().skip(first) {
            let bits = frame.payload_bits(block);
            room_bits += bits as u32;
            if !is_there_more {
                continue;
            }
            let Self { inlet, packer, began_ns, .. } = self;
            let row = &mut frame.blocks[block][..bits];
            let next = |packed: &mut Vec<u8>| {
                let Some(length) = inlet.next(packed) else { return false };
                (datagrams, bytes, *began_ns) = (datagrams + 1, bytes + length as u64, now_ns());
                true
            };
            is_there_more = packer.fill(row, next);
            if is_there_more {
                *digest_of_block = digest_of_bits(row);
                frame.header.data_blocks += 1;
            }
        }
        self.sequence = self.sequence.wrapping_add(frame.header.data_blocks.into());
        self.telemetry.report(Event::DataSent {
            frame: output.head.sequence,
            first: first as u8,
            blocks: output.coded().header.data_blocks,
            digests,
            room_bits,
            datagrams,
            bytes,
            refused: self.inlet.take_refused() as u32,
            at_ns: self.began_ns,
        });
        Flow::Forward
    }
}
