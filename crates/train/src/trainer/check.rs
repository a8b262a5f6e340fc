//! What is refused before anything else happens.

use parallax_metric::scored::Targets;
use parallax_metric::{CrossBatchMemory, Opinion};
use parallax_nn::{Precision, SentenceEncoder, parameters};

use super::Trainer;
use crate::{Error, Result};

impl Trainer<'_> {
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
        if self.config.grad_cache.as_ref().is_some_and(|cache| cache.chunk == 0) {
            return Err(Error::Setting("train.grad_cache.chunk must be at least 1".into()));
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

    /// Refuses rows that the objective cannot learn from, and what it has no use for.
    fn check_fed(&self) -> Result<()> {
        let wants = self.objective.wants();
        let each = self.examples.scores().map(|scores| scores.each);
        let (paired, taught) = (self.examples.paired(), self.examples.has_teacher());
        let missing = match (paired, wants.targets, each) {
            (false, Some(_), _) => "pairs with scores, and the rows have classes",
            (false, None, _) if wants.pairs => "pairs, and the rows have classes",
            (_, None, _) if wants.teacher == Some(Opinion::Whole) && !taught => {
                "a teacher of every pair of a batch: a model ([teacher])"
            }
            (false, None, _) if taught && wants.teacher.is_none() => {
                return Err(self.useless_teacher("is not guided by a teacher"));
            }
            (false, None, _) => return self.check_memory(),
            (true, ..) if wants.proxies.is_some() => "classes for its proxies, and the rows are pairs",
            (true, ..) if wants.logits => "rows with a class, and the rows are pairs",
            (true, ..) if wants.itself => "rows with classes, and the rows are pairs",
            (true, Some(Targets::Pairs), Some(2..)) => {
                "one score for each pair, and there is one for each candidate of a list"
            }
            (true, Some(Targets::Pairs), None) if !taught => {
                "one score for each pair; the rows have none, or some for lists with negatives"
            }
            (true, Some(Targets::Lists), Some(1)) => {
                "pairs with negatives and a score for each of them, and each pair has one score and no negative"
            }
            (true, Some(Targets::Lists), None) if !taught => {
                "a teacher: scores of positive and negatives in the table (data.score), or a model ([teacher])"
            }
            (true, Some(Targets::Lists), _) if self.examples.negatives().is_none_or(|n| n == 0) => {
                "negatives, and for every row as many"
            }
            (true, None, Some(1)) => "pairs that belong together, and each pair has a score",
            (true, None, None) if wants.teacher.is_some() && !taught => {
                "a teacher: scores of positive and negatives in the table (data.score), or a model ([teacher])"
            }
            (true, targets, each) => {
                if taught && wants.teacher.is_none() && (targets.is_none() || each.is_some()) {
                    let loss = self.objective.name();
                    let what = match targets {
                        Some(_) => {
                            format!("{loss} learns the scores of the table, so a teacher has nothing to say")
                        }
                        None => format!("{loss} is not guided by a teacher"),
                    };
                    return Err(Error::Setting(format!("[teacher] is given, and {what}")));
                }
                return self.check_memory();
            }
        };
        Err(Error::Unfed { loss: self.objective.name(), missing: missing.into() })
    }

    fn useless_teacher(&self, why: &str) -> Error {
        Error::Setting(format!("[teacher] is given, and {} {why}", self.objective.name()))
    }

    /// Refuses a memory that no batch would meet, or that does not hold one.
    fn check_memory(&self) -> Result<()> {
        let Some(CrossBatchMemory { memory_size, warm_up, .. }) = self.objective.memory() else {
            return Ok(());
        };
        let refuse = |what: String| Err(Error::Setting(format!("objective.memory{what}")));
        if self.examples.paired() {
            return refuse(" compares rows by their classes, and the rows are pairs".into());
        }
        let batch = self.batches.batches(0).iter().map(Vec::len).max().unwrap_or(0);
        if *memory_size < batch {
            return refuse(format!(".memory_size = {memory_size} must hold a batch, which has {batch} rows"));
        }
        let steps = self.steps();
        if *warm_up >= steps {
            return refuse(format!(".warm_up = {warm_up} leaves none of the {steps} steps with a memory"));
        }
        Ok(())
    }

    /// Refuses a model that lacks what the objective is on, before anything is written.
    ///
    /// # Errors
    /// [`Error::NoMetricLayer`], [`Error::TextsNotMixed`], or [`Error::Setting`] with what does not go together.
    pub fn check_model(&self, model: &SentenceEncoder) -> Result<()> {
        crate::beside::check(self.objective, model, &self.config.freeze, self.examples.paired())
    }

    /// Marks what is trained, and refuses patterns that match nothing.
    pub(super) fn prepare(&self, model: SentenceEncoder) -> Result<SentenceEncoder> {
        let paths: Vec<String> = model.parameters().into_iter().map(|p| p.path).collect();
        let known = |pattern: &str| paths.iter().any(|path| parameters::matches(pattern, path));
        let groups = self.config.groups.iter().map(|group| ("train.groups", &group.parameters));
        for (setting, pattern) in self.config.freeze.iter().map(|p| ("train.freeze", p)).chain(groups) {
            if !known(pattern.trim_start_matches('!')) {
                let mut parts: Vec<&str> = paths.iter().filter_map(|path| path.split('.').next()).collect();
                parts.dedup();
                return Err(Error::Setting(format!(
                    "{setting}: no parameter begins with \"{pattern}\" (the model has {})",
                    parts.join(", ")
                )));
            }
        }
        let frozen = |path: &str| parameters::selected(&self.config.freeze, path);
        if paths.iter().all(|path| frozen(path)) {
            return Err(Error::Setting("train.freeze leaves nothing to train".into()));
        }
        Ok(model.map_network(|network| parameters::prepare(network, |path| !frozen(path))))
    }
}
