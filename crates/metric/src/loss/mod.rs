//! Pair losses, each stated as one anchor's row.
//!
//! To add one: a file with its parameters and its [`RowLoss`], and one line in the list below.

mod binomial_deviance;
mod circle;
mod contrastive;
mod fast_ap;
mod generalized_lifted_structure;
mod instance;
mod intra_pair_variance;
mod lifted_structure;
mod margin;
mod multi_similarity;
mod multiple_negatives_ranking;
mod nca;
mod ntxent;
mod pnp;
mod ranked_list;
mod smooth_ap;
mod snr_contrastive;
mod softmax;
mod supcon;
mod threshold_consistent_margin;
mod triplet_margin;
mod tuplet_margin;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use binomial_deviance::BinomialDeviance;
pub use circle::Circle;
pub use contrastive::Contrastive;
pub use fast_ap::FastAp;
pub use generalized_lifted_structure::GeneralizedLiftedStructure;
pub use instance::Instance;
pub use intra_pair_variance::IntraPairVariance;
pub use lifted_structure::LiftedStructure;
pub use margin::Margin;
pub use multi_similarity::MultiSimilarity;
pub use multiple_negatives_ranking::MultipleNegativesRanking;
pub use nca::Nca;
pub use ntxent::Ntxent;
pub use pnp::{Pnp, PnpVariant};
pub use ranked_list::RankedList;
pub use smooth_ap::SmoothAp;
pub use snr_contrastive::SnrContrastive;
pub use supcon::Supcon;
pub use threshold_consistent_margin::ThresholdConsistentMargin;
pub use triplet_margin::TripletMargin;
pub use tuplet_margin::TupletMargin;

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
    /// Asks each positive to be nearer than each negative by a margin (Weinberger and Saul, JMLR 2009; FaceNet, CVPR 2015).
    row TripletMargin,
    /// Cross-entropy of each positive against the negatives of its anchor (Sohn, NIPS 2016; Chen et al., SimCLR, ICML 2020).
    row Ntxent,
    /// Cross-entropy of the positives of an anchor against all its pairs (Khosla et al., NeurIPS 2020).
    row Supcon,
    /// Log-sum-exp over positives and over negatives around one base similarity (Wang et al., CVPR 2019).
    row MultiSimilarity,
    /// Log-sum-exp with each pair weighed by how far it is from its optimum (Sun et al., CVPR 2020).
    row Circle,
    /// Each positive pair against the negatives of both its ends (Oh Song et al., CVPR 2016).
    row LiftedStructure,
    /// Soft maxima over positives and over negatives of an anchor (Hermans et al., 2017).
    row GeneralizedLiftedStructure,
    /// Probability that a neighbour drawn by a softmax of distances is of the anchor's class (Goldberger et al., NIPS 2004).
    row Nca,
    /// Positives within and negatives beyond a boundary that may be learned (Wu et al., ICCV 2017).
    row Margin,
    /// Average precision over soft histograms of distances (Cakir et al., CVPR 2019).
    row FastAp,
    /// Average precision with a smooth rank (Brown et al., ECCV 2020).
    row SmoothAp,
    /// Draws similarities of one kind towards their mean, beside another loss (Yu and Tao, ICCV 2019).
    row IntraPairVariance,
    /// Cross-entropy of each positive against negatives with a slack angle for hard positives (Yu and Tao, ICCV 2019).
    row TupletMargin,
    /// The contrastive loss on signal-to-noise distances (Yuan et al., CVPR 2019).
    row SnrContrastive,
    /// Weighted mean violation of positives and negatives of an anchor (Wang et al., CVPR 2019).
    row RankedList,
    /// Each item as a class of its own (Zheng et al., TOMM 2020).
    row Instance,
    /// One threshold for all classes, beside another loss (Zhang et al., ICLR 2024).
    row ThresholdConsistentMargin,
    /// Log-loss of each pair by itself, positives and negatives balanced (Yi et al., 2014).
    row BinomialDeviance,
    /// Counts the negatives before each positive, smoothly (Li et al., AAAI 2022).
    row Pnp,
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
