use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::TempDir;

use crate::attribute::{Attributes, Value};
use crate::config::IndexConfig;
use crate::error::{Error, Result};
use crate::format::{ColumnEntry, MANIFEST, MAX_COLUMNS, Manifest, VERSION, sync};
use crate::index::IndexInfo;
use crate::scan::pack;
use crate::segment::SegmentWriter;
use crate::unique::{Duplicates, settle_duplicates};

/// Rows to add: entry `i` of every part describes row `i`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// `[rows, dim]`, row after row.
    pub vectors: &'a [f32],
    /// One for each row, not empty. An id names one row of the index.
    pub ids: &'a [String],
    /// One for each row, or none at all. An empty text is no text.
    pub texts: &'a [String],
    /// One object for each row, or none at all. Values are texts, numbers, true, false or null; a name that an object
    /// lacks is null.
    pub attributes: &'a [Attributes],
}

/// Writes an index, or adds to one.
///
/// Rows stream to the disk: what stays in memory is at most the ids and attributes of one segment
/// ([`IndexConfig::segment_rows`]). Nothing is seen by readers before [`finish`](Self::finish), which replaces the manifest
/// by renaming. A writer that is dropped, fails or is killed before leaves the old index, or nothing where there was none
/// (after a kill, a hidden folder `.partial-…` beside the new index, or files in an old one that the next writer removes).
#[derive(Debug)]
pub struct IndexWriter {
    /// Where the index will be.
    path: PathBuf,
    place: Place,
    manifest: Manifest,
    segment: Option<SegmentWriter>,
    /// The first segment that this writer has written.
    first_segment: usize,
    duplicates: Duplicates,
    /// Rows added so far.
    rows: u64,
    failed: bool,
    finished: bool,
}

#[derive(Debug)]
enum Place {
    /// A folder beside the path, which takes its name in the end.
    New(TempDir),
    /// The folder of the index itself, which no other writer may enter meanwhile.
    Old { _lock: File },
}

impl std::fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SegmentWriter")
    }
}

/// Keeps other writers out of an index until the file is dropped.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path, "open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(folder.to_owned())),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, "lock")(e)),
    }
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

impl IndexWriter {
    /// Starts a new index at `path`, where nothing may stand but an empty folder. The folder that it goes into must exist.
    ///
    /// # Errors
    /// If something stands there, a setting cannot be used or the folder cannot be written to.
    pub fn create(path: impl AsRef<Path>, config: IndexConfig) -> Result<IndexWriter> {
        let path = path.as_ref();
        config.check()?;
        if fs::symlink_metadata(path).is_ok() && !is_empty_folder(path) {
            return Err(Error::Exists(path.to_owned()));
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".partial-");
        #[cfg(unix)]
        {
            // The mode of an ordinary new folder (the umask applies); temporary folders are private otherwise.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let folder = builder.tempdir_in(parent).map_err(Error::io(path, "create"))?;
        Ok(IndexWriter::start(path, Place::New(folder), Manifest::new(config)))
    }

    /// Starts a new index in place of the one at `path`, which stays until [`finish`](Self::finish); where nothing stands
    /// there, as [`create`](Self::create).
    ///
    /// # Errors
    /// If something stands there that is not an index, another writer is at work on it, or as [`create`](Self::create).
    pub fn overwrite(path: impl AsRef<Path>, config: IndexConfig) -> Result<IndexWriter> {
        let path = path.as_ref();
        if !path.join(MANIFEST).exists() {
            return IndexWriter::create(path, config);
        }
        config.check()?;
        let lock = lock(path)?;
        let mut manifest = Manifest::new(config);
        match Manifest::read(path) {
            Ok((old, _)) => {
                old.sweep(path);
                (manifest.generation, manifest.next_segment) = (old.generation, old.next_segment);
            }
            // A damaged index may be replaced too. Its numbers are unknown; readers of it there are none.
            Err(Error::Damaged { .. } | Error::Version { .. }) => manifest.next_segment = unused_number(path),
            Err(error) => return Err(error),
        }
        Ok(IndexWriter::start(path, Place::Old { _lock: lock }, manifest))
    }

    /// Starts adding rows to the index at `path`.
    ///
    /// # Errors
    /// If it is not an index, its manifest is damaged, or another writer is at work on it.
    pub fn append(path: impl AsRef<Path>) -> Result<IndexWriter> {
        let path = path.as_ref();
        // First, so that no lock is left in a folder that is not an index.
        Manifest::read(path)?;
        let lock = lock(path)?;
        let (manifest, _) = Manifest::read(path)?;
        manifest.sweep(path);
        Ok(IndexWriter::start(path, Place::Old { _lock: lock }, manifest))
    }

    fn start(path: &Path, place: Place, manifest: Manifest) -> Self {
        IndexWriter {
            path: path.to_owned(),
            place,
            first_segment: manifest.segments.len(),
            manifest,
            segment: None,
            duplicates: Duplicates::Refuse,
            rows: 0,
            failed: false,
            finished: false,
        }
    }

    /// Lets a later row replace an earlier one of the same id, which is deleted, instead of refusing it.
    pub fn replace_duplicates(mut self) -> Self {
        self.duplicates = Duplicates::Replace;
        self
    }

    /// Numbers in a vector; 0 until the first rows are added, where the configuration leaves it open.
    pub fn dim(&self) -> usize {
        self.manifest.config.dim
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds rows. A batch that is refused leaves the writer as it was.
    ///
    /// # Errors
    /// If the parts have different lengths, a vector has another dimension or holds NaN or an infinity, an id is empty, or
    /// an attribute's value has another type than its column. Rows in messages count from 0 over all that was added.
    /// After an error of the disk the writer cannot be used again.
    pub fn add(&mut self, batch: Batch<'_>) -> Result<()> {
        if self.failed {
            return Err(Error::Failed(self.path.clone()));
        }
        if batch.ids.is_empty() && batch.vectors.is_empty() {
            return Ok(());
        }
        let (dim, columns) = self.check(&batch)?;
        self.manifest.config.dim = dim;
        self.manifest.columns = columns;
        self.failed = true;
        self.write(&batch)?;
        self.failed = false;
        self.rows += batch.ids.len() as u64;
        Ok(())
    }

    /// The dimension and the attributes of the index once the batch is in it.
    fn check(&self, batch: &Batch<'_>) -> Result<(usize, Vec<ColumnEntry>)> {
        let (rows, values) = (batch.ids.len(), batch.vectors.len());
        for (what, found) in [("texts", batch.texts.len()), ("attributes", batch.attributes.len())] {
            if found != 0 && found != rows {
                return Err(Error::Lengths { what, found, rows });
            }
        }
        let dim = match self.manifest.config.dim {
            0 if rows != 0 && values.is_multiple_of(rows) => values / rows,
            dim => dim,
        };
        if rows.checked_mul(dim) != Some(values) || dim == 0 {
            return Err(Error::Dimension { what: "the vectors", values, rows, dim });
        }
        IndexConfig { dim, ..self.manifest.config.clone() }.check()?;
        if let Some(at) = batch.vectors.iter().position(|value| !value.is_finite()) {
            let (row, column) = (at / dim, at % dim);
            let id = batch.ids[row].clone();
            return Err(Error::NotFinite {
                row: self.rows + row as u64,
                id,
                column,
                value: batch.vectors[at],
            });
        }
        for (row, id) in batch.ids.iter().enumerate() {
            check_id(self.rows + row as u64, id)?;
        }
        let mut columns = self.manifest.columns.clone();
        for (row, attributes) in batch.attributes.iter().enumerate() {
            for (name, json) in attributes {
                let place = columns.iter().position(|column| column.name == *name).unwrap_or_else(|| {
                    columns.push(ColumnEntry::new(name));
                    columns.len() - 1
                });
                if columns.len() > MAX_COLUMNS {
                    let problem =
                        format!("\"{name}\" is one attribute more than the {MAX_COLUMNS} that are allowed");
                    return Err(Error::Row { row: self.rows + row as u64, problem });
                }
                Value::of(json).and_then(|value| columns[place].admit(&value)).map_err(|problem| {
                    Error::Attribute {
                        row: self.rows + row as u64,
                        id: batch.ids[row].clone(),
                        field: name.clone(),
                        problem,
                    }
                })?;
            }
        }
        Ok((dim, columns))
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<()> {
        let (dim, similarity) = (self.manifest.config.dim, self.manifest.config.similarity);
        let mut vectors = batch.vectors.to_vec();
        vectors.par_chunks_exact_mut(dim).with_min_len(64).for_each(|row| {
            similarity.prepare(row);
        });
        let mut code = Vec::new();
        for (row, vector) in vectors.chunks_exact(dim).enumerate() {
            let stored: &[u8] = if similarity.is_binary() {
                code.clear();
                pack(vector, &mut code);
                bytemuck::cast_slice(&code)
            } else {
                bytemuck::cast_slice(vector)
            };
            if self.segment.as_ref().is_some_and(SegmentWriter::is_full) {
                self.close_segment()?;
            }
            let columns = &self.manifest.columns;
            let attributes = batch.attributes.get(row);
            let values = attributes.into_iter().flatten().filter_map(|(name, json)| {
                // Checked before anything was written.
                Some((columns.iter().position(|column| column.name == *name)?, Value::of(json).ok()?))
            });
            let writer = match &mut self.segment {
                Some(writer) => writer,
                none => {
                    let folder = match &self.place {
                        Place::New(folder) => folder.path(),
                        Place::Old { .. } => &self.path,
                    };
                    let (number, limit) = (self.manifest.next_segment, self.manifest.config.segment_rows);
                    self.manifest.next_segment += 1;
                    none.insert(SegmentWriter::create(folder, number, limit)?)
                }
            };
            let text = batch.texts.get(row).map_or("", String::as_str);
            writer.push(stored, &batch.ids[row], text, values)?;
        }
        Ok(())
    }

    fn close_segment(&mut self) -> Result<()> {
        if let Some(writer) = self.segment.take() {
            self.manifest.segments.push(writer.finish()?);
        }
        Ok(())
    }

    /// Puts the index, with all that was added, in its place.
    ///
    /// # Errors
    /// If an id is given twice (unless later rows replace earlier ones), no dimension is known, or the disk refuses; the
    /// old index, or nothing, is then there as before.
    pub fn finish(mut self) -> Result<IndexInfo> {
        if self.failed {
            return Err(Error::Failed(self.path.clone()));
        }
        if self.manifest.config.dim == 0 {
            let problem = "is not set, and no row says what it is".to_owned();
            return Err(Error::Config { option: "dim", problem });
        }
        self.close_segment()?;
        let folder = match &self.place {
            Place::New(folder) => folder.path().to_owned(),
            Place::Old { .. } => self.path.clone(),
        };
        settle_duplicates(&folder, &mut self.manifest, self.first_segment, self.duplicates)?;
        self.manifest.commit(&folder)?;
        self.finished = true;
        match &mut self.place {
            Place::Old { .. } => self.manifest.sweep(&folder),
            Place::New(temporary) => {
                if is_empty_folder(&self.path) {
                    let _ = fs::remove_dir(&self.path);
                }
                if fs::symlink_metadata(&self.path).is_ok() {
                    return Err(Error::Exists(self.path.clone()));
                }
                fs::rename(&folder, &self.path)
                    .map_err(Error::io(&self.path, "rename the finished index to"))?;
                temporary.disable_cleanup(true);
                if let Some(parent) = self.path.parent() {
                    sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
                }
            }
        }
        Ok(IndexInfo::of(&self.manifest, VERSION))
    }
}

impl Drop for IndexWriter {
    fn drop(&mut self) {
        // A new index lies in a temporary folder, which removes itself.
        if let (Place::Old { .. }, false) = (&self.place, self.finished) {
            self.segment = None;
            if let Ok((manifest, _)) = Manifest::read(&self.path) {
                manifest.sweep(&self.path);
            }
        }
    }
}

/// A segment number above all that occur in a folder.
fn unused_number(folder: &Path) -> u64 {
    let names =
        fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter_map(|name| name.split_once('.')?.0.parse::<u64>().ok()).max().unwrap_or(0).saturating_add(1)
}

/// Refuses an id that no one could ask for.
fn check_id(row: u64, id: &str) -> Result<()> {
    const LONGEST: usize = 1 << 16;
    let problem = match id.len() {
        0 => "the id is empty".to_owned(),
        n if n > LONGEST => format!("the id has {n} bytes; at most {LONGEST} are allowed"),
        _ => return Ok(()),
    };
    Err(Error::Row { row, problem })
}
