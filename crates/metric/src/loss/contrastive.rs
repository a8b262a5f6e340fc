//! The contrastive loss.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::reducer::ReducerConfig;
use crate::row::{Row, RowLoss, Slopes};

/// Each positive pair costs `max(0, d − pos_margin)` and each negative pair `max(0, neg_margin − d)`.
///
/// With a similarity the differences turn round, `max(0, pos_margin − s)` and `max(0, s − neg_margin)`, so set for
/// instance `pos_margin = 1`, `neg_margin = 0`. Positives and negatives are reduced separately and added.
///
/// Defaults: normalised Euclidean distance, mean over the non-zero pairs. Hadsell, Chopra, LeCun, *Dimensionality
/// Reduction by Learning an Invariant Mapping*, CVPR 2006, without its squares, as in pytorch-metric-learning; squares of
/// the distance (not of the hinge) come with `squared_euclidean`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Contrastive {
    /// Positives nearer than this cost nothing.
    pub pos_margin: f64,
    /// Negatives farther than this cost nothing.
    pub neg_margin: f64,
}

impl Default for Contrastive {
    fn default() -> Self {
        Contrastive { pos_margin: 0.0, neg_margin: 1.0 }
    }
}

impl RowLoss for Contrastive {
    const NAME: &'static str = "contrastive";
    const CHANNELS: &'static [&'static str] = &["positive", "negative"];

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::avg_non_zero()
    }

    fn check(&self) -> Result<(), Error> {
        let finite =
            |field, value: f64| require(value.is_finite(), Self::NAME, field, value, "a finite number");
        finite("pos_margin", self.pos_margin)?;
        finite("neg_margin", self.neg_margin)
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let sign = row.sign();
        let margin = T::of(self.pos_margin);
        for (k, &s) in row.positives.iter().enumerate() {
            let excess = sign * (margin - s);
            let weight = slopes.element(0, excess.max(T::ZERO));
            slopes.positives[k] = if excess > T::ZERO { -sign * weight } else { T::ZERO };
        }
        let margin = T::of(self.neg_margin);
        for (k, &s) in row.negatives.iter().enumerate() {
            let excess = sign * (s - margin);
            let weight = slopes.element(1, excess.max(T::ZERO));
            slopes.negatives[k] = if excess > T::ZERO { sign * weight } else { T::ZERO };
        }
    }
}
