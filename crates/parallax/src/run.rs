//! A run from its TOML file to a better model: read, measure, train, measure again, save.

mod adapt;
mod card;
mod outcome;
mod page;
mod plan;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parallax_data::sampler::{PerClassSampler, Rows, Sampler, ShuffledSampler};
use parallax_data::split::check_trainable;
use parallax_data::{Parts, atomic_write};
use parallax_eval::{Measure, RetrievalConfig, paired_bootstrap};
use parallax_linear::{Selection, SelectionConfig};
use parallax_nn::head::{Head, LinearHead};
use parallax_nn::{LoadOptions, SentenceEncoder, cpu};
use parallax_random::Key;
use parallax_train::{Criterion, Measures, Trainer, checkpoint, peak_memory};

use crate::config::RunConfig;
use crate::dataset::{Dataset, Reader};
use crate::error::{Error, Result};
use crate::evaluate::{Measured, measure, own_similarity};
use crate::runs;
pub use outcome::{DataSummary, Outcome, TrainSummary, Validation};
pub use parallax_report::MeasureChange;
pub(crate) use plan::seconds_per_row;
pub use plan::{RunPlan, plan};
use rows::TrainRows;

/// How a run is started.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Go on from the run's checkpoint.
    pub resume: bool,
    /// The run's folder, instead of `<output.dir>/<name>`.
    pub out: Option<PathBuf>,
    /// Set from outside to stop after the current step, with a checkpoint.
    pub stop: Arc<AtomicBool>,
    /// A loss of the caller's own, minimised instead of the configuration's objective; see
    /// [`OwnLoss`](parallax_train::OwnLoss).
    pub objective: Option<Arc<dyn Criterion>>,
}

/// What a run tells while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// What is about to happen, several lines, before the first step.
    Plan(String),
    /// A step was taken.
    Progress {
        /// Steps taken.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Epoch, from 1.
        epoch: u64,
        /// The loss of the batch.
        loss: f64,
        /// The learning rate.
        lr: f64,
        /// Rows trained on per second.
        texts_per_second: f64,
        /// Seconds left.
        seconds_left: f64,
    },
    /// Closed-form maps are tried.
    Candidates {
        /// Fits that are measured.
        done: u64,
        /// Fits in all.
        total: u64,
        /// The map that comes next.
        next: String,
        /// Seconds left.
        seconds_left: f64,
    },
    /// A validation was made.
    Validation {
        /// Steps taken.
        step: u64,
        /// The measure that decides.
        measure: String,
        /// Its value.
        value: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Something worth knowing.
    Message(String),
}

/// Runs a configuration on the current rayon pool.
///
/// Everything that can be refused is refused before anything is written. The folder of the run then gets `config.toml`,
/// `metrics.jsonl`, `checkpoint/` while the run goes on, and at the end `model/` and `metrics.json`.
///
/// # Errors
/// Data, a model or settings that cannot be used, an existing run that is not to be resumed, values that are not finite.
pub fn train(config: RunConfig, options: TrainOptions, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
    match execute(config, options, false, on_event)? {
        Done::Made(outcome) => Ok(*outcome),
        Done::Planned(_) => unreachable!("a plan is only made where it is asked for"),
    }
}

/// How [`execute`] ended.
enum Done {
    Made(Box<Outcome>),
    Planned(Box<RunPlan>),
}

/// The run, or with `rehearsed` everything of it that comes before anything is written.
fn execute(
    config: RunConfig,
    options: TrainOptions,
    rehearsed: bool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Done> {
    let key = Key::new(config.seed);
    let folder = options.out.clone().unwrap_or_else(|| config.output.folder(&config.name));
    if let Some(outcome) = existing(&folder, options.resume)? {
        on_event(&Event::Message(format!("{} is finished", folder.display())));
        return Ok(Done::Made(Box::new(outcome)));
    }
    let own = options.objective.clone();
    let objective: &dyn Criterion = own.as_deref().unwrap_or(&config.objective);
    objective.check()?;

    let data = Dataset::open(&config.data)?;
    data.describe().iter().for_each(|line| on_event(&Event::Message(line.clone())));
    let split = data.split(config.data.split.as_ref());
    let parts = split.assign(data.len(), data.classes(), data.table(), key)?;
    if let Some(labels) = data.classes()
        && let Some(warning) = check_trainable(labels, &parts.train)?
    {
        on_event(&Event::Message(format!("warning: {warning}")));
    }
    on_event(&Event::Message(format!(
        "split: {} rows to train on, {} to validate on, {} to test on",
        parts.train.len(),
        parts.validation.len(),
        parts.test.len()
    )));

    let planned = match rehearsed {
        false => None,
        true => {
            let mut planned = RunPlan::new(&config, &data, &parts, &split, &folder)?;
            if let Some(own) = &own {
                planned.loss = serde_json::json!({ "name": own.name() });
                planned.miner = serde_json::Value::Null;
            }
            if planned.fetched.is_some() {
                return Ok(Done::Planned(Box::new(planned)));
            }
            Some(planned)
        }
    };
    if config.adapter.is_some() && data.scored() {
        return Err(Error::setting_with(
            "a closed-form map needs classes or pairs that belong together, and each pair has a score",
            "take out [adapter] to train on the scores",
        ));
    }
    let (base, start) = load(&config, &data, key, on_event)?;
    let reader = data.reader(&base, config.model.as_ref().and_then(|m| m.prompt.as_deref()))?;
    check_validation(&config, data.scored())?;
    let ground = Ground {
        config: &config,
        objective,
        own: own.is_some(),
        data: &data,
        parts: &parts,
        reader: &reader,
        key,
        folder: &folder,
    };
    match (&config.adapter, planned) {
        (Some(search), None) => Ok(Done::Made(Box::new(ground.fit(search, base, &options, on_event)?))),
        (Some(_), Some(planned)) => Ok(Done::Planned(Box::new(ground.rehearse(planned, &base)?))),
        (None, planned) => ground.learn(base, start, &options, planned, on_event),
    }
}

/// What a run stands on.
struct Ground<'a> {
    config: &'a RunConfig,
    /// What is minimised.
    objective: &'a dyn Criterion,
    /// Whether that is a loss of the caller's own.
    own: bool,
    data: &'a Dataset,
    parts: &'a Parts,
    reader: &'a Reader,
    key: Key,
    folder: &'a Path,
}

/// A model that was made, and how.
struct Made {
    model: SentenceEncoder,
    interrupted: bool,
    training: TrainSummary,
    adapter: Option<Selection>,
}

impl Ground<'_> {
    /// The way of training; where it is only planned, up to the first step.
    fn learn(
        &self,
        base: SentenceEncoder,
        start: SentenceEncoder,
        options: &TrainOptions,
        planned: Option<RunPlan>,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Done> {
        let Ground { config, objective, data, parts, reader, key, folder, .. } = *self;
        let train_rows = TrainRows::new(data, reader, &parts.train)?;
        let hashes: Vec<&[u64]> = train_rows.hashes().iter().map(Vec::as_slice).collect();
        let rows = Rows {
            n: parts.train.len(),
            labels: data.classes().map(|_| parallax_train::Examples::labels(&train_rows)),
            texts: &hashes,
        };
        let sampler = config.train.sampler.clone().unwrap_or_else(|| match data.classes() {
            Some(_) => Sampler::PerClass(PerClassSampler::default()),
            None => Sampler::Shuffled(ShuffledSampler::default()),
        });
        let batch_size = config.train.batch_size.min(parts.train.len().max(1));
        let batches = sampler.build(batch_size, rows, key)?;
        if batches.short_classes() > 0 {
            on_event(&Event::Message(format!(
                "warning: {} classes have fewer rows than a batch takes of each; rows of theirs repeat",
                batches.short_classes()
            )));
        }
        let validate = |model: &SentenceEncoder| -> parallax_train::Result<Measures> {
            let result = self.measured(model, &parts.validation, 0).map_err(into_training)?;
            Ok(result.retrieval.measures.into_iter().map(|m| (m.name, m.value)).collect())
        };
        let mut trainer = Trainer {
            objective,
            config: &config.train,
            examples: &train_rows,
            batches: &batches,
            validate: (!parts.validation.is_empty()).then_some(&validate),
            validation_seconds: 0.0,
            key: key.named("train"),
            stop: &options.stop,
            folder,
            fingerprint: fingerprint(config, options.objective.as_deref(), &data.sha256()?, &base)?,
            tensorboard: config.output.tensorboard,
        };
        trainer.check()?;
        if let Some(planned) = planned {
            let mut planned = self.rehearse(planned, &base)?;
            trainer.validation_seconds = planned.row_seconds * parts.validation.len() as f64;
            planned.dim = Some(start.dim());
            planned.training =
                Some(trainer.plan(start, options.resume, &mut |event| on_event(&translate(event)))?);
            return Ok(Done::Planned(Box::new(planned)));
        }
        let outcome = self.report(base, on_event, |base, measuring, on_event| {
            // From here on its weights would only stand beside the trained ones.
            drop(base);
            trainer.validation_seconds = measuring * parts.validation.len() as f64;
            let trained = trainer.run(start, options.resume, &mut |event| on_event(&translate(event)))?;
            let training = TrainSummary::new(&trained, &trainer, peak_memory());
            Ok(Made { model: trained.model, interrupted: trained.interrupted, training, adapter: None })
        });
        let checkpoint = folder.join("checkpoint");
        match &outcome {
            Ok(outcome) if !outcome.interrupted => checkpoint::remove(&checkpoint)?,
            Ok(_) => {}
            Err(_) if checkpoint::find(&checkpoint).is_none() => self.clear(),
            // There is something to go on from; why it ended stands beside it.
            Err(error) => {
                let _ = fs::write(folder.join(runs::ERROR), format!("{error}\n"));
            }
        }
        Ok(Done::Made(Box::new(outcome?)))
    }

    /// What measuring will take, found out on a few rows.
    fn rehearse(&self, planned: RunPlan, base: &SentenceEncoder) -> Result<RunPlan> {
        let (_, rows) = reported(self.parts);
        let batch_tokens = self.config.evaluate.batch_tokens;
        let row_seconds = seconds_per_row(self.data, self.reader, base, rows, batch_tokens)?;
        let measuring_seconds = 2.0 * row_seconds * rows.len() as f64;
        Ok(RunPlan { dim: Some(base.dim()), row_seconds, measuring_seconds, ..planned })
    }

    /// The closed-form way.
    fn fit(
        &self,
        search: &SelectionConfig,
        base: SentenceEncoder,
        options: &TrainOptions,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Outcome> {
        let Ground { config, data, parts, reader, key, .. } = *self;
        let outcome = self.report(base, on_event, |base, _, on_event| {
            let batch_tokens = config.evaluate.batch_tokens;
            let adapted = adapt::adapt(
                search,
                &base,
                data,
                reader,
                &parts.train,
                batch_tokens,
                key,
                &options.stop,
                on_event,
            )?;
            let training = TrainSummary {
                seconds: adapted.seconds,
                peak_memory: peak_memory(),
                ..TrainSummary::default()
            };
            Ok(Made { model: adapted.model, interrupted: false, training, adapter: Some(adapted.selection) })
        });
        if outcome.is_err() {
            self.clear();
        }
        outcome
    }

    /// Measures, makes the model, measures again, and writes down what was found.
    fn report(
        &self,
        base: SentenceEncoder,
        on_event: &mut dyn FnMut(&Event),
        make: impl FnOnce(SentenceEncoder, f64, &mut dyn FnMut(&Event)) -> Result<Made>,
    ) -> Result<Outcome> {
        let Ground { config, data, parts, key, folder, .. } = *self;
        fs::create_dir_all(folder).map_err(Error::io(folder, "create the run's folder"))?;
        // Whether the folder can be written to is found out now and not after an hour.
        write(&folder.join("config.toml"), &config.to_toml()?)?;
        let _held = runs::hold(folder);
        let _ = fs::remove_file(folder.join(runs::ERROR));
        let (part, rows) = reported(parts);
        let mut measuring = 0.0;
        let before = match rows {
            [] => {
                on_event(&Event::Message(
                    "warning: no test rows, so nothing is measured; set data.split".into(),
                ));
                None
            }
            rows => {
                on_event(&Event::Message(format!("measuring {} rows before", rows.len())));
                let begun = Instant::now();
                let mut result = self.measured(&base, rows, config.evaluate.resamples)?;
                measuring = begun.elapsed().as_secs_f64() / rows.len() as f64;
                if rows.len() > page::MOST_ROWS || !config.output.report {
                    result.vectors = Vec::new();
                    result.others = None;
                }
                Some(result)
            }
        };
        let main = &config.train.validate_with;
        let validated = |model: &SentenceEncoder| -> Result<Option<f64>> {
            if parts.validation.is_empty() || part == "validation" {
                return Ok(None);
            }
            let found = self.measured(model, &parts.validation, 0)?.retrieval.measures;
            Ok(found.into_iter().find(|measure| measure.name == *main).map(|measure| measure.value))
        };
        let valid_before = validated(&base)?;
        let similarity = own_similarity(&base)?;
        let made = make(base, measuring, on_event)?;
        let mut outcome = Outcome {
            name: config.name.clone(),
            folder: folder.to_owned(),
            interrupted: made.interrupted,
            seed: config.seed,
            part: part.into(),
            dim: made.model.dim(),
            precision: made.model.precision(),
            training: made.training,
            adapter: made.adapter,
            data: DataSummary::new(data, parts, data.sha256()?),
            ..Outcome::default()
        };
        if outcome.interrupted {
            return Ok(outcome);
        }
        if let (Some(before), Some(after)) = (valid_before, validated(&made.model)?) {
            outcome.validation = Some(Validation { measure: main.clone(), before, after });
        }
        let mut after = None;
        if let Some(before) = &before {
            on_event(&Event::Message("measuring again".into()));
            let result = self.measured(&made.model, rows, config.evaluate.resamples)?;
            outcome.compare(&before.retrieval, &result.retrieval, |name, x, y| {
                paired_bootstrap(x, y, config.evaluate.resamples, key.named("paired").named(name))
            })?;
            after = Some(result);
        }
        outcome.advise();
        if self.own && config.adapter.is_none() {
            outcome.advice.push(format!(
                "trained with a loss that is not one of Parallax, {}; [objective] of the settings was not used",
                self.objective.name()
            ));
        }
        let model = folder.join("model");
        parallax_nn::folder::save(&made.model, &model, &card::card(config, &self.loss(), &outcome))?;
        outcome.model = Some(model);
        let mut json = serde_json::Value::Null;
        if config.output.report {
            on_event(&Event::Message("drawing the report".into()));
            let at = folder.join("report.html");
            let log = folder.join("metrics.jsonl");
            let page = page::page(
                config,
                &self.loss(),
                &outcome,
                data,
                rows,
                before.as_ref().zip(after.as_ref()),
                similarity,
                &log,
                key,
            )?;
            write(&at, &page.render())?;
            outcome.report = Some(at);
            // The page's numbers stand in the same file; what both have is the same value.
            json = page.metrics();
        }
        let own = serde_json::to_value(&outcome).map_err(|e| Error::setting(e.to_string()))?;
        match (json.as_object_mut(), own) {
            (Some(all), serde_json::Value::Object(own)) => all.extend(own),
            (_, own) => json = own,
        }
        write(&folder.join("metrics.json"), &format!("{json:#}\n"))?;
        Ok(outcome)
    }

    /// The name of what was minimised.
    fn loss(&self) -> String {
        if self.config.adapter.is_some() { "closed form".to_owned() } else { self.objective.name() }
    }

    fn measured(&self, model: &SentenceEncoder, rows: &[u32], resamples: usize) -> Result<Measured> {
        let Ground { config, data, reader, key, .. } = *self;
        let settings = RetrievalConfig {
            measures: config.evaluate.measures.clone(),
            similarity: own_similarity(model)?,
            resamples,
            seed: key.named("evaluate").bits(0),
            ..RetrievalConfig::default()
        };
        measure(data, reader, model, rows, &settings, config.evaluate.batch_tokens, &mut |_| ())
    }

    /// Nothing worth keeping: leaves no trace of a run that never was. A folder with anything else in it stays.
    fn clear(&self) {
        for name in ["config.toml", "metrics.jsonl", "report.html"] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        let _ = parallax_train::tensorboard::remove(self.folder);
        let _ = fs::remove_dir(self.folder);
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(atomic_write(path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
}

/// The outcome of a finished run that is resumed; an error where a run stands and is not to be resumed.
fn existing(folder: &Path, resume: bool) -> Result<Option<Outcome>> {
    let results = folder.join("metrics.json");
    let found = checkpoint::find(&folder.join("checkpoint"));
    if resume {
        if results.exists() {
            let text = fs::read_to_string(&results).map_err(Error::io(&results, "read"))?;
            return serde_json::from_str(&text)
                .map(Some)
                .map_err(|e| Error::setting(format!("{}: {e}", results.display())));
        }
        return Ok(None);
    }
    if results.exists() || found.is_some() {
        return Err(Error::setting_with(
            format!("{} already holds a run", folder.display()),
            "--resume goes on with it; --out DIR or --set name=... writes elsewhere",
        ));
    }
    Ok(None)
}

/// The model as it is (for "before") and with its new head (to be trained).
fn load(
    config: &RunConfig,
    data: &Dataset,
    key: Key,
    on_event: &mut dyn FnMut(&Event),
) -> Result<(SentenceEncoder, SentenceEncoder)> {
    let device = cpu();
    let default = Head::Linear(LinearHead::default());
    let (base, head) = match (&config.model, data.vector_dim()) {
        (Some(_), Some(_)) => {
            return Err(Error::setting_with(
                "model and data.vectors are both given",
                "leave out [model] to train a head on stored vectors",
            ));
        }
        (None, None) => {
            return Err(Error::setting_with("there is neither a model nor stored vectors", "set model.path"));
        }
        (None, Some(dim)) => {
            (SentenceEncoder::over_vectors(dim, Vec::new())?, Some(config.head.as_ref().unwrap_or(&default)))
        }
        (Some(start), None) => {
            let path = crate::models::resolve(&start.path, &mut |message| {
                on_event(&Event::Message(message.to_string()));
            })?;
            let load = LoadOptions {
                pooling: start.pooling,
                max_tokens: start.max_tokens,
                precision: start.precision,
            };
            (SentenceEncoder::load(&path, &load, &device)?, config.head.as_ref())
        }
    };
    let trained = match head {
        Some(head) => base.clone().with_head(head.build(base.dim(), key, &device)?)?,
        None => base.clone(),
    };
    Ok((base, trained))
}

/// The rows that are reported on: test rows, else validation rows.
fn reported(parts: &Parts) -> (&'static str, &[u32]) {
    if parts.test.is_empty() && !parts.validation.is_empty() {
        ("validation", &parts.validation)
    } else {
        ("test", &parts.test)
    }
}

/// The measures of scored pairs.
pub(crate) const CORRELATIONS: [&str; 2] = ["spearman", "pearson"];

fn check_validation(config: &RunConfig, scored: bool) -> Result<()> {
    let names: Vec<String> = match scored {
        true => CORRELATIONS.map(str::to_owned).to_vec(),
        false => config.evaluate.measures.iter().map(Measure::to_string).collect(),
    };
    if names.contains(&config.train.validate_with) {
        return Ok(());
    }
    if scored {
        return Err(Error::setting_with(
            format!(
                "train.validate_with = \"{}\" is not measured on scored pairs",
                config.train.validate_with
            ),
            format!("set it to one of {}", names.join(", ")),
        ));
    }
    Err(Error::setting_with(
        format!("train.validate_with = \"{}\" is not among evaluate.measures", config.train.validate_with),
        format!("it can be one of {}", names.join(", ")),
    ))
}

fn into_training(error: Error) -> parallax_train::Error {
    match error {
        Error::Data(error) => error.into(),
        Error::Model(error) => error.into(),
        Error::Evaluation(error) => error.into(),
        Error::Objective(error) => error.into(),
        Error::Training(error) => error,
        other => parallax_train::Error::Setting(other.to_string()),
    }
}

fn translate(event: parallax_train::Event) -> Event {
    use parallax_train::Event as E;
    match event {
        E::Plan(plan) => Event::Plan(plan.to_string()),
        E::Step { step, steps, epoch, loss, lr, rate, left } => {
            Event::Progress { step, steps, epoch, loss, lr, texts_per_second: rate, seconds_left: left }
        }
        E::Validation { step, measure, value, best } => Event::Validation { step, measure, value, best },
        E::Message(message) => Event::Message(message),
    }
}

/// SHA-256 over everything that decides a run's result: settings, data and starting weights.
fn fingerprint(
    config: &RunConfig,
    own: Option<&dyn Criterion>,
    data: &str,
    base: &SentenceEncoder,
) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    let mut settings = config.clone();
    settings.name.clear();
    settings.output = Default::default();
    hash.update(settings.to_toml()?);
    if let Some(own) = own {
        hash.update(format!("{own:?}"));
    }
    hash.update(data);
    parallax_nn::parameters::read(base.network(), |path, _, values| {
        hash.update(path);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        hash.update(bytes);
    });
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
