//! The hardest share of all pairs of a batch.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, Prepared, RowMiner};
use crate::engine::Problem;
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Keeps the share `filter_percentage` of the batch's positive pairs that are farthest and of its negative pairs that are
/// nearest, rounded up. Of pairs that tie at the edge the first in row order stay.
///
/// The edge is found digit by digit in passes over the rows (four for f32, eight for f64), each of one matrix product, in
/// O(B) memory.
///
/// Default: one half. Yuan, Yang, Zhang, *Hard-Aware Deeply Cascaded Embedding*, ICCV 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hdc {
    /// Share of the pairs of each kind that is kept, between 0 and 1.
    pub filter_percentage: f64,
}

impl Default for Hdc {
    fn default() -> Self {
        Hdc { filter_percentage: 0.5 }
    }
}

/// The edge of one kind of pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    /// Keys greater than this stay.
    key: u64,
    /// How many pairs at the edge stay in each row.
    ties: Vec<u32>,
}

/// Bits of a number that grow with it; f32 fills the upper half.
fn key<T: Real>(value: T) -> u64 {
    let bits = if size_of::<T>() == 4 {
        u64::from((value.f64() as f32).to_bits()) << 32
    } else {
        value.f64().to_bits()
    };
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// How hard a pair is, as a key: far for positives, near for negatives. −0 and 0 are the same.
fn hardness<T: Real>(sign: T, kind: usize, value: T) -> u64 {
    key(if kind == 0 { -sign * value } else { sign * value } + T::ZERO)
}

impl RowMiner for Hdc {
    fn check(&self) -> Result<(), Error> {
        let valid = (0.0..=1.0).contains(&self.filter_percentage);
        require(valid, "hdc miner", "filter_percentage", self.filter_percentage, "between 0 and 1")
    }

    fn prepare<T: Real>(&self, problem: &Problem<'_, T>) -> Prepared {
        let sign = if problem.distance.larger_is_nearer() { T::ONE } else { -T::ONE };
        let mut tile = problem.tile();
        let digits = if size_of::<T>() == 4 { 4 } else { 8 };
        // Digits found so far, and how many pairs are wanted among those that agree with them.
        let mut found = [0u64; 2];
        let mut wanted = [0u64; 2];
        for digit in 0..digits {
            let shift = 56 - 8 * digit;
            let agrees = |key: u64, found: u64| digit == 0 || key >> (shift + 8) == found >> (shift + 8);
            let mut histogram = [[0u64; 256]; 2];
            problem.each_row(
                &mut tile,
                |_, _, scratch, _| {
                    let mut row = vec![[0u32; 256]; 2];
                    for (kind, side) in [&scratch.positives, &scratch.negatives].into_iter().enumerate() {
                        for key in side.values().iter().map(|&s| hardness(sign, kind, s)) {
                            if agrees(key, found[kind]) {
                                row[kind][(key >> shift) as usize & 255] += 1;
                            }
                        }
                    }
                    row
                },
                |_, row| {
                    for (total, row) in histogram.iter_mut().zip(row) {
                        total.iter_mut().zip(row).for_each(|(total, count)| *total += u64::from(count));
                    }
                },
            );
            for kind in 0..2 {
                if digit == 0 {
                    let pairs: u64 = histogram[kind].iter().sum();
                    wanted[kind] = (self.filter_percentage * pairs as f64).ceil() as u64;
                }
                let mut value = 255;
                while value > 0 && histogram[kind][value] < wanted[kind] {
                    wanted[kind] -= histogram[kind][value];
                    value -= 1;
                }
                found[kind] |= (value as u64) << shift;
            }
        }
        // `wanted` is now how many of the pairs exactly at the edge stay.
        let mut ties = [Vec::new(), Vec::new()];
        problem.each_row(
            &mut tile,
            |_, _, scratch, _| {
                let at_edge = |kind: usize, side: &Candidates<T>| {
                    side.values().iter().filter(|&&s| hardness(sign, kind, s) == found[kind]).count() as u64
                };
                [at_edge(0, &scratch.positives), at_edge(1, &scratch.negatives)]
            },
            |_, counts| {
                for (kind, here) in counts.into_iter().enumerate() {
                    let stay = here.min(wanted[kind]);
                    wanted[kind] -= stay;
                    ties[kind].push(stay as u32);
                }
            },
        );
        let [positive, negative] = ties;
        let edge = |kind: usize, ties: Vec<u32>| Edge { key: found[kind], ties };
        Prepared::Hdc([edge(0, positive), edge(1, negative)])
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let Prepared::Hdc(edges) = at.prepared else { return Chosen::All };
        let sign = at.sign();
        for (kind, (side, edge)) in [positives, negatives].into_iter().zip(edges).enumerate() {
            let mut ties = edge.ties[at.anchor];
            side.retain_entries(|_, _, s| {
                let key = hardness(sign, kind, s);
                let tie = key == edge.key && ties > 0;
                ties -= u32::from(tie);
                key > edge.key || tie
            });
        }
        Chosen::All
    }
}
