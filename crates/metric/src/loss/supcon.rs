//! The supervised contrastive loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::log_sum_exp;
use crate::error::{Error, require};
use crate::reducer::ReducerConfig;
use crate::row::{Pairs, Row, RowLoss, Slopes};

/// `log Σ_(P∪N) e^(s/τ) − mean_P s/τ` for each anchor, one element an anchor.
///
/// Every pair of the anchor stands in the denominator, the other positives too. An anchor without positives is an
/// element of value 0, and a batch without a single negative pair has loss 0: there is nothing to contrast. A distance
/// enters with its sign turned.
///
/// Defaults: temperature 0.1, cosine, mean over the non-zero anchors. Khosla et al., *Supervised Contrastive Learning*,
/// NeurIPS 2020, `L_out` (equation 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Supcon {
    /// Divisor of the similarities, greater than 0.
    pub temperature: f64,
}

impl Default for Supcon {
    fn default() -> Self {
        Supcon { temperature: 0.1 }
    }
}

impl RowLoss for Supcon {
    const NAME: &'static str = "supcon";

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::avg_non_zero()
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.temperature > 0.0 && self.temperature.is_finite();
        require(valid, Self::NAME, "temperature", self.temperature, "a finite number greater than 0")
    }

    fn defined(&self, pairs: Pairs) -> bool {
        pairs.negative > 0
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() {
            slopes.element(0, T::ZERO);
            return;
        }
        let scale = row.sign() / T::of(self.temperature);
        let positive = log_sum_exp(row.positives, scale, T::ZERO, false, slopes.positives);
        let negative = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        let top = positive.max(negative);
        let all = top + ((positive - top).exp() + (negative - top).exp()).ln();
        let each = T::ONE / T::of(row.positives.len() as f64);
        let mean = scale * each * row.positives.iter().copied().sum();
        let weight = scale * slopes.element(0, all - mean);
        let (attract, repel) = ((positive - all).exp(), (negative - all).exp());
        slopes.positives.iter_mut().for_each(|slope| *slope = weight * (attract * *slope - each));
        vector::scale(slopes.negatives, weight * repel);
    }
}
