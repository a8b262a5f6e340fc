//! The functions that every layer calls: the one place between the models and the tensor engine.
//!
//! Today they are plain burn, which on the CPU backend runs fused layer norm and softmax outside of training and splits
//! them into primitive operations under autodiff.

use burn::tensor::{Int, Tensor, TensorData, activation, module};
use parallax_random::Key;
use rayon::prelude::*;

use crate::Layout;
use crate::layout::Group;

/// `y = x · Wᵀ + b` for x `[N, in]`, W `[out, in]`, b `[out]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// `y = (x − mean(x)) / √(var(x) + ε) · γ + β` over the last dimension of x `[N, D]`, with the biased variance.
pub fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<2> {
    module::layer_norm(x, gamma, Some(beta), epsilon)
}

/// `x · Φ(x)` with the exact normal distribution function (error function).
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    activation::gelu(x)
}

/// `0.5 x (1 + tanh(√(2/π)(x + 0.044715 x³)))`: the tanh approximation of [`gelu`].
pub fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    activation::gelu_approximate(x)
}

/// `max(x, 0)`.
pub fn relu(x: Tensor<2>) -> Tensor<2> {
    activation::relu(x)
}

/// `x · σ(x)`.
pub fn silu(x: Tensor<2>) -> Tensor<2> {
    activation::silu(x)
}

/// Hyperbolic tangent.
pub fn tanh(x: Tensor<2>) -> Tensor<2> {
    activation::tanh(x)
}

/// `exp(x) / Σ exp(x)` over the last dimension.
pub fn softmax(x: Tensor<4>) -> Tensor<4> {
    activation::softmax(x, 3)
}

/// Rows of `table` `[V, D]` by index: `[N, D]`.
pub fn embedding(table: Tensor<2>, indices: Tensor<1, Int>) -> Tensor<2> {
    table.select(0, indices)
}

/// `x / max(‖x‖₂, 1e-12)` for every row of x `[B, D]`.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}

/// Scaled dot-product attention of every group of a flat sequence.
///
/// q, k, v `[N, H · d]`; the result has the same shape. For a group of `b` texts of padded length `L`:
/// `softmax(q · kᵀ / √d + bias + mask) · v` per head, where padded keys get −10⁹ and `bias(L)` `[1, H, L, L]` is the
/// encoder's relative position bias, if it has one. `dropout` is (probability, key) on the attention weights.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    heads: usize,
    layout: &Layout,
    bias: impl Fn(usize) -> Option<Tensor<4>>,
    dropout: Option<(f64, Key)>,
) -> Tensor<2> {
    let width = q.dims()[1];
    let size = width / heads;
    let device = q.device();
    let scale = 1.0 / (size as f64).sqrt();
    let whole = layout.groups().len() == 1;
    let parts: Vec<Tensor<2>> = layout
        .groups()
        .iter()
        .map(|group| {
            let (b, l) = (group.rows.len(), group.length);
            let heads_of = |x: &Tensor<2>| -> Tensor<4> {
                let x = if whole {
                    x.clone()
                } else {
                    x.clone().slice([group.start..group.start + b * l, 0..width])
                };
                x.reshape([b, l, heads, size]).swap_dims(1, 2)
            };
            let mut scores = (heads_of(&q) * scale).matmul(heads_of(&k).swap_dims(2, 3));
            if let Some(bias) = bias(l) {
                scores = scores + bias;
            }
            if group.padded() {
                scores = scores + Tensor::from_data(padding_mask(group), &device);
            }
            let mut weights = softmax(scores);
            if let Some((p, key)) = dropout {
                weights = weights * Tensor::from_data(attention_dropout_mask(group, heads, p, key), &device);
            }
            weights.matmul(heads_of(&v)).swap_dims(1, 2).reshape([b * l, width])
        })
        .collect();
    if whole { parts.into_iter().next().expect("one group") } else { Tensor::cat(parts, 0) }
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

/// Zeroes each unit with probability `p` and scales the rest by `1 / (1 − p)`; x `[N, D]`.
///
/// The decision for a unit depends on the key, the text's place in the batch, the token's position and the unit alone.
pub fn dropout(x: Tensor<2>, layout: &Layout, p: f64, key: Option<Key>) -> Tensor<2> {
    let Some(key) = key.filter(|_| p > 0.0) else { return x };
    let [n, width] = x.dims();
    let mut mask = vec![0f32; n * width];
    let places = layout.places();
    mask.par_chunks_mut(width).zip(&places).for_each(|(units, &(row, position))| {
        fill_mask(units, p, key.at(((row as u64) << 32) | position as u64));
    });
    let device = x.device();
    x * Tensor::from_data(TensorData::new(mask, [n, width]), &device)
}

fn attention_dropout_mask(group: &Group, heads: usize, p: f64, key: Key) -> TensorData {
    let l = group.length;
    let mut mask = vec![0f32; group.rows.len() * heads * l * l];
    mask.par_chunks_mut(l).enumerate().for_each(|(at, keys)| {
        let (row, head, query) = (group.rows[at / (heads * l)], at / l % heads, at % l);
        fill_mask(keys, p, key.at(((row as u64) << 32) | ((head as u64) << 20) | query as u64));
    });
    TensorData::new(mask, [group.rows.len(), heads, l, l])
}

/// Two decisions from each draw of 64 bits.
fn fill_mask(units: &mut [f32], p: f64, key: Key) {
    let keep = (1.0 / (1.0 - p)) as f32;
    let threshold = (p * 4_294_967_296.0) as u32;
    for (at, pair) in units.chunks_mut(2).enumerate() {
        let bits = key.bits(at as u64);
        let halves = [bits as u32, (bits >> 32) as u32];
        for (unit, half) in pair.iter_mut().zip(halves) {
            *unit = if half >= threshold { keep } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_the_expectation_and_ignores_grouping() {
        let device = crate::cpu();
        let lengths = [3usize, 5, 2];
        let layout = Layout::new(&lengths);
        let n = layout.tokens();
        let x = Tensor::<2>::ones([n, 400], &device);
        let y: Vec<f32> = dropout(x, &layout, 0.25, Some(Key::new(1))).into_data().try_into_vec().unwrap();
        let mean = y.iter().sum::<f32>() / y.len() as f32;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!(y.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
        // The same text alone in another layout, at the same place, drops the same units.
        let other = Layout::new(&[3, 60, 200]);
        let z: Vec<f32> =
            dropout(Tensor::<2>::ones([other.tokens(), 400], &device), &other, 0.25, Some(Key::new(1)))
                .into_data()
                .try_into_vec()
                .unwrap();
        let find = |layout: &Layout, row: usize, position: usize| {
            layout.places().iter().position(|&place| place == (row, position)).unwrap()
        };
        for position in 0..3 {
            let (a, b) = (find(&layout, 0, position), find(&other, 0, position));
            assert_eq!(y[a * 400..(a + 1) * 400], z[b * 400..(b + 1) * 400]);
        }
    }
}
