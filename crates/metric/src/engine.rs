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

use parallax_kernels::{Real, gemm, panel};
use rayon::prelude::*;

use crate::distance::{DistanceConfig, Form, add_difference, of_differences, slope_differences, squared};
use crate::frame::Frame;
use crate::miner::MinerConfig;
use crate::objective::MinedPairs;
use crate::reducer::ReducerConfig;
use crate::relation::{Candidates, Relation};
use crate::row::{MAX_CHANNELS, Pairs, Row, RowLoss, Slopes, Tally};
use crate::tiling::{BLOCK_COLUMNS, Tiling};

/// Below this share of `nᵢ + nⱼ` a squared distance from the inner product has lost its digits to cancellation.
const NEAR: f64 = 1e-3;

/// A batch, prepared for one distance.
pub(crate) struct Problem<'a, T: Real> {
    pub(crate) dim: usize,
    pub(crate) x: &'a Frame<'a, T>,
    pub(crate) r: &'a Frame<'a, T>,
    pub(crate) relation: Relation<'a>,
    pub(crate) distance: &'a DistanceConfig,
    pub(crate) miner: Option<&'a MinerConfig>,
    pub(crate) tiling: Tiling,
}

/// What an evaluation yields: gradients of prepared rows and the account of the batch.
pub(crate) struct Outcome<T> {
    pub(crate) value: f64,
    pub(crate) dx: Vec<T>,
    /// Empty unless asked for.
    pub(crate) dr: Vec<T>,
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
    pub(crate) masked: u64,
}

impl Account {
    fn add(&mut self, other: &Account) {
        self.tallies.iter_mut().zip(&other.tallies).for_each(|(a, b)| a.add(b));
        self.pairs.positive += other.pairs.positive;
        self.pairs.negative += other.pairs.negative;
        self.mined.positive += other.mined.positive;
        self.mined.negative += other.mined.negative;
        self.masked += other.masked;
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
struct Scratch<T> {
    positives: Candidates<T>,
    negatives: Candidates<T>,
    near: Vec<u32>,
    is_near: Vec<bool>,
}

impl<T: Real> Scratch<T> {
    fn new(columns: usize) -> Self {
        Scratch {
            positives: Candidates::new(columns),
            negatives: Candidates::new(columns),
            near: Vec::new(),
            is_near: vec![false; columns],
        }
    }
}

impl<T: Real> Problem<'_, T> {
    /// Value and gradients of a loss.
    pub(crate) fn evaluate<L: RowLoss>(
        &self,
        loss: &L,
        reducer: &ReducerConfig,
        want_dr: bool,
    ) -> Outcome<T> {
        const { assert!(L::CHANNELS.len() <= MAX_CHANNELS) }
        let (b, r) = (self.x.rows(), self.r.rows());
        let channels = L::CHANNELS.len();
        if r == 0 {
            return self.nothing(Account::default(), want_dr);
        }
        let mut accounts = vec![Account::default(); b];
        let mut tile = vec![T::ZERO; self.tiling.rows * r];
        let counted = channels > 1 && reducer.counts();

        let mut weights = [T::ONE; MAX_CHANNELS];
        if counted {
            for first in (0..b).step_by(self.tiling.rows) {
                let rows = self.tiling.rows.min(b - first);
                let accounts = &mut accounts[first..first + rows];
                self.rows(loss, reducer, &weights, first, &mut tile[..rows * r], accounts, None);
            }
            let total = Account::total(&accounts);
            if !loss.defined(total.mined) {
                return self.nothing(total, want_dr);
            }
            for (weight, tally) in weights.iter_mut().zip(&total.tallies) {
                *weight = T::of(reducer.factor(tally.kept));
            }
        }

        let mut dx = vec![T::ZERO; b * self.dim];
        let mut dr = vec![T::ZERO; if want_dr { r * self.dim } else { 0 }];
        for first in (0..b).step_by(self.tiling.rows) {
            let rows = self.tiling.rows.min(b - first);
            let tile = &mut tile[..rows * r];
            let accounts = &mut accounts[first..first + rows];
            let dx = &mut dx[first * self.dim..(first + rows) * self.dim];
            let near = self.rows(loss, reducer, &weights, first, tile, accounts, Some(dx));
            if want_dr {
                self.gather_references(first, tile, &near, &mut dr);
            }
        }
        drop(tile);

        let account = Account::total(&accounts);
        if !loss.defined(account.mined) {
            return self.nothing(account, want_dr);
        }
        let mut values = [0.0; MAX_CHANNELS];
        for (value, tally) in values.iter_mut().zip(&account.tallies) {
            *value = tally.sum * reducer.factor(tally.kept);
        }
        if !counted && reducer.counts() {
            let factor = T::of(reducer.factor(account.tallies[0].kept));
            dx.iter_mut().chain(dr.iter_mut()).for_each(|d| *d *= factor);
        }
        let value = values[..channels].iter().sum();
        Outcome { value, dx, dr, account, channels: values }
    }

    /// The pairs that reach the loss, in order.
    pub(crate) fn pairs(&self) -> MinedPairs {
        let (b, r) = (self.x.rows(), self.r.rows());
        if r == 0 {
            return MinedPairs::default();
        }
        let mut scratch = Scratch::new(r);
        let mut tile = vec![T::ZERO; self.tiling.block * r];
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for first in (0..b).step_by(self.tiling.block) {
            let rows = self.tiling.block.min(b - first);
            let block = &mut tile[..rows * r];
            self.products(first, block);
            for (i, s) in block.chunks_exact_mut(r).enumerate() {
                self.candidates(first + i, s, &mut scratch);
                let anchor = (first + i) as u32;
                positives.extend(scratch.positives.columns().iter().map(|&c| (anchor, c)));
                negatives.extend(scratch.negatives.columns().iter().map(|&c| (anchor, c)));
            }
        }
        MinedPairs { positives, negatives }
    }

    fn nothing(&self, account: Account, want_dr: bool) -> Outcome<T> {
        Outcome {
            value: 0.0,
            dx: vec![T::ZERO; self.x.rows() * self.dim],
            dr: vec![T::ZERO; if want_dr { self.r.rows() * self.dim } else { 0 }],
            account,
            channels: [0.0; MAX_CHANNELS],
        }
    }

    /// Runs the loss on the rows of a tile. With `dx`, leaves the coefficients of the inner products (or, without inner
    /// products, of the differences) in the tile, writes the anchors' side of the gradient, and returns the near pairs of
    /// each block.
    fn rows<L: RowLoss>(
        &self,
        loss: &L,
        reducer: &ReducerConfig,
        weights: &[T; MAX_CHANNELS],
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
                self.row(loss, reducer, weights, first + i, scratch, account);
                if dx.is_some() {
                    own[i] = self.coefficients(first + i, s, scratch, &mut near);
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

    /// Inner products of the anchors from `first` with every reference, where the distance uses them.
    fn products(&self, first: usize, block: &mut [T]) {
        if let Form::Differences { .. } = self.distance.form() {
            return;
        }
        let rows = block.len() / self.r.rows();
        let x = &self.x.values[first * self.dim..(first + rows) * self.dim];
        gemm::nt(rows, self.r.rows(), self.dim, x, &self.r.values, T::ZERO, block);
    }

    /// Turns row `i` into distances, sorts it into positives and negatives, and mines.
    fn candidates(&self, i: usize, s: &mut [T], scratch: &mut Scratch<T>) -> Account {
        self.distances(i, s, scratch);
        let (positives, negatives) = (&mut scratch.positives, &mut scratch.negatives);
        let masked = self.relation.gather(i, s, positives, negatives);
        let count = |p: &Candidates<T>, n: &Candidates<T>| Pairs {
            positive: p.len() as u64,
            negative: n.len() as u64,
        };
        let pairs = count(positives, negatives);
        if let Some(miner) = self.miner {
            miner.mine(self.distance.larger_is_nearer(), positives, negatives);
        }
        let mined = count(positives, negatives);
        Account { pairs, mined, masked, ..Account::default() }
    }

    fn row<L: RowLoss>(
        &self,
        loss: &L,
        reducer: &ReducerConfig,
        weights: &[T; MAX_CHANNELS],
        i: usize,
        scratch: &mut Scratch<T>,
        account: &mut Account,
    ) {
        let (positive_columns, positives, positive_slopes) = scratch.positives.open();
        let (negative_columns, negatives, negative_slopes) = scratch.negatives.open();
        let row = Row {
            anchor: i,
            positives,
            negatives,
            positive_columns,
            negative_columns,
            larger_is_nearer: self.distance.larger_is_nearer(),
        };
        let tallies = &mut account.tallies;
        let mut slopes =
            Slopes { positives: positive_slopes, negatives: negative_slopes, tallies, weights, reducer };
        loss.row(&row, &mut slopes);
    }

    /// Distances of row `i` in place of its inner products; notes the near columns.
    fn distances(&self, i: usize, s: &mut [T], scratch: &mut Scratch<T>) {
        let form = self.distance.form();
        match form {
            Form::Product if self.distance.norm().is_some() => {
                // Rows of length 1: s = 1 − d²/2 keeps the digits of 1 − s, so that coincident rows have similarity 1.
                let limit = T::of(1.0 - NEAR);
                let near = s.iter().map(|&s| u32::from(s > limit)).sum::<u32>();
                let itself = self.relation.itself(i);
                if near > u32::from(itself.is_some_and(|j| s[j] > limit)) {
                    for (j, s) in s.iter_mut().enumerate().filter(|(j, s)| **s > limit && itself != Some(*j))
                    {
                        *s = T::ONE - T::of(0.5) * squared(self.x.row(i), self.r.row(j));
                    }
                }
            }
            Form::Product => {}
            Form::Differences { p, power } => {
                let x = self.x.row(i);
                for (s, r) in s.iter_mut().zip(self.r.values.chunks_exact(self.dim)) {
                    *s = of_differences(p, power, x, r);
                }
            }
            Form::Euclidean { .. } | Form::SignalToNoise => {
                for &column in &scratch.near {
                    scratch.is_near[column as usize] = false;
                }
                scratch.near.clear();
                let n = self.x.squares[i];
                let (two, limit) = (T::of(2.0), T::of(NEAR));
                let mut near = 0u32;
                for (s, &m) in s.iter_mut().zip(&self.r.squares) {
                    let sum = n + m;
                    let d2 = sum - two * *s;
                    near += u32::from(d2 < limit * sum);
                    *s = d2;
                }
                let itself = self.relation.itself(i);
                let itself_near = itself.is_some_and(|j| s[j] < limit * (n + self.r.squares[j]));
                if near > u32::from(itself_near) {
                    for (j, &m) in self.r.squares.iter().enumerate() {
                        if s[j] < limit * (n + m) && itself != Some(j) {
                            s[j] = squared(self.x.row(i), self.r.row(j));
                            scratch.near.push(j as u32);
                            scratch.is_near[j] = true;
                        }
                    }
                }
                if let Some(itself) = itself {
                    s[itself] = T::ZERO;
                }
                match form {
                    Form::Euclidean { power: 1.0 } => s.iter_mut().for_each(|s| *s = s.sqrt()),
                    Form::Euclidean { power: 2.0 } => {}
                    _ => s.iter_mut().for_each(|s| *s = form.of_squared(*s, n)),
                }
            }
        }
    }

    /// Overwrites row `i` with the coefficients of its inner products; returns the coefficient of `xᵢ` itself.
    fn coefficients(&self, i: usize, s: &mut [T], scratch: &Scratch<T>, near: &mut Vec<NearPair<T>>) -> T {
        let form = self.distance.form();
        s.fill(T::ZERO);
        let two = T::of(2.0);
        let mut own = T::ZERO;
        for side in [&scratch.positives, &scratch.negatives] {
            let entries = side.columns().iter().zip(side.values()).zip(side.slopes());
            match form {
                Form::Product => entries.for_each(|((&c, _), &d)| s[c as usize] = d),
                Form::Differences { p, power } => entries.for_each(|((&c, &value), &d)| {
                    s[c as usize] = d * slope_differences(p, power, value);
                }),
                Form::Euclidean { .. } | Form::SignalToNoise => {
                    let n = self.x.squares[i];
                    for ((&c, &value), &d) in entries {
                        let q = two * d * form.slope_squared(value, n);
                        if form == Form::SignalToNoise {
                            // The divisor nᵢ: ∂s/∂xᵢ has −s/nᵢ · 2xᵢ.
                            own -= two * d * value / n;
                        }
                        if scratch.is_near[c as usize] {
                            if q != T::ZERO {
                                near.push(NearPair { row: i, column: c as usize, q });
                            }
                        } else {
                            s[c as usize] = -q;
                            own += q;
                        }
                    }
                }
            }
        }
        own
    }

    /// `dx` of a block, from the coefficients in it.
    fn gather_anchors(&self, first: usize, block: &[T], own: &[T], near: &[NearPair<T>], dx: &mut [T]) {
        let (r, dim) = (self.r.rows(), self.dim);
        if let Form::Differences { p, .. } = self.distance.form() {
            for (i, (q, dx)) in block.chunks_exact(r).zip(dx.chunks_exact_mut(dim)).enumerate() {
                let x = self.x.row(first + i);
                for (j, &q) in q.iter().enumerate().filter(|(_, q)| **q != T::ZERO) {
                    add_difference(p, q, x, self.r.row(j), dx);
                }
            }
            return;
        }
        gemm::nn(own.len(), dim, r, block, &self.r.values, T::ZERO, dx);
        if self.distance.form().uses_norms() {
            for (i, (&own, dx)) in own.iter().zip(dx.chunks_exact_mut(dim)).enumerate() {
                dx.iter_mut().zip(self.x.row(first + i)).for_each(|(dx, &x)| *dx += own * x);
            }
        }
        for pair in near {
            let dx = &mut dx[(pair.row - first) * dim..][..dim];
            add_difference(2.0, pair.q, self.x.row(pair.row), self.r.row(pair.column), dx);
        }
    }

    /// Adds a tile's share of the references' gradient, split over references; blocks of anchors follow one another, so
    /// that tiles leave no trace in the rounding.
    fn gather_references(&self, first: usize, tile: &[T], near: &[Vec<NearPair<T>>], dr: &mut [T]) {
        let (r, dim, form) = (self.r.rows(), self.dim, self.distance.form());
        dr.par_chunks_mut(BLOCK_COLUMNS * dim).enumerate().for_each(|(k, dr)| {
            let start = k * BLOCK_COLUMNS;
            let columns = start..start + dr.len() / dim;
            for (i, (block, near)) in tile.chunks(self.tiling.block * r).zip(near).enumerate() {
                let first = first + i * self.tiling.block;
                let rows = block.len() / r;
                if let Form::Differences { p, .. } = form {
                    for (i, q) in block.chunks_exact(r).enumerate() {
                        for (j, dr) in columns.clone().zip(dr.chunks_exact_mut(dim)) {
                            if q[j] != T::ZERO {
                                add_difference(p, q[j], self.r.row(j), self.x.row(first + i), dr);
                            }
                        }
                    }
                    continue;
                }
                let x = &self.x.values[first * dim..][..rows * dim];
                panel::add_tn(start, columns.len(), dim, rows, r, block, x, dr);
                if form.uses_norms() {
                    for (j, dr) in columns.clone().zip(dr.chunks_exact_mut(dim)) {
                        let own: T = (0..rows).map(|i| -block[i * r + j]).sum();
                        dr.iter_mut().zip(self.r.row(j)).for_each(|(dr, &v)| *dr += own * v);
                    }
                }
                for pair in near.iter().filter(|pair| columns.contains(&pair.column)) {
                    let dr = &mut dr[(pair.column - start) * dim..][..dim];
                    add_difference(2.0, pair.q, self.r.row(pair.column), self.x.row(pair.row), dr);
                }
            }
        });
    }
}
