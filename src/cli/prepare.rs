//! From options to a run that is ready to start: files read, first plan made, companions joined, chains loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded};

use super::companions::{Around, Companions, Origin};
use super::radio::{OpenRadios, RadioArguments};
use super::recording::{Recording, Replay, Subject, has_stage};
use super::{inputs, shipped};
use crate::blocks::snapshots::Snapshots;
use crate::blocks::{Context, Kind, ReceivedPicture, TABLE};
use crate::control::{PictureLibrary, PictureWriter, Planner, Session, Setting, load_pictures, parse_at};
use crate::exchange::{Role, Terms};
use crate::modem::frame::FrameClock;
use crate::runtime::{Flowgraph, Program};
use crate::scene::Scene;
use crate::semantic::Bank;
use crate::stream::{Event, PlanBoard, Telemetry};
use crate::{Error, Result};

/// Room for events between the chains and the report.
const EVENTS: usize = 1 << 15;

/// Pictures received that may wait for the report.
const PICTURES: usize = 64;

/// What a run is made of.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunOptions {
    /// A flowgraph file, or a shipped one.
    #[arg(default_value = "flowgraphs/loopback.toml")]
    pub flowgraph: String,
    /// Seconds of signal to send.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Frames to send.
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Signal time per wall-clock time to keep to: 1 = real time. As fast as it goes by default.
    #[arg(long, value_name = "FACTOR")]
    pub pace: Option<f64>,
    /// Pictures to send: files, folders or videos (by `ffmpeg`); the shipped ones by default.
    #[arg(long = "picture", value_name = "PATH")]
    pub pictures: Vec<PathBuf>,
    /// Send the list of pictures this often; without end by default.
    #[arg(long, value_name = "N")]
    pub repeat: Option<u64>,
    /// Probing bits of the sensing stream: a file whose bits are sent over and over.
    #[arg(long, value_name = "FILE")]
    pub probing: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Changes a key of the flowgraph or, with or without `scene.` before it, of its scene before the start, e.g.
    /// scene.constraints.power_dbm=-30; `issc keys` lists them.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// A live command at a frame, e.g. 96:power_dbm=-3.
    #[arg(long = "at", value_name = "FRAME:KEY=VALUE")]
    pub at: Vec<String>,
    /// Record what the receivers hear, and all that a replay needs, in this new folder.
    #[arg(long, value_name = "FOLDER")]
    pub record: Option<PathBuf>,
    /// Run the receivers of a recording, on what they heard.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["record", "flowgraph"])]
    pub replay: Option<PathBuf>,
    /// What radios may do.
    #[command(flatten)]
    pub radio: RadioArguments,
    /// Whether nothing is opened: the flowgraph is only checked.
    #[arg(skip)]
    pub checks_only: bool,
    /// Whether recent frames are kept for drawings.
    #[arg(skip)]
    pub snapshots: bool,
}

/// A run that is ready to start.
pub struct Prepared {
    /// The chains.
    pub program: Program,
    pub(super) scene: Arc<Scene>,
    pub(super) bank: Arc<Bank>,
    pub(super) library: Arc<PictureLibrary>,
    pub(super) plans: Arc<PlanBoard>,
    /// The optimizer's, where the transmitter is here.
    pub(super) session: Option<Session>,
    /// What it would hear, where it is not.
    pub(super) fed_back: Option<Receiver<Event>>,
    pub(super) companions: Companions,
    pub(super) knows_sender: bool,
    pub(super) telemetry: Receiver<Event>,
    pub(super) events: Telemetry,
    pub(super) received: Receiver<ReceivedPicture>,
    pub(super) writer: Option<PictureWriter>,
    pub(super) frames: Option<u64>,
    pub(super) note: Option<String>,
    pub(super) paced: bool,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) radios: OpenRadios,
}

impl RunOptions {
    /// The options of a flowgraph with nothing said.
    pub fn new(flowgraph: String) -> Self {
        Self { flowgraph, seed: 1, ..Self::default() }
    }

    /// Reads everything, plans the first plan and makes the chains.
    pub fn prepare(self) -> Result<Prepared> {
        self.prepare_with(TABLE)
    }

    /// The same with more kinds of blocks than the shipped ones.
    pub fn prepare_with(self, table: &[Kind]) -> Result<Prepared> {
        self.check()?;
        let mut read = self.read()?;
        let scene = Arc::new(Scene::from_toml(&read.scene.to_string(), &read.graph.scene)?);
        check_scene(&scene)?;
        let bank = Bank::shipped();
        let Sent { seed, library, pixels, probing_bits, recording } = self.sent(&mut read, &bank)?;
        let Read { graph, name: graph_name, replay, .. } = read;
        let link = graph.link.as_ref().filter(|_| !self.checks_only);
        let terms = Terms::new(&scene, seed, probing_bits.as_deref());
        let origin = match replay {
            Some(replay) => Origin::Recorded(Box::new(replay)),
            None => Origin::of_link(link, &terms)?,
        };
        let (is_here, knows_sender) = (matches!(origin, Origin::Here), origin.transmits());
        let mut planner = Planner::new(&scene, &bank, pixels);
        let mut given = origin.plans()?.into_iter();
        let mut note = None;
        let first = match given.next() {
            Some(plan) => plan,
            None => {
                let planned = planner.plan(0, 0)?;
                note = planned.reason.map(|reason| format!("starting all the same: {reason}"));
                planned.plan
            }
        };
        let plans = Arc::new(PlanBoard::new(first, 0));
        plans.publish(given.collect());
        let (events, telemetry) = Telemetry::new(EVENTS);
        let (feedback, fed_back) = Telemetry::new(EVENTS);
        let around = Around {
            plans: Arc::clone(&plans),
            clock: FrameClock::new(&scene),
            telemetry: events.clone(),
            feedback: feedback.clone(),
        };
        let folder = self.record.clone().or(self.replay.clone());
        let (companions, ends) = Companions::join(origin, link.map(|link| (link, terms)), recording, folder, around)?;
        let (pictures_out, received) = bounded(PICTURES);
        let world = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let frames = self.frames.or(if self.seconds.is_some() { None } else { graph.frames });
        let snapshots = Arc::new(Snapshots::new(self.snapshots));
        let mut context = Context {
            scene: Arc::clone(&scene),
            seed,
            frames,
            seconds: self.seconds,
            pace: self.pace,
            bank: Arc::clone(&bank),
            plans: Arc::clone(&plans),
            pictures: Arc::clone(&library) as _,
            probing_bits,
            received: pictures_out,
            telemetry: events.clone(),
            feedback,
            world: Arc::clone(&world),
            snapshots: Arc::clone(&snapshots),
            taps: HashMap::new(),
            ends,
            #[cfg(feature = "soapy")]
            radios: crate::frontend::Radios::new(self.radio.options(!self.checks_only)?),
        };
        let program = Program::load(&graph, &graph_name, table, &mut context)?;
        let radios = OpenRadios::of(&context);
        if has_stage(&graph, "echo-locator") {
            radios.check_sensing(!is_here)?;
        }
        let (session, fed_back) = if is_here {
            let session = Session::new(planner, Arc::clone(&plans), world, Arc::clone(&scene), fed_back);
            (Some(self.instruct(session, &graph, &graph_name, &companions)?), None)
        } else if self.at.is_empty() {
            (None, Some(fed_back))
        } else {
            return Err(Error::input("--at changes a transmitter; accepted: in the process that has one"));
        };
        Ok(Prepared {
            program,
            scene,
            bank,
            library,
            plans,
            session,
            fed_back,
            companions,
            knows_sender,
            telemetry,
            events,
            received,
            writer: None,
            frames,
            note,
            paced: self.pace.is_some(),
            snapshots,
            radios,
        })
    }

    /// What is sent, now or when a recording was made; a new recording begins with it.
    fn sent(&self, read: &mut Read, bank: &Arc<Bank>) -> Result<Sent> {
        let replayed = read.replay.as_ref().map(|replay| &replay.outcome);
        let seed = replayed.map_or(self.seed, |outcome| outcome.seed);
        let kept = |name: &str| self.replay.iter().map(|folder| folder.join(name)).collect::<Vec<_>>();
        let pictures = match replayed.is_some_and(|outcome| outcome.pictures) {
            true => load_pictures(&kept("pictures"))?,
            false => load_pictures(&self.pictures)?,
        };
        let probing = match replayed.is_some_and(|outcome| outcome.probing) {
            true => kept("probing.bits").pop(),
            false => self.probing.clone(),
        };
        let scene = read.scene.to_string();
        let subject = Subject {
            texts: [&read.text, &scene],
            seed,
            probing: probing.as_deref(),
            pictures: if self.pictures.is_empty() { &[] } else { &pictures },
        };
        let graph = &mut read.graph;
        let recording = self.record.as_ref().map(|folder| Recording::begin(folder, graph, &subject)).transpose()?;
        let total = self.repeat.map_or(u64::MAX, |rounds| rounds.saturating_mul(pictures.len() as u64));
        Ok(Sent {
            seed,
            pixels: pictures.iter().map(|picture| (picture.width() * picture.height()) as usize).max().unwrap_or(1),
            library: Arc::new(PictureLibrary::new(Arc::clone(bank), pictures, total)?),
            probing_bits: probing.as_deref().map(read_bits).transpose()?,
            recording,
        })
    }

    /// Tells the optimizer's thread what it has to do in this run.
    fn instruct(
        &self,
        mut session: Session,
        graph: &Flowgraph,
        name: &str,
        companions: &Companions,
    ) -> Result<Session> {
        // In real time a late plan is worse than one that is a little short of the optimum.
        session.limit_time(self.pace);
        session.scheduled = self.at.iter().map(|text| parse_at(text)).collect::<Result<_>>()?;
        for ((_, command), text) in session.scheduled.iter().zip(&self.at) {
            command.check_id(session.scene()).map_err(|error| error.within(format!("--at {text}")))?;
        }
        session.has_receiver = has_stage(graph, "frame-receiver") || companions.expects(Role::CommunicationReceiver);
        session.holds_beams = graph.hold_beams;
        if let Some(every_frames) = graph.follow_frames {
            if !has_stage(graph, "echo-locator") && !companions.expects(Role::SensingReceiver) {
                return Err(Error::input(format!(
                    "{name}: follow_frames needs a stage of kind `echo-locator`, or a sensing receiver in link.peers"
                )));
            }
            session.follow(every_frames);
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

    /// What the run is made of, with what `--set` changes.
    fn read(&self) -> Result<Read> {
        let settings = Setting::parse_all(&self.set)?;
        if let Some(folder) = &self.replay {
            Setting::refuse_flowgraph(&settings)?;
            let replay = Replay::read(folder)?;
            let (graph, mut scene, name) = (replay.graph.clone(), replay.scene.clone(), folder.display().to_string());
            Setting::apply_to_scene(&settings, &mut scene)?;
            return Ok(Read { graph, scene, name, text: String::new(), replay: Some(replay) });
        }
        let (text, name, folder) = shipped::flowgraph(&self.flowgraph)?;
        let mut table: toml::Table = crate::config::from_toml(&text, &name)?;
        Setting::apply_to_flowgraph(&settings, &mut table)?;
        // The text as it stands gives the better error lines.
        let text = if self.set.is_empty() { text } else { table.to_string() };
        let graph = Flowgraph::from_toml(&text, &name)?;
        let (scene_text, scene_name) = shipped::scene(&graph.scene, folder.as_deref())?;
        let mut scene = crate::config::from_toml(&scene_text, &scene_name)?;
        Setting::apply_to_scene(&settings, &mut scene)?;
        Ok(Read { graph, scene, name, text, replay: None })
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
}

/// What a run is made of.
struct Read {
    graph: Flowgraph,
    scene: toml::Table,
    /// The flowgraph's, for error lines.
    name: String,
    /// The flowgraph's.
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
    FrameClock::new(scene).check().map_err(|what| Error::input(format!("scene: {what}")))?;
    let most = crate::stream::MAX_SOUNDED_ANTENNAS;
    if scene.array.transmit_antennas > most {
        return wrong("array.transmit_antennas", scene.array.transmit_antennas, &format!("1 to {most}"));
    }
    Ok(())
}

fn read_bits(path: &Path) -> Result<Arc<[u8]>> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    if bytes.is_empty() {
        return Err(Error::file(path, "empty; accepted: a file of one byte or more"));
    }
    Ok(inputs::bits(&bytes).collect())
}
