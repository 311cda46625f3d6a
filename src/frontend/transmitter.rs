//! The transmitting side of a radio: frames become timed bursts, within limits, and every way out ends in silence.
//!
//! A burst is open from a timed first write to a block of zeros that carries the end. Frames that follow without a gap
//! continue it. Whatever goes wrong ends it, and the next frame that is early enough opens a new one at its own time:
//! nothing waits for anybody, and a frame that cannot go at its time does not go. What a driver says of trouble, and
//! what it leaves to the host to find out, stands in its [`Contract`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use num_complex::Complex32;

use super::bursts::Bursts;
use super::contract::{Acknowledge, Contract, Late, Times, Underflow};
use super::device::{SendStream, Side, SoapyDevice, StatusKind, Trouble};
use super::device_clock::DeviceClock;
use super::profile::MAX_CHANNELS;
use super::silencer::Loud;
use super::watchdog::Vitals;
use super::{Counters, Permission, Profile, sqrt_w};
use crate::Result;
use crate::dsp::mean_power;
use crate::scene::{Scene, dbm_to_w};
use crate::stream::Frame;

/// Largest magnitude of a sample on the wire, in full scale.
const PEAK: f32 = 0.7;

/// Zeros at the end of a burst.
const TAIL: usize = 32;

/// Longest wait for one write, and for a sign that a burst has ended.
const WRITE_WAIT: Duration = Duration::from_millis(50);
const END_WAIT: Duration = Duration::from_millis(500);

/// Steps in which gains rise.
const GAIN_STEPS: u32 = 10;

/// Frames that may be on their way through the device at once, and be lost there.
const UNDER_WAY: usize = 512;

/// A frame that was written: its number, and its samples in the device's clock.
#[derive(Debug, Clone, Copy)]
struct Written {
    frame: u64,
    begin: i64,
    end: i64,
}

/// The transmitting side.
pub(super) struct Transmitter {
    device: SoapyDevice,
    clock: Arc<DeviceClock>,
    contract: Contract,
    stream: SendStream,
    channels: Vec<usize>,
    gain_db: f64,
    /// Factor from √W to full scale.
    factor: f32,
    /// Inverse of what each channel does to its samples.
    corrections: Vec<Complex32>,
    cap_w: f64,
    /// Samples that may still be sent in this run.
    allowance: Option<i64>,
    timed: bool,
    lead: i64,
    /// Most samples before the next one's time at which it is written.
    ahead: i64,
    /// Samples that must still be left before the next one's time for it to be written.
    deadline: i64,
    /// Samples without a frame after which the transmitter has failed.
    longest_silence: i64,
    watchdog: Duration,
    /// Raised cosine, from nearly 0 to nearly 1.
    ramp: Vec<f32>,
    /// The sample that continues the open burst.
    next: Option<i64>,
    /// The first sample for which nothing was written, and the first after the end of the last burst.
    reached: i64,
    free_from: i64,
    bursts: Bursts,
    /// Frames that may not have been sent yet, and those that turned out not to be.
    written: VecDeque<Written>,
    lost: Vec<u64>,
    /// Since when frame after frame is left out.
    silent_since: Option<i64>,
    /// Errors of the stream one after another.
    errors: u32,
    last: Vec<Complex32>,
    packet: Vec<Vec<Complex32>>,
    loud: bool,
    counters: Arc<Counters>,
    pub(super) vitals: Arc<Vitals>,
    /// Whoever has to leave at once silences it by this.
    _loud: Arc<Loud>,
}

impl Transmitter {
    /// The transmitter of an opened device; only with a permission.
    pub(super) fn open(
        device: &SoapyDevice,
        clock: &Arc<DeviceClock>,
        profile: &Profile,
        contract: Contract,
        rate_hz: f64,
        permission: &Permission,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let tx = &profile.tx;
        let stream = device.send_stream(&tx.channels, tx.format, tx.full_scale, &tx.stream_args)?;
        let vitals = Arc::new(Vitals::new());
        let length = tx.ramp_samples as f32;
        let rise = |n: usize| 0.5 - 0.5 * (std::f32::consts::PI * (n as f32 + 0.5) / length).cos();
        Ok(Self {
            packet: vec![vec![Complex32::default(); stream.mtu()]; tx.channels.len()],
            last: vec![Complex32::default(); tx.channels.len()],
            factor: 1.0 / sqrt_w(tx.full_scale_dbm),
            corrections: vec![1.0.into(); tx.channels.len()],
            channels: tx.channels.clone(),
            gain_db: tx.gain_db,
            cap_w: dbm_to_w(permission.max_dbm),
            allowance: permission.max_seconds.map(|seconds| (seconds * rate_hz) as i64),
            timed: profile.sync.hardware_time,
            lead: tx.lead_samples(rate_hz),
            // A burst may be opened no later than its lead allows.
            ahead: (tx.ahead_ms.max(2.0 * tx.lead_ms) * 1e-3 * rate_hz) as i64,
            deadline: (tx.deadline_ms * 1e-3 * rate_hz) as i64,
            longest_silence: (tx.silence_max_s * rate_hz) as i64,
            watchdog: Duration::from_secs_f64(tx.watchdog_ms * 1e-3),
            ramp: (0..tx.ramp_samples).map(rise).collect(),
            next: None,
            reached: i64::MIN,
            free_from: i64::MIN,
            bursts: Bursts::new(contract.acknowledge == Acknowledge::Unbroken),
            written: VecDeque::with_capacity(UNDER_WAY),
            lost: Vec::with_capacity(UNDER_WAY),
            silent_since: None,
            errors: 0,
            loud: false,
            counters: Arc::clone(counters),
            _loud: Loud::new(device, &tx.channels, &vitals),
            vitals,
            device: device.clone(),
            clock: Arc::clone(clock),
            contract,
            stream,
        })
    }

    /// Multiplies each channel's samples by these factors from now on.
    pub(super) fn correct(&mut self, corrections: &[Complex32]) {
        self.corrections.copy_from_slice(corrections);
    }

    /// Power of the scene, within what is permitted.
    pub(super) fn allowed_w(&self, scene: &Scene) -> f64 {
        dbm_to_w(scene.constraints.power_dbm).min(self.cap_w)
    }

    /// Ends the burst and leaves everything else as it is.
    pub(super) fn pause(&mut self) {
        self.end_burst();
    }

    /// Starts the stream.
    pub(super) fn start(&mut self) -> Result<()> {
        self.stream.activate()
    }

    /// Gains from minimum to their value, in steps.
    fn raise(&mut self) {
        if self.loud {
            return;
        }
        self.loud = true;
        for step in 1..=GAIN_STEPS {
            for &channel in &self.channels {
                if self.vitals.abort.load(Ordering::SeqCst) {
                    return;
                }
                let Ok([minimum, _]) = self.device.gain_range_db(Side::Tx, channel) else { continue };
                let gain_db = minimum + (self.gain_db - minimum) * f64::from(step) / f64::from(GAIN_STEPS);
                if self.device.set_gain(Side::Tx, channel, gain_db).is_err() {
                    self.counters.failed("a gain could not be set");
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn silence(&mut self) {
        self.loud = false;
        for &channel in &self.channels {
            if self.device.silence(channel).is_err() {
                self.counters.failed("a gain could not be set to its minimum: check the transmitter");
            }
        }
    }

    /// Sends a frame at a time of the device's clock, or leaves it out if that is too near. The mean power in W, summed over
    /// the ports, that it was sent with; `None` where not all of it was sent.
    pub(super) fn send(&mut self, at: i64, frame: &Frame<Complex32>) -> Option<f64> {
        if self.counters.failure().is_some() {
            return None;
        }
        if let Some(allowance) = &mut self.allowance {
            *allowance -= frame.head.valid as i64;
            if *allowance < 0 {
                self.end_burst();
                self.counters.failed("the band entry's max_seconds are over");
                return None;
            }
        }
        // What the device has to tell of the burst that this frame would continue.
        if let Err(trouble) = self.poll() {
            self.recover(trouble);
        }
        if self.next != Some(at) || self.misses(at) {
            self.end_burst();
            // First of all: it may take longer than there is time before the frame.
            self.raise();
            if self.timed && at < self.free_from.max(self.clock.now() + self.lead) {
                self.leave_out();
                return None;
            }
            Counters::count(&self.counters.bursts);
            self.bursts.open(if self.timed { at } else { self.clock.now() });
        }
        let opens = self.next.is_none();
        self.hold(at);
        self.vitals.beat();
        self.vitals.in_burst.store(true, Ordering::Relaxed);
        match self.write_frame(at, frame, opens) {
            Ok(power_w) => {
                let end = at + frame.head.valid as i64;
                self.next = Some(end);
                (self.errors, self.silent_since) = (0, None);
                if self.written.len() == UNDER_WAY {
                    self.written.pop_front();
                }
                self.written.push_back(Written { frame: frame.head.sequence, begin: at, end });
                Counters::count(&self.counters.frames_sent);
                Some(power_w)
            }
            Err(trouble) => {
                // Whatever the device made of it, a burst may be open.
                self.next.get_or_insert(at);
                self.leave_out();
                self.recover(trouble);
                None
            }
        }
    }

    /// Waits while a frame's time is far away: a driver that drops everything to the end of a burst takes it as fast as it
    /// comes, and all of that is lost.
    fn hold(&self, at: i64) {
        while self.timed && !self.clock.waits() && at > self.clock.now() + self.ahead {
            if self.vitals.abort.load(Ordering::Relaxed) {
                return;
            }
            self.vitals.beat();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Frames that were written and turned out not to have been sent, since the last call.
    pub(super) fn take_lost(&mut self) -> impl Iterator<Item = u64> {
        self.lost.drain(..)
    }

    /// Whether the open burst can no longer be continued in time: then the device has nothing to send, whether it says so
    /// or not.
    fn misses(&mut self, at: i64) -> bool {
        let is_late = self.timed && !self.clock.waits() && at < self.clock.now() + self.deadline;
        if is_late && self.bursts.fault(None).is_news {
            Counters::count(&self.counters.underflows);
        }
        is_late
    }

    fn leave_out(&mut self) {
        Counters::count(&self.counters.frames_left_out);
        if !self.timed {
            return;
        }
        let now = self.clock.now();
        let since = *self.silent_since.get_or_insert(now);
        if now - since > self.longest_silence {
            self.counters.failed("no frame was early enough for tx.silence_max_s: check tx.lead_ms and the rate");
        }
    }

    /// Ends the burst after something went wrong. What it was is counted already.
    fn recover(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Timeout => {
                // The device takes nothing: one more try, then the gains, and the run is over.
                self.counters.failed("the device takes no samples: check the transmitter");
                self.vitals.abort.store(true, Ordering::Relaxed);
                self.park();
                self.vitals.abort.store(false, Ordering::Relaxed);
            }
            Trouble::Broken | Trouble::Gone => {
                self.errors += 1;
                if self.errors > self.contract.errors {
                    self.counters.failed("the transmitting device is gone");
                    self.next = None;
                    self.vitals.in_burst.store(false, Ordering::Relaxed);
                    return;
                }
                self.end_burst();
                // A stream that failed works again after a new start, if at all.
                self.stream.deactivate();
                if self.stream.activate().is_err() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Trouble::Late | Trouble::Underflow | Trouble::Corrupt | Trouble::Overflow => self.end_burst(),
        }
    }

    /// Counts some trouble, unless it is known.
    fn note(&mut self, trouble: Trouble, at: Option<i64>) -> bool {
        let fault = self.bursts.fault(at);
        if fault.is_news {
            let counters = &self.counters;
            Counters::count(match trouble {
                Trouble::Late => &counters.late,
                Trouble::Underflow => &counters.underflows,
                Trouble::Corrupt => &counters.packets_lost,
                _ => &counters.stream_errors,
            });
            self.lose(trouble, at);
        }
        fault.is_open
    }

    /// Which frames that were written are not sent because of what happened at a time.
    fn lose(&mut self, trouble: Trouble, at: Option<i64>) {
        let Some(at) = at else { return };
        let alone = trouble == Trouble::Corrupt || self.contract.underflow == Underflow::NextPacket;
        for written in self.written.iter().filter(|written| written.end > at) {
            if alone && written.begin > at {
                continue;
            }
            if self.lost.len() < UNDER_WAY && !self.lost.contains(&written.frame) {
                self.lost.push(written.frame);
                Counters::count(&self.counters.frames_left_out);
            }
        }
        self.written.retain(|written| written.end <= at || (alone && written.begin > at));
    }

    fn write_frame(&mut self, at: i64, frame: &Frame<Complex32>, opens: bool) -> Result<f64, Trouble> {
        let (factor, power_w) = self.allowed_factor(frame);
        let mut from = 0;
        while from < frame.head.valid {
            if from > 0 && self.misses(at + from as i64) {
                return Err(Trouble::Underflow);
            }
            let count = (frame.head.valid - from).min(self.stream.mtu());
            let ramp: &[f32] = if opens { &self.ramp } else { &[] };
            let mut limited = 0;
            for (row, (packet, correction)) in self.packet.iter_mut().zip(&self.corrections).enumerate() {
                let samples = &frame.row(row)[from..from + count];
                for (n, (to, sample)) in packet.iter_mut().zip(samples).enumerate() {
                    let value = sample * correction * factor * ramp.get(from + n).copied().unwrap_or(1.0);
                    let power = value.norm_sqr();
                    limited += u64::from(power > PEAK * PEAK);
                    *to = if power > PEAK * PEAK { value * (PEAK / power.sqrt()) } else { value };
                }
            }
            self.counters.limited.fetch_add(limited, Ordering::Relaxed);
            let first = from == 0;
            let has_time = match self.contract.times {
                Times::Packet => true,
                Times::Frame => first,
                Times::Burst => first && opens,
            };
            let start = (self.timed && has_time).then_some(at + from as i64);
            let written = self.write_packet(0..count, start, false)?;
            self.was_late(at + from as i64, first && opens)?;
            from += written;
            self.reached = at + from as i64;
            self.poll()?;
        }
        Ok(power_w)
    }

    /// The factor from √W to full scale for a frame: less where more power than permitted would leave the converters, with
    /// the channels' corrections in it. And the power that leaves the ports then: what a correction adds, its channel loses.
    fn allowed_factor(&self, frame: &Frame<Complex32>) -> (f32, f64) {
        let (mut asked_w, mut driven_w) = (0.0, 0.0);
        for (row, correction) in self.corrections.iter().enumerate() {
            let power_w = mean_power(frame.row(row));
            asked_w += power_w;
            driven_w += power_w * f64::from(correction.norm_sqr());
        }
        if driven_w <= self.cap_w {
            return (self.factor, asked_w);
        }
        Counters::count(&self.counters.frames_capped);
        let share = self.cap_w / driven_w;
        (self.factor * share.sqrt() as f32, asked_w * share)
    }

    /// Finds out whether a driver that says nothing of it was given a packet, of a burst's beginning or not, too late.
    fn was_late(&mut self, at: i64, opens: bool) -> Result<(), Trouble> {
        let is_silent = match opens {
            true => self.contract.late == Late::Silent,
            false => self.contract.underflow == Underflow::Silent,
        };
        if !is_silent || !self.timed || self.clock.waits() || self.clock.now() <= at {
            return Ok(());
        }
        let trouble = if opens { Trouble::Late } else { Trouble::Underflow };
        self.note(trouble, None);
        Err(trouble)
    }

    /// Writes samples of the packet, waiting for the device no longer than the watchdog allows.
    fn write_packet(&mut self, range: std::ops::Range<usize>, at: Option<i64>, ends: bool) -> Result<usize, Trouble> {
        let since = Instant::now();
        loop {
            let mut rows: [&[Complex32]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
            rows.iter_mut().zip(&self.packet).for_each(|(row, packet)| *row = &packet[range.clone()]);
            let (stream, rows) = (&mut self.stream, &rows[..self.channels.len()]);
            match self.counters.sent.time(|| stream.write(rows, at, ends, WRITE_WAIT)) {
                Ok(0) | Err(Trouble::Timeout) => {
                    if self.vitals.abort.load(Ordering::Relaxed) || since.elapsed() > self.watchdog {
                        return Err(Trouble::Timeout);
                    }
                }
                Ok(count) => {
                    self.counters.sent.add(count);
                    self.vitals.beat();
                    let newest = range.start + count - 1;
                    self.last.iter_mut().zip(&self.packet).for_each(|(last, packet)| *last = packet[newest]);
                    return Ok(count);
                }
                Err(trouble) => {
                    self.note(trouble, None);
                    return Err(trouble);
                }
            }
        }
    }

    /// Takes in all that the device has to tell; an error where it is of the burst that is open.
    fn poll(&mut self) -> Result<(), Trouble> {
        let mut broken = Ok(());
        // A stream that fails answers every question with its failure.
        for _ in 0..1024 {
            let Some(status) = self.stream.status(Duration::ZERO) else { break };
            match status.what {
                StatusKind::BurstEnded => self.bursts.acknowledged(status.at),
                StatusKind::Other => {}
                StatusKind::Trouble(trouble) => {
                    let is_open = self.note(trouble, status.at);
                    if is_open && broken.is_ok() {
                        broken = Err(trouble);
                    }
                    if trouble == Trouble::Broken {
                        break;
                    }
                }
            }
        }
        broken
    }

    /// Brings the open burst from its last sample down to zero and ends it; one that is broken ends in zeros at once, as
    /// nobody knows when they are sent.
    fn end_burst(&mut self) {
        let Some(next) = self.next.take() else { return };
        let is_faulted = self.bursts.is_faulted();
        let length = if is_faulted { 0 } else { self.ramp.len().min(self.stream.mtu() - TAIL) };
        for (packet, last) in self.packet.iter_mut().zip(&self.last) {
            for (sample, rise) in packet[..length].iter_mut().zip(self.ramp.iter().rev()) {
                *sample = last * *rise;
            }
            packet[length..length + TAIL].fill(Complex32::default());
        }
        let (mut from, end) = (0, length + TAIL);
        self.free_from = self.reached.max(next) + end as i64;
        let mut is_written = true;
        while from < end {
            // The flag goes with zeros alone: a driver may honour it on a part.
            let ends = from >= length;
            let range = from..if ends { end } else { length };
            let each = self.timed && !is_faulted && self.contract.times == Times::Packet;
            match self.write_packet(range, each.then_some(next + from as i64), ends) {
                Ok(count) => from += count,
                // A fault of the burst that ends here is no news.
                Err(Trouble::Late | Trouble::Underflow | Trouble::Overflow | Trouble::Corrupt | Trouble::Broken) => {
                    is_written = false;
                    break;
                }
                Err(Trouble::Timeout) => {
                    self.counters.failed("the end of a burst could not be written: check the transmitter");
                    is_written = false;
                    break;
                }
                Err(Trouble::Gone) => {
                    self.counters.failed("the transmitting device is gone");
                    is_written = false;
                    break;
                }
            }
        }
        let awaited = match self.contract.acknowledge {
            Acknowledge::Always => is_written,
            Acknowledge::Unbroken => is_written && !is_faulted,
            Acknowledge::Never => false,
        };
        self.bursts.close(awaited);
        self.vitals.in_burst.store(false, Ordering::Relaxed);
    }

    /// Ends the burst and turns the gains down; a later frame opens a new one.
    pub(super) fn rest(&mut self) {
        self.end_burst();
        self.await_end();
        self.silence();
    }

    /// The watchdog's way out.
    pub(super) fn park(&mut self) {
        self.rest();
        Counters::count(&self.counters.timeouts);
    }

    /// The way out: ramp, zeros, the device's word that the burst has ended, gains at minimum, stream stopped.
    pub(super) fn stop(&mut self) {
        let end = self.next;
        self.end_burst();
        self.await_end();
        if self.contract.acknowledge == Acknowledge::Never {
            self.outlast(end);
        }
        self.silence();
        self.stream.deactivate();
    }

    /// Waits for the device to acknowledge every burst's end.
    fn await_end(&mut self) {
        let since = Instant::now();
        while self.bursts.is_awaited() && since.elapsed() < END_WAIT {
            match self.stream.status(WRITE_WAIT).map(|status| (status.what, status.at)) {
                Some((StatusKind::BurstEnded, at)) => self.bursts.acknowledged(at),
                Some((StatusKind::Trouble(Trouble::Broken), _)) => break,
                // One that broke while it ended may end without a word.
                Some((StatusKind::Trouble(trouble), at)) => {
                    self.note(trouble, at);
                }
                Some((StatusKind::Other, _)) | None => {}
            }
        }
        if self.bursts.is_awaited() {
            self.bursts.give_up();
            self.counters.failed("the device did not acknowledge the end of a burst: check the transmitter");
        }
    }

    /// Waits until a burst that nobody acknowledges must have been sent.
    fn outlast(&self, end: Option<i64>) {
        let since = Instant::now();
        while end.is_some_and(|end| self.timed && self.clock.now() <= end + (self.ramp.len() + TAIL) as i64)
            && !self.clock.waits()
            && since.elapsed() < END_WAIT
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
#[path = "transmitter_tests.rs"]
mod tests;
