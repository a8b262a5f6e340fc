//! From a recipe to its verdicts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parallax::metric::MixupConfig;
use parallax::metric::mixup::utilisation_of_mixtures;
use parallax::run::{Event, TrialOptions};
use parallax::{RunConfig, doctor};
use parallax_data::atomic_write;
use parallax_eval::{RESAMPLES, hierarchical_bootstrap};
use parallax_random::Key;
use parallax_tune::{Space, Tuning};

use crate::experiment::{Bench, Measured, Values};
use crate::recipe::Experiment;
use crate::{Arm, Claim, ClaimResult, Error, Recipe, Reproduction, Result, Sources, Tuned, Verdict, pages};

/// How a recipe is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seeds of each arm, instead of what each claim says.
    pub seeds: Option<u64>,
    /// A smoke test of seconds: two seeds, no tuning, what the recipe makes smaller; no verdict counts.
    pub quick: bool,
    /// The folder for `result.json` and `report.html`.
    pub out: PathBuf,
    /// What was typed, for the result.
    pub command: String,
    /// Set from outside to stop.
    pub stop: Arc<AtomicBool>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Something worth knowing.
    Message(String),
    /// So many runs and trials of so many.
    Step {
        /// Done.
        done: u64,
        /// In all.
        total: u64,
        /// What is at work.
        text: String,
        /// Seconds left, by what those before took.
        left: f64,
    },
}

/// Curves of one claim, for its report: name of the arm, seed, (step, loss).
pub(crate) type Curves = Vec<(String, u64, Vec<(u64, f64)>)>;

/// Runs every claim of a recipe and writes `result.json` and `report.html`.
///
/// Both arms are tuned on the training rows of the first seed's split with the same number of trials, each in its own space; then
/// each is trained with every seed and measured on the same test rows.
///
/// # Errors
/// Data that are not there, a recipe that is refused, a run that fails, a stop.
pub fn reproduce(recipe: &Recipe, options: &Options, on: &mut dyn FnMut(Progress)) -> Result<Reproduction> {
    let begun = Instant::now();
    let sources = Sources::open(&recipe.sources, &mut |text| on(Progress::Message(text.to_owned())))?;
    let mut work = Work {
        options,
        bench: Bench::new(&sources, options.stop.clone()),
        done: 0,
        total: recipe.claims.iter().map(|claim| steps(claim, options)).sum(),
        begun,
        on,
    };
    let (mut claims, mut curves) = (Vec::new(), Vec::new());
    for claim in &recipe.claims {
        let (result, drawn) = work.claim(claim)?;
        claims.push(result);
        curves.push(drawn);
    }
    let machine = doctor::machine();
    let result = Reproduction {
        slug: recipe.slug.clone(),
        recipe_sha256: recipe.sha256(),
        command: options.command.clone(),
        version: machine.version.clone(),
        machine: format!(
            "{}, {} threads, {}",
            machine.processor.as_deref().unwrap_or("unknown processor"),
            machine.threads,
            machine.kernels
        ),
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        claims,
    };
    std::fs::create_dir_all(&options.out).map_err(Error::io(&options.out, "create"))?;
    let sheet = pages::report(recipe, &result, &curves, options.quick);
    write(&options.out.join("report.html"), &sheet.render())?;
    let json = serde_json::to_string_pretty(&result).map_err(|e| Error::recipe(&recipe.slug, e))?;
    write(&options.out.join("result.json"), &(json + "\n"))?;
    Ok(result)
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(atomic_write(path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
}

/// Seeds of a claim.
fn seeds(claim: &Claim, options: &Options) -> u64 {
    let own = if options.quick { claim.seeds.min(2) } else { claim.seeds };
    options.seeds.unwrap_or(own).max(1)
}

/// Runs and trials that a claim takes.
fn steps(claim: &Claim, options: &Options) -> u64 {
    let arms = if claim.experiment == Experiment::Trained && !claim.baseline.frozen { 2 } else { 1 };
    let trials = claim.tuning.as_ref().filter(|_| !options.quick).map_or(0, |t| (t.trials * t.folds) as u64);
    arms * (trials + seeds(claim, options))
}

struct Work<'a, 'b> {
    options: &'a Options,
    bench: Bench<'a>,
    done: u64,
    total: u64,
    begun: Instant,
    on: &'b mut dyn FnMut(Progress),
}

impl Work<'_, '_> {
    fn step(&mut self, text: String) {
        self.done += 1;
        let left = self.begun.elapsed().as_secs_f64() / self.done as f64
            * (self.total - self.done.min(self.total)) as f64;
        (self.on)(Progress::Step { done: self.done, total: self.total, text, left });
    }

    fn claim(&mut self, claim: &Claim) -> Result<(ClaimResult, Curves)> {
        let begun = Instant::now();
        let (baseline, system) = (&claim.baseline, &claim.system);
        let seeds: Vec<u64> = (0..seeds(claim, self.options)).collect();
        let mut tuned = None;
        let mut chosen = [toml::Table::new(), toml::Table::new()];
        if let (Some(_), false) = (&claim.tuning, self.options.quick) {
            let mut found = [Tuned::default(), Tuned::default()];
            for (at, arm) in [baseline, system].into_iter().enumerate() {
                let untrained = arm.frozen || at == 0 && claim.experiment == Experiment::Utilisation;
                if !untrained {
                    (found[at], chosen[at]) = self.tune(claim, arm)?;
                }
            }
            tuned = Some(found);
        }
        let quick = if self.options.quick { claim.quick.clone() } else { toml::Table::new() };
        let mut arms: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
        let mut curves = Curves::new();
        for &seed in &seeds {
            let config = |work: &Self, arm: &Arm, at: usize| {
                work.bench.config(claim, arm, &[&chosen[at], &quick], seed)
            };
            match claim.experiment {
                Experiment::Trained => {
                    let run = config(self, system, 1)?;
                    let measured = self.trained(claim, &run, baseline.frozen, system, seed)?;
                    curves.push((system.label.clone(), seed, measured.1.losses.clone()));
                    arms[1].push(measured.1);
                    match measured.0 {
                        Some(frozen) => arms[0].push(frozen),
                        None => {
                            let run = config(self, baseline, 0)?;
                            let (_, measured) = self.trained(claim, &run, false, baseline, seed)?;
                            curves.push((baseline.label.clone(), seed, measured.losses.clone()));
                            arms[0].push(measured);
                        }
                    }
                }
                Experiment::Utilisation => {
                    let run = config(self, system, 1)?;
                    let [originals, mixtures] = self.utilisation(claim, &run, seed)?;
                    arms[0].push(originals);
                    arms[1].push(mixtures);
                    self.step(format!("{}, seed {seed}", claim.name));
                }
            }
        }
        let shared = arms.iter().flatten().all(|one| one.values.rows == arms[0][0].values.rows);
        let better = if claim.experiment == Experiment::Utilisation { -1.0 } else { 1.0 };
        let differences: Vec<Vec<f64>> = arms[0]
            .iter()
            .zip(&arms[1])
            .map(|(a, b)| {
                a.values.queries.iter().zip(&b.values.queries).map(|(a, b)| better * (b - a)).collect()
            })
            .collect();
        let key = Key::new(0).named("reproduce").named(&claim.name);
        let difference = hierarchical_bootstrap(&differences, shared, RESAMPLES, key)?;
        let values = |arm: &[Measured]| arm.iter().map(|one| one.values.value).collect::<Vec<f64>>();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut beside = Vec::new();
        let trains = |arm: &[Measured]| arm.iter().map(|one| one.train).collect::<Option<Vec<f64>>>();
        if let (Some(a), Some(b)) = (trains(&arms[0]), trains(&arms[1])) {
            let (a, b) = (mean(a), mean(b));
            beside.push((format!("{} on the training rows", claim.measure), a, b));
            let gap = "training rows − test rows".to_owned();
            beside.push((gap, a - mean(values(&arms[0])), b - mean(values(&arms[1]))));
        }
        let result = ClaimResult {
            name: claim.name.clone(),
            says: claim.says.clone(),
            measure: claim.measure.clone(),
            data_sha256: arms[1][0].data_sha256.clone(),
            baseline_label: baseline.label.clone(),
            system_label: system.label.clone(),
            baseline: values(&arms[0]),
            system: values(&arms[1]),
            verdict: (!self.options.quick).then(|| Verdict::of(&difference, claim.margin)),
            difference,
            margin: claim.margin,
            tuned,
            beside,
            minutes: begun.elapsed().as_secs_f64() / 60.0,
        };
        Ok((result, curves))
    }

    /// Trains an arm and measures it, and where it is asked for the model as it was.
    fn trained(
        &mut self,
        claim: &Claim,
        config: &RunConfig,
        before: bool,
        arm: &Arm,
        seed: u64,
    ) -> Result<(Option<Measured>, Measured)> {
        let options = TrialOptions { before, on_train: claim.train_measured(), ..TrialOptions::default() };
        let (done, total, label) = (self.done, self.total, arm.label.clone());
        let on = &mut *self.on;
        let mut tell = |event: &Event| {
            if let Event::Step { step, steps, left, .. } = event {
                let text = format!("{label}, seed {seed}: step {step} of {steps}");
                on(Progress::Step { done, total, text, left: *left });
            }
        };
        let trial = self.bench.run(config, options, &mut tell)?;
        self.step(format!("{}, seed {seed}", arm.label));
        let of = |retrieval| -> Result<Measured> {
            Ok(Measured {
                values: Values::of(retrieval, &claim.measure)?,
                train: None,
                losses: Vec::new(),
                data_sha256: trial.data_sha256.clone(),
            })
        };
        let frozen = trial.before.as_ref().map(of).transpose()?;
        let train = match &trial.train {
            Some(train) => Some(Values::of(train, &claim.measure)?.value),
            None => None,
        };
        let measured = Measured {
            values: Values::after(&trial, &claim.measure)?,
            losses: trial.losses.clone(),
            train,
            data_sha256: trial.data_sha256.clone(),
        };
        Ok((frozen, measured))
    }

    /// What tuning finds for an arm.
    fn tune(&mut self, claim: &Claim, arm: &Arm) -> Result<(Tuned, toml::Table)> {
        let Some(trials) = &claim.tuning else { return Ok((Tuned::default(), toml::Table::new())) };
        let mut space: BTreeMap<_, _> = trials.space.0.clone();
        space.extend(arm.space.0.clone());
        if space.is_empty() {
            return Ok((Tuned::default(), toml::Table::new()));
        }
        let mut config = self.bench.config(claim, arm, &[], 0)?;
        config.tune = Some(Tuning {
            search: trials.search.clone(),
            trials: trials.trials,
            minutes: None,
            folds: trials.folds,
            measure: Some(claim.measure.clone()),
            space: Space(space),
        });
        let stop = self.options.stop.clone();
        let label = format!("tuning {}", arm.label);
        let mut step = |text: String| self.step(format!("{label}: {text}"));
        let (_, found) = parallax::tune::search(&config, &stop, &mut |progress| {
            if let parallax::tune::Progress::Measured { text, .. } = progress {
                step(text);
            }
        })?;
        let best = found.best();
        let mut table = toml::Table::new();
        for (key, value) in &best.point {
            let value = toml::Value::try_from(value).map_err(|e| Error::recipe(&claim.name, e))?;
            let mut parts: Vec<&str> = key.split('.').collect();
            let last = parts.pop().unwrap_or_default();
            let mut one = toml::Table::from_iter([(last.to_owned(), value)]);
            for part in parts.into_iter().rev() {
                one = toml::Table::from_iter([(part.to_owned(), toml::Value::Table(one))]);
            }
            table = crate::recipe::merged(&table, &one);
        }
        let chosen = best.point.clone().into_iter().collect();
        Ok((Tuned { trials: found.trials.len(), chosen, scores: [found.trials[0].mean, best.mean] }, table))
    }

    /// Distances of test embeddings to the nearest of training embeddings: of half of them and the other half, and of half of
    /// them and as many mixtures.
    fn utilisation(&mut self, claim: &Claim, config: &RunConfig, seed: u64) -> Result<[Measured; 2]> {
        let Some(MixupConfig::Metrix(metrix)) = &config.objective.mixup else {
            return Err(Error::recipe(
                format!("claim \"{}\"", claim.name),
                "objective.mixup is not set for the system",
            ));
        };
        let options = TrialOptions { vectors: true, ..TrialOptions::default() };
        let trial = self.bench.run(config, options, &mut |_| ())?;
        let missing = || Error::recipe("experiment", "there are no vectors");
        let vectors = trial.vectors.as_ref().ok_or_else(missing)?;
        let n = vectors.train_labels.len() / 2;
        let key = Key::new(seed).named("utilisation");
        let (test, train, labels) = (&vectors.test, &vectors.train, &vectors.train_labels);
        let found = utilisation_of_mixtures(test, train, labels, vectors.dim, n, metrix, key)
            .map_err(parallax::Error::from)?;
        let measured = |queries: Vec<f64>| Measured {
            values: Values {
                value: queries.iter().sum::<f64>() / queries.len().max(1) as f64,
                rows: (0..queries.len() as u32).collect(),
                queries,
            },
            train: None,
            losses: trial.losses.clone(),
            data_sha256: trial.data_sha256.clone(),
        };
        Ok([measured(found.with_originals), measured(found.with_mixtures)])
    }
}

impl Claim {
    /// Whether the training rows are measured too.
    fn train_measured(&self) -> bool {
        self.beside.iter().any(|what| what == "train")
    }
}
