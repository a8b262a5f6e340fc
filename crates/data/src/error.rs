//! What can be wrong with data, said with the file, the row and the field.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A row of a file, numbered as an editor numbers lines: from 1, the header counted. The rows of a JSON array are numbered
/// by their place in the array, from 1, as several may stand on one line; a text file of a folder is row 1 of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line on which the row starts.
    pub row: u64,
}

impl Place {
    /// The place of line `row` of `file`.
    pub fn new(file: impl Into<PathBuf>, row: u64) -> Self {
        Place { file: file.into(), row }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, row {}", self.file.display(), self.row)
    }
}

/// Everything that can be wrong with a data file, an option or a request to this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, read, write or rename a file.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "open", "read", "write".
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// No file was named where at least one is needed.
    #[error("no data file was given")]
    NoFiles,
    /// The file has no bytes, or nothing but blank lines.
    #[error("{}: the file is empty", .0.display())]
    Empty(PathBuf),
    /// A CSV or TSV file has a header and no row.
    #[error("{}: the file has a header and no rows", .0.display())]
    HeaderOnly(PathBuf),
    /// The extension says nothing about the format and no format was given.
    #[error(
        "{}: cannot tell the format from the name; use .csv, .tsv, .jsonl or .json, or set data.format",
        .0.display()
    )]
    UnknownFormat(PathBuf),
    /// The first row of a CSV or TSV file holds values where column names are expected.
    #[error("{place}: the first row looks like data, not like column names: {why}")]
    NoHeader {
        /// The row.
        place: Place,
        /// What gives it away.
        why: String,
        /// How many columns there are.
        columns: usize,
    },
    /// The bytes are text in an encoding that is not read, or no text at all.
    #[error("{}: {found}", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What the bytes look like.
        found: String,
        /// What would help.
        hint: String,
    },
    /// A JSON file is valid as far as it was read, and is not a list of objects.
    #[error("{}: {problem}", path.display())]
    JsonLayout {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        problem: String,
        /// What would help.
        hint: String,
    },
    /// A folder that should hold text files does not, or holds them in a way that says nothing about their classes.
    #[error("{}: {problem}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would help.
        hint: String,
    },
    /// Cells of the label column hold several labels each, and no option says what that means.
    #[error("{place}, field \"{field}\": {example} looks like several labels, as do {rows} of {of} rows")]
    SeveralLabels {
        /// The first such row.
        place: Place,
        /// The label column.
        field: String,
        /// Its cell.
        example: String,
        /// Rows with several labels.
        rows: usize,
        /// All rows.
        of: usize,
    },
    /// An option has a value that cannot be used.
    #[error("{option} {problem}")]
    Option {
        /// The option's name, as written in a run file.
        option: String,
        /// What is wrong and what would do.
        problem: String,
    },
    /// A CSV or TSV row has more or fewer fields than the header.
    #[error("{place}: {found} fields, where the header has {expected}")]
    Ragged {
        /// The row.
        place: Place,
        /// Fields in the header.
        expected: usize,
        /// Fields in the row.
        found: usize,
    },
    /// A quoted field is still open at the end of the file.
    #[error("{place}: a quote opened in this row is never closed")]
    OpenQuote {
        /// The row in which the quote opens.
        place: Place,
    },
    /// A row is longer than [`MAX_ROW_BYTES`](crate::table::MAX_ROW_BYTES).
    #[error("{place}: the row is longer than {limit} bytes; is a quote left open?")]
    RowTooLong {
        /// The row.
        place: Place,
        /// The limit, in bytes.
        limit: usize,
    },
    /// More rows than 32-bit row numbers can name.
    #[error("{}: more than {} rows in all", .0.display(), u32::MAX)]
    TooManyRows(PathBuf),
    /// Text is not valid UTF-8.
    #[error("{place}, field \"{field}\": not UTF-8 at byte {byte} of the file")]
    NotUtf8 {
        /// The row.
        place: Place,
        /// The field's column, or its number where the header itself is broken.
        field: String,
        /// Where the first bad byte lies, counted from 0 at the start of the file.
        byte: u64,
    },
    /// A JSONL row is not valid JSON.
    #[error("{place}: not valid JSON: {problem}")]
    Json {
        /// The row.
        place: Place,
        /// The parser's reason.
        problem: String,
    },
    /// A JSONL row or a header names a column twice.
    #[error("{place}: the column \"{field}\" appears twice")]
    DuplicateColumn {
        /// The row.
        place: Place,
        /// The column.
        field: String,
    },
    /// A column was asked for that is not there.
    #[error(
        "{}there is no column \"{name}\"; the columns are {}{}",
        in_file(file), quoted(columns), did_you_mean(nearest.as_deref())
    )]
    MissingColumn {
        /// The file, where it is known.
        file: Option<PathBuf>,
        /// The name asked for.
        name: String,
        /// The columns there are.
        columns: Vec<String>,
        /// The column with the most similar name, where one is similar.
        nearest: Option<String>,
    },
    /// Two files of one table do not have the same columns.
    #[error(
        "{} and {} have different columns: {} against {}",
        first.display(), second.display(), quoted(first_columns), quoted(second_columns)
    )]
    ColumnsDiffer {
        /// The first file.
        first: PathBuf,
        /// The file that differs from it.
        second: PathBuf,
        /// Columns of the first file.
        first_columns: Vec<String>,
        /// Columns of the other.
        second_columns: Vec<String>,
    },
    /// A cell that is needed is absent, `null` or empty.
    #[error("{place}, field \"{field}\": missing")]
    MissingCell {
        /// The row.
        place: Place,
        /// The column.
        field: String,
    },
    /// A cell has another type than the one needed.
    #[error("{place}, field \"{field}\": expected {expected}, found {found}")]
    CellType {
        /// The row.
        place: Place,
        /// The column.
        field: String,
        /// What was needed, such as "a text" or "a number".
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A file no longer holds what it held when it was opened.
    #[error("{}: the file changed while it was in use", .0.display())]
    Changed(PathBuf),
    /// The columns do not say what is to be learned.
    #[error("{}{problem}; the columns are {}", in_file(file), quoted(columns))]
    Roles {
        /// The file, where it is known.
        file: Option<PathBuf>,
        /// What is unclear.
        problem: String,
        /// The columns there are.
        columns: Vec<String>,
        /// The options that would settle it.
        hint: String,
    },
    /// A `.npy` file is malformed or holds something else than is read here.
    #[error("{}: {problem}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A stored vector holds NaN or an infinity. Row and column are counted from 0, as numpy indexes them.
    #[error("{}: row {row}, column {column} (counted from 0) is {value}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// The value.
        value: f32,
    },
    /// Two things that must have one entry a row have different lengths.
    #[error("{first} has {first_rows} rows and {second} has {second_rows}")]
    LengthsDiffer {
        /// One of them.
        first: String,
        /// Its length.
        first_rows: usize,
        /// The other.
        second: String,
        /// Its length.
        second_rows: usize,
    },
    /// The rows cannot be divided, or cannot be learned from, as asked.
    #[error("{problem}")]
    Unusable {
        /// What is wrong.
        problem: String,
        /// What would help.
        hint: String,
    },
    /// A tokenizer cannot be read from a folder, or cannot encode a text.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The folder or the file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    /// The same error with the file that it is about, where the error can name one and does not.
    pub fn about(mut self, path: &Path) -> Error {
        if let Error::MissingColumn { file, .. } | Error::Roles { file, .. } = &mut self {
            file.get_or_insert_with(|| path.to_owned());
        }
        self
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Unusable { hint, .. } => return Some(hint.clone()),
            Error::Roles { hint, .. }
            | Error::Encoding { hint, .. }
            | Error::JsonLayout { hint, .. }
            | Error::Folder { hint, .. } => return Some(hint.clone()),
            Error::NoHeader { columns, .. } => {
                let names: Vec<String> = (1..=*columns.min(&3)).map(|i| format!("\"name {i}\"")).collect();
                let more = if *columns > 3 { ", ..." } else { "" };
                return Some(format!(
                    "add a first row with a name for each column; or name them with data.header = [{}{more}] in a run \
                     file; or set data.header = false (--set data.header=false), which calls them column_1, column_2, \
                     ...; if the first row does hold names, make them differ from the values below",
                    names.join(", ")
                ));
            }
            Error::SeveralLabels { .. } => {
                "set data.multi_label (--set data.multi_label=first): \"first\" keeps the first label of a row, \"set\" \
                 makes each distinct set of labels a class, \"whole\" takes the cell as one name"
            }
            Error::UnknownFormat(_) => {
                "rename the file, or set data.format = \"csv\", \"tsv\", \"jsonl\" or \"json\" (--set data.format=csv)"
            }
            Error::NoFiles => "set data.path, or data.vectors with data.labels",
            Error::Empty(_) | Error::HeaderOnly(_) => "check that the file was written to its end",
            Error::Option { .. } => "change it in the run file, or with --set",
            Error::Ragged { .. } => "put fields that hold the delimiter in quotes, or set data.delimiter",
            Error::OpenQuote { .. } => "set data.quoted = false if quotes are plain text here",
            Error::NotUtf8 { .. } => {
                "save the file as UTF-8; one from Excel or an older system is often Windows-1252 (Latin-1): \
                 iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
            }
            Error::MissingColumn { .. } => {
                "name the columns with --text, --label, --anchor, --positive and --score, or in a run file with \
                 data.text, data.label, data.anchor, data.positive and data.score"
            }
            Error::NotFinite { .. } => "remove that row, or mend what wrote it",
            Error::LengthsDiffer { .. } => "row i of one must describe row i of the other",
            Error::Npy { .. } => "write the matrix with numpy.save as float32 in C order",
            Error::Tokenizer { .. } => {
                "the folder must hold tokenizer.json, or the vocabulary of a BERT model"
            }
            Error::MissingCell { .. } => "fill the field, or remove the row",
            Error::CellType { .. } => "mend the field, or remove the row",
            Error::Json { .. } => {
                "mend that row; each row must be one object such as {\"text\": \"...\", \"label\": \"...\"}"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    pub(crate) fn option(option: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Option { option: option.into(), problem: problem.into() }
    }

    pub(crate) fn unusable(problem: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Unusable { problem: problem.into(), hint: hint.into() }
    }

    pub(crate) fn missing_column(name: &str, columns: &[String]) -> Error {
        let lower = name.to_lowercase();
        let nearest = columns
            .iter()
            .map(|column| (strsim::jaro_winkler(&lower, &column.to_lowercase()), column))
            .filter(|(similarity, _)| *similarity >= 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, column)| column.clone());
        Error::MissingColumn { file: None, name: name.to_owned(), columns: columns.to_vec(), nearest }
    }
}

fn in_file(file: &Option<PathBuf>) -> String {
    file.as_ref().map_or(String::new(), |path| format!("{}: ", path.display()))
}

/// `"a", "b", "c"`, shortened after twenty names.
pub(crate) fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}
