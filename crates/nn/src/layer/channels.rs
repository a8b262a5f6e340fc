use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;

/// What is known of the input channels of a linear layer, for products of 8-bit integers.
#[derive(Debug, Default)]
pub struct Channels {
    /// One factor per input channel: inputs are divided by it and weights multiplied, before both are rounded.
    pub smooth: Option<Arc<Vec<f32>>>,
    /// The largest size of each channel in the texts that were looked at.
    largest: Mutex<Vec<f32>>,
}

impl Channels {
    /// Takes the sizes of some inputs `[N, in]` into account.
    pub(crate) fn observe(&self, x: &Tensor<2>) {
        let width = x.dims()[1];
        let data = x.clone().without_autodiff().into_data();
        let mut largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        largest.resize(width, 0.0);
        for row in data.as_slice::<f32>().unwrap_or_default().chunks_exact(width) {
            largest.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(x.abs()));
        }
    }

    /// The largest size of each channel so far; empty where nothing was looked at.
    pub fn largest(&self) -> Vec<f32> {
        self.largest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clone for Channels {
    fn clone(&self) -> Self {
        Channels { smooth: self.smooth.clone(), largest: Mutex::new(self.largest()) }
    }
}
