//! Losses between embeddings and learnable proxies of their classes.
//!
//! Nearly all of them are row losses whose references are the proxies ([`ProxyRow`]), so distances, miners, reducers,
//! tiles and threads are the engine's: memory is `O(tile + B·D + P·D)` for `P` proxies, as [`memory_bytes`](crate::memory_bytes) says. Proxy-Anchor
//! turns the sides: a row is a proxy's and the embeddings are its references.
//!
//! # Training proxies
//! Proxies are a matrix `[classes · per_class, D]`, class by class: the proxies of class `c` are the rows from
//! `c · per_class`. Start from [`initial`] and give them an optimiser group of their own, with a learning rate of about 100
//! times that of a pretrained encoder and no weight decay (the losses divide by the length of a proxy, except
//! large-margin softmax). Proxies are left out when the model is saved; a checkpoint holds them with their moments.
//!
//! ```
//! use parallax_metric::{Batch, Context, LossConfig, Objective, proxy::ProxyAnchor};
//! use parallax_random::Key;
//! let objective = Objective::from(LossConfig::ProxyAnchor(ProxyAnchor::default()));
//! let mut proxies: Vec<f64> = objective.initial_proxies(2, 3, Key::new(7)).unwrap_or_default();
//! let x = [1.0, 0.0, 0.1, 0.9, 0.1, 0.0, 0.0, 1.0, 0.2];
//! let batch = Batch { x: &x, dim: 3, labels: &[0, 0, 1], refs: None };
//! let value = |proxies: &[f64]| {
//!     objective.evaluate_with(&batch, &Context { proxies: Some(proxies), ..Context::default() })
//! };
//! let first = value(&proxies)?;
//! proxies.iter_mut().zip(&first.proxy_grad).for_each(|(p, g)| *p -= 0.01 * g);
//! assert!(value(&proxies)?.value < first.value);
//! # Ok::<(), parallax_metric::Error>(())
//! ```
//!
//! To add a loss: a file with its parameters, its [`RowLoss`] and its `ProxyRow`, and one line in the list below.

mod arcface;
mod cosface;
mod cross_entropy;
mod large_margin_softmax;
mod multiple_angle;
mod normalized_softmax;
mod p2s_grad;
mod proxy_anchor;
mod proxy_nca;
mod proxy_nca_plus_plus;
mod soft_triple;
mod sphereface;
mod sub_center_arcface;

use parallax_kernels::Real;
use parallax_random::Key;

pub use arcface::Arcface;
pub use cosface::Cosface;
pub use large_margin_softmax::LargeMarginSoftmax;
pub use normalized_softmax::NormalizedSoftmax;
pub use p2s_grad::P2sGrad;
pub use proxy_anchor::ProxyAnchor;
pub use proxy_nca::ProxyNca;
pub use proxy_nca_plus_plus::ProxyNcaPlusPlus;
pub use soft_triple::SoftTriple;
pub use sphereface::Sphereface;
pub use sub_center_arcface::SubCenterArcface;

use crate::batch::{Batch, Refs, check_values};
use crate::context::Context;
use crate::distance::{DistanceConfig, Dot};
use crate::error::Error;
use crate::mixup::Branches;
use crate::objective::{Evaluated, check_classes, evaluate_row};
use crate::parts::Parts;
use crate::reducer::ReducerConfig;
use crate::relation::Own;
use crate::row::RowLoss;
use crate::tiling::{Extra, Shape};

/// Which distances a loss is defined on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Every one.
    Any,
    /// Those where larger is nearer.
    Similarity,
    /// Cosine similarity, or the inner product of normalised vectors, which is the same.
    Cosine,
}

impl Needs {
    /// Refuses a distance on which `loss` is not defined.
    pub(crate) fn check(self, loss: &'static str, distance: &DistanceConfig) -> Result<(), Error> {
        let (holds, needs) = match self {
            Needs::Any => (true, ""),
            Needs::Similarity => (distance.larger_is_nearer(), "a similarity: cosine or dot"),
            Needs::Cosine => {
                let cosine = matches!(
                    distance,
                    DistanceConfig::Cosine(_) | DistanceConfig::Dot(Dot { normalize: true })
                );
                (cosine, "the cosine")
            }
        };
        if holds { Ok(()) } else { Err(Error::Distance { component: loss, needs }) }
    }
}

/// What a row of a [`ProxyRow`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// An embedding, whose row holds all proxies.
    Anchors,
    /// A proxy, whose row holds all embeddings.
    Proxies,
}

/// A loss between embeddings and proxies.
pub trait ProxyLoss: Sync {
    /// Name in configs and messages.
    const NAME: &'static str;
    /// Which distances it is defined on.
    const NEEDS: Needs = Needs::Any;

    /// Proxies of each class.
    fn per_class(&self) -> usize {
        1
    }

    /// The distance where the objective names none.
    fn distance(&self) -> DistanceConfig {
        DistanceConfig::cosine()
    }

    /// The reducer where the objective names none.
    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::mean()
    }

    /// Refuses parameters outside their range.
    fn check(&self) -> Result<(), Error>;

    /// Refuses parts that the loss has no meaning for.
    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        Self::NEEDS.check(Self::NAME, parts.distance)
    }

    /// The loss as two branches with proxies as anchors, for labels between 0 and 1; none where it does not decompose so. See
    /// [`RowLoss::branches`].
    fn branches(&self, _larger_is_nearer: bool) -> Option<Branches> {
        None
    }

    /// Value and gradients on [`Context::proxies`]; sizes, labels and parameters have been checked.
    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        proxies: &[T],
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error>;

    /// An upper bound on the bytes of an evaluation, its result included.
    fn memory_bytes(&self, shape: &Shape) -> usize;
}

/// A [`ProxyLoss`] that is a row loss with the proxies as references.
pub trait ProxyRow: RowLoss {
    /// Which distances it is defined on.
    const NEEDS: Needs = Needs::Any;
    /// What a row belongs to.
    const MAJOR: Major = Major::Anchors;

    /// Proxies of each class.
    fn per_class(&self) -> usize {
        1
    }
}

impl<L: ProxyRow> ProxyLoss for L {
    const NAME: &'static str = <L as RowLoss>::NAME;
    const NEEDS: Needs = <L as ProxyRow>::NEEDS;

    fn per_class(&self) -> usize {
        ProxyRow::per_class(self)
    }

    fn distance(&self) -> DistanceConfig {
        RowLoss::distance(self)
    }

    fn reducer(&self) -> ReducerConfig {
        RowLoss::reducer(self)
    }

    fn check(&self) -> Result<(), Error> {
        RowLoss::check(self)
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        match Self::MAJOR {
            Major::Anchors => None,
            Major::Proxies => RowLoss::branches(self, larger_is_nearer),
        }
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        proxies: &[T],
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let (dim, own, per_class) = (batch.dim, Own::None, ProxyRow::per_class(self));
        let columns: Vec<u32> = (0..proxies.len() / dim).map(|p| (p / per_class) as u32).collect();
        let sides = match Self::MAJOR {
            Major::Anchors => {
                let refs = Refs { r: proxies, labels: &columns, own };
                Batch { refs: Some(refs), ..*batch }
            }
            Major::Proxies => {
                let refs = Refs { r: batch.x, labels: batch.labels, own };
                Batch { x: proxies, dim, labels: &columns, refs: Some(refs) }
            }
        };
        let context = Context { want_ref_grad: true, ..*context };
        let mut found =
            evaluate_row(self, parts.miner, parts.distance, parts.reducer, &sides, &context, false)?;
        found.proxy_grad = found.ref_grad.take().unwrap_or_default();
        if Self::MAJOR == Major::Proxies {
            std::mem::swap(&mut found.grad, &mut found.proxy_grad);
        }
        Ok(found)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let (rows, columns) = match Self::MAJOR {
            Major::Anchors => (shape.anchors, shape.proxies),
            Major::Proxies => (shape.proxies, shape.anchors),
        };
        row_memory(rows, columns, shape)
    }
}

/// The memory of a row loss of `rows` against `columns`, with the labels of the proxies.
fn row_memory(rows: usize, columns: usize, shape: &Shape) -> usize {
    Extra::default().bytes(&Shape { anchors: rows, references: columns, ..*shape }) + 4 * shape.proxies
}

/// Evaluates a loss between a batch and the proxies in the context.
///
/// # Errors
/// As [`Objective::evaluate`](crate::Objective::evaluate); besides, a context without proxies, a batch with references, a
/// label that no proxy stands for, proxies that do not fit or are not finite, and a distance on which the loss is not
/// defined.
pub fn evaluate_proxy_loss<L: ProxyLoss, T: Real>(
    loss: &L,
    parts: &Parts<'_>,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    loss.check()?;
    parts.check()?;
    loss.check_parts(parts)?;
    let proxies = context.proxies.ok_or(Error::NeedsProxies { loss: L::NAME })?;
    if batch.refs.is_some() {
        return Err(Error::NeedsItself { loss: L::NAME });
    }
    let (rows, dim) = (batch.labels.len(), batch.dim);
    if rows == 0 || dim == 0 {
        return Err(Error::EmptyBatch { rows, dim });
    }
    check_values("embeddings", batch.x, rows, dim)?;
    let classes = proxies.len() / dim / loss.per_class();
    check_values("proxies", proxies, classes * loss.per_class(), dim)?;
    check_classes(L::NAME, Some(classes), batch.labels)?;
    loss.evaluate(parts, batch, proxies, context)
}

/// Proxies to start from, `[classes · per_class, dim]`: independent normal components of variance `1/D`, so that a proxy has length about 1.
///
/// Value `i` depends on the key and on `i` only.
pub fn initial<T: Real>(classes: usize, per_class: usize, dim: usize, key: Key) -> Vec<T> {
    let scale = 1.0 / (dim.max(1) as f64).sqrt();
    (0..(classes * per_class * dim) as u64).map(|i| T::of(scale * key.normal(i))).collect()
}
