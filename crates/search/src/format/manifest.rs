//! The one file that says which others make up an index. It is replaced by renaming, so a reader sees the index before
//! a change or after it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sealed::{FileRecord, Kind, seal, unseal};
use crate::attribute::AttributeKind;
use crate::config::IndexConfig;
use crate::error::{Error, Result};

/// The name of the manifest in the folder of an index.
pub(crate) const MANIFEST: &str = "manifest";
/// More than any index needs, and little enough to be read whole.
const LARGEST: u64 = 1 << 28;
/// Attributes that an index may have.
pub(crate) const MAX_COLUMNS: usize = 1024;

/// The body of the manifest, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Counts changes, from 1.
    pub(crate) generation: u64,
    pub(crate) config: IndexConfig,
    /// Attributes in the order in which they first appeared. Segments name them by place.
    pub(crate) columns: Vec<ColumnEntry>,
    /// The number of the next segment; none is used twice.
    pub(crate) next_segment: u64,
    pub(crate) segments: Vec<SegmentEntry>,
}

/// An attribute of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnEntry {
    pub(crate) name: String,
    pub(crate) kind: AttributeKind,
    /// Holds a whole number that no 64-bit fraction can represent, so it cannot become a column of fractions.
    pub(crate) wide: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u64,
    /// Rows, deleted ones counted.
    pub(crate) rows: u32,
    pub(crate) vectors: FileRecord,
    pub(crate) ids: FileRecord,
    pub(crate) order: FileRecord,
    /// Absent where no row has a text.
    pub(crate) texts: Option<FileRecord>,
    /// One for each of the first attributes of the index; absent where every value is null.
    pub(crate) columns: Vec<Option<SegmentColumn>>,
    pub(crate) deleted: Option<DeletedEntry>,
}

/// An attribute's values in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentColumn {
    /// The type in this segment: a column that became one of fractions keeps whole numbers in earlier segments.
    pub(crate) kind: AttributeKind,
    pub(crate) nulls: u32,
    /// Different texts, for a column of texts.
    pub(crate) distinct: u32,
    pub(crate) file: FileRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeletedEntry {
    /// The generation in which the file was written, which is part of its name.
    pub(crate) generation: u64,
    pub(crate) rows: u32,
    pub(crate) file: FileRecord,
}

impl SegmentEntry {
    /// The path of one of the segment's files.
    pub(crate) fn path(&self, folder: &Path, part: &str) -> PathBuf {
        segment_path(folder, self.number, part)
    }

    pub(crate) fn live(&self) -> u64 {
        u64::from(self.rows - self.deleted.map_or(0, |deleted| deleted.rows))
    }

    /// The names and lengths of the segment's files.
    pub(crate) fn files(&self) -> Vec<(String, FileRecord)> {
        let mut parts = vec![
            ("vectors".to_owned(), self.vectors),
            ("ids".to_owned(), self.ids),
            ("order".to_owned(), self.order),
        ];
        parts.extend(self.texts.map(|file| ("texts".to_owned(), file)));
        for (place, column) in self.columns.iter().enumerate() {
            parts.extend(column.map(|column| (format!("column-{place}"), column.file)));
        }
        parts.extend(self.deleted.map(|deleted| (format!("deleted-{}", deleted.generation), deleted.file)));
        parts.into_iter().map(|(part, file)| (file_name(self.number, &part), file)).collect()
    }
}

fn file_name(segment: u64, part: &str) -> String {
    format!("{segment:08}.{part}")
}

pub(crate) fn segment_path(folder: &Path, segment: u64, part: &str) -> PathBuf {
    folder.join(file_name(segment, part))
}

impl Manifest {
    pub(crate) fn new(config: IndexConfig) -> Self {
        Manifest { generation: 0, config, columns: Vec::new(), next_segment: 1, segments: Vec::new() }
    }

    /// Reads the manifest of the index in `folder`, and the version it was written in.
    pub(crate) fn read(folder: &Path) -> Result<(Self, u32)> {
        let not = |problem| Error::NotAnIndex { path: folder.to_owned(), problem };
        let path = folder.join(MANIFEST);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(_) if !folder.exists() => return Err(not("nothing stands there")),
            Err(_) if !folder.is_dir() => return Err(not("an index is a folder")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(not("it has no manifest")),
            Err(e) => return Err(Error::io(&path, "open")(e)),
        };
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(Error::damaged(&path, "it is not a file of a size that a manifest can have"));
        }
        let file = fs::read(&path).map_err(Error::io(&path, "read"))?;
        let (body, _, version) = unseal(&path, &file, Kind::Manifest)?;
        let manifest: Manifest =
            serde_json::from_slice(body).map_err(|e| Error::damaged(&path, e.to_string()))?;
        manifest.check().map_err(|problem| Error::damaged(&path, problem))?;
        Ok((manifest, version))
    }

    /// Refuses what no writer writes. Lengths are compared when the files are opened.
    fn check(&self) -> Result<(), String> {
        self.config.check().map_err(|e| e.to_string())?;
        if self.config.dim == 0 {
            return Err("the dimension is 0".into());
        }
        let names: HashSet<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        if names.len() != self.columns.len() || self.columns.len() > MAX_COLUMNS {
            return Err("it names an attribute twice, or too many".into());
        }
        let mut last = 0;
        for segment in &self.segments {
            let number = segment.number;
            if number <= last || number >= self.next_segment {
                return Err(format!("segment {number} is out of order"));
            }
            last = number;
            if segment.rows == 0 || segment.deleted.is_some_and(|deleted| deleted.rows > segment.rows) {
                return Err(format!("segment {number} has {} rows and more deleted", segment.rows));
            }
            if segment.columns.len() > self.columns.len() {
                return Err(format!("segment {number} has more attributes than the index"));
            }
            for (column, entry) in segment.columns.iter().zip(&self.columns) {
                let Some(column) = column else { continue };
                let fits = column.kind == entry.kind
                    || (column.kind, entry.kind) == (AttributeKind::I64, AttributeKind::F64);
                if !fits || column.kind == AttributeKind::Null || column.nulls > segment.rows {
                    return Err(format!("attribute \"{}\" does not fit in segment {number}", entry.name));
                }
            }
        }
        Ok(())
    }

    /// Replaces the manifest in `folder` by this one, as the next generation.
    pub(crate) fn commit(&mut self, folder: &Path) -> Result<()> {
        self.generation += 1;
        let path = folder.join(MANIFEST);
        let body = serde_json::to_vec(self).map_err(|e| Error::io(&path, "write")(e.into()))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".partial-");
        #[cfg(unix)]
        {
            // The mode of an ordinary new file (the umask applies); temporary files are private otherwise.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder).map_err(Error::io(&path, "create"))?;
        file.write_all(&seal(&body, Kind::Manifest)).map_err(Error::io(&path, "write"))?;
        file.as_file().sync_all().map_err(Error::io(&path, "write"))?;
        // What the manifest names must be in the folder, on the disk, before the manifest is.
        sync(folder);
        file.persist(&path).map_err(|e| Error::io(&path, "rename the finished file to")(e.error))?;
        sync(folder);
        Ok(())
    }

    /// Removes the files of segments that this manifest does not name: what a change has replaced, and what an
    /// interrupted writer has left. A reader that has them open keeps them; where the system forbids removal they stay.
    pub(crate) fn sweep(&self, folder: &Path) {
        let named: HashSet<String> =
            self.segments.iter().flat_map(|s| s.files()).map(|(name, _)| name).collect();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let of_a_segment = name.split_once('.').is_some_and(|(number, part)| {
                number.len() >= 8
                    && number.bytes().all(|b| b.is_ascii_digit())
                    && ["vectors", "ids", "order", "texts", "column-", "deleted-"]
                        .iter()
                        .any(|known| part.starts_with(known))
            });
            if of_a_segment && !named.contains(&name) || name.starts_with(".partial-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Puts the names in a folder on the disk, where the system can.
pub(crate) fn sync(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}
