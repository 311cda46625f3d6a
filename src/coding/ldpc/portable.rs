//! The scalar kernel, which the vector kernels must equal bit for bit.

use super::QuasiCyclic;
use super::graph::MAX_DEGREE;

/// Decodes the soft bits of one word in place, column after column; see [`super::decode()`].
pub(super) fn decode(structure: &QuasiCyclic, iterations: u8, soft: &mut [i8], messages: &mut [i8]) -> (bool, u8) {
    let z = structure.lifting();
    let messages = &mut messages[..structure.edges() * z];
    messages.fill(0);
    for iteration in 0..iterations {
        if iteration > 0 && holds(structure, soft) {
            return (true, iteration);
        }
        let mut rest = &mut *messages;
        for row in 0..structure.rows() {
            let entries = structure.row(row);
            let (messages, next) = rest.split_at_mut(entries.len() * z);
            rest = next;
            for check in 0..z {
                update(entries, z, check, soft, messages);
            }
        }
    }
    (holds(structure, soft), iterations)
}

/// Whether the signs of the soft bits satisfy every check.
fn holds(structure: &QuasiCyclic, soft: &[i8]) -> bool {
    let z = structure.lifting();
    (0..structure.rows()).all(|row| {
        let parity = |check| {
            structure.row(row).iter().fold(0, |sign, (column, shift)| sign ^ soft[column * z + (check + shift) % z])
        };
        (0..z).all(|check| parity(check) >= 0)
    })
}

/// One check: messages of 3/4 of the smallest other magnitude, signed to satisfy it.
#[inline]
fn update(entries: &[(usize, usize)], z: usize, check: usize, soft: &mut [i8], messages: &mut [i8]) {
    let mut incoming = [0i8; MAX_DEGREE];
    let (mut smallest, mut second, mut sign) = (127u8, 127u8, 0i8);
    for (edge, (column, shift)) in entries.iter().enumerate() {
        let value = soft[column * z + (check + shift) % z].saturating_sub(messages[edge * z + check]);
        let size = value.unsigned_abs();
        second = second.min(smallest.max(size));
        smallest = smallest.min(size);
        sign ^= value;
        incoming[edge] = value;
    }
    for (edge, (column, shift)) in entries.iter().enumerate() {
        let value = incoming[edge];
        let other = if value.unsigned_abs() == smallest { second } else { smallest };
        let scaled = (other - (other >> 2)) as i8;
        let message = if sign ^ value >= 0 { scaled } else { -scaled };
        messages[edge * z + check] = message;
        soft[column * z + (check + shift) % z] = value.saturating_add(message);
    }
}
