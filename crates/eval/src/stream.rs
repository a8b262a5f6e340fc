//! Where the relevant items stand, by counting, without a list of neighbours.
//!
//! The scores of a query's `R` relevant items are computed first and sorted: they are thresholds. The gallery then
//! streams past in tiles of one matrix product each, and every other item only adds one to the count of the
//! thresholds it lies above or equals. That is exact for every measure of binary relevance, at any depth, and holds
//! whole tie groups however large, in memory that grows with `R` and not with the gallery.
//!
//! Thresholds that have `k` items before them already, where no measure looks below rank `k`, are let go. The lowest
//! that is left is a floor, and most of a tile is refused by one comparison with it.
//!
//! A tile is computed in 32 bits by whatever order of summation its shape makes fast, so its values only serve to
//! decide what is clear: an item closer to a threshold than the error bound of the product is scored again in 64 bits
//! (`score::score`). The counts are thus those of the 64-bit scores for every tile size and row order.

use std::ops::Range;

use parallax_kernels::gemm;
use rayon::prelude::*;

use crate::score::{Rows, score, uncertainty};
use crate::{Measure, Ranking, Similarity, TieGroup};

/// Gallery rows grouped by label.
pub(crate) struct Classes {
    rows: Vec<u32>,
    spans: Vec<(u32, Range<usize>)>,
}

impl Classes {
    pub(crate) fn new(labels: &[u32]) -> Self {
        let mut rows: Vec<u32> = (0..labels.len() as u32).collect();
        rows.sort_by_key(|&row| (labels[row as usize], row));
        let mut spans = Vec::new();
        let mut start = 0;
        for class in rows.chunk_by(|&a, &b| labels[a as usize] == labels[b as usize]) {
            spans.push((labels[class[0] as usize], start..start + class.len()));
            start += class.len();
        }
        Classes { rows, spans }
    }

    /// The gallery rows of a label.
    pub(crate) fn of(&self, label: u32) -> &[u32] {
        match self.spans.binary_search_by_key(&label, |span| span.0) {
            Ok(found) => &self.rows[self.spans[found].1.clone()],
            Err(_) => &[],
        }
    }
}

pub(crate) struct Stream<'a> {
    pub(crate) similarity: Similarity,
    pub(crate) queries: &'a Rows<'a>,
    pub(crate) gallery: &'a Rows<'a>,
    pub(crate) query_labels: &'a [u32],
    pub(crate) gallery_labels: &'a [u32],
    pub(crate) classes: &'a Classes,
    /// Query `i` is gallery row `i` and is not a candidate for itself.
    pub(crate) queries_first: bool,
    pub(crate) measures: &'a [Measure],
    pub(crate) most_relevant: usize,
    pub(crate) query_tile: usize,
    pub(crate) gallery_tile: usize,
}

/// One query's thresholds, best first, and what has been counted against them.
struct Pending {
    query: usize,
    relevant: usize,
    /// Distinct scores of relevant items, descending.
    thresholds: Vec<f64>,
    /// Relevant items at each threshold.
    hits: Vec<u32>,
    /// Other items above this threshold and below the previous one.
    above: Vec<u32>,
    /// Other items exactly at this threshold.
    tied: Vec<u32>,
    /// Thresholds that are still of interest.
    open: usize,
    /// Ranks of interest for the first threshold, and for those after it.
    horizon_first: usize,
    horizon: usize,
    /// Items counted since `open` was last looked at.
    fresh: usize,
}

impl Pending {
    fn groups(&self) -> Vec<TieGroup> {
        let (mut before, mut relevant_before) = (0, 0);
        (0..self.open)
            .map(|j| {
                before += self.above[j] as usize;
                let (relevant, tied) = (self.hits[j] as usize, self.tied[j] as usize);
                let group = TieGroup { before, relevant_before, size: relevant + tied, relevant };
                before += group.size;
                relevant_before += relevant;
                group
            })
            .collect()
    }

    /// Lets go of thresholds that no measure can reach any more. Costs `open` steps, so it waits for as many counts.
    fn prune(&mut self) {
        if self.fresh < self.open {
            return;
        }
        self.fresh = 0;
        let mut before = 0;
        for j in 0..self.open {
            before += self.above[j] as usize;
            if before >= if j == 0 { self.horizon_first } else { self.horizon } {
                self.open = j;
                return;
            }
            before += self.hits[j] as usize + self.tied[j] as usize;
        }
    }
}

impl Stream<'_> {
    /// The gallery rows that count as relevant for a query.
    pub(crate) fn relevant_rows(&self, query: usize) -> impl Iterator<Item = usize> {
        self.classes
            .of(self.query_labels[query])
            .iter()
            .map(|&row| row as usize)
            .filter(move |&row| !(self.queries_first && row == query))
    }

    /// Calls `each` with the ranking of every query in `kept`, in parallel, and returns the answers in order.
    pub(crate) fn rankings<T: Send>(&self, kept: &[usize], each: impl Fn(Ranking) -> T + Sync) -> Vec<T> {
        let tiles: Vec<Vec<T>> =
            kept.par_chunks(self.query_tile).map(|tile| self.tile(tile, &each)).collect();
        tiles.into_iter().flatten().collect()
    }

    fn tile<T>(&self, kept: &[usize], each: &impl Fn(Ranking) -> T) -> Vec<T> {
        let dim = self.queries.dim;
        let mut block = Vec::with_capacity(kept.len() * dim);
        kept.iter().for_each(|&query| block.extend_from_slice(self.queries.row(query)));
        let mut pending: Vec<Pending> = kept.iter().map(|&query| self.pending(query)).collect();
        let mut scores = vec![0.0f32; kept.len() * self.gallery_tile.min(self.gallery.len())];
        for start in (0..self.gallery.len()).step_by(self.gallery_tile) {
            let columns = start..(start + self.gallery_tile).min(self.gallery.len());
            let wide = columns.len();
            let part = &self.gallery.values[columns.start * dim..columns.end * dim];
            let scores = &mut scores[..kept.len() * wide];
            gemm::nt(kept.len(), wide, dim, &block, part, 0.0, scores);
            let reach = self.gallery.norms[columns.clone()].iter().copied().fold(0.0, f64::max);
            for (row, pending) in scores.chunks_exact_mut(wide).zip(&mut pending) {
                self.count(pending, row, columns.start, reach);
            }
        }
        pending.iter().map(|p| each(Ranking::new(p.groups(), p.relevant))).collect()
    }

    fn pending(&self, query: usize) -> Pending {
        let mut scores: Vec<f64> = self
            .relevant_rows(query)
            .map(|row| score(self.similarity, self.queries, query, self.gallery, row))
            .collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let relevant = scores.len();
        let hits: Vec<u32> = scores.chunk_by(|a, b| a == b).map(|tied| tied.len() as u32).collect();
        scores.dedup();
        let (mut horizon_first, mut horizon) = (0, 0);
        for measure in self.measures {
            let rank = measure.horizon(relevant, self.most_relevant);
            horizon_first = horizon_first.max(rank);
            if !measure.needs_first_only() {
                horizon = horizon.max(rank);
            }
        }
        let open = scores.len();
        let mut pending = Pending {
            query,
            relevant,
            thresholds: scores,
            hits,
            above: vec![0; open],
            tied: vec![0; open],
            open,
            horizon_first,
            horizon,
            fresh: usize::MAX,
        };
        pending.prune();
        pending
    }

    /// Adds one query's scores against the gallery rows from `start` to its counts.
    fn count(&self, pending: &mut Pending, row: &mut [f32], start: usize, reach: f64) {
        if pending.open == 0 {
            return;
        }
        let query = pending.query;
        let norm = self.queries.norms[query];
        let doubt = uncertainty(self.similarity, self.queries.dim, norm, reach);
        // A Euclidean tile holds 2x·y − ‖y‖², which is ‖x‖² above the score.
        let lift = match self.similarity {
            Similarity::Euclidean => {
                let squares = &self.gallery.squares[start..start + row.len()];
                row.iter_mut().zip(squares).for_each(|(value, square)| *value = 2.0 * *value - square);
                norm * norm
            }
            _ => 0.0,
        };
        let floor = ((pending.thresholds[pending.open - 1] + lift - doubt) as f32).next_down();
        let label = self.query_labels[query];
        let labels = &self.gallery_labels[start..start + row.len()];
        for (chunk, values) in row.chunks(16).enumerate() {
            // `!(v < floor)` and not `v >= floor`: what overflowed to NaN must be looked at.
            #[expect(clippy::neg_cmp_op_on_partial_ord)]
            if !values.iter().fold(false, |any, &value| any | !(value < floor)) {
                continue;
            }
            for (place, &value) in values.iter().enumerate() {
                let place = chunk * 16 + place;
                if value < floor || labels[place] == label {
                    continue;
                }
                pending.fresh += 1;
                let value = f64::from(value) - lift;
                let open = &pending.thresholds[..pending.open];
                let mut at = open.partition_point(|&threshold| threshold > value + doubt);
                if at < open.len() {
                    if open[at] < value - doubt {
                        pending.above[at] += 1;
                        continue;
                    }
                    let exact = score(self.similarity, self.queries, query, self.gallery, start + place);
                    at = open.partition_point(|&threshold| threshold > exact);
                    if at < open.len() {
                        let tie = open[at] == exact;
                        pending.tied[at] += u32::from(tie);
                        pending.above[at] += u32::from(!tie);
                    }
                }
            }
        }
        pending.prune();
    }
}
