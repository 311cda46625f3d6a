//! What a run keeps of recent frames for its drawings: equalised symbols and one frame's echo.
//!
//! A block offers every frame; one in `EVERY` is copied into buffers that were made at load. The sample path never
//! waits: where the reader holds the buffers the frame is skipped. Without drawings an offer is one test of a flag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use num_complex::Complex32;

use crate::array::Beams;
use crate::modem::constellation::Constellation;
use crate::modem::frame::{BLOCK, BLOCKS};
use crate::sensing::{EchoFrame, Estimate, SensingConfig};

/// Frames from one snapshot to the next.
const EVERY: u64 = 32;

/// One kind of snapshot, the newest that was taken.
pub struct Snapshot<T> {
    wanted: bool,
    /// Whether a receiver offers its frames: one alone does, or pictures of several would mix.
    claimed: AtomicBool,
    slot: Mutex<Slot<T>>,
}

struct Slot<T> {
    /// The frame that `held` shows.
    frame: Option<u64>,
    held: T,
}

impl<T> Snapshot<T> {
    fn new(wanted: bool, empty: T) -> Self {
        Self { wanted, claimed: AtomicBool::new(false), slot: Mutex::new(Slot { frame: None, held: empty }) }
    }

    /// Whether the asking receiver is the first.
    fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    /// Makes room at load.
    pub(super) fn prepare(&self, make: impl FnOnce(&mut T)) {
        if self.wanted {
            make(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner).held);
        }
    }

    /// Lets `fill` copy frame `frame` if the last snapshot is old enough and nobody reads it just now.
    pub(super) fn offer(&self, frame: u64, fill: impl FnOnce(&mut T)) {
        if !self.wanted {
            return;
        }
        let Ok(mut slot) = self.slot.try_lock() else { return };
        if slot.frame.is_none_or(|taken| frame >= taken + EVERY) {
            fill(&mut slot.held);
            slot.frame = Some(frame);
        }
    }

    /// Shows the newest snapshot and its frame's number, if one was taken.
    pub fn read<R>(&self, show: impl FnOnce(u64, &T) -> R) -> Option<R> {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.frame.map(|frame| show(frame, &slot.held))
    }
}

/// The payload of one frame at the communication receiver.
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
    /// What the receiver made of it.
    pub estimate: Option<Estimate>,
}

impl Echo {
    /// Makes room for a receiver with these settings.
    pub(super) fn reserve(&mut self, config: &SensingConfig, echo_samples: usize, window: usize) {
        self.echo.reserve(config.receive_antennas * echo_samples);
        self.reference.reserve(2 * window);
        let none = nalgebra::DVector::zeros(config.transmit_antennas);
        self.beams = Some(Beams { w_c: none.clone(), w_0: none });
        (self.echo_samples, self.window) = (echo_samples, window);
        self.config = Some(config.clone());
    }

    /// Copies one frame and what was made of it.
    pub(super) fn fill(&mut self, frame: &EchoFrame<'_>, estimate: Estimate) {
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
        self.estimate = Some(estimate);
    }
}

/// All snapshots of a run.
pub struct Snapshots {
    /// Snapshots of the communication receiver.
    pub symbols: Snapshot<Symbols>,
    /// Snapshots of the sensing receiver.
    pub echo: Snapshot<Echo>,
}

impl Snapshots {
    /// Those for a communication receiver: these for the first that asks, and for others some that nobody wants.
    pub(super) fn for_symbols(self: &Arc<Self>) -> Arc<Self> {
        if self.symbols.claim() { Arc::clone(self) } else { Arc::new(Self::new(false)) }
    }

    /// The same for a sensing receiver.
    pub(super) fn for_echo(self: &Arc<Self>) -> Arc<Self> {
        if self.echo.claim() { Arc::clone(self) } else { Arc::new(Self::new(false)) }
    }

    /// Snapshots that are taken only if `wanted`.
    pub fn new(wanted: bool) -> Self {
        let symbols = Symbols {
            symbols: vec![Complex32::default(); if wanted { BLOCKS * BLOCK } else { 0 }],
            constellations: [None; BLOCKS],
            protected: 0,
            sinr: 0.0,
        };
        Self { symbols: Snapshot::new(wanted, symbols), echo: Snapshot::new(wanted, Echo::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_in_32_is_kept_and_none_while_somebody_reads_or_nobody_wants_them() {
        let snapshot = Snapshot::new(true, 0);
        for frame in 3..70 {
            snapshot.offer(frame, |held| *held = frame);
        }
        assert_eq!(snapshot.read(|frame, held| (frame, *held)), Some((67, 67)));
        snapshot.read(|_, _| snapshot.offer(200, |held| *held = 200));
        assert_eq!(snapshot.read(|_, held| *held), Some(67), "the sample path does not wait for the reader");
        let unwanted = Snapshot::new(false, 0);
        unwanted.offer(0, |held| *held = 1);
        assert_eq!(unwanted.read(|_, held| *held), None);
    }
}
