//! What a frame's header says. On the air it travels as [`super::word::HeaderWord`], which leaves out what a receiver knows from
//! the frames before; here it stands in full, as the blocks of a chain see it and as it is written down.

use super::constellation::Modulation;
use crate::coding::BlockFormat;

/// Bits of a header written down in full.
pub const HEADER_BITS: usize = 192;

/// Version of the air interface.
pub const VERSION: u8 = 2;

/// One frame's header. Field widths in bits stand in the order of [`FrameHeader::pack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameHeader {
    /// Version of the air interface (4).
    pub version: u8,
    /// The frame ends a picture (1).
    pub last_of_picture: bool,
    /// Frame number (48).
    pub number: u64,
    /// Picture number (16, wraps).
    pub picture: u16,
    /// Counts the formats of blocks that were in force, from frame to frame (3, wraps).
    pub formats: u8,
    /// Number of the frame from which on they are in force (6, wraps).
    pub formats_since: u8,
    /// N_c of a payload block, CRC included (11).
    pub payload_bits: u16,
    /// Index of the payload's modulation (2).
    pub payload_modulation: u8,
    /// N_c of a protected block, CRC included (11).
    pub protected_bits: u16,
    /// Index of the protected blocks' modulation (2).
    pub protected_modulation: u8,
    /// Leading blocks of this frame that carry a picture's protected part (3).
    pub protected_blocks: u8,
    /// Blocks of this frame that carry bits of a picture, the protected ones among them (3).
    pub used_blocks: u8,
    /// Blocks behind them that carry data (3); those that are left are idle.
    pub data_blocks: u8,
    /// Data blocks in the frames before this one (12, wraps); at receivers, those before the last frame whose number is 3
    /// modulo 4.
    pub data_sequence: u16,
    /// Blocks of the picture in the frames before this one (16, wraps).
    pub picture_blocks: u16,
    /// Where this frame's first protected bit stands in the protected part (20).
    pub protected_offset: u32,
    /// Where this frame's first payload bit stands in the body, in bits (27).
    pub body_offset: u32,
    /// The payload's amplitudes are shaped (1).
    pub payload_shaped: bool,
    /// The protected blocks' amplitudes are shaped (1).
    pub protected_shaped: bool,
    /// Both offsets are known: at a receiver, since it saw the picture begin (1).
    pub placed: bool,
}

/// Bits that a picture's protected part may have, and its body.
pub const MOST_PROTECTED_BITS: usize = 1 << 20;
/// The same of the body: a photo of 12 megapixels in the finest model has about half as many.
pub const MOST_BODY_BITS: usize = 1 << 27;

/// Reads and writes fields, most significant bit first.
pub(super) struct Fields<'a> {
    bits: &'a mut [u8],
    pub(super) position: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bits: &'a mut [u8]) -> Self {
        Self { bits, position: 0 }
    }

    pub(super) fn put(&mut self, value: u64, width: usize) {
        for shift in (0..width).rev() {
            self.bits[self.position] = (value >> shift & 1) as u8;
            self.position += 1;
        }
    }

    pub(super) fn take(&mut self, width: usize) -> u64 {
        let value = self.bits[self.position..][..width].iter().fold(0, |value, bit| value << 1 | u64::from(*bit));
        self.position += width;
        value
    }
}

impl FrameHeader {
    /// Whether a picture begins with this frame.
    pub fn begins_picture(&self) -> bool {
        self.protected_blocks > 0 && self.picture_blocks == 0
    }

    /// The header of a frame whose blocks have these formats, those of the payload and the protected ones.
    pub fn with_formats(self, [payload, protected]: [BlockFormat; 2]) -> Self {
        Self {
            payload_bits: payload.information_bits as u16,
            payload_modulation: payload.modulation.index() as u8,
            payload_shaped: payload.shaped,
            protected_bits: protected.information_bits as u16,
            protected_modulation: protected.modulation.index() as u8,
            protected_shaped: protected.shaped,
            ..self
        }
    }

    /// What the header says of a block's code; nothing where there is no such modulation.
    pub fn block_format(&self, block: usize) -> Option<BlockFormat> {
        let (bits, modulation, shaped) = if block < usize::from(self.protected_blocks) {
            (self.protected_bits, self.protected_modulation, self.protected_shaped)
        } else {
            (self.payload_bits, self.payload_modulation, self.payload_shaped)
        };
        let modulation = *Modulation::ALL.get(usize::from(modulation))?;
        Some(BlockFormat { information_bits: usize::from(bits), modulation, shaped })
    }

    /// Writes the header as [`HEADER_BITS`] bits, one per byte.
    pub fn pack(&self, bits: &mut [u8]) {
        let mut fields = Fields::new(&mut bits[..HEADER_BITS]);
        for (value, width) in [
            (u64::from(self.version), 4),
            (u64::from(self.last_of_picture), 1),
            (self.number, 48),
            (u64::from(self.picture), 16),
            (u64::from(self.formats), 3),
            (u64::from(self.formats_since), 6),
            (u64::from(self.payload_bits), 11),
            (u64::from(self.payload_modulation), 2),
            (u64::from(self.protected_bits), 11),
            (u64::from(self.protected_modulation), 2),
            (u64::from(self.protected_blocks), 3),
            (u64::from(self.used_blocks), 3),
            (u64::from(self.data_blocks), 3),
            (u64::from(self.data_sequence), 12),
            (u64::from(self.picture_blocks), 16),
            (u64::from(self.protected_offset), 20),
            (u64::from(self.body_offset), 27),
            (u64::from(self.payload_shaped), 1),
            (u64::from(self.protected_shaped), 1),
            (u64::from(self.placed), 1),
        ] {
            fields.put(value, width);
        }
        fields.put(0, HEADER_BITS - fields.position);
    }

    /// Reads a header; `None` for another version or fields that contradict each other.
    pub fn unpack(bits: &[u8]) -> Option<Self> {
        let mut copy = [0u8; HEADER_BITS];
        copy.copy_from_slice(bits.get(..HEADER_BITS)?);
        let mut fields = Fields::new(&mut copy);
        let header = Self {
            version: fields.take(4) as u8,
            last_of_picture: fields.take(1) == 1,
            number: fields.take(48),
            picture: fields.take(16) as u16,
            formats: fields.take(3) as u8,
            formats_since: fields.take(6) as u8,
            payload_bits: fields.take(11) as u16,
            payload_modulation: fields.take(2) as u8,
            protected_bits: fields.take(11) as u16,
            protected_modulation: fields.take(2) as u8,
            protected_blocks: fields.take(3) as u8,
            used_blocks: fields.take(3) as u8,
            data_blocks: fields.take(3) as u8,
            data_sequence: fields.take(12) as u16,
            picture_blocks: fields.take(16) as u16,
            protected_offset: fields.take(20) as u32,
            body_offset: fields.take(27) as u32,
            payload_shaped: fields.take(1) == 1,
            protected_shaped: fields.take(1) == 1,
            placed: fields.take(1) == 1,
        };
        let spare = fields.take(HEADER_BITS - fields.position);
        let sane = header.version == VERSION
            && header.used_blocks + header.data_blocks <= 4
            && header.protected_blocks <= header.used_blocks
            && spare == 0;
        sane.then_some(header)
    }
}

/// The full count nearest to `near` whose low `width` bits are `low`.
pub fn unwrap_count(low: u64, width: u32, near: u64) -> u64 {
    let period = 1u64 << width;
    let base = near & !(period - 1) | low;
    let candidates = [base.checked_sub(period), Some(base), base.checked_add(period)];
    candidates.into_iter().flatten().min_by_key(|count| count.abs_diff(near)).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_survives_packing(
            number in 0u64..1 << 48, picture: u16, payload_bits in 0u16..2048, formats in 0u8..8, formats_since in 0u8..64,
            protected_blocks in 0u8..=4, more in 0u8..=4, body_offset in 0u32..1 << 27, last_of_picture: bool,
            payload_shaped: bool, protected_shaped: bool, placed: bool, picture_blocks: u16, data_sequence in 0u16..4096
        ) {
            let used_blocks = (protected_blocks + more).min(4);
            let header = FrameHeader {
                version: VERSION, last_of_picture, number, formats, formats_since, picture, payload_bits,
                payload_modulation: 2, protected_bits: 130, protected_modulation: 1, protected_blocks, used_blocks,
                data_blocks: 4 - used_blocks, data_sequence, picture_blocks, protected_offset: 99_999, body_offset,
                payload_shaped, protected_shaped, placed,
            };
            let mut bits = [0; HEADER_BITS];
            header.pack(&mut bits);
            prop_assert_eq!(FrameHeader::unpack(&bits), Some(header));
        }

        #[test]
        fn counts_unwrap_to_the_nearest(count in 0u64..1 << 40, drift in -1000i64..1000) {
            let near = count.saturating_add_signed(drift);
            prop_assert_eq!(unwrap_count(count & 0xfff, 12, near), count);
        }
    }

    #[test]
    fn another_version_is_not_read() {
        let mut bits = [0; HEADER_BITS];
        FrameHeader { version: 1, ..FrameHeader::default() }.pack(&mut bits);
        assert_eq!(FrameHeader::unpack(&bits), None);
        FrameHeader { version: VERSION, ..FrameHeader::default() }.pack(&mut bits);
        assert!(FrameHeader::unpack(&bits).is_some());
        bits[HEADER_BITS - 1] = 1;
        assert_eq!(FrameHeader::unpack(&bits), None, "a spare bit is set");
    }
}
