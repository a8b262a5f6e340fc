//! Sums of rows of tables, and the gradient by the tables.

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};
use crate::norm;
use crate::share::{self, Parts};

/// A table `[rows, d]` and which of its rows each token takes.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The table.
    pub table: &'a [f32],
    /// One row number per token.
    pub rows: &'a [u32],
}

/// Layer norm of the sum.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// γ `[d]`.
    pub gamma: &'a [f32],
    /// β `[d]`.
    pub beta: &'a [f32],
    /// ε.
    pub epsilon: f32,
}

/// `s = Σ tableⱼ[rowⱼ]` for every token, `y = s` or, with `norm`, its layer norm; y `[n, d]`.
///
/// With a norm, `sum` `[n, d]` keeps s and `statistics` `[n, 2]` the mean and 1 / √(σ² + ε), where given: the gradient of
/// the norm is [`norm::layer_norm_backward`]. Runs on all threads of the current pool.
///
/// # Panics
/// If a slice does not have the length that its shape says, or a row number is beyond its table.
pub fn gather(
    lookups: &[Lookup<'_>],
    d: usize,
    norm: Option<Norm<'_>>,
    sum: Option<&mut [f32]>,
    y: &mut [f32],
    statistics: Option<&mut [f32]>,
) {
    gather_on(isa::current(), lookups, d, norm, sum, y, statistics);
}

/// Adds every token's row of `dy` `[n, d]` to the row of `dtable` that it was taken from, in the order of the tokens.
///
/// # Panics
/// If a slice does not have the length that its shape says, or a row number is beyond the table.
pub fn scatter_add(rows: &[u32], d: usize, dy: &[f32], dtable: &mut [f32]) {
    scatter_add_on(isa::current(), rows, d, dy, dtable);
}

fn check(table: usize, rows: &[u32], d: usize) {
    assert!(d > 0 && table.is_multiple_of(d), "a table of rows of {d}");
    let top = rows.iter().max().copied();
    assert!(top.is_none_or(|top| (top as usize) < table / d), "row {top:?} of a table of {}", table / d);
}

struct Tokens<'a> {
    lookups: &'a [Lookup<'a>],
    first: usize,
    norm: Option<Norm<'a>>,
    sum: Option<&'a mut [f32]>,
    y: &'a mut [f32],
    statistics: Option<&'a mut [f32]>,
    d: usize,
}

impl Body for Tokens<'_> {
    type Out = ();
    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Tokens { lookups, first, norm, mut sum, y, mut statistics, d } = self;
        for (at, y) in y.chunks_exact_mut(d).enumerate() {
            let row = |j: usize| {
                let start = lookups[j].rows[first + at] as usize * d;
                &lookups[j].table[start..start + d]
            };
            match lookups.len() {
                0 => y.fill(0.0),
                1 => y.copy_from_slice(row(0)),
                2 => lanes::map2(
                    l,
                    row(0),
                    row(1),
                    y,
                    #[inline(always)]
                    |a, b| l.add(a, b),
                ),
                more => {
                    lanes::map2(
                        l,
                        row(0),
                        row(1),
                        y,
                        #[inline(always)]
                        |a, b| l.add(a, b),
                    );
                    for j in 2..more {
                        lanes::update1(
                            l,
                            row(j),
                            y,
                            #[inline(always)]
                            |x, sum| l.add(sum, x),
                        );
                    }
                }
            }
            if let Some(sum) = &mut sum {
                sum[at * d..(at + 1) * d].copy_from_slice(y);
            }
            if let Some(Norm { gamma, beta, epsilon }) = norm {
                let (mean, inverse) = norm::normalise(l, gamma, beta, epsilon, y);
                if let Some(statistics) = &mut statistics {
                    statistics[2 * at..2 * at + 2].copy_from_slice(&[mean, inverse]);
                }
            }
        }
    }
}

fn gather_on(
    isa: Isa,
    lookups: &[Lookup<'_>],
    d: usize,
    norm: Option<Norm<'_>>,
    sum: Option<&mut [f32]>,
    y: &mut [f32],
    statistics: Option<&mut [f32]>,
) {
    assert!(d > 0 && y.len().is_multiple_of(d), "rows of {d}");
    let n = y.len() / d;
    for lookup in lookups {
        assert_eq!(lookup.rows.len(), n, "one row number per token");
        check(lookup.table.len(), lookup.rows, d);
    }
    assert!(
        norm.is_none_or(|norm| norm.gamma.len() == d && norm.beta.len() == d)
            && sum.as_ref().is_none_or(|s| s.len() == n * d)
            && statistics.as_ref().is_none_or(|s| s.len() == 2 * n),
        "embeddings of {n} tokens of {d}"
    );
    let (y, sum, statistics) = (Parts::new(y), sum.map(Parts::new), statistics.map(Parts::new));
    share::rows(n, d, |rows| {
        // SAFETY: ranges of rows are disjoint.
        let (y, sum, statistics) = unsafe {
            (y.rows(&rows, d), sum.map(|s| s.rows(&rows, d)), statistics.map(|s| s.rows(&rows, 2)))
        };
        lanes::run(isa, Tokens { lookups, first: rows.start, norm, sum, y, statistics, d });
    });
}

fn scatter_add_on(isa: Isa, rows: &[u32], d: usize, dy: &[f32], dtable: &mut [f32]) {
    /// Columns that one thread adds up: every thread sees all tokens, in order.
    const COLUMNS: usize = 128;
    struct Columns<'a> {
        rows: &'a [u32],
        d: usize,
        dy: &'a [f32],
        dtable: Parts<'a>,
        columns: std::ops::Range<usize>,
    }
    impl Body for Columns<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            let Columns { rows, d, dy, dtable, columns } = self;
            for (dy, &row) in dy.chunks_exact(d).zip(rows) {
                let start = row as usize * d;
                // SAFETY: the columns belong to this job alone.
                let to = unsafe { dtable.part(start + columns.start..start + columns.end) };
                lanes::update1(
                    l,
                    &dy[columns.clone()],
                    to,
                    #[inline(always)]
                    |x, sum| l.add(sum, x),
                );
            }
        }
    }
    check(dtable.len(), rows, d);
    assert_eq!(dy.len(), rows.len() * d, "one row per token");
    let dtable = Parts::new(dtable);
    share::jobs(d.div_ceil(COLUMNS), dy.len(), |at| {
        let columns = at * COLUMNS..d.min((at + 1) * COLUMNS);
        lanes::run(isa, Columns { rows, d, dy, dtable, columns });
    });
}

#[cfg(test)]
mod tests;
