//! Sums over frames: every figure is one, kept for the whole run and made anew over the last frames for a status.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;

use super::{Latency, STATUS_FRAMES};

/// Sums that records are added to.
pub(super) trait Sums: Default + Clone {
    /// What one frame adds.
    type Record: Clone;
    /// Adds a frame.
    fn add(&mut self, record: &Self::Record);
}

/// Which frames a figure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// All of the run.
    Whole,
    /// The last [`STATUS_FRAMES`].
    Recent,
}

/// Sums over the whole run and the records of its last frames.
#[derive(Clone)]
pub(super) struct Windowed<S: Sums> {
    whole: S,
    recent: VecDeque<S::Record>,
}

impl<S: Sums> Default for Windowed<S> {
    fn default() -> Self {
        Self { whole: S::default(), recent: VecDeque::with_capacity(STATUS_FRAMES) }
    }
}

impl<S: Sums> Windowed<S> {
    pub fn add(&mut self, record: S::Record) {
        self.whole.add(&record);
        if self.recent.len() == STATUS_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }

    pub fn over(&self, span: Span) -> S {
        match span {
            Span::Whole => self.whole.clone(),
            Span::Recent => self.recent.iter().fold(S::default(), |mut sums, record| {
                sums.add(record);
                sums
            }),
        }
    }

    pub fn whole(&self) -> &S {
        &self.whole
    }
}

/// One frame sent.
#[derive(Clone)]
pub(super) struct SentRecord {
    pub blocks: u8,
    /// Linear.
    pub predicted_sinr: f64,
    pub plan_power_w: f64,
}

/// Frames sent.
#[derive(Default, Clone)]
pub(super) struct SentSums {
    pub frames: u64,
    pub blocks: u64,
    pub predicted_sinr: f64,
    pub plan_power_w: f64,
}

impl Sums for SentSums {
    type Record = SentRecord;

    fn add(&mut self, record: &SentRecord) {
        self.frames += 1;
        self.blocks += u64::from(record.blocks);
        self.predicted_sinr += record.predicted_sinr;
        self.plan_power_w += record.plan_power_w;
    }
}

/// Antenna samples of one frame.
#[derive(Clone)]
pub(super) struct RadiatedRecord {
    pub samples: u64,
    pub energy: f64,
}

/// Antenna samples.
#[derive(Default, Clone)]
pub(super) struct RadiatedSums {
    pub samples: u64,
    pub energy: f64,
}

impl Sums for RadiatedSums {
    type Record = RadiatedRecord;

    fn add(&mut self, record: &RadiatedRecord) {
        self.samples += record.samples;
        self.energy += record.energy;
    }
}

/// One frame at a communication receiver: read, or lost as a whole.
#[derive(Clone, Default)]
pub(super) struct ReceivedRecord {
    /// Measured SINR, linear, where the header was read.
    pub sinr: Option<f64>,
    /// Measured noise in W.
    pub noise_w: f64,
    pub sent: u8,
    pub right: u8,
    pub wrong: u8,
    /// Whether what was sent is known: only then can a frame be right.
    pub known: bool,
}

/// Frames at a communication receiver.
#[derive(Default, Clone)]
pub(super) struct ReceivedSums {
    pub read: u64,
    pub sinr: f64,
    pub noise_w: f64,
    pub lost: u64,
    pub sent: u64,
    pub right: u64,
    pub wrong: u64,
    pub whole: u64,
}

impl Sums for ReceivedSums {
    type Record = ReceivedRecord;

    fn add(&mut self, record: &ReceivedRecord) {
        match record.sinr {
            Some(sinr) => {
                self.read += 1;
                self.sinr += sinr;
                self.noise_w += record.noise_w;
                self.whole += u64::from(record.known && record.right == record.sent);
            }
            None => self.lost += 1,
        }
        self.sent += u64::from(record.sent);
        self.right += u64::from(record.right);
        self.wrong += u64::from(record.wrong);
    }
}

/// User data of one frame, at its source or at its sink.
#[derive(Clone, Default)]
pub(super) struct DataRecord {
    /// Blocks sent with data.
    pub blocks: u8,
    /// Bits of all that pictures left free.
    pub room_bits: u32,
    pub datagrams: u32,
    pub bytes: u64,
    pub lost: u32,
    pub damaged: u32,
    /// Datagrams that found no room.
    pub refused: u32,
}

/// User data.
#[derive(Default, Clone)]
pub(super) struct DataSums {
    pub frames: u64,
    pub blocks: u64,
    pub room_bits: u64,
    pub datagrams: u64,
    pub bytes: u64,
    pub lost: u64,
    pub damaged: u64,
    pub refused: u64,
}

impl Sums for DataSums {
    type Record = DataRecord;

    fn add(&mut self, record: &DataRecord) {
        self.frames += 1;
        self.blocks += u64::from(record.blocks);
        self.room_bits += u64::from(record.room_bits);
        self.datagrams += u64::from(record.datagrams);
        self.bytes += record.bytes;
        self.lost += u64::from(record.lost);
        self.damaged += u64::from(record.damaged);
        self.refused += u64::from(record.refused);
    }
}

/// How long results took, in µs, to 1 %.
#[derive(Clone)]
pub(super) struct Delays(Histogram<u32>);

impl Default for Delays {
    fn default() -> Self {
        // An hour at most: what takes longer is counted as that.
        let made = Histogram::new_with_bounds(1, Self::MOST_US, 2);
        Self(made.expect("bounds and digits are those that the crate takes"))
    }
}

impl Delays {
    const MOST_US: u64 = 3_600_000_000;

    /// Its distribution in milliseconds.
    pub fn latency(&self) -> Latency {
        let milliseconds = |microseconds: u64| (!self.0.is_empty()).then_some(microseconds as f64 / 1e3);
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        Latency { p50: at(0.5), p99: at(0.99), max: milliseconds(self.0.max()) }
    }
}

impl Sums for Delays {
    /// In nanoseconds.
    type Record = u64;

    fn add(&mut self, nanoseconds: &u64) {
        self.0.saturating_record((nanoseconds / 1000).clamp(1, Self::MOST_US));
    }
}

/// Positions, and their errors in metres where the truth is known.
#[derive(Default, Clone)]
pub(super) struct Errors {
    pub count: u64,
    pub known: u64,
    squared: f64,
}

impl Errors {
    pub fn add(&mut self, error: Option<f64>) {
        self.count += 1;
        self.known += u64::from(error.is_some());
        self.squared += error.map_or(0.0, |error| error * error);
    }

    pub fn root_mean_square(&self) -> Option<f64> {
        (self.known > 0).then(|| (self.squared / self.known as f64).sqrt())
    }
}

/// One target in one frame at a sensing receiver.
#[derive(Clone)]
pub(super) enum LocatedRecord {
    /// There is a position.
    Found {
        error_m: Option<f64>,
        /// Trace of the bound in m².
        bound_m2: Option<f64>,
        normalised_error: Option<f64>,
        outlier: bool,
        /// |β_0| as estimated.
        reflection: f64,
    },
    /// There is none, and why, where that is a refusal.
    Missing(Option<&'static str>),
}

/// Positions of one target at a sensing receiver.
#[derive(Default, Clone)]
pub(super) struct LocatedSums {
    pub located: Errors,
    pub bound_m2: f64,
    pub normalised_error: f64,
    pub outliers: u64,
    pub missing: u64,
    pub refused: BTreeMap<&'static str, u64>,
    pub reflection: f64,
}

impl Sums for LocatedSums {
    type Record = LocatedRecord;

    fn add(&mut self, record: &LocatedRecord) {
        match record {
            LocatedRecord::Found { error_m, bound_m2, normalised_error, outlier, reflection } => {
                self.located.add(*error_m);
                self.bound_m2 += bound_m2.unwrap_or_default();
                self.normalised_error += normalised_error.unwrap_or_default();
                self.outliers += u64::from(*outlier);
                self.reflection += reflection;
            }
            LocatedRecord::Missing(reason) => {
                self.missing += 1;
                if let Some(reason) = reason {
                    *self.refused.entry(reason).or_default() += 1;
                }
            }
        }
    }
}

/// What one frame shows of a sensing receiver's array.
#[derive(Clone)]
pub(super) struct ArrayRecord {
    /// σ_s² in W; 0 where nothing was looked for.
    pub noise_w: f64,
    /// By how many seconds the clock is late, as found.
    pub clock_offset_s: f64,
    /// Rows that do not fit, a bit each, and why.
    pub rows: (u64, &'static str),
    /// Rows with a constant in them.
    pub constant_rows: u64,
}

/// A sensing receiver's array.
#[derive(Default, Clone)]
pub(super) struct ArraySums {
    pub frames: u64,
    pub noise_w: f64,
    /// As found last.
    pub clock_offset_s: f64,
    /// Frames by row and fault.
    pub faults: BTreeMap<(u32, &'static str), u64>,
}

impl Sums for ArraySums {
    type Record = ArrayRecord;

    fn add(&mut self, record: &ArrayRecord) {
        if record.noise_w > 0.0 {
            self.frames += 1;
            self.noise_w += record.noise_w;
            self.clock_offset_s = record.clock_offset_s;
        }
        for (rows, fault) in [record.rows, (record.constant_rows, "constant")] {
            for row in (0..64).filter(|row| rows >> row & 1 == 1) {
                *self.faults.entry((row, fault)).or_default() += 1;
            }
        }
    }
}

/// One target's track in one frame.
#[derive(Clone)]
pub(super) struct TrackedRecord {
    /// Whether the frame gave a position as well.
    pub located: bool,
    pub error_m: Option<f64>,
}

/// One target's track.
#[derive(Default, Clone)]
pub(super) struct TrackedSums {
    pub tracked: Errors,
    pub coasted: Errors,
}

impl Sums for TrackedSums {
    type Record = TrackedRecord;

    fn add(&mut self, record: &TrackedRecord) {
        let errors = if record.located { &mut self.tracked } else { &mut self.coasted };
        errors.add(record.error_m);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_are_summed_alone_and_the_run_as_a_whole() {
        let mut sums = Windowed::<RadiatedSums>::default();
        (0..250).for_each(|frame| sums.add(RadiatedRecord { samples: frame, energy: 1.0 }));
        assert_eq!(sums.over(Span::Whole).samples, (0..250).sum::<u64>());
        let recent = sums.over(Span::Recent);
        assert_eq!((recent.samples, recent.energy), ((150..250).sum::<u64>(), 100.0));
    }

    #[test]
    fn a_frame_counts_as_whole_only_where_all_its_blocks_are_right_and_known() {
        let mut sums = ReceivedSums::default();
        let read = ReceivedRecord { sinr: Some(4.0), noise_w: 0.0, sent: 4, right: 4, wrong: 0, known: true };
        sums.add(&read);
        sums.add(&ReceivedRecord { right: 3, wrong: 1, ..read.clone() });
        sums.add(&ReceivedRecord { sent: 0, right: 0, known: false, ..read });
        sums.add(&ReceivedRecord { sent: 4, ..ReceivedRecord::default() });
        assert_eq!((sums.read, sums.lost, sums.whole), (3, 1, 1));
        assert_eq!((sums.sent, sums.right, sums.wrong), (12, 7, 1));
    }
}
