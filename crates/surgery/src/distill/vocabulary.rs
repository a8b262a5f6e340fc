use parallax_data::text::Tokenizer;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The tokens of a teacher that a static model has, and their rows in its table.
pub(super) struct Vocabulary {
    /// Ids of the teacher's tokens that get a vector, ascending.
    embedded: Vec<u32>,
    /// Their ranks by frequency, from 0, as far as the vocabulary's order tells.
    ranks: Vec<usize>,
    /// Their rows in the table.
    places: Vec<usize>,
    rows: usize,
    /// The new `tokenizer.json`.
    json: String,
}

impl Vocabulary {
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Vocabulary> {
        let mut json: Value = serde_json::from_str(&tokenizer.to_json()?)
            .map_err(|e| odd(format!("the tokenizer does not read its own text: {e}")))?;
        let embedded: Vec<u32> = (0..tokenizer.id_bound() as u32)
            .filter(|id| tokenizer.special_ids().binary_search(id).is_err())
            .filter(|&id| tokenizer.token(id).is_some_and(|token| !is_reserved(&token)))
            .collect();
        if embedded.is_empty() {
            return Err(odd("the tokenizer has no tokens but special ones".into()));
        }
        json["truncation"] = Value::Null;
        json["padding"] = Value::Null;
        // A static model adds no special tokens.
        json["post_processor"] = Value::Null;
        let word_piece = json["model"]["type"].as_str() == Some("WordPiece");
        let (places, rows) = match (word_piece, cut(&mut json, tokenizer, &embedded)) {
            (true, Some(cut)) => cut,
            _ => (embedded.iter().map(|&id| id as usize).collect(), tokenizer.id_bound()),
        };
        let ranks = ranks(tokenizer, &embedded);
        Ok(Vocabulary { embedded, ranks, places, rows, json: json.to_string() })
    }

    /// The teacher's ids, in the order of the vocabulary.
    pub(super) fn embedded(&self) -> &[u32] {
        &self.embedded
    }

    /// The ranks of [`embedded`](Self::embedded) by frequency.
    pub(super) fn ranks(&self) -> &[usize] {
        &self.ranks
    }

    /// The rows of [`embedded`](Self::embedded) in the table.
    pub(super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// Rows of the table; those of special tokens are zero.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn tokenizer(&self, teacher: &Tokenizer) -> Result<Tokenizer> {
        Ok(Tokenizer::from_json(&self.json, teacher.max_tokens())?)
    }
}

fn odd(what: String) -> Error {
    Error::Setting { what, hint: "distil from a model with an ordinary tokenizer.json".into() }
}

/// Reserved places of a vocabulary that never occur in a text, as in BERT.
fn is_reserved(token: &str) -> bool {
    let inside = token.strip_prefix("[unused").and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The rank of an ASCII character of the alphabet: the frequency of a common function word.
const ALPHABET: usize = 10;

/// Ranks by frequency. A vocabulary is in the order of frequency, but for the alphabet that it begins with: the single
/// characters before its first longer token. Those of ASCII are taken to be frequent, the others to be the rarest of all.
fn ranks(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<usize> {
    let spelled = |&id: &u32| {
        let token = tokenizer.token(id).unwrap_or_default();
        token.trim_start_matches("##").trim_start_matches(['▁', 'Ġ']).to_owned()
    };
    let words = ids.iter().position(|id| spelled(id).chars().count() > 1).unwrap_or(0);
    let alphabet = |id: &u32| if spelled(id).is_ascii() { ALPHABET } else { ids.len() };
    ids[..words].iter().map(alphabet).chain(0..ids.len() - words).collect()
}

/// Cuts a WordPiece vocabulary to the unknown token, at 0, and the embedded ones, renumbered in their order.
fn cut(json: &mut Value, tokenizer: &Tokenizer, embedded: &[u32]) -> Option<(Vec<usize>, usize)> {
    let unknown = json["model"]["unk_token"].as_str()?.to_owned();
    let mut vocabulary = Map::new();
    vocabulary.insert(unknown.clone(), 0.into());
    for &id in embedded {
        let at = vocabulary.len();
        vocabulary.insert(tokenizer.token(id)?, at.into());
    }
    let added = json["added_tokens"].as_array()?;
    // Tokens that were added to the vocabulary and are no specials, or another unknown token, are rare; ids stay then.
    let renumbered: Option<Vec<Value>> = added
        .iter()
        .filter_map(|token| {
            let content = token["content"].as_str()?;
            let at = vocabulary.get(content)?.clone();
            let mut token = token.clone();
            token["id"] = at;
            Some(Some(token))
        })
        .collect();
    let rows = vocabulary.len();
    if rows != embedded.len() + 1 {
        return None;
    }
    json["model"]["vocab"] = Value::Object(vocabulary);
    json["added_tokens"] = Value::Array(renumbered?);
    Some(((1..rows).collect(), rows))
}
