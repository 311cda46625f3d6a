//! Probabilistic amplitude shaping: small amplitudes are sent more often than large ones, as a Gaussian channel wants it
//! (Böcherer, Steiner and Schulte 2015). A matcher turns equally likely bits into the amplitudes of a block's real
//! dimensions, every block with the same number of each (constant composition, Schulte and Böcherer 2016), so that every
//! block has the same mean power. Their labels are information of a systematic code whose parity gives the signs.
//!
//! Of N_c bits, the last `uniform_bits` go to the code as they are. They stand in its first columns, which are punctured
//! (so that every label is sent), and where they reach further they are signs as well. The matcher is an arithmetic
//! decoder and its inverse an arithmetic coder, in integers; it costs one bit and what a composition has less than its
//! entropy, 5 to 15 bits in 512 amplitudes.

use super::ldpc::{BaseGraph, LdpcCode};
use crate::dsp::constellation::{Constellation, MAX_AMPLITUDES, Modulation};
use crate::{Error, Result};

/// What a composition must have more than the matched bits, so that rounding makes no two words share a sequence.
const SPARE_BITS: f64 = 1.0;

/// Words of 32 bits of the longest sequence's arithmetic code: 2 048 amplitudes of eight.
const MAX_WORDS: usize = 200;

/// Real dimensions of the longest block.
const MAX_LENGTH: usize = 2048;

/// How a block's bits become the code's information: labels of amplitudes, and uniform bits.
#[derive(Debug, Clone)]
pub(super) struct Shaping {
    matcher: Matcher,
    uniform_bits: usize,
    /// Real dimensions of a block.
    dimensions: usize,
    modulation: Modulation,
}

impl Shaping {
    /// For `information_bits` bits in a block, with its code and constellation.
    pub(super) fn new(
        information_bits: usize,
        symbols: usize,
        modulation: Modulation,
    ) -> Result<(Self, LdpcCode, Constellation)> {
        let dimensions = 2 * symbols;
        // Measured to serve best, with little to choose between them: code rates of 0.63, 0.66, 0.82 and 0.86. The first
        // fills all columns of the code (Z 64 for 256 symbols, twice that punctured) and so only where there is such a Z; above
        // 1.3 bit/symbol its errors fall off more slowly.
        let low = information_bits as f64 <= 1.3 * symbols as f64 && symbols.is_multiple_of(256);
        let (uniform_share, graph) = match modulation {
            Modulation::Qpsk => {
                return Err(Error::input(
                    "qpsk has one amplitude and cannot be shaped; accepted: 16qam, 64qam, 256qam",
                ));
            }
            Modulation::Qam16 if low => (128, BaseGraph::Two),
            Modulation::Qam16 => (160, BaseGraph::Two),
            Modulation::Qam64 => (240, BaseGraph::One),
            Modulation::Qam256 => (224, BaseGraph::One),
        };
        let uniform_bits = uniform_share * dimensions / 512;
        let levels = modulation.amplitudes();
        let (least, most) = (uniform_bits + 1, uniform_bits + Matcher::most_bits(dimensions, levels));
        if !(least..=most).contains(&information_bits) {
            let bound = if information_bits < least { format!("at least {least}") } else { format!("at most {most}") };
            return Err(Error::input(format!(
                "{information_bits} information bits in a shaped block of {symbols} symbols of {modulation}; accepted: {bound}"
            )));
        }
        let matcher = Matcher::new(information_bits - uniform_bits, dimensions, levels);
        let constellation = Constellation::shaped(modulation, &matcher.counts);
        let shaping = Self { matcher, uniform_bits, dimensions, modulation };
        let code = shaping.code(graph)?;
        Ok((shaping, code, constellation))
    }

    /// Label bits of an amplitude.
    fn label_bits(&self) -> usize {
        self.modulation.bits_per_symbol() / 2 - 1
    }

    fn code(&self, graph: BaseGraph) -> Result<LdpcCode> {
        let information = self.uniform_bits + self.dimensions * self.label_bits();
        // The standard's rule would leave columns empty.
        let mut fitting = BaseGraph::liftings().into_iter().filter(|z| graph.columns_k() * z >= information);
        let lifting = fitting.next().filter(|z| 2 * z <= self.uniform_bits).ok_or_else(|| {
            Error::input(format!("blocks of {} symbols cannot be shaped; accepted: 256 to 1024", self.dimensions / 2))
        })?;
        let parity = graph.columns_k() * lifting;
        let signs: Vec<usize> = (2 * lifting..self.uniform_bits).chain(parity..).take(self.dimensions).collect();
        let axis_bits = self.label_bits() + 1;
        let positions = (0..self.dimensions * axis_bits).map(|air| {
            let (symbol, bit, axis) = (air / (2 * axis_bits), air / 2 % axis_bits, air % 2);
            let dimension = 2 * symbol + axis;
            let at = if bit == 0 { signs[dimension] } else { self.label_bit(dimension, bit - 1) };
            at as u32
        });
        Ok(LdpcCode::with_positions(graph, lifting, information, positions.collect()))
    }

    /// Where the code's information holds a bit of a dimension's label.
    fn label_bit(&self, dimension: usize, bit: usize) -> usize {
        self.uniform_bits + bit * self.dimensions + dimension
    }

    /// N_c bits as the code's information bits.
    pub(super) fn spread(&self, word: &[u8], information: &mut [u8]) {
        let (matched, uniform) = word.split_at(self.matcher.bits);
        information[..self.uniform_bits].copy_from_slice(uniform);
        let label_bits = self.label_bits();
        self.matcher.spread(matched, |dimension, level| {
            let label = self.modulation.amplitude_label(level);
            for bit in 0..label_bits {
                information[self.label_bit(dimension, bit)] = (label >> (label_bits - 1 - bit) & 1) as u8;
            }
        });
    }

    /// The code's information bits as N_c bits; false where no bits have these amplitudes.
    pub(super) fn gather(&self, information: &[u8], word: &mut [u8]) -> bool {
        let (matched, uniform) = word.split_at_mut(self.matcher.bits);
        uniform.copy_from_slice(&information[..self.uniform_bits]);
        let mut levels = [0; MAX_AMPLITUDES];
        (0..self.modulation.amplitudes()).for_each(|level| levels[self.modulation.amplitude_label(level)] = level);
        let label = |dimension| {
            (0..self.label_bits()).fold(0, |label, bit| label << 1 | information[self.label_bit(dimension, bit)])
        };
        self.matcher.gather((0..self.dimensions).map(|dimension| levels[usize::from(label(dimension))]), matched)
    }
}

/// A distribution matcher for sequences of one composition.
#[derive(Debug, Clone, PartialEq)]
struct Matcher {
    bits: usize,
    /// How often each level comes.
    counts: [u32; MAX_AMPLITUDES],
}

/// 2⁶⁴/n, rounded down, of the lengths that a sequence may have: a product takes half the time of a division.
static INVERSES: [u64; MAX_LENGTH + 1] = {
    let mut inverses = [0; MAX_LENGTH + 1];
    let mut n = 2;
    while n <= MAX_LENGTH {
        inverses[n] = ((1u128 << 64) / n as u128) as u64;
        n += 1;
    }
    inverses
};

/// `size / left`.
#[inline]
fn divided(size: u64, left: u32) -> u64 {
    let Some(inverse) = INVERSES.get(left as usize).filter(|_| left > 1) else { return size / u64::from(left) };
    let below = ((u128::from(size) * u128::from(*inverse)) >> 64) as u64;
    // The inverse is too small by less than one part of 2⁶⁴, the quotient by one at most.
    below + u64::from(size - below * u64::from(left) >= u64::from(left))
}

/// Where an arithmetic coder stands: its interval's size and what is left of the composition.
struct Interval {
    size: u64,
    counts: [u32; MAX_AMPLITUDES],
    left: u32,
}

impl Interval {
    /// Size of one place's share.
    fn unit(&self) -> u64 {
        divided(self.size, self.left)
    }

    /// Gives the next place to a level, whose share begins after `below` of those left; returns where it begins. The last
    /// level's share takes what rounding leaves.
    fn narrow(&mut self, unit: u64, level: usize, below: u32) -> u64 {
        let begin = unit * u64::from(below);
        let last = below + self.counts[level] == self.left;
        self.size = if last { self.size - begin } else { unit * u64::from(self.counts[level]) };
        self.counts[level] -= 1;
        self.left -= 1;
        begin
    }

    /// Makes room for 32 more bits where they are needed.
    fn widen(&mut self) -> bool {
        let narrow = self.size < 1 << 32;
        if narrow {
            self.size <<= 32;
        }
        narrow
    }
}

/// All levels as often as each other, and log₂ of the number of such sequences.
fn even(length: usize, levels: usize) -> ([u32; MAX_AMPLITUDES], f64) {
    let mut counts = [0; MAX_AMPLITUDES];
    counts[..levels].fill((length / levels) as u32);
    counts[0] += (length % levels) as u32;
    let log2_factorial = |n: u32| libm::lgamma(f64::from(n) + 1.0) * std::f64::consts::LOG2_E;
    (counts, counts.iter().fold(log2_factorial(length as u32), |all, count| all - log2_factorial(*count)))
}

impl Matcher {
    fn most_bits(length: usize, levels: usize) -> usize {
        (even(length, levels).1 - SPARE_BITS) as usize
    }

    /// From `bits` bits to `length` amplitudes of `levels` levels and little energy.
    fn new(bits: usize, length: usize, levels: usize) -> Self {
        let (mut counts, entropy) = even(length, levels);
        let mut spare = entropy - SPARE_BITS - bits as f64;
        // From large amplitudes to small ones, each time where it costs the fewest bits for the energy.
        loop {
            let moves = (1..levels).flat_map(|from| (0..from).map(move |to| (from, to)));
            let priced = moves.filter(|(from, _)| counts[*from] > 0).map(|(from, to)| {
                let cost = libm::log2(f64::from(counts[to] + 1) / f64::from(counts[from]));
                (cost / (from * (from + 1) - to * (to + 1)) as f64, cost, from, to)
            });
            let best = priced.filter(|(_, cost, ..)| *cost <= spare).min_by(|one, other| one.0.total_cmp(&other.0));
            let Some((_, cost, from, to)) = best else { return Self { bits, counts } };
            spare -= cost;
            counts[from] -= 1;
            counts[to] += 1;
        }
    }

    fn interval(&self) -> Interval {
        Interval { size: 1 << 32, counts: self.counts, left: self.counts.iter().sum() }
    }

    /// The bits as a sequence of levels: calls `put(place, level)` in order.
    fn spread(&self, bits: &[u8], mut put: impl FnMut(usize, usize)) {
        let word = |bits: &[u8]| (0..32).rev().zip(bits).fold(0, |word, (shift, bit)| word | u64::from(*bit) << shift);
        let mut words = bits.chunks(32).map(word);
        let mut interval = self.interval();
        let mut offset = words.next().unwrap_or(0);
        for place in 0..interval.left as usize {
            let unit = interval.unit();
            let (mut level, mut below) = (0, 0);
            loop {
                let end = below + interval.counts[level];
                if end == interval.left || offset < unit * u64::from(end) {
                    break;
                }
                (level, below) = (level + 1, end);
            }
            offset -= interval.narrow(unit, level, below);
            put(place, level);
            if interval.widen() {
                offset = offset << 32 | words.next().unwrap_or(0);
            }
        }
    }

    /// The bits of a sequence of levels; false where no bits have this one.
    fn gather(&self, levels: impl Iterator<Item = usize>, bits: &mut [u8]) -> bool {
        bits.fill(0);
        let mut interval = self.interval();
        // The interval's begin: words that are done, the first before the point, and 64 bits after them.
        let (mut words, mut length, mut low) = ([0u32; MAX_WORDS], 0, 0u64);
        for level in levels {
            if interval.counts[level] == 0 {
                return false;
            }
            let below = interval.counts[..level].iter().sum();
            let (sum, carry) = low.overflowing_add(interval.narrow(interval.unit(), level, below));
            low = sum;
            if carry {
                increment(words[..length].iter_mut().rev(), u32::MAX);
            }
            if interval.widen() {
                words[length] = (low >> 32) as u32;
                low <<= 32;
                length += 1;
            }
        }
        words[length..length + 2].copy_from_slice(&[(low >> 32) as u32, low as u32]);
        // The interval holds at most one number of so many bits: its begin, rounded up.
        let digit = |index: usize| words[1 + index / 32] >> (31 - index % 32) & 1;
        bits.iter_mut().enumerate().for_each(|(index, bit)| *bit = digit(index) as u8);
        let beyond = (bits.len()..32 * (length + 1)).any(|index| digit(index) == 1);
        !beyond || increment(bits.iter_mut().rev(), 1)
    }
}

/// Adds 1 to a number given by its digits, the least significant first; false where there is no room.
fn increment<'a, T: Copy + PartialEq + Default + std::ops::AddAssign + From<u8> + 'a>(
    mut digits: impl Iterator<Item = &'a mut T>,
    largest: T,
) -> bool {
    digits.any(|digit| {
        let carry = *digit == largest;
        if carry {
            *digit = T::default();
        } else {
            *digit += T::from(1);
        }
        !carry
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn matched_bits_come_back_from_amplitudes_of_one_composition(
            length in 64usize..600, levels in 2usize..=8, share in 0.05f64..1.0, seed: u64
        ) {
            let bits = ((Matcher::most_bits(length, levels) as f64 * share) as usize).max(1);
            let matcher = Matcher::new(bits, length, levels);
            // Random, and both ends of the range.
            for word in [
                (0..bits).map(|bit| (seed.rotate_left(bit as u32 * 7) ^ bit as u64) as u8 & 1).collect::<Vec<_>>(),
                vec![0; bits],
                vec![1; bits],
            ] {
                let mut sequence = vec![0; length];
                matcher.spread(&word, |place, level| sequence[place] = level);
                for (level, count) in matcher.counts.iter().enumerate() {
                    prop_assert_eq!(sequence.iter().filter(|found| **found == level).count(), *count as usize);
                }
                let mut back = vec![2; bits];
                prop_assert!(matcher.gather(sequence.iter().copied(), &mut back));
                prop_assert_eq!(&back, &word);
                sequence[0] = (sequence[0] + 1) % levels;
                prop_assert!(!matcher.gather(sequence.iter().copied(), &mut back));
            }
        }
    }

    #[test]
    fn quotients_by_inverses_are_those_of_divisions() {
        for left in 1..=MAX_LENGTH as u32 {
            for size in [1 << 32, u64::MAX, u64::MAX / 3, u64::from(left) << 40, (u64::from(left) << 40) - 1] {
                assert_eq!(divided(size, left), size / u64::from(left), "{size} / {left}");
            }
        }
    }

    #[test]
    fn of_two_amplitudes_the_large_one_comes_no_more_often_than_the_bits_need() {
        // C(512, 113) = 2^385.3, C(512, 112) = 2^383.5, and one bit is spare.
        assert_eq!(Matcher::new(384, 512, 2).counts[..2], [399, 113]);
        assert_eq!(Matcher::new(382, 512, 2).counts[..2], [400, 112]);
    }

    #[test]
    fn a_block_of_one_level_only_and_other_modulations_are_refused() {
        for (bits, symbols, modulation) in [
            (128, 256, Modulation::Qam16),
            (700, 256, Modulation::Qam16),
            (300, 256, Modulation::Qpsk),
            (6, 8, Modulation::Qam16),
        ] {
            let error = Shaping::new(bits, symbols, modulation).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains("accept")), "{bits} {symbols} {modulation}");
        }
    }
}
