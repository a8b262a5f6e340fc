//! What an objective carries from step to step beside its parameters.

use parallax_metric::{Batch, Context, CrossBatchMemory, Evaluated, Memory};
use parallax_random::Key;

use crate::{Criterion, Error, Result};

/// What an objective carries from step to step: written to checkpoints, and left behind with the last step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept {
    /// Embeddings of earlier batches, where the objective remembers them.
    pub(crate) memory: Option<Memory<f32>>,
    /// The numbers that the loss keeps from batch to batch, such as a moving histogram; empty for most.
    pub(crate) state: Vec<f64>,
}

impl Kept {
    /// What there is before the first step.
    ///
    /// # Errors
    /// Settings of a memory out of range.
    pub(crate) fn new(criterion: &dyn Criterion, dim: usize) -> Result<Self> {
        let memory = criterion.memory().map(|config| Memory::new(config.clone(), dim)).transpose()?;
        Ok(Kept { memory, state: vec![0.0; criterion.wants().state] })
    }

    /// The same with a memory that is full and in use, of drawn embeddings: what a step costs once it is.
    pub(crate) fn filled(&self, key: Key, classes: usize) -> Result<Self> {
        let Some(memory) = &self.memory else { return Ok(self.clone()) };
        let CrossBatchMemory { memory_size, warm_up, .. } = *memory.config();
        let values = (0..memory_size * memory.dim()).map(|at| key.normal(at as u64) as f32).collect();
        let labels = (0..memory_size).map(|at| (at % classes.max(1)) as u32).collect();
        let memory = Some(memory.with_contents(values, labels, 0, warm_up)?);
        Ok(Kept { memory, state: self.state.clone() })
    }

    /// One step of the objective on a batch.
    ///
    /// # Errors
    /// Those of the objective; then nothing is kept of the step.
    pub(crate) fn evaluate(
        &mut self,
        criterion: &dyn Criterion,
        batch: &Batch<'_, f32>,
        context: &Context<'_, f32>,
    ) -> Result<Evaluated<f32>> {
        let context = Context { state: (!self.state.is_empty()).then_some(&self.state), ..*context };
        let mut found = match &mut self.memory {
            None => criterion.evaluate(batch, &context)?,
            Some(memory) => memory.evaluate_by(batch.x, batch.labels, &context, |batch, context| {
                criterion.evaluate(batch, context).map_err(Error::from)
            })?,
        };
        if !self.state.is_empty() {
            self.state = std::mem::take(&mut found.state);
        }
        Ok(found)
    }
}
