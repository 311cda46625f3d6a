//! `soapy-source`: a radio's receiving side as rows of samples in √W, on the clock of the transmitter's stream. A gap in
//! time shows as one in the frames' times.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::arrivals::{Arrival, Remedy, Trust, remedy};
use super::contract::Restart;
use super::device::{RECEIVE_CHUNK, Trouble};
use super::drift::Hearing;
use super::{Counters, Profile, Radio, Radios, Started, scale_row, sqrt_w, take_out_image};
use crate::Result;
use crate::blocks::{Context, settings};
use crate::exchange::{FarTransmitter, Received};
use crate::stream::{Block, Event, Flow, Frame, Shape, Stage, Telemetry, erase, now_ns};

/// Longest wait for one read; longest time without a sample before the device counts as gone.
const READ_WAIT: Duration = Duration::from_millis(100);
const GIVE_UP: Duration = Duration::from_secs(10);

/// Time for a transmitter elsewhere to begin, or for the reference of the next samples to come; and how long samples wait
/// for it at most.
const CATCH_UP: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// Seconds for which a receiver with a time of its own goes on after the transmitter has ended.
const AFTER_THE_END_S: f64 = 0.25;

/// Magnitude of a component, in full scale, at which a converter of 12 bits or more is at its limit.
const CLIPPED: f32 = 0.9995;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The profile: a shipped name or a path.
    radio: String,
    /// Channels, where not all of the profile's.
    channels: Option<Vec<usize>>,
}

pub(super) fn make(radios: &mut Radios, context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { radio, channels } = settings(keys)?;
    let profile = Profile::find(&radio)?;
    let channels = channels.unwrap_or_else(|| profile.rx.channels.clone());
    let radio = radios.get(context, &profile)?;
    if let Some(radio) = &radio {
        radio.add_receiver(&channels)?;
    }
    if let Some(radio) = &radio {
        context.chain.device = radio.noted();
    }
    Ok(erase(Source {
        channels: channels.len(),
        factor: sqrt_w(profile.rx.full_scale_dbm),
        latency: profile.rx.latency_samples,
        rx_time: profile.sync.hardware_time && profile.sync.rx_time,
        restart: profile.rx.start_delay_samples(context.scene.sample_rate_hz()),
        stall: Duration::from_secs_f64(profile.rx.stall_s),
        rate_hz: context.scene.sample_rate_hz(),
        trust: Trust::default(),
        errors: 0,
        begun_at: Instant::now(),
        telemetry: context.sinks.telemetry.clone(),
        samples: context.run.seconds.map(|seconds| (seconds * context.scene.sample_rate_hz()) as i64),
        received: context.ends.far.as_ref().map(|far| far.source()),
        far: context.ends.far.clone(),
        shared_time: profile.has_shared_time(),
        after_the_end: (AFTER_THE_END_S * context.scene.sample_rate_hz()) as i64,
        radio,
        sequence: 0,
        expected: None,
        excused: false,
        waited: Duration::ZERO,
        waited_at: Instant::now(),
        waits_since: None,
        over_at: None,
        stopped: false,
        images: images(&profile, &channels),
        hearing: Hearing::default(),
    }))
}

struct Source {
    radio: Option<Arc<Radio>>,
    channels: usize,
    factor: f32,
    latency: i64,
    rx_time: bool,
    restart: i64,
    /// Time without a sample after which reception is started again.
    stall: Duration,
    rate_hz: f64,
    /// How far the driver's times can be trusted.
    trust: Trust,
    /// Errors one after another, without a sample between.
    errors: u32,
    /// When reception was started last.
    begun_at: Instant,
    telemetry: Telemetry,
    /// How many samples to receive, where there is an end and nothing is sent from here.
    samples: Option<i64>,
    /// The transmitter, where it is in another process; whether its time is this radio's.
    far: Option<Arc<FarTransmitter>>,
    received: Option<Received>,
    shared_time: bool,
    after_the_end: i64,
    sequence: u64,
    /// Device time of the next sample.
    expected: Option<i64>,
    /// The next gap was announced.
    excused: bool,
    /// For how long no sample came, in waits of this process: one that was stopped meanwhile did not wait.
    waited: Duration,
    waited_at: Instant,
    /// The samples are there, their reference is not.
    waits_since: Option<Instant>,
    /// Device time of the end.
    over_at: Option<i64>,
    stopped: bool,
    /// The image of each channel, where the profile knows of any.
    images: Vec<Complex32>,
    /// What the drift watch hears just now.
    hearing: Hearing,
}

impl Block for Source {
    type In = ();
    type Out = Complex32;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::complex(self.channels, RECEIVE_CHUNK))
    }

    fn work(&mut self, _input: &Frame<()>, output: &mut Frame<Complex32>) -> Flow {
        let Some(radio) = self.radio.clone() else { return Flow::Finished };
        if !radio.can_start() {
            return if self.stopped { Flow::Finished } else { Flow::Later(CATCH_UP) };
        }
        let Some(started) = radio.start() else { return Flow::Finished };
        if self.sequence == 0 && self.expected.is_none() {
            self.came();
        }
        let expected = *self.expected.get_or_insert(started.begin);
        if self.is_over(&radio, started, expected) {
            radio.stop_receiving();
            return Flow::Finished;
        }
        if self.waits_for_reference(expected - started.origin - self.latency) {
            return Flow::Later(CATCH_UP);
        }
        let received = &radio.counters.received;
        let (rate_hz, rx_time) = (self.rate_hz, self.rx_time);
        let trust = &mut self.trust;
        let read = radio.with_receiver(|receiver| {
            let (count, time_ns) = received.time(|| receiver.read_timed(output.rows_mut(), READ_WAIT))?;
            let arrival = if rx_time { trust.judge(receiver, time_ns, expected, rate_hz) } else { Arrival::Next };
            Ok((count, arrival))
        });
        match read.unwrap_or(Err(Trouble::Gone)) {
            Ok((count, arrival)) => {
                received.add(count);
                self.errors = 0;
                self.came();
                self.arrived(&radio, output, (count, arrival), expected, started.origin)
            }
            Err(trouble) => self.failed(&radio, trouble),
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(radio) = &self.radio {
            radio.stop_receiving();
        }
    }
}

/// What these channels add of their conjugate; nothing where the profile says nothing.
fn images(profile: &Profile, channels: &[usize]) -> Vec<Complex32> {
    let of = |channel: &usize| profile.rx.channels.iter().position(|known| known == channel);
    let image = |at: usize| profile.rx.image.get(at).map(|[re, im]| Complex32::new(*re, *im));
    if profile.rx.image.is_empty() {
        return Vec::new();
    }
    channels.iter().map(|channel| of(channel).and_then(image).unwrap_or_default()).collect()
}

/// Samples at the converter's limits.
fn clipped(row: &[Complex32]) -> usize {
    row.iter().filter(|sample| sample.re.abs().max(sample.im.abs()) >= CLIPPED).count()
}

impl Source {
    /// Whether all was received that is to be: what this radio sent, or what was asked for.
    fn is_over(&mut self, radio: &Radio, started: Started, expected: i64) -> bool {
        if radio.counters.failure().is_some() {
            return true;
        }
        let tail = radio.world_tail() + self.latency;
        if radio.transmits() {
            return radio.ended().is_some_and(|end| expected >= end + tail);
        }
        if radio.all_was_sent() && !radio.hears_another_s_world() {
            // By the clock of another device: what is still on its way comes within this time.
            let end = *self.over_at.get_or_insert(expected + self.after_the_end);
            if expected >= end {
                return true;
            }
        }
        if let Some(end) = self.far.as_ref().and_then(|far| far.end())
            && !radio.hears_another_s_world()
        {
            let shared = started.origin + end as i64 + tail;
            let own = *self.over_at.get_or_insert(expected + self.after_the_end);
            if expected >= if self.shared_time { shared } else { own } {
                return true;
            }
        }
        radio.is_over() || self.stopped || self.samples.is_some_and(|samples| expected - started.begin >= samples)
    }

    /// Whether the samples from `sample_time` on have to wait for their reference, which comes by another way.
    fn waits_for_reference(&mut self, sample_time: i64) -> bool {
        let Some(far) = &self.far else { return false };
        let end = u64::try_from(sample_time + RECEIVE_CHUNK as i64).unwrap_or(0);
        self.received.iter().for_each(|received| received.up_to(end));
        if far.refers_to(end) {
            self.waits_since = None;
            return false;
        }
        self.waits_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }

    /// Samples came, and what their time says.
    fn arrived(
        &mut self,
        radio: &Radio,
        output: &mut Frame<Complex32>,
        (count, arrival): (usize, Arrival),
        expected: i64,
        origin: i64,
    ) -> Flow {
        let time = match arrival {
            Arrival::Next => expected,
            Arrival::Gap(step) => expected + step,
            Arrival::Wrong => {
                Counters::count(&radio.counters.wrong_times);
                expected
            }
            Arrival::OffGrid => {
                // Delays would be off by a part of a sample until somebody notices.
                self.begin_again(radio);
                return Flow::Later(Duration::ZERO);
            }
            Arrival::Distrusted(why) => {
                Counters::count(&radio.counters.wrong_times);
                remark!("issc: radio {}: {why}: from now on samples are counted instead", radio.profile.name);
                self.rx_time = false;
                self.lost();
                self.begin_again(radio);
                return Flow::Later(Duration::ZERO);
            }
        };
        self.take(radio, output, count, time, origin)
    }

    /// Nothing came.
    fn failed(&mut self, radio: &Radio, trouble: Trouble) -> Flow {
        let counters = &radio.counters;
        match trouble {
            Trouble::Timeout | Trouble::Late | Trouble::Underflow => {
                self.waited += self.waited_at.elapsed().min(2 * READ_WAIT);
                self.waited_at = Instant::now();
                if self.waited > GIVE_UP {
                    counters.failed("no sample for 10 s");
                    return Flow::Finished;
                }
                // In lockstep nothing comes while nobody sends: that is no stall.
                let since = self.begun_at.elapsed().min(self.waited);
                if !radio.clock.waits() && since > self.stall {
                    self.lost();
                    self.begin_again(radio);
                }
                return Flow::Later(Duration::ZERO);
            }
            Trouble::Overflow => Counters::count(&counters.overflows),
            Trouble::Corrupt => Counters::count(&counters.packets_lost),
            Trouble::Broken | Trouble::Gone => Counters::count(&counters.stream_errors),
        }
        self.lost();
        let restarts_itself = radio.contract.restart == Restart::Itself && self.channels > 1;
        match remedy(trouble, self.rx_time, restarts_itself) {
            Remedy::ReadOn => Flow::Later(Duration::ZERO),
            Remedy::Restart => {
                self.errors += 1;
                if self.errors > radio.contract.errors {
                    counters.failed("the receiving device is gone");
                    return Flow::Finished;
                }
                self.begin_again(radio);
                Flow::Later(if self.errors > 1 { CATCH_UP } else { Duration::ZERO })
            }
        }
    }

    fn take(&mut self, radio: &Radio, output: &mut Frame<Complex32>, count: usize, time: i64, origin: i64) -> Flow {
        // What was announced excuses the next gap, if there is one at once.
        let excused = std::mem::take(&mut self.excused);
        if self.expected != Some(time) && !excused {
            Counters::count(&radio.counters.gaps);
            self.lost();
            self.excused = false;
        }
        self.expected = Some(time + count as i64);
        // What came before the stream's sample 0 is of no use to anybody.
        let sample_time = time - origin - self.latency;
        let early = (-sample_time).clamp(0, count as i64) as usize;
        if early == count {
            return Flow::Later(Duration::ZERO);
        }
        for row in output.rows_mut() {
            row.copy_within(early..count, 0);
        }
        let clipped: usize = output.rows_mut().map(|row| clipped(&row[..count - early])).sum();
        if clipped > 0 {
            radio.counters.clipped.fetch_add(clipped as u64, Ordering::Relaxed);
        }
        for (row, image) in output.rows_mut().zip(&self.images) {
            take_out_image(&mut row[..count - early], *image);
        }
        for (row, correction) in output.rows_mut().zip(radio.receive_corrections()) {
            scale_row(&mut row[..count - early], correction * self.factor);
        }
        output.head.valid = count - early;
        output.head.heard_ns = now_ns();
        output.head.sample_time = sample_time.max(0) as u64;
        output.head.sequence = self.sequence;
        self.sequence += 1;
        radio.note_heard(&mut self.hearing, output);
        Flow::Forward
    }

    /// Samples came.
    fn came(&mut self) {
        (self.waited, self.waited_at) = (Duration::ZERO, Instant::now());
    }

    fn lost(&mut self) {
        self.excused = true;
        self.telemetry.report(Event::Lost { frames: 1 });
    }

    /// A new start at a sample of the same grid, after which it is known again when samples are.
    fn begin_again(&mut self, radio: &Radio) {
        Counters::count(&radio.counters.restarts);
        self.begun_at = Instant::now();
        self.excused = true;
        radio.clock.refresh();
        self.trust.begin_again();
        let begun = radio.with_receiver(|receiver| {
            receiver.deactivate();
            let begin = radio.now() + self.restart;
            receiver.activate(Some(begin)).map(|()| begin)
        });
        // One that did not begin is tried again with the next read, which fails too.
        if let Some(Ok(begin)) = begun {
            self.expected = Some(begin);
        }
    }
}
