//! Files that went wrong on their way: bytes changed, lost, repeated, cut off.

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Changes of a file, the same ones for a seed.
pub struct Mutations {
    random: Xoshiro256PlusPlus,
}

impl Mutations {
    /// Changes of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The file with one to four changes.
    pub fn of(&mut self, file: &[u8]) -> Vec<u8> {
        let mut bytes = file.to_vec();
        for _ in 0..self.random.random_range(1..=4) {
            if bytes.is_empty() {
                break;
            }
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        // Half of the places lie in the first part, where headers are.
        let reach = if self.random.random_bool(0.5) { length.min(64) } else { length };
        let at = self.random.random_range(0..reach);
        let end = (at + self.random.random_range(1..=32)).min(length);
        match self.random.random_range(0..7) {
            0 => bytes[at] ^= 1 << self.random.random_range(0..8),
            1 => bytes[at] = self.random.random(),
            2 => bytes[at..end].fill(if self.random.random_bool(0.5) { 0 } else { 0xFF }),
            3 => self.random.fill_bytes(&mut bytes[at..end]),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..end)),
            _ => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}
