//! The option that says which names the columns of a file without a header row have.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What `data.header` may be: `false` for columns called column_1, column_2, ..., `true` for names in the first row, or
/// the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderOption {
    /// Whether the first row holds the names.
    Present(bool),
    /// The names of a file that has none.
    Names(Vec<String>),
}

impl HeaderOption {
    /// As [`TableOptions::header`](crate::TableOptions::header) holds it: no list for names in the first row, an empty one
    /// for numbered columns.
    pub fn names(self) -> Option<Vec<String>> {
        match self {
            HeaderOption::Present(true) => None,
            HeaderOption::Present(false) => Some(Vec::new()),
            HeaderOption::Names(names) => Some(names),
        }
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Option::<HeaderOption>::deserialize(input)?.and_then(HeaderOption::names))
}
