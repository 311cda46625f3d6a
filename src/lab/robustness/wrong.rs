//! Wrong blocks: those that pass every check and are not what was sent, counted where half of the blocks are lost.

use super::cases::{COMMUNICATION, Case, EXTREME};
use super::communication::{FORMATS, Format, Sent, steps_of};
use crate::{Error, Result};

/// Frames that are sent over and over, each time with other noise.
const FRAMES: u64 = 250;

/// SNRs in dB between which half of the blocks are lost.
const RANGE_DB: [f64; 2] = [-8.0, 60.0];

/// What came of one impairment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrong {
    /// Es/N0 in dB.
    pub snr_db: f64,
    /// Blocks sent.
    pub blocks: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those that were wrong.
    pub wrong: u64,
}

/// Every impairment and format that is tried, for people.
pub fn tried() -> Vec<String> {
    jobs().map(|(case, format)| format!("{} {}, {}", case.name, case.level, format.name)).collect()
}

fn jobs() -> impl Iterator<Item = (&'static Case, &'static Format)> {
    let cases = COMMUNICATION.iter().chain(EXTREME);
    cases.flat_map(|case| FORMATS.iter().map(move |format| (case, format)))
}

/// Counts wrong blocks of entry `index` of [`tried`], over at least so many blocks.
///
/// # Errors
/// Where there is no such entry.
pub fn count(index: usize, blocks: u64, seed: u64) -> Result<Wrong> {
    let (case, format) = jobs().nth(index).ok_or_else(|| Error::input(format!("{index} is no entry")))?;
    let scene = case.scene("communication-receiver")?;
    let mut sent = Sent::new(format, FRAMES, &scene, seed)?;
    sent.rescue = true;
    let samples = sent.impaired(&scene, seed);
    let steps = steps_of(&scene);
    let [mut low, mut high] = RANGE_DB;
    while high - low > 0.25 {
        let middle = 0.5 * (low + high);
        let counts = sent.receive(&samples, steps, middle, seed)?;
        if 2 * counts.lost > counts.blocks { low = middle } else { high = middle }
    }
    let mut all = Wrong { snr_db: 0.5 * (low + high), ..Wrong::default() };
    let mut round = seed;
    while all.blocks < blocks {
        round = round.wrapping_add(1_000_003);
        // Channels that are drawn are others in every round.
        let samples = if case.draws > 0 { sent.impaired(&scene, round) } else { samples.clone() };
        let counts = sent.receive(&samples, steps, all.snr_db, round)?;
        all.blocks += counts.blocks;
        all.lost += counts.lost;
        all.wrong += counts.wrong;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_step_of_sixty_decibels_loses_blocks_and_passes_none_that_is_wrong() {
        let place = |wanted: &str| tried().iter().position(|name| name.contains(wanted)).unwrap();
        for wanted in ["gain-step 60 dB", "bursts 10 samples, +50 dB", "none"] {
            let found = count(place(wanted), 2000, 1).unwrap();
            assert!(found.wrong == 0 && found.lost > 0 && found.blocks >= 2000, "{wanted}: {found:?}");
        }
        assert!(count(tried().len(), 1, 1).is_err());
    }
}
