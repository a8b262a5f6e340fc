//! What an encoder's attention scores a query and a key by.

use burn::module::Param;
use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attention, Transformer};
use crate::head::StructuralSparse as Blocks;
use crate::ops::{self, Affine};
use crate::{Error, Result};

/// What scores a query and a key in the attention of an encoder, instead of their inner product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum AttentionScore {
    /// `qᵀ W k` with W block-diagonal within each head, the inner product at the start (Diao et al., GSSF, TIP 2024). It belongs
    /// to the query projection once training is over, so that the model that is written is an ordinary encoder.
    StructuralSparse(StructuralSparse),
}

/// Settings of [`AttentionScore::StructuralSparse`].
///
/// The paper names attention among its uses and gives no formula that could be read; one map for each layer and head, on the
/// queries, is our reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StructuralSparse {
    /// Components that interact: the size of a block, which divides the width of a head; that width where it is not given.
    pub block: Option<usize>,
    /// Whether the diagonal has weights of its own beside the blocks, which are added.
    pub sum: bool,
    /// Whether the blocks are made symmetric, so that a query and a key may be exchanged.
    pub symmetric: bool,
}

impl AttentionScore {
    /// The encoder with this score in every layer; it computes what it did until the score is trained.
    ///
    /// # Errors
    /// A block that does not divide the width of a head.
    pub fn put(&self, mut encoder: Transformer, device: &Device) -> Result<Transformer> {
        let AttentionScore::StructuralSparse(StructuralSparse { block, sum, symmetric }) = self;
        let (width, heads) = (encoder.config().width, encoder.config().heads);
        let head = width / heads;
        let block = block.unwrap_or(head);
        if block == 0 || !head.is_multiple_of(block) {
            return Err(Error::Setting(format!(
                "attention.block = {block} does not divide the width of a head, {head}"
            )));
        }
        for layer in &mut encoder.layers {
            layer.attention.score = Some(Blocks::identity(width, block, *sum, *symmetric, device));
        }
        Ok(encoder)
    }
}

impl Attention {
    /// The query projection, the score within it.
    pub(super) fn scored_query(&self) -> Affine {
        let (weight, bias) = self.query.affine();
        let Some(score) = &self.score else { return (weight, bias) };
        // A query is W_q x + b; what the score makes of it, each run of components by its own block, is linear too.
        let blocks = score.weight();
        let inputs = weight.dims()[1];
        let weight = ops::blocks(weight.transpose(), blocks.clone(), inputs).transpose();
        let bias = bias.map(|bias| {
            let width = bias.dims()[0];
            ops::blocks(bias.reshape([1, width]), blocks, 1).reshape([width])
        });
        (weight, bias)
    }

    /// The same attention with its score as a part of the query projection.
    fn merged(mut self) -> Self {
        let (weight, bias) = self.scored_query();
        if self.score.take().is_some() {
            self.query.weight = Param::from_tensor(weight.without_autodiff()).set_require_grad(false);
            self.query.bias =
                bias.map(|bias| Param::from_tensor(bias.without_autodiff()).set_require_grad(false));
        }
        self
    }
}

impl Transformer {
    /// The same encoder with the scores of its attention as parts of the query projections, for inference and to be written.
    pub fn merged(mut self) -> Self {
        for layer in &mut self.layers {
            if layer.attention.score.is_some() {
                layer.attention = layer.attention.clone().merged();
            }
        }
        self
    }
}
