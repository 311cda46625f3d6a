//! A whole system as a value: a [`SystemSpec`] is built to a [`System`], which is started to a [`Run`]. The command line
//! is one way in among others; whoever embeds the library uses the same three types.
//!
//! | type | what it is | what can be done with it |
//! |---|---|---|
//! | [`SystemSpec`] | flowgraph, scene, seed, changes | builder methods, [`System::build`] |
//! | [`System`] | everything read, planned and opened | [`System::start`] |
//! | [`Run`] | threads at work | [`Run::subscribe`], [`Run::command`], [`Run::status`], [`Run::stop`], [`Run::join`] |
//! | [`Watch`] | a run seen from beside its owner | [`Watch::views`], [`Watch::picture`], what a run's owner can do but wait |
//!
//! [`Status`], [`Report`] and [`Event`] serialise with the keys that `issc status`, `issc run --json` and
//! `issc run --events` print.

mod bench;
mod build;
pub mod doctor;
pub mod drawings;
mod events;
mod gallery;
mod peers;
mod radios;
mod recording;
mod report;
mod run;
mod shipped;
pub mod show;
mod signals;
mod spec;
mod views;
mod watch;

pub use bench::{RoleSpeed, Speeds, StageSpeed, bench};
pub use build::System;
pub use events::{Detection, Event, Rival, Subscription};
pub use gallery::Shown;
pub use radios::{OpenRadios, RadioSettings};
pub use report::{
    BelievedMeasured, DataFigures, Datagrams, Dropped, Figures, HeaderFigures, ImageReport, Latencies, Latency, Paths,
    PlanSummary, PowerReport, RadioFigures, ReceiverFigures, Report, STATUS_FRAMES, SinrReport, State, Status,
    TargetFigures, TargetReport, TrackReport,
};
pub use run::{Ended, Run};
pub use shipped::{flowgraph, read_scene, scene};
pub use signals::{Signals, wait_for_end};
pub use spec::{MakeOptimizer, SystemSpec};
pub use views::{Array, Topic, View};
pub use watch::{About, SeenChain, SeenReceiver, SeenStage, Side, Watch};

pub use crate::control::socket::Answer;
pub use crate::control::{Command, Decision, Decisions, Observation, Optimizer, Setting};
