//! A segment: a run of rows that never changes, in a handful of files.

mod writer;

use std::path::Path;

use rayon::prelude::*;

use crate::attribute::{AttributeKind, Column, Value};
use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::format::{Kind, Manifest, Mapped, SegmentEntry, Strings};
use parallax_kernels::exact;

use crate::scan::words;
pub(crate) use writer::SegmentWriter;

/// The ids of a segment, and its rows in the order of their ids.
#[derive(Debug)]
pub(crate) struct Ids {
    pub(crate) strings: Strings,
    order: Mapped,
}

impl Ids {
    pub(crate) fn open(folder: &Path, entry: &SegmentEntry) -> Result<Self> {
        let rows = entry.rows as usize;
        let file = Mapped::open(entry.path(folder, "ids"), Kind::Ids, entry.ids)?;
        let ids = Ids {
            strings: Strings::open(file, 0, rows)?,
            order: Mapped::open(entry.path(folder, "order"), Kind::Order, entry.order)?,
        };
        let order: &[u32] = ids.order.numbers(0, rows)?;
        let key = |row: u32| (ids.strings.get(row as usize), row);
        // Strictly ascending rows that all exist are every row once.
        if ids.order.body().len() != rows * 4
            || order.iter().any(|&row| row as usize >= rows)
            || order.windows(2).any(|pair| key(pair[0]) >= key(pair[1]))
        {
            return Err(ids.order.damaged("its rows are not in the order of their ids"));
        }
        Ok(ids)
    }

    pub(crate) fn order(&self) -> &[u32] {
        self.order.checked(0, self.strings.len())
    }

    /// The rows with this id, ascending.
    pub(crate) fn find(&self, id: &str) -> &[u32] {
        let order = self.order();
        let start = order.partition_point(|&row| self.strings.get(row as usize) < id);
        let count = order[start..].partition_point(|&row| self.strings.get(row as usize) == id);
        &order[start..start + count]
    }
}

/// The rows that are deleted, where there are any.
pub(crate) fn read_deleted(folder: &Path, entry: &SegmentEntry) -> Result<Option<Bitmap>> {
    let Some(deleted) = entry.deleted else { return Ok(None) };
    let path = entry.path(folder, &format!("deleted-{}", deleted.generation));
    let file = Mapped::open(path, Kind::Deleted, deleted.file)?;
    let words: Vec<u64> = file.numbers(0, file.body().len() / 8)?.to_vec();
    Bitmap::from_words(words, entry.rows as usize)
        .filter(|map| map.count() == deleted.rows as usize && file.body().len() == map.words().len() * 8)
        .map(Some)
        .ok_or_else(|| file.damaged("its bits do not fit the rows of the segment"))
}

/// A segment in memory maps, checked when it was opened.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) rows: usize,
    /// The number of the first row in the index.
    pub(crate) base: usize,
    dim: usize,
    /// Bytes of a stored vector or code.
    row_bytes: usize,
    vectors: Mapped,
    /// ‖x‖ of each stored row; none of codes.
    pub(crate) norms: Vec<f64>,
    pub(crate) ids: Ids,
    texts: Option<Strings>,
    pub(crate) columns: Vec<Option<Column>>,
    pub(crate) deleted: Option<Bitmap>,
}

impl Segment {
    pub(crate) fn open(
        folder: &Path,
        manifest: &Manifest,
        entry: &SegmentEntry,
        base: usize,
    ) -> Result<Self> {
        let (rows, dim) = (entry.rows as usize, manifest.config.dim);
        let vectors = Mapped::open(entry.path(folder, "vectors"), Kind::Vectors, entry.vectors)?;
        let binary = manifest.config.similarity.is_binary();
        let row_bytes = if binary { words(dim) * 8 } else { dim * 4 };
        let norms: Vec<f64> = if binary {
            let codes: &[u64] = vectors.numbers(0, rows * words(dim))?;
            let spare = if dim.is_multiple_of(64) { 0 } else { u64::MAX << (dim % 64) };
            if codes.chunks_exact(words(dim)).any(|code| code.last().is_some_and(|word| word & spare != 0)) {
                return Err(vectors.damaged(format!("a code has more than {dim} bits")));
            }
            Vec::new()
        } else {
            let values: &[f32] = vectors.numbers(0, rows * dim)?;
            let rows = values.par_chunks_exact(dim).with_min_len(256);
            rows.map(|row| exact::dot(row, row).sqrt()).collect()
        };
        if vectors.body().len() != rows * row_bytes {
            return Err(vectors.damaged("it is longer than its rows need"));
        }
        if let Some(row) = norms.iter().position(|norm| !norm.is_finite()) {
            return Err(
                vectors.damaged(format!("row {row} (counted from 0) holds a number that is not finite"))
            );
        }
        let texts = match entry.texts {
            Some(record) => {
                let file = Mapped::open(entry.path(folder, "texts"), Kind::Texts, record)?;
                Some(Strings::open(file, 0, rows)?)
            }
            None => None,
        };
        let columns = entry
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let Some(column) = column else { return Ok(None) };
                let path = entry.path(folder, &format!("column-{place}"));
                Column::open(Mapped::open(path, Kind::Column, column.file)?, column, rows).map(Some)
            })
            .collect::<Result<_>>()?;
        let (ids, deleted) = (Ids::open(folder, entry)?, read_deleted(folder, entry)?);
        Ok(Segment { rows, base, dim, row_bytes, vectors, norms, ids, texts, columns, deleted })
    }

    /// The bytes of a row's vector or code.
    pub(crate) fn bytes(&self, row: usize) -> &[u8] {
        self.vectors.checked(row * self.row_bytes, self.row_bytes)
    }

    /// Codes from `start` on, `[count, words]`, of an index of codes.
    pub(crate) fn codes(&self, start: usize, count: usize) -> &[u64] {
        self.vectors.checked(start * self.row_bytes, count * (self.row_bytes / 8))
    }

    /// Rows from `start` on: `[count, dim]`, of an index of vectors.
    pub(crate) fn vectors(&self, start: usize, count: usize) -> &[f32] {
        self.vectors.checked(start * self.dim * 4, count * self.dim)
    }

    /// The text of a row; `None` where it is empty or was not given.
    pub(crate) fn text(&self, row: usize) -> Option<&str> {
        self.texts.as_ref().map(|texts| texts.get(row)).filter(|text| !text.is_empty())
    }

    /// The value of an attribute, by its place in the manifest.
    pub(crate) fn value(&self, place: usize, row: usize, kind: AttributeKind) -> Value<'_> {
        match self.columns.get(place).and_then(Option::as_ref).map(|column| column.value(row)) {
            None => Value::Null,
            Some(Value::I64(value)) if kind == AttributeKind::F64 => Value::F64(value as f64),
            Some(value) => value,
        }
    }

    pub(crate) fn is_deleted(&self, row: usize) -> bool {
        self.deleted.as_ref().is_some_and(|deleted| deleted.get(row))
    }
}
