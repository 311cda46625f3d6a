//! `issc run`: a flowgraph from its first frame to its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inputs;
use super::progress::Progress;
use super::radio::RadioArguments;
use super::serve::HttpArguments;
use crate::control::{parse_at, socket};
use crate::http::{self, Mode, Server, Service};
use crate::system::{Ended, Setting, Signals, System, SystemSpec, drawings, show};
use crate::{Error, Result};

/// Runs a flowgraph, the loopback by default, and reports what was sent, lost and found.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    system: SystemArguments,
    /// Listen for `issc set` and `issc status` at this socket.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Show the run in a browser, and answer for it over HTTP, at this address.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = http::ADDRESS)]
    http: Option<String>,
    #[command(flatten)]
    http_arguments: HttpArguments,
    /// Write pictures and plots to this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write what happens, a JSON object a line, to this file while it runs; - for the standard output.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Save the pictures that arrive: numbered files, e.g. seen.png, or a video, e.g. seen.mp4 (by `ffmpeg`).
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a system is made of.
#[derive(Debug, Clone, clap::Args)]
pub struct SystemArguments {
    /// A flowgraph file, or a shipped one.
    #[arg(default_value = "flowgraphs/loopback.toml")]
    flowgraph: String,
    /// Seconds of signal to send.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Frames to send.
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Signal time per wall-clock time to keep to: 1 = real time. As fast as it goes by default.
    #[arg(long, value_name = "FACTOR")]
    pace: Option<f64>,
    /// Pictures to send: files (JPEG, PNG, WebP, BMP, TIFF, the first frame of a GIF), folders or videos (by `ffmpeg`); the
    /// shipped ones by default. They are sent upright, transparent ones over white.
    #[arg(long = "picture", value_name = "PATH")]
    pictures: Vec<PathBuf>,
    /// Take pictures that are cut short as far as they go, and say so.
    #[arg(long)]
    lenient: bool,
    /// Send the list of pictures this often, all of it unless --frames or --seconds says less. By default a list with a
    /// video once, any other without end.
    #[arg(long, value_name = "N")]
    repeat: Option<u64>,
    /// Probing bits of the sensing stream: a file whose bits are sent over and over.
    #[arg(long, value_name = "FILE")]
    probing: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Changes a key before the start, e.g. scene.constraints.power_dbm=-30.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// A live command at a frame, e.g. 96:power_dbm=-3.
    #[arg(long = "at", value_name = "FRAME:KEY=VALUE")]
    at: Vec<String>,
    /// Record what the receivers hear, and all that a replay needs, in this new folder.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Run the receivers of a recording, on what they heard.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["record", "flowgraph"])]
    replay: Option<PathBuf>,
    /// What radios may do.
    #[command(flatten)]
    radio: RadioArguments,
}

impl SystemArguments {
    /// The system as these arguments have it.
    pub fn spec(self) -> Result<SystemSpec> {
        let mut spec = match self.replay {
            Some(folder) => SystemSpec::from_recording(folder),
            None => SystemSpec::from_flowgraph(self.flowgraph)?,
        };
        for text in &self.set {
            spec = spec.with(Setting::parse(text)?);
        }
        for text in &self.at {
            let (frame, command) = parse_at(text)?;
            spec = spec.at(frame, command);
        }
        spec = self.pictures.into_iter().fold(spec.seed(self.seed), SystemSpec::picture);
        if self.lenient {
            spec = spec.lenient();
        }
        if let Some(seconds) = self.seconds {
            spec = spec.seconds(seconds);
        }
        if let Some(frames) = self.frames {
            spec = spec.frames(frames);
        }
        if let Some(pace) = self.pace {
            spec = spec.pace(pace);
        }
        if let Some(rounds) = self.repeat {
            spec = spec.repeat(rounds);
        }
        if let Some(file) = self.probing {
            spec = spec.probing(file);
        }
        if let Some(folder) = self.record {
            spec = spec.record(folder);
        }
        Ok(spec.radios(self.radio.settings()))
    }
}

/// Runs `issc run`.
pub fn run(arguments: Arguments) -> Result<()> {
    // First of all: from the first instant on a signal ends the run in order.
    let signals = Signals::catch()?;
    let Arguments { system, control, http, http_arguments, out, events, received, json } = arguments;
    if json && events.as_deref().is_some_and(|file| file.as_os_str() == "-") {
        return Err(Error::input("--events - beside --json: one standard output; accepted: --events FILE"));
    }
    let paced = system.pace.is_some();
    let mut spec = system.spec()?.stopped_by(signals.stop.clone());
    if out.is_some() {
        spec = spec.snapshots();
    }
    if http.is_some() {
        spec = spec.watched();
    }
    if let Some(file) = events {
        spec = spec.events(file);
    }
    spec = received.into_iter().fold(spec, SystemSpec::received);
    let mut system = System::build(spec)?;
    for note in system.notes() {
        remark!("issc: {note}");
    }
    match control {
        Some(path) => system.listen(path),
        // Nobody asked for this socket: the run does without where it cannot have it.
        None if paced && system.takes_commands() => match socket::free_default_path() {
            Ok(path) => system.listen(path),
            Err(why) => remark!("issc: takes no live commands: {why}"),
        },
        None => {}
    }
    let (snapshots, scene, frames) = (Arc::clone(system.snapshots()), Arc::clone(system.scene()), system.frames());
    out.as_deref().map_or(Ok(()), inputs::make_folder)?;
    let service = Service::new(Mode::Guest);
    let address = http.or_else(|| system.http().map(str::to_owned));
    let server = address.map(|address| http_arguments.start(address, Arc::clone(&service))).transpose()?;
    let run = system.start()?;
    if server.is_some() {
        service.show(&run)?;
    }
    Progress::new(frames).show(&run);
    let Ended { report, shown, radios, failure, .. } = run.finish()?;
    drop::<Option<Server>>(server);
    show::infeasible(&report);
    let write = |folder: &Path| {
        drawings::write(folder, &scene, &report, shown.as_ref(), &snapshots).and_then(|()| radios.draw(folder))
    };
    let drawn = out.as_deref().map_or(Ok(()), write);
    if json {
        inputs::print_json(&report)?;
    } else {
        show::terminal(&report, shown.as_ref());
    }
    let ended = radios.finish().and(failure.map_or(Ok(()), Err));
    ended.as_ref().err().and(drawn.as_ref().err()).iter().for_each(|error| remark!("issc: {error}"));
    ended.and(drawn)
}
