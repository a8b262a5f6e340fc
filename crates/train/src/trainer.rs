//! The loop.

mod check;
mod update;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parallax_data::sampler::Batches;
use parallax_nn::{Pass, SentenceEncoder};
use parallax_random::Key;
use serde_json::{Value, json};

use crate::checkpoint::{self, Position, Values};
use crate::event::Event;
use crate::kept::Kept;
use crate::learned::Learned;
use crate::log::Log;
use crate::optimizer::State;
use crate::plan::{Plan, probe};
use crate::step::{BatchRows, Computed, Way};
use crate::tensorboard::Events;
use crate::{Criterion, Error, Examples, Result, RowScores, Training};

/// The measures of a validation, by name.
pub type Measures = Vec<(String, f64)>;

/// Measures a model on the validation part.
pub type Validate<'a> = dyn Fn(&SentenceEncoder) -> Result<Measures> + 'a;

/// A run: a model, what it learns from and how.
pub struct Trainer<'a> {
    /// What is minimised.
    pub objective: &'a dyn Criterion,
    /// Settings.
    pub config: &'a Training,
    /// The rows.
    pub examples: &'a dyn Examples,
    /// Which rows make which batch.
    pub batches: &'a Batches,
    /// Measures a model on the validation part; `None` where there is none.
    pub validate: Option<&'a Validate<'a>>,
    /// Seconds that one validation takes, for the estimate.
    pub validation_seconds: f64,
    /// The run's key.
    pub key: Key,
    /// Set from outside to end the run after the current step.
    pub stop: &'a AtomicBool,
    /// The run's folder: `metrics.jsonl` and `checkpoint/`.
    pub folder: &'a Path,
    /// What identifies the run.
    pub fingerprint: String,
    /// Whether the curves are also written as event files for TensorBoard; see [`tensorboard`](crate::tensorboard).
    pub tensorboard: bool,
}

/// More learnable scalars than this are not logged with each step.
const LOGGED_SCALARS: usize = 8;

/// What came out.
pub struct Trained {
    /// The model: that of the best validation, or of the last step.
    pub model: SentenceEncoder,
    /// Steps taken.
    pub steps: u64,
    /// Seconds in training, validations included, over all parts of an interrupted run.
    pub seconds: f64,
    /// Texts (or vectors) trained on per second.
    pub rate: f64,
    /// Value and step of the best validation.
    pub best: Option<(f64, u64)>,
    /// What was estimated before the first step.
    pub plan: Plan,
    /// Whether the run was stopped before its end; a checkpoint is there.
    pub interrupted: bool,
}

/// All that a step changes.
struct Progress {
    model: SentenceEncoder,
    learned: Learned,
    kept: Kept,
    state: State,
    position: Position,
    best: Option<Values>,
}

impl Trainer<'_> {
    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        let all = self.config.epochs * self.batches.batches_per_epoch() as u64;
        self.config.max_steps.map_or(all, |most| most.min(all))
    }

    /// Where checkpoints stand.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// Classes of the rows.
    pub(crate) fn classes(&self) -> usize {
        self.examples.labels().iter().max().map_or(0, |most| *most as usize + 1)
    }

    /// The model and where it stands: at the beginning, or after the steps of the checkpoint in the folder.
    fn start(&self, model: SentenceEncoder, resume: bool, tell: &mut dyn FnMut(Event)) -> Result<Progress> {
        let model = self.prepare(model)?;
        if model.two_sided() && !self.examples.paired() {
            let what =
                "the model has one vector for a query and another for a document, and the rows are not pairs";
            return Err(Error::Setting(what.into()));
        }
        let learned = Learned::new(self.objective, self.classes(), model.dim(), self.key);
        let kept = Kept::new(self.objective, model.dim())?;
        let found = if resume { checkpoint::find(&self.checkpoint()) } else { None };
        let Some(path) = found else {
            let position = Position {
                version: checkpoint::VERSION,
                fingerprint: self.fingerprint.clone(),
                ..Position::default()
            };
            return Ok(Progress { model, learned, kept, state: State::default(), position, best: None });
        };
        let checkpoint::Loaded { position, model, learned, kept, state, best } =
            checkpoint::read(&path, &self.fingerprint, model, learned, kept)?;
        tell(Event::Message(format!("going on after step {}", position.step)));
        Ok(Progress { model, learned, kept, state, position, best })
    }

    /// What [`run`](Self::run) would do and cost, found out by computing a few batches. Nothing is written.
    ///
    /// # Errors
    /// As [`run`](Self::run), before the first step.
    pub fn plan(&self, model: SentenceEncoder, resume: bool, tell: &mut dyn FnMut(Event)) -> Result<Plan> {
        self.check()?;
        let progress = self.start(model, resume, tell)?;
        probe(self, &progress.model, &progress.learned, &progress.kept, progress.position.step)
    }

    /// Trains, from the beginning or from the checkpoint in the folder.
    ///
    /// # Errors
    /// Settings that do not fit, a checkpoint of another run, rows that cannot be read, values that are not finite.
    pub fn run(&self, model: SentenceEncoder, resume: bool, tell: &mut dyn FnMut(Event)) -> Result<Trained> {
        self.check()?;
        let mut progress = self.start(model, resume, tell)?;
        let mut log = Log::open(&self.folder.join("metrics.jsonl"), progress.position.log_bytes)?;
        let mut events =
            if self.tensorboard { Some(Events::open(self.folder, progress.position.step)?) } else { None };
        let plan = probe(self, &progress.model, &progress.learned, &progress.kept, progress.position.step)?;
        tell(Event::Plan(plan.clone()));

        let (steps, per_epoch) = (self.steps(), self.batches.batches_per_epoch() as u64);
        let (before, start) = (progress.position.seconds, Instant::now());
        let first = progress.position.step;
        let (mut interrupted, mut done) = (false, 0);
        let mut order: (u64, Vec<Vec<u32>>) = (u64::MAX, Vec::new());
        while progress.position.step < steps {
            let step = progress.position.step;
            let epoch = step / per_epoch;
            if order.0 != epoch {
                order = (epoch, self.batches.batches(epoch));
            }
            let rows = &order.1[(step % per_epoch) as usize];
            let begun = Instant::now();
            let (loss, line) = self.step(&mut progress, rows, step, tell)?;
            done += rows.len();
            progress.position.step += 1;
            progress.state.steps = progress.position.step;
            let taken = progress.position.step;
            let elapsed = start.elapsed().as_secs_f64();
            let seconds = begun.elapsed().as_secs_f64();
            log.line(&with(line, "seconds", seconds))?;
            if let Some(events) = &mut events {
                let (lr, rate) = (self.rate(None, step), rows.len() as f64 / seconds.max(1e-9));
                let values =
                    [("train/loss", loss), ("train/learning_rate", lr), ("train/rows_per_second", rate)];
                events.scalars(taken, &values)?;
            }
            tell(Event::Step {
                step: taken,
                steps,
                epoch: epoch + 1,
                loss,
                lr: self.rate(None, step),
                rate: done as f64 / elapsed,
                left: elapsed / (taken - first) as f64 * (steps - taken) as f64,
            });

            let epoch_ends = taken.is_multiple_of(per_epoch) || taken == steps;
            let due =
                |every: Option<u64>| every.map_or(epoch_ends, |n| taken.is_multiple_of(n) || taken == steps);
            let mut stop = false;
            if due(self.config.validate_every)
                && let Some(validate) = self.validate
            {
                stop = self.validation(&mut progress, validate, &mut log, events.as_mut(), tell)?;
            }
            progress.position.seconds = before + start.elapsed().as_secs_f64();
            progress.position.log_bytes = log.bytes();
            interrupted = self.stop.load(Ordering::Relaxed) && taken < steps && !stop;
            if interrupted || (due(self.config.checkpoint_every) && taken < steps && !stop) {
                let Progress { model, learned, kept, state, position, best } = &progress;
                checkpoint::write(&self.checkpoint(), position, model, learned, kept, state, best.as_ref())?;
            }
            if interrupted || stop {
                break;
            }
        }
        let (steps, best, seconds) =
            (progress.position.step, progress.position.best, progress.position.seconds);
        let elapsed = start.elapsed().as_secs_f64();
        let mut model = progress.model;
        if let (false, true, Some(mut values)) = (interrupted, self.config.keep_best, progress.best) {
            model = checkpoint::restore(model, &mut values, &self.checkpoint())?;
        }
        let rate = done as f64 / elapsed.max(1e-9);
        Ok(Trained { model: model.frozen(), steps, seconds, rate, best, plan, interrupted })
    }

    fn pass(&self, step: u64) -> Pass {
        let pass = if self.config.dropout {
            Pass::training(self.key.named("dropout").at(step))
        } else {
            Pass::inference()
        };
        pass.with_precision(self.config.precision)
    }

    /// Forward and backward of some rows as they would be at `step`.
    pub(crate) fn compute(
        &self,
        model: &SentenceEncoder,
        learned: &Learned,
        kept: &mut Kept,
        rows: &[u32],
        step: u64,
    ) -> Result<Computed> {
        let examples = self.examples.fetch(rows)?;
        let taught = if self.examples.has_teacher() { self.examples.taught(rows)? } else { None };
        let all = self.examples.labels();
        let labels: Vec<u32> = rows.iter().map(|&row| all[row as usize]).collect();
        let scores = self.examples.scores().map(|scores| (scores.select(rows), scores.each));
        let scores = scores.as_ref().map(|(values, each)| RowScores { values, each: *each });
        let batch = BatchRows { examples: &examples, labels: &labels, scores, taught: taught.as_ref() };
        let way = Way {
            criterion: self.objective,
            pass: self.pass(step),
            key: self.key.named("objective").at(step),
            step: step + 1,
            chunk: self.config.grad_cache.as_ref().map(|cache| cache.chunk),
        };
        way.compute(model, learned, kept, &batch)
    }

    fn step(
        &self,
        progress: &mut Progress,
        rows: &[u32],
        step: u64,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(f64, Value)> {
        let computed = self.compute(&progress.model, &progress.learned, &mut progress.kept, rows, step)?;
        let (value, stats, moved) = (computed.value, computed.stats, computed.moved);
        let first = step == 0 && moved;
        let applied =
            self.apply(&mut progress.model, &mut progress.state, computed.gradients, step, first)?;
        let adamw = self.config.optimizer.adamw();
        let rate = |path: &str| self.learned_rate(path, step);
        progress.learned.update(adamw, rate, &mut progress.state, step, &computed.learned)?;
        if !applied.still.is_empty() {
            tell(Event::Message(format!(
                "the first step left these parameters where they were: {}",
                applied.still.join(", ")
            )));
        }
        let mut line = json!({
            "step": step + 1,
            "epoch": step / self.batches.batches_per_epoch() as u64 + 1,
            "loss": value,
            "lr": self.rate(None, step),
            "gradient_norm": applied.norm,
            "positive_pairs": stats.positive_pairs,
            "negative_pairs": stats.negative_pairs,
            "mined_positive": stats.mined_positive,
            "mined_negative": stats.mined_negative,
            "masked_false_negatives": stats.masked_false_negatives,
            "masked_by_score": stats.masked_by_score,
            "masked_by_teacher": stats.masked_by_teacher,
            "active": stats.active,
        });
        if !progress.learned.scalars.is_empty() && progress.learned.scalars.len() <= LOGGED_SCALARS {
            line["scalars"] = progress.learned.scalars.clone().into();
        }
        Ok((value, line))
    }

    /// Returns whether the run should end.
    fn validation(
        &self,
        progress: &mut Progress,
        validate: &Validate<'_>,
        log: &mut Log,
        events: Option<&mut Events>,
        tell: &mut dyn FnMut(Event),
    ) -> Result<bool> {
        let measures = validate(&progress.model.frozen())?;
        let name = &self.config.validate_with;
        let value =
            measures.iter().find(|(measure, _)| measure == name).map(|(_, value)| *value).ok_or_else(
                || {
                    let known: Vec<&str> = measures.iter().map(|(measure, _)| measure.as_str()).collect();
                    Error::Setting(format!(
                        "train.validate_with = \"{name}\" is not measured ({})",
                        known.join(", ")
                    ))
                },
            )?;
        let step = progress.position.step;
        let better = progress.position.best.is_none_or(|(best, _)| value > best);
        if let Some(events) = events {
            let tags: Vec<String> =
                measures.iter().map(|(measure, _)| format!("validation/{measure}")).collect();
            let values: Vec<(&str, f64)> =
                tags.iter().map(String::as_str).zip(measures.iter().map(|(_, value)| *value)).collect();
            events.scalars(step, &values)?;
        }
        let map: serde_json::Map<String, Value> = measures.into_iter().map(|(m, v)| (m, v.into())).collect();
        log.line(&json!({ "step": step, "validation": map, "best": better }))?;
        tell(Event::Validation { step, measure: name.clone(), value, best: better });
        if better {
            progress.position.best = Some((value, step));
            progress.position.stale = 0;
            progress.best = Some(checkpoint::values(&progress.model));
        } else {
            progress.position.stale += 1;
        }
        let stop = self.config.patience.is_some_and(|patience| progress.position.stale >= patience);
        if stop {
            tell(Event::Message(format!(
                "no better {name} in {} validations: the run ends here",
                progress.position.stale
            )));
        }
        Ok(stop)
    }
}

fn with(mut line: Value, name: &str, value: f64) -> Value {
    line[name] = value.into();
    line
}
