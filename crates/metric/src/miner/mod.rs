//! Miners: which pairs of a row reach the loss.
//!
//! A miner works on one anchor's row, so it needs no memory of its own; no gradient passes through its choice.

mod multi_similarity;

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use multi_similarity::MultiSimilarity;

use crate::error::Error;
use crate::relation::Candidates;

/// A miner, stated for one row.
pub(crate) trait RowMiner {
    /// Refuses parameters outside their range.
    fn check(&self) -> Result<(), Error>;

    /// Drops the pairs that are not wanted.
    fn mine<T: Real>(
        &self,
        larger_is_nearer: bool,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    );
}

/// Chooses the pairs that reach the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum MinerConfig {
    /// Negatives nearer than the farthest positive and positives farther than the nearest negative, within epsilon (Wang
    /// et al., Multi-Similarity Loss, CVPR 2019).
    MultiSimilarity(MultiSimilarity),
}

impl MinerConfig {
    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::MultiSimilarity(miner) => miner.check(),
        }
    }

    pub(crate) fn mine<T: Real>(
        &self,
        larger_is_nearer: bool,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) {
        match self {
            Self::MultiSimilarity(miner) => miner.mine(larger_is_nearer, positives, negatives),
        }
    }
}
