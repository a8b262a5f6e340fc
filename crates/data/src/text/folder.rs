//! The tokenizer files of a model folder.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::legacy;
use crate::error::{Error, Result};

/// Every file that may belong to a tokenizer; those that are there are copied when it is saved.
const FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "chat_template.jinja",
];

/// The ids of special tokens, where the tokenizer has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Padding.
    pub pad: Option<u32>,
    /// The token for what is not in the vocabulary.
    pub unk: Option<u32>,
    /// The first token of an encoder's sequence.
    pub cls: Option<u32>,
    /// The last token of an encoder's sequence.
    pub sep: Option<u32>,
    /// The token that hides another in masked language modelling.
    pub mask: Option<u32>,
    /// Begin of sequence.
    pub bos: Option<u32>,
    /// End of sequence.
    pub eos: Option<u32>,
}

impl SpecialTokens {
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        [self.pad, self.unk, self.cls, self.sep, self.mask, self.bos, self.eos].into_iter().flatten()
    }
}

pub(super) struct Folder {
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) special: SpecialTokens,
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
}

/// The settings files, whose fields override one another: `tokenizer_config.json`, then `special_tokens_map.json`.
pub(super) struct Settings {
    config: Map<String, Value>,
    special: Map<String, Value>,
}

impl Settings {
    /// A truth value of `tokenizer_config.json`; absent and `null` are `None`.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.config.get(name)?.as_bool()
    }

    /// A text of `tokenizer_config.json`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.config.get(name)?.as_str()
    }

    /// The spelling of a special token such as `cls_token`: a string, or an object with `content`.
    pub(super) fn token(&self, name: &str) -> Option<&str> {
        [&self.config, &self.special].into_iter().find_map(|map| match map.get(name)? {
            Value::String(text) => Some(text.as_str()),
            Value::Object(token) => token.get("content")?.as_str(),
            _ => None,
        })
    }
}

impl Folder {
    pub(super) fn read(folder: &Path) -> Result<Folder> {
        let mut files = Vec::new();
        for &name in FILES {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => files.push((name, bytes)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(&path, "read")(e)),
            }
        }
        let file = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| bytes.as_slice());
        let object = |name: &str| match file(name) {
            None => Ok(Map::new()),
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| {
                let problem = format!("not a JSON object: {e}");
                Error::Tokenizer { path: folder.join(name), problem }
            }),
        };
        let settings = Settings {
            config: object("tokenizer_config.json")?,
            special: object("special_tokens_map.json")?,
        };
        let wrong = |name: &str| {
            let path = folder.join(name);
            move |problem: String| Error::Tokenizer { path, problem }
        };
        let inner = if let Some(bytes) = file("tokenizer.json") {
            parse(bytes).map_err(wrong("tokenizer.json"))?
        } else if let Some(vocab) = file("vocab.txt") {
            legacy::word_piece(vocab, &settings).map_err(wrong("vocab.txt"))?
        } else if let (Some(vocab), Some(merges)) = (file("vocab.json"), file("merges.txt")) {
            legacy::byte_level_bpe(vocab, merges, &settings).map_err(wrong("vocab.json"))?
        } else {
            let mut problem =
                "no tokenizer here: looked for tokenizer.json, vocab.txt, and vocab.json with merges.txt"
                    .to_owned();
            if let Some((name, _)) = files.iter().find(|(name, _)| name.ends_with(".model")) {
                problem.push_str(&format!(
                    "; {name} alone is not read: save the tokenizer with transformers once to get tokenizer.json"
                ));
            }
            return Err(Error::Tokenizer { path: folder.to_owned(), problem });
        };
        let special = special_tokens(&inner, &settings);
        Ok(Folder { inner, special, files })
    }
}

impl Folder {
    /// A `tokenizer.json` that stands alone.
    pub(super) fn of_json(place: &Path, json: &[u8]) -> Result<Folder> {
        let inner = parse(json).map_err(|problem| Error::Tokenizer { path: place.to_owned(), problem })?;
        let settings = Settings { config: Map::new(), special: Map::new() };
        let special = special_tokens(&inner, &settings);
        Ok(Folder { inner, special, files: vec![("tokenizer.json", json.to_vec())] })
    }
}

fn parse(bytes: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    // The library panics on some of what it cannot parse: what is not JSON at all never reaches it, and a panic on the rest
    // is an error here. One that panics on a letter is found now and not in the middle of a run.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|e| format!("not valid JSON: {e}"))?;
    guarded(|| {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| e.to_string())?;
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        let _ = tokenizer.encode_fast("a", true);
        Ok(tokenizer)
    })
}

/// Runs a call into the tokenizer library, and makes a panic of it an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a panic leaves behind in the library is at worst a poisoned cache, which makes later calls panic and thus fail.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(format!("the tokenizer library failed: {words}"))
    })
}

/// The spellings by which special tokens are known when no settings file names them.
const KNOWN: [(&str, &[&str]); 7] = [
    ("pad_token", &["[PAD]", "<pad>", "<|pad|>"]),
    ("unk_token", &["[UNK]", "<unk>"]),
    ("cls_token", &["[CLS]", "<s>"]),
    ("sep_token", &["[SEP]", "</s>"]),
    ("mask_token", &["[MASK]", "<mask>"]),
    ("bos_token", &["<s>", "<|startoftext|>", "<|begin_of_text|>"]),
    ("eos_token", &["</s>", "<|endoftext|>", "<|end_of_text|>"]),
];

fn special_tokens(inner: &tokenizers::Tokenizer, settings: &Settings) -> SpecialTokens {
    let [pad, unk, cls, sep, mask, bos, eos] = KNOWN.map(|(name, spellings)| {
        settings
            .token(name)
            .and_then(|token| inner.token_to_id(token))
            .or_else(|| spellings.iter().find_map(|token| inner.token_to_id(token)))
    });
    let pad = pad.or_else(|| inner.get_padding().map(|padding| padding.pad_id));
    SpecialTokens { pad, unk, cls, sep, mask, bos, eos }
}
