//! One open radio, shared by the blocks at its two ends: started in order, stopped in silence.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use num_complex::Complex32;

use super::air::{InstalledAir, install};
use super::calibrate::{self, Schedule};
use super::calibration::{self, Binding, Calibrated, Calibration, Mode};
use super::device::{RECEIVE_CHUNK, ReceiveStream, Side, SoapyDevice, ns_of_samples, samples_of_ns};
use super::device_clock::DeviceClock;
use super::drift::{self, DriftWatch, Hearing};
use super::profile::{PhaseAfterRetune, TimeSet};
use super::start_up::{seconds_ahead, start_up};
use super::supervisor::Supervisor;
use super::transmitter::Transmitter;
use super::tx_log;
use super::watchdog::{self, Vitals};
use super::{Contract, Counters, Permission, Profile, RadioOptions, Surroundings, lock};
use crate::blocks::FIRST_SAMPLE;
use crate::channel::World;
use crate::recording::Device;
use crate::scene::Scene;
use crate::stream::{Event, Frame};
use crate::{Error, Result};

/// One open radio. Fields are dropped in order: streams before the device, the device before its air.
pub struct Radio {
    transmitter: Mutex<Option<Transmitter>>,
    receiver: Mutex<Option<ReceiveStream>>,
    device: SoapyDevice,
    /// Driver, hardware and serial, as it was opened: one that is gone does not answer.
    described: String,
    pub(super) clock: Arc<DeviceClock>,
    /// What its driver does where things go wrong.
    pub(super) contract: Contract,
    /// What it is.
    pub profile: Profile,
    rate_hz: f64,
    /// Sample 0 of the stream in samples of the device's clock, once started; the same for the virtual radio's air.
    origin: AtomicI64,
    air_origin: Arc<AtomicI64>,
    started: Mutex<Option<Started>>,
    /// The first sample after the last one sent.
    ended: AtomicI64,
    vitals: OnceLock<Arc<Vitals>>,
    around: Surroundings,
    receive_channels: OnceLock<Vec<usize>>,
    /// The name of this opening.
    session: String,
    calibrated: Calibrated,
    /// What its transmitter may do, where it has one.
    permission: OnceLock<Permission>,
    calibration: OnceLock<Arc<Calibration>>,
    /// Whether the channels stay as they were calibrated.
    drift: OnceLock<DriftWatch>,
    /// What each received channel is multiplied by.
    receive_corrections: OnceLock<Vec<Complex32>>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Silences the device should this process die.
    supervisor: Mutex<Option<Supervisor>>,
    /// What the device was opened with.
    args: String,
    supervise: bool,
    /// What comes between a calibration and the run, and what puts a reference reflector in its place.
    then: Option<String>,
    placing: Option<String>,
    /// The virtual radio's air.
    air: InstalledAir,
}

/// Where a radio's streams begin, in samples of its clock.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// Sample 0 of the stream.
    pub(super) origin: i64,
    /// The first sample received.
    pub(super) begin: i64,
    /// Seconds by which the clock is ahead of UTC, where it was set by a pulse.
    seconds_ahead: Option<i64>,
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
        let air_origin = Arc::new(AtomicI64::new(i64::MIN));
        let mut args = profile.device.args.clone();
        if let Some(more) = &options.device {
            args = format!("{args},{more}");
        }
        let air = install(&mut args, &around, &profile, &air_origin, &options.calibrated)?;
        let mut device = SoapyDevice::open(&args)?;
        start_up(&mut device, &profile, rate_hz, waveform.carrier_hz)?;
        let (clock, contract) = (Arc::new(DeviceClock::new(&device, rate_hz)?), profile.contract(&args));
        let session = calibration::new_session();
        if let Calibrated::File(calibration) = &options.calibrated {
            let lasting = profile.sync.phase_after_retune == PhaseAfterRetune::Fixed;
            let binding = Binding {
                device: device.describe(),
                session: (!lasting).then(|| session.clone()),
                carrier_hz: waveform.carrier_hz,
                rate_hz,
                clock: profile.clock(&args),
            };
            calibration
                .check(&binding, calibration::now_unix_s())
                .map_err(|what| Error::input(format!("--calibration: {what} (radio {})", profile.name)))?;
        }
        Ok(Self {
            session,
            calibrated: options.calibrated.clone(),
            permission: OnceLock::new(),
            calibration: OnceLock::new(),
            drift: OnceLock::new(),
            receive_corrections: OnceLock::new(),
            around,
            transmitter: Mutex::default(),
            receiver: Mutex::default(),
            described: device.describe(),
            device,
            clock,
            contract,
            profile,
            rate_hz,
            origin: AtomicI64::new(i64::MIN),
            air_origin,
            started: Mutex::default(),
            ended: AtomicI64::new(RUNNING),
            vitals: OnceLock::new(),
            counters: Arc::default(),
            receive_channels: OnceLock::new(),
            supervisor: Mutex::default(),
            args,
            supervise: options.supervise,
            then: options.then.clone(),
            placing: options.placing.clone(),
            air,
        })
    }

    /// Whether directions measured with it would be wrong: its phases are random and nothing makes up for that.
    pub fn is_uncalibrated(&self) -> bool {
        self.profile.sync.phase_after_retune == PhaseAfterRetune::Random && matches!(self.calibrated, Calibrated::No)
    }

    /// Driver, hardware and serial.
    pub fn description(&self) -> &str {
        &self.described
    }

    /// What its transmitter may do, where it has one.
    pub fn permission(&self) -> Option<&Permission> {
        self.permission.get()
    }

    /// What a recording says of it.
    pub(super) fn noted(&self) -> Device {
        let calibration = match &self.calibrated {
            Calibrated::No => None,
            Calibrated::File(calibration) => Some(calibration.line()),
            Calibrated::AtStart(_) => Some("at the start of the run".into()),
        };
        let name = format!("{} ({})", self.described.clone(), self.profile.name);
        let rx = &self.profile.rx;
        // What the device has, which may not be what it was asked for.
        let gain_db =
            rx.channels.first().and_then(|channel| self.device.gain(Side::Rx, *channel)).unwrap_or(rx.gain_db);
        let full_scale_dbm = Some(rx.full_scale_dbm);
        Device { name: Some(name), gain_db: Some(gain_db), full_scale_dbm, calibration }
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
        let transmitter = Transmitter::open(
            &self.device,
            &self.clock,
            &self.profile,
            self.contract,
            self.rate_hz,
            permission,
            &self.counters,
        )?;
        if self.supervise {
            *lock(&self.supervisor) = Some(Supervisor::start(&self.args)?);
        }
        let waveform = &self.around.scene.waveform;
        if let Some(log) = &permission.log {
            let began = tx_log::Began {
                device: self.described.clone(),
                profile: &self.profile.name,
                carrier_hz: waveform.carrier_hz,
                bandwidth_hz: (1.0 + waveform.roll_off) * waveform.bandwidth_hz,
                gain_db: self.profile.tx.gain_db,
                channels: &self.profile.tx.channels,
                band: &permission.band,
                max_dbm: permission.max_dbm,
            };
            tx_log::note(log, "began", began)?;
        }
        drop(self.permission.set(permission.clone()));
        let _ = self.vitals.set(Arc::clone(&transmitter.vitals));
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

    /// Whether streams can start: not before the transmitter, where that is elsewhere.
    pub fn can_start(&self) -> bool {
        self.transmits() || self.around.far.as_ref().is_none_or(|far| far.origin_ns().is_some())
    }

    /// Starts both sides on one time, once; the transmitting side first, so that no time passes without it.
    pub fn start(self: &Arc<Self>) -> Option<Started> {
        let mut started = lock(&self.started);
        // Streams that did not start once are not tried again: the run is over.
        if started.is_none() && self.counters.failure().is_none() {
            match self.start_streams() {
                Ok(begun) => {
                    self.origin.store(begun.origin, Ordering::SeqCst);
                    if self.air.installation.is_some() {
                        self.air_origin.store(begun.origin + self.device.air_shift(), Ordering::SeqCst);
                    }
                    *started = Some(begun);
                    if self.transmits() {
                        let origin_ns = ns_of_samples(begun.origin, self.rate_hz);
                        let seconds_ahead = begun.seconds_ahead;
                        self.around.telemetry.report(Event::Started { origin_ns, seconds_ahead });
                    }
                    self.watch();
                }
                Err(error) => {
                    remark!("issc: {error}");
                    self.counters.failed("the streams did not start");
                }
            }
        }
        *started
    }

    /// Seconds by which the clock is ahead of UTC, which must be those of the transmitter elsewhere.
    pub(super) fn agreed_seconds(&self) -> Result<Option<i64>> {
        if self.profile.device.time_set != TimeSet::UtcPps || !self.profile.sync.hardware_time {
            return Ok(None);
        }
        let here = seconds_ahead(&self.device)?;
        let far = self.around.far.as_ref().filter(|_| !self.transmits());
        match far.map(|far| far.seconds_ahead()) {
            Some(there) if there != Some(here) => {
                let there = there.map_or("not set by a pulse".into(), |there| format!("{there} s ahead of UTC"));
                Err(Error::device(format!(
                    "radio {}: its time at the last pulse is {here} s ahead of UTC, the transmitter's is {there}; accepted: \
                     the same second",
                    self.profile.name
                )))
            }
            _ => Ok(Some(here)),
        }
    }

    fn start_streams(self: &Arc<Self>) -> Result<Started> {
        let seconds_ahead = self.agreed_seconds()?;
        if let Some(transmitter) = lock(&self.transmitter).as_mut() {
            transmitter.start()?;
        }
        let rx = &self.profile.rx;
        let timed = self.profile.sync.hardware_time;
        let delay = rx.start_delay_samples(self.rate_hz);
        let begin = if timed { self.device.now()? + delay } else { 0 };
        if self.air.shared.is_some() && lock(&self.receiver).is_none() {
            self.keep_time(begin)?;
        }
        if let Some(receiver) = lock(&self.receiver).as_mut() {
            receiver.activate(timed.then_some(begin))?;
        }
        let lead = self.profile.tx.lead_samples(self.rate_hz);
        // From when on the stream may begin, and which sample is received next.
        let (start, begin) = match &self.calibrated {
            // A single channel that only listens has nothing to be calibrated against.
            Calibrated::AtStart(_) if !self.transmits() && self.profile.rx.channels.len() == 1 => (begin, begin),
            Calibrated::AtStart(mode) => {
                let (calibration, next) = self.calibrate(*mode, begin, lead)?;
                self.apply(Arc::new(calibration));
                let next = match &self.then {
                    Some(command) => {
                        self.stand_by("--then", command, "calibrated; put the antennas on, then press Enter")?
                    }
                    None => next,
                };
                if self.air.cabled {
                    self.device.set("combiner", "air")?;
                }
                self.clock.refresh();
                (next.max(self.now()) + lead, next)
            }
            Calibrated::File(calibration) => {
                self.apply(Arc::clone(calibration));
                (begin, begin)
            }
            Calibrated::No => (begin, begin),
        };
        let far = self.around.far.as_ref().filter(|_| self.profile.has_shared_time());
        let origin = match far.and_then(|far| far.origin_ns()) {
            _ if self.transmits() => start + lead - FIRST_SAMPLE as i64,
            Some(origin_ns) => samples_of_ns(origin_ns, self.rate_hz),
            // A time of its own, from the first sample received.
            None => begin - rx.latency_samples,
        };
        Ok(Started { origin, begin, seconds_ahead })
    }

    /// Samples after the last one sent until all of it has arrived in a simulated world.
    pub(super) fn world_tail(&self) -> i64 {
        World::flush_samples(&self.around.scene) as i64
    }

    /// Moves the time of a shared world that nobody in this process listens to, until all that was sent has arrived.
    fn keep_time(self: &Arc<Self>, begin: i64) -> Result<()> {
        let rx = &self.profile.rx;
        let mut stream = self.device.receive_stream(&[0], rx.format, rx.full_scale, &rx.stream_args)?;
        stream.activate(Some(begin))?;
        let radio = Arc::clone(self);
        let listen = move || {
            let mut row = vec![Complex32::default(); RECEIVE_CHUNK];
            let tail = radio.world_tail();
            let mut reached = begin;
            while radio.ended().is_none_or(|end| reached < end + tail) {
                if let Ok((count, time)) = stream.read(std::iter::once(&mut row[..]), Duration::from_millis(100)) {
                    reached = time + count as i64;
                } else if radio.counters.failure().is_some() {
                    break;
                }
            }
            stream.deactivate();
            radio.stop_receiving();
        };
        let thread = std::thread::Builder::new().name("world-time".into()).spawn(listen);
        thread.map(drop).map_err(|error| Error::device(format!("no thread for the world's time: {error}")))
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
        let schedule = |begin: i64| Schedule { begin: begin + lead, heard_from: begin, rx_time };
        let scene = &self.around.scene;
        let rows = match mode {
            Mode::Cable => 0..counts[1],
            Mode::Reference => calibrate::array_rows(scene, counts[1])?,
        };
        let (mut responses, mut next) = calibrate::sound(transmitter, receiver, counts, schedule(begin), power_w)?;
        if let Some(command) = self.placing.as_ref().filter(|_| mode == Mode::Reference) {
            let background = responses;
            transmitter.rest();
            self.ask("--placing", command, "heard without the reflector; put it at geometry.target, then press Enter")?;
            let begin = self.listen_again(receiver)?;
            (responses, next) = calibrate::sound(transmitter, receiver, counts, schedule(begin), power_w)?;
            calibrate::subtract(&mut responses, &background);
        }
        if mode == Mode::Reference {
            let latency = self.profile.rx.latency_samples;
            calibrate::gate(scene, &mut responses, rows.clone(), latency, self.placing.is_some())?;
        }
        let [tx, rx] = calibrate::offsets(mode, scene, responses, channels, rows);
        let clock = self.profile.clock(&self.args);
        let calibration = Calibration::now(mode, self.described.clone(), self.session.clone(), clock, scene, tx, rx);
        calibration.accept().map_err(|what| Error::device(format!("calibration: {what}")))?;
        Ok((calibration, next))
    }

    /// Silence while the cables are taken away and the antennas put on, the device open all the time: its phases would not
    /// outlive a closing. The first sample received after it.
    fn stand_by(&self, option: &str, command: &str, words: &str) -> Result<i64> {
        self.with_transmitter(Transmitter::rest);
        self.ask(option, command, words)?;
        let mut receiver = lock(&self.receiver);
        let Some(receiver) = receiver.as_mut() else { return self.device.now() };
        self.listen_again(receiver)
    }

    /// Lets a command, or somebody at the terminal, change what is around the antennas.
    fn ask(&self, option: &str, command: &str, words: &str) -> Result<()> {
        let said = match command {
            "-" => {
                remark!("issc: {words}");
                std::io::stdin().read_line(&mut String::new()).map(|count| count > 0)
            }
            command => std::process::Command::new("sh").args(["-c", command]).status().map(|status| status.success()),
        };
        match said {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::device(format!("{option} {command}: it failed"))),
            Err(error) => Err(Error::device(format!("{option} {command}: {error}"))),
        }
    }

    /// Starts reception anew; its first sample.
    fn listen_again(&self, receiver: &mut ReceiveStream) -> Result<i64> {
        receiver.deactivate();
        let begin = self.device.now()? + self.profile.rx.start_delay_samples(self.rate_hz);
        receiver.activate(self.profile.sync.hardware_time.then_some(begin))?;
        Ok(begin)
    }

    /// Corrects the samples of both sides from now on.
    fn apply(&self, calibration: Arc<Calibration>) {
        if let Some(transmitter) = lock(&self.transmitter).as_mut() {
            transmitter.correct(&Calibration::corrections(&calibration.tx, &self.profile.tx.channels));
        }
        let channels = self.receive_channels.get().map_or(&[][..], Vec::as_slice);
        drop(self.receive_corrections.set(Calibration::corrections(&calibration.rx, channels)));
        drop(self.calibration.set(calibration));
        let is_whole = self.transmits() && channels == self.profile.rx.channels;
        if !is_whole || channels.len() < self.around.scene.array.receive_antennas {
            return;
        }
        let about = drift::About::new(&self.profile, &self.around.scene, &self.around.void);
        match DriftWatch::start(&self.around.scene, about) {
            Ok(watch) => drop(self.drift.set(watch)),
            Err(error) => remark!("issc: {error}: nobody watches whether the channels drift"),
        }
    }

    /// A frame was sent.
    pub(super) fn note_sent(&self, frame: &Frame<Complex32>) {
        if let Some(watch) = self.drift.get() {
            watch.note(frame);
        }
    }

    /// Samples came.
    pub(super) fn note_heard(&self, hearing: &mut Hearing, frame: &Frame<Complex32>) {
        if let Some(watch) = self.drift.get() {
            watch.hear(hearing, frame);
        }
    }

    /// A thread that ends a burst nobody continues.
    fn watch(self: &Arc<Self>) {
        let Some(vitals) = self.vitals.get().cloned() else { return };
        let limit = Duration::from_secs_f64(self.profile.tx.watchdog_ms * 1e-3);
        let radio = Arc::downgrade(self);
        let thread =
            std::thread::Builder::new().name("watchdog".into()).spawn(move || watchdog::watch(&radio, &vitals, limit));
        if thread.is_err() {
            self.counters.failed("no thread for the watchdog");
        }
    }

    /// Ends the burst and turns the gains down. False where somebody is at the transmitter.
    pub(super) fn park_transmitter(&self) -> bool {
        let free = self.transmitter.try_lock();
        free.map(|mut transmitter| transmitter.iter_mut().for_each(Transmitter::park)).is_ok()
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
            let counters = &self.counters;
            let ended = tx_log::Ended {
                profile: &self.profile.name,
                bursts: counters.bursts.load(Ordering::Relaxed),
                frames: counters.frames_sent.load(Ordering::Relaxed),
                failure: counters.failure(),
            };
            let log = self.permission().and_then(|permission| permission.log.as_deref());
            self.around.all_sent.store(true, Ordering::SeqCst);
            if let Some(Err(error)) = log.map(|log| tx_log::note(log, "ended", ended)) {
                remark!("issc: {error}");
            }
        }
        // The device is silent.
        drop(lock(&self.supervisor).take());
        self.ended.store(end, Ordering::SeqCst);
    }

    /// The first sample after the last one sent, once that is known.
    pub(super) fn ended(&self) -> Option<i64> {
        Some(self.ended.load(Ordering::SeqCst)).filter(|end| *end != RUNNING)
    }

    /// The present, in samples of the device's clock.
    pub(super) fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Seconds from now until a sample of the transmitter's stream has to be there: its own time, and the lead before it
    /// where it would open a burst. `None` before the start, and where the device waits.
    pub(super) fn seconds_until(&self, sample_time: u64) -> Option<f64> {
        let origin = self.origin.load(Ordering::SeqCst);
        if origin == i64::MIN || self.clock.waits() {
            return None;
        }
        let in_burst = self.vitals.get().is_some_and(|vitals| vitals.in_burst.load(Ordering::Relaxed));
        let lead = if in_burst { 0 } else { self.profile.tx.lead_samples(self.rate_hz) };
        Some((origin + sample_time as i64 - lead - self.clock.now()) as f64 / self.rate_hz)
    }

    /// Whether it sends by a clock that waits for nobody.
    pub fn sends_in_real_time(&self) -> bool {
        self.transmits() && !self.clock.waits()
    }

    /// What is transmitted, by what right and how strongly, in one line.
    pub(super) fn transmission(&self, permission: &Permission, scene: &Scene) -> String {
        let tx = &self.profile.tx;
        let waveform = &scene.waveform;
        format!(
            "{}, {:.6} MHz, {:.3} MHz wide, gain {} dB on {} channels, at most {:.2} dBm (nominal), band `{}`",
            self.described.clone(),
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
        if self.air.feed.is_none() {
            lock(&self.around.feeds).iter().flatten().for_each(|feed| feed.close());
        }
    }

    /// Whether nothing more is to be heard of a simulated world.
    pub(super) fn is_over(&self) -> bool {
        self.air.feed.as_ref().is_some_and(|feed| feed.is_over())
    }

    /// Whether it hears a simulated world that is not its own, which says itself when it ends.
    pub(super) fn hears_another_s_world(&self) -> bool {
        self.air.feed.is_some()
    }

    /// Whether a transmitter of this process, on this device or another, has sent all.
    pub(super) fn all_was_sent(&self) -> bool {
        self.around.all_sent.load(Ordering::SeqCst)
    }

    pub(super) fn transmits(&self) -> bool {
        self.vitals.get().is_some()
    }
}
