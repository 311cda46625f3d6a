//! Plans: what the transmitter sends with from one frame on, and how every stage learns of it without a lock.
//!
//! The control plane publishes; a source asks which plan a frame is sent under and stamps its epoch on the frame; every
//! other stage swaps when it first sees the epoch. Old plans are freed by the publisher, never on the sample path.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::Wake;
use crate::array::Beams;
use crate::coding::{BLOCK_SYMBOLS, BlockCode, BlockErrorLaw};
use crate::modem::frame::{HeaderHistory, HeaderLength};
use crate::optimize::RateLimits;

/// Plans that stay reachable: one for each frame under way, and for each that waits to be reported.
const KEPT: usize = 4096;

/// What a plan believes of the link to the receiver that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkBelief {
    /// Distance kept from the SINR that the rate needs, in dB.
    pub snr_margin_db: f64,
    /// What the receiver measures above the SINR that follows from channel and noise, in dB; it is in the predicted SINR.
    pub sinr_offset_db: f64,
    /// The receiver's noise in dBm.
    pub noise_dbm: f64,
}

/// What a picture's own rate is chosen from: a plan's rate is that of the mean picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureBudget {
    /// Channel uses per source sample that a picture may take.
    pub bandwidth_ratio_max: f64,
    /// Largest block error rate that may be predicted.
    pub block_error_rate_max: f64,
    /// The law of block errors, at the plan's margin.
    pub law: BlockErrorLaw,
}

impl PictureBudget {
    /// The limits for a picture of so many source samples.
    pub fn limits(&self, source_samples: f64) -> RateLimits {
        RateLimits::new(self.bandwidth_ratio_max, source_samples, BLOCK_SYMBOLS, self.block_error_rate_max)
    }
}

/// What the transmitter sends with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Counts plans from 0.
    pub epoch: u64,
    /// The first frame that is sent under it.
    pub from_frame: u64,
    /// Both beams, in √W.
    pub beams: Beams,
    /// Index of the source model, for the mean picture.
    pub model: usize,
    /// What each picture's own model and rate are chosen from, where the transmitter is in this process.
    pub budget: Option<PictureBudget>,
    /// How long headers are.
    pub header: HeaderLength,
    /// Code of the payload blocks (R_c), for the mean picture.
    pub payload: Arc<BlockCode>,
    /// Code of the blocks that carry a picture's header and hyper segment.
    pub protected: Arc<BlockCode>,
    /// What is believed of the link.
    pub link: LinkBelief,
    /// SINR that these beams reach with the channel the plan was made for, linear.
    pub predicted_sinr: f64,
    /// Mean squared error that is predicted for the pictures, lost blocks included.
    pub predicted_mse: f64,
}

impl Plan {
    /// Holds a plan from elsewhere to what is here: transmit antennas and source models.
    ///
    /// # Errors
    /// What does not fit, in a phrase.
    pub fn fits(&self, antennas: usize, models: usize) -> Result<(), String> {
        for (name, beam) in [("w_c", &self.beams.w_c), ("w_0", &self.beams.w_0)] {
            if beam.len() != antennas {
                return Err(format!("a plan with {} weights in {name}; accepted: {antennas}", beam.len()));
            }
            if beam.iter().any(|weight| !weight.norm_sqr().is_finite()) {
                return Err(format!("a plan with weights in {name} that are too large"));
            }
        }
        match self.model < models {
            true => Ok(()),
            false => Err(format!("a plan with source model {}; accepted: 0 to {}", self.model, models - 1)),
        }
    }
}

/// The plans of a run: one publisher, many readers.
pub struct PlanBoard {
    plans: ArcSwap<Vec<Arc<Plan>>>,
    decided_until: AtomicU64,
    /// The lengths that headers have under all plans so far.
    headers: Arc<HeaderHistory>,
    retired: Mutex<Vec<Arc<Plan>>>,
    /// Held while a frame is settled that nobody decided, or while a plan is put before those that are still open.
    settling: Mutex<()>,
    /// Every source that ever asked for a plan.
    waiting: Mutex<Vec<Wake>>,
}

impl PlanBoard {
    /// A board whose first plan is decided for the frames below `decided_until`.
    pub fn new(first: Plan, decided_until: u64) -> Self {
        Self {
            headers: HeaderHistory::new(first.header),
            plans: ArcSwap::from_pointee(vec![Arc::new(first)]),
            decided_until: AtomicU64::new(decided_until),
            retired: Mutex::default(),
            settling: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Adds plans in the order of their frames, none of them decided yet; their epochs are above all others.
    pub fn publish(&self, new: Vec<Plan>) {
        if new.is_empty() {
            return;
        }
        debug_assert!(new.iter().all(|plan| plan.from_frame >= self.decided_until.load(Ordering::SeqCst)));
        new.iter().for_each(|plan| self.headers.turn(plan.from_frame, plan.header));
        let old = self.plans.load_full();
        let (gone, kept) = old.split_at((old.len() + new.len()).saturating_sub(KEPT).min(old.len()));
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.extend_from_slice(gone);
        let mut plans = kept.to_vec();
        plans.extend(new.into_iter().map(Arc::new));
        self.plans.store(Arc::new(plans));
        drop(old);
        retired.retain(|plan| Arc::strong_count(plan) > 1);
    }

    /// Adds a plan for its frame, or for the first that is still open where the transmitter, which waits for nobody, has
    /// got beyond it; that frame.
    pub fn publish_late(&self, plan: Plan) -> u64 {
        let _settled = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let from_frame = plan.from_frame.max(self.decided_until());
        self.publish(vec![Plan { from_frame, ..plan }]);
        from_frame
    }

    /// Settles a frame that nobody has decided: it flies on under the plan in force.
    fn fly_on(&self, frame: u64) {
        let _settled = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        self.decided_until.fetch_max(frame + 1, Ordering::SeqCst);
    }

    /// Lets the frames below `frame` be sent, under the plans published so far.
    pub fn decide_until(&self, frame: u64) {
        self.decided_until.fetch_max(frame, Ordering::SeqCst);
        self.waiting().iter().for_each(Wake::wake);
    }

    /// The lengths that headers have: for whoever counts samples by frames.
    pub fn headers(&self) -> &Arc<HeaderHistory> {
        &self.headers
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Wake>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames below this one may be sent.
    pub fn decided_until(&self) -> u64 {
        self.decided_until.load(Ordering::SeqCst)
    }

    /// The plan in force at a frame, as far as it is decided.
    pub fn in_force(&self, frame: u64) -> Arc<Plan> {
        let plans = self.plans.load();
        let plan = plans.iter().rev().find(|plan| plan.from_frame <= frame).or(plans.first());
        Arc::clone(plan.expect("a board has a first plan"))
    }

    /// The last plans published, `most` at most, in their order.
    pub fn latest(&self, most: usize) -> Vec<Arc<Plan>> {
        let plans = self.plans.load();
        plans[plans.len().saturating_sub(most)..].to_vec()
    }

    /// The newest plan published.
    pub fn newest(&self) -> Arc<Plan> {
        Arc::clone(self.plans.load().last().expect("a board has a first plan"))
    }
}

/// One stage's view of a board.
pub struct PlanReader {
    board: Arc<PlanBoard>,
    current: Arc<Plan>,
    /// Whether the board wakes this reader's thread.
    is_woken: bool,
}

impl PlanReader {
    /// A reader that starts with the newest plan.
    pub fn new(board: Arc<PlanBoard>) -> Self {
        let current = board.newest();
        Self { board, current, is_woken: false }
    }

    /// The plan of `frame`, or `None` while it is undecided: then the thread that first asked is woken once it is.
    pub fn at_frame(&mut self, frame: u64) -> Option<&Plan> {
        if !self.is_woken {
            // Once in a run, before the first question: a decision after it finds this thread on the list.
            self.board.waiting().push(Wake(std::thread::current()));
            self.is_woken = true;
        }
        if frame >= self.board.decided_until() {
            return None;
        }
        self.swap(|plan| plan.from_frame <= frame);
        Some(&self.current)
    }

    /// The plan of `frame`, decided or not: an undecided frame is sent under the plan in force.
    pub fn at_frame_now(&mut self, frame: u64) -> &Plan {
        if frame >= self.board.decided_until() {
            self.board.fly_on(frame);
        }
        self.swap(|plan| plan.from_frame <= frame);
        &self.current
    }

    /// The plan of an epoch; the newest not above it if that one is no longer kept.
    pub fn of_epoch(&mut self, epoch: u64) -> &Plan {
        if self.current.epoch != epoch {
            self.swap(|plan| plan.epoch <= epoch);
        }
        &self.current
    }

    fn swap(&mut self, fits: impl Fn(&Plan) -> bool) {
        let plans = self.board.plans.load();
        if let Some(plan) = plans.iter().rev().find(|plan| fits(plan))
            && plan.epoch != self.current.epoch
        {
            self.current = Arc::clone(plan);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use nalgebra::DVector;

    use super::*;
    use crate::coding::{BLOCK_CRC, plan};

    fn first() -> Plan {
        let code = Arc::new(plan(100, BLOCK_SYMBOLS, BLOCK_CRC).unwrap());
        Plan {
            epoch: 0,
            from_frame: 0,
            beams: Beams { w_c: DVector::zeros(1), w_0: DVector::zeros(1) },
            model: 0,
            budget: None,
            header: HeaderLength::Short,
            payload: Arc::clone(&code),
            protected: code,
            link: LinkBelief::default(),
            predicted_sinr: 1.0,
            predicted_mse: 1.0,
        }
    }

    #[test]
    fn a_decision_wakes_every_source_that_waits_for_it() {
        let board = Arc::new(PlanBoard::new(first(), 0));
        let wait = || {
            let mut reader = PlanReader::new(Arc::clone(&board));
            let since = Instant::now();
            while reader.at_frame(7).is_none() {
                // A thread that nobody wakes gives up long after one that is woken.
                std::thread::park_timeout(Duration::from_secs(20));
                assert!(since.elapsed() < Duration::from_secs(20), "nobody woke this source");
            }
        };
        std::thread::scope(|scope| {
            let sources = [scope.spawn(wait), scope.spawn(wait), scope.spawn(wait)];
            while board.waiting().len() < sources.len() {
                std::thread::yield_now();
            }
            board.decide_until(8);
        });
    }

    #[test]
    fn an_undecided_frame_flies_on_and_a_plan_that_comes_too_late_holds_from_the_next_open_one() {
        let board = Arc::new(PlanBoard::new(first(), 4));
        let mut reader = PlanReader::new(Arc::clone(&board));
        assert_eq!([3, 4, 5].map(|frame| reader.at_frame_now(frame).epoch), [0; 3]);
        assert_eq!(board.publish_late(Plan { epoch: 1, from_frame: 4, ..first() }), 6);
        assert_eq!(board.publish_late(Plan { epoch: 2, from_frame: 9, ..first() }), 9);
        assert_eq!([6, 8, 9].map(|frame| reader.at_frame_now(frame).epoch), [1, 1, 2]);
        let told = [3, 5, 6, 9].map(|frame| board.in_force(frame).epoch);
        assert_eq!(told, [0, 0, 1, 2], "what the receivers are told is what was sent");
    }

    #[test]
    fn a_reader_finds_the_plan_of_a_frame_and_of_an_epoch() {
        let board = Arc::new(PlanBoard::new(first(), 4));
        board.publish(vec![Plan { epoch: 1, from_frame: 4, ..first() }, Plan { epoch: 2, from_frame: 6, ..first() }]);
        board.decide_until(10);
        let mut reader = PlanReader::new(board);
        let epochs = [0, 3, 4, 5, 6, 9].map(|frame| reader.at_frame(frame).map(|plan| plan.epoch));
        assert_eq!(epochs, [0, 0, 1, 1, 2, 2].map(Some));
        assert_eq!(reader.at_frame(10).map(|plan| plan.epoch), None, "it is not decided");
        assert_eq!((reader.of_epoch(1).epoch, reader.of_epoch(77).epoch), (1, 2));
    }
}
