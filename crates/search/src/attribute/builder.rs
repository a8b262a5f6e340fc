use std::collections::HashMap;
use std::path::PathBuf;

use super::{AttributeKind, Value};
use crate::bitmap;
use crate::error::Result;
use crate::format::{Kind, Sealed, SegmentColumn, StringsWriter};

/// The code of a null in a column of texts.
pub(crate) const NULL_CODE: u32 = u32::MAX;

/// One attribute of the rows of a segment that is being written.
#[derive(Default)]
pub(crate) struct ColumnBuilder {
    values: Values,
    rows: usize,
    /// Rows that are null, as bits.
    nulls: Vec<u64>,
    count: u32,
}

#[derive(Default)]
enum Values {
    #[default]
    Null,
    Bool(Vec<u8>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    String {
        codes: Vec<u32>,
        dictionary: HashMap<String, u32>,
    },
}

impl ColumnBuilder {
    /// Sets the value of row `row`, which is not before the last one; rows between them are null. The type has been
    /// admitted by the column's entry.
    pub(crate) fn push(&mut self, row: usize, value: &Value) {
        self.pad(row);
        match (&mut self.values, value) {
            (_, Value::Null) => {
                self.pad(row + 1);
                return;
            }
            (Values::Bool(values), Value::Bool(value)) => values.push(u8::from(*value)),
            (Values::I64(values), Value::I64(value)) => values.push(*value),
            (Values::F64(values), Value::F64(value)) => values.push(*value),
            (Values::F64(values), Value::I64(value)) => values.push(*value as f64),
            (Values::I64(values), Value::F64(value)) => {
                let mut wider: Vec<f64> = values.iter().map(|&n| n as f64).collect();
                wider.push(*value);
                self.values = Values::F64(wider);
            }
            (Values::String { codes, dictionary }, Value::String(text)) => {
                let next = dictionary.len() as u32;
                codes.push(match dictionary.get(*text) {
                    Some(&code) => code,
                    None => {
                        dictionary.insert((*text).to_owned(), next);
                        next
                    }
                });
            }
            (Values::Null, _) => {
                let rows = self.rows;
                self.values = match value.kind() {
                    AttributeKind::Bool => Values::Bool(vec![0; rows]),
                    AttributeKind::I64 => Values::I64(vec![0; rows]),
                    AttributeKind::F64 => Values::F64(vec![0.0; rows]),
                    AttributeKind::String => {
                        Values::String { codes: vec![NULL_CODE; rows], dictionary: HashMap::new() }
                    }
                    AttributeKind::Null => Values::Null,
                };
                return self.push(row, value);
            }
            // The entry admits no other pair.
            _ => return,
        }
        self.rows += 1;
        self.nulls.resize(bitmap::words(self.rows), 0);
    }

    /// Makes the rows up to `rows` null that have no value yet.
    fn pad(&mut self, rows: usize) {
        for row in self.rows..rows {
            self.nulls.resize(bitmap::words(row + 1), 0);
            self.nulls[row / 64] |= 1 << (row % 64);
            self.count += 1;
        }
        let rows = rows.max(self.rows);
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.resize(rows, 0),
            Values::I64(values) => values.resize(rows, 0),
            Values::F64(values) => values.resize(rows, 0.0),
            Values::String { codes, .. } => codes.resize(rows, NULL_CODE),
        }
        self.rows = rows;
    }

    /// Writes the column of a segment of `rows` rows; nothing where every value is null.
    ///
    /// Numbers: the values, then the bits of the nulls. Truth values: bytes 0 and 1, zeros up to a multiple of 8, then the
    /// bits. Texts: a code (u32) a row, zeros up to a multiple of 8, then the dictionary in ascending order.
    pub(crate) fn finish(mut self, path: PathBuf, rows: usize) -> Result<Option<SegmentColumn>> {
        self.pad(rows);
        let nulls = self.count;
        let column = |kind, distinct, file| Some(SegmentColumn { kind, nulls, distinct, file });
        if matches!(self.values, Values::Null) {
            return Ok(None);
        }
        let mut file = Sealed::create(path, Kind::Column)?;
        let kind = match self.values {
            Values::String { mut codes, dictionary } => {
                let mut texts: Vec<(String, u32)> = dictionary.into_iter().collect();
                texts.sort_unstable();
                let mut place = vec![0u32; texts.len()];
                texts.iter().enumerate().for_each(|(at, (_, code))| place[*code as usize] = at as u32);
                codes.iter_mut().filter(|c| **c != NULL_CODE).for_each(|c| *c = place[*c as usize]);
                file.write(bytemuck::cast_slice(&codes))?;
                file.pad()?;
                let mut strings = StringsWriter::after(file);
                texts.iter().try_for_each(|(text, _)| strings.push(text))?;
                return Ok(column(AttributeKind::String, texts.len() as u32, strings.finish()?));
            }
            Values::Bool(values) => {
                file.write(&values)?;
                file.pad()?;
                AttributeKind::Bool
            }
            Values::I64(values) => {
                file.write(bytemuck::cast_slice(&values))?;
                AttributeKind::I64
            }
            Values::F64(values) => {
                file.write(bytemuck::cast_slice(&values))?;
                AttributeKind::F64
            }
            Values::Null => AttributeKind::Null,
        };
        file.write(bytemuck::cast_slice(&self.nulls))?;
        Ok(column(kind, 0, file.finish()?))
    }
}
