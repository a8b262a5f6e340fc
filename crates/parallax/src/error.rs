use std::path::PathBuf;

/// What can go wrong in the facade: everything of the crates below, and its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run file does not say something that can be run: a syntax error, an unknown key or name, a value of the wrong
    /// type or out of range.
    #[error("{place}{what}", place = place(file, *line))]
    Config {
        /// The run file; absent for a value that was set elsewhere, such as on a command line.
        file: Option<PathBuf>,
        /// The line in the file, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong, with the dotted path of the setting.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// An argument cannot be used.
    #[error("{what}")]
    Setting {
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A model was named that is neither a folder nor a known name.
    #[error("no model \"{name}\": {what}")]
    NoModel {
        /// The name.
        name: String,
        /// Why not.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A file of a model could not be fetched, or is not the file that was expected.
    #[error("{url}: {what}")]
    Download {
        /// Where it was to come from.
        url: String,
        /// What went wrong.
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
    /// The work was stopped from outside before it was done; nothing half-written stays behind.
    #[error("interrupted")]
    Interrupted,
    /// A table, stored vectors, a split or a sampler.
    #[error(transparent)]
    Data(#[from] parallax_data::Error),
    /// A model or its folder.
    #[error(transparent)]
    Model(#[from] parallax_nn::Error),
    /// An objective.
    #[error(transparent)]
    Objective(#[from] parallax_metric::Error),
    /// A measure or a comparison.
    #[error(transparent)]
    Evaluation(#[from] parallax_eval::Error),
    /// Training.
    #[error(transparent)]
    Training(#[from] parallax_train::Error),
    /// From a conversion of a model.
    #[error(transparent)]
    Surgery(#[from] parallax_surgery::Error),
    /// From a closed-form map.
    #[error(transparent)]
    Linear(#[from] parallax_linear::Error),
    /// From an index.
    #[error(transparent)]
    Search(#[from] parallax_search::Error),
    /// From a search for settings.
    #[error(transparent)]
    Tuning(#[from] parallax_tune::Error),
    /// From the page of a run.
    #[error(transparent)]
    Report(#[from] parallax_report::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn place(file: &Option<PathBuf>, line: Option<usize>) -> String {
    match (file, line) {
        (None, _) => String::new(),
        (Some(file), None) => format!("{}: ", file.display()),
        (Some(file), Some(line)) => format!("{}, line {line}: ", file.display()),
    }
}

impl Error {
    /// An argument that cannot be used.
    pub fn setting(what: impl Into<String>) -> Self {
        Error::Setting { what: what.into(), hint: None }
    }

    /// An argument that cannot be used, with what to do about it.
    pub fn setting_with(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Setting { what: what.into(), hint: Some(hint.into()) }
    }

    /// A name that is not one of `known`, with the nearest that is.
    pub fn unknown_name(kind: &str, name: &str, known: &[&str]) -> Self {
        let near = crate::config::nearest(name, known);
        let near = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        let hint = format!("known: {}", known.join(", "));
        Error::setting_with(format!("unknown {kind} \"{name}\"{near}"), hint)
    }

    pub(crate) fn io(path: &std::path::Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    /// What the reader of the message can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config { hint, .. } => hint
                .clone()
                .or_else(|| Some("\"parallax config schema\" says what every setting may be".to_owned())),
            Error::Setting { hint, .. } => hint.clone(),
            Error::NoModel { hint, .. } | Error::Download { hint, .. } => Some(hint.clone()),
            Error::Io { source, .. } => io(source),
            Error::Interrupted => None,
            Error::Data(error) => data(error),
            Error::Model(error) => model(error),
            Error::Objective(error) => objective(error),
            Error::Evaluation(error) => evaluation(error),
            Error::Training(error) => training(error),
            Error::Surgery(error) => error.hint(),
            Error::Linear(error) => error.hint(),
            Error::Search(error) => search(error),
            Error::Tuning(error) => error.hint().map(str::to_owned),
            Error::Report(error) => error.hint().map(str::to_owned),
        }
    }
}

/// The hint of the first error in a chain of causes that has one, whichever crate of Parallax it comes from.
pub fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let found = error
            .downcast_ref::<Error>()
            .and_then(Error::hint)
            .or_else(|| error.downcast_ref().and_then(data))
            .or_else(|| error.downcast_ref().and_then(model))
            .or_else(|| error.downcast_ref().and_then(objective))
            .or_else(|| error.downcast_ref().and_then(evaluation))
            .or_else(|| error.downcast_ref().and_then(training))
            .or_else(|| error.downcast_ref().and_then(search));
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}

fn io(error: &std::io::Error) -> Option<String> {
    use std::io::ErrorKind;
    let text = match error.kind() {
        ErrorKind::NotFound => "check the path; relative paths start at the current folder",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "check who may read or write there",
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::NotADirectory => "a part of that path is a file",
        ErrorKind::IsADirectory => "name a file in that folder",
        _ => return None,
    };
    Some(text.to_owned())
}

fn data(error: &parallax_data::Error) -> Option<String> {
    match error {
        parallax_data::Error::Io { source, .. } => io(source),
        other => other.hint(),
    }
}

fn search(error: &parallax_search::Error) -> Option<String> {
    match error {
        parallax_search::Error::Exists(_) => {
            Some("--append adds to it, --force replaces it, -o PATH writes elsewhere".to_owned())
        }
        parallax_search::Error::Io { source, .. } => io(source),
        other => other.hint(),
    }
}

fn model(error: &parallax_nn::Error) -> Option<String> {
    use parallax_nn::Error as E;
    if let Some(hint) = error.hint() {
        return Some(hint);
    }
    let text = match error {
        E::Io { source, .. } => return io(source),
        E::Data(error) => return data(error),
        E::Format { .. } => "fetch or copy the model folder again; a file of it is damaged or not complete",
        E::Setting(_) => "change it in the run file, or with --set",
        E::Dimension { .. } => "use vectors of the dimension that the model was made for",
        _ => return None,
    };
    Some(text.to_owned())
}

fn objective(error: &parallax_metric::Error) -> Option<String> {
    use parallax_metric::Error as E;
    let text = match error {
        E::NeedsPairs { .. } => "use pairs (data.anchor and data.positive), or a loss for labelled rows",
        E::NeedsItself { .. } => "use rows with classes, or a loss for pairs",
        E::NoRow { .. } => "ask for a pair loss, such as multi_similarity or contrastive",
        E::Overflow { .. } => "lower train.optimizer.lr, or set train.clip_norm",
        _ => "change it in the run file, or with --set",
    };
    Some(text.to_owned())
}

fn evaluation(error: &parallax_eval::Error) -> Option<String> {
    use parallax_eval::Error as E;
    let text = match error {
        E::NothingRelevant { .. } => {
            "retrieval needs at least two rows of one class; is the right column the label?"
        }
        E::Dimension { .. } => "use vectors of one model",
        _ => return None,
    };
    Some(text.to_owned())
}

fn training(error: &parallax_train::Error) -> Option<String> {
    use parallax_train::Error as E;
    match error {
        E::Model(error) => model(error),
        E::Objective(error) => objective(error),
        E::Data(error) => data(error),
        E::Evaluation(error) => evaluation(error),
        E::Io { source, .. } => io(source),
        E::Setting(_) => Some("change it in the run file, or with --set".to_owned()),
        E::NoMetricLayer { .. } => Some("add [head], such as name = \"linear\"".to_owned()),
        E::TextsNotMixed => Some("use level = \"feature\" or level = \"embedding\"".to_owned()),
        E::Unfed { .. } => Some(
            "choose another objective.loss; \"parallax init DATA\" names those that fit the rows".to_owned(),
        ),
        E::NotFinite { .. } => Some("lower train.optimizer.lr, or set train.clip_norm".to_owned()),
        E::Checkpoint { .. } => {
            Some("start afresh without --resume, or in another folder with --out".to_owned())
        }
    }
}
