//! Rows of a matrix and its transpose together.

use crate::Real;
use crate::isa;
use crate::lanes::{self, Body, Lanes};

/// Rows and columns that are turned together.
const SIDE: usize = 16;

/// `out[m, n] = Q + Qᵀ`, rows `first..first + m` of it, for a square `q[n, n]`.
///
/// # Panics
/// If a slice does not have the length that its shape says, or the rows end beyond the matrix.
pub fn add_transposed<T: Real>(first: usize, m: usize, n: usize, q: &[T], out: &mut [T]) {
    assert!(
        q.len() == n * n && out.len() == m * n && first + m <= n,
        "rows {first}+{m} of {n}×{n} with slices of {} and {} elements",
        q.len(),
        out.len()
    );
    T::add_transposed(first, m, n, q, out);
}

/// Number types, and how their matrices are turned.
pub trait Turned: Sized {
    /// [`add_transposed`] of slices that fit.
    fn add_transposed(first: usize, m: usize, n: usize, q: &[Self], out: &mut [Self]);

    /// `to[p · stride + j] = from[j · k + p]` for `rows` rows of `k` values.
    fn turn(rows: usize, k: usize, from: &[Self], stride: usize, to: &mut [Self]);
}

/// [`Turned::turn`], number by number.
fn turn_plain<T: Real>(
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    k: usize,
    from: &[T],
    stride: usize,
    to: &mut [T],
) {
    for j in rows {
        for p in columns.clone() {
            to[p * stride + j] = from[j * k + p];
        }
    }
}

/// Asks for the cache line of `q[at]`, if there is one.
#[inline(always)]
fn ask_for(q: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = q.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (q, at);
}

impl Turned for f64 {
    fn add_transposed(first: usize, m: usize, n: usize, q: &[f64], out: &mut [f64]) {
        blocks(m, n, |row, rows, column, columns| plain(first, n, q, out, row, rows, column, columns));
    }

    fn turn(rows: usize, k: usize, from: &[f64], stride: usize, to: &mut [f64]) {
        turn_plain(0..rows, 0..k, k, from, stride, to);
    }
}

impl Turned for f32 {
    fn add_transposed(first: usize, m: usize, n: usize, q: &[f32], out: &mut [f32]) {
        lanes::run(isa::current(), Rows { first, m, n, q, out });
    }

    fn turn(rows: usize, k: usize, from: &[f32], stride: usize, to: &mut [f32]) {
        assert!(from.len() >= rows * k && rows <= stride && to.len() >= k * stride);
        lanes::run(isa::current(), Turn { rows, k, from, stride, to });
    }
}

struct Turn<'a> {
    rows: usize,
    k: usize,
    from: &'a [f32],
    stride: usize,
    to: &'a mut [f32],
}

impl Body for Turn<'_> {
    type Out = ();

    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Turn { rows, k, from, stride, to } = self;
        let (whole_rows, whole) = (rows / L::N * L::N, k / L::N * L::N);
        for j in (0..whole_rows).step_by(L::N) {
            for p in (0..whole).step_by(L::N) {
                // SAFETY: both squares of N rows and columns lie inside the slices, as `turn` asserts.
                unsafe {
                    l.transpose(
                        [L::N; 2],
                        from.as_ptr().add(j * k + p),
                        k,
                        to.as_mut_ptr().add(p * stride + j),
                        stride,
                    )
                };
            }
        }
        turn_plain(0..whole_rows, whole..k, k, from, stride, to);
        turn_plain(whole_rows..rows, 0..k, k, from, stride, to);
    }
}

/// Calls `each(row, rows, column, columns)` for squares of [`SIDE`] and what is left at the ends.
#[inline(always)]
fn blocks(m: usize, n: usize, mut each: impl FnMut(usize, usize, usize, usize)) {
    for column in (0..n).step_by(SIDE) {
        for row in (0..m).step_by(SIDE) {
            each(row, SIDE.min(m - row), column, SIDE.min(n - column));
        }
    }
}

#[inline(always)]
fn plain<T: Real>(
    first: usize,
    n: usize,
    q: &[T],
    out: &mut [T],
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
) {
    for i in row..row + rows {
        for j in column..column + columns {
            out[i * n + j] = q[(first + i) * n + j] + q[j * n + first + i];
        }
    }
}

struct Rows<'a> {
    first: usize,
    m: usize,
    n: usize,
    q: &'a [f32],
    out: &'a mut [f32],
}

impl Body for Rows<'_> {
    type Out = ();

    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Rows { first, m, n, q, out } = self;
        let mut turned = [0f32; SIDE * SIDE];
        blocks(m, n, |row, rows, column, columns| {
            if rows < SIDE || columns < SIDE || !SIDE.is_multiple_of(L::N) {
                return plain(first, n, q, out, row, rows, column, columns);
            }
            // The next rows of this strip of columns lie too far apart to be foreseen by the machine.
            for j in 0..SIDE {
                ask_for(q, (column + SIDE + j) * n + first + row);
            }
            for i in (0..SIDE).step_by(L::N) {
                for j in (0..SIDE).step_by(L::N) {
                    let from = &q[(column + j) * n + first + row + i..];
                    let to = &mut turned[i * SIDE + j..];
                    assert!(from.len() > (L::N - 1) * n + L::N - 1 && to.len() > (L::N - 1) * (SIDE + 1));
                    // SAFETY: both squares of N rows and columns lie inside the slices.
                    unsafe { l.transpose([L::N; 2], from.as_ptr(), n, to.as_mut_ptr(), SIDE) };
                }
            }
            for (i, turned) in turned.chunks_exact(SIDE).enumerate() {
                let q = &q[(first + row + i) * n + column..][..SIDE];
                let out = &mut out[(row + i) * n + column..][..SIDE];
                for j in (0..SIDE).step_by(L::N) {
                    // SAFETY: each slice has SIDE values, a multiple of the lanes.
                    unsafe {
                        let sum = l.add(l.load(q.as_ptr().add(j)), l.load(turned.as_ptr().add(j)));
                        l.store(out.as_mut_ptr().add(j), sum);
                    }
                }
            }
        });
    }
}
