//! Softmax classification on the sphere.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProxyRow;
use super::cross_entropy::cross_entropy;
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^(s_y/τ) / Σ_j e^(s_j/τ) )` with the cosines `s_j` to the proxies, one element an anchor; a distance enters with
/// its sign turned.
///
/// Defaults: temperature 0.05, cosine, mean. Wang et al., *NormFace*, ACM MM 2017; Zhai and Wu, *Classification is a Strong
/// Baseline for Deep Metric Learning*, BMVC 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizedSoftmax {
    /// Divisor of the similarities, greater than 0.
    pub temperature: f64,
}

impl Default for NormalizedSoftmax {
    fn default() -> Self {
        NormalizedSoftmax { temperature: 0.05 }
    }
}

impl RowLoss for NormalizedSoftmax {
    const NAME: &'static str = "normalized_softmax";

    fn check(&self) -> Result<(), Error> {
        let valid = self.temperature > 0.0 && self.temperature.is_finite();
        require(valid, Self::NAME, "temperature", self.temperature, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = row.sign() / T::of(self.temperature);
        cross_entropy(row, slopes, scale, |s| (scale * s, scale));
    }
}

impl ProxyRow for NormalizedSoftmax {}
