//! The work on one anchor: its candidates, and the loss on them.

use parallax_kernels::Real;

use super::{Account, Masked, Problem, Run};
use crate::distance::Form;
use crate::miner::At;
use crate::relation::Candidates;
use crate::row::{Mate, Pairs, Row, Slopes};
use crate::triplets::Chosen;

/// What a thread reuses from row to row.
pub(crate) struct Scratch<T> {
    pub(crate) positives: Candidates<T>,
    pub(crate) negatives: Candidates<T>,
    pub(crate) chosen: Chosen<T>,
    pub(super) scores: Vec<T>,
    pub(super) near: Vec<u32>,
    pub(super) others: Vec<(u32, T)>,
    /// Columns that were in a list when the loss saw them.
    pub(super) covered: usize,
    /// Sum and number of negatives that are not listed.
    pub(super) unlisted: Option<(f64, u64)>,
}

impl<T: Real> Scratch<T> {
    pub(super) fn new(columns: usize) -> Self {
        Scratch {
            positives: Candidates::new(columns),
            negatives: Candidates::new(columns),
            chosen: Chosen::All,
            scores: Vec::new(),
            near: Vec::new(),
            others: Vec::new(),
            covered: 0,
            unlisted: None,
        }
    }
}

/// A row and room for its slopes.
pub(super) struct Opened<'s, T> {
    pub(super) row: Row<'s, T>,
    positives: &'s mut [T],
    negatives: &'s mut [T],
    others: &'s mut Vec<(u32, T)>,
}

impl<T: Real> Problem<'_, T> {
    /// Turns row `i` into distances, sorts it into positives and negatives, masks, and mines.
    pub(super) fn candidates(&self, i: usize, s: &mut [T], scratch: &mut Scratch<T>) -> Account {
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
        if let Some(teacher) = self.teacher {
            scratch.scores.resize(s.len(), T::ZERO);
            teacher.row(i, &mut scratch.scores);
        }
        if let Some(margin) = self.screen.teacher.filter(|_| self.teacher.is_some()) {
            let scores = &scratch.scores;
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
        scratch.covered = scratch.positives.len() + scratch.negatives.len();
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
    pub(super) fn open<'s>(
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
            taught: &scratch.scores,
            mates,
            larger_is_nearer: self.distance.larger_is_nearer(),
            scalars: run.scalars,
            stats: &run.stats,
            folded: &run.folded,
            columns_are_rows: self.relation.columns_are_rows(),
            range: run.range,
            per_anchor: run.reducer.per_anchor(),
            class_weight: run.reducer.class_weight(self.relation.labels[i]),
            unlisted: scratch.unlisted,
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
    pub(super) fn row(
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
