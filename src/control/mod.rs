//! The control plane: plans and the thread that makes them, live commands, pictures to send, and the report.

mod command;
pub mod keys;
mod pictures;
mod planner;
mod report;
mod session;
mod sets;
pub mod socket;
mod video;

pub use command::{Command, parse_at, read_weights};
pub use pictures::{PictureLibrary, PictureWriter, each_picture, load_pictures, pictures_in, read_picture};
pub use planner::{Planned, Planner};
pub use report::{Collector, Paths, PlanSummary, Report, Shown};
pub use session::{DECISION_FRAMES, FollowReport, Retune, Session, SessionLog};
pub use sets::Setting;
