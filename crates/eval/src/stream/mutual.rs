//! All queries at once, where they are the gallery themselves: a product is computed once and serves both of its rows.
//!
//! That halves the products. Thresholds and lists of all queries are held until the end, so it is done where they take some
//! megabytes only, and where products are what takes the time, which they are not with tile registers.
//!
//! Blocks of rows meet in rounds, as the players of a tournament do. In a round no block meets two others, so that threads
//! do not wait for each other. What is counted does not depend on who meets whom when.

use std::sync::Mutex;

use parallax_kernels::isa;
use parallax_kernels::scan::{Form, Mutual, Scratch, Waiting};
use rayon::prelude::*;

use super::{Counts, Fact, Pending, Stream, horizons};
use crate::{Ranking, RetrievalConfig};

/// What all queries may hold at once, for so many: never as much as half a byte a pair, but a few megabytes always.
pub(crate) fn allowance(queries: usize) -> usize {
    match Form::fastest(isa::current()) {
        Form::Single => (queries.saturating_mul(queries) / 2).clamp(4 << 20, MOST),
        _ => 0,
    }
}

/// Never more than this many bytes: some 15,000 queries of classes of 60. Beyond, thresholds go block by block.
const MOST: usize = 48 << 20;

/// Ranks beyond which a list only gathers what is decided in one go.
const DEEPEST: usize = 1024;

/// Places in the list of what waits for a query: fewer than [`room`](super::room) has, which costs no time here.
fn places(ranks: usize) -> usize {
    if ranks <= DEEPEST { (ranks + ranks / 4 + 16).next_multiple_of(16).max(64) } else { 64 }
}

/// What a query holds at most: thresholds and their counts, waiting items, and its row made ready.
fn query_bytes(relevant: usize, room: usize) -> usize {
    24 * (relevant + 1) + Waiting::memory_bytes(1, room) + 2 * size_of::<Pending>() + size_of::<Fact>() + 120
}

/// What all queries may hold at once where `most_relevant` is not known for each, and what each thread holds beside.
pub(crate) fn memory_bytes(
    config: &RetrievalConfig,
    queries: usize,
    most_relevant: usize,
    dim: usize,
    threads: usize,
) -> usize {
    let allowed = allowance(queries);
    if allowed == 0 {
        return 0;
    }
    // Smaller classes may have longer lists where this one is deeper than they go, but then all that is allowed is less.
    let room = places(horizons(&config.measures, most_relevant, most_relevant).1);
    let all = queries.saturating_mul(query_bytes(most_relevant, room)).min(allowed);
    let rows = block_rows(config.query_tile, queries, threads);
    let block = size_of::<Block>() + Mutual::memory_bytes(rows, dim) + 16 * room;
    let thread = Mutual::scratch_bytes(rows, dim) + 64 * (most_relevant + room);
    all + queries.div_ceil(rows) * block + threads * thread
}

/// Rows of a block: a few pairs of blocks for each thread, and as much as a cache holds.
pub(crate) fn block_rows(query_tile: usize, queries: usize, threads: usize) -> usize {
    query_tile.min(512).min(queries.div_ceil(8 * threads).next_multiple_of(16)).max(1)
}

/// Rows with what is counted for them.
struct Block<'a> {
    rows: Mutual<'a>,
    start: usize,
    counts: Mutex<Counts<'a>>,
}

impl Stream<'_> {
    /// Whether the queries go through the gallery together: they are the gallery, most are asked for, and what they hold
    /// is within bounds.
    pub(super) fn meets_itself(&self, kept: usize) -> bool {
        let count = self.queries.len();
        let held = |class: &[u32]| {
            let relevant = class.len() - 1;
            class.len().saturating_mul(query_bytes(
                relevant,
                places(horizons(self.measures, relevant, self.most_relevant).1),
            ))
        };
        self.queries_first
            && self.gallery.len() == count
            && 2 * kept >= count
            && self.classes.iter().map(held).fold(0, usize::saturating_add) <= self.mutual_bytes
    }

    pub(super) fn mutual<T: Send>(&self, kept: &[usize], each: &(impl Fn(Ranking) -> T + Sync)) -> Vec<T> {
        let threads = rayon::current_num_threads();
        let rows = block_rows(self.query_tile, self.queries.len(), threads);
        let blocks = self.mutual_blocks(rows);
        let scratch: Vec<Mutex<Scratch>> = (0..threads).map(|_| Mutex::default()).collect();
        let meet = |&(a, b): &(usize, usize)| {
            let mut scratch = lock(&scratch[rayon::current_thread_index().unwrap_or(0)]);
            let (a, b) = (&blocks[a], &blocks[b]);
            let mut counts = lock(&a.counts);
            counts.face(b.start, b.rows.len());
            if a.start == b.start {
                return a.rows.scan_own(&mut scratch, &mut *counts);
            }
            let mut others = lock(&b.counts);
            others.face(a.start, a.rows.len());
            a.rows.scan(&b.rows, &mut scratch, &mut *counts, &mut *others);
        };
        for round in rounds(blocks.len()) {
            round.par_iter().with_max_len(1).for_each(meet);
        }
        let done: Vec<Vec<T>> = blocks
            .par_iter()
            .with_max_len(1)
            .map(|block| {
                let mut counts = lock(&block.counts);
                let inside = kept.partition_point(|&query| query < block.start)
                    ..kept.partition_point(|&query| query < block.start + block.rows.len());
                let answers = kept[inside].iter().map(|query| each(counts.ranking(query - block.start)));
                answers.collect()
            })
            .collect();
        done.into_iter().flatten().collect()
    }

    fn mutual_blocks(&self, rows: usize) -> Vec<Block<'_>> {
        let classes: Vec<Vec<usize>> =
            self.classes.iter().map(|class| class.iter().map(|&row| row as usize).collect()).collect();
        let mut pending: Vec<Pending> =
            classes.par_iter().with_max_len(1).flat_map_iter(|class| self.pending(class)).collect();
        pending.sort_unstable_by_key(|pending| pending.query);
        let dim = self.gallery.dim;
        let mut pending = pending.into_iter();
        let parts = self.gallery.values.chunks(rows * dim).enumerate();
        parts
            .map(|(at, values)| Block {
                rows: Mutual::new(self.metric(), values, dim),
                start: at * rows,
                counts: Mutex::new(
                    self.counts(pending.by_ref().take(rows).collect(), |pending| places(pending.horizon)),
                ),
            })
            .collect()
    }
}

/// Pairs of blocks in which every block meets every other once, and itself, in rounds in which no block comes twice.
fn rounds(blocks: usize) -> impl Iterator<Item = Vec<(usize, usize)>> {
    // One block stays while the others go around it; with an odd number the place of that one is empty.
    let around = blocks.max(1) - usize::from(blocks.is_multiple_of(2));
    let own = std::iter::once((0..blocks).map(|block| (block, block)).collect());
    let others = (0..if blocks > 1 { around } else { 0 }).map(move |round| {
        let pairs = (1..=around / 2).map(|step| ((round + step) % around, (round + around - step) % around));
        let last = (around < blocks).then_some((round, around));
        last.into_iter().chain(pairs).collect()
    });
    own.chain(others)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use parallax_random::Key;

    use super::*;
    use crate::retrieval::evaluate;
    use crate::{Gallery, Similarity, Vectors};

    /// Rows in clusters: some repeat another row, some are zero, some classes have one row and one has many.
    fn rows(count: usize, dim: usize) -> (Vec<f32>, Vec<u32>) {
        let key = Key::new(51);
        let labels: Vec<u32> = (0..count as u64)
            .map(|i| match key.named("kind").below(i, 10) {
                0 => 1000 + i as u32,
                1 | 2 => 0,
                _ => key.named("label").below(i, count / 8 + 1) as u32,
            })
            .collect();
        let mut values: Vec<f32> = (0..count * dim)
            .map(|at| {
                let centre = u64::from(labels[at / dim]) * dim as u64 + (at % dim) as u64;
                (key.named("centre").normal(centre) + key.named("noise").normal(at as u64)) as f32
            })
            .collect();
        for i in 0..count {
            match key.named("copy").below(i as u64, 10) {
                0..3 => {
                    let from = key.named("from").below(i as u64, count) * dim;
                    values.copy_within(from..from + dim, i * dim);
                }
                3 => values[i * dim..(i + 1) * dim].fill(0.0),
                _ => {}
            }
        }
        (values, labels)
    }

    #[test]
    fn products_that_serve_both_rows_change_no_bit() {
        let names = ["precision@1", "map@r", "map", "map@5", "mrr", "recall@8", "map@max_bin_count"];
        let sets = [names.as_slice(), &names[..2], &names[4..5]];
        for (count, dim) in [(2, 3), (41, 20), (700, 9)] {
            let (values, mut labels) = rows(count, dim);
            labels[..2].fill(0);
            let vectors = Vectors { values: &values, dim, labels: &labels };
            for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
                for names in sets {
                    let measures = names.iter().map(|name| name.parse().unwrap()).collect();
                    let config = RetrievalConfig { measures, similarity, resamples: 0, ..Default::default() };
                    let run = |query_tile: usize, threads: usize, bytes: usize| {
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        let config = RetrievalConfig { query_tile, ..config.clone() };
                        pool.install(|| evaluate(&config, vectors, Gallery::LeaveOneOut, bytes)).unwrap()
                    };
                    let want = run(512, 1, 0);
                    for (query_tile, threads) in [(512, 1), (512, 3), (33, 2), (7, 1)] {
                        assert_eq!(
                            run(query_tile, threads, usize::MAX),
                            want,
                            "{count} × {dim} {similarity:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_held_at_once_is_bounded() {
        if allowance(1) > 0 {
            assert_eq!([allowance(100), allowance(10_000), allowance(1 << 40)], [4 << 20, 50_000_000, MOST]);
        }
        // A class that is deeper than lists are long is more than what is allowed.
        for queries in [DEEPEST, 10_000, 100_000, 1 << 30] {
            assert!(queries * query_bytes(DEEPEST, 64) > allowance(queries), "{queries}");
        }
        // 15,000 rows in classes of 60 go together; 60,000 do not, nor as many in two classes.
        let bytes = |rows: usize, class: usize| rows * query_bytes(class - 1, places(class - 1));
        assert!(bytes(15_000, 60) < MOST && bytes(60_000, 60) > MOST && bytes(15_000, 7_500) > MOST);
    }

    #[test]
    fn every_block_meets_every_other_once_and_none_twice_in_a_round() {
        for blocks in 0..12 {
            let mut met = vec![];
            for round in rounds(blocks) {
                let mut seen = vec![false; blocks];
                for (a, b) in round {
                    assert!(!std::mem::replace(&mut seen[a], true), "{blocks}: {a}");
                    assert!(a == b || !std::mem::replace(&mut seen[b], true), "{blocks}: {b}");
                    met.push((a.min(b), a.max(b)));
                }
            }
            met.sort_unstable();
            let want: Vec<(usize, usize)> =
                (0..blocks).flat_map(|a| (a..blocks).map(move |b| (a, b))).collect();
            assert_eq!(met, want, "{blocks}");
        }
    }
}
