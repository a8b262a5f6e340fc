use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::curve::{Curve, curves, sparkline};
use super::{Run, State, change, grid, value};
use crate::run::Outcome;
use crate::{Result, RunConfig};

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Details {
    /// The run, as it stands in a list.
    #[serde(flatten)]
    pub run: Run,
    /// The settings that are not the default.
    pub settings: Vec<Setting>,
    /// The results.
    pub outcome: Option<Outcome>,
    /// What was logged, by step.
    pub curves: Vec<Curve>,
    /// What is in its folder.
    pub files: Vec<RunFile>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its dotted path in a run file.
    pub key: String,
    /// Its value.
    pub value: toml::Value,
}

/// A file of a run, or a folder with everything in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunFile {
    /// Its name; of a folder with `/` at the end.
    pub name: String,
    /// Its size; of a folder that of all files in it.
    pub bytes: u64,
}

impl Details {
    /// Reads everything about a run.
    ///
    /// # Errors
    /// If the defaults cannot be written as TOML, which does not happen.
    pub fn of(run: Run) -> Result<Details> {
        let defaults: toml::Table = RunConfig::default().to_toml()?.parse().unwrap_or_default();
        let defaults = flat(&defaults);
        let mut settings = flat(&run.config);
        settings.retain(|setting| !defaults.contains(setting) && setting.key != "name");
        let outcome = run.outcome.clone();
        let curves = curves(&run.folder.join("metrics.jsonl"));
        let files = files(&run.folder);
        Ok(Details { run, settings, outcome, curves, files })
    }
}

/// Every value of a table by its dotted path; lists are values.
pub(super) fn flat(table: &toml::Table) -> Vec<Setting> {
    fn walk(table: &toml::Table, prefix: &str, out: &mut Vec<Setting>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(inner) => walk(inner, &key, out),
                value => out.push(Setting { key, value: value.clone() }),
            }
        }
    }
    let mut out = Vec::new();
    walk(table, "", &mut out);
    out
}

fn files(folder: &Path) -> Vec<RunFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<RunFile> = entries
        .map(|entry| {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let name = if path.is_dir() { format!("{name}/") } else { name };
            RunFile { name, bytes: size(&path) }
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Links are not followed: a link to a folder above would never end.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

/// A value as a run file has it; numbers far from 1 with an exponent.
pub(super) fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(x) if *x != 0.0 && !(1e-4..1e6).contains(&x.abs()) => format!("{x:e}"),
        value => value.to_string().trim().to_owned(),
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A number with four figures that count.
fn short(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e5).contains(&x.abs()) { format!("{x:.3e}") } else { format!("{x:.4}") }
}

/// Columns of a curve on a terminal.
const WIDTH: usize = 48;

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        write!(f, "{}  {}", run.name, run.state.name())?;
        if let Some(day) = run.when.get(..16) {
            write!(f, "  {} UTC", day.replace('T', " "))?;
        }
        writeln!(f, "  {}", run.folder.display())?;
        match (&run.problem, run.state) {
            (Some(problem), _) => writeln!(f, "{problem}")?,
            (None, State::Interrupted) => writeln!(f, "\"parallax train\" with --resume goes on")?,
            _ => {}
        }
        if !self.settings.is_empty() {
            writeln!(f, "\nsettings that are not the default (all of them: config.toml)")?;
            let rows: Vec<Vec<String>> =
                self.settings.iter().map(|s| vec![format!("  {}", s.key), shown(&s.value)]).collect();
            writeln!(f, "{}", grid(&rows, &[]))?;
        }
        if let Some(outcome) = &self.outcome {
            let mut rows = vec![vec![
                format!("{} rows", outcome.part),
                "before".to_owned(),
                "after".to_owned(),
                "change (95 % interval)".to_owned(),
            ]];
            for m in &outcome.measures {
                rows.push(vec![format!("  {}", m.name), value(m.before), value(m.after), change(m)]);
            }
            writeln!(f, "\n{}", grid(&rows, &[1, 2]))?;
            for line in &outcome.advice {
                writeln!(f, "  note: {line}")?;
            }
        }
        if !self.curves.is_empty() {
            let rows: Vec<Vec<String>> = self
                .curves
                .iter()
                .filter_map(|curve| {
                    let [first, last, low, high] = curve.range()?;
                    let values: Vec<f64> = curve.points.iter().map(|point| point.1).collect();
                    Some(vec![
                        format!("  {}", curve.name),
                        sparkline(&values, WIDTH),
                        format!(
                            "{} to {}, between {} and {}, {} {}",
                            short(first),
                            short(last),
                            short(low),
                            short(high),
                            values.len(),
                            if values.len() == 1 { "point" } else { "points" }
                        ),
                    ])
                })
                .collect();
            writeln!(f, "\ncurves, by step\n{}", grid(&rows, &[]))?;
        }
        let rows: Vec<Vec<String>> =
            self.files.iter().map(|file| vec![format!("  {}", file.name), bytes(file.bytes)]).collect();
        write!(f, "\nfiles\n{}", grid(&rows, &[1]))
    }
}
