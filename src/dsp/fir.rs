//! The one filter kernel: real taps over complex samples.

use num_complex::Complex32;

use super::dispatched;

/// Floats worked on together: two AVX-512 registers, so that the taps are loaded once for both.
const LANES: usize = 32;

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
    let mut chunks = output.chunks_exact_mut(LANES);
    let mut start = 0;
    for chunk in &mut chunks {
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
    for (lane, value) in chunks.into_remainder().iter_mut().enumerate() {
        let mut sum = 0f32;
        for (k, &tap) in taps.iter().enumerate() {
            sum += tap * input[start + 2 * k + lane];
        }
        *value = if ADD { *value + sum } else { sum };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_dispatched_filter_equals_the_baseline_bit_for_bit(
            length in 0usize..100, tap_count in 1usize..70, seed in any::<u64>()
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
            for (n, value) in slow.iter().enumerate() {
                let expected: Complex32 =
                    Complex32::new(1.0, 2.0) + taps.iter().zip(&input[n..]).map(|(tap, x)| x * *tap).sum::<Complex32>();
                prop_assert!((value - expected).norm() < 1e-4);
            }
        }
    }
}
