//! The page of a run: `report.html`.

use std::fs;
use std::path::Path;

use parallax_eval::Similarity;
use parallax_random::Key;
use parallax_report::{
    Chart, Embeddings, Evidence, EvidenceConfig, Fact, Figure, QueryValues, Report, Rows, Series, Subject,
};

use super::Outcome;
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::evaluate::Measured;

/// More rows than this are not held in memory twice: such a run's page has no maps and no single queries.
pub(super) const MOST_ROWS: usize = 50_000;

/// Puts the page together.
pub(super) fn page(
    config: &RunConfig,
    loss: &str,
    outcome: &Outcome,
    data: &Dataset,
    rows: &[u32],
    measured: Option<(&Measured, &Measured)>,
    similarity: Similarity,
    log: &Path,
    key: Key,
) -> Result<Report> {
    let evidence = match measured {
        Some((before, after)) if rows.len() <= MOST_ROWS && !data.scored() && outcome.classes.is_none() => {
            Some(evidence(&config.train.validate_with, similarity, data, rows, before, after, key)?)
        }
        _ => None,
    };
    let training = &outcome.training;
    let mut figures = vec![
        figure("training rows", outcome.data.train as f64, 0, ""),
        figure("validation rows", outcome.data.validation as f64, 0, ""),
        figure("test rows", outcome.data.test as f64, 0, ""),
        figure("dimensions", outcome.dim as f64, 0, ""),
        figure("time", training.seconds, 1, "s"),
    ];
    if outcome.adapter.is_none() {
        figures.push(figure("steps", training.steps as f64, 0, ""));
        figures.push(figure("parameters trained", training.parameters.0 as f64, 0, ""));
        figures.push(figure("negatives an anchor", training.negatives_per_anchor, 1, ""));
    }
    if let Some(memory) = training.peak_memory {
        figures.push(figure("peak memory", memory as f64 / f64::from(1 << 20), 0, "MiB"));
    }
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    let mut facts = vec![
        fact("Parallax", env!("CARGO_PKG_VERSION").into()),
        fact("Processor", processor()),
        fact("Threads", rayon::current_num_threads().to_string()),
        fact("SHA-256 of the data", outcome.data.sha256.clone()),
    ];
    facts.extend(
        outcome
            .data
            .roles
            .iter()
            .map(|(role, column)| fact(&format!("Column of the {role}"), column.clone())),
    );
    let mut advice = outcome.advice.clone();
    if evidence.is_none() && rows.len() > MOST_ROWS {
        advice.push(format!("no maps and no single queries: more than {MOST_ROWS} rows were measured"));
    }
    let model = config.model.as_ref().map_or("stored vectors".to_owned(), |model| model.path.clone());
    let summary = match &outcome.adapter {
        Some(selection) => selection.verdict.clone(),
        None => format!("{} steps of {}.", training.steps, loss),
    };
    let classes = outcome.data.classes.map_or(String::new(), |classes| format!(" of {classes} classes"));
    Ok(Report {
        title: outcome.name.clone(),
        summary,
        data: format!("{}: {} rows{classes}", outcome.data.files.join(", "), outcome.data.rows),
        model,
        seed: Some(outcome.seed),
        measured_on: format!("the {} rows ({})", outcome.part, outcome.mode),
        main: config.train.validate_with.clone(),
        measures: outcome.measures.clone(),
        interval_method: outcome.interval_method.clone(),
        queries: measured.map(|_| outcome.queries),
        dropped: measured.map(|_| outcome.dropped),
        figures,
        charts: charts(log, &config.train.validate_with),
        evidence,
        config: config.to_toml()?,
        facts,
        advice,
    })
}

fn figure(name: &str, value: f64, digits: usize, unit: &str) -> Figure {
    Figure { name: name.into(), value, digits, unit: unit.into() }
}

fn evidence(
    main: &str,
    similarity: Similarity,
    data: &Dataset,
    rows: &[u32],
    before: &Measured,
    after: &Measured,
    key: Key,
) -> Result<Evidence> {
    let labels = data.relevance(rows)?;
    let (own, other) = data.columns();
    let text = |row: usize| data.text(own, rows[row]);
    let other_text = |row: usize| other.map_or_else(String::new, |column| data.text(column, rows[row]));
    let queries = Rows {
        before: Some(Embeddings { values: &before.vectors, dim: before.dim }),
        after: Embeddings { values: &after.vectors, dim: after.dim },
        labels: Some(&labels),
        text: &text,
    };
    let gallery = match (&before.others, &after.others) {
        (Some(old), Some(new)) => Some(Rows {
            before: Some(Embeddings { values: old, dim: before.dim }),
            after: Embeddings { values: new, dim: after.dim },
            labels: Some(&labels),
            text: &other_text,
        }),
        _ => None,
    };
    let classes = data.classes().map_or(&[][..], |labels| &labels.names);
    let at = after.retrieval.measures.iter().position(|measure| measure.name == main);
    let values = match (at, &before.retrieval.per_query, &after.retrieval.per_query) {
        (Some(at), Some(old), Some(new)) if old.query == new.query => Some(QueryValues {
            measure: main,
            rows: &new.query,
            before: &old.columns[at],
            after: &new.columns[at],
        }),
        _ => None,
    };
    let subject = Subject { queries, gallery, classes, similarity, values };
    Ok(Evidence::gather(&EvidenceConfig::default(), &subject, key.named("evidence"))?)
}

/// The curves of `metrics.jsonl`.
fn charts(log: &Path, validated: &str) -> Vec<Chart> {
    let Ok(text) = fs::read_to_string(log) else { return Vec::new() };
    let (mut loss, mut rate, mut validation) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let Some(step) = line["step"].as_f64() else { continue };
        let numbers = [
            (&line["loss"], &mut loss),
            (&line["lr"], &mut rate),
            (&line["validation"][validated], &mut validation),
        ];
        for (value, points) in numbers {
            points.extend(value.as_f64().map(|value| (step, value)));
        }
    }
    let chart = |title: String, note: &str, points: Vec<(f64, f64)>| {
        let series = vec![Series { name: String::new(), points }];
        (!series[0].points.is_empty()).then_some(Chart {
            title,
            note: note.to_owned(),
            series,
            ..Chart::default()
        })
    };
    [
        chart("Training loss".into(), "The loss of each step's batch.", loss),
        chart(format!("Validation {validated}"), "On classes or rows that training did not see.", validation),
        chart("Learning rate".into(), "", rate),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The processor's name, where the system tells.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
