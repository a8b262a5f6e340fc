//! What a run found, as it stands in `metrics.json`.

use std::path::PathBuf;

use parallax_data::{Labels, Parts};
use parallax_eval::{Interval, Retrieval};
use parallax_train::{Plan, Trained, Trainer, duration};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::Dataset;
use crate::definitions::definitions;
use crate::error::Result;

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Name of the run.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The model folder, once the run is finished.
    pub model: Option<PathBuf>,
    /// Whether the run was stopped before its end; it goes on with `--resume`.
    pub interrupted: bool,
    /// Its seed.
    pub seed: u64,
    /// Dimension of the embeddings.
    pub dim: usize,
    /// The part that was measured: `test`, or `validation` where there are no test rows.
    pub part: String,
    /// Queries measured, and queries left out because nothing is relevant for them.
    pub queries: (usize, usize),
    /// How scores are made and which rows are compared.
    pub mode: String,
    /// Before and after.
    pub measures: Vec<MeasureChange>,
    /// How the intervals were made.
    pub interval_method: String,
    /// What was trained on what.
    pub data: DataSummary,
    /// The training itself.
    pub training: TrainSummary,
    /// What a reader should know before trusting or using the result.
    pub advice: Vec<String>,
}

/// One measure before and after training, on the same queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureChange {
    /// Name.
    pub name: String,
    /// Mean over queries before.
    pub before: f64,
    /// Bootstrap 95 % interval of the mean before.
    pub before_interval: Option<[f64; 2]>,
    /// Mean over queries after.
    pub after: f64,
    /// Bootstrap 95 % interval of the mean after.
    pub after_interval: Option<[f64; 2]>,
    /// Paired difference with its interval.
    pub change: Option<Interval>,
    /// What the number means.
    pub definition: String,
}

/// The rows of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataSummary {
    /// File names.
    pub files: Vec<String>,
    /// SHA-256 over their bytes, in order.
    pub sha256: String,
    /// Rows in all.
    pub rows: usize,
    /// Classes in all, where rows have classes.
    pub classes: Option<usize>,
    /// (role, column).
    pub roles: Vec<(String, String)>,
    /// Rows trained on.
    pub train: usize,
    /// Rows validated on.
    pub validation: usize,
    /// Rows tested on.
    pub test: usize,
    /// SHA-256 over the data's hash, its roles and the numbers of the rows that are reported on: runs with the same value were
    /// measured on the same rows. Empty in results of versions that did not write it.
    pub measured_sha256: String,
}

/// What training took, beside what was estimated before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainSummary {
    /// Steps taken.
    pub steps: u64,
    /// Seconds, validations included.
    pub seconds: f64,
    /// Seconds estimated before the first step (of this part of the run, where it was resumed).
    pub estimated_seconds: f64,
    /// Peak memory of the process in bytes.
    pub peak_memory: Option<u64>,
    /// Peak memory estimated before the first step.
    pub estimated_memory: Option<u64>,
    /// Rows trained on per second.
    pub rows_per_second: f64,
    /// Parameters trained, parameters in all.
    pub parameters: (usize, usize),
    /// Negatives that an anchor met in a batch, before mining.
    pub negatives_per_anchor: f64,
    /// Value and step of the best validation.
    pub best: Option<(f64, u64)>,
}

impl DataSummary {
    pub(super) fn new(data: &Dataset, parts: &Parts, sha256: String) -> Self {
        DataSummary {
            files: data.file_names(),
            rows: data.len(),
            classes: data.classes().map(Labels::classes),
            roles: data.roles(),
            train: parts.train.len(),
            validation: parts.validation.len(),
            test: parts.test.len(),
            measured_sha256: measured_sha256(&sha256, &data.roles(), super::reported(parts).1),
            sha256,
        }
    }
}

fn measured_sha256(data: &str, roles: &[(String, String)], rows: &[u32]) -> String {
    let mut hash = Sha256::new();
    hash.update(data);
    for (role, column) in roles {
        // Lengths, so that no two lists of names run together to the same bytes.
        for part in [role, column] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    rows.iter().for_each(|row| hash.update(row.to_le_bytes()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TrainSummary {
    pub(super) fn new(trained: &Trained, trainer: &Trainer<'_>, peak_memory: Option<u64>) -> Self {
        let Plan { parts, memory, seconds, negatives_per_anchor, .. } = &trained.plan;
        debug_assert!(trained.steps <= trainer.steps());
        TrainSummary {
            steps: trained.steps,
            seconds: trained.seconds,
            estimated_seconds: *seconds,
            peak_memory,
            estimated_memory: *memory,
            rows_per_second: trained.rate,
            parameters: parts.iter().fold((0, 0), |sum, part| (sum.0 + part.1, sum.1 + part.2)),
            negatives_per_anchor: *negatives_per_anchor,
            best: trained.best,
        }
    }
}

impl Outcome {
    /// Fills in the measures; `paired` compares the values of single queries.
    pub(super) fn compare(
        &mut self,
        before: &Retrieval,
        after: &Retrieval,
        paired: impl Fn(&str, &[f64], &[f64]) -> Result<Interval, parallax_eval::Error>,
    ) -> Result<()> {
        let empty = Vec::new();
        let columns = |r: &Retrieval| r.per_query.as_ref().map_or(empty.clone(), |p| p.columns.clone());
        let (old, new) = (columns(before), columns(after));
        for (at, (x, y)) in before.measures.iter().zip(&after.measures).enumerate() {
            let change = match (old.get(at), new.get(at)) {
                (Some(a), Some(b)) if before.resamples > 0 => Some(paired(&x.name, a, b)?),
                _ => None,
            };
            self.measures.push(MeasureChange {
                name: x.name.clone(),
                before: x.value,
                before_interval: x.interval,
                after: y.value,
                after_interval: y.interval,
                change,
                definition: x.definition.clone(),
            });
        }
        self.queries = (after.queries, after.dropped);
        self.mode = format!("{}, {}", after.mode, after.similarity);
        self.interval_method = after.interval_method.clone();
        Ok(())
    }

    /// Says plainly what the numbers do and do not show.
    pub(super) fn advise(&mut self) {
        let Some(main) = self.measures.iter().find(|m| m.name == "map@r").or(self.measures.first()) else {
            return;
        };
        let name = &main.name;
        if let Some(change) = &main.change {
            if change.high < 0.0 {
                self.advice.push(format!("{name} fell: keep the model you had"));
            } else if change.low <= 0.0 {
                self.advice
                    .push(format!("{name} did not change by more than chance over these queries explains"));
            }
        }
        if main.before > 0.98 {
            self.advice
                .push(format!("{name} was {:.4} before training: there is little left to gain", main.before));
        }
        if self.part == "validation" && self.training.best.is_some() {
            self.advice.push(
                "the best step was chosen on the rows that are reported: expect less on new data".into(),
            );
        }
    }

    /// For a terminal: the measures before and after, what it took and where it is.
    pub fn table(&self) -> String {
        let mut lines = Vec::new();
        if self.interrupted {
            lines.push(format!("stopped after {} steps; --resume goes on", self.training.steps));
            lines.push(format!("run    {}", self.folder.display()));
            return lines.join("\n");
        }
        if !self.measures.is_empty() {
            lines.push(format!("{:<14}{:>8}{:>9}   change (95 % interval)", self.part, "before", "after"));
        }
        for m in &self.measures {
            let change = m.change.as_ref().map_or(String::new(), |c| {
                format!("   {:+.4} ({:+.4} to {:+.4})", c.mean_difference, c.low, c.high)
            });
            lines.push(format!("{:<14}{:>8.4}{:>9.4}{change}", m.name, m.before, m.after));
        }
        if !self.measures.is_empty() {
            lines.push(format!("{} queries, {}", self.queries.0, self.mode));
            lines.extend(definitions(self.measures.iter().map(|m| (m.name.as_str(), m.definition.as_str()))));
        }
        let t = &self.training;
        lines.push(format!(
            "{} steps in {} ({:.0} rows/s{})",
            t.steps,
            duration(t.seconds),
            t.rows_per_second,
            t.peak_memory
                .map_or(String::new(), |m| format!(", {:.2} GiB peak", m as f64 / f64::from(1 << 30)))
        ));
        lines.extend(self.advice.iter().map(|line| format!("note: {line}")));
        if let Some(model) = &self.model {
            lines.push(format!("model  {}", model.display()));
        }
        lines.join("\n")
    }
}
