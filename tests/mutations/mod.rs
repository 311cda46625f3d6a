//! Changes to files that damage them in ways that come to mind.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_xoshiro::Xoshiro256PlusPlus as Rng;

/// One to four changes: bytes, numbers and stretches of a JSON text.
pub fn metadata(whole: &[u8], rng: &mut Rng) -> Vec<u8> {
    const NUMBERS: [&str; 10] = [
        "0",
        "-1",
        "1e308",
        "9223372036854775807",
        "18446744073709551616",
        "1152921504606846976",
        "null",
        "[]",
        "{}",
        "\"x\"",
    ];
    let mut text = whole.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..text.len());
        match rng.random_range(0..4) {
            0 => text[at] = rng.random(),
            1 => drop(text.drain(at..(at + rng.random_range(1..20)).min(text.len() - 1).max(at))),
            _ => {
                // A value after a colon becomes another one.
                let colons: Vec<_> = (0..text.len() - 1).filter(|at| &text[*at..*at + 2] == b": ").collect();
                let Some(colon) = colons.choose(rng) else { continue };
                let begin = colon + 2;
                let end =
                    text[begin..].iter().position(|byte| b",\n".contains(byte)).map_or(text.len(), |end| begin + end);
                text.splice(begin..end, NUMBERS.choose(rng).unwrap().bytes());
            }
        }
    }
    text
}
