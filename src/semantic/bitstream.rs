//! The bits of a picture: a protected part (picture header, slice lengths, hyper segment) and a body of slices.
//!
//! ```text
//! protected = HEADER (160 bits) | LENGTHS | HYPER          each ends in its own CRC-16
//! HEADER    = version 4 | model 4 | bank digest 16 | picture 16 | width−1 16 | height−1 16 | slices−1 16
//!             | bytes of LENGTHS 16 | bytes of HYPER 16 | bytes of body 24 | CRC 16
//! LENGTHS   = mean 16 | Rice parameter 4 | Rice codes of (length − mean) | zeros to the byte | CRC 16
//! HYPER     = range-coded z | CRC 16
//! body      = slices, each range-coded latents | CRC 16
//! ```
//! Numbers stand with their most significant bit first. The CRC is CCITT's x^16 + x^12 + x^5 + 1 over whole bytes, started from
//! a number that depends on the segment (and, in a slice, on picture and slice), so that a segment in the wrong place fails.
//!
//! Latent position (i, j) belongs to slice (a·i + j) mod S. The multiplier a makes each slice a lattice whose points
//! stand as far apart as S allows, so the neighbours of a lost position live in other slices.

/// Bytes of the picture header.
pub const HEADER_BYTES: usize = 20;
/// Most pixels of a picture: bounds the memory that a header can ask for.
pub const PIXELS_MAX: usize = 1 << 24;
/// Bytes of a CRC.
pub const CRC_BYTES: usize = 2;
const VERSION: u64 = 1;
const QUOTIENT_MAX: u32 = 20;

/// The picture header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Index of the model in its bank.
    pub model: usize,
    /// Low 16 bits of the bank's digest.
    pub bank: u16,
    /// Number of the picture, modulo 2^16.
    pub picture_number: u16,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Slices in the body.
    pub slices: usize,
    /// Bytes of the lengths segment with its CRC.
    pub lengths_bytes: usize,
    /// Bytes of the hyper segment with its CRC.
    pub hyper_bytes: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
}

impl Header {
    /// Bytes of the whole protected part.
    pub fn protected_bytes(&self) -> usize {
        HEADER_BYTES + self.lengths_bytes + self.hyper_bytes
    }

    /// Latent rows and columns.
    pub fn grid(&self) -> (usize, usize) {
        (self.height.div_ceil(16), self.width.div_ceil(16))
    }

    /// The header's bytes, or None where a number does not fit its field.
    pub fn write(&self) -> Option<[u8; HEADER_BYTES]> {
        let fields = [
            (VERSION, 4),
            (self.model as u64, 4),
            (u64::from(self.bank), 16),
            (u64::from(self.picture_number), 16),
            (self.width as u64 - 1, 16),
            (self.height as u64 - 1, 16),
            (self.slices as u64 - 1, 16),
            (self.lengths_bytes as u64, 16),
            (self.hyper_bytes as u64, 16),
            (self.body_bytes as u64, 24),
        ];
        let mut bits = BitWriter::default();
        for (value, count) in fields {
            if value >> count != 0 {
                return None;
            }
            bits.push(value as u32, count);
        }
        let mut bytes = bits.finish();
        push_crc(&mut bytes, 0, Segment::Header.seed());
        bytes.try_into().ok()
    }

    /// Reads a header; None where the CRC or a number is wrong.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let content = checked(bytes.get(..HEADER_BYTES)?, Segment::Header.seed())?;
        let mut bits = BitReader::new(content);
        let mut field = |count| bits.take(count).map(|v| v as usize);
        let version = field(4)?;
        let header = Self {
            model: field(4)?,
            bank: field(16)? as u16,
            picture_number: field(16)? as u16,
            width: field(16)? + 1,
            height: field(16)? + 1,
            slices: field(16)? + 1,
            lengths_bytes: field(16)?,
            hyper_bytes: field(16)?,
            body_bytes: field(24)?,
        };
        let (rows, columns) = header.grid();
        let sound = version as u64 == VERSION
            && header.width * header.height <= PIXELS_MAX
            && header.slices <= rows * columns
            && header.slices * CRC_BYTES <= header.body_bytes;
        sound.then_some(header)
    }
}

/// What a segment is, for the seed of its CRC.
#[derive(Debug, Clone, Copy)]
pub enum Segment {
    /// The picture header.
    Header,
    /// The slice lengths of this picture.
    Lengths(u16),
    /// The hyper segment of this picture.
    Hyper(u16),
    /// A slice of this picture.
    Slice(u16, usize),
}

impl Segment {
    /// Start of the CRC.
    pub fn seed(self) -> u16 {
        let (kind, picture, slice) = match self {
            Self::Header => (0x1d0f, 0, 0),
            Self::Lengths(picture) => (0x2e1c, picture, 0),
            Self::Hyper(picture) => (0x4b33, picture, 0),
            Self::Slice(picture, slice) => (0xffff, picture, slice as u16),
        };
        kind ^ picture.rotate_left(8) ^ slice.wrapping_mul(0x9e37)
    }
}

const CRC_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 0x8000 != 0 { value << 1 ^ 0x1021 } else { value << 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

fn crc16(bytes: &[u8], seed: u16) -> u16 {
    bytes.iter().fold(seed, |crc, &byte| crc << 8 ^ CRC_TABLE[(crc >> 8) as usize ^ byte as usize])
}

/// Appends the CRC of `bytes[from..]`.
pub fn push_crc(bytes: &mut Vec<u8>, from: usize, seed: u16) {
    let crc = crc16(&bytes[from..], seed);
    bytes.extend(crc.to_be_bytes());
}

/// The content of a segment whose CRC fits.
pub fn checked(bytes: &[u8], seed: u16) -> Option<&[u8]> {
    let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    (crc16(content, seed) == u16::from_be_bytes(*crc)).then_some(content)
}

/// The lengths segment with its CRC; None where a length is out of reach.
pub fn write_lengths(lengths: &[usize], picture_number: u16) -> Option<Vec<u8>> {
    let mean = lengths.iter().sum::<usize>() / lengths.len().max(1);
    let mean = u16::try_from(mean).ok()?;
    let folded: Vec<u32> =
        lengths.iter().map(|&l| fold(i32::try_from(l).ok()? - i32::from(mean))).collect::<Option<_>>()?;
    let cost = |k: u32| -> u64 { folded.iter().map(|&f| u64::from(rice_bits(f, k))).sum() };
    let parameter = (0..16).min_by_key(|&k| cost(k)).unwrap_or(0);
    let mut bits = BitWriter::default();
    bits.push(u32::from(mean), 16);
    bits.push(parameter, 4);
    for &value in &folded {
        let quotient = (value >> parameter).min(QUOTIENT_MAX);
        bits.push((1 << quotient) - 1, quotient);
        if quotient < QUOTIENT_MAX {
            bits.push(0, 1);
            bits.push(value & ((1 << parameter) - 1), parameter);
        } else {
            bits.push(value, 24);
        }
    }
    let mut bytes = bits.finish();
    push_crc(&mut bytes, 0, Segment::Lengths(picture_number).seed());
    Some(bytes)
}

/// Reads the byte ranges of all slices into `ranges`; false where the segment is damaged.
pub fn read_lengths(segment: &[u8], header: &Header, ranges: &mut Vec<(usize, usize)>) -> bool {
    ranges.clear();
    let Some(content) = checked(segment, Segment::Lengths(header.picture_number).seed()) else { return false };
    let mut bits = BitReader::new(content);
    let mut at = 0usize;
    let mut read = || -> Option<()> {
        let mean = bits.take(16)? as i64;
        let parameter = bits.take(4)?;
        for _ in 0..header.slices {
            let mut quotient = 0;
            while quotient < QUOTIENT_MAX && bits.take(1)? == 1 {
                quotient += 1;
            }
            let folded =
                if quotient < QUOTIENT_MAX { quotient << parameter | bits.take(parameter)? } else { bits.take(24)? };
            let difference = i64::from(folded >> 1) ^ -i64::from(folded & 1);
            let length = usize::try_from(mean + difference).ok()?;
            ranges.push((at, at + length));
            at += length;
        }
        (at == header.body_bytes).then_some(())
    };
    let sound = read().is_some();
    if !sound {
        ranges.clear();
    }
    sound
}

fn fold(difference: i32) -> Option<u32> {
    let folded = (difference << 1 ^ difference >> 31) as u32;
    (folded < 1 << 24).then_some(folded)
}

fn rice_bits(value: u32, parameter: u32) -> u32 {
    let quotient = value >> parameter;
    if quotient < QUOTIENT_MAX { quotient + 1 + parameter } else { QUOTIENT_MAX + 24 }
}

/// The multiplier a of the lattice with `slices` slices: the one whose points stand farthest apart.
pub fn lattice(slices: usize) -> usize {
    let candidates = slices.min(256);
    let reach = slices.isqrt() + 2;
    (0..candidates)
        .map(|c| c * slices / candidates)
        .max_by_key(|&a| {
            let nearest = (1..=reach).map(|di| {
                let residue = a * di % slices;
                let dj = residue.min(slices - residue);
                di * di + dj * dj
            });
            (nearest.min().unwrap_or(0).min(slices * slices), std::cmp::Reverse(a))
        })
        .unwrap_or(0)
}

/// Which positions belong to which slice.
#[derive(Debug, Default)]
pub struct SliceMap {
    shape: (usize, usize, usize),
    /// Positions sorted by slice, in raster order inside each.
    order: Vec<u32>,
    starts: Vec<usize>,
}

impl SliceMap {
    /// Deals the positions of a grid out to `slices` slices.
    pub fn assign(&mut self, grid: (usize, usize), slices: usize) {
        let shape = (grid.0, grid.1, slices);
        if self.shape == shape {
            return;
        }
        self.shape = shape;
        let multiplier = lattice(slices);
        let of = |position: usize| (multiplier * (position / grid.1) + position % grid.1) % slices;
        let positions = grid.0 * grid.1;
        self.starts.clear();
        self.starts.resize(slices + 1, 0);
        for position in 0..positions {
            self.starts[of(position) + 1] += 1;
        }
        for slice in 0..slices {
            self.starts[slice + 1] += self.starts[slice];
        }
        self.order.resize(positions, 0);
        for position in 0..positions {
            let at = &mut self.starts[of(position)];
            self.order[*at] = position as u32;
            *at += 1;
        }
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }

    /// The positions of a slice.
    pub fn positions(&self, slice: usize) -> &[u32] {
        &self.order[self.starts[slice]..self.starts[slice + 1]]
    }
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    hold: u64,
    held: u32,
}

impl BitWriter {
    fn push(&mut self, value: u32, count: u32) {
        self.hold = self.hold << count | u64::from(value) & ((1 << count) - 1);
        self.held += count;
        while self.held >= 8 {
            self.held -= 8;
            self.bytes.push((self.hold >> self.held) as u8);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.held > 0 {
            self.push(0, 8 - self.held);
        }
        self.bytes
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(slices: usize, body_bytes: usize) -> Header {
        Header {
            model: 3,
            bank: 0xbeef,
            picture_number: 65_535,
            width: 481,
            height: 321,
            slices,
            lengths_bytes: 40,
            hyper_bytes: 77,
            body_bytes,
        }
    }

    #[test]
    fn the_crc_is_ccitt_s() {
        assert_eq!(crc16(b"123456789", 0xffff), 0x29b1);
        assert_eq!(crc16(b"123456789", 0), 0x31c3);
    }

    #[test]
    fn a_header_is_160_bits_and_comes_back_and_no_flip_of_up_to_two_bits_passes() {
        let header = header(50, 4000);
        let bytes = header.write().unwrap();
        assert_eq!(8 * bytes.len(), 160);
        assert_eq!(Header::read(&bytes), Some(header));
        for first in 0..160 {
            for second in first..160 {
                let mut damaged = bytes;
                damaged[first / 8] ^= 1 << (first % 8);
                if second != first {
                    damaged[second / 8] ^= 1 << (second % 8);
                }
                assert_eq!(Header::read(&damaged), None);
            }
        }
    }

    #[test]
    fn a_header_that_asks_for_too_much_is_refused() {
        for bad in
            [Header { width: 65_536, height: 65_536, ..header(50, 4000) }, header(10_000, 40_000), header(50, 99)]
        {
            assert_eq!(Header::read(&bad.write().unwrap()), None);
        }
        assert_eq!(Header { model: 16, ..header(50, 4000) }.write(), None);
    }

    proptest! {
        #[test]
        fn lengths_come_back(lengths in prop::collection::vec(2usize..3000, 1..600), picture in any::<u16>()) {
            let header = Header { picture_number: picture, ..header(lengths.len(), lengths.iter().sum()) };
            let mut segment = write_lengths(&lengths, picture).unwrap();
            let mut ranges = vec![];
            prop_assert!(read_lengths(&segment, &header, &mut ranges));
            prop_assert_eq!(ranges.iter().map(|r| r.1 - r.0).collect::<Vec<_>>(), lengths);
            segment[0] ^= 1;
            prop_assert!(!read_lengths(&segment, &header, &mut ranges) && ranges.is_empty());
        }

        #[test]
        fn any_bytes_are_a_header_or_not(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Header::read(&bytes);
        }
    }

    #[test]
    fn every_position_is_in_exactly_one_slice() {
        let mut map = SliceMap::default();
        for (grid, slices) in [((16, 16), 23), ((1, 1), 1), ((3, 50), 150), ((32, 48), 7)] {
            map.assign(grid, slices);
            let mut seen: Vec<u32> = (0..slices).flat_map(|s| map.positions(s).to_vec()).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..(grid.0 * grid.1) as u32));
        }
    }

    #[test]
    fn lattice_points_stand_apart_as_far_as_their_density_allows() {
        for slices in [4usize, 9, 16, 23, 64, 100, 256, 1000, 4096] {
            let a = lattice(slices);
            let side = 80i64;
            let nearest = (0..side)
                .flat_map(|i| (-side..side).map(move |j| (i, j)))
                .filter(|&(i, j)| (i, j) != (0, 0) && (a as i64 * i + j).rem_euclid(slices as i64) == 0)
                .map(|(i, j)| i * i + j * j)
                .min()
                .unwrap();
            assert!(nearest as f64 >= 0.7 * slices as f64, "{slices} slices: a = {a}, squared distance {nearest}");
        }
    }
}
