//! Where the relevant items stand, by counting, without a list of neighbours.
//!
//! The scores of a query's `R` relevant items are computed first and sorted: they are thresholds. The gallery then
//! streams past in tiles ([`parallax_kernels::scan`]), and every other item only adds one to the count of the thresholds
//! it lies above or equals. That is exact for every measure of binary relevance, at any depth, and holds whole tie groups
//! however large, in memory that grows with `R` and not with the gallery.
//!
//! Thresholds that have `k` items before them already, where no measure looks below rank `k`, are let go. The lowest
//! that is left is a floor, and nearly all of a tile is refused by comparison with it.
//!
//! A tile is computed in the fastest arithmetic there is, so its values only serve to decide what is clear: an item
//! closer to a threshold than the error bound of the product is scored again in 64 bits (`score::score`). The counts are
//! thus those of the 64-bit scores for every instruction set, tile size and row order. Where bf16 leaves too much
//! undecided, a block of queries goes on with rows in two parts, whose bound is a hundred times smaller.

use std::ops::Range;

use parallax_kernels::isa;
use parallax_kernels::scan::{self, Form, Hit, Metric, Queries, Scratch, Sink, Tile};
use rayon::prelude::*;

use crate::score::{Rows, grid, score};
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
        let form = Form::fastest(isa::current());
        let dim = self.gallery.dim;
        let centre = scan::centre(&self.gallery.values, dim);
        let tiles: Vec<Tile> = (0..self.gallery.len().div_ceil(self.gallery_tile))
            .into_par_iter()
            .map(|tile| {
                let mut ready = Tile::new(form, self.metric(), dim);
                ready.fill(self.part(tile), &centre);
                ready
            })
            .collect();
        let gallery = Gallery { form, centre, tiles };
        let blocks: Vec<Vec<T>> = kept
            .par_chunks(self.query_tile)
            .with_max_len(1)
            .map(|block| self.block(&gallery, block, &each))
            .collect();
        blocks.into_iter().flatten().collect()
    }

    fn metric(&self) -> Metric {
        match self.similarity {
            Similarity::Cosine | Similarity::Dot => Metric::Dot,
            Similarity::Euclidean => Metric::Euclidean,
        }
    }

    /// The gallery rows of a tile as they are.
    fn part(&self, tile: usize) -> &[f32] {
        let (start, dim) = (tile * self.gallery_tile, self.gallery.dim);
        &self.gallery.values[start * dim..(start + self.gallery_tile).min(self.gallery.len()) * dim]
    }

    fn block<T>(&self, gallery: &Gallery, kept: &[usize], each: &impl Fn(Ranking) -> T) -> Vec<T> {
        let dim = self.queries.dim;
        let mut values = Vec::with_capacity(kept.len() * dim);
        kept.iter().for_each(|&query| values.extend_from_slice(self.queries.row(query)));
        let pending: Vec<Pending> = kept.iter().map(|&query| self.pending(query)).collect();
        let mut counts = Counts { stream: self, pending, start: 0, reach: 0.0, rescored: 0 };
        let ready = |form| Queries::new(form, self.metric(), &values, dim, &gallery.centre);
        let mut queries = ready(gallery.form);
        let mut closer = Tile::new(Form::Single, self.metric(), dim);
        let mut scratch = Scratch::default();
        for (at, tile) in gallery.tiles.iter().enumerate() {
            let part = self.part(at);
            counts.start = at * self.gallery_tile;
            counts.reach =
                self.gallery.norms[counts.start..counts.start + tile.len()].iter().copied().fold(0.0, f64::max);
            // Scoring a pair again costs as much as some 64 products in three parts.
            let pairs = (counts.start * kept.len()) as u64;
            if queries.form() == Form::Half && counts.rescored * 64 > pairs && at > 0 {
                queries = ready(Form::Split);
                closer = Tile::new(Form::Split, self.metric(), dim);
            }
            if queries.form() == gallery.form {
                queries.scan(tile, part, &mut scratch, &mut counts);
            } else {
                closer.fill(part, &gallery.centre);
                queries.scan(&closer, part, &mut scratch, &mut counts);
            }
        }
        counts.pending.iter().map(|p| each(Ranking::new(p.groups(), p.relevant))).collect()
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
}

/// The gallery made ready for scans.
struct Gallery {
    form: Form,
    centre: Vec<f32>,
    tiles: Vec<Tile>,
}

/// What a tile has to say to a block of queries.
struct Counts<'a> {
    stream: &'a Stream<'a>,
    pending: Vec<Pending>,
    /// The first gallery row of the tile, and the largest norm in it.
    start: usize,
    reach: f64,
    /// Pairs that were scored again.
    rescored: u64,
}

impl Sink for Counts<'_> {
    fn floor(&mut self, query: usize) -> f64 {
        let pending = &mut self.pending[query];
        pending.prune();
        let norm = self.stream.queries.norms[pending.query];
        match pending.thresholds[..pending.open].last() {
            Some(lowest) => lowest - grid(self.stream.similarity, norm, self.reach),
            None => f64::INFINITY,
        }
    }

    fn hit(&mut self, hit: Hit) {
        let (stream, pending, row) = (self.stream, &mut self.pending[hit.query], self.start + hit.row);
        let query = pending.query;
        if stream.gallery_labels[row] == stream.query_labels[query] {
            return;
        }
        pending.fresh += 1;
        let open = &pending.thresholds[..pending.open];
        let doubt = hit.error + grid(stream.similarity, stream.queries.norms[query], self.reach);
        let at = open.partition_point(|&threshold| threshold > hit.score + doubt);
        if at == open.len() {
            return;
        }
        if open[at] < hit.score - doubt {
            pending.above[at] += 1;
            return;
        }
        self.rescored += 1;
        let exact = score(stream.similarity, stream.queries, query, stream.gallery, row);
        let at = open.partition_point(|&threshold| threshold > exact);
        if at < open.len() {
            let tie = open[at] == exact;
            pending.tied[at] += u32::from(tie);
            pending.above[at] += u32::from(!tie);
        }
    }
}
