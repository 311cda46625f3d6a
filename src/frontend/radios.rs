//! The radios of a run, opened at their first mention.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::air::Feeds;
use super::calibration::Calibrated;
use super::{Bands, Permission, Profile, Radio, lock, sink, source};
use crate::blocks::{Context, Kind, Make, Registry, WorldChanges};
use crate::exchange::FarTransmitter;
use crate::modem::frame::{HeaderHistory, HeaderLength};
use crate::scene::Scene;
use crate::stream::Telemetry;
use crate::{Error, Result};

/// What the command line says about radios.
#[derive(Debug, Clone, Default)]
pub struct RadioOptions {
    /// Whether anything may be transmitted.
    pub transmit: bool,
    /// The band file; the user's own where absent.
    pub bands: Option<PathBuf>,
    /// Device arguments beside the profile's.
    pub device: Option<String>,
    /// A process beside this one silences devices when this one dies.
    pub supervise: bool,
    /// What comes between a calibration and the run: a command, or - for a key at the terminal.
    pub then: Option<String>,
    /// What puts the reflector of a calibration by reference in its place, after what is there without it was measured.
    pub placing: Option<String>,
    /// What their channels are calibrated by.
    pub calibrated: Calibrated,
    /// Whether devices are opened; otherwise flowgraphs are only checked.
    pub opens: bool,
}

/// What a radio needs to know of the run around it.
#[derive(Clone)]
pub struct Surroundings {
    /// The scene: carrier, rate and arrays; the virtual radio's world.
    pub scene: Arc<Scene>,
    /// Seed of that world.
    pub seed: u64,
    /// Moves of its target.
    pub world: Arc<WorldChanges>,
    /// Takes its events.
    pub telemetry: Telemetry,
    /// The lengths that the headers of frames have.
    pub headers: Arc<HeaderHistory>,
    /// Rows of the world for second devices, once a first device has it.
    pub(super) feeds: Feeds,
    /// Whether the transmitter of this process has sent all.
    pub(super) all_sent: Arc<AtomicBool>,
    /// Set where directions are not to be trusted any more.
    pub(super) void: Arc<AtomicBool>,
    /// The transmitter, where it is in another process.
    pub(super) far: Option<Arc<FarTransmitter>>,
}

impl Surroundings {
    /// The surroundings of the radios of a run.
    pub fn new(scene: Arc<Scene>, seed: u64, world: Arc<WorldChanges>, telemetry: Telemetry) -> Self {
        let headers = HeaderHistory::new(HeaderLength::Short);
        Self {
            scene,
            seed,
            world,
            telemetry,
            headers,
            feeds: Feeds::default(),
            all_sent: Arc::default(),
            void: Arc::default(),
            far: None,
        }
    }
}

/// The radios that the stages of one run share.
pub type SharedRadios = Arc<Mutex<Radios>>;

/// The same kinds, of which those of radios open these.
pub fn with_radios(registry: Registry, radios: &SharedRadios) -> Registry {
    let plug = |registry: Registry, name: &str, make: Arc<Make>| match registry.get(name).cloned() {
        Some(kind) => registry.with(Kind { make, ..kind }),
        None => registry,
    };
    let (senders, receivers) = (Arc::clone(radios), Arc::clone(radios));
    let registry = plug(
        registry,
        "soapy-sink",
        Arc::new(move |context: &mut Context, keys| sink::make(&mut lock(&senders), context, keys)),
    );
    plug(
        registry,
        "soapy-source",
        Arc::new(move |context: &mut Context, keys| source::make(&mut lock(&receivers), context, keys)),
    )
}

/// The radios of a run, by profile.
#[derive(Default)]
pub struct Radios {
    options: RadioOptions,
    feeds: Feeds,
    all_sent: Arc<AtomicBool>,
    open: HashMap<String, Arc<Radio>>,
}

impl Radios {
    /// No radio yet.
    pub fn new(options: RadioOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Whether devices are opened at all.
    pub(super) fn opens(&self) -> bool {
        self.options.opens
    }

    /// All that were opened.
    pub fn opened(&self) -> Vec<Arc<Radio>> {
        self.open.values().cloned().collect()
    }

    /// The radio of a profile, opened at its first mention; `None` where nothing is to be opened.
    pub(super) fn get(&mut self, context: &Context, profile: &Profile) -> Result<Option<Arc<Radio>>> {
        if let Some(interval_s) = context.scene.waveform.frame_interval_s {
            return Err(Error::input(format!(
                "waveform.frame_interval_s = {interval_s:e}; accepted with a radio: none, its frames follow each other"
            )));
        }
        if !self.opens() {
            return Ok(None);
        }
        if let Some(radio) = self.open.get(&profile.name) {
            return Ok(Some(Arc::clone(radio)));
        }
        let around = Surroundings {
            scene: Arc::clone(&context.scene),
            seed: context.run.seed,
            world: Arc::clone(&context.world),
            telemetry: context.sinks.telemetry.without_control(),
            headers: Arc::clone(context.plans.headers()),
            feeds: Arc::clone(&self.feeds),
            all_sent: Arc::clone(&self.all_sent),
            void: Arc::clone(&context.ends.void),
            far: context.ends.far.clone(),
        };
        let radio = Arc::new(Radio::open(profile.clone(), &self.options, around)?);
        self.open.insert(profile.name.clone(), Arc::clone(&radio));
        Ok(Some(radio))
    }

    /// Whether the user and the band file let this profile transmit the scene.
    pub(super) fn permit(&self, context: &Context, profile: &Profile) -> Result<Permission> {
        let options = &self.options;
        if !options.transmit {
            return Err(Error::input(format!(
                "radio {} would transmit; accepted: only with --transmit, inside a band that you have allowed",
                profile.name
            )));
        }
        Bands::read(options.bands.as_deref())?.permit(profile, &context.scene)
    }
}
