//! Products of small matrices in registers.

use crate::lanes::Lanes;

/// A factor: element (row, column) at `start + row · row + column · column`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) start: *const f32,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Rows of consecutive values.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub(super) start: *const f32,
    pub(super) row: usize,
}

/// Rows of consecutive values to be written, or added to.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) start: *mut f32,
    pub(super) row: usize,
    pub(super) add: bool,
}

impl Out {
    pub(super) fn read(&self) -> Right {
        Right { start: self.start, row: self.row }
    }
}

/// `c[m, n] = a[m, k] · b[k, n]`, plus c where `c.add`. Each sum runs over k in order, whatever m and n are.
///
/// # Safety
/// All elements of the three matrices can be read, those of c written, and c overlaps neither factor.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes>(l: L, [m, n, k]: [usize; 3], a: Left, b: Right, c: Out) {
    let mut j = 0;
    // SAFETY: the caller's promise, column block by column block.
    unsafe {
        while j + 2 * L::N <= n {
            columns::<L, 2, false>(l, m, k, 0, a, b, c, j);
            j += 2 * L::N;
        }
        let left = n - j;
        if left > L::N {
            columns::<L, 2, true>(l, m, k, left - L::N, a, b, c, j);
        } else if left == L::N {
            columns::<L, 1, false>(l, m, k, 0, a, b, c, j);
        } else if left > 0 {
            columns::<L, 1, true>(l, m, k, left, a, b, c, j);
        }
    }
}

/// `V` vectors of columns from column `j`; the last vector has `part` columns where `PART`.
#[inline(always)]
unsafe fn columns<L: Lanes, const V: usize, const PART: bool>(
    l: L,
    m: usize,
    k: usize,
    part: usize,
    a: Left,
    b: Right,
    c: Out,
    j: usize,
) {
    // SAFETY: the caller's promise, rows by rows.
    unsafe {
        let b = Right { start: b.start.add(j), ..b };
        let mut i = 0;
        let mut rows = |rows: usize| {
            let at = i;
            i += rows;
            (Left { start: a.start.add(at * a.row), ..a }, Out { start: c.start.add(at * c.row + j), ..c })
        };
        let mut left = m;
        if L::MANY {
            while left >= 8 {
                let (a, c) = rows(8);
                registers::<L, 8, V, PART>(l, k, part, a, b, c);
                left -= 8;
            }
        }
        while left >= 4 {
            let (a, c) = rows(4);
            registers::<L, 4, V, PART>(l, k, part, a, b, c);
            left -= 4;
        }
        if left >= 2 {
            let (a, c) = rows(2);
            registers::<L, 2, V, PART>(l, k, part, a, b, c);
            left -= 2;
        }
        if left == 1 {
            let (a, c) = rows(1);
            registers::<L, 1, V, PART>(l, k, part, a, b, c);
        }
    }
}

/// `M` rows and `V` vectors of columns, whose sums stay in registers.
#[inline(always)]
unsafe fn registers<L: Lanes, const M: usize, const V: usize, const PART: bool>(
    l: L,
    k: usize,
    part: usize,
    a: Left,
    b: Right,
    c: Out,
) {
    // SAFETY: the caller's promise; the last vector is read and written up to `part` where `PART`.
    unsafe {
        let mut sums = [[l.splat(0.0); V]; M];
        if c.add {
            for i in 0..M {
                sums[i] = load::<L, V, PART>(l, part, c.start.add(i * c.row));
            }
        }
        for p in 0..k {
            let row = b.start.add(p * b.row);
            let values = load::<L, V, PART>(l, part, row);
            for i in 0..M {
                let x = l.splat(*a.start.add(i * a.row + p * a.column));
                for v in 0..V {
                    sums[i][v] = l.fma(x, values[v], sums[i][v]);
                }
            }
        }
        for i in 0..M {
            for v in 0..V {
                let p = c.start.add(i * c.row + v * L::N);
                if PART && v == V - 1 { l.store_part(p, part, sums[i][v]) } else { l.store(p, sums[i][v]) }
            }
        }
    }
}

/// `V` vectors of a row; the last one has `part` values where `PART`.
#[inline(always)]
unsafe fn load<L: Lanes, const V: usize, const PART: bool>(l: L, part: usize, p: *const f32) -> [L::V; V] {
    let mut values = [l.splat(0.0); V];
    for v in 0..V {
        // SAFETY: the caller's promise.
        unsafe {
            let p = p.add(v * L::N);
            values[v] = if PART && v == V - 1 { l.load_part(p, part) } else { l.load(p) };
        }
    }
    values
}

/// `to[r, c] = from[r, c]` for `rows` rows of `columns` values.
///
/// # Safety
/// All of `from` can be read and all of `to` written.
#[inline(always)]
pub(super) unsafe fn copy<L: Lanes>(
    l: L,
    [rows, columns]: [usize; 2],
    from: Right,
    to: *mut f32,
    to_row: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for r in 0..rows {
            let (from, to) = (from.start.add(r * from.row), to.add(r * to_row));
            let whole = columns / L::N * L::N;
            for c in (0..whole).step_by(L::N) {
                l.store(to.add(c), l.load(from.add(c)));
            }
            if whole < columns {
                let left = columns - whole;
                l.store_part(to.add(whole), left, l.load_part(from.add(whole), left));
            }
        }
    }
}

/// `to[c, r] = from[r, c]` for `rows` rows of `columns` values; the columns of `to` from `rows` up to the next multiple of
/// 16 become 0.
///
/// # Safety
/// All of `from` can be read, and `columns` rows of `to`, up to that multiple, written.
#[inline(always)]
pub(super) unsafe fn transpose<L: Lanes>(
    l: L,
    [rows, columns]: [usize; 2],
    from: *const f32,
    from_row: usize,
    to: *mut f32,
    to_row: usize,
) {
    // SAFETY: the caller's promise; blocks end where the matrix does.
    unsafe {
        for r in (0..rows.next_multiple_of(16)).step_by(L::N) {
            for c in (0..columns).step_by(L::N) {
                let size = [L::N.min(rows.saturating_sub(r)), L::N.min(columns - c)];
                let from = from.wrapping_add(r * from_row + c);
                l.transpose(size, from, from_row, to.add(c * to_row + r), to_row);
            }
        }
    }
}
