//! A run of which only its measures stay: for searches over settings and for comparisons.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parallax_data::Parts;
use parallax_data::sampler::{PerClassSampler, Sampler};
use parallax_eval::Retrieval;
use parallax_nn::SentenceEncoder;
use parallax_random::Key;
use parallax_train::{Trained, Training};

use super::ground::Ground;
use super::teacher::Teacher;
use super::{Event, classes, reported, start};
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// How a trial is made.
#[derive(Clone, Debug)]
pub struct TrialOptions {
    /// The rows of each part, instead of what `data.split` says. Where they hold fewer classes than a batch takes, the batch
    /// is made smaller.
    pub parts: Option<Parts>,
    /// The share of the run's steps that is taken; a schedule is that of so many steps.
    pub share: f64,
    /// Whether the model is also measured as it was.
    pub before: bool,
    /// Whether the training rows are also measured.
    pub on_train: bool,
    /// Whether the vectors of the training rows and of the measured rows are returned.
    pub vectors: bool,
    /// Set from outside to stop.
    pub stop: Arc<AtomicBool>,
}

impl Default for TrialOptions {
    fn default() -> Self {
        TrialOptions {
            parts: None,
            share: 1.0,
            before: false,
            on_train: false,
            vectors: false,
            stop: Arc::default(),
        }
    }
}

/// What a trial gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The test rows, or else the validation rows, by the model as it was.
    pub before: Option<Retrieval>,
    /// The same rows by the trained model.
    pub after: Retrieval,
    /// The training rows by the trained model.
    pub train: Option<Retrieval>,
    /// The vectors.
    pub vectors: Option<TrialVectors>,
    /// Of a classifier with one output: for each measured row whether it is positive, and whether it is called positive.
    pub calls: Option<Vec<(bool, bool)>>,
    /// (step, loss).
    pub losses: Vec<(u64, f64)>,
    /// (step, value of the measure that decides), on the validation rows.
    pub validations: Vec<(u64, f64)>,
    /// Steps taken.
    pub steps: u64,
    /// Seconds in training.
    pub seconds: f64,
    /// SHA-256 over the bytes of the data.
    pub data_sha256: String,
}

/// Rows as the trained model embeds them.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialVectors {
    /// Their dimension.
    pub dim: usize,
    /// Of the training rows, row-major.
    pub train: Vec<f32>,
    /// The class of each training row; empty for pairs.
    pub train_labels: Vec<u32>,
    /// Of the measured rows, row-major.
    pub test: Vec<f32>,
    /// The class of each measured row; empty for pairs.
    pub test_labels: Vec<u32>,
}

/// Trains and measures as [`train`](super::train) does, and writes nothing that stays.
///
/// # Errors
/// As [`train`](super::train); [`Error::Interrupted`] where it is stopped; a closed-form map, which is not trained.
pub fn trial(config: &RunConfig, options: &TrialOptions, on_event: &mut dyn FnMut(&Event)) -> Result<Trial> {
    // Nothing of a trial stays, so nothing is written on the way.
    let mut config = config.clone();
    config.train.checkpoint_every = Some(u64::MAX);
    config.output.tensorboard = false;
    let key = Key::new(config.seed);
    config.objective.check()?;
    if config.adapter.is_some() {
        let what = "a closed-form map is chosen by its own cross-validation and not in trials";
        return Err(Error::setting_with(what, "take out [adapter]"));
    }
    if !(options.share > 0.0 && options.share <= 1.0) {
        return Err(Error::setting(format!("the share of the steps is {}, not in (0, 1]", options.share)));
    }
    let loss = config.objective.loss.name();
    let logits = config.objective.wants().logits;
    let mut data = Dataset::open(&config.data)?;
    let classes = classes::learn_from(&mut config, &mut data, logits, loss, on_event)?;
    let data = data;
    let split = match &classes {
        Some(_) => classes::split(config.data.split.as_ref(), &data)?,
        None => data.split(config.data.split.as_ref()),
    };
    let parts = match &options.parts {
        Some(parts) => parts.clone(),
        None => split.assign(data.len(), data.classes(), data.table(), key)?,
    };
    if let Some(labels) = data.classes() {
        parallax_data::split::check_trainable(labels, &parts.train)?;
    }
    if classes.is_some() {
        classes::check_parts(&data, &parts)?;
    }
    if let (Some(_), None, Some(labels)) = (&options.parts, &classes, data.classes()) {
        fit_batch(&mut config.train, &labels.select(&parts.train));
    }
    let config = &config;
    let (base, begin) = start::load(config, &data, classes.as_ref(), loss, key, on_event)?;
    let reader = data.reader(&base, config.model.as_ref().and_then(|m| m.prompt.as_deref()))?;
    start::check_validation(config, data.scored(), classes.is_some())?;
    let scratch = tempfile::tempdir().map_err(Error::io(&std::env::temp_dir(), "write to"))?;
    let ground = Ground {
        config,
        objective: &config.objective,
        own: false,
        data: &data,
        classes: classes.as_ref(),
        parts: &parts,
        reader: &reader,
        key,
        folder: scratch.path(),
    };
    ground.try_out(base, begin, options, on_event)
}

/// Makes a batch that asks for more classes than there are as large as they allow: a fold has fewer classes than the run.
fn fit_batch(train: &mut Training, labels: &[u32]) {
    let per_class = match &train.sampler {
        None => PerClassSampler::default().per_class,
        Some(Sampler::PerClass(sampler)) => sampler.per_class,
        Some(_) => return,
    };
    let classes = labels.iter().collect::<BTreeSet<_>>().len();
    train.batch_size = train.batch_size.min(classes * per_class).max(1);
}

impl Ground<'_> {
    fn try_out(
        &self,
        base: SentenceEncoder,
        begin: SentenceEncoder,
        options: &TrialOptions,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Trial> {
        let (_, rows) = reported(self.parts);
        if rows.is_empty() {
            return Err(Error::setting_with("there are no rows to measure on", "set data.split"));
        }
        let before = match options.before {
            true if self.measurable(&base) => Some(self.measured(&base, rows, 0)?.retrieval),
            _ => None,
        };
        let teacher = Teacher::load(self.config, self.data, on_event)?;
        let (mut losses, mut validations) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        let trained: Trained = self.with_trainer(
            teacher.as_ref(),
            options.share,
            &options.stop,
            String::new(),
            on_event,
            |trainer, on_event| {
                if let Some(teacher) = &teacher {
                    teacher.prepare(&self.parts.train, self.folder, &options.stop, on_event)?;
                }
                let tell = &mut |event: Event| {
                    match &event {
                        Event::Step { step, loss, .. } => losses.push((*step, *loss)),
                        Event::Validation { step, value, .. } => validations.push((*step, *value)),
                        _ => {}
                    }
                    on_event(&event);
                };
                Ok(trainer.run(begin, false, tell)?)
            },
        )?;
        let seconds = begun.elapsed().as_secs_f64();
        if trained.interrupted || options.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let model = &trained.model;
        let measured = self.measured(model, rows, 0)?;
        let train = match options.on_train || options.vectors {
            true => Some(self.measured(model, &self.parts.train, 0)?),
            false => None,
        };
        let labels = |rows: &[u32]| self.data.classes().map_or_else(Vec::new, |labels| labels.select(rows));
        let vectors = options.vectors.then(|| TrialVectors {
            dim: measured.dim,
            train: train.as_ref().map_or_else(Vec::new, |train| train.vectors.clone()),
            train_labels: labels(&self.parts.train),
            test: measured.vectors.clone(),
            test_labels: labels(rows),
        });
        let calls = match model.classes() {
            Some(classes) if measured.dim == 1 => {
                let targets = self.data.targets(classes, rows)?;
                Some(
                    targets
                        .iter()
                        .zip(&measured.vectors)
                        .map(|(&class, &z)| (class == 1, z >= 0.0))
                        .collect(),
                )
            }
            _ => None,
        };
        Ok(Trial {
            calls,
            before,
            after: measured.retrieval,
            train: train.filter(|_| options.on_train).map(|train| train.retrieval),
            vectors,
            losses,
            validations,
            steps: trained.steps,
            seconds,
            data_sha256: self.data.sha256()?.to_owned(),
        })
    }
}
