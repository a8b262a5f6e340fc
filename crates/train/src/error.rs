/// What can go wrong while training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range or does not fit the data.
    #[error("{0}")]
    Setting(String),
    /// A checkpoint cannot be used: another run's, damaged, or made with other settings.
    #[error("{path}: {what}", path = .path.display())]
    Checkpoint {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The loss or a gradient became NaN or infinite.
    #[error("step {step}: {what} is not finite")]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The loss, or the parameter's path.
        what: String,
    },
    /// The loss needs something that the rows do not hold, or cannot use what they are.
    #[error("{loss} needs {missing}")]
    Unfed {
        /// The loss.
        loss: String,
        /// What is missing.
        missing: String,
    },
    /// The objective is on the last linear layer before the embedding, and the model has none.
    #[error("{what} needs a linear layer after the encoder, and the model has none")]
    NoMetricLayer {
        /// What needs it.
        what: String,
    },
    /// Mixtures of texts.
    #[error("objective.mixup.level = \"input\" mixes stored vectors, and the model reads texts")]
    TextsNotMixed,
    /// The model.
    #[error(transparent)]
    Model(#[from] parallax_nn::Error),
    /// The objective.
    #[error(transparent)]
    Objective(#[from] parallax_metric::Error),
    /// The data.
    #[error(transparent)]
    Data(#[from] parallax_data::Error),
    /// The measures.
    #[error(transparent)]
    Evaluation(#[from] parallax_eval::Error),
    /// A file of the run could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
