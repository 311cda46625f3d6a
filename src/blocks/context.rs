//! What the blocks of one run share, by purpose.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::snapshots::Snapshots;
use super::{Feed, PictureFeed, ReceivedPicture, WorldChanges};
use crate::array::Beams;
use crate::coding::{BLOCK_CRC, BLOCK_SYMBOLS};
use crate::exchange::Ends;
use crate::modem::frame::{FrameClock, HeaderLength, Layout};
use crate::modem::words::SensingSequence;
use crate::optimize::channel_vector;
use crate::recording::Device;
use crate::scene::{Scene, SceneReceiver, dbm_to_w};
use crate::semantic::Bank;
use crate::stream::{Listeners, Plan, PlanBoard, Policy, Taps, Telemetry, Told};
use crate::{Error, Result};

/// What a run was started with, beside its scene.
#[derive(Clone, Default)]
pub struct Run {
    /// Seed of everything random.
    pub seed: u64,
    /// Frames to send, if there is an end.
    pub frames: Option<u64>,
    /// Seconds of signal to send or to receive, if there is an end.
    pub seconds: Option<f64>,
    /// Signal time per wall-clock time, if the source is to keep to it.
    pub pace: Option<f64>,
    /// Pictures per second of signal where a source says nothing of its own; as many as fit where absent.
    pub pictures_per_s: Option<f64>,
    /// Probing bits of the sensing stream, if the user gave any.
    pub probing_bits: Option<Arc<[u8]>>,
}

/// Pictures before and after their coding.
#[derive(Clone)]
pub struct Codec {
    /// The source models.
    pub bank: Arc<Bank>,
    /// Pictures to send.
    pub feed: Arc<dyn PictureFeed>,
}

/// Where blocks report what they did and found.
#[derive(Clone)]
pub struct Sinks {
    /// Events for the report and the control plane.
    pub telemetry: Telemetry,
    /// Pictures received.
    pub pictures: Sender<ReceivedPicture>,
    /// Pictures received that no decoder had time for.
    pub dropped_pictures: Arc<AtomicU64>,
    /// Recent frames for drawings.
    pub snapshots: Arc<Snapshots>,
}

/// The chain whose stages are made just now.
#[derive(Debug, Clone, Default)]
pub struct ChainContext {
    /// Its name.
    pub name: String,
    /// What happens to its frames where it is late; chains that it feeds follow it unless they say otherwise.
    pub policy: Policy,
    /// Place of the receiver that it is part of among the scene's receivers of its kind, by the key `receiver` of a stage in
    /// it or before it.
    pub receiver: u8,
    /// The radio at its beginning; empty where there is none.
    pub device: Device,
}

/// What the blocks of one run share.
pub struct Context {
    /// The scene; receivers take from it what a radio would know.
    pub scene: Arc<Scene>,
    /// What the run was started with.
    pub run: Run,
    /// Plans.
    pub plans: Arc<PlanBoard>,
    /// Pictures.
    pub codec: Codec,
    /// The simulated target's moves.
    pub world: Arc<WorldChanges>,
    /// Where blocks report what they did and found.
    pub sinks: Sinks,
    /// Taps by name, between the stage that writes and those that read.
    pub taps: Taps,
    /// Where the block to be made stands.
    pub chain: ChainContext,
    /// Ways to other processes, and to recordings.
    pub ends: Ends,
}

/// What the blocks of a [`Context::alone`] say.
pub struct Collected {
    /// Events for the report.
    pub events: Receiver<Told>,
    /// Events for the control plane.
    pub feedback: Receiver<Told>,
    /// Pictures received.
    pub pictures: Receiver<ReceivedPicture>,
}

impl Collected {
    /// Room for what a block says while nobody reads.
    const ROOM: usize = 4096;
}

/// A feed without a picture.
struct NoPictures;

impl PictureFeed for NoPictures {
    fn picture(&self, _number: u64, _plan: &Plan) -> Feed {
        Feed::End
    }
}

impl Context {
    /// A context for blocks that run by themselves, as in a test: no pictures to send, no other process, no radio, and
    /// one plan for all frames ([`first_plan`]). Also what the blocks say.
    pub fn alone(scene: Scene) -> (Self, Collected) {
        let (telemetry, Listeners { report, control }) = Telemetry::new(Collected::ROOM);
        let (pictures, received) = bounded(Collected::ROOM);
        let context = Self {
            run: Run { seed: 1, ..Run::default() },
            plans: Arc::new(PlanBoard::new(first_plan(&scene), u64::MAX)),
            scene: Arc::new(scene),
            codec: Codec { bank: Bank::shipped(), feed: Arc::new(NoPictures) },
            world: Arc::new(ArcSwap::from_pointee(Vec::new())),
            sinks: Sinks {
                telemetry,
                pictures,
                dropped_pictures: Arc::default(),
                snapshots: Arc::new(Snapshots::none()),
            },
            taps: Taps::default(),
            chain: ChainContext::default(),
            ends: Ends::default(),
        };
        (context, Collected { events: report, feedback: control, pictures: received })
    }

    /// When frames begin under the plans of this run.
    pub(crate) fn clock(&self) -> FrameClock {
        FrameClock::new(&self.scene, self.plans.headers())
    }

    /// Symbols of the longest frame.
    pub(crate) fn longest_frame(&self) -> usize {
        Layout::longest(self.scene.array.transmit_antennas).symbols()
    }

    /// Samples of the longest frame.
    pub(crate) fn longest_samples(&self) -> usize {
        self.longest_frame() * self.scene.waveform.samples_per_symbol
    }

    /// The telemetry of the receiver that the stage to be made belongs to.
    pub(crate) fn receivers_telemetry(&self) -> Telemetry {
        self.sinks.telemetry.of_receiver(self.chain.receiver)
    }

    /// Makes the stage, and those it feeds, part of the receiver of this id among `receivers`; of the first where none is
    /// named.
    pub(crate) fn join_receiver(&mut self, id: Option<&str>, receivers: &[SceneReceiver]) -> Result<()> {
        let Some(id) = id else { return Ok(()) };
        let place = receivers.iter().position(|receiver| receiver.id == id).ok_or_else(|| {
            let known: Vec<_> = receivers.iter().map(|receiver| receiver.id.as_str()).collect();
            Error::input(format!("receiver = \"{id}\"; accepted with this scene: {}", known.join(", ")))
        })?;
        self.chain.receiver = place as u8;
        Ok(())
    }

    /// What the sensing stream follows from: the sides of a run agree on it beforehand.
    pub(crate) fn sensing_sequence(&self) -> SensingSequence {
        SensingSequence { seed: self.run.seed as u16, probing_bits: self.run.probing_bits.clone() }
    }
}

/// A plan without an optimizer: nine tenths of the power straight to the communication receiver, the rest of it evenly from
/// all antennas for sensing; 300 bits in a payload block and 100 in a protected one, as QPSK.
pub fn first_plan(scene: &Scene) -> Plan {
    let channel = channel_vector(scene);
    let antennas = channel.len();
    let power_w = dbm_to_w(scene.constraints.power_dbm);
    let code = |information_bits| {
        let code = crate::coding::plan(information_bits, BLOCK_SYMBOLS, BLOCK_CRC);
        Arc::new(code.expect("there are QPSK codes of these lengths: a test makes them"))
    };
    let spread = num_complex::Complex64::from((0.1 * power_w / antennas as f64).sqrt());
    Plan {
        epoch: 0,
        from_frame: 0,
        beams: Beams {
            w_c: channel.unscale(channel.norm()).scale((0.9 * power_w).sqrt()),
            w_0: nalgebra::DVector::repeat(antennas, spread),
        },
        model: 0,
        budget: None,
        header: HeaderLength::Short,
        payload: code(300),
        protected: code(100),
        link: crate::stream::LinkBelief::default(),
        predicted_sinr: 1.0,
        predicted_mse: 1.0,
    }
}
