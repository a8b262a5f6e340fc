//! The way through a run, once everything is at hand: learn or fit, measure before and after, write down.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parallax_data::sampler::{PerClassSampler, Rows, Sampler, ShuffledSampler, StratifiedSampler};
use parallax_data::{Parts, atomic_write};
use parallax_eval::{RetrievalConfig, paired_bootstrap};
use parallax_linear::{Selection, SelectionConfig};
use parallax_nn::SentenceEncoder;
use parallax_nn::folder::Classes;
use parallax_random::Key;
use parallax_train::{Criterion, Measures, Trainer, checkpoint, peak_memory};

use super::rows::TrainRows;
use super::start::fingerprint;
use super::teacher::{self, Teacher};
use super::{
    DataSummary, Done, Event, Outcome, RunPlan, TrainOptions, TrainSummary, Validation, adapt, card, classes,
    page, reported, seconds_per_row,
};
use crate::config::RunConfig;
use crate::dataset::{Dataset, Reader};
use crate::error::{Error, Result};
use crate::evaluate::{Measured, measure, own_similarity};
use crate::runs;

/// What a run stands on.
pub(super) struct Ground<'a> {
    pub(super) config: &'a RunConfig,
    /// What is minimised.
    pub(super) objective: &'a dyn Criterion,
    /// Whether that is a loss of the caller's own.
    pub(super) own: bool,
    pub(super) data: &'a Dataset,
    /// What is told apart, where the model is to be a classifier.
    pub(super) classes: Option<&'a Classes>,
    pub(super) parts: &'a Parts,
    pub(super) reader: &'a Reader,
    pub(super) key: Key,
    pub(super) folder: &'a Path,
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
    pub(super) fn learn(
        &self,
        base: SentenceEncoder,
        start: SentenceEncoder,
        options: &TrainOptions,
        planned: Option<RunPlan>,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Done> {
        let teacher = Teacher::load(self.config, self.data, on_event)?;
        let stop = &options.stop;
        let print = fingerprint(
            self.config,
            options.objective.as_deref(),
            self.data.sha256()?,
            &base,
            teacher.as_ref().map(Teacher::digest),
        )?;
        self.with_trainer(teacher.as_ref(), 1.0, stop, print, on_event, |trainer, on_event| {
            self.learn_with(trainer, teacher.as_ref(), base, start, options, planned, on_event)
        })
    }

    /// Hands `act` a trainer for the training rows, for a share of the steps of the whole run.
    pub(super) fn with_trainer<T>(
        &self,
        teacher: Option<&Teacher<'_>>,
        share: f64,
        stop: &AtomicBool,
        fingerprint: String,
        on_event: &mut dyn FnMut(&Event),
        act: impl FnOnce(&mut Trainer<'_>, &mut dyn FnMut(&Event)) -> Result<T>,
    ) -> Result<T> {
        let Ground { config, objective, data, parts, reader, key, folder, .. } = *self;
        let train_rows = TrainRows::new(data, reader, &parts.train, &objective.wants(), teacher)?;
        let hashes: Vec<&[u64]> = train_rows.hashes().iter().map(Vec::as_slice).collect();
        let rows = Rows {
            n: parts.train.len(),
            labels: data.classes().map(|_| parallax_train::Examples::labels(&train_rows)),
            texts: &hashes,
        };
        let sampler = config.train.sampler.clone().unwrap_or_else(|| match data.classes() {
            Some(_) if self.classes.is_some() => Sampler::Stratified(StratifiedSampler::default()),
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
        let mut training = Cow::Borrowed(&config.train);
        if share < 1.0 {
            let all = training.epochs * batches.batches_per_epoch() as u64;
            let most = training.max_steps.map_or(all, |most| most.min(all));
            training.to_mut().max_steps = Some((share * most as f64).ceil() as u64);
        }
        let validate = |model: &SentenceEncoder| -> parallax_train::Result<Measures> {
            let result = self.measured(model, &parts.validation, 0).map_err(into_training)?;
            Ok(result.retrieval.measures.into_iter().map(|m| (m.name, m.value)).collect())
        };
        let mut trainer = Trainer {
            objective,
            config: &training,
            examples: &train_rows,
            batches: &batches,
            validate: (!parts.validation.is_empty()).then_some(&validate),
            validation_seconds: 0.0,
            key: key.named("train"),
            stop,
            folder,
            fingerprint,
            tensorboard: config.output.tensorboard,
        };
        act(&mut trainer, on_event)
    }

    #[allow(clippy::too_many_arguments)]
    fn learn_with(
        &self,
        trainer: &mut Trainer<'_>,
        teacher: Option<&Teacher<'_>>,
        base: SentenceEncoder,
        start: SentenceEncoder,
        options: &TrainOptions,
        planned: Option<RunPlan>,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Done> {
        let Ground { parts, folder, .. } = *self;
        trainer.check()?;
        trainer.check_model(&start)?;
        if let Some(planned) = planned {
            let mut planned = self.rehearse(planned, &base)?;
            trainer.validation_seconds = planned.row_seconds * parts.validation.len() as f64;
            planned.dim = Some(start.dim());
            planned.training = Some(trainer.plan(start, options.resume, &mut |event| on_event(&event))?);
            return Ok(Done::Planned(Box::new(planned)));
        }
        let outcome = self.report(base, on_event, |base, measuring, on_event| {
            // From here on its weights would only stand beside the trained ones.
            drop(base);
            trainer.validation_seconds = measuring * parts.validation.len() as f64;
            if let Some(teacher) = teacher {
                teacher.prepare(&parts.train, folder, &options.stop, on_event)?;
            }
            let trained = trainer.run(start, options.resume, &mut |event| on_event(&event))?;
            let training = TrainSummary::new(&trained, trainer, peak_memory());
            Ok(Made { model: trained.model, interrupted: trained.interrupted, training, adapter: None })
        });
        let checkpoint = folder.join("checkpoint");
        match &outcome {
            Ok(outcome) if !outcome.interrupted => {
                checkpoint::remove(&checkpoint)?;
                teacher::remove(folder);
            }
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
    pub(super) fn rehearse(&self, planned: RunPlan, base: &SentenceEncoder) -> Result<RunPlan> {
        let (_, rows) = reported(self.parts);
        let batch_tokens = self.config.evaluate.batch_tokens;
        let row_seconds = seconds_per_row(self.data, self.reader, base, rows, batch_tokens)?;
        let measuring_seconds = 2.0 * row_seconds * rows.len() as f64;
        Ok(RunPlan { dim: Some(base.dim()), row_seconds, measuring_seconds, ..planned })
    }

    /// The closed-form way.
    pub(super) fn fit(
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
            _ if !self.measurable(&base) => None,
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
            if parts.validation.is_empty() || part == "validation" || !self.measurable(model) {
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
            classes: made.model.classes().cloned(),
            ..Outcome::default()
        };
        if outcome.interrupted {
            return Ok(outcome);
        }
        if let (Some(before), Some(after)) = (valid_before, validated(&made.model)?) {
            outcome.validation = Some(Validation { measure: main.clone(), before, after });
        }
        let mut after = None;
        if !rows.is_empty() {
            let again = if before.is_some() { "again" } else { "after" };
            on_event(&Event::Message(format!("measuring {again}")));
            let result = self.measured(&made.model, rows, config.evaluate.resamples)?;
            let old = before.as_ref().map(|before| &before.retrieval);
            outcome.compare(old, &result.retrieval, |name, x, y| {
                paired_bootstrap(x, y, config.evaluate.resamples, key.named("paired").named(name))
            })?;
            runs::write_queries(folder, rows, &result.retrieval)?;
            if let Some(classes) = made.model.classes() {
                classes::write_predictions(folder, rows, &data.targets(classes, rows)?, &result.vectors)?;
            }
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

    /// Whether the measures of this run are defined for a model: those of a classifier only for one of its classes.
    pub(super) fn measurable(&self, model: &SentenceEncoder) -> bool {
        model.classes() == self.classes
    }

    pub(super) fn measured(
        &self,
        model: &SentenceEncoder,
        rows: &[u32],
        resamples: usize,
    ) -> Result<Measured> {
        let Ground { config, data, reader, key, .. } = *self;
        let settings = RetrievalConfig {
            measures: config.evaluate.measures.clone(),
            similarity: own_similarity(model)?,
            resamples,
            seed: key.named("evaluate").bits(0),
            ..RetrievalConfig::default()
        };
        measure(data, reader, model, rows, &settings, &config.evaluate, &mut |_| ())
    }

    /// Nothing worth keeping: leaves no trace of a run that never was. A folder with anything else in it stays.
    fn clear(&self) {
        for name in ["config.toml", "metrics.jsonl", "report.html", runs::QUERIES, classes::PREDICTIONS] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        let _ = parallax_train::tensorboard::remove(self.folder);
        teacher::remove(self.folder);
        let _ = fs::remove_dir(self.folder);
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(atomic_write(path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
}

pub(super) fn into_training(error: Error) -> parallax_train::Error {
    match error {
        Error::Data(error) => error.into(),
        Error::Model(error) => error.into(),
        Error::Evaluation(error) => error.into(),
        Error::Objective(error) => error.into(),
        Error::Training(error) => error,
        other => parallax_train::Error::Setting(other.to_string()),
    }
}
