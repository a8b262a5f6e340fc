//! Pair losses, each stated as one anchor's row.
//!
//! To add one: a file with its parameters and its [`RowLoss`], and one line in the list below.

mod binomial_deviance;
mod circle;
mod contrastive;
mod fast_ap;
mod generalized_lifted_structure;
mod hardest_negative_hinge;
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
mod similarity_distillation;
mod smooth_ap;
mod snr_contrastive;
pub(crate) mod softmax;
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
pub use hardest_negative_hinge::HardestNegativeHinge;
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
pub use similarity_distillation::{Match, SimilarityDistillation};
pub use smooth_ap::SmoothAp;
pub use snr_contrastive::SnrContrastive;
pub use supcon::Supcon;
pub use threshold_consistent_margin::ThresholdConsistentMargin;
pub use triplet_margin::TripletMargin;
pub use tuplet_margin::TupletMargin;

use crate::dense::{Angular, DenseLoss, DynamicSoftMargin, Histogram, Manifold, NPairs, Vicreg};
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::logit::{Anyloss, BinaryCrossEntropy, CrossEntropy};
use crate::proxy::{
    Arcface, Cosface, LargeMarginSoftmax, NormalizedSoftmax, P2sGrad, ProxyAnchor, ProxyLoss, ProxyNca,
    ProxyNcaPlusPlus, SoftTriple, Sphereface, SubCenterArcface,
};
use crate::reducer::ReducerConfig;
use crate::row::{Directions, RowLoss};
use crate::scored::{Angle, Cosent, CosineMse, ListwiseKl, MarginMse, ScoredLoss, Targets};

/// Does something with a loss of [`LossConfig`] according to its kind: one method a kind of loss.
pub(crate) trait Visitor: Sized {
    /// What comes out.
    type Out;
    /// A loss that is stated as one anchor's row.
    fn row<L: RowLoss>(self, loss: &L) -> Self::Out;
    /// A loss between embeddings and proxies.
    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out;
    /// A loss on a batch as a whole.
    fn dense<L: DenseLoss>(self, loss: &L) -> Self::Out;
    /// A loss on pairs with scores.
    fn scored<L: ScoredLoss>(self, loss: &L) -> Self::Out;
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
    /// Asks each positive to be nearer than the hardest other positive of the batch by a margin, both ways (Faghri et al.,
    /// VSE++, BMVC 2018).
    row HardestNegativeHinge,
    /// The similarities of a batch should be those that a teacher sees (Hinton et al., 2015; Tung and Mori, ICCV 2019).
    row SimilarityDistillation,
    /// Log-sum-exp of each proxy over the embeddings of the batch, its class and the others (Kim et al., CVPR 2020).
    proxy ProxyAnchor,
    /// Softmax over negative squared distances to the proxies (Movshovitz-Attias et al., ICCV 2017).
    proxy ProxyNca,
    /// Proxy-NCA at a low temperature (Teh et al., ECCV 2020).
    #[serde(alias = "proxy_nca++")]
    proxy ProxyNcaPlusPlus,
    /// Softmax over relaxed similarities to several proxies a class (Qian et al., ICCV 2019).
    proxy SoftTriple,
    /// Softmax over cosines to the proxies (Zhai and Wu, BMVC 2019).
    proxy NormalizedSoftmax,
    /// Softmax with a margin added to the angle (Deng et al., CVPR 2019).
    proxy Arcface,
    /// ArcFace on the nearest of several proxies a class (Deng et al., ECCV 2020).
    proxy SubCenterArcface,
    /// Softmax with a margin taken off the cosine (Wang et al., CVPR 2018).
    proxy Cosface,
    /// Softmax with a multiplied angle and proxies of length 1 (Liu et al., CVPR 2017).
    proxy Sphereface,
    /// Softmax with a multiplied angle and proxies that keep their lengths (Liu et al., ICML 2016).
    proxy LargeMarginSoftmax,
    /// Squared error of the cosines to the proxies (Zhang et al., CVPR 2019).
    #[serde(rename = "p2s_grad")]
    proxy P2sGrad,
    /// Random walk over embeddings and proxies (Aziere and Todorovic, CVPR 2019).
    proxy Manifold,
    /// One pair of each class against those of the others (Sohn, NIPS 2016).
    dense NPairs,
    /// The angle at the negative of a triplet (Wang et al., ICCV 2017).
    dense Angular,
    /// The chance that a negative pair is nearer than a positive one (Ustinova and Lempitsky, NIPS 2016).
    dense Histogram,
    /// The margin of a triplet by its place among all met so far (Zhang and Rusinkiewicz, ICCV 2019).
    dense DynamicSoftMargin,
    /// Agreement of two views, with dimensions that vary and do not repeat one another (Bardes et al., ICLR 2022).
    dense Vicreg,
    /// A score of the confusion matrix, such as F1, as the loss of a classifier (Han et al., 2024).
    dense Anyloss,
    /// Log-loss of each output of a classifier by itself.
    dense BinaryCrossEntropy,
    /// Log-loss of a softmax over the classes of a classifier.
    dense CrossEntropy,
    /// Pairs in the order of their scores (Su, 2022).
    scored Cosent,
    /// Pairs in the order of their scores, on angles in the complex plane (Li and Li, ACL 2024).
    scored Angle,
    /// Squared error of the cosines of pairs against their scores (Reimers and Gurevych, EMNLP 2019).
    scored CosineMse,
    /// Squared error of margins against a teacher's (Hofstätter et al., 2020).
    scored MarginMse,
    /// Divergence of a list's similarities from a teacher's scores (Hinton et al., 2015).
    #[serde(alias = "distill_kl")]
    scored ListwiseKl,
}

/// How much of a teacher's opinion of a batch a loss needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// On the pairs that it is given on, which may be those of each anchor and its own candidates alone.
    Candidates,
    /// On every pair of the batch.
    Whole,
}

/// What has to be handed in for a loss beside labelled embeddings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Proxies, and how many for each class: a learnable matrix in [`Context::proxies`](crate::Context), whose gradient is
    /// [`Evaluated::proxy_grad`](crate::Evaluated).
    pub proxies: Option<usize>,
    /// Target scores, and of what: [`Context::targets`](crate::Context).
    pub targets: Option<Targets>,
    /// Pairs: the references of the batch are the other ends of its rows, and then hard negatives.
    pub pairs: bool,
    /// A batch that is compared with itself: the loss refuses references.
    pub itself: bool,
    /// Logits of classes instead of embeddings: one output for each class, or one for two classes, the second of which is
    /// the positive one.
    pub logits: bool,
    /// The measure of a classifier that a loss on logits is after.
    pub measure: Option<&'static str>,
    /// A teacher's opinion of the batch, and how much of it: [`Context::teacher`](crate::Context).
    pub teacher: Option<Opinion>,
    /// How many numbers the loss keeps from batch to batch, zeros to begin with: [`Context::state`](crate::Context) takes
    /// them and [`Evaluated::state`](crate::Evaluated) returns them.
    pub state: usize,
}

impl Wants {
    /// Refuses a memory of earlier batches for a loss that cannot be compared with one: it needs references of another kind, or
    /// none at all.
    ///
    /// # Errors
    /// [`Error::NoMemory`], with the loss and the reason.
    pub fn remembered(&self, loss: &str) -> Result<(), Error> {
        let why = match self {
            Wants { proxies: Some(_), .. } => "it compares embeddings with proxies",
            Wants { targets: Some(_), .. } => "only given pairs with scores are compared",
            Wants { pairs: true, .. } => "its references are the other ends of the pairs of a batch",
            Wants { logits: true, .. } => "it compares logits with classes",
            Wants { itself: true, .. } => "it compares the batch with itself alone",
            Wants { teacher: Some(_), .. } => "a teacher sees the rows of a batch alone",
            _ => return Ok(()),
        };
        Err(Error::NoMemory { loss: loss.to_owned(), why })
    }
}

impl LossConfig {
    /// Its name in configs and messages.
    pub fn name(&self) -> &'static str {
        struct Name;
        impl Visitor for Name {
            type Out = &'static str;
            fn row<L: RowLoss>(self, _loss: &L) -> &'static str {
                L::NAME
            }
            fn proxy<L: ProxyLoss>(self, _loss: &L) -> &'static str {
                L::NAME
            }
            fn dense<L: DenseLoss>(self, _loss: &L) -> &'static str {
                L::NAME
            }
            fn scored<L: ScoredLoss>(self, _loss: &L) -> &'static str {
                L::NAME
            }
        }
        self.visit(Name)
    }

    /// The distance where the objective names none.
    pub fn distance(&self) -> DistanceConfig {
        struct Distance;
        impl Visitor for Distance {
            type Out = DistanceConfig;
            fn row<L: RowLoss>(self, loss: &L) -> DistanceConfig {
                loss.distance()
            }
            fn proxy<L: ProxyLoss>(self, loss: &L) -> DistanceConfig {
                loss.distance()
            }
            fn dense<L: DenseLoss>(self, loss: &L) -> DistanceConfig {
                loss.distance()
            }
            fn scored<L: ScoredLoss>(self, loss: &L) -> DistanceConfig {
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
            fn proxy<L: ProxyLoss>(self, loss: &L) -> ReducerConfig {
                loss.reducer()
            }
            fn dense<L: DenseLoss>(self, loss: &L) -> ReducerConfig {
                loss.reducer()
            }
            fn scored<L: ScoredLoss>(self, _loss: &L) -> ReducerConfig {
                ReducerConfig::mean()
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
            fn proxy<L: ProxyLoss>(self, loss: &L) -> Result<(), Error> {
                loss.check()
            }
            fn dense<L: DenseLoss>(self, loss: &L) -> Result<(), Error> {
                loss.check()
            }
            fn scored<L: ScoredLoss>(self, loss: &L) -> Result<(), Error> {
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
            fn proxy<L: ProxyLoss>(self, _loss: &L) -> Vec<f64> {
                Vec::new()
            }
            fn dense<L: DenseLoss>(self, _loss: &L) -> Vec<f64> {
                Vec::new()
            }
            fn scored<L: ScoredLoss>(self, _loss: &L) -> Vec<f64> {
                Vec::new()
            }
        }
        self.visit(Scalars)
    }

    /// What has to be handed in for the loss beside labelled embeddings.
    pub fn wants(&self) -> Wants {
        struct Asked;
        impl Visitor for Asked {
            type Out = Wants;
            fn row<L: RowLoss>(self, loss: &L) -> Wants {
                Wants {
                    itself: loss.mates(),
                    pairs: loss.pairs().is_some(),
                    teacher: loss.teacher(),
                    ..Wants::default()
                }
            }
            fn proxy<L: ProxyLoss>(self, loss: &L) -> Wants {
                Wants { proxies: Some(loss.per_class()), itself: true, ..Wants::default() }
            }
            fn dense<L: DenseLoss>(self, loss: &L) -> Wants {
                Wants {
                    pairs: L::PAIRED,
                    itself: L::ITSELF,
                    logits: L::LOGITS,
                    measure: L::LOGITS.then(|| loss.measure()),
                    state: loss.state(),
                    ..Wants::default()
                }
            }
            fn scored<L: ScoredLoss>(self, _loss: &L) -> Wants {
                Wants { targets: Some(L::TARGETS), pairs: true, ..Wants::default() }
            }
        }
        self.visit(Asked)
    }

    /// What a loss between the two sides of pairs does with the second of its directions.
    pub(crate) fn pairs(&self) -> Option<Directions> {
        struct Paired;
        impl Visitor for Paired {
            type Out = Option<Directions>;
            fn row<L: RowLoss>(self, loss: &L) -> Option<Directions> {
                loss.pairs()
            }
            fn proxy<L: ProxyLoss>(self, _loss: &L) -> Option<Directions> {
                None
            }
            fn dense<L: DenseLoss>(self, _loss: &L) -> Option<Directions> {
                None
            }
            fn scored<L: ScoredLoss>(self, _loss: &L) -> Option<Directions> {
                None
            }
        }
        self.visit(Paired)
    }
}
