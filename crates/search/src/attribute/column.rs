use super::builder::NULL_CODE;
use super::{AttributeKind, Value};
use crate::bitmap;
use crate::error::Result;
use crate::format::{Mapped, SegmentColumn, Strings};

/// One attribute of a segment, in a memory map that was checked when it was opened.
#[derive(Debug)]
pub(crate) struct Column {
    kind: AttributeKind,
    rows: usize,
    file: File,
}

#[derive(Debug)]
enum File {
    Plain(Mapped),
    Texts(Strings),
}

/// The values of a column, by its type. `nulls` has a bit for each row.
pub(crate) enum View<'a> {
    Bool {
        values: &'a [u8],
        nulls: &'a [u64],
    },
    I64 {
        values: &'a [i64],
        nulls: &'a [u64],
    },
    F64 {
        values: &'a [f64],
        nulls: &'a [u64],
    },
    /// Codes into the dictionary, which is in ascending order. A code beyond it is a null.
    String {
        codes: &'a [u32],
        dictionary: &'a Strings,
    },
}

impl Column {
    /// Checks the file of a column against its entry.
    pub(crate) fn open(file: Mapped, entry: &SegmentColumn, rows: usize) -> Result<Self> {
        let kind = entry.kind;
        if kind == AttributeKind::String {
            let distinct = entry.distinct as usize;
            let strings = Strings::open(file, (rows * 4).next_multiple_of(8), distinct)?;
            if strings.iter().zip(strings.iter().skip(1)).any(|(a, b)| a >= b) {
                return Err(strings.file().damaged("its dictionary is out of order"));
            }
            let codes: &[u32] = strings.file().numbers(0, rows)?;
            if codes.iter().any(|&code| code != NULL_CODE && code as usize >= distinct) {
                return Err(strings.file().damaged("a code is not in its dictionary"));
            }
            let nulls = codes.iter().filter(|code| **code == NULL_CODE).count();
            if nulls != entry.nulls as usize {
                return Err(strings.file().damaged("the manifest counts its nulls otherwise"));
            }
            return Ok(Column { kind, rows, file: File::Texts(strings) });
        }
        let at = match kind {
            AttributeKind::Bool => rows.next_multiple_of(8),
            _ => rows * 8,
        };
        let nulls: &[u64] = file.numbers(at, bitmap::words(rows))?;
        let count: u32 = nulls.iter().map(|word| word.count_ones()).sum();
        if bitmap::Bitmap::from_words(nulls.to_vec(), rows).is_none() || count != entry.nulls {
            return Err(file.damaged("the manifest counts its nulls otherwise"));
        }
        if file.body().len() != at + bitmap::words(rows) * 8 {
            return Err(file.damaged("it is longer than its rows need"));
        }
        let wrong = match kind {
            AttributeKind::Bool => file.numbers::<u8>(0, rows)?.iter().any(|value| *value > 1),
            AttributeKind::F64 => file.numbers::<f64>(0, rows)?.iter().any(|value| !value.is_finite()),
            _ => false,
        };
        if wrong {
            return Err(file.damaged("it holds a value that its type does not have"));
        }
        Ok(Column { kind, rows, file: File::Plain(file) })
    }

    pub(crate) fn view(&self) -> View<'_> {
        let rows = self.rows;
        match &self.file {
            File::Texts(dictionary) => View::String { codes: dictionary.file().checked(0, rows), dictionary },
            File::Plain(file) => {
                let nulls = |at| file.checked(at, bitmap::words(rows));
                match self.kind {
                    AttributeKind::Bool => {
                        View::Bool { values: file.checked(0, rows), nulls: nulls(rows.next_multiple_of(8)) }
                    }
                    AttributeKind::F64 => View::F64 { values: file.checked(0, rows), nulls: nulls(rows * 8) },
                    _ => View::I64 { values: file.checked(0, rows), nulls: nulls(rows * 8) },
                }
            }
        }
    }

    /// The value of a row of the segment.
    pub(crate) fn value(&self, row: usize) -> Value<'_> {
        match self.view() {
            View::Bool { nulls, .. } | View::I64 { nulls, .. } | View::F64 { nulls, .. }
                if bitmap::bit(nulls, row) =>
            {
                Value::Null
            }
            View::Bool { values, .. } => Value::Bool(values[row] == 1),
            View::I64 { values, .. } => Value::I64(values[row]),
            View::F64 { values, .. } => Value::F64(values[row]),
            View::String { codes, .. } if codes[row] == NULL_CODE => Value::Null,
            View::String { codes, dictionary } => Value::String(dictionary.get(codes[row] as usize)),
        }
    }
}
