//! The angle at the negative of a triplet.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DenseLoss;
use crate::batch::Batch;
use crate::context::Context;
use crate::error::{Error, require};
use crate::loss::softmax::log_sum_exp;
use crate::objective::{Evaluated, evaluate_row};
use crate::parts::{Parts, Shape};
use crate::proxy::Needs;
use crate::row::{Row, RowLoss, Slopes};
use crate::tiling::memory_bytes;

/// `log(1 + Σ_N exp( 4 tan²α (a + p)·n − 2 (1 + tan²α) a·p ))` for each positive pair, over the negatives of its class, on
/// normalised embeddings: one element a positive pair.
///
/// The term of `(a, p)` is that of `(p, a)`, so the row of `a` puts on its negatives the slopes of both. A batch is compared
/// with itself, without a miner.
///
/// Defaults: α = 40°, cosine, mean. Wang et al., *Deep Metric Learning with Angular Loss*, ICCV 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Angular {
    /// The angle α in degrees, between 0 and 90.
    pub alpha: f64,
}

impl Default for Angular {
    fn default() -> Self {
        Angular { alpha: 40.0 }
    }
}

impl DenseLoss for Angular {
    const NAME: &'static str = "angular";

    fn check(&self) -> Result<(), Error> {
        RowLoss::check(self)
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_miner(<Self as DenseLoss>::NAME)?;
        Needs::Cosine.check(<Self as DenseLoss>::NAME, parts.distance)
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        evaluate_row(self, None, parts.distance, parts.reducer, batch, context, false)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, per_class, dim, value_bytes, tile_bytes, threads, .. } = *shape;
        // The rows of an anchor's positives, with the columns of their pairs.
        let mates = 2 * threads * per_class * anchors * (value_bytes + 4);
        memory_bytes(anchors, anchors, dim, value_bytes, tile_bytes, threads) + mates
    }
}

impl RowLoss for Angular {
    const NAME: &'static str = "angular";
    const MATES: bool = true;

    fn check(&self) -> Result<(), Error> {
        let valid = self.alpha > 0.0 && self.alpha < 90.0;
        require(valid, <Self as DenseLoss>::NAME, "alpha", self.alpha, "an angle between 0 and 90 degrees")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let square = self.alpha.to_radians().tan().powi(2);
        let (by_negative, by_positive) = (T::of(4.0 * square), T::of(2.0 * (1.0 + square)));
        let mut exponents = vec![T::ZERO; row.negatives.len()];
        let mut weights = vec![T::ZERO; row.negatives.len()];
        for (k, mate) in row.mates.iter().enumerate() {
            let pair = by_positive * row.positives[k];
            let negatives = row.negatives.iter().zip(row.negative_columns);
            for (exponent, (&s, &column)) in exponents.iter_mut().zip(negatives) {
                *exponent = by_negative * (s + mate.values[column as usize]) - pair;
            }
            let value = log_sum_exp(&exponents, T::ONE, T::ZERO, true, &mut weights);
            let weight = slopes.element(0, value);
            let total: T = weights.iter().copied().sum();
            slopes.positives[k] = -weight * by_positive * total;
            // Once for this pair and once for its mirror image.
            let twice = T::of(2.0) * weight * by_negative;
            for (slope, &share) in slopes.negatives.iter_mut().zip(&weights) {
                *slope += twice * share;
            }
        }
    }
}
