//! Triplets by how far they keep a margin.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, RowMiner};
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Which triplets are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TripletKind {
    /// All that violate the margin.
    #[default]
    All,
    /// Those in which the negative is no farther than the positive.
    Hard,
    /// Those in which the negative is farther than the positive, but not by more than the margin.
    Semihard,
    /// Those that keep the margin.
    Easy,
}

/// Takes the triplets whose margin, the negative's distance less the positive's, lies in an interval: for `all` at most
/// `margin`, for `hard` also at most 0, for `semihard` also greater than 0, for `easy` greater than `margin`.
///
/// With a similarity the difference turns round. Triplets are never listed: a loss on triplets takes the interval. A loss
/// on pairs gets the pairs that are in a triplet. O((P + N) log P) a row.
///
/// Defaults: margin 0.2, all. Semihard: Schroff et al., *FaceNet: A Unified Embedding for Face Recognition and Clustering*,
/// CVPR 2015.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TripletMargin {
    /// How much farther the negative should be than the positive.
    pub margin: f64,
    /// Which triplets are taken.
    pub type_of_triplets: TripletKind,
}

impl Default for TripletMargin {
    fn default() -> Self {
        TripletMargin { margin: 0.2, type_of_triplets: TripletKind::All }
    }
}

impl RowMiner for TripletMargin {
    fn check(&self) -> Result<(), Error> {
        require(self.margin.is_finite(), "triplet_margin miner", "margin", self.margin, "a finite number")
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let (sign, margin) = (at.sign(), T::of(self.margin));
        let (above, upto) = match self.type_of_triplets {
            TripletKind::All => (T::NEG_INFINITY, margin),
            TripletKind::Hard => (T::NEG_INFINITY, margin.min(T::ZERO)),
            TripletKind::Semihard => (T::ZERO, margin),
            TripletKind::Easy => (margin, T::INFINITY),
        };
        // Nearest first, so that a negative's margin with them falls along the list.
        let mut order: Vec<usize> = (0..positives.len()).collect();
        let near = positives.values();
        order.sort_by(|&a, &b| {
            (sign * near[b]).partial_cmp(&(sign * near[a])).unwrap_or(std::cmp::Ordering::Equal)
        });
        let sorted: Vec<T> = order.iter().map(|&k| near[k]).collect();
        let mut opened = vec![0i32; sorted.len() + 1];
        negatives.retain(|s| {
            let from = sorted.partition_point(|&p| sign * (p - s) > upto);
            let to = sorted.partition_point(|&p| sign * (p - s) > above);
            from < to
        });
        for &s in negatives.values() {
            let from = sorted.partition_point(|&p| sign * (p - s) > upto);
            let to = sorted.partition_point(|&p| sign * (p - s) > above);
            opened[from] += 1;
            opened[to] -= 1;
        }
        let mut keep = vec![false; sorted.len()];
        let mut open = 0;
        for (&k, step) in order.iter().zip(&opened) {
            open += step;
            keep[k] = open > 0;
        }
        positives.retain_entries(|k, _, _| keep[k]);
        Chosen::Margin { above, upto }
    }
}
