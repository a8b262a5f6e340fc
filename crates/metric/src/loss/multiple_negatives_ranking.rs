//! Ranking the paired positive above all other positives of the batch.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ntxent;
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// Cross-entropy of `scale · s(aᵢ, pᵢ)` against `scale · s(aᵢ, ·)` over all references, one element an anchor.
///
/// Anchors are the batch; references are their positives in the same order, then any hard negatives
/// ([`Own::Positive`](crate::Own::Positive)). A reference with the anchor's label that is not its own positive is a
/// false negative and is masked, so give duplicates (for instance equal texts) one label. With `symmetric` the loss is
/// the mean of this and of the same loss with positives as anchors and anchors as references (hard negatives take no part
/// in that direction).
///
/// Defaults: scale 20 (temperature 0.05), cosine, mean over anchors. Henderson et al., *Efficient Natural Language
/// Response Suggestion for Smart Reply*, 2017; as in sentence-transformers, and with `symmetric` as in Radford et al.,
/// CLIP, 2021.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRanking {
    /// Factor of the similarities (1 / temperature), greater than 0.
    pub scale: f64,
    /// Also rank each anchor for its positive.
    pub symmetric: bool,
}

impl Default for MultipleNegativesRanking {
    fn default() -> Self {
        MultipleNegativesRanking { scale: 20.0, symmetric: false }
    }
}

impl RowLoss for MultipleNegativesRanking {
    const NAME: &'static str = "multiple_negatives_ranking";

    fn check(&self) -> Result<(), Error> {
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, Self::NAME, "scale", self.scale, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        // With one positive a row, the two cross-entropies are the same.
        Ntxent { temperature: 1.0 / self.scale }.row(row, slopes);
    }
}
