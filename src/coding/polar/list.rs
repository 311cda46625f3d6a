//! Successive-cancellation list decoding on log-likelihood ratios (Balatsoukas-Stimming et al. 2015), min-sum, with the
//! CRC choosing among the paths.

use super::{HeaderCode, LIST};

/// Room for encoding and decoding with one code.
#[derive(Debug, Clone)]
pub struct HeaderScratch {
    pub(super) word: Vec<u8>,
    pub(super) code: Vec<u8>,
    pub(super) channel: Vec<f32>,
    /// Soft values of the parts that one path goes through.
    pub(super) soft: Vec<f32>,
    /// What known bits add to the codeword.
    pub(super) known: Vec<u8>,
    paths: Vec<Path>,
    candidates: Vec<(f32, usize, u8)>,
    survivors: [Option<u8>; LIST],
}

#[derive(Debug, Clone)]
struct Path {
    metric: f32,
    /// Soft values of stage s at `[2^s .. 2^(s+1)]`.
    soft: Vec<f32>,
    /// Decided left halves of stage s at `[2^s .. 2^(s+1)]`.
    left: Vec<u8>,
    /// Partial sums of the part just decided.
    sums: Vec<u8>,
    bits: Vec<u8>,
}

impl HeaderScratch {
    /// Room for `code`.
    pub fn new(code: &HeaderCode) -> Self {
        let length = code.length;
        let path = Path {
            metric: 0.0,
            soft: vec![0.0; length],
            left: vec![0; length],
            sums: vec![0; length],
            bits: vec![0; code.positions.len()],
        };
        Self {
            word: vec![0; code.positions.len()],
            code: vec![0; length],
            channel: vec![0.0; length],
            soft: vec![0.0; length],
            known: vec![0; length],
            paths: vec![path; LIST],
            candidates: Vec::with_capacity(2 * LIST),
            survivors: [None; LIST],
        }
    }
}

impl HeaderCode {
    /// Decodes coded log-likelihood ratios (positive = 0); whether a path passed its CRC, whose bits are then written.
    pub fn decode(&self, llr: &[f32], information: &mut [u8], scratch: &mut HeaderScratch) -> bool {
        self.decode_knowing(llr, &[], information, scratch)
    }

    /// The same where some information bits are known beforehand: `known` holds them in their order, as far as it reaches,
    /// [`None`] where a bit is not. For an uplink code.
    pub fn decode_knowing(
        &self,
        llr: &[f32],
        known: &[Option<u8>],
        information: &mut [u8],
        scratch: &mut HeaderScratch,
    ) -> bool {
        self.load(llr, scratch);
        let mut active = 1;
        scratch.paths[0].metric = 0.0;
        let mut next_bit = 0;
        for index in 0..self.length {
            for path in &mut scratch.paths[..active] {
                path.descend(index, &scratch.channel);
            }
            if self.frozen[index] {
                for path in &mut scratch.paths[..active] {
                    path.metric += (-path.soft[1]).max(0.0);
                    path.ascend(index, 0);
                }
            } else if let Some(Some(value)) = known.get(self.order[next_bit]) {
                for path in &mut scratch.paths[..active] {
                    let soft = path.soft[1];
                    path.metric += (if *value == 0 { -soft } else { soft }).max(0.0);
                    path.bits[next_bit] = *value;
                    path.ascend(index, *value);
                }
                next_bit += 1;
            } else {
                active = scratch.fork(active, next_bit, index);
                next_bit += 1;
            }
        }
        self.choose(active, information, scratch)
    }

    /// The ratios where their bits stand in the codeword.
    pub(super) fn load(&self, llr: &[f32], scratch: &mut HeaderScratch) {
        scratch.channel.fill(0.0);
        for (value, source) in llr.iter().zip(&self.sources) {
            scratch.channel[*source] += value;
        }
        for position in &self.shortened {
            scratch.channel[*position] = 1e6;
        }
    }

    /// The best path that passes the CRC.
    fn choose(&self, active: usize, information: &mut [u8], scratch: &mut HeaderScratch) -> bool {
        let HeaderScratch { word, paths, candidates, .. } = scratch;
        candidates.clear();
        candidates.extend(paths[..active].iter().enumerate().map(|(index, path)| (path.metric, index, 0)));
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        for (_, index, _) in candidates.iter() {
            for (bit, target) in paths[*index].bits.iter().zip(&self.order) {
                word[*target] = *bit;
            }
            if self.crc.check_masked(word, self.mask) {
                information[..self.information_bits].copy_from_slice(&word[..self.information_bits]);
                return true;
            }
        }
        false
    }
}

impl HeaderScratch {
    /// Extends every path by both values of an information bit and keeps the best; returns how many there are.
    fn fork(&mut self, active: usize, bit: usize, index: usize) -> usize {
        self.candidates.clear();
        for (path, state) in self.paths[..active].iter().enumerate() {
            let soft = state.soft[1];
            self.candidates.push((state.metric + (-soft).max(0.0), path, 0));
            self.candidates.push((state.metric + soft.max(0.0), path, 1));
        }
        self.candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        self.candidates.truncate(LIST);
        // A path goes on in place with its first survivor; its second takes the place of a path that died.
        self.survivors = [None; LIST];
        for (_, path, value) in &self.candidates {
            if self.survivors[*path].is_none() {
                self.survivors[*path] = Some(*value);
            }
        }
        let count = self.candidates.len();
        let mut free = 0;
        for at in 0..count {
            let (metric, path, value) = self.candidates[at];
            if self.survivors[path] == Some(value) {
                continue;
            }
            while free < active && self.survivors[free].is_some() {
                free += 1;
            }
            let target = free;
            free += 1;
            let [from, to] = self.paths.get_disjoint_mut([path, target]).expect("two paths");
            to.copy_from(from);
            to.metric = metric;
            to.bits[bit] = value;
            to.ascend(index, value);
        }
        for at in 0..count {
            let (metric, path, value) = self.candidates[at];
            if self.survivors[path] == Some(value) {
                let state = &mut self.paths[path];
                state.metric = metric;
                state.bits[bit] = value;
                state.ascend(index, value);
            }
        }
        count
    }
}

impl Path {
    fn copy_from(&mut self, other: &Self) {
        self.soft.copy_from_slice(&other.soft);
        self.left.copy_from_slice(&other.left);
        self.bits.copy_from_slice(&other.bits);
    }

    /// Brings the soft value of bit `index` down to stage 0.
    fn descend(&mut self, index: usize, channel: &[f32]) {
        let stages = channel.len().trailing_zeros();
        let begin = if index == 0 { stages - 1 } else { index.trailing_zeros() };
        for stage in (0..=begin).rev() {
            let half = 1usize << stage;
            let (below, above) = self.soft.split_at_mut(2 * half);
            let output = &mut below[half..];
            let input = if stage + 1 == stages { channel } else { &above[..2 * half] };
            let (first, second) = input.split_at(half);
            let right = index != 0 && stage == begin;
            if right {
                let left = &self.left[half..2 * half];
                for (((value, a), b), bit) in output.iter_mut().zip(first).zip(second).zip(left) {
                    *value = if *bit == 0 { b + a } else { b - a };
                }
            } else {
                for ((value, a), b) in output.iter_mut().zip(first).zip(second) {
                    *value = a.abs().min(b.abs()).copysign(a * b);
                }
            }
        }
    }

    /// Takes a decided bit up as far as it completes a part.
    fn ascend(&mut self, index: usize, bit: u8) {
        self.sums[0] = bit;
        let mut length = 1;
        let mut rest = index;
        while rest & 1 == 1 {
            let left = length..2 * length;
            if 2 * length > self.sums.len() {
                return;
            }
            for n in (0..length).rev() {
                self.sums[length + n] = self.sums[n];
                self.sums[n] ^= self.left[left.start + n];
            }
            length *= 2;
            rest >>= 1;
        }
        if 2 * length <= self.left.len() {
            self.left[length..2 * length].copy_from_slice(&self.sums[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn headers_of_136_bits_in_256_symbols_fail_less_than_once_in_a_hundred_at_minus_1_db() {
        const BLOCKS: usize = 2000;
        let code = HeaderCode::new(136, 512).unwrap();
        let mut scratch = HeaderScratch::new(&code);
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(12);
        let (mut coded, mut back) = (vec![0; 512], vec![0; 136]);
        let (mut failed, mut wrong) = (0, 0);
        // QPSK at −1 dB: each axis has half the energy and half the noise, so the bits see the same SNR.
        let variance = 10f32.powf(0.1);
        for _ in 0..BLOCKS {
            let information: Vec<u8> = (0..136).map(|_| random.random_range(0..2)).collect();
            code.encode(&information, &mut coded, &mut scratch);
            let noisy = |bit: &u8| {
                let noise: f32 = StandardNormal.sample(&mut random);
                2.0 * (1.0 - 2.0 * f32::from(*bit) + noise * variance.sqrt()) / variance
            };
            let llr: Vec<f32> = coded.iter().map(noisy).collect();
            let decoded = code.decode(&llr, &mut back, &mut scratch);
            failed += usize::from(!decoded || back != information);
            wrong += usize::from(decoded && back != information);
        }
        println!("{failed} of {BLOCKS} lost, {wrong} of them unnoticed");
        assert!(failed <= BLOCKS / 100 && wrong == 0, "{failed} of {BLOCKS}, {wrong} unnoticed");
    }
}
