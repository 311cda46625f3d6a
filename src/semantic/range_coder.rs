//! A byte-oriented range coder with 48 bits of state, and the integer tables that drive it.
//!
//! Probabilities have 16 bits. A stream ends with the fewest bytes that name a number inside the last interval; the
//! decoder reads zeros past the end, so trailing zero bytes are not sent either. Symbols of a table stand in the order
//! 0, 1, −1, 2, −2, …, escape; beyond the table's radius the escape is followed by an Exp-Golomb code and a sign.

const STATE_BITS: u32 = 48;
const RENORMALISE: u64 = 1 << (STATE_BITS - 8);
const MASK: u64 = (1 << STATE_BITS) - 1;
/// Bits of a probability.
pub const PROBABILITY_BITS: u32 = 16;
const TOTAL: u32 = 1 << PROBABILITY_BITS;
/// Longest Exp-Golomb prefix: symbols stay below 2^17 in magnitude beyond the table, whatever the bits say.
const PREFIX_MAX: u32 = 16;

/// Appends one range-coded stream to a byte vector.
#[derive(Debug)]
pub struct RangeEncoder<'a> {
    bytes: &'a mut Vec<u8>,
    begin: usize,
    low: u64,
    range: u64,
}

impl<'a> RangeEncoder<'a> {
    /// Starts a stream at the end of `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        let begin = bytes.len();
        Self { bytes, begin, low: 0, range: MASK }
    }

    /// Codes the interval [from, to) of 2^16.
    #[inline]
    pub fn interval(&mut self, from: u32, to: u32) {
        let unit = self.range >> PROBABILITY_BITS;
        self.low += unit * u64::from(from);
        self.range = if to == TOTAL { self.range - unit * u64::from(from) } else { unit * u64::from(to - from) };
        if self.low > MASK {
            self.carry();
        }
        while self.range < RENORMALISE {
            self.bytes.push((self.low >> (STATE_BITS - 8)) as u8);
            self.low = (self.low << 8) & MASK;
            self.range <<= 8;
        }
    }

    /// Codes the `count` low bits of `value`, each at one bit.
    pub fn bits(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            let bit = value >> shift & 1;
            self.interval(bit * TOTAL / 2, (bit + 1) * TOTAL / 2);
        }
    }

    fn carry(&mut self) {
        self.low &= MASK;
        for byte in self.bytes[self.begin..].iter_mut().rev() {
            let (sum, overflow) = byte.overflowing_add(1);
            *byte = sum;
            if !overflow {
                break;
            }
        }
    }

    /// Ends the stream.
    pub fn finish(mut self) {
        for sent in 0..=STATE_BITS / 8 {
            let free = MASK >> (8 * sent);
            let value = (self.low + free) & !free;
            if value - self.low < self.range {
                self.low = value;
                if self.low > MASK {
                    self.carry();
                }
                self.bytes.extend((0..sent).map(|i| (self.low >> (STATE_BITS - 8 - 8 * i)) as u8));
                break;
            }
        }
        while self.bytes.len() > self.begin && self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
    }
}

/// Reads one range-coded stream. Any bytes decode to something; nothing fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeDecoder {
    next: usize,
    end: usize,
    code: u64,
    range: u64,
}

impl RangeDecoder {
    /// A decoder of `bytes[from..to]`; every later call gets the same `bytes`.
    pub fn new(bytes: &[u8], from: usize, to: usize) -> Self {
        let mut decoder = Self { next: from, end: to, code: 0, range: MASK };
        for _ in 0..STATE_BITS / 8 {
            decoder.shift(bytes);
        }
        decoder
    }

    #[inline]
    fn shift(&mut self, bytes: &[u8]) {
        let byte = if self.next < self.end { bytes[self.next] } else { 0 };
        self.next += 1;
        self.code = (self.code << 8 | u64::from(byte)) & MASK;
    }

    /// The next 16-bit point, to be looked up in a table and then given to [`Self::take`].
    #[inline]
    pub fn point(&self) -> u32 {
        (self.code / (self.range >> PROBABILITY_BITS)).min(u64::from(TOTAL - 1)) as u32
    }

    /// Takes the interval [from, to) that holds the point.
    #[inline]
    pub fn take(&mut self, bytes: &[u8], from: u32, to: u32) {
        let unit = self.range >> PROBABILITY_BITS;
        self.code -= unit * u64::from(from);
        self.range = if to == TOTAL { self.range - unit * u64::from(from) } else { unit * u64::from(to - from) };
        while self.range < RENORMALISE {
            self.range <<= 8;
            self.shift(bytes);
        }
    }

    /// `count` bits at one bit each.
    pub fn bits(&mut self, bytes: &[u8], count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            let bit = self.point() >> (PROBABILITY_BITS - 1);
            self.take(bytes, bit * TOTAL / 2, (bit + 1) * TOTAL / 2);
            value = value << 1 | bit;
        }
        value
    }
}

/// Cumulative counts of symbols 0, 1, −1, … radius, −radius, escape.
#[derive(Debug, Clone)]
pub struct Table {
    /// Ends in 2^16.
    cumulative: Vec<u32>,
    /// Bits of each symbol and of the escape.
    costs: Vec<f32>,
}

impl Table {
    /// From the counts' cumulative sums without the final 2^16. None unless they start at 0, rise strictly and hold an
    /// odd number of symbols and the escape.
    pub fn new(cumulative: &[u16]) -> Option<Self> {
        let rises = cumulative.windows(2).all(|w| w[0] < w[1]);
        let whole = cumulative.first() == Some(&0) && cumulative.len() >= 2 && cumulative.len().is_multiple_of(2);
        if !rises || !whole {
            return None;
        }
        let cumulative: Vec<u32> = cumulative.iter().map(|&c| u32::from(c)).chain([TOTAL]).collect();
        let costs = cumulative.windows(2).map(|w| PROBABILITY_BITS as f32 - ((w[1] - w[0]) as f32).log2()).collect();
        Some(Self { cumulative, costs })
    }

    fn escape(&self) -> usize {
        self.cumulative.len() - 2
    }

    fn radius(&self) -> i32 {
        self.escape() as i32 / 2
    }

    /// What `symbol` costs in bits.
    #[inline]
    pub fn cost_bits(&self, symbol: i32) -> f64 {
        let beyond = symbol.abs() - self.radius();
        if beyond > 0 {
            return f64::from(self.costs[self.escape()]) + f64::from(2 * beyond.ilog2() + 2);
        }
        f64::from(self.costs[fold(symbol)])
    }

    /// Codes one symbol of magnitude below [`SYMBOL_MAX`].
    pub fn encode(&self, encoder: &mut RangeEncoder, symbol: i32) {
        let beyond = symbol.abs() - self.radius();
        let index = if beyond > 0 { self.escape() } else { fold(symbol) };
        encoder.interval(self.cumulative[index], self.cumulative[index + 1]);
        if beyond > 0 {
            let length = beyond.ilog2();
            encoder.bits((1 << length) - 1, length);
            if length < PREFIX_MAX {
                encoder.bits(0, 1);
            }
            encoder.bits(beyond as u32, length);
            encoder.bits(u32::from(symbol < 0), 1);
        }
    }

    /// Reads one symbol.
    #[inline]
    pub fn decode(&self, decoder: &mut RangeDecoder, bytes: &[u8]) -> i32 {
        let point = decoder.point();
        let head = self.cumulative.len().min(10);
        let index = match self.cumulative[1..head].iter().position(|&c| point < c) {
            Some(index) => index,
            None => self.cumulative.partition_point(|&c| c <= point) - 1,
        };
        decoder.take(bytes, self.cumulative[index], self.cumulative[index + 1]);
        if index < self.escape() {
            return unfold(index);
        }
        let mut length = 0;
        while length < PREFIX_MAX && decoder.bits(bytes, 1) == 1 {
            length += 1;
        }
        let magnitude = self.radius() + (1 << length | decoder.bits(bytes, length)) as i32;
        if decoder.bits(bytes, 1) == 1 { -magnitude } else { magnitude }
    }
}

/// Bound of the magnitudes that [`Table::encode`] takes.
pub const SYMBOL_MAX: i32 = 1 << PREFIX_MAX;

fn fold(symbol: i32) -> usize {
    if symbol > 0 { 2 * symbol as usize - 1 } else { 2 * symbol.unsigned_abs() as usize }
}

fn unfold(index: usize) -> i32 {
    if index % 2 == 1 { (index as i32 + 1) / 2 } else { -(index as i32 / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(decay: f64, radius: usize) -> Table {
        let weights: Vec<f64> = (0..2 * radius + 2).map(|i| decay.powi((i as i32 + 1) / 2)).collect();
        let total: f64 = weights.iter().sum();
        let spare = f64::from(TOTAL) - weights.len() as f64;
        let mut sum = 0.0;
        let mut cumulative = vec![];
        for w in weights {
            cumulative.push(sum as u16);
            sum += 1.0 + (w / total * spare).floor();
        }
        Table::new(&cumulative).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_coded_comes_back_for_any_symbols_and_tables(
            symbols in prop::collection::vec((0usize..4, prop_oneof![8 => -3i32..4, 1 => -300i32..300, 1 => -60_000i32..60_000]), 0..400)
        ) {
            let tables = [table(0.5, 3), table(0.9, 40), table(0.01, 1), table(0.99, 500)];
            let mut bytes = vec![7, 255];
            let mut encoder = RangeEncoder::new(&mut bytes);
            for &(t, s) in &symbols {
                tables[t].encode(&mut encoder, s);
            }
            encoder.finish();
            prop_assert_eq!(&bytes[..2], &[7, 255][..]);
            let mut decoder = RangeDecoder::new(&bytes, 2, bytes.len());
            for &(t, s) in &symbols {
                prop_assert_eq!(tables[t].decode(&mut decoder, &bytes), s);
            }
        }

        #[test]
        fn any_bytes_decode_to_bounded_symbols(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let tables = [table(0.5, 3), table(0.01, 1)];
            let mut decoder = RangeDecoder::new(&bytes, 0, bytes.len());
            for i in 0..500 {
                prop_assert!(tables[i % 2].decode(&mut decoder, &bytes).abs() <= 2 * SYMBOL_MAX + 3);
            }
        }
    }

    #[test]
    fn a_stream_is_within_twelve_bits_of_its_information_and_no_longer_than_constriction_s() {
        use constriction::stream::Encode;
        use constriction::stream::model::DefaultContiguousCategoricalEntropyModel;
        use constriction::stream::queue::DefaultRangeEncoder;
        let table = table(0.6, 12);
        let counts: Vec<u32> = table.cumulative.windows(2).map(|w| (w[1] - w[0]) << 8).collect();
        let oracle =
            DefaultContiguousCategoricalEntropyModel::from_nonzero_fixed_point_probabilities(counts, false).unwrap();
        let symbols: Vec<i32> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 28) as i32 % 5 - 2).collect();
        let mut bytes = vec![];
        let mut encoder = RangeEncoder::new(&mut bytes);
        let mut reference = DefaultRangeEncoder::new();
        for &s in &symbols {
            table.encode(&mut encoder, s);
            reference.encode_symbol(fold(s), &oracle).unwrap();
        }
        encoder.finish();
        let information: f64 = symbols.iter().map(|&s| table.cost_bits(s)).sum();
        let bits = 8.0 * bytes.len() as f64;
        assert!(bits < information + 12.0, "{bits} bits for {information}");
        assert!(bytes.len() <= 4 * reference.get_compressed().len());
    }

    #[test]
    fn an_empty_stream_needs_no_byte_and_damaged_tables_are_refused() {
        let mut bytes = vec![];
        RangeEncoder::new(&mut bytes).finish();
        assert!(bytes.is_empty());
        assert!(Table::new(&[0, 5, 5, 9]).is_none());
        assert!(Table::new(&[1, 5]).is_none());
        assert!(Table::new(&[0, 5, 9]).is_none());
        assert!(Table::new(&[]).is_none());
    }
}
