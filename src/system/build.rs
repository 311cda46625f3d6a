//! From a specification to a system that is ready to start: files read, first plan made, peers joined, chains loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::peers::{Environment, Origin, Peers};
use super::radios::{OpenRadios, Radios};
use super::recording::{Recording, Replay, Subject};
use super::shipped;
use super::spec::{Source, SystemSpec};
use super::watch::About;
use crate::blocks::snapshots::{Keeping, Snapshots};
use crate::blocks::{
    ChainContext, Codec, Context, ReceivedPicture, Registry, Role as BlockRole, Run as RunContext, Sinks,
};
use crate::control::socket::LiveRequest;
use crate::control::{DECISION_FRAMES, Optimizer, PictureLibrary, Planned, Planner, Session, Setting, load_pictures};
use crate::exchange::{Role, Terms};
use crate::modem::frame::FrameClock;
use crate::pictures::{PictureWriter, Reading};
use crate::runtime::{Flowgraph, Program, StopSwitch};
use crate::scene::Scene;
use crate::semantic::Bank;
use crate::stream::{Listeners, Plan, PlanBoard, Shape, Taps, Telemetry, Told};
use crate::{Error, Result};

/// Room for events between the chains and the report.
const EVENTS: usize = 1 << 15;

/// Pictures received that may wait for the report.
const PICTURES: usize = 64;

/// Pace of a video of received pictures, where what is sent has none.
const PICTURES_PER_S: f64 = 25.0;

/// A system that is ready to start: everything is read, planned and opened, and nothing is sent yet.
pub struct System {
    pub(super) program: Program,
    pub(super) scene: Arc<Scene>,
    pub(super) bank: Arc<Bank>,
    pub(super) library: Arc<PictureLibrary>,
    pub(super) plans: Arc<PlanBoard>,
    /// The optimizer's side; `None` where the transmitter is in another process.
    pub(super) session: Option<Session>,
    /// What the optimizer would hear, where the transmitter is not in this process.
    pub(super) fed_back: Option<Receiver<Told>>,
    /// Takes live commands to the optimizer, where there is one.
    pub(super) commands: Option<Sender<LiveRequest>>,
    pub(super) peers: Peers,
    pub(super) knows_sender: bool,
    pub(super) report: Receiver<Told>,
    /// Events that found no room.
    pub(super) events_lost: Arc<AtomicU64>,
    pub(super) received: Receiver<ReceivedPicture>,
    pub(super) writer: Option<PictureWriter>,
    pub(super) events: Option<PathBuf>,
    pub(super) control: Option<PathBuf>,
    pub(super) frames: Option<u64>,
    pub(super) notes: Vec<String>,
    pub(super) paced: bool,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) about: About,
    /// Whether somebody may look at what receivers hear.
    pub(super) is_watched: bool,
    /// Where the flowgraph wants to be seen by HTTP.
    pub(super) http: Option<String>,
    pub(super) radios: OpenRadios,
    /// Pictures that no decoder had time for.
    pub(super) pictures_lost: Arc<AtomicU64>,
    pub(super) stop: StopSwitch,
}

impl System {
    /// Reads everything, makes the first plan, joins peers, opens radios and makes the chains.
    pub fn build(spec: SystemSpec) -> Result<Self> {
        spec.check()?;
        let radios = Radios::new(&spec.radios, spec.opens)?;
        let registry = spec.kinds.iter().cloned().fold(radios.kinds(), Registry::with);
        let mut read = spec.read(&registry)?;
        let scene = Arc::new(Scene::from_toml(&read.scene.to_string(), &read.graph.scene)?);
        check_scene(&scene)?;
        let bank = Bank::shipped();
        let Sent { seed, library, pixels, probing_bits, recording, mut notes, is_finite, pictures_per_s } =
            spec.sent(&mut read, &bank, &registry)?;
        let Read { graph, name: graph_name, replay, scene: scene_table, text } = read;
        let link = graph.link.as_ref().filter(|_| spec.opens);
        let terms = Terms::new(&scene, seed, probing_bits.as_deref());
        let origin = match replay {
            Some(replay) => Origin::Recorded(Box::new(replay)),
            None => Origin::of_link(link, &terms)?,
        };
        let (is_here, knows_sender) = (matches!(origin, Origin::Here), origin.transmits());
        let models = bank.models().len();
        origin.check(scene.array.transmit_antennas, models)?;
        let serves = served(&graph, &graph_name, &scene)?;
        let planner = Planner::new(&scene.serving(serves), &bank, pixels);
        let (first, given, note, optimizer) = spec.first_plan(planner, origin.plans()?, &scene)?;
        notes.extend(note);
        let plans = Arc::new(PlanBoard::new(first, 0));
        plans.publish(given);
        let (telemetry, Listeners { report, control }) = Telemetry::new(EVENTS);
        let (clock, telemetry_of_peers) = (FrameClock::new(&scene, plans.headers()), telemetry.clone());
        let environment = Environment { plans: Arc::clone(&plans), models, clock, telemetry: telemetry_of_peers };
        let folder = spec.record.clone().or(match &spec.source {
            Source::Recording(folder) => Some(folder.clone()),
            Source::Flowgraph(_) => None,
        });
        let (peers, ends) = Peers::join(origin, link.map(|link| (link, terms)), recording, folder, environment)?;
        let (pictures_out, received) = bounded(PICTURES);
        let world = Arc::new(ArcSwap::from_pointee(Vec::new()));
        // The flowgraph's own length is for runs that nothing else ends.
        let frames = spec.frames.or(if spec.seconds.is_some() || is_finite { None } else { graph.frames });
        notes.extend(scene.bound_note().map(str::to_owned));
        notes.extend(spec.late_command(frames, &scene));
        let is_watched = spec.watched || graph.http.is_some();
        let keeping = Keeping { regularly: spec.snapshots, on_request: is_watched };
        let receivers = [scene.communication_receivers().len(), scene.sensing_receivers().len()];
        let snapshots = Snapshots::new(keeping, receivers);
        let snapshots = Arc::new(match &spec.echo_listener {
            Some(listener) => snapshots.listened_to(Arc::clone(listener)),
            None => snapshots,
        });
        let is_real_time = spec.pace.is_some() || graph.has(&registry, BlockRole::Sends);
        let mut context = Context {
            scene: Arc::clone(&scene),
            run: RunContext {
                seed,
                frames,
                seconds: spec.seconds,
                pace: spec.pace,
                pictures_per_s: pictures_per_s.or(is_real_time.then_some(PICTURES_PER_S)),
                probing_bits,
            },
            codec: Codec { bank: Arc::clone(&bank), feed: Arc::clone(&library) as _ },
            plans: Arc::clone(&plans),
            sinks: Sinks {
                telemetry: telemetry.clone(),
                pictures: pictures_out,
                dropped_pictures: Arc::default(),
                snapshots: Arc::clone(&snapshots),
            },
            world: Arc::clone(&world),
            taps: Taps::default(),
            chain: ChainContext::default(),
            ends,
        };
        let pictures_lost = Arc::clone(&context.sinks.dropped_pictures);
        let program = Program::load(&graph, &graph_name, &registry, &mut context)?;
        let about = About::new(&graph_name, text, (scene_table, &scene), program.shapes());
        let radios = radios.opened();
        if graph.has(&registry, BlockRole::Locates) {
            radios.check_sensing(!is_here)?;
        }
        let (session, commands, fed_back) = if is_here {
            let mut session = Session::new(optimizer, Arc::clone(&plans), world, Arc::clone(&scene), control);
            session.power_check = radios.power_check();
            session.waits_for_nobody = radios.send_in_real_time();
            let (requests, live) = unbounded();
            (
                Some(spec.instruct(
                    (session, serves as u8),
                    live,
                    &scene,
                    (&graph, &registry),
                    (&graph_name, &peers),
                )?),
                Some(requests),
                None,
            )
        } else if spec.schedule.is_empty() {
            (None, None, Some(control))
        } else {
            return Err(Error::input("--at changes a transmitter; accepted: in the process that has one"));
        };
        let writer = |file: &PathBuf| PictureWriter::create(file, false, pictures_per_s.unwrap_or(PICTURES_PER_S));
        Ok(Self {
            program,
            scene,
            bank,
            library,
            plans,
            session,
            fed_back,
            commands,
            peers,
            knows_sender,
            report,
            events_lost: telemetry.losses(),
            received,
            writer: spec.received.as_ref().map(writer).transpose()?,
            events: spec.events,
            control: spec.control,
            frames,
            notes,
            paced: spec.pace.is_some(),
            snapshots,
            about,
            is_watched,
            http: graph.http,
            radios,
            pictures_lost,
            stop: spec.stop,
        })
    }

    /// Chains with their stages' kinds and outlets.
    pub fn shapes(&self) -> &[(String, Vec<(String, Shape)>)] {
        self.program.shapes()
    }

    /// The scene.
    pub fn scene(&self) -> &Arc<Scene> {
        &self.scene
    }

    /// Frames to be sent, where that is known.
    pub fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// What is not as it was asked for or may mislead, a line each: pictures that were skipped or are not whole, a first
    /// plan that is not feasible, a bound that is not a physical one, commands that come after the end.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is kept of recent frames for drawings.
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    /// Where the flowgraph wants the run to be seen by HTTP, if it does.
    pub fn http(&self) -> Option<&str> {
        self.http.as_deref()
    }

    /// The radios that are open.
    pub fn radios(&self) -> &OpenRadios {
        &self.radios
    }

    /// Whether the run keeps to signal time.
    pub fn is_paced(&self) -> bool {
        self.paced
    }

    /// Whether the transmitter and its optimizer are in this process, so that live commands have somebody to take them.
    pub fn takes_commands(&self) -> bool {
        self.commands.is_some()
    }

    /// Listens for `issc set` and `issc status` at this socket.
    pub fn listen(&mut self, socket: PathBuf) {
        self.control = Some(socket);
    }
}

impl SystemSpec {
    /// The plan to begin with, the ones after it, what is not as it was asked for, and the optimizer.
    #[expect(clippy::type_complexity, reason = "four parts of one beginning, taken apart at once")]
    fn first_plan(
        &self,
        mut planner: Planner,
        given: Vec<Plan>,
        scene: &Scene,
    ) -> Result<(Plan, Vec<Plan>, Option<String>, Box<dyn Optimizer>)> {
        let mut given = given.into_iter();
        if let Some(first) = given.next() {
            return Ok((first, given.collect(), None, Box::new(planner)));
        }
        let (first, optimizer) = match &self.optimizer {
            Some(make) => {
                let mut optimizer = make(planner);
                (optimizer.plan(0, 0)?, optimizer)
            }
            None => {
                let first = planner.plan(0, 0)?;
                // In real time a late plan is worse than one that is a little short of the optimum: a plan may take half
                // of the time between two decisions.
                let seconds = FrameClock::of_scene(scene).start_s(DECISION_FRAMES) / 2.0;
                planner.time_limit = self.pace.map(|pace| Duration::from_secs_f64(seconds / pace));
                (first, Box::new(planner) as Box<dyn Optimizer>)
            }
        };
        let Planned { plan, reason, .. } = first;
        Ok((plan, Vec::new(), reason.map(|reason| format!("starting all the same: {reason}")), optimizer))
    }

    /// Says which command comes only after the last frame, if one does.
    fn late_command(&self, frames: Option<u64>, scene: &Scene) -> Option<String> {
        let frame_s = FrameClock::of_scene(scene).frame_s();
        let of_time = self.seconds.map(|seconds| (seconds / frame_s).ceil() as u64);
        let end = [frames, of_time].into_iter().flatten().min()?;
        let mut late = self.schedule.iter().filter(|(frame, _)| *frame >= end);
        let (frame, command) = late.next()?;
        let more = match late.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!("--at {frame}:{}{more}: never comes, the run ends after {end} frames", command.key()))
    }

    /// What is sent, now or when a recording was made; a new recording begins with it.
    fn sent(&self, read: &mut Read, bank: &Arc<Bank>, registry: &Registry) -> Result<Sent> {
        let replayed = read.replay.as_ref().map(|replay| (&replay.outcome, &replay.folder));
        let seed = replayed.map_or(self.seed, |(outcome, _)| outcome.seed);
        let reading = Reading { lenient: self.lenient };
        let mut pictures = match replayed {
            Some((outcome, folder)) if outcome.pictures => load_pictures(&[folder.join("pictures")], reading)?,
            _ => load_pictures(&self.pictures, reading)?,
        };
        let probing = match replayed {
            Some((outcome, folder)) if outcome.probing => Some(folder.join("probing.bits")),
            _ => self.probing.clone(),
        };
        let scene = read.scene.to_string();
        let subject = Subject {
            texts: [&read.text, &scene],
            seed,
            probing: probing.as_deref(),
            pictures: if self.pictures.is_empty() { &[] } else { &pictures.pictures },
        };
        let graph = &mut read.graph;
        let recording =
            self.record.as_ref().map(|folder| Recording::begin(folder, graph, &subject, registry)).transpose()?;
        // A video has an end, and so has a run that sends one, unless something else is asked for.
        let once = pictures.has_video && self.frames.is_none() && self.seconds.is_none();
        let rounds = self.repeat.or(once.then_some(1));
        let total = rounds.map_or(u64::MAX, |rounds| rounds.saturating_mul(pictures.pictures.len() as u64));
        Ok(Sent {
            seed,
            notes: std::mem::take(&mut pictures.notes),
            is_finite: rounds.is_some(),
            pictures_per_s: pictures.pictures_per_s,
            pixels: pictures
                .pictures
                .iter()
                .map(|picture| (picture.width() * picture.height()) as usize)
                .max()
                .unwrap_or(1),
            library: Arc::new(PictureLibrary::new(Arc::clone(bank), pictures, total)?),
            probing_bits: probing.as_deref().map(read_bits).transpose()?,
            recording,
        })
    }

    /// Tells the optimizer's thread what it has to do in this run.
    fn instruct(
        &self,
        (mut session, serves): (Session, u8),
        live: Receiver<LiveRequest>,
        scene: &Scene,
        (graph, registry): (&Flowgraph, &Registry),
        (name, peers): (&str, &Peers),
    ) -> Result<Session> {
        session.live = Some(live);
        for (frame, command) in &self.schedule {
            let text = || format!("--at {frame}:{}", command.to_line());
            command.check_id(scene).map_err(|error| error.within(text()))?;
        }
        session.scheduled.clone_from(&self.schedule);
        session.has_receiver = graph.has(registry, BlockRole::Receives) || peers.expects(Role::CommunicationReceiver);
        session.holds_beams = graph.hold_beams;
        session.serves = serves;
        if let Some(every_frames) = graph.follow_frames {
            if !graph.has(registry, BlockRole::Locates) && !peers.expects(Role::SensingReceiver) {
                return Err(Error::input(format!(
                    "{name}: follow_frames needs a stage of kind `echo-locator`, or a sensing receiver in link.peers"
                )));
            }
            session.follow(Some(every_frames));
        } else if graph.has(registry, BlockRole::Locates) {
            session.follow(None);
        }
        Ok(session)
    }

    fn check(&self) -> Result<()> {
        let positive = |option: &str, value: Option<f64>| match value {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(Error::input(format!("{option} {value}: accepted: a finite number above 0")))
            }
            _ => Ok(()),
        };
        positive("--seconds", self.seconds)?;
        positive("--pace", self.pace)
    }

    /// Flowgraph and scene, with the keys that were changed.
    fn read(&self, registry: &Registry) -> Result<Read> {
        let settings = &self.settings;
        match &self.source {
            Source::Recording(folder) => {
                Setting::refuse_flowgraph(settings)?;
                let replay = Replay::read(folder, registry)?;
                let (graph, mut scene) = (replay.graph.clone(), replay.scene.clone());
                Setting::apply_to_scene(settings, &mut scene)?;
                let name = folder.display().to_string();
                Ok(Read { graph, scene, name, text: String::new(), replay: Some(replay) })
            }
            Source::Flowgraph(source) => {
                let mut table: toml::Table = crate::config::from_toml(&source.text, &source.name)?;
                Setting::apply_to_flowgraph(settings, &mut table)?;
                // The text as it stands gives the better error lines.
                let text = if settings.is_empty() { source.text.clone() } else { table.to_string() };
                let graph = Flowgraph::from_toml(&text, &source.name)?;
                let (scene_text, scene_name) = shipped::scene(&graph.scene, source.folder.as_deref())?;
                let mut scene = crate::config::from_toml(&scene_text, &scene_name)?;
                Setting::apply_to_scene(settings, &mut scene)?;
                Ok(Read { graph, scene, name: source.name.clone(), text, replay: None })
            }
        }
    }
}

/// What a run sends.
struct Sent {
    seed: u64,
    library: Arc<PictureLibrary>,
    /// Of the largest picture.
    pixels: usize,
    probing_bits: Option<Arc<[u8]>>,
    recording: Option<Recording>,
    /// Lines on pictures that were skipped or are not whole.
    notes: Vec<String>,
    /// Whether the pictures end.
    is_finite: bool,
    /// The pace of the video that is sent.
    pictures_per_s: Option<f64>,
}

/// What a run is made of.
struct Read {
    graph: Flowgraph,
    scene: toml::Table,
    /// The flowgraph's name, for error lines.
    name: String,
    /// The flowgraph's text.
    text: String,
    replay: Option<Replay>,
}

/// What a run needs of its scene beyond what the mathematics needs.
fn check_scene(scene: &Scene) -> Result<()> {
    use crate::modem::frame::{BLOCK, BLOCKS};
    let waveform = &scene.waveform;
    let wrong = |key: &str, found: usize, accepted: &str| {
        Err(Error::input(format!("scene: {key} = {found}; accepted in a run: {accepted}")))
    };
    if waveform.block_symbols != BLOCK {
        return wrong("waveform.block_symbols", waveform.block_symbols, "256");
    }
    if waveform.frame_symbols != BLOCK * BLOCKS {
        return wrong("waveform.frame_symbols", waveform.frame_symbols, "1024");
    }
    scene.check_air().and_then(|()| scene.check_reception()).map_err(|what| Error::input(format!("scene: {what}")))?;
    FrameClock::of_scene(scene).check().map_err(|what| Error::input(format!("scene: {what}")))?;
    let most = crate::stream::MAX_SOUNDED_ANTENNAS;
    if scene.array.transmit_antennas > most {
        return wrong("array.transmit_antennas", scene.array.transmit_antennas, &format!("1 to {most}"));
    }
    Ok(())
}

/// Place of the communication receiver that plans are made for.
fn served(graph: &Flowgraph, name: &str, scene: &Scene) -> Result<usize> {
    let receivers = scene.communication_receivers();
    let Some(id) = &graph.serves else { return Ok(0) };
    receivers.iter().position(|receiver| receiver.id == *id).ok_or_else(|| {
        let known: Vec<_> = receivers.iter().map(|receiver| receiver.id.as_str()).collect();
        Error::input(format!("{name}: serves = \"{id}\"; accepted with this scene: {}", known.join(", ")))
    })
}

/// The bits of a file, the highest of each byte first, one per byte.
fn read_bits(path: &Path) -> Result<Arc<[u8]>> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    if bytes.is_empty() {
        return Err(Error::file(path, "empty; accepted: a file of one byte or more"));
    }
    Ok(bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)).collect())
}
