//! Batches, clocks and what the times are compared with.

use std::hint::black_box;
use std::time::Instant;

use parallax_kernels::gemm;
use parallax_metric::scored::Targets;
use parallax_metric::{Batch, Context, LossConfig, MinerConfig, Objective, Own, Refs, Teacher, miner, proxy};
use parallax_random::Key;

/// Dimensions of the embeddings.
pub(crate) const DIM: usize = 128;
/// Items of a class.
pub(crate) const PER_CLASS: usize = 4;
/// Hard negatives of a pair, for losses on lists.
const NEGATIVES: usize = 3;

/// Highest resident memory of this process so far, in GB.
pub(crate) fn peak_gb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e9
}

/// Seconds of processor time of this process so far, over its threads, which other programs on the machine change less than
/// the time on the clock; NaN where the system does not tell.
pub(crate) fn processor_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return f64::NAN };
    let of = |task: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(of).sum::<f64>() * 1e-9
}

/// Seconds on the clock and of the processor.
#[derive(Clone, Copy)]
pub(crate) struct Seconds {
    pub(crate) clock: f64,
    pub(crate) processor: f64,
}

/// The least time on the clock of several runs, and their mean time of the processor: the system counts that in steps of some
/// milliseconds.
pub(crate) fn best(runs: usize, mut run: impl FnMut()) -> Seconds {
    let (mut clock, before) = (f64::INFINITY, processor_seconds());
    for _ in 0..runs {
        let start = Instant::now();
        run();
        clock = clock.min(start.elapsed().as_secs_f64());
    }
    Seconds { clock, processor: (processor_seconds() - before) / runs.max(1) as f64 }
}

/// The objective of a loss in its own setting.
pub(crate) fn named(loss: &str) -> Objective {
    let config = serde_json::json!({ "loss": { "name": loss } });
    serde_json::from_value(config).expect("a loss of this name")
}

/// The multi-similarity loss with its miner.
pub(crate) fn mined() -> Objective {
    let miner = Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity::default()));
    Objective { miner, ..named("multi_similarity") }
}

/// The names of all losses, from the schema.
pub(crate) fn names() -> Vec<String> {
    let schema = serde_json::to_value(schemars::schema_for!(LossConfig)).expect("a schema");
    let variants = schema["oneOf"].as_array().expect("variants");
    let name =
        |variant: &serde_json::Value| variant["properties"]["name"]["const"].as_str().map(str::to_owned);
    variants.iter().filter_map(name).collect()
}

/// All that an objective is given: random embeddings, four items a class, and what its kind asks for.
pub(crate) struct Data {
    pub(crate) x: Vec<f32>,
    labels: Vec<u32>,
    refs: Option<(Vec<f32>, Vec<u32>)>,
    proxies: Option<Vec<f32>>,
    targets: Option<Vec<f64>>,
    teacher: Option<Vec<f32>>,
}

fn normal(seed: u64, values: usize) -> Vec<f32> {
    (0..values).map(|i| Key::new(seed).normal(i as u64) as f32).collect()
}

impl Data {
    pub(crate) fn new(b: usize, objective: &Objective) -> Self {
        let wants = objective.wants();
        // A logit for each class.
        let classes = if wants.logits { DIM } else { (b / PER_CLASS).max(1) };
        let each = if wants.targets == Some(Targets::Lists) { NEGATIVES } else { 0 };
        let references = b * (1 + each);
        let paired = wants.pairs;
        Data {
            x: normal(1, b * DIM),
            // A pair is a class of its own.
            labels: (0..b).map(|i| if paired { i } else { i % classes } as u32).collect(),
            refs: paired.then(|| (normal(2, references * DIM), (0..references as u32).collect())),
            proxies: wants.proxies.map(|each| proxy::initial(classes, each, DIM, Key::new(3))),
            targets: wants.targets.map(|_| (0..references).map(|i| Key::new(4).uniform(i as u64)).collect()),
            teacher: wants.teacher.map(|_| normal(5, b * DIM)),
        }
    }

    /// Rows of references and of proxies.
    pub(crate) fn others(&self) -> (usize, usize) {
        let references = self.refs.as_ref().map_or(self.labels.len(), |refs| refs.1.len());
        (references, self.proxies.as_ref().map_or(0, |proxies| proxies.len() / DIM))
    }

    /// One evaluation.
    pub(crate) fn evaluate(&self, objective: &Objective) {
        let refs = self.refs.as_ref().map(|(r, labels)| Refs { r, labels, own: Own::Positive });
        let batch = Batch { x: &self.x, dim: DIM, labels: &self.labels, refs };
        let context = Context {
            want_ref_grad: true,
            proxies: self.proxies.as_deref(),
            targets: self.targets.as_deref(),
            teacher: self.teacher.as_deref().map(|x| Teacher::Embeddings { x, r: &[], dim: DIM }),
            ..Context::default()
        };
        black_box(objective.evaluate_with(&batch, &context).expect("a valid batch"));
    }
}

/// The three matrix products that a pair loss cannot do without, by the library's product, tile by tile: `x·xᵀ`, `g·x` and
/// `gᵀ·x`, with the rows split over the threads of the current pool.
pub(crate) fn three_products(x: &[f32]) {
    use rayon::prelude::*;
    const ROWS: usize = 64;
    let b = x.len() / DIM;
    let mut out = vec![0f32; b * DIM];
    out.par_chunks_mut(ROWS * DIM).enumerate().for_each_init(
        || (vec![0f32; ROWS * b], vec![0f32; b * DIM]),
        |(tile, back), (k, out)| {
            let rows = out.len() / DIM;
            let anchors = &x[k * ROWS * DIM..][..rows * DIM];
            let tile = &mut tile[..rows * b];
            gemm::nt(rows, b, DIM, anchors, x, 0.0, tile);
            gemm::nn(rows, DIM, b, tile, x, 0.0, out);
            gemm::tn(b, DIM, rows, tile, anchors, 1.0, back);
        },
    );
    black_box(&out);
}
