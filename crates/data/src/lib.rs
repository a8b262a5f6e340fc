//! What a model learns from and is measured on: tables of text, the roles of their columns, class labels, stored
//! vectors, splits, samplers and tokenisation.
//!
//! | module | noun |
//! |---|---|
//! | [`table`] | CSV, TSV, JSONL and JSON files and folders of texts, kept on disk, read by row |
//! | [`stream`] | the same files (and plain lines, and standard input) read once, in order |
//! | [`roles`] | which column is the text, the label, the anchor, the positive, and why |
//! | [`labels`] | class names and their numbers |
//! | [`vectors`] | `.npy` matrices, read from a memory map and written as a stream |
//! | [`check`] | what is wrong with a table, before anything is learned from it |
//! | [`split`] | training, validation and test parts |
//! | [`sampler`] | the batches of an epoch |
//! | [`text`] | tokenisation |
//! | [`atomic`] | outputs that appear whole or not at all |
//!
//! Nothing here draws random numbers except through a [`parallax_random::Key`] that the caller passes in, and nothing
//! starts threads: parallel work runs on the current rayon pool.

pub mod atomic;
pub mod check;
pub mod error;
pub mod labels;
#[cfg(test)]
mod real_data;
pub mod roles;
pub mod sampler;
pub mod split;
pub mod stream;
pub mod table;
pub mod text;
pub mod vectors;

pub use atomic::{AtomicFile, atomic_write};
pub use check::{Beside, CheckOptions, Report};
pub use error::{Error, Place, Result};
pub use labels::{LabelColumn, Labels, MultiLabel};
pub use roles::{Columns, Roles, Shape};
pub use sampler::{Batches, Rows, Sampler};
pub use split::{Parts, Split};
pub use stream::TextStream;
pub use table::{Table, TableOptions};
pub use text::{Encoding, Tokenizer};
pub use vectors::{NpyWriter, Vectors};
