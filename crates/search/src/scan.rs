//! Exact search: tiles of one matrix product each, and the best `k` of what streams past.
//!
//! A tile is computed in 32 bits by whatever order of summation its shape makes fast. Its values bound the 64-bit scores
//! from both sides, and only a row whose upper bound reaches the `k`-th best lower bound stays a candidate; the few that
//! are left are scored in 64 bits. So hits are those of the 64-bit scores for any tiling, number of threads and order of
//! work, and cost one 32-bit product.

mod candidates;
mod tiles;

use std::ops::Range;

use parallax_kernels::gemm;
use rayon::prelude::*;

use crate::config::Similarity;
use crate::segment::Segment;
use candidates::Candidates;
pub(crate) use tiles::{Tile, tiles};

/// Queries that go through a tile together.
const QUERY_TILE: usize = 256;
/// Tasks for each thread: more even the work out, fewer share thresholds for longer.
const TASKS_PER_THREAD: usize = 4;

/// A row of the index and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) score: f64,
    pub(crate) row: usize,
}

impl Found {
    /// Higher scores first, then lower rows.
    pub(crate) fn order(&self, other: &Found) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

pub(crate) struct Scan<'a> {
    pub(crate) similarity: Similarity,
    pub(crate) dim: usize,
    pub(crate) segments: &'a [Segment],
    /// Prepared queries, `[q, dim]`, and their norms.
    pub(crate) queries: &'a [f32],
    pub(crate) norms: &'a [f64],
    pub(crate) k: usize,
}

impl Scan<'_> {
    /// The best `k` rows of the tiles for each query.
    pub(crate) fn run(&self, tiles: &[Tile]) -> Vec<Vec<Found>> {
        let count = self.norms.len();
        let blocks: Vec<Range<usize>> =
            (0..count).step_by(QUERY_TILE).map(|start| start..(start + QUERY_TILE).min(count)).collect();
        if tiles.is_empty() || self.k == 0 {
            return vec![Vec::new(); count];
        }
        // How rows are divided does not change the result, so it may depend on the pool.
        let stripes = (rayon::current_num_threads() * TASKS_PER_THREAD).div_ceil(blocks.len().max(1));
        let stripe = tiles.len().div_ceil(stripes.clamp(1, tiles.len()));
        let tasks: Vec<(&Range<usize>, &[Tile])> =
            blocks.iter().flat_map(|block| tiles.chunks(stripe).map(move |part| (block, part))).collect();
        let parts: Vec<Vec<Vec<Found>>> =
            tasks.par_iter().with_max_len(1).map(|(block, part)| self.task(block, part)).collect();
        let per_block = tiles.len().div_ceil(stripe);
        let merged: Vec<Vec<Vec<Found>>> = parts
            .chunks(per_block)
            .map(|stripes| {
                (0..stripes[0].len())
                    .map(|query| {
                        let mut found: Vec<Found> =
                            stripes.iter().flat_map(|stripe| stripe[query].iter().copied()).collect();
                        found.sort_unstable_by(Found::order);
                        found.truncate(self.k);
                        found
                    })
                    .collect()
            })
            .collect();
        merged.into_iter().flatten().collect()
    }

    fn query(&self, query: usize) -> &[f32] {
        &self.queries[query * self.dim..(query + 1) * self.dim]
    }

    fn task(&self, block: &Range<usize>, tiles: &[Tile]) -> Vec<Vec<Found>> {
        let dim = self.dim;
        let queries = &self.queries[block.start * dim..block.end * dim];
        let mut lists: Vec<Candidates> = block.clone().map(|_| Candidates::new(self.k)).collect();
        let widest = tiles.iter().map(Tile::len).max().unwrap_or(0);
        let mut scores = vec![0.0f32; block.len() * widest];
        let mut gathered = Vec::new();
        let mut squares = Vec::new();
        for tile in tiles {
            let wide = tile.len();
            let scores = &mut scores[..block.len() * wide];
            let vectors = tile.vectors(self.segments, dim, &mut gathered);
            gemm::nt(block.len(), wide, dim, queries, vectors, 0.0, scores);
            let mut reach = 0.0f64;
            squares.clear();
            for at in 0..wide {
                let norm = tile.norm(self.segments, at);
                reach = reach.max(norm);
                squares.push((norm * norm) as f32);
            }
            for ((row, list), query) in scores.chunks_exact_mut(wide).zip(&mut lists).zip(block.clone()) {
                let exact = |number: usize| self.score(query, number);
                let error = self.similarity.tile_error(dim, self.norms[query], reach);
                // A Euclidean tile holds 2x·y − ‖y‖², which is ‖x‖² above the score.
                let lift = match self.similarity {
                    Similarity::Euclidean => {
                        row.iter_mut()
                            .zip(&squares)
                            .for_each(|(value, square)| *value = 2.0 * *value - square);
                        self.norms[query] * self.norms[query]
                    }
                    _ => 0.0,
                };
                list.offer(row, lift, error, |at| tile.row(self.segments, at), exact);
            }
        }
        lists
            .into_iter()
            .zip(block.clone())
            .map(|(list, query)| list.best(|row| self.score(query, row)))
            .collect()
    }

    /// The 64-bit score of a query and a row of the index.
    fn score(&self, query: usize, row: usize) -> f64 {
        let segment = &self.segments[self.segments.partition_point(|segment| segment.base <= row) - 1];
        let at = row - segment.base;
        self.similarity.score(self.query(query), self.norms[query], segment.vectors(at, 1), segment.norms[at])
    }
}
