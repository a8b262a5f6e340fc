//! What an objective is evaluated on.

use parallax_kernels::Real;
use parallax_kernels::tile::References;
use rayon::prelude::*;

use crate::context::{Context, Scores};
use crate::distance::{DistanceConfig, Form};
use crate::engine::Problem;
use crate::error::Error;
use crate::frame::Frame;
use crate::miner::{MinerConfig, Prepared};
use crate::relation::{Own, Relation, Rule, Screen};
use crate::tiling::Tiling;

/// A batch of labelled embeddings.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// Embeddings `[B, dim]`, the anchors.
    pub x: &'a [T],
    /// Dimensions of an embedding.
    pub dim: usize,
    /// Class of each embedding, `[B]`.
    pub labels: &'a [u32],
    /// A separate set that anchors are compared with. Without it the batch is compared with itself, each item excluded
    /// from its own row by its index.
    pub refs: Option<Refs<'a, T>>,
}

/// A separate reference set: a gallery, a memory, or the other side of pairs.
#[derive(Clone, Copy, Debug)]
pub struct Refs<'a, T> {
    /// Embeddings `[R, dim]`.
    pub r: &'a [T],
    /// Class of each reference, `[R]`.
    pub labels: &'a [u32],
    /// What references are to anchors by position.
    pub own: Own<'a>,
}

/// How a batch is put together, to say how many negatives an anchor meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `batch` items, `per_class` of each class, compared with themselves.
    Classes {
        /// Items of the batch.
        batch: usize,
        /// Items of each class.
        per_class: usize,
    },
    /// `batch` pairs with `hard_negatives` extra references for the whole batch.
    Pairs {
        /// Pairs of the batch.
        batch: usize,
        /// Hard negatives of the whole batch together.
        hard_negatives: usize,
    },
}

impl Layout {
    /// Negatives that each anchor meets before mining and masking: `B − M`, or `B − 1` + hard negatives.
    pub fn negatives_per_anchor(self) -> usize {
        match self {
            Layout::Classes { batch, per_class } => batch.saturating_sub(per_class),
            Layout::Pairs { batch, hard_negatives } => batch.saturating_sub(1) + hard_negatives,
        }
    }
}

/// Both sides of a batch, checked and prepared.
pub(crate) struct Frames<'a, T: Real> {
    pub(crate) x: Frame<'a, T>,
    pub(crate) r: Option<Frame<'a, T>>,
}

impl<'a, T: Real> Frames<'a, T> {
    pub(crate) fn new(batch: &Batch<'a, T>, distance: &DistanceConfig) -> Result<Self, Error> {
        let (rows, dim) = (batch.labels.len(), batch.dim);
        if rows == 0 || dim == 0 {
            return Err(Error::EmptyBatch { rows, dim });
        }
        check_values("embeddings", batch.x, rows, dim)?;
        if let Some(refs) = &batch.refs {
            let references = refs.labels.len();
            check_values("references", refs.r, references, dim)?;
            match refs.own {
                Own::None => {}
                Own::Positive if references < rows => {
                    return Err(Error::TooFewReferences { anchors: rows, references });
                }
                Own::Positive => {}
                Own::Pairs(pairs) => {
                    for (entry, pair) in pairs.iter().enumerate() {
                        let inside = (pair.0 as usize) < rows && (pair.1 as usize) < references;
                        if !inside || (entry > 0 && pairs[entry - 1] >= *pair) {
                            return Err(Error::PairList { entry, anchors: rows, references });
                        }
                    }
                }
                Own::Item(own) => {
                    if own.len() != rows {
                        return Err(Error::Shape { what: "own columns", found: own.len(), rows, dim: 1 });
                    }
                    for (row, column) in own.iter().enumerate() {
                        if let Some(column) = column.map(|c| c as usize).filter(|&c| c >= references) {
                            return Err(Error::OwnColumn { row, column, references });
                        }
                    }
                }
            }
        }
        let x = Frame::new(batch.x, dim, distance);
        x.check_variance()?;
        Ok(Frames { x, r: batch.refs.map(|refs| Frame::new(refs.r, dim, distance)) })
    }

    pub(crate) fn problem<'p>(
        &'p self,
        batch: &Batch<'p, T>,
        distance: &'p DistanceConfig,
        miner: Option<&'p MinerConfig>,
        screen: Screen,
        teacher: Option<&'p Scores<'p, T>>,
        context: &Context<'_, T>,
    ) -> Problem<'p, T> {
        let r = self.r.as_ref().unwrap_or(&self.x);
        let relation = match batch.refs {
            None => Relation::new(batch.labels, batch.labels, Rule::Itself),
            Some(refs) => Relation::new(batch.labels, refs.labels, Rule::Own(refs.own)),
        };
        let tiling = match batch.refs {
            None => Tiling::itself(self.x.rows(), size_of::<T>(), context.tile_bytes),
            Some(_) => Tiling::new(self.x.rows(), r.rows(), size_of::<T>(), context.tile_bytes),
        };
        let products = match distance.form() {
            Form::Differences { .. } => None,
            _ => Some(References::new(&r.values, r.rows(), batch.dim)),
        };
        let mut problem = Problem {
            dim: batch.dim,
            x: &self.x,
            r,
            products,
            relation,
            distance,
            miner: None,
            prepared: Prepared::Nothing,
            screen,
            teacher,
            key: context.key,
            tiling,
        };
        if let Some(miner) = miner.filter(|_| problem.r.rows() > 0) {
            problem.prepared = miner.prepare(&problem);
            problem.miner = Some(miner);
        }
        problem
    }
}

pub(crate) fn check_values<T: Real>(
    what: &'static str,
    values: &[T],
    rows: usize,
    dim: usize,
) -> Result<(), Error> {
    if Some(values.len()) != rows.checked_mul(dim) {
        return Err(Error::Shape { what, found: values.len(), rows, dim });
    }
    if rows >= u32::MAX as usize {
        return Err(Error::TooManyReferences { references: rows });
    }
    // Counted in parts, which has no branch for each value.
    const PART: usize = 1 << 14;
    let bad = |part: &[T]| part.iter().map(|v| u32::from(!v.is_finite())).sum::<u32>() > 0;
    let part = values.par_chunks(PART).position_first(bad).map_or(values.len(), |part| part * PART);
    match values[part..].iter().position(|v| !v.is_finite()).map(|at| part + at) {
        None => Ok(()),
        Some(at) => Err(Error::NotFinite { what, row: at / dim, dim: at % dim, value: values[at].f64() }),
    }
}
