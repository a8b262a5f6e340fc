//! Examples made of two: mixup for losses on pairs and proxies.
//!
//! A loss on pairs is not a sum over examples, so the label of a mixed example cannot be interpolated as in classification.
//! [`Metrix`] writes such a loss as two branches ([`Branches`]), one over the positives of an anchor and one over its
//! negatives, and gives every pair of an anchor and an example a label `y`, 1 for positives and 0 for negatives:
//!
//! `l(a) = τ( σ⁺(Σ y ρ⁺(s(a, x))) + σ⁻(Σ (1 − y) ρ⁻(s(a, x))) )`.
//!
//! An example mixed of two with the share λ of the first has the label `y = λ y₁ + (1 − λ) y₂` and acts in both branches.
//! A loss opts in with [`RowLoss::branches`](crate::RowLoss::branches); [`two_branch`] evaluates any [`Branches`] on any labels.
//!
//! Which rows are mixed ([`Mixtures`]) follows from the labels of the batch and a key alone. Mixtures of embeddings are made
//! here; for mixtures of inputs or of features whoever has the network makes them, and hands in their embeddings
//! ([`Context::mixed`](crate::Context)). [`utilisation`] measures how far unseen embeddings are from what training saw.

mod branches;
mod mixtures;
mod two_branch;
mod utilisation;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use branches::{Branch, Branches, ElementOf, Rho, Sigma, Tau};
pub use mixtures::{Anchor, Mixtures};
pub(crate) use two_branch::evaluate_two_branch;
pub use two_branch::{Labels, TwoBranch, two_branch};
pub use utilisation::{Utilisation, nearest_squares, utilisation, utilisation_of_mixtures};

use crate::error::{Error, require};

/// Where two examples are mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Stored vectors, such as pixels; the whole network runs once more on the mixtures. Texts cannot be mixed.
    Input,
    /// What the head reads: the pooled text, or the stored vector; the whole head runs once more.
    Pooled,
    /// What the last linear layer of the head reads; that layer and what follows run once more. Without a linear layer, as
    /// `pooled`.
    #[default]
    Feature,
    /// Embeddings, which are then normalised again; nothing runs once more.
    Embedding,
}

/// Which mixtures an anchor is compared with, by what their two sources are to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// All mixtures of the batch: of two positives (y = 1), of two negatives (y = 0), and of one of each. The anchor itself
    /// counts as a positive.
    #[default]
    All,
    /// Those of a positive and a negative.
    PositiveNegative,
    /// Those of the anchor itself and a negative.
    AnchorNegative,
    /// `positive_negative` or `anchor_negative`, drawn with equal chances for each step.
    Alternate,
}

/// How a loss is taken on mixtures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The two branches of the paper, for losses that decompose: contrastive, snr_contrastive, binomial_deviance,
    /// generalized_lifted_structure, nca, multi_similarity, proxy_anchor.
    #[default]
    Branches,
    /// For any other loss on pairs or proxies: λ times the loss with every mixture in the class of its first source, plus
    /// 1 − λ times the loss with every mixture in the class of its second. One λ for all mixtures of a step.
    Labelings,
}

/// The losses that decompose into two branches, by name.
pub const DECOMPOSED: [&str; 7] = [
    "binomial_deviance",
    "contrastive",
    "generalized_lifted_structure",
    "multi_similarity",
    "nca",
    "proxy_anchor",
    "snr_contrastive",
];

/// `L + weight · L̃`, where the anchors of L̃ are those of the loss (embeddings, or proxies) and its examples are mixtures.
///
/// # How many mixtures
/// A step puts the rows of its batch in a random circle and mixes each with the next, so that a batch of B rows makes B
/// mixtures (times `rounds`), no row is mixed with itself and each is source of two. At the levels before the embedding that
/// costs one more pass over as many rows as the batch has, and the loss one more product of B × B; the reference code
/// compares an anchor with mixtures of its own alone, at B² of them. An anchor is compared with the mixtures that `pairs`
/// names; distance and reducer are those of the loss, and a miner chooses among the pairs of the batch alone. Elements of a
/// mixture count as the loss counts pairs: those with a label above 0 in the positive branch, below 1 in the negative one.
///
/// Beside a memory of earlier batches, mixtures are of the new batch alone; with a `batch_weight` above 0 the term stands
/// beside both losses.
///
/// # Any other loss
/// With `form = "labelings"` a loss on pairs or proxies need not decompose. Where the loss is a sum over pairs (contrastive)
/// that is the same as the two branches; elsewhere λ stands before σ instead of inside.
///
/// Defaults: feature level, α = 2, weight 0.4, all mixtures of the batch, one round, a λ for each mixture. Venkataramanan,
/// Psomas, Kijak, Amsaleg, Karantzalos, Avrithis, *It Takes Two to Tango: Mixup for Deep Metric Learning*, ICLR 2022. The
/// paper's own draws are not known; the authors' code mixes each anchor's first positive with all negatives, or the anchor
/// with all negatives, with one λ a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrix {
    /// Where two examples are mixed.
    pub level: Level,
    /// Both parameters of the Beta distribution that λ is drawn from, greater than 0; 1 is uniform, more is nearer to ½.
    pub alpha: f64,
    /// Factor of the loss on mixtures; 0 leaves them out.
    pub weight: f64,
    /// Which mixtures an anchor is compared with.
    pub pairs: Pairing,
    /// How the loss is taken on mixtures.
    pub form: Form,
    /// Mixtures for each row of the batch, at least 1.
    pub rounds: usize,
    /// Whether one λ is drawn for all mixtures of a step instead of one for each.
    pub one_lambda: bool,
    /// Whether a mixture of embeddings is brought back to length 1. Distances that normalise do so in any case; turn it off
    /// for others on embeddings that do not have length 1.
    pub renormalize: bool,
}

impl Default for Metrix {
    fn default() -> Self {
        Metrix {
            level: Level::default(),
            alpha: 2.0,
            weight: 0.4,
            pairs: Pairing::default(),
            form: Form::default(),
            rounds: 1,
            one_lambda: false,
            renormalize: true,
        }
    }
}

/// A loss on mixed examples beside the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum MixupConfig {
    /// Mixtures that act partly as positives and partly as negatives (Venkataramanan et al., It Takes Two to Tango, ICLR
    /// 2022).
    Metrix(Metrix),
}

impl MixupConfig {
    /// The settings.
    pub fn metrix(&self) -> &Metrix {
        match self {
            MixupConfig::Metrix(metrix) => metrix,
        }
    }
}

impl Metrix {
    pub(crate) const NAME: &'static str = "metrix";

    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        let finite = |value: f64| value.is_finite();
        let must = "a finite number greater than 0";
        require(self.alpha > 0.0 && finite(self.alpha), Self::NAME, "alpha", self.alpha, must)?;
        let must = "a finite number of at least 0";
        require(self.weight >= 0.0 && finite(self.weight), Self::NAME, "weight", self.weight, must)?;
        require(self.rounds > 0, Self::NAME, "rounds", 0.0, "at least 1")?;
        if self.form == Form::Labelings && self.pairs != Pairing::All {
            return Err(Error::Combination {
                component: Self::NAME,
                must: "form = \"labelings\" compares anchors with all mixtures, so pairs must be \"all\"",
            });
        }
        Ok(())
    }

    /// Whether it adds anything.
    pub fn active(&self) -> bool {
        self.weight > 0.0
    }

    /// An upper bound on the bytes of the mixtures of a batch of `rows`, and of what becomes of them, beside the engine's.
    pub(crate) fn memory_bytes(&self, rows: usize, dim: usize, value_bytes: usize, threads: usize) -> usize {
        let mixtures = self.rounds * rows;
        // Sources, shares and classes; mixtures, prepared sources and gradients of both; a row's labels and slopes.
        mixtures * (16 + 8)
            + (2 * mixtures + 3 * rows) * (dim + 4) * value_bytes
            + threads * 2 * mixtures * 48
            + (16 << 10)
    }
}
