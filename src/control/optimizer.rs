//! The optimizer in the loop: observations in, a plan out. [`Planner`] is the one that is shipped; a program may bring its
//! own.

use super::{Observation, Planned, Planner};
use crate::Result;
use crate::stream::Plan;

/// Makes the plans of a run. It runs on a thread of its own, between frames, and is asked for a plan after every
/// observation that may change one.
pub trait Optimizer: Send {
    /// Takes an observation in. An error refuses a command; the optimizer is then put back to what it was.
    fn observe(&mut self, observation: Observation<'_>) -> Result<()>;

    /// The plan from frame `from_frame` on, numbered `epoch`. A plan that is not feasible is not used, unless the user
    /// set its beams; one with more power than the budget is never used.
    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned>;

    /// Whether a user's own beams are in force: they are used even where they miss the threshold.
    fn has_weights(&self) -> bool {
        false
    }

    /// Whether what was observed of the link makes it worth to plan anew; soundings and commands always do.
    fn wants_plan(&self, _newest: &Plan) -> bool {
        false
    }

    /// A copy, kept while a command is tried.
    fn copy(&self) -> Box<dyn Optimizer>;
}

impl Optimizer for Planner {
    fn observe(&mut self, observation: Observation<'_>) -> Result<()> {
        match observation {
            Observation::Command(command) => return self.apply(command),
            Observation::Sounding { frame, gains, amplitude } => self.sound(frame, gains, amplitude),
            Observation::Target { index, position_m, covariance_m2 } => self.expect(index, position_m, covariance_m2),
            Observation::Seen { index, position_m, covariance_m2 } => self.see(index, position_m, covariance_m2),
            Observation::Echo { index, echo } => self.hear(index, echo),
            Observation::Link { plan, seen } => self.see_link(plan, &seen),
        }
        Ok(())
    }

    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        self.plan(epoch, from_frame)
    }

    fn has_weights(&self) -> bool {
        self.has_weights()
    }

    fn wants_plan(&self, newest: &Plan) -> bool {
        self.wants_plan(newest)
    }

    fn copy(&self) -> Box<dyn Optimizer> {
        Box::new(self.clone())
    }
}
