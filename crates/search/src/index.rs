use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parallax_kernels::scan;
use rayon::prelude::*;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::attribute::{AttributeKind, Attributes};
use crate::bitmap::Bitmap;
use crate::config::{IndexConfig, Similarity};
use crate::error::{Error, Result};
use crate::filter::{Bound, Filter};
use crate::format::{Manifest, SegmentEntry, VERSION};
use crate::scan::{Copy, Scan, nearest, tiles};
use crate::segment::Segment;

/// An index on disk, open for searching.
///
/// Its files are memory-mapped and were checked when it was opened; it goes on seeing the rows that were there then,
/// whatever writers do meanwhile. Any number of threads may search at once. Work runs on the current rayon pool.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    manifest: Manifest,
    version: u32,
    segments: Vec<Segment>,
    /// Bytes that the copy of the rows may take.
    copy_limit: usize,
    /// The mean of some rows.
    centre: OnceLock<Vec<f32>>,
    copy: OnceLock<Copy>,
    copying: AtomicBool,
    /// Queries so far.
    asked: AtomicUsize,
}

/// Bytes that the copy of an index may take, where nothing else is said.
const COPY_LIMIT: usize = 4 << 30;
/// Queries after which the rows are copied: reading them as they are has then cost about as much.
const WORTH_A_COPY: usize = 8;

/// A row that a search found.
///
/// Serialises as an object with `row`, `id`, `score`, `text` and `attributes`.
#[derive(Clone, Copy)]
pub struct Hit<'a> {
    /// The number of the row, from 0, over all segments in order; deleted rows keep theirs until the index is compacted.
    pub row: usize,
    /// The row's id.
    pub id: &'a str,
    /// The [`Similarity`] of the query and the row; higher is nearer.
    pub score: f64,
    /// The row's text; `None` if it has none or an empty one.
    pub text: Option<&'a str>,
    index: &'a Index,
}

impl Hit<'_> {
    /// The row's attributes, nulls included, in the order in which the index first saw them.
    pub fn attributes(&self) -> Attributes {
        self.index.attributes(self.row).unwrap_or_default()
    }
}

impl PartialEq for Hit<'_> {
    /// The same row and score.
    fn eq(&self, other: &Self) -> bool {
        (self.row, self.id, self.score.to_bits(), self.text)
            == (other.row, other.id, other.score.to_bits(), other.text)
    }
}

impl std::fmt::Debug for Hit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hit {{ row: {}, id: {:?}, score: {} }}", self.row, self.id, self.score)
    }
}

impl Serialize for Hit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Hit", 5)?;
        object.serialize_field("row", &self.row)?;
        object.serialize_field("id", self.id)?;
        object.serialize_field("score", &self.score)?;
        object.serialize_field("text", &self.text)?;
        object.serialize_field("attributes", &self.attributes())?;
        object.end()
    }
}

/// What an index holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IndexInfo {
    /// The version of the format that its manifest is written in.
    pub version: u32,
    /// How often it was written, from 1.
    pub generation: u64,
    /// Numbers in a vector.
    pub dim: usize,
    /// What makes one vector near another.
    pub similarity: Similarity,
    /// The model that made the vectors.
    pub model: Option<String>,
    /// What else its builder wrote down.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Rows that a search may return.
    pub rows: u64,
    /// Rows that are deleted and still take room.
    pub deleted: u64,
    /// Segments that the rows are divided into.
    pub segments: usize,
    /// Whether any row has a text.
    pub has_texts: bool,
    /// Bytes of all files but the manifest, footers not counted.
    pub bytes: u64,
    /// The attributes, in the order in which they first appeared.
    pub attributes: Vec<AttributeInfo>,
}

/// An attribute of an index.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AttributeInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
    /// Rows in which it is null, deleted ones counted.
    pub nulls: u64,
}

impl IndexInfo {
    pub(crate) fn of(manifest: &Manifest, version: u32) -> Self {
        let segments = &manifest.segments;
        let nulls = |place: usize| {
            let of = |s: &SegmentEntry| {
                u64::from(s.columns.get(place).copied().flatten().map_or(s.rows, |column| column.nulls))
            };
            segments.iter().map(of).sum()
        };
        let all: u64 = segments.iter().map(|s| u64::from(s.rows)).sum();
        let rows = segments.iter().map(SegmentEntry::live).sum();
        IndexInfo {
            version,
            generation: manifest.generation,
            dim: manifest.config.dim,
            similarity: manifest.config.similarity,
            model: manifest.config.model.clone(),
            metadata: manifest.config.metadata.clone(),
            rows,
            deleted: all - rows,
            segments: segments.len(),
            has_texts: segments.iter().any(|s| s.texts.is_some()),
            bytes: segments
                .iter()
                .flat_map(|s| s.files())
                .fold(0, |sum, (_, file)| file.bytes.saturating_add(sum)),
            attributes: (manifest.columns.iter().enumerate())
                .map(|(place, column)| AttributeInfo {
                    name: column.name.clone(),
                    kind: column.kind,
                    nulls: nulls(place),
                })
                .collect(),
        }
    }
}

impl Index {
    /// Opens an index and checks every file of it: footers, checksums, and that every place, code and text in them is
    /// valid. That reads all files once.
    ///
    /// # Errors
    /// If the folder is not an index, or a file is missing, damaged, cut off or of a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Index> {
        let path = path.as_ref();
        let (mut manifest, mut version) = Manifest::read(path)?;
        loop {
            let error = match Index::of(path, manifest, version) {
                Ok(index) => return Ok(index),
                Err((error, generation)) => {
                    // A writer may have replaced the manifest, and removed files, since it was read.
                    (manifest, version) = Manifest::read(path)?;
                    if manifest.generation == generation {
                        return Err(error);
                    }
                    error
                }
            };
            drop(error);
        }
    }

    fn of(path: &Path, manifest: Manifest, version: u32) -> Result<Index, (Error, u64)> {
        let bases = manifest.segments.iter().scan(0usize, |next, segment| {
            let base = *next;
            *next += segment.rows as usize;
            Some(base)
        });
        let entries: Vec<(usize, &SegmentEntry)> = bases.zip(&manifest.segments).collect();
        let opened: Vec<Result<Segment>> =
            entries.par_iter().map(|(base, entry)| Segment::open(path, &manifest, entry, *base)).collect();
        match opened.into_iter().collect::<Result<Vec<Segment>>>() {
            Ok(segments) => Ok(Index {
                path: path.to_owned(),
                manifest,
                version,
                segments,
                copy_limit: COPY_LIMIT,
                centre: OnceLock::new(),
                copy: OnceLock::new(),
                copying: AtomicBool::new(false),
                asked: AtomicUsize::new(0),
            }),
            Err(error) => Err((error, manifest.generation)),
        }
    }

    /// The best `k` rows for each query, best first: `queries` is `[q, dim]`, row after row, and the answer has `q` lists.
    ///
    /// The search is exact. Scores are those of [`Similarity`]; equal scores stand in the order of their rows. Deleted
    /// rows are left out, and rows for which the filter is not true. A list is shorter than `k` where fewer rows are
    /// left. The result is the same to the last bit for any number of threads.
    ///
    /// # Errors
    /// If `queries` is not whole rows of the index's dimension or holds NaN or an infinity, or if the filter names an
    /// attribute that is not there or compares it with a value of another type.
    pub fn search(&self, queries: &[f32], k: usize, filter: Option<&Filter>) -> Result<Vec<Vec<Hit<'_>>>> {
        let dim = self.manifest.config.dim;
        if !queries.len().is_multiple_of(dim) {
            let rows = queries.len().div_ceil(dim);
            return Err(Error::Dimension { what: "the queries", values: queries.len(), rows, dim });
        }
        if let Some(at) = queries.iter().position(|value| !value.is_finite()) {
            return Err(Error::QueryNotFinite { row: at / dim, column: at % dim, value: queries[at] });
        }
        let masks = self.masks(filter)?;
        let similarity = self.manifest.config.similarity;
        if similarity.is_binary() {
            let found = nearest(&self.segments, &masks, queries, dim, k);
            let hit = |&(distance, row): &(u32, usize)| self.hit(row, 0.0 - f64::from(distance));
            return Ok(found.iter().map(|list| list.iter().map(hit).collect()).collect());
        }
        let tiles = tiles(&self.segments, &masks);
        let mut queries = queries.to_vec();
        let norms: Vec<f64> = queries.par_chunks_mut(dim).map(|query| similarity.prepare(query)).collect();
        let k = k.min(tiles.iter().map(|tile| tile.len()).sum());
        let copy = self.copy(norms.len());
        let centre = self.centre();
        let segments = &self.segments;
        let scan = Scan { similarity, dim, segments, queries: &queries, norms: &norms, k, centre, copy };
        let hits = scan.run(&tiles);
        Ok(hits.into_iter().map(|found| found.iter().map(|f| self.hit(f.row, f.score)).collect()).collect())
    }

    /// Bounds the memory of the copy that searches read: from the ninth query on an index holds its rows a second time,
    /// rounded to bf16 (two bytes a number, and 8 a row), where the machine multiplies bf16 on tile registers. It makes
    /// searches for single queries about twice as fast and changes no result. An index whose copy would take more than
    /// `bytes`, 4 GiB by default, goes without; 0 never copies.
    pub fn with_copy_limit(mut self, bytes: usize) -> Self {
        self.copy_limit = bytes;
        self
    }

    /// The copy of the rows, once as many queries have been asked as make it worth its while.
    fn copy(&self, queries: usize) -> Option<&Copy> {
        let (dim, similarity) = (self.manifest.config.dim, self.manifest.config.similarity);
        let asked = self.asked.fetch_add(queries, Ordering::Relaxed).saturating_add(queries);
        if asked <= WORTH_A_COPY || Copy::bytes(dim, &self.segments) > self.copy_limit {
            return None;
        }
        if self.copy.get().is_none() {
            // One search makes it, and others go without meanwhile: one that waited for it could be the very work that
            // making it waits for, on the same pool.
            if self.copying.swap(true, Ordering::Relaxed) {
                return None;
            }
            let _ = self.copy.set(Copy::new(similarity, dim, &self.segments, self.centre()));
        }
        self.copy.get()
    }

    /// What is subtracted from rows and queries before they are rounded. Any vector would do.
    fn centre(&self) -> &[f32] {
        self.centre.get_or_init(|| match self.segments.first() {
            Some(segment) => scan::centre(segment.vectors(0, segment.rows), self.manifest.config.dim),
            None => vec![0.0; self.manifest.config.dim],
        })
    }

    /// The number of rows that a search with this filter may return.
    ///
    /// # Errors
    /// As [`search`](Self::search), for the filter.
    pub fn count(&self, filter: Option<&Filter>) -> Result<usize> {
        let masks = self.masks(filter)?;
        Ok(self.segments.iter().zip(masks).map(|(s, mask)| mask.map_or(s.rows, |mask| mask.count())).sum())
    }

    /// For each segment the rows that may be returned; `None` for all of them.
    fn masks(&self, filter: Option<&Filter>) -> Result<Vec<Option<Bitmap>>> {
        let bound = filter.map(|filter| Bound::new(filter, &self.manifest.columns)).transpose()?;
        let mask = |segment: &Segment| {
            let kept = bound.as_ref().map(|bound| bound.rows(segment));
            match (kept, &segment.deleted) {
                (None, None) => None,
                (Some(kept), None) => Some(kept),
                (kept, Some(deleted)) => {
                    let mut kept = kept.unwrap_or_else(|| Bitmap::full(segment.rows));
                    kept.and_not(deleted);
                    Some(kept)
                }
            }
        };
        Ok(self.segments.par_iter().map(mask).collect())
    }

    fn hit(&self, row: usize, score: f64) -> Hit<'_> {
        let (id, text) = self
            .place(row)
            .map_or(("", None), |(segment, at)| (segment.ids.strings.get(at), segment.text(at)));
        Hit { row, id, score, text, index: self }
    }

    /// The segment of a row, and its place there.
    fn place(&self, row: usize) -> Option<(&Segment, usize)> {
        let segment = &self.segments[..self.segments.partition_point(|s| s.base <= row)].last()?;
        (row - segment.base < segment.rows).then(|| (*segment, row - segment.base))
    }

    /// The folder of the index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the index was created with.
    pub fn config(&self) -> &IndexConfig {
        &self.manifest.config
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.manifest.config.dim
    }

    /// Rows that a search may return.
    pub fn len(&self) -> usize {
        self.manifest.segments.iter().map(|segment| segment.live() as usize).sum()
    }

    /// Whether there is no row to return.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows with a number: deleted ones are counted.
    pub fn numbered_rows(&self) -> usize {
        self.segments.last().map_or(0, |segment| segment.base + segment.rows)
    }

    /// What the index holds.
    pub fn info(&self) -> IndexInfo {
        IndexInfo::of(&self.manifest, self.version)
    }

    /// The row with this id, unless it is deleted.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.segments.iter().rev().find_map(|segment| {
            let row = segment.ids.find(id).iter().rev().find(|row| !segment.is_deleted(**row as usize))?;
            Some(segment.base + *row as usize)
        })
    }

    /// Whether a row is deleted; `None` if there is no row of that number.
    pub fn is_deleted(&self, row: usize) -> Option<bool> {
        self.place(row).map(|(segment, at)| segment.is_deleted(at))
    }

    /// The id of a row; `None` if there is no row of that number.
    pub fn id(&self, row: usize) -> Option<&str> {
        self.place(row).map(|(segment, at)| segment.ids.strings.get(at))
    }

    /// The text of a row, where it has one.
    pub fn text(&self, row: usize) -> Option<&str> {
        self.place(row).and_then(|(segment, at)| segment.text(at))
    }

    /// The vector of a row as it is stored: normalised, for cosine; `None` in an index of binary codes.
    pub fn vector(&self, row: usize) -> Option<&[f32]> {
        if self.manifest.config.similarity.is_binary() {
            return None;
        }
        self.place(row).map(|(segment, at)| segment.vectors(at, 1))
    }

    /// The binary code of a row, in an index of them: bit `i mod 64` of word `i / 64` is set where number `i` of its vector was at
    /// least 0.
    pub fn code(&self, row: usize) -> Option<&[u64]> {
        if !self.manifest.config.similarity.is_binary() {
            return None;
        }
        self.place(row).map(|(segment, at)| segment.codes(at, 1))
    }

    /// The attributes of a row, nulls included; `None` if there is no row of that number.
    pub fn attributes(&self, row: usize) -> Option<Attributes> {
        let (segment, at) = self.place(row)?;
        let columns = self.manifest.columns.iter().enumerate();
        Some(columns.map(|(place, c)| (c.name.clone(), segment.value(place, at, c.kind).json())).collect())
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// The version of the format that is written; every version from 1 to this one can be read.
pub const FORMAT_VERSION: u32 = VERSION;
