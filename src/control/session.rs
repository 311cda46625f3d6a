//! The optimizer's thread: at fixed frames it takes in what was sounded and what was commanded, and publishes plans.
//!
//! Everything is decided by frame number. Plans for the frames from `B` to `B + 31` are settled at the boundary `B`,
//! once the transmitter is half a boundary away and the sounding of frame `B − 32`, if there was one, has come back or
//! must be given up; where the beams follow the track, once the frames before `B − 32` have been sensed, and by their
//! track. The transmitter does not send a frame that is not yet decided, so a seed decides a whole run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};
use serde::{Deserialize, Serialize};

use super::socket::{Answer, LiveRequest};
use super::{Command, Planner};
use crate::blocks::{FIRST_SAMPLE, WorldChanges};
use crate::channel::check_target;
use crate::modem::frame::{FrameClock, SOUNDING_PERIOD};
use crate::scene::Scene;
use crate::sensing::Track;
use crate::stream::{Event, Plan, PlanBoard};

/// Frames between two boundaries.
pub const DECISION_FRAMES: u64 = 32;

/// Frames after a sounded one at which a feedback that did not come is given up.
const FEEDBACK_FRAMES: u64 = 8;

/// One change of plan, made or refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// How the beams followed the sensing receiver's track.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FollowReport {
    /// Plans made for a place that the track foresaw.
    pub retunes: u64,
    /// Those for which threshold or rate could not be met: the last plan was kept.
    pub infeasible: u64,
    /// What could not be met the last time.
    #[serde(skip)]
    pub reason: Option<String>,
    /// Retunes per second of wall-clock time, over the whole run.
    pub retunes_per_s: f64,
    /// Mean time of the optimizer's thread for one of them: beams, model, rates and code.
    pub solve_time_s: f64,
}

/// Everything that the optimizer's thread did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SessionLog {
    /// Changes of plan by soundings and commands.
    pub retunes: Vec<Retune>,
    /// Changes of plan by the track, where the beams follow it.
    pub follow: Option<FollowReport>,
}

/// The sensing receiver's tracks, as far as they may be used.
#[derive(Debug)]
struct Follower {
    every_frames: u64,
    /// Tracks by frame that came in and whose time has not come.
    waiting: VecDeque<(u64, Option<Track>)>,
    /// The newest that may be used.
    track: Option<Track>,
    /// Frames below this one have come in.
    seen: u64,
    busy: Duration,
    report: FollowReport,
}

impl Follower {
    fn take_in(&mut self, frame: u64, track: Option<Track>) {
        self.seen = frame + 1;
        self.waiting.push_back((frame, track));
    }

    /// Lets the tracks of the frames below `end` be used: those are in whatever the timing of threads.
    fn advance(&mut self, end: u64) {
        while let Some(&(frame, track)) = self.waiting.front()
            && frame < end
        {
            self.track = track;
            self.waiting.pop_front();
        }
    }
}

/// What the optimizer's thread works with.
pub struct Session {
    planner: Planner,
    plans: Arc<PlanBoard>,
    world: Arc<WorldChanges>,
    scene: Arc<Scene>,
    clock: FrameClock,
    feedback: Receiver<Event>,
    /// Plans that are not yet published.
    made: Vec<Plan>,
    epoch: u64,
    follower: Option<Follower>,
    log: Vec<Retune>,
    /// Commands given beforehand, by frame.
    pub scheduled: Vec<(u64, Command)>,
    /// Commands given while it runs.
    pub live: Option<Receiver<LiveRequest>>,
    /// Whether a receiver sends soundings back.
    pub has_receiver: bool,
    /// Whether soundings change no plan.
    pub holds_beams: bool,
}

impl Session {
    /// A session that makes plans with `planner`, hands them to `plans` and world changes to `world`, and hears of
    /// transmitter and receivers by `feedback`.
    pub fn new(
        planner: Planner,
        plans: Arc<PlanBoard>,
        world: Arc<WorldChanges>,
        scene: Arc<Scene>,
        feedback: Receiver<Event>,
    ) -> Self {
        Self {
            clock: FrameClock::new(&scene),
            epoch: plans.newest().epoch,
            planner,
            plans,
            world,
            scene,
            feedback,
            made: Vec::new(),
            follower: None,
            log: Vec::new(),
            scheduled: Vec::new(),
            live: None,
            has_receiver: false,
            holds_beams: false,
        }
    }

    /// Leaves plans half of the time between two boundaries at this pace, where there is one.
    pub fn limit_time(&mut self, pace: Option<f64>) {
        let seconds = |pace| self.clock.start_s(DECISION_FRAMES) / 2.0 / pace;
        self.planner.time_limit = pace.map(|pace| Duration::from_secs_f64(seconds(pace)));
    }

    /// Lets the beams follow the track, with a new plan every so many frames.
    pub fn follow(&mut self, every_frames: u64) {
        self.follower = Some(Follower {
            every_frames,
            waiting: VecDeque::new(),
            track: None,
            seen: 0,
            busy: Duration::ZERO,
            report: FollowReport::default(),
        });
    }

    /// Runs until the transmitter and the receivers are gone.
    pub fn run(mut self) -> SessionLog {
        let started = Instant::now();
        self.scheduled.sort_by_key(|(frame, _)| *frame);
        let mut boundary = 0;
        let mut sounded = None;
        let mut requests = Vec::new();
        let (mut sent, mut received) = (0, 0);
        let mut continued = false;
        let nobody = never();
        loop {
            while self.ready(boundary, sent, received, sounded.is_some()) {
                self.decide(boundary, sounded.take(), &mut requests);
                boundary += DECISION_FRAMES;
                self.plans.publish(std::mem::take(&mut self.made));
                self.plans.decide_until(boundary);
            }
            select! {
                recv(self.feedback) -> event => match event {
                    Ok(Event::TransmitterProgress { frame }) => sent = frame,
                    // One that comes back counts from then on, so that its soundings are taken but not waited for.
                    Ok(Event::ReceiverProgress { sample_time }) if received != u64::MAX => received = sample_time,
                    Ok(Event::Sounded { frame, antennas, gains }) => sounded = Some((frame, antennas, gains)),
                    // The first track of a frame leads.
                    Ok(Event::Tracked { frame, track, more }) => {
                        if let Some(follower) = self.follower.as_mut().filter(|_| !continued) {
                            follower.take_in(frame, track);
                        }
                        continued = more;
                    }
                    Ok(Event::PeerLost { sensing: false }) => received = u64::MAX,
                    Ok(Event::PeerLost { sensing: true }) => if let Some(follower) = &mut self.follower {
                        follower.seen = u64::MAX;
                    },
                    Ok(_) => {}
                    Err(_) => return self.ended(started.elapsed()),
                },
                recv(self.live.as_ref().unwrap_or(&nobody)) -> request => match request {
                    Ok(request) => requests.push(request),
                    Err(_) => self.live = None,
                },
            }
        }
    }

    fn ended(self, took: Duration) -> SessionLog {
        let follow = self.follower.map(|follower| {
            let retunes = follower.report.retunes as f64;
            FollowReport {
                retunes_per_s: retunes / took.as_secs_f64().max(1e-9),
                solve_time_s: follower.busy.as_secs_f64() / retunes.max(1.0),
                ..follower.report
            }
        });
        SessionLog { retunes: self.log, follow }
    }

    fn ready(&self, boundary: u64, sent: u64, received: u64, sounded: bool) -> bool {
        let Some(before) = boundary.checked_sub(DECISION_FRAMES) else { return true };
        if sent + DECISION_FRAMES / 2 < boundary {
            return false;
        }
        if self.follower.as_ref().is_some_and(|follower| follower.seen < before) {
            return false;
        }
        let waits = self.has_receiver && before.is_multiple_of(SOUNDING_PERIOD) && !sounded;
        !waits || received >= self.clock.start_sample(before + FEEDBACK_FRAMES) + FIRST_SAMPLE
    }

    /// Settles the frames from `boundary` to the next.
    fn decide(
        &mut self,
        boundary: u64,
        sounded: Option<(u64, usize, [num_complex::Complex32; crate::stream::MAX_SOUNDED_ANTENNAS])>,
        requests: &mut Vec<LiveRequest>,
    ) {
        if let Some((frame, antennas, gains)) = sounded.filter(|_| !self.holds_beams) {
            // Each antenna sounds with the whole power of the plan.
            let amplitude = self.plans.in_force(frame).beams.power_w().sqrt();
            self.planner.sound(&gains[..antennas], amplitude);
            let retune = self.retune(boundary, "sounding");
            self.log.push(retune);
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
            self.log.push(retune);
        }
        if let Some(follower) = &mut self.follower {
            follower.advance(boundary.saturating_sub(DECISION_FRAMES));
        }
        for frame in boundary..boundary + DECISION_FRAMES {
            let due = self.scheduled.partition_point(|(at, _)| *at <= frame);
            let now: Vec<_> = self.scheduled.drain(..due).collect();
            for (_, command) in now {
                let retune = self.execute(frame, &command);
                self.log.push(retune);
            }
            self.follow_track(frame);
        }
    }

    /// Points the beams of the frames from `frame` on at where the track foresees the target.
    fn follow_track(&mut self, frame: u64) {
        let Some(follower) = &mut self.follower else { return };
        let Some(track) = follower.track.filter(|_| frame.is_multiple_of(follower.every_frames)) else { return };
        let began = Instant::now();
        let (target, covariance_m2) = track.predict(self.clock.start_s(frame));
        let geometry = &self.scene.geometry;
        let retune = match check_target(target, geometry.transmitter, geometry.sensing_receiver) {
            Ok(()) => {
                self.planner.expect(target, covariance_m2);
                self.retune(frame, "track")
            }
            Err(what) => Retune { frame, cause: "track".into(), feasible: false, reason: Some(what) },
        };
        let Some(follower) = &mut self.follower else { return };
        follower.report.retunes += 1;
        if !retune.feasible {
            follower.report.infeasible += 1;
            follower.report.reason = retune.reason;
        }
        follower.busy += began.elapsed();
    }

    /// Carries out one command; where it cannot be met everything stays as it was.
    fn execute(&mut self, frame: u64, command: &Command) -> Retune {
        let refused = |reason: String| Retune { frame, cause: command.key(), feasible: false, reason: Some(reason) };
        match command.world_change(&self.scene) {
            Err(error) => return refused(error.to_string()),
            Ok(Some(change)) => {
                let mut changes = self.world.load_full().to_vec();
                changes.push((frame, change));
                self.world.store(Arc::new(changes));
                return Retune { frame, cause: command.key(), feasible: true, reason: None };
            }
            Ok(None) => {}
        }
        let before = self.planner.clone();
        let retune = match self.planner.apply(command) {
            Ok(()) => self.retune(frame, &command.key()),
            Err(error) => refused(error.to_string()),
        };
        if !retune.feasible {
            self.planner = before;
        }
        retune
    }

    /// Makes the best plan from `frame` on, which flies if it is feasible.
    fn retune(&mut self, frame: u64, cause: &str) -> Retune {
        let (feasible, reason) = match self.planner.plan(self.epoch + 1, frame) {
            Ok(planned) => {
                // A user's own beams fly even where they miss the threshold: that is what they are for.
                let flies = planned.feasible || self.planner.has_weights();
                if flies {
                    self.epoch += 1;
                    self.made.push(planned.plan);
                }
                (flies, planned.reason)
            }
            Err(error) => (false, Some(error.to_string())),
        };
        Retune { frame, cause: cause.into(), feasible, reason }
    }
}
