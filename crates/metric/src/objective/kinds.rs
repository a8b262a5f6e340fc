//! What an objective does according to the kind of its loss.

use parallax_kernels::Real;

use super::row_loss::evaluate_row;
use super::{Evaluated, Objective};
use crate::batch::Batch;
use crate::context::Context;
use crate::dense::{DenseLoss, evaluate_dense_loss};
use crate::engine::FEW_POSITIVES;
use crate::error::Error;
use crate::loss::Visitor;
use crate::parts::Parts;
use crate::proxy::{ProxyLoss, evaluate_proxy_loss};
use crate::row::RowLoss;
use crate::scored::{ScoredLoss, evaluate_scored_loss};
use crate::tiling::{Extra, Shape};

/// Evaluates the loss of an objective as what it is.
pub(super) struct OneWay<'o, 'b, T> {
    pub(super) objective: &'o Objective,
    pub(super) batch: &'o Batch<'b, T>,
    pub(super) context: &'o Context<'b, T>,
    pub(super) turned: bool,
}

impl<T: Real> Visitor for OneWay<'_, '_, T> {
    type Out = Result<Evaluated<T>, Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        let miner = self.objective.miner.as_ref();
        evaluate_row(loss, miner, &distance, &reducer, self.batch, self.context, self.turned)
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        self.with_parts(|parts, batch, context| evaluate_proxy_loss(loss, parts, batch, context))
    }

    fn dense<L: DenseLoss>(self, loss: &L) -> Self::Out {
        self.with_parts(|parts, batch, context| evaluate_dense_loss(loss, parts, batch, context))
    }

    fn scored<L: ScoredLoss>(self, loss: &L) -> Self::Out {
        self.with_parts(|parts, batch, context| evaluate_scored_loss(loss, parts, batch, context))
    }
}

impl<'b, T: Real> OneWay<'_, 'b, T> {
    fn with_parts<O>(self, evaluate: impl Fn(&Parts<'_>, &Batch<'b, T>, &Context<'b, T>) -> O) -> O {
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        let miner = self.objective.miner.as_ref();
        evaluate(&Parts { miner, distance: &distance, reducer: &reducer }, self.batch, self.context)
    }
}

/// Refuses parts that the loss of an objective has no meaning for.
pub(super) struct CheckParts<'a>(pub(super) Parts<'a>);

impl Visitor for CheckParts<'_> {
    type Out = Result<(), Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        loss.check_distance(self.0.distance)
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        loss.check_parts(&self.0)
    }

    fn dense<L: DenseLoss>(self, loss: &L) -> Self::Out {
        loss.check_parts(&self.0)
    }

    fn scored<L: ScoredLoss>(self, loss: &L) -> Self::Out {
        loss.check_parts(&self.0)
    }
}

/// The memory of a loss with a miner.
pub(super) struct Bytes<'a> {
    pub(super) shape: &'a Shape,
    pub(super) miner: Extra,
}

impl Bytes<'_> {
    /// What the miner adds to a loss that runs on the row engine with `references`.
    fn mining(&self, references: usize) -> usize {
        let shape = Shape { references, ..*self.shape };
        self.miner.bytes(&shape) - Extra::default().bytes(&shape)
    }
}

impl Visitor for Bytes<'_> {
    type Out = usize;

    fn row<L: RowLoss>(self, loss: &L) -> usize {
        row_needs(loss, self.miner, self.shape).bytes(self.shape)
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> usize {
        loss.memory_bytes(self.shape) + self.mining(self.shape.proxies.max(self.shape.anchors))
    }

    fn dense<L: DenseLoss>(self, loss: &L) -> usize {
        loss.memory_bytes(self.shape) + self.mining(self.shape.references)
    }

    fn scored<L: ScoredLoss>(self, loss: &L) -> usize {
        loss.memory_bytes(self.shape)
    }
}

/// What a row loss needs beside a miner's needs.
pub(super) fn row_needs<L: RowLoss>(loss: &L, miner: Extra, shape: &Shape) -> Extra {
    // Positive pairs that are kept apart.
    let apart = if L::PAIRWISE { 48 * shape.largest_class.min(2 * FEW_POSITIVES) } else { 0 };
    Extra { passes: L::PASSES, mates: loss.mates(), per_row: miner.per_row + apart, ..miner }
}
