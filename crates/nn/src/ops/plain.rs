//! The same functions from the tensor engine's own operations, for any device.

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Int, Tensor, TensorData, activation, module};
use parallax_kernels::convolution::Convolution;
use parallax_random::Key;
use rayon::prelude::*;

use super::mask::attention_mask;
use super::{Affine, Dropout};
use crate::Layout;
use crate::layer::Activation;
use crate::layout::Group;
use crate::pooling::Mode;

pub(super) fn linear(
    x: Tensor<2>,
    layers: Vec<Affine>,
    activation: Activation,
    residual: Option<Tensor<2>>,
) -> Tensor<2> {
    let parts: Vec<Tensor<2>> = layers
        .into_iter()
        .map(|(weight, bias)| {
            let y = x.clone().matmul(weight.transpose());
            match bias {
                Some(bias) => y + bias.unsqueeze(),
                None => y,
            }
        })
        .collect();
    let y = activate(joined(parts, 1), activation);
    match residual {
        Some(residual) => y + residual,
        None => y,
    }
}

pub(super) fn blocks(x: Tensor<2>, w: Tensor<3>, rows: usize) -> Tensor<2> {
    let ([n, d], [g, b, _]) = (x.dims(), w.dims());
    let rows = rows.min(n);
    let mapped = x.clone().slice([0..rows, 0..d]).reshape([rows, g, b]).swap_dims(0, 1);
    let mapped = mapped.matmul(w).swap_dims(0, 1).reshape([rows, d]);
    if rows == n { mapped } else { Tensor::cat(vec![mapped, x.slice([rows..n, 0..d])], 0) }
}

pub(super) fn convolve(x: Tensor<2>, w: Tensor<4>, sizes: Convolution) -> Tensor<2> {
    let [height, width] = sizes.size;
    let options = ConvOptions::new(sizes.stride, sizes.padding, sizes.dilation, sizes.groups);
    let y = module::conv2d(x.reshape([sizes.batch, sizes.channels, height, width]), w, None, options);
    y.reshape([sizes.batch, sizes.filters * height * width])
}

pub(super) fn relu_pool(x: Tensor<2>, [channels, height, width]: [usize; 3]) -> Tensor<2> {
    let n = x.dims()[0];
    let x = activation::relu(x.reshape([n, channels, height, width]));
    let y = module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
    y.reshape([n, channels * (height / 2) * (width / 2)])
}

fn joined(mut parts: Vec<Tensor<2>>, dim: usize) -> Tensor<2> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, dim) }
}

pub(super) fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<2> {
    module::layer_norm(x, gamma, Some(beta), epsilon)
}

pub(super) fn activate(x: Tensor<2>, kind: Activation) -> Tensor<2> {
    match kind {
        Activation::Identity => x,
        Activation::Tanh => activation::tanh(x),
        Activation::Relu => activation::relu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Silu => activation::silu(x),
    }
}

pub(super) fn softmax(x: Tensor<4>) -> Tensor<4> {
    activation::softmax(x, 3)
}

pub(super) fn embedding(tables: Vec<(Tensor<2>, Vec<u32>)>) -> Tensor<2> {
    tables
        .into_iter()
        .map(|(table, rows)| {
            let rows: Vec<i64> = rows.into_iter().map(i64::from).collect();
            let n = rows.len();
            let device = table.device();
            table.select(0, Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &device))
        })
        .reduce(|sum, x| sum + x)
        .expect("a table")
}

pub(super) fn normalize(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}

pub(super) fn attention(
    projected: Tensor<2>,
    heads: usize,
    layout: &Layout,
    bias: Option<Tensor<2>>,
    dropout: Option<(f64, Key)>,
) -> Tensor<2> {
    let width = projected.dims()[1] / 3;
    let size = width / heads;
    let scale = 1.0 / (size as f64).sqrt();
    let parts: Vec<Tensor<2>> = layout
        .groups()
        .iter()
        .map(|group| {
            let (b, l) = (group.rows.len(), group.length);
            let part = |at: usize| -> Tensor<4> {
                projected
                    .clone()
                    .slice([group.start..group.start + b * l, at * width..(at + 1) * width])
                    .reshape([b, l, heads, size])
                    .swap_dims(1, 2)
            };
            let mut scores = (part(0) * scale).matmul(part(1).swap_dims(2, 3));
            if let Some(bias) = &bias {
                scores = scores + by_pair(bias.clone(), l).unsqueeze();
            }
            if group.padded() {
                scores = scores + constant::<4>(padding_mask(group), &projected);
            }
            let mut weights = softmax(scores);
            if let Some((p, key)) = dropout {
                let mask = dropout_mask(layout, group, heads, p, key);
                weights = weights * constant::<4>(mask, &projected);
            }
            weights.matmul(part(2)).swap_dims(1, 2).reshape([b * l, width])
        })
        .collect();
    joined(parts, 0)
}

/// Numbers beside `x`: on its device, and of its type.
fn constant<const D: usize>(data: TensorData, x: &Tensor<2>) -> Tensor<D> {
    let values: Tensor<D> = Tensor::from_data(data, &x.device());
    values.cast(x.dtype())
}

/// A bias by distance `[H, 2 · reach − 1]` as `[H, L, L]`.
fn by_pair(bias: Tensor<2>, length: usize) -> Tensor<3> {
    let [heads, distances] = bias.dims();
    let reach = distances.div_ceil(2);
    let at: Vec<i64> =
        (0..length * length).map(|at| (at % length + reach - 1) as i64 - (at / length) as i64).collect();
    let at = Tensor::<1, Int>::from_data(TensorData::new(at, [length * length]), &bias.device());
    bias.select(1, at).reshape([heads, length, length])
}

/// `[b, 1, 1, L]`: 0 for tokens, −10⁹ for padding.
fn padding_mask(group: &Group) -> TensorData {
    let mask: Vec<f32> = group
        .lengths
        .iter()
        .flat_map(|&length| (0..group.length).map(move |at| if at < length { 0.0 } else { -1e9 }))
        .collect();
    TensorData::new(mask, [group.rows.len(), 1, 1, group.length])
}

fn dropout_mask(layout: &Layout, group: &Group, heads: usize, p: f64, key: Key) -> TensorData {
    let l = group.length;
    let mut mask = vec![0f32; group.rows.len() * heads * l * l];
    mask.par_chunks_mut(l).enumerate().for_each(|(at, keys)| {
        let row = layout.first_row() + group.rows[at / (heads * l)];
        attention_mask(p, key, row, at / l % heads, at % l, keys);
    });
    TensorData::new(mask, [group.rows.len(), heads, l, l])
}

pub(super) fn dropout(x: Tensor<2>, drop: Dropout<'_>) -> Tensor<2> {
    let Some(mask) = drop.mask() else { return x };
    let [n, width] = x.dims();
    let mut factors = vec![0f32; n * width];
    factors.par_chunks_mut(width).zip(&*mask.places).for_each(|(units, &place)| mask.fill(units, place));
    let factors = constant::<2>(TensorData::new(factors, [n, width]), &x);
    x * factors
}

pub(super) fn pool(states: Tensor<2>, mode: Mode, layout: &Layout, skipped: Option<&[usize]>) -> Tensor<2> {
    let device = states.device();
    let width = states.dims()[1];
    let groups: Vec<Tensor<2>> = layout
        .groups()
        .iter()
        .map(|group| {
            let (b, l) = (group.rows.len(), group.length);
            let tokens: Tensor<3> =
                states.clone().slice([group.start..group.start + b * l, 0..width]).reshape([b, l, width]);
            let skipped = |at: usize| skipped.map_or(0, |skipped| skipped[group.rows[at]]);
            if mode == Mode::Max {
                let mask = constant::<3>(max_mask(group, skipped), &states);
                return (tokens + mask).max_dim(1).reshape([b, width]);
            }
            let mut weights = vec![0f32; b * l];
            for (at, row) in weights.chunks_mut(l).enumerate() {
                mode.weights(group.lengths[at], skipped(at), row);
            }
            let weights = constant::<3>(TensorData::new(weights, [b, 1, l]), &states);
            weights.matmul(tokens).reshape([b, width])
        })
        .collect();
    let restore: Vec<i64> = layout.restore().into_iter().map(|at| at as i64).collect();
    let texts = layout.texts();
    joined(groups, 0).select(0, Tensor::from_data(TensorData::new(restore, [texts]), &device))
}

/// `[b, L, 1]`: 0 for tokens that count, −10⁹ for the rest.
fn max_mask(group: &Group, skipped: impl Fn(usize) -> usize) -> TensorData {
    let mask: Vec<f32> = (0..group.rows.len())
        .flat_map(|at| {
            let counted = skipped(at)..group.lengths[at];
            (0..group.length).map(move |t| if counted.contains(&t) { 0.0 } else { -1e9 })
        })
        .collect();
    TensorData::new(mask, [group.rows.len(), group.length, 1])
}
