//! The report of a run: events of all chains, the truth of the simulation beside what the receivers found.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use serde::Serialize;

use super::{FollowReport, PictureLibrary, Retune, SessionLog};
use crate::array::Beams;
use crate::blocks::ReceivedPicture;
use crate::exchange::PictureMessage;
use crate::modem::frame::{BLOCK, SENSING_WINDOW};
use crate::optimize::BoundModel;
use crate::scene::{Point, Scene, decibel, w_to_dbm};
use crate::semantic::{Bank, metrics};
use crate::sensing::{Status, Track};
use crate::stream::{Event, Plan, PlanBoard, digest};

/// A position error above this many times the bound is an outlier.
const OUTLIER: f64 = 10.0;

/// Places that are kept for a drawing; the oldest go first.
const PLACES_KEPT: usize = 1 << 14;

/// The numbers of a run; `contracts` names the keys.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames whose header and all used blocks were right.
    pub frames_decoded: u64,
    /// 1 − blocks right / payload blocks sent; null where none was. Without the transmitter in this process, blocks sent
    /// are those that the headers read speak of, and right are those that passed their checks.
    pub block_error_rate: Option<f64>,
    /// Blocks that passed their checks and were wrong.
    pub undetected_blocks: u64,
    /// Every picture sent whole.
    pub images: Vec<ImageReport>,
    /// At the communication receiver.
    pub sinr_db: SinrReport,
    /// At the sensing receiver.
    pub target: TargetReport,
    /// The track that its positions make.
    pub track: TrackReport,
    /// The same place by place.
    #[serde(skip)]
    pub paths: Paths,
    /// Tr Σ of the plans, and what the antennas sent.
    pub power_dbm: PowerReport,
    /// Payload symbols per source sample.
    pub bandwidth_ratio: Option<f64>,
    /// All symbols (preamble, header, unique words, sounding too) per source sample.
    pub bandwidth_ratio_with_overhead: Option<f64>,
    /// Changes of plan by soundings and commands.
    pub retunes: Vec<Retune>,
    /// Changes of plan by the track; null where the beams do not follow it.
    pub follow: Option<FollowReport>,
    /// The last plan.
    pub plan: PlanSummary,
    /// Receivers' events of lost samples.
    pub overflows: u64,
    /// Transmitter's events of missing samples.
    pub underflows: u64,
    /// Samples sent per antenna and second of wall-clock time.
    pub samples_per_s: f64,
    /// Signal time per wall-clock time.
    pub realtime_factor: f64,
}

/// One picture.
#[derive(Debug, Clone, Serialize)]
pub struct ImageReport {
    /// Its number in the run.
    pub index: u64,
    /// Source model.
    pub model: usize,
    /// Bits of its stream.
    pub bits: u64,
    /// Blocks sent for it that did not arrive.
    pub blocks_lost: u64,
    /// Against the original; null where nothing could be shown or nothing differs.
    pub psnr_db: Option<f64>,
    /// PSNR of the error-free decode less this one; null where nothing could be shown.
    pub psnr_loss_db: Option<f64>,
    /// Multi-scale structural similarity; null where the picture is missing or too small.
    pub ms_ssim: Option<f64>,
    /// Equal to the original.
    pub identical: bool,
    /// Equal to the error-free decode, pixel for pixel.
    pub equals_error_free: bool,
    /// Mean squared error; null where nothing could be shown.
    pub mse: Option<f64>,
}

/// SINR in dB.
#[derive(Debug, Clone, Serialize)]
pub struct SinrReport {
    /// Mean over the frames read.
    pub measured: Option<f64>,
    /// Mean over the frames sent, by the optimizer; null where none was.
    pub predicted: Option<f64>,
}

/// The sensing receiver's results.
#[derive(Debug, Clone, Serialize)]
pub struct TargetReport {
    /// The last position found.
    pub estimate_m: Option<Point>,
    /// Where the target was then; null where only another process knows, or nobody.
    pub truth_m: Option<Point>,
    /// Frames with a position.
    pub frames: u64,
    /// Root mean square error.
    pub rmse_m: Option<f64>,
    /// Root of the mean bound of the weights flown.
    pub hcrb_rmse_m: Option<f64>,
    /// Mean of the squared errors, each over its reported covariance: 2 where the error bars are true. Arrays with element
    /// errors displace all positions of a run alike, so one run is one draw of that part.
    pub nees: Option<f64>,
    /// Errors above ten times the bound and what element errors add to it.
    pub outliers: u64,
    /// Frames without a position.
    pub no_position: u64,
}

/// The confirmed track with most fixes, frame by frame.
#[derive(Debug, Clone, Serialize)]
pub struct TrackReport {
    /// Where it ends.
    pub estimate_m: Option<Point>,
    /// Its velocity there.
    pub velocity_m_s: Option<Point>,
    /// Different tracks in the course of the run: above 1 where one was lost.
    pub tracks: u64,
    /// Frames with a track and a position.
    pub frames: u64,
    /// Root mean square error of the track in those frames.
    pub rmse_m: Option<f64>,
    /// Frames with a track but without a position.
    pub coasted_frames: u64,
    /// Root mean square error of the track in those.
    pub coasted_rmse_m: Option<f64>,
}

/// Where the target was found, tracked and was, frame by frame: the last of them, in m.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// Positions found.
    pub found: VecDeque<Point>,
    /// Positions of the track.
    pub tracked: VecDeque<Point>,
    /// Where the target was, if that is known.
    pub truth: VecDeque<Point>,
}

impl Paths {
    fn keep(path: &mut VecDeque<Point>, place: Option<Point>) {
        path.extend(place);
        if path.len() > PLACES_KEPT {
            path.pop_front();
        }
    }
}

/// Powers in dBm.
#[derive(Debug, Clone, Serialize)]
pub struct PowerReport {
    /// Mean Tr Σ of the plans flown; null where none was.
    pub plan: Option<f64>,
    /// Mean sum of |x|² over the antennas.
    pub measured: Option<f64>,
}

/// A plan in figures.
#[derive(Debug, Clone, Serialize)]
pub struct PlanSummary {
    /// Its number.
    pub epoch: u64,
    /// Its first frame.
    pub from_frame: u64,
    /// Beams in √W.
    #[serde(flatten)]
    pub beams: Beams,
    /// Source model.
    pub model: usize,
    /// The model's name.
    pub model_name: String,
    /// N_c of payload blocks.
    pub payload_bits_per_block: usize,
    /// Modulation of payload blocks.
    pub modulation: &'static str,
    /// Whether their amplitudes are shaped.
    pub shaped: bool,
    /// R_c in bits per channel use.
    pub channel_rate_bits_per_use: f64,
    /// N_c of protected blocks.
    pub protected_bits_per_block: usize,
    /// Predicted SINR.
    pub sinr_db: f64,
    /// Mean squared error that eq. (7) predicts for the pictures.
    pub predicted_mse: f64,
    /// Tr Σ.
    pub power_w: f64,
}

impl PlanSummary {
    /// The figures of a plan.
    pub fn new(plan: &Plan, bank: &Bank) -> Self {
        Self {
            epoch: plan.epoch,
            from_frame: plan.from_frame,
            beams: plan.beams.clone(),
            model: plan.model,
            model_name: bank.models()[plan.model].name.clone(),
            payload_bits_per_block: plan.payload.information_bits(),
            modulation: plan.payload.modulation().name(),
            shaped: plan.payload.is_shaped(),
            channel_rate_bits_per_use: plan.payload.rate(),
            protected_bits_per_block: plan.protected.information_bits(),
            sinr_db: decibel(plan.predicted_sinr),
            predicted_mse: plan.predicted_mse,
            power_w: plan.beams.power_w(),
        }
    }
}

/// A picture to be shown: the original, what arrived, and its line of the report.
pub struct Shown {
    /// As sent.
    pub sent: RgbImage,
    /// As received.
    pub received: RgbImage,
    /// Its line.
    pub line: ImageReport,
}

/// How far a picture is from its original.
#[derive(Clone, Copy)]
struct Quality {
    mse: f64,
    ms_ssim: Option<f64>,
}

impl Quality {
    fn of(original: &RgbImage, picture: &RgbImage) -> Self {
        Self { mse: metrics::mse(original, picture), ms_ssim: metrics::ms_ssim(original, picture) }
    }
}

/// What a receiver that loses nothing shows.
struct ErrorFree {
    image: RgbImage,
    quality: Quality,
}

/// Positions, and their errors in metres where the truth is known.
#[derive(Default)]
struct Errors {
    count: u64,
    known: u64,
    squared: f64,
}

impl Errors {
    fn add(&mut self, error: Option<f64>) {
        self.count += 1;
        self.known += u64::from(error.is_some());
        self.squared += error.map_or(0.0, |error| error * error);
    }

    fn root_mean_square(&self) -> Option<f64> {
        (self.known > 0).then(|| (self.squared / self.known as f64).sqrt())
    }
}

struct SentFrame {
    blocks: u8,
    digests: [u64; 4],
}

struct SentPicture {
    source: usize,
    model: usize,
    bits: u64,
    blocks: u64,
}

/// Gathers events while a run goes on.
pub struct Collector {
    scene: Arc<Scene>,
    library: Arc<PictureLibrary>,
    plans: Arc<PlanBoard>,
    frames: BTreeMap<u64, SentFrame>,
    frames_sent: u64,
    frames_decoded: u64,
    blocks_sent: u64,
    blocks_right: u64,
    undetected: u64,
    pictures: BTreeMap<u64, SentPicture>,
    images: BTreeMap<u64, ImageReport>,
    error_free: HashMap<(usize, usize), Option<ErrorFree>>,
    /// Whether what was sent is known here; otherwise what the receivers make of it has to do.
    pub knows_sender: bool,
    /// The newest picture that could be shown.
    pub shown: Option<Shown>,
    sinr_sum: f64,
    sinr_count: u64,
    predicted_sum: f64,
    plan_power_sum: f64,
    samples: u64,
    energy: f64,
    world: BTreeMap<u64, Point>,
    /// Whether the next position and the next track belong to a frame that had one already.
    continued: [bool; 2],
    bound: Option<((u64, Point, usize), Option<f64>)>,
    last_located: Option<u64>,
    track: Option<Track>,
    tracks: u64,
    tracked: Errors,
    coasted: Errors,
    paths: Paths,
    estimate: Option<(Point, Option<Point>)>,
    located: Errors,
    bound_sum: f64,
    normalised_error_sum: f64,
    outliers: u64,
    no_position: u64,
    overflows: u64,
    underflows: u64,
}

impl Collector {
    /// A collector for a run of these pictures and plans.
    pub fn new(scene: Arc<Scene>, library: Arc<PictureLibrary>, plans: Arc<PlanBoard>) -> Self {
        Self {
            scene,
            library,
            plans,
            frames: BTreeMap::new(),
            frames_sent: 0,
            frames_decoded: 0,
            blocks_sent: 0,
            blocks_right: 0,
            undetected: 0,
            pictures: BTreeMap::new(),
            images: BTreeMap::new(),
            error_free: HashMap::new(),
            knows_sender: true,
            shown: None,
            sinr_sum: 0.0,
            sinr_count: 0,
            predicted_sum: 0.0,
            plan_power_sum: 0.0,
            samples: 0,
            energy: 0.0,
            world: BTreeMap::new(),
            continued: [false; 2],
            bound: None,
            last_located: None,
            track: None,
            tracks: 0,
            tracked: Errors::default(),
            coasted: Errors::default(),
            paths: Paths::default(),
            estimate: None,
            located: Errors::default(),
            bound_sum: 0.0,
            normalised_error_sum: 0.0,
            outliers: 0,
            no_position: 0,
            overflows: 0,
            underflows: 0,
        }
    }

    /// Frames sent so far.
    pub fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    /// Takes in an event.
    pub fn event(&mut self, event: &Event) {
        match *event {
            Event::FrameSent { frame, blocks, digests } => {
                let plan = self.plans.in_force(frame);
                self.frames_sent += 1;
                self.blocks_sent += u64::from(blocks);
                self.predicted_sum += plan.predicted_sinr;
                self.plan_power_sum += plan.beams.power_w();
                self.frames.insert(frame, SentFrame { blocks, digests });
            }
            Event::Radiated { samples, energy } => {
                self.samples += samples;
                self.energy += energy;
            }
            Event::PictureSent { number, source, model, bits, blocks } => {
                self.pictures.insert(number, SentPicture { source, model, bits, blocks });
            }
            Event::FrameReceived { frame, blocks, decoded, digests, sinr } => {
                self.sinr_sum += f64::from(sinr);
                self.sinr_count += 1;
                if !self.knows_sender {
                    self.blocks_sent += u64::from(blocks);
                    self.frames.insert(frame, SentFrame { blocks, digests });
                }
                self.frame_received(frame, decoded, digests);
            }
            Event::World { frame, target: 0, position_m } => drop(self.world.insert(frame, position_m)),
            Event::World { .. } => {}
            // The first of a frame counts.
            Event::Sensed { frame, estimate, more, .. } => {
                if !std::mem::replace(&mut self.continued[0], more) {
                    self.sensed(frame, &estimate);
                }
            }
            Event::Tracked { frame, track, more } => {
                if !std::mem::replace(&mut self.continued[1], more) {
                    self.tracked(frame, track);
                }
            }
            Event::Lost { frames } => self.overflows += frames,
            Event::Starved { events } => self.underflows += events,
            Event::TransmitterProgress { .. } | Event::ReceiverProgress { .. } | Event::Sounded { .. } => {}
            Event::Started { .. } | Event::LeftOut { .. } | Event::PeerLost { .. } => {}
        }
    }

    fn frame_received(&mut self, frame: u64, decoded: [bool; 4], digests: [u64; 4]) {
        let Some(sent) = self.frames.remove(&frame) else { return };
        let used = usize::from(sent.blocks);
        let right = |index: &usize| decoded[*index] && digests[*index] == sent.digests[*index];
        let count = (0..used).filter(right).count();
        self.undetected += (0..used).filter(|index| decoded[*index] && !right(index)).count() as u64;
        self.blocks_right += count as u64;
        self.frames_decoded += u64::from(count == used);
        // Frames before this one that were never read are of no more use.
        self.frames = self.frames.split_off(&frame);
    }

    fn sensed(&mut self, frame: u64, estimate: &crate::sensing::Estimate) {
        let truth = self.world.get(&frame).copied();
        self.world = self.world.split_off(&frame);
        Paths::keep(&mut self.paths.truth, truth);
        match (estimate.status, &estimate.fix) {
            (Status::Located, Some(fix)) => {
                let error = truth.map(|truth| crate::array::distance_m(fix.position_m, truth));
                Paths::keep(&mut self.paths.found, Some(fix.position_m));
                self.estimate = Some((fix.position_m, truth));
                self.last_located = Some(frame);
                self.located.add(error);
                self.normalised_error_sum += truth.and_then(|truth| fix.normalised_error(truth)).unwrap_or_default();
                if let (Some(error), Some(bound)) =
                    (error, truth.and_then(|truth| self.bound(frame, truth, estimate.frames)))
                {
                    self.bound_sum += bound;
                    self.outliers += u64::from(error > OUTLIER * (bound + fix.displacement_m2).sqrt());
                }
            }
            _ => self.no_position += 1,
        }
    }

    fn tracked(&mut self, frame: u64, track: Option<Track>) {
        let Some(track) = track else { return };
        let error = self.world.get(&frame).map(|truth| crate::array::distance_m(track.position_m(), *truth));
        let errors = if self.last_located == Some(frame) { &mut self.tracked } else { &mut self.coasted };
        errors.add(error);
        Paths::keep(&mut self.paths.tracked, Some(track.position_m()));
        self.tracks += u64::from(self.track.is_none_or(|last| last.id != track.id));
        self.track = Some(track);
    }

    /// Trace of the bound for a frame's window, weights and true target, and as many frames together.
    fn bound(&mut self, frame: u64, truth: Point, frames: usize) -> Option<f64> {
        let plan = self.plans.in_force(frame);
        match self.bound {
            Some((of, bound)) if of == (plan.epoch, truth, frames) => bound,
            _ => {
                let model = BoundModel::new(&self.scene, truth, SENSING_WINDOW).over_frames(frames);
                let bound = model.of_beams(&plan.beams).trace_m2().ok();
                self.bound = Some(((plan.epoch, truth, frames), bound));
                bound
            }
        }
    }

    /// Takes in a picture that came through.
    pub fn picture(&mut self, picture: ReceivedPicture) {
        let Some((mut line, source)) = self.begin_line(picture.number, picture.blocks) else { return };
        let original = self.library.original(source);
        if let Some(image) = picture.image.filter(|image| image.dimensions() == original.dimensions()) {
            let error_free = self.error_free[&(source, line.model)].as_ref();
            let equal = error_free.is_some_and(|reference| reference.image == image);
            let quality = match error_free {
                Some(reference) if equal => reference.quality,
                _ => Quality::of(original, &image),
            };
            line.rate(quality, equal, error_free);
            self.shown = Some(Shown { sent: original.clone(), received: image, line: line.clone() });
        }
        self.images.insert(picture.number, line);
    }

    /// Takes in that a picture came through elsewhere. One that differs from the error-free one counts as not shown.
    pub fn far_picture(&mut self, picture: &PictureMessage) {
        let Some((mut line, source)) = self.begin_line(picture.number, picture.blocks) else { return };
        let error_free = self.error_free[&(source, line.model)].as_ref();
        if let Some(reference) = error_free.filter(|reference| picture.digest == Some(digest(reference.image.as_raw())))
        {
            line.rate(reference.quality, true, error_free);
        }
        self.images.insert(picture.number, line);
    }

    /// The line of a picture that was sent, and its source; its error-free decode is then known.
    fn begin_line(&mut self, number: u64, blocks: u64) -> Option<(ImageReport, usize)> {
        let sent = self.pictures.get(&number)?;
        let (source, model) = (sent.source, sent.model);
        let (library, original) = (&self.library, self.library.original(source));
        self.error_free.entry((source, model)).or_insert_with(|| {
            library.error_free(source, model).map(|image| ErrorFree { quality: Quality::of(original, &image), image })
        });
        let mut line = ImageReport::missing(number, sent);
        line.blocks_lost = sent.blocks.saturating_sub(blocks);
        Some((line, source))
    }

    /// The report, once all chains have ended.
    pub fn report(self, bank: &Bank, log: SessionLog, took: Duration) -> Report {
        let symbol_s = self.scene.symbol_period_s();
        let samples_per_symbol = self.scene.waveform.samples_per_symbol as f64;
        let signal_s = self.samples as f64 / samples_per_symbol * symbol_s;
        let wall_s = took.as_secs_f64().max(1e-9);
        let (sent, frames) = (self.frames_sent > 0, self.frames_sent as f64);
        let (mut blocks, mut source_samples) = (0, 0.0);
        let mut images = Vec::new();
        for (number, sent) in &self.pictures {
            blocks += sent.blocks;
            let original = self.library.original(sent.source);
            source_samples += 3.0 * f64::from(original.width()) * f64::from(original.height());
            images.push(self.images.get(number).cloned().unwrap_or_else(|| ImageReport::missing(*number, sent)));
        }
        let per_sample = |symbols: f64| (source_samples > 0.0).then(|| symbols / source_samples);
        Report {
            frames_sent: self.frames_sent,
            frames_decoded: self.frames_decoded,
            block_error_rate: (self.blocks_sent > 0).then(|| 1.0 - self.blocks_right as f64 / self.blocks_sent as f64),
            undetected_blocks: self.undetected,
            images,
            sinr_db: SinrReport {
                measured: (self.sinr_count > 0).then(|| decibel(self.sinr_sum / self.sinr_count as f64)),
                predicted: sent.then(|| decibel(self.predicted_sum / frames)),
            },
            target: TargetReport {
                estimate_m: self.estimate.map(|(estimate, _)| estimate),
                truth_m: self.estimate.and_then(|(_, truth)| truth),
                frames: self.located.count,
                rmse_m: self.located.root_mean_square(),
                hcrb_rmse_m: (self.located.known > 0).then(|| (self.bound_sum / self.located.known as f64).sqrt()),
                nees: (self.located.known > 0).then(|| self.normalised_error_sum / self.located.known as f64),
                outliers: self.outliers,
                no_position: self.no_position,
            },
            track: TrackReport {
                estimate_m: self.track.map(|track| track.position_m()),
                velocity_m_s: self.track.map(|track| track.velocity_m_s()),
                tracks: self.tracks,
                frames: self.tracked.count,
                rmse_m: self.tracked.root_mean_square(),
                coasted_frames: self.coasted.count,
                coasted_rmse_m: self.coasted.root_mean_square(),
            },
            paths: self.paths,
            power_dbm: PowerReport {
                plan: sent.then(|| w_to_dbm(self.plan_power_sum / frames)),
                measured: (self.samples > 0).then(|| w_to_dbm(self.energy / self.samples as f64)),
            },
            bandwidth_ratio: per_sample((blocks * BLOCK as u64) as f64),
            bandwidth_ratio_with_overhead: per_sample(self.samples as f64 / samples_per_symbol),
            retunes: log.retunes,
            follow: log.follow,
            plan: PlanSummary::new(&self.plans.newest(), bank),
            overflows: self.overflows,
            underflows: self.underflows,
            samples_per_s: self.samples as f64 / wall_s,
            realtime_factor: signal_s / wall_s,
        }
    }
}

impl ImageReport {
    /// Fills in how good it is.
    fn rate(&mut self, quality: Quality, equal: bool, error_free: Option<&ErrorFree>) {
        self.mse = Some(quality.mse);
        self.psnr_db = metrics::psnr_db(quality.mse);
        self.identical = self.psnr_db.is_none();
        self.ms_ssim = quality.ms_ssim;
        self.equals_error_free = equal;
        let best = error_free.and_then(|reference| metrics::psnr_db(reference.quality.mse));
        self.psnr_loss_db = match (best, self.psnr_db) {
            (Some(best), Some(here)) => Some(best - here),
            _ => equal.then_some(0.0),
        };
    }

    fn missing(number: u64, sent: &SentPicture) -> Self {
        Self {
            index: number,
            model: sent.model,
            bits: sent.bits,
            blocks_lost: sent.blocks,
            psnr_db: None,
            psnr_loss_db: None,
            ms_ssim: None,
            identical: false,
            equals_error_free: false,
            mse: None,
        }
    }
}
