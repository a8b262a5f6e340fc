//! The binomial deviance of pairs.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};
use crate::mixup::{Branch, Branches, Rho, Sigma};
use crate::row::{Row, RowLoss, Slopes};

/// `(1/P) Σ_P log(1 + e^(−alpha (s − base))) + (1/N) Σ_N log(1 + e^(beta (s − base)))` for each anchor, one element an anchor.
///
/// Each pair's weight depends on its own similarity alone; positives and negatives are balanced by averaging each kind
/// within the anchor. A kind without pairs adds 0. A distance enters with its sign turned, base included.
///
/// Defaults: alpha 2, beta 50, base 0.5, cosine, mean over anchors. Yi, Lei, Li, *Deep Metric Learning for Practical Person
/// Re-Identification*, 2014, equation 11, with the balance made explicit and the sharpness of Wang et al., CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BinomialDeviance {
    /// Sharpness on positives, greater than 0.
    pub alpha: f64,
    /// Sharpness on negatives, greater than 0.
    pub beta: f64,
    /// The similarity that divides positives from negatives.
    pub base: f64,
}

impl Default for BinomialDeviance {
    fn default() -> Self {
        BinomialDeviance { alpha: 2.0, beta: 50.0, base: 0.5 }
    }
}

impl RowLoss for BinomialDeviance {
    const NAME: &'static str = "binomial_deviance";

    fn check(&self) -> Result<(), Error> {
        for (field, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            let valid = value > 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number greater than 0")?;
        }
        require(self.base.is_finite(), Self::NAME, "base", self.base, "a finite number")
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        let sign = if larger_is_nearer { 1.0 } else { -1.0 };
        let branch =
            |scale: f64| Branch { rho: Rho::Softplus { scale, shift: self.base }, sigma: Sigma::Mean };
        Some(Branches::of_anchors(branch(-sign * self.alpha), branch(sign * self.beta)))
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, base) = (row.sign(), T::of(self.base));
        let (alpha, beta) = (-T::of(self.alpha) * sign, T::of(self.beta) * sign);
        let share = |count: usize| 1.0 / count.max(1) as f64;
        let (p, n) = (share(row.positives.len()), share(row.negatives.len()));
        let value = p * vector::softplus_sum(row.positives, alpha, base, slopes.positives)
            + n * vector::softplus_sum(row.negatives, beta, base, slopes.negatives);
        let weight = slopes.element(0, T::of(value));
        let (pull, push) = (weight * alpha * T::of(p), weight * beta * T::of(n));
        vector::scale(slopes.positives, pull);
        vector::scale(slopes.negatives, push);
    }
}
