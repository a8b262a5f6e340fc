use std::arch::x86_64::*;

use super::{Lanes, segments};

/// 16 lanes in `zmm` registers.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The machine has AVX-512 F, DQ, VL and BW, AVX2 and FMA.
    pub(super) unsafe fn new() -> Self {
        Avx512(())
    }
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

// SAFETY of every block below: `Avx512::new` demands the features; pointers are the caller's promise.
impl Lanes for Avx512 {
    type V = __m512;
    type M = __mmask16;
    const N: usize = 16;
    const MANY: bool = true;

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn load_whole(self, p: *const i32) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize, v: __m512) {
        unsafe { _mm512_mask_storeu_ps(p, first(n), v) }
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
            // Pairs of rows, then fours, then eights: after three steps each vector holds four quarters of columns.
            let mut a = [_mm512_setzero_ps(); 16];
            if rows == 16 && columns == 16 {
                for r in 0..16 {
                    a[r] = _mm512_loadu_ps(from.add(r * from_stride));
                }
            } else {
                for r in 0..16 {
                    // A masked load does not touch what its mask leaves out, and gives 0 there.
                    let mask = if r < rows { first(columns) } else { 0 };
                    a[r] = _mm512_maskz_loadu_ps(mask, from.wrapping_add(r * from_stride));
                }
            }
            let mut b = a;
            for r in (0..16).step_by(2) {
                b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
                b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
            }
            for r in (0..16).step_by(4) {
                for odd in 0..2 {
                    let upper = _mm512_castps_pd(b[r + odd]);
                    let lower = _mm512_castps_pd(b[r + 2 + odd]);
                    a[r + 2 * odd] = _mm512_castpd_ps(_mm512_unpacklo_pd(upper, lower));
                    a[r + 2 * odd + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(upper, lower));
                }
            }
            // a[4 g + c] holds, in quarter q, rows 4g..4g+4 of column 4q + c.
            for c in 0..4 {
                let low = _mm512_shuffle_f32x4::<0x88>(a[c], a[4 + c]);
                let high = _mm512_shuffle_f32x4::<0xdd>(a[c], a[4 + c]);
                let low_two = _mm512_shuffle_f32x4::<0x88>(a[8 + c], a[12 + c]);
                let high_two = _mm512_shuffle_f32x4::<0xdd>(a[8 + c], a[12 + c]);
                let out = [
                    _mm512_shuffle_f32x4::<0x88>(low, low_two),
                    _mm512_shuffle_f32x4::<0x88>(high, high_two),
                    _mm512_shuffle_f32x4::<0xdd>(low, low_two),
                    _mm512_shuffle_f32x4::<0xdd>(high, high_two),
                ];
                for q in 0..4 {
                    if columns == 16 || 4 * q + c < columns {
                        _mm512_storeu_ps(to.add((4 * q + c) * to_stride), out[q]);
                    }
                }
            }
        }
    }
    #[inline(always)]
    fn keep(self, n: usize, v: __m512, other: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(first(n), other, v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn less(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(mask, no, yes) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn scale(self, p: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(p, n) }
    }
    #[inline(always)]
    fn below(self, a: __m512) -> __m512 {
        // Division and exponential would take three times as long as these five look-ups.
        let look_up = |power: usize, at: __m512i| unsafe {
            let table = segments::T[power].as_ptr();
            _mm512_permutex2var_ps(_mm512_loadu_ps(table), at, _mm512_loadu_ps(table.add(16)))
        };
        // Adding 1.5·2²³ leaves the nearest whole number in the low bits.
        let whole = self.splat(12_582_912.0);
        let per_unit = self.splat(segments::PER_UNIT);
        let a = self.min(a, self.splat(segments::LAST));
        let shifted = self.fma(a, per_unit, whole);
        let at = unsafe { _mm512_castps_si512(shifted) };
        let r = unsafe { _mm512_fmsub_ps(a, per_unit, self.sub(shifted, whole)) };
        let mut p = look_up(4, at);
        p = self.fma(p, r, look_up(3, at));
        p = self.fma(p, r, look_up(2, at));
        p = self.fma(p, r, look_up(1, at));
        self.fma(p, r, look_up(0, at))
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        unsafe {
            let high = _mm512_extractf32x8_ps::<1>(a);
            super::avx2::sum(_mm256_add_ps(_mm512_castps512_ps256(a), high))
        }
    }
    #[inline(always)]
    fn top(self, a: __m512) -> f32 {
        unsafe {
            let high = _mm512_extractf32x8_ps::<1>(a);
            super::avx2::top(_mm256_max_ps(_mm512_castps512_ps256(a), high))
        }
    }
}
