//! The text side: texts to token ids.

use std::path::PathBuf;

use parallax_data::text::Tokenizer;

use crate::encoder::StaticEmbedding;
use crate::pooling::{Mode, Pooling};
use crate::{Error, Result};

/// The longest text that is not cut, in tokens, where the model itself has no limit.
pub(super) const UNLIMITED: usize = 1 << 20;

/// What turns texts into token ids and token states into one vector.
#[derive(Clone)]
pub struct TextTower {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// How token states are pooled.
    pub pooling: Pooling,
    /// Longest text in tokens, special tokens included.
    pub max_tokens: usize,
    /// Whether texts are lower-cased first.
    pub lower_case: bool,
    /// The folder that tokenizer files and unused tensors are copied from.
    pub source: PathBuf,
    /// What stands before every tensor name in the checkpoint.
    pub prefix: String,
    pub(super) width: usize,
    pub(super) padding: u32,
    /// Whether the encoder is a token table, which has a vector for a text without tokens.
    pub(super) tabular: bool,
}

impl TextTower {
    /// The text side of a token table: no special tokens, and no limit unless one is set.
    pub(super) fn over_table(
        tokenizer: Tokenizer,
        table: &StaticEmbedding,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let [rows, width] = table.dims();
        let max_tokens = max_tokens.unwrap_or(UNLIMITED).clamp(1, UNLIMITED);
        let tokenizer = tokenizer.without_special_tokens().with_max_tokens(max_tokens)?;
        if tokenizer.id_bound() > rows {
            return Err(Error::Dimension {
                what: format!(
                    "{}: tokens of the tokenizer against the token table",
                    tokenizer.folder().display()
                ),
                expected: rows,
                found: tokenizer.id_bound(),
            });
        }
        Ok(TextTower {
            pooling: Pooling::new(Mode::Mean),
            max_tokens,
            lower_case: false,
            source: tokenizer.folder().to_owned(),
            prefix: String::new(),
            tokenizer,
            width,
            padding: 0,
            tabular: true,
        })
    }

    /// Width of the token states.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Tokenises texts, each after the text of a prompt, in parallel on the current pool.
    ///
    /// # Errors
    /// A text that the tokenizer cannot represent.
    pub fn tokenize<S: AsRef<str> + Sync>(&self, texts: &[S], prompt: &str) -> Result<Vec<Input>> {
        let full: Vec<String> = texts
            .iter()
            .map(|text| {
                let text = format!("{prompt}{}", text.as_ref());
                if self.lower_case { text.to_lowercase() } else { text }
            })
            .collect();
        // The prompt alone, less the closing special token.
        let prompt_tokens =
            if prompt.is_empty() { 0 } else { self.tokenizer.encode(prompt)?.ids.len().saturating_sub(1) };
        let encoded = self.tokenizer.encode_batch(&full)?;
        Ok(encoded
            .into_iter()
            .map(|encoding| {
                let mut ids = encoding.ids;
                if ids.is_empty() && !self.tabular {
                    // A tokenizer without special tokens finds nothing in an empty text.
                    ids.push(self.padding);
                }
                Input::Tokens { prompt_tokens: prompt_tokens.min(ids.len()), ids }
            })
            .collect())
    }
}

/// One input of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A tokenised text.
    Tokens {
        /// Token ids, special tokens included; at least one, but for a token table.
        ids: Vec<u32>,
        /// How many of the first belong to a prompt.
        prompt_tokens: usize,
    },
    /// A stored vector.
    Vector(Vec<f32>),
}

impl Input {
    /// Its length in tokens (1 for a vector).
    pub fn tokens(&self) -> usize {
        match self {
            Input::Tokens { ids, .. } => ids.len(),
            Input::Vector(_) => 1,
        }
    }
}
