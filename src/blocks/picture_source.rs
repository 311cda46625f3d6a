//! Pictures to the bits of frames: the protected part in the first blocks of a picture, then its body, under the plan
//! of each frame. A picture begins with a frame; blocks left over at its end, and frames until the next one is due, carry
//! nothing of pictures.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Deserialize;
use toml::Table;

use super::{Context, FIRST_SAMPLE, Feed, PictureFeed, digest_of_bits, settings, unpack};
use crate::coding::{BlockCode, BlockFormat};
use crate::exchange::Timeline;
use crate::modem::frame::{BLOCKS, FrameClock, Layout};
use crate::modem::header::{FrameHeader, VERSION};
use crate::optimize::BlockErrorModel;
use crate::semantic::Picture;
use crate::stream::{Block, CodedFrame, Event, Flow, Frame, Plan, PlanReader, Shape, Stage, Telemetry, erase};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Pictures per second of signal.
    #[serde(default)]
    pictures_per_s: Option<f64>,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { pictures_per_s } = settings(keys)?;
    if let Some(rate) = pictures_per_s.filter(|rate| rate.is_nan() || *rate <= 0.0) {
        return Err(Error::input(format!(
            "pictures_per_s = {rate}; accepted: above 0 per second of signal, or inf for as many as fit"
        )));
    }
    let clock = context.clock();
    let half_a_sample_s = 0.5 / context.scene.sample_rate_hz();
    let first = context.plans.newest();
    Ok(erase(PictureSource {
        codes: [&first.payload, &first.protected].map(Arc::clone),
        plans: PlanReader::new(Arc::clone(&context.plans)),
        feed: Arc::clone(&context.codec.feed),
        telemetry: context.sinks.telemetry.clone(),
        antennas: context.scene.array.transmit_antennas,
        samples_per_symbol: context.scene.waveform.samples_per_symbol as u64,
        clock,
        pace: context.run.pace,
        started: None,
        filler: Xoshiro256PlusPlus::seed_from_u64(context.run.seed ^ 0xf111e5),
        frame: 0,
        frames: context.run.frames.unwrap_or(u64::MAX),
        ends_s: context.run.seconds.map_or(f64::INFINITY, |seconds| seconds - half_a_sample_s),
        time: FIRST_SAMPLE,
        number: 0,
        current: None,
        due: Due::every(pictures_per_s.or(context.run.pictures_per_s)),
        timeline: Arc::clone(&context.ends.timeline),
        formats: InForce::default(),
        stopped: false,
    }))
}

/// The picture under way.
struct Current {
    picture: Arc<Picture>,
    source: usize,
    /// The code of its body's blocks, as it was chosen under the plan that it began with.
    payload: Arc<BlockCode>,
    protected_bit: usize,
    body_bit: usize,
    blocks: u64,
}

struct PictureSource {
    plans: PlanReader,
    feed: Arc<dyn PictureFeed>,
    telemetry: Telemetry,
    antennas: usize,
    samples_per_symbol: u64,
    clock: FrameClock,
    pace: Option<f64>,
    started: Option<Instant>,
    filler: Xoshiro256PlusPlus,
    frame: u64,
    frames: u64,
    /// No frame begins from this time of signal on.
    ends_s: f64,
    time: u64,
    number: u64,
    current: Option<Current>,
    /// The codes of payload and protected blocks that are in force.
    codes: [Arc<BlockCode>; 2],
    due: Due,
    /// Time left to each sample, where the transmitter waits for nobody.
    timeline: Arc<OnceLock<Box<Timeline>>>,
    formats: InForce,
    stopped: bool,
}

/// Time before a frame's own from which on it is sent without a picture, if none is ready: what is between here and the
/// device's time to send it.
const HURRY_S: f64 = 0.01;

/// How long the source waits before it looks again whether a picture is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Frames over which the formats of blocks stay what they are, if the plans let them: both pages that say so come twice.
const FRAMES_TO_LEARN: u64 = 8;

/// The formats of blocks that are in force, counted for the header, and since which frame.
#[derive(Clone, Copy, Default)]
struct InForce {
    formats: Option<[BlockFormat; 2]>,
    count: u8,
    since: u64,
}

impl InForce {
    /// Those of a frame.
    fn take(&mut self, formats: [BlockFormat; 2], frame: u64) {
        if self.formats != Some(formats) {
            let count = self.formats.map_or(0, |_| (self.count + 1) & 7);
            *self = Self { formats: Some(formats), count, since: frame };
        }
    }
}

/// When pictures are due, in seconds of signal.
#[derive(Clone, Copy)]
struct Due {
    period_s: f64,
    next_s: f64,
}

impl Due {
    /// This many a second; as many as fit where absent.
    fn every(per_s: Option<f64>) -> Self {
        Self { period_s: per_s.map_or(0.0, f64::recip), next_s: 0.0 }
    }

    /// The next one begins. One that begins late may be followed by one that makes up for it, and no more.
    fn take(&mut self, now_s: f64) {
        self.next_s = (self.next_s + self.period_s).max(now_s);
    }
}

/// Every how many frames the control plane hears how far the transmitter is.
pub(crate) const PROGRESS_FRAMES: u64 = 16;

impl Block for PictureSource {
    type In = ();
    type Out = CodedFrame;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::CODED)
    }

    fn work(&mut self, _input: &Frame<()>, output: &mut Frame<CodedFrame>) -> Flow {
        if self.stopped || self.is_end(self.frame) {
            return Flow::Finished;
        }
        if let Some(wait) = self.early() {
            return Flow::Later(wait);
        }
        if self.frame.is_multiple_of(PROGRESS_FRAMES) {
            self.telemetry.report(Event::TransmitterProgress { frame: self.frame });
        }
        let left_s = self.timeline.get().map(|left_s| left_s(self.time));
        let plan = match left_s {
            Some(_) => self.plans.at_frame_now(self.frame),
            None => match self.plans.at_frame(self.frame) {
                Some(plan) => plan,
                None => return Flow::Pending,
            },
        };
        // A frame whose time has passed goes nowhere: no picture is wasted on it.
        let is_over = left_s.flatten().is_some_and(|left_s| left_s < 0.0);
        let now_s = self.clock.start_s(self.frame);
        if self.current.is_none() && !is_over && now_s >= self.due.next_s {
            match self.feed.picture(self.number, plan) {
                Feed::Ready { picture, source, payload } => {
                    self.current = Some(Current { picture, source, payload, protected_bit: 0, body_bit: 0, blocks: 0 });
                    self.due.take(now_s);
                }
                Feed::NotYet => match left_s {
                    None => return Flow::Pending,
                    Some(left_s) if left_s.is_none_or(|left_s| left_s > HURRY_S) => return Flow::Later(LOOK_AGAIN),
                    Some(_) => {}
                },
                Feed::End => return Flow::Finished,
            }
        }
        let current = self.current.as_mut().filter(|_| !is_over);
        // Between pictures the rate stays what it was: every change takes the receivers some frames to learn, and one that
        // comes before they have learnt the last would cost the frames since.
        let is_learnt = self.formats.formats.is_none() || self.frame >= self.formats.since + FRAMES_TO_LEARN;
        if is_learnt || !endures(plan, &self.codes) {
            let payload = current.as_ref().map_or(&self.codes[0], |current| &current.payload);
            let wanted = [if carries(plan, payload) { payload } else { &plan.payload }, &plan.protected];
            if !wanted.iter().zip(&self.codes).all(|(wanted, code)| Arc::ptr_eq(wanted, code)) {
                self.codes = wanted.map(Arc::clone);
            }
        }
        let codes = &self.codes;
        self.formats.take([codes[0].format(), codes[1].format()], self.frame);
        let numbers = [self.frame, self.number];
        let digests = fill(current, codes, self.formats, numbers, &mut self.filler, output.coded_mut());
        let (epoch, length, header) = (plan.epoch, plan.header, output.coded().header);
        self.telemetry.report(Event::FrameSent { frame: self.frame, blocks: header.used_blocks, digests });
        if let Some(current) = self.current.as_ref().filter(|_| header.last_of_picture) {
            self.telemetry.report(Event::PictureSent {
                number: self.number,
                source: current.source,
                model: current.picture.header.model,
                bits: current.picture.bits() as u64,
                blocks: current.blocks,
            });
            self.current = None;
            self.number += 1;
        }
        output.head.sequence = self.frame;
        output.head.sample_time = self.time;
        output.head.epoch = epoch;
        output.head.last = self.is_end(self.frame + 1);
        self.time += Layout::of(self.frame, self.antennas, length).symbols() as u64 * self.samples_per_symbol;
        self.frame += 1;
        Flow::Forward
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

/// How much more often than a plan tolerates blocks may be lost before a picture under way leaves its rate: predictions
/// move a little from plan to plan.
const FORBEARANCE: f64 = 3.0;

/// Whether a plan's beams carry blocks of this code.
fn carries(plan: &Plan, code: &BlockCode) -> bool {
    code.information_bits() <= plan.payload.information_bits()
        || plan.budget.is_some_and(|budget| {
            let lost = budget.law.block_error_rate(plan.predicted_sinr, code.information_bits());
            lost <= FORBEARANCE * budget.block_error_rate_max
        })
}

/// Whether most blocks of codes that receivers are about to learn of still arrive with a plan's beams.
fn endures(plan: &Plan, [payload, protected]: &[Arc<BlockCode>; 2]) -> bool {
    plan.budget.is_some_and(|budget| {
        let lost = |code: &BlockCode| budget.law.block_error_rate(plan.predicted_sinr, code.information_bits());
        lost(payload) <= 0.5 && lost(protected) <= 0.1
    })
}

impl PictureSource {
    /// Whether a frame is one too many. How long those before it take is known, their headers included.
    fn is_end(&self, frame: u64) -> bool {
        frame >= self.frames || self.clock.start_s(frame) >= self.ends_s
    }

    /// How long this frame has to wait for its time, if it has.
    fn early(&mut self) -> Option<Duration> {
        let pace = self.pace?;
        let due = self.clock.start_s(self.frame) / pace;
        let passed = self.started.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
        (due > passed).then(|| Duration::from_secs_f64(due - passed))
    }
}

/// Writes one frame's header and payload bits; without a picture its blocks are idle.
fn fill(
    current: Option<&mut Current>,
    [payload, protected]: &[Arc<BlockCode>; 2],
    in_force: InForce,
    [frame_number, picture_number]: [u64; 2],
    filler: &mut Xoshiro256PlusPlus,
    frame: &mut CodedFrame,
) -> [u64; BLOCKS] {
    let header = FrameHeader {
        version: VERSION,
        number: frame_number,
        picture: picture_number as u16,
        formats: in_force.count,
        formats_since: in_force.since as u8 & 0x3f,
        ..FrameHeader::default()
    }
    .with_formats([payload, protected].map(|code| code.format()));
    let Some(current) = current else {
        for row in &mut frame.blocks {
            row[..payload.payload_bits()].iter_mut().for_each(|bit| *bit = filler.random_range(0..2));
        }
        (frame.header, frame.passed) = (header, [false; BLOCKS]);
        return [0; BLOCKS];
    };
    let picture = &current.picture;
    let [protected_bits, body_bits] = [&picture.protected, &picture.body].map(|part| 8 * part.len());
    let mut header = FrameHeader {
        picture_blocks: current.blocks as u16,
        protected_offset: current.protected_bit as u32,
        body_offset: current.body_bit as u32,
        placed: true,
        ..header
    };
    let mut digests = [0; BLOCKS];
    for (index, block_digest) in digests.iter_mut().enumerate() {
        let is_protected = current.protected_bit < protected_bits;
        let code = if is_protected { protected } else { payload };
        let row = &mut frame.blocks[index][..code.payload_bits()];
        let (bytes, cursor, end) = if is_protected {
            (&picture.protected, &mut current.protected_bit, protected_bits)
        } else {
            (&picture.body, &mut current.body_bit, body_bits)
        };
        let count = row.len().min(end - *cursor);
        unpack(bytes, *cursor, &mut row[..count]);
        *cursor += count;
        row[count..].iter_mut().for_each(|bit| *bit = filler.random_range(0..2));
        if count > 0 {
            header.used_blocks = index as u8 + 1;
            header.protected_blocks += u8::from(is_protected);
            current.blocks += 1;
            *block_digest = digest_of_bits(row);
        }
    }
    header.last_of_picture = current.body_bit == body_bits && current.protected_bit == protected_bits;
    (frame.header, frame.passed) = (header, [false; BLOCKS]);
    digests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{Pictures, alone, block, events, picture, picture_frames, refusal};
    use crate::coding::{self, BlockErrorLaw};
    use crate::modem::frame::HeaderLength;
    use crate::stream::PictureBudget;
    use crate::stream::PlanBoard;

    #[test]
    fn the_frames_of_a_picture_carry_its_parts_bit_by_bit_and_no_others() {
        let (frames, _) = picture_frames(1);
        let (picture, _) = picture();
        let (mut protected, mut body) = (vec![0; picture.protected.len()], vec![0; picture.body.len()]);
        let mut carried = 0;
        for frame in &frames {
            let coded = frame.coded();
            let mut cursors = [coded.header.protected_offset, coded.header.body_offset].map(|offset| offset as usize);
            for block in 0..coded.used_blocks() {
                let (part, cursor) = match coded.is_protected(block) {
                    true => (&mut protected, &mut cursors[0]),
                    false => (&mut body, &mut cursors[1]),
                };
                // Behind a part's end a block is filled up.
                for bit in coded.payload(block).iter().take(8 * part.len() - *cursor) {
                    part[*cursor / 8] |= bit << (7 - *cursor % 8);
                    *cursor += 1;
                    carried += 1;
                }
            }
        }
        assert_eq!((&protected, &body, carried), (&picture.protected, &picture.body, picture.bits()));
        let last = frames.iter().position(|frame| frame.coded().header.last_of_picture);
        assert_eq!(last, Some(frames.len() - 1));
    }

    #[test]
    fn frames_follow_each_other_on_the_clock_and_each_is_reported_once() {
        let (mut context, heard) = alone();
        context.codec.feed = Arc::new(Pictures { picture: picture().0, count: u64::MAX });
        context.run.frames = Some(130);
        let clock = context.clock();
        let mut source = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        let frames = source.pull(1000);
        assert_eq!((frames.len(), source.flow()), (130, Flow::Finished));
        for (number, frame) in (0..).zip(&frames) {
            assert_eq!(frame.head.sequence, number);
            assert_eq!(frame.head.sample_time, FIRST_SAMPLE + clock.start_sample(number));
            assert_eq!(frame.head.last, number == 129);
        }
        let sent = events(&heard, |event| match event {
            Event::FrameSent { frame, blocks, .. } => Some((frame, blocks)),
            _ => None,
        });
        let built = frames.iter().map(|frame| (frame.head.sequence, frame.coded().header.used_blocks));
        assert_eq!(sent, built.collect::<Vec<_>>());
    }

    #[test]
    fn a_run_of_some_seconds_ends_with_its_signal_whatever_headers_frames_have() {
        let (mut context, _) = alone();
        context.codec.feed = Arc::new(Pictures { picture: picture().0, count: u64::MAX });
        let first = Plan { header: HeaderLength::Short, ..(*context.plans.newest()).clone() };
        let longer = Plan { epoch: 1, from_frame: 40, header: HeaderLength::Long, ..first.clone() };
        context.plans = Arc::new(PlanBoard::new(first, 0));
        let clock = context.clock();
        let seconds = clock.start_s(100);
        context.run.seconds = Some(seconds);
        context.plans.publish(vec![longer]);
        context.plans.decide_until(u64::MAX);
        let mut source = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        let frames = source.pull(1000);
        let count = frames.len() as u64;
        assert!(count < 100 && source.flow() == Flow::Finished, "{count}");
        assert!(clock.start_s(count - 1) < seconds && clock.start_s(count) >= seconds);
        assert!(frames.iter().all(|frame| frame.head.last == (frame.head.sequence + 1 == count)));
    }

    /// A feed whose pictures have other rates than the plan's, and each another one.
    struct Rated {
        picture: Arc<Picture>,
        bits: [usize; 2],
    }

    impl PictureFeed for Rated {
        fn picture(&self, number: u64, _plan: &Plan) -> Feed {
            let code = coding::plan(self.bits[number as usize % 2], coding::BLOCK_SYMBOLS, coding::BLOCK_CRC);
            let (picture, payload) = (Arc::clone(&self.picture), Arc::new(code.unwrap()));
            Feed::Ready { picture, source: 0, payload }
        }
    }

    #[test]
    fn each_picture_is_sent_at_its_own_rate_until_a_plan_cannot_carry_it() {
        let (mut context, _) = alone();
        let mut first = (*context.plans.newest()).clone();
        first.budget = Some(PictureBudget {
            bandwidth_ratio_max: 1.0,
            block_error_rate_max: 1e-3,
            law: BlockErrorLaw::Calibrated { margin_db: 0.5 },
        });
        // 300 bits want about 3 dB, 600 about 7.
        first.predicted_sinr = 100.0;
        let weak = Plan { epoch: 1, from_frame: 40, predicted_sinr: 2.5, ..first.clone() };
        context.plans = Arc::new(PlanBoard::new(first.clone(), 0));
        context.plans.publish(vec![weak]);
        context.plans.decide_until(u64::MAX);
        context.codec.feed = Arc::new(Rated { picture: picture().0, bits: [300, 600] });
        let mut source = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        let frames = source.pull(80);
        let bits = |frame: &Frame<CodedFrame>| usize::from(frame.coded().header.payload_bits);
        let changes: Vec<_> = frames
            .windows(2)
            .filter(|pair| bits(&pair[0]) != bits(&pair[1]))
            .map(|pair| pair[1].head.sequence)
            .collect();
        assert!(
            changes.len() >= 3 && changes.windows(2).all(|pair| pair[1] >= pair[0] + FRAMES_TO_LEARN),
            "{changes:?}"
        );
        // A picture keeps the rate before its own only until receivers have learnt that.
        for frame in frames.iter().filter(|frame| frame.head.sequence < 40) {
            let own = [300, 600][usize::from(frame.coded().header.picture) % 2];
            let since = changes.iter().rev().find(|change| **change <= frame.head.sequence).unwrap_or(&0);
            assert!(bits(frame) == own || frame.head.sequence < since + FRAMES_TO_LEARN);
        }
        assert!(frames[40..].iter().all(|frame| bits(frame) == 300), "600 bits want far more than there is");
    }

    #[test]
    fn pictures_come_at_their_own_rate_and_no_faster_than_they_fit() {
        let began = |keys: &str, run: Option<f64>| {
            let (mut context, _) = alone();
            context.codec.feed = Arc::new(Pictures { picture: picture().0, count: u64::MAX });
            context.run.pictures_per_s = run;
            let clock = context.clock();
            let mut source = block::<(), CodedFrame>("picture-source", keys, &mut context, Shape::NOTHING);
            let frames = source.pull(2000);
            let begin = frames.iter().filter(|frame| frame.coded().header.begins_picture());
            (begin.map(|frame| clock.start_s(frame.head.sequence)).collect::<Vec<_>>(), clock.start_s(2000))
        };
        let (all, seconds) = began("", None);
        // Two thousand frames of 15 µs: about ninety pictures.
        for (keys, run) in [("pictures_per_s = 3000", None), ("", Some(3e3)), ("pictures_per_s = 3000", Some(7.0))] {
            let (times, _) = began(keys, run);
            assert!(times.len() < all.len() && times.len() == (3e3 * seconds).ceil() as usize, "{}", times.len());
            let late = times.iter().zip(0..).map(|(time, number)| time - f64::from(number) / 3e3);
            assert!(late.into_iter().all(|late| (-1e-9..20e-6).contains(&late)));
        }
        for keys in ["pictures_per_s = inf", "pictures_per_s = 1e6"] {
            assert_eq!(began(keys, Some(30.0)).0, all);
        }
        let (mut context, _) = alone();
        for keys in ["pictures_per_s = 0", "pictures_per_s = nan", "pictures_per_s = -3"] {
            assert!(refusal("picture-source", keys, &mut context, Shape::NOTHING).contains("accepted: above 0"));
        }
    }

    /// A feed whose pictures are never ready.
    struct Never;

    impl PictureFeed for Never {
        fn picture(&self, _number: u64, _plan: &Plan) -> Feed {
            Feed::NotYet
        }
    }

    #[test]
    fn f11_a_picture_that_is_not_ready_leaves_idle_frames_and_no_silence() {
        let (mut context, heard) = alone();
        context.codec.feed = Arc::new(Never);
        let samples = context.clock().start_sample(5) + FIRST_SAMPLE;
        let timeline = move |sample_time: u64| Some(if sample_time < samples { 0.5 * HURRY_S } else { 2.0 * HURRY_S });
        assert!(context.ends.timeline.set(Box::new(timeline)).is_ok());
        let mut source = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        let frames = source.pull(10);
        assert_eq!((frames.len(), source.flow()), (5, Flow::Later(LOOK_AGAIN)), "then there is time to wait");
        assert!(frames.iter().all(|frame| frame.coded().used_blocks() == 0 && frame.coded().header.version == VERSION));
        assert!(events(&heard, |event| matches!(event, Event::PictureSent { .. }).then_some(())).is_empty());
    }

    #[test]
    fn a_frame_whose_time_has_passed_carries_nothing_of_a_picture() {
        let (mut context, _) = alone();
        context.codec.feed = Arc::new(Pictures { picture: picture().0, count: u64::MAX });
        let samples = context.clock().start_sample(3) + FIRST_SAMPLE;
        let timeline = move |sample_time: u64| Some(if sample_time < samples { -1.0 } else { 1.0 });
        assert!(context.ends.timeline.set(Box::new(timeline)).is_ok());
        let mut source = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        let used: Vec<_> = source.pull(5).iter().map(|frame| frame.coded().used_blocks()).collect();
        assert!(used[..3] == [0, 0, 0] && used[3..].iter().all(|blocks| *blocks > 0), "{used:?}");
    }

    #[test]
    fn it_waits_for_a_plan_and_for_its_time_and_ends_when_it_is_told_to() {
        let (mut context, _) = alone();
        context.codec.feed = Arc::new(Pictures { picture: picture().0, count: u64::MAX });
        context.plans = Arc::new(PlanBoard::new((*context.plans.newest()).clone(), 3));
        let mut source = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        assert_eq!((source.pull(10).len(), source.flow()), (3, Flow::Pending));
        context.plans.decide_until(u64::MAX);
        assert_eq!(source.pull(10).len(), 10);
        source.stop();
        assert_eq!((source.pull(1).len(), source.flow()), (0, Flow::Finished));
        context.run.pace = Some(1e-6);
        let mut paced = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        assert_eq!(paced.pull(10).len(), 1, "frame 0 is due at once");
        assert!(matches!(paced.flow(), Flow::Later(_)));
    }
}
