//! Bytes as the bits of blocks, one per byte.

/// Bits of `bytes` from bit `from` on, the highest of each byte first: eight at a time, each to the lowest place of its own byte.
pub(super) fn unpack(bytes: &[u8], from: usize, bits: &mut [u8]) {
    let (first, shift) = (from / 8, from % 8);
    for (index, bits) in bits.chunks_mut(8).enumerate() {
        let [here, next] = [0, 1].map(|more| bytes.get(first + index + more).copied().unwrap_or_default());
        let eight = u64::from((u16::from_be_bytes([here, next]) << shift).to_be_bytes()[0]);
        let spread = eight.wrapping_mul(0x8040_2010_0804_0201) >> 7 & 0x0101_0101_0101_0101;
        bits.copy_from_slice(&spread.to_le_bytes()[..bits.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn bits_are_unpacked_from_any_place_to_any_end() {
        let bytes = [0b1010_0011, 0b0101_1110, 0b1111_0000, 0b0000_1101];
        let bit = |place: usize| bytes[place / 8] >> (7 - place % 8) & 1;
        for from in 0..32 {
            for end in from..=32 {
                let mut bits = vec![9; end - from];
                unpack(&bytes, from, &mut bits);
                assert_eq!(bits, (from..end).map(bit).collect::<Vec<_>>(), "{from} to {end}");
            }
        }
    }
}
