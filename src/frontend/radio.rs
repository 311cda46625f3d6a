//! One open radio, shared by the blocks at its two ends: started in order, stopped in silence.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use num_complex::Complex32;

use super::air::{InstalledAir, install};
use super::calibrate::{self, Schedule};
use super::calibration::{self, Binding, Calibrated, Calibration, Mode};
use super::device::{RECEIVE_CHUNK, ReceiveStream, SoapyDevice, ns_of_samples, samples_of_ns};
use super::profile::PhaseAfterRetune;
use super::start_up::start_up;
use super::transmitter::Transmitter;
use super::watchdog::{self, Vitals};
use super::{Counters, Permission, Profile, RadioOptions, Surroundings, lock};
use crate::blocks::FIRST_SAMPLE;
use crate::channel::World;
use crate::recording::Device;
use crate::scene::Scene;
use crate::stream::Event;
use crate::{Error, Result};

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
    receive_channels: OnceLock<Vec<usize>>,
    /// The name of this opening.
    session: String,
    calibrated: Calibrated,
    /// What its transmitter may do, where it has one.
    permission: OnceLock<Permission>,
    calibration: OnceLock<Arc<Calibration>>,
    /// What each received channel is multiplied by.
    receive_corrections: OnceLock<Vec<Complex32>>,
    /// What happened.
    pub counters: Arc<Counters>,
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
        let air = install(&mut args, &around, &profile, &origin)?;
        let mut device = SoapyDevice::open(&args)?;
        start_up(&mut device, &profile, rate_hz, waveform.carrier_hz)?;
        let session = calibration::new_session();
        if let Calibrated::File(calibration) = &options.calibrated {
            let lasting = profile.sync.phase_after_retune == PhaseAfterRetune::Fixed;
            let binding = Binding {
                device: device.describe(),
                session: (!lasting).then(|| session.clone()),
                carrier_hz: waveform.carrier_hz,
                rate_hz,
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
            receive_channels: OnceLock::new(),
            air,
        })
    }

    /// Whether directions measured with it would be wrong: its phases are random and nothing makes up for that.
    pub fn is_uncalibrated(&self) -> bool {
        self.profile.sync.phase_after_retune == PhaseAfterRetune::Random && matches!(self.calibrated, Calibrated::No)
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
        let name = format!("{} ({})", self.device.describe(), self.profile.name);
        Device { name: Some(name), gain_db: Some(self.profile.rx.gain_db), calibration }
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
        drop(self.permission.set(permission.clone()));
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

    /// Whether streams can start: not before the transmitter, where that is elsewhere.
    pub fn can_start(&self) -> bool {
        self.transmits() || self.around.far.as_ref().is_none_or(|far| far.origin_ns().is_some())
    }

    /// Starts both sides on one time, once; the transmitting side first, so that no time passes without it.
    pub fn start(self: &Arc<Self>) -> Option<Started> {
        let mut started = lock(&self.started);
        if started.is_none() {
            match self.start_streams() {
                Ok(begun) => {
                    self.origin.store(begun.origin, Ordering::SeqCst);
                    *started = Some(begun);
                    if self.transmits() {
                        let origin_ns = ns_of_samples(begun.origin, self.rate_hz);
                        self.around.telemetry.report(Event::Started { origin_ns });
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

    fn start_streams(self: &Arc<Self>) -> Result<Started> {
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
        let far = self.around.far.as_ref().filter(|_| self.profile.has_shared_time());
        let origin = match far.and_then(|far| far.origin_ns()) {
            _ if self.transmits() => begin + lead - FIRST_SAMPLE as i64,
            Some(origin_ns) => samples_of_ns(origin_ns, self.rate_hz),
            // A time of its own, from the first sample received.
            None => begin - rx.latency_samples,
        };
        Ok(Started { origin, begin })
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
        let schedule = Schedule { begin: begin + lead, heard_from: begin, rx_time };
        let (responses, next) = calibrate::sound(transmitter, receiver, counts, schedule, power_w)?;
        let scene = &self.around.scene;
        let [tx, rx] = calibrate::offsets(mode, scene, responses, channels);
        let calibration = Calibration::now(mode, self.device.describe(), self.session.clone(), scene, tx, rx);
        calibration.accept().map_err(|what| Error::device(format!("calibration: {what}")))?;
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
                remark!("issc: check the transmitter: channel {channel}'s gain is not at its minimum");
            }
        }
    }
}
