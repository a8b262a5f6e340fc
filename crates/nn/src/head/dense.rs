use burn::module::Module;
use burn::tensor::Tensor;

use crate::layer::{Activation, Linear};

/// `y = act(W x + b)`, or `act(W x + b) + x` with a residual: the `Dense` module of sentence-transformers.
#[derive(Module, Debug)]
pub struct Dense {
    /// W `[out, in]`, b `[out]`.
    pub linear: Linear,
    /// The elementwise function. Where a folder does not name one it is tanh.
    #[module(skip)]
    pub activation: Activation,
    /// Whether x is added after the activation; needs `in = out`.
    #[module(skip)]
    pub residual: bool,
}

impl Dense {
    /// `[B, in]` to `[B, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let residual = self.residual.then(|| x.clone());
        self.linear.finished(x, self.activation, residual)
    }
}
