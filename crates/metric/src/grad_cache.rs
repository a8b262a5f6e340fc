//! Large batches through a small encoder: exact gradients in chunks.

use std::ops::Range;

use crate::batch::{Batch, Refs};
use crate::context::Context;
use crate::error::Error;
use crate::number::Number;
use crate::objective::{Evaluated, Objective};
use crate::relation::Own;

/// The labels of a batch that is embedded in chunks.
#[derive(Clone, Copy, Debug)]
pub struct ChunkedBatch<'a> {
    /// Class of each anchor.
    pub labels: &'a [u32],
    /// Class of each reference and what references are to anchors; none for a batch against itself.
    pub refs: Option<(&'a [u32], Own<'a>)>,
    /// Dimensions of an embedding.
    pub dim: usize,
    /// Rows that the encoder takes at once, at least 1.
    pub chunk: usize,
}

/// Value and gradient of an objective on a batch whose encoder can hold only `chunk` rows at once.
///
/// Rows are numbered anchors first, then references. `embed` is called for one range of rows after another, and
/// returns their embeddings `[rows, dim]` without keeping what a backward pass needs. Then the objective is evaluated on
/// all embeddings. Then `backward` is called for the same ranges with the gradient by their embeddings: it embeds the
/// rows again, this time keeping what it needs, and adds to the gradients of its parameters. The sum over chunks is
/// the gradient of the one large batch exactly, because the loss depends on parameters through embeddings alone; both
/// calls must give the same embeddings, so dropout must depend on the row and not on the call. It costs one more forward
/// pass and O(B · D) memory.
///
/// Gao, Zhang, Han, Callan, *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*, RepL4NLP 2021.
///
/// # Errors
/// Those of `embed` and `backward`, those of [`Objective::evaluate`], and embeddings of another number than asked for.
pub fn grad_cache<T: Number, E: From<Error>>(
    objective: &Objective,
    batch: &ChunkedBatch<'_>,
    context: &Context<'_, T>,
    embed: impl FnMut(Range<usize>) -> Result<Vec<T>, E>,
    backward: impl FnMut(Range<usize>, &[T]) -> Result<(), E>,
) -> Result<Evaluated<T>, E> {
    let (anchors, dim) = (batch.labels.len(), batch.dim);
    let rows = anchors + batch.refs.map_or(0, |(labels, _)| labels.len());
    let context = Context { want_ref_grad: true, ..*context };
    let evaluate = |embeddings: &[T]| {
        let (x, r) = embeddings.split_at(anchors * dim);
        let refs = batch.refs.map(|(labels, own)| Refs { r, labels, own });
        Ok(objective.evaluate_with(&Batch { x, dim, labels: batch.labels, refs }, &context)?)
    };
    grad_cache_by(rows, dim, batch.chunk, embed, evaluate, backward)
}

/// [`grad_cache`] of anything that can be evaluated on embeddings `[rows, dim]`: `evaluate` answers with value and gradients,
/// by the first rows in [`Evaluated::grad`] and by the others in [`Evaluated::ref_grad`].
///
/// # Errors
/// Those of the three steps, embeddings of another number than asked for, and a gradient of another number than the rows.
pub fn grad_cache_by<T: Number, E: From<Error>>(
    rows: usize,
    dim: usize,
    chunk: usize,
    mut embed: impl FnMut(Range<usize>) -> Result<Vec<T>, E>,
    evaluate: impl FnOnce(&[T]) -> Result<Evaluated<T>, E>,
    mut backward: impl FnMut(Range<usize>, &[T]) -> Result<(), E>,
) -> Result<Evaluated<T>, E> {
    let chunk = chunk.max(1);
    let ranges = || (0..rows).step_by(chunk).map(|from| from..(from + chunk).min(rows));
    let mut embeddings = Vec::with_capacity(rows * dim);
    for range in ranges() {
        let (count, part) = (range.len(), embed(range)?);
        if part.len() != count * dim {
            return Err(
                Error::Shape { what: "embeddings of a chunk", found: part.len(), rows: count, dim }.into()
            );
        }
        embeddings.extend(part);
    }
    let found = evaluate(&embeddings)?;
    let mut gradient = found.grad.clone();
    gradient.extend(found.ref_grad.iter().flatten());
    if gradient.len() != rows * dim {
        return Err(Error::Shape { what: "gradient", found: gradient.len(), rows, dim }.into());
    }
    for range in ranges() {
        backward(range.clone(), &gradient[range.start * dim..range.end * dim])?;
    }
    Ok(found)
}
