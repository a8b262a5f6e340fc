use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use parallax_random::Key;

use super::{normal, zeros};
use crate::ops;

/// `y = x · Wᵀ + b` with W `[out, in]` (the layout of PyTorch checkpoints) and b `[out]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// W `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// b `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Zeros, to be filled from a checkpoint.
    pub fn zeros(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        Linear { weight: zeros([output, input], device), bias: bias.then(|| zeros([output], device)) }
    }

    /// W ~ N(0, 1 / in), b = 0.
    pub fn random(input: usize, output: usize, bias: bool, key: Key, device: &Device) -> Self {
        Linear {
            weight: normal([output, input], (1.0 / input as f64).sqrt(), key, device),
            bias: bias.then(|| zeros([output], device)),
        }
    }

    /// W = I where `in = out`; for `out < in` the first `out` rows of I, for `out > in` I with zero rows below. b = 0.
    pub fn identity(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        let mut eye = vec![0f32; input * output];
        for i in 0..input.min(output) {
            eye[i * input + i] = 1.0;
        }
        Linear {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(eye, [output, input]), device)),
            bias: bias.then(|| zeros([output], device)),
        }
    }

    /// x `[N, in]` to `[N, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// (in, out).
    pub fn dims(&self) -> (usize, usize) {
        let [output, input] = self.weight.dims();
        (input, output)
    }
}
