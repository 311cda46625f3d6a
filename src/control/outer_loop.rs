//! The outer loop: what the receiver says of the link corrects what the plans believe of it.
//!
//! The receiver's noise takes the place of the believed one at once. What the SINR still differs by from the prediction
//! becomes an offset, and blocks that are lost although the measured SINR should carry them widen the margin, by a tenth of a
//! decibel each; blocks that arrive narrow it by as much as the target allows losses, so that at the target it stands still.

use super::observation::LinkSeen;
use crate::scene::decibel;

/// What one lost block adds to the margin, in dB.
const WIDENING_DB: f64 = 0.1;
/// The most that one look adds.
const MOST_WIDENING_DB: f64 = 1.5;
/// The widest margin.
const WIDEST_DB: f64 = 12.0;
/// A difference that is another state of the link, not chance: it is believed at once.
const STEP_DB: f64 = 0.7;
/// Share of smaller differences that is believed: a look of 32 frames is true to a tenth of a decibel.
const SHARE: f64 = 0.25;
/// Change of the predicted SINR, or of the margin, from which on a plan is made anew.
const WORTH_A_PLAN_DB: f64 = 0.3;

/// State of the loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OuterLoop {
    /// Distance kept from the SINR that the code table asks for, in dB.
    pub margin_db: f64,
    /// What the receiver measures above the predicted SINR, in dB.
    pub offset_db: f64,
    /// The narrowest margin: the table's own SINR, or what the scene asks for where that is less.
    narrowest_db: f64,
}

impl OuterLoop {
    /// A loop that begins with this margin.
    pub fn new(margin_db: f64) -> Self {
        Self { margin_db, offset_db: 0.0, narrowest_db: margin_db.min(0.0) }
    }

    /// A noise belief in dBm after the receiver measured another one.
    pub fn noise_dbm(believed_dbm: f64, measured_dbm: f64) -> f64 {
        toward(believed_dbm, measured_dbm)
    }

    /// Takes in what was seen: the SINR that is predicted for the same beams without an offset, in dB, the target of lost
    /// blocks, and the share that the table expects at the measured SINR.
    pub fn take(&mut self, seen: &LinkSeen, predicted_db: f64, target: f64, expected: f64) {
        let offset_db = decibel(seen.sinr) - predicted_db;
        let is_steady = (offset_db - self.offset_db).abs() < STEP_DB;
        self.offset_db = toward(self.offset_db, offset_db);
        // While the link changes, what is lost says nothing of the table.
        if !is_steady || seen.blocks == 0 {
            return;
        }
        let blocks = f64::from(seen.blocks);
        let unexpected = (f64::from(seen.lost) - blocks * expected).max(0.0);
        let step = (WIDENING_DB * unexpected).min(MOST_WIDENING_DB) - WIDENING_DB * target * blocks;
        self.margin_db = (self.margin_db + step).clamp(self.narrowest_db, WIDEST_DB.max(self.margin_db));
    }

    /// Whether a plan of this margin, with a predicted SINR that is now `off_db` off, is worth making anew.
    pub fn wants_plan(&self, margin_db: f64, off_db: f64) -> bool {
        off_db.abs() > WORTH_A_PLAN_DB || (self.margin_db - margin_db).abs() > WORTH_A_PLAN_DB
    }
}

/// A belief after a measurement.
fn toward(believed: f64, measured: f64) -> f64 {
    let off = measured - believed;
    if off.abs() >= STEP_DB { measured } else { believed + SHARE * off }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sinr_db: f64, lost: u32) -> LinkSeen {
        LinkSeen { until: 64, frames: 32, sinr: 10f64.powf(sinr_db / 10.0), noise_w: 1e-8, blocks: 128, lost }
    }

    #[test]
    fn a_step_of_the_sinr_is_believed_at_once_and_chance_little_by_little() {
        let mut state = OuterLoop::new(0.5);
        state.take(&seen(3.0, 100), 9.0, 1e-3, 0.5);
        assert!((state.offset_db + 6.0).abs() < 1e-9 && state.margin_db == 0.5, "{state:?}");
        state.take(&seen(9.0, 0), 9.0, 1e-3, 0.0);
        assert!(state.offset_db.abs() < 1e-9);
        for _ in 0..20 {
            state.take(&seen(9.2, 0), 9.0, 1e-3, 0.0);
        }
        assert!((state.offset_db - 0.2).abs() < 0.01);
        assert!(state.wants_plan(state.margin_db, 0.4) && !state.wants_plan(state.margin_db, 0.1));
    }

    #[test]
    fn the_margin_moves_both_ways_and_stands_still_at_the_target() {
        let mut state = OuterLoop::new(0.5);
        for _ in 0..100 {
            state.take(&seen(9.0, 0), 9.0, 1e-2, 0.0);
        }
        assert_eq!(state.margin_db, 0.0, "nothing is lost: the table holds");
        // Far more is lost than the table has for this SINR.
        for _ in 0..10 {
            state.take(&seen(9.0, 8), 9.0, 1e-2, 1e-3);
        }
        let wide = state.margin_db;
        assert!(wide > 4.0, "{wide}");
        // At the target, 1.28 of 128, it stays: on average, as losses come whole.
        for look in 0..100 {
            state.take(&seen(9.0, 1 + u32::from(look % 25 < 7)), 9.0, 1e-2, 0.0);
        }
        assert!((state.margin_db - wide).abs() < 0.05, "{} after {wide}", state.margin_db);
    }
}
