//! From token states to one vector per text.

use burn::tensor::{Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Layout, layout::Group};

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

    /// The weight of each of a text's tokens in its vector; `skipped` leading tokens do not count.
    fn weights(self, length: usize, skipped: usize, out: &mut [f32]) {
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
        let device = states.device();
        let width = states.dims()[1];
        let groups: Vec<Tensor<2>> = layout
            .groups()
            .iter()
            .map(|group| {
                let (b, l) = (group.rows.len(), group.length);
                let tokens: Tensor<3> =
                    states.clone().slice([group.start..group.start + b * l, 0..width]).reshape([b, l, width]);
                let skipped = |at: usize| if self.include_prompt { 0 } else { prompt_tokens[group.rows[at]] };
                let pooled: Vec<Tensor<2>> = self
                    .modes
                    .iter()
                    .map(|mode| match mode {
                        Mode::Max => {
                            let mask = Tensor::<3>::from_data(max_mask(group, skipped), &device);
                            (tokens.clone() + mask).max_dim(1).reshape([b, width])
                        }
                        mode => {
                            let mut weights = vec![0f32; b * l];
                            for (at, row) in weights.chunks_mut(l).enumerate() {
                                mode.weights(group.lengths[at], skipped(at), row);
                            }
                            let weights =
                                Tensor::<3>::from_data(TensorData::new(weights, [b, 1, l]), &device);
                            weights.matmul(tokens.clone()).reshape([b, width])
                        }
                    })
                    .collect();
                if pooled.len() == 1 {
                    pooled.into_iter().next().expect("one mode")
                } else {
                    Tensor::cat(pooled, 1)
                }
            })
            .collect();
        let all = if groups.len() == 1 {
            groups.into_iter().next().expect("one group")
        } else {
            Tensor::cat(groups, 0)
        };
        let restore: Vec<i64> = layout.restore().into_iter().map(|at| at as i64).collect();
        let texts = layout.texts();
        all.select(0, Tensor::from_data(TensorData::new(restore, [texts]), &device))
    }
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
