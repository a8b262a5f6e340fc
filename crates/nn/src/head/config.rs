use burn::tensor::Device;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Convolution as Filters, Dense, MultiHeadProjection, Normalize, Stage, StructuralSparse as Blocks,
};
use crate::layer::{Activation, Linear as Layer};
use crate::{Error, Result};

/// A trainable head after pooling, or over stored vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Head {
    /// `W x + b`. Starts as the identity where it is square, else as a random projection.
    Linear(Linear),
    /// `W₂ act(W₁ x + b₁) + b₂`, randomly initialised.
    Mlp(Mlp),
    /// `x + act(W x + b)` with W = 0 at the start, so that it begins as the identity.
    Residual(Residual),
    /// H linear views, each normalised, concatenated: the cosine is the mean of the heads' cosines.
    MultiHead(MultiHead),
    /// `W x + b` with W = 0 at the start: a logit for each class, or one for two classes. For the losses of a classifier.
    Classifier(Classifier),
    /// `tanh(W x + b)`, randomly initialised, in (−1, 1): its signs are binary codes. For comparisons by signs (Hamming).
    Hash(Hash),
    /// A learned similarity `xᵀ W y` of normalised vectors with W block-diagonal, the cosine at the start: queries become
    /// `Wᵀ x`, documents stay, and the inner product compares them. For pairs (Diao et al., GSSF, TIP 2024).
    StructuralSparse(StructuralSparse),
    /// Blocks of 3 × 3 filters over images that are stored as rows of pixels, and `W x + b` of what comes out, randomly
    /// initialised: Conv-4 of the few-shot literature, with a norm by image in the place of batch norm.
    Convolution(Convolution),
}

/// Settings of [`Head::Linear`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Linear {
    /// Output dimension; the input's where it is not given.
    pub dim: Option<usize>,
    /// Whether there is a bias b.
    pub bias: bool,
}

/// Settings of [`Head::Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mlp {
    /// Width of the hidden layer; the input's where it is not given.
    pub hidden: Option<usize>,
    /// Output dimension; the input's where it is not given.
    pub dim: Option<usize>,
    /// The hidden activation.
    pub activation: Activation,
}

impl Default for Mlp {
    fn default() -> Self {
        Mlp { hidden: None, dim: None, activation: Activation::Gelu }
    }
}

/// Settings of [`Head::Residual`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Residual {
    /// The activation of the correction.
    pub activation: Activation,
}

impl Default for Residual {
    fn default() -> Self {
        Residual { activation: Activation::Tanh }
    }
}

/// Settings of [`Head::MultiHead`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultiHead {
    /// Number of heads H.
    pub heads: usize,
    /// Dimension of each head; input dimension / H where it is not given.
    pub dim: Option<usize>,
}

impl Default for MultiHead {
    fn default() -> Self {
        MultiHead { heads: 4, dim: None }
    }
}

/// Settings of [`Head::Classifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Classifier {
    /// Number of outputs, at least 1; that of the classes where it is not given.
    pub outputs: Option<usize>,
    /// Width of a hidden layer between, randomly initialised; none where it is not given.
    pub hidden: Option<usize>,
    /// The hidden activation.
    pub activation: Activation,
    /// Whether the outputs have a bias b.
    pub bias: bool,
}

impl Default for Classifier {
    fn default() -> Self {
        Classifier { outputs: None, hidden: None, activation: Activation::Gelu, bias: true }
    }
}

/// Settings of [`Head::Hash`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hash {
    /// Bits of a code, at least 1.
    pub bits: usize,
}

impl Default for Hash {
    fn default() -> Self {
        Hash { bits: 64 }
    }
}

/// Settings of [`Head::StructuralSparse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StructuralSparse {
    /// Components that interact: the size of a block, which divides the input dimension. 1 weighs each component by itself,
    /// the input dimension is a full bilinear form.
    pub block: usize,
    /// Whether the diagonal has weights of its own beside the blocks, which are added.
    pub sum: bool,
    /// Whether the blocks are made symmetric, so that both sides may be exchanged.
    pub symmetric: bool,
}

impl Default for StructuralSparse {
    fn default() -> Self {
        StructuralSparse { block: 16, sum: false, symmetric: false }
    }
}

/// Settings of [`Head::Convolution`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Convolution {
    /// Channels, rows and columns of an image, whose pixels stand channel by channel and row by row; a square of one channel
    /// where it is not given.
    pub image: Option<[usize; 3]>,
    /// Filters of each block.
    pub filters: usize,
    /// Blocks, each of which halves the image.
    pub blocks: usize,
    /// Output dimension; the filters times the pixels that are left, without W, where it is not given.
    pub dim: Option<usize>,
}

impl Default for Convolution {
    fn default() -> Self {
        Convolution { image: None, filters: 64, blocks: 4, dim: None }
    }
}

impl Head {
    /// The stages for vectors of dimension `input`, with a final [`Normalize`] but for logits and codes; before a
    /// [`StructuralSparse`] it stands first.
    ///
    /// # Errors
    /// A dimension, a block or a head count of 0, an input that the heads or the block do not divide or that is not an image of
    /// the given size, a classifier without a number of outputs.
    pub fn build(&self, input: usize, key: Key, device: &Device) -> Result<Vec<Stage>> {
        let key = key.named("head");
        let dense = |linear, activation, residual| Stage::Dense(Dense { linear, activation, residual });
        let positive = |name: &str, value: usize| {
            if value == 0 {
                Err(Error::Setting(format!("head.{name} must be at least 1")))
            } else {
                Ok(value)
            }
        };
        let mut stages = match self {
            Head::Linear(Linear { dim, bias }) => {
                let output = positive("dim", dim.unwrap_or(input))?;
                let layer = if output == input {
                    Layer::identity(input, output, *bias, device)
                } else {
                    Layer::random(input, output, *bias, key, device)
                };
                vec![dense(layer, Activation::Identity, false)]
            }
            Head::Mlp(Mlp { hidden, dim, activation }) => {
                let hidden = positive("hidden", hidden.unwrap_or(input))?;
                let output = positive("dim", dim.unwrap_or(input))?;
                check_python(*activation)?;
                vec![
                    dense(Layer::random(input, hidden, true, key.at(0), device), *activation, false),
                    dense(
                        Layer::random(hidden, output, true, key.at(1), device),
                        Activation::Identity,
                        false,
                    ),
                ]
            }
            Head::Residual(Residual { activation }) => {
                vec![dense(Layer::zeros(input, input, true, device), *activation, true)]
            }
            Head::MultiHead(MultiHead { heads, dim }) => {
                let heads = positive("heads", *heads)?;
                if dim.is_none() && !input.is_multiple_of(heads) {
                    return Err(Error::Setting(format!(
                        "head.heads = {heads} does not divide the input dimension {input}; set head.dim"
                    )));
                }
                let output = heads * positive("dim", dim.unwrap_or(input / heads))?;
                let linear = if output == input {
                    Layer::identity(input, output, true, device)
                } else {
                    Layer::random(input, output, true, key, device)
                };
                vec![Stage::MultiHead(MultiHeadProjection { linear, heads })]
            }
            Head::Classifier(Classifier { outputs, hidden, activation, bias }) => {
                let Some(outputs) = *outputs else {
                    return Err(Error::Setting("head.outputs is not given, and there are no classes".into()));
                };
                let outputs = positive("outputs", outputs)?;
                let (mut stages, mut width) = (Vec::new(), input);
                if let Some(hidden) = *hidden {
                    width = positive("hidden", hidden)?;
                    check_python(*activation)?;
                    stages.push(dense(Layer::random(input, width, true, key, device), *activation, false));
                }
                stages.push(dense(Layer::zeros(width, outputs, *bias, device), Activation::Identity, false));
                return Ok(stages);
            }
            Head::Hash(Hash { bits }) => {
                let layer = Layer::random(input, positive("bits", *bits)?, true, key, device);
                return Ok(vec![dense(layer, Activation::Tanh, false)]);
            }
            Head::Convolution(Convolution { image, filters, blocks, dim }) => {
                let side = input.isqrt();
                let image = match *image {
                    Some(image) => image,
                    None if side * side == input => [1, side, side],
                    None => {
                        return Err(Error::Setting(format!(
                            "{input} numbers are no square of pixels; set head.image to channels, rows and columns"
                        )));
                    }
                };
                if let Some(why) = Filters::refuses(image, *filters, *blocks) {
                    return Err(Error::Setting(format!("head: {why}")));
                }
                if image.iter().product::<usize>() != input {
                    let [channels, rows, columns] = image;
                    return Err(Error::Setting(format!(
                        "head.image = [{channels}, {rows}, {columns}] is not an image of {input} numbers"
                    )));
                }
                let filters = Filters::random(image, *filters, *blocks, key.at(0), device);
                let width = filters.output();
                let mut stages = vec![Stage::Convolution(filters)];
                if let Some(dim) = *dim {
                    let layer = Layer::random(width, positive("dim", dim)?, true, key.at(1), device);
                    stages.push(dense(layer, Activation::Identity, false));
                }
                stages
            }
            Head::StructuralSparse(StructuralSparse { block, sum, symmetric }) => {
                let block = positive("block", *block)?;
                if !input.is_multiple_of(block) {
                    return Err(Error::Setting(format!(
                        "head.block = {block} does not divide the input dimension {input}"
                    )));
                }
                let map = Blocks::identity(input, block, *sum, *symmetric, device);
                return Ok(vec![Stage::Normalize(Normalize {}), Stage::StructuralSparse(map)]);
            }
        };
        stages.push(Stage::Normalize(Normalize {}));
        Ok(stages)
    }
}

/// Refuses an activation that no module of sentence-transformers has.
fn check_python(activation: Activation) -> Result<()> {
    match activation.python() {
        Some(_) => Ok(()),
        None => Err(Error::Setting(format!(
            "head.activation = {activation:?} cannot be written as a sentence-transformers module"
        ))),
    }
}
