//! What a run keeps of recent frames for drawings and for whoever watches it: samples as heard, equalised symbols, one
//! frame's echo.
//!
//! A block offers every frame. It is copied into buffers that were made at load where somebody asked for the next one,
//! and for drawings one in `EVERY`. The sample path never waits: where the reader holds the buffers the frame is skipped.
//! While nobody asks an offer is one test of a flag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use num_complex::Complex32;

use crate::array::Beams;
use crate::modem::constellation::Constellation;
use crate::modem::frame::{BLOCK, BLOCKS};
use crate::sensing::{EchoFrame, Estimate, MAX_TARGETS, SensingConfig};
use crate::stream::Frame;

/// Frames from one snapshot to the next.
const EVERY: u64 = 32;

/// Samples of one row that a snapshot of a receiver's input holds.
pub const HEARD_SAMPLES: usize = 4096;

/// Which frames are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keeping {
    /// One in 32, for the drawings at the end.
    pub regularly: bool,
    /// The next one after somebody asked.
    pub on_request: bool,
}

/// Is shown every frame on the thread that worked on it, which waits for it.
pub type Listener<T> = Arc<dyn Fn(u64, &T) + Send + Sync>;

/// One kind of snapshot, the newest that was taken.
pub struct Snapshot<T> {
    keeping: Keeping,
    listener: Option<Listener<T>>,
    /// Whether a receiver offers its frames: one alone does, or pictures of several would mix.
    claimed: AtomicBool,
    /// Whether somebody waits for the next frame.
    asked: AtomicBool,
    slot: Mutex<Slot<T>>,
}

struct Slot<T> {
    /// The frame that `held` shows.
    frame: Option<u64>,
    held: T,
}

impl<T: Default> Snapshot<T> {
    fn new(keeping: Keeping) -> Self {
        let slot = Mutex::new(Slot { frame: None, held: T::default() });
        Self { keeping, listener: None, claimed: AtomicBool::new(false), asked: AtomicBool::new(false), slot }
    }

    /// Makes room at load.
    pub(super) fn prepare(&self, make: impl FnOnce(&mut T)) {
        if self.keeping != Keeping::default() || self.listener.is_some() {
            make(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner).held);
        }
    }

    /// Lets `fill` copy frame `frame` if somebody asked or the last snapshot is old enough, and nobody reads it just now.
    pub(super) fn offer(&self, frame: u64, fill: impl FnOnce(&mut T)) {
        if let Some(listener) = &self.listener {
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            fill(&mut slot.held);
            slot.frame = Some(frame);
            self.asked.store(false, Ordering::Relaxed);
            return listener(frame, &slot.held);
        }
        let asked = self.keeping.on_request && self.asked.load(Ordering::Relaxed);
        if !asked && !self.keeping.regularly {
            return;
        }
        let Ok(mut slot) = self.slot.try_lock() else { return };
        if asked || slot.frame.is_none_or(|taken| frame >= taken + EVERY) {
            fill(&mut slot.held);
            slot.frame = Some(frame);
            self.asked.store(false, Ordering::Relaxed);
        }
    }

    /// Asks for the next frame that comes; [`read`](Self::read) then finds it.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Shows the newest snapshot and its frame's number, if one was taken.
    pub fn read<R>(&self, show: impl FnOnce(u64, &T) -> R) -> Option<R> {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.frame.map(|frame| show(frame, &slot.held))
    }
}

/// What a receiver heard, as it came to its first stage.
#[derive(Default)]
pub struct Heard {
    /// Time of the first sample, in samples.
    pub sample_time: u64,
    /// Samples of one row.
    pub count: usize,
    /// `[row][sample]`, `count` to a row.
    pub samples: Vec<Complex32>,
}

impl Heard {
    /// Makes room for so many rows.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.samples.reserve(rows * HEARD_SAMPLES);
    }

    /// Copies the beginning of a receiver's input.
    pub(super) fn fill(&mut self, input: &Frame<Complex32>) {
        self.sample_time = input.head.sample_time;
        self.count = input.head.valid.min(HEARD_SAMPLES);
        self.samples.clear();
        for row in 0..input.channels() {
            self.samples.extend_from_slice(&input.row(row)[..self.count]);
        }
    }
}

/// The payload of one frame at the communication receiver.
#[derive(Default)]
pub struct Symbols {
    /// Equalised unit-gain symbols, block after block.
    pub symbols: Vec<Complex32>,
    /// Constellation of each block; `None` where it carries nothing.
    pub constellations: [Option<Constellation>; BLOCKS],
    /// Blocks that carry a picture's protected part; they come first.
    pub protected: usize,
    /// Measured SINR, linear.
    pub sinr: f64,
}

impl Symbols {
    /// Makes room for a frame.
    pub(super) fn reserve(&mut self) {
        self.symbols.resize(BLOCKS * BLOCK, Complex32::default());
    }
}

/// One frame's echo at the sensing receiver, with what it is compared to.
#[derive(Default)]
pub struct Echo {
    /// What the receiver knows; `None` where a run has no sensing receiver.
    pub config: Option<SensingConfig>,
    /// N_R rows of the samples that the search reads, `[row][sample]`.
    pub echo: Vec<Complex32>,
    /// Samples of one row of `echo`.
    pub echo_samples: usize,
    /// s_c and s_0 as shaped over the sensing window, `[stream][sample]`.
    pub reference: Vec<Complex32>,
    /// Samples of one stream of `reference`.
    pub window: usize,
    /// The beams that sent the frame.
    pub beams: Option<Beams>,
    /// What the receiver made of it, the strongest echo first.
    pub estimates: Vec<Estimate>,
}

impl Echo {
    /// Makes room for a receiver with these settings.
    pub(super) fn reserve(&mut self, config: &SensingConfig, echo_samples: usize, window: usize) {
        self.echo.reserve(config.receive_antennas * echo_samples);
        self.reference.reserve(2 * window);
        let none = nalgebra::DVector::zeros(config.transmit_antennas);
        self.beams = Some(Beams { w_c: none.clone(), w_0: none });
        self.estimates.reserve(MAX_TARGETS);
        (self.echo_samples, self.window) = (echo_samples, window);
        self.config = Some(config.clone());
    }

    /// Copies one frame and what was made of it.
    pub(super) fn fill(&mut self, frame: &EchoFrame<'_>, estimates: &[Estimate]) {
        let Some(config) = &self.config else { return };
        self.echo.clear();
        for row in 0..config.receive_antennas {
            self.echo.extend_from_slice(&frame.echo_row(row)[..self.echo_samples]);
        }
        self.reference.clear();
        for stream in frame.streams() {
            self.reference.extend_from_slice(&stream[..self.window]);
        }
        if let Some(held) = &mut self.beams {
            held.w_c.copy_from(&frame.beams.w_c);
            held.w_0.copy_from(&frame.beams.w_0);
        }
        self.estimates.clear();
        self.estimates.extend_from_slice(&estimates[..estimates.len().min(MAX_TARGETS)]);
    }
}

/// All snapshots of a run, by the place of a receiver among the scene's receivers of its kind.
pub struct Snapshots {
    /// What communication receivers heard.
    pub heard: Vec<Arc<Snapshot<Heard>>>,
    /// What they made of it.
    pub symbols: Vec<Arc<Snapshot<Symbols>>>,
    /// What sensing receivers heard.
    pub echo_heard: Vec<Arc<Snapshot<Heard>>>,
    /// Echoes.
    pub echo: Vec<Arc<Snapshot<Echo>>>,
}

/// The snapshot at a place for the first who asks, and for others one that nobody wants.
fn claimed<T: Default>(of: &[Arc<Snapshot<T>>], place: u8) -> Arc<Snapshot<T>> {
    let free = |snapshot: &&Arc<Snapshot<T>>| !snapshot.claimed.swap(true, Ordering::Relaxed);
    let known = of.get(usize::from(place)).filter(free);
    known.map_or_else(|| Arc::new(Snapshot::new(Keeping::default())), Arc::clone)
}

impl Snapshots {
    /// Those of a communication receiver.
    pub(super) fn of_communication(&self, place: u8) -> (Arc<Snapshot<Heard>>, Arc<Snapshot<Symbols>>) {
        (claimed(&self.heard, place), claimed(&self.symbols, place))
    }

    /// Those of a sensing receiver.
    pub(super) fn of_sensing(&self, place: u8) -> (Arc<Snapshot<Heard>>, Arc<Snapshot<Echo>>) {
        (claimed(&self.echo_heard, place), claimed(&self.echo, place))
    }

    /// Snapshots for so many communication and sensing receivers. What they heard is in no drawing.
    pub fn new(keeping: Keeping, receivers: [usize; 2]) -> Self {
        fn each<T: Default>(keeping: Keeping, count: usize) -> Vec<Arc<Snapshot<T>>> {
            (0..count).map(|_| Arc::new(Snapshot::new(keeping))).collect()
        }
        let heard = Keeping { regularly: false, ..keeping };
        let [communication, sensing] = receivers;
        Self {
            heard: each(heard, communication),
            symbols: each(keeping, communication),
            echo_heard: each(heard, sensing),
            echo: each(keeping, sensing),
        }
    }

    /// The same where `listener` is shown every echo of the first sensing receiver; the run waits for it.
    #[must_use]
    pub fn listened_to(mut self, listener: Listener<Echo>) -> Self {
        if let Some(first) = self.echo.first_mut() {
            let Snapshot { keeping, .. } = **first;
            *first = Arc::new(Snapshot { listener: Some(listener), ..Snapshot::new(keeping) });
        }
        self
    }

    /// None at all.
    pub fn none() -> Self {
        Self::new(Keeping::default(), [0, 0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_in_32_is_kept_and_none_while_somebody_reads_or_nobody_wants_them() {
        let snapshot = Snapshot::new(Keeping { regularly: true, on_request: false });
        for frame in 3..70 {
            snapshot.offer(frame, |held| *held = frame);
        }
        assert_eq!(snapshot.read(|frame, held| (frame, *held)), Some((67, 67)));
        snapshot.read(|_, _| snapshot.offer(200, |held| *held = 200));
        assert_eq!(snapshot.read(|_, held| *held), Some(67), "the sample path does not wait for the reader");
        let unwanted = Snapshot::new(Keeping::default());
        unwanted.ask();
        unwanted.offer(0, |held| *held = 1);
        assert_eq!(unwanted.read(|_, held| *held), None);
    }

    #[test]
    fn on_request_the_next_frame_is_taken_and_no_other() {
        let snapshot = Snapshot::new(Keeping { regularly: false, on_request: true });
        (0..50).for_each(|frame| snapshot.offer(frame, |held| *held = frame));
        assert_eq!(snapshot.read(|_, held| *held), None);
        snapshot.ask();
        (50..60).for_each(|frame| snapshot.offer(frame, |held| *held = frame));
        assert_eq!(snapshot.read(|frame, held| (frame, *held)), Some((50, 50)));
    }

    #[test]
    fn a_listener_is_shown_every_frame_and_a_reader_the_newest() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&shown);
        let listener: Listener<u64> = Arc::new(move |frame, held| told.lock().unwrap().push((frame, *held)));
        let snapshot = Snapshot { listener: Some(listener), ..Snapshot::new(Keeping::default()) };
        (0..5).for_each(|frame| snapshot.offer(frame, |held| *held = 10 * frame));
        assert_eq!(*shown.lock().unwrap(), [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40)]);
        assert_eq!(snapshot.read(|frame, held| (frame, *held)), Some((4, 40)));
    }

    #[test]
    fn a_place_is_taken_by_the_first_receiver_there() {
        let keeping = Keeping { regularly: false, on_request: true };
        let snapshots = Snapshots::new(keeping, [1, 0]);
        for wanted in [true, false] {
            let (heard, symbols) = snapshots.of_communication(0);
            assert_eq!((heard.keeping == keeping, symbols.keeping == keeping), (wanted, wanted));
        }
        assert!(snapshots.of_sensing(3).1.keeping == Keeping::default());
    }
}
