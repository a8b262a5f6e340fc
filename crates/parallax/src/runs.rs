//! The runs on a disk: what [`run::train`](crate::run::train) has left in a folder of runs.
//!
//! A run is a folder with `config.toml` in it. It is read leniently, so that runs of other versions are listed too, and one
//! that is damaged does not hide the others.
//!
//! ```no_run
//! for run in parallax::runs::list("runs")? {
//!     println!("{} {:?}", run.name, run.state);
//! }
//! # Ok::<(), parallax::Error>(())
//! ```

mod clock;
mod curve;
mod details;
mod difference;
mod grid;
mod queries;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::run::{MeasureChange, Outcome};
use crate::{Error, Result};
pub use curve::{Curve, sparkline};
pub use details::{Details, RunFile, Setting};
pub use difference::{Difference, MeasurePair, SettingPair};
use grid::grid;
pub(crate) use queries::{QUERIES, write_queries};

/// The file in a run's folder that says why it ended, where it ended with an error and can go on.
pub(crate) const ERROR: &str = "error.txt";

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A process is at work on it.
    Running,
    /// It has its results.
    Finished,
    /// It stopped with a checkpoint; `--resume` goes on.
    Interrupted,
    /// It ended with an error, or before its first checkpoint.
    Failed,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Finished => "finished",
            State::Interrupted => "interrupted",
            State::Failed => "failed",
        }
    }
}

/// A run, as it stands in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The name of its folder.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How far it has come.
    pub state: State,
    /// When it finished, or last wrote something: UTC, as in RFC 3339.
    pub when: String,
    /// The files of its data, without folders.
    pub data: Vec<String>,
    /// The model that it started from, without folders; empty where it started from stored vectors.
    pub model: String,
    /// The loss, and the miner where there is one; `closed form` for a run without training.
    pub objective: String,
    /// The measure that decides (`train.validate_with`), before and after.
    pub main: Option<MeasureChange>,
    /// Why it ended, or what cannot be read of it.
    pub problem: Option<String>,
    #[serde(skip)]
    config: toml::Table,
    #[serde(skip)]
    outcome: Option<Outcome>,
    #[serde(skip)]
    written: Option<SystemTime>,
}

/// The runs in a folder, the newest last.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read.
pub fn list(dir: impl AsRef<Path>) -> Result<Vec<Run>> {
    let dir = dir.as_ref();
    let mut runs: Vec<Run> = folders(dir)?.iter().map(|folder| Run::open(folder)).collect();
    runs.sort_by(|a, b| (a.written, &a.name).cmp(&(b.written, &b.name)));
    Ok(runs)
}

/// The run called `name` in the folder `dir`, or the one whose folder is `name`.
///
/// # Errors
/// If there is none, with the nearest name that there is.
pub fn find(name: &Path, dir: &Path) -> Result<Run> {
    let inside = dir.join(name);
    for folder in [&inside, name] {
        if is_run(folder) {
            return Ok(Run::open(folder));
        }
    }
    // A path with a mistake in its last part is looked for among its neighbours.
    let place = match name.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => dir,
    };
    if name.is_dir() {
        return Err(Error::setting_with(
            format!("{}: a folder without config.toml is no run", name.display()),
            "\"parallax runs list\" says which runs there are",
        ));
    }
    let folders = folders(place)?;
    let names: Vec<String> = folders.iter().map(|folder| folder_name(folder)).collect();
    if names.is_empty() {
        return Err(Error::setting_with(
            format!("no run \"{}\": there are no runs in {}", name.display(), place.display()),
            "give the folder of a run, or the folder of runs with --dir",
        ));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Err(Error::unknown_name("run", &folder_name(name), &names))
}

/// The runs as a table for a terminal.
pub fn table(runs: &[Run]) -> String {
    let head =
        ["name", "when (UTC)", "state", "data", "model", "objective", "measure", "before", "after", "change"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in runs {
        let mut row = vec![
            run.name.clone(),
            run.when.get(..16).unwrap_or("").replace('T', " "),
            run.state.name().to_owned(),
            run.data.join(", "),
            if run.model.is_empty() { "stored vectors".to_owned() } else { run.model.clone() },
            run.objective.clone(),
        ];
        match &run.main {
            Some(main) => {
                row.extend([main.name.clone(), value(main.before), value(main.after), change(main)])
            }
            None => row.push(run.problem.clone().unwrap_or_default()),
        }
        rows.push(row);
    }
    grid(&rows, &[7, 8])
}

/// `+0.0425 (+0.0241 to +0.0611)`; without the interval where there is none.
fn change(measure: &MeasureChange) -> String {
    match (measure.change, measure.change_interval, measure.before.zip(measure.after)) {
        (Some(change), Some([low, high]), _) => format!("{change:+.4} ({low:+.4} to {high:+.4})"),
        (Some(change), None, _) => format!("{change:+.4}"),
        (None, _, Some((before, after))) => format!("{:+.4}", after - before),
        (None, _, None) => String::new(),
    }
}

/// A value of a measure; a dash where it was not measured.
fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

impl Run {
    /// Reads what there is of a run; what cannot be read is said in [`problem`](Self::problem).
    pub fn open(folder: &Path) -> Run {
        let mut problem = None;
        let mut note = |path: &Path, what: String| {
            problem.get_or_insert(format!("{}: {what}", folder_name(path)));
        };
        let path = folder.join("config.toml");
        let config = fs::read_to_string(&path)
            .map_err(|e| e.to_string())
            .and_then(|text| text.parse::<toml::Table>().map_err(|e| e.message().replace('\n', "; ")));
        let config = config.unwrap_or_else(|what| {
            note(&path, what);
            toml::Table::new()
        });
        let path = folder.join("metrics.json");
        let outcome = fs::read_to_string(&path).ok().and_then(|text| {
            serde_json::from_str::<Outcome>(&text).map_err(|e| note(&path, e.to_string())).ok()
        });
        let state = if is_held(folder) {
            State::Running
        } else if path.exists() {
            State::Finished
        } else if parallax_train::checkpoint::find(&folder.join("checkpoint")).is_some()
            && !folder.join(ERROR).exists()
        {
            State::Interrupted
        } else {
            State::Failed
        };
        if state == State::Failed {
            let why = fs::read_to_string(folder.join(ERROR)).ok();
            let why = why.and_then(|text| text.lines().next().map(str::to_owned));
            problem = problem.or(why).or_else(|| Some("ended before its first checkpoint".to_owned()));
        }
        // Results are written once; before that, the log is what was touched last.
        let written = match state {
            State::Finished => modified(&path),
            _ => {
                ["config.toml", "metrics.jsonl"].iter().filter_map(|name| modified(&folder.join(name))).max()
            }
        };
        let text = |path: &[&str]| at(&config, path).and_then(toml::Value::as_str).map(str::to_owned);
        let loss = text(&["objective", "loss", "name"]).unwrap_or_default();
        let objective = match (at(&config, &["adapter"]), text(&["objective", "miner", "name"])) {
            (Some(_), _) => "closed form".to_owned(),
            (None, Some(miner)) => format!("{loss} + {miner} miner"),
            (None, None) => loss,
        };
        let model = text(&["model", "path"]).map_or_else(String::new, |path| folder_name(Path::new(&path)));
        Run {
            name: folder_name(folder),
            folder: folder.to_owned(),
            state,
            when: written.map_or_else(String::new, clock::utc),
            data: data_files(&config),
            model,
            objective,
            main: main_measure(&config, outcome.as_ref()),
            problem,
            config,
            outcome,
            written,
        }
    }

    /// The settings as they stand in `config.toml`.
    pub fn config(&self) -> &toml::Table {
        &self.config
    }

    /// The results, once there are some.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }
}

/// Marks the run in `folder` as being at work, until the file is dropped or the process ends in whatever way.
pub(crate) fn hold(folder: &Path) -> Option<File> {
    let file = File::open(folder.join("config.toml")).ok()?;
    // Shared, so that others can read; where a file system has no locks the run only looks as if nobody worked on it.
    file.lock_shared().ok()?;
    Some(file)
}

fn is_held(folder: &Path) -> bool {
    let file = File::open(folder.join("config.toml"));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn is_run(folder: &Path) -> bool {
    folder.join("config.toml").is_file()
}

/// The folders of runs in a folder.
fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir, "read"))? {
        let path = entry.map_err(Error::io(dir, "read"))?.path();
        if is_run(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn folder_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    // "." and the like have no name of their own.
    name.or_else(|| Some(fs::canonicalize(path).ok()?.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| path.display().to_string())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn at<'t>(table: &'t toml::Table, path: &[&str]) -> Option<&'t toml::Value> {
    let (last, above) = path.split_last()?;
    let table = above.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?;
    table.get(*last)
}

fn data_files(config: &toml::Table) -> Vec<String> {
    let mut files = Vec::new();
    for key in ["path", "vectors"] {
        match at(config, &["data", key]) {
            Some(toml::Value::String(path)) => files.push(path.clone()),
            Some(toml::Value::Array(paths)) => {
                files.extend(paths.iter().filter_map(|path| path.as_str().map(str::to_owned)));
            }
            _ => {}
        }
    }
    files.iter().map(|path| folder_name(Path::new(path))).collect()
}

fn main_measure(config: &toml::Table, outcome: Option<&Outcome>) -> Option<MeasureChange> {
    let measures = &outcome?.measures;
    let decides = at(config, &["train", "validate_with"]).and_then(toml::Value::as_str).unwrap_or("map@r");
    measures.iter().find(|measure| measure.name == decides).or(measures.first()).cloned()
}

#[cfg(test)]
mod tests;
