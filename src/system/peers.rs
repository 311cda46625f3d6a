//! What a run is joined to: the other processes of its system, and a recording that is made or played.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::recording::{AtEnd, Recording, Replay, newer_plan};
use super::report::Collector;
use crate::blocks::ReceivedPicture;
use crate::control::PictureLibrary;
use crate::exchange::{
    Ends, FarTransmitter, Hub, Message, Outputs, PictureMessage, ReferenceInlet, ReferenceOutlet, Role, Terms, Trouble,
    Uplink,
};
use crate::modem::frame::FrameClock;
use crate::runtime::{LinkText, StopSwitch};
use crate::stream::{Event, Plan, PlanBoard, Telemetry, Told, digest};
use crate::{Error, Result};

/// Results of pictures from elsewhere that may wait for the report.
const PICTURES: usize = 64;

/// Where a run's plans come from, if not from its own optimizer.
pub enum Origin {
    /// The transmitter is here.
    Here,
    /// From another process.
    Elsewhere(Uplink, Vec<Plan>),
    /// From a recording.
    Recorded(Box<Replay>),
}

impl Origin {
    /// Goes to the transmitter, where a link leads to one.
    pub fn of_link(link: Option<&LinkText>, terms: &Terms) -> Result<Self> {
        match link.and_then(|link| Some((link, link.connect.as_ref()?, link.role?))) {
            Some((link, address, role)) => {
                let wait = Duration::from_secs_f64(link.wait_s);
                let (uplink, plans) = Uplink::connect(address, role, link.secret()?, terms.clone(), wait)?;
                Ok(Self::Elsewhere(uplink, plans))
            }
            None => Ok(Self::Here),
        }
    }

    /// Plans to begin with; none where they are made here.
    pub fn plans(&self) -> Result<Vec<Plan>> {
        match self {
            Self::Here => Ok(Vec::new()),
            Self::Elsewhere(_, plans) => Ok(plans.clone()),
            Self::Recorded(replay) => Ok(vec![replay.recorded.first.clone().map_or_else(|| replay.last_plan(), Ok)?]),
        }
    }

    /// Holds the plans from elsewhere that are known to what is here.
    pub fn check(&self, antennas: usize, models: usize) -> Result<()> {
        match self {
            Self::Here => Ok(()),
            Self::Elsewhere(_, plans) => {
                let fit = plans.iter().try_for_each(|plan| plan.fits(antennas, models));
                fit.map_err(|what| Error::peer(format!("link: {what}")))
            }
            Self::Recorded(replay) => {
                let fit = replay.recorded.plans().try_for_each(|plan| plan.fits(antennas, models));
                fit.map_err(|what| Error::input(format!("frames.jsonl: {what}")))?;
                let fit = replay.last_plan()?.fits(antennas, models);
                fit.map_err(|what| Error::input(format!("outcome.json: {what}")))
            }
        }
    }

    /// Whether the transmitter is, or was, in this process.
    pub fn transmits(&self) -> bool {
        match self {
            Self::Here => true,
            Self::Elsewhere(..) => false,
            Self::Recorded(replay) => replay.outcome.transmits,
        }
    }
}

/// Everything a run is joined to.
#[derive(Default)]
pub struct Peers {
    hub: Option<Hub>,
    peers: Vec<Role>,
    wait: Duration,
    far_pictures: Option<Receiver<PictureMessage>>,
    uplink: Option<Arc<Uplink>>,
    far: Option<Arc<FarTransmitter>>,
    pictures: u64,
    /// The link failed before it was left.
    broken: bool,
    recording: Option<Recording>,
    trouble: Trouble,
    unwritten: Trouble,
    past: Option<(Vec<Event>, AtEnd, Plan)>,
}

/// What peers need of a run.
pub struct Environment {
    /// Its plans.
    pub plans: Arc<PlanBoard>,
    /// How many source models there are.
    pub models: usize,
    /// Its frames' times.
    pub clock: FrameClock,
    /// Takes what receivers elsewhere found.
    pub telemetry: Telemetry,
}

impl Peers {
    /// Joins a run to its origin, to receivers elsewhere by `listens` and to a recording; the ends for its blocks.
    pub fn join(
        origin: Origin,
        listens: Option<(&LinkText, Terms)>,
        recording: Option<Recording>,
        folder: Option<PathBuf>,
        environment: Environment,
    ) -> Result<(Self, Ends)> {
        let mut ends = Ends { recording: folder, ..Ends::default() };
        let mut all = Self::default();
        let recorded = origin.transmits();
        let inlet = |frames| Some(ReferenceInlet { frames, recorded });
        if !matches!(origin, Origin::Here) {
            ends.far = Some(Arc::default());
        }
        let far = ends.far.clone().unwrap_or_default();
        let (plans, left_out) = (Arc::clone(&environment.plans), Arc::clone(&ends.left_out));
        match origin {
            Origin::Here => {}
            Origin::Elsewhere(mut uplink, _) => {
                ends.inlet = inlet(uplink.hear(plans, environment.models, Arc::clone(&far), left_out)?);
                all.uplink = Some(Arc::new(uplink));
            }
            Origin::Recorded(replay) => {
                let last = replay.last_plan()?;
                // A recorded beginning is the beginning.
                far.begin(0, None);
                let at_end = AtEnd { log: replay.outcome.log, radios: replay.outcome.radios };
                all.past = Some((replay.recorded.events.clone(), at_end, last));
                ends.inlet =
                    inlet(replay.recorded.play(plans, Arc::clone(&far), left_out, environment.clock.clone())?);
            }
        }
        if let Some((link, terms)) = listens
            && let Some(address) = &link.listen
        {
            let (far_pictures, taken) = bounded(PICTURES);
            let outputs = Outputs { telemetry: environment.telemetry.clone(), pictures: far_pictures };
            let hub = Hub::listen(
                address,
                link.secret()?,
                terms,
                Arc::clone(&environment.plans),
                environment.clock,
                outputs,
            )?;
            ends.outlets.push(ReferenceOutlet { sender: hub.references(), waits: false });
            (all.hub, all.far_pictures) = (Some(hub), Some(taken));
            (all.peers, all.wait) = (link.peers.clone(), Duration::from_secs_f64(link.wait_s));
        }
        if let Some(recording) = &recording {
            recording.provide(&environment.plans.newest())?;
            ends.trouble = recording.trouble();
            ends.outlets.extend(recording.references().map(|sender| ReferenceOutlet { sender, waits: true }));
        }
        (all.trouble, all.unwritten) = (ends.trouble.clone(), ends.unwritten.clone());
        (all.recording, all.far) = (recording, ends.far.clone());
        Ok((all, ends))
    }

    /// Whether a receiver elsewhere is to come.
    pub fn expects(&self, role: Role) -> bool {
        self.peers.contains(&role)
    }

    /// Waits for the receivers without which a run does not begin, and tells the transmitter that this one is ready. What
    /// the control plane would hear goes to the transmitter.
    pub fn begin(
        &self,
        collector: &mut Collector,
        library: &PictureLibrary,
        feedback: Option<Receiver<Told>>,
        stop: &StopSwitch,
    ) -> Result<()> {
        if let Some((events, ..)) = &self.past {
            for event in events {
                collector.take(&Told { receiver: 0, event: *event });
                if let Event::PictureSent { source, .. } = *event {
                    collector.add_source_samples(library.source_samples(source));
                }
            }
        }
        if let Some(hub) = &self.hub {
            hub.wait_for(&self.peers, self.wait, || !stop.is_pulled())?;
        }
        let Some(uplink) = &self.uplink else { return Ok(()) };
        if let Some(feedback) = feedback {
            let uplink = Arc::clone(uplink);
            let pass_on = move || feedback.iter().for_each(|told| uplink.tell(&told.event));
            let thread = thread::Builder::new().name("feedback".into()).spawn(pass_on);
            thread.map_err(|error| Error::device(format!("no thread for the feedback: {error}")))?;
        }
        uplink.ready();
        Ok(())
    }

    /// Passes an event on to whom it concerns.
    pub fn tell(&mut self, event: &Event) {
        let audience = event.audience();
        if audience.receivers {
            self.hub.iter().for_each(|hub| hub.tell(event));
        }
        if audience.transmitter {
            self.uplink.iter().for_each(|uplink| uplink.tell(event));
        }
        if audience.recording {
            self.recording.iter_mut().for_each(|recording| recording.tell(event));
        }
    }

    /// Passes on that a picture came through.
    pub fn tell_picture(&mut self, picture: &ReceivedPicture) {
        self.pictures += 1;
        if let Some(uplink) = &self.uplink {
            let digest = picture.image.as_ref().map(|image| digest(image.as_raw()));
            uplink.send(Message::Picture(PictureMessage { number: picture.number, blocks: picture.blocks, digest }));
        }
    }

    /// A picture that came through elsewhere.
    pub fn far_picture(&self) -> Option<PictureMessage> {
        self.far_pictures.as_ref()?.try_recv().ok()
    }

    /// Whether a peer is gone without which the run has to end, or the recording cannot go on.
    pub fn failed(&self) -> bool {
        self.trouble.said().is_some()
            || self.hub.as_ref().is_some_and(Hub::has_failed)
            || self.far.as_ref().is_some_and(|far| far.failure().is_some())
    }

    /// Once all chains have ended: whether everybody elsewhere has said their last.
    pub fn have_finished(&mut self) -> bool {
        let far = self.far.as_ref().filter(|_| self.uplink.is_some());
        let transmitter_has = far.is_none_or(|far| far.end().is_some() || far.failure().is_some());
        transmitter_has && self.hub.as_mut().is_none_or(Hub::finish)
    }

    /// Takes leave of other processes, and with it lets the control plane end; says what went over the links.
    pub fn leave(&mut self) {
        if let Some(uplink) = &self.uplink {
            uplink.finish();
            remark!("issc: {}; {} pictures received", uplink.line(), self.pictures);
        }
        self.broken = self.hub.as_ref().is_some_and(Hub::has_failed);
        self.hub.take().iter().flat_map(Hub::lines).for_each(|line| remark!("issc: {line}"));
    }

    /// Ends the recording; an error where a peer was lost or something could not be written. In a replay the end is that of the past.
    pub fn finish(self, here: AtEnd, plans: &PlanBoard) -> (AtEnd, Result<()>) {
        let at_end = match self.past {
            Some((_, past, last)) => {
                plans.publish(newer_plan(&plans.newest(), last).into_iter().collect());
                past
            }
            None => here,
        };
        let recorded = self.recording.map_or(Ok(()), |recording| recording.finish(&at_end, &plans.newest()));
        let broken = "a thread of the link panicked";
        let lost = self.far.and_then(|far| far.failure()).or(self.broken.then(|| broken.into()));
        let lost = lost.map_or(Ok(()), |what| Err(Error::peer(what)));
        let unwritten = self.unwritten.said().map_or(Ok(()), |what| Err(Error::device(what)));
        (at_end, recorded.and(lost).and(unwritten))
    }
}
