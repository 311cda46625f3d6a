//! Recordings: received samples as SigMF (`.sigmf-meta` JSON beside `.sigmf-data`), one pair per receiving chain, and
//! beside them the scene, the flowgraph and the exchange of the run (module `exchange`).
//!
//! Samples that are written are those of the chain: complex 32-bit floats in √W at the antennas, channels interleaved, so
//! that a replay gives the receivers exactly what they had. `core:global_index` is the sample time in the stream; a gap in
//! time begins a new capture. Metadata are on the disk from the first sample on, and after each gap, so that a recording
//! whose process was killed can be played.
//!
//! | of other programs' SigMF | is |
//! |---|---|
//! | `cf32`, `cf64`, `ci32`, `ci16`, `cu32`, `cu16` with `_le` or `_be`, `ci8`, `cu8` | read; integers are of one at full scale, times `issc:unit_sqrt_w` |
//! | real types (`rf32_le`, …) | refused: receivers need complex samples |
//! | `core:header_bytes`, `core:trailing_bytes`, `core:dataset`, `core:offset` | kept to |
//! | `core:sample_rate`, `captures`, `core:global_index` missing | the scene's rate; one capture; times count from `core:sample_start` |
//! | several channels | interleaved, or one file each in a `.sigmf-collection` |
//! | archive `.sigmf` (tar) of one recording or one collection | read in its place |
//! | samples that are no finite numbers | zeros, counted and named |

mod datatype;
mod fields;
mod layout;
mod meta;
mod reader;
mod shelf;
mod writer;

pub use datatype::SampleType;
pub use meta::{Annotation, Capture, Device, Global, Metadata};
pub use reader::SampleReader;
pub use writer::{Reception, SampleWriter};

/// Samples to their digest, eight bytes at a time.
#[derive(Debug, Clone, Copy)]
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}
