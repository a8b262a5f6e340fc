//! An objective on several prefixes of the embeddings at once.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Refs};
use crate::context::{Context, Mixed};
use crate::error::{Error, require};
use crate::objective::Evaluated;

/// `Σ_k w_k · L(first d_k dimensions)`: the loss of the objective on prefixes of the embeddings, so that each prefix is an
/// embedding of its own.
///
/// References and proxies are cut to the same prefix, and gradients are added into the prefixes. A distance that normalises
/// does so for each prefix; sentence-transformers normalises prefixes in any case. What the batch held is reported for the
/// longest prefix. Memory: that of the objective at the longest prefix, and copies of the prefixes.
///
/// `dims` has no default. Default weights: 1 each. Kusupati et al., *Matryoshka Representation Learning*, NeurIPS 2022.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Matryoshka {
    /// Lengths of the prefixes, such as `[768, 256, 64]`; name the whole embedding too if its loss counts.
    pub dims: Vec<usize>,
    /// Weight of each prefix; empty for 1 each.
    pub weights: Vec<f64>,
}

impl Matryoshka {
    const NAME: &'static str = "matryoshka";

    /// Refuses lists that do not go together.
    pub fn check(&self) -> Result<(), Error> {
        let (dims, weights) = (self.dims.len() as f64, self.weights.len() as f64);
        require(dims > 0.0, Self::NAME, "dims", dims, "a list of at least one length")?;
        for &dim in &self.dims {
            require(dim > 0, Self::NAME, "dims", dim as f64, "lengths of at least 1")?;
        }
        let fits = weights == 0.0 || weights == dims;
        require(fits, Self::NAME, "weights", weights, "a list of one weight for each of `dims`")?;
        for &weight in &self.weights {
            let valid = weight >= 0.0 && weight.is_finite();
            require(valid, Self::NAME, "weights", weight, "finite numbers of at least 0")?;
        }
        Ok(())
    }

    /// Prefixes and their weights.
    pub fn prefixes(&self) -> impl Iterator<Item = (usize, f64)> {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        self.dims.iter().copied().zip(weights)
    }

    /// The weighted sum of `evaluate` over the prefixes.
    pub(crate) fn evaluate<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
        evaluate: impl Fn(&Batch<'_, T>, &Context<'_, T>) -> Result<Evaluated<T>, Error>,
    ) -> Result<Evaluated<T>, Error> {
        let dim = batch.dim;
        let longest = self.dims.iter().copied().max().unwrap_or(0);
        if longest > dim {
            return Err(Error::Prefix { prefix: longest, dim });
        }
        let mut total: Option<Evaluated<T>> = None;
        let mut widest = 0;
        for (k, (prefix, weight)) in self.prefixes().enumerate() {
            // Each prefix has its part of the state.
            let state = context.state.map(|state| {
                let each = state.len() / self.dims.len();
                &state[k * each..if k + 1 == self.dims.len() { state.len() } else { (k + 1) * each }]
            });
            let x = cut(batch.x, dim, prefix);
            let r = batch.refs.map(|refs| cut(refs.r, dim, prefix));
            let proxies = context.proxies.map(|proxies| cut(proxies, dim, prefix));
            let refs = batch.refs.zip(r.as_ref()).map(|(refs, r)| Refs { r, ..refs });
            let embeddings =
                context.mixed.map(|mixed| mixed.embeddings.map(|values| cut(values, dim, prefix)));
            let mixed = context
                .mixed
                .zip(embeddings.as_ref())
                .map(|(mixed, embeddings)| Mixed { embeddings: embeddings.as_deref(), ..mixed });
            let part = Batch { x: &x, dim: prefix, labels: batch.labels, refs };
            let found = evaluate(&part, &Context { proxies: proxies.as_deref(), state, mixed, ..*context })?;
            let total = total.get_or_insert_with(|| Evaluated {
                grad: vec![T::ZERO; batch.x.len()],
                ref_grad: found.ref_grad.as_ref().map(|g| vec![T::ZERO; g.len() / prefix * dim]),
                scalar_grad: vec![0.0; found.scalar_grad.len()],
                proxy_grad: vec![T::ZERO; found.proxy_grad.len() / prefix * dim],
                mixed_grad: vec![T::ZERO; found.mixed_grad.len() / prefix * dim],
                ..Evaluated::default()
            });
            total.state.extend(&found.state);
            total.value += weight * found.value;
            add(weight, &found.grad, prefix, &mut total.grad, dim);
            add(weight, &found.proxy_grad, prefix, &mut total.proxy_grad, dim);
            add(weight, &found.mixed_grad, prefix, &mut total.mixed_grad, dim);
            found.terms.iter().for_each(|&(name, value)| total.term(name, weight * value));
            if let (Some(to), Some(from)) = (&mut total.ref_grad, &found.ref_grad) {
                add(weight, from, prefix, to, dim);
            }
            total.scalar_grad.iter_mut().zip(&found.scalar_grad).for_each(|(to, g)| *to += weight * g);
            if prefix > widest {
                widest = prefix;
                total.stats = found.stats;
            }
        }
        total.ok_or(Error::Prefix { prefix: 0, dim })
    }
}

/// The first `prefix` values of each row; a last row that is not full is cut as far as it goes, so that its length is still
/// wrong.
fn cut<T: Copy>(values: &[T], dim: usize, prefix: usize) -> Vec<T> {
    values.chunks(dim.max(1)).flat_map(|row| &row[..prefix.min(row.len())]).copied().collect()
}

/// Adds `weight · from` `[rows, prefix]` to the first columns of `to` `[rows, dim]`.
fn add<T: Real>(weight: f64, from: &[T], prefix: usize, to: &mut [T], dim: usize) {
    let weight = T::of(weight);
    for (from, to) in from.chunks_exact(prefix).zip(to.chunks_exact_mut(dim)) {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to += weight * from);
    }
}

#[cfg(test)]
mod tests {
    use super::Matryoshka;

    #[test]
    fn lists_that_do_not_go_together_are_refused() {
        let matryoshka =
            |dims: &[usize], weights: &[f64]| Matryoshka { dims: dims.to_vec(), weights: weights.to_vec() };
        assert!(matryoshka(&[4, 2], &[]).check().is_ok() && matryoshka(&[4, 2], &[1.0, 0.5]).check().is_ok());
        for wrong in [matryoshka(&[], &[]), matryoshka(&[0], &[]), matryoshka(&[2], &[1.0, 2.0])] {
            assert!(wrong.check().is_err());
        }
        assert!(matryoshka(&[2], &[f64::NAN]).check().is_err());
    }
}
