use std::fmt;

use parallax_eval::{METHOD, RESAMPLES, paired_bootstrap};
use parallax_random::Key;
use serde::Serialize;

use super::details::flat;
use super::{Run, grid, queries, value};
use crate::run::Outcome;

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The name of the first.
    pub a: String,
    /// The name of the second.
    pub b: String,
    /// The settings that differ; names and places of runs are left out.
    pub settings: Vec<SettingPair>,
    /// Why their measures cannot be compared; empty where they can.
    pub incomparable: Vec<String>,
    /// The measures of both.
    pub measures: Vec<MeasurePair>,
}

/// A setting of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingPair {
    /// Its dotted path.
    pub key: String,
    /// Its value in the first; absent where it is not set there.
    pub a: Option<toml::Value>,
    /// Its value in the second.
    pub b: Option<toml::Value>,
}

/// A measure of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasurePair {
    /// Its name.
    pub name: String,
    /// Before and after training, in the first.
    pub a: [Option<f64>; 2],
    /// Before and after training, in the second.
    pub b: [Option<f64>; 2],
    /// After training, the second less the first; absent where they cannot be compared.
    pub difference: Option<f64>,
    /// The 95 % interval of the difference by a paired bootstrap over the queries; absent where a run did not keep the values of its
    /// queries.
    pub interval: Option<[f64; 2]>,
}

impl Difference {
    /// Compares two runs.
    pub fn of(a: &Run, b: &Run) -> Difference {
        let counts = |key: &str| key != "name" && !key.starts_with("output.");
        let (ours, theirs) = (flat(&a.config), flat(&b.config));
        let mut settings: Vec<SettingPair> = Vec::new();
        for setting in ours.iter().filter(|setting| counts(&setting.key)) {
            let other = theirs.iter().find(|other| other.key == setting.key).map(|other| other.value.clone());
            if other.as_ref() != Some(&setting.value) {
                settings.push(SettingPair {
                    key: setting.key.clone(),
                    a: Some(setting.value.clone()),
                    b: other,
                });
            }
        }
        for setting in theirs.into_iter().filter(|setting| counts(&setting.key)) {
            if !ours.iter().any(|other| other.key == setting.key) {
                settings.push(SettingPair { key: setting.key, a: None, b: Some(setting.value) });
            }
        }
        let incomparable = match (&a.outcome, &b.outcome) {
            (Some(x), Some(y)) => incomparable(x, y, &settings),
            (x, y) => {
                let without = [(x, a), (y, b)].into_iter().filter(|(outcome, _)| outcome.is_none());
                without
                    .map(|(_, run)| format!("{} has no results: it is {}", run.name, run.state.name()))
                    .collect()
            }
        };
        let mut measures = measures(a.outcome.as_ref(), b.outcome.as_ref(), incomparable.is_empty());
        for pair in measures.iter_mut().filter(|pair| pair.difference.is_some()) {
            pair.interval = interval(a, b, &pair.name);
        }
        // Runs of one name in two places are told apart by where they are.
        let name = |run: &Run| match a.name == b.name {
            true => run.folder.display().to_string(),
            false => run.name.clone(),
        };
        Difference { a: name(a), b: name(b), settings, incomparable, measures }
    }
}

/// How far a difference may be chance over the queries that both runs measured.
fn interval(a: &Run, b: &Run, measure: &str) -> Option<[f64; 2]> {
    let (ours, theirs) = (queries::values(a, measure)?, queries::values(b, measure)?);
    // A key of its own, so that the answer does not depend on either run's seed.
    let key = Key::new(0).named("difference").named(measure);
    let found = paired_bootstrap(&ours, &theirs, RESAMPLES, key).ok()?;
    Some([found.low, found.high])
}

/// Why two results were not measured on the same rows in the same way.
fn incomparable(a: &Outcome, b: &Outcome, settings: &[SettingPair]) -> Vec<String> {
    let mut why = Vec::new();
    let (ours, theirs) = (&a.data, &b.data);
    let known = !ours.measured_sha256.is_empty() && !theirs.measured_sha256.is_empty();
    let same = ours.measured_sha256 == theirs.measured_sha256;
    if !(known && same) {
        if ours.sha256 != theirs.sha256 {
            why.push(format!(
                "the data differ: {} against {}",
                ours.files.join(", "),
                if ours.files == theirs.files {
                    "other bytes of the same name".to_owned()
                } else {
                    theirs.files.join(", ")
                }
            ));
        }
        if ours.roles != theirs.roles {
            why.push("the columns have other roles".to_owned());
        }
        if a.part != b.part {
            why.push(format!("other parts were measured: {} against {}", a.part, b.part));
        }
        if settings.iter().any(|setting| setting.key.starts_with("data.split")) {
            why.push("the splits differ".to_owned());
        }
        if a.seed != b.seed {
            why.push(format!("the seeds differ ({} against {}), and they draw the split", a.seed, b.seed));
        }
        if known && why.is_empty() {
            why.push("other rows were measured".to_owned());
        }
    }
    if a.mode != b.mode {
        why.push(format!("scores are made in other ways: {} against {}", a.mode, b.mode));
    }
    why
}

fn measures(a: Option<&Outcome>, b: Option<&Outcome>, comparable: bool) -> Vec<MeasurePair> {
    let all = |outcome: Option<&Outcome>| outcome.map_or_else(Vec::new, |outcome| outcome.measures.clone());
    let (ours, theirs) = (all(a), all(b));
    let mut names: Vec<&str> = ours.iter().map(|m| m.name.as_str()).collect();
    names.extend(theirs.iter().map(|m| m.name.as_str()).filter(|name| ours.iter().all(|m| m.name != *name)));
    names
        .into_iter()
        .map(|name| {
            let (x, y) = (ours.iter().find(|m| m.name == name), theirs.iter().find(|m| m.name == name));
            let difference = match (x, y) {
                (Some(x), Some(y)) if comparable && x.definition == y.definition => {
                    x.after.zip(y.after).map(|(x, y)| y - x)
                }
                _ => None,
            };
            MeasurePair {
                name: name.to_owned(),
                a: x.map_or([None; 2], |m| [m.before, m.after]),
                b: y.map_or([None; 2], |m| [m.before, m.after]),
                difference,
                interval: None,
            }
        })
        .collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.settings.is_empty() {
            writeln!(f, "the settings are the same")?;
        } else {
            let shown =
                |value: &Option<toml::Value>| value.as_ref().map_or("-".to_owned(), super::details::shown);
            let mut rows = vec![vec!["settings that differ".to_owned(), self.a.clone(), self.b.clone()]];
            for setting in &self.settings {
                rows.push(vec![format!("  {}", setting.key), shown(&setting.a), shown(&setting.b)]);
            }
            writeln!(f, "{}", grid(&rows, &[]))?;
        }
        if !self.measures.is_empty() {
            let mut rows = vec![vec!["measures".to_owned()]];
            for run in [&self.a, &self.b] {
                rows[0].extend([format!("{run}: before"), "after".to_owned()]);
            }
            rows[0].push("difference (95 % interval)".to_owned());
            for m in &self.measures {
                let mut row = vec![format!("  {}", m.name)];
                row.extend(m.a.into_iter().chain(m.b).map(value));
                row.push(match (m.difference, m.interval) {
                    (None, _) => "not comparable".to_owned(),
                    (Some(d), None) => format!("{d:+.4}"),
                    (Some(d), Some([low, high])) => format!("{d:+.4} ({low:+.4} to {high:+.4})"),
                });
                rows.push(row);
            }
            writeln!(f, "\n{}", grid(&rows, &[1, 2, 3, 4]))?;
            writeln!(f, "difference: after training, {} less {}", self.b, self.a)?;
            if self.measures.iter().any(|m| m.interval.is_some()) {
                writeln!(f, "intervals: {METHOD}, both runs' values of a query drawn together")?;
            } else if self.measures.iter().any(|m| m.difference.is_some()) {
                writeln!(f, "no intervals: the values of single queries are not there for both runs")?;
            }
        }
        if self.incomparable.is_empty() {
            write!(f, "both were measured on the same rows in the same way")
        } else {
            write!(f, "the measures cannot be compared: {}", self.incomparable.join("; "))
        }
    }
}
