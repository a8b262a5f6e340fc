//! Drawing similarities of one kind together.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};
use crate::reducer::Range;
use crate::row::{Elements, MAX_CHANNELS, Pairs, Row, RowLoss, Slopes, Stat};

/// `max(0, (1 − pos_eps) μ⁺ − s)²` for each positive pair and `max(0, s − (1 + neg_eps) μ⁻)²` for each negative pair, where
/// `μ⁺` and `μ⁻` are the mean similarities of all positive and of all negative pairs of the batch.
///
/// The means are part of the derivative. With a distance the two forms change places: positives pay above
/// `(1 + pos_eps) μ⁺` and negatives below `(1 − neg_eps) μ⁻`. Positives and negatives are reduced separately and added. It
/// is meant to stand beside another loss, not alone.
///
/// Two passes over the rows come before the gradient: the means, and the derivative by them.
///
/// Defaults: 0.01 and 0.01, cosine, mean over pairs. Yu and Tao, *Deep Metric Learning with Tuplet Margin Loss*, ICCV 2019,
/// equation 12.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntraPairVariance {
    /// Tolerated relative deviation of positives, at least 0.
    pub pos_eps: f64,
    /// Tolerated relative deviation of negatives, at least 0.
    pub neg_eps: f64,
}

impl Default for IntraPairVariance {
    fn default() -> Self {
        IntraPairVariance { pos_eps: 0.01, neg_eps: 0.01 }
    }
}

/// One channel: excess over a bound is `turn · (s − factor · mean)`, and only where it is positive.
struct Bound {
    turn: f64,
    factor: f64,
    mean: f64,
}

/// What is summed over one side of a row: excesses, their squares, and how many are positive.
#[derive(Default)]
struct Sums {
    excess: f64,
    squares: f64,
    active: u64,
}

impl Bound {
    /// Whether the reducer keeps every element, or every one that is not 0.
    fn keeps_all(&self, range: Range) -> bool {
        range == Range::ALL || range == Range { low: 0.0, ..Range::ALL }
    }

    /// Hands every excess out by its place, and sums them up.
    #[inline(always)]
    fn each<T: Real>(&self, side: &[T], sums: &mut Sums, mut each: impl FnMut(usize, T)) {
        const LANES: usize = 8;
        let (turn, shift) = (T::of(self.turn), T::of(self.factor * self.mean));
        for (block, values) in side.chunks(1024).enumerate() {
            let (mut excess, mut squares, mut active) = ([T::ZERO; LANES], [T::ZERO; LANES], 0u32);
            for (part, values) in values.chunks(LANES).enumerate() {
                for (lane, &s) in values.iter().enumerate() {
                    let open = turn * (s - shift);
                    let open = if open > T::ZERO { open } else { T::ZERO };
                    excess[lane] += open;
                    squares[lane] += open * open;
                    active += u32::from(open > T::ZERO);
                    each(block * 1024 + part * LANES + lane, open);
                }
            }
            sums.excess += excess.into_iter().map(T::f64).sum::<f64>();
            sums.squares += squares.into_iter().map(T::f64).sum::<f64>();
            sums.active += u64::from(active);
        }
    }

    fn excess(&self, s: f64) -> f64 {
        (self.turn * (s - self.factor * self.mean)).max(0.0)
    }
}

impl IntraPairVariance {
    /// The bounds of positives and negatives.
    fn bounds<T: Real>(&self, row: &Row<'_, T>) -> [Bound; 2] {
        let [sum_p, count_p, sum_n, count_n] = row.folded(0);
        let mean = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let bound = |above: bool, eps: f64, mean: f64| {
            let (turn, factor) = if above { (1.0, 1.0 + eps) } else { (-1.0, 1.0 - eps) };
            Bound { turn, factor, mean }
        };
        let larger = row.larger_is_nearer;
        [
            bound(!larger, self.pos_eps, mean(sum_p, count_p)),
            bound(larger, self.neg_eps, mean(sum_n, count_n)),
        ]
    }
}

impl RowLoss for IntraPairVariance {
    const NAME: &'static str = "intra_pair_variance";
    const CHANNELS: &'static [&'static str] = &["positive", "negative"];
    const PASSES: usize = 2;

    fn check(&self) -> Result<(), Error> {
        for (field, value) in [("pos_eps", self.pos_eps), ("neg_eps", self.neg_eps)] {
            let valid = value >= 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number of at least 0")?;
        }
        Ok(())
    }

    fn elements(&self, pairs: Pairs) -> Option<[u64; MAX_CHANNELS]> {
        Some([pairs.positive, pairs.negative, 0, 0])
    }

    fn sums_suffice(&self, pass: usize) -> bool {
        pass == 0
    }

    fn stat<T: Real>(&self, pass: usize, row: &Row<'_, T>, _spread: &mut [f64]) -> Stat {
        let sides = [row.positives, row.negatives];
        let mut stat = Stat::default();
        if pass == 0 {
            let (sum, count) = row.negatives_sum();
            return [vector::sum(row.positives), row.positives.len() as f64, sum, count as f64];
        }
        for ((k, side), bound) in sides.into_iter().enumerate().zip(self.bounds(row)) {
            let range = row.range();
            if bound.keeps_all(range) {
                let mut sums = Sums::default();
                bound.each(side, &mut sums, |_, _| ());
                stat[2 * k] = row.share(side.len()) * 2.0 * sums.excess;
                continue;
            }
            let excess = side.iter().map(|s| bound.excess(s.f64())).filter(|v| range.holds(v * v));
            stat[2 * k] = row.share(side.len()) * excess.map(|v| 2.0 * v).sum::<f64>();
        }
        stat
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (counts, sums) = (row.folded(0), row.folded(1));
        for (k, bound) in self.bounds(row).into_iter().enumerate() {
            let side = if k == 0 { row.positives } else { row.negatives };
            // Every pair moves the mean, and with it every excess.
            let by_mean = -bound.turn * bound.factor * sums[2 * k] / counts[2 * k + 1].max(1.0);
            let by_mean = slopes.weight_of_batch(k) * T::of(by_mean);
            let range = slopes.range();
            if bound.keeps_all(range) {
                // What an element weighs does not depend on its value, so they are summed together.
                let weight = slopes.elements(k, Elements::default());
                let factor = weight * T::of(2.0 * bound.turn);
                let to = if k == 0 { &mut *slopes.positives } else { &mut *slopes.negatives };
                let mut sums = Sums::default();
                bound.each(side, &mut sums, |j, excess| to[j] = factor * excess + by_mean);
                let (count, active, sum) = (side.len() as u64, sums.active, sums.squares);
                let kept = if range.holds(0.0) { count } else { active };
                slopes.elements(k, Elements { count, active, kept, sum });
                continue;
            }
            for (j, &s) in side.iter().enumerate() {
                let excess = bound.excess(s.f64());
                let weight = slopes.element(k, T::of(excess * excess));
                let d = weight * T::of(2.0 * excess * bound.turn) + by_mean;
                if k == 0 { slopes.positives[j] = d } else { slopes.negatives[j] = d }
            }
        }
    }
}
