//! Products of linear layers against what this machine can do, measured in the same run:
//! `cargo bench -p parallax-kernels --bench linear [-- --json]`.
//!
//! Rates are of processor time on one thread (`threads` 1) or of wall time on two, the best of several runs, so that
//! other load on the machine counts as little as it can. A multiplication with its addition is two operations.

mod peak;

use parallax_kernels::isa::{self, Isa};
use parallax_kernels::linear::{Activation, Epilogue, Packed, Precision, weight_gradient};

/// A row of the table.
struct Measured {
    kernel: String,
    shape: String,
    threads: usize,
    /// 10⁹ operations a second.
    rate: f64,
    /// Of one thread, for the instructions that the kernel uses.
    peak: f64,
    /// 10⁹ bytes a second of operands and output, each counted once.
    bytes: f64,
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let only: Option<String> = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let peaks = peak::Peaks::measure();
    let mut rows = Vec::new();
    let square = [(1024, 1024, 1024)];
    let layers = [(2048, 384, 384), (2048, 1536, 384), (2048, 384, 1536), (2048, 1152, 384)];
    let few = [(8, 384, 384), (8, 1536, 384), (32, 384, 1536), (32, 1152, 384)];
    let pools: Vec<rayon::ThreadPool> =
        [1, 2].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap()).into();
    for precision in [Precision::F32, Precision::Split, Precision::Bf16, Precision::Int8] {
        let peak = peaks.of(isa::current(), precision);
        for (m, n, k) in square.into_iter().chain(layers).chain(few) {
            let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
            let bias = numbers(n, 3);
            let packed = Packed::transposed(&w, n, k, precision);
            let mut y = vec![0.0; m * n];
            let bytes = packed.bytes() + 4 * (x.len() + y.len());
            let mut work = |name: &str, activation: Option<Activation>| {
                for pool in &pools {
                    let kernel = format!("{precision:?} {name}").to_lowercase();
                    if only.as_ref().is_some_and(|only| !kernel.contains(only)) {
                        continue;
                    }
                    let seconds = peak::best(pool, || {
                        let epilogue = Epilogue { bias: Some(&bias), activation, ..Epilogue::default() };
                        packed.product(&x, m, epilogue, &mut y);
                    });
                    rows.push(Measured {
                        kernel,
                        shape: format!("{m}×{n}×{k}"),
                        threads: pool.current_num_threads(),
                        rate: 2.0 * (m * n * k) as f64 / seconds / 1e9,
                        peak,
                        bytes: bytes as f64 / seconds / 1e9,
                    });
                }
            };
            work("product", None);
            if n == 1536 {
                work("product, gelu", Some(Activation::Gelu));
            }
        }
        if precision == Precision::Int8 {
            continue;
        }
        for (m, n, k) in layers {
            let (dy, x) = (numbers(m * n, 1), numbers(m * k, 2));
            let mut dw = vec![0.0; n * k];
            let kernel = format!("{precision:?} weight gradient").to_lowercase();
            if only.as_ref().is_some_and(|only| !kernel.contains(only)) {
                continue;
            }
            for pool in &pools {
                let seconds = peak::best(pool, || weight_gradient(&dy, &x, m, n, k, precision, &mut dw));
                rows.push(Measured {
                    kernel: kernel.clone(),
                    shape: format!("{m}×{n}×{k}"),
                    threads: pool.current_num_threads(),
                    rate: 2.0 * (m * n * k) as f64 / seconds / 1e9,
                    peak,
                    bytes: 4.0 * (dy.len() + x.len() + dw.len()) as f64 / seconds / 1e9,
                });
            }
        }
    }
    if json {
        print_json(&peaks, &rows);
    } else {
        print_table(&peaks, &rows);
    }
}

fn print_table(peaks: &peak::Peaks, rows: &[Measured]) {
    println!("{}: peak of one thread in GFLOP/s: {peaks}", isa::current());
    println!(
        "{:<24} {:>15} {:>7} {:>9} {:>10} {:>7}",
        "kernel", "m×n×k", "threads", "GFLOP/s", "% of peak", "GB/s"
    );
    for row in rows {
        println!(
            "{:<24} {:>15} {:>7} {:>9.0} {:>10.0} {:>7.1}",
            row.kernel,
            row.shape,
            row.threads,
            row.rate,
            100.0 * row.rate / row.peak / row.threads as f64,
            row.bytes
        );
    }
}

fn print_json(peaks: &peak::Peaks, rows: &[Measured]) {
    println!("{{\"isa\": \"{}\", \"peaks\": {}, \"rows\": [", isa::current(), peaks.json());
    for (i, row) in rows.iter().enumerate() {
        println!(
            "  {{\"kernel\": \"{}\", \"shape\": \"{}\", \"threads\": {}, \"gflops\": {:.1}, \"peak\": {:.1}, \
             \"gigabytes\": {:.2}}}{}",
            row.kernel,
            row.shape,
            row.threads,
            row.rate,
            row.peak,
            row.bytes,
            if i + 1 < rows.len() { "," } else { "" }
        );
    }
    println!("]}}");
}

fn numbers(len: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}
