//! Pairs beyond fixed margins.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, RowMiner};
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Keeps the positives farther than `pos_margin` and the negatives nearer than `neg_margin`.
///
/// With a similarity: positives below `pos_margin` and negatives above `neg_margin`. Both comparisons are strict.
///
/// Defaults: 0.2 and 0.8, as in pytorch-metric-learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PairMargin {
    /// Positives must be farther.
    pub pos_margin: f64,
    /// Negatives must be nearer.
    pub neg_margin: f64,
}

impl Default for PairMargin {
    fn default() -> Self {
        PairMargin { pos_margin: 0.2, neg_margin: 0.8 }
    }
}

impl RowMiner for PairMargin {
    fn check(&self) -> Result<(), Error> {
        for (field, value) in [("pos_margin", self.pos_margin), ("neg_margin", self.neg_margin)] {
            require(value.is_finite(), "pair_margin miner", field, value, "a finite number")?;
        }
        Ok(())
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let (sign, far, near) = (at.sign(), T::of(self.pos_margin), T::of(self.neg_margin));
        positives.retain(|s| sign * s < sign * far);
        negatives.retain(|s| sign * s > sign * near);
        Chosen::All
    }
}
