//! Milliseconds of one evaluation with its gradient: `cargo bench -p parallax-metric`, optionally with `-- THREADS`.
//!
//! Random f32 embeddings of 128 dimensions, 4 a class; the best of several runs.

use std::hint::black_box;
use std::time::Instant;

use parallax_metric::loss::{Contrastive, MultiSimilarity, Ntxent, Supcon};
use parallax_metric::{Batch, LossConfig, MinerConfig, Objective, miner};
use parallax_random::Key;

const DIM: usize = 128;

fn main() {
    let threads = std::env::args().filter_map(|a| a.parse().ok()).next_back().unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    let mut mined = Objective::from(LossConfig::MultiSimilarity(MultiSimilarity::default()));
    mined.miner = Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity::default()));
    let cases = [
        ("multi_similarity + miner", mined),
        ("multi_similarity", LossConfig::MultiSimilarity(MultiSimilarity::default()).into()),
        ("supcon", LossConfig::Supcon(Supcon::default()).into()),
        ("ntxent", LossConfig::Ntxent(Ntxent::default()).into()),
        ("contrastive", LossConfig::Contrastive(Contrastive::default()).into()),
    ];
    println!("{threads} threads, D = {DIM}, f32, milliseconds");
    println!("{:<26}{:>10}{:>10}{:>10}", "", "B = 256", "1024", "4096");
    for (name, objective) in &cases {
        print!("{name:<26}");
        for b in [256usize, 1024, 4096] {
            let x: Vec<f32> = (0..b * DIM).map(|i| Key::new(1).normal(i as u64) as f32).collect();
            let labels: Vec<u32> = (0..b as u32).map(|i| i / 4).collect();
            let batch = Batch { x: &x, dim: DIM, labels: &labels, refs: None };
            let best = (0..(1 << 14) / b)
                .map(|_| {
                    let start = Instant::now();
                    black_box(pool.install(|| objective.evaluate(&batch, false)).expect("a valid batch"));
                    start.elapsed().as_secs_f64() * 1e3
                })
                .fold(f64::INFINITY, f64::min);
            print!("{best:>10.2}");
        }
        println!();
    }
}
