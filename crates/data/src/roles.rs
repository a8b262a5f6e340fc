//! Which column is the text, the label, the anchor, the positive: by name first, by content second, never by position
//! alone.

mod ask;
mod columns;
mod infer;
mod names;
mod profile;
mod shape;

use std::fmt;

use crate::error::{Error, Result};
use crate::table::{Row, Table};
pub use columns::Columns;
pub(crate) use names::is_conventional;
pub use shape::Shape;

/// One column and the role it plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The role: "text", "label", "anchor", ...
    pub role: &'static str,
    /// The column's name.
    pub column: String,
    /// Why: set by which option, or known by which name.
    pub reason: String,
}

/// A column that plays no role, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The column's name.
    pub column: String,
    /// What it holds, and what would use it where that was close.
    pub reason: String,
}

/// The roles of a table's columns. Displayed, it is the mapping, one line a column, with the reason for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// What the rows are.
    pub shape: Shape,
    /// Column of the part a row belongs to.
    pub split: Option<usize>,
    /// Column of the row's name.
    pub id: Option<usize>,
    /// Every column that is used, and why.
    pub bindings: Vec<Binding>,
    /// Columns that are not used.
    pub unused: Vec<String>,
    /// Columns that are not used, with the reason, where the content of the table was looked at ([`Roles::of`]).
    pub passed_over: Vec<PassedOver>,
    /// What else was found out and should be shown: how the files are written, how labels are read.
    pub notes: Vec<String>,
}

/// Unused columns shown with their reason; the others by name alone.
const SHOWN: usize = 8;

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shape.name())?;
        let width = self.bindings.iter().map(|b| b.column.chars().count()).max().unwrap_or(0);
        for Binding { role, column, reason } in &self.bindings {
            write!(f, "\n  {role:<9} <- {column:<width$}  ({reason})")?;
        }
        let shown = self.passed_over.len().min(SHOWN);
        let width = self.passed_over[..shown].iter().map(|p| p.column.chars().count()).max().unwrap_or(0);
        for PassedOver { column, reason } in &self.passed_over[..shown] {
            write!(f, "\n  not used:    {column:<width$}  ({reason})")?;
        }
        let explained = |name: &&String| self.passed_over[..shown].iter().any(|p| p.column == **name);
        let bare: Vec<&str> =
            self.unused.iter().filter(|name| !explained(name)).map(String::as_str).collect();
        if !bare.is_empty() {
            write!(f, "\n  not used: {}", bare.join(", "))?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

/// The negatives of one row of [`Shape::Triplets`], over all their columns; empty cells give none.
///
/// # Errors
/// As [`Row::list`].
pub fn negatives(row: &Row<'_>, columns: &[usize]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for &column in columns {
        texts.extend_from_slice(row.list(column)?);
    }
    Ok(texts)
}

/// What a teacher says of the candidates of one row of [`Shape::Triplets`] with `negatives` negatives, over all columns of scores:
/// of the positive first, then of each negative, `[1 + negatives]`.
///
/// A column holds a number or a list of them (also as text, `[0.9, 0.1]`). With one number for each negative and none for the
/// positive, the numbers are margins, the score of the positive less that of the negative; then the positive has the score
/// 0 and a negative its margin below, which is the same to losses on margins and on softmax.
///
/// # Errors
/// [`Error::MissingCell`] for an empty cell; [`Error::CellType`] for anything
/// that is not a finite number, and for another number of them.
pub fn scores(row: &Row<'_>, columns: &[usize], negatives: usize) -> Result<Vec<f64>> {
    let mut numbers = Vec::with_capacity(1 + negatives);
    for &column in columns {
        numbers.extend(row.numbers(column)?);
    }
    match numbers.len() {
        n if n == 1 + negatives => Ok(numbers),
        n if n == negatives && n > 0 => {
            Ok(std::iter::once(0.0).chain(numbers.into_iter().map(|margin| -margin)).collect())
        }
        n => Err(row.wrong_number(columns, n, negatives)),
    }
}

impl Roles {
    /// Finds the roles of an opened table: by names as [`Columns::resolve`] does, and where names leave it open by what
    /// the columns hold, of which up to 20,000 rows are read.
    ///
    /// A column of long, mostly different texts is the text, and one of few repeated values the class. Two columns of
    /// texts are pairs, with a column of numbers in a bounded range scored pairs; three are triplets if their names say
    /// which is which. Where two readings are possible nothing is guessed.
    ///
    /// # Errors
    /// As [`Columns::resolve`]; [`Error::Roles`] asks, and its hint says what to type. Numbers that are not whole where
    /// classes are needed are refused unless the user set that column.
    pub fn of(table: &Table, columns: &Columns) -> Result<Roles> {
        infer::roles(table, columns).map_err(|e| about(table, e))
    }
}

impl Columns {
    /// The one text column of an opened table that is only to be embedded, and why it is: as
    /// [`text_column`](Self::text_column) finds it by name, else the only column of texts.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] and [`Error::Roles`], as [`Roles::of`].
    pub fn text_of(&self, table: &Table) -> Result<(usize, String)> {
        infer::text(table, self).map_err(|e| about(table, e))
    }
}

fn about(table: &Table, error: Error) -> Error {
    match table.files().next() {
        Some(path) => error.about(path),
        None => error,
    }
}

#[cfg(test)]
mod tests;
