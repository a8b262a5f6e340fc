//! The functions that every layer calls: the one place between the models and the tensor engine.
//!
//! On the CPU they run the kernels of `parallax-kernels`, forward and backward, each registered with the engine as one
//! operation (`graph`); on other devices they are made of the engine's own operations (`plain`). Both give the same
//! numbers but for rounding. [`plainly`] runs the second on the CPU too, to compare.

mod array;
mod attention;
mod blocks;
mod convolution;
mod elementwise;
mod embedding;
mod graph;
mod linear;
mod mask;
mod norm;
mod packs;
pub(crate) mod plain;
mod pool;

use std::cell::Cell;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use parallax_kernels::convolution::Convolution;
use parallax_kernels::linear::Precision as Product;
use parallax_random::Key;

use crate::layer::Activation;
use crate::pooling::Mode;
use crate::{Layout, Precision};
pub use packs::Packs;

/// Leaves the memory of values that are no longer needed, such as gradients, for the next operation on this thread.
pub fn recycle(values: Vec<f32>) {
    array::give(values);
}

thread_local! {
    static PLAIN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` on this thread with the engine's own operations, as other devices than the CPU do.
pub fn plainly<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            PLAIN.set(self.0);
        }
    }
    let _restore = Restore(PLAIN.replace(true));
    f()
}

fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    !PLAIN.get() && graph::on_cpu(x)
}

/// Whether the fused operations run on a device (and this thread).
pub(crate) fn fused_on(device: &Device) -> bool {
    fused(&Tensor::<1>::zeros([1], device))
}

/// The layout of texts of these lengths on a device: without padding where the fused operations run.
pub(crate) fn layout(lengths: &[usize], device: &Device) -> Layout {
    if fused_on(device) { Layout::packed(lengths) } else { Layout::new(lengths) }
}

/// Weights W `[out, in]` and bias b `[out]` of one linear layer.
pub type Affine = (Tensor<2>, Option<Tensor<1>>);

/// How [`linear`] multiplies, and what it does to the product.
#[derive(Default)]
pub struct Finish<'a> {
    /// Applied to product and bias.
    pub activation: Activation,
    /// `[N, out]`, added last.
    pub residual: Option<Tensor<2>>,
    /// How numbers are rounded: not at all beyond f32 where it is not given. The engine's own operations know f32 alone.
    pub precision: Option<Precision>,
    /// Factors of the input channels in 8 bits; see [`Precision::Int8`].
    pub smooth: Option<Arc<Vec<f32>>>,
    /// Where packed weights are kept between calls without gradients.
    pub packs: Option<&'a Packs>,
}

/// `y = act(x · Wᵀ + b) + residual` for x `[N, in]`, W `[out, in]`, b `[out]`; with several layers, W and b are those of
/// all of them one above another, and y is `[N, Σ out]`. Either all layers have a bias or none.
pub fn linear(x: Tensor<2>, layers: Vec<Affine>, finish: Finish<'_>) -> Tensor<2> {
    if !fused(&x) {
        return plain::linear(x, layers, finish.activation, finish.residual);
    }
    let operation = linear::Linear {
        layers: layers.len(),
        bias: layers[0].1.is_some(),
        residual: finish.residual.is_some(),
        activation: finish.activation.kernel(),
        precision: finish.precision.map_or(Product::F32, Precision::kernel),
        smooth: finish.smooth,
        slot: finish.packs.map(Packs::slot),
    };
    let (weights, biases): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let mut inputs = vec![x.into_dispatch()];
    inputs.extend(weights.into_iter().map(Tensor::into_dispatch));
    inputs.extend(biases.into_iter().flatten().map(Tensor::into_dispatch));
    inputs.extend(finish.residual.map(Tensor::into_dispatch));
    graph::apply(operation, inputs)
}

/// γ, β `[D]` and ε of a layer norm.
pub type Affines = (Tensor<1>, Tensor<1>, f64);

/// `y = (s − mean(s)) / √(var(s) + ε) · γ + β` over the last dimension, with the biased variance, for `s = x` or
/// `s = dropout(x) + residual`; x `[N, D]`.
pub fn layer_norm(
    x: Tensor<2>,
    added: Option<(Tensor<2>, Dropout<'_>)>,
    (gamma, beta, epsilon): Affines,
) -> Tensor<2> {
    if !fused(&x) {
        let s = match added {
            Some((residual, drop)) => residual + plain::dropout(x, drop),
            None => x,
        };
        return plain::layer_norm(s, gamma, beta, epsilon);
    }
    let operation = norm::Norm {
        residual: added.is_some(),
        mask: added.as_ref().and_then(|(_, drop)| drop.mask()),
        epsilon,
    };
    let mut inputs = vec![x.into_dispatch()];
    inputs.extend(added.map(|(residual, _)| residual.into_dispatch()));
    inputs.extend([gamma.into_dispatch(), beta.into_dispatch()]);
    graph::apply(operation, inputs)
}

/// An activation function, elementwise; see [`Activation`].
pub fn activate(x: Tensor<2>, kind: Activation) -> Tensor<2> {
    match kind.kernel() {
        Some(kind) if fused(&x) => graph::apply(elementwise::Activate(kind), vec![x.into_dispatch()]),
        _ => plain::activate(x, kind),
    }
}

/// `exp(x) / Σ exp(x)` over the last dimension.
pub fn softmax(x: Tensor<4>) -> Tensor<4> {
    if fused(&x) { graph::apply(elementwise::Softmax, vec![x.into_dispatch()]) } else { plain::softmax(x) }
}

/// The sum of one row of each table `[V, D]` for every token: `[N, D]`, or its layer norm. `rows` names the row of every
/// token.
pub fn embedding(tables: Vec<(Tensor<2>, Vec<u32>)>, norm: Option<Affines>) -> Tensor<2> {
    if !fused(&tables[0].0) {
        let x = plain::embedding(tables);
        return match norm {
            Some((gamma, beta, epsilon)) => plain::layer_norm(x, gamma, beta, epsilon),
            None => x,
        };
    }
    let (tables, rows): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
    let operation = embedding::Embed {
        rows: rows.into_iter().map(Arc::from).collect(),
        norm: norm.as_ref().map(|(_, _, epsilon)| *epsilon),
    };
    let mut inputs: Vec<_> = tables.into_iter().map(Tensor::into_dispatch).collect();
    inputs
        .extend(norm.into_iter().flat_map(|(gamma, beta, _)| [gamma.into_dispatch(), beta.into_dispatch()]));
    graph::apply(operation, inputs)
}

/// `x / max(‖x‖₂, 1e-12)` for every row of x `[B, D]`.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    if fused(&x) { graph::apply(norm::Normalize, vec![x.into_dispatch()]) } else { plain::normalize(x) }
}

/// `xₖᵀ Wₖ` for every run xₖ of b components of the first `rows` rows of x `[N, D]`, W `[D / b, b, b]`; the other rows stay as
/// they are.
pub fn blocks(x: Tensor<2>, w: Tensor<3>, rows: usize) -> Tensor<2> {
    if !fused(&x) {
        return plain::blocks(x, w, rows);
    }
    graph::apply(blocks::Blocks { rows }, vec![x.into_dispatch(), w.into_dispatch()])
}

/// Images of one size, filtered: x `[B, C · H · W]`, w `[F, C, k₀, k₁]` with odd k, to `[B, F · H · W]`. Outside of an image
/// there are zeros, so that it keeps its size.
pub fn convolve(x: Tensor<2>, [channels, height, width]: [usize; 3], w: Tensor<4>) -> Tensor<2> {
    let [filters, _, rows, columns] = w.dims();
    let sizes = Convolution {
        batch: x.dims()[0],
        channels,
        size: [height, width],
        filters,
        kernel: [rows, columns],
        stride: [1, 1],
        padding: [rows / 2, columns / 2],
        dilation: [1, 1],
        groups: 1,
    };
    if !fused(&x) {
        return plain::convolve(x, w, sizes);
    }
    graph::apply(convolution::Convolve { sizes }, vec![x.into_dispatch(), w.into_dispatch()])
}

/// The largest of 0 and each two by two pixels of images: x `[B, C · H · W]` to `[B, C · ⌊H / 2⌋ · ⌊W / 2⌋]`. A last odd row or
/// column is left out.
pub fn relu_pool(x: Tensor<2>, image: [usize; 3]) -> Tensor<2> {
    if !fused(&x) {
        return plain::relu_pool(x, image);
    }
    graph::apply(convolution::ReluPool { image }, vec![x.into_dispatch()])
}

/// Scaled dot-product attention of every text of a flat sequence.
///
/// `projected` `[N, 3 · H · d]` holds queries, keys and values side by side; the result is `[N, H · d]`:
/// `softmax(q · kᵀ / √d + bias) · v` per text and head. `bias` `[H, 2 · reach − 1]` holds at `j − i + reach − 1` what key j
/// adds to the score of query i, for texts of up to `reach` tokens. `dropout` is (probability, key) on the attention
/// weights.
pub fn attention(
    projected: Tensor<2>,
    heads: usize,
    layout: &Layout,
    bias: Option<Tensor<2>>,
    dropout: Option<(f64, Key)>,
) -> Tensor<2> {
    let packed = layout.offsets().filter(|_| fused(&projected));
    let Some(offsets) = packed else {
        return plain::attention(projected, heads, layout, bias, dropout);
    };
    let rows = layout.rows().iter().map(|row| layout.first_row() + row).collect();
    let operation = attention::Attention { offsets, rows, heads, dropout };
    let mut inputs = vec![projected.into_dispatch()];
    inputs.extend(bias.map(Tensor::into_dispatch));
    graph::apply(operation, inputs)
}

/// The token states `[N, D]` of each text to one vector, in the order of the batch: `[B, D]`. The first `skipped` tokens of
/// each text do not count.
pub fn pool(x: Tensor<2>, mode: Mode, layout: &Layout, skipped: Option<&[usize]>) -> Tensor<2> {
    let packed = layout.offsets().filter(|_| fused(&x));
    let Some(offsets) = packed else { return plain::pool(x, mode, layout, skipped) };
    let rows = layout.rows();
    let skipped = skipped.map(|skipped| rows.iter().map(|&row| skipped[row]).collect());
    graph::apply(pool::Pool { mode: mode.kernel(), offsets, rows, skipped }, vec![x.into_dispatch()])
}

/// Where and how often units are dropped. The decision for a unit depends on the key, the text's place in the batch, the
/// token's position and the unit alone.
#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    /// Where tokens stand.
    pub layout: &'a Layout,
    /// The probability.
    pub p: f64,
    /// What decides; nothing is dropped without.
    pub key: Option<Key>,
}

impl Dropout<'_> {
    fn mask(&self) -> Option<mask::Mask> {
        let key = self.key.filter(|_| self.p > 0.0)?;
        Some(mask::Mask { p: self.p, key, places: self.layout.places().into() })
    }
}

/// Zeroes each unit with probability p and scales the rest by `1 / (1 − p)`; x `[N, D]`.
pub fn dropout(x: Tensor<2>, drop: Dropout<'_>) -> Tensor<2> {
    match drop.mask() {
        None => x,
        Some(mask) if fused(&x) => graph::apply(mask::Dropout(mask), vec![x.into_dispatch()]),
        Some(_) => plain::dropout(x, drop),
    }
}
