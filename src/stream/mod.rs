//! The streaming contract: what travels (frames), who works on it (blocks), and how it is handed over (links, taps,
//! plans, telemetry). Nothing here knows of flowgraphs or of the command line.

mod block;
mod clock;
mod coded;
mod frame;
mod harness;
mod link;
mod plan;
mod tap;
mod telemetry;

pub use block::{Block, Flow, Stage, Wake, erase};
pub use clock::now_ns;
pub use coded::{BLOCK_BITS, CodedFrame};
pub use frame::{AnyFrame, Frame, Head, Item, Sample, Shape};
pub use harness::Harness;
pub use link::{LinkReceiver, LinkSender, Policy, link};
pub use plan::{LinkBelief, PictureBudget, Plan, PlanBoard, PlanReader};
pub use tap::{TapReader, TapWriter, Taps};
pub use telemetry::{
    Audience, Event, LeftOut, Listeners, MAX_SOUNDED_ANTENNAS, ResultKind, Telemetry, Told, digest, digest_of_bits,
};
