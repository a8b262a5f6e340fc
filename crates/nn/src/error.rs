use std::path::{Path, PathBuf};

/// What can go wrong when a model is read, built, run or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be opened, read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read, but what stands in it is not what the format asks for.
    #[error("{path}: {what}", path = .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// `modules.json` names a module that this version cannot run. It is never skipped: the vectors would be wrong.
    #[error("{path}: unknown module \"{module}\" (entry {index})", path = .path.display())]
    UnknownModule {
        /// The `modules.json`.
        path: PathBuf,
        /// Its `type`.
        module: String,
        /// Its place in the list, from 0.
        index: usize,
    },
    /// A tensor that the configuration asks for is not in the weight file.
    #[error("{path}: tensor \"{tensor}\" is missing", path = .path.display())]
    MissingTensor {
        /// The weight file.
        path: PathBuf,
        /// The name looked for.
        tensor: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{path}: tensor \"{tensor}\" has shape {found:?}, the configuration asks for {expected:?}", path = .path.display())]
    Shape {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape asked for.
        expected: Vec<usize>,
    },
    /// Vectors or layers of different sizes were put together.
    #[error("{what}: expected dimension {expected}, got {found}")]
    Dimension {
        /// Where.
        what: String,
        /// The dimension asked for.
        expected: usize,
        /// The dimension given.
        found: usize,
    },
    /// A setting cannot be used, alone or with this model.
    #[error("{0}")]
    Setting(String),
    /// The model's folder does not say how large its inputs are, which products of 8-bit integers need.
    #[error("{path}: there is no calibration for int8", path = .path.display())]
    NotCalibrated {
        /// The folder.
        path: PathBuf,
    },
    /// The tokenizer could not be read or refused a text.
    #[error(transparent)]
    Data(#[from] parallax_data::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path, what: impl Into<String>) -> Error {
        Error::Format { path: path.to_owned(), what: what.into() }
    }

    /// What the reader of the message can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::UnknownModule { .. } => Some(
                "supported modules are Transformer, Pooling, Dense, Normalize, parallax.MultiHeadProjection and \
                 parallax.StructuralSparse, \
                 parallax.Convolution"
                    .into(),
            ),
            Error::MissingTensor { .. } | Error::Shape { .. } => {
                Some("config.json and the weights must come from the same model".into())
            }
            Error::NotCalibrated { path } => Some(format!(
                "parallax convert quantize {} --texts FILE -o OUT makes a folder that has one",
                path.display()
            )),
            _ => None,
        }
    }
}
