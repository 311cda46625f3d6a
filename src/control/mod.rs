//! The control plane: plans and the thread that makes them, live commands, and pictures to send.

mod command;
mod first_last;
mod follower;
pub mod keys;
mod optimizer;
mod pictures;
mod planner;
mod session;
mod sets;
pub mod socket;
mod video;

pub use command::{Command, parse_at, read_weights};
pub use first_last::FirstLast;
pub use optimizer::{Observation, Optimizer};
pub use pictures::{
    PictureLibrary, PictureWriter, each_picture, load_pictures, pictures_in, read_picture, save_picture,
};
pub use planner::{Planned, Planner};
pub use session::{DECISION_FRAMES, FollowReport, PowerCheck, Retune, Session, SessionLog};
pub use sets::Setting;
