//! What a run will do and cost, said before its first step.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Instant;

use parallax_metric::{Layout, Shape, TILE_BYTES};
use parallax_nn::SentenceEncoder;
use serde::Serialize;

use crate::kept::Kept;
use crate::learned::Learned;
use crate::optimizer::State;
use crate::{Result, Trainer};

/// What will be trained, on how many negatives, and the estimated cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// (part of the network, parameters trained, parameters in all).
    pub parts: Vec<(String, usize, usize)>,
    /// Steps still to take.
    pub steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Rows that the model takes at once, where a batch is computed in chunks (`train.grad_cache`).
    pub chunk: Option<usize>,
    /// Negatives that each anchor meets in a step, on average, before mining: other rows, or proxies of other classes; with a
    /// memory those in the memory as full as it gets; 0 for a loss on scores, which has none.
    pub negatives_per_anchor: f64,
    /// The memory of earlier batches, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Remembered>,
    /// An upper bound on the bytes that the objective takes beside the model: one evaluation on the largest batch that was
    /// looked at, its proxies and numbers with two moments each, and what it remembers of earlier batches.
    pub objective_bytes: usize,
    /// Estimated peak memory of the process in bytes, where the system tells.
    pub memory: Option<u64>,
    /// Estimated seconds, validations included.
    pub seconds: f64,
    /// Tokens of an average batch (for stored vectors: vectors).
    pub tokens_per_batch: f64,
}

/// A memory of earlier batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Remembered {
    /// Embeddings of it, as full as it gets in the run.
    pub embeddings: usize,
    /// Steps before it is used.
    pub warm_up: u64,
    /// Negatives that each anchor meets in the batch alone, and nowhere else before the memory is used.
    pub negatives_in_batch: f64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millions = |n: usize| format!("{:.2} M", n as f64 / 1e6);
        let (trained, all) = self.parts.iter().fold((0, 0), |sum, part| (sum.0 + part.1, sum.1 + part.2));
        write!(f, "trained: {} of {} parameters", millions(trained), millions(all))?;
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(name, trained, all)| format!("{name} {} of {}", millions(*trained), millions(*all)))
            .collect();
        writeln!(f, " ({})", parts.join(", "))?;
        writeln!(
            f,
            "batches: {} rows, {:.0} tokens on average; {} steps, {} an epoch",
            self.batch_size, self.tokens_per_batch, self.steps, self.steps_per_epoch
        )?;
        if let Some(chunk) = self.chunk {
            writeln!(
                f,
                "in chunks of {chunk}: every row is embedded twice, and the graph of one chunk is held"
            )?;
        }
        if self.negatives_per_anchor > 0.0 {
            write!(f, "effective negatives per anchor: {:.1}", self.negatives_per_anchor)?;
            if let Some(Remembered { embeddings, warm_up, negatives_in_batch }) = &self.remembered {
                write!(f, " in a memory of {embeddings} embeddings")?;
                match warm_up {
                    0 => write!(f, " as full as it gets")?,
                    steps => write!(f, " after {steps} steps, {negatives_in_batch:.1} in the batch before")?,
                }
            }
            writeln!(f)?;
        }
        let mib = self.objective_bytes as f64 / f64::from(1 << 20);
        writeln!(f, "objective: {mib:.1} MiB beside the model")?;
        if let Some(memory) = self.memory {
            writeln!(f, "estimated peak memory: {:.2} GiB", memory as f64 / f64::from(1 << 30))?;
        }
        write!(f, "estimated time: {}", duration(self.seconds))
    }
}

/// Seconds for a person: `42 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// Highest resident memory of this process so far, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Batches looked at for the average.
const SAMPLED: usize = 24;

/// Computes some batches of the coming epoch, the largest of those looked at among them, and one optimiser step on a
/// copy, and throws the results away. Nothing of the run's state changes.
pub(crate) fn probe(
    trainer: &Trainer<'_>,
    model: &SentenceEncoder,
    learned: &Learned,
    kept: &Kept,
    from: u64,
) -> Result<Plan> {
    let per_epoch = trainer.batches.batches_per_epoch() as u64;
    let batches = trainer.batches.batches(from / per_epoch);
    let stride = batches.len().div_ceil(SAMPLED);
    let mut sizes: Vec<(usize, &[u32])> = Vec::new();
    for rows in batches.iter().step_by(stride) {
        let examples = trainer.examples.fetch(rows)?;
        let tokens = examples.iter().map(|e| {
            e.anchor.tokens()
                + e.positive.as_ref().map_or(0, |p| p.tokens())
                + e.negatives.iter().map(|(n, _)| n.tokens()).sum::<usize>()
        });
        sizes.push((tokens.sum(), rows));
    }
    let mean = sizes.iter().map(|s| s.0).sum::<usize>() as f64 / sizes.len() as f64;
    sizes.sort_by_key(|s| s.0);
    let steps = trainer.steps() - from;
    let (mut tokens, mut seconds, mut update, mut computing) = (0, 0.0, 0.0, None);
    let batch = batches.first().map_or(&[][..], Vec::as_slice);
    let (in_batch, in_memory) = (negatives(trainer, batch)?, remembered(trainer, from));
    // Steps cost most once the memory is full.
    let mut kept = kept.filled(trainer.key.named("rehearsal"), trainer.classes())?;
    // The first computation warms up; with few steps to take, the estimate must not cost more than the run.
    let chosen = [sizes[sizes.len() / 2], sizes[sizes.len() / 2], sizes[sizes.len() - 1]];
    let chosen = if steps > 8 { &chosen[..] } else { &chosen[1..] };
    for (at, (_, rows)) in chosen.iter().enumerate() {
        let begun = Instant::now();
        let computed = trainer.compute(model, learned, &mut kept, rows, from)?;
        if at > 0 || chosen.len() == 1 {
            tokens += computed.tokens;
            seconds += begun.elapsed().as_secs_f64();
        }
        if at + 1 == chosen.len() {
            computing = peak_memory();
            let begun = Instant::now();
            let mut state = State::default();
            trainer.apply(&mut model.clone(), &mut state, computed.gradients, from, false)?;
            update = begun.elapsed().as_secs_f64();
        }
    }
    let step_seconds = seconds / tokens.max(1) as f64 * mean + update;
    let validations = match (trainer.validate, trainer.config.validate_every) {
        (None, _) => 0,
        (_, Some(every)) => steps.div_ceil(every),
        (_, None) => steps.div_ceil(per_epoch),
    };
    let mut parts: Vec<(String, usize, usize)> = Vec::new();
    for parameter in model.parameters() {
        let name = parameter.path.split('.').next().unwrap_or_default();
        if parts.last().is_none_or(|last| last.0 != name) {
            parts.push((name.into(), 0, 0));
        }
        if let Some(last) = parts.last_mut() {
            last.1 += if parameter.trainable { parameter.len() } else { 0 };
            last.2 += parameter.len();
        }
    }
    Ok(Plan {
        memory: memory(computing, &parts, trainer.validate.is_some()),
        objective_bytes: objective_bytes(trainer, model, learned, sizes[sizes.len() - 1].1)?,
        parts,
        steps,
        steps_per_epoch: per_epoch,
        batch_size: batch.len(),
        chunk: trainer.config.grad_cache.as_ref().map(|cache| cache.chunk),
        negatives_per_anchor: in_memory.map_or(in_batch, |(_, negatives)| negatives),
        remembered: trainer.objective.memory().zip(in_memory).map(|(memory, (embeddings, _))| Remembered {
            embeddings,
            warm_up: memory.warm_up,
            negatives_in_batch: in_batch,
        }),
        seconds: step_seconds * steps as f64 + trainer.validation_seconds * validations as f64,
        tokens_per_batch: mean,
    })
}

/// The peak of computing the largest batch, and what stands beside it in every later step: two moments of each trained
/// parameter and, with validation, the best values.
fn memory(computing: Option<u64>, parts: &[(String, usize, usize)], validated: bool) -> Option<u64> {
    let (trained, all) = parts.iter().fold((0, 0), |sum, part| (sum.0 + part.1, sum.1 + part.2));
    let beside = 8 * trained + if validated { 4 * all } else { 0 };
    computing.map(|peak| peak + beside as u64)
}

/// What the objective takes on a batch of these rows, and what it keeps from step to step.
fn objective_bytes(
    trainer: &Trainer<'_>,
    model: &SentenceEncoder,
    learned: &Learned,
    rows: &[u32],
) -> Result<usize> {
    let hard: usize = if trainer.examples.paired() {
        trainer.examples.fetch(rows)?.iter().map(|example| example.negatives.len()).sum()
    } else {
        0
    };
    let (anchors, references, dim) = (rows.len(), rows.len() + hard, model.dim());
    let shape = Shape {
        anchors,
        references,
        proxies: learned.proxies.len() / dim.max(1),
        dim,
        largest_class: counts(trainer, rows).values().copied().max().unwrap_or(0),
        value_bytes: size_of::<f32>(),
        tile_bytes: TILE_BYTES,
        threads: rayon::current_num_threads(),
    };
    let mut bytes: usize = learned.parts().map(|(_, values)| 3 * size_of::<f32>() * values.len()).sum();
    bytes += match trainer.objective.memory() {
        None => trainer.objective.memory_bytes(&shape),
        Some(memory) => {
            // The ring, what a batch overwrites of it, and the two evaluations where the batch counts by itself too.
            let size = memory.memory_size;
            let ring = (size + anchors) * (size_of::<f32>() * dim + 2 * size_of::<u32>());
            // In a ring of few classes nearly all can be of one.
            let against = Shape { references: size, largest_class: size, ..shape };
            let alone = if memory.batch_weight > 0.0 { trainer.objective.memory_bytes(&shape) } else { 0 };
            ring + trainer.objective.memory_bytes(&against) + alone
        }
    };
    if trainer.config.grad_cache.is_some() {
        // Embeddings and their gradient, outside any graph.
        let rows = if trainer.examples.paired() { anchors + references } else { anchors };
        bytes += 2 * size_of::<f32>() * dim * rows;
    }
    Ok(bytes)
}

/// Rows of each class in a batch.
fn counts(trainer: &Trainer<'_>, rows: &[u32]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    rows.iter().for_each(|&row| *counts.entry(trainer.examples.labels()[row as usize]).or_insert(0) += 1);
    counts
}

/// Counted on a batch: references, or proxies, that are of another class than the anchor.
fn negatives(trainer: &Trainer<'_>, rows: &[u32]) -> Result<f64> {
    let wants = trainer.objective.wants();
    if wants.targets.is_some() || wants.logits {
        return Ok(0.0);
    }
    if let Some(per_class) = wants.proxies {
        return Ok((trainer.classes().saturating_sub(1) * per_class) as f64);
    }
    if trainer.examples.paired() && wants.pairs {
        let hard = trainer.examples.fetch(rows)?.iter().map(|e| e.negatives.len()).sum();
        return Ok(Layout::Pairs { batch: rows.len(), hard_negatives: hard }.negatives_per_anchor() as f64);
    }
    let own: usize = counts(trainer, rows).values().map(|n| n * n).sum();
    Ok(rows.len() as f64 - own as f64 / rows.len().max(1) as f64)
}

/// How many embeddings a memory holds at most, and how many of them are negatives of an anchor that then comes, counted on
/// the batches that fill it.
fn remembered(trainer: &Trainer<'_>, from: u64) -> Option<(usize, f64)> {
    let memory = trainer.objective.memory()?;
    let (steps, per_epoch) = (trainer.steps(), trainer.batches.batches_per_epoch() as u64);
    let first = from.max(memory.warm_up);
    let mut ring: VecDeque<u32> = VecDeque::new();
    let mut last: Vec<u32> = Vec::new();
    let mut epoch = (u64::MAX, Vec::new());
    for step in first..steps {
        if epoch.0 != step / per_epoch {
            epoch = (step / per_epoch, trainer.batches.batches(step / per_epoch));
        }
        last = epoch.1[(step % per_epoch) as usize]
            .iter()
            .map(|&row| trainer.examples.labels()[row as usize])
            .collect();
        ring.extend(&last);
        if ring.len() >= memory.memory_size {
            ring.drain(..ring.len() - memory.memory_size);
            break;
        }
    }
    let mut counts: HashMap<u32, usize> = HashMap::new();
    ring.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    let own: usize = last.iter().map(|label| counts.get(label).copied().unwrap_or(0)).sum();
    Some((ring.len(), ring.len() as f64 - own as f64 / last.len().max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(200.4), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
    }
}
