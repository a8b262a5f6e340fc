//! Static distillation: a text encoder's own tokens become a table, and a text is the mean of its tokens.
//!
//! Each token `t` of the vocabulary goes through the teacher alone, between the special tokens of a text, and is pooled as
//! the teacher pools: `eₜ`. Then
//!
//! ```text
//! zₜ = Wₖ (eₜ − mean e)               the first k principal components of the vocabulary
//! xₜ = zₜ · a / (a + pₜ)              smooth inverse frequency: frequent tokens say little
//! ```
//! `pₜ` is the token's share of the texts that are given, smoothed by Zipf's law over the vocabulary's order, which
//! tokenizers keep by frequency once the alphabet is over; without texts it is Zipf's law alone. In the alphabet, the single
//! characters that most vocabularies begin with, those of ASCII count as frequent and the others as rare; model2vec counts
//! ranks from the first of them, which makes "the" of BERT's vocabulary a rare word. Arora et al., ICLR 2017, for the weights; the
//! procedure is model2vec's (Tulkens and van Dongen, 2024), which has no texts.

mod vocabulary;

use std::sync::atomic::{AtomicBool, Ordering};

use parallax_data::text::Tokenizer;
use parallax_linear::pca;
use parallax_nn::encoder::{StaticEmbedding, round_to_int8};
use parallax_nn::head::{Normalize, Stage};
use parallax_nn::{Input, SentenceEncoder, cpu};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};
use vocabulary::Vocabulary;

/// How a static model is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StaticDistillation {
    /// Dimensions of the static model: the first principal components of the token vectors; at most the teacher's.
    pub dim: usize,
    /// a of the frequency weights a / (a + p), above 0.
    pub sif: f64,
    /// Whether the table is rounded to 8 bits with one scale a token: a quarter of the size.
    pub int8: bool,
}

impl Default for StaticDistillation {
    fn default() -> Self {
        StaticDistillation { dim: 256, sif: 1e-4, int8: false }
    }
}

/// What a static model was made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distilled {
    /// Tokens of the table.
    pub tokens: usize,
    /// Tokens of the teacher that were left out.
    pub left_out: usize,
    /// Dimensions.
    pub dim: usize,
    /// The share of the token vectors' variance that the dimensions hold.
    pub explained: f64,
    /// Tokens counted in the texts; 0 without texts.
    pub counted: u64,
}

/// Tokens that go through the teacher between two looks at the stop flag.
const CHUNK: usize = 2048;

/// How often a token occurs in texts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    by_id: Vec<u64>,
    total: u64,
}

impl Counts {
    /// Counts the tokens of some texts, as the teacher's tokenizer cuts them, special tokens left out.
    ///
    /// # Errors
    /// A text that the tokenizer cannot represent.
    pub fn add<S: AsRef<str> + Sync>(&mut self, tokenizer: &Tokenizer, texts: &[S]) -> Result<()> {
        self.by_id.resize(tokenizer.id_bound().max(self.by_id.len()), 0);
        for encoding in tokenizer.encode_batch(texts)? {
            for id in encoding.ids {
                if tokenizer.special_ids().binary_search(&id).is_err() {
                    self.by_id[id as usize] += 1;
                    self.total += 1;
                }
            }
        }
        Ok(())
    }

    /// Tokens in all.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// Makes a static model of `teacher`. `progress` is told (tokens done, tokens in all).
///
/// The vocabulary is the teacher's, without special tokens and reserved places (`[unused7]`); a WordPiece tokenizer is cut
/// to it, others keep their ids. The model ends in a normalisation.
///
/// # Errors
/// A teacher without a text encoder, more dimensions than it has, a stop from outside.
pub fn distill(
    teacher: &SentenceEncoder,
    counts: &Counts,
    settings: &StaticDistillation,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(SentenceEncoder, Distilled)> {
    let refuse = |what: String, hint: &str| Err(Error::Setting { what, hint: hint.into() });
    let Some(tower) = teacher.text() else {
        return refuse("the model reads stored vectors, not texts".into(), "name a text encoder");
    };
    if teacher.network().encoder.as_ref().is_none_or(|encoder| encoder.transformer().is_none()) {
        return refuse("the model is a token table already".into(), "name a transformer");
    }
    if !(settings.sif > 0.0 && settings.sif.is_finite()) {
        return refuse(format!("sif = {} must be above 0", settings.sif), "1e-4 is usual");
    }
    let plain = teacher.clone().without_normalize();
    if settings.dim == 0 || settings.dim > plain.dim() {
        return refuse(
            format!("dim = {} must be 1 to {}, the dimensions of the teacher", settings.dim, plain.dim()),
            "256 is usual; leave it out for that",
        );
    }

    let vocabulary = Vocabulary::of(&tower.tokenizer)?;
    let ids = vocabulary.embedded();
    let frame = Frame::of(&tower.tokenizer)?;
    let mut vectors = Vec::with_capacity(ids.len() * plain.dim());
    for chunk in ids.chunks(CHUNK) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let inputs: Vec<Input> = chunk.iter().map(|&id| frame.around(id)).collect();
        vectors.extend(plain.embed(&inputs, 8192, |_| {})?);
        progress(vectors.len() / plain.dim(), ids.len());
    }

    let components = pca(&vectors, ids.len(), plain.dim(), settings.dim, 0.0)?;
    let mut rows = components.map.apply(&vectors, ids.len())?;
    drop(vectors);
    let weights = frequency_weights(ids, vocabulary.ranks(), counts, settings.sif);
    for (row, weight) in rows.chunks_exact_mut(settings.dim).zip(weights) {
        row.iter_mut().for_each(|v| *v *= weight);
    }
    if settings.int8 {
        round_to_int8(&mut rows, settings.dim);
    }

    let mut table = vec![0f32; vocabulary.rows() * settings.dim];
    for (row, place) in rows.chunks_exact(settings.dim).zip(vocabulary.places()) {
        table[place * settings.dim..(place + 1) * settings.dim].copy_from_slice(row);
    }
    let distilled = Distilled {
        tokens: ids.len(),
        left_out: tower.tokenizer.vocab_size() - ids.len(),
        dim: settings.dim,
        explained: components.explained().iter().sum(),
        counted: counts.total,
    };
    let tokenizer = vocabulary.tokenizer(&tower.tokenizer)?;
    let table = StaticEmbedding::new(table, settings.dim, &cpu())?;
    let model = SentenceEncoder::over_table(tokenizer, table, vec![Stage::Normalize(Normalize {})])?;
    Ok((model, distilled))
}

/// The special tokens before and after a text.
struct Frame {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Frame {
    fn of(tokenizer: &Tokenizer) -> Result<Frame> {
        let empty = tokenizer.encode("")?.ids;
        let some = tokenizer.encode("a")?.ids;
        let before = empty.iter().zip(&some).take_while(|(a, b)| a == b).count();
        Ok(Frame { before: empty[..before].to_vec(), after: empty[before..].to_vec() })
    }

    fn around(&self, id: u32) -> Input {
        let mut ids = self.before.clone();
        ids.push(id);
        ids.extend(&self.after);
        Input::Tokens { ids, prompt_tokens: 0 }
    }
}

/// What Zipf's law counts for beside the texts, in tokens. So much, because the words that a small set of texts is full of
/// are what it is about: weighed down by their own counts alone, they make the model worse on these very texts.
const PRIOR: f64 = 1e7;

/// `a / (a + p)` for tokens with their ranks by frequency, from 0.
fn frequency_weights(ids: &[u32], ranks: &[usize], counts: &Counts, a: f64) -> Vec<f32> {
    let zipf = |rank: usize| 1.0 / (rank + 2) as f64;
    let all: f64 = ranks.iter().map(|&rank| zipf(rank)).sum();
    let total = counts.total as f64 + PRIOR;
    let share = |(&id, &rank): (&u32, &usize)| {
        let counted = counts.by_id.get(id as usize).copied().unwrap_or(0) as f64;
        let p = (counted + PRIOR * zipf(rank) / all) / total;
        (a / (a + p)) as f32
    };
    ids.iter().zip(ranks).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_texts_the_weights_follow_zipf() {
        let weights = frequency_weights(&[5, 6, 7], &[0, 1, 2], &Counts::default(), 1e-4);
        // Shares 1/2, 1/3, 1/4 over 13/12.
        for (weight, part) in weights.iter().zip([6.0 / 13.0, 4.0 / 13.0, 3.0 / 13.0]) {
            assert!((f64::from(*weight) - 1e-4 / (1e-4 + part)).abs() < 1e-9, "{weight}");
        }
    }

    #[test]
    fn a_token_that_the_texts_are_full_of_weighs_less() {
        let counts = Counts { by_id: vec![0, 90_000_000, 0], total: 90_000_000 };
        let weights = frequency_weights(&[0, 1, 2], &[0, 1, 2], &counts, 1e-4);
        assert!(weights[1] < weights[0] && weights[1] < weights[2], "{weights:?}");
    }
}
