//! The LDPC codes of TS 38.212 section 5.3.2 with rate matching (5.4.2, redundancy version 0, no limited buffer).

mod decode;
mod encode;
mod graph;

pub use decode::{Decoder, decode};
pub use encode::Encoder;
pub use graph::{BaseGraph, MAX_LIFTING, QuasiCyclic};

use crate::{Error, Result};

/// One code with its rate matching: K' information bits become E bits.
#[derive(Debug, Clone)]
pub struct LdpcCode {
    graph: BaseGraph,
    structure: QuasiCyclic,
    information_bits: usize,
    coded_bits: usize,
    bits_per_symbol: usize,
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
        let structure = QuasiCyclic::new(graph, lifting);
        let mut code = Self { graph, structure, information_bits, coded_bits, bits_per_symbol };
        let last = code.last_position();
        code.structure.prune((last / lifting + 1).saturating_sub(graph.columns_k()).max(4));
        Ok(code)
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
        self.coded_bits
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

    /// The highest position of the mother codeword (punctured columns counted) that is sent.
    fn last_position(&self) -> usize {
        let mut last = 0;
        self.each_position(|_, position| last = last.max(position));
        last
    }

    /// Calls `visit(e, position)` for every bit before interleaving: circular buffer without filler, from column 2.
    fn each_position(&self, mut visit: impl FnMut(usize, usize)) {
        let lifting = self.lifting();
        let filler = self.information_bits..self.graph.columns_k() * lifting;
        let (begin, end) = (2 * lifting, self.graph.columns() * lifting);
        let mut position = begin;
        for index in 0..self.coded_bits {
            if filler.contains(&position) {
                position = filler.end;
            }
            visit(index, position);
            position = if position + 1 == end { begin } else { position + 1 };
        }
    }

    /// Where bit `index` before interleaving stands after it.
    fn interleaved(&self, index: usize) -> usize {
        let per_row = self.coded_bits / self.bits_per_symbol;
        index / per_row + index % per_row * self.bits_per_symbol
    }
}
