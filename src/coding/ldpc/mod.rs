//! The LDPC codes of TS 38.212 section 5.3.2 with rate matching (5.4.2, redundancy version 0, no limited buffer).

mod belief;
mod decode;
mod eliminate;
mod encode;
mod graph;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use belief::BeliefPropagation;
pub use decode::{BATCH, Decoder, Kernel, decode, decode_batch};
pub use encode::Encoder;
pub use graph::{BaseGraph, MAX_LIFTING, QuasiCyclic};

use crate::{Error, Result};
use eliminate::Elimination;

/// Code rate above which a word that the decoder has given up is tried by elimination. (Without noise, the parity on the air
/// no longer gives the 2 Z punctured bits back, one check after the other, from 2 008 bits in 2 048 on, 1 512 in 1 536,
/// 1 001 in 1 024 and 502 in 512.)
const ELIMINATION_CODE_RATE_PERCENT: usize = 97;

/// One code with its rate matching: K' information bits become E bits.
#[derive(Debug, Clone)]
pub struct LdpcCode {
    graph: BaseGraph,
    structure: QuasiCyclic,
    information_bits: usize,
    /// Position in the mother codeword (punctured columns counted) of each bit on the air: the circular buffer from column
    /// 2 on, without filler, interleaved.
    positions: Vec<u32>,
    /// Whether a position comes twice.
    repeats: bool,
    elimination: Option<Elimination>,
}

impl LdpcCode {
    /// The code of `information_bits` bits on `graph`, matched to `coded_bits` bits and interleaved for symbols of
    /// `bits_per_symbol` bits, with the lifting size of the standard's rule.
    pub fn new(graph: BaseGraph, information_bits: usize, coded_bits: usize, bits_per_symbol: usize) -> Result<Self> {
        let lifting = graph.lifting_for(information_bits).ok_or_else(|| {
            let most = graph.columns_k() * MAX_LIFTING;
            Error::input(format!(
                "{information_bits} information bits do not fit the base graph; accepted: 1 to {most}"
            ))
        })?;
        Self::with_lifting(graph, lifting, information_bits, coded_bits, bits_per_symbol)
    }

    /// The same with any lifting size that holds the bits.
    pub fn with_lifting(
        graph: BaseGraph,
        lifting: usize,
        information_bits: usize,
        coded_bits: usize,
        bits_per_symbol: usize,
    ) -> Result<Self> {
        let fits = (1..=graph.columns_k() * lifting).contains(&information_bits);
        if !fits || coded_bits == 0 || !coded_bits.is_multiple_of(bits_per_symbol) {
            return Err(Error::input(format!(
                "{information_bits} information bits in {coded_bits} coded bits of {bits_per_symbol} a symbol at Z = {lifting}: \
                 accepted: 1 to {} bits, and whole symbols",
                graph.columns_k() * lifting
            )));
        }
        let filler = information_bits..graph.columns_k() * lifting;
        let (begin, end) = (2 * lifting, graph.columns() * lifting);
        let buffer: Vec<u32> = (begin..end).filter(|position| !filler.contains(position)).map(|at| at as u32).collect();
        // Bit e of the buffer goes to row e / (E/Q_m) of the interleaver, which is read by columns.
        let per_row = coded_bits / bits_per_symbol;
        let sent = (0..coded_bits).map(|air| air % bits_per_symbol * per_row + air / bits_per_symbol);
        let positions: Vec<u32> = sent.map(|bit| buffer[bit % buffer.len()]).collect();
        let mut code = Self::with_positions(graph, lifting, information_bits, positions);
        code.repeats = coded_bits > buffer.len();
        if 100 * information_bits > ELIMINATION_CODE_RATE_PERCENT * coded_bits {
            let mut known = vec![false; code.structure.columns() * lifting];
            let sent = code.positions.iter().map(|position| *position as usize);
            filler.chain(sent).for_each(|position| known[position] = true);
            code.elimination = Elimination::new(&code.structure, &known, information_bits);
        }
        Ok(code)
    }

    /// A code whose bits on the air stand at these positions of the mother codeword, none of them twice.
    pub(in crate::coding) fn with_positions(
        graph: BaseGraph,
        lifting: usize,
        information_bits: usize,
        positions: Vec<u32>,
    ) -> Self {
        let last = positions.iter().max().map_or(0, |last| *last as usize);
        let rows = (last / lifting + 1).saturating_sub(graph.columns_k()).max(4);
        let structure = QuasiCyclic::pruned(graph, lifting, rows);
        Self { graph, structure, information_bits, positions, repeats: false, elimination: None }
    }

    /// The lifting size Z.
    pub fn lifting(&self) -> usize {
        self.structure.lifting()
    }

    /// K' bits.
    pub fn information_bits(&self) -> usize {
        self.information_bits
    }

    /// E bits.
    pub fn coded_bits(&self) -> usize {
        self.positions.len()
    }

    /// Filler bits, K − K'.
    pub fn filler_bits(&self) -> usize {
        self.graph.columns_k() * self.lifting() - self.information_bits
    }

    /// Rows of the base graph that the transmitted bits need.
    pub fn rows(&self) -> usize {
        self.structure.rows()
    }

    /// Edges of those rows.
    pub fn edges(&self) -> usize {
        self.structure.edges()
    }
}
