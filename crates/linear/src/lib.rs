//! Linear maps of stored vectors fitted in closed form: whitening, ridge, Procrustes, discriminants, shrinkage.
//!
//! A model that was trained elsewhere can often be bettered on one's own data by a matrix. [`Adapter`] fits one in a
//! second, [`Fit::blend`] shrinks it towards doing nothing, and [`select`] finds by cross-validation over classes
//! which one to use, or says that none helps.
//!
//! ```
//! use parallax_linear::{Adapter, Examples, Whitening};
//!
//! let vectors = [3.0, 1.0, -3.0, 1.0, 3.0, -1.0, -3.0, -1.0];
//! let labels = [0, 0, 1, 1];
//! let adapter = Adapter::Whitening(Whitening { floor: 0.0, ..Default::default() });
//! let fit = adapter.fit(&Examples::Labelled { vectors: &vectors, labels: &labels, dim: 2 })?;
//! let mapped = fit.map()?.apply(&vectors, 4)?;
//! // Both columns have variance 1 now (divisor n − 1): ±√(3/4).
//! assert!(mapped.iter().all(|y| (y.abs() - 0.75f32.sqrt()).abs() < 1e-6));
//! # Ok::<(), parallax_linear::Error>(())
//! ```
//!
//! Sums are made in 64 bits over blocks of a fixed size, products are split over their outputs, and decompositions run on
//! the calling thread: the same bytes for any number of threads.

mod adapter;
mod error;
mod examples;
mod fit;
mod folds;
mod map;
mod matrix;
mod moments;
mod pca;
mod selection;
mod statistics;

pub use adapter::{
    Adapter, Basis, Identity, LinearDiscriminant, Procrustes, Ridge, Scatter, Targets, Weighting, Whitening,
};
pub use error::Error;
pub use examples::Examples;
pub use fit::Fit;
pub use map::{Map, Sides};
pub use pca::{Covariance, Pca, pca};
pub use selection::{Candidate, Choice, Progress, Selection, SelectionConfig, Unfitted, grid, select};
pub use statistics::Statistics;
