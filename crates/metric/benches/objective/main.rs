//! Times of one evaluation with its gradient, in f32, 128 dimensions, 4 items a class, random embeddings.
//!
//! ```text
//! cargo bench -p parallax-metric                 row losses at B = 1,024, 4,096 and 16,384, and how time grows
//! cargo bench -p parallax-metric -- large        row losses at B = 65,536 beside three matrix products of that size, each
//!                                                in a process of its own; with `json`, one line of JSON each
//! cargo bench -p parallax-metric -- peer         the cases that are compared with pytorch-metric-learning, as JSON
//! cargo bench -p parallax-metric -- docs         writes the table of all objectives in README.md; with `large=FILE`, the
//!                                                lines of `large json` go in with it
//! ```
//! Further arguments: `threads=N` (default 2), `batch=N`, and names of losses to run only those. Times on the clock are
//! the least of several runs; those of the processor are their mean over all threads, which other programs on the machine
//! disturb less than the clock.

mod docs;
mod measure;

use measure::{DIM, Data, PER_CLASS, best, mined, named, names, peak_gb, three_products};
use parallax_metric::{Error, Objective, Shape, pair_weights};

/// What was asked for.
pub(crate) struct Asked {
    words: Vec<String>,
    pub(crate) threads: usize,
    pub(crate) pool: rayon::ThreadPool,
}

impl Asked {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        let threads = value(&words, "threads").unwrap_or(2);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
        Asked { words, threads, pool }
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|a| a == word)
    }

    fn batch(&self) -> Option<usize> {
        value(&self.words, "batch")
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='))
    }

    /// The losses that were named, or all that are stated as rows and need no pairs.
    fn losses(&self) -> Vec<String> {
        let chosen: Vec<String> = names().into_iter().filter(|loss| self.has(loss)).collect();
        if chosen.is_empty() { names().into_iter().filter(|loss| is_row(loss)).collect() } else { chosen }
    }
}

fn value(words: &[String], name: &str) -> Option<usize> {
    words.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// Whether a loss is stated as a row, on labels.
pub(crate) fn is_row(loss: &str) -> bool {
    let objective = named(loss);
    let a_row = !matches!(pair_weights(&objective.loss, &[0.1], &[0.5], &[0.2]), Err(Error::NoRow { .. }));
    a_row && !objective.wants().pairs
}

fn main() {
    let asked = Asked::read();
    if asked.has("peer") {
        peer(&asked);
    } else if asked.has("docs") {
        docs::write(&asked);
    } else if asked.has("alone") {
        let loss = asked.losses().remove(0);
        println!("{}", alone(&asked, &loss));
    } else if asked.has("large") {
        large(&asked);
    } else {
        growth(&asked);
    }
}

/// Milliseconds at three sizes, and how time grows: 16 for the square.
fn growth(asked: &Asked) {
    let sizes = [1024usize, 4096, asked.batch().unwrap_or(16_384)];
    println!(
        "{} threads, D = {DIM}, f32: processor time in milliseconds, the mean of several runs",
        asked.threads
    );
    println!("{:<30}{:>10}{:>10}{:>10}{:>9}{:>9}", "", sizes[0], sizes[1], sizes[2], "ratio", "ratio");
    let mut cases: Vec<(String, Objective)> =
        asked.losses().into_iter().map(|l| (l.clone(), named(&l))).collect();
    cases.push(("multi_similarity + miner".to_owned(), mined()));
    for (name, objective) in &cases {
        let times = sizes.map(|b| {
            let data = Data::new(b, objective);
            let runs = ((1 << 16) / b).clamp(3, 64);
            1e3 * asked.pool.install(|| best(runs, || data.evaluate(objective))).processor
        });
        let [a, b, c] = times;
        println!("{name:<30}{a:>10.2}{b:>10.2}{c:>10.2}{:>9.1}{:>9.1}", b / a, c / b);
    }
}

/// One loss at one large size and the three products of that size, by turns in one process.
fn alone(asked: &Asked, loss: &str) -> serde_json::Value {
    let b = asked.batch().unwrap_or(65_536);
    let objective = named(loss);
    let data = Data::new(b, &objective);
    // What takes minutes runs once.
    let runs = if b > 20_000 { 1 } else { 2 };
    // The loss comes first, so that the peak is its own.
    let first = asked.pool.install(|| best(1, || data.evaluate(&objective)));
    let peak = peak_gb();
    let products = asked.pool.install(|| best(runs, || three_products(&data.x)));
    let second = if runs == 1 { first } else { asked.pool.install(|| best(1, || data.evaluate(&objective))) };
    let own = first.processor.min(second.processor);
    let shape = Shape { threads: asked.threads, largest_class: PER_CLASS, ..Shape::batch(b, DIM) };
    serde_json::json!({
        "loss": loss, "batch": b, "dim": DIM, "threads": asked.threads, "seconds": own,
        "products_seconds": products.processor, "ratio": own / products.processor,
        "clock_seconds": first.clock.min(second.clock), "peak_gb": peak,
        "formula_gb": objective.memory_bytes(&shape) as f64 / 1e9,
    })
}

/// [`alone`] for every loss in a process of its own, so that the peak of memory is its own.
fn large(asked: &Asked) {
    let own = std::env::current_exe().expect("the path of this program");
    if !asked.has("json") {
        println!("{} threads, D = {DIM}, f32; seconds of the processor over all threads", asked.threads);
    }
    for loss in asked.losses() {
        let mut command = std::process::Command::new(&own);
        command.args(["alone", &loss, &format!("threads={}", asked.threads)]);
        command.args(asked.batch().map(|b| format!("batch={b}")));
        let output = command.output().expect("a process");
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if asked.has("json") {
            println!("{line}");
            continue;
        }
        let found: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let number = |key: &str| found[key].as_f64().unwrap_or(f64::NAN);
        println!(
            "{loss:<30}B = {}: {:>7.2} s = {:.2} × three products ({:.2} s); peak {:.2} GB, formula {:.2} GB",
            found["batch"],
            number("seconds"),
            number("ratio"),
            number("products_seconds"),
            number("peak_gb"),
            number("formula_gb"),
        );
    }
}

/// The cases of the bench of pytorch-metric-learning, as it prints them.
fn peer(asked: &Asked) {
    let cases = [
        ("multi_similarity+miner", mined()),
        ("multi_similarity", named("multi_similarity")),
        ("supcon", named("supcon")),
        ("contrastive", named("contrastive")),
        ("circle", named("circle")),
        ("triplet_all", named("triplet_margin")),
        ("ntxent", named("ntxent")),
    ];
    for b in asked.batch().map_or_else(|| vec![256, 1024], |b| vec![b]) {
        for (name, objective) in &cases {
            let data = Data::new(b, objective);
            let found = asked.pool.install(|| {
                data.evaluate(objective);
                best(((1 << 17) / b).max(30), || data.evaluate(objective))
            });
            let line = serde_json::json!({
                "peer": "parallax", "loss": name, "batch": b, "dim": DIM, "threads": asked.threads,
                "ms": found.clock * 1e3, "processor_ms": found.processor * 1e3, "peak_rss_gb": peak_gb(),
            });
            println!("{line}");
        }
    }
}
