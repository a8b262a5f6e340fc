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
//! A tile is computed in the fastest arithmetic there is, so its values come with a bound on their error. What passes the
//! floor waits in a list, as a lower and an upper bound of its score ([`Waiting`]): the lower bounds that lie above a
//! threshold raise the floor, which in turn throws out the upper bounds that lie below it. Only what is left when the
//! gallery has passed, or when a list is full, is counted: at once where its bounds hold no threshold between them, else by
//! its score in 64 bits (`score::scores`). The counts are thus those of the 64-bit scores for every instruction set, tile
//! size and row order. Where bf16 leaves too much undecided, a block of queries goes on with rows in two parts, whose bound
//! is a hundred times smaller.

use std::ops::Range;

use parallax_kernels::isa;
use parallax_kernels::scan::{self, Form, Hit, Metric, Queries, Scratch, Sink, Tile, Waiting};
use rayon::prelude::*;

use crate::score::{Rows, grid, scores};
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
    /// Items above each threshold, of those that are counted.
    before: Vec<u32>,
    /// Thresholds that are still of interest.
    open: usize,
    /// Ranks of interest for the first threshold, and for those after it.
    horizon_first: usize,
    horizon: usize,
    /// Waiting items at which they are looked through.
    due: usize,
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

    /// Adds an item of this score.
    fn count(&mut self, exact: f64) {
        let open = &self.thresholds[..self.open];
        let at = open.partition_point(|&threshold| threshold > exact);
        if at < open.len() {
            let tie = open[at] == exact;
            self.tied[at] += u32::from(tie);
            self.above[at] += u32::from(!tie);
        }
    }

    /// Adds up what stands before each open threshold, after items were counted.
    fn add_up(&mut self) {
        let mut before = 0;
        for j in 0..self.open {
            before += self.above[j];
            self.before[j] = before;
            before += self.hits[j] + self.tied[j];
        }
    }

    /// Lets go of thresholds that no measure can reach any more. `waiting` says how many of the items that are not
    /// counted yet are certain to lie above a threshold; both it and `before` grow from one threshold to the next.
    fn prune(&mut self, waiting: impl Fn(f64) -> usize) {
        let before = |j: usize| self.before[j] as usize + waiting(self.thresholds[j]);
        if self.open == 0 || before(0) >= self.horizon_first {
            self.open = 0;
            return;
        }
        let (mut low, mut high) = (1, self.open);
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(middle) >= self.horizon {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.open = low;
    }
}

impl Stream<'_> {
    /// The gallery rows that count as relevant for a query.
    pub(crate) fn relevant_rows(&self, query: usize) -> impl Iterator<Item = usize> + Clone {
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
        let room = room(self.measures, self.most_relevant);
        let threads = rayon::current_num_threads();
        let block = block_rows(self.query_tile, kept.len(), self.most_relevant, room, threads);
        // Queries of one class ask for the same rows, so they go together.
        let mut places: Vec<u32> = (0..kept.len() as u32).collect();
        places.sort_unstable_by_key(|&at| (self.query_labels[kept[at as usize]], at));
        let blocks: Vec<Vec<T>> = places
            .par_chunks(block)
            .with_max_len(1)
            .map(|places| {
                let queries: Vec<usize> = places.iter().map(|&at| kept[at as usize]).collect();
                self.block(&gallery, &queries, &each)
            })
            .collect();
        let mut answers: Vec<(u32, T)> = places.into_iter().zip(blocks.into_iter().flatten()).collect();
        answers.sort_unstable_by_key(|answer| answer.0);
        answers.into_iter().map(|answer| answer.1).collect()
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
        let mut counts = Counts {
            stream: self,
            waiting: Waiting::new(pending.len(), room(self.measures, self.most_relevant)),
            facts: vec![Fact::default(); kept.len()],
            pending,
            start: 0,
            reach: 0.0,
            rows: Vec::new(),
            exact: Vec::new(),
            rescored: 0,
        };
        let ready = |form| Queries::new(form, self.metric(), &values, dim, &gallery.centre);
        for (fact, &query) in counts.facts.iter_mut().zip(kept) {
            fact.label = self.query_labels[query];
        }
        let mut queries = ready(gallery.form);
        let mut closer = Tile::new(Form::Single, self.metric(), dim);
        let mut scratch = Scratch::default();
        for (at, tile) in gallery.tiles.iter().enumerate() {
            let part = self.part(at);
            counts.start = at * self.gallery_tile;
            counts.reach = self.gallery.norms[counts.start..counts.start + tile.len()]
                .iter()
                .copied()
                .fold(0.0, f64::max);
            // Scoring a pair again costs as much as some 64 products in three parts, so no more is spent on it than these
            // would have cost from the start.
            let pairs = (self.gallery.len() * kept.len()) as u64;
            if queries.form() == Form::Half && counts.rescored > pairs / 64 {
                queries = ready(Form::Split);
                closer = Tile::new(Form::Split, self.metric(), dim);
            }
            if queries.form() == gallery.form {
                queries.scan_before(gallery.tiles.get(at + 1), tile, part, &mut scratch, &mut counts);
            } else {
                closer.fill(part, &gallery.centre);
                queries.scan(&closer, part, &mut scratch, &mut counts);
            }
        }
        for at in 0..counts.pending.len() {
            counts.thin(at);
            counts.decide(at);
        }
        counts.pending.iter().map(|p| each(Ranking::new(p.groups(), p.relevant))).collect()
    }

    fn pending(&self, query: usize) -> Pending {
        let class = self.classes.of(self.query_labels[query]);
        let mut rows = Vec::with_capacity(class.len());
        rows.extend(self.relevant_rows(query));
        let mut thresholds = Vec::new();
        let pairs = rows.iter().map(|&row| (query, row));
        scores(self.similarity, self.queries, self.gallery, pairs, &mut thresholds);
        thresholds.sort_unstable_by(|a, b| b.total_cmp(a));
        let relevant = thresholds.len();
        let hits: Vec<u32> = thresholds.chunk_by(|a, b| a == b).map(|tied| tied.len() as u32).collect();
        thresholds.dedup();
        let (mut horizon_first, mut horizon) = (0, 0);
        for measure in self.measures {
            let rank = measure.horizon(relevant, self.most_relevant);
            horizon_first = horizon_first.max(rank);
            if !measure.needs_first_only() {
                horizon = horizon.max(rank);
            }
        }
        let open = thresholds.len();
        let mut pending = Pending {
            query,
            relevant,
            thresholds,
            hits,
            above: vec![0; open],
            tied: vec![0; open],
            before: vec![0; open],
            open,
            horizon_first,
            horizon,
            due: AT_LEAST,
        };
        pending.add_up();
        pending.prune(|_| 0);
        pending
    }
}

/// Waiting items after which a query looks at them for the first time, and how many more there must be for the next.
const AT_LEAST: usize = 16;

/// Places in a query's list of waiting items. Where measures look at a limited depth, all that may stand so far up find
/// room until the floor has risen past most of them; deeper, the list only gathers what is decided in one go.
pub(crate) fn room(measures: &[Measure], most_relevant: usize) -> usize {
    let deep = |measure: &&Measure| !measure.needs_first_only();
    let ranks =
        measures.iter().filter(deep).map(|m| m.horizon(most_relevant, most_relevant)).max().unwrap_or(0);
    if ranks <= 1024 { (ranks + ranks / 2 + 32).next_multiple_of(16).max(64) } else { 64 }
}

/// Queries that go through the gallery together: at most `query_tile`, a few blocks for each thread, and no more thresholds
/// and waiting items than a cache and a bound on memory allow.
pub(crate) fn block_rows(
    query_tile: usize,
    queries: usize,
    most_relevant: usize,
    room: usize,
    threads: usize,
) -> usize {
    const BYTES: usize = 4 << 20;
    let even = queries.div_ceil(4 * threads).next_multiple_of(32);
    let each = 36 * most_relevant + Waiting::memory_bytes(1, room) + 200;
    query_tile.min(even).min((BYTES / each).max(32)).max(1)
}

/// What a thread holds for a block of queries, beside the queries, their thresholds and what waits.
pub(crate) fn scratch_bytes(gallery_tile: usize, room: usize, dim: usize) -> usize {
    let form = Form::fastest(isa::current());
    // A tile in two parts, where bf16 decides too little; the pairs of one query, their rows and their scores.
    let closer = if form == Form::Half { Tile::memory_bytes(Form::Split, gallery_tile, dim) } else { 0 };
    Scratch::memory_bytes(form) + closer + room * (2 * 8 + 2 * 8 + 32)
}

/// What the gallery, made ready for scans, and a block of queries hold.
pub(crate) fn ready_bytes(gallery: usize, gallery_tile: usize, block: usize, dim: usize) -> (usize, usize) {
    let form = Form::fastest(isa::current());
    let tiles = gallery.div_ceil(gallery_tile) * Tile::memory_bytes(form, gallery_tile, dim);
    // Queries are rounded anew where they go on in two parts.
    let again = if form == Form::Half { Queries::memory_bytes(Form::Split, block, dim) } else { 0 };
    (tiles, Queries::memory_bytes(form, block, dim) + again)
}

/// The gallery made ready for scans.
struct Gallery {
    form: Form,
    centre: Vec<f32>,
    tiles: Vec<Tile>,
}

/// What every hit asks of its query.
#[derive(Clone, Copy, Default)]
struct Fact {
    label: u32,
    /// What rounding to a grid may move a score by, for the rows of the tile.
    grid: f64,
}

/// What a tile has to say to a block of queries.
struct Counts<'a> {
    stream: &'a Stream<'a>,
    pending: Vec<Pending>,
    facts: Vec<Fact>,
    /// Items of each query that are not counted yet.
    waiting: Waiting,
    /// The first gallery row of the tile, and the largest norm in it.
    start: usize,
    reach: f64,
    /// Rows that are scored again, and their scores.
    rows: Vec<usize>,
    exact: Vec<f64>,
    /// Pairs that were scored again.
    rescored: u64,
}

impl Sink for Counts<'_> {
    fn floor(&mut self, at: usize) -> f64 {
        if self.waiting.len(at) >= self.pending[at].due {
            self.thin(at);
        }
        let pending = &self.pending[at];
        let norm = self.stream.queries.norms[pending.query];
        self.facts[at].grid = grid(self.stream.similarity, norm, self.reach);
        match pending.thresholds[..pending.open].last() {
            Some(lowest) => lowest - self.facts[at].grid,
            None => f64::INFINITY,
        }
    }

    #[inline]
    fn hit(&mut self, hit: Hit) {
        let (at, row, fact) = (hit.query, self.start + hit.row, self.facts[hit.query]);
        if self.stream.gallery_labels[row] == fact.label {
            return;
        }
        self.waiting.push(at, row, hit.score, hit.error + fact.grid);
        if self.waiting.is_full(at) {
            self.make_room(at);
        }
    }
}

impl Counts<'_> {
    #[cold]
    fn make_room(&mut self, at: usize) {
        self.thin(at);
        // Bounds cannot tell these apart, or measures look further down than the list is long.
        if 4 * self.waiting.len(at) > 3 * self.waiting.room() {
            self.decide(at);
            self.thin(at);
        }
    }

    /// Raises a query's floor and lets go of what waits below it.
    fn thin(&mut self, at: usize) {
        let (pending, waiting) = (&mut self.pending[at], &mut self.waiting);
        pending.prune(|threshold| waiting.above(at, threshold));
        match pending.thresholds[..pending.open].last() {
            Some(&lowest) => waiting.keep(at, lowest),
            None => waiting.clear(at),
        }
        let waits = waiting.len(at);
        pending.due = waits + (waits / 4).max(AT_LEAST);
    }

    /// Counts what waits for a query: by its bounds where no threshold lies between them, by its score elsewhere.
    fn decide(&mut self, at: usize) {
        let (stream, pending) = (self.stream, &mut self.pending[at]);
        self.rows.clear();
        for item in self.waiting.items(at) {
            let open = &pending.thresholds[..pending.open];
            let place = open.partition_point(|&threshold| threshold > item.upper);
            match open.get(place) {
                Some(&threshold) if threshold < item.lower => pending.above[place] += 1,
                Some(_) => self.rows.push(item.row),
                None => {}
            }
        }
        self.waiting.clear(at);
        self.rescored += self.rows.len() as u64;
        self.exact.clear();
        let pairs = self.rows.iter().map(|&row| (pending.query, row));
        scores(stream.similarity, stream.queries, stream.gallery, pairs, &mut self.exact);
        self.exact.iter().for_each(|&exact| pending.count(exact));
        pending.add_up();
    }
}
