//! Integrated sensing and semantic communication, on the air.
//!
//! One transmitter with an array sends pictures as a learned, entropy-coded bitstream and finds a target in the echo of
//! the same signal. Two streams, semantic s_c and sensing s_0, are superimposed by beams w_c and w_0; between frames an
//! optimizer picks source model, channel rate and beams.
//!
//! # A system from a program
//! Everything that `issc run` does is done by three types: a [`SystemSpec`](system::SystemSpec) says what a system is made
//! of, a [`System`](system::System) has it read, planned and opened, a [`Run`](system::Run) is it at work.
//!
//! ```
//! use issc::system::{System, SystemSpec};
//!
//! let spec = SystemSpec::shipped("loopback")?.frames(240).seed(1).set("scene.constraints.power_dbm", -3.0)?;
//! let run = System::build(spec)?.start()?;
//! let events = run.subscribe(); // bounded; a slow reader loses the oldest events and is told how many
//! let answer = run.command("power_dbm=-6".parse()?)?; // accepted, frame, reason
//! let status = run.status(); // a snapshot at any time: SINR, positions, counters, the plan in force
//! run.stop(); // works off what is under way, as the first Ctrl-C does
//! let report = run.join()?; // what `issc run --json` prints
//! # assert!(answer.accepted || answer.reason.is_some());
//! # drop((events, status, report));
//! # Ok::<(), issc::Error>(())
//! ```
//!
//! # Layers
//! Each uses only what stands below it (`tests/layers.rs` holds the edges):
//! [`cli`] – [`http`] – [`system`] and [`lab`] – [`control`] and [`plot`] – [`runtime`] and `frontend` – [`blocks`], [`exchange`],
//! [`recording`] and [`pictures`] – [`stream`] – kernels ([`dsp`], [`modem`], [`coding`], [`semantic`], [`sensing`], [`channel`]) –
//! mathematics ([`optimize`], [`mod@array`], [`scene`]).
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

mod part;
#[macro_use]
mod say;

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
pub mod http;
pub mod keys;
pub mod lab;
pub mod modem;
pub mod optimize;
pub mod pictures;
pub mod plot;
pub mod recording;
pub mod runtime;
pub mod scene;
pub mod semantic;
pub mod sensing;
pub mod stream;
pub mod system;

pub use error::{Cause, Error, Result};

/// The programs of the documentation's page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/src/live.md")]
mod live_page {}
