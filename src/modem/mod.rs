//! The air interface: the frame and its known words, and the receiver of the semantic stream.

mod conditioning;
mod equaliser;
mod feedback;
pub mod frame;
pub mod header;
pub mod lock;
pub mod receiver;
mod synchronise;
mod tracking;
pub mod word;
pub mod words;

// Below the channel code, which maps its bits to them; whoever asks the air interface finds them here.
pub use crate::dsp::constellation;
pub use feedback::Attempt;
