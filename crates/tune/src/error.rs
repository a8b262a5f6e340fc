use std::path::PathBuf;

/// Why a search cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting lies outside its range.
    #[error("tune.{field} must be {must}")]
    Setting {
        /// The setting.
        field: String,
        /// The allowed range in words.
        must: String,
    },
    /// The journal belongs to another search.
    #[error("{path} was written by a search with other settings, or on other data")]
    OtherSearch {
        /// The journal.
        path: PathBuf,
    },
    /// A line of the journal that is none.
    #[error("{path}, line {line}: {what}")]
    Journal {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The journal cannot be read or written.
    #[error("{path} cannot be {action}: {source}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// No point of the space gave a score.
    #[error("none of {trials} trials gave a score")]
    NoScore {
        /// Trials made.
        trials: usize,
    },
    /// The search was stopped from outside; the journal holds what was done.
    #[error("stopped")]
    Stopped,
    /// A trial could not be made at all.
    #[error(transparent)]
    Trial(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::OtherSearch { .. } => Some("choose another folder, or start anew with --force"),
            Error::Journal { .. } => Some("take the line out, or start anew with --force"),
            Error::NoScore { .. } => Some("every trial diverged: narrow the ranges, the learning rate first"),
            _ => None,
        }
    }
}
