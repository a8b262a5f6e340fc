use parallax_kernels::norm::{layer_norm, layer_norm_backward};
use parallax_kernels::pool;

use super::array::{self, Array};
use super::graph::Operation;
use super::mask::Mask;

/// `y = norm(mask · x + residual) · γ + β`.
///
/// Inputs: x `[N, D]`, the residual `[N, D]` if there is one, γ `[D]`, β `[D]`.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub(super) residual: bool,
    pub(super) mask: Option<Mask>,
    pub(super) epsilon: f64,
}

/// What [`Norm`] keeps.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    sum: Array,
    statistics: Array,
    gamma: Array,
}

impl Operation for Norm {
    type Kept = Kept;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Kept>) {
        let mut inputs = inputs.into_iter();
        let mut x = inputs.next().expect("x");
        let residual = self.residual.then(|| inputs.next().expect("residual"));
        let (gamma, beta) = (inputs.next().expect("γ"), inputs.next().expect("β"));
        let (n, d) = x.dims();
        if let Some(mask) = &self.mask {
            let mut values = x.into_values();
            mask.apply(&mut values, d);
            x = Array::new(values, [n, d]);
        }
        let mut y = array::take(n * d);
        let mut sum = (keep && self.residual).then(|| array::take(n * d));
        let mut statistics = keep.then(|| vec![0.0; 2 * n]);
        layer_norm(
            x.values(),
            residual.as_ref().map(Array::values),
            gamma.values(),
            beta.values(),
            self.epsilon as f32,
            sum.as_deref_mut(),
            &mut y,
            statistics.as_deref_mut(),
        );
        if let Some(residual) = residual {
            residual.give();
        }
        let kept = statistics.map(|statistics| {
            let sum = match sum {
                Some(sum) => Array::new(sum, [n, d]),
                None => x.clone(),
            };
            Kept { sum, statistics: Array::new(statistics, [n, 2]), gamma }
        });
        x.give();
        (Array::new(y, [n, d]), kept)
    }

    fn backward(&self, kept: Kept, gradient: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let Kept { sum, statistics, gamma } = kept;
        let (n, d) = sum.dims();
        let mut dx = array::take(n * d);
        let (mut dgamma, mut dbeta) = (vec![0.0; d], vec![0.0; d]);
        layer_norm_backward(
            sum.values(),
            statistics.values(),
            gamma.values(),
            gradient.values(),
            &mut dx,
            &mut dgamma,
            &mut dbeta,
        );
        sum.give();
        gradient.give();
        let by_sum = Array::new(dx, [n, d]);
        let by_x = match &self.mask {
            Some(mask) if wanted[0] => {
                let mut values = by_sum.clone().into_values();
                mask.apply(&mut values, d);
                Array::new(values, [n, d])
            }
            _ => by_sum.clone(),
        };
        let mut results = vec![Some(by_x)];
        if self.residual {
            results.push(Some(by_sum));
        }
        results.push(Some(Array::new(dgamma, [d])));
        results.push(Some(Array::new(dbeta, [d])));
        results
    }
}

/// `x / max(‖x‖₂, 1e-12)` per row.
#[derive(Clone, Debug)]
pub(super) struct Normalize;

impl Operation for Normalize {
    /// The result, and the lengths.
    type Kept = (Array, Array);

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Self::Kept>) {
        let x = inputs.into_iter().next().expect("x");
        let (n, d) = x.dims();
        let (mut y, mut norms) = (array::take(n * d), vec![0.0; n]);
        pool::normalize(x.values(), d, &mut y, &mut norms);
        x.give();
        let y = Array::new(y, [n, d]);
        (y.clone(), keep.then(|| (y, Array::new(norms, [n]))))
    }

    fn backward(&self, (y, norms): Self::Kept, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let (n, d) = y.dims();
        let mut dx = array::take(n * d);
        pool::normalize_backward(y.values(), norms.values(), gradient.values(), &mut dx);
        gradient.give();
        vec![Some(Array::new(dx, [n, d]))]
    }
}
