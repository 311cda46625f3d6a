//! Gathers what stages tell while a run goes on, for report and status, and makes the run's events of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::figures::{
    DataRecord, DataSums, Delays, RadiatedRecord, RadiatedSums, ReceivedRecord, ReceivedSums, SentRecord, SentSums,
    Span, Windowed,
};
use super::images::Images;
use super::sensing::{SensedFrame, SensingReceiver, Truth};
use super::{
    BelievedMeasured, DataFigures, Datagrams, Dropped, Figures, HeaderFigures, ImageReport, Latencies, PlanSummary,
    PowerReport, ReceiverFigures, Report, SentPicture, SinrReport, State, Status,
};
use crate::control::SessionLog;
use crate::modem::frame::{BLOCK, FrameClock};
use crate::scene::{Scene, decibel, w_to_dbm};
use crate::semantic::Bank;
use crate::sensing::{Estimate, Track};
use crate::stream::{Event as Reported, Plan, PlanBoard, ResultKind, Told};
use crate::system::events::{Detection, Event, Rival};

/// Frames, places and pictures that may wait for what receivers make of them; the oldest go first.
const WAITING: usize = 1 << 16;

/// Pictures behind the newest result that may still be waited for.
const PICTURES_BEHIND: u64 = 1024;

struct SentFrame {
    blocks: u8,
    digests: [u64; 4],
}

/// A communication receiver.
struct CommunicationReceiver {
    id: Arc<str>,
    noise_dbm: f64,
    /// Frames below this one are read or lost.
    next: u64,
    received: Windowed<ReceivedSums>,
    data: Windowed<DataSums>,
    images: Images,
    /// Number of the newest picture that came.
    shown: u64,
}

/// A sensing receiver, and what it has told of the frame it is at.
struct Sensing {
    id: Arc<str>,
    noise_dbm: f64,
    receiver: SensingReceiver,
    estimates: Vec<(Estimate, Option<u64>)>,
    tracks: Vec<Track>,
    /// Frames below this one are done with.
    next: u64,
}

/// Gathers events while a run goes on.
pub struct Collector {
    scene: Arc<Scene>,
    bank: Arc<Bank>,
    plans: Arc<PlanBoard>,
    clock: FrameClock,
    /// Whether what was sent is known here; otherwise what the receivers make of it has to do.
    knows_sender: bool,
    frames: BTreeMap<u64, SentFrame>,
    last_sent: Option<u64>,
    sent: Windowed<SentSums>,
    /// User data put into frames, and when the last datagram in a frame was.
    data: Windowed<DataSums>,
    data_at_ns: BTreeMap<u64, u64>,
    position_delays: Windowed<Delays>,
    picture_delays: Windowed<Delays>,
    datagram_delays: Windowed<Delays>,
    radiated: Windowed<RadiatedSums>,
    left_out: u64,
    pictures: BTreeMap<u64, SentPicture>,
    /// Blocks of all pictures sent whole.
    picture_blocks: u64,
    /// Source samples of all pictures sent whole.
    source_samples: f64,
    images_total: u64,
    communication: Vec<CommunicationReceiver>,
    sensing: Vec<Sensing>,
    /// How many there are.
    targets: usize,
    /// What the targets were, by frame and place in the scene's list.
    world: BTreeMap<(u64, u8), Truth>,
    overflows: u64,
    underflows: u64,
    retunes: u64,
    late_frames: u64,
    late_pictures: u64,
    /// The plan whose first frame was told last.
    told_epoch: Option<u64>,
    /// Whether anybody wants the run's events.
    pub wants_events: bool,
    /// Events made since somebody took them.
    events: Vec<Event>,
}

/// What only the end of a run knows.
pub struct Outcome {
    /// What the optimizer did.
    pub log: SessionLog,
    /// Wall-clock time of the run.
    pub took: Duration,
}

impl Collector {
    /// A collector for a run of these plans.
    pub fn new(scene: Arc<Scene>, bank: Arc<Bank>, plans: Arc<PlanBoard>, knows_sender: bool) -> Self {
        let targets = scene.targets();
        let communication = scene.communication_receivers().into_iter().map(|receiver| CommunicationReceiver {
            id: receiver.id.into(),
            noise_dbm: receiver.noise_dbm,
            next: 0,
            received: Windowed::default(),
            data: Windowed::default(),
            images: Images::default(),
            shown: 0,
        });
        let sensing = scene.sensing_receivers().into_iter().enumerate().map(|(index, receiver)| Sensing {
            id: receiver.id.into(),
            noise_dbm: receiver.noise_dbm,
            receiver: SensingReceiver::new(
                targets.iter().enumerate().map(|(place, target)| (target.id.clone(), scene.seen_by(place, 0, index))),
            ),
            estimates: Vec::new(),
            tracks: Vec::new(),
            next: 0,
        });
        let (communication, sensing) = (communication.collect(), sensing.collect());
        Self {
            clock: FrameClock::new(&scene, plans.headers()),
            scene,
            bank,
            plans,
            knows_sender,
            frames: BTreeMap::new(),
            last_sent: None,
            sent: Windowed::default(),
            data: Windowed::default(),
            data_at_ns: BTreeMap::new(),
            position_delays: Windowed::default(),
            picture_delays: Windowed::default(),
            datagram_delays: Windowed::default(),
            radiated: Windowed::default(),
            left_out: 0,
            pictures: BTreeMap::new(),
            picture_blocks: 0,
            source_samples: 0.0,
            images_total: 0,
            communication,
            sensing,
            targets: targets.len(),
            world: BTreeMap::new(),
            overflows: 0,
            underflows: 0,
            retunes: 0,
            late_frames: 0,
            late_pictures: 0,
            told_epoch: None,
            wants_events: false,
            events: Vec::new(),
        }
    }

    /// Events made since the last call.
    pub fn take_events(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    /// A picture that was sent and may still be received.
    pub fn sent_picture(&self, number: u64) -> Option<SentPicture> {
        self.pictures.get(&number).copied()
    }

    /// The id of a communication receiver.
    pub fn communication_id(&self, receiver: u8) -> Arc<str> {
        let known = self.communication.get(usize::from(receiver)).unwrap_or(&self.communication[0]);
        Arc::clone(&known.id)
    }

    /// Takes in what a stage tells.
    pub fn take(&mut self, told: &Told) {
        match told.event {
            Reported::FrameSent { frame, blocks, digests } => self.frame_sent(frame, SentFrame { blocks, digests }),
            Reported::DataSent { frame, first, blocks, digests, room_bits, datagrams, bytes, refused, at_ns } => {
                let record = DataRecord { blocks, room_bits, datagrams, bytes, refused, ..DataRecord::default() };
                self.data_sent(frame, record, (first, digests), at_ns);
            }
            Reported::DataReceived { frame, datagrams, bytes, lost, damaged, refused, at_ns } => {
                let record = DataRecord { datagrams, bytes, lost, damaged, refused, ..DataRecord::default() };
                self.data_received(told.receiver, frame, record, at_ns);
            }
            Reported::Took { result: ResultKind::Position, time_ns } => self.position_delays.add(time_ns),
            Reported::Took { result: ResultKind::Picture, time_ns } => self.picture_delays.add(time_ns),
            Reported::Radiated { samples, energy } => self.radiated.add(RadiatedRecord { samples, energy }),
            Reported::PictureSent { number, source, model, bits, blocks } => {
                self.picture_sent(number, SentPicture { source, model, bits, blocks });
            }
            Reported::FrameReceived { frame, blocks, decoded, digests, sinr, noise_w } => {
                if !self.knows_sender {
                    self.frames.insert(frame, SentFrame { blocks, digests });
                }
                let measured = [sinr, noise_w].map(f64::from);
                self.frame_received(told.receiver, frame, decoded, digests, measured);
            }
            Reported::World { frame, target, position_m, reflection_coefficient } => {
                self.world.insert((frame, target), Truth { position_m, reflection_coefficient });
            }
            Reported::Sensed { frame, estimate, track, more } => {
                self.sensed(told.receiver, frame, (estimate, track), more);
            }
            Reported::Tracked { frame, track, more } => self.tracked(told.receiver, frame, track, more),
            Reported::Lost { frames } => self.overflows += frames,
            Reported::Starved { events } => self.underflows += events,
            Reported::LeftOut { .. } => self.left_out += 1,
            Reported::TransmitterProgress { .. } | Reported::ReceiverProgress { .. } => {}
            Reported::Sounded { .. } | Reported::LinkSeen { .. } => {}
            Reported::Started { .. } | Reported::PeerLost { .. } => {}
        }
    }

    /// Forgets what waits for receivers that never come: called while a run goes on, not for events of the past.
    pub fn forget(&mut self) {
        while self.frames.len() > WAITING {
            self.frames.pop_first();
        }
        while self.world.len() > WAITING {
            self.world.pop_first();
        }
        while self.pictures.len() > WAITING {
            self.pictures.pop_first();
        }
    }

    fn frame_sent(&mut self, frame: u64, sent: SentFrame) {
        let plan = self.plans.in_force(frame);
        self.sent.add(SentRecord {
            blocks: sent.blocks,
            predicted_sinr: plan.predicted_sinr,
            plan_power_w: plan.beams.power_w(),
        });
        self.frames.insert(frame, sent);
        self.last_sent = Some(frame);
        if self.wants_events {
            if self.told_epoch != Some(plan.epoch) {
                self.told_epoch = Some(plan.epoch);
                self.events.push(Event::Plan(Arc::new(PlanSummary::new(&plan, &self.bank))));
            }
            let power_dbm = w_to_dbm(plan.beams.power_w());
            let signal_s = self.clock.start_s(frame);
            self.events.push(Event::Sent { frame, signal_s, epoch: plan.epoch, power_dbm });
        }
    }

    fn data_sent(&mut self, frame: u64, record: DataRecord, (first, digests): (u8, [u64; 4]), at_ns: u64) {
        let (blocks, datagrams) = (record.blocks, record.datagrams);
        self.data.add(record);
        if let Some(sent) = self.frames.get_mut(&frame) {
            sent.blocks = first + blocks;
            let data = usize::from(first)..usize::from(sent.blocks).min(digests.len());
            sent.digests[data.clone()].copy_from_slice(&digests[data]);
        }
        if datagrams > 0 {
            self.data_at_ns.insert(frame, at_ns);
            if self.data_at_ns.len() > WAITING {
                self.data_at_ns.pop_first();
            }
        }
    }

    fn data_received(&mut self, receiver: u8, frame: u64, record: DataRecord, at_ns: u64) {
        // The last datagram that ends in a frame was begun in this one or in one before it.
        let begun = self.data_at_ns.range(..=frame).next_back().map(|(_, at_ns)| *at_ns);
        if let Some(begun) = begun.filter(|_| record.datagrams > 0 && at_ns > 0) {
            self.datagram_delays.add(at_ns.saturating_sub(begun));
        }
        if let Some(state) = self.communication.get_mut(usize::from(receiver)) {
            state.data.add(record);
        }
    }

    /// User data over a span, as a receiver has it.
    fn data_figures(&self, index: usize, span: Span) -> DataFigures {
        let (sent, came) = (self.data.over(span), self.communication[index].data.over(span));
        let signal_s = match span {
            Span::Whole => self.signal_s(),
            Span::Recent => self.clock.frame_s() * sent.frames as f64,
        };
        let per_s = |bits: u64| (sent.frames > 0 && signal_s > 0.0).then(|| bits as f64 / signal_s);
        // What is still on its way at the end of a run did not come.
        let lost = if span == Span::Whole && sent.frames > 0 {
            sent.datagrams.saturating_sub(came.datagrams)
        } else {
            came.lost
        };
        DataFigures {
            promised_bits_per_s: per_s(sent.room_bits),
            goodput_bits_per_s: per_s(8 * came.bytes),
            datagrams: Datagrams {
                sent: sent.datagrams,
                received: came.datagrams,
                lost,
                refused: sent.refused + came.refused,
                damaged: came.damaged,
            },
        }
    }

    fn picture_sent(&mut self, number: u64, sent: SentPicture) {
        self.images_total += 1;
        self.picture_blocks += sent.blocks;
        self.pictures.insert(number, sent);
        self.communication.iter_mut().for_each(|receiver| receiver.images.sent(number, sent));
    }

    /// Counts the source samples of a picture that was sent.
    pub fn add_source_samples(&mut self, samples: f64) {
        self.source_samples += samples;
    }

    fn frame_received(
        &mut self,
        receiver: u8,
        frame: u64,
        decoded: [bool; 4],
        digests: [u64; 4],
        [sinr, noise_w]: [f64; 2],
    ) {
        let Some(state) = self.communication.get_mut(usize::from(receiver)) else { return };
        // Frames before this one that were never read are lost.
        if state.next <= frame {
            for (_, sent) in self.frames.range(state.next..frame) {
                state.received.add(ReceivedRecord { sent: sent.blocks, ..ReceivedRecord::default() });
            }
        }
        let sent = (state.next <= frame).then(|| self.frames.get(&frame)).flatten();
        let used = sent.map_or(0, |sent| usize::from(sent.blocks));
        let right = |index: &usize| decoded[*index] && sent.is_some_and(|sent| digests[*index] == sent.digests[*index]);
        let count = (0..used).filter(right).count();
        let wrong = (0..used).filter(|index| decoded[*index] && !right(index)).count();
        state.received.add(ReceivedRecord {
            sinr: Some(sinr),
            noise_w,
            sent: used as u8,
            right: count as u8,
            wrong: wrong as u8,
            known: sent.is_some(),
        });
        state.next = state.next.max(frame + 1);
        let done = self.communication.iter().map(|receiver| receiver.next).min().unwrap_or_default();
        self.frames = self.frames.split_off(&done.min(frame));
        if self.wants_events {
            let epoch = self.plans.in_force(frame).epoch;
            self.events.push(Event::Received {
                node: self.communication_id(receiver),
                frame,
                signal_s: self.clock.start_s(frame),
                epoch,
                sinr_db: Some(decibel(sinr)).filter(|level| level.is_finite()),
                blocks_sent: used as u8,
                blocks_lost: (used - count) as u8,
            });
        }
    }

    /// What every target was at a frame.
    fn truth(&self, frame: u64) -> Vec<Option<Truth>> {
        (0..self.targets as u8).map(|target| self.world.get(&(frame, target)).copied()).collect()
    }

    fn sensed(&mut self, receiver: u8, frame: u64, found: (Estimate, Option<u64>), more: bool) {
        let truth = self.truth(frame);
        let Some(state) = self.sensing.get_mut(usize::from(receiver)) else { return };
        state.estimates.push(found);
        if more {
            return;
        }
        let plan = self.plans.in_force(frame);
        let estimates: Vec<_> = state.estimates.iter().map(|(estimate, _)| *estimate).collect();
        state.receiver.sensed(frame, &estimates, &SensedFrame { plan: &plan, truth: &truth });
        state.next = state.next.max(frame);
        if self.wants_events {
            self.events.push(detections_event(state, frame, self.clock.start_s(frame), plan.epoch));
        }
        self.sensing[usize::from(receiver)].estimates.clear();
        let done = self.sensing.iter().map(|sensing| sensing.next).min().unwrap_or_default();
        self.world = self.world.split_off(&(done, 0));
    }

    fn tracked(&mut self, receiver: u8, frame: u64, track: Option<Track>, more: bool) {
        let truth = self.truth(frame);
        let Some(state) = self.sensing.get_mut(usize::from(receiver)) else { return };
        state.tracks.extend(track);
        if !more {
            state.receiver.tracked(frame, &state.tracks, &truth);
            state.tracks.clear();
        }
    }

    /// Takes in what a receiver shows of a picture.
    pub fn picture_came(&mut self, receiver: u8, line: ImageReport) {
        if self.wants_events {
            self.events.push(Event::Picture {
                node: self.communication_id(receiver),
                index: line.index,
                psnr_db: line.psnr_db,
                blocks_lost: line.blocks_lost,
            });
        }
        let number = line.index;
        if let Some(state) = self.communication.get_mut(usize::from(receiver)) {
            state.images.came(line);
            state.shown = state.shown.max(number);
        }
        // Results come nearly in order: what is far behind all of them has come, or never will.
        let done = self.communication.iter().map(|receiver| receiver.shown).min().unwrap_or_default();
        while self.pictures.first_key_value().is_some_and(|(first, _)| first + PICTURES_BEHIND < done) {
            self.pictures.pop_first();
        }
    }

    /// Takes in how many frames and pictures were given up because the machine did not keep up.
    pub fn set_overload(&mut self, frames: u64, pictures: u64) {
        (self.late_frames, self.late_pictures) = (frames, pictures);
    }

    /// Takes in how many changes of plan there were.
    pub fn set_retunes(&mut self, retunes: u64) {
        self.retunes = retunes;
    }

    /// A communication receiver's noise lately: what the plans believe of the one that they serve, and what it measured.
    fn noise(&self, index: usize) -> BelievedMeasured {
        let state = &self.communication[index];
        let recent = state.received.over(Span::Recent);
        let plan_dbm = self.plans.newest().link.noise_dbm;
        BelievedMeasured {
            believed: if index == 0 { plan_dbm } else { state.noise_dbm },
            measured: (recent.read > 0 && recent.noise_w > 0.0).then(|| w_to_dbm(recent.noise_w / recent.read as f64)),
        }
    }

    fn receiver_figures(&self, index: usize, span: Span) -> ReceiverFigures {
        let state = &self.communication[index];
        let (sums, sent) = (state.received.over(span), self.sent.over(span));
        // At the end of a run what was sent last and never read counts as lost as well.
        let sent_blocks = sent.blocks + self.data.over(span).blocks;
        let blocks = if span == Span::Whole && self.knows_sender { sent_blocks } else { sums.sent };
        ReceiverFigures {
            id: state.id.to_string(),
            kind: "communication",
            frames_decoded: Some(sums.whole),
            block_error_rate: (blocks > 0).then(|| 1.0 - sums.right as f64 / blocks as f64),
            wrong_blocks: Some(sums.wrong),
            sinr_db: Some(SinrReport {
                measured: (sums.read > 0).then(|| decibel(sums.sinr / sums.read as f64)),
                predicted: (index == 0 && sent.frames > 0).then(|| decibel(sent.predicted_sinr / sent.frames as f64)),
            }),
            noise_dbm: self.noise(index),
            delay_offset_s: None,
            images: Some(match span {
                Span::Whole => state.images.lines(),
                Span::Recent => state.images.recent(),
            }),
            data: Some(self.data_figures(index, span)),
            header: Some(HeaderFigures { lost: sums.lost, airtime: self.plans.newest().header.airtime() }),
            targets: None,
            surplus_positions: None,
            row_faults: None,
        }
    }

    fn sensing_figures(&self, index: usize, span: Span) -> ReceiverFigures {
        let state = &self.sensing[index];
        ReceiverFigures {
            id: state.id.to_string(),
            kind: "sensing",
            frames_decoded: None,
            block_error_rate: None,
            wrong_blocks: None,
            sinr_db: None,
            noise_dbm: BelievedMeasured { believed: state.noise_dbm, measured: state.receiver.noise_dbm(span) },
            delay_offset_s: Some(BelievedMeasured { believed: 0.0, measured: state.receiver.delay_offset_s(span) }),
            images: None,
            data: None,
            header: None,
            targets: Some(state.receiver.figures(span)),
            surplus_positions: Some(state.receiver.surplus.over(span).0),
            row_faults: Some(state.receiver.row_faults(span)),
        }
    }

    fn figures(&self, span: Span) -> Figures {
        let sent = self.sent.over(span);
        let radiated = self.radiated.over(span);
        let receivers: Vec<_> = (0..self.communication.len())
            .map(|index| self.receiver_figures(index, span))
            .chain((0..self.sensing.len()).map(|index| self.sensing_figures(index, span)))
            .collect();
        let first = receivers[0].clone();
        let sensing = &self.sensing[0].receiver;
        let targets = sensing.figures(span);
        let refused = targets.iter().flat_map(|target| target.refused.values()).sum();
        Figures {
            frames_sent: sent.frames,
            frames_radiated: self.sent.whole().frames.saturating_sub(self.left_out).min(sent.frames),
            frames_decoded: first.frames_decoded.unwrap_or_default(),
            block_error_rate: first.block_error_rate,
            undetected_blocks: first.wrong_blocks.unwrap_or_default(),
            sinr_db: first.sinr_db.unwrap_or(SinrReport { measured: None, predicted: None }),
            target: targets[0].target.clone(),
            track: targets[0].track.clone(),
            targets,
            receivers,
            reflection_coefficient: BelievedMeasured {
                believed: self.scene.channel.reflection_coefficient,
                measured: sensing.reflection(span),
            },
            snr_margin_db: self.plans.newest().link.snr_margin_db,
            power_dbm: PowerReport {
                plan: (sent.frames > 0).then(|| w_to_dbm(sent.plan_power_w / sent.frames as f64)),
                measured: (radiated.samples > 0).then(|| w_to_dbm(radiated.energy / radiated.samples as f64)),
            },
            dropped: Dropped {
                overload: self.late_frames + self.late_pictures,
                late: self.left_out,
                // Links tell of what they drop as of samples that are missing.
                gap: self.overflows.saturating_sub(self.late_frames),
                refused,
            },
            latency_ms: Latencies {
                position: self.position_delays.over(span).latency(),
                picture: self.picture_delays.over(span).latency(),
                datagram: self.datagram_delays.over(span).latency(),
            },
            images_total: self.images_total,
            images_whole: self.communication[0].images.whole,
            retunes_total: self.retunes,
            overflows: self.overflows,
            underflows: self.underflows,
        }
    }

    /// Seconds of signal sent so far.
    pub fn signal_s(&self) -> f64 {
        let samples_per_symbol = self.scene.waveform.samples_per_symbol as f64;
        self.radiated.whole().samples as f64 / samples_per_symbol * self.scene.symbol_period_s()
    }

    /// The status of a run that goes on.
    pub fn status(&self, state: State, realtime_factor: f64) -> Status {
        let plan: Arc<Plan> = self.plans.in_force(self.last_sent.unwrap_or_default());
        Status {
            state,
            frame: self.last_sent,
            plan: PlanSummary::new(&plan, &self.bank),
            figures: self.figures(Span::Recent),
            frames_sent_total: self.sent.whole().frames,
            realtime_factor,
            memory_bytes: resident_bytes(),
        }
    }

    /// The report, once all chains have ended.
    pub fn report(mut self, outcome: Outcome) -> Report {
        let Outcome { log, took } = outcome;
        self.retunes = log.retunes_total.max(log.retunes.len() as u64);
        let figures = self.figures(Span::Whole);
        let wall_s = took.as_secs_f64().max(1e-9);
        let samples = self.radiated.whole().samples as f64;
        let symbols = samples / self.scene.waveform.samples_per_symbol as f64;
        let per_sample = |symbols: f64| (self.source_samples > 0.0).then(|| symbols / self.source_samples);
        Report {
            radios: Vec::new(),
            images: self.communication[0].images.lines(),
            bandwidth_ratio: per_sample((self.picture_blocks * BLOCK as u64) as f64),
            bandwidth_ratio_with_overhead: per_sample(symbols),
            retunes: log.retunes,
            follow: log.follow,
            plan: PlanSummary::new(&self.plans.newest(), &self.bank),
            samples: self.radiated.whole().samples,
            samples_per_s: samples / wall_s,
            realtime_factor: self.signal_s() / wall_s,
            paths: std::mem::take(&mut self.sensing[0].receiver.paths),
            figures,
        }
    }
}

fn detections_event(state: &Sensing, frame: u64, signal_s: f64, epoch: u64) -> Event {
    let found = state.estimates.iter().filter_map(|(estimate, track)| {
        let fix = estimate.fix.as_ref()?;
        let (position_m, covariance_m2) = (fix.position_m, fix.covariance_m2);
        Some(Detection { position_m, covariance_m2, track: *track, rivals: rivals(estimate) })
    });
    Event::Detections {
        node: Arc::clone(&state.id),
        frame,
        signal_s,
        epoch,
        detections: found.collect(),
        rivals: match state.estimates.first() {
            Some((estimate, _)) if estimate.fix.is_none() => rivals(estimate),
            _ => Vec::new(),
        },
        refused: state.estimates.first().and_then(|(estimate, _)| estimate.status.refusal()),
        rows: state.estimates.first().map_or_else(Vec::new, |(estimate, _)| {
            (0..64).filter(|row| (estimate.rows | estimate.constant_rows) >> row & 1 == 1).collect()
        }),
    }
}

/// Other places that explain an echo.
fn rivals(estimate: &Estimate) -> Vec<Rival> {
    estimate
        .rivals
        .iter()
        .flatten()
        .map(|(position_m, posterior)| Rival { position_m: *position_m, posterior: *posterior })
        .collect()
}

/// Resident memory of this process, where the system says (Linux).
pub(super) fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}
