//! Runs through all rows that come before the gradient, or stand alone: statistics, and lists of what a miner keeps.

use parallax_kernels::{Real, vector};
use rayon::prelude::*;

use super::{Account, Problem, Run, Scratch};
use crate::distance::Form;
use crate::objective::{MinedPairs, MinedTriplets};
use crate::relation::Screen;
use crate::row::{Pairs, SPREAD, Stat};
use crate::triplets::Chosen;

impl<T: Real> Problem<'_, T> {
    /// One pass of statistics; returns the pairs that reach the loss.
    pub(super) fn pass(&self, run: &mut Run<'_, T>, pass: usize, tile: &mut [T]) -> Pairs {
        let b = self.x.rows();
        let mut stats = vec![Stat::default(); b];
        let mut mined = Pairs::default();
        let spreads = self.relation.columns_are_rows();
        let mut spread_over: Vec<(u32, f64)> = Vec::new();
        let work = |i: usize, s: &[T], scratch: &mut Scratch<T>, account: &Account| {
            let row = self.open(run, i, s, scratch, &[]).row;
            let mut spread = vec![0.0; row.positives.len()];
            let stat = run.loss.stat(pass, &row, &mut spread);
            let spread: Vec<(u32, f64)> = if spreads {
                let columns = row.positive_columns.iter().copied().zip(spread);
                columns.filter(|(_, value)| *value != 0.0).collect()
            } else {
                Vec::new()
            };
            (account.mined, stat, spread)
        };
        let take = |i: usize, (pairs, stat, spread): (Pairs, Stat, Vec<(u32, f64)>)| {
            mined.positive += pairs.positive;
            mined.negative += pairs.negative;
            stats[i] = stat;
            spread_over.extend(spread);
        };
        let alone = self.miner.is_none() && self.screen == Screen::default() && spreads;
        let similarities = self.distance.form() == Form::Product;
        if alone && (run.loss.positives_suffice(pass) || run.loss.sums_suffice(pass) && similarities) {
            // Similarities are linear: their sum over all references is that with the sum of the references.
            let all = run.loss.sums_suffice(pass).then(|| self.sum_of_references());
            self.each_positive(all.as_deref(), work, take);
            mined = self.relation.pairs().unwrap_or(mined);
        } else {
            self.each_row(tile, work, take);
        }
        for (column, value) in spread_over {
            stats[column as usize][SPREAD] += value;
        }
        let mut folded = Stat::default();
        stats.iter().for_each(|stat| run.loss.fold(pass, &mut folded, stat));
        run.stats = stats;
        run.folded.push(folded);
        mined
    }

    /// `Σ rⱼ`.
    fn sum_of_references(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.dim];
        for row in self.r.values.chunks_exact(self.dim) {
            sum.iter_mut().zip(row).for_each(|(sum, v)| *sum += v.f64());
        }
        sum
    }

    /// [`each_row`](Self::each_row) with the positives alone, pair by pair, for a batch against itself without a miner. With
    /// the sum of all references, the sum of the negatives' values is left in the scratch.
    fn each_positive<R: Send>(
        &self,
        all: Option<&[f64]>,
        work: impl Fn(usize, &[T], &mut Scratch<T>, &Account) -> R + Sync,
        mut take: impl FnMut(usize, R),
    ) {
        const ROWS: usize = 1024;
        let b = self.x.rows();
        for first in (0..b).step_by(ROWS) {
            let results: Vec<R> = (first..(first + ROWS).min(b))
                .into_par_iter()
                .with_min_len(64)
                .map_init(
                    || Scratch::new(self.r.rows()),
                    |scratch, i| {
                        let others = self.relation.same(i).iter().copied().filter(|&j| j as usize != i);
                        scratch.positives.fill_with(others, |j| self.pair(i, j as usize));
                        scratch.negatives.fill_with(std::iter::empty(), |_| T::ZERO);
                        scratch.chosen = Chosen::All;
                        scratch.unlisted = all.map(|all| {
                            let with_all: f64 = self.x.row(i).iter().zip(all).map(|(x, r)| x.f64() * r).sum();
                            let positives = scratch.positives.values();
                            let others = vector::sum(positives) + self.with_itself(i).f64();
                            (with_all - others, (self.r.rows() - positives.len() - 1) as u64)
                        });
                        work(i, &[], scratch, &Account::default())
                    },
                )
                .collect();
            results.into_iter().enumerate().for_each(|(k, result)| take(first + k, result));
        }
    }

    /// Calls `work` on every row after masking and mining, in parallel, and `take` on the results in row order.
    pub(crate) fn each_row<R: Send>(
        &self,
        tile: &mut [T],
        work: impl Fn(usize, &[T], &mut Scratch<T>, &Account) -> R + Sync,
        mut take: impl FnMut(usize, R),
    ) {
        let (b, r, block) = (self.x.rows(), self.r.rows(), self.tiling.block);
        for first in (0..b).step_by(self.tiling.rows) {
            let rows = self.tiling.rows.min(b - first);
            let results: Vec<Vec<R>> = tile[..rows * r]
                .par_chunks_mut(block * r)
                .enumerate()
                .map_init(
                    || Scratch::new(r),
                    |scratch, (k, s)| {
                        let first = first + k * block;
                        self.products(first, s);
                        let rows = s.chunks_exact_mut(r).enumerate();
                        rows.map(|(i, s)| {
                            let account = self.candidates(first + i, s, scratch);
                            work(first + i, s, scratch, &account)
                        })
                        .collect()
                    },
                )
                .collect();
            results.into_iter().flatten().enumerate().for_each(|(i, result)| take(first + i, result));
        }
    }

    /// Room for the tiles of [`each_row`](Self::each_row).
    pub(crate) fn tile(&self) -> Vec<T> {
        vec![T::ZERO; self.tiling.rows * self.r.rows()]
    }

    /// The pairs that reach the loss, in order.
    pub(crate) fn pairs(&self) -> MinedPairs {
        let mut mined = MinedPairs::default();
        let (positives, negatives) = (&mut mined.positives, &mut mined.negatives);
        let columns = |_: usize, _: &[T], scratch: &mut Scratch<T>, _: &Account| {
            (scratch.positives.columns().to_vec(), scratch.negatives.columns().to_vec())
        };
        if self.r.rows() > 0 {
            self.each_row(&mut self.tile(), columns, |i, (p, n)| {
                positives.extend(p.into_iter().map(|column| (i as u32, column)));
                negatives.extend(n.into_iter().map(|column| (i as u32, column)));
            });
        }
        mined
    }

    /// The triplets that reach the loss, in order.
    pub(crate) fn triplets(&self) -> MinedTriplets {
        let mut mined = Vec::new();
        let sign = if self.distance.larger_is_nearer() { T::ONE } else { -T::ONE };
        let list = |i: usize, _: &[T], scratch: &mut Scratch<T>, _: &Account| {
            let mut list = Vec::new();
            let (p, n) = (&scratch.positives, &scratch.negatives);
            scratch.chosen.view().each(sign, p.values(), n.values(), |j, k, _| {
                list.push((i as u32, p.columns()[j], n.columns()[k]));
            });
            list
        };
        if self.r.rows() > 0 {
            self.each_row(&mut self.tile(), list, |_, list| mined.extend(list));
        }
        mined
    }
}
