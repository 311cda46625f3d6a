//! What a radio and its driver really do: ten steps, of which those that transmit need a permission and those that listen
//! to it a cable. What was measured goes into a profile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use num_complex::{Complex32, Complex64};
use serde::Serialize;

use super::calibrate::{self, Schedule};
use super::calibration::Mode;
use super::contract::{Acknowledge, Late, Underflow};
use super::device::{RECEIVE_CHUNK, ReceiveStream, SendStream, Side, SoapyDevice, StatusKind, Trouble};
use super::device_clock::DeviceClock;
use super::profile::PhaseAfterRetune;
use super::start_up::start_up;
use super::transmitter::Transmitter;
use super::{Counters, Permission, Profile};
use crate::Result;
use crate::dsp::mean_power;
use crate::scene::{Scene, decibel};

/// Tunings over which the phases are watched, and the spread that counts as none.
const RETUNES: usize = 5;
const FIXED_DEG: f64 = 5.0;

/// Rates that are tried, in the scene's, and for how long each.
const RUNGS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
const RUNG: Duration = Duration::from_millis(300);

/// How long a device may take to tell something.
const TELL: Duration = Duration::from_millis(500);

/// What one step found.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// 1 to 10.
    pub step: u8,
    /// What was tried.
    pub name: &'static str,
    /// Whether it is as the profile and the program need it; null where it was not tried.
    pub passed: Option<bool>,
    /// What was found.
    pub found: String,
}

/// Habits that a profile states.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measured {
    /// The device has a time.
    pub hardware_time: bool,
    /// Received samples carry it.
    pub rx_time: Option<bool>,
    /// Several channels start only at a time.
    pub mimo_needs_time: Option<bool>,
    /// The end of a burst is acknowledged.
    pub burst_acknowledged: Option<bool>,
    /// A burst that is too late is reported.
    pub late_reported: Option<bool>,
    /// What becomes of a packet that is too late.
    pub late: Option<Late>,
    /// What follows where there was nothing to send; null where it could not be tried.
    pub underflow: Option<Underflow>,
    /// Which ends of bursts are acknowledged.
    pub acknowledge: Option<Acknowledge>,
    /// Samples from transmission to reception, modulo 1 024.
    pub latency_samples: Option<i64>,
    /// What a tuning does to the phases.
    pub phase_after_retune: Option<PhaseAfterRetune>,
    /// The highest rate at which nothing was lost, where a higher one lost something.
    pub max_rate_hz: Option<f64>,
}

/// A probe's outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Probed {
    /// Driver, hardware and serial.
    pub device: String,
    /// The arguments that it was opened with.
    #[serde(skip)]
    args: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// What goes into a profile.
    pub measured: Measured,
}

impl Probed {
    fn note(&mut self, name: &'static str, passed: impl Into<Option<bool>>, found: impl Into<String>) {
        let step = self.steps.len() as u8 + 1;
        self.steps.push(Step { step, name, passed: passed.into(), found: found.into() });
    }

    /// Whether no step failed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.passed != Some(false))
    }

    /// The profile's text with what was measured in the place of what was believed.
    pub fn into_profile(&self, text: &str) -> Result<String, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        table.insert("status".into(), "probed".into());
        let mut put = |section: &str, key: &str, value: Option<toml::Value>| {
            let Some(value) = value else { return };
            let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
            if let toml::Value::Table(section) = section {
                section.insert(key.into(), value);
            }
        };
        let measured = &self.measured;
        put("sync", "hardware_time", Some(measured.hardware_time.into()));
        put("sync", "rx_time", measured.rx_time.map(Into::into));
        let phase = measured.phase_after_retune.map(|phase| match phase {
            PhaseAfterRetune::Fixed => "fixed".into(),
            PhaseAfterRetune::Random => "random".into(),
        });
        put("sync", "phase_after_retune", phase);
        put("device", "max_rate_hz", measured.max_rate_hz.map(Into::into));
        put("rx", "latency_samples", measured.latency_samples.map(Into::into));
        // Words of the same names as in a profile.
        let word = |value: serde_json::Value| value.as_str().map(Into::into);
        put("driver", "late", word(serde_json::json!(measured.late)));
        put("driver", "underflow", word(serde_json::json!(measured.underflow)));
        put("driver", "acknowledge", word(serde_json::json!(measured.acknowledge)));
        toml::to_string(&table).map_err(|error| error.to_string())
    }
}

/// Probes the device of a profile for a scene. Without a permission nothing is transmitted; without `cabled` nobody
/// listens to what is.
pub fn probe(
    profile: &Profile,
    args: &str,
    scene: &Scene,
    permission: Option<&Permission>,
    cabled: bool,
) -> Result<Probed> {
    let mut device = SoapyDevice::open(args)?;
    let mut probed =
        Probed { device: device.describe(), args: args.into(), steps: Vec::new(), measured: Measured::default() };
    let described = probed.device.clone();
    probed.note("open", true, described);
    let waveform = &scene.waveform;
    let rate_hz = scene.sample_rate_hz();
    let (tx, rx) = (&profile.tx.channels, &profile.rx.channels);
    let there = [device.channels(Side::Tx)?, device.channels(Side::Rx)?];
    let enough = tx.iter().all(|channel| *channel < there[0]) && rx.iter().all(|channel| *channel < there[1]);
    probed.note("channels", enough, format!("{} TX, {} RX", there[0], there[1]));
    ranges(&device, profile, waveform.carrier_hz, rate_hz, &mut probed)?;
    let started = start_up(&mut device, profile, rate_hz, waveform.carrier_hz);
    let [clocks, times] = device.sources();
    let locked = started.as_ref().map_or_else(ToString::to_string, |()| "started and locked".to_owned());
    let sources = format!("{locked}; clocks {}, times {}", clocks.join(" "), times.join(" "));
    probed.note("sources and locks", started.is_ok(), sources);
    started?;
    clock(&device, profile, rate_hz, &mut probed);
    let (sustained, rates) = climb(&mut device, profile, rate_hz, &mut probed.measured);
    // The rates have undone what was set.
    start_up(&mut device, profile, rate_hz, waveform.carrier_hz)?;
    let mut receiver = device.receive_stream(rx, profile.rx.format, profile.rx.full_scale, &profile.rx.stream_args)?;
    let listening = listen(&device, profile, rate_hz, &mut receiver, &mut probed)?;
    match permission {
        Some(_) => bursts(&device, profile, rate_hz, &mut receiver, &mut probed)?,
        None => probed.note("bursts", None, "not tried: needs --transmit"),
    }
    probed.note("rates", sustained, format!("{rates}; {listening}"));
    match permission {
        Some(permission) if cabled => {
            over_cable(&device, profile, scene, permission, &mut receiver, &mut probed)?;
        }
        _ => {
            probed.note("levels, latency, phases", None, "not tried: needs --transmit and --cabled");
            probed.note("safe stop", None, "not tried: needs --transmit and --cabled");
        }
    }
    Ok(probed)
}

fn ranges(device: &SoapyDevice, profile: &Profile, carrier_hz: f64, rate_hz: f64, probed: &mut Probed) -> Result<()> {
    let (mut fits, mut found) = (true, Vec::new());
    for (side, channels, gain_db) in
        [(Side::Tx, &profile.tx.channels, profile.tx.gain_db), (Side::Rx, &profile.rx.channels, profile.rx.gain_db)]
    {
        let Some(&channel) = channels.first() else { continue };
        let (formats, native, full_scale) = device.formats(side, channel)?;
        let [low, high] = device.gain_range_db(side, channel)?;
        let [carrier, rate] = device.covers(side, channel, carrier_hz, rate_hz)?;
        fits &= carrier && rate && (low..=high).contains(&gain_db);
        found.push(format!("{side:?} {} (native {native}, {full_scale}), gain {low} to {high} dB", formats.join(" ")));
    }
    probed.note("formats and ranges", fits, found.join("; "));
    Ok(())
}

fn clock(device: &SoapyDevice, profile: &Profile, rate_hz: f64, probed: &mut Probed) {
    probed.measured.hardware_time = device.has_time();
    let before = (device.now(), Instant::now());
    std::thread::sleep(Duration::from_millis(300));
    let after = (device.now(), Instant::now());
    let found = match (before.0, after.0) {
        (Ok(from), Ok(to)) if to == from => "present; stands still while no stream runs".into(),
        (Ok(from), Ok(to)) => {
            let ratio = (to - from) as f64 / rate_hz / (after.1 - before.1).as_secs_f64();
            format!("present; {:+.0} ppm against the host", (ratio - 1.0) * 1e6)
        }
        _ => "none".into(),
    };
    probed.note("hardware time", device.has_time() == profile.sync.hardware_time, found);
}

/// Receives at rising rates; whether nothing was lost at the scene's, and what became of each.
fn climb(device: &mut SoapyDevice, profile: &Profile, rate_hz: f64, measured: &mut Measured) -> (bool, String) {
    let (mut sustained, mut highest, mut found) = (false, None, Vec::new());
    for rung_hz in RUNGS.map(|rung| rung * rate_hz).into_iter().filter(|rate| profile.check_rate(*rate).is_ok()) {
        let lost = lost_at(device, profile, rung_hz);
        let outcome = match &lost {
            Ok(0) => "nothing lost".into(),
            Ok(count) => format!("{count} losses"),
            Err(error) => error.to_string(),
        };
        found.push(format!("{} MS/s: {outcome}", rung_hz / 1e6));
        if lost == Ok(0) {
            highest = Some(rung_hz);
            sustained |= rung_hz == rate_hz;
        } else if highest.is_some() {
            measured.max_rate_hz = highest;
            break;
        }
    }
    (sustained, found.join(", "))
}

/// Overflows and gaps while receiving at a rate for a while.
fn lost_at(device: &mut SoapyDevice, profile: &Profile, rate_hz: f64) -> Result<u32> {
    let rx = &profile.rx;
    device.set_rate(Side::Rx, &rx.channels, rate_hz)?;
    let mut receiver = device.receive_stream(&rx.channels, rx.format, rx.full_scale, &rx.stream_args)?;
    let begin = device.now()? + rx.start_delay_samples(rate_hz);
    receiver.activate(Some(begin))?;
    let mut rows = vec![vec![Complex32::default(); RECEIVE_CHUNK]; rx.channels.len()];
    let (mut expected, mut lost, mut samples) = (begin, 0, 0);
    let since = Instant::now();
    while since.elapsed() < RUNG {
        match receiver.read(rows.iter_mut().map(|row| &mut row[..]), Duration::from_millis(100)) {
            Ok((count, at)) => {
                lost += u32::from(profile.sync.rx_time && at != expected);
                expected = at + count as i64;
                samples += count;
            }
            Err(Trouble::Timeout) => {}
            Err(_) => lost += 1,
        }
    }
    receiver.deactivate();
    if samples == 0 { Err(crate::Error::device("no samples")) } else { Ok(lost) }
}

/// Starts with and without a time, reads for a while; how fast samples came.
fn listen(
    device: &SoapyDevice,
    profile: &Profile,
    rate_hz: f64,
    receiver: &mut ReceiveStream,
    probed: &mut Probed,
) -> Result<String> {
    let untimed = receiver.activate(None).is_ok();
    if untimed {
        receiver.deactivate();
    }
    probed.measured.mimo_needs_time = (profile.rx.channels.len() > 1).then_some(!untimed);
    let begin = device.now()? + profile.rx.start_delay_samples(rate_hz);
    receiver.activate(Some(begin))?;
    let mut rows = vec![vec![Complex32::default(); RECEIVE_CHUNK]; profile.rx.channels.len()];
    let (mut expected, mut first, mut breaks, mut overflows, mut samples) = (begin, None, 0, 0, 0);
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) {
        match receiver.read(rows.iter_mut().map(|row| &mut row[..]), Duration::from_millis(100)) {
            Ok((count, at)) => {
                first.get_or_insert(at - begin);
                breaks += u32::from(at != expected);
                expected = at + count as i64;
                samples += count;
            }
            Err(Trouble::Overflow) => overflows += 1,
            Err(Trouble::Timeout) => {}
            Err(trouble) => return Err(crate::Error::device(format!("probe: receiving: {trouble:?}"))),
        }
    }
    let contiguous = samples > 0 && breaks == overflows;
    probed.measured.rx_time = Some(contiguous && first == Some(0));
    probed.note(
        "reception",
        samples > 0,
        format!(
            "untimed start {}; timed start off by {} samples; {breaks} breaks in time, {overflows} overflows",
            if untimed { "taken" } else { "refused" },
            first.map_or("?".into(), |first: i64| first.to_string())
        ),
    );
    let speed = samples as f64 / since.elapsed().as_secs_f64() / 1e6;
    Ok(format!("{speed:.2} MS/s on each of {} channels received", rows.len()))
}

/// Bursts of zeros at minimum gain: one at its time, one too late. A reader keeps the time going.
fn bursts(
    device: &SoapyDevice,
    profile: &Profile,
    rate_hz: f64,
    receiver: &mut ReceiveStream,
    probed: &mut Probed,
) -> Result<()> {
    let tx = &profile.tx;
    let mut sender = device.send_stream(&tx.channels, tx.format, tx.full_scale, &tx.stream_args)?;
    sender.activate()?;
    let zeros = vec![Complex32::default(); 64];
    let rows = vec![&zeros[..]; tx.channels.len()];
    let done = AtomicBool::new(false);
    let lead = tx.lead_samples(rate_hz);
    let waits = device.waits();
    let (ended, late, starved) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rows = vec![vec![Complex32::default(); RECEIVE_CHUNK]; profile.rx.channels.len()];
            while !done.load(Ordering::Relaxed) {
                // Overflows are of no concern here.
                let _ = receiver.read(rows.iter_mut().map(|row| &mut row[..]), Duration::from_millis(20));
            }
        });
        let early = || device.now().map(|now| now + 2 * lead.max(RECEIVE_CHUNK as i64));
        let mut burst = |at: Result<i64>, ends: bool| -> Result<Option<StatusKind>, Trouble> {
            sender.write(&rows, Some(at.map_err(|_| Trouble::Gone)?), ends, TELL)?;
            Ok(sender.status(TELL).map(|status| status.what))
        };
        let ended = burst(early(), true);
        let late = burst(device.now().map(|now| now - 1000), true);
        // In lockstep nothing ever runs dry.
        let starved = (!waits).then(|| {
            std::iter::from_fn(|| sender.status(TELL)).for_each(drop);
            let starved = burst_open(&mut sender, &rows, early());
            let _ = sender.write(&rows, None, true, TELL);
            let told: Vec<_> = std::iter::from_fn(|| sender.status(TELL)).map(|status| status.what).collect();
            (starved, told.contains(&StatusKind::BurstEnded))
        });
        done.store(true, Ordering::Relaxed);
        (ended, late, starved)
    });
    sender.deactivate();
    let acknowledged = ended == Ok(Some(StatusKind::BurstEnded));
    let lates = [Ok(Some(StatusKind::Trouble(Trouble::Late))), Err(Trouble::Late)];
    let measured = &mut probed.measured;
    measured.burst_acknowledged = Some(acknowledged);
    measured.late_reported = Some(lates.contains(&late));
    measured.late = Some(match &late {
        Err(_) => Late::Refused,
        Ok(Some(StatusKind::Trouble(_))) => Late::Reported,
        Ok(_) => Late::Silent,
    });
    measured.acknowledge = Some(match (acknowledged, &starved) {
        (false, _) => Acknowledge::Never,
        (true, Some((_, false))) => Acknowledge::Unbroken,
        (true, _) => Acknowledge::Always,
    });
    measured.underflow = starved.map(|(told, ended)| match (told, ended) {
        (Some(StatusKind::Trouble(Trouble::Underflow)), true) => Underflow::NextPacket,
        (Some(StatusKind::Trouble(Trouble::Underflow)), false) => Underflow::NextBurst,
        _ => Underflow::Silent,
    });
    let contract = profile.contract(&probed.args);
    let fits = measured.late == Some(contract.late)
        && measured.acknowledge == Some(contract.acknowledge)
        && measured.underflow.is_none_or(|underflow| underflow == contract.underflow);
    let found = format!(
        "the end of a burst: {ended:?}; a burst that is too late: {late:?}; nothing to send: {:?}; {}",
        measured.underflow,
        if fits { "as the profile has it" } else { "not as the profile has it: --write puts it there" }
    );
    probed.note("bursts", fits, found);
    Ok(())
}

/// Begins a burst that is never continued; what the device tells of it.
fn burst_open(sender: &mut SendStream, rows: &[&[Complex32]], at: Result<i64>) -> Option<StatusKind> {
    sender.write(rows, Some(at.ok()?), false, TELL).ok()?;
    sender.status(TELL).map(|status| status.what)
}

/// Levels and crosstalk of every path, latency, phases over tunings, and silence after the stop.
fn over_cable(
    device: &SoapyDevice,
    profile: &Profile,
    scene: &Scene,
    permission: &Permission,
    receiver: &mut ReceiveStream,
    probed: &mut Probed,
) -> Result<()> {
    let waveform = &scene.waveform;
    let rate_hz = scene.sample_rate_hz();
    let counters: Arc<Counters> = Arc::default();
    let clock = Arc::new(DeviceClock::new(device, rate_hz)?);
    let contract = profile.contract(&probed.args);
    let mut transmitter = Transmitter::open(device, &clock, profile, contract, rate_hz, permission, &counters)?;
    let (tx, rx) = (&profile.tx.channels, &profile.rx.channels);
    let counts = [tx.len(), rx.len()];
    let (mut phases, mut levels, mut latency) = (Vec::new(), String::new(), 0);
    let quiet = heard_power(receiver, rx.len());
    transmitter.start()?;
    for _ in 0..RETUNES {
        for &channel in tx {
            device.tune(Side::Tx, channel, waveform.carrier_hz, profile.tx.lo_offset_hz)?;
        }
        profile.sync.settle();
        receiver.deactivate();
        let from = device.now()? + profile.rx.start_delay_samples(rate_hz);
        receiver.activate(Some(from))?;
        let lead = profile.tx.lead_samples(rate_hz);
        let power_w = transmitter.allowed_w(scene);
        let rx_time = probed.measured.rx_time == Some(true);
        let schedule = Schedule { begin: from + lead, heard_from: from, rx_time };
        let (responses, _) = calibrate::sound(&mut transmitter, receiver, counts, schedule, power_w)?;
        let path_db: Vec<_> = responses.iter().map(|row| row.iter().map(|tones| level_db(tones)).collect()).collect();
        levels = matrix(&path_db);
        latency = calibrate::delay_samples(&responses[0][0]).round() as i64;
        let [offsets, _] = calibrate::offsets(Mode::Cable, scene, responses, [tx, rx], 0..rx.len());
        phases.push(offsets.last().map_or(0.0, |offset| offset.phase_deg));
    }
    let mean: Complex64 = phases.iter().map(|phase| Complex64::cis(phase.to_radians())).sum();
    let off = |phase: &f64| (Complex64::cis(phase.to_radians()) * mean.conj()).arg().to_degrees().abs();
    let spread_deg = phases.iter().map(off).fold(0.0, f64::max);
    let phase = if spread_deg < FIXED_DEG { PhaseAfterRetune::Fixed } else { PhaseAfterRetune::Random };
    probed.measured.phase_after_retune = Some(phase);
    probed.measured.latency_samples = Some(latency);
    let found = format!("dB by receiver: {levels}; {latency} samples; phases over {RETUNES} tunings ±{spread_deg:.1}°");
    probed.note("levels, latency, phases", true, found);
    let done = AtomicBool::new(false);
    let after = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                heard_power(receiver, rx.len());
            }
            heard_power(receiver, rx.len())
        });
        transmitter.stop();
        // Samples that are still on their way.
        std::thread::sleep(Duration::from_millis(50));
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap_or(f64::INFINITY)
    });
    let rise_db = decibel(after.max(1e-20) / quiet.max(1e-20));
    let found = format!("{rise_db:+.1} dB against before; {}", counters.failure().unwrap_or("end acknowledged"));
    probed.note("safe stop", rise_db < 3.0 && counters.failure().is_none(), found);
    Ok(())
}

fn level_db(tones: &[Complex64]) -> f64 {
    decibel(tones.iter().map(Complex64::norm_sqr).sum::<f64>() / tones.len() as f64)
}

/// Levels against the strongest.
fn matrix(levels: &[Vec<f64>]) -> String {
    let top = levels.iter().flatten().copied().fold(f64::MIN, f64::max);
    let row = |row: &Vec<f64>| row.iter().map(|level| format!("{:.1}", level - top)).collect::<Vec<_>>().join(" ");
    levels.iter().map(row).collect::<Vec<_>>().join(" | ")
}

/// Mean power over one read, in full scale.
fn heard_power(receiver: &mut ReceiveStream, channels: usize) -> f64 {
    let mut rows = vec![vec![Complex32::default(); RECEIVE_CHUNK]; channels];
    match receiver.read(rows.iter_mut().map(|row| &mut row[..]), Duration::from_millis(100)) {
        Ok((count, _)) => rows.iter().map(|row| mean_power(&row[..count.max(1)])).sum(),
        Err(_) => 0.0,
    }
}
