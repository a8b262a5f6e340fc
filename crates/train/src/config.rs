use parallax_data::Sampler;
use parallax_nn::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::optimizer::Optimizer;
use crate::schedule::Schedule;

/// How a model is trained: the `[train]` table of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Passes over the training rows.
    pub epochs: u64,
    /// How the encoder's products are rounded in training: f32, bf16, or auto, which is bf16 where the processor has AMX.
    /// Weights, moments and sums are kept in 32 bits either way.
    pub precision: Precision,
    /// Stops after so many steps, whatever `epochs` says.
    pub max_steps: Option<u64>,
    /// Rows (or pairs) per step.
    pub batch_size: usize,
    /// Computes a batch in chunks, for batches that memory does not hold at once. Off where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_cache: Option<GradCache>,
    /// How batches are drawn.
    pub sampler: Option<Sampler>,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// Peak learning rate of the proxies of a loss that has them; 100 times the optimiser's where it is not given, as in
    /// Kim et al., Proxy Anchor, CVPR 2020. Proxies start at random, so they have further to go than a pretrained model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_lr: Option<f64>,
    /// Peak learning rate of a loss's learnable numbers, such as the boundary of the margin loss; 100 times the optimiser's
    /// where it is not given, like that of proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scalar_lr: Option<f64>,
    /// Gradients are scaled so that their norm over all parameters of the model is at most this (proxies and a loss's own
    /// numbers are left out). Off where it is not given.
    pub clip_norm: Option<f64>,
    /// Parts of the network that are not trained: dotted prefixes of parameter paths, such as `encoder.embeddings`, in which
    /// `*` stands for any one step. A `!` before a later one leaves out again what it names, so that
    /// `["encoder", "!encoder.layers.*.attention.score"]` trains the scores alone.
    pub freeze: Vec<String>,
    /// Parts of the network with a rate or decay of their own; the first that matches a parameter counts.
    pub groups: Vec<Group>,
    /// Whether dropout is applied, with the probabilities of the model's own configuration.
    pub dropout: bool,
    /// Steps between validations; once an epoch where it is not given.
    pub validate_every: Option<u64>,
    /// The measure that decides which step was best.
    pub validate_with: String,
    /// Ends the run after so many validations without improvement. Off where it is not given.
    pub patience: Option<u64>,
    /// Whether the weights of the best validation are kept instead of the last ones.
    pub keep_best: bool,
    /// Steps between checkpoints; once an epoch where it is not given. Ctrl-C writes one in any case.
    pub checkpoint_every: Option<u64>,
}

/// Exact gradients of a batch of which only a chunk is held in memory at once.
///
/// Every row is embedded twice: first for the loss, which sees the whole batch, then again for the backward pass of its
/// chunk alone. The gradient is that of the whole batch up to rounding, for the time of a second forward pass and more where
/// chunks are small. Gao, Zhang, Han, Callan, *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*,
/// RepL4NLP 2021.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GradCache {
    /// Texts (or vectors) that the model takes at once, at least 1; of a pair both sides count, and each negative.
    pub chunk: usize,
}

impl Default for GradCache {
    fn default() -> Self {
        GradCache { chunk: 64 }
    }
}

/// A part of the network with settings of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// Dotted prefix of parameter paths, such as `head`.
    pub parameters: String,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Weight decay.
    pub weight_decay: Option<f64>,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            epochs: 1,
            precision: Precision::default(),
            max_steps: None,
            batch_size: 128,
            grad_cache: None,
            sampler: None,
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            proxy_lr: None,
            scalar_lr: None,
            clip_norm: None,
            freeze: Vec::new(),
            groups: Vec::new(),
            dropout: true,
            validate_every: None,
            validate_with: "map@r".into(),
            patience: None,
            keep_best: true,
            checkpoint_every: None,
        }
    }
}
