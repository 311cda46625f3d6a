//! The transmitting side of a radio: frames become timed bursts, within limits, and every way out ends in silence.
//!
//! A burst is open from a timed first write to a block of zeros that carries the end. Frames that follow without a gap
//! continue it; a late or starved burst is ended and the next frame that is early enough opens a new one at its own time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use num_complex::Complex32;

use super::device::{SendStream, Side, SoapyDevice, Status, Trouble};
use super::profile::MAX_CHANNELS;
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

/// The transmitting side.
pub(super) struct Transmitter {
    device: SoapyDevice,
    stream: SendStream,
    channels: Vec<usize>,
    gain_db: f64,
    /// Factor from √W to full scale.
    factor: f32,
    /// Inverse of what each channel does to its samples.
    corrections: Vec<Complex32>,
    cap_w: f64,
    timed: bool,
    lead: i64,
    watchdog: Duration,
    /// Raised cosine, from nearly 0 to nearly 1.
    ramp: Vec<f32>,
    /// The sample that continues the open burst.
    next: Option<i64>,
    last: Vec<Complex32>,
    packet: Vec<Vec<Complex32>>,
    loud: bool,
    /// Ends of bursts that the device has not acknowledged yet.
    awaited: u32,
    counters: Arc<Counters>,
    pub(super) vitals: Arc<Vitals>,
}

impl Transmitter {
    /// The transmitter of an opened device; only with a permission.
    pub(super) fn open(
        device: &SoapyDevice,
        profile: &Profile,
        rate_hz: f64,
        permission: &Permission,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let tx = &profile.tx;
        let stream = device.send_stream(&tx.channels, tx.format, tx.full_scale, &tx.stream_args)?;
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
            timed: profile.sync.hardware_time,
            lead: tx.lead_samples(rate_hz),
            watchdog: Duration::from_secs_f64(tx.watchdog_ms * 1e-3),
            ramp: (0..tx.ramp_samples).map(rise).collect(),
            next: None,
            loud: false,
            awaited: 0,
            counters: Arc::clone(counters),
            vitals: Arc::new(Vitals::new()),
            device: device.clone(),
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

    /// Sends a frame at a time of the device's clock, or leaves it out if that is too near. False where not all of it was
    /// sent.
    pub(super) fn send(&mut self, at: i64, frame: &Frame<Complex32>) -> bool {
        if self.counters.failure().is_some() {
            return false;
        }
        if self.next != Some(at) {
            self.end_burst();
            let early = !self.timed || self.device.now().is_ok_and(|now| at >= now + self.lead);
            if !early {
                Counters::count(&self.counters.frames_left_out);
                return false;
            }
            self.raise();
            Counters::count(&self.counters.bursts);
        }
        let opens = self.next.is_none();
        self.vitals.beat();
        self.vitals.in_burst.store(true, Ordering::Relaxed);
        match self.write_frame(at, frame, opens) {
            Ok(()) => {
                self.next = Some(at + frame.head.valid as i64);
                true
            }
            Err(trouble) => {
                self.recover(trouble);
                false
            }
        }
    }

    fn recover(&mut self, trouble: Trouble) {
        let counters = Arc::clone(&self.counters);
        Counters::count(&counters.frames_left_out);
        // Whatever the device made of it, a burst may be open.
        self.next.get_or_insert(0);
        match trouble {
            Trouble::Late => Counters::count(&counters.late),
            Trouble::Underflow => Counters::count(&counters.underflows),
            Trouble::Timeout => {
                // The device takes nothing: one more try, then the gains, and the run is over.
                counters.failed("the device takes no samples: check the transmitter");
                self.vitals.abort.store(true, Ordering::Relaxed);
                self.park();
                self.vitals.abort.store(false, Ordering::Relaxed);
                return;
            }
            Trouble::Overflow | Trouble::Gone => {
                counters.failed("the transmitting device is gone");
                self.next = None;
                self.vitals.in_burst.store(false, Ordering::Relaxed);
                return;
            }
        }
        self.end_burst();
    }

    fn write_frame(&mut self, at: i64, frame: &Frame<Complex32>, opens: bool) -> Result<(), Trouble> {
        let power_w: f64 = (0..self.channels.len()).map(|row| mean_power(frame.row(row))).sum();
        let mut factor = self.factor;
        if power_w > self.cap_w {
            factor *= (self.cap_w / power_w).sqrt() as f32;
            Counters::count(&self.counters.frames_capped);
        }
        let mut from = 0;
        while from < frame.head.valid {
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
            let start = (opens && from == 0 && self.timed).then_some(at);
            from += self.write_packet(0..count, start, false)?;
            self.poll()?;
        }
        Ok(())
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
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Takes in what the device has to tell.
    fn poll(&mut self) -> Result<(), Trouble> {
        loop {
            match self.stream.status(Duration::ZERO) {
                Ok(Status::BurstEnded) => self.awaited = self.awaited.saturating_sub(1),
                Ok(Status::Other) => {}
                Err(Trouble::Timeout) => return Ok(()),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Brings the open burst from its last sample down to zero and ends it.
    fn end_burst(&mut self) {
        if self.next.take().is_none() {
            return;
        }
        let length = self.ramp.len().min(self.stream.mtu() - TAIL);
        for (packet, last) in self.packet.iter_mut().zip(&self.last) {
            for (sample, rise) in packet[..length].iter_mut().zip(self.ramp.iter().rev()) {
                *sample = last * *rise;
            }
            packet[length..length + TAIL].fill(Complex32::default());
        }
        let (mut from, end) = (0, length + TAIL);
        while from < end {
            // The flag goes with zeros alone: a driver may honour it on a part.
            let ends = from >= length;
            let range = from..if ends { end } else { length };
            match self.write_packet(range, None, ends) {
                Ok(count) => {
                    from += count;
                    self.awaited += u32::from(from == end);
                }
                // A fault of the burst that ends here is no news.
                Err(Trouble::Late | Trouble::Underflow | Trouble::Overflow) => break,
                Err(Trouble::Timeout) => {
                    self.counters.failed("the end of a burst could not be written: check the transmitter");
                    break;
                }
                Err(Trouble::Gone) => {
                    self.counters.failed("the transmitting device is gone");
                    break;
                }
            }
        }
        self.vitals.in_burst.store(false, Ordering::Relaxed);
    }

    /// Ends the burst and turns the gains down; a later frame opens a new one. The watchdog's way out.
    pub(super) fn park(&mut self) {
        self.end_burst();
        self.await_end();
        self.silence();
        Counters::count(&self.counters.timeouts);
    }

    /// The way out: ramp, zeros, the device's word that the burst has ended, gains at minimum, stream stopped.
    pub(super) fn stop(&mut self) {
        self.end_burst();
        self.await_end();
        self.silence();
        self.stream.deactivate();
    }

    /// Waits for the device to acknowledge every burst's end.
    fn await_end(&mut self) {
        let since = Instant::now();
        while self.awaited > 0 && since.elapsed() < END_WAIT {
            match self.stream.status(WRITE_WAIT) {
                Ok(Status::BurstEnded) => self.awaited -= 1,
                Ok(Status::Other) | Err(Trouble::Timeout | Trouble::Late | Trouble::Underflow) => {}
                Err(Trouble::Overflow | Trouble::Gone) => break,
            }
        }
        if std::mem::take(&mut self.awaited) > 0 {
            self.counters.failed("the device did not acknowledge the end of a burst: check the transmitter");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    use crate::stream::Head;

    const RATE_HZ: f64 = 1e6;

    /// One channel through an ideal air, and what is heard of `work`.
    fn heard(label: &str, work: impl FnOnce(&mut Transmitter) + Send) -> (Vec<Complex32>, Arc<Counters>) {
        let text = include_str!("../../hardware/profiles/virtual.toml");
        let text = text.replace("[0, 1, 2, 3, 4]", "[0]").replace("[0, 1, 2, 3]", "[0]");
        let profile = Profile::from_toml(&text.replace("[tx]", "[tx]\nformat = \"CF32\""), "test").unwrap();
        let args = format!("driver=virtual,tx=1,rx=1,air=id,label={label}");
        let mut device = SoapyDevice::open(&args).unwrap();
        device.set_rate(Side::Tx, &[0], RATE_HZ).unwrap();
        let counters = Arc::new(Counters::default());
        let permission = Permission { band: "test".into(), radio: "virtual".into(), max_dbm: 5.0 };
        let mut transmitter = Transmitter::open(&device, &profile, RATE_HZ, &permission, &counters).unwrap();
        let format = super::super::profile::Format::Cf32;
        let mut receiver = device.receive_stream(&[0], format, 1.0, "").unwrap();
        transmitter.start().unwrap();
        receiver.activate(Some(1000)).unwrap();
        let mut samples = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                work(&mut transmitter);
                // Without a transmitter time flows in lockstep.
                transmitter.stream.deactivate();
            });
            while samples.len() < 6000 {
                let mut row = vec![Complex32::default(); super::super::device::RECEIVE_CHUNK];
                let (count, _) = receiver.read(std::iter::once(&mut row[..]), Duration::from_secs(5)).unwrap();
                samples.extend_from_slice(&row[..count]);
            }
        });
        (samples, counters)
    }

    fn constant(amplitude: f32, count: usize) -> Frame<Complex32> {
        let mut frame = Frame::new(1, count);
        frame.row_mut(0).fill(amplitude.into());
        frame.head = Head { valid: count, ..Head::default() };
        frame
    }

    #[test]
    fn a_burst_rises_and_falls_along_a_raised_cosine_and_ends_in_zeros() {
        // 0 dBm where 10 dBm are full scale.
        let (samples, counters) = heard("ramp", |transmitter| {
            transmitter.send(2000, &constant(0.001f32.sqrt(), 1000));
            transmitter.park();
        });
        let level = 0.1f32.sqrt();
        let (burst, ramp) = (&samples[1000..], 64);
        assert!(samples[..1000].iter().all(|sample| sample.norm() == 0.0));
        assert!((1..ramp).all(|n| burst[n].norm() > burst[n - 1].norm()) && burst[0].norm() < 1e-3 * level);
        assert!((burst[ramp / 2].norm() / level - 0.5).abs() < 0.02);
        assert!(burst[ramp..1000].iter().all(|sample| (sample.norm() - level).abs() < 1e-6));
        assert!((1001..1064).all(|n| burst[n].norm() < burst[n - 1].norm()) && burst[1063].norm() < 1e-3 * level);
        assert!(burst[1064..].iter().all(|sample| sample.norm() == 0.0));
        assert_eq!((counters.bursts.load(Ordering::Relaxed), counters.failure()), (1, None));
    }

    #[test]
    fn neither_the_permitted_power_nor_the_peak_is_exceeded() {
        // 8 dBm asked for, 5 dBm allowed.
        let (samples, counters) = heard("cap", |transmitter| {
            transmitter.send(2000, &constant(0.006_309_573_f32.sqrt(), 1000));
            let mut peaks = constant(0.0, 1000);
            peaks.row_mut(0)[500] = 0.2.into();
            transmitter.send(3000, &peaks);
            transmitter.park();
        });
        let power = crate::scene::decibel(mean_power(&samples[1100..1900]));
        assert!((power - (5.0 - 10.0)).abs() < 0.01, "{power} dB of full scale");
        assert!((samples[2500].norm() - PEAK).abs() < 1e-6);
        assert_eq!(counters.frames_capped.load(Ordering::Relaxed), 1);
        assert_eq!(counters.limited.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_frame_that_is_too_near_is_left_out_and_the_next_one_opens_a_burst() {
        let (samples, counters) = heard("near", |transmitter| {
            transmitter.send(1010, &constant(0.01, 500));
            transmitter.send(1510, &constant(0.01, 500));
            transmitter.park();
        });
        assert!(samples[..510].iter().all(|sample| sample.norm() == 0.0) && samples[700].norm() > 0.0);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((count(&counters.frames_left_out), count(&counters.bursts)), (1, 1));
    }
}
