//! Miners: which pairs of a row reach the loss.
//!
//! A miner works on one anchor's row, so it needs no memory of its own; no gradient passes through its choice.

mod multi_similarity;

use parallax_kernels::Real;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use multi_similarity::MultiSimilarity;

use crate::distance::DistanceConfig;
use crate::engine::Problem;
use crate::error::Error;
use crate::frame::Frame;
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// What a miner sees beside the row's pairs.
pub(crate) struct At<'a, T: Real> {
    pub(crate) anchor: usize,
    pub(crate) larger_is_nearer: bool,
    pub(crate) x: &'a Frame<'a, T>,
    pub(crate) r: &'a Frame<'a, T>,
    pub(crate) distance: &'a DistanceConfig,
    pub(crate) key: Key,
    pub(crate) prepared: &'a Prepared<T>,
}

impl<T: Real> At<'_, T> {
    /// +1 where larger is nearer, otherwise −1.
    pub(crate) fn sign(&self) -> T {
        if self.larger_is_nearer { T::ONE } else { -T::ONE }
    }
}

/// What a miner of the whole batch found out before rows are mined.
#[derive(Clone, Debug, Default)]
pub(crate) enum Prepared<T> {
    /// The miner needs nothing.
    #[default]
    Nothing,
    #[allow(dead_code)]
    Unused(T),
}

/// A miner, stated for one row.
pub(crate) trait RowMiner {
    /// Refuses parameters outside their range.
    fn check(&self) -> Result<(), Error>;

    /// Refuses a distance that the miner has no meaning for.
    fn check_distance(&self, _distance: &DistanceConfig) -> Result<(), Error> {
        Ok(())
    }

    /// Looks at the whole batch first, where the choice in a row depends on other rows.
    fn prepare<T: Real>(&self, _problem: &Problem<'_, T>) -> Prepared<T> {
        Prepared::Nothing
    }

    /// Drops the pairs that are not wanted and says which triplets of the rest are.
    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T>;
}

/// Declares [`MinerConfig`] from one line a miner.
macro_rules! miners {
    ($($(#[$note:meta])* $miner:ident,)*) => {
        /// Chooses the pairs, or the triplets, that reach the loss. No gradient passes through the choice.
        ///
        /// A loss on triplets gets every positive with every negative of an anchor from a miner of pairs; a loss on pairs
        /// gets from a miner of triplets every pair that is in one, once.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum MinerConfig {
            $($(#[$note])* $miner($miner),)*
        }

        impl MinerConfig {
            /// Refuses parameters outside their range.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$miner(miner) => miner.check(),)* }
            }

            /// Refuses a distance that the miner has no meaning for.
            pub fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
                match self { $(Self::$miner(miner) => miner.check_distance(distance),)* }
            }

            pub(crate) fn prepare<T: Real>(&self, problem: &Problem<'_, T>) -> Prepared<T> {
                match self { $(Self::$miner(miner) => miner.prepare(problem),)* }
            }

            pub(crate) fn mine<T: Real>(
                &self,
                at: &At<'_, T>,
                positives: &mut Candidates<T>,
                negatives: &mut Candidates<T>,
            ) -> Chosen<T> {
                match self { $(Self::$miner(miner) => miner.mine(at, positives, negatives),)* }
            }
        }
    };
}

miners! {
    /// Negatives nearer than the farthest positive and positives farther than the nearest negative, within epsilon (Wang
    /// et al., Multi-Similarity Loss, CVPR 2019).
    MultiSimilarity,
}
