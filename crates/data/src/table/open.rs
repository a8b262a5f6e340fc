//! The one pass over each file that checks it and notes where its rows lie.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::{
    Cell, Fault, Fields, Folder, Framing, HEAD_BYTES, Layout, MAX_ROW_BYTES, Object, Records, RowPlace,
    Source, Start, Storage, Table, TableOptions, json_cell, plain,
};
use crate::error::{Error, Place, Result};

const BUFFER_BYTES: usize = 1 << 18;

pub(crate) fn fault(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Io(source) => Error::Io { path: path.to_owned(), action: "read", source },
        Fault::OpenQuote { line } => Error::OpenQuote { place: Place::new(path, line) },
        Fault::TooLong { line } => Error::RowTooLong { place: Place::new(path, line), limit: MAX_ROW_BYTES },
        Fault::Json { line, problem } => Error::Json { place: Place::new(path, line), problem },
        Fault::Layout { problem, hint } => {
            Error::JsonLayout { path: path.to_owned(), problem, hint: hint.to_owned() }
        }
    }
}

pub(super) fn open<P: AsRef<Path>>(paths: &[P], options: &TableOptions) -> Result<Table> {
    let mut table = Table { sources: Vec::new(), columns: Vec::new(), rows: Vec::new(), notes: Vec::new() };
    for path in paths {
        let path = path.as_ref();
        let first_row = table.rows.len();
        let (storage, columns, notes) = if path.is_dir() {
            let (folder, note) = Folder::open(path, &mut table.rows)?;
            let columns = folder.columns();
            (Storage::Folder(folder), columns, vec![note])
        } else {
            file(path, options, &mut table.rows)?
        };
        // The same of several files is said once.
        for note in notes {
            let about = format!("{}: {note}", path.display());
            if !table.notes.iter().any(|said| said.ends_with(&format!(": {note}"))) {
                table.notes.push(about);
            }
        }
        if table.rows.len() > u32::MAX as usize {
            return Err(Error::TooManyRows(path.to_owned()));
        }
        let order = match table.sources.first() {
            None => {
                let order = (0..columns.len()).collect();
                table.columns = columns;
                order
            }
            Some(first) => {
                let differ = || Error::ColumnsDiffer {
                    first: first.path.clone(),
                    second: path.to_owned(),
                    first_columns: table.columns.clone(),
                    second_columns: columns.clone(),
                };
                if columns.len() != table.columns.len() {
                    return Err(differ());
                }
                let place = |name| table.columns.iter().position(|column| column == name);
                columns.iter().map(place).collect::<Option<Vec<_>>>().ok_or_else(differ)?
            }
        };
        table.sources.push(Source { path: path.to_owned(), storage, first_row, order });
    }
    if table.sources.is_empty() { Err(Error::NoFiles) } else { Ok(table) }
}

/// Opens one file and notes its rows; gives its columns and what was found out about it.
fn file(
    path: &Path,
    options: &TableOptions,
    rows: &mut Vec<RowPlace>,
) -> Result<(Storage, Vec<String>, Vec<String>)> {
    let (mut file, unpacked) = plain::open(path)?;
    let head = plain::head(&mut file, HEAD_BYTES).map_err(Error::io(path, "read"))?;
    let Layout { framing, note } = options.layout(path, &head, (head.len() as u64) < HEAD_BYTES)?;
    let input = BufReader::with_capacity(BUFFER_BYTES, &file);
    let records = Records::new(input, framing).map_err(Error::io(path, "read"))?;
    let columns = match framing {
        Framing::Delimited { delimiter, quoted } => {
            scan_delimited(path, records, delimiter, quoted, options.header.as_deref(), rows)?
        }
        Framing::Lines | Framing::Array => scan_json(path, records, rows)?,
    };
    let storage = match framing {
        Framing::Delimited { delimiter, quoted } => Storage::Delimited { file, delimiter, quoted },
        Framing::Lines | Framing::Array => Storage::Json(file),
    };
    Ok((storage, columns, unpacked.map(str::to_owned).into_iter().chain(note).collect()))
}

/// The names in a header row, trimmed of spaces.
pub(crate) fn header(
    path: &Path,
    row: &[u8],
    start: Start,
    delimiter: u8,
    quoted: bool,
) -> Result<Vec<String>> {
    let place = || Place::new(path, start.line);
    let mut fields = Fields::default();
    fields.split(row, delimiter, quoted);
    let mut names = Vec::with_capacity(fields.len());
    for field in 0..fields.len() {
        let Ok(name) = std::str::from_utf8(fields.get(field)) else {
            return Err(not_utf8(path, row, start, &format!("{} of the header", field + 1)));
        };
        names.push(name.trim().to_owned());
    }
    distinct(&names).map_err(|field| Error::DuplicateColumn { place: place(), field })?;
    Ok(names)
}

fn distinct(names: &[String]) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(name.clone()),
        None => Ok(()),
    }
}

/// The fields of a row as text, checked against the header.
pub(crate) fn check_fields(
    path: &Path,
    row: &[u8],
    start: Start,
    fields: &Fields,
    columns: &[String],
) -> Result<()> {
    if fields.len() != columns.len() {
        let place = Place::new(path, start.line);
        return Err(Error::Ragged { place, expected: columns.len(), found: fields.len() });
    }
    for (field, column) in columns.iter().enumerate() {
        // Each field by itself: two broken fields side by side could make one valid character.
        if std::str::from_utf8(fields.get(field)).is_err() {
            return Err(not_utf8(path, row, start, column));
        }
    }
    Ok(())
}

pub(crate) fn not_utf8(path: &Path, row: &[u8], start: Start, field: &str) -> Error {
    let inside = std::str::from_utf8(row).map_or_else(|e| e.valid_up_to(), |_| 0);
    Error::NotUtf8 {
        place: Place::new(path, start.line),
        field: field.to_owned(),
        byte: start.offset + inside as u64,
    }
}

/// The header given by the caller, checked; `None` for columns to be numbered.
pub(crate) fn given_header(names: &[String]) -> Result<Option<Vec<String>>> {
    if names.is_empty() {
        return Ok(None);
    }
    distinct(names).map_err(|name| Error::option("data.header", format!("names \"{name}\" twice")))?;
    Ok(Some(names.to_vec()))
}

/// column_1, column_2, ...
pub(crate) fn numbered(columns: usize) -> Vec<String> {
    (1..=columns).map(|number| format!("column_{number}")).collect()
}

fn row_place(path: &Path, start: Start, row: &[u8]) -> Result<RowPlace> {
    let line = u32::try_from(start.line).map_err(|_| Error::TooManyRows(path.to_owned()))?;
    // MAX_ROW_BYTES bounds the length far below 2^32.
    Ok(RowPlace { offset: start.offset, length: row.len() as u32, line })
}

fn scan_delimited(
    path: &Path,
    mut records: Records<BufReader<&File>>,
    delimiter: u8,
    quoted: bool,
    names: Option<&[String]>,
    rows: &mut Vec<RowPlace>,
) -> Result<Vec<String>> {
    let mut row = Vec::new();
    let mut columns = match names {
        Some(names) => given_header(names)?,
        None => {
            let start = records.next(&mut row).map_err(|f| fault(path, f))?;
            let start = start.ok_or_else(|| Error::Empty(path.to_owned()))?;
            Some(header(path, &row, start, delimiter, quoted)?)
        }
    };
    let before = rows.len();
    let mut fields = Fields::default();
    while let Some(start) = records.next(&mut row).map_err(|f| fault(path, f))? {
        fields.split(&row, delimiter, quoted);
        let columns = columns.get_or_insert_with(|| numbered(fields.len()));
        check_fields(path, &row, start, &fields, columns)?;
        rows.push(row_place(path, start, &row)?);
    }
    match (rows.len() > before, names, columns) {
        (true, _, Some(columns)) => Ok(columns),
        (false, None, _) => Err(Error::HeaderOnly(path.to_owned())),
        _ => Err(Error::Empty(path.to_owned())),
    }
}

/// Parses one row of JSON; `None` for a blank line.
pub(crate) fn json_row<'a>(path: &Path, row: &'a [u8], start: Start) -> Result<Option<Object<'a>>> {
    let place = || Place::new(path, start.line);
    let Ok(text) = std::str::from_utf8(row) else {
        return Err(not_utf8(path, row, start, "whole line"));
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let problem = |e: serde_json::Error| Error::Json { place: place(), problem: json_problem(&e) };
    serde_json::from_str(text).map(Some).map_err(problem)
}

/// The parser's words without its "at line 1", which would contradict the row of the file.
pub(crate) fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.column() > 0 => format!("{} at column {}", &text[..end], error.column()),
        _ => text,
    }
}

fn scan_json(
    path: &Path,
    mut records: Records<BufReader<&File>>,
    rows: &mut Vec<RowPlace>,
) -> Result<Vec<String>> {
    let mut row = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    // The row that last had each column, to notice a key that comes twice.
    let mut last_seen: Vec<u64> = Vec::new();
    let before = rows.len();
    while let Some(start) = records.next(&mut row).map_err(|f| fault(path, f))? {
        let Some(Object(entries)) = json_row(path, &row, start)? else { continue };
        let place = || Place::new(path, start.line);
        for (key, value) in entries {
            let column = match numbers.get(key.as_ref()) {
                Some(&column) => column,
                None => {
                    numbers.insert(key.to_string(), columns.len());
                    columns.push(key.to_string());
                    last_seen.push(0);
                    columns.len() - 1
                }
            };
            if last_seen[column] == start.line {
                return Err(Error::DuplicateColumn { place: place(), field: key.into_owned() });
            }
            last_seen[column] = start.line;
            let _checked: Cell = json_cell(value).map_err(|e| Error::Json {
                place: place(),
                problem: format!("field \"{}\": {}", columns[column], json_problem(&e)),
            })?;
        }
        rows.push(row_place(path, start, &row)?);
    }
    if rows.len() == before {
        return Err(Error::Empty(path.to_owned()));
    }
    if columns.is_empty() {
        return Err(Error::Json { place: Place::new(path, 1), problem: "no row has a field".to_owned() });
    }
    Ok(columns)
}
