//! Losses on pairs with scores: how similar a pair should be, or what a teacher says of a list.
//!
//! A batch holds `B` anchors and, as references, the other end of each pair and then the hard negatives, pair by pair: with
//! `N` negatives a pair, reference `i` belongs to anchor `i` and references `B + i·N …` are its negatives. The target scores
//! are [`Context::targets`](crate::Context): one a pair, or `1 + N` a pair for losses on lists. A loss sees the similarities
//! `[B, 1 + N]` and the targets, and answers with its value and the derivative by each similarity.
//!
//! Memory is `O((B + R)·D)`: only similarities of given pairs are computed. All of them are one number by their definition,
//! so there is no miner and no reducer.
//!
//! To add one: a file with its parameters and its [`ScoredLoss`], and one line in the list of losses.

mod angle;
mod cosent;
mod cosine_mse;
mod listwise_kl;
mod margin_mse;
mod similarity;

use parallax_kernels::Real;
use rayon::prelude::*;

pub use angle::Angle;
pub use cosent::Cosent;
pub use cosine_mse::CosineMse;
pub use listwise_kl::ListwiseKl;
pub(crate) use listwise_kl::check_temperatures;
pub use margin_mse::MarginMse;
pub use similarity::Similarity;

use crate::batch::{Batch, check_values};
use crate::context::Context;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::frame::Frame;
use crate::objective::{ChannelStats, Evaluated, ObjectiveStats, finite};
use crate::parts::Parts;
use crate::proxy::Needs;
use crate::tiling::Shape;

/// What the targets of a [`ScoredLoss`] are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Each pair: `[B]`. Hard negatives are not used.
    Pairs,
    /// Each candidate of each list, the pair's own first: `[B, 1 + N]`.
    Lists,
}

/// Similarities and targets of a batch, `rows × columns`.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// Similarities, row by row.
    pub similarities: &'a [f64],
    /// What they should be, or what a teacher says.
    pub targets: &'a [f64],
    /// Candidates of a row: 1, or `1 + N`.
    pub columns: usize,
}

/// A loss on pairs with scores.
pub trait ScoredLoss: Sync {
    /// Name in configs and messages.
    const NAME: &'static str;
    /// What the targets are of.
    const TARGETS: Targets;

    /// The distance where the objective names none; `cosine` and `dot` are possible.
    fn distance(&self) -> DistanceConfig {
        DistanceConfig::cosine()
    }

    /// What is computed of the two ends of a pair, once they are normalised as the distance says.
    fn similarity(&self) -> Similarity {
        Similarity::Product
    }

    /// Refuses parameters outside their range.
    fn check(&self) -> Result<(), Error>;

    /// Refuses parts that the loss has no meaning for.
    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_miner(Self::NAME)?;
        parts.no_reducer(Self::NAME)?;
        Needs::Similarity.check(Self::NAME, parts.distance)
    }

    /// The loss of a batch; writes its derivative by each similarity to `slopes`, zeros to begin with.
    fn score(&self, scores: &Scores<'_>, slopes: &mut [f64]) -> f64;

    /// An upper bound on the bytes of an evaluation, its result included.
    fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, references, dim, value_bytes, .. } = *shape;
        // Prepared rows and gradients of both sides; similarities, targets, slopes and what sorting them takes.
        (anchors + references) * (2 * dim + 4) * value_bytes + 8 * 12 * (anchors + references) + (64 << 10)
    }
}

/// Evaluates any [`ScoredLoss`] on the targets in the context.
///
/// # Errors
/// As [`Objective::evaluate`](crate::Objective::evaluate); besides, a batch without pairs, negatives that are not equally many
/// for each pair, targets that are missing, do not fit or are not finite, and a miner, a reducer or a distance that is none
/// of `cosine` and `dot`.
pub fn evaluate_scored_loss<L: ScoredLoss, T: Real>(
    loss: &L,
    parts: &Parts<'_>,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    loss.check()?;
    parts.check()?;
    loss.check_parts(parts)?;
    let (rows, dim) = (batch.labels.len(), batch.dim);
    if rows == 0 || dim == 0 {
        return Err(Error::EmptyBatch { rows, dim });
    }
    let Some(refs) = batch.refs else { return Err(Error::NeedsPairs { loss: L::NAME }) };
    let references = refs.labels.len();
    check_values("embeddings", batch.x, rows, dim)?;
    check_values("references", refs.r, references, dim)?;
    let Some(negatives) = references.checked_sub(rows) else {
        return Err(Error::TooFewReferences { anchors: rows, references });
    };
    let each = if L::TARGETS == Targets::Lists { negatives / rows } else { 0 };
    if L::TARGETS == Targets::Lists && negatives != each * rows {
        return Err(Error::UnevenNegatives { loss: L::NAME, negatives, rows });
    }
    let columns = 1 + each;
    let targets = context.targets.ok_or(Error::NeedsTargets { loss: L::NAME })?;
    if targets.len() != rows * columns {
        return Err(Error::Shape { what: "targets", found: targets.len(), rows, dim: columns });
    }
    if let Some(at) = targets.iter().position(|target| !target.is_finite()) {
        let (row, column, value) = (at / columns, at % columns, targets[at]);
        return Err(Error::TargetNotFinite { row, column, value });
    }

    let (x, r) = (Frame::new(batch.x, dim, parts.distance), Frame::new(refs.r, dim, parts.distance));
    let similarity = loss.similarity();
    let candidate = |i: usize, k: usize| if k == 0 { i } else { rows + i * each + k - 1 };
    let similarities: Vec<f64> = (0..rows * columns)
        .into_par_iter()
        .with_min_len(64)
        .map(|at| {
            let (i, k) = (at / columns, at % columns);
            similarity.of(x.row(i), r.row(candidate(i, k)))
        })
        .collect();
    let mut slopes = vec![0.0; similarities.len()];
    let value = loss.score(&Scores { similarities: &similarities, targets, columns }, &mut slopes);

    let mut grad = vec![T::ZERO; batch.x.len()];
    grad.par_chunks_exact_mut(dim).with_min_len(64).enumerate().for_each(|(i, dx)| {
        for k in 0..columns {
            let at = i * columns + k;
            similarity.add_first(T::of(slopes[at]), x.row(i), r.row(candidate(i, k)), dx);
        }
    });
    x.backward(&mut grad);
    let mut ref_grad = None;
    if context.want_ref_grad {
        let mut dr = vec![T::ZERO; refs.r.len()];
        let used = rows * columns;
        dr[..used * dim].par_chunks_exact_mut(dim).with_min_len(64).enumerate().for_each(|(j, dr)| {
            let (i, k) = if j < rows { (j, 0) } else { ((j - rows) / each, 1 + (j - rows) % each) };
            similarity.add_second(T::of(slopes[i * columns + k]), x.row(i), r.row(j), dr);
        });
        r.backward(&mut dr);
        ref_grad = Some(dr);
    }
    finite("loss", &[value])?;
    finite("gradient", &grad)?;
    finite("reference gradient", ref_grad.as_deref().unwrap_or_default())?;
    let active = slopes.iter().filter(|slope| **slope != 0.0).count() as u64;
    let elements = similarities.len() as u64;
    let stats = ObjectiveStats {
        positive_pairs: rows as u64,
        negative_pairs: elements - rows as u64,
        mined_positive: rows as u64,
        mined_negative: elements - rows as u64,
        active,
        channels: vec![ChannelStats { name: "loss", value, elements, active }],
        ..ObjectiveStats::default()
    };
    Ok(Evaluated { value, grad, ref_grad, stats, ..Evaluated::default() })
}
