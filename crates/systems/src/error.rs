use std::path::PathBuf;

/// What can go wrong with a system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that says nothing that can be run.
    #[error("{place}: {what}")]
    Recipe {
        /// The recipe, and where in it.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// Data of a recipe that are not there, or are not what they should be.
    #[error("{path}: {what}", path = .path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A file or folder could not be read or written.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// From a run.
    #[error(transparent)]
    Run(#[from] parallax::Error),
    /// From data.
    #[error(transparent)]
    Data(#[from] parallax_data::Error),
    /// From a comparison.
    #[error(transparent)]
    Evaluation(#[from] parallax_eval::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: &std::path::Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    pub(crate) fn recipe(place: impl Into<String>, what: impl std::fmt::Display) -> Error {
        Error::Recipe { place: place.into(), what: what.to_string() }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Source { hint, .. } => Some(hint.clone()),
            Error::Run(error) => error.hint(),
            Error::Data(error) => error.hint(),
            _ => None,
        }
    }
}
