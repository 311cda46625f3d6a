//! What only researchers measure: the paper's figures, beams by the methods that are compared, the bounds of given beams,
//! the source models beside their rivals, the position estimator beside its bound. Nothing here runs a radio and nothing
//! that runs one uses it; the commands that call it are `issc figures`, `optimize`, `hcrb`, `codec-curve`,
//! `rate-distortion`, `robustness` and `sense`.

pub mod beams;
pub mod bounds;
mod code_figures;
pub mod codec_curve;
pub mod figures;
pub mod link;
mod parallel;
pub mod rate_distortion;
pub mod robustness;
pub mod sense;
pub mod sense_drawings;
pub mod shard;
mod similarity;

use std::sync::Arc;

use crate::semantic::{Bank, Decoder, Encoder};

/// The coders of one core, the encoder with so many passes.
fn coders(bank: &Arc<Bank>, effort: usize) -> (Encoder, Decoder) {
    let mut encoder = Encoder::new(bank.clone());
    encoder.set_effort(effort);
    (encoder, Decoder::new(bank.clone()))
}

/// A ratio in dB; `None` where it has no finite one.
fn decibel(ratio: f64) -> Option<f64> {
    let level = crate::scene::decibel(ratio);
    level.is_finite().then_some(level)
}
