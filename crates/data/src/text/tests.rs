use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{SpecialTokens, Tokenizer};

const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhow\ntrack\n##ing\n##s\n?\ncaf\n##e\n日\nHow\n";

fn special(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": false})
}

/// A WordPiece `tokenizer.json` with truncation and padding of its own, which must not be used.
fn word_piece() -> Value {
    let vocab: serde_json::Map<String, Value> =
        VOCAB.lines().zip(0..).map(|(token, id)| (token.to_owned(), json!(id))).collect();
    json!({
        "version": "1.0",
        "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]"),
                         special(4, "[MASK]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                               "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab}
    })
}

/// Unigram over characters and pieces with scores; `▁` marks the start of a word.
fn unigram() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
                  "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁", -3.0], ["a", -3.0], ["b", -3.0],
                            ["▁ab", -2.0], ["ab", -4.0], ["▁a", -5.0]]}
    })
}

const BPE_VOCAB: &str = r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "l": 4, "o": 5, "w": 6, "lo": 7, "low": 8,
    "Ġ": 9, "Ġlow": 10, "<mask>": 11, "Ġl": 12}"#;
const BPE_MERGES: &str = "#version: 0.2\nl o\nlo w\nĠ low\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text).unwrap().ids
}

#[test]
fn word_piece_from_json_and_from_its_vocabulary_agree() {
    let json = folder(&[("tokenizer.json", &word_piece().to_string())]);
    let vocab = folder(&[("vocab.txt", VOCAB)]);
    for folder in [json, vocab] {
        let tokenizer = Tokenizer::from_folder(folder.path(), 16).unwrap();
        // [CLS] how track ##ing ? 日 caf ##e [UNK] [SEP]: lower case, no accents, CJK apart, no padding, no cut at 3.
        assert_eq!(ids(&tokenizer, "How Tracking?日 Café xyz"), [2, 5, 6, 7, 9, 12, 10, 11, 1, 3]);
        assert_eq!(ids(&tokenizer, ""), [2, 3]);
        assert_eq!(ids(&tokenizer, "how [MASK]"), [2, 5, 4, 3]);
        assert_eq!(tokenizer.special_ids(), [0, 1, 2, 3, 4]);
        let expected = SpecialTokens {
            pad: Some(0),
            unk: Some(1),
            cls: Some(2),
            sep: Some(3),
            mask: Some(4),
            ..SpecialTokens::default()
        };
        assert_eq!(*tokenizer.special(), expected);
        assert_eq!((tokenizer.pad_id(), tokenizer.vocab_size(), tokenizer.added_tokens()), (0, 14, 2));
        assert_eq!((tokenizer.token_id("##ing"), tokenizer.token(7).as_deref()), (Some(7), Some("##ing")));
        assert_eq!(tokenizer.decode(&[2, 5, 6, 7, 9, 3]).unwrap(), "how tracking?");
    }
}

#[test]
fn settings_beside_a_vocabulary_are_followed() {
    let config =
        r#"{"do_lower_case": false, "tokenizer_class": "BertTokenizer", "cls_token": {"content": "how"}}"#;
    let folder = folder(&[("vocab.txt", VOCAB), ("tokenizer_config.json", config)]);
    let tokenizer = Tokenizer::from_folder(folder.path(), 16).unwrap();
    assert_eq!(ids(&tokenizer, "How"), [5, 13, 3]);
    assert_eq!(tokenizer.special().cls, Some(5));
}

#[test]
fn texts_are_cut_at_the_right_with_the_special_tokens_counted() {
    let folder = folder(&[("tokenizer.json", &word_piece().to_string())]);
    let tokenizer = Tokenizer::from_folder(folder.path(), 4).unwrap();
    assert_eq!(ids(&tokenizer, "how track how"), [2, 5, 6, 3]);
    assert_eq!(ids(&tokenizer, "how track"), [2, 5, 6, 3]);
    let shorter = tokenizer.clone().with_max_tokens(3).unwrap();
    assert_eq!(ids(&shorter, "how track how"), [2, 5, 3]);
    assert_eq!(shorter.max_tokens(), 3);
    let error = tokenizer.with_max_tokens(2).unwrap_err().to_string();
    assert!(error.contains("max_seq_length is 2; it must be above 2"), "{error}");
    assert!(Tokenizer::from_folder(folder.path(), 0).is_err());
}

#[test]
fn byte_level_bpe_from_its_vocabulary() {
    let folder = folder(&[("vocab.json", BPE_VOCAB), ("merges.txt", BPE_MERGES)]);
    let tokenizer = Tokenizer::from_folder(folder.path(), 16).unwrap();
    // <s> low Ġlow l o o </s>
    assert_eq!(ids(&tokenizer, "low lowloo"), [0, 8, 10, 7, 5, 2]);
    assert_eq!((tokenizer.special().cls, tokenizer.special().sep, tokenizer.pad_id()), (Some(0), Some(2), 1));
    let gpt = r#"{"tokenizer_class": "GPT2Tokenizer"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), gpt).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path(), 16).unwrap();
    assert_eq!(ids(&tokenizer, "low"), [8]);
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"add_prefix_space": true}"#).unwrap();
    assert_eq!(ids(&Tokenizer::from_folder(folder.path(), 16).unwrap(), "low"), [0, 10, 2]);
}

#[test]
fn unigram_takes_the_likeliest_cut() {
    let folder = folder(&[("tokenizer.json", &unigram().to_string())]);
    let tokenizer = Tokenizer::from_folder(folder.path(), 16).unwrap();
    // ▁ab costs 2, against ▁ + ab at 7 and ▁a + b at 8; a second "ab" costs 4 against 6; "c" is unknown.
    assert_eq!(ids(&tokenizer, "abab"), [6, 7, 1]);
    assert_eq!(ids(&tokenizer, "b c"), [3, 5, 3, 2, 1]);
    assert_eq!(tokenizer.pad_id(), 0);
    assert_eq!(tokenizer.decode(&[6, 7, 1]).unwrap(), "abab");
}

#[test]
fn a_batch_is_its_texts_one_by_one_on_any_number_of_threads() {
    let folder = folder(&[("tokenizer.json", &word_piece().to_string())]);
    let tokenizer = Tokenizer::from_folder(folder.path(), 8).unwrap();
    let texts: Vec<String> = (0..300).map(|i| "how tracks? ".repeat(i % 5) + &"x".repeat(i % 3)).collect();
    let one_by_one: Vec<_> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| tokenizer.encode_batch(&texts)).unwrap(), one_by_one);
    }
    assert!(!tokenizers::utils::parallelism::get_parallelism());
}

#[test]
fn files_are_saved_byte_for_byte() {
    let json = word_piece().to_string() + "\n\n";
    let files = [("tokenizer.json", json.as_str()), ("vocab.txt", VOCAB), ("special_tokens_map.json", "{ }")];
    let source = folder(&files);
    let tokenizer = Tokenizer::from_folder(source.path(), 8).unwrap();
    drop(source);
    let target = tempfile::tempdir().unwrap();
    tokenizer.save(target.path()).unwrap();
    for (name, text) in files {
        assert_eq!(std::fs::read_to_string(target.path().join(name)).unwrap(), text);
    }
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 3);
    assert!(tokenizer.save(target.path().join("absent")).is_err());
}

#[test]
fn what_cannot_be_read_is_named() {
    let refused = |files: &[(&str, &str)]| {
        let folder = folder(files);
        Tokenizer::from_folder(folder.path(), 8).unwrap_err().to_string()
    };
    let nothing = refused(&[]);
    assert!(
        nothing.contains("looked for tokenizer.json, vocab.txt, and vocab.json with merges.txt"),
        "{nothing}"
    );
    assert!(refused(&[("spiece.model", "x")]).contains("spiece.model alone is not read"));
    assert!(refused(&[("vocab.json", BPE_VOCAB)]).contains("looked for"));
    assert!(refused(&[("tokenizer.json", "{}")]).contains("tokenizer.json: "));
    assert!(refused(&[("tokenizer.json", "")]).contains("tokenizer.json: "));
    assert!(refused(&[("vocab.txt", "")]).contains("the vocabulary is empty"));
    assert!(refused(&[("vocab.txt", "a\nb\n")]).contains("lacks the special token \"[UNK]\""));
    assert!(
        refused(&[("vocab.txt", VOCAB), ("tokenizer_config.json", "[")]).contains("tokenizer_config.json: ")
    );
    let class = r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#;
    let japanese = refused(&[("vocab.txt", VOCAB), ("tokenizer_config.json", class)]);
    assert!(japanese.contains("BertJapaneseTokenizer needs its tokenizer.json"), "{japanese}");
    let clip = r#"{"tokenizer_class": "CLIPTokenizer"}"#;
    let files = [("vocab.json", BPE_VOCAB), ("merges.txt", BPE_MERGES), ("tokenizer_config.json", clip)];
    assert!(refused(&files).contains("CLIPTokenizer needs its tokenizer.json"));
    let merges = refused(&[("vocab.json", BPE_VOCAB), ("merges.txt", "l o\nlow\n")]);
    assert!(merges.contains("row 2: expected two tokens, found \"low\""), "{merges}");
    assert!(refused(&[("vocab.json", BPE_VOCAB), ("merges.txt", "x y\n")]).contains("vocab.json: "));
}

/// Compares with a real tokenizer where its folder is named by `PARALLAX_TOKENIZER`.
#[test]
fn a_real_vocabulary_and_its_json_agree() {
    let Some(source) = std::env::var_os("PARALLAX_TOKENIZER").map(PathBuf::from) else {
        println!("skipped: PARALLAX_TOKENIZER names no folder with tokenizer.json and vocab.txt");
        return;
    };
    let old = tempfile::tempdir().unwrap();
    for name in ["vocab.txt", "tokenizer_config.json", "special_tokens_map.json"] {
        std::fs::copy(source.join(name), old.path().join(name)).unwrap();
    }
    let json = Tokenizer::from_folder(&source, 256).unwrap();
    let old = Tokenizer::from_folder(old.path(), 256).unwrap();
    assert_eq!(json.special(), old.special());
    let mut texts: Vec<String> =
        vec!["Ça été  日本語 naïve\u{0}\u{200b} e\u{301} [MASK] ＡＢＣ 🤖!".to_owned(), String::new()];
    if let Some(folder) = crate::real_data::folder("banking77") {
        let file = std::fs::read_to_string(folder.join("test.csv")).unwrap();
        texts.extend(file.lines().map(str::to_owned));
        texts.push(file);
    }
    for text in texts {
        assert_eq!(json.encode(&text).unwrap(), old.encode(&text).unwrap(), "{text:.200}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_encodes_within_the_limit(text in any::<String>(), limit in 3usize..20) {
        let folders = [
            folder(&[("tokenizer.json", &word_piece().to_string())]),
            folder(&[("tokenizer.json", &unigram().to_string())]),
            folder(&[("vocab.json", BPE_VOCAB), ("merges.txt", BPE_MERGES)]),
        ];
        for folder in folders {
            let tokenizer = Tokenizer::from_folder(folder.path(), limit).unwrap();
            let ids = ids(&tokenizer, &text);
            prop_assert!(ids.len() <= limit && ids.len() >= tokenizer.added_tokens());
            prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        }
    }

    #[test]
    fn a_damaged_tokenizer_never_panics(place in any::<proptest::sample::Index>(), with in "[0-9a-z\\[\\]{},\"-]{0,2}", unigram_file in any::<bool>()) {
        let mut text = if unigram_file { unigram() } else { word_piece() }.to_string();
        let mut place = place.index(text.len());
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        let width = text[place..].chars().next().map_or(0, char::len_utf8);
        text.replace_range(place..place + width, &with);
        let folder = folder(&[("tokenizer.json", &text)]);
        if let Ok(tokenizer) = Tokenizer::from_folder(folder.path(), 16) {
            let _ = tokenizer.encode("how tracking? abab c");
        }
    }
}

/// The ids by the library alone.
fn by_library(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.inner.encode_fast(text, tokenizer.add_special).unwrap().get_ids().to_vec()
}

/// The ids by the short way; `None` where the text goes the long way.
fn by_short_way(tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
    let room = tokenizer.max_tokens - tokenizer.added_tokens;
    tokenizer.simple.as_ref().unwrap().encode(text, room, tokenizer.add_special)
}

#[test]
fn the_short_way_is_taken_by_simple_texts_only() {
    let tokenizer = Tokenizer::from_json(&word_piece().to_string(), 8).unwrap();
    let short = |text: &str| by_short_way(&tokenizer, text);
    assert_eq!(short("How tracking?\u{2019}s").unwrap(), [2, 5, 6, 7, 9, 1, 1, 3]);
    assert_eq!(short("how how how how how how how tracks"), Some(vec![2, 5, 5, 5, 5, 5, 5, 3]), "cut to 8");
    assert_eq!(short(""), Some(vec![2, 3]));
    assert_eq!(short("tra\u{1}ck\u{7f}s"), Some(vec![2, 6, 8, 3]), "control characters are dropped");
    assert_eq!(short("track[SEP]s"), None, "a special token in the text");
    assert_eq!(short("caf\u{e9}"), None, "an accent");
    assert_eq!(short(&"a".repeat(101)), Some(vec![2, 1, 3]), "a word that is too long");
    // Whatever is not plain BERT has no short way.
    for change in [
        json!({"normalizer": null}),
        json!({"normalizer": {"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": true,
                              "strip_accents": null, "lowercase": true}}),
        json!({"pre_tokenizer": {"type": "Whitespace"}}),
        json!({"added_tokens": [{"id": 5, "content": "how", "special": false, "single_word": false,
                                 "lstrip": false, "rstrip": false, "normalized": true}]}),
    ] {
        let mut other = word_piece();
        let fields = change.as_object().unwrap().clone();
        other.as_object_mut().unwrap().extend(fields);
        assert!(Tokenizer::from_json(&other.to_string(), 8).unwrap().simple.is_none(), "{change}");
    }
    assert!(Tokenizer::from_json(&unigram().to_string(), 8).unwrap().simple.is_none());
}

#[test]
fn the_short_way_agrees_with_the_library_on_real_texts() {
    let json = include_str!("../../../parallax/assets/starter/0_StaticEmbedding/tokenizer.json");
    let sample = include_str!("../../../parallax/assets/quickstart/energy.csv");
    let tokenizer = Tokenizer::from_json(json, 1 << 20).unwrap();
    let mut short = 0;
    // Any text will do: here the lines of the file, quotation marks, commas and all.
    for line in sample.lines() {
        if let Some(ids) = by_short_way(&tokenizer, line) {
            assert_eq!(ids, by_library(&tokenizer, line), "{line}");
            short += 1;
        }
    }
    let lines = sample.lines().count();
    assert!(short * 100 >= lines * 98, "{short} of {lines}");
}

proptest! {
    #[test]
    fn the_short_way_agrees_with_the_library(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "how", "How", "HOW", "track", "ing", "s", "##s", "##", "?", "caf", "e", " ", "  ", "\t", "\n", "\r", "\0",
                "\u{b}", "\u{c}", "\u{1c}", "\u{7f}", "-", "_", "'", "\u{2019}", "\u{2026}", "\u{201c}", "\u{2014}", "\u{2022}",
                "\u{a3}", "\u{20ac}", "\u{b0}", "7", "[", "]", "[CLS]", "[MASK]", "\u{e9}", "e\u{301}", "\u{65e5}", "\u{fffd}",
            ]),
            0..24,
        ),
        limit in 3usize..20,
        framed in proptest::bool::ANY,
    ) {
        let text = parts.concat();
        let mut json = word_piece();
        // Longer words are unknown, and pieces of every letter of a word make many tokens.
        json["model"]["max_input_chars_per_word"] = 12.into();
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        for (token, id) in ["7", "##7", "\u{a3}", "##\u{a3}", "-", "\u{2019}", "##how", "h", "##w", "##o"].into_iter().zip(14..) {
            vocabulary.insert(token.to_owned(), id.into());
        }
        let mut tokenizer = Tokenizer::from_json(&json.to_string(), limit).unwrap();
        if !framed {
            tokenizer = tokenizer.without_special_tokens();
        }
        let library = by_library(&tokenizer, &text);
        if let Some(ids) = by_short_way(&tokenizer, &text) {
            prop_assert_eq!(&ids, &library, "{:?}", text);
        }
        prop_assert_eq!(tokenizer.encode(&text).unwrap().ids, library);
    }
}
