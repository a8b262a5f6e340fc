//! The multi-similarity loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::log_sum_exp;
use crate::error::{Error, require};
use crate::mixup::{Branch, Branches, Rho, Sigma};
use crate::row::{Row, RowLoss, Slopes};

/// `(1/α) log(1 + Σ_P e^(−α(S − base))) + (1/β) log(1 + Σ_N e^(β(S − base)))` for each anchor, one element an anchor.
///
/// The weight on a pair, the size of its derivative, sees the pair's own similarity and how it compares with the other
/// pairs of its sign. Anchors without pairs count as elements of value 0. The mining step of the paper is the miner
/// `multi_similarity`.
///
/// Defaults: alpha 2, beta 50, base 0.5 (the paper states base 1; its authors' code uses beta 40 and base 0.5), cosine,
/// mean over anchors. Wang et al., *Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning*, CVPR
/// 2019, equation 15.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultiSimilarity {
    /// Sharpness on positives, greater than 0.
    pub alpha: f64,
    /// Sharpness on negatives, greater than 0.
    pub beta: f64,
    /// The similarity around which pairs count (lambda in the paper).
    pub base: f64,
}

impl Default for MultiSimilarity {
    fn default() -> Self {
        MultiSimilarity { alpha: 2.0, beta: 50.0, base: 0.5 }
    }
}

impl RowLoss for MultiSimilarity {
    const NAME: &'static str = "multi_similarity";

    fn check(&self) -> Result<(), Error> {
        let positive = |field, value: f64| {
            require(
                value > 0.0 && value.is_finite(),
                Self::NAME,
                field,
                value,
                "a finite number greater than 0",
            )
        };
        positive("alpha", self.alpha)?;
        positive("beta", self.beta)?;
        require(self.base.is_finite(), Self::NAME, "base", self.base, "a finite number")
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        let sign = if larger_is_nearer { 1.0 } else { -1.0 };
        let branch = |scale: f64, sharpness: f64| Branch {
            rho: Rho::Exponential { scale, shift: self.base },
            sigma: Sigma::LogOnePlus { factor: 1.0 / sharpness },
        };
        Some(Branches::of_anchors(
            branch(-sign * self.alpha, self.alpha),
            branch(sign * self.beta, self.beta),
        ))
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, alpha, beta, base) = (row.sign(), T::of(self.alpha), T::of(self.beta), T::of(self.base));
        let positive = log_sum_exp(row.positives, -alpha * sign, base, true, slopes.positives);
        let negative = log_sum_exp(row.negatives, beta * sign, base, true, slopes.negatives);
        let weight = sign * slopes.element(0, positive / alpha + negative / beta);
        vector::scale(slopes.positives, -weight);
        vector::scale(slopes.negatives, weight);
    }
}
