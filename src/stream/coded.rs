//! A frame between the codec and the channel code: its header in fields and the bits of its payload blocks. It is packed
//! where symbols are made of it (the frame builder) and unpacked where it was received; everybody else reads fields.

use super::Frame;
use crate::coding::BLOCK_CRC;
use crate::modem::frame::BLOCKS;
use crate::modem::header::FrameHeader;

/// Room for the bits of a block, in any modulation.
pub const BLOCK_BITS: usize = 2048;

/// Header and payload of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodedFrame {
    /// What a receiver reads first.
    pub header: FrameHeader,
    /// Bits of each block, one per byte, 0 or 1, the CRC not among them; the first [`Self::payload_bits`] count.
    pub blocks: [[u8; BLOCK_BITS]; BLOCKS],
    /// Which blocks passed syndrome and CRC at a receiver; at a transmitter, none.
    pub passed: [bool; BLOCKS],
}

impl Default for CodedFrame {
    fn default() -> Self {
        Self { header: FrameHeader::default(), blocks: [[0; BLOCK_BITS]; BLOCKS], passed: [false; BLOCKS] }
    }
}

impl CodedFrame {
    /// Whether a block carries a picture's protected part, or would.
    pub fn is_protected(&self, block: usize) -> bool {
        block < usize::from(self.header.protected_blocks)
    }

    /// How many bits a block carries: N_c as the header says, less the CRC.
    pub fn payload_bits(&self, block: usize) -> usize {
        let information = if self.is_protected(block) { self.header.protected_bits } else { self.header.payload_bits };
        usize::from(information).saturating_sub(BLOCK_CRC.bits()).min(BLOCK_BITS)
    }

    /// The bits that a block carries.
    pub fn payload(&self, block: usize) -> &[u8] {
        &self.blocks[block][..self.payload_bits(block)]
    }

    /// Blocks that carry data: they follow those of the picture.
    pub fn data_blocks(&self) -> std::ops::Range<usize> {
        let first = self.used_blocks();
        first..(first + usize::from(self.header.data_blocks)).min(BLOCKS)
    }

    /// Blocks that carry bits of a picture: they come first.
    pub fn used_blocks(&self) -> usize {
        usize::from(self.header.used_blocks).min(BLOCKS)
    }
}

impl Frame<CodedFrame> {
    /// The one frame inside.
    pub fn coded(&self) -> &CodedFrame {
        &self.samples()[0]
    }

    /// The one frame inside, to be written.
    pub fn coded_mut(&mut self) -> &mut CodedFrame {
        &mut self.row_mut(0)[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_carries_what_its_code_leaves_beside_the_crc() {
        let header = FrameHeader { protected_blocks: 1, protected_bits: 50, payload_bits: 2040, ..Default::default() };
        let mut frame = CodedFrame { header, ..CodedFrame::default() };
        assert_eq!([0, 1, 3].map(|block| frame.payload_bits(block)), [34, 2024, 2024]);
        frame.header = FrameHeader { payload_bits: u16::MAX, used_blocks: 9, ..Default::default() };
        assert_eq!(
            (frame.payload(0).len(), frame.used_blocks()),
            (BLOCK_BITS, BLOCKS),
            "fields that no header can hold"
        );
    }
}
