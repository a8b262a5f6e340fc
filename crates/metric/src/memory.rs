//! Cross-batch memory: embeddings of earlier batches as references.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Refs};
use crate::context::Context;
use crate::error::{Error, require};
use crate::number::Number;
use crate::objective::{Evaluated, Objective};
use crate::relation::Own;

/// A memory of embeddings that each batch is compared with.
///
/// After `warm_up` steps, each batch is put into a ring of `memory_size` embeddings, in place of the oldest, and is
/// then compared with the whole ring, its own copies excluded as pairs with themselves. What is remembered is constant, so
/// only the B × M similarities of new to remembered are computed and only the batch has a gradient. During warm-up the batch
/// is compared with itself and nothing is remembered, because embeddings still move too fast.
///
/// Defaults: 1,024 embeddings, no warm-up, and no loss of the batch against itself beside that against the memory. Wang et
/// al., *Cross-Batch Memory for Embedding Learning*, CVPR 2020 (there the two losses are added: `batch_weight = 1`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossBatchMemory {
    /// Embeddings remembered, at least a batch.
    pub memory_size: usize,
    /// Steps before the memory is used.
    pub warm_up: u64,
    /// Weight of the loss of the batch against itself, added to the loss against the memory; at least 0.
    pub batch_weight: f64,
}

impl Default for CrossBatchMemory {
    fn default() -> Self {
        CrossBatchMemory { memory_size: 1024, warm_up: 0, batch_weight: 0.0 }
    }
}

impl CrossBatchMemory {
    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        let name = "cross_batch_memory";
        require(self.memory_size > 0, name, "memory_size", 0.0, "at least 1")?;
        let valid = self.batch_weight >= 0.0 && self.batch_weight.is_finite();
        require(valid, name, "batch_weight", self.batch_weight, "a finite number of at least 0")
    }
}

/// A [`CrossBatchMemory`] at work. It is its own state: written to a checkpoint and read again, it goes on as if nothing
/// had been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory<T> {
    config: CrossBatchMemory,
    dim: usize,
    /// Embeddings in the ring, `[filled, dim]`.
    values: Vec<T>,
    labels: Vec<u32>,
    /// Where the next embedding goes.
    next: usize,
    steps: u64,
}

impl<T: Number> Memory<T> {
    /// An empty memory of embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// Parameters outside their range.
    pub fn new(config: CrossBatchMemory, dim: usize) -> Result<Self, Error> {
        config.check()?;
        require(dim > 0, "cross_batch_memory", "dim", 0.0, "at least 1")?;
        Ok(Memory { config, dim, values: Vec::new(), labels: Vec::new(), next: 0, steps: 0 })
    }

    /// A memory of the same settings as it was: `values` `[filled, dim]` with their labels, the place of the next embedding, the
    /// steps so far. With [`contents`](Self::contents), [`next`](Self::next) and [`steps`](Self::steps) it can be kept in any
    /// format.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn with_contents(
        &self,
        values: Vec<T>,
        labels: Vec<u32>,
        next: usize,
        steps: u64,
    ) -> Result<Self, Error> {
        let memory = Memory { config: self.config.clone(), dim: self.dim, values, labels, next, steps };
        memory.check()?;
        Ok(memory)
    }

    /// Dimensions of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Its settings.
    pub fn config(&self) -> &CrossBatchMemory {
        &self.config
    }

    /// Refuses a state whose parts do not fit together, as may come from a damaged checkpoint.
    ///
    /// # Errors
    /// The part that does not fit.
    pub fn check(&self) -> Result<(), Error> {
        self.config.check()?;
        let (filled, size) = (self.labels.len(), self.config.memory_size);
        if Some(self.values.len()) != filled.checked_mul(self.dim) {
            let (found, rows, dim) = (self.values.len(), filled, self.dim);
            return Err(Error::Shape { what: "memory", found, rows, dim });
        }
        let fits = filled <= size && if filled < size { self.next == filled } else { self.next < size };
        let must = "the end of what is filled, or inside a full ring";
        require(fits, "cross_batch_memory", "next", self.next as f64, must)
    }

    /// How many embeddings are remembered.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether nothing is remembered yet.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Where in the ring the next embedding goes.
    pub fn next(&self) -> usize {
        self.next
    }

    /// The remembered embeddings `[len, dim]`, and their labels.
    pub fn contents(&self) -> (&[T], &[u32]) {
        (&self.values, &self.labels)
    }

    /// Puts embeddings into the ring and returns where each stands.
    fn remember(&mut self, x: &[T], labels: &[u32]) -> Vec<Option<u32>> {
        let mut places = Vec::with_capacity(labels.len());
        for (row, &label) in x.chunks_exact(self.dim).zip(labels) {
            if self.labels.len() < self.config.memory_size {
                self.values.extend_from_slice(row);
                self.labels.push(label);
            } else {
                self.values[self.next * self.dim..][..self.dim].copy_from_slice(row);
                self.labels[self.next] = label;
            }
            places.push(Some(self.next as u32));
            self.next = (self.next + 1) % self.config.memory_size;
        }
        places
    }

    /// One step: remembers the batch `x` `[B, dim]` and evaluates the objective on it against the memory.
    ///
    /// The gradient is by the batch alone; `want_ref_grad` of the context is ignored. On an error nothing is remembered.
    ///
    /// # Errors
    /// As [`Objective::evaluate`], and a batch larger than the memory.
    pub fn evaluate(
        &mut self,
        objective: &Objective,
        x: &[T],
        labels: &[u32],
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        self.evaluate_by(x, labels, context, |batch, context| objective.evaluate_with(batch, context))
    }

    /// [`evaluate`](Self::evaluate) of anything that can be evaluated on a batch with references, such as a loss of the
    /// caller's own.
    ///
    /// # Errors
    /// Those of `evaluate`, embeddings that do not fit or are not finite, and a batch larger than the memory.
    pub fn evaluate_by<E: From<Error>>(
        &mut self,
        x: &[T],
        labels: &[u32],
        context: &Context<'_, T>,
        evaluate: impl Fn(&Batch<'_, T>, &Context<'_, T>) -> Result<Evaluated<T>, E>,
    ) -> Result<Evaluated<T>, E> {
        let dim = self.dim;
        let context = Context { want_ref_grad: false, ..*context };
        let batch = Batch { x, dim, labels, refs: None };
        if labels.len() > self.config.memory_size {
            let references = self.config.memory_size;
            return Err(Error::TooFewReferences { anchors: labels.len(), references }.into());
        }
        crate::batch::check_values("embeddings", x, labels.len(), dim)?;
        if self.steps < self.config.warm_up {
            let found = evaluate(&batch, &context)?;
            self.steps += 1;
            return Ok(found);
        }
        let before = self.overwritten(labels.len());
        let places = self.remember(x, labels);
        let refs = Some(Refs { r: &self.values, labels: &self.labels, own: Own::Item(&places) });
        let found = self.against(&evaluate, &Batch { refs, ..batch }, &batch, &context);
        if found.is_err() {
            before.restore(self);
        } else {
            self.steps += 1;
        }
        found
    }

    fn against<E>(
        &self,
        evaluate: &impl Fn(&Batch<'_, T>, &Context<'_, T>) -> Result<Evaluated<T>, E>,
        memory: &Batch<'_, T>,
        alone: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, E> {
        let mut found = evaluate(memory, context)?;
        let weight = self.config.batch_weight;
        if weight > 0.0 {
            // A loss with a state sees the memory first and then the batch.
            let state = context.state.map(|_| found.state.as_slice());
            let own = evaluate(alone, &Context { state, ..*context })?;
            if context.state.is_some() {
                found.state = own.state;
            }
            found.value += weight * own.value;
            let factor = T::of(weight);
            let pairs = [
                (&mut found.grad, &own.grad),
                (&mut found.layer_grad, &own.layer_grad),
                (&mut found.mixed_grad, &own.mixed_grad),
            ];
            for (to, own) in pairs {
                to.iter_mut().zip(own).for_each(|(d, &own)| *d += factor * own);
            }
            found.scalar_grad.iter_mut().zip(&own.scalar_grad).for_each(|(d, own)| *d += weight * own);
        }
        Ok(found)
    }

    /// What a batch of `rows` is about to overwrite.
    fn overwritten(&self, rows: usize) -> Before<T> {
        let filled = self.labels.len();
        let places: Vec<usize> = (0..rows)
            .map(|k| (self.next + k) % self.config.memory_size)
            .filter(|&place| place < filled)
            .collect();
        let rows =
            places.iter().map(|&p| (p, self.values[p * self.dim..][..self.dim].to_vec(), self.labels[p]));
        Before { filled, next: self.next, rows: rows.collect() }
    }
}

/// The part of a ring that a batch overwrites, to put it back.
struct Before<T> {
    filled: usize,
    next: usize,
    rows: Vec<(usize, Vec<T>, u32)>,
}

impl<T: Number> Before<T> {
    fn restore(&self, memory: &mut Memory<T>) {
        memory.values.truncate(self.filled * memory.dim);
        memory.labels.truncate(self.filled);
        memory.next = self.next;
        for (place, values, label) in &self.rows {
            memory.values[place * memory.dim..][..memory.dim].copy_from_slice(values);
            memory.labels[*place] = *label;
        }
    }
}
