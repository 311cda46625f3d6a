//! Layered normalised min-sum on bytes: soft bits saturate at ±127, messages are scaled by 3/4, rows come in order,
//! and the decoder stops as soon as every check holds.

use crate::dsp::dispatched;

use super::{BaseGraph, LdpcCode, MAX_LIFTING, QuasiCyclic};

/// Most edges of one row of the base graphs.
const MAX_DEGREE: usize = 24;

/// Room for decoding any code.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// Posterior soft bits, column after column.
    soft: Vec<i8>,
    /// Messages from checks to bits, edge after edge.
    messages: Vec<i8>,
    row: Box<RowScratch>,
}

#[derive(Debug, Clone)]
struct RowScratch {
    incoming: [[i8; MAX_LIFTING]; MAX_DEGREE],
    smallest: [u8; MAX_LIFTING],
    second: [u8; MAX_LIFTING],
    sign: [u8; MAX_LIFTING],
}

impl Default for Decoder {
    fn default() -> Self {
        let edges = 400;
        Self {
            soft: vec![0; BaseGraph::One.columns() * MAX_LIFTING],
            messages: vec![0; edges * MAX_LIFTING],
            row: Box::new(RowScratch {
                incoming: [[0; MAX_LIFTING]; MAX_DEGREE],
                smallest: [0; MAX_LIFTING],
                second: [0; MAX_LIFTING],
                sign: [0; MAX_LIFTING],
            }),
        }
    }
}

impl LdpcCode {
    /// Decodes E soft bits into K' bits; returns whether every check held and the iterations spent.
    pub fn decode(&self, llr: &[i8], information: &mut [u8], iterations: u8, scratch: &mut Decoder) -> (bool, u8) {
        let z = self.lifting();
        let soft = &mut scratch.soft[..self.structure.columns() * z];
        soft.fill(0);
        soft[self.information_bits..self.graph.columns_k() * z].fill(i8::MAX);
        self.each_position(|index, position| {
            soft[position] = soft[position].saturating_add(llr[self.interleaved(index)]);
        });
        let outcome = decode(&self.structure, iterations, scratch);
        for (bit, soft) in information.iter_mut().zip(&scratch.soft) {
            *bit = u8::from(*soft < 0);
        }
        outcome
    }
}

impl Decoder {
    /// The posterior soft bits, to be filled before [`decode`] and read after it.
    pub fn soft_bits(&mut self) -> &mut [i8] {
        &mut self.soft
    }
}

/// Decodes the soft bits in `scratch` under any quasi-cyclic matrix, at most `iterations` times; returns whether every
/// check held, and the iterations spent.
pub fn decode(structure: &QuasiCyclic, iterations: u8, scratch: &mut Decoder) -> (bool, u8) {
    let z = structure.lifting();
    scratch.messages[..structure.edges() * z].fill(0);
    for iteration in 0..iterations {
        if iteration > 0 && holds(structure, scratch) {
            return (true, iteration);
        }
        let mut edge = 0;
        for row in 0..structure.rows() {
            let entries = structure.row(row);
            let messages = &mut scratch.messages[edge * z..][..entries.len() * z];
            update_row(entries, z, &mut scratch.soft, messages, &mut scratch.row);
            edge += entries.len();
        }
    }
    (holds(structure, scratch), iterations)
}

/// Whether the signs of the soft bits satisfy every check.
fn holds(structure: &QuasiCyclic, scratch: &mut Decoder) -> bool {
    let z = structure.lifting();
    (0..structure.rows()).all(|row| {
        let parity = &mut scratch.row.sign[..z];
        parity.fill(0);
        for (column, shift) in structure.row(row) {
            let bits = &scratch.soft[column * z..][..z];
            xor_signs(&bits[*shift..], &mut parity[..z - shift]);
            xor_signs(&bits[..*shift], &mut parity[z - shift..]);
        }
        parity.iter().fold(0, |any, bit| any | bit) & 0x80 == 0
    })
}

fn xor_signs(bits: &[i8], parity: &mut [u8]) {
    for (parity, bit) in parity.iter_mut().zip(bits) {
        *parity ^= *bit as u8;
    }
}

dispatched! {
    fn update_row(
        entries: &[(usize, usize)],
        z: usize,
        soft: &mut [i8],
        messages: &mut [i8],
        scratch: &mut RowScratch,
    ) = update_row_body
}

#[inline(always)]
fn update_row_body(
    entries: &[(usize, usize)],
    z: usize,
    soft: &mut [i8],
    messages: &mut [i8],
    scratch: &mut RowScratch,
) {
    let RowScratch { incoming, smallest, second, sign } = scratch;
    let (smallest, second, sign) = (&mut smallest[..z], &mut second[..z], &mut sign[..z]);
    smallest.fill(127);
    second.fill(127);
    sign.fill(0);
    for (edge, (column, shift)) in entries.iter().enumerate() {
        let bits = &soft[column * z..][..z];
        let incoming = &mut incoming[edge][..z];
        incoming[..z - shift].copy_from_slice(&bits[*shift..]);
        incoming[z - shift..].copy_from_slice(&bits[..*shift]);
        let messages = &messages[edge * z..][..z];
        for lane in 0..z {
            let value = incoming[lane].saturating_sub(messages[lane]);
            incoming[lane] = value;
            let size = value.unsigned_abs().min(127);
            second[lane] = second[lane].min(smallest[lane].max(size));
            smallest[lane] = smallest[lane].min(size);
            sign[lane] ^= value as u8;
        }
    }
    for (edge, (column, shift)) in entries.iter().enumerate() {
        let incoming = &mut incoming[edge][..z];
        let messages = &mut messages[edge * z..][..z];
        for lane in 0..z {
            let value = incoming[lane];
            let size = value.unsigned_abs().min(127);
            let other = if size == smallest[lane] { second[lane] } else { smallest[lane] };
            let scaled = (other - (other >> 2)) as i8;
            let message = if (sign[lane] ^ value as u8) & 0x80 == 0 { scaled } else { -scaled };
            messages[lane] = message;
            incoming[lane] = value.saturating_add(message);
        }
        let bits = &mut soft[column * z..][..z];
        bits[*shift..].copy_from_slice(&incoming[..z - shift]);
        bits[..*shift].copy_from_slice(&incoming[z - shift..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_dispatched_row_update_equals_the_baseline_for_every_lifting_size() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
        for z in BaseGraph::liftings() {
            for graph in [BaseGraph::One, BaseGraph::Two] {
                let structure = QuasiCyclic::new(graph, z);
                let entries = structure.row(0);
                let mut fast: Vec<i8> = (0..structure.columns() * z).map(|_| random.random()).collect();
                let mut fast_messages: Vec<i8> =
                    (0..entries.len() * z).map(|_| random.random_range(-95..=95)).collect();
                let (mut slow, mut slow_messages) = (fast.clone(), fast_messages.clone());
                let mut scratch = Decoder::default().row;
                update_row(entries, z, &mut fast, &mut fast_messages, &mut scratch);
                update_row_body(entries, z, &mut slow, &mut slow_messages, &mut scratch);
                assert!(fast == slow && fast_messages == slow_messages, "Z = {z}");
            }
        }
    }
}
