//! What a system is made of, before anything is opened: flowgraph, scene, seed, pictures, changes, and what is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::radios::RadioSettings;
use super::shipped;
use crate::Result;
use crate::blocks::Kind;
use crate::blocks::snapshots::{Echo, Listener};
use crate::control::{Command, Optimizer, Planner, Setting};
use crate::runtime::StopSwitch;

/// Makes a run's optimizer from the shipped one, which knows the scene.
pub type MakeOptimizer = Arc<dyn Fn(Planner) -> Box<dyn Optimizer> + Send + Sync>;

/// A flowgraph as it was read.
#[derive(Debug, Clone)]
pub(super) struct GraphSource {
    /// Stands in error lines.
    pub name: String,
    /// The text as read.
    pub text: String,
    /// Where the scene is looked for.
    pub folder: Option<PathBuf>,
}

/// What the receivers hear.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A flowgraph that makes its own signal, or receives one.
    Flowgraph(Box<GraphSource>),
    /// A recording, played to the receivers of its flowgraph.
    Recording(PathBuf),
}

/// A system to be built: [`shipped`](Self::shipped) or [`from_flowgraph`](Self::from_flowgraph), changed by the methods
/// that follow.
///
/// ```
/// use issc::system::SystemSpec;
///
/// let spec = SystemSpec::shipped("loopback")?.frames(64).seed(7).set("scene.constraints.power_dbm", -3.0)?;
/// # Ok::<(), issc::Error>(())
/// ```
#[derive(Clone)]
pub struct SystemSpec {
    pub(super) source: Source,
    pub(super) seconds: Option<f64>,
    pub(super) frames: Option<u64>,
    pub(super) pace: Option<f64>,
    pub(super) pictures: Vec<PathBuf>,
    pub(super) lenient: bool,
    pub(super) repeat: Option<u64>,
    pub(super) probing: Option<PathBuf>,
    pub(super) seed: u64,
    pub(super) settings: Vec<Setting>,
    pub(super) schedule: Vec<(u64, Command)>,
    pub(super) record: Option<PathBuf>,
    pub(super) received: Option<PathBuf>,
    pub(super) events: Option<PathBuf>,
    pub(super) control: Option<PathBuf>,
    pub(super) radios: RadioSettings,
    pub(super) snapshots: bool,
    pub(super) watched: bool,
    pub(super) opens: bool,
    pub(super) kinds: Vec<Kind>,
    pub(super) optimizer: Option<MakeOptimizer>,
    pub(super) echo_listener: Option<Listener<Echo>>,
    pub(super) stop: StopSwitch,
}

impl SystemSpec {
    /// The shipped flowgraph of this name, e.g. `loopback`.
    pub fn shipped(name: &str) -> Result<Self> {
        let text = shipped::shipped_flowgraph(name)?;
        Self::of_text(text.to_owned(), name.to_owned(), None)
    }

    /// The flowgraph in this file; a shipped one where there is no such file.
    pub fn from_flowgraph(path: impl AsRef<Path>) -> Result<Self> {
        let (text, name, folder) = shipped::flowgraph(&path.as_ref().display().to_string())?;
        Self::of_text(text, name, folder)
    }

    /// The receivers of a recording that `record` made, on what they heard.
    pub fn from_recording(folder: impl Into<PathBuf>) -> Self {
        Self::of(Source::Recording(folder.into()))
    }

    fn of_text(text: String, name: String, folder: Option<PathBuf>) -> Result<Self> {
        Ok(Self::of(Source::Flowgraph(Box::new(GraphSource { name, text, folder }))))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            seconds: None,
            frames: None,
            pace: None,
            pictures: Vec::new(),
            lenient: false,
            repeat: None,
            probing: None,
            seed: 1,
            settings: Vec::new(),
            schedule: Vec::new(),
            record: None,
            received: None,
            events: None,
            control: None,
            radios: RadioSettings::default(),
            snapshots: false,
            watched: false,
            opens: true,
            kinds: Vec::new(),
            optimizer: None,
            echo_listener: None,
            stop: StopSwitch::default(),
        }
    }

    /// Ends after so many frames.
    pub fn frames(self, frames: u64) -> Self {
        Self { frames: Some(frames), ..self }
    }

    /// Ends after so many seconds of signal.
    pub fn seconds(self, seconds: f64) -> Self {
        Self { seconds: Some(seconds), ..self }
    }

    /// Seed of everything random; 1 where nothing is said.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Signal time per wall-clock time to keep to: 1 is real time. As fast as it goes where nothing is said.
    pub fn pace(self, pace: f64) -> Self {
        Self { pace: Some(pace), ..self }
    }

    /// Adds a picture to send, a folder of them or a video; the shipped pictures where there is none.
    pub fn picture(mut self, path: impl Into<PathBuf>) -> Self {
        self.pictures.push(path.into());
        self
    }

    /// Takes pictures that are cut short as far as they go, with a line in [`System::notes`](super::System::notes).
    pub fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// Sends the list of pictures so often, all of it unless [`frames`](Self::frames) or [`seconds`](Self::seconds) say
    /// less. Where nothing is said a list with a video is sent once, any other without end.
    pub fn repeat(self, rounds: u64) -> Self {
        Self { repeat: Some(rounds), ..self }
    }

    /// The sensing stream carries the bits of this file, over and over.
    pub fn probing(self, file: impl Into<PathBuf>) -> Self {
        Self { probing: Some(file.into()), ..self }
    }

    /// Changes a key of the flowgraph or of its scene ([`keys`](crate::control::keys) has them all), e.g.
    /// `scene.constraints.power_dbm`. An unknown key is refused with the nearest known one; what the value may be is
    /// checked by [`System::build`](super::System::build).
    pub fn set(self, key: &str, value: impl Into<toml::Value>) -> Result<Self> {
        Ok(self.with(Setting::new(key, value)?))
    }

    /// Makes a change that was parsed from a text.
    pub fn with(mut self, setting: Setting) -> Self {
        self.settings.push(setting);
        self
    }

    /// Gives a live command that takes effect exactly at this frame.
    pub fn at(mut self, frame: u64, command: Command) -> Self {
        self.schedule.push((frame, command));
        self
    }

    /// Records what the receivers hear, and all that a replay needs, in this new folder.
    pub fn record(self, folder: impl Into<PathBuf>) -> Self {
        Self { record: Some(folder.into()), ..self }
    }

    /// Saves the pictures that arrive: numbered files, e.g. `seen.png`, or a video, e.g. `seen.mp4` (by `ffmpeg`).
    pub fn received(self, file: impl Into<PathBuf>) -> Self {
        Self { received: Some(file.into()), ..self }
    }

    /// Writes every [`Event`](super::Event) to this file while the run goes on, one JSON object a line; `-` is the
    /// standard output.
    pub fn events(self, file: impl Into<PathBuf>) -> Self {
        Self { events: Some(file.into()), ..self }
    }

    /// Listens for `issc set` and `issc status` at this socket.
    pub fn control(self, socket: impl Into<PathBuf>) -> Self {
        Self { control: Some(socket.into()), ..self }
    }

    /// What radios may do.
    pub fn radios(self, radios: RadioSettings) -> Self {
        Self { radios, ..self }
    }

    /// Keeps recent frames for drawings.
    pub fn snapshots(self) -> Self {
        Self { snapshots: true, ..self }
    }

    /// Lets [`Watch`](super::Watch) show what receivers hear and make of it. It costs memory, and time only where somebody
    /// looks.
    pub fn watched(self) -> Self {
        Self { watched: true, ..self }
    }

    /// Opens no device and no recording: the flowgraph is only checked.
    pub fn check_only(self) -> Self {
        Self { opens: false, ..self }
    }

    /// Adds a kind of block of one's own, which flowgraphs then name like a shipped one.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Lets an optimizer of one's own make the plans. `make` is given the shipped one, which knows the scene.
    pub fn optimizer(self, make: impl Fn(Planner) -> Box<dyn Optimizer> + Send + Sync + 'static) -> Self {
        Self { optimizer: Some(Arc::new(make)), ..self }
    }

    /// Shows `listener` every frame's echo at the first sensing receiver, with the streams and beams that made it and what
    /// the shipped estimator found, so that an estimator of one's own can work beside it. The run waits for it.
    pub fn echo_listener(self, listener: impl Fn(u64, &Echo) + Send + Sync + 'static) -> Self {
        Self { echo_listener: Some(Arc::new(listener)), ..self }
    }

    /// Ends with this switch as well, e.g. one that a signal handler pulls.
    pub fn stopped_by(self, stop: StopSwitch) -> Self {
        Self { stop, ..self }
    }
}
