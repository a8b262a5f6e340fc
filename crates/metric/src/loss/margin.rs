//! The margin loss, with a boundary that may be learned.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::reducer::{Range, ReducerConfig};
use crate::row::{Elements, Row, RowLoss, Slopes};
use crate::triplets::Triplets;

/// `max(0, d_ap − β + margin) + max(0, β − d_an + margin)` for each triplet, one element a triplet.
///
/// β is the boundary between positives and negatives: one number, or with `num_classes` one for the class of each anchor.
/// With `learn_beta` it is learned: its values come in and its gradient goes out beside that of the embeddings, and the
/// loss gains `ν β` (for one β for each class, `ν β` of the anchor on every triplet). With a similarity the differences
/// turn round. All triplets of a row cost O(P + N).
///
/// Defaults: margin 0.2, nu 0, beta 1.2, not learned, normalised Euclidean distance, sum over the number of open hinges
/// (reducer `divisor`). Wu et al., *Sampling Matters in Deep Embedding Learning*, ICCV 2017, equation 5; as in
/// pytorch-metric-learning on triplets instead of pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Margin {
    /// Half the width of the gap between positives and negatives.
    pub margin: f64,
    /// Weight of β in the loss where it is learned; at least 0.
    pub nu: f64,
    /// The boundary, or its first value.
    pub beta: f64,
    /// Whether the boundary is learned.
    pub learn_beta: bool,
    /// For one boundary a class: how many classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
}

impl Default for Margin {
    fn default() -> Self {
        Margin { margin: 0.2, nu: 0.0, beta: 1.2, learn_beta: false, num_classes: None }
    }
}

impl RowLoss for Margin {
    const NAME: &'static str = "margin";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::divisor()
    }

    fn check(&self) -> Result<(), Error> {
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")?;
        require(self.beta.is_finite(), Self::NAME, "beta", self.beta, "a finite number")?;
        let valid = self.nu >= 0.0 && self.nu.is_finite();
        require(valid, Self::NAME, "nu", self.nu, "a finite number of at least 0")?;
        let classes = self.num_classes.unwrap_or(1) as f64;
        require(classes > 0.0, Self::NAME, "num_classes", classes, "at least 1")
    }

    fn scalars(&self) -> Vec<f64> {
        if self.learn_beta { vec![self.beta; self.num_classes.unwrap_or(1)] } else { Vec::new() }
    }

    fn classes(&self) -> Option<usize> {
        self.num_classes.filter(|_| self.learn_beta)
    }

    fn penalty(&self, scalars: &[f64], gradient: &mut [f64]) -> f64 {
        if self.num_classes.is_some() {
            return 0.0;
        }
        gradient.iter_mut().for_each(|d| *d += self.nu);
        scalars.iter().map(|beta| self.nu * beta).sum()
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, margin) = (row.sign(), T::of(self.margin));
        let index = if self.num_classes.is_some() && self.learn_beta { row.label as usize } else { 0 };
        let beta = row.scalars.get(index).copied().unwrap_or(self.beta);
        let regular = if row.scalars.is_empty() || self.num_classes.is_none() { 0.0 } else { self.nu * beta };
        let beta = T::of(beta);
        let pull = |s: T| (sign * (beta - s) + margin).max(T::ZERO);
        let push = |s: T| (sign * (s - beta) + margin).max(T::ZERO);
        let mut by_beta = 0.0;
        let range = slopes.range();
        let plain = regular == 0.0 && (range == Range::ALL || range == Range { low: 0.0, ..Range::ALL });
        if row.triplets == Triplets::All && plain {
            let (p, n) = (row.positives.len() as u64, row.negatives.len() as u64);
            let weight = slopes.elements(0, Elements::default());
            let (by_n, by_p) = (weight * T::of(n as f64), weight * T::of(p as f64));
            let (near, far) = (beta + sign * margin, beta - sign * margin);
            let (open_p, sum_p) =
                vector::hinge_sum(row.positives, -sign, near, -sign * by_n, slopes.positives);
            let (open_n, sum_n) = vector::hinge_sum(row.negatives, sign, far, sign * by_p, slopes.negatives);
            let active = p * n - (p - open_p) * (n - open_n);
            slopes.divide(0, (open_p * n + open_n * p) as f64);
            let kept = if range == Range::ALL { p * n } else { active };
            let sum = sum_p * n as f64 + sum_n * p as f64;
            slopes.elements(0, Elements { count: p * n, active, kept, sum });
            by_beta = (sign * weight).f64() * ((open_p * n) as f64 - (open_n * p) as f64);
        } else {
            row.triplets.each(sign, row.positives, row.negatives, |p, n, _| {
                let (attract, repel) = (pull(row.positives[p]), push(row.negatives[n]));
                let (pulls, pushes) = (attract > T::ZERO, repel > T::ZERO);
                slopes.divide(0, f64::from(u8::from(pulls) + u8::from(pushes)));
                let weight = slopes.element(0, attract + repel + T::of(regular));
                if pulls {
                    slopes.positives[p] += -sign * weight;
                    by_beta += (sign * weight).f64();
                }
                if pushes {
                    slopes.negatives[n] += sign * weight;
                    by_beta -= (sign * weight).f64();
                }
                if regular != 0.0 {
                    by_beta += self.nu * weight.f64();
                }
            });
        }
        if !row.scalars.is_empty() {
            slopes.scalar(index, by_beta);
        }
    }
}
