//! The header on the air: a word of 50 bits and a CRC of 16, polar-coded and sent as QPSK in 88 or 272 symbols.
//!
//! A header in full has about 150 bits, which alone need 525 symbols at -5 dB. Most of them say what they said a frame ago,
//! so a word holds what changes with every frame (its number's low bits, the kinds of its blocks, how far the picture is) and
//! one page of four with what stays: page `number mod 4`. A receiver that has all four knows everything, and what it knows it
//! need not decode: those bits are given to the decoder beforehand, which then reads words at SINRs where it could not find
//! the lock. [`super::lock::Lock`] turns words into headers.

use super::frame::{BLOCKS, HeaderLength};
use super::header::{Fields, FrameHeader, VERSION};
use crate::coding::{Crc, HeaderCode, HeaderScratch, KnownBeginning};
use crate::{Result, dsp::constellation::Modulation};

/// Bits of a word.
pub const WORD_BITS: usize = 50;

/// Pages that a word may carry.
pub const PAGES: usize = 4;

/// Bits of the frame number that every word carries.
pub const NUMBER_BITS: u32 = 6;
/// Bits of the picture number that every word carries.
pub const PICTURE_BITS: u32 = 4;
/// Bits of the count of a picture's blocks.
pub const COUNT_BITS: u32 = 6;
/// Bits of a page.
const PAGE_BITS: usize = 24;

/// Added to the CRC, so that all zeros are no word, nor those of another version of the air interface.
const CRC_MASK: u32 = 0xa5a5 ^ (VERSION as u32) << 6;

/// Kinds of a frame's blocks, which stand in this order: a picture's protected part, its body, data; the rest is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    /// A picture begins: its first protected block is this frame's first.
    pub begins: bool,
    /// Protected blocks.
    pub protected: u8,
    /// Blocks of the body.
    pub body: u8,
    /// Data blocks.
    pub data: u8,
}

impl Kinds {
    /// All that there are, in the order of their codes: those that begin no picture, then those that do.
    fn all() -> impl Iterator<Item = Self> {
        let of = |begins: bool| {
            let most = BLOCKS as u8;
            (u8::from(begins)..=most).flat_map(move |protected| {
                (0..=most - protected).flat_map(move |body| {
                    (0..=most - protected - body).map(move |data| Self { begins, protected, body, data })
                })
            })
        };
        of(false).chain(of(true))
    }

    fn code(self) -> u64 {
        Self::all().position(|kinds| kinds == self).unwrap_or(0) as u64
    }
}

/// What one header says on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderWord {
    /// Low bits of the frame number.
    pub number: u8,
    /// Page `number mod 4`.
    pub page: u32,
    /// Which formats of blocks are in force.
    pub formats: u8,
    /// Low bits of the picture number.
    pub picture: u8,
    /// Low bits of how many of the picture's blocks came in frames before.
    pub count: u8,
    /// Kinds of the blocks.
    pub kinds: Kinds,
    /// The frame ends the picture.
    pub last: bool,
}

/// Both formats of blocks, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats {
    /// N_c, modulation and shaping of payload and protected blocks.
    pub bits: [u16; 2],
    /// Indices of the modulations.
    pub modulations: [u8; 2],
    /// Whether amplitudes are shaped.
    pub shaped: [bool; 2],
    /// Low bits of the number of the frame from which on they are in force.
    pub since: u8,
}

impl Formats {
    /// Pages 0 and 2.
    fn pages(self) -> [u32; 2] {
        let format = |index: usize| u32::from(self.modulations[index]) << 1 | u32::from(self.shaped[index]);
        [
            u32::from(self.bits[0]) << 13 | u32::from(self.bits[1]) << 2,
            (format(0) << 3 | format(1)) << 18 | u32::from(VERSION) << 14 | u32::from(self.since) << 8,
        ]
    }

    /// What pages 0 and 2 say; `None` for another version, and where a spare bit is set.
    pub fn of_pages([sizes, rest]: [u32; 2]) -> Option<Self> {
        let format = [rest >> 21 & 7, rest >> 18 & 7];
        let is_ours = rest >> 14 & 15 == u32::from(VERSION) && rest & 0xff == 0 && sizes & 3 == 0;
        let modulations = format.map(|format| (format >> 1) as u8);
        let known = modulations.iter().all(|index| usize::from(*index) < Modulation::ALL.len());
        (is_ours && known).then(|| Self {
            bits: [(sizes >> 13 & 0x7ff) as u16, (sizes >> 2 & 0x7ff) as u16],
            modulations,
            shaped: format.map(|format| format & 1 == 1),
            since: (rest >> 8 & 0x3f) as u8,
        })
    }
}

impl HeaderWord {
    /// The word of a header.
    pub fn of(header: &FrameHeader) -> Self {
        let formats = Formats {
            bits: [header.payload_bits, header.protected_bits],
            modulations: [header.payload_modulation, header.protected_modulation],
            shaped: [header.payload_shaped, header.protected_shaped],
            since: header.formats_since,
        };
        let page = match header.number as usize % PAGES {
            0 => formats.pages()[0],
            1 => (header.number >> NUMBER_BITS) as u32 & 0xff_ffff,
            2 => formats.pages()[1],
            _ => u32::from(header.picture >> PICTURE_BITS) << 12 | u32::from(header.data_sequence),
        };
        Self {
            number: header.number as u8 & 0x3f,
            page,
            formats: header.formats,
            picture: header.picture as u8 & 0xf,
            count: header.picture_blocks as u8 & 0x3f,
            kinds: Kinds {
                begins: header.begins_picture(),
                protected: header.protected_blocks,
                body: header.used_blocks - header.protected_blocks,
                data: header.data_blocks,
            },
            last: header.last_of_picture,
        }
    }

    /// Which page it carries.
    pub fn page_number(&self) -> usize {
        usize::from(self.number) % PAGES
    }

    fn pack(&self) -> [u8; WORD_BITS] {
        let mut bits = [0; WORD_BITS];
        let mut fields = Fields::new(&mut bits);
        for (value, width) in [
            (u64::from(self.number), NUMBER_BITS as usize),
            (u64::from(self.page), PAGE_BITS),
            (u64::from(self.formats), 3),
            (u64::from(self.picture), PICTURE_BITS as usize),
            (u64::from(self.count), COUNT_BITS as usize),
            (self.kinds.code(), 6),
            (u64::from(self.last), 1),
        ] {
            fields.put(value, width);
        }
        bits
    }

    fn unpack(bits: &mut [u8; WORD_BITS]) -> Option<Self> {
        let mut fields = Fields::new(bits);
        Some(Self {
            number: fields.take(NUMBER_BITS as usize) as u8,
            page: fields.take(PAGE_BITS) as u32,
            formats: fields.take(3) as u8,
            picture: fields.take(PICTURE_BITS as usize) as u8,
            count: fields.take(COUNT_BITS as usize) as u8,
            kinds: Kinds::all().nth(fields.take(6) as usize)?,
            last: fields.take(1) == 1,
        })
    }
}

/// What a receiver knows of a word before it comes.
#[derive(Debug, Clone, Copy)]
pub struct Foreknown {
    /// Low bits of the frame number.
    pub number: u8,
    /// The page.
    pub page: Option<u32>,
}

impl Foreknown {
    /// A word that begins like this.
    fn word(self) -> HeaderWord {
        HeaderWord { number: self.number, page: self.page.unwrap_or(0), ..HeaderWord::default() }
    }
}

/// Writes and reads words in both lengths.
#[derive(Debug, Clone)]
pub struct WordCode {
    codes: [HeaderCode; 2],
    /// Words of which the number is known, and those of which the page is as well.
    beginnings: [[KnownBeginning; 2]; 2],
    scratch: [HeaderScratch; 2],
    bits: [u8; WORD_BITS],
    known: [Option<u8>; WORD_BITS],
}

impl WordCode {
    /// The codes.
    pub fn new() -> Result<Self> {
        let code = |length: HeaderLength| HeaderCode::with_crc(WORD_BITS, 2 * length.symbols(), Crc::Crc16, CRC_MASK);
        let codes = [code(HeaderLength::Short)?, code(HeaderLength::Long)?];
        let scratch = [HeaderScratch::new(&codes[0]), HeaderScratch::new(&codes[1])];
        let number = NUMBER_BITS as usize;
        let beginnings =
            [0, 1].map(|index: usize| [number, number + PAGE_BITS].map(|count| codes[index].known_beginning(count)));
        Ok(Self { codes, beginnings, scratch, bits: [0; WORD_BITS], known: [None; WORD_BITS] })
    }

    /// Writes a word's coded bits, two for each symbol of QPSK.
    pub fn encode(&mut self, word: &HeaderWord, length: HeaderLength, coded: &mut [u8]) {
        let index = length as usize;
        self.codes[index].encode(&word.pack(), coded, &mut self.scratch[index]);
    }

    /// Reads a word from its soft bits (positive means 0), first with what is known of it; where that leads to none, without.
    pub fn decode(&mut self, llr: &[f32], length: HeaderLength, known: Option<Foreknown>) -> Option<HeaderWord> {
        known
            .and_then(|known| self.recognise(llr, length, known).or_else(|| self.decode_with(llr, length, Some(known))))
            .or_else(|| self.decode_with(llr, length, None))
    }

    /// The expected word, where there is so little noise that it needs no list.
    fn recognise(&mut self, llr: &[f32], length: HeaderLength, known: Foreknown) -> Option<HeaderWord> {
        let index = length as usize;
        let beginning = &self.beginnings[index][usize::from(known.page.is_some())];
        let known = known.word().pack();
        let found = self.codes[index].recognise(llr, beginning, &known, &mut self.bits, &mut self.scratch[index]);
        found.then(|| HeaderWord::unpack(&mut self.bits)).flatten()
    }

    fn decode_with(&mut self, llr: &[f32], length: HeaderLength, known: Option<Foreknown>) -> Option<HeaderWord> {
        let index = length as usize;
        let count = known.map_or(0, |known| self.note(known));
        let known = &self.known[..count];
        let found = self.codes[index].decode_knowing(llr, known, &mut self.bits, &mut self.scratch[index]);
        found.then(|| HeaderWord::unpack(&mut self.bits)).flatten()
    }

    /// Writes down what is known; how many bits that are, from the first on.
    fn note(&mut self, known: Foreknown) -> usize {
        let count = NUMBER_BITS as usize + known.page.map_or(0, |_| PAGE_BITS);
        self.known.iter_mut().zip(known.word().pack()).take(count).for_each(|(known, bit)| *known = Some(bit));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64) -> FrameHeader {
        FrameHeader {
            version: VERSION,
            number,
            picture: (number / 12) as u16,
            formats: 5,
            formats_since: 61,
            payload_bits: 1024,
            payload_modulation: 2,
            payload_shaped: true,
            protected_bits: 250,
            protected_blocks: u8::from(number.is_multiple_of(12)),
            used_blocks: 4 - (number % 12 == 11) as u8,
            picture_blocks: (4 * (number % 12)) as u16,
            last_of_picture: number % 12 == 11,
            ..FrameHeader::default()
        }
    }

    #[test]
    fn every_arrangement_of_kinds_has_a_code_of_its_own_in_six_bits() {
        let all: Vec<_> = Kinds::all().collect();
        assert_eq!(all.len(), 55);
        for (code, kinds) in all.iter().enumerate() {
            assert_eq!(kinds.code(), code as u64);
        }
    }

    #[test]
    fn words_come_back_in_both_lengths_with_foreknowledge_right_wrong_and_none() {
        let mut code = WordCode::new().unwrap();
        for length in HeaderLength::ALL {
            for number in [0, 1, 2, 3, 11, 12, 1 << 20, (1 << 30) + 5] {
                let word = HeaderWord::of(&header(number));
                let mut coded = vec![0; 2 * length.symbols()];
                code.encode(&word, length, &mut coded);
                let llr: Vec<f32> = coded.iter().map(|bit| 3.0 - 6.0 * f32::from(*bit)).collect();
                let right = Foreknown { number: word.number, page: Some(word.page) };
                let wrong = Foreknown { number: word.number ^ 9, page: None };
                for known in [None, Some(right), Some(Foreknown { page: None, ..right }), Some(wrong)] {
                    assert_eq!(code.decode(&llr, length, known), Some(word));
                }
                assert_eq!(code.decode(&vec![0.0; llr.len()], length, None), None, "nothing is no word");
            }
        }
    }

    #[test]
    fn formats_survive_their_pages() {
        let word = |number| HeaderWord::of(&header(number)).page;
        let formats = Formats::of_pages([word(4), word(6)]).unwrap();
        let expected = Formats { bits: [1024, 250], modulations: [2, 0], shaped: [true, false], since: 61 };
        assert_eq!(formats, expected);
        assert_eq!(Formats::of_pages([word(4), word(6) ^ 1 << 14]), None, "another version");
    }
}
