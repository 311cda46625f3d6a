//! The decoder's vector kernels.
//!
//! A column keeps the rotation in which its last row left it, so that an edge reads it turned by the difference of two
//! shifts and writes it straight. `ring` lays a column of any Z out with its first bytes repeated behind it, and twice,
//! since an edge's later vectors read what its earlier ones would overwrite; the columns of four words lie interleaved, bit by
//! bit, as one of 4 Z lanes, so that few lanes stay idle. `packed` holds a column in one register.

use std::arch::x86_64::*;

use super::QuasiCyclic;
use super::decode::{BATCH, Line};
use super::graph::{MAX_COLUMNS, MAX_DEGREE, MAX_LANES, PACKED_LANES, slots};
use super::portable::{LARGEST, TIE};

/// Room for the columns and the messages.
pub(super) struct Lines<'a> {
    pub(super) columns: &'a mut [Line],
    pub(super) messages: &'a mut [Line],
}

/// A register of signed bytes. Every method needs the instruction set of its type.
trait Bytes: Copy {
    const LANES: usize;
    unsafe fn load(from: *const i8) -> Self;
    unsafe fn store(self, to: *mut i8);
    unsafe fn splat(value: i8) -> Self;
    unsafe fn saturating_add(self, other: Self) -> Self;
    unsafe fn saturating_sub(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// |−128| stands as 128, unsigned.
    unsafe fn abs(self) -> Self;
    unsafe fn min_unsigned(self, other: Self) -> Self;
    unsafe fn max_unsigned(self, other: Self) -> Self;
    /// Unsigned max(x − y, 0).
    unsafe fn excess(self, other: Self) -> Self;
    /// Unsigned ⌊x/2⌋.
    unsafe fn half(self) -> Self;
    /// Unsigned ⌊x/8⌋.
    unsafe fn eighth(self) -> Self;
    /// `yes` where the first two are equal, else `no`.
    unsafe fn if_equal(self, other: Self, yes: Self, no: Self) -> Self;
    /// Negated where `sign` is negative.
    unsafe fn signed_by(self, sign: Self) -> Self;
    unsafe fn negative_lanes(self) -> u64;
}

impl Bytes for __m512i {
    const LANES: usize = 64;
    #[inline(always)]
    unsafe fn load(from: *const i8) -> Self {
        // SAFETY: the caller vouches for the pointer and for the instruction set.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i8) {
        // SAFETY: the caller vouches for the pointer and for the instruction set.
        unsafe { _mm512_storeu_si512(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(value: i8) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_set1_epi8(value) }
    }
    #[inline(always)]
    unsafe fn saturating_add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_adds_epi8(self, other) }
    }
    #[inline(always)]
    unsafe fn saturating_sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_subs_epi8(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_xor_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_abs_epi8(self) }
    }
    #[inline(always)]
    unsafe fn min_unsigned(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_min_epu8(self, other) }
    }
    #[inline(always)]
    unsafe fn max_unsigned(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_max_epu8(self, other) }
    }
    #[inline(always)]
    unsafe fn excess(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_subs_epu8(self, other) }
    }
    #[inline(always)]
    unsafe fn half(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<1>(self), _mm512_set1_epi8(0x7f)) }
    }
    #[inline(always)]
    unsafe fn eighth(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<3>(self), _mm512_set1_epi8(0x1f)) }
    }
    #[inline(always)]
    unsafe fn if_equal(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_mask_blend_epi8(_mm512_cmpeq_epi8_mask(self, other), no, yes) }
    }
    #[inline(always)]
    unsafe fn signed_by(self, sign: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_mask_sub_epi8(self, _mm512_movepi8_mask(sign), _mm512_setzero_si512(), self) }
    }
    #[inline(always)]
    unsafe fn negative_lanes(self) -> u64 {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm512_movepi8_mask(self) }
    }
}

impl Bytes for __m256i {
    const LANES: usize = 32;
    #[inline(always)]
    unsafe fn load(from: *const i8) -> Self {
        // SAFETY: the caller vouches for the pointer and for the instruction set.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i8) {
        // SAFETY: the caller vouches for the pointer and for the instruction set.
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(value: i8) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_set1_epi8(value) }
    }
    #[inline(always)]
    unsafe fn saturating_add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_adds_epi8(self, other) }
    }
    #[inline(always)]
    unsafe fn saturating_sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_subs_epi8(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_xor_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_abs_epi8(self) }
    }
    #[inline(always)]
    unsafe fn min_unsigned(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_min_epu8(self, other) }
    }
    #[inline(always)]
    unsafe fn max_unsigned(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_max_epu8(self, other) }
    }
    #[inline(always)]
    unsafe fn excess(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_subs_epu8(self, other) }
    }
    #[inline(always)]
    unsafe fn half(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<1>(self), _mm256_set1_epi8(0x7f)) }
    }
    #[inline(always)]
    unsafe fn eighth(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<3>(self), _mm256_set1_epi8(0x1f)) }
    }
    #[inline(always)]
    unsafe fn if_equal(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_blendv_epi8(no, yes, _mm256_cmpeq_epi8(self, other)) }
    }
    #[inline(always)]
    unsafe fn signed_by(self, sign: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { _mm256_sign_epi8(self, _mm256_or_si256(sign, _mm256_set1_epi8(1))) }
    }
    #[inline(always)]
    unsafe fn negative_lanes(self) -> u64 {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { u64::from(_mm256_movemask_epi8(self) as u32) }
    }
}

/// Any Z, 32 checks at once.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(
    structure: &QuasiCyclic,
    iterations: u8,
    soft: &mut [i8],
    outcomes: &mut [(bool, u8)],
    lines: Lines<'_>,
) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { ring::<__m256i>(structure, iterations, soft, outcomes, lines) }
}

/// Any Z, 64 checks at once.
///
/// # Safety
/// The processor has AVX-512F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn avx512(
    structure: &QuasiCyclic,
    iterations: u8,
    soft: &mut [i8],
    outcomes: &mut [(bool, u8)],
    lines: Lines<'_>,
) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { ring::<__m512i>(structure, iterations, soft, outcomes, lines) }
}

/// The same with a column in a register where it fits, those of several words where they fit.
///
/// # Safety
/// The processor has AVX-512F, BW and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) unsafe fn packed(
    structure: &QuasiCyclic,
    iterations: u8,
    soft: &mut [i8],
    outcomes: &mut [(bool, u8)],
    lines: Lines<'_>,
) {
    if structure.lifting() > PACKED_LANES {
        // SAFETY: the caller vouches for the instruction set.
        return unsafe { ring::<__m512i>(structure, iterations, soft, outcomes, lines) };
    }
    let length = structure.columns() * structure.lifting();
    let slots = slots(structure.lifting());
    let Lines { columns, messages } = lines;
    for (soft, outcomes) in soft.chunks_mut(slots * length).zip(outcomes.chunks_mut(slots)) {
        // SAFETY: the caller vouches for the instruction set; `QuasiCyclic` keeps within the lines' bounds.
        unsafe { packed_words(structure, iterations, soft, outcomes, columns, messages) };
    }
}

/// Smallest, second smallest magnitude and sign of a row's incoming values.
struct Extremes<V> {
    smallest: V,
    second: V,
    sign: V,
}

impl<V: Bytes> Extremes<V> {
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let largest = V::splat(LARGEST as i8);
            Self { smallest: largest, second: largest, sign: V::splat(0) }
        }
    }

    #[inline(always)]
    unsafe fn take(&mut self, value: V) {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let size = value.abs();
            self.second = self.second.min_unsigned(self.smallest.max_unsigned(size));
            self.smallest = self.smallest.min_unsigned(size);
            self.sign = self.sign.xor(value);
        }
    }

    /// Once all are taken: what the row says to the bit that said `value`; the sizes are the portable kernel's.
    #[inline(always)]
    unsafe fn answers(self) -> impl Fn(V) -> V {
        let Self { smallest, second, sign } = self;
        // SAFETY: the caller vouches for the instruction set.
        let (to_others, to_smallest) = unsafe {
            let shortfall = V::splat(TIE as i8).excess(second.excess(smallest).half());
            let to_smallest = second.excess(second.eighth()).excess(V::splat(1));
            (smallest.excess(smallest.eighth()).excess(shortfall), to_smallest)
        };
        // SAFETY: the caller vouches for the instruction set.
        move |value| unsafe { value.abs().if_equal(smallest, to_smallest, to_others).signed_by(sign.xor(value)) }
    }
}

/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn ring<V: Bytes>(
    structure: &QuasiCyclic,
    iterations: u8,
    soft: &mut [i8],
    outcomes: &mut [(bool, u8)],
    lines: Lines<'_>,
) {
    let z = structure.lifting();
    let length = structure.columns() * z;
    let (columns, messages) = (lines.columns.as_mut_ptr().cast::<i8>(), lines.messages.as_mut_ptr().cast::<i8>());
    // SAFETY: the lines hold two copies of every column and the messages of every edge of the largest matrix that a
    // `QuasiCyclic` may be, with columns of `MAX_LANES` bits.
    unsafe {
        if outcomes.len() == BATCH && BATCH * z <= MAX_LANES {
            return Ring::<V, BATCH>::new(structure, columns, messages).decode(iterations, soft, outcomes);
        }
        for (soft, outcome) in soft.chunks_exact_mut(length).zip(outcomes.chunks_exact_mut(1)) {
            Ring::<V, 1>::new(structure, columns, messages).decode(iterations, soft, outcome);
        }
    }
}

/// Words in the decoder: lane `WORDS·n + w` of a column is bit n of word w, so that turning the words by one bit turns the
/// column by `WORDS` lanes.
struct Ring<'a, V, const WORDS: usize> {
    structure: &'a QuasiCyclic,
    columns: *mut i8,
    messages: *mut i8,
    /// Lanes of a column that count.
    lanes: usize,
    /// Bytes of a column's copy.
    stride: usize,
    /// Vectors of a column.
    vectors: usize,
    /// Where each column's current copy begins.
    current: [usize; MAX_COLUMNS],
    register: std::marker::PhantomData<V>,
}

impl<'a, V: Bytes, const WORDS: usize> Ring<'a, V, WORDS> {
    #[inline(always)]
    unsafe fn new(structure: &'a QuasiCyclic, columns: *mut i8, messages: *mut i8) -> Self {
        let lanes = WORDS * structure.lifting();
        let stride = (lanes + V::LANES).next_multiple_of(PACKED_LANES);
        Self {
            structure,
            columns,
            messages,
            lanes,
            stride,
            vectors: lanes.div_ceil(V::LANES),
            current: std::array::from_fn(|column| 2 * column * stride),
            register: std::marker::PhantomData,
        }
    }

    /// Decodes `WORDS` words, each as if alone.
    #[inline(always)]
    unsafe fn decode(&mut self, iterations: u8, soft: &mut [i8], outcomes: &mut [(bool, u8)]) {
        let length = self.structure.columns() * self.structure.lifting();
        let mut pending = u64::MAX;
        // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
        unsafe { self.fill(soft) };
        for iteration in 0..=iterations {
            let last = iteration == iterations;
            // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
            let bad = if iteration == 0 && !last { pending } else { unsafe { self.faults(pending) } };
            for (word, (soft, outcome)) in soft.chunks_exact_mut(length).zip(&mut *outcomes).enumerate() {
                let holds = bad & Self::lanes_of(word) == 0;
                if pending & Self::lanes_of(word) != 0 && (holds || last) {
                    *outcome = (holds, iteration);
                    // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
                    unsafe { self.read(soft, word) };
                    pending &= !Self::lanes_of(word);
                }
            }
            if pending == 0 {
                return;
            }
            // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
            unsafe { self.pass() };
        }
    }

    /// A word's lanes in any vector.
    #[inline(always)]
    fn lanes_of(word: usize) -> u64 {
        (u64::MAX / ((1 << WORDS) - 1)) << word
    }

    #[inline(always)]
    unsafe fn fill(&mut self, soft: &[i8]) {
        let z = self.structure.lifting();
        let length = self.structure.columns() * z;
        for (column, rest) in self.structure.schedule().rest.iter().enumerate() {
            let words: [&[i8]; WORDS] = std::array::from_fn(|word| &soft[word * length + column * z..][..z]);
            // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
            unsafe {
                let to = self.columns.add(self.current[column]);
                let lanes = std::slice::from_raw_parts_mut(to, self.lanes);
                let (first, last) = lanes.split_at_mut(WORDS * (z - rest));
                interleave(words.map(|word| &word[*rest..]), first);
                interleave(words.map(|word| &word[..*rest]), last);
                self.repeat(to);
            }
        }
        // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
        unsafe { self.messages.write_bytes(0, self.structure.edges() * self.vectors * V::LANES) };
    }

    /// Repeats a column's first bytes behind it.
    #[inline(always)]
    unsafe fn repeat(&self, column: *mut i8) {
        // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
        unsafe { V::load(column).store(column.add(self.lanes)) };
    }

    /// The bits `turn` places on, from lane `first` on.
    #[inline(always)]
    unsafe fn turned(&self, column: usize, turn: usize, first: usize) -> V {
        let at = first + WORDS * turn;
        let at = if at >= self.lanes { at - self.lanes } else { at };
        // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
        unsafe { V::load(self.columns.add(self.current[column] + at)) }
    }

    #[inline(always)]
    unsafe fn pass(&mut self) {
        let Self { structure, columns, messages, lanes, stride, vectors, .. } = *self;
        let schedule = structure.schedule();
        // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
        let mut values = unsafe { [V::splat(0); MAX_DEGREE] };
        let mut first_edge = 0;
        for degree in &schedule.degrees {
            let edges = &schedule.edges[first_edge..][..*degree];
            for vector in 0..vectors {
                let lane = vector * V::LANES;
                // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
                unsafe {
                    let messages = messages.add((first_edge * vectors + vector * degree) * V::LANES);
                    let mut extremes = Extremes::<V>::new();
                    for (n, (edge, value)) in edges.iter().zip(&mut values).enumerate() {
                        let message = V::load(messages.add(n * V::LANES));
                        let at = lane + WORDS * edge.turn;
                        let at = if at >= lanes { at - lanes } else { at };
                        *value = V::load(columns.add(self.current[edge.column] + at)).saturating_sub(message);
                        extremes.take(*value);
                    }
                    let answer = extremes.answers();
                    for (n, (edge, value)) in edges.iter().zip(&values).enumerate() {
                        let message = answer(*value);
                        message.store(messages.add(n * V::LANES));
                        let other = other_copy(self.current[edge.column], edge.column, stride);
                        value.saturating_add(message).store(columns.add(other + lane));
                    }
                }
            }
            for edge in edges {
                let other = other_copy(self.current[edge.column], edge.column, stride);
                self.current[edge.column] = other;
                // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
                unsafe { self.repeat(columns.add(other)) };
            }
            first_edge += degree;
        }
    }

    /// Lanes among `pending` of words in which some check fails; where that is every word, the first few rows tell.
    #[inline(always)]
    unsafe fn faults(&self, pending: u64) -> u64 {
        let schedule = self.structure.schedule();
        let (mut bad, mut first_edge) = (0, 0);
        for degree in &schedule.degrees {
            for vector in 0..self.vectors {
                let lane = vector * V::LANES;
                let unused = V::LANES.saturating_sub(self.lanes - lane) as u32 + 64 - V::LANES as u32;
                // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
                unsafe {
                    let mut parity = V::splat(0);
                    for edge in &schedule.edges[first_edge..][..*degree] {
                        parity = parity.xor(self.turned(edge.column, edge.check_turn, lane));
                    }
                    bad |= parity.negative_lanes() & (u64::MAX >> unused) & pending;
                }
            }
            first_edge += degree;
            let settled = |word| pending & Self::lanes_of(word) == 0 || bad & Self::lanes_of(word) != 0;
            if (0..WORDS).all(settled) {
                return bad;
            }
        }
        bad
    }

    #[inline(always)]
    unsafe fn read(&self, soft: &mut [i8], word: usize) {
        let z = self.structure.lifting();
        for (column, (bits, rest)) in soft.chunks_exact_mut(z).zip(&self.structure.schedule().rest).enumerate() {
            // SAFETY: the caller vouches for the instruction set, and all pointers stay within the lines, as `ring` says.
            unsafe {
                let lanes = std::slice::from_raw_parts(self.columns.add(self.current[column]), self.lanes);
                let (wrapped, straight) = bits.split_at_mut(*rest);
                let (first, last) = lanes.split_at(WORDS * straight.len());
                straight.iter_mut().zip(first.chunks_exact(WORDS)).for_each(|(bit, lanes)| *bit = lanes[word]);
                wrapped.iter_mut().zip(last.chunks_exact(WORDS)).for_each(|(bit, lanes)| *bit = lanes[word]);
            }
        }
    }
}

/// The words' bits in turn.
#[inline(always)]
fn interleave<const WORDS: usize>(words: [&[i8]; WORDS], lanes: &mut [i8]) {
    for (n, lanes) in lanes.chunks_exact_mut(WORDS).enumerate() {
        lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane = word[n]);
    }
}

/// Where the copy of a column begins that is not the current one.
#[inline(always)]
fn other_copy(current: usize, column: usize, stride: usize) -> usize {
    (4 * column + 1) * stride - current
}

/// Decodes as many words as share a register (or fewer), each as if alone.
///
/// # Safety
/// The processor has AVX-512F, BW and VBMI; Z ≤ 64.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn packed_words(
    structure: &QuasiCyclic,
    iterations: u8,
    soft: &mut [i8],
    outcomes: &mut [(bool, u8)],
    columns: &mut [Line],
    messages: &mut [Line],
) {
    let (z, width) = (structure.lifting(), PACKED_LANES / slots(structure.lifting()));
    let schedule = structure.schedule();
    let length = structure.columns() * z;
    let (columns, messages) = (columns.as_mut_ptr().cast::<i8>(), messages.as_mut_ptr().cast::<i8>());
    // Moves one word between its place and its lanes of the registers.
    let copy = |word: &mut [i8], slot: usize, into: bool| {
        for (column, (bits, rest)) in word.chunks_exact_mut(z).zip(&schedule.rest).enumerate() {
            let (wrapped, straight) = bits.split_at_mut(*rest);
            // SAFETY: the lanes of `slot` in the line of `column`.
            let lanes = unsafe { std::slice::from_raw_parts_mut(columns.add(column * PACKED_LANES + slot * width), z) };
            let (first, last) = lanes.split_at_mut(z - rest);
            if into {
                first.copy_from_slice(straight);
                last.copy_from_slice(wrapped);
            } else {
                straight.copy_from_slice(first);
                wrapped.copy_from_slice(last);
            }
        }
    };
    for (slot, word) in soft.chunks_exact_mut(length).enumerate() {
        copy(word, slot, true);
    }
    let lanes_of = |slot: usize| u64::MAX >> (64 - z) << (slot * width);
    let mut pending: u64 = (0..outcomes.len()).map(lanes_of).fold(0, |all, lanes| all | lanes);
    // SAFETY: every column and every edge has a line.
    unsafe {
        messages.write_bytes(0, schedule.edges.len() * PACKED_LANES);
        for iteration in 0..=iterations {
            let bad = if iteration == 0 { pending } else { packed_faults(structure, columns, pending) };
            let last = iteration == iterations;
            for (slot, (word, outcome)) in soft.chunks_exact_mut(length).zip(&mut *outcomes).enumerate() {
                let holds = bad & lanes_of(slot) == 0;
                if pending & lanes_of(slot) != 0 && (holds || last) {
                    *outcome = (holds, iteration);
                    copy(word, slot, false);
                    pending &= !lanes_of(slot);
                }
            }
            if pending == 0 {
                return;
            }
            packed_pass(structure, columns, messages);
        }
    }
}

/// Lanes among `pending` of words in which some check fails; where that is every word, the first few rows tell.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn packed_faults(structure: &QuasiCyclic, columns: *const i8, pending: u64) -> u64 {
    let schedule = structure.schedule();
    let (mut bad, mut first_edge) = (0, 0);
    let width = PACKED_LANES / slots(structure.lifting());
    for degree in &schedule.degrees {
        let mut parity = _mm512_setzero_si512();
        for (edge, lanes) in schedule.edges[first_edge..].iter().zip(&schedule.lanes[first_edge..]).take(*degree) {
            // SAFETY: the line of the column; 64 lane numbers.
            let (bits, lanes) = unsafe { (load(columns, edge.column), _mm512_loadu_si512(lanes[1].as_ptr().cast())) };
            parity = _mm512_xor_si512(parity, _mm512_permutexvar_epi8(lanes, bits));
        }
        bad |= _mm512_movepi8_mask(parity) & pending;
        first_edge += degree;
        let every = |mut left: u64| {
            let mut all = true;
            while left != 0 {
                let word = (u64::MAX >> (64 - width)) << (left.trailing_zeros() as usize / width * width);
                all &= bad & word != 0;
                left &= !word;
            }
            all
        };
        if bad != 0 && every(pending) {
            return bad;
        }
    }
    bad
}

#[inline(always)]
unsafe fn load(lines: *const i8, line: usize) -> __m512i {
    // SAFETY: the caller vouches for the pointer and for the instruction set.
    unsafe { _mm512_load_si512(lines.add(line * PACKED_LANES).cast()) }
}

#[inline(always)]
unsafe fn store(value: __m512i, lines: *mut i8, line: usize) {
    // SAFETY: the caller vouches for the pointer and for the instruction set.
    unsafe { _mm512_store_si512(lines.add(line * PACKED_LANES).cast(), value) }
}

/// One iteration over all rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn packed_pass(structure: &QuasiCyclic, columns: *mut i8, messages: *mut i8) {
    let schedule = structure.schedule();
    let mut values = [_mm512_setzero_si512(); MAX_DEGREE];
    let mut first_edge = 0;
    for degree in &schedule.degrees {
        let edges = &schedule.edges[first_edge..][..*degree];
        let lanes = &schedule.lanes[first_edge..][..*degree];
        // SAFETY: every column and every edge has a line.
        unsafe {
            let mut extremes = Extremes::<__m512i>::new();
            for (n, ((edge, lanes), value)) in edges.iter().zip(lanes).zip(&mut values).enumerate() {
                let turn = _mm512_loadu_si512(lanes[0].as_ptr().cast());
                let bits = _mm512_permutexvar_epi8(turn, load(columns, edge.column));
                *value = bits.saturating_sub(load(messages, first_edge + n));
                extremes.take(*value);
            }
            let answer = extremes.answers();
            for (n, (edge, value)) in edges.iter().zip(&values).enumerate() {
                let message = answer(*value);
                store(message, messages, first_edge + n);
                store(value.saturating_add(message), columns, edge.column);
            }
        }
        first_edge += degree;
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{BATCH, Decoder, Kernel, decode_batch};
    use super::super::{BaseGraph, QuasiCyclic};
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_kernel_equals_the_portable_one_for_every_lifting_size_and_any_rows() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
        for z in BaseGraph::liftings() {
            for (graph, rows) in [(BaseGraph::One, 4), (BaseGraph::One, 13), (BaseGraph::Two, 10), (BaseGraph::Two, 42)]
            {
                let structure = QuasiCyclic::pruned(graph, z, rows);
                let length = structure.columns() * z;
                // Words of the all-zero codeword through noise: hopeless, soon right, later right, and at the extremes.
                let soft: Vec<i8> = (0..BATCH * length)
                    .map(|index| match index / length {
                        0 => random.random(),
                        1 => random.random_range(-9..=30),
                        2 => random.random_range(-15..=30),
                        _ => {
                            if random.random_bool(0.97) {
                                127
                            } else {
                                -128
                            }
                        }
                    })
                    .collect();
                let decoded = |kernel, words: usize| {
                    let mut scratch = Decoder::with_kernel(kernel)?;
                    scratch.soft_bits()[..soft.len()].copy_from_slice(&soft);
                    let mut outcomes = [(false, 0); BATCH];
                    decode_batch(&structure, 6, &mut outcomes[..words], &mut scratch);
                    Some((outcomes, scratch.soft_bits()[..words * length].to_vec()))
                };
                for words in [3, BATCH] {
                    let expected = decoded(Kernel::Portable, words).unwrap();
                    for kernel in Kernel::available() {
                        let found = decoded(kernel, words).unwrap();
                        assert!(found == expected, "{kernel:?} {graph:?} Z = {z} {rows} rows, {words} words");
                    }
                }
            }
        }
    }
}
