//! Scans against the machine's limits: `cargo bench -p parallax-kernels --bench scan -- [rows] [dim] [queries] [k]`, by
//! default 100000 384 1000 10, on one thread. `FORM` picks one form.
//!
//! The limit of arithmetic is products on tile registers alone, without a load between them, measured in the same run; the
//! limit of memory is reading the rows once, by the plainest loop. Times are processor time of the thread, the best of
//! several turns: what else the machine does takes nothing from them but room in the caches.

use std::hint::black_box;
use std::time::Instant;

use parallax_kernels::isa::{self, Isa};
use parallax_kernels::scan::binary::nearest;
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

/// Seconds that this thread has run.
#[cfg(unix)]
fn clock(_: Instant) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes one `timespec`, which is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(not(unix))]
fn clock(epoch: Instant) -> f64 {
    epoch.elapsed().as_secs_f64()
}

/// Products a second, in multiplications and additions, of bf16 and of 8-bit integers on tile registers alone.
#[cfg(target_arch = "x86_64")]
fn peaks() -> Option<[f64; 2]> {
    use std::arch::asm;
    const STEPS: usize = 1_000_000;
    if isa::current() != Isa::Amx {
        return None;
    }
    let mut layout = [0u8; 64];
    layout[0] = 1;
    layout[16..32].chunks_mut(2).for_each(|columns| columns[0] = 64);
    layout[48..56].fill(16);
    macro_rules! products {
        ($instruction:literal) => {
            best(5, || {
                // SAFETY: tiles may be used where the instruction set is AMX; the layout is valid, and only tile registers
                // are touched after it.
                unsafe {
                    asm!(
                        "ldtilecfg [{layout}]",
                        "2:",
                        concat!($instruction, " tmm0, tmm4, tmm6"),
                        concat!($instruction, " tmm1, tmm4, tmm7"),
                        concat!($instruction, " tmm2, tmm5, tmm6"),
                        concat!($instruction, " tmm3, tmm5, tmm7"),
                        "dec {steps}",
                        "jnz 2b",
                        "tilerelease",
                        layout = in(reg) layout.as_ptr(),
                        steps = inout(reg) STEPS => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
            })
        };
    }
    // Sixteen rows by sixteen columns by 32 or 64 terms, four times a step.
    let work = (4 * 16 * 16 * 2 * STEPS) as f64;
    Some([32.0 * work / products!("tdpbf16ps"), 64.0 * work / products!("tdpbssd")])
}

#[cfg(not(target_arch = "x86_64"))]
fn peaks() -> Option<[f64; 2]> {
    None
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

/// One bit a number.
fn binary(count: usize, dim: usize, q: usize, k: usize) {
    let words = dim.div_ceil(64);
    let bits = |count: usize, salt: u64| -> Vec<u64> {
        draw(2 * count * words, salt)
            .chunks(2)
            .map(|x| u64::from(x[0].to_bits()) << 32 | u64::from(x[1].to_bits() << 9 | x[0].to_bits() & 511))
            .collect()
    };
    let (rows, queries) = (bits(count, 3), bits(q, 4));
    let seconds = best(3, || {
        black_box(nearest(&queries, &rows, words, k));
    });
    let read = (count * words * 8 * q) as f64;
    println!(
        "Binary, {q} queries: {:.2} ms, {:.1} GB/s of rows compared",
        1e3 * seconds,
        1e-9 * read / seconds
    );
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
    let peaks = peaks();
    if let Some([bf16, int8]) = peaks {
        println!(
            "products on tile registers alone: bf16 {:.0}, int8 {:.0} GFLOP/s",
            bf16 * 1e-9,
            int8 * 1e-9
        );
    }
    binary(count, dim, q.min(100), k);
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
                // Rows in two parts take three products each.
                let share = match (peaks, form) {
                    (Some([bf16, _]), Form::Half) => {
                        format!(", {:.0} % of the registers", 1e11 * work / seconds / bf16)
                    }
                    (Some([bf16, _]), Form::Split) => {
                        format!(", {:.0} % of the registers", 3e11 * work / seconds / bf16)
                    }
                    (Some([_, int8]), Form::Int8) if isa == Isa::Amx => {
                        format!(", {:.0} % of the registers", 1e11 * work / seconds / int8)
                    }
                    _ => String::new(),
                };
                println!(
                    "{form:?} on {isa}, {q} queries: {:.2} ms, {:.0} GFLOP/s{share}, {:.1} GB/s of rows, {:.1} hits a query",
                    1e3 * seconds,
                    work / seconds,
                    1e-9 * (count * dim * bytes) as f64 / seconds,
                    hits as f64 / q as f64,
                );
            }
        }
    }
}
