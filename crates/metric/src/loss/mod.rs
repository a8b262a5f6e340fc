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

/// Does something with a loss of [`LossConfig`] according to its kind: one method a kind of loss.
pub(crate) trait Visitor: Sized {
    /// What comes out.
    type Out;
    /// A loss that is stated as one anchor's row.
    fn row<L: RowLoss>(self, loss: &L) -> Self::Out;
}

/// Declares [`LossConfig`] from one line a loss. The word before the name is the kind of the loss: the method of
/// [`Visitor`] that takes it.
macro_rules! losses {
    ($($(#[$note:meta])* $kind:ident $loss:ident,)*) => {
        /// A loss.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum LossConfig {
            $($(#[$note])* $loss($loss),)*
        }

        impl LossConfig {
            /// Hands the loss to the method of its kind.
            pub(crate) fn visit<V: Visitor>(&self, visitor: V) -> V::Out {
                match self {
                    $(Self::$loss(loss) => visitor.$kind(loss),)*
                }
            }
        }
    };
}

losses! {
    /// Pulls positives within one margin and pushes negatives beyond another (Hadsell et al., CVPR 2006).
    row Contrastive,
    /// Cross-entropy of each positive against the negatives of its anchor (Sohn, NIPS 2016; Chen et al., SimCLR, ICML 2020).
    row Ntxent,
    /// Cross-entropy of the positives of an anchor against all its pairs (Khosla et al., NeurIPS 2020).
    row Supcon,
    /// Log-sum-exp over positives and over negatives around one base similarity (Wang et al., CVPR 2019).
    row MultiSimilarity,
    /// Cross-entropy of the paired positive against every other positive of the batch and the hard negatives (Henderson et
    /// al., 2017).
    #[serde(alias = "mnrl")]
    row MultipleNegativesRanking,
}

impl LossConfig {
    /// The distance where the objective names none.
    pub fn distance(&self) -> DistanceConfig {
        struct Distance;
        impl Visitor for Distance {
            type Out = DistanceConfig;
            fn row<L: RowLoss>(self, loss: &L) -> DistanceConfig {
                loss.distance()
            }
        }
        self.visit(Distance)
    }

    /// The reducer where the objective names none.
    pub fn reducer(&self) -> ReducerConfig {
        struct Reducer;
        impl Visitor for Reducer {
            type Out = ReducerConfig;
            fn row<L: RowLoss>(self, loss: &L) -> ReducerConfig {
                loss.reducer()
            }
        }
        self.visit(Reducer)
    }

    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        struct Check;
        impl Visitor for Check {
            type Out = Result<(), Error>;
            fn row<L: RowLoss>(self, loss: &L) -> Result<(), Error> {
                loss.check()
            }
        }
        self.visit(Check)
    }

    /// First values of the loss's learnable scalars; empty where it has none.
    pub fn scalars(&self) -> Vec<f64> {
        struct Scalars;
        impl Visitor for Scalars {
            type Out = Vec<f64>;
            fn row<L: RowLoss>(self, loss: &L) -> Vec<f64> {
                loss.scalars()
            }
        }
        self.visit(Scalars)
    }
}
