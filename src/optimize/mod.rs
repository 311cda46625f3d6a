//! The mathematics of the plan: Fisher information and hybrid Cramér–Rao bound, optimal beams with a certificate, and
//! the choice of source model and channel rate. Double precision, no input or output, no threads.
//!
//! | symbol | meaning |
//! |---|---|
//! | Σ | transmit covariance W_c + W_0, in W |
//! | J | Fisher information, data and prior |
//! | Π | threshold on the trace of the position bound, in m² |
//! | γ | SINR at the communication receiver |
//! | P_T | power budget, in W |

mod alternating;
mod ambiguity;
mod barrier;
mod baseline;
mod beams;
mod bound;
mod covariance;
mod linear;
mod pair;
mod path;
mod rate_approximation;
mod rates;
#[cfg(feature = "reference-solver")]
mod reference;
mod scaled;
mod several;
#[cfg(test)]
mod tests;
mod together;
#[cfg(test)]
mod together_tests;

pub use alternating::{Alternated, Alternation, alternate};
pub use ambiguity::{Ambiguity, nats_by_beams, nats_by_sounding};
pub use baseline::zero_forcing;
pub use beams::{BelievedTarget, Effort, Problem, Solution, WarmStart, channel_vector};
pub use bound::{BoundModel, FisherInformation, Unidentifiable};
pub use rate_approximation::{ApproximatedRate, approximate_choice, approximate_rate};
pub use rates::{
    BlockErrorModel, CRC_BITS, LossLaw, PaperModel, RateChoice, RateLimits, SourceModel, block_error_rate, lowest_rate,
    mean_mse, select_rate,
};
#[cfg(feature = "reference-solver")]
pub use reference::reference_sinr;
