//! A run from its TOML file to a better model: read, measure, train, measure again, save.

mod adapt;
mod card;
mod classes;
mod ground;
mod outcome;
mod page;
mod plan;
mod rows;
mod start;
mod teacher;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parallax_data::Parts;
use parallax_data::split::check_trainable;
use parallax_random::Key;
use parallax_train::Criterion;

use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
pub(crate) use classes::deciding;
use ground::Ground;
pub use outcome::{DataSummary, Outcome, TrainSummary, Validation};
pub use parallax_report::MeasureChange;
pub use parallax_train::Event;
pub(crate) use plan::seconds_per_row;
pub use plan::{RunPlan, plan};
pub(crate) use start::CORRELATIONS;
pub use trial::{Trial, TrialOptions, TrialVectors, trial};

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
    mut config: RunConfig,
    options: TrainOptions,
    rehearsed: bool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Done> {
    let key = Key::new(config.seed);
    let folder = options.out.clone().unwrap_or_else(|| config.output.folder(&config.name));
    if let Some(outcome) = start::existing(&folder, options.resume)? {
        on_event(&Event::Message(format!("{} is finished", folder.display())));
        return Ok(Done::Made(Box::new(outcome)));
    }
    let own = options.objective.clone();
    let (logits, loss) = {
        let objective: &dyn Criterion = own.as_deref().unwrap_or(&config.objective);
        objective.check()?;
        (objective.wants().logits && config.adapter.is_none(), objective.name())
    };

    let mut data = Dataset::open(&config.data)?;
    data.describe().iter().for_each(|line| on_event(&Event::Message(line.clone())));
    let classes = classes::learn_from(&mut config, &mut data, logits, &loss, on_event)?;
    let (config, data) = (config, data);
    let objective: &dyn Criterion = own.as_deref().unwrap_or(&config.objective);
    let split = match &classes {
        Some(_) => classes::split(config.data.split.as_ref(), &data)?,
        None => data.split(config.data.split.as_ref()),
    };
    let parts = split.assign(data.len(), data.classes(), data.table(), key)?;
    if let Some(labels) = data.classes()
        && let Some(warning) = check_trainable(labels, &parts.train)?
    {
        on_event(&Event::Message(format!("warning: {warning}")));
    }
    if classes.is_some() {
        classes::check_parts(&data, &parts)?;
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
    if config.adapter.is_some() && config.attention.is_some() {
        let what = "a closed-form map leaves the encoder as it is, its attention too";
        return Err(Error::setting_with(what, "take out [adapter] or [attention]"));
    }
    if config.adapter.is_some() && config.teacher.is_some() {
        let what = "a closed-form map has no loss, and so no teacher";
        return Err(Error::setting_with(what, "take out [adapter] or [teacher]"));
    }
    let (base, start) = start::load(&config, &data, classes.as_ref(), &loss, key, on_event)?;
    let reader = data.reader(&base, config.model.as_ref().and_then(|m| m.prompt.as_deref()))?;
    start::check_validation(&config, data.scored(), classes.is_some())?;
    let ground = Ground {
        config: &config,
        objective,
        own: own.is_some(),
        data: &data,
        classes: classes.as_ref(),
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

/// The rows that are reported on: test rows, else validation rows.
fn reported(parts: &Parts) -> (&'static str, &[u32]) {
    if parts.test.is_empty() && !parts.validation.is_empty() {
        ("validation", &parts.validation)
    } else {
        ("test", &parts.test)
    }
}
