//! CRC-aided polar codes of TS 38.212 sections 5.3.1 and 5.4.1: the frame header's code, and list decoding.

mod list;
mod single;

pub use list::HeaderScratch;
pub use single::KnownBeginning;

use super::Crc;
use crate::{Error, Result};

/// Which of the standard's two chains: they differ in CRC, interleavers and mother code length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// CRC11, channel interleaver.
    Uplink,
    /// CRC24C, input interleaver.
    Downlink,
}

/// Paths of the list decoder.
const LIST: usize = 8;

/// A CRC-aided polar code with its rate matching.
#[derive(Debug, Clone)]
pub struct HeaderCode {
    information_bits: usize,
    coded_bits: usize,
    crc: Crc,
    /// What is added to the parity: a word of another use of the code fails its check.
    mask: u32,
    /// N.
    length: usize,
    /// Positions of the K bits, ascending.
    positions: Vec<usize>,
    frozen: Vec<bool>,
    /// `order[k]` = which bit of the CRC-protected word stands at `positions[k]`.
    order: Vec<usize>,
    /// `sources[e]` = codeword position of transmitted bit `e`.
    sources: Vec<usize>,
    /// Codeword positions that are known zero because they were shortened.
    shortened: Vec<usize>,
}

impl HeaderCode {
    /// The uplink code of `information_bits` bits in `coded_bits` bits.
    pub fn new(information_bits: usize, coded_bits: usize) -> Result<Self> {
        Self::for_link(Link::Uplink, information_bits, coded_bits)
    }

    /// The uplink code with another CRC, to whose parity `mask` is added. All zeros are then no word of it unless `mask` is 0.
    pub fn with_crc(information_bits: usize, coded_bits: usize, crc: Crc, mask: u32) -> Result<Self> {
        Ok(Self { mask, ..Self::make(Link::Uplink, crc, information_bits, coded_bits)? })
    }

    /// The code of one of the two links.
    pub fn for_link(link: Link, information_bits: usize, coded_bits: usize) -> Result<Self> {
        let crc = match link {
            Link::Uplink => Crc::Crc11,
            Link::Downlink => Crc::Crc24C,
        };
        Self::make(link, crc, information_bits, coded_bits)
    }

    fn make(link: Link, crc: Crc, information_bits: usize, coded_bits: usize) -> Result<Self> {
        let longest = match link {
            Link::Uplink => 10,
            Link::Downlink => 9,
        };
        let protected = information_bits + crc.bits();
        let most = if link == Link::Downlink { 164 } else { 1023 };
        if information_bits < 20 || protected > most || coded_bits < protected || coded_bits > 8192 {
            return Err(Error::input(format!(
                "{information_bits} bits in {coded_bits} coded bits of a polar code; accepted: 20 to {} in at least {} more",
                most - crc.bits(),
                crc.bits()
            )));
        }
        let length = 1 << exponent(protected, coded_bits, longest);
        if protected > length {
            return Err(Error::input(format!("{protected} bits with CRC do not fit the mother code of {length}")));
        }
        let interleaver = sub_block_interleaver(length);
        let selected = selection(protected, coded_bits, length);
        let mut sources: Vec<usize> = selected.iter().map(|index| interleaver[*index]).collect();
        let shortens = coded_bits < length && 16 * protected > 7 * coded_bits;
        let shortened = if shortens { interleaver[coded_bits..].to_vec() } else { Vec::new() };
        if link == Link::Uplink {
            sources = triangular(coded_bits).into_iter().map(|index| sources[index]).collect();
        }
        let frozen = frozen_set(protected, coded_bits, length, &interleaver);
        let positions: Vec<usize> = (0..length).filter(|position| !frozen[*position]).collect();
        let order = match link {
            Link::Uplink => (0..protected).collect(),
            Link::Downlink => {
                let table = numbers(include_str!("input_interleaver.txt"));
                let skipped = 164 - protected;
                table.into_iter().filter(|entry| *entry >= skipped).map(|entry| entry - skipped).collect()
            }
        };
        Ok(Self { information_bits, coded_bits, crc, mask: 0, length, positions, frozen, order, sources, shortened })
    }

    /// N, the mother code's length.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Positions of information and CRC bits in the mother code, ascending.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Encodes information bits into coded bits.
    pub fn encode(&self, information: &[u8], coded: &mut [u8], scratch: &mut HeaderScratch) {
        let word = &mut scratch.word[..self.positions.len()];
        word[..self.information_bits].copy_from_slice(information);
        self.crc.append_masked(word, self.mask);
        let code = &mut scratch.code[..self.length];
        code.fill(0);
        for (position, index) in self.positions.iter().zip(&self.order) {
            code[*position] = word[*index];
        }
        transform(code);
        for (bit, source) in coded[..self.coded_bits].iter_mut().zip(&self.sources) {
            *bit = code[*source];
        }
    }
}

/// The polar transform of as many bits as a power of two.
fn transform(bits: &mut [u8]) {
    // Eight bits at a time within a machine word, the first in its low byte; then word by word.
    let (words, rest) = bits.as_chunks_mut::<8>();
    for word in words.iter_mut() {
        let mut value = u64::from_le_bytes(*word);
        value ^= value >> 8 & 0x00ff_00ff_00ff_00ff;
        value ^= value >> 16 & 0x0000_ffff_0000_ffff;
        value ^= value >> 32;
        *word = value.to_le_bytes();
    }
    debug_assert!(rest.is_empty(), "codes have 32 bits at least");
    let mut half = 8;
    while half < bits.len() {
        for pair in bits.chunks_exact_mut(2 * half) {
            let (upper, lower) = pair.split_at_mut(half);
            upper.iter_mut().zip(lower).for_each(|(upper, lower)| *upper ^= *lower);
        }
        half *= 2;
    }
}

fn numbers(text: &str) -> Vec<usize> {
    text.split_whitespace().map(|word| word.parse().expect("a shipped table")).collect()
}

/// n of the mother code's length 2ⁿ (section 5.3.1).
fn exponent(protected: usize, coded_bits: usize, longest: u32) -> u32 {
    let up = coded_bits.next_power_of_two().trailing_zeros();
    let by_length = if 16 * coded_bits <= 9 * (1 << up) && 16 * protected < 9 * coded_bits { up - 1 } else { up };
    let by_rate = (8 * protected).next_power_of_two().trailing_zeros();
    by_length.min(by_rate).min(longest).max(5)
}

/// The sub-block interleaver J (table 5.4.1.1-1).
fn sub_block_interleaver(length: usize) -> Vec<usize> {
    const PATTERN: [usize; 32] = [
        0, 1, 2, 4, 3, 5, 6, 7, 8, 16, 9, 17, 10, 18, 11, 19, 12, 20, 13, 21, 14, 22, 15, 23, 24, 25, 26, 28, 27, 29,
        30, 31,
    ];
    let block = length / 32;
    (0..length).map(|n| PATTERN[n / block] * block + n % block).collect()
}

/// Bit selection (section 5.4.1.2): repetition, puncturing or shortening.
fn selection(protected: usize, coded_bits: usize, length: usize) -> Vec<usize> {
    let offset = if coded_bits < length && 16 * protected <= 7 * coded_bits { length - coded_bits } else { 0 };
    (0..coded_bits).map(|e| (e + offset) % length).collect()
}

/// The channel interleaver (section 5.4.1.3): written in rows of a triangle, read by columns.
fn triangular(count: usize) -> Vec<usize> {
    let side = (1..).find(|side| side * (side + 1) / 2 >= count).expect("triangles grow");
    let row_start = |row: usize| row * side - row * row.saturating_sub(1) / 2;
    (0..side)
        .flat_map(|column| (0..side - column).map(move |row| row_start(row) + column))
        .filter(|index| *index < count)
        .collect()
}

/// Frozen positions by the reliability order (table 5.3.1.2-1) and the rate matching (section 5.4.1.1).
fn frozen_set(protected: usize, coded_bits: usize, length: usize, interleaver: &[usize]) -> Vec<bool> {
    let mut barred = vec![false; length];
    if coded_bits < length {
        if 16 * protected <= 7 * coded_bits {
            interleaver[..length - coded_bits].iter().for_each(|position| barred[*position] = true);
            let more = if 4 * coded_bits >= 3 * length {
                (3 * length).div_ceil(4) - coded_bits / 2
            } else {
                (9 * length).div_ceil(16) - coded_bits / 4
            };
            barred[..more].fill(true);
        } else {
            interleaver[coded_bits..].iter().for_each(|position| barred[*position] = true);
        }
    }
    let mut frozen = vec![true; length];
    numbers(include_str!("reliability.txt"))
        .into_iter()
        .rev()
        .filter(|position| *position < length && !barred[*position])
        .take(protected)
        .for_each(|position| frozen[position] = false);
    frozen
}
