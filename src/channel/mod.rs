//! The simulated world: the direct paths to the communication receivers (eq. 3), the targets' echoes to the sensing
//! receivers (eq. 5) with clutter and leakage, and receiver noise. Everything follows from a seed; nothing here is visible
//! to a receiver but samples.

mod direct;
mod echo;
mod impaired;
pub mod impairment;
mod line;
mod noise;
mod path;
mod world;

pub use direct::{DirectPath, DirectPathSettings};
pub use echo::{EchoPath, EchoPathSettings, EchoTarget, EchoTruth, PhaseDraw, check_simulated_target, check_target};
pub use impaired::{FRAME_SYMBOLS, Impairments};
pub use noise::Noise;
pub use path::StationaryPath;
pub use world::World;

/// Samples by which received rows lag the transmitter's clock, so that a negative timing error stays causal.
pub const RECEIVE_LAG: usize = 1024;

/// Most antennas of the sensing array that are simulated.
pub const MAX_ANTENNAS: usize = 64;
