//! Tables of text on disk: CSV, TSV, JSONL and JSON files and folders of text files, read by row.

mod folder;
mod header;
mod json;
pub(crate) mod open;
pub(crate) mod plain;
mod records;
mod sniff;

use std::fs::File;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Place, Result};
use folder::Folder;
pub use header::HeaderOption;
pub(crate) use json::{Object, cell as json_cell};
pub(crate) use records::{Fault, Fields, Framing, Records, Start};
pub(crate) use sniff::{HEAD_BYTES, Layout, first_width};

/// The longest row that is read, in bytes: 64 MiB. A longer one is nearly always a quote left open.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// What a table keeps in memory for each row, in bytes; the text stays on the disk.
pub const INDEX_BYTES_PER_ROW: usize = size_of::<RowPlace>();

/// How a file of rows is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values with a header row (RFC 4180).
    Csv,
    /// Tab-separated values with a header row; quotes as in CSV.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// A JSON array of objects, or an object with one member that is such an array.
    Json,
}

/// How to read the files of a table. Everything has a default that suits most files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// The format: csv, tsv, jsonl or json. Default: by the extension (.csv, .tsv or .tab, .jsonl or .ndjson, .json).
    pub format: Option<Format>,
    /// The character between fields of CSV and TSV files. Default: comma, semicolon, tab or pipe, by the first rows.
    pub delimiter: Option<char>,
    /// Whether a field that starts with a quote runs to the closing quote, line breaks and all (default true).
    pub quoted: bool,
    /// The column names of CSV and TSV files that have no header row; false, or an empty list, names them column_1,
    /// column_2, ... Default: the first row is the header.
    #[serde(deserialize_with = "header::deserialize")]
    #[schemars(with = "Option<HeaderOption>")]
    pub header: Option<Vec<String>>,
}

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions { format: None, delimiter: None, quoted: true, header: None }
    }
}

/// Where a row lies: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct RowPlace {
    offset: u64,
    length: u32,
    line: u32,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    storage: Storage,
    /// The number of the file's first row in the table.
    first_row: usize,
    /// For each field of a delimited file or a folder, its column in the table.
    order: Vec<usize>,
}

#[derive(Debug)]
enum Storage {
    /// Rows of delimited fields.
    Delimited { file: File, delimiter: u8, quoted: bool },
    /// JSON objects.
    Json(File),
    /// Text files.
    Folder(Folder),
}

/// The value of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Absent, or `null`.
    Missing,
    /// A text, or a number or truth value as it is spelled in the file.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Something that no column here may hold, named for the message.
    Other(&'static str),
}

/// A table over one or more files with the same columns.
///
/// Opening reads every file once, from start to end, and checks it: each row has the header's number of fields, is UTF-8
/// and, for JSON, an object. What stays in memory is [`INDEX_BYTES_PER_ROW`] bytes a row (for a folder of texts, the
/// names of its files as well); a cell is read from the file when it is asked for. Any number of threads may read at once.
/// A file in UTF-16 or compressed with gzip is unpacked to a temporary file, which goes when the table does.
///
/// Rows are numbered from 0 in the order of the files; [`place`](Self::place) gives the file and line for messages.
#[derive(Debug)]
pub struct Table {
    sources: Vec<Source>,
    columns: Vec<String>,
    rows: Vec<RowPlace>,
    notes: Vec<String>,
}

impl Table {
    /// Opens files as one table, one after the other.
    ///
    /// The columns of a CSV or TSV table are its header's; those of a JSON or JSONL file are all keys that occur, in the
    /// order of their first appearance, and a row may lack some. Files may list the same columns in different orders.
    ///
    /// A folder is a table of its `.txt` files in the order of their names: columns text and id (the path in the folder),
    /// with a label where the files lie in folders, one a class, and a split where those lie in folders called train,
    /// test and the like.
    ///
    /// # Errors
    /// For a file that cannot be read, is empty, has only a header or none, has a row with too few or too many fields, is
    /// not UTF-8 or not JSON, or whose columns differ from the first file's; each names file, row and field.
    pub fn open<P: AsRef<Path>>(paths: &[P], options: &TableOptions) -> Result<Table> {
        open::open(paths, options)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows; never so for an opened table.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of the column with this name.
    ///
    /// # Errors
    /// [`Error::MissingColumn`], with the columns there are and the most similar name.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.columns
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| Error::missing_column(name, &self.columns))
    }

    /// The file and line of a row, for messages.
    ///
    /// # Panics
    /// If `row` is not below [`len`](Self::len).
    pub fn place(&self, row: usize) -> Place {
        let source = self.source(row);
        match &source.storage {
            Storage::Folder(folder) => Place::new(folder.file(&source.path, row - source.first_row), 1),
            _ => Place::new(&source.path, u64::from(self.rows[row].line)),
        }
    }

    /// The files of the table, in order; a folder stands for its texts.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }

    /// Every file that rows are read from, in order: as [`files`](Self::files), with each text file of a folder.
    pub fn read_files(&self) -> impl Iterator<Item = PathBuf> {
        self.sources.iter().flat_map(|source| match &source.storage {
            Storage::Folder(folder) => (0..folder.len()).map(|i| folder.file(&source.path, i)).collect(),
            _ => vec![source.path.clone()],
        })
    }

    /// What was found out about the files beyond their names: the delimiter, an encoding, the layout of a folder. One
    /// sentence each, to show.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads one row.
    ///
    /// # Errors
    /// If the file cannot be read or has changed since it was opened.
    ///
    /// # Panics
    /// If `row` is not below [`len`](Self::len).
    pub fn row(&self, row: usize) -> Result<Row<'_>> {
        let source = self.source(row);
        let cells = match &source.storage {
            Storage::Folder(folder) => {
                let mut cells = vec![Cell::Missing; self.columns.len()];
                let fields = folder.read(&source.path, row - source.first_row)?;
                for (field, &column) in fields.into_iter().zip(&source.order) {
                    cells[column] = Cell::Text(field);
                }
                cells
            }
            Storage::Delimited { file, .. } | Storage::Json(file) => {
                let RowPlace { offset, length, .. } = self.rows[row];
                let mut bytes = vec![0; length as usize];
                match read_exact_at(file, &mut bytes, offset) {
                    Ok(()) => {}
                    Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Err(Error::Changed(source.path.clone()));
                    }
                    Err(e) => return Err(Error::io(&source.path, "read")(e)),
                }
                self.parse(source, &bytes).ok_or_else(|| Error::Changed(source.path.clone()))?
            }
        };
        Ok(Row { table: self, row, cells })
    }

    /// Reads one cell as text. For several cells of a row, [`row`](Self::row) reads once.
    ///
    /// # Errors
    /// As [`row`](Self::row) and [`Row::text`].
    ///
    /// # Panics
    /// If `row` or `column` is out of range.
    pub fn cell(&self, row: usize, column: usize) -> Result<String> {
        let mut row = self.row(row)?;
        row.text(column)?;
        match std::mem::replace(&mut row.cells[column], Cell::Missing) {
            Cell::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    /// Reads a whole column as text, in row order.
    ///
    /// # Errors
    /// As [`cell`](Self::cell).
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn texts(&self, column: usize) -> Result<Vec<String>> {
        (0..self.len()).map(|row| self.cell(row, column)).collect()
    }

    /// Reads a whole column as finite numbers, in row order.
    ///
    /// # Errors
    /// As [`Row::number`].
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn numbers(&self, column: usize) -> Result<Vec<f64>> {
        (0..self.len()).map(|row| self.row(row)?.number(column)).collect()
    }

    fn source(&self, row: usize) -> &Source {
        &self.sources[self.sources.partition_point(|source| source.first_row <= row) - 1]
    }

    /// The cells of a row that was checked when the table was opened; `None` if it no longer holds.
    fn parse(&self, source: &Source, bytes: &[u8]) -> Option<Vec<Cell>> {
        let mut cells = vec![Cell::Missing; self.columns.len()];
        match source.storage {
            Storage::Delimited { delimiter, quoted, .. } => {
                let mut fields = Fields::default();
                fields.split(bytes, delimiter, quoted);
                if fields.len() != source.order.len() {
                    return None;
                }
                for (field, &column) in source.order.iter().enumerate() {
                    cells[column] = Cell::Text(std::str::from_utf8(fields.get(field)).ok()?.to_owned());
                }
            }
            Storage::Json(_) => {
                let Object(entries) = serde_json::from_slice(bytes).ok()?;
                for (key, value) in entries {
                    let column = self.columns.iter().position(|column| *column == key)?;
                    cells[column] = json_cell(value).ok()?;
                }
            }
            Storage::Folder(_) => return None,
        }
        Some(cells)
    }
}

/// One row of a [`Table`], read from the disk.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    table: &'a Table,
    row: usize,
    cells: Vec<Cell>,
}

impl Row<'_> {
    /// The cells, in the order of the table's columns.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The file and line of the row.
    pub fn place(&self) -> Place {
        self.table.place(self.row)
    }

    /// The cell as text; an empty CSV field is the empty text.
    ///
    /// # Errors
    /// [`Error::MissingCell`] if a JSONL row lacks the key or has `null`; [`Error::CellType`] for a list or an object.
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn text(&self, column: usize) -> Result<&str> {
        match &self.cells[column] {
            Cell::Text(text) => Ok(text),
            Cell::Missing => Err(self.missing(column)),
            Cell::List(_) => Err(self.wrong(column, "a text", "a list")),
            Cell::Other(found) => Err(self.wrong(column, "a text", found)),
        }
    }

    /// The cell as a list of texts: the items of a list, one item for a text, none for an empty or missing cell.
    ///
    /// # Errors
    /// [`Error::CellType`] for an object or a nested list.
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn list(&self, column: usize) -> Result<&[String]> {
        match &self.cells[column] {
            Cell::Text(text) if text.is_empty() => Ok(&[]),
            Cell::Text(text) => Ok(std::slice::from_ref(text)),
            Cell::List(texts) => Ok(texts),
            Cell::Missing => Ok(&[]),
            Cell::Other(found) => Err(self.wrong(column, "a list of texts", found)),
        }
    }

    /// The cell as a finite number; `true` and `false` are 1 and 0.
    ///
    /// # Errors
    /// [`Error::MissingCell`] for an empty cell; [`Error::CellType`] for anything that is not a finite number.
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn number(&self, column: usize) -> Result<f64> {
        self.number_of(column, self.text(column)?)
    }

    /// The cell as finite numbers: the items of a list, one for a number. A text in brackets, `[1, 0.5]`, is a list too.
    ///
    /// # Errors
    /// As [`number`](Self::number).
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn numbers(&self, column: usize) -> Result<Vec<f64>> {
        if let Cell::List(items) = &self.cells[column] {
            return items.iter().map(|item| self.number_of(column, item)).collect();
        }
        let text = self.text(column)?.trim();
        match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(items) => items.split(',').map(|item| self.number_of(column, item)).collect(),
            None => Ok(vec![self.number_of(column, text)?]),
        }
    }

    fn number_of(&self, column: usize, text: &str) -> Result<f64> {
        match text.trim() {
            "" => Err(self.missing(column)),
            "true" | "True" => Ok(1.0),
            "false" | "False" => Ok(0.0),
            text => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(self.wrong(column, "a number", &format!("{text:?}"))),
            },
        }
    }

    /// A row with `found` scores for its `negatives` negatives.
    pub(crate) fn wrong_number(&self, columns: &[usize], found: usize, negatives: usize) -> Error {
        let names: Vec<&str> = columns.iter().map(|&column| self.table.columns[column].as_str()).collect();
        Error::CellType {
            place: self.place(),
            field: names.join(", "),
            expected: "a score for the positive and for each negative, or a margin for each negative",
            found: format!("{found} of them for {negatives} negatives"),
        }
    }

    fn missing(&self, column: usize) -> Error {
        Error::MissingCell { place: self.place(), field: self.table.columns[column].clone() }
    }

    fn wrong(&self, column: usize, expected: &'static str, found: &str) -> Error {
        let field = self.table.columns[column].clone();
        Error::CellType { place: self.place(), field, expected, found: found.to_owned() }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
