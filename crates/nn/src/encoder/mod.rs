//! Text encoders: one definition of bidirectional transformers for BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet, and
//! token tables.
//!
//! The five differ in their embeddings (token types, position numbering), in MPNet's relative position bias and in how
//! their checkpoints name things. [`Config`] holds the first two, [`names`] the last.

mod config;
pub mod names;
mod relative_position;
mod score;
mod static_embedding;
mod transformer;

pub use config::{Config, Family};
pub use relative_position::RelativePositionBias;
pub use score::{AttentionScore, StructuralSparse as StructuralSparseScore};
pub use static_embedding::{StaticEmbedding, round_to_int8};
pub use transformer::{Attention, Block, Embeddings, Transformer};

use burn::module::Module;

/// What turns token ids into numbers.
// There is one of it in a model, so its size on the stack is of no account.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Encoder {
    /// A stack of transformer blocks; its token states are pooled.
    Transformer(Transformer),
    /// A token table; its mean is the vector.
    Static(StaticEmbedding),
}

impl Encoder {
    /// The transformer, where it is one.
    pub fn transformer(&self) -> Option<&Transformer> {
        match self {
            Encoder::Transformer(transformer) => Some(transformer),
            Encoder::Static(_) => None,
        }
    }
}
