//! Softmax over rows and its gradient.

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};

/// `y = exp(x − max x) / Σ exp(x − max x)` for every row of x `[n, d]`.
///
/// A row of −∞ alone gives NaN. Runs on all threads of the current pool.
///
/// # Panics
/// If the slices differ in length, d is 0, or they do not hold whole rows.
pub fn softmax(x: &[f32], d: usize, y: &mut [f32]) {
    forward_on(isa::current(), x, d, y);
}

/// `dx = y · (dy − Σ y · dy)` for every row; `y` is the softmax.
///
/// # Panics
/// If the slices differ in length, d is 0, or they do not hold whole rows.
pub fn softmax_backward(y: &[f32], dy: &[f32], d: usize, dx: &mut [f32]) {
    backward_on(isa::current(), y, dy, d, dx);
}

fn check(len: usize, d: usize, other: usize) -> usize {
    assert!(d > 0 && len == other && len.is_multiple_of(d), "softmax over rows of {d}");
    len / d
}

fn forward_on(isa: Isa, x: &[f32], d: usize, y: &mut [f32]) {
    struct Forward<'a>(&'a [f32], usize, &'a mut [f32]);
    impl Body for Forward<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            for (x, y) in self.0.chunks_exact(self.1).zip(self.2.chunks_exact_mut(self.1)) {
                y.copy_from_slice(x);
                weights(l, y);
            }
        }
    }
    let n = check(x.len(), d, y.len());
    let y = Parts::new(y);
    share::rows(n, d, |rows| {
        // SAFETY: ranges of rows are disjoint.
        let to = unsafe { y.rows(&rows, d) };
        lanes::run(isa, Forward(&x[rows.start * d..rows.end * d], d, to));
    });
}

/// Softmax of a row in place; returns log Σ exp.
#[inline(always)]
pub(crate) fn weights<L: Lanes>(l: L, row: &mut [f32]) -> f32 {
    let top = lanes::largest(l, row);
    let sum = lanes::update_total(
        l,
        row,
        #[inline(always)]
        |x| lanes::exp(l, l.sub(x, l.splat(top))),
    );
    let inverse = l.splat(1.0 / sum);
    lanes::update(
        l,
        row,
        #[inline(always)]
        |x| l.mul(x, inverse),
    );
    top + sum.ln()
}

fn backward_on(isa: Isa, y: &[f32], dy: &[f32], d: usize, dx: &mut [f32]) {
    struct Backward<'a>(&'a [f32], &'a [f32], usize, &'a mut [f32]);
    impl Body for Backward<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            let Backward(y, dy, d, dx) = self;
            for ((y, dy), dx) in y.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
                let along = l.splat(lanes::dot(
                    l,
                    y,
                    dy,
                    #[inline(always)]
                    |y, dy| l.mul(y, dy),
                ));
                lanes::map2(
                    l,
                    y,
                    dy,
                    dx,
                    #[inline(always)]
                    |y, dy| l.mul(y, l.sub(dy, along)),
                );
            }
        }
    }
    let n = check(y.len(), d, dx.len());
    assert_eq!(dy.len(), y.len());
    let dx = Parts::new(dx);
    share::rows(n, d, |rows| {
        let span = rows.start * d..rows.end * d;
        // SAFETY: ranges of rows are disjoint.
        let to = unsafe { dx.rows(&rows, d) };
        lanes::run(isa, Backward(&y[span.clone()], &dy[span], d, to));
    });
}

#[cfg(test)]
mod tests;
