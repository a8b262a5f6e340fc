//! Each item as a class of its own.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_add, log_sum_exp, softplus};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^(γ s_target) / Σ e^(γ s) )` for each anchor over all references, one element an anchor.
///
/// The references are the rows of a classifier. Against a separate set the targets are the references with the anchor's
/// label (if there are several, the probability of any of them counts), so that a set with one row a class is the loss of
/// the paper. In a batch against itself the first rows stand in for the classifier, as in pytorch-metric-learning: the
/// anchor itself is in the sum, and the target of the class of rank c among the batch's classes is row c. That is of use
/// where each item is a class of its own.
///
/// Defaults: gamma 64, cosine, mean over anchors. Zheng et al., *Dual-Path Convolutional Image-Text Embeddings with Instance
/// Loss*, ACM TOMM 2020, equation 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// Factor of the similarities, greater than 0.
    pub gamma: f64,
}

impl Default for Instance {
    fn default() -> Self {
        Instance { gamma: 64.0 }
    }
}

impl RowLoss for Instance {
    const NAME: &'static str = "instance";

    fn check(&self) -> Result<(), Error> {
        let valid = self.gamma > 0.0 && self.gamma.is_finite();
        require(valid, Self::NAME, "gamma", self.gamma, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if !row.columns_are_rows() && row.positives.is_empty() {
            return;
        }
        let scale = row.sign() * T::of(self.gamma);
        let positive = log_sum_exp(row.positives, scale, T::ZERO, false, slopes.positives);
        let negative = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        if !row.columns_are_rows() {
            let (value, wrong) = softplus(negative - positive);
            let weight = scale * slopes.element(0, value) * wrong;
            vector::scale(slopes.positives, -weight);
            vector::scale(slopes.negatives, weight);
            return;
        }
        let itself = row.itself.map(|(_, value)| value);
        let own = itself.map_or(T::NEG_INFINITY, |value| scale * value);
        let all = log_add(log_add(positive, negative), own);
        let target = row.class;
        let in_positives = row.positive_columns.binary_search(&target);
        let in_negatives = row.negative_columns.binary_search(&target);
        let is_itself = row.itself.is_some_and(|(column, _)| column == target);
        let s = match (in_positives, in_negatives) {
            (Ok(k), _) => row.positives[k],
            (_, Ok(k)) => row.negatives[k],
            _ if is_itself => itself.unwrap_or(T::ZERO),
            // A miner took the target away.
            _ => {
                slopes.positives.fill(T::ZERO);
                slopes.negatives.fill(T::ZERO);
                return;
            }
        };
        let weight = scale * slopes.element(0, all - scale * s);
        let (by_p, by_n) = (weight * (positive - all).exp(), weight * (negative - all).exp());
        vector::scale(slopes.positives, by_p);
        vector::scale(slopes.negatives, by_n);
        slopes.itself = weight * (own - all).exp();
        match (in_positives, in_negatives) {
            (Ok(k), _) => slopes.positives[k] += -weight,
            (_, Ok(k)) => slopes.negatives[k] += -weight,
            _ => slopes.itself += -weight,
        }
    }
}
