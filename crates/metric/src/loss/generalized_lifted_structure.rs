//! The lifted structure loss with a soft maximum over positives too.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lifted_structure::finite_margins;
use super::softmax::log_sum_exp;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::mixup::{Branch, Branches, Rho, Sigma, Tau};
use crate::row::{Row, RowLoss, Slopes};

/// `max(0, log Σ_P e^(d − pos_margin) + log Σ_N e^(neg_margin − d))` for each anchor, one element an anchor.
///
/// A sum without terms counts as 1, so that an anchor without negatives is still drawn to its positives. With a
/// similarity the differences turn round.
///
/// Defaults: neg_margin 1, pos_margin 0, normalised Euclidean distance, mean over anchors. Hermans, Beyer, Leibe, *In
/// Defense of the Triplet Loss for Person Re-Identification*, 2017, equation 8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GeneralizedLiftedStructure {
    /// Negatives farther than this push little.
    pub neg_margin: f64,
    /// Positives nearer than this pull little.
    pub pos_margin: f64,
}

impl Default for GeneralizedLiftedStructure {
    fn default() -> Self {
        GeneralizedLiftedStructure { neg_margin: 1.0, pos_margin: 0.0 }
    }
}

impl RowLoss for GeneralizedLiftedStructure {
    const NAME: &'static str = "generalized_lifted_structure";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn check(&self) -> Result<(), Error> {
        finite_margins(Self::NAME, self.pos_margin, self.neg_margin)
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        let sign = if larger_is_nearer { 1.0 } else { -1.0 };
        let branch = |scale: f64, shift: f64| Branch {
            rho: Rho::Exponential { scale, shift },
            sigma: Sigma::Log { factor: 1.0, empty: 0.0 },
        };
        let of_anchors = Branches::of_anchors(branch(-sign, self.pos_margin), branch(sign, self.neg_margin));
        Some(Branches { tau: Tau::Hinge, ..of_anchors })
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let sign = row.sign();
        let term = |sum: T| if sum == T::NEG_INFINITY { T::ZERO } else { sum };
        let positive = log_sum_exp(row.positives, -sign, T::of(self.pos_margin), false, slopes.positives);
        let negative = log_sum_exp(row.negatives, sign, T::of(self.neg_margin), false, slopes.negatives);
        let value = (term(positive) + term(negative)).max(T::ZERO);
        let weight = if value > T::ZERO {
            sign * slopes.element(0, value)
        } else {
            slopes.element(0, value) * T::ZERO
        };
        vector::scale(slopes.positives, -weight);
        vector::scale(slopes.negatives, weight);
    }
}
