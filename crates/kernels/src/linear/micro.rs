//! Products in vector registers: a few rows times one panel of columns, over the whole inner dimension at once.
//!
//! Each sum is one chain of additions over the inner dimension in order, in a kernel for any number of rows, so a row's
//! sums do not depend on its neighbours.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;

use super::buffer::Plain;
use super::epilogue::{Finish, Place};
use crate::isa::Isa;
use std::ops::Range;

/// A kernel of one instruction set: up to [`Micro::ROWS`] rows of `A`, a panel of `W` columns of `B`, sums in `C`.
pub(super) trait Micro<const W: usize> {
    type A: Plain;
    type B: Plain;
    type C: Plain + Default;
    const ROWS: usize;
    const ISA: Isa;
    /// Numbers of the inner dimension that stand together in a panel: `[depth / GROUP][W][GROUP]`.
    const GROUP: usize;

    /// `c[rows, W] = a[rows, ..]·b`, for `groups` groups of the inner dimension. The rows of `a` are
    /// `apart.0` numbers from each other, the groups of a row `apart.1`.
    ///
    /// # Safety
    /// The instruction set runs here; `1 ≤ rows ≤ ROWS`; `a` is readable at the
    /// first number of each group of each row and the `GROUP` from there, `b` has
    /// `groups·GROUP·W`, `c` has `rows·W`.
    unsafe fn run(
        rows: usize,
        a: *const Self::A,
        apart: (usize, usize),
        b: *const Self::B,
        groups: usize,
        c: *mut Self::C,
    );

    /// Brings `c` to its final sums, if the kernel leaves more to do.
    fn correct(_c: &mut [Self::C], _panel: usize, _extra: &Extra<'_>) {}
}

/// What whole-number kernels need beside the operands.
pub(super) struct Extra<'a> {
    /// Scales of the rows of the rectangle, and of the output channels.
    pub(super) scales: Option<(&'a [f32], &'a [f32])>,
    /// Sums of the codes of the output channels.
    pub(super) sums: &'a [i32],
}

/// The rows of a rectangle in the form that a kernel reads.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, A> {
    pub(super) data: &'a [A],
    pub(super) stride: usize,
    /// How many, and the first one's place in the output.
    pub(super) count: usize,
    pub(super) first: usize,
}

/// A rectangle of the product: `rows` times the panels `columns` of `panels`.
///
/// # Safety
/// The instruction set runs here, and the rectangle is this task's alone.
pub(super) unsafe fn sweep<const W: usize, M: Micro<W>>(
    rows: Rows<'_, M::A>,
    panels: &[M::B],
    groups: usize,
    columns: Range<usize>,
    extra: &Extra<'_>,
    finish: &Finish<'_>,
) {
    let panel = groups * M::GROUP * W;
    assert!(rows.stride >= groups * M::GROUP, "rows are filled up to whole groups");
    assert!(rows.count * rows.stride <= rows.data.len() && columns.end * panel <= panels.len());
    let blocks = rows.count.div_ceil(M::ROWS);
    let mut c = vec![M::C::default(); M::ROWS * W];
    for column in columns {
        let b = &panels[column * panel..][..panel];
        for block in 0..blocks {
            // Blocks of nearly one size: a last one of one row would be slow.
            let (from, to) = (block * rows.count / blocks, (block + 1) * rows.count / blocks);
            // SAFETY: the assertion covers the operands, `c` has room for the most rows.
            unsafe {
                M::run(
                    to - from,
                    rows.data.as_ptr().add(from * rows.stride),
                    (rows.stride, M::GROUP),
                    b.as_ptr(),
                    groups,
                    c.as_mut_ptr(),
                );
            }
            let place = Place { row: rows.first + from, rows: to - from, column: column * W };
            M::correct(&mut c[..(to - from) * W], column, extra);
            let scales = extra.scales.map(|(rows, columns)| (rows[from..to].as_ptr(), columns));
            // SAFETY: the caller's rectangle contains this tile, whose sums are complete.
            unsafe { finish.tile::<W>(M::ISA, place, c.as_ptr().cast(), scales) };
        }
    }
}

/// Calls a kernel that is generic over the number of rows.
macro_rules! by_rows {
    ($rows:expr, $kernel:ident::<$stored:ident>, $args:tt, [$($r:literal)*]) => {
        match $rows {
            $($r => $kernel::<$r, $stored> $args,)*
            rows => unreachable!("a kernel was asked for {rows} rows"),
        }
    };
    ($rows:expr, $kernel:ident, $args:tt, [$($r:literal)*]) => {
        match $rows {
            $($r => $kernel::<$r> $args,)*
            rows => unreachable!("a kernel was asked for {rows} rows"),
        }
    };
}
pub(super) use by_rows;

/// The nearest bf16 number, ties to even; NaN stays NaN.
#[inline(always)]
pub(super) fn bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded }) as u16
}

/// The number that a bf16 number is.
#[inline(always)]
pub(super) fn widened(v: u16) -> f32 {
    f32::from_bits(u32::from(v) << 16)
}

/// A weight as it is stored.
pub(super) trait Stored: Plain {
    /// Every 32-bit number is stored as it is.
    const EXACT: bool;
    fn of(v: f32) -> Self;
    fn wide(self) -> f32;
}

impl Stored for f32 {
    const EXACT: bool = true;

    #[inline(always)]
    fn of(v: f32) -> Self {
        v
    }
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

impl Stored for u16 {
    const EXACT: bool = false;

    #[inline(always)]
    fn of(v: f32) -> Self {
        bf16(v)
    }
    #[inline(always)]
    fn wide(self) -> f32 {
        widened(self)
    }
}
