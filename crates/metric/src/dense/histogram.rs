//! The chance that a negative pair is nearer than a positive one.

use std::sync::OnceLock;

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DenseLoss;
use crate::batch::Batch;
use crate::context::Context;
use crate::error::{Error, require};
use crate::objective::{Evaluated, evaluate_row};
use crate::parts::Parts;
use crate::proxy::Needs;
use crate::reducer::ReducerConfig;
use crate::row::{Pairs, Row, RowLoss, Slopes, Stat};
use crate::tiling::{Extra, Shape};

/// `Σ_r h⁻_r Σ_{q ≤ r} h⁺_q`: the probability that a random negative pair is more similar than a random positive pair, from
/// the histograms `h` of their cosines, in which a pair is shared linearly between the two nearest of `n_bins + 1` nodes
/// from −1 to 1.
///
/// Pairs count that are part of a triplet, as in pytorch-metric-learning: a negative pair of two items without positives
/// does not. The value is one number, so there is no reducer.
///
/// Defaults: 100 bins, cosine. Ustinova and Lempitsky, *Learning Deep Embeddings with Histogram Loss*, NIPS 2016.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Histogram {
    /// Bins between −1 and 1, from 1 to 65,536.
    pub n_bins: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { n_bins: 100 }
    }
}

impl DenseLoss for Histogram {
    const NAME: &'static str = "histogram";

    fn check(&self) -> Result<(), Error> {
        let valid = (1..=1 << 16).contains(&self.n_bins);
        require(valid, Self::NAME, "n_bins", self.n_bins as f64, "a whole number from 1 to 65536")
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_reducer(Self::NAME)?;
        Needs::Cosine.check(Self::NAME, parts.distance)
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let rows = batch.labels.iter().map(|_| OnceLock::new()).collect();
        let state = Counting { bins: self.n_bins, rows, tables: OnceLock::new() };
        let sum = ReducerConfig::sum();
        evaluate_row(&state, parts.miner, parts.distance, &sum, batch, context, false)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let counts = size_of::<OnceLock<Counts>>() + 2 * (self.n_bins + 1) * size_of::<f64>();
        Extra { passes: Counting::PASSES, per_row: counts, ..Extra::default() }.bytes(shape)
    }
}

/// The histogram loss while a batch is evaluated: a first pass tells which rows have positives, a second one counts each
/// row's pairs, and the first row that needs the densities adds the rows up in their order.
struct Counting {
    bins: usize,
    rows: Vec<OnceLock<Counts>>,
    tables: OnceLock<Tables>,
}

/// Histograms of one row.
struct Counts {
    positive: Vec<f64>,
    negative: Vec<f64>,
    pairs: [u64; 2],
}

/// What follows from all rows.
struct Tables {
    value: f64,
    /// Slope of a positive pair in each bin.
    positive: Vec<f64>,
    /// Slope of a negative pair in each bin.
    negative: Vec<f64>,
}

impl Counting {
    /// The bin of a cosine and its share in the upper of the two nodes.
    fn bin(&self, s: f64) -> (usize, f64) {
        let place = (s.clamp(-1.0, 1.0) + 1.0) * 0.5 * self.bins as f64;
        let bin = (place as usize).min(self.bins - 1);
        (bin, place - bin as f64)
    }

    /// Whether the negative pair with this column is part of a triplet.
    fn counts<T: Real>(row: &Row<'_, T>, column: u32) -> bool {
        !row.positives.is_empty() || row.stat_of(column).is_some_and(|stat| stat[0] > 0.0)
    }

    fn count<T: Real>(&self, row: &Row<'_, T>) -> Counts {
        let empty = || vec![0.0; self.bins + 1];
        let mut counts = Counts { positive: empty(), negative: empty(), pairs: [0; 2] };
        let mut add = |side: usize, s: T| {
            let (bin, share) = self.bin(s.f64());
            let nodes = if side == 0 { &mut counts.positive } else { &mut counts.negative };
            nodes[bin] += 1.0 - share;
            nodes[bin + 1] += share;
            counts.pairs[side] += 1;
        };
        if !row.negatives.is_empty() {
            row.positives.iter().for_each(|&s| add(0, s));
        }
        let negatives = row.negatives.iter().zip(row.negative_columns);
        negatives.filter(|(_, column)| Self::counts(row, **column)).for_each(|(&s, _)| add(1, s));
        counts
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| {
            let nodes = self.bins + 1;
            let (mut positive, mut negative) = (vec![0.0; nodes], vec![0.0; nodes]);
            let mut pairs = [0; 2];
            for counts in self.rows.iter().filter_map(OnceLock::get) {
                positive.iter_mut().zip(&counts.positive).for_each(|(sum, h)| *sum += h);
                negative.iter_mut().zip(&counts.negative).for_each(|(sum, h)| *sum += h);
                pairs[0] += counts.pairs[0];
                pairs[1] += counts.pairs[1];
            }
            if pairs.contains(&0) {
                let none = vec![0.0; self.bins];
                return Tables { value: 0.0, positive: none.clone(), negative: none };
            }
            let [p, n] = pairs.map(|pairs| pairs as f64);
            positive.iter_mut().for_each(|h| *h /= p);
            negative.iter_mut().for_each(|h| *h /= n);
            let mut below = 0.0;
            let terms = positive.iter().zip(&negative).map(|(h, g)| {
                below += h;
                g * below
            });
            let value = terms.sum();
            // Along a bin of width 2/bins the share moves from its lower node r to r + 1. A positive pair then leaves the
            // cumulated density at r, a negative one gains the density at r + 1.
            let per_unit = 0.5 * self.bins as f64;
            let positive_slopes = negative[..self.bins].iter().map(|g| -g * per_unit / p).collect();
            let negative_slopes = positive[1..].iter().map(|h| h * per_unit / n).collect();
            Tables { value, positive: positive_slopes, negative: negative_slopes }
        })
    }
}

impl RowLoss for Counting {
    const NAME: &'static str = Histogram::NAME;
    const PASSES: usize = 2;

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn defined(&self, pairs: Pairs) -> bool {
        pairs.positive > 0 && pairs.negative > 0
    }

    fn stat<T: Real>(&self, pass: usize, row: &Row<'_, T>, _spread: &mut [f64]) -> Stat {
        if pass == 1 {
            self.rows[row.anchor].get_or_init(|| self.count(row));
        }
        [f64::from(!row.positives.is_empty()), 0.0, 0.0, 0.0]
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let tables = self.tables();
        if row.anchor == 0 {
            // The one element of the loss; its weight in a sum is 1.
            slopes.element(0, T::of(tables.value));
        }
        if !row.negatives.is_empty() {
            for (slope, &s) in slopes.positives.iter_mut().zip(row.positives) {
                *slope = T::of(tables.positive[self.bin(s.f64()).0]);
            }
        }
        let negatives = row.negatives.iter().zip(row.negative_columns);
        for (slope, (&s, &column)) in slopes.negatives.iter_mut().zip(negatives) {
            if Self::counts(row, column) {
                *slope = T::of(tables.negative[self.bin(s.f64()).0]);
            }
        }
    }
}
