//! Cyclic redundancy checks of TS 38.212 section 5.1: parity bits, most significant first, register starts at zero.

use serde::{Deserialize, Serialize};

/// A generator polynomial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crc {
    /// No check.
    None,
    /// g_CRC6.
    Crc6,
    /// g_CRC11.
    Crc11,
    /// g_CRC16.
    Crc16,
    /// g_CRC24A.
    Crc24A,
    /// g_CRC24B.
    Crc24B,
    /// g_CRC24C.
    Crc24C,
}

impl Crc {
    /// Number of parity bits.
    pub const fn bits(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc6 => 6,
            Self::Crc11 => 11,
            Self::Crc16 => 16,
            Self::Crc24A | Self::Crc24B | Self::Crc24C => 24,
        }
    }

    /// The polynomial without its leading term.
    const fn polynomial(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Crc6 => 0x21,
            Self::Crc11 => 0x621,
            Self::Crc16 => 0x1021,
            Self::Crc24A => 0x86_4cfb,
            Self::Crc24B => 0x80_0063,
            Self::Crc24C => 0xb2_b117,
        }
    }

    /// The parity of `bits`, in the low [`Self::bits`] bits.
    pub fn parity(self, bits: &[u8]) -> u32 {
        let width = self.bits();
        if width < 8 {
            return self.parity_by_bits(bits);
        }
        let (mask, table) = (u32::MAX >> (32 - width), &TABLES[self as usize]);
        // Zeros in front change nothing, as the register starts at zero: what is left of eight comes first.
        let (begin, bytes) = bits.split_at(bits.len() % 8);
        let (bytes, _) = bytes.as_chunks::<8>();
        bytes.iter().fold(self.parity_by_bits(begin), |register, bits| {
            // Each bit goes to its place in the product's highest byte, and no two meet on the way.
            let byte = (u64::from_le_bytes(*bits).wrapping_mul(0x8040_2010_0804_0201) >> 56) as u32;
            (register << 8 & mask) ^ table[(register >> (width - 8) ^ byte) as usize & 0xff]
        })
    }

    /// The register after one more bit.
    const fn step(self, register: u32, bit: u32) -> u32 {
        let width = self.bits();
        let feedback = register >> (width - 1) & 1 ^ bit;
        (register << 1 & u32::MAX >> (32 - width)) ^ if feedback == 1 { self.polynomial() } else { 0 }
    }

    /// As [`Self::parity`], bit by bit.
    fn parity_by_bits(self, bits: &[u8]) -> u32 {
        if self.bits() == 0 {
            return 0;
        }
        bits.iter().fold(0, |register, bit| self.step(register, u32::from(*bit)))
    }

    /// What eight bits do to a register, by the bits that they meet in it.
    const fn table(self) -> [u32; 256] {
        let mut table = [0; 256];
        if self.bits() < 8 {
            return table;
        }
        let mut byte = 0;
        while byte < table.len() {
            let (mut register, mut bit) = (0, 8);
            while bit > 0 {
                bit -= 1;
                register = self.step(register, byte as u32 >> bit & 1);
            }
            table[byte] = register;
            byte += 1;
        }
        table
    }

    /// Writes the parity of the first bits of `word` behind them, up to its end.
    pub fn append(self, word: &mut [u8]) {
        self.append_masked(word, 0);
    }

    /// The same with `mask` added to the parity.
    pub fn append_masked(self, word: &mut [u8], mask: u32) {
        let (data, parity) = word.split_at_mut(word.len() - self.bits());
        let register = self.parity(data) ^ mask;
        for (shift, bit) in (0..parity.len()).rev().zip(parity) {
            *bit = (register >> shift & 1) as u8;
        }
    }

    /// Whether a word ends in its parity.
    pub fn check(self, word: &[u8]) -> bool {
        self.check_masked(word, 0)
    }

    /// Whether a word ends in its parity, to which `mask` was added.
    pub fn check_masked(self, word: &[u8], mask: u32) -> bool {
        let (data, parity) = word.split_at(word.len() - self.bits());
        let read = parity.iter().fold(0, |register, bit| register << 1 | u32::from(*bit));
        self.parity(data) ^ mask == read
    }
}

/// Of each generator in its order.
static TABLES: [[u32; 256]; 7] = [
    Crc::None.table(),
    Crc::Crc6.table(),
    Crc::Crc11.table(),
    Crc::Crc16.table(),
    Crc::Crc24A.table(),
    Crc::Crc24B.table(),
    Crc::Crc24C.table(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_bits_at_a_time_give_the_parity_that_one_at_a_time_give(bits in proptest::collection::vec(0u8..2, 0..600)) {
            for crc in [Crc::None, Crc::Crc6, Crc::Crc11, Crc::Crc16, Crc::Crc24A, Crc::Crc24B, Crc::Crc24C] {
                prop_assert_eq!(crc.parity(&bits), crc.parity_by_bits(&bits), "{:?}", crc);
            }
        }
    }
}
