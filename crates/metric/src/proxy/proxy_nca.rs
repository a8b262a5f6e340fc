//! Neighbourhood component analysis against proxies.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProxyRow;
use super::cross_entropy::cross_entropy;
use crate::distance::{DistanceConfig, SquaredEuclidean};
use crate::error::{Error, require};
use crate::loss::softmax::log_sum_exp;
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^(−c·d(x, p_y)) / Σ_j e^(−c·d(x, p_j)) )`, one element an anchor; a similarity enters with its sign turned.
///
/// The sum runs over all proxies, as in pytorch-metric-learning; the paper leaves the anchor's own proxy out of it, which
/// `positive_in_denominator = false` does (the loss is then not bounded below).
///
/// Defaults: `softmax_scale` c = 1, squared Euclidean distance of normalised vectors, mean. Movshovitz-Attias et al., *No
/// Fuss Distance Metric Learning using Proxies*, ICCV 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyNca {
    /// Factor of the distances, greater than 0.
    pub softmax_scale: f64,
    /// Whether the anchor's own proxy stands in the denominator too.
    pub positive_in_denominator: bool,
}

impl Default for ProxyNca {
    fn default() -> Self {
        ProxyNca { softmax_scale: 1.0, positive_in_denominator: true }
    }
}

impl RowLoss for ProxyNca {
    const NAME: &'static str = "proxy_nca";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::SquaredEuclidean(SquaredEuclidean::default())
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.softmax_scale > 0.0 && self.softmax_scale.is_finite();
        require(valid, Self::NAME, "softmax_scale", self.softmax_scale, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = row.sign() * T::of(self.softmax_scale);
        if self.positive_in_denominator {
            cross_entropy(row, slopes, scale, |s| (scale * s, scale));
            return;
        }
        if row.negatives.is_empty() {
            return;
        }
        let &[s] = row.positives else { return };
        let value = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives) - scale * s;
        let weight = slopes.element(0, value);
        slopes.positives[0] = -weight * scale;
        vector::scale(slopes.negatives, weight * scale);
    }
}

impl ProxyRow for ProxyNca {}
