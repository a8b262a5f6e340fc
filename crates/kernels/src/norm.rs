//! Layer norm over rows, with an optional residual, and its gradient.
//!
//! `s = x + residual`, `y = (s − μ) / √(σ² + ε) · γ + β`, with mean μ and biased variance σ² of the row (Ba, Kiros and
//! Hinton 2016, arXiv 1607.06450).

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};

/// Rows whose γ and β gradients are summed together; sums of blocks are then added in order.
const BLOCK: usize = 64;

/// `y = norm(x + residual) · γ + β` for x, y `[n, d]`, with d the length of γ.
///
/// `sum`, where given, keeps x + residual `[n, d]` (and x where there is no residual); `statistics` keeps the mean and
/// 1 / √(σ² + ε) of every row, `[n, 2]`. Runs on all threads of the current pool.
///
/// # Panics
/// If a slice does not have the length that its shape says, or d is 0.
pub fn layer_norm(
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    sum: Option<&mut [f32]>,
    y: &mut [f32],
    statistics: Option<&mut [f32]>,
) {
    forward_on(isa::current(), x, residual, gamma, beta, epsilon, sum, y, statistics);
}

/// The gradient of [`layer_norm`]: `dx` `[n, d]` by x and by the residual alike, `dgamma` and `dbeta` `[d]`.
///
/// `x` is what was normalised (the kept sum), `statistics` what the forward pass kept. With `x̂ = (x − μ)/σ` and
/// `g = dy · γ`: `dx = (g − mean(g) − x̂ · mean(g · x̂)) / σ`, `dγ = Σ dy · x̂`, `dβ = Σ dy`, summed over rows in blocks of 64
/// and over blocks in order. All three are overwritten.
///
/// # Panics
/// If a slice does not have the length that its shape says, or d is 0.
pub fn layer_norm_backward(
    x: &[f32],
    statistics: &[f32],
    gamma: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    backward_on(isa::current(), x, statistics, gamma, dy, dx, dgamma, dbeta);
}

struct Forward<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    sum: Option<&'a mut [f32]>,
    y: &'a mut [f32],
    statistics: Option<&'a mut [f32]>,
}

impl Body for Forward<'_> {
    type Out = ();
    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let d = self.gamma.len();
        let mut sum = self.sum.map(|sum| sum.chunks_exact_mut(d));
        let mut statistics = self.statistics.map(|s| s.chunks_exact_mut(2));
        let mut residual = self.residual.map(|r| r.chunks_exact(d));
        for (x, y) in self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d)) {
            match residual.as_mut().and_then(Iterator::next) {
                Some(residual) => lanes::map2(
                    l,
                    x,
                    residual,
                    y,
                    #[inline(always)]
                    |x, r| l.add(x, r),
                ),
                None => y.copy_from_slice(x),
            }
            if let Some(sum) = sum.as_mut().and_then(Iterator::next) {
                sum.copy_from_slice(y);
            }
            let (mean, inverse) = normalise(l, self.gamma, self.beta, self.epsilon, y);
            if let Some(row) = statistics.as_mut().and_then(Iterator::next) {
                row.copy_from_slice(&[mean, inverse]);
            }
        }
    }
}

/// Normalises a row in place; returns mean and 1/σ.
#[inline(always)]
pub(crate) fn normalise<L: Lanes>(
    l: L,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    y: &mut [f32],
) -> (f32, f32) {
    let d = y.len() as f32;
    let mean = lanes::total(
        l,
        y,
        #[inline(always)]
        |y| y,
    ) / d;
    // Two passes over a row that is in the first-level cache: the sum of squares would cancel where |μ| is large.
    lanes::update(
        l,
        y,
        #[inline(always)]
        |y| l.sub(y, l.splat(mean)),
    );
    let variance = lanes::total(
        l,
        y,
        #[inline(always)]
        |y| l.mul(y, y),
    ) / d;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    lanes::update2(
        l,
        gamma,
        beta,
        y,
        #[inline(always)]
        |gamma, beta, y| l.fma(l.mul(y, l.splat(inverse)), gamma, beta),
    );
    (mean, inverse)
}

fn forward_on(
    isa: Isa,
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    sum: Option<&mut [f32]>,
    y: &mut [f32],
    statistics: Option<&mut [f32]>,
) {
    let d = gamma.len();
    assert!(d > 0 && beta.len() == d && x.len().is_multiple_of(d), "layer norm of width {d}");
    let n = x.len() / d;
    assert!(
        y.len() == x.len()
            && residual.is_none_or(|r| r.len() == x.len())
            && sum.as_ref().is_none_or(|s| s.len() == x.len())
            && statistics.as_ref().is_none_or(|s| s.len() == 2 * n),
        "layer norm of {n} rows of {d}"
    );
    let (y, sum, statistics) = (Parts::new(y), sum.map(Parts::new), statistics.map(Parts::new));
    share::rows(n, d, |rows| {
        let span = rows.start * d..rows.end * d;
        // SAFETY: ranges of rows are disjoint.
        let (y, sum, statistics) = unsafe {
            (y.rows(&rows, d), sum.map(|s| s.rows(&rows, d)), statistics.map(|s| s.rows(&rows, 2)))
        };
        let body = Forward {
            x: &x[span.clone()],
            residual: residual.map(|r| &r[span]),
            gamma,
            beta,
            epsilon,
            sum,
            y,
            statistics,
        };
        lanes::run(isa, body);
    });
}

struct Backward<'a> {
    x: &'a [f32],
    statistics: &'a [f32],
    gamma: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    /// Sums for γ, then for β, over these rows.
    sums: &'a mut [f32],
}

impl Body for Backward<'_> {
    type Out = ();
    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Backward { x, statistics, gamma, dy, dx, sums } = self;
        let d = gamma.len();
        let (dgamma, dbeta) = sums.split_at_mut(d);
        let rows = x.chunks_exact(d).zip(statistics.chunks_exact(2)).zip(dy.chunks_exact(d));
        for (((x, statistics), dy), dx) in rows.zip(dx.chunks_exact_mut(d)) {
            let (mean, inverse) = (l.splat(statistics[0]), l.splat(statistics[1]));
            lanes::map2(
                l,
                dy,
                gamma,
                dx,
                #[inline(always)]
                |dy, gamma| l.mul(dy, gamma),
            );
            let even = lanes::total(
                l,
                dx,
                #[inline(always)]
                |g| g,
            ) / d as f32;
            // The tail of a row is read as 0, so that x − μ there is not 0; g is.
            let along = lanes::dot(
                l,
                x,
                dx,
                #[inline(always)]
                |x, g| l.mul(l.mul(l.sub(x, mean), inverse), g),
            ) / d as f32;
            let (even, along) = (l.splat(even), l.splat(along));
            lanes::update1(
                l,
                x,
                dx,
                #[inline(always)]
                |x, g| {
                    let unit = l.mul(l.sub(x, mean), inverse);
                    l.mul(l.sub(l.sub(g, even), l.mul(unit, along)), inverse)
                },
            );
            lanes::update2(
                l,
                x,
                dy,
                dgamma,
                #[inline(always)]
                |x, dy, sum| l.fma(l.mul(l.sub(x, mean), inverse), dy, sum),
            );
            lanes::update1(
                l,
                dy,
                dbeta,
                #[inline(always)]
                |dy, sum| l.add(dy, sum),
            );
        }
    }
}

fn backward_on(
    isa: Isa,
    x: &[f32],
    statistics: &[f32],
    gamma: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let d = gamma.len();
    assert!(
        d > 0 && dgamma.len() == d && dbeta.len() == d && x.len().is_multiple_of(d),
        "layer norm of width {d}"
    );
    let n = x.len() / d;
    assert!(
        dy.len() == x.len() && dx.len() == x.len() && statistics.len() == 2 * n,
        "layer norm of {n} rows of {d}"
    );
    let blocks = n.div_ceil(BLOCK);
    let mut sums = vec![0.0; blocks * 2 * d];
    let (parts, out) = (Parts::new(&mut sums), Parts::new(dx));
    share::jobs(blocks, n * d, |block| {
        let rows = block * BLOCK..n.min((block + 1) * BLOCK);
        let span = rows.start * d..rows.end * d;
        // SAFETY: blocks are disjoint.
        let (dx, sums) = unsafe { (out.rows(&rows, d), parts.rows(&(block..block + 1), 2 * d)) };
        let body = Backward {
            x: &x[span.clone()],
            statistics: &statistics[2 * rows.start..2 * rows.end],
            gamma,
            dy: &dy[span],
            dx,
            sums,
        };
        lanes::run(isa, body);
    });
    dgamma.fill(0.0);
    dbeta.fill(0.0);
    for block in sums.chunks_exact(2 * d) {
        dgamma.iter_mut().zip(&block[..d]).for_each(|(to, x)| *to += x);
        dbeta.iter_mut().zip(&block[d..]).for_each(|(to, x)| *to += x);
    }
}

#[cfg(test)]
mod tests;
