//! What only researchers measure: the paper's figures, the source models beside their rivals, the bounds of given beams,
//! the position estimator beside its bound. Nothing here runs a radio and nothing that runs one uses it; the commands that
//! call it are `issc figures`, `codec-curve`, `rate-distortion`, `hcrb` and `sense`.

pub mod bounds;
mod code_figures;
pub mod codec_curve;
pub mod figures;
pub mod rate_distortion;
pub mod sense;
pub mod sense_drawings;
mod similarity;
