use burn::module::Module;
use burn::tensor::Tensor;

use crate::layer::Linear;
use crate::ops;

/// H linear views of one vector, each normalised to length 1, concatenated: `[z₁/‖z₁‖, …, z_H/‖z_H‖]`, `z_h = W_h x + b_h`.
///
/// The cosine of two such vectors is the mean over heads of the heads' cosines.
#[derive(Module, Debug)]
pub struct MultiHeadProjection {
    /// All heads stacked: W `[H · d, in]`, b `[H · d]`.
    pub linear: Linear,
    /// H.
    #[module(skip)]
    pub heads: usize,
}

impl MultiHeadProjection {
    /// `[B, in]` to `[B, H · d]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let z = self.linear.forward(x);
        let [b, width] = z.dims();
        ops::normalize(z.reshape([b * self.heads, width / self.heads])).reshape([b, width])
    }
}
