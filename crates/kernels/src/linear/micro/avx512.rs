use super::{Extra, Micro, Stored};
use crate::isa::Isa;
use std::arch::x86_64::*;
use std::marker::PhantomData;

pub(in crate::linear) const WIDTH: usize = 32;

/// A weight as it is stored, sixteen at a time.
pub(in crate::linear) trait Load: Stored {
    /// # Safety
    /// The machine has AVX-512 F; sixteen numbers are readable.
    unsafe fn load(from: *const Self) -> __m512;
}

impl Load for f32 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: passed on to the caller.
        unsafe { _mm512_loadu_ps(from) }
    }
}

impl Load for u16 {
    #[inline(always)]
    unsafe fn load(from: *const u16) -> __m512 {
        // SAFETY: passed on to the caller.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
}

/// 14 rows times 32 columns, stored as `S`: 28 of the 32 registers hold sums.
pub(in crate::linear) struct Float<S>(PhantomData<S>);

impl<S: Load> Micro<WIDTH> for Float<S> {
    type A = f32;
    type B = S;
    type C = f32;
    const ROWS: usize = 14;
    const ISA: Isa = Isa::Avx512;
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
        unsafe {
            super::by_rows!(
                rows,
                float::<S>,
                (a, apart, b, groups, c),
                [1 2 3 4 5 6 7 8 9 10 11 12 13 14]
            )
        }
    }
}

/// # Safety
/// As [`Micro::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn float<const R: usize, S: Load>(
    a: *const f32,
    apart: (usize, usize),
    b: *const S,
    groups: usize,
    c: *mut f32,
) {
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    for p in 0..groups {
        // SAFETY: the caller's operands have `groups` numbers a row and `WIDTH` columns.
        unsafe {
            let b0 = S::load(b.add(p * WIDTH));
            let b1 = S::load(b.add(p * WIDTH + 16));
            for r in 0..R {
                let a = _mm512_set1_ps(*a.add(r * apart.0 + p * apart.1));
                sums[r][0] = _mm512_fmadd_ps(a, b0, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(a, b1, sums[r][1]);
            }
        }
    }
    for r in 0..R {
        // SAFETY: `c` has R rows of `WIDTH`.
        unsafe {
            _mm512_storeu_ps(c.add(r * WIDTH), sums[r][0]);
            _mm512_storeu_ps(c.add(r * WIDTH + 16), sums[r][1]);
        }
    }
}

/// 14 rows times 32 columns of codes, four of the inner dimension at a time. VNNI multiplies unsigned by signed bytes,
/// so 128 is added to the codes of the rows and 128 times the sum of a column's codes is taken off its sums.
pub(in crate::linear) struct Whole;

impl Micro<WIDTH> for Whole {
    type A = u8;
    type B = i8;
    type C = i32;
    const ROWS: usize = 14;
    const ISA: Isa = Isa::Avx512;
    const GROUP: usize = 4;

    unsafe fn run(
        rows: usize,
        a: *const u8,
        apart: (usize, usize),
        b: *const i8,
        groups: usize,
        c: *mut i32,
    ) {
        // SAFETY: passed on to the caller.
        unsafe {
            super::by_rows!(
                rows,
                whole,
                (a, apart, b, groups, c),
                [1 2 3 4 5 6 7 8 9 10 11 12 13 14]
            )
        }
    }

    fn correct(c: &mut [i32], panel: usize, extra: &Extra<'_>) {
        let columns = &extra.sums[panel * WIDTH..][..WIDTH];
        for row in c.chunks_exact_mut(WIDTH) {
            for (c, sum) in row.iter_mut().zip(columns) {
                *c = c.wrapping_sub(sum.wrapping_mul(128));
            }
        }
    }
}

/// # Safety
/// As [`Micro::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn whole<const R: usize>(
    a: *const u8,
    apart: (usize, usize),
    b: *const i8,
    groups: usize,
    c: *mut i32,
) {
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    for p in 0..groups {
        // SAFETY: the caller's operands have `4·groups` numbers a row and `WIDTH` columns.
        unsafe {
            let b0 = _mm512_loadu_si512(b.add(p * 4 * WIDTH).cast());
            let b1 = _mm512_loadu_si512(b.add(p * 4 * WIDTH + 64).cast());
            for r in 0..R {
                let a = _mm512_set1_epi32(a.add(r * apart.0 + p * apart.1).cast::<i32>().read_unaligned());
                sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], a, b0);
                sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], a, b1);
            }
        }
    }
    for r in 0..R {
        // SAFETY: `c` has R rows of `WIDTH`.
        unsafe {
            _mm512_storeu_si512(c.add(r * WIDTH).cast(), sums[r][0]);
            _mm512_storeu_si512(c.add(r * WIDTH + 16).cast(), sums[r][1]);
        }
    }
}
