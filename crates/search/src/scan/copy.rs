use parallax_kernels::isa;
use parallax_kernels::scan::{Form, Tile as Ready};
use rayon::prelude::*;

use super::tiles::{TILE_ROWS, Tile};
use crate::config::Similarity;
use crate::segment::Segment;

/// All rows of an index made ready for scans and kept in memory: two bytes a number where there are tile registers, and
/// eight bytes a row elsewhere.
///
/// A search for one query is as fast as its rows come from memory, and these are half as many bytes.
#[derive(Debug)]
pub(crate) struct Copy {
    form: Form,
    /// For each segment its runs of [`TILE_ROWS`] rows.
    tiles: Vec<Vec<Ready>>,
}

impl Copy {
    pub(crate) fn new(similarity: Similarity, dim: usize, segments: &[Segment], centre: &[f32]) -> Self {
        let form = Form::fastest(isa::current());
        let of = |segment: &Segment| -> Vec<Ready> {
            (0..segment.rows.div_ceil(TILE_ROWS))
                .into_par_iter()
                .map(|tile| {
                    let start = tile * TILE_ROWS;
                    let mut ready = Ready::new(form, similarity.metric(), dim);
                    ready.fill(segment.vectors(start, TILE_ROWS.min(segment.rows - start)), centre);
                    ready
                })
                .collect()
        };
        Copy { form, tiles: segments.iter().map(of).collect() }
    }

    /// Bytes that the copy of an index takes.
    pub(crate) fn bytes(dim: usize, segments: &[Segment]) -> usize {
        let form = Form::fastest(isa::current());
        let tiles: usize = segments.iter().map(|segment| segment.rows.div_ceil(TILE_ROWS)).sum();
        tiles.saturating_mul(Ready::memory_bytes(form, TILE_ROWS, dim))
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The rows of a tile, gathered into `room` where they do not stand together; `None` if they have to be gathered and
    /// are read as they are anyway.
    pub(crate) fn of<'a>(&'a self, tile: &Tile, room: &'a mut Ready) -> Option<&'a Ready> {
        match tile {
            Tile::Run { segment, start, .. } => self.tiles.get(*segment)?.get(start / TILE_ROWS),
            Tile::Gather(_) if self.form == Form::Single => None,
            Tile::Gather(places) => {
                room.gather(places.iter().map(|&(segment, row)| {
                    (&self.tiles[segment as usize][row as usize / TILE_ROWS], row as usize % TILE_ROWS)
                }));
                Some(room)
            }
        }
    }
}
