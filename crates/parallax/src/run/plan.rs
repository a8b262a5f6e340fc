//! A run rehearsed: everything up to its first step, and nothing written.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parallax_data::{Parts, Split};
use parallax_nn::SentenceEncoder;
use parallax_train::{Plan, duration};
use serde::Serialize;
use serde_json::Value;

use super::{DataSummary, Done, Event, TrainOptions, execute};
use crate::config::RunConfig;
use crate::dataset::{Dataset, Reader};
use crate::error::{Error, Result};
use crate::models::{self, Locations, Place};

/// What a run would do and what it would cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunPlan {
    /// Name of the run.
    pub name: String,
    /// The folder that it would write.
    pub folder: PathBuf,
    /// What was found on the way: the mapping of columns to roles, warnings.
    pub notes: Vec<String>,
    /// The rows.
    pub data: DataSummary,
    /// The split, with its settings.
    pub split: Value,
    /// Classes to train on, to validate on and to test on, where rows have classes.
    pub classes: Option<[usize; 3]>,
    /// The model, or the stored vectors, to start from.
    pub model: String,
    /// The teacher, which embeds the training texts before the first step.
    pub teacher: Option<String>,
    /// What would be fetched first, where a model is not on this machine; nothing can be estimated then.
    pub fetched: Option<String>,
    /// Dimension of the embeddings.
    pub dim: Option<usize>,
    /// The loss, with its settings.
    pub loss: Value,
    /// The miner, with its settings.
    pub miner: Value,
    /// What is trained, on how many negatives, and the estimated cost. Absent where it is not known, or where the run is
    /// finished.
    pub training: Option<Plan>,
    /// Whether a closed-form map is chosen (`[adapter]`) instead of training.
    pub closed_form: bool,
    /// Estimated seconds to embed a row.
    pub row_seconds: f64,
    /// Estimated seconds for measuring before and after.
    pub measuring_seconds: f64,
}

/// Goes through a run up to its first step: data, split, model, settings, a few batches. Nothing is written or
/// fetched; the built-in starter is unpacked into the cache, as by every use of it.
///
/// # Errors
/// As [`train`](super::train), as far as that can be known before the first step.
pub fn plan(config: RunConfig, options: TrainOptions, on_event: &mut dyn FnMut(&Event)) -> Result<RunPlan> {
    let mut notes = Vec::new();
    let done = execute(config, options, true, &mut |event| match event {
        Event::Message(text) => notes.push(text.clone()),
        other => on_event(other),
    })?;
    match done {
        Done::Planned(plan) => Ok(RunPlan { notes, ..*plan }),
        Done::Made(outcome) => {
            Ok(RunPlan { name: outcome.name, folder: outcome.folder, notes, ..RunPlan::default() })
        }
    }
}

impl RunPlan {
    pub(super) fn new(
        config: &RunConfig,
        data: &Dataset,
        parts: &Parts,
        split: &Split,
        folder: &Path,
    ) -> Result<Self> {
        let existing = folder.ancestors().find(|path| path.exists());
        if let Some(file) = existing.filter(|path| !path.is_dir()) {
            let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(Error::io(file, "create the run's folder in")(source));
        }
        let mut fetched = None;
        for (start, which) in [(&config.model, ""), (&config.teacher, "for the teacher ")] {
            let Some(start) = start else { continue };
            let size = match models::look(&start.path, &Locations::from_env())? {
                Place::Folder(_) | Place::BuiltIn => continue,
                Place::Known(entry) => entry.size(),
                Place::Hub => "files that the hub lists".to_owned(),
            };
            fetched.get_or_insert(format!("{which}{size}"));
        }
        let classes = data.classes().map(|labels| {
            [&parts.train, &parts.validation, &parts.test]
                .map(|rows| labels.select(rows).into_iter().collect::<BTreeSet<u32>>().len())
        });
        let vectors = config.data.vectors.as_ref().map(|path| path.display().to_string());
        Ok(RunPlan {
            name: config.name.clone(),
            folder: folder.to_owned(),
            data: DataSummary::new(data, parts, data.sha256()?),
            split: value(split),
            classes,
            model: config.model.as_ref().map(|m| m.path.clone()).or(vectors).unwrap_or_default(),
            teacher: config.teacher.as_ref().map(|teacher| teacher.path.clone()),
            fetched,
            closed_form: config.adapter.is_some(),
            loss: value(&config.objective.loss),
            miner: config.objective.miner.as_ref().map_or(Value::Null, value),
            ..RunPlan::default()
        })
    }
}

fn value(component: &impl Serialize) -> Value {
    serde_json::to_value(component).unwrap_or(Value::Null)
}

/// Rows that are embedded for the estimate.
const SAMPLED: usize = 64;

/// Seconds to embed a row, found out on some of `rows`; for pairs, both sides.
pub(crate) fn seconds_per_row(
    data: &Dataset,
    reader: &Reader,
    model: &SentenceEncoder,
    rows: &[u32],
    batch_tokens: usize,
) -> Result<f64> {
    let sample: Vec<u32> = rows.iter().step_by(rows.len().div_ceil(SAMPLED).max(1)).copied().collect();
    if sample.is_empty() {
        return Ok(0.0);
    }
    let begun = Instant::now();
    data.embed(reader, model, &sample, batch_tokens, &mut |_| ())?;
    Ok(begun.elapsed().as_secs_f64() / sample.len() as f64)
}

impl fmt::Display for RunPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        if self.model.is_empty() {
            return write!(f, "there is nothing left to do");
        }
        let name = |component: &Value| component["name"].as_str().unwrap_or("none").to_owned();
        if let Some([train, validation, test]) = self.classes {
            writeln!(
                f,
                "split by {}: {train} classes to train on, {validation} to validate on, {test} to test on",
                name(&self.split)
            )?;
        }
        write!(f, "model: {}", self.model)?;
        if let Some(dim) = self.dim {
            write!(f, ", {dim} dimensions")?;
        }
        writeln!(f)?;
        if self.closed_form {
            writeln!(f, "nothing is trained: closed-form maps are tried by cross-validation over classes")?;
        } else {
            writeln!(f, "loss: {}, miner: {}", name(&self.loss), name(&self.miner))?;
            if let Some(teacher) = &self.teacher {
                writeln!(f, "teacher: {teacher}, which embeds the training texts before the first step")?;
            }
        }
        match (&self.training, &self.fetched) {
            (Some(plan), _) => {
                writeln!(f, "{plan}, and {} to measure before and after", duration(self.measuring_seconds))?;
            }
            (None, Some(what)) => writeln!(
                f,
                "a model is not on this machine: the run would fetch it first ({what}), and what it costs is not known before"
            )?,
            (None, None) => {
                writeln!(
                    f,
                    "estimated time: {} to measure before and after",
                    duration(self.measuring_seconds)
                )?;
            }
        }
        write!(f, "dry run: nothing was written; the run would write {}", self.folder.display())
    }
}
