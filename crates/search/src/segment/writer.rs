use std::path::{Path, PathBuf};

use crate::attribute::{ColumnBuilder, Value};
use crate::error::Result;
use crate::format::{Kind, Sealed, SegmentEntry, StringsWriter, segment_path};

/// Bytes of ids and attributes that a segment holds in memory while it is written; it is closed when there are more.
const LARGEST_MEMORY: usize = 128 << 20;

/// A segment being written. Vectors, ids and texts go to their files at once; ids are also kept for sorting, and
/// attributes for their dictionaries, so memory grows with a segment and not with the index.
pub(crate) struct SegmentWriter {
    folder: PathBuf,
    number: u64,
    limit: usize,
    vectors: Sealed,
    ids: StringsWriter,
    texts: StringsWriter,
    names: Vec<String>,
    columns: Vec<ColumnBuilder>,
    memory: usize,
}

impl SegmentWriter {
    pub(crate) fn create(folder: &Path, number: u64, limit: usize) -> Result<Self> {
        let path = |part| segment_path(folder, number, part);
        Ok(SegmentWriter {
            folder: folder.to_owned(),
            number,
            limit,
            vectors: Sealed::create(path("vectors"), Kind::Vectors)?,
            ids: StringsWriter::create(path("ids"), Kind::Ids)?,
            texts: StringsWriter::create(path("texts"), Kind::Texts)?,
            names: Vec::new(),
            columns: Vec::new(),
            memory: 0,
        })
    }

    /// Adds a row, as its vector or code is stored. `values` are places of attributes in the manifest and their values.
    pub(crate) fn push<'a>(
        &mut self,
        vector: &[u8],
        id: &str,
        text: &str,
        values: impl IntoIterator<Item = (usize, Value<'a>)>,
    ) -> Result<()> {
        self.vectors.write(vector)?;
        self.ids.push(id)?;
        self.texts.push(text)?;
        let row = self.names.len();
        self.names.push(id.to_owned());
        self.memory += id.len() + 64;
        for (place, value) in values {
            if place >= self.columns.len() {
                self.columns.resize_with(place + 1, ColumnBuilder::default);
            }
            self.columns[place].push(row, &value);
            self.memory += 8 + if let Value::String(text) = value { text.len() } else { 0 };
        }
        Ok(())
    }

    /// Whether the segment should be closed before another row.
    pub(crate) fn is_full(&self) -> bool {
        self.names.len() >= self.limit || self.memory >= LARGEST_MEMORY
    }

    /// Closes the files and returns what the manifest needs to know.
    pub(crate) fn finish(self) -> Result<SegmentEntry> {
        let SegmentWriter { folder, number, vectors, ids, texts, names, columns, .. } = self;
        let rows = names.len();
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_unstable_by(|&a, &b| (&names[a as usize], a).cmp(&(&names[b as usize], b)));
        let mut file = Sealed::create(segment_path(&folder, number, "order"), Kind::Order)?;
        file.write(bytemuck::cast_slice(&order))?;
        let texts = if texts.is_blank() {
            texts.discard();
            None
        } else {
            Some(texts.finish()?)
        };
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(place, column)| {
                column.finish(segment_path(&folder, number, &format!("column-{place}")), rows)
            })
            .collect::<Result<_>>()?;
        Ok(SegmentEntry {
            number,
            rows: rows as u32,
            vectors: vectors.finish()?,
            ids: ids.finish()?,
            order: file.finish()?,
            texts,
            columns,
            deleted: None,
        })
    }
}
