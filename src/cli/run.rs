//! `issc run`: a flowgraph from its first frame to its report.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::radio::{OpenRadios, RadioArguments};
use super::{drawings, inputs, shipped, show};
use crate::blocks::snapshots::Snapshots;
use crate::blocks::{Context, Kind, ReceivedPicture, TABLE};
use crate::control::{
    Collector, Command, DECISION_FRAMES, PictureLibrary, PictureWriter, Planner, Report, Session, Shown, load_pictures,
    parse_at,
    socket::{self, ControlSocket},
};
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
    /// What radios may do.
    #[command(flatten)]
    pub radio: RadioArguments,
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
    session: Session,
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
        let (graph, mut scene, graph_name, scene_sets) = self.read()?;
        for (path, value) in scene_sets {
            set_key(&mut scene, &path, value)?;
        }
        let scene = Arc::new(Scene::from_toml(&scene.to_string(), &graph.scene)?);
        check_scene(&scene)?;
        let bank = Bank::shipped();
        let pictures = load_pictures(&self.pictures)?;
        let pixels = pictures.iter().map(|picture| (picture.width() * picture.height()) as usize).max().unwrap_or(1);
        let total = self.repeat.map_or(u64::MAX, |rounds| rounds.saturating_mul(pictures.len() as u64));
        let library = Arc::new(PictureLibrary::new(Arc::clone(&bank), pictures, total)?);
        let mut planner = Planner::new(&scene, &bank, pixels);
        let first = planner.plan(0, 0)?;
        let note = first.reason.map(|reason| format!("starting all the same: {reason}"));
        let plans = Arc::new(PlanBoard::new(first.plan, 0));
        let (events, telemetry) = Telemetry::new(EVENTS);
        let (feedback, fed_back) = Telemetry::new(EVENTS);
        let (pictures_out, received) = bounded(PICTURES);
        let world = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let frames = self.frames.or(if self.seconds.is_some() { None } else { graph.frames });
        let snapshots = Arc::new(Snapshots::new(self.snapshots));
        let mut context = Context {
            scene: Arc::clone(&scene),
            seed: self.seed,
            frames,
            seconds: self.seconds,
            pace: self.pace,
            bank: Arc::clone(&bank),
            plans: Arc::clone(&plans),
            pictures: Arc::clone(&library) as _,
            probing_bits: self.probing.as_deref().map(read_bits).transpose()?,
            received: pictures_out,
            telemetry: events.clone(),
            feedback,
            world: Arc::clone(&world),
            snapshots: Arc::clone(&snapshots),
            taps: HashMap::new(),
            #[cfg(feature = "soapy")]
            radios: crate::frontend::Radios::new(self.radio.options()?),
        };
        let program = Program::load(&graph, &graph_name, table, &mut context)?;
        let kinds = || graph.chains.iter().flat_map(|chain| &chain.stages).map(|stage| stage.kind.as_str());
        let radios = OpenRadios::of(&context);
        if kinds().any(|kind| kind == "echo-locator") {
            radios.check_sensing()?;
        }
        let scheduled = self.at.iter().map(|text| parse_at(text)).collect::<Result<Vec<(u64, Command)>>>()?;
        // In real time a late plan is worse than one that is a little short of the optimum.
        planner.time_limit = self.pace.map(|pace| {
            let clock = FrameClock::new(&scene);
            Duration::from_secs_f64(clock.start_s(DECISION_FRAMES) / 2.0 / pace)
        });
        let mut session = Session::new(planner, Arc::clone(&plans), world, Arc::clone(&scene), fed_back);
        session.scheduled = scheduled;
        session.has_receiver = kinds().any(|kind| kind == "frame-receiver");
        if let Some(every_frames) = graph.follow_frames {
            if !kinds().any(|kind| kind == "echo-locator") {
                return Err(Error::input(format!("{graph_name}: follow_frames needs a stage of kind `echo-locator`")));
            }
            session.follow(every_frames);
        }
        Ok(Prepared {
            program,
            scene,
            bank,
            library,
            plans,
            session,
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

    /// The flowgraph, its scene as a table, the flowgraph's name for errors, and what `--set` changes in the scene.
    fn read(&self) -> Result<(Flowgraph, toml::Table, String, SceneSets)> {
        let (text, name, folder) = shipped::flowgraph(&self.flowgraph)?;
        let mut table: toml::Table = crate::config::from_toml(&text, &name)?;
        let sets = apply_sets(&self.set, &mut table)?;
        // The text as it stands gives the better error lines.
        let text = if self.set.is_empty() { text } else { table.to_string() };
        let graph = Flowgraph::from_toml(&text, &name)?;
        let (scene_text, scene_name) = shipped::scene(&graph.scene, folder.as_deref())?;
        Ok((graph, crate::config::from_toml(&scene_text, &scene_name)?, name, sets))
    }
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
    let listens = arguments.control.is_some() || prepared.paced;
    let _socket = if listens {
        let (requests, live) = unbounded();
        prepared.session.live = Some(live);
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
}

impl Prepared {
    /// Runs to the end and makes the report.
    pub fn go(self, stop: &StopSwitch) -> Result<Ended> {
        let Self { program, scene, bank, library, plans, session, telemetry, events, received, radios, .. } = self;
        let (frames, mut writer, mut written) = (self.frames, self.writer, Ok(()));
        let mut collector = Collector::new(scene, library, plans);
        let started = Instant::now();
        let (busy, log, took) = thread::scope(|scope| {
            let optimizer = thread::Builder::new().name("optimizer".into()).spawn_scoped(scope, || session.run());
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
            collect(&mut collector, &telemetry, &received, &mut write, frames, || {
                if radios.failed() {
                    stop.pull();
                }
                chains.as_ref().map_or(true, thread::ScopedJoinHandle::is_finished)
            });
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
        let shown = collector.shown.take();
        Ok(Ended { report: collector.report(&bank, log, took), shown, busy })
    }
}

/// Feeds the collector until the chains are done and nothing is left.
fn collect(
    collector: &mut Collector,
    telemetry: &Receiver<Event>,
    received: &Receiver<ReceivedPicture>,
    write: &mut impl FnMut(&RgbImage),
    frames: Option<u64>,
    done: impl Fn() -> bool,
) {
    let bar = ProgressBar::with_draw_target(frames, ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames {elapsed}") {
        bar.set_style(style);
    }
    loop {
        let finished = done();
        match telemetry.recv_timeout(Duration::from_millis(20)) {
            Ok(event) => {
                collector.event(&event);
                telemetry.try_iter().for_each(|event| collector.event(&event));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        while let Ok(picture) = received.try_recv() {
            telemetry.try_iter().for_each(|event| collector.event(&event));
            if let Some(image) = &picture.image {
                write(image);
            }
            collector.picture(picture);
        }
        bar.set_position(collector.frames_sent());
        if finished && telemetry.is_empty() && received.is_empty() {
            bar.finish_and_clear();
            return;
        }
    }
}
