//! Punctured bits by elimination over GF(2), for code rates so high that the checks on the air no longer give them back one
//! after the other: every check has several unknown bits, and yet all checks together have one solution.
//!
//! The unknown bits u solve H_u u = s, with s the syndrome of the bits that are known. Elimination, once per code, turns
//! this into one sum over s for each punctured information bit; the sums left over must be 0.

use super::QuasiCyclic;
use super::graph::MAX_LIFTING;

/// Most checks of a matrix that is solved, in words of 64: the four rows of the core.
const MAX_WORDS: usize = 4 * MAX_LIFTING / 64;

/// Which checks a sum is over, one bit each.
type Checks = Vec<u64>;

/// The sums of one code.
#[derive(Debug, Clone)]
pub(super) struct Elimination {
    /// Positions of bits that are not sent.
    unknown: Vec<usize>,
    /// Those among them that carry information, with what they are.
    solutions: Vec<(usize, Checks)>,
    /// Sums that are 0 for every codeword, whatever the unknown bits.
    residues: Vec<Checks>,
}

impl Elimination {
    /// For the bits that are not `known`; nothing where several words agree in all the others, or where the code reaches
    /// beyond its core, which has its punctured bits from many sides.
    pub(super) fn new(structure: &QuasiCyclic, known: &[bool], information_bits: usize) -> Option<Self> {
        let z = structure.lifting();
        let checks = structure.rows() * z;
        if checks > MAX_WORDS * 64 {
            return None;
        }
        let unknown: Vec<usize> = (0..known.len()).filter(|position| !known[*position]).collect();
        let width = unknown.len().div_ceil(64);
        // A row is a check's unknown bits, and behind them the checks that it is the sum of.
        let mut rows: Vec<Vec<u64>> = (0..checks)
            .map(|check| {
                let mut row = vec![0; width + checks.div_ceil(64)];
                for (column, shift) in structure.row(check / z) {
                    if let Ok(index) = unknown.binary_search(&(column * z + (check % z + shift) % z)) {
                        flip(&mut row, index);
                    }
                }
                flip(&mut row, width * 64 + check);
                row
            })
            .collect();
        for index in 0..unknown.len() {
            let pivot = (index..checks).find(|row| bit(&rows[*row], index))?;
            rows.swap(index, pivot);
            let pivot = rows[index].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(at, row)| *at != index && bit(row, index)) {
                row.iter_mut().zip(&pivot).for_each(|(word, pivot)| *word ^= pivot);
            }
        }
        let mut sums = rows.into_iter().map(|row| row[width..].to_vec());
        let solved: Vec<_> = unknown.iter().copied().zip(sums.by_ref()).collect();
        let solutions = solved.into_iter().filter(|(position, _)| *position < information_bits).collect();
        Some(Self { unknown, solutions, residues: sums.collect() })
    }

    /// Gives the unknown information bits the signs that the others' signs ask for; returns whether there are such.
    pub(super) fn solve(&self, structure: &QuasiCyclic, soft: &mut [i8]) -> bool {
        let z = structure.lifting();
        self.unknown.iter().for_each(|position| soft[*position] = 0);
        let mut syndrome = [0; MAX_WORDS];
        for check in 0..structure.rows() * z {
            let signs = structure.row(check / z).iter();
            let sign = signs.fold(0, |sign, (column, shift)| sign ^ soft[column * z + (check % z + shift) % z]);
            syndrome[check / 64] |= u64::from(sign < 0) << (check % 64);
        }
        let sum = |checks: &Checks| {
            let common = checks.iter().zip(&syndrome).fold(0, |sum, (checks, syndrome)| sum ^ (checks & syndrome));
            common.count_ones() % 2 == 1
        };
        for (position, checks) in &self.solutions {
            soft[*position] = if sum(checks) { -1 } else { 1 };
        }
        !self.residues.iter().any(sum)
    }
}

fn bit(row: &[u64], index: usize) -> bool {
    row[index / 64] >> (index % 64) & 1 == 1
}

fn flip(row: &mut [u64], index: usize) {
    row[index / 64] ^= 1 << (index % 64);
}
