//! Attributes: typed columns beside the vectors.

mod builder;
mod column;
mod spelled;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::format::ColumnEntry;

pub(crate) use builder::ColumnBuilder;
pub(crate) use column::{Column, View};
pub use spelled::SpelledColumn;

/// One row's attributes: names and values, as JSON.
pub type Attributes = serde_json::Map<String, Json>;

/// The type of an attribute, which is that of the first value that is not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttributeKind {
    /// Every value so far is null.
    Null,
    /// Truth values.
    Bool,
    /// Whole numbers of 64 bits. A column of them becomes one of `f64` when a fraction arrives.
    I64,
    /// Numbers of 64 bits with a fraction.
    F64,
    /// Texts, kept once each.
    String,
}

impl fmt::Display for AttributeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttributeKind::Null => "nothing but null",
            AttributeKind::Bool => "true and false",
            AttributeKind::I64 => "whole numbers",
            AttributeKind::F64 => "numbers",
            AttributeKind::String => "texts",
        })
    }
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    I64(i64),
    F64(f64),
    String(&'a str),
}

/// Whole numbers up to this size have a 64-bit fraction of the same value.
const EXACT: u64 = 1 << 53;

impl<'a> Value<'a> {
    /// The value of a JSON value, or what is wrong with it.
    pub(crate) fn of(json: &'a Json) -> Result<Self, String> {
        match json {
            Json::Null => Ok(Value::Null),
            Json::Bool(value) => Ok(Value::Bool(*value)),
            Json::String(text) => Ok(Value::String(text)),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Ok(Value::I64(value)),
                (None, _) if number.is_u64() => Err(format!("{number} does not fit in 64 bits with a sign")),
                (None, Some(value)) if value.is_finite() => Ok(Value::F64(value)),
                _ => Err(format!("{number} does not fit in 64 bits")),
            },
            Json::Array(_) => {
                Err("a list was found; an attribute is a text, a number, true, false or null".into())
            }
            Json::Object(_) => {
                Err("an object was found; an attribute is a text, a number, true, false or null".into())
            }
        }
    }

    pub(crate) fn kind(&self) -> AttributeKind {
        match self {
            Value::Null => AttributeKind::Null,
            Value::Bool(_) => AttributeKind::Bool,
            Value::I64(_) => AttributeKind::I64,
            Value::F64(_) => AttributeKind::F64,
            Value::String(_) => AttributeKind::String,
        }
    }

    pub(crate) fn json(self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => value.into(),
            Value::I64(value) => value.into(),
            Value::F64(value) => value.into(),
            Value::String(text) => text.into(),
        }
    }
}

impl ColumnEntry {
    pub(crate) fn new(name: &str) -> Self {
        ColumnEntry { name: name.to_owned(), kind: AttributeKind::Null, wide: false }
    }

    /// Takes the type of a value that is added, or says why the value does not fit.
    pub(crate) fn admit(&mut self, value: &Value) -> Result<(), String> {
        use AttributeKind::{F64, I64, Null};
        let wide = matches!(value, Value::I64(n) if n.unsigned_abs() > EXACT);
        let conflict = match (self.kind, value.kind()) {
            (_, Null) => return Ok(()),
            (Null, found) => {
                self.kind = found;
                false
            }
            (I64, F64) => {
                if !self.wide {
                    self.kind = F64;
                }
                self.wide
            }
            (F64, I64) => wide,
            (own, found) => own != found,
        };
        if conflict {
            let shown: String = value.json().to_string().chars().take(40).collect();
            let beyond = if self.wide || wide {
                ", and whole numbers beyond 2^53 cannot stand beside fractions"
            } else {
                ""
            };
            return Err(format!("{shown} was found, and earlier rows hold {}{beyond}", self.kind));
        }
        self.wide |= wide && self.kind == I64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admit(values: &[Json]) -> Result<AttributeKind, String> {
        let mut entry = ColumnEntry::new("x");
        for value in values {
            entry.admit(&Value::of(value)?)?;
        }
        Ok(entry.kind)
    }

    #[test]
    fn a_column_takes_the_type_of_its_values() {
        let big = (1i64 << 53) + 1;
        assert_eq!(admit(&[json!(null)]), Ok(AttributeKind::Null));
        assert_eq!(admit(&[json!(null), json!(3), json!(null)]), Ok(AttributeKind::I64));
        assert_eq!(admit(&[json!(3), json!(3.5), json!(4)]), Ok(AttributeKind::F64));
        assert_eq!(admit(&[json!(3), json!(big)]), Ok(AttributeKind::I64));
        assert_eq!(admit(&[json!("a"), json!("")]), Ok(AttributeKind::String));
        assert_eq!(admit(&[json!(true), json!(false)]), Ok(AttributeKind::Bool));
        for (values, part) in [
            (vec![json!("a"), json!(1)], "1 was found, and earlier rows hold texts"),
            (vec![json!(1), json!("a")], "\"a\" was found, and earlier rows hold whole numbers"),
            (vec![json!(true), json!(1)], "earlier rows hold true and false"),
            (vec![json!(big), json!(0.5)], "beyond 2^53"),
            (vec![json!(0.5), json!(big)], "beyond 2^53"),
            (vec![json!(u64::MAX)], "does not fit"),
            (vec![json!([1])], "a list was found"),
            (vec![json!({"a": 1})], "an object was found"),
        ] {
            let error = admit(&values).unwrap_err();
            assert!(error.contains(part), "{values:?}: {error}");
        }
    }
}
