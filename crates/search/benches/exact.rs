//! Time of exact search: `cargo bench -p parallax-search -- [rows] [dim] [queries] [k] [threads]`, by default 100000 384
//! 1000 10 and 2 threads.
//!
//! Unit rows around 1,000 centres. The bound is the time of the bare 32-bit matrix products, every query against every
//! row, in tiles and on the same threads; both are the best of seven turns, taken in alternation. With `FOLDER` set, rows
//! and queries are read from there (`x.f32` and `q.f32`, row after row, little-endian), and each line of standard input is
//! answered with one line of JSON: that is what `scripts/compare_exact_search.py` talks to.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use parallax_kernels::gemm;
use parallax_random::Key;
use parallax_search::{Attributes, Batch, Filter, Index, IndexConfig, IndexWriter, Similarity};
use rayon::prelude::*;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn draw(key: Key, count: usize, dim: usize) -> Vec<f32> {
    let mut values = vec![0.0f32; count * dim];
    values.par_chunks_mut(dim).enumerate().for_each(|(row, out)| {
        let (noise, centre) =
            (key.at(row as u64), Key::new(0).named("centre").at(key.below(row as u64, 1000) as u64));
        out.iter_mut().enumerate().for_each(|(i, out)| {
            *out = (centre.normal(i as u64) + 0.7 * noise.normal(i as u64)) as f32;
        });
        let norm = out.iter().map(|v| v * v).sum::<f32>().sqrt();
        out.iter_mut().for_each(|v| *v /= norm);
    });
    values
}

/// The products alone, as many rows and queries in a tile as the search takes.
fn products(queries: &[f32], rows: &[f32], dim: usize) {
    let tasks: Vec<(&[f32], &[f32])> = queries
        .chunks(256 * dim)
        .flat_map(|block| {
            rows.chunks(rows.len().div_ceil(dim * 4096) * 1024 * dim).map(move |part| (block, part))
        })
        .collect();
    tasks.par_iter().with_max_len(1).for_each(|(block, part)| {
        let m = block.len() / dim;
        let mut tile = vec![0.0f32; m * 1024];
        for rows in part.chunks(1024 * dim) {
            let n = rows.len() / dim;
            gemm::nt(m, n, dim, block, rows, 0.0, &mut tile[..m * n]);
            std::hint::black_box(&tile);
        }
    });
}

fn best(times: Vec<f64>) -> f64 {
    times.into_iter().fold(f64::INFINITY, f64::min)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn main() -> Outcome {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (count, dim, q, k, threads) = (at(0, 100_000), at(1, 384), at(2, 1000), at(3, 10), at(4, 2));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    match std::env::var_os("FOLDER") {
        Some(folder) => pool.install(|| answer(folder.as_ref(), dim, k)),
        None => pool.install(|| run(count, dim, q, k, threads)),
    }
}

/// `all`: searches for all queries together. `single`: for the first 100 one after another. Both answer with seconds for
/// all that were asked and seconds of processor time. `rows`: the rows that `all` finds.
fn answer(folder: &Path, dim: usize, k: usize) -> Outcome {
    let read = |file: &str| -> std::io::Result<Vec<f32>> {
        let bytes = std::fs::read(folder.join(file))?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
    };
    let (x, queries) = (read("x.f32")?, read("q.f32")?);
    let place = tempfile::tempdir()?;
    let path = place.path().join("index");
    build(&path, &x, dim, Similarity::Dot)?;
    drop(x);
    let index = Index::open(&path)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (start, used) = (Instant::now(), processor());
        match line.trim() {
            "single" => {
                for query in queries.chunks(dim).take(100) {
                    index.search(query, k, None)?;
                }
            }
            _ => {
                let hits = index.search(&queries, k, None)?;
                if line.trim() == "rows" {
                    let rows: Vec<Vec<usize>> =
                        hits.iter().map(|hits| hits.iter().map(|hit| hit.row).collect()).collect();
                    println!("{rows:?}");
                    continue;
                }
            }
        }
        let (seconds, used) = (start.elapsed().as_secs_f64(), processor() - used);
        println!("{{\"seconds\": {seconds}, \"processor_seconds\": {used}}}");
    }
    Ok(())
}

/// Seconds of processor time of all threads so far: on a busy machine the wall clock says little.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets: user time is the 12th field, system time the 13th, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn run(count: usize, dim: usize, q: usize, k: usize, threads: usize) -> Outcome {
    let (x, queries) = (draw(Key::new(1), count, dim), draw(Key::new(2), q, dim));
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("index");
    let built = seconds(|| build(&path, &x, dim, Similarity::Cosine).expect("the index is written"));
    let mut opened = None;
    let open = seconds(|| opened = Some(Index::open(&path)));
    let index = opened.expect("it was opened")?;
    println!(
        "{count} rows of {dim}, top {k}, {threads} threads: written in {built:.2} s, opened and checked in {open:.3} s"
    );
    let gflop = 2e-9 * (count * dim * q) as f64;
    for rows in ["all rows", "share < 0.5", "share < 0.01", "share < 0.0001"] {
        let filter = rows.starts_with("share").then(|| Filter::parse(rows)).transpose()?;
        let kept = index.count(filter.as_ref())?;
        if kept == 0 {
            continue;
        }
        index.search(&queries, k, filter.as_ref())?;
        let (mut searches, mut bounds) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            searches.push(seconds(|| {
                std::hint::black_box(index.search(&queries, k, filter.as_ref()).expect("queries are fine"));
            }));
            bounds.push(seconds(|| products(&queries, &x[..kept * dim], dim)));
        }
        let (search, bound) = (best(searches), best(bounds));
        println!(
            "{rows} ({kept} rows), {q} queries: {:.0} queries/s; the products alone {:.0} queries/s ({:.0} GFLOP/s), share {:.0} %",
            q as f64 / search,
            q as f64 / bound,
            gflop * kept as f64 / count as f64 / bound,
            100.0 * bound / search
        );
    }
    let turns = q.min(100);
    index.search(&queries[..dim], k, None)?;
    let singles = queries.chunks(dim).take(turns).map(|query| {
        seconds(|| {
            std::hint::black_box(index.search(query, k, None).expect("queries are fine"));
        })
    });
    let single = best(singles.collect());
    let bytes = (count * dim * 4) as f64;
    println!(
        "one query at a time: {:.2} ms, {:.1} GB/s of vectors read",
        1e3 * single,
        1e-9 * bytes / single
    );
    Ok(())
}

fn build(path: &Path, x: &[f32], dim: usize, similarity: Similarity) -> Outcome {
    let config = IndexConfig { dim, similarity, ..Default::default() };
    let mut writer = IndexWriter::create(path, config)?;
    let key = Key::new(3);
    for (batch, vectors) in x.chunks(4096 * dim).enumerate() {
        let rows = batch * 4096..batch * 4096 + vectors.len() / dim;
        let ids: Vec<String> = rows.clone().map(|row| format!("row {row}")).collect();
        let attributes: Vec<Attributes> = rows
            .map(|row| [("share".to_owned(), key.uniform(row as u64).into())].into_iter().collect())
            .collect();
        writer.add(Batch { vectors, ids: &ids, texts: &[], attributes: &attributes })?;
    }
    writer.finish()?;
    Ok(())
}
