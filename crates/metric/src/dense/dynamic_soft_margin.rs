//! Triplets weighed by how far along their margins they stand among all triplets met so far.

use std::sync::OnceLock;

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DenseLoss;
use crate::batch::Batch;
use crate::context::Context;
use crate::distance::{DistanceConfig, Form};
use crate::error::{Error, require};
use crate::objective::{Evaluated, evaluate_row};
use crate::parts::Parts;
use crate::row::{Pairs, Row, RowLoss, Slopes, Stat};
use crate::tiling::{Extra, Shape};

/// `F(v) · v` with `v = d_ap − d_an` for each triplet, one element a triplet, where `F` is the cumulated moving histogram of
/// `v`: a margin that is soft, and moves with what has been learned.
///
/// The histogram has `num_bins` nodes, `2 |min_val| / num_bins` apart from `min_val` on; a triplet is shared linearly
/// between the two nearest, and what lies beyond an end counts for the node there. The histogram of a batch has sum 1 and
/// enters the moving one with weight `momentum` (all of it in the first batch), before the batch is weighed. `F(v)` is the
/// cumulated histogram up to the node at or below `v`, and a constant to the derivative.
///
/// The moving histogram is the state of the loss: [`Context::state`] takes it and [`Evaluated::state`] returns it, `num_bins`
/// numbers, zeros before the first batch. Without it every batch is a first one. A batch without triplets leaves it as it
/// is.
///
/// In pytorch-metric-learning 2.9 the derivative also runs through the histogram, so that a second step fails, counts of
/// the batch enter the moving histogram undivided, so that `momentum` hardly matters, and a triplet beyond the last node
/// fails; here it is as in the authors' code. The first value is the same.
///
/// Defaults: min_val −2, num_bins 10, momentum 0.01, Euclidean distance of normalised embeddings (no other than its powers),
/// mean over triplets. Zhang and Rusinkiewicz, *Learning Local Descriptors with a CDF-Based Dynamic Soft Margin*, ICCV 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DynamicSoftMargin {
    /// Where the histogram begins, below 0; it ends about as far above.
    pub min_val: f64,
    /// Nodes of the histogram, from 1 to 65,536.
    pub num_bins: usize,
    /// Weight of a batch in the moving histogram, from 0 to 1.
    pub momentum: f64,
}

impl Default for DynamicSoftMargin {
    fn default() -> Self {
        DynamicSoftMargin { min_val: -2.0, num_bins: 10, momentum: 0.01 }
    }
}

impl DenseLoss for DynamicSoftMargin {
    const NAME: &'static str = "dynamic_soft_margin";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn check(&self) -> Result<(), Error> {
        let below = self.min_val < 0.0 && self.min_val.is_finite();
        require(below, Self::NAME, "min_val", self.min_val, "a finite number below 0")?;
        let valid = (1..=1 << 16).contains(&self.num_bins);
        require(valid, Self::NAME, "num_bins", self.num_bins as f64, "a whole number from 1 to 65536")?;
        let share = (0.0..=1.0).contains(&self.momentum);
        require(share, Self::NAME, "momentum", self.momentum, "between 0 and 1")
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        let needs = "the Euclidean distance of normalised embeddings, to some power";
        match parts.distance.form() {
            Form::Euclidean { .. } if parts.distance.norm().is_some() => Ok(()),
            _ => Err(Error::Distance { component: Self::NAME, needs }),
        }
    }

    fn state(&self) -> usize {
        self.num_bins
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let before = context.state.map_or_else(|| vec![0.0; self.num_bins], <[f64]>::to_vec);
        let rows = batch.labels.iter().map(|_| OnceLock::new()).collect();
        let weighing = Weighing { loss: self, before, rows, moved: OnceLock::new() };
        let mut found =
            evaluate_row(&weighing, parts.miner, parts.distance, parts.reducer, batch, context, false)?;
        found.state = weighing.moved.into_inner().map_or(weighing.before, |moved| moved.histogram);
        Ok(found)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let counts = size_of::<OnceLock<Vec<f64>>>() + self.num_bins * size_of::<f64>();
        let fixed = 4 * self.num_bins * size_of::<f64>();
        Extra { passes: Weighing::PASSES, per_row: counts, fixed, ..Extra::default() }.bytes(shape)
    }
}

/// The loss while a batch is evaluated: a pass counts each row's triplets, and the first row that needs a weight adds the
/// counts up in the order of the rows.
struct Weighing<'a> {
    loss: &'a DynamicSoftMargin,
    before: Vec<f64>,
    rows: Vec<OnceLock<Vec<f64>>>,
    moved: OnceLock<Moved>,
}

/// The moving histogram after the batch, and its running sum.
struct Moved {
    histogram: Vec<f64>,
    cumulated: Vec<f64>,
}

impl Weighing<'_> {
    /// The node at or below `v`, and its share of the next.
    fn place(&self, v: f64) -> (usize, f64) {
        let width = 2.0 * self.loss.min_val.abs() / self.loss.num_bins as f64;
        let at = ((v - self.loss.min_val) / width).max(0.0);
        let node = (at as usize).min(self.loss.num_bins - 1);
        (node, (at - node as f64).min(1.0))
    }

    fn moved(&self) -> &Moved {
        self.moved.get_or_init(|| {
            let mut batch = vec![0.0; self.before.len()];
            for counts in self.rows.iter().filter_map(OnceLock::get) {
                batch.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            let (triplets, known) = (batch.iter().sum::<f64>(), self.before.iter().sum::<f64>());
            let momentum = if known > 0.0 { self.loss.momentum } else { 1.0 };
            let histogram: Vec<f64> = if triplets > 0.0 {
                let mix = |(&before, count): (&f64, f64)| {
                    (1.0 - momentum) * before / known.max(f64::MIN_POSITIVE) + momentum * count / triplets
                };
                self.before.iter().zip(batch).map(mix).collect()
            } else {
                self.before.clone()
            };
            let cumulated = histogram
                .iter()
                .scan(0.0, |sum, h| {
                    *sum += h;
                    Some(*sum)
                })
                .collect();
            Moved { histogram, cumulated }
        })
    }
}

impl RowLoss for Weighing<'_> {
    const NAME: &'static str = DynamicSoftMargin::NAME;
    const PASSES: usize = 1;

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn defined(&self, pairs: Pairs) -> bool {
        pairs.positive > 0 && pairs.negative > 0
    }

    fn stat<T: Real>(&self, _pass: usize, row: &Row<'_, T>, _spread: &mut [f64]) -> Stat {
        self.rows[row.anchor].get_or_init(|| {
            let mut counts = vec![0.0; self.loss.num_bins];
            let last = counts.len() - 1;
            row.triplets.each(row.sign(), row.positives, row.negatives, |_, _, by| {
                let (node, share) = self.place(-by.f64());
                counts[node] += 1.0 - share;
                counts[(node + 1).min(last)] += share;
            });
            counts
        });
        Stat::default()
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let Moved { cumulated, .. } = self.moved();
        row.triplets.each(row.sign(), row.positives, row.negatives, |p, n, by| {
            let factor = T::of(cumulated[self.place(-by.f64()).0]);
            let slope = slopes.element(0, factor * -by) * factor;
            slopes.positives[p] += slope;
            slopes.negatives[n] += -slope;
        });
    }
}
