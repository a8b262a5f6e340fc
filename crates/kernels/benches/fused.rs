//! Speed of the fused kernels beside what memory and arithmetic of the machine allow, measured in the same run.
//!
//! `cargo bench -p parallax-kernels --bench fused [-- --json] [-- FILTER]`. Every figure is the best of many runs, in
//! processor time with one thread and in elapsed time with two: other work on the machine can only make it worse. Bytes are those that a kernel must read and
//! write once; operations of attention and of convolutions are two for each multiplication and addition of their products.

use std::hint::black_box;
use std::time::{Duration, Instant};

use parallax_kernels::activation::{self, Activation};
use parallax_kernels::attention::{Attention, Rows, RowsMut};
use parallax_kernels::convolution::Convolution;
use parallax_kernels::embedding::{self, Lookup, Norm};
use parallax_kernels::linear::Precision;
use parallax_kernels::pool::{Mode, Pool};
use parallax_kernels::{adamw, isa, norm, softmax};
use rayon::ThreadPool;

/// What a figure counts.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Bytes,
    Operations,
}

struct Bench {
    pools: [ThreadPool; 2],
    filter: Option<String>,
    json: bool,
    /// Of the machine, by unit and threads.
    limits: [[f64; 2]; 2],
}

impl Bench {
    /// Seconds of the best run on each pool: processor time of the thread where there is one, which other work on the
    /// machine does not lengthen, and elapsed time with two.
    fn best(&self, work: &mut (impl FnMut() + Send)) -> [f64; 2] {
        [0, 1].map(|at| {
            self.pools[at].install(|| {
                let start = Instant::now();
                let clock = || match at {
                    0 => thread_seconds().unwrap_or_else(|| start.elapsed().as_secs_f64()),
                    _ => start.elapsed().as_secs_f64(),
                };
                let mut best = f64::INFINITY;
                let mut samples = 0;
                while samples < 5 || start.elapsed() < Duration::from_millis(500) {
                    let before = clock();
                    work();
                    best = best.min(clock() - before);
                    samples += 1;
                }
                best
            })
        })
    }

    fn line(&self, name: &str, unit: Unit, amount: f64, left: &str, mut work: impl FnMut() + Send) {
        if self.filter.as_ref().is_some_and(|f| !name.contains(f.as_str())) {
            return;
        }
        let seconds = self.best(&mut work);
        let rates = seconds.map(|s| amount / s / 1e9);
        let shares = [0, 1].map(|at| rates[at] / self.limits[unit as usize][at]);
        let of = if unit == Unit::Bytes { "GB/s" } else { "GFLOP/s" };
        if self.json {
            println!(
                "{{\"name\":\"{name}\",\"unit\":\"{of}\",\"milliseconds\":[{:.4},{:.4}],\"rate\":[{:.1},{:.1}],\"share\":[{:.3},{:.3}]}}",
                seconds[0] * 1e3,
                seconds[1] * 1e3,
                rates[0],
                rates[1],
                shares[0],
                shares[1]
            );
        } else {
            println!(
                "{name:<38} {:>8.3} {:>8.3} ms {:>7.1} {:>7.1} {of:<8} {:>4.0} % {:>4.0} %  {left}",
                seconds[0] * 1e3,
                seconds[1] * 1e3,
                rates[0],
                rates[1],
                shares[0] * 100.0,
                shares[1] * 100.0
            );
        }
    }
}

/// Processor time of this thread, where the system tells.
#[cfg(unix)]
fn thread_seconds() -> Option<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes one `timespec`, which is valid for writing.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    (failed == 0).then_some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

#[cfg(not(unix))]
fn thread_seconds() -> Option<f64> {
    None
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 4096) as f32 / 2048.0 - 1.0).collect()
}

/// Bytes per second of `a = b + s · c` over three arrays of 64 MiB.
fn triad(bench: &Bench) -> [f64; 2] {
    use rayon::prelude::*;
    let n = 1 << 24;
    let (mut a, b, c) = (vec![0f32; n], numbers(n), numbers(n));
    let seconds = bench.best(&mut || {
        a.par_chunks_mut(n / 8).zip(b.par_chunks(n / 8)).zip(c.par_chunks(n / 8)).for_each(|((a, b), c)| {
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = b + 3.0 * c;
            }
        });
    });
    black_box(&a);
    seconds.map(|s| 12.0 * n as f64 / s / 1e9)
}

/// Operations per second of multiply-adds on twelve registers.
fn peak(bench: &Bench) -> [f64; 2] {
    const ROUNDS: usize = 1 << 20;
    let seconds = bench.best(&mut || {
        rayon::scope(|scope| {
            for _ in 0..rayon::current_num_threads() {
                scope.spawn(|_| {
                    black_box(multiply_adds(black_box(ROUNDS)));
                });
            }
        });
    });
    [0, 1].map(|at| (at + 1) as f64 * (ROUNDS * 12 * WIDTH * 2) as f64 / seconds[at] / 1e9)
}

const WIDTH: usize = 16;

#[cfg(target_arch = "x86_64")]
fn multiply_adds(rounds: usize) -> f32 {
    use std::arch::x86_64::*;
    #[target_feature(enable = "avx512f")]
    fn wide(rounds: usize) -> f32 {
        let (x, y) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(1e-3));
        let mut sums = [_mm512_set1_ps(1.0); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
    }
    #[target_feature(enable = "avx2,fma")]
    fn middle(rounds: usize) -> f32 {
        let (x, y) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(1e-3));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        // Two halves for each vector of the count.
        for _ in 0..2 * rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
    }
    match isa::current() {
        // SAFETY: `isa::current` has found the features.
        isa::Isa::Avx512 | isa::Isa::Amx => unsafe { wide(rounds) },
        // SAFETY: `isa::current` has found the features.
        isa::Isa::Avx2 => unsafe { middle(rounds) },
        isa::Isa::Portable => plain(rounds),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn multiply_adds(rounds: usize) -> f32 {
    plain(rounds)
}

fn plain(rounds: usize) -> f32 {
    let mut lanes = [[1.0f32; 4]; 48];
    let x = black_box(0.999f32);
    for _ in 0..rounds {
        for lane in lanes.as_flattened_mut() {
            *lane = *lane * x + 1e-3;
        }
    }
    lanes.as_flattened().iter().sum()
}

fn main() {
    let mut json = false;
    let mut filter = None;
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--json" => json = true,
            "--bench" => {}
            other => filter = Some(other.to_owned()),
        }
    }
    let pools = [1, 2].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool"));
    let mut bench = Bench { pools, filter, json, limits: [[1.0; 2]; 2] };
    bench.limits = [triad(&bench), peak(&bench)];
    let [bytes, operations] = bench.limits;
    if json {
        println!(
            "{{\"name\":\"limits\",\"isa\":\"{}\",\"triad\":[{:.1},{:.1}],\"peak\":[{:.1},{:.1}]}}",
            isa::current(),
            bytes[0],
            bytes[1],
            operations[0],
            operations[1]
        );
    } else {
        println!(
            "{}: triad {:.1} and {:.1} GB/s, multiply-add {:.0} and {:.0} GFLOP/s, with 1 and 2 threads",
            isa::current(),
            bytes[0],
            bytes[1],
            operations[0],
            operations[1]
        );
    }
    activations(&bench);
    rows(&bench);
    attentions(&bench);
    texts(&bench);
    convolutions(&bench);
    optimiser(&bench);
}

fn activations(bench: &Bench) {
    let n = 1280 * 1536;
    let x: Vec<f32> = numbers(n).iter().map(|x| 4.0 * x).collect();
    let dy = numbers(n);
    let mut y = vec![0.0; n];
    for kind in Activation::ALL {
        bench.line(
            &format!("{kind:?} 1280x1536"),
            Unit::Bytes,
            8.0 * n as f64,
            "exponential and division beside the loads",
            || activation::forward(kind, &x, black_box(&mut y)),
        );
        bench.line(
            &format!("{kind:?} backward 1280x1536"),
            Unit::Bytes,
            12.0 * n as f64,
            "as forward",
            || activation::backward(kind, &x, &dy, black_box(&mut y)),
        );
    }
}

fn rows(bench: &Bench) {
    let (n, d) = (1280, 384);
    let (x, residual, dy) = (numbers(n * d), numbers(n * d), numbers(n * d));
    let (gamma, beta) = (numbers(d), numbers(d));
    let (mut y, mut sum, mut statistics) = (vec![0.0; n * d], vec![0.0; n * d], vec![0.0; 2 * n]);
    let bytes = (n * d) as f64 * 4.0;
    bench.line(
        "layer norm + residual 1280x384",
        Unit::Bytes,
        4.0 * bytes,
        "three passes over a cached row",
        || {
            let (kept, known) = (Some(&mut sum[..]), Some(&mut statistics[..]));
            norm::layer_norm(&x, Some(&residual), &gamma, &beta, 1e-12, kept, black_box(&mut y), known);
        },
    );
    let (mut dgamma, mut dbeta) = (vec![0.0; d], vec![0.0; d]);
    bench.line(
        "layer norm backward 1280x384",
        Unit::Bytes,
        3.0 * bytes,
        "five passes over a cached row",
        || {
            norm::layer_norm_backward(
                &sum,
                &statistics,
                &gamma,
                &dy,
                black_box(&mut y),
                &mut dgamma,
                &mut dbeta,
            );
        },
    );
    bench.line("softmax 1280x384", Unit::Bytes, 2.0 * bytes, "exponentials", || {
        softmax::softmax(&x, d, black_box(&mut y));
    });
    let weights = y.clone();
    bench.line("softmax backward 1280x384", Unit::Bytes, 3.0 * bytes, "two passes over a cached row", || {
        softmax::softmax_backward(&weights, &dy, d, black_box(&mut y));
    });
}

fn attentions(bench: &Bench) {
    let ragged: Vec<usize> = (0..64).map(|i| 8 + i * 7 % 17).collect();
    for (what, lengths, heads, size) in [
        ("64 of 8-24, 12x32", ragged, 12, 32),
        ("64 of 16, 12x32", vec![16; 64], 12, 32),
        ("64 of 20, 12x32", vec![20; 64], 12, 32),
        ("16 of 128, 12x32", vec![128; 16], 12, 32),
        ("4 of 512, 12x32", vec![512; 4], 12, 32),
        ("4 of 512, 12x64", vec![512; 4], 12, 64),
    ] {
        let mut offsets = vec![0];
        lengths.iter().for_each(|l| offsets.push(offsets.last().unwrap() + l));
        let (n, width) = (offsets[lengths.len()], heads * size);
        let qkv = numbers(3 * n * width);
        let dout = numbers(n * width);
        let attention = Attention::new(&offsets, heads, size);
        let (mut out, mut sums, mut d) =
            (vec![0.0; n * width], vec![0.0; n * heads], vec![0.0; 3 * n * width]);
        let one = 2.0 * (width * lengths.iter().map(|l| l * l).sum::<usize>()) as f64;
        let [q, k, v] = Rows::thirds(&qkv, width);
        bench.line(
            &format!("attention {what}"),
            Unit::Operations,
            2.0 * one,
            "transposes, exponentials and vectors that are not full",
            || attention.forward(q, k, v, black_box(&mut out), Some(&mut sums)),
        );
        bench.line(&format!("attention backward {what}"), Unit::Operations, 5.0 * one, "as forward", || {
            let gradients = RowsMut::thirds(black_box(&mut d), width);
            attention.backward([q, k, v], &out, &sums, &dout, gradients, None);
        });
    }
}

fn texts(bench: &Bench) {
    let (texts, length, d) = (64, 20, 384);
    let n = texts * length;
    let offsets: Vec<usize> = (0..=texts).map(|t| t * length).collect();
    let pool = Pool { mode: Mode::Mean, width: d, offsets: &offsets, skipped: None };
    let (x, dout) = (numbers(n * d), numbers(texts * d));
    let (mut out, mut norms, mut dx) = (vec![0.0; texts * d], vec![0.0; texts], vec![0.0; n * d]);
    let bytes = 4.0 * (n * d) as f64;
    bench.line(
        "mean pooling + norm 64 of 20x384",
        Unit::Bytes,
        bytes,
        "the sum is read and written for each row",
        || {
            pool.forward(&x, black_box(&mut out), Some(&mut norms));
        },
    );
    bench.line("mean pooling backward 64 of 20x384", Unit::Bytes, bytes, "stores alone", || {
        pool.backward(&x, &out, Some(&norms), &dout, black_box(&mut dx));
    });
    let (vocabulary, positions) = (30_522, 512);
    let (words, places, kinds) = (numbers(vocabulary * d), numbers(positions * d), numbers(2 * d));
    let ids: Vec<u32> = (0..n).map(|i| (i * 7919 % vocabulary) as u32).collect();
    let at: Vec<u32> = (0..n).map(|i| (i % length) as u32).collect();
    let zeros = vec![0u32; n];
    let (gamma, beta) = (numbers(d), numbers(d));
    let lookups = [
        Lookup { table: &words, rows: &ids },
        Lookup { table: &places, rows: &at },
        Lookup { table: &kinds, rows: &zeros },
    ];
    bench.line(
        "embedding + norm 1280x384",
        Unit::Bytes,
        2.0 * bytes,
        "rows of the word table come from memory",
        || {
            let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
            embedding::gather(&lookups, d, Some(norm), None, black_box(&mut dx), None);
        },
    );
    let mut table = vec![0.0; vocabulary * d];
    bench.line(
        "embedding scatter 1280x384",
        Unit::Bytes,
        3.0 * bytes,
        "rows of the word table come from memory",
        || {
            embedding::scatter_add(&ids, d, &x, black_box(&mut table));
        },
    );
}

/// Layers of a ResNet and of a network of depthwise filters; the limit is that of multiply-adds in 32 bits.
fn convolutions(bench: &Bench) {
    let layer = |channels, side, filters, kernel, groups| Convolution {
        batch: 4,
        channels,
        size: [side; 2],
        filters,
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
        groups,
    };
    for (what, shape) in [
        ("3x3 64>64 of 56x56", layer(64, 56, 64, 3, 1)),
        ("3x3 256>256 of 14x14", layer(256, 14, 256, 3, 1)),
        ("1x1 256>64 of 56x56", layer(256, 56, 64, 1, 1)),
        ("3x3 64>64 of 13x13", Convolution { batch: 100, ..layer(64, 13, 64, 3, 1) }),
        ("3x3 each of 128 of 56x56", layer(128, 56, 128, 3, 128)),
    ] {
        let inputs = shape.channels / shape.groups * shape.kernel[0] * shape.kernel[1];
        let pixels = shape.batch * shape.size[0] * shape.size[1];
        let (x, w) = (numbers(shape.channels * pixels), numbers(shape.filters * inputs));
        let dy = numbers(shape.filters * pixels);
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
        let operations = 2.0 * (inputs * shape.filters * pixels) as f64;
        let left = if shape.groups == 1 { "patches written out and packed" } else { "nine terms to a load" };
        for precision in [Precision::F32, Precision::Bf16] {
            if shape.groups > 1 && precision == Precision::Bf16 {
                continue;
            }
            let name =
                |part: &str| format!("convolution{part} {what} {}", format!("{precision:?}").to_lowercase());
            bench.line(&name(""), Unit::Operations, operations, left, || {
                shape.forward(&x, &w, None, precision, black_box(&mut y));
            });
            bench.line(&name(" dx"), Unit::Operations, operations, left, || {
                shape.input_gradient(&dy, &w, precision, black_box(&mut dx));
            });
            bench.line(&name(" dw"), Unit::Operations, operations, left, || {
                shape.weight_gradient(&dy, &x, precision, black_box(&mut dw));
            });
        }
    }
}

fn optimiser(bench: &Bench) {
    let n = 11_700_000;
    let (mut x, g, mut m, mut v) = (numbers(n), numbers(n), vec![0.0; n], vec![0.0; n]);
    let mut t = 0;
    bench.line("AdamW 11.7 M", Unit::Bytes, 28.0 * n as f64, "memory", || {
        t += 1;
        let step = adamw::Step { betas: [0.9, 0.999], eps: 1e-8, t, scale: 0.5 };
        // As many parameters as a small encoder has.
        let mut parameters = Vec::new();
        let size = n / 100;
        let parts = x.chunks_mut(size).zip(g.chunks(size)).zip(m.chunks_mut(size).zip(v.chunks_mut(size)));
        for ((values, gradient), (first, second)) in parts {
            let (lr, weight_decay) = (1e-5, 0.01);
            parameters.push(adamw::Parameter { values, gradient, first, second, lr, weight_decay });
        }
        adamw::update(step, &mut parameters);
    });
    bench.line("gradient norm 11.7 M", Unit::Bytes, 4.0 * n as f64, "memory", || {
        black_box(adamw::global_norm(&[black_box(&g)]));
    });
}
