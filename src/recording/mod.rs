//! Recordings: received samples as SigMF (`.sigmf-meta` JSON beside `.sigmf-data`), one pair per receiving chain, and
//! beside them the scene, the flowgraph and the exchange of the run (module `exchange`).
//!
//! Samples are those of the chain: complex 32-bit floats in √W at the antennas, channels interleaved, so that a replay
//! gives the receivers exactly what they had. `core:global_index` is the sample time in the stream; a gap in time begins a
//! new capture.

mod meta;
mod reader;
mod writer;

pub use meta::{Annotation, Capture, Global, Metadata, SampleType};
pub use reader::SampleReader;
pub use writer::SampleWriter;

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
