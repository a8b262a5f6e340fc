//! Proxy-NCA with a temperature.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProxyRow;
use super::cross_entropy::cross_entropy;
use crate::distance::{DistanceConfig, SquaredEuclidean};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^(−d(x, p_y)/T) / Σ_j e^(−d(x, p_j)/T) )`, one element an anchor: the probability that the anchor is assigned to
/// its proxy, at a low temperature.
///
/// [`ProxyNca`](super::ProxyNca) with `softmax_scale = 1/T`. What else the paper changes lies outside the loss: proxies
/// learn faster than the network, batches are balanced, pooling takes the maximum.
///
/// Defaults: temperature T = 1/9, squared Euclidean distance of normalised vectors, mean. Teh, DeVries, Taylor,
/// *ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component Analysis*, ECCV 2020.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyNcaPlusPlus {
    /// Divisor of the distances, greater than 0.
    pub temperature: f64,
}

impl Default for ProxyNcaPlusPlus {
    fn default() -> Self {
        ProxyNcaPlusPlus { temperature: 1.0 / 9.0 }
    }
}

impl RowLoss for ProxyNcaPlusPlus {
    const NAME: &'static str = "proxy_nca_plus_plus";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::SquaredEuclidean(SquaredEuclidean::default())
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.temperature > 0.0 && self.temperature.is_finite();
        require(valid, Self::NAME, "temperature", self.temperature, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = row.sign() / T::of(self.temperature);
        cross_entropy(row, slopes, scale, |s| (scale * s, scale));
    }
}

impl ProxyRow for ProxyNcaPlusPlus {}
