//! Scans against the machine's limits: `cargo bench -p parallax-kernels --bench scan -- [rows] [dim] [queries] [k]`, by
//! default 100000 384 1000 10, on one thread.
//!
//! The limit of arithmetic is the rate of products on registers alone, measured in the same run; the limit of memory is
//! reading the rows once, by the plainest loop. Each figure is the best of several turns.

use std::hint::black_box;
use std::time::Instant;

use parallax_kernels::isa::{self, Isa};
use parallax_kernels::scan::{Candidates, Form, Hit, Metric, Queries, Scratch, Sink, Tile, centre};

const ROWS: usize = 1024;

fn draw(count: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| uniform() + uniform() + uniform()).collect()
}

struct Best {
    lists: Vec<Candidates>,
    base: usize,
    hits: usize,
}

impl Sink for Best {
    fn floor(&mut self, query: usize) -> f64 {
        self.lists[query].floor()
    }

    fn hit(&mut self, hit: Hit) {
        self.hits += 1;
        // Scores of tiles are enough here: exact ones are the caller's.
        let exact = |rows: &[usize], out: &mut Vec<f64>| out.extend(rows.iter().map(|_| hit.score));
        self.lists[hit.query].offer(hit.score, hit.error, self.base + hit.row, exact);
    }
}

/// Seconds that this thread has run: on a machine that does other things, what it had to wait for is not counted.
fn clock(start: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| 1e-9 * nanoseconds)
}

fn best(turns: usize, mut work: impl FnMut()) -> f64 {
    let epoch = Instant::now();
    (0..turns)
        .map(|_| {
            let start = clock(epoch);
            work();
            clock(epoch) - start
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (count, dim, q, k) = (at(0, 100_000), at(1, 384), at(2, 1000), at(3, 10));
    let mut rows = draw(count * dim, 1);
    let mut queries = draw(q * dim, 2);
    for row in rows.chunks_mut(dim).chain(queries.chunks_mut(dim)) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    let read = best(5, || {
        black_box(
            rows.chunks_exact(64).map(|c| c.iter().fold(0u32, |s, x| s ^ x.to_bits())).fold(0, |s, x| s ^ x),
        );
    });
    println!("reading: {:.1} GB/s", 4e-9 * rows.len() as f64 / read);
    let mu = centre(&rows, dim);
    let only = std::env::var("FORM").ok();
    for isa in isa::available() {
        for form in [Form::Single, Form::Half, Form::Split, Form::Int8] {
            if only.as_ref().is_some_and(|name| *name != format!("{form:?}")) {
                continue;
            }
            if isa != Isa::Amx && matches!(form, Form::Half | Form::Split) {
                continue;
            }
            let tiles: Vec<Tile> = rows
                .chunks(ROWS * dim)
                .map(|values| {
                    let mut tile = Tile::on(isa, form, Metric::Dot, dim);
                    tile.fill(values, &mu);
                    tile
                })
                .collect();
            for q in [q, 1] {
                let ready = Queries::on(isa, form, Metric::Dot, &queries[..q * dim], dim, &mu);
                let mut hits = 0;
                let seconds = best(5, || {
                    let mut sink = Best { lists: vec![Candidates::new(k); q], base: 0, hits: 0 };
                    let mut scratch = Scratch::default();
                    for (tile, values) in tiles.iter().zip(rows.chunks(ROWS * dim)) {
                        ready.scan(tile, values, &mut scratch, &mut sink);
                        sink.base += tile.len();
                    }
                    hits = black_box(sink).hits;
                });
                let work = 2e-9 * (count * dim * q) as f64;
                let bytes = if form == Form::Single { 4 } else { form.bytes() };
                println!(
                    "{form:?} on {isa}, {q} queries: {:.2} ms, {:.0} GFLOP/s of the scan, {:.1} GB/s of rows, {:.1} hits a query",
                    1e3 * seconds,
                    work / seconds,
                    1e-9 * (count * dim * bytes) as f64 / seconds,
                    hits as f64 / q as f64,
                );
            }
        }
    }
}
