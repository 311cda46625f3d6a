//! Bits to pictures: blocks are laid where their frame's header says, and what is missing is left to the codec to
//! conceal. A picture is finished when its last frame came, or when the next one begins.

use std::ops::Range;

use crossbeam_channel::Sender;
use toml::Table;

use super::{Context, ReceivedPicture, no_settings};
use crate::Result;
use crate::modem::header::unwrap_count;
use crate::semantic::Decoder;
use crate::stream::{Block, CodedFrame, Flow, Frame, Shape, Stage, erase};

/// Bytes of the longest protected part and body that headers can address.
const PROTECTED_BYTES: usize = (1 << 16) / 8;
const BODY_BYTES: usize = (1 << 24) / 8;

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    Ok(erase(PictureSink {
        decoder: Decoder::new(context.bank.clone()),
        received: context.received.clone(),
        current: None,
        protected: Part::new(PROTECTED_BYTES),
        body: Part::new(BODY_BYTES),
        lost: Vec::with_capacity(1024),
        blocks: 0,
        next_number: 0,
    }))
}

/// One part of a picture's stream, and which of its bits arrived.
struct Part {
    bytes: Vec<u8>,
    arrived: Vec<Range<usize>>,
    /// Bits up to the furthest one that arrived.
    reach: usize,
}

impl Part {
    fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], arrived: Vec::with_capacity(4096), reach: 0 }
    }

    fn clear(&mut self) {
        self.bytes[..self.reach.div_ceil(8)].fill(0);
        self.arrived.clear();
        self.reach = 0;
    }

    fn lay(&mut self, from: usize, bits: &[u8]) {
        let end = (from + bits.len()).min(8 * self.bytes.len());
        if from >= end || self.arrived.len() == self.arrived.capacity() {
            return;
        }
        for (position, bit) in (from..end).zip(bits) {
            let mask = 0x80 >> (position % 8);
            let byte = &mut self.bytes[position / 8];
            *byte = if *bit == 1 { *byte | mask } else { *byte & !mask };
        }
        self.reach = self.reach.max(end);
        match self.arrived.last_mut() {
            Some(last) if last.end == from => last.end = end,
            _ => self.arrived.push(from..end),
        }
    }

    /// Ranges of bits below `length` that did not arrive. Frames come in order, and so do the ranges.
    fn missing(&self, length: usize, lost: &mut Vec<Range<usize>>) {
        lost.clear();
        let mut next = 0;
        for range in &self.arrived {
            if range.start > next {
                lost.push(next..range.start.min(length));
            }
            next = next.max(range.end);
        }
        if next < length {
            lost.push(next..length);
        }
    }
}

struct PictureSink {
    decoder: Decoder,
    received: Sender<ReceivedPicture>,
    /// Number of the picture under way, low 16 bits.
    current: Option<u16>,
    protected: Part,
    body: Part,
    lost: Vec<Range<usize>>,
    blocks: u64,
    next_number: u64,
}

impl Block for PictureSink {
    type In = CodedFrame;
    type Out = ();

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<CodedFrame>, _output: &mut Frame<()>) -> Flow {
        let (frame, header) = (input.coded(), &input.coded().header);
        if self.current.is_some_and(|number| number != header.picture) {
            self.finish();
        }
        self.current = Some(header.picture);
        let (mut protected_bit, mut body_bit) = (usize::from(header.protected_offset), header.body_offset as usize);
        for index in 0..frame.used_blocks() {
            let (part, cursor) = if frame.is_protected(index) {
                (&mut self.protected, &mut protected_bit)
            } else {
                (&mut self.body, &mut body_bit)
            };
            if frame.passed[index] {
                part.lay(*cursor, frame.payload(index));
                self.blocks += 1;
            }
            *cursor += frame.payload_bits(index);
        }
        if header.last_of_picture {
            self.finish();
        }
        Flow::Consumed
    }

    fn flush(&mut self, _output: &mut Frame<()>) -> Flow {
        self.finish();
        Flow::Finished
    }
}

impl PictureSink {
    /// Rebuilds the picture under way and hands it over.
    fn finish(&mut self) {
        let Some(low) = self.current.take() else { return };
        let number = unwrap_count(u64::from(low), 16, self.next_number);
        self.next_number = number + 1;
        let protected_length = self.protected.reach / 8;
        let body_length = self.body.reach.div_ceil(8);
        let whole = self.protected.arrived.len() == 1 && self.protected.arrived[0].start == 0;
        self.body.missing(8 * body_length, &mut self.lost);
        let decoded = whole.then(|| {
            let (protected, body) = (&self.protected.bytes[..protected_length], &self.body.bytes[..body_length]);
            self.decoder.decode(protected, body, &self.lost)
        });
        let (image, slices, lost_slices) = match decoded {
            Some(Ok(decoded)) => (Some(decoded.image), decoded.report.slices, decoded.report.lost_slices),
            _ => (None, 0, 0),
        };
        let blocks = std::mem::take(&mut self.blocks);
        // A report that falls behind slows the simulation; nothing is lost. Without a report nobody needs the picture.
        let _ = self.received.send(ReceivedPicture { number, image, lost_slices, slices, blocks });
        self.protected.clear();
        self.body.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_laid_where_they_belong_and_the_gaps_are_known() {
        let mut part = Part::new(16);
        part.lay(0, &[1; 12]);
        part.lay(30, &[1; 10]);
        let mut lost = Vec::new();
        part.missing(48, &mut lost);
        assert_eq!(lost, [12..30, 40..48]);
        assert_eq!(&part.bytes[..5], &[0xff, 0xf0, 0, 0x03, 0xff]);
        part.clear();
        assert!(part.bytes.iter().all(|byte| *byte == 0));
    }
}
