//! What a sensing receiver has of one frame.

use num_complex::Complex32;

use super::STREAMS;
use crate::array::Beams;

/// A stream with less than this part of the transmit power is not correlated: it would add noise only.
const NEGLIGIBLE_POWER: f64 = 1e-9;

/// One frame's echo with what it is compared to.
#[derive(Debug, Clone, Copy)]
pub struct EchoFrame<'a> {
    /// N_R rows, which go on for as many samples from `echo_start` on as the receiver says.
    pub echo: Planar<'a>,
    /// Their sample that is the frame's sample `window_start + lag_range()[0]` (delay 0 meaning the transmitter's clock).
    pub echo_start: usize,
    /// s_c and s_0 as shaped.
    pub reference: Planar<'a>,
    /// The window's first sample there.
    pub window_start: usize,
    /// The beams that sent it.
    pub beams: &'a Beams,
    /// When the window begins, in seconds from any origin; it matters where frames are added up, and to a clock that is off.
    pub time_s: f64,
    /// By how many samples later the rows are taken, for a receiver's clock that is known to be late.
    pub late_samples: isize,
}

impl<'a> EchoFrame<'a> {
    /// Row `index` of the echo from its start on.
    pub fn echo_row(&self, index: usize) -> &'a [Complex32] {
        &self.echo.row(index)[self.echo_start..]
    }

    /// A stream from the window's start on.
    pub fn stream(&self, index: usize) -> &'a [Complex32] {
        &self.reference.row(index)[self.window_start..]
    }

    /// Both streams from the window's start on.
    pub fn streams(&self) -> impl Iterator<Item = &'a [Complex32]> + Clone {
        let frame = *self;
        (0..STREAMS).map(move |index| frame.stream(index))
    }

    /// Which streams are not sent with [`NEGLIGIBLE_POWER`].
    pub(super) fn used(&self) -> [bool; STREAMS] {
        let powers = [self.beams.w_c.norm_squared(), self.beams.w_0.norm_squared()];
        powers.map(|power| power > NEGLIGIBLE_POWER * (powers[0] + powers[1]))
    }
}

/// Rows of samples, one after the other: `[row][sample]`.
#[derive(Debug, Clone, Copy)]
pub struct Planar<'a> {
    /// All samples.
    pub samples: &'a [Complex32],
    /// Samples of one row.
    pub length: usize,
}

impl<'a> Planar<'a> {
    /// Rows of `length` samples each.
    pub fn new(samples: &'a [Complex32], length: usize) -> Self {
        Self { samples, length }
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &'a [Complex32] {
        &self.samples[index * self.length..][..self.length]
    }
}
