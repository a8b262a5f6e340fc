//! The mining step of the multi-similarity loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, RowMiner};
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Keeps the negatives and positives that overlap, for each anchor by itself.
///
/// With similarities `S` of anchor `i`, positives `P` and negatives `N`:
/// - a negative `j` stays if `S_ij > min_P S − epsilon`;
/// - a positive `j` stays if `S_ij < max_N S + epsilon`.
///
/// Both comparisons are strict. With a distance instead of a similarity both turn round. Either both sets are empty or
/// neither: each condition holds for some pair exactly if `min_P S < max_N S + epsilon`. An anchor without positives or
/// without negatives keeps nothing.
///
/// Wang et al., *Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning*, CVPR 2019, equations 10 and
/// 11. Unlike the authors' code, the anchor is excluded by its index, not by a similarity close to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultiSimilarity {
    /// How far the two sets may lie apart and still count as overlapping, in units of the distance.
    pub epsilon: f64,
}

impl Default for MultiSimilarity {
    fn default() -> Self {
        MultiSimilarity { epsilon: 0.1 }
    }
}

impl RowMiner for MultiSimilarity {
    fn check(&self) -> Result<(), Error> {
        require(
            self.epsilon.is_finite(),
            "multi_similarity miner",
            "epsilon",
            self.epsilon,
            "a finite number",
        )
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let epsilon = T::of(self.epsilon);
        let smallest = |c: &Candidates<T>| vector::smallest(c.values(), T::INFINITY);
        let largest = |c: &Candidates<T>| vector::largest(c.values(), T::NEG_INFINITY);
        if at.larger_is_nearer {
            let (farthest, nearest) = (smallest(positives), largest(negatives));
            negatives.retain(|s| s + epsilon > farthest);
            positives.retain(|s| s - epsilon < nearest);
        } else {
            let (farthest, nearest) = (largest(positives), smallest(negatives));
            negatives.retain(|s| s - epsilon < farthest);
            positives.retain(|s| s + epsilon > nearest);
        }
        Chosen::All
    }
}
