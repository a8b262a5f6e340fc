//! What a run found, as it stands in `metrics.json`.

use std::path::PathBuf;

use parallax_data::{Labels, Parts};
use parallax_eval::{CLASSIFICATION, Interval, Retrieval, SCORED_PAIRS};
use parallax_linear::Selection;
use parallax_nn::Precision;
use parallax_nn::folder::Classes;
use parallax_report::MeasureChange;
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
    /// How the encoder's products were rounded where vectors were measured.
    pub precision: Precision,
    /// The part that was measured: `test`, or `validation` where there are no test rows.
    pub part: String,
    /// Queries measured.
    pub queries: usize,
    /// Queries left out because nothing is relevant for them.
    pub dropped: usize,
    /// How scores are made and which rows are compared.
    pub mode: String,
    /// Before and after, by name.
    #[serde(with = "by_name")]
    pub measures: Vec<MeasureChange>,
    /// How the intervals were made.
    pub interval_method: String,
    /// What was trained on what.
    pub data: DataSummary,
    /// The training itself.
    pub training: TrainSummary,
    /// How the closed-form map was chosen, where there was no training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Selection>,
    /// The measure that decides, on the validation rows: of the model as it was, and of the one that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// What the outputs of the model stand for, where it is a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// The page that shows it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<PathBuf>,
    /// What a reader should know before trusting or using the result.
    pub advice: Vec<String>,
}

/// One measure on the validation rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Its name.
    pub measure: String,
    /// Its value for the model as it was.
    pub before: f64,
    /// Its value for the model that is kept.
    pub after: f64,
}

/// Measures as an object by their names, in their order.
mod by_name {
    use parallax_report::MeasureChange;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    pub(super) fn serialize<S: Serializer>(measures: &[MeasureChange], to: S) -> Result<S::Ok, S::Error> {
        let mut map = Map::new();
        for measure in measures {
            let mut value = serde_json::to_value(measure).map_err(S::Error::custom)?;
            if let Some(fields) = value.as_object_mut() {
                fields.shift_remove("name");
            }
            map.insert(measure.name.clone(), value);
        }
        map.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<MeasureChange>, D::Error> {
        let map = Map::deserialize(from)?;
        map.into_iter()
            .map(|(name, value): (String, Value)| {
                let measure: MeasureChange = serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(MeasureChange { name, ..measure })
            })
            .collect()
    }
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
    pub(super) fn new(data: &Dataset, parts: &Parts, sha256: &str) -> Self {
        DataSummary {
            files: data.file_names(),
            rows: data.len(),
            classes: data.classes().map(Labels::classes),
            roles: data.roles(),
            train: parts.train.len(),
            validation: parts.validation.len(),
            test: parts.test.len(),
            measured_sha256: measured_sha256(sha256, &data.roles(), super::reported(parts).1),
            sha256: sha256.to_owned(),
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
    /// Fills in the measures, those before where there are any; `paired` compares the values of single queries.
    pub(super) fn compare(
        &mut self,
        before: Option<&Retrieval>,
        after: &Retrieval,
        paired: impl Fn(&str, &[f64], &[f64]) -> Result<Interval, parallax_eval::Error>,
    ) -> Result<()> {
        let empty = Vec::new();
        let columns = |r: &Retrieval| r.per_query.as_ref().map_or(empty.clone(), |p| p.columns.clone());
        let (old, new) = (before.map_or(empty.clone(), columns), columns(after));
        for (at, y) in after.measures.iter().enumerate() {
            let x = before.and_then(|before| before.measures.get(at));
            let change = match (old.get(at), new.get(at)) {
                (Some(a), Some(b)) if after.resamples > 0 => Some(paired(&y.name, a, b)?),
                _ => None,
            };
            self.measures.push(MeasureChange {
                name: y.name.clone(),
                before: x.map(|x| x.value),
                before_interval: x.and_then(|x| x.interval),
                after: Some(y.value),
                after_interval: y.interval,
                change: change.as_ref().map(|change: &Interval| change.mean_difference),
                change_interval: change.map(|change| [change.low, change.high]),
                definition: y.definition.clone(),
            });
        }
        self.queries = after.queries;
        self.dropped = after.dropped;
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
        if let Some([low, high]) = main.change_interval {
            if high < 0.0 {
                self.advice.push(format!("{name} fell: keep the model you had"));
            } else if low == 0.0 && high == 0.0 {
                self.advice.push(format!("{name} is what it was, for every query"));
            } else if low <= 0.0 {
                self.advice
                    .push(format!("{name} did not change by more than chance over these queries explains"));
            }
        }
        if let Some(before) = main.before.filter(|before| *before > 0.98) {
            self.advice.push(format!("{name} was {before:.4} before: there is little left to gain"));
        }
        if let Some(Validation { measure, before, after }) =
            self.validation.as_ref().filter(|v| v.after < v.before)
        {
            let what = format!("on the validation rows {measure} fell from {before:.4} to {after:.4}");
            self.advice
                .push(format!("{what}: prefer the model you had, or try a lower rate or fewer epochs"));
        }
        if self.part == "validation" && self.training.best.is_some() {
            self.advice.push(
                "the best step was chosen on the rows that are reported: expect less on new data".into(),
            );
        }
    }

    /// How many queries, or pairs with scores, were measured in which way.
    pub(super) fn measured_on(&self) -> String {
        if let Some(rest) = self.mode.strip_prefix(CLASSIFICATION) {
            return format!("{} rows{rest}", self.queries);
        }
        match self.mode.strip_prefix(SCORED_PAIRS) {
            Some(rest) => format!("{} pairs with scores{rest}", self.queries),
            None => format!("{} queries, {}", self.queries, self.mode),
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
        let width = self.measures.iter().map(|m| m.name.len()).max().unwrap_or(0).max(14);
        if !self.measures.is_empty() {
            lines
                .push(format!("{:<width$}{:>8}{:>9}   change (95 % interval)", self.part, "before", "after"));
        }
        for m in &self.measures {
            let (before, after) = (value(m.before), value(m.after));
            let line = format!("{:<width$}{before:>8}{after:>9}   {}", m.name, changed(m));
            lines.push(line.trim_end().to_owned());
        }
        if !self.measures.is_empty() {
            lines.push(self.measured_on());
            lines.extend(definitions(self.measures.iter().map(|m| (m.name.as_str(), m.definition.as_str()))));
        }
        let t = &self.training;
        let memory = t
            .peak_memory
            .map_or(String::new(), |m| format!(", {:.2} GiB peak", m as f64 / f64::from(1 << 30)));
        lines.push(match &self.adapter {
            Some(selection) => format!("{} ({}{memory})", selection.verdict, duration(t.seconds)),
            None => {
                format!(
                    "{} steps in {} ({:.0} rows/s{memory})",
                    t.steps,
                    duration(t.seconds),
                    t.rows_per_second
                )
            }
        });
        lines.extend(self.advice.iter().map(|line| format!("note: {line}")));
        if let Some(model) = &self.model {
            lines.push(format!("model  {}", model.display()));
        }
        if let Some(report) = &self.report {
            lines.push(format!("report {}", report.display()));
        }
        lines.join("\n")
    }
}

/// A value for a terminal.
fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

/// A change with its interval.
pub(super) fn changed(measure: &MeasureChange) -> String {
    match (measure.change, measure.change_interval) {
        (Some(change), Some([low, high])) => format!("{change:+.4} ({low:+.4} to {high:+.4})"),
        _ => String::new(),
    }
}
