//! Times of one evaluation with its gradient, in f32, 128 dimensions, 4 items a class, random embeddings.
//!
//! ```text
//! cargo bench -p parallax-metric                 every loss at B = 256, 1,024 and 4,096, in milliseconds
//! cargo bench -p parallax-metric -- large        every loss at B = 65,536, beside three matrix products of that size
//! cargo bench -p parallax-metric -- json         the cases of pytorch-metric-learning's bench, one JSON line each
//! ```
//! Further arguments: `threads=N` (default 2), `batch=N`, and names of losses to run only those.

use std::hint::black_box;
use std::time::Instant;

use parallax_kernels::gemm;
use parallax_metric::{Batch, MinerConfig, Objective, Shape, miner};
use parallax_random::Key;

const DIM: usize = 128;

const LOSSES: [&str; 20] = [
    "contrastive",
    "triplet_margin",
    "ntxent",
    "supcon",
    "multi_similarity",
    "circle",
    "lifted_structure",
    "generalized_lifted_structure",
    "nca",
    "margin",
    "fast_ap",
    "smooth_ap",
    "intra_pair_variance",
    "tuplet_margin",
    "snr_contrastive",
    "ranked_list",
    "instance",
    "threshold_consistent_margin",
    "binomial_deviance",
    "pnp",
];

/// Highest resident memory of this process so far, in GB.
fn peak_gb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e9
}

/// Seconds of processor time of this process so far, which other programs on the machine hardly change; NaN where the
/// system does not tell.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

fn named(loss: &str) -> Objective {
    let config = serde_json::json!({ "loss": { "name": loss } });
    serde_json::from_value(config).expect("a loss of this name")
}

fn mined() -> Objective {
    let miner = Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity::default()));
    Objective { miner, ..named("multi_similarity") }
}

/// A batch with `per_class` items a class.
struct Data {
    x: Vec<f32>,
    labels: Vec<u32>,
}

impl Data {
    fn new(b: usize) -> Self {
        let x = (0..b * DIM).map(|i| Key::new(1).normal(i as u64) as f32).collect();
        Data { x, labels: (0..b as u32).map(|i| i % (b as u32 / 4).max(1)).collect() }
    }

    /// Seconds of one evaluation.
    fn time(&self, pool: &rayon::ThreadPool, objective: &Objective) -> f64 {
        let batch = Batch { x: &self.x, dim: DIM, labels: &self.labels, refs: None };
        let start = Instant::now();
        black_box(pool.install(|| objective.evaluate(&batch, false)).expect("a valid batch"));
        start.elapsed().as_secs_f64()
    }
}

/// Seconds of the three matrix products that a pair loss cannot do without, tile by tile: `x·xᵀ`, `g·x` and `gᵀ·x`, with
/// the rows split over the threads.
fn three_products(pool: &rayon::ThreadPool, data: &Data) -> f64 {
    use rayon::prelude::*;
    const ROWS: usize = 64;
    let b = data.labels.len();
    let mut out = vec![0f32; b * DIM];
    let start = Instant::now();
    pool.install(|| {
        out.par_chunks_mut(ROWS * DIM).enumerate().for_each_init(
            || (vec![0f32; ROWS * b], vec![0f32; b * DIM]),
            |(tile, back), (k, out)| {
                let rows = out.len() / DIM;
                let x = &data.x[k * ROWS * DIM..][..rows * DIM];
                let tile = &mut tile[..rows * b];
                gemm::nt(rows, b, DIM, x, &data.x, 0.0, tile);
                gemm::nn(rows, DIM, b, tile, &data.x, 0.0, out);
                gemm::tn(b, DIM, rows, tile, x, 1.0, back);
            },
        );
    });
    black_box(&out);
    start.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |name: &str| -> Option<usize> {
        arguments.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let threads = number("threads").unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    let has = |word: &str| arguments.iter().any(|a| a == word);
    let chosen: Vec<&str> = LOSSES.into_iter().filter(|loss| has(loss)).collect();
    let losses: Vec<&str> = if chosen.is_empty() { LOSSES.to_vec() } else { chosen };
    if has("json") {
        json(&pool, threads, number("batch"));
    } else if has("large") {
        large(&pool, threads, number("batch").unwrap_or(65_536), &losses);
    } else {
        table(&pool, threads, &losses);
    }
}

/// Milliseconds at three sizes, the best of several runs, and how time grows from the second to the third.
fn table(pool: &rayon::ThreadPool, threads: usize, losses: &[&str]) {
    println!("{threads} threads, D = {DIM}, f32, milliseconds");
    println!("{:<30}{:>10}{:>10}{:>10}{:>16}", "", "B = 256", "1024", "4096", "4096 / 1024");
    let mut cases: Vec<(String, Objective)> = losses.iter().map(|&l| (l.to_owned(), named(l))).collect();
    cases.push(("multi_similarity + miner".to_owned(), mined()));
    for (name, objective) in &cases {
        print!("{name:<30}");
        let mut times = Vec::new();
        for b in [256usize, 1024, 4096] {
            let data = Data::new(b);
            let runs = ((1 << 13) / b).max(3);
            let best = (0..runs).map(|_| data.time(pool, objective)).fold(f64::INFINITY, f64::min);
            print!("{:>10.2}", best * 1e3);
            times.push(best);
        }
        println!("{:>16.1}", times[2] / times[1]);
    }
}

/// Seconds at one large size, as a multiple of three matrix products measured just before.
fn large(pool: &rayon::ThreadPool, threads: usize, b: usize, losses: &[&str]) {
    let data = Data::new(b);
    println!("{threads} threads, B = {b}, D = {DIM}, f32");
    println!(
        "times are of the processor, summed over threads, so that a busy machine does not distort the ratio"
    );
    for &name in losses {
        let objective = named(name);
        let start = processor_seconds();
        let wall = three_products(pool, &data);
        let products = processor_seconds() - start;
        let start = processor_seconds();
        let seconds = data.time(pool, &objective);
        let own = processor_seconds() - start;
        let shape = Shape { threads, largest_class: 4, ..Shape::batch(b, DIM) };
        println!(
            "{name:<30}{own:>8.2} s = {:.2} × three products ({products:.2} s); wall {seconds:.2} s and {wall:.2} s; \
             formula {:.2} GB, process peak {:.2} GB",
            own / products,
            objective.memory_bytes(&shape) as f64 / 1e9,
            peak_gb()
        );
    }
}

/// The cases of the bench of pytorch-metric-learning, as it prints them.
fn json(pool: &rayon::ThreadPool, threads: usize, batch: Option<usize>) {
    let cases = [
        ("multi_similarity+miner", mined()),
        ("multi_similarity", named("multi_similarity")),
        ("supcon", named("supcon")),
        ("contrastive", named("contrastive")),
        ("circle", named("circle")),
        ("triplet_all", named("triplet_margin")),
        ("ntxent", named("ntxent")),
    ];
    for b in batch.map_or_else(|| vec![256, 1024], |b| vec![b]) {
        let data = Data::new(b);
        for (name, objective) in &cases {
            data.time(pool, objective);
            let mut runs: Vec<f64> = (0..9).map(|_| data.time(pool, objective)).collect();
            runs.sort_by(f64::total_cmp);
            let line = serde_json::json!({
                "peer": "parallax", "loss": name, "batch": b, "dim": DIM, "threads": threads, "ms": runs[4] * 1e3,
                "peak_rss_gb": peak_gb(),
            });
            println!("{line}");
        }
    }
}
