//! Codes that are in use, kept ready.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BLOCK_CRC, BLOCK_SYMBOLS, BlockCode, BlockFormat, plan};
use crate::error::Result;

/// Codes kept ready: payload and protected code of a few plans or pictures.
const KEPT_CODES: usize = 8;

/// The codes last used. Each is made at first sight, and the one that was not used for longest makes room.
pub struct CodeShelf {
    /// The last used one last.
    codes: Vec<BlockCode>,
}

impl Default for CodeShelf {
    fn default() -> Self {
        Self { codes: Vec::with_capacity(KEPT_CODES) }
    }
}

impl CodeShelf {
    /// The code of this format, if there is one.
    pub fn get(&mut self, format: BlockFormat) -> Option<&BlockCode> {
        match self.codes.iter().position(|code| code.format() == format) {
            Some(index) => self.codes[index..].rotate_left(1),
            None => {
                let code = format.code(BLOCK_SYMBOLS, BLOCK_CRC).ok()?;
                if self.codes.len() == KEPT_CODES {
                    self.codes.remove(0);
                }
                self.codes.push(code);
            }
        }
        self.codes.last()
    }

    /// The same, if it is ready.
    pub fn ready(&self, format: BlockFormat) -> Option<&BlockCode> {
        self.codes.iter().find(|code| code.format() == format)
    }
}

/// Every planned code that a transmitter has used, by N_c: plans and pictures come back to few of them.
#[derive(Clone, Default)]
pub struct PlannedCodes {
    codes: HashMap<usize, Arc<BlockCode>>,
}

impl PlannedCodes {
    /// The planned code of `bits` bits, CRC included; made once. An error where there is none of so many.
    pub fn get(&mut self, bits: usize) -> Result<Arc<BlockCode>> {
        if let Some(code) = self.codes.get(&bits) {
            return Ok(Arc::clone(code));
        }
        let code = Arc::new(plan(bits, BLOCK_SYMBOLS, BLOCK_CRC)?);
        self.codes.insert(bits, Arc::clone(&code));
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::planned_format;

    #[test]
    fn what_was_not_used_for_longest_makes_room_and_what_cannot_be_is_none() {
        let mut shelf = CodeShelf::default();
        for bits in 100..100 + KEPT_CODES {
            assert_eq!(shelf.get(planned_format(bits)).unwrap().information_bits(), bits);
        }
        shelf.get(planned_format(100));
        shelf.get(planned_format(300));
        assert!(shelf.ready(planned_format(100)).is_some() && shelf.ready(planned_format(101)).is_none());
        assert!(shelf.get(BlockFormat { information_bits: 5000, ..planned_format(100) }).is_none());
    }
}
