//! From token states to one vector per text.

use burn::tensor::Tensor;
use parallax_kernels::pool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Layout, ops};

/// How the token states h₁ … h_L of a text become its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// h₁, the state of the first token (of the first after the prompt, where prompts do not count).
    Cls,
    /// (1/L) Σ hₜ.
    Mean,
    /// The largest value of each unit over the tokens.
    Max,
    /// h_L, the state of the last token.
    Lasttoken,
    /// Σ hₜ / √L.
    MeanSqrtLenTokens,
    /// Σ t · hₜ / Σ t, t from 1.
    Weightedmean,
}

impl Mode {
    /// All modes, in the order of the flags in a legacy pooling configuration.
    pub const ALL: [Mode; 6] =
        [Mode::Cls, Mode::Mean, Mode::Max, Mode::MeanSqrtLenTokens, Mode::Weightedmean, Mode::Lasttoken];

    /// The name in sentence-transformers' `pooling_mode`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Cls => "cls",
            Mode::Mean => "mean",
            Mode::Max => "max",
            Mode::Lasttoken => "lasttoken",
            Mode::MeanSqrtLenTokens => "mean_sqrt_len_tokens",
            Mode::Weightedmean => "weightedmean",
        }
    }

    /// The flag of a legacy pooling configuration.
    pub fn flag(self) -> &'static str {
        match self {
            Mode::Cls => "pooling_mode_cls_token",
            Mode::Mean => "pooling_mode_mean_tokens",
            Mode::Max => "pooling_mode_max_tokens",
            Mode::Lasttoken => "pooling_mode_lasttoken",
            Mode::MeanSqrtLenTokens => "pooling_mode_mean_sqrt_len_tokens",
            Mode::Weightedmean => "pooling_mode_weightedmean_tokens",
        }
    }

    /// From the name in `pooling_mode`.
    pub fn from_name(name: &str) -> Option<Self> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The kernels' name of it.
    pub(crate) fn kernel(self) -> pool::Mode {
        match self {
            Mode::Cls => pool::Mode::Cls,
            Mode::Mean => pool::Mode::Mean,
            Mode::Max => pool::Mode::Max,
            Mode::Lasttoken => pool::Mode::Last,
            Mode::MeanSqrtLenTokens => pool::Mode::MeanSqrtLength,
            Mode::Weightedmean => pool::Mode::WeightedMean,
        }
    }

    /// The weight of each of a text's tokens in its vector; `skipped` leading tokens do not count.
    pub(crate) fn weights(self, length: usize, skipped: usize, out: &mut [f32]) {
        let counted = skipped.min(length)..length;
        let n = counted.len() as f32;
        match self {
            Mode::Cls => out[if counted.is_empty() { 0 } else { counted.start }] = 1.0,
            Mode::Lasttoken => out[length - 1] = 1.0,
            Mode::Mean => out[counted].fill(1.0 / n),
            Mode::MeanSqrtLenTokens => out[counted].fill(1.0 / n.sqrt()),
            Mode::Weightedmean => {
                let total: f32 = counted.clone().map(|t| (t + 1) as f32).sum();
                counted.for_each(|t| out[t] = (t + 1) as f32 / total);
            }
            Mode::Max => unreachable!("max is not a weighted sum"),
        }
    }
}

/// The pooling module of a sentence-transformers folder: the results of its modes, concatenated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// The modes, in order.
    pub modes: Vec<Mode>,
    /// Whether the tokens of a prompt count in means and maxima.
    pub include_prompt: bool,
}

impl Pooling {
    /// One mode, prompts included.
    pub fn new(mode: Mode) -> Self {
        Pooling { modes: vec![mode], include_prompt: true }
    }

    /// Width of the result for token states of width `width`.
    pub fn output(&self, width: usize) -> usize {
        width * self.modes.len()
    }

    /// Flat states `[N, D]` to `[B, D · modes]`, in the order of the batch.
    ///
    /// `prompt_tokens` counts the leading tokens of each text that belong to its prompt.
    pub fn forward(&self, states: Tensor<2>, layout: &Layout, prompt_tokens: &[usize]) -> Tensor<2> {
        let skipped = (!self.include_prompt).then_some(prompt_tokens);
        let mut pooled: Vec<Tensor<2>> =
            self.modes.iter().map(|&mode| ops::pool(states.clone(), mode, layout, skipped)).collect();
        if pooled.len() == 1 { pooled.remove(0) } else { Tensor::cat(pooled, 1) }
    }
}
