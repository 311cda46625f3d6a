//! The report of a run and its status while it goes on: the same figures, over the whole run and over its last
//! hundred frames. [`contracts`](crate::system) names the keys; none is ever missing, and one that does not apply is null.

mod collector;
mod figures;
mod images;
mod sensing;

use std::collections::BTreeMap;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub(super) use collector::{Collector, Outcome};
pub(super) use images::{Quality, SentPicture};

use crate::array::Beams;
use crate::control::{FollowReport, Retune};
use crate::scene::{Point, decibel};
use crate::semantic::Bank;
use crate::stream::Plan;

/// Frames that a status looks back.
pub const STATUS_FRAMES: usize = 100;

/// The figures that report and status share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames sent that a radio also radiated to their end; all, where there is no radio.
    pub frames_radiated: u64,
    /// Frames whose header and all used blocks were right at the first communication receiver.
    pub frames_decoded: u64,
    /// 1 − blocks right / payload blocks sent; null where none was. Without the transmitter in this process, blocks sent
    /// are those that the headers read speak of, and right are those that passed their checks.
    pub block_error_rate: Option<f64>,
    /// Blocks that passed their checks and were wrong.
    pub undetected_blocks: u64,
    /// At the first communication receiver.
    pub sinr_db: SinrReport,
    /// The first target, at the first sensing receiver.
    pub target: TargetReport,
    /// The track that its positions make.
    pub track: TrackReport,
    /// Every target, at the first sensing receiver.
    pub targets: Vec<TargetFigures>,
    /// Every receiver.
    pub receivers: Vec<ReceiverFigures>,
    /// |β_0| of the first target.
    pub reflection_coefficient: BelievedMeasured,
    /// Distance in dB kept from the SINR that a rate needs.
    pub snr_margin_db: f64,
    /// Tr Σ of the plans, and what the antennas sent.
    pub power_dbm: PowerReport,
    /// Frames that were given up, by cause.
    pub dropped: Dropped,
    /// From the last antenna sample; null where nobody measures it.
    pub latency_ms: Latencies,
    /// Pictures sent whole.
    pub images_total: u64,
    /// Pictures of these that the first communication receiver shows as their error-free decode, pixel for pixel.
    pub images_whole: u64,
    /// Changes of plan by soundings and commands.
    pub retunes_total: u64,
    /// Receivers' events of lost samples.
    pub overflows: u64,
    /// Transmitter's events of missing samples.
    pub underflows: u64,
}

/// The numbers of a run; `contracts` names the keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Over the whole run.
    #[serde(flatten)]
    pub figures: Figures,
    /// Pictures sent whole, as the first communication receiver shows them: the first and the last thousand.
    pub images: Vec<ImageReport>,
    /// Payload symbols per source sample.
    pub bandwidth_ratio: Option<f64>,
    /// All symbols (preamble, header, unique words, sounding too) per source sample.
    pub bandwidth_ratio_with_overhead: Option<f64>,
    /// Changes of plan by soundings and commands: the first and the last thousand.
    pub retunes: Vec<Retune>,
    /// Changes of plan by the track; null where the beams do not follow it.
    pub follow: Option<FollowReport>,
    /// The last plan.
    pub plan: PlanSummary,
    /// Samples sent per antenna.
    #[serde(skip)]
    pub samples: u64,
    /// Samples sent per antenna and second of wall-clock time.
    pub samples_per_s: f64,
    /// Signal time per wall-clock time.
    pub realtime_factor: f64,
    /// What happened at each radio of the run, which may be of the past; only where there were radios.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub radios: Vec<RadioFigures>,
    /// Where the targets were found, place by place.
    #[serde(skip)]
    pub paths: Paths,
}

/// What happened at a radio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RadioFigures {
    /// The profile's name.
    pub radio: String,
    /// Driver, hardware and serial.
    pub device: String,
    /// What was counted, by name.
    pub counters: BTreeMap<String, u64>,
    /// Why it could not go on, where it could not.
    pub failure: Option<String>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for the receivers that its flowgraph asks for.
    Waiting,
    /// It runs.
    Running,
    /// Nothing new is sent; what is under way is worked off.
    Stopping,
    /// It has ended.
    Ended,
}

/// A run while it goes on: figures over its last [`STATUS_FRAMES`] frames, counts of events over the whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The frame sent last; null before the first.
    pub frame: Option<u64>,
    /// The plan in force there.
    pub plan: PlanSummary,
    /// Over the last frames.
    #[serde(flatten)]
    pub figures: Figures,
    /// Frames sent since the start.
    pub frames_sent_total: u64,
    /// Signal time per wall-clock time since the last status.
    pub realtime_factor: f64,
    /// Memory of the process that is resident; null where the system does not say.
    pub memory_bytes: Option<u64>,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SinrReport {
    /// Mean over the frames read.
    pub measured: Option<f64>,
    /// Mean over the frames sent, by the optimizer; null where none was.
    pub predicted: Option<f64>,
}

/// A quantity as the scene says, and as it was found on the air.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BelievedMeasured {
    /// By the scene or a command.
    pub believed: f64,
    /// By the receivers; null where nobody measures it.
    pub measured: Option<f64>,
}

/// A sensing receiver's results for one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetReport {
    /// The last position found.
    pub estimate_m: Option<Point>,
    /// Where the target was then; null where only another process knows, or nobody.
    pub truth_m: Option<Point>,
    /// Frames with a position.
    pub frames: u64,
    /// Root mean square error.
    pub rmse_m: Option<f64>,
    /// Root of the mean bound of the weights sent with.
    pub hcrb_rmse_m: Option<f64>,
    /// Mean of the squared errors, each over its reported covariance: 2 where the error bars are true. Arrays with element
    /// errors displace all positions of a run alike, so one run is one draw of that part.
    pub nees: Option<f64>,
    /// Errors above ten times the bound and what element errors add to it.
    pub outliers: u64,
    /// Frames without a position.
    pub no_position: u64,
}

/// A target's confirmed track, frame by frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// One target by its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetFigures {
    /// The scene's name of it.
    pub id: String,
    /// Its positions.
    #[serde(flatten)]
    pub target: TargetReport,
    /// Frames in which its position was refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Its track.
    pub track: TrackReport,
}

/// One receiver by its name. What the other kind of receiver measures is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReceiverFigures {
    /// The scene's name of it.
    pub id: String,
    /// `communication` or `sensing`.
    pub kind: &'static str,
    /// Frames whose header and all used blocks were right.
    pub frames_decoded: Option<u64>,
    /// 1 − blocks right / payload blocks sent.
    pub block_error_rate: Option<f64>,
    /// Blocks that passed their checks and were wrong.
    pub wrong_blocks: Option<u64>,
    /// Measured here; predicted for the receiver that the plan serves.
    pub sinr_db: Option<SinrReport>,
    /// Noise power per symbol.
    pub noise_dbm: BelievedMeasured,
    /// By how many seconds a sensing receiver's clock is late beyond its declared error: believed 0.
    pub delay_offset_s: Option<BelievedMeasured>,
    /// Pictures as this receiver shows them: the first and the last thousand; in a status the last few.
    pub images: Option<Vec<ImageReport>>,
    /// User data beside the pictures.
    pub data: Option<DataFigures>,
    /// Headers.
    pub header: Option<HeaderFigures>,
    /// Every target, as this receiver senses it.
    pub targets: Option<Vec<TargetFigures>>,
    /// Positions found beyond those of the targets that are there.
    pub surplus_positions: Option<u64>,
    /// Rows of the array that did not fit, and those that have a constant in them, which costs no position.
    pub row_faults: Option<Vec<RowFaultReport>>,
}

/// A row of an array that is not as the others are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowFaultReport {
    /// From 0.
    pub row: u32,
    /// The reason for which positions were refused, `no-quadrature` (one of its two parts is missing) or `constant`.
    pub fault: &'static str,
    /// Frames in which it was seen.
    pub frames: u64,
}

/// User data in blocks that pictures leave free.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DataFigures {
    /// What the plan has room for, per second of signal; null where no data is sent.
    pub promised_bits_per_s: Option<f64>,
    /// What arrived, per second of signal.
    pub goodput_bits_per_s: Option<f64>,
    /// Datagrams.
    pub datagrams: Datagrams,
}

/// Counts of datagrams.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Datagrams {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
    /// Lost.
    pub lost: u64,
    /// That found no room, at the source or behind the sink.
    pub refused: u64,
    /// Dropped for their checksum.
    pub damaged: u64,
}

/// Headers of frames at one receiver.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeaderFigures {
    /// Frames sent before the last one read, whose own header was never read.
    pub lost: u64,
    /// Share of a frame's symbols that its header takes.
    pub airtime: f64,
}

/// Frames given up, by cause.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Dropped {
    /// The machine did not keep up; pictures that no decoder had time for are among them.
    pub overload: u64,
    /// They were too late for the radio.
    pub late: u64,
    /// Samples were missing.
    pub gap: u64,
    /// Their position was refused.
    pub refused: u64,
}

/// How long results take since the last of their samples came from the antennas; nothing without a pace or a radio, where
/// results take as long as their reader lets them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// To a position.
    pub position: Latency,
    /// To a picture.
    pub picture: Latency,
    /// From a datagram's way into a frame to its way out of one, where both are in this process.
    pub datagram: Latency,
}

impl Latencies {
    /// Each with the name of its result.
    pub fn each(&self) -> [(&'static str, &Latency); 3] {
        [("position", &self.position), ("picture", &self.picture), ("datagram", &self.datagram)]
    }
}

/// One delay's distribution in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: Option<f64>,
    /// 99 of 100 are below.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// Powers in dBm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerReport {
    /// Mean Tr Σ of the plans that frames were sent under; null where there is none.
    pub plan: Option<f64>,
    /// Mean sum of |x|² over the antennas.
    pub measured: Option<f64>,
}

/// Where the first target was found, tracked and was, frame by frame: the last of them, in m.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Paths {
    /// Positions found.
    pub found: VecDeque<Point>,
    /// Positions of the track.
    pub tracked: VecDeque<Point>,
    /// Where the target was, if that is known.
    pub truth: VecDeque<Point>,
}

/// Places that are kept for a drawing; the oldest go first.
const PLACES_KEPT: usize = 1 << 14;

impl Paths {
    fn keep(path: &mut VecDeque<Point>, place: Option<Point>) {
        path.extend(place);
        if path.len() > PLACES_KEPT {
            path.pop_front();
        }
    }
}

/// A plan in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
