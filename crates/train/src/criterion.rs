//! What training minimises: an objective of a run file, or a loss of the caller's own.

use std::fmt::Debug;

use parallax_metric::mixup::Metrix;
use parallax_metric::regularizer::EnergyConfusion;
use parallax_metric::{
    Batch, Context, CrossBatchMemory, DistanceConfig, Evaluated, MinerConfig, Objective, Parts,
    ReducerConfig, RowLoss, Shape, Wants, evaluate_loss_with, loss_memory_bytes,
};

use crate::Result;

/// What training minimises.
///
/// [`Objective`] is one, and [`OwnLoss`] makes one of any [`RowLoss`]. What `Debug` prints is part of what identifies a run,
/// so it must hold every parameter: a checkpoint is only resumed with the same text.
pub trait Criterion: Debug + Send + Sync {
    /// Its name in messages and model cards.
    fn name(&self) -> String;

    /// Refuses parameters outside their range, and what a trainer cannot hand in.
    ///
    /// # Errors
    /// What is wrong, before anything is computed.
    fn check(&self) -> Result<()>;

    /// What has to be handed in beside labelled embeddings; nothing by default.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// The memory of earlier batches that each batch is compared with; none by default.
    fn memory(&self) -> Option<&CrossBatchMemory> {
        None
    }

    /// First values of learnable scalars; none by default.
    fn scalars(&self) -> Vec<f64> {
        Vec::new()
    }

    /// The regulariser on the output of the metric layer, which is then handed in; none by default.
    fn confusion(&self) -> Option<&EnergyConfusion> {
        None
    }

    /// The mixup whose mixtures are handed in, with their embeddings where they are made before the embedding; none by
    /// default, and none where its weight is 0.
    fn mixup(&self) -> Option<&Metrix> {
        None
    }

    /// Value and gradients on a batch.
    ///
    /// # Errors
    /// A batch that does not fit, values that are not finite.
    fn evaluate(
        &self,
        batch: &Batch<'_, f32>,
        context: &Context<'_, f32>,
    ) -> Result<Evaluated<f32>, parallax_metric::Error>;

    /// An upper bound on the bytes that an evaluation on a batch of this shape allocates.
    fn memory_bytes(&self, shape: &Shape) -> usize;
}

impl Criterion for Objective {
    fn name(&self) -> String {
        self.loss.name().to_owned()
    }

    fn check(&self) -> Result<()> {
        Ok(Objective::check(self)?)
    }

    fn wants(&self) -> Wants {
        Objective::wants(self)
    }

    fn memory(&self) -> Option<&CrossBatchMemory> {
        self.memory.as_ref()
    }

    fn scalars(&self) -> Vec<f64> {
        Objective::scalars(self)
    }

    fn confusion(&self) -> Option<&EnergyConfusion> {
        Objective::confusion(self)
    }

    fn mixup(&self) -> Option<&Metrix> {
        self.active_mixup()
    }

    fn evaluate(
        &self,
        batch: &Batch<'_, f32>,
        context: &Context<'_, f32>,
    ) -> Result<Evaluated<f32>, parallax_metric::Error> {
        self.evaluate_with(batch, context)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        Objective::memory_bytes(self, shape)
    }
}

/// A [`RowLoss`] of the caller's own, with what an [`Objective`] has beside its loss.
#[derive(Clone, Debug)]
pub struct OwnLoss<L> {
    /// The loss.
    pub loss: L,
    /// Which pairs reach the loss; all of them by default.
    pub miner: Option<MinerConfig>,
    /// The distance; the loss's own by default.
    pub distance: DistanceConfig,
    /// The reducer; the loss's own by default.
    pub reducer: ReducerConfig,
    /// Embeddings of earlier batches that each batch is compared with; none by default.
    pub memory: Option<CrossBatchMemory>,
}

impl<L: RowLoss> OwnLoss<L> {
    /// The loss with its own distance and reducer and no miner.
    pub fn new(loss: L) -> Self {
        OwnLoss { miner: None, distance: loss.distance(), reducer: loss.reducer(), memory: None, loss }
    }
}

impl<L: RowLoss> OwnLoss<L> {
    fn parts(&self) -> Parts<'_> {
        Parts { miner: self.miner.as_ref(), distance: &self.distance, reducer: &self.reducer }
    }
}

impl<L: RowLoss + Debug + Send> Criterion for OwnLoss<L> {
    fn name(&self) -> String {
        L::NAME.to_owned()
    }

    fn check(&self) -> Result<()> {
        self.loss.check()?;
        self.parts().check()?;
        self.loss.check_distance(&self.distance)?;
        if let Some(memory) = &self.memory {
            memory.check()?;
            Criterion::wants(self).remembered(L::NAME)?;
        }
        Ok(())
    }

    fn wants(&self) -> Wants {
        Wants { itself: self.loss.mates(), ..Wants::default() }
    }

    fn memory(&self) -> Option<&CrossBatchMemory> {
        self.memory.as_ref()
    }

    fn scalars(&self) -> Vec<f64> {
        self.loss.scalars()
    }

    fn evaluate(
        &self,
        batch: &Batch<'_, f32>,
        context: &Context<'_, f32>,
    ) -> Result<Evaluated<f32>, parallax_metric::Error> {
        evaluate_loss_with(&self.loss, &self.parts(), batch, context)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        loss_memory_bytes(&self.loss, self.miner.as_ref(), shape)
    }
}
