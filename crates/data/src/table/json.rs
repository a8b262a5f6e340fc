//! One JSON object a line.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Cell;

/// An object whose values are not parsed yet, in the order of the line.
pub(crate) struct Object<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object such as {\"text\": \"...\", \"label\": \"...\"}")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    entries.push((key, value));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The value of a cell. Numbers keep the digits they have in the file.
pub(crate) fn cell(value: &RawValue) -> serde_json::Result<Cell> {
    if !value.get().starts_with('[') {
        return scalar(value);
    }
    let items: Vec<&RawValue> = serde_json::from_str(value.get())?;
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        // A list in a list is not looked into: its depth is the file's choice, and the stack is ours.
        match scalar(item)? {
            Cell::Text(text) => texts.push(text),
            Cell::Missing => return Ok(Cell::Other("a list with null in it")),
            Cell::List(_) | Cell::Other(_) => return Ok(Cell::Other("a nested list")),
        }
    }
    Ok(Cell::List(texts))
}

fn scalar(value: &RawValue) -> serde_json::Result<Cell> {
    let raw = value.get();
    Ok(match raw.as_bytes().first() {
        Some(b'"') => Cell::Text(serde_json::from_str(raw)?),
        Some(b'n') => Cell::Missing,
        Some(b'{') => Cell::Other("an object"),
        Some(b'[') => Cell::Other("a list"),
        _ => Cell::Text(raw.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::{Cell, Object, cell};

    #[test]
    fn values_become_text() {
        let line =
            r#"{"a": "x\n\u00e9", "b": 5.0, "c": true, "d": null, "e": ["p", 2], "f": {}, "g": [["q"]]}"#;
        let Object(entries) = serde_json::from_str(line).unwrap();
        let cells: Vec<_> = entries.iter().map(|(_, value)| cell(value).unwrap()).collect();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(
            cells,
            [
                text("x\né"),
                text("5.0"),
                text("true"),
                Cell::Missing,
                Cell::List(vec!["p".to_owned(), "2".to_owned()]),
                Cell::Other("an object"),
                Cell::Other("a nested list"),
            ]
        );
        assert_eq!(entries[4].0, "e");
    }

    #[test]
    fn a_lone_surrogate_is_an_error_and_deep_nesting_does_not_overflow() {
        let Object(entries) = serde_json::from_str(r#"{"a": "\ud800"}"#).unwrap();
        assert!(cell(entries[0].1).is_err());
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        if let Ok(Object(entries)) = serde_json::from_str(&deep) {
            assert!(cell(entries[0].1).is_ok_and(|cell| matches!(cell, Cell::Other(_))));
        }
    }
}
