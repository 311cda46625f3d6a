//! The optimizer's thread: at fixed frames it takes in what was sounded and what was commanded, and publishes plans.
//!
//! Everything is decided by frame number. Plans for the frames from `B` to `B + 31` are settled at the boundary `B`,
//! once the transmitter is half a boundary away and the sounding of frame `B − 32`, if there was one, has come back or
//! must be given up. The transmitter does not send a frame that is not yet decided, so a seed decides a whole run.

use std::sync::Arc;

use crossbeam_channel::{Receiver, never, select};
use serde::Serialize;

use super::socket::{Answer, LiveRequest};
use super::{Command, Planner};
use crate::blocks::WorldChanges;
use crate::channel::check_simulated_target;
use crate::modem::frame::{Layout, SOUNDING_PERIOD};
use crate::scene::Scene;
use crate::stream::{Event, PlanBoard};

/// Frames between two boundaries.
pub const DECISION_FRAMES: u64 = 32;

/// Frames after a sounded one at which a feedback that did not come is given up.
const FEEDBACK_FRAMES: u64 = 8;

/// One change of plan, made or refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retune {
    /// The frame from which it holds.
    pub frame: u64,
    /// The command's key, or `sounding`.
    pub cause: String,
    /// Whether threshold and rate can be met; where not, the last plan was kept.
    pub feasible: bool,
    /// What could not be met.
    #[serde(skip)]
    pub reason: Option<String>,
}

/// What the optimizer's thread works with.
pub struct Session {
    /// Makes the plans.
    pub planner: Planner,
    /// Takes them.
    pub plans: Arc<PlanBoard>,
    /// Takes the simulated target's moves.
    pub world: Arc<WorldChanges>,
    /// The scene, for the world's limits and the frame's clock.
    pub scene: Arc<Scene>,
    /// Commands given beforehand, by frame.
    pub scheduled: Vec<(u64, Command)>,
    /// Commands given while it runs.
    pub live: Option<Receiver<LiveRequest>>,
    /// Events of transmitter and receiver.
    pub feedback: Receiver<Event>,
    /// Whether a receiver sends soundings back.
    pub has_receiver: bool,
}

impl Session {
    /// Runs until the transmitter and the receiver are gone. Returns all retunes.
    pub fn run(mut self) -> Vec<Retune> {
        self.scheduled.sort_by_key(|(frame, _)| *frame);
        let mut retunes = Vec::new();
        let mut boundary = 0;
        let mut sounded = None;
        let mut requests = Vec::new();
        let (mut sent, mut received) = (0, 0);
        let nobody = never();
        loop {
            while self.ready(boundary, sent, received, sounded.is_some()) {
                self.decide(boundary, sounded.take(), &mut requests, &mut retunes);
                boundary += DECISION_FRAMES;
                self.plans.decide_until(boundary);
            }
            select! {
                recv(self.feedback) -> event => match event {
                    Ok(Event::TransmitterProgress { frame }) => sent = frame,
                    Ok(Event::ReceiverProgress { sample_time }) => received = sample_time,
                    Ok(Event::Sounded { frame, antennas, gains }) => sounded = Some((frame, antennas, gains)),
                    Ok(_) => {}
                    Err(_) => return retunes,
                },
                recv(self.live.as_ref().unwrap_or(&nobody)) -> request => match request {
                    Ok(request) => requests.push(request),
                    Err(_) => self.live = None,
                },
            }
        }
    }

    fn ready(&self, boundary: u64, sent: u64, received: u64, sounded: bool) -> bool {
        let Some(before) = boundary.checked_sub(DECISION_FRAMES) else { return true };
        if sent + DECISION_FRAMES / 2 < boundary {
            return false;
        }
        let waits = self.has_receiver && before.is_multiple_of(SOUNDING_PERIOD) && !sounded;
        !waits || received >= self.start_sample(before + FEEDBACK_FRAMES)
    }

    /// Sample of the transmitter's clock at which a frame begins.
    fn start_sample(&self, frame: u64) -> u64 {
        let antennas = self.scene.array.transmit_antennas;
        let plain = Layout { sounding: 0 }.symbols() as u64;
        let extra = Layout::with_sounding(antennas).symbols() as u64 - plain;
        let symbols = frame * plain + frame.div_ceil(SOUNDING_PERIOD) * extra;
        symbols * self.scene.waveform.samples_per_symbol as u64 + crate::blocks::FIRST_SAMPLE
    }

    /// Settles the frames from `boundary` to the next.
    fn decide(
        &mut self,
        boundary: u64,
        sounded: Option<(u64, usize, [num_complex::Complex32; crate::stream::MAX_SOUNDED_ANTENNAS])>,
        requests: &mut Vec<LiveRequest>,
        retunes: &mut Vec<Retune>,
    ) {
        if let Some((frame, antennas, gains)) = sounded {
            // Each antenna sounds with the whole power of the plan.
            let amplitude = self.plans.in_force(frame).beams.power_w().sqrt();
            self.planner.sound(&gains[..antennas], amplitude);
            retunes.push(self.retune(boundary, "sounding"));
        }
        for LiveRequest { command, answer } in requests.drain(..) {
            let retune = self.execute(boundary, &command);
            let answered = answer.try_send(Answer {
                accepted: retune.feasible,
                frame: retune.feasible.then_some(boundary),
                feasible: Some(retune.feasible),
                reason: retune.reason.clone(),
            });
            drop(answered);
            retunes.push(retune);
        }
        let due = self.scheduled.partition_point(|(frame, _)| *frame < boundary + DECISION_FRAMES);
        let now: Vec<_> = self.scheduled.drain(..due).collect();
        for (frame, command) in now {
            let retune = self.execute(frame.max(boundary), &command);
            retunes.push(retune);
        }
    }

    /// Carries out one command; where it cannot be met everything stays as it was.
    fn execute(&mut self, frame: u64, command: &Command) -> Retune {
        let refused =
            |reason: String| Retune { frame, cause: command.key().into(), feasible: false, reason: Some(reason) };
        if let Command::WorldTarget(target) = command {
            let geometry = &self.scene.geometry;
            if let Err(what) = check_simulated_target(*target, geometry.transmitter, geometry.sensing_receiver) {
                return refused(format!("world.{what}"));
            }
            let mut changes = self.world.load_full().to_vec();
            changes.push((frame, *target));
            self.world.store(Arc::new(changes));
            return Retune { frame, cause: command.key().into(), feasible: true, reason: None };
        }
        let before = self.planner.clone();
        let retune = match self.planner.apply(command) {
            Ok(()) => self.retune(frame, command.key()),
            Err(error) => refused(error.to_string()),
        };
        if !retune.feasible {
            self.planner = before;
        }
        retune
    }

    /// Publishes the best plan from `frame` on, if it is feasible.
    fn retune(&mut self, frame: u64, cause: &str) -> Retune {
        let epoch = self.plans.newest().epoch + 1;
        let made = self.planner.plan(epoch, frame);
        let (feasible, reason) = match made {
            Ok(planned) => {
                // A user's own beams fly even where they miss the threshold: that is what they are for.
                let flies = planned.feasible || self.planner.has_weights();
                if flies {
                    self.plans.publish(planned.plan);
                }
                (flies, planned.reason)
            }
            Err(error) => (false, Some(error.to_string())),
        };
        Retune { frame, cause: cause.into(), feasible, reason }
    }
}
