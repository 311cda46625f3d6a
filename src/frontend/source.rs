//! `soapy-source`: a radio's receiving side as rows of samples in √W, on the clock of the transmitter's stream. A gap in
//! time shows as one in the frames' times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::device::{RECEIVE_CHUNK, Trouble};
use super::{Counters, Profile, Radio, Radios, Started, scale_row, sqrt_w};
use crate::Result;
use crate::blocks::{Context, settings};
use crate::exchange::FarTransmitter;
use crate::stream::{Block, Event, Flow, Frame, Shape, Stage, Telemetry, erase};

/// Longest wait for one read; longest time without a sample before the device counts as gone.
const READ_WAIT: Duration = Duration::from_millis(100);
const GIVE_UP: Duration = Duration::from_secs(10);

/// Time for a transmitter elsewhere to begin, or for the reference of the next samples to come; and how long samples wait
/// for it at most.
const CATCH_UP: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// Seconds for which a receiver with a time of its own goes on after the transmitter has ended.
const AFTER_THE_END_S: f64 = 0.25;

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
        telemetry: context.sinks.telemetry.clone(),
        samples: context.run.seconds.map(|seconds| (seconds * context.scene.sample_rate_hz()) as i64),
        far: context.ends.far.clone(),
        shared_time: profile.has_shared_time(),
        after_the_end: (AFTER_THE_END_S * context.scene.sample_rate_hz()) as i64,
        radio,
        sequence: 0,
        expected: None,
        excused: false,
        last_samples: Instant::now(),
        waits_since: None,
        over_at: None,
        stopped: false,
    }))
}

struct Source {
    radio: Option<Arc<Radio>>,
    channels: usize,
    factor: f32,
    latency: i64,
    rx_time: bool,
    restart: i64,
    telemetry: Telemetry,
    /// How many samples to receive, where there is an end and nothing is sent from here.
    samples: Option<i64>,
    /// The transmitter, where it is in another process; whether its time is this radio's.
    far: Option<Arc<FarTransmitter>>,
    shared_time: bool,
    after_the_end: i64,
    sequence: u64,
    /// Device time of the next sample.
    expected: Option<i64>,
    /// The next gap was announced.
    excused: bool,
    last_samples: Instant,
    /// The samples are there, their reference is not.
    waits_since: Option<Instant>,
    /// Device time of the end.
    over_at: Option<i64>,
    stopped: bool,
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
            self.last_samples = Instant::now();
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
        let read = radio.with_receiver(|receiver| received.time(|| receiver.read(output.rows_mut(), READ_WAIT)));
        match read.unwrap_or(Err(Trouble::Gone)) {
            Ok((count, time)) => {
                received.add(count);
                self.take(&radio, output, count, if self.rx_time { time } else { expected }, started.origin)
            }
            Err(Trouble::Overflow) => {
                Counters::count(&radio.counters.overflows);
                self.lost();
                if !self.rx_time {
                    self.begin_again(&radio);
                }
                Flow::Later(Duration::ZERO)
            }
            Err(Trouble::Gone) => {
                radio.counters.failed("the receiving device is gone");
                Flow::Finished
            }
            Err(Trouble::Timeout | Trouble::Late | Trouble::Underflow) => {
                if self.last_samples.elapsed() > GIVE_UP {
                    radio.counters.failed("no sample for 10 s");
                    return Flow::Finished;
                }
                Flow::Later(Duration::ZERO)
            }
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

impl Source {
    /// Whether all was received that is to be: what this radio sent, or what was asked for.
    fn is_over(&mut self, radio: &Radio, started: Started, expected: i64) -> bool {
        let tail = radio.world_tail() + self.latency;
        if radio.transmits() {
            return radio.ended().is_some_and(|end| expected >= end + tail);
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
        far.receive(end);
        if far.refers_to(end) {
            self.waits_since = None;
            return false;
        }
        self.waits_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }

    fn take(&mut self, radio: &Radio, output: &mut Frame<Complex32>, count: usize, time: i64, origin: i64) -> Flow {
        self.last_samples = Instant::now();
        if self.expected != Some(time) && !std::mem::take(&mut self.excused) {
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
        for (row, correction) in output.rows_mut().zip(radio.receive_corrections()) {
            scale_row(&mut row[..count - early], correction * self.factor);
        }
        output.head.valid = count - early;
        output.head.sample_time = sample_time.max(0) as u64;
        output.head.sequence = self.sequence;
        self.sequence += 1;
        Flow::Forward
    }

    fn lost(&mut self) {
        self.excused = true;
        self.telemetry.report(Event::Lost { frames: 1 });
    }

    /// Without times in the stream, only a new start says when samples are.
    fn begin_again(&mut self, radio: &Radio) {
        let begun = radio.with_receiver(|receiver| {
            receiver.deactivate();
            let begin = radio.now() + self.restart;
            receiver.activate(Some(begin)).map(|()| begin)
        });
        match begun {
            Some(Ok(begin)) => self.expected = Some(begin),
            _ => radio.counters.failed("the receiving stream did not start again"),
        }
    }
}
