//! The circle loss on labels.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_sum_exp_in_place, softplus};
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::reducer::ReducerConfig;
use crate::row::{Row, RowLoss, Slopes};

/// `log(1 + Σ_N e^(γ aₙ (sₙ − m)) · Σ_P e^(−γ aₚ (sₚ − 1 + m)))` for each anchor, one element an anchor.
///
/// `aₚ = max(0, 1 + m − sₚ)` and `aₙ = max(0, sₙ + m)` say how far a pair is from its optimum; they weigh the pair and are
/// constants to the derivative, as in the paper. An anchor without positives or without negatives is an element of
/// value 0.
///
/// Defaults: m 0.4, gamma 80, cosine, mean over the non-zero anchors; similarities only. Sun et al., *Circle Loss: A
/// Unified Perspective of Pair Similarity Optimization*, CVPR 2020, equation 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Circle {
    /// Relaxation of the decision boundary; smaller is stricter.
    pub m: f64,
    /// Sharpness, greater than 0.
    pub gamma: f64,
}

impl Default for Circle {
    fn default() -> Self {
        Circle { m: 0.4, gamma: 80.0 }
    }
}

impl RowLoss for Circle {
    const NAME: &'static str = "circle";

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::avg_non_zero()
    }

    fn check(&self) -> Result<(), Error> {
        require(self.m.is_finite(), Self::NAME, "m", self.m, "a finite number")?;
        let valid = self.gamma > 0.0 && self.gamma.is_finite();
        require(valid, Self::NAME, "gamma", self.gamma, "a finite number greater than 0")
    }

    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        let needs = "a similarity, such as the cosine";
        if distance.larger_is_nearer() {
            Ok(())
        } else {
            Err(Error::Distance { component: Self::NAME, needs })
        }
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() || row.negatives.is_empty() {
            slopes.element(0, T::ZERO);
            return;
        }
        let (m, gamma) = (T::of(self.m), T::of(self.gamma));
        let far = |s: T| gamma * (T::ONE + m - s).max(T::ZERO);
        let near = |s: T| gamma * (s + m).max(T::ZERO);
        let delta = T::ONE - m;
        for (x, &s) in slopes.positives.iter_mut().zip(row.positives) {
            *x = -far(s) * (s - delta);
        }
        for (x, &s) in slopes.negatives.iter_mut().zip(row.negatives) {
            *x = near(s) * (s - m);
        }
        let u = log_sum_exp_in_place(slopes.positives, false) + log_sum_exp_in_place(slopes.negatives, false);
        let (value, slope) = softplus(u);
        let weight = slopes.element(0, value) * slope;
        for (d, &s) in slopes.positives.iter_mut().zip(row.positives) {
            *d *= -weight * far(s);
        }
        for (d, &s) in slopes.negatives.iter_mut().zip(row.negatives) {
            *d *= weight * near(s);
        }
    }
}
