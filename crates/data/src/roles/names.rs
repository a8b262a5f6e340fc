//! Names that columns have by convention. Case does not matter.

pub(super) const TEXT: &[&str] = &["text", "sentence", "utterance", "content", "body"];
pub(super) const LABEL: &[&str] = &["label", "labels", "category", "class", "intent", "target", "topic"];
pub(super) const ANCHOR: &[&str] = &[
    "anchor",
    "query",
    "question",
    "premise",
    "prompt",
    "sentence1",
    "sentence_1",
    "sentence_a",
    "text1",
    "text_1",
    "text_a",
    "s1",
];
pub(super) const POSITIVE: &[&str] = &[
    "positive",
    "pos",
    "answer",
    "response",
    "hypothesis",
    "document",
    "passage",
    "sentence2",
    "sentence_2",
    "sentence_b",
    "text2",
    "text_2",
    "text_b",
    "s2",
];
pub(super) const NEGATIVE: &[&str] = &["negative", "negatives", "neg", "hard_negative", "hard_negatives"];
pub(super) const SCORE: &[&str] = &["score", "scores", "similarity", "similarity_score"];
pub(super) const SPLIT: &[&str] = &["split"];
pub(super) const ID: &[&str] = &["id", "_id", "idx", "guid"];

/// Whether this is a column's name by convention, as opposed to a value.
pub(crate) fn is_conventional(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    let known = [TEXT, LABEL, ANCHOR, POSITIVE, NEGATIVE, SCORE, SPLIT, ID];
    known.iter().any(|names| names.contains(&name.as_str()))
        || numbered_negative(&name).is_some()
        || candidate_score(&name).is_some()
}

/// The number of `negative_7` or `neg7`, in lower case.
pub(super) fn numbered_negative(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("negative").or_else(|| name.strip_prefix("neg"))?;
    let digits = rest.strip_prefix('_').unwrap_or(rest);
    if digits.is_empty() || digits.len() > 9 { None } else { digits.parse().ok() }
}

/// The place among the candidates of a list, the positive first, of a column with the score of one: `score_2`, `positive_score`,
/// `negative_score_1`, in lower case.
pub(super) fn candidate_score(name: &str) -> Option<u32> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = if digits.is_empty() { None } else { Some(digits.parse::<u32>().ok()?) };
    let words: Vec<&str> = name.strip_suffix(digits)?.split('_').filter(|word| !word.is_empty()).collect();
    match (&words[..], number) {
        (["score"], Some(_)) => number,
        (["positive" | "pos", "score"] | ["score", "positive" | "pos"], None) => Some(0),
        (["negative" | "neg", "score"] | ["score", "negative" | "neg"], _) => {
            number.unwrap_or(0).checked_add(1)
        }
        _ => None,
    }
}

/// A side of a pair or a triplet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Anchor,
    Positive,
    Negative,
}

/// The side that a word inside a longer name speaks for, and the word: `user_question`, `posText`, `hard negative`. Nothing
/// where words speak for two sides.
pub(super) fn side(name: &str) -> Option<(Side, String)> {
    const WORDS: &[(&str, Side)] = &[
        ("anchor", Side::Anchor),
        ("query", Side::Anchor),
        ("question", Side::Anchor),
        ("premise", Side::Anchor),
        ("prompt", Side::Anchor),
        ("pos", Side::Positive),
        ("positive", Side::Positive),
        ("answer", Side::Positive),
        ("response", Side::Positive),
        ("reply", Side::Positive),
        ("hypothesis", Side::Positive),
        ("document", Side::Positive),
        ("passage", Side::Positive),
        ("chosen", Side::Positive),
        ("neg", Side::Negative),
        ("negative", Side::Negative),
        ("rejected", Side::Negative),
    ];
    let mut found: Option<(Side, String)> = None;
    // `negative answer` and `rejected response` are negatives, whatever the other word.
    for word in words(name) {
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let Some(&(known, side)) = WORDS.iter().find(|(known, _)| *known == word) else { continue };
        match &found {
            Some((Side::Negative, _)) => {}
            Some((other, _)) if *other == side => {}
            Some(_) if side != Side::Negative => return None,
            _ => found = Some((side, known.to_owned())),
        }
    }
    found
}

/// Whether a word of the name says that it holds a similarity.
pub(super) fn speaks_of_a_score(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| matches!(word.as_str(), "score" | "scores" | "similarity" | "sim" | "relatedness"))
}

/// The words of `snake_case`, `camelCase`, `two words` and the like, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && lower_before {
            words.push(String::new());
        }
        lower_before = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::{Side, candidate_score, is_conventional, side, words};

    #[test]
    fn words_of_a_name_speak_for_a_side() {
        assert_eq!(words("userQuestion_text 2"), ["user", "question", "text", "2"]);
        assert_eq!(words("ÄrgerÜber--x"), ["ärger", "über", "x"]);
        let found = |name| side(name).map(|(side, _)| side);
        assert_eq!(found("userQuestion"), Some(Side::Anchor));
        assert_eq!(found("pos_text"), Some(Side::Positive));
        assert_eq!(found("hard negative"), Some(Side::Negative));
        assert_eq!(found("rejected_response"), Some(Side::Negative));
        assert_eq!(found("neg1"), Some(Side::Negative));
        assert_eq!(found("question_answer"), None);
        assert_eq!(found("position"), None);
        let places = [
            "score_1",
            "score2",
            "positive_score",
            "score_neg",
            "negative_score_3",
            "score",
            "score_a",
            "neg_2",
        ];
        let found = places.map(candidate_score);
        assert_eq!(found, [Some(1), Some(2), Some(0), Some(1), Some(4), None, None, None]);
        assert!(is_conventional(" Sentence1") && is_conventional("neg_3") && !is_conventional("A plane."));
    }
}
