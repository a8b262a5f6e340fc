//! From the rows of each text to one vector, and division of vectors by their lengths.
//!
//! Text t is rows `offsets[t]..offsets[t + 1]` of x `[N, d]`; its first `skipped[t]` rows (a prompt) may be left out.

use std::ops::Range;

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};

/// How the rows h₁ … h_L of a text become its vector. With rows skipped, counting begins after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The first row.
    Cls,
    /// The last row.
    Last,
    /// (1/L) Σ hₜ.
    Mean,
    /// Σ hₜ / √L.
    MeanSqrtLength,
    /// Σ t · hₜ / Σ t, with t from 1 at the text's first row, skipped or not.
    WeightedMean,
    /// The largest value of each unit.
    Max,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cls, Self::Last, Self::Mean, Self::MeanSqrtLength, Self::WeightedMean, Self::Max];
}

/// Texts to be pooled.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// What is computed.
    pub mode: Mode,
    /// Width of a row.
    pub width: usize,
    /// Where each text begins, and where the last ends.
    pub offsets: &'a [usize],
    /// Leading rows of each text that do not count.
    pub skipped: Option<&'a [usize]>,
}

impl Pool<'_> {
    /// Leaves one vector per text in `out` `[T, d]`; with `norms` `[T]`, divided by `max(‖·‖₂, 1e-12)`, which is kept.
    ///
    /// A text of no rows, or all of whose rows are skipped, gives zeros, except that `Cls` then takes the first and `Last`
    /// the last of the rows that there are.
    ///
    /// # Panics
    /// If offsets do not ascend or a slice does not have the length that its shape says.
    pub fn forward(&self, x: &[f32], out: &mut [f32], norms: Option<&mut [f32]>) {
        self.forward_on(isa::current(), x, out, norms);
    }

    /// The gradient by x `[N, d]` from that by the result: all rows of texts are overwritten, others left.
    ///
    /// `norms`, where the result was divided by lengths, and `out`, which is then read (and for `Max` always), are what
    /// [`Self::forward`] left. Where several rows hold the largest value, the gradient goes to the first.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn backward(&self, x: &[f32], out: &[f32], norms: Option<&[f32]>, dout: &[f32], dx: &mut [f32]) {
        self.backward_on(isa::current(), x, out, norms, dout, dx);
    }

    fn check(&self, x: usize, out: usize) -> usize {
        let texts = self.offsets.len().saturating_sub(1);
        assert!(self.offsets.is_sorted(), "offsets of texts must ascend");
        assert!(
            x >= self.offsets.last().copied().unwrap_or(0) * self.width && out == texts * self.width,
            "pooling of {texts} texts of width {}",
            self.width
        );
        assert!(self.skipped.is_none_or(|s| s.len() == texts), "one number of skipped rows per text");
        texts
    }

    /// The rows of a text that count, and what its vector is then multiplied with (not for the weighted mean).
    fn counted(&self, text: usize) -> (Range<usize>, f32) {
        let all = self.offsets[text]..self.offsets[text + 1];
        let skipped = self.skipped.map_or(0, |s| s[text]).min(all.len());
        let rows = all.start + skipped..all.end;
        let n = rows.len() as f32;
        match self.mode {
            Mode::Cls if rows.is_empty() => (all.start..all.start + all.len().min(1), 1.0),
            Mode::Cls => (rows.start..rows.start + 1, 1.0),
            Mode::Last => (all.end - all.len().min(1)..all.end, 1.0),
            Mode::Mean if rows.is_empty() => (rows, 0.0),
            Mode::Mean => (rows, 1.0 / n),
            Mode::MeanSqrtLength if rows.is_empty() => (rows, 0.0),
            Mode::MeanSqrtLength => (rows, 1.0 / n.sqrt()),
            Mode::WeightedMean | Mode::Max => (rows, 1.0),
        }
    }

    /// The weight of each row of the weighted mean.
    fn weight(&self, text: usize, rows: &Range<usize>, row: usize) -> f32 {
        let start = self.offsets[text];
        let (first, last) = (rows.start - start + 1, rows.end - start);
        let total = ((first + last) * rows.len() / 2) as f32;
        (row - start + 1) as f32 / total
    }

    fn forward_on(&self, isa: Isa, x: &[f32], out: &mut [f32], norms: Option<&mut [f32]>) {
        struct Texts<'a>(&'a Pool<'a>, Range<usize>, &'a [f32], &'a mut [f32], Option<&'a mut [f32]>);
        impl Body for Texts<'_> {
            type Out = ();
            #[inline(always)]
            fn call<L: Lanes>(self, l: L) {
                let Texts(pool, texts, x, out, mut norms) = self;
                let d = pool.width;
                for (at, text) in texts.enumerate() {
                    let out = &mut out[at * d..(at + 1) * d];
                    pool.text(l, text, x, out);
                    if let Some(norms) = &mut norms {
                        let square = lanes::total(
                            l,
                            out,
                            #[inline(always)]
                            |x| l.mul(x, x),
                        );
                        norms[at] = length(square);
                        let inverse = l.splat(1.0 / norms[at]);
                        lanes::update(
                            l,
                            out,
                            #[inline(always)]
                            |x| l.mul(x, inverse),
                        );
                    }
                }
            }
        }
        let texts = self.check(x.len(), out.len());
        assert!(norms.as_ref().is_none_or(|n| n.len() == texts), "one norm per text");
        let (out, norms) = (Parts::new(out), norms.map(Parts::new));
        self.blocks(texts, |texts| {
            // SAFETY: ranges of texts are disjoint.
            let (out, norms) =
                unsafe { (out.rows(&texts, self.width), norms.map(|n| n.part(texts.clone()))) };
            lanes::run(isa, Texts(self, texts, x, out, norms));
        });
    }

    fn blocks(&self, texts: usize, job: impl Fn(Range<usize>) + Sync) {
        let rows = self.offsets.last().map_or(0, |last| last - self.offsets[0]);
        share::rows(texts, (rows * self.width).div_ceil(texts.max(1)), job);
    }

    #[inline(always)]
    fn text<L: Lanes>(&self, l: L, text: usize, x: &[f32], out: &mut [f32]) {
        let d = self.width;
        let row = |r: usize| &x[r * d..(r + 1) * d];
        let (rows, factor) = self.counted(text);
        if rows.is_empty() {
            out.fill(0.0);
            return;
        }
        match self.mode {
            Mode::Cls | Mode::Last => out.copy_from_slice(row(rows.start)),
            Mode::Mean | Mode::MeanSqrtLength => {
                out.copy_from_slice(row(rows.start));
                for r in rows.start + 1..rows.end {
                    lanes::update1(
                        l,
                        row(r),
                        out,
                        #[inline(always)]
                        |x, sum| l.add(sum, x),
                    );
                }
                lanes::update(
                    l,
                    out,
                    #[inline(always)]
                    |x| l.mul(x, l.splat(factor)),
                );
            }
            Mode::WeightedMean => {
                out.fill(0.0);
                for r in rows.clone() {
                    let weight = l.splat(self.weight(text, &rows, r));
                    lanes::update1(
                        l,
                        row(r),
                        out,
                        #[inline(always)]
                        |x, sum| l.fma(x, weight, sum),
                    );
                }
            }
            Mode::Max => {
                out.copy_from_slice(row(rows.start));
                for r in rows.start + 1..rows.end {
                    lanes::update1(
                        l,
                        row(r),
                        out,
                        #[inline(always)]
                        |x, top| l.max(x, top),
                    );
                }
            }
        }
    }

    fn backward_on(
        &self,
        isa: Isa,
        x: &[f32],
        out: &[f32],
        norms: Option<&[f32]>,
        dout: &[f32],
        dx: &mut [f32],
    ) {
        let texts = self.check(x.len(), out.len());
        assert!(
            dout.len() == out.len() && dx.len() == x.len() && norms.is_none_or(|n| n.len() == texts),
            "the gradient of pooling {texts} texts of width {}",
            self.width
        );
        struct Texts<'a> {
            pool: &'a Pool<'a>,
            texts: Range<usize>,
            x: &'a [f32],
            out: &'a [f32],
            norms: Option<&'a [f32]>,
            dout: &'a [f32],
            dx: &'a mut [f32],
        }
        impl Body for Texts<'_> {
            type Out = ();
            #[inline(always)]
            fn call<L: Lanes>(self, l: L) {
                let Texts { pool, texts, x, out, norms, dout, dx } = self;
                let d = pool.width;
                let base = pool.offsets[texts.start];
                let mut slope = vec![0.0; d];
                let mut pooled = vec![0.0; d];
                for text in texts {
                    let span = text * d..(text + 1) * d;
                    pooled.copy_from_slice(&out[span.clone()]);
                    match norms {
                        Some(norms) => {
                            direction(l, &out[span.clone()], norms[text], &dout[span], &mut slope);
                            pooled.iter_mut().for_each(|p| *p *= norms[text]);
                        }
                        None => slope.copy_from_slice(&dout[span]),
                    }
                    let all = pool.offsets[text]..pool.offsets[text + 1];
                    let (rows, factor) = pool.counted(text);
                    let dx = &mut dx[(all.start - base) * d..(all.end - base) * d];
                    let inside = (rows.start - all.start) * d..(rows.end - all.start) * d;
                    dx[..inside.start].fill(0.0);
                    dx[inside.end..].fill(0.0);
                    if pool.mode == Mode::Max {
                        let x = &x[rows.start * d..rows.end * d];
                        first_largest(d, x, &slope, &mut dx[inside]);
                        continue;
                    }
                    for (r, dx) in rows.clone().zip(dx[inside].chunks_exact_mut(d.max(1))) {
                        let factor = match pool.mode {
                            Mode::WeightedMean => pool.weight(text, &rows, r),
                            _ => factor,
                        };
                        lanes::map(
                            l,
                            &slope,
                            dx,
                            #[inline(always)]
                            |slope| l.mul(slope, l.splat(factor)),
                        );
                    }
                }
            }
        }
        let dx = Parts::new(dx);
        self.blocks(texts, |texts| {
            let rows = self.offsets[texts.start]..self.offsets[texts.end];
            // SAFETY: ranges of texts are disjoint, and so are their rows.
            let dx = unsafe { dx.rows(&rows, self.width) };
            lanes::run(isa, Texts { pool: self, texts, x, out, norms, dout, dx });
        });
    }
}

/// Gives each unit's slope to the first row that holds the largest value, and 0 to the others.
fn first_largest(d: usize, x: &[f32], slope: &[f32], dx: &mut [f32]) {
    for unit in 0..d {
        let mut top = 0;
        for r in 1..x.len() / d {
            if x[r * d + unit] > x[top * d + unit] {
                top = r;
            }
        }
        for r in 0..x.len() / d {
            dx[r * d + unit] = if r == top { slope[unit] } else { 0.0 };
        }
    }
}

fn length(square: f32) -> f32 {
    square.max(1e-24).sqrt()
}

/// `dx = (dy − y (y · dy)) / ‖x‖`; beside 0, where the divisor is constant, without the second term.
#[inline(always)]
fn direction<L: Lanes>(l: L, y: &[f32], norm: f32, dy: &[f32], dx: &mut [f32]) {
    let along = if norm > 1e-12 {
        lanes::dot(
            l,
            y,
            dy,
            #[inline(always)]
            |y, dy| l.mul(y, dy),
        )
    } else {
        0.0
    };
    let (along, inverse) = (l.splat(-along), l.splat(1.0 / norm));
    lanes::map2(
        l,
        y,
        dy,
        dx,
        #[inline(always)]
        |y, dy| l.mul(l.fma(y, along, dy), inverse),
    );
}

/// `y = x / max(‖x‖₂, 1e-12)` for every row of x `[n, d]`; keeps the divisors in `norms` `[n]`.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn normalize(x: &[f32], d: usize, y: &mut [f32], norms: &mut [f32]) {
    normalize_on(isa::current(), x, d, y, norms);
}

/// The gradient of [`normalize`]: `dx = (dy − y (y · dy)) / ‖x‖`, from its result and its divisors.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn normalize_backward(y: &[f32], norms: &[f32], dy: &[f32], dx: &mut [f32]) {
    normalize_backward_on(isa::current(), y, norms, dy, dx);
}

fn normalize_on(isa: Isa, x: &[f32], d: usize, y: &mut [f32], norms: &mut [f32]) {
    struct Forward<'a>(&'a [f32], usize, &'a mut [f32], &'a mut [f32]);
    impl Body for Forward<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            let Forward(x, d, y, norms) = self;
            for ((x, y), norm) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(norms) {
                *norm = length(lanes::total(
                    l,
                    x,
                    #[inline(always)]
                    |x| l.mul(x, x),
                ));
                let inverse = l.splat(1.0 / *norm);
                lanes::map(
                    l,
                    x,
                    y,
                    #[inline(always)]
                    |x| l.mul(x, inverse),
                );
            }
        }
    }
    let n = norms.len();
    assert!(d > 0 && x.len() == n * d && y.len() == n * d, "{n} rows of {d}");
    let (y, norms) = (Parts::new(y), Parts::new(norms));
    share::rows(n, d, |rows| {
        // SAFETY: ranges of rows are disjoint.
        let (y, norms) = unsafe { (y.rows(&rows, d), norms.part(rows.clone())) };
        lanes::run(isa, Forward(&x[rows.start * d..rows.end * d], d, y, norms));
    });
}

fn normalize_backward_on(isa: Isa, y: &[f32], norms: &[f32], dy: &[f32], dx: &mut [f32]) {
    struct Backward<'a>(&'a [f32], &'a [f32], &'a [f32], usize, &'a mut [f32]);
    impl Body for Backward<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            let Backward(y, norms, dy, d, dx) = self;
            let rows = y.chunks_exact(d).zip(norms).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
            for (((y, norm), dy), dx) in rows {
                direction(l, y, *norm, dy, dx);
            }
        }
    }
    let n = norms.len();
    if n == 0 {
        return;
    }
    let d = y.len() / n;
    assert!(d > 0 && y.len() == n * d && dy.len() == n * d && dx.len() == n * d, "{n} rows of {d}");
    let dx = Parts::new(dx);
    share::rows(n, d, |rows| {
        let span = rows.start * d..rows.end * d;
        // SAFETY: ranges of rows are disjoint.
        let to = unsafe { dx.rows(&rows, d) };
        lanes::run(isa, Backward(&y[span.clone()], &norms[rows], &dy[span], d, to));
    });
}

#[cfg(test)]
mod tests;
