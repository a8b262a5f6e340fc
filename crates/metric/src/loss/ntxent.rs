//! The normalised, temperature-scaled cross-entropy.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_sum_exp, softplus};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^(s_p/τ) / (e^(s_p/τ) + Σ_N e^(s_n/τ)) )` for each positive pair, one element a positive pair.
///
/// The denominator holds the pair's own positive and the anchor's negatives; other positives do not repel (they do in
/// [`Supcon`](super::Supcon)). A distance enters with its sign turned.
///
/// Defaults: temperature 0.07, cosine, mean over positive pairs. Sohn, *Improved Deep Metric Learning with Multi-class
/// N-pair Loss Objective*, NIPS 2016; Chen et al., *A Simple Framework for Contrastive Learning of Visual
/// Representations*, ICML 2020; with labels as in pytorch-metric-learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ntxent {
    /// Divisor of the similarities, greater than 0.
    pub temperature: f64,
}

impl Default for Ntxent {
    fn default() -> Self {
        Ntxent { temperature: 0.07 }
    }
}

impl RowLoss for Ntxent {
    const NAME: &'static str = "ntxent";

    fn check(&self) -> Result<(), Error> {
        let valid = self.temperature > 0.0 && self.temperature.is_finite();
        require(valid, Self::NAME, "temperature", self.temperature, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() {
            return;
        }
        let scale = row.sign() / T::of(self.temperature);
        let negatives = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        let mut repulsion = T::ZERO;
        for (k, &s) in row.positives.iter().enumerate() {
            let (value, slope) = softplus(negatives - scale * s);
            let slope = slopes.element(0, value) * slope * scale;
            slopes.positives[k] = -slope;
            repulsion += slope;
        }
        vector::scale(slopes.negatives, repulsion);
    }
}
