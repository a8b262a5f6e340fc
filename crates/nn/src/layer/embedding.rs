use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::zeros;
use crate::ops;

/// A table `[V, D]` whose rows are looked up by index.
#[derive(Module, Debug)]
pub struct Embedding {
    /// The table `[V, D]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// Zeros, to be filled from a checkpoint.
    pub fn zeros(rows: usize, width: usize, device: &Device) -> Self {
        Embedding { weight: zeros([rows, width], device) }
    }

    /// Rows by index: `[N, D]`.
    pub fn forward(&self, rows: Vec<u32>) -> Tensor<2> {
        ops::embedding(vec![(self.weight.val(), rows)], None)
    }

    /// `V`.
    pub fn rows(&self) -> usize {
        self.weight.dims()[0]
    }
}
