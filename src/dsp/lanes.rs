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

/// What Fourier transforms need besides.
pub trait TransformLanes: Lanes {
    /// `self - a * b`, rounded once.
    fn fused_minus(self, a: Self, b: Self) -> Self;
    /// Lane by lane.
    fn plus(self, other: Self) -> Self;
    /// Lane by lane.
    fn minus(self, other: Self) -> Self;
    /// Real and imaginary parts of [`LANES`] numbers that follow each other.
    ///
    /// # Safety
    /// `from` is readable for 32 floats.
    unsafe fn load_complex(from: *const f32) -> [Self; 2];
    /// Lane i of vector k becomes lane k of vector i.
    fn transpose(square: &mut [Self; LANES]);
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

impl TransformLanes for [f32; LANES] {
    #[inline(always)]
    fn fused_minus(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| (-a[i]).mul_add(b[i], self[i]))
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] - other[i])
    }
    #[inline(always)]
    unsafe fn load_complex(from: *const f32) -> [Self; 2] {
        // SAFETY: the caller promises 32 readable floats.
        std::array::from_fn(|part| std::array::from_fn(|i| unsafe { *from.add(2 * i + part) }))
    }
    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        *square = std::array::from_fn(|i| std::array::from_fn(|k| square[k][i]));
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

/// Value k of vector i becomes value i of vector k.
///
/// # Safety
/// The machine has AVX.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: by contract.
    unsafe {
        let mut pairs = rows;
        for i in (0..8).step_by(2) {
            pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        // Vector 4 r + c holds columns c and c + 4 of the rows 4 r … 4 r + 3.
        let mut fours = pairs;
        for i in [0, 4] {
            for c in [0, 1] {
                let (a, b) = (pairs[i + c], pairs[i + c + 2]);
                fours[i + 2 * c] = _mm256_shuffle_ps::<0x44>(a, b);
                fours[i + 2 * c + 1] = _mm256_shuffle_ps::<0xee>(a, b);
            }
        }
        let mut columns = fours;
        for c in 0..4 {
            columns[c] = _mm256_permute2f128_ps::<0x20>(fours[c], fours[c + 4]);
            columns[c + 4] = _mm256_permute2f128_ps::<0x31>(fours[c], fours[c + 4]);
        }
        columns
    }
}

#[cfg(target_arch = "x86_64")]
impl TransformLanes for Avx2 {
    #[inline(always)]
    fn fused_minus(self, a: Self, b: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_fnmadd_ps(a.0, b.0, self.0), _mm256_fnmadd_ps(a.1, b.1, self.1)) }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn load_complex(from: *const f32) -> [Self; 2] {
        // SAFETY: 32 readable floats by contract; feature as in `load`.
        unsafe {
            let eight = |at: usize| {
                let (low, high) = (_mm256_loadu_ps(from.add(at)), _mm256_loadu_ps(from.add(at + 8)));
                // Numbers 0, 1, 4, 5 and 2, 3, 6, 7.
                let (near, far) =
                    (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high));
                [_mm256_shuffle_ps::<0x88>(near, far), _mm256_shuffle_ps::<0xdd>(near, far)]
            };
            let (first, second) = (eight(0), eight(LANES));
            [Self(first[0], second[0]), Self(first[1], second[1])]
        }
    }
    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        // SAFETY: feature as in `load`.
        unsafe {
            let quarter = |rows: usize, right: bool| {
                transposed(std::array::from_fn(|i| if right { square[rows + i].1 } else { square[rows + i].0 }))
            };
            let [a, b, c, d] = [quarter(0, false), quarter(0, true), quarter(8, false), quarter(8, true)];
            for i in 0..8 {
                square[i] = Self(a[i], c[i]);
                square[i + 8] = Self(b[i], d[i]);
            }
        }
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

#[cfg(target_arch = "x86_64")]
impl TransformLanes for Avx512 {
    #[inline(always)]
    fn fused_minus(self, a: Self, b: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_fnmadd_ps(a.0, b.0, self.0)) }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: feature as in `load`.
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn load_complex(from: *const f32) -> [Self; 2] {
        // SAFETY: 32 readable floats by contract; feature as in `load`.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(LANES)));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            [Self(_mm512_permutex2var_ps(low, even, high)), Self(_mm512_permutex2var_ps(low, odd, high))]
        }
    }
    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        // SAFETY: feature as in `load`.
        unsafe {
            let mut pairs = [_mm512_setzero_pd(); LANES];
            for i in (0..LANES).step_by(2) {
                let (a, b) = (square[i].0, square[i + 1].0);
                pairs[i] = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                pairs[i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            }
            // Vector 4 r + c holds lanes c, c + 4, c + 8 and c + 12 of the vectors 4 r … 4 r + 3.
            let mut fours = [_mm512_setzero_ps(); LANES];
            for i in (0..LANES).step_by(4) {
                for c in [0, 2] {
                    let (a, b) = (pairs[i + c / 2], pairs[i + c / 2 + 2]);
                    fours[i + c] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    fours[i + c + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            for c in 0..4 {
                let (a, b, d, e) = (fours[c], fours[4 + c], fours[8 + c], fours[12 + c]);
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (more_even, more_odd) = (_mm512_shuffle_f32x4::<0x88>(d, e), _mm512_shuffle_f32x4::<0xdd>(d, e));
                square[c] = Self(_mm512_shuffle_f32x4::<0x88>(even, more_even));
                square[c + 4] = Self(_mm512_shuffle_f32x4::<0x88>(odd, more_odd));
                square[c + 8] = Self(_mm512_shuffle_f32x4::<0xdd>(even, more_even));
                square[c + 12] = Self(_mm512_shuffle_f32x4::<0xdd>(odd, more_odd));
            }
        }
    }
}

/// Which lanes to use. A value other than `Scalar` exists only where the machine has the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simd(Width);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
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

    pub(crate) fn width(self) -> Width {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves<V: TransformLanes>() {
        let floats: Vec<f32> = (0..LANES * LANES).map(|value| value as f32).collect();
        let read = |vector: V| {
            let mut lanes = [0.0; LANES];
            // SAFETY: sixteen floats.
            unsafe { vector.store(lanes.as_mut_ptr()) };
            lanes
        };
        // SAFETY: 256 floats are readable.
        let (complex, mut square) = unsafe {
            (V::load_complex(floats.as_ptr()), std::array::from_fn(|k| V::load(floats.as_ptr().add(LANES * k))))
        };
        assert_eq!(complex.map(read), [0, 1].map(|part| std::array::from_fn(|i| floats[2 * i + part])));
        V::transpose(&mut square);
        for (i, vector) in square.into_iter().enumerate() {
            assert_eq!(read(vector), std::array::from_fn(|k| floats[LANES * k + i]), "{i}");
        }
    }

    #[test]
    fn numbers_are_taken_apart_and_squares_transposed() {
        moves::<[f32; LANES]>();
        #[cfg(target_arch = "x86_64")]
        for simd in Simd::all() {
            match simd.width() {
                Width::Scalar => {}
                Width::Avx2 => moves::<Avx2>(),
                Width::Avx512 => moves::<Avx512>(),
            }
        }
    }
}
