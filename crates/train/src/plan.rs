//! What a run will do and cost, said before its first step.

use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

use parallax_metric::{Layout, Shape, TILE_BYTES};
use parallax_nn::SentenceEncoder;
use serde::Serialize;

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
    /// Negatives that each anchor meets in a batch, on average, before mining: other rows, or proxies of other classes; 0 for
    /// a loss on scores, which has none.
    pub negatives_per_anchor: f64,
    /// An upper bound on the bytes that the objective takes beside the model: one evaluation on the largest batch that was
    /// looked at, and its proxies and numbers with two moments each.
    pub objective_bytes: usize,
    /// Estimated peak memory of the process in bytes, where the system tells.
    pub memory: Option<u64>,
    /// Estimated seconds, validations included.
    pub seconds: f64,
    /// Tokens of an average batch (for stored vectors: vectors).
    pub tokens_per_batch: f64,
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
        if self.negatives_per_anchor > 0.0 {
            writeln!(f, "effective negatives per anchor: {:.1}", self.negatives_per_anchor)?;
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
    // The first computation warms up; with few steps to take, the estimate must not cost more than the run.
    let chosen = [sizes[sizes.len() / 2], sizes[sizes.len() / 2], sizes[sizes.len() - 1]];
    let chosen = if steps > 8 { &chosen[..] } else { &chosen[1..] };
    for (at, (_, rows)) in chosen.iter().enumerate() {
        let begun = Instant::now();
        let computed = trainer.compute(model, learned, rows, from)?;
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
        batch_size: batches.first().map_or(0, Vec::len),
        negatives_per_anchor: negatives(trainer, batches.first().map_or(&[], Vec::as_slice))?,
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
    let shape = Shape {
        anchors: rows.len(),
        references: rows.len() + hard,
        proxies: learned.proxies.len() / model.dim().max(1),
        dim: model.dim(),
        largest_class: counts(trainer, rows).values().copied().max().unwrap_or(0),
        value_bytes: size_of::<f32>(),
        tile_bytes: TILE_BYTES,
        threads: rayon::current_num_threads(),
    };
    let kept: usize = learned.parts().map(|(_, values)| 3 * size_of::<f32>() * values.len()).sum();
    Ok(trainer.objective.memory_bytes(&shape) + kept)
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
    if wants.targets.is_some() {
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
