//! The layers that every model is made of. Each calls only [`crate::ops`].

mod activation;
mod channels;
mod embedding;
mod layer_norm;
mod linear;

pub use activation::Activation;
pub use channels::Channels;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use parallax_random::Key;

/// A parameter of zeros.
pub(crate) fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    // Most are filled from a file before they are ever read: zeros that the system gives when they are looked at cost
    // nothing, while the tensor engine's own are written down.
    let zeros = vec![0f32; shape.iter().product()];
    Param::from_tensor(Tensor::from_data(TensorData::new(zeros, shape), device))
}

/// A parameter drawn from N(0, std²).
pub(crate) fn normal<const D: usize>(
    shape: [usize; D],
    std: f64,
    key: Key,
    device: &Device,
) -> Param<Tensor<D>> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n as u64).map(|i| (std * key.normal(i)) as f32).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}
