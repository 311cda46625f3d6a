//! The control plane: plans and the thread that makes them, live commands, and pictures to send.

mod believed_channel;
mod command;
mod first_last;
mod follower;
pub mod keys;
mod observation;
mod optimizer;
mod outer_loop;
mod pictures;
mod planner;
mod session;
mod sets;
pub mod socket;

pub use command::{Command, parse_at, read_weights};
pub use first_last::FirstLast;
pub use observation::{LinkSeen, Observation};
pub use optimizer::Optimizer;
pub use pictures::{PictureLibrary, Pictures, load_pictures};
pub use planner::{Planned, Planner};
pub use session::{DECISION_FRAMES, Decision, Decisions, FollowReport, PowerCheck, Retune, Session, SessionLog};
pub use sets::Setting;
