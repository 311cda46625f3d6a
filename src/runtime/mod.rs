//! Execution: a flowgraph file becomes chains of stages on named threads, joined by links, started, stopped and
//! counted.

mod chain;
mod flowgraph;
mod keys;
mod load;
mod processor;
mod schedule;
#[cfg(test)]
mod tests;

pub use chain::{Chain, StopSwitch};
pub use flowgraph::{ChainText, Flowgraph, LinkText, StageText};
pub use keys::KEYS;
pub use load::{Busy, LinkCount, Program};
pub use processor::{time_of_process, time_of_thread};
pub use schedule::Scheduling;
