//! How many anchor rows are held at once.

use parallax_kernels::tile::References;

/// Bytes of a tile of similarities unless the caller says otherwise.
pub const TILE_BYTES: usize = 32 << 20;

/// Rows that are worked on together by one thread; sums over anchors are taken in blocks of this many.
const BLOCK_ROWS: usize = 64;

/// A batch against itself of at most so many rows is one tile whatever the budget, 4 MiB in f32: where the coefficients of
/// all pairs are there at once, a pair's two directions are added and one product gives both their gradients.
pub(crate) const WHOLE_ROWS: usize = 1024;

/// References that are worked on together by one thread when their gradient is gathered.
pub(crate) const BLOCK_COLUMNS: usize = 256;

/// The split of `B` anchor rows into tiles, and of tiles into blocks.
///
/// A tile holds `rows · R` values; its blocks are the unit of work of a thread. The split depends on the shape and the
/// byte budget and never on the number of threads. Results do not depend on the number of tiles either, as long as a
/// block of 64 rows fits the budget; below that, sums over anchors are grouped differently and results agree to
/// rounding. A batch of at most 1,024 rows against itself is always one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Rows of a block.
    pub block: usize,
    /// Rows of a tile, a multiple of `block`.
    pub rows: usize,
}

impl Tiling {
    /// The tiling of `b` anchors against `r` references, with values of `value_bytes` each, in about `tile_bytes`; a tile
    /// has at least one row.
    pub fn new(b: usize, r: usize, value_bytes: usize, tile_bytes: usize) -> Self {
        let fit = (tile_bytes / (r.max(1) * value_bytes)).max(1);
        let block = fit.min(BLOCK_ROWS);
        let rows = (fit / block * block).min(b.max(1).next_multiple_of(block));
        Tiling { block, rows }
    }

    /// As [`new`](Self::new) for a batch of `b` rows against itself: one tile up to 1,024 rows.
    pub fn itself(b: usize, value_bytes: usize, tile_bytes: usize) -> Self {
        if b <= WHOLE_ROWS {
            Tiling { block: BLOCK_ROWS, rows: b.max(1).next_multiple_of(BLOCK_ROWS) }
        } else {
            Tiling::new(b, b, value_bytes, tile_bytes)
        }
    }
}

/// An upper bound on the bytes that an evaluation of `b` anchors against `r` references of `d` dimensions allocates, its
/// result included, for values of `value_bytes` each on `threads` threads: `O(T·R + B·D + R·D)` with a tile of `T·R` values
/// in `tile_bytes`.
///
/// Not counted: 24 bytes for each pair of a tile that nearly coincides (`d² < 10⁻³ (nᵢ + nⱼ)`), which is computed from its
/// difference, and the packing buffers of the matrix products, which belong to the threads and are reused (a few MiB).
pub fn memory_bytes(
    b: usize,
    r: usize,
    d: usize,
    value_bytes: usize,
    tile_bytes: usize,
    threads: usize,
) -> usize {
    let tiling = Tiling::new(b, r, value_bytes, tile_bytes);
    // A batch that may be one against itself.
    let whole = if b == r { Tiling::itself(b, value_bytes, tile_bytes) } else { tiling };
    let tile = tiling.rows.max(whole.rows) * r * value_bytes;
    // With both directions of a block's pairs added.
    let both = if b == r && b <= WHOLE_ROWS { 2 * threads * BLOCK_ROWS * r * value_bytes } else { 0 };
    // Prepared rows and gradients of both sides, squared norms, norms, and the columns by label; references laid out.
    let sides = (b + r) * (2 * d + 4) * value_bytes + 12 * r + References::<f32>::bytes(r, d, value_bytes);
    // Columns, values and slopes of positives and negatives, and a mark for near columns; at most one set a block at
    // work, and rayon may open two for a thread when it splits.
    let scratch = 2 * threads * r * (2 * (4 + 2 * value_bytes) + 5);
    let rows = b * 400;
    tile + both + sides + scratch + rows + (64 << 10)
}

/// The shape of a batch, to say what an objective will need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of the batch.
    pub anchors: usize,
    /// Rows of the reference set; for a batch against itself as many as anchors.
    pub references: usize,
    /// Rows of the proxies, for a loss that has them.
    pub proxies: usize,
    /// Dimensions of an embedding.
    pub dim: usize,
    /// References of the largest class.
    pub largest_class: usize,
    /// Bytes of a number.
    pub value_bytes: usize,
    /// Bytes of a tile of similarities.
    pub tile_bytes: usize,
    /// Threads at work.
    pub threads: usize,
}

impl Shape {
    /// A batch of `anchors` in f32 against itself on one thread, with tiles of [`TILE_BYTES`] and one large class.
    pub fn batch(anchors: usize, dim: usize) -> Self {
        Shape {
            anchors,
            references: anchors,
            proxies: 0,
            dim,
            largest_class: anchors,
            value_bytes: 4,
            tile_bytes: TILE_BYTES,
            threads: 1,
        }
    }
}

/// What a loss or a miner needs beside [`memory_bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Passes of statistics over the rows.
    pub(crate) passes: usize,
    /// Whether rows of the whole class are held.
    pub(crate) mates: bool,
    /// Bytes for each row of the batch.
    pub(crate) per_row: usize,
    /// Bytes for each row of a tile.
    pub(crate) per_tile_row: usize,
    /// Bytes whatever the batch.
    pub(crate) fixed: usize,
    /// Bytes for each pair of a row that is at work.
    pub(crate) listed: usize,
}

impl Extra {
    /// The bytes for a batch of this shape.
    pub(crate) fn bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, references, dim, largest_class, value_bytes, tile_bytes, threads, .. } = *shape;
        let base = memory_bytes(anchors, references, dim, value_bytes, tile_bytes, threads);
        let tiling = if anchors == references {
            Tiling::itself(anchors, value_bytes, tile_bytes)
        } else {
            Tiling::new(anchors, references, value_bytes, tile_bytes)
        };
        let at_work = 2 * threads;
        // Buffers of a loss within a row: at most five of its length, and one of f64.
        let row = at_work * references * (5 * value_bytes + 8);
        let passes = if self.passes > 0 {
            // Two generations of statistics, and what is spread over the positives of a tile and of the batch.
            anchors * 80 + (tiling.rows + anchors) * largest_class * 32
        } else {
            0
        };
        let mates =
            if self.mates { at_work * largest_class * references * (2 * value_bytes + 13) } else { 0 };
        let listed = 2 * at_work * largest_class * references * self.listed;
        base + row
            + passes
            + mates
            + listed
            + self.fixed
            + anchors * self.per_row
            + tiling.rows * self.per_tile_row
    }
}
