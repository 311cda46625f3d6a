//! The sensing receiver: the echo of each transmitted frame against its shaped streams, with the weights that made it,
//! and the track that the positions make.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::snapshots::{Echo, Heard, Snapshot};
use super::stationary::{StationaryKeys, StationaryRemover};
use super::{Context, settings};
use crate::dsp::SPAN_SYMBOLS;
use crate::modem::frame::{FrameClock, Layout, SENSING_WINDOW};
use crate::scene::{Scene, TimingErrorHold};
use crate::sensing::{
    CoherentEstimator, CoherentFrames, Detector, EchoFrame, Estimate, Fix, MAX_TARGETS, Planar, SensingConfig, Status,
    TrackSettings, Tracker,
};
use crate::stream::{
    Block, Event, Flow, Frame, LeftOut, PlanReader, ResultKind, Shape, Stage, TapReader, Telemetry, erase, now_ns,
};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Which of the scene's sensing receivers this is, by its id; absent: the first.
    #[serde(default)]
    receiver: Option<String>,
    /// The tap that holds the shaped streams.
    reference: String,
    /// Density of the target's acceleration noise for the track, in m²/s³ per axis.
    #[serde(default)]
    acceleration_density_m2_s3: Option<f64>,
    /// Seconds without a position after which a track ends.
    #[serde(default)]
    coast_s: Option<f64>,
    /// Whether targets may move: then the Doppler shift within a frame is estimated.
    #[serde(default)]
    moving: bool,
    /// Whether what stands still is learned and removed.
    #[serde(default)]
    remove_stationary: bool,
    /// Frames under the same beams that are learned from; absent: all.
    #[serde(default)]
    learn_frames: Option<usize>,
    /// Frames that are added up in phase for one position; absent: 1.
    #[serde(default)]
    coherent_frames: Option<usize>,
    /// Fastest growth or shrinking of the path that is searched where frames are added up, in m/s.
    #[serde(default)]
    path_rate_max_m_s: Option<f64>,
}

impl Keys {
    fn coherent_frames(&self, scene: &Scene) -> Result<CoherentFrames> {
        let usual = CoherentFrames::of_scene(scene, self.coherent_frames.unwrap_or(1))
            .map_err(|error| Error::input(format!("coherent_frames: {error}")))?;
        match self.path_rate_max_m_s {
            Some(rate) if usual.frames == 1 || !self.moving => {
                Err(Error::input(format!("path_rate_max_m_s = {rate} needs coherent_frames above 1 and moving = true")))
            }
            rate => Ok(CoherentFrames { path_rate_max_m_s: rate.unwrap_or(usual.path_rate_max_m_s), ..usual }),
        }
    }

    fn track_settings(&self, hold: TimingErrorHold) -> Result<TrackSettings> {
        let positive = |key: &str, value: Option<f64>, default: f64| match value {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(Error::input(format!("{key} = {value} is out of range; accepted: a finite number above 0")))
            }
            value => Ok(value.unwrap_or(default)),
        };
        let usual = TrackSettings::default();
        Ok(TrackSettings {
            acceleration_density: positive(
                "acceleration_density_m2_s3",
                self.acceleration_density_m2_s3,
                usual.acceleration_density,
            )?,
            coast_s: positive("coast_s", self.coast_s, usual.coast_s)?,
            timing_error_hold: hold,
            ..usual
        })
    }
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let keys: Keys = settings(keys)?;
    let receivers = context.scene.sensing_receivers();
    context.join_receiver(keys.receiver.as_deref(), &receivers)?;
    let place = usize::from(context.chain.receiver);
    if place >= receivers.len() {
        return Err(Error::input(format!(
            "receiver = (that of the chain before, number {place}) is no sensing receiver; accepted with this scene: {}",
            receivers.iter().map(|receiver| receiver.id.as_str()).collect::<Vec<_>>().join(", ")
        )));
    }
    let scene = context.scene.seen_by(0, 0, place);
    let track_settings = keys.track_settings(scene.channel.timing_error_hold)?;
    let frames = keys.coherent_frames(&scene)?;
    let stationary = StationaryKeys { remove: keys.remove_stationary, learn_frames: keys.learn_frames };
    let reference = keys.reference;
    let tap = context.taps.reader(&reference).map_err(|what| Error::input(format!("reference = {what}")))?;
    let samples_per_symbol = scene.waveform.samples_per_symbol;
    let config = SensingConfig { moving: keys.moving, ..SensingConfig::from_scene(&scene) };
    let first_lag = config.lag_range()[0] as i64;
    let window = samples_per_symbol * SENSING_WINDOW;
    let mut estimator = CoherentEstimator::new(config, window, frames).map_err(|error| match keys.coherent_frames {
        Some(_) => error.within("coherent_frames"),
        None => error,
    })?;
    let remover = stationary.make(&scene, estimator.config(), window)?;
    if let (true, Some(single)) = (remover.is_some(), estimator.single_mut()) {
        single.stop_learning();
    }
    let rows = scene.array.receive_antennas;
    let length = estimator.echo_samples() + 3 * context.longest_samples();
    let (heard, snapshot) = context.sinks.snapshots.of_sensing(context.chain.receiver);
    heard.prepare(|heard| heard.reserve(rows));
    snapshot.prepare(|echo| echo.reserve(estimator.config(), estimator.echo_samples(), window));
    Ok(erase(EchoLocator {
        plans: PlanReader::new(Arc::clone(&context.plans)),
        next_plans: PlanReader::new(Arc::clone(&context.plans)),
        remover,
        telemetry: context.receivers_telemetry(),
        tracker: Tracker::new(estimator.config(), track_settings),
        fixes: Vec::with_capacity(MAX_TARGETS),
        clock: context.clock(),
        heard,
        heard_ns: 0,
        snapshot,
        left_out: Arc::clone(&context.ends.left_out),
        void: Arc::clone(&context.ends.void),
        antennas: scene.array.transmit_antennas,
        samples_per_symbol,
        first_lag,
        detector: Detector::new(estimator, window),
        first_held: 0,
        tap,
        unreferenced: 0,
        waiting: VecDeque::with_capacity(2),
        rows,
        length,
        history: vec![Complex32::default(); rows * length],
        oldest: 0,
        filled: 0,
        begin: 0,
    }))
}

struct EchoLocator {
    plans: PlanReader,
    /// Reads the plan of the frame after the one that is worked on.
    next_plans: PlanReader,
    remover: Option<StationaryRemover>,
    telemetry: Telemetry,
    tracker: Tracker,
    /// The positions found in the frame that is worked on.
    fixes: Vec<Fix>,
    clock: FrameClock,
    heard: Arc<Snapshot<Heard>>,
    /// When the newest sample came from the antennas.
    heard_ns: u64,
    snapshot: Arc<Snapshot<Echo>>,
    /// Frames that have no echo.
    left_out: Arc<LeftOut>,
    /// Whether directions are not to be trusted any more.
    void: Arc<AtomicBool>,
    antennas: usize,
    samples_per_symbol: usize,
    first_lag: i64,
    detector: Detector,
    /// The first frame that the estimator holds.
    first_held: u64,
    tap: TapReader,
    /// Frames so far whose reference found no room.
    unreferenced: u64,
    /// The reference whose echo is not all there yet.
    waiting: VecDeque<Box<Frame<Complex32>>>,
    rows: usize,
    /// Room per row of `history`.
    length: usize,
    /// The newest samples, planar: where those that are kept begin, and how many there are. They are moved once a row is full,
    /// and not with every frame.
    history: Vec<Complex32>,
    oldest: usize,
    filled: usize,
    /// Time of the oldest one.
    begin: i64,
}

impl Block for EchoLocator {
    type In = Complex32;
    type Out = ();

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != self.rows {
            return Err(format!("takes {} antennas (array.receive_antennas), is given {inlet}", self.rows));
        }
        if inlet.samples > self.length {
            return Err(format!("takes at most {} samples, is given {inlet}", self.length));
        }
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<Complex32>, _output: &mut Frame<()>) -> Flow {
        self.heard.offer(input.head.sequence, |held| held.fill(input));
        self.heard_ns = input.head.heard_ns;
        self.take_in(input);
        self.work_off(false);
        Flow::Consumed
    }

    fn flush(&mut self, _output: &mut Frame<()>) -> Flow {
        self.work_off(true);
        Flow::Finished
    }
}

impl EchoLocator {
    /// Works on the frames whose echo is all there. Where what stands still is removed, the frame after it must have
    /// come as well, unless none comes any more.
    fn work_off(&mut self, ended: bool) {
        let unreferenced = self.tap.dropped();
        if unreferenced > self.unreferenced {
            self.telemetry.report(Event::Lost { frames: unreferenced - self.unreferenced });
            self.unreferenced = unreferenced;
        }
        while let Some(reference) = self.waiting.pop_front().or_else(|| self.tap.read()) {
            let length = self.clock.header_length(reference.head.sequence);
            let layout = Layout::of(reference.head.sequence, self.antennas, length);
            let window = self.samples_per_symbol * (layout.sensing_window() + SPAN_SYMBOLS);
            let late = self.detector.estimator().late_samples();
            let first = reference.head.sample_time as i64 + window as i64 + self.first_lag + late as i64;
            let end = first + self.detector.estimator().echo_samples() as i64;
            if self.remover.is_some() && self.waiting.is_empty() {
                self.waiting.extend(self.tap.read());
            }
            let waits = self.remover.is_some() && self.waiting.is_empty() && !ended;
            if waits || end > self.begin + self.filled as i64 {
                self.waiting.push_front(reference);
                break;
            }
            let sequence = reference.head.sequence;
            if self.left_out.contains(sequence) {
                self.pass_over(sequence);
            } else if self.void.load(Ordering::Relaxed) {
                // The array is not what it was calibrated to be: better no position than a wrong one.
                self.interrupt();
                self.conclude([sequence; 2], &[Estimate { status: Status::Phase, ..Estimate::LEARNING }]);
            } else if first >= self.begin {
                // The next frame's echo begins later.
                self.forget((first - self.begin) as usize);
                self.locate(&reference, self.oldest, window, late);
            } else {
                self.telemetry.report(Event::Lost { frames: 1 });
                self.pass_over(sequence);
            }
            self.tap.give_back(reference);
        }
    }

    /// Appends the input to the history; the oldest samples make room. A gap in time empties it.
    fn take_in(&mut self, input: &Frame<Complex32>) {
        let (time, count) = (input.head.sample_time as i64, input.head.valid);
        if time != self.begin + self.filled as i64 {
            (self.begin, self.oldest, self.filled) = (time, 0, 0);
        }
        self.forget((self.filled + count).saturating_sub(self.length));
        let is_full = self.oldest + self.filled + count > self.length;
        let oldest = if is_full { 0 } else { self.oldest };
        for (row, samples) in self.history.chunks_exact_mut(self.length).enumerate() {
            if is_full {
                samples.copy_within(self.oldest..self.oldest + self.filled, 0);
            }
            samples[oldest + self.filled..][..count].copy_from_slice(input.row(row));
        }
        self.oldest = oldest;
        self.filled += count;
    }

    /// Drops the oldest samples.
    fn forget(&mut self, count: usize) {
        let count = count.min(self.filled);
        self.oldest += count;
        self.filled -= count;
        self.begin += count as i64;
    }

    /// Works on one frame's echo, and reports what came of it.
    fn locate(&mut self, reference: &Frame<Complex32>, echo_start: usize, window: usize, late: isize) {
        let frame = reference.head.sequence;
        let beams = &self.plans.of_epoch(reference.head.epoch).beams;
        let estimator = self.detector.estimator();
        let follows = frame == self.first_held + estimator.held() as u64;
        if !(follows && estimator.goes_on_with(beams)) {
            self.interrupt();
        }
        let beams = &self.plans.of_epoch(reference.head.epoch).beams;
        let mut sent = EchoFrame {
            echo: Planar::new(&self.history, self.length),
            echo_start,
            reference: Planar::new(reference.samples(), reference.capacity()),
            window_start: window,
            beams,
            time_s: self.clock.start_s(frame) + window as f64 * self.detector.estimator().config().sample_period_s(),
            late_samples: late,
        };
        let mut left_part = 0.0;
        if let Some(remover) = &mut self.remover {
            let next = self.waiting.front().filter(|next| !self.left_out.contains(next.head.sequence));
            let next = next.map(|next| (&**next, &self.next_plans.of_epoch(next.head.epoch).beams));
            left_part = remover.left_part();
            let Some(left) = remover.clean(&sent, reference, next) else {
                self.interrupt();
                return self.conclude([frame; 2], &[Estimate::LEARNING]);
            };
            (sent.echo, sent.echo_start) = (left, 0);
        }
        if self.detector.estimator().held() == 0 {
            self.first_held = frame;
        }
        // Beams may have the same echo from several places: the tracks tell them apart.
        let time_s = self.clock.middle_s([self.first_held, frame]);
        self.detector.estimator_mut().expect(self.tracker.expectations(time_s));
        let Some(found) = self.detector.take_in(&sent, left_part) else { return self.report_no_track(frame) };
        self.snapshot.offer(frame, |held| held.fill(&sent, found));
        let mut estimates = [Estimate::LEARNING; MAX_TARGETS];
        let count = found.len().min(MAX_TARGETS);
        estimates[..count].copy_from_slice(&found[..count]);
        self.conclude([self.first_held, frame], &estimates[..count]);
    }

    /// Gives up on the frames that wait for others.
    fn interrupt(&mut self) {
        let estimator = self.detector.estimator_mut();
        let held = estimator.held() as u64;
        if let Some(estimate) = estimator.interrupt() {
            self.conclude([self.first_held, self.first_held + held - 1], &[estimate]);
        }
    }

    /// Reports what the frames from the first to the last gave, and lets the tracks take it in.
    fn conclude(&mut self, frames: [u64; 2], estimates: &[Estimate]) {
        let middle = frames[0] + (frames[1] - frames[0]) / 2;
        self.fixes.clear();
        self.fixes.extend(estimates.iter().filter_map(|estimate| estimate.fix));
        let given = self.tracker.step(self.clock.middle_s(frames), &self.fixes);
        let mut tracks = given.iter().copied();
        for (left, estimate) in (0..estimates.len()).rev().zip(estimates) {
            let track = estimate.fix.and_then(|_| tracks.next().flatten());
            self.telemetry.report(Event::Sensed { frame: middle, estimate: *estimate, track, more: left > 0 });
        }
        if self.heard_ns > 0 {
            let time_ns = now_ns().saturating_sub(self.heard_ns);
            self.telemetry.report(Event::Took { result: ResultKind::Position, time_ns });
        }
        self.report_tracks(middle);
        if frames[1] > middle {
            self.report_no_track(frames[1]);
        }
    }

    /// A frame without an echo.
    fn pass_over(&mut self, frame: u64) {
        self.interrupt();
        self.tracker.step(self.clock.start_s(frame), &[]);
        self.report_tracks(frame);
    }

    /// Reports all confirmed tracks, or that there is none.
    fn report_tracks(&mut self, frame: u64) {
        let tracks = self.tracker.confirmed();
        let count = tracks.len();
        for (left, track) in (0..count).rev().zip(tracks) {
            self.telemetry.report(Event::Tracked { frame, track: Some(*track), more: left > 0 });
        }
        if count == 0 {
            self.report_no_track(frame);
        }
    }

    fn report_no_track(&self, frame: u64) {
        self.telemetry.report(Event::Tracked { frame, track: None, more: false });
    }
}
