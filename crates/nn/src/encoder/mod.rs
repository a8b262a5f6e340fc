//! Bidirectional text encoders: one definition for BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet.
//!
//! The five differ in their embeddings (token types, position numbering), in MPNet's relative position bias and in how
//! their checkpoints name things. [`Config`] holds the first two, [`names`] the last.

mod config;
pub mod names;
mod relative_position;
mod transformer;

pub use config::{Config, Family};
pub use relative_position::RelativePositionBias;
pub use transformer::{Attention, Block, Embeddings, Encoder};
