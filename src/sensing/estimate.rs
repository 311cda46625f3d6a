//! What is said of one frame's echo: a position with its error bar, or why there is none.

use nalgebra::{Matrix2, Vector2};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::align::Peak;
use super::track::Measurement;
use crate::scene::Point;

/// Whether there is a position, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The target was located.
    Located,
    /// The beams leave the departure direction undetermined while β_0 is unknown.
    Unidentifiable,
    /// No echo stands out of the noise at the set false-alarm probability.
    BelowThreshold,
    /// An echo was found, but more than one position explains it about as well.
    Ambiguous,
    /// An echo was found whose directions do not meet before both arrays.
    OutOfView,
    /// What stands still is not known well enough yet to be removed, so nothing was looked for.
    Learning,
    /// The frames that should have been added up do not belong together: one is missing, or the beams changed.
    Interrupted,
    /// The frames' echoes do not add up in phase: each has a timing error or a phase of its own, or the path's rate is none
    /// of those searched. Or the directions meet where the delay is far from what the clock's error lets it be.
    Incoherent,
    /// A row hears nothing, or nothing of the echo.
    Dead,
    /// Two rows are exchanged.
    Swapped,
    /// A row is the complex conjugate of what it should be.
    Conjugated,
    /// A row is late or early.
    Late,
    /// A row is off in phase, by more than error bars make up for.
    Phase,
    /// A row has its real part only, or its imaginary part.
    NoQuadrature,
    /// Rows are clipped.
    Clipped,
    /// A row hears something that is none of the streams.
    Interference,
    /// The strongest echo is the direct path from the transmitter.
    Leakage,
    /// What arrives is not one echo of the streams by these arrays, in a way that none of the other names says.
    PoorFit,
}

impl Status {
    /// What is wrong with the rows that an estimate names.
    pub fn row_fault(self) -> &'static str {
        match self {
            Self::NoQuadrature => "no-quadrature",
            Self::Clipped => "clipped",
            other => other.refusal().unwrap_or("poor-fit"),
        }
    }

    /// Why a position was refused, as reports name it; nothing where there is one, or where none was looked for.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Located | Self::Learning | Self::Interrupted => None,
            Self::BelowThreshold => Some("too-weak"),
            Self::Unidentifiable | Self::Ambiguous => Some("ambiguous"),
            Self::OutOfView | Self::NoQuadrature | Self::Clipped | Self::PoorFit => Some("poor-fit"),
            Self::Incoherent => Some("clock-moves"),
            Self::Dead => Some("dead"),
            Self::Swapped => Some("swapped"),
            Self::Conjugated => Some("conjugated"),
            Self::Late => Some("late"),
            Self::Phase => Some("phase"),
            Self::Interference => Some("interference"),
            Self::Leakage => Some("leakage"),
        }
    }
}

/// Where the target is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// Position (x, y) in metres.
    pub position_m: Point,
    /// Covariance of the position in m², from the observed information, the timing prior and the elements' errors.
    pub covariance_m2: [[f64; 2]; 2],
    /// The trace of the covariance's part that the elements' errors make, which no bound on noise knows of.
    pub displacement_m2: f64,
    /// Directions and delay by the echo alone, for a tracker.
    pub measurement: Measurement,
    /// T = τ + Δτ: the delay as this receiver's clock sees it.
    pub delay_s: f64,
    /// θ, direction TR → target.
    pub departure_rad: f64,
    /// φ, direction SRE → target.
    pub arrival_rad: f64,
    /// β_0 as estimated, or as known.
    pub reflection: Complex64,
    /// Variance of its error by noise.
    #[serde(default)]
    pub reflection_variance: f64,
    /// As [`Estimate::noise_power_w`].
    #[serde(default)]
    pub noise_power_w: f64,
    /// Whether a sounding has told the departure direction from those that the beams do not tell from it.
    #[serde(default)]
    pub sounded: bool,
}

impl Fix {
    /// eᵀC⁻¹e, the squared error against a known position over the reported covariance: 2 in the mean where that is true.
    /// `None` where the covariance is singular.
    pub fn normalised_error(&self, truth_m: Point) -> Option<f64> {
        let error = Vector2::from(self.position_m) - Vector2::from(truth_m);
        let covariance = Matrix2::from_fn(|i, j| self.covariance_m2[i][j]);
        Some((error.transpose() * covariance.try_inverse()? * error)[0])
    }
}

/// Places that explain an echo beside the one that was found, with their shares of the posterior probability: the most probable
/// of them, none where their share is negligible.
pub type Rivals = [Option<(Point, f64)>; 3];

/// What one frame's echo says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Whether there is a fix, and if not, why.
    pub status: Status,
    /// The position, where there is one.
    pub fix: Option<Fix>,
    /// The best whole delay, in samples.
    pub coarse_delay_samples: isize,
    /// The energy that both streams explain at that delay over the noise's, summed over antennas and streams.
    pub detection_energy: f64,
    /// Frames that it is made of.
    pub frames: usize,
    /// Rows that do not fit, bit r being row r; none where the reason is no row's.
    #[serde(default)]
    pub rows: u64,
    /// Rows that have a constant in them, which is left out.
    #[serde(default)]
    pub constant_rows: u64,
    /// Other places that explain the echo.
    #[serde(default)]
    pub rivals: Rivals,
    /// By how many seconds the receiver's clock is late beyond its declared error, as the frames so far show it.
    #[serde(default)]
    pub clock_offset_s: f64,
    /// σ_s² as this frame shows it, in W: noise and whatever else no echo explains; 0 where nothing was looked for.
    #[serde(default)]
    pub noise_power_w: f64,
}

impl Estimate {
    /// The estimate of a frame in which nothing was looked for yet.
    pub const LEARNING: Self = Self {
        status: Status::Learning,
        fix: None,
        coarse_delay_samples: 0,
        detection_energy: 0.0,
        frames: 1,
        rows: 0,
        constant_rows: 0,
        rivals: [None; 3],
        clock_offset_s: 0.0,
        noise_power_w: 0.0,
    };

    /// The estimate of so many frames that were taken in, where the next frame does not belong to them.
    pub(super) const fn interrupted(frames: usize) -> Self {
        Self { status: Status::Interrupted, frames, ..Self::LEARNING }
    }

    pub(super) fn without_fix(status: Status, peak: &Peak, frames: usize) -> Self {
        Self { status, coarse_delay_samples: peak.lag, detection_energy: peak.energy, frames, ..Self::LEARNING }
    }

    /// With what the fit of its echo showed beside a position.
    pub(super) fn seen(self, seen: Seen) -> Self {
        let Seen { rows, constant_rows, rivals, clock_offset_s, noise_power_w } = seen;
        Self { rows, constant_rows, rivals, clock_offset_s, noise_power_w, ..self }
    }
}

/// What the fit of an echo shows beside a position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub rows: u64,
    pub constant_rows: u64,
    pub rivals: Rivals,
    pub clock_offset_s: f64,
    pub noise_power_w: f64,
}
