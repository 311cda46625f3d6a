//! Integrated sensing and semantic communication, on the air.
//!
//! One transmitter with an array sends pictures as a learned, entropy-coded bitstream and finds a target in the echo of
//! the same signal. Two streams, semantic s_c and sensing s_0, are superimposed by beams w_c and w_0; between frames an
//! optimizer picks source model, channel rate and beams.
//!
//! # Layers
//! Each uses only what stands below it (`tests/layers.rs` holds the edges):
//! [`cli`] – [`control`] – [`runtime`] – [`blocks`], `frontend`, [`exchange`] and [`recording`] – [`stream`] – kernels ([`dsp`], [`modem`], [`coding`],
//! [`semantic`], [`sensing`], [`channel`]) – mathematics ([`optimize`], [`mod@array`], [`scene`]).
//!
//! # Notation
//! | symbol | meaning | in the code |
//! |---|---|---|
//! | w_c, w_0 | beams of the semantic and the sensing stream, √W | [`array::Beams`] |
//! | h_c | channel to the communication receiver (CRE) | [`optimize::channel_vector`] |
//! | θ, φ | directions transmitter → target and sensing receiver (SRE) → target, rad | `departure`, `arrival` |
//! | τ, Δτ | delay of the echo, error of the SRE's clock, s | `delay_s`, `timing_error_s` |
//! | γ | SINR at the CRE, linear | `sinr` |
//! | Π | threshold on the trace of the position bound, m² | `hcrb_max_m2` |
//! | R_s, R_c | source rate, channel rate in bits per symbol | `bits_per_pixel`, `rate` |
//! | L, N_c | symbols and information bits of a block | `BLOCK_SYMBOLS`, `information_bits` |
//!
//! # Conventions
//! Noise powers are per complex symbol in the bandwidth; a stream of `sps` samples per symbol has `sps` times that per
//! sample. Shaped unit-power symbols have unit mean sample power and the matched filter unit gain. Log-likelihood
//! ratios are ln P(0)/P(1). Bits are one per byte, most significant first. DFTs are not normalised.

#![warn(missing_docs)]

pub mod array;
pub mod blocks;
pub mod channel;
pub mod cli;
pub mod coding;
pub mod config;
pub mod control;
pub mod dsp;
pub mod error;
pub mod exchange;
#[cfg(feature = "soapy")]
pub mod frontend;
pub mod keys;
pub mod modem;
pub mod optimize;
pub mod plot;
pub mod recording;
pub mod runtime;
pub mod scene;
pub mod semantic;
pub mod sensing;
pub mod stream;

pub use error::{Cause, Error, Result};
