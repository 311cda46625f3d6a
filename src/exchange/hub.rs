//! The transmitter's end: receivers come, are admitted or refused, get what they need and give back what they found.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::peer::{Incoming, Peer, Statistics, now_us, ready};
use super::seal::{Secret, Way};
use super::vetting::vet;
use super::{Message, PictureMessage, PlanMessage, Reference, Role, Terms, VERSION};
use crate::modem::frame::FrameClock;
use crate::stream::{Event, PlanBoard, Telemetry};
use crate::{Error, Result};

/// Frames that may wait to be passed on.
const FRAMES: usize = 256;

/// Plans that a receiver is given when it comes: those of every frame under way.
const PLANS: usize = 64;

/// How long receivers may take to send what is left once all is sent.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// Where messages of receivers go.
pub struct Outputs {
    /// For the report and the control plane.
    pub telemetry: Telemetry,
    /// Pictures, for the report.
    pub pictures: Sender<PictureMessage>,
}

struct Member {
    role: Role,
    peer: Peer,
    ready: bool,
    statistics: Arc<Statistics>,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    started: Option<Arc<Message>>,
    /// Counts of those who have left.
    past: Vec<(Role, Arc<Statistics>)>,
}

struct Shared {
    address: SocketAddr,
    /// Another one for each run.
    run: u64,
    terms: Terms,
    secret: Option<Secret>,
    plans: Arc<PlanBoard>,
    clock: FrameClock,
    outputs: Outputs,
    state: Mutex<State>,
    changed: Condvar,
    /// The first sample after the frames passed on.
    end: AtomicU64,
    closed: AtomicBool,
    /// A thread of the link panicked.
    broken: AtomicBool,
}

/// Notes a panic of its thread.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// The meeting place of a system's processes.
pub struct Hub {
    shared: Arc<Shared>,
    references: Sender<Reference>,
    ended: Option<Instant>,
}

impl Hub {
    /// Listens at an address. Beyond this machine only with a secret: whoever is heard steers the beams.
    pub fn listen(
        address: &str,
        secret: Option<Secret>,
        terms: Terms,
        plans: Arc<PlanBoard>,
        clock: FrameClock,
        outputs: Outputs,
    ) -> Result<Self> {
        let wrong = |what: std::io::Error| Error::input(format!("link.listen = \"{address}\": {what}"));
        let listener = TcpListener::bind(address).map_err(wrong)?;
        if secret.is_none() && !listener.local_addr().map_err(wrong)?.ip().is_loopback() {
            return Err(Error::input(format!(
                "link.listen = \"{address}\": others than this machine could steer the beams; accepted: with link.key_file"
            )));
        }
        let shared = Arc::new(Shared {
            address: listener.local_addr().map_err(wrong)?,
            run: now_us(),
            terms,
            secret,
            plans,
            clock,
            outputs,
            state: Mutex::default(),
            changed: Condvar::new(),
            end: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        });
        let (references, frames) = bounded(FRAMES);
        let (door, relay) = (Arc::clone(&shared), Arc::clone(&shared));
        let thread = |name: &str| thread::Builder::new().name(name.into());
        thread("link-door").spawn(move || admit(&listener, &door)).map_err(wrong)?;
        thread("link-relay").spawn(move || pass_on(&frames, &relay)).map_err(wrong)?;
        Ok(Self { shared, references, ended: None })
    }

    /// Whether the link itself has failed: the run cannot go on as if nothing were.
    pub fn has_failed(&self) -> bool {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// Where frames for the receivers go.
    pub fn references(&self) -> Sender<Reference> {
        self.references.clone()
    }

    /// Waits until receivers of all these roles are ready; `goes_on` is asked meanwhile.
    pub fn wait_for(&self, roles: &[Role], longest: Duration, goes_on: impl Fn() -> bool) -> Result<()> {
        let since = Instant::now();
        let mut state = self.shared.lock();
        loop {
            let there = |role: &Role| state.members.iter().any(|member| member.ready && member.role == *role);
            let Some(missing) = roles.iter().find(|role| !there(role)) else { return Ok(()) };
            if !goes_on() {
                return Ok(());
            }
            if since.elapsed() > longest {
                return Err(Error::peer(format!(
                    "link {}: no {missing} came within {:.0} s",
                    self.shared.address,
                    longest.as_secs_f64()
                )));
            }
            let waited = self.shared.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells receivers of an event that concerns them ([`Audience::receivers`](crate::stream::Audience)).
    pub fn tell(&self, event: &Event) {
        let message = Arc::new(Message::Event(*event));
        if let Event::Started { .. } = event {
            self.shared.broadcast(&message, None);
            self.shared.lock().started = Some(message);
        } else {
            self.shared.broadcast(&message, Some(Role::SensingReceiver));
        }
    }

    /// Tells everybody that nothing more comes; whether all have said their last.
    pub fn finish(&mut self) -> bool {
        let since = *self.ended.get_or_insert_with(|| {
            let sample_time = self.shared.end.load(Ordering::SeqCst);
            self.shared.broadcast(&Arc::new(Message::End { sample_time }), None);
            Instant::now()
        });
        self.shared.lock().members.is_empty() || since.elapsed() > LAST_WORDS
    }

    /// What went over each connection.
    pub fn lines(&self) -> Vec<String> {
        let state = self.shared.lock();
        let present = state.members.iter().map(|member| (member.role, &member.statistics));
        let past = state.past.iter().map(|(role, statistics)| (*role, statistics));
        past.chain(present).map(|(role, counts)| format!("link {role}: {}", counts.line())).collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.lock().members.drain(..).for_each(|member| member.peer.cut());
        // Wakes the thread at the door.
        let _ = TcpStream::connect(self.shared.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broadcast(&self, message: &Arc<Message>, to: Option<Role>) {
        let state = self.lock();
        let concerned = state.members.iter().filter(|member| to.is_none_or(|role| role == member.role));
        concerned.for_each(|member| member.peer.send(Arc::clone(message)));
    }

    /// Adds a receiver that said who it is; whether it may stay.
    fn greet(&self, stream: TcpStream) -> std::io::Result<(Role, Incoming)> {
        let statistics = Arc::new(Statistics::default());
        ready(&stream)?;
        let seals = match &self.secret {
            Some(secret) => Some(secret.challenge(&stream).ok_or(std::io::ErrorKind::ConnectionRefused)?),
            None => None,
        };
        let (peer, mut incoming) = Peer::start(stream, Arc::clone(&statistics), Way::Down, seals)?;
        let refused = |reason: String| {
            peer.send(Arc::new(Message::Refused { reason }));
            Err(std::io::ErrorKind::ConnectionRefused.into())
        };
        let Some(Message::Hello { version, role, terms }) = incoming.first() else {
            return refused("no greeting; accepted: an issc of the same version".into());
        };
        if version != VERSION {
            return refused(format!("version {version} of the messages; accepted by the transmitter: {VERSION}"));
        }
        if let Some(difference) = self.terms.difference(&terms) {
            return refused(difference);
        }
        let mut state = self.lock();
        if state.members.iter().any(|member| member.role == role) {
            return refused(format!("there is a {role} already; accepted: one"));
        }
        let plans = self.plans.latest(PLANS).iter().map(|plan| PlanMessage::from(&**plan)).collect();
        peer.send(Arc::new(Message::Welcome { run: self.run, plans }));
        state.started.iter().for_each(|started| peer.send(Arc::clone(started)));
        state.members.push(Member { role, peer, ready: false, statistics });
        Ok((role, incoming))
    }

    /// Hears a receiver to its end.
    fn hear(&self, role: Role, mut incoming: Incoming) {
        let mut said_all = false;
        let antennas = self.plans.newest().beams.w_c.len();
        let counts =
            self.lock().members.iter().find(|member| member.role == role).map(|member| member.statistics.clone());
        while let Some(message) = incoming.next() {
            match message {
                Message::Ready => {
                    self.lock().members.iter_mut().filter(|member| member.role == role).for_each(|member| {
                        member.ready = true;
                    });
                    self.changed.notify_all();
                }
                Message::Event(event) => match vet(role, &event, antennas) {
                    Ok(()) => self.outputs.telemetry.report(event),
                    // Said once, counted always.
                    Err(what) if counts.as_ref().is_none_or(|counts| counts.refuse()) => {
                        remark!("issc: link: the {role} says what cannot be: {what}: it is left out");
                    }
                    Err(_) => {}
                },
                Message::Picture(picture) => drop(self.outputs.pictures.send(picture)),
                Message::End { .. } => {
                    said_all = true;
                    break;
                }
                _ => {}
            }
        }
        if !said_all && !self.closed.load(Ordering::SeqCst) {
            remark!("issc: link: the {role} is lost; it may come back");
        }
        let mut state = self.lock();
        while let Some(place) = state.members.iter().position(|member| member.role == role) {
            let member = state.members.remove(place);
            state.past.push((role, member.statistics));
        }
        drop(state);
        self.outputs.telemetry.report(Event::PeerLost { sensing: role == Role::SensingReceiver });
        self.changed.notify_all();
    }
}

fn admit(listener: &TcpListener, shared: &Arc<Shared>) {
    let _alarm = Alarm(&shared.broken);
    for stream in listener.incoming().flatten() {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        let served = thread::Builder::new().name("link-in".into()).spawn(move || {
            let _alarm = Alarm(&shared.broken);
            if let Ok((role, incoming)) = shared.greet(stream) {
                shared.hear(role, incoming);
            }
        });
        drop(served);
    }
}

/// Passes frames on to whoever needs them.
fn pass_on(frames: &Receiver<Reference>, shared: &Shared) {
    let _alarm = Alarm(&shared.broken);
    for Reference { plan, bits } in frames {
        if let Some(plan) = plan {
            shared.broadcast(&Arc::new(Message::Plan((&*plan).into())), None);
        }
        shared.end.store(bits.end(&shared.clock), Ordering::SeqCst);
        shared.broadcast(&Arc::new(Message::Frame((&bits).into())), Some(Role::SensingReceiver));
    }
}
