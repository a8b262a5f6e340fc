//! Tokenisation: text to token ids.

mod folder;
mod legacy;
mod word_piece;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tokenizers::{PostProcessor, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::atomic::atomic_write;
use crate::error::{Error, Result};
pub use folder::SpecialTokens;
use folder::{Folder, guarded};
use word_piece::WordPiece;

/// The tokens of one text, special tokens included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, at most as many as the tokenizer's limit.
    pub ids: Vec<u32>,
}

/// A tokenizer with a length limit: WordPiece, BPE, Unigram or whatever a `tokenizer.json` describes.
///
/// Texts are cut at the right to the limit, special tokens counted; nothing is padded. What a `tokenizer.json` itself says
/// about truncation and padding is not used.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    folder: PathBuf,
    inner: Arc<tokenizers::Tokenizer>,
    /// The same tokenizer, for texts that are simple; most are.
    simple: Option<Arc<WordPiece>>,
    special: SpecialTokens,
    special_ids: Vec<u32>,
    added_tokens: usize,
    max_tokens: usize,
    add_special: bool,
    files: Arc<Vec<(&'static str, Vec<u8>)>>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`; else `vocab.txt` as WordPiece, with `do_lower_case` and the
    /// like from `tokenizer_config.json`; else `vocab.json` and `merges.txt` as byte-level BPE. `max_tokens` is the longest
    /// sequence, special tokens counted (a model's `max_seq_length`).
    ///
    /// # Errors
    /// If the folder has none of these, a file is malformed, the older files belong to a tokenizer class that they do not
    /// describe fully, or `max_tokens` leaves no room beside the special tokens.
    pub fn from_folder(folder: impl AsRef<Path>, max_tokens: usize) -> Result<Tokenizer> {
        let folder = folder.as_ref();
        Tokenizer::of(folder, Folder::read(folder)?, max_tokens)
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_json(json: &str, max_tokens: usize) -> Result<Tokenizer> {
        let place = Path::new("tokenizer.json");
        Tokenizer::of(place, Folder::of_json(place, json.as_bytes())?, max_tokens)
    }

    /// The tokenizer as the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// If the library cannot write it.
    pub fn to_json(&self) -> Result<String> {
        let mut plain = tokenizers::Tokenizer::clone(&self.inner);
        let text = match plain.with_truncation(None) {
            Ok(_) => plain.to_string(false).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        text.map_err(|problem| Error::Tokenizer { path: self.folder.clone(), problem })
    }

    fn of(folder: &Path, parts: Folder, max_tokens: usize) -> Result<Tokenizer> {
        // The library would otherwise run its own parallel loops; ours are on the caller's pool.
        tokenizers::utils::parallelism::set_parallelism(false);
        let Folder { mut inner, special, files } = parts;
        inner.with_padding(None);
        let added = inner.get_added_tokens_decoder();
        let mut special_ids: Vec<u32> =
            added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id).collect();
        special_ids.extend(special.ids());
        special_ids.sort_unstable();
        special_ids.dedup();
        let added_tokens = inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        let folder = folder.to_owned();
        let simple = guarded(|| Ok(WordPiece::of(&inner))).ok().flatten().map(Arc::new);
        let (inner, files) = (Arc::new(inner), Arc::new(files));
        let tokenizer = Tokenizer {
            folder,
            inner,
            simple,
            special,
            special_ids,
            added_tokens,
            max_tokens,
            add_special: true,
            files,
        };
        tokenizer.with_max_tokens(max_tokens)
    }

    /// The same tokenizer with another length limit.
    ///
    /// # Errors
    /// If the limit leaves no room for a token beside the special ones.
    pub fn with_max_tokens(mut self, max_tokens: usize) -> Result<Tokenizer> {
        if max_tokens <= self.added_tokens {
            let problem = format!(
                "is {max_tokens}; it must be above {}, the special tokens of every text",
                self.added_tokens
            );
            return Err(Error::option("max_seq_length", problem));
        }
        let truncation = TruncationParams {
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
            direction: TruncationDirection::Right,
        };
        match Arc::make_mut(&mut self.inner).with_truncation(Some(truncation)) {
            Ok(_) => {}
            Err(e) => return Err(Error::Tokenizer { path: self.folder, problem: e.to_string() }),
        }
        self.max_tokens = max_tokens;
        Ok(self)
    }

    /// The same tokenizer, which adds no special tokens to a text.
    pub fn without_special_tokens(mut self) -> Tokenizer {
        self.add_special = false;
        self.added_tokens = 0;
        self
    }

    /// One more than the largest token id: the rows that an embedding table needs.
    pub fn id_bound(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The folder that it was read from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The length limit, special tokens counted.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Special tokens that every text gets, such as 2 for `[CLS] … [SEP]`.
    pub fn added_tokens(&self) -> usize {
        self.added_tokens
    }

    /// The number of tokens, added ones included. Ids need not be dense: an embedding table needs one row more than
    /// the largest id.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The ids of the named special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The ids of all special tokens, ascending.
    pub fn special_ids(&self) -> &[u32] {
        &self.special_ids
    }

    /// The id to pad with. 0 where the tokenizer has no padding token, which is of no account as padding is masked.
    pub fn pad_id(&self) -> u32 {
        self.special.pad.unwrap_or(0)
    }

    /// Encodes one text.
    ///
    /// # Errors
    /// If the tokenizer cannot represent the text: for example, it has no unknown token.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        let room = self.max_tokens - self.added_tokens;
        if let Some(ids) = self.simple.as_ref().and_then(|simple| simple.encode(text, room, self.add_special))
        {
            return Ok(Encoding { ids });
        }
        let encoded = guarded(|| self.inner.encode_fast(text, self.add_special).map_err(|e| e.to_string()));
        match encoded {
            Ok(encoding) => Ok(Encoding { ids: encoding.get_ids().to_vec() }),
            Err(problem) => Err(Error::Tokenizer { path: self.folder.clone(), problem }),
        }
    }

    /// Encodes texts in parallel on the current rayon pool; the result is in the order of the texts.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Encoding>> {
        // Which error is returned must not depend on the threads: the first in order.
        texts.par_iter().map(|text| self.encode(text.as_ref())).collect::<Vec<_>>().into_iter().collect()
    }

    /// The text of some token ids, special tokens left out.
    ///
    /// # Errors
    /// If the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let decoded = guarded(|| self.inner.decode(ids, true).map_err(|e| e.to_string()));
        decoded.map_err(|problem| Error::Tokenizer { path: self.folder.clone(), problem })
    }

    /// Writes the tokenizer's files into a folder, byte for byte as they were read.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written to.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        for (name, bytes) in self.files.iter() {
            atomic_write(folder.as_ref().join(name), |file| std::io::Write::write_all(file, bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
