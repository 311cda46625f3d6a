//! A picture on its way from frames to the decoder: the bits that arrived, where they belong, and which are missing.

use std::ops::Range;

use crate::modem::header::{MOST_BODY_BITS, MOST_PROTECTED_BITS};
use crate::semantic::{Decoded, Decoder};
use crate::stream::CodedFrame;

/// Bytes of the longest protected part and body that headers can address.
const PROTECTED_BYTES: usize = MOST_PROTECTED_BITS / 8;
const BODY_BYTES: usize = MOST_BODY_BITS / 8;

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

/// The bits of one picture; its room is made once and used for one picture after another.
pub(super) struct CodedPicture {
    /// Its number, as the headers say (16 bits, unwrapped).
    pub number: u64,
    /// Counts the pictures that were handed to decoders.
    pub ticket: u64,
    /// Blocks that arrived.
    pub blocks: u64,
    /// When the last of its samples came from the antenna; 0 where nobody says.
    pub heard_ns: u64,
    protected: Part,
    body: Part,
    lost: Vec<Range<usize>>,
}

impl CodedPicture {
    /// Room for any picture.
    pub fn new() -> Self {
        Self {
            number: 0,
            ticket: 0,
            blocks: 0,
            heard_ns: 0,
            protected: Part::new(PROTECTED_BYTES),
            body: Part::new(BODY_BYTES),
            lost: Vec::with_capacity(1024),
        }
    }

    /// Makes room for another picture.
    pub fn clear(&mut self) {
        self.blocks = 0;
        self.protected.clear();
        self.body.clear();
    }

    /// Lays a frame's blocks where its header says.
    pub fn lay(&mut self, frame: &CodedFrame) {
        let header = &frame.header;
        let [mut protected_bit, mut body_bit] =
            [header.protected_offset, header.body_offset].map(|offset| offset as usize);
        for block in 0..frame.used_blocks() {
            let (part, cursor) = if frame.is_protected(block) {
                (&mut self.protected, &mut protected_bit)
            } else {
                (&mut self.body, &mut body_bit)
            };
            if frame.passed[block] && header.placed {
                part.lay(*cursor, frame.payload(block));
                self.blocks += 1;
            }
            *cursor += frame.payload_bits(block);
        }
    }

    /// What it looks like, lost parts concealed; nothing where the protected part is not whole or cannot be read.
    pub fn decode(&mut self, decoder: &mut Decoder) -> Option<Decoded> {
        let whole = self.protected.arrived.len() == 1 && self.protected.arrived[0].start == 0;
        let body_length = self.body.reach.div_ceil(8);
        self.body.missing(8 * body_length, &mut self.lost);
        let protected = &self.protected.bytes[..self.protected.reach / 8];
        let decoded = whole.then(|| decoder.decode(protected, &self.body.bytes[..body_length], &self.lost));
        decoded.and_then(Result::ok)
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

    #[test]
    fn bits_beyond_the_room_are_left_out() {
        let mut part = Part::new(2);
        part.lay(12, &[1; 8]);
        part.lay(40, &[1; 8]);
        assert_eq!((part.reach, &part.bytes[..]), (16, &[0, 0x0f][..]));
    }
}
