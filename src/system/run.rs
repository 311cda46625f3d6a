//! A run from its start to its report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::build::System;
use super::events::{Broadcast, EventWriter, Subscription};
use super::gallery::{Came, Gallery, Job, Shown};
use super::peers::Peers;
use super::radios::OpenRadios;
use super::recording::AtEnd;
use super::report::{Collector, Outcome, Report, State, Status};
use super::watch::{Seen, Shelf, Watch};
use crate::blocks::ReceivedPicture;
use crate::control::socket::{Answer, ControlSocket, LiveRequest};
use crate::control::{Command, PictureLibrary, Session, SessionLog};
use crate::runtime::{Busy, LinkCount, Program, StopSwitch};
use crate::stream::{PlanBoard, Told};
use crate::{Error, Result};

/// How often a run looks after what waits for it while nothing is told.
const LOOK: Duration = Duration::from_millis(20);

/// Time after which it is said again that a chain does not keep up.
const LATE_AGAIN: Duration = Duration::from_secs(10);

/// How old a status may be.
const STATUS_AGE: Duration = Duration::from_millis(50);

/// A system that runs on threads of its own. One that is dropped is stopped.
pub struct Run {
    watch: Watch,
    thread: Option<JoinHandle<Result<Ended>>>,
}

/// What is left of a run.
pub struct Ended {
    /// Its figures.
    pub report: Report,
    /// The newest picture received.
    pub shown: Option<Shown>,
    /// How long each chain was busy.
    pub busy: Vec<Busy>,
    /// The radios used.
    pub radios: OpenRadios,
    /// Why the run did not end well, where it did not; the report is of what came before.
    pub failure: Option<Error>,
}

/// What a run shows while it goes on.
pub(super) struct Shared {
    pub broadcast: Broadcast,
    pub status: ArcSwap<Status>,
    pub seen: Seen,
}

impl System {
    /// Starts the system on threads of its own.
    pub fn start(self) -> Result<Run> {
        let (commands, stop) = (self.commands.clone(), self.stop.clone());
        let seen = Seen {
            about: self.about.clone(),
            scene: Arc::clone(&self.scene),
            bank: Arc::clone(&self.bank),
            library: Arc::clone(&self.library),
            plans: Arc::clone(&self.plans),
            snapshots: Arc::clone(&self.snapshots),
            shelf: Arc::new(Shelf::new(self.is_watched)),
            decisions: self.session.as_ref().map(Session::decisions).unwrap_or_default(),
        };
        let collector =
            Collector::new(Arc::clone(&self.scene), Arc::clone(&self.bank), Arc::clone(&self.plans), self.knows_sender);
        let status = ArcSwap::from_pointee(collector.status(State::Waiting, 0.0));
        let shared = Arc::new(Shared { broadcast: Broadcast::default(), status, seen });
        let socket = match (&self.control, &commands) {
            (Some(path), Some(requests)) => {
                let shown = Arc::clone(&shared);
                let status = move || serde_json::to_string(&**shown.status.load()).expect("a status is valid JSON");
                Some(ControlSocket::listen(path, requests.clone(), Arc::new(status))?)
            }
            _ => None,
        };
        let writer = self.events.as_deref().map(EventWriter::create).transpose()?;
        let seen = Arc::clone(&shared);
        let conductor = thread::Builder::new().name("run".into()).spawn(move || {
            // The socket goes with the run.
            let _socket = socket;
            let ended = Conductor::new(self, collector, writer, &seen).and_then(Conductor::conduct);
            seen.broadcast.end();
            ended
        });
        let thread = conductor.map_err(|error| Error::internal(format!("no thread for the run: {error}")))?;
        Ok(Run { watch: Watch { commands, shared, stop }, thread: Some(thread) })
    }
}

impl Run {
    /// A reader of the run's events, from now on. A slow one loses its oldest events; the run never waits for it.
    pub fn subscribe(&self) -> Subscription {
        self.watch.subscribe()
    }

    /// Another way to see and to steer this run.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Carries out a live command and waits for its answer: the frame from which it holds, or why it was refused. Fails
    /// where this process has no transmitter.
    pub fn command(&self, command: Command) -> Result<Answer> {
        self.watch.command(command, None)
    }

    /// What the run is doing, at most some fifty milliseconds old.
    pub fn status(&self) -> Arc<Status> {
        self.watch.status()
    }

    /// Ends the run in order: nothing new is sent, what is under way is worked off.
    pub fn stop(&self) {
        self.watch.stop();
    }

    /// Whether the run has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end of the run; its report. An error where it did not end well.
    pub fn join(self) -> Result<Report> {
        let ended = self.finish()?;
        ended.radios.result().and(ended.failure.map_or(Ok(()), Err)).map(|()| ended.report)
    }

    /// Waits for the end of the run; all that is left of it.
    pub fn finish(mut self) -> Result<Ended> {
        let thread = self.thread.take().expect("a run is finished once");
        thread.join().unwrap_or_else(|_| Err(Error::internal("the run's thread panicked")))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.watch.stop();
            // A caller that wants to know of a failure calls `join`.
            let _ = thread.join();
        }
    }
}

/// The run's own thread: hears what stages tell, and passes it on to report, peers, recording and readers.
struct Conductor<'a> {
    shared: &'a Shared,
    stop: StopSwitch,
    program: Option<Program>,
    /// The links between chains, and what was dropped from them.
    links: Vec<LinkCount>,
    /// What was said of each: frames dropped, and when.
    late_told: Vec<(u64, Option<Instant>)>,
    pictures_lost: Arc<AtomicU64>,
    session: Option<Session>,
    /// Changes of plan so far.
    retunes: Arc<AtomicU64>,
    fed_back: Option<Receiver<Told>>,
    commands: Option<Sender<LiveRequest>>,
    peers: Peers,
    told: Receiver<Told>,
    events_lost: Arc<AtomicU64>,
    received: Receiver<ReceivedPicture>,
    plans: Arc<PlanBoard>,
    library: Arc<PictureLibrary>,
    radios: OpenRadios,
    collector: Collector,
    gallery: Gallery,
    writer: Option<EventWriter>,
    state: State,
    /// When the last status was made, and how much signal had been sent then.
    looked: (Instant, f64),
}

impl<'a> Conductor<'a> {
    fn new(system: System, mut collector: Collector, writer: Option<EventWriter>, shared: &'a Shared) -> Result<Self> {
        let System { program, session, fed_back, commands, peers, report, events_lost, received, stop, .. } = system;
        collector.wants_events = writer.is_some();
        Ok(Self {
            gallery: Gallery::open(Arc::clone(&system.library), system.writer, Arc::clone(&shared.seen.shelf), &stop)?,
            shared,
            stop,
            late_told: vec![(0, None); program.links().len()],
            links: program.links().to_vec(),
            pictures_lost: system.pictures_lost,
            program: Some(program),
            retunes: session.as_ref().map(Session::retunes).unwrap_or_default(),
            session,
            fed_back,
            commands,
            peers,
            told: report,
            events_lost,
            received,
            plans: system.plans,
            library: system.library,
            radios: system.radios,
            collector,
            writer,
            state: State::Waiting,
            looked: (Instant::now(), 0.0),
        })
    }

    /// Runs all chains to their end and makes the report.
    fn conduct(mut self) -> Result<Ended> {
        self.peers.begin(&mut self.collector, &self.library, self.fed_back.take(), &self.stop)?;
        self.state = State::Running;
        let started = Instant::now();
        let (program, session, stop) = (self.program.take(), self.session.take(), self.stop.clone());
        let optimizer = session.map(|session| stop.spawn("optimizer", || session.run())).transpose()?;
        let switch = stop.clone();
        let chains = stop.spawn("chains", move || {
            let busy = program.map_or_else(|| Ok(Vec::new()), |program| program.run(&switch));
            (busy, started.elapsed())
        })?;
        self.hear(&chains);
        self.peers.leave();
        // The control plane ends once nobody is left who could tell it anything.
        self.commands = None;
        let gone = |name: &str| Error::internal(format!("the {name} thread panicked"));
        let (busy, took) = chains.join().unwrap_or_else(|_| (Err(gone("chains")), started.elapsed()));
        let log = match optimizer.map(JoinHandle::join) {
            Some(Ok(log)) => log,
            Some(Err(_)) => {
                stop.fail(gone("optimizer"));
                SessionLog::default()
            }
            None => SessionLog::default(),
        };
        self.end(busy, log, took)
    }

    /// Hears what is told until all has ended and nothing is left.
    fn hear(&mut self, chains: &JoinHandle<(Result<Vec<Busy>>, Duration)>) {
        loop {
            if self.radios.failed() || self.peers.failed() {
                self.stop.pull();
            }
            if self.stop.is_pulled() && self.state == State::Running {
                self.state = State::Stopping;
            }
            let finished = chains.is_finished() && (self.peers.have_finished() || self.stop.is_pulled());
            match self.told.recv_timeout(LOOK) {
                Ok(told) => {
                    self.take(&told);
                    self.take_all();
                }
                Err(RecvTimeoutError::Timeout) => {}
                // All chains have ended; peers may have something left to say.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
            }
            self.take_pictures();
            self.publish_status(false);
            if finished && self.told.is_empty() && self.received.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, told: &Told) {
        self.collector.wants_events = self.writer.is_some() || self.shared.broadcast.is_heard();
        self.peers.tell(&told.event);
        self.collector.take(told);
        if let crate::stream::Event::PictureSent { source, .. } = told.event {
            self.collector.add_source_samples(self.library.source_samples(source));
        }
        self.pass_on_events();
    }

    /// Events are older than the pictures that came of them.
    fn take_all(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            self.take(&told);
        }
        self.collector.forget();
    }

    fn take_pictures(&mut self) {
        while self.gallery.has_room()
            && let Ok(picture) = self.received.try_recv()
        {
            self.take_all();
            self.peers.tell_picture(&picture);
            let ReceivedPicture { number, image, blocks, receiver, .. } = picture;
            let sent = self.collector.sent_picture(number);
            self.gallery.put(Job { receiver, number, sent, blocks, came: Came::Here(image) });
        }
        while self.gallery.has_room()
            && let Some(picture) = self.peers.far_picture()
        {
            self.take_all();
            let (number, sent) = (picture.number, self.collector.sent_picture(picture.number));
            let came = Came::Elsewhere(picture.digest);
            self.gallery.put(Job { receiver: 0, number, sent, blocks: picture.blocks, came });
        }
        for (receiver, line) in self.gallery.lines() {
            self.collector.picture_came(receiver, line);
        }
        self.pass_on_events();
    }

    fn pass_on_events(&mut self) {
        for event in self.collector.take_events() {
            if let Some(writer) = &mut self.writer {
                writer.write(&event);
            }
            self.shared.broadcast.send(&Arc::new(event));
        }
    }

    /// Makes a new status where the last one is old.
    fn publish_status(&mut self, now: bool) {
        let (since, signal_s) = (self.looked.0.elapsed(), self.collector.signal_s());
        if since < STATUS_AGE && !now {
            return;
        }
        let factor = (signal_s - self.looked.1) / since.as_secs_f64().max(1e-9);
        self.looked = (Instant::now(), signal_s);
        self.count();
        self.shared.status.store(Arc::new(self.collector.status(self.state, factor)));
        if let Some(writer) = &mut self.writer {
            writer.flush();
        }
    }

    /// Takes over what others count.
    fn count(&mut self) {
        let late: u64 = self.links.iter().map(LinkCount::dropped).sum();
        self.remark_late();
        self.collector.set_retunes(self.retunes.load(Ordering::Relaxed));
        self.collector.set_overload(late, self.pictures_lost.load(Ordering::Relaxed));
    }

    /// Says of every chain that does not keep up that it does not: at the first frame that it loses, and now and then after.
    fn remark_late(&mut self) {
        for (link, told) in self.links.iter().zip(&mut self.late_told) {
            let dropped = link.dropped();
            if dropped == told.0 || told.1.is_some_and(|at| at.elapsed() < LATE_AGAIN) {
                continue;
            }
            *told = (dropped, Some(Instant::now()));
            remark!(
                "issc: chain `{}` does not keep up: {dropped} frames of it dropped so far; less waveform.bandwidth_hz, or more \
                 processor, would help (`issc doctor`)",
                link.chain
            );
        }
    }

    /// Closes everything and makes the report.
    fn end(mut self, busy: Result<Vec<Busy>>, log: SessionLog, took: Duration) -> Result<Ended> {
        self.count();
        let mut failure = None;
        // The first is the result; the others are said.
        let mut note = |result: Result<()>| match (&failure, result) {
            (_, Ok(())) => {}
            (Some(_), Err(error)) => remark!("issc: {error}"),
            (None, Err(error)) => failure = Some(error),
        };
        let busy = busy.unwrap_or_else(|error| {
            note(Err(error));
            Vec::new()
        });
        note(self.stop.failure().map_or(Ok(()), Err));
        note(self.library.failure().map_or(Ok(()), Err));
        let (lines, shown) = self.gallery.close();
        for (receiver, line) in lines {
            self.collector.picture_came(receiver, line);
        }
        for event in self.collector.take_events() {
            self.writer.iter_mut().for_each(|writer| writer.write(&event));
            self.shared.broadcast.send(&Arc::new(event));
        }
        let shown = shown.unwrap_or_else(|error| {
            note(Err(error));
            None
        });
        note(self.writer.take().map_or(Ok(()), EventWriter::finish));
        let lost = self.events_lost.load(Ordering::Relaxed);
        if lost > 0 {
            remark!("issc: {lost} events found no room: the report lacks them");
        }
        let here = AtEnd { log, radios: self.radios.figures() };
        let (AtEnd { log, radios }, finished) = self.peers.finish(here, &self.plans);
        note(finished);
        self.shared.status.store(Arc::new(self.collector.status(State::Ended, 0.0)));
        let mut report = self.collector.report(Outcome { log, took });
        report.radios = radios;
        Ok(Ended { report, shown, busy, radios: self.radios, failure })
    }
}
