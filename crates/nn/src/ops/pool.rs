use std::sync::Arc;

use parallax_kernels::pool::{Mode, Pool as Kernel};

use super::array::{self, Array};
use super::graph::Operation;

/// The token states of each text to one vector, in the order of the batch.
///
/// Input: x `[N, D]`.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) mode: Mode,
    pub(super) offsets: Arc<[usize]>,
    /// Each text's place in the batch.
    pub(super) rows: Arc<[usize]>,
    /// Leading tokens of each text, in the order of the offsets, that do not count.
    pub(super) skipped: Option<Arc<[usize]>>,
}

/// What [`Pool`] keeps.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    x: Array,
    out: Array,
}

impl Pool {
    fn kernel(&self, width: usize) -> Kernel<'_> {
        Kernel { mode: self.mode, width, offsets: &self.offsets, skipped: self.skipped.as_deref() }
    }
}

impl Operation for Pool {
    type Kept = Kept;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Kept>) {
        let x = inputs.into_iter().next().expect("x");
        let (d, texts) = (x.dims().1, self.rows.len());
        let mut out = vec![0.0; texts * d];
        self.kernel(d).forward(x.values(), &mut out, None);
        let mut y = vec![0.0; texts * d];
        for (from, &row) in out.chunks_exact(d).zip(&*self.rows) {
            y[row * d..(row + 1) * d].copy_from_slice(from);
        }
        let kept = if keep {
            Some(Kept { x, out: Array::new(out, [texts, d]) })
        } else {
            x.give();
            None
        };
        (Array::new(y, [texts, d]), kept)
    }

    fn backward(&self, kept: Kept, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let Kept { x, out } = kept;
        let (n, d) = x.dims();
        let mut sorted = Vec::with_capacity(self.rows.len() * d);
        for &row in &*self.rows {
            sorted.extend_from_slice(&gradient.values()[row * d..(row + 1) * d]);
        }
        let mut dx = array::take(n * d);
        self.kernel(d).backward(x.values(), out.values(), None, &sorted, &mut dx);
        x.give();
        vec![Some(Array::new(dx, [n, d]))]
    }
}
