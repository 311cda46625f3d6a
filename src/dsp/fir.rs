//! The one filter kernel: real taps over complex samples.

use num_complex::Complex32;

use super::dispatched;

/// Floats worked on together, so that the taps are loaded once for all and no sum waits for the one before; and towards the
/// end.
const LANES: usize = 64;
const FEWER: usize = 16;
/// The same of each of two filters.
const PAIR: usize = 32;

dispatched! {
    /// `output[n] = Σ_k taps[k]·input[n + k]`; `input` holds at least `output.len() + taps.len() − 1` samples.
    pub fn fir(input: &[Complex32], taps: &[f32], output: &mut [Complex32]) = fir_set
}

dispatched! {
    /// As [`fir`], added to what `output` holds.
    pub fn fir_accumulate(input: &[Complex32], taps: &[f32], output: &mut [Complex32]) = fir_add
}

#[inline(always)]
fn fir_set(input: &[Complex32], taps: &[f32], output: &mut [Complex32]) {
    body::<false>(input, taps, output);
}

#[inline(always)]
fn fir_add(input: &[Complex32], taps: &[f32], output: &mut [Complex32]) {
    body::<true>(input, taps, output);
}

#[inline(always)]
fn body<const ADD: bool>(input: &[Complex32], taps: &[f32], output: &mut [Complex32]) {
    assert!(input.len() + 1 >= output.len() + taps.len(), "the input covers the output");
    let input: &[f32] = bytemuck::cast_slice(input);
    let output: &mut [f32] = bytemuck::cast_slice_mut(output);
    let mut done = blocks::<ADD, LANES>(input, taps, output);
    done += blocks::<ADD, FEWER>(&input[done..], taps, &mut output[done..]);
    for (lane, value) in output[done..].iter_mut().enumerate() {
        let mut sum = 0f32;
        for (k, &tap) in taps.iter().enumerate() {
            sum += tap * input[done + 2 * k + lane];
        }
        *value = if ADD { *value + sum } else { sum };
    }
}

/// Whole blocks of so many floats; how many floats that are.
#[inline(always)]
fn blocks<const ADD: bool, const LANES: usize>(input: &[f32], taps: &[f32], output: &mut [f32]) -> usize {
    let mut start = 0;
    for chunk in output.as_chunks_mut::<LANES>().0 {
        let mut sums = [0f32; LANES];
        for (k, &tap) in taps.iter().enumerate() {
            let samples = &input[start + 2 * k..][..LANES];
            for lane in 0..LANES {
                sums[lane] += tap * samples[lane];
            }
        }
        for lane in 0..LANES {
            chunk[lane] = if ADD { chunk[lane] + sums[lane] } else { sums[lane] };
        }
        start += LANES;
    }
    start
}

dispatched! {
    /// [`fir`] with two filters of one length, whose outputs take turns in `output`.
    pub fn fir_pair(input: &[Complex32], taps: [&[f32]; 2], output: &mut [Complex32]) = pair_body
}

#[inline(always)]
fn pair_body(input: &[Complex32], [first, second]: [&[f32]; 2], output: &mut [Complex32]) {
    assert!(
        first.len() == second.len() && input.len() + 1 >= output.len().div_ceil(2) + first.len(),
        "the input covers the output"
    );
    let input: &[f32] = bytemuck::cast_slice(input);
    let output: &mut [f32] = bytemuck::cast_slice_mut(output);
    let (chunks, rest) = output.as_chunks_mut::<{ 2 * PAIR }>();
    for (index, chunk) in chunks.iter_mut().enumerate() {
        let mut sums = [[0f32; PAIR]; 2];
        for (k, (a, b)) in first.iter().zip(second).enumerate() {
            let samples = &input[PAIR * index + 2 * k..][..PAIR];
            for lane in 0..PAIR {
                sums[0][lane] += a * samples[lane];
                sums[1][lane] += b * samples[lane];
            }
        }
        for (n, both) in chunk.chunks_exact_mut(4).enumerate() {
            both[..2].copy_from_slice(&sums[0][2 * n..][..2]);
            both[2..].copy_from_slice(&sums[1][2 * n..][..2]);
        }
    }
    let start = PAIR * chunks.len();
    for (n, value) in rest.chunks_exact_mut(2).enumerate() {
        let taps = [first, second][n % 2];
        for (part, value) in value.iter_mut().enumerate() {
            *value = 0.0;
            for (k, &tap) in taps.iter().enumerate() {
                *value += tap * input[start + n / 2 * 2 + part + 2 * k];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_dispatched_filter_equals_the_baseline_bit_for_bit(
            length in 0usize..200, tap_count in 1usize..70, seed in any::<u64>()
        ) {
            use rand::{RngExt, SeedableRng};
            let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut sample = || random.random::<f32>() - 0.5;
            let taps: Vec<f32> = (0..tap_count).map(|_| sample()).collect();
            let input: Vec<_> = (0..length + tap_count).map(|_| Complex32::new(sample(), sample())).collect();
            let mut fast = vec![Complex32::new(1.0, 2.0); length];
            let mut slow = fast.clone();
            fir_accumulate(&input, &taps, &mut fast);
            body::<true>(&input, &taps, &mut slow);
            prop_assert_eq!(&fast, &slow);
            let reversed: Vec<f32> = taps.iter().rev().copied().collect();
            let mut both = vec![Complex32::ZERO; 2 * length];
            let mut separate = [vec![Complex32::ZERO; length], vec![Complex32::ZERO; length]];
            fir_pair(&input, [&taps, &reversed], &mut both);
            fir(&input, &taps, &mut separate[0]);
            fir(&input, &reversed, &mut separate[1]);
            for (n, value) in both.iter().enumerate() {
                prop_assert_eq!(*value, separate[n % 2][n / 2]);
            }
            for (n, value) in slow.iter().enumerate() {
                let expected: Complex32 =
                    Complex32::new(1.0, 2.0) + taps.iter().zip(&input[n..]).map(|(tap, x)| x * *tap).sum::<Complex32>();
                prop_assert!((value - expected).norm() < 1e-4);
            }
        }
    }
}
