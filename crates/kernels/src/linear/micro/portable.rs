use super::{Micro, Stored};
use crate::isa::Isa;
use std::marker::PhantomData;

pub(in crate::linear) const WIDTH: usize = 8;

/// 4 rows times 8 columns, stored as `S`; products are rounded before they are added.
pub(in crate::linear) struct Float<S>(PhantomData<S>);

impl<S: Stored> Micro<WIDTH> for Float<S> {
    type A = f32;
    type B = S;
    type C = f32;
    const ROWS: usize = 4;
    const ISA: Isa = Isa::Portable;
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
        unsafe { super::by_rows!(rows, float::<S>, (a, apart, b, groups, c), [1 2 3 4]) }
    }
}

/// # Safety
/// As [`Micro::run`].
unsafe fn float<const R: usize, S: Stored>(
    a: *const f32,
    apart: (usize, usize),
    b: *const S,
    groups: usize,
    c: *mut f32,
) {
    let mut sums = [[0.0f32; WIDTH]; R];
    for p in 0..groups {
        // SAFETY: the caller's operands have `groups` numbers a row and `WIDTH` columns.
        unsafe {
            let b = *b.add(p * WIDTH).cast::<[S; WIDTH]>();
            for r in 0..R {
                let a = *a.add(r * apart.0 + p * apart.1);
                for j in 0..WIDTH {
                    sums[r][j] += a * b[j].wide();
                }
            }
        }
    }
    // SAFETY: `c` has R rows of `WIDTH`.
    unsafe { c.cast::<[[f32; WIDTH]; R]>().write_unaligned(sums) };
}

/// 4 rows times 8 columns of codes, two of the inner dimension at a time.
pub(in crate::linear) struct Whole;

impl Micro<WIDTH> for Whole {
    type A = i16;
    type B = i8;
    type C = i32;
    const ROWS: usize = 4;
    const ISA: Isa = Isa::Portable;
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
        unsafe { super::by_rows!(rows, whole, (a, apart, b, groups, c), [1 2 3 4]) }
    }
}

/// # Safety
/// As [`Micro::run`].
unsafe fn whole<const R: usize>(
    a: *const i16,
    apart: (usize, usize),
    b: *const i8,
    groups: usize,
    c: *mut i32,
) {
    let mut sums = [[0i32; WIDTH]; R];
    for p in 0..groups {
        // SAFETY: the caller's operands have `2·groups` numbers a row and `WIDTH` columns.
        unsafe {
            let b = *b.add(p * 2 * WIDTH).cast::<[[i8; 2]; WIDTH]>();
            for r in 0..R {
                let a = *a.add(r * apart.0 + p * apart.1).cast::<[i16; 2]>();
                for j in 0..WIDTH {
                    sums[r][j] += i32::from(a[0]) * i32::from(b[j][0]) + i32::from(a[1]) * i32::from(b[j][1]);
                }
            }
        }
    }
    // SAFETY: `c` has R rows of `WIDTH`.
    unsafe { c.cast::<[[i32; WIDTH]; R]>().write_unaligned(sums) };
}
