//! The law of block errors that a scene asks for when a rate is chosen.

use super::{calibration, header_loss};
use crate::optimize::{BlockErrorModel, PaperModel};
use crate::scene::{ChannelCode, Scene, decibel};

/// Distance in dB kept from the calibrated table, where the scene names none: a little more than the table is true to,
/// and for what a sounding's mean misses of the channel.
const CALIBRATED_MARGIN_DB: f64 = 0.5;

/// Block error rates as measured, or as the paper has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BlockErrorLaw {
    /// The table of [`calibration`] at a SINR reduced by a margin.
    Calibrated {
        /// Margin in dB.
        margin_db: f64,
    },
    /// Eq. (4).
    Paper(PaperModel),
}

impl BlockErrorLaw {
    /// The law and the margin of a scene.
    pub fn from_scene(scene: &Scene) -> Self {
        match scene.model.channel_code {
            ChannelCode::Calibrated => {
                Self::Calibrated { margin_db: scene.constraints.snr_margin_db.unwrap_or(CALIBRATED_MARGIN_DB) }
            }
            ChannelCode::Paper => Self::Paper(PaperModel::from_scene(scene)),
        }
    }
}

impl BlockErrorLaw {
    /// The same law at another margin.
    pub fn with_margin_db(self, margin_db: f64) -> Self {
        match self {
            Self::Calibrated { .. } => Self::Calibrated { margin_db },
            Self::Paper(model) => Self::Paper(PaperModel { margin_db, ..model }),
        }
    }

    /// Distance in dB that is kept.
    pub fn margin_db(&self) -> f64 {
        match self {
            Self::Calibrated { margin_db } | Self::Paper(PaperModel { margin_db, .. }) => *margin_db,
        }
    }
}

impl BlockErrorModel for BlockErrorLaw {
    fn header_loss(&self, sinr: f64) -> f64 {
        header_loss(decibel(sinr.max(f64::MIN_POSITIVE)) - self.margin_db())
    }

    fn block_error_rate(&self, sinr: f64, bits: usize) -> f64 {
        match self {
            Self::Calibrated { margin_db } => {
                calibration::block_error_rate(decibel(sinr.max(f64::MIN_POSITIVE)) - margin_db, bits)
            }
            Self::Paper(model) => model.block_error_rate(sinr, bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_chooses_the_law_and_the_margin() {
        let mut scene = Scene::paper();
        let at = |scene: &Scene, sinr_db: f64| {
            BlockErrorLaw::from_scene(scene).block_error_rate(10f64.powf(sinr_db / 10.0), 256)
        };
        let table = calibration::block_error_rate(2.0, 256);
        assert!((at(&scene, 2.5) / table - 1.0).abs() < 1e-9);
        scene.constraints.snr_margin_db = Some(0.0);
        assert!((at(&scene, 2.0) / table - 1.0).abs() < 1e-9);
        // Random coding wants 0.9 to 2 dB less than what is sent.
        scene.model.channel_code = ChannelCode::Paper;
        assert!(at(&scene, 2.0) < 0.1 * table);
    }
}
