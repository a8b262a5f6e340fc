use std::path::Path;

use serde_json::Value;

use crate::layer::Activation;
use crate::{Error, Result};

/// Which published encoder a checkpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BERT (Devlin et al. 2018, arXiv 1810.04805): token types, positions from 0.
    Bert,
    /// RoBERTa and XLM-RoBERTa (arXiv 1907.11692, 1911.02116): positions from the padding index + 1.
    Roberta,
    /// DistilBERT (arXiv 1910.01108): no token types.
    DistilBert,
    /// MPNet (arXiv 2004.09297): no token types, relative position bias shared by all layers.
    MpNet,
}

/// The shape and constants of an encoder, read from a Hugging Face `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The published model.
    pub family: Family,
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Width of the token representations, `D`.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads per block.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the token-type table (0: there is none).
    pub token_types: usize,
    /// Token id of padding.
    pub padding: u32,
    /// ε of every layer norm.
    pub epsilon: f64,
    /// Activation of the feed-forward layer.
    pub activation: Activation,
    /// Dropout probability on hidden states.
    pub dropout: f64,
    /// Dropout probability on attention weights.
    pub attention_dropout: f64,
    /// Buckets of the relative position bias (0: there is none).
    pub relative_buckets: usize,
}

impl Config {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// An unsupported `model_type`, `position_embedding_type` or activation, and a missing or impossible number, each by
    /// name.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let json: Value = serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?;
        Self::from_json(path, &json)
    }

    fn from_json(path: &Path, json: &Value) -> Result<Self> {
        let fail = |what: String| Error::format(path, what);
        let model_type =
            json["model_type"].as_str().ok_or_else(|| fail("field \"model_type\" is missing".into()))?;
        let family = match model_type {
            "bert" => Family::Bert,
            "roberta" | "xlm-roberta" | "camembert" => Family::Roberta,
            "distilbert" => Family::DistilBert,
            "mpnet" => Family::MpNet,
            other => {
                return Err(fail(format!(
                    "field \"model_type\": \"{other}\" is not supported (bert, roberta, xlm-roberta, camembert, distilbert, mpnet)"
                )));
            }
        };
        if let Some(kind) = json["position_embedding_type"].as_str().filter(|&kind| kind != "absolute") {
            return Err(fail(format!("field \"position_embedding_type\": \"{kind}\" is not supported")));
        }
        let distil = family == Family::DistilBert;
        let count = |hf: &str, distil_name: &str| -> Result<usize> {
            let name = if distil { distil_name } else { hf };
            let n = json[name]
                .as_u64()
                .ok_or_else(|| fail(format!("field \"{name}\" is missing or not a number")))?;
            if n == 0 || n > 1 << 24 {
                return Err(fail(format!("field \"{name}\": {n} is out of range")));
            }
            Ok(n as usize)
        };
        let real = |name: &str, default: f64| -> Result<f64> {
            match &json[name] {
                Value::Null => Ok(default),
                value => value.as_f64().ok_or_else(|| fail(format!("field \"{name}\" is not a number"))),
            }
        };
        let probability = |name: &str| -> Result<f64> {
            let p = real(name, 0.1)?;
            if (0.0..1.0).contains(&p) {
                Ok(p)
            } else {
                Err(fail(format!("field \"{name}\": {p} is not in [0, 1)")))
            }
        };
        let name = json[if distil { "activation" } else { "hidden_act" }].as_str().unwrap_or("gelu");
        let activation = Activation::from_hugging_face(name)
            .ok_or_else(|| fail(format!("activation \"{name}\" is not supported")))?;
        let config = Config {
            family,
            vocabulary: count("vocab_size", "vocab_size")?,
            width: count("hidden_size", "dim")?,
            layers: count("num_hidden_layers", "n_layers")?,
            heads: count("num_attention_heads", "n_heads")?,
            intermediate: count("intermediate_size", "hidden_dim")?,
            positions: count("max_position_embeddings", "max_position_embeddings")?,
            token_types: match family {
                Family::Bert | Family::Roberta => json["type_vocab_size"].as_u64().unwrap_or(2) as usize,
                Family::DistilBert | Family::MpNet => 0,
            },
            padding: match family {
                Family::MpNet => 1,
                Family::Roberta => json["pad_token_id"].as_u64().unwrap_or(1) as u32,
                _ => json["pad_token_id"].as_u64().unwrap_or(0) as u32,
            },
            epsilon: if distil { 1e-12 } else { real("layer_norm_eps", 1e-12)? },
            activation,
            dropout: probability(if distil { "dropout" } else { "hidden_dropout_prob" })?,
            attention_dropout: probability(if distil {
                "attention_dropout"
            } else {
                "attention_probs_dropout_prob"
            })?,
            relative_buckets: match family {
                Family::MpNet => json["relative_attention_num_buckets"].as_u64().unwrap_or(32) as usize,
                _ => 0,
            },
        };
        if !config.width.is_multiple_of(config.heads) {
            return Err(fail(format!("width {} is not a multiple of {} heads", config.width, config.heads)));
        }
        if config.positions <= config.first_position() {
            return Err(fail(format!("{} positions are too few", config.positions)));
        }
        Ok(config)
    }

    /// The position number of a text's first token.
    pub fn first_position(&self) -> usize {
        match self.family {
            Family::Bert | Family::DistilBert => 0,
            Family::Roberta | Family::MpNet => self.padding as usize + 1,
        }
    }

    /// The longest text in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.positions - self.first_position()
    }
}
