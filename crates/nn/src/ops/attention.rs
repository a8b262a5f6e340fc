use std::sync::Arc;

use parallax_kernels::attention::{Attention as Kernel, Bias, Rows, RowsMut};
use parallax_random::Key;

use super::array::{self, Array};
use super::graph::Operation;
use super::mask::attention_mask;

/// Scaled dot-product attention over texts without padding.
///
/// Inputs: queries, keys and values side by side `[N, 3 · H · d]`, and the bias `[H, 2 · reach − 1]` if there is one.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub(super) offsets: Arc<[usize]>,
    /// Each text's place in the whole batch.
    pub(super) rows: Arc<[usize]>,
    pub(super) heads: usize,
    pub(super) dropout: Option<(f64, Key)>,
}

/// What [`Attention`] keeps.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    projected: Array,
    bias: Option<Array>,
    out: Array,
    sums: Array,
}

impl Attention {
    fn with<R>(&self, width: usize, bias: Option<&Array>, run: impl FnOnce(&Kernel<'_>) -> R) -> R {
        let mask = self.dropout.map(|(p, key)| {
            move |text: usize, head: usize, query: usize, keys: &mut [f32]| {
                attention_mask(p, key, self.rows[text], head, query, keys);
            }
        });
        run(&Kernel {
            offsets: &self.offsets,
            heads: self.heads,
            size: width / self.heads,
            bias: bias.map(|bias| Bias { table: bias.values(), reach: bias.dims().1.div_ceil(2) }),
            dropout: mask.as_ref().map(|mask| mask as _),
        })
    }
}

impl Operation for Attention {
    type Kept = Kept;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Kept>) {
        let mut inputs = inputs.into_iter();
        let projected = inputs.next().expect("queries, keys and values");
        let bias = inputs.next();
        let (n, width) = (projected.dims().0, projected.dims().1 / 3);
        let mut out = array::take(n * width);
        let mut sums = keep.then(|| vec![0.0; n * self.heads]);
        self.with(width, bias.as_ref(), |kernel| {
            let [q, k, v] = Rows::thirds(projected.values(), width);
            kernel.forward(q, k, v, &mut out, sums.as_deref_mut());
        });
        let out = Array::new(out, [n, width]);
        let kept = match sums {
            Some(sums) => {
                Some(Kept { projected, bias, out: out.clone(), sums: Array::new(sums, [n, self.heads]) })
            }
            None => {
                projected.give();
                None
            }
        };
        (out, kept)
    }

    fn backward(&self, kept: Kept, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let Kept { projected, bias, out, sums } = kept;
        let (n, width) = out.dims();
        let mut inner = array::take(n * 3 * width);
        let mut by_bias = bias.as_ref().map(|bias| vec![0.0; bias.values().len()]);
        self.with(width, bias.as_ref(), |kernel| {
            kernel.backward(
                Rows::thirds(projected.values(), width),
                out.values(),
                sums.values(),
                gradient.values(),
                RowsMut::thirds(&mut inner, width),
                by_bias.as_deref_mut(),
            );
        });
        let mut results = vec![Some(Array::new(inner, [n, 3 * width]))];
        if let (Some(by_bias), Some(bias)) = (by_bias, bias) {
            let (rows, columns) = bias.dims();
            results.push(Some(Array::new(by_bias, [rows, columns])));
        }
        projected.give();
        out.give();
        gradient.give();
        results
    }
}
