//! What an optimizer learns between two plans.

use std::collections::VecDeque;

use nalgebra::Matrix2;
use num_complex::Complex32;

use super::Command;
use crate::modem::frame::BLOCKS;
use crate::scene::{Point, decibel};
use crate::sensing::TrackEcho;
use crate::stream::{Plan, PlanBoard};

/// Something that an optimizer learns between two plans.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
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
    /// Where a track sees a believed target although nobody asked the beams to follow it: what is believed may be wrong.
    Seen {
        /// Its place among the believed targets.
        index: usize,
        /// Position in metres.
        position_m: Point,
        /// Covariance of the position in m².
        covariance_m2: Matrix2<f64>,
    },
    /// What a believed target's echoes show in the mean.
    Echo {
        /// Its place among the believed targets.
        index: usize,
        /// By its track.
        echo: &'a TrackEcho,
    },
    /// What the served receiver made of the frames that were sent under a plan.
    Link {
        /// The plan.
        plan: &'a Plan,
        /// What was seen.
        seen: LinkSeen,
    },
}

/// What a receiver made of some frames.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkSeen {
    /// The frame before which they came.
    pub until: u64,
    /// Frames that were read.
    pub frames: u32,
    /// The mean of their measured SINR, linear.
    pub sinr: f64,
    /// The mean of the noise beside the interference, in W: the variance of a matched-filter output symbol.
    pub noise_w: f64,
    /// Blocks that carried bits, those of frames that were not read among them.
    pub blocks: u32,
    /// Those of them that were lost.
    pub lost: u32,
}

/// One frame as its receiver read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameSeen {
    pub frame: u64,
    pub sinr: f64,
    pub noise_w: f64,
    pub blocks: u32,
    pub lost: u32,
}

/// Frames read lately, until the boundary at which they are looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    frames: VecDeque<FrameSeen>,
    /// Frames below this one were looked at.
    looked: u64,
}

impl Watch {
    /// Two plans are alike whose predicted SINRs are that near, in dB.
    const ALIKE_DB: f64 = 0.5;

    /// Takes in a frame.
    pub fn take_in(&mut self, frame: FrameSeen) {
        if frame.frame >= self.looked {
            self.frames.push_back(frame);
        }
    }

    /// What became of the frames below `end` since the last look that were sent under plans like the last of them; and that
    /// plan. Nothing where none of them was read.
    pub fn look(&mut self, end: u64, plans: &PlanBoard) -> Option<(std::sync::Arc<Plan>, LinkSeen)> {
        let from = std::mem::replace(&mut self.looked, end);
        let count = self.frames.iter().take_while(|seen| seen.frame < end).count();
        let plan = plans.in_force(end.checked_sub(1)?);
        let alike = |frame: u64| {
            let other = plans.in_force(frame).predicted_sinr;
            (decibel(other) - decibel(plan.predicted_sinr)).abs() < Self::ALIKE_DB
        };
        let mut seen = LinkSeen { until: end, ..LinkSeen::default() };
        let mut first = None;
        for one in self.frames.drain(..count).filter(|one| one.frame >= from && alike(one.frame)) {
            first.get_or_insert(one.frame);
            seen.frames += 1;
            seen.sinr += one.sinr;
            seen.noise_w += one.noise_w;
            seen.blocks += one.blocks;
            seen.lost += one.lost;
        }
        // Frames between the first that was read and the end whose headers were lost.
        let due = (first?..end).filter(|frame| alike(*frame)).count() as u32;
        let missing = due.saturating_sub(seen.frames) * BLOCKS as u32;
        seen.sinr /= f64::from(seen.frames);
        seen.noise_w /= f64::from(seen.frames);
        (seen.blocks, seen.lost) = (seen.blocks + missing, seen.lost + missing);
        Some((plan, seen))
    }
}
