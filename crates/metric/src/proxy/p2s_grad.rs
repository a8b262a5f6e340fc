//! Squared error of cosines, whose gradient is the difference between a cosine and its target.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Needs, ProxyRow};
use crate::error::Error;
use crate::row::{Row, RowLoss, Slopes};

/// `(s_j − [j = y])²` with the cosine `s_j` to each proxy, one element a pair of an anchor and a proxy; it has no parameter.
///
/// pytorch-metric-learning rescales its weights to length 1 at every step and differentiates by what it has rescaled; here
/// the length is divided out in the loss, so the gradient of a proxy has no part along it.
///
/// Default: cosine, mean. Zhang et al., *P2SGrad: Refined Gradients for Optimizing Deep Face Models*, CVPR 2019.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct P2sGrad {}

impl RowLoss for P2sGrad {
    const NAME: &'static str = "p2s_grad";

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let two = T::of(2.0);
        for (k, &s) in row.positives.iter().enumerate() {
            slopes.positives[k] = slopes.element(0, (s - T::ONE) * (s - T::ONE)) * two * (s - T::ONE);
        }
        for (k, &s) in row.negatives.iter().enumerate() {
            slopes.negatives[k] = slopes.element(0, s * s) * two * s;
        }
    }
}

impl ProxyRow for P2sGrad {
    const NEEDS: Needs = Needs::Cosine;
}
