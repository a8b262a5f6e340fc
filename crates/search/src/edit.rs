//! Changes to an index that stands: deleting rows, and writing it anew without them.

use std::path::Path;

use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::format::{DeletedEntry, Kind, Manifest, Sealed, VERSION};
use crate::index::{Index, IndexInfo};
use crate::segment::{Ids, SegmentWriter, read_deleted};
use crate::writer::lock;

/// What [`delete`] did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Deleted {
    /// Rows that were deleted.
    pub rows: usize,
    /// Ids that no row has, in the order given.
    pub unknown: Vec<String>,
}

/// Deletes the rows with these ids from the index at `path`. Searches that open it from now on leave them out; the room
/// that they take is free after [`compact`].
///
/// # Errors
/// If it is not an index, is damaged, another writer is at work on it or the disk refuses; it is then as before.
pub fn delete<S: AsRef<str>>(path: impl AsRef<Path>, ids: &[S]) -> Result<Deleted> {
    let path = path.as_ref();
    Manifest::read(path)?;
    let _lock = lock(path)?;
    let (mut manifest, _) = Manifest::read(path)?;
    let mut found = vec![false; ids.len()];
    let mut rows = 0;
    for segment in 0..manifest.segments.len() {
        let entry = &manifest.segments[segment];
        let known = Ids::open(path, entry)?;
        let mut map = read_deleted(path, entry)?.unwrap_or_else(|| Bitmap::new(entry.rows as usize));
        let before = map.count();
        let mut doomed: Vec<u32> = Vec::new();
        for (id, found) in ids.iter().zip(&mut found) {
            let live = known.find(id.as_ref()).iter().filter(|row| !map.get(**row as usize));
            let start = doomed.len();
            doomed.extend(live);
            *found |= doomed.len() > start;
        }
        doomed.iter().for_each(|&row| map.set(row as usize));
        let count = map.count();
        if count > before {
            rows += count - before;
            write_deleted(path, &mut manifest, segment, &map)?;
        }
    }
    if rows > 0 {
        manifest.commit(path)?;
        manifest.sweep(path);
    }
    let unknown =
        ids.iter().zip(found).filter(|(_, found)| !found).map(|(id, _)| id.as_ref().to_owned()).collect();
    Ok(Deleted { rows, unknown })
}

/// Writes the deleted rows of a segment, for the generation that the manifest will have next.
pub(crate) fn write_deleted(
    folder: &Path,
    manifest: &mut Manifest,
    segment: usize,
    map: &Bitmap,
) -> Result<()> {
    let generation = manifest.generation + 1;
    let entry = &mut manifest.segments[segment];
    let mut file = Sealed::create(entry.path(folder, &format!("deleted-{generation}")), Kind::Deleted)?;
    file.write(bytemuck::cast_slice(map.words()))?;
    entry.deleted = Some(DeletedEntry { generation, rows: map.count() as u32, file: file.finish()? });
    Ok(())
}

/// Writes the index at `path` anew without its deleted rows, in as few segments as its configuration allows. Rows keep
/// their order and get new numbers; vectors are copied bit for bit. Readers that have the index open keep what they see.
///
/// # Errors
/// If it is not an index, is damaged, another writer is at work on it or the disk refuses; it is then as before.
pub fn compact(path: impl AsRef<Path>) -> Result<IndexInfo> {
    let path = path.as_ref();
    Manifest::read(path)?;
    let _lock = lock(path)?;
    let index = Index::open(path)?;
    let mut manifest = index.manifest().clone();
    manifest.sweep(path);
    manifest.segments.clear();
    let result = rewrite(&index, path, &mut manifest).and_then(|()| manifest.commit(path));
    drop(index);
    match result {
        Ok(()) => {
            manifest.sweep(path);
            Ok(IndexInfo::of(&manifest, VERSION))
        }
        Err(error) => {
            if let Ok((old, _)) = Manifest::read(path) {
                old.sweep(path);
            }
            Err(error)
        }
    }
}

fn rewrite(index: &Index, path: &Path, manifest: &mut Manifest) -> Result<()> {
    let mut writer: Option<SegmentWriter> = None;
    for segment in index.segments() {
        for row in (0..segment.rows).filter(|row| !segment.is_deleted(*row)) {
            if writer.as_ref().is_some_and(SegmentWriter::is_full)
                && let Some(full) = writer.take()
            {
                manifest.segments.push(full.finish()?);
            }
            let target = match &mut writer {
                Some(writer) => writer,
                none => {
                    let number = manifest.next_segment;
                    manifest.next_segment += 1;
                    none.insert(SegmentWriter::create(path, number, manifest.config.segment_rows)?)
                }
            };
            let values = (manifest.columns.iter().enumerate())
                .map(|(place, column)| (place, segment.value(place, row, column.kind)));
            let id = segment.ids.strings.get(row);
            target.push(segment.bytes(row), id, segment.text(row).unwrap_or_default(), values)?;
        }
    }
    if let Some(last) = writer {
        manifest.segments.push(last.finish()?);
    }
    Ok(())
}
