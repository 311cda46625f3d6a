//! Layered corrected min-sum on bytes: soft bits saturate at −128 and 127, checks answer as `portable` says, rows come in
//! order, and a word is done as soon as every check holds.

use super::graph::{MAX_COLUMNS, MAX_EDGES, MAX_LANES, PACKED_LANES};
use super::{LdpcCode, MAX_LIFTING, QuasiCyclic, portable};

/// Most words that [`decode_batch`] takes at once.
pub const BATCH: usize = 4;

/// An implementation of the decoder; all give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Plain Rust.
    Portable,
    /// 32 checks at once.
    Avx2,
    /// 64 checks at once (AVX-512BW).
    Avx512,
    /// The same; at Z ≤ 64 a register is a column, of up to four words (AVX-512VBMI).
    Avx512Packed,
}

impl Kernel {
    /// The kernels that this processor runs, the best last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut kernels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            kernels.extend(is_x86_feature_detected!("avx2").then_some(Self::Avx2));
            kernels.extend(wide.then_some(Self::Avx512));
            kernels.extend((wide && is_x86_feature_detected!("avx512vbmi")).then_some(Self::Avx512Packed));
        }
        kernels
    }
}

/// A cache line, for alignment.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(#[allow(dead_code)] [i8; PACKED_LANES]);

/// Room for decoding any code.
#[derive(Debug, Clone)]
pub struct Decoder {
    kernel: Kernel,
    /// Posterior soft bits, word after word, column after column.
    soft: Vec<i8>,
    /// The vector kernels' columns, twice each.
    columns: Vec<Line>,
    /// Messages from checks to bits, edge after edge.
    messages: Vec<Line>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_kernel(Kernel::available()[Kernel::available().len() - 1]).expect("it is available")
    }
}

impl Decoder {
    /// A decoder that runs this kernel, if the processor can.
    pub fn with_kernel(kernel: Kernel) -> Option<Self> {
        let line = Line([0; PACKED_LANES]);
        Kernel::available().contains(&kernel).then(|| Self {
            kernel,
            soft: vec![0; BATCH * MAX_COLUMNS * MAX_LIFTING],
            columns: vec![line; 2 * MAX_COLUMNS * (MAX_LANES / PACKED_LANES + 1)],
            messages: vec![line; MAX_EDGES * MAX_LANES / PACKED_LANES],
        })
    }

    /// The posterior soft bits of the words, to be filled before [`decode_batch`] and read after it.
    pub fn soft_bits(&mut self) -> &mut [i8] {
        &mut self.soft
    }
}

impl LdpcCode {
    /// Decodes E soft bits into K' bits; returns whether every check held and the iterations spent.
    pub fn decode(&self, llr: &[i8], information: &mut [u8], iterations: u8, scratch: &mut Decoder) -> (bool, u8) {
        let mut outcome = [(false, 0)];
        self.decode_batch(llr, information, iterations, &mut outcome, scratch);
        outcome[0]
    }

    /// The same for as many words as there are outcomes, at most [`BATCH`].
    pub fn decode_batch(
        &self,
        llr: &[i8],
        information: &mut [u8],
        iterations: u8,
        outcomes: &mut [(bool, u8)],
        scratch: &mut Decoder,
    ) {
        let z = self.lifting();
        let length = self.structure.columns() * z;
        let words = scratch.soft.chunks_exact_mut(length).take(outcomes.len());
        for (soft, llr) in words.zip(llr.chunks_exact(self.coded_bits())) {
            soft.fill(0);
            soft[self.information_bits..self.graph.columns_k() * z].fill(i8::MAX);
            for (position, llr) in self.positions.iter().zip(llr) {
                let soft = &mut soft[*position as usize];
                *soft = if self.repeats { soft.saturating_add(*llr) } else { *llr };
            }
        }
        decode_batch(&self.structure, iterations, outcomes, scratch);
        let words = scratch.soft.chunks_exact_mut(length).zip(outcomes);
        for (information, (soft, (holds, _))) in information.chunks_exact_mut(self.information_bits).zip(words) {
            if let Some(elimination) = self.elimination.as_ref().filter(|_| !*holds) {
                *holds = elimination.solve(&self.structure, soft);
            }
            for (bit, soft) in information.iter_mut().zip(soft) {
                *bit = u8::from(*soft < 0);
            }
        }
    }
}

/// Decodes the soft bits in `scratch` under any quasi-cyclic matrix, at most `iterations` times; returns whether every
/// check held, and the iterations spent.
pub fn decode(structure: &QuasiCyclic, iterations: u8, scratch: &mut Decoder) -> (bool, u8) {
    let mut outcome = [(false, 0)];
    decode_batch(structure, iterations, &mut outcome, scratch);
    outcome[0]
}

/// The same for several words (at most [`BATCH`]), each as if alone; [`BATCH`] of them go through the vector kernels together.
pub fn decode_batch(structure: &QuasiCyclic, iterations: u8, outcomes: &mut [(bool, u8)], scratch: &mut Decoder) {
    let length = structure.columns() * structure.lifting();
    let count = outcomes.len().min(BATCH);
    let soft = &mut scratch.soft[..count * length];
    #[cfg(target_arch = "x86_64")]
    {
        use super::vector;
        let lines = vector::Lines { columns: &mut scratch.columns, messages: &mut scratch.messages };
        match scratch.kernel {
            Kernel::Portable => {}
            // SAFETY: `with_kernel` has found the instructions on this processor.
            Kernel::Avx2 => return unsafe { vector::avx2(structure, iterations, soft, outcomes, lines) },
            // SAFETY: as above.
            Kernel::Avx512 => return unsafe { vector::avx512(structure, iterations, soft, outcomes, lines) },
            // SAFETY: as above.
            Kernel::Avx512Packed => return unsafe { vector::packed(structure, iterations, soft, outcomes, lines) },
        }
    }
    // SAFETY: bytes of whole lines, without padding.
    let messages = unsafe {
        std::slice::from_raw_parts_mut(scratch.messages.as_mut_ptr().cast(), scratch.messages.len() * PACKED_LANES)
    };
    for (soft, outcome) in soft.chunks_exact_mut(length).zip(outcomes) {
        *outcome = portable::decode(structure, iterations, soft, messages);
    }
}
