//! Miners: which pairs of a row reach the loss.
//!
//! A miner works on one anchor's row, so it needs no memory of its own; no gradient passes through its choice.

mod angular;
mod batch_easy_hard;
mod batch_hard;
mod distance_weighted;
mod hdc;
mod multi_similarity;
mod pair_margin;
mod triplet_margin;
mod uniform_histogram;

use parallax_kernels::Real;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use angular::Angular;
pub use batch_easy_hard::{BatchEasyHard, Strategy};
pub use batch_hard::BatchHard;
pub use distance_weighted::DistanceWeighted;
pub use hdc::Hdc;
pub use multi_similarity::MultiSimilarity;
pub use pair_margin::PairMargin;
pub use triplet_margin::{TripletKind, TripletMargin};
pub use uniform_histogram::UniformHistogram;

use crate::distance::DistanceConfig;
use crate::engine::Problem;
use crate::error::Error;
use crate::frame::Frame;
use crate::relation::Candidates;
use crate::tiling::Extra;
use crate::triplets::Chosen;

/// What a miner sees beside the row's pairs.
pub(crate) struct At<'a, T: Real> {
    pub(crate) anchor: usize,
    pub(crate) larger_is_nearer: bool,
    pub(crate) x: &'a Frame<'a, T>,
    pub(crate) r: &'a Frame<'a, T>,
    pub(crate) distance: &'a DistanceConfig,
    pub(crate) key: Key,
    pub(crate) prepared: &'a Prepared,
}

impl<T: Real> At<'_, T> {
    /// +1 where larger is nearer, otherwise −1.
    pub(crate) fn sign(&self) -> T {
        if self.larger_is_nearer { T::ONE } else { -T::ONE }
    }
}

/// What a miner of the whole batch found out before rows are mined.
#[derive(Clone, Debug, Default)]
pub(crate) enum Prepared {
    /// The miner needs nothing.
    #[default]
    Nothing,
    /// Edges of positives and negatives.
    Hdc([hdc::Edge; 2]),
    /// What was drawn of positives and negatives.
    Histogram([uniform_histogram::Drawn; 2]),
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
    fn prepare<T: Real>(&self, _problem: &Problem<'_, T>) -> Prepared {
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

            pub(crate) fn prepare<T: Real>(&self, problem: &Problem<'_, T>) -> Prepared {
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

impl MinerConfig {
    /// What the miner needs beside the row engine.
    pub(crate) fn needs(&self) -> Extra {
        match self {
            Self::Hdc(_) => Extra { per_row: 8, per_tile_row: 2200, ..Extra::default() },
            Self::UniformHistogram(miner) => {
                let bins = 8 * miner.num_bins + 96;
                let drawn = 12 * miner.num_bins * (miner.pos_per_bin + miner.neg_per_bin);
                Extra { per_row: bins, per_tile_row: bins, fixed: 3 * drawn, ..Extra::default() }
            }
            Self::Angular(_) => Extra { listed: 16, ..Extra::default() },
            _ => Extra::default(),
        }
    }
}

miners! {
    /// Negatives nearer than the farthest positive and positives farther than the nearest negative, within epsilon (Wang
    /// et al., Multi-Similarity Loss, CVPR 2019).
    MultiSimilarity,
    /// The farthest positive and the nearest negative of each anchor (Hermans et al., 2017).
    BatchHard,
    /// One positive and one negative an anchor, each hard, semihard or easy (Xuan et al., WACV 2020).
    BatchEasyHard,
    /// Triplets that violate a margin: all, hard, semihard, or those that keep it (Schroff et al., FaceNet, CVPR 2015).
    TripletMargin,
    /// Positives beyond one margin and negatives within another.
    PairMargin,
    /// The hardest share of the batch's positive and negative pairs (Yuan et al., ICCV 2017).
    Hdc,
    /// Triplets by the angle at the negative (Wang et al., Angular Loss, ICCV 2017).
    Angular,
    /// A negative for each positive, drawn so that all distances are equally likely (Wu et al., ICCV 2017).
    DistanceWeighted,
    /// Pairs drawn evenly over the range of distances.
    UniformHistogram,
}
