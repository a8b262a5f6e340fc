//! Pair losses, each stated as one anchor's row.
//!
//! To add one: a file with its parameters and its [`RowLoss`], and one line in the list below.

mod contrastive;
mod multi_similarity;
mod multiple_negatives_ranking;
mod ntxent;
pub(crate) mod softmax;
mod supcon;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use contrastive::Contrastive;
pub use multi_similarity::MultiSimilarity;
pub use multiple_negatives_ranking::MultipleNegativesRanking;
pub use ntxent::Ntxent;
pub use supcon::Supcon;

use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::reducer::ReducerConfig;
use crate::row::RowLoss;

/// Declares [`LossConfig`] from one line a loss, and `each!`, which runs an expression with the loss at hand.
macro_rules! losses {
    ($($(#[$note:meta])* $loss:ident,)*) => {
        /// A pair loss.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum LossConfig {
            $($(#[$note])* $loss($loss),)*
        }

        macro_rules! each {
            ($config:expr, $bound:ident => $body:expr) => {
                match $config {
                    $($crate::loss::LossConfig::$loss($bound) => $body,)*
                }
            };
        }
    };
}

losses! {
    /// Pulls positives within one margin and pushes negatives beyond another (Hadsell et al., CVPR 2006).
    Contrastive,
    /// Cross-entropy of each positive against the negatives of its anchor (Sohn, NIPS 2016; Chen et al., SimCLR, ICML 2020).
    Ntxent,
    /// Cross-entropy of the positives of an anchor against all its pairs (Khosla et al., NeurIPS 2020).
    Supcon,
    /// Log-sum-exp over positives and over negatives around one base similarity (Wang et al., CVPR 2019).
    MultiSimilarity,
    /// Cross-entropy of the paired positive against every other positive of the batch and the hard negatives (Henderson et
    /// al., 2017).
    #[serde(alias = "mnrl")]
    MultipleNegativesRanking,
}
pub(crate) use each;

impl LossConfig {
    /// The distance where the objective names none.
    pub fn distance(&self) -> DistanceConfig {
        each!(self, loss => loss.distance())
    }

    /// The reducer where the objective names none.
    pub fn reducer(&self) -> ReducerConfig {
        each!(self, loss => loss.reducer())
    }

    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        each!(self, loss => loss.check())
    }
}
