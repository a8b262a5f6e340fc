//! One pair of each class against those of the others.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DenseLoss;
use crate::batch::{Batch, Refs, check_values};
use crate::context::Context;
use crate::distance::{DistanceConfig, Dot};
use crate::error::Error;
use crate::loss::softmax::{log_sum_exp, softplus};
use crate::objective::{Evaluated, evaluate_row};
use crate::parts::Parts;
use crate::relation::Own;
use crate::row::{Row, RowLoss, Slopes};
use crate::tiling::{Extra, Shape};

/// `−log( e^(a_c·p_c) / Σ_k e^(a_c·p_k) )`, one element a class with at least two members, whose first is the anchor `a_c` and
/// whose second the positive `p_c`; a distance enters with its sign turned. It has no parameter.
///
/// The other members of a class do not take part, so batches with two items a class lose nothing. Defaults: inner product
/// of the embeddings as they are, mean. Sohn, *Improved Deep Metric Learning with Multi-class N-pair Loss Objective*, NIPS
/// 2016; its penalty on the lengths is [`LpNorm`](crate::regularizer::LpNorm) with power 2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NPairs {}

impl DenseLoss for NPairs {
    const NAME: &'static str = "n_pairs";
    const ITSELF: bool = true;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::Dot(Dot::default())
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_miner(Self::NAME)
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        if batch.refs.is_some() {
            return Err(Error::NeedsItself { loss: Self::NAME });
        }
        let (rows, dim) = (batch.labels.len(), batch.dim);
        if rows == 0 || dim == 0 {
            return Err(Error::EmptyBatch { rows, dim });
        }
        check_values("embeddings", batch.x, rows, dim)?;
        let pairs = first_pairs(batch.labels);
        if pairs.is_empty() {
            let grad = vec![T::ZERO; batch.x.len()];
            return Ok(Evaluated { grad, ..Evaluated::default() });
        }
        let gather = |side: fn(&(usize, usize)) -> usize| -> Vec<T> {
            pairs.iter().flat_map(|pair| &batch.x[side(pair) * dim..][..dim]).copied().collect()
        };
        let (anchors, positives) = (gather(|pair| pair.0), gather(|pair| pair.1));
        let labels: Vec<u32> = pairs.iter().map(|pair| batch.labels[pair.0]).collect();
        let refs = Refs { r: &positives, labels: &labels, own: Own::Positive };
        let sides = Batch { x: &anchors, dim, labels: &labels, refs: Some(refs) };
        let context = Context { want_ref_grad: true, ..*context };
        let mut found = evaluate_row(&PairRow, None, parts.distance, parts.reducer, &sides, &context, false)?;
        let by_positive = found.ref_grad.take().unwrap_or_default();
        let by_anchor = std::mem::replace(&mut found.grad, vec![T::ZERO; batch.x.len()]);
        let slopes = by_anchor.chunks_exact(dim).zip(by_positive.chunks_exact(dim));
        for (&(a, p), (by_a, by_p)) in pairs.iter().zip(slopes) {
            found.grad[a * dim..][..dim].copy_from_slice(by_a);
            found.grad[p * dim..][..dim].copy_from_slice(by_p);
        }
        Ok(found)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, dim, value_bytes, .. } = *shape;
        // At most half as many classes as rows have a pair; both ends are copied, and the gradient is scattered.
        let classes = anchors / 2;
        let copies = (2 * classes + anchors) * dim * value_bytes + 24 * anchors;
        Extra::default().bytes(&Shape { anchors: classes, references: classes, ..*shape }) + copies
    }
}

/// The first two members of each class that has two, by label.
fn first_pairs(labels: &[u32]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&row| labels[row]);
    let classes = order.chunk_by(|&a, &b| labels[a] == labels[b]);
    classes.filter(|class| class.len() > 1).map(|class| (class[0], class[1])).collect()
}

/// The cross-entropy of the paired positive.
struct PairRow;

impl RowLoss for PairRow {
    const NAME: &'static str = NPairs::NAME;

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let &[s] = row.positives else { return };
        let scale = row.sign();
        let negatives = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        let (value, pull) = softplus(negatives - scale * s);
        let pull = slopes.element(0, value) * pull * scale;
        slopes.positives[0] = -pull;
        slopes.negatives.iter_mut().for_each(|slope| *slope *= pull);
    }
}

#[cfg(test)]
mod tests {
    use super::first_pairs;

    #[test]
    fn one_pair_of_each_class_that_has_one() {
        assert_eq!(first_pairs(&[3, 1, 3, 2, 1, 3, 7]), [(1, 4), (0, 2)]);
        assert!(first_pairs(&[1, 2, 3]).is_empty());
    }
}
