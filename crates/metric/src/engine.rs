//! The row engine: one loop for every pair loss, distance, miner and reducer.
//!
//! ```text
//! tile of anchor rows:  g = x_tile · rᵀ                    one matrix product
//!                       s = distance(g, row statistics)
//! each row:             positives, negatives = relation(labels), then the miner
//!                       elements, ds = loss.row(…)
//!                       dg = distance'(ds)
//!                       dx_tile += dg · r,  dr += dgᵀ · x_tile     two matrix products
//! ```
//! A reducer's factors are counts over the batch. With one channel the factor scales the finished gradient; with more,
//! a first pass over the tiles counts elements before any derivative is needed.
//!
//! Work is split over outputs: anchors' blocks for `g`, `ds` and `dx`, references' blocks for `dr`, which run through
//! the anchors' blocks in order. So the bytes of the result do not depend on the number of threads.

mod products;

use parallax_kernels::Real;
use parallax_random::Key;
use rayon::prelude::*;

use crate::context::Scores;
use crate::distance::{DistanceConfig, Form};
use crate::frame::Frame;
use crate::miner::{At, MinerConfig, Prepared};
use crate::objective::{MinedPairs, MinedTriplets};
use crate::reducer::{Range, ReducerConfig};
use crate::relation::{Candidates, Relation, Screen};
use crate::row::{AnyLoss, MAX_CHANNELS, Mate, Pairs, Row, SPREAD, Slopes, Stat, Tally};
use crate::tiling::Tiling;
use crate::triplets::Chosen;

/// A batch, prepared for one distance.
pub(crate) struct Problem<'a, T: Real> {
    pub(crate) dim: usize,
    pub(crate) x: &'a Frame<'a, T>,
    pub(crate) r: &'a Frame<'a, T>,
    pub(crate) relation: Relation<'a>,
    pub(crate) distance: &'a DistanceConfig,
    pub(crate) miner: Option<&'a MinerConfig>,
    pub(crate) prepared: Prepared,
    pub(crate) screen: Screen,
    pub(crate) teacher: Option<&'a Scores<'a, T>>,
    pub(crate) key: Key,
    pub(crate) tiling: Tiling,
}

/// What an evaluation yields: gradients of prepared rows and the account of the batch.
pub(crate) struct Outcome<T> {
    pub(crate) value: f64,
    pub(crate) dx: Vec<T>,
    /// Empty unless asked for.
    pub(crate) dr: Vec<T>,
    pub(crate) scalars: Vec<f64>,
    pub(crate) account: Account,
    /// Value of each channel after reduction.
    pub(crate) channels: [f64; MAX_CHANNELS],
}

/// Counts of a row, or of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) tallies: [Tally; MAX_CHANNELS],
    pub(crate) pairs: Pairs,
    pub(crate) mined: Pairs,
    pub(crate) masked: Masked,
    /// Whether a distance has left the range of the number type.
    pub(crate) overflow: bool,
    scalar: (u32, f64),
}

/// Negatives that were masked, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Masked {
    pub(crate) label: u64,
    pub(crate) score: u64,
    pub(crate) teacher: u64,
}

impl Account {
    fn add(&mut self, other: &Account) {
        self.tallies.iter_mut().zip(&other.tallies).for_each(|(a, b)| a.add(b));
        self.pairs.positive += other.pairs.positive;
        self.pairs.negative += other.pairs.negative;
        self.mined.positive += other.mined.positive;
        self.mined.negative += other.mined.negative;
        self.overflow |= other.overflow;
        self.masked.label += other.masked.label;
        self.masked.score += other.masked.score;
        self.masked.teacher += other.masked.teacher;
    }

    fn total(rows: &[Account]) -> Account {
        let mut total = Account::default();
        rows.iter().for_each(|row| total.add(row));
        total
    }
}

/// A pair whose gradient goes through its difference: `q · (x_row − r_column)`.
struct NearPair<T> {
    row: usize,
    column: usize,
    q: T,
}

/// What a thread reuses from row to row.
pub(crate) struct Scratch<T> {
    pub(crate) positives: Candidates<T>,
    pub(crate) negatives: Candidates<T>,
    pub(crate) chosen: Chosen<T>,
    scores: Vec<T>,
    near: Vec<u32>,
    others: Vec<(u32, T)>,
}

impl<T: Real> Scratch<T> {
    fn new(columns: usize) -> Self {
        Scratch {
            positives: Candidates::new(columns),
            negatives: Candidates::new(columns),
            chosen: Chosen::All,
            scores: Vec::new(),
            near: Vec::new(),
            others: Vec::new(),
        }
    }
}

/// A row and room for its slopes.
struct Opened<'s, T> {
    row: Row<'s, T>,
    positives: &'s mut [T],
    negatives: &'s mut [T],
    others: &'s mut Vec<(u32, T)>,
}

/// What a loss is run with: its parameters and what earlier passes left.
struct Run<'a, T: Real> {
    loss: &'a dyn AnyLoss<T>,
    reducer: &'a ReducerConfig,
    range: Range,
    weights: [T; MAX_CHANNELS],
    scalars: &'a [f64],
    stats: Vec<Stat>,
    folded: Vec<Stat>,
}

impl<T: Real> Problem<'_, T> {
    /// Value and gradients of a loss.
    pub(crate) fn evaluate(
        &self,
        loss: &dyn AnyLoss<T>,
        reducer: &ReducerConfig,
        scalars: &[f64],
        want_dr: bool,
    ) -> Outcome<T> {
        let (b, r) = (self.x.rows(), self.r.rows());
        let channels = loss.channels().len();
        if r == 0 {
            return self.nothing(Account::default(), scalars, want_dr);
        }
        let mut tile = vec![T::ZERO; self.tiling.rows * r];
        let mut run = Run {
            loss,
            reducer,
            range: reducer.range(),
            weights: [T::ONE; MAX_CHANNELS],
            scalars,
            stats: Vec::new(),
            folded: Vec::new(),
        };
        let mut known = if self.miner.is_none() && self.screen == Screen::default() {
            self.relation.pairs()
        } else {
            None
        };
        for pass in 0..loss.passes() {
            let mined = self.pass(&mut run, pass, &mut tile);
            if !loss.defined(mined) {
                let account = Account { mined, ..Account::default() };
                return self.nothing(account, scalars, want_dr);
            }
            known = Some(mined);
        }

        let mut accounts = vec![Account::default(); b];
        // With one channel the factor scales the finished gradient; with more it must be known before.
        let counted = channels > 1 && reducer.counts();
        if counted {
            let foreseen = known
                .filter(|_| run.range == Range::ALL && !matches!(reducer, ReducerConfig::Divisor(_)))
                .and_then(|pairs| loss.elements(pairs));
            let tallies = if let Some(elements) = foreseen {
                elements.map(|kept| Tally { kept, ..Tally::default() })
            } else {
                for first in (0..b).step_by(self.tiling.rows) {
                    let rows = self.tiling.rows.min(b - first);
                    let accounts = &mut accounts[first..first + rows];
                    self.rows(&run, first, &mut tile[..rows * r], accounts, None);
                }
                let total = Account::total(&accounts);
                if !loss.defined(total.mined) {
                    return self.nothing(total, scalars, want_dr);
                }
                total.tallies
            };
            for (weight, tally) in run.weights.iter_mut().zip(&tallies) {
                *weight = T::of(reducer.factor(tally, b));
            }
        } else if reducer.per_anchor() {
            run.weights = [T::of(1.0 / b as f64); MAX_CHANNELS];
        }

        let mut dx = vec![T::ZERO; b * self.dim];
        let mut dr = vec![T::ZERO; if want_dr { r * self.dim } else { 0 }];
        for first in (0..b).step_by(self.tiling.rows) {
            let rows = self.tiling.rows.min(b - first);
            let tile = &mut tile[..rows * r];
            let accounts = &mut accounts[first..first + rows];
            let dx = &mut dx[first * self.dim..(first + rows) * self.dim];
            let near = self.rows(&run, first, tile, accounts, Some(dx));
            if want_dr {
                self.gather_references(first, tile, &near, &mut dr);
            }
        }
        drop(tile);

        let account = Account::total(&accounts);
        if !loss.defined(account.mined) {
            return self.nothing(account, scalars, want_dr);
        }
        let mut values = [0.0; MAX_CHANNELS];
        for (value, tally) in values.iter_mut().zip(&account.tallies) {
            *value = tally.sum * reducer.factor(tally, b);
        }
        let mut by_scalar = vec![0.0; scalars.len()];
        for row in accounts.iter().filter(|row| row.scalar.1 != 0.0) {
            by_scalar[row.scalar.0 as usize] += row.scalar.1;
        }
        if !counted && reducer.counts() {
            let factor = reducer.factor(&account.tallies[0], b);
            by_scalar.iter_mut().for_each(|d| *d *= factor);
            let factor = T::of(factor);
            dx.iter_mut().chain(dr.iter_mut()).for_each(|d| *d *= factor);
        }
        let value = values[..channels].iter().sum::<f64>() + loss.penalty(scalars, &mut by_scalar);
        Outcome { value, dx, dr, scalars: by_scalar, account, channels: values }
    }

    /// One pass of statistics; returns the pairs that reach the loss.
    fn pass(&self, run: &mut Run<'_, T>, pass: usize, tile: &mut [T]) -> Pairs {
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
        if run.loss.positives_suffice(pass) && self.miner.is_none() && spreads {
            self.each_positive(work, take);
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

    /// [`each_row`](Self::each_row) with the positives alone, pair by pair, for a batch against itself without a miner.
    fn each_positive<R: Send>(
        &self,
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

    fn nothing(&self, account: Account, scalars: &[f64], want_dr: bool) -> Outcome<T> {
        Outcome {
            value: 0.0,
            dx: vec![T::ZERO; self.x.rows() * self.dim],
            dr: vec![T::ZERO; if want_dr { self.r.rows() * self.dim } else { 0 }],
            scalars: vec![0.0; scalars.len()],
            account,
            channels: [0.0; MAX_CHANNELS],
        }
    }

    /// Runs the loss on the rows of a tile. With `dx`, leaves the coefficients of the inner products (or, without inner
    /// products, of the differences) in the tile, writes the anchors' side of the gradient, and returns the near pairs of
    /// each block.
    fn rows(
        &self,
        run: &Run<'_, T>,
        first: usize,
        tile: &mut [T],
        accounts: &mut [Account],
        dx: Option<&mut [T]>,
    ) -> Vec<Vec<NearPair<T>>> {
        let (r, block) = (self.r.rows(), self.tiling.block);
        let work = |scratch: &mut Scratch<T>,
                    (k, s): (usize, &mut [T]),
                    accounts: &mut [Account],
                    mut dx: Option<&mut [T]>| {
            let first = first + k * block;
            self.products(first, s);
            let mut near = Vec::new();
            let mut own = vec![T::ZERO; accounts.len()];
            for (i, (s, account)) in s.chunks_exact_mut(r).zip(&mut *accounts).enumerate() {
                *account = self.candidates(first + i, s, scratch);
                let itself = self.row(run, first + i, s, scratch, account);
                if dx.is_some() {
                    own[i] = self.coefficients(first + i, s, scratch, itself, &mut near);
                }
            }
            if let Some(dx) = &mut dx {
                self.gather_anchors(first, s, &own, &near, dx);
            }
            near
        };
        let tiles = tile.par_chunks_mut(block * r).enumerate();
        let accounts = accounts.par_chunks_mut(block);
        let scratch = || Scratch::new(r);
        match dx {
            Some(dx) => tiles
                .zip(accounts)
                .zip(dx.par_chunks_mut(block * self.dim))
                .map_init(scratch, |scratch, ((tile, accounts), dx)| work(scratch, tile, accounts, Some(dx)))
                .collect(),
            None => tiles
                .zip(accounts)
                .map_init(scratch, |scratch, (tile, accounts)| work(scratch, tile, accounts, None))
                .collect(),
        }
    }

    /// Turns row `i` into distances, sorts it into positives and negatives, masks, and mines.
    fn candidates(&self, i: usize, s: &mut [T], scratch: &mut Scratch<T>) -> Account {
        self.distances(i, s, scratch);
        // A miner or a hinge may drop what is not a number, so it is looked for here; unit vectors have none.
        let overflow = self.distance.norm().is_none() && !s.iter().all(|s| s.is_finite());
        let (positives, negatives) = (&mut scratch.positives, &mut scratch.negatives);
        let mut masked =
            Masked { label: self.relation.gather(i, s, positives, negatives), ..Masked::default() };
        if let Some(above) = self.screen.above {
            let before = negatives.len();
            let above = T::of(above);
            negatives.retain(|s| s < above);
            masked.score = (before - negatives.len()) as u64;
        }
        if let (Some(margin), Some(teacher)) = (self.screen.teacher, self.teacher) {
            let scores = &mut scratch.scores;
            scores.resize(s.len(), T::ZERO);
            teacher.row(i, scores);
            let best = positives.columns().iter().map(|&c| scores[c as usize]);
            let best = best.fold(T::NEG_INFINITY, |best, score| best.max(score));
            if best > T::NEG_INFINITY {
                let before = negatives.len();
                let limit = best + T::of(margin);
                negatives.retain_entries(|_, column, _| scores[column as usize] <= limit);
                masked.teacher = (before - negatives.len()) as u64;
            }
        }
        let count = |p: &Candidates<T>, n: &Candidates<T>| Pairs {
            positive: p.len() as u64,
            negative: n.len() as u64,
        };
        let pairs = count(positives, negatives);
        scratch.chosen = Chosen::All;
        if let Some(miner) = self.miner {
            let at = At {
                anchor: i,
                larger_is_nearer: self.distance.larger_is_nearer(),
                x: self.x,
                r: self.r,
                distance: self.distance,
                key: self.key,
                prepared: &self.prepared,
            };
            scratch.chosen = miner.mine(&at, positives, negatives);
        }
        let mined = count(positives, negatives);
        Account { pairs, mined, masked, overflow, ..Account::default() }
    }

    /// The rows of the other items of the class of anchor `i`, after mining.
    fn mates(&self, i: usize) -> Vec<Mate<T>> {
        let mut scratch = Scratch::new(self.r.rows());
        let others = self.relation.same(i).iter().filter(|&&j| j as usize != i);
        others
            .map(|&j| {
                let mut values = vec![T::ZERO; self.r.rows()];
                self.products(j as usize, &mut values);
                self.candidates(j as usize, &mut values, &mut scratch);
                Mate {
                    anchor: j,
                    values,
                    positive_columns: scratch.positives.columns().to_vec(),
                    negative_columns: scratch.negatives.columns().to_vec(),
                    triplets: std::mem::take(&mut scratch.chosen),
                }
            })
            .collect()
    }

    /// The row and its slopes in the scratch, opened for a loss.
    fn open<'s>(
        &self,
        run: &'s Run<'_, T>,
        i: usize,
        values: &'s [T],
        scratch: &'s mut Scratch<T>,
        mates: &'s [Mate<T>],
    ) -> Opened<'s, T> {
        let (positive_columns, positives, positive_slopes) = scratch.positives.open();
        let (negative_columns, negatives, negative_slopes) = scratch.negatives.open();
        let row = Row {
            anchor: i,
            label: self.relation.labels[i],
            class: self.relation.class(i),
            positives,
            negatives,
            positive_columns,
            negative_columns,
            itself: self.relation.itself(i).map(|column| (column as u32, self.with_itself(i))),
            triplets: scratch.chosen.view(),
            values,
            mates,
            larger_is_nearer: self.distance.larger_is_nearer(),
            scalars: run.scalars,
            stats: &run.stats,
            folded: &run.folded,
            columns_are_rows: self.relation.columns_are_rows(),
            range: run.range,
            per_anchor: run.reducer.per_anchor(),
            class_weight: run.reducer.class_weight(self.relation.labels[i]),
            largest: match self.distance.form() {
                Form::Euclidean { power } if self.distance.norm().is_some() => 2f64.powf(power),
                _ => f64::INFINITY,
            },
        };
        scratch.others.clear();
        let (positives, negatives) = (positive_slopes, negative_slopes);
        Opened { row, positives, negatives, others: &mut scratch.others }
    }

    /// Runs the loss on row `i`; returns the slope of the anchor's pair with itself.
    fn row(
        &self,
        run: &Run<'_, T>,
        i: usize,
        values: &[T],
        scratch: &mut Scratch<T>,
        account: &mut Account,
    ) -> T {
        let mates = if run.loss.mates() { self.mates(i) } else { Vec::new() };
        let class_weight = run.reducer.class_weight(self.relation.labels[i]);
        let per_anchor = run.reducer.per_anchor();
        let mut weights = run.weights;
        let batch = run.weights;
        let base = run.weights.map(|weight| weight * T::of(class_weight));
        let range = run.range;
        if per_anchor {
            // The number of elements of the row must be known before their weights are.
            let mut counted = Account::default();
            let Opened { row, positives, negatives, others } = self.open(run, i, values, scratch, &mates);
            let tallies = &mut counted.tallies;
            let (itself, scalar) = (T::ZERO, (0, 0.0));
            let mut slopes = Slopes {
                positives,
                negatives,
                itself,
                others,
                scalar,
                base,
                batch,
                per_anchor,
                tallies,
                weights,
                range,
            };
            run.loss.row(&row, &mut slopes);
            for (weight, tally) in weights.iter_mut().zip(&counted.tallies) {
                *weight *= T::of(1.0 / tally.kept.max(1) as f64);
            }
        } else {
            weights = base;
        }
        let Opened { row, positives, negatives, others } = self.open(run, i, values, scratch, &mates);
        let tallies = &mut account.tallies;
        let (itself, scalar) = (T::ZERO, (0, 0.0));
        let mut slopes = Slopes {
            positives,
            negatives,
            itself,
            others,
            scalar,
            base,
            batch,
            per_anchor,
            tallies,
            weights,
            range,
        };
        run.loss.row(&row, &mut slopes);
        let (itself, scalar) = (slopes.itself, slopes.scalar);
        account.scalar = scalar;
        for tally in &mut account.tallies {
            if per_anchor {
                tally.sum /= tally.kept.max(1) as f64;
            } else {
                tally.sum *= class_weight;
            }
        }
        itself
    }
}
