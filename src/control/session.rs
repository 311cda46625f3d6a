//! The optimizer's thread: at fixed frames it takes in what was sounded and what was commanded, and publishes plans.
//!
//! Everything is decided by frame number. Plans for the frames from `B` to `B + 31` are settled at the boundary `B`,
//! once the transmitter is half a boundary away and the receiver has worked through frame `B − 32`, so that its sounding, if
//! there was one, and what became of the frames before it are in; where the beams follow the track, once the frames before `B − 32` have been sensed, and by their
//! track. The transmitter does not send a frame that is not yet decided, so a seed decides a whole run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};
use serde::{Deserialize, Serialize};

use super::follower::Follower;
use super::observation::{FrameSeen, Watch};
use super::socket::{Answer, LiveRequest};
use super::{Command, FirstLast, Observation, Optimizer};
use crate::blocks::{FIRST_SAMPLE, WorldChanges};
use crate::channel::check_target;
use crate::modem::frame::FrameClock;
use crate::scene::{Scene, dbm_to_w, w_to_dbm};
use crate::sensing::Track;
use crate::stream::{Event, Plan, PlanBoard, Told};

/// Frames between two boundaries.
pub const DECISION_FRAMES: u64 = 32;

/// Frames after a sounded one at which a feedback that did not come is given up.
const FEEDBACK_FRAMES: u64 = 12;

/// Frames without a fix after which a track says nothing of what is believed.
const SEEN_FRAMES: f64 = 16.0;
/// Frames after a command that tells a target's place in which tracks may still be of the place before.
const TOLD_FRAMES: u64 = 16;

/// Commands that may wait for their frames.
const MOST_SCHEDULED: usize = 4096;

/// Share by which rounding may lift a plan's power above the budget.
const POWER_TOLERANCE: f64 = 1e-6;

/// Whether a power in dBm may be sent; what is accepted where it may not.
pub type PowerCheck = Box<dyn Fn(f64) -> Result<(), String> + Send>;

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

/// A change that was not made, and why.
fn refused(frame: u64, cause: &str, reason: String) -> Retune {
    Retune { frame, cause: cause.into(), feasible: false, reason: Some(reason) }
}

/// How the beams followed the sensing receiver's track.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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

/// One change of plan as whoever watches a run sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The frame from which it holds.
    pub frame: u64,
    /// The command's key, or `sounding`.
    pub cause: String,
    /// What was asked for; null for a sounding.
    pub value: Option<String>,
    /// Whether it was made.
    pub feasible: bool,
    /// What could not be met.
    pub reason: Option<String>,
}

/// What was decided lately, and what live keys are by commands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Decisions {
    /// The last changes of plan by soundings and commands.
    pub recent: VecDeque<Decision>,
    /// Live keys that a command changed: the frame and the value.
    pub values: BTreeMap<String, (u64, String)>,
}

impl Decisions {
    /// Changes of plan that are kept.
    const KEPT: usize = 64;

    fn take(&mut self, retune: &Retune, command: Option<&Command>) {
        let value = command.map(Command::value_text);
        if let Some(value) = value.as_ref().filter(|_| retune.feasible) {
            self.values.insert(retune.cause.clone(), (retune.frame, value.clone()));
        }
        if self.recent.len() == Self::KEPT {
            self.recent.pop_front();
        }
        let Retune { frame, cause, feasible, reason } = retune.clone();
        self.recent.push_back(Decision { frame, cause, value, feasible, reason });
    }
}

/// Everything that the optimizer's thread did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SessionLog {
    /// Changes of plan by soundings and commands: the first and the last thousand.
    pub retunes: Vec<Retune>,
    /// How many there were.
    #[serde(default)]
    pub retunes_total: u64,
    /// Changes of plan by the track, where the beams follow it.
    pub follow: Option<FollowReport>,
}

/// What the optimizer's thread works with.
pub struct Session {
    optimizer: Box<dyn Optimizer>,
    plans: Arc<PlanBoard>,
    world: Arc<WorldChanges>,
    scene: Arc<Scene>,
    /// P_T in W, as commands have left it.
    power_w: f64,
    clock: FrameClock,
    inbox: Receiver<Told>,
    /// Plans that are not yet published.
    made: Vec<Plan>,
    epoch: u64,
    follower: Option<Follower>,
    /// What the served receiver made of the frames so far.
    watch: Watch,
    /// Whether the last plan that the link asked for could not be met.
    link_refused: bool,
    /// The frame of the last command that told where a target is.
    target_told: Option<u64>,
    log: FirstLast<Retune>,
    /// How many changes of plan there were, for whoever asks while it runs.
    retunes: Arc<AtomicU64>,
    decisions: Arc<Mutex<Decisions>>,
    /// Commands given beforehand, by frame.
    pub scheduled: Vec<(u64, Command)>,
    /// Commands given while it runs.
    pub live: Option<Receiver<LiveRequest>>,
    /// Whether a receiver sends soundings back.
    pub has_receiver: bool,
    /// Whether soundings change no plan.
    pub holds_beams: bool,
    /// Place of the communication receiver that plans are made for.
    pub serves: u8,
    /// Whether the transmitter waits for nobody: then no plan waits for feedback, and one that comes late holds from the
    /// next frame on that is still open.
    pub waits_for_nobody: bool,
    /// What the transmitter may send: everything, unless it is a radio.
    pub power_check: PowerCheck,
}

impl Session {
    /// A session that makes plans with `optimizer`, hands them to `plans` and world changes to `world`, and hears of
    /// transmitter and receivers by `inbox`.
    pub fn new(
        optimizer: Box<dyn Optimizer>,
        plans: Arc<PlanBoard>,
        world: Arc<WorldChanges>,
        scene: Arc<Scene>,
        inbox: Receiver<Told>,
    ) -> Self {
        Self {
            power_w: dbm_to_w(scene.constraints.power_dbm),
            clock: FrameClock::new(&scene, plans.headers()),
            epoch: plans.newest().epoch,
            optimizer,
            plans,
            world,
            scene,
            inbox,
            made: Vec::new(),
            follower: None,
            watch: Watch::default(),
            link_refused: false,
            target_told: None,
            log: FirstLast::default(),
            retunes: Arc::default(),
            decisions: Arc::default(),
            scheduled: Vec::new(),
            live: None,
            has_receiver: false,
            holds_beams: false,
            serves: 0,
            waits_for_nobody: false,
            power_check: Box::new(|_| Ok(())),
        }
    }

    /// Counts the changes of plan by soundings and commands.
    pub fn retunes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.retunes)
    }

    /// What was decided lately, for whoever asks while it runs.
    pub fn decisions(&self) -> Arc<Mutex<Decisions>> {
        Arc::clone(&self.decisions)
    }

    /// Notes a change of plan down.
    fn note(&mut self, retune: Retune, command: Option<&Command>) {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner).take(&retune, command);
        self.log.push(retune);
    }

    /// Lets the beams follow the track, with a new plan every so many frames; without, tracks only tell what is believed wrongly.
    pub fn follow(&mut self, every_frames: Option<u64>) {
        let believed = self.scene.targets().into_iter().enumerate().filter(|(_, target)| target.believed);
        self.follower = Some(Follower::new(every_frames, believed.map(|(index, target)| (index, target.position_m))));
    }

    /// Runs until the transmitter and the receivers are gone.
    pub fn run(mut self) -> SessionLog {
        let started = Instant::now();
        self.scheduled.sort_by_key(|(frame, _)| *frame);
        let mut boundary = 0;
        let mut sounded = None;
        let mut requests = Vec::new();
        let (mut sent, mut received) = (0, 0);
        let nobody = never();
        loop {
            while self.ready(boundary, sent, received) {
                self.decide(boundary, sounded.take(), &mut requests);
                boundary += DECISION_FRAMES;
                self.retunes.store(self.log.total(), Ordering::Relaxed);
                self.plans.publish(std::mem::take(&mut self.made));
                self.plans.decide_until(boundary);
            }
            select! {
                recv(self.inbox) -> told => match told.map(|told| self.concerns(told).then_some(told.event)) {
                    Ok(Some(Event::TransmitterProgress { frame })) => sent = frame,
                    // One that comes back counts from then on, so that its soundings are taken but not waited for.
                    Ok(Some(Event::ReceiverProgress { sample_time })) if received != u64::MAX => received = sample_time,
                    // Nobody can have heard what was not sent: one that says so would stand before all that follows.
                    Ok(Some(
                        Event::Sounded { frame, .. } | Event::LinkSeen { frame, .. } | Event::Tracked { frame, .. },
                    )) if frame > sent + DECISION_FRAMES => {}
                    Ok(Some(Event::Sounded { frame, antennas, gains })) => {
                        sounded = Some((frame, antennas.min(gains.len()), gains));
                    }
                    Ok(Some(Event::LinkSeen { frame, sinr, noise_w, blocks, lost })) => self.watch.take_in(FrameSeen {
                        frame,
                        sinr: sinr.into(),
                        noise_w: noise_w.into(),
                        blocks: blocks.into(),
                        lost: lost.into(),
                    }),
                    Ok(Some(Event::Tracked { frame, track, more })) => if let Some(follower) = &mut self.follower {
                        follower.take_in(frame, track, more);
                    },
                    Ok(Some(Event::PeerLost { sensing: false })) => received = u64::MAX,
                    Ok(Some(Event::PeerLost { sensing: true })) => if let Some(follower) = &mut self.follower {
                        follower.seen = u64::MAX;
                    },
                    Ok(_) => {}
                    Err(_) => return self.ended(started.elapsed()),
                },
                recv(self.live.as_ref().unwrap_or(&nobody)) -> request => match request {
                    Ok(request) => if let Some(request) = self.put_off(boundary, request) {
                        requests.push(request);
                    },
                    Err(_) => self.live = None,
                },
            }
        }
    }

    /// Whether an event is the served receiver's, or the first sensing receiver's: plans follow those alone.
    fn concerns(&self, told: Told) -> bool {
        match told.event {
            Event::ReceiverProgress { .. } | Event::Sounded { .. } | Event::LinkSeen { .. } => {
                told.receiver == self.serves
            }
            _ => told.receiver == 0,
        }
    }

    fn ended(self, took: Duration) -> SessionLog {
        let follow = self.follower.filter(|follower| follower.every_frames.is_some()).map(|follower| {
            let retunes = follower.report.retunes as f64;
            FollowReport {
                retunes_per_s: retunes / took.as_secs_f64().max(1e-9),
                solve_time_s: follower.busy.as_secs_f64() / retunes.max(1.0),
                ..follower.report
            }
        });
        SessionLog { retunes_total: self.log.total(), retunes: self.log.into_vec(), follow }
    }

    fn ready(&self, boundary: u64, sent: u64, received: u64) -> bool {
        let Some(before) = boundary.checked_sub(DECISION_FRAMES) else { return true };
        if sent + DECISION_FRAMES / 2 < boundary {
            return false;
        }
        if self.waits_for_nobody {
            return true;
        }
        if self.follower.as_ref().is_some_and(|follower| follower.seen < before) {
            return false;
        }
        // What the receiver made of the frames before is in as well then.
        !self.has_receiver || received >= self.clock.start_sample(before + FEEDBACK_FRAMES) + FIRST_SAMPLE
    }

    /// Notes a command for a frame to come down and answers it; gives back one that is for now.
    fn put_off(&mut self, boundary: u64, request: LiveRequest) -> Option<LiveRequest> {
        let Some(frame) = request.at_frame else { return Some(request) };
        let refusal = if frame < boundary {
            Some(format!("at_frame = {frame} is decided already; accepted: {boundary} or later"))
        } else if self.scheduled.len() >= MOST_SCHEDULED {
            Some(format!("{MOST_SCHEDULED} commands wait for their frames; accepted: no more"))
        } else {
            request.command.check(&self.scene).err().map(|error| error.to_string())
        };
        let answer = match refusal {
            Some(reason) => Answer::refused(reason),
            None => {
                let place = self.scheduled.partition_point(|(at, _)| *at <= frame);
                self.scheduled.insert(place, (frame, request.command));
                Answer { accepted: true, frame: Some(frame), feasible: None, reason: None }
            }
        };
        // Nobody may wait for it any more.
        let _ = request.answer.try_send(answer);
        None
    }

    /// Settles the frames from `boundary` to the next.
    fn decide(
        &mut self,
        boundary: u64,
        sounded: Option<(u64, usize, [num_complex::Complex32; crate::stream::MAX_SOUNDED_ANTENNAS])>,
        requests: &mut Vec<LiveRequest>,
    ) {
        let watched = self.watch.look(boundary.saturating_sub(DECISION_FRAMES), &self.plans);
        let seen = watched.filter(|_| !self.holds_beams && self.has_receiver);
        if let Some((plan, seen)) = &seen {
            // An optimizer that has no use for it stays as it is.
            drop(self.optimizer.observe(Observation::Link { plan, seen: *seen }));
        }
        let sounded = sounded.filter(|_| !self.holds_beams);
        if let Some(follower) = &mut self.follower {
            follower.advance(boundary.saturating_sub(DECISION_FRAMES));
        }
        let measured = !self.holds_beams && self.observe_echoes(boundary);
        let told = seen.is_some() || measured;
        if sounded.is_none() && told && self.optimizer.wants_plan(&self.plans.newest()) {
            let retune = self.retune(boundary, if measured { "echo" } else { "link" });
            // What cannot be met is asked for again and again; it is said once.
            if retune.feasible || !std::mem::replace(&mut self.link_refused, true) {
                self.link_refused = !retune.feasible;
                self.note(retune, None);
            }
        }
        if let Some((frame, antennas, gains)) = sounded {
            // Each antenna sounds with the whole power of the plan.
            let amplitude = self.plans.in_force(frame).beams.power_w().sqrt();
            let observed =
                self.optimizer.observe(Observation::Sounding { frame, gains: &gains[..antennas], amplitude });
            let retune = match observed {
                Ok(()) => self.retune(boundary, "sounding"),
                Err(error) => refused(boundary, "sounding", error.to_string()),
            };
            self.note(retune, None);
        }
        for LiveRequest { command, answer, .. } in requests.drain(..) {
            let retune = self.execute(boundary, &command);
            let answered = answer.try_send(Answer {
                accepted: retune.feasible,
                frame: retune.feasible.then_some(retune.frame),
                feasible: Some(retune.feasible),
                reason: retune.reason.clone(),
            });
            drop(answered);
            self.note(retune, Some(&command));
        }
        for frame in boundary..boundary + DECISION_FRAMES {
            let due = self.scheduled.partition_point(|(at, _)| *at <= frame);
            let now: Vec<_> = self.scheduled.drain(..due).collect();
            for (_, command) in now {
                let retune = self.execute(frame, &command);
                self.note(retune, Some(&command));
            }
            self.follow_tracks(frame);
        }
    }

    /// Tells the optimizer what the believed targets' echoes show, and where they are if beams do not follow them anyway; says
    /// whether it wants another plan now.
    fn observe_echoes(&mut self, boundary: u64) -> bool {
        let Some(follower) = &mut self.follower else { return false };
        let follows = follower.every_frames.is_some();
        let lately_s = SEEN_FRAMES * self.clock.frame_s();
        let Some((frame, seen)) = follower.seen_lately(lately_s) else { return false };
        // A place that was told is right until frames sent after it say otherwise.
        let is_after = self.target_told.is_none_or(|told| frame >= told + TOLD_FRAMES);
        for (index, track) in &seen {
            drop(self.optimizer.observe(Observation::Echo { index: *index, echo: track.echo() }));
            let (position_m, covariance_m2) = track.predict(self.clock.start_s(boundary + DECISION_FRAMES / 2));
            let geometry = &self.scene.geometry;
            let can_be = check_target(position_m, geometry.transmitter, geometry.sensing_receiver).is_ok();
            if !follows && is_after && can_be {
                drop(self.optimizer.observe(Observation::Seen { index: *index, position_m, covariance_m2 }));
            }
        }
        !seen.is_empty() && self.optimizer.wants_plan(&self.plans.newest())
    }

    /// Points the beams of the frames from `frame` on at where the tracks foresee the targets.
    fn follow_tracks(&mut self, frame: u64) {
        let Some(follower) = &mut self.follower else { return };
        if !follower.every_frames.is_some_and(|every| frame.is_multiple_of(every)) {
            return;
        }
        let assigned = follower.assigned();
        if assigned.is_empty() {
            return;
        }
        let began = Instant::now();
        let retune = match self.expect(frame, &assigned) {
            Ok(()) => self.retune(frame, "track"),
            Err(what) => refused(frame, "track", what),
        };
        let Some(follower) = &mut self.follower else { return };
        follower.report.retunes += 1;
        if !retune.feasible {
            follower.report.infeasible += 1;
            follower.report.reason = retune.reason;
        }
        follower.busy += began.elapsed();
    }

    /// Tells the optimizer where the tracks foresee the targets at a frame.
    fn expect(&mut self, frame: u64, assigned: &[(usize, Track)]) -> Result<(), String> {
        for (index, track) in assigned {
            let (position_m, covariance_m2) = track.predict(self.clock.start_s(frame));
            let geometry = &self.scene.geometry;
            check_target(position_m, geometry.transmitter, geometry.sensing_receiver)?;
            let target = Observation::Target { index: *index, position_m, covariance_m2 };
            self.optimizer.observe(target).map_err(|error| error.to_string())?;
            if let Some(follower) = &mut self.follower {
                follower.expect(*index, position_m);
            }
        }
        Ok(())
    }

    /// Carries out one command; where it cannot be met everything stays as it was.
    fn execute(&mut self, frame: u64, command: &Command) -> Retune {
        let refused = |reason: String| refused(frame, &command.key(), reason);
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
        let (before, power_before_w) = (self.optimizer.copy(), self.power_w);
        if let Command::Power(power_dbm) = command {
            if let Err(what) = (self.power_check)(*power_dbm) {
                return refused(what);
            }
            self.power_w = dbm_to_w(*power_dbm);
        }
        if matches!(command, Command::Target { .. }) {
            self.target_told = Some(frame);
        }
        let retune = match self.optimizer.observe(Observation::Command(command)) {
            Ok(()) => self.retune(frame, &command.key()),
            Err(error) => refused(error.to_string()),
        };
        if !retune.feasible {
            (self.optimizer, self.power_w) = (before, power_before_w);
        }
        retune
    }

    /// Makes the best plan from `frame` on, which is sent with if it is feasible.
    fn retune(&mut self, mut frame: u64, cause: &str) -> Retune {
        let (feasible, reason) = match self.optimizer.plan(self.epoch + 1, frame) {
            Ok(planned) if planned.plan.beams.power_w() > self.power_w * (1.0 + POWER_TOLERANCE) => {
                let (found, budget) = (w_to_dbm(planned.plan.beams.power_w()), w_to_dbm(self.power_w));
                (false, Some(format!("the optimizer's beams have {found:.3} dBm; accepted: up to {budget:.3} dBm")))
            }
            Ok(planned) => {
                // A user's own beams are used even where they miss the threshold: that is what they are for.
                let is_used = planned.feasible || self.optimizer.has_weights();
                if is_used {
                    self.epoch += 1;
                    match self.waits_for_nobody {
                        true => frame = self.plans.publish_late(planned.plan),
                        false => self.made.push(planned.plan),
                    }
                }
                (is_used, planned.reason)
            }
            Err(error) => (false, Some(error.to_string())),
        };
        Retune { frame, cause: cause.into(), feasible, reason }
    }
}
