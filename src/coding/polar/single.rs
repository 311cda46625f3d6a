//! An expected word recognised by successive cancellation of one path, min-sum, by whole parts of the code where their bits
//! leave little to decide (Sarkis et al. 2014): a small part of what a list costs, and enough where there is little noise.

use super::{HeaderCode, HeaderScratch};

/// What the bits of one part of the code leave to decide. Part 1 is the whole code; part n has the halves 2 n and 2 n + 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All are frozen.
    Frozen,
    /// None is.
    Free,
    /// All but the last.
    Repeated,
    /// None but the first.
    Parity,
    /// Anything else.
    Mixed,
}

/// All parts of a code with these frozen bits.
pub(super) fn parts(frozen: &[bool]) -> Vec<Part> {
    let mut parts = vec![Part::Mixed; 2 * frozen.len()];
    for (index, part) in parts.iter_mut().enumerate().skip(1) {
        let length = frozen.len() >> index.ilog2();
        let bits = &frozen[(index * length) % frozen.len()..][..length];
        *part = match bits.iter().filter(|frozen| **frozen).count() {
            0 => Part::Free,
            count if count == length => Part::Frozen,
            count if count == length - 1 && !bits[length - 1] => Part::Repeated,
            1 if bits[0] => Part::Parity,
            _ => Part::Mixed,
        };
    }
    parts
}

/// Most of the soft bits' weight that may speak against a word that is recognised: about what it is at 1 dB. Of words that
/// were not sent, those next to the one that was have as much against them, and what noise shows ten times as much.
const AGAINST: f32 = 0.05;

/// What is known of a word before it comes: so many of its first bits, whichever they are.
#[derive(Debug, Clone)]
pub struct KnownBeginning {
    count: usize,
    parts: Vec<Part>,
}

impl HeaderCode {
    /// Words of which the first `count` bits are known. For an uplink code.
    pub fn known_beginning(&self, count: usize) -> KnownBeginning {
        let mut frozen = self.frozen.clone();
        self.positions[..count].iter().for_each(|position| frozen[*position] = true);
        KnownBeginning { count, parts: parts(&frozen) }
    }

    /// Recognises a word that begins with `known`, without a list; whether its CRC holds and hardly anything speaks against it.
    /// Then its bits are written.
    pub fn recognise(
        &self,
        llr: &[f32],
        beginning: &KnownBeginning,
        known: &[u8],
        information: &mut [u8],
        scratch: &mut HeaderScratch,
    ) -> bool {
        self.load(llr, scratch);
        let HeaderScratch { word, code, channel, soft, known: known_code, .. } = scratch;
        // What the known bits add to every coded bit is taken off, so that they are zero like frozen ones.
        known_code.fill(0);
        for (position, bit) in self.positions[..beginning.count].iter().zip(known) {
            known_code[*position] = *bit;
        }
        super::transform(known_code);
        for (soft, bit) in channel.iter_mut().zip(&*known_code) {
            *soft = if *bit == 0 { *soft } else { -*soft };
        }
        decide(&beginning.parts, 1, channel, soft, code);
        let weight: f32 = llr.iter().map(|soft| soft.abs()).sum();
        let against: f32 =
            channel.iter().zip(&*code).map(|(soft, bit)| (if *bit == 0 { -soft } else { *soft }).max(0.0)).sum();
        if weight.is_nan() || against >= AGAINST * weight {
            return false;
        }
        // The transform is its own inverse.
        super::transform(code);
        for (position, index) in self.positions.iter().zip(&self.order) {
            word[*index] = code[*position];
        }
        word[..beginning.count].copy_from_slice(&known[..beginning.count]);
        let passed = self.crc.check_masked(word, self.mask);
        if passed {
            information[..self.information_bits].copy_from_slice(&word[..self.information_bits]);
        }
        passed
    }
}

/// Decides the coded bits of part `index` from their soft values; `room` holds as many more.
fn decide(parts: &[Part], index: usize, soft: &[f32], room: &mut [f32], bits: &mut [u8]) {
    match parts[index] {
        Part::Frozen => bits.fill(0),
        Part::Free => decide_each(soft, bits),
        Part::Repeated => bits.fill(u8::from(soft.iter().sum::<f32>() < 0.0)),
        Part::Parity => {
            decide_each(soft, bits);
            if bits.iter().fold(0, |parity, bit| parity ^ bit) == 1 {
                let weakest = (0..soft.len()).min_by(|a, b| soft[*a].abs().total_cmp(&soft[*b].abs())).unwrap_or(0);
                bits[weakest] ^= 1;
            }
        }
        Part::Mixed => {
            let half = soft.len() / 2;
            let ((first, second), (own, room)) = (soft.split_at(half), room.split_at_mut(half));
            let (left, right) = bits.split_at_mut(half);
            if parts[2 * index] == Part::Frozen {
                left.fill(0);
                for ((value, a), b) in own.iter_mut().zip(first).zip(second) {
                    *value = b + a;
                }
            } else {
                for ((value, a), b) in own.iter_mut().zip(first).zip(second) {
                    *value = a.abs().min(b.abs()).copysign(a * b);
                }
                decide(parts, 2 * index, own, room, left);
                for (((value, a), b), bit) in own.iter_mut().zip(first).zip(second).zip(&*left) {
                    *value = b + if *bit == 0 { *a } else { -a };
                }
            }
            decide(parts, 2 * index + 1, own, room, right);
            left.iter_mut().zip(right).for_each(|(left, right)| *left ^= *right);
        }
    }
}

fn decide_each(soft: &[f32], bits: &mut [u8]) {
    bits.iter_mut().zip(soft).for_each(|(bit, soft)| *bit = u8::from(*soft < 0.0));
}

#[cfg(test)]
mod tests {
    use super::super::Crc;
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn one_path_recognises_what_the_list_finds_where_there_is_little_noise_and_nothing_else() {
        const KNOWN: usize = 30;
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(12);
        for (coded_bits, sinr_db, range) in [
            (176, 8.0, 500..=500),
            (176, 4.0, 480..=500),
            (544, 4.0, 490..=500),
            (544, -5.0, 0..=0),
            (176, -30.0, 0..=0),
        ] {
            let code = HeaderCode::with_crc(50, coded_bits, Crc::Crc16, 0xa5a5).unwrap();
            let beginning = code.known_beginning(KNOWN);
            let mut scratch = HeaderScratch::new(&code);
            let (mut coded, mut single, mut list) = (vec![0; coded_bits], vec![0; 50], vec![0; 50]);
            let mut found = 0;
            for trial in 0..500 {
                let information: Vec<u8> = (0..50).map(|_| random.random_range(0..2)).collect();
                code.encode(&information, &mut coded, &mut scratch);
                let variance = 10f32.powf(-sinr_db / 10.0);
                let noisy = |bit: &u8| {
                    let noise: f32 = StandardNormal.sample(&mut random);
                    2.0 * (1.0 - 2.0 * f32::from(*bit) + noise * variance.sqrt()) / variance
                };
                let llr: Vec<f32> = coded.iter().map(noisy).collect();
                let recognised = code.recognise(&llr, &beginning, &information[..KNOWN], &mut single, &mut scratch);
                found += usize::from(recognised);
                if recognised {
                    assert!(code.decode(&llr, &mut list, &mut scratch));
                    assert!(single == information && list == information);
                }
                let mut wrong = information[..KNOWN].to_vec();
                wrong[trial % KNOWN] ^= 1;
                assert!(!code.recognise(&llr, &beginning, &wrong, &mut single, &mut scratch), "another beginning");
            }
            assert!(range.contains(&found), "{found} of 500 at {sinr_db} dB in {coded_bits} bits");
            let nothing = vec![f32::NAN; coded_bits];
            assert!(!code.recognise(&nothing, &beginning, &[0; KNOWN], &mut single, &mut scratch));
        }
    }

    #[test]
    fn parts_are_named_by_their_frozen_bits() {
        use Part::{Free, Frozen, Mixed, Parity, Repeated};
        let frozen = [true, true, true, true, true, false, true, false];
        assert_eq!(parts(&frozen)[1..8], [Mixed, Frozen, Mixed, Frozen, Frozen, Repeated, Repeated]);
        assert_eq!(parts(&[true, false, false, false])[1..4], [Parity, Repeated, Free]);
    }
}
