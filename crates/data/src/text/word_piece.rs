//! BERT's tokenizer without the general machinery, for texts that need none of it.
//!
//! The general library normalises a text, keeps track of where each character came from, and splits it several times. A text
//! of ASCII and a few more characters has one spelling only: it is read once, word by word, and each word is looked up. The
//! ids are the same; a text with anything else in it is left to the library.

use tokenizers::{Model, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// BERT's tokenizer over a vocabulary.
#[derive(Debug)]
pub(super) struct WordPiece {
    first: Pieces,
    /// Pieces that go on within a word, without their prefix.
    further: Pieces,
    unknown: u32,
    /// Characters of the longest word that is not unknown as a whole.
    longest_word: usize,
    lowercase: bool,
    /// Tokens that are found in the text before it is split into words.
    added: Vec<Vec<u8>>,
    /// Whether one of them begins with this byte.
    begins: [bool; 256],
    /// Ids around every text.
    before: Vec<u32>,
    after: Vec<u32>,
}

/// What a character is to the splitting of words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    /// Dropped.
    Control,
    /// A word of its own.
    Punctuation,
    Letter,
}

impl WordPiece {
    /// The same tokenizer, where it is one that this module knows.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Option<WordPiece> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        let added = tokenizer.get_added_tokens_decoder();
        let known = normalizer.clean_text
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            && tokenizer.get_truncation().is_none()
            && added.values().all(|token| !token.normalized && !token.content.is_empty());
        let unknown = model.token_to_id(&model.unk_token).filter(|_| known)?;
        let (mut first, mut further) = (Pieces::default(), Pieces::default());
        let vocabulary = model.get_vocab();
        first.reserve(vocabulary.len());
        further.reserve(vocabulary.len());
        for (piece, id) in &vocabulary {
            first.insert(piece.as_bytes(), *id);
            if let Some(rest) = piece.strip_prefix(&model.continuing_subword_prefix) {
                further.insert(rest.as_bytes(), *id);
            }
        }
        let (before, after) = frame(tokenizer)?;
        let added: Vec<Vec<u8>> = added.into_values().map(|token| token.content.into_bytes()).collect();
        let mut begins = [false; 256];
        added.iter().for_each(|token| begins[usize::from(token[0])] = true);
        Some(WordPiece {
            first,
            further,
            unknown,
            longest_word: model.max_input_chars_per_word,
            lowercase: normalizer.lowercase,
            added,
            begins,
            before,
            after,
        })
    }

    /// The ids of a text, no more than `limit` of its own; `framed` with those around every text. `None` for a text that
    /// the library must see.
    pub(super) fn encode(&self, text: &str, limit: usize, framed: bool) -> Option<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + self.before.len() + self.after.len() + 1);
        if framed {
            ids.extend(&self.before);
        }
        let end = ids.len().saturating_add(limit);
        let mut word = Word::default();
        for (at, c) in text.char_indices() {
            let rest = &text.as_bytes()[at..];
            if self.begins[usize::from(rest[0])] && self.added.iter().any(|token| rest.starts_with(token)) {
                return None;
            }
            match kind(c)? {
                Kind::Control => {}
                Kind::Letter => word.push(if self.lowercase { c.to_ascii_lowercase() } else { c }),
                Kind::Space => self.look_up(&mut word, &mut ids),
                Kind::Punctuation => {
                    self.look_up(&mut word, &mut ids);
                    word.push(c);
                    self.look_up(&mut word, &mut ids);
                }
            }
            if ids.len() >= end {
                break;
            }
        }
        self.look_up(&mut word, &mut ids);
        ids.truncate(end);
        if framed {
            ids.extend(&self.after);
        }
        Some(ids)
    }

    /// Appends the pieces of a word, longest first from its beginning, and empties it.
    fn look_up(&self, word: &mut Word, ids: &mut Vec<u32>) {
        let begun = ids.len();
        let (mut pieces, mut rest) = (&self.first, &word.bytes[..]);
        if word.characters > self.longest_word {
            ids.push(self.unknown);
            rest = &[];
        }
        while !rest.is_empty() {
            match pieces.longest(rest, &mut word.hashes) {
                Some((length, id)) => {
                    ids.push(id);
                    rest = &rest[length..];
                }
                None => {
                    ids.truncate(begun);
                    ids.push(self.unknown);
                    break;
                }
            }
            pieces = &self.further;
        }
        word.bytes.clear();
        word.characters = 0;
    }
}

/// `None` for a character that is left to the library.
fn kind(c: char) -> Option<Kind> {
    Some(match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Kind::Letter,
        ' ' | '\t' | '\n' | '\r' => Kind::Space,
        '\0'..'\u{80}' if c.is_ascii_punctuation() => Kind::Punctuation,
        '\0'..'\u{80}' => Kind::Control,
        // Characters of texts in English that are their own lower case and have no parts: dashes, quotation marks, dots.
        '\u{2013}' | '\u{2014}' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{2022}'
        | '\u{2026}' => Kind::Punctuation,
        '£' | '€' | '°' => Kind::Letter,
        _ => return None,
    })
}

/// The ids that the tokenizer puts before and after every text; `None` where that cannot be told.
fn frame(tokenizer: &tokenizers::Tokenizer) -> Option<(Vec<u32>, Vec<u32>)> {
    let ids = |text: &str, framed| Some(tokenizer.encode_fast(text, framed).ok()?.get_ids().to_vec());
    let found = |text: &str| {
        let (bare, framed) = (ids(text, false)?, ids(text, true)?);
        let mut places = framed.windows(bare.len().max(1)).enumerate().filter(|(_, window)| *window == bare);
        match (places.next(), places.next()) {
            (Some((at, _)), None) => Some((framed[..at].to_vec(), framed[at + bare.len()..].to_vec())),
            _ => None,
        }
    };
    let frame = found("a b")?;
    (found("c")? == frame).then_some(frame)
}

/// A word as it is looked up, and room to work in.
#[derive(Default)]
struct Word {
    bytes: Vec<u8>,
    characters: usize,
    hashes: Vec<u64>,
}

impl Word {
    fn push(&mut self, c: char) {
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.characters += 1;
    }
}

/// Pieces by their bytes: a table with open addresses.
#[derive(Debug, Default)]
struct Pieces {
    /// Bytes of all pieces, one after another.
    bytes: Vec<u8>,
    /// A power of two, at least twice as many as there are pieces.
    slots: Vec<Option<Slot>>,
    longest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    start: u32,
    length: u16,
    id: u32,
}

/// Fowler, Noll and Vo's hash (FNV-1a, 64 bits): that of every beginning of a word comes of the one before.
const START: u64 = 0xcbf2_9ce4_8422_2325;

fn add(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Its low bits depend on the last byte most; the upper half is mixed in.
fn folded(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

impl Pieces {
    fn reserve(&mut self, pieces: usize) {
        self.slots = vec![None; (2 * pieces).next_power_of_two().max(2)];
    }

    /// No more pieces than room was reserved for. One that is too long for any word is left out.
    fn insert(&mut self, piece: &[u8], id: u32) {
        let (Ok(length), Ok(start)) = (u16::try_from(piece.len()), u32::try_from(self.bytes.len())) else {
            return;
        };
        let hash = folded(piece.iter().fold(START, |hash, &byte| add(hash, byte)));
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].is_some() {
            at = (at + 1) & mask;
        }
        self.slots[at] = Some(Slot { hash, start, length, id });
        self.bytes.extend_from_slice(piece);
        self.longest = self.longest.max(piece.len());
    }

    /// The longest piece that `text` begins with: its length and its id.
    fn longest(&self, text: &[u8], hashes: &mut Vec<u64>) -> Option<(usize, u32)> {
        let text = &text[..text.len().min(self.longest)];
        hashes.clear();
        let mut hash = START;
        hashes.extend(text.iter().map(|&byte| {
            hash = add(hash, byte);
            hash
        }));
        (1..=text.len())
            .rev()
            .find_map(|length| Some((length, self.find(&text[..length], folded(hashes[length - 1]))?)))
    }

    fn find(&self, piece: &[u8], hash: u32) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(slot) = &self.slots[at] {
            let start = slot.start as usize;
            if slot.hash == hash && self.bytes[start..start + usize::from(slot.length)] == *piece {
                return Some(slot.id);
            }
            at = (at + 1) & mask;
        }
        None
    }
}
