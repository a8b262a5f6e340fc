use super::Constant;
use crate::error::FilterError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name or a word of the language, as it was written.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// A number or a text.
    Constant(Constant),
    /// An operator, a parenthesis or a comma.
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The place of the first character, counted from 1.
    pub(super) position: usize,
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own.eq_ignore_ascii_case(word))
    }

    /// What stands there, for messages.
    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(word) => format!("`{}`", shorten(word)),
            Kind::Quoted(name) => format!("`\"{}\"`", shorten(name)),
            Kind::Constant(Constant::String(text)) => format!("`'{}'`", shorten(text)),
            Kind::Constant(_) => "a number".to_owned(),
            Kind::Symbol(symbol) => format!("`{symbol}`"),
            Kind::End => "the end".to_owned(),
        }
    }
}

pub(super) fn shorten(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const SYMBOLS: [&str; 10] = ["<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ","];

/// The tokens of a filter, the last of which is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let (c, start) = (characters[at], at);
        let error = |problem: String| FilterError::new(text, start + 1, problem);
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let kind = if c == '\'' || c == '"' {
            let (content, end) = quoted(&characters, at).ok_or_else(|| {
                error(format!("the quote that opens here is never closed; {c}{c} stands for one inside"))
            })?;
            at = end;
            if c == '\'' { Kind::Constant(Constant::String(content)) } else { Kind::Quoted(content) }
        } else if c.is_ascii_digit()
            || matches!(c, '-' | '+' | '.')
                && characters.get(at + 1).is_some_and(|n| n.is_ascii_digit() || *n == '.')
        {
            at += 1;
            while let Some(&next) = characters.get(at) {
                let sign = matches!(next, '-' | '+') && matches!(characters[at - 1], 'e' | 'E');
                if !(next.is_alphanumeric() || matches!(next, '.' | '_') || sign) {
                    break;
                }
                at += 1;
            }
            let spelled: String = characters[start..at].iter().collect();
            Kind::Constant(number(&spelled).ok_or_else(|| {
                error(format!("`{}` is not a number", shorten(&spelled)))
                    .advise("put texts in single quotes, and names that begin with a digit in double quotes")
            })?)
        } else if c.is_alphabetic() || c == '_' {
            while characters.get(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) {
                at += 1;
            }
            Kind::Word(characters[start..at].iter().collect())
        } else {
            let rest = &characters[at..];
            let found = SYMBOLS
                .iter()
                .find(|symbol| symbol.chars().zip(rest).filter(|(a, b)| a == *b).count() == symbol.len());
            let symbol = *found.ok_or_else(|| error(format!("`{c}` has no meaning here")))?;
            at += symbol.len();
            if symbol == "=" && characters.get(at) == Some(&'=') {
                return Err(error("`==` is not an operator".into()).advise("write = for equality"));
            }
            Kind::Symbol(symbol)
        };
        tokens.push(Token { kind, position: start + 1 });
    }
    tokens.push(Token { kind: Kind::End, position: characters.len() + 1 });
    Ok(tokens)
}

/// The content of the quotes that open at `at`, and the place after them.
fn quoted(characters: &[char], at: usize) -> Option<(String, usize)> {
    let quote = characters[at];
    let mut content = String::new();
    let mut at = at + 1;
    loop {
        match (*characters.get(at)?, characters.get(at + 1)) {
            (c, Some(&next)) if c == quote && next == quote => {
                content.push(quote);
                at += 2;
            }
            (c, _) if c == quote => return Some((content, at + 1)),
            (c, _) => {
                content.push(c);
                at += 1;
            }
        }
    }
}

fn number(spelled: &str) -> Option<Constant> {
    if !spelled.contains(|c: char| c.is_ascii_digit())
        || spelled.contains(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E')))
    {
        return None;
    }
    match spelled.parse() {
        Ok(whole) => Some(Constant::I64(whole)),
        Err(_) => spelled.parse().ok().filter(|value: &f64| value.is_finite()).map(Constant::F64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_places_in_characters() {
        let kinds = |text: &str| -> Vec<(Kind, usize)> {
            tokens(text).unwrap().into_iter().map(|t| (t.kind, t.position)).collect()
        };
        let (word, symbol) = (|w: &str| Kind::Word(w.to_owned()), Kind::Symbol);
        assert_eq!(
            kinds("größe<=-1.5e-3,'it''s' \"a \"\"b\"\n7"),
            [
                (word("größe"), 1),
                (symbol("<="), 6),
                (Kind::Constant(Constant::F64(-1.5e-3)), 8),
                (symbol(","), 15),
                (Kind::Constant(Constant::String("it's".into())), 16),
                (Kind::Quoted("a \"b".into()), 24),
                (Kind::Constant(Constant::I64(7)), 32),
                (Kind::End, 33),
            ]
        );
        assert_eq!(kinds("a<>b")[1].0, symbol("<>"));
        assert_eq!(
            kinds("9223372036854775808")[0].0,
            Kind::Constant(Constant::F64(9.223_372_036_854_776e18))
        );
        for (text, position) in [
            ("a = 'x", 5),
            ("a ; b", 3),
            ("a == 1", 3),
            ("12ab", 1),
            ("1.2.3", 1),
            ("a - b", 3),
            ("1e999", 1),
            ("a \"", 3),
        ] {
            assert_eq!(tokens(text).unwrap_err().position, position, "{text}");
        }
    }
}
