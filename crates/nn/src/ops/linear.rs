use std::sync::Arc;

use parallax_kernels::activation::{self, Activation};
use parallax_kernels::linear::{Epilogue, Packed, Precision, bias_gradient, weight_gradient};

use super::array::{self, Array};
use super::graph::Operation;
use super::packs::{Slot, pack, stacked};

/// `y = act(x · Wᵀ + b) + residual`, with W and b of several layers one above another.
///
/// Inputs: x `[N, in]`, the weights `[outᵢ, in]` of every layer, its bias `[outᵢ]` if there is one, and the residual
/// `[N, Σ outᵢ]` if there is one.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub(super) layers: usize,
    pub(super) bias: bool,
    pub(super) residual: bool,
    pub(super) activation: Option<Activation>,
    pub(super) precision: Precision,
    /// Divides the inputs and multiplies the weights, in 8 bits.
    pub(super) smooth: Option<Arc<Vec<f32>>>,
    /// Where packed weights are kept between calls without gradients.
    pub(super) slot: Option<Slot>,
}

/// What [`Linear`] keeps.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    x: Array,
    weights: Vec<Array>,
    /// Values before the activation.
    before: Option<Array>,
}

impl Operation for Linear {
    type Kept = Kept;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Kept>) {
        let mut inputs = inputs.into_iter();
        let x = inputs.next().expect("x");
        let weights: Vec<Array> = inputs.by_ref().take(self.layers).collect();
        let biases: Vec<Array> = inputs.by_ref().take(if self.bias { self.layers } else { 0 }).collect();
        let residual = inputs.next();
        let bias: Option<std::borrow::Cow<'_, [f32]>> = match biases.as_slice() {
            [] => None,
            [one] => Some(one.values().into()),
            several => Some(several.iter().flat_map(|b| b.values()).copied().collect()),
        };
        let (m, n) = (x.dims().0, weights.iter().map(|w| w.dims().0).sum());
        let mut before = (keep && self.activation.is_some()).then(|| array::take(m * n));
        let mut y = array::take(m * n);
        let epilogue = Epilogue {
            bias: bias.as_deref(),
            activation: self.activation,
            keep: before.as_deref_mut(),
            residual: residual.as_ref().map(Array::values),
        };
        match &self.slot {
            Some(slot) if !keep => slot.with(&weights, self.precision, self.smooth.as_ref(), |packed| {
                packed.product(x.values(), m, epilogue, &mut y);
            }),
            _ => pack(&weights, self.precision, None).product(x.values(), m, epilogue, &mut y),
        }
        if let Some(residual) = residual {
            residual.give();
        }
        let kept = if keep {
            Some(Kept { x, weights, before: before.map(|values| Array::new(values, [m, n])) })
        } else {
            x.give();
            None
        };
        (Array::new(y, [m, n]), kept)
    }

    fn backward(&self, kept: Kept, gradient: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let Kept { x, weights, before } = kept;
        let ((m, k), n) = (x.dims(), gradient.dims().1);
        let mut results: Vec<Option<Array>> = wanted.iter().map(|_| None).collect();
        if self.residual {
            results[wanted.len() - 1] = wanted[wanted.len() - 1].then(|| gradient.clone());
        }
        // By the values before the activation.
        let gradient = match (self.activation, before) {
            (Some(kind), Some(before)) => {
                let mut inner = array::take(m * n);
                activation::backward(kind, before.values(), gradient.values(), &mut inner);
                before.give();
                gradient.give();
                Array::new(inner, [m, n])
            }
            _ => gradient,
        };
        let dy = gradient.values();
        if wanted[0] {
            let (w, _, _) = stacked(&weights);
            let mut dx = array::take(m * k);
            Packed::plain(&w, n, k, self.precision).product(dy, m, Epilogue::default(), &mut dx);
            results[0] = Some(Array::new(dx, [m, k]));
        }
        if wanted[1..=self.layers].contains(&true) {
            let mut dw = array::take(n * k);
            weight_gradient(dy, x.values(), m, n, k, self.precision, &mut dw);
            split(dw, k, &weights, |at, rows, values| {
                results[1 + at] = wanted[1 + at].then(|| Array::new(values, [rows, k]));
            });
        }
        if self.bias && wanted[1 + self.layers..=2 * self.layers].contains(&true) {
            let mut db = vec![0.0; n];
            bias_gradient(dy, m, n, &mut db);
            split(db, 1, &weights, |at, rows, values| {
                let at = 1 + self.layers + at;
                results[at] = wanted[at].then(|| Array::new(values, [rows]));
            });
        }
        gradient.give();
        x.give();
        results
    }
}

/// Gives each layer its rows of `width` values.
fn split(values: Vec<f32>, width: usize, weights: &[Array], mut each: impl FnMut(usize, usize, Vec<f32>)) {
    if weights.len() == 1 {
        return each(0, values.len() / width.max(1), values);
    }
    let mut from = 0;
    for (at, weight) in weights.iter().enumerate() {
        let rows = weight.dims().0;
        each(at, rows, values[from * width..(from + rows) * width].to_vec());
        from += rows;
    }
    array::give(values);
}
