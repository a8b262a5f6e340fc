//! Losses on logits: a classifier's raw outputs, where a score is of a class and not of a pair.
//!
//! A model with one output tells a positive class (label 1) from a negative one (label 0): the probability of the positive is
//! `p = σ(z)`, and a row is called positive where `z ≥ 0`. A model with `C ≥ 2` outputs has one for each class, and a row is
//! called the class of its largest output. Labels are numbers of classes, from 0.
//!
//! To add one: a file with its parameters and its [`DenseLoss`](crate::dense::DenseLoss) with `LOGITS`, and one line in the
//! list of losses.

mod any_loss;
mod binary_cross_entropy;
mod cross_entropy;

use parallax_kernels::Real;

pub use any_loss::{Anyloss, Cells, Formula, Score};
pub use binary_cross_entropy::BinaryCrossEntropy;
pub use cross_entropy::CrossEntropy;

use crate::batch::{Batch, check_values};
use crate::distance::{DistanceConfig, Dot};
use crate::error::Error;
use crate::objective::{ChannelStats, Evaluated, ObjectiveStats, finite};
use crate::parts::Parts;

/// The distance that stands for none.
fn no_distance() -> DistanceConfig {
    DistanceConfig::Dot(Dot::default())
}

/// Refuses whatever works on pairs.
fn check_parts(loss: &'static str, parts: &Parts<'_>) -> Result<(), Error> {
    parts.no_miner(loss)?;
    parts.no_reducer(loss)?;
    if *parts.distance == no_distance() { Ok(()) } else { Err(Error::Unused { loss, part: "distance" }) }
}

/// A batch of logits `[rows, outputs]` with a class for each row, checked.
struct Logits<'a, T> {
    values: &'a [T],
    outputs: usize,
    labels: &'a [u32],
}

impl<'a, T: Real> Logits<'a, T> {
    fn of(loss: &'static str, batch: &Batch<'a, T>) -> Result<Self, Error> {
        if batch.refs.is_some() {
            return Err(Error::NeedsItself { loss });
        }
        let (rows, outputs) = (batch.labels.len(), batch.dim);
        if rows == 0 || outputs == 0 {
            return Err(Error::EmptyBatch { rows, dim: outputs });
        }
        check_values("logits", batch.x, rows, outputs)?;
        let classes = outputs.max(2);
        if let Some(row) = batch.labels.iter().position(|&label| label as usize >= classes) {
            return Err(Error::UnknownClass { component: loss, row, label: batch.labels[row], classes });
        }
        Ok(Logits { values: batch.x, outputs, labels: batch.labels })
    }

    /// (logit, whether it should be positive) of one output, row by row.
    fn output(&self, output: usize) -> impl Iterator<Item = (f64, bool)> {
        let class = if self.outputs == 1 { 1 } else { output as u32 };
        let column = self.values.iter().skip(output).step_by(self.outputs);
        column.zip(self.labels).map(move |(z, &label)| (z.f64(), label == class))
    }
}

/// What a loss on logits answers with.
fn evaluated<T: Real>(value: f64, grad: Vec<T>, rows: usize, state: Vec<f64>) -> Result<Evaluated<T>, Error> {
    finite("loss", &[value])?;
    finite("gradient", &grad)?;
    let active = u64::from(value > 0.0);
    let channels = vec![ChannelStats { name: "loss", value, elements: rows as u64, active }];
    let stats = ObjectiveStats { active, channels, ..ObjectiveStats::default() };
    Ok(Evaluated { value, grad, state, stats, ..Evaluated::default() })
}
