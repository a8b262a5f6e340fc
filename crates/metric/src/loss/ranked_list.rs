//! The ranked list loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `(1 − imbalance) · ⟨d − (α − margin)⟩_P + imbalance · ⟨α − d⟩_N` for each anchor, one element an anchor.
///
/// `⟨·⟩_P` is the mean over positives farther than `α − margin` with weights `e^(Tp (d − (α − margin)))`, `⟨·⟩_N` that over
/// negatives nearer than `α` with weights `e^(Tn (α − d))`. The weights are part of the derivative, and their sums carry
/// `10⁻⁵` for each reference, both as in pytorch-metric-learning. A coincident negative has no direction to be pushed in and
/// is left out.
///
/// Defaults: margin 0.4, Tn 10, imbalance ½, alpha `1 + margin/2`, Tp 0, normalised Euclidean distance (distances only), mean
/// over anchors. Wang et al., *Ranked List Loss for Deep Metric Learning*, CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RankedList {
    /// Width of the gap between positives and negatives.
    pub margin: f64,
    /// Sharpness of the weights of negatives, at least 0.
    #[serde(rename = "Tn", alias = "tn")]
    pub tn: f64,
    /// Share of the negatives in the loss, between 0 and 1.
    pub imbalance: f64,
    /// Negatives farther than this cost nothing; by default `1 + margin/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Sharpness of the weights of positives, at least 0.
    #[serde(rename = "Tp", alias = "tp")]
    pub tp: f64,
}

impl Default for RankedList {
    fn default() -> Self {
        RankedList { margin: 0.4, tn: 10.0, imbalance: 0.5, alpha: None, tp: 0.0 }
    }
}

/// Added to the sum of weights for each reference.
const GUARD: f64 = 1e-5;

/// `Σ w x / (Σ w + guard)` with `w = e^(t x)` over the positive `x`; writes the derivative by each `x`.
fn weighted_mean<T: Real>(
    excess: impl Fn(T) -> f64,
    side: &[T],
    t: f64,
    guard: f64,
    slopes: &mut [T],
) -> f64 {
    let top = side.iter().map(|&s| t * excess(s).max(0.0)).fold(0.0, f64::max);
    let (mut weights, mut sum) = (0.0, 0.0);
    for &s in side {
        let x = excess(s);
        if x > 0.0 {
            let w = (t * x - top).exp();
            weights += w;
            sum += w * x;
        }
    }
    let total = weights + guard * (-top).exp();
    if total == 0.0 {
        return 0.0;
    }
    let mean = sum / total;
    for (d, &s) in slopes.iter_mut().zip(side) {
        let x = excess(s);
        if x > 0.0 {
            *d = T::of((t * x - top).exp() * (1.0 + t * (x - mean)) / total);
        }
    }
    mean
}

impl RowLoss for RankedList {
    const NAME: &'static str = "ranked_list";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn check(&self) -> Result<(), Error> {
        for (field, value) in [("margin", self.margin), ("alpha", self.alpha.unwrap_or(0.0))] {
            require(value.is_finite(), Self::NAME, field, value, "a finite number")?;
        }
        for (field, value) in [("Tn", self.tn), ("Tp", self.tp)] {
            let valid = value >= 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number of at least 0")?;
        }
        let valid = (0.0..=1.0).contains(&self.imbalance);
        require(valid, Self::NAME, "imbalance", self.imbalance, "between 0 and 1")
    }

    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        let needs = "a distance, where smaller is nearer";
        if distance.larger_is_nearer() {
            Err(Error::Distance { component: Self::NAME, needs })
        } else {
            Ok(())
        }
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let alpha = self.alpha.unwrap_or(1.0 + self.margin / 2.0);
        let inner = alpha - self.margin;
        let guard = GUARD * row.values.len() as f64;
        let far = |d: T| if d > T::ZERO { d.f64() - inner } else { 0.0 };
        let near = |d: T| if d > T::ZERO { alpha - d.f64() } else { 0.0 };
        let positive = weighted_mean(far, row.positives, self.tp, guard, slopes.positives);
        let negative = weighted_mean(near, row.negatives, self.tn, guard, slopes.negatives);
        let value = (1.0 - self.imbalance) * positive + self.imbalance * negative;
        let weight = slopes.element(0, T::of(value));
        let (pull, push) = (weight * T::of(1.0 - self.imbalance), -weight * T::of(self.imbalance));
        vector::scale(slopes.positives, pull);
        vector::scale(slopes.negatives, push);
    }
}
