use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Config, Family, RelativePositionBias};
use crate::head::StructuralSparse;
use crate::layer::{Activation, Embedding, LayerNorm, Linear};
use crate::{Layout, Pass, ops};

/// Token, position and token-type embeddings, summed and normalised.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[V, D]`.
    pub word: Embedding,
    /// `[P, D]`.
    pub position: Embedding,
    /// `[types, D]`; every token of a single text has type 0.
    pub token_type: Option<Embedding>,
    /// Norm of the sum.
    pub norm: LayerNorm,
}

/// Multi-head self-attention with its output projection.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[D, D]`.
    pub query: Linear,
    /// `[D, D]`.
    pub key: Linear,
    /// `[D, D]`.
    pub value: Linear,
    /// `[D, D]`.
    pub output: Linear,
    /// What scores queries and keys, where it is learned: `qᵀ W k`.
    pub score: Option<StructuralSparse>,
}

/// One post-norm block: `h = norm(x + attention(x))`, `y = norm(h + W₂ · act(W₁ · h))`.
#[derive(Module, Debug)]
pub struct Block {
    /// Self-attention.
    pub attention: Attention,
    /// Norm after attention.
    pub attention_norm: LayerNorm,
    /// W₁ `[I, D]`.
    pub intermediate: Linear,
    /// W₂ `[D, I]`.
    pub output: Linear,
    /// Norm after the feed-forward layer.
    pub output_norm: LayerNorm,
}

/// A stack of post-norm blocks over embeddings: BERT and its family.
#[derive(Module, Debug)]
pub struct Transformer {
    /// The input.
    pub embeddings: Embeddings,
    /// MPNet's bias, shared by all blocks.
    pub relative_position: Option<RelativePositionBias>,
    /// The blocks, first to last.
    pub layers: Vec<Block>,
    #[module(skip)]
    config: Config,
}

impl Transformer {
    /// All parameters zero (norms: γ = 1), to be filled from a checkpoint.
    pub fn zeros(config: &Config, device: &Device) -> Self {
        let (d, norm) = (config.width, || LayerNorm::new(config.width, config.epsilon, device));
        let square = || Linear::zeros(d, d, true, device);
        Transformer {
            embeddings: Embeddings {
                word: Embedding::zeros(config.vocabulary, d, device),
                position: Embedding::zeros(config.positions, d, device),
                token_type: (config.token_types > 0).then(|| Embedding::zeros(config.token_types, d, device)),
                norm: norm(),
            },
            relative_position: (config.relative_buckets > 0)
                .then(|| RelativePositionBias::zeros(config.relative_buckets, config.heads, device)),
            layers: (0..config.layers)
                .map(|_| Block {
                    attention: Attention {
                        query: square(),
                        key: square(),
                        value: square(),
                        output: square(),
                        score: None,
                    },
                    attention_norm: norm(),
                    intermediate: Linear::zeros(d, config.intermediate, true, device),
                    output: Linear::zeros(config.intermediate, d, true, device),
                    output_norm: norm(),
                })
                .collect(),
            config: config.clone(),
        }
    }

    /// The shape and constants.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Token ids of each text, each with at least one token, to the flat hidden states `[N, D]` of `layout`.
    pub fn forward(&self, texts: &[&[u32]], layout: &Layout, pass: &Pass) -> Tensor<2> {
        let config = &self.config;
        let drop = |site, index| ops::Dropout { layout, p: config.dropout, key: pass.site(site, index) };
        let mut x = ops::dropout(self.embed(texts, layout), drop("embeddings", 0));
        let longest = layout.groups().first().map_or(1, |group| group.length);
        let bias = self.relative_position.as_ref().map(|bias| bias.by_distance(longest));
        for (index, block) in self.layers.iter().enumerate() {
            let attention = &block.attention;
            let projections = [&attention.query, &attention.key, &attention.value];
            let affines = vec![attention.scored_query(), attention.key.affine(), attention.value.affine()];
            let projected = Linear::passes_as(projections, affines, x.clone(), Activation::Identity, pass);
            let weights = pass.site("attention", index).map(|key| (config.attention_dropout, key));
            let weights = weights.filter(|(p, _)| *p > 0.0);
            let mixed = ops::attention(projected, config.heads, layout, bias.clone(), weights);
            let attended = attention.output.pass(mixed, Activation::Identity, pass);
            x = block.attention_norm.forward_sum(attended, x, drop("attention output", index));
            let hidden = block.intermediate.pass(x.clone(), config.activation, pass);
            let fed = block.output.pass(hidden, Activation::Identity, pass);
            x = block.output_norm.forward_sum(fed, x, drop("output", index));
        }
        x
    }

    fn embed(&self, texts: &[&[u32]], layout: &Layout) -> Tensor<2> {
        let config = &self.config;
        let n = layout.tokens();
        let (mut words, mut positions) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for group in layout.groups() {
            for &row in &group.rows {
                let ids = texts[row];
                let mut next = config.first_position();
                for at in 0..group.length {
                    let id = ids.get(at).copied().unwrap_or(config.padding);
                    words.push(id);
                    positions.push(match config.family {
                        Family::Bert | Family::DistilBert => at as u32,
                        // These number only tokens that are not padding, whatever stands between them.
                        Family::Roberta | Family::MpNet if id == config.padding => config.padding,
                        Family::Roberta | Family::MpNet => {
                            next += 1;
                            next as u32 - 1
                        }
                    });
                }
            }
        }
        let Embeddings { word, position, token_type, norm } = &self.embeddings;
        let mut tables = vec![(word.weight.val(), words), (position.weight.val(), positions)];
        tables.extend(token_type.as_ref().map(|types| (types.weight.val(), vec![0; n])));
        ops::embedding(tables, Some(norm.affine()))
    }
}
