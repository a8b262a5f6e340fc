//! The contrastive loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::mixup::{Branches, Rho};
use crate::reducer::{Range, ReducerConfig};
use crate::row::{Elements, MAX_CHANNELS, Pairs, Row, RowLoss, Slopes};

/// Each positive pair costs `max(0, d − pos_margin)` and each negative pair `max(0, neg_margin − d)`.
///
/// With a similarity the differences turn round, `max(0, pos_margin − s)` and `max(0, s − neg_margin)`, so set for
/// instance `pos_margin = 1`, `neg_margin = 0`. Positives and negatives are reduced separately and added.
///
/// Defaults: normalised Euclidean distance, mean over the non-zero pairs. Hadsell, Chopra, LeCun, *Dimensionality
/// Reduction by Learning an Invariant Mapping*, CVPR 2006, without its squares, as in pytorch-metric-learning; squares of
/// the distance (not of the hinge) come with `squared_euclidean`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Contrastive {
    /// Positives nearer than this cost nothing.
    pub pos_margin: f64,
    /// Negatives farther than this cost nothing.
    pub neg_margin: f64,
}

impl Default for Contrastive {
    fn default() -> Self {
        Contrastive { pos_margin: 0.0, neg_margin: 1.0 }
    }
}

impl RowLoss for Contrastive {
    const NAME: &'static str = "contrastive";
    const CHANNELS: &'static [&'static str] = &["positive", "negative"];
    const PAIRWISE: bool = true;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::avg_non_zero()
    }

    fn check(&self) -> Result<(), Error> {
        let finite =
            |field, value: f64| require(value.is_finite(), Self::NAME, field, value, "a finite number");
        finite("pos_margin", self.pos_margin)?;
        finite("neg_margin", self.neg_margin)
    }

    fn elements(&self, pairs: Pairs) -> Option<[u64; MAX_CHANNELS]> {
        Some([pairs.positive, pairs.negative, 0, 0])
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        let sign = if larger_is_nearer { 1.0 } else { -1.0 };
        Some(Branches::of_pairs(
            Rho::Hinge { scale: -sign, shift: self.pos_margin },
            Rho::Hinge { scale: sign, shift: self.neg_margin },
        ))
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let sign = row.sign();
        hinges(row.positives, -sign, self.pos_margin, 1.0, 0, slopes);
        hinges(row.negatives, sign, self.neg_margin, 1.0, 1, slopes);
    }
}

/// The elements `factor · max(0, turn · (s − margin))` of one channel: 0 for positives, otherwise negatives.
pub(super) fn hinges<T: Real>(
    side: &[T],
    turn: T,
    margin: f64,
    factor: f64,
    channel: usize,
    slopes: &mut Slopes<'_, T>,
) {
    let (margin, factor) = (T::of(margin), T::of(factor));
    let range = slopes.range();
    let non_zero = range == Range { low: 0.0, ..Range::ALL };
    if non_zero || range == Range::ALL {
        // What an element weighs does not depend on its value, so they are summed together.
        let weight = slopes.elements(channel, Elements::default());
        let to = if channel == 0 { &mut *slopes.positives } else { &mut *slopes.negatives };
        let (active, sum) = vector::hinge_sum(side, turn, margin, weight * factor * turn, to);
        let sum = sum * factor.f64();
        let active = if factor > T::ZERO { active } else { 0 };
        let count = side.len() as u64;
        slopes
            .elements(channel, Elements { count, active, kept: if non_zero { active } else { count }, sum });
        return;
    }
    for (k, &s) in side.iter().enumerate() {
        let excess = factor * turn * (s - margin);
        let weight = slopes.element(channel, excess.max(T::ZERO));
        let slope = if excess > T::ZERO { turn * factor * weight } else { T::ZERO };
        if channel == 0 { slopes.positives[k] = slope } else { slopes.negatives[k] = slope }
    }
}
