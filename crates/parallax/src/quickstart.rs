//! All of it in a minute: a sample, the starter encoder, two ways to adapt, a measure of both, an index, answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parallax_data::atomic_write;
use serde::Serialize;

use crate::config::{Data, RunConfig, infer};
use crate::index::{self, BuildOptions, Searcher, Source};
use crate::run::{self, Outcome, TrainOptions};
use crate::{BATCH_TOKENS, Error, Model, Result};

/// The sample: messages of customers of an energy company, in 60 intents.
pub(crate) const SAMPLE: &str = include_str!("../assets/quickstart/energy.csv");

/// Epochs of training the token table.
const EPOCHS: u64 = 15;

/// What is asked of the index in the end.
const QUERIES: [&str; 3] = [
    "why did I pay so much more this month",
    "the box on the wall that charges my car stopped halfway through the night",
    "we move to a new house next week",
];

/// How a quickstart is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder to work in.
    pub folder: PathBuf,
    /// Class splits to adapt and measure on, at least 1.
    pub splits: usize,
    /// The seed of the first split; the others follow.
    pub seed: u64,
    /// Whether what an earlier quickstart left in the folder is replaced.
    pub force: bool,
    /// Set from outside to stop.
    pub stop: Arc<AtomicBool>,
}

/// One of the two ways to adapt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The encoder stays, and a linear head after it is fitted in closed form.
    Head,
    /// The token table is trained.
    Table,
}

impl Way {
    /// The name of its run.
    pub fn name(self) -> &'static str {
        match self {
            Way::Head => "head",
            Way::Table => "table",
        }
    }
}

/// A class split: which way won on the validation classes, and what it gained on the test classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitResult {
    /// The seed.
    pub seed: u64,
    /// The way that won.
    pub way: Way,
    /// Before and after on the test classes, by measure.
    pub measures: Vec<(String, f64, f64)>,
}

/// A mean difference over the splits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// The measure.
    pub measure: String,
    /// Its mean before.
    pub before: f64,
    /// Its mean after.
    pub after: f64,
    /// Mean over the splits of after − before.
    pub change: f64,
    /// 95 % interval of the change by Student's t over the splits; absent for a single split.
    pub interval: Option<[f64; 2]>,
}

/// An answered query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The query.
    pub query: String,
    /// Score, intent and text of the nearest rows.
    pub hits: Vec<(f64, String, String)>,
}

/// What a quickstart made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quickstart {
    /// The folder.
    pub folder: PathBuf,
    /// The splits, first to last.
    pub splits: Vec<SplitResult>,
    /// The gains over all splits.
    pub gains: Vec<Gain>,
    /// The adapted model of the first split.
    pub model: PathBuf,
    /// The index of all rows.
    pub index: PathBuf,
    /// The page of the first split.
    pub report: PathBuf,
    /// Three queries with their answers.
    pub answers: Vec<Answer>,
}

/// Runs the quickstart in its folder. It reads nothing but what comes with the program.
///
/// For each split of the classes, both ways adapt on the training classes, and the one that is better on the validation
/// classes is measured on the test classes, which neither has seen. The first split's model, index and page stay.
///
/// # Errors
/// A folder that holds something already, or cannot be written to; a stop from outside.
pub fn quickstart(options: &Options, on_event: &mut dyn FnMut(&run::Event)) -> Result<Quickstart> {
    let folder = &options.folder;
    prepare(folder, options.force)?;
    let data = folder.join("energy.csv");
    atomic_write(&data, |file| std::io::Write::write_all(file, SAMPLE.as_bytes()))?;
    let inferred = infer(std::slice::from_ref(&data), Data::default(), None)?;
    let mut quiet = |_: &run::Event| {};
    let mut splits = Vec::new();
    let mut kept: Option<Outcome> = None;
    for split in 0..options.splits.max(1) {
        let seed = options.seed.wrapping_add(split as u64);
        let first = split == 0;
        on_event(&run::Event::Message(format!("split {} of {}", split + 1, options.splits.max(1))));
        // Later splits only add to the evidence: nothing of them stays.
        let aside = tempfile::tempdir_in(folder).map_err(Error::io(folder, "write"))?;
        let mut results = Vec::new();
        for way in [Way::Head, Way::Table] {
            let config = configured(&inferred.config, way, seed, first);
            let at = if first { folder.join("runs").join(way.name()) } else { aside.path().join(way.name()) };
            let train = TrainOptions { out: Some(at), stop: options.stop.clone(), ..TrainOptions::default() };
            let outcome = run::train(config, train, if first { on_event } else { &mut quiet })?;
            if outcome.interrupted {
                return Err(Error::Interrupted);
            }
            results.push((way, outcome));
        }
        let score = |outcome: &Outcome| outcome.validation.as_ref().map_or(f64::NEG_INFINITY, |v| v.after);
        results.sort_by(|a, b| score(&b.1).total_cmp(&score(&a.1)));
        let (way, outcome) = results.swap_remove(0);
        let measures =
            outcome.measures.iter().filter_map(|m| Some((m.name.clone(), m.before?, m.after?))).collect();
        splits.push(SplitResult { seed, way, measures });
        kept = kept.or(Some(outcome));
    }
    let no_model = || Error::setting("the first split left no model");
    let outcome = kept.ok_or_else(no_model)?;
    let model = outcome.model.ok_or_else(no_model)?;
    let report = outcome.report.ok_or_else(no_model)?;
    on_event(&run::Event::Message("indexing".into()));
    let at = folder.join("index");
    let name = model.to_string_lossy().into_owned();
    let source = Source { table: vec![data], ..Source::default() };
    let build = BuildOptions {
        append: false,
        force: true,
        prompt: None,
        codes: None,
        batch_tokens: BATCH_TOKENS,
        stop: &options.stop,
    };
    index::build(&source, Some((&name, &Model::load(&model)?)), &at, &build, &mut |_, _| {})?;
    let made = Quickstart {
        folder: folder.clone(),
        gains: gains(&splits),
        splits,
        model,
        answers: answers(&at)?,
        index: at,
        report,
    };
    let text = serde_json::to_string_pretty(&made).map_err(|e| Error::setting(e.to_string()))?;
    atomic_write(folder.join("quickstart.json"), |file| std::io::Write::write_all(file, text.as_bytes()))?;
    Ok(made)
}

/// Makes the folder, or clears one that a quickstart has written.
fn prepare(folder: &Path, force: bool) -> Result<()> {
    let own = ["energy.csv", "quickstart.json", "runs", "index"];
    let used = own.iter().any(|name| folder.join(name).exists());
    if used && !force {
        return Err(Error::setting_with(
            format!("{} already holds a quickstart", folder.display()),
            "--force replaces it; -o FOLDER works elsewhere",
        ));
    }
    for name in own {
        let path = folder.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Io { path, action: "replace", source: error });
            }
            _ => {}
        }
    }
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))
}

fn configured(config: &RunConfig, way: Way, seed: u64, report: bool) -> RunConfig {
    let mut config = config.clone();
    config.name = format!("energy, {}", way.name());
    config.seed = seed;
    config.output.report = report;
    // The sample is small: more epochs gain nothing.
    config.train.epochs = config.train.epochs.min(EPOCHS);
    config.adapter = match way {
        Way::Head => Some(Default::default()),
        Way::Table => None,
    };
    config
}

fn answers(index: &Path) -> Result<Vec<Answer>> {
    let searcher = Searcher::open(index, None, None)?;
    let found = searcher.search(&QUERIES, 3, None, None)?;
    let answer = |(query, hits): (&&str, Vec<index::store::Hit<'_>>)| Answer {
        query: (*query).to_owned(),
        hits: hits
            .iter()
            .map(|hit| {
                let intent = hit.attributes()["intent"].as_str().unwrap_or_default().to_owned();
                (hit.score, intent, hit.text.unwrap_or_default().to_owned())
            })
            .collect(),
    };
    Ok(QUERIES.iter().zip(found).map(answer).collect())
}

/// The 97.5 % quantile of Student's t for 1, 2, … degrees of freedom; beyond them the normal distribution's.
const T: [f64; 20] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086,
];

fn gains(splits: &[SplitResult]) -> Vec<Gain> {
    let names = splits.first().map_or(&[][..], |split| &split.measures[..]);
    let n = splits.len() as f64;
    let gain = |(at, (name, ..)): (usize, &(String, f64, f64))| {
        let pairs: Vec<(f64, f64)> =
            splits.iter().filter_map(|s| s.measures.get(at).map(|m| (m.1, m.2))).collect();
        let mean = |f: fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / n;
        let change = mean(|(before, after)| after - before);
        let interval = (pairs.len() > 1).then(|| {
            let squares: f64 = pairs.iter().map(|(before, after)| (after - before - change).powi(2)).sum();
            let t = T.get(pairs.len() - 2).copied().unwrap_or(1.96);
            let half = t * (squares / (n - 1.0) / n).sqrt();
            [change - half, change + half]
        });
        Gain { measure: name.clone(), before: mean(|p| p.0), after: mean(|p| p.1), change, interval }
    };
    names.iter().enumerate().map(gain).collect()
}

impl Quickstart {
    /// For a terminal.
    pub fn summary(&self) -> String {
        let splits = self.splits.len();
        let over = if splits == 1 { "one class split".to_owned() } else { format!("{splits} class splits") };
        let mut lines =
            vec![format!("{:<14}{:>8}{:>9}   change over {over} (95 % interval)", "", "before", "after")];
        for gain in &self.gains {
            let interval =
                gain.interval.map_or(String::new(), |[low, high]| format!(" ({low:+.4} to {high:+.4})"));
            lines.push(format!(
                "{:<14}{:>8.4}{:>9.4}   {:+.4}{interval}",
                gain.measure, gain.before, gain.after, gain.change
            ));
        }
        let won = |way| self.splits.iter().filter(|split| split.way == way).count();
        lines.push(format!(
            "measured on classes that training never saw; the token table won {} times, a closed-form head {} times",
            won(Way::Table),
            won(Way::Head)
        ));
        for answer in &self.answers {
            lines.push(format!("\n\"{}\"", answer.query));
            for (score, intent, text) in &answer.hits {
                lines.push(format!("  {score:.3}  {intent:<28}  {text}"));
            }
        }
        lines.push(format!("\nmodel   {}", self.model.display()));
        lines.push(format!("index   {}", self.index.display()));
        lines.push(format!("report  {}", self.report.display()));
        let (index, folder) = (self.index.display(), self.folder.display());
        lines.push("\nnext:".to_owned());
        lines.push(format!("  parallax search {index} \"your question\" -k 5"));
        lines.push("  parallax train your.csv".to_owned());
        lines.push(format!(
            "  parallax train {folder}/energy.csv --model all-MiniLM-L6-v2   (90 MB, better and slower)"
        ));
        lines.push("  parallax list losses".to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let split =
            |seed, after| SplitResult { seed, way: Way::Head, measures: vec![("m".into(), 0.5, after)] };
        let gains = gains(&[split(0, 0.6), split(1, 0.7), split(2, 0.8)]);
        // Differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / √3, t of two degrees of freedom 4.303.
        assert!((gains[0].change - 0.2).abs() < 1e-12);
        let [low, high] = gains[0].interval.unwrap();
        let half = 4.303 * 0.1 / 3f64.sqrt();
        assert!((low - (0.2 - half)).abs() < 1e-9 && (high - (0.2 + half)).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn the_sample_has_thirty_texts_of_each_of_sixty_intents() {
        let mut counts = std::collections::BTreeMap::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("energy.csv");
        fs::write(&path, SAMPLE).unwrap();
        let table = parallax_data::Table::open(&[&path], &parallax_data::TableOptions::default()).unwrap();
        let intent = table.column("intent").unwrap();
        for row in 0..table.len() {
            *counts.entry(table.cell(row, intent).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 60);
        assert!(counts.values().all(|&count| count == 30), "{counts:?}");
    }
}
