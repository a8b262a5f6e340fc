use rayon::prelude::*;

use crate::bitmap::Bitmap;
use crate::segment::Segment;

/// Rows in a tile; a multiple of 64.
pub(crate) const TILE_ROWS: usize = 1024;

/// A segment and a row of it.
type Place = (u32, u32);

/// Rows whose scores are computed by one matrix product.
#[derive(Debug)]
pub(crate) enum Tile {
    /// Rows of one segment that stand together, read where they are. `skip` marks rows that are not wanted.
    Run { segment: usize, start: usize, count: usize, skip: Option<Box<[u64]>> },
    /// Single rows, copied together first.
    Gather(Vec<Place>),
}

/// The tiles of the wanted rows: all rows where there is no mask.
///
/// Of a run of rows with few that are wanted, only these are computed.
pub(crate) fn tiles(segments: &[Segment], masks: &[Option<Bitmap>]) -> Vec<Tile> {
    let parts: Vec<(Vec<Tile>, Vec<Place>)> = segments
        .par_iter()
        .zip(masks)
        .enumerate()
        .map(|(segment, (rows, mask))| of_segment(segment, rows.rows, mask.as_ref()))
        .collect();
    let mut tiles = Vec::new();
    let mut single = Vec::new();
    for (runs, rows) in parts {
        tiles.extend(runs);
        single.extend(rows);
    }
    tiles.extend(single.chunks(TILE_ROWS).map(|rows| Tile::Gather(rows.to_vec())));
    tiles
}

fn of_segment(segment: usize, rows: usize, mask: Option<&Bitmap>) -> (Vec<Tile>, Vec<Place>) {
    let (mut runs, mut single) = (Vec::new(), Vec::new());
    for start in (0..rows).step_by(TILE_ROWS) {
        let count = TILE_ROWS.min(rows - start);
        let Some(mask) = mask else {
            runs.push(Tile::Run { segment, start, count, skip: None });
            continue;
        };
        let wanted: Vec<usize> = mask.ones(start, start + count).collect();
        // Copying a row costs as much as computing a few of the products with it.
        if wanted.len() * 8 < count * 7 {
            single.extend(wanted.iter().map(|&row| (segment as u32, row as u32)));
            continue;
        }
        let skip = (wanted.len() < count)
            .then(|| mask.words()[start / 64..].iter().take(TILE_ROWS / 64).map(|word| !word).collect());
        runs.push(Tile::Run { segment, start, count, skip });
    }
    (runs, single)
}

impl Tile {
    pub(crate) fn len(&self) -> usize {
        match self {
            Tile::Run { count, .. } => *count,
            Tile::Gather(rows) => rows.len(),
        }
    }

    /// The tile's vectors, `[len, dim]`.
    pub(crate) fn vectors<'a>(
        &self,
        segments: &'a [Segment],
        dim: usize,
        gathered: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        match self {
            Tile::Run { segment, start, count, .. } => segments[*segment].vectors(*start, *count),
            Tile::Gather(rows) => {
                gathered.clear();
                gathered.reserve(rows.len() * dim);
                for &(segment, row) in rows {
                    gathered.extend_from_slice(segments[segment as usize].vectors(row as usize, 1));
                }
                gathered
            }
        }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        match self {
            Tile::Run { segment, start, .. } => (*segment, start + at),
            Tile::Gather(rows) => (rows[at].0 as usize, rows[at].1 as usize),
        }
    }

    pub(crate) fn norm(&self, segments: &[Segment], at: usize) -> f64 {
        let (segment, row) = self.place(at);
        segments[segment].norms[row]
    }

    /// The number in the index of the tile's row `at`; `None` if it is not wanted.
    pub(crate) fn row(&self, segments: &[Segment], at: usize) -> Option<usize> {
        if let Tile::Run { skip: Some(skip), .. } = self
            && crate::bitmap::bit(skip, at)
        {
            return None;
        }
        let (segment, row) = self.place(at);
        Some(segments[segment].base + row)
    }
}
