//! The sensing receiver: from the echo of one frame to the target's position, with an error bar that is true.
//!
//! Model (eq. 5, 8): row r of the receive array sees β_0 a_r(φ) Σ_u (α(θ)ᴴw_u) s_u(t − T) + noise, T = τ + Δτ, where
//! both shaped streams s_u are known. `sps`·σ_s² is the noise variance per complex sample, DFTs are not normalised, so
//! a bin of an M-sample window has noise variance M·sps·σ_s². θ is the departure TR → target, φ the direction
//! SRE → target; inside, u = sin θ and v = sin φ stand for them. Delays are in samples until an [`Estimate`] is made.

mod align;
pub mod cfar;
mod clock;
mod clutter;
mod coherent;
mod compression;
mod config;
mod detector;
mod estimate;
mod estimator;
mod fit;
mod frame;
mod likelihood;
pub mod maps;
mod position;
mod search;
mod sounding;
mod spectra;
mod spectrum;
mod symbol_rate;
mod targets;
mod track;
mod trial;

pub use clutter::StationaryEchoes;
pub use coherent::{CoherentEstimator, CoherentFrames};
pub use config::{Reflection, SensingConfig};
pub use detector::Detector;
pub use estimate::{Estimate, Fix, Rivals, Status};
pub use estimator::{Estimator, Expectation};
pub use frame::{EchoFrame, Planar};
pub use targets::{MAX_TARGETS, TargetEcho, TargetSearch};
pub use track::{Measurement, PathRate, Track, TrackEcho, TrackSettings, Tracker};
pub use trial::{Trials, Truth};

/// The two streams: 0 = semantic (s_c), 1 = sensing (s_0).
const STREAMS: usize = 2;
#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;
