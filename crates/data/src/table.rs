//! Tables of text on disk: CSV, TSV and JSONL files read by row.

mod json;
pub(crate) mod open;
mod records;

use std::fs::File;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Place, Result};
pub(crate) use json::{Object, cell as json_cell};
pub(crate) use records::{Fault, Fields, Framing, Records, Start};

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
}

/// How to read the files of a table. Everything has a default that suits most files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// The format: csv, tsv or jsonl. Default: by the extension (.csv, .tsv or .tab, .jsonl or .ndjson).
    pub format: Option<Format>,
    /// The character between fields of CSV and TSV files. Default: comma or tab, by the format.
    pub delimiter: Option<char>,
    /// Whether a field that starts with a quote runs to the closing quote, line breaks and all (default true).
    pub quoted: bool,
    /// The column names of CSV and TSV files that have no header row. Default: the first row is the header.
    pub header: Option<Vec<String>>,
}

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions { format: None, delimiter: None, quoted: true, header: None }
    }
}

impl TableOptions {
    /// How `path` is framed into rows.
    pub(crate) fn framing(&self, path: &Path) -> Result<Framing> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        let format = match (self.format, extension.as_str()) {
            (Some(format), _) => format,
            (None, "csv") => Format::Csv,
            (None, "tsv" | "tab") => Format::Tsv,
            (None, "jsonl" | "ndjson") => Format::Jsonl,
            (None, _) if self.delimiter.is_some() => Format::Csv,
            _ => return Err(Error::UnknownFormat(path.to_owned())),
        };
        if format == Format::Jsonl {
            if self.delimiter.is_some() || self.header.is_some() {
                let problem = format!("is for CSV and TSV files, and {} is JSONL", path.display());
                let option = if self.header.is_some() { "data.header" } else { "data.delimiter" };
                return Err(Error::option(option, problem));
            }
            return Ok(Framing::Lines);
        }
        let delimiter = self.delimiter.unwrap_or(if format == Format::Tsv { '\t' } else { ',' });
        if !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r') {
            let problem =
                format!("is {delimiter:?}; it must be one ASCII character, not a quote or line break");
            return Err(Error::option("data.delimiter", problem));
        }
        Ok(Framing::Delimited { delimiter: delimiter as u8, quoted: self.quoted })
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
    file: File,
    framing: Framing,
    /// The number of the file's first row in the table.
    first_row: usize,
    /// For each field of a delimited file, its column in the table.
    order: Vec<usize>,
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
/// and, for JSONL, an object. What stays in memory is [`INDEX_BYTES_PER_ROW`] bytes a row; a cell is read from the file
/// when it is asked for. Any number of threads may read at once.
///
/// Rows are numbered from 0 in the order of the files; [`place`](Self::place) gives the file and line for messages.
#[derive(Debug)]
pub struct Table {
    sources: Vec<Source>,
    columns: Vec<String>,
    rows: Vec<RowPlace>,
}

impl Table {
    /// Opens files as one table, one after the other.
    ///
    /// The columns of a CSV or TSV table are its header's; those of a JSONL file are all keys that occur, in the order of
    /// their first appearance, and a row may lack some. Files may list the same columns in different orders.
    ///
    /// # Errors
    /// For a file that cannot be read, is empty, has only a header, has a row with too few or too many fields, is not
    /// UTF-8 or not JSON, or whose columns differ from the first file's; each names file, row and field.
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
        Place::new(&self.source(row).path, u64::from(self.rows[row].line))
    }

    /// The files of the table, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
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
        let RowPlace { offset, length, .. } = self.rows[row];
        let mut bytes = vec![0; length as usize];
        match read_exact_at(&source.file, &mut bytes, offset) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Error::Changed(source.path.clone()));
            }
            Err(e) => return Err(Error::io(&source.path, "read")(e)),
        }
        let cells = self.parse(source, &bytes).ok_or_else(|| Error::Changed(source.path.clone()))?;
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
        match source.framing {
            Framing::Delimited { delimiter, quoted } => {
                let mut fields = Fields::default();
                fields.split(bytes, delimiter, quoted);
                if fields.len() != source.order.len() {
                    return None;
                }
                for (field, &column) in source.order.iter().enumerate() {
                    cells[column] = Cell::Text(std::str::from_utf8(fields.get(field)).ok()?.to_owned());
                }
            }
            Framing::Lines => {
                let Object(entries) = serde_json::from_slice(bytes).ok()?;
                for (key, value) in entries {
                    let column = self.columns.iter().position(|column| *column == key)?;
                    cells[column] = json_cell(value).ok()?;
                }
            }
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
        let text = self.text(column)?.trim();
        match text {
            "" => Err(self.missing(column)),
            "true" | "True" => Ok(1.0),
            "false" | "False" => Ok(0.0),
            _ => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(self.wrong(column, "a number", &format!("{text:?}"))),
            },
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
