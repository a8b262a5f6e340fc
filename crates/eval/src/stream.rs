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
//! is a hundred times smaller. In 32 bits, where a product costs most, one product of a pair serves both of its rows as
//! far as memory allows ([`mutual`]).

pub(crate) mod mutual;

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

    /// The rows of each class, ascending.
    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.spans.iter().map(|(_, span)| &self.rows[span.clone()])
    }

    /// The gallery rows of a label, ascending.
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
    /// What all queries may hold at once ([`mutual`]).
    pub(crate) mutual_bytes: usize,
}

/// One query's thresholds, best first, and what has been counted against them.
struct Pending {
    query: usize,
    relevant: usize,
    /// Distinct scores of relevant items, descending.
    thresholds: Vec<f64>,
    /// One for each threshold; empty while each is one relevant item and nothing is counted, which is nearly always until
    /// the gallery has passed.
    counted: Vec<Counted>,
    /// Thresholds that are still of interest.
    open: usize,
    /// Ranks of interest for the first threshold, and for those after it.
    horizon_first: usize,
    horizon: usize,
}

/// What stands at a threshold.
#[derive(Clone, Copy, Default)]
struct Counted {
    /// Relevant items at it.
    hits: u32,
    /// Other items above it and below the previous one.
    above: u32,
    /// Other items exactly at it.
    tied: u32,
    /// Items above it, of those that are counted.
    before: u32,
}

impl Pending {
    fn groups(&self) -> Vec<TieGroup> {
        let (mut before, mut relevant_before) = (0, 0);
        (0..self.open)
            .map(|j| {
                let Counted { hits, above, tied, .. } = self.counted(j);
                before += above as usize;
                let (relevant, tied) = (hits as usize, tied as usize);
                let group = TieGroup { before, relevant_before, size: relevant + tied, relevant };
                before += group.size;
                relevant_before += relevant;
                group
            })
            .collect()
    }

    /// The lowest threshold that is still of interest; infinite where there is none.
    fn lowest(&self) -> f64 {
        self.thresholds[..self.open].last().copied().unwrap_or(f64::INFINITY)
    }

    fn counted(&self, j: usize) -> Counted {
        let nothing = Counted { hits: 1, before: j as u32, ..Counted::default() };
        self.counted.get(j).copied().unwrap_or(nothing)
    }

    /// Makes room to count.
    fn start_counting(&mut self) {
        if self.counted.is_empty() {
            self.counted = (0..self.thresholds.len()).map(|j| self.counted(j)).collect();
        }
    }

    /// Adds an item of this score.
    fn count(&mut self, exact: f64) {
        let open = &self.thresholds[..self.open];
        let at = open.partition_point(|&threshold| threshold > exact);
        if at < open.len() {
            let tie = open[at] == exact;
            self.counted[at].tied += u32::from(tie);
            self.counted[at].above += u32::from(!tie);
        }
    }

    /// Adds up what stands before each open threshold, after items were counted.
    fn add_up(&mut self) {
        let mut before = 0;
        for counted in self.counted.iter_mut().take(self.open) {
            before += counted.above;
            counted.before = before;
            before += counted.hits + counted.tied;
        }
    }

    /// Lets go of thresholds that no measure can reach any more. `waiting` says how many of the items that are not
    /// counted yet are certain to lie above a threshold; both it and `before` grow from one threshold to the next.
    fn prune(&mut self, waiting: impl Fn(f64) -> usize) {
        let before = |j: usize| self.counted(j).before as usize + waiting(self.thresholds[j]);
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
    /// Calls `each` with the ranking of every query in `kept`, in parallel, and returns the answers in order.
    pub(crate) fn rankings<T: Send>(&self, kept: &[usize], each: impl Fn(Ranking) -> T + Sync) -> Vec<T> {
        if self.meets_itself(kept.len()) { self.mutual(kept, &each) } else { self.one_way(kept, &each) }
    }

    /// Blocks of queries one after another, each against the whole gallery.
    fn one_way<T: Send>(&self, kept: &[usize], each: &(impl Fn(Ranking) -> T + Sync)) -> Vec<T> {
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
                self.block(&gallery, &queries, each)
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
        let classes = kept.chunk_by(|&a, &b| self.query_labels[a] == self.query_labels[b]);
        let room = room(self.measures, self.most_relevant);
        let mut counts = self.counts(classes.flat_map(|queries| self.pending(queries)).collect(), |_| room);
        let ready = |form| Queries::new(form, self.metric(), &values, dim, &gallery.centre);
        let mut queries = ready(gallery.form);
        let mut closer = Tile::new(Form::Single, self.metric(), dim);
        let mut scratch = Scratch::default();
        for (at, tile) in gallery.tiles.iter().enumerate() {
            let part = self.part(at);
            counts.face(at * self.gallery_tile, tile.len());
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
        (0..kept.len()).map(|at| each(counts.ranking(at))).collect()
    }

    fn counts(&self, pending: Vec<Pending>, room: impl Fn(&Pending) -> usize) -> Counts<'_> {
        let fact = |pending: &Pending| Fact {
            label: self.query_labels[pending.query],
            due: AT_LEAST as u32,
            norm: self.queries.norms[pending.query],
            lowest: pending.lowest(),
            grid: 0.0,
        };
        Counts {
            stream: self,
            waiting: Waiting::new(pending.iter().map(room)),
            facts: pending.iter().map(fact).collect(),
            pending,
            start: 0,
            reach: 0.0,
            rows: Vec::new(),
            exact: Vec::new(),
            rescored: 0,
        }
    }

    /// The thresholds of queries of one class, in ascending order. A pair of them is scored once: its score is the same
    /// from both sides.
    fn pending(&self, queries: &[usize]) -> Vec<Pending> {
        let Some(&first) = queries.first() else { return Vec::new() };
        let class = self.classes.of(self.query_labels[first]);
        let places: Vec<Option<usize>> = class
            .iter()
            .map(|&row| queries.binary_search(&(row as usize)).ok().filter(|_| self.queries_first))
            .collect();
        let mut relevant: Vec<Vec<f64>> = Vec::new();
        relevant.resize_with(queries.len(), || Vec::with_capacity(class.len()));
        let mut exact = Vec::new();
        for (at, &query) in queries.iter().enumerate() {
            // Those up to this one have scored their pairs.
            let open = class.iter().zip(&places).filter(|(_, place)| place.is_none_or(|place| place > at));
            exact.clear();
            let pairs = open.clone().map(|(&row, _)| (query, row as usize));
            scores(self.similarity, self.queries, self.gallery, pairs, &mut exact);
            for ((_, place), &score) in open.zip(&exact) {
                relevant[at].push(score);
                if let Some(place) = *place {
                    relevant[place].push(score);
                }
            }
        }
        queries.iter().zip(relevant).map(|(&query, scores)| self.start(query, scores)).collect()
    }

    /// A query with the scores of its relevant items.
    fn start(&self, query: usize, mut thresholds: Vec<f64>) -> Pending {
        thresholds.sort_unstable_by(|a, b| b.total_cmp(a));
        let relevant = thresholds.len();
        let hits = |tied: &[f64]| Counted { hits: tied.len() as u32, ..Counted::default() };
        let mut counted: Vec<Counted> = Vec::new();
        if thresholds.windows(2).any(|pair| pair[0] == pair[1]) {
            counted.extend(thresholds.chunk_by(|a, b| a == b).map(hits));
            thresholds.dedup();
        }
        let (horizon_first, horizon) = horizons(self.measures, relevant, self.most_relevant);
        let open = thresholds.len();
        let mut pending = Pending { query, relevant, thresholds, counted, open, horizon_first, horizon };
        pending.add_up();
        pending.prune(|_| 0);
        pending
    }
}

/// Ranks that the first of so many relevant items is of interest up to, and those after it.
fn horizons(measures: &[Measure], relevant: usize, most_relevant: usize) -> (usize, usize) {
    let (mut first, mut others) = (0, 0);
    for measure in measures {
        let rank = measure.horizon(relevant, most_relevant);
        first = first.max(rank);
        if !measure.needs_first_only() {
            others = others.max(rank);
        }
    }
    (first, others)
}

/// Waiting items after which a query looks at them for the first time, and how many more there must be for the next.
const AT_LEAST: usize = 16;

/// Places in a query's list of waiting items. Where measures look at a limited depth, all that may stand so far up find
/// room until the floor has risen past most of them; deeper, the list only gathers what is decided in one go.
pub(crate) fn room(measures: &[Measure], most_relevant: usize) -> usize {
    let (_, ranks) = horizons(measures, most_relevant, most_relevant);
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

/// What every tile and every hit ask of a query.
#[derive(Clone, Copy, Default)]
struct Fact {
    label: u32,
    /// Waiting items at which they are looked through.
    due: u32,
    norm: f64,
    /// The lowest threshold that is still of interest.
    lowest: f64,
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
        if self.waiting.len(at) >= self.facts[at].due as usize {
            self.thin(at);
        }
        let fact = &mut self.facts[at];
        fact.grid = grid(self.stream.similarity, fact.norm, self.reach);
        fact.lowest - fact.grid
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
    /// Makes ready for hits among these gallery rows.
    fn face(&mut self, start: usize, rows: usize) {
        self.start = start;
        self.reach = self.stream.gallery.norms[start..start + rows].iter().copied().fold(0.0, f64::max);
    }

    /// What came of a query when the gallery has passed. Its thresholds are let go.
    fn ranking(&mut self, at: usize) -> Ranking {
        self.thin(at);
        self.decide(at);
        let pending = &mut self.pending[at];
        let ranking = Ranking::new(pending.groups(), pending.relevant);
        (pending.thresholds, pending.counted, pending.open) = (Vec::new(), Vec::new(), 0);
        ranking
    }

    #[cold]
    fn make_room(&mut self, at: usize) {
        self.thin(at);
        // Bounds cannot tell these apart, or measures look further down than the list is long.
        if 4 * self.waiting.len(at) > 3 * self.waiting.room(at) {
            self.decide(at);
            self.thin(at);
        }
    }

    /// Raises a query's floor and lets go of what waits below it.
    fn thin(&mut self, at: usize) {
        let (pending, waiting) = (&mut self.pending[at], &mut self.waiting);
        pending.prune(|threshold| waiting.above(at, threshold));
        let lowest = pending.lowest();
        if pending.open == 0 {
            waiting.clear(at)
        } else {
            waiting.keep(at, lowest)
        }
        let waits = waiting.len(at);
        let fact = &mut self.facts[at];
        (fact.lowest, fact.due) = (lowest, (waits + (waits / 4).max(AT_LEAST)) as u32);
    }

    /// Counts what waits for a query: by its bounds where no threshold lies between them, by its score elsewhere.
    fn decide(&mut self, at: usize) {
        let (stream, pending) = (self.stream, &mut self.pending[at]);
        if self.waiting.is_empty(at) {
            return;
        }
        pending.start_counting();
        self.rows.clear();
        for item in self.waiting.items(at) {
            let open = &pending.thresholds[..pending.open];
            let place = open.partition_point(|&threshold| threshold > item.upper);
            match open.get(place) {
                Some(&threshold) if threshold < item.lower => pending.counted[place].above += 1,
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
