//! An id names one row: rows of all segments are merged in the order of their ids, and those that are not deleted
//! compared with their neighbours.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::Path;

use crate::bitmap::Bitmap;
use crate::edit::write_deleted;
use crate::error::{Error, Result};
use crate::format::Manifest;
use crate::segment::{Ids, read_deleted};

/// What becomes of rows whose id another row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    Refuse,
    /// The last row stays and the others are deleted.
    Replace,
}

/// Looks for ids that the segments from `first` on give again, and refuses them or deletes the earlier rows.
///
/// Reads the ids once, in order; memory does not grow with their number, but with that of the rows to delete.
pub(crate) fn settle_duplicates(
    folder: &Path,
    manifest: &mut Manifest,
    first: usize,
    duplicates: Duplicates,
) -> Result<()> {
    let entries = &manifest.segments;
    if first >= entries.len() {
        return Ok(());
    }
    let ids: Vec<Ids> = entries.iter().map(|entry| Ids::open(folder, entry)).collect::<Result<_>>()?;
    let mut deleted: Vec<Option<Bitmap>> =
        entries.iter().map(|entry| read_deleted(folder, entry)).collect::<Result<_>>()?;
    let mut bases = vec![0u64];
    entries.iter().for_each(|entry| bases.push(bases[bases.len() - 1] + u64::from(entry.rows)));

    // The next row of each segment, by id and then by row.
    let next = |segment: usize, at: usize| {
        let row = *ids[segment].order().get(at)?;
        Some(Reverse((ids[segment].strings.get(row as usize), segment, row, at)))
    };
    let mut heap: BinaryHeap<_> = (0..ids.len()).filter_map(|segment| next(segment, 0)).collect();
    let mut last: Option<(&str, usize, u32)> = None;
    let mut replaced: HashMap<usize, Vec<u32>> = HashMap::new();
    while let Some(Reverse((id, segment, row, at))) = heap.pop() {
        heap.extend(next(segment, at + 1));
        if deleted[segment].as_ref().is_some_and(|deleted| deleted.get(row as usize)) {
            continue;
        }
        if let Some((_, earlier, other)) = last.filter(|(before, ..)| *before == id) {
            match duplicates {
                Duplicates::Refuse => {
                    return Err(Error::DuplicateId {
                        id: id.to_owned(),
                        first: bases[earlier] + u64::from(other),
                        second: bases[segment] + u64::from(row),
                    });
                }
                Duplicates::Replace => replaced.entry(earlier).or_default().push(other),
            }
        }
        last = Some((id, segment, row));
    }
    for (segment, rows) in replaced {
        let size = manifest.segments[segment].rows as usize;
        let map = deleted[segment].get_or_insert_with(|| Bitmap::new(size));
        rows.iter().for_each(|&row| map.set(row as usize));
        write_deleted(folder, manifest, segment, map)?;
    }
    Ok(())
}
