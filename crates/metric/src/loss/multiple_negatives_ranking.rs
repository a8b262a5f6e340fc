//! Ranking the paired positive above all other positives of the batch.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_sum_exp, softplus};
use crate::error::{Error, require};
use crate::relation::Screen;
use crate::row::{Directions, Row, RowLoss, Slopes};

/// Cross-entropy of `scale · (s(a, p) − margin)` against `scale · s(a, ·)` over the negatives, one element a pair (a, p).
///
/// Anchors are the batch; references are their positives in the same order, then any hard negatives
/// ([`Own::Positive`](crate::Own::Positive)), or a list of (anchor, positive) pairs says which are which
/// ([`Own::Pairs`](crate::Own::Pairs)); then an anchor may have several positives, which do not repel one another. With
/// `symmetric` the loss is the mean of this and of the same loss with positives as anchors and anchors as references (hard
/// negatives take no part in that direction).
///
/// Three kinds of false negatives are masked and counted: references with the anchor's label that are not its positive,
/// so give duplicates (for instance equal texts) one label; references whose similarity to the anchor is at least
/// `mask_above`, which are as good as the anchor itself; and with `teacher_guided` references that the teacher scores
/// higher than the anchor's best positive plus `teacher_margin`.
///
/// Defaults: scale 20 (temperature 0.05), margin 0, cosine, mean over pairs. Henderson et al., *Efficient Natural Language
/// Response Suggestion for Smart Reply*, 2017; as in sentence-transformers; `symmetric` as in Radford et al., CLIP, 2021;
/// `margin` as in Yang et al., *Improving Multilingual Sentence Embedding using Bi-directional Dual Encoder with Additive
/// Margin Softmax*, IJCAI 2019; `teacher_guided` as in Solatorio, *GISTEmbed*, 2024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRanking {
    /// Factor of the similarities (1 / temperature), greater than 0.
    pub scale: f64,
    /// Also rank each anchor for its positive.
    pub symmetric: bool,
    /// By how much the positive's similarity must exceed the others'; at least 0.
    pub margin: f64,
    /// Cosine from which a negative is taken for a duplicate of the anchor and masked; more than 1 masks none.
    pub mask_above: f64,
    /// Whether a teacher's scores, given beside the batch, mask false negatives.
    pub teacher_guided: bool,
    /// How far above the positive the teacher must score a reference to mask it.
    pub teacher_margin: f64,
}

impl Default for MultipleNegativesRanking {
    fn default() -> Self {
        MultipleNegativesRanking {
            scale: 20.0,
            symmetric: false,
            margin: 0.0,
            mask_above: 0.99999,
            teacher_guided: false,
            teacher_margin: 0.0,
        }
    }
}

impl RowLoss for MultipleNegativesRanking {
    const NAME: &'static str = "multiple_negatives_ranking";

    fn check(&self) -> Result<(), Error> {
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, Self::NAME, "scale", self.scale, "a finite number greater than 0")?;
        let valid = self.margin >= 0.0 && self.margin.is_finite();
        require(valid, Self::NAME, "margin", self.margin, "a finite number of at least 0")?;
        require(!self.mask_above.is_nan(), Self::NAME, "mask_above", self.mask_above, "a number")?;
        let (field, value) = ("teacher_margin", self.teacher_margin);
        require(value.is_finite(), Self::NAME, field, value, "a finite number")
    }

    fn screen(&self) -> Screen {
        Screen {
            above: (self.mask_above <= 1.0).then_some(self.mask_above),
            teacher: self.teacher_guided.then_some(self.teacher_margin),
        }
    }

    fn pairs(&self) -> Option<Directions> {
        Some(if self.symmetric { Directions::Both { share: 0.5 } } else { Directions::Forth })
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() {
            return;
        }
        let scale = row.sign() * T::of(self.scale);
        let margin = T::of(self.scale * self.margin);
        let negatives = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        let mut repulsion = T::ZERO;
        for (k, &s) in row.positives.iter().enumerate() {
            let (value, slope) = softplus(negatives - (scale * s - margin));
            let slope = slopes.element(0, value) * slope * scale;
            slopes.positives[k] = -slope;
            repulsion += slope;
        }
        vector::scale(slopes.negatives, repulsion);
    }
}
