//! What stands between a pooled text (or a stored vector) and the final embedding.
//!
//! A head is a list of [`Stage`]s. Wherever a stage is one of sentence-transformers' own modules it is written as that
//! module, so that the folder opens there.

mod config;
mod convolution;
mod dense;
mod multi_head;
mod structural;

pub use config::{
    Classifier, Convolution as ConvolutionHead, Hash, Head, Linear as LinearHead, Mlp, MultiHead, Residual,
    StructuralSparse as StructuralSparseHead,
};
pub use convolution::Convolution;
pub use dense::Dense;
pub use multi_head::MultiHeadProjection;
pub use structural::StructuralSparse;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::layer::Linear;
use crate::ops;

/// One step of a head: `[B, in]` to `[B, out]`.
#[derive(Module, Debug)]
pub enum Stage {
    /// `act(W x + b)`, with or without `+ x`.
    Dense(Dense),
    /// `x / ‖x‖`.
    Normalize(Normalize),
    /// H projections, each normalised, concatenated.
    MultiHead(MultiHeadProjection),
    /// Queries mapped by a matrix of blocks, documents as they are.
    StructuralSparse(StructuralSparse),
    /// Blocks of filters over images.
    Convolution(Convolution),
}

/// `x / max(‖x‖₂, 1e-12)` per row.
#[derive(Module, Debug, Default)]
pub struct Normalize {}

impl Stage {
    /// `[B, in]` to `[B, out]`; the first `queries` rows are queries, the rest documents.
    pub fn forward(&self, x: Tensor<2>, queries: usize) -> Tensor<2> {
        match self {
            Stage::Dense(dense) => dense.forward(x),
            Stage::Normalize(_) => ops::normalize(x),
            Stage::MultiHead(heads) => heads.forward(x),
            Stage::StructuralSparse(map) => map.forward(x, queries),
            Stage::Convolution(blocks) => blocks.forward(x),
        }
    }

    /// The linear layer of the stage, where it has one.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Stage::Dense(dense) => Some(&dense.linear),
            Stage::Normalize(_) | Stage::StructuralSparse(_) | Stage::Convolution(_) => None,
            Stage::MultiHead(heads) => Some(&heads.linear),
        }
    }

    /// The width out for a width in.
    pub fn output(&self, input: usize) -> usize {
        match self {
            Stage::Dense(dense) => dense.linear.dims().1,
            Stage::Normalize(_) => input,
            Stage::MultiHead(heads) => heads.linear.dims().1,
            Stage::StructuralSparse(map) => map.dim(),
            Stage::Convolution(blocks) => blocks.output(),
        }
    }

    /// The width that the stage asks for, where it asks.
    pub fn input(&self) -> Option<usize> {
        match self {
            Stage::Dense(dense) => Some(dense.linear.dims().0),
            Stage::Normalize(_) => None,
            Stage::MultiHead(heads) => Some(heads.linear.dims().0),
            Stage::StructuralSparse(map) => Some(map.dim()),
            Stage::Convolution(blocks) => Some(blocks.input()),
        }
    }
}
