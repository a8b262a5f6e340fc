//! The page of a search.

use parallax_report::{Fact, IntervalLine, Part, Points, Section, Sheet, SheetVerdict, Table};
use parallax_tune::{Dimension, Trial};
use serde_json::Value as Json;

use super::{Gain, RESULT, TuneReport};

pub(super) fn page(report: &TuneReport) -> Sheet {
    let mut verdicts = Vec::new();
    let mut sections = Vec::new();
    if let Some(Gain { before, after, change }) = &report.gain {
        let good = if change.low > 0.0 {
            Some(true)
        } else if change.high < 0.0 {
            Some(false)
        } else {
            None
        };
        verdicts.push(SheetVerdict {
            good,
            sentence: format!(
                "On test rows that no trial has seen, {} went from {before:.4} to {after:.4}: {:+.4} (95 % interval {:+.4} to {:+.4}).",
                report.measure, change.mean, change.low, change.high
            ),
            from: format!("{} seeds, {} queries; {}", change.seeds, change.queries, change.method),
        });
        sections.push(Section {
            title: "Gain".into(),
            parts: vec![Part::Intervals(vec![IntervalLine {
                name: "best settings − settings as they stood".into(),
                value: change.mean,
                interval: Some([change.low, change.high]),
                margin: 0.0,
            }])],
            ..Section::default()
        });
    }
    let keys: Vec<&String> = report.tuning.space.0.keys().collect();
    sections.push(mattered(report));
    let mut order: Vec<&Trial> = report.tuned.trials.iter().collect();
    order.sort_by(|a, b| {
        let rank = |trial: &Trial| (trial.complete, trial.mean.unwrap_or(f64::NEG_INFINITY));
        let ((a_done, a_mean), (b_done, b_mean)) = (rank(a), rank(b));
        b_done.cmp(&a_done).then(b_mean.total_cmp(&a_mean)).then(a.number.cmp(&b.number))
    });
    let mut head = vec!["trial".to_owned(), report.measure.clone(), "folds".to_owned(), "seconds".to_owned()];
    head.extend(keys.iter().map(|key| (*key).clone()));
    let rows = order.iter().map(|trial| {
        let mean = trial.mean.map_or_else(|| "diverged".to_owned(), |mean| format!("{mean:.4}"));
        let mut row = vec![
            trial.number.to_string(),
            mean,
            trial.scores.len().to_string(),
            format!("{:.1}", trial.seconds),
        ];
        row.extend(
            keys.iter()
                .map(|key| trial.point.get(*key).map_or_else(|| "as it stands".to_owned(), Json::to_string)),
        );
        row
    });
    sections.push(Section {
        title: "Trials".into(),
        text: "The mean over the folds that a trial was measured on; those on all folds stand first.".into(),
        parts: vec![Part::Table(Table { caption: report.folds.clone(), head, rows: rows.collect() })],
    });
    let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
    Sheet {
        title: format!("Settings of {}", report.name),
        summary: format!(
            "{} trials, chosen by {} on held-out folds of the training rows.",
            report.tuned.trials.len(),
            report.measure
        ),
        verdicts,
        sections,
        facts: vec![
            fact("folds", report.folds.clone()),
            fact("seconds", format!("{:.0}", report.tuned.seconds)),
            fact("data", format!("SHA-256 {}", &report.data_sha256[..report.data_sha256.len().min(16)])),
        ],
        file: RESULT.into(),
    }
}

fn mattered(report: &TuneReport) -> Section {
    let rows = report.tuned.importance.iter().flat_map(|importance| {
        let share = importance.explained.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}"));
        importance.groups.iter().enumerate().map(move |(at, group)| {
            let (key, share) =
                if at == 0 { (importance.key.clone(), share.clone()) } else { Default::default() };
            vec![key, share, group.values.clone(), group.trials.to_string(), format!("{:.4}", group.mean)]
        })
    });
    let head = ["key", "share of variance", "values", "trials", "mean"].map(str::to_owned).to_vec();
    let table = Table { caption: "By groups of values".into(), head, rows: rows.collect() };
    let mut parts = vec![Part::Table(table)];
    for importance in &report.tuned.importance {
        let Some(dimension) = report.tuning.space.0.get(&importance.key) else { continue };
        let scored = report.tuned.trials.iter().filter(|trial| trial.complete || trial.scores.len() == 1);
        let scored: Vec<&Trial> =
            scored.filter(|trial| trial.mean.is_some() && !trial.point.is_empty()).collect();
        let x = |trial: &&Trial| -> f64 {
            let value = &trial.point[&importance.key];
            match dimension {
                Dimension::Range(_) => value.as_f64().unwrap_or(f64::NAN),
                Dimension::Choices(values) => {
                    values.iter().position(|other| other == value).map_or(f64::NAN, |at| at as f64)
                }
            }
        };
        let names = match dimension {
            Dimension::Choices(values) => values.iter().map(label).collect(),
            Dimension::Range(_) => Vec::new(),
        };
        parts.push(Part::Points(Points {
            title: importance.key.clone(),
            note: String::new(),
            names,
            log: matches!(dimension, Dimension::Range(range) if range.log),
            points: scored.iter().map(|trial| (x(trial), trial.mean.unwrap_or(f64::NAN))).collect(),
            marked: scored.iter().position(|trial| trial.number == report.tuned.best),
        }));
    }
    Section {
        title: "What mattered".into(),
        text: "How much of the variance of the scores differs between groups of values of a key, and every trial by the value it had. The ring is the best.".into(),
        parts,
    }
}

/// A choice as a label: a component by its name.
fn label(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Object(map) => {
            map.get("name").and_then(Json::as_str).map_or_else(|| value.to_string(), str::to_owned)
        }
        other => other.to_string(),
    }
}
