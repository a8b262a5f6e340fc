//! Time of a leave-one-out evaluation: `cargo bench -p parallax-eval -- [rows] [threads]`.
//!
//! Classes of 60 rows, 128 columns, unit class centres with 1.5 times as much noise. With `FOLDER` set, vectors are read
//! from there (`x.f32`, row after row, and one `y.u32` a row, both little-endian), evaluated once by P@1, R-precision and
//! MAP@R, and one line of JSON is printed: that is what `scripts/compare_measures.py` runs.

use std::path::Path;
use std::time::Instant;

use parallax_eval::{Gallery, RetrievalConfig, Similarity, Vectors, memory_bytes, retrieval};
use parallax_random::Key;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let n = numbers.first().copied().unwrap_or(10_000);
    let threads = numbers.get(1).copied().unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    match std::env::var_os("FOLDER") {
        Some(folder) => pool.install(|| once(folder.as_ref())),
        None => pool.install(|| table(n, threads)),
    }
}

/// Seconds of processor time of all threads so far: on a busy machine the wall clock says little.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets: user time is the 12th field, system time the 13th, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn once(folder: &Path) -> Outcome {
    let words = |file: &str| -> std::io::Result<Vec<[u8; 4]>> {
        Ok(std::fs::read(folder.join(file))?.as_chunks::<4>().0.to_vec())
    };
    let values: Vec<f32> = words("x.f32")?.into_iter().map(f32::from_le_bytes).collect();
    let labels: Vec<u32> = words("y.u32")?.into_iter().map(u32::from_le_bytes).collect();
    let vectors = Vectors { values: &values, dim: values.len() / labels.len().max(1), labels: &labels };
    let measures =
        ["precision@1", "r_precision", "map@r"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
    let config =
        RetrievalConfig { measures, similarity: Similarity::Euclidean, resamples: 0, ..Default::default() };
    let (start, used) = (Instant::now(), processor());
    let result = retrieval(&config, vectors, Gallery::LeaveOneOut)?;
    let (seconds, used) = (start.elapsed().as_secs_f64(), processor() - used);
    let values: Vec<f64> = result.measures.iter().map(|m| m.value).collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    println!(
        "{{\"seconds\": {seconds}, \"processor_seconds\": {used}, \"peak_mb\": {}, \"values\": {values:?}}}",
        peak.unwrap_or(0.0) / 1e3
    );
    Ok(())
}

fn table(n: usize, threads: usize) -> Outcome {
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
                let (start, used) = (Instant::now(), processor());
                let result = retrieval(&config, vectors, Gallery::LeaveOneOut)?;
                let (seconds, used) = (start.elapsed().as_secs_f64(), processor() - used);
                let bytes = memory_bytes(&config, n, 0, dim, result.most_relevant, threads);
                let values: Vec<f64> = result.measures.iter().map(|m| m.value).collect();
                println!(
                    "{n} rows, {threads} threads, {similarity:?}, {name}, {resamples} resamples: {seconds:.3} s ({used:.2} s \
                     of processors), {:.1} MB, ties {}, {values:?}",
                    bytes as f64 / 1e6,
                    result.ties
                );
            }
        }
    }
    Ok(())
}
