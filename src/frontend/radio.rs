//! One open radio, shared by the blocks at its two ends: started in order, stopped in silence.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use num_complex::Complex32;

use super::air::WorldAir;
use super::calibrate::{self, Binding, Calibrated, Calibration, Mode, Schedule};
use super::device::{ReceiveStream, Side, SoapyDevice};
use super::profile::{PhaseAfterRetune, TimeSet};
use super::second_clock::{Feed, SecondClock};
use super::transmitter::{Transmitter, Vitals};
use super::{Bands, Permission, Profile};
use crate::blocks::{Context, FIRST_SAMPLE, WorldChanges};
use crate::scene::Scene;
use crate::stream::Telemetry;
use crate::{Error, Result};

/// How long a lock sensor may take.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The device argument that asks for the scene's world as the virtual radio's air.
const WORLD: &str = "air=world";

/// What the command line says about radios.
#[derive(Debug, Clone, Default)]
pub struct RadioOptions {
    /// Whether anything may be transmitted.
    pub transmit: bool,
    /// The band file; the user's own where absent.
    pub bands: Option<PathBuf>,
    /// Device arguments beside the profile's.
    pub device: Option<String>,
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
    /// Rows of the world for second devices, once a first device has it.
    pub(super) feeds: Feeds,
}

/// Rows of a world that second devices hear; `None` while there is no world.
pub(super) type Feeds = Arc<Mutex<Option<Vec<Arc<Feed>>>>>;

impl Surroundings {
    /// Those of a run.
    pub fn new(scene: Arc<Scene>, seed: u64, world: Arc<WorldChanges>, telemetry: Telemetry) -> Self {
        Self { scene, seed, world, telemetry, feeds: Feeds::default() }
    }
}

/// The radios of a run, by profile.
#[derive(Default)]
pub struct Radios {
    options: RadioOptions,
    feeds: Feeds,
    open: HashMap<String, Arc<Radio>>,
}

/// What happened at a radio. Counts only rise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bursts opened.
    pub bursts: AtomicU64,
    /// Bursts that the device called late.
    pub late: AtomicU64,
    /// Times the device had nothing to send.
    pub underflows: AtomicU64,
    /// Times the device had no room.
    pub overflows: AtomicU64,
    /// Gaps in received time that nobody announced.
    pub gaps: AtomicU64,
    /// Times that nothing went on inside a burst.
    pub timeouts: AtomicU64,
    /// Frames that were not sent, or not to their end.
    pub frames_left_out: AtomicU64,
    /// Frames made weaker to keep to the permission.
    pub frames_capped: AtomicU64,
    /// Samples whose peak was limited.
    pub limited: AtomicU64,
    failure: Mutex<Option<&'static str>>,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the first failure; a run ends with it.
    pub(super) fn failed(&self, what: &'static str) {
        lock(&self.failure).get_or_insert(what);
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&'static str> {
        *lock(&self.failure)
    }

    /// The counts by name.
    pub fn table(&self) -> [(&'static str, u64); 9] {
        [
            ("bursts", &self.bursts),
            ("late", &self.late),
            ("underflows", &self.underflows),
            ("overflows", &self.overflows),
            ("gaps", &self.gaps),
            ("timeouts", &self.timeouts),
            ("frames left out", &self.frames_left_out),
            ("frames capped", &self.frames_capped),
            ("samples limited", &self.limited),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One open radio. Fields are dropped in order: streams before the device, the device before its air.
pub struct Radio {
    transmitter: Mutex<Option<Transmitter>>,
    receiver: Mutex<Option<ReceiveStream>>,
    device: SoapyDevice,
    /// What it is.
    pub profile: Profile,
    rate_hz: f64,
    /// Sample 0 of the stream in samples of the device's clock, once started.
    origin: Arc<AtomicI64>,
    started: Mutex<Option<Started>>,
    /// The first sample after the last one sent.
    ended: AtomicI64,
    vitals: Mutex<Option<Arc<Vitals>>>,
    around: Surroundings,
    /// What a second device in the world hears.
    feed: Option<Arc<Feed>>,
    receive_channels: OnceLock<Vec<usize>>,
    /// The name of this opening.
    session: String,
    calibrated: Calibrated,
    calibration: OnceLock<Arc<Calibration>>,
    /// What each received channel is multiplied by.
    receive_corrections: OnceLock<Vec<Complex32>>,
    /// What happened.
    pub counters: Arc<Counters>,
    _air: Option<virtual_radio::Installed>,
}

/// Where a radio's streams begin, in samples of its clock.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// Sample 0 of the stream.
    pub(super) origin: i64,
    /// The first sample received.
    pub(super) begin: i64,
}

/// No end yet.
const RUNNING: i64 = i64::MAX;

impl Radio {
    /// Opens and tunes the device of a profile, in the order that radios want: sources, locks, rate, gains down, ports,
    /// carrier, locks, time.
    pub fn open(profile: Profile, options: &RadioOptions, around: Surroundings) -> Result<Self> {
        let waveform = &around.scene.waveform;
        let rate_hz = around.scene.sample_rate_hz();
        profile.check_rate(rate_hz).map_err(Error::input)?;
        let origin = Arc::new(AtomicI64::new(i64::MIN));
        let mut args = profile.device.args.clone();
        if let Some(more) = &options.device {
            args = format!("{args},{more}");
        }
        let mut feed = None;
        let installed = if args.split(',').any(|item| item == WORLD) {
            // A name of its own: two runs in one process must not share a world.
            static RUNS: AtomicU64 = AtomicU64::new(0);
            let name = format!("world-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
            args = args.replace(WORLD, &format!("air={name}"));
            Some(virtual_radio::Installed::new(&name, air(&around, &profile, &args, &origin, &mut feed)?))
        } else {
            None
        };
        let mut device = SoapyDevice::open(&args)?;
        start_up(&mut device, &profile, rate_hz, waveform.carrier_hz)?;
        let session = calibrate::new_session();
        if let Calibrated::File(calibration) = &options.calibrated {
            let lasting = profile.sync.phase_after_retune == PhaseAfterRetune::Fixed;
            let binding = Binding {
                device: device.describe(),
                session: (!lasting).then(|| session.clone()),
                carrier_hz: waveform.carrier_hz,
                rate_hz,
            };
            calibration
                .check(&binding, calibrate::now_unix_s())
                .map_err(|what| Error::input(format!("--calibration: {what} (radio {})", profile.name)))?;
        }
        Ok(Self {
            session,
            calibrated: options.calibrated.clone(),
            calibration: OnceLock::new(),
            receive_corrections: OnceLock::new(),
            around,
            transmitter: Mutex::default(),
            receiver: Mutex::default(),
            device,
            profile,
            rate_hz,
            origin,
            started: Mutex::default(),
            ended: AtomicI64::new(RUNNING),
            vitals: Mutex::default(),
            counters: Arc::default(),
            feed,
            receive_channels: OnceLock::new(),
            _air: installed,
        })
    }

    /// Whether directions measured with it would be wrong: its phases are random and nothing makes up for that.
    pub fn is_uncalibrated(&self) -> bool {
        self.profile.sync.phase_after_retune == PhaseAfterRetune::Random && matches!(self.calibrated, Calibrated::No)
    }

    /// The calibration in force, once started.
    pub fn calibration(&self) -> Option<&Arc<Calibration>> {
        self.calibration.get()
    }

    /// What each received channel is to be multiplied by.
    pub(super) fn receive_corrections(&self) -> impl Iterator<Item = Complex32> {
        let known = self.receive_corrections.get().map_or(&[][..], Vec::as_slice);
        known.iter().copied().chain(std::iter::repeat(1.0.into()))
    }

    /// Takes the transmitting side up; only with a permission.
    pub fn add_transmitter(&self, permission: &Permission) -> Result<()> {
        let mut place = lock(&self.transmitter);
        if place.is_some() {
            return Err(Error::input(format!("radio {}: two soapy-sink; accepted: one", self.profile.name)));
        }
        let transmitter = Transmitter::open(&self.device, &self.profile, self.rate_hz, permission, &self.counters)?;
        *lock(&self.vitals) = Some(Arc::clone(&transmitter.vitals));
        *place = Some(transmitter);
        Ok(())
    }

    /// Takes the receiving side up.
    pub fn add_receiver(&self, channels: &[usize]) -> Result<()> {
        let mut place = lock(&self.receiver);
        if place.is_some() {
            return Err(Error::input(format!("radio {}: two soapy-source; accepted: one", self.profile.name)));
        }
        let rx = &self.profile.rx;
        drop(self.receive_channels.set(channels.to_vec()));
        *place = Some(self.device.receive_stream(channels, rx.format, rx.full_scale, &rx.stream_args)?);
        Ok(())
    }

    /// Starts both sides on one time, once; the transmitting side first, so that no time passes without it.
    pub fn start(self: &Arc<Self>) -> Option<Started> {
        let mut started = lock(&self.started);
        if started.is_none() {
            match self.start_streams() {
                Ok(begun) => {
                    self.origin.store(begun.origin, Ordering::SeqCst);
                    *started = Some(begun);
                    self.watch();
                }
                Err(error) => {
                    eprintln!("issc: {error}");
                    self.counters.failed("the streams did not start");
                }
            }
        }
        *started
    }

    fn start_streams(&self) -> Result<Started> {
        if let Some(transmitter) = lock(&self.transmitter).as_mut() {
            transmitter.start()?;
        }
        let rx = &self.profile.rx;
        let timed = self.profile.sync.hardware_time;
        let delay = rx.start_delay_samples(self.rate_hz);
        let begin = if timed { self.device.now()? + delay } else { 0 };
        if let Some(receiver) = lock(&self.receiver).as_mut() {
            receiver.activate(timed.then_some(begin))?;
        }
        let lead = self.profile.tx.lead_samples(self.rate_hz);
        let begin = match &self.calibrated {
            Calibrated::AtStart(mode) => {
                let (calibration, next) = self.calibrate(*mode, begin, lead)?;
                self.apply(Arc::new(calibration));
                next.max(self.now()) + lead
            }
            Calibrated::File(calibration) => {
                self.apply(Arc::clone(calibration));
                begin
            }
            Calibrated::No => begin,
        };
        // Who does not transmit has a time of its own, from the first sample received.
        let first = if self.transmits() { lead - FIRST_SAMPLE as i64 } else { -rx.latency_samples };
        Ok(Started { origin: begin + first, begin })
    }

    /// Measures both sides with a signal from `begin` on; what was found, and the first sample after it.
    fn calibrate(&self, mode: Mode, begin: i64, lead: i64) -> Result<(Calibration, i64)> {
        let (mut transmitter, mut receiver) = (lock(&self.transmitter), lock(&self.receiver));
        let (Some(transmitter), Some(receiver)) = (transmitter.as_mut(), receiver.as_mut()) else {
            return Err(Error::input("--calibrate: accepted: a radio that both transmits and receives here"));
        };
        let channels = [&self.profile.tx.channels[..], &self.profile.rx.channels[..]];
        if self.receive_channels.get().map(Vec::as_slice) != Some(channels[1]) {
            return Err(Error::input("--calibrate: accepted: a soapy-source with all of the profile's channels"));
        }
        let counts = channels.map(<[usize]>::len);
        let power_w = transmitter.allowed_w(&self.around.scene);
        let rx_time = self.profile.sync.hardware_time && self.profile.sync.rx_time;
        let schedule = Schedule { begin: begin + lead, heard_from: begin, rx_time };
        let (responses, next) = calibrate::sound(transmitter, receiver, counts, schedule, power_w)?;
        let scene = &self.around.scene;
        let [tx, rx] = calibrate::offsets(mode, scene, responses, channels);
        let calibration = Calibration::now(mode, self.device.describe(), self.session.clone(), scene, tx, rx);
        calibration.accept().map_err(|what| Error::failure(format!("calibration: {what}")))?;
        Ok((calibration, next))
    }

    /// Corrects the samples of both sides from now on.
    fn apply(&self, calibration: Arc<Calibration>) {
        if let Some(transmitter) = lock(&self.transmitter).as_mut() {
            transmitter.correct(&Calibration::corrections(&calibration.tx, &self.profile.tx.channels));
        }
        let channels = self.receive_channels.get().map_or(&[][..], Vec::as_slice);
        drop(self.receive_corrections.set(Calibration::corrections(&calibration.rx, channels)));
        drop(self.calibration.set(calibration));
    }

    /// A thread that ends a burst nobody continues.
    fn watch(self: &Arc<Self>) {
        let Some(vitals) = lock(&self.vitals).clone() else { return };
        let limit = Duration::from_secs_f64(self.profile.tx.watchdog_ms * 1e-3);
        let radio = Arc::downgrade(self);
        let thread =
            std::thread::Builder::new().name("watchdog".into()).spawn(move || watchdog(&radio, &vitals, limit));
        if thread.is_err() {
            self.counters.failed("no thread for the watchdog");
        }
    }

    /// Hands the transmitter to `work`, if it is still there.
    pub(super) fn with_transmitter(&self, work: impl FnOnce(&mut Transmitter)) {
        if let Some(transmitter) = lock(&self.transmitter).as_mut() {
            work(transmitter);
        }
    }

    pub(super) fn with_receiver<R>(&self, work: impl FnOnce(&mut ReceiveStream) -> R) -> Option<R> {
        lock(&self.receiver).as_mut().map(work)
    }

    /// Stops transmitting for good; `end` is the first sample that nothing was sent for.
    pub fn end(&self, end: i64) {
        let transmitter = lock(&self.transmitter).take();
        if let Some(mut transmitter) = transmitter {
            transmitter.stop();
        }
        self.ended.store(end, Ordering::SeqCst);
    }

    /// The first sample after the last one sent, once that is known.
    pub(super) fn ended(&self) -> Option<i64> {
        Some(self.ended.load(Ordering::SeqCst)).filter(|end| *end != RUNNING)
    }

    /// The present, in samples of the device's clock.
    pub(super) fn now(&self) -> i64 {
        self.device.now().unwrap_or_default()
    }

    /// What is transmitted, by what right and how strongly, in one line.
    pub(super) fn transmission(&self, permission: &Permission, scene: &Scene) -> String {
        let tx = &self.profile.tx;
        let waveform = &scene.waveform;
        format!(
            "{}, {:.6} MHz, {:.3} MHz wide, gain {} dB on {} channels, at most {:.2} dBm (nominal), band `{}`",
            self.device.describe(),
            waveform.carrier_hz / 1e6,
            (1.0 + waveform.roll_off) * waveform.bandwidth_hz / 1e6,
            tx.gain_db,
            tx.channels.len(),
            permission.max_dbm,
            permission.band
        )
    }

    /// The receiving side is done with.
    pub(super) fn stop_receiving(&self) {
        self.with_receiver(ReceiveStream::deactivate);
        if self.feed.is_none() {
            lock(&self.around.feeds).iter().flatten().for_each(|feed| feed.close());
        }
    }

    /// Whether nothing more is to be heard of a simulated world.
    pub(super) fn is_over(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.is_over())
    }

    pub(super) fn transmits(&self) -> bool {
        lock(&self.vitals).is_some()
    }

    /// Gains down and stream stopped at once, without a ramp.
    pub fn cut(&self) {
        if let Some(vitals) = lock(&self.vitals).as_ref() {
            vitals.abort.store(true, Ordering::Relaxed);
        }
        for &channel in &self.profile.tx.channels {
            if self.transmits() && self.device.silence(channel).is_err() {
                eprintln!("issc: check the transmitter: channel {channel}'s gain is not at its minimum");
            }
        }
    }
}

/// The virtual radio's air: the world for the first device that asks, one row of it on another clock for those after it.
fn air(
    around: &Surroundings,
    profile: &Profile,
    args: &str,
    origin: &Arc<AtomicI64>,
    second: &mut Option<Arc<Feed>>,
) -> Result<Box<dyn virtual_radio::Air>> {
    let mut feeds = lock(&around.feeds);
    let Some(rows) = feeds.as_mut() else {
        let world = WorldAir::new(around, profile, Arc::clone(origin))?;
        *feeds = Some(Vec::new());
        return Ok(Box::new(world));
    };
    let wrong = |key: &str| Error::input(format!("radio {}: device argument {key}; accepted: a number", profile.name));
    let argument = |key: &str| {
        let value = args.split(',').find_map(|item| item.strip_prefix(key)?.strip_prefix('='));
        value.map_or(Ok(0.0), |value| value.parse::<f64>().map_err(|_| wrong(key)))
    };
    let (row, ppm) = (argument("world_row")?, argument("clock_ppm")?);
    if row < 0.0 || row as usize > around.scene.array.receive_antennas {
        return Err(Error::input(format!("radio {}: world_row = {row}; accepted: a row of the world", profile.name)));
    }
    let feed = Arc::new(Feed::new(row as usize));
    rows.push(Arc::clone(&feed));
    *second = Some(Arc::clone(&feed));
    let scale = 1.0 / sqrt_w(profile.rx.full_scale_dbm);
    let (carrier_hz, rate_hz) = (around.scene.waveform.carrier_hz, around.scene.sample_rate_hz());
    Ok(Box::new(SecondClock::new(feed, ppm, carrier_hz, rate_hz, scale)))
}

fn watchdog(radio: &Weak<Radio>, vitals: &Vitals, limit: Duration) {
    loop {
        std::thread::sleep((limit / 8).min(Duration::from_millis(50)));
        let Some(radio) = radio.upgrade() else { return };
        if radio.ended().is_some() {
            return;
        }
        if vitals.stalled().is_some_and(|quiet| quiet > limit) {
            match radio.transmitter.try_lock() {
                Ok(mut transmitter) => transmitter.iter_mut().for_each(Transmitter::park),
                // A write under way hears of it.
                Err(_) => vitals.abort.store(true, Ordering::Relaxed),
            }
        }
    }
}

/// Brings an opened device to where streams can be made.
pub(super) fn start_up(device: &mut SoapyDevice, profile: &Profile, rate_hz: f64, carrier_hz: f64) -> Result<()> {
    let (tx, rx, sync) = (&profile.tx, &profile.rx, &profile.sync);
    for (side, channels) in [(Side::Tx, &tx.channels), (Side::Rx, &rx.channels)] {
        let there = device.channels(side)?;
        if let Some(missing) = channels.iter().find(|channel| **channel >= there) {
            return Err(Error::input(format!(
                "{}: {side:?} channel {missing} is not there; accepted by the device: {there} channels",
                profile.name
            )));
        }
    }
    if sync.hardware_time && !device.has_time() {
        return Err(Error::input(format!("{}: sync.hardware_time = true, but the device has no time", profile.name)));
    }
    if profile.device.sources_by_call {
        device.set_sources(&profile.device.clock_source, &profile.device.time_source)?;
    }
    wait_locks(device, profile, None)?;
    device.set_rate(Side::Tx, &tx.channels, rate_hz)?;
    device.set_rate(Side::Rx, &rx.channels, rate_hz)?;
    for (side, mapping) in [(Side::Tx, &tx.mapping), (Side::Rx, &rx.mapping)] {
        if let Some(mapping) = mapping {
            device.set_mapping(side, mapping)?;
        }
    }
    for &channel in &tx.channels {
        device.silence(channel)?;
        device.set_port(Side::Tx, channel, tx.antenna.as_deref(), tx.bandwidth_hz)?;
    }
    for &channel in &rx.channels {
        device.set_gain(Side::Rx, channel, rx.gain_db)?;
        device.set_port(Side::Rx, channel, rx.antenna.as_deref(), rx.bandwidth_hz)?;
    }
    let all = || {
        let tx = tx.channels.iter().map(|channel| (Side::Tx, *channel));
        tx.chain(rx.channels.iter().map(|channel| (Side::Rx, *channel)))
    };
    for (side, channel) in all() {
        device.tune(side, channel, carrier_hz)?;
    }
    sync.settle();
    for place in all() {
        wait_locks(device, profile, Some(place))?;
    }
    match profile.device.time_set {
        TimeSet::Now if sync.hardware_time => device.reset_time(false),
        TimeSet::UnknownPps if sync.hardware_time => device.reset_time(true),
        _ => Ok(()),
    }
}

/// Waits for the lock sensors that the device, or a channel, has.
fn wait_locks(device: &SoapyDevice, profile: &Profile, place: Option<(Side, usize)>) -> Result<()> {
    for sensor in &profile.sync.lock_sensors {
        let since = Instant::now();
        while device.sensor(sensor, place).is_some_and(|state| state != "true") {
            if since.elapsed() > LOCK_WAIT {
                return Err(Error::failure(format!("radio {}: {sensor} is not true after 5 s", profile.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

impl Radios {
    /// No radio yet.
    pub fn new(options: RadioOptions) -> Self {
        Self { options, feeds: Feeds::default(), open: HashMap::new() }
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
    pub(super) fn get(context: &mut Context, profile: &Profile) -> Result<Option<Arc<Radio>>> {
        if !context.radios.opens() {
            return Ok(None);
        }
        if let Some(radio) = context.radios.open.get(&profile.name) {
            return Ok(Some(Arc::clone(radio)));
        }
        let around = Surroundings {
            scene: Arc::clone(&context.scene),
            seed: context.seed,
            world: Arc::clone(&context.world),
            telemetry: context.telemetry.clone(),
            feeds: Arc::clone(&context.radios.feeds),
        };
        let radio = Arc::new(Radio::open(profile.clone(), &context.radios.options, around)?);
        context.radios.open.insert(profile.name.clone(), Arc::clone(&radio));
        Ok(Some(radio))
    }

    /// Whether the user and the band file let this profile transmit the scene.
    pub(super) fn permit(context: &Context, profile: &Profile) -> Result<Permission> {
        let options = &context.radios.options;
        if !options.transmit {
            return Err(Error::input(format!(
                "radio {} would transmit; accepted: only with --transmit, inside a band that you have allowed",
                profile.name
            )));
        }
        Bands::read(options.bands.as_deref())?.permit(profile, &context.scene)
    }
}

/// Factors that turn full scale into √W and back.
pub(super) fn sqrt_w(full_scale_dbm: f64) -> f32 {
    crate::scene::dbm_to_w(full_scale_dbm).sqrt() as f32
}

/// What one factor makes of a row.
pub(super) fn scale_row(row: &mut [Complex32], factor: Complex32) {
    row.iter_mut().for_each(|sample| *sample *= factor);
}
