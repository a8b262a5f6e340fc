//! What can be wrong with an index, with what is put into it and with what is asked of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can be wrong with an index, an input to it or a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, read, write, lock, rename or remove a file.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "open", "read", "write".
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The path names no folder, or a folder without a manifest.
    #[error("{}: this is not an index: {problem}", path.display())]
    NotAnIndex {
        /// The path that was given.
        path: PathBuf,
        /// What is missing.
        problem: &'static str,
    },
    /// A new index was to be written where something stands already.
    #[error("{}: something stands there already", .0.display())]
    Exists(PathBuf),
    /// Another writer has the index open.
    #[error("{}: another writer is at work on this index", .0.display())]
    Locked(PathBuf),
    /// A file of the index is not what was written: cut off, altered, or of another index.
    #[error("{}: damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A file was written in a version of the format that this program does not know.
    #[error("{}: written in version {found} of the format; versions 1 to {newest} can be read", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that the file states.
        found: u32,
        /// The newest version that can be read.
        newest: u32,
    },
    /// A setting of the index cannot be used.
    #[error("{option} {problem}")]
    Config {
        /// The field of the configuration.
        option: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Vectors do not have the dimension of the index.
    #[error("{what}: {values} numbers are not {rows} rows of {dim}, the dimension of the index")]
    Dimension {
        /// `the vectors` or `the queries`.
        what: &'static str,
        /// The numbers there are.
        values: usize,
        /// The rows there should be.
        rows: usize,
        /// The dimension.
        dim: usize,
    },
    /// Texts or attributes do not come one a row.
    #[error("{found} {what} for {rows} ids")]
    Lengths {
        /// `texts` or `attributes`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        rows: usize,
    },
    /// A vector holds NaN or an infinity. Row and column are counted from 0.
    #[error("row {row}, id \"{id}\", column {column} (counted from 0) is {value}")]
    NotFinite {
        /// The row in the order of adding, from 0.
        row: u64,
        /// Its id.
        id: String,
        /// The column, from 0.
        column: usize,
        /// The value.
        value: f32,
    },
    /// A query holds NaN or an infinity. Row and column are counted from 0.
    #[error("query {row}, column {column} (counted from 0) is {value}")]
    QueryNotFinite {
        /// The query, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// The value.
        value: f32,
    },
    /// An id, a text or an attribute's name cannot be stored.
    #[error("row {row} (counted from 0): {problem}")]
    Row {
        /// The row in the order of adding, from 0.
        row: u64,
        /// What is wrong.
        problem: String,
    },
    /// Two rows have one id. Rows are counted from 0 over the whole index.
    #[error("the id \"{id}\" is given twice, in rows {first} and {second} of the index (counted from 0)")]
    DuplicateId {
        /// The id.
        id: String,
        /// The earlier row.
        first: u64,
        /// The later row.
        second: u64,
    },
    /// An attribute's value has a type that its column does not have, or that no column has.
    #[error("row {row} (counted from 0), id \"{id}\", field \"{field}\": {problem}")]
    Attribute {
        /// The row in the order of adding, from 0.
        row: u64,
        /// Its id.
        id: String,
        /// The attribute.
        field: String,
        /// What was found, and what the column holds.
        problem: String,
    },
    /// A writer was used again after it failed to write.
    #[error("{}: this writer has failed before; nothing of it will be kept", .0.display())]
    Failed(PathBuf),
    /// A filter cannot be read, or does not fit the attributes of the index.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_owned(), problem: problem.into() }
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::NotAnIndex { .. } => "build one with `parallax index build`",
            Error::Exists(_) => "append to the index, overwrite it, or choose another path",
            Error::Locked(_) => "wait until it has finished",
            Error::Damaged { .. } => "restore the index from a copy, or build it again",
            Error::Version { .. } => "use the version of parallax that wrote the index, or a newer one",
            Error::Dimension { .. } => "use vectors of the model that the index was built with",
            Error::NotFinite { .. } | Error::QueryNotFinite { .. } => {
                "remove that row, or mend what wrote it"
            }
            Error::DuplicateId { .. } => "make ids unique, or let later rows replace earlier ones",
            Error::Attribute { .. } => "give the column one type in every row, or leave the value null",
            Error::Filter(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The filter as it was given.
    pub text: String,
    /// The character that the error is about, counted from 1; one past the end where something is missing there.
    pub position: usize,
    /// What is wrong.
    pub problem: String,
    /// What would help, where something would.
    pub advice: Option<String>,
}

impl FilterError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        self.advice.clone()
    }

    /// The filter and, on a second line, a mark under the character that the error is about.
    ///
    /// Only the line of the filter that the error is in is shown, and at most 60 characters to either side.
    pub fn excerpt(&self) -> String {
        let characters: Vec<char> = self.text.chars().collect();
        let at = (self.position - 1).min(characters.len());
        let line = characters[..at].iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
        let start = line.max(at.saturating_sub(60));
        let shown: String =
            characters[start..].iter().take(at - start + 60).take_while(|c| **c != '\n').collect();
        format!("{shown}\n{}^", " ".repeat(at - start))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, character {}: {}", self.position, self.problem)
    }
}

impl std::error::Error for FilterError {}

/// `"a", "b", "c"`, shortened after twenty names.
pub(crate) fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 20;
    let mut text =
        names.iter().take(SHOWN).map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
