use std::arch::x86_64::*;

use super::Lanes;

/// 8 lanes in `ymm` registers, with fused multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine has AVX2 and FMA.
    pub(super) unsafe fn new() -> Self {
        Avx2(())
    }
}

#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    static ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: `n` is at most 8, so that eight values follow.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n).cast()) }
}

/// # Safety
/// The machine has AVX2.
#[inline(always)]
pub(super) unsafe fn sum(a: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// # Safety
/// The machine has AVX2.
#[inline(always)]
pub(super) unsafe fn top(a: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

// SAFETY of every block below: `Avx2::new` demands the features; pointers are the caller's promise.
impl Lanes for Avx2 {
    type V = __m256;
    type M = __m256;
    const N: usize = 8;
    const MANY: bool = false;

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(p, first(n)) }
    }
    #[inline(always)]
    unsafe fn load_whole(self, p: *const i32) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize, v: __m256) {
        unsafe { _mm256_maskstore_ps(p, first(n), v) }
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        [rows, columns]: [usize; 2],
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        unsafe {
            let mut a = [_mm256_setzero_ps(); 8];
            for r in 0..rows {
                a[r] = _mm256_maskload_ps(from.add(r * from_stride), first(columns));
            }
            let mut b = a;
            for r in (0..8).step_by(2) {
                b[r] = _mm256_unpacklo_ps(a[r], a[r + 1]);
                b[r + 1] = _mm256_unpackhi_ps(a[r], a[r + 1]);
            }
            for c in 0..4 {
                // Rows 0 to 3 of columns c and c + 4, and rows 4 to 7 of the same.
                let (first, second) = (b[c / 2], b[2 + c / 2]);
                let (third, fourth) = (b[4 + c / 2], b[6 + c / 2]);
                let (upper, lower) = if c % 2 == 0 {
                    (_mm256_shuffle_ps::<0x44>(first, second), _mm256_shuffle_ps::<0x44>(third, fourth))
                } else {
                    (_mm256_shuffle_ps::<0xee>(first, second), _mm256_shuffle_ps::<0xee>(third, fourth))
                };
                if c < columns {
                    _mm256_storeu_ps(to.add(c * to_stride), _mm256_permute2f128_ps::<0x20>(upper, lower));
                }
                if c + 4 < columns {
                    _mm256_storeu_ps(
                        to.add((c + 4) * to_stride),
                        _mm256_permute2f128_ps::<0x31>(upper, lower),
                    );
                }
            }
        }
    }
    #[inline(always)]
    fn keep(self, n: usize, v: __m256, other: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(other, v, _mm256_castsi256_ps(first(n))) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn less(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(no, yes, mask) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn scale(self, p: __m256, n: __m256) -> __m256 {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        unsafe { sum(a) }
    }
    #[inline(always)]
    fn top(self, a: __m256) -> f32 {
        unsafe { top(a) }
    }
}
