//! Settings searched for by cross-validation over the training rows, and what the best of them gain on the test rows.

mod folds;
mod page;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parallax_data::{Parts, atomic_write};
use parallax_eval::{CLASSIFIER_MEASURES, RESAMPLES, Retrieval, SeedInterval, hierarchical_bootstrap};
use parallax_random::Key;
use parallax_train::duration;
use parallax_tune::{Ask, Journal};
pub use parallax_tune::{
    Dimension, Halving, Importance, Point, Resource, Search, Space, Tpe, Trial, Tuned, Tuning,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

pub use self::folds::Folds;
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::run::{self, TrialOptions, trial};

/// How a search is started.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// The folder for the journal, the best settings and the page.
    pub out: PathBuf,
    /// Whether a search that stands in the folder goes on; else it is refused.
    pub resume: bool,
    /// Whether a search that stands in the folder is replaced.
    pub force: bool,
    /// Seeds with which the best settings and those as they stood are trained on all training rows, and measured on the test
    /// rows; 0 leaves that out.
    pub seeds: usize,
    /// Set from outside to stop.
    pub stop: Arc<AtomicBool>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneReport {
    /// The run whose settings were searched.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The measure that decided.
    pub measure: String,
    /// What the folds are made of.
    pub folds: String,
    /// SHA-256 over the bytes of the data.
    pub data_sha256: String,
    /// How it was searched.
    pub tuning: Tuning,
    /// The trials, the best of them, and what mattered.
    #[serde(flatten)]
    pub tuned: Tuned,
    /// The best settings against those as they stood, on the test rows, which no trial has seen.
    pub gain: Option<Gain>,
    /// The run file with the best settings.
    pub best_config: PathBuf,
    /// The page.
    pub page: PathBuf,
}

/// What settings gain on rows that the search has not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// The mean over seeds with the settings as they stood.
    pub before: f64,
    /// The mean over seeds with the best settings.
    pub after: f64,
    /// The difference, over seeds and queries.
    pub change: SeedInterval,
}

/// How far a search is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Something worth knowing.
    Message(String),
    /// So many measurements of so many.
    Measured {
        /// Done.
        done: u64,
        /// In all, at most.
        total: u64,
        /// What was found, in words.
        text: String,
        /// Seconds left.
        left: f64,
    },
}

/// Names of the files of a search.
const JOURNAL: &str = "trials.jsonl";
const RESULT: &str = "tune.json";
const BEST: &str = "best.toml";
const PAGE: &str = "tune.html";

/// Searches the space of `config.tune` and writes a journal, the best settings, the numbers and a page.
///
/// Each trial is trained on the training rows but one fold and measured on that fold. Where the run's split is by class, so are the
/// folds: what is measured are classes that the trial has not seen. The test rows take no part until the end.
///
/// # Errors
/// Settings, data or a model that cannot be used; a space with a key or value that a run refuses; a folder that holds a
/// search; [`Error::Interrupted`] where it is stopped, after which it goes on with `resume`.
pub fn tune(config: &RunConfig, options: &TuneOptions, on: &mut dyn FnMut(Progress)) -> Result<TuneReport> {
    let folder = &options.out;
    let prepared = Prepared::new(config)?;
    prepared.describe().into_iter().for_each(|line| on(Progress::Message(line)));
    let journal = open(folder, &prepared.fingerprint()?, options)?;
    let tuned = prepared.search(Some(journal), &options.stop, on)?;
    let best = prepared.with(&tuned.best().point, config.seed)?;
    let gain = match options.seeds {
        0 => None,
        _ if prepared.parts.test.is_empty() => {
            on(Progress::Message(
                "there are no test rows, so what the best settings gain is not measured".into(),
            ));
            None
        }
        seeds => Some(prepared.gain(&tuned.best().point, seeds, &options.stop, on)?),
    };
    let report = TuneReport {
        name: config.name.clone(),
        folder: folder.clone(),
        measure: prepared.measure.clone(),
        folds: prepared.folds.describe(),
        data_sha256: prepared.data.sha256()?.to_owned(),
        tuning: prepared.tuning.clone(),
        tuned,
        gain,
        best_config: folder.join(BEST),
        page: folder.join(PAGE),
    };
    let write = |name: &str, text: &str| {
        atomic_write(folder.join(name), |file| std::io::Write::write_all(file, text.as_bytes()))
    };
    write(BEST, &best.to_toml()?)?;
    write(PAGE, &page::page(&report).render())?;
    let json = serde_json::to_string_pretty(&report).map_err(|e| Error::setting(e.to_string()))?;
    write(RESULT, &(json + "\n"))?;
    Ok(report)
}

/// The journal of the folder: a new one, or the one that is there.
fn open(folder: &Path, fingerprint: &str, options: &TuneOptions) -> Result<Journal> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let path = folder.join(JOURNAL);
    if path.exists() && options.force {
        fs::remove_file(&path).map_err(Error::io(&path, "replace"))?;
    } else if path.exists() && !options.resume {
        return Err(Error::setting_with(
            format!("{} already holds a search", folder.display()),
            "--resume goes on with it, --force starts anew, --out FOLDER writes elsewhere",
        ));
    }
    Ok(Journal::open(&path, fingerprint)?)
}

/// The best settings of a search over `config.tune` that leaves nothing on disk.
///
/// # Errors
/// As [`tune`].
pub fn search(
    config: &RunConfig,
    stop: &Arc<AtomicBool>,
    on: &mut dyn FnMut(Progress),
) -> Result<(RunConfig, Tuned)> {
    let prepared = Prepared::new(config)?;
    let tuned = prepared.search(None, stop, on)?;
    Ok((prepared.with(&tuned.best().point, config.seed)?, tuned))
}

/// The values of one measure for single queries.
///
/// # Errors
/// A measure that was not taken.
pub fn column<'a>(retrieval: &'a Retrieval, measure: &str) -> Result<&'a [f64]> {
    let missing = || {
        let known: Vec<&str> = retrieval.measures.iter().map(|measure| measure.name.as_str()).collect();
        Error::unknown_name("measure", measure, &known)
    };
    let place = retrieval.measures.iter().position(|found| found.name == measure).ok_or_else(missing)?;
    retrieval.per_query.as_ref().and_then(|all| all.columns.get(place)).map(Vec::as_slice).ok_or_else(missing)
}

/// A search with everything checked that can be before the first trial.
struct Prepared<'a> {
    config: &'a RunConfig,
    /// The run as TOML, without what is searched for.
    text: String,
    tuning: Tuning,
    space: Space,
    defaults: Point,
    measure: String,
    data: Dataset,
    parts: Parts,
    folds: Folds,
}

impl<'a> Prepared<'a> {
    fn new(config: &'a RunConfig) -> Result<Self> {
        let mut tuning = config.tune.clone().unwrap_or_default();
        if config.adapter.is_some() {
            let what = "a closed-form map is chosen by a cross-validation of its own";
            return Err(Error::setting_with(
                what,
                "take out [adapter] to search for the settings of training",
            ));
        }
        if tuning.space.is_empty() {
            tuning.space = usual(config);
        }
        tuning.check()?;
        let space = tuning.space.clone();
        let logits = config.objective.wants().logits;
        let usual = || match logits && config.train.validate_with == RunConfig::default().train.validate_with
        {
            true => run::deciding(&config.objective.loss).to_owned(),
            false => config.train.validate_with.clone(),
        };
        let measure = tuning.measure.clone().unwrap_or_else(usual);
        let text = RunConfig { tune: None, ..config.clone() }.to_toml()?;
        let whole = serde_json::to_value(config).map_err(|e| Error::setting(e.to_string()))?;
        let standing = |key: &String| {
            let value = key.split('.').try_fold(&whole, |at, part| at.get(part))?;
            (!value.is_null()).then(|| (key.clone(), value.clone()))
        };
        let defaults = space.0.keys().filter_map(standing).collect();
        let data = Dataset::open(&config.data)?;
        let key = Key::new(config.seed);
        let split = data.split(config.data.split.as_ref());
        let parts = split.assign(data.len(), data.classes(), data.table(), key)?;
        let folds = Folds::new(&data, &split, &parts, tuning.folds, key.named("folds"))?;
        let prepared = Prepared { config, text, space, defaults, measure, data, parts, folds, tuning };
        prepared.check()?;
        Ok(prepared)
    }

    /// Refuses keys, values and measures that a run refuses.
    fn check(&self) -> Result<()> {
        for (key, dimension) in &self.space.0 {
            let values = match dimension {
                Dimension::Range(range) => vec![range.low.clone().into(), range.high.clone().into()],
                Dimension::Choices(values) => values.clone(),
            };
            for value in values {
                self.with(&[(key.clone(), value)].into(), self.config.seed)?.objective.check()?;
            }
        }
        let names: Vec<String> = match self.data.scored() {
            _ if self.config.objective.wants().logits => CLASSIFIER_MEASURES.map(str::to_owned).to_vec(),
            true => run::CORRELATIONS.map(str::to_owned).to_vec(),
            false => self.config.evaluate.measures.iter().map(ToString::to_string).collect(),
        };
        if !names.contains(&self.measure) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(Error::unknown_name("measure", &self.measure, &names));
        }
        Ok(())
    }

    fn describe(&self) -> Vec<String> {
        let mut lines = self.data.describe();
        lines.push(format!("folds: {}", self.folds.describe()));
        lines.extend(self.space.0.iter().map(|(key, dimension)| match dimension {
            Dimension::Range(range) => {
                let scale = if range.log { ", by factors" } else { "" };
                format!("  {key}: {} to {}{scale}", range.low, range.high)
            }
            Dimension::Choices(values) => {
                let values: Vec<String> = values.iter().map(Json::to_string).collect();
                format!("  {key}: {}", values.join(", "))
            }
        }));
        lines
    }

    fn fingerprint(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(&self.text);
        // More trials or minutes go on with the same search.
        let tuning = Tuning { trials: 1, minutes: None, ..self.tuning.clone() };
        // A bracket is cut to the trials that are left.
        let trials = matches!(tuning.search, Search::SuccessiveHalving(_)).then_some(self.tuning.trials);
        hash.update(serde_json::to_string(&(tuning, trials)).map_err(|e| Error::setting(e.to_string()))?);
        hash.update(self.data.sha256()?);
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The run at a point of the space.
    fn with(&self, point: &Point, seed: u64) -> Result<RunConfig> {
        let sets = point.iter().map(|(key, value)| Ok(format!("{key}={}", toml_of(value)?)));
        let mut sets: Vec<String> = sets.collect::<Result<_>>()?;
        sets.push(format!("seed={seed}"));
        RunConfig::parse(&self.text, &sets)
    }

    fn search(
        &self,
        journal: Option<Journal>,
        stop: &Arc<AtomicBool>,
        on: &mut dyn FnMut(Progress),
    ) -> Result<Tuned> {
        let mut measure = |ask: &Ask<'_>| -> parallax_tune::Score {
            let config = self.with(ask.point, self.config.seed)?;
            let options = TrialOptions {
                parts: Some(self.folds.parts(ask.fold)),
                share: ask.share,
                stop: stop.clone(),
                ..TrialOptions::default()
            };
            match trial(&config, &options, &mut |_| ()) {
                Ok(trial) => Ok(Some(value(&trial.after, &self.measure)?)),
                Err(Error::Training(parallax_train::Error::NotFinite { .. })) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        let mut tell = |event: parallax_tune::Event| match event {
            parallax_tune::Event::Resumed(found) => {
                on(Progress::Message(format!("{found} measurements are there already")));
            }
            parallax_tune::Event::Measured { done, total, trial, score, best, left } => {
                let score = score.map_or_else(|| "diverged".to_owned(), |score| format!("{score:.4}"));
                let best = best.map_or_else(String::new, |best| format!(", best {best:.4}"));
                let text = format!("trial {trial}: {} {score}{best}", self.measure);
                on(Progress::Measured { done: done as u64, total: total as u64, text, left });
            }
        };
        let halt = || stop.load(Ordering::Relaxed);
        let (space, seed) = (&self.space, self.config.seed);
        let found = parallax_tune::tune(
            &self.tuning,
            space,
            &self.defaults,
            seed,
            journal,
            &halt,
            &mut measure,
            &mut tell,
        );
        found.map_err(|error| match error {
            parallax_tune::Error::Stopped => Error::Interrupted,
            parallax_tune::Error::Trial(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::setting(error.to_string()),
            },
            error => error.into(),
        })
    }

    /// The best settings and those as they stood, trained on all training rows.
    fn gain(
        &self,
        best: &Point,
        seeds: usize,
        stop: &Arc<AtomicBool>,
        on: &mut dyn FnMut(Progress),
    ) -> Result<Gain> {
        let (mut differences, mut before, mut after) = (Vec::new(), 0.0, 0.0);
        let options =
            TrialOptions { parts: Some(self.parts.clone()), stop: stop.clone(), ..Default::default() };
        for at in 0..seeds as u64 {
            let seed = self.config.seed.wrapping_add(at);
            on(Progress::Message(format!(
                "seed {seed}: the best settings and those as they stood, on the test rows"
            )));
            let standing = trial(&self.with(&Point::new(), seed)?, &options, &mut |_| ())?.after;
            let tuned = match best.is_empty() {
                true => standing.clone(),
                false => trial(&self.with(best, seed)?, &options, &mut |_| ())?.after,
            };
            let (a, b) = (value(&standing, &self.measure)?, value(&tuned, &self.measure)?);
            before += a / seeds as f64;
            after += b / seeds as f64;
            // Correlations are of all pairs together; nothing can be said of single ones.
            differences.push(match (column(&standing, &self.measure), column(&tuned, &self.measure)) {
                (Ok(standing), Ok(tuned)) => tuned.iter().zip(standing).map(|(b, a)| b - a).collect(),
                _ => vec![b - a],
            });
        }
        let key = Key::new(self.config.seed).named("gain");
        let change = hierarchical_bootstrap(&differences, true, RESAMPLES, key)?;
        Ok(Gain { before, after, change })
    }
}

/// A key with what is searched of it, as typed: `key=low..high`, `key=low..high,log`, or `key=[a,b,c]` in TOML, where names need
/// no quotes.
///
/// # Errors
/// A text that is neither.
pub fn dimension(text: &str) -> Result<(String, Dimension)> {
    let refuse = || {
        let hint = "write \"train.epochs=1..4\", \"train.optimizer.lr=1e-6..1e-3,log\" or \"objective.loss=[contrastive,supcon]\"";
        Error::setting_with(format!("\"{text}\" says no values to search"), hint)
    };
    let (key, values) = text.split_once('=').ok_or_else(refuse)?;
    let (key, values) = (key.trim().to_owned(), values.trim());
    if values.starts_with('[') {
        if !values.ends_with(']') {
            return Err(refuse());
        }
        let quoted = || {
            let names = values.trim_matches(['[', ']']).split(',').map(|name| format!("{:?}", name.trim()));
            format!("[{}]", names.collect::<Vec<_>>().join(","))
        };
        let list = |text: &str| -> Option<Vec<Json>> {
            let table: toml::Table = toml::from_str(&format!("x={text}")).ok()?;
            serde_json::to_value(table.get("x")?).ok()?.as_array().cloned()
        };
        let values = list(values).or_else(|| list(&quoted())).ok_or_else(refuse)?;
        return Ok((key, Dimension::Choices(values)));
    }
    let (range, log) = match values.strip_suffix(",log") {
        Some(range) => (range, true),
        None => (values, false),
    };
    let (low, high) = range.split_once("..").ok_or_else(refuse)?;
    let number = |text: &str| -> Option<serde_json::Number> {
        let text = text.trim();
        match text.parse::<i64>() {
            Ok(whole) => Some(whole.into()),
            Err(_) => serde_json::Number::from_f64(text.parse().ok()?),
        }
    };
    match (number(low), number(high)) {
        (Some(low), Some(high)) => Ok((key, Dimension::Range(parallax_tune::Range { low, high, log }))),
        _ => Err(refuse()),
    }
}

/// What is searched where nothing is said: rate and epochs.
fn usual(config: &RunConfig) -> Space {
    let lr = config.train.optimizer.adamw().lr;
    let rate = serde_json::json!({ "low": lr / 10.0, "high": lr * 10.0, "log": true });
    let epochs = serde_json::json!({ "low": 1, "high": (2 * config.train.epochs).max(2) });
    let space = serde_json::json!({ "train.optimizer.lr": rate, "train.epochs": epochs });
    serde_json::from_value(space).unwrap_or_default()
}

/// The value of a measure.
fn value(retrieval: &Retrieval, measure: &str) -> Result<f64> {
    let found = retrieval.measures.iter().find(|found| found.name == measure);
    let known: Vec<&str> = retrieval.measures.iter().map(|measure| measure.name.as_str()).collect();
    found.map(|found| found.value).ok_or_else(|| Error::unknown_name("measure", measure, &known))
}

/// A JSON value as it stands in a TOML file.
pub(crate) fn toml_of(value: &Json) -> Result<String> {
    let refuse = |e: toml::ser::Error| Error::setting(format!("{value} cannot stand in a run file: {e}"));
    let value = toml::Value::try_from(value).map_err(refuse)?;
    Ok(value.to_string())
}

impl TuneReport {
    /// For a terminal: the best trials, what mattered and what was gained.
    pub fn table(&self) -> String {
        let keys: Vec<&String> = self.tuning.space.0.keys().collect();
        let mut order: Vec<&Trial> = self.tuned.trials.iter().filter(|trial| trial.complete).collect();
        order.sort_by(|a, b| {
            let mean = |trial: &Trial| trial.mean.unwrap_or(f64::NEG_INFINITY);
            mean(b).total_cmp(&mean(a)).then(a.number.cmp(&b.number))
        });
        let mut text = format!("{:>5}  {:<10}  settings\n", "trial", self.measure);
        let standing = order.iter().find(|trial| trial.number == 0).copied();
        let shown = order.iter().take(8).copied();
        let late = standing.filter(|_| order.iter().take(8).all(|trial| trial.number != 0));
        for trial in shown.chain(late) {
            let mean = trial.mean.map_or_else(|| "diverged".to_owned(), |mean| format!("{mean:.4}"));
            let settings: Vec<String> = keys
                .iter()
                .filter_map(|key| trial.point.get(*key).map(|value| format!("{key} = {value}")))
                .collect();
            let settings = if settings.is_empty() { "as they stand".to_owned() } else { settings.join(", ") };
            let _ = writeln!(text, "{:>5}  {mean:<10}  {settings}", trial.number);
        }
        let _ = writeln!(
            text,
            "{} trials, {} of them on all folds, in {}; {}",
            self.tuned.trials.len(),
            order.len(),
            duration(self.tuned.seconds),
            self.folds
        );
        let _ = writeln!(text, "\nwhat mattered (share of the variance of the scores)");
        for importance in &self.tuned.importance {
            let explained =
                importance.explained.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}"));
            let _ = writeln!(text, "  {explained:>4}  {}", importance.key);
        }
        if let Some(Gain { before, after, change }) = &self.gain {
            let _ = writeln!(
                text,
                "\ntest rows, which no trial has seen, {} seeds\n{:<14}{before:>8.4}{after:>9.4}   {:+.4} ({:+.4} to {:+.4})",
                change.seeds, self.measure, change.mean, change.low, change.high
            );
            if self.tuned.best == 0 {
                let _ = writeln!(text, "note: the settings as they stood were the best");
            } else if change.low <= 0.0 && change.high > 0.0 {
                let _ = writeln!(text, "note: no more than chance over seeds and queries explains");
            } else if change.high <= 0.0 {
                let _ = writeln!(text, "note: {} fell: keep the settings that you had", self.measure);
            }
        }
        let _ = write!(text, "settings {}\npage     {}", self.best_config.display(), self.page.display());
        text
    }
}

#[cfg(test)]
mod tests;
