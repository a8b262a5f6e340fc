//! The loop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parallax_data::sampler::Batches;
use parallax_nn::{Pass, Precision, SentenceEncoder, parameters};
use parallax_random::Key;
use serde_json::{Value, json};

use crate::checkpoint::{self, Position, Values};
use crate::learned::{Learned, PROXIES};
use crate::log::Log;
use crate::optimizer::{State, squared_norm};
use crate::plan::{Plan, probe};
use crate::step::{self, BatchRows, Computed};
use crate::tensorboard::Events;
use crate::{Criterion, Error, Examples, Result, Training};

/// What a run tells while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// What is about to happen, before the first step.
    Plan(Plan),
    /// A step was taken.
    Step {
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
        /// Texts (or vectors) per second since the run (or its resumption) began.
        rate: f64,
        /// Seconds left, by that rate.
        left: f64,
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

/// How many times the model's rate that of proxies and scalars is.
const LEARNED_RATE: f64 = 100.0;

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

    /// # Errors
    /// Settings out of range, before anything else happens.
    pub fn check(&self) -> Result<()> {
        self.config.optimizer.check()?;
        self.config.schedule.check()?;
        self.objective.check()?;
        self.check_fed()?;
        for (name, rate) in [("proxy_lr", self.config.proxy_lr), ("scalar_lr", self.config.scalar_lr)] {
            if let Some(rate) = rate.filter(|rate| !(rate.is_finite() && *rate >= 0.0)) {
                return Err(Error::Setting(format!("train.{name} = {rate} must be 0 or more")));
            }
        }
        if self.config.precision == Precision::Int8 {
            return Err(Error::Setting(
                "train.precision = \"int8\" has no gradients; it can be f32 or bf16".into(),
            ));
        }
        if self.steps() == 0 {
            return Err(Error::Setting("train.epochs and train.max_steps leave no step to take".into()));
        }
        if let Some(clip) = self.config.clip_norm.filter(|c| !(c.is_finite() && *c > 0.0)) {
            return Err(Error::Setting(format!("train.clip_norm = {clip} must be above 0")));
        }
        for (name, value) in [
            ("validate_every", self.config.validate_every),
            ("checkpoint_every", self.config.checkpoint_every),
            ("patience", self.config.patience),
        ] {
            if value == Some(0) {
                return Err(Error::Setting(format!("train.{name} must be at least 1")));
            }
        }
        Ok(())
    }

    /// Refuses rows that the objective cannot learn from.
    fn check_fed(&self) -> Result<()> {
        let wants = self.objective.wants();
        let missing = match (self.examples.paired(), self.examples.scores().is_some()) {
            (false, _) if wants.targets.is_some() => "pairs with a score, and the rows have classes",
            (false, _) if wants.pairs => "pairs, and the rows have classes",
            (true, _) if wants.proxies.is_some() => "classes for its proxies, and the rows are pairs",
            (true, _) if wants.itself => "rows with classes, and the rows are pairs",
            (true, false) if wants.targets.is_some() => "a score for each pair, and there is none",
            (true, true) if wants.targets.is_none() => {
                "pairs that belong together, and each pair has a score"
            }
            _ => return Ok(()),
        };
        Err(Error::Unfed { loss: self.objective.name(), missing: missing.into() })
    }

    /// Classes of the rows.
    pub(crate) fn classes(&self) -> usize {
        self.examples.labels().iter().max().map_or(0, |most| *most as usize + 1)
    }

    /// Marks what is trained, and refuses patterns that match nothing.
    fn prepare(&self, model: SentenceEncoder) -> Result<SentenceEncoder> {
        let paths: Vec<String> = model.parameters().into_iter().map(|p| p.path).collect();
        let known = |pattern: &str| paths.iter().any(|path| parameters::matches(pattern, path));
        let groups = self.config.groups.iter().map(|group| ("train.groups", &group.parameters));
        for (setting, pattern) in self.config.freeze.iter().map(|p| ("train.freeze", p)).chain(groups) {
            if !known(pattern) {
                let mut parts: Vec<&str> = paths.iter().filter_map(|path| path.split('.').next()).collect();
                parts.dedup();
                return Err(Error::Setting(format!(
                    "{setting}: no parameter begins with \"{pattern}\" (the model has {})",
                    parts.join(", ")
                )));
            }
        }
        let frozen = |path: &str| self.config.freeze.iter().any(|pattern| parameters::matches(pattern, path));
        if paths.iter().all(|path| frozen(path)) {
            return Err(Error::Setting("train.freeze leaves nothing to train".into()));
        }
        Ok(model.map_network(|network| parameters::prepare(network, |path| !frozen(path))))
    }

    /// The model and where it stands: at the beginning, or after the steps of the checkpoint in the folder.
    fn start(&self, model: SentenceEncoder, resume: bool, tell: &mut dyn FnMut(Event)) -> Result<Progress> {
        let model = self.prepare(model)?;
        let learned = Learned::new(self.objective, self.classes(), model.dim(), self.key);
        let found = if resume { checkpoint::find(&self.checkpoint()) } else { None };
        let Some(path) = found else {
            let position = Position {
                version: checkpoint::VERSION,
                fingerprint: self.fingerprint.clone(),
                ..Position::default()
            };
            return Ok(Progress { model, learned, state: State::default(), position, best: None });
        };
        let checkpoint::Loaded { position, model, learned, state, best } =
            checkpoint::read(&path, &self.fingerprint, model, learned)?;
        tell(Event::Message(format!("going on after step {}", position.step)));
        Ok(Progress { model, learned, state, position, best })
    }

    /// What [`run`](Self::run) would do and cost, found out by computing a few batches. Nothing is written.
    ///
    /// # Errors
    /// As [`run`](Self::run), before the first step.
    pub fn plan(&self, model: SentenceEncoder, resume: bool, tell: &mut dyn FnMut(Event)) -> Result<Plan> {
        self.check()?;
        let progress = self.start(model, resume, tell)?;
        probe(self, &progress.model, &progress.learned, progress.position.step)
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
        let plan = probe(self, &progress.model, &progress.learned, progress.position.step)?;
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
                let Progress { model, learned, state, position, best } = &progress;
                checkpoint::write(&self.checkpoint(), position, model, learned, state, best.as_ref())?;
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

    /// The learning rate of a parameter (or of those without a group) at a step from 0.
    pub(crate) fn rate(&self, path: Option<&str>, step: u64) -> f64 {
        let group = path.and_then(|path| self.group(path));
        let peak = group.and_then(|g| g.lr).unwrap_or(self.config.optimizer.adamw().lr);
        peak * self.config.schedule.factor(step, self.steps())
    }

    /// The learning rate of what the objective learns, by its path.
    fn learned_rate(&self, path: &str, step: u64) -> f64 {
        let own = if path == PROXIES { self.config.proxy_lr } else { self.config.scalar_lr };
        let peak = own.unwrap_or(LEARNED_RATE * self.config.optimizer.adamw().lr);
        peak * self.config.schedule.factor(step, self.steps())
    }

    fn group(&self, path: &str) -> Option<&crate::Group> {
        self.config.groups.iter().find(|group| parameters::matches(&group.parameters, path))
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
        rows: &[u32],
        step: u64,
    ) -> Result<Computed> {
        let examples = self.examples.fetch(rows)?;
        let all = self.examples.labels();
        let labels: Vec<u32> = rows.iter().map(|&row| all[row as usize]).collect();
        let of_rows = |all: &[f64]| -> Vec<f64> { rows.iter().map(|&row| all[row as usize]).collect() };
        let scores = self.examples.scores().map(of_rows);
        let batch = BatchRows { examples: &examples, labels: &labels, scores: scores.as_deref() };
        let key = self.key.named("objective").at(step);
        step::compute(model, self.objective, learned, batch, &self.pass(step), key, step + 1)
    }

    fn step(
        &self,
        progress: &mut Progress,
        rows: &[u32],
        step: u64,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(f64, Value)> {
        let computed = self.compute(&progress.model, &progress.learned, rows, step)?;
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
            "active": stats.active,
        });
        if !progress.learned.scalars.is_empty() && progress.learned.scalars.len() <= LOGGED_SCALARS {
            line["scalars"] = progress.learned.scalars.clone().into();
        }
        Ok((value, line))
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// A gradient that is not finite, or a parameter that is to be trained and has none.
    pub(crate) fn apply(
        &self,
        model: &mut SentenceEncoder,
        state: &mut State,
        mut gradients: burn::tensor::Gradients,
        step: u64,
        check: bool,
    ) -> Result<Applied> {
        let mut failed = None;
        let mut scale = 1.0;
        let mut norm = 0.0;
        if let Some(most) = self.config.clip_norm {
            parameters::gradients(model.network(), &gradients, |_, g| norm += squared_norm(g));
            scale = (most / (norm.sqrt() + 1e-6)).min(1.0) as f32;
            norm = 0.0;
        }
        let adamw = self.config.optimizer.adamw();
        let mut still = Vec::new();
        model.update_network(|network| {
            parameters::update(network, &mut gradients, |path, values, gradient| {
                let Some(gradient) = gradient else {
                    failed.get_or_insert(Error::Setting(format!(
                        "parameter \"{path}\" is to be trained but does not reach the loss"
                    )));
                    return;
                };
                let square = squared_norm(gradient);
                if !square.is_finite() {
                    failed.get_or_insert(Error::NotFinite {
                        step: step + 1,
                        what: format!("the gradient of \"{path}\""),
                    });
                    return;
                }
                norm += square;
                let decay = self.group(path).and_then(|g| g.weight_decay).unwrap_or(adamw.weight_decay);
                let moments = state.moments.entry(path.into()).or_default();
                let before = check.then(|| values.to_vec());
                adamw.update(self.rate(Some(path), step), decay, step + 1, scale, values, gradient, moments);
                if before.is_some_and(|before| before == values) {
                    still.push(path.to_owned());
                }
            })
        });
        failed.map_or(Ok(Applied { norm: norm.sqrt(), still }), Err)
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

/// What an optimiser step did.
pub(crate) struct Applied {
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// Parameters that did not move, where that was checked.
    pub still: Vec<String>,
}

fn with(mut line: Value, name: &str, value: f64) -> Value {
    line[name] = value.into();
    line
}
