//! The hardest triplet of each anchor.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batch_easy_hard::{BatchEasyHard, Strategy};
use super::{At, RowMiner};
use crate::error::Error;
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Takes the farthest positive and the nearest negative of each anchor; an anchor that lacks either keeps nothing.
///
/// Hermans, Beyer, Leibe, *In Defense of the Triplet Loss for Person Re-Identification*, 2017.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchHard {}

impl RowMiner for BatchHard {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let hardest = BatchEasyHard {
            pos_strategy: Strategy::Hard,
            neg_strategy: Strategy::Hard,
            ..BatchEasyHard::default()
        };
        hardest.mine(at, positives, negatives)
    }
}
