//! Signal kernels: slices in, slices out, the caller owns the scratch.
//!
//! Sample scaling everywhere: shaped unit-power symbols have unit mean sample power, the matched filter has unit gain,
//! so white noise of `sps`·σ² per complex sample becomes σ² per symbol.

pub mod constellation;
mod delay;
mod dft;
mod fir;
pub mod lanes;
mod mix;
mod pulse;
mod superpose;

pub use delay::{DelayTaps, FILTER_LATENCY, FILTER_TAPS};
pub use dft::PlanarDft;
pub(crate) use dft::{smooth_length, split};
pub use fir::{fir, fir_accumulate, fir_pair};
pub use mix::{correlate, mean_power, rotate, scale, scale_add};
pub use pulse::{MatchedFilter, PulseShaper, SPAN_SYMBOLS, root_raised_cosine, tail_samples};
pub use superpose::Superposer;

/// Compiles a kernel body three times (AVX-512, AVX2 and baseline) and dispatches at run time.
///
/// The body is plain arithmetic without fused operations, so all three give the same bits.
macro_rules! dispatched {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        $visibility fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw")]
                fn avx512($($argument: $type),*) {
                    $body($($argument),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $type),*) {
                    $body($($argument),*);
                }
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                    // SAFETY: the processor has AVX-512F and AVX-512BW.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    return unsafe { avx2($($argument),*) };
                }
            }
            $body($($argument),*);
        }
    };
}
pub(crate) use dispatched;
