//! The frame header: what a receiver must know to read the frame. Its CRC comes with the polar code that carries it.

/// Bits of a packed header.
pub const HEADER_BITS: usize = 136;

/// Version of the air interface.
pub const VERSION: u8 = 1;

/// One frame's header. Field widths in bits stand in the order of [`FrameHeader::pack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameHeader {
    /// Version of the air interface (4).
    pub version: u8,
    /// The frame ends a picture (1).
    pub last_of_picture: bool,
    /// Frame number (24, wraps).
    pub number: u32,
    /// Plan epoch (12, wraps).
    pub epoch: u16,
    /// Source model (4).
    pub model: u8,
    /// Picture number (16, wraps).
    pub picture: u16,
    /// N_c of a payload block, CRC included (11).
    pub payload_bits: u16,
    /// Index of the payload's modulation (2).
    pub payload_modulation: u8,
    /// N_c of a protected block, CRC included (11).
    pub protected_bits: u16,
    /// Index of the protected blocks' modulation (2).
    pub protected_modulation: u8,
    /// Leading blocks of this frame that are protected (3).
    pub protected_blocks: u8,
    /// Blocks of this frame that carry bits of the picture (3).
    pub used_blocks: u8,
    /// Where this frame's first protected bit stands in the protected part (16).
    pub protected_offset: u16,
    /// Where this frame's first payload bit stands in the body, in bits (24).
    pub body_offset: u32,
    /// The payload's amplitudes are shaped (1).
    pub payload_shaped: bool,
    /// The protected blocks' amplitudes are shaped (1).
    pub protected_shaped: bool,
}

/// Reads and writes fields, most significant bit first.
struct Fields<'a> {
    bits: &'a mut [u8],
    position: usize,
}

impl Fields<'_> {
    fn put(&mut self, value: u32, width: usize) {
        for shift in (0..width).rev() {
            self.bits[self.position] = (value >> shift & 1) as u8;
            self.position += 1;
        }
    }

    fn take(&mut self, width: usize) -> u32 {
        let value = self.bits[self.position..][..width].iter().fold(0, |value, bit| value << 1 | u32::from(*bit));
        self.position += width;
        value
    }
}

impl FrameHeader {
    /// Writes the header as [`HEADER_BITS`] bits, one per byte.
    pub fn pack(&self, bits: &mut [u8]) {
        let mut fields = Fields { bits: &mut bits[..HEADER_BITS], position: 0 };
        for (value, width) in [
            (u32::from(self.version), 4),
            (u32::from(self.last_of_picture), 1),
            (self.number & 0xff_ffff, 24),
            (u32::from(self.epoch & 0xfff), 12),
            (u32::from(self.model), 4),
            (u32::from(self.picture), 16),
            (u32::from(self.payload_bits), 11),
            (u32::from(self.payload_modulation), 2),
            (u32::from(self.protected_bits), 11),
            (u32::from(self.protected_modulation), 2),
            (u32::from(self.protected_blocks), 3),
            (u32::from(self.used_blocks), 3),
            (u32::from(self.protected_offset), 16),
            (self.body_offset & 0xff_ffff, 24),
            (u32::from(self.payload_shaped), 1),
            (u32::from(self.protected_shaped), 1),
        ] {
            fields.put(value, width);
        }
        fields.put(0, HEADER_BITS - fields.position);
    }

    /// Reads a header; `None` for another version or fields that contradict each other.
    pub fn unpack(bits: &[u8]) -> Option<Self> {
        let mut copy = [0u8; HEADER_BITS];
        copy.copy_from_slice(bits.get(..HEADER_BITS)?);
        let mut fields = Fields { bits: &mut copy, position: 0 };
        let header = Self {
            version: fields.take(4) as u8,
            last_of_picture: fields.take(1) == 1,
            number: fields.take(24),
            epoch: fields.take(12) as u16,
            model: fields.take(4) as u8,
            picture: fields.take(16) as u16,
            payload_bits: fields.take(11) as u16,
            payload_modulation: fields.take(2) as u8,
            protected_bits: fields.take(11) as u16,
            protected_modulation: fields.take(2) as u8,
            protected_blocks: fields.take(3) as u8,
            used_blocks: fields.take(3) as u8,
            protected_offset: fields.take(16) as u16,
            body_offset: fields.take(24),
            payload_shaped: fields.take(1) == 1,
            protected_shaped: fields.take(1) == 1,
        };
        let spare = fields.take(HEADER_BITS - fields.position);
        let sane = header.version == VERSION
            && header.used_blocks <= 4
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
            number in 0u32..1 << 24, epoch in 0u16..1 << 12, picture: u16, payload_bits in 0u16..2048,
            protected_blocks in 0u8..=4, more in 0u8..=4, body_offset in 0u32..1 << 24, last_of_picture: bool,
            payload_shaped: bool, protected_shaped: bool
        ) {
            let header = FrameHeader {
                version: VERSION, last_of_picture, number, epoch, model: 3, picture, payload_bits, payload_modulation: 2,
                protected_bits: 130, protected_modulation: 1, protected_blocks,
                used_blocks: (protected_blocks + more).min(4), protected_offset: 999, body_offset, payload_shaped,
                protected_shaped,
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
        FrameHeader { version: 2, ..FrameHeader::default() }.pack(&mut bits);
        assert_eq!(FrameHeader::unpack(&bits), None);
        FrameHeader { version: VERSION, ..FrameHeader::default() }.pack(&mut bits);
        assert!(FrameHeader::unpack(&bits).is_some());
        bits[HEADER_BITS - 1] = 1;
        assert_eq!(FrameHeader::unpack(&bits), None, "a spare bit is set");
    }
}
