//! Texts read once, in order, without holding the file: what `embed` reads.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::roles::Columns;
use crate::table::open::{
    check_fields, fault, given_header, header, json_problem, json_row, not_utf8, numbered,
};
use crate::table::{Cell, Fields, Framing, HEAD_BYTES, Records, TableOptions, first_width, json_cell, plain};

const BUFFER_BYTES: usize = 1 << 18;

/// The texts of a file or of standard input, one at a time.
///
/// A `.csv`, `.tsv`, `.jsonl` or `.json` file gives the cells of one column; any other file, and standard input, one text a
/// line (a blank line is the empty text, so that line `i` stays text `i`). [`TableOptions::format`] set overrides both. One
/// row is in memory at a time, never the file. Files in UTF-16 or compressed with gzip are unpacked as
/// [`Table`](crate::Table) does it.
///
/// Iteration ends after the first error.
pub struct TextStream {
    path: PathBuf,
    records: Records<Box<dyn BufRead + Send>>,
    kind: Kind,
    row: Vec<u8>,
    fields: Fields,
    finished: bool,
}

enum Kind {
    Lines,
    Delimited {
        delimiter: u8,
        quoted: bool,
        columns: Vec<String>,
        column: usize,
    },
    /// The column is known from the first row on.
    Json {
        column: Option<String>,
    },
}

impl TextStream {
    /// Opens `path`, or standard input for `-`. `column` names the column of the text; without it the column is found as by
    /// [`Columns::text_column`].
    ///
    /// # Errors
    /// If the file cannot be opened, a CSV or TSV file has no header or no such column, or `column` is set for a file of
    /// plain lines.
    pub fn open(path: impl AsRef<Path>, column: Option<&str>, options: &TableOptions) -> Result<TextStream> {
        let path = path.as_ref();
        if path.as_os_str() == "-" {
            return TextStream::read(std::io::stdin(), Path::new("standard input"), column, options);
        }
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let kind = file.metadata().map_err(Error::io(path, "open"))?;
        if kind.is_dir() {
            let source = std::io::Error::new(std::io::ErrorKind::IsADirectory, "is a folder");
            return Err(Error::Io { path: path.to_owned(), action: "open", source });
        }
        // A pipe can be read only once, and is taken as it comes.
        let file = if kind.is_file() { plain::open(path)?.0 } else { file };
        TextStream::read(file, path, column, options)
    }

    /// Reads from any source; `name` stands for the file in messages, and its extension gives the format.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(
        mut input: impl Read + Send + 'static,
        name: &Path,
        column: Option<&str>,
        options: &TableOptions,
    ) -> Result<TextStream> {
        // Whether the beginning is needed: plain lines are passed on as they come.
        let table = match options.layout(name, b"", true) {
            Ok(_) => true,
            Err(Error::UnknownFormat(_)) => false,
            Err(e) => return Err(e),
        };
        let (mut head, mut framing) = (Vec::new(), None);
        if table {
            let io = Error::io(name, "read");
            input.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(io)?;
            plain::check(name, &head)?;
            framing = Some(options.layout(name, &head, (head.len() as u64) < HEAD_BYTES)?.framing);
        }
        let width = match framing {
            Some(Framing::Delimited { delimiter, quoted }) => first_width(&head, delimiter, quoted),
            _ => 0,
        };
        let input = std::io::Cursor::new(head).chain(BufReader::with_capacity(BUFFER_BYTES, input));
        let input: Box<dyn BufRead + Send> = Box::new(input);
        let io = Error::io(name, "read");
        let mut records = Records::new(input, framing.unwrap_or(Framing::Lines)).map_err(io)?;
        let mut row = Vec::new();
        let kind = match framing {
            None => {
                if let Some(column) = column {
                    let problem = format!(
                        "is \"{column}\", but {} is read as plain lines; for a table set data.format to csv, tsv or jsonl",
                        name.display()
                    );
                    return Err(Error::option("data.text", problem));
                }
                Kind::Lines
            }
            Some(Framing::Lines | Framing::Array) => Kind::Json { column: column.map(str::to_owned) },
            Some(Framing::Delimited { delimiter, quoted }) => {
                let columns = match &options.header {
                    Some(names) => given_header(names)?.unwrap_or_else(|| numbered(width)),
                    None => {
                        let start = records.next(&mut row).map_err(|f| fault(name, f))?;
                        let start = start.ok_or_else(|| Error::Empty(name.to_owned()))?;
                        header(name, &row, start, delimiter, quoted)?
                    }
                };
                let column = text_column(column, &columns)?;
                Kind::Delimited { delimiter, quoted, columns, column }
            }
        };
        let path = name.to_owned();
        Ok(TextStream { path, records, kind, row, fields: Fields::default(), finished: false })
    }

    /// The next `size` texts, or those that are left; `None` at the end.
    ///
    /// # Errors
    /// The first error of the texts read.
    pub fn chunk(&mut self, size: usize) -> Option<Result<Vec<String>>> {
        let chunk: Result<Vec<String>> = self.by_ref().take(size).collect();
        match chunk {
            Ok(texts) if texts.is_empty() => None,
            chunk => Some(chunk),
        }
    }

    fn read_next(&mut self) -> Result<Option<String>> {
        let path = &self.path;
        loop {
            let Some(start) = self.records.next(&mut self.row).map_err(|f| fault(path, f))? else {
                return Ok(None);
            };
            match &mut self.kind {
                Kind::Lines => match std::str::from_utf8(&self.row) {
                    Ok(text) => return Ok(Some(text.to_owned())),
                    Err(_) => return Err(not_utf8(path, &self.row, start, "whole line")),
                },
                Kind::Delimited { delimiter, quoted, columns, column } => {
                    self.fields.split(&self.row, *delimiter, *quoted);
                    check_fields(path, &self.row, start, &self.fields, columns)?;
                    return Ok(Some(String::from_utf8_lossy(self.fields.get(*column)).into_owned()));
                }
                Kind::Json { column } => {
                    let Some(object) = json_row(path, &self.row, start)? else { continue };
                    let place = || crate::error::Place::new(path, start.line);
                    let name = match column {
                        Some(name) => name,
                        None => {
                            let keys: Vec<String> = object.0.iter().map(|(key, _)| key.to_string()).collect();
                            let found = text_column(None, &keys)?;
                            column.insert(keys[found].clone())
                        }
                    };
                    let missing = || Error::MissingCell { place: place(), field: name.clone() };
                    let (_, value) = object.0.iter().find(|(key, _)| key == name).ok_or_else(missing)?;
                    let found = match json_cell(value) {
                        Ok(Cell::Text(text)) => return Ok(Some(text)),
                        Ok(Cell::Missing) => return Err(missing()),
                        Ok(Cell::List(_)) => "a list".to_owned(),
                        Ok(Cell::Other(found)) => found.to_owned(),
                        Err(e) => {
                            let problem = format!("field \"{name}\": {}", json_problem(&e));
                            return Err(Error::Json { place: place(), problem });
                        }
                    };
                    return Err(Error::CellType {
                        place: place(),
                        field: name.clone(),
                        expected: "a text",
                        found,
                    });
                }
            }
        }
    }
}

fn text_column(name: Option<&str>, columns: &[String]) -> Result<usize> {
    Columns { text: name.map(str::to_owned), ..Columns::default() }.text_column(columns)
}

impl Iterator for TextStream {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        if self.finished {
            return None;
        }
        let next = self.read_next();
        self.finished = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

#[cfg(test)]
mod tests;
