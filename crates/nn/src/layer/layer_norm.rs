use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::zeros;
use crate::ops;

/// `y = (x − mean(x)) / √(var(x) + ε) · γ + β` over the last dimension, with the biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// γ `[D]`.
    pub weight: Param<Tensor<1>>,
    /// β `[D]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// γ = 1, β = 0.
    pub fn new(width: usize, epsilon: f64, device: &Device) -> Self {
        LayerNorm {
            weight: Param::from_tensor(Tensor::ones([width], device)),
            bias: zeros([width], device),
            epsilon,
        }
    }

    /// x `[N, D]` to `[N, D]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::layer_norm(x, None, self.affine())
    }

    /// The norm of `dropout(x) + residual`.
    pub fn forward_sum(&self, x: Tensor<2>, residual: Tensor<2>, dropout: ops::Dropout<'_>) -> Tensor<2> {
        ops::layer_norm(x, Some((residual, dropout)), self.affine())
    }

    /// γ, β and ε.
    pub(crate) fn affine(&self) -> ops::Affines {
        (self.weight.val(), self.bias.val(), self.epsilon)
    }
}
