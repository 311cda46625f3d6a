//! Sixteen f32 lanes on AVX-512, AVX2 + FMA or plain Rust, and the choice among them at run time.
//!
//! All three do the same fused multiply-adds in the same order in every lane, so a result never depends on the machine.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes per vector.
pub const LANES: usize = 16;

/// A vector of [`LANES`] floats. Implementations for wider machines may only be used where [`Simd`] found the feature.
pub trait Lanes: Copy {
    /// True where a tile of 8 pixels × 2 vectors fits the registers.
    const WIDE: bool;
    /// # Safety
    /// `from` is readable for 16 floats.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// `to` is writable for 16 floats.
    unsafe fn store(self, to: *mut f32);
    /// The same value in each lane.
    fn splat(value: f32) -> Self;
    /// `a * b + self`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
    /// Lane by lane.
    fn times(self, other: Self) -> Self;
    /// Lane by lane.
    fn over(self, other: Self) -> Self;
    /// Lane by lane, the larger.
    fn or_larger(self, other: Self) -> Self;
}

impl Lanes for [f32; LANES] {
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 16 readable floats; arrays of f32 have the alignment of f32.
        unsafe { *from.cast::<Self>() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 16 writable floats.
        unsafe { *to.cast::<Self>() = self }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; LANES]
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| a[i].mul_add(b[i], self[i]))
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] * other[i])
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] / other[i])
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        std::array::from_fn(|i| if self[i] > other[i] { self[i] } else { other[i] })
    }
}

/// Two AVX2 registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: 16 readable floats by contract; only reached inside functions compiled for AVX2 + FMA (see `Simd`).
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: 16 writable floats by contract; feature as in `load`.
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }
}

/// One AVX-512 register.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    const WIDE: bool = true;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: 16 readable floats by contract; only reached inside functions compiled for AVX-512F (see `Simd`).
        unsafe { Self(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: 16 writable floats by contract; feature as in `load`.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_max_ps(self.0, other.0)) }
    }
}

/// Which lanes to use. A value other than `Scalar` exists only where the machine has the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simd(Width);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// Plain Rust, on any machine.
    pub const SCALAR: Self = Self(Width::Scalar);

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::all().pop().unwrap_or(Self::SCALAR)
    }

    /// All that this machine has, slowest first.
    pub fn all() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut found = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self(Width::Avx2));
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Self(Width::Avx512));
            }
        }
        found
    }

    /// For reports: `scalar`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Width::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => "avx512",
        }
    }

    pub(super) fn width(self) -> Width {
        self.0
    }
}
