//! Exact search: tiles with proven bounds ([`parallax_kernels::scan`]), and the best `k` of what streams past.
//!
//! Only a row whose upper bound reaches the `k`-th best lower bound stays a candidate; the few that are left are scored in
//! 64 bits. So hits are those of the 64-bit scores for any tiling, instruction set, number of threads and order of work,
//! and cost one product in the fastest arithmetic there is.

mod codes;
mod copy;
mod tiles;

use std::ops::Range;

use parallax_kernels::isa;
use parallax_kernels::scan::{Candidates, Form, Found, Hit, Metric, Queries, Scratch, Sink, Tile as Ready};
use rayon::prelude::*;

use crate::config::Similarity;
use crate::segment::Segment;
pub(crate) use codes::{nearest, pack, words};
pub(crate) use copy::Copy;
pub(crate) use tiles::{Tile, tiles};

/// The most rounded queries that go through a tile together, in bytes: they stay in a core's cache beside the tile.
const BLOCK_BYTES: usize = 512 << 10;
/// Tasks for each thread: more even the work out, fewer share thresholds for longer.
const TASKS_PER_THREAD: usize = 4;
/// Queries at which rounding rows on the way costs less than it saves.
const WORTH_ROUNDING: usize = 24;

pub(crate) struct Scan<'a> {
    pub(crate) similarity: Similarity,
    pub(crate) dim: usize,
    pub(crate) segments: &'a [Segment],
    /// Prepared queries, `[q, dim]`, and their norms.
    pub(crate) queries: &'a [f32],
    pub(crate) norms: &'a [f64],
    pub(crate) k: usize,
    /// What is subtracted from rows and queries before they are rounded.
    pub(crate) centre: &'a [f32],
    /// The rows made ready, where a copy of them is kept.
    pub(crate) copy: Option<&'a Copy>,
}

/// Queries that go through the tiles together.
struct Block<'a> {
    places: Range<usize>,
    queries: Queries<'a>,
}

impl Scan<'_> {
    /// The best `k` rows of the tiles for each query.
    pub(crate) fn run(&self, tiles: &[Tile]) -> Vec<Vec<Found>> {
        let count = self.norms.len();
        if tiles.is_empty() || self.k == 0 || count == 0 {
            return vec![Vec::new(); count];
        }
        let form = match (Form::fastest(isa::current()), self.copy) {
            (form, Some(_)) => form,
            (Form::Half, None) if count >= WORTH_ROUNDING => Form::Half,
            _ => Form::Single,
        };
        let threads = rayon::current_num_threads();
        let most = BLOCK_BYTES / (self.dim * form.bytes().max(4)).max(1);
        let even = count.div_ceil(2 * threads).next_multiple_of(32);
        let wide = even.min((most / 32 * 32).clamp(32, 1024));
        let blocks: Vec<Block> = (0..count)
            .step_by(wide)
            .collect::<Vec<usize>>()
            .into_par_iter()
            .map(|start| {
                let places = start..(start + wide).min(count);
                let values = &self.queries[places.start * self.dim..places.end * self.dim];
                let queries = Queries::new(form, self.similarity.metric(), values, self.dim, self.centre);
                Block { places, queries }
            })
            .collect();
        // How the work is divided does not change the result, so it may depend on the pool.
        let stripes =
            if blocks.len() >= 2 * threads { 1 } else { (threads * TASKS_PER_THREAD).div_ceil(blocks.len()) };
        let stripe = tiles.len().div_ceil(stripes.clamp(1, tiles.len()));
        let tasks: Vec<(&Block, &[Tile])> =
            blocks.iter().flat_map(|block| tiles.chunks(stripe).map(move |part| (block, part))).collect();
        let parts: Vec<Vec<Candidates>> =
            tasks.par_iter().with_max_len(1).map(|(block, part)| self.task(block, part)).collect();
        let per_block = tiles.len().div_ceil(stripe);
        let mut lists: Vec<Candidates> = Vec::with_capacity(count);
        let mut parts = parts.into_iter();
        while let Some(mut first) = parts.next() {
            for other in parts.by_ref().take(per_block - 1) {
                for (at, (list, other)) in first.iter_mut().zip(other).enumerate() {
                    let query = lists.len() + at;
                    list.merge(other, |rows, out| self.scores(query, rows, out));
                }
            }
            lists.extend(first);
        }
        lists
            .into_par_iter()
            .enumerate()
            .map(|(query, list)| list.best(|rows, out| self.scores(query, rows, out)))
            .collect()
    }

    fn task(&self, block: &Block, tiles: &[Tile]) -> Vec<Candidates> {
        let metric = self.similarity.metric();
        let mut scratch = Scratch::default();
        let mut gathered = Vec::new();
        let mut ready = Ready::new(block.queries.form(), metric, self.dim);
        let mut best = Best {
            scan: self,
            first: block.places.start,
            lists: vec![Candidates::new(self.k); block.places.len()],
            tile: None,
            reach: 0.0,
        };
        for tile in tiles {
            best.reach = (0..tile.len()).map(|at| tile.norm(self.segments, at)).fold(0.0, f64::max);
            best.tile = Some(tile);
            let kept = self.copy.filter(|copy| copy.form() == block.queries.form());
            let (tile, values) = match kept.and_then(|copy| copy.of(tile, &mut ready)) {
                Some(kept) if kept.form() != Form::Single => (kept, [].as_slice()),
                Some(kept) => (kept, tile.vectors(self.segments, self.dim, &mut gathered)),
                None => {
                    let values = tile.vectors(self.segments, self.dim, &mut gathered);
                    ready.fill(values, self.centre);
                    (&ready, values)
                }
            };
            block.queries.scan(tile, values, &mut scratch, &mut best);
        }
        best.lists
    }

    /// Adds the 64-bit scores of a query and rows of the index.
    fn scores(&self, query: usize, rows: &[usize], out: &mut Vec<f64>) {
        let x = &self.queries[query * self.dim..(query + 1) * self.dim];
        let of = |&row: &usize| {
            let segment = &self.segments[self.segments.partition_point(|segment| segment.base <= row) - 1];
            (segment.vectors(row - segment.base, 1), segment.norms[row - segment.base])
        };
        self.similarity.scores(x, self.norms[query], rows.iter().map(of), out);
    }
}

/// The best rows of a block of queries.
struct Best<'a> {
    scan: &'a Scan<'a>,
    /// The first query of the block.
    first: usize,
    lists: Vec<Candidates>,
    tile: Option<&'a Tile>,
    /// The largest norm in the tile.
    reach: f64,
}

impl Sink for Best<'_> {
    fn floor(&mut self, query: usize) -> f64 {
        let grid = self.scan.similarity.grid(self.scan.norms[self.first + query], self.reach);
        self.lists[query].floor() - grid
    }

    fn hit(&mut self, hit: Hit) {
        let Some(row) = self.tile.and_then(|tile| tile.row(self.scan.segments, hit.row)) else { return };
        let (scan, query) = (self.scan, self.first + hit.query);
        let error = hit.error + scan.similarity.grid(scan.norms[query], self.reach);
        self.lists[hit.query].offer(hit.score, error, row, |rows, out| scan.scores(query, rows, out));
    }
}

impl Similarity {
    pub(crate) fn metric(self) -> Metric {
        match self {
            Similarity::Cosine | Similarity::Dot | Similarity::Hamming => Metric::Dot,
            Similarity::Euclidean => Metric::Euclidean,
        }
    }
}
