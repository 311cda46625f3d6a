//! The semantic codec: pictures to bits that survive errors, and back.
//!
//! A hyperprior transform codec (Ballé 2018, Minnen 2018) whose rates share one network; its bits are cut in slices that
//! decode alone ([`bitstream`]). Everything that the entropy coder depends on is exact on every machine ([`predictor`]).

mod analog;
mod bank;
pub mod bitstream;
pub mod convolution;
pub mod curve;
mod decoder;
mod encoder;
pub mod file;
pub mod halved;
pub mod jpeg;
pub mod layers;
pub mod metrics;
pub mod predictor;
pub mod range_coder;
mod refine;
pub mod rivalry;
pub mod transform;
pub mod weights;

pub use crate::dsp::lanes::Simd;
pub use analog::Analog;
pub use bank::{Bank, CARD_FILE, Calibration, CalibrationPicture, Card, DistortionCurve, ModelInfo, WEIGHTS_FILE};
pub use decoder::{Decoded, Decoder, Report};
pub use encoder::{Encoder, Picture, SLICE_BITS};
