//! What the processes of one system tell each other, and what a recording keeps beside the samples: plans, the bits of the
//! frames sent (from which a sensing receiver makes its reference), and what the receivers found.
//!
//! One line of JSON per message, numbered and dated ([`Envelope`]); the first exchange compares [`VERSION`] and the terms
//! of the waveform. The transmitter listens, receivers come. Nothing here waits for a peer: a message that finds no room
//! is dropped, counted, and missed by number at the other end.

mod ends;
mod far;
mod hub;
mod journal;
mod message;
mod peer;
mod seal;
mod uplink;
mod vetting;

pub use ends::{Ends, Reference, ReferenceInlet, ReferenceOutlet, Timeline, Trouble};
pub use far::{FarTransmitter, Received};
pub use hub::{Hub, Outputs};
pub use journal::{Journal, Recorded};
pub use message::{Envelope, FrameBits, FrameMessage, Message, PictureMessage, PlanMessage, Role, Terms, VERSION};
pub use peer::Statistics;
pub use seal::Secret;
pub use uplink::Uplink;
