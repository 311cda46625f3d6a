//! `issc run`: a flowgraph from its first frame to its report.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded, unbounded};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::companions::{Around, Companions, Origin};
use super::radio::{OpenRadios, RadioArguments};
use super::recording::{Recording, Replay, Subject};
use super::{drawings, inputs, shipped, show};
use crate::blocks::snapshots::Snapshots;
use crate::blocks::{Context, Kind, ReceivedPicture, TABLE};
use crate::control::{
    Collector, Command, DECISION_FRAMES, PictureLibrary, PictureWriter, Planner, Report, Session, SessionLog, Shown,
    load_pictures, parse_at,
    socket::{self, ControlSocket},
};
use crate::exchange::{Role, Terms};
use crate::modem::frame::FrameClock;
use crate::runtime::{Busy, Flowgraph, Program, StopSwitch};
use crate::scene::Scene;
use crate::semantic::Bank;
use crate::stream::{Event, PlanBoard, Telemetry};
use crate::{Error, Result};

/// Room for events between the chains and the report.
const EVENTS: usize = 1 << 15;

/// Pictures received that may wait for the report.
const PICTURES: usize = 64;

/// Pace of a video of received pictures.
const PICTURES_PER_S: f64 = 25.0;

/// Runs a flowgraph, the loopback by default, and reports what was sent, lost and found.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: RunOptions,
    /// Listen for `issc set` at this socket.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Write pictures and plots to this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Save the pictures that arrive: numbered files, e.g. seen.png, or a video, e.g. seen.mp4 (by `ffmpeg`).
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

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
    /// Changes a key before the start, e.g. scene.constraints.power_dbm=-30.
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
    scene: Arc<Scene>,
    bank: Arc<Bank>,
    library: Arc<PictureLibrary>,
    plans: Arc<PlanBoard>,
    /// The optimizer's, where the transmitter is here.
    session: Option<Session>,
    /// What it would hear, where it is not.
    fed_back: Option<Receiver<Event>>,
    companions: Companions,
    knows_sender: bool,
    telemetry: Receiver<Event>,
    events: Telemetry,
    received: Receiver<ReceivedPicture>,
    writer: Option<PictureWriter>,
    frames: Option<u64>,
    note: Option<String>,
    paced: bool,
    snapshots: Arc<Snapshots>,
    radios: OpenRadios,
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
        let Read { mut graph, scene, name: graph_name, text, replay } = self.read()?;
        let scene_text = scene.to_string();
        let scene = Arc::new(Scene::from_toml(&scene_text, &graph.scene)?);
        check_scene(&scene)?;
        let bank = Bank::shipped();
        let replayed = replay.as_ref().map(|replay| &replay.outcome);
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
        let subject = Subject {
            texts: [&text, &scene_text],
            seed,
            probing: probing.as_deref(),
            pictures: if self.pictures.is_empty() { &[] } else { &pictures },
        };
        let begin = |folder: &PathBuf| Recording::begin(folder, &mut graph, &subject);
        let recording = self.record.as_ref().map(begin).transpose()?;
        let pixels = pictures.iter().map(|picture| (picture.width() * picture.height()) as usize).max().unwrap_or(1);
        let total = self.repeat.map_or(u64::MAX, |rounds| rounds.saturating_mul(pictures.len() as u64));
        let library = Arc::new(PictureLibrary::new(Arc::clone(&bank), pictures, total)?);
        let probing_bits = probing.as_deref().map(read_bits).transpose()?;
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
        let (companions, ends) = Companions::join(origin, link.map(|link| (link, terms)), recording, folder, &around)?;
        drop(around);
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
        let has = |kind: &str| graph.chains.iter().flat_map(|chain| &chain.stages).any(|stage| stage.kind == kind);
        let radios = OpenRadios::of(&context);
        if has("echo-locator") {
            radios.check_sensing(!is_here)?;
        }
        let scheduled = self.at.iter().map(|text| parse_at(text)).collect::<Result<Vec<(u64, Command)>>>()?;
        let (mut session, mut not_fed_back) = (None, None);
        if is_here {
            // In real time a late plan is worse than one that is a little short of the optimum.
            planner.time_limit = self.pace.map(|pace| {
                let clock = FrameClock::new(&scene);
                Duration::from_secs_f64(clock.start_s(DECISION_FRAMES) / 2.0 / pace)
            });
            let mut made = Session::new(planner, Arc::clone(&plans), world, Arc::clone(&scene), fed_back);
            made.scheduled = scheduled;
            made.has_receiver = has("frame-receiver") || companions.expects(Role::CommunicationReceiver);
            if let Some(every_frames) = graph.follow_frames {
                if !has("echo-locator") && !companions.expects(Role::SensingReceiver) {
                    return Err(Error::input(format!(
                        "{graph_name}: follow_frames needs a stage of kind `echo-locator`, or a sensing receiver in link.peers"
                    )));
                }
                made.follow(every_frames);
            }
            session = Some(made);
        } else if scheduled.is_empty() {
            not_fed_back = Some(fed_back);
        } else {
            return Err(Error::input("--at changes a transmitter; accepted: in the process that has one"));
        }
        Ok(Prepared {
            program,
            scene,
            bank,
            library,
            plans,
            session,
            fed_back: not_fed_back,
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
        if let Some(folder) = &self.replay {
            let replay = Replay::read(folder)?;
            let (graph, mut scene, name) = (replay.graph.clone(), replay.scene.clone(), folder.display().to_string());
            for (path, value) in apply_sets(&self.set, &mut toml::Table::new())? {
                set_key(&mut scene, &path, value)?;
            }
            return Ok(Read { graph, scene, name, text: String::new(), replay: Some(replay) });
        }
        let (text, name, folder) = shipped::flowgraph(&self.flowgraph)?;
        let mut table: toml::Table = crate::config::from_toml(&text, &name)?;
        let sets = apply_sets(&self.set, &mut table)?;
        // The text as it stands gives the better error lines.
        let text = if self.set.is_empty() { text } else { table.to_string() };
        let graph = Flowgraph::from_toml(&text, &name)?;
        let (scene_text, scene_name) = shipped::scene(&graph.scene, folder.as_deref())?;
        let mut scene = crate::config::from_toml(&scene_text, &scene_name)?;
        for (path, value) in sets {
            set_key(&mut scene, &path, value)?;
        }
        Ok(Read { graph, scene, name, text, replay: None })
    }
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

/// Keys of the scene that `--set` changes.
type SceneSets = Vec<(String, toml::Value)>;

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
    if waveform.samples_per_symbol < 2 {
        return wrong("waveform.samples_per_symbol", waveform.samples_per_symbol, "2 or more");
    }
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

/// Applies `--set` to the flowgraph; what begins with `scene.` is returned for the scene.
fn apply_sets(sets: &[String], graph: &mut toml::Table) -> Result<SceneSets> {
    let mut scene = Vec::new();
    for set in sets {
        let (path, text) = set.split_once('=').ok_or_else(|| {
            Error::input(format!("--set {set}: accepted: PATH=VALUE, e.g. scene.constraints.power_dbm=-30"))
        })?;
        let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(text.to_owned()));
        match path.strip_prefix("scene.") {
            Some(path) => scene.push((path.to_owned(), value)),
            None => set_key(graph, path, value)?,
        }
    }
    Ok(scene)
}

fn set_key(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<()> {
    match path.split_once('.') {
        None => {
            // A whole number is a good value where a fraction stood.
            let value = match (table.get(path), value) {
                (Some(toml::Value::Float(_)), toml::Value::Integer(whole)) => toml::Value::Float(whole as f64),
                (_, value) => value,
            };
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => {
            let entry = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match entry {
                toml::Value::Table(inner) => set_key(inner, rest, value),
                _ => Err(Error::input(format!("--set {path}: `{first}` is no table; accepted: keys of the file"))),
            }
        }
    }
}

/// Runs `issc run`.
pub fn run(arguments: Arguments) -> Result<()> {
    let snapshots = arguments.out.is_some();
    let mut prepared = RunOptions { snapshots, ..arguments.options }.prepare()?;
    let writer = |file: &PathBuf| PictureWriter::create(file, false, PICTURES_PER_S);
    prepared.writer = arguments.received.as_ref().map(writer).transpose()?;
    if let Some(note) = &prepared.note {
        eprintln!("issc: {note}");
    }
    let stop = StopSwitch::default();
    catch_signals(&stop, &prepared.radios)?;
    let listens = prepared.session.is_some() && (arguments.control.is_some() || prepared.paced);
    let _socket = if listens {
        let (requests, live) = unbounded();
        if let Some(session) = &mut prepared.session {
            session.live = Some(live);
        }
        let path = arguments.control.clone().unwrap_or_else(socket::default_path);
        Some(ControlSocket::listen(&path, requests)?)
    } else {
        None
    };
    let (snapshots, scene) = (Arc::clone(&prepared.snapshots), Arc::clone(&prepared.scene));
    let radios = prepared.radios.clone();
    let Ended { report, shown, .. } = prepared.go(&stop)?;
    for retune in report.retunes.iter().filter(|retune| !retune.feasible) {
        let reason = retune.reason.as_deref().unwrap_or("not feasible");
        eprintln!("issc: frame {}: {} kept as it was: {reason}", retune.frame, retune.cause);
    }
    if let Some(follow) = report.follow.as_ref().filter(|follow| follow.infeasible > 0) {
        let reason = follow.reason.as_deref().unwrap_or("not feasible");
        eprintln!(
            "issc: {} of {} plans after the track kept as they were: {reason}",
            follow.infeasible, follow.retunes
        );
    }
    if let Some(folder) = &arguments.out {
        show::write_pictures(folder, shown.as_ref())?;
        drawings::write(folder, &scene, &report, &snapshots)?;
    }
    if arguments.json {
        inputs::print_json(&report)?;
    } else {
        show::terminal(&report, shown.as_ref());
    }
    radios.finish()
}

/// First signal: drain; second: leave at once.
fn catch_signals(stop: &StopSwitch, radios: &OpenRadios) -> Result<()> {
    let (stop, radios) = (stop.clone(), radios.clone());
    ctrlc::set_handler(move || {
        if stop.is_pulled() {
            radios.cut();
            std::process::exit(130);
        }
        eprintln!("issc: stopping; once more to leave at once");
        stop.pull();
    })
    .map_err(|error| Error::failure(format!("no signal handler: {error}")))
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
}

impl Prepared {
    /// Runs to the end and makes the report.
    pub fn go(self, stop: &StopSwitch) -> Result<Ended> {
        let Self { program, scene, bank, library, plans, session, telemetry, events, received, radios, .. } = self;
        let (frames, mut writer, mut written) = (self.frames, self.writer, Ok(()));
        let mut companions = self.companions;
        let mut collector = Collector::new(scene, library, Arc::clone(&plans));
        collector.knows_sender = self.knows_sender;
        companions.begin(&mut collector, self.fed_back, stop)?;
        let started = Instant::now();
        let (busy, log, took) = thread::scope(|scope| {
            let optimize = || session.map_or_else(SessionLog::default, Session::run);
            let optimizer = thread::Builder::new().name("optimizer".into()).spawn_scoped(scope, optimize);
            let chains = thread::Builder::new().name("chains".into()).spawn_scoped(scope, || {
                let busy = program.run(stop);
                (busy, started.elapsed())
            });
            let mut write = |image: &RgbImage| {
                // After a failure the run goes on without the file: its chains wait for somebody to take their pictures.
                if let (Some(writer), Ok(())) = (&mut writer, &written) {
                    written = writer.put(image);
                }
            };
            let heard = Heard { telemetry: &telemetry, received: &received, frames };
            heard.collect(&mut collector, &mut companions, &mut write, |companions| {
                if radios.failed() || companions.failed() {
                    stop.pull();
                }
                let ended = chains.as_ref().map_or(true, thread::ScopedJoinHandle::is_finished);
                ended && (companions.have_finished() || stop.is_pulled())
            });
            companions.leave();
            let gone = |name: &str| Error::failure(format!("the {name} thread panicked"));
            let (busy, took) = chains
                .map_err(|error| Error::failure(format!("no thread: {error}")))?
                .join()
                .map_err(|_| gone("chains"))?;
            let log = optimizer
                .map_err(|error| Error::failure(format!("no thread: {error}")))?
                .join()
                .map_err(|_| gone("optimizer"))?;
            Ok::<_, Error>((busy, log, took))
        })?;
        let busy = busy?;
        written?;
        writer.map_or(Ok(()), PictureWriter::finish)?;
        if events.dropped() > 0 {
            eprintln!("issc: {} events found no room: the report lacks them", events.dropped());
        }
        let log = companions.finish(log, &plans)?;
        let shown = collector.shown.take();
        Ok(Ended { report: collector.report(&bank, log, took), shown, busy, radios })
    }
}

/// What a run has to tell while it goes on.
struct Heard<'a> {
    telemetry: &'a Receiver<Event>,
    received: &'a Receiver<ReceivedPicture>,
    /// Frames to come.
    frames: Option<u64>,
}

impl Heard<'_> {
    /// Feeds the collector, and passes on what companions have to know, until the run is done and nothing is left.
    fn collect(
        &self,
        collector: &mut Collector,
        companions: &mut Companions,
        write: &mut impl FnMut(&RgbImage),
        done: impl Fn(&mut Companions) -> bool,
    ) {
        let bar = ProgressBar::with_draw_target(self.frames, ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames {elapsed}") {
            bar.set_style(style);
        }
        loop {
            let finished = done(companions);
            if let Ok(event) = self.telemetry.recv_timeout(Duration::from_millis(20)) {
                take(collector, companions, &event);
                self.take_all(collector, companions);
            }
            while let Ok(picture) = self.received.try_recv() {
                self.take_all(collector, companions);
                if let Some(image) = &picture.image {
                    write(image);
                }
                companions.tell_picture(&picture);
                collector.picture(picture);
            }
            while let Some(picture) = companions.far_picture() {
                self.take_all(collector, companions);
                collector.far_picture(&picture);
            }
            bar.set_position(collector.frames_sent());
            if finished && self.telemetry.is_empty() && self.received.is_empty() {
                bar.finish_and_clear();
                return;
            }
        }
    }

    /// Events are older than the pictures that came of them.
    fn take_all(&self, collector: &mut Collector, companions: &mut Companions) {
        self.telemetry.try_iter().for_each(|event| take(collector, companions, &event));
    }
}

fn take(collector: &mut Collector, companions: &mut Companions, event: &Event) {
    companions.tell(event);
    collector.event(event);
}
