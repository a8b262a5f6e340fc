//! The evaluation of a row loss: checks, the engine, and the way back to raw embeddings.

use parallax_kernels::Real;

use super::evaluated::stats_of;
use super::kinds::row_needs;
use super::{ChannelStats, Evaluated};
use crate::batch::{Batch, Frames, check_values};
use crate::context::{Context, Scores, Teacher, unit_rows};
use crate::distance::DistanceConfig;
use crate::engine::Outcome;
use crate::error::Error;
use crate::loss::Opinion;
use crate::miner::MinerConfig;
use crate::parts::Parts;
use crate::reducer::ReducerConfig;
use crate::row::{AnyLoss, RowLoss};
use crate::tiling::{Extra, Shape};

/// Evaluates any [`RowLoss`], one that is not in [`LossConfig`](crate::LossConfig) too; [`Objective::evaluate`](crate::Objective::evaluate) is this with names.
///
/// # Errors
/// As [`Objective::evaluate`](crate::Objective::evaluate).
pub fn evaluate_loss<L: RowLoss, T: Real>(
    loss: &L,
    miner: Option<&MinerConfig>,
    distance: &DistanceConfig,
    reducer: &ReducerConfig,
    batch: &Batch<'_, T>,
    want_ref_grad: bool,
    tile_bytes: usize,
) -> Result<Evaluated<T>, Error> {
    let context = Context { want_ref_grad, tile_bytes, ..Context::default() };
    evaluate_row(loss, miner, distance, reducer, batch, &context, false)
}

/// [`evaluate_loss`] with all that can be given beside the batch: learnable scalars, a teacher, a key.
///
/// # Errors
/// As [`Objective::evaluate_with`](crate::Objective::evaluate_with).
pub fn evaluate_loss_with<L: RowLoss, T: Real>(
    loss: &L,
    parts: &Parts<'_>,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    evaluate_row(loss, parts.miner, parts.distance, parts.reducer, batch, context, false)
}

/// An upper bound on the bytes that an evaluation of any [`RowLoss`] allocates; see [`Objective::memory_bytes`](crate::Objective::memory_bytes).
pub fn loss_memory_bytes<L: RowLoss>(loss: &L, miner: Option<&MinerConfig>, shape: &Shape) -> usize {
    let miner = miner.map_or(Extra::default(), MinerConfig::needs);
    row_needs(loss, miner, shape).bytes(shape)
}

/// [`evaluate_loss`] in a context. With `turned`, a teacher's matrix is read the other way round.
pub(crate) fn evaluate_row<T: Real>(
    loss: &dyn AnyLoss<T>,
    miner: Option<&MinerConfig>,
    distance: &DistanceConfig,
    reducer: &ReducerConfig,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
    turned: bool,
) -> Result<Evaluated<T>, Error> {
    loss.check()?;
    distance.check()?;
    reducer.check()?;
    loss.check_distance(distance)?;
    if let Some(miner) = miner {
        miner.check()?;
        miner.check_distance(distance)?;
    }
    if loss.mates() && batch.refs.is_some() {
        return Err(Error::NeedsItself { loss: loss.name() });
    }
    check_classes(loss.name(), loss.classes(), batch.labels)?;
    check_classes("class_weighted", reducer.classes(), batch.labels)?;
    let first = loss.scalars();
    let scalars = context.scalars.unwrap_or(&first);
    if scalars.len() != first.len() {
        return Err(Error::Scalars { loss: loss.name(), expected: first.len(), found: scalars.len() });
    }
    let mut screen = loss.screen();
    if distance.norm().is_none() || !distance.larger_is_nearer() {
        screen.above = None;
    }
    let columns = batch.refs.map_or(batch.labels.len(), |refs| refs.labels.len());
    let teacher = match loss.teacher() {
        Some(opinion) => {
            Some(scores(loss.name(), opinion, context.teacher, batch.labels.len(), columns, turned)?)
        }
        None => None,
    };
    let frames = Frames::new(batch, distance)?;
    let problem = frames.problem(batch, distance, miner, screen, teacher.as_ref(), context);
    let want_ref_grad = context.want_ref_grad;
    let want_dr = batch.refs.is_none() || want_ref_grad;
    let Outcome { value, mut dx, mut dr, scalars: scalar_grad, account, channels } =
        problem.evaluate(loss, reducer, scalars, want_dr);
    let mut ref_grad = None;
    if let Some(r) = &frames.r {
        if want_ref_grad {
            r.backward(&mut dr);
            ref_grad = Some(dr);
        }
    } else {
        dx.iter_mut().zip(&dr).for_each(|(dx, &dr)| *dx += dr);
    }
    frames.x.backward(&mut dx);
    if account.overflow {
        return Err(Error::Overflow { what: "loss" });
    }
    finite("loss", &[value])?;
    finite("gradient", &dx)?;
    finite("reference gradient", ref_grad.as_deref().unwrap_or_default())?;
    let parts = loss.channels().iter().zip(channels.iter().zip(&account.tallies));
    let channels = parts
        .map(|(&name, (&value, tally))| ChannelStats {
            name,
            value,
            elements: tally.elements,
            active: tally.active,
        })
        .collect();
    let stats = stats_of(&account, channels);
    Ok(Evaluated { value, grad: dx, ref_grad, scalar_grad, stats, ..Evaluated::default() })
}

pub(crate) fn check_classes(
    component: &'static str,
    classes: Option<usize>,
    labels: &[u32],
) -> Result<(), Error> {
    let Some(classes) = classes else { return Ok(()) };
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(row) => Err(Error::UnknownClass { component, row, label: labels[row], classes }),
        None => Ok(()),
    }
}

/// Checks a teacher against a batch of `b` anchors and `r` references.
fn scores<'a, T: Real>(
    loss: &'static str,
    opinion: Opinion,
    teacher: Option<Teacher<'a, T>>,
    b: usize,
    r: usize,
    turned: bool,
) -> Result<Scores<'a, T>, Error> {
    match teacher.ok_or(Error::NeedsTeacher { loss })? {
        Teacher::Similarities(values) => {
            // Turned, the batch's anchors are the first rows of the teacher's references.
            let (rows, columns) = if turned { (r, values.len() / r.max(1)) } else { (b, r) };
            check_values("teacher similarities", values, rows, columns)?;
            if columns < if turned { b } else { r } {
                return Err(Error::Shape {
                    what: "teacher similarities",
                    found: values.len(),
                    rows: r,
                    dim: b,
                });
            }
            Ok(Scores::Matrix { values, columns, turned })
        }
        Teacher::Candidates(_) if opinion == Opinion::Whole => Err(Error::NeedsWholeTeacher { loss }),
        Teacher::Candidates(values) => {
            // Turned, what stands there is still one list for each pair.
            let each = if turned { values.len() / b.max(1) } else { 1 + r.saturating_sub(b) / b.max(1) };
            check_values("teacher similarities", values, b, each)?;
            if each == 0 || r < b || !turned && each * b != r {
                return Err(Error::Shape {
                    what: "teacher similarities",
                    found: values.len(),
                    rows: b,
                    dim: each,
                });
            }
            Ok(Scores::Candidates { values, rows: b, each })
        }
        Teacher::Embeddings { x, r: references, dim } => {
            let (x, references) = if turned { (references, x) } else { (x, references) };
            let used = |values: &'a [T], rows: usize| values.get(..rows * dim).unwrap_or(values);
            let x = used(x, b);
            check_values("teacher embeddings", x, b, dim)?;
            let references = if references.is_empty() { references } else { used(references, r) };
            if !references.is_empty() || b != r {
                check_values("teacher embeddings of references", references, r, dim)?;
            }
            // Masks compare cosines; what is to be learned is what the teacher says.
            let rows = |values: &[T]| match opinion {
                Opinion::Candidates => unit_rows(values, dim),
                Opinion::Whole => values.to_vec(),
            };
            Ok(Scores::Rows { x: rows(x), r: rows(references), dim })
        }
    }
}

pub(crate) fn finite<T: Real>(what: &'static str, values: &[T]) -> Result<(), Error> {
    let bad = values.iter().map(|v| u64::from(!v.is_finite())).sum::<u64>();
    if bad == 0 { Ok(()) } else { Err(Error::Overflow { what }) }
}
