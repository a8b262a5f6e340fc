//! Softmax with a margin on the cosine.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cross_entropy::cross_entropy;
use super::{Needs, ProxyRow};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^z / (e^z + Σ_{j≠y} e^(c·s_j)) )` with `z = c·(s_y − m)`, one element an anchor.
///
/// Defaults: margin m = 0.35, scale c = 64, cosine, mean. Wang et al., *CosFace: Large Margin Cosine Loss for Deep Face
/// Recognition*, CVPR 2018.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cosface {
    /// What is taken off the cosine to the anchor's own proxy.
    pub margin: f64,
    /// Factor of the cosines, greater than 0.
    pub scale: f64,
}

impl Default for Cosface {
    fn default() -> Self {
        Cosface { margin: 0.35, scale: 64.0 }
    }
}

impl RowLoss for Cosface {
    const NAME: &'static str = "cosface";

    fn check(&self) -> Result<(), Error> {
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")?;
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, Self::NAME, "scale", self.scale, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (scale, margin) = (T::of(self.scale), T::of(self.margin));
        cross_entropy(row, slopes, scale, |s| (scale * (s - margin), scale));
    }
}

impl ProxyRow for Cosface {
    const NEEDS: Needs = Needs::Cosine;
}
