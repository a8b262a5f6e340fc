//! A multiplied angle, with proxies of length 1.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Needs, ProxyLoss, multiple_angle};
use crate::batch::Batch;
use crate::context::Context;
use crate::error::Error;
use crate::objective::Evaluated;
use crate::parts::Parts;
use crate::tiling::Shape;

/// `−log( e^z / (e^z + Σ_{j≠y} e^(c·‖x‖ cos θ_j)) )` with `z = c·‖x‖·ψ(θ_y)`, one element an anchor, where
/// `ψ(θ) = (−1)^k cos(mθ) − 2k` for `θ` in `[kπ/m, (k+1)π/m]`. The anchor keeps its length, proxies do not.
///
/// Defaults: margin m = 4, scale c = 1, cosine with lengths (no other distance), mean. Liu et al., *SphereFace: Deep
/// Hypersphere Embedding for Face Recognition*, CVPR 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sphereface {
    /// Factor m of the angle, a whole number from 1 to 64.
    pub margin: usize,
    /// Factor of the logits, greater than 0.
    pub scale: f64,
}

impl Default for Sphereface {
    fn default() -> Self {
        Sphereface { margin: 4, scale: 1.0 }
    }
}

impl ProxyLoss for Sphereface {
    const NAME: &'static str = "sphereface";
    const NEEDS: Needs = Needs::Cosine;

    fn check(&self) -> Result<(), Error> {
        multiple_angle::check(Self::NAME, self.margin, self.scale)
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        proxies: &[T],
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        multiple_angle::evaluate(self.margin, self.scale, true, parts, batch, proxies, context)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        multiple_angle::memory_bytes(shape)
    }
}
