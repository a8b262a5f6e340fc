use super::{Micro, Stored};
use crate::isa::Isa;
use std::arch::x86_64::*;
use std::marker::PhantomData;

pub(in crate::linear) const WIDTH: usize = 16;

/// A weight as it is stored, eight at a time.
pub(in crate::linear) trait Load: Stored {
    /// # Safety
    /// The machine has AVX2; eight numbers are readable.
    unsafe fn load(from: *const Self) -> __m256;
}

impl Load for f32 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: passed on to the caller.
        unsafe { _mm256_loadu_ps(from) }
    }
}

impl Load for u16 {
    #[inline(always)]
    unsafe fn load(from: *const u16) -> __m256 {
        // SAFETY: passed on to the caller.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }
}

/// 6 rows times 16 columns, stored as `S`.
pub(in crate::linear) struct Float<S>(PhantomData<S>);

impl<S: Load> Micro<WIDTH> for Float<S> {
    type A = f32;
    type B = S;
    type C = f32;
    const ROWS: usize = 6;
    const ISA: Isa = Isa::Avx2;
    const GROUP: usize = 1;

    unsafe fn run(
        rows: usize,
        a: *const f32,
        apart: (usize, usize),
        b: *const S,
        groups: usize,
        c: *mut f32,
    ) {
        // SAFETY: passed on to the caller.
        unsafe { super::by_rows!(rows, float::<S>, (a, apart, b, groups, c), [1 2 3 4 5 6]) }
    }
}

/// # Safety
/// As [`Micro::run`].
#[target_feature(enable = "avx2,fma")]
unsafe fn float<const R: usize, S: Load>(
    a: *const f32,
    apart: (usize, usize),
    b: *const S,
    groups: usize,
    c: *mut f32,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    for p in 0..groups {
        // SAFETY: the caller's operands have `groups` numbers a row and `WIDTH` columns.
        unsafe {
            let b0 = S::load(b.add(p * WIDTH));
            let b1 = S::load(b.add(p * WIDTH + 8));
            for r in 0..R {
                let a = _mm256_set1_ps(*a.add(r * apart.0 + p * apart.1));
                sums[r][0] = _mm256_fmadd_ps(a, b0, sums[r][0]);
                sums[r][1] = _mm256_fmadd_ps(a, b1, sums[r][1]);
            }
        }
    }
    for r in 0..R {
        // SAFETY: `c` has R rows of `WIDTH`.
        unsafe {
            _mm256_storeu_ps(c.add(r * WIDTH), sums[r][0]);
            _mm256_storeu_ps(c.add(r * WIDTH + 8), sums[r][1]);
        }
    }
}

/// 6 rows times 16 columns of codes, widened to 16 bits, two of the inner dimension at a time.
pub(in crate::linear) struct Whole;

impl Micro<WIDTH> for Whole {
    type A = i16;
    type B = i8;
    type C = i32;
    const ROWS: usize = 6;
    const ISA: Isa = Isa::Avx2;
    const GROUP: usize = 2;

    unsafe fn run(
        rows: usize,
        a: *const i16,
        apart: (usize, usize),
        b: *const i8,
        groups: usize,
        c: *mut i32,
    ) {
        // SAFETY: passed on to the caller.
        unsafe { super::by_rows!(rows, whole, (a, apart, b, groups, c), [1 2 3 4 5 6]) }
    }
}

/// # Safety
/// As [`Micro::run`].
#[target_feature(enable = "avx2,fma")]
unsafe fn whole<const R: usize>(
    a: *const i16,
    apart: (usize, usize),
    b: *const i8,
    groups: usize,
    c: *mut i32,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for p in 0..groups {
        // SAFETY: the caller's operands have `2·groups` numbers a row and `WIDTH` columns.
        unsafe {
            let b0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(p * 2 * WIDTH).cast()));
            let b1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(p * 2 * WIDTH + 16).cast()));
            for r in 0..R {
                let pair = a.add(r * apart.0 + p * apart.1).cast::<i32>().read_unaligned();
                let a = _mm256_set1_epi32(pair);
                sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(a, b0));
                sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(a, b1));
            }
        }
    }
    for r in 0..R {
        // SAFETY: `c` has R rows of `WIDTH`.
        unsafe {
            _mm256_storeu_si256(c.add(r * WIDTH).cast(), sums[r][0]);
            _mm256_storeu_si256(c.add(r * WIDTH + 8).cast(), sums[r][1]);
        }
    }
}
