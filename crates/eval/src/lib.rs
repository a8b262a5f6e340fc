//! Retrieval measures with declared definitions, and paired significance.
//!
//! [`retrieval`] takes vectors and labels and gives each measure with its value, its 95 % interval over queries and
//! its definition; [`paired_bootstrap`] compares two systems query by query.
//!
//! ```
//! use parallax_eval::{Gallery, Measure, RetrievalConfig, Vectors, retrieval};
//!
//! // Two classes on a line; the fourth item stands among the others' class.
//! let vectors = Vectors { values: &[0.0, 1.0, 9.0, 2.5, 10.0, 11.0], dim: 1, labels: &[0, 0, 1, 1, 1, 1] };
//! let config = RetrievalConfig {
//!     measures: vec!["precision@1".parse()?, "map@r".parse()?],
//!     similarity: parallax_eval::Similarity::Euclidean,
//!     ..Default::default()
//! };
//! let result = retrieval(&config, vectors, Gallery::LeaveOneOut)?;
//! assert_eq!(result.value(Measure::Precision(1)), Some(5.0 / 6.0));
//! # Ok::<(), parallax_eval::Error>(())
//! ```
//!
//! Nothing here depends on the order of rows. Items with equal scores share their places: a measure takes the exact
//! expected value over all orders of them, and the result says for how many queries that made a difference.

mod classification;
mod correlation;
mod error;
mod hierarchical;
mod measure;
mod pseudo_values;
mod ranking;
mod retrieval;
mod score;
mod significance;
mod stream;

pub use classification::{CLASSIFICATION, CLASSIFIER_MEASURES, classification};
pub use correlation::{SCORED_PAIRS, pearson, ranks, scored_pairs, spearman};
pub use error::Error;
pub use hierarchical::{SeedInterval, hierarchical_bootstrap};
pub use measure::{Cutoff, Measure};
pub use pseudo_values::pseudo_values;
pub use ranking::{Ranking, TieGroup};
pub use retrieval::{
    Gallery, MeasureResult, PerQuery, Retrieval, RetrievalConfig, Vectors, memory_bytes, ranked, retrieval,
};
pub use score::Similarity;
pub use significance::{Interval, METHOD, MeanInterval, RESAMPLES, bootstrap_mean, paired_bootstrap};
