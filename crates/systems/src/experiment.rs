//! Runs of one arm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parallax::RunConfig;
use parallax::run::{Event, Trial, TrialOptions, trial};
use parallax_eval::Retrieval;

use crate::recipe::merged;
use crate::source::Sources;
use crate::{Arm, Claim, Error, Experiment, Result};

/// What an arm measured with one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What decides.
    pub values: Values,
    /// The same measure on the training rows, where it was taken.
    pub train: Option<f64>,
    /// (step, loss).
    pub losses: Vec<(u64, f64)>,
    /// SHA-256 over the bytes of the data.
    pub data_sha256: String,
}

/// Values of the measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The value.
    pub value: f64,
    /// Of single queries, where the value is their mean.
    pub queries: Vec<f64>,
    /// Which rows they are of; the same rows are the same queries.
    pub rows: Vec<u32>,
}

impl Values {
    /// Of a trial: single queries, or of a classifier the pseudo-values of its rows, whose mean stands for a measure that is no
    /// mean over rows.
    pub(crate) fn after(trial: &Trial, measure: &str) -> Result<Values> {
        let Some(calls) = &trial.calls else { return Values::of(&trial.after, measure) };
        let found = trial.after.measures.iter().find(|found| found.name == measure);
        let value = found.map(|found| found.value).ok_or_else(|| Error::recipe("measure", measure))?;
        let queries = parallax_eval::pseudo_values(measure, calls)?;
        Ok(Values { value, rows: (0..queries.len() as u32).collect(), queries })
    }

    pub(crate) fn of(retrieval: &Retrieval, measure: &str) -> Result<Values> {
        let queries = parallax::tune::column(retrieval, measure)?.to_vec();
        let rows = retrieval
            .per_query
            .as_ref()
            .map_or_else(Vec::new, |single| single.query.iter().map(|&q| q as u32).collect());
        let value = queries.iter().sum::<f64>() / queries.len().max(1) as f64;
        Ok(Values { value, queries, rows })
    }
}

/// Runs of a recipe; the same run is made once.
pub(crate) struct Bench<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) stop: Arc<AtomicBool>,
    known: BTreeMap<String, Trial>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(sources: &'a Sources, stop: Arc<AtomicBool>) -> Self {
        Bench { sources, stop, known: BTreeMap::new() }
    }

    /// The run of an arm, with what tuning found laid over it.
    pub(crate) fn config(
        &self,
        claim: &Claim,
        arm: &Arm,
        over: &[&toml::Table],
        seed: u64,
    ) -> Result<RunConfig> {
        let mut table = merged(&claim.common, &arm.run);
        for more in over {
            table = merged(&table, more);
        }
        self.sources.fill(&mut table)?;
        // What decides has to be measured, and nothing else.
        let evaluate = table.entry("evaluate").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let Some(evaluate) = evaluate.as_table_mut()
            && !evaluate.contains_key("measures")
            && claim.measure.parse::<parallax::Measure>().is_ok()
        {
            evaluate.insert("measures".into(), toml::Value::Array(vec![claim.measure.clone().into()]));
        }
        let train = table.entry("train").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let Some(train) = train.as_table_mut()
            && !train.contains_key("validate_with")
        {
            let measured = match claim.experiment {
                Experiment::Trained => claim.measure.clone(),
                Experiment::Utilisation => "map@r".to_owned(),
            };
            train.insert("validate_with".into(), measured.into());
        }
        let seed = i64::try_from(seed).unwrap_or(i64::MAX);
        table.insert("seed".into(), seed.into());
        let text = toml::to_string(&table).map_err(|e| Error::recipe(&claim.name, e))?;
        RunConfig::parse::<&str>(&text, &[]).map_err(|e| {
            let hint = e.hint().map_or_else(String::new, |hint| format!(" ({hint})"));
            Error::recipe(format!("claim \"{}\", {}", claim.name, arm.label), format!("{e}{hint}"))
        })
    }

    /// Trains and measures, or finds that it was done.
    pub(crate) fn run(
        &mut self,
        config: &RunConfig,
        options: TrialOptions,
        on: &mut dyn FnMut(&Event),
    ) -> Result<Trial> {
        let asked = (options.before, options.on_train, options.vectors);
        let key = format!("{asked:?}{}", config.to_toml()?);
        if let Some(found) = self.known.get(&key) {
            return Ok(found.clone());
        }
        let options = TrialOptions { stop: self.stop.clone(), ..options };
        let found = trial(config, &options, on)?;
        if !asked.2 {
            self.known.insert(key, found.clone());
        }
        Ok(found)
    }
}
