//! The optimizer in the loop: observations in, a plan out. [`Planner`] is the one that is shipped; a program may bring its
//! own.

use nalgebra::Matrix2;
use num_complex::Complex32;

use super::{Command, Planned, Planner};
use crate::Result;
use crate::scene::Point;

/// Something that an optimizer learns between two plans.
#[derive(Debug, Clone, Copy)]
pub enum Observation<'a> {
    /// A user's command; changes to the simulated world are not among them.
    Command(&'a Command),
    /// The served receiver's channel was sounded.
    Sounding {
        /// Frame that it was sent in.
        frame: u64,
        /// Conjugated entries of h_c as received, one per transmit antenna, up to a phase that all share.
        gains: &'a [Complex32],
        /// Amplitude that each antenna sent with, √W.
        amplitude: f64,
    },
    /// Where a believed target is expected when the next plan is in force.
    Target {
        /// Its place among the believed targets.
        index: usize,
        /// Position in metres.
        position_m: Point,
        /// Covariance of the position in m².
        covariance_m2: Matrix2<f64>,
    },
}

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

    /// A copy, kept while a command is tried.
    fn copy(&self) -> Box<dyn Optimizer>;
}

impl Optimizer for Planner {
    fn observe(&mut self, observation: Observation<'_>) -> Result<()> {
        match observation {
            Observation::Command(command) => return self.apply(command),
            Observation::Sounding { frame, gains, amplitude } => self.sound(frame, gains, amplitude),
            Observation::Target { index, position_m, covariance_m2 } => self.expect(index, position_m, covariance_m2),
        }
        Ok(())
    }

    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        self.plan(epoch, from_frame)
    }

    fn has_weights(&self) -> bool {
        self.has_weights()
    }

    fn copy(&self) -> Box<dyn Optimizer> {
        Box::new(self.clone())
    }
}
