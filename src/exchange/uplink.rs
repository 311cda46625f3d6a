//! A receiver's end: it comes to the transmitter, hears plans and frames, and says what it found. Where the transmitter is
//! lost it is looked for again for a while.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::peer::{Incoming, Peer, SILENCE, Statistics, ready};
use super::seal::{Secret, Way};
use super::{FarTransmitter, FrameBits, Message, PlanMessage, Role, Terms, VERSION};
use crate::stream::{Event, LeftOut, Plan, PlanBoard};
use crate::{Error, Result};

/// Frames that may wait for the reference to be made; after that the transmitter is not read from.
const FRAMES: usize = 256;

/// How long a lost transmitter is looked for.
const SEARCH: Duration = Duration::from_secs(5);

/// Where messages of the transmitter go.
struct Outputs {
    plans: Arc<PlanBoard>,
    /// Source models that plans may choose among.
    models: usize,
    frames: Sender<FrameBits>,
    far: Arc<FarTransmitter>,
    left_out: Arc<LeftOut>,
}

struct Shared {
    address: String,
    role: Role,
    secret: Option<Secret>,
    terms: Terms,
    /// The transmitter's run number.
    run: OnceLock<u64>,
    peer: Mutex<Option<Peer>>,
    ready: AtomicBool,
    ended: AtomicBool,
    statistics: Arc<Statistics>,
}

/// A receiver's connection to its transmitter.
pub struct Uplink {
    shared: Arc<Shared>,
    incoming: Option<Incoming>,
}

impl Uplink {
    /// Goes to the transmitter at an address, waiting for it; the plans it gives.
    pub fn connect(
        address: &str,
        role: Role,
        secret: Option<Secret>,
        terms: Terms,
        longest: Duration,
    ) -> Result<(Self, Vec<Plan>)> {
        let shared = Arc::new(Shared {
            address: address.into(),
            role,
            secret,
            terms,
            run: OnceLock::new(),
            peer: Mutex::default(),
            ready: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            statistics: Arc::default(),
        });
        let (incoming, plans) = shared.meet(longest)?;
        Ok((Self { shared, incoming: Some(incoming) }, plans))
    }

    /// Begins to hear the transmitter: plans to `plans`, its beginning and end to `far`, frames to what is returned.
    pub fn hear(
        &mut self,
        plans: Arc<PlanBoard>,
        models: usize,
        far: Arc<FarTransmitter>,
        left_out: Arc<LeftOut>,
    ) -> Result<Receiver<FrameBits>> {
        let (frames, bits) = bounded(FRAMES);
        let outputs = Outputs { plans, models, frames, far, left_out };
        let (shared, incoming) = (Arc::clone(&self.shared), self.incoming.take());
        thread::Builder::new()
            .name("link-in".into())
            .spawn(move || incoming.into_iter().for_each(|incoming| shared.hear(incoming, &outputs)))
            .map_err(|error| Error::device(format!("no thread for the link: {error}")))?;
        Ok(bits)
    }

    /// Tells the transmitter that it may begin.
    pub fn ready(&self) {
        self.shared.ready.store(true, Ordering::SeqCst);
        self.send(Message::Ready);
    }

    /// Tells the transmitter of an event that concerns it.
    pub fn tell(&self, event: &Event) {
        self.send(Message::Event(*event));
    }

    /// Sends a message.
    pub fn send(&self, message: Message) {
        if let Some(peer) = &*self.shared.lock() {
            peer.send(Arc::new(message));
        }
    }

    /// The last word, once all is sent.
    pub fn finish(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.send(Message::End { sample_time: 0 });
        let Some(peer) = self.shared.lock().take() else { return };
        let since = Instant::now();
        while !peer.is_idle() && since.elapsed() < SILENCE {
            thread::sleep(Duration::from_millis(5));
        }
        drop(peer);
        // The sending thread says its last before the process ends.
        thread::sleep(Duration::from_millis(20));
    }

    /// What went over the connection.
    pub fn line(&self) -> String {
        format!("link transmitter: {}", self.shared.statistics.line())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Peer>> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to the transmitter and says who this is.
    fn meet(&self, longest: Duration) -> Result<(Incoming, Vec<Plan>)> {
        let since = Instant::now();
        let failed = |what: String| Error::peer(format!("link {}: {what}", self.address));
        let stream = loop {
            match TcpStream::connect(&self.address) {
                Ok(stream) => break stream,
                Err(error) if since.elapsed() > longest => return Err(failed(format!("no transmitter: {error}"))),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        };
        ready(&stream).map_err(|error| failed(error.to_string()))?;
        let seals = self.secret.as_ref().map(|secret| {
            secret
                .answer(&stream)
                .ok_or_else(|| failed("the transmitter asks for no key; accepted: one with link.key_file".into()))
        });
        let (peer, mut incoming) = Peer::start(stream, Arc::clone(&self.statistics), Way::Up, seals.transpose()?)
            .map_err(|error| failed(error.to_string()))?;
        peer.send(Arc::new(Message::Hello { version: VERSION, role: self.role, terms: self.terms.clone() }));
        match incoming.first() {
            Some(Message::Welcome { run, plans }) => {
                if self.run.set(run).is_err() && self.run.get() != Some(&run) {
                    return Err(failed("the transmitter has begun anew".into()));
                }
                let plans: Result<Vec<_>, _> = plans.into_iter().map(PlanMessage::plan).collect();
                let plans = plans.map_err(|what| failed(format!("a plan that cannot be read: {what}")))?;
                if plans.is_empty() {
                    return Err(failed("no plan".into()));
                }
                *self.lock() = Some(peer);
                Ok((incoming, plans))
            }
            Some(Message::Refused { reason }) => Err(Error::input(format!("link {}: {reason}", self.address))),
            _ if incoming.needs_secret => Err(Error::input(format!(
                "link {}: the transmitter asks for a key; accepted: its own link.key_file",
                self.address
            ))),
            None if self.secret.is_some() => Err(Error::input(format!(
                "link {}: the transmitter has another key; accepted: its own link.key_file",
                self.address
            ))),
            Some(_) | None => Err(failed("no transmitter of issc answers there".into())),
        }
    }

    /// Hears the transmitter to its end, and looks for it where it is lost.
    fn hear(&self, mut incoming: Incoming, outputs: &Outputs) {
        loop {
            while let Some(message) = incoming.next() {
                match message {
                    Message::Plan(plan) => publish(plan.plan().ok(), outputs),
                    Message::Frame(frame) => {
                        // Whoever makes the reference may be gone already, or never was.
                        if let Ok(bits) = frame.bits() {
                            let _ = outputs.frames.send(bits);
                        }
                    }
                    Message::Event(Event::Started { origin_ns, seconds_ahead }) => {
                        outputs.far.begin(origin_ns, seconds_ahead);
                    }
                    Message::Event(Event::LeftOut { frame }) => outputs.left_out.insert(frame),
                    Message::End { sample_time } => return outputs.far.finish(sample_time),
                    _ => {}
                }
            }
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            remark!("issc: link: the transmitter at {} is lost; looking for it", self.address);
            match self.meet(SEARCH) {
                Ok((found, plans)) => {
                    remark!("issc: link: the transmitter at {} is back", self.address);
                    plans.into_iter().for_each(|plan| publish(Some(plan), outputs));
                    incoming = found;
                    if self.ready.load(Ordering::SeqCst)
                        && let Some(peer) = &*self.lock()
                    {
                        peer.send(Arc::new(Message::Ready));
                    }
                }
                Err(error) => return outputs.far.fail(error.to_string()),
            }
        }
    }
}

fn publish(plan: Option<Plan>, outputs: &Outputs) {
    // One that is damaged is left out as one that was lost.
    let newest = outputs.plans.newest();
    let is_new = |plan: &Plan| plan.epoch > newest.epoch && plan.fits(newest.beams.w_c.len(), outputs.models).is_ok();
    outputs.plans.publish(plan.into_iter().filter(is_new).collect());
}
