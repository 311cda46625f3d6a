//! The scene's simulated world as the air of the virtual radio. It is a simulation's own knowledge which frame is on the
//! air, as in the loopback; the receivers get samples of the device and nothing else.
//!
//! `reflector=@FILE` leaves the first target away until that file is there.
//!
//! Device arguments beside the driver's: `air=world` is the scene's world for the first device of a run, and one row of
//! it, `world_row`, for a second one, on a clock that is `clock_ppm` fast. With `share=ADDRESS` other processes hear the
//! world too: theirs say `air=world@ADDRESS`, with `world_row` the first of their rows; on the world's own clock, or with
//! `clock_ppm` one row on another.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use num_complex::Complex32;

use super::calibration::{Calibrated, Mode};
use super::feed::Feed;
use super::second_clock::SecondClock;
use super::shared_air::{self, FeedAir, SharedAir};
use super::{Profile, Surroundings, lock, scale_row, sqrt_w};
use crate::blocks::FIRST_SAMPLE;
use crate::blocks::simulated_air::LiveWorld;
use crate::modem::frame::FrameClock;
use crate::scene::Scene;
use crate::{Error, Result};

/// Most samples that the world is given at once.
const CHUNK: usize = 4096;

/// Rows of a world that other devices hear; `None` while there is no world.
pub(super) type Feeds = Arc<Mutex<Option<Vec<Arc<Feed>>>>>;

/// An air that was put in place for a device.
#[derive(Default)]
pub(super) struct InstalledAir {
    /// What the device hears of a world that is not its own.
    pub(super) feed: Option<Arc<Feed>>,
    /// The device's own world, for other processes.
    pub(super) shared: Option<SharedAir>,
    /// A combiner is in its place until the channels are calibrated.
    pub(super) cabled: bool,
    /// The air, as long as the device is open.
    pub(super) installation: Option<virtual_radio::Installed>,
}

/// A device's arguments by name.
struct Arguments<'a>(&'a str);

impl Arguments<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.split(',').rev().find_map(|item| item.trim().strip_prefix(key)?.strip_prefix('='))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        let wrong = |text| Error::input(format!("device argument {key}={text}; accepted: a number"));
        self.text(key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }
}

/// Puts the air of a device's arguments in place; the arguments then name it.
pub(super) fn install(
    args: &mut String,
    around: &Surroundings,
    profile: &Profile,
    origin: &Arc<AtomicI64>,
    calibrated: &Calibrated,
) -> Result<InstalledAir> {
    let arguments = Arguments(args);
    let air = arguments.text("air").unwrap_or_default();
    let Some(elsewhere) = air.strip_prefix("world") else { return Ok(InstalledAir::default()) };
    let scene = &around.scene;
    let first_row = arguments.number("world_row")?;
    let clock_ppm = arguments.number("clock_ppm")?;
    let rows = if clock_ppm.is_some() { 1 } else { profile.rx.channels.len() };
    // Somebody has to lay the cables of a calibration through cables, and take them away again.
    let cabled = matches!(calibrated, Calibrated::AtStart(Mode::Cable)) && arguments.text("combiner").is_none();
    let mut installed = InstalledAir { cabled, ..InstalledAir::default() };
    let scale = 1.0 / sqrt_w(profile.rx.full_scale_dbm);
    // In real time the world waits for nobody, as a real one.
    let waits = arguments.text("pace") != Some("wall");
    installed.feed = match elsewhere.strip_prefix('@') {
        Some(address) => Some(shared_air::attach(address, first_row.unwrap_or(0), rows, scene, waits)?),
        None => neighbour(around, first_row.unwrap_or(0), profile, waits)?,
    };
    let air: Box<dyn virtual_radio::Air> = match (&installed.feed, clock_ppm) {
        (None, _) => {
            if let Some(address) = arguments.text("share") {
                installed.shared = Some(SharedAir::listen(address, scene, &around.feeds, waits)?);
            }
            let absent = arguments.text("reflector").and_then(|text| text.strip_prefix('@')).map(PathBuf::from);
            Box::new(WorldAir::new(around, profile, Arc::clone(origin), absent)?)
        }
        (Some(feed), Some(ppm)) => second_clock(Arc::clone(feed), ppm, scene, scale),
        (Some(feed), None) if elsewhere.is_empty() => second_clock(Arc::clone(feed), 0.0, scene, scale),
        (Some(feed), None) => Box::new(FeedAir { feed: Arc::clone(feed), scale }),
    };
    // A name of its own: two runs in one process must not share a world.
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let name = format!("world-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let asked = format!("air=world{elsewhere}");
    *args = args.replace(&asked, &format!("air={name}"));
    if installed.cabled {
        args.push_str(",combiner=cable");
    }
    if installed.feed.is_some() {
        args.push_str(",air_skips=1");
    }
    installed.installation = Some(virtual_radio::Installed::new(&name, air));
    Ok(installed)
}

fn second_clock(feed: Arc<Feed>, ppm: f64, scene: &Scene, scale: f32) -> Box<dyn virtual_radio::Air> {
    Box::new(SecondClock::new(feed, ppm, scene.waveform.carrier_hz, scene.sample_rate_hz(), scale))
}

/// A row of the world of another device of this run, where there is one.
fn neighbour(around: &Surroundings, row: usize, profile: &Profile, waits: bool) -> Result<Option<Arc<Feed>>> {
    let mut feeds = lock(&around.feeds);
    let Some(feeds) = feeds.as_mut() else {
        *feeds = Some(Vec::new());
        return Ok(None);
    };
    if row >= around.scene.receiving_antennas() {
        return Err(Error::input(format!("radio {}: world_row = {row}; accepted: a row of the world", profile.name)));
    }
    let feed = Arc::new(Feed::new(row..row + 1, waits));
    feeds.push(Arc::clone(&feed));
    Ok(Some(feed))
}

/// Reflection of a target that is not there.
const NOTHING: f64 = 1e-30;

/// A file, and the world from the moment that it is there.
type Later = Option<(PathBuf, LiveWorld)>;

pub(super) struct WorldAir {
    live: LiveWorld,
    later: Later,
    clock: FrameClock,
    /// Sample 0 of the transmitter's stream by the air's own time, once it is known.
    origin: Arc<AtomicI64>,
    /// Number of the next frame, and its first sample in the stream.
    next: (u64, i64),
    /// Full scale in √W, transmitted and received.
    sent_scale: f32,
    received_scale: f32,
    rows: Vec<Vec<Complex32>>,
    /// Rows that second devices hear too.
    feeds: Feeds,
}

impl WorldAir {
    pub(super) fn new(
        around: &Surroundings,
        profile: &Profile,
        origin: Arc<AtomicI64>,
        absent: Option<PathBuf>,
    ) -> Result<Self> {
        let array = &around.scene.array;
        let (antennas, rows) = (array.transmit_antennas, around.scene.receiving_antennas());
        let received = profile.rx.channels.len();
        if profile.tx.channels.len() != antennas || ![0, rows].contains(&received) {
            return Err(Error::input(format!(
                "radio {}: {} TX and {} RX channels; accepted with this scene and air=world: {antennas} and {rows} \
                 (array.transmit_antennas, all antennas that receive)",
                profile.name,
                profile.tx.channels.len(),
                profile.rx.channels.len()
            )));
        }
        let clock = FrameClock::new(&around.scene, &around.headers);
        let world =
            || LiveWorld::new(&around.scene, clock.clone(), around.seed, CHUNK, &around.world, &around.telemetry);
        let mut live = world()?;
        let mut later: Later = absent.map(|file| world().map(|live| (file, live))).transpose()?;
        if let Some((_, later)) = &mut later {
            live.world.set_reflection(0, NOTHING);
            later.world.begin_frame(u64::MAX, 0, 0.0);
        }
        // What is sent before the first frame has an echo too.
        live.world.begin_frame(u64::MAX, 0, 0.0);
        Ok(Self {
            later,
            live,
            clock,
            origin,
            next: (0, FIRST_SAMPLE as i64),
            sent_scale: sqrt_w(profile.tx.full_scale_dbm),
            received_scale: 1.0 / sqrt_w(profile.rx.full_scale_dbm),
            rows: vec![vec![Complex32::default(); CHUNK]; antennas],
            feeds: Arc::clone(&around.feeds),
        })
    }

    /// Begins the frames that are due at stream sample `time`; the sample at which the next one is.
    fn begin_frames(&mut self, time: i64) -> i64 {
        while self.next.1 <= time {
            let (number, start) = self.next;
            self.live.begin_frame(number, start as u64);
            let next = FIRST_SAMPLE + self.clock.start_sample(number + 1);
            self.next = (number + 1, next as i64);
        }
        self.next.1
    }
}

impl virtual_radio::Air for WorldAir {
    fn propagate(&mut self, tick: i64, sent: &[&[Complex32]], received: &mut [&mut [Complex32]]) -> bool {
        let length = sent.first().map_or(0, |row| row.len());
        if let Some((_, later)) = self.later.take_if(|(file, _)| file.exists()) {
            self.live = later;
        }
        let origin = self.origin.load(Ordering::SeqCst);
        let mut from = 0;
        while from < length {
            // Before the start there is no frame, only silence.
            let time = if origin == i64::MIN { 0 } else { (tick - origin + from as i64).max(0) };
            let next = if origin == i64::MIN { i64::MAX } else { self.begin_frames(time) };
            let count = (length - from).min(CHUNK).min(usize::try_from(next - time).unwrap_or(usize::MAX));
            for (row, antenna) in self.rows.iter_mut().zip(sent) {
                row[..count].copy_from_slice(&antenna[from..from + count]);
                scale_row(&mut row[..count], self.sent_scale.into());
            }
            let antennas = self.rows.iter().map(|row| &row[..count]);
            let rows = received.iter_mut().map(|row| &mut row[from..from + count]);
            self.live.world.receive(time as u64, antennas, count, rows);
            let heard: Vec<_> = lock(&self.feeds).iter().flatten().cloned().collect();
            for feed in heard {
                let rows = received[feed.rows.clone()].iter().map(|row| &row[from..from + count]);
                if !feed.push(tick + from as i64, rows) {
                    lock(&self.feeds).iter_mut().for_each(|feeds| feeds.retain(|other| !Arc::ptr_eq(other, &feed)));
                }
            }
            received.iter_mut().for_each(|row| scale_row(&mut row[from..from + count], self.received_scale.into()));
            from += count;
        }
        true
    }
}
