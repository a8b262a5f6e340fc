//! Time of a leave-one-out evaluation: `cargo bench -p parallax-eval -- [rows] [threads]`.
//!
//! Classes of 60 rows, 128 columns, unit class centres with 1.5 times as much noise.

use std::time::Instant;

use parallax_eval::{Gallery, RetrievalConfig, Similarity, Vectors, memory_bytes, retrieval};
use parallax_random::Key;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let n = numbers.first().copied().unwrap_or(10_000);
    let threads = numbers.get(1).copied().unwrap_or(2);
    let (dim, classes) = (128, (n / 60).max(1));
    let key = Key::new(0);
    let labels: Vec<u32> = (0..n as u64).map(|i| key.named("label").below(i, classes) as u32).collect();
    let values: Vec<f32> = (0..n * dim)
        .map(|at| {
            let centre = labels[at / dim] as usize * dim + at % dim;
            (key.named("centre").normal(centre as u64) + 1.5 * key.named("noise").normal(at as u64)) as f32
        })
        .collect();
    let vectors = Vectors { values: &values, dim, labels: &labels };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let sets = [
        ("precision@1 r_precision map@r", vec!["precision@1", "r_precision", "map@r"]),
        ("the same and mrr, recall@8", vec!["precision@1", "r_precision", "map@r", "mrr", "recall@8"]),
        ("map over the whole ranking", vec!["map"]),
    ];
    for similarity in [Similarity::Euclidean, Similarity::Cosine] {
        for (name, measures) in &sets {
            for resamples in [0, 1000] {
                let measures = measures.iter().map(|m| m.parse()).collect::<Result<Vec<_>, _>>()?;
                let config = RetrievalConfig { measures, similarity, resamples, ..Default::default() };
                let start = Instant::now();
                let result = pool.install(|| retrieval(&config, vectors, Gallery::LeaveOneOut))?;
                let seconds = start.elapsed().as_secs_f64();
                let bytes = memory_bytes(&config, n, 0, dim, result.most_relevant, threads);
                let values: Vec<f64> = result.measures.iter().map(|m| m.value).collect();
                println!(
                    "{n} rows, {threads} threads, {similarity:?}, {name}, {resamples} resamples: {seconds:.3} s, \
                     {:.1} MB, ties {}, {values:?}",
                    bytes as f64 / 1e6,
                    result.ties
                );
            }
        }
    }
    Ok(())
}
