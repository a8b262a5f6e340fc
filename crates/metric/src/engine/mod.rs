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
//! A batch against itself that fits one tile takes two products and not three: a pair's coefficients of both directions are
//! added, and `dx = (dg + dgᵀ) · x`.
//!
//! Work is split over outputs: anchors' blocks for `g`, `ds` and `dx`, references' blocks for `dr`, which run through
//! the anchors' blocks in order. So the bytes of the result do not depend on the number of threads.

mod account;
mod anchor;
mod passes;
mod products;

use parallax_kernels::Real;
use parallax_kernels::tile::References;
use parallax_random::Key;
use rayon::prelude::*;

pub(crate) use self::account::{Account, Masked};
pub(crate) use self::anchor::Scratch;
use crate::context::Scores;
use crate::distance::DistanceConfig;
use crate::frame::Frame;
use crate::miner::{MinerConfig, Prepared};
use crate::reducer::{Range, ReducerConfig};
use crate::relation::{Relation, Screen};
use crate::row::{AnyLoss, MAX_CHANNELS, Stat, Tally};
use crate::tiling::{Tiling, WHOLE_ROWS};

/// A batch, prepared for one distance.
pub(crate) struct Problem<'a, T: Real> {
    pub(crate) dim: usize,
    pub(crate) x: &'a Frame<'a, T>,
    pub(crate) r: &'a Frame<'a, T>,
    /// The references laid out for inner products; none where the distance takes differences.
    pub(crate) products: Option<References<'a, T>>,
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

/// What is done with the coefficients of a tile's pairs.
enum Sink<'d, T> {
    /// Nothing: only elements are counted.
    Count,
    /// They stay in the tile.
    Keep,
    /// They stay in the tile, and the anchors' side of the gradient is written here.
    Anchors(&'d mut [T]),
}

/// Positive pairs an anchor may have on average to be kept apart.
pub(crate) const FEW_POSITIVES: usize = 16;

/// The gradient of a positive pair that is kept apart, because the weight of its channel is not known yet: `q` as in the
/// chain rule of the distance, and the coefficient of the anchor itself.
struct Apart<T> {
    row: u32,
    column: u32,
    q: T,
    own: T,
}

/// What a block of rows leaves beside its coefficients.
struct Left<T> {
    near: Vec<NearPair<T>>,
    apart: Vec<Apart<T>>,
    /// Coefficients of the anchors themselves.
    own: Vec<T>,
}

/// A pair whose gradient goes through its difference: `q · (x_row − r_column)`.
struct NearPair<T> {
    row: usize,
    column: usize,
    q: T,
}
/// What a loss is run with: its parameters and what earlier passes left.
struct Run<'a, T: Real> {
    loss: &'a dyn AnyLoss<T>,
    reducer: &'a ReducerConfig,
    range: Range,
    weights: [T; MAX_CHANNELS],
    /// Whether the gradients of positive pairs are kept apart from those of negative ones.
    apart: bool,
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
            apart: false,
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
            run.apart = foreseen.is_none() && self.few_positives() && loss.pairwise() && scalars.is_empty();
            let tallies = if let Some(elements) = foreseen {
                elements.map(|kept| Tally { kept, ..Tally::default() })
            } else if run.apart {
                // Weights of 1 for now: the two parts are put together when the elements have been counted.
                [Tally { kept: 1, ..Tally::default() }; MAX_CHANNELS]
            } else {
                for first in (0..b).step_by(self.tiling.rows) {
                    let rows = self.tiling.rows.min(b - first);
                    let accounts = &mut accounts[first..first + rows];
                    self.rows(&run, first, &mut tile[..rows * r], accounts, Sink::Count);
                }
                let total = Account::total(&accounts);
                if !loss.defined(total.mined) {
                    return self.nothing(total, scalars, want_dr);
                }
                total.tallies
            };
            for (weight, tally) in run.weights.iter_mut().zip(&tallies) {
                *weight = if run.apart { T::ONE } else { T::of(reducer.factor(tally, b)) };
            }
        } else if reducer.per_anchor() {
            run.weights = [T::of(1.0 / b as f64); MAX_CHANNELS];
        }

        let mut dx = vec![T::ZERO; b * self.dim];
        let mut apart = Vec::new();
        let whole = want_dr && self.whole();
        let mut dr = vec![T::ZERO; if want_dr && !whole { r * self.dim } else { 0 }];
        if whole {
            let tile = &mut tile[..b * r];
            let mut left = self.rows(&run, 0, tile, &mut accounts, Sink::Keep);
            self.gather_both(tile, &left, &mut dx);
            left.iter_mut().for_each(|left| apart.append(&mut left.apart));
        } else {
            for first in (0..b).step_by(self.tiling.rows) {
                let rows = self.tiling.rows.min(b - first);
                let tile = &mut tile[..rows * r];
                let accounts = &mut accounts[first..first + rows];
                let dx = &mut dx[first * self.dim..(first + rows) * self.dim];
                let mut left = self.rows(&run, first, tile, accounts, Sink::Anchors(dx));
                if want_dr {
                    self.gather_references(first, tile, &left, &mut dr);
                }
                left.iter_mut().for_each(|left| apart.append(&mut left.apart));
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
        if run.apart {
            let factor = |channel: usize| T::of(reducer.factor(&account.tallies[channel], b));
            dx.iter_mut().chain(dr.iter_mut()).for_each(|d| *d *= factor(1));
            let to = if whole { None } else { Some(&mut dr[..]).filter(|_| want_dr) };
            self.gather_apart(&apart, factor(0), &mut dx, to, whole);
        }
        let value = values[..channels].iter().sum::<f64>() + loss.penalty(scalars, &mut by_scalar);
        Outcome { value, dx, dr, scalars: by_scalar, account, channels: values }
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

    /// Whether anchors have so few positives that their gradients may be listed.
    fn few_positives(&self) -> bool {
        let pairs = self.relation.pairs().map(|pairs| pairs.positive);
        self.products.is_some() && pairs.is_some_and(|pairs| pairs <= (FEW_POSITIVES * self.x.rows()) as u64)
    }

    /// Whether all coefficients are there at once and the two directions of a pair can be added.
    fn whole(&self) -> bool {
        let (b, rows) = (self.x.rows(), self.tiling.rows);
        self.relation.columns_are_rows() && self.products.is_some() && b <= WHOLE_ROWS && b <= rows
    }

    /// Runs the loss on the rows of a tile. Unless only counting, leaves the coefficients of the inner products (or, without
    /// inner products, of the differences) in the tile, and returns what is beside them, block by block.
    fn rows(
        &self,
        run: &Run<'_, T>,
        first: usize,
        tile: &mut [T],
        accounts: &mut [Account],
        sink: Sink<'_, T>,
    ) -> Vec<Left<T>> {
        let (r, block) = (self.r.rows(), self.tiling.block);
        let counting = matches!(sink, Sink::Count);
        let work = |scratch: &mut Scratch<T>,
                    (k, s): (usize, &mut [T]),
                    accounts: &mut [Account],
                    dx: Option<&mut [T]>| {
            let first = first + k * block;
            self.products(first, s);
            let own = vec![T::ZERO; accounts.len()];
            let mut left = Left { near: Vec::new(), apart: Vec::new(), own };
            for (i, (s, account)) in s.chunks_exact_mut(r).zip(&mut *accounts).enumerate() {
                *account = self.candidates(first + i, s, scratch);
                let itself = self.row(run, first + i, s, scratch, account);
                if !counting {
                    if run.apart {
                        self.set_apart(first + i, s, scratch, &mut left.apart);
                    }
                    left.own[i] = self.coefficients(first + i, s, scratch, itself, &mut left.near);
                }
            }
            if let Some(dx) = dx {
                self.gather_anchors(first, s, &left, dx);
            }
            left
        };
        let tiles = tile.par_chunks_mut(block * r).enumerate();
        let accounts = accounts.par_chunks_mut(block);
        let scratch = || Scratch::new(r);
        match sink {
            Sink::Anchors(dx) => tiles
                .zip(accounts)
                .zip(dx.par_chunks_mut(block * self.dim))
                .map_init(scratch, |scratch, ((tile, accounts), dx)| work(scratch, tile, accounts, Some(dx)))
                .collect(),
            Sink::Count | Sink::Keep => tiles
                .zip(accounts)
                .map_init(scratch, |scratch, (tile, accounts)| work(scratch, tile, accounts, None))
                .collect(),
        }
    }
}
