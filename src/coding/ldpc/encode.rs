//! Systematic encoding by the dual diagonal of the first four rows, then row by row.

use super::{BaseGraph, LdpcCode, MAX_LIFTING};

/// Room for one codeword.
#[derive(Debug, Clone)]
pub struct Encoder {
    word: Vec<u8>,
    sums: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { word: vec![0; BaseGraph::One.columns() * MAX_LIFTING], sums: vec![0; MAX_LIFTING] }
    }
}

impl LdpcCode {
    /// Encodes K' bits into E bits, rate-matched and interleaved.
    pub fn encode(&self, information: &[u8], coded: &mut [u8], scratch: &mut Encoder) {
        self.codeword(information, scratch);
        for (bit, position) in coded.iter_mut().zip(&self.positions) {
            *bit = scratch.word[*position as usize];
        }
    }

    /// The mother codeword, punctured columns included, filler as zeros; as far as the kept rows reach.
    pub fn codeword<'a>(&self, information: &[u8], scratch: &'a mut Encoder) -> &'a [u8] {
        let z = self.lifting();
        let k = self.graph.columns_k();
        let Encoder { word, sums } = scratch;
        let word = &mut word[..self.structure.columns() * z];
        word.fill(0);
        word[..information.len()].copy_from_slice(information);
        let sums = &mut sums[..z];
        // The sum of the first four rows holds column k once: the two equal shifts cancel.
        sums.fill(0);
        let mut shifts = [0usize; 3];
        let mut found = 0;
        for row in 0..4 {
            add_row(self.structure.row(row), |column| column < k, z, word, sums);
            if let Some((_, shift)) = self.structure.row(row).iter().find(|(column, _)| *column == k) {
                shifts[found] = *shift;
                found += 1;
            }
        }
        let lone = if shifts[0] == shifts[1] {
            shifts[2]
        } else if shifts[0] == shifts[2] {
            shifts[1]
        } else {
            shifts[0]
        };
        for (r, sum) in sums.iter().enumerate() {
            word[k * z + (r + lone) % z] = *sum;
        }
        for row in 0..self.structure.rows() {
            let target = if row < 3 {
                k + row + 1
            } else if row == 3 {
                continue;
            } else {
                k + row
            };
            sums.fill(0);
            add_row(self.structure.row(row), |column| column < target, z, word, sums);
            word[target * z..][..z].copy_from_slice(sums);
        }
        word
    }
}

/// Adds the rotated columns of one row, those that `takes`, to `sums`.
fn add_row(row: &[(usize, usize)], takes: impl Fn(usize) -> bool, z: usize, word: &[u8], sums: &mut [u8]) {
    for (column, shift) in row.iter().filter(|(column, _)| takes(*column)) {
        let (wrapped, straight) = word[column * z..][..z].split_at(*shift);
        let (sums, wrapped_sums) = sums.split_at_mut(straight.len());
        sums.iter_mut().zip(straight).for_each(|(sum, bit)| *sum ^= bit);
        wrapped_sums.iter_mut().zip(wrapped).for_each(|(sum, bit)| *sum ^= bit);
    }
}
