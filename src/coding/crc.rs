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
        if width == 0 {
            return 0;
        }
        let (top, mask, polynomial) = (width - 1, u32::MAX >> (32 - width), self.polynomial());
        bits.iter().fold(0, |register, bit| {
            let feedback = register >> top & 1 ^ u32::from(*bit);
            (register << 1 & mask) ^ if feedback == 1 { polynomial } else { 0 }
        })
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
