use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use parallax_random::Key;

use super::{Activation, Channels, normal, zeros};
use crate::Pass;
use crate::ops::{self, Affine, Finish, Packs};

/// `y = x · Wᵀ + b` with W `[out, in]` (the layout of PyTorch checkpoints) and b `[out]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// W `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// b `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    packs: Packs,
    #[module(skip)]
    channels: Channels,
}

impl Linear {
    /// Zeros, to be filled from a checkpoint.
    pub fn zeros(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        Linear::of(zeros([output, input], device), bias.then(|| zeros([output], device)))
    }

    fn of(weight: Param<Tensor<2>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Linear { weight, bias, packs: Packs::default(), channels: Channels::default() }
    }

    /// W ~ N(0, 1 / in), b = 0.
    pub fn random(input: usize, output: usize, bias: bool, key: Key, device: &Device) -> Self {
        Linear::of(
            normal([output, input], (1.0 / input as f64).sqrt(), key, device),
            bias.then(|| zeros([output], device)),
        )
    }

    /// W = I where `in = out`; for `out < in` the first `out` rows of I, for `out > in` I with zero rows below. b = 0.
    pub fn identity(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        let mut eye = vec![0f32; input * output];
        for i in 0..input.min(output) {
            eye[i * input + i] = 1.0;
        }
        Linear::of(
            Param::from_tensor(Tensor::from_data(TensorData::new(eye, [output, input]), device)),
            bias.then(|| zeros([output], device)),
        )
    }

    /// x `[N, in]` to `[N, out]`, in 32 bits.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.finished(x, Activation::Identity, None)
    }

    /// `act(W x + b) + residual`, in 32 bits.
    pub fn finished(&self, x: Tensor<2>, activation: Activation, residual: Option<Tensor<2>>) -> Tensor<2> {
        let finish = Finish { activation, residual, packs: Some(&self.packs), ..Finish::default() };
        ops::linear(x, vec![self.affine()], finish)
    }

    /// `act(W x + b)` in the precision of the pass.
    pub fn pass(&self, x: Tensor<2>, activation: Activation, pass: &Pass) -> Tensor<2> {
        Linear::passes_as([self], vec![self.affine()], x, activation, pass)
    }

    /// `act(W x + b)` of several layers side by side, in one product, with these weights in the place of their own; packed
    /// weights are kept beside the first.
    pub(crate) fn passes_as<const L: usize>(
        layers: [&Linear; L],
        affines: Vec<Affine>,
        x: Tensor<2>,
        activation: Activation,
        pass: &Pass,
    ) -> Tensor<2> {
        let first = layers[0];
        if pass.observes() {
            first.channels.observe(&x);
        }
        let finish = Finish {
            activation,
            residual: None,
            precision: Some(pass.precision()),
            smooth: first.channels.smooth.clone(),
            packs: Some(&first.packs),
        };
        ops::linear(x, affines, finish)
    }

    /// W and b.
    pub(crate) fn affine(&self) -> Affine {
        (self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// What is known of the input channels.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// What is known of the input channels, to be set.
    pub fn channels_mut(&mut self) -> &mut Channels {
        &mut self.channels
    }

    /// (in, out).
    pub fn dims(&self) -> (usize, usize) {
        let [output, input] = self.weight.dims();
        (input, output)
    }
}
