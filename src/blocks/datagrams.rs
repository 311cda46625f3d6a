//! Datagrams in the blocks that pictures leave free: how they are cut, and put together again.
//!
//! Data blocks make one stream of bits, in which datagrams follow each other. Each block begins with a **place**: 11 bits
//! that say where behind them the first datagram of this block begins ([`NOWHERE`] if none does), so that a reader finds its
//! way again behind a block that is lost. A datagram is its length in bytes (16 bits), its number (16, counted up), the CRC-32
//! of length, number and bytes (32), and its bytes. A length of zero fills a block up.

use super::unpack;

/// Most bytes of a datagram: those that a UDP packet over IPv4 may have.
pub(super) const MOST_BYTES: usize = 65_507;

/// Bits of a block's place.
pub(super) const PLACE_BITS: usize = 11;

/// A block in which no datagram begins.
const NOWHERE: usize = (1 << PLACE_BITS) - 1;

/// Bytes before those of the datagram itself: length, number, CRC.
const HEAD: usize = 8;

/// Cuts datagrams into blocks. Room is made once.
pub(super) struct Packer {
    /// The datagram under way with its head, and the bits of it that are sent.
    bytes: Vec<u8>,
    sent: usize,
    number: u16,
}

impl Packer {
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(HEAD + MOST_BYTES), sent: 0, number: 0 }
    }

    fn left(&self) -> usize {
        8 * self.bytes.len() - self.sent
    }

    /// Whether a datagram is under way.
    pub fn is_under_way(&self) -> bool {
        self.left() > 0
    }

    /// Begins with the next datagram, which `next` writes behind what there is; `false` where there is none.
    fn take(&mut self, next: &mut impl FnMut(&mut Vec<u8>) -> bool) -> bool {
        self.bytes.clear();
        self.bytes.resize(HEAD, 0);
        self.sent = 0;
        if !next(&mut self.bytes) {
            self.bytes.clear();
            return false;
        }
        let (head, datagram) = self.bytes.split_at_mut(HEAD);
        debug_assert!((1..=MOST_BYTES).contains(&datagram.len()));
        head[..2].copy_from_slice(&(datagram.len() as u16).to_be_bytes());
        head[2..4].copy_from_slice(&self.number.to_be_bytes());
        let sum = checksum(head, datagram);
        head[4..].copy_from_slice(&sum.to_be_bytes());
        self.number = self.number.wrapping_add(1);
        true
    }

    /// Fills a block's bits, one per byte, with what is under way and with the datagrams of 1 to [`MOST_BYTES`] bytes that
    /// `next` appends to what it is given, until it says that there are none. `false`: there was nothing to send, and the
    /// block is as it was.
    pub fn fill(&mut self, block: &mut [u8], mut next: impl FnMut(&mut Vec<u8>) -> bool) -> bool {
        if block.len() <= PLACE_BITS || !self.is_under_way() && !self.take(&mut next) {
            return false;
        }
        let (place, bits) = block.split_at_mut(PLACE_BITS);
        let (mut at, mut first) = (0, if self.sent == 0 { 0 } else { NOWHERE });
        while at < bits.len() && (self.is_under_way() || self.take(&mut next)) {
            if self.sent == 0 && first == NOWHERE {
                first = at;
            }
            let count = self.left().min(bits.len() - at);
            unpack(&self.bytes, self.sent, &mut bits[at..at + count]);
            (at, self.sent) = (at + count, self.sent + count);
        }
        bits[at..].fill(0);
        place.iter_mut().rev().enumerate().for_each(|(shift, bit)| *bit = (first >> shift & 1) as u8);
        true
    }
}

fn checksum(head: &[u8], datagram: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..4]);
    hasher.update(datagram);
    hasher.finalize()
}

/// Counts at the receiving side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Datagrams that came whole, and their bytes.
    pub received: u64,
    pub bytes: u64,
    /// Numbers that were left out between those that came.
    pub lost: u64,
    /// Datagrams whose CRC did not fit: dropped.
    pub damaged: u64,
}

/// Puts datagrams together from blocks.
pub(super) struct Unpacker {
    /// Bits under way as bytes, the last one begun.
    bytes: Vec<u8>,
    bits: usize,
    /// Whether it is known where in the stream the next bit stands.
    in_step: bool,
    /// Number of the next datagram; any where none came yet.
    next: Option<u16>,
    pub counts: Counts,
}

impl Unpacker {
    pub fn new() -> Self {
        let bytes = Vec::with_capacity(HEAD + MOST_BYTES);
        Self { bytes, bits: 0, in_step: false, next: None, counts: Counts::default() }
    }

    /// Blocks are missing.
    pub fn lose(&mut self) {
        self.in_step = false;
        self.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bits = 0;
    }

    /// Takes in a block; `out` is given the bytes of each datagram that it ends.
    pub fn take(&mut self, block: &[u8], mut out: impl FnMut(&[u8])) {
        if block.len() <= PLACE_BITS {
            return;
        }
        let (place, bits) = block.split_at(PLACE_BITS);
        let place = place.iter().fold(0, |place, bit| place << 1 | usize::from(*bit));
        let mut at = 0;
        if place != NOWHERE {
            if place >= bits.len() {
                return self.lose();
            }
            // What is under way ends where the place says, or it is not what it seems.
            if self.in_step && self.bits > 0 {
                self.read(&bits[..place], &mut out);
                if self.bits > 0 {
                    self.clear();
                }
            }
            (self.in_step, at) = (true, place);
        }
        if self.in_step {
            self.read(&bits[at..], &mut out);
        }
    }

    /// Reads bits in step.
    fn read(&mut self, bits: &[u8], out: &mut impl FnMut(&[u8])) {
        for bit in bits {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("one was pushed");
            *last |= bit << (7 - self.bits % 8);
            self.bits += 1;
            if self.bits == 16 && self.bytes == [0, 0] {
                // The rest of the block is empty; the next one says where a datagram begins.
                self.in_step = false;
                return self.clear();
            }
            if self.bits >= 16 && self.bits == 8 * (HEAD + self.length()) {
                self.finish(out);
            }
        }
    }

    fn length(&self) -> usize {
        usize::from(u16::from_be_bytes([self.bytes[0], self.bytes[1]]))
    }

    fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        let (head, datagram) = self.bytes.split_at(HEAD);
        let number = u16::from_be_bytes([head[2], head[3]]);
        let told = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if told == checksum(head, datagram) {
            // The air keeps the order: a number far ahead is one behind, and the sender began anew.
            let lost = self.next.map_or(0, |next| number.wrapping_sub(next));
            self.counts.lost += u64::from(if lost < 1 << 15 { lost } else { 0 });
            self.counts.received += 1;
            self.counts.bytes += datagram.len() as u64;
            self.next = Some(number.wrapping_add(1));
            out(datagram);
        } else {
            self.counts.damaged += 1;
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn append(bytes: &mut Vec<u8>, datagram: &[u8]) -> bool {
        bytes.extend_from_slice(datagram);
        true
    }

    /// Blocks of these sizes until all datagrams are sent.
    fn packed(datagrams: &[Vec<u8>], sizes: &[usize]) -> Vec<Vec<u8>> {
        let (mut packer, mut left) = (Packer::new(), datagrams.iter());
        let mut blocks = Vec::new();
        for size in sizes.iter().cycle() {
            let mut block = vec![1; *size];
            if !packer.fill(&mut block, |bytes| left.next().is_some_and(|next| append(bytes, next))) {
                break;
            }
            blocks.push(block);
        }
        blocks
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_in_its_order_and_what_is_lost_is_counted(
            sizes in prop::collection::vec(40usize..900, 1..5),
            lengths in prop::collection::vec(1usize..400, 1..40),
            lost in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let datagrams: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(n, length)| (0..*length).map(|k| (31 * n + k) as u8).collect()).collect();
            let blocks = packed(&datagrams, &sizes);
            let lost: std::collections::BTreeSet<_> = lost.iter().map(|index| index.index(blocks.len())).collect();
            let (mut unpacker, mut came) = (Unpacker::new(), Vec::new());
            for (index, block) in blocks.iter().enumerate() {
                if lost.contains(&index) {
                    unpacker.lose();
                } else {
                    unpacker.take(block, |datagram| came.push(datagram.to_vec()));
                }
            }
            // What came is a subsequence of what was sent, and all of it where no block was lost.
            let mut sent = datagrams.iter();
            prop_assert!(came.iter().all(|datagram| sent.any(|known| known == datagram)));
            prop_assert_eq!(unpacker.counts.damaged, 0);
            prop_assert_eq!(unpacker.counts.received, came.len() as u64);
            // Those before the first that came are nobody's loss: a receiver may be switched on at any time.
            let before = came.first().map_or(0, |first| datagrams.iter().position(|known| known == first).unwrap());
            let others = sent.len() + before;
            prop_assert!(came.is_empty() || unpacker.counts.lost as usize + came.len() + others == datagrams.len());
            if lost.is_empty() {
                prop_assert_eq!(came.len(), datagrams.len());
            }
            // A lost block costs the datagrams that it carried a part of and no others.
            let most = lost.iter().map(|index| {
                let bits: usize = blocks[*index].len();
                2 + bits / (8 * (HEAD + lengths.iter().min().unwrap()))
            });
            prop_assert!(datagrams.len() - came.len() <= most.sum());
        }

        #[test]
        fn noise_is_survived_and_gives_no_datagram(seed: u64, size in 0usize..2100) {
            use rand::{RngExt, SeedableRng};
            let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut unpacker = Unpacker::new();
            for _ in 0..200 {
                let block: Vec<u8> = (0..size).map(|_| random.random_range(0..2)).collect();
                unpacker.take(&block, |_| panic!("one of 2^32 passes"));
                prop_assert!(unpacker.bytes.capacity() <= HEAD + MOST_BYTES + 32);
            }
        }
    }

    #[test]
    fn a_block_without_data_is_left_alone_and_the_last_one_is_filled_up() {
        let mut packer = Packer::new();
        let mut block = [7; 120];
        assert!(!packer.fill(&mut block, |_| false) && block == [7; 120]);
        let mut datagrams = [&b"ab"[..]].into_iter();
        assert!(packer.fill(&mut block, |bytes| datagrams.next().is_some_and(|next| append(bytes, next))));
        assert!(
            block[..PLACE_BITS].iter().all(|bit| *bit == 0) && block[PLACE_BITS + 80..].iter().all(|bit| *bit == 0)
        );
        assert!(!packer.is_under_way());
        let mut unpacker = Unpacker::new();
        let mut came = Vec::new();
        unpacker.take(&block, |datagram| came.extend_from_slice(datagram));
        assert_eq!((came.as_slice(), unpacker.in_step), (&b"ab"[..], false));
        assert!(!packer.fill(&mut [0; PLACE_BITS], |bytes| append(bytes, b"x")), "no room for a bit of it");
    }

    #[test]
    fn numbers_go_on_beyond_what_sixteen_bits_count() {
        let datagrams = vec![vec![1]; 70_000];
        let mut unpacker = Unpacker::new();
        packed(&datagrams, &[1000]).iter().for_each(|block| unpacker.take(block, |_| {}));
        assert_eq!(unpacker.counts, Counts { received: 70_000, bytes: 70_000, lost: 0, damaged: 0 });
    }
}
