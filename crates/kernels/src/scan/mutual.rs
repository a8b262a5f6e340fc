//! Two blocks of rows that are queries and gallery in one: a product is computed once and serves both directions.

use super::queries::{Scratch, Shape, Sink, numbers};
use super::select::{select, select_back};
use super::{BLANK, Form, Metric, Queries, Tile};
use crate::gemm;
use crate::isa::{self, Isa};

/// Rows that are searched and search, in 32-bit products of the rows as they are ([`Form::Single`]).
///
/// 512 rows are good: one block of them is laid out anew for every scan, and both stay in the cache.
#[derive(Debug)]
pub struct Mutual<'a> {
    queries: Queries<'a>,
    tile: Tile,
}

impl<'a> Mutual<'a> {
    /// Makes rows `[n, dim]`, all finite, ready for scans of the same metric.
    ///
    /// # Panics
    /// If `values` is not whole rows.
    pub fn new(metric: Metric, values: &'a [f32], dim: usize) -> Self {
        Mutual::on(isa::current(), metric, values, dim)
    }

    /// As [`new`](Self::new) on an instruction set of [`isa::available`].
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the instruction set is above the current one.
    pub fn on(isa: Isa, metric: Metric, values: &'a [f32], dim: usize) -> Self {
        let centre = vec![0.0; dim];
        let queries = Queries::without_panels(isa, Form::Single, metric, values, dim, &centre);
        let mut tile = Tile::on(isa, Form::Single, metric, dim);
        tile.fill(values, &centre);
        Mutual { queries, tile }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Bytes that so many rows hold, beside what they were made of.
    pub fn memory_bytes(rows: usize, dim: usize) -> usize {
        Queries::memory_bytes_without_panels(Form::Single, rows, dim)
            + Tile::memory_bytes(Form::Single, rows, dim)
    }

    /// Bytes that a [`Scratch`] holds at most after scans of blocks of so many rows.
    pub fn scratch_bytes(rows: usize, dim: usize) -> usize {
        Scratch::memory_bytes(Form::Single)
            + 4 * rows.next_multiple_of(16) * dim
            + 3 * 12 * Scratch::most_hits(Form::Single)
            + 12 * rows
    }

    /// Scores every row of this block against every row of the other, and hands what may reach its floor to `sink`, where
    /// a row of this block is the query, and to `back`, where a row of the other is.
    ///
    /// # Panics
    /// If the blocks differ in metric, dimension or instruction set.
    pub fn scan<S: Sink>(&self, other: &Mutual, scratch: &mut Scratch, sink: &mut S, back: &mut S) {
        self.run(other, scratch, sink, Some(back));
    }

    /// Scores every row of this block against every row of it, itself included: both directions of a pair are products of
    /// their own.
    pub fn scan_own(&self, scratch: &mut Scratch, sink: &mut impl Sink) {
        self.run(self, scratch, sink, None);
    }

    fn run<S: Sink>(
        &self,
        other: &Mutual,
        scratch: &mut Scratch,
        sink: &mut S,
        mut back_sink: Option<&mut S>,
    ) {
        let (queries, dim, isa) = (&self.queries, self.queries.dim, self.queries.isa);
        other.tile.check(isa, Form::Single, queries.metric, dim);
        let fused = isa == Isa::Avx2;
        let Shape { deep, wide, batch } = Shape::of(Form::Single, fused);
        let Scratch { block, side, back, .. } = scratch;
        #[cfg(target_arch = "x86_64")]
        let panels = &mut scratch.panels;
        #[cfg(target_arch = "x86_64")]
        if fused {
            super::single::pack(queries.values, dim, panels);
        }
        if !fused {
            block.resize(wide * deep / 16, BLANK);
        }
        let (block, values) = (numbers(block), other.queries.values);
        for first in (0..self.len()).step_by(wide) {
            let columns = wide.min(self.len() - first);
            queries.errors(first, columns, &other.tile, side);
            queries.floors(first, columns, wide, side, sink);
            if let Some(sink) = &mut back_sink {
                other.queries.errors(0, other.len(), &self.tile, back);
                other.queries.floors(0, other.len(), other.len(), back, *sink);
            }
            for row in (0..other.len()).step_by(deep) {
                let rows = deep.min(other.len() - row);
                let of_rows = &values[row * dim..(row + rows) * dim];
                let biases = &other.tile.biases[row..row + rows];
                let both = back_sink.is_some();
                if fused {
                    #[cfg(target_arch = "x86_64")]
                    {
                        use super::single::{Back, Block};
                        let next = row + rows;
                        let block = Block {
                            dim,
                            rows: of_rows,
                            first_row: row,
                            biases,
                            panels: &super::queries::written(panels)[first * dim..],
                            columns,
                            floors: &side.floors,
                            coming: &values[next * dim..(next + deep).min(other.len()) * dim],
                        };
                        // SAFETY: the instruction set is at most the current one, so AVX2 and FMA were found.
                        unsafe {
                            if both {
                                let floors = &back.floors[row..row + rows];
                                let of_queries = Back { biases: &self.tile.biases[first..], floors, first };
                                block.select_both(&of_queries, &mut side.hits, &mut back.hits);
                            } else {
                                block.select(&mut side.hits);
                            }
                        }
                    }
                } else {
                    let block = &mut block[..rows * columns];
                    let of_queries = &queries.values[first * dim..(first + columns) * dim];
                    gemm::nt(rows, columns, dim, of_rows, of_queries, 0.0, block);
                    select(isa, block, columns, columns, biases, &side.floors, row, &mut side.hits);
                    if both {
                        let (biases, floors) =
                            (&self.tile.biases[first..first + columns], &back.floors[row..row + rows]);
                        select_back(isa, block, biases, floors, row, first, &mut back.hits);
                    }
                }
                if side.hits.len().max(back.hits.len()) >= batch {
                    queries.hand_over(first, side, sink);
                    queries.floors(first, columns, wide, side, sink);
                    if let Some(sink) = &mut back_sink {
                        other.queries.hand_over(0, back, *sink);
                        other.queries.floors(0, other.len(), other.len(), back, *sink);
                    }
                }
            }
            queries.hand_over(first, side, sink);
            if let Some(sink) = &mut back_sink {
                other.queries.hand_over(0, back, *sink);
            }
        }
    }
}
