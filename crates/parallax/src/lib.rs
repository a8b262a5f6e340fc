//! The whole life of an embedding model as one library: [`Model`], run config, pipeline.
//!
//! ```no_run
//! let model = parallax::Model::load("all-MiniLM-L6-v2")?;
//! let v = model.encode(["hello", "world"])?;
//! println!("{}", v.cosine(0, 1));
//! # Ok::<(), parallax::Error>(())
//! ```
//!
//! | module | noun |
//! |---|---|
//! | [`config`] | a run as a TOML file |
//! | [`run`] | from a run file to a better model |
//! | [`mod@evaluate`] | measures of a model or of stored vectors |
//! | [`mod@embed`] | a file of texts to a file of vectors, in constant memory |
//! | [`convert`] | from one model folder to another |
//! | [`index`] | vectors on disk, and search |
//! | [`inspect`] | a look at data |
//! | [`bench`](mod@bench) | how fast a model is on this machine |
//! | [`models`] | from a model's name to its folder |
//! | [`mod@quickstart`] | all of it on a sample |
//! | [`catalogue`] | what there is to choose from |
//! | [`mod@tune`] | settings searched for by cross-validation, and what they gain |
//! | [`runs`] | the runs on a disk: listed, shown, compared |
//! | [`mod@parity`] | whether another program made the same vectors |
//! | [`doctor`] | what the machine offers, and where models are looked for |
//!
//! Everything runs on the current rayon pool; [`with_threads`] makes one. Nothing depends on the number of threads but the
//! time it takes.

pub mod bench;
pub mod catalogue;
pub mod config;
pub mod convert;
mod dataset;
mod definitions;
pub mod doctor;
pub mod embed;
mod error;
pub mod evaluate;
pub mod index;
pub mod inspect;
mod model;
pub mod models;
pub mod parity;
pub mod quickstart;
pub mod run;
pub mod runs;
pub mod tune;

pub use config::RunConfig;
pub use embed::{EmbedOptions, Embedded, embed};
pub use error::{Error, Result, hint};
pub use evaluate::{Evaluation, EvaluationReport, Part, evaluate};
pub use model::{BATCH_TOKENS, Model, Vectors};
pub use parallax_eval::{Measure, Similarity};
pub use parallax_metric as metric;
pub use parallax_nn::{LoadOptions, Precision, Role, pooling::Mode as Pooling};
pub use parallax_train::{Criterion, OwnLoss};
pub use parity::{ParityOptions, ParityReport, parity};

/// Runs `work` on a pool of `threads` threads; 0 takes one for each processor.
///
/// # Errors
/// If the system cannot start the threads.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::setting(format!("cannot start {threads} threads: {e}")))?;
    Ok(pool.install(work))
}
