/// What can go wrong when a checkpoint is made from another.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint or the new model was refused.
    #[error(transparent)]
    Model(#[from] parallax_nn::Error),
    /// Texts could not be read or tokenised.
    #[error(transparent)]
    Data(#[from] parallax_data::Error),
    /// The principal components could not be found.
    #[error(transparent)]
    Linear(#[from] parallax_linear::Error),
    /// A setting is out of its range, or the model is of a kind that cannot be converted so.
    #[error("{what}")]
    Setting {
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// It was stopped from outside; nothing was written.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Data(error) => error.hint(),
            Error::Linear(error) => error.hint(),
            Error::Setting { hint, .. } => Some(hint.clone()),
            Error::Model(_) | Error::Interrupted => None,
        }
    }
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
