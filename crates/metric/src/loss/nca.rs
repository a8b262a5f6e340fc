//! Neighbourhood components analysis.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_sum_exp, softplus};
use crate::distance::{DistanceConfig, SquaredEuclidean};
use crate::error::{Error, require};
use crate::mixup::{Branch, Branches, Rho, Sigma, Tau};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( Σ_P e^(−scale·d) / Σ_(P∪N) e^(−scale·d) )` for each anchor with positives, one element an anchor: the probability
/// that a neighbour drawn by the softmax of distances is of the anchor's class.
///
/// A similarity enters with its sign turned.
///
/// Defaults: softmax_scale 1, squared Euclidean distance of normalised embeddings, mean over anchors with positives.
/// Goldberger et al., *Neighbourhood Components Analysis*, NIPS 2004, in the logarithmic form (their equation 7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nca {
    /// Factor of the distances, greater than 0.
    pub softmax_scale: f64,
}

impl Default for Nca {
    fn default() -> Self {
        Nca { softmax_scale: 1.0 }
    }
}

impl RowLoss for Nca {
    const NAME: &'static str = "nca";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::SquaredEuclidean(SquaredEuclidean::default())
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.softmax_scale > 0.0 && self.softmax_scale.is_finite();
        require(valid, Self::NAME, "softmax_scale", self.softmax_scale, "a finite number greater than 0")
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        let scale = if larger_is_nearer { self.softmax_scale } else { -self.softmax_scale };
        let branch = |factor: f64, empty: f64| Branch {
            rho: Rho::Exponential { scale, shift: 0.0 },
            sigma: Sigma::Log { factor, empty },
        };
        // −log(p / (p + n)) = log(1 + e^(log n − log p)).
        let of_anchors = Branches::of_anchors(branch(-1.0, 0.0), branch(1.0, f64::NEG_INFINITY));
        Some(Branches { tau: Tau::Softplus, needs_positive: true, ..of_anchors })
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() {
            return;
        }
        let scale = row.sign() * T::of(self.softmax_scale);
        let positive = log_sum_exp(row.positives, scale, T::ZERO, false, slopes.positives);
        let negative = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        // −log(eᵖ / (eᵖ + eⁿ)) = log(1 + e^(n − p)), which keeps its digits where it is small.
        let (value, wrong) = softplus(negative - positive);
        let weight = scale * slopes.element(0, value) * wrong;
        vector::scale(slopes.positives, -weight);
        vector::scale(slopes.negatives, weight);
    }
}
