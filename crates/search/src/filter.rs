//! Which rows a search may return, said in the words of SQL's `WHERE`.

mod bind;
mod evaluate;
mod lexer;
mod parser;

use std::fmt;
use std::str::FromStr;

use crate::error::FilterError;

pub(crate) use bind::Bound;

/// A condition on the attributes of a row.
///
/// | form | holds for |
/// |---|---|
/// | `price = 3`, `!=`, `<>`, `<`, `<=`, `>`, `>=` | numbers, texts, truth values |
/// | `lang IN ('en', 'de')`, `NOT IN` | the same |
/// | `price BETWEEN 3 AND 5`, `NOT BETWEEN` | the same, both ends included |
/// | `title LIKE 'A%'`, `NOT LIKE` | texts: `%` is any run of characters, `_` any one, `\` makes the next one plain |
/// | `price IS NULL`, `IS NOT NULL` | any attribute |
/// | `archived` | truth values |
/// | `NOT a`, `a AND b`, `a OR b`, `( a )` | conditions; `NOT` binds tightest, `OR` loosest |
///
/// Words of the language are not case-sensitive; names, texts and `LIKE` are. A name that is not letters, digits, `_` and
/// `.` stands in double quotes (`"unit price"`), a text in single quotes; either quote is written twice inside. Texts
/// compare by code point, which sorts dates such as `'2024-05-01'`. Whole numbers compare with fractions exactly. A
/// value and a column of different types are an error, not a comparison that never holds.
///
/// **NULL.** As in SQL, a comparison with a null is neither true nor false, `NOT` of that is neither too, `AND` is false if
/// one side is, `OR` is true if one side is, and only rows for which the whole is true are kept. So `price > 3 OR NOT
/// (price > 3)` leaves out rows without a price; add `OR price IS NULL` to keep them. A row that was added without an
/// attribute has null there.
///
/// ```
/// use parallax_search::Filter;
/// let filter = Filter::parse("category = 'billing' AND price > 3 AND NOT archived")?;
/// assert_eq!(filter.text(), "category = 'billing' AND price > 3 AND NOT archived");
/// let error = Filter::parse("price > > 3").unwrap_err();
/// assert_eq!(error.position, 9);
/// # Ok::<(), parallax_search::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    root: Node,
}

impl Filter {
    /// The deepest nesting of parentheses and `NOT`.
    pub const MAX_DEPTH: usize = 64;
    /// The most comparisons in one filter, and the most values in its lists together.
    pub const MAX_TERMS: usize = 10_000;

    /// Reads a condition. Whether its attributes exist, and have the types that it supposes, is checked by the search.
    ///
    /// # Errors
    /// With the position of the first character that does not fit.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        Ok(Filter { text: text.to_owned(), root: parser::parse(text)? })
    }

    /// The condition as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Filter::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Test(Test),
}

/// A condition on one attribute. `!=` and the `NOT` forms are a `Node::Not` around one, which is the same in three-valued
/// logic.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    name: String,
    /// The place of the name, in characters from 1.
    position: usize,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// The attribute itself, which must be a truth value.
    Holds,
    Compare(Comparison, Literal),
    In(Vec<Literal>),
    Between(Literal, Literal),
    Like(Literal),
    IsNull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
struct Literal {
    position: usize,
    value: Constant,
}

#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Bool(bool),
    I64(i64),
    F64(f64),
    String(String),
}

impl FilterError {
    fn new(text: &str, position: usize, problem: impl Into<String>) -> Self {
        FilterError { text: text.to_owned(), position, problem: problem.into(), advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
