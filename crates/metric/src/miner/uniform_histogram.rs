//! Pairs drawn evenly over the range of distances.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, Prepared, RowMiner};
use crate::engine::Problem;
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Draws pairs from each of `num_bins` equal bins between the smallest and the largest distance of the batch, positives
/// and negatives apart: `pos_per_bin` and `neg_per_bin` draws from each bin that has pairs. A pair that is drawn twice
/// counts once.
///
/// Two passes over the rows, of one matrix product each, find the range and the counts; memory is O(B · bins). Draws
/// depend on the context's key.
///
/// Defaults: 100 bins, 10 and 10, as in pytorch-metric-learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UniformHistogram {
    /// Bins of each histogram, at least 1.
    pub num_bins: usize,
    /// Positive pairs drawn from each bin.
    pub pos_per_bin: usize,
    /// Negative pairs drawn from each bin.
    pub neg_per_bin: usize,
}

impl Default for UniformHistogram {
    fn default() -> Self {
        UniformHistogram { num_bins: 100, pos_per_bin: 10, neg_per_bin: 10 }
    }
}

/// The bins of one kind of pairs and what was drawn from them.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    low: f64,
    width: f64,
    bins: usize,
    /// (row, bin, how many pairs of the row and bin come before), sorted.
    pairs: Vec<(u32, u32, u32)>,
}

impl Drawn {
    fn bin(&self, value: f64) -> usize {
        if self.width > 0.0 { (((value - self.low) / self.width) as usize).min(self.bins - 1) } else { 0 }
    }
}

impl RowMiner for UniformHistogram {
    fn check(&self) -> Result<(), Error> {
        let bins = self.num_bins as f64;
        require(
            (1.0..=65_536.0).contains(&bins),
            "uniform_histogram miner",
            "num_bins",
            bins,
            "between 1 and 65536",
        )
    }

    fn prepare<T: Real>(&self, problem: &Problem<'_, T>) -> Prepared {
        let mut tile = problem.tile();
        let mut ends = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        let span = |side: &Candidates<T>| {
            let values = side.values().iter().map(|s| s.f64());
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], s| [low.min(s), high.max(s)])
        };
        problem.each_row(
            &mut tile,
            |_, _, scratch, _| [span(&scratch.positives), span(&scratch.negatives)],
            |_, row| {
                for (end, row) in ends.iter_mut().zip(row) {
                    *end = [end[0].min(row[0]), end[1].max(row[1])];
                }
            },
        );
        let bins = self.num_bins;
        let mut drawn = ends.map(|[low, high]| {
            let width = if high > low { (high - low) / bins as f64 } else { 0.0 };
            Drawn { low, width, bins, pairs: Vec::new() }
        });
        let mut counts: [Vec<Vec<u32>>; 2] = [Vec::new(), Vec::new()];
        problem.each_row(
            &mut tile,
            |_, _, scratch, _| {
                [(&scratch.positives, &drawn[0]), (&scratch.negatives, &drawn[1])].map(|(side, drawn)| {
                    let mut counts = vec![0u32; bins];
                    side.values().iter().for_each(|s| counts[drawn.bin(s.f64())] += 1);
                    counts
                })
            },
            |_, row| counts.iter_mut().zip(row).for_each(|(counts, row)| counts.push(row)),
        );
        let key = problem.key.named("uniform_histogram");
        for (kind, per_bin) in [self.pos_per_bin, self.neg_per_bin].into_iter().enumerate() {
            for bin in 0..bins {
                let total: u64 = counts[kind].iter().map(|row| u64::from(row[bin])).sum();
                if total == 0 {
                    continue;
                }
                let key = key.at(kind as u64).at(bin as u64);
                let mut ordinals: Vec<u64> =
                    (0..per_bin as u64).map(|draw| key.below(draw, total as usize) as u64).collect();
                ordinals.sort_unstable();
                ordinals.dedup();
                let mut ordinals = ordinals.into_iter().peekable();
                let mut before = 0;
                for (i, row) in counts[kind].iter().enumerate() {
                    let end = before + u64::from(row[bin]);
                    while let Some(ordinal) = ordinals.next_if(|&ordinal| ordinal < end) {
                        drawn[kind].pairs.push((i as u32, bin as u32, (ordinal - before) as u32));
                    }
                    before = end;
                }
            }
            drawn[kind].pairs.sort_unstable();
        }
        Prepared::Histogram(drawn)
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let Prepared::Histogram(drawn) = at.prepared else { return Chosen::All };
        for (side, drawn) in [positives, negatives].into_iter().zip(drawn) {
            let row = at.anchor as u32;
            let from = drawn.pairs.partition_point(|pair| pair.0 < row);
            let to = drawn.pairs.partition_point(|pair| pair.0 <= row);
            let mut seen = vec![0u32; drawn.bins];
            side.retain_entries(|_, _, s| {
                let bin = drawn.bin(s.f64());
                seen[bin] += 1;
                drawn.pairs[from..to].binary_search(&(row, bin as u32, seen[bin] - 1)).is_ok()
            });
        }
        Chosen::All
    }
}
