use rayon::prelude::*;

use super::array::{self, Array};
use super::graph::Operation;

/// Rows that one thread works on at once.
const PIECE: usize = 16;

/// `y_k = x_kᵀ W_k` for the first `rows` rows, `y = x` for the rest; x_k is the k-th run of b values of a row.
///
/// Inputs: x `[N, D]`, W `[D / b, b, b]`.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    pub(super) rows: usize,
}

impl Operation for Blocks {
    type Kept = (Array, Array);

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Self::Kept>) {
        let mut inputs = inputs.into_iter();
        let (x, w) = (inputs.next().expect("x"), inputs.next().expect("W"));
        let (n, d) = x.dims();
        let b = w.dims().1;
        let mut y = array::take(n * d);
        let (xs, ws) = (x.values(), w.values());
        y.par_chunks_mut(PIECE * d).zip(xs.par_chunks(PIECE * d)).enumerate().for_each(|(piece, (y, x))| {
            for (at, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                if piece * PIECE + at >= self.rows {
                    y.copy_from_slice(x);
                    continue;
                }
                let parts = y.chunks_exact_mut(b).zip(x.chunks_exact(b)).zip(ws.chunks_exact(b * b));
                for ((y, x), w) in parts {
                    y.fill(0.0);
                    for (&x, w) in x.iter().zip(w.chunks_exact(b)) {
                        y.iter_mut().zip(w).for_each(|(y, &w)| *y += x * w);
                    }
                }
            }
        });
        (Array::new(y, [n, d]), keep.then_some((x, w)))
    }

    fn backward(&self, (x, w): Self::Kept, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let (n, d) = x.dims();
        let b = w.dims().1;
        let (xs, ws, gs) = (x.values(), w.values(), gradient.values());
        let mut dx = array::take(n * d);
        dx.par_chunks_mut(PIECE * d).zip(gs.par_chunks(PIECE * d)).enumerate().for_each(
            |(piece, (dx, g))| {
                for (at, (dx, g)) in dx.chunks_exact_mut(d).zip(g.chunks_exact(d)).enumerate() {
                    if piece * PIECE + at >= self.rows {
                        dx.copy_from_slice(g);
                        continue;
                    }
                    let parts = dx.chunks_exact_mut(b).zip(g.chunks_exact(b)).zip(ws.chunks_exact(b * b));
                    for ((dx, g), w) in parts {
                        for (dx, w) in dx.iter_mut().zip(w.chunks_exact(b)) {
                            *dx = w.iter().zip(g).map(|(&w, &g)| w * g).sum();
                        }
                    }
                }
            },
        );
        // Row i of block k gathers what component k · b + i of every mapped row brings.
        let mut dw = vec![0.0; d * b];
        let mapped = self.rows.min(n);
        dw.par_chunks_mut(b).with_min_len(PIECE).enumerate().for_each(|(at, dw)| {
            let from = at / b * b;
            for row in 0..mapped {
                let x = xs[row * d + at];
                let g = &gs[row * d + from..][..b];
                dw.iter_mut().zip(g).for_each(|(dw, &g)| *dw += x * g);
            }
        });
        gradient.give();
        x.give();
        vec![Some(Array::new(dx, [n, d])), Some(Array::new(dw, [d / b, b, b]))]
    }
}
