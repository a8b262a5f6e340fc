//! Text from outside, made safe to stand in a page.

use std::borrow::Cow;

/// Appends `text` to `html` so that it is shown and never read as markup, in an element or a quoted attribute.
pub(crate) fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.extend(shown(c)),
        }
    }
}

/// The character to show for `c`: control characters as their pictures, marks that reorder what follows not at all.
fn shown(c: char) -> Option<char> {
    match c {
        '\n' | '\t' => Some(c),
        '\r' => None,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some(char::REPLACEMENT_CHARACTER),
        // Embeddings, overrides and isolates; the page isolates each text itself.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => None,
        '\u{fffe}' | '\u{ffff}' => Some(char::REPLACEMENT_CHARACTER),
        _ => Some(c),
    }
}

/// `text` as [`escape`] shows it, without the escapes; for data that a script puts into text nodes.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter_map(shown).collect()
}

/// A JSON value that can stand in a `script` element: nothing in it can end the element.
pub(crate) fn script_json(value: &serde_json::Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// At most `most` characters on one line: runs of white space become one space, and an ellipsis says that more follows.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        if length > 0 {
            out.push(' ');
            length += 1;
        }
        for c in word.chars() {
            out.push(c);
            length += 1;
            if length > most {
                return cut(&out, most).into_owned();
            }
        }
    }
    out
}

/// At most `most` characters, white space kept, with an ellipsis where something was left out.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let end = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
            Cow::Owned(format!("{}…", text[..end].trim_end()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_quotes_and_controls() {
        let mut html = String::new();
        escape(&mut html, "<b a='1' c=\"2\">&\0\u{202e}\u{7f}</b>\r\n");
        assert_eq!(html, "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\u{2400}\u{2421}&lt;/b&gt;\n");
        let json = script_json(&serde_json::json!("</script><!--&\u{2028}"));
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "</script><!--&\u{2028}");
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shorten("  a \n b\t c ", 5), "a b c");
        assert_eq!(shorten("äöü äöü", 4), "äöü…");
        assert_eq!(shorten(&"x".repeat(1000), 10), format!("{}…", "x".repeat(9)));
        assert_eq!(cut("a\nb", 3), "a\nb");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(shorten("", 3), "");
    }
}
