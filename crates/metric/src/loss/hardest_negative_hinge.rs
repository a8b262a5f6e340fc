//! The hinge on the hardest negative of the batch, for pairs.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::{DistanceConfig, Dot};
use crate::error::{Error, require};
use crate::reducer::ReducerConfig;
use crate::row::{Directions, Row, RowLoss, Slopes};

/// `max(0, margin + max_{j ≠ i} s(aᵢ, pⱼ) − s(aᵢ, pᵢ))`, one element a pair (aᵢ, pᵢ), and with `symmetric` the same with
/// positives as anchors, `max(0, margin + max_{j ≠ i} s(aⱼ, pᵢ) − s(aᵢ, pᵢ))`, added.
///
/// Anchors are the batch; references are their positives in the same order, then any hard negatives, which take part in the
/// first direction alone, or a list of (anchor, positive) pairs says which are which
/// ([`Own::Pairs`](crate::Own::Pairs)). References with the anchor's label that are not its positive are masked and counted.
/// A pair without a negative has no element. Among equally hard negatives the first has the derivative. With a distance
/// the nearest negative is the hardest and the differences turn round.
///
/// Nothing bounds the inner product, and a growing scale satisfies any fixed margin: embeddings of length 1, weight decay or
/// the cosine do.
///
/// Defaults: margin 0.2, symmetric, inner product, sum over pairs and directions. Faghri et al., *VSE++: Improving Visual-
/// Semantic Embeddings with Hard Negatives*, BMVC 2018, equation 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HardestNegativeHinge {
    /// By how much the positive's similarity must exceed that of the hardest negative; at least 0.
    pub margin: f64,
    /// Also rank each anchor for its positive.
    pub symmetric: bool,
}

impl Default for HardestNegativeHinge {
    fn default() -> Self {
        HardestNegativeHinge { margin: 0.2, symmetric: true }
    }
}

impl RowLoss for HardestNegativeHinge {
    const NAME: &'static str = "hardest_negative_hinge";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::Dot(Dot::default())
    }

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::sum()
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.margin >= 0.0 && self.margin.is_finite();
        require(valid, Self::NAME, "margin", self.margin, "a finite number of at least 0")
    }

    fn pairs(&self) -> Option<Directions> {
        Some(if self.symmetric { Directions::Both { share: 1.0 } } else { Directions::Forth })
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let Some(&first) = row.negatives.first() else { return };
        let sign = row.sign();
        let (mut hardest, mut near) = (0, sign * first);
        for (k, &s) in row.negatives.iter().enumerate().skip(1) {
            if sign * s > near {
                (hardest, near) = (k, sign * s);
            }
        }
        let margin = T::of(self.margin);
        for (k, &s) in row.positives.iter().enumerate() {
            let violation = margin + near - sign * s;
            let violated = violation > T::ZERO;
            let weight = slopes.element(0, if violated { violation } else { T::ZERO });
            if violated {
                slopes.positives[k] = -(weight * sign);
                slopes.negatives[hardest] += weight * sign;
            }
        }
    }
}
