//! Tokenizers of folders older than `tokenizer.json`.
//!
//! A vocabulary does not say how text is split before it is looked up; the class named in `tokenizer_config.json` does. Only
//! the classes whose rules are known here are read; another one is an error, never a guess.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer, decoders};

use super::folder::Settings;

const WORD_PIECE: &[&str] = &["Bert", "DistilBert", "Electra", "MPNet", "MobileBert", "LayoutLM", "Funnel"];
const BYTE_LEVEL: &[&str] = &["Roberta", "GPT2", "Bart", "Longformer"];

fn check_class(settings: &Settings, known: &[&str]) -> Result<(), String> {
    let Some(class) = settings.text("tokenizer_class") else { return Ok(()) };
    let name =
        class.strip_suffix("TokenizerFast").or_else(|| class.strip_suffix("Tokenizer")).unwrap_or(class);
    if known.contains(&name) {
        return Ok(());
    }
    Err(format!(
        "the vocabulary of a {class} needs its tokenizer.json; save the tokenizer with transformers once to get it"
    ))
}

/// The id of a special token that the vocabulary must hold.
fn required(tokenizer: &Tokenizer, token: &str) -> Result<(String, u32), String> {
    match tokenizer.token_to_id(token) {
        Some(id) => Ok((token.to_owned(), id)),
        None => Err(format!("the vocabulary lacks the special token {token:?}")),
    }
}

fn mark_special(tokenizer: &mut Tokenizer, tokens: &[(&str, bool)]) -> Result<(), String> {
    let present: Vec<AddedToken> = tokens
        .iter()
        .filter(|(token, _)| tokenizer.token_to_id(token).is_some())
        .map(|&(token, strip)| AddedToken::from(token, true).lstrip(strip))
        .collect();
    tokenizer.add_special_tokens(present).map_err(|e| e.to_string()).map(|_| ())
}

/// BERT's tokenizer from its `vocab.txt`, one token a line.
pub(super) fn word_piece(vocab: &[u8], settings: &Settings) -> Result<Tokenizer, String> {
    check_class(settings, WORD_PIECE)?;
    let vocab = std::str::from_utf8(vocab).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
    let ids: Vocab = vocab.lines().zip(0..).map(|(token, id)| (token.trim_end().to_owned(), id)).collect();
    if ids.is_empty() {
        return Err("the vocabulary is empty".to_owned());
    }
    let name = |field, default| settings.token(field).unwrap_or(default);
    let mpnet = settings.text("tokenizer_class").is_some_and(|class| class.starts_with("MPNet"));
    let unk = name("unk_token", "[UNK]");
    let (cls, sep, pad, mask) = if mpnet {
        (
            name("cls_token", "<s>"),
            name("sep_token", "</s>"),
            name("pad_token", "<pad>"),
            name("mask_token", "<mask>"),
        )
    } else {
        (
            name("cls_token", "[CLS]"),
            name("sep_token", "[SEP]"),
            name("pad_token", "[PAD]"),
            name("mask_token", "[MASK]"),
        )
    };
    let model =
        WordPiece::builder().vocab(ids).unk_token(unk.to_owned()).build().map_err(|e| e.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    required(&tokenizer, unk)?;
    let (cls_id, sep_id) = (required(&tokenizer, cls)?, required(&tokenizer, sep)?);
    let normalizer = BertNormalizer::new(
        true,
        settings.flag("tokenize_chinese_chars").unwrap_or(true),
        settings.flag("strip_accents"),
        settings.flag("do_lower_case").unwrap_or(true),
    );
    tokenizer.with_normalizer(Some(normalizer)).map_err(|e| e.to_string())?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(sep_id, cls_id)));
    tokenizer.with_decoder(Some(decoders::wordpiece::WordPiece::default()));
    mark_special(&mut tokenizer, &[(pad, false), (unk, false), (cls, false), (sep, false), (mask, mpnet)])?;
    Ok(tokenizer)
}

/// The byte-level BPE of GPT-2 and RoBERTa from `vocab.json` and `merges.txt`.
///
/// RoBERTa's kind puts `<s>` and `</s>` around the text; GPT-2's adds nothing. Without a class in the settings, a vocabulary
/// that holds both is RoBERTa's.
pub(super) fn byte_level_bpe(vocab: &[u8], merges: &[u8], settings: &Settings) -> Result<Tokenizer, String> {
    check_class(settings, BYTE_LEVEL)?;
    let ids: Vocab = serde_json::from_slice(vocab).map_err(|e| format!("not a JSON object of ids: {e}"))?;
    let text = std::str::from_utf8(merges)
        .map_err(|e| format!("merges.txt beside it is not UTF-8 at byte {}", e.valid_up_to()))?;
    let mut pairs = Vec::new();
    for (line, merge) in (1..).zip(text.lines()) {
        if merge.is_empty() || (line == 1 && merge.starts_with("#version")) {
            continue;
        }
        match merge.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => pairs.push((left.to_owned(), right.to_owned())),
            _ => {
                return Err(format!(
                    "merges.txt beside it, row {line}: expected two tokens, found {merge:?}"
                ));
            }
        }
    }
    let name = |field, default| settings.token(field).unwrap_or(default);
    let (cls, sep) = (name("cls_token", "<s>"), name("sep_token", "</s>"));
    let framed = match settings.text("tokenizer_class") {
        Some(class) => !class.starts_with("GPT2"),
        None => ids.contains_key(cls) && ids.contains_key(sep),
    };
    let model = BPE::builder().vocab_and_merges(ids, pairs).build().map_err(|e| e.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    let prefix = settings.flag("add_prefix_space").unwrap_or(false);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    if framed {
        let (cls_id, sep_id) = (required(&tokenizer, cls)?, required(&tokenizer, sep)?);
        let processing = RobertaProcessing::new(sep_id, cls_id).trim_offsets(true).add_prefix_space(prefix);
        tokenizer.with_post_processor(Some(processing));
    }
    let (unk, pad) = (name("unk_token", "<unk>"), name("pad_token", "<pad>"));
    let eos = name("eos_token", "<|endoftext|>");
    let mask = name("mask_token", "<mask>");
    mark_special(
        &mut tokenizer,
        &[(cls, false), (pad, false), (sep, false), (unk, false), (eos, false), (mask, true)],
    )?;
    Ok(tokenizer)
}
